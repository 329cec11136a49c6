//! Losses and metrics of a model on data it was not trained on.
//!
//! ```no_run
//! use rnnc::driver::{evaluate::evaluate, machine::Machine};
//! let found = evaluate("run.safetensors".as_ref(), None, 2, &Machine::default())?;
//! println!("{}: {:.4}", found.what, found.figures.loss());
//! # Ok::<(), rnnc::driver::evaluate::EvaluateError>(())
//! ```
//!
//! A text is read as one stream from beginning to end with its state carried along, so that every character
//! is predicted from all before it; examples are read in batches. Figures are exact means over everything
//! observed. Nothing is trained or drawn here.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::ThreadPool;
use thiserror::Error;

use super::batch::{Batch, BatchError, Feed, threads};
use super::carried::Carried;
use super::compile::{CompileError, Pipeline};
use super::corpus::{self, CorpusError, Examples, Known, Source, Stream};
use super::data::Dataset;
use super::figures::{Figures, Tally};
use super::machine::Machine;
use super::session::{Model, SessionError, TextInput, parameter_specs};
use crate::check::Mode;
use crate::ir::{Graph, OutputKind};
use crate::runtime::checkpoint::{CheckpointError, Position, Run};
use crate::runtime::layout::Lengths;
use crate::runtime::parameters::Parameters;
use crate::runtime::program::Real;
use crate::runtime::text::Streams;
use crate::runtime::weights::WeightsError;

/// Steps of a stream that are run at once.
const CHUNK: usize = 256;
/// Examples that are run at once.
const EXAMPLES: usize = 64;

/// Why there are no figures.
#[derive(Debug, Error)]
pub enum EvaluateError {
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
    /// A run of the program.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The data.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// Data of another kind than a run was trained on.
    #[error("{}: the run was trained on {trained}, so it is measured on such data", run.display())]
    Kind {
        /// The run's file.
        run: PathBuf,
        /// `a text (--text)`, `examples (--npz)`, `trees (--trees)` or `records (--data, --lines)`.
        trained: &'static str,
    },
    /// A run that held nothing out.
    #[error("{}: nothing was held out in training; give the data to measure by", run.display())]
    NothingHeldOut {
        /// The run's file.
        run: PathBuf,
    },
}

/// The program for one chunk of a text.
///
/// # Errors
/// The model looks ahead: what does, with its place.
pub fn chunked(model: &Model, graph: &Graph, input: &TextInput) -> Result<Graph, SessionError> {
    let cure = "a text is one long sequence that is read chunk by chunk; a model that looks at all of a \
                sequence is trained on examples (--data, --npz)";
    match graph.find_axis(&input.axis) {
        Some(axis) => model.cut(graph, axis, cure),
        None => Ok(graph.clone()),
    }
}

/// Where a program's parameters lie among all, in the program's order.
pub fn parameter_ranges<R: Real>(batch: &Batch<R>, parameters: &Parameters) -> Vec<Range<usize>> {
    let range = |name: &str| parameters.index(name).map(|index| parameters.range(index));
    batch.parameters().filter_map(range).collect()
}

/// A compiled model that measures.
pub struct Evaluator {
    batch: Batch<f32>,
    tally: Tally,
    ranges: Vec<Range<usize>>,
    /// The text's input, for streams.
    input: Option<TextInput>,
    /// Epochs and steps that the model has been trained for.
    progress: (f64, u64),
}

