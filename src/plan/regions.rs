//! Which work is done in which region, and in which order the regions run.
//!
//! Every cycle is a loop; everything else is flat, but for row work that only one loop reads: that is
//! done inside the loop, next to its reader, so that it needs no memory for all steps.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::joins::{is_only_packed, pieces};
use super::views::{is_view_op, reads, view};
use crate::ir::{Access, Along, AxisId, AxisSet, BATCH, Contract, Graph, NodeId, Op, Stage};

/// What kind of kernel computes a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Needs no work: data, parameters, constants, windows.
    None,
    /// Arithmetic inside a row.
    Row,
    /// A product of rows with a single matrix.
    Gemm,
    /// A sum of outer products over rows.
    Outer,
    /// The same where one side is a one-hot vector.
    Scatter,
    /// A reduction over rows.
    Combine,
    /// Random numbers.
    Random,
}

/// The kind of work a node is.
pub(super) fn kind(graph: &Graph, stored: &HashSet<NodeId>, node: NodeId) -> Kind {
    let op = graph.op(node);
    if is_only_packed(graph, stored, node) {
        return Kind::None;
    }
    if is_view_op(op) {
        return if stored.contains(&node) { Kind::Row } else { Kind::None };
    }
    match op {
        Op::Input(_)
        | Op::Param(_)
        | Op::Position(_)
        | Op::Length(_)
        | Op::Count(_)
        | Op::Setting(_)
        | Op::NoId => Kind::None,
        // A constant that somebody must address is stored.
        Op::Constant(_) => {
            if stored.contains(&node) {
                Kind::Row
            } else {
                Kind::None
            }
        }
        Op::Random(_) => Kind::Random,
        Op::Contract(contract) if !contract.over.is_empty() => {
            let left = graph.operands(node)[0];
            let onehot = matches!(graph.op(left.node), Op::OneHot(_)) && left.access == Access::Here;
            if onehot { Kind::Scatter } else { Kind::Outer }
        }
        Op::Contract(contract) => match gemm_sides(graph, node, contract) {
            Some(_) => Kind::Gemm,
            None => Kind::Row,
        },
        Op::Reduce(_, Along::Axes(_)) => Kind::Combine,
        _ => Kind::Row,
    }
}

/// How a product is done on packed weights: `rows @ matrix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GemmSides {
    /// Index of the operand whose rows are multiplied.
    pub rows: usize,
    /// Index of the operand that is packed.
    pub matrix: usize,
    /// Dimension of the matrix that is contracted.
    pub contracted: usize,
    /// The rows are those of a single matrix, not of the batch.
    pub single: bool,
}

/// The sides of a product that a packed kernel can do, if it can.
pub(super) fn gemm_sides(graph: &Graph, node: NodeId, contract: &Contract) -> Option<GemmSides> {
    let operands = graph.operands(node);
    let types = [graph.type_at(operands[0]), graph.type_at(operands[1])];
    let constant = operands.iter().any(|operand| matches!(graph.op(operand.node), Op::Constant(_)));
    if constant || !contract.over.is_empty() {
        return None;
    }
    let single = |at: usize| types[at].axes == AxisSet::NONE;
    match (&contract.left[..], &contract.right[..], &contract.out[..]) {
        ([i, j], [k], [l]) if single(0) && !single(1) => {
            let contracted = if j == k && i == l { 1 } else { 0 };
            Some(GemmSides { rows: 1, matrix: 0, contracted, single: false })
        }
        ([k], [i, j], [l]) if single(1) && !single(0) => {
            let contracted = if j == k && i == l { 1 } else { 0 };
            Some(GemmSides { rows: 0, matrix: 1, contracted, single: false })
        }
        ([i, j], [k, l], [m, n]) if single(0) && single(1) => {
            // Rows of the left matrix must be contiguous along what is contracted.
            if j == k && (i, l) == (m, n) {
                Some(GemmSides { rows: 0, matrix: 1, contracted: 0, single: true })
            } else if j == l && (i, k) == (m, n) {
                Some(GemmSides { rows: 0, matrix: 1, contracted: 1, single: true })
            } else {
                None
            }
        }
        _ => None,
    }
}

/// A region before its kernels are made.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// The loop, if it is one.
    pub along: Option<(AxisId, bool)>,
    /// Work, operands before readers (within a step for a loop).
    pub nodes: Vec<NodeId>,
}

/// The work that a node's operands are, through windows: node and access as read.
pub(super) fn dependencies(graph: &Graph, stored: &HashSet<NodeId>, node: NodeId) -> Vec<(NodeId, Access)> {
    let mut found = Vec::new();
    let scatter_id = (kind(graph, stored, node) == Kind::Scatter).then(|| graph.operands(node)[0].node);
    let mut operands = graph.operands(node);
    if let Some(onehot) = scatter_id {
        operands[0] = graph.operands(onehot)[0];
    }
    for piece in operands.into_iter().flat_map(|operand| pieces(graph, stored, operand)) {
        if let Some(view) = view(graph, stored, piece.operand) {
            reads(&view.source, &mut found);
        }
    }
    found.retain(|(source, _)| kind(graph, stored, *source) != Kind::None);
    found
}

/// The axis in whose step order rows over some axes are packed in a region along another one (or in none).
pub(super) fn major(
    axes: AxisSet,
    along: Option<AxisId>,
    majors: &BTreeMap<AxisSet, AxisId>,
) -> Option<AxisId> {
    along
        .filter(|&axis| axes.contains(axis))
        .or_else(|| majors.get(&axes).copied())
        .or_else(|| axes.without(BATCH).iter().next())
}

