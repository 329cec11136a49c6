//! What a model is trained on and measured by: a text, records, trees or arrays, and the held-out part.
//!
//! ```text
//! Source::Text("book.txt"), holdout 0.1      ->  ids of the first nine tenths | ids of the last tenth
//! Source::Table("a.csv", Csv), --valid b.csv ->  all examples of a            | all examples of b
//! Source::Trees("train.txt"), holdout 0.1    ->  the first nine tenths        | the last tenth of its lines
//! ```
//!
//! It reads and splits; batches are made by `material`. A fingerprint tells a resumed run whether the
//! data is still the same.

use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::arrays::DataError;
use super::data::Dataset;
use super::table::{Table, TableError, Want};
use super::treebank::{Roles, Treebank, TreebankError};
use crate::ir::Graph;
use crate::runtime::checkpoint::RunMeta;
use crate::runtime::files::{self, FileError};
use crate::runtime::lexicon::Fields;
use crate::runtime::reading::Reading;
use crate::runtime::records::Format;
use crate::runtime::text::{TextError, Vocabulary, hold_out, read_text, training_length};
use crate::runtime::words::Vocabularies;

/// Where data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A text, one id a token.
    Text(PathBuf),
    /// An archive of examples.
    Npz(PathBuf),
    /// Trees, one a line.
    Trees(PathBuf),
    /// Records with named fields.
    Table(PathBuf, Format),
    /// Files whose lines belong together, by the names of their fields.
    Lines(Vec<(String, PathBuf)>),
}

impl Source {
    /// The file, the first of several.
    pub fn path(&self) -> &Path {
        match self {
            Source::Text(path) | Source::Npz(path) | Source::Trees(path) | Source::Table(path, _) => path,
            Source::Lines(files) => files.first().map_or(Path::new(""), |(_, path)| path),
        }
    }

    /// A file by the end of its name: records or arrays, else what `other` makes of it.
    pub fn of_path(path: PathBuf, other: impl FnOnce(PathBuf) -> Source) -> Source {
        match Format::of_path(&path) {
            Some(format) => Source::Table(path, format),
            None if path.extension().is_some_and(|end| end == "npz") => Source::Npz(path),
            None => other(path),
        }
    }

    /// Its files in words.
    pub fn describe(&self) -> String {
        match self {
            Source::Lines(files) => {
                files.iter().map(|(_, path)| path.display().to_string()).collect::<Vec<_>>().join(" and ")
            }
            other => other.path().display().to_string(),
        }
    }

    /// `text`, `npz`, `trees`, `csv`, `tsv`, `jsonl` or `lines`, as runs keep it.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Text(_) => "text",
            Source::Npz(_) => "npz",
            Source::Trees(_) => "trees",
            Source::Table(_, format) => format.name(),
            Source::Lines(_) => "lines",
        }
    }

    /// Where it is, as runs keep it.
    pub fn location(&self) -> String {
        match self {
            Source::Lines(files) => {
                let files: Vec<(&str, String)> =
                    files.iter().map(|(name, path)| (name.as_str(), path.display().to_string())).collect();
                // Names and paths are text, which JSON always takes.
                serde_json::to_string(&files).unwrap_or_default()
            }
            other => other.path().display().to_string(),
        }
    }

    /// The source of this kind at a location.
    pub fn of_kind(kind: &str, location: &str) -> Option<Source> {
        match kind {
            "text" => Some(Source::Text(location.into())),
            "npz" => Some(Source::Npz(location.into())),
            "trees" => Some(Source::Trees(location.into())),
            "lines" => {
                let files: Vec<(String, String)> = serde_json::from_str(location).ok()?;
                Some(Source::Lines(files.into_iter().map(|(name, path)| (name, path.into())).collect()))
            }
            format => Some(Source::Table(location.into(), Format::of_name(format)?)),
        }
    }

    /// Another file of the same kind; `None` of lines, which are several files.
    pub fn like(&self, path: &Path) -> Option<Source> {
        match self {
            Source::Text(_) => Some(Source::Text(path.into())),
            Source::Npz(_) => Some(Source::Npz(path.into())),
            Source::Trees(_) => Some(Source::Trees(path.into())),
            Source::Table(_, format) => {
                Some(Source::Table(path.into(), Format::of_path(path).unwrap_or(*format)))
            }
            Source::Lines(_) => None,
        }
    }

    /// Other data of the same kind, where its location was kept.
    pub fn like_kept(&self, location: &str) -> Option<Source> {
        match self {
            Source::Lines(_) => Source::of_kind("lines", location),
            other => other.like(Path::new(location)),
        }
    }

    /// A number that other content is unlikely to have.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn fingerprint(&self) -> Result<String, FileError> {
        let paths: Vec<&Path> = match self {
            Source::Lines(files) => files.iter().map(|(_, path)| path.as_path()).collect(),
            other => vec![other.path()],
        };
        // FNV-1a, as for the names of parameters: it only has to notice, not to resist.
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for path in paths {
            hash = files::read(path)?
                .iter()
                .fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        }
        Ok(format!("{hash:016x}"))
    }
}

