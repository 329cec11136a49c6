//! What a model draws, as programs: values that need nothing of each other at once, others step by step.
//!
//! ```text
//! label ~ …(h[last]), tags ~ …(h)         one program, all at once
//! target[t] ~ …(f(target[t-1], memory))   a decoder
//! ```
//!
//! A value over an axis on which nothing is given is drawn step by step, too: only drawing says how long it is.

use std::sync::Arc;

use rayon::ThreadPool;

use super::PredictError;
use super::drawn::Drawn;
use super::program::Program;
use super::steps::Decoder;
use crate::base::Diagnostic;
use crate::driver::compile::Pipeline;
use crate::driver::session::Model;
use crate::ir::{AxisId, AxisKind, BATCH, Graph, OutputKind, ValueType};
use crate::opt::{self, Draws, axis_of_steps, distribution};
use crate::runtime::parameters::Parameters;

/// A value that is shown.
pub struct Showing {
    /// Its name.
    pub name: String,
    /// The axes along which there is one.
    pub axes: Vec<String>,
    /// The shape at a position.
    pub shape: Vec<usize>,
    /// What computes it.
    pub program: Program,
}

/// What is drawn together.
pub enum Stage {
    /// Values by their places among all, and the program of their distributions.
    AtOnce(Vec<usize>, Box<Program>),
    /// The values, their decoder, and whether something given says how many positions there are.
    InSteps(Vec<usize>, Box<Decoder>, bool),
}

/// What programs of a prediction are made of.
pub struct Builder<'a> {
    /// The model, for its mistakes.
    pub model: &'a Model,
    /// It with inputs in the place of what is drawn.
    pub open: &'a Graph,
    /// What is drawn.
    pub drawn: &'a [Drawn],
    /// Its parameters.
    pub parameters: Arc<Parameters>,
    /// Threads.
    pub pool: Arc<ThreadPool>,
    /// The compiler.
    pub pipeline: Pipeline,
}

impl Builder<'_> {
    /// The stages of all that is drawn, each after what it reads, and what computes the value that is shown.
    ///
    /// # Errors
    /// Something cannot be drawn, or a program cannot be compiled.
    pub fn build(
        mut self,
        names: &[&str],
        show: Option<&str>,
    ) -> Result<(Vec<Stage>, Option<Showing>), PredictError> {
        let mut stages = Vec::new();
        let mut done: Vec<usize> = Vec::new();
        for draws in opt::order(self.open, names) {
            let (Draws::AtOnce(own) | Draws::InSteps(own)) = &draws;
            let (mut together, mut steps) = (Vec::new(), Vec::new());
            match draws {
                Draws::InSteps(ref own) => steps.push(own.clone()),
                // What nothing given tells the length of comes step by step, too.
                Draws::AtOnce(ref own) => {
                    for &at in own {
                        match self.unknown_axis(at, &done) {
                            true => steps.push(vec![at]),
                            false => together.push(at),
                        }
                    }
                }
            }
            if !together.is_empty() {
                stages.push(self.at_once(together)?);
            }
            for own in steps {
                stages.push(self.in_steps(own, &done)?);
            }
            done.extend(own);
        }
        let shown = match show.and_then(|name| Some((name, self.open.output(OutputKind::Value, name)?))) {
            Some((name, value)) => Some(self.shown(name, &self.open.type_at(value))?),
            None => None,
        };
        Ok((stages, shown))
    }

    fn names(&self, own: &[usize]) -> Vec<&str> {
        own.iter().map(|&at| self.drawn[at].name.as_str()).collect()
    }

    /// Whether something other than these values, given or drawn before, lies along an axis.
    fn is_known(&self, axis: AxisId, own: &[usize], done: &[usize]) -> bool {
        self.open.inputs.iter().filter(|input| input.ty.axes.contains(axis)).any(|input| {
            let drawn = self.drawn.iter().position(|drawn| drawn.name == input.name);
            drawn.is_none_or(|at| done.contains(&at) && !own.contains(&at))
        })
    }

    /// Whether nothing says how many positions a value has.
    fn unknown_axis(&self, at: usize, done: &[usize]) -> bool {
        let axes = self.drawn[at].axes.iter().filter_map(|name| self.open.find_axis(name));
        let mut sequences = axes.filter(|&axis| self.open.axis_kind(axis) == AxisKind::Time);
        sequences.any(|axis| !self.is_known(axis, &[at], done))
    }

    fn at_once(&mut self, own: Vec<usize>) -> Result<Stage, PredictError> {
        let names = self.names(&own);
        let mut graph = self.open.clone();
        graph.outputs.retain(|output| names.iter().any(|name| output.name == distribution(name)));
        opt::clean(&mut graph);
        let program = Program::new(&mut self.pipeline, &graph, "predict", &self.parameters, &self.pool)?;
        Ok(Stage::AtOnce(own, Box::new(program)))
    }

    fn shown(&mut self, name: &str, ty: &ValueType) -> Result<Showing, PredictError> {
        let mut graph = self.open.clone();
        graph.outputs.retain(|output| output.name == name);
        opt::clean(&mut graph);
        let program = Program::new(&mut self.pipeline, &graph, "show", &self.parameters, &self.pool)?;
        let axes = ty.axes.without(BATCH).iter().map(|axis| graph.axis_name(axis).to_string());
        Ok(Showing { name: name.to_string(), axes: axes.collect(), shape: ty.shape.clone(), program })
    }

    fn in_steps(&mut self, own: Vec<usize>, done: &[usize]) -> Result<Stage, PredictError> {
        let names = self.names(&own);
        let first = names[0].to_string();
        let Some(axis) = axis_of_steps(self.open, &names) else {
            let reason = "what is drawn step by step is so along one axis, and it has others";
            return Err(undrawable(self.open, &first, reason.to_string()));
        };
        let is_known = self.is_known(axis, &own, done);
        let parts = opt::stepwise(self.open, &names, axis, is_known).map_err(|unstepped| {
            let message = format!("`{first}` cannot be drawn step by step: {}", unstepped.reason);
            let cure = "what a model draws may read what was drawn before, and nothing later";
            let wrong = Diagnostic::error("no-steps", unstepped.origin.span, message).help(cure);
            PredictError::Session(self.model.mistakes(vec![wrong]))
        })?;
        let drawn = own.iter().map(|&at| self.drawn[at].clone()).collect();
        let decoder = Decoder::new(&mut self.pipeline, &parts, drawn, axis, &self.parameters, &self.pool)?;
        Ok(Stage::InSteps(own, Box::new(decoder), is_known))
    }
}

/// A value that cannot be drawn.
pub fn undrawable(graph: &Graph, name: &str, reason: String) -> PredictError {
    PredictError::Undrawable { model: graph.name.clone(), name: name.to_string(), reason }
}
