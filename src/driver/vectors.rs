//! `--load embed=FILE`: a parameter that begins with values from a file.
//!
//! Of a file of words and vectors a matrix gets the rows of those words that its model reads: which ids choose its
//! rows (`embed[words]`) is in the graph, and which words these ids are, in the run's vocabulary. The other rows begin as
//! the model says. `param embed: [V, E] = frozen` keeps them all.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::ir::{Element, Graph, NodeId, Op};
use crate::runtime::checkpoint::RunMeta;
use crate::runtime::parameters::Parameters;
use crate::runtime::vectors::{self, VectorsError};

/// Why a parameter cannot begin so.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file.
    #[error(transparent)]
    Vectors(#[from] VectorsError),
    /// No such parameter.
    #[error("--load {name}: the model has no parameter of this name; it has: {found}")]
    Missing {
        /// The name.
        name: String,
        /// Those that there are.
        found: String,
    },
    /// A parameter that has no rows.
    #[error("--load {name}: the parameter has shape {shape:?}, and what is loaded is a matrix")]
    NoMatrix {
        /// The name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
}

/// Loads each parameter from its file; what was loaded, in words.
///
/// # Errors
/// The model has no such matrix, or the file does not fit it.
pub fn load(
    files: &[(String, PathBuf)],
    graph: &Graph,
    meta: &RunMeta,
    parameters: &mut Parameters,
) -> Result<Vec<String>, LoadError> {
    files.iter().map(|(name, path)| load_one(name, path, graph, meta, parameters)).collect()
}

fn load_one(
    name: &str,
    path: &Path,
    graph: &Graph,
    meta: &RunMeta,
    parameters: &mut Parameters,
) -> Result<String, LoadError> {
    let Some(index) = parameters.index(name) else {
        let found: Vec<&str> = parameters.specs().iter().map(|spec| spec.name.as_str()).collect();
        return Err(LoadError::Missing { name: name.to_string(), found: found.join(", ") });
    };
    let shape = parameters.specs()[index].shape.clone();
    let &[rows, width] = &shape[..] else {
        return Err(LoadError::NoMatrix { name: name.to_string(), shape });
    };
    let inputs = inputs_of(graph, name);
    let range = parameters.range(index);
    let id = |word: &str| inputs.iter().find_map(|input| row(meta, input, word));
    let count = vectors::load(path, name, [rows, width], id, &mut parameters.values_mut()[range])?;
    Ok(format!("{name}: {count} of {rows} rows are from {}", path.display()))
}

/// The id of a word that an input knows, or of its unknown word for the empty one.
fn row(meta: &RunMeta, input: &str, word: &str) -> Option<u32> {
    let lexicon = meta.fields.as_ref().and_then(|fields| fields.lexicon(input));
    let (id, unknown) = match (&meta.vocabulary, &meta.words, lexicon) {
        (Some(vocabulary), ..) => (vocabulary.id(word), vocabulary.unknown()),
        (None, Some(trees), _) => (Some(trees.words.id(word)), Some(0)),
        (None, None, Some(lexicon)) => (lexicon.id(word), lexicon.unknown()),
        (None, None, None) => (None, None),
    };
    if word.is_empty() { unknown } else { id.filter(|id| Some(*id) != unknown) }
}

/// The inputs whose ids choose the rows of a parameter.
fn inputs_of(graph: &Graph, parameter: &str) -> Vec<String> {
    let mut found = Vec::new();
    for id in graph.ids() {
        let operands = graph.operands(id);
        let [table, chosen] = &operands[..] else { continue };
        let is_table = matches!(&graph.node(table.node).op, Op::Param(name) if name == parameter);
        if matches!(graph.node(id).op, Op::Gather) && is_table {
            ids_behind(graph, chosen.node, &mut found);
        }
    }
    found
}

/// The inputs of ids that a value of ids comes from.
fn ids_behind(graph: &Graph, from: NodeId, found: &mut Vec<String>) {
    let (mut ahead, mut seen) = (vec![from], Vec::new());
    while let Some(node) = ahead.pop() {
        if seen.contains(&node) || !matches!(graph.ty(node).element, Element::Id(_)) {
            continue;
        }
        seen.push(node);
        match &graph.node(node).op {
            Op::Input(name) if !found.contains(name) => found.push(name.clone()),
            _ => ahead.extend(graph.operands(node).iter().map(|operand| operand.node)),
        }
    }
}
