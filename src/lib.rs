//! `rnnc`: a compiler for recurrent and recursive networks.

pub mod backend;
pub mod base;
pub mod check;
pub mod cli;
pub mod driver;
pub mod eval;
pub mod grad;
pub mod ir;
#[path = "std/mod.rs"]
pub mod library;
pub mod opt;
pub mod plan;
pub mod runtime;
pub mod syntax;
#[doc(hidden)]
pub mod testing;
