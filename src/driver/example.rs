//! One example to look at: drawn at random, given value by value, or read from a file; and a model's
//! parameters as it begins with them.
//!
//! ```
//! use rnnc::{check::Mode, driver::{example::Example, session::Model}};
//! let model = Model::new("m.rnn", "model M(D = 2) { input x: [D] over t  loss l = sum(x^2) }");
//! let graph = model.check(Mode::Train)?.graph;
//! let example = Example::random(&graph, 5, 1);
//! assert_eq!(example.lengths["t"], 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It is the interpreter's and native code's alike: a single example has no padding.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::arrays::DataError;
use super::batch::{Batch, BatchError, Feed, threads};
use super::compile::{CompileError, program};
use super::corpus::Source;
use super::data::Dataset;
use super::session::{Model, SessionError, parameter_specs};
use super::table::{Table, TableError, Want};
use super::treebank::{Roles, Treebank, TreebankError};
use crate::eval::{Feeds, InputData};
use crate::ir::{AxisKind, AxisSet, Element, Graph, OutputKind, Tree};
use crate::runtime::initializer::Initializer;
use crate::runtime::layout::Lengths;
use crate::runtime::lexicon::Fields;
use crate::runtime::program::Real;
use crate::runtime::reading::Reading;
use crate::runtime::text::{TextError, Vocabulary, read_text};
use crate::runtime::words::Vocabularies;

/// Elements of an input that are drawn at most.
const LARGEST: usize = 1 << 22;

/// Why there is no example.
#[derive(Debug, Error)]
pub enum ExampleError {
    /// The text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The archive.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model does not read such data.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A line or an example that the file does not have.
    #[error("{path} has {count} {unit}, there is no number {number}")]
    Number {
        /// The file.
        path: String,
        /// How many it has.
        count: usize,
        /// `lines` or `examples`.
        unit: &'static str,
        /// Which was asked for.
        number: usize,
    },
    /// A model over trees, for which a text is no data.
    #[error("`{0}` is a tree, which no line of characters is")]
    Tree(String),
    /// The trees.
    #[error(transparent)]
    Treebank(#[from] TreebankError),
    /// The records.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The compiler.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A run of native code.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// One example.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// Positions by axis; not for trees and what comes from them.
    pub lengths: BTreeMap<String, usize>,
    /// Trees by axis.
    pub trees: BTreeMap<String, Tree>,
    /// Data by input: a single entry each.
    pub inputs: BTreeMap<String, InputData>,
}

impl Example {
    /// Axes of `graph` with so many steps each, trees with so many nodes, and no data yet.
    pub fn shape(graph: &Graph, steps: usize) -> Example {
        let mut example = Example::default();
        for axis in graph.axes.iter().skip(1) {
            match axis.kind {
                AxisKind::Time => {
                    example.lengths.insert(axis.name.clone(), steps);
                }
                AxisKind::Tree => {
                    example.trees.insert(axis.name.clone(), complete(steps));
                }
                AxisKind::Batch | AxisKind::Children(_) | AxisKind::Leaves(_) => {}
            }
        }
        example
    }

    /// A random example with so many steps along each axis: numbers between -1 and 1, ids anywhere.
    pub fn random(graph: &Graph, steps: usize, seed: u64) -> Example {
        Example::shape(graph, steps).filled(graph, seed)
    }

    /// The same with random data for every input that has none.
    pub fn filled(mut self, graph: &Graph, seed: u64) -> Example {
        for spec in &graph.inputs {
            if self.inputs.contains_key(&spec.name) {
                continue;
            }
            let count = (self.positions(graph, spec.ty.axes) * spec.ty.size()).min(LARGEST);
            let drawn = Initializer::Uniform(1.0).values(&format!("input {}", spec.name), &[count], seed);
            let data = match spec.ty.element {
                Element::Real => InputData::Real(vec![drawn]),
                Element::Id(size) => {
                    let id = |x: &f64| ((x + 1.0) / 2.0 * size as f64) as usize;
                    let id = |x: &f64| u32::try_from(id(x).min(size.saturating_sub(1))).ok();
                    InputData::Ids(vec![drawn.iter().map(id).collect()])
                }
            };
            self.inputs.insert(spec.name.clone(), data);
        }
        self
    }

    /// Line `number` (from 1) of a text, character by character.
    ///
    /// # Errors
    /// No such line, a character without an id, or a model that does not read texts.
    pub fn line(
        model: &Model,
        graph: &Graph,
        path: &Path,
        number: usize,
        vocabulary: Option<&Vocabulary>,
    ) -> Result<Example, ExampleError> {
        let text = read_text(path)?;
        let input = model.text_input()?;
        let own = Vocabulary::of(&text);
        let vocabulary = vocabulary.unwrap_or(&own);
        model.expect_vocabulary(graph, &input, vocabulary)?;
        let line = number.checked_sub(1).and_then(|at| text.lines().nth(at));
        let line = line.ok_or_else(|| ExampleError::Number {
            path: path.display().to_string(),
            count: text.lines().count(),
            unit: "lines",
            number,
        })?;
        let ids: Vec<Option<u32>> = vocabulary.encode(line)?.into_iter().map(Some).collect();
        let mut example = Example::shape(graph, ids.len());
        if let Some(tree) = example.trees.keys().next() {
            return Err(ExampleError::Tree(tree.clone()));
        }
        example.inputs.insert(input.name, InputData::Ids(vec![ids]));
        Ok(example)
    }

