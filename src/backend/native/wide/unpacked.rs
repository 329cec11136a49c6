//! Product tiles that read the matrix as it lies: worth it where so few rows are multiplied that packing would cost
//! more than the products (BLIS has the same for small matrices, "sup").
//!
//! A tile goes over all columns that it is given, for a few rows. Where rows of the matrix are contiguous, it is read as a
//! panel would be, and every sum runs over `k` in order, as in [`super::product`]. Where columns are contiguous, a vector
//! holds elements of `k`, and every sum is one of sixteen parts that are added in the end:
//!
//! ```text
//! rows contiguous                                   columns contiguous
//! out[r, 0..16] += a[r, k] * b[k, 0..16]            part[r, c] += a[r, k..k + 16] * b[k..k + 16, c]
//! ```
//!
//! `tile(a rows, out rows, matrix, k, pitch, from, to, first, skipped, accumulate)`: two tables of row addresses; where
//! column 0 of the result would have its first element in the matrix, of which columns from `first` on exist; the
//! contracted width; bytes between rows (columns) of the matrix; the columns that are written; how many bytes of
//! the left operand's rows are skipped; whether to add.

use iced_x86::code_asm::{
    AsmMemoryOperand, AsmRegister32, AsmRegister64, edi, ptr, qword_ptr, r8, r9, r10, r11, r12, r13, r14,
    r15, r15d, rax, rbp, rbx, rcx, rdi, rdx, rsi, rsp,
};
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::instructions::{Three, Width};
use super::machine::{Machine, Source, Vector, memory, memory_scaled, nth};
use crate::backend::native::emit::EmitError;
use crate::backend::native::pack::Order;

/// Number of parameters.
pub const PARAMS: usize = 10;

/// Lanes of a vector.
const LANES: usize = 16;
/// Bytes of a vector.
const VECTOR: i64 = 64;
/// Vectors of `k` in a turn of the loop over contiguous columns.
const UNROLL: i64 = 4;
/// Rows of the matrix from the one that is read to the one that is asked for.
const AHEAD: i32 = 12;
/// Columns whose sums are added up together.
const QUAD: usize = 4;

/// Registers of the left operand's rows.
const A: [AsmRegister64; 8] = [rax, rbx, rbp, r10, r11, r12, r13, r14];
/// Registers of columns; a single row leaves the last three free, which has the most columns.
const BASES: [AsmRegister64; 6] = [r13, r14, r15, rbx, rbp, r10];
/// Preserved for the caller.
const SAVED: [AsmRegister64; 6] = [rbx, rbp, r12, r13, r14, r15];
/// Words on the stack of its own: columns to come, and a bound of `k`.
const OWN: usize = 2;

/// The most rows of a tile.
pub fn most_rows(order: Order) -> usize {
    match order {
        Order::Rows(_) => 8,
        Order::Columns => 6,
    }
}

/// Fewest columns of a matrix, so that a tile never reads beyond it.
pub fn least_columns(order: Order) -> usize {
    match order {
        Order::Rows(_) => 1,
        Order::Columns => LANES,
    }
}

/// The machine code of a tile of some rows, by a matrix whose rows or columns lie without gaps.
///
/// # Errors
/// If the assembler refuses an instruction.
pub fn tile(order: Order, rows: usize) -> Result<Vec<u8>, EmitError> {
    let mut tile = Tile { machine: Machine::new(Width::Zmm)?, rows };
    for register in SAVED {
        tile.machine.asm.push(register)?;
    }
    tile.machine.asm.sub(rsp, 8 * OWN as i32)?;
    for (row, &register) in A.iter().enumerate().take(rows) {
        tile.machine.asm.mov(register, qword_ptr(rdi + 8 * row as i32))?;
        tile.machine.asm.add(register, parameter(SKIPPED))?;
    }
    match order {
        Order::Rows(_) => tile.over_rows()?,
        Order::Columns => tile.over_columns()?,
    }
    let asm = &mut tile.machine.asm;
    asm.add(rsp, 8 * OWN as i32)?;
    for register in SAVED.into_iter().rev() {
        asm.pop(register)?;
    }
    asm.vzeroupper()?;
    asm.ret()?;
    tile.machine.finish()
}

/// The parameters on the stack.
const TO: usize = 0;
const FIRST: usize = 1;
const SKIPPED: usize = 2;
const ACCUMULATE: usize = 3;

