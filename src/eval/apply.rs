//! One operation at one position: the meaning of every [`Op`], in one match.
//!
//! `sum(x over t)` at an example is the sum of `x` at all its positions; at no axis but with the batch
//! among the axes summed over, at all positions of all examples.

use std::borrow::Cow;
use std::sync::atomic::AtomicU32;

use super::arithmetic;
use super::feeds::{Feeds, InputData};
use super::storage::{Place, Value, Values};
use super::{EvalError, random};
use crate::ir::{Along, AxisId, AxisKind, AxisSet, BATCH, Graph, NodeId, Op, Operand, ValueType};

/// What an operation may look at.
pub(super) struct Context<'a> {
    pub(super) graph: &'a Graph,
    pub(super) feeds: &'a Feeds,
    pub(super) values: &'a Values,
    /// What is to be 0 while it computes.
    pub(super) stop: Option<&'a AtomicU32>,
}

/// The value of `node` at `place`, whose operands are known there.
pub(super) fn apply(
    context: &Context,
    node: NodeId,
    operands: &[Operand],
    place: &Place,
) -> Result<Value<'static>, EvalError> {
    let Context { graph, feeds, values, .. } = context;
    let ty = graph.ty(node);
    let read = |index: usize| values.read(operands[index], place);
    let shape = |index: usize| graph.ty(operands[index].node).shape.as_slice();
    let elements = |number: &dyn Fn(usize) -> f64| (0..ty.size()).map(number).collect::<Vec<f64>>();
    let numbers = match graph.op(node) {
        Op::Input(name) => return Ok(input(context, name, ty, place)),
        Op::Param(name) => feeds.params.get(name).cloned().unwrap_or_default(),
        Op::Constant(value) => vec![*value; ty.size()],
        Op::Position(axis) => vec![place[usize::from(axis.0)] as f64],
        Op::Length(axis) => vec![length(values, *axis, place) as f64],
        Op::Count(axes) => {
            let lengths = values.lengths();
            let count: usize = (0..lengths.examples()).map(|example| lengths.positions(*axes, example)).sum();
            vec![count as f64]
        }
        Op::Setting(name) => vec![feeds.settings.get(name).copied().unwrap_or(0.0)],
        Op::NoId => return Ok(Value::Id(None)),
        Op::Random(stream) => uniform(context, *stream, ty, place),
        Op::Unary(unary) => {
            let x = read(0);
            x.real().iter().map(|&x| arithmetic::unary(*unary, x)).collect()
        }
        Op::Binary(binary) => match (read(0), read(1)) {
            (Value::Id(a), Value::Id(b)) => vec![arithmetic::compare(*binary, a, b)],
            (a, b) => elements(&|at| {
                let a = arithmetic::stretched(a.real(), shape(0), at);
                arithmetic::binary(*binary, a, arithmetic::stretched(b.real(), shape(1), at))
            }),
        },
        Op::Select => {
            let [condition, a, b] = [read(0), read(1), read(2)];
            let holds = |at| arithmetic::stretched(condition.real(), shape(0), at) != 0.0;
            if let (Value::Id(a), Value::Id(b)) = (&a, &b) {
                return Ok(Value::Id(if holds(0) { *a } else { *b }));
            }
            elements(&|at| {
                let (from, index) = if holds(at) { (&a, 1) } else { (&b, 2) };
                arithmetic::stretched(from.real(), shape(index), at)
            })
        }
        Op::OneHot(size) => {
            let at = row(context, node, read(0).id(), *size, place)?;
            (0..*size).map(|index| if Some(index) == at { 1.0 } else { 0.0 }).collect()
        }
        Op::Gather => {
            let table = read(0);
            match row(context, node, read(1).id(), shape(0)[0], place)? {
                Some(at) => table.real()[at * ty.size()..(at + 1) * ty.size()].to_vec(),
                None => vec![0.0; ty.size()],
            }
        }
        Op::ArgMax => return Ok(Value::Id(arithmetic::argmax(read(0).real()))),
        Op::Slice { dim, start, len } => arithmetic::slice(read(0).real(), shape(0), *dim, *start, *len),
        Op::Concat { dim } => {
            let parts: Vec<Value> = (0..operands.len()).map(read).collect();
            let parts: Vec<_> =
                parts.iter().enumerate().map(|(index, part)| (shape(index), part.real())).collect();
            arithmetic::concat(&parts, *dim)
        }
        Op::Contract(contract) => {
            let axes = graph.type_at(operands[0]).axes.union(graph.type_at(operands[1]).axes);
            let places = within(values, axes, contract.over, place);
            let mut total = vec![0.0; ty.size()];
            for there in &places {
                let [left, right] = [values.read(operands[0], there), values.read(operands[1], there)];
                let [left, right] = [(shape(0), left.real()), (shape(1), right.real())];
                if !arithmetic::contract(contract, left, right, &mut total, context.stop) {
                    return Err(EvalError::Interrupted);
                }
            }
            if contract.mean && !places.is_empty() {
                total.iter_mut().for_each(|sum| *sum /= places.len() as f64);
            }
            total
        }
        Op::Reduce(reduction, Along::Last) => {
            lines(read(0).real(), shape(0)).map(|line| arithmetic::reduce(*reduction, line)).collect()
        }
        Op::Reduce(reduction, Along::Axes(over)) => {
            let axes = graph.type_at(operands[0]).axes;
            let places = within(values, axes, *over, place);
            across(values, operands[0], &places, ty.size(), |numbers| arithmetic::reduce(*reduction, numbers))
        }
        Op::Softmax(Along::Last) => lines(read(0).real(), shape(0)).flat_map(arithmetic::softmax).collect(),
        Op::Softmax(Along::Axes(over)) => {
            let axes = graph.type_at(operands[0]).axes;
            let places = within(values, axes, *over, place);
            let here = places.iter().position(|there| there == place).unwrap_or(0);
            across(values, operands[0], &places, ty.size(), |numbers| arithmetic::softmax(numbers)[here])
        }
        Op::LogSumExp => lines(read(0).real(), shape(0)).map(arithmetic::log_sum_exp).collect(),
        Op::Initially => {
            let index = usize::from(!values.exists(operands[0].access, place));
            return Ok(owned(read(index)));
        }
        Op::Copy | Op::Stop => return Ok(owned(read(0))),
    };
    Ok(Value::Real(Cow::Owned(numbers)))
}

