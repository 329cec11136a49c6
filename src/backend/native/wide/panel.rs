//! Rows copied into panels in wide vectors: what `native::pack::gather` and `native::pack::panels` compute, with the
//! same parameters.

use iced_x86::code_asm::{
    AsmRegister64, eax, k1, k2, qword_ptr, r8, r9, r10, r11, r12, r13, r14, rax, rbx, rcx, rdi, rdx, rsi,
};
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::instructions::{Three, Width};
use super::machine::{Machine, POOL, Vector, memory, memory_scaled};
use crate::backend::native::emit::EmitError;
use crate::backend::native::pack::Piece;
use crate::plan::PANEL;

/// Bytes of a panel's row.
pub const LINE: usize = PANEL * 4;
/// Panels that are copied side by side: rows of a matrix are seldom as wide as a whole number of cache lines, so that a
/// panel alone reads twice as much as it takes.
const TOGETHER: i64 = 8;
/// Rows between those that are copied and those that are asked for. What is packed has seldom been used lately.
const AHEAD: usize = 8;
/// Preserved for the caller.
const SAVED: [AsmRegister64; 5] = [rbx, r12, r13, r14, POOL];

/// The machine code that gathers rows. It goes row by row through all panels: what lies together is read together.
///
/// # Errors
/// If the assembler refuses an instruction.
pub fn gather(width: Width) -> Result<Vec<u8>, EmitError> {
    let mut machine = Machine::new(width)?;
    let bytes = machine.width.bytes();
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
    for (number, at) in (0..LINE).step_by(bytes).enumerate() {
        let vector = Vector(number as u8);
        machine.load(vector, memory(rax.into(), Some(rsi.into()), at as i64))?;
        machine.store(memory(r10.into(), None, at as i64), vector)?;
    }
    machine.asm.add(rax, LINE as i32)?;
    machine.asm.add(r10, r9)?;
    machine.asm.sub(r11, 1)?;
    machine.asm.jne(panel)?;
    machine.asm.add(rdi, 8)?;
    machine.asm.add(rdx, LINE as i32)?;
    machine.asm.sub(rcx, 1)?;
    machine.asm.jne(row)?;
    machine.asm.set_label(&mut done)?;
    machine.asm.vzeroupper()?;
    machine.asm.ret()?;
    machine.finish()
}

/// The machine code that copies panels of a matrix whose rows are contiguous: some panels at a time, row by row.
///
/// # Errors
/// If the assembler refuses an instruction.
pub fn rows(width: Width, piece: Piece) -> Result<Vec<u8>, EmitError> {
    let mut machine = Machine::new(width)?;
    let vectors = Vectors { width, piece };
    for register in SAVED {
        machine.asm.push(register)?;
    }
    vectors.prepare(&mut machine)?;
    let mut group = machine.asm.create_label();
    let mut row = machine.asm.create_label();
    let mut panel = machine.asm.create_label();
    let mut done = machine.asm.create_label();
    machine.asm.test(rcx, rcx)?;
    machine.asm.je(done)?;
    machine.asm.set_label(&mut group)?;
    machine.asm.mov(r10, TOGETHER)?;
    machine.asm.cmp(r8, r10)?;
    machine.asm.cmovl(r10, r8)?;
    machine.asm.mov(rax, rdi)?;
    machine.asm.mov(rbx, rdx)?;
    machine.asm.mov(r11, rcx)?;
    machine.asm.set_label(&mut row)?;
    machine.asm.mov(r12, rax)?;
    machine.asm.mov(r13, rbx)?;
    machine.asm.mov(r14, r10)?;
    machine.asm.set_label(&mut panel)?;
    machine.prefetch(false, memory_scaled(r12.into(), Some(rsi.into()), AHEAD as u32, 0))?;
    machine.prefetch(true, memory(r13.into(), None, (AHEAD * LINE) as i64))?;
    for number in 0..vectors.count() {
        let (at, vector) = ((number * width.bytes()) as i64, Vector(number as u8));
        vectors.load(&mut machine, number, vector, memory(r12.into(), None, at))?;
        vectors.store(&mut machine, number, memory(r13.into(), None, at), vector)?;
    }
    machine.asm.add(r12, LINE as i32)?;
    machine.asm.add(r13, r9)?;
    machine.asm.sub(r14, 1)?;
    machine.asm.jne(panel)?;
    machine.asm.add(rax, rsi)?;
    machine.asm.add(rbx, LINE as i32)?;
    machine.asm.sub(r11, 1)?;
    machine.asm.jne(row)?;
    machine.asm.imul_3(rax, r10, LINE as i32)?;
    machine.asm.add(rdi, rax)?;
    machine.asm.mov(rax, r10)?;
    machine.asm.imul_2(rax, r9)?;
    machine.asm.add(rdx, rax)?;
    machine.asm.sub(r8, r10)?;
    machine.asm.jne(group)?;
    machine.asm.set_label(&mut done)?;
    for register in SAVED.into_iter().rev() {
        machine.asm.pop(register)?;
    }
    machine.asm.vzeroupper()?;
    machine.asm.ret()?;
    machine.finish()
}

