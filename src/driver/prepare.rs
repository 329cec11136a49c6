//! The run that training starts from: a new one from a program and flags, or a saved one.
//!
//! Flags are laid over the model's `train` block, which is laid over the defaults; what was decided is in
//! the run's settings and needs deciding only once. A saved run keeps its model, its data and its settings:
//! flags that would change them are refused, all but the number of epochs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::corpus::{self, CorpusError, Source};
use super::session::{Model, dims, parameter_specs};
use super::train::{Job, TrainError};
use super::treebank::{Roles, Treebank};
use crate::check::{Checked, Mode};
use crate::runtime::checkpoint::{Position, Run, RunMeta};
use crate::runtime::files;
use crate::runtime::parameters::Parameters;
use crate::runtime::schedule::Patience;
use crate::runtime::settings::TrainSettings;
use crate::runtime::text::{Vocabulary, read_text};
use crate::runtime::words::Vocabularies;

/// The part of the data that is held out where nothing is said.
const HOLDOUT: f64 = 0.1;
/// Steps between cuts of the gradient through a text where nothing is said.
const TRUNCATE: usize = 64;

/// A run and where its model and data are.
pub(super) struct Prepared {
    pub run: Run,
    pub model: Model,
    pub source: Source,
    pub valid: Option<PathBuf>,
}

/// Makes a new run or loads the one to resume.
///
/// # Errors
/// The model is wrong, the data cannot be read, the saved run does not fit, or its folder takes no files.
pub(super) fn prepare(job: &Job) -> Result<Prepared, TrainError> {
    // Before hours of training, not after them.
    files::check_replaceable(&job.out)?;
    if job.resume { resume(job) } else { begin(job) }
}

fn begin(job: &Job) -> Result<Prepared, TrainError> {
    let Some(file) = &job.file else { return Err(TrainError::Incomplete("there is no program to train")) };
    let Some(source) = job.source.clone() else {
        return Err(TrainError::Incomplete("there is nothing to train on: give a text, trees or an archive"));
    };
    let mut model = Model::read(file, job.model.as_deref(), &job.set)?;
    let mut words = None;
    let (vocabulary, checked) = match &source {
        Source::Text(path) => {
            model.without_trees()?;
            let vocabulary = Vocabulary::of(&corpus::text(path)?);
            let input = model.bind_vocabulary(&vocabulary)?;
            let checked = model.check(Mode::Train)?;
            model.expect_vocabulary(&checked.graph, &input, &vocabulary)?;
            (Some(vocabulary), checked)
        }
        Source::Trees(_) => {
            let (vocabularies, checked) = vocabularies(job, &mut model, &source)?;
            words = Some(vocabularies);
            (None, checked)
        }
        Source::Npz(_) => (None, model.check(Mode::Train)?),
    };
    let settings = settings(job, &model, &checked, vocabulary.is_some())?;
    let parameters = Parameters::initialize(parameter_specs(&checked.graph), settings.seed)?;
    let meta = RunMeta {
        model_text: model.source.clone(),
        model_name: checked.graph.name.clone(),
        dims: dims(&checked.graph),
        vocabulary,
        words,
        rate: settings.learning_rate(),
        patience: Patience::default(),
        position: Position::default(),
        history: Vec::new(),
        notes: notes(&source, job.valid.as_deref())?,
        settings,
    };
    Ok(Prepared { run: Run::new(meta, parameters), model, source, valid: job.valid.clone() })
}

/// The vocabularies of the training part of a treebank, and the model bound to their sizes.
fn vocabularies(
    job: &Job,
    model: &mut Model,
    source: &Source,
) -> Result<(Vocabularies, Checked), TrainError> {
    // Dimensions that the words will bind have no number yet.
    let loose = model.check(Mode::Train).or_else(|_| model.check_everything())?;
    let settings = settings(job, model, &loose, false)?;
    let roles = Roles::of(&loose.graph).map_err(CorpusError::from)?;
    let bank = Treebank::read(source.path()).map_err(CorpusError::from)?;
    let trees = bank.parses().map_err(CorpusError::from)?;
    let cut = corpus::cut(source.path(), trees.len(), settings.holdout.unwrap_or(0.0))?;
    let vocabularies = roles.vocabularies(&trees[..cut], settings.min_count);
    for input in roles.words() {
        model.bind_input(input, vocabularies.words.len())?;
    }
    if let Some(labels) = &vocabularies.labels {
        for input in roles.labels() {
            model.bind_input(input, labels.len())?;
        }
    }
    let checked = model.check(Mode::Train)?;
    roles.expect_words(&checked.graph, &vocabularies).map_err(CorpusError::from)?;
    Ok((vocabularies, checked))
}

