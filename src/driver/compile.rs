//! From a graph to code: passes, plan, native code.

use std::sync::Arc;

use thiserror::Error;

use crate::ir::{Graph, OutputKind};
use crate::runtime::program::{Program, ProgramError, Real};

/// Why a graph became no program.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The planner is not there yet.
    #[error("`{0}` cannot be planned yet")]
    Missing(String),
    /// The plan became no code.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// Optimises and plans the outputs of these kinds and compiles them.
///
/// # Errors
/// The graph cannot be planned or compiled.
pub fn program<R: Real>(
    graph: &Graph,
    kinds: &[OutputKind],
    name: &str,
) -> Result<Arc<Program<R>>, CompileError> {
    let _ = (graph, kinds);
    Err(CompileError::Missing(name.to_string()))
}