fn owned(value: Value) -> Value<'static> {
    match value {
        Value::Real(numbers) => Value::Real(Cow::Owned(numbers.into_owned())),
        Value::Id(id) => Value::Id(id),
    }
}

/// The positions on `axes` that agree with `place` on those that are not summed over.
fn within(values: &Values, axes: AxisSet, over: AxisSet, place: &Place) -> Vec<Place> {
    let summed = axes.minus(axes.minus(over));
    let examples = if over.contains(BATCH) { 0..values.lengths().examples() } else { place[0]..place[0] + 1 };
    let of = |example: usize| {
        let mut start = place.clone();
        start[0] = example;
        values.places_from(summed.without(BATCH), start)
    };
    examples.flat_map(of).collect()
}

/// For each element of an operand: `combine` of that element at all `places`.
fn across(
    values: &Values,
    operand: Operand,
    places: &[Place],
    size: usize,
    combine: impl Fn(&[f64]) -> f64,
) -> Vec<f64> {
    let read: Vec<Value> = places.iter().map(|there| values.read(operand, there)).collect();
    (0..size).map(|at| combine(&read.iter().map(|value| value.real()[at]).collect::<Vec<f64>>())).collect()
}

/// The lines of an array along its last dimension.
fn lines<'a>(x: &'a [f64], shape: &[usize]) -> impl Iterator<Item = &'a [f64]> {
    let length = shape.last().copied().unwrap_or(1);
    let count = shape.iter().rev().skip(1).product();
    (0..count).map(move |line| &x[line * length..(line + 1) * length])
}

fn row(
    context: &Context,
    node: NodeId,
    id: Option<u32>,
    range: usize,
    place: &Place,
) -> Result<Option<usize>, EvalError> {
    match id {
        Some(id) if id as usize >= range => {
            let name = context.graph.node(node).name.as_deref();
            Err(EvalError::IdRange {
                name: name.map_or_else(|| format!("node {}", node.index()), |name| format!("`{name}`")),
                place: format!("position {:?} of example {}", &place[1..], place[0]),
                id,
                range,
            })
        }
        id => Ok(id.map(|id| id as usize)),
    }
}

fn input(context: &Context, name: &str, ty: &ValueType, place: &Place) -> Value<'static> {
    let position = position(context.values, ty.axes, place);
    let example = if ty.axes.contains(BATCH) { place[0] } else { 0 };
    match context.feeds.inputs.get(name) {
        Some(InputData::Real(examples)) => {
            let row = position * ty.size()..(position + 1) * ty.size();
            Value::Real(Cow::Owned(examples[example][row].to_vec()))
        }
        Some(InputData::Ids(examples)) => Value::Id(examples[example][position]),
        None => Value::Id(None),
    }
}

fn uniform(context: &Context, stream: u32, ty: &ValueType, place: &Place) -> Vec<f64> {
    let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let position = word(position(context.values, ty.axes, place));
    let example = if ty.axes.contains(BATCH) { word(place[0]) } else { 0 };
    let Feeds { seed, step, .. } = *context.feeds;
    (0..ty.size()).map(|column| random::number(seed, step, stream, example, position, word(column))).collect()
}

/// How many positions an axis has, seen from a place.
fn length(values: &Values, axis: AxisId, place: &Place) -> usize {
    let lengths = values.lengths();
    match (lengths.kind(axis), lengths.tree(axis, place[0])) {
        (AxisKind::Children(tree), Some(nodes)) => nodes.arity(place[usize::from(tree.0)]),
        _ => lengths.of(axis, place[0]),
    }
}

/// The number of a position among those of its example on `axes`, row-major.
fn position(values: &Values, axes: AxisSet, place: &Place) -> usize {
    values.lengths().row(axes, place).unwrap_or(0)
}
