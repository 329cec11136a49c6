//! A training run as one safetensors file: everything to evaluate, generate, and resume bit for bit.
//!
//! ```no_run
//! use rnnc::runtime::checkpoint::Run;
//! let mut run = Run::load("run.safetensors".as_ref())?;
//! println!("{} after {} steps", run.meta.model_name, run.meta.position.step);
//! run.save("copy.safetensors".as_ref())?;
//! # Ok::<(), rnnc::runtime::checkpoint::CheckpointError>(())
//! ```
//!
//! Parameters are f32 tensors under their own names, so that any reader of safetensors finds the
//! weights; the optimiser's vectors and the carried states are beside them under names that begin with
//! `@`. Under early stopping the weights are those of the best epoch, and the last ones, from which training
//! goes on, are beside them, too. All else is one JSON text under the metadata key `rnnc`, with numbers as exact text. Equal runs
//! give equal bytes. Writing is whole or not at all (see `files`); values that are not finite are
//! never written over a good file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::exact;
use super::files::{self, FileError};
use super::lexicon::Fields;
use super::optimizer::{Optimizer, StateError};
use super::parameters::{ParameterSpec, Parameters};
use super::schedule::{LearningRate, Patience};
use super::settings::TrainSettings;
use super::text::Vocabulary;
use super::weights::{self, WeightsError};
use super::words::Vocabularies;

/// The only metadata key. One key, because a map of several would be written in a random order.
const KEY: &str = "rnnc";
/// Raised when a file can no longer be read by the code before.
const VERSION: u32 = 1;
const OPTIMIZER: &str = "@optimizer/";
const CARRIED: &str = "@carried/";
const LAST: &str = "@last/";

/// A run: what it is, and its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Everything but arrays.
    pub meta: RunMeta,
    /// The parameters at this step.
    pub parameters: Parameters,
    /// The optimiser at this step.
    pub optimizer: Optimizer,
    /// States that pass from one chunk of a sequence to the next, in order.
    pub carried: Vec<Carried>,
    /// The weights to use where they are not the last ones.
    pub best: Option<Best>,
}

/// The weights of the epoch with the lowest loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The parameters after it.
    pub parameters: Parameters,
}

/// A named f32 array that is no parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Carried {
    /// The state's path in the model, such as `h.c`.
    pub name: String,
    /// Its shape, `[batch, …]`.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f32>,
}

/// What a run is, apart from its arrays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunMeta {
    /// The text of the program.
    pub model_text: String,
    /// Which of its models.
    pub model_name: String,
    /// The model's dimensions as they were bound, `--set` included.
    pub dims: BTreeMap<String, usize>,
    /// The characters, where the data is a text.
    pub vocabulary: Option<Vocabulary>,
    /// Words and labels, where the data is trees in a text.
    #[serde(default)]
    pub words: Option<Vocabularies>,
    /// Tokens and standards of each field, where the data is records.
    #[serde(default)]
    pub fields: Option<Fields>,
    /// How it is trained, flags included; the seed is in it.
    pub settings: TrainSettings,
    /// The learning rate with the state of its schedule.
    pub rate: LearningRate,
    /// Early stopping's state.
    pub patience: Patience,
    /// Where in training it is.
    pub position: Position,
    /// One entry for every finished epoch.
    pub history: Vec<EpochLosses>,
    /// Whatever else the caller needs to go on, such as the data's name and length.
    pub notes: BTreeMap<String, String>,
}

/// How far training has come. Random numbers are a function of the seed and the step, so that no
/// generator's state is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Optimiser steps taken.
    pub step: u64,
    /// Epochs finished.
    pub epoch: u64,
    /// Batches, or chunks of a text, that the present epoch has had.
    pub batch: u64,
    /// Sum of the losses of the present epoch, as the trainer adds them.
    #[serde(with = "exact")]
    pub loss_sum: f64,
    /// What that sum is to be divided by.
    #[serde(with = "exact")]
    pub loss_weight: f64,
}

