//! `flow`: how gradients travel through a model.

use std::path::PathBuf;

use clap::Args;

use super::ModelArguments;
use super::failure::Failure;
use super::output::print;
use crate::check::Mode;
use crate::driver::example::{Example, parameters};
use crate::driver::flow::flow;
use crate::driver::pictures::flow_chart;
use crate::driver::session::parameter_specs;
use crate::runtime::files;
use crate::runtime::interrupt::Interrupt;
use crate::runtime::weights::load_weights_f64;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rnnc flow examples/elman.rnn --last
  rnnc flow examples/charlm.rnn --steps 200 --last --svg flow.svg")]
pub(super) struct Flow {
    #[command(flatten)]
    model: ModelArguments,
    /// Positions along each axis, nodes of a tree
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = super::count)]
    steps: usize,
    /// Only the loss of the last position counts
    #[arg(long)]
    last: bool,
    /// The weights [default: those that training begins with]
    #[arg(long, value_name = "W.safetensors")]
    weights: Option<PathBuf>,
    /// Seed of the random example and weights
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Draw the chart into this file
    #[arg(long, value_name = "F.svg")]
    svg: Option<PathBuf>,
}

impl Flow {
    pub fn run(self) -> Result<(), Failure> {
        if let Some(path) = &self.svg {
            files::check_replaceable(path).map_err(Failure::of)?;
        }
        let graph = self.model.read()?.check(Mode::Train)?.graph;
        let mut weights = parameters(&graph, self.seed);
        if let Some(path) = &self.weights {
            let specs = parameter_specs(&graph);
            let mut values = load_weights_f64(path, specs.clone()).map_err(Failure::of)?.into_iter();
            for spec in specs {
                let count = spec.shape.iter().product();
                weights.insert(spec.name, values.by_ref().take(count).collect());
            }
        }
        let example = Example::random(&graph, self.steps, self.seed);
        let feeds = example.feeds(weights, self.seed);
        let interrupt = Interrupt::default();
        let found = flow(&graph, &example, &feeds, self.last, interrupt.presses()).map_err(Failure::of)?;
        print(&found.text())?;
        let Some(path) = &self.svg else { return Ok(()) };
        let picture = flow_chart(&found).map_err(Failure::of)?;
        files::replace(path, |out| out.write_all(picture.as_bytes())).map_err(Failure::of)?;
        print(&format!("wrote {}\n", path.display()))
    }
}
