//! Files of records: named fields, one record a line (or a row), each with the place it is from.
//!
//! ```
//! use rnnc::runtime::records::{Format, Records};
//! let records = Records::parse("r.csv".as_ref(), Format::Csv, "words,label\na good film,1\n\"so, so\",0\n")?;
//! assert_eq!((records.len(), records.columns().collect::<Vec<_>>()), (2, vec!["words", "label"]));
//! assert_eq!(records.cell(1, 0), "so, so");
//! # Ok::<(), rnnc::runtime::records::RecordsError>(())
//! ```
//!
//! | format | a record is |
//! | --- | --- |
//! | CSV | a row below the header, fields between commas, quoted as RFC 4180 has it |
//! | TSV | the same between tabs, where a quote is a character like any other |
//! | JSON Lines | an object; fields may be lists |
//! | lines | the lines of several files at one place |
//!
//! A field is a JSON value: of all but JSON Lines a string. What it means is not known here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::text::{TextError, read_text};

/// Why a file has no records.
#[derive(Debug, Error)]
pub enum RecordsError {
    /// The file cannot be read, or is not UTF-8.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A mistake in a line.
    #[error("{}:{line}: {problem}", path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Nothing in it.
    #[error("{} {what}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// `is empty`, or what else it lacks.
        what: &'static str,
    },
    /// Files that are no pairs of lines.
    #[error(
        "{} has {} lines and {} has {}: files of --lines are read line by line, each line with those of the same number",
        first.0.display(), first.1, other.0.display(), other.1
    )]
    Uneven {
        /// A file and how many lines it has.
        first: (PathBuf, usize),
        /// One with another number of them.
        other: (PathBuf, usize),
    },
}

/// How a file holds records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// Tab-separated values.
    Tsv,
    /// JSON objects, one a line.
    Jsonl,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 3] = [Format::Csv, Format::Tsv, Format::Jsonl];

    /// `csv`, `tsv`, `jsonl`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Jsonl => "jsonl",
        }
    }

    /// The format of this name.
    pub fn of_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// What the end of a file's name says.
    pub fn of_path(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "tsv" | "tab" => Some(Format::Tsv),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Records of one form.
#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    /// The file, or that of each column.
    files: Vec<PathBuf>,
    columns: Vec<String>,
    /// The line at which each record begins, from 1.
    lines: Vec<usize>,
    /// Row-major; null where a record has no such field.
    cells: Vec<Value>,
}

impl Records {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is not UTF-8 or empty, or a line is no record.
    pub fn read(path: &Path, format: Format) -> Result<Records, RecordsError> {
        Records::parse(path, format, &read_text(path)?)
    }

    /// Reads files whose lines belong together, each under the name of its column.
    ///
    /// # Errors
    /// One cannot be read, is not UTF-8 or empty, or they have different numbers of lines.
    pub fn read_lines(files: &[(String, PathBuf)]) -> Result<Records, RecordsError> {
        let mut texts: Vec<Vec<Value>> = Vec::new();
        for (_, path) in files {
            let text = read_text(path)?;
            let own: Vec<Value> = unmarked(&text).lines().map(Value::from).collect();
            if own.is_empty() {
                return Err(RecordsError::Empty { path: path.clone(), what: "is empty" });
            }
            if let Some(first) = texts.first().map(Vec::len).filter(|first| *first != own.len()) {
                let first = (files[0].1.clone(), first);
                return Err(RecordsError::Uneven { first, other: (path.clone(), own.len()) });
            }
            texts.push(own);
        }
        let rows = texts.first().map_or(0, Vec::len);
        let mut cells = Vec::with_capacity(rows * texts.len());
        for row in 0..rows {
            cells.extend(texts.iter_mut().map(|own| own[row].take()));
        }
        let (columns, files) = files.iter().cloned().unzip();
        Ok(Records { files, columns, lines: (1..=rows).collect(), cells })
    }

    /// The records of a text; `path` is for messages.
    ///
    /// # Errors
    /// It is empty, or a line is no record.
    pub fn parse(path: &Path, format: Format, text: &str) -> Result<Records, RecordsError> {
        let text = unmarked(text);
        if text.trim().is_empty() {
            return Err(RecordsError::Empty { path: path.to_path_buf(), what: "is empty" });
        }
        let records = match format {
            Format::Csv => separated(path, text, b','),
            Format::Tsv => separated(path, text, b'\t'),
            Format::Jsonl => objects(path, text),
        }?;
        if records.is_empty() {
            return Err(RecordsError::Empty { path: path.to_path_buf(), what: "has a header, but no row" });
        }
        Ok(records)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The names of the fields.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(String::as_str)
    }

