//! Copies: whoever reads `y` with `y = x` reads `x`, and elementwise arithmetic stretches along axes
//! by itself, so that it need not read a repetition.
//!
//! Before `z[t] = x[t] * s[t]`, `s[t] = 1`; after `z[t] = x[t] * 1`.

use super::rewrite::{exhaust, fit, make};
use crate::ir::{Access, Graph, NodeId, Op, Operand, infer};

pub(super) fn run(graph: &mut Graph) -> bool {
    let plain = exhaust(graph, bypass) | exhaust(graph, outwards);
    let mut spread = false;
    for id in graph.ids() {
        spread |= read_through(graph, id);
    }
    plain | spread
}

fn bypass(graph: &mut Graph, id: NodeId) -> Option<Operand> {
    if *graph.op(id) != Op::Copy {
        return None;
    }
    let source = graph.operands(id)[0];
    // A copy at another position stays if its readers' accesses do not compose with it.
    let composes = graph.users(id).iter().all(|(_, _, access)| access.after(source.access).is_some());
    let outputs = graph.outputs.iter().filter(|output| output.value.node == id);
    let offered = outputs.clone().all(|output| output.value.access.after(source.access).is_some());
    (graph.type_at(source) == *graph.ty(id) && composes && offered && source.node != id).then_some(source)
}

/// A function of a repetition is a repetition of the function.
fn outwards(graph: &mut Graph, id: NodeId) -> Option<Operand> {
    let Op::Unary(unary) = *graph.op(id) else { return None };
    let operand = graph.operands(id)[0];
    if operand.access != Access::Here || *graph.op(operand.node) != Op::Copy {
        return None;
    }
    let source = graph.operands(operand.node)[0];
    let inner = make(graph, id, Op::Unary(unary), &[source])?;
    fit(graph, inner.into(), id)
}

/// Reads the source of repeated operands where the result's type stays the same.
fn read_through(graph: &mut Graph, id: NodeId) -> bool {
    match graph.op(id) {
        Op::Copy | Op::Reduce(..) | Op::Initially | Op::Softmax(_) => return false,
        Op::Contract(contract) if !contract.over.is_empty() => return false,
        _ => {}
    }
    let mut operands = graph.operands(id);
    let mut changed = false;
    for at in 0..operands.len() {
        let operand = operands[at];
        if operand.access != Access::Here || *graph.op(operand.node) != Op::Copy {
            continue;
        }
        let before = operands[at];
        operands[at] = graph.operands(operand.node)[0];
        let types: Vec<_> = operands.iter().map(|&operand| graph.type_at(operand)).collect();
        if infer(graph.op(id), &types).is_ok_and(|ty| ty == *graph.ty(id)) {
            changed = true;
        } else {
            operands[at] = before;
        }
    }
    if changed {
        graph.set_operands(id, &operands);
    }
    changed
}
