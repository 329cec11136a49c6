//! `rnnc`: a compiler for recurrent and recursive networks.

pub mod backend;
pub mod base;
pub mod ir;
pub mod plan;
pub mod runtime;
pub mod syntax;
