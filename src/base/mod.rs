//! What every stage shares: source spans, the one [`Diagnostic`] and its one renderer.
//!
//! This is the lowest layer: it imports nothing else of the crate. Stages return diagnostics as
//! values; only the command line and the REPL print them.

mod diagnostic;
mod render;
mod span;

pub use diagnostic::{Diagnostic, Label, Severity};
pub use render::render;
pub use span::Span;
