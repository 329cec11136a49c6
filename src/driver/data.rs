//! Examples in memory: cut into batches, shuffled, and fed to programs.
//!
//! ```text
//! two examples, `w: id(9) over t` of 3 and 1 steps   values 4 1 2 | 7
//! select [1, 0]                                      7 - - | 4 1 2    padded to the longer one
//! ```
//!
//! Where examples come from is not known here: `table` reads them from records, `arrays` from an archive,
//! `treebank` from a text of trees.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::batch::Feed;
use crate::base::Tree;
use crate::base::philox::philox4x32;
use crate::eval::InputData;
use crate::ir::{AxisId, AxisKind, BATCH, Element, Graph, InputSpec};
use crate::plan::Plan;
use crate::runtime::initializer::Initializer;
use crate::runtime::layout::Lengths;
use crate::runtime::program::Real;

/// Batches that are sorted by length together: long enough that they are of like length, short enough that
/// their make-up differs from epoch to epoch.
const SORTED: usize = 50;

/// The trees of examples by the name of their axis, one an example.
pub type Trees = BTreeMap<String, Vec<Arc<Tree>>>;

/// Examples in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// How many.
    pub examples: usize,
    /// Lengths of the examples by axis, those of trees, children (the most that a node has) and leaves too.
    pub lengths: BTreeMap<String, Vec<usize>>,
    /// Their trees.
    pub trees: Trees,
    pub(super) inputs: Vec<Input>,
}

/// The values of one input in all examples.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Input {
    pub name: String,
    /// Its axes behind the batch.
    pub axes: Vec<InputAxis>,
    /// Elements at a position.
    pub width: usize,
    /// Where the positions of each example begin; `None` where they begin at its number. Positions in a
    /// row have one axis of extent 1.
    pub starts: Option<Vec<usize>>,
    pub values: Values,
}

/// An axis of an input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct InputAxis {
    pub name: String,
    /// The extent of the array along it.
    pub extent: usize,
    /// Of the children of a tree's nodes: which of the input's axes the tree is.
    pub tree: Option<usize>,
}

/// Values as they were read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    Real(Vec<f64>),
    Ids(Vec<u32>),
}

/// Some of the examples, padded to the longest of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples<R> {
    /// How many.
    pub count: usize,
    /// Lengths by axis.
    pub lengths: BTreeMap<String, Vec<usize>>,
    /// Trees by axis.
    pub trees: Trees,
    inputs: Vec<(String, Padded<R>)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Padded<R> {
    Real(Vec<R>),
    Ids(Vec<u32>),
}

impl<R> Examples<R> {
    /// As a program takes them.
    pub fn feeds(&self) -> Vec<(&str, Feed<'_, R>)> {
        let mut feeds = Vec::new();
        for (name, padded) in &self.inputs {
            let feed = match padded {
                Padded::Real(values) => Feed::Real(&values[..]),
                Padded::Ids(ids) => Feed::Ids(&ids[..]),
            };
            feeds.push((name.as_str(), feed));
        }
        feeds
    }

    /// Lengths and trees in the order of a plan's axes.
    pub fn lengths_for(&self, plan: &Plan) -> Lengths {
        let named = |name: &String| self.lengths.get(name).cloned().unwrap_or_else(|| vec![0; self.count]);
        let axes = std::iter::once(Vec::new()).chain(plan.axes.iter().skip(1).map(named)).collect();
        let trees = plan.axes.iter().enumerate();
        let trees = trees.filter_map(|(axis, name)| Some((axis, self.trees.get(name)?.clone())));
        Lengths { examples: self.count, axes, trees: trees.collect() }
    }
}

