//! Groups of parameters that are trained in a way of their own.
//!
//! ```
//! use rnnc::runtime::groups::{Group, matches};
//! assert!(matches("enc.*", "enc.layer1.W_f") && matches("*.b_*", "enc.b_f") && !matches("embed", "embed_s"));
//! let slow = Group { pattern: "embed*".into(), rate: Some(1e-4), weight_decay: None, l1: None };
//! assert_eq!(slow.rate, Some(1e-4));
//! ```
//!
//! A parameter belongs to the last group whose pattern fits its path; what the group leaves open is the
//! optimiser's. It does not know any optimiser.

use serde::{Deserialize, Serialize};

use super::exact;
use super::parameters::ParameterSpec;

/// `parameters = like("enc.*", lr = 0.0001, weight_decay = 0)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// A path in which `*` stands for anything.
    pub pattern: String,
    /// The learning rate in place of the optimiser's, under the same schedule; 0 freezes.
    #[serde(with = "exact::option")]
    pub rate: Option<f64>,
    /// The decay of weights in place of the optimiser's.
    #[serde(with = "exact::option")]
    pub weight_decay: Option<f64>,
    /// The L1 penalty in place of the run's.
    #[serde(with = "exact::option")]
    pub l1: Option<f64>,
}

/// How one parameter is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Treatment {
    /// What the learning rate is multiplied with.
    pub factor: f64,
    /// In place of the optimiser's.
    pub weight_decay: Option<f64>,
    /// Added to the gradient as `l1 * sign(p)`.
    pub l1: f64,
}

impl Default for Treatment {
    fn default() -> Treatment {
        Treatment { factor: 1.0, weight_decay: None, l1: 0.0 }
    }
}

/// True if `*` in the pattern can stand for something so that it is the path.
pub fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((before, after)) => path.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.into_iter().any(|at| matches(after, &rest[at..]))
        }),
    }
}

/// The treatment of every parameter, in their order, where `rate` is the optimiser's own.
pub fn treatments(groups: &[Group], l1: f64, rate: f64, specs: &[ParameterSpec]) -> Vec<Treatment> {
    let of = |spec: &ParameterSpec| {
        let group = groups.iter().rev().find(|group| matches(&group.pattern, &spec.name));
        let own = |value: fn(&Group) -> Option<f64>| group.and_then(value);
        let factor = match own(|group| group.rate) {
            // A run without a rate of its own has nothing to be a multiple of.
            Some(_) if rate == 0.0 => 0.0,
            Some(own) => own / rate,
            None => 1.0,
        };
        Treatment {
            factor,
            weight_decay: own(|group| group.weight_decay),
            l1: own(|group| group.l1).unwrap_or(l1),
        }
    };
    specs.iter().map(of).collect()
}

/// Freezes what a group with a learning rate of 0 holds.
pub fn freeze(groups: &[Group], specs: &mut [ParameterSpec]) {
    for spec in specs {
        let group = groups.iter().rev().find(|group| matches(&group.pattern, &spec.name));
        if group.is_some_and(|group| group.rate == Some(0.0)) {
            spec.trainable = false;
        }
    }
}

/// The first group that no parameter belongs to, and so was probably meant otherwise.
pub fn idle<'g>(groups: &'g [Group], specs: &[ParameterSpec]) -> Option<&'g Group> {
    groups.iter().find(|group| !specs.iter().any(|spec| matches(&group.pattern, &spec.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::initializer::Initializer;

    fn group(pattern: &str, rate: Option<f64>, weight_decay: Option<f64>, l1: Option<f64>) -> Group {
        Group { pattern: pattern.into(), rate, weight_decay, l1 }
    }

    #[test]
    fn patterns() {
        for (pattern, path, fits) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("*", "", true),
            ("*", "x.y", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*.b_*", "enc.layer1.b_f", true),
            ("*b*b*", "ab", false),
            ("é*", "éa", true),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_group_that_fits() {
        let specs: Vec<ParameterSpec> = ["embed", "enc.W", "enc.b"]
            .map(|name| ParameterSpec::new(name, &[1], Initializer::Zeros))
            .to_vec();
        let groups = [
            group("enc.*", Some(0.05), None, None),
            group("*.b", None, Some(0.0), Some(0.5)),
            group("embed", Some(0.0), None, None),
        ];
        let found = treatments(&groups, 0.25, 0.1, &specs);
        let default = Treatment { l1: 0.25, ..Treatment::default() };
        assert_eq!(found[0], Treatment { factor: 0.0, ..default });
        assert_eq!(found[1], Treatment { factor: 0.5, ..default });
        assert_eq!(found[2], Treatment { factor: 1.0, weight_decay: Some(0.0), l1: 0.5 });
        let mut frozen = specs.clone();
        freeze(&groups, &mut frozen);
        assert_eq!(frozen.iter().map(|spec| spec.trainable).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(idle(&groups, &specs), None);
        assert_eq!(idle(&[group("dec.*", None, None, None)], &specs).unwrap().pattern, "dec.*");
    }
}
