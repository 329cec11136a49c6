//! How gradients travel: the norm of the loss's gradient with respect to each state at each step, and the
//! spectral radius of the recurrent Jacobian beside it.
//!
//! Of a plain recurrent network whose loss is at the end the norms fall (or rise) by about the radius a step;
//! of an LSTM they do not. Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
//! networks", ICML 2013; Hochreiter (1991).
//!
//! The norms are those of the adjoints that training computes, in native code, in f64. `jacobian` multiplies by
//! the derivative of one step; `rows` knows where the rows of a value lie on the axis of a loop.

mod jacobian;
mod rows;

use std::sync::atomic::AtomicU32;

use thiserror::Error;

use super::example::{Example, ExampleError, Native};
use crate::eval::Feeds;
use crate::grad::{GradError, adjoints};
use crate::ir::{
    Along, AxisId, AxisSet, Binary, Graph, InferError, NodeId, Op, Operand, Origin, OutputKind, Reduction,
    ScheduleError, Stage, ValueType, listing, schedule,
};
use crate::runtime::curve::{Series, bars, curve};

use jacobian::{depth, radius};
use rows::{Rows, value};

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

/// A loop and the spectral radius of the Jacobian of its states by those that they are computed from.
#[derive(Clone, Debug, PartialEq)]
pub struct Radius {
    /// Its states.
    pub states: Vec<String>,
    /// Its axis.
    pub axis: String,
    /// What they are computed from: `the step before`, `those of a child`.
    pub from: &'static str,
    /// At every step; of a tree along every edge, with the depth of its lower end.
    pub radii: Vec<(usize, f64)>,
}

