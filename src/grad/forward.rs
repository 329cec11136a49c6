//! Forward mode: the derivative of values along a direction, as nodes of the same graph.
//!
//! The tangent of `h[t] = tanh(W @ h[t-1] + …)` is `h_dot[t] = (1 - h[t]^2) * z_dot[t]` with
//! `z_dot[t] = W_dot @ h[t-1] + W @ h_dot[t-1] + …`: a tangent is read where its value is read, so that a
//! sweep needs to know nothing of accesses. Where the Jacobian of an operation is symmetric (everything
//! elementwise, softmax) its row is the one of the reverse mode; a linear operation is applied to the
//! tangents as it stands. Griewank and Walther, *Evaluating Derivatives* (2008), chapter 3.1.

use std::collections::{HashMap, HashSet};

use super::GradError;
use super::rules::{Rules, peaks, symmetric};
use super::sweep::{active, bypass, last_part, prefixed, total_of};
use crate::ir::{
    Access, Along, Graph, Node, NodeId, Op, Operand, Origin, OriginKind, Output, OutputKind, ParamSpec,
    Reduction,
};

/// `graph` with the derivatives of its losses and gradients along a direction in the space of these
/// parameters, as further values: of the loss `l` the number `l_dot`, of the gradient of `W` the array
/// `dW_dot`. The direction is given as frozen parameters, `W_dot` for `W` (see [`direction`]).
///
/// Of a graph that [`super::grad`] made it gives Hessian-vector products.
///
/// # Errors
/// If there is no loss, no such parameter, or an operation on the way has no derivative.
pub fn jvp(graph: &Graph, wrt: &[String]) -> Result<Graph, GradError> {
    let mut result = graph.clone();
    let ends: Vec<Output> = graph
        .outputs
        .iter()
        .filter(|output| matches!(output.kind, OutputKind::Loss | OutputKind::Gradient))
        .cloned()
        .collect();
    if ends.is_empty() {
        return Err(GradError::NoLoss);
    }
    let mut seeds = Vec::new();
    for name in wrt {
        let Some(param) = graph.params.iter().find(|param| param.name == *name) else {
            return Err(GradError::UnknownParameter(name.clone()));
        };
        let along = direction(graph, name);
        let init = ("zeros".to_string(), None);
        let (name, shape) = (along.clone(), param.shape.clone());
        result.params.push(ParamSpec { name, shape, init, trainable: false });
        let is_param = |node: &NodeId| matches!(graph.op(*node), Op::Param(path) if *path == param.name);
        if let Some(node) = graph.ids().into_iter().find(is_param) {
            let origin =
                Origin { span: graph.node(node).origin.span, kind: OriginKind::Tangent(node), through: None };
            let leaf = result.leaf(Op::Param(along), graph.ty(node).clone(), origin, None);
            seeds.push((node, leaf));
        }
    }
    let of: Vec<NodeId> = ends.iter().map(|output| output.value.node).collect();
    let found = tangents(&mut result, &seeds, &of)?;
    let mut taken: HashSet<String> = result.outputs.iter().map(|output| output.name.clone()).collect();
    for Output { kind, name, value } in ends {
        let tangent = match found.get(&value.node) {
            Some(&node) => Operand { node, access: value.access },
            None => {
                let shape = graph.ty(value.node).shape.clone();
                result.constant(0.0, &shape, graph.node(value.node).origin).into()
            }
        };
        let mut name = match kind {
            OutputKind::Gradient => dotted(&prefixed(&name)),
            _ => dotted(&name),
        };
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        result.outputs.push(Output { kind: OutputKind::Value, name, value: tangent });
    }
    christen(&mut result);
    Ok(result)
}

/// The name of the direction's part for the parameter `path`, which [`jvp`] adds to `graph`.
pub fn direction(graph: &Graph, path: &str) -> String {
    let mut name = dotted(path);
    let taken = |name: &str| {
        graph.params.iter().any(|param| param.name == name)
            || graph.inputs.iter().any(|input| input.name == name)
            || graph.outputs.iter().any(|output| output.name == name)
    };
    while taken(&name) {
        name.push('_');
    }
    name
}

