//! The Tree-LSTM over the trees of a treebank: what is run, and how.
//!
//! Batches of trees in the order of the file, as many as are whole; for each the forward pass, the summed
//! cross-entropy of the labels of all nodes and the gradients of all parameters, those of the word vectors
//! among them. No weight is moved. Every batch is laid out anew, which is part of the time; the file is read and
//! its words are numbered before.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::ThreadPool;
use thiserror::Error;

use super::BenchError;
use super::program::Timed;
use crate::base::Tree;
use crate::check::Mode;
use crate::driver::batch::{Batch, BatchError, Feed};
use crate::driver::compile::Pipeline;
use crate::driver::gradient::GradientProgram;
use crate::driver::session::{Model, parameter_specs};
use crate::runtime::layout::Lengths;
use crate::runtime::parameters::Parameters;
use crate::runtime::treebank::{Fault, parse};

/// The name of the workload.
pub const TREE_LSTM: &str = "tree-lstm";
/// Trees in a batch where nothing else is said.
pub const BATCHES: [usize; 3] = [1, 25, 100];
/// Width of word vectors and of the hidden state where nothing else is said.
pub const WIDTHS: (usize, usize) = (300, 150);

/// The program.
const FILE: &str = "benches/tree-lstm.rnn";
const SOURCE: &str = include_str!("../../../benches/tree-lstm.rnn");
/// Labels, 0 to 4.
const CLASSES: u32 = 5;
/// Seed of the parameters.
const SEED: u64 = 1;

/// Why a file is not trees that the workload runs on.
#[derive(Debug, Error)]
pub enum TreesError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It holds something else.
    #[error("{}:{fault}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        fault: Fault,
    },
    /// A tree that is not binary, or without labels or words where they belong.
    #[error("{}:{line}: {reason}", path.display())]
    Tree {
        /// The file.
        path: PathBuf,
        /// The line of the tree.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Fewer trees than a batch takes.
    #[error("{} has {trees} trees, which make no batch of {batch}", path.display())]
    Few {
        /// The file.
        path: PathBuf,
        /// Its trees.
        trees: usize,
        /// Trees of a batch.
        batch: usize,
    },
}

/// A tree, the ids of the words at its leaves and of the labels at its nodes.
#[derive(Clone, Debug, PartialEq)]
struct Labelled {
    tree: Arc<Tree>,
    words: Vec<u32>,
    labels: Vec<u32>,
}

/// The trees of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    path: PathBuf,
    trees: Vec<Labelled>,
    words: usize,
}

impl Forest {
    /// Reads binary trees with a label of 0 to 4 at every node and a word at every leaf, one a line.
    ///
    /// # Errors
    /// There is no such file, or something else in it.
    pub fn read(path: &Path) -> Result<Forest, TreesError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| TreesError::Read { path: path.to_path_buf(), error })?;
        let syntax = |fault| TreesError::Syntax { path: path.to_path_buf(), fault };
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut trees = Vec::new();
        for (at, parse) in parse(&text).map_err(syntax)?.into_iter().enumerate() {
            let wrong = |reason: String| TreesError::Tree { path: path.to_path_buf(), line: at + 1, reason };
            let (mut words, mut labels) = (Vec::new(), Vec::new());
            for (node, found) in parse.nodes.iter().enumerate() {
                let label = found.label.and_then(|label| label.text.parse().ok());
                let label = label.filter(|label| *label < CLASSES);
                let missing = || wrong(format!("node {node} has no label of 0 to {}", CLASSES - 1));
                labels.push(label.ok_or_else(missing)?);
                match (parse.tree.arity(node), found.word) {
                    (0, Some(word)) => {
                        let next = numbers.len() as u32;
                        words.push(*numbers.entry(word.text).or_insert(next));
                    }
                    (2, None) => {}
                    (children, _) => {
                        let reason = format!(
                            "node {node} has {children} children, and a binary tree has a word or two"
                        );
                        return Err(wrong(reason));
                    }
                }
            }
            trees.push(Labelled { tree: Arc::new(parse.tree), words, labels });
        }
        Ok(Forest { path: path.to_path_buf(), trees, words: numbers.len() })
    }

    /// How many trees.
    pub fn len(&self) -> usize {
        self.trees.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// The nodes of some trees, and the leaves among them.
    fn nodes(&self, trees: Range<usize>) -> (usize, usize) {
        self.trees[trees].iter().fold((0, 0), |(nodes, leaves), labelled| {
            (nodes + labelled.labels.len(), leaves + labelled.words.len())
        })
    }
}

/// Sizes of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeShape {
    /// Trees of a batch.
    pub batch: usize,
    /// Width of a word's vector.
    pub input: usize,
    /// Width of the hidden state.
    pub hidden: usize,
}

