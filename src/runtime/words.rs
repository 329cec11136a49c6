//! Words and labels as ids: the vocabularies of a treebank.
//!
//! ```
//! use rnnc::runtime::words::Words;
//! let words = Words::of(["a", "film", "a"], 1);
//! assert_eq!((words.len(), words.id("a"), words.id("film"), words.id("plot")), (3, 1, 2, 0));
//! ```
//!
//! They are built from what is trained on alone and saved with the run, so that any other text is read
//! as the training's was. Segmenting a text into words is not done here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A list that is not one of different words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the vocabulary is not in the order of the alphabet at {0:?}")]
pub struct Disorder(String);

/// Words in the order of the alphabet; a word's id is its place, from 1. Id 0 is the unknown word.
///
/// Written to files as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Words {
    words: Vec<String>,
}

impl Words {
    /// Those that occur at least `times` often.
    pub fn of<'t>(words: impl IntoIterator<Item = &'t str>, times: usize) -> Words {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for word in words {
            *counts.entry(word).or_default() += 1;
        }
        let frequent = counts.into_iter().filter(|(_, count)| *count >= times);
        Words { words: frequent.map(|(word, _)| word.to_string()).collect() }
    }

    /// How many ids, that of the unknown word included: the `V` of a model.
    pub fn len(&self) -> usize {
        self.words.len() + 1
    }

    /// Never: there is the unknown word.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The id of a word, 0 if it is unknown.
    pub fn id(&self, word: &str) -> u32 {
        self.words.binary_search_by(|own| own.as_str().cmp(word)).map_or(0, |place| place as u32 + 1)
    }

    /// The word of an id; none for the unknown one.
    pub fn word(&self, id: u32) -> Option<&str> {
        self.words.get((id as usize).checked_sub(1)?).map(String::as_str)
    }
}

/// Names of labels in the order of the alphabet; a label's id is its place, from 0.
///
/// Written to files as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Labels {
    names: Vec<String>,
}

impl Labels {
    /// All of these.
    pub fn of<'t>(names: impl IntoIterator<Item = &'t str>) -> Labels {
        let distinct: std::collections::BTreeSet<&str> = names.into_iter().collect();
        Labels { names: distinct.into_iter().map(str::to_string).collect() }
    }

    /// How many: the `C` of a model.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The id of a label.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.names.binary_search_by(|own| own.as_str().cmp(name)).ok().map(|place| place as u32)
    }

    /// The label of an id.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.names.get(id as usize).map(String::as_str)
    }
}

/// The list, if it is in strictly ascending order.
fn ascending(list: Vec<String>) -> Result<Vec<String>, Disorder> {
    match list.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(Disorder(pair[1].clone())),
        None => Ok(list),
    }
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Vec<String> {
        words.words
    }
}

impl TryFrom<Vec<String>> for Words {
    type Error = Disorder;

    fn try_from(list: Vec<String>) -> Result<Words, Disorder> {
        Ok(Words { words: ascending(list)? })
    }
}

impl From<Labels> for Vec<String> {
    fn from(labels: Labels) -> Vec<String> {
        labels.names
    }
}

impl TryFrom<Vec<String>> for Labels {
    type Error = Disorder;

    fn try_from(list: Vec<String>) -> Result<Labels, Disorder> {
        Ok(Labels { names: ascending(list)? })
    }
}

/// How the labels and the words of a treebank became numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabularies {
    /// The words.
    pub words: Words,
    /// The labels, where they are names; `None` where they are numbers already.
    pub labels: Option<Labels>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_are_unknown() {
        let words = Words::of("the cat and the dog and the end".split(' '), 2);
        assert_eq!((words.len(), words.id("and"), words.id("the"), words.id("cat")), (3, 1, 2, 0));
        assert_eq!((Words::of([], 1).len(), Words::of([], 1).id("")), (1, 0));
    }

    #[test]
    fn saved_and_read_again() {
        let own =
            Vocabularies { words: Words::of(["b", "a"], 1), labels: Some(Labels::of(["NP", "S", "NP"])) };
        let text = serde_json::to_string(&own).unwrap();
        assert_eq!(text, r#"{"words":["a","b"],"labels":["NP","S"]}"#);
        assert_eq!(serde_json::from_str::<Vocabularies>(&text).unwrap(), own);
        assert_eq!(own.labels.as_ref().and_then(|labels| labels.id("S")), Some(1));
        let twice = serde_json::from_str::<Words>(r#"["a","a"]"#).unwrap_err().to_string();
        assert!(twice.contains("alphabet"), "{twice}");
    }
}
