//! Differentiation: graph to graph, symbolic, closed under itself.
//!
//! `h[t] = tanh(W @ h[t-1] + …)` gives `dz[t] = (1 - h[t]^2) * dh[t]`, `dh[t] = … + W.T @ dz[t+1]` and
//! `dW = sum(outer(dz[t], h[t-1]) over t)`: nodes of the same graph, which can be printed, run and
//! differentiated again. `rules` is the table of local derivatives, `sweep` the one accumulation that
//! knows accesses and axes; `forward` has the other direction, [`jvp`]; `words` says the rules. Nothing is simplified here; that is
//! `opt`'s work.

mod forward;
mod rules;
mod sweep;
mod words;

use thiserror::Error;

use crate::ir::{Along, Binary, Graph, NodeId, Op, Operand, Origin, Output, OutputKind, Reduction};

pub use forward::{direction, jvp, tangents};
pub use sweep::adjoints;
pub use words::{rule, travel};

/// Why a program has no gradient.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum GradError {
    /// The program has no loss.
    #[error(
        "the model has no loss to differentiate: observe a value (`y ~ categorical(…)`) or write `loss name = …`"
    )]
    NoLoss,
    /// No parameter of this name.
    #[error("the model has no parameter `{0}`")]
    UnknownParameter(String),
    /// The loss depends on a parameter through something without a derivative.
    #[error(
        "`{name}` has no derivative, but the loss depends on a parameter through it: put it inside `stop(…)`"
    )]
    NoDerivative {
        /// The operation.
        name: String,
        /// The node.
        node: NodeId,
    },
    /// A rule made operands that do not fit: a fault of the compiler.
    #[error("internal: {0}")]
    Internal(String),
}

/// `graph` with the gradient of its total loss with respect to these parameters as further outputs.
/// A parameter that the loss does not depend on has the gradient zero.
///
/// If every loss is a mean over the same positions, the sweep starts at what is averaged and the
/// gradients are averaged in the end: the adjoints in between are those of one observation, as in a
/// textbook.
///
/// # Errors
/// If there is no loss, no such parameter, or an operation on the way has no derivative.
pub fn grad(graph: &Graph, wrt: &[String]) -> Result<Graph, GradError> {
    let losses = losses(graph)?;
    let common = common_mean(graph, &losses);
    differentiated(graph, wrt, &losses, common)
}

/// As [`grad`], but the sweep always starts at the losses themselves: one over the number of what is averaged
/// is a factor of every adjoint, and no gradient has to be divided in the end. This is what is compiled.
///
/// # Errors
/// As [`grad`].
pub fn grad_of_losses(graph: &Graph, wrt: &[String]) -> Result<Graph, GradError> {
    differentiated(graph, wrt, &losses(graph)?, None)
}

fn losses(graph: &Graph) -> Result<Vec<Operand>, GradError> {
    let losses: Vec<Operand> = graph.outputs_of(OutputKind::Loss).map(|output| output.value).collect();
    if losses.is_empty() { Err(GradError::NoLoss) } else { Ok(losses) }
}

/// What losses average, and over which axes, if it is the same for all of them.
type CommonMean = Option<(crate::ir::AxisSet, Vec<Operand>)>;

