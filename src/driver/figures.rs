//! Losses and metrics over many batches, each the exact mean over what it was averaged over.
//!
//! A loss of a batch is the mean over its observed values; batches of different sizes are added with the
//! numbers of those values as weights. It reads numbers that a run left behind and runs nothing.

use super::batch::{Batch, BatchError};
use crate::ir::{Along, BATCH, Graph, Op, OutputKind, Reduction};
use crate::runtime::layout::Lengths;
use crate::runtime::program::Real;

/// Named losses, which add up, and named metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// In the order of the model.
    pub losses: Vec<(String, f64)>,
    /// In the order of the model.
    pub metrics: Vec<(String, f64)>,
}

impl Figures {
    /// The sum of all losses.
    pub fn loss(&self) -> f64 {
        self.losses.iter().map(|(_, value)| value).sum()
    }

    /// `text 1.2000, l2 0.1000; accuracy 0.5000`: what the total does not say; empty if it says all.
    pub fn details(&self) -> String {
        let list = |figures: &[(String, f64)]| {
            figures.iter().map(|(name, value)| format!("{name} {value:.4}")).collect::<Vec<_>>().join(", ")
        };
        let losses = if self.losses.len() > 1 { list(&self.losses) } else { String::new() };
        let parts = [losses, list(&self.metrics)];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// A figure that is being added up.
#[derive(Clone, Debug)]
struct Entry {
    kind: OutputKind,
    name: String,
    /// Axes of the mean by name, the batch left out; `None` if it is no mean over the batch.
    over: Option<Vec<String>>,
    sum: f64,
    weight: f64,
}

/// Figures that are being added up.
#[derive(Clone, Debug)]
pub struct Tally {
    entries: Vec<Entry>,
}

impl Tally {
    /// Zero of every loss and, if asked, every metric of `graph` (as checked, before any pass).
    pub fn new(graph: &Graph, metrics: bool) -> Tally {
        let wanted = |kind| kind == OutputKind::Loss || metrics && kind == OutputKind::Metric;
        let outputs = graph.outputs.iter().filter(|output| wanted(output.kind));
        let entry = |output: &crate::ir::Output| {
            let over = match graph.op(output.value.node) {
                Op::Reduce(Reduction::Mean, Along::Axes(over)) if over.contains(BATCH) => {
                    Some(over.without(BATCH).iter().map(|axis| graph.axis_name(axis).to_string()).collect())
                }
                _ => None,
            };
            Entry { kind: output.kind, name: output.name.clone(), over, sum: 0.0, weight: 0.0 }
        };
        Tally { entries: outputs.map(entry).collect() }
    }

    /// Adds what the last run of `batch` gave.
    ///
    /// # Errors
    /// The batch is of another program.
    pub fn add<R: Real>(&mut self, batch: &Batch<R>) -> Result<(), BatchError> {
        let axes = &batch.plan().axes;
        for entry in &mut self.entries {
            let weight = entry.over.as_ref().map_or(1.0, |over| {
                let over = over.iter().filter_map(|name| axes.iter().position(|axis| axis == name));
                positions(batch.lengths(), &over.collect::<Vec<_>>())
            });
            let prefix = if entry.kind == OutputKind::Loss { "loss" } else { "metric" };
            let value = batch.number(&format!("{prefix}:{}", entry.name))?;
            if weight > 0.0 {
                entry.sum += value * weight;
                entry.weight += weight;
            }
        }
        Ok(())
    }

    /// The means so far.
    pub fn figures(&self) -> Figures {
        let of = |kind| {
            let own = self.entries.iter().filter(move |entry| entry.kind == kind);
            own.map(|entry| {
                (entry.name.clone(), if entry.weight > 0.0 { entry.sum / entry.weight } else { 0.0 })
            })
            .collect()
        };
        Figures { losses: of(OutputKind::Loss), metrics: of(OutputKind::Metric) }
    }
}

/// How many positions the whole batch has on these axes together.
fn positions(lengths: &Lengths, over: &[usize]) -> f64 {
    let of = |example: usize| over.iter().map(|&axis| lengths.axes[axis][example] as f64).product::<f64>();
    (0..lengths.examples).map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_batch_counts() {
        let lengths =
            Lengths { examples: 3, axes: vec![vec![], vec![2, 0, 5], vec![3, 1, 1]], ..Lengths::default() };
        assert_eq!(positions(&lengths, &[]), 3.0);
        assert_eq!(positions(&lengths, &[1]), 7.0);
        assert_eq!(positions(&lengths, &[1, 2]), 11.0);
    }

    #[test]
    fn details_say_what_the_total_does_not() {
        let figure = |name: &str, value| (name.to_string(), value);
        let one = Figures { losses: vec![figure("y", 1.0)], metrics: vec![] };
        assert_eq!((one.loss(), one.details().as_str()), (1.0, ""));
        let more =
            Figures { losses: vec![figure("y", 1.0), figure("l2", 0.5)], metrics: vec![figure("a", 2.0)] };
        assert_eq!(more.loss(), 1.5);
        assert_eq!(more.details(), "y 1.0000, l2 0.5000; a 2.0000");
    }
}
