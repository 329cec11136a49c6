//! Learning-rate schedules and early stopping.
//!
//! ```
//! use rnnc::runtime::schedule::{LearningRate, Schedule};
//! let rate = LearningRate::new(0.1, Schedule::Step { every: 2.0, factor: 0.5 }, 10);
//! assert_eq!(rate.at(4, 0.5), 0.05);  // warming up: step 5 of 10
//! assert_eq!(rate.at(100, 3.0), 0.05); // one halving after two epochs
//! ```
//!
//! A rate is a function of the step, of the position in epochs and of a small state that a checkpoint
//! keeps. Nothing here looks at a clock or at the gradient.

use serde::{Deserialize, Serialize};

use super::exact;

/// What is counted as better on a plateau: a loss lower by this part of the best one (PyTorch's
/// `ReduceLROnPlateau` with its default threshold).
const PLATEAU_THRESHOLD: f64 = 1e-4;

/// How the learning rate changes over training; lengths are in epochs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// It does not.
    Constant,
    /// Multiplied by `factor` after `every` epochs.
    Step {
        /// Epochs, at least 1.
        #[serde(with = "exact")]
        every: f64,
        /// Usually below 1.
        #[serde(with = "exact")]
        factor: f64,
    },
    /// From 1 down to `floor` along half a cosine, smoothly within epochs: Loshchilov and Hutter, *SGDR*
    /// (2017), eq. 5, without restarts.
    Cosine {
        /// Epochs until the floor.
        #[serde(with = "exact")]
        total: f64,
        /// The part of the rate that is left at the end.
        #[serde(with = "exact")]
        floor: f64,
    },
    /// Multiplied by `factor` when the held-out loss was no better for more than `patience` epochs.
    Plateau {
        /// Epochs that may pass without a better loss.
        patience: u32,
        /// Usually below 1.
        #[serde(with = "exact")]
        factor: f64,
    },
}

/// A schedule at work. The state (for plateaus) is saved and restored with it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningRate {
    #[serde(with = "exact")]
    base: f64,
    schedule: Schedule,
    warmup: u64,
    #[serde(with = "exact")]
    best: f64,
    waited: u32,
    #[serde(with = "exact")]
    reduction: f64,
}

impl LearningRate {
    /// A rate of `base` under `schedule`, growing linearly over the first `warmup` steps.
    pub fn new(base: f64, schedule: Schedule, warmup: u64) -> LearningRate {
        LearningRate { base, schedule, warmup, best: f64::INFINITY, waited: 0, reduction: 1.0 }
    }

    /// The rate of optimiser step `step` (from 0) at `epochs` (a fraction within an epoch, from 0).
    pub fn at(&self, step: u64, epochs: f64) -> f64 {
        let warm = if step < self.warmup { (step + 1) as f64 / self.warmup as f64 } else { 1.0 };
        let scheduled = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Step { every, factor } => factor.powf((epochs / every.max(1.0)).floor()),
            Schedule::Cosine { total, floor } => {
                let done = if total > 0.0 { (epochs / total).clamp(0.0, 1.0) } else { 1.0 };
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
            Schedule::Plateau { .. } => self.reduction,
        };
        self.base * warm * scheduled
    }

    /// Takes note of an epoch's held-out loss (the training loss where nothing is held out).
    ///
    /// A loss that is not a number is no better.
    pub fn end_epoch(&mut self, loss: f64) {
        let Schedule::Plateau { patience, factor } = self.schedule else {
            return;
        };
        // Unlike a plain comparison with `best`, this also lets a first loss of any size in.
        if self.best == f64::INFINITY && loss.is_finite()
            || loss < self.best - PLATEAU_THRESHOLD * self.best.abs()
        {
            self.best = loss;
            self.waited = 0;
            return;
        }
        self.waited += 1;
        if self.waited > patience {
            self.reduction *= factor;
            self.waited = 0;
        }
    }
}

/// When to give up: after `patience` epochs in a row that did not lower the loss by `improvement`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// Epochs without a better loss; at least 1.
    pub patience: u32,
    /// The least difference, in the unit of the loss, that counts as better.
    #[serde(with = "exact")]
    pub improvement: f64,
}

/// What an epoch's loss meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The best loss so far: a caller that keeps the best weights keeps these.
    Better,
    /// Not better, but patience is left.
    Wait,
    /// Patience is at its end.
    Stop,
}

