//! What a trained model says of examples: classes, numbers and sequences, each drawn by its distribution.
//!
//! ```no_run
//! use rnnc::check::Mode;
//! use rnnc::driver::{corpus::{examples, Source}, machine::Machine, predict::{Predictor, Search}, session::Model};
//! use rnnc::runtime::checkpoint::Run;
//! let path = "run.safetensors".as_ref();
//! let run = Run::load(path)?;
//! let mut predictor = Predictor::new(&Model::of_run(path, &run.meta), run.weights(), &Machine::default(), 0)?;
//! let data = examples(&Source::Npz("new.npz".into()), predictor.inputs(), Default::default())?;
//! for prediction in predictor.predict(&data, &Search::default())? {
//!     println!("{:?}", prediction.samples[0].values);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What training observes by `~` is drawn here, each value after those that it reads. One that reads itself at
//! earlier positions is drawn step by step by `steps`, all else at once. Dropout and what else is for training
//! alone is off. Which tokens ids stand for is known to [`Tokens`]
//! and to what writes predictions, [`Report`].

mod beam;
mod choice;
mod drawn;
mod padded;
mod program;
mod report;
mod samples;
mod search;
mod stages;
mod steps;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

pub use choice::{Chance, Choice};
pub use drawn::{Distribution, Drawn};
pub use padded::Values;
pub use report::{Format, Report};
pub use search::{Beam, Search, SearchError};
pub use steps::Hypothesis;
pub use tokens::{Tokens, Unknown};

use self::drawn::element_of;
use self::program::Given;
use self::samples::{at_once, keep, most, of_steps};
use self::stages::{Builder, Showing, Stage, undrawable};
use self::steps::Orders;
use super::batch::{BatchError, threads};
use super::compile::{CompileError, Pipeline};
use super::data::Dataset;
use super::machine::Machine;
use super::session::{Model, SessionError};
use crate::check::Mode;
use crate::ir::Graph;
use crate::opt::{self, distribution};
use crate::runtime::checkpoint::Position;
use crate::runtime::parameters::Parameters;

/// Hypotheses that are run at once, about.
const ROWS: usize = 256;

/// Why there are no predictions.
#[derive(Debug, Error)]
pub enum PredictError {
    /// The model.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The compiler.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A run of a program.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A search that makes no sense.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A model that observes nothing.
    #[error("model `{0}` predicts nothing: it has no `y ~ …`")]
    NothingDrawn(String),
    /// What no search can draw.
    #[error("model `{model}`: `{name}` cannot be drawn: {reason}")]
    Undrawable {
        /// The model.
        model: String,
        /// The value.
        name: String,
        /// Why.
        reason: String,
    },
    /// Nothing for a beam, or too much.
    #[error(
        "a beam searches for the one sequence of ids that is drawn step by step, and model `{model}` has {found}; leave \
         `--beam` out"
    )]
    NoBeam {
        /// The model.
        model: String,
        /// `none` or `several`.
        found: &'static str,
    },
    /// Several sequences where other values are drawn by one.
    #[error("model `{0}` draws more by the sequence that a beam finds, so there is one: leave `--count` out")]
    SeveralBest(String),
    /// Where it ends is not known.
    #[error("how long `{0}` is to become is not known: give `--length`, or `--end` if an id ends it")]
    NoLength(String),
}

/// What was predicted of one value of an example.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Positions along each of its axes.
    pub lengths: Vec<usize>,
    /// The values of all positions, the last axis fastest.
    pub values: Values,
    /// Of ids the logarithms of their probabilities.
    pub logs: Vec<f64>,
    /// The parameters of the distributions, where it was drawn at once: logits or means.
    pub parameters: Vec<f32>,
    /// The logarithm of the probability of the whole, where it was drawn step by step.
    pub score: Option<f64>,
    /// Whether it has come to its end, or was not looked for one.
    pub ended: bool,
}

/// What was predicted of an example.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Its place in the data.
    pub example: usize,
    /// Which of several of it, from 0.
    pub number: usize,
    /// One for each of [`Predictor::drawn`].
    pub samples: Vec<Sample>,
    /// The value that is shown, for the best of an example.
    pub shown: Option<Shown>,
}

/// A value of an example.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The axes along which there is one.
    pub axes: Vec<String>,
    /// Positions along each.
    pub lengths: Vec<usize>,
    /// The shape at a position.
    pub shape: Vec<usize>,
    /// The values of all positions, the last axis fastest.
    pub values: Vec<f32>,
}

/// What else a prediction is told, by the names of the drawn values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The id that ends a sequence.
    pub ends: BTreeMap<String, u32>,
    /// What each sequence begins with, for each example.
    pub begin: BTreeMap<String, Vec<Values>>,
}

/// A compiled model that predicts.
pub struct Predictor {
    graph: Graph,
    drawn: Vec<Drawn>,
    stages: Vec<Stage>,
    shown: Option<Showing>,
}

