//! The transcendental functions as compiled for every target, over the whole range of f32.

use rnnc::plan::math::SINE_LIMIT;
use rnnc::plan::*;

use crate::build::*;
use crate::exact::run;
use crate::scalar::Number;
use crate::targets::targets;

const FUNCTIONS: [UnaryInst; 7] = [
    UnaryInst::Exp,
    UnaryInst::Log,
    UnaryInst::Tanh,
    UnaryInst::Sigmoid,
    UnaryInst::Softplus,
    UnaryInst::Sin,
    UnaryInst::Cos,
];

/// Elements of a row: three vectors of 16 and a rest.
const WIDTH: usize = 61;
/// Bit patterns from one argument to the next.
const STRIDE: usize = 1009;

/// Distance in units in the last place; infinities and NaN must agree.
pub fn ulps(value: f32, exact: f64) -> f64 {
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

fn exact(op: UnaryInst, x: f64) -> f64 {
    match op {
        // f64's own formula loses digits on the left.
        UnaryInst::Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
        _ => f64::unary(op, x),
    }
}

/// Bit patterns of the whole range, numbers of the size that networks have, and special ones.
fn arguments() -> Vec<f32> {
    let mut all: Vec<f32> = (0..=u32::MAX).step_by(STRIDE).map(f32::from_bits).collect();
    all.extend((-120_000..120_000).map(|step| step as f32 * 1e-3));
    all.extend([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN]);
    all.extend([1e-45, -1e-45, 1.0, -1.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE]);
    all.resize(all.len().next_multiple_of(WIDTH), 0.5);
    all
}

#[test]
fn compiled_functions_are_within_four_units_everywhere() {
    let arguments = arguments();
    for op in FUNCTIONS {
        let mut plan = empty_plan();
        let (x, y) = (plan.input("x", BATCH, WIDTH), plan.output("y", BATCH, WIDTH));
        let here = |buffer| place(buffer, Row::Same, 0, &[1]);
        let body = vec![Inst::Load(here(x)), Inst::Unary(op, 0), Inst::Store(here(y), 1)];
        plan.regions.push(Region::Flat(vec![rows(BATCH, vec![phase(&[WIDTH], 0, body)])]));
        let expected: Vec<f64> = arguments.iter().map(|&x| exact(op, f64::from(x))).collect();
        let periodic = matches!(op, UnaryInst::Sin | UnaryInst::Cos);
        for target in targets() {
            let found = run(&plan, target, arguments.len() / WIDTH, &[("x", &arguments)], &[]);
            let mut worst = (0.0, 0.0);
            for ((&x, &y), &expected) in arguments.iter().zip(&found[0].1).zip(&expected) {
                if periodic && f64::from(x.abs()) > SINE_LIMIT {
                    assert!(x.is_infinite() || x.is_nan() || y.abs() <= 1.001, "{op:?}({x}) = {y}");
                    continue;
                }
                let error = ulps(y, expected);
                if error > worst.0 {
                    worst = (error, x);
                }
            }
            println!("{op:?} for {target}: {:.2} units at {:e}", worst.0, worst.1);
            assert!(worst.0 <= 4.0, "{op:?} for {target} is off by {} units at {:e}", worst.0, worst.1);
        }
    }
}