impl Evaluator {
    /// Compiles `model` (`input`: for streams of its text).
    ///
    /// # Errors
    /// The model is wrong, cannot be compiled, or cannot be cut into chunks.
    pub fn new(
        model: &Model,
        input: Option<&TextInput>,
        parameters: &Parameters,
        pool: &Arc<ThreadPool>,
        machine: &Machine,
    ) -> Result<Evaluator, EvaluateError> {
        let mut graph = model.check(Mode::Evaluate)?.graph;
        let tally = Tally::new(&mut graph, true);
        graph.outputs.retain(|output| output.kind != OutputKind::Value);
        if let Some(input) = input {
            graph = chunked(model, &graph, input)?;
        }
        let name = format!("{}_evaluate", graph.name);
        let kinds = [OutputKind::Loss, OutputKind::Metric, OutputKind::Carry];
        let mut pipeline = Pipeline { machine: machine.clone(), ..Pipeline::default() };
        let batch = pipeline.batch::<f32>(&graph, &kinds, &name, pool)?;
        let ranges = parameter_ranges(&batch, parameters);
        Ok(Evaluator { batch, tally, ranges, input: input.cloned(), progress: (0.0, 0) })
    }

    /// Says how long the model has been trained, for what follows a schedule.
    pub fn trained_for(&mut self, position: Position) {
        self.progress = (position.epoch as f64, position.step);
    }

    /// Measures on one stream.
    ///
    /// # Errors
    /// The parameters are of another model.
    pub fn stream(&mut self, parameters: &Parameters, ids: &[u32]) -> Result<Figures, EvaluateError> {
        self.stream_in_chunks(parameters, ids, CHUNK)
    }

    fn stream_in_chunks(
        &mut self,
        parameters: &Parameters,
        ids: &[u32],
        steps: usize,
    ) -> Result<Figures, EvaluateError> {
        let name = self.input.as_ref().map_or("", |input| input.name.as_str()).to_string();
        let values = slices(parameters, &self.ranges);
        self.batch.hold_parameters();
        let mut tally = self.tally.clone();
        let mut carried = Carried::new(self.batch.plan(), 1);
        // One stream cannot be too short but by being empty.
        let Ok(streams) = Streams::new(ids, 1) else { return Ok(tally.figures()) };
        for (number, chunk) in (0..).zip(streams.chunks(Some(steps))) {
            self.batch.lay_out(&Lengths::uniform(1, &[chunk.length()]))?;
            self.batch.set_random(0, number)?;
            self.batch.set_progress(self.progress.0, self.progress.1)?;
            let mut feeds = carried.feeds();
            feeds.push((&name, Feed::Ids(chunk.row(0))));
            self.batch.run(&feeds, &values)?;
            tally.add(&self.batch)?;
            carried.take(&self.batch)?;
        }
        Ok(tally.figures())
    }

    /// Measures on some of the examples.
    ///
    /// # Errors
    /// The parameters are of another model.
    pub fn examples(
        &mut self,
        parameters: &Parameters,
        data: &Dataset,
        range: Range<usize>,
    ) -> Result<Figures, EvaluateError> {
        let values = slices(parameters, &self.ranges);
        self.batch.hold_parameters();
        let mut tally = self.tally.clone();
        let all: Vec<usize> = range.collect();
        for (number, chosen) in (0..).zip(all.chunks(EXAMPLES)) {
            let examples = data.select::<f32>(chosen);
            self.batch.lay_out(&examples.lengths_for(self.batch.plan()))?;
            self.batch.set_random(0, number)?;
            self.batch.set_progress(self.progress.0, self.progress.1)?;
            self.batch.run(&examples.feeds(), &values)?;
            tally.add(&self.batch)?;
        }
        Ok(tally.figures())
    }
}

/// The parameters as a program takes them.
pub fn slices<'p>(parameters: &'p Parameters, ranges: &[Range<usize>]) -> Vec<&'p [f32]> {
    ranges.iter().map(|range| &parameters.values()[range.clone()]).collect()
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The data, in words.
    pub what: String,
    /// How many characters or examples.
    pub count: usize,
    /// `characters`, `trees` or `examples`.
    pub unit: &'static str,
    /// The figures.
    pub figures: Figures,
}

