//! Joins of sums of outer products: one sum, where what they were made of is joined anyway.
//!
//! `split` takes `sum(outer([a, b], x) over t)` apart, so that parts which are parameters of their own are found.
//! Where `[sum(outer(a, x) over t), sum(outer(b, x) over t)]` is left in the end, and `[a, b]` is a value that
//! something else needs (`W.T @ [a, b]`), this is `sum(outer([a, b], x) over t)` again: `x` is read once. So is
//! `[sum(outer(a, x) over t), sum(outer(a, y) over t)]`, the second beside the first.

use super::rewrite::{exhaust, make};
use crate::ir::{Access, Contract, Graph, NodeId, Op, Operand};

pub(super) fn run(graph: &mut Graph) -> bool {
    exhaust(graph, rejoin)
}

fn rejoin(graph: &mut Graph, id: NodeId) -> Option<Operand> {
    let Op::Concat { dim: side @ (0 | 1) } = *graph.op(id) else { return None };
    let parts: Vec<(Contract, [Operand; 2])> =
        graph.operands(id).into_iter().map(|part| sum_of_outer(graph, part)).collect::<Option<_>>()?;
    let (contract, first) = parts.first()?.clone();
    let shared = first[1 - side];
    if !parts.iter().all(|(its, operands)| *its == contract && operands[1 - side] == shared) {
        return None;
    }
    let own: Vec<Operand> = parts.iter().map(|(_, operands)| operands[side]).collect();
    let mut operands = [shared; 2];
    operands[side] = joined(graph, &own)?;
    make(graph, id, Op::Contract(contract), &operands).map(Operand::from)
}

/// The join of some vectors, if there is one: of what they are where they are read, or elsewhere.
fn joined(graph: &Graph, vectors: &[Operand]) -> Option<Operand> {
    let first = vectors.first()?;
    let join = |wanted: &[Operand]| {
        let mut users = graph.users(first.node).into_iter().map(|(user, ..)| user);
        users.find(|user| *graph.op(*user) == (Op::Concat { dim: 0 }) && graph.operands(*user) == wanted)
    };
    let one_position = vectors.iter().all(|vector| vector.access == first.access);
    let elsewhere = || {
        let there: Vec<Operand> = vectors.iter().map(|vector| vector.node.into()).collect();
        Some(Operand { node: join(&there)?, access: first.access })
    };
    one_position.then(elsewhere).flatten().or_else(|| join(vectors).map(Operand::from))
}

/// The parts of `sum(outer(left, right) over …)` that nobody else reads.
fn sum_of_outer(graph: &Graph, part: Operand) -> Option<(Contract, [Operand; 2])> {
    let Op::Contract(contract) = graph.op(part.node) else { return None };
    let alone = graph.users(part.node).len() == 1
        && graph.outputs.iter().all(|output| output.value.node != part.node);
    let operands = graph.operands(part.node);
    let counted = matches!(graph.op(operands[0].node), Op::OneHot(_));
    (contract.is_outer() && alone && !counted && !contract.over.is_empty() && part.access == Access::Here)
        .then(|| (contract.clone(), [operands[0], operands[1]]))
}