/// The workload compiled, and the file's trees.
pub(super) struct CompiledTrees<'f> {
    forest: &'f Forest,
    shape: TreeShape,
    parameters: Parameters,
    program: GradientProgram,
    axis: usize,
    /// The batch that is run again and again for a profile.
    representative: usize,
}

impl<'f> CompiledTrees<'f> {
    /// Compiles the program and runs its first batch.
    ///
    /// # Errors
    /// It cannot be compiled, or there are too few trees.
    pub fn new(
        forest: &'f Forest,
        shape: TreeShape,
        pool: &Arc<ThreadPool>,
        pipeline: &mut Pipeline,
    ) -> Result<CompiledTrees<'f>, BenchError> {
        if forest.len() < shape.batch {
            let (path, trees) = (forest.path.clone(), forest.len());
            return Err(TreesError::Few { path, trees, batch: shape.batch }.into());
        }
        let set = [("V", forest.words), ("I", shape.input), ("H", shape.hidden), ("B", shape.batch)];
        let set = set.map(|(name, size)| (name.to_string(), size)).to_vec();
        let checked = pipeline.check(&Model { set, ..Model::new(FILE, SOURCE) }, Mode::Train)?;
        let graph = pipeline.trained(&checked.graph)?;
        let parameters = Parameters::initialize(parameter_specs(&graph), SEED)?;
        let program = GradientProgram::new(pipeline, &graph, &parameters, pool)?;
        let axis = graph.axes.iter().position(|axis| axis.name == "n").unwrap_or(0);
        let mut compiled = CompiledTrees { forest, shape, parameters, program, axis, representative: 0 };
        compiled.representative = compiled.middle();
        compiled.step(0)?;
        Ok(compiled)
    }

    /// Whole batches of the file.
    pub fn batches(&self) -> usize {
        self.forest.len() / self.shape.batch
    }

    /// Trees that a pass over all batches runs on.
    pub fn trees(&self) -> usize {
        self.batches() * self.shape.batch
    }

    /// The batch whose number of nodes is the median.
    fn middle(&self) -> usize {
        let mut batches: Vec<usize> = (0..self.batches()).collect();
        batches.sort_by_key(|&batch| self.forest.nodes(self.range(batch)).0);
        batches.get(batches.len() / 2).copied().unwrap_or(0)
    }

    fn range(&self, batch: usize) -> Range<usize> {
        batch * self.shape.batch..(batch + 1) * self.shape.batch
    }

    /// One batch: its loss.
    ///
    /// # Errors
    /// As those of any run.
    pub fn step(&mut self, batch: usize) -> Result<f64, BatchError> {
        let chosen = &self.forest.trees[self.range(batch)];
        let trees: Vec<Arc<Tree>> = chosen.iter().map(|labelled| Arc::clone(&labelled.tree)).collect();
        let longest =
            |of: fn(&Labelled) -> &Vec<u32>| chosen.iter().map(|one| of(one).len()).max().unwrap_or(0);
        let padded = |of: fn(&Labelled) -> &Vec<u32>| {
            let width = longest(of);
            let mut all = vec![u32::MAX; width * chosen.len()];
            for (row, labelled) in all.chunks_exact_mut(width.max(1)).zip(chosen) {
                row[..of(labelled).len()].copy_from_slice(of(labelled));
            }
            all
        };
        let (words, labels) = (padded(|one| &one.words), padded(|one| &one.labels));
        let trees = BTreeMap::from([(self.axis, trees)]);
        let lengths = Lengths { examples: chosen.len(), axes: vec![Vec::new(); self.axis + 1], trees };
        self.program.batch_mut().lay_out(&lengths)?;
        self.program.run(&self.parameters, &[("word", Feed::Ids(&words)), ("label", Feed::Ids(&labels))])
    }

    /// All batches, one after the other.
    ///
    /// # Errors
    /// The first of a run.
    pub fn pass(&mut self) -> Result<(), BatchError> {
        (0..self.batches()).try_for_each(|batch| self.step(batch).map(drop))
    }

    /// Floating-point operations of the products of a pass: those of the leaves' gates, of the inner nodes'
    /// gates and of the labels, three times for the gradient.
    pub fn operations(&self) -> f64 {
        let (nodes, leaves) = self.forest.nodes(0..self.trees());
        let TreeShape { input, hidden, .. } = self.shape;
        let [nodes, leaves, input, hidden] = [nodes, leaves, input, hidden].map(|size| size as f64);
        let inner = (nodes - leaves) * 5.0 * hidden * 2.0 * hidden;
        3.0 * 2.0 * (leaves * 3.0 * hidden * input + inner + nodes * f64::from(CLASSES) * hidden)
    }
}

impl Timed for CompiledTrees<'_> {
    fn batch(&self) -> &Batch<f32> {
        self.program.batch()
    }

    fn call(&mut self) -> Result<(), BatchError> {
        self.step(self.representative).map(drop)
    }
}
