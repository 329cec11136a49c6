//! The stages as functions over data: what the command line, the REPL and the tests all call.

mod compile;
mod front;

pub use compile::{CompileError, optimise, optimised, planned, program};
pub use front::front;
