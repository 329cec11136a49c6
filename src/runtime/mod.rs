//! What a compiled program needs while it runs: rows, memory, random numbers.

pub mod layout;
pub mod philox;
pub mod program;
