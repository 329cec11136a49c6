//! Every invariant of a graph, in one place: tests and debug builds ask after each pass.

use super::graph::{Graph, NodeId};
use super::infer::{InferError, infer};
use super::op::Op;
use super::schedule::schedule;
use super::types::{Access, AxisSet, BATCH, ValueType};

/// Complaints about a graph, each naming the node; empty if all is well.
pub fn verify(graph: &Graph) -> Vec<String> {
    let mut complaints = Vec::new();
    for id in graph.ids() {
        if let Some(complaint) = node(graph, id) {
            complaints.push(format!("n{} {:?}: {complaint}", id.index(), graph.op(id)));
        }
    }
    for output in &graph.outputs {
        if !graph.contains(output.value.node) {
            complaints.push(format!("output `{}` reads a node that is gone", output.name));
        }
    }
    if complaints.is_empty()
        && let Err(error) = schedule(graph)
    {
        complaints.push(error.to_string());
    }
    complaints
}

fn node(graph: &Graph, id: NodeId) -> Option<String> {
    let operands = graph.operands(id);
    for operand in &operands {
        let has = graph.ty(operand.node).axes;
        if operand.access.axis().is_some_and(|axis| !has.contains(axis)) {
            return Some(format!("reads n{} along an axis it does not have", operand.node.index()));
        }
        if matches!(operand.access, Access::Delay { by: 0, .. } | Access::Advance { by: 0, .. }) {
            return Some("has a delay of zero".into());
        }
    }
    let ty = graph.ty(id);
    if ty.axes.iter().any(|axis| usize::from(axis.0) >= graph.axes.len()) {
        return Some("has an axis that the graph does not have".into());
    }
    // Lengths belong to examples: a position without its example would have no end.
    if !ty.axes.is_empty() && !ty.axes.contains(BATCH) {
        return Some("has steps but no examples".into());
    }
    let types: Vec<ValueType> = operands.iter().map(|&operand| graph.type_at(operand)).collect();
    match (infer(graph.op(id), &types), graph.op(id)) {
        (Err(InferError::Leaf), op) => leaf(graph, op, ty, operands.len()),
        (Err(error), _) => Some(error.to_string()),
        (Ok(found), Op::Copy) if ty.axes.covers(found.axes) => (found.shape != ty.shape
            || found.element != ty.element)
            .then(|| format!("{found:?} is not {ty:?}")),
        (Ok(_), Op::Initially) if operands[0].access == Access::Here => {
            Some("has a start for a value that is read at its own position".into())
        }
        (Ok(found), _) => (found != *ty).then(|| format!("is {ty:?} but should be {found:?}")),
    }
}

fn leaf(graph: &Graph, op: &Op, ty: &ValueType, operands: usize) -> Option<String> {
    if operands > 0 {
        return Some("is a leaf with operands".into());
    }
    let single = ty.axes == AxisSet::NONE;
    let fits = match op {
        Op::Param(name) => single && graph.params.iter().any(|p| p.name == *name && p.shape == ty.shape),
        Op::Input(name) => graph.inputs.iter().any(|input| input.name == *name && input.ty == *ty),
        Op::Constant(_) => single,
        Op::Count(_) | Op::Setting(_) => single && ty.shape.is_empty(),
        Op::Position(axis) => ty.axes.contains(*axis) && ty.shape.is_empty(),
        Op::Length(_) => ty.axes == AxisSet::BATCH && ty.shape.is_empty(),
        Op::NoId => single && matches!(ty.element, super::types::Element::Id(_)),
        _ => true,
    };
    (!fits).then(|| "does not fit its declaration".into())
}
