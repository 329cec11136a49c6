//! Instructions of the kernel language on chosen numbers, compiled for every target, against the same
//! arithmetic in Rust: the same bits, but for which NaN and, of a minimum or maximum of zeros, which zero.

use std::sync::Arc;

use rnnc::backend::native::Target;
use rnnc::plan::*;
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::{Instance, Program};

use crate::build::*;
use crate::scalar::{Number, arithmetic};
use crate::targets::targets;

/// Widths below, at and beyond whole vectors of 4, 8 and 16.
const EXTENTS: [usize; 7] = [1, 3, 15, 16, 17, 33, 64];

/// Numbers where arithmetic has its corners, and some plain ones.
pub const SPECIALS: [f32; 27] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    1e-45,
    -1e-45,
    1.1e-38,
    -1.1e-38,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    0.5,
    1.5,
    -2.5,
    0.49999997,
    8388607.5,
    16777216.0,
    -3e9,
    3e38,
    1.0000001,
    -0.3,
    1e-20,
    1e20,
];

/// All pairs of special numbers, then numbers that look random.
fn pairs() -> (Vec<f32>, Vec<f32>) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for left in SPECIALS {
        for right in SPECIALS {
            a.push(left);
            b.push(right);
        }
    }
    a.extend(numbers(400, 5).into_iter().map(|value| value as f32));
    b.extend(numbers(400, 6).into_iter().map(|value| value as f32));
    (a, b)
}

/// Runs a plan whose inputs lie in the batch's rows; its outputs by name.
pub fn run(
    plan: &Plan,
    target: Target,
    examples: usize,
    inputs: &[(&str, &[f32])],
    parameters: &[&[f32]],
) -> Vec<(String, Vec<f32>)> {
    let program = Arc::new(Program::<f32>::compile(plan.clone(), target, false).unwrap());
    let lengths = Lengths::uniform(examples, &[1, 1]);
    let mut instance = Instance::new(&program, &lengths, 0..examples).unwrap();
    for (name, values) in inputs {
        instance.set_input(name, values).unwrap();
    }
    instance.run(parameters).unwrap();
    let outputs = plan.buffers.iter().filter_map(|buffer| match (&buffer.role, buffer.element) {
        (Role::Output(name), Element::Real) => Some((name.clone(), instance.output(name).unwrap())),
        _ => None,
    });
    outputs.collect()
}

/// The same number: NaN is NaN, and zeros differ by their signs unless that is `loose`.
pub fn same(found: f32, expected: f32, loose: bool) -> bool {
    let zeros = loose && found == 0.0 && expected == 0.0;
    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan() || zeros
}

/// Whether zeros of either sign may come out.
fn is_loose(inst: &Inst) -> bool {
    matches!(inst, Inst::Binary(BinaryInst::Min | BinaryInst::Max, ..))
}

/// Instructions on value 0 (`a`), 1 (`b`), 2 (1.25) and 3 (-0.0).
fn instructions() -> Vec<Inst> {
    let mut all = Vec::new();
    for op in [UnaryInst::Negate, UnaryInst::Abs, UnaryInst::Sqrt, UnaryInst::Floor, UnaryInst::Round] {
        all.push(Inst::Unary(op, 0));
    }
    all.extend([UnaryInst::Sign].map(|op| Inst::Unary(op, 1)));
    for op in BINARY {
        // Also with a number on either side, and with twice the same.
        all.extend([(0, 1), (0, 2), (2, 0), (0, 3), (3, 0), (0, 0)].map(|(x, y)| Inst::Binary(op, x, y)));
    }
    all.extend(
        [(0, 1, 2), (0, 1, 0), (2, 0, 1), (0, 2, 1), (0, 2, 3), (0, 0, 0)]
            .map(|(x, y, z)| Inst::Fma(x, y, z)),
    );
    all.extend(
        [(0, 1, 2), (1, 0, 0), (0, 2, 1), (0, 3, 2), (2, 0, 1)].map(|(x, y, z)| Inst::Select(x, y, z)),
    );
    all
}

/// All binary operations that have one right result.
pub const BINARY: [BinaryInst; 12] = [
    BinaryInst::Add,
    BinaryInst::Subtract,
    BinaryInst::Multiply,
    BinaryInst::Divide,
    BinaryInst::Min,
    BinaryInst::Max,
    BinaryInst::Equal,
    BinaryInst::NotEqual,
    BinaryInst::Less,
    BinaryInst::LessEqual,
    BinaryInst::Greater,
    BinaryInst::GreaterEqual,
];

