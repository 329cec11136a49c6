//! Optimisers over the flat parameter array: SGD, Adam, AdamW and RMSProp.
//!
//! ```
//! # use rnnc::runtime::{optimizer::{Algorithm, Optimizer}, initializer::Initializer, parameters::{ParameterSpec, Parameters}};
//! let spec = ParameterSpec::new("w", &[1], Initializer::Ones);
//! let mut parameters = Parameters::initialize(vec![spec], 1)?;
//! let mut optimizer = Optimizer::new(Algorithm::adam(), &parameters);
//! optimizer.step(&mut parameters, &[0.3], 0.1)?;
//! assert!((parameters.values()[0] - 0.9).abs() < 1e-6); // Adam's first step has the size of the rate
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The arithmetic is that of PyTorch's optimisers of the same names, in the same order of operations:
//! elements in f32, the scalars of a step in f64. It neither clips (see `clip`) nor schedules (see
//! `schedule`): the caller passes the step's learning rate.

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::clip::GradientError;
use super::exact;
use super::groups::Treatment;
use super::parameters::Parameters;

/// The rule of an update, with its constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Algorithm {
    /// `p -= lr * g`, with momentum `b = momentum * b + g` in the place of `g`, and with Nesterov's
    /// look-ahead `g + momentum * b` (Sutskever et al. 2013).
    Sgd {
        /// 0 for none.
        #[serde(with = "exact")]
        momentum: f64,
        /// Whether to look ahead.
        nesterov: bool,
        /// Added to the gradient as `weight_decay * p`.
        #[serde(with = "exact")]
        weight_decay: f64,
    },
    /// Kingma and Ba, *Adam* (2015), algorithm 1.
    Adam(AdamConstants),
    /// Loshchilov and Hutter, *Decoupled weight decay regularization* (2019): Adam, but decay shrinks
    /// the parameters by `lr * weight_decay` and does not enter the moments.
    AdamW(AdamConstants),
    /// Tieleman and Hinton, lecture 6.5 of *Neural networks for machine learning* (2012).
    RmsProp {
        /// Decay of the mean square.
        #[serde(with = "exact")]
        alpha: f64,
        /// Added to the root mean square.
        #[serde(with = "exact")]
        eps: f64,
        /// 0 for none.
        #[serde(with = "exact")]
        momentum: f64,
        /// Added to the gradient as `weight_decay * p`.
        #[serde(with = "exact")]
        weight_decay: f64,
    },
}

/// The constants of Adam and AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamConstants {
    /// Decay of the mean of gradients.
    #[serde(with = "exact")]
    pub beta1: f64,
    /// Decay of the mean of their squares.
    #[serde(with = "exact")]
    pub beta2: f64,
    /// Added to the root of the latter.
    #[serde(with = "exact")]
    pub eps: f64,
    /// Strength of the decay of weights.
    #[serde(with = "exact")]
    pub weight_decay: f64,
}

impl Algorithm {
    /// Plain gradient descent.
    pub fn sgd() -> Algorithm {
        Algorithm::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }

    /// Adam with the paper's constants.
    pub fn adam() -> Algorithm {
        Algorithm::Adam(AdamConstants { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 })
    }

    /// AdamW with PyTorch's constants.
    pub fn adamw() -> Algorithm {
        Algorithm::AdamW(AdamConstants { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 })
    }

    /// RMSProp with PyTorch's constants.
    pub fn rmsprop() -> Algorithm {
        Algorithm::RmsProp { alpha: 0.99, eps: 1e-8, momentum: 0.0, weight_decay: 0.0 }
    }

