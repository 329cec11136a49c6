//! Examples from an `.npz` archive: checked against a model's inputs, shuffled, cut into batches.
//!
//! An input `x: [3] over t` is an array `x` of shape `[batch, longest, 3]`; the lengths are an integer
//! array `t` of shape `[batch]`, without which every example is as long as the array. What lies behind an
//! example's end may be anything. Arrays that the model does not name are passed over.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::batch::Feed;
use crate::base::philox::philox4x32;
use crate::eval::InputData;
use crate::ir::{BATCH, Element, Graph, InputSpec};
use crate::runtime::initializer::Initializer;
use crate::runtime::npz::{Array, NpzError, read};
use crate::runtime::program::Real;

/// Why an archive is no data for a model; each names the file and the array.
#[derive(Debug, Error)]
pub enum DataError {
    /// The archive.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// An input without an array.
    #[error("{} has no array `{name}` for the model's input of that name; it has: {found}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The input.
        name: String,
        /// The arrays there are.
        found: String,
    },
    /// An array of the wrong form.
    #[error("array `{name}` in {} has shape {found:?}, but the model needs {expected}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The array.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have, in words.
        expected: String,
    },
    /// Something else.
    #[error("array `{name}` in {}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The array.
        name: String,
        /// What is wrong, with the place.
        reason: String,
    },
    /// No example at all.
    #[error("{} holds no examples", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Examples in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// How many.
    pub examples: usize,
    /// Lengths of the examples by axis.
    pub lengths: BTreeMap<String, Vec<usize>>,
    inputs: Vec<Input>,
}

#[derive(Clone, Debug, PartialEq)]
struct Input {
    name: String,
    /// Its axes behind the batch, with the extents of the array.
    axes: Vec<(String, usize)>,
    /// Elements at a position.
    width: usize,
    values: Values,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
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
}

impl Dataset {
    /// Reads what the inputs of `graph` need.
    ///
    /// # Errors
    /// No archive, an array missing or of the wrong shape or type, a length or id out of range.
    pub fn load(path: &Path, graph: &Graph) -> Result<Dataset, DataError> {
        Dataset::from_arrays(path, &read(path)?, graph)
    }

    fn from_arrays(
        path: &Path,
        arrays: &BTreeMap<String, Array>,
        graph: &Graph,
    ) -> Result<Dataset, DataError> {
        let find = |name: &str| {
            arrays.get(name).ok_or_else(|| DataError::Missing {
                path: path.to_path_buf(),
                name: name.to_string(),
                found: arrays.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            })
        };
        let mut examples = None;
        let mut extents: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for input in &graph.inputs {
            let array = find(&input.name)?;
            let axes: Vec<&str> = input.ty.axes.without(BATCH).iter().map(|a| graph.axis_name(a)).collect();
            let wrong = |expected: String| DataError::Shape {
                path: path.to_path_buf(),
                name: input.name.clone(),
                found: array.shape.clone(),
                expected,
            };
            let behind = array.shape.get(1 + axes.len()..);
            if behind != Some(&input.ty.shape[..]) {
                return Err(wrong(form(&axes, &input.ty.shape)));
            }
            if *examples.get_or_insert(array.shape[0]) != array.shape[0] {
                return Err(wrong(format!("{} examples as in the others", examples.unwrap_or(0))));
            }
            for (&axis, &extent) in axes.iter().zip(&array.shape[1..]) {
                let (known, other) =
                    extents.entry(axis.to_string()).or_insert_with(|| (extent, input.name.clone()));
                if *known != extent {
                    return Err(wrong(format!("{known} along `{axis}` as `{other}` has")));
                }
            }
        }
        let examples = examples.unwrap_or(1);
        if examples == 0 {
            return Err(DataError::Empty { path: path.to_path_buf() });
        }
        let mut lengths = BTreeMap::new();
        for axis in graph.axes.iter().skip(1) {
            let extent = extents.get(&axis.name).map(|(extent, _)| *extent);
            let own = match (arrays.get(&axis.name), extent) {
                (None, Some(extent)) => vec![extent; examples],
                (None, None) => return Err(find(&axis.name).map_or_else(|error| error, |_| no_lengths(path))),
                (Some(array), extent) => axis_lengths(path, &axis.name, array, examples, extent)?,
            };
            lengths.insert(axis.name.clone(), own);
        }
        let mut inputs = Vec::new();
        for spec in &graph.inputs {
            let axes: Vec<(String, usize)> = spec
                .ty
                .axes
                .without(BATCH)
                .iter()
                .map(|axis| graph.axis_name(axis).to_string())
                .map(|axis| (axis.clone(), extents.get(&axis).map_or(0, |(extent, _)| *extent)))
                .collect();
            let mut input = Input {
                name: spec.name.clone(),
                axes,
                width: spec.ty.size(),
                values: Values::Real(Vec::new()),
            };
            input.values = input.checked(path, find(&spec.name)?, spec, &lengths)?;
            inputs.push(input);
        }
        Ok(Dataset { examples, lengths, inputs })
    }

