//! The machine that wide code is written for: registers, vector instructions of either width, constants.
//!
//! `m.three(Three::Multiply, d, a, m.number(0.5))` is `vmulps zmm, zmm, [pool]{1to16}` with AVX-512 and
//! `vmulps ymm, ymm, [pool]` with AVX2. Constants lie behind the code and are addressed from one register, so
//! that a function needs no relocation. Integer instructions are written with the assembler directly.

use std::collections::HashMap;

use iced_x86::code_asm::{AsmRegister64, CodeAssembler, CodeLabel, eax, k1, r15};
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use super::instructions::{self, Compare, Rounding, Three, Two, Width};
use crate::backend::native::emit::EmitError;

/// A vector register by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vector(pub u8);

/// The last operand of a vector instruction.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A register.
    Register(Vector),
    /// A whole vector in memory.
    Memory(MemoryOperand),
    /// A number in every lane, at an offset of the pool.
    Number(usize),
}

impl From<Vector> for Source {
    fn from(vector: Vector) -> Source {
        Source::Register(vector)
    }
}

/// The register that addresses the constants.
pub const POOL: AsmRegister64 = r15;
/// The mask register of the lanes that exist, in masked instructions.
pub const LANES: Register = Register::K1;
/// A mask register for a moment.
const MOMENT: Register = Register::K2;

/// An error of the assembler, which is a fault of the compiler.
impl From<IcedError> for EmitError {
    fn from(error: IcedError) -> EmitError {
        EmitError::Codegen(format!("assembler: {error}"))
    }
}

/// A function being assembled.
pub struct Machine {
    /// Integer instructions, labels and jumps.
    pub asm: CodeAssembler,
    /// The target's vectors.
    pub width: Width,
    pool: Vec<u8>,
    known: HashMap<Vec<u8>, usize>,
    pool_label: CodeLabel,
}

impl Machine {
    /// An empty function.
    pub fn new(width: Width) -> Result<Machine, EmitError> {
        let mut asm = CodeAssembler::new(64)?;
        asm.set_prefer_vex(true);
        let pool_label = asm.create_label();
        Ok(Machine { asm, width, pool: Vec::new(), known: HashMap::new(), pool_label })
    }

    /// Loads the address of the constants into [`POOL`].
    pub fn address_pool(&mut self) -> Result<(), EmitError> {
        Ok(self.asm.lea(POOL, iced_x86::code_asm::ptr(self.pool_label))?)
    }

    /// With AVX2, the mask of the lanes below `count`, which is at most all; both registers are spent.
    pub fn lanes_below(
        &mut self,
        lanes: Vector,
        count: AsmRegister64,
        spare: AsmRegister64,
    ) -> Result<(), EmitError> {
        let all = self.width.lanes();
        let words: Vec<u8> = [[0xff; 4], [0; 4]].iter().flat_map(|word| word.repeat(all)).collect();
        let at = self.bytes(&words) as i64;
        self.asm.lea(spare, iced_x86::code_asm::ptr(self.pool_label))?;
        self.asm.neg(count)?;
        let from = memory_scaled(spare.into(), Some(count.into()), 4, at + 4 * all as i64);
        self.load(lanes, from)
    }

    /// Sets the base registers behind the first, each three pitches from the one before (see [`nth`]).
    pub fn place_bases(&mut self, bases: &[AsmRegister64], pitch: AsmRegister64) -> Result<(), EmitError> {
        for pair in bases.windows(2) {
            self.asm.lea(pair[1], iced_x86::code_asm::ptr(pair[0] + pitch * 2))?;
            self.asm.add(pair[1], pitch)?;
        }
        Ok(())
    }

    /// The finished function with its constants behind it.
    pub fn finish(mut self) -> Result<Vec<u8>, EmitError> {
        if !self.pool.is_empty() {
            // Aligned to a vector when the function is.
            let length = self.asm.assemble(0)?.len();
            let filler = length.next_multiple_of(64) - length;
            if filler > 0 {
                self.asm.db(&vec![0xcc; filler])?;
            }
            self.asm.set_label(&mut self.pool_label)?;
            for piece in self.pool.chunks(16) {
                self.asm.db(piece)?;
            }
        }
        Ok(self.asm.assemble(0)?)
    }

    /// Bytes in the pool, once for all equal ones; their offset.
    pub fn bytes(&mut self, bytes: &[u8]) -> usize {
        if let Some(&known) = self.known.get(bytes) {
            return known;
        }
        let at = self.pool.len().next_multiple_of(bytes.len().max(4));
        self.pool.resize(at, 0);
        self.pool.extend_from_slice(bytes);
        self.known.insert(bytes.to_vec(), at);
        at
    }

