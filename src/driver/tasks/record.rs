//! A record: fields by name, as a line of JSON, which is what `rnnc train --data` reads.

use serde::Serialize;

/// A field.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Words or letters.
    Text(String),
    /// One number.
    Number(f64),
    /// One number a step.
    Numbers(Vec<f64>),
    /// A vector a step.
    Rows(Vec<Vec<f64>>),
}

/// An example with its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    fields: Vec<(&'static str, Value)>,
}

impl Record {
    /// The question's field first, then those of the answer.
    pub(super) fn new<const N: usize>(fields: [(&'static str, Value); N]) -> Record {
        Record { fields: fields.into() }
    }

    /// A field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// A field of text; of anything else none.
    #[cfg(test)]
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// What is asked, as JSON.
    pub fn question(&self) -> String {
        self.fields.first().map_or(String::new(), |(_, value)| json(value))
    }

    /// The line without its end.
    pub fn line(&self) -> String {
        let field = |(name, value): &(&str, Value)| format!("\"{name}\": {}", json(value));
        format!("{{{}}}", self.fields.iter().map(field).collect::<Vec<_>>().join(", "))
    }
}

/// Finite numbers and texts, which JSON always has a form for.
fn json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
