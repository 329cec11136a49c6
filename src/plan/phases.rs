//! The phases of a row kernel: which nodes share a loop over static dimensions, and which values stay
//! in registers.
//!
//! `e = exp(x - m)`, `s = sum(e)`, `y = e / s` take two phases: the first computes and stores `e` and sums
//! it, the second divides.

use std::collections::{HashMap, HashSet};

use super::groups::Group;
use super::views::{Source, look_through, reads, row_major, view};
use crate::ir::{Access, Along, Contract, Graph, NodeId, Op, Operand};

/// One loop nest and what is computed in it.
#[derive(Clone, Debug, Default)]
pub(super) struct PhasePlan {
    /// Extents.
    pub dims: Vec<usize>,
    /// Trailing dimensions reduced over.
    pub reduced: usize,
    /// In order.
    pub items: Vec<Item>,
}

/// Something computed in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A node.
    Node(NodeId),
    /// One operand of a join, copied to its place.
    Part(NodeId, usize),
}

/// The phases of one kernel.
#[derive(Clone, Debug, Default)]
pub(super) struct RowPlan {
    /// In order.
    pub phases: Vec<PhasePlan>,
    /// The phase in which a node's value is complete.
    pub phase_of: HashMap<NodeId, usize>,
}

/// Loop extents of a node's computation and how many trailing ones are reduced.
pub(super) fn domain(graph: &Graph, node: NodeId) -> (Vec<usize>, usize) {
    let operands = graph.operands(node);
    match graph.op(node) {
        Op::Reduce(_, Along::Last) | Op::ArgMax => (graph.type_at(operands[0]).shape, 1),
        Op::Contract(contract) => {
            let labels = contracted_labels(contract);
            let size = |label: &u8| -> usize {
                let left = contract
                    .left
                    .iter()
                    .position(|l| l == label)
                    .map(|at| graph.type_at(operands[0]).shape[at]);
                let right = contract
                    .right
                    .iter()
                    .position(|l| l == label)
                    .map(|at| graph.type_at(operands[1]).shape[at]);
                left.or(right).unwrap_or(1)
            };
            let dims = contract.out.iter().chain(&labels).map(size).collect();
            (dims, labels.len())
        }
        _ => (graph.ty(node).shape.clone(), 0),
    }
}

/// Labels that are summed over, in the order of the left operand.
pub(super) fn contracted_labels(contract: &Contract) -> Vec<u8> {
    contract.left.iter().copied().filter(|label| !contract.out.contains(label)).collect()
}

/// True if a node's value at a point of its loops is the value of the node at that index.
fn is_pointwise(graph: &Graph, node: NodeId) -> bool {
    domain(graph, node).1 == 0 && !matches!(graph.op(node), Op::Concat { .. })
}

/// The node of this kernel that an operand of `reader` is, point by point, if it is one.
pub(super) fn pointwise_source(
    graph: &Graph,
    stored: &HashSet<NodeId>,
    members: &HashSet<NodeId>,
    reader: NodeId,
    operand: Operand,
) -> Option<NodeId> {
    let seen = view(graph, stored, operand)?;
    let Source::At(source, Access::Here) = seen.source else { return None };
    let shape = &graph.ty(source).shape;
    let whole =
        seen.offset == 0 && seen.strides == row_major(shape) && graph.type_at(operand).shape == *shape;
    let same_row = graph.ty(source).axes == graph.ty(reader).axes;
    let aligned = match graph.op(reader) {
        // Of a product only those whose operands run exactly along the loops; one that is read twice, each time.
        Op::Contract(contract) => {
            let labels: Vec<u8> = contract.out.iter().copied().chain(contracted_labels(contract)).collect();
            let sides = graph.operands(reader).into_iter().zip([&contract.left, &contract.right]);
            sides.filter(|(other, _)| *other == operand).all(|(_, own)| *own == labels)
        }
        _ => *shape == domain(graph, reader).0,
    };
    (whole && same_row && aligned && members.contains(&source) && is_pointwise(graph, source))
        .then_some(source)
}

