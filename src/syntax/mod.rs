//! Text to tree and back: the pest grammar's output as an AST, and the formatter.

pub mod ast;
