//! Products of joins: `W @ [a, b]` is `W_a @ a + W_b @ b`, so that the part in no cycle leaves the loop.
//!
//! And the reverse side of it in the backward pass: a slice of a product is a product of a slice, and
//! `outer(dz, [a, b])` is the join of `outer(dz, a)` and `outer(dz, b)`.

use super::rewrite::{exhaust, make};
use crate::ir::{BATCH, Binary, Contract, Graph, Node, NodeId, Op, Operand};

pub(super) fn run(graph: &mut Graph) -> bool {
    exhaust(graph, split)
}

fn split(graph: &mut Graph, id: NodeId) -> Option<Operand> {
    match graph.op(id).clone() {
        Op::Contract(contract) => {
            let operands = graph.operands(id);
            joined(graph, id, &contract, &operands, 1).or_else(|| joined(graph, id, &contract, &operands, 0))
        }
        Op::Slice { dim, start, len } => sliced(graph, id, dim, start, len),
        _ => None,
    }
}

/// Splits a product whose operand `side` is a join along one dimension.
fn joined(
    graph: &mut Graph,
    id: NodeId,
    contract: &Contract,
    operands: &[Operand],
    side: usize,
) -> Option<Operand> {
    let join = operands[side];
    let Op::Concat { dim } = graph.op(join.node).clone() else { return None };
    let (own, other) =
        if side == 0 { (&contract.left, &contract.right) } else { (&contract.right, &contract.left) };
    let label = own[dim];
    let mut start = 0;
    let mut terms: Vec<Operand> = Vec::new();
    for part in graph.operands(join.node) {
        let needs = join.access.needs();
        let part = match () {
            // A part that is repeated along the axis has no ends, the join has.
            () if !graph.type_at(part).axes.covers(needs) => {
                let mut ty = graph.type_at(part);
                ty.axes = ty.axes.union(needs).with(BATCH);
                let origin = graph.node(id).origin;
                let copy = graph.insert(Node { op: Op::Copy, ty, origin, name: None }, &[part]);
                Operand { node: copy, access: join.access }
            }
            () => Operand { node: part.node, access: join.access.after(part.access)? },
        };
        let len = graph.type_at(part).shape[dim];
        let mut its = [operands[0], operands[1]];
        its[side] = part;
        if let Some(at) = other.iter().position(|l| *l == label) {
            let slice = make(graph, id, Op::Slice { dim: at, start, len }, &[operands[1 - side]])?;
            its[1 - side] = slice.into();
        }
        terms.push(make(graph, id, Op::Contract(contract.clone()), &its)?.into());
        start += len;
    }
    if let Some(at) = contract.out.iter().position(|l| *l == label) {
        return make(graph, id, Op::Concat { dim: at }, &terms).map(Operand::from);
    }
    let mut terms = terms.into_iter();
    let mut sum = terms.next()?;
    for term in terms {
        sum = make(graph, id, Op::Binary(Binary::Add), &[sum, term])?.into();
    }
    Some(sum)
}

/// A slice of a product along a dimension of one operand.
fn sliced(graph: &mut Graph, id: NodeId, dim: usize, start: usize, len: usize) -> Option<Operand> {
    let product = graph.operands(id)[0];
    let Op::Contract(contract) = graph.op(product.node).clone() else { return None };
    let label = contract.out[dim];
    let mut operands = graph.operands(product.node);
    if let Some(axis) = product.access.axis() {
        // Beyond the ends a product of zeros is zero, so the slice may read its operands there itself.
        let stays = product.access.remaining(graph.ty(product.node).axes) == graph.ty(product.node).axes;
        if !stays {
            return None;
        }
        for operand in &mut operands {
            if graph.type_at(*operand).axes.contains(axis) {
                operand.access = product.access.after(operand.access)?;
            }
        }
    }
    // Only if all of the product is read in slices: else it is computed anyway.
    let sliced_only =
        graph.users(product.node).iter().all(|(user, _, _)| matches!(graph.op(*user), Op::Slice { .. }));
    let offered = graph.outputs.iter().any(|output| output.value.node == product.node);
    if !sliced_only || offered {
        return None;
    }
    let mut its = [operands[0], operands[1]];
    for (side, labels) in [&contract.left, &contract.right].into_iter().enumerate() {
        if let Some(at) = labels.iter().position(|l| *l == label) {
            its[side] = make(graph, id, Op::Slice { dim: at, start, len }, &[its[side]])?.into();
        }
    }
    make(graph, id, Op::Contract(contract), &its).map(Operand::from)
}