fn differentiated(
    graph: &Graph,
    wrt: &[String],
    losses: &[Operand],
    common: CommonMean,
) -> Result<Graph, GradError> {
    let mut result = graph.clone();
    let mut params = Vec::new();
    for name in wrt {
        if !graph.params.iter().any(|param| param.name == *name) {
            return Err(GradError::UnknownParameter(name.clone()));
        }
        let node =
            graph.ids().into_iter().find(|&node| matches!(graph.op(node), Op::Param(path) if path == name));
        params.push(node);
    }
    let origin = Origin::forward(crate::base::Span::NONE);
    let one = result.constant(1.0, &[], origin);
    let seeds: Vec<(Operand, Operand)> = match &common {
        Some((_, averaged)) => averaged.iter().map(|&value| (value, one.into())).collect(),
        None => losses.iter().map(|&loss| (loss, one.into())).collect(),
    };
    let known: Vec<NodeId> = params.iter().flatten().copied().collect();
    let found = adjoints(&mut result, &seeds, &known)?;
    for (name, param) in wrt.iter().zip(params) {
        let shape =
            graph.params.iter().find(|param| param.name == *name).map_or(&[][..], |param| &param.shape);
        let adjoint = param.and_then(|param| found.get(&param).copied());
        let value = match (adjoint, &common) {
            (None, _) => result.constant(0.0, shape, origin),
            (Some(sum), None) => sum,
            (Some(sum), Some((over, _))) => averaged(&mut result, sum, *over)?,
        };
        let kind = OutputKind::Gradient;
        result.outputs.push(Output { kind, name: name.clone(), value: value.into() });
    }
    sweep::christen(&mut result);
    Ok(result)
}

/// The program whose loss is half the squared norm of `graph`'s gradients: differentiating it gives
/// the Hessian times the gradient.
///
/// # Errors
/// If the graph has no gradients.
pub fn gradient_norm(graph: &Graph) -> Result<Graph, GradError> {
    let mut result = graph.clone();
    let gradients: Vec<(String, Operand)> =
        graph.outputs_of(OutputKind::Gradient).map(|output| (output.name.clone(), output.value)).collect();
    if gradients.is_empty() {
        return Err(GradError::NoLoss);
    }
    result.outputs.retain(|output| !matches!(output.kind, OutputKind::Loss | OutputKind::Gradient));
    let origin = Origin::forward(crate::base::Span::NONE);
    for (name, gradient) in gradients {
        let fail = |error: crate::ir::InferError| GradError::Internal(error.to_string());
        let half = result.constant(0.5, &[], origin);
        let mut value =
            result.apply(Op::Binary(Binary::Multiply), &[gradient, gradient], origin).map_err(fail)?;
        while !result.ty(value).shape.is_empty() {
            value = result
                .apply(Op::Reduce(Reduction::Sum, Along::Last), &[value.into()], origin)
                .map_err(fail)?;
        }
        let value =
            result.apply(Op::Binary(Binary::Multiply), &[half.into(), value.into()], origin).map_err(fail)?;
        result.outputs.push(Output {
            kind: OutputKind::Loss,
            name: format!("norm.{name}"),
            value: value.into(),
        });
    }
    Ok(result)
}

/// If every loss is the mean over the same axes, those axes and what is averaged.
fn common_mean(graph: &Graph, losses: &[Operand]) -> CommonMean {
    let mut axes = None;
    let mut averaged = Vec::new();
    for loss in losses {
        let Op::Reduce(Reduction::Mean, Along::Axes(over)) = graph.op(loss.node) else { return None };
        if axes.is_some_and(|known| known != *over) {
            return None;
        }
        axes = Some(*over);
        averaged.push(graph.operands(loss.node)[0]);
    }
    axes.map(|axes| (axes, averaged))
}

/// A sum over positions made a mean over all positions of `over`.
fn averaged(graph: &mut Graph, sum: NodeId, over: crate::ir::AxisSet) -> Result<NodeId, GradError> {
    let origin = graph.node(sum).origin;
    let is_plain_sum =
        matches!(graph.op(sum), Op::Reduce(Reduction::Sum, Along::Axes(axes)) if *axes == over);
    if is_plain_sum {
        graph.node_mut(sum).op = Op::Reduce(Reduction::Mean, Along::Axes(over));
        return Ok(sum);
    }
    let ty = crate::ir::ValueType::real(Vec::new(), crate::ir::AxisSet::NONE);
    let count = graph.leaf(Op::Count(over), ty, origin, None);
    graph
        .apply(Op::Binary(Binary::Divide), &[sum.into(), count.into()], origin)
        .map_err(|error| GradError::Internal(error.to_string()))
}
