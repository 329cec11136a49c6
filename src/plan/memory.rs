//! Which values have memory, for how many rows, and how long.
//!
//! A value that only its own phase reads stays in a register; one that only later phases of its kernel
//! read has one row; one that only other kernels of the same step read has the rows of a step; the rest
//! has a row for each position. Parts of a join are computed in place where that is possible.

use std::collections::{HashMap, HashSet};

use super::groups::Group;
use super::joins::pieces;
use super::kernel::Residency;
use super::phases::{Item, RowPlan, pointwise_source};
use super::regions::{Kind, Stretch, kind};
use super::views::{Source, is_view_op, reads, view};
use crate::ir::{Access, Graph, NodeId, Op, Operand};

/// Where in the program a node is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Region.
    pub region: usize,
    /// Kernel in the region.
    pub group: usize,
}

/// Parts of joins that are computed in place: part, its join and first element.
pub(super) fn aliases(
    graph: &Graph,
    stored: &HashSet<NodeId>,
    stretches: &[Stretch],
    needed: &HashSet<NodeId>,
) -> HashMap<NodeId, (NodeId, usize)> {
    let mut region_of = HashMap::new();
    for (region, stretch) in stretches.iter().enumerate() {
        region_of.extend(stretch.nodes.iter().map(|&node| (node, region)));
    }
    // What a start may stand for must lie where it is.
    let mut fixed: HashSet<NodeId> = graph.outputs.iter().map(|output| output.value.node).collect();
    for &node in needed {
        for operand in graph.operands(node) {
            if let Some(seen) = view(graph, stored, operand)
                && let Source::Or(main, _, otherwise) = &seen.source
            {
                let mut found = vec![(*main, Access::Here)];
                reads(otherwise, &mut found);
                fixed.extend(found.into_iter().map(|(node, _)| node));
            }
        }
    }
    let mut found: HashMap<NodeId, (NodeId, usize)> = HashMap::new();
    for stretch in stretches {
        for &node in &stretch.nodes {
            let Op::Concat { dim } = *graph.op(node) else { continue };
            let element: usize = graph.ty(node).shape[dim + 1..].iter().product();
            let mut start = 0;
            for operand in graph.operands(node) {
                let part = operand.node;
                let its = kind(graph, stored, part);
                // Sums of outer products can be written with gaps between their rows, which only the join expects.
                let lies = match dim {
                    0 => matches!(its, Kind::Row | Kind::Gemm | Kind::Outer),
                    _ => its == Kind::Outer && graph.users(part).len() == 1,
                };
                let fits = operand.access == Access::Here
                    && graph.ty(part).axes == graph.ty(node).axes
                    && region_of.get(&part) == region_of.get(&node)
                    && lies
                    && !matches!(graph.op(part), Op::Concat { .. } | Op::Constant(_))
                    && !is_view_op(graph.op(part))
                    && !fixed.contains(&part)
                    && !found.contains_key(&part);
                if fits {
                    found.insert(part, (node, start * element));
                }
                start += graph.type_at(operand).shape[dim];
            }
        }
    }
    found
}

/// How much memory each node needs; those that stay in registers are left out.
pub(super) struct Residencies {
    /// Rows held.
    pub of: HashMap<NodeId, Residency>,
    /// First and last region in which the value is alive.
    pub life: HashMap<NodeId, (usize, usize)>,
}

fn rank(residency: Residency) -> u8 {
    match residency {
        Residency::Scratch => 0,
        Residency::Step => 1,
        Residency::All => 2,
    }
}

/// Everything known about where work is done, in one edition of the kernels.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub graph: &'a Graph,
    pub stored: &'a HashSet<NodeId>,
    pub stretches: &'a [Stretch],
    pub groups: &'a [Vec<Group>],
    pub rows: &'a HashMap<Spot2, RowPlan>,
    pub spots: &'a HashMap<NodeId, Spot>,
    pub aliases: &'a HashMap<NodeId, (NodeId, usize)>,
}

/// Region and kernel.
pub(super) type Spot2 = (usize, usize);

/// Finds the memory that every node needs, in whichever edition it is computed.
pub(super) fn residencies(editions: &[Places]) -> Residencies {
    let mut found = Residencies { of: HashMap::new(), life: HashMap::new() };
    for places in editions {
        for (region, groups) in places.groups.iter().enumerate() {
            for (at, group) in groups.iter().enumerate() {
                for &node in &group.nodes {
                    uses_of(places, &mut found, (region, at), group, node);
                    // Results of other kernels than row kernels are always written somewhere.
                    if group.kind != Kind::Row {
                        note(places, &mut found, node, Residency::Scratch, region);
                    }
                }
            }
        }
    }
    for places in editions {
        for output in &places.graph.outputs {
            let node = output.value.node;
            note(places, &mut found, node, Residency::All, places.stretches.len());
            if let Some(spot) = places.spots.get(&node) {
                note(places, &mut found, node, Residency::All, spot.region);
            }
        }
        in_place(places, &mut found);
    }
    // A row kernel's only row is enough for nobody else: products and reductions write rows of their space.
    for places in editions {
        for (region, groups) in places.groups.iter().enumerate() {
            let looped = places.stretches[region].along.is_some();
            let least = if looped { Residency::Step } else { Residency::All };
            for node in groups.iter().filter(|group| group.kind != Kind::Row).flat_map(|group| &group.nodes) {
                let own = found.of.entry(*node).or_insert(least);
                if rank(*own) < rank(least) {
                    *own = least;
                }
            }
        }
    }
    found
}

