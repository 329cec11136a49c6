//! The run that training starts from: a new one from a program and flags, or a saved one.
//!
//! Flags are laid over the model's `train` block, which is laid over the defaults; what was decided is in
//! the run's settings and needs deciding only once. A saved run keeps its model, its data and its settings:
//! flags that would change them are refused, all but the number of epochs.

use std::collections::BTreeMap;
use std::path::Path;

use super::corpus::{self, CorpusError, Source};
use super::session::{Model, dims, parameter_specs};
use super::table::{self, Table};
use super::train::{Job, TrainError};
use super::treebank::{Roles, Treebank};
use super::vectors;
use crate::base::Diagnostic;
use crate::check::{Checked, Mode};
use crate::runtime::checkpoint::{Position, Run, RunMeta};
use crate::runtime::files;
use crate::runtime::groups::{freeze, idle};
use crate::runtime::lexicon::{Fields, Lexicon};
use crate::runtime::parameters::{ParameterSpec, Parameters};
use crate::runtime::reading::Tokens;
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
    pub valid: Option<Source>,
    /// What parameters were loaded from files, in words.
    pub loaded: Vec<String>,
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
        return Err(TrainError::Incomplete("there is nothing to train on: give data of one kind or another"));
    };
    let valid = valid(job, &source)?;
    let mut model = Model::read(file, job.model.as_deref(), &job.set)?;
    let (mut words, mut fields) = (None, None);
    let (vocabulary, checked) = match &source {
        Source::Text(path) => {
            model.without_trees()?;
            let vocabulary = vocabulary(job, &model, path)?;
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
        Source::Table(..) | Source::Lines(_) => {
            let (learned, checked) = learned(job, &mut model, &source)?;
            fields = Some(learned);
            (None, checked)
        }
        Source::Npz(_) => (None, model.check(Mode::Train)?),
    };
    let settings = settings(job, &model, &checked, vocabulary.is_some())?;
    let mut specs = parameter_specs(&checked.graph);
    expect_groups(&model, &checked, &settings, &specs)?;
    freeze(&settings.groups, &mut specs);
    let mut parameters = Parameters::initialize(specs, settings.seed)?;
    let meta = RunMeta {
        model_text: model.source.clone(),
        model_name: checked.graph.name.clone(),
        dims: dims(&checked.graph),
        vocabulary,
        words,
        fields,
        rate: settings.learning_rate(),
        patience: Patience::default(),
        position: Position::default(),
        history: Vec::new(),
        notes: notes(&source, valid.as_ref())?,
        settings,
    };
    let loaded = vectors::load(&job.load, &checked.graph, &meta, &mut parameters)?;
    Ok(Prepared { run: Run::new(meta, parameters), model, source, valid, loaded })
}

/// The vocabulary of a text: all of its characters, or the words of the training part.
fn vocabulary(job: &Job, model: &Model, path: &Path) -> Result<Vocabulary, TrainError> {
    let loose = model.check(Mode::Train).or_else(|_| model.check_everything())?;
    let settings = settings(job, model, &loose, true)?;
    let text = corpus::text(path)?;
    Ok(match settings.reading.all_tokens {
        Some(Tokens::Words) => {
            Vocabulary::of_words(&text, settings.min_count, settings.holdout.unwrap_or(0.0))
        }
        Some(Tokens::Chars) | None => Vocabulary::of(&text),
        Some(Tokens::Ids) => {
            return Err(TrainError::Incomplete(
                "a text is read by characters or by words: --tokens chars or words",
            ));
        }
    })
}

/// What to measure by in the place of a part of the source.
fn valid(job: &Job, source: &Source) -> Result<Option<Source>, TrainError> {
    let lines = matches!(source, Source::Lines(_));
    match &job.valid {
        Some(_) if lines => Err(TrainError::Incomplete(
            "files of --lines are measured by others like them: give --valid-lines for each, not --valid",
        )),
        Some(path) => Ok(source.like(path)),
        None if job.valid_lines.is_empty() => Ok(None),
        None if lines => Ok(Some(Source::Lines(job.valid_lines.clone()))),
        None => Err(TrainError::Incomplete("--valid-lines goes with --lines: give --valid here")),
    }
}

