//! A graph as boxes and arrows: a box for each equation, an arrow for each value that it reads.
//!
//! Blue boxes are adjoints, green ones tangents, grey ones data; what is read at another position is dashed
//! and says where.

use std::collections::HashMap;

use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::geometry::Point;
use layout::core::style::{LineStyleKind, StyleAttr};
use layout::std_shapes::shapes::{Arrow, Element, LineEndKind, ShapeKind};
use layout::topo::layout::VisualGraph;

use super::PictureError;
use crate::ir::{Access, Graph, NodeId, Op, OriginKind, listing, outline, position};

/// Boxes that are drawn at most.
const LARGEST: usize = 250;
/// Characters of a line in a box.
const WIDTH: usize = 60;
/// Width of a character and height of a line, in pixels.
const CHARACTER: f64 = 8.0;
const LINE: f64 = 18.0;
/// Room around the boxes.
const MARGIN: f64 = 30.0;

/// The picture as SVG.
///
/// # Errors
/// The graph is empty, or larger than one can look at.
pub fn graph(graph: &Graph) -> Result<String, PictureError> {
    let equations = outline(graph);
    let names = listing(graph);
    let mut leaves: Vec<NodeId> = Vec::new();
    for operand in equations.iter().flat_map(|equation| &equation.reads) {
        let is_leaf = matches!(graph.op(operand.node), Op::Input(_) | Op::Param(_));
        if is_leaf && !leaves.contains(&operand.node) {
            leaves.push(operand.node);
        }
    }
    let count = equations.len() + leaves.len();
    if count == 0 {
        return Err(PictureError::Empty);
    }
    if count > LARGEST {
        return Err(PictureError::TooLarge(count));
    }
    let mut visual = VisualGraph::new(Orientation::TopToBottom);
    let mut places = HashMap::new();
    let texts = leaves.iter().map(|&node| (node, names.name(node).unwrap_or("?").to_string()));
    let texts = texts.chain(equations.iter().map(|equation| (equation.node, equation.text.clone())));
    for (node, text) in texts {
        let lines = wrapped(&text);
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(1) as f64;
        let size = Point::new(width * CHARACTER + 20.0, lines.len() as f64 * LINE + 14.0);
        let shape = ShapeKind::new_box(&lines.join("\n"));
        let look = StyleAttr::new(colour(graph, node), 1, Some(Color::fast("white")), 4, 14);
        let element = Element::create(shape, look, Orientation::TopToBottom, size);
        places.insert(node, visual.add_node(element));
    }
    for equation in &equations {
        for operand in &equation.reads {
            let (Some(&from), Some(&to)) = (places.get(&operand.node), places.get(&equation.node)) else {
                continue;
            };
            let (line, label) = match operand.access {
                Access::Here => (LineStyleKind::Normal, String::new()),
                Access::Delay { by, .. } => (LineStyleKind::Dashed, format!("-{by}")),
                Access::Advance { by, .. } => (LineStyleKind::Dashed, format!("+{by}")),
                other => (LineStyleKind::Dashed, position(graph, other)),
            };
            let look = StyleAttr::new(colour(graph, equation.node), 1, None, 0, 12);
            let arrow = Arrow::new(LineEndKind::None, LineEndKind::Arrow, line, &label, &look, &None, &None);
            // An arrow from a box to itself is laid out as one through boxes of its own.
            visual.add_edge(arrow, from, to);
        }
    }
    let mut writer = SVGWriter::new();
    visual.do_it(false, false, false, &mut writer);
    let svg = writer.finalize().replace("Times, serif", "monospace");
    // The writer leaves room for upright text below every box; what is drawn ends with the lowest box.
    let handles = visual.iter_nodes().map(|handle| visual.pos(handle).bbox(false).1);
    let (right, bottom) = handles.fold((0.0f64, 0.0f64), |(x, y), corner| (x.max(corner.x), y.max(corner.y)));
    Ok(sized(&svg, right + MARGIN, bottom + MARGIN))
}

/// The same picture on a sheet of this size.
fn sized(svg: &str, width: f64, height: f64) -> String {
    let Some((before, rest)) = svg.split_once("<svg ") else { return svg.to_string() };
    let Some((_, after)) = rest.split_once(" xmlns") else { return svg.to_string() };
    format!(
        "{before}<svg width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" xmlns{after}"
    )
}

fn colour(graph: &Graph, node: NodeId) -> Color {
    let name = match (graph.op(node), graph.node(node).origin.kind) {
        (Op::Input(_) | Op::Param(_), _) => "gray",
        (_, OriginKind::Forward) => "black",
        (_, OriginKind::Adjoint(_)) => "blue",
        (_, OriginKind::Tangent(_)) => "darkgreen",
    };
    Color::fast(name)
}

/// A text in lines of about one width, cut at blanks.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let own = lines.last().map_or(0, |line| line.chars().count());
        if own > 0 && own + 1 + word.chars().count() > WIDTH {
            lines.push(String::from("  "));
        }
        if let Some(line) = lines.last_mut() {
            if !line.trim().is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
