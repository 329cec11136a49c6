//! Where the time of a workload goes: its kernels, each with the equations that it computes.
//!
//! The program is compiled with a clock that is read after every kernel; how fast that ticks is found out by
//! an ordinary clock beside it. Time is that of all groups of the batch together, so on several threads it
//! is more than a call takes; of a group that several threads work on it is the first one's, and what that waits for
//! the others is counted by itself. What is not in a kernel (packing inputs, adding up gradients) is not in it.

use std::time::{Duration, Instant};

use super::program::Timed;
use crate::backend::native::{clock, done_together};
use crate::driver::batch::{Batch, BatchError};
use crate::plan::places::kernels;
use crate::plan::{GemmRows, Kernel, Plan, Precision, Region, SpaceId, Work, label};

/// How often the program is run at least.
const CALLS: u32 = 3;

/// What a kernel takes in one call of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// Whether it is in a loop.
    pub in_loop: bool,
    /// Its kind and what it works on.
    pub label: String,
    /// What it computes.
    pub equations: Vec<String>,
    /// Seconds, all its calls in all groups together.
    pub seconds: f64,
    /// How often it is called.
    pub calls: f64,
    /// Floating-point operations, if it is a product.
    pub operations: Option<f64>,
}

/// The kernels of a program in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Each of them.
    pub kernels: Vec<KernelTime>,
    /// Seconds of waiting for other threads that work on the same group.
    pub waiting: f64,
    /// Seconds of a call of the program, by the clock on the wall.
    pub call: f64,
}

impl Profile {
    /// Seconds of all kernels in all groups together, and of waiting.
    pub fn total(&self) -> f64 {
        self.kernels.iter().map(|kernel| kernel.seconds).sum::<f64>() + self.waiting
    }
}

/// Runs a program that was compiled with a clock for about so long.
///
/// # Errors
/// As those of any run.
pub(super) fn profile(compiled: &mut impl Timed, budget: Duration) -> Result<Profile, BatchError> {
    compiled.call()?;
    let before = readings(compiled.batch());
    let began = Instant::now();
    let mut calls = 0;
    while calls < CALLS || began.elapsed() < budget {
        compiled.call()?;
        calls += 1;
    }
    let wall = began.elapsed().as_secs_f64();
    let after = readings(compiled.batch());
    let batch = compiled.batch();
    let plan = batch.plan();
    // The first reading of a group is the clock itself.
    let ticked = |group: usize| after[group][0].wrapping_sub(before[group][0]) as f64;
    let tick = (0..after.len()).map(|group| wall / ticked(group)).fold(f64::INFINITY, f64::min);
    let each = f64::from(calls);
    // Seconds and calls of a kernel.
    let spent = |number: usize| {
        let (mut ticks, mut ran) = (0, 0);
        for (after, before) in after.iter().zip(&before) {
            let (now, then) = (clock::of_kernel(after, number), clock::of_kernel(before, number));
            ticks += now.0 - then.0;
            ran += now.1 - then.1;
        }
        (ticks as f64 * tick / each, ran as f64 / each)
    };
    let times = kernels(plan).zip(loops(plan)).enumerate().map(|(number, (kernel, in_loop))| {
        let (seconds, calls) = spent(number);
        let turns = calls / after.len() as f64;
        KernelTime {
            in_loop: in_loop.is_some(),
            label: label(plan, kernel),
            equations: kernel.equations.clone(),
            seconds,
            calls,
            operations: operations(batch, kernel, in_loop, turns),
        }
    });
    let mut times: Vec<KernelTime> = times.collect();
    for (number, leader) in done_together(plan, Precision::F32).into_iter().enumerate() {
        let Some(leader) = leader else { continue };
        let own = std::mem::take(&mut times[number].operations);
        times[leader].operations = Some(times[leader].operations.unwrap_or(0.0) + own.unwrap_or(0.0));
        let equations = std::mem::take(&mut times[number].equations);
        times[leader].equations.extend(equations);
        times[number].label.push_str(", with one before");
    }
    let (waiting, _) = spent(times.len());
    Ok(Profile { kernels: times, waiting, call: wall / each })
}

fn readings(batch: &Batch<f32>) -> Vec<Vec<u64>> {
    batch.readings().map(<[u64]>::to_vec).collect()
}

/// For each kernel the axis of the loop that it is in.
fn loops(plan: &Plan) -> impl Iterator<Item = Option<usize>> {
    plan.regions.iter().flat_map(|region| match region {
        Region::Flat(kernels) => vec![None; kernels.len()],
        Region::Loop { axis, kernels, .. } => vec![Some(*axis); kernels.len()],
    })
}

/// Operations of a product in one call of the program, in which it is called `turns` times a group.
fn operations(batch: &Batch<f32>, kernel: &Kernel, in_loop: Option<usize>, turns: f64) -> Option<f64> {
    // In a loop along its own rows it goes over each of them once.
    let all = |space: SpaceId| {
        let along = in_loop.is_none() || batch.plan().spaces[space].major == in_loop;
        batch.rows(space, kernel.steps) as f64 * if along { 1.0 } else { turns }
    };
    let (rows, width, depth) = match &kernel.work {
        Work::Gemm(gemm) => match gemm.rows {
            GemmRows::Space(space) => (all(space), gemm.k, gemm.n),
            GemmRows::Static(rows) => (rows as f64 * turns, gemm.k, gemm.n),
        },
        Work::Outer(outer) => (all(outer.space), outer.m, outer.n),
        _ => return None,
    };
    Some(2.0 * rows * width as f64 * depth as f64)
}

#[cfg(test)]
mod tests {
    use super::super::program::Compiled;
    use super::super::workloads::{Form, Shape, WORKLOADS, Workload};
    use super::*;
    use crate::driver::batch::threads;
    use crate::driver::compile::Pipeline;

    #[test]
    fn every_kernel_is_counted() {
        // Two groups of the batch.
        let shape = Shape { steps: 4, batch: 13, input: 3, hidden: 5 };
        for workload in WORKLOADS.iter().filter(|workload| workload.form == Form::Train) {
            let workload = Workload { shape, ..*workload };
            let mut pipeline = Pipeline { profiled: true, ..Pipeline::default() };
            let mut compiled = Compiled::new(&workload, &threads(1).unwrap(), &mut pipeline).unwrap();
            let profile = profile(&mut compiled, Duration::ZERO).unwrap();
            let plan = compiled.batch().plan();
            for (kernel, planned) in profile.kernels.iter().zip(kernels(plan)) {
                // What depends on parameters alone the second group has from the first.
                let groups = match () {
                    () if kernel.label.ends_with(", with one before") => 0,
                    () if planned.constant => 1,
                    () => 2,
                };
                let calls = groups * if kernel.in_loop { shape.steps } else { 1 };
                assert_eq!(kernel.calls, calls as f64, "{workload}: {}", kernel.label);
            }
            assert!(profile.kernels.iter().any(|kernel| kernel.in_loop && !kernel.equations.is_empty()));
            // On one thread, and without what is between the calls.
            assert!(profile.total() > 0.0 && profile.total() <= 1.05 * profile.call, "{workload}");
            // The gradient of the input, which is a part of the full count, is not asked for.
            let operations: f64 = profile.kernels.iter().filter_map(|kernel| kernel.operations).sum();
            let full = workload.operations();
            assert!(0.6 * full < operations && operations <= full, "{workload}: {operations} of {full}");
        }
    }
}