/// The vectors of a panel's row, of which some columns are read and some written.
///
/// With AVX2, masks are in the last two registers: that of what is read, that of what is written.
#[derive(Clone, Copy)]
pub struct Vectors {
    /// Their width.
    pub width: Width,
    /// The columns.
    pub piece: Piece,
}

/// With AVX2, the masks of the vectors of which a part is read or written.
const READ: Vector = Vector(14);
const WRITTEN: Vector = Vector(15);

impl Vectors {
    /// How many vectors a row has, of which some may be neither read nor written.
    pub fn count(self) -> usize {
        PANEL / self.width.lanes()
    }

    /// How many lanes of a vector are among the first `columns` of the row.
    pub fn lanes(self, columns: usize, vector: usize) -> usize {
        columns.saturating_sub(vector * self.width.lanes()).min(self.width.lanes())
    }

    /// Makes masks, for which the register of the constants and `rax` are taken.
    pub fn prepare(self, machine: &mut Machine) -> Result<(), EmitError> {
        let Piece { columns, width, .. } = self.piece;
        match self.width {
            Width::Zmm => {
                for (mask, lanes) in [(k1, columns), (k2, width)] {
                    machine.asm.mov(eax, ((1u64 << lanes) - 1) as i32)?;
                    machine.asm.kmovw(mask, eax)?;
                }
                Ok(())
            }
            Width::Ymm => {
                machine.address_pool()?;
                for (mask, columns) in [(READ, columns), (WRITTEN, width)] {
                    machine.first_lanes(columns % self.width.lanes(), mask)?;
                }
                Ok(())
            }
        }
    }

    /// A vector of the row, zeros where no columns are.
    pub fn load(
        self,
        machine: &mut Machine,
        vector: usize,
        d: Vector,
        from: MemoryOperand,
    ) -> Result<(), EmitError> {
        match self.lanes(self.piece.columns, vector) {
            0 => machine.three(Three::Xor, d, d, d),
            lanes if lanes == self.width.lanes() => machine.load(d, from),
            _ => machine.load_masked(d, from, READ),
        }
    }

    /// What of a vector of the row is to be written.
    pub fn store(
        self,
        machine: &mut Machine,
        vector: usize,
        to: MemoryOperand,
        a: Vector,
    ) -> Result<(), EmitError> {
        match self.lanes(self.piece.width, vector) {
            0 => Ok(()),
            lanes if lanes == self.width.lanes() => machine.store(to, a),
            _ if self.width == Width::Ymm => machine.store_masked(to, a, WRITTEN),
            _ => {
                let code = Code::EVEX_Vmovups_zmmm512_k1z_zmm;
                let mut instruction = Instruction::with2(code, to, machine.register(a))?;
                instruction.set_op_mask(Register::K2);
                Ok(machine.asm.add_instruction(instruction)?)
            }
        }
    }
}
