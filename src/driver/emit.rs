//! What a stage makes of a model, as text.
//!
//! ```
//! use rnnc::driver::{emit::{Stage, Unroll, emit}, session::Model};
//! let model = Model::new("m.rnn", "model M() { input x: [] over t  param w: []  loss l = w * x }");
//! assert!(emit(&model, Stage::Graph, Unroll::default())?.contains("loss l = w * x"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! From `opt` on it is the program of training: losses and the gradients of what is trained. A model
//! without a loss is shown with its values instead.

use std::collections::HashMap;

use thiserror::Error;

use super::compile::{CompileError, optimise, optimised, planned};
use super::example::complete;
use super::session::{Model, SessionError};
use super::treebank::Problem;
pub use crate::backend::native::Target;
use crate::backend::native::emit::EmitError as CodeError;
use crate::backend::native::listing::{self, Function};
use crate::backend::opencl;
use crate::check::Mode;
use crate::grad::{GradError, grad, grad_of_losses};
use crate::ir::{
    self, AxisId, AxisKind, Graph, NodeId, OriginKind, OutputKind, ScheduleError, Tree, listing,
};
use crate::opt::{COMPILE, Pass, TIDY};
use crate::plan::{self, Plan, Precision};
use crate::runtime::treebank::{self, Fault, Place};
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
    /// The tree to unroll on.
    #[error("the tree of --tree:{0}")]
    Tree(#[from] Fault),
    /// A tree that the model cannot be unrolled on.
    #[error("{0}")]
    Unfit(String),
}

/// What becomes of the axes of `graph` and `dot`: nothing if nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unroll<'a> {
    /// So many copies along every sequence, and a complete binary tree of so many nodes.
    pub steps: Option<usize>,
    /// A tree as in a treebank, in the place of that.
    pub tree: Option<&'a str>,
}

/// The text of a stage.
///
/// # Errors
/// The model is wrong or does not come as far as this stage, or the tree is none or not the model's.
pub fn emit(model: &Model, stage: Stage, unroll: Unroll) -> Result<String, EmitError> {
    if stage == Stage::Ast {
        let file = parse(&model.source).map_err(|diagnostics| model.mistakes(diagnostics))?;
        return Ok(format!("{file:#?}\n"));
    }
    let graph = model.check(Mode::Train)?.graph;
    Ok(match stage {
        Stage::Ast => String::new(),
        Stage::Graph => ir::print(&unrolled(graph, unroll)?.graph),
        Stage::Dot => {
            let Unrolled { graph, node_of, label_of } = unrolled(graph, unroll)?;
            let label = |node: usize| label_of.get(node).cloned().unwrap_or_else(|| format!("node {node}"));
            ir::dot_in_groups(&graph, node_of, label)
        }
        Stage::Grad | Stage::Opt => ir::print(&staged(&graph, stage)?),
        Stage::Plan => plan::print(&plan_of(&graph)?),
        Stage::Clif(_) | Stage::Asm(_) | Stage::OpenCl => code(&graph, stage)?,
    })
}

/// The graph that a stage makes of a checked one; what stages have no graph of their own leave it as it is.
///
/// # Errors
/// The model does not come as far as this stage.
pub fn staged(checked: &Graph, stage: Stage) -> Result<Graph, EmitError> {
    match stage {
        Stage::Grad => gradient(checked, None),
        Stage::Opt => {
            let (graph, kinds) = trained(checked)?;
            Ok(optimised(&graph, kinds)?)
        }
        _ => Ok(checked.clone()),
    }
}

/// The plan of the program of training.
///
/// # Errors
/// The model has no derivative or no plan.
pub fn plan_of(checked: &Graph) -> Result<Plan, EmitError> {
    let (graph, kinds) = trained(checked)?;
    Ok(planned(&graph, kinds, &format!("{}_train", checked.name))?)
}

/// The code of the program of training: Cranelift's for `Clif`, the machine's for `Asm`, kernels for `OpenCl`;
/// no other stage has any.
///
/// # Errors
/// The model has no derivative or no code for the target.
pub fn code(checked: &Graph, stage: Stage) -> Result<String, EmitError> {
    let name = format!("{}_train", checked.name);
    let text = match stage {
        Stage::Clif(target) => {
            functions(checked, &name, target)?.iter().map(Function::intermediate).collect()
        }
        Stage::Asm(target) => functions(checked, &name, target)?.iter().map(Function::assembly).collect(),
        Stage::OpenCl => opencl::emit(&plan_of(checked)?, Precision::F32)?.source,
        _ => String::new(),
    };
    Ok(text)
}

/// Shows `each` the program of training before the first pass and after each.
///
/// # Errors
/// The model has no derivative, or a pass leaves a wrong graph.
pub fn passes(checked: &Graph, mut each: impl FnMut(Option<&Pass>, &Graph)) -> Result<(), EmitError> {
    let (mut graph, kinds) = trained(checked)?;
    graph.outputs.retain(|output| kinds.contains(&output.kind));
    each(None, &graph);
    for pass in COMPILE {
        optimise(&mut graph, std::slice::from_ref(pass))?;
        each(Some(pass), &graph);
    }
    Ok(())
}