/// What training has learned of its data, with which any other of the kind is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'r> {
    /// Words and labels of trees.
    pub words: Option<&'r Vocabularies>,
    /// Tokens and standards of records, and how these are read.
    pub fields: Option<(&'r Fields, &'r Reading)>,
    /// Whether of records what the model observes may be missing, since it is to be predicted.
    pub answers_may_be_missing: bool,
}

impl<'r> Known<'r> {
    /// What a run knows.
    pub fn of(meta: &'r RunMeta) -> Known<'r> {
        let fields = meta.fields.as_ref().map(|fields| (fields, &meta.settings.reading));
        Known { words: meta.words.as_ref(), fields, answers_may_be_missing: false }
    }
}

/// Why there is no data.
#[derive(Debug, Error)]
pub enum CorpusError {
    /// The text's file.
    #[error(transparent)]
    Read(TextError),
    /// The text itself.
    #[error("{}: {source}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TextError,
    },
    /// The archive.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The trees.
    #[error(transparent)]
    Trees(#[from] TreebankError),
    /// The records.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Records without what a run has learned of such.
    #[error("{} holds no vocabulary to read records with: give a run of `rnnc train --data` or `--lines`", path.display())]
    NoFields {
        /// The records.
        path: PathBuf,
    },
    /// A part without examples.
    #[error("{}: holding out {fraction} of {examples} examples leaves {part} empty", path.display())]
    EmptyPart {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        fraction: f64,
        /// Examples there are.
        examples: usize,
        /// Which part.
        part: &'static str,
    },
}

/// A text error with the file that it is about.
pub fn in_text(path: &Path, error: TextError) -> CorpusError {
    match error {
        TextError::File(_) | TextError::NotUtf8 { .. } => CorpusError::Read(error),
        source => CorpusError::Text { path: path.to_path_buf(), source },
    }
}

/// The text of a file, not empty.
///
/// # Errors
/// The file cannot be read, is not UTF-8 or empty.
pub fn text(path: &Path) -> Result<String, CorpusError> {
    let text = read_text(path).map_err(|error| in_text(path, error))?;
    if text.is_empty() {
        return Err(in_text(path, TextError::Empty));
    }
    Ok(text)
}

/// The ids of a file's characters or words.
///
/// # Errors
/// As [`text`], or a character that the vocabulary does not have.
pub fn ids(path: &Path, vocabulary: &Vocabulary) -> Result<Vec<u32>, CorpusError> {
    vocabulary.encode(&text(path)?).map_err(|error| in_text(path, error))
}

/// Ids of a text to train on, and ids to measure by.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// What they are: `characters` or `words`.
    pub unit: &'static str,
    /// To train on.
    pub training: Vec<u32>,
    /// Held out; empty if nothing is.
    pub held_out: Vec<u32>,
}

impl Stream {
    /// A text with its end held out, or with another text in the place of that.
    ///
    /// # Errors
    /// As [`ids`], or an empty part.
    pub fn load(
        path: &Path,
        valid: Option<&Path>,
        fraction: f64,
        vocabulary: &Vocabulary,
    ) -> Result<Stream, CorpusError> {
        let (all, unit) = (ids(path, vocabulary)?, vocabulary.unit());
        if let Some(valid) = valid {
            return Ok(Stream { unit, training: all, held_out: ids(valid, vocabulary)? });
        }
        let (training, held_out) = hold_out(&all, fraction).map_err(|error| in_text(path, error))?;
        Ok(Stream { unit, training: training.to_vec(), held_out: held_out.to_vec() })
    }
}

/// All examples of a source that is no text.
///
/// # Errors
/// A file cannot be read or does not fit the model.
pub fn examples(source: &Source, graph: &Graph, known: Known) -> Result<Dataset, CorpusError> {
    Ok(Examples::load(source, None, 0.0, graph, known)?.data)
}

