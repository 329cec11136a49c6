//! How fast compiled programs run: known work, timed as the libraries' own benchmarks time it.
//!
//! ```no_run
//! use rnnc::driver::{bench::{Bench, choose}, machine::MachineName};
//! let bench = Bench::new(0, MachineName::Cpu)?;
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

mod clock;
mod profile;
mod program;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use rayon::ThreadPool;
use serde::Serialize;
use thiserror::Error;

use super::batch::{BatchError, threads};
use super::compile::{CompileError, Pipeline};
use super::machine::{Machine, MachineName};
use super::session::SessionError;
use super::timings::Timings;
use crate::backend::native::emit::EmitError;
use crate::grad::GradError;
use crate::runtime::opencl::OpenClError;
use crate::runtime::opencl::devices::Kind;
use crate::runtime::parameters::ParametersError;

use clock::{measure, peak};
pub use profile::{KernelTime, Profile};
use program::Compiled;
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
    /// The device.
    #[error(transparent)]
    Device(#[from] OpenClError),
    /// Threads, or a run.
    #[error(transparent)]
    Batch(#[from] BatchError),
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

/// A row and how long the program took to compile, from its text on.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The figures.
    pub row: Row,
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
    /// The system gives no threads, there is no code for this machine, or no such device.
    pub fn new(count: usize, machine: MachineName) -> Result<Bench, BenchError> {
        let machine = machine.open()?;
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
}
