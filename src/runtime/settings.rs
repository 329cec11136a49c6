//! The settings of training: a model's `train { … }` block in its parsed form.
//!
//! ```
//! use rnnc::runtime::settings::{Argument, SettingValue, TrainSettings};
//! let rate = Argument { name: Some("lr".to_string()), value: SettingValue::Number(0.002) };
//! let mut settings = TrainSettings::default();
//! settings.set("optimizer", &SettingValue::Call("adam".to_string(), vec![rate]))?;
//! settings.set("truncate", &SettingValue::Number(64.0))?;
//! assert_eq!((settings.rate, settings.truncate), (0.002, Some(64)));
//! assert!(settings.set("trunkate", &SettingValue::Number(64.0)).unwrap_err().to_string().contains("truncate"));
//! # Ok::<(), rnnc::runtime::settings::SettingsError>(())
//! ```
//!
//! The caller turns syntax into [`SettingValue`]s, one key at a time, and so knows the place of an
//! error. Flags of the command line go the same way, or set the fields.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::clip::Clip;
use super::exact;
use super::groups::{Group, Treatment, treatments};
use super::optimizer::{AdamConstants, Algorithm};
use super::parameters::ParameterSpec;
use super::reading::{self, Reading};
use super::schedule::{EarlyStopping, LearningRate, Schedule};

/// A value in a `train` block: `5`, `none`, `adam(lr = 0.002)`.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingValue {
    /// `0.5`
    Number(f64),
    /// `adam`
    Name(String),
    /// `"enc.*"`
    Text(String),
    /// `adam(lr = 0.002)`
    Call(String, Vec<Argument>),
}

/// An argument of a [`SettingValue::Call`], by name or by position.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// The name, where one is written.
    pub name: Option<String>,
    /// The value.
    pub value: SettingValue,
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingValue::Number(number) => write!(f, "{number}"),
            SettingValue::Name(name) => f.write_str(name),
            SettingValue::Text(text) => write!(f, "\"{text}\""),
            SettingValue::Call(name, arguments) => {
                write!(f, "{name}(")?;
                for (i, Argument { name, value }) in arguments.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    match name {
                        Some(name) => write!(f, "{comma}{name} = {value}")?,
                        None => write!(f, "{comma}{value}")?,
                    }
                }
                f.write_str(")")
            }
        }
    }
}

/// Why a setting cannot be taken.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SettingsError {
    /// No such key, optimiser, schedule or argument.
    #[error("no {what} is named `{found}`{}; there are: {}", did_you_mean(nearest), known.join(", "))]
    Unknown {
        /// `setting`, `optimizer`, `schedule`, or `argument of adam`.
        what: String,
        /// What was written.
        found: String,
        /// The known name that is closest to it, if one is close.
        nearest: Option<&'static str>,
        /// All names that exist.
        known: Vec<&'static str>,
    },
    /// A value of another kind or out of its range.
    #[error("`{key}` is {expected}, not `{found}`")]
    Value {
        /// The key or argument.
        key: String,
        /// What it may be: `a number above 0`.
        expected: &'static str,
        /// What was written.
        found: String,
    },
    /// An argument given twice or past the last one.
    #[error("{function} takes {} at most once each", takes.join(", "))]
    Arguments {
        /// The optimiser or schedule.
        function: String,
        /// Its arguments in their order.
        takes: Vec<&'static str>,
    },
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map_or(String::new(), |name| format!(" (did you mean `{name}`?)"))
}

/// The keys of a `train` block that are not of reading ([`reading::KEYS`]).
const KEYS: &[&str] = &[
    "optimizer",
    "clip_norm",
    "clip_value",
    "truncate",
    "batch",
    "epochs",
    "schedule",
    "warmup",
    "l1",
    "parameters",
    "early_stopping",
    "holdout",
    "min_count",
    "seed",
];

