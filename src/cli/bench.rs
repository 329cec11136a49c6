//! `bench`: recurrent cells of known size against the clock.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::hardware::Hardware;
use super::output::{note, print, stages};
use crate::driver::bench::{
    self, BATCHES, Forest, Profile, Row, Shape, TREE_LSTM, TreeRow, TreeShape, WIDTHS, choose,
};
use crate::driver::machine::MachineName;
use crate::runtime::files;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc bench --only lstm-infer\n  rnnc bench --only lstm-train --shape 64,32,256,256 --json row.json\n  rnnc bench --only tree-lstm --trees dev.txt --batch 25"
)]
pub(super) struct Bench {
    /// The workload of this name, or those whose names contain it [default: all]
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Time steps, batch, width of the input, width of the hidden state, of one workload; for tree-lstm I,H
    #[arg(long, value_name = "T,B,I,H", value_parser = sizes)]
    shape: Option<Sizes>,
    /// Binary trees with labels of 0 to 4 at all nodes, one a line, for tree-lstm
    #[arg(long, value_name = "FILE")]
    trees: Option<PathBuf>,
    /// Trees in a batch of tree-lstm [default: a row each for 1, 25 and 100]
    #[arg(long, value_name = "B", value_parser = super::count, requires = "trees")]
    batch: Option<usize>,
    /// Write the rows here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    hardware: Hardware,
    /// Show how long each stage of the compiler took
    #[arg(long)]
    timings: bool,
    /// Show how long each kernel takes, with the equations that it computes
    #[arg(long)]
    profile: bool,
}

/// What `--shape` says.
#[derive(Clone, Copy, Debug)]
enum Sizes {
    /// Of sequences.
    Sequences(Shape),
    /// Width of the input and of the hidden state.
    Widths(usize, usize),
}

fn sizes(text: &str) -> Result<Sizes, String> {
    let number = |text: &str| text.trim().parse().ok().filter(|&number: &usize| number > 0);
    let widths = text.split_once(',').and_then(|(input, hidden)| Some((number(input)?, number(hidden)?)));
    match widths {
        Some((input, hidden)) => Ok(Sizes::Widths(input, hidden)),
        None => text.parse().map(Sizes::Sequences),
    }
}

/// A row of either kind, as it is written.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum AnyRow {
    Sequences(Row),
    Trees(TreeRow),
}

impl Bench {
    pub fn run(self) -> Result<(), Failure> {
        if self.profile && self.hardware.device != MachineName::Cpu {
            let message = "--profile reads the clock of native code: leave out `--device`";
            return Err(Failure::Usage(message.to_string()));
        }
        let (over_sequences, over_trees) = self.chosen();
        let workloads = match (over_sequences, self.shape) {
            (false, _) => Vec::new(),
            (true, Some(Sizes::Widths(..))) => {
                return Err(Failure::Usage(
                    "a shape of sequences is T,B,I,H; I,H is for tree-lstm".to_string(),
                ));
            }
            (true, Some(Sizes::Sequences(shape))) => choose(self.only.as_deref(), Some(shape))?,
            (true, None) => choose(self.only.as_deref(), None)?,
        };
        if let Some(path) = &self.json {
            // Before minutes of measuring, not after them.
            files::check_replaceable(path).map_err(Failure::of)?;
        }
        let forest = match (&self.trees, over_trees) {
            (Some(path), true) => Some((Forest::read(path).map_err(Failure::of)?, self.tree_shapes()?)),
            (None, true) => {
                return Err(Failure::Usage(
                    "tree-lstm runs on trees of a file: name one with --trees FILE".to_string(),
                ));
            }
            (_, false) => None,
        };
        let machine = self.hardware.open()?;
        note("measuring what this machine does at most\n");
        let bench = bench::Bench::new(self.hardware.threads(), machine)?;
        print(&heading(&bench))?;
        let mut rows = Vec::new();
        if !workloads.is_empty() {
            print(&columns())?;
        }
        for workload in &workloads {
            note(&format!("{workload}\n"));
            let measured = bench.run(workload)?;
            print(&line(&measured.row))?;
            if self.timings {
                note(&stages(&measured.timings));
            }
            if self.profile {
                print(&kernels(&bench.profile(workload)?))?;
            }
            rows.push(AnyRow::Sequences(measured.row));
        }
        if let Some((forest, shapes)) = &forest {
            print(&tree_columns())?;
            for &shape in shapes {
                let measured = bench.run_trees(forest, shape)?;
                print(&tree_line(&measured.row))?;
                if self.timings {
                    note(&stages(&measured.timings));
                }
                if self.profile {
                    print(&kernels(&bench.profile_trees(forest, shape)?))?;
                }
                rows.push(AnyRow::Trees(measured.row));
            }
        }
        let Some(path) = &self.json else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(&rows).map_err(Failure::of)?;
        text.push('\n');
        files::replace(path, |out| out.write_all(text.as_bytes())).map_err(Failure::of)
    }