    /// The same 32 bits in every lane.
    pub fn bits(&mut self, bits: u32) -> Source {
        let copies = match self.width {
            Width::Ymm => self.width.lanes(),
            Width::Zmm => 1,
        };
        Source::Number(self.bytes(&bits.to_le_bytes().repeat(copies)))
    }

    /// The same real in every lane.
    pub fn number(&mut self, number: f64) -> Source {
        self.bits((number as f32).to_bits())
    }

    /// A vector of given 32-bit lanes.
    pub fn lanes(&mut self, lanes: &[u32]) -> Source {
        let bytes: Vec<u8> = lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect();
        let at = self.bytes(&bytes);
        Source::Memory(memory(POOL.into(), None, at as i64))
    }

    /// The register of a number.
    pub fn register(&self, vector: Vector) -> Register {
        match self.width {
            Width::Ymm => Register::YMM0 + u32::from(vector.0),
            Width::Zmm => Register::ZMM0 + u32::from(vector.0),
        }
    }

    fn with(&mut self, code: Code, first: &[Register], last: Source) -> Result<Instruction, EmitError> {
        let mut broadcast = false;
        let memory = match last {
            Source::Register(vector) => Err(self.register(vector)),
            Source::Memory(memory) => Ok(memory),
            Source::Number(at) => {
                broadcast = self.width == Width::Zmm;
                Ok(memory(POOL.into(), None, at as i64))
            }
        };
        let mut instruction = match (first, memory) {
            ([a], Ok(m)) => Instruction::with2(code, *a, m)?,
            ([a], Err(r)) => Instruction::with2(code, *a, r)?,
            ([a, b], Ok(m)) => Instruction::with3(code, *a, *b, m)?,
            ([a, b], Err(r)) => Instruction::with3(code, *a, *b, r)?,
            _ => return Err(EmitError::Codegen("an instruction with too many registers".into())),
        };
        instruction.set_is_broadcast(broadcast);
        Ok(instruction)
    }

    /// `d = op(a, b)`; the multiply-adds also read `d`.
    pub fn three(&mut self, op: Three, d: Vector, a: Vector, b: impl Into<Source>) -> Result<(), EmitError> {
        let registers = [self.register(d), self.register(a)];
        let instruction = self.with(instructions::three(op, self.width)?, &registers, b.into())?;
        Ok(self.asm.add_instruction(instruction)?)
    }

    /// `d = op(a)`.
    pub fn two(&mut self, op: Two, d: Vector, a: impl Into<Source>) -> Result<(), EmitError> {
        let a = a.into();
        let code = match (op, self.width, a) {
            // A number is copied by broadcasting it.
            (Two::Copy, Width::Zmm, Source::Number(at)) => {
                return self.broadcast(d, memory(POOL.into(), None, at as i64));
            }
            (Two::Broadcast, Width::Zmm, Source::Register(from)) => {
                let from = Register::XMM0 + u32::from(from.0);
                let code = Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32;
                return Ok(self.asm.add_instruction(Instruction::with2(code, self.register(d), from)?)?);
            }
            (Two::Broadcast, Width::Ymm, Source::Register(from)) => {
                let from = Register::XMM0 + u32::from(from.0);
                let code = Code::VEX_Vbroadcastss_ymm_xmm;
                return Ok(self.asm.add_instruction(Instruction::with2(code, self.register(d), from)?)?);
            }
            _ => instructions::two(op, self.width)?,
        };
        let instruction = self.with(code, &[self.register(d)], a)?;
        Ok(self.asm.add_instruction(instruction)?)
    }

    /// One real from memory in every lane.
    pub fn broadcast(&mut self, d: Vector, from: MemoryOperand) -> Result<(), EmitError> {
        let code = match self.width {
            Width::Ymm => Code::VEX_Vbroadcastss_ymm_m32,
            Width::Zmm => Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32,
        };
        Ok(self.asm.add_instruction(Instruction::with2(code, self.register(d), from)?)?)
    }

    /// One 32-bit word of a general register in every lane.
    pub fn spread(&mut self, d: Vector, from: Register) -> Result<(), EmitError> {
        match self.width {
            Width::Zmm => {
                let code = Code::EVEX_Vpbroadcastd_zmm_k1z_r32;
                Ok(self.asm.add_instruction(Instruction::with2(code, self.register(d), from)?)?)
            }
            Width::Ymm => {
                let low = Register::XMM0 + u32::from(d.0);
                self.asm.add_instruction(Instruction::with2(Code::VEX_Vmovd_xmm_rm32, low, from)?)?;
                let code = Code::VEX_Vpbroadcastd_ymm_xmmm32;
                Ok(self.asm.add_instruction(Instruction::with2(code, self.register(d), low)?)?)
            }
        }
    }