fn dotted(path: &str) -> String {
    format!("{path}_dot")
}

/// The tangents of the nodes `of`, given those of some others (`seeds`: node, its tangent, of the same
/// type). Nodes that depend on no seed are left out.
///
/// # Errors
/// If an operation on the way has no derivative.
pub fn tangents(
    graph: &mut Graph,
    seeds: &[(NodeId, NodeId)],
    of: &[NodeId],
) -> Result<HashMap<NodeId, NodeId>, GradError> {
    let given: HashMap<NodeId, NodeId> = seeds.iter().copied().collect();
    let known: Vec<NodeId> = seeds.iter().map(|(node, _)| *node).collect();
    let active = active(graph, of, &known);
    let mut order: Vec<NodeId> =
        active.iter().copied().filter(|node| !given.contains_key(node) && graph.is_real(*node)).collect();
    order.sort_unstable();
    if let Some(&node) = active.iter().filter(|&&node| !graph.is_real(node)).min() {
        return Err(GradError::NoDerivative { name: "argmax".into(), node });
    }
    // Made before their terms, for cycles.
    let mut tangent = given.clone();
    for &node in &order {
        let origin =
            Origin { span: graph.node(node).origin.span, kind: OriginKind::Tangent(node), through: None };
        let shell = Node { op: Op::Copy, ty: graph.ty(node).clone(), origin, name: None };
        tangent.insert(node, graph.insert(shell, &[]));
    }
    for &node in &order {
        let mut rules = Rules::tangent(graph, node);
        let terms = terms(&mut rules, node, &tangent)?;
        let total = total_of(&mut rules, node, terms)?;
        graph.set_operands(tangent[&node], &[total]);
    }
    let wanted = of.iter().filter_map(|node| Some((*node, *tangent.get(node)?)));
    let mut found: HashMap<NodeId, NodeId> = wanted.collect();
    bypass(graph, &order, &tangent, &mut found);
    Ok(found)
}

/// The terms of a node's tangent, one for each operand that has a tangent (or fewer).
fn terms(
    rules: &mut Rules,
    node: NodeId,
    tangent: &HashMap<NodeId, NodeId>,
) -> Result<Vec<Operand>, GradError> {
    let op = rules.graph.op(node).clone();
    let operands = rules.graph.operands(node);
    let moved: Vec<Option<Operand>> = operands
        .iter()
        .map(|x| tangent.get(&x.node).map(|&node| Operand { node, access: x.access }))
        .collect();
    let mut found = Vec::new();
    match &op {
        Op::Input(_)
        | Op::Param(_)
        | Op::Constant(_)
        | Op::Position(_)
        | Op::Length(_)
        | Op::Count(_)
        | Op::Setting(_)
        | Op::NoId
        | Op::Random(_)
        | Op::OneHot(_)
        | Op::ArgMax
        | Op::Stop => {}
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Softmax(_) => {
            for (index, x_dot) in moved.iter().enumerate() {
                if let &Some(x_dot) = x_dot {
                    found.extend(symmetric(rules, node, index, x_dot)?);
                }
            }
        }
        Op::LogSumExp => {
            if let Some(x_dot) = moved[0] {
                let softmax = rules.op(Op::Softmax(Along::Last), &[operands[0]])?;
                let product = rules.multiply(softmax, x_dot)?;
                found.push(rules.op(Op::Reduce(Reduction::Sum, Along::Last), &[product])?);
            }
        }
        // The largest share evenly.
        Op::Reduce(Reduction::Max, along) => {
            if let Some(x_dot) = moved[0] {
                let (largest, ties) = peaks(rules, *along, operands[0], node.into())?;
                let product = rules.multiply(largest, x_dot)?;
                let sum = rules.op(Op::Reduce(Reduction::Sum, *along), &[product])?;
                found.push(rules.binary(crate::ir::Binary::Divide, sum, ties)?);
            }
        }
        Op::Gather => {
            if let Some(table_dot) = moved[0] {
                found.push(rules.op(op, &[table_dot, operands[1]])?);
            }
        }
        Op::Slice { .. } | Op::Reduce(Reduction::Sum | Reduction::Mean, _) => {
            if let Some(x_dot) = moved[0] {
                found.push(rules.op(op, &[x_dot])?);
            }
        }
        Op::Copy => found.extend(moved[0]),
        Op::Contract(_) => {
            if let Some(a_dot) = moved[0] {
                found.push(rules.op(op.clone(), &[a_dot, operands[1]])?);
            }
            if let Some(b_dot) = moved[1] {
                found.push(rules.op(op, &[operands[0], b_dot])?);
            }
        }
        Op::Concat { .. } | Op::Initially => {
            if moved.iter().any(Option::is_some) {
                let all = operands.iter().zip(&moved).map(|(&x, x_dot)| match *x_dot {
                    Some(x_dot) => x_dot,
                    None => still(rules, x),
                });
                let all: Vec<Operand> = all.collect();
                found.push(rules.op(op, &all)?);
            }
        }
    }
    Ok(found)
}

