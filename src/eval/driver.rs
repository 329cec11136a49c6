//! The walk over the graph: what is in no cycle is computed at all positions, a loop step by step.
//!
//! `h[t] = tanh(W @ h[t-1] + x[t])`: for every example, for its steps in order, every node of the loop.
//! Examples have their own lengths and do not wait for each other.

use super::EvalError;
use super::apply::{Context, apply};
use super::feeds::{Feeds, Lengths, check};
use super::storage::{Place, Values};
use crate::ir::{AxisKind, BATCH, Graph, NodeId, Operand, Stage, schedule, verify};

/// The values of all nodes of `graph`, given `feeds`.
///
/// # Errors
/// If the graph is not well formed, or something it reads was not given in the right size and range.
pub fn evaluate(graph: &Graph, feeds: &Feeds) -> Result<Values, EvalError> {
    Program::new(graph)?.run(feeds)
}

/// A graph that has been verified and scheduled, to be run more than once.
#[derive(Debug)]
pub struct Program<'a> {
    graph: &'a Graph,
    stages: Vec<Stage>,
    /// By index of the node.
    operands: Vec<Vec<Operand>>,
}

impl<'a> Program<'a> {
    /// Of a well-formed graph.
    ///
    /// # Errors
    /// If it is not well formed.
    pub fn new(graph: &'a Graph) -> Result<Program<'a>, EvalError> {
        let complaints = verify(graph);
        if !complaints.is_empty() {
            return Err(EvalError::Malformed(complaints));
        }
        let mut operands = vec![Vec::new(); graph.bound()];
        for node in graph.ids() {
            operands[node.index()] = graph.operands(node);
        }
        Ok(Program { graph, stages: schedule(graph)?, operands })
    }

    /// The graph.
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// The values of all nodes, given `feeds`.
    ///
    /// # Errors
    /// If something the graph reads was not given in the right size and range.
    pub fn run(&self, feeds: &Feeds) -> Result<Values, EvalError> {
        let lengths = Lengths::new(self.graph, feeds)?;
        check(self.graph, feeds, &lengths)?;
        let mut values = Values::new(self.graph, lengths);
        for stage in &self.stages {
            match stage {
                Stage::Flat(node) => {
                    for place in values.places(self.graph.ty(*node).axes, None) {
                        self.compute(*node, &place, feeds, &mut values)?;
                    }
                }
                Stage::Loop { axis, backward, nodes } => {
                    // Of a tree the parents come first, and the loop forwards begins at the leaves.
                    let descends = *backward != (self.graph.axis_kind(*axis) == AxisKind::Tree);
                    for example in 0..values.lengths().examples() {
                        let length = values.lengths().of(*axis, example);
                        for count in 0..length {
                            let step = if descends { length - 1 - count } else { count };
                            let mut start = vec![0; self.graph.axes.len()];
                            start[0] = example;
                            start[usize::from(axis.0)] = step;
                            for &node in nodes {
                                let others = self.graph.ty(node).axes.without(*axis).without(BATCH);
                                for place in values.places_from(others, start.clone()) {
                                    self.compute(node, &place, feeds, &mut values)?;
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(values)
    }

    fn compute(
        &self,
        node: NodeId,
        place: &Place,
        feeds: &Feeds,
        values: &mut Values,
    ) -> Result<(), EvalError> {
        let context = Context { graph: self.graph, feeds, values };
        let value = apply(&context, node, &self.operands[node.index()], place)?;
        values.set(node, place, &value);
        Ok(())
    }
}
