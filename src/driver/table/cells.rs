//! One field: its tokens or its numbers.
//!
//! ```text
//! words: id(V) over t     "the dog ran"   ["the", "dog", "ran"]
//! label: id(C)            "good"   3   true
//! x: [] over t            "1 2.5 3"   [1, 2.5, 3]
//! x: [2] over t           [[1, 2], [3, 4]]   "1 2 3 4"   x.0: "1 3" and x.1: "2 4"
//! ```
//!
//! Of steps each field is one position: one token or one row of numbers.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::roles::Role;
use super::{Table, TableError};
use crate::ir::InputSpec;
use crate::runtime::reading::{Rows, Tokens};

/// Characters of a field that a message shows at most.
const SHOWN: usize = 40;

/// The values of an input in all records, one after the other.
pub(super) struct Parsed<V> {
    /// At which position each record begins, and the end of the last.
    pub starts: Vec<usize>,
    pub values: V,
}

/// Tokens, each different one kept once.
pub(super) struct Spelled {
    pub distinct: Vec<String>,
    /// By position: its place among the different ones.
    pub places: Vec<u32>,
}

impl Parsed<Spelled> {
    /// The tokens of the first rows.
    pub fn tokens(&self, rows: usize) -> impl Iterator<Item = &str> {
        let places = &self.values.places[..self.starts[rows]];
        places.iter().map(|&place| self.values.distinct[place as usize].as_str())
    }
}

impl Table<'_> {
    /// The tokens of an input.
    pub(super) fn spelled(&self, role: &Role, columns: &[usize]) -> Result<Parsed<Spelled>, TableError> {
        let input = &role.input;
        if columns.len() > 1 {
            let problem = format!("`{input}` is an id and is read from one column, not {}", columns.len());
            return Err(self.records.at(usize::MAX, columns[0], problem).into());
        }
        let sequence = role.axis.is_some() && self.reading.rows == Rows::Examples;
        let how = self.reading.tokens(input);
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut values = Spelled { distinct: Vec::new(), places: Vec::new() };
        let mut starts = vec![0];
        for row in 0..self.len() {
            let cell = self.records.cell(row, columns[0]);
            let tokens = tokens(cell, sequence.then_some(how))
                .map_err(|problem| self.records.at(row, columns[0], format!("`{input}` {problem}")))?;
            for token in tokens {
                let place = match known.get(&*token) {
                    Some(&place) => place,
                    None => {
                        let place = values.distinct.len() as u32;
                        values.distinct.push(token.to_string());
                        known.insert(token.into_owned(), place);
                        place
                    }
                };
                values.places.push(place);
            }
            starts.push(values.places.len());
        }
        Ok(Parsed { starts, values })
    }

    /// The numbers of an input.
    pub(super) fn numbers(
        &self,
        role: &Role,
        spec: &InputSpec,
        columns: &[usize],
    ) -> Result<Parsed<Vec<f64>>, TableError> {
        let (input, width) = (&role.input, spec.ty.size());
        if columns.len() > 1 && columns.len() != width {
            let (found, axes) =
                (columns.len(), spec.ty.shape.iter().map(usize::to_string).collect::<Vec<_>>());
            let problem =
                format!("{found} columns for `{input}`, which is [{}] at each place", axes.join(", "));
            return Err(self.records.at(usize::MAX, columns[0], problem).into());
        }
        let sequence = role.axis.is_some() && self.reading.rows == Rows::Examples;
        let mut values = Vec::new();
        let mut starts = vec![0];
        for row in 0..self.len() {
            let of = |column: usize, shape: &[usize]| {
                numbers(self.records.cell(row, column), sequence, shape)
                    .map_err(|problem| self.records.at(row, column, format!("`{input}` {problem}")))
            };
            if let [column] = columns {
                values.extend(of(*column, &spec.ty.shape)?);
            } else {
                let own = columns.iter().map(|&column| of(column, &[])).collect::<Result<Vec<_>, _>>()?;
                let steps = own.first().map_or(0, Vec::len);
                if let Some(uneven) = own.iter().position(|own| own.len() != steps) {
                    let problem =
                        format!("`{input}` has {steps} numbers in one column and {} here", own[uneven].len());
                    return Err(self.records.at(row, columns[uneven], problem).into());
                }
                (0..steps).for_each(|step| values.extend(own.iter().map(|own| own[step])));
            }
            starts.push(values.len() / width.max(1));
        }
        Ok(Parsed { starts, values })
    }
}

/// The tokens of a field; of one that is no sequence, exactly one.
fn tokens(cell: &Value, sequence: Option<Tokens>) -> Result<Vec<Cow<'_, str>>, String> {
    match (cell, sequence) {
        (Value::String(text), Some(how)) => Ok(how.split(text).into_iter().map(Cow::Borrowed).collect()),
        (Value::Array(list), Some(_)) => list.iter().map(scalar).collect(),
        (Value::Null, _) => Err("has no value".to_string()),
        (cell, _) => {
            let token = scalar(cell)?;
            let bare = token.trim();
            match bare.is_empty() {
                true => Err("has no value".to_string()),
                false if bare.len() == token.len() => Ok(vec![token]),
                false => Ok(vec![Cow::Owned(bare.to_string())]),
            }
        }
    }
}

/// A value as one token.
fn scalar(value: &Value) -> Result<Cow<'_, str>, String> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Number(number) => Ok(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Ok(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("is `{}`, where a text or a number is needed", short(&value.to_string())))
        }
    }
}

