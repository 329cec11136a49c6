//! Examples from an `.npz` archive, checked against a model's inputs.
//!
//! An input `x: [3] over t` is an array `x` of shape `[batch, longest, 3]`; the lengths are an integer
//! array `t` of shape `[batch]`, without which every example is as long as the array. What lies behind an
//! example's end may be anything. Arrays that the model does not name are passed over.
//!
//! A tree is an integer array `n.parent` of shape `[batch, most nodes]`: each node's parent, which comes before
//! it, and -1 at the root, the first; `n`, if it is there, says how many nodes each example has. What
//! is over `n` follows the nodes, what is over `n.leaf` the leaves in their order, and what is over `n.child` is
//! of shape `[batch, most nodes, most children]`. An id may be -1, none, where a model with trees does not
//! observe it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::data::{Dataset, Input, InputAxis, Trees, Values};
use crate::base::Tree;
use crate::ir::{AxisId, AxisKind, BATCH, Element, Graph, InputSpec, most_children};
use crate::runtime::npz::{Array, NpzError, read};

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

type Arrays = BTreeMap<String, Array>;

/// An archive that is being read.
#[derive(Clone, Copy)]
struct Archive<'a> {
    path: &'a Path,
    arrays: &'a Arrays,
    graph: &'a Graph,
}

impl Dataset {
    /// Reads what the inputs of `graph` need.
    ///
    /// # Errors
    /// No archive, an array missing or of the wrong shape or type, a length or id out of range, numbers that
    /// are no tree.
    pub fn load(path: &Path, graph: &Graph) -> Result<Dataset, DataError> {
        from_arrays(path, &read(path)?, graph, &[])
    }

    /// The same, without the lengths along the axes `open`, which are not known yet.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load_open(path: &Path, graph: &Graph, open: &[&str]) -> Result<Dataset, DataError> {
        from_arrays(path, &read(path)?, graph, open)
    }
}

fn from_arrays(path: &Path, arrays: &Arrays, graph: &Graph, open: &[&str]) -> Result<Dataset, DataError> {
    let archive = Archive { path, arrays, graph };
    let (examples, extents) = archive.extents()?;
    let mut lengths = BTreeMap::new();
    let mut trees = Trees::new();
    for (number, axis) in (0..).zip(&graph.axes).skip(1) {
        let extent = extents.get(&axis.name).copied();
        match axis.kind {
            AxisKind::Batch | AxisKind::Children(_) | AxisKind::Leaves(_) => {}
            AxisKind::Tree => {
                trees.insert(axis.name.clone(), archive.trees(AxisId(number), examples)?);
            }
            AxisKind::Time if open.contains(&axis.name.as_str()) => {}
            AxisKind::Time => {
                let own = match (arrays.get(&axis.name), extent) {
                    (None, Some(extent)) => vec![extent; examples],
                    (None, None) => return Err(archive.missing(&axis.name)),
                    (Some(array), extent) => archive.lengths(&axis.name, array, examples, extent)?,
                };
                lengths.insert(axis.name.clone(), own);
            }
        }
    }
    let mut data = Dataset::new(graph, examples, lengths, trees);
    for spec in &graph.inputs {
        let axes =
            InputAxis::of(graph, spec, |axis| extents.get(graph.axis_name(axis)).copied().unwrap_or(0));
        let array = archive.find(&spec.name)?;
        for axis in &axes {
            let most = data.lengths.get(&axis.name).and_then(|all| all.iter().max().copied()).unwrap_or(0);
            if axis.extent < most {
                let names: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
                let expected = format!("{} with {most} along `{}`", form(&names, &spec.ty.shape), axis.name);
                return Err(archive.wrong_shape(&spec.name, array, expected));
            }
        }
        let width = spec.ty.size();
        let mut input =
            Input { name: spec.name.clone(), axes, width, starts: None, values: Values::Real(Vec::new()) };
        input.values = archive.checked(&data, &input, array, spec)?;
        data.inputs.push(input);
    }
    Ok(data)
}

