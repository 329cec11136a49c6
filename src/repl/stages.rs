//! `:graph`, `:unroll`, `:plan`, `:clif`, `:asm`, `:opencl`: what the stages of the compiler make of a model.

use std::path::Path;

use super::clauses::{Clauses, clauses, count};
use super::{Done, Failure, STEPS, Session, of_session};
use crate::driver::cost::{buffers, layout};
use crate::driver::emit::{EmitError, Stage, code, copies, staged};
use crate::driver::pictures;
use crate::driver::summary::thousands;
use crate::ir::{Graph, dot, live, print};
use crate::plan;
use crate::runtime::files;

/// Nodes of an unrolled graph at most.
const LARGEST: usize = 20_000;
/// Rows of a space at most.
const ROWS: usize = 1 << 24;

impl Session {
    /// `:graph [M] [graph | grad | opt] [draw | dot | svg FILE]`
    pub(super) fn graph(&mut self, rest: &str) -> Done {
        let parts = clauses(rest, &["graph", "grad", "opt", "draw", "dot", "svg"])?;
        let model = self.choose(&parts.head)?;
        let checked = self.checked(&model)?.graph;
        let stages = ["graph", "grad", "opt"].into_iter().filter(|stage| parts.has(stage));
        let stage = match &stages.collect::<Vec<_>>()[..] {
            [] | ["graph"] => Stage::Graph,
            ["grad"] => Stage::Grad,
            ["opt"] => Stage::Opt,
            _ => return Err(Failure::new("`:graph` shows one stage: graph, grad or opt")),
        };
        let graph = staged(&checked, stage).map_err(emitted)?;
        shown(&graph, &parts)
    }

    /// `:unroll [M] N [draw | dot | svg FILE]`
    pub(super) fn unroll(&mut self, rest: &str) -> Done {
        let parts = clauses(rest, &["draw", "dot", "svg"])?;
        let words: Vec<&str> = parts.head.split_whitespace().collect();
        let (name, steps) = match &words[..] {
            [steps] => ("", *steps),
            [name, steps] => (*name, *steps),
            _ => return Err(Failure::new("`:unroll` takes a number of steps, as in `:unroll M 3`")),
        };
        let steps = count(steps, "unroll", 1000)?;
        let model = self.choose(name)?;
        let graph = self.checked(&model)?.graph;
        let axes = graph.axes.len().saturating_sub(1);
        let most = u32::try_from(axes).ok().and_then(|axes| steps.checked_pow(axes.min(2)));
        if most.and_then(|copies| copies.checked_mul(live(&graph).len())).is_none_or(|nodes| nodes > LARGEST)
        {
            return Err(Failure::new(format!("{steps} steps of `{}` are too many to look at", graph.name)));
        }
        shown(&copies(graph, steps).map_err(emitted)?, &parts)
    }

    /// `[M] [batch B] [steps N]`: a checked model, examples and positions whose rows can be laid out.
    pub(super) fn sized(&mut self, rest: &str) -> Result<(Graph, usize, usize), Failure> {
        let parts = clauses(rest, &["batch", "steps"])?;
        let model = self.choose(&parts.head)?;
        let checked = self.checked(&model)?.graph;
        let examples = parts.count("batch", 1 << 16)?.unwrap_or(1);
        let steps = self.steps(&parts, STEPS)?;
        bounded(&checked, examples, steps)?;
        Ok((checked, examples, steps))
    }

    /// `:plan [M] [batch B] [steps N]`
    pub(super) fn plan(&mut self, rest: &str) -> Done {
        let (checked, examples, steps) = self.sized(rest)?;
        let plan = crate::driver::emit::plan_of(&checked).map_err(emitted)?;
        let layout = layout(&plan, examples, steps)?;
        let listing = plan::print(&plan);
        let kernels = listing.split("\nbuffers\n").next().unwrap_or("");
        let mut text =
            format!("{kernels}\nbuffers for a batch of {examples} with {steps} positions an axis, in f32\n");
        for buffer in buffers(&plan, &layout) {
            text += &format!(
                "  {:>12} bytes  {}: {:?}, {} rows, {}\n",
                thousands(buffer.bytes),
                buffer.name,
                buffer.shape,
                thousands(buffer.rows),
                buffer.role
            );
        }
        let total = thousands(layout.arena.bytes);
        Ok(text + &format!("  {total:>12} bytes  in all without parameters: buffers share places\n"))
    }

    /// `:clif [M]`, `:asm [M]`, `:opencl [M]`
    pub(super) fn code(&mut self, rest: &str, stage: Stage) -> Done {
        let model = self.choose(rest)?;
        let checked = self.checked(&model)?.graph;
        code(&checked, stage).map_err(emitted)
    }
}

/// That the rows of a batch can be laid out while somebody waits.
fn bounded(graph: &Graph, examples: usize, steps: usize) -> Result<(), Failure> {
    let most = graph.ids().iter().map(|&node| graph.ty(node).axes.len().saturating_sub(1)).max().unwrap_or(0);
    let rows = (0..most).try_fold(examples, |rows, _| rows.checked_mul(steps));
    match rows.is_some_and(|rows| rows <= ROWS) {
        true => Ok(()),
        false => {
            Err(Failure::new(format!("{examples} examples of {steps} positions are too many to lay out")))
        }
    }
}

/// A graph in the form that was asked for.
fn shown(graph: &Graph, parts: &Clauses) -> Done {
    match parts.file("svg")? {
        Some(path) => write_svg(&path, &pictures::graph(graph)?),
        None if parts.has("draw") => Ok(pictures::rails(graph)?),
        None if parts.has("dot") => Ok(dot(graph)),
        None => Ok(print(graph)),
    }
}

/// Writes a picture and says so.
pub(super) fn write_svg(path: &Path, svg: &str) -> Done {
    files::replace(path, |out| out.write_all(svg.as_bytes()))?;
    Ok(format!("wrote {}\n", path.display()))
}

/// Mistakes keep their form.
pub(super) fn emitted(error: EmitError) -> Failure {
    match error {
        EmitError::Session(error) => of_session(error),
        other => Failure::Message(other.to_string()),
    }
}
