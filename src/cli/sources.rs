//! Flags that say where data is and how it is read, of every command that takes data.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use crate::driver::corpus::Source;
use crate::runtime::reading::{Changes, Rows, Tokens};
use crate::runtime::records::Format;

/// Data of one kind.
#[derive(Debug, Args)]
pub(super) struct Sources {
    /// A text, read character by character (--tokens words: word by word)
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Trees, one a line
    #[arg(long, value_name = "FILE")]
    trees: Option<PathBuf>,
    /// Arrays named as the model's inputs, parents of nodes as `n.parent`
    #[arg(long, value_name = "FILE")]
    npz: Option<PathBuf>,
    #[command(flatten)]
    records: RecordFlags,
}

/// Records.
#[derive(Debug, Args)]
pub(super) struct RecordFlags {
    /// Records whose fields are named as the model's inputs: CSV, TSV or JSON Lines
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The format of --data [default: by the end of its name]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// A file with a line for each example (may be repeated, one for each input)
    #[arg(long, value_name = "INPUT=FILE", value_parser = file)]
    lines: Vec<(String, PathBuf)>,
}

/// The formats of `--data`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatName {
    /// Comma-separated values below a header
    Csv,
    /// The same between tabs, without quotes
    Tsv,
    /// JSON objects, one a line
    Jsonl,
}

impl Sources {
    /// The data, if a flag names it.
    pub fn source(self) -> Result<Option<Source>, Failure> {
        let all = [self.text.map(Source::Text), self.trees.map(Source::Trees), self.npz.map(Source::Npz)];
        one(all.into_iter().flatten().chain(self.records.all()?))
    }
}

impl RecordFlags {
    /// The records, or what another flag names in their place.
    pub fn source_or(self, other: Option<Source>) -> Result<Option<Source>, Failure> {
        one(other.into_iter().chain(self.all()?))
    }

    fn all(self) -> Result<Vec<Source>, Failure> {
        let mut all = Vec::new();
        all.extend(lines("--lines", self.lines)?);
        match (self.data, self.format) {
            (None, None) => {}
            (None, Some(_)) => return Err(Failure::Usage("--format is of the file in --data".to_string())),
            (Some(path), format) => {
                let format = match format {
                    Some(FormatName::Csv) => Some(Format::Csv),
                    Some(FormatName::Tsv) => Some(Format::Tsv),
                    Some(FormatName::Jsonl) => Some(Format::Jsonl),
                    None => Format::of_path(&path),
                };
                let Some(format) = format else {
                    return Err(Failure::Usage(format!(
                        "{} ends in none of .csv, .tsv, .jsonl and .ndjson: say --format csv, tsv or jsonl",
                        path.display()
                    )));
                };
                all.push(Source::Table(path, format));
            }
        }
        Ok(all)
    }
}

/// Files whose lines belong together, if a flag names any.
pub(super) fn lines(flag: &str, files: Vec<(String, PathBuf)>) -> Result<Option<Source>, Failure> {
    let files = each_once(flag, files)?;
    Ok((!files.is_empty()).then_some(Source::Lines(files)))
}

/// Files of which a flag names one for each input or parameter.
pub(super) fn each_once(
    flag: &str,
    files: Vec<(String, PathBuf)>,
) -> Result<Vec<(String, PathBuf)>, Failure> {
    let twice = |at: &usize| files[..*at].iter().any(|(name, _)| *name == files[*at].0);
    match (1..files.len()).find(twice) {
        Some(at) => Err(Failure::Usage(format!("{flag} names `{}` twice", files[at].0))),
        None => Ok(files),
    }
}

/// The only one, if there is one.
fn one(mut sources: impl Iterator<Item = Source>) -> Result<Option<Source>, Failure> {
    match (sources.next(), sources.next()) {
        (Some(one), Some(other)) => {
            let (one, other) = (one.describe(), other.describe());
            Err(Failure::Usage(format!(
                "{one} cannot be used with {other}: a command takes data of one kind"
            )))
        }
        (one, _) => Ok(one),
    }
}

