//! What a program is given: lengths, parameters, inputs, settings and the random seed.
//!
//! Two sentences of three and no words: `examples: 2`, `lengths: {"t": [3, 0]}`,
//! `inputs: {"words": Ids([[4, 1, 2], []])}`. Nothing is padded here.

use std::collections::BTreeMap;

use super::EvalError;
use crate::ir::{AxisId, AxisKind, AxisSet, BATCH, Element, Graph, Op, Tree, ValueType};

/// The data of an input: per example its positions (row-major over the axes other than the batch, in
/// the graph's order), each with its elements (row-major over the shape), one after the other. An
/// input without the batch has a single entry.
#[derive(Clone, Debug, PartialEq)]
pub enum InputData {
    /// Numbers.
    Real(Vec<Vec<f64>>),
    /// Ids; `None` is no id.
    Ids(Vec<Vec<Option<u32>>>),
}

/// Everything a program is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feeds {
    /// Number of examples in the batch.
    pub examples: usize,
    /// By name of the axis: the length of every example, which may be zero. Not for trees and what comes
    /// from them.
    pub lengths: BTreeMap<String, Vec<usize>>,
    /// By name of the axis: the tree of every example.
    pub trees: BTreeMap<String, Vec<Tree>>,
    /// By path: a parameter's elements, row-major.
    pub params: BTreeMap<String, Vec<f64>>,
    /// By name.
    pub inputs: BTreeMap<String, InputData>,
    /// By name.
    pub settings: BTreeMap<String, f64>,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Number of the training step, which the random numbers depend on, too.
    pub step: u32,
}

/// Lengths and trees by axis and example, checked against the graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    examples: usize,
    kinds: Vec<AxisKind>,
    /// Empty for trees and what comes from them.
    by_axis: Vec<Vec<usize>>,
    trees: Vec<Vec<Tree>>,
}

impl Lengths {
    /// Of the axes of `graph` that some node has.
    pub(super) fn new(graph: &Graph, feeds: &Feeds) -> Result<Lengths, EvalError> {
        let mut used = AxisSet::NONE;
        for node in graph.ids() {
            used = used.union(graph.ty(node).axes);
            match graph.op(node) {
                Op::Count(axes) => used = used.union(*axes),
                Op::Length(axis) => used = used.with(*axis),
                _ => {}
            }
        }
        let mut by_axis = vec![vec![1; feeds.examples]; graph.axes.len()];
        let mut trees = vec![Vec::new(); graph.axes.len()];
        for axis in used.without(BATCH).iter() {
            let at = usize::from(axis.0);
            let tree = graph.axis_kind(axis).tree(axis);
            let name = graph.axis_name(tree.unwrap_or(axis));
            let missing = |kind| EvalError::Missing { kind, name: name.to_string() };
            let Some(tree) = tree else {
                let given = feeds.lengths.get(name).ok_or_else(|| missing("lengths of axis"))?;
                size(|| format!("the lengths of axis `{name}`"), feeds.examples, given.len())?;
                by_axis[at].clone_from(given);
                continue;
            };
            let given = feeds.trees.get(name).ok_or_else(|| missing("trees of axis"))?;
            size(|| format!("the trees of axis `{name}`"), feeds.examples, given.len())?;
            trees[usize::from(tree.0)].clone_from(given);
        }
        let kinds = graph.axes.iter().map(|axis| axis.kind).collect();
        Ok(Lengths { examples: feeds.examples, kinds, by_axis, trees })
    }

    /// Number of examples.
    pub(super) fn examples(&self) -> usize {
        self.examples
    }

    /// What the positions of an axis are.
    pub(super) fn kind(&self, axis: AxisId) -> AxisKind {
        self.kinds[usize::from(axis.0)]
    }

    /// The tree of an example that an axis is or comes from.
    pub(super) fn tree(&self, axis: AxisId, example: usize) -> Option<&Tree> {
        let tree = self.kind(axis).tree(axis)?;
        self.trees[usize::from(tree.0)].get(example)
    }

    /// How many positions an example has on an axis other than the batch; on an axis of children: how
    /// many a node has at most.
    pub(super) fn of(&self, axis: AxisId, example: usize) -> usize {
        match (self.kind(axis), self.tree(axis, example)) {
            (AxisKind::Tree, Some(tree)) => tree.len(),
            (AxisKind::Children(_), Some(tree)) => tree.largest_arity(),
            (AxisKind::Leaves(_), Some(tree)) => tree.leaves().len(),
            (AxisKind::Batch | AxisKind::Time, _) => {
                self.by_axis[usize::from(axis.0)].get(example).copied().unwrap_or(0)
            }
            (AxisKind::Tree | AxisKind::Children(_) | AxisKind::Leaves(_), None) => 0,
        }
    }

