//! The transcendental functions, written in the kernel language itself.
//!
//! `v1 = exp v0` becomes a clamp, `n = round(v0 * log2 e)`, a polynomial in `v0 - n log 2`, and
//! `scale_by_power_of_two`: instructions that every backend has, so that all of them compute the same
//! function. Reductions and coefficients are those of Moshier's Cephes library (f32: `logf`, `sinf`; f64:
//! `exp`, `log`, `tanh`, `sin`), or fitted for this (f32: `exp`, `tanh`); within 4 units in the last place for every f32
//! number, denormal ones and infinities included. Only `sin` and `cos` have a limit: beyond
//! [`SINE_LIMIT`] they stay between -1 and 1 but lose their accuracy.

use super::kernel::*;

/// Largest argument (in either direction) at which `sin` and `cos` keep their accuracy.
pub const SINE_LIMIT: f64 = 1e5;

/// The phase with every transcendental instruction replaced.
///
/// Whether multiply-adds are `fused` (rounded once) makes a difference to sine and cosine only.
pub fn expand(phase: &Phase, precision: Precision, fused: bool) -> Phase {
    let body = expand_body(&phase.body, precision, fused);
    Phase { dims: phase.dims.clone(), reduced: phase.reduced, body }
}

/// A body with every transcendental instruction replaced.
pub fn expand_body(body: &[Inst], precision: Precision, fused: bool) -> Vec<Inst> {
    let mut out = Builder { body: Vec::with_capacity(body.len()), precision, fused };
    let mut names: Vec<Val> = Vec::with_capacity(body.len());
    for inst in body {
        let at = |value: &Val| names.get(*value).copied().unwrap_or(*value);
        let new = match inst {
            Inst::Unary(op, a) => out.unary(*op, at(a)),
            Inst::Binary(op, a, b) => out.push(Inst::Binary(*op, at(a), at(b))),
            Inst::Fma(a, b, c) => out.push(Inst::Fma(at(a), at(b), at(c))),
            Inst::ScaleByPowerOfTwo(a, n) => out.push(Inst::ScaleByPowerOfTwo(at(a), at(n))),
            Inst::Select(c, a, b) => out.push(Inst::Select(at(c), at(a), at(b))),
            Inst::Store(place, a) => out.push(Inst::Store(place.clone(), at(a))),
            Inst::Reduce(how, a, place) => out.push(Inst::Reduce(*how, at(a), place.clone())),
            Inst::ArgMax(a, place) => out.push(Inst::ArgMax(at(a), place.clone())),
            Inst::SelectId(a, first, second, to) => {
                out.push(Inst::SelectId(at(a), first.clone(), second.clone(), to.clone()))
            }
            Inst::Const(_)
            | Inst::Index(_)
            | Inst::Load(_)
            | Inst::IdIs(..)
            | Inst::SameId(..)
            | Inst::IdValue(_)
            | Inst::CopyId(..) => out.push(inst.clone()),
        };
        names.push(new);
    }
    out.body
}

/// Bounds of a value where they are plain from the instructions that made it, for numbers (a NaN is
/// outside all bounds): a backend may scale by a power of two in one step if the power is bounded.
pub fn range(body: &[Inst], value: Val) -> (f64, f64) {
    bounds(body, value, 12)
}

