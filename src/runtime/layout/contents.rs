//! Contents of the buffers that follow from the lengths alone: positions, lengths, counts, row keys.

use super::positions::{Digits, Shape};
use super::{Layout, LayoutError};
use crate::plan::{AxisKind, BufferId, Element, Plan, Role};

/// What to write into a buffer, row after row.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// For a real buffer.
    Real(Vec<f64>),
    /// For an id buffer.
    Id(Vec<u32>),
}

impl Layout {
    /// The contents of a buffer that the layout provides; `None` for all others.
    pub fn content(&self, plan: &Plan, id: BufferId) -> Result<Option<Content>, LayoutError> {
        let buffer = &plan.buffers[id];
        let space = &self.spaces[buffer.space];
        let missing =
            || LayoutError::Plan(format!("`{}` asks for an axis that its rows do not have", buffer.name));
        let numbers: Vec<f64> = match &buffer.role {
            Role::Position(axis) => (0..space.rows)
                .map(|row| space.coordinate(row, *axis).map(|position| position as f64))
                .collect::<Option<_>>()
                .ok_or_else(missing)?,
            Role::Length(axis) => (0..space.rows)
                .map(|row| {
                    let example = space.coordinate(row, 0)?;
                    let length = match plan.kind(*axis) {
                        AxisKind::Children(tree) => {
                            let nodes = self.lengths.trees.get(&tree)?.get(example)?;
                            nodes.arity(space.coordinate(row, tree)?)
                        }
                        AxisKind::Sequence | AxisKind::Tree | AxisKind::Leaves(_) => {
                            *self.lengths.axes.get(*axis)?.get(example)?
                        }
                    };
                    Some(length as f64)
                })
                .collect::<Option<_>>()
                .ok_or_else(missing)?,
            Role::Count(_) => self.counts[id].into_iter().collect(),
            Role::RowKey => {
                return self.row_keys(plan, buffer.space).map(|keys| Some(Content::Id(keys)));
            }
            Role::Parameter(_)
            | Role::Input(_)
            | Role::Distinct(_)
            | Role::Setting(_)
            | Role::Temporary
            | Role::Output(_) => return Ok(None),
        };
        Ok(Some(match buffer.element {
            Element::Real => Content::Real(numbers),
            Element::Id => Content::Id(numbers.into_iter().map(|number| number as u32).collect()),
        }))
    }

    /// Two words a row: the example's number in the whole batch, and its positions in one word.
    fn row_keys(&self, plan: &Plan, space: usize) -> Result<Vec<u32>, LayoutError> {
        let space = &self.spaces[space];
        let shape = Shape { lengths: &self.lengths, kinds: &plan.kinds };
        let axes = space.space.axes.get(1..).unwrap_or(&[]);
        let digits = Digits::new(shape, axes);
        let mut keys = Vec::with_capacity(2 * space.rows);
        for row in 0..space.rows {
            let of_part = space.coordinates(row).first().map_or(0, |&example| example as usize);
            let word =
                |number: usize| u32::try_from(number).map_err(|_| LayoutError::TooLarge { what: "row keys" });
            // What there is one of for all examples is the same in every group.
            let of_an_example = space.space.axes.first() == Some(&0);
            keys.push(word(if of_an_example { of_part + self.part.start } else { 0 })?);
            // The number of a position among those of its example: the same in every batch.
            let position = |axis: usize| space.coordinate(row, axis).unwrap_or(0);
            keys.push(word(digits.index(shape, of_part, position)?)?);
        }
        Ok(keys)
    }
}

/// For each buffer with [`Role::Count`]: its number of positions in the whole batch.
pub fn counts(plan: &Plan, whole: Shape) -> Result<Vec<Option<f64>>, LayoutError> {
    let count = |axes: &[usize]| -> Result<f64, LayoutError> {
        let others: Vec<usize> = axes.iter().copied().filter(|&axis| axis > 0).collect();
        let digits = Digits::new(whole, &others);
        match axes {
            [] => Ok(1.0),
            _ => (0..whole.lengths.examples)
                .map(|example| digits.count(whole, example).map(|count| count as f64))
                .sum(),
        }
    };
    plan.buffers
        .iter()
        .map(|buffer| match &buffer.role {
            Role::Count(axes) => count(axes).map(Some),
            _ => Ok(None),
        })
        .collect()
}
