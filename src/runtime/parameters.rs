//! The parameters of a model: an ordered list of names and shapes over one flat array.
//!
//! ```
//! use rnnc::runtime::{initializer::Initializer, parameters::{ParameterSpec, Parameters}};
//! let spec = |name: &str, shape: &[usize]| ParameterSpec::new(name, shape, Initializer::default_for(shape));
//! let parameters = Parameters::initialize(vec![spec("W", &[2, 3]), spec("b", &[2])], 1)?;
//! assert_eq!(parameters.values().len(), 8);
//! assert_eq!(parameters.get("b"), Some(&[0.0, 0.0][..]));
//! # Ok::<(), rnnc::runtime::parameters::ParametersError>(())
//! ```
//!
//! Gradients and optimiser state are flat slices of the same layout. It does not know what the
//! parameters are for, nor how they are stored (see `checkpoint`).

use std::collections::HashSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::initializer::Initializer;

/// One parameter as the compiler declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterSpec {
    /// A path that is stable between builds, such as `enc.W_f`: the key in a weights file.
    pub name: String,
    /// Static dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// How it begins.
    pub init: Initializer,
    /// Whether training changes it (`frozen` parameters keep their first values).
    pub trainable: bool,
}

impl ParameterSpec {
    /// A trainable parameter.
    pub fn new(name: &str, shape: &[usize], init: Initializer) -> ParameterSpec {
        ParameterSpec { name: name.to_string(), shape: shape.to_vec(), init, trainable: true }
    }

    /// Number of elements, or nothing where that number does not fit in a `usize`.
    pub fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n))
    }
}

/// Why a list of parameters cannot be made.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ParametersError {
    /// Two parameters of one name: a weights file could hold only one of them.
    #[error("two parameters are named `{0}`")]
    Duplicate(String),
    /// The sum of all sizes cannot be addressed or allocated.
    #[error("parameter `{name}` of shape {shape:?} is too large for memory")]
    TooLarge {
        /// Where the sum went over.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A flat array of another length than the shapes add up to.
    #[error("the parameters have {expected} values, but {found} were given")]
    Length {
        /// What the shapes add up to.
        expected: usize,
        /// What came.
        found: usize,
    },
}

/// Parameters in their order, with their values one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    specs: Vec<ParameterSpec>,
    /// One more than there are parameters: parameter `i` is at `offsets[i]..offsets[i + 1]`.
    offsets: Vec<usize>,
    values: Vec<f32>,
}

impl Parameters {
    /// Draws the first values; a value depends on `seed` and on its parameter's own name, shape and
    /// initialiser only.
    ///
    /// # Errors
    /// Two equal names, or more values than memory could hold.
    pub fn initialize(specs: Vec<ParameterSpec>, seed: u64) -> Result<Parameters, ParametersError> {
        let offsets = layout(&specs)?;
        let mut values = Vec::new();
        let total = offsets.last().copied().unwrap_or(0);
        if values.try_reserve_exact(total).is_err() {
            return Err(largest(&specs));
        }
        for spec in &specs {
            let drawn = spec.init.values(&spec.name, &spec.shape, seed);
            values.extend(drawn.into_iter().map(|value| value as f32));
        }
        Ok(Parameters { specs, offsets, values })
    }

    /// Parameters with given values, in the order of `specs`, each row-major.
    ///
    /// # Errors
    /// As [`Parameters::initialize`], or a wrong number of values.
    pub fn from_values(specs: Vec<ParameterSpec>, values: Vec<f32>) -> Result<Parameters, ParametersError> {
        let offsets = layout(&specs)?;
        let expected = offsets.last().copied().unwrap_or(0);
        if values.len() != expected {
            return Err(ParametersError::Length { expected, found: values.len() });
        }
        Ok(Parameters { specs, offsets, values })
    }

    /// Names, shapes and initialisers, in order.
    pub fn specs(&self) -> &[ParameterSpec] {
        &self.specs
    }

    /// All values, flat.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, flat, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// All values as f64, for gradient checks and the interpreter.
    pub fn to_f64(&self) -> Vec<f64> {
        self.values.iter().map(|&value| f64::from(value)).collect()
    }

    /// Where parameter `index` lies in the flat array; empty past the last one.
    pub fn range(&self, index: usize) -> Range<usize> {
        let at = |i: usize| self.offsets.get(i).copied().unwrap_or(self.values.len());
        at(index)..at(index + 1)
    }