impl Dataset {
    /// Examples of these lengths and trees; what the lengths along axes of trees are follows from the trees.
    /// Inputs are to be added.
    pub(super) fn new(
        graph: &Graph,
        examples: usize,
        mut lengths: BTreeMap<String, Vec<usize>>,
        trees: Trees,
    ) -> Dataset {
        for axis in graph.axes.iter().skip(1) {
            let (tree, length): (_, fn(&Arc<Tree>) -> usize) = match axis.kind {
                AxisKind::Tree => (&axis.name[..], |tree| tree.len()),
                AxisKind::Children(tree) => (graph.axis_name(tree), |tree| tree.largest_arity()),
                AxisKind::Leaves(tree) => (graph.axis_name(tree), |tree| tree.leaves().len()),
                AxisKind::Batch | AxisKind::Time => continue,
            };
            if let Some(trees) = trees.get(tree) {
                lengths.insert(axis.name.clone(), trees.iter().map(length).collect());
            }
        }
        Dataset { examples, lengths, trees, inputs: Vec::new() }
    }

    /// Random examples of these lengths for the inputs of `graph`: numbers between -1 and 1, ids anywhere.
    pub fn random(
        graph: &Graph,
        lengths: &BTreeMap<String, Vec<usize>>,
        examples: usize,
        seed: u64,
    ) -> Dataset {
        Dataset::random_on(graph, lengths, Trees::new(), examples, seed)
    }

    /// The same on these trees.
    pub fn random_on(
        graph: &Graph,
        lengths: &BTreeMap<String, Vec<usize>>,
        trees: Trees,
        examples: usize,
        seed: u64,
    ) -> Dataset {
        let mut data = Dataset::new(graph, examples, lengths.clone(), trees);
        for spec in &graph.inputs {
            let axes = InputAxis::of(graph, spec, |axis| longest(&data.lengths, graph.axis_name(axis)));
            let rows = examples * axes.iter().map(|axis| axis.extent).product::<usize>();
            let width = spec.ty.size();
            let drawn =
                Initializer::Uniform(1.0).values(&format!("input {}", spec.name), &[rows * width], seed);
            let values = match spec.ty.element {
                Element::Real => Values::Real(drawn),
                Element::Id(size) => {
                    let id = |x: &f64| {
                        (((x + 1.0) / 2.0 * size as f64) as usize).min(size.saturating_sub(1)) as u32
                    };
                    Values::Ids(drawn.iter().map(id).collect())
                }
            };
            data.inputs.push(Input { name: spec.name.clone(), axes, width, starts: None, values });
        }
        data
    }

    /// The length of each example: the sum of those along its axes; empty where there are trees, whose levels
    /// are batched whatever their sizes.
    pub fn sequence_lengths(&self) -> Vec<usize> {
        if !self.trees.is_empty() {
            return Vec::new();
        }
        (0..self.examples).map(|example| self.lengths.values().map(|all| all[example]).sum()).collect()
    }

    /// All examples as the interpreter takes them.
    pub fn for_interpreter(&self) -> BTreeMap<String, InputData> {
        let of = |input: &Input| {
            let rows = |example| self.rows(input, example);
            match &input.values {
                Values::Real(values) => {
                    let row = |row: usize| values[row * input.width..(row + 1) * input.width].to_vec();
                    InputData::Real(
                        (0..self.examples).map(|e| rows(e).into_iter().flat_map(row).collect()).collect(),
                    )
                }
                Values::Ids(ids) => {
                    let id = |row: usize| Some(ids[row]).filter(|&id| id != u32::MAX);
                    InputData::Ids(
                        (0..self.examples).map(|e| rows(e).into_iter().map(id).collect()).collect(),
                    )
                }
            }
        };
        self.inputs.iter().map(|input| (input.name.clone(), of(input))).collect()
    }

    /// The rows of an input's values that are an example's positions, the last axis fastest.
    pub(super) fn rows(&self, input: &Input, example: usize) -> Vec<usize> {
        let mut rows = Vec::new();
        let extents: Vec<usize> = input.axes.iter().map(|axis| axis.extent).collect();
        self.each(input, example, ("", &(0..usize::MAX)), &extents, |from, _| rows.push(from));
        rows
    }

    /// Calls `visit` for every position of an example in a window along an axis: with its row in the input's
    /// values, and in an array of this example with these extents.
    fn each(
        &self,
        input: &Input,
        example: usize,
        window: (&str, &Range<usize>),
        extents: &[usize],
        mut visit: impl FnMut(usize, usize),
    ) {
        let first = input.starts.as_ref().map_or(example, |starts| starts[example]);
        let walk = Walk { data: self, input, example, window, extents };
        walk.go(&mut Vec::new(), (first, 0), &mut visit);
    }

