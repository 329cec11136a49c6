//! Truncated backpropagation: what a chunk of a sequence reads of the chunk before.
//!
//! Before `h[t-1]`, which is the start (or zero) at the first step; after `initially(h[t-1], carried)`, with
//! an input `h.carry` for each example and an output of the same name, the value at the last step. The
//! gradient stops there, for the carried value is data. Where positions matter, to a start or to an equation,
//! `carry.steps` counts the steps of the chunks before.

use std::collections::BTreeMap;

use crate::ir::{
    Access, Along, AxisId, AxisSet, BATCH, Binary, Graph, InputSpec, Node, NodeId, Op, Operand, Origin,
    Output, OutputKind, ValueType,
};

/// The name of the input that counts the steps before the chunk, and of the output with those after it.
const STEPS: &str = "carry.steps";

/// Makes a program that runs one chunk along `axis` of what was one sequence; `None` if it cannot be
/// cut into chunks because it reads the future, the ends or the whole, or on another axis at the same time.
///
/// Sums over the whole batch (losses, metrics) are then those of the chunk.
pub fn carry(graph: &Graph, axis: AxisId) -> Option<Graph> {
    let mut readers: BTreeMap<NodeId, Vec<(NodeId, u32)>> = BTreeMap::new();
    let of_each = |over: AxisSet| over.contains(axis) && !over.contains(BATCH);
    for id in graph.ids() {
        let needs_the_whole = match graph.op(id) {
            Op::Softmax(Along::Axes(over)) => over.contains(axis),
            Op::Reduce(_, Along::Axes(over)) => of_each(*over),
            Op::Contract(contract) => of_each(contract.over),
            Op::Length(along) => *along == axis,
            Op::Count(over) => over.contains(axis),
            _ => false,
        };
        if needs_the_whole {
            return None;
        }
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
    let mut chunked = Chunked { graph: graph.clone(), axis, steps: None };
    for id in graph.ids() {
        if *graph.op(id) == Op::Position(axis) {
            chunked.count_on(id)?;
        }
    }
    for (count, (node, readers)) in readers.into_iter().enumerate() {
        chunked.cut(node, &readers, count)?;
    }
    Some(chunked.graph)
}

struct Chunked {
    graph: Graph,
    axis: AxisId,
    /// The input that counts the steps before.
    steps: Option<NodeId>,
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

    /// 1 at the first `by` steps of the sequence.
    fn early(&mut self, by: u32, origin: Origin) -> Option<Operand> {
        let steps = AxisSet::BATCH.with(self.axis);
        let ty = ValueType::real(Vec::new(), steps);
        let position = self.graph.leaf(Op::Position(self.axis), ty, origin, None);
        let position = self.count_on(position)?;
        let by = self.graph.constant(f64::from(by), &[], origin);
        let less = Op::Binary(Binary::Less);
        self.graph.apply(less, &[position.into(), by.into()], origin).ok().map(Operand::from)
    }

    /// Has whoever reads a position in the chunk read the one in the sequence, which is returned.
    fn count_on(&mut self, position: NodeId) -> Option<NodeId> {
        let origin = self.graph.node(position).origin;
        let before = self.steps_before(origin)?;
        let readers = self.graph.users(position);
        let add = Op::Binary(Binary::Add);
        let total = self.graph.apply(add, &[before.into(), position.into()], origin).ok()?;
        for (reader, index, access) in readers {
            let mut operands = self.graph.operands(reader);
            operands[index] = Operand { node: total, access };
            self.graph.set_operands(reader, &operands);
        }
        for output in self.graph.outputs.iter_mut().filter(|output| output.value.node == position) {
            output.value.node = total;
        }
        Some(total)
    }

    fn steps_before(&mut self, origin: Origin) -> Option<NodeId> {
        if let Some(known) = self.steps {
            return Some(known);
        }
        let graph = &mut self.graph;
        let ty = ValueType::real(Vec::new(), AxisSet::BATCH);
        graph.inputs.push(InputSpec { name: STEPS.into(), ty: ty.clone() });
        let before = graph.leaf(Op::Input(STEPS.into()), ty.clone(), origin, None);
        let length = graph.leaf(Op::Length(self.axis), ty, origin, None);
        let add = Op::Binary(Binary::Add);
        let after = graph.apply(add, &[before.into(), length.into()], origin).ok()?;
        graph.outputs.push(Output { kind: OutputKind::Carry, name: STEPS.into(), value: after.into() });
        self.steps = Some(before);
        Some(before)
    }
}