impl Predictor {
    /// Compiles what is needed.
    ///
    /// # Errors
    /// The model is wrong, draws nothing, or needs to know what it is to draw.
    pub fn new(
        model: &Model,
        parameters: &Parameters,
        machine: &Machine,
        thread_count: usize,
    ) -> Result<Predictor, PredictError> {
        Predictor::showing(model, parameters, machine, thread_count, None)
    }

    /// The same, of which a value of this name is to be shown with every prediction, if there is one.
    ///
    /// # Errors
    /// As [`Predictor::new`].
    pub fn showing(
        model: &Model,
        parameters: &Parameters,
        machine: &Machine,
        thread_count: usize,
        show: Option<&str>,
    ) -> Result<Predictor, PredictError> {
        let graph = model.check(Mode::Generate)?.graph;
        let observed = model.observed()?;
        let names: Vec<&str> = observed.iter().map(|(name, _)| name.as_str()).collect();
        let nothing = || PredictError::NothingDrawn(graph.name.clone());
        let show: Vec<&str> = show.into_iter().collect();
        let open = opt::opened(&graph, &names, &show).filter(|_| !names.is_empty()).ok_or_else(nothing)?;
        let mut drawn = Vec::new();
        for (name, distribution) in &observed {
            let kind = Distribution::named(distribution);
            let reason = || format!("`{distribution}` is not a distribution that is drawn from");
            let unknown = || undrawable(&graph, name, reason());
            drawn.push(kind.and_then(|kind| Drawn::of(&open, name, kind)).ok_or_else(unknown)?);
        }
        let (parameters, pool) = (Arc::new(parameters.clone()), threads(thread_count)?);
        let pipeline = Pipeline { machine: machine.clone(), ..Pipeline::default() };
        let builder = Builder { model, open: &open, drawn: &drawn, parameters, pool, pipeline };
        let (stages, shown) = builder.build(&names, show.first().copied())?;
        Ok(Predictor { graph, drawn, stages, shown })
    }

    /// Says how long the model has been trained, for what follows a schedule.
    pub fn trained_for(&mut self, position: Position) {
        for stage in &mut self.stages {
            match stage {
                Stage::AtOnce(_, program) => program.position = position,
                Stage::InSteps(_, decoder, _) => decoder.trained_for(position),
            }
        }
        if let Some(shown) = &mut self.shown {
            shown.program.position = position;
        }
    }

    /// The program whose inputs are what is to be given.
    pub fn inputs(&self) -> &Graph {
        &self.graph
    }

    /// What is drawn, in the order of the text.
    pub fn drawn(&self) -> &[Drawn] {
        &self.drawn
    }

    /// The values that are drawn step by step until they end, for nothing given says how long they are.
    pub fn open_ended(&self) -> impl Iterator<Item = &Drawn> {
        let own = self.stages.iter().filter_map(|stage| match stage {
            Stage::InSteps(own, _, false) => Some(own),
            Stage::InSteps(..) | Stage::AtOnce(..) => None,
        });
        own.flatten().map(|&at| &self.drawn[at])
    }

    /// Predicts for all examples, the likeliest unless `search` says otherwise.
    ///
    /// # Errors
    /// As [`Predictor::predict_with`].
    pub fn predict(&mut self, data: &Dataset, search: &Search) -> Result<Vec<Prediction>, PredictError> {
        let mut all = Vec::new();
        let examples: Vec<usize> = (0..data.examples).collect();
        self.predict_with(data, &examples, search, &Known::default(), |own| all.extend(own), |_| true)?;
        Ok(all)
    }

    /// Predicts for some examples. `take` gets the predictions in the order of the examples, some at a time; `watch`
    /// sees every step of a sequence that is drawn until it ends ([`Predictor::open_ended`]) and may end all by `false`.
    ///
    /// # Errors
    /// A search that makes no sense or does not fit the model, or a program cannot be run.
    pub fn predict_with(
        &mut self,
        data: &Dataset,
        examples: &[usize],
        search: &Search,
        known: &Known,
        mut take: impl FnMut(Vec<Prediction>),
        mut watch: impl FnMut(&Hypothesis) -> bool,
    ) -> Result<(), PredictError> {
        search.check()?;
        if search.beam.is_some() {
            self.expect_one_sequence()?;
        }
        let last = matches!(self.stages.last(), Some(Stage::InSteps(..)));
        if search.beam.is_some() && search.count > 1 && !last {
            return Err(PredictError::SeveralBest(self.graph.name.clone()));
        }
        let copies = if search.beam.is_some() { 1 } else { search.count };
        let rows: Vec<(usize, usize)> =
            examples.iter().flat_map(|&example| (0..copies).map(move |copy| (example, copy))).collect();
        let width = search.beam.map_or(1, |beam| beam.width);
        for part in rows.chunks((ROWS / width).max(1)) {
            let found = self.part(data, part, search, known, &mut watch)?;
            take(found);
        }
        Ok(())
    }

