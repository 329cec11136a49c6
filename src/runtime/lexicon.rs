//! How the tokens of a field became ids, and how ids become tokens again.
//!
//! ```
//! use rnnc::runtime::{lexicon::Lexicon, words::Words};
//! let lexicon = Lexicon::Words { words: Words::of(["a", "dog", "a"], 1), end: true };
//! assert_eq!((lexicon.len(), lexicon.id("dog"), lexicon.id("cat"), lexicon.end()), (4, Some(2), Some(0), Some(3)));
//! assert_eq!(lexicon.token(2).as_deref(), Some("dog"));
//! ```
//!
//! Ids of words: 0 is the unknown word, then the words in the order of the alphabet, then END, where
//! sequences have one. A label is never unknown: it is a name among those of training, or a number.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::exact;
use super::words::{Labels, Words};

/// The tokens of a field, or of several that share their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lexicon {
    /// Words (or characters), those that training lacks among them.
    Words {
        /// Known ones.
        words: Words,
        /// Whether END has an id.
        end: bool,
    },
    /// Names.
    Labels(Labels),
    /// Whole numbers, which are their own ids: this many.
    Numbers(usize),
}

impl Lexicon {
    /// How many ids: the `V` of a model.
    pub fn len(&self) -> usize {
        match self {
            Lexicon::Words { words, end } => words.len() + usize::from(*end),
            Lexicon::Labels(labels) => labels.len(),
            Lexicon::Numbers(count) => *count,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of a token: of an unknown word 0, of an unknown label none.
    pub fn id(&self, token: &str) -> Option<u32> {
        match self {
            Lexicon::Words { words, .. } => Some(words.id(token)),
            Lexicon::Labels(labels) => labels.id(token),
            Lexicon::Numbers(_) => token.parse().ok(),
        }
    }

    /// The token of an id; none for the unknown word, for END and for what is no id.
    pub fn token(&self, id: u32) -> Option<Cow<'_, str>> {
        match self {
            Lexicon::Words { words, .. } => words.word(id).map(Cow::Borrowed),
            Lexicon::Labels(labels) => labels.name(id).map(Cow::Borrowed),
            Lexicon::Numbers(_) => Some(Cow::Owned(id.to_string())),
        }
    }

    /// The id of END.
    pub fn end(&self) -> Option<u32> {
        match self {
            Lexicon::Words { words, end: true } => Some(words.len() as u32),
            Lexicon::Words { .. } | Lexicon::Labels(_) | Lexicon::Numbers(_) => None,
        }
    }

    /// The id of the unknown word.
    pub fn unknown(&self) -> Option<u32> {
        matches!(self, Lexicon::Words { .. }).then_some(0)
    }
}

/// Mean and deviation of each element of an input in the training part: a model sees `(x - mean) / deviation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standard {
    /// One an element.
    #[serde(with = "exact::list")]
    pub mean: Vec<f64>,
    /// One an element; 1 where all values are equal.
    #[serde(with = "exact::list")]
    pub deviation: Vec<f64>,
}

impl Standard {
    /// Of rows of `width` elements; `None` where they are all 0 or 1, which are answers rather than measures.
    pub fn of(values: &[f64], width: usize) -> Option<Standard> {
        if values.iter().all(|value| *value == 0.0 || *value == 1.0) {
            return None;
        }
        let count = (values.len() / width.max(1)).max(1) as f64;
        let column = |element: usize| values.iter().skip(element).step_by(width.max(1));
        let mean: Vec<f64> = (0..width).map(|element| column(element).sum::<f64>() / count).collect();
        let deviation = |element: usize| {
            let squares = column(element).map(|value| (value - mean[element]).powi(2)).sum::<f64>();
            let deviation = (squares / count).sqrt();
            if deviation > 0.0 { deviation } else { 1.0 }
        };
        let deviation = (0..width).map(deviation).collect();
        Some(Standard { mean, deviation })
    }

    /// As a model sees them: rows of elements, one after the other.
    pub fn apply(&self, values: &mut [f64]) {
        for (at, value) in values.iter_mut().enumerate() {
            let element = at % self.mean.len().max(1);
            *value = (*value - self.mean[element]) / self.deviation[element];
        }
    }

    /// As they are in files: the other way round of [`Standard::apply`].
    pub fn undo(&self, values: &mut [f64]) {
        for (at, value) in values.iter_mut().enumerate() {
            let element = at % self.mean.len().max(1);
            *value = *value * self.deviation[element] + self.mean[element];
        }
    }
}

/// What training has learned of one field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// The lexicon of its ids, by name.
    pub lexicon: Option<String>,
    /// Whether each of its sequences ends with END.
    pub end: bool,
    /// How its numbers are standardised, if they are.
    pub standard: Option<Standard>,
}

/// What training has learned of the fields of its records: needed to read any others for the same model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fields {
    /// By input.
    pub inputs: BTreeMap<String, Field>,
    /// By the dimension whose size they are, or by the only input that they are for.
    pub lexicons: BTreeMap<String, Lexicon>,
}

impl Fields {
    /// The lexicon of an input.
    pub fn lexicon(&self, input: &str) -> Option<&Lexicon> {
        self.lexicons.get(self.inputs.get(input)?.lexicon.as_ref()?)
    }

    /// The id with which the sequences of an input end, if they do.
    pub fn end(&self, input: &str) -> Option<u32> {
        let ends = self.inputs.get(input).is_some_and(|field| field.end);
        self.lexicon(input).filter(|_| ends)?.end()
    }

    /// How an input's numbers are standardised, if they are.
    pub fn standard(&self, input: &str) -> Option<&Standard> {
        self.inputs.get(input)?.standard.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_its_token() {
        let words = Lexicon::Words { words: Words::of(["b", "a", "b"], 1), end: true };
        let labels = Lexicon::Labels(Labels::of(["no", "yes"]));
        for lexicon in [&words, &labels, &Lexicon::Numbers(3)] {
            for id in 0..lexicon.len() as u32 {
                let known = Some(id) != lexicon.end() && Some(id) != lexicon.unknown();
                assert_eq!(lexicon.token(id).and_then(|token| lexicon.id(&token)), known.then_some(id));
            }
            let text = serde_json::to_string(lexicon).unwrap();
            assert_eq!(&serde_json::from_str::<Lexicon>(&text).unwrap(), lexicon);
        }
        assert_eq!((words.end(), words.id("c"), labels.id("c")), (Some(3), Some(0), None));
        assert_eq!(words.token(4), None);
    }

    #[test]
    fn standardised_and_back() {
        let mut values = [1.0, 5.0, 3.0, 5.0];
        let standard = Standard::of(&values, 2).unwrap();
        assert_eq!((&standard.mean[..], &standard.deviation[..]), (&[2.0, 5.0][..], &[1.0, 1.0][..]));
        standard.apply(&mut values);
        assert_eq!(values, [-1.0, 0.0, 1.0, 0.0]);
        standard.undo(&mut values);
        assert_eq!(values, [1.0, 5.0, 3.0, 5.0]);
        assert_eq!(Standard::of(&[0.0, 1.0, 1.0], 1), None);
    }
}
