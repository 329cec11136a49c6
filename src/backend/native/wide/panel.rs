//! Rows gathered into a panel in wide vectors: what `native::pack::gather` computes, with the same parameters.

use iced_x86::code_asm::{qword_ptr, rax, rcx, rdi, rdx, rsi};

use super::instructions::Width;
use super::machine::{Machine, Vector, memory};
use crate::backend::native::emit::EmitError;
use crate::plan::PANEL;

/// Rows in one turn of the loop.
const UNROLL: usize = 4;

/// The machine code.
///
/// # Errors
/// If the assembler refuses an instruction.
pub fn gather(width: Width) -> Result<Vec<u8>, EmitError> {
    let mut machine = Machine::new(width)?;
    let mut single = machine.asm.create_label();
    let mut done = machine.asm.create_label();
    let mut turn = machine.asm.create_label();
    let mut rest = machine.asm.create_label();
    machine.asm.sub(rcx, UNROLL as i32)?;
    machine.asm.jl(single)?;
    machine.asm.set_label(&mut turn)?;
    rows(&mut machine, UNROLL)?;
    machine.asm.sub(rcx, UNROLL as i32)?;
    machine.asm.jge(turn)?;
    machine.asm.set_label(&mut single)?;
    machine.asm.add(rcx, UNROLL as i32)?;
    machine.asm.je(done)?;
    machine.asm.set_label(&mut rest)?;
    rows(&mut machine, 1)?;
    machine.asm.sub(rcx, 1)?;
    machine.asm.jne(rest)?;
    machine.asm.set_label(&mut done)?;
    machine.asm.vzeroupper()?;
    machine.asm.ret()?;
    machine.finish()
}

/// Copies the next rows.
fn rows(machine: &mut Machine, count: usize) -> Result<(), EmitError> {
    let (bytes, row) = (machine.width.bytes(), PANEL * 4);
    for index in 0..count {
        machine.asm.mov(rax, qword_ptr(rdi + 8 * index as i32))?;
        for (number, at) in (0..row).step_by(bytes).enumerate() {
            let vector = Vector((index * 2 + number) as u8);
            machine.load(vector, memory(rax.into(), Some(rsi.into()), at as i64))?;
            machine.store(memory(rdx.into(), None, (index * row + at) as i64), vector)?;
        }
    }
    machine.asm.add(rdi, 8 * count as i32)?;
    Ok(machine.asm.add(rdx, (count * row) as i32)?)
}