    /// A field; null where there is none.
    pub fn cell(&self, row: usize, column: usize) -> &Value {
        &self.cells[row * self.columns.len() + column]
    }

    /// The file, the first of several.
    pub fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// A mistake in a field.
    pub fn at(&self, row: usize, column: usize, problem: String) -> RecordsError {
        let path = self.files.get(column).unwrap_or(&self.files[0]).clone();
        RecordsError::At { path, line: self.lines.get(row).copied().unwrap_or(1), problem }
    }
}

/// The text without the mark of the byte order.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Rows of fields between separators, the first of them names.
fn separated(path: &Path, text: &str, separator: u8) -> Result<Records, RecordsError> {
    let at = |line: usize, problem: String| RecordsError::At { path: path.to_path_buf(), line, problem };
    let quoting = separator == b',';
    if quoting && let Some((line, problem)) = misquoted(text, separator) {
        return Err(at(line, problem.to_string()));
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .quoting(quoting)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut columns: Option<Vec<String>> = None;
    let (mut lines, mut cells) = (Vec::new(), Vec::new());
    let (mut line, mut counted) = (1, 0);
    for record in reader.records() {
        let record = record.map_err(|error| at(1, error.to_string()))?;
        // Empty lines before a record are passed over; the crate has them begin it.
        let begins = record.position().map_or(0, |position| position.byte() as usize);
        let begins = begins + text[begins..].bytes().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        line += text[counted..begins].matches('\n').count();
        counted = begins;
        let Some(names) = &columns else {
            let names: Vec<String> = record.iter().map(|name| name.trim().to_string()).collect();
            if let Some(twice) = (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
                return Err(at(line, format!("two columns are named `{}`", names[twice])));
            }
            columns = Some(names);
            continue;
        };
        if record.len() != names.len() {
            let (found, wanted) = (fields(record.len()), fields(names.len()));
            return Err(at(line, format!("a row of {found} where the header has {wanted}")));
        }
        lines.push(line);
        cells.extend(record.iter().map(Value::from));
    }
    Ok(Records { files: vec![path.to_path_buf()], columns: columns.unwrap_or_default(), lines, cells })
}

fn fields(count: usize) -> String {
    if count == 1 { "1 field".to_string() } else { format!("{count} fields") }
}

/// The first line with quotes that do not pair. (The `csv` crate reads on, to the end of the file if it
/// must, so that a forgotten quote would make one record of many.)
fn misquoted(text: &str, separator: u8) -> Option<(usize, &'static str)> {
    #[derive(PartialEq)]
    enum State {
        FieldStart,
        Plain,
        Quoted(usize),
        Closed,
    }
    let mut state = State::FieldStart;
    let mut line = 1;
    for byte in text.bytes() {
        state = match (state, byte) {
            (State::Quoted(_), b'"') => State::Closed,
            (State::Quoted(opened), _) => State::Quoted(opened),
            // Two quotes are one in the field; the line of the first is as good as any.
            (State::Closed, b'"') => State::Quoted(line),
            (State::FieldStart, b'"') => State::Quoted(line),
            (_, b'\n' | b'\r') => State::FieldStart,
            (_, byte) if byte == separator => State::FieldStart,
            (State::Closed, _) => {
                return Some((
                    line,
                    "text behind a closing quote (a quote inside a quoted field is written \"\")",
                ));
            }
            _ => State::Plain,
        };
        line += usize::from(byte == b'\n');
    }
    match state {
        State::Quoted(opened) => Some((opened, "a quote that is not closed")),
        State::FieldStart | State::Plain | State::Closed => None,
    }
}

/// Objects, one a line; empty lines are passed over.
fn objects(path: &Path, text: &str) -> Result<Records, RecordsError> {
    let at = |line: usize, problem: String| RecordsError::At { path: path.to_path_buf(), line, problem };
    let mut columns: Vec<String> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows: Vec<(usize, Vec<(usize, Value)>)> = Vec::new();
    for (number, own) in text.lines().enumerate().filter(|(_, own)| !own.trim().is_empty()) {
        let line = number + 1;
        let value = serde_json::from_str(own).map_err(|error| {
            // The crate counts lines of what it was given, which is one.
            let (reason, column) = (error.to_string(), error.column());
            let reason = reason.split(" at line ").next().unwrap_or_default().to_string();
            at(line, format!("no JSON: {reason} (column {column})"))
        })?;
        let Value::Object(fields) = value else {
            return Err(at(line, "a line of JSON Lines is an object, `{\"name\": value, …}`".to_string()));
        };
        let mut row = Vec::new();
        for (name, value) in fields {
            let place = *places.entry(name.clone()).or_insert_with(|| {
                columns.push(name);
                columns.len() - 1
            });
            row.push((place, value));
        }
        rows.push((line, row));
    }
    let mut cells = vec![Value::Null; rows.len() * columns.len()];
    let mut lines = Vec::with_capacity(rows.len());
    for (number, (line, row)) in rows.into_iter().enumerate() {
        lines.push(line);
        for (place, value) in row {
            cells[number * columns.len() + place] = value;
        }
    }
    Ok(Records { files: vec![path.to_path_buf()], columns, lines, cells })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(format: Format, text: &str) -> Result<Records, String> {
        Records::parse("f".as_ref(), format, text).map_err(|error| error.to_string())
    }

    fn rows(records: &Records) -> Vec<Vec<&Value>> {
        let width = records.columns().count();
        (0..records.len()).map(|row| (0..width).map(|column| records.cell(row, column)).collect()).collect()
    }

    #[test]
    fn the_same_records_in_every_format() {
        let csv = parse(Format::Csv, "\u{feff}a, b\n\"x, \"\"y\"\"\",1\r\n5\" z,\n").unwrap();
        assert_eq!(rows(&csv), [["x, \"y\"", "1"], ["5\" z", ""]]);
        let tsv = parse(Format::Tsv, "a\tb\nx, \"y\"\t1\n5\" z\t").unwrap();
        assert_eq!(rows(&csv), rows(&tsv));
        let jsonl =
            parse(Format::Jsonl, "{\"a\": \"x\", \"b\": [1, 2]}\n\n{\"c\": true, \"b\": 1.5}\n").unwrap();
        assert_eq!(jsonl.columns().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!((jsonl.cell(1, 0), jsonl.cell(1, 1)), (&Value::Null, &Value::from(1.5)));
        assert_eq!(jsonl.at(1, 0, "no".into()).to_string(), "f:3: no");
    }

    #[test]
    fn what_is_no_record_is_said_with_its_line() {
        let csv = |text: &str| parse(Format::Csv, text).unwrap_err();
        assert_eq!(csv(""), "f is empty");
        assert_eq!(csv(" \n\n"), "f is empty");
        assert_eq!(csv("a,b\n"), "f has a header, but no row");
        assert_eq!(csv("a,b\n1,2\n\n1,2,3\n"), "f:4: a row of 3 fields where the header has 2 fields");
        assert_eq!(csv("a,b\n1,2\n1\n"), "f:3: a row of 1 field where the header has 2 fields");
        assert_eq!(csv("a,a\n1,2\n"), "f:1: two columns are named `a`");
        assert_eq!(csv("a,b\n1,2\n\"x,3\n1,2\n"), "f:3: a quote that is not closed");
        assert!(csv("a,b\n\"x\ny\"z,3\n").starts_with("f:3: text behind a closing quote"));
        let jsonl = |text: &str| parse(Format::Jsonl, text).unwrap_err();
        assert!(jsonl("{}\n{\"a\": }\n").starts_with("f:2: no JSON: expected value (column 7)"));
        assert!(jsonl("{\"a\": 1}\n[1]\n").starts_with("f:2: a line of JSON Lines is an object"));
        // A quoted field may have lines of its own.
        assert!(csv("a,b\n\"x\n\ny\",3\n4\n").starts_with("f:5: a row of 1 field"));
    }

    #[test]
    fn lines_that_belong_together() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            (name.to_string(), folder.path().join(name))
        };
        let (de, en) = (file("de", "ein Hund\r\nzwei\n\n"), file("en", "a dog\ntwo\n"));
        let error = Records::read_lines(&[de.clone(), en.clone()]).unwrap_err().to_string();
        assert!(error.contains("de has 3 lines and ") && error.contains("en has 2"), "{error}");
        let en = file("en", "a dog\ntwo\n\n");
        let records = Records::read_lines(&[de, en]).unwrap();
        assert_eq!(rows(&records), [["ein Hund", "a dog"], ["zwei", "two"], ["", ""]]);
        assert!(records.at(1, 1, "no".into()).to_string().ends_with("en:2: no"));
        let empty = file("none", "");
        assert!(Records::read_lines(&[empty]).unwrap_err().to_string().ends_with("none is empty"));
        assert_eq!(Format::of_path(Path::new("a/b.NDJSON")), Some(Format::Jsonl));
        assert_eq!(Format::of_path(Path::new("a/b.txt")), None);
    }
}
