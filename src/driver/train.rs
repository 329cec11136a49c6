//! Training from beginning to end, or from where a saved run stopped.
//!
//! ```no_run
//! use rnnc::driver::{corpus::Source, train::{Job, train}};
//! use rnnc::runtime::{interrupt::Interrupt, progress::Display};
//! let job = Job {
//!     file: Some("charlm.rnn".into()),
//!     source: Some(Source::Text("book.txt".into())),
//!     ..Job::new("run.safetensors")
//! };
//! let outcome = train(&job, Display::Lines, Box::new(std::io::stdout()), &Interrupt::default())?;
//! println!("{} steps", outcome.run.meta.position.step);
//! # Ok::<(), rnnc::driver::train::TrainError>(())
//! ```
//!
//! The run is saved after every epoch and when training is interrupted; `prepare` makes or loads it. A
//! resumed run gives the bits of one that was never interrupted: batches and random numbers follow from
//! seed and position, all else is in the file.

use std::io::Write;
use std::path::PathBuf;

use thiserror::Error;

use super::batch::{BatchError, threads};
use super::carried::Carried;
use super::compile::CompileError;
use super::corpus::{CorpusError, Examples, Known, Source, Stream, in_text};
use super::evaluate::{EvaluateError, Evaluator, chunked};
use super::figures::Figures;
use super::machine::{Machine, MachineName};
use super::material::{Cut, Material};
use super::prepare::{Prepared, prepare};
use super::session::{Model, SessionError};
use super::timings::Timings;
use super::trainer::{StepError, Trainer};
use super::vectors::LoadError;
use crate::check::Mode;
use crate::grad::{GradError, grad_of_losses};
use crate::ir::{AxisId, AxisKind, Graph, OutputKind};
use crate::runtime::checkpoint::{Best, CheckpointError, EpochLosses, Position, Run};
use crate::runtime::files::FileError;
use crate::runtime::interrupt::Interrupt;
use crate::runtime::opencl::OpenClError;
use crate::runtime::parameters::ParametersError;
use crate::runtime::progress::{Display, Progress};
use crate::runtime::reading::Changes;
use crate::runtime::schedule::Verdict;
use crate::runtime::text::TextError;
use crate::runtime::weights::WeightsError;

/// The note of a run that early stopping ended.
pub(super) const STOPPED_EARLY: &str = "stopped early";

/// What to train, on what, and where to keep it. `None` is what the model's `train` block says.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The program; not needed to resume.
    pub file: Option<PathBuf>,
    /// Which of its models.
    pub model: Option<String>,
    /// Dimensions.
    pub set: Vec<(String, usize)>,
    /// The data; not needed to resume.
    pub source: Option<Source>,
    /// Another file to measure by.
    pub valid: Option<PathBuf>,
    /// Other files of lines to measure by.
    pub valid_lines: Vec<(String, PathBuf)>,
    /// The part of the data to measure by.
    pub holdout: Option<f64>,
    /// How records are read.
    pub reading: Changes,
    /// Parameters that begin with values from a file.
    pub load: Vec<(String, PathBuf)>,
    /// How often a word is needed to have an id of its own.
    pub min_count: Option<usize>,
    /// Passes over the data, those of a resumed run included.
    pub epochs: Option<usize>,
    /// Streams or examples of a step.
    pub batch: Option<usize>,
    /// Steps between cuts of the gradient.
    pub truncate: Option<usize>,
    /// Seed of everything random.
    pub seed: Option<u64>,
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// Stop (and save) when the run has had so many steps.
    pub max_steps: Option<u64>,
    /// The run's file.
    pub out: PathBuf,
    /// Go on with the run in it.
    pub resume: bool,
    /// The machine to train on.
    pub machine: MachineName,
    /// Whether to note how long each kernel of a device takes.
    pub timings: bool,
}

impl Job {
    /// A job that says nothing but where the run goes.
    pub fn new(out: impl Into<PathBuf>) -> Job {
        Job {
            file: None,
            model: None,
            set: Vec::new(),
            source: None,
            valid: None,
            valid_lines: Vec::new(),
            holdout: None,
            reading: Changes::default(),
            load: Vec::new(),
            min_count: None,
            epochs: None,
            batch: None,
            truncate: None,
            seed: None,
            threads: 0,
            max_steps: None,
            out: out.into(),
            resume: false,
            machine: MachineName::Cpu,
            timings: false,
        }
    }
}

