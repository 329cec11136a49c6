//! The values of all nodes at all positions, and how an operand is read.
//!
//! `h[t-1]` at the first step is zero; `words[t-1]` there is no id; `h[last]` of an empty sequence is
//! zero. Nothing is computed here.

use std::borrow::Cow;

use super::feeds::Lengths;
use crate::ir::{
    Access, AxisId, AxisKind, AxisSet, BATCH, Element, Graph, NodeId, Operand, Output, OutputKind,
};

/// A value at one position.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Numbers, row-major over the static shape.
    Real(Cow<'a, [f64]>),
    /// An id, or none.
    Id(Option<u32>),
}

impl Value<'_> {
    /// The numbers; none for an id.
    pub fn real(&self) -> &[f64] {
        match self {
            Value::Real(numbers) => numbers,
            Value::Id(_) => &[],
        }
    }

    /// The id; none for numbers.
    pub fn id(&self) -> Option<u32> {
        match self {
            Value::Real(_) => None,
            Value::Id(id) => *id,
        }
    }
}

/// Numbers or ids in a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Numbers.
    Real(Vec<f64>),
    /// Ids.
    Ids(Vec<Option<u32>>),
}

/// A value at all positions in one rectangular array.
#[derive(Clone, Debug, PartialEq)]
pub struct Padded {
    /// Number of examples (if the value has the batch), the longest length of each other axis in
    /// the graph's order, then the static shape.
    pub shape: Vec<usize>,
    /// Row-major; zeros (or no id) where an example has no such position.
    pub elements: Elements,
}

impl Padded {
    /// The numbers; an id is its number and none is -1.
    pub fn numbers(&self) -> Vec<f64> {
        match &self.elements {
            Elements::Real(numbers) => numbers.clone(),
            Elements::Ids(ids) => ids.iter().map(|id| id.map_or(-1.0, f64::from)).collect(),
        }
    }
}

/// A position: a coordinate for every axis of the graph, the example first. Axes that a reader lacks
/// are left at zero and not looked at.
pub(super) type Place = Vec<usize>;

/// One node's values.
#[derive(Clone, Debug)]
struct Stored {
    axes: AxisSet,
    shape: Vec<usize>,
    /// By example; a single entry without the batch.
    examples: Vec<Elements>,
}

/// The values of every node.
#[derive(Clone, Debug)]
pub struct Values {
    lengths: Lengths,
    number_of_axes: usize,
    stored: Vec<Option<Stored>>,
    outputs: Vec<Output>,
}

impl Values {
    /// Room for all nodes, filled with zeros.
    pub(super) fn new(graph: &Graph, lengths: Lengths) -> Values {
        let mut stored = vec![None; graph.bound()];
        for node in graph.ids() {
            let ty = graph.ty(node);
            let examples = if ty.axes.contains(BATCH) { lengths.examples() } else { 1 };
            let room = |example: usize| {
                let positions = lengths.positions(ty.axes, example);
                match ty.element {
                    Element::Real => Elements::Real(vec![0.0; positions * ty.size()]),
                    Element::Id(_) => Elements::Ids(vec![None; positions]),
                }
            };
            stored[node.index()] = Some(Stored {
                axes: ty.axes,
                shape: ty.shape.clone(),
                examples: (0..examples).map(room).collect(),
            });
        }
        Values { lengths, number_of_axes: graph.axes.len(), stored, outputs: graph.outputs.clone() }
    }

