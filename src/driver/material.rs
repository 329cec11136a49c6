//! The batches of an epoch: chunks of parallel streams with carried state, or shuffled examples.
//!
//! Both are functions of the data, the settings and the epoch's number, so that a resumed run has the
//! same batches as one that was never interrupted. A text's states pass from chunk to chunk within an
//! epoch and begin anew with the next; long examples can be cut likewise, with their states passed on within
//! their batch.

use super::batch::Feed;
use super::carried::Carried;
use super::corpus::{Examples, Stream};
use super::data::{of_like_length, shuffled};
use super::trainer::{StepError, Trainer};
use crate::plan::Plan;
use crate::runtime::checkpoint::{Carried as Saved, Run};
use crate::runtime::layout::Lengths;
use crate::runtime::text::{Streams, TextError};

/// What there is to train on, with what passes from one batch to the next.
pub enum Material {
    /// A text in streams.
    Text {
        /// All of it.
        stream: Stream,
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
        /// Whether the examples of a batch are of like length.
        like_length: bool,
        /// How long ones are cut, if they are.
        cut: Option<Cut>,
    },
}

/// Truncated backpropagation through examples: a batch is read in chunks along one axis, and the states
/// pass from chunk to chunk.
pub struct Cut {
    axis: String,
    /// Steps of a chunk.
    steps: usize,
    /// Batch and chunk in it of every step of this epoch.
    chunks: Vec<(usize, usize)>,
    /// Positions before each of them.
    before: Vec<u64>,
    /// States between the chunks of a batch.
    carried: Carried<f32>,
}

impl Cut {
    /// Chunks of `steps` steps along `axis` of a program with this plan.
    pub fn new(axis: &str, steps: usize, plan: &Plan) -> Cut {
        let carried = Carried::new(plan, 0);
        Cut { axis: axis.to_string(), steps, chunks: Vec::new(), before: Vec::new(), carried }
    }

    fn begin_epoch(&mut self, lengths: &[usize], order: &[usize], batch: usize) {
        self.chunks.clear();
        self.before.clear();
        let mut total = 0;
        for (number, chosen) in order.chunks(batch).enumerate() {
            let longest = chosen.iter().map(|&example| lengths[example]).max().unwrap_or(0);
            for chunk in 0..longest.div_ceil(self.steps).max(1) {
                self.chunks.push((number, chunk));
                self.before.push(total);
                let own = |&example: &usize| {
                    lengths[example].saturating_sub(chunk * self.steps).min(self.steps) as u64
                };
                total += chosen.iter().map(own).sum::<u64>();
            }
        }
        self.before.push(total);
    }

    /// True if the step with this index goes on with a batch.
    fn goes_on(&self, index: usize) -> bool {
        self.chunks.get(index).is_some_and(|(_, chunk)| *chunk > 0)
    }
}

