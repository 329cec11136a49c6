//! The positions of one example on several axes, in their order, and each one's number.
//!
//! On `[t, s]` of lengths 2 and 3 the positions are (0, 0), (0, 1), … (1, 2), numbered from 0 to 5. A tree
//! and its axis of children count as one: its positions are the edges, parent by parent, child by child.

use std::sync::Arc;

use super::{LayoutError, Lengths};
use crate::base::Tree;
use crate::plan::{AxisKind, Plan};

/// Lengths with what the axes are: every axis has a length for each example, those of trees have trees.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Lengths and trees.
    pub lengths: &'a Lengths,
    /// What each axis is; behind the end of the list, sequences.
    pub kinds: &'a [AxisKind],
}

/// What one number of a position stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digit {
    /// A position on an axis.
    Axis(usize),
    /// A node and one of its children.
    Edge { tree: usize, children: usize },
}

/// The numbers that positions on a set of axes are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digits {
    digits: Vec<Digit>,
}

impl<'a> Shape<'a> {
    /// What the positions of an axis are.
    pub fn kind(self, axis: usize) -> AxisKind {
        self.kinds.get(axis).copied().unwrap_or_default()
    }

    /// The tree of an example on an axis of one.
    ///
    /// # Errors
    /// If the axis has none.
    pub fn tree(self, axis: usize, example: usize) -> Result<&'a Arc<Tree>, LayoutError> {
        let found = self.lengths.trees.get(&axis).and_then(|trees| trees.get(example));
        found.ok_or_else(|| LayoutError::Plan("an axis that is no tree is read as one".into()))
    }

    /// The step of a loop along an axis in which a position on it lies.
    pub fn step(self, axis: usize, example: usize, position: usize) -> Result<usize, LayoutError> {
        match self.kind(axis) {
            AxisKind::Tree => Ok(self.tree(axis, example)?.height(position)),
            AxisKind::Sequence | AxisKind::Children(_) | AxisKind::Leaves(_) => Ok(position),
        }
    }

    /// The axis of children among `axes` that belongs to a tree.
    pub fn children_among(self, tree: usize, axes: &[usize]) -> Option<usize> {
        axes.iter().copied().find(|&axis| self.kind(axis) == AxisKind::Children(tree))
    }
}

impl Digits {
    /// Of positions on these axes, the batch not among them.
    pub fn new(shape: Shape, axes: &[usize]) -> Digits {
        let alone = |axis: &&usize| match shape.kind(**axis) {
            AxisKind::Children(tree) => !axes.contains(&tree),
            AxisKind::Sequence | AxisKind::Tree | AxisKind::Leaves(_) => true,
        };
        let digit = |&axis: &usize| match shape.children_among(axis, axes) {
            Some(children) => Digit::Edge { tree: axis, children },
            None => Digit::Axis(axis),
        };
        Digits { digits: axes.iter().filter(alone).map(digit).collect() }
    }

    /// The same without an axis (and its children).
    pub fn without(&self, axis: Option<usize>) -> Digits {
        let other = |digit: &&Digit| match **digit {
            Digit::Axis(own) | Digit::Edge { tree: own, .. } => Some(own) != axis,
        };
        Digits { digits: self.digits.iter().filter(other).copied().collect() }
    }

    /// How many values each number has in an example.
    pub fn extents(&self, shape: Shape, example: usize) -> Result<Vec<usize>, LayoutError> {
        self.digits
            .iter()
            .map(|digit| match *digit {
                Digit::Axis(axis) => Ok(shape.lengths.axes[axis][example]),
                Digit::Edge { tree, .. } => Ok(shape.tree(tree, example)?.edges()),
            })
            .collect()
    }

    /// How many positions an example has.
    pub fn count(&self, shape: Shape, example: usize) -> Result<usize, LayoutError> {
        let extents = self.extents(shape, example)?;
        let count = extents.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
        count.ok_or(LayoutError::TooLarge { what: "rows" })
    }

