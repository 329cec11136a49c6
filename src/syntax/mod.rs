//! Text to tree and back: the pest grammar's output as an AST, and the formatter.
//!
//! [`parse()`] reads a file, [`parse_expression`] and [`parse_statement`] a piece of one. Everyone
//! above this layer may call these; only this folder sees pest's types.

pub mod ast;
pub mod limits;
mod parse;
mod scan;

pub use parse::{parse, parse_expression, parse_statement};
