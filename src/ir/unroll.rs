//! An axis turned into copies: `h[t] = f(h[t-1])` becomes `h_0 = f(0)`, `h_1 = f(h_0)`, ….
//!
//! For looking at, for drawing, and for holding loops against the same computation without one.
//! Every example has exactly the given number of steps, or the given tree; inputs along the axis become
//! one input a position. A tree takes the axes of its children and its leaves along.

mod places;

use std::collections::HashMap;

use super::graph::{Graph, InputSpec, Node, NodeId, Operand, Output};
use super::infer::infer;
use super::op::{Along, Binary, Contract, Op, Reduction, Unary};
use super::schedule::{ScheduleError, Stage, schedule};
use super::types::{AxisId, AxisSet, BATCH, Element, ValueType};
use crate::base::Tree;
use places::{Moved, Places, Spot};

/// `graph` with `axis` replaced by `steps` copies of everything on it, named `x_0`, `x_1`, ….
///
/// # Errors
/// If the graph has no schedule.
pub fn unroll(graph: &Graph, axis: AxisId, steps: usize) -> Result<Graph, ScheduleError> {
    Ok(unrolled(graph, Places::steps(axis, steps))?.to)
}

/// `graph` with the tree `axis` replaced by a copy of everything for each node of `tree`; what has a value
/// for each child of each node becomes `x_0_0`, `x_0_1`, …, the last number that of the child.
///
/// # Errors
/// If the graph has no schedule.
pub fn unroll_tree(graph: &Graph, axis: AxisId, tree: &Tree) -> Result<Graph, ScheduleError> {
    Ok(unrolled(graph, Places::tree(graph, axis, tree))?.to)
}

/// The same, and which node of the tree each copy belongs to.
///
/// # Errors
/// If the graph has no schedule.
pub fn unroll_tree_by_node(
    graph: &Graph,
    axis: AxisId,
    tree: &Tree,
) -> Result<(Graph, HashMap<NodeId, usize>), ScheduleError> {
    let unroller = unrolled(graph, Places::tree(graph, axis, tree))?;
    let node = |((from, spot), to): (&(NodeId, Spot), &NodeId)| {
        Some((*to, unroller.places.tree_node(graph.ty(*from).axes, *spot)?))
    };
    let nodes = unroller.made.iter().filter_map(node).collect();
    Ok((unroller.to, nodes))
}

fn unrolled<'a>(graph: &'a Graph, places: Places<'a>) -> Result<Unroller<'a>, ScheduleError> {
    let mut unroller = Unroller { from: graph, places, to: graph.emptied(), made: HashMap::new() };
    unroller.to.inputs.clear();
    for input in &graph.inputs {
        unroller.input(input);
    }
    for stage in schedule(graph)? {
        match stage {
            Stage::Flat(node) => {
                for spot in unroller.places.spots(graph.ty(node).axes) {
                    unroller.copy(node, spot);
                }
            }
            Stage::Loop { axis, backward, nodes } if unroller.places.gone.contains(axis) => {
                for step in unroller.places.steps_of(axis, backward) {
                    for &node in &nodes {
                        for spot in unroller.places.spots_at(graph.ty(node).axes, axis, step) {
                            unroller.copy(node, spot);
                        }
                    }
                }
            }
            Stage::Loop { nodes, .. } => unroller.other_loop(&nodes),
        }
    }
    for output in &graph.outputs {
        unroller.output(output);
    }
    Ok(unroller)
}

struct Unroller<'a> {
    from: &'a Graph,
    places: Places<'a>,
    to: Graph,
    /// The copy of a node at a place.
    made: HashMap<(NodeId, Spot), NodeId>,
}

