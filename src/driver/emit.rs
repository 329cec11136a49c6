//! What a stage makes of a model, as text.
//!
//! ```
//! use rnnc::driver::{emit::{Stage, emit}, session::Model};
//! let model = Model::new("m.rnn", "model M() { input x: [] over t  param w: []  loss l = w * x }");
//! assert!(emit(&model, Stage::Graph, None)?.contains("loss l = w * x"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! From `opt` on it is the program of training: losses and the gradients of what is trained. A model
//! without a loss is shown with its values instead.

use thiserror::Error;

use super::compile::{CompileError, optimise, optimised, planned};
use super::session::{Model, SessionError};
pub use crate::backend::native::Target;
use crate::backend::native::emit::EmitError as CodeError;
use crate::backend::native::listing::{self, Function};
use crate::backend::opencl;
use crate::check::Mode;
use crate::grad::{GradError, grad, grad_of_losses};
use crate::ir::{self, AxisKind, Graph, OriginKind, OutputKind, ScheduleError, Tree, listing};
use crate::opt::TIDY;
use crate::plan::{self, Precision};
use crate::syntax::parse;

/// A stage of the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The syntax tree.
    Ast,
    /// The checked equations.
    Graph,
    /// With their derivatives, tidied.
    Grad,
    /// As they are compiled.
    Opt,
    /// Regions, kernels and buffers.
    Plan,
    /// Cranelift's intermediate code for a target.
    Clif(Target),
    /// The machine code for a target.
    Asm(Target),
    /// The source of the OpenCL kernels.
    OpenCl,
    /// The checked equations as a picture for Graphviz.
    Dot,
}

/// Why a stage has nothing to show.
#[derive(Debug, Error)]
pub enum EmitError {
    /// The model.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The gradient.
    #[error(transparent)]
    Grad(#[from] GradError),
    /// The compiler.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The code.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The source for OpenCL.
    #[error(transparent)]
    OpenCl(#[from] opencl::EmitError),
    /// Unrolling.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

/// The text of a stage; `unroll` turns every axis of `graph` and `dot` into so many copies, a tree into a
/// complete binary one of so many nodes.
///
/// # Errors
/// The model is wrong or does not come as far as this stage.
pub fn emit(model: &Model, stage: Stage, unroll: Option<usize>) -> Result<String, EmitError> {
    if stage == Stage::Ast {
        let file = parse(&model.source).map_err(|diagnostics| model.mistakes(diagnostics))?;
        return Ok(format!("{file:#?}\n"));
    }
    let graph = model.check(Mode::Train)?.graph;
    let name = format!("{}_train", graph.name);
    Ok(match stage {
        Stage::Ast => String::new(),
        Stage::Graph => ir::print(&unrolled(graph, unroll)?),
        Stage::Dot => ir::dot(&unrolled(graph, unroll)?),
        Stage::Grad => ir::print(&gradient(&graph, None)?),
        Stage::Opt => {
            let (graph, kinds) = trained(&graph)?;
            ir::print(&optimised(&graph, kinds)?)
        }
        Stage::Plan => {
            let (graph, kinds) = trained(&graph)?;
            plan::print(&planned(&graph, kinds, &name)?)
        }
        Stage::Clif(target) => functions(&graph, &name, target)?.iter().map(Function::intermediate).collect(),
        Stage::Asm(target) => functions(&graph, &name, target)?.iter().map(Function::assembly).collect(),
        Stage::OpenCl => {
            let (graph, kinds) = trained(&graph)?;
            opencl::emit(&planned(&graph, kinds, &name)?, Precision::F32)?.source
        }
    })
}

/// The program of training, compiled.
fn functions(graph: &Graph, name: &str, target: Target) -> Result<Vec<Function>, EmitError> {
    let (graph, kinds) = trained(graph)?;
    Ok(listing::functions(&planned(&graph, kinds, name)?, Precision::F32, target)?)
}

fn unrolled(mut graph: Graph, steps: Option<usize>) -> Result<Graph, ScheduleError> {
    let Some(steps) = steps else { return Ok(graph) };
    let names: Vec<String> = graph.axes.iter().skip(1).map(|axis| axis.name.clone()).collect();
    for name in names {
        let Some(axis) = graph.find_axis(&name) else { continue };
        graph = match graph.axis_kind(axis) {
            AxisKind::Tree => ir::unroll_tree(&graph, axis, &complete(steps))?,
            // These go with their tree.
            AxisKind::Children(_) | AxisKind::Leaves(_) => continue,
            AxisKind::Batch | AxisKind::Time => ir::unroll(&graph, axis, steps)?,
        };
    }
    Ok(graph)
}

/// The tree of so many nodes, each with two children while they last, level by level.
fn complete(nodes: usize) -> Tree {
    let parent =
        |node: usize| node.checked_sub(1).and_then(|above| i64::try_from(above / 2).ok()).unwrap_or(-1);
    Tree::new(&(0..nodes).map(parent).collect::<Vec<i64>>()).unwrap_or_default()
}

/// The program of training and its outputs.
fn trained(graph: &Graph) -> Result<(Graph, &'static [OutputKind]), GradError> {
    if graph.outputs_of(OutputKind::Loss).next().is_none() {
        return Ok((graph.clone(), &[OutputKind::Value]));
    }
    let trainable = graph.params.iter().filter(|param| param.trainable);
    let names: Vec<String> = trainable.map(|param| param.name.clone()).collect();
    Ok((grad_of_losses(graph, &names)?, &[OutputKind::Loss, OutputKind::Gradient]))
}

/// The tidied program of the gradients of all parameters or of one, and of nothing else.
///
/// # Errors
/// There is no loss, no such parameter, or no derivative.
pub fn gradient(graph: &Graph, wrt: Option<&str>) -> Result<Graph, EmitError> {
    let names: Vec<String> = match wrt {
        Some(name) => vec![name.to_string()],
        None => graph.params.iter().map(|param| param.name.clone()).collect(),
    };
    let mut gradient = grad(graph, &names)?;
    gradient.outputs.retain(|output| matches!(output.kind, OutputKind::Gradient));
    optimise(&mut gradient, TIDY)?;
    Ok(gradient)
}

/// The adjoint equations of a model as a textbook has them; with `program` the whole program, which
/// parses back.
///
/// # Errors
/// As [`gradient`].
pub fn print_gradient(model: &Model, wrt: Option<&str>, program: bool) -> Result<String, EmitError> {
    let graph = gradient(&model.check(Mode::Train)?.graph, wrt)?;
    if program {
        return Ok(ir::print(&graph));
    }
    let listing = listing(&graph);
    let derived: Vec<(&str, &str)> = listing
        .equations
        .iter()
        .filter(|(node, _)| matches!(graph.node(*node).origin.kind, OriginKind::Adjoint(_)))
        .filter_map(|(_, equation)| equation.split_once(" = "))
        .collect();
    let width = derived.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
    Ok(derived.iter().map(|(left, right)| format!("{left:width$} = {right}\n")).collect())
}