/// What instructions that read values 0 to 3 give for all pairs, each stored to an output of its own.
fn check_instructions(width: usize, of: &[Inst], (a, b): (Vec<f32>, Vec<f32>)) {
    let examples = a.len().div_ceil(width);
    let fill = |mut values: Vec<f32>| {
        values.resize(examples * width, 1.0);
        values
    };
    let (a, b) = (fill(a), fill(b));
    let mut plan = empty_plan();
    let (left, right) = (plan.input("a", BATCH, width), plan.input("b", BATCH, width));
    let mut phases = Vec::new();
    for (number, inst) in of.iter().enumerate() {
        let out = plan.output(&format!("out{number}"), BATCH, width);
        let body = vec![
            Inst::Load(place(left, Row::Same, 0, &[1])),
            Inst::Load(place(right, Row::Same, 0, &[1])),
            Inst::Const(1.25),
            Inst::Const(-0.0),
            inst.clone(),
            Inst::Store(place(out, Row::Same, 0, &[1]), 4),
        ];
        phases.push(phase(&[width], 0, body));
    }
    plan.regions.push(Region::Flat(vec![rows(BATCH, phases)]));
    for target in targets() {
        let found = run(&plan, target, examples, &[("a", &a), ("b", &b)], &[]);
        for (inst, (_, found)) in of.iter().zip(&found) {
            // Without the instruction, a product and a sum.
            let two_roundings = target == Target::V2;
            for (at, &found) in found.iter().enumerate() {
                let values = [a[at], b[at], 1.25, -0.0].map(Some);
                let expected = match inst {
                    Inst::Fma(x, y, z) if two_roundings => {
                        values[*x].unwrap() * values[*y].unwrap() + values[*z].unwrap()
                    }
                    _ => arithmetic(inst, &values).unwrap(),
                };
                assert!(
                    same(found, expected, is_loose(inst)),
                    "{inst:?} of {:e} and {:e} for {target}, width {width}: {found:e} instead of {expected:e}",
                    a[at],
                    b[at]
                );
            }
        }
    }
}

#[test]
fn every_instruction_on_special_numbers() {
    for width in EXTENTS {
        check_instructions(width, &instructions(), pairs());
    }
}

/// Mantissas and exponents are those of positive normal numbers, powers of two are integral.
#[test]
fn parts_of_numbers_and_scaling() {
    let positive: Vec<f32> = (1..255).map(|exponent| f32::from_bits(exponent << 23 | 0x2f_1234)).collect();
    let parts = [UnaryInst::Exponent, UnaryInst::Mantissa].map(|op| Inst::Unary(op, 0));
    for width in EXTENTS {
        check_instructions(width, &parts, (positive.clone(), positive.clone()));
        let (mut x, mut n) = (Vec::new(), Vec::new());
        for number in SPECIALS {
            for power in [-1000.0, -300.0, -277.0, -253.0, -150.0, -149.0, -127.0, -126.0, -24.0, -1.0, 0.0] {
                x.extend([number, number]);
                n.extend([power, -power]);
            }
        }
        check_instructions(width, &[Inst::ScaleByPowerOfTwo(0, 1)], (x, n));
    }
}

/// A quotient from an approximate reciprocal is at most one unit off, two where the dividend is tiny.
#[test]
fn quotients_by_moderate_numbers() {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for (at, value) in numbers(20_000, 11).into_iter().enumerate() {
        let size = ((at * 37) % 199) as i32 - 99;
        let special = SPECIALS[at % SPECIALS.len()];
        let dividend = (value * 1.37) as f32 * 2f32.powi(((at * 11) % 40) as i32 - 20);
        a.push(if at % 5 == 0 && special.abs() <= 2.0 { special } else { dividend });
        b.push((1.0 + value.abs() as f32) * 2f32.powi(size));
    }
    for width in [1, 16, 37] {
        let examples = a.len().div_ceil(width);
        let fill = |values: &[f32]| [values, &vec![1.0; examples * width - values.len()]].concat();
        let mut plan = empty_plan();
        let (left, right) = (plan.input("a", BATCH, width), plan.input("b", BATCH, width));
        let (of_a, of_one) = (plan.output("of_a", BATCH, width), plan.output("of_one", BATCH, width));
        let here = |buffer| place(buffer, Row::Same, 0, &[1]);
        let body = vec![
            Inst::Load(here(left)),
            Inst::Load(here(right)),
            Inst::Const(1.0),
            Inst::Binary(BinaryInst::DivideByModerate, 0, 1),
            Inst::Binary(BinaryInst::DivideByModerate, 2, 1),
            Inst::Store(here(of_a), 3),
            Inst::Store(here(of_one), 4),
        ];
        plan.regions.push(Region::Flat(vec![rows(BATCH, vec![phase(&[width], 0, body)])]));
        let (a, b) = (fill(&a), fill(&b));
        for target in targets() {
            let found = run(&plan, target, examples, &[("a", &a), ("b", &b)], &[]);
            for at in 0..a.len() {
                for (dividend, found) in [(a[at], found[0].1[at]), (1.0, found[1].1[at])] {
                    let units = crate::functions::ulps(found, f64::from(dividend) / f64::from(b[at]));
                    assert!(
                        units <= if dividend.abs() < 2f32.powi(-100) { 2.0 } else { 1.0 },
                        "{dividend:e} / {:e} for {target} is {found:e}, off by {units} units",
                        b[at]
                    );
                }
            }
        }
    }
}

