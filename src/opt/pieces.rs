//! Sums of the parts of a join: parts of the join's sum.
//!
//! Biases' gradients `sum(da[t] over t)`, `sum(db[t] over t)`, sums by word `sum(outer(onehot(w[t], V), da[t]) over t)`
//! and weights' gradients `sum(outer(da[t], x[t]) over t)` that are not large, of values that are joined anyway
//! (`W.T @ [da, db]`), are slices of `sum([da, db][t] over t)` and so on: the rows go by once.

use super::rewrite::{all_or_halves, is_used, make};
use crate::ir::{Access, Along, AxisSet, Graph, NodeId, Op, Operand, Reduction};

/// Elements of a weight's gradient up to which it is cheaper to cut up than to go by the rows again.
const LARGE: usize = 1 << 17;

/// What every part of a join is read by.
struct Family {
    join: NodeId,
    how: How,
    /// The sum of each part, in their order.
    sums: Vec<NodeId>,
}

/// How a sum reads a part.
#[derive(Clone, Copy, PartialEq)]
struct How {
    access: Access,
    /// Its other operand, if it is a sum of outer products.
    other: Option<Operand>,
    /// Which operand the part is; also the dimension of the result that is its own.
    index: usize,
}

pub(super) fn run(graph: &mut Graph) -> bool {
    let joins = graph.ids().into_iter().filter(|&id| is_join(graph, id));
    let families: Vec<Family> = joins.flat_map(|join| families(graph, join)).collect();
    all_or_halves(graph, &families, &mut gather, &mut |_| {})
}

/// True for a join of values that have axes, which somebody reads.
fn is_join(graph: &Graph, id: NodeId) -> bool {
    *graph.op(id) == (Op::Concat { dim: 0 })
        && graph.ty(id).axes != AxisSet::NONE
        && is_used(graph, id)
        && graph.operands(id).iter().all(|part| part.access == Access::Here)
}

/// The sums that all parts of a join are read by alike.
fn families(graph: &Graph, join: NodeId) -> Vec<Family> {
    let parts = graph.operands(join);
    let Some((first, others)) = parts.split_first() else { return Vec::new() };
    let alike = |(sum, how): (NodeId, How)| {
        let op = graph.op(sum);
        let of = |part: &Operand| {
            let same = |(own, its): &(NodeId, How)| graph.op(*own) == op && *its == how && *own != sum;
            sums(graph, part.node).find(same).map(|(own, _)| own)
        };
        let rest: Vec<NodeId> = others.iter().map(of).collect::<Option<_>>()?;
        let all: Vec<NodeId> = std::iter::once(sum).chain(rest).collect();
        let elements: usize = all.iter().map(|&sum| graph.ty(sum).shape.iter().product::<usize>()).sum();
        let is_weight = how.other.is_some() && how.index == 0;
        (all.len() > 1 && !(is_weight && elements > LARGE)).then_some(Family { join, how, sums: all })
    };
    sums(graph, first.node).filter_map(alike).collect()
}

/// Sums over positions of a value's elements, each by itself or with all of another value.
fn sums(graph: &Graph, value: NodeId) -> impl Iterator<Item = (NodeId, How)> {
    graph.users(value).into_iter().filter_map(|(user, index, access)| match graph.op(user) {
        Op::Reduce(Reduction::Sum | Reduction::Mean, Along::Axes(_)) => {
            Some((user, How { access, other: None, index }))
        }
        Op::Contract(contract) if !contract.over.is_empty() => {
            let other = graph.operands(user)[1 - index];
            let counted = matches!(graph.op(other.node), Op::OneHot(_));
            let sum = contract.is_outer() && counted == (index == 1) && graph.ty(user).axes == AxisSet::NONE;
            sum.then_some((user, How { access, other: Some(other), index }))
        }
        _ => None,
    })
}

fn gather(graph: &mut Graph, family: &Family) -> Option<()> {
    let Family { join, how, sums } = family;
    let first = *sums.first()?;
    let op = graph.op(first).clone();
    let mut operands: Vec<Operand> = how.other.into_iter().collect();
    operands.insert(how.index, Operand { node: *join, access: how.access });
    let whole = make(graph, first, op, &operands)?;
    let mut start = 0;
    for &sum in sums {
        let len = graph.ty(sum).shape[how.index];
        let slice = make(graph, sum, Op::Slice { dim: how.index, start, len }, &[whole.into()])?;
        start += len;
        graph.node_mut(slice).name = graph.node_mut(sum).name.take();
        graph.replace(sum, slice.into());
    }
    Some(())
}
