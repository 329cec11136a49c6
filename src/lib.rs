//! `rnnc`: a compiler for recurrent and recursive networks.

pub mod base;
pub mod check;
pub mod ir;
pub mod plan;
pub mod syntax;
