//! The body of a phase as steps of a vector machine: what is computed, before where it lies.
//!
//! `Select(Greater(x, 1), 1, x)` is one step, a minimum; `Subtract(1, Multiply(h, h))` is one fused
//! multiply-add; a comparison that only selects ask for is made by them. Every step makes at most one
//! vector; numbers are steps, too, but take a register only where an instruction cannot read them from memory.

use std::collections::HashMap;

use super::instructions::{Compare, Rounding, Three, Two, Width};
use crate::backend::native::emit::EmitError;
use crate::plan::{BinaryInst, Combining, Inst, Phase, Place, UnaryInst, Val, math};

/// Index of a step.
pub type Step = usize;

/// One vector operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// The same 32 bits in every lane.
    Bits(u32),
    /// Words (reals or ids) from a place.
    Load(Place),
    /// The index on a dimension, as integers.
    Index(usize),
    /// An instruction with two sources.
    Three(Three, Step, Step),
    /// `± a * b ± c`
    Fma {
        /// Factors.
        a: Step,
        /// Factors.
        b: Step,
        /// What is added.
        c: Step,
        /// Subtracts the product.
        minus_product: bool,
        /// Subtracts `c`.
        minus_sum: bool,
    },
    /// An instruction with one source.
    Two(Two, Step),
    /// Rounds to an integral real.
    Round(Rounding, Step),
    /// Shifts integers.
    Shift(Step, i32),
    /// `yes` where `a` and `b` compare so, else `no`.
    Choose {
        /// How, and whether as integers (`Equal` only).
        how: (Compare, bool),
        /// Left side.
        a: Step,
        /// Right side.
        b: Step,
        /// Chosen where it holds.
        yes: Step,
        /// Chosen elsewhere.
        no: Step,
    },
    /// 1.0 where `a` and `b` compare so, else 0.
    Truth((Compare, bool), Step, Step),
    /// Words to a place.
    Store(Place, Step),
    /// Combines into an accumulator, numbered by the instruction, and for which of the vectors that are worked on at once.
    Reduce(usize, usize, Combining, Step),
    /// Keeps the first of the largest in the accumulators of the instruction.
    ArgMax(usize, Step),
}

impl Work {
    /// The steps it reads.
    pub fn operands(&self) -> Vec<Step> {
        match self {
            Work::Bits(_) | Work::Load(_) | Work::Index(_) => Vec::new(),
            Work::Two(_, a)
            | Work::Round(_, a)
            | Work::Shift(a, _)
            | Work::Store(_, a)
            | Work::Reduce(_, _, _, a)
            | Work::ArgMax(_, a) => vec![*a],
            Work::Three(_, a, b) | Work::Truth(_, a, b) => vec![*a, *b],
            Work::Fma { a, b, c, .. } => vec![*a, *b, *c],
            Work::Choose { a, b, yes, no, .. } => vec![*a, *b, *yes, *no],
        }
    }

    /// True if it is done for what it leaves behind.
    pub fn has_effect(&self) -> bool {
        matches!(self, Work::Store(..) | Work::Reduce(..) | Work::ArgMax(..))
    }
}

/// Writes steps; equal ones are made once as long as nothing is stored between.
struct Lowering<'p> {
    width: Width,
    phase: &'p Phase,
    steps: Vec<Work>,
    known: HashMap<String, Step>,
    uses: Vec<usize>,
    values: Vec<Option<Step>>,
}

/// The steps of an expanded phase, without those that nothing needs.
///
/// # Errors
/// If an instruction uses a value that does not exist.
pub fn steps(phase: &Phase, width: Width) -> Result<Vec<Work>, EmitError> {
    let mut uses = vec![0; phase.body.len()];
    for inst in &phase.body {
        inst.operands().into_iter().for_each(|value| uses[value] += 1);
    }
    let mut lowering = Lowering {
        width,
        phase,
        steps: Vec::new(),
        known: HashMap::new(),
        uses,
        values: Vec::with_capacity(phase.body.len()),
    };
    for (number, inst) in phase.body.iter().enumerate() {
        let value = lowering.instruction(number, inst)?;
        lowering.values.push(value);
    }
    Ok(without_dead(lowering.steps))
}