/// The program of training, compiled.
fn functions(graph: &Graph, name: &str, target: Target) -> Result<Vec<Function>, EmitError> {
    let (graph, kinds) = trained(graph)?;
    Ok(listing::functions(&planned(&graph, kinds, name)?, Precision::F32, target)?)
}

/// A graph with copies in the place of axes.
struct Unrolled {
    graph: Graph,
    /// The node of the tree that each copy belongs to.
    node_of: HashMap<NodeId, usize>,
    /// By node of the tree that was given: what stands there.
    label_of: Vec<String>,
}

fn unrolled(graph: Graph, unroll: Unroll) -> Result<Unrolled, EmitError> {
    let mut unrolled = Unrolled { graph, node_of: HashMap::new(), label_of: Vec::new() };
    let given = unroll.tree.map(|text| one_tree(&unrolled.graph, text)).transpose()?;
    // The trees last: what unrolls behind them has other nodes.
    let trees = |graph: &Graph, name: &str| {
        graph.axes.iter().any(|axis| axis.name == *name && axis.kind == AxisKind::Tree)
    };
    let mut names: Vec<String> = unrolled.graph.axes.iter().skip(1).map(|axis| axis.name.clone()).collect();
    names.sort_by_key(|name| trees(&unrolled.graph, name));
    for name in names {
        let Some(axis) = unrolled.graph.find_axis(&name) else { continue };
        match (unrolled.graph.axis_kind(axis), unroll.steps, &given) {
            (AxisKind::Tree, _, Some((tree, labels))) => {
                (unrolled.graph, unrolled.node_of) = ir::unroll_tree_by_node(&unrolled.graph, axis, tree)?;
                unrolled.label_of.clone_from(labels);
            }
            (AxisKind::Tree, Some(nodes), None) => {
                (unrolled.graph, unrolled.node_of) =
                    ir::unroll_tree_by_node(&unrolled.graph, axis, &complete(nodes))?;
            }
            (AxisKind::Time, Some(steps), _) => unrolled.graph = ir::unroll(&unrolled.graph, axis, steps)?,
            // Children and leaves go with their tree.
            (AxisKind::Children(_) | AxisKind::Leaves(_) | AxisKind::Batch, ..) => {}
            (AxisKind::Tree | AxisKind::Time, None, _) => {}
        }
    }
    Ok(unrolled)
}

/// Every axis of a graph turned into so many copies, a tree into a complete binary one of so many nodes.
///
/// # Errors
/// The graph has no schedule.
pub fn copies(graph: Graph, steps: usize) -> Result<Graph, EmitError> {
    Ok(unrolled(graph, Unroll { steps: Some(steps), ..Unroll::default() })?.graph)
}

/// The tree of a text, which all trees of the graph can take, and what stands at each node.
fn one_tree(graph: &Graph, text: &str) -> Result<(Tree, Vec<String>), EmitError> {
    let parses = treebank::parse(text)?;
    let [parse] = &parses[..] else {
        return Err(EmitError::Unfit(format!("one tree is drawn, these are {}", parses.len())));
    };
    let axes = (0..).zip(&graph.axes).filter(|(_, axis)| axis.kind == AxisKind::Tree);
    let axes: Vec<AxisId> = axes.map(|(number, _)| AxisId(number)).collect();
    if axes.is_empty() {
        return Err(EmitError::Unfit(format!("model `{}` has no tree to unroll", graph.name)));
    }
    for axis in axes {
        let limit = ir::most_children(graph, axis)?.map_or(usize::MAX, |limit| limit as usize);
        let crowded = (0..parse.tree.len()).find(|&node| parse.tree.arity(node) > limit);
        if let Some(node) = crowded {
            let place = Place::of(text, parse.nodes[node].at);
            let problem = Problem::Children { given: parse.tree.arity(node), most: limit };
            let (line, column) = (place.line, place.column);
            return Err(EmitError::Unfit(format!("the tree of --tree:{line}:{column}: {problem}")));
        }
    }
    let label = |(number, node): (usize, &treebank::Node)| {
        let tokens = [node.label, node.word].into_iter().flatten().map(|token| token.text);
        std::iter::once(format!("node {number}"))
            .chain(tokens.map(str::to_string))
            .collect::<Vec<_>>()
            .join(" ")
    };
    Ok((parse.tree.clone(), parse.nodes.iter().enumerate().map(label).collect()))
}

/// The program of training and its outputs.
pub(super) fn trained(graph: &Graph) -> Result<(Graph, &'static [OutputKind]), GradError> {
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
    Ok(adjoint_equations(&graph))
}

/// The equations of the adjoints of a gradient's graph, their right sides below each other.
pub fn adjoint_equations(graph: &Graph) -> String {
    let listing = listing(graph);
    let derived: Vec<(&str, &str)> = listing
        .equations
        .iter()
        .filter(|(node, _)| matches!(graph.node(*node).origin.kind, OriginKind::Adjoint(_)))
        .filter_map(|(_, equation)| equation.split_once(" = "))
        .collect();
    let width = derived.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
    derived.iter().map(|(left, right)| format!("{left:width$} = {right}\n")).collect()
}