/// How gradients travel through a model on one example.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// The model.
    pub model: String,
    /// States in their order.
    pub states: Vec<StateFlow>,
    /// Loops that have a square Jacobian.
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
        loops.extend(radius(graph, example, feeds, cycle, stop)?);
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
        let sets: Vec<AxisSet> = cycle.states.iter().map(|&state| graph.ty(state).axes).collect();
        let rows = Rows::of(graph, feeds, cycle.axis, &sets)?;
        let positions = example.positions(graph, AxisSet::one(cycle.axis));
        for ((state, name), rows) in cycle.states.iter().zip(names(graph, &cycle.states)).zip(rows) {
            let adjoint = match found.contains_key(state) {
                true => native.values(&number.to_string())?,
                false => Vec::new(),
            };
            number += 1;
            let size = graph.ty(*state).size();
            let norm = |rows: Vec<usize>| {
                let own = rows.iter().filter_map(|row| adjoint.get(row * size..(row + 1) * size)).flatten();
                own.map(|x| x * x).sum::<f64>().sqrt()
            };
            let own: Vec<f64> = rows.by_position(positions).into_iter().map(norm).collect();
            let axis = graph.axis_name(cycle.axis).to_string();
            let (axis, norms, to_first) = match example.trees.get(&axis) {
                Some(tree) => (format!("depth in {axis}"), by_depth(tree, &own), cycle.backward),
                None => (axis, own, !cycle.backward),
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
        let depth = depth(tree, node);
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

impl Flow {
    /// The chart as text, and the numbers that matter in words.
    pub fn text(&self) -> String {
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
            let series: Vec<Series> =
                own.iter().zip(&points).map(|(state, points)| Series { name: &state.name, points }).collect();
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
    /// The radius at each step or depth: of several edges the mean.
    pub fn points(&self) -> Vec<(f64, f64)> {
        let mut found: Vec<(usize, f64, usize)> = Vec::new();
        for &(at, radius) in &self.radii {
            match found.last_mut() {
                Some((known, sum, count)) if *known == at => (*sum, *count) = (*sum + radius, *count + 1),
                _ => found.push((at, radius, 1)),
            }
        }
        found.into_iter().map(|(at, sum, count)| (at as f64, sum / count as f64)).collect()
    }

    fn words(&self) -> String {
        let radii = || self.radii.iter().map(|(_, radius)| *radius);
        let states = self.states.join(", ");
        let what = format!("spectral radius of the Jacobian of {states} by {}", self.from);
        if self.radii.is_empty() {
            return format!("{what}: there is no such step");
        }
        let low = radii().fold(f64::INFINITY, f64::min);
        let high = radii().fold(0.0, f64::max);
        let mean = radii().sum::<f64>() / self.radii.len() as f64;
        let means: Vec<f64> = self.points().into_iter().map(|(_, radius)| radius).collect();
        format!("{what}: {mean:.3} in the mean, {low:.3} to {high:.3}\n  {}", bars(&means, 60))
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
        assert!(found.loops[0].radii.iter().all(|(_, radius)| (radius - 0.5).abs() < 1e-9), "{found:?}");
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
        assert!(found.loops[0].radii.iter().all(|(_, radius)| (radius - 1.0).abs() < 0.02), "{found:?}");
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
            assert!(
                found.loops.iter().all(|radius| radius.radii.iter().all(|(_, radius)| radius.is_finite()))
            );
        }
    }

    /// A linear map at every edge: the first children's halves, the second's turns and shortens.
    #[test]
    fn trees_have_a_radius_at_every_edge() {
        let source = "cell Up(H) over tree n {
          input x: [H]
          state h: [H]
          param L, R: [H, H]
          h[n] = x + L @ h[left] + R @ h[right]
        }
        model M(H = 2) {
          input x: [H] over tree n
          h = Up(H)(x)
          loss l = sum(h[root])
        }";
        let (half, turn) = ([0.5, 0.0, 0.0, 0.5], [0.0, -0.25, 0.25, 0.0]);
        let found = of(source, 7, &[("h.L", &half), ("h.R", &turn)]);
        let radii = &found.loops[0].radii;
        assert_eq!(radii.iter().map(|(depth, _)| *depth).collect::<Vec<_>>(), [1, 1, 2, 2, 2, 2]);
        for (at, expected) in [0.5, 0.25, 0.5, 0.5, 0.25, 0.25].into_iter().enumerate() {
            assert!((radii[at].1 - expected).abs() < 1e-9, "{found:?}");
        }
        assert!(found.text().contains("by those of a child: 0.375 in the mean"), "{}", found.text());
    }

    /// Any number of children, each with a gate of its own, and a state from the root downwards.
    #[test]
    fn children_and_parents() {
        let source = "cell Sum(H) over tree n {
          input x: [H]
          state h: [H]
          h[n] = x + sum(0.5 * h[child] over child)
        }
        cell Down(H) over tree n {
          input x: [H]
          state d: [H]
          d[n] = x + 0.25 * d[parent]
        }
        model M(H = 2) {
          input x: [H] over tree n
          h = Sum(H)(x)
          d = Down(H)(h)
          loss l = sum(d[n])
        }";
        let found = of(source, 6, &[]);
        let radii = |of: &str| {
            let own = found.loops.iter().find(|radius| radius.from == of).map(|radius| radius.radii.clone());
            own.unwrap_or_default()
        };
        for (of, expected) in [("those of a child", 0.5), ("those of the parent", 0.25)] {
            let radii = radii(of);
            assert_eq!(radii.len(), 5, "{of}: {found:?}");
            assert!(radii.iter().all(|(_, radius)| (radius - expected).abs() < 1e-9), "{of}: {found:?}");
        }
    }

    /// A state for every pair of positions: its step is a map of all rows on the other axis.
    #[test]
    fn states_over_two_axes() {
        let source = "model M {
          input x: [] over s
          input y: [] over t
          state g: [] over t, s
          g[t, s] = x + y + 0.5 * g[t-1, s] + 0.25 * mean(g[t-1, s] over s)
          loss l = mean(g[t.last] over s)
        }";
        let found = of(source, 5, &[]);
        assert_eq!((found.states[0].axis.as_str(), found.states[0].norms.len()), ("t", 5));
        // All rows alike grow by a half and a quarter.
        assert_eq!(found.loops[0].radii.len(), 5);
        assert!(found.loops[0].radii.iter().all(|(_, radius)| (radius - 0.75).abs() < 1e-6), "{found:?}");
        // Of rows alike the norm falls by that, too.
        for pair in found.states[0].norms.windows(2) {
            assert!((pair[0] / pair[1] - 0.75).abs() < 1e-9, "{found:?}");
        }
    }
}