/// Drops steps that nothing needs.
fn without_dead(steps: Vec<Work>) -> Vec<Work> {
    let mut needed = vec![false; steps.len()];
    for at in (0..steps.len()).rev() {
        needed[at] |= steps[at].has_effect();
        if needed[at] {
            steps[at].operands().into_iter().for_each(|operand| needed[operand] = true);
        }
    }
    let mut new = vec![0; steps.len()];
    let mut kept = Vec::new();
    for (at, work) in steps.into_iter().enumerate().filter(|(at, _)| needed[*at]) {
        new[at] = kept.len();
        kept.push(work.renamed(&new));
    }
    kept
}

impl Work {
    /// The same with the steps that it reads under other numbers.
    pub fn renamed(mut self, new: &[Step]) -> Work {
        let all: Vec<&mut Step> = match &mut self {
            Work::Bits(_) | Work::Load(_) | Work::Index(_) => Vec::new(),
            Work::Two(_, a)
            | Work::Round(_, a)
            | Work::Shift(a, _)
            | Work::Store(_, a)
            | Work::Reduce(_, _, _, a)
            | Work::ArgMax(_, a) => vec![a],
            Work::Three(_, a, b) | Work::Truth(_, a, b) => vec![a, b],
            Work::Fma { a, b, c, .. } => vec![a, b, c],
            Work::Choose { a, b, yes, no, .. } => vec![a, b, yes, no],
        };
        for step in all {
            *step = new[*step];
        }
        self
    }
}

