//! `:train` and `:weights`: weights of a model, from a few steps of training or from a run.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::clauses::{clauses, count};
use super::stages::write_svg;
use super::{Done, Failure, STEPS, Session, of_session, words};
use crate::driver::corpus::Source;
use crate::driver::pictures::{Line, chart};
use crate::driver::practice::practice;
use crate::driver::session::{Model, parameter_specs};
use crate::driver::train::{Job, TrainError, train};
use crate::ir::OutputKind;
use crate::runtime::checkpoint::Run;
use crate::runtime::curve::{Series, curve};
use crate::runtime::parameters::Parameters;
use crate::runtime::progress::Display;
use crate::runtime::records::Format;

/// Steps where nothing is said, and at most.
const FEW: usize = 10;
const MOST: usize = 1_000_000;

impl Session {
    /// `:train [M] [N] [from FILE] [svg FILE]`
    pub(super) fn train(&mut self, rest: &str) -> Done {
        let parts = clauses(rest, &["with", "from", "line", "random", "steps", "svg"])?;
        let svg = parts.file("svg")?;
        let words: Vec<&str> = parts.head.split_whitespace().collect();
        let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
        let (name, steps) = match &words[..] {
            [] => ("", FEW),
            [steps] if is_number(steps) => ("", count(steps, "train", MOST)?),
            [name] => (*name, FEW),
            [name, steps] => (*name, count(steps, "train", MOST)?),
            _ => {
                return Err(Failure::new(
                    "`:train` takes a model and a number of steps, as in `:train M 20`",
                ));
            }
        };
        let model = self.choose(name)?;
        let checked = self.checked(&model)?;
        if checked.graph.outputs_of(OutputKind::Loss).next().is_none() {
            return Err(crate::grad::GradError::NoLoss.into());
        }
        if parts.has("from") && !parts.has("line") {
            let path = parts.file("from")?.unwrap_or_default();
            return self.train_on(&model, path, steps);
        }
        let (example, what) = self.example(&model, &checked.graph, &parts, STEPS)?;
        let weights = self.weights_of(&checked.graph);
        let found =
            practice(&model, &checked, &example, &weights, steps, self.seed, self.stop()).map_err(trained)?;
        let points: Vec<(f64, f64)> =
            found.losses.iter().enumerate().map(|(at, &loss)| (at as f64 + 1.0, loss)).collect();
        let ends = (found.losses.first().copied(), found.losses.last().copied());
        let mut text = match ends {
            (Some(first), Some(last)) => format!(
                "{} steps on {what}: the loss went from {} to {}\n",
                found.losses.len(),
                words::number(first),
                words::number(last)
            ),
            _ => "interrupted before the first step\n".to_string(),
        };
        if points.len() > 1 {
            text += &curve(&[Series { name: "loss", mark: '*', points: &points }], "step", 60, 10);
        }
        self.weights.insert(checked.graph.name.clone(), found.weights);
        self.examples.insert(checked.graph.name.clone(), (example, what));
        self.changed();
        if let Some(path) = svg {
            let title = format!("{}: loss", checked.graph.name);
            let line = Line { name: "loss".to_string(), points };
            text += &write_svg(&path, &chart(&title, "step", "loss", &[line])?)?;
        }
        Ok(text)
    }

