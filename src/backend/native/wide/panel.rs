//! Rows gathered into panels in wide vectors: what `native::pack::gather` computes, with the same parameters.

use iced_x86::code_asm::{qword_ptr, r8, r9, r10, r11, rax, rcx, rdi, rdx, rsi};

use super::instructions::Width;
use super::machine::{Machine, Vector, memory};
use crate::backend::native::emit::EmitError;
use crate::plan::PANEL;

/// The machine code. It goes row by row through all panels: what lies together is read together.
///
/// # Errors
/// If the assembler refuses an instruction.
pub fn gather(width: Width) -> Result<Vec<u8>, EmitError> {
    let mut machine = Machine::new(width)?;
    let (bytes, line) = (machine.width.bytes(), PANEL * 4);
    let mut row = machine.asm.create_label();
    let mut panel = machine.asm.create_label();
    let mut done = machine.asm.create_label();
    machine.asm.test(rcx, rcx)?;
    machine.asm.je(done)?;
    machine.asm.set_label(&mut row)?;
    machine.asm.mov(rax, qword_ptr(rdi))?;
    machine.asm.mov(r10, rdx)?;
    machine.asm.mov(r11, r8)?;
    machine.asm.set_label(&mut panel)?;
    for (number, at) in (0..line).step_by(bytes).enumerate() {
        let vector = Vector(number as u8);
        machine.load(vector, memory(rax.into(), Some(rsi.into()), at as i64))?;
        machine.store(memory(r10.into(), None, at as i64), vector)?;
    }
    machine.asm.add(rax, line as i32)?;
    machine.asm.add(r10, r9)?;
    machine.asm.sub(r11, 1)?;
    machine.asm.jne(panel)?;
    machine.asm.add(rdi, 8)?;
    machine.asm.add(rdx, line as i32)?;
    machine.asm.sub(rcx, 1)?;
    machine.asm.jne(row)?;
    machine.asm.set_label(&mut done)?;
    machine.asm.vzeroupper()?;
    machine.asm.ret()?;
    machine.finish()
}