fn bounds(body: &[Inst], value: Val, depth: usize) -> (f64, f64) {
    let unknown = (f64::NEG_INFINITY, f64::INFINITY);
    if depth == 0 {
        return unknown;
    }
    let of = |value: Val| bounds(body, value, depth - 1);
    match body.get(value) {
        Some(Inst::Const(number)) => (*number, *number),
        Some(Inst::Unary(UnaryInst::Abs, _)) => (0.0, f64::INFINITY),
        Some(Inst::Unary(UnaryInst::Negate, a)) => {
            let (low, high) = of(*a);
            (-high, -low)
        }
        // The rounding made here: `(x * c + m) - m`, with an m that leaves no fraction.
        Some(Inst::Binary(BinaryInst::Subtract, sum, m)) => match (body.get(*sum), body.get(*m)) {
            (Some(Inst::Fma(x, factor, added)), Some(Inst::Const(magic)))
                if added == m && PRECISIONS.map(rounding_off).contains(magic) =>
            {
                let ((low, high), (factor, _)) = (of(*x), of(*factor));
                let (one, other) = (low * factor, high * factor);
                (one.min(other).floor(), one.max(other).ceil())
            }
            _ => unknown,
        },
        // The clamps made here: `x > c ? c : x` and `x < c ? c : x`.
        Some(Inst::Select(condition, limit, other)) => match (body.get(*condition), body.get(*limit)) {
            (Some(Inst::Binary(how, x, c)), Some(Inst::Const(number))) if x == other && c == limit => {
                let (low, high) = of(*other);
                match how {
                    BinaryInst::Greater => (low.min(*number), high.min(*number)),
                    BinaryInst::Less => (low.max(*number), high.max(*number)),
                    _ => unknown,
                }
            }
            _ => unknown,
        },
        _ => unknown,
    }
}

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::F64];

/// So large a number that one added to it is rounded to a whole one.
fn rounding_off(precision: Precision) -> f64 {
    let digits = match precision {
        Precision::F32 => 23.0,
        Precision::F64 => 52.0,
    };
    1.5 * f64::exp2(digits)
}

/// Appends instructions.
struct Builder {
    body: Vec<Inst>,
    precision: Precision,
    fused: bool,
}

impl Builder {
    fn push(&mut self, inst: Inst) -> Val {
        self.body.push(inst);
        self.body.len() - 1
    }

    fn number(&mut self, value: f64) -> Val {
        self.push(Inst::Const(value))
    }

    fn binary(&mut self, op: BinaryInst, a: Val, b: Val) -> Val {
        self.push(Inst::Binary(op, a, b))
    }

    fn add(&mut self, a: Val, b: Val) -> Val {
        self.binary(BinaryInst::Add, a, b)
    }

    fn subtract(&mut self, a: Val, b: Val) -> Val {
        self.binary(BinaryInst::Subtract, a, b)
    }

    fn multiply(&mut self, a: Val, b: Val) -> Val {
        self.binary(BinaryInst::Multiply, a, b)
    }

    fn divide(&mut self, a: Val, b: Val) -> Val {
        self.binary(BinaryInst::Divide, a, b)
    }

    /// `a / b` for a `b` that is known to be of moderate size.
    fn divide_by_moderate(&mut self, a: Val, b: Val) -> Val {
        self.binary(BinaryInst::DivideByModerate, a, b)
    }

    fn fma(&mut self, a: Val, b: Val, c: Val) -> Val {
        self.push(Inst::Fma(a, b, c))
    }

    fn select(&mut self, condition: Val, yes: Val, no: Val) -> Val {
        self.push(Inst::Select(condition, yes, no))
    }

    fn simple(&mut self, op: UnaryInst, a: Val) -> Val {
        self.push(Inst::Unary(op, a))
    }

    /// `x`, but at most `limit`; NaN stays.
    fn at_most(&mut self, x: Val, limit: f64) -> Val {
        let limit = self.number(limit);
        let above = self.binary(BinaryInst::Greater, x, limit);
        self.select(above, limit, x)
    }

    /// `x`, but at least `limit`; NaN stays.
    fn at_least(&mut self, x: Val, limit: f64) -> Val {
        let limit = self.number(limit);
        let below = self.binary(BinaryInst::Less, x, limit);
        self.select(below, limit, x)
    }

    /// Horner's rule, highest power first.
    fn polynomial(&mut self, x: Val, coefficients: &[f64]) -> Val {
        let mut sum = self.number(coefficients.first().copied().unwrap_or(0.0));
        for &coefficient in coefficients.iter().skip(1) {
            let coefficient = self.number(coefficient);
            sum = self.fma(sum, x, coefficient);
        }
        sum
    }

