//! `bench`: recurrent cells of known size against the clock.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::output::{note, print, stages};
use crate::driver::bench::{self, Profile, Row, Shape, choose};
use crate::driver::machine::MachineName;
use crate::runtime::files;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc bench --only lstm-infer\n  rnnc bench --only lstm-train --shape 64,32,256,256 --json row.json"
)]
pub(super) struct Bench {
    /// The workload of this name, or those whose names contain it [default: all]
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Time steps, batch, width of the input, width of the hidden state, of one workload
    #[arg(long, value_name = "T,B,I,H")]
    shape: Option<Shape>,
    /// Write the rows here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = super::count)]
    threads: Option<usize>,
    /// What to measure: cpu, opencl or opencl:N
    #[arg(long, value_name = "NAME", default_value_t)]
    device: MachineName,
    /// Show how long each stage of the compiler took
    #[arg(long)]
    timings: bool,
    /// Show how long each kernel takes, with the equations that it computes
    #[arg(long)]
    profile: bool,
}

impl Bench {
    pub fn run(self) -> Result<(), Failure> {
        if self.profile && self.device != MachineName::Cpu {
            let message = "--profile reads the clock of native code: leave out `--device`";
            return Err(Failure::Usage(message.to_string()));
        }
        let workloads = choose(self.only.as_deref(), self.shape)?;
        if let Some(path) = &self.json {
            // Before minutes of measuring, not after them.
            files::check_replaceable(path).map_err(Failure::of)?;
        }
        note("measuring what this machine does at most\n");
        let bench = bench::Bench::new(self.threads.unwrap_or(0), self.device)?;
        print(&heading(&bench))?;
        let mut rows = Vec::new();
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
            rows.push(measured.row);
        }
        let Some(path) = &self.json else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(&rows).map_err(Failure::of)?;
        text.push('\n');
        files::replace(path, |out| out.write_all(text.as_bytes())).map_err(Failure::of)
    }
}

/// The machine, and what the columns are.
fn heading(bench: &bench::Bench) -> String {
    let threads = bench.threads();
    let machine = bench.device().map_or(format!("{threads} threads"), str::to_string);
    let peak =
        bench.peak().map_or(String::new(), |peak| format!(", at most {:.1} GFLOP/s in f32", peak / 1e9));
    format!(
        "{machine}{peak}\n\n{:16} {:>16} {:>11} {:>11} {:>9} {:>8}\n",
        "workload", "T,B,I,H", "median us", "min us", "GFLOP/s", "of peak"
    )
}

fn line(row: &Row) -> String {
    let shape = format!("{},{},{},{}", row.steps, row.batch, row.input, row.hidden);
    let share = row.peak_share.map_or(String::new(), |share| format!("{:.1}%", share * 100.0));
    format!(
        "{:16} {shape:>16} {:11.1} {:11.1} {:9.1} {share:>8}\n",
        row.workload, row.median_us, row.min_us, row.gflops
    )
}

/// Where the time of a program goes.
fn kernels(profile: &Profile) -> String {
    let total = profile.total();
    let mut text = format!(
        "\nkernels: {:.1} us of all threads in a call of {:.1} us\n{:>7} {:>11} {:>7} {:>10} {:>9}\n",
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
    text + "\n"
}
