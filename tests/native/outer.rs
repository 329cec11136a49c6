//! Sums of outer products, bit for bit: every sum runs over the rows in order and begins at zero or at what is there,
//! whatever the blocks of rows, the tiles and the number of workers.

use std::sync::Arc;

use rayon::ThreadPoolBuilder;
use rnnc::backend::native::{Target, done_together};
use rnnc::plan::*;
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::{Instance, Program};

use crate::build::*;
use crate::exact::same;
use crate::targets::targets;

/// Rows of the result, columns, and rows summed over: none, few, a block, several blocks.
const SHAPES: [(usize, usize, usize); 10] = [
    (5, 7, 0),
    (40, 33, 0),
    (1, 1, 1),
    (16, 32, 3),
    (75, 30, 18),
    (33, 50, 18),
    (17, 16, 256),
    (50, 40, 257),
    (40, 17, 600),
    (64, 600, 20),
];

#[test]
fn sums_begin_at_zero_or_at_what_is_there() {
    for (m, n, summed) in SHAPES {
        for accumulate in [false, true] {
            for workers in [1, 3] {
                check((m, n, summed), accumulate, workers);
            }
        }
    }
}

fn check((m, n, summed): (usize, usize, usize), accumulate: bool, workers: usize) {
    let mut plan = empty_plan();
    let (a, b) = (plan.input("a", BATCH, m), plan.input("b", BATCH, n));
    let before = plan.parameter("before", m * (n + 1));
    let out = plan.output("out", ONE, m * (n + 1));
    // A sum that does not accumulate reads nothing of what is there.
    let start =
        vec![Inst::Load(place(before, Row::Only, 0, &[1])), Inst::Store(place(out, Row::Only, 0, &[1]), 0)];
    let outer = Outer {
        space: BATCH,
        a: place(a, Row::Same, 0, &[]),
        m,
        b: place(b, Row::Same, 0, &[]),
        n,
        out: pitched(place(out, Row::Only, 0, &[]), n + 1),
        accumulate,
    };
    plan.regions.push(Region::Flat(vec![
        rows(ONE, vec![phase(&[m * (n + 1)], 0, start)]),
        kernel(Work::Outer(outer)),
    ]));
    let reals = |count: usize, seed: u64| -> Vec<f32> {
        numbers(count, seed).into_iter().map(|value| value as f32).collect()
    };
    let (mut a, mut b) = (reals(summed * m, 1), reals(summed * n, 2));
    // Zeros of either sign: a sum of negative ones that begins at zero is a positive one.
    a.iter_mut().step_by(m).for_each(|value| *value = -0.0);
    b.iter_mut().for_each(|value| *value = if value.abs() < 0.1 { -0.0 } else { *value });
    let mut before: Vec<f32> = reals(m * (n + 1), 3);
    if !accumulate {
        before.fill(f32::NAN);
        (0..m).for_each(|row| before[row * (n + 1) + n] = 5.0);
    }
    let mut expected = before.clone();
    for row in 0..m {
        for column in 0..n {
            let at = row * (n + 1) + column;
            let first = if accumulate { before[at] } else { 0.0 };
            expected[at] =
                (0..summed).fold(first, |sum, index| a[index * m + row].mul_add(b[index * n + column], sum));
        }
    }
    let pool = ThreadPoolBuilder::new().num_threads(workers).build().unwrap();
    // Without a fused multiply-add every product is rounded.
    for target in targets().into_iter().filter(|&target| target != Target::V2) {
        let program = Arc::new(Program::<f32>::compile(plan.clone(), target, false).unwrap());
        let mut instance = Instance::new(&program, &Lengths::uniform(summed, &[1, 1]), 0..summed).unwrap();
        instance.set_input("a", &a).unwrap();
        instance.set_input("b", &b).unwrap();
        let groups = std::slice::from_mut(&mut instance);
        Instance::run_together(groups, &[&before], &mut [], None, &pool, workers).unwrap();
        let found = instance.output("out").unwrap();
        for (at, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
            assert!(
                same(found, expected, false),
                "{m} x {n} over {summed} rows for {target}, {workers} workers, accumulate {accumulate}: row {}, \
                 column {}: {found:e} instead of {expected:e}",
                at / (n + 1),
                at % (n + 1)
            );
        }
    }
}

/// Two windows of one row times two others: done together, each side packed once.
#[test]
fn sums_over_the_same_rows_are_those_of_each_alone() {
    for (m, n, summed) in [(33, 50, 0), (33, 50, 18), (16, 32, 257), (40, 17, 600)] {
        let mut plan = empty_plan();
        let lefts = plan.input("a", BATCH, 2 * m);
        let rights = [plan.input("b", BATCH, n), plan.input("c", BATCH, n + 3)];
        let widths = [n, n + 3];
        let mut kernels = Vec::new();
        for (number, (left, right)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
            let out = plan.output(&format!("out{number}"), ONE, m * widths[right]);
            kernels.push(kernel(Work::Outer(Outer {
                space: BATCH,
                a: place(lefts, Row::Same, left * m, &[]),
                m,
                b: place(rights[right], Row::Same, 0, &[]),
                n: widths[right],
                out: pitched(place(out, Row::Only, 0, &[]), widths[right]),
                accumulate: false,
            })));
        }
        plan.regions.push(Region::Flat(kernels));
        let together = done_together(&plan, Precision::F32);
        assert_eq!(together, [None, Some(0), Some(0), Some(0)]);
        let reals = |count: usize, seed: u64| -> Vec<f32> {
            numbers(count, seed).into_iter().map(|value| value as f32).collect()
        };
        let (a, bs) = (reals(summed * 2 * m, 1), widths.map(|width| reals(summed * width, width as u64)));
        for (workers, target) in
            [1, 2].into_iter().flat_map(|workers| targets().into_iter().map(move |target| (workers, target)))
        {
            if target == Target::V2 {
                continue;
            }
            let pool = ThreadPoolBuilder::new().num_threads(workers).build().unwrap();
            let program = Arc::new(Program::<f32>::compile(plan.clone(), target, false).unwrap());
            let mut instance =
                Instance::new(&program, &Lengths::uniform(summed, &[1, 1]), 0..summed).unwrap();
            instance.set_input("a", &a).unwrap();
            instance.set_input("b", &bs[0]).unwrap();
            instance.set_input("c", &bs[1]).unwrap();
            let groups = std::slice::from_mut(&mut instance);
            Instance::run_together(groups, &[], &mut [], None, &pool, workers).unwrap();
            for (number, (left, right)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
                let found = instance.output(&format!("out{number}")).unwrap();
                let (n, b) = (widths[right], &bs[right]);
                for (at, &found) in found.iter().enumerate() {
                    let (row, column) = (left * m + at / n, at % n);
                    let expected = (0..summed)
                        .fold(0.0, |sum, index| a[index * 2 * m + row].mul_add(b[index * n + column], sum));
                    assert!(
                        same(found, expected, false),
                        "{m} x {n} over {summed} for {target}: {found} {expected}"
                    );
                }
            }
        }
    }
}
