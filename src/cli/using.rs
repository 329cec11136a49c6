//! `eval`, `run`: commands that measure and run a model with its weights.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ModelArguments;
use super::failure::Failure;
use super::hardware::Hardware;
use super::output::print;
use super::predicting::DecodeFlags;
use super::sources::{RecordFlags, Sources};
use crate::driver::corpus::Source;
use crate::driver::evaluate::evaluate;
use crate::driver::run::{self, run};
use crate::driver::summary::thousands;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc eval run.safetensors\n  rnnc eval run.safetensors --text another.txt\n  rnnc eval run.safetensors --trees test.txt\n  rnnc eval run.safetensors --data test.csv\n  rnnc eval translate.safetensors --data test.tsv --decode --beam 5\n\n\
                  Without data it is measured on what was held out in training."
)]
pub(super) struct Eval {
    /// A run of `rnnc train`
    run: PathBuf,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    decode: DecodeFlags,
    #[command(flatten)]
    hardware: Hardware,
}

impl Eval {
    pub fn run(self) -> Result<(), Failure> {
        let source = self.sources.source()?;
        let machine = self.hardware.open()?;
        let threads = self.hardware.threads();
        let decoded = self.decode.rows(&self.run, source.as_ref(), threads, &machine)?;
        let found = evaluate(&self.run, source.as_ref(), threads, &machine)?;
        let mut text = format!("{}: {} {}\n", found.what, thousands(found.count), found.unit);
        let mut rows = vec![("loss".to_string(), found.figures.loss())];
        if found.figures.losses.len() > 1 {
            rows.extend(found.figures.losses.iter().map(|(name, value)| (format!("loss {name}"), *value)));
        }
        rows.extend(found.figures.metrics.iter().map(|(name, value)| (format!("metric {name}"), *value)));
        rows.extend(decoded);
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        rows.iter().for_each(|(name, value)| text += &format!("  {name:width$}  {value:.6}\n"));
        print(&text)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PrecisionName {
    /// 32-bit
    F32,
    /// 64-bit
    F64,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rnnc run model.rnn --weights w.safetensors --input in.npz --output out.npz --grad grads.npz --precision f64\n  rnnc run model.rnn --weights run.safetensors --trees test.txt --output out.npz\n\n\
                  A value over `t` is an array [batch, longest, …], the lengths are an array `t`. A tree `n` is an array\n\
                  `n.parent` [batch, most nodes]: each node's parent, which comes before it, and -1 at the root, the first;\n\
                  `n` [batch] has the numbers of nodes (without it all have as many as the array). Values over `n` are\n\
                  [batch, most nodes, …], over `n.leaf` [batch, most leaves, …], over `n.child` [batch, most nodes, most\n\
                  children, …]. Ids are integers; -1 is none."
)]
pub(super) struct Run {
    #[command(flatten)]
    model: ModelArguments,
    /// The parameters, by their names
    #[arg(long, value_name = "W.safetensors")]
    weights: PathBuf,
    /// The inputs, by their names
    #[arg(long, value_name = "IN.npz")]
    input: Option<PathBuf>,
    /// Trees in the place of --input, read with the vocabulary of the run in --weights
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    trees: Option<PathBuf>,
    #[command(flatten)]
    records: RecordFlags,
    /// Where every named value goes
    #[arg(long, value_name = "OUT.npz")]
    output: PathBuf,
    /// Where every parameter's gradient goes
    #[arg(long, value_name = "GRADS.npz")]
    grad: Option<PathBuf>,
    /// The type of real numbers
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionName,
    #[command(flatten)]
    hardware: Hardware,
}

impl Run {
    pub fn run(self) -> Result<(), Failure> {
        let other = self.trees.map(Source::Trees).or(self.input.map(Source::Npz));
        let Some(input) = self.records.source_or(other)? else {
            return Err(Failure::Usage(
                "there are no inputs: give --input, --trees, --data or --lines".to_string(),
            ));
        };
        let model = self.model.read()?;
        let request = run::Request {
            weights: self.weights,
            input,
            output: self.output,
            gradients: self.grad,
            threads: self.hardware.threads(),
            machine: self.hardware.open()?,
        };
        match self.precision {
            PrecisionName::F32 => run::<f32>(&model, &request)?,
            PrecisionName::F64 => run::<f64>(&model, &request)?,
        }
        let mut text = format!("wrote {}\n", request.output.display());
        if let Some(path) = &request.gradients {
            text += &format!("wrote {}\n", path.display());
        }
        print(&text)
    }
}