fn parameter(number: usize) -> AsmMemoryOperand {
    qword_ptr(rsp + 8 * (OWN + SAVED.len() + 1 + number) as i32)
}

/// Words of its own on the stack.
fn own(number: usize) -> AsmMemoryOperand {
    qword_ptr(rsp + 8 * number as i32)
}

/// A tile as it is written.
struct Tile {
    machine: Machine,
    rows: usize,
}

impl Tile {
    /// An instruction on the lanes of a mask register.
    fn masked(
        &mut self,
        mut instruction: Instruction,
        mask: Register,
        zeroing: bool,
    ) -> Result<(), EmitError> {
        instruction.set_op_mask(mask);
        instruction.set_zeroing_masking(zeroing);
        Ok(self.machine.asm.add_instruction(instruction)?)
    }

    fn load(&mut self, to: Vector, from: MemoryOperand, mask: Register) -> Result<(), EmitError> {
        let code = Code::EVEX_Vmovups_zmm_k1z_zmmm512;
        let load = Instruction::with2(code, self.machine.register(to), from)?;
        self.masked(load, mask, true)
    }

    fn clear(&mut self, vector: Vector) -> Result<(), EmitError> {
        self.machine.three(Three::Xor, vector, vector, vector)
    }

    /// `(1 << count) - 1` of the first lanes, for a count that may be below 0 or beyond 32; `count` becomes it, and rdi is
    /// spent.
    fn ones(&mut self, count: AsmRegister64, low: AsmRegister32) -> Result<(), EmitError> {
        let asm = &mut self.machine.asm;
        asm.mov(edi, 0)?;
        asm.cmp(count, 0)?;
        asm.cmovl(count, rdi)?;
        asm.mov(edi, 32)?;
        asm.cmp(count, 32)?;
        asm.cmovg(count, rdi)?;
        asm.mov(edi, -1)?;
        Ok(asm.bzhi(low, edi, low)?)
    }

    fn mask(&mut self, mask: Register, from: Register) -> Result<(), EmitError> {
        Ok(self.machine.asm.add_instruction(Instruction::with2(Code::VEX_Kmovw_kr_r32, mask, from)?)?)
    }
}

// Rows of the matrix contiguous.
impl Tile {
    /// Vectors of columns: as many sums as registers hold beside the columns, or the numbers that multiply them.
    fn vectors(&self) -> usize {
        match self.rows {
            1..=5 => 5,
            6 => 4,
            _ => 3,
        }
    }

    /// Whether there is a register for it, and so little to do with each row of the matrix that it has to be asked for.
    fn asks_ahead(&self) -> bool {
        self.rows <= 6
    }

    fn sum(&self, row: usize, vector: usize) -> Vector {
        Vector((row * self.vectors() + vector) as u8)
    }

    /// The register of an operand that is read at each step.
    fn moment(&self, number: usize) -> Vector {
        Vector((self.rows * self.vectors() + number) as u8)
    }

    /// Element `vector` of the result's row in rdi.
    fn result(&self, vector: usize) -> MemoryOperand {
        memory_scaled(rdi.into(), Some(r9.into()), 4, vector as i64 * VECTOR)
    }

