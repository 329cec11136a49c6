//! Contents of the buffers that follow from the lengths alone: positions, lengths, counts, row keys.

use super::{Layout, LayoutError, Lengths};
use crate::plan::{BufferId, Element, Plan, Role};

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
                    Some(*self.lengths.axes.get(*axis)?.get(example)? as f64)
                })
                .collect::<Option<_>>()
                .ok_or_else(missing)?,
            Role::Count(_) => self.counts[id].into_iter().collect(),
            Role::RowKey => {
                return self.row_keys(buffer.space).map(|keys| Some(Content::Id(keys)));
            }
            Role::Parameter(_) | Role::Input(_) | Role::Setting(_) | Role::Temporary | Role::Output(_) => {
                return Ok(None);
            }
        };
        Ok(Some(match buffer.element {
            Element::Real => Content::Real(numbers),
            Element::Id => Content::Id(numbers.into_iter().map(|number| number as u32).collect()),
        }))
    }

    /// Two words a row: the example's number in the whole batch, and its positions in one word.
    fn row_keys(&self, space: usize) -> Result<Vec<u32>, LayoutError> {
        let space = &self.spaces[space];
        let mut keys = Vec::with_capacity(2 * space.rows);
        for row in 0..space.rows {
            let coordinates = space.coordinates(row);
            let example = coordinates.first().map_or(0, |&example| example as usize) + self.part.start;
            keys.push(u32::try_from(example).map_err(|_| LayoutError::TooLarge { what: "row keys" })?);
            let positions = coordinates.get(1..).unwrap_or(&[]);
            let lengths = space.space.axes.iter().skip(1).map(|&axis| {
                self.lengths.axes.get(axis).and_then(|lengths| lengths.get(example)).copied().unwrap_or(0)
            });
            let key = position_key(positions, lengths);
            keys.push(key.ok_or(LayoutError::TooLarge { what: "row keys" })?);
        }
        Ok(keys)
    }
}

/// The row-major number of a position among those of its example: different for different positions, and
/// the same in every batch. `None` beyond 32 bits.
pub fn position_key(positions: &[u32], lengths: impl Iterator<Item = usize>) -> Option<u32> {
    positions.iter().zip(lengths).try_fold(0u32, |key, (&position, length)| {
        key.checked_mul(u32::try_from(length).ok()?)?.checked_add(position)
    })
}

/// For each buffer with [`Role::Count`]: its number of positions in the whole batch.
pub fn counts(plan: &Plan, whole: &Lengths) -> Vec<Option<f64>> {
    let count = |axes: &[usize]| -> f64 {
        match axes {
            [] => 1.0,
            _ => (0..whole.examples)
                .map(|example| {
                    let others = axes.iter().filter(|&&axis| axis > 0);
                    others.map(|&axis| whole.axes[axis][example] as f64).product::<f64>()
                })
                .sum(),
        }
    };
    plan.buffers
        .iter()
        .map(|buffer| match &buffer.role {
            Role::Count(axes) => Some(count(axes)),
            _ => None,
        })
        .collect()
}