/// The figures of one epoch, in the loss's unit (nats for a likelihood).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochLosses {
    /// Mean over the epoch's training.
    #[serde(with = "exact")]
    pub training: f64,
    /// After the epoch, on what was held out.
    #[serde(with = "exact::option")]
    pub held_out: Option<f64>,
}

impl EpochLosses {
    /// The figure that schedules and early stopping go by.
    pub fn decisive(&self) -> f64 {
        self.held_out.unwrap_or(self.training)
    }
}

/// Why a run cannot be saved or loaded.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file or its tensors.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Weights alone.
    #[error("{} holds weights but no training run of rnnc", path.display())]
    NotARun {
        /// The file.
        path: PathBuf,
    },
    /// A run of a newer rnnc.
    #[error("{} has version {found} of the format; this rnnc reads version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// Metadata that does not fit together.
    #[error("the metadata of {} is damaged: {reason}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The optimiser's vectors do not fit.
    #[error("{}: {source}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Which one.
        source: StateError,
    },
    /// Values that are not finite are not saved; the old file is as it was.
    #[error("{} was not written: `{name}` holds values that are not finite", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
}

impl From<FileError> for CheckpointError {
    fn from(error: FileError) -> CheckpointError {
        CheckpointError::Weights(error.into())
    }
}

/// The JSON text of the metadata.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    parameters: Vec<ParameterSpec>,
    optimizer_steps: u64,
    carried: Vec<String>,
    /// The epoch, from 1, that the weights are of; none: they are the last ones.
    best: Option<u64>,
    run: RunMeta,
}