    /// The name in a `train` block.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sgd { .. } => "sgd",
            Algorithm::Adam(_) => "adam",
            Algorithm::AdamW(_) => "adamw",
            Algorithm::RmsProp { .. } => "rmsprop",
        }
    }

    /// The same with another decay of weights.
    pub fn with_decay(self, decay: f64) -> Algorithm {
        match self {
            Algorithm::Sgd { momentum, nesterov, .. } => {
                Algorithm::Sgd { momentum, nesterov, weight_decay: decay }
            }
            Algorithm::Adam(constants) => Algorithm::Adam(AdamConstants { weight_decay: decay, ..constants }),
            Algorithm::AdamW(constants) => {
                Algorithm::AdamW(AdamConstants { weight_decay: decay, ..constants })
            }
            Algorithm::RmsProp { alpha, eps, momentum, .. } => {
                Algorithm::RmsProp { alpha, eps, momentum, weight_decay: decay }
            }
        }
    }

    /// The learning rate where none is given: PyTorch's.
    pub fn default_learning_rate(self) -> f64 {
        match self {
            Algorithm::Adam(_) | Algorithm::AdamW(_) => 1e-3,
            Algorithm::Sgd { .. } | Algorithm::RmsProp { .. } => 1e-2,
        }
    }

    /// Names of the vectors it keeps between steps, each as long as the parameters.
    pub fn state_names(self) -> &'static [&'static str] {
        match self {
            Algorithm::Sgd { momentum: 0.0, .. } => &[],
            Algorithm::Sgd { .. } => &["sgd.momentum"],
            Algorithm::Adam(_) => &["adam.m", "adam.v"],
            Algorithm::AdamW(_) => &["adamw.m", "adamw.v"],
            Algorithm::RmsProp { momentum: 0.0, .. } => &["rmsprop.v"],
            Algorithm::RmsProp { .. } => &["rmsprop.v", "rmsprop.momentum"],
        }
    }
}

/// Why a saved state cannot be taken up.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum StateError {
    /// A vector of the algorithm is absent.
    #[error("the optimiser's state `{0}` is missing")]
    Missing(String),
    /// A vector of another length than the parameters.
    #[error("the optimiser's state `{name}` has {found} values for {expected} parameter values")]
    Length {
        /// Name of the vector.
        name: String,
        /// Number of parameter values.
        expected: usize,
        /// Number of values in the vector.
        found: usize,
    },
}

/// An algorithm and what it remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    algorithm: Algorithm,
    steps: u64,
    state: Vec<Vec<f32>>,
    /// How each parameter is trained; empty: all as the algorithm says.
    treatments: Vec<Treatment>,
}

impl Optimizer {
    /// An optimiser before its first step, for parameters of this size.
    pub fn new(algorithm: Algorithm, parameters: &Parameters) -> Optimizer {
        let zeros = || vec![0.0; parameters.values().len()];
        let state = algorithm.state_names().iter().map(|_| zeros()).collect();
        Optimizer { algorithm, steps: 0, state, treatments: Vec::new() }
    }

    /// An optimiser as it was after `steps` steps; `vector` finds a saved vector by its name.
    ///
    /// # Errors
    /// A vector that is missing or of the wrong length.
    pub fn restore(
        algorithm: Algorithm,
        parameters: &Parameters,
        steps: u64,
        mut vector: impl FnMut(&str) -> Option<Vec<f32>>,
    ) -> Result<Optimizer, StateError> {
        let expected = parameters.values().len();
        let mut state = Vec::new();
        for &name in algorithm.state_names() {
            let values = vector(name).ok_or_else(|| StateError::Missing(name.to_string()))?;
            if values.len() != expected {
                let (name, found) = (name.to_string(), values.len());
                return Err(StateError::Length { name, expected, found });
            }
            state.push(values);
        }
        Ok(Optimizer { algorithm, steps, state, treatments: Vec::new() })
    }

    /// The same for parameters that are trained in ways of their own, one for each in their order.
    pub fn with_treatments(mut self, treatments: Vec<Treatment>) -> Optimizer {
        self.treatments = treatments;
        self
    }

    /// How the parameter with this number is trained, and the rule for it.
    pub fn treatment(&self, parameter: usize) -> (Treatment, Algorithm) {
        let treatment = self.treatments.get(parameter).copied().unwrap_or_default();
        let rule = treatment.weight_decay.map_or(self.algorithm, |decay| self.algorithm.with_decay(decay));
        (treatment, rule)
    }

    /// How all parameters are trained; empty if they are all alike.
    pub fn treatments(&self) -> &[Treatment] {
        &self.treatments
    }

