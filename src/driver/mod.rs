//! The stages as functions over data: what the command line, the REPL and the tests all call.

mod front;

pub use front::front;
