//! Random data for a random program, and the same data for its unrolled copy.

use super::{Fill, Form, Rng, Sample, coordinates, tree};
use crate::eval::{Feeds, InputData};
use crate::ir::{AxisId, AxisKind, BATCH, Element, Graph, Op, Tree};

/// How many examples and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// One to five examples, each axis of each from 0 to 6 steps long, each tree of up to 7 nodes.
    Ragged,
    /// So many examples like these.
    Large(usize),
    /// One to three examples, every axis of each so many steps long, all with one tree of so many nodes.
    Equal(usize),
}

/// A random batch, random parameters and settings.
pub fn feeds(sample: &Sample, seed: u64, batch: Batch) -> Feeds {
    let mut rng = Rng::new(seed ^ 0x5EED);
    let graph = &sample.graph;
    let mut feeds = Feeds { seed: rng.bits(), step: 3, ..Feeds::default() };
    feeds.examples = match batch {
        Batch::Ragged => rng.between(1, 5),
        Batch::Large(examples) => examples,
        Batch::Equal(_) => rng.between(1, 3),
    };
    for axis in graph.axes.iter().skip(1) {
        match axis.kind {
            AxisKind::Children(_) | AxisKind::Leaves(_) => {}
            AxisKind::Tree => {
                let trees = trees(&mut rng, feeds.examples, batch);
                feeds.trees.insert(axis.name.clone(), trees);
            }
            AxisKind::Batch | AxisKind::Time => {
                let lengths = (0..feeds.examples).map(|_| match batch {
                    Batch::Ragged | Batch::Large(_) => rng.one_of([0, 1, 2, 3, 4, 5, 6]),
                    Batch::Equal(steps) => steps,
                });
                feeds.lengths.insert(axis.name.clone(), lengths.collect());
            }
        }
    }
    for param in &graph.params {
        let size: usize = param.shape.iter().product();
        let fill = sample.fills.get(&param.name).copied().unwrap_or(Fill::Spread(1.0));
        feeds.params.insert(param.name.clone(), filled(&mut rng, fill, size));
    }
    for input in &graph.inputs {
        let positions = |example| coordinates(graph, &feeds, input.ty.axes, example).len();
        let data: Vec<usize> =
            (0..feeds.examples).map(|example| positions(example) * input.ty.size()).collect();
        let data = match input.ty.element {
            Element::Real => {
                let numbers = |size: &usize| filled(&mut rng, Fill::Spread(1.0), *size);
                InputData::Real(data.iter().map(numbers).collect())
            }
            Element::Id(range) => {
                let mut id = || if rng.chance(0.1) { None } else { u32::try_from(rng.below(range)).ok() };
                InputData::Ids(data.iter().map(|&size| (0..size).map(|_| id()).collect()).collect())
            }
        };
        feeds.inputs.insert(input.name.clone(), data);
    }
    for node in graph.ids() {
        if let Op::Setting(name) = graph.op(node) {
            feeds.settings.insert(name.clone(), rng.uniform(0.5, 1.5));
        }
    }
    feeds
}

/// One tree an example; of equal ones the same for all.
fn trees(rng: &mut Rng, examples: usize, batch: Batch) -> Vec<Tree> {
    let forms = [Form::Chain, Form::Comb, Form::Balanced, Form::Star, Form::Random(2), Form::Random(4)];
    match batch {
        Batch::Equal(nodes) => {
            let form = rng.one_of(forms);
            vec![tree(rng, form, nodes); examples]
        }
        Batch::Ragged | Batch::Large(_) => (0..examples)
            .map(|_| {
                let (form, nodes) = (rng.one_of(forms), rng.one_of([0, 1, 2, 3, 4, 5, 7]));
                tree(rng, form, nodes)
            })
            .collect(),
    }
}

fn filled(rng: &mut Rng, fill: Fill, size: usize) -> Vec<f64> {
    match fill {
        Fill::Spread(bound) => (0..size).map(|_| rng.uniform(-bound, bound)).collect(),
        Fill::Signs => (0..size).map(|_| rng.one_of([-1.5, 1.5])).collect(),
        Fill::Ranks => {
            let mut ranks: Vec<f64> = (0..size).map(|rank| rank as f64).collect();
            rng.shuffle(&mut ranks);
            ranks
        }
    }
}

/// The same data for `unroll(graph, axis, steps)`: an input along the axis becomes one a step.
pub fn unrolled_feeds(graph: &Graph, feeds: &Feeds, axis: AxisId, steps: usize) -> Feeds {
    let mut found = feeds.clone();
    for input in &graph.inputs {
        if !input.ty.axes.contains(axis) {
            continue;
        }
        let Some(data) = found.inputs.remove(&input.name) else { continue };
        // Rows are the axes before, this axis, the axes after and the shape.
        let inner = |example: usize| {
            let after = input.ty.axes.without(BATCH).iter().filter(|other| *other > axis);
            let lengths = after.map(|other| feeds.lengths[graph.axis_name(other)][example]);
            lengths.product::<usize>() * input.ty.size()
        };
        for step in 0..steps {
            let data = match &data {
                InputData::Real(all) => InputData::Real(cut(all, steps, step, inner)),
                InputData::Ids(all) => InputData::Ids(cut(all, steps, step, inner)),
            };
            found.inputs.insert(format!("{}_{step}", input.name), data);
        }
    }
    found
}

/// The same data for `unroll_tree(graph, axis, …)`: an input on the tree becomes one a node (an edge, a leaf).
pub fn unrolled_tree_feeds(graph: &Graph, feeds: &Feeds, tree: AxisId) -> Feeds {
    let mut found = feeds.clone();
    for input in &graph.inputs {
        let axes = input.ty.axes.without(BATCH);
        let gone = |axis: AxisId| graph.axis_kind(axis).tree(axis) == Some(tree);
        let Some(data) = found.inputs.remove(&input.name).filter(|_| axes.iter().any(gone)) else {
            found.inputs.insert(input.name.clone(), feeds.inputs[&input.name].clone());
            continue;
        };
        let name_of = |place: &[usize]| {
            let numbers = axes.iter().zip(place).filter(|(axis, _)| gone(*axis));
            numbers.fold(input.name.clone(), |name, (_, at)| format!("{name}_{at}"))
        };
        for example in 0..feeds.examples {
            for (number, place) in coordinates(graph, feeds, axes, example).iter().enumerate() {
                let size = input.ty.size();
                let range = number * size..(number + 1) * size;
                let own = found.inputs.entry(name_of(place)).or_insert_with(|| match data {
                    InputData::Real(_) => InputData::Real(vec![Vec::new(); feeds.examples]),
                    InputData::Ids(_) => InputData::Ids(vec![Vec::new(); feeds.examples]),
                });
                match (own, &data) {
                    (InputData::Real(own), InputData::Real(all)) => {
                        own[example].extend_from_slice(&all[example][range]);
                    }
                    (InputData::Ids(own), InputData::Ids(all)) => {
                        own[example].extend_from_slice(&all[example][range]);
                    }
                    _ => {}
                }
            }
        }
    }
    found
}

fn cut<T: Copy>(all: &[Vec<T>], steps: usize, step: usize, inner: impl Fn(usize) -> usize) -> Vec<Vec<T>> {
    let one = |(example, elements): (usize, &Vec<T>)| {
        let inner = inner(example);
        let blocks = elements.chunks(inner.max(1)).skip(step).step_by(steps.max(1));
        blocks.flatten().copied().collect()
    };
    all.iter().enumerate().map(one).collect()
}
