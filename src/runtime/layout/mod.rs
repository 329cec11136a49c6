//! Where everything lies for one batch: rows, tables and memory, all known before a run.
//!
//! Three examples of lengths 2, 4 and 1 along `t` are packed in step order, longest first:
//!
//! ```text
//! example order   1 0 2
//! step 0          rows 0 1 2      (examples 1 0 2)
//! step 1          rows 3 4        (examples 1 0)
//! step 2, 3       rows 5, 6       (example 1)
//! ```
//!
//! so `h[t-1]` of row 4 is row 1, of row 1 the zero row in front. Nodes of trees are packed by level, the
//! leaves first, and find their children and parents by such tables, too: a sequence is the tree with one
//! child. A [`Layout`] holds these numbers for
//! a *part* of a batch (a range of its examples), so that parts run independently; what must not
//! depend on the split (keys of random numbers, counts) comes from the whole batch. Only the rows of ids that
//! occur are known later, when the ids are (`distinct`). It holds no
//! contents but those that follow from the lengths alone; nothing here runs code.

mod arena;
mod contents;
mod distinct;
mod packing;
mod positions;
mod rows;

pub use arena::{ALIGNMENT, Arena, Home, Place};
pub use contents::Content;
pub use rows::{ListRows, SpaceRows};

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use self::positions::Shape;
use crate::base::Tree;
use crate::plan::{AxisKind, BufferId, Plan, Precision, Role, places};

/// How long each example of a batch is along each axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Examples in the batch.
    pub examples: usize,
    /// For each axis of the plan its lengths, one an example; entry 0 (the batch itself) is ignored.
    pub axes: Vec<Vec<usize>>,
    /// By axis: the trees on it, one an example. Lengths of such an axis, and of those of its children and
    /// leaves, follow from them and need not be given.
    pub trees: BTreeMap<usize, Vec<Arc<Tree>>>,
}

impl Lengths {
    /// `examples` of the same lengths: one number for each axis behind the batch.
    pub fn uniform(examples: usize, lengths: &[usize]) -> Lengths {
        let mut axes = vec![Vec::new()];
        axes.extend(lengths.iter().map(|&length| vec![length; examples]));
        Lengths { examples, axes, ..Lengths::default() }
    }

    /// The longest example along an axis (the number of examples for the batch).
    pub fn longest(&self, axis: usize) -> usize {
        match axis {
            0 => self.examples,
            _ => self.axes.get(axis).and_then(|lengths| lengths.iter().copied().max()).unwrap_or(0),
        }
    }
}

/// Why a batch has no layout.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// Lengths are missing.
    #[error("axis `{axis}` needs {examples} lengths, one an example, but {given} are given")]
    Lengths {
        /// The axis.
        axis: String,
        /// Examples in the batch.
        examples: usize,
        /// Lengths given.
        given: usize,
    },
    /// Trees are missing.
    #[error("axis `{axis}` needs {examples} trees, one an example, but {given} are given")]
    Trees {
        /// The axis.
        axis: String,
        /// Examples in the batch.
        examples: usize,
        /// Trees given.
        given: usize,
    },
    /// A part reaches beyond the batch.
    #[error("examples {start}..{end} are not in a batch of {examples}")]
    Part {
        /// First example.
        start: usize,
        /// Behind the last example.
        end: usize,
        /// Examples in the batch.
        examples: usize,
    },
    /// A row number or a size does not fit.
    #[error("{what} of this batch do not fit in memory")]
    TooLarge {
        /// What was counted.
        what: &'static str,
    },
    /// The plan contradicts itself.
    #[error("the plan is inconsistent: {0}")]
    Plan(String),
    /// Data of the wrong size was given or asked for.
    #[error("{what} has {given} elements where {expected} are needed")]
    Size {
        /// Which data.
        what: &'static str,
        /// Elements it has.
        given: usize,
        /// Elements it should have.
        expected: usize,
    },
}

/// Rows, tables and memory of a part of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The examples of the whole batch that are run.
    pub part: Range<usize>,
    /// The type reals have.
    pub precision: Precision,
    /// Lengths of the part's examples.
    pub lengths: Lengths,
    /// The longest example of the whole batch along each axis (examples of the whole for axis 0).
    pub longest: Vec<usize>,
    /// Rows of each space.
    pub spaces: Vec<SpaceRows>,
    /// Steps of a loop along each axis: the longest example of the part, the levels of the highest tree.
    pub steps: Vec<usize>,
    /// For each map, for each row of its `from`: the row of `to`, or -1.
    pub maps: Vec<Vec<i32>>,
    /// For each list, the rows of `from` in each row of `to`.
    pub lists: Vec<ListRows>,
    /// Where buffers lie.
    pub arena: Arena,
    counts: Vec<Option<f64>>,
}