/// Why training did not come to its end.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The model.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The data.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A parameter's file.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The text in its streams.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The gradient.
    #[error(transparent)]
    Grad(#[from] GradError),
    /// The compiler.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Threads or a run of a program.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The device.
    #[error(transparent)]
    Device(#[from] OpenClError),
    /// A step.
    #[error(transparent)]
    Step(#[from] StepError),
    /// Measuring.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The run's file.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The run's parameters.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Too many parameters.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A run that cannot be resumed as asked.
    #[error("cannot resume {}: {reason}", path.display())]
    Resume {
        /// The run's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something that was neither given nor saved.
    #[error("{0}")]
    Incomplete(&'static str),
}

/// How training came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs are done.
    Finished,
    /// What is held out got no better.
    Early,
    /// Ctrl-C, or the wanted number of steps.
    Interrupted,
    /// They were done before.
    Nothing,
}

/// A training that was saved.
#[derive(Debug)]
pub struct Outcome {
    /// As it was saved.
    pub run: Run,
    /// How it ended.
    pub ending: Ending,
    /// Time by stage, in their order.
    pub timings: Timings,
}

/// Trains as `job` says; lines of progress go to `out`.
///
/// # Errors
/// Anything from a missing file to a gradient that is not finite; what was saved before stays.
pub fn train(
    job: &Job,
    display: Display,
    out: Box<dyn Write + Send>,
    interrupt: &Interrupt,
) -> Result<Outcome, TrainError> {
    let mut watch = Timings::default();
    // Before anything is read, let alone written.
    let machine = job.machine.open()?;
    if let (Machine::Device(device), true) = (&machine, job.timings) {
        device.keep_times();
    }
    let prepared = watch.time("read and check", || prepare(job))?;
    let epochs = prepared.run.meta.settings.epochs as u64;
    let stopped = prepared.run.meta.notes.contains_key(STOPPED_EARLY) && job.epochs.is_none();
    if prepared.run.meta.position.epoch >= epochs || stopped {
        return Ok(Outcome { run: prepared.run, ending: Ending::Nothing, timings: watch });
    }
    let loaded = prepared.loaded.clone();
    let mut session = compile(job, prepared, &machine, &mut watch)?;
    let unit = session.material.unit();
    let mut progress = Progress::new(display, out, unit, epochs, session.material.units()?);
    loaded.iter().for_each(|line| progress.note(line));
    let result = session.epochs(job, &mut progress, interrupt, &mut watch);
    progress.finish();
    let ending = result?;
    if let (Machine::Device(device), true) = (&machine, job.timings) {
        device.times()?.iter().for_each(|(command, time)| watch.add(&format!("device: {command}"), *time));
    }
    Ok(Outcome { run: session.run, ending, timings: watch })
}

/// Everything that training needs, compiled.
struct Session {
    run: Run,
    material: Material,
    trainer: Trainer,
    evaluator: Option<Evaluator>,
}

fn compile(
    job: &Job,
    prepared: Prepared,
    machine: &Machine,
    watch: &mut Timings,
) -> Result<Session, TrainError> {
    let Prepared { run, model, source, valid, .. } = prepared;
    let settings = &run.meta.settings;
    let pool = threads(job.threads)?;
    let checked = model.check(Mode::Train)?;
    let fraction = settings.holdout.unwrap_or(0.0);
    let input = match &run.meta.vocabulary {
        Some(_) => Some(model.text_input()?),
        None => None,
    };
    let axis = match (&input, settings.truncate) {
        (None, Some(_)) if checked.graph.axes.iter().any(|axis| axis.kind == AxisKind::Tree) => {
            return Err(TrainError::Incomplete(
                "trees are trained on as wholes: write `truncate = none` in the `train` block (or leave \
                 `--truncate` out)",
            ));
        }
        (None, Some(steps)) => Some((cut_axis(&model, &checked.graph)?, steps)),
        _ => None,
    };
    let graph = watch.time("gradient", || -> Result<_, TrainError> {
        // Named values and metrics are not computed in training, whatever they read.
        let mut graph = checked.graph.clone();
        graph.outputs.retain(|output| matches!(output.kind, OutputKind::Loss | OutputKind::Update));
        let graph = match (&input, &axis) {
            (Some(input), _) => chunked(&model, &graph, input)?,
            (None, Some((axis, _))) => model.cut(&graph, *axis, "")?,
            (None, None) => graph,
        };
        let trainable = run.parameters.trainable().map(|(spec, _)| spec.name.clone());
        let trainable: Vec<String> = trainable.collect();
        Ok(grad_of_losses(&graph, &trainable)?)
    })?;
    let trainer =
        watch.time("compile for training", || Trainer::new(&graph, &run.parameters, &pool, machine))?;
    let (path, valid, batch) = (source.path(), valid.as_ref(), settings.batch);
    let mut material = watch.time("read data", || -> Result<_, TrainError> {
        Ok(match (&input, &run.meta.vocabulary) {
            (Some(input), Some(vocabulary)) => {
                let stream = Stream::load(path, valid.map(Source::path), fraction, vocabulary)?;
                let carried = Carried::new(trainer.batch().plan(), batch);
                let (input, truncate) = (input.name.clone(), settings.truncate);
                Material::Text { stream, input, batch, truncate, carried }
            }
            _ => {
                let known = Known::of(&run.meta);
                let examples = Examples::load(&source, valid, fraction, &checked.graph, known)?;
                let plan = trainer.batch().plan();
                let cut = axis.map(|(axis, steps)| Cut::new(checked.graph.axis_name(axis), steps, plan));
                let like_length = settings.reading.like_length;
                Material::Examples { examples, batch, order: Vec::new(), like_length, cut }
            }
        })
    })?;
    let position = run.meta.position;
    material.begin_epoch(settings.seed, position.epoch, position.batch);
    if !material.restore(position.batch, &run.carried, trainer.batch().plan()) {
        let reason = "its carried states are not those of the model".to_string();
        return Err(TrainError::Resume { path: job.out.clone(), reason });
    }
    // A text may be too short for its streams.
    material.batches().map_err(|error| in_text(path, error))?;
    let measured = match &material {
        Material::Text { stream, .. } => !stream.held_out.is_empty(),
        Material::Examples { examples, .. } => !examples.held_out().1.is_empty(),
    };
    let evaluator = match measured {
        true => Some(watch.time("compile for evaluation", || {
            Evaluator::new(&model, input.as_ref(), &run.parameters, &pool, machine)
        })?),
        false => None,
    };
    Ok(Session { run, material, trainer, evaluator })
}

/// The axis along which examples are cut for truncated backpropagation: the only one that can be.
fn cut_axis(model: &Model, graph: &Graph) -> Result<AxisId, TrainError> {
    let cure = "write `truncate = none` in the `train` block (or leave `--truncate` out) to go back through whole \
                sequences";
    let mut graph = graph.clone();
    graph.outputs.retain(|output| output.kind == OutputKind::Loss);
    let axes = graph.axes.iter().skip(1).filter_map(|axis| graph.find_axis(&axis.name));
    let mut refused = None;
    let mut fitting = Vec::new();
    for axis in axes {
        match model.cut(&graph, axis, cure) {
            Ok(_) => fitting.push(axis),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match (&fitting[..], refused) {
        ([axis], _) => Ok(*axis),
        ([], Some(error)) => Err(error.into()),
        ([], None) => Err(TrainError::Incomplete(
            "there is nothing to truncate: the model has no axis (write `truncate = none`)",
        )),
        _ => Err(TrainError::Incomplete(
            "the model could be cut along more than one axis: write `truncate = none` in its `train` block",
        )),
    }
}

impl Session {
    fn epochs(
        &mut self,
        job: &Job,
        progress: &mut Progress,
        interrupt: &Interrupt,
        watch: &mut Timings,
    ) -> Result<Ending, TrainError> {
        let epochs = self.run.meta.settings.epochs as u64;
        self.run.meta.notes.remove(STOPPED_EARLY);
        while self.run.meta.position.epoch < epochs {
            let position = self.run.meta.position;
            self.material.begin_epoch(self.run.meta.settings.seed, position.epoch, position.batch);
            let batches = self.material.batches()?;
            self.trainer.set_batches(batches);
            progress.begin_epoch(position.epoch + 1, self.material.units_before(position.batch)?);
            for index in position.batch..batches {
                let enough = job.max_steps.is_some_and(|most| self.run.meta.position.step >= most);
                if enough || interrupt.requested() {
                    progress.pause();
                    watch.time("saving", || self.save(job))?;
                    return Ok(Ending::Interrupted);
                }
                watch.time("training", || self.batch(index, progress))?;
            }
            progress.pause();
            if self.end_epoch(progress, watch)? == Verdict::Stop {
                self.run.meta.notes.insert(STOPPED_EARLY.to_string(), "yes".to_string());
                watch.time("saving", || self.save(job))?;
                return Ok(Ending::Early);
            }
            watch.time("saving", || self.save(job))?;
        }
        Ok(Ending::Finished)
    }

    fn batch(&mut self, index: u64, progress: &mut Progress) -> Result<(), TrainError> {
        let (loss, units) = self.material.step(index, &mut self.trainer, &mut self.run)?;
        let position = &mut self.run.meta.position;
        position.batch = index + 1;
        position.loss_sum += loss * units as f64;
        position.loss_weight += units as f64;
        progress.step(units, position.loss_sum / position.loss_weight);
        Ok(())
    }

    /// Measures, and moves the position to the next epoch.
    fn end_epoch(&mut self, progress: &mut Progress, watch: &mut Timings) -> Result<Verdict, TrainError> {
        self.trainer.fetch(&mut self.run)?;
        let held_out = watch.time("evaluation", || self.measure())?;
        let meta = &mut self.run.meta;
        let training = meta.position.loss_sum / meta.position.loss_weight.max(1.0);
        let measured = held_out.as_ref().map(Figures::loss);
        progress.end_epoch(training, measured);
        let details = held_out.map_or(String::new(), |figures| figures.details());
        if !details.is_empty() {
            progress.note(&format!("  held-out: {details}"));
        }
        let decisive = measured.unwrap_or(training);
        // `min` passes over what is not a number.
        let lowest = decisive < meta.history.iter().map(EpochLosses::decisive).fold(f64::INFINITY, f64::min);
        meta.history.push(EpochLosses { training, held_out: measured });
        meta.rate.end_epoch(decisive);
        meta.position.epoch += 1;
        (meta.position.batch, meta.position.loss_sum, meta.position.loss_weight) = (0, 0.0, 0.0);
        let rule = meta.settings.early_stopping;
        if rule.is_some() && lowest {
            let parameters = self.run.parameters.clone();
            self.run.best = Some(Best { epoch: meta.position.epoch, parameters });
        }
        let verdict = meta.patience.observe(decisive, rule);
        // The last epoch ends by itself.
        let over = meta.position.epoch >= meta.settings.epochs as u64;
        Ok(if over && verdict == Verdict::Stop { Verdict::Wait } else { verdict })
    }

    fn measure(&mut self) -> Result<Option<Figures>, TrainError> {
        let Some(evaluator) = &mut self.evaluator else { return Ok(None) };
        let position = self.run.meta.position;
        evaluator.trained_for(Position { epoch: position.epoch + 1, ..position });
        let figures = match &self.material {
            Material::Text { stream, .. } => evaluator.stream(&self.run.parameters, &stream.held_out)?,
            Material::Examples { examples, .. } => {
                let (data, range) = examples.held_out();
                evaluator.examples(&self.run.parameters, data, range)?
            }
        };
        Ok(Some(figures))
    }

    fn save(&mut self, job: &Job) -> Result<(), TrainError> {
        self.trainer.fetch(&mut self.run)?;
        self.run.carried = self.material.carried(self.run.meta.position.batch);
        Ok(self.run.save(&job.out)?)
    }
}
