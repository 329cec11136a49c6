//! `compile`: a model as an object file that needs no runtime library.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ModelArguments;
use super::failure::Failure;
use super::output::{note, print, stages};
use crate::driver::aot::{self, AotError, Precision};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// This machine's processor
    Native,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PrecisionName {
    /// 32-bit
    F32,
    /// 64-bit
    F64,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rnnc compile examples/charlm.rnn --target native -o build --name charlm")]
pub(super) struct Compile {
    #[command(flatten)]
    model: ModelArguments,
    /// What to compile for
    #[arg(long, value_enum, default_value = "native")]
    target: Target,
    /// The folder for NAME.o, NAME.h and, with a C compiler at hand, NAME.so
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// NAME, if not the model's
    #[arg(long)]
    name: Option<String>,
    /// The type of real numbers
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionName,
    /// Show how long each stage took
    #[arg(long)]
    timings: bool,
}

impl Compile {
    pub fn run(self) -> Result<(), Failure> {
        let model = self.model.read()?;
        let Target::Native = self.target;
        let precision = match self.precision {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::F64 => Precision::F64,
        };
        let made =
            aot::compile(&model, &self.output, self.name.as_deref(), precision).map_err(
                |error| match error {
                    AotError::Session(error) => error.into(),
                    other => Failure::of(other),
                },
            )?;
        for file in made.files {
            print(&format!("wrote {}\n", file.display()))?;
        }
        made.notes.iter().for_each(|line| note(line));
        if self.timings {
            note(&stages(&made.timings));
        }
        Ok(())
    }
}
