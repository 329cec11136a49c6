//! Slices of arithmetic: arithmetic of slices, so that what is only read in pieces is never put together.
//!
//! Of `z = U @ h[t-1] + x + b` with `f = sigmoid(z[0:H])`, `g = tanh(z[H:2 * H])` each gate reads its own piece of the
//! product, and `z` needs no memory.

use super::rewrite::{exhaust, make};
use crate::ir::{Access, Graph, NodeId, Op, Operand};

pub(super) fn run(graph: &mut Graph) -> bool {
    let mut changed = false;
    // What is no longer read would count as a reader of what it was made of.
    while exhaust(graph, sliced) {
        super::dead::run(graph);
        changed = true;
    }
    changed
}

fn sliced(graph: &mut Graph, id: NodeId) -> Option<Operand> {
    let slice = graph.op(id).clone();
    let Op::Slice { dim, .. } = slice else { return None };
    let of = graph.operands(id)[0];
    let op = graph.op(of.node).clone();
    let arithmetic = matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Select);
    if !arithmetic || of.access != Access::Here || !in_pieces(graph, of.node, dim) {
        return None;
    }
    let shape = graph.ty(of.node).shape.clone();
    let mut pieces = Vec::new();
    for operand in graph.operands(of.node) {
        // A number goes with every piece.
        let whole = graph.type_at(operand).shape;
        pieces.push(match whole == shape {
            true => make(graph, id, slice.clone(), &[operand])?.into(),
            false if whole.is_empty() => operand,
            false => return None,
        });
    }
    let made = make(graph, id, op, &pieces)?;
    (graph.ty(made) == graph.ty(id)).then_some(made.into())
}

/// True if a node is read in pieces along a dimension only, no element twice.
fn in_pieces(graph: &Graph, node: NodeId, dim: usize) -> bool {
    let piece = |(user, _, access): (NodeId, usize, Access)| match *graph.op(user) {
        Op::Slice { dim: its, start, len } if its == dim && access == Access::Here => {
            Some((start, start + len))
        }
        _ => None,
    };
    let offered = graph.outputs.iter().any(|output| output.value.node == node);
    let Some(mut pieces) = graph.users(node).into_iter().map(piece).collect::<Option<Vec<_>>>() else {
        return false;
    };
    pieces.sort_unstable();
    !offered && pieces.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}
