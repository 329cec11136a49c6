//! Programs that draw, taken apart for prediction: what is drawn at once, what step by step, and of the latter
//! what is computed before the first step.
//!
//! Before, an encoder and a decoder that draws `target[t]` and reads `target[t-1]`; after, a program `once`
//! that computes what the decoder reads of the encoder, and a program `step` of one step of the decoder, with
//! inputs for that, for `target` and for every state, and with the distribution and every state as outputs.
//!
//! Nothing is drawn here: whoever runs the programs chooses by the distributions (the likeliest, by chance, or by a
//! beam) and feeds what was chosen. Values that do not read each other are drawn at once. This is ancestral
//! sampling; Bishop, *Pattern Recognition and Machine Learning*, 2006, section 8.1.2.

use std::collections::{HashMap, HashSet};

use super::carry::carry_wide;
use super::clean;
use crate::ir::{
    Access, AxisId, AxisSet, BATCH, Graph, InputSpec, Node, NodeId, Op, Operand, Origin, Output, OutputKind,
    ValueType, live,
};

/// Values that are drawn together, by their places in the list that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draws {
    /// Their distributions need nothing of each other.
    AtOnce(Vec<usize>),
    /// What is drawn at one position is read at others.
    InSteps(Vec<usize>),
}

/// What keeps values from being drawn step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Unstepped {
    /// Where it comes from.
    pub origin: Origin,
    /// What it is: "this reads ahead along `t`".
    pub reason: String,
}

/// A program cut before its first step, and along its steps.
#[derive(Clone, Debug)]
pub struct Stepwise {
    /// Computes what the steps read, as values with the names of inputs of `step`; it may have none.
    pub once: Graph,
    /// One chunk of steps: outputs `NAME.distribution`, and states.
    pub step: Graph,
    /// For each drawn value those that must be known at the same position.
    pub after: Vec<Vec<usize>>,
    /// Whether states read what is drawn at the same position.
    pub states_read: bool,
}

/// The name of the distribution of a drawn value.
pub fn distribution(name: &str) -> String {
    format!("{name}.distribution")
}

/// The program of `graph`, which draws the values of these names, with inputs in their place and their
/// distributions as its outputs, and the values that are to be `shown`. `None` if it does not draw all of them.
pub fn opened(graph: &Graph, names: &[&str], shown: &[&str]) -> Option<Graph> {
    let mut open = graph.clone();
    for name in names {
        graph.output(OutputKind::Value, &distribution(name))?;
        let drawn = graph.output(OutputKind::Value, name)?;
        let ty = graph.type_at(drawn);
        let origin = graph.node(drawn.node).origin;
        open.inputs.push(InputSpec { name: (*name).to_string(), ty: ty.clone(), observed: false });
        let leaf = open.leaf(Op::Input((*name).to_string()), ty, origin, None);
        open.replace(drawn.node, leaf.into());
        open.node_mut(leaf).name = None;
    }
    let mut outputs = Vec::new();
    for name in names {
        // One distribution may stand for many positions: each has its own.
        let value = open.output(OutputKind::Value, &distribution(name))?;
        let drawn = open.inputs.iter().find(|input| input.name == *name)?;
        let ty = open.type_at(value);
        let ty = ValueType { axes: ty.axes.union(drawn.ty.axes), ..ty };
        let origin = open.node(value.node).origin;
        let copy = open.insert(Node { op: Op::Copy, ty, origin, name: None }, &[value]);
        outputs.push(Output { kind: OutputKind::Value, name: distribution(name), value: copy.into() });
    }
    open.outputs.retain(|output| output.kind == OutputKind::Value && shown.contains(&output.name.as_str()));
    open.outputs.extend(outputs);
    clean(&mut open);
    Some(open)
}

