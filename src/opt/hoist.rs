//! Sums inside a loop: what the loop only adds is added up before it.
//!
//! Before `W_h @ h[t-1] + W_x @ x[t] + V @ u[t]`, from the left; after `W_h @ h[t-1] + (W_x @ x[t] + V @ u[t])`, whose
//! second part is in no cycle. Single vectors such as a bias stay: adding them costs nothing in the loop.

use std::collections::HashMap;

use super::rewrite::{is_used, make};
use crate::ir::{Access, AxisSet, Binary, Graph, NodeId, Op, Operand, Stage, schedule};

pub(super) fn run(graph: &mut Graph) -> bool {
    let mut in_loop: HashMap<NodeId, usize> = HashMap::new();
    for (number, stage) in schedule(graph).unwrap_or_default().into_iter().enumerate() {
        if let Stage::Loop { nodes, .. } = stage {
            in_loop.extend(nodes.into_iter().map(|node| (node, number)));
        }
    }
    let mut changed = false;
    for id in graph.ids() {
        changed |= regroup(graph, id, &in_loop);
    }
    changed
}

fn is_sum(graph: &Graph, id: NodeId) -> bool {
    *graph.op(id) == Op::Binary(Binary::Add)
}

fn regroup(graph: &mut Graph, id: NodeId, in_loop: &HashMap<NodeId, usize>) -> bool {
    let Some(&own) = in_loop.get(&id) else { return false };
    let below_sum =
        graph.users(id).iter().any(|(user, _, access)| is_sum(graph, *user) && *access == Access::Here);
    if !is_used(graph, id) || !is_sum(graph, id) || (below_sum && graph.users(id).len() == 1) {
        return false;
    }
    let mut terms = Vec::new();
    flatten(graph, id.into(), id, &mut terms);
    let (inside, outside): (Vec<Operand>, Vec<Operand>) = terms.iter().partition(|term| {
        in_loop.get(&term.node) == Some(&own) || graph.type_at(**term).axes == AxisSet::NONE
    });
    if outside.len() < 2 || inside.is_empty() {
        return false;
    }
    let (Some(before), Some(within)) = (sum(graph, id, &outside), sum(graph, id, &inside)) else {
        return false;
    };
    match make(graph, id, Op::Binary(Binary::Add), &[within, before]) {
        Some(total) => {
            graph.replace(id, total.into());
            true
        }
        None => false,
    }
}

fn flatten(graph: &Graph, at: Operand, root: NodeId, terms: &mut Vec<Operand>) {
    let is_inner = at == root.into()
        || (at.access == Access::Here
            && graph.users(at.node).len() == 1
            && graph.node(at.node).name.is_none());
    if is_inner && is_sum(graph, at.node) {
        for operand in graph.operands(at.node) {
            flatten(graph, operand, root, terms);
        }
    } else {
        terms.push(at);
    }
}

fn sum(graph: &mut Graph, like: NodeId, terms: &[Operand]) -> Option<Operand> {
    let (&first, rest) = terms.split_first()?;
    rest.iter().try_fold(first, |sum, &term| {
        make(graph, like, Op::Binary(Binary::Add), &[sum, term]).map(Operand::from)
    })
}