/// The tangent of a value that does not move: zeros, read where it is read.
fn still(rules: &mut Rules, x: Operand) -> Operand {
    let ty = rules.graph.ty(x.node).clone();
    let zero = rules.constant(0.0, &ty.shape);
    if x.access == Access::Here {
        return zero;
    }
    let shell = Node { op: Op::Copy, ty, origin: rules.origin, name: None };
    Operand { node: rules.graph.insert(shell, &[zero]), access: x.access }
}

/// Names tangents after what they belong to: `h_dot` for `enc.h`, or `enc.h_dot` where there are several.
fn christen(graph: &mut Graph) {
    let mut used: HashSet<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    used.extend(graph.inputs.iter().map(|input| input.name.clone()));
    used.extend(graph.ids().iter().filter_map(|&node| graph.node(node).name.clone()));
    let outputs: Vec<(NodeId, String)> =
        graph.outputs_of(OutputKind::Value).map(|output| (output.value.node, output.name.clone())).collect();
    used.extend(outputs.iter().map(|(_, name)| name.clone()));
    for (node, name) in outputs {
        let is_tangent = matches!(graph.node(node).origin.kind, OriginKind::Tangent(_));
        if is_tangent && graph.node(node).name.is_none() && !matches!(graph.op(node), Op::Param(_)) {
            graph.node_mut(node).name = Some(name);
        }
    }
    let mut wanted: Vec<(NodeId, String)> = Vec::new();
    for node in graph.ids() {
        let OriginKind::Tangent(of) = graph.node(node).origin.kind else { continue };
        let unnamed = graph.node(node).name.is_none() && !matches!(graph.op(node), Op::Param(_));
        if unnamed && graph.contains(of) && graph.ty(node) == graph.ty(of) && leaves(graph, node, of) {
            wanted.extend(graph.node(of).name.as_deref().map(|path| (node, dotted(path))));
        }
    }
    let mut short: HashMap<String, usize> = HashMap::new();
    for (_, path) in &wanted {
        *short.entry(last_part(path)).or_default() += 1;
    }
    for (node, path) in wanted {
        let last = last_part(&path);
        let mut name = if short[&last] == 1 && !used.contains(&last) { last } else { path };
        while !used.insert(name.clone()) {
            name.push('_');
        }
        graph.node_mut(node).name = Some(name);
    }
}

/// True if the tangent of another node reads this one: of all nodes that a tangent is made of, it is
/// the tangent itself.
fn leaves(graph: &Graph, node: NodeId, of: NodeId) -> bool {
    graph.users(node).iter().any(|(reader, _, _)| match graph.node(*reader).origin.kind {
        OriginKind::Tangent(other) => other != of,
        OriginKind::Forward | OriginKind::Adjoint(_) => false,
    })
}