    fn over_rows(&mut self) -> Result<(), EmitError> {
        let (rows, vectors) = (self.rows, self.vectors());
        let masks = |vector: usize| Register::K1 + vector as u32;
        let asm = &mut self.machine.asm;
        let mut columns = asm.create_label();
        let mut fresh = asm.create_label();
        let mut begin = asm.create_label();
        let mut step = asm.create_label();
        let mut summed = asm.create_label();
        asm.shl(rcx, 2)?;
        asm.set_label(&mut columns)?;
        for vector in 0..vectors {
            let asm = &mut self.machine.asm;
            asm.mov(r15, parameter(TO))?;
            asm.sub(r15, r9)?;
            asm.sub(r15, (vector * LANES) as i32)?;
            self.ones(r15, r15d)?;
            self.mask(masks(vector), Register::R15D)?;
        }
        let asm = &mut self.machine.asm;
        asm.lea(r15, ptr(rdx + r9 * 4))?;
        if self.asks_ahead() {
            self.machine.asm.imul_3(r14, r8, AHEAD)?;
        }
        let asm = &mut self.machine.asm;
        asm.cmp(parameter(ACCUMULATE), 0)?;
        asm.je(fresh)?;
        for row in 0..rows {
            self.machine.asm.mov(rdi, qword_ptr(rsi + 8 * row as i32))?;
            for vector in 0..vectors {
                self.load(self.sum(row, vector), self.result(vector), masks(vector))?;
            }
        }
        self.machine.asm.jmp(begin)?;
        self.machine.asm.set_label(&mut fresh)?;
        for sum in 0..rows * vectors {
            self.clear(Vector(sum as u8))?;
        }
        self.machine.asm.set_label(&mut begin)?;
        self.machine.asm.xor(edi, edi)?;
        self.machine.asm.test(rcx, rcx)?;
        self.machine.asm.je(summed)?;
        self.machine.asm.set_label(&mut step)?;
        let at = |vector: usize| memory(r15.into(), None, vector as i64 * VECTOR);
        let number = |row: usize| memory(A[row].into(), Some(rdi.into()), 0);
        if self.asks_ahead() {
            for vector in 0..vectors {
                let ahead = memory(r15.into(), Some(r14.into()), vector as i64 * VECTOR);
                self.machine.prefetch(false, ahead)?;
            }
        }
        if rows == 1 {
            // Columns are used once: they are operands in memory.
            let spread = self.moment(0);
            self.machine.broadcast(spread, number(0))?;
            for vector in 0..vectors {
                let [sum, spread] = [self.sum(0, vector), spread].map(|one| self.machine.register(one));
                let code = Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er;
                let instruction = Instruction::with3(code, sum, spread, at(vector))?;
                self.masked(instruction, masks(vector), false)?;
            }
        } else if rows <= 4 {
            // Numbers in registers, the columns one after the other.
            for row in 0..rows {
                self.machine.broadcast(self.moment(row), number(row))?;
            }
            for vector in 0..vectors {
                let column = self.moment(rows);
                self.load(column, at(vector), masks(vector))?;
                for row in 0..rows {
                    let sum = self.sum(row, vector);
                    self.machine.three(Three::Fma231(false, false), sum, self.moment(row), column)?;
                }
            }
        } else {
            for vector in 0..vectors {
                self.load(self.moment(vector), at(vector), masks(vector))?;
            }
            for row in 0..rows {
                let spread = self.moment(vectors);
                self.machine.broadcast(spread, number(row))?;
                for vector in 0..vectors {
                    let sum = self.sum(row, vector);
                    self.machine.three(Three::Fma231(false, false), sum, spread, self.moment(vector))?;
                }
            }
        }
        let asm = &mut self.machine.asm;
        asm.add(r15, r8)?;
        asm.add(rdi, 4)?;
        asm.cmp(rdi, rcx)?;
        asm.jl(step)?;
        asm.set_label(&mut summed)?;
        for row in 0..rows {
            self.machine.asm.mov(rdi, qword_ptr(rsi + 8 * row as i32))?;
            for vector in 0..vectors {
                let code = Code::EVEX_Vmovups_zmmm512_k1z_zmm;
                let sum = self.machine.register(self.sum(row, vector));
                let store = Instruction::with2(code, self.result(vector), sum)?;
                self.masked(store, masks(vector), false)?;
            }
        }
        let asm = &mut self.machine.asm;
        asm.add(r9, (vectors * LANES) as i32)?;
        asm.cmp(r9, parameter(TO))?;
        Ok(asm.jl(columns)?)
    }
}

// Columns of the matrix contiguous.
impl Tile {
    /// Columns at once.
    fn columns(&self) -> usize {
        match self.rows {
            1 => 16,
            2 | 3 => 8,
            _ => QUAD,
        }
    }