    /// A vector from memory.
    pub fn load(&mut self, d: Vector, from: MemoryOperand) -> Result<(), EmitError> {
        let code = match self.width {
            Width::Ymm => Code::VEX_Vmovups_ymm_ymmm256,
            Width::Zmm => Code::EVEX_Vmovups_zmm_k1z_zmmm512,
        };
        Ok(self.asm.add_instruction(Instruction::with2(code, self.register(d), from)?)?)
    }

    /// Asks for a line of memory, to be read or to be written soon; anything may be asked for.
    pub fn prefetch(&mut self, to_write: bool, at: MemoryOperand) -> Result<(), EmitError> {
        let code = if to_write { Code::Prefetchw_m8 } else { Code::Prefetcht0_m8 };
        Ok(self.asm.add_instruction(Instruction::with1(code, at)?)?)
    }

    /// A vector to memory.
    pub fn store(&mut self, to: MemoryOperand, a: Vector) -> Result<(), EmitError> {
        let code = match self.width {
            Width::Ymm => Code::VEX_Vmovups_ymmm256_ymm,
            Width::Zmm => Code::EVEX_Vmovups_zmmm512_k1z_zmm,
        };
        Ok(self.asm.add_instruction(Instruction::with2(code, to, self.register(a))?)?)
    }

    /// The lanes that exist from memory, zeros in the others. With AVX2 `lanes` is the mask.
    pub fn load_masked(&mut self, d: Vector, from: MemoryOperand, lanes: Vector) -> Result<(), EmitError> {
        let instruction = match self.width {
            Width::Ymm => Instruction::with3(
                Code::VEX_Vmaskmovps_ymm_ymm_m256,
                self.register(d),
                self.register(lanes),
                from,
            )?,
            Width::Zmm => {
                let code = Code::EVEX_Vmovups_zmm_k1z_zmmm512;
                let mut instruction = Instruction::with2(code, self.register(d), from)?;
                instruction.set_op_mask(LANES);
                instruction.set_zeroing_masking(true);
                instruction
            }
        };
        Ok(self.asm.add_instruction(instruction)?)
    }

    /// The lanes that exist to memory. With AVX2 `lanes` is the mask.
    pub fn store_masked(&mut self, to: MemoryOperand, a: Vector, lanes: Vector) -> Result<(), EmitError> {
        let instruction = match self.width {
            Width::Ymm => Instruction::with3(
                Code::VEX_Vmaskmovps_m256_ymm_ymm,
                to,
                self.register(lanes),
                self.register(a),
            )?,
            Width::Zmm => {
                let code = Code::EVEX_Vmovups_zmmm512_k1z_zmm;
                let mut instruction = Instruction::with2(code, to, self.register(a))?;
                instruction.set_op_mask(LANES);
                instruction
            }
        };
        Ok(self.asm.add_instruction(instruction)?)
    }

    /// `d = a` in the lanes that exist, `otherwise` in the others. With AVX2 `lanes` is the mask.
    pub fn existing(
        &mut self,
        d: Vector,
        a: Vector,
        otherwise: Source,
        lanes: Vector,
    ) -> Result<(), EmitError> {
        self.two(Two::Copy, d, otherwise)?;
        let (d, a) = (self.register(d), self.register(a));
        let instruction = match self.width {
            Width::Ymm => {
                let code = Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm;
                Instruction::with4(code, d, d, a, self.register(lanes))?
            }
            Width::Zmm => {
                let mut instruction = Instruction::with2(Code::EVEX_Vmovups_zmm_k1z_zmmm512, d, a)?;
                instruction.set_op_mask(LANES);
                instruction
            }
        };
        Ok(self.asm.add_instruction(instruction)?)
    }

    /// The mask of the first `count` lanes. With AVX2 it is put into `lanes`.
    pub fn first_lanes(&mut self, count: usize, lanes: Vector) -> Result<(), EmitError> {
        match self.width {
            Width::Zmm => {
                self.asm.mov(eax, ((1u64 << count) - 1) as i32)?;
                Ok(self.asm.kmovw(k1, eax)?)
            }
            Width::Ymm => {
                let words: Vec<u32> =
                    (0..self.width.lanes()).map(|lane| if lane < count { u32::MAX } else { 0 }).collect();
                let words = self.lanes(&words);
                self.two(Two::Copy, lanes, words)
            }
        }
    }

