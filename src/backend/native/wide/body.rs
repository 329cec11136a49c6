//! Steps as instructions: which register holds which value.
//!
//! Values take registers as they are made and give them back after their last use. When none is free the
//! value whose next use is farthest away goes to the stack (Belady's rule, which is optimal for straight code
//! but for the cost of stores). A result takes the place of an operand that ends there, so that multiply-adds
//! seldom need a copy.

use std::collections::HashMap;

use iced_x86::code_asm::{AsmRegister64, dword_ptr, eax, ecx, qword_ptr, r8, r9, r10, r11, r12, r13, r14};
use iced_x86::code_asm::{rax, rbp, rbx, rcx, rdi, rdx, rsi, rsp};
use iced_x86::{MemoryOperand, Register};

use super::instructions::{Compare, Three, Two, Width};
use super::machine::{Machine, Source, Vector, memory, memory_scaled};
use super::steps::{Step, Work};
use crate::backend::native::emit::EmitError;
use crate::plan::Combining;

/// Registers of the first bases; the others are fetched from the frame where they are needed.
pub const BASES: [AsmRegister64; 11] = [rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14];
/// The index on the last dimension, in bytes of a word.
pub const INDEX: AsmRegister64 = rcx;

/// Where a step reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which base address.
    pub base: usize,
    /// Bytes behind it.
    pub displacement: i32,
    /// Elements from one index of the last dimension to the next.
    pub stride: usize,
    /// Bytes to the same element of the row that is worked on next, if that is known.
    pub ahead: Option<i32>,
}

/// Which lanes a body works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// All.
    All,
    /// Those of the mask: at the end of the last dimension, or one at a time.
    Some,
}

/// The stack frame: words, then vectors.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Offset of the base addresses.
    pub bases: i32,
    /// Offset of the counters of outer dimensions.
    pub counters: i32,
    /// Offset of vectors that have no register.
    pub vectors: i32,
}

/// Accumulators of a reduction.
#[derive(Clone, Copy, Debug)]
pub struct Accumulator {
    /// The sum, the maximum or the largest so far.
    pub value: Vector,
    /// For the largest: its index.
    pub index: Option<Vector>,
    /// That of the second of two vectors that are worked on at once.
    pub second: Option<Vector>,
}

/// A phase's steps with all that is needed to write them.
#[derive(Clone, Copy)]
pub struct Body<'b> {
    /// The steps.
    pub steps: &'b [Work],
    /// Places of those that have one.
    pub places: &'b HashMap<Step, Place>,
    /// By instruction.
    pub accumulators: &'b HashMap<usize, Accumulator>,
    /// With AVX2, the mask of lanes.
    pub lanes: Vector,
    /// Registers that are not the body's to use, from number 0 on.
    pub reserved: u8,
    /// The frame.
    pub frame: Frame,
    /// Number of dimensions.
    pub rank: usize,
}

/// Where values are while a body is written.
struct Writer<'w> {
    machine: &'w mut Machine,
    body: &'w Body<'w>,
    lanes: Lanes,
    /// Positions at which a step is read, in order.
    uses: Vec<Vec<usize>>,
    free: Vec<Vector>,
    register: HashMap<Step, Vector>,
    spilled: HashMap<Step, usize>,
    /// Vectors of the frame in use.
    deepest: usize,
    /// The step being written.
    at: usize,
    /// Registers for this step only.
    passing: Vec<Vector>,
}

impl Body<'_> {
    /// Writes the body once; how many vectors of the frame it uses.
    ///
    /// # Errors
    /// If the assembler refuses an instruction or a step reads what does not exist.
    pub fn write(&self, machine: &mut Machine, lanes: Lanes) -> Result<usize, EmitError> {
        let mut uses = vec![Vec::new(); self.steps.len()];
        for (at, work) in self.steps.iter().enumerate() {
            work.operands().into_iter().for_each(|operand| uses[operand].push(at));
        }
        let free = (self.reserved..machine.width.registers()).rev().map(Vector).collect();
        let mut writer = Writer {
            machine,
            body: self,
            lanes,
            uses,
            free,
            register: HashMap::new(),
            spilled: HashMap::new(),
            deepest: 0,
            at: 0,
            passing: Vec::new(),
        };
        for at in 0..self.steps.len() {
            writer.at = at;
            writer.step(&self.steps[at])?;
            writer.free.append(&mut writer.passing);
            writer.end_values();
        }
        Ok(writer.deepest)
    }
}

