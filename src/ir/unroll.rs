//! An axis turned into copies: `h[t] = f(h[t-1])` becomes `h_0 = f(0)`, `h_1 = f(h_0)`, ….
//!
//! For looking at, for drawing, and for holding loops against the same computation without one.
//! Every example has exactly the given number of steps; inputs along the axis become one input a step.

use std::collections::HashMap;

use super::graph::{Graph, InputSpec, Node, NodeId, Operand, Output};
use super::infer::InferError;
use super::op::{Along, Binary, Contract, Op, Reduction};
use super::schedule::{ScheduleError, Stage, schedule};
use super::types::{Access, AxisId, AxisSet, Element};

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

    /// Loops along another axis: each copy is a loop of its own.
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
                let operands: Vec<Operand> =
                    self.from.operands(node).into_iter().map(|operand| self.read(operand, step)).collect();
                let id = self.made[&(node, step)];
                self.to.set_operands(id, &operands);
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
        let id = self.build(node, step);
        self.made.insert((node, step), id);
    }

    fn build(&mut self, node: NodeId, step: usize) -> NodeId {
        let shell = self.shell(node, step);
        let origin = shell.origin;
        let axis = self.axis;
        let operands = self.from.operands(node);
        let count = self.steps as f64;
        match self.from.op(node).clone() {
            Op::Position(a) if a == axis => self.to.constant(step as f64, &[], origin),
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
                    _ => {
                        let read: Vec<Operand> = operands.iter().map(|&x| self.read(x, step)).collect();
                        return self.to.insert(shell, &read);
                    }
                };
                let value = self.read(operands[usize::from(!exists)], step);
                self.to.insert(Node { op: Op::Copy, ..shell }, &[value])
            }
            Op::Reduce(reduction, Along::Axes(over)) if over.contains(axis) => {
                let values: Vec<Operand> = (0..self.steps).map(|at| self.read(operands[0], at)).collect();
                self.reduce(reduction, over.without(axis), &values, &shell)
            }
            Op::Contract(contract) if contract.over.contains(axis) => {
                let rest = contract.over.without(axis);
                let one = Contract { over: rest, mean: false, ..contract.clone() };
                let terms: Vec<Operand> =
                    (0..self.steps)
                        .map(|at| {
                            let read: Vec<Operand> = operands.iter().map(|&x| self.read(x, at)).collect();
                            let ty = shell.ty.clone();
                            Operand::from(self.to.insert(
                                Node { op: Op::Contract(one.clone()), ty, origin, name: None },
                                &read,
                            ))
                        })
                        .collect();
                let sum = self.chain(Binary::Add, &terms, &shell);
                if !contract.mean {
                    return sum;
                }
                let positions = self.positions(rest, origin);
                self.combine(Binary::Divide, sum, positions)
            }
            Op::Softmax(Along::Axes(over)) if over.contains(axis) => self.softmax(operands[0], step, &shell),
            _ => {
                let read: Vec<Operand> =
                    operands.into_iter().map(|operand| self.read(operand, step)).collect();
                self.to.insert(shell, &read)
            }
        }
    }

    fn positions(&mut self, rest: AxisSet, origin: super::graph::Origin) -> NodeId {
        let steps = self.to.constant(self.steps as f64, &[], origin);
        if rest.is_empty() {
            return steps;
        }
        let ty = super::types::ValueType::real(Vec::new(), AxisSet::NONE);
        let others = self.to.insert(Node { op: Op::Count(rest), ty, origin, name: None }, &[]);
        self.combine(Binary::Multiply, others, steps)
    }

    fn reduce(&mut self, reduction: Reduction, rest: AxisSet, values: &[Operand], shell: &Node) -> NodeId {
        let binary = if reduction == Reduction::Max { Binary::Max } else { Binary::Add };
        let wide = Node { op: Op::Copy, name: None, ..shell.clone() };
        let mut total = self.chain(binary, values, &wide);
        if !rest.is_empty() {
            let keep = if reduction == Reduction::Mean { Reduction::Sum } else { reduction };
            let node = Node { op: Op::Reduce(keep, Along::Axes(rest)), name: None, ..shell.clone() };
            total = self.to.insert(node, &[total.into()]);
        }
        if reduction == Reduction::Mean {
            let positions = self.positions(rest, shell.origin);
            total = self.combine(Binary::Divide, total, positions);
        }
        self.to.node_mut(total).name.clone_from(&shell.name);
        total
    }

    fn chain(&mut self, binary: Binary, values: &[Operand], shell: &Node) -> NodeId {
        let Some((&first, rest)) = values.split_first() else {
            return self.to.constant(0.0, &shell.ty.shape, shell.origin);
        };
        let mut total = first;
        for &value in rest {
            // The types agree: all are the same value at different steps.
            total = match self.to.apply(Op::Binary(binary), &[total, value], shell.origin) {
                Ok(node) => node.into(),
                Err(_) => return self.to.insert(Node { op: Op::Copy, ..shell.clone() }, &[first]),
            };
        }
        total.node
    }

    fn combine(&mut self, binary: Binary, a: NodeId, b: NodeId) -> NodeId {
        let made: Result<NodeId, InferError> =
            self.to.apply(Op::Binary(binary), &[a.into(), b.into()], self.to.node(a).origin);
        made.unwrap_or(a)
    }

    fn softmax(&mut self, of: Operand, step: usize, shell: &Node) -> NodeId {
        let values: Vec<Operand> = (0..self.steps).map(|at| self.read(of, at)).collect();
        let wide = Node { op: Op::Copy, name: None, ..shell.clone() };
        let peak = self.chain(Binary::Max, &values, &wide);
        let powers: Vec<Operand> = values
            .iter()
            .map(|&value| {
                let node = Node { op: Op::Binary(Binary::Subtract), ..wide.clone() };
                let lowered = self.to.insert(node, &[value, peak.into()]);
                let node = Node { op: Op::Unary(super::op::Unary::Exp), ..wide.clone() };
                Operand::from(self.to.insert(node, &[lowered.into()]))
            })
            .collect();
        let total = self.chain(Binary::Add, &powers, &wide);
        let node = Node { op: Op::Binary(Binary::Divide), ..shell.clone() };
        self.to.insert(node, &[powers[step], total.into()])
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
                let none = super::types::ValueType { axes: AxisSet::NONE, ..ty };
                self.to.leaf(Op::NoId, none, origin, None).into()
            }
        }
    }

    fn output(&mut self, output: &Output) {
        let node = output.value.node;
        let ends = output.value.access.axis() == Some(self.axis);
        if !self.from.ty(node).axes.contains(self.axis) || ends {
            let value = self.read(output.value, 0);
            self.to.outputs.push(Output { value, ..output.clone() });
            return;
        }
        for step in 0..self.steps {
            let value = self.read(output.value, step);
            self.to.outputs.push(Output { name: format!("{}_{step}", output.name), value, ..output.clone() });
        }
    }
}