impl Layout {
    /// Lays out the examples `part` of a batch, all in memory that is kept.
    pub fn new(
        plan: &Plan,
        precision: Precision,
        whole: &Lengths,
        part: Range<usize>,
    ) -> Result<Layout, LayoutError> {
        Layout::lending(plan, precision, whole, part, places::zeros_needed(plan), &|_| false, None)
    }

    /// As [`Layout::new`], with buffers of the roles that `lent` names in memory that is lent for a run. The plan
    /// needs so many shared `zeros` (see [`places::zeros_needed`]). Buffers stay where they were `before`, if all have
    /// room there.
    pub fn lending(
        plan: &Plan,
        precision: Precision,
        whole: &Lengths,
        part: Range<usize>,
        zeros: usize,
        lent: &dyn Fn(&Role) -> bool,
        before: Option<&Arena>,
    ) -> Result<Layout, LayoutError> {
        check_part(whole, &part)?;
        let whole = &positions::completed(plan, whole)?;
        let shape = |lengths| Shape { lengths, kinds: &plan.kinds };
        let counts = contents::counts(plan, shape(whole))?;
        let lengths = Lengths {
            examples: part.len(),
            axes: std::iter::once(Vec::new())
                .chain(whole.axes.iter().skip(1).map(|axis| axis[part.clone()].to_vec()))
                .collect(),
            trees: whole.trees.iter().map(|(&axis, trees)| (axis, trees[part.clone()].to_vec())).collect(),
        };
        let shape = shape(&lengths);
        let orders = rows::orders(&lengths, plan.axes.len());
        let spaces = plan
            .spaces
            .iter()
            .map(|space| SpaceRows::new(space, shape, &orders))
            .collect::<Result<Vec<_>, _>>()?;
        let maps =
            plan.maps.iter().map(|map| rows::map_rows(map, &spaces, shape)).collect::<Result<Vec<_>, _>>()?;
        // Which rows have which ids is not known yet.
        let by_id =
            |list| plan.distinct.iter().any(|distinct| distinct.lists.iter().any(|(its, _)| *its == list));
        let lists = plan
            .lists
            .iter()
            .enumerate()
            .map(|(id, list)| match by_id(id) {
                true => Ok(ListRows::default()),
                false => rows::list_rows(list, &spaces, shape),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let arena = match before {
            Some(before) if before.has_room(plan, &spaces) => before.clone(),
            _ => Arena::new(plan, precision, &spaces, zeros, lent)?,
        };
        let mut layout = Layout {
            part,
            precision,
            longest: (0..plan.axes.len()).map(|axis| whole.longest(axis)).collect(),
            steps: (0..plan.axes.len()).map(|axis| steps(shape, axis)).collect(),
            lengths,
            spaces,
            maps,
            lists,
            arena,
            counts,
        };
        for distinct in &plan.distinct {
            let none = vec![u32::MAX; layout.spaces[plan.buffers[distinct.of].space].rows];
            layout.take_ids(plan, distinct.of, &none);
        }
        Ok(layout)
    }

    /// The bytes of a buffer that are in use, the zero row in front among them; `None` if it has no place.
    pub fn in_use(&self, plan: &Plan, id: BufferId) -> Option<Range<usize>> {
        let (place, buffer) = (self.arena.places[id]?, &plan.buffers[id]);
        let rows = arena::held(buffer, &self.spaces[buffer.space]);
        Some(place.start..place.offset + rows * buffer.width * buffer.element.bytes(self.precision))
    }
}

/// A part lies inside the batch.
fn check_part(whole: &Lengths, part: &Range<usize>) -> Result<(), LayoutError> {
    match part.start > part.end || part.end > whole.examples {
        true => Err(LayoutError::Part { start: part.start, end: part.end, examples: whole.examples }),
        false => Ok(()),
    }
}

/// Steps of a loop along an axis.
fn steps(shape: Shape, axis: usize) -> usize {
    let levels = |trees: &Vec<Arc<Tree>>| trees.iter().map(|tree| tree.levels()).max().unwrap_or(0);
    match shape.kind(axis) {
        AxisKind::Tree => shape.lengths.trees.get(&axis).map_or(0, levels),
        AxisKind::Sequence | AxisKind::Children(_) | AxisKind::Leaves(_) => shape.lengths.longest(axis),
    }
}

#[cfg(test)]
mod tests;
