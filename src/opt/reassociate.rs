//! Sums of products over positions: one product over all of them, outside every loop.
//!
//! Before `p[t] = outer(dz[t], h[t-1])`, `dW = sum(p[t] over t)`; after one node, which the plan turns
//! into a matrix product whose inner dimension is all rows of the batch.

use super::rewrite::{exhaust, make};
use crate::ir::{Access, Along, Contract, Graph, NodeId, Op, Operand, Reduction};

pub(super) fn run(graph: &mut Graph) -> bool {
    exhaust(graph, fuse)
}

fn fuse(graph: &mut Graph, id: NodeId) -> Option<Operand> {
    let Op::Reduce(reduction @ (Reduction::Sum | Reduction::Mean), Along::Axes(over)) = graph.op(id).clone()
    else {
        return None;
    };
    let product = graph.operands(id)[0];
    let Op::Contract(contract) = graph.op(product.node).clone() else { return None };
    // Only what is summed once: else the product is needed for itself.
    let single = graph.users(product.node).len() == 1
        && !graph.outputs.iter().any(|output| output.value.node == product.node);
    if !single || product.access != Access::Here || !contract.over.is_empty() || contract.out.is_empty() {
        return None;
    }
    let fused = Contract { over, mean: reduction == Reduction::Mean, ..contract };
    let operands = graph.operands(product.node);
    let made = make(graph, id, Op::Contract(fused), &operands)?;
    (graph.ty(made) == graph.ty(id)).then_some(made.into())
}
