//! Products with matrices that are read as they lie: of all shapes, whole or in parts, by one worker or several, with
//! numbers among them that are not finite: those must stay in their rows and columns.

use std::sync::Arc;

use rayon::ThreadPoolBuilder;
use rnnc::backend::native::Target;
use rnnc::plan::*;
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::{Instance, Program};

use crate::build::*;
use crate::targets::targets;

/// How a matrix lies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lies {
    Rows,
    Columns,
}

/// A product of `rows` rows; the matrix is cut into parts of these heights and widths.
struct Case<'c> {
    rows: usize,
    heights: &'c [usize],
    widths: &'c [usize],
    lies: Lies,
    accumulate: bool,
}

/// Where a part begins in the whole, and its strides.
type Part = ([usize; 2], [usize; 2]);

/// Elements of a matrix's rows or columns that belong to something else.
const MORE: usize = 3;

impl Case<'_> {
    fn sizes(&self) -> (usize, usize) {
        (self.heights.iter().sum(), self.widths.iter().sum())
    }

    /// The plan, the parts of the matrix as they lie, and where each begins.
    fn plan(&self) -> (Plan, Vec<Part>) {
        let (k, n) = self.sizes();
        let mut plan = empty_plan();
        let a = plan.input("a", BATCH, k + 2);
        let start = plan.input("start", BATCH, n);
        let out = plan.output("out", BATCH, n + 3);
        let packed = plan.temporary("packed", ONE, packed_width(k, n));
        let load = Inst::Load(place(start, Row::Same, 0, &[1]));
        let body = vec![load, Inst::Store(place(out, Row::Same, 1, &[1]), 0)];
        let mut kernels = vec![rows(BATCH, vec![phase(&[n], 0, body)])];
        let mut parts = Vec::new();
        let mut above = 0;
        for &height in self.heights {
            let mut before = 0;
            for &width in self.widths {
                let (at, strides) = match self.lies {
                    Lies::Rows => ([above, before], [width + MORE, 1]),
                    Lies::Columns => ([above, before], [1, height + MORE]),
                };
                let elements = 1 + (height - 1) * strides[0] + (width - 1) * strides[1];
                let parameter = plan.parameter(&format!("part{}", parts.len()), elements);
                let source = place(parameter, Row::Only, 0, &strides);
                let pack = Pack { source, k: height, n: width, at, whole: [k, n], to: packed };
                kernels.push(kernel(Work::Pack(pack)));
                parts.push((at, strides));
                before += width;
            }
            above += height;
        }
        let (from, to) = (place(a, Row::Same, 1, &[]), place(out, Row::Same, 1, &[]));
        let (rows, accumulate) = (GemmRows::Space(BATCH), self.accumulate);
        kernels.push(kernel(Work::Gemm(Gemm { rows, a: from, k, n, packed, out: to, accumulate })));
        plan.regions.push(Region::Flat(kernels));
        (plan, parts)
    }

    /// On every target: only the one with the longest vectors has code for it.
    fn check(&self) {
        self.check_on(targets());
    }

    fn check_on(&self, targets: Vec<Target>) {
        let (k, n) = self.sizes();
        let (plan, parts) = self.plan();
        let reals = |count, seed| -> Vec<f32> {
            numbers(count, seed).into_iter().map(|value| value as f32).collect()
        };
        let mut left = reals(self.rows * (k + 2), 1);
        if self.rows > 2 {
            left[k + 2 + 1] = f32::NAN;
            left[2 * (k + 2) + k] = f32::INFINITY;
        }
        let start = reals(self.rows * n, 2);
        let (mut sources, mut widths, mut matrix) = (Vec::new(), Vec::new(), vec![0f32; k * n]);
        let parameters = plan.buffers.iter().filter(|buffer| matches!(buffer.role, Role::Parameter(_)));
        for (number, buffer) in parameters.enumerate() {
            // What is not of the part is no number, nor is what lies behind it.
            let elements = reals(buffer.width, 3 + number as u64);
            let (down, right) = (parts[number].1[0], parts[number].1[1]);
            let (pitch, length) = match self.lies {
                Lies::Rows => (down, down - MORE),
                Lies::Columns => (right, right - MORE),
            };
            let own = |(at, value)| if at % pitch < length { value } else { f32::NAN };
            let elements = elements.into_iter().enumerate().map(own);
            sources.push(elements.chain([f32::NAN; 64]).collect::<Vec<f32>>());
            widths.push(buffer.width);
        }
        for row in 0..k {
            for column in 0..n {
                let last = |&(number, _): &(usize, &Part)| {
                    let [above, before] = parts[number].0;
                    above <= row && before <= column
                };
                let (number, &([above, before], [down, right])) =
                    parts.iter().enumerate().rfind(last).unwrap();
                matrix[row * n + column] = sources[number][(row - above) * down + (column - before) * right];
            }
        }
        let sources: Vec<&[f32]> = sources.iter().zip(&widths).map(|(all, &width)| &all[..width]).collect();
        for target in targets {
            let programs = [None, Some(0)].map(|unpacked_from| {
                let plan = Plan { unpacked_from, ..plan.clone() };
                Arc::new(Program::<f32>::compile(plan, target, false).unwrap())
            });
            let mut packed: Option<Vec<u32>> = None;
            for (workers, varies) in [(1, false), (1, true), (2, true), (3, true)] {
                let lengths = Lengths::uniform(self.rows, &[1, 1]);
                let program = &programs[usize::from(varies)];
                let mut instance = Instance::new(program, &lengths, 0..self.rows).unwrap();
                instance.set_input("a", &left).unwrap();
                instance.set_input("start", &start).unwrap();
                let pool = ThreadPoolBuilder::new().num_threads(workers).build().unwrap();
                let groups = std::slice::from_mut(&mut instance);
                Instance::run_together(groups, &sources, &mut [], None, &pool, workers).unwrap();
                let out = instance.output("out").unwrap();
                let case = format!(
                    "{} x {:?} x {:?}, {:?}, accumulate {}, for {target}, {workers} workers, varies {varies}",
                    self.rows, self.heights, self.widths, self.lies, self.accumulate
                );
                for row in 0..self.rows {
                    let out = &out[row * (n + 3)..(row + 1) * (n + 3)];
                    assert!([out[0], out[n + 1], out[n + 2]] == [0.0; 3], "{case}: beside row {row}");
                    for column in 0..n {
                        let begin = if self.accumulate { start[row * n + column] } else { 0.0 };
                        let (mut sum, mut size) = (f64::from(begin), f64::from(begin).abs());
                        for index in 0..k {
                            let x = f64::from(left[row * (k + 2) + 1 + index]);
                            let term = x * f64::from(matrix[index * n + column]);
                            (sum, size) = (sum + term, size + term.abs());
                        }
                        let found = f64::from(out[1 + column]);
                        let same = found.is_nan() && sum.is_nan() || found == f64::from(sum as f32);
                        let close = (found - sum).abs() <= size * (k + 1) as f64 * 2f64.powi(-24) + 1e-44;
                        assert!(same || close, "{case}: row {row}, column {column}: {found:e} for {sum:e}");
                    }
                }
                let bits: Vec<u32> = out.iter().map(|value| value.to_bits()).collect();
                // Sums over rows of the matrix run over them in order, as sums of panels do.
                if self.lies == Lies::Rows && self.heights.len() == 1 {
                    assert!(packed.get_or_insert_with(|| bits.clone()) == &bits, "{case}: other bits");
                } else if varies {
                    assert!(packed.get_or_insert_with(|| bits.clone()) == &bits, "{case}: other bits");
                }
            }
        }
    }
}

