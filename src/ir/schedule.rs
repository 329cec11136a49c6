//! Loops and order: which equations form a cycle, along which axis, and what must come before what.
//!
//! `h[t] = tanh(W @ h[t-1] + x[t])` is one loop along `t` that runs forwards; everything in no
//! cycle is flat. A cycle through children is a loop from the leaves of a tree to its root, one through
//! parents a loop from the root to the leaves. Ties are broken by the order in which nodes were made, so the result is stable.

use std::collections::{BinaryHeap, HashMap, HashSet};

use thiserror::Error;

use super::graph::{Graph, NodeId};
use super::op::{Along, Op};
use super::types::{Access, AxisId};

/// A stretch of the schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// A node in no cycle.
    Flat(NodeId),
    /// A cycle of delays: all its nodes, in the order of one step.
    Loop {
        /// The axis it runs along.
        axis: AxisId,
        /// True from the last position to the first, of a tree from the root to the leaves.
        backward: bool,
        /// The nodes, operands at the same position first.
        nodes: Vec<NodeId>,
    },
}

/// Why a set of equations has no order.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ScheduleError {
    /// A cycle without a delay; the nodes in order, each read by the next.
    #[error("a cycle without a delay")]
    Instant(Vec<NodeId>),
    /// A cycle that needs both the past and the future, or two axes, or a first or last position of itself.
    #[error("a cycle that no direction of one axis can compute")]
    Mixed(Vec<NodeId>),
}

/// The schedule of a graph: every node once, operands before readers.
///
/// # Errors
/// If a cycle has no delay, or no single direction along one axis.
pub fn schedule(graph: &Graph) -> Result<Vec<Stage>, ScheduleError> {
    if let Some(cycle) = instant_cycle(graph) {
        return Err(ScheduleError::Instant(cycle));
    }
    let components = graph.components(|_| true);
    let mut component_of: HashMap<NodeId, usize> = HashMap::new();
    for (index, component) in components.iter().enumerate() {
        component_of.extend(component.iter().map(|&node| (node, index)));
    }
    let order = topological(
        components.len(),
        |emit| {
            for (index, component) in components.iter().enumerate() {
                for &node in component {
                    for operand in graph.operands(node) {
                        let from = component_of[&operand.node];
                        if from != index {
                            emit(from, index);
                        }
                    }
                }
            }
        },
        |index| components[index].iter().map(|node| node.index()).min().unwrap_or(0),
    );
    order.into_iter().map(|index| stage(graph, &components[index])).collect()
}

/// Kahn's algorithm, smallest key first among what is ready. Nodes of a cycle are left out.
fn topological(
    count: usize,
    edges: impl FnOnce(&mut dyn FnMut(usize, usize)),
    key: impl Fn(usize) -> usize,
) -> Vec<usize> {
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut waiting = vec![0usize; count];
    edges(&mut |from, to| {
        after[from].push(to);
        waiting[to] += 1;
    });
    let entry = |index: usize| std::cmp::Reverse((key(index), index));
    let mut ready: BinaryHeap<_> = (0..count).filter(|&i| waiting[i] == 0).map(entry).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(std::cmp::Reverse((_, index))) = ready.pop() {
        order.push(index);
        for &next in &after[index] {
            waiting[next] -= 1;
            if waiting[next] == 0 {
                ready.push(entry(next));
            }
        }
    }
    order
}

fn stage(graph: &Graph, component: &[NodeId]) -> Result<Stage, ScheduleError> {
    let members: HashSet<NodeId> = component.iter().copied().collect();
    let mut direction: Option<(AxisId, bool)> = None;
    let mixed = || {
        let mut nodes = component.to_vec();
        nodes.sort_unstable();
        ScheduleError::Mixed(nodes)
    };
    for &node in component {
        for operand in graph.operands(node) {
            if !members.contains(&operand.node) {
                continue;
            }
            if operand.access == Access::Here {
                continue;
            }
            let Some(found) = operand.access.direction() else { return Err(mixed()) };
            if direction.is_some_and(|known| known != found) {
                return Err(mixed());
            }
            direction = Some(found);
        }
    }
    let Some((axis, backward)) = direction else {
        return Ok(Stage::Flat(component[0]));
    };
    // A softmax along the loop needs all positions before it has one.
    let looks_ahead = |node: NodeId| match graph.op(node) {
        Op::Softmax(Along::Axes(over)) => over.contains(axis),
        _ => false,
    };
    if component.iter().any(|&node| !graph.ty(node).axes.contains(axis) || looks_ahead(node)) {
        return Err(mixed());
    }
    let mut sorted = component.to_vec();
    sorted.sort_unstable();
    let position: HashMap<NodeId, usize> = sorted.iter().enumerate().map(|(i, &node)| (node, i)).collect();
    let order = topological(
        sorted.len(),
        |emit| {
            for (to, &node) in sorted.iter().enumerate() {
                for operand in graph.operands(node) {
                    if operand.access == Access::Here
                        && let Some(&from) = position.get(&operand.node)
                    {
                        emit(from, to);
                    }
                }
            }
        },
        |index| index,
    );
    Ok(Stage::Loop { axis, backward, nodes: order.into_iter().map(|index| sorted[index]).collect() })
}

/// A cycle of equations that all read each other at the same position, if there is one: each node is
/// read by the next, the last by the first.
pub fn instant_cycle(graph: &Graph) -> Option<Vec<NodeId>> {
    let instant = |access: Access| access == Access::Here;
    let component = graph.components(instant).into_iter().find(|component| {
        component.len() > 1
            || graph.operands(component[0]).iter().any(|o| o.node == component[0] && instant(o.access))
    })?;
    let members: HashSet<NodeId> = component.iter().copied().collect();
    // Walk against the edges until a node repeats.
    let mut path = vec![*component.iter().min()?];
    loop {
        let here = *path.last()?;
        let next = graph
            .operands(here)
            .into_iter()
            .find(|operand| instant(operand.access) && members.contains(&operand.node))?
            .node;
        if let Some(at) = path.iter().position(|&node| node == next) {
            path.drain(..at);
            path.reverse();
            return Some(path);
        }
        path.push(next);
    }
}
