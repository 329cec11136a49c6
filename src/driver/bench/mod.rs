//! How fast compiled programs run: known work, timed as the libraries' own benchmarks time it.
//!
//! ```no_run
//! use rnnc::driver::bench::{Bench, choose};
//! let bench = Bench::new(0)?;
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
//! - `workloads`: what is run; `clock`: what is measured

mod clock;
mod workloads;

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::ThreadPool;
use serde::Serialize;
use thiserror::Error;

use super::batch::{Batch, BatchError, threads};
use super::compile::{CompileError, Pipeline};
use super::data::{Dataset, Examples};
use super::evaluate::{parameter_ranges, slices};
use super::gradient::GradientProgram;
use super::session::{Model, SessionError, parameter_specs};
use super::timings::Timings;
use crate::backend::native::emit::EmitError;
use crate::check::Mode;
use crate::grad::GradError;
use crate::ir::{Graph, OutputKind};
use crate::runtime::parameters::{Parameters, ParametersError};

use clock::{Times, measure, peak};
pub use workloads::{Cell, ChoiceError, Form, Shape, WORKLOADS, Workload, choose};

/// Seed of parameters and inputs.
const SEED: u64 = 1;
/// The value that is asked for where nothing is trained.
const HIDDEN: &str = "h";

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
    /// The same over what the threads do at most.
    pub peak_share: f64,
}

/// A row and how long the program took to compile, from its text on.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The figures.
    pub row: Row,
    /// The stages.
    pub timings: Timings,
}

/// Threads and what they do at most.
pub struct Bench {
    pool: Arc<ThreadPool>,
    peak: f64,
}

impl Bench {
    /// Starts threads (0: one for each core) and measures the machine.
    ///
    /// # Errors
    /// The system gives no threads, or there is no code for this machine.
    pub fn new(count: usize) -> Result<Bench, BenchError> {
        let pool = threads(count)?;
        let peak = peak(&pool)?;
        Ok(Bench { pool, peak })
    }

    /// Threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Floating-point operations a second of all threads.
    pub fn peak(&self) -> f64 {
        self.peak
    }

    /// Compiles a workload and times it.
    ///
    /// # Errors
    /// It cannot be compiled, or is too large for memory.
    pub fn run(&self, workload: &Workload) -> Result<Measured, BenchError> {
        let mut pipeline = Pipeline::default();
        let times = match workload.form {
            Form::Infer => self.infer(workload, &mut pipeline)?,
            Form::Train => self.train(workload, &mut pipeline)?,
        };
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
            peak_share: speed / self.peak,
        };
        Ok(Measured { row, timings: pipeline.timings })
    }

    fn infer(&self, workload: &Workload, pipeline: &mut Pipeline) -> Result<Times, BenchError> {
        let mut graph = pipeline.check(&model(workload), Mode::Evaluate)?.graph;
        graph.outputs.retain(|output| output.name == HIDDEN);
        let name = format!("{}_infer", graph.name);
        let program = pipeline.program::<f32>(&graph, &[OutputKind::Value], &name)?;
        let parameters = Parameters::initialize(parameter_specs(&graph), SEED)?;
        let ranges = parameter_ranges(&program, &parameters);
        let values = slices(&parameters, &ranges);
        let examples = examples(&graph, workload.shape);
        let mut batch = Batch::new(program, Arc::clone(&self.pool));
        lay_out(&mut batch, &examples)?;
        batch.run(&examples.feeds(), &values)?;
        Ok(measure(|| batch.run(&[], &values))?)
    }

    fn train(&self, workload: &Workload, pipeline: &mut Pipeline) -> Result<Times, BenchError> {
        let checked = pipeline.check(&model(workload), Mode::Train)?;
        let graph = pipeline.trained(&checked.graph)?;
        let parameters = Parameters::initialize(parameter_specs(&graph), SEED)?;
        let mut program = GradientProgram::new(pipeline, &graph, &parameters, &self.pool)?;
        let examples = examples(&graph, workload.shape);
        lay_out(program.batch_mut(), &examples)?;
        program.run(&parameters, &examples.feeds())?;
        Ok(measure(|| program.run(&parameters, &[]).map(drop))?)
    }
}

/// The program at the workload's shape.
fn model(workload: &Workload) -> Model {
    let Shape { batch, input, hidden, .. } = workload.shape;
    let set = [("I", input), ("H", hidden), ("B", batch)];
    let set = set.map(|(name, size)| (name.to_string(), size)).to_vec();
    Model { set, ..Model::new(workload.cell.file, workload.cell.source) }
}

/// Random inputs, all sequences of the same length.
fn examples(graph: &Graph, shape: Shape) -> Examples<f32> {
    let axes = graph.axes.iter().skip(1).map(|axis| (axis.name.clone(), vec![shape.steps; shape.batch]));
    let lengths: BTreeMap<String, Vec<usize>> = axes.collect();
    let all: Vec<usize> = (0..shape.batch).collect();
    Dataset::random(graph, &lengths, shape.batch, SEED).select(&all)
}

fn lay_out(batch: &mut Batch<f32>, examples: &Examples<f32>) -> Result<(), BatchError> {
    let named = |axis: &str| examples.lengths.get(axis).map(Vec::as_slice);
    let lengths = batch.lengths_by_name(examples.count, named);
    batch.lay_out(&lengths)
}
