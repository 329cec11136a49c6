//! An axis turned into copies: `h[t] = f(h[t-1])` becomes `h_0 = f(0)`, `h_1 = f(h_0)`, ….
//!
//! For looking at, for drawing, and for holding loops against the same computation without one.
//! Every example has exactly the given number of steps; inputs along the axis become one input a step.

use std::collections::HashMap;

use super::graph::{Graph, InputSpec, Node, NodeId, Operand, Output};
use super::infer::infer;
use super::op::{Along, Binary, Contract, Op, Reduction, Unary};
use super::schedule::{ScheduleError, Stage, schedule};
use super::types::{Access, AxisId, AxisSet, BATCH, Element, ValueType};

/// `graph` with `axis` replaced by `steps` copies of everything on it, named `x_0`, `x_1`, ….
///
/// # Errors
/// If the graph has no schedule.
pub fn unroll(graph: &Graph, axis: AxisId, steps: usize) -> Result<Graph, ScheduleError> {
    let mut unroller = Unroller { from: graph, axis, steps, to: graph.emptied(), made: HashMap::new() };
    unroller.to.inputs.clear();
    for input in &graph.inputs {
        unroller.input(input);
    }
    for stage in schedule(graph)? {
        match stage {
            Stage::Flat(node) => {
                for step in unroller.copies(node) {
                    unroller.copy(node, step);
                }
            }
            Stage::Loop { axis: along, backward, nodes } if along == axis => {
                let order: Vec<usize> =
                    if backward { (0..steps).rev().collect() } else { (0..steps).collect() };
                for step in order {
                    for &node in &nodes {
                        unroller.copy(node, step);
                    }
                }
            }
            Stage::Loop { nodes, .. } => unroller.other_loop(&nodes),
        }
    }
    for output in &graph.outputs {
        unroller.output(output);
    }
    Ok(unroller.to)
}

struct Unroller<'a> {
    from: &'a Graph,
    axis: AxisId,
    steps: usize,
    to: Graph,
    /// The copy of a node at a step (step 0 for nodes without the axis).
    made: HashMap<(NodeId, usize), NodeId>,
}