/// More values at once than there are registers: sums of pairs that are made first and used last.
#[test]
fn more_values_than_registers() {
    for (width, count) in [(3, 40), (16, 40), (33, 40), (17, 90), (50, 200)] {
        let mut plan = empty_plan();
        let a = plan.input("a", BATCH, width + count);
        let (out, sums) = (plan.output("out", BATCH, width), plan.output("sums", BATCH, width));
        let mut body: Vec<Inst> =
            (0..count).map(|shift| Inst::Load(place(a, Row::Same, shift, &[1]))).collect();
        for value in 0..count {
            let other = (value * 7 + 3) % count;
            body.push(Inst::Binary(BinaryInst::Multiply, value, other));
        }
        // In the opposite order, so that all products wait.
        let mut sum = count * 2 - 1;
        for value in (count..2 * count - 1).rev() {
            body.push(Inst::Fma(value, value - count, sum));
            sum = body.len() - 1;
        }
        body.push(Inst::Store(place(out, Row::Same, 0, &[1]), sum));
        // Once more after the spilled values were fetched.
        for value in (0..count).rev() {
            body.push(Inst::Binary(BinaryInst::Max, sum, value));
            body.push(Inst::Binary(BinaryInst::Less, value, body.len() - 1));
            body.push(Inst::Select(body.len() - 1, value + count, sum));
            sum = body.len() - 1;
        }
        body.push(Inst::Store(place(sums, Row::Same, 0, &[1]), sum));
        check_body(&plan, &body, width, &[width], a);
    }
}

/// A body that loads from `a` only, over `dims`, on random rows.
fn check_body(plan: &Plan, body: &[Inst], width: usize, dims: &[usize], a: BufferId) {
    let examples = 3;
    let mut plan = plan.clone();
    plan.regions.push(Region::Flat(vec![rows(BATCH, vec![phase(dims, 0, body.to_vec())])]));
    let elements = plan.buffers[a].width;
    let input: Vec<f32> = numbers(examples * elements, 3).into_iter().map(|value| value as f32).collect();
    for target in targets().into_iter().filter(|&target| target != Target::V2) {
        let found = run(&plan, target, examples, &[("a", &input)], &[]);
        for example in 0..examples {
            for index in 0..width {
                let mut values: Vec<Option<f32>> = Vec::new();
                for inst in body {
                    let at = |place: &Place| place.offset + index * place.strides.last().unwrap_or(&0);
                    let value = match inst {
                        Inst::Load(place) => Some(input[example * elements + at(place)]),
                        Inst::Store(place, value) => {
                            let name = &plan.buffers[place.at.buffer].name;
                            let (_, found) = found.iter().find(|(own, _)| own == name).unwrap();
                            let found = found[example * plan.buffers[place.at.buffer].width + at(place)];
                            let expected = values[*value].unwrap();
                            assert!(
                                same(found, expected, false),
                                "`{name}` for {target}, width {width}: {found:e} instead of {expected:e}"
                            );
                            None
                        }
                        other => Some(arithmetic(other, &values).unwrap()),
                    };
                    values.push(value);
                }
            }
        }
    }
}