    fn unary(&mut self, op: UnaryInst, x: Val) -> Val {
        match op {
            UnaryInst::Exp => self.exp(x),
            UnaryInst::Log => self.log(x),
            UnaryInst::Tanh => self.tanh(x),
            UnaryInst::Sigmoid => self.sigmoid(x),
            UnaryInst::Softplus => self.softplus(x),
            UnaryInst::Sin => self.sine(x, 0.0),
            UnaryInst::Cos => self.sine(x, 1.0),
            UnaryInst::Negate
            | UnaryInst::Abs
            | UnaryInst::Sqrt
            | UnaryInst::Floor
            | UnaryInst::Round
            | UnaryInst::Sign
            | UnaryInst::Exponent
            | UnaryInst::Mantissa => self.simple(op, x),
        }
    }

    fn exp(&mut self, x: Val) -> Val {
        let (low, high) = self.exp_limits();
        let x = self.at_most(x, high);
        let x = self.at_least(x, low);
        self.exp_within(x)
    }

    /// Below the lower limit exp is 0, above the upper one infinite.
    fn exp_limits(&self) -> (f64, f64) {
        match self.precision {
            Precision::F32 => (-104.0, 89.0),
            Precision::F64 => (-746.0, 710.0),
        }
    }

    /// x as n `share` log 2 + r, with n integral and r at most half of that; the share is a power of two of either sign.
    fn reduce_by_log2(&mut self, x: Val, share: f64) -> (Val, Val) {
        // log 2 in two parts, the first short enough for its product with n to be exact.
        let (high, low) = match self.precision {
            Precision::F32 => (0.693_359_375, -2.121_944_4e-4),
            Precision::F64 => (6.931_457_519_531_25e-1, 1.428_606_820_309_417_2e-6),
        };
        let per_share = self.number(std::f64::consts::LOG2_E / share);
        let magic = self.number(rounding_off(self.precision));
        let sum = self.fma(x, per_share, magic);
        let n = self.subtract(sum, magic);
        let high = self.number(-share * high);
        let r = self.fma(n, high, x);
        let low = self.number(-share * low);
        (n, self.fma(n, low, r))
    }

    /// exp of a number between the limits.
    fn exp_within(&mut self, x: Val) -> Val {
        let (n, r) = self.reduce_by_log2(x, 1.0);
        let mantissa = self.exp_of_rest(r, 1.0);
        self.push(Inst::ScaleByPowerOfTwo(mantissa, n))
    }

    /// exp of `sign` times a number of at most half of log 2.
    fn exp_of_rest(&mut self, r: Val, sign: f64) -> Val {
        match self.precision {
            // The relative error of e^r is least at degree 5 with these (9.2e-8), and e^0 is exact.
            Precision::F32 => self.polynomial(
                r,
                &[
                    sign * 8.290_272_122_007_766e-3,
                    4.189_816_036_825_08e-2,
                    sign * 1.666_763_813_198_453_3e-1,
                    4.999_914_783_550_12e-1,
                    sign * 9.999_997_063_107_003e-1,
                    1.0,
                ],
            ),
            // 1 + 2 p / (q - p), with p odd and q even.
            Precision::F64 => {
                let square = self.multiply(r, r);
                let p = self.polynomial(
                    square,
                    &[sign * 1.261_771_930_748_105_9e-4, sign * 3.029_944_077_074_419_6e-2, sign],
                );
                let p = self.multiply(p, r);
                let q = self.polynomial(
                    square,
                    &[3.001_985_051_386_644_6e-6, 2.524_483_403_496_841e-3, 2.272_655_482_081_550_3e-1, 2.0],
                );
                let rest = self.subtract(q, p);
                let quotient = self.divide(p, rest);
                let (one, two) = (self.number(1.0), self.number(2.0));
                self.fma(two, quotient, one)
            }
        }
    }

    /// exp(-|x|), which neither overflows nor loses its denormal results.
    fn exp_of_minus_abs(&mut self, x: Val) -> Val {
        let size = self.simple(UnaryInst::Abs, x);
        let minus = self.simple(UnaryInst::Negate, size);
        let (low, _) = self.exp_limits();
        let minus = self.at_least(minus, low);
        self.exp_within(minus)
    }