/// The defaults, the model's own settings, and the flags.
fn settings(job: &Job, model: &Model, checked: &Checked, text: bool) -> Result<TrainSettings, TrainError> {
    let mut settings = model.train_settings(checked)?;
    let said = |key: &str| checked.train.iter().any(|(name, _, _)| name == key);
    if text && !said("truncate") {
        settings.truncate = Some(TRUNCATE);
    }
    settings.truncate = job.truncate.or(settings.truncate);
    settings.epochs = job.epochs.unwrap_or(settings.epochs);
    settings.batch = job.batch.unwrap_or(settings.batch);
    settings.seed = job.seed.unwrap_or(settings.seed);
    settings.holdout = match job.valid {
        Some(_) => None,
        None => match job.holdout {
            Some(fraction) => Some(fraction).filter(|fraction| *fraction > 0.0),
            None if said("holdout") => settings.holdout,
            None => Some(HOLDOUT),
        },
    };
    Ok(settings)
}

fn notes(source: &Source, valid: Option<&Path>) -> Result<BTreeMap<String, String>, TrainError> {
    let mut notes = BTreeMap::from([
        ("data".to_string(), source.kind().to_string()),
        ("path".to_string(), source.path().display().to_string()),
        ("fingerprint".to_string(), source.fingerprint()?),
    ]);
    if let Some(valid) = valid {
        notes.insert("valid".to_string(), valid.display().to_string());
    }
    Ok(notes)
}

fn resume(job: &Job) -> Result<Prepared, TrainError> {
    let refuse = |reason: String| TrainError::Resume { path: job.out.clone(), reason };
    let mut run = Run::load(&job.out)?;
    if let Some(file) = &job.file
        && read_text(file)? != run.meta.model_text
    {
        return Err(refuse(format!("{} is not the program that it was trained with", file.display())));
    }
    if job.model.as_ref().is_some_and(|name| *name != run.meta.model_name) {
        return Err(refuse(format!("it is a run of the model `{}`", run.meta.model_name)));
    }
    for (name, size) in &job.set {
        match run.meta.dims.get(name) {
            Some(own) if own == size => {}
            Some(own) => return Err(refuse(format!("it was trained with {name} = {own}"))),
            None => return Err(refuse(format!("its model has no dimension `{name}`"))),
        }
    }
    let own = &run.meta.settings;
    let kept = |flag: &str, given: Option<String>, own: String| match given {
        Some(given) if given != own => Err(refuse(format!("it was begun with {flag} {own}"))),
        _ => Ok(()),
    };
    let or_none = |value: Option<usize>| value.map_or("none".to_string(), |value| value.to_string());
    kept("--batch", job.batch.map(|n| n.to_string()), own.batch.to_string())?;
    kept("--truncate", job.truncate.map(|n| n.to_string()), or_none(own.truncate))?;
    kept("--seed", job.seed.map(|n| n.to_string()), own.seed.to_string())?;
    kept("--holdout", job.holdout.map(|x| x.to_string()), own.holdout.unwrap_or(0.0).to_string())?;
    let model = Model::of_run(&job.out, &run.meta);
    let checked = model.check(Mode::Train)?;
    run.expect_model(&job.out, parameter_specs(&checked.graph))?;
    let note = |key: &str| run.meta.notes.get(key).map_or("", String::as_str);
    let kind = note("data");
    let source = match &job.source {
        Some(source) => Some(source.clone()),
        None => Source::of_kind(kind, note("path")),
    };
    let Some(source) = source else { return Err(refuse("it does not say what it was trained on".into())) };
    if source.kind() != kind || source.fingerprint()? != note("fingerprint") {
        return Err(refuse(format!("{} is not the data that it was trained on", source.path().display())));
    }
    let valid = job.valid.clone().or_else(|| run.meta.notes.get("valid").map(PathBuf::from));
    run.meta.settings.epochs = job.epochs.unwrap_or(run.meta.settings.epochs);
    Ok(Prepared { run, model, source, valid })
}