/// Everything that a `train` block can say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    /// `optimizer = adam(lr = …)`: the rule.
    pub algorithm: Algorithm,
    /// Its learning rate, before any schedule.
    #[serde(with = "exact")]
    pub rate: f64,
    /// `clip_norm = 5`: largest global norm of a gradient.
    #[serde(with = "exact::option")]
    pub clip_norm: Option<f64>,
    /// `clip_value = 1`: largest magnitude of one element.
    #[serde(with = "exact::option")]
    pub clip_value: Option<f64>,
    /// `truncate = 64`: steps between cuts of the gradient through time; none: never cut.
    pub truncate: Option<usize>,
    /// `batch = 32`: examples, or streams of a text, in a step.
    pub batch: usize,
    /// `epochs = 10`: passes over the data.
    pub epochs: usize,
    /// `schedule = cosine(floor = 0.1)`. A cosine whose total is 0 spans all epochs.
    pub schedule: Schedule,
    /// `warmup = 100`: optimiser steps over which the rate grows from 0.
    pub warmup: u64,
    /// `l1 = 0.00001`: the gradient of this times the sum of all magnitudes is added.
    #[serde(default, with = "exact")]
    pub l1: f64,
    /// `parameters = like("enc.*", lr = 0.0001, weight_decay = 0, l1 = 0)`, as often as wanted.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// `early_stopping = patience(3)`, `= 3` or `= patience(epochs = 3, improvement = 0.01)`.
    pub early_stopping: Option<EarlyStopping>,
    /// `holdout = 0.1`: the part of the data that is not trained on.
    #[serde(with = "exact::option")]
    pub holdout: Option<f64>,
    /// `min_count = 2`: words that are trained on fewer times are the unknown word.
    #[serde(default = "once")]
    pub min_count: usize,
    /// `seed = 1`.
    pub seed: u64,
    /// `tokens = chars`, `rows = steps` and the like: how records are read.
    #[serde(default)]
    pub reading: Reading,
}

/// Runs of before there was this setting.
fn once() -> usize {
    1
}

impl Default for TrainSettings {
    fn default() -> TrainSettings {
        TrainSettings {
            algorithm: Algorithm::adam(),
            rate: Algorithm::adam().default_learning_rate(),
            clip_norm: None,
            clip_value: None,
            truncate: None,
            batch: 32,
            epochs: 10,
            schedule: Schedule::Constant,
            warmup: 0,
            l1: 0.0,
            groups: Vec::new(),
            early_stopping: None,
            holdout: None,
            min_count: 1,
            seed: 1,
            reading: Reading::default(),
        }
    }
}

impl TrainSettings {
    /// The defaults with these changes, in order.
    ///
    /// # Errors
    /// The first key or value that is wrong; [`TrainSettings::set`] one by one finds all of them.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a SettingValue)>,
    ) -> Result<TrainSettings, SettingsError> {
        let mut settings = TrainSettings::default();
        pairs.into_iter().try_for_each(|(key, value)| settings.set(key, value))?;
        Ok(settings)
    }

    /// Changes one setting; nothing is changed by a wrong one.
    ///
    /// # Errors
    /// An unknown key, optimiser, schedule or argument, or a value of the wrong kind or range.
    pub fn set(&mut self, key: &str, value: &SettingValue) -> Result<(), SettingsError> {
        let absent = matches!(value, SettingValue::Name(name) if name == "none");
        let positive = || Kind::Positive.read(key, value);
        let count = || Kind::Count.read(key, value);
        match key {
            "optimizer" => (self.algorithm, self.rate) = optimizer(value)?,
            "schedule" => self.schedule = schedule(value)?,
            "clip_norm" => self.clip_norm = if absent { None } else { Some(positive()?) },
            "clip_value" => self.clip_value = if absent { None } else { Some(positive()?) },
            "truncate" => self.truncate = if absent { None } else { Some(count()? as usize) },
            "batch" => self.batch = count()? as usize,
            "epochs" => self.epochs = count()? as usize,
            "warmup" => self.warmup = Kind::Whole.read(key, value)? as u64,
            "l1" => self.l1 = if absent { 0.0 } else { Kind::Amount.read(key, value)? },
            "parameters" => self.groups.push(group(value)?),
            "early_stopping" => self.early_stopping = if absent { None } else { Some(patience(value)?) },
            "holdout" => self.holdout = if absent { None } else { Some(Kind::Fraction.read(key, value)?) },
            "min_count" => self.min_count = count()? as usize,
            "seed" => self.seed = Kind::Whole.read(key, value)? as u64,
            _ if reading::KEYS.contains(&key) => self.reading.set(key, value)?,
            _ => return Err(unknown("setting", key, &[KEYS, reading::KEYS].concat())),
        }
        Ok(())
    }

    /// The clipping of gradients.
    pub fn clip(&self) -> Clip {
        Clip { value: self.clip_value, norm: self.clip_norm }
    }

    /// How each of these parameters is trained; nothing where all are alike.
    pub fn treatments(&self, specs: &[ParameterSpec]) -> Vec<Treatment> {
        match self.groups.is_empty() && self.l1 == 0.0 {
            true => Vec::new(),
            false => treatments(&self.groups, self.l1, self.rate, specs),
        }
    }

    /// The learning rate at its beginning, with a cosine of no given total spanning all epochs.
    pub fn learning_rate(&self) -> LearningRate {
        let schedule = match self.schedule {
            Schedule::Cosine { total: 0.0, floor } => Schedule::Cosine { total: self.epochs as f64, floor },
            other => other,
        };
        LearningRate::new(self.rate, schedule, self.warmup)
    }
}

