//! Between the caller's padded arrays and packed rows.
//!
//! The caller's arrays are example-major: `[examples of the part, longest (of the whole batch) along each
//! axis, width]`, so that a part's array is a slice of the whole batch's. What lies behind an example's
//! end is not read and not written.

use super::{Layout, LayoutError};
use crate::plan::SpaceId;

impl Layout {
    /// Elements of one example's part of the padded array of a space.
    pub fn example_elements(&self, space: SpaceId, width: usize) -> Result<usize, LayoutError> {
        self.spaces[space]
            .space
            .axes
            .iter()
            .skip(1)
            .try_fold(width, |product, &axis| product.checked_mul(self.longest[axis]))
            .ok_or(LayoutError::TooLarge { what: "padded values" })
    }

    /// Elements of the padded array of a space: the part's examples, or one row where there is no batch.
    pub fn padded_elements(&self, space: SpaceId, width: usize) -> Result<usize, LayoutError> {
        match self.spaces[space].space.axes.is_empty() {
            true => Ok(width),
            false => self
                .example_elements(space, width)?
                .checked_mul(self.part.len())
                .ok_or(LayoutError::TooLarge { what: "padded values" }),
        }
    }

    /// Where each packed row lies in the padded array, in rows of `width`.
    fn padded_row(&self, space: SpaceId, row: usize) -> usize {
        let packed = &self.spaces[space];
        packed.space.axes.iter().zip(packed.coordinates(row)).fold(
            0,
            |index, (&axis, &position)| match axis {
                0 => position as usize,
                _ => index * self.longest[axis] + position as usize,
            },
        )
    }

    /// Copies a padded array into packed rows.
    pub fn pack<T: Copy>(
        &self,
        space: SpaceId,
        width: usize,
        padded: &[T],
        packed: &mut [T],
    ) -> Result<(), LayoutError> {
        self.check_sizes(space, width, padded.len(), packed.len())?;
        for (row, target) in packed.chunks_exact_mut(width.max(1)).enumerate() {
            let from = self.padded_row(space, row) * width;
            target.copy_from_slice(&padded[from..from + width]);
        }
        Ok(())
    }

    /// Copies packed rows into a padded array.
    pub fn unpack<T: Copy>(
        &self,
        space: SpaceId,
        width: usize,
        packed: &[T],
        padded: &mut [T],
    ) -> Result<(), LayoutError> {
        self.check_sizes(space, width, padded.len(), packed.len())?;
        for (row, source) in packed.chunks_exact(width.max(1)).enumerate() {
            let to = self.padded_row(space, row) * width;
            padded[to..to + width].copy_from_slice(source);
        }
        Ok(())
    }

    fn check_sizes(
        &self,
        space: SpaceId,
        width: usize,
        padded: usize,
        packed: usize,
    ) -> Result<(), LayoutError> {
        let wanted = self.padded_elements(space, width)?;
        if padded != wanted {
            return Err(LayoutError::Size { what: "the padded array", given: padded, expected: wanted });
        }
        let wanted = self.spaces[space].rows * width;
        if packed != wanted {
            return Err(LayoutError::Size { what: "the packed rows", given: packed, expected: wanted });
        }
        Ok(())
    }
}
