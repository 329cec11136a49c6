//! How gradients travel: the norm of the loss's gradient with respect to each state at each step, and the
//! spectral radius of the recurrent Jacobian beside it.
//!
//! Of a plain recurrent network whose loss is at the end the norms fall (or rise) by about the radius a step;
//! of an LSTM they do not. Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
//! networks", ICML 2013; Hochreiter (1991).
//!
//! The norms are those of the adjoints that training computes. For the Jacobian every loop is cut: what it
//! reads of earlier steps becomes an input, and forward mode multiplies by the derivative of one step (power
//! iteration, at all steps at once). Both run in native code, in f64.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

use super::example::{Example, ExampleError, Native};
use crate::eval::{Feeds, InputData};
use crate::grad::{GradError, adjoints, tangents};
use crate::ir::{
    Access, Along, AxisId, AxisKind, AxisSet, Binary, Graph, InferError, InputSpec, NodeId, Op, Operand,
    Origin, Output, OutputKind, Reduction, ScheduleError, Stage, ValueType, listing, schedule,
};

/// Multiplications by the Jacobian; the radius is the mean growth of the second half.
const TURNS: usize = 64;

/// Why there is no flow.
#[derive(Debug, Error)]
pub enum FlowError {
    /// No loss, or no derivative.
    #[error(transparent)]
    Grad(#[from] GradError),
    /// The compiler or the run.
    #[error(transparent)]
    Example(#[from] ExampleError),
    /// The graph.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Types that do not fit: a fault of the compiler.
    #[error("internal: {0}")]
    Infer(#[from] InferError),
    /// A program without recurrence.
    #[error("model `{0}` has no state: nothing in it goes from one position to another")]
    NoState(String),
    /// The loss has no last position.
    #[error("no loss of model `{0}` is a mean over positions, so there is no last one: leave `last` out")]
    NoLast(String),
    /// Somebody asked for the end.
    #[error("interrupted")]
    Interrupted,
}

/// A state and the norm of the loss's gradient with respect to it.
#[derive(Clone, Debug, PartialEq)]
pub struct StateFlow {
    /// Its name.
    pub name: String,
    /// Its axis.
    pub axis: String,
    /// By position; of a tree by depth below the root, the mean over its nodes.
    pub norms: Vec<f64>,
    /// Whether gradients travel from the last position to the first.
    pub to_first: bool,
}

/// A loop and the spectral radius of the Jacobian of its states by those of the step before.
#[derive(Clone, Debug, PartialEq)]
pub struct Radius {
    /// Its states.
    pub states: Vec<String>,
    /// Its axis.
    pub axis: String,
    /// By position.
    pub radii: Vec<f64>,
}

/// How gradients travel through a model on one example.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// The model.
    pub model: String,
    /// States in their order.
    pub states: Vec<StateFlow>,
    /// Loops along sequences.
    pub loops: Vec<Radius>,
    /// Whether only the loss of the last position counts.
    pub last: bool,
}

/// A loop with its states: what its own nodes read at another position.
struct Cycle {
    axis: AxisId,
    /// As of a stage: against the order of positions, of a tree from the root to the leaves.
    backward: bool,
    nodes: Vec<NodeId>,
    states: Vec<NodeId>,
}

/// How gradients travel through `graph` (checked, with losses) on `example`.
///
/// # Errors
/// There is no loss or no state, or an operation on the way has no derivative.
pub fn flow(
    graph: &Graph,
    example: &Example,
    feeds: &Feeds,
    last: bool,
    stop: &AtomicU32,
) -> Result<Flow, FlowError> {
    let cycles = cycles(graph)?;
    if cycles.is_empty() {
        return Err(FlowError::NoState(graph.name.clone()));
    }
    let states = norms(graph, example, feeds, &cycles, last)?;
    let mut loops = Vec::new();
    for cycle in &cycles {
        if graph.axis_kind(cycle.axis) != AxisKind::Tree {
            loops.extend(radius(graph, example, feeds, cycle, stop)?);
        }
    }
    Ok(Flow { model: graph.name.clone(), states, loops, last })
}

/// The loops of a graph.
fn cycles(graph: &Graph) -> Result<Vec<Cycle>, ScheduleError> {
    let mut found = Vec::new();
    for stage in schedule(graph)? {
        let Stage::Loop { axis, backward, nodes } = stage else { continue };
        let mut states: Vec<NodeId> = Vec::new();
        for &node in &nodes {
            for operand in graph.operands(node) {
                let moved = operand.access.direction().is_some() && nodes.contains(&operand.node);
                if moved && graph.is_real(operand.node) && !states.contains(&operand.node) {
                    states.push(operand.node);
                }
            }
        }
        if !states.is_empty() {
            found.push(Cycle { axis, backward, nodes, states });
        }
    }
    Ok(found)
}

/// What a state is called.
fn names(graph: &Graph, nodes: &[NodeId]) -> Vec<String> {
    let listing = listing(graph);
    let name = |&node: &NodeId| {
        graph
            .node(node)
            .name
            .clone()
            .or_else(|| listing.name(node).map(str::to_string))
            .unwrap_or("state".into())
    };
    nodes.iter().map(name).collect()
}

fn norms(
    graph: &Graph,
    example: &Example,
    feeds: &Feeds,
    cycles: &[Cycle],
    last: bool,
) -> Result<Vec<StateFlow>, FlowError> {
    let mut backward = graph.clone();
    let seeds = seeds(&mut backward, last)?;
    let all: Vec<NodeId> = cycles.iter().flat_map(|cycle| cycle.states.iter().copied()).collect();
    let found = adjoints(&mut backward, &seeds, &all)?;
    backward.outputs.clear();
    for (number, state) in all.iter().enumerate() {
        if let Some(&node) = found.get(state) {
            backward.outputs.push(value(number.to_string(), node.into()));
        }
    }
    let mut native = Native::new(&backward, &[OutputKind::Value], feeds)?;
    native.run(&feeds.inputs)?;
    let mut states = Vec::new();
    let mut number = 0;
    for cycle in cycles {
        for (state, name) in cycle.states.iter().zip(names(graph, &cycle.states)) {
            let ty = graph.ty(*state);
            let positions = example.positions(graph, AxisSet::one(cycle.axis));
            let adjoint = match found.contains_key(state) {
                true => native.values(&number.to_string())?,
                false => Vec::new(),
            };
            number += 1;
            let size = adjoint.len() / positions.max(1);
            let norm = |at: usize| {
                let own = adjoint.get(at * size..(at + 1) * size).unwrap_or(&[]);
                own.iter().map(|x| x * x).sum::<f64>().sqrt()
            };
            let own: Vec<f64> = (0..positions).map(norm).collect();
            let axis = graph.axis_name(cycle.axis).to_string();
            let (axis, norms, to_first) = match example.trees.get(&axis) {
                Some(tree) if ty.axes.contains(cycle.axis) => {
                    (format!("depth in {axis}"), by_depth(tree, &own), cycle.backward)
                }
                _ => (axis, own, !cycle.backward),
            };
            states.push(StateFlow { name, axis, norms, to_first });
        }
    }
    Ok(states)
}

/// Means over the nodes of each depth below the root.
fn by_depth(tree: &crate::ir::Tree, norms: &[f64]) -> Vec<f64> {
    let mut sums: Vec<(f64, usize)> = Vec::new();
    for (node, norm) in norms.iter().enumerate() {
        let depth = std::iter::successors(tree.parent(node), |&above| tree.parent(above)).count();
        if sums.len() <= depth {
            sums.resize(depth + 1, (0.0, 0));
        }
        sums[depth] = (sums[depth].0 + norm, sums[depth].1 + 1);
    }
    sums.into_iter().map(|(sum, count)| sum / count.max(1) as f64).collect()
}

/// What the sweep begins with: every loss, or of those that are means over positions the last position's.
fn seeds(graph: &mut Graph, last: bool) -> Result<Vec<(Operand, Operand)>, FlowError> {
    let origin = Origin::forward(crate::base::Span::NONE);
    let losses: Vec<Operand> = graph.outputs_of(OutputKind::Loss).map(|output| output.value).collect();
    if losses.is_empty() {
        return Err(GradError::NoLoss.into());
    }
    let one: Operand = graph.constant(1.0, &[], origin).into();
    if !last {
        return Ok(losses.into_iter().map(|loss| (loss, one)).collect());
    }
    let mut found = Vec::new();
    for loss in losses {
        let Op::Reduce(Reduction::Mean, Along::Axes(over)) = *graph.op(loss.node) else { continue };
        let averaged = graph.operands(loss.node)[0];
        let steps = over.iter().filter(|&axis| graph.axis_kind(axis).is_sequence());
        let mut seed = one;
        for axis in steps.collect::<Vec<_>>() {
            let ty = |axes| ValueType::real(Vec::new(), axes);
            let at = graph.leaf(Op::Position(axis), ty(AxisSet::BATCH.with(axis)), origin, None);
            let length = graph.leaf(Op::Length(axis), ty(AxisSet::BATCH), origin, None);
            let end = graph.apply(Op::Binary(Binary::Subtract), &[length.into(), one], origin)?;
            let is_last = graph.apply(Op::Binary(Binary::Equal), &[at.into(), end.into()], origin)?;
            seed = graph.apply(Op::Binary(Binary::Multiply), &[seed, is_last.into()], origin)?.into();
        }
        if seed != one {
            found.push((averaged, seed));
        }
    }
    if found.is_empty() { Err(FlowError::NoLast(graph.name.clone())) } else { Ok(found) }
}

/// A value that a cut loop reads from an earlier step.
struct Read {
    /// Which of the loop's states, and how far back.
    state: usize,
    by: usize,
    /// As it is read in the whole program.
    source: Operand,
    /// Inputs that stand for it and for its direction.
    leaf: NodeId,
    direction: NodeId,
}

fn radius(
    graph: &Graph,
    example: &Example,
    feeds: &Feeds,
    cycle: &Cycle,
    stop: &AtomicU32,
) -> Result<Option<Radius>, FlowError> {
    // A state on a second axis has a Jacobian for each of its positions: none is shown.
    let own = AxisSet::BATCH.with(cycle.axis);
    if cycle.states.iter().any(|&state| graph.ty(state).axes != own) {
        return Ok(None);
    }
    let mut cut = graph.clone();
    let reads = cut_open(&mut cut, cycle);
    // What is read is computed once, by the whole program.
    let mut whole = graph.clone();
    whole.outputs =
        reads.iter().enumerate().map(|(number, read)| value(number.to_string(), read.source)).collect();
    let mut native = Native::new(&whole, &[OutputKind::Value], feeds)?;
    native.run(&feeds.inputs)?;
    let mut inputs: BTreeMap<String, InputData> = feeds.inputs.clone();
    for number in 0..reads.len() {
        inputs.insert(format!("read.{number}"), InputData::Real(vec![native.values(&number.to_string())?]));
    }
    let seeds: Vec<(NodeId, NodeId)> = reads.iter().map(|read| (read.leaf, read.direction)).collect();
    let found = tangents(&mut cut, &seeds, &cycle.states)?;
    cut.outputs.clear();
    for (number, state) in cycle.states.iter().enumerate() {
        if let Some(&node) = found.get(state) {
            cut.outputs.push(value(number.to_string(), node.into()));
        }
    }
    let feeds = Feeds { inputs: inputs.clone(), ..feeds.clone() };
    let mut native = Native::new(&cut, &[OutputKind::Value], &feeds)?;
    let steps = example.positions(graph, AxisSet::one(cycle.axis));
    let sizes: Vec<usize> = cycle.states.iter().map(|&state| graph.ty(state).size()).collect();
    let most = reads.iter().map(|read| read.by).max().unwrap_or(1);
    // By state and how far back: the vector at every step. Different everywhere, so that none is orthogonal.
    let start = |number: usize, size: usize| -> Vec<f64> {
        (0..steps * size).map(|at| 1.0 + 0.5 * ((at * 7 + number * 3) as f64).sin()).collect()
    };
    let mut vectors: Vec<Vec<Vec<f64>>> = sizes
        .iter()
        .enumerate()
        .map(|(state, &size)| (0..most).map(|by| start(state + by, size)).collect())
        .collect();
    let mut growth = vec![0.0; steps];
    for turn in 0..TURNS {
        if stop.load(Ordering::Relaxed) != 0 {
            return Err(FlowError::Interrupted);
        }
        for (number, read) in reads.iter().enumerate() {
            let vector = vectors[read.state][read.by - 1].clone();
            inputs.insert(format!("direction.{number}"), InputData::Real(vec![vector]));
        }
        native.run(&inputs)?;
        for (state, kept) in vectors.iter_mut().enumerate() {
            let next = match found.contains_key(&cycle.states[state]) {
                true => native.values(&state.to_string())?,
                false => vec![0.0; steps * sizes[state]],
            };
            kept.insert(0, next);
            kept.truncate(most);
        }
        for (step, growth) in growth.iter_mut().enumerate() {
            let norm = normalise(&mut vectors, &sizes, step);
            if turn >= TURNS / 2 {
                *growth += norm.max(f64::MIN_POSITIVE).ln();
            }
        }
    }
    let radii = growth.into_iter().map(|sum| (sum / (TURNS - TURNS / 2) as f64).exp());
    let radii = radii.map(|radius| if radius < 1e-200 { 0.0 } else { radius }).collect();
    let axis = graph.axis_name(cycle.axis).to_string();
    Ok(Some(Radius { states: names(graph, &cycle.states), axis, radii }))
}

/// Puts an input in the place of everything that the loop reads of earlier steps.
fn cut_open(graph: &mut Graph, cycle: &Cycle) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    for (state, &node) in cycle.states.iter().enumerate() {
        for (user, index, access) in graph.users(node) {
            let (Access::Delay { by, .. } | Access::Advance { by, .. }) = access else { continue };
            if !cycle.nodes.contains(&user) {
                continue;
            }
            let starts = *graph.op(user) == Op::Initially && index == 0;
            let source = if starts { user.into() } else { Operand { node, access } };
            let known = reads.iter().find(|read| read.source == source).map(|read| read.leaf);
            let leaf = known.unwrap_or_else(|| {
                let number = reads.len();
                let origin = graph.node(node).origin;
                let ty = graph.ty(node).clone();
                let mut input = |name: String| {
                    graph.inputs.push(InputSpec { name: name.clone(), ty: ty.clone(), observed: false });
                    graph.leaf(Op::Input(name), ty.clone(), origin, None)
                };
                let leaf = input(format!("read.{number}"));
                let direction = input(format!("direction.{number}"));
                reads.push(Read { state, by: by as usize, source, leaf, direction });
                leaf
            });
            if starts {
                graph.replace(user, leaf.into());
            } else {
                let mut operands = graph.operands(user);
                operands[index] = leaf.into();
                graph.set_operands(user, &operands);
            }
        }
    }
    reads
}

/// The norm of the vectors at a step, of which they are freed.
fn normalise(vectors: &mut [Vec<Vec<f64>>], sizes: &[usize], step: usize) -> f64 {
    let mut sum = 0.0;
    for (kept, size) in vectors.iter().zip(sizes) {
        for vector in kept {
            sum += vector[step * size..(step + 1) * size].iter().map(|x| x * x).sum::<f64>();
        }
    }
    let norm = sum.sqrt();
    if norm > 0.0 && norm.is_finite() {
        for (kept, size) in vectors.iter_mut().zip(sizes) {
            for vector in kept {
                vector[step * size..(step + 1) * size].iter_mut().for_each(|x| *x /= norm);
            }
        }
    }
    norm
}

fn value(name: String, value: Operand) -> Output {
    Output { kind: OutputKind::Value, name, value }
}

impl Flow {
    /// The chart as text, and the numbers that matter in words.
    pub fn text(&self) -> String {
        use crate::runtime::curve::{Series, curve};
        let marks = ['*', 'o', '+', 'x', '#', '@'];
        let whose = if self.last { "the loss of the last position" } else { "the loss" };
        let mut text = format!("{}: norm of the gradient of {whose}, log10\n\n", self.model);
        let axes: Vec<&str> = self.states.iter().map(|state| state.axis.as_str()).collect();
        let mut done: Vec<&str> = Vec::new();
        for axis in axes {
            if done.contains(&axis) {
                continue;
            }
            done.push(axis);
            let own: Vec<&StateFlow> = self.states.iter().filter(|state| state.axis == axis).collect();
            let points: Vec<Vec<(f64, f64)>> = own.iter().map(|state| logarithms(&state.norms)).collect();
            let series: Vec<Series> = own
                .iter()
                .zip(&points)
                .zip(marks.iter().cycle())
                .map(|((state, points), &mark)| Series { name: &state.name, mark, points })
                .collect();
            text += &curve(&series, axis, 60, 12);
            text.push('\n');
        }
        for state in &self.states {
            text += &format!("{}\n", state.words());
        }
        for radius in &self.loops {
            text += &format!("{}\n", radius.words());
        }
        text
    }
}

/// Points of a chart: what is zero has none.
pub(super) fn logarithms(norms: &[f64]) -> Vec<(f64, f64)> {
    let point = |(at, norm): (usize, &f64)| (*norm > 0.0).then(|| (at as f64, norm.log10()));
    norms.iter().enumerate().filter_map(point).collect()
}

impl StateFlow {
    /// From the last position to the first, and what that means.
    fn words(&self) -> String {
        let name = &self.name;
        let norms: Vec<(usize, f64)> =
            self.norms.iter().copied().enumerate().filter(|(_, norm)| *norm > 0.0).collect();
        let (Some(&(first, a)), Some(&(last, b))) = (norms.first(), norms.last()) else {
            return format!("{name}: no gradient reaches it");
        };
        let axis = &self.axis;
        if last == first {
            return format!("{name}: {a:.1e} at {axis} = {first}");
        }
        // From where gradients come to where they go. Where they come from the loss adds its own share: one
        // step on they are what travels.
        let inside = if norms.len() > 2 { 1 } else { 0 };
        let (near, far) = match self.to_first {
            true => (norms[norms.len() - 1 - inside], (first, a)),
            false => (norms[inside], (last, b)),
        };
        let ratio = far.1 / near.1;
        let verdict = match ratio {
            ratio if ratio < 1e-3 => "it vanishes",
            ratio if ratio > 1e3 => "it explodes",
            _ => "it is kept",
        };
        let factor = ratio.powf(1.0 / near.0.abs_diff(far.0).max(1) as f64);
        format!(
            "{name}: {:.1e} at {axis} = {}, {:.1e} at {axis} = {}: {verdict} (a factor of {factor:.3} a step)",
            near.1, near.0, far.1, far.0
        )
    }
}

impl Radius {
    fn words(&self) -> String {
        let low = self.radii.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.radii.iter().copied().fold(0.0, f64::max);
        let mean = self.radii.iter().sum::<f64>() / self.radii.len().max(1) as f64;
        format!(
            "spectral radius of the Jacobian of {} by the step before: {mean:.3} in the mean, {low:.3} to {high:.3}",
            self.states.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Mode;
    use crate::driver::example::parameters;
    use crate::driver::session::Model;

    fn of(source: &str, steps: usize, weights: &[(&str, &[f64])]) -> Flow {
        let graph = Model::new("m", source).check(Mode::Train).unwrap().graph;
        let example = Example::random(&graph, steps, 1);
        let mut params = parameters(&graph, 1);
        for (name, values) in weights {
            params.insert((*name).to_string(), values.to_vec());
        }
        let feeds = example.feeds(params, 1);
        flow(&graph, &example, &feeds, false, &AtomicU32::new(0)).unwrap()
    }

    /// Of a linear recurrence norm and radius are known.
    #[test]
    fn a_linear_recurrence() {
        let source = "cell Linear(H) {
          input x: [H]
          state h: [H]
          param W: [H, H]
          h[t] = x + W @ h[t-1]
        }
        model M(H = 2) {
          input x: [H] over t
          h = Linear(H)(x)
          loss l = sum(h[last])
        }";
        // A turn by a right angle, shortened to a half: its eigenvalues are a complex pair.
        let found = of(source, 9, &[("h.W", &[0.0, -0.5, 0.5, 0.0])]);
        assert_eq!(found.states[0].norms.len(), 9);
        for (step, norm) in found.states[0].norms.iter().enumerate() {
            let expected = 2f64.sqrt() * 0.5f64.powi(8 - i32::try_from(step).unwrap());
            assert!((norm - expected).abs() < 1e-12, "{step}: {norm}, not {expected}");
        }
        assert!(found.loops[0].radii.iter().all(|radius| (radius - 0.5).abs() < 1e-9), "{found:?}");
        assert!(found.text().contains("a factor of 0.500 a step"), "{}", found.text());
    }

    /// Two steps back are one map of both: x^2 = a x + b.
    #[test]
    fn a_recurrence_of_two_steps() {
        let source = "cell Two(H) {
          input x: [H]
          state h: [H]
          h[t] = x + 0.5 * h[t-1] + 0.5 * h[t-2]
        }
        model M(H = 1) {
          input x: [H] over t
          h = Two(H)(x)
          loss l = sum(h[last])
        }";
        let found = of(source, 6, &[]);
        assert!(found.loops[0].radii.iter().all(|radius| (radius - 1.0).abs() < 0.02), "{found:?}");
    }

    /// The gates of a GRU read a matrix whole and in parts in one program.
    #[test]
    fn library_cells_have_a_flow() {
        for cell in ["RNN", "LSTM", "GRU", "PeepholeLSTM", "CoupledLSTM", "LayerNormLSTM"] {
            let source = format!(
                "model M(D = 2, H = 3) {{ input x: [D] over t  h = {cell}(D, H)(x)  loss l = sum(h[last]^2) }}"
            );
            let found = of(&source, 5, &[]);
            assert!(found.states.iter().any(|state| state.norms.iter().all(|norm| *norm > 0.0)), "{found:?}");
            assert!(found.loops.iter().all(|radius| radius.radii.iter().all(|radius| radius.is_finite())));
        }
    }
}
