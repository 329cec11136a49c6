//! Text to graph, graph to callable program: check, differentiate, choose outputs, optimise, plan, compile.
//!
//! A [`Pipeline`] does the stages and knows how long each took; the functions beside it are for callers
//! that do not want to know.

use std::sync::Arc;

use rayon::ThreadPool;
use thiserror::Error;

use super::batch::Batch;
use super::front::front_timed;
use super::machine::Machine;
use super::session::{Model, SessionError};
use super::timings::Timings;
use crate::backend::native::Target;
use crate::check::{Checked, Mode, Request};
use crate::grad::{GradError, grad_of_losses};
use crate::ir::{Graph, OutputKind, verify};
use crate::opt::{self, Pass};
use crate::plan::{self, PlanError};
use crate::runtime::opencl;
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

/// The stages of the compiler, each timed.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Time by stage; a pass is a stage `pass NAME`.
    pub timings: Timings,
    /// Whether programs get a clock that is read after every kernel.
    pub profiled: bool,
    /// The processors that programs are for.
    pub target: Target,
    /// What batches run on.
    pub machine: Machine,
}

impl Pipeline {
    /// Parses and checks the chosen model.
    ///
    /// # Errors
    /// All mistakes of the text, with it.
    pub fn check(&mut self, model: &Model, mode: Mode) -> Result<Checked, SessionError> {
        let request = Request { model: model.choice.as_deref(), set: &model.set, mode, everything: false };
        front_timed(&model.source, &request, &mut self.timings)
            .map_err(|diagnostics| model.mistakes(diagnostics))
    }

    /// The graph with the gradients of what is trained.
    ///
    /// # Errors
    /// There is no loss, or no derivative.
    pub fn trained(&mut self, graph: &Graph) -> Result<Graph, GradError> {
        let trainable = graph.params.iter().filter(|param| param.trainable);
        let names: Vec<String> = trainable.map(|param| param.name.clone()).collect();
        self.timings.time("gradient", || grad_of_losses(graph, &names))
    }

