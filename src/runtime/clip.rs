//! Gradient clipping by value and by global norm, and the check that a gradient is finite.
//!
//! ```
//! # use rnnc::runtime::{clip::{Clip, clip}, initializer::Initializer, parameters::{ParameterSpec, Parameters}};
//! let spec = ParameterSpec::new("w", &[2], Initializer::Zeros);
//! let parameters = Parameters::initialize(vec![spec], 1)?;
//! let mut gradient = [3.0, 4.0];
//! let report = clip(&parameters, &mut gradient, Clip { value: None, norm: Some(1.0) })?;
//! assert_eq!(report.norm, 5.0);
//! assert!((gradient[0] - 0.6).abs() < 1e-6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Only trainable parameters count. It does not update anything (see `optimizer`).

use std::ops::Range;

use thiserror::Error;

use super::parameters::Parameters;

/// What to clip; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clip {
    /// Largest magnitude of one element. Applied first.
    pub value: Option<f64>,
    /// Largest Euclidean norm of all gradients together: Pascanu et al., *On the difficulty of
    /// training recurrent neural networks* (2013), section 3.2.
    pub norm: Option<f64>,
}

/// What the gradient was and what became of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipReport {
    /// Euclidean norm of the gradient as it came.
    pub norm: f64,
    /// The factor that clipping by norm multiplied it with; 1 where it did nothing.
    pub scale: f64,
}

/// Why a gradient cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum GradientError {
    /// An exploding or undefined gradient.
    #[error(
        "the gradient of `{name}` holds {value} (element {element} of {count}); \
         a lower learning rate or `clip_norm` may help"
    )]
    NotFinite {
        /// The first parameter, in their order, that has such an element.
        name: String,
        /// NaN or an infinity.
        value: f32,
        /// Index into the flattened parameter.
        element: usize,
        /// Size of the parameter.
        count: usize,
    },
    /// A gradient of another length than the parameters.
    #[error("the gradient has {found} values for {expected} parameter values")]
    Length {
        /// Number of parameter values.
        expected: usize,
        /// Number of gradient values.
        found: usize,
    },
}

/// Clips the flat gradient of `parameters` in place: elements first, then the global norm, with the
/// factor of PyTorch's `clip_grad_norm_`, `min(1, max_norm / (norm + 1e-6))`.
///
/// # Errors
/// A NaN or infinite element (the gradient is then unchanged), or a slice of the wrong length.
pub fn clip(parameters: &Parameters, gradient: &mut [f32], clip: Clip) -> Result<ClipReport, GradientError> {
    let norm = checked_norm(parameters, gradient)?;
    let ranges: Vec<Range<usize>> = parameters.trainable().map(|(_, range)| range).collect();
    let mut clipped_norm = norm;
    if let Some(bound) = clip.value {
        let bound = bound.abs() as f32;
        for range in &ranges {
            gradient[range.clone()].iter_mut().for_each(|g| *g = g.clamp(-bound, bound));
        }
        clipped_norm = ranges.iter().map(|r| sum_of_squares(&gradient[r.clone()])).sum::<f64>().sqrt();
    }
    let scale = factor(clip.norm, clipped_norm);
    if scale < 1.0 {
        for range in ranges {
            gradient[range].iter_mut().for_each(|g| *g *= scale as f32);
        }
    }
    Ok(ClipReport { norm, scale })
}

/// What a gradient of this norm is multiplied by, so that its norm is at most `bound`.
pub fn factor(bound: Option<f64>, norm: f64) -> f64 {
    bound.map_or(1.0, |bound| (bound / (norm + 1e-6)).min(1.0))
}

/// The global norm of the trainable part.
///
/// # Errors
/// As [`clip`].
pub fn checked_norm(parameters: &Parameters, gradient: &[f32]) -> Result<f64, GradientError> {
    let expected = parameters.values().len();
    if gradient.len() != expected {
        return Err(GradientError::Length { expected, found: gradient.len() });
    }
    let mut total = 0.0;
    for (spec, range) in parameters.trainable() {
        let gradient = &gradient[range];
        let squares = sum_of_squares(gradient);
        // Squares of f32 are far from the end of f64, so a sum that is not finite had such an element.
        if !squares.is_finite()
            && let Some(element) = gradient.iter().position(|g| !g.is_finite())
        {
            let (name, count) = (spec.name.clone(), gradient.len());
            return Err(GradientError::NotFinite { name, value: gradient[element], element, count });
        }
        total += squares;
    }
    Ok(total.sqrt())
}

