//! Predictions of a saved run for examples in a file, and how many of them are right.
//!
//! ```no_run
//! use rnnc::driver::{answer::{Request, answer}, corpus::Source, machine::Machine};
//! let request = Request::new(Source::Npz("new.npz".into()));
//! let out = |text: &str| { print!("{text}"); true };
//! answer("run.safetensors".as_ref(), &request, &Machine::default(), out, out)?;
//! # Ok::<(), rnnc::driver::answer::AnswerError>(())
//! ```
//!
//! What the model observes need not be in the file. A series that the model draws may go on from what is
//! there of it (`ahead`). A value over two axes, such as the weights of attention, can be shown below each prediction.

use std::path::Path;

use thiserror::Error;

use super::corpus::{self, CorpusError, Source};
use super::data::{self, Dataset};
use super::machine::Machine;
use super::predict::{
    Drawn, Format, Known, PredictError, Prediction, Predictor, Report, Search, Shown, Tokens, Values,
};
use super::session::{Model, SessionError, parameter_specs};
use crate::check::{Mode, nearest};
use crate::ir::{Graph, OutputKind};
use crate::runtime::checkpoint::{CheckpointError, Run};
use crate::runtime::shades::{Side, figure, shaded};
use crate::runtime::weights::WeightsError;

/// What is to be predicted.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The examples.
    pub input: Source,
    /// How to search.
    pub search: Search,
    /// The token that ends a sequence, where the run does not know one.
    pub end: Option<String>,
    /// So many positions behind those that the file has.
    pub ahead: Option<usize>,
    /// How predictions are written.
    pub format: Format,
    /// With the probabilities of all classes.
    pub probabilities: bool,
    /// A value to show below each prediction.
    pub show: Option<String>,
    /// Threads; 0 is one for each core.
    pub threads: usize,
}

impl Request {
    /// The likeliest for these examples, as CSV.
    pub fn new(input: Source) -> Request {
        Request {
            input,
            search: Search::default(),
            end: None,
            ahead: None,
            format: Format::Csv,
            probabilities: false,
            show: None,
            threads: 0,
        }
    }
}

/// Why there are no predictions.
#[derive(Debug, Error)]
pub enum AnswerError {
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
    /// Nothing goes on.
    #[error("model `{0}` draws nothing that goes on from what is given of it: leave `--ahead` out")]
    NothingAhead(String),
    /// Nothing of this name to show.
    #[error("model `{model}` has no value `{name}` to show{}", .near.as_ref().map_or_else(String::new, |near| format!("; did you mean `{near}`?")))]
    NotShown {
        /// The model.
        model: String,
        /// What was asked for.
        name: String,
        /// One that there is.
        near: Option<String>,
    },
    /// What is shown is no map.
    #[error("`{name}` has {found}: a map has two sides, axes or dimensions")]
    NoMap {
        /// The value.
        name: String,
        /// Its sides.
        found: String,
    },
    /// Nothing to compare with.
    #[error("model `{0}` draws no ids, which could be right or wrong: leave `--decode` out")]
    NothingToCompare(String),
}

impl From<PredictError> for AnswerError {
    fn from(error: PredictError) -> AnswerError {
        match error {
            PredictError::Session(error) => error.into(),
            other => AnswerError::Predict(other),
        }
    }
}

/// A run that answers.
pub(super) struct Answering {
    /// The run.
    pub run: Run,
    /// Its model, which draws.
    pub predictor: Predictor,
    /// The program that observes what this one draws.
    pub observes: Graph,
}

impl Answering {
    /// Opens a run; a value of the name `show`, if any, is to be shown with every prediction.
    pub fn load(
        path: &Path,
        machine: &Machine,
        threads: usize,
        show: Option<&str>,
    ) -> Result<Answering, AnswerError> {
        let mut run = Run::load(path)?;
        let model = Model::of_run(path, &run.meta);
        let observes = model.check(Mode::Evaluate)?.graph;
        run.expect_model(path, parameter_specs(&observes))?;
        if let Some(name) = show {
            expect_map(&model, name)?;
        }
        let mut predictor = Predictor::showing(&model, run.weights(), machine, threads, show)?;
        predictor.trained_for(run.meta.position);
        Ok(Answering { run, predictor, observes })
    }

