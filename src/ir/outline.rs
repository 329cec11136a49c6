//! A graph by its equations: which nodes each computes, and which named values it reads, where.
//!
//! `h[t] = tanh(W @ h[t-1] + b)` is one [`Equation`]: its nodes are the product, the sum and the tanh, and it
//! reads `W`, `b` and `h` one step back. Pictures, costs and traces are made from this; the words are those
//! of the printer.

use std::collections::HashSet;

use super::graph::{Graph, NodeId, Operand, OutputKind};
use super::print::{listing, right_side};
use super::types::Access;

/// An equation and what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Equation {
    /// The node that it defines.
    pub node: NodeId,
    /// As printed: `h[t] = tanh(z[t])`.
    pub text: String,
    /// All nodes that it computes, its own first.
    pub nodes: Vec<NodeId>,
    /// The named values and leaves that it reads, each place once.
    pub reads: Vec<Operand>,
}

impl Equation {
    /// What stands before the `=`.
    pub fn left(&self) -> &str {
        self.text.split_once(" = ").map_or(&self.text, |(left, _)| left)
    }

    /// What it defines, without the position.
    pub fn name(&self) -> &str {
        self.left().split('[').next().unwrap_or("")
    }
}

/// The equations of what the outputs need, in the order of the schedule; a loss that has no name of its own
/// comes last.
pub fn outline(graph: &Graph) -> Vec<Equation> {
    let listing = listing(graph);
    let mut equations = listing.equations.clone();
    for output in &graph.outputs {
        let node = output.value.node;
        let known = listing.name(node).is_some() || equations.iter().any(|(other, _)| *other == node);
        if output.value.access == Access::Here && !known {
            let word = match output.kind {
                OutputKind::Loss => "loss ",
                OutputKind::Metric => "metric ",
                OutputKind::Update => "update ",
                OutputKind::Value | OutputKind::Gradient | OutputKind::Carry => "",
            };
            equations.push((node, format!("{word}{} = {}", output.name, right_side(graph, node))));
        }
    }
    let of = |(node, text): (NodeId, String)| {
        let mut equation = Equation { node, text, nodes: Vec::new(), reads: Vec::new() };
        let mut seen = HashSet::new();
        let mut stack = vec![node];
        while let Some(inner) = stack.pop() {
            if !seen.insert(inner) {
                continue;
            }
            equation.nodes.push(inner);
            for operand in graph.operands(inner) {
                match listing.name(operand.node) {
                    Some(_) if !equation.reads.contains(&operand) => equation.reads.push(operand),
                    Some(_) => {}
                    None => stack.push(operand.node),
                }
            }
        }
        equation
    };
    equations.into_iter().map(of).collect()
}