    /// Random examples of these lengths for the inputs of `graph`: numbers between -1 and 1, ids anywhere.
    pub fn random(
        graph: &Graph,
        lengths: &BTreeMap<String, Vec<usize>>,
        examples: usize,
        seed: u64,
    ) -> Dataset {
        let longest = |axis: &str| lengths.get(axis).and_then(|all| all.iter().max().copied()).unwrap_or(0);
        let inputs = graph.inputs.iter().map(|spec| {
            let names = spec.ty.axes.without(BATCH).iter().map(|axis| graph.axis_name(axis).to_string());
            let axes: Vec<(String, usize)> = names.map(|axis| (axis.clone(), longest(&axis))).collect();
            let rows = examples * axes.iter().map(|(_, extent)| extent).product::<usize>();
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
            Input { name: spec.name.clone(), axes, width, values }
        });
        Dataset { examples, inputs: inputs.collect(), lengths: lengths.clone() }
    }

    /// All examples as the interpreter takes them.
    pub fn for_interpreter(&self) -> BTreeMap<String, InputData> {
        let of = |input: &Input| {
            let extents: Vec<usize> = input.axes.iter().map(|(_, extent)| *extent).collect();
            let rows =
                |example| input.rows(&self.lengths, &[example], &extents).into_iter().map(|(from, _)| from);
            match &input.values {
                Values::Real(values) => {
                    let row = |row: usize| values[row * input.width..(row + 1) * input.width].to_vec();
                    InputData::Real((0..self.examples).map(|e| rows(e).flat_map(row).collect()).collect())
                }
                Values::Ids(ids) => {
                    let id = |row: usize| Some(ids[row]).filter(|&id| id != u32::MAX);
                    InputData::Ids((0..self.examples).map(|e| rows(e).map(id).collect()).collect())
                }
            }
        };
        self.inputs.iter().map(|input| (input.name.clone(), of(input))).collect()
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
        let longest = |axis: &str| lengths.get(axis).and_then(|all| all.iter().max().copied()).unwrap_or(0);
        let inputs = self.inputs.iter().map(|input| {
            let extents: Vec<usize> = input.axes.iter().map(|(axis, _)| longest(axis)).collect();
            let starts: Vec<usize> =
                input.axes.iter().map(|(name, _)| window_of(name, axis, steps).start).collect();
            let cut: Vec<Vec<usize>> =
                input.axes.iter().map(|(name, _)| lengths.get(name).cloned().unwrap_or_default()).collect();
            let rows = input.window_rows(examples, &starts, &cut, &extents);
            let total = examples.len() * extents.iter().product::<usize>();
            let padded = match &input.values {
                Values::Real(values) => {
                    let mut padded = vec![R::default(); total * input.width];
                    for (from, to) in rows {
                        for column in 0..input.width {
                            padded[to * input.width + column] =
                                R::from_f64(values[from * input.width + column]);
                        }
                    }
                    Padded::Real(padded)
                }
                Values::Ids(ids) => {
                    let mut padded = vec![u32::MAX; total];
                    rows.into_iter().for_each(|(from, to)| padded[to] = ids[from]);
                    Padded::Ids(padded)
                }
            };
            (input.name.clone(), padded)
        });
        Examples { count: examples.len(), inputs: inputs.collect(), lengths }
    }
}

impl Input {
    /// Rows of the archive's array and of a padded one with other extents, for every position that the
    /// chosen examples have.
    fn rows(
        &self,
        lengths: &BTreeMap<String, Vec<usize>>,
        examples: &[usize],
        extents: &[usize],
    ) -> Vec<(usize, usize)> {
        let of_axis = |(axis, _): &(String, usize)| -> Vec<usize> {
            examples.iter().map(|&example| lengths.get(axis).map_or(0, |all| all[example])).collect()
        };
        let own: Vec<Vec<usize>> = self.axes.iter().map(of_axis).collect();
        self.window_rows(examples, &vec![0; self.axes.len()], &own, extents)
    }

