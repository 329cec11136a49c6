//! Joins of sums of outer products: one sum, where what they were made of is joined anyway.
//!
//! `split` takes `sum(outer([a, b], x) over t)` apart, so that parts which are parameters of their own are found.
//! Where `[sum(outer(a, x) over t), sum(outer(b, x) over t)]` is left in the end, and `[a, b]` is a value that
//! something else needs (`W.T @ [a, b]`), this is `sum(outer([a, b], x) over t)` again: `x` is read once.

use super::rewrite::{exhaust, make};
use crate::ir::{Access, Contract, Graph, NodeId, Op, Operand};

pub(super) fn run(graph: &mut Graph) -> bool {
    exhaust(graph, rejoin)
}

fn rejoin(graph: &mut Graph, id: NodeId) -> Option<Operand> {
    if *graph.op(id) != (Op::Concat { dim: 0 }) {
        return None;
    }
    let parts: Vec<(Contract, Operand, Operand)> =
        graph.operands(id).into_iter().map(|part| sum_of_outer(graph, part)).collect::<Option<_>>()?;
    let (contract, first, right) = parts.first()?.clone();
    let alike = |(its, left, other): &(Contract, Operand, Operand)| {
        *its == contract && *other == right && left.access == first.access
    };
    if !parts.iter().all(alike) {
        return None;
    }
    let lefts: Vec<Operand> = parts.iter().map(|(_, left, _)| Operand::from(left.node)).collect();
    let joins = graph.users(first.node).into_iter().map(|(user, ..)| user);
    let mut joins = joins.filter(|user| *graph.op(*user) == (Op::Concat { dim: 0 }));
    let join = joins.find(|join| graph.operands(*join) == lefts)?;
    let left = Operand { node: join, access: first.access };
    make(graph, id, Op::Contract(contract), &[left, right]).map(Operand::from)
}

/// The parts of `sum(outer(left, right) over …)` that nobody else reads.
fn sum_of_outer(graph: &Graph, part: Operand) -> Option<(Contract, Operand, Operand)> {
    let Op::Contract(contract) = graph.op(part.node) else { return None };
    let is_outer = matches!((&contract.left[..], &contract.right[..], &contract.out[..]),
        ([i], [j], [k, l]) if (i, j) == (k, l));
    let alone = graph.users(part.node).len() == 1
        && graph.outputs.iter().all(|output| output.value.node != part.node);
    let operands = graph.operands(part.node);
    let counted = matches!(graph.op(operands[0].node), Op::OneHot(_));
    (is_outer && alone && !counted && !contract.over.is_empty() && part.access == Access::Here)
        .then(|| (contract.clone(), operands[0], operands[1]))
}