    /// The rule in use.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The vectors to save, by name.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, &[f32])> {
        self.algorithm.state_names().iter().copied().zip(self.state.iter().map(Vec::as_slice))
    }

    /// One update of the trainable parameters, with the learning rate `rate`, on the threads of the pool that it is
    /// called from.
    ///
    /// # Errors
    /// A gradient of another length than the parameters; nothing is changed then.
    pub fn step(
        &mut self,
        parameters: &mut Parameters,
        gradient: &[f32],
        rate: f64,
    ) -> Result<(), GradientError> {
        let expected = parameters.values().len();
        if gradient.len() != expected {
            return Err(GradientError::Length { expected, found: gradient.len() });
        }
        self.steps += 1;
        let trained = parameters.specs().iter().enumerate().filter(|(_, spec)| spec.trainable);
        let ranges: Vec<_> = trained.map(|(index, _)| (index, parameters.range(index))).collect();
        let treatments: Vec<_> = ranges.iter().map(|(index, _)| self.treatment(*index)).collect();
        let mut values = parameters.values_mut();
        let mut state: Vec<&mut [f32]> = self.state.iter_mut().map(Vec::as_mut_slice).collect();
        let (mut pieces, mut done) = (Vec::new(), 0);
        for ((_, range), (treatment, rule)) in ranges.into_iter().zip(treatments) {
            for first in range.clone().step_by(PIECE) {
                let last = range.end.min(first + PIECE);
                let part = first - done..last - done;
                done = last;
                let values = cut(&mut values, &part);
                let mut state = state.iter_mut().map(|state| cut(state, &part));
                let state = (state.next(), state.next());
                pieces.push(Piece { values, gradient: &gradient[first..last], state, treatment, rule });
            }
        }
        let number = self.steps;
        pieces.into_par_iter().for_each(|piece| piece.update(rate, number));
        Ok(())
    }
}

/// Parameters that one thread updates at a time.
const PIECE: usize = 1 << 13;

/// Part of a parameter, and what is remembered of it.
struct Piece<'a> {
    values: &'a mut [f32],
    gradient: &'a [f32],
    state: (Option<&'a mut [f32]>, Option<&'a mut [f32]>),
    treatment: Treatment,
    rule: Algorithm,
}

/// Cuts a part out of a slice, which goes on behind it.
fn cut<'a>(rest: &mut &'a mut [f32], part: &Range<usize>) -> &'a mut [f32] {
    let (_, behind) = std::mem::take(rest).split_at_mut(part.start);
    let (own, behind) = behind.split_at_mut(part.len());
    *rest = behind;
    own
}

impl Piece<'_> {
    /// The update of the step with this number, from 1.
    fn update(self, rate: f64, number: u64) {
        let Piece { values, gradient, state, treatment, rule } = self;
        let rate = rate * treatment.factor;
        let penalised = (treatment.l1 != 0.0).then(|| with_l1(gradient, values, treatment.l1));
        let gradient = penalised.as_deref().unwrap_or(gradient);
        match (rule, state) {
            (Algorithm::Sgd { momentum, nesterov, weight_decay }, (buffer, _)) => {
                sgd(values, gradient, buffer, rate, (momentum, nesterov, weight_decay));
            }
            (Algorithm::Adam(constants), (Some(m), Some(v))) => {
                adam(values, gradient, (m, v), constants, constants.step(rate, number));
            }
            (Algorithm::AdamW(constants), (Some(m), Some(v))) => {
                let kept = (1.0 - rate * constants.weight_decay) as f32;
                values.iter_mut().for_each(|p| *p *= kept);
                let undecayed = AdamConstants { weight_decay: 0.0, ..constants };
                adam(values, gradient, (m, v), undecayed, constants.step(rate, number));
            }
            (Algorithm::RmsProp { alpha, eps, momentum, weight_decay }, (Some(v), buffer)) => {
                rmsprop(values, gradient, (v, buffer), rate, (alpha, eps, momentum, weight_decay));
            }
            // `new` and `restore` make exactly the vectors that `state_names` lists.
            (Algorithm::Adam(_) | Algorithm::AdamW(_) | Algorithm::RmsProp { .. }, _) => {}
        }
    }
}

/// The gradient with that of an L1 penalty, whose derivative at 0 is taken as 0.
fn with_l1(gradient: &[f32], values: &[f32], l1: f64) -> Vec<f32> {
    let l1 = l1 as f32;
    let sign = |p: f32| {
        if p > 0.0 {
            1.0
        } else if p < 0.0 {
            -1.0
        } else {
            0.0
        }
    };
    gradient.iter().zip(values).map(|(g, &p)| g + l1 * sign(p)).collect()
}