/// The numbers of a field, `shape` at each place, row-major.
fn numbers(cell: &Value, sequence: bool, shape: &[usize]) -> Result<Vec<f64>, String> {
    let width: usize = shape.iter().product();
    let mut found = Vec::new();
    match cell {
        Value::String(text) if text.trim_start().starts_with('[') => {
            let list = serde_json::from_str::<Value>(text);
            let list = list.map_err(|_| format!("is `{}`, which is no list of numbers", short(text)))?;
            return numbers(&list, sequence, shape);
        }
        Value::String(text) => {
            for word in text.split_whitespace() {
                found.push(number(word)?);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_array) => match sequence {
            true => list.iter().try_for_each(|place| nested(place, shape, &mut found))?,
            false => nested(cell, shape, &mut found)?,
        },
        Value::Array(list) => list.iter().try_for_each(|value| nested(value, &[], &mut found))?,
        _ => nested(cell, &[], &mut found)?,
    }
    let at_each = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    match (sequence, found.len()) {
        (true, count) if count % width.max(1) != 0 => {
            Err(format!("has {count} numbers, which are no whole number of steps of [{at_each}]"))
        }
        (false, 0) => Err("has no value".to_string()),
        (false, count) if count != width => {
            Err(format!("has {count} numbers, where [{at_each}] needs {width}"))
        }
        _ => Ok(found),
    }
}

/// Lists in lists, as deep and as long as the shape.
fn nested(value: &Value, shape: &[usize], found: &mut Vec<f64>) -> Result<(), String> {
    match (value, shape) {
        (Value::Array(list), [length, rest @ ..]) if list.len() == *length => {
            list.iter().try_for_each(|value| nested(value, rest, found))
        }
        (Value::Array(list), [length, ..]) => {
            Err(format!("has a list of {} where one of {length} is needed", list.len()))
        }
        (Value::Number(own), []) => {
            found.push(own.as_f64().unwrap_or(f64::NAN));
            Ok(())
        }
        (Value::Bool(truth), []) => {
            found.push(f64::from(u8::from(*truth)));
            Ok(())
        }
        (Value::String(text), []) => {
            found.push(number(text)?);
            Ok(())
        }
        (Value::Null, _) => Err("has no value".to_string()),
        (value, []) => Err(format!("is `{}`, which is not a number", short(&value.to_string()))),
        (value, _) => Err(format!("is `{}`, where a list of numbers is needed", short(&value.to_string()))),
    }
}

fn number(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("is `{}`, which is not a number", short(text))),
    }
}

/// The beginning of a text, for messages.
pub(super) fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown += "…";
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn tokens_of_texts_and_lists() {
        let found = |text: &str, how| tokens(&json(text), how).map(|tokens| tokens.join("|"));
        assert_eq!(found("\" the dog \"", Some(Tokens::Words)).unwrap(), "the|dog");
        assert_eq!(found("\"a b\"", Some(Tokens::Chars)).unwrap(), "a| |b");
        assert_eq!(found("[\"a b\", 3, true]", Some(Tokens::Words)).unwrap(), "a b|3|true");
        assert_eq!(found("\"\"", Some(Tokens::Words)).unwrap(), "");
        assert_eq!(found("\" New York \"", None).unwrap(), "New York");
        assert_eq!(found("7", None).unwrap(), "7");
        assert_eq!(found("\" \"", None).unwrap_err(), "has no value");
        assert_eq!(found("null", Some(Tokens::Words)).unwrap_err(), "has no value");
        assert!(found("[1]", None).unwrap_err().starts_with("is `[1]`"));
        assert!(found("[[1]]", Some(Tokens::Words)).unwrap_err().starts_with("is `[1]`"));
    }

    #[test]
    fn numbers_of_every_shape() {
        let found = |text: &str, sequence, shape: &[usize]| numbers(&json(text), sequence, shape);
        assert_eq!(found("\"1 2.5\\n-3e1\"", true, &[]).unwrap(), [1.0, 2.5, -30.0]);
        assert_eq!(found("\" 7 \"", false, &[]).unwrap(), [7.0]);
        assert_eq!(found("true", false, &[]).unwrap(), [1.0]);
        assert_eq!(found("[[1, 2], [3, 4]]", true, &[2]).unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(found("\"[[1, 2], [3, 4]]\"", true, &[2]).unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(found("[1, 2, 3, 4]", true, &[2]).unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(found("[[1, 2, 3], [4, 5, 6]]", false, &[2, 3]).unwrap().len(), 6);
        assert!(found("[]", true, &[2]).unwrap().is_empty());
        assert!(found("\"\"", true, &[]).unwrap().is_empty());
        assert_eq!(found("\"\"", false, &[]).unwrap_err(), "has no value");
        assert_eq!(
            found("[1, 2, 3]", true, &[2]).unwrap_err(),
            "has 3 numbers, which are no whole number of steps of [2]"
        );
        assert_eq!(found("[1, 2, 3]", false, &[2]).unwrap_err(), "has 3 numbers, where [2] needs 2");
        assert_eq!(
            found("[[1, 2], [3]]", true, &[2]).unwrap_err(),
            "has a list of 1 where one of 2 is needed"
        );
        assert_eq!(found("\"1 x 3\"", true, &[]).unwrap_err(), "is `x`, which is not a number");
        assert_eq!(found("\"nan\"", false, &[]).unwrap_err(), "is `nan`, which is not a number");
        assert!(found("\"[1, 2\"", true, &[]).unwrap_err().contains("no list of numbers"));
        assert_eq!(found("{\"a\": 1}", false, &[]).unwrap_err(), "is `{\"a\":1}`, which is not a number");
    }
}