    /// Tree `number` (from 1) of a text of trees. Words and labels have the ids that `vocabularies` give them,
    /// else those that this text by itself would give them.
    ///
    /// # Errors
    /// No trees, no such tree, or one that the model cannot take.
    pub fn of_treebank(
        graph: &Graph,
        path: &Path,
        number: usize,
        vocabularies: Option<&Vocabularies>,
    ) -> Result<Example, ExampleError> {
        let (bank, roles) = (Treebank::read(path)?, Roles::of(graph)?);
        let trees = bank.parses()?;
        let own = || roles.vocabularies(&trees, 1);
        let vocabularies = vocabularies.cloned().unwrap_or_else(own);
        roles.expect_words(graph, &vocabularies)?;
        let at = number.checked_sub(1).filter(|&at| at < trees.len());
        let at = at.ok_or_else(|| ExampleError::Number {
            path: path.display().to_string(),
            count: trees.len(),
            unit: "trees",
            number,
        })?;
        Ok(Example::of_dataset(&roles.examples(&bank, &trees[at..=at], graph, &vocabularies)?, 0))
    }

    /// Example `number` (from 1) of records. Tokens have the ids that a run learned, else those that these records by
    /// themselves would give them.
    ///
    /// # Errors
    /// The records do not fit the model, or there is no such example.
    pub fn of_records(
        graph: &Graph,
        source: &Source,
        number: usize,
        learned: Option<(&Fields, &Reading)>,
    ) -> Result<Example, ExampleError> {
        let plain = Reading::default();
        let reading = learned.map_or(&plain, |(_, reading)| reading);
        let table = Table::read(source, reading)?;
        let own;
        let fields = match learned {
            Some((fields, _)) => fields,
            None => {
                own = table.learn(graph, &BTreeMap::new(), table.len(), 1)?;
                &own
            }
        };
        Table::expect_size(graph, fields)?;
        let want = Want { training: table.len(), answers_may_be_missing: false };
        let (data, _) = table.examples(graph, fields, want)?;
        let at = number.checked_sub(1).filter(|&at| at < data.examples);
        let at = at.ok_or_else(|| ExampleError::Number {
            path: source.describe(),
            count: data.examples,
            unit: "examples",
            number,
        })?;
        Ok(Example::of_dataset(&data, at))
    }

    /// Example `number` (from 1) of an archive.
    ///
    /// # Errors
    /// The archive does not fit the model, or has no such example.
    pub fn of_archive(graph: &Graph, path: &Path, number: usize) -> Result<Example, ExampleError> {
        let data = Dataset::load(path, graph)?;
        let at = number.checked_sub(1).filter(|&at| at < data.examples);
        let at = at.ok_or_else(|| ExampleError::Number {
            path: path.display().to_string(),
            count: data.examples,
            unit: "examples",
            number,
        })?;
        Ok(Example::of_dataset(&data, at))
    }

    /// Example `at` of a dataset.
    pub fn of_dataset(data: &Dataset, at: usize) -> Example {
        let mut example = Example::default();
        for (axis, lengths) in &data.lengths {
            example.lengths.insert(axis.clone(), lengths.get(at).copied().unwrap_or(0));
        }
        for (axis, trees) in &data.trees {
            let tree = trees.get(at).map(|tree| Tree::clone(tree));
            example.trees.insert(axis.clone(), tree.unwrap_or_default());
        }
        for (name, data) in data.for_interpreter() {
            let own = match data {
                InputData::Real(all) => InputData::Real(all.into_iter().skip(at).take(1).collect()),
                InputData::Ids(all) => InputData::Ids(all.into_iter().skip(at).take(1).collect()),
            };
            example.inputs.insert(name, own);
        }
        example
    }

    /// How many positions there are on these axes together.
    pub fn positions(&self, graph: &Graph, axes: AxisSet) -> usize {
        let count = |axis| {
            let tree = |axis| self.trees.get(graph.axis_name(axis));
            match graph.axis_kind(axis) {
                AxisKind::Batch => 1,
                AxisKind::Time => self.lengths.get(graph.axis_name(axis)).copied().unwrap_or(0),
                AxisKind::Tree if axes.iter().any(|a| graph.axis_kind(a) == AxisKind::Children(axis)) => 1,
                AxisKind::Tree => tree(axis).map_or(0, Tree::len),
                AxisKind::Children(of) => tree(of).map_or(0, Tree::edges),
                AxisKind::Leaves(of) => tree(of).map_or(0, |tree| tree.leaves().len()),
            }
        };
        axes.iter().map(count).product()
    }

