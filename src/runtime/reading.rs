//! How records become examples: what a model's `train { … }` block and the command's flags say of it.
//!
//! ```
//! use rnnc::runtime::reading::{Reading, Tokens};
//! use rnnc::runtime::settings::{SettingValue, SettingsError};
//! let mut reading = Reading::default();
//! reading.set("tokens", &SettingValue::Name("chars".to_string()))?;
//! assert_eq!(reading.tokens("text"), Tokens::Chars);
//! # Ok::<(), SettingsError>(())
//! ```
//!
//! ```text
//! tokens = words                                tokens = each(source = chars, target = words)
//! columns = each(past = Passengers, future = Passengers)
//! rows = steps     group = station              window = 36     window = each(s = 24, t = 12)
//! standardize = true                            like_length = false
//! ```
//!
//! Reading itself is done elsewhere; a run keeps all of this, so that other data is read as its own was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::{Argument, SettingValue, SettingsError, unknown};

/// The keys of a `train` block that are of reading.
pub const KEYS: &[&str] = &["tokens", "columns", "rows", "group", "window", "standardize", "like_length"];

/// How a text becomes a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tokens {
    /// What stands between white space.
    #[default]
    Words,
    /// Every character, white space too.
    Chars,
    /// Whole numbers between white space, which are ids already.
    Ids,
}

impl Tokens {
    /// `words`, `chars` or `ids`.
    pub fn of_name(name: &str) -> Option<Tokens> {
        match name {
            "words" => Some(Tokens::Words),
            "chars" => Some(Tokens::Chars),
            "ids" => Some(Tokens::Ids),
            _ => None,
        }
    }

    /// The tokens of a text.
    pub fn split(self, text: &str) -> Vec<&str> {
        match self {
            Tokens::Words | Tokens::Ids => text.split_whitespace().collect(),
            Tokens::Chars => text.char_indices().map(|(at, own)| &text[at..at + own.len_utf8()]).collect(),
        }
    }

    /// The text of tokens.
    pub fn join<S: AsRef<str>>(self, tokens: &[S]) -> String {
        let between = if self == Tokens::Chars { "" } else { " " };
        tokens.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(between)
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// An example.
    #[default]
    Examples,
    /// A step of a sequence.
    Steps,
}

impl Rows {
    /// `examples` or `steps`.
    pub fn of_name(name: &str) -> Option<Rows> {
        match name {
            "examples" => Some(Rows::Examples),
            "steps" => Some(Rows::Steps),
            _ => None,
        }
    }
}

/// How records are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// Tokens of the texts that nothing else is said of; none: words, and of a plain text characters.
    pub all_tokens: Option<Tokens>,
    /// Tokens by input.
    pub tokens: BTreeMap<String, Tokens>,
    /// The columns of inputs that are not named as these.
    pub columns: BTreeMap<String, Vec<String>>,
    /// What a record is.
    pub rows: Rows,
    /// The column that tells the sequence of a step.
    pub group: Option<String>,
    /// Steps of a window along each axis; `""`: along the only one.
    pub window: BTreeMap<String, usize>,
    /// Whether numbers get mean 0 and deviation 1.
    pub standardize: bool,
    /// Whether the examples of a batch are of like length.
    pub like_length: bool,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            all_tokens: None,
            tokens: BTreeMap::new(),
            columns: BTreeMap::new(),
            rows: Rows::Examples,
            group: None,
            window: BTreeMap::new(),
            standardize: false,
            like_length: true,
        }
    }
}

impl Reading {
    /// How the texts of an input are split.
    pub fn tokens(&self, input: &str) -> Tokens {
        self.tokens.get(input).copied().or(self.all_tokens).unwrap_or_default()
    }

    /// The window along an axis, of which the model has `axes`.
    pub fn window(&self, axis: &str, axes: usize) -> Option<usize> {
        self.window.get(axis).or(self.window.get("").filter(|_| axes == 1)).copied()
    }

    /// Changes one setting.
    ///
    /// # Errors
    /// A key that is none of [`KEYS`], or a value that it does not take. Nothing is then changed.
    pub fn set(&mut self, key: &str, value: &SettingValue) -> Result<(), SettingsError> {
        let wrong = |expected: &'static str| SettingsError::Value {
            key: key.to_string(),
            expected,
            found: value.to_string(),
        };
        let absent = matches!(value, SettingValue::Name(name) if name == "none");
        match key {
            "tokens" => {
                let expected = "words, chars, ids, or one for each input as in each(source = chars)";
                if let SettingValue::Name(name) = value {
                    self.all_tokens = Some(Tokens::of_name(name).ok_or_else(|| wrong(expected))?);
                } else {
                    let token = |value: &SettingValue| Tokens::of_name(name(value)?);
                    self.tokens = each(value, token).ok_or_else(|| wrong(expected))?;
                }
            }
            "columns" => {
                let expected = "a column for each input, as in each(past = Passengers)";
                let column = |value: &SettingValue| Some(vec![name(value)?.to_string()]);
                self.columns = each(value, column).ok_or_else(|| wrong(expected))?;
            }
            "rows" => {
                let rows = name(value).and_then(Rows::of_name);
                self.rows = rows.ok_or_else(|| wrong("examples or steps"))?;
            }
            "group" if absent => self.group = None,
            "group" => {
                self.group = Some(name(value).ok_or_else(|| wrong("the name of a column"))?.to_string())
            }
            "window" if absent => self.window.clear(),
            "window" => {
                let expected = "a number of steps, or one for each axis as in each(s = 24, t = 12)";
                self.window = match steps(value) {
                    Some(steps) => BTreeMap::from([(String::new(), steps)]),
                    None => each(value, steps).ok_or_else(|| wrong(expected))?,
                };
            }
            "standardize" => self.standardize = flag(value).ok_or_else(|| wrong("true or false"))?,
            "like_length" => self.like_length = flag(value).ok_or_else(|| wrong("true or false"))?,
            _ => return Err(unknown("setting", key, KEYS)),
        }
        Ok(())
    }
}

