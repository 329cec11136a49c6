//! The graph as a picture in Graphviz' language: nodes are operations, edges from other positions are dashed.

use std::fmt::Write as _;

use super::graph::{Graph, OriginKind};
use super::print::{listing, live, position};
use super::schedule::{Stage, schedule};
use super::types::{Access, AxisKind};

/// DOT text of the nodes that the outputs need; loops are clusters.
pub fn dot(graph: &Graph) -> String {
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
    for (number, stage) in stages.iter().enumerate() {
        match stage {
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
