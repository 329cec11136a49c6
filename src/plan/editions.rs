//! What is computed at the leaves of trees, what above them, and what at all nodes alike.
//!
//! ```text
//! all     u[n] = tanh(x[n])
//! leaves  c[n] = w[n]                   of  c[n] = where(length(child) == 0, w[n], f(z[n]))
//! above   z[n] = …; c[n] = f(z[n])
//! ```
//!
//! A kernel whose work differs is made twice, from a graph in which selections are taken and zeros are
//! numbers; one that has nothing to do in a part leaves it out. Which is which is found in `levels`.

use std::collections::{HashMap, HashSet};

use super::groups::Group;
use super::kernel::Steps;
use super::levels::{Computed, Levels, Rows, chosen, levels};
use super::memory::Spot2;
use super::phases::{RowPlan, phases};
use super::regions::Kind;
use crate::ir::{Binary, Graph, NodeId, Op, Operand};

/// The kernels that run over the same part of the rows.
pub(super) struct Edition {
    /// Which part.
    pub steps: Steps,
    /// The graph as it is there; nodes are those of the whole one.
    pub graph: Graph,
    /// View operations with memory of their own.
    pub stored: HashSet<NodeId>,
    /// By region: what each kernel computes there, perhaps nothing.
    pub groups: Vec<Vec<Group>>,
    /// The phases of row kernels.
    pub rows: HashMap<Spot2, RowPlan>,
}

/// The editions of a program's kernels: one where nothing differs.
pub(super) fn editions(
    rows: &Rows,
    groups: &[Vec<Group>],
    aliases: &HashMap<NodeId, (NodeId, usize)>,
) -> Vec<Edition> {
    let whole = |steps| Edition {
        steps,
        graph: rows.graph.clone(),
        stored: rows.stored.clone(),
        groups: groups.to_vec(),
        rows: HashMap::new(),
    };
    let mut all = vec![whole(Steps::All)];
    if let Some(computed) = levels(rows) {
        let parts = [(Steps::First, Levels::LEAVES), (Steps::Rest, Levels::ABOVE)];
        all.extend(parts.map(|(steps, level)| {
            let mut edition = whole(steps);
            for groups in &mut edition.groups {
                for group in groups {
                    let apart = differs(rows.graph, &computed, group);
                    group.nodes.retain(|&node| apart && computed.of(rows.graph, node).covers(level));
                    for &node in &group.nodes {
                        if group.kind == Kind::Row {
                            specialise(&mut edition.graph, &mut edition.stored, &computed, node, level);
                        }
                    }
                }
            }
            edition
        }));
        for group in all[0].groups.iter_mut().flatten() {
            let apart = differs(rows.graph, &computed, group);
            group.nodes.retain(|&node| !apart && computed.of(rows.graph, node) != Levels::NONE);
        }
    }
    for edition in &mut all {
        for (region, groups) in edition.groups.iter().enumerate() {
            for (at, group) in groups.iter().enumerate() {
                if group.kind == Kind::Row && !group.nodes.is_empty() {
                    let plan = phases(&edition.graph, &edition.stored, aliases, group);
                    edition.rows.insert((region, at), plan);
                }
            }
        }
    }
    all
}

/// True if a kernel does not do the same at the leaves and above them.
fn differs(graph: &Graph, computed: &Computed, group: &Group) -> bool {
    let node_differs = |&node: &NodeId| {
        let Some(tree) = computed.tree(node) else { return false };
        match computed.of(graph, node) {
            Levels::NONE => return false,
            Levels::ALL => {}
            _ => return true,
        }
        let operands = graph.operands(node);
        let taken = *graph.op(node) == Op::Select && {
            let (first, second) = chosen(graph, operands[0], tree);
            (first, second) != (Levels::ALL, Levels::ALL)
        };
        let zero = |operand: &Operand| {
            [Levels::LEAVES, Levels::ABOVE]
                .iter()
                .any(|&level| computed.is_zero(graph, node, *operand, level))
        };
        taken || (group.kind == Kind::Row && operands.iter().any(zero))
    };
    group.nodes.iter().any(node_differs)
}

/// Rewrites a node to what it is at a level, as far as that is known.
fn specialise(
    graph: &mut Graph,
    stored: &mut HashSet<NodeId>,
    computed: &Computed,
    node: NodeId,
    level: Levels,
) {
    let Some(tree) = computed.tree(node) else { return };
    let origin = graph.node(node).origin;
    let mut operands = graph.operands(node);
    let view = super::views::is_view_op(graph.op(node));
    for operand in &mut operands {
        let arithmetic = graph.is_real(operand.node) && !view;
        if arithmetic && computed.is_zero(graph, node, *operand, level) {
            let shape = graph.type_at(*operand).shape;
            *operand = graph.constant(0.0, &shape, origin).into();
        }
    }
    if *graph.op(node) == Op::Select {
        let (first, second) = chosen(graph, operands[0], tree);
        let taken = match (first.covers(level), second.covers(level)) {
            (true, false) => Some(operands[1]),
            (false, true) => Some(operands[2]),
            _ => None,
        };
        if let Some(taken) = taken {
            if graph.type_at(taken).shape == graph.ty(node).shape {
                graph.node_mut(node).op = Op::Copy;
                stored.insert(node);
                operands = vec![taken];
            } else {
                // A scalar that stretches.
                let shape = graph.ty(node).shape.clone();
                let one = graph.constant(1.0, &shape, origin);
                graph.node_mut(node).op = Op::Binary(Binary::Multiply);
                operands = vec![taken, one.into()];
            }
        }
    }
    graph.set_operands(node, &operands);
}
