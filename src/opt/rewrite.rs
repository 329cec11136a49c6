//! Applying a local rule until nothing changes.

use crate::ir::{Graph, Node, NodeId, Op, Operand, schedule};

/// A rule looks at a node and may give another value for it.
pub(super) type Rule = fn(&mut Graph, NodeId) -> Option<Operand>;

/// How often a sweep over all nodes is repeated at most: rules shrink the graph, so this is never
/// reached; it bounds a pair of rules that undo each other.
const SWEEPS: usize = 64;

/// Applies a rule at every node until none fires. True if one did.
pub(super) fn exhaust(graph: &mut Graph, rule: Rule) -> bool {
    let mut changed = false;
    for _ in 0..SWEEPS {
        let mut fired = false;
        for id in graph.ids() {
            if !graph.contains(id) || !is_used(graph, id) {
                continue;
            }
            if let Some(new) = rule(graph, id)
                && new.node != id
            {
                graph.replace(id, new);
                fired = true;
            }
        }
        if !fired {
            break;
        }
        changed = true;
    }
    changed
}

/// Applies changes that may each tie values of different times into a cycle: all of them, and then asks whether an
/// order is left. If not, each half by itself, so that the cost is a few schedules and not one for each change. True
/// if one was applied; `refused` is told of those that cannot be.
pub(super) fn all_or_halves<T>(
    graph: &mut Graph,
    changes: &[T],
    apply: &mut impl FnMut(&mut Graph, &T) -> Option<()>,
    refused: &mut impl FnMut(&T),
) -> bool {
    if changes.is_empty() {
        return false;
    }
    let before = graph.clone();
    if changes.iter().all(|change| apply(graph, change).is_some()) && schedule(graph).is_ok() {
        return true;
    }
    *graph = before;
    if let [change] = changes {
        refused(change);
        return false;
    }
    let (first, second) = changes.split_at(changes.len() / 2);
    let first = all_or_halves(graph, first, apply, refused);
    let second = all_or_halves(graph, second, apply, refused);
    first | second
}

/// True if somebody reads the node.
pub(super) fn is_used(graph: &Graph, id: NodeId) -> bool {
    !graph.users(id).is_empty() || graph.outputs.iter().any(|output| output.value.node == id)
}

/// Adds an operation with the origin of another node; `None` if the operands do not fit.
pub(super) fn make(graph: &mut Graph, like: NodeId, op: Op, operands: &[Operand]) -> Option<NodeId> {
    let origin = graph.node(like).origin;
    graph.apply(op, operands, origin).ok()
}

/// Adds a constant with the origin of another node.
pub(super) fn constant(graph: &mut Graph, like: NodeId, value: f64, shape: &[usize]) -> NodeId {
    let origin = graph.node(like).origin;
    graph.constant(value, shape, origin)
}

/// A value as the type of `like`: itself, or a copy along the axes it lacks. `None` if the shapes differ.
pub(super) fn fit(graph: &mut Graph, value: Operand, like: NodeId) -> Option<Operand> {
    let (found, wanted) = (graph.type_at(value), graph.ty(like).clone());
    if found == wanted {
        return Some(value);
    }
    let same =
        found.shape == wanted.shape && found.element == wanted.element && wanted.axes.covers(found.axes);
    if !same {
        return None;
    }
    let origin = graph.node(like).origin;
    Some(graph.insert(Node { op: Op::Copy, ty: wanted, origin, name: None }, &[value]).into())
}

/// The number, if the operand is a constant.
pub(super) fn number(graph: &Graph, operand: Operand) -> Option<f64> {
    match graph.op(operand.node) {
        Op::Constant(value) => Some(*value),
        _ => None,
    }
}
