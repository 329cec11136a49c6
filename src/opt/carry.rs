//! Truncated backpropagation: what a chunk of a sequence reads of the chunk before.
//!
//! Before `h[t-1]`, which is the start (or zero) at the first step; after `initially(h[t-1], carried)`, with
//! an input `h.carry` for each example and an output of the same name, the value at the last step. The
//! gradient stops there, for the carried value is data.

use std::collections::BTreeMap;

use crate::ir::{
    Access, AxisId, AxisSet, Binary, Element, Graph, InputSpec, Node, NodeId, Op, Operand, Origin, Output,
    OutputKind, ValueType,
};

/// The name of the input that is 1 for examples whose chunk is their first.
pub const FIRST_CHUNK: &str = "carry.first";

/// Makes a program that runs one chunk along `axis` of what was one sequence; `None` if it cannot be
/// cut into chunks because it reads the future, the last position, or a reduction along the axis.
pub fn carry(graph: &Graph, axis: AxisId) -> Option<Graph> {
    let mut result = graph.clone();
    let mut delays: BTreeMap<(NodeId, u32), Vec<NodeId>> = BTreeMap::new();
    for id in graph.ids() {
        for operand in graph.operands(id) {
            match operand.access {
                Access::Delay { axis: along, by } if along == axis => {
                    let readers = delays.entry((operand.node, by)).or_default();
                    if !readers.contains(&id) {
                        readers.push(id);
                    }
                }
                Access::Advance { axis: along, .. } | Access::First(along) | Access::Last(along)
                    if along == axis =>
                {
                    return None;
                }
                _ => {}
            }
        }
    }
    let mut names: BTreeMap<NodeId, String> = BTreeMap::new();
    let batch = AxisSet::BATCH;
    let mut first_chunk: Option<NodeId> = None;
    for ((node, by), readers) in delays {
        let ty = graph.ty(node).clone();
        if ty.axes != batch.with(axis) {
            return None;
        }
        let count = names.len();
        let base = names
            .entry(node)
            .or_insert_with(|| match (graph.op(node), &graph.node(node).name) {
                (Op::Input(name), _) | (_, Some(name)) => name.clone(),
                _ => format!("value{count}"),
            })
            .clone();
        let origin = Origin::forward(graph.node(node).origin.span);
        let carried_type = ValueType { axes: batch, ..ty.clone() };
        let carried: Vec<NodeId> =
            (1..=by).map(|back| carried_input(&mut result, &base, back, &carried_type, origin)).collect();
        for back in 1..=by {
            let name = carry_name(&base, back);
            if result.output(OutputKind::Carry, &name).is_none() {
                let value = last_value(&mut result, node, axis, back, &carried, origin)?;
                result.outputs.push(Output { kind: OutputKind::Carry, name, value });
            }
        }
        // At the first steps of a chunk stand the last values of the chunk before.
        let before = chosen(&mut result, axis, by, &carried, origin)?;
        for reader in readers {
            let mut operands = result.operands(reader);
            let delayed = Operand { node, access: Access::Delay { axis, by } };
            if *result.op(reader) == Op::Initially && operands[0] == delayed {
                // The declared start holds in the first chunk only.
                let first = *first_chunk.get_or_insert_with(|| {
                    let ty = ValueType::real(Vec::new(), batch);
                    result.inputs.push(InputSpec { name: FIRST_CHUNK.into(), ty: ty.clone() });
                    result.leaf(Op::Input(FIRST_CHUNK.into()), ty, origin, None)
                });
                let start = result.apply(Op::Select, &[first.into(), operands[1], before], origin).ok()?;
                operands[1] = start.into();
                let mut ty = result.ty(reader).clone();
                ty.axes = ty.axes.union(result.ty(start).axes);
                result.node_mut(reader).ty = ty;
            } else {
                let made = result.apply(Op::Initially, &[delayed, before], origin).ok()?;
                for operand in &mut operands {
                    if *operand == delayed {
                        *operand = made.into();
                    }
                }
            }
            result.set_operands(reader, &operands);
        }
    }
    Some(result)
}

/// The name of the value `back` steps before the end of a chunk.
fn carry_name(base: &str, back: u32) -> String {
    if back == 1 { format!("{base}.carry") } else { format!("{base}.carry{back}") }
}

fn carried_input(graph: &mut Graph, base: &str, back: u32, ty: &ValueType, origin: Origin) -> NodeId {
    let name = carry_name(base, back);
    let known = graph.ids().into_iter().find(|&id| *graph.op(id) == Op::Input(name.clone()));
    known.unwrap_or_else(|| {
        graph.inputs.push(InputSpec { name: name.clone(), ty: ty.clone() });
        graph.leaf(Op::Input(name), ty.clone(), origin, None)
    })
}

/// The value `back` steps before the end of this chunk; of a shorter chunk, what was carried into it.
fn last_value(
    graph: &mut Graph,
    node: NodeId,
    axis: AxisId,
    back: u32,
    carried: &[NodeId],
    origin: Origin,
) -> Option<Operand> {
    let at = if back == 1 {
        Operand::from(node)
    } else {
        let mut ty = graph.ty(node).clone();
        ty.axes = AxisSet::BATCH.with(axis);
        let delayed = Operand { node, access: Access::Delay { axis, by: back - 1 } };
        let copy = graph.insert(Node { op: Op::Copy, ty, origin, name: None }, &[delayed]);
        copy.into()
    };
    let last = Operand { node: at.node, access: Access::Last(axis) };
    if graph.ty(node).element != Element::Real && !graph.ty(node).shape.is_empty() {
        return None;
    }
    let length = graph.leaf(Op::Length(axis), ValueType::real(Vec::new(), AxisSet::BATCH), origin, None);
    let mut value = last;
    for (steps, &input) in (0u32..back).zip(carried[..back as usize].iter().rev()) {
        let steps = graph.constant(f64::from(steps), &[], origin);
        let short = graph.apply(Op::Binary(Binary::Equal), &[length.into(), steps.into()], origin).ok()?;
        value = graph.apply(Op::Select, &[short.into(), input.into(), value], origin).ok()?.into();
    }
    Some(value)
}

/// For a delay of `by`: at step s of the chunk (s < by) the carried value of `by - s` steps before it.
fn chosen(graph: &mut Graph, axis: AxisId, by: u32, carried: &[NodeId], origin: Origin) -> Option<Operand> {
    let mut value = Operand::from(*carried.first()?);
    if by == 1 {
        return Some(value);
    }
    let position =
        graph.leaf(Op::Position(axis), ValueType::real(Vec::new(), AxisSet::BATCH.with(axis)), origin, None);
    for (back, &input) in (2u32..).zip(carried.iter().skip(1)) {
        let step = graph.constant(f64::from(by - back), &[], origin);
        let here = graph.apply(Op::Binary(Binary::Equal), &[position.into(), step.into()], origin).ok()?;
        value = graph.apply(Op::Select, &[here.into(), input.into(), value], origin).ok()?.into();
    }
    Some(value)
}
