//! How fast compiled programs run: known work, timed as the libraries' own benchmarks time it.
//!
//! ```no_run
//! use rnnc::driver::{bench::{Bench, choose}, machine::MachineName};
//! let bench = Bench::new(0, MachineName::Cpu.open()?)?;
//! for workload in choose(Some("lstm-train"), None)? {
//!     println!("{workload}: {} us", bench.run(&workload)?.row.median_us);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program takes the way of every program: check, gradient, passes, plan, code, groups of the batch on
//! threads. It is compiled and its input packed before the clock runs; a call runs it and, for a gradient,
//! adds up loss and gradients of the groups as a step of training does. Nothing is printed here.
//!
//! - `workloads`: what is run; `program`: how; `clock`: what is measured; `profile`: where its time goes
//! - `trees`: the workload over trees of a file, whose time is that of a pass over all of them

mod clock;
mod profile;
mod program;
mod trees;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use rayon::ThreadPool;
use serde::Serialize;
use thiserror::Error;

use super::batch::{BatchError, threads};
use super::compile::{CompileError, Pipeline};
use super::machine::Machine;
use super::session::SessionError;
use super::timings::Timings;
use crate::backend::native::emit::EmitError;
use crate::grad::GradError;
use crate::runtime::opencl::devices::Kind;
use crate::runtime::parameters::ParametersError;

use clock::{measure, measure_passes, peak};
pub use profile::{KernelTime, Profile};
use program::{Compiled, Timed};
use trees::CompiledTrees;
pub use trees::{BATCHES, Forest, TREE_LSTM, TreeShape, TreesError, WIDTHS};
pub use workloads::{Cell, ChoiceError, Form, Shape, WORKLOADS, Workload, choose};

/// How long a program is run for the times of its kernels.
const PROFILED: Duration = Duration::from_secs(1);

/// Why there is no figure.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The loop of multiply-adds.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The program.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Its gradient.
    #[error(transparent)]
    Grad(#[from] GradError),
    /// The compiler.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Its parameters.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// Threads, or a run.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The trees.
    #[error(transparent)]
    Trees(#[from] TreesError),
}

/// What a workload took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub workload: &'static str,
    /// Time steps.
    #[serde(rename = "T")]
    pub steps: usize,
    /// Sequences.
    #[serde(rename = "B")]
    pub batch: usize,
    /// Width of the input.
    #[serde(rename = "I")]
    pub input: usize,
    /// Width of the hidden state.
    #[serde(rename = "H")]
    pub hidden: usize,
    /// The median of the calls, in microseconds.
    pub median_us: f64,
    /// The fastest call, in microseconds.
    pub min_us: f64,
    /// Operations of the products in the median's time, in 10^9 a second.
    pub gflops: f64,
    /// The same over what the threads do at most, where that is known.
    pub peak_share: Option<f64>,
}

/// What the workload over trees took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TreeRow {
    /// Its name.
    pub workload: &'static str,
    /// Trees of a batch.
    #[serde(rename = "B")]
    pub batch: usize,
    /// Width of a word's vector.
    #[serde(rename = "I")]
    pub input: usize,
    /// Width of the hidden state.
    #[serde(rename = "H")]
    pub hidden: usize,
    /// Trees of a pass over the whole batches of the file.
    pub trees: usize,
    /// The same in a second, by the median of the passes.
    pub trees_per_second: f64,
    /// The median of the passes over their number of batches, in microseconds.
    pub median_us: f64,
    /// The fastest pass over its number of batches, in microseconds.
    pub min_us: f64,
    /// Operations of the products in the median's time, in 10^9 a second.
    pub gflops: f64,
    /// The same over what the threads do at most, where that is known.
    pub peak_share: Option<f64>,
}

/// A row and how long the program took to compile, from its text on.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured<R = Row> {
    /// The figures.
    pub row: R,
    /// The stages.
    pub timings: Timings,
}

/// Threads and what they do at most, or a device.
pub struct Bench {
    pool: Arc<ThreadPool>,
    machine: Machine,
    peak: Option<f64>,
}

