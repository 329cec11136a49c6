//! Native code by Cranelift: one function a kernel, one entry point a plan.
//!
//! ```text
//! Plan ── rows, gemm, outer, combine, scatter, random ─▶ kernel functions ─┐
//!      └─ entry ─▶ the function that calls them ───────────────────────────┴─▶ jit | object
//! ```
//!
//! The emitters write into any Cranelift module, so that code in memory and in an object file differ
//! only in how they are finished; a [`target::Target`] says for which processors. A kernel function is
//! `f(context, begin, end, step, from, to)`: rows `begin..end` of its space, in step `step` of the running
//! loop, columns `from..to` where several workers divide them. The context is an array of 8-byte
//! slots ([`context::Slots`]); generated code allocates nothing and calls nothing outside the module.
//!
//! Products and sums of outer products call *tiles*, whose sizes `tiling` knows. Tiles and row kernels exist
//! twice: by Cranelift for every target, and in [`wide`] for AVX2 and AVX-512. How several workers divide a
//! kernel among them is said in `share` and done by `entry`.

pub mod clock;
pub mod code;
pub mod context;
pub mod emit;
pub mod header;
pub mod jit;
pub mod listing;
pub mod object;
pub mod peak;
pub mod target;

mod address;
mod combine;
mod entry;
mod gemm;
mod meetings;
mod outer;
mod pack;
mod point;
mod random;
mod rows;
mod scatter;
mod share;
mod tile;
mod tiling;
mod transpose;
mod unpacked;
pub mod wide;

pub use emit::{EmitError, Emitted, emit};
pub use outer::done_together;
pub use target::Target;
