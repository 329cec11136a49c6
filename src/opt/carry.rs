//! Truncated backpropagation: what a chunk of a sequence reads of the chunk before.
//!
//! Before `h[t-1]`, which is the start (or zero) at the first step; after `initially(h[t-1], carried)`, with
//! an input `h.carry` for each example and an output of the same name, the value at the last step. The
//! gradient stops there, for the carried value is data. Where positions matter, to a start or to an equation,
//! `carry.steps` counts the steps of the chunks before.

use std::collections::{BTreeMap, HashSet};

use crate::ir::{
    Access, Along, AxisId, AxisSet, BATCH, Binary, Graph, InputSpec, Node, NodeId, Op, Operand, Origin,
    Output, OutputKind, ValueType, live,
};

/// The name of the input that counts the steps before the chunk, and of the output with those after it.
const STEPS: &str = "carry.steps";

/// What keeps a sequence from being cut into chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncut {
    /// The node; its origin says where in the source it stands.
    pub node: NodeId,
    /// What it is: "a softmax needs all positions along `t` at once".
    pub reason: String,
}

/// Makes a program that runs one chunk along `axis` of what was one sequence.
///
/// Sums over the whole batch (losses, metrics) are then those of the chunk.
///
/// # Errors
/// It cannot be cut into chunks because it reads the future, the ends or the whole, or on another axis at
/// the same time: what does, and where; the first in the source.
pub fn carry(graph: &Graph, axis: AxisId) -> Result<Graph, Uncut> {
    chunk(graph, axis, false)
}

/// The same, where values that lie on other axes too, such as weights of attention that are read a step later, may be
/// carried: an example's chunks then have the same lengths along those.
///
/// # Errors
/// As [`carry`].
pub(super) fn carry_wide(graph: &Graph, axis: AxisId) -> Result<Graph, Uncut> {
    chunk(graph, axis, true)
}

fn chunk(graph: &Graph, axis: AxisId, wide: bool) -> Result<Graph, Uncut> {
    let mut readers: BTreeMap<NodeId, Vec<(NodeId, u32)>> = BTreeMap::new();
    let mut found: Vec<Uncut> = Vec::new();
    // What no output needs is cut, too: programs of one model that offer different outputs carry the same.
    let live = live(graph);
    for id in graph.ids() {
        let needed = live.contains(&id);
        found.extend(whole(graph, id, axis).filter(|_| needed).map(|reason| Uncut { node: id, reason }));
        for operand in graph.operands(id) {
            match operand.access {
                Access::Delay { axis: along, by } if along == axis => {
                    let its = readers.entry(operand.node).or_default();
                    if !its.contains(&(id, by)) {
                        its.push((id, by));
                    }
                }
                access => {
                    let reason = ahead(graph, access, axis).filter(|_| needed);
                    found.extend(reason.map(|reason| Uncut { node: id, reason }));
                }
            }
        }
    }
    for output in &graph.outputs {
        let Operand { node, access } = output.value;
        found.extend(ahead(graph, access, axis).map(|reason| Uncut { node, reason }));
    }
    let place = |uncut: &Uncut| {
        let span = graph.node(uncut.node).origin.span;
        (span.start, span.end)
    };
    if let Some(first) = found.into_iter().min_by_key(place) {
        return Err(first);
    }
    cut(graph, (axis, wide), readers, &live).map_err(|node| {
        let name = graph.axis_name(axis);
        let reason = format!("a value that is read at an earlier `{name}` must have no other axis");
        Uncut { node, reason }
    })
}

/// Why an operation needs all positions along `axis` at once, if it does.
fn whole(graph: &Graph, id: NodeId, axis: AxisId) -> Option<String> {
    let name = graph.axis_name(axis);
    let of_each = |over: AxisSet| over.contains(axis) && !over.contains(BATCH);
    let what = match graph.op(id) {
        Op::Softmax(Along::Axes(over)) if over.contains(axis) => "a softmax".to_string(),
        Op::Reduce(way, Along::Axes(over)) if of_each(*over) => format!("this `{}`", way.name()),
        Op::Contract(contract) if of_each(contract.over) => "this sum".to_string(),
        Op::Length(along) if *along == axis => "the length".to_string(),
        Op::Count(over) if over.contains(axis) => "the number of positions".to_string(),
        _ => return None,
    };
    Some(format!("{what} needs all positions along `{name}` at once"))
}

/// What an access reads that a chunk does not have yet, if it does.
fn ahead(graph: &Graph, access: Access, axis: AxisId) -> Option<String> {
    let name = graph.axis_name(axis);
    match access {
        Access::Advance { axis: along, .. } if along == axis => {
            Some(format!("this reads ahead along `{name}`"))
        }
        Access::First(along) if along == axis => {
            Some(format!("this reads the first position along `{name}`"))
        }
        Access::Last(along) if along == axis => Some(format!("this reads the last position along `{name}`")),
        _ => None,
    }
}

/// Cuts at the delayed reads; the node that cannot be carried if there is one.
fn cut(
    graph: &Graph,
    (axis, wide): (AxisId, bool),
    readers: BTreeMap<NodeId, Vec<(NodeId, u32)>>,
    live: &HashSet<NodeId>,
) -> Result<Graph, NodeId> {
    let mut chunked = Chunked { graph: graph.clone(), axis, wide, steps: None };
    for id in graph.ids() {
        if *graph.op(id) == Op::Position(axis) {
            chunked.count_on(id).ok_or(id)?;
        }
    }
    for (count, (node, readers)) in readers.into_iter().enumerate() {
        let done = chunked.cut(node, &readers, count);
        if done.is_none() && readers.iter().any(|(reader, _)| live.contains(reader)) {
            return Err(node);
        }
    }
    Ok(chunked.graph)
}

struct Chunked {
    graph: Graph,
    axis: AxisId,
    /// Whether what is carried may lie on other axes, too.
    wide: bool,
    /// The input that counts the steps before.
    steps: Option<NodeId>,
}

impl Chunked {
    /// Makes every delayed read of `node` reach into the chunk before.
    fn cut(&mut self, node: NodeId, readers: &[(NodeId, u32)], count: usize) -> Option<()> {
        let axis = self.axis;
        let ty = self.graph.ty(node).clone();
        let own = AxisSet::BATCH.with(axis);
        if !(ty.axes == own || self.wide && ty.axes.covers(own)) {
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
            let carried_type = ValueType { axes: ty.axes.without(axis), ..ty.clone() };
            self.graph.inputs.push(InputSpec {
                name: name.clone(),
                ty: carried_type.clone(),
                observed: false,
            });
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
        graph.inputs.push(InputSpec { name: STEPS.into(), ty: ty.clone(), observed: false });
        let before = graph.leaf(Op::Input(STEPS.into()), ty.clone(), origin, None);
        let length = graph.leaf(Op::Length(self.axis), ty, origin, None);
        let add = Op::Binary(Binary::Add);
        let after = graph.apply(add, &[before.into(), length.into()], origin).ok()?;
        graph.outputs.push(Output { kind: OutputKind::Carry, name: STEPS.into(), value: after.into() });
        self.steps = Some(before);
        Some(before)
    }
}
