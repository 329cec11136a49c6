//! The kernel language's arithmetic on one number, as plainly as possible.

use rnnc::plan::{BinaryInst, Inst, UnaryInst, Val};

/// f32 or f64, with what the instructions need.
pub trait Number: Copy + PartialOrd + std::fmt::Debug {
    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
    fn unary(op: UnaryInst, a: Self) -> Self;
    fn arithmetic(op: BinaryInst, a: Self, b: Self) -> Self;
    fn fma(a: Self, b: Self, c: Self) -> Self;
    fn is_nan(self) -> bool;
}

macro_rules! number {
    ($type:ty, $mantissa:literal, $bias:literal) => {
        impl Number for $type {
            fn of(value: f64) -> Self {
                value as $type
            }
            fn wide(self) -> f64 {
                self.into()
            }
            fn unary(op: UnaryInst, a: Self) -> Self {
                match op {
                    UnaryInst::Negate => -a,
                    UnaryInst::Abs => a.abs(),
                    UnaryInst::Sqrt => a.sqrt(),
                    UnaryInst::Floor => a.floor(),
                    UnaryInst::Round => a.round_ties_even(),
                    UnaryInst::Sign if a > 0.0 => 1.0,
                    UnaryInst::Sign if a < 0.0 => -1.0,
                    UnaryInst::Sign if a == 0.0 => 0.0,
                    UnaryInst::Sign => a,
                    UnaryInst::Exponent => ((a.to_bits() >> $mantissa) as i64 - $bias) as $type,
                    UnaryInst::Mantissa => {
                        let mask = (1 << $mantissa) - 1;
                        <$type>::from_bits(a.to_bits() & mask | $bias << $mantissa)
                    }
                    UnaryInst::Exp => a.exp(),
                    UnaryInst::Log => a.ln(),
                    UnaryInst::Tanh => a.tanh(),
                    UnaryInst::Sigmoid => 1.0 / (1.0 + (-a).exp()),
                    UnaryInst::Softplus => a.max(0.0) + (-a.abs()).exp().ln_1p(),
                    UnaryInst::Sin => a.sin(),
                    UnaryInst::Cos => a.cos(),
                }
            }
            fn arithmetic(op: BinaryInst, a: Self, b: Self) -> Self {
                let truth = |condition: bool| if condition { 1.0 } else { 0.0 };
                match op {
                    BinaryInst::Add => a + b,
                    BinaryInst::Subtract => a - b,
                    BinaryInst::Multiply => a * b,
                    BinaryInst::Divide | BinaryInst::DivideByModerate => a / b,
                    BinaryInst::Min | BinaryInst::Max if a.is_nan() || b.is_nan() => <$type>::NAN,
                    BinaryInst::Min => a.min(b),
                    BinaryInst::Max => a.max(b),
                    BinaryInst::Equal => truth(a == b),
                    BinaryInst::NotEqual => truth(a != b),
                    BinaryInst::Less => truth(a < b),
                    BinaryInst::LessEqual => truth(a <= b),
                    BinaryInst::Greater => truth(a > b),
                    BinaryInst::GreaterEqual => truth(a >= b),
                }
            }
            fn fma(a: Self, b: Self, c: Self) -> Self {
                a.mul_add(b, c)
            }
            fn is_nan(self) -> bool {
                self != self
            }
        }
    };
}
number!(f32, 23, 127);
number!(f64, 52, 1023);

/// An arithmetic instruction on the values before it; `None` for one that touches memory or indices.
pub fn arithmetic<N: Number>(inst: &Inst, values: &[Option<N>]) -> Option<N> {
    let at = |value: Val| values[value].unwrap();
    Some(match inst {
        Inst::Const(value) => N::of(*value),
        Inst::Unary(op, a) => N::unary(*op, at(*a)),
        Inst::Binary(op, a, b) => N::arithmetic(*op, at(*a), at(*b)),
        Inst::Fma(a, b, c) => N::fma(at(*a), at(*b), at(*c)),
        Inst::ScaleByPowerOfTwo(x, n) => power_scaled(at(*x), at(*n)),
        Inst::Select(c, yes, no) if at(*c) != N::of(0.0) => at(*yes),
        Inst::Select(_, _, no) => at(*no),
        _ => return None,
    })
}

/// `x * 2^n` in steps small enough for the factor to be a normal number, the last one the largest.
fn power_scaled<N: Number>(x: N, n: N) -> N {
    if n.is_nan() {
        return N::arithmetic(BinaryInst::Multiply, x, n);
    }
    let limit = if size_of::<N>() == 4 { 126.0 } else { 1022.0 };
    let mut rest = n.wide().clamp(-3.0 * limit, 3.0 * limit);
    let last = rest.clamp(-limit, limit);
    rest -= last;
    let mut product = x;
    while rest != 0.0 {
        let part = rest.clamp(-limit, limit);
        product = N::arithmetic(BinaryInst::Multiply, product, N::of(part.exp2()));
        rest -= part;
    }
    N::arithmetic(BinaryInst::Multiply, product, N::of(last.exp2()))
}