    /// The index of the parameter of this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.specs.iter().position(|spec| spec.name == name)
    }

    /// The values of one parameter.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.values.get(self.range(self.index(name)?))
    }

    /// Every parameter with its values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&ParameterSpec, &[f32])> {
        self.specs.iter().enumerate().map(|(i, spec)| (spec, &self.values[self.range(i)]))
    }

    /// The ranges that training changes, in order.
    pub fn trainable(&self) -> impl Iterator<Item = (&ParameterSpec, Range<usize>)> {
        let all = self.specs.iter().enumerate().map(|(i, spec)| (spec, self.range(i)));
        all.filter(|(spec, _)| spec.trainable)
    }
}

/// Offsets of the parameters in the flat array, and its length.
fn layout(specs: &[ParameterSpec]) -> Result<Vec<usize>, ParametersError> {
    let mut names = HashSet::new();
    let mut offsets = vec![0];
    let mut total = 0usize;
    for spec in specs {
        if !names.insert(spec.name.as_str()) {
            return Err(ParametersError::Duplicate(spec.name.clone()));
        }
        // Eight bytes a value at most (f64): beyond `isize` bytes nothing can be allocated.
        let fits = |n: &usize| n.checked_mul(8).is_some_and(|bytes| bytes <= isize::MAX as usize);
        total = spec
            .count()
            .and_then(|count| total.checked_add(count))
            .filter(fits)
            .ok_or_else(|| too_large(spec))?;
        offsets.push(total);
    }
    Ok(offsets)
}

fn too_large(spec: &ParameterSpec) -> ParametersError {
    ParametersError::TooLarge { name: spec.name.clone(), shape: spec.shape.clone() }
}

fn largest(specs: &[ParameterSpec]) -> ParametersError {
    let culprit = specs.iter().max_by_key(|spec| spec.count());
    culprit.map_or(ParametersError::Length { expected: 0, found: 0 }, too_large)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, shape: &[usize]) -> ParameterSpec {
        ParameterSpec::new(name, shape, Initializer::Uniform(1.0))
    }

    #[test]
    fn order_of_parameters_does_not_change_values() {
        let a = Parameters::initialize(vec![spec("W", &[2, 3]), spec("U", &[5])], 7).unwrap();
        let b =
            Parameters::initialize(vec![spec("U", &[5]), spec("new", &[2]), spec("W", &[2, 3])], 7).unwrap();
        assert_eq!(a.get("W"), b.get("W"));
        assert_eq!(a.get("U"), b.get("U"));
        assert_ne!(a.get("W").unwrap()[..2], *b.get("new").unwrap());
    }

    #[test]
    fn ranges_and_views() {
        let mut parameters = Parameters::from_values(
            vec![spec("s", &[]), spec("W", &[2, 2]), spec("e", &[0])],
            vec![1., 2., 3., 4., 5.],
        )
        .unwrap();
        assert_eq!(parameters.range(1), 1..5);
        assert_eq!(parameters.range(2), 5..5);
        assert_eq!(parameters.range(9), 5..5);
        assert_eq!(parameters.get("s"), Some(&[1.0][..]));
        assert_eq!(parameters.get("none"), None);
        parameters.values_mut()[0] = 9.0;
        assert_eq!(parameters.to_f64(), [9.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(
            parameters.iter().map(|(s, v)| (s.name.as_str(), v.len())).collect::<Vec<_>>(),
            [("s", 1), ("W", 4), ("e", 0)]
        );
    }

    #[test]
    fn frozen_parameters_are_not_trainable() {
        let frozen = ParameterSpec { trainable: false, ..spec("E", &[3]) };
        let parameters = Parameters::initialize(vec![spec("a", &[2]), frozen, spec("b", &[1])], 1).unwrap();
        let ranges: Vec<_> = parameters.trainable().map(|(_, range)| range).collect();
        assert_eq!(ranges, [0..2, 5..6]);
    }

    #[test]
    fn bad_lists() {
        let twice = Parameters::initialize(vec![spec("W", &[1]), spec("W", &[2])], 1);
        assert_eq!(twice.unwrap_err().to_string(), "two parameters are named `W`");
        let huge = Parameters::initialize(vec![spec("b", &[2]), spec("W", &[usize::MAX, 2])], 1);
        assert!(huge.unwrap_err().to_string().starts_with("parameter `W` of shape"));
        let large = Parameters::initialize(vec![spec("W", &[1 << 30, 1 << 28])], 1);
        assert!(large.unwrap_err().to_string().contains("too large"));
        let short = Parameters::from_values(vec![spec("W", &[2])], vec![0.0]);
        assert_eq!(short.unwrap_err().to_string(), "the parameters have 2 values, but 1 were given");
    }
}
