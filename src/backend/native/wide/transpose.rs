//! Columns copied into panels in wide vectors: what `native::transpose::panels` computes, with the same parameters.
//!
//! Four rows of all columns are turned at a time. Column `4 l + j` is read into lane `l` of vector `j`, a lane being
//! 128 bits; then each lane is a square of its own, whose halves are interleaved twice:
//!
//! ```text
//! a0 a1 a2 a3 | e0 e1 e2 e3 | …      a0 b0 c0 d0 | e0 f0 g0 h0 | …
//! b0 b1 b2 b3 | f0 f1 f2 f3 | …  →   a1 b1 c1 d1 | e1 f1 g1 h1 | …
//! c0 c1 c2 c3 | g0 g1 g2 g3 | …      a2 b2 c2 d2 | e2 f2 g2 h2 | …
//! d0 d1 d2 d3 | h0 h1 h2 h3 | …      a3 b3 c3 d3 | e3 f3 g3 h3 | …
//! ```
//!
//! Each column is read from its begin to its end, and the panel is written so. The last four rows may be some that
//! have been copied already.

use iced_x86::code_asm::{
    AsmRegister64, dword_ptr, ptr, r8, r9, r10, r11, r12, r13, r14, rax, rbp, rbx, rcx, rdi, rdx, rsi,
};
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::instructions::{Three, Width};
use super::machine::{Machine, POOL, Vector, memory, memory_scaled};
use super::panel::{LINE, Vectors};
use crate::backend::native::emit::EmitError;
use crate::backend::native::pack::Piece;

/// Rows that are turned together.
const SQUARE: usize = 4;
/// Squares in a turn of the loop: what a cache line holds of a column.
const UNROLL: usize = 4;
/// Rows of the panel between those that are written and those that are asked for.
const AHEAD: usize = 32;

/// Addresses of the columns 0, 4, 8 and 12 in the row at hand.
const BASES: [AsmRegister64; 4] = [rax, r10, r11, rbx];
/// Where the row at hand is written.
const TO: AsmRegister64 = r12;
/// Rows that are left.
const LEFT: AsmRegister64 = r13;
/// Three times the bytes from a column to the next.
const THRICE: AsmRegister64 = rbp;
/// Preserved for the caller.
const SAVED: [AsmRegister64; 6] = [rbx, rbp, r12, r13, r14, POOL];

/// A function as it is written.
struct Turn {
    machine: Machine,
    vectors: Vectors,
}

/// The machine code.
///
/// # Errors
/// If the assembler refuses an instruction.
pub fn columns(width: Width, piece: Piece) -> Result<Vec<u8>, EmitError> {
    let mut turn = Turn { machine: Machine::new(width)?, vectors: Vectors { width, piece } };
    turn.write()?;
    turn.machine.finish()
}

impl Turn {
    fn write(&mut self) -> Result<(), EmitError> {
        for register in SAVED {
            self.machine.asm.push(register)?;
        }
        self.vectors.prepare(&mut self.machine)?;
        let asm = &mut self.machine.asm;
        let mut panel = asm.create_label();
        asm.lea(THRICE, ptr(rsi + rsi * 2))?;
        asm.set_label(&mut panel)?;
        asm.mov(BASES[0], rdi)?;
        for pair in BASES.windows(2) {
            asm.lea(pair[1], ptr(pair[0] + rsi * 4))?;
        }
        asm.mov(TO, rdx)?;
        asm.mov(LEFT, rcx)?;
        self.panel()?;
        let asm = &mut self.machine.asm;
        asm.mov(rax, rsi)?;
        asm.shl(rax, 4)?;
        asm.add(rdi, rax)?;
        asm.add(rdx, r9)?;
        asm.sub(r8, 1)?;
        asm.jne(panel)?;
        for register in SAVED.into_iter().rev() {
            asm.pop(register)?;
        }
        asm.vzeroupper()?;
        Ok(asm.ret()?)
    }

    /// All rows of a panel.
    fn panel(&mut self) -> Result<(), EmitError> {
        let mut singly = self.machine.asm.create_label();
        let mut done = self.machine.asm.create_label();
        self.whole(UNROLL)?;
        self.whole(1)?;
        let asm = &mut self.machine.asm;
        asm.test(LEFT, LEFT)?;
        asm.je(done)?;
        asm.cmp(rcx, SQUARE as i32)?;
        asm.jl(singly)?;
        asm.sub(LEFT, SQUARE as i32)?;
        for base in BASES {
            asm.lea(base, ptr(base + LEFT * 4))?;
        }
        asm.shl(LEFT, LINE.trailing_zeros())?;
        asm.add(TO, LEFT)?;
        self.square(0)?;
        let asm = &mut self.machine.asm;
        asm.jmp(done)?;
        asm.set_label(&mut singly)?;
        self.row()?;
        self.advance(1)?;
        let asm = &mut self.machine.asm;
        asm.sub(LEFT, 1)?;
        asm.jne(singly)?;
        asm.set_label(&mut done)?;
        // Labels that meet need an instruction between them.
        Ok(asm.nop()?)
    }

    /// So many squares at a time, as long as there are rows for them.
    fn whole(&mut self, squares: usize) -> Result<(), EmitError> {
        let rows = (squares * SQUARE) as i32;
        let mut turn = self.machine.asm.create_label();
        let mut done = self.machine.asm.create_label();
        self.machine.asm.sub(LEFT, rows)?;
        self.machine.asm.jl(done)?;
        self.machine.asm.set_label(&mut turn)?;
        for square in 0..squares {
            self.square(square * SQUARE)?;
        }
        self.advance(squares * SQUARE)?;
        self.machine.asm.sub(LEFT, rows)?;
        self.machine.asm.jge(turn)?;
        self.machine.asm.set_label(&mut done)?;
        Ok(self.machine.asm.add(LEFT, rows)?)
    }