    pub(super) fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    /// The value of `node` in `example` at `coordinates`: one for each of its axes but the batch, in
    /// the graph's order. `None` where there is no such node or position.
    pub fn at(&self, node: NodeId, example: usize, coordinates: &[usize]) -> Option<Value<'_>> {
        let stored = self.stored.get(node.index())?.as_ref()?;
        let steps = stored.axes.without(BATCH);
        if steps.len() != coordinates.len() {
            return None;
        }
        let mut place = vec![0; self.number_of_axes];
        place[0] = example;
        for (axis, &coordinate) in steps.iter().zip(coordinates) {
            place[usize::from(axis.0)] = coordinate;
        }
        self.stored_at(stored, &place)
    }

    /// The number that a scalar without axes is, such as a loss.
    pub fn scalar(&self, operand: Operand) -> Option<f64> {
        let place = vec![0; self.number_of_axes];
        match self.read(operand, &place).real() {
            [number] => Some(*number),
            _ => None,
        }
    }

    /// An operand as its reader at `place` sees it; zero or no id beyond the ends.
    pub(super) fn read(&self, operand: Operand, place: &Place) -> Value<'_> {
        let Some(stored) = self.stored.get(operand.node.index()).and_then(Option::as_ref) else {
            return Value::Real(Cow::Borrowed(&[]));
        };
        let found = moved(operand.access, place, &self.lengths);
        let found = found.and_then(|there| self.stored_at(stored, &there));
        found.unwrap_or_else(|| match stored.examples.first() {
            Some(Elements::Ids(_)) => Value::Id(None),
            _ => Value::Real(Cow::Owned(vec![0.0; stored.shape.iter().product()])),
        })
    }

    /// True if the position that an access reads exists.
    pub(super) fn exists(&self, access: Access, place: &Place) -> bool {
        moved(access, place, &self.lengths).is_some()
    }

    fn stored_at<'a>(&'a self, stored: &'a Stored, place: &Place) -> Option<Value<'a>> {
        let row = self.lengths.row(stored.axes, place)?;
        let example = if stored.axes.contains(BATCH) { place[0] } else { 0 };
        match stored.examples.get(example)? {
            Elements::Real(numbers) => {
                let size: usize = stored.shape.iter().product();
                Some(Value::Real(Cow::Borrowed(numbers.get(row * size..(row + 1) * size)?)))
            }
            Elements::Ids(ids) => Some(Value::Id(*ids.get(row)?)),
        }
    }

    /// Sets a node's value at a position.
    pub(super) fn set(&mut self, node: NodeId, place: &Place, value: &Value) {
        let Some(axes) = self.stored[node.index()].as_ref().map(|stored| stored.axes) else { return };
        let Some(row) = self.lengths.row(axes, place) else { return };
        let example = if axes.contains(BATCH) { place[0] } else { 0 };
        let Some(stored) = &mut self.stored[node.index()] else { return };
        match (&mut stored.examples[example], value) {
            (Elements::Real(numbers), Value::Real(new)) => {
                numbers[row * new.len()..(row + 1) * new.len()].copy_from_slice(new);
            }
            (Elements::Ids(ids), Value::Id(id)) => ids[row] = *id,
            // The verifier has seen that an operation gives what its type says.
            (Elements::Real(_), Value::Id(_)) | (Elements::Ids(_), Value::Real(_)) => {}
        }
    }

    /// All positions on `axes` (in `example` only, if given), row-major, the batch outermost.
    pub(super) fn places(&self, axes: AxisSet, example: Option<usize>) -> Vec<Place> {
        let examples = match example {
            Some(example) => example..example + 1,
            None if axes.contains(BATCH) => 0..self.lengths.examples(),
            None => 0..1,
        };
        let mut found = Vec::new();
        for example in examples {
            let mut place = vec![0; self.number_of_axes];
            place[0] = example;
            found.extend(self.places_from(axes.without(BATCH), place));
        }
        found
    }

    /// All positions on `axes` of one example, row-major; its other coordinates are those of `place`.
    pub(super) fn places_from(&self, axes: AxisSet, mut place: Place) -> Vec<Place> {
        let mut found = Vec::new();
        self.positions(axes, &mut place, &mut found);
        found
    }

    fn positions(&self, axes: AxisSet, place: &mut Place, found: &mut Vec<Place>) {
        // An axis of children comes after its tree, whose position it depends on.
        let Some(axis) = axes.iter().next() else {
            found.push(place.clone());
            return;
        };
        let example = place[0];
        let length = match (self.lengths.kind(axis), self.lengths.tree(axis, example)) {
            (AxisKind::Children(tree), Some(nodes)) => nodes.arity(place[usize::from(tree.0)]),
            _ => self.lengths.of(axis, example),
        };
        for coordinate in 0..length {
            place[usize::from(axis.0)] = coordinate;
            self.positions(axes.without(axis), place, found);
        }
        place[usize::from(axis.0)] = 0;
    }

    /// An operand at all positions, as a rectangular array with zeros (or no id) in the padding.
    pub fn padded(&self, operand: Operand) -> Option<Padded> {
        let stored = self.stored.get(operand.node.index())?.as_ref()?;
        let axes = operand.access.remaining(stored.axes);
        let size: usize = stored.shape.iter().product();
        let extents: Vec<usize> = axes
            .iter()
            .map(|axis| if axis == BATCH { self.lengths.examples() } else { self.lengths.longest(axis) })
            .collect();
        let rows: usize = extents.iter().product();
        let ids = matches!(stored.examples.first(), Some(Elements::Ids(_)));
        let mut numbers = vec![0.0; if ids { 0 } else { rows * size }];
        let mut names = vec![None; if ids { rows } else { 0 }];
        for place in self.places(axes, None) {
            let coordinates = axes.iter().map(|axis| place[usize::from(axis.0)]);
            let row = coordinates.zip(&extents).fold(0, |row, (at, extent)| row * extent + at);
            match self.read(operand, &place) {
                Value::Real(value) => numbers[row * size..(row + 1) * size].copy_from_slice(&value),
                Value::Id(id) => names[row] = id,
            }
        }
        let shape = extents.into_iter().chain(stored.shape.iter().copied()).collect();
        let elements = if ids { Elements::Ids(names) } else { Elements::Real(numbers) };
        Some(Padded { shape, elements })
    }

    /// The first output of this kind and name, padded.
    pub fn output(&self, kind: OutputKind, name: &str) -> Option<Padded> {
        let output = self.outputs.iter().find(|output| output.kind == kind && output.name == name)?;
        self.padded(output.value)
    }

    /// The sum of all losses.
    pub fn loss(&self) -> f64 {
        let losses = self.outputs.iter().filter(|output| output.kind == OutputKind::Loss);
        losses.filter_map(|output| self.scalar(output.value)).sum()
    }
}

