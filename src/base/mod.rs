//! What every stage shares: source spans, the one [`Diagnostic`] and its one renderer, the random
//! numbers ([`philox`]) that every backend must draw alike, and the shapes of trees.
//!
//! This is the lowest layer: it imports nothing else of the crate. Stages return diagnostics as
//! values; only the command line and the REPL print them.

mod diagnostic;
pub mod philox;
mod render;
mod span;
mod tree;

pub use diagnostic::{Diagnostic, Label, Severity};
pub use render::render;
pub use span::Span;
pub use tree::{Tree, TreeError};
