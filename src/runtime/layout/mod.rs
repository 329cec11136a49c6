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
//! so `h[t-1]` of row 4 is row 1, of row 1 the zero row in front. A [`Layout`] holds these numbers for
//! a *part* of a batch (a range of its examples), so that parts run independently; what must not
//! depend on the split (keys of random numbers, counts) comes from the whole batch. It holds no
//! contents but those that follow from the lengths alone; nothing here runs code.

mod arena;
mod contents;
mod packing;
mod rows;

pub use arena::{ALIGNMENT, Arena, Place};
pub use contents::Content;
pub use rows::{ListRows, SpaceRows};

use std::ops::Range;

use thiserror::Error;

use crate::plan::{Plan, Precision, places};

/// How long each example of a batch is along each axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Examples in the batch.
    pub examples: usize,
    /// For each axis of the plan its lengths, one an example; entry 0 (the batch itself) is ignored.
    pub axes: Vec<Vec<usize>>,
}

impl Lengths {
    /// `examples` of the same lengths: one number for each axis behind the batch.
    pub fn uniform(examples: usize, lengths: &[usize]) -> Lengths {
        let mut axes = vec![Vec::new()];
        axes.extend(lengths.iter().map(|&length| vec![length; examples]));
        Lengths { examples, axes }
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
    /// Steps of a loop along each axis: the longest example of the part.
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
    /// Lays out the examples `part` of a batch.
    pub fn new(
        plan: &Plan,
        precision: Precision,
        whole: &Lengths,
        part: Range<usize>,
    ) -> Result<Layout, LayoutError> {
        check_lengths(plan, whole, &part)?;
        let counts = contents::counts(plan, whole);
        let lengths = Lengths {
            examples: part.len(),
            axes: std::iter::once(Vec::new())
                .chain(whole.axes.iter().skip(1).map(|axis| axis[part.clone()].to_vec()))
                .collect(),
        };
        let orders = rows::orders(&lengths, plan.axes.len());
        let spaces = plan
            .spaces
            .iter()
            .map(|space| SpaceRows::new(space, &lengths, &orders))
            .collect::<Result<Vec<_>, _>>()?;
        let maps = plan
            .maps
            .iter()
            .map(|map| rows::map_rows(map, &spaces, &lengths))
            .collect::<Result<Vec<_>, _>>()?;
        let lists = plan
            .lists
            .iter()
            .map(|list| rows::list_rows(list, &spaces, &lengths))
            .collect::<Result<Vec<_>, _>>()?;
        let arena = Arena::new(plan, precision, &spaces, places::zeros_needed(plan))?;
        Ok(Layout {
            part,
            precision,
            longest: (0..plan.axes.len()).map(|axis| whole.longest(axis)).collect(),
            steps: (0..plan.axes.len()).map(|axis| lengths.longest(axis)).collect(),
            lengths,
            spaces,
            maps,
            lists,
            arena,
            counts,
        })
    }
}

/// Lengths for every axis, and a part inside the batch.
fn check_lengths(plan: &Plan, whole: &Lengths, part: &Range<usize>) -> Result<(), LayoutError> {
    for (axis, name) in plan.axes.iter().enumerate().skip(1) {
        let given = whole.axes.get(axis).map_or(0, Vec::len);
        if given != whole.examples {
            return Err(LayoutError::Lengths { axis: name.clone(), examples: whole.examples, given });
        }
    }
    if part.start > part.end || part.end > whole.examples {
        return Err(LayoutError::Part { start: part.start, end: part.end, examples: whole.examples });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
