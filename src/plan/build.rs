//! From graph to plan: the steps in order.

use std::collections::{BTreeMap, HashSet};

use thiserror::Error;

use super::assemble::{Assembler, spots};
use super::editions::editions;
use super::groups::{Group, groups};
use super::kernel::{Plan, Steps};
use super::legalise::legalise;
use super::levels::{Rows, axes_of_rows};
use super::memory::{Places, aliases, residencies};
use super::regions::{Kind, dependencies, kind, major, regions};
use super::views::must_store;
use crate::ir::{AxisId, AxisSet, Binary, Graph, NodeId, Op, ScheduleError, Stage, Unary, listing, schedule};

/// Why a graph has no plan.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanError {
    /// The graph has no schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Values over the same axes run in loops along different ones.
    #[error(
        "values over {0} run along more than one of these axes; only one order of their rows is possible"
    )]
    TwoOrders(String),
    /// A fault of the compiler.
    #[error("internal: {0}")]
    Internal(String),
}

/// Plans the computation of all outputs of `graph` (optimised or not).
///
/// # Errors
/// If the graph cannot be scheduled.
pub fn plan(graph: &Graph, name: &str) -> Result<Plan, PlanError> {
    let legal = legalise(graph).map_err(|error| PlanError::Internal(error.to_string()))?;
    let graph = &legal;
    let stages = schedule(graph)?;
    let live: HashSet<NodeId> = graph.ids().into_iter().collect();
    let stored = must_store(graph, &live);
    let needed = needed(graph, &stored);
    let stretches = regions(graph, &stored, &needed, &stages);
    let majors = majors(graph, &stages, &needed);
    let groups: Vec<Vec<Group>> = stretches.iter().map(|stretch| groups(graph, &stored, stretch)).collect();
    let aliases = aliases(graph, &stored, &stretches, &needed);
    let spots = spots(&groups);
    let major_of = |node: NodeId| {
        let along = stretches[spots.get(&node)?.region].along.map(|(axis, _)| axis);
        major(axes_of_rows(graph, node), along, &majors)
    };
    let editions = editions(&Rows { graph, stored: &stored, major: &major_of }, &groups, &aliases);
    let places: Vec<(Steps, Places)> = editions
        .iter()
        .map(|edition| {
            let places = Places {
                graph: &edition.graph,
                stored: &edition.stored,
                stretches: &stretches,
                groups: &edition.groups,
                rows: &edition.rows,
                spots: &spots,
                aliases: &aliases,
            };
            (edition.steps, places)
        })
        .collect();
    let all: Vec<Places> = places.iter().map(|(_, places)| *places).collect();
    let residencies = residencies(&all);
    let mut plan = Assembler::new(places, residencies, majors.clone(), listing(graph), name).assemble()?;
    plan.splittable = is_splittable(graph, &stages);
    Ok(plan)
}

/// Work that some output needs.
fn needed(graph: &Graph, stored: &HashSet<NodeId>) -> HashSet<NodeId> {
    let mut found = HashSet::new();
    let mut stack: Vec<NodeId> = graph.outputs.iter().map(|output| output.value.node).collect();
    while let Some(node) = stack.pop() {
        if found.insert(node) {
            stack.extend(dependencies(graph, stored, node).into_iter().map(|(source, _)| source));
        }
    }
    found.retain(|&node| kind(graph, stored, node) != Kind::None);
    found
}

/// The axis in whose step order the rows of each set of axes are packed outside loops over other ones: that
/// of a loop over them (else it is the first with steps).
fn majors(graph: &Graph, stages: &[Stage], needed: &HashSet<NodeId>) -> BTreeMap<AxisSet, AxisId> {
    let mut found: BTreeMap<AxisSet, AxisId> = BTreeMap::new();
    for stage in stages {
        let Stage::Loop { axis, nodes, .. } = stage else { continue };
        for node in nodes.iter().filter(|node| needed.contains(node)) {
            found.entry(graph.ty(*node).axes).or_insert(*axis);
        }
    }
    found
}

/// True if the program's single-row results are sums over examples, so that parts of a batch may be run
/// on their own and their results added up.
fn is_splittable(graph: &Graph, stages: &[Stage]) -> bool {
    // Partial sums, and what is linear in them.
    let mut partial: HashSet<NodeId> = HashSet::new();
    let nodes = stages.iter().flat_map(|stage| match stage {
        Stage::Flat(node) => std::slice::from_ref(node),
        Stage::Loop { nodes, .. } => nodes,
    });
    for &node in nodes {
        let single = graph.ty(node).axes == AxisSet::NONE;
        let operands = graph.operands(node);
        let is_partial = |at: usize| partial.contains(&operands[at].node);
        let some = (0..operands.len()).any(is_partial);
        let batched = operands.iter().any(|&operand| graph.type_at(operand).axes != AxisSet::NONE);
        match graph.op(node) {
            Op::Reduce(crate::ir::Reduction::Max, _) if single && (batched || some) => return false,
            Op::Reduce(..) | Op::Contract(_) if single && batched => {
                if some {
                    return false;
                }
                partial.insert(node);
            }
            _ if !some => {}
            // A value of the batch that depends on the whole batch.
            _ if !single => return false,
            Op::Slice { .. } | Op::Copy | Op::Unary(Unary::Negate) | Op::Reduce(..) => {
                partial.insert(node);
            }
            Op::Concat { .. } | Op::Binary(Binary::Add | Binary::Subtract) => {
                let zero =
                    |at: usize| matches!(graph.op(operands[at].node), Op::Constant(value) if *value == 0.0);
                if !(0..operands.len()).all(|at| is_partial(at) || zero(at)) {
                    return false;
                }
                partial.insert(node);
            }
            Op::Binary(Binary::Multiply) | Op::Contract(_) if is_partial(0) != is_partial(1) => {
                partial.insert(node);
            }
            Op::Binary(Binary::Divide) if is_partial(0) && !is_partial(1) => {
                partial.insert(node);
            }
            _ => return false,
        }
    }
    // Single-row outputs that are no sums would be added up, too.
    graph.outputs.iter().all(|output| {
        graph.ty(output.value.node).axes != AxisSet::NONE || partial.contains(&output.value.node) || {
            matches!(graph.op(output.value.node), Op::Copy)
                && matches!(graph.op(graph.operands(output.value.node)[0].node), Op::Constant(value) if *value == 0.0)
        }
    })
}
