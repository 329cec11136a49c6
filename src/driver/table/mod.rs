//! Examples from records: which input gets which field, tokens and numbers of it, windows over long series.
//!
//! ```text
//! words,label              words: id(V) over t    1 3 2 | 1 4       the dog ran | the end
//! the dog ran,good         label: id(C)           1     | 0         bad, good in the order of the alphabet
//! the end,bad
//! ```
//!
//! A record is an example, or (`rows = steps`) a step of a sequence: then the whole file is one, or what has
//! the same value in the column `group`, and windows may be cut from it. What an input is (see `roles`) follows from the
//! model alone; what training has learned of a field is in [`Fields`], and with these any other records are
//! read as the training's were.
//!
//! - `roles`: what each input of a model is read as; `cells`: one field; `steps`: sequences, windows

mod cells;
mod roles;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::corpus::Source;
use super::data::{Dataset, Input, InputAxis, Trees, Values};
use crate::ir::{Element, Graph, InputSpec};
use crate::runtime::lexicon::{Field, Fields, Lexicon, Standard};
use crate::runtime::reading::{Reading, Rows, Tokens};
use crate::runtime::records::{Records, RecordsError};
use crate::runtime::words::{Labels, Words};
use cells::{Parsed, Spelled};
use roles::{Holds, Role};

pub use roles::ids;

/// Labels that a message lists at most.
const SHOWN: usize = 12;

/// Why records are no data for a model.
#[derive(Debug, Error)]
pub enum TableError {
    /// A file, or a mistake at a place in it.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A model that records do not feed.
    #[error("model `{model}` cannot be fed by records: {reason}")]
    Model {
        /// The model.
        model: String,
        /// What it has or lacks.
        reason: String,
    },
    /// A column that is not there.
    #[error(
        "{}:1: no column `{input}` for the model's input of that name; there are: {found} (--column {input}=NAME reads \
         it from another)", path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The input.
        input: String,
        /// The columns that there are.
        found: String,
    },
    /// A file of lines that is not there.
    #[error("--lines names no file for the model's input `{input}`: it names {found}")]
    NoLines {
        /// The input.
        input: String,
        /// The inputs that there are files for.
        found: String,
    },
    /// Fewer ids than tokens.
    #[error(
        "the training part has {tokens} {what}, but `{input}` is {size} wide: --set its size to {tokens} or more, or leave it out"
    )]
    Size {
        /// Tokens there are.
        tokens: usize,
        /// `words, the unknown one among them` or `labels`.
        what: &'static str,
        /// The input.
        input: String,
        /// How many ids it takes.
        size: usize,
    },
    /// Sequences that are too short.
    #[error("{}: {part} has no window of {steps} steps: the longest sequence in it has {longest}", path.display())]
    NoWindow {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        part: &'static str,
        /// Steps of a window.
        steps: usize,
        /// Steps of the longest sequence.
        longest: usize,
    },
}

/// Records and how they are read.
#[derive(Clone, Debug)]
pub struct Table<'r> {
    records: Records,
    reading: &'r Reading,
    /// Whether each column is a file of its own.
    lines: bool,
}

/// What to make of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The rows that are trained on, the first of all.
    pub training: usize,
    /// Whether what the model observes may be missing, since it is to be predicted: of a series then only its
    /// end is read.
    pub answers_may_be_missing: bool,
}