    /// The ids that end sequences: of the token `end`, else those that the run knows.
    pub fn known(&self, end: Option<&str>) -> Result<Known, AnswerError> {
        let tokens = Tokens::of(&self.run.meta);
        let mut known = Known::default();
        for drawn in self.predictor.open_ended() {
            let Some(count) = drawn.classes() else { continue };
            let found = match end {
                None => tokens.end(&drawn.name),
                Some(token) => {
                    Some(tokens.id(&drawn.name, token, count).ok_or_else(|| AnswerError::End {
                        token: token.to_string(),
                        input: drawn.name.clone(),
                        last: count.saturating_sub(1),
                    })?)
                }
            };
            known.ends.extend(found.map(|id| (drawn.name.clone(), id)));
        }
        Ok(known)
    }

    /// Examples with what the model draws in them.
    fn answered(&self, source: &Source) -> Result<Dataset, AnswerError> {
        Ok(corpus::examples(source, &self.observes, corpus::Known::of(&self.run.meta))?)
    }

    /// Examples of what the model is given. What it draws may be there, too, and is not looked at.
    pub fn questions(&self, source: &Source) -> Result<Dataset, AnswerError> {
        let (predictor, known) = (&self.predictor, corpus::Known::of(&self.run.meta));
        if let Source::Npz(path) = source {
            let open: Vec<&str> =
                predictor.open_ended().flat_map(|drawn| &drawn.axes).map(String::as_str).collect();
            let loaded = Dataset::load_open(path, predictor.inputs(), &open);
            return Ok(loaded.map_err(CorpusError::from)?);
        }
        if !matches!(source, Source::Table(..) | Source::Lines(_)) {
            return Ok(corpus::examples(source, predictor.inputs(), known)?);
        }
        let known = corpus::Known { answers_may_be_missing: true, ..known };
        let mut data = corpus::examples(source, &self.observes, known)?;
        forget(&mut data, predictor);
        Ok(data)
    }
}

/// Predicts; `write` gets lines, `show` maps, and either may end it by `false`.
///
/// # Errors
/// The run or the examples cannot be read or do not fit together, or what is asked for makes no sense.
pub fn answer(
    path: &Path,
    request: &Request,
    machine: &Machine,
    mut write: impl FnMut(&str) -> bool,
    mut show: impl FnMut(&str) -> bool,
) -> Result<(), AnswerError> {
    request.search.check().map_err(PredictError::from)?;
    let mut own = Answering::load(path, machine, request.threads, request.show.as_deref())?;
    let mut known = own.known(request.end.as_deref())?;
    let mut search = request.search.clone();
    let open: Vec<String> = own.predictor.open_ended().map(|drawn| drawn.name.clone()).collect();
    let data = match request.ahead {
        None => own.questions(&request.input)?,
        Some(_) if open.is_empty() => return Err(AnswerError::NothingAhead(own.observes.name.clone())),
        Some(ahead) => {
            let mut data = own.answered(&request.input)?;
            search.length = Some(ahead);
            for name in &open {
                known.begin.insert(name.clone(), history(&data, name, known.ends.get(name).copied()));
            }
            forget(&mut data, &own.predictor);
            data
        }
    };
    let tokens = Tokens::of(&own.run.meta);
    let drawn = own.predictor.drawn().iter();
    let report = Report {
        format: request.format,
        probabilities: request.probabilities,
        numbered: request.search.count > 1,
        drawn: drawn.map(|drawn| (drawn.clone(), open.contains(&drawn.name))).collect(),
        tokens,
    };
    // A search that makes no sense is refused before anything is written.
    let mut header = Some(report.header());
    let mut go_on = true;
    let examples: Vec<usize> = (0..data.examples).collect();
    let take = |all: Vec<Prediction>| {
        if let Some(header) = header.take() {
            go_on = write(&header);
        }
        for prediction in all {
            go_on = go_on && write(&report.line(&prediction));
            if let (Some(name), Some(shown)) = (&request.show, &prediction.shown) {
                go_on = go_on && show(&map(name, shown, &prediction, &report, &data));
            }
        }
    };
    own.predictor.predict_with(&data, &examples, &search, &known, take, |_| true)?;
    Ok(())
}