    /// Exchanges halves of a vector, of its halves, and so on: in round 0 to the logarithm of the lanes.
    pub fn exchange(&mut self, round: usize, d: Vector, a: Vector) -> Result<(), EmitError> {
        let (d, a) = (self.register(d), self.register(a));
        let instruction = match (self.width, round) {
            (Width::Zmm, 0) => {
                Instruction::with4(Code::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8, d, a, a, 0x4e)?
            }
            (Width::Zmm, 1) => {
                Instruction::with4(Code::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8, d, a, a, 0xb1)?
            }
            (Width::Zmm, 2) => Instruction::with3(Code::EVEX_Vpermilps_zmm_k1z_zmmm512b32_imm8, d, a, 0x4e)?,
            (Width::Zmm, _) => Instruction::with3(Code::EVEX_Vpermilps_zmm_k1z_zmmm512b32_imm8, d, a, 0xb1)?,
            (Width::Ymm, 0) => Instruction::with4(Code::VEX_Vperm2f128_ymm_ymm_ymmm256_imm8, d, a, a, 0x01)?,
            (Width::Ymm, 1) => Instruction::with3(Code::VEX_Vpermilps_ymm_ymmm256_imm8, d, a, 0x4e)?,
            (Width::Ymm, _) => Instruction::with3(Code::VEX_Vpermilps_ymm_ymmm256_imm8, d, a, 0xb1)?,
        };
        Ok(self.asm.add_instruction(instruction)?)
    }

    /// The lowest lane to memory.
    pub fn store_lowest(&mut self, to: MemoryOperand, a: Vector) -> Result<(), EmitError> {
        let code = match self.width {
            Width::Ymm => Code::VEX_Vmovss_m32_xmm,
            Width::Zmm => Code::EVEX_Vmovss_m32_k1_xmm,
        };
        let a = Register::XMM0 + u32::from(a.0);
        Ok(self.asm.add_instruction(Instruction::with2(code, to, a)?)?)
    }

    /// `a` rounded to an integral real.
    pub fn round(&mut self, how: Rounding, d: Vector, a: impl Into<Source>) -> Result<(), EmitError> {
        let mode: u32 = match how {
            Rounding::Nearest => 0x08,
            Rounding::Down => 0x09,
        };
        let code = match self.width {
            Width::Ymm => Code::VEX_Vroundps_ymm_ymmm256_imm8,
            Width::Zmm => Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae,
        };
        let d = self.register(d);
        let instruction = match a.into() {
            Source::Register(a) => Instruction::with3(code, d, self.register(a), mode)?,
            Source::Memory(a) => Instruction::with3(code, d, a, mode)?,
            Source::Number(at) => {
                let mut instruction =
                    Instruction::with3(code, d, memory(POOL.into(), None, at as i64), mode)?;
                instruction.set_is_broadcast(self.width == Width::Zmm);
                instruction
            }
        };
        Ok(self.asm.add_instruction(instruction)?)
    }

    /// Integers shifted by a constant: to the left if positive, else (as unsigned ones) to the right.
    pub fn shift(&mut self, d: Vector, a: Vector, by: i32) -> Result<(), EmitError> {
        let code = match (self.width, by > 0) {
            (Width::Ymm, true) => Code::VEX_Vpslld_ymm_ymm_imm8,
            (Width::Ymm, false) => Code::VEX_Vpsrld_ymm_ymm_imm8,
            (Width::Zmm, true) => Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8,
            (Width::Zmm, false) => Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8,
        };
        let (d, a) = (self.register(d), self.register(a));
        Ok(self.asm.add_instruction(Instruction::with3(code, d, a, by.unsigned_abs())?)?)
    }

    /// `d = yes` where `a` and `b` compare so, else `no`. `scratch` may be `d` unless that is a source.
    pub fn choose(
        &mut self,
        (how, integers): (Compare, bool),
        (a, b): (Vector, Source),
        (yes, no): (Source, Vector),
        d: Vector,
        scratch: Vector,
    ) -> Result<(), EmitError> {
        match self.width {
            Width::Zmm => {
                self.mask(how, integers, a, b)?;
                let code = Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32;
                let registers = [self.register(d), self.register(no)];
                let mut instruction = self.with(code, &registers, yes)?;
                instruction.set_op_mask(MOMENT);
                Ok(self.asm.add_instruction(instruction)?)
            }
            Width::Ymm => {
                self.compare_into(scratch, how, integers, a, b)?;
                let code = Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm;
                let (d, no, mask) = (self.register(d), self.register(no), self.register(scratch));
                let instruction = match yes {
                    Source::Register(yes) => Instruction::with4(code, d, no, self.register(yes), mask)?,
                    Source::Memory(yes) => Instruction::with4(code, d, no, yes, mask)?,
                    Source::Number(at) => {
                        Instruction::with4(code, d, no, memory(POOL.into(), None, at as i64), mask)?
                    }
                };
                Ok(self.asm.add_instruction(instruction)?)
            }
        }
    }

