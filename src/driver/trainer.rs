//! One step of training: run the batch, add up the gradient, clip it, move the parameters.
//!
//! Losses and gradients are added over the batch's groups in their order, the optimiser goes through the
//! parameters in theirs: a step's bits depend on the run and the batch alone. Random numbers are keyed by
//! the run's seed and step. Which batches there are is the business of `material`.

use std::ops::Range;
use std::sync::Arc;

use rayon::ThreadPool;
use thiserror::Error;

use super::batch::{Batch, BatchError, Feed};
use super::compile::{CompileError, program};
use super::evaluate::{parameter_ranges, slices};
use crate::ir::{Graph, OutputKind};
use crate::runtime::checkpoint::Run;
use crate::runtime::clip::{GradientError, clip};
use crate::runtime::layout::Lengths;
use crate::runtime::parameters::Parameters;
use crate::runtime::text::TextError;

/// Why a step cannot be taken; the parameters are then as they were.
#[derive(Debug, Error)]
pub enum StepError {
    /// A run of the program.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A gradient that is not finite.
    #[error("step {step} of epoch {epoch}: {source}")]
    Gradient {
        /// The step, from 1, over the whole run.
        step: u64,
        /// The epoch, from 1.
        epoch: u64,
        /// What is wrong.
        source: GradientError,
    },
    /// The streams.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// A compiled gradient program and the memory of its steps.
pub struct Trainer {
    batch: Batch<f32>,
    /// Parameters in the program's order.
    ranges: Vec<Range<usize>>,
    losses: Vec<String>,
    /// Outputs and where they go in the flat gradient.
    gradients: Vec<(String, Range<usize>)>,
    gradient: Vec<f32>,
    scratch: Vec<f32>,
    batches: u64,
}

impl Trainer {
    /// Compiles `graph`, which has gradients, for an epoch of `batches` batches.
    ///
    /// # Errors
    /// It cannot be compiled.
    pub fn new(
        graph: &Graph,
        parameters: &Parameters,
        pool: &Arc<ThreadPool>,
    ) -> Result<Trainer, CompileError> {
        let name = format!("{}_train", graph.name);
        let kinds = [OutputKind::Loss, OutputKind::Gradient, OutputKind::Carry];
        let program = program::<f32>(graph, &kinds, &name)?;
        let gradients: Vec<(String, Range<usize>)> = graph
            .outputs_of(OutputKind::Gradient)
            .filter_map(|output| {
                let range = parameters.range(parameters.index(&output.name)?);
                Some((format!("gradient:{}", output.name), range))
            })
            .collect();
        let longest = gradients.iter().map(|(_, range)| range.len()).max().unwrap_or(0);
        Ok(Trainer {
            ranges: parameter_ranges(&program, parameters),
            losses: graph
                .outputs_of(OutputKind::Loss)
                .map(|output| format!("loss:{}", output.name))
                .collect(),
            batch: Batch::new(program, Arc::clone(pool)),
            gradients,
            gradient: vec![0.0; parameters.values().len()],
            scratch: vec![0.0; longest],
            batches: 1,
        })
    }

    /// How many batches an epoch has: schedules move within epochs, too.
    pub fn set_batches(&mut self, batches: u64) {
        self.batches = batches.max(1);
    }

    /// The batch last run.
    pub fn batch(&self) -> &Batch<f32> {
        &self.batch
    }

    /// One step; gives the loss before it.
    ///
    /// # Errors
    /// Data that do not fit, or a gradient that is not finite.
    pub fn step(
        &mut self,
        run: &mut Run,
        lengths: &Lengths,
        feeds: &[(&str, Feed<f32>)],
    ) -> Result<f64, StepError> {
        let position = run.meta.position;
        self.batch.lay_out(lengths)?;
        self.batch.set_random(run.meta.settings.seed, position.step)?;
        self.batch.run(feeds, &slices(&run.parameters, &self.ranges))?;
        let mut loss = 0.0;
        for name in &self.losses {
            loss += self.batch.number(name)?;
        }
        for (name, range) in &self.gradients {
            let scratch = &mut self.scratch[..range.len()];
            self.batch.add_up(name, &mut self.gradient[range.clone()], scratch)?;
        }
        let failed =
            |source| StepError::Gradient { step: position.step + 1, epoch: position.epoch + 1, source };
        clip(&run.parameters, &mut self.gradient, run.meta.settings.clip()).map_err(failed)?;
        let epochs = position.epoch as f64 + position.batch as f64 / self.batches as f64;
        let rate = run.meta.rate.at(position.step, epochs);
        run.optimizer.step(&mut run.parameters, &self.gradient, rate).map_err(failed)?;
        run.meta.position.step += 1;
        Ok(loss)
    }
}