impl<'a> Archive<'a> {
    fn find(&self, name: &str) -> Result<&'a Array, DataError> {
        self.arrays.get(name).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> DataError {
        DataError::Missing {
            path: self.path.to_path_buf(),
            name: name.to_string(),
            found: self.arrays.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        }
    }

    fn wrong_shape(&self, name: &str, array: &Array, expected: String) -> DataError {
        let (path, name, found) = (self.path.to_path_buf(), name.to_string(), array.shape.clone());
        DataError::Shape { path, name, found, expected }
    }

    fn wrong_value(&self, name: &str, reason: String) -> DataError {
        DataError::Value { path: self.path.to_path_buf(), name: name.to_string(), reason }
    }

    /// The number of examples, and what the arrays' extents are along each axis.
    fn extents(&self) -> Result<(usize, BTreeMap<String, usize>), DataError> {
        let graph = self.graph;
        // Every array with its axes behind the batch, and its shape behind those.
        let mut all: Vec<(String, Vec<String>, &[usize])> = Vec::new();
        for axis in graph.axes.iter().filter(|axis| axis.kind == AxisKind::Tree) {
            all.push((parents_of(&axis.name), vec![axis.name.clone()], &[]));
        }
        for input in &graph.inputs {
            let axes = input.ty.axes.without(BATCH).iter().map(|axis| graph.axis_name(axis).to_string());
            all.push((input.name.clone(), axes.collect(), &input.ty.shape));
        }
        let mut examples = None;
        let mut extents: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for (name, axes, shape) in &all {
            let array = self.find(name)?;
            if array.shape.get(1 + axes.len()..) != Some(*shape) {
                let axes: Vec<&str> = axes.iter().map(String::as_str).collect();
                return Err(self.wrong_shape(name, array, form(&axes, shape)));
            }
            if *examples.get_or_insert(array.shape[0]) != array.shape[0] {
                let expected = format!("{} examples as in the others", examples.unwrap_or(0));
                return Err(self.wrong_shape(name, array, expected));
            }
            for (axis, &extent) in axes.iter().zip(&array.shape[1..]) {
                let (known, other) = extents.entry(axis.clone()).or_insert_with(|| (extent, name.clone()));
                if *known != extent {
                    let expected = format!("{known} along `{axis}` as `{other}` has");
                    return Err(self.wrong_shape(name, array, expected));
                }
            }
        }
        match examples.unwrap_or(1) {
            0 => Err(DataError::Empty { path: self.path.to_path_buf() }),
            examples => {
                Ok((examples, extents.into_iter().map(|(axis, (extent, _))| (axis, extent)).collect()))
            }
        }
    }

