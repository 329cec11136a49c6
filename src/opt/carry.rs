//! Truncated backpropagation: what a chunk of a sequence reads of the chunk before.
//!
//! Before `h[t-1]`, which is the start (or zero) at the first step; after `initially(h[t-1], carried)`, with
//! an input `h.carry` for each example and an output of the same name, the value at the last step. The
//! gradient stops there, for the carried value is data.

use std::collections::BTreeMap;

use crate::ir::{
    Access, AxisId, AxisSet, Graph, InputSpec, Node, NodeId, Op, Operand, Origin, Output, OutputKind,
    ValueType,
};

/// The name of the input that is 1 for examples whose chunk is their first.
pub const FIRST_CHUNK: &str = "carry.first";

/// Makes a program that runs one chunk along `axis` of what was one sequence; `None` if it cannot be
/// cut into chunks because it reads the future, the ends, or on another axis at the same time.
pub fn carry(graph: &Graph, axis: AxisId) -> Option<Graph> {
    let mut readers: BTreeMap<NodeId, Vec<(NodeId, u32)>> = BTreeMap::new();
    for id in graph.ids() {
        for operand in graph.operands(id) {
            match operand.access {
                Access::Delay { axis: along, by } if along == axis => {
                    let its = readers.entry(operand.node).or_default();
                    if !its.contains(&(id, by)) {
                        its.push((id, by));
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
    let mut chunked = Chunked { graph: graph.clone(), axis, first: None };
    for (count, (node, readers)) in readers.into_iter().enumerate() {
        chunked.cut(node, &readers, count)?;
    }
    Some(chunked.graph)
}

struct Chunked {
    graph: Graph,
    axis: AxisId,
    /// The input that is 1 in the first chunk.
    first: Option<NodeId>,
}

impl Chunked {
    /// Makes every delayed read of `node` reach into the chunk before.
    fn cut(&mut self, node: NodeId, readers: &[(NodeId, u32)], count: usize) -> Option<()> {
        let axis = self.axis;
        let ty = self.graph.ty(node).clone();
        if ty.axes != AxisSet::BATCH.with(axis) {
            return None;
        }
        let origin = Origin::forward(self.graph.node(node).origin.span);
        let base = match (self.graph.op(node), &self.graph.node(node).name) {
            (Op::Input(name), _) | (_, Some(name)) => name.clone(),
            _ => format!("value{count}"),
        };
        let furthest = readers.iter().map(|(_, by)| *by).max()?;
        // earlier[k] is the value k steps before, wherever that lies.
        let mut earlier = vec![node];
        for back in 1..=furthest {
            let name = if back == 1 { format!("{base}.carry") } else { format!("{base}.carry{back}") };
            let carried_type = ValueType { axes: AxisSet::BATCH, ..ty.clone() };
            self.graph.inputs.push(InputSpec { name: name.clone(), ty: carried_type.clone() });
            let carried = self.graph.leaf(Op::Input(name.clone()), carried_type, origin, None);
            let before = *earlier.last()?;
            let last = Operand { node: before, access: Access::Last(axis) };
            let value = self.graph.apply(Op::Initially, &[last, carried.into()], origin).ok()?;
            self.graph.outputs.push(Output { kind: OutputKind::Carry, name, value: value.into() });
            let shifted = Operand { node: before, access: Access::Delay { axis, by: 1 } };
            earlier.push(self.graph.apply(Op::Initially, &[shifted, carried.into()], origin).ok()?);
        }
        for &(reader, by) in readers {
            let delayed = Operand { node, access: Access::Delay { axis, by } };
            let value = earlier[by as usize];
            let mut operands = self.graph.operands(reader);
            if *self.graph.op(reader) == Op::Initially && operands[0] == delayed {
                // The declared start holds at the first steps of the first chunk only.
                let start = operands[1];
                let early = self.early(by, origin)?;
                let made = self.graph.apply(Op::Select, &[early, start, value.into()], origin).ok()?;
                let wide = self.graph.ty(made).axes.union(self.graph.ty(reader).axes);
                let shell = Node { op: Op::Copy, ..self.graph.node(reader).clone() };
                let shell = Node { ty: ValueType { axes: wide, ..shell.ty.clone() }, ..shell };
                *self.graph.node_mut(reader) = shell;
                self.graph.set_operands(reader, &[made.into()]);
                continue;
            }
            for operand in operands.iter_mut().filter(|operand| **operand == delayed) {
                *operand = value.into();
            }
            self.graph.set_operands(reader, &operands);
        }
        Some(())
    }

    /// 1 at the first `by` steps of the first chunk.
    fn early(&mut self, by: u32, origin: Origin) -> Option<Operand> {
        let graph = &mut self.graph;
        let first = *self.first.get_or_insert_with(|| {
            let ty = ValueType::real(Vec::new(), AxisSet::BATCH);
            graph.inputs.push(InputSpec { name: FIRST_CHUNK.into(), ty: ty.clone() });
            graph.leaf(Op::Input(FIRST_CHUNK.into()), ty, origin, None)
        });
        let steps = AxisSet::BATCH.with(self.axis);
        let position = graph.leaf(Op::Position(self.axis), ValueType::real(Vec::new(), steps), origin, None);
        let by = graph.constant(f64::from(by), &[], origin);
        let less =
            graph.apply(Op::Binary(crate::ir::Binary::Less), &[position.into(), by.into()], origin).ok()?;
        let product = Op::Binary(crate::ir::Binary::Multiply);
        graph.apply(product, &[first.into(), less.into()], origin).ok().map(Operand::from)
    }
}