impl Bench {
    /// Starts threads (0: one for each core) and measures the machine; a device that is no processor is not
    /// measured.
    ///
    /// # Errors
    /// The system gives no threads, or there is no code for this machine.
    pub fn new(count: usize, machine: Machine) -> Result<Bench, BenchError> {
        let pool = threads(count)?;
        let is_processor = match &machine {
            Machine::Processor => true,
            Machine::Device(device) => device.info.kind == Kind::Cpu,
        };
        let peak = if is_processor { Some(peak(&pool)?) } else { None };
        Ok(Bench { pool, machine, peak })
    }

    /// The device, if it is not native code that is measured.
    pub fn device(&self) -> Option<&str> {
        match &self.machine {
            Machine::Processor => None,
            Machine::Device(device) => Some(&device.info.name),
        }
    }

    /// Threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Floating-point operations a second of all threads, where that is known.
    pub fn peak(&self) -> Option<f64> {
        self.peak
    }

    /// Compiles a workload with a clock and gives the time of its kernels.
    ///
    /// # Errors
    /// As [`Bench::run`], or if no clock is known for this machine.
    pub fn profile(&self, workload: &Workload) -> Result<Profile, BenchError> {
        let mut pipeline = Pipeline { profiled: true, ..Pipeline::default() };
        let mut compiled = Compiled::new(workload, &self.pool, &mut pipeline)?;
        Ok(profile::profile(&mut compiled, PROFILED)?)
    }

    /// Compiles a workload and times it.
    ///
    /// # Errors
    /// It cannot be compiled, or is too large for memory.
    pub fn run(&self, workload: &Workload) -> Result<Measured, BenchError> {
        let mut pipeline = Pipeline { machine: self.machine.clone(), ..Pipeline::default() };
        let mut compiled = Compiled::new(workload, &self.pool, &mut pipeline)?;
        let times = measure(|| compiled.call())?;
        let Shape { steps, batch, input, hidden } = workload.shape;
        let speed = workload.operations() / times.median;
        let row = Row {
            workload: workload.name,
            steps,
            batch,
            input,
            hidden,
            median_us: times.median * 1e6,
            min_us: times.least * 1e6,
            gflops: speed / 1e9,
            peak_share: self.peak.map(|peak| speed / peak),
        };
        Ok(Measured { row, timings: pipeline.timings })
    }

    /// Compiles the workload over trees with a clock and gives the time of its kernels on a batch of median size.
    ///
    /// # Errors
    /// As [`Bench::run_trees`], or if no clock is known for this machine.
    pub fn profile_trees(&self, forest: &Forest, shape: TreeShape) -> Result<Profile, BenchError> {
        let mut pipeline = Pipeline { profiled: true, ..Pipeline::default() };
        let mut compiled = CompiledTrees::new(forest, shape, &self.pool, &mut pipeline)?;
        Ok(profile::profile(&mut compiled, PROFILED)?)
    }

    /// Compiles the workload over trees and times passes over all whole batches.
    ///
    /// # Errors
    /// It cannot be compiled, is too large for memory, or there are fewer trees than in a batch.
    pub fn run_trees(&self, forest: &Forest, shape: TreeShape) -> Result<Measured<TreeRow>, BenchError> {
        let mut pipeline = Pipeline { machine: self.machine.clone(), ..Pipeline::default() };
        let mut compiled = CompiledTrees::new(forest, shape, &self.pool, &mut pipeline)?;
        let times = measure_passes(|| compiled.pass())?;
        let TreeShape { batch, input, hidden } = shape;
        let (trees, batches) = (compiled.trees(), compiled.batches() as f64);
        let speed = compiled.operations() / times.median;
        let row = TreeRow {
            workload: TREE_LSTM,
            batch,
            input,
            hidden,
            trees,
            trees_per_second: trees as f64 / times.median,
            median_us: times.median * 1e6 / batches,
            min_us: times.least * 1e6 / batches,
            gflops: speed / 1e9,
            peak_share: self.peak.map(|peak| speed / peak),
        };
        Ok(Measured { row, timings: pipeline.timings })
    }
}
