//! Product tiles in wide vectors: what `native::tile` computes, with the same parameters.
//!
//! A tile of 8 rows by 2 vectors of 512 bits keeps 16 sums in registers; each step along `k` loads two
//! vectors of the packed matrix and one number a row, for 16 multiply-adds. That is the shape of LIBXSMM's
//! kernels (Heinecke et al., 2016); operands are read at about two thirds of what the load ports take.
//!
//! What comes from afar is asked for a little at a time, all along `k`: a core waits for a dozen lines at most, and
//! while those of a burst are on their way nothing else comes from the second-level cache either.
//!
//! ```text
//! turn:  4 steps along k, and asks for 2 lines of the panels that are wanted next,
//!                         and for the lines of one row of the result
//! ```

use iced_x86::MemoryOperand;
use iced_x86::code_asm::{
    AsmMemoryOperand, AsmRegister64, eax, ecx, edi, k1, ptr, qword_ptr, r8, r9, r10, r11, r12, r13, r14, r15,
    rax, rbp, rbx, rcx, rdi, rdx, rsi, rsp,
};

use super::instructions::{Three, Width};
use super::machine::{Machine, Source, Vector, memory, nth};
use crate::backend::native::emit::EmitError;
use crate::backend::native::tile::{Shape, TURN};
use crate::plan::PANEL;

/// Steps along `k` in one turn of the loop.
const UNROLL: i64 = TURN as i64;
/// The step of a turn that asks for panels, and the one that asks for lines of the result.
const PANELS_AT: i64 = 2;
const CLAIMS_AT: i64 = 0;
/// Panels of which a turn asks for one pair of lines.
const PANELS_OF_PAIR: usize = 2;
/// Bytes that memory hands out together.
const LINE: usize = 64;
/// Bytes of a panel's row.
const ROW: i64 = PANEL as i64 * 4;

/// Registers of the left operand's rows.
const A: [AsmRegister64; 8] = [rax, rbx, rbp, r10, r11, r12, r13, r14];
/// Preserved for the caller.
const SAVED: [AsmRegister64; 6] = [rbx, rbp, r12, r13, r14, r15];
/// Registers of panels.
const BASES: [AsmRegister64; 3] = [rdx, r14, r13];
/// Bytes from a panel to the next.
const PITCH: AsmRegister64 = r15;
/// The lines that are asked for next, while there are products.
const AHEAD: AsmRegister64 = r8;
/// How far the numbers of the left operand's rows are, in bytes, while there are products.
const INDEX: AsmRegister64 = rdi;

/// A tile as it is written.
struct Tile {
    machine: Machine,
    shape: Shape,
}

/// The machine code of a tile.
///
/// # Errors
/// If the assembler refuses an instruction.
pub fn tile(width: Width, shape: Shape) -> Result<Vec<u8>, EmitError> {
    let mut tile = Tile { machine: Machine::new(width)?, shape };
    tile.write()?;
    tile.machine.finish()
}

impl Tile {
    fn sum(&self, row: usize, vector: usize) -> Vector {
        Vector((row * self.shape.vectors + vector) as u8)
    }

    /// The register of a vector of columns, or for tiles of few rows, whose columns are read straight from
    /// memory, of the number that multiplies them.
    fn column(&self, vector: usize) -> Vector {
        Vector((self.shape.rows * self.shape.vectors + vector) as u8)
    }

    fn vectors_of_panel(&self) -> usize {
        PANEL / self.machine.width.lanes()
    }