/// Eight interleaved partial sums: an order that is fixed, and that vector units can follow.
fn sum_of_squares(values: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0f64; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(value) * f64::from(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(value) * f64::from(value);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::initializer::Initializer;
    use crate::runtime::parameters::ParameterSpec;

    fn parameters() -> Parameters {
        let frozen = ParameterSpec { trainable: false, ..ParameterSpec::new("E", &[1], Initializer::Zeros) };
        let specs = vec![
            ParameterSpec::new("W", &[2], Initializer::Zeros),
            frozen,
            ParameterSpec::new("b", &[1], Initializer::Zeros),
        ];
        Parameters::initialize(specs, 1).unwrap()
    }

    #[test]
    fn norm_is_over_the_trainable_part() {
        let mut gradient = [2.0, 3.0, 100.0, 6.0];
        let report = clip(&parameters(), &mut gradient, Clip::default()).unwrap();
        assert_eq!(report, ClipReport { norm: 7.0, scale: 1.0 });
        assert_eq!(gradient, [2.0, 3.0, 100.0, 6.0]);
    }

    #[test]
    fn norm_scales_as_torch_does() {
        let mut gradient = [2.0, 3.0, 100.0, 6.0];
        let only_norm = |norm| Clip { value: None, norm: Some(norm) };
        let report = clip(&parameters(), &mut gradient, only_norm(3.5)).unwrap();
        assert!((report.scale - 3.5 / 7.000001).abs() < 1e-15);
        assert_eq!(
            gradient,
            [2.0 * report.scale as f32, 3.0 * report.scale as f32, 100.0, 6.0 * report.scale as f32]
        );
        let untouched = gradient;
        assert_eq!(clip(&parameters(), &mut gradient, only_norm(10.0)).unwrap().scale, 1.0);
        assert_eq!(gradient, untouched);
        let mut zero = [0.0; 4];
        assert_eq!(
            clip(&parameters(), &mut zero, only_norm(1.0)).unwrap(),
            ClipReport { norm: 0.0, scale: 1.0 }
        );
    }

    #[test]
    fn values_are_clamped_before_the_norm() {
        let mut gradient = [-2.0, 0.5, 100.0, 6.0];
        let both = Clip { value: Some(1.0), norm: Some(0.75) };
        let report = clip(&parameters(), &mut gradient, both).unwrap();
        assert_eq!(report.norm, (4.0f64 + 0.25 + 36.0).sqrt());
        assert!((report.scale - 0.75 / 1.500001).abs() < 1e-12);
        assert!((gradient[0] + 0.5).abs() < 1e-6 && gradient[2] == 100.0);
    }

    #[test]
    fn what_is_not_finite_is_named() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut gradient = [0.0, 1.0, 0.0, bad];
            let error = clip(&parameters(), &mut gradient, Clip::default()).unwrap_err();
            assert!(error.to_string().starts_with("the gradient of `b` holds"), "{error}");
        }
        // A frozen parameter's gradient is never used.
        assert!(clip(&parameters(), &mut [0.0, 1.0, f32::NAN, 0.0], Clip::default()).is_ok());
        let error = clip(&parameters(), &mut [0.0], Clip::default()).unwrap_err();
        assert_eq!(error, GradientError::Length { expected: 4, found: 1 });
    }

    #[test]
    fn large_gradients_have_a_finite_norm() {
        let gradient = [f32::MAX, f32::MAX, 0.0, 0.0];
        assert!(checked_norm(&parameters(), &gradient).unwrap().is_finite());
    }

    #[test]
    fn sum_of_squares_of_every_length() {
        for n in 0..40 {
            let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let n = n as f64;
            assert_eq!(sum_of_squares(&values), ((n - 1.0) * n * (2.0 * n - 1.0) / 6.0).max(0.0));
        }
    }
}