fn optimizer(value: &SettingValue) -> Result<(Algorithm, f64), SettingsError> {
    const NAMES: &[&str] = &["sgd", "adam", "adamw", "rmsprop"];
    let (name, arguments) = call("optimizer", "an optimizer such as adam(lr = 0.001)", value)?;
    let default = match name {
        "sgd" => Algorithm::sgd(),
        "adam" => Algorithm::adam(),
        "adamw" => Algorithm::adamw(),
        "rmsprop" => Algorithm::rmsprop(),
        _ => return Err(unknown("optimizer", name, NAMES)),
    };
    let names: &'static [&'static str] = match default {
        Algorithm::Sgd { .. } => &["lr", "momentum", "weight_decay", "nesterov"],
        Algorithm::Adam(_) | Algorithm::AdamW(_) => &["lr", "beta1", "beta2", "eps", "weight_decay"],
        Algorithm::RmsProp { .. } => &["lr", "alpha", "eps", "momentum", "weight_decay"],
    };
    let given = Arguments::new(name, names, arguments)?;
    let part = |name, default| given.number(name, Kind::Part, default);
    let amount = |name, default| given.number(name, Kind::Amount, default);
    let moments = |d: AdamConstants| {
        Ok::<_, SettingsError>(AdamConstants {
            beta1: part("beta1", d.beta1)?,
            beta2: part("beta2", d.beta2)?,
            eps: amount("eps", d.eps)?,
            weight_decay: amount("weight_decay", d.weight_decay)?,
        })
    };
    let algorithm = match default {
        Algorithm::Sgd { momentum, nesterov, weight_decay } => Algorithm::Sgd {
            momentum: part("momentum", momentum)?,
            nesterov: given.flag("nesterov", nesterov)?,
            weight_decay: amount("weight_decay", weight_decay)?,
        },
        Algorithm::Adam(defaults) => Algorithm::Adam(moments(defaults)?),
        Algorithm::AdamW(defaults) => Algorithm::AdamW(moments(defaults)?),
        Algorithm::RmsProp { alpha, eps, momentum, weight_decay } => Algorithm::RmsProp {
            alpha: part("alpha", alpha)?,
            eps: amount("eps", eps)?,
            momentum: part("momentum", momentum)?,
            weight_decay: amount("weight_decay", weight_decay)?,
        },
    };
    Ok((algorithm, amount("lr", default.default_learning_rate())?))
}

fn schedule(value: &SettingValue) -> Result<Schedule, SettingsError> {
    const NAMES: &[&str] = &["constant", "step", "cosine", "plateau"];
    let (name, arguments) = call("schedule", "a schedule such as cosine(floor = 0.1)", value)?;
    let given = |names| Arguments::new(name, names, arguments);
    Ok(match name {
        "constant" | "none" => {
            given(&[])?;
            Schedule::Constant
        }
        "step" => {
            let given = given(&["every", "factor"])?;
            let every = given.number("every", Kind::Count, 1.0)?;
            Schedule::Step { every, factor: given.number("factor", Kind::Amount, 0.5)? }
        }
        "cosine" => {
            let given = given(&["total", "floor"])?;
            let total = given.number("total", Kind::Amount, 0.0)?;
            Schedule::Cosine { total, floor: given.number("floor", Kind::Amount, 0.0)? }
        }
        "plateau" => {
            let given = given(&["patience", "factor"])?;
            let patience = given.number("patience", Kind::Whole, 2.0)? as u32;
            Schedule::Plateau { patience, factor: given.number("factor", Kind::Amount, 0.5)? }
        }
        _ => return Err(unknown("schedule", name, NAMES)),
    })
}

