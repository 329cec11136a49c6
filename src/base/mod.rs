//! What every stage shares: source spans, the one [`Diagnostic`] and its one renderer, and the random
//! numbers ([`philox`]) that every backend must draw alike.
//!
//! This is the lowest layer: it imports nothing else of the crate. Stages return diagnostics as
//! values; only the command line and the REPL print them.

mod diagnostic;
pub mod philox;
mod render;
mod span;

pub use diagnostic::{Diagnostic, Label, Severity};
pub use render::render;
pub use span::Span;
