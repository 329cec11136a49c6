//! One step of training: compute the gradient, clip it, move the parameters.
//!
//! The optimiser goes through the parameters in their order: a step's bits depend on the run and the batch
//! alone. Random numbers are keyed by the run's seed and step. Which batches there are is the business of `material`.

use std::sync::Arc;

use rayon::ThreadPool;
use thiserror::Error;

use super::batch::{Batch, BatchError, Feed};
use super::compile::{CompileError, Pipeline};
use super::gradient::GradientProgram;
use crate::ir::Graph;
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

/// A compiled gradient program that moves the parameters.
pub struct Trainer {
    program: GradientProgram,
    batches: u64,
}

impl Trainer {
    /// Compiles `graph`, which has gradients, for an epoch of one batch.
    ///
    /// # Errors
    /// It cannot be compiled.
    pub fn new(
        graph: &Graph,
        parameters: &Parameters,
        pool: &Arc<ThreadPool>,
    ) -> Result<Trainer, CompileError> {
        let program = GradientProgram::new(&mut Pipeline::default(), graph, parameters, pool)?;
        Ok(Trainer { program, batches: 1 })
    }

    /// How many batches an epoch has: schedules move within epochs, too.
    pub fn set_batches(&mut self, batches: u64) {
        self.batches = batches.max(1);
    }

    /// The batch last run.
    pub fn batch(&self) -> &Batch<f32> {
        self.program.batch()
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
        let batch = self.program.batch_mut();
        batch.lay_out(lengths)?;
        batch.set_random(run.meta.settings.seed, position.step)?;
        let loss = self.program.run(&run.parameters, feeds)?;
        let gradient = self.program.gradient();
        let failed =
            |source| StepError::Gradient { step: position.step + 1, epoch: position.epoch + 1, source };
        clip(&run.parameters, gradient, run.meta.settings.clip()).map_err(failed)?;
        let epochs = position.epoch as f64 + position.batch as f64 / self.batches as f64;
        let rate = run.meta.rate.at(position.step, epochs);
        run.optimizer.step(&mut run.parameters, gradient, rate).map_err(failed)?;
        run.meta.position.step += 1;
        Ok(loss)
    }
}
