//! A model run once on given weights and data: every named value and, asked for, every gradient.
//!
//! ```no_run
//! use rnnc::driver::{corpus::Source, machine::Machine, run::{Request, run}, session::Model};
//! let model = Model::read("model.rnn".as_ref(), None, &[])?;
//! let request = Request {
//!     weights: "w.safetensors".into(), input: Source::Npz("in.npz".into()), output: "out.npz".into(), gradients: None, threads: 0,
//!     machine: Machine::default(),
//! };
//! run::<f64>(&model, &request)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This is how other systems check this one. The program is the one that observes (no dropout). Arrays are
//! named as in the file; a value over `t` is `[batch, longest, …]` with zeros behind an example's end, and
//! the lengths are an array `t`. Losses and metrics are `loss:NAME` and `metric:NAME`. Ids are integers,
//! none is -1. A value over the tree `n` is `[batch, most nodes, …]`, one over its leaves `[batch, most leaves,
//! …]`, one over the children of its nodes `[batch, most nodes, most children, …]`; `n.parent`, `n` and `n.leaf` are the
//! trees, as `arrays` reads them. Trees in a text and records are read with the vocabularies of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::batch::{Batch, BatchError, threads};
use super::compile::{CompileError, Pipeline};
use super::corpus::{self, CorpusError, Known, Source};
use super::machine::Machine;
use super::session::{Model, SessionError, parameter_specs};
use super::treebank::TreebankError;
use crate::base::Tree;
use crate::check::Mode;
use crate::grad::{GradError, grad};
use crate::ir::{AxisKind, Op, OutputKind};
use crate::plan::{Element, Precision, Role};
use crate::runtime::checkpoint::{CheckpointError, Run, RunMeta};
use crate::runtime::files;
use crate::runtime::npz::{NpzError, Values, write};
use crate::runtime::parameters::ParameterSpec;
use crate::runtime::program::Real;
use crate::runtime::weights::{WeightsError, load_weights_f64};

/// What to read and where to write.
#[derive(Clone, Debug)]
pub struct Request {
    /// A safetensors file with the model's parameters.
    pub weights: PathBuf,
    /// The model's inputs: an archive, trees or records.
    pub input: Source,
    /// Where the values go.
    pub output: PathBuf,
    /// Where the gradients go, if they are wanted.
    pub gradients: Option<PathBuf>,
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// What it runs on.
    pub machine: Machine,
}

