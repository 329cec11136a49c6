//! `rnnc`: a compiler for recurrent and recursive networks.

pub mod base;
pub mod check;
pub mod eval;
pub mod ir;
#[path = "std/mod.rs"]
pub mod library;
pub mod plan;
pub mod syntax;
