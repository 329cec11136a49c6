//! What runs, in which order, on which memory: the last form both backends read.
//!
//! A [`Plan`] is a list of regions over *rows*. Every position of an axis over a whole batch is one
//! row; the rows of a [`Space`] are packed in step order (all first steps, then all second steps of
//! the sequences that have one, longest first), so a step is a row range and no mask is needed. What
//! an equation reads elsewhere (`h[t-1]`, `h[last]`, the example's own row) is a [`RowMap`]: a table
//! of row numbers, -1 where there is nothing, which addresses the zero row in front of every buffer.
//!
//! [`plan()`] goes this way: `legalise` says everything in terms of what has a kernel, `views` finds what is
//! only read through, `regions` orders the work into loops and stretches between them, `groups` decides
//! what shares a kernel, `levels` and `editions` what of it is done at the leaves of trees and what above them,
//! `phases` what shares a loop over static dimensions, `memory` what needs memory
//! and how much, `assemble` writes it down in the language of `kernel`,
//! and `constants` marks what need not be done again, `sparse` what is zero but for a few rows, and `distinct`
//! what is the same for equal ids; `spread` makes room for backends that work on many rows at once.

mod assemble;
mod build;
mod constants;
mod coverage;
mod distinct;
mod editions;
mod groups;
mod joins;
pub mod kernel;
mod legalise;
mod levels;
pub mod math;
mod memory;
mod phases;
pub mod places;
mod print;
mod regions;
mod sparse;
mod spread;
pub mod verify;
mod views;

pub use build::{PlanError, plan};
pub use constants::{hold_constants, hold_few_constants};
pub use distinct::{WORTH_SHARING, share_lookups};
pub use kernel::*;
pub use print::{label, print};
pub use sparse::{keep_sparse, list_sparse};
pub use spread::spread_scratch;