    /// Whether workloads over sequences are asked for, and the one over trees.
    fn chosen(&self) -> (bool, bool) {
        match self.only.as_deref() {
            Some(TREE_LSTM) => (false, true),
            Some(_) => (true, false),
            None => (true, self.trees.is_some()),
        }
    }

    fn tree_shapes(&self) -> Result<Vec<TreeShape>, Failure> {
        let (input, hidden) = match self.shape {
            None => WIDTHS,
            Some(Sizes::Widths(input, hidden)) => (input, hidden),
            Some(Sizes::Sequences(_)) => {
                return Err(Failure::Usage(
                    "the shape of tree-lstm is I,H; its batch is --batch".to_string(),
                ));
            }
        };
        let batches = self.batch.map_or(BATCHES.to_vec(), |batch| vec![batch]);
        Ok(batches.into_iter().map(|batch| TreeShape { batch, input, hidden }).collect())
    }
}

/// The machine.
fn heading(bench: &bench::Bench) -> String {
    let threads = bench.threads();
    let machine = bench.device().map_or(format!("{threads} threads"), str::to_string);
    let peak =
        bench.peak().map_or(String::new(), |peak| format!(", at most {:.1} GFLOP/s in f32", peak / 1e9));
    format!("{machine}{peak}\n")
}

fn columns() -> String {
    format!(
        "\n{:16} {:>16} {:>11} {:>11} {:>9} {:>8}\n",
        "workload", "T,B,I,H", "median us", "min us", "GFLOP/s", "of peak"
    )
}

fn tree_columns() -> String {
    format!(
        "\n{:16} {:>16} {:>11} {:>11} {:>9} {:>8} {:>9}\n",
        "workload", "B,I,H", "us a batch", "min us", "GFLOP/s", "of peak", "trees/s"
    )
}

fn tree_line(row: &TreeRow) -> String {
    let shape = format!("{},{},{}", row.batch, row.input, row.hidden);
    let share = share(row.peak_share);
    format!(
        "{:16} {shape:>16} {:11.1} {:11.1} {:9.1} {share:>8} {:9.1}\n",
        row.workload, row.median_us, row.min_us, row.gflops, row.trees_per_second
    )
}

/// A share of the peak, if that is known.
fn share(share: Option<f64>) -> String {
    share.map_or(String::new(), |share| format!("{:.1}%", share * 100.0))
}

fn line(row: &Row) -> String {
    let shape = format!("{},{},{},{}", row.steps, row.batch, row.input, row.hidden);
    let share = share(row.peak_share);
    format!(
        "{:16} {shape:>16} {:11.1} {:11.1} {:9.1} {share:>8}\n",
        row.workload, row.median_us, row.min_us, row.gflops
    )
}

/// Where the time of a program goes.
fn kernels(profile: &Profile) -> String {
    let total = profile.total();
    let mut text = format!(
        "\nkernels: {:.1} us of all groups in a call of {:.1} us\n{:>7} {:>11} {:>7} {:>10} {:>9}\n",
        total * 1e6,
        profile.call * 1e6,
        "share",
        "us",
        "calls",
        "us each",
        "GFLOP/s"
    );
    for kernel in &profile.kernels {
        let (share, time) = (kernel.seconds / total * 100.0, kernel.seconds * 1e6);
        let each = time / kernel.calls.max(1.0);
        let speed = kernel.operations.map(|operations| format!("{:.1}", operations / kernel.seconds / 1e9));
        let place = if kernel.in_loop { "loop: " } else { "" };
        text += &format!(
            "{share:6.1}% {time:11.1} {:7.0} {each:10.2} {:>9}  {place}{}\n",
            kernel.calls,
            speed.unwrap_or_default(),
            kernel.label
        );
        kernel.equations.iter().for_each(|equation| text += &format!("{:52}{equation}\n", ""));
    }
    if profile.waiting > 0.0 {
        let (share, time) = (profile.waiting / total * 100.0, profile.waiting * 1e6);
        text += &format!("{share:6.1}% {time:11.1} {:28}  waiting for other threads\n", "");
    }
    text + "\n"
}