    /// 2^n / (2^n + exp(-r)) with x = n log 2 + r: no power overflows, and denormal results are kept.
    fn sigmoid(&mut self, x: Val) -> Val {
        let (low, _) = self.exp_limits();
        // From here on it rounds to 1.
        let x = self.at_most(x, 40.0);
        let x = self.at_least(x, low);
        let (n, r) = self.reduce_by_log2(x, 1.0);
        let mantissa = self.exp_of_rest(r, -1.0);
        let one = self.number(1.0);
        let power = self.push(Inst::ScaleByPowerOfTwo(one, n));
        let below = self.add(power, mantissa);
        self.divide_by_moderate(power, below)
    }

    /// max(x, 0) + log(1 + e) with e = exp(-|x|).
    fn softplus(&mut self, x: Val) -> Val {
        let e = self.exp_of_minus_abs(x);
        let (zero, one) = (self.number(0.0), self.number(1.0));
        let sum = self.add(one, e);
        // What the sum has rounded away, to first order: all of e where e is small.
        let back = self.subtract(sum, one);
        let lost = self.subtract(e, back);
        let correction = self.divide_by_moderate(lost, sum);
        let log = self.log_of_mantissa(sum, zero);
        let log = self.add(log, correction);
        let right = self.binary(BinaryInst::Greater, x, zero);
        let straight = self.select(right, x, zero);
        self.add(straight, log)
    }

    fn log(&mut self, x: Val) -> Val {
        let (least_normal, steps) = match self.precision {
            Precision::F32 => (f64::from(f32::MIN_POSITIVE), 24.0),
            Precision::F64 => (f64::MIN_POSITIVE, 54.0),
        };
        let (zero, one) = (self.number(0.0), self.number(1.0));
        let least = self.number(least_normal);
        let denormal = self.binary(BinaryInst::Less, x, least);
        let up = self.number(f64::exp2(steps));
        let factor = self.select(denormal, up, one);
        let normal = self.multiply(x, factor);
        let steps = self.number(steps);
        let shift = self.select(denormal, steps, zero);
        let exponent = self.simple(UnaryInst::Exponent, normal);
        let exponent = self.subtract(exponent, shift);
        let mantissa = self.simple(UnaryInst::Mantissa, normal);
        let log = self.log_of_mantissa(mantissa, exponent);
        // Outside the positive numbers: 0 gives -infinity, less gives NaN; infinity and NaN stay.
        let infinity = self.number(f64::INFINITY);
        let finite = self.binary(BinaryInst::Less, x, infinity);
        let log = self.select(finite, log, x);
        let minus_infinity = self.number(f64::NEG_INFINITY);
        let is_zero = self.binary(BinaryInst::Equal, x, zero);
        let log = self.select(is_zero, minus_infinity, log);
        let nan = self.number(f64::NAN);
        let negative = self.binary(BinaryInst::Less, x, zero);
        self.select(negative, nan, log)
    }

    /// log(m) + e log 2 for m in [1, 2].
    fn log_of_mantissa(&mut self, m: Val, e: Val) -> Val {
        let (half, one) = (self.number(0.5), self.number(1.0));
        let root = self.number(std::f64::consts::SQRT_2);
        let large = self.binary(BinaryInst::Greater, m, root);
        let halved = self.multiply(m, half);
        let m = self.select(large, halved, m);
        let next = self.add(e, one);
        let e = self.select(large, next, e);
        let x = self.subtract(m, one);
        let square = self.multiply(x, x);
        let p = match self.precision {
            Precision::F32 => self.polynomial(
                x,
                &[
                    7.037_683_629_2e-2,
                    -1.151_461_031e-1,
                    1.167_699_874e-1,
                    -1.242_014_084_6e-1,
                    1.424_932_278_7e-1,
                    -1.666_805_766_5e-1,
                    2.000_071_476_5e-1,
                    -2.499_999_399_3e-1,
                    3.333_333_117_4e-1,
                ],
            ),
            Precision::F64 => {
                let p = self.polynomial(
                    x,
                    &[
                        1.018_756_638_045_809_3e-4,
                        4.974_949_949_767_47e-1,
                        4.705_791_198_788_817,
                        1.449_892_253_416_109_3e1,
                        1.793_686_785_078_198_2e1,
                        7.708_387_337_558_854,
                    ],
                );
                let q = self.polynomial(
                    x,
                    &[
                        1.0,
                        1.128_735_871_891_674_5e1,
                        4.522_791_458_375_322e1,
                        8.298_752_669_127_766e1,
                        7.115_447_506_185_639e1,
                        2.312_516_201_267_653_4e1,
                    ],
                );
                self.divide(p, q)
            }
        };
        let cube = self.multiply(x, square);
        let y = self.multiply(cube, p);
        let low = self.number(-2.121_944_400_546_905_8e-4);
        let y = self.fma(e, low, y);
        let minus_half = self.number(-0.5);
        let y = self.fma(minus_half, square, y);
        let y = self.add(x, y);
        let high = self.number(0.693_359_375);
        self.fma(e, high, y)
    }

