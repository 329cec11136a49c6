//! Shifts: a product read one step on is the product of what is read one step on.
//!
//! Before `p[t] = W.T @ dz[t]`, read as `p[t+1]`; after `W.T @ dz[t+1]`. Both are zero beyond the ends,
//! since the operations concerned make zero of zero. No buffer for `p` over t is needed then.

use super::rewrite::{is_used, make};
use crate::ir::{Access, AxisId, Binary, Graph, NodeId, Op, Operand, Unary};

pub(super) fn run(graph: &mut Graph) -> bool {
    let mut changed = false;
    loop {
        let mut fired = false;
        for id in graph.ids() {
            fired |= is_used(graph, id) && push(graph, id);
        }
        if !fired {
            return changed;
        }
        changed = true;
    }
}

fn push(graph: &mut Graph, id: NodeId) -> bool {
    let users = graph.users(id);
    let Some(&(_, _, access)) = users.first() else { return false };
    let (Access::Delay { axis, .. } | Access::Advance { axis, .. }) = access else { return false };
    let offered = graph.outputs.iter().any(|output| output.value.node == id);
    if offered || graph.node(id).name.is_some() || users.iter().any(|(_, _, other)| *other != access) {
        return false;
    }
    // A start belongs to the delayed read itself.
    if users.iter().any(|(user, index, _)| *graph.op(*user) == Op::Initially && *index == 0) {
        return false;
    }
    let operands = graph.operands(id);
    if !makes_zero_of_zero(graph, id, &operands, axis) {
        return false;
    }
    let moved: Option<Vec<Operand>> = operands
        .iter()
        .map(|&operand| {
            if !graph.type_at(operand).axes.contains(axis) {
                return Some(operand);
            }
            Some(Operand { node: operand.node, access: access.after(operand.access)? })
        })
        .collect();
    let Some(moved) = moved else { return false };
    let op = graph.op(id).clone();
    let Some(new) = make(graph, id, op, &moved) else { return false };
    for (user, index, _) in users {
        let mut operands = graph.operands(user);
        operands[index] = new.into();
        graph.set_operands(user, &operands);
    }
    true
}

/// True if the operation gives zero where all its operands along the axis are zero.
fn makes_zero_of_zero(graph: &Graph, id: NodeId, operands: &[Operand], axis: AxisId) -> bool {
    let has = |operand: &Operand| graph.type_at(*operand).axes.contains(axis);
    match graph.op(id) {
        Op::Contract(contract) => contract.over.is_empty() && operands.iter().any(has),
        Op::Binary(Binary::Multiply) => operands.iter().any(has),
        Op::Binary(Binary::Add | Binary::Subtract) => false,
        Op::Unary(Unary::Negate) | Op::Slice { .. } => true,
        _ => false,
    }
}
