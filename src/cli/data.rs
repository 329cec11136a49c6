//! `data`: makes data for examples and tests.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::print;
use crate::driver::arithmetic::expression;
use crate::runtime::files;

/// Lines that are written at once.
const LINES: u64 = 1000;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rnnc data trees --count 5000 --seed 1 -o train.txt")]
pub(super) struct Data {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Arithmetic expressions as trees, every node labelled by its value modulo 10
    Trees(Trees),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc data trees --count 5000 --seed 1 -o train.txt\n  rnnc data trees --count 3 --seed 2 --operators 9\n\n\
                  A line is one tree, `(4 - (3 3) (9 9))`: an operator above its two operands, digits at the leaves, and\n\
                  before each its value modulo 10. It is what `rnnc train --trees` reads."
)]
struct Trees {
    /// How many
    #[arg(long, value_name = "N", value_parser = super::count)]
    count: usize,
    /// Other seeds, other trees
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Operators of the largest; each expression has from one to so many
    #[arg(long, value_name = "N", default_value = "5", value_parser = super::count)]
    operators: usize,
    /// Where they go [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Data {
    pub fn run(self) -> Result<(), Failure> {
        let What::Trees(trees) = self.what;
        trees.run()
    }
}

impl Trees {
    fn run(self) -> Result<(), Failure> {
        let count = self.count as u64;
        let parts = (0..count.div_ceil(LINES)).map(|part| {
            let numbers = part * LINES..((part + 1) * LINES).min(count);
            numbers.map(|number| expression(self.seed, number, self.operators) + "\n").collect::<String>()
        });
        let Some(path) = &self.output else {
            return parts.into_iter().try_for_each(|part| print(&part));
        };
        let mut parts = parts;
        files::replace(path, |out| parts.try_for_each(|part| out.write_all(part.as_bytes())))
            .map_err(Failure::of)?;
        print(&format!("wrote {} ({count} trees)\n", path.display()))
    }
}
