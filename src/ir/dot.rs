//! The graph as a picture in Graphviz' language: nodes are operations, edges from other positions are dashed.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use super::graph::{Graph, NodeId, OriginKind};
use super::print::{listing, live, position};
use super::schedule::{Stage, schedule};
use super::types::{Access, AxisKind};

/// DOT text of the nodes that the outputs need; loops are clusters.
pub fn dot(graph: &Graph) -> String {
    dot_in_groups(graph, HashMap::new(), |_| String::new())
}

/// The same with these nodes in numbered groups, each a cluster with its label. What only one group reads
/// belongs to it.
pub fn dot_in_groups(
    graph: &Graph,
    mut group_of: HashMap<NodeId, usize>,
    label: impl Fn(usize) -> String,
) -> String {
    let live = live(graph);
    let names = listing(graph);
    let mut text = format!("digraph \"{}\" {{\n  node [shape=box, fontname=\"monospace\"];\n", graph.name);
    let stages = schedule(graph).unwrap_or_else(|_| graph.ids().into_iter().map(Stage::Flat).collect());
    let describe = |text: &mut String, indent: &str, node| {
        let ty = graph.ty(node);
        let name = names.name(node).map_or(String::new(), |name| format!("{name} = "));
        let over: Vec<&str> = ty.axes.iter().map(|axis| graph.axis_name(axis)).collect();
        let label = format!("{name}{:?}\n{:?} over {{{}}}", graph.op(node), ty.shape, over.join(", "));
        let colour = match graph.node(node).origin.kind {
            OriginKind::Forward => "black",
            OriginKind::Adjoint(_) => "blue",
            OriginKind::Tangent(_) => "darkgreen",
        };
        let _ = writeln!(text, "{indent}n{} [label={:?}, color={colour}];", node.index(), label);
    };
    let mut groups: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    if !group_of.is_empty() {
        only_readers(graph, &stages, &mut group_of);
        for stage in &stages {
            let Stage::Flat(node) = stage else { continue };
            if let Some(&group) = group_of.get(node).filter(|_| live.contains(node)) {
                groups.entry(group).or_default().push(*node);
            }
        }
    }
    for (group, nodes) in &groups {
        let _ = writeln!(text, "  subgraph cluster_group_{group} {{\n    label={:?};", label(*group));
        nodes.iter().for_each(|&node| describe(&mut text, "    ", node));
        text.push_str("  }\n");
    }
    for (number, stage) in stages.iter().enumerate() {
        match stage {
            Stage::Flat(node) if group_of.contains_key(node) => {}
            Stage::Flat(node) if live.contains(node) => describe(&mut text, "  ", *node),
            Stage::Flat(_) => {}
            Stage::Loop { axis, backward, nodes } => {
                let direction = match (graph.axis_kind(*axis), *backward) {
                    (AxisKind::Tree, false) => "leaves to root",
                    (AxisKind::Tree, true) => "root to leaves",
                    (_, false) => "forward",
                    (_, true) => "backward",
                };
                let _ = writeln!(
                    text,
                    "  subgraph cluster_{number} {{\n    label=\"loop over {}, {direction}\";",
                    graph.axis_name(*axis)
                );
                for &node in nodes.iter().filter(|node| live.contains(node)) {
                    describe(&mut text, "    ", node);
                }
                text.push_str("  }\n");
            }
        }
    }
    for node in graph.ids().into_iter().filter(|node| live.contains(node)) {
        for operand in graph.operands(node) {
            let label = match operand.access {
                Access::Here => String::new(),
                Access::Delay { by, .. } => format!(" [style=dashed, label=\"-{by}\"]"),
                Access::Advance { by, .. } => format!(" [style=dashed, label=\"+{by}\"]"),
                other => format!(" [style=dashed, label=\"{}\"]", position(graph, other)),
            };
            let _ = writeln!(text, "  n{} -> n{}{label};", operand.node.index(), node.index());
        }
    }
    text.push_str("}\n");
    text
}

/// Puts nodes in no group into that of their readers, where all of those are in one.
fn only_readers(graph: &Graph, stages: &[Stage], group_of: &mut HashMap<NodeId, usize>) {
    // By node: the group of its readers so far; none if they are in several.
    let mut readers: HashMap<NodeId, Option<usize>> = HashMap::new();
    for output in &graph.outputs {
        readers.insert(output.value.node, None);
    }
    for stage in stages.iter().rev() {
        let Stage::Flat(node) = stage else { continue };
        if let Some(Some(group)) = readers.get(node) {
            group_of.entry(*node).or_insert(*group);
        }
        let own = group_of.get(node).copied();
        for operand in graph.operands(*node) {
            let group = readers.entry(operand.node).or_insert(own);
            *group = group.filter(|group| Some(*group) == own);
        }
    }
}