/// In which order the values of an opened program are drawn: each after all that it reads.
pub fn order(open: &Graph, names: &[&str]) -> Vec<Draws> {
    let reads: Vec<HashSet<usize>> = names
        .iter()
        .map(|name| {
            let from = open.output(OutputKind::Value, &distribution(name)).map(|operand| operand.node);
            let cone = cone(open, from, |_| true);
            (0..names.len()).filter(|&other| inputs(open, names[other]).any(|n| cone.contains(&n))).collect()
        })
        .collect();
    let mut done: HashSet<usize> = HashSet::new();
    let mut order = Vec::new();
    while done.len() < names.len() {
        let waiting = |at: &usize| reads[*at].iter().filter(|other| !done.contains(other)).count();
        let rest: Vec<usize> = (0..names.len()).filter(|at| !done.contains(at)).collect();
        let ready: Vec<usize> = rest.iter().copied().filter(|at| waiting(at) == 0).collect();
        let draws = if ready.is_empty() {
            // What reads the fewest reads no other cycle.
            let Some(&first) = rest.iter().min_by_key(|at| waiting(at)) else { break };
            let cycle = rest.iter().copied().filter(|at| reads[first].contains(at)).collect();
            Draws::InSteps(cycle)
        } else {
            Draws::AtOnce(ready)
        };
        let (Draws::AtOnce(own) | Draws::InSteps(own)) = &draws;
        done.extend(own);
        order.push(draws);
    }
    order
}

/// Takes an opened program apart for drawing these values step by step along `axis`. Its length is `known` if
/// something else that is given lies along it, too; otherwise it ends where drawing ends.
///
/// # Errors
/// Something reads ahead, or needs all positions at once: what does.
pub fn stepwise(open: &Graph, names: &[&str], axis: AxisId, known: bool) -> Result<Stepwise, Unstepped> {
    let mut graph = open.clone();
    let wanted: Vec<String> = names.iter().map(|name| distribution(name)).collect();
    graph.outputs.retain(|output| wanted.contains(&output.name));
    let drawn: Vec<NodeId> = names.iter().flat_map(|name| inputs(&graph, name)).collect();
    let tainted = readers(&graph, &drawn);
    let (mut step, mut once) = (graph.clone(), graph.clone());
    once.outputs.clear();
    let needed = live(&graph);
    // Nodes of the step, from its outputs down to what is known before.
    let mut own: HashSet<NodeId> = HashSet::new();
    let mut stack: Vec<NodeId> = graph.outputs.iter().map(|output| output.value.node).collect();
    let mut before: HashMap<(NodeId, Access), NodeId> = HashMap::new();
    while let Some(node) = stack.pop() {
        if !own.insert(node) {
            continue;
        }
        let mut operands = graph.operands(node);
        let mut changed = false;
        for (index, operand) in operands.iter_mut().enumerate() {
            if tainted.contains(&operand.node) || !is_known_before(&graph, operand.node, axis, known) {
                stack.push(operand.node);
                continue;
            }
            // Whether a start is read instead is seen by the access: it stays with the reader.
            let starts = *graph.op(node) == Op::Initially && index == 0;
            let access =
                if is_read_before(operand.access, axis) && !starts { operand.access } else { Access::Here };
            let count = before.len();
            let leaf = *before.entry((operand.node, access)).or_insert_with(|| {
                let source = Operand { node: operand.node, access };
                let (name, ty) = (format!("memory.{count}"), graph.type_at(source));
                let origin = graph.node(operand.node).origin;
                let value = match access {
                    Access::Here => source,
                    _ => {
                        let copy = Node { op: Op::Copy, ty: ty.clone(), origin, name: None };
                        once.insert(copy, &[source]).into()
                    }
                };
                once.outputs.push(Output { kind: OutputKind::Value, name: name.clone(), value });
                step.inputs.push(InputSpec { name: name.clone(), ty: ty.clone(), observed: false });
                step.leaf(Op::Input(name), ty, origin, None)
            });
            let access = if access == Access::Here { operand.access } else { Access::Here };
            *operand = Operand { node: leaf, access };
            changed = true;
        }
        if changed {
            step.set_operands(node, &operands);
        }
    }
    clean(&mut step);
    clean(&mut once);
    let early = live(&once);
    let unknown = early.iter().copied().find(|&node| !known && graph.ty(node).axes.contains(axis));
    if let Some(node) = unknown.filter(|node| needed.contains(node)) {
        let name = graph.axis_name(axis);
        let reason = format!("this needs all positions along `{name}` before the first of them is drawn");
        return Err(Unstepped { origin: graph.node(node).origin, reason });
    }
    let step = carry_wide(&step, axis)
        .map_err(|uncut| Unstepped { origin: step.node(uncut.node).origin, reason: uncut.reason })?;
    let instant = |access: Access| !matches!(access, Access::Delay { axis: along, .. } if along == axis);
    let reads = |from: NodeId| {
        let cone = cone(&step, Some(from), instant);
        (0..names.len()).filter(|&at| inputs(&step, names[at]).any(|node| cone.contains(&node))).collect()
    };
    let after = names.iter().enumerate().map(|(at, name)| {
        let from = step.output(OutputKind::Value, &distribution(name)).map(|operand| operand.node);
        let mut reads: Vec<usize> = from.map(reads).unwrap_or_default();
        reads.retain(|&other| other != at);
        reads
    });
    let after = after.collect();
    let states = step.outputs_of(OutputKind::Carry).filter(|output| !is_drawn_state(&output.name, names));
    let states_read = states.into_iter().any(|output| !reads(output.value.node).is_empty());
    Ok(Stepwise { once, step, after, states_read })
}

