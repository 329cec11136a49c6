//! The batches of an epoch: chunks of parallel streams with carried state, or shuffled examples.
//!
//! Both are functions of the data, the settings and the epoch's number, so that a resumed run has the
//! same batches as one that was never interrupted. A text's states pass from chunk to chunk within an
//! epoch and begin anew with the next.

use super::batch::Feed;
use super::carried::Carried;
use super::corpus::{Characters, Examples};
use super::data::shuffled;
use super::trainer::{StepError, Trainer};
use crate::runtime::checkpoint::Run;
use crate::runtime::layout::Lengths;
use crate::runtime::text::{Streams, TextError};

/// What there is to train on, with what passes from one batch to the next.
pub enum Material {
    /// A text in streams.
    Text {
        /// All of it.
        characters: Characters,
        /// The model's input.
        input: String,
        /// Streams.
        batch: usize,
        /// Steps of a chunk; none: a whole stream.
        truncate: Option<usize>,
        /// States between chunks.
        carried: Carried<f32>,
    },
    /// Examples in shuffled batches.
    Examples {
        /// All of them.
        examples: Examples,
        /// Examples in a batch.
        batch: usize,
        /// This epoch's order.
        order: Vec<usize>,
    },
}

impl Material {
    /// What is counted: `characters` or `examples`.
    pub fn unit(&self) -> &'static str {
        match self {
            Material::Text { .. } => "characters",
            Material::Examples { .. } => "examples",
        }
    }

    /// Units of an epoch.
    ///
    /// # Errors
    /// A text too short for its streams.
    pub fn units(&self) -> Result<u64, TextError> {
        Ok(match self {
            Material::Text { characters, batch, .. } => {
                let streams = Streams::new(&characters.training, *batch)?;
                (streams.batch() * streams.length()) as u64
            }
            Material::Examples { examples, .. } => examples.training().len() as u64,
        })
    }

    /// Batches of an epoch.
    ///
    /// # Errors
    /// A text too short for its streams.
    pub fn batches(&self) -> Result<u64, TextError> {
        Ok(match self {
            Material::Text { characters, batch, truncate, .. } => {
                Streams::new(&characters.training, *batch)?.chunk_count(*truncate) as u64
            }
            Material::Examples { examples, batch, .. } => examples.training().len().div_ceil(*batch) as u64,
        })
    }

    /// Units in the first batches of an epoch.
    ///
    /// # Errors
    /// A text too short for its streams.
    pub fn units_before(&self, batches: u64) -> Result<u64, TextError> {
        let each = match self {
            Material::Text { characters, batch, truncate, .. } => {
                let streams = Streams::new(&characters.training, *batch)?;
                truncate.unwrap_or(streams.length()) * streams.batch()
            }
            Material::Examples { batch, .. } => *batch,
        };
        Ok((each as u64).saturating_mul(batches).min(self.units()?))
    }

    /// Prepares an epoch (from 0), of which `batch` batches are done already.
    pub fn begin_epoch(&mut self, seed: u64, epoch: u64, batch: u64) {
        match self {
            Material::Text { carried, .. } if batch == 0 => carried.reset(),
            Material::Text { .. } => {}
            Material::Examples { examples, order, .. } => *order = shuffled(examples.training(), seed, epoch),
        }
    }

    /// Trains on batch `index` of the epoch; its loss and units.
    ///
    /// # Errors
    /// As those of a step.
    pub fn step(
        &mut self,
        index: u64,
        trainer: &mut Trainer,
        run: &mut Run,
    ) -> Result<(f64, u64), StepError> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match self {
            Material::Text { characters, input, batch, truncate, carried } => {
                let streams = Streams::new(&characters.training, *batch)?;
                let Some(chunk) = streams.chunks(*truncate).nth(index) else { return Ok((0.0, 0)) };
                let ids = chunk.ids();
                let lengths = Lengths::uniform(chunk.batch(), &[chunk.length()]);
                let mut feeds = carried.feeds();
                feeds.push((input, Feed::Ids(&ids)));
                let loss = trainer.step(run, &lengths, &feeds)?;
                carried.take(trainer.batch())?;
                Ok((loss, ids.len() as u64))
            }
            Material::Examples { examples, batch, order } => {
                let Some(chosen) = order.chunks(*batch).nth(index) else { return Ok((0.0, 0)) };
                let selected = examples.data().select::<f32>(chosen);
                let named = |axis: &str| selected.lengths.get(axis).map(Vec::as_slice);
                let lengths = trainer.batch().lengths_by_name(selected.count, named);
                let loss = trainer.step(run, &lengths, &selected.feeds())?;
                Ok((loss, selected.count as u64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::check::Mode;
    use crate::driver::batch::threads;
    use crate::driver::evaluate::chunked;
    use crate::driver::session::{Model, dims, parameter_specs};
    use crate::eval::{self, Feeds, InputData};
    use crate::grad::grad;
    use crate::ir::Graph;
    use crate::runtime::checkpoint::{Position, RunMeta};
    use crate::runtime::initializer::Initializer;
    use crate::runtime::parameters::Parameters;
    use crate::runtime::schedule::Patience;
    use crate::runtime::settings::TrainSettings;

    /// Parameters of which no two are alike, biases neither.
    fn shaken(graph: &Graph) -> Parameters {
        let mut specs = parameter_specs(graph);
        specs.iter_mut().for_each(|spec| spec.init = Initializer::Uniform(0.3));
        Parameters::initialize(specs, 3).unwrap()
    }

    /// Without a learning rate the losses of an epoch are those of the streams read as a whole.
    #[test]
    fn chunks_of_streams_are_the_whole_streams() {
        for cell in ["RNN", "GRU", "LSTM"] {
            let text = format!(
                "model M(V = 65, E = 32, H = 128) {{\n  input text: id(V) over t\n  param embed: [V, E] = normal(1)\n  h = {cell}(E, H)(embed[text[t-1]])\n  text ~ categorical(Dense(H, V)(h))\n}}\n"
            );
            let model = Model::new("m", text.clone());
            let graph = model.check(Mode::Train).unwrap().graph;
            let parameters = shaken(&graph);
            let (batch, length) = (20, 17);
            let ids: Vec<u32> = (0..batch as u32 * length as u32).map(|i| i * i % 61).collect();
            let values = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
            let feeds = Feeds {
                examples: batch,
                lengths: BTreeMap::from([("t".to_string(), vec![length; batch])]),
                params: parameters.iter().map(|(spec, own)| (spec.name.clone(), values(own))).collect(),
                inputs: BTreeMap::from([(
                    "text".to_string(),
                    InputData::Ids(
                        ids.chunks(length).map(|own| own.iter().copied().map(Some).collect()).collect(),
                    ),
                )]),
                ..Feeds::default()
            };
            let expected = eval::evaluate(&graph, &feeds).unwrap().loss();

            let settings = TrainSettings { rate: 0.0, batch, ..TrainSettings::default() };
            let meta = RunMeta {
                model_text: text,
                model_name: "M".into(),
                dims: dims(&graph),
                vocabulary: None,
                rate: settings.learning_rate(),
                settings,
                patience: Patience::default(),
                position: Position::default(),
                history: vec![],
                notes: BTreeMap::new(),
            };
            let mut run = Run::new(meta, parameters);
            let input = model.text_input().unwrap();
            let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
            let graph = grad(&chunked(&graph, &input).unwrap(), &names).unwrap();
            let mut trainer = Trainer::new(&graph, &run.parameters, &threads(2).unwrap()).unwrap();
            let mut material = Material::Text {
                characters: Characters { training: ids, held_out: vec![] },
                input: "text".into(),
                batch,
                truncate: Some(5),
                carried: Carried::new(trainer.batch().plan(), batch),
            };
            material.begin_epoch(1, 0, 0);
            let (mut sum, mut count) = (0.0, 0);
            for index in 0..material.batches().unwrap() {
                let (loss, units) = material.step(index, &mut trainer, &mut run).unwrap();
                sum += loss * units as f64;
                count += units;
            }
            assert_eq!(count, (batch * length) as u64);
            let found = sum / count as f64;
            assert!((found - expected).abs() < 1e-5, "{cell}: {found}, not {expected}");
        }
    }
}
