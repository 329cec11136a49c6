//! How many children the equations of a tree see.
//!
//! `h[n] = tanh(W @ [h[left], h[right]] + b)` sees two: a third would be passed over in silence, so data
//! with one are refused. `sum(h[child] over child)` sees all of them.

use super::graph::{Graph, NodeId};
use super::schedule::{ScheduleError, Stage, schedule};
use super::types::{Access, AxisId};

/// The fewest children that a node may be given names for: `left` and `right`.
const BINARY: u32 = 2;

/// How many children a node of `tree` may have so that none is passed over; `None` for any number.
///
/// A loop that names children by their numbers and never reads all of them sets the limit, and so do
/// equations outside loops where nothing in the program reads all children.
///
/// # Errors
/// If the graph has no schedule.
pub fn most_children(graph: &Graph, tree: AxisId) -> Result<Option<u32>, ScheduleError> {
    let mut limits = Vec::new();
    for stage in schedule(graph)? {
        if let Stage::Loop { nodes, .. } = stage {
            limits.extend(limit(graph, &nodes, tree));
        }
    }
    limits.extend(limit(graph, &graph.ids(), tree));
    Ok(limits.into_iter().min())
}

/// The same for these equations alone.
fn limit(graph: &Graph, nodes: &[NodeId], tree: AxisId) -> Option<u32> {
    let mut named = None;
    for access in nodes.iter().flat_map(|&node| graph.operands(node)).map(|operand| operand.access) {
        match access {
            Access::Nth { tree: own, number } | Access::NthOf { tree: own, number } if own == tree => {
                named = named.max(Some(number + 1));
            }
            Access::Child { tree: own, .. } | Access::Edge { tree: own, .. } if own == tree => return None,
            _ => {}
        }
    }
    named.map(|named| named.max(BINARY))
}