    /// The lengths along an axis, none beyond the arrays.
    fn lengths(
        &self,
        name: &str,
        array: &Array,
        examples: usize,
        extent: Option<usize>,
    ) -> Result<Vec<usize>, DataError> {
        let wrong = |reason: String| self.wrong_value(name, reason);
        let given =
            array.integers().ok_or_else(|| wrong("lengths are integers, these are floats".to_string()))?;
        if array.shape != [examples] {
            let expected = format!("[{examples}], one length an example");
            return Err(self.wrong_shape(name, array, expected));
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

    /// The trees on an axis, with no node that has more children than the model sees.
    fn trees(&self, axis: AxisId, examples: usize) -> Result<Vec<Arc<Tree>>, DataError> {
        let axis_name = self.graph.axis_name(axis);
        let name = parents_of(axis_name);
        let array = self.find(&name)?;
        let wrong = |reason: String| self.wrong_value(&name, reason);
        let parents = array
            .integers()
            .ok_or_else(|| wrong("the parents of nodes are integers, these are floats".to_string()))?;
        let most = array.shape[1];
        let lengths = match self.arrays.get(axis_name) {
            Some(array) => self.lengths(axis_name, array, examples, Some(most))?,
            None => vec![most; examples],
        };
        let limit = most_children(self.graph, axis).unwrap_or(None).map(|limit| limit as usize);
        let mut trees = Vec::with_capacity(examples);
        for (example, &length) in lengths.iter().enumerate() {
            let own = &parents[example * most..example * most + length];
            let tree = Tree::new(own).map_err(|error| wrong(format!("of example {example}, {error}")))?;
            let crowded = |limit: usize| (0..tree.len()).find(|&node| tree.arity(node) > limit);
            if let Some((limit, node)) = limit.and_then(|limit| Some((limit, crowded(limit)?))) {
                let arity = tree.arity(node);
                return Err(wrong(format!(
                    "of example {example}, node {node} has {arity} children, but the model reads {limit} by \
                     their numbers and would pass over the others"
                )));
            }
            trees.push(Arc::new(tree));
        }
        Ok(trees)
    }

    /// The array's values; those that an example has are finite, and ids in range.
    fn checked(
        &self,
        data: &Dataset,
        input: &Input,
        array: &Array,
        spec: &InputSpec,
    ) -> Result<Values, DataError> {
        let wrong = |reason: String| self.wrong_value(&spec.name, reason);
        let rows = (0..data.examples).flat_map(|example| data.rows(input, example));
        match spec.ty.element {
            Element::Id(size) => {
                let given = array.integers().ok_or_else(|| {
                    wrong(format!("ids from 0 to {} are integers, these are floats", size.saturating_sub(1)))
                })?;
                let of_tree = |axis: AxisId| self.graph.axis_kind(axis).tree(axis).is_some();
                let may_be_none = !spec.observed && spec.ty.axes.iter().any(of_tree);
                let mut ids = vec![u32::MAX; given.len()];
                for row in rows.filter(|&row| !may_be_none || given[row] != -1) {
                    let id = given[row];
                    ids[row] =
                        u32::try_from(id).ok().filter(|&id| (id as usize) < size).ok_or_else(|| {
                            let range = size.saturating_sub(1);
                            wrong(format!("id {id} at {} is not from 0 to {range}", place(input, row)))
                        })?;
                }
                Ok(Values::Ids(ids))
            }
            Element::Real => {
                let values = array.to_real().into_owned();
                for row in rows {
                    let row_values = &values[row * input.width..(row + 1) * input.width];
                    if let Some(value) = row_values.iter().find(|value| !value.is_finite()) {
                        return Err(wrong(format!("{value} at {}", place(input, row))));
                    }
                }
                Ok(Values::Real(values))
            }
        }
    }
}

/// The array with the parents of a tree's nodes.
fn parents_of(axis: &str) -> String {
    format!("{axis}.parent")
}

/// The indices of a row: `[example, position, …]`.
fn place(input: &Input, row: usize) -> String {
    let mut rest = row;
    let mut at = Vec::new();
    for axis in input.axes.iter().rev() {
        at.push(rest % axis.extent.max(1));
        rest /= axis.extent.max(1);
    }
    at.push(rest);
    at.reverse();
    format!("{at:?}")
}

/// `[batch, longest t, 3]`
fn form(axes: &[&str], shape: &[usize]) -> String {
    let mut parts = vec!["batch".to_string()];
    parts.extend(axes.iter().map(|axis| format!("longest {axis}")));
    parts.extend(shape.iter().map(usize::to_string));
    format!("[{}]", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::batch::Feed;
    use super::super::data::Examples;
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
        from_arrays("d.npz".as_ref(), arrays, &graph(), &[]).map_err(|error| error.to_string())
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

    const TREES: &str = "model M(V = 4) {
      input w: id(V) over n.leaf
      input y: id(V) over tree n
      input z: [] over n, n.child
      param E: [V, 2]
      h = TreeLSTM(2, 3)(E[w])
      y ~ categorical(Dense(3, V)(h))
      loss l = sum(z over n, child)
    }";

    /// A root with two leaves and a chain of two.
    fn trees() -> BTreeMap<String, Array> {
        let z = Data::Real((0..12).map(f64::from).collect());
        BTreeMap::from([
            ("n.parent".to_string(), integers(&[2, 3], &[-1, 0, 0, -1, 0, 77])),
            ("n".to_string(), integers(&[2], &[3, 2])),
            ("w".to_string(), integers(&[2, 2], &[1, -1, 3, 99])),
            ("y".to_string(), integers(&[2, 3], &[0, 1, 2, 3, 0, -1])),
            ("z".to_string(), Array { shape: vec![2, 3, 2], data: z }),
        ])
    }

    fn load_trees(source: &str, arrays: &BTreeMap<String, Array>) -> Result<Dataset, String> {
        let graph = Model::new("m", source).check(Mode::Evaluate).unwrap().graph;
        from_arrays("d.npz".as_ref(), arrays, &graph, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn trees_by_their_parents() {
        let data = load_trees(TREES, &trees()).unwrap();
        assert_eq!((&data.lengths["n"][..], &data.lengths["n.leaf"][..]), (&[3, 2][..], &[2, 1][..]));
        assert_eq!(data.lengths["n.child"], [2, 1]);
        let both: Examples<f64> = data.select(&[1, 0]);
        assert_eq!(both.trees["n"][0].levels(), 2);
        assert_eq!(both.feeds()[0], ("w", Feed::Ids(&[3, u32::MAX, 1, u32::MAX][..])));
        assert_eq!(both.feeds()[1], ("y", Feed::Ids(&[3, 0, u32::MAX, 0, 1, 2][..])));
        // Only what is a child of a node is anything.
        let z = data.for_interpreter().remove("z");
        assert_eq!(z, Some(crate::eval::InputData::Real(vec![vec![0.0, 1.0], vec![6.0]])));
    }

    #[test]
    fn what_is_no_tree_or_not_the_models() {
        let with = |name: &str, array: Array| {
            let mut arrays = trees();
            arrays.insert(name.to_string(), array);
            load_trees(TREES, &arrays).unwrap_err()
        };
        let parents = |of: [i64; 6]| with("n.parent", integers(&[2, 3], &of));
        let head = "array `n.parent` in d.npz: of example";
        let wrong = [
            (parents([-1, 0, -1, -1, 0, 0]), "0, node 2 is a second root"),
            (parents([-1, 0, 0, -1, 1, 0]), "1, the parent of node 1 is 1, but a parent comes before"),
            (parents([-1, 2, 0, -1, 0, 0]), "0, the parent of node 1 is 2, but a parent comes before"),
            (parents([1, 0, 0, -1, 0, 0]), "0, node 0 is the root, whose parent is -1, not 1"),
        ];
        for (error, words) in wrong {
            assert!(error.starts_with(&format!("{head} {words}")), "{error}");
        }
        assert!(with("n", integers(&[2], &[3, 4])).contains("length 4 of example 1 is not from 0 to 3"));
        assert!(
            with("w", integers(&[2, 1], &[1, 3])).contains("[batch, longest n.leaf] with 2 along `n.leaf`")
        );
        // What is observed is never none.
        assert!(with("y", integers(&[2, 3], &[0, -1, 2, 3, 0, 0])).contains("id -1 at [0, 1]"));
        let mut missing = trees();
        missing.remove("n.parent");
        assert!(load_trees(TREES, &missing).unwrap_err().contains("no array `n.parent`"));
    }

    #[test]
    fn no_child_is_passed_over() {
        let arrays = BTreeMap::from([
            ("n.parent".to_string(), integers(&[1, 4], &[-1, 0, 0, 0])),
            ("y".to_string(), integers(&[1, 4], &[0; 4])),
        ]);
        let source = |cells: &str| {
            format!(
                "model M(V = 4) {{ input y: id(V) over tree n  param E: [V, 2]  {cells}  y ~ categorical(Dense(2, V)(h)) }}"
            )
        };
        for cells in [
            "h = TreeLSTM(2, 2)(E[y])",
            "h = TopDown(2, 2)(E[y])",
            "h = TreeLSTM(2, 2)(TreeGRU(2, 2)(E[y]))",
            "v = E[y]  h = v[left] + v",
        ] {
            let error = load_trees(&source(cells), &arrays).unwrap_err();
            let words =
                "array `n.parent` in d.npz: of example 0, node 0 has 3 children, but the model reads 2";
            assert!(error.starts_with(words), "{cells}: {error}");
        }
        for cells in ["h = TreeGRU(2, 2)(E[y])", "g = TreeGRU(2, 2)(E[y])  h = g + g[left]"] {
            load_trees(&source(cells), &arrays).unwrap();
        }
    }
}