fn patience(value: &SettingValue) -> Result<EarlyStopping, SettingsError> {
    if let SettingValue::Number(_) = value {
        let epochs = Kind::Count.read("early_stopping", value)?;
        return Ok(EarlyStopping { patience: epochs as u32, improvement: 0.0 });
    }
    let (name, arguments) =
        call("early_stopping", "a number of epochs or patience(epochs, improvement)", value)?;
    if name != "patience" {
        return Err(unknown("early stopping", name, &["patience"]));
    }
    let given = Arguments::new(name, &["epochs", "improvement"], arguments)?;
    let epochs = given.number("epochs", Kind::Count, 3.0)?;
    Ok(EarlyStopping {
        patience: epochs as u32,
        improvement: given.number("improvement", Kind::Amount, 0.0)?,
    })
}

fn group(value: &SettingValue) -> Result<Group, SettingsError> {
    let (name, arguments) = call("parameters", "a group such as like(\"enc.*\", lr = 0.0001)", value)?;
    if name != "like" {
        return Err(unknown("group of parameters", name, &["like"]));
    }
    let given = Arguments::new(name, &["path", "lr", "weight_decay", "l1"], arguments)?;
    let pattern = match given.get("path") {
        Some(SettingValue::Text(pattern)) => pattern.clone(),
        other => {
            let (expected, found) = ("a path of parameters in quotes, such as \"enc.*\"", other);
            let found = found.map_or("nothing".to_string(), SettingValue::to_string);
            return Err(SettingsError::Value { key: "path".to_string(), expected, found });
        }
    };
    let amount = |name| given.get(name).map(|value| Kind::Amount.read(name, value)).transpose();
    Ok(Group { pattern, rate: amount("lr")?, weight_decay: amount("weight_decay")?, l1: amount("l1")? })
}

/// A name, or a name with arguments.
fn call<'a>(
    key: &str,
    expected: &'static str,
    value: &'a SettingValue,
) -> Result<(&'a str, &'a [Argument]), SettingsError> {
    match value {
        SettingValue::Name(name) => Ok((name, &[])),
        SettingValue::Call(name, arguments) => Ok((name, arguments)),
        SettingValue::Number(_) | SettingValue::Text(_) => {
            Err(SettingsError::Value { key: key.to_string(), expected, found: value.to_string() })
        }
    }
}

/// The arguments of a call, each at the place of its name.
struct Arguments<'a> {
    names: &'static [&'static str],
    values: Vec<Option<&'a SettingValue>>,
}

impl<'a> Arguments<'a> {
    fn new(
        function: &str,
        names: &'static [&'static str],
        given: &'a [Argument],
    ) -> Result<Arguments<'a>, SettingsError> {
        let mut values = vec![None; names.len()];
        let misuse = || SettingsError::Arguments { function: function.to_string(), takes: names.to_vec() };
        for (position, argument) in given.iter().enumerate() {
            let place = match &argument.name {
                None => position,
                Some(name) => names
                    .iter()
                    .position(|known| known == name)
                    .ok_or_else(|| unknown(&format!("argument of {function}"), name, names))?,
            };
            match values.get_mut(place) {
                Some(slot @ None) => *slot = Some(&argument.value),
                _ => return Err(misuse()),
            }
        }
        Ok(Arguments { names, values })
    }

    fn get(&self, name: &str) -> Option<&'a SettingValue> {
        let place = self.names.iter().position(|known| *known == name)?;
        self.values.get(place).copied().flatten()
    }

    fn number(&self, name: &str, kind: Kind, default: f64) -> Result<f64, SettingsError> {
        self.get(name).map_or(Ok(default), |value| kind.read(name, value))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, SettingsError> {
        match self.get(name) {
            None => Ok(default),
            Some(SettingValue::Name(word)) if word == "true" => Ok(true),
            Some(SettingValue::Name(word)) if word == "false" => Ok(false),
            Some(SettingValue::Number(1.0)) => Ok(true),
            Some(SettingValue::Number(0.0)) => Ok(false),
            Some(other) => {
                let (key, found) = (name.to_string(), other.to_string());
                Err(SettingsError::Value { key, expected: "true or false", found })
            }
        }
    }
}

