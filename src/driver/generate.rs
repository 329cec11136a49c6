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

use super::answer::{AnswerError, Answering};
use super::corpus::Source;
use super::data::{Dataset, Trees};
use super::machine::Machine;
use super::predict::{Drawn, Hypothesis, PredictError, Prediction, Search, Tokens, Unknown, Values};
use super::session::Model;
use crate::ir::Graph;
use crate::runtime::text::TextError;

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
    /// The run, what it is given, or the search.
    #[error(transparent)]
    Answer(#[from] AnswerError),
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
    request.search.check().map_err(PredictError::from).map_err(AnswerError::from)?;
    let mut own = Answering::load(path, machine, request.threads, None)?;
    let written = own.predictor.open_ended().find(|drawn| drawn.classes().is_some()).cloned();
    let Some(written) = written else {
        Model::of_run(path, &own.run.meta).without_trees().map_err(AnswerError::from)?;
        let (model, inputs) = (own.observes.name.clone(), names(&own.observes));
        return Err(GenerateError::Answers { model, inputs });
    };
    let data = match &request.input {
        Some(source) => own.questions(source)?,
        None if own.predictor.inputs().inputs.is_empty() => {
            Dataset::new(own.predictor.inputs(), 1, BTreeMap::new(), Trees::new())
        }
        None => {
            let (model, inputs) = (own.observes.name.clone(), names(own.predictor.inputs()));
            return Err(GenerateError::NoExamples { model, inputs });
        }
    };
    let mut known = own.known(request.end.as_deref())?;
    let writer = Writer { path, tokens: Tokens::of(&own.run.meta), written: &written };
    let prompt = writer.prompt(&request.prompt)?;
    let begin = vec![Values::Ids(prompt.clone()); data.examples];
    known.begin = BTreeMap::from([(written.name.clone(), begin)]);
    let predictor = &mut own.predictor;
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
            let (before, new) = ids.split_at(ids.len().saturating_sub(own.steps - shown));
            shown = own.steps;
            go_on = go_on && write(&writer.piece(before, new));
            go_on
        };
        predictor
            .predict_with(&data, &examples, &request.search, &known, |_| {}, watch)
            .map_err(AnswerError::from)?;
        if go_on {
            write("\n");
        }
        return Ok(());
    }
    let mut go_on = true;
    let take = |all: Vec<Prediction>| {
        for own in all {
            let text = request.prompt.clone() + &writer.piece(&prompt, own.samples[place].values.ids());
            let text = if single { text } else { text.replace('\\', "\\\\").replace('\n', "\\n") };
            go_on = go_on && write(&(text + "\n"));
        }
    };
    predictor
        .predict_with(&data, &examples, &request.search, &known, take, |_| true)
        .map_err(AnswerError::from)?;
    Ok(())
}

/// The inputs of a program, in words.
fn names(graph: &Graph) -> String {
    let names: Vec<String> = graph.inputs.iter().map(|input| format!("`{}`", input.name)).collect();
    names.join(", ")
}

/// Writes ids.
struct Writer<'r> {
    path: &'r Path,
    tokens: Tokens<'r>,
    written: &'r Drawn,
}

impl Writer<'_> {
    /// The text of ids that stand behind others, with what is between the two.
    fn piece(&self, before: &[u32], ids: &[u32]) -> String {
        let numbers = |ids: &[u32]| ids.iter().map(|id| format!(" {id}")).collect();
        let text = |ids: &[u32]| self.tokens.text(&self.written.name, ids).unwrap_or_else(|| numbers(ids));
        let Some(&last) = before.last() else { return text(ids) };
        let whole = text(&[&[last], ids].concat());
        whole.strip_prefix(&text(&[last])).map_or_else(|| text(ids), str::to_string)
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
}
