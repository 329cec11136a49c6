//! `train`: a model, data, and a file that holds everything afterwards.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::failure::Failure;
use super::output::print;
use crate::driver::machine::MachineName;
use crate::driver::timings::Timings;
use crate::driver::train::{Ending, Job, Outcome, train};
use crate::runtime::curve::{Series, curve};
use crate::runtime::interrupt::Interrupt;
use crate::runtime::progress::Display;

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("data").args(["text", "trees", "npz"]),
    after_help = "Examples:
  rnnc train examples/charlm.rnn --text book.txt --out run.safetensors
  rnnc train examples/sentiment.rnn --npz reviews.npz --valid more.npz --epochs 3 --out run.safetensors
  rnnc train examples/treebank.rnn --trees train.txt --valid dev.txt --out run.safetensors
  rnnc train --resume --out run.safetensors --epochs 20

Trees are one a line, `(label word)` at a leaf and `(label child child …)` above; labels may be left out, and a node
above may have a word of its own, `(label word child child …)`. Labels are whole numbers from 0, or names.
A word that the training part does not have (or fewer than `min_count` times) is the unknown word, id 0."
)]
pub(super) struct Train {
    /// The program (not needed with --resume)
    #[arg(required_unless_present = "resume")]
    file: Option<PathBuf>,
    /// Which of its models, if it has several
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Bind a dimension (may be repeated)
    #[arg(long, value_name = "DIM=SIZE", value_parser = super::binding)]
    set: Vec<(String, usize)>,
    /// Train on a text, character by character
    #[arg(long, value_name = "FILE", required_unless_present_any = ["trees", "npz", "resume"])]
    text: Option<PathBuf>,
    /// Train on trees, one a line
    #[arg(long, value_name = "FILE")]
    trees: Option<PathBuf>,
    /// Train on examples: arrays named as the model's inputs, parents of nodes as `n.parent`
    #[arg(long, value_name = "FILE")]
    npz: Option<PathBuf>,
    /// Measure by other data after each epoch
    #[arg(long, value_name = "FILE", conflicts_with = "holdout")]
    valid: Option<PathBuf>,
    /// Measure by this part of the data, its end, and do not train on it [default: 0.1]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    holdout: Option<f64>,
    /// Passes over the data
    #[arg(long, value_name = "N", value_parser = super::count)]
    epochs: Option<usize>,
    /// Streams of a text, or examples, in a step
    #[arg(long, value_name = "B", value_parser = super::count)]
    batch: Option<usize>,
    /// Steps of a text or of long examples between cuts of the gradient
    #[arg(long, value_name = "T", value_parser = super::count)]
    truncate: Option<usize>,
    /// Seed of everything random
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Threads [default: one for each core]; results do not depend on it
    #[arg(long, value_name = "N", value_parser = super::count)]
    threads: Option<usize>,
    /// What to train on: cpu, opencl or opencl:N
    #[arg(long, value_name = "NAME", default_value_t)]
    device: MachineName,
    /// Stop and save when the run has had so many steps
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// Where the run is kept
    #[arg(long, value_name = "RUN.safetensors")]
    out: PathBuf,
    /// Go on with the run in --out
    #[arg(long)]
    resume: bool,
    /// Show how long each stage took
    #[arg(long)]
    timings: bool,
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(fraction) if (0.0..1.0).contains(&fraction) => Ok(fraction),
        _ => Err("it is not a number from 0 to below 1".to_string()),
    }
}

impl Train {
    pub fn run(self) -> Result<(), Failure> {
        let timings = self.timings;
        let job = self.job();
        let interrupt = Interrupt::install().map_err(Failure::of)?;
        let display = if std::io::stderr().is_terminal() { Display::Bar } else { Display::Lines };
        let outcome = train(&job, display, Box::new(std::io::stdout()), &interrupt)?;
        print(&report(&job, &outcome))?;
        if timings { print(&times(&outcome.timings)) } else { Ok(()) }
    }

    fn job(self) -> Job {
        Job {
            file: self.file,
            model: self.model,
            set: self.set,
            source: super::source(self.text, self.trees, self.npz),
            valid: self.valid,
            holdout: self.holdout,
            epochs: self.epochs,
            batch: self.batch,
            truncate: self.truncate,
            seed: self.seed,
            threads: self.threads.unwrap_or(0),
            max_steps: self.max_steps,
            out: self.out,
            resume: self.resume,
            machine: self.device,
            timings: self.timings,
        }
    }
}

/// The loss curve, how it ended and where it was written.
fn report(job: &Job, outcome: &Outcome) -> String {
    let meta = &outcome.run.meta;
    let mut text = String::new();
    let points = |figure: &dyn Fn(usize) -> Option<f64>| -> Vec<(f64, f64)> {
        (0..meta.history.len()).filter_map(|epoch| Some((epoch as f64 + 1.0, figure(epoch)?))).collect()
    };
    if meta.history.len() > 1 {
        let training = points(&|epoch| Some(meta.history[epoch].training));
        let held_out = points(&|epoch| meta.history[epoch].held_out);
        let mut series = vec![Series { name: "training", points: &training }];
        if !held_out.is_empty() {
            series.push(Series { name: "held-out", points: &held_out });
        }
        text += "\n";
        text += &curve(&series, "epoch", 60, 12);
        text += "\n";
    }
    let out = job.out.display();
    let steps = meta.position.step;
    let whose = match &outcome.run.best {
        Some(best) if best.epoch != meta.position.epoch => format!(", the weights of epoch {}", best.epoch),
        _ => String::new(),
    };
    let _ = match outcome.ending {
        Ending::Finished => writeln!(text, "wrote {out} ({steps} steps{whose})"),
        Ending::Early => {
            writeln!(text, "stopped early: the loss got no better; wrote {out} ({steps} steps{whose})")
        }
        Ending::Interrupted => {
            writeln!(
                text,
                "interrupted; wrote {out} ({steps} steps); go on with: rnnc train --resume --out {out}"
            )
        }
        Ending::Nothing => {
            writeln!(
                text,
                "nothing to do: {out} has had its {} epochs (--epochs N adds more)",
                meta.position.epoch
            )
        }
    };
    text
}

fn times(timings: &Timings) -> String {
    let width = timings.stages().map(|(stage, _)| stage.len()).max().unwrap_or(0);
    let line = |(stage, time): (&str, Duration)| format!("  {stage:width$}  {:9.3} s\n", time.as_secs_f64());
    format!("time by stage\n{}", timings.stages().map(line).collect::<String>())
}