/// Whether a state is no more than what was drawn before; `NAME.carry` is that of one step, `NAME.carry2` of two.
fn is_drawn_state(state: &str, names: &[&str]) -> bool {
    names.iter().any(|name| drawn_before(state, name).is_some())
}

/// How many steps before the value `name` was drawn that this state holds, if it does.
pub fn drawn_before(state: &str, name: &str) -> Option<usize> {
    match state.strip_prefix(name)?.strip_prefix(".carry")? {
        "" => Some(1),
        number => number.parse().ok(),
    }
}

/// The leaves of an input.
fn inputs<'g>(graph: &'g Graph, name: &'g str) -> impl Iterator<Item = NodeId> + 'g {
    graph.ids().into_iter().filter(move |&node| matches!(graph.op(node), Op::Input(own) if own == name))
}

/// A node and all that it is made of, through accesses that `follow` accepts.
fn cone(graph: &Graph, from: Option<NodeId>, follow: impl Fn(Access) -> bool) -> HashSet<NodeId> {
    let mut found = HashSet::new();
    let mut stack: Vec<NodeId> = from.into_iter().collect();
    while let Some(node) = stack.pop() {
        if found.insert(node) {
            let operands = graph.operands(node).into_iter();
            stack.extend(operands.filter(|operand| follow(operand.access)).map(|operand| operand.node));
        }
    }
    found
}

/// These nodes and all that is made of them.
fn readers(graph: &Graph, from: &[NodeId]) -> HashSet<NodeId> {
    let mut found = HashSet::new();
    let mut stack = from.to_vec();
    while let Some(node) = stack.pop() {
        if found.insert(node) {
            stack.extend(graph.users(node).into_iter().map(|(user, _, _)| user));
        }
    }
    found
}

/// Whether a value that nothing drawn has a part in is computed before the first step: one of each example, all of
/// whose positions are there. What is the same for all examples is left to the steps, which compute it once.
fn is_known_before(graph: &Graph, node: NodeId, axis: AxisId, known: bool) -> bool {
    let axes = graph.ty(node).axes;
    axes.contains(BATCH) && (known || !axes.contains(axis)) && !matches!(graph.op(node), Op::Position(_))
}

/// Whether a value is better read before the first step: what is left is smaller, or not there yet in a step.
fn is_read_before(access: Access, axis: AxisId) -> bool {
    match access {
        Access::Here => false,
        Access::Delay { axis: along, .. } => along != axis,
        _ => true,
    }
}

/// The axis along which values are drawn that read each other.
pub fn axis_of_steps(open: &Graph, names: &[&str]) -> Option<AxisId> {
    let types = names.iter().map(|name| open.inputs.iter().find(|input| input.name == *name));
    let mut axes = types.map(|input| input.map_or(AxisSet::NONE, |input| input.ty.axes.without(BATCH)));
    let first = axes.next()?;
    let mut own = first.iter();
    let axis = own.next()?;
    (own.next().is_none() && axes.all(|other| other == first)).then_some(axis)
}
