//! `train`: a model, data, and a file that holds everything afterwards.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::hardware::Hardware;
use super::output::print;
use super::sources::{ReadingFlags, Sources, each_once, file};
use crate::driver::timings::Timings;
use crate::driver::train::{Ending, Job, Outcome, train};
use crate::runtime::curve::{Series, curve};
use crate::runtime::interrupt::Interrupt;
use crate::runtime::progress::Display;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rnnc train examples/charlm.rnn --text book.txt --out run.safetensors
  rnnc train examples/sentiment.rnn --data reviews.csv --valid more.csv --epochs 3 --out run.safetensors
  rnnc train examples/translate.rnn --lines source=train.de --lines target=train.en --out run.safetensors
  rnnc train examples/treebank.rnn --trees train.txt --valid dev.txt --out run.safetensors
  rnnc train --resume --out run.safetensors --epochs 20

Records have a field for each input, of its name. A field of ids along an axis is a text that is split into words
(--tokens chars: characters), or a JSON list; numbers along an axis stand between white space, or are a JSON list. An id
without an axis is a class: a name, or a whole number from 0. Words that the training part does not have (or fewer
than `min_count` times) are the unknown word, id 0; what a model writes ends with END. With --rows steps the rows are the steps of a
long sequence. All of this can stand in the `train` block: tokens, columns, rows, group, window, standardize.

Trees are one a line, `(label word)` at a leaf and `(label child child …)` above; labels may be left out, and a node
above may have a word of its own, `(label word child child …)`. Labels are whole numbers from 0, or names.
A word that the training part does not have (or fewer than `min_count` times) is the unknown word, id 0.")]
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
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    reading: ReadingFlags,
    /// Begin with a matrix from a file: words and vectors as text, .npz or .safetensors (may be repeated)
    #[arg(long, value_name = "PARAM=FILE", value_parser = file)]
    load: Vec<(String, PathBuf)>,
    /// Words that occur fewer times are the unknown word
    #[arg(long, value_name = "N", value_parser = super::count)]
    min_count: Option<usize>,
    /// Measure by other data after each epoch
    #[arg(long, value_name = "FILE", conflicts_with = "holdout")]
    valid: Option<PathBuf>,
    /// The same where the data is --lines (may be repeated, one for each input)
    #[arg(long, value_name = "INPUT=FILE", conflicts_with = "holdout", value_parser = file)]
    valid_lines: Vec<(String, PathBuf)>,
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
    #[command(flatten)]
    hardware: Hardware,
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
        let job = self.job()?;
        let interrupt = Interrupt::install().map_err(Failure::of)?;
        let display = if std::io::stderr().is_terminal() { Display::Bar } else { Display::Lines };
        let outcome = train(&job, display, Box::new(std::io::stdout()), &interrupt)?;
        print(&report(&job, &outcome))?;
        if timings { print(&times(&outcome.timings)) } else { Ok(()) }
    }

    fn job(self) -> Result<Job, Failure> {
        let source = self.sources.source()?;
        if source.is_none() && !self.resume {
            return Err(Failure::Usage(
                "there is nothing to train on: give --text, --data, --lines, --trees or --npz".to_string(),
            ));
        }
        Ok(Job {
            file: self.file,
            model: self.model,
            set: self.set,
            source,
            valid: self.valid,
            valid_lines: each_once("--valid-lines", self.valid_lines)?,
            holdout: self.holdout,
            reading: self.reading.changes(),
            load: each_once("--load", self.load)?,
            min_count: self.min_count,
            epochs: self.epochs,
            batch: self.batch,
            truncate: self.truncate,
            seed: self.seed,
            threads: self.hardware.threads(),
            max_steps: self.max_steps,
            out: self.out,
            resume: self.resume,
            machine: self.hardware.device,
            timings: self.timings,
        })
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
