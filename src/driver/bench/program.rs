//! A workload compiled, with its input packed: what the clock runs.
//!
//! Asked for are the value `h` alone, or the loss and the gradient of every parameter. Parameters begin as
//! the program says, inputs are random, all sequences are of the same length.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::ThreadPool;

use super::BenchError;
use super::workloads::{Form, Shape, Workload};
use crate::check::Mode;
use crate::driver::batch::{Batch, BatchError};
use crate::driver::compile::Pipeline;
use crate::driver::data::{Dataset, Examples};
use crate::driver::evaluate::{parameter_ranges, slices};
use crate::driver::gradient::GradientProgram;
use crate::driver::session::{Model, parameter_specs};
use crate::ir::{Graph, OutputKind};
use crate::runtime::parameters::Parameters;

/// Seed of parameters and inputs.
const SEED: u64 = 1;
/// The value that is asked for where nothing is trained.
const HIDDEN: &str = "h";

/// A program, its parameters and its input.
pub(super) struct Compiled {
    parameters: Parameters,
    form: Asked,
}

/// A compiled program that can be run again and again.
pub(super) trait Timed {
    /// The batch that it runs.
    fn batch(&self) -> &Batch<f32>;

    /// Runs it on the input that it has.
    ///
    /// # Errors
    /// As those of any run.
    fn call(&mut self) -> Result<(), BatchError>;
}

/// What is asked of it.
enum Asked {
    Hidden { batch: Batch<f32>, ranges: Vec<Range<usize>> },
    Gradient(GradientProgram),
}

impl Compiled {
    /// Compiles a workload and runs it once, which packs its input.
    ///
    /// # Errors
    /// It cannot be compiled, or has no layout.
    pub fn new(
        workload: &Workload,
        pool: &Arc<ThreadPool>,
        pipeline: &mut Pipeline,
    ) -> Result<Compiled, BenchError> {
        match workload.form {
            Form::Infer => Compiled::hidden(workload, pool, pipeline),
            Form::Train => Compiled::gradient(workload, pool, pipeline),
        }
    }

    fn hidden(
        workload: &Workload,
        pool: &Arc<ThreadPool>,
        pipeline: &mut Pipeline,
    ) -> Result<Compiled, BenchError> {
        let mut graph = pipeline.check(&model(workload), Mode::Evaluate)?.graph;
        graph.outputs.retain(|output| output.name == HIDDEN);
        let name = format!("{}_infer", graph.name);
        let mut batch = pipeline.batch::<f32>(&graph, &[OutputKind::Value], &name, pool)?;
        let parameters = Parameters::initialize(parameter_specs(&graph), SEED)?;
        let ranges = parameter_ranges(&batch, &parameters);
        batch.hold_parameters();
        let examples = examples(&graph, workload.shape);
        lay_out(&mut batch, &examples)?;
        batch.run(&examples.feeds(), &slices(&parameters, &ranges))?;
        Ok(Compiled { parameters, form: Asked::Hidden { batch, ranges } })
    }

    fn gradient(
        workload: &Workload,
        pool: &Arc<ThreadPool>,
        pipeline: &mut Pipeline,
    ) -> Result<Compiled, BenchError> {
        let checked = pipeline.check(&model(workload), Mode::Train)?;
        let graph = pipeline.trained(&checked.graph)?;
        let parameters = Parameters::initialize(parameter_specs(&graph), SEED)?;
        let mut program = GradientProgram::new(pipeline, &graph, &parameters, pool)?;
        let examples = examples(&graph, workload.shape);
        lay_out(program.batch_mut(), &examples)?;
        program.run(&parameters, &examples.feeds())?;
        Ok(Compiled { parameters, form: Asked::Gradient(program) })
    }
}

impl Timed for Compiled {
    fn batch(&self) -> &Batch<f32> {
        match &self.form {
            Asked::Hidden { batch, .. } => batch,
            Asked::Gradient(program) => program.batch(),
        }
    }

    fn call(&mut self) -> Result<(), BatchError> {
        match &mut self.form {
            Asked::Hidden { batch, ranges } => {
                batch.run(&[], &slices(&self.parameters, ranges))?;
                batch.finish()
            }
            Asked::Gradient(program) => program.run(&self.parameters, &[]).map(drop),
        }
    }
}

/// The program at the workload's shape.
fn model(workload: &Workload) -> Model {
    let Shape { batch, input, hidden, .. } = workload.shape;
    let set = [("I", input), ("H", hidden), ("B", batch)];
    let set = set.map(|(name, size)| (name.to_string(), size)).to_vec();
    Model { set, ..Model::new(workload.cell.file, workload.cell.source) }
}

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

#[cfg(test)]
mod tests {
    use super::super::workloads::WORKLOADS;
    use super::*;
    use crate::driver::batch::threads;

    /// Several groups of the batch, and no vector's width.
    const SHAPE: Shape = Shape { steps: 4, batch: 19, input: 3, hidden: 5 };

    fn compiled(workload: &Workload, form: Form) -> Compiled {
        let workload = Workload { form, shape: SHAPE, ..*workload };
        let mut compiled = Compiled::new(&workload, &threads(2).unwrap(), &mut Pipeline::default()).unwrap();
        compiled.call().unwrap();
        compiled
    }

    #[test]
    fn the_loss_is_the_sum_of_the_squares_of_the_hidden_states() {
        for workload in WORKLOADS {
            let hidden = match compiled(workload, Form::Infer).form {
                Asked::Hidden { batch, .. } => batch.values("value:h").unwrap(),
                Asked::Gradient(_) => Vec::new(),
            };
            assert_eq!(hidden.len(), SHAPE.steps * SHAPE.batch * SHAPE.hidden, "{workload}");
            let squares: f64 = hidden.iter().map(|&value| f64::from(value).powi(2)).sum();
            let mut compiled = compiled(workload, Form::Train);
            let Asked::Gradient(program) = &mut compiled.form else { continue };
            let loss = program.run(&compiled.parameters, &[]).unwrap();
            assert!(squares > 1.0 && (loss - squares).abs() < 1e-4 * squares, "{workload}: {loss} {squares}");
            // Nothing is left out: every parameter has a gradient.
            assert!(program.gradient().iter().all(|&value| value != 0.0), "{workload}");
        }
    }
}