impl Material {
    /// What is counted: `characters`, `words`, `trees`, `examples`, or `steps` of examples that are cut.
    pub fn unit(&self) -> &'static str {
        match self {
            Material::Text { stream, .. } => stream.unit,
            Material::Examples { cut: Some(_), .. } => "steps",
            Material::Examples { examples, .. } if !examples.data().trees.is_empty() => "trees",
            Material::Examples { .. } => "examples",
        }
    }

    /// Units of an epoch.
    ///
    /// # Errors
    /// A text too short for its streams.
    pub fn units(&self) -> Result<u64, TextError> {
        Ok(match self {
            Material::Text { stream, batch, .. } => {
                let streams = Streams::new(&stream.training, *batch)?;
                (streams.batch() * streams.length()) as u64
            }
            Material::Examples { examples, cut: Some(cut), .. } => {
                examples.training().map(|example| lengths(examples, &cut.axis)[example] as u64).sum()
            }
            Material::Examples { examples, .. } => examples.training().len() as u64,
        })
    }

    /// Batches of the epoch that has begun.
    ///
    /// # Errors
    /// A text too short for its streams.
    pub fn batches(&self) -> Result<u64, TextError> {
        Ok(match self {
            Material::Text { stream, batch, truncate, .. } => {
                Streams::new(&stream.training, *batch)?.chunk_count(*truncate) as u64
            }
            Material::Examples { cut: Some(cut), .. } => cut.chunks.len() as u64,
            Material::Examples { examples, batch, .. } => examples.training().len().div_ceil(*batch) as u64,
        })
    }

    /// Units in the first batches of an epoch.
    ///
    /// # Errors
    /// A text too short for its streams.
    pub fn units_before(&self, batches: u64) -> Result<u64, TextError> {
        let each = match self {
            Material::Text { stream, batch, truncate, .. } => {
                let streams = Streams::new(&stream.training, *batch)?;
                truncate.unwrap_or(streams.length()) * streams.batch()
            }
            Material::Examples { cut: Some(cut), .. } => {
                let index = usize::try_from(batches).unwrap_or(usize::MAX);
                return Ok(cut.before.get(index).copied().unwrap_or(0));
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
            Material::Examples { examples, order, batch, like_length, cut } => {
                *order = shuffled(examples.training(), seed, epoch);
                if *like_length {
                    let lengths = examples.data().sequence_lengths();
                    *order = of_like_length(order, &lengths, *batch, seed, epoch);
                }
                if let Some(cut) = cut {
                    cut.begin_epoch(lengths(examples, &cut.axis.clone()), order, *batch);
                }
            }
        }
    }

    /// The states to save before batch `index` of the epoch: none before the first chunk of a sequence.
    pub fn carried(&self, index: u64) -> Vec<Saved> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match self {
            Material::Text { carried, .. } if index > 0 => carried.save(),
            Material::Examples { cut: Some(cut), .. } if cut.goes_on(index) => cut.carried.save(),
            Material::Text { .. } | Material::Examples { .. } => Vec::new(),
        }
    }

    /// Goes on before batch `index` of an epoch that has begun; false if these are other states.
    pub fn restore(&mut self, index: u64, saved: &[Saved], plan: &Plan) -> bool {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match self {
            Material::Text { carried, .. } if index > 0 => carried.restore(saved),
            Material::Examples { cut: Some(cut), order, batch, .. } if cut.goes_on(index) => {
                let count = order.chunks(*batch).nth(cut.chunks[index].0).map_or(0, <[usize]>::len);
                cut.carried = Carried::new(plan, count);
                cut.carried.restore(saved)
            }
            Material::Text { .. } | Material::Examples { .. } => true,
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
            Material::Text { stream, input, batch, truncate, carried } => {
                let streams = Streams::new(&stream.training, *batch)?;
                let Some(chunk) = streams.chunks(*truncate).nth(index) else { return Ok((0.0, 0)) };
                let ids = chunk.ids();
                let lengths = Lengths::uniform(chunk.batch(), &[chunk.length()]);
                let mut feeds = carried.feeds();
                feeds.push((input, Feed::Ids(&ids)));
                let loss = trainer.step_ahead(run, &lengths, &feeds, |batch| {
                    let Some(chunk) = streams.chunks(*truncate).nth(index + 1) else { return Ok(()) };
                    let lengths = Lengths::uniform(chunk.batch(), &[chunk.length()]);
                    batch.copy_ahead(&lengths, &[(input, Feed::Ids(&chunk.ids()))])
                })?;
                carried.take(trainer.batch())?;
                Ok((loss, ids.len() as u64))
            }
            Material::Examples { examples, batch, order, cut: Some(cut), .. } => {
                let Some(&(number, chunk)) = cut.chunks.get(index) else { return Ok((0.0, 0)) };
                let Some(chosen) = order.chunks(*batch).nth(number) else { return Ok((0.0, 0)) };
                let steps = chunk * cut.steps..(chunk + 1).saturating_mul(cut.steps);
                let selected = examples.data().window::<f32>(chosen, &cut.axis, &steps);
                let lengths = selected.lengths_for(trainer.batch().plan());
                if chunk == 0 {
                    cut.carried = Carried::new(trainer.batch().plan(), selected.count);
                }
                let mut feeds = cut.carried.feeds();
                feeds.extend(selected.feeds());
                let loss = trainer.step(run, &lengths, &feeds)?;
                cut.carried.take(trainer.batch())?;
                Ok((loss, cut.before[index + 1] - cut.before[index]))
            }
            Material::Examples { examples, batch, order, cut: None, .. } => {
                let Some(chosen) = order.chunks(*batch).nth(index) else { return Ok((0.0, 0)) };
                let selected = examples.data().select::<f32>(chosen);
                let lengths = selected.lengths_for(trainer.batch().plan());
                let loss = trainer.step_ahead(run, &lengths, &selected.feeds(), |own| {
                    let Some(chosen) = order.chunks(*batch).nth(index + 1) else { return Ok(()) };
                    let next = examples.data().select::<f32>(chosen);
                    let lengths = next.lengths_for(own.plan());
                    own.copy_ahead(&lengths, &next.feeds())
                })?;
                Ok((loss, selected.count as u64))
            }
        }
    }
}