/// Orders all work into regions.
pub(super) fn regions(
    graph: &Graph,
    stored: &HashSet<NodeId>,
    live: &HashSet<NodeId>,
    stages: &[Stage],
) -> Vec<Stretch> {
    let works = |node: &NodeId| live.contains(node) && kind(graph, stored, *node) != Kind::None;
    let mut loops: Vec<Stretch> = Vec::new();
    let mut home: HashMap<NodeId, Option<usize>> = HashMap::new();
    let mut order: Vec<NodeId> = Vec::new();
    for stage in stages {
        match stage {
            Stage::Flat(node) => {
                if works(node) {
                    home.insert(*node, None);
                    order.push(*node);
                }
            }
            Stage::Loop { axis, backward, nodes } => {
                let number = loops.len();
                let nodes: Vec<NodeId> = nodes.iter().copied().filter(works).collect();
                home.extend(nodes.iter().map(|&node| (node, Some(number))));
                order.extend(&nodes);
                loops.push(Stretch { along: Some((*axis, *backward)), nodes });
            }
        }
    }
    let needs: HashMap<NodeId, Vec<(NodeId, Access)>> =
        order.iter().map(|&node| (node, dependencies(graph, stored, node))).collect();
    let mut readers: HashMap<NodeId, Vec<(NodeId, Access)>> = HashMap::new();
    for &node in &order {
        for &(source, access) in &needs[&node] {
            readers.entry(source).or_default().push((node, access));
        }
    }
    sink(graph, stored, &order, &readers, &loops, &mut home);
    for (number, stretch) in loops.iter_mut().enumerate() {
        let members: Vec<NodeId> = order.iter().copied().filter(|node| home[node] == Some(number)).collect();
        stretch.nodes = step_order(&members, &needs);
    }
    sequence(&order, &needs, &home, loops)
}

/// Moves flat row work that only one loop reads, at its own position, into that loop.
fn sink(
    graph: &Graph,
    stored: &HashSet<NodeId>,
    order: &[NodeId],
    readers: &HashMap<NodeId, Vec<(NodeId, Access)>>,
    loops: &[Stretch],
    home: &mut HashMap<NodeId, Option<usize>>,
) {
    for &node in order.iter().rev() {
        let movable = home[&node].is_none() && matches!(kind(graph, stored, node), Kind::Row | Kind::Random);
        let offered = graph.outputs.iter().any(|output| output.value.node == node);
        let Some(its) = readers.get(&node).filter(|_| movable && !offered) else { continue };
        let Some(target) = its.first().and_then(|(reader, _)| home[reader]) else { continue };
        let together =
            its.iter().all(|(reader, access)| home[reader] == Some(target) && *access == Access::Here);
        let along = loops[target].along.map(|(axis, _)| axis);
        if together && along.is_some_and(|axis| graph.ty(node).axes.contains(axis)) {
            home.insert(node, Some(target));
        }
    }
}

/// The order of one step: operands read at the same position come first.
fn step_order(members: &[NodeId], needs: &HashMap<NodeId, Vec<(NodeId, Access)>>) -> Vec<NodeId> {
    let set: HashSet<NodeId> = members.iter().copied().collect();
    let mut done: HashSet<NodeId> = HashSet::new();
    let mut order = Vec::new();
    for &root in members {
        // An explicit stack: chains may be long.
        let mut stack = vec![(root, false)];
        while let Some((node, ready)) = stack.pop() {
            if ready {
                if done.insert(node) {
                    order.push(node);
                }
                continue;
            }
            if done.contains(&node) {
                continue;
            }
            stack.push((node, true));
            for &(source, access) in needs[&node].iter().rev() {
                if access == Access::Here && set.contains(&source) && !done.contains(&source) {
                    stack.push((source, false));
                }
            }
        }
    }
    order
}

/// Flat stretches as long as possible between the loops.
fn sequence(
    order: &[NodeId],
    needs: &HashMap<NodeId, Vec<(NodeId, Access)>>,
    home: &HashMap<NodeId, Option<usize>>,
    loops: Vec<Stretch>,
) -> Vec<Stretch> {
    // Units: flat nodes by their place in `order`, loops behind them.
    let unit_of: HashMap<NodeId, usize> = order
        .iter()
        .enumerate()
        .map(|(at, node)| (*node, home[node].map_or(at, |number| order.len() + number)))
        .collect();
    let count = order.len() + loops.len();
    let mut waiting: Vec<HashSet<usize>> = vec![HashSet::new(); count];
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); count];
    for &node in order {
        for (source, _) in &needs[&node] {
            let (from, to) = (unit_of[source], unit_of[&node]);
            if from != to && waiting[to].insert(from) {
                after[from].push(to);
            }
        }
    }
    let exists = |unit: usize| unit >= order.len() || home[&order[unit]].is_none();
    let mut ready: BTreeSet<usize> =
        (0..count).filter(|&unit| exists(unit) && waiting[unit].is_empty()).collect();
    let mut stretches = vec![Stretch { along: None, nodes: Vec::new() }];
    // Flat units have the smaller numbers, so a loop is taken only when nothing flat is ready.
    while let Some(unit) = ready.pop_first() {
        if unit < order.len() {
            let is_flat = stretches.last().is_some_and(|stretch| stretch.along.is_none());
            if !is_flat {
                stretches.push(Stretch { along: None, nodes: Vec::new() });
            }
            if let Some(last) = stretches.last_mut() {
                last.nodes.push(order[unit]);
            }
        } else {
            stretches.push(loops[unit - order.len()].clone());
        }
        for &next in &after[unit] {
            waiting[next].remove(&unit);
            if waiting[next].is_empty() {
                ready.insert(next);
            }
        }
    }
    stretches
}
