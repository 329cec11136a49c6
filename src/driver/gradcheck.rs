//! The derived gradient against finite differences, in f64, on small random data.
//!
//! ```no_run
//! use rnnc::driver::{gradcheck::gradcheck, session::Model};
//! let report = gradcheck(&Model::read("model.rnn".as_ref(), None, &[])?, 1, None)?;
//! assert!(report.worst() < 1e-6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The differences are the interpreter's, the gradient is native code's: it takes the same way as in
//! training, dropout included. Dimensions that nobody bound are made small where the model allows that. A
//! kink (`relu`, `max`) that lies by chance next to a value makes an error that is none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use thiserror::Error;

use super::batch::{Batch, BatchError, threads};
use super::compile::{CompileError, Pipeline};
use super::data::{Dataset, Trees};
use super::example::settings;
use super::machine::Machine;
use super::session::{Model, SessionError};
use crate::base::philox::philox4x32;
use crate::check::{Checked, Mode};
use crate::eval::{self, DifferenceOptions, EvalError, Feeds, difference, worst_errors};
use crate::grad::{GradError, direction, grad, jvp};
use crate::ir::{AxisId, AxisKind, Graph, OutputKind, ScheduleError, Tree, most_children};
use crate::runtime::initializer::Initializer;
use crate::runtime::opencl::Device;
use crate::runtime::program::Real;

/// The largest relative error that counts as agreement.
pub const TOLERANCE: f64 = 1e-6;
/// The same for a device that has no f64.
const DEVICE_TOLERANCE: f64 = 1e-4;
/// Examples, and their lengths along each axis in turn.
const LENGTHS: [[usize; 3]; 2] = [[4, 2, 3], [2, 3, 1]];
/// Parents in the trees of the examples: a chain, a full binary tree and one of an arity of three at least,
/// below which as many nodes more are hung anywhere.
const TREES: [(&[i64], u32); 3] = [(&[-1, 0, 1], 0), (&[-1, 0, 0, 1, 1], 0), (&[-1, 0, 0, 0], 3)];
/// Sizes for unbound dimensions, all different so that a mix-up shows.
const SIZES: [usize; 12] = [5, 4, 6, 3, 7, 8, 9, 10, 11, 12, 13, 14];

/// Why there is nothing to compare.
#[derive(Debug, Error)]
pub enum GradcheckError {
    /// The model.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The gradient.
    #[error(transparent)]
    Grad(#[from] GradError),
    /// The interpreter.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The order of the equations.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The compiler.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Threads or a run of the program.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// What a comparison gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The model's name.
    pub model: String,
    /// Its dimensions in this check.
    pub dims: Vec<(String, usize)>,
    /// For every parameter, in order: elements, elements compared, worst relative error.
    pub parameters: Vec<(String, usize, usize, f64)>,
}

impl Report {
    /// The worst relative error of all.
    pub fn worst(&self) -> f64 {
        // Not a number is the worst of all: `max` would drop it.
        let worse = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
        self.parameters.iter().map(|(_, _, _, error)| *error).fold(0.0, worse)
    }

