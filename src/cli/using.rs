//! `eval`, `generate`, `run`: commands that use a model with its weights.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ModelArguments;
use super::failure::Failure;
use super::output::print;
use super::sources::{RecordFlags, Sources};
use crate::driver::corpus::Source;
use crate::driver::evaluate::evaluate;
use crate::driver::generate::{Request, generate};
use crate::driver::machine::MachineName;
use crate::driver::run::{self, run};
use crate::driver::summary::thousands;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc eval run.safetensors\n  rnnc eval run.safetensors --text another.txt\n  rnnc eval run.safetensors --trees test.txt\n  rnnc eval run.safetensors --data test.csv\n\n\
                  Without data it is measured on what was held out in training."
)]
pub(super) struct Eval {
    /// A run of `rnnc train`
    run: PathBuf,
    #[command(flatten)]
    sources: Sources,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = super::count)]
    threads: Option<usize>,
    /// What to run on: cpu, opencl or opencl:N
    #[arg(long, value_name = "NAME", default_value_t)]
    device: MachineName,
}

impl Eval {
    pub fn run(self) -> Result<(), Failure> {
        let source = self.sources.source()?;
        let machine = self.device.open()?;
        let found = evaluate(&self.run, source.as_ref(), self.threads.unwrap_or(0), &machine)?;
        let mut text = format!("{}: {} {}\n", found.what, thousands(found.count), found.unit);
        let mut rows = vec![("loss".to_string(), found.figures.loss())];
        if found.figures.losses.len() > 1 {
            rows.extend(found.figures.losses.iter().map(|(name, value)| (format!("loss {name}"), *value)));
        }
        rows.extend(found.figures.metrics.iter().map(|(name, value)| (format!("metric {name}"), *value)));
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        rows.iter().for_each(|(name, value)| text += &format!("  {name:width$}  {value:.6}\n"));
        print(&text)
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc generate run.safetensors --length 500 --temperature 0.8\n  rnnc generate run.safetensors --prompt 'ROMEO:' --seed 7"
)]
pub(super) struct Generate {
    /// A run of `rnnc train --text`
    run: PathBuf,
    /// Characters to write
    #[arg(long, value_name = "N", default_value_t = 500)]
    length: usize,
    /// 1: as the model says; lower: surer; 0: always the likeliest
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = temperature)]
    temperature: f64,
    /// Seed of the draws
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// What the text begins with
    #[arg(long, value_name = "TEXT", default_value = "")]
    prompt: String,
    /// What to run on: cpu, opencl or opencl:N
    #[arg(long, value_name = "NAME", default_value_t)]
    device: MachineName,
}

fn temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("it is not a number of at least 0".to_string()),
    }
}

impl Generate {
    pub fn run(self) -> Result<(), Failure> {
        let request = Request {
            length: self.length,
            temperature: self.temperature,
            seed: self.seed,
            prompt: self.prompt,
        };
        let mut result = Ok(());
        generate(&self.run, &request, &self.device.open()?, |piece| {
            result = print(piece);
            result.is_ok()
        })?;
        result?;
        print("\n")
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
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = super::count)]
    threads: Option<usize>,
    /// What to run on: cpu, opencl or opencl:N
    #[arg(long, value_name = "NAME", default_value_t)]
    device: MachineName,
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
            threads: self.threads.unwrap_or(0),
            machine: self.device.open()?,
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
