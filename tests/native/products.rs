//! Products of all shapes on every target, with numbers among them that are not finite: those must stay in
//! their rows and columns.

use std::sync::Arc;

use rayon::ThreadPoolBuilder;
use rnnc::plan::*;
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::{Instance, Program};

use crate::build::*;
use crate::exact::run;
use crate::targets::targets;

/// Rows, contracted width and columns: whole tiles, rests of one kind, rests of all kinds.
const SHAPES: [(usize, usize, usize); 18] = [
    (1, 1, 1),
    (3, 3, 3),
    (17, 17, 17),
    (1, 17, 3),
    (3, 1, 17),
    (17, 3, 1),
    (1, 100, 130),
    (2, 33, 300),
    (4, 5, 64),
    (5, 4, 65),
    (6, 64, 16),
    (7, 63, 15),
    (8, 16, 32),
    (9, 31, 33),
    (12, 2, 47),
    (13, 7, 48),
    (24, 8, 129),
    (70, 13, 31),
];

/// Where an infinity or NaN is put into `a`, by row and column.
fn special(row: usize, column: usize, rows: usize, k: usize) -> Option<f32> {
    match (row, column) {
        _ if rows < 3 => None,
        (1, 0) => Some(f32::NAN),
        (2, column) if column + 1 == k => Some(f32::INFINITY),
        _ => None,
    }
}

#[test]
fn any_shape_and_no_number_out_of_its_row_or_column() {
    for (rows_of_a, k, n) in SHAPES {
        for accumulate in [false, true] {
            let mut plan = empty_plan();
            let a = plan.input("a", BATCH, k + 2);
            let start = plan.input("start", BATCH, n);
            // What lies beside the result must stay.
            let out = plan.output("out", BATCH, n + 3);
            let body = vec![
                Inst::Load(place(start, Row::Same, 0, &[1])),
                Inst::Store(place(out, Row::Same, 1, &[1]), 0),
            ];
            let edges = vec![
                Inst::Const(7.0),
                Inst::Store(place(out, Row::Same, 0, &[n + 1]), 0),
                Inst::Store(place(out, Row::Same, n + 2, &[0]), 0),
            ];
            let mut kernels = vec![rows(BATCH, vec![phase(&[n], 0, body), phase(&[2], 0, edges)])];
            let (from, to) = (place(a, Row::Same, 1, &[]), place(out, Row::Same, 1, &[]));
            kernels.extend(product(&mut plan, from, k, n, to, accumulate));
            plan.regions.push(Region::Flat(kernels));
            let mut left: Vec<f32> =
                numbers(rows_of_a * (k + 2), 1).into_iter().map(|value| value as f32).collect();
            for row in 0..rows_of_a {
                for column in 0..k {
                    if let Some(value) = special(row, column, rows_of_a, k) {
                        left[row * (k + 2) + 1 + column] = value;
                    }
                }
            }
            let start: Vec<f32> = numbers(rows_of_a * n, 2).into_iter().map(|value| value as f32).collect();
            let mut weights: Vec<f32> = numbers(k * n, 3).into_iter().map(|value| value as f32).collect();
            // The last column is large, the one before is full of denormals.
            weights[(n - 1) * k..].fill(1e36);
            if n > 2 {
                weights[(n - 2) * k..(n - 1) * k].fill(-1e-41);
            }
            for target in targets() {
                let found = run(&plan, target, rows_of_a, &[("a", &left), ("start", &start)], &[&weights]);
                for row in 0..rows_of_a {
                    let out = &found[0].1[row * (n + 3)..(row + 1) * (n + 3)];
                    assert_eq!([out[0], out[n + 1], out[n + 2]], [7.0; 3], "beside row {row} for {target}");
                    for column in 0..n {
                        let mut sum = if accumulate { f64::from(start[row * n + column]) } else { 0.0 };
                        let mut size = sum.abs();
                        for index in 0..k {
                            let (x, y) = (left[row * (k + 2) + 1 + index], weights[column * k + index]);
                            sum += f64::from(x) * f64::from(y);
                            size += (f64::from(x) * f64::from(y)).abs();
                        }
                        let (found, case) = (
                            f64::from(out[1 + column]),
                            format!(
                                "{rows_of_a} x {k} x {n}, accumulate {accumulate}, for {target}: row {row}, column {column}"
                            ),
                        );
                        let same = found.is_nan() && sum.is_nan() || found == f64::from(sum as f32);
                        let close = (found - sum).abs() <= size * (k + 1) as f64 * 2f64.powi(-24) + 1e-44;
                        assert!(same || close, "{case}: {found:e} instead of {sum:e}");
                    }
                }
            }
        }
    }
}

