//! One step of training: compute the gradient, clip it, move the parameters.
//!
//! The optimiser treats each element by itself: a step's bits depend on the run and the batch alone. Random numbers are keyed by the run's seed and step. Which batches there are is the business of `material`.

use std::sync::Arc;

use rayon::ThreadPool;
use thiserror::Error;

use super::batch::{Batch, BatchError, Feed};
use super::compile::{CompileError, Pipeline};
use super::gradient::{GradientProgram, Update};
use super::machine::Machine;
use crate::ir::Graph;
use crate::runtime::checkpoint::{Position, Run};
use crate::runtime::clip::{GradientError, checked_norm, clip, factor};
use crate::runtime::layout::Lengths;
use crate::runtime::opencl::Updates;
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
    pool: Arc<ThreadPool>,
    batches: u64,
    /// On a device: the parameters and the optimiser's state, which stay there.
    updates: Option<Updates>,
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
        machine: &Machine,
    ) -> Result<Trainer, CompileError> {
        let mut pipeline = Pipeline { machine: machine.clone(), ..Pipeline::default() };
        let program = GradientProgram::new(&mut pipeline, graph, parameters, pool)?;
        Ok(Trainer { program, pool: Arc::clone(pool), batches: 1, updates: None })
    }

    /// How many batches an epoch has: schedules move within epochs, too.
    pub fn set_batches(&mut self, batches: u64) {
        self.batches = batches.max(1);
    }

    /// The batch last run.
    pub fn batch(&self) -> &Batch<f32> {
        self.program.batch()
    }

    /// Brings what a device has back into the run: to be done before anybody looks at it.
    ///
    /// # Errors
    /// The device fails.
    pub fn fetch(&self, run: &mut Run) -> Result<(), BatchError> {
        if let (Some(updates), Some(instance)) = (&self.updates, self.program.batch().device()) {
            updates.fetch(instance, &mut run.parameters, &mut run.optimizer)?;
        }
        Ok(())
    }

    /// One step; gives the loss before it. On a device the run's parameters stay as they are until
    /// [`Trainer::fetch`].
    ///
    /// # Errors
    /// Data that do not fit, or a gradient that is not finite.
    pub fn step(
        &mut self,
        run: &mut Run,
        lengths: &Lengths,
        feeds: &[(&str, Feed<f32>)],
    ) -> Result<f64, StepError> {
        self.step_ahead(run, lengths, feeds, |_| Ok(()))
    }

    /// The same, and while a device works on it `next` may hand over what comes next (see [`Batch::copy_ahead`]).
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn step_ahead(
        &mut self,
        run: &mut Run,
        lengths: &Lengths,
        feeds: &[(&str, Feed<f32>)],
        next: impl FnOnce(&mut Batch<f32>) -> Result<(), BatchError>,
    ) -> Result<f64, StepError> {
        let position = run.meta.position;
        let batch = self.program.batch_mut();
        batch.lay_out(lengths)?;
        batch.set_random(run.meta.settings.seed, position.step)?;
        let epochs = position.epoch as f64 + position.batch as f64 / self.batches as f64;
        batch.set_progress(epochs, position.step)?;
        let rate = run.meta.rate.at(position.step, epochs);
        let loss = match batch.device() {
            Some(_) => self.step_on_device(run, feeds, rate, next)?,
            None => {
                // In one piece, so that the threads are woken once.
                let program = &mut self.program;
                self.pool.install(|| {
                    let loss = program.run(&run.parameters, feeds)?;
                    let gradient = program.gradient();
                    clip(&run.parameters, gradient, run.meta.settings.clip())
                        .map_err(|why| failed(run, why))?;
                    run.optimizer
                        .step(&mut run.parameters, gradient, rate)
                        .map_err(|why| failed_at(position, why))?;
                    Ok::<f64, StepError>(loss)
                })?
            }
        };
        for Update { index, values } in self.program.updates()? {
            // What is not a number would stay so for good.
            if values.iter().all(|value| value.is_finite()) {
                if let (Some(updates), Some(instance)) = (&self.updates, self.program.batch().device()) {
                    updates.set(instance, &run.parameters, index, &values).map_err(BatchError::from)?;
                }
                let range = run.parameters.range(index);
                run.parameters.values_mut()[range].copy_from_slice(&values);
            }
        }
        run.meta.position.step += 1;
        Ok(loss)
    }

    fn step_on_device(
        &mut self,
        run: &Run,
        feeds: &[(&str, Feed<f32>)],
        rate: f64,
        next: impl FnOnce(&mut Batch<f32>) -> Result<(), BatchError>,
    ) -> Result<f64, StepError> {
        let losses = self.program.losses().to_vec();
        let batch = self.program.batch_mut();
        if let (None, Some(instance)) = (&self.updates, batch.device_mut()) {
            let updates = Updates::new(instance, &run.parameters, &run.optimizer, &losses);
            self.updates = Some(updates.map_err(BatchError::from)?);
        }
        batch.run_resident(feeds)?;
        next(batch)?;
        let (Some(updates), Some(instance)) = (&mut self.updates, batch.device()) else { return Ok(0.0) };
        let bounds = run.meta.settings.clip();
        let mut measured = updates.measure(instance, bounds.value).map_err(BatchError::from)?;
        if !measured.norm.is_finite() {
            let count = run.parameters.values().len();
            let gradient = updates.gradient(instance, count).map_err(BatchError::from)?;
            // Where all numbers are finite the device's sum was too short for their squares.
            measured.norm = checked_norm(&run.parameters, &gradient).map_err(|why| failed(run, why))?;
            measured.clamped = measured.clamped.min(measured.norm);
        }
        let scale = factor(bounds.norm, measured.clamped);
        updates.step(instance, rate, bounds.value, scale).map_err(BatchError::from)?;
        Ok(measured.loss)
    }
}

fn failed(run: &Run, source: GradientError) -> StepError {
    failed_at(run.meta.position, source)
}

fn failed_at(position: Position, source: GradientError) -> StepError {
    StepError::Gradient { step: position.step + 1, epoch: position.epoch + 1, source }
}
