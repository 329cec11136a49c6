//! What a model is trained on and measured by: a text or an archive of examples, and the held-out part.
//!
//! ```text
//! Source::Text("book.txt"), holdout 0.1   ->  ids of the first nine tenths | ids of the last tenth
//! Source::Npz("data.npz"), --valid v.npz  ->  all examples of data         | all examples of v
//! Source::Trees("train.txt"), holdout 0.1 ->  the first nine tenths        | the last tenth of its lines
//! ```
//!
//! It reads and splits; batches are made by `material`. A fingerprint tells a resumed run whether the
//! data is still the same.

use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::arrays::DataError;
use super::data::Dataset;
use super::treebank::{Roles, Treebank, TreebankError};
use crate::ir::Graph;
use crate::runtime::files::{self, FileError};
use crate::runtime::text::{TextError, Vocabulary, hold_out, read_text};
use crate::runtime::words::Vocabularies;

/// Where data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A text, one id a character.
    Text(PathBuf),
    /// An archive of examples.
    Npz(PathBuf),
    /// Trees, one a line.
    Trees(PathBuf),
}

impl Source {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Source::Text(path) | Source::Npz(path) | Source::Trees(path) => path,
        }
    }

    /// `text`, `npz` or `trees`, as runs keep it.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Text(_) => "text",
            Source::Npz(_) => "npz",
            Source::Trees(_) => "trees",
        }
    }

    /// The source of this kind at `path`.
    pub fn of_kind(kind: &str, path: &str) -> Option<Source> {
        match kind {
            "text" => Some(Source::Text(path.into())),
            "npz" => Some(Source::Npz(path.into())),
            "trees" => Some(Source::Trees(path.into())),
            _ => None,
        }
    }

    /// Another file of the same kind.
    #[must_use]
    pub fn like(&self, path: &Path) -> Source {
        match self {
            Source::Text(_) => Source::Text(path.into()),
            Source::Npz(_) => Source::Npz(path.into()),
            Source::Trees(_) => Source::Trees(path.into()),
        }
    }

    /// A number that other content is unlikely to have.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn fingerprint(&self) -> Result<String, FileError> {
        // FNV-1a, as for the names of parameters: it only has to notice, not to resist.
        let hash = files::read(self.path())?.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Ok(format!("{hash:016x}"))
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

/// The ids of a file's characters.
///
/// # Errors
/// As [`text`], or a character that the vocabulary does not have.
pub fn ids(path: &Path, vocabulary: &Vocabulary) -> Result<Vec<u32>, CorpusError> {
    vocabulary.encode(&text(path)?).map_err(|error| in_text(path, error))
}

/// Ids to train on, and ids to measure by.
#[derive(Clone, Debug, PartialEq)]
pub struct Characters {
    /// To train on.
    pub training: Vec<u32>,
    /// Held out; empty if nothing is.
    pub held_out: Vec<u32>,
}

impl Characters {
    /// A text with its end held out, or with another text in the place of that.
    ///
    /// # Errors
    /// As [`ids`], or an empty part.
    pub fn load(
        path: &Path,
        valid: Option<&Path>,
        fraction: f64,
        vocabulary: &Vocabulary,
    ) -> Result<Characters, CorpusError> {
        let all = ids(path, vocabulary)?;
        if let Some(valid) = valid {
            return Ok(Characters { training: all, held_out: ids(valid, vocabulary)? });
        }
        let (training, held_out) = hold_out(&all, fraction).map_err(|error| in_text(path, error))?;
        Ok(Characters { training: training.to_vec(), held_out: held_out.to_vec() })
    }
}

/// All examples of an archive or of trees.
///
/// # Errors
/// The file cannot be read or does not fit the model.
pub fn examples(
    source: &Source,
    graph: &Graph,
    vocabularies: Option<&Vocabularies>,
) -> Result<Dataset, CorpusError> {
    let Source::Trees(path) = source else { return Ok(Dataset::load(source.path(), graph)?) };
    let (bank, roles) = (Treebank::read(path)?, Roles::of(graph)?);
    let trees = bank.parses()?;
    let vocabularies = vocabularies.cloned().unwrap_or_default();
    Ok(roles.examples(&bank, &trees, graph, &vocabularies)?)
}

/// How many of so many examples are trained on if the last `fraction` of them is held out.
///
/// # Errors
/// If a part would be empty.
pub fn cut(path: &Path, examples: usize, fraction: f64) -> Result<usize, CorpusError> {
    // As a text is cut: the sliver keeps `0.1` of 10 from being cut at 8 by rounding.
    let cut = ((examples as f64 * (1.0 - fraction) + 1e-6).floor() as usize).min(examples);
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
    /// Examples of an archive or of trees with the last of them held out, or with another file in their
    /// place.
    ///
    /// # Errors
    /// As [`examples`], or an empty part.
    pub fn load(
        source: &Source,
        valid: Option<&Path>,
        fraction: f64,
        graph: &Graph,
        vocabularies: Option<&Vocabularies>,
    ) -> Result<Examples, CorpusError> {
        let data = examples(source, graph, vocabularies)?;
        if let Some(valid) = valid {
            let valid = source.like(valid);
            let valid = Some(examples(&valid, graph, vocabularies)?);
            return Ok(Examples { cut: data.examples, data, valid });
        }
        let cut = cut(source.path(), data.examples, fraction)?;
        Ok(Examples { data, valid: None, cut })
    }

    /// All examples to train on.
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
        let error = Characters::load(&path, None, 1e-9, &all).unwrap_err().to_string();
        assert!(
            error.ends_with("holding out 0.000000001 of 5 characters leaves the held-out part empty"),
            "{error}"
        );
        let split = Characters::load(&path, None, 0.4, &all).unwrap();
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
        assert_eq!(Source::of_kind(source.kind(), "a"), Some(Source::Text("a".into())));
    }
}
