//! The spectral radius of the recurrent Jacobian: of the states of a loop by those that they were computed
//! from, at every step of a sequence or along every edge of a tree.
//!
//! The loop is cut: what it reads at other positions becomes an input, and forward mode multiplies by the
//! derivative of one step (power iteration, at all steps at once). The vector of a step has all rows of all
//! states there: of a state over two axes those on the other axis, too. Of a tree every child has
//! a Jacobian of its own, square like a sequence's, so there is one iteration for the first children, one
//! for the second, and so on; of a tree that is gone through from its root there is one, by the parent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use super::rows::{Rows, children, value};
use super::{Cycle, FlowError, Radius, names};
use crate::driver::example::{Example, Native};
use crate::eval::{Feeds, InputData};
use crate::grad::tangents;
use crate::ir::{
    Access, AxisKind, AxisSet, Graph, InputSpec, NodeId, Op, Operand, OutputKind, Tree, ValueType,
};

/// Multiplications by the Jacobian; the radius is the mean growth of the second half.
const TURNS: usize = 64;

/// A value that a cut loop reads at another position.
struct Read {
    /// Which of the loop's states, and how far back.
    state: usize,
    by: usize,
    /// How it is read: at a child, the parent, an earlier step.
    access: Access,
    /// As it is read in the whole program.
    source: Operand,
    /// Inputs that stand for it and for its direction.
    leaf: NodeId,
    direction: NodeId,
}

/// Vectors of a loop's states, by state and how far back: numbers in the order of the state's rows.
struct Vectors {
    kept: Vec<Vec<Vec<f64>>>,
    /// By state: elements of a row, and the rows of each position.
    sizes: Vec<usize>,
    rows: Vec<Vec<Vec<usize>>>,
}

/// Growth of vectors by power iteration along a loop on `example`; nothing for states over children.
pub(super) fn radius(
    graph: &Graph,
    example: &Example,
    feeds: &Feeds,
    cycle: &Cycle,
    stop: &AtomicU32,
) -> Result<Option<Radius>, FlowError> {
    let states: Vec<&ValueType> = cycle.states.iter().map(|&state| graph.ty(state)).collect();
    // A value for each edge steps from an edge to several: there is no square Jacobian of one by another.
    if states.iter().any(|ty| children(graph, cycle.axis, ty.axes).is_some()) {
        return Ok(None);
    }
    let mut cut = graph.clone();
    let reads = cut_open(&mut cut, cycle);
    let inputs = sources(graph, feeds, &reads)?;
    let seeds: Vec<(NodeId, NodeId)> = reads.iter().map(|read| (read.leaf, read.direction)).collect();
    let found = tangents(&mut cut, &seeds, &cycle.states)?;
    cut.outputs.clear();
    for (number, state) in cycle.states.iter().enumerate() {
        if let Some(&node) = found.get(state) {
            cut.outputs.push(value(number.to_string(), node.into()));
        }
    }
    let sets: Vec<AxisSet> =
        states.iter().map(|ty| ty.axes).chain(reads.iter().map(|read| cut.ty(read.leaf).axes)).collect();
    let mut rows = Rows::of(graph, feeds, cycle.axis, &sets)?;
    let of_reads = rows.split_off(states.len());
    let positions = example.positions(graph, AxisSet::one(cycle.axis));
    let tree = match graph.axis_kind(cycle.axis) {
        AxisKind::Tree => example.trees.get(graph.axis_name(cycle.axis)),
        _ => None,
    };
    // What is computed from where: the sequence, or each number of a child, or the parent.
    let slots = match tree {
        Some(tree) if !cycle.backward => tree.largest_arity(),
        Some(_) | None => 1,
    };
    let mut native =
        Native::new(&cut, &[OutputKind::Value], &Feeds { inputs: inputs.clone(), ..feeds.clone() })?;
    let mut result = Radius {
        states: names(graph, &cycle.states),
        axis: graph.axis_name(cycle.axis).to_string(),
        from: match (tree, cycle.backward) {
            (None, false) => "the step before",
            (None, true) => "the step after",
            (Some(_), false) => "those of a child",
            (Some(_), true) => "those of the parent",
        },
        radii: Vec::new(),
    };
    for slot in 0..slots {
        let most = reads.iter().map(|read| read.by).max().unwrap_or(1);
        let mut vectors = Vectors::begin(&states, &rows, positions, most);
        let mut inputs = inputs.clone();
        let mut growth = vec![0.0; positions];
        for turn in 0..TURNS {
            if stop.load(Ordering::Relaxed) != 0 {
                return Err(FlowError::Interrupted);
            }
            for (number, (read, rows)) in reads.iter().zip(&of_reads).enumerate() {
                let direction = vectors.direction(read, rows, slot, tree);
                inputs.insert(format!("direction.{number}"), InputData::Real(vec![direction]));
            }
            native.run(&inputs)?;
            for (state, kept) in vectors.kept.iter_mut().enumerate() {
                let next = match found.contains_key(&cycle.states[state]) {
                    true => native.values(&state.to_string())?,
                    false => vec![0.0; kept.first().map_or(0, Vec::len)],
                };
                kept.insert(0, next);
                kept.truncate(most);
            }
            for (position, growth) in growth.iter_mut().enumerate() {
                let norm = vectors.normalise(position);
                if turn >= TURNS / 2 {
                    *growth += norm.max(f64::MIN_POSITIVE).ln();
                }
            }
        }
        for (position, sum) in growth.into_iter().enumerate() {
            let radius = (sum / (TURNS - TURNS / 2) as f64).exp();
            let radius = if radius < 1e-200 { 0.0 } else { radius };
            let at = match tree {
                None => Some(position),
                // Of an edge the depth of its lower end.
                Some(tree) if cycle.backward => tree.parent(position).map(|_| depth(tree, position)),
                Some(tree) => tree.child(position, slot).map(|_| depth(tree, position) + 1),
            };
            result.radii.extend(at.map(|at| (at, radius)));
        }
    }
    result.radii.sort_by_key(|(at, _)| *at);
    Ok(Some(result))
}