    /// That there is one sequence of ids to search for.
    fn expect_one_sequence(&self) -> Result<(), PredictError> {
        let steps = self.stages.iter().filter_map(|stage| match stage {
            Stage::InSteps(own, ..) => Some(own),
            Stage::AtOnce(..) => None,
        });
        let drawn: Vec<&Drawn> = steps.flatten().map(|&at| &self.drawn[at]).collect();
        let found = match drawn[..] {
            [only] if only.classes().is_some() => return Ok(()),
            [] | [_] => "none",
            _ => "several",
        };
        Err(PredictError::NoBeam { model: self.graph.name.clone(), found })
    }

    fn part(
        &mut self,
        data: &Dataset,
        rows: &[(usize, usize)],
        search: &Search,
        known: &Known,
        watch: &mut dyn FnMut(&Hypothesis) -> bool,
    ) -> Result<Vec<Prediction>, PredictError> {
        let chosen: Vec<usize> = rows.iter().map(|&(example, _)| example).collect();
        let examples = data.select::<f32>(&chosen);
        let key = |&(example, copy): &(usize, usize)| (example * search.count + copy) as u64;
        let (drawn, lengths) = (Vec::new(), examples.lengths.clone());
        let keys = rows.iter().map(key).collect();
        let mut given = Given { examples: &examples, drawn, lengths, keys };
        // For each row, for each of the best of it, for each value.
        let mut samples: Vec<Vec<Vec<Option<Sample>>>> = vec![vec![vec![None; self.drawn.len()]]; rows.len()];
        for stage in &mut self.stages {
            match stage {
                Stage::AtOnce(own, program) => {
                    let all: Vec<usize> = (0..rows.len()).collect();
                    program.batch.lay_out(&given.lengths_for(program.batch.plan(), &all, None))?;
                    program.run(&given.feeds())?;
                    let mut found = Vec::new();
                    for &mut value in own {
                        let drawn = &self.drawn[value];
                        let parameters = program.value(&distribution(&drawn.name))?;
                        let (its, values) = at_once(drawn, value, &parameters, &given, search);
                        for (own, sample) in samples.iter_mut().zip(its) {
                            own.iter_mut().for_each(|own| own[value] = Some(sample.clone()));
                        }
                        found.push((drawn.name.clone(), values));
                    }
                    given.drawn.extend(found);
                }
                Stage::InSteps(own, decoder, is_known) => {
                    let most = match (*is_known, given.lengths.get(&decoder.axis)) {
                        (true, Some(lengths)) => lengths.clone(),
                        _ => most(decoder, &given, search, known)?,
                    };
                    let end = |drawn: &Drawn| known.ends.get(&drawn.name).copied().filter(|_| !*is_known);
                    let begin = |drawn: &Drawn| {
                        let all = known.begin.get(&drawn.name).filter(|_| !*is_known);
                        let none = || Values::empty(element_of(drawn.element), 0);
                        let of = |&example: &usize| all.map_or_else(none, |all| all[example].clone());
                        chosen.iter().map(of).collect::<Vec<Values>>()
                    };
                    let ends = decoder.drawn.iter().map(end).collect();
                    let begin: Vec<Vec<Values>> = decoder.drawn.iter().map(begin).collect();
                    // Only what is drawn for as long as it takes is watched.
                    let mut unseen = |_: &Hypothesis| true;
                    let watch = if *is_known { &mut unseen } else { &mut *watch };
                    let mut orders = Orders { search, most, ends, begin: begin.clone(), watch };
                    let found = decoder.decode(&given, &mut orders)?;
                    for (row, its) in found.iter().enumerate() {
                        let one = samples[row][0].clone();
                        samples[row] = vec![one; its.len()];
                        for (hypothesis, samples) in its.iter().zip(&mut samples[row]) {
                            for (at, &value) in own.iter().enumerate() {
                                let first = begin[at][row].len();
                                samples[value] = Some(of_steps(hypothesis, at, first));
                            }
                        }
                    }
                    keep(decoder, &found, &mut given);
                }
            }
        }
        let mut shown = match &mut self.shown {
            Some(showing) => showing.of(&given)?.into_iter().map(Some).collect(),
            None => vec![None; rows.len()],
        };
        let mut predictions = Vec::new();
        for (row, (&(example, copy), own)) in rows.iter().zip(samples).enumerate() {
            for (number, samples) in own.into_iter().enumerate() {
                let samples = samples.into_iter().flatten().collect();
                let shown = shown[row].take();
                predictions.push(Prediction { example, number: copy + number, samples, shown });
            }
        }
        Ok(predictions)
    }
}