/// How a model's own records are read.
#[derive(Debug, Args)]
pub(super) struct ReadingFlags {
    /// Split texts into words, chars or ids (whole numbers), all of them or those of an input, as in source=chars
    #[arg(long, value_name = "[INPUT=]HOW", value_parser = tokens)]
    tokens: Vec<(Option<String>, Tokens)>,
    /// Read an input from other columns than that of its name
    #[arg(long, value_name = "INPUT=NAME[,NAME…]", value_parser = columns)]
    column: Vec<(String, Vec<String>)>,
    /// What a row is: examples or steps (of one sequence)
    #[arg(long, value_name = "WHAT", value_parser = rows)]
    rows: Option<Rows>,
    /// Rows with the same value in this column, one behind the other, are the steps of a sequence
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// Cut sequences of rows into windows of so many steps, along each axis, as in s=24,t=12
    #[arg(long, value_name = "[AXIS=]N", value_delimiter = ',', value_parser = window)]
    window: Vec<(String, usize)>,
    /// Give numbers mean 0 and deviation 1, by those that are trained on
    #[arg(long)]
    standardize: bool,
}

impl ReadingFlags {
    /// As the driver takes them.
    pub fn changes(self) -> Changes {
        Changes {
            tokens: self.tokens,
            columns: self.column,
            rows: self.rows,
            group: self.group,
            window: self.window,
            standardize: self.standardize,
        }
    }
}

/// `source=train.de`
pub(super) fn file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.trim().is_empty() && !path.is_empty() => {
            Ok((name.trim().to_string(), PathBuf::from(path)))
        }
        _ => Err("a file is given as in `source=train.de`".to_string()),
    }
}

fn tokens(text: &str) -> Result<(Option<String>, Tokens), String> {
    let (input, how) = match text.split_once('=') {
        Some((input, how)) => (Some(input.trim().to_string()), how),
        None => (None, text),
    };
    let how = Tokens::of_name(how.trim())
        .ok_or("texts are split into `words`, `chars` or `ids`, as in `source=chars`")?;
    Ok((input, how))
}

fn columns(text: &str) -> Result<(String, Vec<String>), String> {
    let wrong = "columns are given as in `past=Passengers` or `x=north,east`";
    let (input, names) = text.split_once('=').ok_or(wrong)?;
    let names: Vec<String> = names.split(',').map(|name| name.trim().to_string()).collect();
    if input.trim().is_empty() || names.iter().any(String::is_empty) {
        return Err(wrong.to_string());
    }
    Ok((input.trim().to_string(), names))
}

fn rows(text: &str) -> Result<Rows, String> {
    Rows::of_name(text).ok_or_else(|| "a row is one of `examples` or of `steps`".to_string())
}

fn window(text: &str) -> Result<(String, usize), String> {
    let (axis, steps) = text.split_once('=').unwrap_or(("", text));
    Ok((axis.trim().to_string(), super::count(steps.trim())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flags_say() {
        assert_eq!(file("source=a=b.txt"), Ok(("source".to_string(), "a=b.txt".into())));
        assert_eq!(tokens("chars"), Ok((None, Tokens::Chars)));
        assert_eq!(tokens("source=words"), Ok((Some("source".to_string()), Tokens::Words)));
        assert_eq!(columns("x=a, b"), Ok(("x".to_string(), vec!["a".to_string(), "b".to_string()])));
        assert_eq!((window("12"), window("s=3")), (Ok((String::new(), 12)), Ok(("s".to_string(), 3))));
        assert!(file("train.de").is_err() && file("=a").is_err() && tokens("x=letters").is_err());
        assert!(columns("x").is_err() && columns("x=a,,b").is_err() && window("s=0").is_err());
        assert!(rows("columns").is_err());
    }
}
