//! `:train` and `:weights`: weights of a model, from a few steps of training or from a run.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::clauses::{clauses, count};
use super::sources::source;
use super::stages::write_svg;
use super::{Done, Failure, STEPS, Session, of_session, words};
use crate::check::Checked;
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
            return self.train_on(&model, &checked, path, steps);
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
            text += &curve(&[Series { name: "loss", points: &points }], "step", 60, 10);
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

    /// Steps on a file, as `rnnc train` does them: from the model's weights on, and with what the optimiser
    /// remembers if the last steps were on this file, too.
    fn train_on(&mut self, model: &Model, checked: &Checked, data: PathBuf, steps: usize) -> Done {
        let folder = tempfile::tempdir()?;
        let (file, out) = (folder.path().join("session.rnn"), folder.path().join("run.safetensors"));
        std::fs::write(&file, &model.source)?;
        let what = data.display().to_string();
        let source = source(&checked.graph, data);
        let job = Job {
            file: Some(file),
            model: model.choice.clone(),
            set: model.set.clone(),
            source: Some(source.clone()),
            epochs: Some(MOST),
            seed: Some(self.seed),
            ..Job::new(out)
        };
        let run = match self.kept(model, &source)? {
            Some(run) => run,
            // What a run is made of follows from the data: made, and not yet trained.
            None => {
                let begun = Job { max_steps: Some(0), ..job.clone() };
                train(&begun, Display::Lines, Box::new(std::io::sink()), &self.interrupt)
                    .map_err(trained)?
                    .run
            }
        };
        let (run, anew) = self.with_weights(run)?;
        run.save(&job.out)?;
        let before = run.meta.position;
        let job = Job { resume: true, max_steps: Some(before.step + steps as u64), ..job };
        let said = Said::default();
        let outcome =
            train(&job, Display::Lines, Box::new(said.clone()), &self.interrupt).map_err(trained)?;
        let position = outcome.run.meta.position;
        // How many epochs there are at most is nobody's plan.
        let mut text = said.text().replace(&format!("/{MOST}: "), ": ");
        text += &format!("{} steps on {what}", position.step - before.step);
        if before.step > 0 {
            text += &format!(" ({} in all)", position.step);
        }
        let earlier = if position.epoch == before.epoch { before } else { Default::default() };
        let weight = position.loss_weight - earlier.loss_weight;
        if weight > 0.0 {
            let mean = (position.loss_sum - earlier.loss_sum) / weight;
            text += &format!(", the loss was {} in the mean", words::number(mean));
        }
        if !anew.is_empty() {
            text += &format!("\nthe data gives other sizes to {}, which began anew", anew.join(", "));
        }
        self.adopt(outcome.run);
        Ok(text)
    }

    /// The run that the model's weights are from, if it can go on with this data.
    fn kept(&self, model: &Model, source: &Source) -> Result<Option<Run>, Failure> {
        let Some(run) = model.choice.as_ref().and_then(|name| self.runs.get(name)) else { return Ok(None) };
        let note = |key: &str| run.meta.notes.get(key).map_or("", String::as_str);
        let same = run.meta.model_text == model.source
            && run.meta.settings.seed == self.seed
            && model.set.iter().all(|(dim, size)| run.meta.dims.get(dim) == Some(size))
            && note("data") == source.kind()
            && note("fingerprint") == source.fingerprint()?;
        Ok(same.then(|| Run::clone(run)))
    }

    /// A run with the weights that its model has here, and the parameters that have another size there.
    fn with_weights(&self, mut run: Run) -> Result<(Run, Vec<String>), Failure> {
        let Some(own) = self.weights.get(&run.meta.model_name) else { return Ok((run, Vec::new())) };
        // The last ones of a run, which goes on from them, need not be the best, which are at hand.
        if *own == by_path(run.weights()) {
            return Ok((run, Vec::new()));
        }
        let mut anew = Vec::new();
        let mut values = Vec::new();
        for (spec, known) in run.parameters.iter() {
            match own.get(&spec.name).filter(|own| own.len() == known.len()) {
                Some(own) => values.extend(own.iter().map(|&value| value as f32)),
                None => {
                    anew.push(spec.name.clone());
                    values.extend(known);
                }
            }
        }
        let specs = run.parameters.iter().map(|(spec, _)| spec.clone()).collect();
        run.parameters = Parameters::from_values(specs, values)?;
        Ok((run, anew))
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
                self.runs.remove(&name);
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
        let name = run.meta.model_name.clone();
        let text = format!(
            "{name}: {} parameters after {} steps",
            crate::driver::summary::thousands(run.weights().values().len()),
            run.meta.position.step
        );
        self.adopt(run);
        self.current = Some(name);
        Ok(text)
    }

    /// Takes a run's weights, and the sizes that its vocabularies gave the model.
    fn adopt(&mut self, run: Run) {
        let name = run.meta.model_name.clone();
        self.weights.insert(name.clone(), by_path(run.weights()));
        let meta = &run.meta;
        let learned = meta.vocabulary.is_some() || meta.words.is_some() || meta.fields.is_some();
        for (dim, size) in &run.meta.dims {
            if !self.dims.iter().any(|(known, _)| known == dim) && learned {
                self.dims.push((dim.clone(), *size));
            }
        }
        self.runs.insert(name, Arc::new(run));
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