impl Unroller<'_> {
    fn copies(&self, node: NodeId) -> std::ops::Range<usize> {
        if self.from.ty(node).axes.contains(self.axis) { 0..self.steps } else { 0..1 }
    }

    fn input(&mut self, input: &InputSpec) {
        if !input.ty.axes.contains(self.axis) {
            self.to.inputs.push(input.clone());
            return;
        }
        for step in 0..self.steps {
            let mut ty = input.ty.clone();
            ty.axes = ty.axes.without(self.axis);
            self.to.inputs.push(InputSpec { name: format!("{}_{step}", input.name), ty });
        }
    }

    /// Loops along another axis: each copy is a loop of its own. Stand-ins close the cycles until the
    /// nodes are there.
    fn other_loop(&mut self, nodes: &[NodeId]) {
        for &node in nodes {
            for step in self.copies(node) {
                let shell = self.shell(node, step);
                let id = self.to.insert(shell, &[]);
                self.made.insert((node, step), id);
            }
        }
        for &node in nodes {
            for step in self.copies(node) {
                let stand_in = self.made[&(node, step)];
                self.copy(node, step);
                self.to.replace(stand_in, self.made[&(node, step)].into());
                self.to.remove(stand_in);
            }
        }
    }

    /// The node without its operands, at a step.
    fn shell(&self, node: NodeId, step: usize) -> Node {
        let mut shell = self.from.node(node).clone();
        if shell.ty.axes.contains(self.axis) {
            shell.ty.axes = shell.ty.axes.without(self.axis);
            shell.name = shell.name.map(|name| format!("{name}_{step}"));
            if let Op::Input(name) = &shell.op {
                shell.op = Op::Input(format!("{name}_{step}"));
            }
            if let Op::Random(stream) = shell.op {
                let steps = u32::try_from(self.steps).unwrap_or(u32::MAX);
                let step = u32::try_from(step).unwrap_or(u32::MAX);
                shell.op = Op::Random(stream.wrapping_mul(steps).wrapping_add(step));
            }
        }
        shell
    }

    fn copy(&mut self, node: NodeId, step: usize) {
        let shell = self.shell(node, step);
        let name = shell.name.clone();
        let id = self.build(node, step, shell);
        self.to.node_mut(id).name = name;
        self.made.insert((node, step), id);
    }

    /// A new node (and what it needs) with the value of `node` at `step`.
    fn build(&mut self, node: NodeId, step: usize, shell: Node) -> NodeId {
        let origin = shell.origin;
        let axis = self.axis;
        let operands = self.from.operands(node);
        let count = self.steps as f64;
        match self.from.op(node).clone() {
            Op::Position(a) if a == axis => {
                let value = self.to.constant(step as f64, &[], origin);
                // A number reads as well as a number an example; one along other axes is looked up there.
                if shell.ty.axes.without(BATCH).is_empty() {
                    return value;
                }
                self.to.insert(Node { op: Op::Copy, ..shell }, &[value.into()])
            }
            Op::Length(a) if a == axis => {
                let value = self.to.constant(count, &[], origin);
                self.to.insert(Node { op: Op::Copy, ..shell }, &[value.into()])
            }
            Op::Count(axes) if axes.contains(axis) => {
                let left = Node { op: Op::Count(axes.without(axis)), ..shell };
                let others = self.to.insert(left, &[]);
                let steps = self.to.constant(count, &[], origin);
                self.combine(Binary::Multiply, others, steps)
            }
            Op::Initially => {
                let exists = match operands[0].access {
                    Access::Delay { axis: a, by } if a == axis => step >= by as usize,
                    Access::Advance { axis: a, by } if a == axis => step + (by as usize) < self.steps,
                    _ => return self.insert(shell, &operands, step),
                };
                let value = self.read(operands[usize::from(!exists)], step);
                self.to.insert(Node { op: Op::Copy, ..shell }, &[value])
            }
            Op::Reduce(reduction, Along::Axes(over)) if over.contains(axis) => {
                let values: Vec<Operand> =
                    (0..self.steps).map(|at| self.read_wide(operands[0], at)).collect();
                self.reduce(reduction, over.without(axis), &values, &shell)
            }
            Op::Contract(contract) if contract.over.contains(axis) => {
                let rest = contract.over.without(axis);
                let one = Contract { over: rest, mean: false, ..contract.clone() };
                let term = Node { op: Op::Contract(one), name: None, ..shell.clone() };
                let terms: Vec<Operand> =
                    (0..self.steps).map(|at| self.insert(term.clone(), &operands, at).into()).collect();
                let sum = self.chain(Binary::Add, &terms, &shell);
                if contract.mean { self.divide_by_positions(sum, rest) } else { sum }
            }
            Op::Softmax(Along::Axes(over)) if over.contains(axis) => {
                self.softmax(operands[0], over.without(axis), step, &shell)
            }
            _ => self.insert(shell, &operands, step),
        }
    }

    /// A copy of a node that reads `operands` (of the old graph) at `step`. Zeros from beyond the ends
    /// have no axes; where those are missed, they get them.
    fn insert(&mut self, shell: Node, operands: &[Operand], step: usize) -> NodeId {
        let mut read: Vec<Operand> = operands.iter().map(|&x| self.read(x, step)).collect();
        let types: Vec<ValueType> = read.iter().map(|&x| self.to.type_at(x)).collect();
        let fits = shell.op == Op::Copy
            || types.is_empty()
            || infer(&shell.op, &types).is_ok_and(|found| found == shell.ty);
        if !fits {
            read = operands.iter().map(|&x| self.read_wide(x, step)).collect();
        }
        self.to.insert(shell, &read)
    }

    /// The sum `total` over the positions of `rest` and the unrolled axis, divided by their number.
    fn divide_by_positions(&mut self, total: NodeId, rest: AxisSet) -> NodeId {
        if self.steps == 0 {
            return total;
        }
        let origin = self.to.node(total).origin;
        let mut positions = self.to.constant(self.steps as f64, &[], origin);
        if rest.is_empty() {
            return self.combine(Binary::Divide, total, positions);
        }
        if rest.contains(BATCH) {
            let ty = ValueType::real(Vec::new(), AxisSet::NONE);
            let others = self.to.leaf(Op::Count(rest), ty, origin, None);
            positions = self.combine(Binary::Multiply, others, positions);
        } else {
            for other in rest.iter() {
                let ty = ValueType::real(Vec::new(), AxisSet::BATCH);
                let length = self.to.leaf(Op::Length(other), ty, origin, None);
                positions = self.combine(Binary::Multiply, length, positions);
            }
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
            total = self.divide_by_positions(total, rest);
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

    fn softmax(&mut self, of: Operand, rest: AxisSet, step: usize, shell: &Node) -> NodeId {
        let values: Vec<Operand> = (0..self.steps).map(|at| self.read_wide(of, at)).collect();
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
        self.to.insert(node, &[powers[step], total.into()])
    }

    fn along_rest(&mut self, reduction: Reduction, rest: AxisSet, of: NodeId, wide: &Node) -> NodeId {
        if rest.is_empty() {
            return of;
        }
        let ty = ValueType { axes: wide.ty.axes.minus(rest), ..wide.ty.clone() };
        let node = Node { op: Op::Reduce(reduction, Along::Axes(rest)), ty, ..wide.clone() };
        self.to.insert(node, &[of.into()])
    }

    /// As [`Unroller::read`], with all the axes that the operand had but the unrolled one.
    fn read_wide(&mut self, operand: Operand, step: usize) -> Operand {
        let mut ty = self.from.type_at(operand);
        ty.axes = ty.axes.without(self.axis);
        let read = self.read(operand, step);
        if self.to.type_at(read).axes == ty.axes {
            return read;
        }
        let origin = self.to.node(read.node).origin;
        self.to.insert(Node { op: Op::Copy, ty, origin, name: None }, &[read]).into()
    }

    /// The operand as read by a copy at `step`.
    fn read(&mut self, operand: Operand, step: usize) -> Operand {
        let Operand { node, access } = operand;
        if !self.from.ty(node).axes.contains(self.axis) {
            return Operand { node: self.made[&(node, 0)], access };
        }
        let last = self.steps.checked_sub(1);
        let at = match access {
            Access::Delay { axis, by } if axis == self.axis => step.checked_sub(by as usize),
            Access::Advance { axis, by } if axis == self.axis => {
                step.checked_add(by as usize).filter(|&at| at < self.steps)
            }
            Access::First(axis) if axis == self.axis => last.map(|_| 0),
            Access::Last(axis) if axis == self.axis => last,
            _ => return Operand { node: self.made[&(node, step)], access },
        };
        match at {
            Some(at) => self.made[&(node, at)].into(),
            None => self.nothing(node),
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
        let node = output.value.node;
        let ends = !output.value.access.remaining(self.from.ty(node).axes).contains(self.axis);
        if ends {
            let value = self.read_wide(output.value, 0);
            self.to.outputs.push(Output { value, ..output.clone() });
            return;
        }
        for step in 0..self.steps {
            let value = self.read_wide(output.value, step);
            self.to.outputs.push(Output { name: format!("{}_{step}", output.name), value, ..output.clone() });
        }
    }
}