/// What numbers a setting takes.
#[derive(Clone, Copy)]
enum Kind {
    /// 1, 2, 3, …
    Count,
    /// 0, 1, 2, …
    Whole,
    /// Above 0.
    Positive,
    /// 0 or more.
    Amount,
    /// From 0 up to but without 1.
    Part,
    /// Strictly between 0 and 1.
    Fraction,
}

impl Kind {
    fn read(self, key: &str, value: &SettingValue) -> Result<f64, SettingsError> {
        // Counts are kept within 32 bits: they become sizes, and no run has more steps or epochs.
        let whole = |x: f64| x.fract() == 0.0 && x <= f64::from(u32::MAX);
        let (expected, holds): (_, fn(f64, bool) -> bool) = match self {
            Kind::Count => ("a whole number above 0", |x, whole| whole && x >= 1.0),
            Kind::Whole => ("a whole number", |x, whole| whole && x >= 0.0),
            Kind::Positive => ("a number above 0", |x, _| x > 0.0),
            Kind::Amount => ("a number of at least 0", |x, _| x >= 0.0),
            Kind::Part => ("a number from 0 to below 1", |x, _| (0.0..1.0).contains(&x)),
            Kind::Fraction => ("a number between 0 and 1", |x, _| x > 0.0 && x < 1.0),
        };
        match value {
            SettingValue::Number(x) if x.is_finite() && holds(*x, whole(*x)) => Ok(*x),
            _ => Err(SettingsError::Value { key: key.to_string(), expected, found: value.to_string() }),
        }
    }
}

