//! `rnnc`: a compiler for recurrent and recursive networks.

pub mod base;
pub mod eval;
pub mod ir;
pub mod plan;
pub mod syntax;
#[doc(hidden)]
pub mod testing;