    /// Base registers of columns, see [`nth`].
    fn bases(&self) -> &'static [AsmRegister64] {
        &BASES[..self.columns().div_ceil(3)]
    }

    /// The parts of the sum of a row and a column.
    fn parts(&self, row: usize, column: usize) -> Vector {
        Vector((row * self.columns() + column) as u8)
    }

    fn over_columns(&mut self) -> Result<(), EmitError> {
        let (rows, columns) = (self.rows, self.columns());
        let asm = &mut self.machine.asm;
        let mut several = asm.create_label();
        asm.mov(own(0), r9)?;
        // Lanes of k behind the whole vectors.
        asm.mov(r15, rcx)?;
        asm.and(r15, LANES as i32 - 1)?;
        self.ones(r15, r15d)?;
        self.mask(Register::K1, Register::R15D)?;
        self.machine.asm.set_label(&mut several)?;
        self.place_columns()?;
        for part in 0..rows * columns {
            self.clear(Vector(part as u8))?;
        }
        self.products()?;
        for row in 0..rows {
            self.machine.asm.mov(rdi, qword_ptr(rsi + 8 * row as i32))?;
            for quad in 0..columns / QUAD {
                self.add_up(row, quad)?;
            }
        }
        let asm = &mut self.machine.asm;
        asm.mov(r15, own(0))?;
        asm.add(r15, columns as i32)?;
        asm.mov(own(0), r15)?;
        asm.cmp(r15, parameter(TO))?;
        Ok(asm.jl(several)?)
    }

    /// Says in r9 where the columns begin, all of which exist, sets the masks of those to write, and the bases.
    fn place_columns(&mut self) -> Result<(), EmitError> {
        let columns = self.columns();
        let bases = self.bases();
        let asm = &mut self.machine.asm;
        asm.mov(r9, parameter(TO))?;
        asm.sub(r9, columns as i32)?;
        asm.cmp(r9, own(0))?;
        asm.cmovg(r9, own(0))?;
        asm.cmp(r9, parameter(FIRST))?;
        asm.cmovl(r9, parameter(FIRST))?;
        // Those from the columns to come on up to the end.
        asm.mov(r15, own(0))?;
        asm.sub(r15, r9)?;
        self.ones(r15, r15d)?;
        self.machine.asm.mov(r13, r15)?;
        self.machine.asm.mov(r15, parameter(TO))?;
        self.machine.asm.sub(r15, r9)?;
        self.ones(r15, r15d)?;
        let asm = &mut self.machine.asm;
        asm.xor(r15, r13)?;
        for quad in 0..columns / QUAD {
            if quad > 0 {
                self.machine.asm.shr(r15d, QUAD as i32)?;
            }
            self.mask(Register::K2 + quad as u32, Register::R15D)?;
        }
        let asm = &mut self.machine.asm;
        asm.mov(bases[0], r9)?;
        asm.imul_2(bases[0], r8)?;
        asm.add(bases[0], rdx)?;
        self.machine.place_bases(bases, r8)
    }

    /// All products: turns of several vectors of `k`, single vectors, and a rest of one.
    fn products(&mut self) -> Result<(), EmitError> {
        let asm = &mut self.machine.asm;
        asm.xor(edi, edi)?;
        self.whole(UNROLL)?;
        self.whole(1)?;
        let mut done = self.machine.asm.create_label();
        let asm = &mut self.machine.asm;
        asm.test(rcx, LANES as i32 - 1)?;
        asm.je(done)?;
        self.step(0, Some(Register::K1))?;
        self.machine.asm.set_label(&mut done)?;
        // Labels that meet need an instruction between them.
        Ok(self.machine.asm.nop()?)
    }

    /// So many vectors of `k` at a time, as long as there are as many.
    fn whole(&mut self, vectors: i64) -> Result<(), EmitError> {
        let bases = self.bases();
        let asm = &mut self.machine.asm;
        let mut turn = asm.create_label();
        let mut done = asm.create_label();
        let bytes = (vectors * VECTOR) as i32;
        // rdi counts bytes: the last turn begins so many before the end at the latest.
        asm.mov(own(1), r9)?;
        asm.lea(r9, ptr(rcx * 4))?;
        asm.sub(r9, bytes)?;
        asm.cmp(rdi, r9)?;
        asm.jg(done)?;
        asm.set_label(&mut turn)?;
        for vector in 0..vectors {
            self.step(vector * VECTOR, None)?;
        }
        let asm = &mut self.machine.asm;
        asm.add(rdi, bytes)?;
        for &base in bases {
            asm.add(base, bytes)?;
        }
        asm.cmp(rdi, r9)?;
        asm.jle(turn)?;
        asm.set_label(&mut done)?;
        Ok(asm.mov(r9, own(1))?)
    }

    /// The products of a vector of `k`, so many bytes from here.
    fn step(&mut self, displacement: i64, mask: Option<Register>) -> Result<(), EmitError> {
        let (rows, columns) = (self.rows, self.columns());
        let moment = |number: usize| Vector((rows * columns + number) as u8);
        let read = |tile: &mut Tile, to: Vector, from: MemoryOperand| match mask {
            None => tile.machine.load(to, from),
            Some(mask) => tile.load(to, from, mask),
        };
        for (row, &register) in A.iter().enumerate().take(rows) {
            read(self, moment(row), memory(register.into(), Some(rdi.into()), displacement))?;
        }
        for column in 0..columns {
            let from = nth(self.bases(), r8, column, displacement);
            let factor = match (rows, mask) {
                (1, None) => Source::Memory(from),
                _ => {
                    read(self, moment(rows), from)?;
                    Source::Register(moment(rows))
                }
            };
            for row in 0..rows {
                let parts = self.parts(row, column);
                self.machine.three(Three::Fma231(false, false), parts, moment(row), factor)?;
            }
        }
        Ok(())
    }

    /// Adds up the parts of four columns of a row, whose result is in rdi, and writes those that are to be.
    ///
    /// ```text
    /// a0 a1 a2 a3 | …   b0 b1 b2 b3 | …   →   a0+a2 b0+b2 a1+a3 b1+b3 | …
    /// and with c and d                    →   a b c d | …   →   lanes added
    /// ```
    fn add_up(&mut self, row: usize, quad: usize) -> Result<(), EmitError> {
        let [a, b, c, d] = [0, 1, 2, 3].map(|column| self.parts(row, quad * QUAD + column));
        let spare = Vector(31);
        for (x, y) in [(a, b), (c, d)] {
            self.interleave(Code::EVEX_Vunpcklps_zmm_k1z_zmm_zmmm512b32, spare, x, y)?;
            self.interleave(Code::EVEX_Vunpckhps_zmm_k1z_zmm_zmmm512b32, x, x, y)?;
            self.machine.three(Three::Add, x, x, spare)?;
        }
        self.interleave(Code::EVEX_Vunpcklpd_zmm_k1z_zmm_zmmm512b64, spare, a, c)?;
        self.interleave(Code::EVEX_Vunpckhpd_zmm_k1z_zmm_zmmm512b64, a, a, c)?;
        self.machine.three(Three::Add, a, a, spare)?;
        let number = |vector: Vector| u32::from(vector.0);
        let [ymm, low, ymm_spare, low_spare] = [
            Register::YMM0 + number(a),
            Register::XMM0 + number(a),
            Register::YMM0 + number(spare),
            Register::XMM0 + number(spare),
        ];
        let zmm = self.machine.register(a);
        let asm = &mut self.machine.asm;
        let halves = Code::EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8;
        asm.add_instruction(Instruction::with3(halves, ymm_spare, zmm, 1)?)?;
        let add = Code::EVEX_Vaddps_ymm_k1z_ymm_ymmm256b32;
        asm.add_instruction(Instruction::with3(add, ymm, ymm, ymm_spare)?)?;
        let quarters = Code::EVEX_Vextractf32x4_xmmm128_k1z_ymm_imm8;
        asm.add_instruction(Instruction::with3(quarters, low_spare, ymm, 1)?)?;
        let add = Code::EVEX_Vaddps_xmm_k1z_xmm_xmmm128b32;
        asm.add_instruction(Instruction::with3(add, low, low, low_spare)?)?;
        let mut fresh = asm.create_label();
        asm.cmp(parameter(ACCUMULATE), 0)?;
        asm.je(fresh)?;
        let mask = Register::K2 + quad as u32;
        let to = memory_scaled(rdi.into(), Some(r9.into()), 4, (quad * QUAD * 4) as i64);
        self.masked(Instruction::with3(add, low, low, to)?, mask, false)?;
        self.machine.asm.set_label(&mut fresh)?;
        let store = Code::EVEX_Vmovups_xmmm128_k1z_xmm;
        self.masked(Instruction::with2(store, to, low)?, mask, false)
    }

    fn interleave(&mut self, code: Code, d: Vector, a: Vector, b: Vector) -> Result<(), EmitError> {
        let [d, a, b] = [d, a, b].map(|vector| self.machine.register(vector));
        Ok(self.machine.asm.add_instruction(Instruction::with3(code, d, a, b)?)?)
    }
}