/// Measures a saved run on `source`, or without one on what was held out of its own data.
///
/// # Errors
/// The run or the data cannot be read or do not fit together.
pub fn evaluate(
    path: &Path,
    source: Option<&Source>,
    thread_count: usize,
    machine: &Machine,
) -> Result<Evaluation, EvaluateError> {
    let mut run = Run::load(path)?;
    let model = Model::of_run(path, &run.meta);
    let graph = model.check(Mode::Evaluate)?.graph;
    run.expect_model(path, parameter_specs(&graph))?;
    let pool = threads(thread_count)?;
    let note = |key: &str| run.meta.notes.get(key).map(String::as_str);
    let own = || {
        let missing = EvaluateError::NothingHeldOut { run: path.to_path_buf() };
        Source::of_kind(note("data").unwrap_or(""), note("path").unwrap_or("")).ok_or(missing)
    };
    let whole = source.is_some();
    let source = source.cloned().map_or_else(own, Ok)?;
    let valid = note("valid").and_then(|location| source.like_kept(location));
    let fraction = run.meta.settings.holdout.unwrap_or(0.0);
    let what = match (whole, &valid) {
        (true, _) => source.describe(),
        (false, Some(valid)) => valid.describe(),
        (false, None) => format!("the held-out part of {}", source.describe()),
    };
    let nothing = || EvaluateError::NothingHeldOut { run: path.to_path_buf() };
    let meta = &run.meta;
    let (fits, trained) = match (&meta.vocabulary, &meta.words, &meta.fields) {
        (Some(_), ..) => (matches!(source, Source::Text(_)), "a text (--text)"),
        (None, Some(_), _) => (matches!(source, Source::Trees(_)), "trees (--trees)"),
        (None, None, Some(_)) => {
            (matches!(source, Source::Table(..) | Source::Lines(_)), "records (--data, --lines)")
        }
        (None, None, None) => (matches!(source, Source::Npz(_)), "examples (--npz)"),
    };
    if !fits {
        return Err(EvaluateError::Kind { run: path.to_path_buf(), trained });
    }
    if let (Source::Text(file), Some(vocabulary)) = (&source, &meta.vocabulary) {
        let ids = match whole {
            true => corpus::ids(file, vocabulary)?,
            false => Stream::load(file, valid.as_ref().map(Source::path), fraction, vocabulary)?.held_out,
        };
        if ids.is_empty() {
            return Err(nothing());
        }
        let input = model.text_input()?;
        let mut evaluator = Evaluator::new(&model, Some(&input), run.weights(), &pool, machine)?;
        evaluator.trained_for(run.meta.position);
        let figures = evaluator.stream(run.weights(), &ids)?;
        return Ok(Evaluation { what, count: ids.len(), unit: vocabulary.unit(), figures });
    }
    let mut evaluator = Evaluator::new(&model, None, run.weights(), &pool, machine)?;
    evaluator.trained_for(run.meta.position);
    let examples = match whole {
        true => Examples::of(corpus::examples(&source, &graph, Known::of(meta))?),
        false => Examples::load(&source, valid.as_ref(), fraction, &graph, Known::of(meta))?,
    };
    let (data, range) = match whole {
        true => (examples.data(), examples.training()),
        false => examples.held_out(),
    };
    if range.is_empty() {
        return Err(nothing());
    }
    let unit = if data.trees.is_empty() { "examples" } else { "trees" };
    let count = range.len();
    Ok(Evaluation { what, count, unit, figures: evaluator.examples(run.weights(), data, range)? })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::eval::{self, Feeds, InputData};
    use crate::runtime::initializer::Initializer;

    /// Parameters of which no two are alike, biases neither.
    fn shaken(graph: &Graph) -> Parameters {
        let mut specs = parameter_specs(graph);
        specs.iter_mut().for_each(|spec| spec.init = Initializer::Uniform(0.3));
        Parameters::initialize(specs, 3).unwrap()
    }

    /// The loss of a text by the interpreter, which cuts nothing.
    fn interpreted(graph: &Graph, parameters: &Parameters, ids: &[u32]) -> f64 {
        let values = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
        let feeds = Feeds {
            examples: 1,
            lengths: BTreeMap::from([("t".to_string(), vec![ids.len()])]),
            params: parameters.iter().map(|(spec, own)| (spec.name.clone(), values(own))).collect(),
            inputs: BTreeMap::from([(
                "text".to_string(),
                InputData::Ids(vec![ids.iter().copied().map(Some).collect()]),
            )]),
            ..Feeds::default()
        };
        eval::evaluate(graph, &feeds).unwrap().loss()
    }

    #[test]
    fn chunks_are_as_good_as_the_whole() {
        for cell in ["RNN", "GRU", "LSTM", "PeepholeLSTM", "CoupledLSTM", "LayerNormLSTM"] {
            let text = format!(
                "model M(V = 7, E = 32, H = 128) {{\n  input text: id(V) over t\n  param embed: [V, E] = normal(1)\n  h = {cell}(E, H)(embed[text[t-1]])\n  text ~ categorical(Dense(H, V)(h))\n}}\n"
            );
            let model = Model::new("m", text);
            let graph = model.check(Mode::Evaluate).unwrap().graph;
            let parameters = shaken(&graph);
            let ids: Vec<u32> = (0..41u32).map(|i| i * i % 7).collect();
            let expected = interpreted(&graph, &parameters, &ids);
            let input = model.text_input().unwrap();
            let pool = threads(1).unwrap();
            for steps in [1, 6, 40, 41, 100] {
                let mut evaluator =
                    Evaluator::new(&model, Some(&input), &parameters, &pool, &Machine::default()).unwrap();
                let found = evaluator.stream_in_chunks(&parameters, &ids, steps).unwrap().loss();
                assert!((found - expected).abs() < 1e-5, "{cell} by {steps}: {found}, not {expected}");
            }
        }
    }

    /// What is made of sums over the data is made of the sums over all batches.
    #[test]
    fn metrics_are_over_all_the_data() {
        let text = "model M(D = 3, C = 4) {
          input x: [D] over t
          input label: id(C) over t
          logits = Dense(D, C)(x)
          label ~ categorical(logits)
          metric right = accuracy(logits, label)
          metric perplexity = perplexity(logits, label)
          metric macro = mean(f1(onehot(argmax(logits), C), onehot(label, C)))
          metric exact = precision(argmax(logits) == label, logits[label] > 0) + recall(x[0] > 0, x[1] > 0)
          metric close = sum(absolute_error(x, 0.5) + root_mean_square(x, 0.5)) + max(max(x over all))
          metric explained = r_squared(x[0], x[0] + 0.1 * x[1])
          metric plain = sum(x) + length(t)
        }";
        let model = Model::new("m", text);
        let graph = model.check(Mode::Evaluate).unwrap().graph;
        let parameters = shaken(&graph);
        let count = 2 * EXAMPLES + 17;
        let lengths = BTreeMap::from([("t".to_string(), (0..count).map(|at| at * at % 7).collect())]);
        let data = Dataset::random(&graph, &lengths, count, 5);
        let values = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
        let feeds = Feeds {
            examples: count,
            lengths,
            params: parameters.iter().map(|(spec, own)| (spec.name.clone(), values(own))).collect(),
            inputs: data.for_interpreter(),
            ..Feeds::default()
        };
        let expected = eval::evaluate(&graph, &feeds).unwrap();
        let pool = threads(2).unwrap();
        let mut evaluator = Evaluator::new(&model, None, &parameters, &pool, &Machine::default()).unwrap();
        let found = evaluator.examples(&parameters, &data, 0..count).unwrap();
        assert_eq!(found.metrics.len(), 7);
        for (name, value) in &found.metrics {
            let wanted = expected.output(OutputKind::Metric, name).unwrap().numbers()[0];
            assert!((value - wanted).abs() < 1e-5 * wanted.abs().max(1.0), "{name}: {value}, not {wanted}");
        }
        let nothing = evaluator.examples(&parameters, &data, 0..0).unwrap();
        assert!(nothing.metrics.iter().all(|(_, value)| !value.is_infinite()), "{nothing:?}");
    }
}