fn trees(path: &Path, graph: &Graph, known: Known) -> Result<Dataset, CorpusError> {
    let (bank, roles) = (Treebank::read(path)?, Roles::of(graph)?);
    let trees = bank.parses()?;
    let vocabularies = known.words.cloned().unwrap_or_default();
    Ok(roles.examples(&bank, &trees, graph, &vocabularies)?)
}

/// How many of so many examples are trained on if the last `fraction` of them is held out.
///
/// # Errors
/// If a part would be empty.
pub fn cut(path: &Path, examples: usize, fraction: f64) -> Result<usize, CorpusError> {
    let cut = training_length(examples, fraction);
    let empty = |part| CorpusError::EmptyPart { path: path.to_path_buf(), fraction, examples, part };
    match cut {
        0 => Err(empty("the training part")),
        _ if cut == examples && fraction > 0.0 => Err(empty("the held-out part")),
        _ => Ok(cut),
    }
}

/// Examples to train on, and examples to measure by.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    data: Dataset,
    valid: Option<Dataset>,
    /// The first of `data` that is held out.
    cut: usize,
}

impl Examples {
    /// Examples of a source with the last of them held out, or with others in the place of these.
    ///
    /// # Errors
    /// As [`examples`], or an empty part.
    pub fn load(
        source: &Source,
        valid: Option<&Source>,
        fraction: f64,
        graph: &Graph,
        known: Known,
    ) -> Result<Examples, CorpusError> {
        let fraction = if valid.is_some() { 0.0 } else { fraction };
        let (data, cut) = match source {
            Source::Text(path) | Source::Npz(path) => {
                let data = Dataset::load(path, graph)?;
                let cut = cut(path, data.examples, fraction)?;
                (data, cut)
            }
            Source::Trees(path) => {
                let data = trees(path, graph, known)?;
                let cut = cut(path, data.examples, fraction)?;
                (data, cut)
            }
            Source::Table(..) | Source::Lines(_) => {
                let path = source.path();
                let Some((fields, reading)) = known.fields else {
                    return Err(CorpusError::NoFields { path: path.to_path_buf() });
                };
                let table = Table::read(source, reading)?;
                let training = table.training(|count| cut(path, count, fraction))?;
                let answers_may_be_missing = known.answers_may_be_missing;
                table.examples(graph, fields, Want { training, answers_may_be_missing })?
            }
        };
        let valid = valid.map(|valid| examples(valid, graph, known)).transpose()?;
        Ok(Examples { data, valid, cut })
    }

    /// All of these to train on.
    pub fn of(data: Dataset) -> Examples {
        Examples { cut: data.examples, data, valid: None }
    }

    /// All of it.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// The examples to train on.
    pub fn training(&self) -> Range<usize> {
        0..self.cut
    }

    /// The examples held out and where they are; an empty range if none are.
    pub fn held_out(&self) -> (&Dataset, Range<usize>) {
        match &self.valid {
            Some(valid) => (valid, 0..valid.examples),
            None => (&self.data, self.cut..self.data.examples),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_and_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "ab\ncd").unwrap();
        let vocabulary = Vocabulary::of("abd\n");
        let error = ids(&path, &vocabulary).unwrap_err().to_string();
        assert!(error.ends_with("a.txt: the character 'c' at line 2, column 1 is not in the vocabulary"));
        let all = Vocabulary::of("abcd\n");
        let error = Stream::load(&path, None, 1e-9, &all).unwrap_err().to_string();
        assert!(
            error.ends_with("holding out 0.000000001 of 5 characters leaves the held-out part empty"),
            "{error}"
        );
        let split = Stream::load(&path, None, 0.4, &all).unwrap();
        assert_eq!((split.training.len(), split.held_out.len()), (3, 2));
        std::fs::write(&path, "").unwrap();
        assert!(text(&path).unwrap_err().to_string().ends_with("a.txt: the text is empty"));
    }

    #[test]
    fn other_content_has_another_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Text(folder.path().join("a"));
        std::fs::write(source.path(), "a").unwrap();
        let first = source.fingerprint().unwrap();
        assert_eq!(first, "af63dc4c8601ec8c");
        std::fs::write(source.path(), "b").unwrap();
        assert_ne!(first, source.fingerprint().unwrap());
        let lines = Source::Lines(vec![("a".into(), "x/1".into()), ("b".into(), "y \"".into())]);
        for source in [source, lines, Source::Table("t".into(), Format::Tsv)] {
            assert_eq!(Source::of_kind(source.kind(), &source.location()), Some(source));
        }
    }
}
