//! `compile`: a model as an object file that needs no runtime library, or as OpenCL kernels.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ModelArguments;
use super::failure::Failure;
use super::output::{note, print, stages};
use crate::driver::aot::{self, AotError, Precision, Target};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TargetName {
    /// This machine's processor
    Native,
    /// OpenCL devices: NAME.cl and NAME.json
    Opencl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PrecisionName {
    /// 32-bit
    F32,
    /// 64-bit
    F64,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc compile examples/charlm.rnn --target native -o build --name charlm\n  rnnc compile examples/charlm.rnn --cpu x86-64-v3 -o build\n  rnnc compile examples/charlm.rnn --target opencl -o build"
)]
pub(super) struct Compile {
    #[command(flatten)]
    model: ModelArguments,
    /// What to compile for
    #[arg(long, value_enum, default_value = "native")]
    target: TargetName,
    /// The processors to compile for: native (this machine's), x86-64-v2, x86-64-v3 or x86-64-v4
    #[arg(long, value_name = "NAME")]
    cpu: Option<Target>,
    /// The folder for NAME.o, NAME.h and, with a C compiler at hand, NAME.so (or NAME.cl and NAME.json)
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
        let precision = match self.precision {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::F64 => Precision::F64,
        };
        let name = self.name.as_deref();
        let made = match (self.target, self.cpu) {
            (TargetName::Native, cpu) => {
                aot::compile(&model, &self.output, name, precision, cpu.unwrap_or_default())
            }
            (TargetName::Opencl, None) => aot::compile_opencl(&model, &self.output, name, precision),
            (TargetName::Opencl, Some(_)) => {
                return Err(Failure::Usage("--cpu is for the target native".to_string()));
            }
        };
        let made = made.map_err(|error| match error {
            AotError::Session(error) => error.into(),
            other => Failure::of(other),
        })?;
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
