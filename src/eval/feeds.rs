//! What a program is given: lengths, parameters, inputs, settings and the random seed.
//!
//! Two sentences of three and no words: `examples: 2`, `lengths: {"t": [3, 0]}`,
//! `inputs: {"words": Ids([[4, 1, 2], []])}`. Nothing is padded here.

use std::collections::BTreeMap;

use super::EvalError;
use crate::ir::{AxisId, BATCH, Element, Graph, Op, ValueType};

/// The data of an input: per example its positions (row-major over the axes other than the batch, in
/// the graph's order), each with its elements (row-major over the shape), one after the other. An
/// input without the batch has a single entry.
#[derive(Clone, Debug, PartialEq)]
pub enum InputData {
    /// Numbers.
    Real(Vec<Vec<f64>>),
    /// Ids; `None` is no id.
    Ids(Vec<Vec<Option<u32>>>),
}

/// Everything a program is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feeds {
    /// Number of examples in the batch.
    pub examples: usize,
    /// By name of the axis: the length of every example, which may be zero.
    pub lengths: BTreeMap<String, Vec<usize>>,
    /// By path: a parameter's elements, row-major.
    pub params: BTreeMap<String, Vec<f64>>,
    /// By name.
    pub inputs: BTreeMap<String, InputData>,
    /// By name.
    pub settings: BTreeMap<String, f64>,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Number of the training step, which the random numbers depend on, too.
    pub step: u32,
}

/// Lengths by axis and example, checked against the graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    examples: usize,
    by_axis: Vec<Vec<usize>>,
}

impl Lengths {
    /// Of the axes of `graph` that some node has.
    pub(super) fn new(graph: &Graph, feeds: &Feeds) -> Result<Lengths, EvalError> {
        let mut used = crate::ir::AxisSet::NONE;
        for node in graph.ids() {
            used = used.union(graph.ty(node).axes);
            match graph.op(node) {
                Op::Count(axes) => used = used.union(*axes),
                Op::Length(axis) => used = used.with(*axis),
                _ => {}
            }
        }
        let mut by_axis = vec![vec![1; feeds.examples]; graph.axes.len()];
        for axis in used.without(BATCH).iter() {
            let name = graph.axis_name(axis);
            let given = feeds
                .lengths
                .get(name)
                .ok_or_else(|| EvalError::Missing { kind: "lengths of axis", name: name.to_string() })?;
            size(|| format!("the lengths of axis `{name}`"), feeds.examples, given.len())?;
            by_axis[usize::from(axis.0)].clone_from(given);
        }
        Ok(Lengths { examples: feeds.examples, by_axis })
    }

    /// Number of examples.
    pub(super) fn examples(&self) -> usize {
        self.examples
    }

    /// How many positions an example has on an axis other than the batch.
    pub(super) fn of(&self, axis: AxisId, example: usize) -> usize {
        self.by_axis[usize::from(axis.0)].get(example).copied().unwrap_or(0)
    }

    /// The most positions that any example has on an axis.
    pub(super) fn longest(&self, axis: AxisId) -> usize {
        self.by_axis[usize::from(axis.0)].iter().copied().max().unwrap_or(0)
    }

    /// How many positions an example has on these axes together, the batch not counted.
    pub(super) fn positions(&self, axes: crate::ir::AxisSet, example: usize) -> usize {
        axes.without(BATCH).iter().map(|axis| self.of(axis, example)).product()
    }
}

/// Checks that everything the graph reads was given, in the right size and range.
pub(super) fn check(graph: &Graph, feeds: &Feeds, lengths: &Lengths) -> Result<(), EvalError> {
    for node in graph.ids() {
        let ty = graph.ty(node);
        match graph.op(node) {
            Op::Param(name) => {
                let given = feeds.params.get(name);
                let missing = || EvalError::Missing { kind: "parameter", name: name.clone() };
                let found = given.ok_or_else(missing)?.len();
                size(|| format!("parameter `{name}`"), ty.size(), found)?;
            }
            Op::Input(name) => input(name, ty, feeds, lengths)?,
            Op::Setting(name) if !feeds.settings.contains_key(name) => {
                return Err(EvalError::Missing { kind: "setting", name: name.clone() });
            }
            _ => {}
        }
    }
    Ok(())
}

fn input(name: &str, ty: &ValueType, feeds: &Feeds, lengths: &Lengths) -> Result<(), EvalError> {
    let missing = || EvalError::Missing { kind: "input", name: name.to_string() };
    let given = feeds.inputs.get(name).ok_or_else(missing)?;
    let sizes: Vec<usize> = match (given, ty.element) {
        (InputData::Real(examples), Element::Real) => examples.iter().map(Vec::len).collect(),
        (InputData::Ids(examples), Element::Id(_)) => examples.iter().map(Vec::len).collect(),
        (_, Element::Real) => {
            return Err(EvalError::Element { name: name.to_string(), expected: "real numbers" });
        }
        (_, Element::Id(_)) => {
            return Err(EvalError::Element { name: name.to_string(), expected: "ids" });
        }
    };
    let examples = if ty.axes.contains(BATCH) { lengths.examples() } else { 1 };
    size(|| format!("input `{name}`"), examples, sizes.len())?;
    for (example, found) in sizes.into_iter().enumerate() {
        let expected = lengths.positions(ty.axes, example) * ty.size();
        size(|| format!("example {example} of input `{name}`"), expected, found)?;
    }
    if let (InputData::Ids(examples), Element::Id(range)) = (given, ty.element) {
        for (example, ids) in examples.iter().enumerate() {
            for (position, id) in ids.iter().enumerate() {
                if let Some(id) = id.filter(|&id| id as usize >= range) {
                    return Err(EvalError::IdRange {
                        name: format!("input `{name}`"),
                        place: format!("position {position} of example {example}"),
                        id,
                        range,
                    });
                }
            }
        }
    }
    Ok(())
}

fn size(what: impl FnOnce() -> String, expected: usize, found: usize) -> Result<(), EvalError> {
    if expected == found { Ok(()) } else { Err(EvalError::Size { what: what(), expected, found }) }
}
