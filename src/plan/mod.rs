//! What runs, in which order, on which memory: the last form both backends read.
//!
//! A [`Plan`] is a list of regions over *rows*. Every position of an axis over a whole batch is one
//! row; the rows of a [`Space`] are packed in step order (all first steps, then all second steps of
//! the sequences that have one, longest first), so a step is a row range and no mask is needed. What
//! an equation reads elsewhere (`h[t-1]`, `h[last]`, the example's own row) is a [`RowMap`]: a table
//! of row numbers, -1 where there is nothing, which addresses the zero row in front of every buffer.

pub mod kernel;
pub mod math;
pub mod places;
pub mod verify;

pub use kernel::*;