/// What the cut loop reads, computed once by the whole program, beside the example's own data.
fn sources(graph: &Graph, feeds: &Feeds, reads: &[Read]) -> Result<BTreeMap<String, InputData>, FlowError> {
    let mut whole = graph.clone();
    whole.outputs =
        reads.iter().enumerate().map(|(number, read)| value(number.to_string(), read.source)).collect();
    let mut native = Native::new(&whole, &[OutputKind::Value], feeds)?;
    native.run(&feeds.inputs)?;
    let mut inputs = feeds.inputs.clone();
    for number in 0..reads.len() {
        inputs.insert(format!("read.{number}"), InputData::Real(vec![native.values(&number.to_string())?]));
    }
    Ok(inputs)
}

impl Vectors {
    /// Different everywhere, so that none is orthogonal to what grows.
    fn begin(states: &[&ValueType], rows: &[Rows], positions: usize, most: usize) -> Vectors {
        let start = |number: usize, count: usize| -> Vec<f64> {
            (0..count).map(|at| 1.0 + 0.5 * ((at * 7 + number * 3) as f64).sin()).collect()
        };
        let of = |(state, (ty, rows)): (usize, (&&ValueType, &Rows))| {
            (0..most).map(|by| start(state + by, rows.len() * ty.size())).collect()
        };
        Vectors {
            kept: states.iter().zip(rows).enumerate().map(of).collect(),
            sizes: states.iter().map(|ty| ty.size()).collect(),
            rows: rows.iter().map(|rows| rows.by_position(positions)).collect(),
        }
    }

    /// The direction in which a read value is moved, in the order of its own rows.
    fn direction(&self, read: &Read, rows: &Rows, slot: usize, tree: Option<&Tree>) -> Vec<f64> {
        let (own, size) = (&self.kept[read.state][read.by - 1], self.sizes[read.state]);
        let none = || vec![0.0; rows.len() * size];
        match read.access {
            Access::Nth { number, .. } if number as usize != slot => none(),
            Access::Child { .. } => {
                let mut found = none();
                for (row, node) in rows.of_child(slot, &self.rows[read.state]) {
                    found[row * size..(row + 1) * size].copy_from_slice(&own[node * size..(node + 1) * size]);
                }
                found
            }
            Access::NthOf { number, .. } => {
                let mut found = none();
                let is_this = |node: usize| tree.is_some_and(|tree| tree.rank(node) == number as usize);
                let nodes = self.rows[read.state].iter().enumerate().filter(|(node, _)| is_this(*node));
                for &row in nodes.flat_map(|(_, rows)| rows) {
                    found[row * size..(row + 1) * size].copy_from_slice(&own[row * size..(row + 1) * size]);
                }
                found
            }
            _ => own.clone(),
        }
    }

    /// The norm of the vectors at a position, of which they are freed.
    fn normalise(&mut self, position: usize) -> f64 {
        let mut sum = 0.0;
        self.each(position, |x| sum += *x * *x);
        let norm = sum.sqrt();
        if norm > 0.0 && norm.is_finite() {
            self.each(position, |x| *x /= norm);
        }
        norm
    }

    /// Every number at a position.
    fn each(&mut self, position: usize, mut work: impl FnMut(&mut f64)) {
        for ((kept, &size), rows) in self.kept.iter_mut().zip(&self.sizes).zip(&self.rows) {
            for vector in kept {
                for &row in &rows[position] {
                    vector[row * size..(row + 1) * size].iter_mut().for_each(&mut work);
                }
            }
        }
    }
}

/// Puts an input in the place of everything that the loop reads at other positions.
fn cut_open(graph: &mut Graph, cycle: &Cycle) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    for (state, &node) in cycle.states.iter().enumerate() {
        for (user, index, access) in graph.users(node) {
            if access.direction().is_none() || !cycle.nodes.contains(&user) {
                continue;
            }
            let by = match access {
                Access::Delay { by, .. } | Access::Advance { by, .. } => by as usize,
                _ => 1,
            };
            let starts = *graph.op(user) == Op::Initially && index == 0;
            let source = if starts { user.into() } else { Operand { node, access } };
            let known = reads.iter().find(|read| read.source == source).map(|read| read.leaf);
            let leaf = known.unwrap_or_else(|| {
                let number = reads.len();
                let origin = graph.node(node).origin;
                let ty = graph.type_at(source);
                let mut input = |name: String| {
                    graph.inputs.push(InputSpec { name: name.clone(), ty: ty.clone(), observed: false });
                    graph.leaf(Op::Input(name), ty.clone(), origin, None)
                };
                let leaf = input(format!("read.{number}"));
                let direction = input(format!("direction.{number}"));
                reads.push(Read { state, by, access, source, leaf, direction });
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

/// How far below the root a node is.
pub(super) fn depth(tree: &Tree, node: usize) -> usize {
    std::iter::successors(tree.parent(node), |&above| tree.parent(above)).count()
}
