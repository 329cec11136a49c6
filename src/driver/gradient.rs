//! A compiled gradient program: the loss and the gradient of all parameters on a batch.
//!
//! ```text
//! groups of the batch, on all threads ─▶ losses, gradients of each ─▶ one loss, one flat gradient
//! ```
//!
//! Losses and gradients are added over the batch's groups in their order, so that their bits depend on the
//! batch alone. What becomes of the gradient is the caller's business.

use std::ops::Range;
use std::sync::Arc;

use rayon::ThreadPool;

use super::batch::{Batch, BatchError, Feed};
use super::compile::{CompileError, Pipeline};
use super::evaluate::{parameter_ranges, slices};
use crate::ir::{Graph, OutputKind};
use crate::runtime::parameters::Parameters;

/// The program and the memory of its runs.
pub(super) struct GradientProgram {
    batch: Batch<f32>,
    /// Parameters in the program's order.
    ranges: Vec<Range<usize>>,
    losses: Vec<String>,
    /// Outputs and where they go in the flat gradient.
    places: Vec<(String, Range<usize>)>,
    /// Laid out as the parameters are.
    gradient: Vec<f32>,
    scratch: Vec<f32>,
}

impl GradientProgram {
    /// Compiles `graph`, which has gradients.
    ///
    /// # Errors
    /// It cannot be compiled.
    pub fn new(
        pipeline: &mut Pipeline,
        graph: &Graph,
        parameters: &Parameters,
        pool: &Arc<ThreadPool>,
    ) -> Result<GradientProgram, CompileError> {
        let name = format!("{}_train", graph.name);
        let kinds = [OutputKind::Loss, OutputKind::Gradient, OutputKind::Carry];
        let program = pipeline.program::<f32>(graph, &kinds, &name)?;
        let places: Vec<(String, Range<usize>)> = graph
            .outputs_of(OutputKind::Gradient)
            .filter_map(|output| {
                let range = parameters.range(parameters.index(&output.name)?);
                Some((format!("gradient:{}", output.name), range))
            })
            .collect();
        let longest = places.iter().map(|(_, range)| range.len()).max().unwrap_or(0);
        let losses = graph.outputs_of(OutputKind::Loss).map(|output| format!("loss:{}", output.name));
        Ok(GradientProgram {
            ranges: parameter_ranges(&program, parameters),
            losses: losses.collect(),
            batch: Batch::new(program, Arc::clone(pool)),
            places,
            gradient: vec![0.0; parameters.values().len()],
            scratch: vec![0.0; longest],
        })
    }

    /// The batch last run.
    pub fn batch(&self) -> &Batch<f32> {
        &self.batch
    }

    /// The batch, to lay out.
    pub fn batch_mut(&mut self) -> &mut Batch<f32> {
        &mut self.batch
    }

    /// The gradient last computed, laid out as the parameters are; zero for what is not trained.
    pub fn gradient(&mut self) -> &mut [f32] {
        &mut self.gradient
    }

    /// Computes loss and gradient on the batch as it is laid out; gives the loss.
    ///
    /// # Errors
    /// Data that do not fit.
    pub fn run(&mut self, parameters: &Parameters, feeds: &[(&str, Feed<f32>)]) -> Result<f64, BatchError> {
        self.batch.run(feeds, &slices(parameters, &self.ranges))?;
        let mut loss = 0.0;
        for name in &self.losses {
            loss += self.batch.number(name)?;
        }
        for (name, range) in &self.places {
            let scratch = &mut self.scratch[..range.len()];
            self.batch.add_up(name, &mut self.gradient[range.clone()], scratch)?;
        }
        Ok(loss)
    }
}