    /// The number of the position that has these coordinates (by axis).
    pub fn index(
        &self,
        shape: Shape,
        example: usize,
        coordinate: impl Fn(usize) -> usize,
    ) -> Result<usize, LayoutError> {
        self.digits.iter().try_fold(0usize, |index, digit| match *digit {
            Digit::Axis(axis) => Ok(index * shape.lengths.axes[axis][example] + coordinate(axis)),
            Digit::Edge { tree, children } => {
                let own = shape.tree(tree, example)?;
                Ok(index * own.edges() + own.edge(coordinate(tree), coordinate(children)))
            }
        })
    }

    /// Calls `visit` with the coordinates (by axis) of every position of an example, the last number fastest.
    pub fn each(
        &self,
        shape: Shape,
        example: usize,
        mut visit: impl FnMut(&[usize]) -> Result<(), LayoutError>,
    ) -> Result<(), LayoutError> {
        // Most often there is nothing to count: a node alone.
        if self.digits.is_empty() {
            return visit(&[]);
        }
        let extents = self.extents(shape, example)?;
        if extents.contains(&0) {
            return Ok(());
        }
        let edges = self.edges(shape, example)?;
        let mut coordinates = vec![0; shape.lengths.axes.len()];
        let mut numbers = vec![0; extents.len()];
        loop {
            for ((digit, &number), edges) in self.digits.iter().zip(&numbers).zip(&edges) {
                match *digit {
                    Digit::Axis(axis) => coordinates[axis] = number,
                    Digit::Edge { tree, children } => {
                        (coordinates[tree], coordinates[children]) = edges[number];
                    }
                }
            }
            visit(&coordinates)?;
            let turn = (0..extents.len()).rev().find(|&at| numbers[at] + 1 < extents[at]);
            let Some(turn) = turn else { return Ok(()) };
            numbers[turn] += 1;
            numbers[turn + 1..].fill(0);
        }
    }

    /// For each number that counts edges: parent and number of the child by edge.
    fn edges(&self, shape: Shape, example: usize) -> Result<Vec<Vec<(usize, usize)>>, LayoutError> {
        self.digits
            .iter()
            .map(|digit| match *digit {
                Digit::Axis(_) => Ok(Vec::new()),
                Digit::Edge { tree, .. } => {
                    let own = shape.tree(tree, example)?;
                    let of = |node: usize| (0..own.arity(node)).map(move |child| (node, child));
                    Ok((0..own.len()).flat_map(of).collect())
                }
            })
            .collect()
    }
}

/// The lengths and trees of the plan's axes, those that come from trees with their lengths.
///
/// # Errors
/// If an axis lacks its lengths or trees.
pub fn completed(plan: &Plan, whole: &Lengths) -> Result<Lengths, LayoutError> {
    let mut completed = whole.clone();
    completed.axes.resize(plan.axes.len(), Vec::new());
    completed.trees.retain(|&axis, _| axis < plan.axes.len() && plan.kind(axis) == AxisKind::Tree);
    for (axis, name) in plan.axes.iter().enumerate().skip(1) {
        let tree = match plan.kind(axis) {
            AxisKind::Sequence => {
                let given = whole.axes.get(axis).map_or(0, Vec::len);
                if given != whole.examples {
                    return Err(LayoutError::Lengths { axis: name.clone(), examples: whole.examples, given });
                }
                continue;
            }
            AxisKind::Tree => axis,
            AxisKind::Children(tree) | AxisKind::Leaves(tree) => tree,
        };
        let trees = whole.trees.get(&tree).map_or(&[][..], |trees| trees);
        if trees.len() != whole.examples {
            let axis = plan.axes.get(tree).cloned().unwrap_or_default();
            return Err(LayoutError::Trees { axis, examples: whole.examples, given: trees.len() });
        }
        completed.axes[axis] = trees
            .iter()
            .map(|tree| match plan.kind(axis) {
                AxisKind::Children(_) => tree.largest_arity(),
                AxisKind::Leaves(_) => tree.leaves().len(),
                AxisKind::Sequence | AxisKind::Tree => tree.len(),
            })
            .collect();
    }
    Ok(completed)
}