fn sgd(
    values: &mut [f32],
    gradient: &[f32],
    buffer: Option<&mut [f32]>,
    rate: f64,
    (momentum, nesterov, weight_decay): (f64, bool, f64),
) {
    let (rate, momentum, decay) = (rate as f32, momentum as f32, weight_decay as f32);
    match buffer {
        None => values.iter_mut().zip(gradient).for_each(|(p, g)| *p -= rate * (g + decay * *p)),
        Some(buffer) => {
            for ((p, g), b) in values.iter_mut().zip(gradient).zip(buffer) {
                let g = g + decay * *p;
                *b = momentum * *b + g;
                *p -= rate * if nesterov { g + momentum * *b } else { *b };
            }
        }
    }
}

/// The scalars of one step, bias correction included.
#[derive(Clone, Copy)]
pub(super) struct AdamStep {
    /// `lr / (1 - beta1^t)`
    pub size: f32,
    /// `sqrt(1 - beta2^t)`
    pub root: f32,
}

impl AdamConstants {
    /// The scalars of the step with this number, from 1.
    pub(super) fn step(self, rate: f64, number: u64) -> AdamStep {
        let number = number as f64;
        let size = rate / (1.0 - self.beta1.powf(number));
        AdamStep { size: size as f32, root: (1.0 - self.beta2.powf(number)).sqrt() as f32 }
    }
}

fn adam(
    values: &mut [f32],
    gradient: &[f32],
    (m, v): (&mut [f32], &mut [f32]),
    constants: AdamConstants,
    step: AdamStep,
) {
    let (keep1, take1) = (constants.beta1 as f32, (1.0 - constants.beta1) as f32);
    let (keep2, take2) = (constants.beta2 as f32, (1.0 - constants.beta2) as f32);
    let (eps, decay) = (constants.eps as f32, constants.weight_decay as f32);
    for (((p, g), m), v) in values.iter_mut().zip(gradient).zip(m).zip(v) {
        let g = g + decay * *p;
        *m = keep1 * *m + take1 * g;
        *v = keep2 * *v + take2 * g * g;
        *p -= step.size * *m / (v.sqrt() / step.root + eps);
    }
}