/// Lays a group of row work out in phases. `aliased` tells which operands of joins are computed in place.
pub(super) fn phases(
    graph: &Graph,
    stored: &HashSet<NodeId>,
    aliased: &HashMap<NodeId, (NodeId, usize)>,
    group: &Group,
) -> RowPlan {
    let members: HashSet<NodeId> = group.nodes.iter().copied().collect();
    let mut plan = RowPlan::default();
    for &node in &group.nodes {
        if let Op::Concat { .. } = graph.op(node) {
            join(graph, stored, aliased, &members, &mut plan, node);
            continue;
        }
        let (dims, reduced) = domain(graph, node);
        let mut earliest = 0;
        for operand in operands_read(graph, stored, node) {
            let own = pointwise_source(graph, stored, &members, node, operand);
            let Some(seen) = view_of_operand(graph, stored, node, operand) else { continue };
            let mut sources = Vec::new();
            reads(&seen, &mut sources);
            for (source, access) in sources {
                let Some(&at) = plan.phase_of.get(&source).filter(|_| access == Access::Here) else {
                    continue;
                };
                let fits = own == Some(source) && fits(&plan.phases[at], &dims, reduced);
                earliest = earliest.max(if fits { at } else { at + 1 });
            }
        }
        let at = place(&mut plan, earliest, dims, reduced, Item::Node(node));
        plan.phase_of.insert(node, at);
    }
    plan
}

/// The operands a row node reads: for a stored window, those of the window.
fn operands_read(graph: &Graph, stored: &HashSet<NodeId>, node: NodeId) -> Vec<Operand> {
    let _ = stored;
    graph.operands(node)
}

/// The source of an operand; a stored window is looked through by itself.
fn view_of_operand(
    graph: &Graph,
    stored: &HashSet<NodeId>,
    node: NodeId,
    operand: Operand,
) -> Option<Source> {
    if stored.contains(&node) && super::views::is_view_op(graph.op(node)) {
        return definition(graph, stored, node).map(|view| view.source);
    }
    view(graph, stored, operand).map(|view| view.source)
}

/// The window that a stored view operation is a copy of.
pub(super) fn definition(
    graph: &Graph,
    stored: &HashSet<NodeId>,
    node: NodeId,
) -> Option<super::views::View> {
    look_through(graph, stored, Operand::from(node))
}

fn join(
    graph: &Graph,
    stored: &HashSet<NodeId>,
    aliased: &HashMap<NodeId, (NodeId, usize)>,
    members: &HashSet<NodeId>,
    plan: &mut RowPlan,
    node: NodeId,
) {
    let mut complete = 0;
    for (index, operand) in graph.operands(node).into_iter().enumerate() {
        if is_in_place(graph, aliased, node, index) {
            complete = complete.max(plan.phase_of.get(&operand.node).copied().unwrap_or(0));
            continue;
        }
        let dims = graph.type_at(operand).shape;
        let mut earliest = 0;
        let mut sources = Vec::new();
        if let Some(seen) = view(graph, stored, operand) {
            reads(&seen.source, &mut sources);
        }
        for (source, access) in sources {
            if let Some(&at) = plan.phase_of.get(&source).filter(|_| access == Access::Here) {
                // A value that is still in a register can be stored from there.
                let direct = source == operand.node
                    && members.contains(&source)
                    && is_pointwise(graph, source)
                    && plan.phases[at].dims == dims;
                earliest = earliest.max(if direct { at } else { at + 1 });
            }
        }
        let at = place(plan, earliest, dims, 0, Item::Part(node, index));
        complete = complete.max(at);
    }
    plan.phase_of.insert(node, complete);
}

/// True if an operand of a join is computed where the join wants it; one that occurs twice is so once.
pub(super) fn is_in_place(
    graph: &Graph,
    aliased: &HashMap<NodeId, (NodeId, usize)>,
    join: NodeId,
    index: usize,
) -> bool {
    let Op::Concat { dim } = *graph.op(join) else { return false };
    let operands = graph.operands(join);
    let element: usize = graph.ty(join).shape[dim + 1..].iter().product();
    let start: usize =
        operands[..index].iter().map(|operand| graph.type_at(*operand).shape[dim] * element).sum();
    aliased.get(&operands[index].node) == Some(&(join, start))
}

fn fits(phase: &PhasePlan, dims: &[usize], reduced: usize) -> bool {
    phase.dims == dims && (reduced == 0 || phase.reduced == 0 || phase.reduced == reduced)
}

fn place(plan: &mut RowPlan, earliest: usize, dims: Vec<usize>, reduced: usize, item: Item) -> usize {
    let at = (earliest..plan.phases.len()).find(|&at| fits(&plan.phases[at], &dims, reduced));
    let at = at.unwrap_or_else(|| {
        plan.phases.push(PhasePlan { dims, reduced, items: Vec::new() });
        plan.phases.len() - 1
    });
    let phase = &mut plan.phases[at];
    phase.reduced = phase.reduced.max(reduced);
    phase.items.push(item);
    at
}