/// Takes out what a model draws, and how long it is where only that is known.
fn forget(data: &mut Dataset, predictor: &Predictor) {
    let open =
        predictor.open_ended().filter(|drawn| data.inputs.iter().any(|input| input.name == drawn.name));
    let axes: Vec<String> = open.flat_map(|drawn| drawn.axes.clone()).collect();
    data.inputs.retain(|input| predictor.drawn().iter().all(|drawn| drawn.name != input.name));
    data.lengths.retain(|axis, _| !axes.contains(axis));
}

/// What there is of an input in each example, up to the id that ends it.
fn history(data: &Dataset, name: &str, end: Option<u32>) -> Vec<Values> {
    let Some(input) = data.inputs.iter().find(|input| input.name == name) else { return Vec::new() };
    let of = |example: usize| {
        let rows = data.rows(input, example);
        match &input.values {
            data::Values::Ids(ids) => {
                let ids = rows.into_iter().map(|row| ids[row]);
                Values::Ids(ids.take_while(|id| Some(*id) != end).collect())
            }
            data::Values::Real(values) => {
                let row = |row: usize| &values[row * input.width..(row + 1) * input.width];
                Values::Real(rows.into_iter().flat_map(row).map(|&value| value as f32).collect())
            }
        }
    };
    (0..data.examples).map(of).collect()
}

/// That a value of this name can be shown as a map.
fn expect_map(model: &Model, name: &str) -> Result<(), AnswerError> {
    let graph = model.check(Mode::Generate)?.graph;
    let Some(value) = graph.output(OutputKind::Value, name) else {
        let names: Vec<&str> =
            graph.outputs_of(OutputKind::Value).map(|output| output.name.as_str()).collect();
        let ends = |own: &&&str| own.rsplit('.').next() == Some(name);
        let near = names.iter().find(ends).copied().or_else(|| nearest(name, names.iter().copied()));
        let near = near.map(str::to_string);
        return Err(AnswerError::NotShown { model: graph.name.clone(), name: name.to_string(), near });
    };
    let ty = graph.type_at(value);
    let axes =
        ty.axes.without(crate::ir::BATCH).iter().map(|axis| format!("axis `{}`", graph.axis_name(axis)));
    let sides: Vec<String> = axes
        .chain(ty.shape.iter().filter(|&&size| size > 1).map(|size| format!("dimension {size}")))
        .collect();
    match sides.len() {
        2 => Ok(()),
        0 => Err(AnswerError::NoMap { name: name.to_string(), found: "a single number".to_string() }),
        _ => Err(AnswerError::NoMap { name: name.to_string(), found: sides.join(", ") }),
    }
}

