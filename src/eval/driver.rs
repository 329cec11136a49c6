//! The walk over the graph: what is in no cycle is computed at all positions, a loop step by step.
//!
//! `h[t] = tanh(W @ h[t-1] + x[t])`: for every example, for its steps in order, every node of the loop.
//! Examples have their own lengths and do not wait for each other.

use std::sync::atomic::{AtomicU32, Ordering};

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
    pub(super) operands: Vec<Vec<Operand>>,
    /// What is to be 0 while it runs.
    stop: Option<&'a AtomicU32>,
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
        Ok(Program { graph, stages: schedule(graph)?, operands, stop: None })
    }

    /// The same program, whose runs end as soon as `stop` is no longer 0.
    #[must_use]
    pub fn until(self, stop: &'a AtomicU32) -> Program<'a> {
        Program { stop: Some(stop), ..self }
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
        self.walk(&mut values, |values| values, &mut |values, node, place| {
            self.compute(node, place, feeds, values)?;
            Ok(false)
        })?;
        Ok(values)
    }

    /// Visits every node at every position in the order in which they are computed, until a visit is true.
    pub(super) fn walk<S>(
        &self,
        state: &mut S,
        values: fn(&S) -> &Values,
        visit: &mut dyn FnMut(&mut S, NodeId, &Place) -> Result<bool, EvalError>,
    ) -> Result<(), EvalError> {
        for stage in &self.stages {
            match stage {
                Stage::Flat(node) => {
                    for place in values(state).places(self.graph.ty(*node).axes, None) {
                        if self.asked_to_stop()? || visit(state, *node, &place)? {
                            return Ok(());
                        }
                    }
                }
                Stage::Loop { axis, backward, nodes } => {
                    // Of a tree the parents come first, and the loop forwards begins at the leaves.
                    let descends = *backward != (self.graph.axis_kind(*axis) == AxisKind::Tree);
                    for example in 0..values(state).lengths().examples() {
                        let length = values(state).lengths().of(*axis, example);
                        for count in 0..length {
                            let step = if descends { length - 1 - count } else { count };
                            let mut start = vec![0; self.graph.axes.len()];
                            start[0] = example;
                            start[usize::from(axis.0)] = step;
                            for &node in nodes {
                                let others = self.graph.ty(node).axes.without(*axis).without(BATCH);
                                for place in values(state).places_from(others, start.clone()) {
                                    if self.asked_to_stop()? || visit(state, node, &place)? {
                                        return Ok(());
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn asked_to_stop(&self) -> Result<bool, EvalError> {
        match self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) != 0 => Err(EvalError::Interrupted),
            _ => Ok(false),
        }
    }

    fn compute(
        &self,
        node: NodeId,
        place: &Place,
        feeds: &Feeds,
        values: &mut Values,
    ) -> Result<(), EvalError> {
        let context = Context { graph: self.graph, feeds, values, stop: self.stop };
        let value = apply(&context, node, &self.operands[node.index()], place)?;
        values.set(node, place, &value);
        Ok(())
    }
}
