//! Text to tree and back: the pest grammar's output as an AST, and the formatter.
//!
//! [`parse()`] reads a file, [`parse_expression`] and [`parse_statement`] a piece of one;
//! [`format()`] lays a file out, [`expression`] prints one expression. Everyone above this layer may
//! call these; only this folder sees pest's types.

pub mod ast;
mod format;
#[cfg(test)]
mod fuzz;
pub mod limits;
mod parse;
mod scan;

pub use format::{expression, format};
pub use parse::{parse, parse_expression, parse_statement};
