//! Text from a trained model: what `~` observes in training is drawn here, step by step.
//!
//! ```no_run
//! use rnnc::driver::{generate::{Request, generate}, machine::Machine};
//! let request = Request { length: 200, temperature: 0.8, seed: 1, prompt: "ROMEO:".into() };
//! let mut text = String::new();
//! generate("run.safetensors".as_ref(), &request, &Machine::default(), |piece| { text.push_str(piece); true })?;
//! # Ok::<(), rnnc::driver::generate::GenerateError>(())
//! ```
//!
//! The prompt is read by the program that observes, one chunk; its states are handed to the program that
//! draws, which runs one step at a time with its states carried. Temperature 0 takes the likeliest. Models
//! with inputs besides the text they write are not for this.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::batch::{BatchError, Feed, threads};
use super::carried::Carried;
use super::compile::{CompileError, Pipeline};
use super::evaluate::{chunked, parameter_ranges, slices};
use super::machine::Machine;
use super::session::{Model, SessionError, parameter_specs};
use crate::check::Mode;
use crate::ir::OutputKind;
use crate::runtime::checkpoint::{CheckpointError, Run};
use crate::runtime::layout::Lengths;
use crate::runtime::text::{TextError, Vocabulary};
use crate::runtime::weights::WeightsError;

/// What to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Characters to draw.
    pub length: usize,
    /// 1 draws as the model says; lower is surer, 0 always takes the likeliest.
    pub temperature: f64,
    /// Seed of the draws.
    pub seed: u64,
    /// What the text begins with (ids between blanks where the model has no characters).
    pub prompt: String,
}

/// Why nothing can be written.
#[derive(Debug, Error)]
pub enum GenerateError {
    /// The run's file.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The run's parameters.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The model.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The compiler.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A run of a program.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A prompt that is no text of the model.
    #[error("the prompt: {0}")]
    Prompt(TextError),
    /// A prompt that is no list of ids.
    #[error("the prompt: `{word}` is not an id from 0 to {last}; the model of {} has no characters", run.display())]
    Ids {
        /// The run's file.
        run: PathBuf,
        /// The word.
        word: String,
        /// The largest id.
        last: usize,
    },
    /// A model that only reads its input.
    #[error("model `{model}` draws nothing: it has no `{input}[t] ~ categorical(…)`")]
    NothingDrawn {
        /// The model.
        model: String,
        /// Its input.
        input: String,
    },
    /// A fault of the compiler.
    #[error("internal: the programs that read and that write `{0}` carry different states")]
    States(String),
}

/// Writes as `request` says; `write` gets the text piece by piece and may end it by `false`.
///
/// # Errors
/// The run cannot be loaded, is not of a model that writes, or the prompt is not in its vocabulary.
pub fn generate(
    path: &Path,
    request: &Request,
    machine: &Machine,
    mut write: impl FnMut(&str) -> bool,
) -> Result<(), GenerateError> {
    let mut run = Run::load(path)?;
    let model = Model::of_run(path, &run.meta);
    model.without_trees()?;
    let input = model.text_input()?;
    let mut read = model.check(Mode::Evaluate)?.graph;
    run.expect_model(path, parameter_specs(&read))?;
    let mut draw = model.check(Mode::Generate)?.graph;
    draw.outputs.retain(|output| output.kind == OutputKind::Value && output.name == input.name);
    if draw.outputs.is_empty() || !draw.inputs.is_empty() {
        let (model, input) = (read.name, input.name);
        return Err(GenerateError::NothingDrawn { model, input });
    }
    let pool = threads(1)?;
    let vocabulary = run.meta.vocabulary.as_ref();
    let ids = prompt(path, request, vocabulary, read.dims.iter().map(|(_, size)| *size).max())?;

    let draw = chunked(&model, &draw, &input)?;
    let name = format!("{}_generate", draw.name);
    let mut pipeline = Pipeline { machine: machine.clone(), ..Pipeline::default() };
    let mut batch = pipeline.batch::<f32>(&draw, &[OutputKind::Value, OutputKind::Carry], &name, &pool)?;
    let ranges = parameter_ranges(&batch, run.weights());
    let mut carried = Carried::new(batch.plan(), 1);
    if !ids.is_empty() {
        // Only the states are wanted.
        read.outputs.clear();
        let read = chunked(&model, &read, &input)?;
        let name = format!("{}_read", read.name);
        let mut batch = pipeline.batch::<f32>(&read, &[OutputKind::Carry], &name, &pool)?;
        let ranges = parameter_ranges(&batch, run.weights());
        let mut states = Carried::new(batch.plan(), 1);
        batch.lay_out(&Lengths::uniform(1, &[ids.len()]))?;
        batch.set_progress(run.meta.position.epoch as f64, run.meta.position.step)?;
        let mut feeds = states.feeds();
        feeds.push((&input.name, Feed::Ids(&ids)));
        batch.run(&feeds, &slices(run.weights(), &ranges))?;
        states.take(&batch)?;
        if !carried.adopt(&states) {
            return Err(GenerateError::States(read.name));
        }
        if !write(&request.prompt) {
            return Ok(());
        }
    }

    let values = slices(run.weights(), &ranges);
    let output = format!("value:{}", input.name);
    batch.hold_parameters();
    batch.lay_out(&Lengths::uniform(1, &[1]))?;
    batch.set_scalar("temperature", request.temperature)?;
    batch.set_progress(run.meta.position.epoch as f64, run.meta.position.step)?;
    for step in 0..request.length {
        batch.set_random(request.seed, step as u64)?;
        batch.run(&carried.feeds(), &values)?;
        let drawn = batch.ids(&output)?;
        carried.take(&batch)?;
        let piece = match vocabulary {
            Some(vocabulary) => vocabulary.decode(&drawn),
            None => drawn.iter().map(|id| format!(" {id}")).collect(),
        };
        if !write(&piece) {
            break;
        }
    }
    Ok(())
}

/// The prompt as ids.
fn prompt(
    path: &Path,
    request: &Request,
    vocabulary: Option<&Vocabulary>,
    most: Option<usize>,
) -> Result<Vec<u32>, GenerateError> {
    if let Some(vocabulary) = vocabulary {
        return vocabulary.encode(&request.prompt).map_err(GenerateError::Prompt);
    }
    let most = most.unwrap_or(0);
    let id = |word: &str| {
        word.parse().ok().filter(|&id: &u32| (id as usize) < most).ok_or_else(|| GenerateError::Ids {
            run: path.to_path_buf(),
            word: word.to_string(),
            last: most.saturating_sub(1),
        })
    };
    request.prompt.split_whitespace().map(id).collect()
}