/// Why there are no values.
#[derive(Debug, Error)]
pub enum RunError {
    /// The model.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The data.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The run whose weights and vocabularies are used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The results' files.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// The gradient.
    #[error(transparent)]
    Grad(#[from] GradError),
    /// The compiler.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Threads or a run of the program.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// An array to write.
struct Array {
    name: String,
    shape: Vec<usize>,
    data: Data,
}

enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Integers(Vec<i64>),
}

/// Runs `model` on a batch of all examples and writes the results.
///
/// # Errors
/// Weights or data do not fit the model, or a result cannot be written.
pub fn run<R: Real>(model: &Model, request: &Request) -> Result<(), RunError> {
    for path in [Some(&request.output), request.gradients.as_ref()].into_iter().flatten() {
        files::check_replaceable(path).map_err(NpzError::from)?;
    }
    let (model, meta) = bound(model, request)?;
    let mut graph = model.check(Mode::Evaluate)?.graph;
    let specs = parameter_specs(&graph);
    let weights = load_weights_f64(&request.weights, specs.clone())?;
    let data = corpus::examples(&request.input, &graph, meta.as_ref().map(Known::of).unwrap_or_default())?;
    let mut kinds = vec![OutputKind::Value, OutputKind::Loss, OutputKind::Metric];
    if request.gradients.is_some() {
        let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
        graph = grad(&graph, &names)?;
        kinds.push(OutputKind::Gradient);
    }
    let name = format!("{}_run", graph.name);
    let mut pipeline = Pipeline { machine: request.machine.clone(), ..Pipeline::default() };
    let mut batch = pipeline.batch::<R>(&graph, &kinds, &name, &threads(request.threads)?)?;
    let parameters = Flat::new(&specs, &weights);
    let values: Vec<&[R]> = batch.parameters().filter_map(|name| parameters.get(name)).collect();
    let all: Vec<usize> = (0..data.examples).collect();
    let examples = data.select::<R>(&all);
    batch.lay_out(&examples.lengths_for(batch.plan()))?;
    batch.set_random(0, 0)?;
    if graph.ids().into_iter().any(|node| matches!(graph.op(node), Op::Setting(_)))
        && let Some(RunMeta { position, .. }) =
            meta.map_or_else(|| meta_of(&request.weights), |meta| Ok(Some(meta)))?
    {
        batch.set_progress(position.epoch as f64, position.step)?;
    }
    batch.run(&examples.feeds(), &values)?;

    let mut arrays = Vec::new();
    let mut gradients = Vec::new();
    for output in &graph.outputs {
        let prefix = match output.kind {
            OutputKind::Value => "value",
            OutputKind::Loss => "loss",
            OutputKind::Metric => "metric",
            OutputKind::Gradient => {
                gradients.push(array(&batch, &format!("gradient:{}", output.name), &output.name)?);
                continue;
            }
            OutputKind::Carry | OutputKind::Update => continue,
        };
        let full = format!("{prefix}:{}", output.name);
        let shown = if output.kind == OutputKind::Value { &output.name } else { &full };
        arrays.push(array(&batch, &full, shown)?);
    }
    // How many nodes have so many children is in the parents.
    let is_parents = |axis: &str| {
        graph.axes.iter().any(|own| own.name == axis && matches!(own.kind, AxisKind::Children(_)))
    };
    for (axis, trees) in &data.trees {
        let most = data.lengths.get(axis).and_then(|all| all.iter().max().copied()).unwrap_or(0);
        let parent = |tree: &Tree, node| tree.parent(node).map_or(-1, |parent| parent as i64);
        let of = |tree: &Arc<Tree>| (0..most).map(|node| parent(tree, node)).collect::<Vec<i64>>();
        let parents = trees.iter().flat_map(of).collect();
        let (name, shape) = (format!("{axis}.parent"), vec![trees.len(), most]);
        arrays.push(Array { name, shape, data: Data::Integers(parents) });
    }
    for (axis, lengths) in data.lengths.iter().filter(|(axis, _)| !is_parents(axis)) {
        if !arrays.iter().any(|array| array.name == *axis) {
            let data = Data::Integers(lengths.iter().map(|&length| length as i64).collect());
            arrays.push(Array { name: axis.clone(), shape: vec![lengths.len()], data });
        }
    }
    save(&request.output, &arrays)?;
    if let Some(path) = &request.gradients {
        save(path, &gradients)?;
    }
    Ok(())
}

/// The model with its dimensions bound to those of a run, and what the run knows, where data are read
/// that need its vocabularies.
fn bound(model: &Model, request: &Request) -> Result<(Model, Option<RunMeta>), RunError> {
    let mut model = model.clone();
    let path = request.weights.clone();
    let missing = || match &request.input {
        Source::Trees(_) => CorpusError::from(TreebankError::NoVocabulary { path }),
        _ => CorpusError::NoFields { path },
    };
    let needs: fn(&RunMeta) -> bool = match request.input {
        Source::Text(_) | Source::Npz(_) => return Ok((model, None)),
        Source::Trees(_) => |meta| meta.words.is_some(),
        Source::Table(..) | Source::Lines(_) => |meta| meta.fields.is_some(),
    };
    let meta = meta_of(&request.weights)?.filter(needs).ok_or_else(missing)?;
    for (name, size) in &meta.dims {
        if !model.set.iter().any(|(own, _)| own == name) {
            model.set.push((name.clone(), *size));
        }
    }
    Ok((model, Some(meta)))
}

/// What a run says of itself; nothing of a file that only has weights.
fn meta_of(path: &Path) -> Result<Option<RunMeta>, CheckpointError> {
    match Run::load(path) {
        Ok(run) => Ok(Some(run.meta)),
        Err(CheckpointError::NotARun { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All parameters, in one array of the program's type.
struct Flat<R> {
    values: Vec<R>,
    ranges: BTreeMap<String, std::ops::Range<usize>>,
}

impl<R: Real> Flat<R> {
    fn new(specs: &[ParameterSpec], values: &[f64]) -> Flat<R> {
        let mut ranges = BTreeMap::new();
        let mut at = 0;
        for spec in specs {
            let count = spec.count().unwrap_or(0);
            ranges.insert(spec.name.clone(), at..at + count);
            at += count;
        }
        Flat { values: values.iter().map(|&value| R::from_f64(value)).collect(), ranges }
    }

    fn get(&self, name: &str) -> Option<&[R]> {
        self.values.get(self.ranges.get(name)?.clone())
    }
}

/// An output with its padded shape.
fn array<R: Real>(batch: &Batch<R>, output: &str, name: &str) -> Result<Array, RunError> {
    let plan = batch.plan();
    let buffer = batch.output(output);
    let mut shape = Vec::new();
    let mut ids = false;
    if let Some(buffer) = buffer {
        shape.extend(plan.spaces[buffer.space].axes.iter().map(|&axis| batch.lengths().longest(axis)));
        shape.extend(&buffer.shape);
        ids = buffer.element == Element::Id && matches!(buffer.role, Role::Output(_));
    }
    let data = if ids {
        let id = |id: &u32| if *id == u32::MAX { -1 } else { i64::from(*id) };
        Data::Integers(batch.ids(output)?.iter().map(id).collect())
    } else {
        let values = batch.values(output)?;
        match R::PRECISION {
            Precision::F32 => Data::F32(values.iter().map(|value| value.to_f64() as f32).collect()),
            Precision::F64 => Data::F64(values.iter().map(|value| value.to_f64()).collect()),
        }
    };
    Ok(Array { name: name.to_string(), shape, data })
}

fn save(path: &Path, arrays: &[Array]) -> Result<(), NpzError> {
    let mut entries: Vec<(&str, &[usize], Values)> = Vec::new();
    for array in arrays {
        let values = match &array.data {
            Data::F32(values) => Values::F32(values),
            Data::F64(values) => Values::F64(values),
            Data::Integers(values) => Values::I64(values),
        };
        entries.push((&array.name, &array.shape, values));
    }
    write(path, &entries)
}
