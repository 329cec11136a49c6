//! Dead code: what no output needs is taken out.

use std::collections::HashSet;

use crate::ir::{Graph, NodeId};

pub(super) fn run(graph: &mut Graph) -> bool {
    let mut live: HashSet<NodeId> = HashSet::new();
    let mut stack: Vec<NodeId> = graph.outputs.iter().map(|output| output.value.node).collect();
    while let Some(node) = stack.pop() {
        if live.insert(node) {
            stack.extend(graph.operands(node).iter().map(|operand| operand.node));
        }
    }
    let dead: Vec<NodeId> = graph.ids().into_iter().filter(|node| !live.contains(node)).collect();
    for &node in &dead {
        graph.remove(node);
    }
    !dead.is_empty()
}