/// What flags say of reading, over what a model says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Tokens of one input, or of all that nothing is said of.
    pub tokens: Vec<(Option<String>, Tokens)>,
    /// Columns by input.
    pub columns: Vec<(String, Vec<String>)>,
    /// What a record is.
    pub rows: Option<Rows>,
    /// The column that tells the sequence of a step.
    pub group: Option<String>,
    /// Steps of a window along an axis (`""`: along the only one).
    pub window: Vec<(String, usize)>,
    /// Whether numbers are standardised; nothing said where false.
    pub standardize: bool,
}

impl Changes {
    /// The reading with these changes.
    #[must_use]
    pub fn over(&self, reading: &Reading) -> Reading {
        let mut changed = reading.clone();
        for (input, tokens) in &self.tokens {
            match input {
                Some(input) => drop(changed.tokens.insert(input.clone(), *tokens)),
                None => changed.all_tokens = Some(*tokens),
            }
        }
        changed.columns.extend(self.columns.iter().cloned());
        changed.rows = self.rows.unwrap_or(changed.rows);
        changed.group = self.group.clone().or(changed.group);
        if !self.window.is_empty() {
            changed.window = self.window.iter().cloned().collect();
        }
        changed.standardize |= self.standardize;
        changed
    }
}

fn name(value: &SettingValue) -> Option<&str> {
    match value {
        SettingValue::Name(name) => Some(name),
        SettingValue::Number(_) | SettingValue::Text(_) | SettingValue::Call(..) => None,
    }
}

fn steps(value: &SettingValue) -> Option<usize> {
    match value {
        SettingValue::Number(x) if x.fract() == 0.0 && *x >= 1.0 && *x <= f64::from(u32::MAX) => {
            Some(*x as usize)
        }
        SettingValue::Number(_) | SettingValue::Name(_) | SettingValue::Text(_) | SettingValue::Call(..) => {
            None
        }
    }
}

fn flag(value: &SettingValue) -> Option<bool> {
    match value {
        SettingValue::Name(name) if name == "true" => Some(true),
        SettingValue::Name(name) if name == "false" => Some(false),
        SettingValue::Number(1.0) => Some(true),
        SettingValue::Number(0.0) => Some(false),
        SettingValue::Number(_) | SettingValue::Name(_) | SettingValue::Text(_) | SettingValue::Call(..) => {
            None
        }
    }
}

/// `each(name = value, …)`
fn each<T>(value: &SettingValue, read: impl Fn(&SettingValue) -> Option<T>) -> Option<BTreeMap<String, T>> {
    let SettingValue::Call(function, arguments) = value else { return None };
    let one = |Argument { name, value }: &Argument| Some((name.clone()?, read(value)?));
    (function == "each").then(|| arguments.iter().map(one).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use SettingValue::{Call, Name, Number};

    fn each(pairs: &[(&str, SettingValue)]) -> SettingValue {
        let argument = |(name, value): &(&str, SettingValue)| Argument {
            name: Some(name.to_string()),
            value: value.clone(),
        };
        Call("each".to_string(), pairs.iter().map(argument).collect())
    }

    #[test]
    fn what_is_said_holds_for_what_it_names() {
        let mut reading = Reading::default();
        let word = |text: &str| Name(text.to_string());
        reading.set("tokens", &word("chars")).unwrap();
        reading.set("tokens", &each(&[("target", word("words"))])).unwrap();
        assert_eq!((reading.tokens("source"), reading.tokens("target")), (Tokens::Chars, Tokens::Words));
        reading.set("window", &Number(36.0)).unwrap();
        assert_eq!((reading.window("t", 1), reading.window("t", 2)), (Some(36), None));
        reading.set("window", &each(&[("s", Number(24.0)), ("t", Number(12.0))])).unwrap();
        assert_eq!((reading.window("s", 2), reading.window("t", 2)), (Some(24), Some(12)));
        for (key, value) in [("rows", "steps"), ("standardize", "true"), ("group", "station")] {
            reading.set(key, &word(value)).unwrap();
        }
        let text = serde_json::to_string(&reading).unwrap();
        assert_eq!(serde_json::from_str::<Reading>(&text).unwrap(), reading);
        for (key, value) in [
            ("tokens", word("letters")),
            ("tokens", each(&[("a", Number(1.0))])),
            ("rows", word("columns")),
            ("window", Number(0.0)),
            ("window", Call("all".to_string(), vec![])),
            ("standardize", Number(2.0)),
            ("like_length", Number(2.0)),
        ] {
            let before = reading.clone();
            let error = reading.set(key, &value).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}` is ")), "{error}");
            assert_eq!(reading, before);
        }
        let error = reading.set("like_lengths", &word("false")).unwrap_err().to_string();
        assert!(
            error.starts_with("no setting is named `like_lengths` (did you mean `like_length`?)"),
            "{error}"
        );
        assert!(reading.like_length);
    }

    #[test]
    fn texts_are_split_and_joined() {
        assert_eq!(Tokens::Words.split(" a  dog\tran\u{a0}"), ["a", "dog", "ran"]);
        assert_eq!(Tokens::Chars.split("zü 1"), ["z", "ü", " ", "1"]);
        assert!(Tokens::Words.split("").is_empty());
        assert_eq!(Tokens::Words.join(&["a", "dog"]), "a dog");
        assert_eq!(Tokens::Chars.join(&["a", "b"]), "ab");
        assert_eq!(Tokens::Ids.join(&Tokens::Ids.split("3  1")), "3 1");
    }
}