/// Early stopping at work: Prechelt, *Early stopping — but when?* (1998), criterion UP.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    #[serde(with = "exact")]
    best: f64,
    waited: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { best: f64::INFINITY, waited: 0 }
    }
}

impl Patience {
    /// Takes note of an epoch's held-out loss. Without a rule it never says [`Verdict::Stop`].
    pub fn observe(&mut self, loss: f64, rule: Option<EarlyStopping>) -> Verdict {
        let improvement = rule.map_or(0.0, |rule| rule.improvement);
        if loss < self.best - improvement {
            *self = Patience { best: loss, waited: 0 };
            return Verdict::Better;
        }
        self.waited += 1;
        match rule {
            Some(rule) if self.waited >= rule.patience => Verdict::Stop,
            _ => Verdict::Wait,
        }
    }

    /// The best loss so far, if there was one.
    pub fn best(&self) -> Option<f64> {
        Some(self.best).filter(|best| best.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn constant_with_warmup() {
        let rate = LearningRate::new(0.2, Schedule::Constant, 4);
        let rates: Vec<f64> = (0..6).map(|step| rate.at(step, 0.0)).collect();
        rates.iter().zip([0.05, 0.1, 0.15, 0.2, 0.2, 0.2]).for_each(|(&a, b)| near(a, b));
        near(LearningRate::new(0.2, Schedule::Constant, 0).at(0, 0.0), 0.2);
    }

    #[test]
    fn step_and_cosine() {
        let step = LearningRate::new(1.0, Schedule::Step { every: 3.0, factor: 0.1 }, 0);
        for (epoch, expected) in [(0.0, 1.0), (2.99, 1.0), (3.0, 0.1), (8.5, 0.01)] {
            near(step.at(0, epoch), expected);
        }
        let cosine = LearningRate::new(2.0, Schedule::Cosine { total: 10.0, floor: 0.1 }, 0);
        let root = std::f64::consts::FRAC_1_SQRT_2;
        for (epoch, expected) in
            [(0.0, 2.0), (2.5, 2.0 * (0.1 + 0.45 * (1.0 + root))), (5.0, 1.1), (10.0, 0.2), (20.0, 0.2)]
        {
            near(cosine.at(0, epoch), expected);
        }
    }

    #[test]
    fn plateau_as_in_torch() {
        let mut rate = LearningRate::new(1.0, Schedule::Plateau { patience: 1, factor: 0.5 }, 0);
        // With patience 1, the second bad epoch in a row reduces; a gain below the threshold is bad.
        let losses = [2.0, 1.0, 1.0, 0.99999, 0.5, f64::NAN, 0.6, 0.7, 0.8];
        let expected = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125];
        for (loss, expected) in losses.into_iter().zip(expected) {
            rate.end_epoch(loss);
            near(rate.at(0, 0.0), expected);
        }
    }

    #[test]
    fn early_stopping() {
        let rule = Some(EarlyStopping { patience: 2, improvement: 0.1 });
        let mut patience = Patience::default();
        let verdicts: Vec<Verdict> =
            [1.0, 0.95, 0.8, 0.75, f64::NAN].into_iter().map(|loss| patience.observe(loss, rule)).collect();
        use Verdict::{Better, Stop, Wait};
        assert_eq!(verdicts, [Better, Wait, Better, Wait, Stop]);
        assert_eq!(patience.best(), Some(0.8));
        let mut endless = Patience::default();
        assert_eq!(endless.best(), None);
        assert_eq!(endless.observe(1.0, None), Better);
        assert!((0..100).all(|_| endless.observe(1.0, None) == Wait));
    }

    #[test]
    fn state_survives_a_checkpoint() {
        let mut rate = LearningRate::new(0.3, Schedule::Plateau { patience: 0, factor: 0.1 }, 7);
        let text = serde_json::to_string(&rate).unwrap();
        assert_eq!(serde_json::from_str::<LearningRate>(&text).unwrap(), rate);
        rate.end_epoch(1.0);
        rate.end_epoch(2.0);
        let text = serde_json::to_string(&rate).unwrap();
        assert_eq!(serde_json::from_str::<LearningRate>(&text).unwrap(), rate);
    }
}