    /// Base registers of panels, see [`nth`].
    fn bases(&self) -> &'static [AsmRegister64] {
        let panels = self.shape.vectors.div_ceil(self.vectors_of_panel());
        &BASES[..panels.div_ceil(3)]
    }

    /// Where a vector of columns lies, `step` steps from here.
    fn packed(&self, vector: usize, step: i64) -> MemoryOperand {
        let (panel, within) = (vector / self.vectors_of_panel(), vector % self.vectors_of_panel());
        nth(&BASES, PITCH, panel, step * ROW + (within * self.machine.width.bytes()) as i64)
    }

    fn write(&mut self) -> Result<(), EmitError> {
        for register in SAVED {
            self.machine.asm.push(register)?;
        }
        // What was at [rsp + 8] on entry and behind it; ahead and pace are read when two more are pushed.
        let entry = |slot: usize, pushed: usize| qword_ptr(rsp + 8 * (SAVED.len() + pushed + slot) as i32);
        let (accumulate, pitch, ahead) = (entry(1, 0), entry(2, 0), entry(3, 2));
        let rows = self.shape.rows;
        for (row, &register) in A.iter().enumerate().take(rows) {
            self.machine.asm.mov(register, qword_ptr(rdi + 8 * row as i32))?;
        }
        self.machine.asm.mov(PITCH, pitch)?;
        self.machine.asm.shl(PITCH, 6)?;
        self.machine.place_bases(self.bases(), PITCH)?;
        // Columns that are left, and from here on r9 in bytes.
        let asm = &mut self.machine.asm;
        asm.sub(r8, r9)?;
        asm.shl(r9, 2)?;
        asm.cmp(accumulate, 0)?;
        let mut fresh = asm.create_label();
        let mut begin = asm.create_label();
        asm.je(fresh)?;
        self.each_sum(Motion::In)?;
        let asm = &mut self.machine.asm;
        asm.push(r8)?;
        asm.push(r9)?;
        // These lines are here: those behind them are claimed, which are added to next.
        asm.add(r9, (self.shape.vectors * self.machine.width.bytes()) as i32)?;
        asm.jmp(begin)?;
        asm.set_label(&mut fresh)?;
        asm.push(r8)?;
        asm.push(r9)?;
        for sum in 0..rows * self.shape.vectors {
            let sum = Vector(sum as u8);
            self.machine.three(Three::Xor, sum, sum, sum)?;
        }
        let asm = &mut self.machine.asm;
        asm.set_label(&mut begin)?;
        asm.mov(AHEAD, ahead)?;
        asm.add(AHEAD, rdx)?;
        // The loop's own two are on top.
        self.products(entry(4, 4))?;
        let asm = &mut self.machine.asm;
        asm.pop(r9)?;
        asm.pop(r8)?;
        self.each_sum(Motion::Out)?;
        for register in SAVED.into_iter().rev() {
            self.machine.asm.pop(register)?;
        }
        self.machine.asm.vzeroupper()?;
        Ok(self.machine.asm.ret()?)
    }

    /// Bytes from a number of the left operand to the one of the next step.
    fn advance(&self) -> i64 {
        self.shape.stride as i64 * 4
    }

    /// The loop along `k`: turns, then single steps.
    fn products(&mut self, pace: AsmMemoryOperand) -> Result<(), EmitError> {
        let advance = self.advance();
        let asm = &mut self.machine.asm;
        let mut single = asm.create_label();
        let mut done = asm.create_label();
        let mut turn = asm.create_label();
        let mut rest = asm.create_label();
        let (end, left) = (qword_ptr(rsp), qword_ptr(rsp + 8));
        asm.mov(INDEX, rcx)?;
        asm.and(ecx, UNROLL as i32 - 1)?;
        asm.push(rcx)?;
        asm.sub(INDEX, rcx)?;
        asm.imul_3(INDEX, INDEX, advance as i32)?;
        asm.push(INDEX)?;
        asm.xor(edi, edi)?;
        asm.cmp(INDEX, end)?;
        asm.jge(single)?;
        asm.set_label(&mut turn)?;
        for step in 0..UNROLL {
            self.ask_for_panels(step)?;
            self.claim(step)?;
            self.step(step)?;
        }
        self.forth(UNROLL)?;
        let asm = &mut self.machine.asm;
        asm.add(AHEAD, pace)?;
        asm.cmp(INDEX, end)?;
        asm.jl(turn)?;
        asm.set_label(&mut single)?;
        asm.mov(rcx, left)?;
        asm.test(rcx, rcx)?;
        asm.je(done)?;
        asm.set_label(&mut rest)?;
        self.step(0)?;
        self.forth(1)?;
        let asm = &mut self.machine.asm;
        asm.sub(rcx, 1)?;
        asm.jne(rest)?;
        asm.set_label(&mut done)?;
        asm.pop(rcx)?;
        Ok(asm.pop(rcx)?)
    }

    /// A step along `k`, so many from here.
    fn step(&mut self, step: i64) -> Result<(), EmitError> {
        let Shape { rows, vectors, .. } = self.shape;
        // A single row's columns are used once: they are operands in memory.
        if rows > 1 {
            for vector in 0..vectors {
                let (to, from) = (self.column(vector), self.packed(vector, step));
                self.machine.load(to, from)?;
            }
        }
        let number = self.column(if rows > 1 { vectors } else { 0 });
        for (row, &register) in A.iter().enumerate().take(rows) {
            let from = memory(register.into(), Some(INDEX.into()), step * self.advance());
            self.machine.broadcast(number, from)?;
            for vector in 0..vectors {
                let sum = self.sum(row, vector);
                if rows > 1 {
                    self.machine.three(Three::Fma231(false, false), sum, number, self.column(vector))?;
                } else {
                    let columns = Source::Memory(self.packed(vector, step));
                    self.machine.three(Three::Fma231(false, false), sum, number, columns)?;
                }
            }
        }
        Ok(())
    }

    /// Goes so many steps forth.
    fn forth(&mut self, steps: i64) -> Result<(), EmitError> {
        let (advance, bases) = (self.advance(), self.bases());
        let asm = &mut self.machine.asm;
        asm.add(INDEX, (steps * advance) as i32)?;
        for &base in bases {
            asm.add(base, (steps * ROW) as i32)?;
        }
        Ok(())
    }

    /// Asks for the panels that are wanted next: for a quarter of their lines where nobody shares the work, as more
    /// would be in the way; the processor's own prefetchers see the rest coming.
    fn ask_for_panels(&mut self, step: i64) -> Result<(), EmitError> {
        if self.shape.rows == 1 {
            return Ok(());
        }
        let panels = self.shape.vectors / self.vectors_of_panel();
        for pair in 0..panels.div_ceil(PANELS_OF_PAIR).max(1) as i64 {
            if (PANELS_AT + pair) % UNROLL != step {
                continue;
            }
            let at = pair * PANELS_OF_PAIR as i64 * UNROLL * ROW;
            for line in 0..2 {
                self.machine.asm.prefetcht1(ptr(AHEAD + (at as i32 + line * LINE as i32)))?;
            }
        }
        Ok(())
    }

    /// Asks for the lines that sums will be written to, so that nobody waits for memory: in each turn for those of one
    /// row, or where rows are no power of two, of two.
    fn claim(&mut self, step: i64) -> Result<(), EmitError> {
        let rows = self.shape.rows;
        if rows == 1 || step != CLAIMS_AT {
            return Ok(());
        }
        let in_turn = 1 << rows.ilog2();
        let turn = (self.advance() * UNROLL).trailing_zeros();
        let bytes = self.shape.vectors * self.machine.width.bytes();
        let begins = [0, rows - in_turn];
        for &begin in if begins[1] == 0 { &begins[..1] } else { &begins } {
            // The turn's number, in slots of the table of rows.
            let asm = &mut self.machine.asm;
            asm.mov(ecx, edi)?;
            asm.shr(ecx, turn - 3)?;
            asm.and(ecx, 8 * (in_turn as i32 - 1))?;
            asm.mov(rcx, qword_ptr(rsi + rcx + 8 * begin as i32))?;
            for line in (0..bytes).step_by(LINE) {
                asm.prefetchw(ptr(rcx + r9 + line as i32))?;
            }
        }
        Ok(())
    }

    /// All sums from or to the result's rows: whole vectors, or at the right edge as far as there are columns.
    fn each_sum(&mut self, motion: Motion) -> Result<(), EmitError> {
        let columns = (self.shape.vectors * self.machine.width.lanes()) as i32;
        let asm = &mut self.machine.asm;
        let mut edge = asm.create_label();
        let mut done = asm.create_label();
        asm.cmp(r8, columns)?;
        asm.jl(edge)?;
        for row in 0..self.shape.rows {
            // On the way in the registers of rows are taken; rdi, the table they came from, is not.
            self.machine.asm.mov(rdi, qword_ptr(rsi + 8 * row as i32))?;
            for vector in 0..self.shape.vectors {
                let at = self.result(vector);
                let sum = self.sum(row, vector);
                match motion {
                    Motion::In => self.machine.load(sum, at)?,
                    Motion::Out => self.machine.store(at, sum)?,
                }
            }
        }
        let asm = &mut self.machine.asm;
        asm.jmp(done)?;
        asm.set_label(&mut edge)?;
        let lanes = self.column(0);
        for vector in 0..self.shape.vectors {
            self.lanes_left(vector, lanes)?;
            for row in 0..self.shape.rows {
                self.machine.asm.mov(rdi, qword_ptr(rsi + 8 * row as i32))?;
                let at = self.result(vector);
                let sum = self.sum(row, vector);
                match motion {
                    Motion::In => self.machine.load_masked(sum, at, lanes)?,
                    Motion::Out => self.machine.store_masked(at, sum, lanes)?,
                }
            }
        }
        let asm = &mut self.machine.asm;
        asm.set_label(&mut done)?;
        // Labels that meet need an instruction between them.
        Ok(asm.nop()?)
    }

    /// A vector of the result row in rdi.
    fn result(&self, vector: usize) -> MemoryOperand {
        memory(rdi.into(), Some(r9.into()), (vector * self.machine.width.bytes()) as i64)
    }

    /// Makes the mask of the columns of a vector that exist, of which r8 are left from the first vector on.
    fn lanes_left(&mut self, vector: usize, lanes: Vector) -> Result<(), EmitError> {
        let count = self.machine.width.lanes() as i32;
        let asm = &mut self.machine.asm;
        // min(max(r8 - first column, 0), lanes); eax and ecx may hold a row and k.
        asm.push(rax)?;
        asm.push(rcx)?;
        asm.lea(rax, ptr(r8 - vector as i32 * count))?;
        asm.xor(ecx, ecx)?;
        asm.cmp(rax, 0)?;
        asm.cmovl(rax, rcx)?;
        asm.mov(ecx, count)?;
        asm.cmp(rax, rcx)?;
        asm.cmovg(rax, rcx)?;
        match self.machine.width {
            Width::Zmm => {
                asm.mov(ecx, -1)?;
                asm.bzhi(eax, ecx, eax)?;
                asm.kmovw(k1, eax)?;
            }
            Width::Ymm => self.machine.lanes_below(lanes, rax, rcx)?,
        }
        let asm = &mut self.machine.asm;
        asm.pop(rcx)?;
        Ok(asm.pop(rax)?)
    }
}

/// Between registers and the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Motion {
    In,
    Out,
}