fn rmsprop(
    values: &mut [f32],
    gradient: &[f32],
    (v, buffer): (&mut [f32], Option<&mut [f32]>),
    rate: f64,
    (alpha, eps, momentum, weight_decay): (f64, f64, f64, f64),
) {
    let (keep, take) = (alpha as f32, (1.0 - alpha) as f32);
    let (rate, eps, decay) = (rate as f32, eps as f32, weight_decay as f32);
    let scaled = |p: f32, g: f32, v: &mut f32| {
        let g = g + decay * p;
        *v = keep * *v + take * g * g;
        g / (v.sqrt() + eps)
    };
    match buffer {
        None => {
            for ((p, g), v) in values.iter_mut().zip(gradient).zip(v) {
                *p -= rate * scaled(*p, *g, v);
            }
        }
        Some(buffer) => {
            let momentum = momentum as f32;
            for (((p, g), v), b) in values.iter_mut().zip(gradient).zip(v).zip(buffer) {
                *b = momentum * *b + scaled(*p, *g, v);
                *p -= rate * *b;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::initializer::Initializer;
    use crate::runtime::parameters::ParameterSpec;

    fn parameters(values: &[f32]) -> Parameters {
        let spec = ParameterSpec::new("w", &[values.len()], Initializer::Zeros);
        Parameters::from_values(vec![spec], values.to_vec()).unwrap()
    }

    /// The parameters after each gradient in turn.
    fn path(algorithm: Algorithm, start: f32, rate: f64, gradients: &[f32]) -> Vec<f32> {
        let mut parameters = parameters(&[start]);
        let mut optimizer = Optimizer::new(algorithm, &parameters);
        let mut step = |g: &f32| {
            optimizer.step(&mut parameters, &[*g], rate).unwrap();
            parameters.values()[0]
        };
        gradients.iter().map(&mut step).collect()
    }

    #[test]
    fn a_parameter_in_a_way_of_its_own() {
        let start = [0.5f32, -0.5, 0.0, 2.0];
        let specs = ["a", "b"].map(|name| ParameterSpec::new(name, &[2], Initializer::Zeros)).to_vec();
        for algorithm in [Algorithm::sgd(), Algorithm::adamw(), Algorithm::rmsprop()] {
            let mut both = Parameters::from_values(specs.clone(), start.to_vec()).unwrap();
            let own = Treatment { factor: 0.5, weight_decay: Some(0.3), l1: 0.25 };
            let mut optimizer =
                Optimizer::new(algorithm, &both).with_treatments(vec![Treatment::default(), own]);
            let mut first = parameters(&start[..2]);
            let mut plain = Optimizer::new(algorithm, &first);
            let mut second = parameters(&start[2..]);
            let mut other = Optimizer::new(algorithm.with_decay(0.3), &second);
            for _ in 0..3 {
                optimizer.step(&mut both, &[1.0, 0.1, 0.2, -1.0], 0.1).unwrap();
                plain.step(&mut first, &[1.0, 0.1], 0.1).unwrap();
                let sign = |p: f32| if p == 0.0 { 0.0 } else { p.signum() };
                let with: Vec<f32> =
                    second.values().iter().zip([0.2, -1.0]).map(|(&p, g)| g + 0.25 * sign(p)).collect();
                other.step(&mut second, &with, 0.05).unwrap();
            }
            assert_eq!(both.values()[..2], *first.values());
            assert_eq!(both.values()[2..], *second.values());
        }
    }

    fn close(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((f64::from(*a) - b).abs() < 2e-6, "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn sgd_by_hand() {
        close(&path(Algorithm::sgd(), 1.0, 0.1, &[0.5, -1.0]), &[0.95, 1.05]);
        let decayed = Algorithm::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.1 };
        close(&path(decayed, 1.0, 0.1, &[0.5, 0.0]), &[0.94, 0.9306]);
        // b: 1, 0.9 * 1 + 1 = 1.9, 0.9 * 1.9 = 1.71
        let momentum = Algorithm::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        close(&path(momentum, 1.0, 0.1, &[1.0, 1.0, 0.0]), &[0.9, 0.71, 0.539]);
        // g + 0.9 b: 1.9, 2.71, 0.9 * 1.71 = 1.539
        let nesterov = Algorithm::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 };
        close(&path(nesterov, 1.0, 0.1, &[1.0, 1.0, 0.0]), &[0.81, 0.539, 0.3851]);
    }

    /// The textbook's form of the algorithm in f64: `lr * m_hat / (sqrt(v_hat) + eps)`.
    fn adam_in_f64(start: f64, rate: f64, c: AdamConstants, decoupled: bool, gradients: &[f32]) -> Vec<f64> {
        let (mut p, mut m, mut v) = (start, 0.0, 0.0);
        let mut path = Vec::new();
        for (step, &g) in (1..).zip(gradients) {
            let mut g = f64::from(g);
            if decoupled {
                p -= rate * c.weight_decay * p;
            } else {
                g += c.weight_decay * p;
            }
            m = c.beta1 * m + (1.0 - c.beta1) * g;
            v = c.beta2 * v + (1.0 - c.beta2) * g * g;
            let (m_hat, v_hat) = (m / (1.0 - c.beta1.powi(step)), v / (1.0 - c.beta2.powi(step)));
            p -= rate * m_hat / (v_hat.sqrt() + c.eps);
            path.push(p);
        }
        path
    }

    #[test]
    fn adam_and_adamw_as_in_the_papers() {
        let gradients = [0.5, -0.25, 2.0, 0.0, -1.0, 1e-3, 0.7];
        let constants = AdamConstants { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
        let plain = AdamConstants { weight_decay: 0.0, ..constants };
        for (algorithm, c, decoupled) in [
            (Algorithm::adam(), plain, false),
            (Algorithm::Adam(constants), constants, false),
            (Algorithm::adamw(), constants, true),
            (
                Algorithm::AdamW(AdamConstants { beta1: 0.5, beta2: 0.9, eps: 0.1, weight_decay: 0.5 }),
                AdamConstants { beta1: 0.5, beta2: 0.9, eps: 0.1, weight_decay: 0.5 },
                true,
            ),
        ] {
            close(&path(algorithm, 1.0, 0.1, &gradients), &adam_in_f64(1.0, 0.1, c, decoupled, &gradients));
        }
    }

    /// By hand: m_hat / sqrt(v_hat) is 1 at the first step; at the second m = 0.045 - 0.025 = 0.02 / 0.19,
    /// v = 0.00024975 + 0.0000625 over 0.001999.
    #[test]
    fn adam_by_hand() {
        let second = 0.9 - 0.1 * (0.02 / 0.19) / (0.000_312_25f64 / 0.001_999).sqrt();
        close(&path(Algorithm::adam(), 1.0, 0.1, &[0.5, -0.25]), &[0.9, second]);
    }

    #[test]
    fn rmsprop_by_hand() {
        let (v1, v2) = (0.01 * 0.25, 0.99 * 0.01 * 0.25 + 0.01);
        let (s1, s2) = (0.5 / f64::sqrt(v1), -1.0 / f64::sqrt(v2));
        let plain = path(Algorithm::rmsprop(), 1.0, 0.01, &[0.5, -1.0]);
        close(&plain, &[1.0 - 0.01 * s1, 1.0 - 0.01 * (s1 + s2)]);
        let momentum = Algorithm::RmsProp { alpha: 0.99, eps: 1e-8, momentum: 0.5, weight_decay: 0.0 };
        close(&path(momentum, 1.0, 0.01, &[0.5, -1.0]), &[1.0 - 0.01 * s1, 1.0 - 0.01 * (1.5 * s1 + s2)]);
    }

    #[test]
    fn adam_reaches_the_minimum_of_a_parabola() {
        let mut parameters = parameters(&[3.0, -2.0]);
        let mut optimizer = Optimizer::new(Algorithm::adam(), &parameters);
        for _ in 0..2000 {
            let gradient: Vec<f32> = parameters.values().iter().map(|w| 2.0 * (w - 0.5)).collect();
            optimizer.step(&mut parameters, &gradient, 0.01).unwrap();
        }
        assert!(parameters.values().iter().all(|w| (w - 0.5).abs() < 1e-3));
    }

    #[test]
    fn frozen_parameters_stay() {
        let frozen = ParameterSpec { trainable: false, ..ParameterSpec::new("E", &[2], Initializer::Ones) };
        let specs = vec![frozen, ParameterSpec::new("w", &[1], Initializer::Ones)];
        let mut parameters = Parameters::initialize(specs, 1).unwrap();
        for algorithm in [Algorithm::sgd(), Algorithm::adam(), Algorithm::adamw(), Algorithm::rmsprop()] {
            let before = parameters.values()[2];
            Optimizer::new(algorithm, &parameters).step(&mut parameters, &[1.0, f32::NAN, 1.0], 0.1).unwrap();
            assert_eq!(parameters.values()[..2], [1.0, 1.0]);
            assert!(parameters.values()[2] < before);
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on_bit_for_bit() {
        let momentum = Algorithm::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
        let rmsprop = Algorithm::RmsProp { alpha: 0.9, eps: 1e-6, momentum: 0.9, weight_decay: 0.0 };
        for algorithm in [Algorithm::sgd(), momentum, Algorithm::adam(), Algorithm::adamw(), rmsprop] {
            let mut parameters = parameters(&[1.0, 2.0]);
            let mut optimizer = Optimizer::new(algorithm, &parameters);
            optimizer.step(&mut parameters, &[0.3, -0.7], 0.05).unwrap();
            let saved: Vec<_> = optimizer.state().map(|(n, v)| (n, v.to_vec())).collect();
            let find = |name: &str| saved.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
            let mut again = Optimizer::restore(algorithm, &parameters, optimizer.steps(), find).unwrap();
            assert_eq!(again, optimizer);
            let mut other = parameters.clone();
            again.step(&mut other, &[0.1, 0.2], 0.05).unwrap();
            optimizer.step(&mut parameters, &[0.1, 0.2], 0.05).unwrap();
            assert_eq!(other, parameters);
        }
    }

    #[test]
    fn bad_gradients_and_states() {
        let mut parameters = parameters(&[1.0, 2.0]);
        let mut optimizer = Optimizer::new(Algorithm::adam(), &parameters);
        assert!(optimizer.step(&mut parameters, &[1.0], 0.1).is_err());
        assert_eq!((optimizer.steps(), parameters.values()), (0, &[1.0, 2.0][..]));
        let missing = Optimizer::restore(Algorithm::adam(), &parameters, 1, |_| None);
        assert_eq!(missing.unwrap_err().to_string(), "the optimiser's state `adam.m` is missing");
        let short = Optimizer::restore(Algorithm::adam(), &parameters, 1, |_| Some(vec![0.0]));
        assert!(matches!(short, Err(StateError::Length { expected: 2, found: 1, .. })));
    }
}
