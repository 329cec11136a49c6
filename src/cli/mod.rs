//! The command line: arguments in, words out; what is done is the driver's.
//!
//! ```text
//! rnnc train examples/charlm.rnn --text book.txt --out run.safetensors
//! rnnc generate run.safetensors --length 500
//! ```
//!
//! Results go to standard output, mistakes to standard error. The exit status is 0 when all went well, 1
//! when something given was wrong, and 2 when the command itself was. `--threads` and a terminal change how
//! fast and how colourful it is, never what comes out.

mod bench;
mod data;
mod devices;
mod failure;
mod flow;
mod hardware;
mod inspect;
mod native;
mod output;
mod predicting;
mod repl;
mod sources;
mod training;
mod using;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use failure::Failure;

/// The stack that commands run on: deep expressions are walked recursively, within the parser's limits.
const STACK: usize = 256 << 20;

/// A compiler for recurrent networks: equations in, a trained model out.
#[derive(Debug, Parser)]
#[command(name = "rnnc", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  rnnc check examples/charlm.rnn
  rnnc grad examples/elman.rnn --wrt h.W_h
  rnnc train examples/charlm.rnn --text book.txt --out run.safetensors
  rnnc generate run.safetensors --length 500 --temperature 0.8";

#[derive(Debug, Subcommand)]
enum Command {
    /// Report every mistake of a file
    Check(inspect::Check),
    /// Show a model's parameters by layer
    Summary(inspect::Summary),
    /// Show what a stage of the compiler makes of a model
    Emit(inspect::Emit),
    /// Show the gradient as equations
    Grad(inspect::Grad),
    /// Compare the gradient with finite differences
    Gradcheck(inspect::Gradcheck),
    /// Compile a model to an object file and a C header, or to OpenCL kernels
    Compile(native::Compile),
    /// Lay out files in the one way
    Fmt(inspect::Fmt),
    /// Train a model
    Train(Box<training::Train>),
    /// Measure a trained model
    Eval(using::Eval),
    /// Say what a trained model makes of examples: classes, numbers, sequences
    Predict(predicting::Predict),
    /// Write text with a trained model
    Generate(predicting::Generate),
    /// Run a model on given weights and data
    Run(using::Run),
    /// Show how gradients travel through the steps of a model
    Flow(flow::Flow),
    /// Define, evaluate and look inside, line by line
    Repl(repl::Repl),
    /// Make data for examples and tests
    Data(data::Data),
    /// Measure how fast compiled programs run on this machine
    Bench(bench::Bench),
    /// List what programs can run on
    Devices(devices::Devices),
}

/// A program and what it is bound to.
#[derive(Clone, Debug, Args)]
struct ModelArguments {
    /// The program
    file: PathBuf,
    /// Which of its models, if it has several
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Bind a dimension (may be repeated)
    #[arg(long, value_name = "DIM=SIZE", value_parser = binding)]
    set: Vec<(String, usize)>,
}

impl ModelArguments {
    fn read(&self) -> Result<crate::driver::session::Model, Failure> {
        Ok(crate::driver::session::Model::read(&self.file, self.model.as_deref(), &self.set)?)
    }
}

/// `H=256`
fn binding(text: &str) -> Result<(String, usize), String> {
    let (name, size) = text.split_once('=').ok_or("a dimension is bound as in `H=256`")?;
    let (name, size) = (name.trim(), size.trim());
    if name.is_empty() {
        return Err("a dimension is bound as in `H=256`".to_string());
    }
    match size.parse() {
        Ok(0) | Err(_) => Err(format!("`{size}` is not a whole number above 0")),
        Ok(size) => Ok((name.to_string(), size)),
    }
}

/// A whole number above 0.
fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it is not a whole number above 0".to_string()),
        Ok(count) => Ok(count),
    }
}

/// Runs the command of this process' arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is nobody's mistake.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let work = std::thread::Builder::new().stack_size(STACK).spawn(move || dispatch(cli.command));
    let result = match work.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        // The panic has said what it had to say.
        Ok(Err(_)) => Err(Failure::Silent),
        Err(error) => Err(Failure::Message(format!("cannot start a thread: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(arguments) => arguments.run(),
        Command::Summary(arguments) => arguments.run(),
        Command::Emit(arguments) => arguments.run(),
        Command::Grad(arguments) => arguments.run(),
        Command::Gradcheck(arguments) => arguments.run(),
        Command::Compile(arguments) => arguments.run(),
        Command::Fmt(arguments) => arguments.run(),
        Command::Train(arguments) => arguments.run(),
        Command::Eval(arguments) => arguments.run(),
        Command::Predict(arguments) => arguments.run(),
        Command::Generate(arguments) => arguments.run(),
        Command::Run(arguments) => arguments.run(),
        Command::Flow(arguments) => arguments.run(),
        Command::Repl(arguments) => arguments.run(),
        Command::Data(arguments) => arguments.run(),
        Command::Bench(arguments) => arguments.run(),
        Command::Devices(arguments) => arguments.run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bindings() {
        assert_eq!(binding("H=256"), Ok(("H".to_string(), 256)));
        for wrong in ["H", "=3", "H=0", "H=x", "H=-1", "H=1.5", "H=99999999999999999999"] {
            assert!(binding(wrong).is_err(), "{wrong}");
        }
    }
}