/// Only the version: a newer header may have other fields.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl Run {
    /// A run before its first step.
    pub fn new(meta: RunMeta, parameters: Parameters) -> Run {
        let optimizer = Optimizer::new(meta.settings.algorithm, &parameters);
        let optimizer = optimizer.with_treatments(meta.settings.treatments(parameters.specs()));
        Run { meta, parameters, optimizer, carried: Vec::new(), best: None }
    }

    /// The weights to measure and write with: the best ones if they are kept, else the last.
    pub fn weights(&self) -> &Parameters {
        self.best.as_ref().map_or(&self.parameters, |best| &best.parameters)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// A value that is not finite, or a shape that does not hold its values.
    fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, CheckpointError> {
        let damaged = |reason: String| CheckpointError::Metadata { path: path.to_path_buf(), reason };
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut add = |name: String, shape: &[usize], values: &[f32]| {
            if values.iter().any(|value| !value.is_finite()) {
                return Err(CheckpointError::NotFinite { path: path.to_path_buf(), name });
            }
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((name, shape.to_vec(), bytes));
            Ok(())
        };
        for (spec, values) in self.weights().iter() {
            add(spec.name.clone(), &spec.shape, values)?;
        }
        for (spec, values) in self.parameters.iter().filter(|_| self.best.is_some()) {
            add(format!("{LAST}{}", spec.name), &spec.shape, values)?;
        }
        for (name, values) in self.optimizer.state() {
            add(format!("{OPTIMIZER}{name}"), &[values.len()], values)?;
        }
        for state in &self.carried {
            add(format!("{CARRIED}{}", state.name), &state.shape, &state.values)?;
        }
        let header = Header {
            version: VERSION,
            parameters: self.parameters.specs().to_vec(),
            optimizer_steps: self.optimizer.steps(),
            carried: self.carried.iter().map(|state| state.name.clone()).collect(),
            best: self.best.as_ref().map(|best| best.epoch),
            run: self.meta.clone(),
        };
        let header = serde_json::to_string(&header).map_err(|error| damaged(error.to_string()))?;
        let views: Result<Vec<_>, _> = tensors
            .iter()
            .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
            .collect();
        let views = views.map_err(|error: safetensors::SafeTensorError| damaged(error.to_string()))?;
        safetensors::serialize(views, Some(HashMap::from([(KEY.to_string(), header)])))
            .map_err(|error| damaged(error.to_string()))
    }

    /// Writes the run, wholly or not at all.
    ///
    /// # Errors
    /// The file cannot be written (a full disk, no permission), or the run holds a value that is not
    /// finite. The old file is then as it was.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let bytes = self.to_bytes(path)?;
        Ok(files::replace(path, |file| file.write_all(&bytes))?)
    }

    /// Reads what [`Run::save`] wrote.
    ///
    /// # Errors
    /// The file is missing, truncated, not safetensors, no run, of a newer version, damaged, or holds a
    /// value that is not finite.
    pub fn load(path: &Path) -> Result<Run, CheckpointError> {
        Run::from_bytes(path, &files::read(path)?)
    }

    fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Run, CheckpointError> {
        let tensors = weights::parse(path, bytes)?;
        let header = header(path, bytes)?;
        let weights = weights::select(path, &tensors, header.parameters)?;
        let (parameters, best) = match header.best {
            None => (weights, None),
            Some(epoch) => (last(path, &tensors, &weights)?, Some(Best { epoch, parameters: weights })),
        };
        let find = |name: &str| flat(path, &tensors, &format!("{OPTIMIZER}{name}"));
        let mut unreadable = None;
        let algorithm = header.run.settings.algorithm;
        let optimizer = Optimizer::restore(algorithm, &parameters, header.optimizer_steps, |name| {
            find(name).unwrap_or_else(|error| {
                unreadable = Some(error);
                None
            })
        });
        if let Some(error) = unreadable {
            return Err(error.into());
        }
        let state = |source| CheckpointError::State { path: path.to_path_buf(), source };
        let settings = &header.run.settings;
        let optimizer = optimizer.map_err(state)?.with_treatments(settings.treatments(parameters.specs()));
        let mut carried = Vec::new();
        for name in header.carried {
            let key = format!("{CARRIED}{name}");
            let Ok(tensor) = tensors.tensor(&key) else {
                let path = path.to_path_buf();
                return Err(CheckpointError::Metadata { path, reason: format!("`{key}` is missing") });
            };
            let values = weights::finite(path, &key, &tensor)?;
            carried.push(Carried { name, shape: tensor.shape().to_vec(), values });
        }
        Ok(Run { meta: header.run, parameters, optimizer, carried, best })
    }

    /// Checks that the parameters are those of a compiled model, in its order, and takes over how the
    /// model initialises and trains them.
    ///
    /// # Errors
    /// The parameters that the run of `path` lacks, has too many, or has in another shape.
    pub fn expect_model(&mut self, path: &Path, specs: Vec<ParameterSpec>) -> Result<(), WeightsError> {
        let ours = self.parameters.specs();
        let path = path.to_path_buf();
        let without = |a: &[ParameterSpec], b: &[ParameterSpec]| -> Vec<String> {
            let absent = a.iter().filter(|spec| !b.iter().any(|other| other.name == spec.name));
            absent.map(|spec| spec.name.clone()).collect()
        };
        let (missing, extra) = (without(&specs, ours), without(ours, &specs));
        if !missing.is_empty() {
            return Err(WeightsError::Missing { path, names: missing });
        }
        if !extra.is_empty() {
            return Err(WeightsError::Extra { path, names: extra });
        }
        for spec in &specs {
            let Some(other) = ours.iter().find(|other| other.name == spec.name) else {
                continue;
            };
            if other.shape != spec.shape {
                let (name, expected, found) = (spec.name.clone(), spec.shape.clone(), other.shape.clone());
                return Err(WeightsError::Shape { path, name, expected, found });
            }
        }
        // The same parameters in another order would mix up the optimiser's flat vectors.
        if let Some((spec, other)) = specs.iter().zip(ours).find(|(a, b)| a.name != b.name) {
            let names = vec![format!("{} in the place of {}", spec.name, other.name)];
            return Err(WeightsError::Missing { path, names });
        }
        let best = self.best.as_mut().map(|best| &mut best.parameters);
        for parameters in std::iter::once(&mut self.parameters).chain(best) {
            *parameters = Parameters::from_values(specs.clone(), parameters.values().to_vec())?;
        }
        Ok(())
    }
}