    /// The most positions that any example has on an axis.
    pub(super) fn longest(&self, axis: AxisId) -> usize {
        (0..self.examples).map(|example| self.of(axis, example)).max().unwrap_or(0)
    }

    /// How many positions an example has on these axes together, the batch not counted.
    pub(super) fn positions(&self, axes: AxisSet, example: usize) -> usize {
        axes.without(BATCH)
            .iter()
            .map(|axis| match self.children_in(axes, axis) {
                // A node and its children together are the tree's edges.
                Some(_) => self.tree(axis, example).map_or(0, Tree::edges),
                None if self.counted_with_nodes(axes, axis) => 1,
                None => self.of(axis, example),
            })
            .product()
    }

    /// The axis of the children of `axis` among `axes`, if that is a tree.
    pub(super) fn children_in(&self, axes: AxisSet, axis: AxisId) -> Option<AxisId> {
        axes.iter().find(|&other| self.kind(other) == AxisKind::Children(axis))
    }

    /// True for an axis of children whose tree is among `axes`.
    pub(super) fn counted_with_nodes(&self, axes: AxisSet, axis: AxisId) -> bool {
        matches!(self.kind(axis), AxisKind::Children(tree) if axes.contains(tree))
    }

    /// The number of a position among those of its example, row-major, a node and its child as one number;
    /// `None` if there is no such position.
    pub(super) fn row(&self, axes: AxisSet, place: &[usize]) -> Option<usize> {
        let mut row = 0;
        for axis in axes.without(BATCH).iter() {
            let coordinate = place[usize::from(axis.0)];
            if self.counted_with_nodes(axes, axis) {
                continue;
            }
            let (number, length) = match self.children_in(axes, axis) {
                Some(children) => {
                    let tree = self.tree(axis, place[0])?;
                    let child = place[usize::from(children.0)];
                    (tree.child(coordinate, child).map(|_| tree.edge(coordinate, child))?, tree.edges())
                }
                None => (coordinate, self.of(axis, place[0])),
            };
            if number >= length {
                return None;
            }
            row = row * length + number;
        }
        Some(row)
    }
}

/// Checks that everything the graph reads was given, in the right size and range.
pub(super) fn check(graph: &Graph, feeds: &Feeds, lengths: &Lengths) -> Result<(), EvalError> {
    for node in graph.ids() {
        let ty = graph.ty(node);
        match graph.op(node) {
            Op::Param(name) => {
                let given = feeds.params.get(name);
                let missing = || EvalError::Missing { kind: "parameter", name: name.clone() };
                let found = given.ok_or_else(missing)?.len();
                size(|| format!("parameter `{name}`"), ty.size(), found)?;
            }
            Op::Input(name) => input(name, ty, feeds, lengths)?,
            Op::Setting(name) if !feeds.settings.contains_key(name) => {
                return Err(EvalError::Missing { kind: "setting", name: name.clone() });
            }
            _ => {}
        }
    }
    Ok(())
}

fn input(name: &str, ty: &ValueType, feeds: &Feeds, lengths: &Lengths) -> Result<(), EvalError> {
    let missing = || EvalError::Missing { kind: "input", name: name.to_string() };
    let given = feeds.inputs.get(name).ok_or_else(missing)?;
    let sizes: Vec<usize> = match (given, ty.element) {
        (InputData::Real(examples), Element::Real) => examples.iter().map(Vec::len).collect(),
        (InputData::Ids(examples), Element::Id(_)) => examples.iter().map(Vec::len).collect(),
        (_, Element::Real) => {
            return Err(EvalError::Element { name: name.to_string(), expected: "real numbers" });
        }
        (_, Element::Id(_)) => {
            return Err(EvalError::Element { name: name.to_string(), expected: "ids" });
        }
    };
    let examples = if ty.axes.contains(BATCH) { lengths.examples() } else { 1 };
    size(|| format!("input `{name}`"), examples, sizes.len())?;
    for (example, found) in sizes.into_iter().enumerate() {
        let expected = lengths.positions(ty.axes, example) * ty.size();
        size(|| format!("example {example} of input `{name}`"), expected, found)?;
    }
    if let (InputData::Ids(examples), Element::Id(range)) = (given, ty.element) {
        for (example, ids) in examples.iter().enumerate() {
            for (position, id) in ids.iter().enumerate() {
                if let Some(id) = id.filter(|&id| id as usize >= range) {
                    return Err(EvalError::IdRange {
                        name: format!("input `{name}`"),
                        place: format!("position {position} of example {example}"),
                        id,
                        range,
                    });
                }
            }
        }
    }
    Ok(())
}

fn size(what: impl FnOnce() -> String, expected: usize, found: usize) -> Result<(), EvalError> {
    if expected == found { Ok(()) } else { Err(EvalError::Size { what: what(), expected, found }) }
}