/// The position that an access reads, seen from `here`; `None` where there is none.
fn moved(access: Access, here: &Place, lengths: &Lengths) -> Option<Place> {
    let example = here[0];
    let at = |axis: AxisId| here[usize::from(axis.0)];
    let along = |axis: AxisId, coordinate: Option<usize>| {
        let coordinate = coordinate.filter(|&at| at < lengths.of(axis, example))?;
        let mut there = here.clone();
        there[usize::from(axis.0)] = coordinate;
        Some(there)
    };
    match access {
        Access::Here => Some(here.clone()),
        Access::Delay { axis, by } => along(axis, at(axis).checked_sub(by as usize)),
        Access::Advance { axis, by } => along(axis, at(axis).checked_add(by as usize)),
        Access::First(axis) => along(axis, Some(0)),
        Access::Last(axis) => along(axis, lengths.of(axis, example).checked_sub(1)),
        Access::Nth { tree, number } => {
            along(tree, lengths.tree(tree, example)?.child(at(tree), number as usize))
        }
        Access::NthOf { tree, number } => {
            let nodes = lengths.tree(tree, example)?;
            let parent = nodes.parent(at(tree)).filter(|_| nodes.rank(at(tree)) == number as usize);
            along(tree, parent)
        }
        Access::Parent(tree) => along(tree, lengths.tree(tree, example)?.parent(at(tree))),
        Access::Child { tree, children } => {
            along(tree, lengths.tree(tree, example)?.child(at(tree), at(children)))
        }
        Access::Edge { tree, children } => {
            let nodes = lengths.tree(tree, example)?;
            let mut there = along(tree, nodes.parent(at(tree)))?;
            there[usize::from(children.0)] = nodes.rank(at(tree));
            Some(there)
        }
        Access::AtNode { tree, leaves } => along(leaves, lengths.tree(tree, example)?.leaf_number(at(tree))),
        Access::AtLeaf { tree, leaves } => {
            let node = lengths.tree(tree, example)?.leaves().get(at(leaves)).copied();
            along(tree, node.map(|node| node as usize))
        }
    }
}
