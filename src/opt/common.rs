//! Common subexpressions: equal operations on equal operands are one node.
//!
//! Before `a = tanh(x)`, `b = tanh(x)`; after `a = tanh(x)`, read twice.

use std::collections::HashMap;

use super::rewrite::is_used;
use crate::ir::{Binary, Graph, NodeId, Op, Operand, Stage, ValueType, schedule};

pub(super) fn run(graph: &mut Graph) -> bool {
    let mut changed = false;
    // A merge makes the readers' operands equal, so sweep until there is none.
    while sweep(graph) {
        changed = true;
    }
    changed
}

type Key = (String, Vec<Operand>, ValueType);

fn sweep(graph: &mut Graph) -> bool {
    let Ok(stages) = schedule(graph) else { return false };
    let order = stages.into_iter().flat_map(|stage| match stage {
        Stage::Flat(node) => vec![node],
        Stage::Loop { nodes, .. } => nodes,
    });
    let mut known: HashMap<Key, NodeId> = HashMap::new();
    let mut changed = false;
    for id in order {
        if !is_used(graph, id) {
            continue;
        }
        let key = key(graph, id);
        match known.get(&key) {
            Some(&first) if may_merge(graph, first, id) => {
                graph.replace(id, first.into());
                changed = true;
            }
            Some(_) => {}
            None => {
                known.insert(key, id);
            }
        }
    }
    changed
}

fn key(graph: &Graph, id: NodeId) -> Key {
    let mut operands = graph.operands(id);
    let commutes =
        matches!(graph.op(id), Op::Binary(Binary::Add | Binary::Multiply | Binary::Equal | Binary::NotEqual));
    if commutes {
        operands.sort_unstable();
    }
    let op = match graph.op(id) {
        // Zero and minus zero are different constants.
        Op::Constant(value) => format!("constant {:x}", value.to_bits()),
        op => format!("{op:?}"),
    };
    (op, operands, graph.ty(id).clone())
}

/// Two values that the outside knows by different names stay two, so that both keep theirs.
fn may_merge(graph: &Graph, first: NodeId, second: NodeId) -> bool {
    let named = |id: NodeId| graph.node(id).name.is_some();
    !(named(first) && named(second)) || graph.node(first).name == graph.node(second).name || {
        let offered = |id: NodeId| graph.outputs.iter().any(|output| output.value.node == id);
        !offered(second)
    }
}