    /// `d` = 1.0 where `a` and `b` compare so, else 0.
    pub fn truth(
        &mut self,
        how: Compare,
        integers: bool,
        d: Vector,
        a: Vector,
        b: Source,
    ) -> Result<(), EmitError> {
        let one = self.number(1.0);
        match self.width {
            Width::Zmm => {
                self.mask(how, integers, a, b)?;
                let Source::Number(at) = one else {
                    return Err(EmitError::Codegen("a number that is none".into()));
                };
                let code = Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32;
                let from = memory(POOL.into(), None, at as i64);
                let mut instruction = Instruction::with2(code, self.register(d), from)?;
                instruction.set_op_mask(MOMENT);
                instruction.set_zeroing_masking(true);
                Ok(self.asm.add_instruction(instruction)?)
            }
            Width::Ymm => {
                self.compare_into(d, how, integers, a, b)?;
                self.three(Three::And, d, d, one)
            }
        }
    }

    /// The momentary mask where `a` and `b` compare so.
    fn mask(&mut self, how: Compare, integers: bool, a: Vector, b: Source) -> Result<(), EmitError> {
        let a = self.register(a);
        let (code, predicate) = match integers {
            false => (Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae, how.predicate()),
            true => (Code::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8, u32::from(how != Compare::Equal) * 4),
        };
        let mut broadcast = false;
        let mut instruction = match b {
            Source::Register(b) => Instruction::with4(code, MOMENT, a, self.register(b), predicate)?,
            Source::Memory(b) => Instruction::with4(code, MOMENT, a, b, predicate)?,
            Source::Number(at) => {
                broadcast = true;
                Instruction::with4(code, MOMENT, a, memory(POOL.into(), None, at as i64), predicate)?
            }
        };
        instruction.set_is_broadcast(broadcast);
        Ok(self.asm.add_instruction(instruction)?)
    }

    /// With AVX2, all bits of the lanes where `a` and `b` compare so.
    fn compare_into(
        &mut self,
        d: Vector,
        how: Compare,
        integers: bool,
        a: Vector,
        b: Source,
    ) -> Result<(), EmitError> {
        if integers {
            let code = Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256;
            let registers = [self.register(d), self.register(a)];
            let instruction = self.with(code, &registers, b)?;
            return Ok(self.asm.add_instruction(instruction)?);
        }
        let code = Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8;
        let (d, a, how) = (self.register(d), self.register(a), how.predicate());
        let instruction = match b {
            Source::Register(b) => Instruction::with4(code, d, a, self.register(b), how)?,
            Source::Memory(b) => Instruction::with4(code, d, a, b, how)?,
            Source::Number(at) => Instruction::with4(code, d, a, memory(POOL.into(), None, at as i64), how)?,
        };
        Ok(self.asm.add_instruction(instruction)?)
    }
}

/// `[base + index + displacement]`.
pub fn memory(base: Register, index: Option<Register>, displacement: i64) -> MemoryOperand {
    memory_scaled(base, index, 1, displacement)
}

/// The `number`th of things that lie a pitch apart, of which every third has a base register: an index may be once or twice
/// the pitch (see [`Machine::place_bases`]).
pub fn nth(bases: &[AsmRegister64], pitch: AsmRegister64, number: usize, displacement: i64) -> MemoryOperand {
    let (base, pitch): (Register, Register) = (bases[number / 3].into(), pitch.into());
    match number % 3 {
        0 => memory(base, None, displacement),
        times => memory_scaled(base, Some(pitch), times as u32, displacement),
    }
}

/// `[base + index * scale + displacement]`.
pub fn memory_scaled(
    base: Register,
    index: Option<Register>,
    scale: u32,
    displacement: i64,
) -> MemoryOperand {
    // Any size but 0 lets the encoder choose between 8 and 32 bits.
    let size = u32::from(displacement != 0);
    let index = index.unwrap_or(Register::None);
    MemoryOperand::new(base, index, scale, displacement, size, false, Register::None)
}