/// What is learned of the records of the training part, and the model bound to the sizes of its
/// vocabularies.
fn learned(job: &Job, model: &mut Model, source: &Source) -> Result<(Fields, Checked), TrainError> {
    // Dimensions that the words will bind have no number yet.
    let loose = model.check(Mode::Train).or_else(|_| model.check_everything())?;
    let settings = settings(job, model, &loose, false)?;
    let (table, path) = (Table::read(source, &settings.reading).map_err(CorpusError::from)?, source.path());
    let fraction = settings.holdout.unwrap_or(0.0);
    let training = table.training(|count| corpus::cut(path, count, fraction))?;
    let mut dimensions = BTreeMap::new();
    for input in table::ids(&loose.graph) {
        if let Some((dimension, _)) = model.dimension_of(input)? {
            dimensions.insert(input.to_string(), dimension);
        }
    }
    let mut fields =
        table.learn(&loose.graph, &dimensions, training, settings.min_count).map_err(CorpusError::from)?;
    for input in table::ids(&loose.graph) {
        let Some(lexicon) = fields.lexicon(input) else { continue };
        // A model that says how many labels there are may be right: not each of them need occur.
        let says = model.dimension_of(input)?.is_some_and(|(_, default)| default);
        if !(says && matches!(lexicon, Lexicon::Numbers(_))) {
            model.bind_input(input, lexicon.len())?;
        }
    }
    let checked = model.check(Mode::Train)?;
    Table::expect_size(&checked.graph, &fields).map_err(CorpusError::from)?;
    table.standardize(&checked.graph, training, &mut fields).map_err(CorpusError::from)?;
    Ok((fields, checked))
}

/// That every group of the `train` block has parameters.
fn expect_groups(
    model: &Model,
    checked: &Checked,
    settings: &TrainSettings,
    specs: &[ParameterSpec],
) -> Result<(), TrainError> {
    let Some(group) = idle(&settings.groups, specs) else { return Ok(()) };
    let number = settings.groups.iter().position(|own| own == group).unwrap_or(0);
    let written = checked.train.iter().filter(|(key, _, _)| key == "parameters").nth(number);
    let span = written.map(|(_, span, _)| *span).unwrap_or_default();
    let paths: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let diagnostic = Diagnostic::error("setting", span, format!("no parameter fits `{}`", group.pattern))
        .help(format!("`*` stands for anything; the parameters are: {}", paths.join(", ")));
    Err(model.mistakes(vec![diagnostic]).into())
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
    // A mistake in the only tree is what is wrong, and not that there is but one.
    roles.expect_forms(&bank, &trees, &loose.graph).map_err(CorpusError::from)?;
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
    settings.min_count = job.min_count.unwrap_or(settings.min_count);
    settings.reading = job.reading.over(&settings.reading);
    settings.holdout = match job.holdout {
        _ if job.valid.is_some() || !job.valid_lines.is_empty() => None,
        Some(fraction) => Some(fraction).filter(|fraction| *fraction > 0.0),
        None if said("holdout") => settings.holdout,
        None => Some(HOLDOUT),
    };
    Ok(settings)
}

fn notes(source: &Source, valid: Option<&Source>) -> Result<BTreeMap<String, String>, TrainError> {
    let mut notes = BTreeMap::from([
        ("data".to_string(), source.kind().to_string()),
        ("path".to_string(), source.location()),
        ("fingerprint".to_string(), source.fingerprint()?),
    ]);
    if let Some(valid) = valid {
        notes.insert("valid".to_string(), valid.location());
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
    if !job.load.is_empty() {
        return Err(refuse("--load is for the beginning of a run".to_string()));
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
    kept("--min-count", job.min_count.map(|n| n.to_string()), own.min_count.to_string())?;
    if job.reading.over(&own.reading) != own.reading {
        return Err(refuse("it was begun with data read in another way".to_string()));
    }
    kept("--holdout", job.holdout.map(|x| x.to_string()), own.holdout.unwrap_or(0.0).to_string())?;
    let model = Model::of_run(&job.out, &run.meta);
    let checked = model.check(Mode::Train)?;
    let mut specs = parameter_specs(&checked.graph);
    freeze(&run.meta.settings.groups, &mut specs);
    run.expect_model(&job.out, specs)?;
    let note = |key: &str| run.meta.notes.get(key).map_or("", String::as_str);
    let kind = note("data");
    let source = match &job.source {
        Some(source) => Some(source.clone()),
        None => Source::of_kind(kind, note("path")),
    };
    let Some(source) = source else { return Err(refuse("it does not say what it was trained on".into())) };
    if source.kind() != kind || source.fingerprint()? != note("fingerprint") {
        return Err(refuse(format!("{} is not the data that it was trained on", source.describe())));
    }
    let valid = match valid(job, &source)? {
        None => run.meta.notes.get("valid").and_then(|location| source.like_kept(location)),
        valid => valid,
    };
    run.meta.settings.epochs = job.epochs.unwrap_or(run.meta.settings.epochs);
    Ok(Prepared { run, model, source, valid, loaded: Vec::new() })
}
