//! Derivatives by central differences: what a gradient is held against.
//!
//! The five-point stencil `(f(x-2h) - 8 f(x-h) + 8 f(x+h) - f(x+2h)) / 12h` is off by h^4 of the fifth
//! derivative; with h near 1e-3 that and the rounding of f64 are both below 1e-12 of the loss.
//! It does not find kinks: a program that has one within 2h of its values gives a wrong number. What stands behind a
//! `stop` keeps its value while a parameter moves, as it does to derivatives.

use std::collections::BTreeMap;

use super::driver::Program;
use super::feeds::Feeds;
use super::{EvalError, Values};
use crate::ir::Operand;

/// A value that counts towards the objective: its padded array, dotted with `weights`.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    /// The value.
    pub value: Operand,
    /// As many as its padded array has elements.
    pub weights: Vec<f64>,
}

/// How derivatives are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DifferenceOptions {
    /// The step h at a parameter of size 1 or less; larger ones take a larger step in proportion.
    pub step: f64,
    /// Of a parameter with more elements than this, so many are looked at, evenly spread.
    pub sample: usize,
}

impl Default for DifferenceOptions {
    fn default() -> DifferenceOptions {
        DifferenceOptions { step: 1e-3, sample: 12 }
    }
}

/// A derivative of the objective by one element of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Derivative {
    /// Index of the element, row-major.
    pub index: usize,
    /// The derivative.
    pub value: f64,
}

/// What is differentiated: the sum of all losses and of the weighted values.
pub fn objective(values: &Values, weighted: &[Weighted]) -> f64 {
    let mut total = values.loss();
    for Weighted { value, weights } in weighted {
        let numbers = values.padded(*value).map_or(Vec::new(), |padded| padded.numbers());
        total += numbers.iter().zip(weights).map(|(number, weight)| number * weight).sum::<f64>();
    }
    total
}

/// Derivatives of the objective by every parameter in `feeds`, or by a sample of its elements.
///
/// # Errors
/// If the program cannot be run on `feeds`.
pub fn difference(
    program: &Program,
    feeds: &Feeds,
    weighted: &[Weighted],
    options: DifferenceOptions,
) -> Result<BTreeMap<String, Vec<Derivative>>, EvalError> {
    let mut found = BTreeMap::new();
    let mut moved = feeds.clone();
    let whole = program.run(feeds)?;
    for (name, elements) in &feeds.params {
        let every = elements.len().div_ceil(options.sample.max(1)).max(1);
        let mut derivatives = Vec::new();
        // The rest of the program has the values that it has had.
        let (behind, mut values) = (program.behind(name), whole.clone());
        for (index, &middle) in elements.iter().enumerate().step_by(every) {
            let step = options.step * middle.abs().max(1.0);
            let mut at = |offset: f64| -> Result<f64, EvalError> {
                if let Some(element) = moved.params.get_mut(name).and_then(|all| all.get_mut(index)) {
                    *element = middle + offset;
                }
                behind.run_over(&mut values, &moved)?;
                Ok(objective(&values, weighted))
            };
            let near = at(step)? - at(-step)?;
            let far = at(2.0 * step)? - at(-2.0 * step)?;
            if let Some(element) = moved.params.get_mut(name).and_then(|all| all.get_mut(index)) {
                *element = middle;
            }
            derivatives.push(Derivative { index, value: (8.0 * near - far) / (12.0 * step) });
        }
        found.insert(name.clone(), derivatives);
    }
    Ok(found)
}

/// For every parameter the largest relative error of the given `gradients` (row-major, by path; a
/// parameter that is not there has the gradient zero): `|a - b| / max(|a|, |b|, floor)`. The floor is a
/// thousandth of the parameter's largest derivative or, if more, the 10,000th part of the largest of all:
/// below that the rounding of the objective has the say.
pub fn worst_errors(
    derivatives: &BTreeMap<String, Vec<Derivative>>,
    gradients: &BTreeMap<String, Vec<f64>>,
) -> BTreeMap<String, f64> {
    // Keeps a program whose derivatives are all zero from dividing rounding by rounding.
    const SMALLEST: f64 = 1e-6;
    let given = |name: &str, index: usize| -> f64 {
        gradients.get(name).and_then(|all| all.get(index)).copied().unwrap_or(0.0)
    };
    let largest = |name: &str, entries: &[Derivative]| {
        entries.iter().map(|d| d.value.abs().max(given(name, d.index).abs())).fold(0.0, f64::max)
    };
    let of_all = derivatives.iter().map(|(name, entries)| largest(name, entries)).fold(0.0, f64::max);
    let mut worst = BTreeMap::new();
    for (name, entries) in derivatives {
        let floor = (1e-3 * largest(name, entries)).max(1e-4 * of_all).max(SMALLEST);
        let mut error = 0.0f64;
        for Derivative { index, value } in entries {
            let other = given(name, *index);
            let relative = (value - other).abs() / value.abs().max(other.abs()).max(floor);
            // Not a number is the worst error of all and must not be dropped by `max`.
            error = if relative.is_nan() { f64::INFINITY } else { error.max(relative) };
        }
        worst.insert(name.clone(), error);
    }
    worst
}