    fn tanh(&mut self, x: Val) -> Val {
        match self.precision {
            Precision::F32 => self.tanh_by_expm1(x),
            Precision::F64 => self.tanh_by_exp(x),
        }
    }

    /// E / (E + 2) with E = exp(2 x) - 1, within the bounds where tanh rounds to 1: near 0 E is exact to the
    /// last place, and far from it its errors cancel. Both sides are multiplied by 2^n, where 2 x = 2 r - n log 2, so that
    /// no power of e need be scaled.
    fn tanh_by_expm1(&mut self, x: Val) -> Val {
        let x = self.at_most(x, 9.02);
        let x = self.at_least(x, -9.02);
        let (n, r) = self.reduce_by_log2(x, -0.5);
        // (e^(2 r) - 1) / r, whose relative error is least at degree 5 with these (1.4e-8).
        let p = self.polynomial(
            r,
            &[
                64.0 * 1.387_065_742_164_850_2e-3,
                32.0 * 8.366_261_608_898_64e-3,
                16.0 * 4.166_743_531_823_158e-2,
                8.0 * 1.666_654_646_396_637e-1,
                4.0 * 4.999_999_701_976_776e-1,
                2.0,
            ],
        );
        let (one, two) = (self.number(1.0), self.number(2.0));
        let power = self.push(Inst::ScaleByPowerOfTwo(one, n));
        let rest = self.subtract(one, power);
        let above = self.fma(p, r, rest);
        let below = self.fma(two, power, above);
        self.divide_by_moderate(above, below)
    }

    /// A quotient near 0, else 1 - 2 / (exp(2 |x|) + 1) with the sign of x.
    fn tanh_by_exp(&mut self, x: Val) -> Val {
        let size = self.simple(UnaryInst::Abs, x);
        let (one, two) = (self.number(1.0), self.number(2.0));
        let clamped = self.at_most(size, 20.0);
        let double = self.multiply(clamped, two);
        let e = self.exp_within(double);
        let below = self.add(e, one);
        let part = self.divide_by_moderate(two, below);
        let large = self.subtract(one, part);
        let minus = self.simple(UnaryInst::Negate, large);
        let zero = self.number(0.0);
        let left = self.binary(BinaryInst::Less, x, zero);
        let large = self.select(left, minus, large);
        let square = self.multiply(x, x);
        let p = self.polynomial(
            square,
            &[-9.643_991_794_250_523e-1, -9.928_772_310_019_186e1, -1.614_687_684_417_084_5e3],
        );
        let q = self.polynomial(
            square,
            &[1.0, 1.128_116_784_916_329_3e2, 2.235_488_390_601_004_5e3, 4.844_063_053_251_255e3],
        );
        let p = self.divide(p, q);
        let cube = self.multiply(square, x);
        let small = self.fma(p, cube, x);
        let bound = self.number(0.625);
        let outside = self.binary(BinaryInst::Greater, size, bound);
        self.select(outside, large, small)
    }

