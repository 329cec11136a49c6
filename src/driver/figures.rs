//! Losses and metrics over many batches, each exactly what it is over all the data.
//!
//! A loss of a batch is the mean over its observed values; batches of different sizes are added with the
//! numbers of those values as weights. A metric that is made of sums over the batch, such as
//! `2 * sum(p * y over all) / (sum(p over all) + sum(y over all))`, is taken apart: the sums are added up over
//! the batches, and the rest is computed once, from their totals. It reads numbers that a run left behind and runs nothing.

use std::collections::BTreeMap;

use super::batch::{Batch, BatchError};
use crate::eval::{Feeds, evaluate};
use crate::ir::{Along, AxisSet, BATCH, Graph, Node, NodeId, Op, Output, OutputKind, ParamSpec, Reduction};
use crate::opt::clean;
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

/// How a part of a figure is put together from the batches'.
#[derive(Clone, Debug, PartialEq)]
enum How {
    /// The mean of the batches' numbers.
    Each,
    /// A mean over these axes and the batch.
    Mean(Vec<String>),
    Sum,
    Max,
}

/// What is added up over the batches: an output of the program.
#[derive(Clone, Debug)]
struct Part {
    output: String,
    how: How,
    values: Vec<f64>,
    weight: f64,
}

/// A figure that is being added up.
#[derive(Clone, Debug)]
struct Entry {
    kind: OutputKind,
    name: String,
    parts: Vec<Part>,
    /// The figure from its parts, which are parameters of it; `None`: it is its only part.
    formula: Option<Graph>,
}

/// Figures that are being added up.
#[derive(Clone, Debug)]
pub struct Tally {
    entries: Vec<Entry>,
}

impl Tally {
    /// Zero of every loss and, if asked, every metric of `graph` (as checked, before any pass). Metrics that are
    /// taken apart have their parts as outputs of the graph in their place.
    pub fn new(graph: &mut Graph, metrics: bool) -> Tally {
        let wanted = |kind| kind == OutputKind::Loss || metrics && kind == OutputKind::Metric;
        let outputs: Vec<Output> = graph.outputs.iter().filter(|it| wanted(it.kind)).cloned().collect();
        Tally { entries: outputs.into_iter().map(|output| Entry::new(graph, output)).collect() }
    }

    /// Adds what the last run of `batch` gave.
    ///
    /// # Errors
    /// The batch is of another program.
    pub fn add<R: Real>(&mut self, batch: &Batch<R>) -> Result<(), BatchError> {
        let axes = &batch.plan().axes;
        for part in self.entries.iter_mut().flat_map(|entry| &mut entry.parts) {
            let weight = match &part.how {
                How::Each => 1.0,
                How::Mean(over) => {
                    let over = over.iter().filter_map(|name| axes.iter().position(|axis| axis == name));
                    positions(batch.lengths(), &over.collect::<Vec<_>>())
                }
                How::Sum | How::Max => f64::from(u8::from(batch.lengths().examples > 0)),
            };
            let values = batch.values(&part.output)?;
            if weight > 0.0 {
                part.add(values.iter().map(|value| value.to_f64()), weight);
            }
        }
        Ok(())
    }

    /// The figures so far.
    pub fn figures(&self) -> Figures {
        let of = |kind| {
            let own = self.entries.iter().filter(move |entry| entry.kind == kind);
            own.map(|entry| (entry.name.clone(), entry.value())).collect()
        };
        Figures { losses: of(OutputKind::Loss), metrics: of(OutputKind::Metric) }
    }
}

