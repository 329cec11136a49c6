//! A few steps of training on one example, to look at what they change.
//!
//! The program, the clipping and the optimiser are those of `rnnc train`; only the data are a single example
//! again and again. Nothing is saved.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use super::batch::{Feed, threads};
use super::example::{Example, lengths};
use super::machine::Machine;
use super::session::{Model, dims, parameter_specs};
use super::train::TrainError;
use super::trainer::Trainer;
use crate::check::Checked;
use crate::eval::InputData;
use crate::grad::grad;
use crate::ir::OutputKind;
use crate::runtime::checkpoint::{Position, Run, RunMeta};
use crate::runtime::parameters::Parameters;
use crate::runtime::schedule::Patience;

/// The losses before each step and the weights behind the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Practice {
    /// One a step.
    pub losses: Vec<f64>,
    /// By path.
    pub weights: BTreeMap<String, Vec<f64>>,
}

/// Trains `steps` steps on `example`, from `weights` on; ends early when `stop` is no longer 0.
///
/// # Errors
/// The model has no loss or cannot be compiled, or a gradient is not finite.
pub fn practice(
    model: &Model,
    checked: &Checked,
    example: &Example,
    weights: &BTreeMap<String, Vec<f64>>,
    steps: usize,
    seed: u64,
    stop: &AtomicU32,
) -> Result<Practice, TrainError> {
    let mut graph = checked.graph.clone();
    graph.outputs.retain(|output| matches!(output.kind, OutputKind::Loss | OutputKind::Update));
    let trainable = graph.params.iter().filter(|param| param.trainable);
    let trainable: Vec<String> = trainable.map(|param| param.name.clone()).collect();
    let specs = parameter_specs(&graph);
    let values = specs.iter().flat_map(|spec| weights.get(&spec.name).cloned().unwrap_or_default());
    let parameters = Parameters::from_values(specs.clone(), values.map(|value| value as f32).collect())?;
    let graph = grad(&graph, &trainable)?;
    let mut settings = model.train_settings(checked)?;
    settings.seed = seed;
    let meta = RunMeta {
        model_text: model.source.clone(),
        model_name: graph.name.clone(),
        dims: dims(&graph),
        vocabulary: None,
        words: None,
        fields: None,
        rate: settings.learning_rate(),
        patience: Patience::default(),
        position: Position::default(),
        history: Vec::new(),
        notes: BTreeMap::new(),
        settings,
    };
    let mut trainer = Trainer::new(&graph, &parameters, &threads(1)?, &Machine::Processor)?;
    let mut run = Run::new(meta, parameters);
    let feeds = example.feeds(BTreeMap::new(), seed);
    let lengths = lengths(trainer.batch(), &feeds);
    let inputs: Vec<(&str, Given)> =
        example.inputs.iter().map(|(name, data)| (name.as_str(), given(data))).collect();
    let inputs: Vec<(&str, Feed<f32>)> = inputs
        .iter()
        .map(|(name, data)| match data {
            Given::Real(numbers) => (*name, Feed::Real(&numbers[..])),
            Given::Ids(ids) => (*name, Feed::Ids(&ids[..])),
        })
        .collect();
    let mut losses = Vec::new();
    for _ in 0..steps {
        if stop.load(Ordering::Relaxed) != 0 {
            break;
        }
        losses.push(trainer.step(&mut run, &lengths, &inputs)?);
    }
    let weights = run.parameters.iter().map(|(spec, own)| {
        (spec.name.clone(), own.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>())
    });
    Ok(Practice { losses, weights: weights.collect() })
}

enum Given {
    Real(Vec<f32>),
    Ids(Vec<u32>),
}

fn given(data: &InputData) -> Given {
    match data {
        InputData::Real(all) => Given::Real(all.concat().into_iter().map(|value| value as f32).collect()),
        InputData::Ids(all) => {
            Given::Ids(all.concat().into_iter().map(|id| id.unwrap_or(u32::MAX)).collect())
        }
    }
}
