//! Joined matrices that no memory holds: products want them packed, and packing reads the parts.
//!
//! Of `[W_f, W_i, W_c, W_o] @ h` each gate's matrix is packed straight into its columns of the panels.

use std::collections::HashSet;

use super::regions::gemm_sides;
use super::views::is_view_op;
use crate::ir::{Access, AxisSet, Graph, NodeId, Op, Operand};

/// A part of a matrix: what it is, and where its first element lies in the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The part.
    pub operand: Operand,
    /// Its first row and column.
    pub at: [usize; 2],
}

/// True for a join that products read as their packed matrix, and nobody else.
pub(super) fn is_only_packed(graph: &Graph, stored: &HashSet<NodeId>, node: NodeId) -> bool {
    let Op::Concat { dim } = graph.op(node) else { return false };
    let ty = graph.ty(node);
    let matrix = ty.shape.len() == 2 && *dim < 2 && ty.axes == AxisSet::NONE && graph.is_real(node);
    let offered = || graph.outputs.iter().any(|output| output.value.node == node);
    let packed = |(reader, index, access): (NodeId, usize, Access)| match graph.op(reader) {
        Op::Contract(contract) => {
            access == Access::Here
                && gemm_sides(graph, reader, contract).is_some_and(|sides| {
                    sides.matrix == index && graph.operands(reader)[sides.rows].node != node
                })
        }
        Op::Concat { .. } => access == Access::Here && is_only_packed(graph, stored, reader),
        _ => false,
    };
    let readers = graph.users(node);
    matrix
        && !stored.contains(&node)
        && !readers.is_empty()
        && graph.operands(node).into_iter().all(|part| is_window(graph, part))
        && !offered()
        && readers.into_iter().all(packed)
}

/// True for a single matrix that lies somewhere, perhaps as a window of another.
fn is_window(graph: &Graph, part: Operand) -> bool {
    let mut part = part;
    while matches!(graph.op(part.node), Op::Slice { .. } | Op::Copy) && part.access == Access::Here {
        part = graph.operands(part.node)[0];
    }
    let op = graph.op(part.node);
    part.access == Access::Here && !is_view_op(op) && !matches!(op, Op::Constant(_))
}

/// The parts of a matrix that is packed: itself, or of a join that no memory holds its parts, in order.
pub(super) fn pieces(graph: &Graph, stored: &HashSet<NodeId>, matrix: Operand) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut ahead = vec![Piece { operand: matrix, at: [0, 0] }];
    while let Some(piece) = ahead.pop() {
        match graph.op(piece.operand.node) {
            Op::Concat { dim } if is_only_packed(graph, stored, piece.operand.node) => {
                let mut at = piece.at;
                let mut parts = Vec::new();
                for operand in graph.operands(piece.operand.node) {
                    parts.push(Piece { operand, at });
                    at[*dim] += graph.type_at(operand).shape[*dim];
                }
                ahead.extend(parts.into_iter().rev());
            }
            _ => found.push(piece),
        }
    }
    found
}