    /// The same from `starts` on; `lengths` are those of the chosen examples along each axis of the input.
    fn window_rows(
        &self,
        examples: &[usize],
        starts: &[usize],
        lengths: &[Vec<usize>],
        extents: &[usize],
    ) -> Vec<(usize, usize)> {
        let mut rows = Vec::new();
        for (at, &example) in examples.iter().enumerate() {
            let mut own = vec![(example, at)];
            for (number, (_, from_extent)) in self.axes.iter().enumerate() {
                let (start, to_extent) = (starts[number], extents[number]);
                let length = lengths[number].get(at).copied().unwrap_or(0);
                own = own
                    .into_iter()
                    .flat_map(|(from, to)| {
                        (0..length).map(move |i| (from * from_extent + start + i, to * to_extent + i))
                    })
                    .collect();
            }
            rows.extend(own);
        }
        rows
    }

    /// The array's values; those that an example has are finite, and ids in range.
    fn checked(
        &self,
        path: &Path,
        array: &Array,
        spec: &InputSpec,
        lengths: &BTreeMap<String, Vec<usize>>,
    ) -> Result<Values, DataError> {
        let wrong =
            |reason: String| DataError::Value { path: path.to_path_buf(), name: self.name.clone(), reason };
        let extents: Vec<usize> = self.axes.iter().map(|(_, extent)| *extent).collect();
        let all: Vec<usize> = (0..array.shape[0]).collect();
        let place = |row: usize| {
            let mut rest = row;
            let mut at: Vec<usize> = extents
                .iter()
                .rev()
                .map(|&e| {
                    let i = rest % e.max(1);
                    rest /= e.max(1);
                    i
                })
                .collect();
            at.push(rest);
            at.reverse();
            format!("{at:?}")
        };
        match spec.ty.element {
            Element::Id(size) => {
                let given = array.integers().ok_or_else(|| {
                    wrong(format!("ids from 0 to {} are integers, these are floats", size.saturating_sub(1)))
                })?;
                let mut ids = vec![u32::MAX; given.len()];
                for (row, _) in self.rows(lengths, &all, &extents) {
                    let id = given[row];
                    ids[row] =
                        u32::try_from(id).ok().filter(|&id| (id as usize) < size).ok_or_else(|| {
                            let range = size.saturating_sub(1);
                            wrong(format!("id {id} at {} is not from 0 to {range}", place(row)))
                        })?;
                }
                Ok(Values::Ids(ids))
            }
            Element::Real => {
                let values = array.to_real().into_owned();
                for (row, _) in self.rows(lengths, &all, &extents) {
                    let row_values = &values[row * self.width..(row + 1) * self.width];
                    if let Some(value) = row_values.iter().find(|value| !value.is_finite()) {
                        return Err(wrong(format!("{value} at {}", place(row))));
                    }
                }
                Ok(Values::Real(values))
            }
        }
    }
}

/// The positions of interest along the axis `name` if those along `axis` are `steps`.
fn window_of(name: &str, axis: &str, steps: &Range<usize>) -> Range<usize> {
    if name == axis { steps.clone() } else { 0..usize::MAX }
}

/// How many of the positions `0..length` lie in `steps`.
fn within(length: usize, steps: &Range<usize>) -> usize {
    length.min(steps.end).saturating_sub(steps.start)
}

/// `[batch, longest t, 3]`
fn form(axes: &[&str], shape: &[usize]) -> String {
    let mut parts = vec!["batch".to_string()];
    parts.extend(axes.iter().map(|axis| format!("longest {axis}")));
    parts.extend(shape.iter().map(usize::to_string));
    format!("[{}]", parts.join(", "))
}

fn no_lengths(path: &Path) -> DataError {
    DataError::Empty { path: path.to_path_buf() }
}

/// The lengths along an axis, none beyond the arrays.
fn axis_lengths(
    path: &Path,
    name: &str,
    array: &Array,
    examples: usize,
    extent: Option<usize>,
) -> Result<Vec<usize>, DataError> {
    let wrong =
        |reason: String| DataError::Value { path: path.to_path_buf(), name: name.to_string(), reason };
    let given =
        array.integers().ok_or_else(|| wrong("lengths are integers, these are floats".to_string()))?;
    if array.shape != [examples] {
        let (path, name, found) = (path.to_path_buf(), name.to_string(), array.shape.clone());
        return Err(DataError::Shape {
            path,
            name,
            found,
            expected: format!("[{examples}], one length an example"),
        });
    }
    let most = extent.unwrap_or(u32::MAX as usize);
    let length = |(example, &length): (usize, &i64)| {
        usize::try_from(length)
            .ok()
            .filter(|&length| length <= most)
            .ok_or_else(|| wrong(format!("length {length} of example {example} is not from 0 to {most}")))
    };
    given.iter().enumerate().map(length).collect()
}