#[test]
fn every_number_of_rows_and_every_rest() {
    for rows in 1..=17 {
        for (k, n) in [(1, 16), (15, 17), (16, 20), (17, 31), (64, 48), (67, 130), (300, 95)] {
            for lies in [Lies::Rows, Lies::Columns] {
                let accumulate = (rows + k) % 2 == 0;
                let able = targets().into_iter().filter(|&target| target == Target::V4).collect();
                Case { rows, heights: &[k], widths: &[n], lies, accumulate }.check_on(able);
            }
        }
    }
}

#[test]
fn few_columns_and_many_rows() {
    for (rows, k, n) in [(3, 5, 1), (2, 40, 15), (64, 33, 70), (65, 7, 16), (128, 20, 40), (129, 20, 40)] {
        for lies in [Lies::Rows, Lies::Columns] {
            Case { rows, heights: &[k], widths: &[n], lies, accumulate: false }.check();
        }
    }
}

#[test]
fn matrices_in_parts() {
    for lies in [Lies::Rows, Lies::Columns] {
        for accumulate in [false, true] {
            for (heights, widths) in [
                (&[20][..], &[16, 30, 18][..]),
                (&[20, 3, 41], &[50]),
                (&[17, 16], &[33, 16]),
                (&[9], &[16, 15]),
                (&[30], &[150, 150, 150]),
            ] {
                Case { rows: 5, heights, widths, lies, accumulate }.check();
            }
        }
    }
}