    /// As the interpreter takes it.
    pub fn feeds(&self, params: BTreeMap<String, Vec<f64>>, seed: u64) -> Feeds {
        Feeds {
            examples: 1,
            lengths: self.lengths.iter().map(|(axis, &length)| (axis.clone(), vec![length])).collect(),
            trees: self.trees.iter().map(|(axis, tree)| (axis.clone(), vec![tree.clone()])).collect(),
            params,
            inputs: self.inputs.clone(),
            settings: settings(0.0, 0),
            seed,
            step: 0,
        }
    }
}

/// What a run sets, for the interpreter: a program that was trained so far, drawing as the model says.
pub fn settings(epoch: f64, step: u64) -> BTreeMap<String, f64> {
    let settings = [("temperature", 1.0), ("epoch", epoch), ("step", step as f64)];
    settings.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// The tree of so many nodes, each with two children while they last, level by level.
pub fn complete(nodes: usize) -> Tree {
    let parent =
        |node: usize| node.checked_sub(1).and_then(|above| i64::try_from(above / 2).ok()).unwrap_or(-1);
    Tree::new(&(0..nodes).map(parent).collect::<Vec<i64>>()).unwrap_or_default()
}

/// The parameters of `graph` before any training.
pub fn parameters(graph: &Graph, seed: u64) -> BTreeMap<String, Vec<f64>> {
    let specs = parameter_specs(graph).into_iter();
    specs.map(|spec| (spec.name.clone(), spec.init.values(&spec.name, &spec.shape, seed))).collect()
}

/// Lengths and trees in the order of a program's axes.
pub(super) fn lengths<R: Real>(batch: &Batch<R>, feeds: &Feeds) -> Lengths {
    let found = batch.lengths_by_name(feeds.examples, |axis| feeds.lengths.get(axis).map(Vec::as_slice));
    let trees = batch.plan().axes.iter().enumerate().filter_map(|(axis, name)| {
        let shared = feeds.trees.get(name)?.iter().cloned().map(Arc::new);
        Some((axis, shared.collect()))
    });
    Lengths { trees: trees.collect(), ..found }
}

/// A compiled program in f64 on one example.
pub struct Native {
    batch: Batch<f64>,
    parameters: Vec<Vec<f64>>,
}

impl Native {
    /// Compiles the outputs of these kinds and lays the example out.
    ///
    /// # Errors
    /// The graph cannot be compiled.
    pub fn new(graph: &Graph, kinds: &[OutputKind], feeds: &Feeds) -> Result<Native, ExampleError> {
        let program = program::<f64>(graph, kinds, &format!("{}_looked_at", graph.name))?;
        let order = program.parameters().map(|(name, _, _)| feeds.params.get(name).cloned());
        let parameters: Vec<Vec<f64>> = order.map(Option::unwrap_or_default).collect();
        let mut batch = Batch::new(program, threads(1)?);
        batch.lay_out(&lengths(&batch, feeds))?;
        batch.set_random(feeds.seed, u64::from(feeds.step))?;
        for (name, value) in &feeds.settings {
            batch.set_scalar(name, *value)?;
        }
        Ok(Native { batch, parameters })
    }

    /// Runs on these inputs.
    ///
    /// # Errors
    /// Inputs that do not fit.
    pub fn run(&mut self, inputs: &BTreeMap<String, InputData>) -> Result<(), ExampleError> {
        let ids: BTreeMap<&str, Vec<u32>> = inputs
            .iter()
            .filter_map(|(name, data)| match data {
                InputData::Ids(all) => {
                    let id = |id: &Option<u32>| id.unwrap_or(u32::MAX);
                    Some((name.as_str(), all.first()?.iter().map(id).collect()))
                }
                InputData::Real(_) => None,
            })
            .collect();
        let mut feeds: Vec<(&str, Feed<f64>)> = Vec::new();
        for (name, data) in inputs {
            match data {
                InputData::Real(all) => {
                    feeds.push((name, Feed::Real(all.first().map_or(&[][..], Vec::as_slice))));
                }
                InputData::Ids(_) => {
                    feeds.push((name, Feed::Ids(ids.get(name.as_str()).map_or(&[][..], Vec::as_slice))));
                }
            }
        }
        let parameters: Vec<&[f64]> = self.parameters.iter().map(Vec::as_slice).collect();
        Ok(self.batch.run(&feeds, &parameters)?)
    }

    /// A named value, position after position.
    ///
    /// # Errors
    /// No such output.
    pub fn values(&self, output: &str) -> Result<Vec<f64>, ExampleError> {
        Ok(self.batch.values(&format!("value:{output}"))?)
    }
}