    /// These examples, padded to the longest of them.
    pub fn select<R: Real>(&self, examples: &[usize]) -> Examples<R> {
        self.window(examples, "", &(0..usize::MAX))
    }

    /// Of these examples the positions `steps` along `axis` (as far as each has them), all along the
    /// others.
    pub fn window<R: Real>(&self, examples: &[usize], axis: &str, steps: &Range<usize>) -> Examples<R> {
        let lengths: BTreeMap<String, Vec<usize>> = self
            .lengths
            .iter()
            .map(|(name, all)| {
                let steps = window_of(name, axis, steps);
                (name.clone(), examples.iter().map(|&example| within(all[example], &steps)).collect())
            })
            .collect();
        let chosen = |trees: &Vec<Arc<Tree>>| examples.iter().map(|&at| Arc::clone(&trees[at])).collect();
        let trees = self.trees.iter().map(|(name, trees)| (name.clone(), chosen(trees)));
        let inputs = self.inputs.iter().map(|input| {
            let extents: Vec<usize> = input.axes.iter().map(|axis| longest(&lengths, &axis.name)).collect();
            let each: usize = extents.iter().product();
            let width = input.width;
            let mut rows = Vec::new();
            for (at, &example) in examples.iter().enumerate() {
                self.each(input, example, (axis, steps), &extents, |from, to| {
                    rows.push((from, at * each + to))
                });
            }
            let padded = match &input.values {
                Values::Real(values) => {
                    let mut padded = vec![R::default(); examples.len() * each * width];
                    for (from, to) in rows {
                        for column in 0..width {
                            padded[to * width + column] = R::from_f64(values[from * width + column]);
                        }
                    }
                    Padded::Real(padded)
                }
                Values::Ids(ids) => {
                    let mut padded = vec![u32::MAX; examples.len() * each];
                    rows.into_iter().for_each(|(from, to)| padded[to] = ids[from]);
                    Padded::Ids(padded)
                }
            };
            (input.name.clone(), padded)
        });
        Examples { count: examples.len(), inputs: inputs.collect(), trees: trees.collect(), lengths }
    }
}

/// A way through the positions of an example.
struct Walk<'a> {
    data: &'a Dataset,
    input: &'a Input,
    example: usize,
    window: (&'a str, &'a Range<usize>),
    extents: &'a [usize],
}

impl Walk<'_> {
    /// Visits all positions that begin with these: one for each of the first axes.
    fn go(&self, at: &mut Vec<usize>, (from, to): (usize, usize), visit: &mut impl FnMut(usize, usize)) {
        let number = at.len();
        let Some(axis) = self.input.axes.get(number) else { return visit(from, to) };
        let length = match axis
            .tree
            .and_then(|tree| Some((tree, self.data.trees.get(&self.input.axes[tree].name)?)))
        {
            Some((tree, trees)) => trees[self.example].arity(at[tree]),
            None => self.data.lengths.get(&axis.name).map_or(0, |all| all[self.example]),
        };
        let steps = window_of(&axis.name, self.window.0, self.window.1);
        for step in steps.start..steps.end.min(length) {
            at.push(step);
            let from = from * axis.extent + step;
            self.go(at, (from, to * self.extents[number] + step - steps.start), visit);
            at.pop();
        }
    }
}

impl InputAxis {
    /// The axes of an input behind the batch, with the extents of its array.
    pub fn of(graph: &Graph, spec: &InputSpec, extent: impl Fn(AxisId) -> usize) -> Vec<InputAxis> {
        let axes: Vec<AxisId> = spec.ty.axes.without(BATCH).iter().collect();
        let own = |&axis: &AxisId| InputAxis {
            name: graph.axis_name(axis).to_string(),
            extent: extent(axis),
            tree: match graph.axis_kind(axis) {
                AxisKind::Children(tree) => axes.iter().position(|&other| other == tree),
                AxisKind::Batch | AxisKind::Time | AxisKind::Tree | AxisKind::Leaves(_) => None,
            },
        };
        axes.iter().map(own).collect()
    }
}