impl Lowering<'_> {
    fn push(&mut self, work: Work) -> Step {
        if let Work::Store(..) = work {
            // What was loaded may have changed.
            self.known.retain(|_, step| !matches!(self.steps[*step], Work::Load(_)));
        }
        if work.has_effect() {
            self.steps.push(work);
            return self.steps.len() - 1;
        }
        let key = format!("{work:?}");
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        self.steps.push(work);
        self.known.insert(key, self.steps.len() - 1);
        self.steps.len() - 1
    }

    fn bits(&mut self, bits: u32) -> Step {
        self.push(Work::Bits(bits))
    }

    fn number(&mut self, number: f64) -> Step {
        self.bits((number as f32).to_bits())
    }

    fn three(&mut self, op: Three, a: Step, b: Step) -> Step {
        // Numbers are read from memory as second sources.
        let swap = matches!(self.steps[a], Work::Bits(_))
            && matches!(
                op,
                Three::Add | Three::Multiply | Three::And | Three::Or | Three::Xor | Three::AddInteger
            );
        self.push(if swap { Work::Three(op, b, a) } else { Work::Three(op, a, b) })
    }

    fn fma(&mut self, a: Step, b: Step, c: Step) -> Step {
        self.push(Work::Fma { a, b, c, minus_product: false, minus_sum: false })
    }

    fn choose(&mut self, how: Compare, (a, b): (Step, Step), yes: Step, no: Step) -> Step {
        let (how, a, b) = self.sides(how, a, b);
        self.push(Work::Choose { how: (how, false), a, b, yes, no })
    }

    /// A number goes to the right.
    fn sides(&self, how: Compare, a: Step, b: Step) -> (Compare, Step, Step) {
        if !matches!(self.steps[a], Work::Bits(_)) {
            return (how, a, b);
        }
        let turned = match how {
            Compare::Equal | Compare::NotEqual => how,
            Compare::Less => Compare::Greater,
            Compare::LessEqual => Compare::GreaterEqual,
            Compare::Greater => Compare::Less,
            Compare::GreaterEqual => Compare::LessEqual,
        };
        (turned, b, a)
    }

    fn at(&self, value: Val) -> Result<Step, EmitError> {
        let found = self.values.get(value).copied().flatten();
        found.ok_or_else(|| EmitError::Plan(format!("value {value} does not exist")))
    }

    /// The constant that a value is.
    fn constant(&self, value: Val) -> Option<f64> {
        match self.phase.body.get(value) {
            Some(Inst::Const(number)) => Some(*number),
            _ => None,
        }
    }

    fn instruction(&mut self, number: usize, inst: &Inst) -> Result<Option<Step>, EmitError> {
        let step = match inst {
            Inst::Const(value) => self.number(*value),
            Inst::Index(dim) => {
                let index = self.push(Work::Index(*dim));
                self.push(Work::Two(Two::FromInteger, index))
            }
            Inst::Load(place) => self.push(Work::Load(place.clone())),
            Inst::IdIs(place, dim) => {
                let id = self.push(Work::Load(place.clone()));
                let index = self.push(Work::Index(*dim));
                self.push(Work::Truth((Compare::Equal, true), id, index))
            }
            Inst::SameId(a, b) => {
                let a = self.push(Work::Load(a.clone()));
                let b = self.push(Work::Load(b.clone()));
                self.push(Work::Truth((Compare::Equal, true), a, b))
            }
            Inst::IdValue(place) => {
                let id = self.push(Work::Load(place.clone()));
                self.id_value(id)
            }
            Inst::Unary(op, a) => {
                let a = self.at(*a)?;
                self.unary(*op, a)?
            }
            Inst::Binary(op, a, b) => self.binary(*op, *a, *b)?,
            Inst::Fma(a, b, c) => {
                let (a, b, c) = (self.at(*a)?, self.at(*b)?, self.at(*c)?);
                self.fma(a, b, c)
            }
            Inst::ScaleByPowerOfTwo(x, n) => {
                let range = math::range(&self.phase.body, *n);
                let (x, n) = (self.at(*x)?, self.at(*n)?);
                self.scale(x, n, range)
            }
            Inst::Select(condition, yes, no) => self.select(*condition, *yes, *no)?,
            Inst::Store(place, value) => {
                let value = self.at(*value)?;
                self.push(Work::Store(place.clone(), value));
                return Ok(None);
            }
            Inst::CopyId(from, to) => {
                let id = self.push(Work::Load(from.clone()));
                self.push(Work::Store(to.clone(), id));
                return Ok(None);
            }
            Inst::SelectId(condition, first, second, to) => {
                let condition = self.at(*condition)?;
                let first = self.push(Work::Load(first.clone()));
                let second = self.push(Work::Load(second.clone()));
                let zero = self.bits(0);
                let id = self.choose(Compare::NotEqual, (condition, zero), first, second);
                self.push(Work::Store(to.clone(), id));
                return Ok(None);
            }
            Inst::Reduce(how, value, place) => {
                let value = self.at(*value)?;
                self.push(match self.phase.reduced {
                    0 => Work::Store(place.clone(), value),
                    _ => Work::Reduce(number, 0, *how, value),
                });
                return Ok(None);
            }
            Inst::ArgMax(value, _) => {
                let value = self.at(*value)?;
                self.push(Work::ArgMax(number, value));
                return Ok(None);
            }
        };
        Ok(Some(step))
    }

    fn unary(&mut self, op: UnaryInst, a: Step) -> Result<Step, EmitError> {
        Ok(match op {
            UnaryInst::Negate => {
                let sign = self.bits(1 << 31);
                let rest = self.bits(!(1 << 31));
                match self.steps[a] {
                    // -|x| sets the sign.
                    Work::Three(Three::And, x, mask) if mask == rest => self.three(Three::Or, x, sign),
                    _ => self.three(Three::Xor, a, sign),
                }
            }
            UnaryInst::Abs => {
                let rest = self.bits(!(1 << 31));
                self.three(Three::And, a, rest)
            }
            UnaryInst::Sqrt => self.push(Work::Two(Two::Sqrt, a)),
            UnaryInst::Floor => self.push(Work::Round(Rounding::Down, a)),
            UnaryInst::Round => self.push(Work::Round(Rounding::Nearest, a)),
            UnaryInst::Sign => {
                let (zero, one, less) = (self.bits(0), self.number(1.0), self.number(-1.0));
                let sign = self.choose(Compare::Less, (a, zero), less, zero);
                let sign = self.choose(Compare::Greater, (a, zero), one, sign);
                self.choose(Compare::Equal, (a, a), sign, a)
            }
            UnaryInst::Exponent => {
                let exponent = self.push(Work::Shift(a, -23));
                let bias = self.bits(127);
                let exponent = self.three(Three::SubtractInteger, exponent, bias);
                self.push(Work::Two(Two::FromInteger, exponent))
            }
            UnaryInst::Mantissa => {
                let (mask, one) = (self.bits((1 << 23) - 1), self.number(1.0));
                let mantissa = self.three(Three::And, a, mask);
                self.three(Three::Or, mantissa, one)
            }
            other => return Err(EmitError::Plan(format!("{other:?} has not been expanded"))),
        })
    }

    fn binary(&mut self, op: BinaryInst, left: Val, right: Val) -> Result<Step, EmitError> {
        let (a, b) = (self.at(left)?, self.at(right)?);
        let compare = |how| (how, false);
        Ok(match op {
            BinaryInst::Add => self.three(Three::Add, a, b),
            BinaryInst::Subtract => return self.subtract((left, a), (right, b)),
            BinaryInst::Multiply => self.three(Three::Multiply, a, b),
            BinaryInst::Divide => self.push(Work::Three(Three::Divide, a, b)),
            BinaryInst::DivideByModerate => self.quotient(a, b, self.constant(left) == Some(1.0)),
            BinaryInst::Min => self.extreme(Three::Min, (left, a), (right, b)),
            BinaryInst::Max => self.extreme(Three::Max, (left, a), (right, b)),
            BinaryInst::Equal => self.truth(compare(Compare::Equal), a, b),
            BinaryInst::NotEqual => self.truth(compare(Compare::NotEqual), a, b),
            BinaryInst::Less => self.truth(compare(Compare::Less), a, b),
            BinaryInst::LessEqual => self.truth(compare(Compare::LessEqual), a, b),
            BinaryInst::Greater => self.truth(compare(Compare::Greater), a, b),
            BinaryInst::GreaterEqual => self.truth(compare(Compare::GreaterEqual), a, b),
        })
    }

    fn truth(&mut self, (how, integers): (Compare, bool), a: Step, b: Step) -> Step {
        let (how, a, b) = self.sides(how, a, b);
        self.push(Work::Truth((how, integers), a, b))
    }

    /// A difference from or of a product that is used nowhere else needs no product.
    fn subtract(&mut self, left: (Val, Step), right: (Val, Step)) -> Result<Step, EmitError> {
        let product = |of: Val| match self.phase.body.get(of) {
            Some(Inst::Binary(BinaryInst::Multiply, x, y)) if self.uses[of] == 1 => Some((*x, *y)),
            _ => None,
        };
        let (x, y, c, minus_product) = match (product(left.0), product(right.0)) {
            (_, Some((x, y))) => (x, y, left.1, true),
            (Some((x, y)), None) => (x, y, right.1, false),
            (None, None) => return Ok(self.push(Work::Three(Three::Subtract, left.1, right.1))),
        };
        let (a, b) = (self.at(x)?, self.at(y)?);
        Ok(self.push(Work::Fma { a, b, c, minus_product, minus_sum: !minus_product }))
    }

    /// The smaller or larger of two, NaN if either is: the machine's gives the second then.
    fn extreme(&mut self, op: Three, left: (Val, Step), right: (Val, Step)) -> Step {
        let number = |of: Val| self.constant(of).is_some_and(|number| !number.is_nan());
        match (number(left.0), number(right.0)) {
            (true, _) => self.push(Work::Three(op, left.1, right.1)),
            (_, true) => self.push(Work::Three(op, right.1, left.1)),
            _ => {
                let either = self.push(Work::Three(op, left.1, right.1));
                self.choose(Compare::NotEqual, (left.1, left.1), left.1, either)
            }
        }
    }

    /// `a / b` for a `b` far from zero and infinity: an approximate reciprocal, brought closer by Newton's method; its
    /// last step is taken with the quotient itself.
    fn quotient(&mut self, a: Step, b: Step, of_one: bool) -> Step {
        let one = self.number(1.0);
        let mut reciprocal = self.push(Work::Two(Two::Reciprocal, b));
        let error = |lowering: &mut Self, reciprocal| {
            lowering.push(Work::Fma { a: b, b: reciprocal, c: one, minus_product: true, minus_sum: false })
        };
        if self.width == Width::Ymm {
            let error = error(self, reciprocal);
            reciprocal = self.fma(error, reciprocal, reciprocal);
        }
        let error = error(self, reciprocal);
        let quotient = if of_one { reciprocal } else { self.three(Three::Multiply, a, reciprocal) };
        self.fma(error, quotient, quotient)
    }

    fn select(&mut self, condition: Val, yes: Val, no: Val) -> Result<Step, EmitError> {
        let (chosen, other) = (self.at(yes)?, self.at(no)?);
        let Some(Inst::Binary(op, x, y)) = self.phase.body.get(condition) else {
            let (condition, zero) = (self.at(condition)?, self.bits(0));
            return Ok(self.choose(Compare::NotEqual, (condition, zero), chosen, other));
        };
        let (a, b) = (self.at(*x)?, self.at(*y)?);
        // `x > c ? c : x` is the machine's minimum of c and x, which gives x where that is NaN.
        match op {
            BinaryInst::Greater if b == chosen && a == other => {
                return Ok(self.push(Work::Three(Three::Min, chosen, other)));
            }
            BinaryInst::Less if b == chosen && a == other => {
                return Ok(self.push(Work::Three(Three::Max, chosen, other)));
            }
            _ => {}
        }
        let how = match op {
            BinaryInst::Equal => Compare::Equal,
            BinaryInst::NotEqual => Compare::NotEqual,
            BinaryInst::Less => Compare::Less,
            BinaryInst::LessEqual => Compare::LessEqual,
            BinaryInst::Greater => Compare::Greater,
            BinaryInst::GreaterEqual => Compare::GreaterEqual,
            _ => {
                let (condition, zero) = (self.at(condition)?, self.bits(0));
                return Ok(self.choose(Compare::NotEqual, (condition, zero), chosen, other));
            }
        };
        Ok(self.choose(how, (a, b), chosen, other))
    }

    /// An id as a real: its halves, each exact, so that the sum is rounded once. None becomes NaN.
    fn id_value(&mut self, id: Step) -> Step {
        let high = self.push(Work::Shift(id, -16));
        let high = self.push(Work::Two(Two::FromInteger, high));
        let mask = self.bits(0xffff);
        let low = self.three(Three::And, id, mask);
        let low = self.push(Work::Two(Two::FromInteger, low));
        let scale = self.number(65536.0);
        let real = self.fma(high, scale, low);
        let (none, nan) = (self.bits(u32::MAX), self.number(f64::NAN));
        self.push(Work::Choose { how: (Compare::Equal, true), a: id, b: none, yes: nan, no: real })
    }

    /// `x * 2^n`. With AVX-512 one instruction; else as many products as the bounds of `n` ask for, the
    /// surplus first and the largest factor last, so that a result is rounded once.
    fn scale(&mut self, x: Step, n: Step, (low, high): (f64, f64)) -> Step {
        let (least, most) = (-126.0, 127.0);
        if self.width == Width::Zmm {
            // Infinite powers of zero would be NaN.
            let n = if low >= -1e6 && high <= 1e6 { n } else { self.clamp(n, -1e3, 1e3) };
            return self.push(Work::Three(Three::Scale, x, n));
        }
        if low >= least && high <= most {
            let factor = self.power_of_two(n);
            return self.three(Three::Multiply, x, factor);
        }
        let main = self.clamp(n, least, most);
        let mut rest = self.push(Work::Three(Three::Subtract, n, main));
        let mut product = x;
        let mut parts = Vec::new();
        if !(low >= 2.0 * least && high <= 2.0 * most) {
            let more = self.clamp(rest, least, most);
            rest = self.push(Work::Three(Three::Subtract, rest, more));
            rest = self.clamp(rest, least, most);
            parts.push(rest);
            rest = more;
        }
        parts.extend([rest, main]);
        for part in parts {
            let factor = self.power_of_two(part);
            product = self.three(Three::Multiply, product, factor);
        }
        product
    }

    /// `n` between two numbers; NaN stays.
    fn clamp(&mut self, n: Step, low: f64, high: f64) -> Step {
        let (low, high) = (self.number(low), self.number(high));
        let n = self.push(Work::Three(Three::Max, low, n));
        self.push(Work::Three(Three::Min, high, n))
    }

    /// 2^n for an integral n of normal exponent: 1.5 * 2^23 + bias leaves n in the lowest bits of the
    /// mantissa, from where it is shifted into the exponent.
    fn power_of_two(&mut self, n: Step) -> Step {
        let magic = self.number(1.5 * 23f64.exp2() + 127.0);
        let sum = self.three(Three::Add, n, magic);
        self.push(Work::Shift(sum, 23))
    }
}