    /// Whether all agree.
    pub fn agrees(&self) -> bool {
        self.worst() <= TOLERANCE
    }
}

/// Compares the gradient of every parameter with finite differences; ends with an error when `stop` is no
/// longer 0.
///
/// # Errors
/// The model is wrong, has no loss, or cannot be compiled.
pub fn gradcheck(model: &Model, seed: u64, stop: Option<&AtomicU32>) -> Result<Report, GradcheckError> {
    compare(&small(model)?.graph, seed, stop)
}

/// The error of the derivative along a random direction that native code's gradient gives, beside the one of
/// forward mode.
///
/// # Errors
/// As [`gradcheck`].
pub fn forward_mode(model: &Model, seed: u64, stop: Option<&AtomicU32>) -> Result<f64, GradcheckError> {
    let graph = small(model)?.graph;
    let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    let Sample { data, mut feeds } = sample(&graph, seed)?;
    let gradients = native(&grad(&graph, &names)?, &data, &feeds)?;
    let mut forward = jvp(&graph, &names)?;
    let mut expected = 0.0;
    for (param, name) in graph.params.iter().zip(&names) {
        let along = direction(&graph, name);
        let values = Initializer::Uniform(1.0).values(&along, &param.shape, seed);
        let gradient = gradients.get(name).map_or(&[][..], Vec::as_slice);
        expected += values.iter().zip(gradient).map(|(a, b)| a * b).sum::<f64>();
        feeds.params.insert(along, values);
    }
    let known = graph.outputs.len();
    forward.outputs.drain(..known);
    let program = stopping(eval::Program::new(&forward)?, stop);
    let values = program.run(&feeds)?;
    let found: f64 = forward.outputs.iter().filter_map(|output| values.scalar(output.value)).sum();
    Ok((found - expected).abs() / found.abs().max(expected.abs()).max(1.0))
}

/// The largest difference between the gradient of an OpenCL device and that of native code in f64, relative to
/// the largest element of each parameter's, and what counts as agreement: the device calculates in f64 where it
/// can.
///
/// # Errors
/// As [`gradcheck`], or the device fails.
pub fn on_device(model: &Model, seed: u64, device: &Arc<Device>) -> Result<(f64, f64), GradcheckError> {
    let graph = small(model)?.graph;
    let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    let gradient = grad(&graph, &names)?;
    let Sample { data, feeds } = sample(&graph, seed)?;
    let machine = Machine::Device(Arc::clone(device));
    let (found, tolerance) = match device.info.doubles {
        true => (gradients::<f64>(machine, &gradient, &data, &feeds)?, TOLERANCE),
        false => (gradients::<f32>(machine, &gradient, &data, &feeds)?, DEVICE_TOLERANCE),
    };
    let mut worst = 0.0_f64;
    for (name, wanted) in native(&gradient, &data, &feeds)? {
        let largest = wanted.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let found = found.get(&name).map_or(&[][..], Vec::as_slice);
        for (a, b) in found.iter().zip(&wanted) {
            let error = (a - b).abs() / largest.max(f64::MIN_POSITIVE);
            worst = if error.is_nan() || error > worst { error } else { worst };
        }
    }
    Ok((worst, tolerance))
}

fn stopping<'a>(program: eval::Program<'a>, stop: Option<&'a AtomicU32>) -> eval::Program<'a> {
    match stop {
        Some(stop) => program.until(stop),
        None => program,
    }
}

/// Random data, parameters and lengths.
struct Sample {
    data: Dataset,
    feeds: Feeds,
}

/// The gradient of `graph` beside finite differences of it.
fn compare(graph: &Graph, seed: u64, stop: Option<&AtomicU32>) -> Result<Report, GradcheckError> {
    let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    let gradient = grad(graph, &names)?;
    let Sample { data, feeds } = sample(graph, seed)?;
    let gradients = native(&gradient, &data, &feeds)?;
    let interpreter = stopping(eval::Program::new(graph)?, stop);
    let derivatives = difference(&interpreter, &feeds, &[], DifferenceOptions::default())?;
    let errors = worst_errors(&derivatives, &gradients);
    let row = |name: &String| {
        let count = feeds.params.get(name).map_or(0, Vec::len);
        let compared = derivatives.get(name).map_or(0, Vec::len);
        (name.clone(), count, compared, errors.get(name).copied().unwrap_or(f64::NAN))
    };
    let parameters = names.iter().map(row).collect();
    Ok(Report { model: graph.name.clone(), dims: graph.dims.clone(), parameters })
}

/// Two examples, small and of different lengths.
fn sample(graph: &Graph, seed: u64) -> Result<Sample, GradcheckError> {
    let examples = LENGTHS[0].len();
    let axes = graph.axes.iter().skip(1).zip(LENGTHS.iter().cycle());
    let mut lengths = BTreeMap::new();
    let mut trees = Trees::new();
    for (number, (axis, own)) in (1..).zip(axes) {
        if axis.kind == AxisKind::Tree {
            let most = most_children(graph, AxisId(number))?;
            trees.insert(axis.name.clone(), random_trees(seed, number, most.unwrap_or(u32::MAX)));
        }
        lengths.insert(axis.name.clone(), own.to_vec());
    }
    let data = Dataset::random_on(graph, &lengths, trees, examples, seed);
    let params: BTreeMap<String, Vec<f64>> = graph
        .params
        .iter()
        .map(|param| {
            // Large enough for every gate to move, small enough for none to be stuck at its end.
            let width = param.shape.last().copied().unwrap_or(1).max(1) as f64;
            let spread = Initializer::Uniform((3.0 / width).sqrt().min(0.6));
            (param.name.clone(), spread.values(&param.name, &param.shape, seed))
        })
        .collect();
    let feeds = Feeds {
        examples,
        lengths: data.lengths.clone(),
        trees: data.trees.iter().map(|(axis, trees)| (axis.clone(), owned(trees))).collect(),
        inputs: data.for_interpreter(),
        // In the middle of training, so that what a schedule brings in is there.
        settings: settings(2.5, 250),
        seed,
        step: 0,
        params,
    };
    Ok(Sample { data, feeds })
}

/// A tree for each example, of no node with more children than this.
fn random_trees(seed: u64, axis: u8, most: u32) -> Vec<Arc<Tree>> {
    let grown = |(example, (given, more)): (u32, &(&[i64], u32))| {
        let (mut parents, mut arities) = (vec![-1], vec![0]);
        let key = [seed as u32, (seed >> 32) as u32];
        let random = |node: u32| philox4x32([node, example, u32::from(axis), 0x72EE], key)[0] as usize;
        let given = given.iter().skip(1).map(|&parent| usize::try_from(parent).unwrap_or(0));
        for wanted in given.chain((0..*more).map(random)) {
            let parent = free(&arities, most, wanted % arities.len());
            parents.push(i64::try_from(parent).unwrap_or(-1));
            arities[parent] += 1;
            arities.push(0);
        }
        Arc::new(Tree::new(&parents).unwrap_or_default())
    };
    (0..).zip(&TREES).map(grown).collect()
}

/// The first node from `wanted` on, in a circle, that may have another child: the last always may.
fn free(arities: &[u32], most: u32, wanted: usize) -> usize {
    let circle = (wanted..arities.len()).chain(0..wanted);
    circle.into_iter().find(|&node| arities[node] < most).unwrap_or(arities.len() - 1)
}

fn owned(trees: &[Arc<Tree>]) -> Vec<Tree> {
    trees.iter().map(|tree| Tree::clone(tree)).collect()
}

/// The model with small dimensions where it works with those, else as it is.
fn small(model: &Model) -> Result<Checked, SessionError> {
    let checked = model.check(Mode::Train);
    // A model with unbound dimensions is checked with numbers in their place.
    let dims = match &checked {
        Ok(checked) => checked.graph.dims.clone(),
        Err(_) => model.check_everything()?.graph.dims,
    };
    let mut set = model.set.clone();
    for ((name, own), size) in dims.iter().zip(SIZES.iter().cycle()) {
        if !model.set.iter().any(|(bound, _)| bound == name) {
            set.push((name.clone(), *own.min(size)));
        }
    }
    let shrunk = Model { set, ..model.clone() };
    shrunk.check(Mode::Train).or(checked)
}

/// Gradients of native code, by parameter.
fn native(
    gradient: &Graph,
    data: &Dataset,
    feeds: &Feeds,
) -> Result<BTreeMap<String, Vec<f64>>, GradcheckError> {
    gradients::<f64>(Machine::Processor, gradient, data, feeds)
}

/// The gradients that a machine computes, by parameter.
fn gradients<R: Real>(
    machine: Machine,
    gradient: &Graph,
    data: &Dataset,
    feeds: &Feeds,
) -> Result<BTreeMap<String, Vec<f64>>, GradcheckError> {
    let name = format!("{}_gradcheck", gradient.name);
    let mut pipeline = Pipeline { machine, ..Pipeline::default() };
    let kinds = [OutputKind::Loss, OutputKind::Gradient];
    let mut batch: Batch<R> = pipeline.batch(gradient, &kinds, &name, &threads(1)?)?;
    let order = batch.parameters().filter_map(|name| feeds.params.get(name));
    let values: Vec<Vec<R>> =
        order.map(|values| values.iter().map(|&value| R::from_f64(value)).collect()).collect();
    let values: Vec<&[R]> = values.iter().map(Vec::as_slice).collect();
    let all: Vec<usize> = (0..feeds.examples).collect();
    let examples = data.select::<R>(&all);
    batch.lay_out(&examples.lengths_for(batch.plan()))?;
    batch.set_random(feeds.seed, u64::from(feeds.step))?;
    for (name, value) in &feeds.settings {
        batch.set_scalar(name, *value)?;
    }
    batch.run(&examples.feeds(), &values)?;
    let mut gradients = BTreeMap::new();
    for output in gradient.outputs_of(OutputKind::Gradient) {
        let values = batch.values(&format!("gradient:{}", output.name))?;
        gradients.insert(output.name.clone(), values.into_iter().map(R::to_f64).collect());
    }
    Ok(gradients)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::evaluate::chunked;

    fn check(source: &str) -> Report {
        gradcheck(&Model::new("m", source), 1, None).unwrap()
    }

    #[test]
    fn a_recurrent_model_agrees() {
        let report = check(
            "model M(V = 500, E = 32, H = 64) {\n  input w: id(V) over t\n  param embed: [V, E]\n  h = LSTM(E, H)(embed[w[t-1]])\n  w[t] ~ categorical(Dense(H, V)(dropout(h, 0.5)))\n}\n",
        );
        assert!(report.agrees(), "{report:?}");
        assert_eq!(report.dims, [("V".to_string(), 5), ("E".to_string(), 4), ("H".to_string(), 6)]);
        assert_eq!(report.parameters.len(), 11);
    }

    #[test]
    fn a_chunk_of_a_text_agrees() {
        for cell in ["RNN", "GRU", "LSTM"] {
            let source = format!(
                "model M(V = 5, E = 4, H = 6) {{\n  input w: id(V) over t\n  param embed: [V, E]\n  h = {cell}(E, H)(embed[w[t-1]])\n  w[t] ~ categorical(Dense(H, V)(h))\n}}\n"
            );
            let model = Model::new("m", source);
            let graph = model.check(Mode::Train).unwrap().graph;
            let graph = chunked(&model, &graph, &model.text_input().unwrap()).unwrap();
            assert!(graph.inputs.iter().any(|input| input.name == "h.h.carry"), "{:?}", graph.inputs);
            let report = compare(&graph, 1, None).unwrap();
            assert!(report.agrees(), "{cell}: {report:?}");
        }
    }

    #[test]
    fn trees_have_no_child_that_a_model_passes_over() {
        for (most, largest) in [(u32::MAX, 3), (2, 2), (1, 1)] {
            for seed in 0..20 {
                let trees = random_trees(seed, 1, most);
                assert_eq!(trees.len(), LENGTHS[0].len());
                assert!(trees.iter().map(|tree| tree.largest_arity()).max() >= Some(largest));
                assert!(trees.iter().all(|tree| tree.largest_arity() as u64 <= u64::from(most)));
            }
        }
        let report = check(
            "model M(H = 3) {\n  input z: [H] over n, n.child\n  input x: [H] over tree n\n  param w: [H]\n  loss l = sum(w * sum(z * x over child))\n}\n",
        );
        assert!(report.agrees(), "{report:?}");
    }

    #[test]
    fn what_is_stopped_stands_still() {
        let report = check(
            "model M(H = 3) {\n  input x: [H] over t\n  state h: [H] over t\n  param w, v: [H]\n  h[t] = tanh(w * x + v * stop(w * h[t-1]))\n  loss l = sum(stop(w) * w * h)\n}\n",
        );
        assert!(report.agrees(), "{report:?}");
    }

    #[test]
    fn what_differences_do_not_follow_does_not_agree() {
        let report = check(
            "model M(H = 3) {\n  input x: [H] over t\n  param w: [H]\n  loss l = sum(sin(20000 * w) * x)\n}\n",
        );
        assert!(!report.agrees(), "{report:?}");
    }
}