/// A value that is shown, with the tokens along its sides.
fn map(name: &str, shown: &Shown, prediction: &Prediction, report: &Report, data: &Dataset) -> String {
    let labels = |axis: &str| -> Vec<String> {
        let over = |axes: &[String]| axes.len() == 1 && axes[0] == axis;
        let drawn = report.drawn.iter().position(|(drawn, _)| over(&drawn.axes) && drawn.classes().is_some());
        if let Some(at) = drawn {
            let own: &Drawn = &report.drawn[at].0;
            let ids = prediction.samples[at].values.ids();
            return ids.iter().map(|&id| report.tokens.shown(&own.name, id)).collect();
        }
        let own = data.inputs.iter().find(|input| {
            input.axes.len() == 1
                && input.axes[0].name == axis
                && matches!(input.values, data::Values::Ids(_))
        });
        let (Some(input), Some(data::Values::Ids(ids))) = (own, own.map(|own| &own.values)) else {
            return Vec::new();
        };
        let rows = data.rows(input, prediction.example);
        rows.into_iter().map(|row| report.tokens.shown(&input.name, ids[row])).collect()
    };
    let axes = shown.axes.iter().zip(&shown.lengths).map(|(axis, &count)| {
        let found = labels(axis);
        let labels = if found.len() == count { found } else { Vec::new() };
        Side { name: axis.clone(), count, labels }
    });
    let elements = shown.shape.iter().filter(|&&size| size > 1);
    let elements = elements.map(|&count| Side { name: "element".to_string(), count, labels: Vec::new() });
    let sides: Vec<Side> = axes.chain(elements).collect();
    let [first, second] = &sides[..] else { return String::new() };
    let numbers: Vec<f64> = shown.values.iter().map(|&value| f64::from(value)).collect();
    if numbers.is_empty() {
        return format!("{name} has no position\n");
    }
    // What is drawn runs down, as it is read.
    let is_drawn = |side: &Side| report.drawn.iter().any(|(drawn, _)| drawn.axes.contains(&side.name));
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let title = |rows: &Side, columns: &Side| {
        format!(
            "{name}: {} down, {} across, from {} to {}",
            rows.name,
            columns.name,
            figure(low),
            figure(high)
        )
    };
    if is_drawn(second) && !is_drawn(first) {
        let turned = (0..second.count).flat_map(|row| (0..first.count).map(move |column| (row, column)));
        let turned: Vec<f64> = turned.map(|(row, column)| numbers[column * second.count + row]).collect();
        return shaded(&title(second, first), second, first, &turned, "");
    }
    shaded(&title(first, second), first, second, &numbers, "")
}

/// How often what is drawn is what was observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Exactness {
    /// The drawn value.
    pub name: String,
    /// Examples.
    pub examples: usize,
    /// The part of them in which every position is right.
    pub exact: f64,
    /// Insertions, deletions and replacements that it takes to the right sequences, for each of their tokens.
    pub edits: f64,
}

/// Compares predictions with the answers in `source`.
///
/// # Errors
/// As [`answer`], or the model draws no ids.
pub fn exactness(
    path: &Path,
    source: &Source,
    search: &Search,
    end: Option<&str>,
    threads: usize,
    machine: &Machine,
) -> Result<Vec<Exactness>, AnswerError> {
    search.check().map_err(PredictError::from)?;
    let mut own = Answering::load(path, machine, threads, None)?;
    let known = own.known(end)?;
    let right = own.answered(source)?;
    let drawn: Vec<Drawn> = own.predictor.drawn().to_vec();
    if drawn.iter().all(|drawn| drawn.classes().is_none()) {
        return Err(AnswerError::NothingToCompare(own.observes.name.clone()));
    }
    let mut data = right.clone();
    forget(&mut data, &own.predictor);
    let of = |drawn: &Drawn| history(&right, &drawn.name, known.ends.get(&drawn.name).copied());
    let answers: Vec<Vec<Values>> = drawn.iter().map(of).collect();
    let mut sums = vec![(0usize, 0usize, 0usize); drawn.len()];
    let take = |all: Vec<Prediction>| {
        for prediction in all.iter().filter(|prediction| prediction.number == 0) {
            for ((answers, sample), sums) in answers.iter().zip(&prediction.samples).zip(&mut sums) {
                let (wanted, found) =
                    (answers[prediction.example].ids().to_vec(), sample.values.ids().to_vec());
                let edits = strsim::generic_levenshtein::<Vec<u32>, Vec<u32>, &u32, &u32>(&wanted, &found);
                let (exact, all, tokens) = sums;
                *exact += usize::from(edits == 0);
                *all += edits;
                *tokens += wanted.len();
            }
        }
    };
    let examples: Vec<usize> = (0..data.examples).collect();
    own.predictor.predict_with(&data, &examples, search, &known, take, |_| true)?;
    let ids = drawn.iter().zip(&sums).filter(|(drawn, _)| drawn.classes().is_some());
    let of = |(drawn, &(exact, edits, tokens)): (&Drawn, &(usize, usize, usize))| Exactness {
        name: drawn.name.clone(),
        examples: examples.len(),
        exact: exact as f64 / examples.len().max(1) as f64,
        edits: edits as f64 / tokens.max(1) as f64,
    };
    Ok(ids.map(of).collect())
}