    fn advance(&mut self, rows: usize) -> Result<(), EmitError> {
        for base in BASES {
            self.machine.asm.add(base, (rows * 4) as i32)?;
        }
        Ok(self.machine.asm.add(TO, (rows * LINE) as i32)?)
    }

    /// Where a column has the row at hand.
    fn column(&self, column: usize, displacement: usize) -> MemoryOperand {
        let (base, displacement) = (BASES[column / 4].into(), displacement as i64);
        let (stride, thrice): (Register, Register) = (rsi.into(), THRICE.into());
        match column % 4 {
            0 => memory(base, None, displacement),
            3 => memory(base, Some(thrice), displacement),
            times => memory_scaled(base, Some(stride), times as u32, displacement),
        }
    }

    /// Four rows from `row` on.
    fn square(&mut self, row: usize) -> Result<(), EmitError> {
        for row in row..row + SQUARE {
            self.machine.prefetch(true, memory(TO.into(), None, ((row + AHEAD) * LINE) as i64))?;
        }
        for vector in 0..self.vectors.count() {
            if self.vectors.lanes(self.vectors.piece.width, vector) == 0 {
                continue;
            }
            for number in 0..SQUARE {
                self.load(vector, number, row * 4)?;
            }
            // Columns 0 and 1 of every lane interleaved, low and high halves, then columns 2 and 3; then both.
            for (high, d) in [(false, 4), (true, 5)] {
                self.interleave(4, high, d, 0, 1)?;
                self.interleave(4, high, d + 2, 2, 3)?;
            }
            for (number, (pair, high)) in
                [(4, false), (4, true), (5, false), (5, true)].into_iter().enumerate()
            {
                let d = 8 + number as u8;
                self.interleave(8, high, d, pair, pair + 2)?;
                let at = (row + number) * LINE + vector * self.vectors.width.bytes();
                let to = memory(TO.into(), None, at as i64);
                self.vectors.store(&mut self.machine, vector, to, Vector(d))?;
            }
        }
        Ok(())
    }

    /// Reads the columns that one of the four vectors has, into the register of its number.
    fn load(&mut self, vector: usize, number: usize, displacement: usize) -> Result<(), EmitError> {
        let d = Vector(number as u8);
        let lanes = self.vectors.width.lanes();
        for lane in 0..lanes / 4 {
            let column = vector * lanes + 4 * lane + number;
            if column >= self.vectors.piece.columns {
                // What was read before has left zeros here.
                return if lane == 0 { self.machine.three(Three::Xor, d, d, d) } else { Ok(()) };
            }
            let from = self.column(column, displacement);
            let register = self.machine.register(d);
            let instruction = match (lane, self.vectors.width) {
                (0, _) => {
                    let low = Register::XMM0 + u32::from(d.0);
                    Instruction::with2(Code::VEX_Vmovups_xmm_xmmm128, low, from)?
                }
                (_, Width::Ymm) => {
                    let code = Code::VEX_Vinsertf128_ymm_ymm_xmmm128_imm8;
                    Instruction::with4(code, register, register, from, lane as u32)?
                }
                (_, Width::Zmm) => {
                    let code = Code::EVEX_Vinsertf32x4_zmm_k1z_zmm_xmmm128_imm8;
                    Instruction::with4(code, register, register, from, lane as u32)?
                }
            };
            self.machine.asm.add_instruction(instruction)?;
        }
        Ok(())
    }

    /// Elements of so many bytes of the low or high halves of every lane of two vectors, in turn.
    fn interleave(&mut self, bytes: usize, high: bool, d: u8, a: u8, b: u8) -> Result<(), EmitError> {
        let code = match (self.vectors.width, bytes, high) {
            (Width::Ymm, 4, false) => Code::VEX_Vunpcklps_ymm_ymm_ymmm256,
            (Width::Ymm, 4, true) => Code::VEX_Vunpckhps_ymm_ymm_ymmm256,
            (Width::Ymm, _, false) => Code::VEX_Vunpcklpd_ymm_ymm_ymmm256,
            (Width::Ymm, _, true) => Code::VEX_Vunpckhpd_ymm_ymm_ymmm256,
            (Width::Zmm, 4, false) => Code::EVEX_Vunpcklps_zmm_k1z_zmm_zmmm512b32,
            (Width::Zmm, 4, true) => Code::EVEX_Vunpckhps_zmm_k1z_zmm_zmmm512b32,
            (Width::Zmm, _, false) => Code::EVEX_Vunpcklpd_zmm_k1z_zmm_zmmm512b64,
            (Width::Zmm, _, true) => Code::EVEX_Vunpckhpd_zmm_k1z_zmm_zmmm512b64,
        };
        let [d, a, b] = [d, a, b].map(|number| self.machine.register(Vector(number)));
        Ok(self.machine.asm.add_instruction(Instruction::with3(code, d, a, b)?)?)
    }

    /// A row whose columns are read one by one.
    fn row(&mut self) -> Result<(), EmitError> {
        let Piece { columns, width, .. } = self.vectors.piece;
        for column in 0..columns {
            let from = self.column(column, 0);
            let to = memory(TO.into(), None, (column * 4) as i64);
            let (load, store) = (Code::Mov_r32_rm32, Code::Mov_rm32_r32);
            self.machine.asm.add_instruction(Instruction::with2(load, Register::R14D, from)?)?;
            self.machine.asm.add_instruction(Instruction::with2(store, to, Register::R14D)?)?;
        }
        for column in columns..width {
            self.machine.asm.mov(dword_ptr(TO + (column * 4) as i32), 0)?;
        }
        Ok(())
    }
}