fn lengths<'e>(examples: &'e Examples, axis: &str) -> &'e [usize] {
    examples.data().lengths.get(axis).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::check::Mode;
    use crate::driver::batch::threads;
    use crate::driver::data::Dataset;
    use crate::driver::evaluate::chunked;
    use crate::driver::machine::Machine;
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

    /// A run of a model before its first step.
    fn still(text: &str, graph: &Graph, settings: TrainSettings, parameters: Parameters) -> Run {
        let meta = RunMeta {
            model_text: text.into(),
            model_name: "M".into(),
            dims: dims(graph),
            vocabulary: None,
            words: None,
            fields: None,
            rate: settings.learning_rate(),
            settings,
            patience: Patience::default(),
            position: Position::default(),
            history: vec![],
            notes: BTreeMap::new(),
        };
        Run::new(meta, parameters)
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
            let mut run = still(&text, &graph, settings, parameters);
            let input = model.text_input().unwrap();
            let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
            let graph = grad(&chunked(&model, &graph, &input).unwrap(), &names).unwrap();
            let mut trainer =
                Trainer::new(&graph, &run.parameters, &threads(2).unwrap(), &Machine::default()).unwrap();
            let mut material = Material::Text {
                stream: Stream { unit: "characters", training: ids, held_out: vec![] },
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

    /// The same for examples of different lengths, which are cut along their axis.
    #[test]
    fn chunks_of_examples_are_the_whole_examples() {
        let text = "model M(D = 3, H = 5) {\n  input x: [D] over t\n  input k: [D]\n  h = GRU(D, H)(x + k)\n  x[t] ~ normal(Dense(H, D)(h[t-1]))\n}\n";
        let model = Model::new("m", text);
        let graph = model.check(Mode::Train).unwrap().graph;
        let parameters = shaken(&graph);
        let lengths = BTreeMap::from([("t".to_string(), vec![7, 0, 12, 5, 1, 10, 3])]);
        let data = Dataset::random(&graph, &lengths, 7, 5);
        let values = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
        let feeds = Feeds {
            examples: 7,
            lengths,
            params: parameters.iter().map(|(spec, own)| (spec.name.clone(), values(own))).collect(),
            inputs: data.for_interpreter(),
            ..Feeds::default()
        };
        let expected = eval::evaluate(&graph, &feeds).unwrap().loss();
        let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
        let axis = graph.find_axis("t").unwrap();
        let cut = grad(&model.cut(&graph, axis, "").unwrap(), &names).unwrap();
        let mut trainer = Trainer::new(&cut, &parameters, &threads(2).unwrap(), &Machine::default()).unwrap();
        for (batch, steps, chunks) in [(7, 5, 3), (7, 1, 12), (7, 12, 1), (7, 100, 1)] {
            let settings = TrainSettings { rate: 0.0, batch, ..TrainSettings::default() };
            let mut run = still(text, &graph, settings, parameters.clone());
            let cut = Cut::new("t", steps, trainer.batch().plan());
            let examples = Examples::of(data.clone());
            let mut material =
                Material::Examples { examples, batch, order: vec![], like_length: true, cut: Some(cut) };
            material.begin_epoch(1, 0, 0);
            assert_eq!((material.batches().unwrap(), material.units().unwrap()), (chunks, 38));
            let (mut sum, mut count) = (0.0, 0);
            for index in 0..chunks {
                assert_eq!(material.units_before(index).unwrap(), count);
                let (loss, units) = material.step(index, &mut trainer, &mut run).unwrap();
                sum += loss * units as f64;
                count += units;
            }
            assert_eq!(count, 38);
            let found = sum / count as f64;
            assert!((found - expected).abs() < 1e-5, "{steps}: {found}, not {expected}");
        }
    }
}
