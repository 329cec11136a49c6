//! The body of a phase at one point (or at one vector of points): one case an instruction.
//!
//! Comparisons keep the machine's mask beside the number 1.0 or 0.0, so that a `Select` on a comparison
//! is one compare and one blend; what nobody uses, the optimiser drops.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use super::rows::{Last, PhaseCode, Shape};
use crate::plan::{BinaryInst, Combining, Inst, Place, Precision, UnaryInst, math};

/// A value of the body: a real, and for comparisons the mask it was made from.
#[derive(Clone, Copy)]
struct Operand {
    real: Value,
    mask: Option<Value>,
}

impl PhaseCode<'_> {
    /// Emits the body once.
    pub fn point(&mut self, code: &mut Code, shape: Shape, last: Last) -> Result<(), EmitError> {
        let mut values: Vec<Option<Operand>> = Vec::with_capacity(self.phase.body.len());
        for (number, inst) in self.phase.body.iter().enumerate() {
            let value = self.instruction(code, shape, last, number, inst, &values)?;
            values.push(value);
        }
        Ok(())
    }

    fn instruction(
        &mut self,
        code: &mut Code,
        shape: Shape,
        last: Last,
        number: usize,
        inst: &Inst,
        values: &[Option<Operand>],
    ) -> Result<Option<Operand>, EmitError> {
        let operand = |value: usize| {
            let found = values.get(value).copied().flatten();
            found.ok_or_else(|| {
                EmitError::Plan(format!("instruction {number} uses {value}, which has no value"))
            })
        };
        let plain = |real| Ok(Some(Operand { real, mask: None }));
        match inst {
            Inst::Const(value) => plain(constant(code, shape, *value)),
            Inst::Index(dim) => plain(self.index(code, shape, last, *dim)),
            Inst::Load(place) => {
                let flags = self.load_flags(code, place);
                let (address, offset) = self.address(code, number, 0, place, last);
                plain(load(code, shape, dense(place), flags, address, offset))
            }
            Inst::IdIs(place, dim) => {
                let id = self.id(code, shape, last, number, 0, place);
                let index = self.integer_index(code, shape, last, *dim);
                let mask = code.build.ins().icmp(IntCC::Equal, id, index);
                Ok(Some(truth(code, shape, mask)))
            }
            Inst::SameId(a, b) => {
                let a = self.id(code, shape, last, number, 0, a);
                let b = self.id(code, shape, last, number, 1, b);
                let mask = code.build.ins().icmp(IntCC::Equal, a, b);
                Ok(Some(truth(code, shape, mask)))
            }
            Inst::IdValue(place) => {
                let id = self.id(code, shape, last, number, 0, place);
                plain(id_value(code, shape, id))
            }
            Inst::Unary(op, a) => plain(unary(code, shape, *op, operand(*a)?.real)?),
            Inst::Binary(op, a, b) => {
                let (a, b) = (operand(*a)?.real, operand(*b)?.real);
                Ok(Some(binary(code, shape, *op, a, b)))
            }
            Inst::Fma(a, b, c) => {
                let (a, b, c) = (operand(*a)?.real, operand(*b)?.real, operand(*c)?.real);
                plain(code.multiply_add(a, b, c))
            }
            Inst::ScaleByPowerOfTwo(x, n) => {
                let (low, high) = math::range(&self.phase.body, *n);
                let (x, n) = (operand(*x)?.real, operand(*n)?.real);
                plain(scale(code, shape, x, n, (low, high)))
            }
            Inst::Select(c, yes, no) => {
                let (c, yes, no) = (operand(*c)?, operand(*yes)?.real, operand(*no)?.real);
                let mask = match c.mask {
                    Some(mask) => mask,
                    None => {
                        let zero = constant(code, shape, 0.0);
                        code.build.ins().fcmp(FloatCC::NotEqual, c.real, zero)
                    }
                };
                plain(choose(code, shape, mask, yes, no))
            }
            Inst::Store(place, value) => {
                let value = operand(*value)?.real;
                let (address, offset) = self.address(code, number, 0, place, last);
                code.build.ins().store(CHANGING, value, address, offset);
                Ok(None)
            }
            Inst::CopyId(from, to) => {
                let (address, offset) = self.address(code, number, 0, from, last);
                let id = code.build.ins().load(types::I32, CHANGING, address, offset);
                let (address, offset) = self.address(code, number, 1, to, last);
                code.build.ins().store(CHANGING, id, address, offset);
                Ok(None)
            }
            Inst::SelectId(condition, first, second, to) => {
                let condition = operand(*condition)?.real;
                let zero = code.real(0.0);
                let chosen = code.build.ins().fcmp(FloatCC::NotEqual, condition, zero);
                let (address, offset) = self.address(code, number, 0, first, last);
                let a = code.build.ins().load(types::I32, CHANGING, address, offset);
                let (address, offset) = self.address(code, number, 1, second, last);
                let b = code.build.ins().load(types::I32, CHANGING, address, offset);
                let id = code.build.ins().select(chosen, a, b);
                let (address, offset) = self.address(code, number, 2, to, last);
                code.build.ins().store(CHANGING, id, address, offset);
                Ok(None)
            }
            Inst::Reduce(how, value, place) => {
                let value = operand(*value)?.real;
                self.reduce(code, shape, last, number, *how, value, place);
                Ok(None)
            }
            Inst::ArgMax(value, _) => {
                let value = operand(*value)?.real;
                self.arg_max(code, last, number, value);
                Ok(None)
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn reduce(
        &mut self,
        code: &mut Code,
        shape: Shape,
        last: Last,
        number: usize,
        how: Combining,
        value: Value,
        place: &Place,
    ) {
        if self.phase.reduced == 0 {
            let (address, offset) = self.address(code, number, 0, place, last);
            code.build.ins().store(CHANGING, value, address, offset);
            return;
        }
        let Some(accumulator) = self.accumulators.get(&number) else {
            return;
        };
        let variable = match shape {
            Shape::Scalar => accumulator.scalar,
            Shape::Vector => accumulator.vectors[last.copy],
        };
        let before = code.build.use_var(variable);
        let after = code.combine(how, before, value);
        code.build.def_var(variable, after);
    }

    /// Keeps the first of the largest; a NaN is never larger.
    fn arg_max(&mut self, code: &mut Code, last: Last, number: usize, value: Value) {
        let Some(accumulator) = self.accumulators.get(&number) else {
            return;
        };
        let Some(index) = accumulator.index else {
            return;
        };
        let (best, best_index) = (code.build.use_var(accumulator.scalar), code.build.use_var(index));
        let here = position(code, last);
        let larger = code.build.ins().fcmp(FloatCC::GreaterThan, value, best);
        let best = code.build.ins().select(larger, value, best);
        let best_index = code.build.ins().select(larger, here, best_index);
        code.build.def_var(accumulator.scalar, best);
        code.build.def_var(index, best_index);
    }

    /// The address of a place at the current point.
    fn address(
        &self,
        code: &mut Code,
        number: usize,
        which: usize,
        place: &Place,
        last: Last,
    ) -> (Value, i32) {
        let (mut address, offset) = self.address_of(code, number, which);
        let element = code.element_bytes(place.at.buffer);
        for (&index, &stride) in self.outer.iter().zip(&place.strides) {
            if stride > 0 {
                address = code.element(address, index, stride * element);
            }
        }
        let stride = match self.phase.dims.len() {
            0 => 0,
            dims => place.strides.get(dims - 1).copied().unwrap_or(0),
        };
        if let (Some(index), true) = (last.index, stride > 0) {
            address = code.element(address, index, stride * element);
        }
        let constant = last.constant * stride * element;
        match i32::try_from(constant).ok().and_then(|constant| offset.checked_add(constant)) {
            Some(offset) => (address, offset),
            None => (code.plus(address, constant as i64 + i64::from(offset)), 0),
        }
    }

    fn load_flags(&self, code: &Code, place: &Place) -> MemFlagsData {
        code.flags(&place.at)
    }

    /// An id as an integer as wide as a real.
    fn id(
        &self,
        code: &mut Code,
        shape: Shape,
        last: Last,
        number: usize,
        which: usize,
        place: &Place,
    ) -> Value {
        let flags = self.load_flags(code, place);
        let (address, offset) = self.address(code, number, which, place, last);
        let types = code.types;
        match (shape, dense(place), code.precision) {
            (Shape::Vector, true, Precision::F32) => {
                code.build.ins().load(types.int_vector, flags, address, offset)
            }
            (Shape::Vector, true, Precision::F64) => code.build.ins().uload32x2(flags, address, offset),
            (_, _, precision) => {
                let id = match precision {
                    Precision::F32 => code.build.ins().load(types.int, flags, address, offset),
                    Precision::F64 => code.build.ins().uload32(flags, address, offset),
                };
                match shape {
                    Shape::Scalar => id,
                    Shape::Vector => code.build.ins().splat(types.int_vector, id),
                }
            }
        }
    }

    /// A loop index as a real.
    fn index(&self, code: &mut Code, shape: Shape, last: Last, dim: usize) -> Value {
        let types = code.types;
        let is_last = dim + 1 == self.phase.dims.len();
        let here = match is_last {
            true => position(code, last),
            false => self.outer[dim],
        };
        let scalar = code.build.ins().fcvt_from_sint(types.real, here);
        match shape {
            Shape::Scalar => scalar,
            Shape::Vector => {
                let vector = code.build.ins().splat(types.vector, scalar);
                match is_last {
                    false => vector,
                    true => {
                        let steps: Vec<f64> = (0..types.lanes).map(|lane| lane as f64).collect();
                        let steps = code.vector_of(&steps);
                        code.build.ins().fadd(vector, steps)
                    }
                }
            }
        }
    }

    /// A loop index as an integer as wide as a real.
    fn integer_index(&self, code: &mut Code, shape: Shape, last: Last, dim: usize) -> Value {
        let types = code.types;
        let is_last = dim + 1 == self.phase.dims.len();
        let here = match is_last {
            true => position(code, last),
            false => self.outer[dim],
        };
        let scalar = match code.precision {
            Precision::F32 => code.build.ins().ireduce(types.int, here),
            Precision::F64 => here,
        };
        match shape {
            Shape::Scalar => scalar,
            Shape::Vector => {
                let vector = code.build.ins().splat(types.int_vector, scalar);
                match is_last {
                    false => vector,
                    true => {
                        let bytes = (0..types.lanes)
                            .flat_map(|lane| (lane as u64).to_le_bytes()[..types.bytes].to_vec());
                        let steps = code.vector_bytes(types.int_vector, bytes.collect());
                        code.build.ins().iadd(vector, steps)
                    }
                }
            }
        }
    }
}

/// The index on the last dimension.
fn position(code: &mut Code, last: Last) -> Value {
    match last.index {
        Some(index) => code.plus(index, last.constant as i64),
        None => code.int(last.constant as i64),
    }
}

fn dense(place: &Place) -> bool {
    place.strides.last() == Some(&1)
}

fn constant(code: &mut Code, shape: Shape, value: f64) -> Value {
    match shape {
        Shape::Scalar => code.real(value),
        Shape::Vector => code.vector_constant(value),
    }
}

/// An integer as wide as a real, or a vector of them.
fn integer(code: &mut Code, shape: Shape, value: u64) -> Value {
    let types = code.types;
    match shape {
        Shape::Scalar => code.build.ins().iconst(types.int, value as i64),
        Shape::Vector => {
            let lane = value.to_le_bytes()[..types.bytes].to_vec();
            code.vector_bytes(types.int_vector, lane.repeat(types.lanes))
        }
    }
}

fn load(
    code: &mut Code,
    shape: Shape,
    dense: bool,
    flags: MemFlagsData,
    address: Value,
    offset: i32,
) -> Value {
    let types = code.types;
    match (shape, dense) {
        // A load as reals may become an operand in memory, and Cranelift 0.135 lets SSE's comparison have one
        // that is not aligned, which faults. AVX's, on machines with fused multiply-adds, does not.
        (Shape::Vector, true) if !code.fma => {
            let bits = code.build.ins().load(types.int_vector, flags, address, offset);
            bits_real(code, shape, bits)
        }
        (Shape::Vector, true) => code.build.ins().load(types.vector, flags, address, offset),
        (Shape::Vector, false) => {
            let value = code.build.ins().load(types.real, flags, address, offset);
            code.build.ins().splat(types.vector, value)
        }
        (Shape::Scalar, _) => code.build.ins().load(types.real, flags, address, offset),
    }
}

fn real_bits(code: &mut Code, shape: Shape, value: Value) -> Value {
    let to = match shape {
        Shape::Scalar => code.types.int,
        Shape::Vector => code.types.int_vector,
    };
    code.build.ins().bitcast(to, little(), value)
}

fn bits_real(code: &mut Code, shape: Shape, bits: Value) -> Value {
    let to = match shape {
        Shape::Scalar => code.types.real,
        Shape::Vector => code.types.vector,
    };
    code.build.ins().bitcast(to, little(), bits)
}

/// Vector casts that change the number of lanes must name a byte order; these do not change it.
pub(super) fn little() -> MemFlagsData {
    MemFlagsData::new().with_endianness(cranelift_codegen::ir::Endianness::Little)
}

fn truth(code: &mut Code, shape: Shape, mask: Value) -> Operand {
    let real = match shape {
        Shape::Scalar => {
            let (one, zero) = (code.real(1.0), code.real(0.0));
            code.build.ins().select(mask, one, zero)
        }
        Shape::Vector => {
            let one = match code.precision {
                Precision::F32 => u64::from(1.0f32.to_bits()),
                Precision::F64 => 1.0f64.to_bits(),
            };
            let one = integer(code, shape, one);
            let bits = code.build.ins().band(mask, one);
            bits_real(code, shape, bits)
        }
    };
    Operand { real, mask: Some(mask) }
}

/// `yes` where the mask is set, else `no`.
fn choose(code: &mut Code, shape: Shape, mask: Value, yes: Value, no: Value) -> Value {
    match shape {
        Shape::Scalar => code.build.ins().select(mask, yes, no),
        Shape::Vector => {
            let mask = bits_real(code, shape, mask);
            code.build.ins().bitselect(mask, yes, no)
        }
    }
}

fn binary(code: &mut Code, shape: Shape, op: BinaryInst, a: Value, b: Value) -> Operand {
    let ins = code.build.ins();
    let real = match op {
        BinaryInst::Add => ins.fadd(a, b),
        BinaryInst::Subtract => ins.fsub(a, b),
        BinaryInst::Multiply => ins.fmul(a, b),
        BinaryInst::Divide | BinaryInst::DivideByModerate => ins.fdiv(a, b),
        BinaryInst::Min => ins.fmin(a, b),
        BinaryInst::Max => ins.fmax(a, b),
        BinaryInst::Equal => return compare(code, shape, FloatCC::Equal, a, b),
        BinaryInst::NotEqual => return compare(code, shape, FloatCC::NotEqual, a, b),
        BinaryInst::Less => return compare(code, shape, FloatCC::LessThan, a, b),
        BinaryInst::LessEqual => return compare(code, shape, FloatCC::LessThanOrEqual, a, b),
        BinaryInst::Greater => return compare(code, shape, FloatCC::GreaterThan, a, b),
        BinaryInst::GreaterEqual => return compare(code, shape, FloatCC::GreaterThanOrEqual, a, b),
    };
    Operand { real, mask: None }
}

fn compare(code: &mut Code, shape: Shape, how: FloatCC, a: Value, b: Value) -> Operand {
    let mask = code.build.ins().fcmp(how, a, b);
    truth(code, shape, mask)
}

fn unary(code: &mut Code, shape: Shape, op: UnaryInst, a: Value) -> Result<Value, EmitError> {
    let (mantissa_bits, bias) = float_layout(code.precision);
    Ok(match op {
        UnaryInst::Negate => code.build.ins().fneg(a),
        UnaryInst::Abs => code.build.ins().fabs(a),
        UnaryInst::Sqrt => code.build.ins().sqrt(a),
        UnaryInst::Floor => code.build.ins().floor(a),
        UnaryInst::Round => code.build.ins().nearest(a),
        UnaryInst::Sign => {
            let (zero, one, less) =
                (constant(code, shape, 0.0), constant(code, shape, 1.0), constant(code, shape, -1.0));
            let above = code.build.ins().fcmp(FloatCC::GreaterThan, a, zero);
            let below = code.build.ins().fcmp(FloatCC::LessThan, a, zero);
            let number = code.build.ins().fcmp(FloatCC::Equal, a, a);
            let sign = choose(code, shape, below, less, zero);
            let sign = choose(code, shape, above, one, sign);
            choose(code, shape, number, sign, a)
        }
        UnaryInst::Exponent => {
            let bits = real_bits(code, shape, a);
            let shift = code.int(mantissa_bits);
            let exponent = code.build.ins().ushr(bits, shift);
            match code.precision {
                Precision::F32 => {
                    let bias = integer(code, shape, bias);
                    let exponent = code.build.ins().isub(exponent, bias);
                    let to = match shape {
                        Shape::Scalar => code.types.real,
                        Shape::Vector => code.types.vector,
                    };
                    code.build.ins().fcvt_from_sint(to, exponent)
                }
                Precision::F64 => {
                    let number = small_integer_real(code, shape, exponent);
                    let bias = constant(code, shape, bias as f64);
                    code.build.ins().fsub(number, bias)
                }
            }
        }
        UnaryInst::Mantissa => {
            let bits = real_bits(code, shape, a);
            let mask = integer(code, shape, (1 << mantissa_bits) - 1);
            let one = integer(code, shape, bias << mantissa_bits);
            let mantissa = code.build.ins().band(bits, mask);
            let mantissa = code.build.ins().bor(mantissa, one);
            bits_real(code, shape, mantissa)
        }
        UnaryInst::Exp
        | UnaryInst::Log
        | UnaryInst::Tanh
        | UnaryInst::Sigmoid
        | UnaryInst::Softplus
        | UnaryInst::Sin
        | UnaryInst::Cos => return Err(EmitError::Plan(format!("{op:?} has not been expanded"))),
    })
}

/// A 64-bit integer below 2^52 as a real: put below the exponent of 2^52, which is then subtracted.
fn small_integer_real(code: &mut Code, shape: Shape, value: Value) -> Value {
    let large = (1u64 << 52) as f64;
    let exponent = integer(code, shape, large.to_bits());
    let bits = code.build.ins().bor(value, exponent);
    let sum = bits_real(code, shape, bits);
    let large = constant(code, shape, large);
    code.build.ins().fsub(sum, large)
}

/// An id as a real; the largest u32 is none and becomes NaN.
fn id_value(code: &mut Code, shape: Shape, id: Value) -> Value {
    let real = match (code.precision, shape) {
        (Precision::F64, _) => small_integer_real(code, shape, id),
        (Precision::F32, Shape::Vector) => code.build.ins().fcvt_from_uint(code.types.vector, id),
        (Precision::F32, Shape::Scalar) => {
            let wide = code.build.ins().uextend(types::I64, id);
            code.build.ins().fcvt_from_sint(code.types.real, wide)
        }
    };
    let none = integer(code, shape, u64::from(u32::MAX));
    let is_none = code.build.ins().icmp(IntCC::Equal, id, none);
    let nan = constant(code, shape, f64::NAN);
    choose(code, shape, is_none, nan, real)
}

/// Bits of the mantissa and the exponent's bias.
fn float_layout(precision: Precision) -> (i64, u64) {
    match precision {
        Precision::F32 => (23, 127),
        Precision::F64 => (52, 1023),
    }
}

/// `x * 2^n`. Where `n` is known to stay among normal exponents that is one product. Else the surplus
/// comes first and the largest factor last, so that a result is rounded once.
fn scale(code: &mut Code, shape: Shape, x: Value, n: Value, (low, high): (f64, f64)) -> Value {
    let (_, bias) = float_layout(code.precision);
    let (least, most) = (1.0 - bias as f64, bias as f64);
    if low >= least && high <= most {
        let factor = power_of_two(code, shape, n);
        return code.build.ins().fmul(x, factor);
    }
    let main = clamp(code, shape, n, least, most);
    let rest = code.build.ins().fsub(n, main);
    if low >= 2.0 * least && high <= 2.0 * most {
        let factor = power_of_two(code, shape, rest);
        let product = code.build.ins().fmul(x, factor);
        let factor = power_of_two(code, shape, main);
        return code.build.ins().fmul(product, factor);
    }
    let more = clamp(code, shape, rest, least, most);
    let rest = code.build.ins().fsub(rest, more);
    let rest = clamp(code, shape, rest, least, most);
    let mut product = x;
    for exponent in [rest, more, main] {
        let factor = power_of_two(code, shape, exponent);
        product = code.build.ins().fmul(product, factor);
    }
    product
}

/// 2^n for an integral n of normal exponent: adding 1.5 * 2^23 (2^52 for f64) leaves n in the lowest
/// bits of the mantissa, from where it is shifted into the exponent.
fn power_of_two(code: &mut Code, shape: Shape, n: Value) -> Value {
    let (mantissa_bits, bias) = float_layout(code.precision);
    let magic = 1.5 * (mantissa_bits as f64).exp2() + bias as f64;
    let magic = constant(code, shape, magic);
    let sum = code.build.ins().fadd(n, magic);
    let bits = real_bits(code, shape, sum);
    let shift = code.int(mantissa_bits);
    let bits = code.build.ins().ishl(bits, shift);
    bits_real(code, shape, bits)
}

/// `n` between two numbers; a NaN becomes the lower one.
fn clamp(code: &mut Code, shape: Shape, n: Value, low: f64, high: f64) -> Value {
    let (low, high) = (constant(code, shape, low), constant(code, shape, high));
    let above = code.build.ins().fcmp(FloatCC::GreaterThan, n, low);
    let n = choose(code, shape, above, n, low);
    let below = code.build.ins().fcmp(FloatCC::LessThan, n, high);
    choose(code, shape, below, n, high)
}
