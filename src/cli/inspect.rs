//! `check`, `summary`, `emit`, `grad`, `gradcheck`, `fmt`: commands that look at a program.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::ModelArguments;
use super::failure::Failure;
use super::output::{colour, note, print};
use crate::check::Mode;
use crate::driver::emit::{Stage, Target, Unroll, emit, print_gradient};
use crate::driver::gradcheck::{TOLERANCE, gradcheck};
use crate::driver::session::Model;
use crate::driver::summary::{layers, summary, thousands};
use crate::runtime::files;
use crate::syntax::format;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rnnc check examples/charlm.rnn --set H=256")]
pub(super) struct Check {
    #[command(flatten)]
    model: ModelArguments,
}

impl Check {
    pub fn run(self) -> Result<(), Failure> {
        let model = self.model.read()?;
        let checked = model.check_everything()?;
        if !checked.warnings.is_empty() {
            note(&model.report(checked.warnings.clone()).render(colour(&std::io::stderr())));
        }
        // A wrong `train` block is a mistake of the program, too.
        model.train_settings(&checked)?;
        let count: usize = layers(&checked.graph).iter().map(|layer| layer.count).sum();
        print(&format!(
            "{}: ok, model {} with {} parameters\n",
            model.file,
            checked.graph.name,
            thousands(count)
        ))
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rnnc summary examples/sentiment.rnn")]
pub(super) struct Summary {
    #[command(flatten)]
    model: ModelArguments,
}

impl Summary {
    pub fn run(self) -> Result<(), Failure> {
        print(&summary(&self.model.read()?.check(Mode::Train)?.graph))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StageName {
    /// The syntax tree
    Ast,
    /// The checked equations
    Graph,
    /// The equations of the gradients
    Grad,
    /// The equations that are compiled
    Opt,
    /// Regions, kernels and buffers
    Plan,
    /// Cranelift's intermediate code
    Clif,
    /// The machine code, kernel by kernel
    Asm,
    /// The source of the OpenCL kernels
    Opencl,
    /// The equations as a picture for Graphviz
    Dot,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc emit examples/charlm.rnn --stage plan\n  rnnc emit examples/elman.rnn --stage dot --unroll 3 | dot -Tsvg > elman.svg\n  rnnc emit examples/tai.rnn --stage dot --tree '(4 (3 good) (2 film))' | dot -Tsvg > tree.svg"
)]
pub(super) struct Emit {
    #[command(flatten)]
    model: ModelArguments,
    /// Which stage
    #[arg(long, value_enum)]
    stage: StageName,
    /// Show every axis as so many copies (graph and dot)
    #[arg(long, value_name = "STEPS", value_parser = super::count)]
    unroll: Option<usize>,
    /// Show what runs on this tree, `(label word)` and `(label child child …)`, at each of its nodes (graph and dot)
    #[arg(long, value_name = "TREE")]
    tree: Option<String>,
    /// The processors that clif and asm are for: native, x86-64-v2, x86-64-v3 or x86-64-v4
    #[arg(long, value_name = "NAME")]
    cpu: Option<Target>,
}

impl Emit {
    pub fn run(self) -> Result<(), Failure> {
        let stage = match self.stage {
            StageName::Ast => Stage::Ast,
            StageName::Graph => Stage::Graph,
            StageName::Grad => Stage::Grad,
            StageName::Opt => Stage::Opt,
            StageName::Plan => Stage::Plan,
            StageName::Clif => Stage::Clif(self.cpu.unwrap_or_default()),
            StageName::Asm => Stage::Asm(self.cpu.unwrap_or_default()),
            StageName::Opencl => Stage::OpenCl,
            StageName::Dot => Stage::Dot,
        };
        if !matches!(stage, Stage::Graph | Stage::Dot) {
            let given = [("--unroll", self.unroll.is_some()), ("--tree", self.tree.is_some())];
            if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
                return Err(Failure::Usage(format!("{flag} is for the stages graph and dot")));
            }
        }
        if self.cpu.is_some() && !matches!(stage, Stage::Clif(_) | Stage::Asm(_)) {
            return Err(Failure::Usage("--cpu is for the stages clif and asm".to_string()));
        }
        let unroll = Unroll { steps: self.unroll, tree: self.tree.as_deref() };
        print(&emit(&self.model.read()?, stage, unroll)?)
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc grad examples/elman.rnn\n  rnnc grad examples/elman.rnn --wrt h.W_h --program"
)]
pub(super) struct Grad {
    #[command(flatten)]
    model: ModelArguments,
    /// Only the gradient of this parameter
    #[arg(long, value_name = "NAME")]
    wrt: Option<String>,
    /// The whole program, which is a program of the language
    #[arg(long)]
    program: bool,
}

impl Grad {
    pub fn run(self) -> Result<(), Failure> {
        print(&print_gradient(&self.model.read()?, self.wrt.as_deref(), self.program)?)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rnnc gradcheck examples/translate.rnn --set H=8")]
pub(super) struct Gradcheck {
    #[command(flatten)]
    model: ModelArguments,
    /// Seed of the random parameters and data
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Gradcheck {
    pub fn run(self) -> Result<(), Failure> {
        let report = gradcheck(&self.model.read()?, self.seed, None)?;
        let dims: Vec<String> = report.dims.iter().map(|(name, size)| format!("{name} = {size}")).collect();
        let width = report.parameters.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).max(9);
        let mut text = format!("model {}({})\n\n", report.model, dims.join(", "));
        text +=
            &format!("{:width$}  {:>8}  {:>8}  worst relative error\n", "parameter", "elements", "compared");
        for (name, count, compared, error) in &report.parameters {
            let verdict = if *error <= TOLERANCE { "" } else { "  too large" };
            text += &format!("{name:width$}  {count:>8}  {compared:>8}  {error:.1e}{verdict}\n");
        }
        print(&text)?;
        if report.agrees() {
            return print(&format!("\nall below {TOLERANCE:.0e}\n"));
        }
        let what =
            format!("{}: the gradient and finite differences disagree: {:.1e}", report.model, report.worst());
        Err(Failure::Message(what))
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rnnc fmt model.rnn\n  rnnc fmt --check examples/*.rnn")]
pub(super) struct Fmt {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Change nothing; name the files that would change and exit with 1
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub fn run(self) -> Result<(), Failure> {
        // All files are looked at; the last failure decides, the others are reported as they come.
        let mut failed = None;
        for file in &self.files {
            if let Err(failure) = self.one(file) {
                let before: Option<Failure> = failed.replace(failure);
                before.map(Failure::report);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn one(&self, file: &Path) -> Result<(), Failure> {
        let model = Model::read(file, None, &[])?;
        let laid_out = format(&model.source).map_err(|diagnostics| model.mistakes(diagnostics))?;
        if laid_out == model.source {
            return Ok(());
        }
        if self.check {
            print(&format!("{}: not formatted\n", model.file))?;
            return Err(Failure::Silent);
        }
        files::replace(file, |out| out.write_all(laid_out.as_bytes())).map_err(Failure::of)?;
        print(&format!("{}: formatted\n", model.file))
    }
}