/// The examples `range` in the order of an epoch: a shuffle that seed and epoch alone decide.
pub fn shuffled(range: Range<usize>, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = range.collect();
    let key = [seed as u32, (seed >> 32) as u32];
    // Fisher and Yates, from the end.
    for last in (1..order.len()).rev() {
        let words = philox4x32([last as u32, (last as u64 >> 32) as u32, epoch as u32, 0x5F0F], key);
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
    use crate::check::Mode;
    use crate::driver::session::Model;
    use crate::runtime::npz::Data;

    fn graph() -> Graph {
        let text = "model M(V = 4, C = 3) {\n  input w: id(V) over t\n  input x: [2] over t\n  input y: id(C)\n  param E: [V, 2], W: [C, 2]\n  h = sum((E[w] + x) over t)\n  y ~ categorical(W @ h)\n}\n";
        Model::new("m", text).check(Mode::Evaluate).unwrap().graph
    }

    fn integers(shape: &[usize], values: &[i64]) -> Array {
        Array { shape: shape.to_vec(), data: Data::Integer(values.to_vec()) }
    }

    fn arrays() -> BTreeMap<String, Array> {
        let x = Data::Real((0..12).map(f64::from).collect());
        BTreeMap::from([
            ("w".to_string(), integers(&[2, 3], &[0, 1, 2, 3, -1, 99])),
            ("x".to_string(), Array { shape: vec![2, 3, 2], data: x }),
            ("y".to_string(), integers(&[2], &[2, 0])),
            ("t".to_string(), integers(&[2], &[3, 1])),
        ])
    }

    fn load(arrays: &BTreeMap<String, Array>) -> Result<Dataset, String> {
        Dataset::from_arrays("d.npz".as_ref(), arrays, &graph()).map_err(|error| error.to_string())
    }

    #[test]
    fn selections_are_cut_to_their_longest() {
        let data = load(&arrays()).unwrap();
        let one: Examples<f32> = data.select(&[1]);
        assert_eq!(one.lengths["t"], [1]);
        let feeds = one.feeds();
        assert_eq!(feeds[0], ("w", Feed::Ids(&[3][..])));
        assert_eq!(feeds[1], ("x", Feed::Real(&[6.0, 7.0][..])));
        let both: Examples<f64> = data.select(&[1, 0]);
        assert_eq!(both.feeds()[0], ("w", Feed::Ids(&[3, u32::MAX, u32::MAX, 0, 1, 2][..])));
    }

    #[test]
    fn windows_are_cut_along_one_axis() {
        let data = load(&arrays()).unwrap();
        let second: Examples<f64> = data.window(&[0, 1], "t", &(1..3));
        assert_eq!(second.lengths["t"], [2, 0]);
        assert_eq!(second.feeds()[0], ("w", Feed::Ids(&[1, 2, u32::MAX, u32::MAX][..])));
        let x = [2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(second.feeds()[1], ("x", Feed::Real(&x[..])));
        assert_eq!(second.feeds()[2], ("y", Feed::Ids(&[2, 0][..])));
        assert_eq!(data.window::<f64>(&[0, 1], "t", &(0..9)), data.select(&[0, 1]));
    }

    #[test]
    fn arrays_that_do_not_fit() {
        let with = |name: &str, array: Array| {
            let mut arrays = arrays();
            arrays.insert(name.to_string(), array);
            load(&arrays).unwrap_err()
        };
        assert_eq!(with("y", integers(&[2], &[0, 3])), "array `y` in d.npz: id 3 at [1] is not from 0 to 2");
        assert_eq!(
            with("w", integers(&[2, 3], &[0, 1, 4, 0, 0, 0])),
            "array `w` in d.npz: id 4 at [0, 2] is not from 0 to 3"
        );
        assert_eq!(
            with("x", integers(&[2, 3], &[0; 6])),
            "array `x` in d.npz has shape [2, 3], but the model needs [batch, longest t, 2]"
        );
        assert!(with("t", integers(&[2], &[4, 1])).contains("length 4 of example 0 is not from 0 to 3"));
        assert!(with("t", integers(&[3], &[1, 1, 1])).contains("[2], one length an example"));
        assert!(with("y", integers(&[3], &[0; 3])).contains("2 examples as in the others"));
        let nan = Data::Real(vec![0.0, 0.0, 0.0, f64::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(with("x", Array { shape: vec![2, 3, 2], data: nan }).contains("NaN at [0, 1]"));
        let mut missing = arrays();
        missing.remove("y");
        assert!(load(&missing).unwrap_err().contains("no array `y`"));
    }

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
}