/// The longest of the examples along an axis.
fn longest(lengths: &BTreeMap<String, Vec<usize>>, axis: &str) -> usize {
    lengths.get(axis).and_then(|all| all.iter().max().copied()).unwrap_or(0)
}

/// The positions of interest along the axis `name` if those along `axis` are `steps`.
fn window_of(name: &str, axis: &str, steps: &Range<usize>) -> Range<usize> {
    if name == axis { steps.clone() } else { 0..usize::MAX }
}

/// How many of the positions `0..length` lie in `steps`.
fn within(length: usize, steps: &Range<usize>) -> usize {
    length.min(steps.end).saturating_sub(steps.start)
}

/// A shuffled order as one of batches of like length: some batches at once are sorted by `lengths`, and all of
/// them are shuffled again. Nothing changes where all lengths are equal.
pub fn of_like_length(order: &[usize], lengths: &[usize], batch: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let length = |example: usize| lengths.get(example).copied().unwrap_or(0);
    let mut order = order.to_vec();
    if order.windows(2).all(|pair| length(pair[0]) == length(pair[1])) {
        return order;
    }
    order
        .chunks_mut(batch.saturating_mul(SORTED))
        .for_each(|own| own.sort_by_key(|&example| length(example)));
    // A last batch that is not full stays the last.
    let full = order.len() / batch;
    let batches = shuffle((0..full).collect(), seed, epoch, 0x5F10);
    let mut sorted: Vec<usize> =
        batches.iter().flat_map(|&at| &order[at * batch..(at + 1) * batch]).copied().collect();
    sorted.extend(&order[full * batch..]);
    sorted
}

/// The examples `range` in the order of an epoch: a shuffle that seed and epoch alone decide.
pub fn shuffled(range: Range<usize>, seed: u64, epoch: u64) -> Vec<usize> {
    shuffle(range.collect(), seed, epoch, 0x5F0F)
}

/// A shuffle by a stream of random numbers of its own.
fn shuffle(mut order: Vec<usize>, seed: u64, epoch: u64, stream: u32) -> Vec<usize> {
    let key = [seed as u32, (seed >> 32) as u32];
    // Fisher and Yates, from the end.
    for last in (1..order.len()).rev() {
        let words = philox4x32([last as u32, (last as u64 >> 32) as u32, epoch as u32, stream], key);
        let random = u64::from(words[0]) << 32 | u64::from(words[1]);
        // The high half of a product with 2^64 spread evenly.
        let at = (u128::from(random) * (last as u128 + 1)) >> 64;
        order.swap(last, at as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_a_permutation_of_its_own() {
        let first = shuffled(3..40, 1, 0);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (3..40).collect::<Vec<_>>());
        assert_eq!(first, shuffled(3..40, 1, 0));
        assert_ne!(first, shuffled(3..40, 1, 1));
        assert_ne!(first, shuffled(3..40, 2, 0));
    }

    #[test]
    fn batches_are_of_like_length() {
        let lengths: Vec<usize> = (0..103).map(|example| example * 37 % 11).collect();
        let order = shuffled(0..103, 1, 0);
        let sorted = of_like_length(&order, &lengths, 10, 1, 0);
        let mut all = sorted.clone();
        all.sort_unstable();
        assert_eq!(all, (0..103).collect::<Vec<_>>());
        for chosen in sorted.chunks(10) {
            let own: Vec<usize> = chosen.iter().map(|&example| lengths[example]).collect();
            assert!(own.iter().max().unwrap() - own.iter().min().unwrap() <= 2, "{own:?}");
        }
        // Not the short ones first.
        let firsts: Vec<usize> = sorted.chunks(10).map(|chosen| lengths[chosen[0]]).collect();
        assert!(!firsts.is_sorted(), "{firsts:?}");
        assert_eq!(sorted, of_like_length(&order, &lengths, 10, 1, 0));
        assert_ne!(sorted, of_like_length(&shuffled(0..103, 1, 1), &lengths, 10, 1, 1));
        assert_eq!(order, of_like_length(&order, &[7; 103], 10, 1, 0));
        assert_eq!(order, of_like_length(&order, &[], 10, 1, 0));
    }
}
