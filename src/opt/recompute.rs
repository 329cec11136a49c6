//! Recompute or keep: what the backward pass needs of the forward pass is either kept for every
//! position or computed again. Cheap elementwise arithmetic on values that are kept anyway is
//! computed again; products, reductions and transcendental functions are kept.
//!
//! Before `u[t] = r[t] * h[t-1]` read by both passes: a buffer over t; after a second `u` for the
//! backward pass, which the plan fuses into its reader.

use std::collections::HashSet;

use super::rewrite::is_used;
use crate::ir::{Access, Binary, Graph, NodeId, Op, OriginKind, Unary};

pub(super) fn run(graph: &mut Graph) -> bool {
    let is_adjoint = |graph: &Graph, id: NodeId| matches!(graph.node(id).origin.kind, OriginKind::Adjoint(_));
    // What the backward pass reads is kept, unless it is among what is computed again.
    let mut again: HashSet<NodeId> = HashSet::new();
    for id in graph.ids() {
        if is_used(graph, id) && !is_adjoint(graph, id) && is_cheap(graph, id) {
            let readers = graph.users(id);
            let both = readers.iter().any(|(user, _, _)| is_adjoint(graph, *user))
                && readers.iter().any(|(user, _, _)| !is_adjoint(graph, *user));
            let here = readers
                .iter()
                .filter(|(user, _, _)| is_adjoint(graph, *user))
                .all(|(_, _, access)| *access == Access::Here);
            let offered = graph.outputs.iter().any(|output| output.value.node == id);
            if both && here && !offered && operands_are_kept(graph, id, &again) {
                again.insert(id);
            }
        }
    }
    let mut order: Vec<NodeId> = again.into_iter().collect();
    order.sort_unstable();
    for &id in &order {
        let mut copy = graph.node(id).clone();
        copy.name = None;
        copy.origin.kind = OriginKind::Adjoint(id);
        let operands = graph.operands(id);
        let second = graph.insert(copy, &operands);
        for (user, index, access) in graph.users(id) {
            if is_adjoint(graph, user) && access == Access::Here && user != second {
                let mut operands = graph.operands(user);
                operands[index] = second.into();
                graph.set_operands(user, &operands);
            }
        }
    }
    !order.is_empty()
}

fn is_cheap(graph: &Graph, id: NodeId) -> bool {
    match graph.op(id) {
        Op::Unary(unary) => matches!(unary, Unary::Negate | Unary::Relu | Unary::Abs | Unary::Sign),
        Op::Binary(binary) => !matches!(binary, Binary::Divide | Binary::Power),
        Op::Select => true,
        _ => false,
    }
}

/// True if every operand will be in memory in the backward pass without this: a leaf, or a value
/// that the backward pass reads for another reason.
fn operands_are_kept(graph: &Graph, id: NodeId, again: &HashSet<NodeId>) -> bool {
    graph.operands(id).iter().all(|operand| {
        let leaf = matches!(
            graph.op(operand.node),
            Op::Input(_) | Op::Param(_) | Op::Constant(_) | Op::Position(_) | Op::Random(_) | Op::Length(_)
        );
        let read = graph.users(operand.node).iter().any(|(user, _, _)| {
            *user != id && matches!(graph.node(*user).origin.kind, OriginKind::Adjoint(_))
        });
        leaf || (read && !again.contains(&operand.node))
    })
}