    /// Runs passes; in debug builds the graph is verified after each.
    ///
    /// # Errors
    /// If a pass leaves a wrong graph.
    pub fn optimise(&mut self, graph: &mut Graph, passes: &[Pass]) -> Result<(), CompileError> {
        for pass in passes {
            self.timings.time(&format!("pass {}", pass.name), || (pass.run)(graph));
            if cfg!(debug_assertions) {
                let complaints = self.timings.time("verify", || verify(graph));
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
    pub fn optimised(&mut self, graph: &Graph, kinds: &[OutputKind]) -> Result<Graph, CompileError> {
        let mut wanted = graph.clone();
        wanted.outputs.retain(|output| kinds.contains(&output.kind));
        self.optimise(&mut wanted, opt::COMPILE)?;
        Ok(wanted)
    }

    /// Optimises and plans the outputs of these kinds.
    ///
    /// # Errors
    /// If the graph has no plan.
    pub fn planned(
        &mut self,
        graph: &Graph,
        kinds: &[OutputKind],
        name: &str,
    ) -> Result<plan::Plan, CompileError> {
        let graph = self.optimised(graph, kinds)?;
        Ok(self.timings.time("plan", || plan::plan(&graph, name))?)
    }

    /// A plan that is run many times: what depends on parameters alone is done once, unless they change with
    /// every run, as in training.
    fn held(&mut self, graph: &Graph, kinds: &[OutputKind], name: &str) -> Result<plan::Plan, CompileError> {
        let mut plan = self.planned(graph, kinds, name)?;
        if !kinds.contains(&OutputKind::Gradient) {
            plan::hold_constants(&mut plan);
        }
        Ok(plan)
    }

    /// As [`Pipeline::program`], for runs whose sparse outputs (see [`plan::keep_sparse`]) are added up.
    ///
    /// # Errors
    /// As there.
    pub fn training_program<R: Real>(
        &mut self,
        graph: &Graph,
        kinds: &[OutputKind],
        name: &str,
    ) -> Result<Arc<Program<R>>, CompileError> {
        let mut plan = self.planned(graph, kinds, name)?;
        plan::keep_sparse(&mut plan);
        plan::share_lookups(&mut plan, plan::WORTH_SHARING);
        plan::list_sparse(&mut plan);
        plan::hold_few_constants(&mut plan);
        let (target, profiled) = (self.target, self.profiled);
        Ok(Arc::new(self.timings.time("code", || Program::compile(plan, target, profiled))?))
    }

    /// Optimises and plans the outputs of these kinds and compiles them to native code.
    ///
    /// # Errors
    /// If the graph has no plan or the plan no code.
    pub fn program<R: Real>(
        &mut self,
        graph: &Graph,
        kinds: &[OutputKind],
        name: &str,
    ) -> Result<Arc<Program<R>>, CompileError> {
        let mut plan = self.held(graph, kinds, name)?;
        plan::share_lookups(&mut plan, plan::WORTH_SHARING);
        let (target, profiled) = (self.target, self.profiled);
        Ok(Arc::new(self.timings.time("code", || Program::compile(plan, target, profiled))?))
    }

    /// Optimises, plans and compiles the outputs of these kinds for the machine, on which they are run.
    ///
    /// # Errors
    /// If the graph has no plan or the plan no code, or the device does not take it.
    pub fn batch<R: Real>(
        &mut self,
        graph: &Graph,
        kinds: &[OutputKind],
        name: &str,
        pool: &Arc<ThreadPool>,
    ) -> Result<Batch<R>, CompileError> {
        self.batch_adding(graph, kinds, name, pool, None)
    }

    /// The same; outputs that are named as `added` are read by [`Batch::run_adding`] only.
    ///
    /// # Errors
    /// As [`Pipeline::batch`].
    pub fn batch_adding<R: Real>(
        &mut self,
        graph: &Graph,
        kinds: &[OutputKind],
        name: &str,
        pool: &Arc<ThreadPool>,
        added: Option<Vec<String>>,
    ) -> Result<Batch<R>, CompileError> {
        match self.machine.clone() {
            Machine::Processor => Ok(match added {
                Some(outputs) => {
                    let program = self.training_program(graph, kinds, name)?;
                    Batch::adding(program, Arc::clone(pool), outputs)
                }
                None => Batch::new(self.program(graph, kinds, name)?, Arc::clone(pool)),
            }),
            Machine::Device(device) => {
                let plan = self.held(graph, kinds, name)?;
                let program = self.timings.time("code", || opencl::Program::new(&plan, &device))?;
                Ok(Batch::on_device(&Arc::new(program), Arc::clone(pool))?)
            }
        }
    }
}

/// As [`Pipeline::optimise`].
///
/// # Errors
/// As there.
pub fn optimise(graph: &mut Graph, passes: &[Pass]) -> Result<(), CompileError> {
    Pipeline::default().optimise(graph, passes)
}

/// As [`Pipeline::optimised`].
///
/// # Errors
/// As there.
pub fn optimised(graph: &Graph, kinds: &[OutputKind]) -> Result<Graph, CompileError> {
    Pipeline::default().optimised(graph, kinds)
}

/// As [`Pipeline::planned`].
///
/// # Errors
/// As there.
pub fn planned(graph: &Graph, kinds: &[OutputKind], name: &str) -> Result<plan::Plan, CompileError> {
    Pipeline::default().planned(graph, kinds, name)
}

/// As [`Pipeline::program`].
///
/// # Errors
/// As there.
pub fn program<R: Real>(
    graph: &Graph,
    kinds: &[OutputKind],
    name: &str,
) -> Result<Arc<Program<R>>, CompileError> {
    Pipeline::default().program(graph, kinds, name)
}