/// The last parameters, where the file's weights are the best ones.
fn last(path: &Path, tensors: &SafeTensors, best: &Parameters) -> Result<Parameters, CheckpointError> {
    let damaged = |reason: String| CheckpointError::Metadata { path: path.to_path_buf(), reason };
    let mut all = Vec::with_capacity(best.values().len());
    for (spec, values) in best.iter() {
        let key = format!("{LAST}{}", spec.name);
        let tensor = tensors.tensor(&key).map_err(|_| damaged(format!("`{key}` is missing")))?;
        let own = weights::finite(path, &key, &tensor)?;
        if tensor.shape() != spec.shape || own.len() != values.len() {
            return Err(damaged(format!("`{key}` has shape {:?}, not {:?}", tensor.shape(), spec.shape)));
        }
        all.extend(own);
    }
    Ok(Parameters::from_values(best.specs().to_vec(), all).map_err(WeightsError::from)?)
}

/// A vector of the optimiser, if the file has it.
fn flat(path: &Path, tensors: &SafeTensors, name: &str) -> Result<Option<Vec<f32>>, WeightsError> {
    tensors.tensor(name).ok().map(|tensor| weights::finite(path, name, &tensor)).transpose()
}

fn header(path: &Path, bytes: &[u8]) -> Result<Header, CheckpointError> {
    let damaged = |reason: String| CheckpointError::Metadata { path: path.to_path_buf(), reason };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
    let text = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
    let text = text.ok_or_else(|| CheckpointError::NotARun { path: path.to_path_buf() })?;
    let Version { version } = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    if version != u64::from(VERSION) {
        return Err(CheckpointError::Version { path: path.to_path_buf(), found: version });
    }
    serde_json::from_str(text).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::initializer::Initializer;
    use crate::runtime::lexicon::{Field, Lexicon, Standard};
    use crate::runtime::optimizer::Algorithm;
    use crate::runtime::schedule::Schedule;

    fn specs() -> Vec<ParameterSpec> {
        let frozen = ParameterSpec {
            trainable: false,
            ..ParameterSpec::new("embed", &[3, 1], Initializer::Normal(0.1))
        };
        vec![
            ParameterSpec::new("enc.W", &[2, 3], Initializer::Glorot),
            frozen,
            ParameterSpec::new("b", &[], Initializer::Zeros),
        ]
    }

    /// A run in the middle of its second epoch.
    fn run() -> Run {
        let settings = TrainSettings {
            rate: 0.1 + 0.2,
            schedule: Schedule::Plateau { patience: 1, factor: 0.5 },
            ..TrainSettings::default()
        };
        let mut rate = settings.learning_rate();
        rate.end_epoch(1.0 / 3.0);
        let meta = RunMeta {
            model_text: "model M { \"quoted\" – ünïcode }\n".to_string(),
            model_name: "M".to_string(),
            dims: BTreeMap::from([("V".to_string(), 65), ("H".to_string(), 128)]),
            vocabulary: Some(Vocabulary::of("abc\n\"\\ü")),
            words: Some(Vocabularies::default()),
            fields: Some(Fields {
                inputs: BTreeMap::from([(
                    "x".to_string(),
                    Field {
                        lexicon: Some("V".to_string()),
                        end: true,
                        standard: Some(Standard { mean: vec![0.1 + 0.2], deviation: vec![1.0 / 3.0] }),
                    },
                )]),
                lexicons: BTreeMap::from([("V".to_string(), Lexicon::Numbers(3))]),
            }),
            settings,
            rate,
            patience: Patience::default(),
            position: Position { step: 17, epoch: 1, batch: 4, loss_sum: 0.1 + 0.7, loss_weight: 3.0 },
            history: vec![
                EpochLosses { training: f64::NAN, held_out: Some(1.0 / 3.0) },
                EpochLosses { training: 0.3, held_out: None },
            ],
            notes: BTreeMap::from([("text".to_string(), "input.txt".to_string())]),
        };
        let mut run = Run::new(meta, Parameters::initialize(specs(), 5).unwrap());
        run.optimizer.step(&mut run.parameters, &[0.3; 10], 0.01).unwrap();
        run.carried = vec![
            Carried { name: "rnn.h".to_string(), shape: vec![2, 2], values: vec![0.1, -0.0, 1e-40, 4.0] },
            Carried { name: "a".to_string(), shape: vec![1], values: vec![7.0] },
        ];
        let mut parameters = run.parameters.clone();
        parameters.values_mut().iter_mut().for_each(|value| *value += 1.0);
        run.best = Some(Best { epoch: 1, parameters });
        run
    }

    fn bytes(run: &Run) -> Vec<u8> {
        run.to_bytes(Path::new("run")).unwrap()
    }

    fn load(bytes: &[u8]) -> Result<Run, CheckpointError> {
        Run::from_bytes(Path::new("run"), bytes)
    }

    /// The same file with another metadata text (or none) and one tensor changed or dropped.
    fn altered(metadata: Option<String>, change: impl Fn(&str, &mut Vec<u8>) -> bool) -> Vec<u8> {
        let bytes = bytes(&run());
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut owned: Vec<_> =
            tensors.tensors().into_iter().map(|(n, t)| (n, t.shape().to_vec(), t.data().to_vec())).collect();
        owned.retain_mut(|(name, _, data)| change(name, data));
        let views = owned.iter().map(|(n, s, d)| (n, TensorView::new(Dtype::F32, s.clone(), d).unwrap()));
        safetensors::serialize(views, metadata.map(|text| HashMap::from([(KEY.to_string(), text)]))).unwrap()
    }

    fn metadata() -> String {
        let bytes = bytes(&run());
        SafeTensors::read_metadata(&bytes).unwrap().1.metadata().as_ref().unwrap()[KEY].clone()
    }

    #[test]
    fn everything_survives_in_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.safetensors");
        let run = run();
        run.save(&path).unwrap();
        let again = Run::load(&path).unwrap();
        // NaN is not equal to itself, so the histories are compared as text.
        assert_eq!(format!("{run:?}"), format!("{again:?}"));
        assert_eq!(again.meta.position.loss_sum.to_bits(), (0.1f64 + 0.7).to_bits());
        assert_eq!(bytes(&run), bytes(&again));
        assert_eq!(std::fs::read(&path).unwrap(), bytes(&run));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn training_goes_on_as_if_never_interrupted() {
        for algorithm in [Algorithm::adam(), Algorithm::adamw(), Algorithm::rmsprop(), Algorithm::sgd()] {
            let mut run = run();
            run.meta.settings.algorithm = algorithm;
            run.optimizer = Optimizer::new(algorithm, &run.parameters);
            let step = |run: &mut Run, at: u64| {
                let gradient: Vec<f32> =
                    run.parameters.values().iter().map(|w| w.sin() + at as f32).collect();
                run.optimizer.step(&mut run.parameters, &gradient, run.meta.rate.at(at, 0.0)).unwrap();
            };
            step(&mut run, 0);
            let mut resumed = load(&bytes(&run)).unwrap();
            for at in 1..5 {
                step(&mut run, at);
                step(&mut resumed, at);
            }
            assert_eq!(bytes(&run), bytes(&resumed));
        }
    }

    #[test]
    fn a_run_is_a_weights_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.safetensors");
        let mut run = run();
        run.save(&path).unwrap();
        assert_ne!(run.weights(), &run.parameters);
        assert_eq!(weights::load_weights(&path, specs()).unwrap(), *run.weights());
        run.best = None;
        run.save(&path).unwrap();
        assert_eq!(weights::load_weights(&path, specs()).unwrap(), run.parameters);
        assert_eq!(Run::load(&path).unwrap().best, None);
    }

    #[test]
    fn the_model_is_checked() {
        let mut run = run();
        let path = Path::new("run");
        run.expect_model(path, specs()).unwrap();
        let mut thawed = specs();
        thawed[1].trainable = true;
        run.expect_model(path, thawed).unwrap();
        assert!(run.parameters.specs()[1].trainable && run.weights().specs()[1].trainable);
        let mut text = |specs: Vec<ParameterSpec>| run.expect_model(path, specs).unwrap_err().to_string();
        let more = [specs(), vec![ParameterSpec::new("U", &[1], Initializer::Zeros)]].concat();
        assert_eq!(text(more), "run is of another model: it has no `U`");
        assert_eq!(text(specs()[..2].to_vec()), "run is of another model: this one has no parameter `b`");
        let mut other = specs();
        other[0].shape = vec![3, 3];
        assert_eq!(text(other), "run is of another model: `enc.W` is [2, 3] there and [3, 3] here");
        let mut turned = specs();
        turned.swap(0, 1);
        assert!(text(turned).contains("`embed in the place of enc.W`"));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = bytes(&run());
        for length in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            let text = load(&bytes[..length]).unwrap_err().to_string();
            assert!(
                text.contains("truncated") || text.contains("not a safetensors file"),
                "{length}: {text}"
            );
        }
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let bytes = bytes(&run());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x15;
            let _ = load(&damaged);
        }
    }

    #[test]
    fn no_run_or_a_newer_one() {
        let keep = |_: &str, _: &mut Vec<u8>| true;
        let text = |metadata| load(&altered(metadata, keep)).unwrap_err().to_string();
        assert_eq!(text(None), "run holds weights but no training run of rnnc");
        let newer = metadata().replacen("\"version\":1", "\"version\":2", 1);
        assert_eq!(text(Some(newer)), "run has version 2 of the format; this rnnc reads version 1");
        assert!(text(Some("{".to_string())).starts_with("the metadata of run is damaged: "));
        assert!(
            text(Some("{\"version\":1}".to_string()))
                .starts_with("the metadata of run is damaged: missing field")
        );
    }

    #[test]
    fn tensors_that_do_not_fit_the_metadata() {
        let without =
            |gone: &str| load(&altered(Some(metadata()), |name, _| name != gone)).unwrap_err().to_string();
        assert_eq!(without("enc.W"), "run is of another model: it has no `enc.W`");
        assert_eq!(without("@optimizer/adam.v"), "run: the optimiser's state `adam.v` is missing");
        assert_eq!(without("@carried/a"), "the metadata of run is damaged: `@carried/a` is missing");
        assert_eq!(without("@last/enc.W"), "the metadata of run is damaged: `@last/enc.W` is missing");
        let nan = |bad: &str| {
            let spoil = |name: &str, data: &mut Vec<u8>| {
                if name == bad {
                    data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
                }
                true
            };
            load(&altered(Some(metadata()), spoil)).unwrap_err().to_string()
        };
        for name in ["enc.W", "@optimizer/adam.m", "@carried/a", "@last/b"] {
            assert_eq!(nan(name), format!("`{name}` in run is not finite: element 0 is NaN"));
        }
    }

    #[test]
    fn a_bad_run_does_not_replace_a_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.safetensors");
        let mut run = run();
        run.best = None;
        run.save(&path).unwrap();
        let good = std::fs::read(&path).unwrap();
        run.parameters.values_mut()[2] = f32::NAN;
        let text = run.save(&path).unwrap_err().to_string();
        assert!(text.ends_with("was not written: `enc.W` holds values that are not finite"), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), good);
        let mut run = self::run();
        run.carried[0].values.pop();
        assert!(run.save(&path).is_err());
        let nowhere = self::run().save(&folder.path().join("none/run")).unwrap_err().to_string();
        assert!(nowhere.starts_with("cannot write "), "{nowhere}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