impl Unroller<'_> {
    fn input(&mut self, input: &InputSpec) {
        for spot in self.places.spots(input.ty.axes) {
            let mut ty = input.ty.clone();
            let name = self.places.named(&input.name, ty.axes, spot);
            ty.axes = ty.axes.minus(self.places.gone);
            self.to.inputs.push(InputSpec { name, ty, observed: input.observed });
        }
    }

    /// Loops along another axis: each copy is a loop of its own. Stand-ins close the cycles until the
    /// nodes are there.
    fn other_loop(&mut self, nodes: &[NodeId]) {
        for &node in nodes {
            for spot in self.places.spots(self.from.ty(node).axes) {
                let shell = self.shell(node, spot);
                let id = self.to.insert(shell, &[]);
                self.made.insert((node, spot), id);
            }
        }
        for &node in nodes {
            for spot in self.places.spots(self.from.ty(node).axes) {
                let stand_in = self.made[&(node, spot)];
                self.copy(node, spot);
                self.to.replace(stand_in, self.made[&(node, spot)].into());
                self.to.remove(stand_in);
            }
        }
    }

    /// The node without its operands, at a place.
    fn shell(&self, node: NodeId, spot: Spot) -> Node {
        let mut shell = self.from.node(node).clone();
        let axes = shell.ty.axes;
        if self.places.touches(axes) {
            shell.ty.axes = axes.minus(self.places.gone);
            shell.name = shell.name.map(|name| self.places.named(&name, axes, spot));
            if let Op::Input(name) = &shell.op {
                shell.op = Op::Input(self.places.named(name, axes, spot));
            }
            if let Op::Random(stream) = shell.op {
                let (count, at) = self.places.number(axes, spot);
                let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                shell.op = Op::Random(stream.wrapping_mul(word(count)).wrapping_add(word(at)));
            }
        }
        shell
    }

    fn copy(&mut self, node: NodeId, spot: Spot) {
        let shell = self.shell(node, spot);
        let name = shell.name.clone();
        let id = self.build(node, spot, shell);
        self.to.node_mut(id).name = name;
        self.made.insert((node, spot), id);
    }

    /// A new node (and what it needs) with the value of `node` at a place.
    fn build(&mut self, node: NodeId, spot: Spot, shell: Node) -> NodeId {
        let origin = shell.origin;
        let operands = self.from.operands(node);
        let gone = self.places.gone;
        match self.from.op(node).clone() {
            Op::Position(axis) if gone.contains(axis) => {
                let value = self.to.constant(self.places.coordinate(axis, spot) as f64, &[], origin);
                // A number reads as well as a number an example; one along other axes is looked up there.
                if shell.ty.axes.without(BATCH).is_empty() {
                    return value;
                }
                self.to.insert(Node { op: Op::Copy, ..shell }, &[value.into()])
            }
            Op::Length(axis) if gone.contains(axis) => {
                let value = self.to.constant(self.places.length(axis, spot) as f64, &[], origin);
                self.to.insert(Node { op: Op::Copy, ..shell }, &[value.into()])
            }
            Op::Count(axes) if self.places.touches(axes) => {
                let left = Node { op: Op::Count(axes.minus(gone)), ..shell };
                let others = self.to.insert(left, &[]);
                let spots = self.to.constant(self.places.spots(axes).len() as f64, &[], origin);
                self.combine(Binary::Multiply, others, spots)
            }
            Op::Initially => {
                let exists = match self.places.moved(operands[0].access, spot) {
                    Moved::Elsewhere => return self.insert(shell, &operands, spot),
                    Moved::To(_) => true,
                    Moved::Beyond => false,
                };
                let value = self.read(operands[usize::from(!exists)], spot);
                self.to.insert(Node { op: Op::Copy, ..shell }, &[value])
            }
            Op::Reduce(reduction, Along::Axes(over)) if self.places.touches(over) => {
                let axes = self.from.type_at(operands[0]).axes;
                let within = self.places.within(axes, over, spot);
                let values: Vec<Operand> =
                    within.into_iter().map(|at| self.read_wide(operands[0], at)).collect();
                self.reduce(reduction, over.minus(gone), &values, &shell)
            }
            Op::Contract(contract) if self.places.touches(contract.over) => {
                let rest = contract.over.minus(gone);
                let axes = operands.iter().map(|&x| self.from.type_at(x).axes);
                let axes = axes.fold(AxisSet::NONE, AxisSet::union);
                let within = self.places.within(axes, contract.over, spot);
                let one = Contract { over: rest, mean: false, ..contract.clone() };
                let ty = ValueType { axes: axes.minus(contract.over).minus(gone), ..shell.ty.clone() };
                let term = Node { op: Op::Contract(one), name: None, ty, ..shell.clone() };
                let terms: Vec<Operand> =
                    within.iter().map(|&at| self.insert(term.clone(), &operands, at).into()).collect();
                let sum = self.chain(Binary::Add, &terms, &shell);
                if contract.mean { self.divide_by_positions(sum, rest, terms.len()) } else { sum }
            }
            Op::Softmax(Along::Axes(over)) if self.places.touches(over) => {
                self.softmax(operands[0], over, spot, &shell)
            }
            _ => self.insert(shell, &operands, spot),
        }
    }

    /// A copy of a node that reads `operands` (of the old graph) at a place. Zeros from beyond the ends
    /// have no axes; where those are missed, they get them.
    fn insert(&mut self, shell: Node, operands: &[Operand], spot: Spot) -> NodeId {
        let mut read: Vec<Operand> = operands.iter().map(|&x| self.read(x, spot)).collect();
        let types: Vec<ValueType> = read.iter().map(|&x| self.to.type_at(x)).collect();
        let fits = shell.op == Op::Copy
            || types.is_empty()
            || infer(&shell.op, &types).is_ok_and(|found| found == shell.ty);
        if !fits {
            read = operands.iter().map(|&x| self.read_wide(x, spot)).collect();
        }
        self.to.insert(shell, &read)
    }

    /// The sum `total` over the positions of `rest` and `count` unrolled ones, divided by their number.
    fn divide_by_positions(&mut self, total: NodeId, rest: AxisSet, count: usize) -> NodeId {
        if count == 0 {
            return total;
        }
        let origin = self.to.node(total).origin;
        let mut positions = self.to.constant(count as f64, &[], origin);
        if rest.is_empty() {
            return self.combine(Binary::Divide, total, positions);
        }
        if let Ok(others) = self.to.positions(rest, origin) {
            positions = self.combine(Binary::Multiply, others, positions);
        }
        // The mean of nothing is 0.
        let one = self.to.constant(1.0, &[], origin);
        let positions = self.combine(Binary::Max, positions, one);
        self.combine(Binary::Divide, total, positions)
    }

    fn reduce(&mut self, reduction: Reduction, rest: AxisSet, values: &[Operand], shell: &Node) -> NodeId {
        let binary = if reduction == Reduction::Max { Binary::Max } else { Binary::Add };
        let mut total = self.chain(binary, values, shell);
        if !rest.is_empty() && !values.is_empty() {
            let keep = if reduction == Reduction::Mean { Reduction::Sum } else { reduction };
            let node = Node { op: Op::Reduce(keep, Along::Axes(rest)), ..shell.clone() };
            total = self.to.insert(node, &[total.into()]);
        }
        if reduction == Reduction::Mean {
            total = self.divide_by_positions(total, rest, values.len());
        }
        total
    }

    /// `values` combined from the left; zero if there are none. Always a new node.
    fn chain(&mut self, binary: Binary, values: &[Operand], shell: &Node) -> NodeId {
        match *values {
            [] => {
                let zero = self.to.constant(0.0, &shell.ty.shape, shell.origin);
                self.to.insert(Node { op: Op::Copy, ..shell.clone() }, &[zero.into()])
            }
            [only] => {
                let ty = self.to.type_at(only);
                self.to.insert(Node { op: Op::Copy, ty, ..shell.clone() }, &[only])
            }
            [first, ref rest @ ..] => {
                let mut total = first;
                for &value in rest {
                    // All are the same value at different steps, so the types agree.
                    let ty = self.to.type_at(total);
                    let node = Node { op: Op::Binary(binary), ty, origin: shell.origin, name: None };
                    total = self.to.insert(node, &[total, value]).into();
                }
                total.node
            }
        }
    }

    /// Two numbers, or an array and a number.
    fn combine(&mut self, binary: Binary, a: NodeId, b: NodeId) -> NodeId {
        let mut ty = self.to.ty(a).clone();
        ty.axes = ty.axes.union(self.to.ty(b).axes);
        let node = Node { op: Op::Binary(binary), ty, origin: self.to.node(a).origin, name: None };
        self.to.insert(node, &[a.into(), b.into()])
    }

    fn softmax(&mut self, of: Operand, over: AxisSet, spot: Spot, shell: &Node) -> NodeId {
        let rest = over.minus(self.places.gone);
        let within = self.places.within(self.from.type_at(of).axes, over, spot);
        let own = within.iter().position(|&at| at == spot).unwrap_or(0);
        let values: Vec<Operand> = within.into_iter().map(|at| self.read_wide(of, at)).collect();
        let wide = Node { name: None, ..shell.clone() };
        let peak = self.chain(Binary::Max, &values, &wide);
        let peak = self.along_rest(Reduction::Max, rest, peak, &wide);
        let powers: Vec<Operand> = values
            .iter()
            .map(|&value| {
                let node = Node { op: Op::Binary(Binary::Subtract), ..wide.clone() };
                let lowered = self.to.insert(node, &[value, peak.into()]);
                let node = Node { op: Op::Unary(Unary::Exp), ..wide.clone() };
                Operand::from(self.to.insert(node, &[lowered.into()]))
            })
            .collect();
        let total = self.chain(Binary::Add, &powers, &wide);
        let total = self.along_rest(Reduction::Sum, rest, total, &wide);
        let node = Node { op: Op::Binary(Binary::Divide), ..shell.clone() };
        self.to.insert(node, &[powers[own], total.into()])
    }

    fn along_rest(&mut self, reduction: Reduction, rest: AxisSet, of: NodeId, wide: &Node) -> NodeId {
        if rest.is_empty() {
            return of;
        }
        let ty = ValueType { axes: wide.ty.axes.minus(rest), ..wide.ty.clone() };
        let node = Node { op: Op::Reduce(reduction, Along::Axes(rest)), ty, ..wide.clone() };
        self.to.insert(node, &[of.into()])
    }

    /// As [`Unroller::read`], with all the axes that the operand had but the unrolled ones.
    fn read_wide(&mut self, operand: Operand, spot: Spot) -> Operand {
        let mut ty = self.from.type_at(operand);
        ty.axes = ty.axes.minus(self.places.gone);
        let read = self.read(operand, spot);
        if self.to.type_at(read).axes == ty.axes {
            return read;
        }
        let origin = self.to.node(read.node).origin;
        self.to.insert(Node { op: Op::Copy, ty, origin, name: None }, &[read]).into()
    }

    /// The operand as read by a copy at a place.
    fn read(&mut self, operand: Operand, spot: Spot) -> Operand {
        let Operand { node, access } = operand;
        let axes = self.from.ty(node).axes;
        match self.places.moved(access, spot) {
            Moved::Elsewhere => {
                let node = self.made[&(node, self.places.restricted(spot, axes))];
                Operand { node, access }
            }
            Moved::To(there) => self.made[&(node, self.places.restricted(there, axes))].into(),
            Moved::Beyond => self.nothing(node),
        }
    }

    /// What stands beyond the ends: zero, or no id.
    fn nothing(&mut self, node: NodeId) -> Operand {
        let ty = self.from.ty(node).clone();
        let origin = self.from.node(node).origin;
        let zero = self.to.constant(0.0, &ty.shape, origin);
        match ty.element {
            Element::Real => zero.into(),
            Element::Id(_) => {
                let none = ValueType { axes: AxisSet::NONE, ..ty };
                self.to.leaf(Op::NoId, none, origin, None).into()
            }
        }
    }

    fn output(&mut self, output: &Output) {
        let axes = self.from.type_at(output.value).axes;
        for spot in self.places.spots(axes) {
            let value = self.read_wide(output.value, spot);
            let name = self.places.named(&output.name, axes, spot);
            self.to.outputs.push(Output { name, value, ..output.clone() });
        }
    }
}