/// Notes what the operands of a node need because of it.
fn uses_of(places: &Places, found: &mut Residencies, spot: Spot2, group: &Group, node: NodeId) {
    let graph = places.graph;
    let members: HashSet<NodeId> = group.nodes.iter().copied().collect();
    let plan = places.rows.get(&spot);
    let is_join = matches!(graph.op(node), Op::Concat { .. });
    let mut operands = graph.operands(node);
    if group.kind == Kind::Scatter {
        operands[0] = graph.operands(operands[0].node)[0];
    }
    if is_join {
        // A join is written by its parts, each a phase; it has memory wherever it is read.
        note(places, found, node, Residency::Scratch, spot.0);
    }
    if plan.is_some() && super::phases::domain(graph, node).1 > 0 {
        note(places, found, node, Residency::Scratch, spot.0);
    }
    for (index, operand) in operands.iter().enumerate() {
        if is_join && super::phases::is_in_place(graph, places.aliases, node, index) {
            continue;
        }
        let own = pointwise(places, plan, &members, node, index, *operand);
        let sources = sources(places, node, *operand);
        for (source, access) in sources {
            let Some(at) = places.spots.get(&source) else { continue };
            if own == Some(source) {
                continue;
            }
            let same_rows = access == Access::Here && graph.ty(source).axes == graph.ty(node).axes;
            let residency = if (at.region, at.group) == spot && same_rows {
                Residency::Scratch
            } else if at.region == spot.0 && places.stretches[spot.0].along.is_some() && same_rows {
                Residency::Step
            } else {
                Residency::All
            };
            note(places, found, source, residency, spot.0);
        }
    }
}

/// The operand's node if the reader has its value in a register.
fn pointwise(
    places: &Places,
    plan: Option<&RowPlan>,
    members: &HashSet<NodeId>,
    node: NodeId,
    index: usize,
    operand: Operand,
) -> Option<NodeId> {
    let plan = plan?;
    if matches!(places.graph.op(node), Op::Concat { .. }) {
        let at = plan.phases.iter().position(|phase| phase.items.contains(&Item::Part(node, index)))?;
        let source = operand.node;
        let direct = operand.access == Access::Here
            && plan.phase_of.get(&source) == Some(&at)
            && plan.phases[at].items.contains(&Item::Node(source))
            && super::phases::domain(places.graph, source) == (plan.phases[at].dims.clone(), 0);
        return direct.then_some(source);
    }
    let source = pointwise_source(places.graph, places.stored, members, node, operand)?;
    (plan.phase_of.get(&source) == plan.phase_of.get(&node)).then_some(source)
}

fn sources(places: &Places, node: NodeId, operand: Operand) -> Vec<(NodeId, Access)> {
    let mut found = Vec::new();
    let is_stored_view = places.stored.contains(&node) && is_view_op(places.graph.op(node));
    if is_stored_view {
        if let Some(seen) = super::phases::definition(places.graph, places.stored, node) {
            reads(&seen.source, &mut found);
        }
        return found;
    }
    for piece in pieces(places.graph, places.stored, operand) {
        if let Some(seen) = view(places.graph, places.stored, piece.operand) {
            reads(&seen.source, &mut found);
        }
    }
    found
}

fn note(places: &Places, found: &mut Residencies, node: NodeId, residency: Residency, region: usize) {
    let own = found.of.entry(node).or_insert(residency);
    if rank(*own) < rank(residency) {
        *own = residency;
    }
    let born = places.spots.get(&node).map_or(region, |spot| spot.region);
    let life = found.life.entry(node).or_insert((born, born));
    life.0 = life.0.min(region).min(born);
    life.1 = life.1.max(region);
}

/// Parts computed in place and their join have the same memory.
fn in_place(places: &Places, found: &mut Residencies) {
    for (part, (join, _)) in places.aliases {
        let spots = (places.spots.get(part), places.spots.get(join));
        let (Some(a), Some(b)) = spots else { continue };
        if a.group != b.group {
            let is_loop = places.stretches[a.region].along.is_some();
            let least = if is_loop { Residency::Step } else { Residency::All };
            note(places, found, *join, least, a.region);
        }
        if let Some(&residency) = found.of.get(part) {
            note(places, found, *join, residency, a.region);
        }
        if let Some(&life) = found.life.get(part) {
            note(places, found, *join, Residency::Scratch, life.0);
            note(places, found, *join, Residency::Scratch, life.1);
        }
    }
}