impl Entry {
    /// Of an output of `graph`.
    fn new(graph: &mut Graph, output: Output) -> Entry {
        let Output { kind, name, value } = output;
        let prefix = if kind == OutputKind::Loss { "loss" } else { "metric" };
        let whole = |how| Part { output: format!("{prefix}:{name}"), how, values: Vec::new(), weight: 0.0 };
        if let Some(how @ How::Mean(_)) = how(graph, value.node) {
            return Entry { kind, parts: vec![whole(how)], name, formula: None };
        }
        let found = if kind == OutputKind::Metric { sums(graph, value.node) } else { None };
        let Some(found) = found.filter(|found| !found.is_empty()) else {
            return Entry { kind, parts: vec![whole(How::Each)], name, formula: None };
        };
        let mut formula = graph.clone();
        formula.outputs = vec![Output { kind, name: name.clone(), value }];
        graph.outputs.retain(|it| it.kind != kind || it.name != name);
        let mut parts = Vec::new();
        formula.inputs.clear();
        formula.params.clear();
        for (number, (node, how)) in found.into_iter().enumerate() {
            let own = format!("{name}#{number}");
            graph.outputs.push(Output { kind, name: own.clone(), value: node.into() });
            let Node { ty, origin, .. } = formula.node(node).clone();
            let values = vec![0.0; ty.size()];
            parts.push(Part { output: format!("metric:{own}"), how, values, weight: 0.0 });
            let (shape, init) = (ty.shape.clone(), ("zeros".to_string(), None));
            formula.params.push(ParamSpec { name: own.clone(), shape, init, trainable: false });
            let leaf = formula.leaf(Op::Param(own), ty, origin, None);
            formula.replace(node, leaf.into());
        }
        clean(&mut formula);
        Entry { kind, name, parts, formula: Some(formula) }
    }

    fn value(&self) -> f64 {
        let Some(formula) = &self.formula else {
            let part = self.parts.first().map(Part::total).unwrap_or_default();
            return part.first().copied().unwrap_or(0.0);
        };
        let params: BTreeMap<String, Vec<f64>> = self
            .parts
            .iter()
            .map(|part| (part.output.trim_start_matches("metric:").to_string(), part.total()))
            .collect();
        let feeds = Feeds { params, ..Feeds::default() };
        let found = evaluate(formula, &feeds).ok();
        let found = found.and_then(|values| Some(values.output(self.kind, &self.name)?.numbers()));
        found.and_then(|numbers| numbers.first().copied()).unwrap_or(f64::NAN)
    }
}

impl Part {
    fn add(&mut self, values: impl Iterator<Item = f64>, weight: f64) {
        let max = self.how == How::Max;
        let values: Vec<f64> = values.map(|value| value * if max { 1.0 } else { weight }).collect();
        if self.weight == 0.0 {
            self.values = values;
        } else {
            let join = |a: &mut f64, b: f64| *a = if max { a.max(b) } else { *a + b };
            self.values.iter_mut().zip(values).for_each(|(a, b)| join(a, b));
        }
        self.weight += weight;
    }

    fn total(&self) -> Vec<f64> {
        match self.how {
            How::Sum | How::Max => self.values.clone(),
            How::Each | How::Mean(_) => self
                .values
                .iter()
                .map(|value| if self.weight > 0.0 { value / self.weight } else { 0.0 })
                .collect(),
        }
    }
}

/// How a reduction over the batch is put together from those of several batches.
fn how(graph: &Graph, node: NodeId) -> Option<How> {
    let names = |over: AxisSet| -> Vec<String> {
        over.without(BATCH).iter().map(|axis| graph.axis_name(axis).to_string()).collect()
    };
    match graph.op(node) {
        Op::Reduce(reduction, Along::Axes(over)) if over.contains(BATCH) => Some(match reduction {
            Reduction::Mean => How::Mean(names(*over)),
            Reduction::Sum => How::Sum,
            Reduction::Max => How::Max,
        }),
        _ => None,
    }
}

/// The sums over the batch that a number is made of, if it is made of them and of constants alone.
fn sums(graph: &Graph, node: NodeId) -> Option<Vec<(NodeId, How)>> {
    let mut found: Vec<(NodeId, How)> = Vec::new();
    let mut stack = vec![node];
    while let Some(node) = stack.pop() {
        if found.iter().any(|(known, _)| *known == node) {
            continue;
        }
        if graph.ty(node).axes != AxisSet::NONE {
            return None;
        }
        match (how(graph, node), graph.op(node)) {
            (Some(how), _) => found.push((node, how)),
            (None, Op::Constant(_)) => {}
            (None, _) if graph.operands(node).is_empty() => return None,
            (None, _) => stack.extend(graph.operands(node).iter().map(|operand| operand.node)),
        }
    }
    Some(found)
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