pub(super) fn unknown(what: &str, found: &str, known: &[&'static str]) -> SettingsError {
    let similarity = |name: &&str| strsim::jaro_winkler(name, found);
    let nearest = known
        .iter()
        // The last of equals wins below: the first name in the list should.
        .rev()
        .copied()
        .filter(|name| similarity(name) > 0.75)
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    SettingsError::Unknown {
        what: what.to_string(),
        found: found.to_string(),
        nearest,
        known: known.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SettingValue::{Call, Name, Number};

    fn name(text: &str) -> SettingValue {
        Name(text.to_string())
    }

    fn call(function: &str, arguments: &[(&str, SettingValue)]) -> SettingValue {
        let named = |name: &str| Some(name.to_string()).filter(|name| !name.is_empty());
        let arguments = arguments.iter().map(|(n, value)| Argument { name: named(n), value: value.clone() });
        Call(function.to_string(), arguments.collect())
    }

    fn error(key: &str, value: SettingValue) -> String {
        let mut settings = TrainSettings::default();
        let error = settings.set(key, &value).unwrap_err();
        assert_eq!(settings, TrainSettings::default());
        error.to_string()
    }

    #[test]
    fn a_whole_block() {
        let pairs = [
            ("optimizer", call("adamw", &[("lr", Number(0.002)), ("beta2", Number(0.99))])),
            ("clip_norm", Number(5.0)),
            ("clip_value", name("none")),
            ("truncate", Number(64.0)),
            ("batch", Number(16.0)),
            ("schedule", name("cosine")),
            ("epochs", Number(7.0)),
            ("warmup", Number(0.0)),
            ("early_stopping", call("patience", &[("", Number(2.0)), ("improvement", Number(0.01))])),
            ("holdout", Number(0.1)),
            ("seed", Number(42.0)),
            ("like_length", name("false")),
        ];
        let settings = TrainSettings::from_pairs(pairs.iter().map(|(k, v)| (*k, v))).unwrap();
        let constants = AdamConstants { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.01 };
        assert_eq!((settings.algorithm, settings.rate), (Algorithm::AdamW(constants), 0.002));
        assert_eq!(settings.clip(), Clip { value: None, norm: Some(5.0) });
        assert_eq!(
            (settings.truncate, settings.batch, settings.epochs, settings.seed),
            (Some(64), 16, 7, 42)
        );
        assert_eq!(settings.early_stopping, Some(EarlyStopping { patience: 2, improvement: 0.01 }));
        assert_eq!((settings.holdout, settings.reading.like_length), (Some(0.1), false));
        // The cosine spans the seven epochs although it was named before them.
        assert!(settings.learning_rate().at(9, 7.0) < 1e-12);
        assert!((settings.learning_rate().at(9, 3.5) - 0.001).abs() < 1e-12);
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<TrainSettings>(&text).unwrap(), settings);
    }

    #[test]
    fn optimizers_and_schedules() {
        let mut settings = TrainSettings::default();
        settings
            .set(
                "optimizer",
                &call("sgd", &[("", Number(0.5)), ("", Number(0.9)), ("nesterov", name("true"))]),
            )
            .unwrap();
        let sgd = Algorithm::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 };
        assert_eq!((settings.algorithm, settings.rate), (sgd, 0.5));
        settings.set("optimizer", &name("rmsprop")).unwrap();
        assert_eq!((settings.algorithm, settings.rate), (Algorithm::rmsprop(), 0.01));
        settings.set("schedule", &call("step", &[("", Number(3.0)), ("", Number(0.1))])).unwrap();
        assert_eq!(settings.schedule, Schedule::Step { every: 3.0, factor: 0.1 });
        settings.set("schedule", &call("plateau", &[("patience", Number(4.0))])).unwrap();
        assert_eq!(settings.schedule, Schedule::Plateau { patience: 4, factor: 0.5 });
        settings.set("early_stopping", &Number(5.0)).unwrap();
        assert_eq!(settings.early_stopping.map(|rule| rule.patience), Some(5));
        settings.set("early_stopping", &name("none")).unwrap();
        assert_eq!(settings.early_stopping, None);
    }

    #[test]
    fn unknown_names_get_the_nearest() {
        let text = error("optimiser", name("adam"));
        assert!(
            text.starts_with(
                "no setting is named `optimiser` (did you mean `optimizer`?); there are: optimizer, clip_norm"
            ),
            "{text}"
        );
        assert!(!error("zzz", Number(1.0)).contains("did you mean"));
        // The keys of reading are among those that there are.
        let text = error("like_lengths", name("true"));
        assert!(
            text.contains("did you mean `like_length`") && text.ends_with("standardize, like_length"),
            "{text}"
        );
        assert!(error("optimizer", name("adan")).contains("did you mean `adam`"));
        assert!(error("schedule", name("cosin")).contains("did you mean `cosine`"));
        let text = error("optimizer", call("adam", &[("beta", Number(0.9))]));
        assert!(text.starts_with("no argument of adam is named `beta` (did you mean `beta1`?)"), "{text}");
    }

    #[test]
    fn values_out_of_range() {
        assert_eq!(error("batch", Number(1.5)), "`batch` is a whole number above 0, not `1.5`");
        assert_eq!(
            error("batch", Number(1e300)),
            "`batch` is a whole number above 0, not `1e300`".replace("1e300", &1e300.to_string())
        );
        assert_eq!(error("epochs", Number(0.0)), "`epochs` is a whole number above 0, not `0`");
        assert_eq!(error("seed", Number(-1.0)), "`seed` is a whole number, not `-1`");
        assert_eq!(error("clip_norm", Number(f64::NAN)), "`clip_norm` is a number above 0, not `NaN`");
        assert_eq!(error("truncate", name("all")), "`truncate` is a whole number above 0, not `all`");
        assert_eq!(error("holdout", Number(1.0)), "`holdout` is a number between 0 and 1, not `1`");
        assert!(error("optimizer", Number(3.0)).contains("adam(lr = 0.001)"));
        let text = error("optimizer", call("adam", &[("beta1", Number(1.0))]));
        assert_eq!(text, "`beta1` is a number from 0 to below 1, not `1`");
        let text = error("optimizer", call("sgd", &[("nesterov", Number(2.0))]));
        assert_eq!(text, "`nesterov` is true or false, not `2`");
        assert!(
            error("clip_norm", call("f", &[("a", Number(1.0)), ("", name("b"))]))
                .ends_with("not `f(a = 1, b)`")
        );
    }

    #[test]
    fn too_many_arguments() {
        let twice = call("step", &[("", Number(3.0)), ("every", Number(2.0))]);
        assert_eq!(error("schedule", twice), "step takes every, factor at most once each");
        let three = call("step", &[("", Number(3.0)), ("", Number(0.5)), ("", Number(1.0))]);
        assert_eq!(error("schedule", three), "step takes every, factor at most once each");
    }
}
