//! Every invariant of a graph, in one place: tests and debug builds ask after each pass.

use super::graph::{Graph, NodeId};
use super::infer::{InferError, infer};
use super::op::{Along, Op};
use super::schedule::schedule;
use super::types::{Access, AxisKind, AxisSet, BATCH, ValueType};

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
        if !has.covers(operand.access.needs()) {
            return Some(format!("reads n{} along an axis it does not have", operand.node.index()));
        }
        if let Some(complaint) = access(graph, has, operand.access) {
            return Some(format!("reads n{} {complaint}", operand.node.index()));
        }
        if matches!(operand.access, Access::Delay { by: 0, .. } | Access::Advance { by: 0, .. }) {
            return Some("has a delay of zero".into());
        }
    }
    let ty = graph.ty(id);
    if ty.axes.iter().any(|axis| usize::from(axis.0) >= graph.axes.len()) {
        return Some("has an axis that the graph does not have".into());
    }
    if graph.closed(ty.axes) != ty.axes {
        return Some("has children but no nodes".into());
    }
    // Lengths belong to examples: a position without its example would have no end.
    if !ty.axes.is_empty() && !ty.axes.contains(BATCH) {
        return Some("has steps but no examples".into());
    }
    let types: Vec<ValueType> = operands.iter().map(|&operand| graph.type_at(operand)).collect();
    if let Op::Softmax(Along::Axes(over)) = graph.op(id)
        && graph.closed(ty.axes.minus(*over)) != ty.axes.minus(*over)
    {
        return Some("runs over nodes without their children".into());
    }
    match (infer(graph.op(id), &types), graph.op(id)) {
        (Err(InferError::Leaf), op) => leaf(graph, op, ty, operands.len()),
        (Err(error), _) => Some(error.to_string()),
        (Ok(found), Op::Copy) if ty.axes.covers(found.axes) => (found.shape != ty.shape
            || found.element != ty.element)
            .then(|| format!("{found:?} is not {ty:?}")),
        (Ok(_), Op::Initially) if operands[0].access.is_total() => {
            Some("has a start for a value that is always there".into())
        }
        (Ok(found), _) => (found != *ty).then(|| format!("is {ty:?} but should be {found:?}")),
    }
}

/// What is wrong with reading a value over these axes so.
fn access(graph: &Graph, has: AxisSet, access: Access) -> Option<&'static str> {
    let kind = |axis| graph.axis_kind(axis);
    let fits = match access {
        Access::Here => true,
        Access::Delay { axis, .. } | Access::Advance { axis, .. } | Access::Last(axis) => {
            kind(axis).is_sequence()
        }
        Access::First(axis) => kind(axis).is_sequence() || kind(axis) == AxisKind::Tree,
        // What a node has for each of its children is read at one of them.
        Access::Nth { tree, .. } | Access::NthOf { tree, .. } | Access::Parent(tree) => {
            kind(tree) == AxisKind::Tree && !has.iter().any(|axis| kind(axis) == AxisKind::Children(tree))
        }
        Access::Child { tree, children } => kind(children) == AxisKind::Children(tree),
        Access::Edge { tree, children } => kind(children) == AxisKind::Children(tree),
        Access::AtNode { tree, leaves } | Access::AtLeaf { tree, leaves } => {
            kind(leaves) == AxisKind::Leaves(tree)
        }
    };
    let twice = match access {
        Access::Child { children, .. } => has.contains(children),
        Access::AtNode { tree, .. } => has.contains(tree),
        Access::AtLeaf { leaves, .. } => has.contains(leaves),
        _ => false,
    };
    let left = access.remaining(has);
    match () {
        () if !fits => Some("along an axis of another kind"),
        () if twice => Some("along an axis that it has already"),
        () if graph.closed(left) != left => Some("without the nodes whose children it has"),
        () => None,
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
        Op::Length(axis) => ty.axes == graph.length_axes(*axis) && ty.shape.is_empty(),
        Op::NoId => single && matches!(ty.element, super::types::Element::Id(_)),
        _ => true,
    };
    (!fits).then(|| "does not fit its declaration".into())
}
