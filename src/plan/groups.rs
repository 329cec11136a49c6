//! Which work shares a kernel: as late as possible, so that row work lies with its readers.
//!
//! `z = W @ h[t-1]`, `f = sigmoid(z + b)`, `c = f * c[t-1]` in one loop become a product and one row kernel.

use std::collections::{HashMap, HashSet};

use super::regions::{Kind, Stretch, dependencies, kind};
use crate::ir::{Access, AxisSet, Graph, NodeId};

/// Work of one kernel, in order.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// What kind; only row work shares a kernel.
    pub kind: Kind,
    /// Axes of its rows.
    pub axes: AxisSet,
    /// Nodes, operands before readers.
    pub nodes: Vec<NodeId>,
}

/// The kernels of a region, in order.
pub(super) fn groups(graph: &Graph, stored: &HashSet<NodeId>, stretch: &Stretch) -> Vec<Group> {
    let is_loop = stretch.along.is_some();
    let members: HashSet<NodeId> = stretch.nodes.iter().copied().collect();
    let mut readers: HashMap<NodeId, Vec<(NodeId, Access)>> = HashMap::new();
    for &node in &stretch.nodes {
        for (source, access) in dependencies(graph, stored, node) {
            // Within a step only what is read at the same position must come first.
            if members.contains(&source) && (!is_loop || access == Access::Here) {
                readers.entry(source).or_default().push((node, access));
            }
        }
    }
    // Built from the end: position 0 runs last.
    let mut backwards: Vec<Group> = Vec::new();
    let mut position: HashMap<NodeId, usize> = HashMap::new();
    for &node in stretch.nodes.iter().rev() {
        let its = kind(graph, stored, node);
        let axes = graph.ty(node).axes;
        let earliest = readers.get(&node).into_iter().flatten().map(|&(reader, access)| {
            let at = position[&reader];
            let shares = its == Kind::Row
                && backwards[at].kind == Kind::Row
                && backwards[at].axes == axes
                && access == Access::Here;
            if shares { at } else { at + 1 }
        });
        let earliest = earliest.max().unwrap_or(0);
        let shared = (earliest..backwards.len())
            .find(|&at| its == Kind::Row && backwards[at].kind == Kind::Row && backwards[at].axes == axes);
        let at = shared.unwrap_or_else(|| {
            backwards.push(Group { kind: its, axes, nodes: Vec::new() });
            backwards.len() - 1
        });
        backwards[at].nodes.push(node);
        position.insert(node, at);
    }
    backwards.reverse();
    for group in &mut backwards {
        group.nodes.reverse();
    }
    backwards
}