/// Sizes that no instruction of wide code can hold are no mistake of the program.
#[test]
fn rows_of_gigabytes_compile() {
    let huge = 600_000_000;
    for (dims, strides) in [(vec![huge], vec![1]), (vec![3, huge / 3], vec![huge / 3, 1])] {
        let mut plan = empty_plan();
        let a = plan.parameter("a", huge);
        let (sum, first) = (plan.output("sum", BATCH, 1), plan.output("first", BATCH, 1));
        let to = place(sum, Row::Same, 0, &vec![0; dims.len()]);
        let load = Inst::Load(place(a, Row::Only, 0, &strides));
        // A long buffer is no reason not to read its beginning.
        let beginning =
            vec![Inst::Load(place(a, Row::Only, 0, &[])), Inst::Store(place(first, Row::Same, 0, &[]), 0)];
        let phases = vec![
            phase(&dims, dims.len(), vec![load, Inst::Reduce(Combining::Sum, 0, to)]),
            phase(&[], 0, beginning),
        ];
        plan.regions.push(Region::Flat(vec![rows(BATCH, phases)]));
        for target in targets() {
            Program::<f32>::compile(plan.clone(), target, false).unwrap();
        }
    }
}

/// More reductions in one phase than half the registers.
#[test]
fn many_reductions_at_once() {
    for (width, count) in [(5, 3), (16, 7), (37, 12), (37, 20), (64, 30)] {
        let mut plan = empty_plan();
        let a = plan.input("a", BATCH, width + count);
        let out = plan.output("out", BATCH, 2 * count);
        let mut body = Vec::new();
        for number in 0..count {
            let load = body.len();
            body.push(Inst::Load(place(a, Row::Same, number, &[1])));
            body.push(Inst::Reduce(Combining::Max, load, place(out, Row::Same, 2 * number, &[0])));
            body.push(Inst::Reduce(Combining::Sum, load, place(out, Row::Same, 2 * number + 1, &[0])));
        }
        plan.regions.push(Region::Flat(vec![rows(BATCH, vec![phase(&[width], 1, body)])]));
        check::<f32>(&plan, &ragged(3));
    }
}

/// Maxima and the place of the largest among numbers that are not all finite.
#[test]
fn reductions_of_special_numbers() {
    for width in EXTENTS {
        let (a, _) = pairs();
        let examples = a.len() / width;
        let a = &a[..examples * width];
        let mut plan = empty_plan();
        let input = plan.input("a", BATCH, width);
        let scratch = plan.buffer("best", Element::Id, BATCH, 1, Role::Temporary);
        let largest = plan.output("largest", BATCH, 1);
        let sum = plan.output("sum", BATCH, 1);
        let place_of_largest = plan.output("place", BATCH, 1);
        let load = Inst::Load(place(input, Row::Same, 0, &[1]));
        let here = |buffer| place(buffer, Row::Same, 0, &[0]);
        let phases = vec![
            phase(
                &[width],
                1,
                vec![
                    load.clone(),
                    Inst::Reduce(Combining::Max, 0, here(largest)),
                    Inst::Reduce(Combining::Sum, 0, here(sum)),
                ],
            ),
            phase(&[width], 1, vec![load, Inst::ArgMax(0, here(scratch))]),
            phase(
                &[],
                0,
                vec![
                    Inst::IdValue(place(scratch, Row::Same, 0, &[])),
                    Inst::Store(place(place_of_largest, Row::Same, 0, &[]), 0),
                ],
            ),
        ];
        plan.regions.push(Region::Flat(vec![rows(BATCH, phases)]));
        for target in targets() {
            let found = run(&plan, target, examples, &[("a", a)], &[]);
            for (example, row) in a.chunks(width).enumerate() {
                let of = |number: usize| found[number].1[example];
                let largest = row
                    .iter()
                    .fold(f32::NEG_INFINITY, |largest, &x| f32::arithmetic(BinaryInst::Max, largest, x));
                let mut best = (f32::NEG_INFINITY, 0);
                for (index, &x) in row.iter().enumerate() {
                    if x > best.0 {
                        best = (x, index);
                    }
                }
                let case = format!("for {target}, of {row:?}");
                assert!(same(of(0), largest, true), "the largest {case}: {} instead of {largest}", of(0));
                assert_eq!(of(2), best.1 as f32, "the place of the largest {case}");
                // Finite sums may round and overflow in any order.
                let exact: f64 = row.iter().copied().map(f64::from).sum();
                if !exact.is_finite() {
                    assert!(same(of(1), exact as f32, false), "the sum {case}: {} instead of {exact}", of(1));
                }
            }
        }
    }
}
