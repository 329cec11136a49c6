//! A graph as text: a line for each equation, and beside it a rail for each value, from where it is computed to
//! where it is read.
//!
//! ```text
//! ○───── x
//! │ ○─── W
//! ●─●─○─ h[t] = tanh(W @ h[t-1] + x[t])
//!     ●─ loss l = sum(h[last])
//! ```
//!
//! `○` is where a value comes from and `●` where it is read; `┼` is a crossing and no more. What is read before it
//! is computed, at another position (`h[t-1]`), has a rail of dashes.

use super::PictureError;
use crate::ir::{Graph, NodeId, Op, listing, outline};

/// Lines, and rails beside each other, that can be followed by eye.
const LINES: usize = 120;
const RAILS: usize = 48;

/// A line: what it defines and what it reads.
struct Line {
    node: NodeId,
    text: String,
    reads: Vec<NodeId>,
}

/// A value's way through the lines.
struct Rail {
    source: usize,
    readers: Vec<usize>,
    column: usize,
}

impl Rail {
    fn first(&self) -> usize {
        self.readers.iter().copied().fold(self.source, usize::min)
    }

    fn last(&self) -> usize {
        self.readers.iter().copied().fold(self.source, usize::max)
    }
}

/// The picture in characters.
///
/// # Errors
/// The graph is empty, or larger than one can look at.
pub fn rails(graph: &Graph) -> Result<String, PictureError> {
    let lines = lines(graph);
    if lines.is_empty() {
        return Err(PictureError::Empty);
    }
    if lines.len() > LINES {
        return Err(PictureError::TooLarge(lines.len()));
    }
    let mut rails: Vec<Rail> = Vec::new();
    for (source, line) in lines.iter().enumerate() {
        let reads = |(_, other): &(usize, &Line)| other.reads.contains(&line.node);
        let readers: Vec<usize> = lines.iter().enumerate().filter(reads).map(|(at, _)| at).collect();
        if !readers.is_empty() {
            rails.push(Rail { source, readers, column: 0 });
        }
    }
    rails.sort_by_key(Rail::first);
    let mut ends: Vec<usize> = Vec::new();
    for rail in &mut rails {
        // The first column whose last rail has ended.
        rail.column = match ends.iter().position(|&end| end < rail.first()) {
            Some(free) => free,
            None => {
                ends.push(0);
                ends.len() - 1
            }
        };
        ends[rail.column] = rail.last();
    }
    let width = ends.len();
    if width > RAILS {
        return Err(PictureError::TooLarge(lines.len()));
    }
    Ok(lines.iter().enumerate().map(|(at, line)| drawn(at, line, &rails, width)).collect())
}

/// Every equation, and data and parameters before the first that reads them.
fn lines(graph: &Graph) -> Vec<Line> {
    let names = listing(graph);
    let mut found: Vec<Line> = Vec::new();
    for equation in outline(graph) {
        let mut reads: Vec<NodeId> = equation.reads.iter().map(|operand| operand.node).collect();
        reads.dedup();
        for &node in &reads {
            let is_leaf = matches!(graph.op(node), Op::Input(_) | Op::Param(_));
            if is_leaf && found.iter().all(|line| line.node != node) {
                let text = names.name(node).unwrap_or("?").to_string();
                found.push(Line { node, text, reads: Vec::new() });
            }
        }
        found.push(Line { node: equation.node, text: equation.text, reads });
    }
    found
}

/// A line with the rails beside it.
fn drawn(at: usize, line: &Line, rails: &[Rail], width: usize) -> String {
    let mut cells = vec![' '; 2 * width];
    let touches = |rail: &&Rail| rail.source == at || rail.readers.contains(&at);
    let leftmost = rails.iter().filter(touches).map(|rail| rail.column).min();
    for cell in cells.iter_mut().skip(leftmost.map_or(2 * width, |column| 2 * column)) {
        *cell = '─';
    }
    for rail in rails.iter().filter(|rail| (rail.first()..=rail.last()).contains(&at)) {
        let cell = &mut cells[2 * rail.column];
        *cell = match () {
            () if rail.source == at => '○',
            () if rail.readers.contains(&at) => '●',
            () if *cell == '─' => '┼',
            () if at < rail.source => '┆',
            () => '│',
        };
    }
    format!("{} {}\n", cells.iter().collect::<String>(), line.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Mode;
    use crate::driver::session::Model;

    #[test]
    fn a_recurrence() {
        let source = "cell C(H) {
          input x: [H]
          state h: [H]
          param W: [H, H]
          h[t] = tanh(z)
          z = W @ h[t-1] + x
        }
        model M(H = 2) {
          input x: [H] over t
          h = C(H)(x)
          loss l = sum(h[last])
        }";
        let graph = Model::new("m", source).check(Mode::Train).unwrap().graph;
        // Read before it is computed: the rail of h begins above it.
        let expected = [
            "○─────── x",
            "│ ○───── W",
            "●─●─○─●─ h.z[t] = W @ h[t-1] + x[t]",
            "    ●─○─ h.h[t] = tanh(z[t])",
            "      ●─ loss l = mean(sum(h[last]) over batch)",
        ];
        let found = rails(&graph).unwrap();
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{found}");
    }
}