/// Packing a weight matrix (transposed in memory) and the product of all rows with it.
fn product(plan: &mut Plan, a: Place, k: usize, n: usize, out: Place, accumulate: bool) -> Vec<Kernel> {
    crate::recurrent::product(plan, GemmRows::Space(BATCH), a, k, n, out, accumulate)
}

/// The bits of a product of all rows and of one step by step, whose four parts the row kernel behind it adds up.
fn bits_by_workers(examples: usize, steps: usize, k: usize, part: usize) {
    let n = 4 * part;
    let mut plan = empty_plan();
    let a = plan.input("a", TIME, k);
    let (flat, looped) = (plan.output("flat", TIME, n), plan.output("looped", TIME, n));
    let sum = plan.output("sum", TIME, part);
    let here = |buffer, offset| place(buffer, Row::Same, offset, &[1]);
    let (from, to) = (place(a, Row::Same, 0, &[]), place(flat, Row::Same, 0, &[]));
    let kernels = crate::recurrent::product(&mut plan, GemmRows::Space(TIME), from.clone(), k, n, to, false);
    let Work::Gemm(Gemm { packed, .. }) = kernels[1].work else { panic!("no product") };
    plan.regions.push(Region::Flat(kernels));
    let (rows_of, out) = (GemmRows::Space(TIME), place(looped, Row::Same, 0, &[]));
    let again = Gemm { rows: rows_of, a: from, k, n, packed, out, accumulate: false };
    let mut body: Vec<Inst> = (0..4).map(|number| Inst::Load(here(looped, number * part))).collect();
    body.extend([(0, 1), (2, 3), (4, 5)].map(|(x, y)| Inst::Binary(BinaryInst::Add, x, y)));
    body.push(Inst::Store(here(sum, 0), 6));
    let kernels = vec![kernel(Work::Gemm(again)), rows(TIME, vec![phase(&[part], 0, body)])];
    plan.regions.push(Region::Loop { axis: 1, backward: false, kernels });
    let reals =
        |count, seed| numbers(count, seed).into_iter().map(|value| value as f32).collect::<Vec<f32>>();
    let (left, weights) = (reals(examples * steps * k, 1), reals(k * n, 2));
    for target in targets() {
        let mut before: [Option<Vec<Vec<u32>>>; 2] = [None, None];
        for (workers, varies) in [(1, false), (2, false), (3, false), (1, true), (2, true), (3, true)] {
            let plan = Plan { unpacked_from: varies.then_some(0), ..plan.clone() };
            let program = Arc::new(Program::<f32>::compile(plan, target, false).unwrap());
            let lengths = Lengths::uniform(examples, &[steps, 1]);
            let mut instance = Instance::new(&program, &lengths, 0..examples).unwrap();
            instance.set_input("a", &left).unwrap();
            let pool = ThreadPoolBuilder::new().num_threads(workers).build().unwrap();
            let groups = std::slice::from_mut(&mut instance);
            Instance::run_together(groups, &[&weights], &mut [], None, &pool, workers).unwrap();
            let bits = |name: &str| -> Vec<u32> {
                instance.output(name).unwrap().iter().map(|value: &f32| value.to_bits()).collect()
            };
            let found = vec![bits("flat"), bits("looped"), bits("sum")];
            let case =
                format!("{examples} x {steps} x {k} x {n} for {target}, {workers} workers, varies {varies}");
            // Where few rows are multiplied by a matrix as it lies, many steps may still pack it.
            assert!(varies || found[0] == found[1], "{case}: step by step");
            let before = &mut before[usize::from(varies)];
            assert!(before.get_or_insert_with(|| found.clone()) == &found, "{case}");
        }
    }
}

#[test]
fn products_are_the_same_whoever_does_them() {
    // Rows fewer and more than columns, single rows and blocks, parts of one turn and of several, of whole panels or not.
    for (examples, steps, k, part) in [
        (1, 1, 7, 16),
        (1, 100, 64, 64),
        (1, 9, 33, 150),
        (2, 70, 16, 32),
        (3, 5, 130, 300),
        (16, 3, 40, 256),
        (40, 2, 12, 96),
        (17, 150, 5, 16),
        (9, 4, 600, 1024),
    ] {
        bits_by_workers(examples, steps, k, part);
    }
}
