//! Sequences from a trained model: what `~` observes in training is drawn here, step by step.
//!
//! ```no_run
//! use rnnc::driver::{generate::{Request, generate}, machine::Machine, predict::Search};
//! let search = Search { length: Some(200), ..Search::default() };
//! let request = Request { search, prompt: "ROMEO:".into(), ..Request::default() };
//! let mut text = String::new();
//! generate("run.safetensors".as_ref(), &request, &Machine::default(), |piece| { text.push_str(piece); true })?;
//! # Ok::<(), rnnc::driver::generate::GenerateError>(())
//! ```
//!
//! A text that is the only one is written as it is drawn, several are written when they are done, a line each. A
//! model that reads other things is given examples of these, and writes one or several for each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::answer::questions;
use super::corpus::{CorpusError, Source};
use super::data::{Dataset, Trees};
use super::machine::Machine;
use super::predict::{
    Drawn, Hypothesis, Known, PredictError, Prediction, Predictor, Search, Tokens, Unknown, Values,
};
use super::session::{Model, SessionError, parameter_specs};
use crate::check::Mode;
use crate::runtime::checkpoint::{CheckpointError, Run};
use crate::runtime::text::TextError;
use crate::runtime::weights::WeightsError;

/// What to write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// How to search, how much and how many.
    pub search: Search,
    /// What a text begins with (ids between blanks where the model has no tokens).
    pub prompt: String,
    /// The token that ends a text.
    pub end: Option<String>,
    /// What the model reads besides, one example for each text.
    pub input: Option<Source>,
    /// Threads; 0 is one for each core.
    pub threads: usize,
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
    /// The prediction.
    #[error(transparent)]
    Predict(PredictError),
    /// The examples.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
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
    /// A token that is none.
    #[error("`--end {token}`: `{input}` has no such token, or id from 0 to {last}")]
    End {
        /// What was given.
        token: String,
        /// The input.
        input: String,
        /// The largest id.
        last: usize,
    },
    /// A model that writes nothing.
    #[error(
        "model `{model}` writes no sequence of its own: it has no `{input}[t] ~ categorical(…)` over an axis on which nothing is given"
    )]
    NothingDrawn {
        /// The model.
        model: String,
        /// Its input.
        input: String,
    },
    /// A model that only answers.
    #[error(
        "model `{model}` writes no sequence of its own; its inputs are {inputs}: `rnnc predict` says what it makes of them"
    )]
    Answers {
        /// The model.
        model: String,
        /// Its inputs.
        inputs: String,
    },
    /// Examples are missing.
    #[error("model `{model}` writes for what it reads, {inputs}: give examples of it with --input")]
    NoExamples {
        /// The model.
        model: String,
        /// What it reads.
        inputs: String,
    },
}

impl From<PredictError> for GenerateError {
    fn from(error: PredictError) -> GenerateError {
        match error {
            PredictError::Session(error) => error.into(),
            other => GenerateError::Predict(other),
        }
    }
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
    request.search.check().map_err(PredictError::from)?;
    let mut run = Run::load(path)?;
    let model = Model::of_run(path, &run.meta);
    let read = model.check(Mode::Evaluate)?.graph;
    run.expect_model(path, parameter_specs(&read))?;
    let mut predictor = match Predictor::new(&model, run.weights(), machine, request.threads) {
        Err(PredictError::NothingDrawn(model)) => {
            let input = read.inputs.first().map_or("text".to_string(), |input| input.name.clone());
            return Err(GenerateError::NothingDrawn { model, input });
        }
        other => other?,
    };
    predictor.trained_for(run.meta.position);
    let written = predictor.open_ended().find(|drawn| drawn.classes().is_some()).cloned();
    let Some(written) = written else {
        model.without_trees()?;
        let names = read.inputs.iter().map(|input| format!("`{}`", input.name));
        let inputs = names.collect::<Vec<_>>().join(", ");
        return Err(GenerateError::Answers { model: read.name.clone(), inputs });
    };
    let data = match &request.input {
        Some(source) => questions(source, &predictor, &read, &run.meta)?,
        None if predictor.inputs().inputs.is_empty() => {
            Dataset::new(predictor.inputs(), 1, BTreeMap::new(), Trees::new())
        }
        None => {
            let names = predictor.inputs().inputs.iter().map(|input| format!("`{}`", input.name));
            let inputs = names.collect::<Vec<_>>().join(", ");
            return Err(GenerateError::NoExamples { model: read.name.clone(), inputs });
        }
    };
    let writer = Writer { path, tokens: Tokens::of(&run.meta), written: &written };
    let begin = Values::Ids(writer.prompt(&request.prompt)?);
    let end = match &request.end {
        Some(token) => Some(writer.id(token)?),
        None => writer.tokens.end(&written.name),
    };
    let known = Known {
        ends: end.map(|id| (written.name.clone(), id)).into_iter().collect(),
        begin: BTreeMap::from([(written.name.clone(), vec![begin; data.examples])]),
    };
    let place = predictor.drawn().iter().position(|drawn| drawn.name == written.name).unwrap_or(0);
    let examples: Vec<usize> = (0..data.examples).collect();
    let single = data.examples * request.search.count == 1;
    if single && request.search.beam.is_none() && predictor.open_ended().count() == 1 {
        let mut go_on = request.prompt.is_empty() || write(&request.prompt);
        let mut shown = 0;
        let watch = |own: &Hypothesis| {
            let ids = own.values.iter().find_map(|values| match values {
                Values::Ids(ids) => Some(ids),
                Values::Real(_) => None,
            });
            let ids = ids.map_or(&[][..], |ids| &ids[..]);
            let new = &ids[ids.len().saturating_sub(own.steps - shown)..];
            shown = own.steps;
            go_on = go_on && write(&writer.piece(new));
            go_on
        };
        predictor.predict_with(&data, &examples, &request.search, &known, |_| {}, watch)?;
        if go_on {
            write("\n");
        }
        return Ok(());
    }
    let mut go_on = true;
    let take = |all: Vec<Prediction>| {
        for own in all {
            let text = request.prompt.clone() + &writer.piece(own.samples[place].values.ids());
            let text = if single { text } else { text.replace('\\', "\\\\").replace('\n', "\\n") };
            go_on = go_on && write(&(text + "\n"));
        }
    };
    predictor.predict_with(&data, &examples, &request.search, &known, take, |_| true)?;
    Ok(())
}

/// Writes ids.
struct Writer<'r> {
    path: &'r Path,
    tokens: Tokens<'r>,
    written: &'r Drawn,
}

impl Writer<'_> {
    /// A piece of text.
    fn piece(&self, ids: &[u32]) -> String {
        let numbers = || ids.iter().map(|id| format!(" {id}")).collect();
        self.tokens.text(&self.written.name, ids).unwrap_or_else(numbers)
    }

    /// The prompt as ids.
    fn prompt(&self, prompt: &str) -> Result<Vec<u32>, GenerateError> {
        let count = self.written.classes().unwrap_or(0);
        self.tokens.ids(&self.written.name, prompt, count).map_err(|unknown| match unknown {
            Unknown::Text(error) => GenerateError::Prompt(error),
            Unknown::Id(word) => {
                GenerateError::Ids { run: self.path.to_path_buf(), word, last: count.saturating_sub(1) }
            }
        })
    }

    fn id(&self, token: &str) -> Result<u32, GenerateError> {
        let (input, count) = (self.written.name.clone(), self.written.classes().unwrap_or(0));
        let last = count.saturating_sub(1);
        let found = self.tokens.id(&input, token, count);
        found.ok_or_else(|| GenerateError::End { token: token.to_string(), input, last })
    }
}