impl<'r> Table<'r> {
    /// Reads the records of a source, which is a table or files of lines.
    ///
    /// # Errors
    /// A file cannot be read or a line is no record.
    pub fn read(source: &Source, reading: &'r Reading) -> Result<Table<'r>, TableError> {
        let records = match source {
            Source::Table(path, format) => Records::read(path, *format)?,
            Source::Lines(files) => Records::read_lines(files)?,
            Source::Text(path) | Source::Npz(path) | Source::Trees(path) => {
                return Err(RecordsError::Empty { path: path.clone(), what: "holds no records" }.into());
            }
        };
        Ok(Table { records, reading, lines: matches!(source, Source::Lines(_)) })
    }

    /// The file, the first of several.
    pub fn path(&self) -> &Path {
        self.records.path()
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Never: a file without records is an error.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The rows to train on if `cut` says how many of so many examples (or steps of a single sequence) are.
    ///
    /// # Errors
    /// Those of `cut`, or a column of groups that is not there.
    pub fn training<E: From<TableError>>(&self, cut: impl Fn(usize) -> Result<usize, E>) -> Result<usize, E> {
        if self.reading.rows == Rows::Examples {
            return cut(self.len());
        }
        let sequences = self.sequences()?;
        match &sequences[..] {
            [one] => cut(one.len()),
            several => Ok(several[cut(several.len())? - 1].end),
        }
    }

    /// The lexicons of the rows that are trained on: a token that occurs `times` often is a word. Inputs of one
    /// of the model's `dimensions` (by input) share theirs.
    ///
    /// # Errors
    /// A field is missing or of the wrong form.
    pub fn learn(
        &self,
        graph: &Graph,
        dimensions: &BTreeMap<String, String>,
        training: usize,
        times: usize,
    ) -> Result<Fields, TableError> {
        roles::check_names(graph, self.reading)?;
        let mut fields = Fields::default();
        let mut groups: BTreeMap<String, Vec<(Role, Parsed<Spelled>)>> = BTreeMap::new();
        for role in roles::roles(graph, self.reading)? {
            let mut field = Field::default();
            if role.holds != Holds::Numbers {
                let group = dimensions.get(&role.input).unwrap_or(&role.input).clone();
                let columns = self.columns(&role.input)?;
                let spelled = self.spelled(&role, &columns)?;
                (field.lexicon, field.end) = (Some(group.clone()), role.ends());
                groups.entry(group).or_default().push((role.clone(), spelled));
            }
            fields.inputs.insert(role.input, field);
        }
        // Of these a name is no label but a mistake, which is found where it is read.
        let is_number = |(role, _): &(Role, _)| self.reading.tokens(&role.input) == Tokens::Ids;
        for (group, members) in groups {
            let tokens = || members.iter().flat_map(|(_, spelled)| spelled.tokens(training));
            let lexicon = if members.iter().any(|(role, _)| matches!(role.holds, Holds::Words { .. })) {
                let end = members.iter().any(|(role, _)| role.ends());
                Lexicon::Words { words: Words::of(tokens(), times), end }
            } else if tokens().all(|token| token.parse::<u32>().is_ok()) || members.iter().any(is_number) {
                let most = tokens().filter_map(|token| token.parse::<u32>().ok()).max();
                Lexicon::Numbers(most.map_or(0, |most| most as usize + 1))
            } else {
                Lexicon::Labels(Labels::of(tokens()))
            };
            fields.lexicons.insert(group, lexicon);
        }
        Ok(fields)
    }

    /// Learns the standards of numbers, too, if they are to be standardised.
    ///
    /// # Errors
    /// A field is missing or no number.
    pub fn standardize(&self, graph: &Graph, training: usize, fields: &mut Fields) -> Result<(), TableError> {
        if !self.reading.standardize {
            return Ok(());
        }
        for (role, spec) in roles::roles(graph, self.reading)?.into_iter().zip(&graph.inputs) {
            if role.holds == Holds::Numbers {
                let numbers = self.numbers(&role, spec, &self.columns(&role.input)?)?;
                let known = &numbers.values[..numbers.starts[training] * spec.ty.size()];
                fields.inputs.entry(role.input).or_default().standard = Standard::of(known, spec.ty.size());
            }
        }
        Ok(())
    }

    /// That every token has an id in the model as it is bound.
    ///
    /// # Errors
    /// If there are more tokens than ids.
    pub fn expect_size(graph: &Graph, fields: &Fields) -> Result<(), TableError> {
        for spec in &graph.inputs {
            let (Element::Id(size), Some(lexicon)) = (spec.ty.element, fields.lexicon(&spec.name)) else {
                continue;
            };
            let what = match lexicon {
                Lexicon::Words { end: false, .. } => "words, the unknown one among them",
                Lexicon::Words { end: true, .. } => "words, the unknown one and END among them",
                Lexicon::Labels(_) => "labels",
                // Each is held against the size where it stands.
                Lexicon::Numbers(_) => continue,
            };
            if lexicon.len() > size {
                let (tokens, input) = (lexicon.len(), spec.name.clone());
                return Err(TableError::Size { tokens, what, input, size });
            }
        }
        Ok(())
    }

    /// The records as examples, and how many of them are to be trained on: the first. The others are those
    /// whose answers are not among the rows that are trained on.
    ///
    /// # Errors
    /// A field that the model cannot take, at its place.
    pub fn examples(
        &self,
        graph: &Graph,
        fields: &Fields,
        want: Want,
    ) -> Result<(Dataset, usize), TableError> {
        let mut read: Vec<(Role, &InputSpec, Parsed<Values>)> = Vec::new();
        // The end of a series is read for what comes behind it.
        let no_answers = want.answers_may_be_missing
            && self.reading.rows == Rows::Steps
            && !self.reading.window.is_empty();
        for (role, spec) in roles::roles(graph, self.reading)?.into_iter().zip(&graph.inputs) {
            if spec.observed && no_answers {
                continue;
            }
            let columns = match self.columns(&role.input) {
                Err(TableError::Missing { .. } | TableError::NoLines { .. })
                    if spec.observed && want.answers_may_be_missing =>
                {
                    continue;
                }
                columns => columns?,
            };
            if spec.observed && want.answers_may_be_missing && self.is_blank(&columns) {
                continue;
            }
            let values = match role.holds {
                Holds::Numbers => {
                    let mut numbers = self.numbers(&role, spec, &columns)?;
                    if let Some(standard) = fields.standard(&role.input) {
                        standard.apply(&mut numbers.values);
                    }
                    Parsed { starts: numbers.starts, values: Values::Real(numbers.values) }
                }
                Holds::Words { .. } | Holds::Labels => {
                    let ids = self.encoded(&role, spec, &columns, fields)?;
                    Parsed { starts: ids.starts, values: Values::Ids(ids.values) }
                }
            };
            read.push((role, spec, values));
        }
        match self.reading.rows {
            Rows::Examples => {
                let lengths = self.lengths(&read)?;
                let mut data = Dataset::new(graph, self.len(), lengths, Trees::new());
                for (_, spec, Parsed { mut starts, values }) in read {
                    starts.truncate(self.len());
                    data.inputs.push(input(graph, spec, starts, values));
                }
                Ok((data, want.training.min(self.len())))
            }
            Rows::Steps => {
                let (layouts, training) = self.windows(graph, want)?;
                let lengths = layouts.lengths();
                let mut data = Dataset::new(graph, layouts.len(), lengths, Trees::new());
                for (role, spec, Parsed { values, .. }) in read {
                    data.inputs.push(input(graph, spec, layouts.starts(role.axis.as_deref()), values));
                }
                Ok((data, training))
            }
        }
    }

    /// The lengths of examples, on which all inputs over an axis agree.
    fn lengths(
        &self,
        read: &[(Role, &InputSpec, Parsed<Values>)],
    ) -> Result<BTreeMap<String, Vec<usize>>, TableError> {
        let mut lengths: BTreeMap<String, (String, Vec<usize>)> = BTreeMap::new();
        for (role, _, parsed) in read {
            let Some(axis) = &role.axis else { continue };
            let own: Vec<usize> = parsed.starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let Some((first, known)) = lengths.get(axis) else {
                lengths.insert(axis.clone(), (role.input.clone(), own));
                continue;
            };
            if let Some(row) = (0..own.len()).find(|&row| own[row] != known[row]) {
                let problem = format!(
                    "`{}` has {} positions along `{axis}`, but `{first}` has {}",
                    role.input, own[row], known[row]
                );
                return Err(self.records.at(row, self.column(&role.input), problem).into());
            }
        }
        Ok(lengths.into_iter().map(|(axis, (_, own))| (axis, own)).collect())
    }

    /// The ids of an input's tokens, with END where it has one.
    fn encoded(
        &self,
        role: &Role,
        spec: &InputSpec,
        columns: &[usize],
        fields: &Fields,
    ) -> Result<Parsed<Vec<u32>>, TableError> {
        let spelled = self.spelled(role, columns)?;
        let size = match spec.ty.element {
            Element::Id(size) => size,
            Element::Real => 0,
        };
        let Some(lexicon) = fields.lexicon(&role.input) else {
            let model = role.input.clone();
            return Err(TableError::Model { model, reason: "its vocabulary was not saved".to_string() });
        };
        let known: Vec<Option<u32>> = spelled
            .values
            .distinct
            .iter()
            .map(|token| lexicon.id(token).filter(|&id| (id as usize) < size))
            .collect();
        let end = fields.end(&role.input);
        let mut ids = Vec::with_capacity(spelled.values.places.len());
        let mut starts = vec![0];
        for row in 0..self.len() {
            for &place in &spelled.values.places[spelled.starts[row]..spelled.starts[row + 1]] {
                let Some(id) = known[place as usize] else {
                    let token = &spelled.values.distinct[place as usize];
                    let problem = unknown(token, &role.input, lexicon, size);
                    return Err(self.records.at(row, columns[0], problem).into());
                };
                ids.push(id);
            }
            ids.extend(end);
            starts.push(ids.len());
        }
        Ok(Parsed { starts, values: ids })
    }

    /// The columns of an input: of its name, of the names that the reading has for it, `name.0`, `name.1`, …, or
    /// the only one of its name in other letters.
    fn columns(&self, input: &str) -> Result<Vec<usize>, TableError> {
        let find = |name: &str| self.records.columns().position(|own| own == name);
        if let Some(names) = self.reading.columns.get(input) {
            let purpose = format!("from which `{input}` is to be read");
            return names.iter().map(|name| self.column_named(name, &purpose)).collect();
        }
        if let Some(column) = find(input) {
            return Ok(vec![column]);
        }
        let parts: Vec<usize> = (0..).map_while(|number| find(&format!("{input}.{number}"))).collect();
        if !parts.is_empty() {
            return Ok(parts);
        }
        let alike = |name: &str| name.to_lowercase() == input.to_lowercase();
        let alike: Vec<usize> =
            (0..).zip(self.records.columns()).filter(|(_, name)| alike(name)).map(|(at, _)| at).collect();
        if alike.len() == 1 {
            return Ok(alike);
        }
        let (path, input, found) = (self.path().to_path_buf(), input.to_string(), self.names());
        Err(if self.lines {
            TableError::NoLines { input, found }
        } else {
            TableError::Missing { path, input, found }
        })
    }

    /// A column that a setting names for a purpose.
    fn column_named(&self, name: &str, purpose: &str) -> Result<usize, TableError> {
        self.records.columns().position(|own| own == name).ok_or_else(|| {
            let problem = format!("no column `{name}`, {purpose}; there are: {}", self.names());
            self.records.at(usize::MAX, 0, problem).into()
        })
    }

    /// The names of all columns, for messages.
    fn names(&self) -> String {
        self.records.columns().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// Whether no record has anything in these columns.
    fn is_blank(&self, columns: &[usize]) -> bool {
        let blank = |row: usize, column: usize| match self.records.cell(row, column) {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty(),
            _ => false,
        };
        (0..self.len()).all(|row| columns.iter().all(|&column| blank(row, column)))
    }

    /// The first column of an input, for messages.
    fn column(&self, input: &str) -> usize {
        self.columns(input).ok().and_then(|columns| columns.first().copied()).unwrap_or(0)
    }
}

fn input(graph: &Graph, spec: &InputSpec, starts: Vec<usize>, values: Values) -> Input {
    Input {
        name: spec.name.clone(),
        axes: InputAxis::of(graph, spec, |_| 1),
        width: spec.ty.size(),
        starts: Some(starts),
        values,
    }
}

/// Why a token has no id.
fn unknown(token: &str, input: &str, lexicon: &Lexicon, size: usize) -> String {
    let token = cells::short(token);
    match lexicon {
        Lexicon::Labels(labels) => {
            let names: Vec<String> = (0..labels.len().min(SHOWN) as u32)
                .filter_map(|id| Some(format!("`{}`", labels.name(id)?)))
                .collect();
            let more = if labels.len() > SHOWN { ", …" } else { "" };
            let names = names.join(", ");
            format!(
                "the label `{token}` of `{input}` does not occur in the training part, which has {names}{more}"
            )
        }
        Lexicon::Numbers(_) | Lexicon::Words { .. } => {
            let most = size.saturating_sub(1);
            format!("the label `{token}` is not a whole number from 0 to {most}, as `{input}` needs")
        }
    }
}
