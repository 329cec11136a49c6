//! Choosing by a distribution: the likeliest, or by chance, with a temperature and a tail cut off.
//!
//! ```
//! use rnnc::driver::predict::{Chance, Choice};
//! let logits = [0.0, 2.0, 1.0];
//! assert_eq!(Choice::Likeliest.of_logits(&logits, || 0.9), 1);
//! let two = Choice::Chance(Chance { top_k: Some(2), ..Chance::default() });
//! assert_eq!((two.of_logits(&logits, || 0.1), two.of_logits(&logits, || 0.9)), (1, 2));
//! ```
//!
//! Random numbers are functions of the seed, the example, the step and the element: they depend on no other example
//! and on no thread. The tail: Fan, Lewis and Dauphin, *Hierarchical neural story generation*, ACL 2018 (the
//! first k); Holtzman et al., *The curious case of neural text degeneration*, ICLR 2020 (the nucleus).

use crate::base::philox::{philox4x32, uniform};

/// Tells these random numbers from all others.
const STREAM: u32 = 0xD4A7;

/// How one of several is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Choice {
    /// The likeliest; of equals the first.
    #[default]
    Likeliest,
    /// By chance.
    Chance(Chance),
}

/// By chance: with what temperature, and among which.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance {
    /// Above 0; 1 is as the model says, lower is surer.
    pub temperature: f64,
    /// Only among so many of the likeliest.
    pub top_k: Option<usize>,
    /// Only among the fewest of the likeliest whose probabilities add up to this.
    pub top_p: Option<f64>,
}

impl Default for Chance {
    fn default() -> Chance {
        Chance { temperature: 1.0, top_k: None, top_p: None }
    }
}

impl Choice {
    /// One of the classes that have these logits; `random` is a number between 0 and 1.
    pub fn of_logits(&self, logits: &[f32], random: impl FnOnce() -> f64) -> usize {
        let Choice::Chance(chance) = self else { return likeliest(logits) };
        let logits: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) / chance.temperature).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weight = |class: usize| (logits[class] - largest).exp();
        let mut classes: Vec<usize> = (0..logits.len()).collect();
        if chance.top_k.is_some() || chance.top_p.is_some() {
            classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            classes.truncate(chance.top_k.unwrap_or(usize::MAX).max(1));
        }
        if let Some(most) = chance.top_p {
            let total: f64 = classes.iter().map(|&class| weight(class)).sum();
            let mut sum = 0.0;
            let enough = classes.iter().position(|&class| {
                sum += weight(class);
                sum >= most * total
            });
            classes.truncate(enough.map_or(classes.len(), |at| at + 1));
        }
        let total: f64 = classes.iter().map(|&class| weight(class)).sum();
        let wanted = random() * total;
        let mut sum = 0.0;
        let found = classes.iter().find(|&&class| {
            sum += weight(class);
            sum > wanted
        });
        // Rounding may leave the last one a little short.
        found.or(classes.last()).copied().unwrap_or(0)
    }

    /// Whether it happens, by its logit.
    pub fn of_logit(&self, logit: f32, random: impl FnOnce() -> f64) -> bool {
        match self {
            Choice::Likeliest => logit > 0.0,
            Choice::Chance(chance) => {
                let odds = (-f64::from(logit) / chance.temperature).exp();
                random() * (1.0 + odds) < 1.0
            }
        }
    }

    /// A number about `mean`, with a deviation of 1 at a temperature of 1 (Box and Muller 1958).
    pub fn about(&self, mean: f32, random: impl FnOnce() -> [f64; 2]) -> f32 {
        match self {
            Choice::Likeliest => mean,
            Choice::Chance(chance) => {
                let [first, second] = random();
                let noise = (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos();
                (f64::from(mean) + chance.temperature * noise) as f32
            }
        }
    }
}

/// The place of the largest, of equals the first.
pub fn likeliest(logits: &[f32]) -> usize {
    let better = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
    (0..logits.len()).reduce(better).unwrap_or(0)
}

/// The logarithms of the probabilities that belong to logits.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = |&logit: &f32| f64::from(logit) - f64::from(largest);
    let sum: f64 = logits.iter().map(|logit| shifted(logit).exp()).sum();
    logits.iter().map(|logit| shifted(logit) - sum.ln()).collect()
}

/// Two random numbers between 0 and 1 of an element of what is drawn.
pub fn randoms(seed: u64, example: u64, step: usize, value: usize, element: usize) -> [f64; 2] {
    let key = [seed as u32, (seed >> 32) as u32 ^ STREAM ^ (value as u32).rotate_left(16)];
    let words = philox4x32([example as u32, (example >> 32) as u32, step as u32, element as u32], key);
    [uniform(words[0]), uniform(words[1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance(top_k: Option<usize>, top_p: Option<f64>) -> Choice {
        Choice::Chance(Chance { temperature: 1.0, top_k, top_p })
    }

    #[test]
    fn the_first_of_one_is_the_likeliest() {
        for example in 0..200 {
            let logits: Vec<f32> = (0..9).map(|at| randoms(1, example, at, 0, 0)[0] as f32).collect();
            let random = || randoms(2, example, 0, 0, 0)[0];
            assert_eq!(chance(Some(1), None).of_logits(&logits, random), likeliest(&logits));
            assert_eq!(chance(None, Some(1e-9)).of_logits(&logits, random), likeliest(&logits));
        }
    }

    #[test]
    fn draws_are_as_frequent_as_they_are_likely() {
        let logits = [0.0f32, 3.0, 1.0, 2.0];
        let expected = |kept: &[usize]| {
            let total: f64 = kept.iter().map(|&class| f64::from(logits[class]).exp()).sum();
            (0..4)
                .map(|class| if kept.contains(&class) { f64::from(logits[class]).exp() / total } else { 0.0 })
                .collect()
        };
        // The two likeliest have 0.644 and 0.237 of it.
        for (choice, kept) in [
            (chance(None, None), vec![0, 1, 2, 3]),
            (chance(Some(2), None), vec![1, 3]),
            (chance(None, Some(0.7)), vec![1, 3]),
            (chance(None, Some(0.6)), vec![1]),
            (chance(Some(3), Some(1.0)), vec![1, 2, 3]),
        ] {
            let mut counts = [0.0; 4];
            for example in 0..20_000 {
                counts[choice.of_logits(&logits, || randoms(5, example, 3, 1, 0)[0])] += 1.0 / 20_000.0;
            }
            let expected: Vec<f64> = expected(&kept);
            let worst = counts.iter().zip(&expected).map(|(a, b)| f64::abs(a - b)).fold(0.0, f64::max);
            assert!(worst < 0.015, "{choice:?}: {counts:?}, not {expected:?}");
        }
        let yes =
            (0..20_000).filter(|&at| chance(None, None).of_logit(1.0, || randoms(5, at, 0, 0, 0)[0])).count();
        assert!((yes as f64 / 20_000.0 - 0.7311).abs() < 0.01, "{yes}");
        let drawn: Vec<f64> = (0..20_000)
            .map(|at| f64::from(chance(None, None).about(2.0, || randoms(5, at, 0, 0, 0))))
            .collect();
        let mean = drawn.iter().sum::<f64>() / 20_000.0;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 2.0).abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
