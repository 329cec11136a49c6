//! The walk over the graph: what is in no cycle is computed at all positions, a loop step by step.
//!
//! `h[t] = tanh(W @ h[t-1] + x[t])`: for every example, for its steps in order, every node of the loop.
//! Examples have their own lengths and do not wait for each other.

use std::sync::atomic::{AtomicU32, Ordering};

use super::EvalError;
use super::apply::{Context, apply};
use super::feeds::{Feeds, Lengths, check};
use super::storage::{Place, Values};
use crate::ir::{AxisKind, BATCH, Graph, NodeId, Op, Operand, Stage, schedule, verify};

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
        self.run_over(&mut values, feeds)?;
        Ok(values)
    }

    /// The part of it that computes what depends on a parameter, to be run over the values of a whole run. What is
    /// behind a `stop` does not depend on it: to derivatives it stands still.
    #[must_use]
    pub(super) fn behind(&self, parameter: &str) -> Program<'a> {
        let mut found = vec![false; self.graph.bound()];
        let is = |node: &NodeId| matches!(self.graph.op(*node), Op::Param(name) if name == parameter);
        let mut stack: Vec<NodeId> = self.graph.ids().into_iter().filter(is).collect();
        while let Some(node) = stack.pop() {
            if !std::mem::replace(&mut found[node.index()], true) {
                let readers = self.graph.users(node).into_iter().map(|(reader, _, _)| reader);
                stack.extend(readers.filter(|&reader| !matches!(self.graph.op(reader), Op::Stop)));
            }
        }
        let stages = self.stages.iter().filter_map(|stage| match stage {
            Stage::Flat(node) => found[node.index()].then_some(Stage::Flat(*node)),
            Stage::Loop { axis, backward, nodes } => {
                let nodes: Vec<NodeId> = nodes.iter().copied().filter(|node| found[node.index()]).collect();
                (!nodes.is_empty()).then_some(Stage::Loop { axis: *axis, backward: *backward, nodes })
            }
        });
        Program { stages: stages.collect(), operands: self.operands.clone(), ..*self }
    }

    /// Computes its nodes anew, over values of the whole program for feeds of the same lengths.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub(super) fn run_over(&self, values: &mut Values, feeds: &Feeds) -> Result<(), EvalError> {
        self.walk(values, |values| values, &mut |values, node, place| {
            self.compute(node, place, feeds, values)?;
            Ok(false)
        })
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