impl Writer<'_> {
    fn next_use(&self, step: Step) -> Option<usize> {
        self.uses[step].iter().copied().find(|&at| at > self.at)
    }

    fn ends_here(&self, step: Step) -> bool {
        self.next_use(step).is_none()
    }

    /// Gives back the registers of values that nothing reads any more.
    fn end_values(&mut self) {
        let ended: Vec<Step> = self.register.keys().copied().filter(|&step| self.ends_here(step)).collect();
        for step in ended {
            if let Some(vector) = self.register.remove(&step) {
                self.free.push(vector);
            }
        }
        // The order in which registers are given back must not depend on the hash.
        self.free.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// A register nobody uses.
    fn take(&mut self) -> Result<Vector, EmitError> {
        if let Some(vector) = self.free.pop() {
            return Ok(vector);
        }
        let operands = self.body.steps[self.at].operands();
        let farthest = self
            .register
            .keys()
            .copied()
            .filter(|step| !operands.contains(step) && *step != self.at)
            .max_by_key(|&step| (self.next_use(step), step));
        let Some(step) = farthest else {
            return Err(EmitError::Codegen("too few vector registers".into()));
        };
        let vector = self.register.remove(&step).unwrap_or(Vector(0));
        if !self.spilled.contains_key(&step) {
            let slot = self.spilled.len();
            self.spilled.insert(step, slot);
            self.deepest = self.deepest.max(slot + 1);
            let at = self.slot(slot);
            self.machine.store(at, vector)?;
        }
        Ok(vector)
    }

    fn passing(&mut self) -> Result<Vector, EmitError> {
        let vector = self.take()?;
        self.passing.push(vector);
        Ok(vector)
    }

    fn slot(&self, slot: usize) -> MemoryOperand {
        let offset = self.body.frame.vectors as i64 + (slot * self.machine.width.bytes()) as i64;
        memory(rsp.into(), None, offset)
    }

    fn as_bits(&self, step: Step) -> Option<u32> {
        match self.body.steps[step] {
            Work::Bits(bits) => Some(bits),
            _ => None,
        }
    }

    /// A value in a register.
    fn get(&mut self, step: Step) -> Result<Vector, EmitError> {
        if let Some(&vector) = self.register.get(&step) {
            return Ok(vector);
        }
        if let Some(bits) = self.as_bits(step) {
            let vector = self.passing()?;
            self.number(vector, bits)?;
            return Ok(vector);
        }
        let Some(&slot) = self.spilled.get(&step) else {
            return Err(EmitError::Codegen(format!("step {step} has no value")));
        };
        let vector = self.take()?;
        let from = self.slot(slot);
        self.machine.load(vector, from)?;
        self.register.insert(step, vector);
        Ok(vector)
    }

    fn number(&mut self, to: Vector, bits: u32) -> Result<(), EmitError> {
        match bits {
            0 => self.machine.three(Three::Xor, to, to, to),
            _ => {
                let number = self.machine.bits(bits);
                self.machine.two(Two::Copy, to, number)
            }
        }
    }

    /// A value as the last source of an instruction.
    fn source(&mut self, step: Step) -> Result<Source, EmitError> {
        match self.as_bits(step) {
            Some(bits) => Ok(self.machine.bits(bits)),
            None => Ok(self.get(step)?.into()),
        }
    }

    /// The register for the result of a step whose operands have been fetched: that of an operand that ends
    /// here, or another.
    fn result(&mut self) -> Result<Vector, EmitError> {
        for operand in self.body.steps[self.at].operands() {
            if self.ends_here(operand)
                && let Some(vector) = self.register.remove(&operand)
            {
                self.register.insert(self.at, vector);
                return Ok(vector);
            }
        }
        self.fresh()
    }

    /// A register for the result that is none of the operands'.
    fn fresh(&mut self) -> Result<Vector, EmitError> {
        let vector = self.take()?;
        self.register.insert(self.at, vector);
        Ok(vector)
    }

    fn step(&mut self, work: &Work) -> Result<(), EmitError> {
        match work {
            Work::Bits(_) => Ok(()),
            Work::Load(_) => {
                let to = self.fresh()?;
                self.load(to)
            }
            Work::Index(dim) => {
                let to = self.fresh()?;
                self.index(to, *dim)
            }
            Work::Three(op, a, b) => {
                let a = self.get(*a)?;
                let b = self.source(*b)?;
                let d = self.result()?;
                self.machine.three(*op, d, a, b)
            }
            Work::Fma { a, b, c, minus_product, minus_sum } => {
                self.fma([*a, *b, *c], (*minus_product, *minus_sum))
            }
            Work::Two(op, a) => {
                let a = self.source(*a)?;
                let d = self.result()?;
                self.machine.two(*op, d, a)
            }
            Work::Round(how, a) => {
                let a = self.source(*a)?;
                let d = self.result()?;
                self.machine.round(*how, d, a)
            }
            Work::Shift(a, by) => {
                let a = self.get(*a)?;
                let d = self.result()?;
                self.machine.shift(d, a, *by)
            }
            Work::Choose { how, a, b, yes, no } => {
                let (a, b) = (self.get(*a)?, self.source(*b)?);
                let (yes, no) = (self.source(*yes)?, self.get(*no)?);
                let scratch = match self.machine.width {
                    Width::Ymm => self.passing()?,
                    Width::Zmm => a,
                };
                let d = self.result()?;
                self.machine.choose(*how, (a, b), (yes, no), d, scratch)
            }
            Work::Truth((how, integers), a, b) => {
                let (a, b) = (self.get(*a)?, self.source(*b)?);
                let d = self.result()?;
                self.machine.truth(*how, *integers, d, a, b)
            }
            Work::Store(_, a) => {
                let a = self.get(*a)?;
                let at = self.address()?;
                match self.lanes {
                    Lanes::All => {
                        self.ask_ahead(Asked::ToWrite, at)?;
                        self.machine.store(at, a)
                    }
                    Lanes::Some => self.machine.store_masked(at, a, self.body.lanes),
                }
            }
            Work::Reduce(number, vector, how, a) => self.reduce((*number, *vector), *how, *a),
            Work::ArgMax(number, a) => self.arg_max(*number, *a),
        }
    }

    /// `± a * b ± c` in the form that overwrites an operand that ends here.
    fn fma(&mut self, [a, b, c]: [Step; 3], signs: (bool, bool)) -> Result<(), EmitError> {
        // A number is best the second factor, or what is added.
        let (a, b) = if self.as_bits(a).is_some() { (b, a) } else { (a, b) };
        let (first, ends) = (self.get(a)?, |writer: &Self, step: Step| {
            writer.ends_here(step) && writer.register.contains_key(&step)
        });
        if self.as_bits(c).is_some() && self.as_bits(b).is_none() {
            // d = d * b + [c]
            let second = self.get(b)?;
            let c = self.source(c)?;
            let (d, other) = match (ends(self, a), ends(self, b)) {
                (true, _) => (self.become_result(a), second),
                (_, true) => (self.become_result(b), first),
                _ => {
                    let d = self.fresh()?;
                    self.machine.two(Two::Copy, d, first)?;
                    (d, second)
                }
            };
            return self.machine.three(Three::Fma213(signs.0, signs.1), d, other, c);
        }
        // d = a * b + d
        let second = self.source(b)?;
        let sum = self.get(c)?;
        let d = match (self.as_bits(c).is_some(), ends(self, c)) {
            // A number that was put into a register for this is ours.
            (true, _) => {
                self.passing.retain(|&vector| vector != sum);
                self.register.insert(self.at, sum);
                sum
            }
            (_, true) => self.become_result(c),
            _ if ends(self, a) && c != a && b != a => {
                // d = d * b + c
                let d = self.become_result(a);
                return match second {
                    Source::Register(b) => self.machine.three(Three::Fma213(signs.0, signs.1), d, b, sum),
                    // d = d * [b] + c
                    number => self.machine.three(Three::Fma132(signs.0, signs.1), d, sum, number),
                };
            }
            _ => {
                let d = self.fresh()?;
                self.machine.two(Two::Copy, d, sum)?;
                d
            }
        };
        self.machine.three(Three::Fma231(signs.0, signs.1), d, first, second)
    }

    /// The register of an operand that ends here becomes that of the result.
    fn become_result(&mut self, operand: Step) -> Vector {
        let vector = self.register.remove(&operand).unwrap_or(Vector(0));
        self.register.insert(self.at, vector);
        vector
    }

    /// The memory of the step being written.
    fn address(&mut self) -> Result<MemoryOperand, EmitError> {
        let Some(&Place { base, displacement, stride, .. }) = self.body.places.get(&self.at) else {
            return Err(EmitError::Codegen(format!("step {} has no place", self.at)));
        };
        let base: Register = match BASES.get(base) {
            Some(&register) => register.into(),
            None => {
                let slot = self.body.frame.bases + 8 * base as i32;
                self.machine.asm.mov(rax, qword_ptr(rsp + slot))?;
                rax.into()
            }
        };
        let displacement = i64::from(displacement);
        Ok(match stride {
            0 => memory(base, None, displacement),
            1 | 2 | 4 | 8 => memory_scaled(base, Some(INDEX.into()), stride as u32, displacement),
            _ => {
                let stride = i32::try_from(stride)
                    .map_err(|_| EmitError::Codegen("a stride beyond 32 bits".into()))?;
                self.machine.asm.imul_3(rdx, rcx, stride)?;
                memory(base, Some(rdx.into()), displacement)
            }
        })
    }

    fn load(&mut self, to: Vector) -> Result<(), EmitError> {
        let at = self.address()?;
        let dense = self.body.places.get(&self.at).is_some_and(|place| place.stride > 0);
        match (dense, self.lanes) {
            (false, _) => self.machine.broadcast(to, at),
            (true, Lanes::All) => {
                self.ask_ahead(Asked::ToRead, at)?;
                self.machine.load(to, at)
            }
            (true, Lanes::Some) => self.machine.load_masked(to, at, self.body.lanes),
        }
    }

    /// Asks for the line of the next row that lies where `at` does in this one.
    fn ask_ahead(&mut self, asked: Asked, at: MemoryOperand) -> Result<(), EmitError> {
        let ahead =
            self.body.places.get(&self.at).filter(|place| place.stride == 1).and_then(|place| place.ahead);
        let Some(ahead) = ahead else { return Ok(()) };
        let displacement = at.displacement + i64::from(ahead);
        if i32::try_from(displacement).is_err() {
            return Ok(());
        }
        let index = Some(at.index).filter(|&index| index != Register::None);
        let at = memory_scaled(at.base, index, at.scale, displacement);
        self.machine.prefetch(asked == Asked::ToWrite, at)
    }

    /// A loop index as integers.
    fn index(&mut self, to: Vector, dim: usize) -> Result<(), EmitError> {
        let asm = &mut self.machine.asm;
        if dim + 1 < self.body.rank {
            let counter = self.body.frame.counters + 8 * dim as i32;
            asm.mov(eax, dword_ptr(rsp + counter))?;
            return self.machine.spread(to, eax.into());
        }
        asm.mov(eax, ecx)?;
        asm.shr(eax, 2)?;
        self.machine.spread(to, eax.into())?;
        let numbers: Vec<u32> = (0..self.machine.width.lanes() as u32).collect();
        let numbers = self.machine.lanes(&numbers);
        self.machine.three(Three::AddInteger, to, to, numbers)
    }

    fn accumulator(&self, number: usize) -> Result<Accumulator, EmitError> {
        let found = self.body.accumulators.get(&number).copied();
        found.ok_or_else(|| EmitError::Codegen("a reduction without accumulator".into()))
    }

    fn reduce(&mut self, (number, vector): (usize, usize), how: Combining, a: Step) -> Result<(), EmitError> {
        let Accumulator { value, second, .. } = self.accumulator(number)?;
        let accumulator = if vector > 0 { second.unwrap_or(value) } else { value };
        let mut value = self.get(a)?;
        let (spare, scratch) = (self.passing()?, self.passing()?);
        if self.lanes == Lanes::Some {
            let nothing = self.machine.number(identity(how));
            self.machine.existing(spare, value, nothing, self.body.lanes)?;
            value = spare;
        }
        self.machine.combine(how, accumulator, value, [spare, scratch])
    }

    /// Keeps the first of the largest; a NaN is never larger.
    fn arg_max(&mut self, number: usize, a: Step) -> Result<(), EmitError> {
        let Accumulator { value: best, index: Some(index), .. } = self.accumulator(number)? else {
            return Err(EmitError::Codegen("an index without accumulator".into()));
        };
        let value = self.get(a)?;
        let (here, scratch) = (self.passing()?, self.passing()?);
        self.machine.asm.mov(eax, ecx)?;
        self.machine.asm.shr(eax, 2)?;
        self.machine.spread(here, eax.into())?;
        let larger = (Compare::Greater, false);
        self.machine.choose(larger, (value, best.into()), (here.into(), index), index, scratch)?;
        self.machine.choose(larger, (value, best.into()), (value.into(), best), best, scratch)
    }
}

/// What a line of memory is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    ToRead,
    ToWrite,
}

/// What a reduction starts from.
pub fn identity(how: Combining) -> f64 {
    match how {
        Combining::Sum => 0.0,
        Combining::Max => f64::NEG_INFINITY,
    }
}

impl Machine {
    /// `into` combined with `value`, which may be the first of the spare registers.
    pub fn combine(
        &mut self,
        how: Combining,
        into: Vector,
        value: Vector,
        [spare, scratch]: [Vector; 2],
    ) -> Result<(), EmitError> {
        match how {
            Combining::Sum => self.three(Three::Add, into, into, value),
            Combining::Max => {
                // The machine's maximum is the second source where either is NaN.
                self.three(Three::Max, spare, into, value)?;
                let is_nan = (Compare::NotEqual, false);
                self.choose(is_nan, (into, into.into()), (into.into(), spare), into, scratch)
            }
        }
    }
}
