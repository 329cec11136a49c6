//! Dead code: what no output needs is taken out.

use crate::ir::{Graph, NodeId, live};

pub(super) fn run(graph: &mut Graph) -> bool {
    let live = live(graph);
    let dead: Vec<NodeId> = graph.ids().into_iter().filter(|node| !live.contains(node)).collect();
    for &node in &dead {
        graph.remove(node);
    }
    !dead.is_empty()
}
