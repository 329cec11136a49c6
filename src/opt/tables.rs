//! Rows of tables: the product of a looked-up row is a looked-up row of the product.
//!
//! Before `W @ embed[words[t]]`, one product a position; after `(embed @ W.T)[words[t]]`, one a row of the table.
//! The gradients follow: `sum(outer(dz[t], embed[words[t]]) over t)` is `S.T @ embed` with the sums of `dz` by word,
//! `S = sum(outer(onehot(words[t], V), dz[t]) over t)`. Worth it for tables shorter than a batch has positions,
//! which only training knows to be likely: programs without gradients keep their products.

use super::rewrite::{exhaust, make};
use crate::ir::{Access, AxisSet, Contract, Graph, NodeId, Op, Operand, OutputKind};

/// Tables up to this many rows are multiplied whole: a batch in training has more positions.
const ROWS: usize = 512;

pub(super) fn run(graph: &mut Graph) -> bool {
    let trains = graph.outputs_of(OutputKind::Gradient).next().is_some();
    trains && exhaust(graph, whole)
}

/// A row of a short single table: the table and the id.
fn lookup(graph: &Graph, operand: Operand) -> Option<(Operand, Operand)> {
    if *graph.op(operand.node) != Op::Gather || operand.access != Access::Here {
        return None;
    }
    let parts = graph.operands(operand.node);
    let ty = graph.type_at(parts[0]);
    (ty.axes == AxisSet::NONE && ty.shape.len() == 2 && ty.shape[0] <= ROWS).then_some((parts[0], parts[1]))
}

fn whole(graph: &mut Graph, id: NodeId) -> Option<Operand> {
    let Op::Contract(contract) = graph.op(id).clone() else { return None };
    let operands = graph.operands(id);
    let (a, b) = (operands[0], operands[1]);
    if contract.over.is_empty() {
        return product(graph, id, &contract, a, b);
    }
    if !contract.is_outer() || graph.ty(id).axes != AxisSet::NONE {
        return None;
    }
    looked_up(graph, id, &contract, a, b).or_else(|| chosen(graph, id, &contract, a, b))
}

/// `W @ T[id]` as `(T @ W.T)[id]`, `W.T @ T[id]` as `(T @ W)[id]`.
fn product(
    graph: &mut Graph,
    id: NodeId,
    contract: &Contract,
    matrix: Operand,
    row: Operand,
) -> Option<Operand> {
    let (table, index) = lookup(graph, row)?;
    let spec = match (&contract.left[..], &contract.right[..], &contract.out[..]) {
        ([i, j], [k], [l]) if j == k && i == l => "ij,kj->ik",
        ([i, j], [k], [l]) if i == k && j == l => "ij,jk->ik",
        _ => return None,
    };
    if graph.type_at(matrix).axes != AxisSet::NONE {
        return None;
    }
    let rows = make(graph, id, Op::Contract(Contract::parse(spec)?), &[table, matrix])?;
    make(graph, id, Op::Gather, &[rows.into(), index]).map(Operand::from)
}

/// The sums of a value by id.
fn sums(
    graph: &mut Graph,
    id: NodeId,
    contract: &Contract,
    index: Operand,
    rows: usize,
    value: Operand,
) -> Option<NodeId> {
    let onehot = make(graph, id, Op::OneHot(rows), &[index])?;
    make(graph, id, Op::Contract(contract.clone()), &[onehot.into(), value])
}

/// `sum(outer(v, T[id]))` as `sum(outer(onehot(id), v)).T @ T`.
fn looked_up(
    graph: &mut Graph,
    id: NodeId,
    contract: &Contract,
    value: Operand,
    row: Operand,
) -> Option<Operand> {
    let (table, index) = lookup(graph, row)?;
    if matches!(graph.op(value.node), Op::OneHot(_)) {
        return None;
    }
    let rows = graph.type_at(table).shape[0];
    let sums = sums(graph, id, contract, index, rows, value)?;
    let product = Contract::parse("ij,ik->jk")?;
    make(graph, id, Op::Contract(product), &[sums.into(), table]).map(Operand::from)
}

/// `sum(outer(onehot(id), W.T @ v))` as `sum(outer(onehot(id), v)) @ W`.
fn chosen(
    graph: &mut Graph,
    id: NodeId,
    contract: &Contract,
    onehot: Operand,
    value: Operand,
) -> Option<Operand> {
    let Op::OneHot(rows) = graph.op(onehot.node) else { return None };
    let rows = *rows;
    let Op::Contract(inner) = graph.op(value.node).clone() else { return None };
    let parts = graph.operands(value.node);
    let (matrix, vector) = (parts[0], parts[1]);
    let plain = value.access == Access::Here && onehot.access == Access::Here && inner.over.is_empty();
    let spec = match (&inner.left[..], &inner.right[..], &inner.out[..]) {
        ([i, j], [k], [l]) if i == k && j == l => "ij,jk->ik",
        ([i, j], [k], [l]) if j == k && i == l => "ij,kj->ik",
        _ => return None,
    };
    let single = graph.type_at(matrix).axes == AxisSet::NONE && graph.type_at(vector).axes != AxisSet::NONE;
    // Only if the product is needed for nothing else.
    let alone = graph.users(value.node).len() == 1;
    if !plain || !single || !alone || rows > ROWS {
        return None;
    }
    let index = graph.operands(onehot.node)[0];
    let sums = sums(graph, id, contract, index, rows, vector)?;
    make(graph, id, Op::Contract(Contract::parse(spec)?), &[sums.into(), matrix]).map(Operand::from)
}
