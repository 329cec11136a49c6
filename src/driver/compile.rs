//! Graph to callable program: choose outputs, optimise, plan, compile.

use std::sync::Arc;

use thiserror::Error;

use crate::ir::{Graph, OutputKind, verify};
use crate::opt::{self, Pass};
use crate::plan::{self, PlanError};
use crate::runtime::program::{Program, ProgramError, Real};

/// Why a graph became no program.
#[derive(Debug, Error)]
pub enum CompileError {
    /// A pass broke an invariant: a fault of the compiler.
    #[error("internal: the pass `{pass}` left a wrong graph: {complaints}")]
    Pass {
        /// The pass.
        pass: &'static str,
        /// What the verifier says.
        complaints: String,
    },
    /// It has no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// It has no code.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// Runs a pipeline; in debug builds the graph is verified after each pass.
///
/// # Errors
/// If a pass leaves a wrong graph.
pub fn optimise(graph: &mut Graph, pipeline: &[Pass]) -> Result<(), CompileError> {
    for pass in pipeline {
        (pass.run)(graph);
        if cfg!(debug_assertions) {
            let complaints = verify(graph);
            if !complaints.is_empty() {
                return Err(CompileError::Pass { pass: pass.name, complaints: complaints.join("; ") });
            }
        }
    }
    Ok(())
}

/// The optimised graph that computes the outputs of these kinds.
///
/// # Errors
/// If a pass leaves a wrong graph.
pub fn optimised(graph: &Graph, kinds: &[OutputKind]) -> Result<Graph, CompileError> {
    let mut wanted = graph.clone();
    wanted.outputs.retain(|output| kinds.contains(&output.kind));
    optimise(&mut wanted, opt::COMPILE)?;
    Ok(wanted)
}

/// Optimises and plans the outputs of these kinds.
///
/// # Errors
/// If the graph has no plan.
pub fn planned(graph: &Graph, kinds: &[OutputKind], name: &str) -> Result<plan::Plan, CompileError> {
    Ok(plan::plan(&optimised(graph, kinds)?, name)?)
}

/// Optimises and plans the outputs of these kinds and compiles them.
///
/// # Errors
/// If the graph has no plan or the plan no code.
pub fn program<R: Real>(
    graph: &Graph,
    kinds: &[OutputKind],
    name: &str,
) -> Result<Arc<Program<R>>, CompileError> {
    Ok(Arc::new(Program::new(planned(graph, kinds, name)?)?))
}