    /// Steps on a text, records or an archive, as `rnnc train` does them.
    fn train_on(&mut self, model: &Model, data: PathBuf, steps: usize) -> Done {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("session.rnn");
        std::fs::write(&file, &model.source)?;
        let what = data.display().to_string();
        let source = match (Format::of_path(&data), data.extension()) {
            (Some(format), _) => Source::Table(data, format),
            (None, Some(extension)) if extension == "npz" => Source::Npz(data),
            _ => Source::Text(data),
        };
        let job = Job {
            file: Some(file),
            model: model.choice.clone(),
            set: model.set.clone(),
            source: Some(source),
            epochs: Some(MOST),
            seed: Some(self.seed),
            max_steps: Some(steps as u64),
            ..Job::new(folder.path().join("run.safetensors"))
        };
        let said = Said::default();
        let outcome =
            train(&job, Display::Lines, Box::new(said.clone()), &self.interrupt).map_err(trained)?;
        let position = outcome.run.meta.position;
        let mut text = said.text();
        text += &format!("{} steps on {what}", position.step);
        if position.loss_weight > 0.0 {
            text += &format!(
                ", the loss was {} in the mean",
                words::number(position.loss_sum / position.loss_weight)
            );
        }
        self.adopt(&outcome.run);
        Ok(text)
    }

    /// `:weights [RUN | M reset]`
    pub(super) fn load_weights(&mut self, rest: &str) -> Done {
        let words: Vec<&str> = rest.split_whitespace().collect();
        match &words[..] {
            [] => {
                let line = |(model, own): (&String, &std::collections::BTreeMap<String, Vec<f64>>)| {
                    let count: usize = own.values().map(Vec::len).sum();
                    format!("{model}: {} trained parameters\n", crate::driver::summary::thousands(count))
                };
                let text: String = self.weights.iter().map(line).collect();
                Ok(if text.is_empty() {
                    "every model has the weights that it begins with\n".into()
                } else {
                    text
                })
            }
            [model, "reset"] => {
                let name = self.model_name(model)?;
                self.weights.remove(&name);
                self.changed();
                Ok(format!("{name} has the weights that it begins with"))
            }
            [path] => self.load_run(&PathBuf::from(path.trim_matches('"'))),
            _ => Err(Failure::new("`:weights` takes a run of `rnnc train`, or a model and `reset`")),
        }
    }

    fn load_run(&mut self, path: &std::path::Path) -> Done {
        let run = Run::load(path)?;
        let model = Model::of_run(path, &run.meta);
        let graph = model.check(crate::check::Mode::Train).map_err(of_session)?.graph;
        let mut run = run;
        run.expect_model(path, parameter_specs(&graph))?;
        let mut next = self.definitions.clone();
        next.add(&run.meta.model_text, None).map_err(|found| of_session(model.mistakes(found)))?;
        self.definitions = next;
        for (dim, size) in &run.meta.dims {
            self.dims.retain(|(known, _)| known != dim);
            self.dims.push((dim.clone(), *size));
        }
        self.adopt(&run);
        let name = run.meta.model_name.clone();
        let text = format!(
            "{name}: {} parameters after {} steps",
            crate::driver::summary::thousands(run.weights().values().len()),
            run.meta.position.step
        );
        self.current = Some(name);
        Ok(text)
    }

    /// Takes a run's weights and its vocabulary.
    fn adopt(&mut self, run: &Run) {
        let name = run.meta.model_name.clone();
        self.weights.insert(name.clone(), by_path(run.weights()));
        if let Some(vocabulary) = &run.meta.vocabulary {
            self.vocabularies.insert(name.clone(), vocabulary.clone());
        }
        for (dim, size) in &run.meta.dims {
            if !self.dims.iter().any(|(known, _)| known == dim) && run.meta.vocabulary.is_some() {
                self.dims.push((dim.clone(), *size));
            }
        }
        self.changed();
    }
}

fn by_path(parameters: &Parameters) -> std::collections::BTreeMap<String, Vec<f64>> {
    let values = |own: &[f32]| own.iter().map(|&value| f64::from(value)).collect();
    parameters.iter().map(|(spec, own)| (spec.name.clone(), values(own))).collect()
}

/// Mistakes keep their form.
fn trained(error: TrainError) -> Failure {
    match error {
        TrainError::Session(error) => of_session(error),
        other => Failure::Message(other.to_string()),
    }
}

/// What a training says, kept.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn text(&self) -> String {
        self.0.lock().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Ok(mut known) = self.0.lock() {
            known.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
