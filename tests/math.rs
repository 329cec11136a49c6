//! The expanded transcendental functions against the standard library's, over the whole range.

#[path = "native/scalar.rs"]
mod scalar;

use rnnc::plan::math::{SINE_LIMIT, expand_body, range};
use rnnc::plan::{BinaryInst, Inst, Precision, UnaryInst};
use scalar::{Number, arithmetic};

/// The expansion of a function, to be evaluated many times.
struct Expanded {
    body: Vec<Inst>,
}

impl Expanded {
    fn new(op: UnaryInst, precision: Precision) -> Expanded {
        let body = [Inst::Index(0), Inst::Unary(op, 0)];
        Expanded { body: expand_body(&body, precision, true) }
    }

    fn at<N: Number>(&self, x: N, values: &mut Vec<Option<N>>) -> N {
        values.clear();
        values.push(Some(x));
        for inst in &self.body[1..] {
            let value = arithmetic(inst, values);
            values.push(value);
        }
        values.last().copied().flatten().unwrap()
    }
}

fn exact(op: UnaryInst, x: f64) -> f64 {
    match op {
        // f64's own formula loses digits on the left.
        UnaryInst::Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
        _ => f64::unary(op, x),
    }
}

const FUNCTIONS: [UnaryInst; 7] = [
    UnaryInst::Exp,
    UnaryInst::Log,
    UnaryInst::Tanh,
    UnaryInst::Sigmoid,
    UnaryInst::Softplus,
    UnaryInst::Sin,
    UnaryInst::Cos,
];

/// Distance in units in the last place; infinities and NaN must agree.
fn ulps32(value: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if value.is_nan() || rounded.is_nan() || value.is_infinite() || rounded.is_infinite() {
        let same = value.is_nan() && rounded.is_nan() || value == rounded;
        // At the edge of overflow one unit separates the largest number from infinity.
        let edge = value.abs().min(rounded.abs()) == f32::MAX;
        return if same || edge { 0.0 } else { f64::INFINITY };
    }
    let size = (rounded.abs().max(f32::MIN_POSITIVE)).to_bits() >> 23;
    let ulp = f64::exp2(f64::from(size) - 127.0 - 23.0);
    (f64::from(value) - exact).abs() / ulp
}

#[test]
fn f32_functions_are_within_four_units_everywhere() {
    for op in FUNCTIONS {
        let expanded = Expanded::new(op, Precision::F32);
        let mut values = Vec::new();
        let mut worst = (0.0, 0.0f32);
        let mut check = |x: f32| {
            let periodic = matches!(op, UnaryInst::Sin | UnaryInst::Cos);
            let value = expanded.at(x, &mut values);
            if periodic && f64::from(x.abs()) > SINE_LIMIT {
                assert!(x.is_infinite() || x.is_nan() || value.abs() <= 1.001, "{op:?}({x}) = {value}");
                return;
            }
            let error = ulps32(value, exact(op, f64::from(x)));
            if error > worst.0 {
                worst = (error, x);
            }
        };
        for bits in (0..=u32::MAX).step_by(4999) {
            check(f32::from_bits(bits));
        }
        for step in -120_000..120_000 {
            check(step as f32 * 1e-3);
        }
        for special in [
            0.0,
            -0.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::MAX,
            f32::MIN,
            1e-45,
            -1e-45,
            1.0,
            -1.0,
        ] {
            check(special);
        }
        println!("{op:?}: {:.2} units at {:e}", worst.0, worst.1);
        assert!(worst.0 <= 4.0, "{op:?} is off by {} units at {:e}", worst.0, worst.1);
    }
}

#[test]
fn f64_functions_agree_with_the_standard_library() {
    for op in FUNCTIONS {
        let expanded = Expanded::new(op, Precision::F64);
        let mut values = Vec::new();
        let mut worst = (0.0, 0.0f64);
        let mut check = |x: f64| {
            let value = expanded.at(x, &mut values);
            let exact = exact(op, x);
            let error = match value.is_finite() && exact.is_finite() {
                true => (value - exact).abs() / (exact.abs() * f64::EPSILON).max(f64::from_bits(1)),
                false if value.is_nan() && exact.is_nan() || value == exact => 0.0,
                false => f64::INFINITY,
            };
            if error > worst.0 {
                worst = (error, x);
            }
        };
        for step in -400_000..400_000 {
            check(step as f64 * 1.901e-3);
            check(step as f64 * 1e-6);
        }
        for exponent in -1080..1000 {
            let size = 1.37 * f64::exp2(f64::from(exponent));
            if !matches!(op, UnaryInst::Sin | UnaryInst::Cos) || size < SINE_LIMIT {
                check(size);
                check(-size);
            }
        }
        for special in [0.0, f64::NAN, 5e-324, 1.0, -1.0] {
            check(special);
        }
        if !matches!(op, UnaryInst::Sin | UnaryInst::Cos) {
            check(f64::INFINITY);
            check(f64::NEG_INFINITY);
        }
        println!("{op:?}: {:.2} units at {:e}", worst.0, worst.1);
        assert!(worst.0 <= 6.0, "{op:?} is off by {} units at {:e}", worst.0, worst.1);
    }
}

#[test]
fn powers_have_bounds_and_other_differences_have_none() {
    for (precision, low, high) in [(Precision::F32, -151.0, 129.0), (Precision::F64, -1077.0, 1025.0)] {
        let body = expand_body(&[Inst::Index(0), Inst::Unary(UnaryInst::Exp, 0)], precision, true);
        let Some(Inst::ScaleByPowerOfTwo(_, n)) = body.last() else { panic!("{body:?}") };
        assert_eq!(range(&body, *n), (low, high));
    }
    // A sum that keeps its fraction, or loses more than that.
    for m in [0.2, 1e30] {
        let number = [Inst::Const(88.4), Inst::Const(1.0), Inst::Const(m), Inst::Fma(0, 1, 2)];
        let body = [&number[..], &[Inst::Binary(BinaryInst::Subtract, 3, 2)]].concat();
        assert_eq!(range(&body, 4), (f64::NEG_INFINITY, f64::INFINITY));
    }
}
