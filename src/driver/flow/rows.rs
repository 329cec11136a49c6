//! Where the positions of a value lie on the axis of a loop.
//!
//! A value over `s` and `t` in a loop along `t` has one step with a row for every `s`. The compiler lays
//! rows out; it is asked where they are rather than told: each row's position is a value like any other.

use crate::driver::example::{ExampleError, Native};
use crate::eval::Feeds;
use crate::ir::{
    AxisId, AxisKind, AxisSet, BATCH, Graph, Node, Op, Operand, Origin, Output, OutputKind, ValueType,
};

/// The rows of a value by their place: the position on an axis, and the number of a child where it has any.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rows {
    /// By row.
    places: Vec<(usize, usize)>,
}

impl Rows {
    /// The rows of values over each of `sets` by their positions on `axis`.
    pub fn of(
        graph: &Graph,
        feeds: &Feeds,
        axis: AxisId,
        sets: &[AxisSet],
    ) -> Result<Vec<Rows>, ExampleError> {
        let mut graph = graph.clone();
        graph.outputs.clear();
        for (number, &axes) in sets.iter().enumerate() {
            let children = children(&graph, axis, axes);
            for (which, axis) in [Some(axis), children].into_iter().flatten().enumerate() {
                let at = position(&mut graph, axis, axes);
                graph.outputs.push(value(format!("{number}.{which}"), at));
            }
        }
        let mut native = Native::new(&graph, &[OutputKind::Value], feeds)?;
        native.run(&feeds.inputs)?;
        let mut found = Vec::new();
        for (number, &axes) in sets.iter().enumerate() {
            let steps = native.values(&format!("{number}.0"))?;
            let numbers = match children(&graph, axis, axes) {
                Some(_) => native.values(&format!("{number}.1"))?,
                None => vec![0.0; steps.len()],
            };
            let places = steps.iter().zip(numbers).map(|(&step, number)| (step as usize, number as usize));
            found.push(Rows { places: places.collect() });
        }
        Ok(found)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The rows of each position on the axis, of `count` of them.
    pub fn by_position(&self, count: usize) -> Vec<Vec<usize>> {
        let mut found = vec![Vec::new(); count];
        for (row, &(position, _)) in self.places.iter().enumerate() {
            if let Some(rows) = found.get_mut(position) {
                rows.push(row);
            }
        }
        found
    }

    /// Where each row of the children of this number finds its node's among `nodes`.
    pub fn of_child(&self, number: usize, nodes: &[Vec<usize>]) -> Vec<(usize, usize)> {
        let mut next = vec![0; nodes.len()];
        let mut found = Vec::new();
        for (row, &(node, child)) in self.places.iter().enumerate() {
            if child != number {
                continue;
            }
            // What is left without the axes of the tree comes in the same order in both.
            if let (Some(rows), Some(next)) = (nodes.get(node), next.get_mut(node)) {
                found.extend(rows.get(*next).map(|&own| (row, own)));
                *next += 1;
            }
        }
        found
    }
}

/// The axis of children of this tree among `axes`.
pub(super) fn children(graph: &Graph, tree: AxisId, axes: AxisSet) -> Option<AxisId> {
    axes.iter().find(|&axis| graph.axis_kind(axis) == AxisKind::Children(tree))
}

/// The position on an axis at every row of a value over `axes`.
fn position(graph: &mut Graph, axis: AxisId, axes: AxisSet) -> Operand {
    let origin = Origin::forward(crate::base::Span::NONE);
    let own = graph.closed(AxisSet::one(BATCH).with(axis));
    let at = graph.leaf(Op::Position(axis), ValueType::real(Vec::new(), own), origin, None);
    if own == axes {
        return at.into();
    }
    let ty = ValueType::real(Vec::new(), axes.union(own));
    graph.insert(Node { op: Op::Copy, ty, origin, name: None }, &[at.into()]).into()
}

/// A value to be asked for by a name.
pub(super) fn value(name: String, value: Operand) -> Output {
    Output { kind: OutputKind::Value, name, value }
}