    /// sin of x + `quarter` quarter turns.
    fn sine(&mut self, x: Val, quarter: f64) -> Val {
        let per_quarter = self.number(std::f64::consts::FRAC_2_PI);
        let quotient = self.multiply(x, per_quarter);
        let n = self.simple(UnaryInst::Round, quotient);
        // pi / 2 in three parts of full length, whose first difference is exact if rounded once; else in parts
        // so short that their products with n, which has at most 16 bits, are exact.
        let parts: &[f64] = match (self.precision, self.fused) {
            (Precision::F32, true) => {
                &[-1.570_796_370_506_286_6, 4.371_139_000_186_241e-8, 1.715_124_418_375_639_3e-15]
            }
            (Precision::F64, true) => {
                &[-std::f64::consts::FRAC_PI_2, -6.123_233_995_736_766e-17, 1.497_384_904_859_169_8e-33]
            }
            (Precision::F32, false) => &[
                -1.570_312_5,
                -4.825_592_041_015_625e-4,
                -1.266_598_701_477_050_8e-6,
                -9.895_302_355_289_46e-10,
                -2.557_953_848_736_360_7e-12,
                -5.384_581_669_432_009e-15,
                -5.719_166_459_861_036e-18,
                -2.011_703_249_728_963_3e-21,
                -1.054_655_281_005_110_3e-23,
            ],
            (Precision::F64, false) => &[
                -1.570_796_326_792_333_3,
                -2.563_344_151_583_955_8e-12,
                -1.056_299_906_694_406_8e-23,
                -4.335_905_065_061_890_3e-35,
            ],
        };
        let mut r = x;
        for &part in parts {
            let part = self.number(part);
            r = self.fma(n, part, r);
        }
        // Beyond the limit only: keeps the polynomials bounded.
        let r = self.at_most(r, 0.8);
        let r = self.at_least(r, -0.8);
        let shift = self.number(quarter);
        let turns = self.add(n, shift);
        let fourth = self.number(0.25);
        let four = self.number(4.0);
        let minus_four = self.simple(UnaryInst::Negate, four);
        let whole = self.multiply(turns, fourth);
        let whole = self.simple(UnaryInst::Floor, whole);
        let quadrant = self.fma(whole, minus_four, turns);
        let square = self.multiply(r, r);
        let (sine, cosine): (&[f64], &[f64]) = match self.precision {
            Precision::F32 => (
                &[-1.951_529_589_1e-4, 8.332_160_873_6e-3, -1.666_665_461_1e-1],
                &[2.443_315_711_809_948e-5, -1.388_731_625_493_765e-3, 4.166_664_568_298_827e-2],
            ),
            Precision::F64 => (
                &[
                    1.589_623_015_765_465_7e-10,
                    -2.505_074_776_285_780_7e-8,
                    2.755_731_362_138_572_5e-6,
                    -1.984_126_982_958_954e-4,
                    8.333_333_333_322_119e-3,
                    -1.666_666_666_666_663e-1,
                ],
                &[
                    -1.135_853_652_138_768_2e-11,
                    2.087_570_084_197_473e-9,
                    -2.755_731_417_929_674e-7,
                    2.480_158_728_885_170_5e-5,
                    -1.388_888_888_887_305_6e-3,
                    4.166_666_666_666_659e-2,
                ],
            ),
        };
        let p = self.polynomial(square, sine);
        let cube = self.multiply(square, r);
        let sine = self.fma(p, cube, r);
        let p = self.polynomial(square, cosine);
        let fourth_power = self.multiply(square, square);
        let (one, minus_half) = (self.number(1.0), self.number(-0.5));
        let start = self.fma(minus_half, square, one);
        let cosine = self.fma(p, fourth_power, start);
        // Quadrants 1 and 3 swap sine and cosine; 2 and 3 change the sign.
        let (half, three_halves) = (self.number(0.5), self.number(1.5));
        let second = self.binary(BinaryInst::Greater, quadrant, three_halves);
        let two = self.number(2.0);
        let less = self.subtract(quadrant, two);
        let parity = self.select(second, less, quadrant);
        let odd = self.binary(BinaryInst::Greater, parity, half);
        let value = self.select(odd, cosine, sine);
        let minus = self.simple(UnaryInst::Negate, value);
        self.select(second, minus, value)
    }
}
