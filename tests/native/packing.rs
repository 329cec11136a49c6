//! Matrices packed into panels, bit for bit: rows or columns contiguous or neither, in one piece or from parts that
//! begin and end anywhere, by one worker or several, in stretches of columns.

use std::sync::Arc;

use rayon::ThreadPoolBuilder;
use rnnc::base::philox::philox4x32;
use rnnc::plan::*;
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::{Instance, Program};

use crate::build::*;
use crate::targets::targets;

/// What lies in a packed matrix before.
const BEFORE: f32 = 7.0;

/// A part of a matrix and how it lies: its rows and columns in the whole, and its strides.
struct Part {
    at: [usize; 2],
    k: usize,
    n: usize,
    strides: [usize; 2],
    offset: usize,
}

impl Part {
    fn elements(&self) -> usize {
        self.offset + (self.k - 1) * self.strides[0] + (self.n - 1) * self.strides[1] + 1
    }
}

/// Any bits, also those of NaNs; no two alike within a part, nor likely elsewhere.
fn values(count: usize, part: usize) -> Vec<f32> {
    let bits = |index: usize| ((part << 24 | index) as u32).wrapping_mul(0x9e37_79b1);
    (1..=count).map(|index| f32::from_bits(bits(index))).collect()
}

/// Packs the parts on every target and compares all of the result; with a `period`, the matrix is that of a product in
/// a loop, whose columns are divided in stretches of so many.
fn check(whole: [usize; 2], parts: &[Part], period: Option<usize>, workers: usize) {
    let [k, n] = whole;
    let mut plan = empty_plan();
    let packed = plan.output("packed", ONE, packed_width(k, n));
    let fill = vec![Inst::Const(BEFORE.into()), Inst::Store(place(packed, Row::Only, 0, &[1]), 0)];
    let mut kernels = vec![rows(ONE, vec![phase(&[packed_width(k, n)], 0, fill)])];
    let mut sources = Vec::new();
    let mut expected = vec![BEFORE; packed_width(k, n)];
    for (number, part) in parts.iter().enumerate() {
        let parameter = plan.parameter(&format!("part{number}"), part.elements());
        let source = place(parameter, Row::Only, part.offset, &part.strides);
        let pack = Pack { source, k: part.k, n: part.n, at: part.at, whole, to: packed };
        kernels.push(kernel(Work::Pack(pack)));
        let values = values(part.elements(), number);
        let mut put = |row: usize, column: usize, value: f32| {
            let (row, column) = (part.at[0] + row, part.at[1] + column);
            expected[(column / PANEL * k + row) * PANEL + column % PANEL] = value;
        };
        for row in 0..part.k {
            for column in 0..part.n {
                let element = part.offset + row * part.strides[0] + column * part.strides[1];
                put(row, column, values[element]);
            }
            if part.at[1] + part.n == n {
                (part.n..n.next_multiple_of(PANEL) - part.at[1]).for_each(|column| put(row, column, 0.0));
            }
        }
        sources.push(values);
    }
    plan.regions.push(Region::Flat(kernels));
    if let Some(period) = period {
        let (a, out) = (plan.input("a", TIME, k), plan.temporary("product", TIME, n));
        let sum = plan.output("sum", TIME, period);
        let here = |buffer, offset| place(buffer, Row::Same, offset, &[1]);
        let product = Gemm {
            rows: GemmRows::Space(TIME),
            a: here(a, 0),
            k,
            n,
            packed,
            out: here(out, 0),
            accumulate: false,
        };
        let body = vec![Inst::Load(here(out, n - period)), Inst::Store(here(sum, 0), 0)];
        let kernels = vec![kernel(Work::Gemm(product)), rows(TIME, vec![phase(&[period], 0, body)])];
        plan.regions.push(Region::Loop { axis: 1, backward: false, kernels });
    }
    let pool = ThreadPoolBuilder::new().num_threads(workers).build().unwrap();
    let sources: Vec<&[f32]> = sources.iter().map(Vec::as_slice).collect();
    for target in targets() {
        let program = Arc::new(Program::<f32>::compile(plan.clone(), target, false).unwrap());
        let mut instance = Instance::new(&program, &Lengths::uniform(1, &[1, 1]), 0..1).unwrap();
        if period.is_some() {
            instance.set_input("a", &vec![1.0; k]).unwrap();
        }
        let groups = std::slice::from_mut(&mut instance);
        Instance::run_together(groups, &sources, &mut [], None, &pool, workers).unwrap();
        let found = instance.output("packed").unwrap();
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let (panel, row, column) = (at / PANEL / k, at / PANEL % k, at % PANEL);
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{k} x {n} for {target}, {workers} workers, stretches of {period:?}: panel {panel}, row {row}, \
                 column {column}: {found:e} instead of {expected:e}"
            );
        }
    }
}

/// Numbers that depend on a seed.
fn dice(seed: u32) -> impl FnMut(usize) -> usize {
    let mut rolls = 0;
    move |below| {
        rolls += 1;
        philox4x32([rolls, 0, 0, 0], [seed, 11])[0] as usize % below
    }
}

/// Rows contiguous, columns contiguous, neither; with and without something between.
fn strides(kind: usize, [k, n]: [usize; 2]) -> [usize; 2] {
    match kind {
        0 => [n, 1],
        1 => [1, k],
        2 => [n + 3, 1],
        3 => [1, k + 5],
        _ => [3 * n, 3],
    }
}

#[test]
fn matrices_of_any_shape_are_packed() {
    let shapes = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 19, 31, 32, 33, 64, 75]
        .map(|k| [1, 4, 13, 16, 30, 33, 144, 150].map(|n| [k, n]));
    for (number, whole) in shapes.into_iter().flatten().enumerate() {
        for kind in 0..5 {
            let strides = strides(kind, whole);
            let part = Part { at: [0, 0], k: whole[0], n: whole[1], strides, offset: number % 5 };
            check(whole, &[part], None, 1 + number % 3);
        }
    }
}

/// Cuts a length at random places.
fn cuts(length: usize, mut roll: impl FnMut(usize) -> usize) -> Vec<usize> {
    let mut cuts = vec![0, length];
    for _ in 0..roll(4) {
        cuts.push(roll(length + 1));
    }
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

#[test]
fn matrices_are_packed_from_parts() {
    for seed in 0..60 {
        let mut roll = dice(seed);
        // Half of them are divided in stretches.
        let period = (seed % 2 == 1).then(|| PANEL * (1 + roll(4)));
        let n = period.map_or(1 + roll(120), |period| period * (2 + roll(3)));
        let whole = [1 + roll(40), n];
        let mut parts = Vec::new();
        for rows in cuts(whole[0], &mut roll).windows(2) {
            for columns in cuts(n, &mut roll).windows(2) {
                let (k, n) = (rows[1] - rows[0], columns[1] - columns[0]);
                let strides = strides(roll(5), [k, n]);
                parts.push(Part { at: [rows[0], columns[0]], k, n, strides, offset: roll(5) });
            }
        }
        // In any order.
        for number in 0..parts.len() {
            let other = roll(parts.len());
            parts.swap(number, other);
        }
        check(whole, &parts, period, 1 + roll(3));
    }
}
