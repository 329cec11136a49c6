//! What the ids of a run stand for, and how its numbers are to be read.

use std::borrow::Cow;

use crate::runtime::checkpoint::RunMeta;
use crate::runtime::lexicon::Lexicon;
use crate::runtime::text::TextError;

/// What stands for a word that training did not have.
const UNKNOWN: &str = "<unknown>";
/// What stands for the end of a sequence.
const END: &str = "<end>";

/// What has no id.
#[derive(Debug)]
pub enum Unknown {
    /// A character of a text.
    Text(TextError),
    /// What should be a number.
    Id(String),
}

/// The tokens of a run's inputs.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'r> {
    meta: &'r RunMeta,
}

impl<'r> Tokens<'r> {
    /// Those of a run.
    pub fn of(meta: &'r RunMeta) -> Tokens<'r> {
        Tokens { meta }
    }

    fn lexicon(&self, input: &str) -> Option<&'r Lexicon> {
        self.meta.fields.as_ref()?.lexicon(input)
    }

    /// The token of an id; none where ids are numbers.
    pub fn token(&self, input: &str, id: u32) -> Option<Cow<'r, str>> {
        if let Some(vocabulary) = &self.meta.vocabulary {
            return Some(Cow::Owned(vocabulary.decode(&[id])));
        }
        match self.lexicon(input) {
            Some(Lexicon::Numbers(_)) => None,
            Some(lexicon) => Some(match lexicon.token(id) {
                Some(token) => token,
                None if lexicon.end() == Some(id) => Cow::Borrowed(END),
                None => Cow::Borrowed(UNKNOWN),
            }),
            None => self.meta.words.as_ref()?.labels.as_ref()?.name(id).map(Cow::Borrowed),
        }
    }

    /// The token of an id, or the id.
    pub fn shown(&self, input: &str, id: u32) -> String {
        self.token(input, id).map_or_else(|| id.to_string(), Cow::into_owned)
    }

    /// The text of ids; none where ids are numbers.
    pub fn text(&self, input: &str, ids: &[u32]) -> Option<String> {
        if let Some(vocabulary) = &self.meta.vocabulary {
            return Some(vocabulary.decode(ids));
        }
        match self.lexicon(input)? {
            Lexicon::Numbers(_) => None,
            _ => {
                let tokens: Vec<String> = ids.iter().map(|&id| self.shown(input, id)).collect();
                Some(self.meta.settings.reading.tokens(input).join(&tokens))
            }
        }
    }

    /// The ids of a text, or of numbers between blanks below `count`.
    ///
    /// # Errors
    /// What has no id.
    pub fn ids(&self, input: &str, text: &str, count: usize) -> Result<Vec<u32>, Unknown> {
        if let Some(vocabulary) = &self.meta.vocabulary {
            return vocabulary.encode(text).map_err(Unknown::Text);
        }
        let id = |word: &str| self.id(input, word, count).ok_or_else(|| Unknown::Id(word.to_string()));
        match self.lexicon(input) {
            Some(_) => self.meta.settings.reading.tokens(input).split(text).into_iter().map(id).collect(),
            None => text.split_whitespace().map(id).collect(),
        }
    }

    /// The id of a token of an input that has so many.
    pub fn id(&self, input: &str, token: &str, count: usize) -> Option<u32> {
        let id: Option<u32> = match (&self.meta.vocabulary, self.lexicon(input)) {
            (Some(vocabulary), _) => {
                vocabulary.encode(token).ok().filter(|ids| ids.len() == 1).map(|ids| ids[0])
            }
            (None, Some(lexicon)) => lexicon.id(token).filter(|&id| Some(id) != lexicon.unknown()),
            (None, None) => token.parse().ok(),
        };
        id.filter(|&id| (id as usize) < count)
    }

    /// The id that ends the sequences of an input, if one does.
    pub fn end(&self, input: &str) -> Option<u32> {
        self.meta.fields.as_ref()?.end(input)
    }

    /// Numbers as they are in files, from those that the model sees.
    pub fn unstandardised(&self, input: &str, mut numbers: Vec<f64>) -> Vec<f64> {
        if let Some(standard) = self.meta.fields.as_ref().and_then(|fields| fields.standard(input)) {
            standard.undo(&mut numbers);
        }
        numbers
    }
}
