//! Text as training data: a vocabulary of characters or words, the held-out part, and parallel streams.
//!
//! ```
//! use rnnc::runtime::text::{Streams, Vocabulary};
//! let vocabulary = Vocabulary::of("abracadabra");
//! let ids = vocabulary.encode("abracadabra")?;
//! let streams = Streams::new(&ids, 2)?;              // "abrac" and "adabr"; the last "a" is left over
//! let chunk = streams.chunks(Some(3)).nth(1).unwrap(); // the last, shorter chunk: "ac" and "br"
//! assert_eq!(vocabulary.decode(chunk.row(1)), "br");
//! # Ok::<(), rnnc::runtime::text::TextError>(())
//! ```
//!
//! A chunk holds the ids alone: that position `t` is predicted from those before it is what the model
//! says (`text[t-1]`). Sub-words and other segmentations are not here.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::files::{self, FileError};
use super::words::Words;

/// Why a text cannot be used.
#[derive(Debug, Error)]
pub enum TextError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not UTF-8.
    #[error("{} is not UTF-8: the byte at offset {offset}, in line {line}, begins no character", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// Offset of the first bad byte.
        offset: usize,
    },
    /// A character that the vocabulary does not have.
    #[error("the character {character:?} at line {line}, column {column} is not in the vocabulary")]
    Unknown {
        /// It.
        character: char,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// A fraction to hold out that is no fraction.
    #[error("the held-out part is a fraction from 0 to below 1, not {0}")]
    Fraction(f64),
    /// One of the two parts would be empty.
    #[error("holding out {fraction} of {length} characters leaves {part} empty")]
    EmptyPart {
        /// What was asked for.
        fraction: f64,
        /// Length of the whole.
        length: usize,
        /// `the held-out part` or `the training part`.
        part: &'static str,
    },
    /// Fewer characters than streams.
    #[error("{length} characters cannot be cut into {batch} streams; a batch of {length} is the largest")]
    TooShort {
        /// Characters there are.
        length: usize,
        /// Streams asked for.
        batch: usize,
    },
    /// Nothing to train on.
    #[error("the text is empty")]
    Empty,
    /// A saved vocabulary with a character twice.
    #[error("the vocabulary holds {0:?} twice")]
    Twice(char),
}

/// Reads a text file.
///
/// # Errors
/// The file cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, TextError> {
    String::from_utf8(files::read(path)?).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count() + 1;
        TextError::NotUtf8 { path: path.to_path_buf(), line, offset }
    })
}

/// The characters of a text in the order of their code points, or its words in that of the alphabet; the id of a
/// character is its place, that of a word as [`Words`] has it.
///
/// Written to files as one string, or as a list of words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Vocabulary {
    tokens: Tokens,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tokens {
    Characters(Vec<char>),
    /// White space divides them, and the end of a line is one.
    Words(Words),
}

/// A vocabulary in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Characters(String),
    Words(Words),
}

impl Vocabulary {
    /// The distinct characters of `text`.
    pub fn of(text: &str) -> Vocabulary {
        let distinct: std::collections::BTreeSet<char> = text.chars().collect();
        Vocabulary { tokens: Tokens::Characters(distinct.into_iter().collect()) }
    }

    /// The words that `text` without its last `fraction` has at least `times` times.
    pub fn of_words(text: &str, times: usize, fraction: f64) -> Vocabulary {
        let training = training_length(words(text).count(), fraction);
        Vocabulary { tokens: Tokens::Words(Words::of(words(text).take(training), times)) }
    }

    /// Number of ids: the `V` of a model.
    pub fn len(&self) -> usize {
        match &self.tokens {
            Tokens::Characters(characters) => characters.len(),
            Tokens::Words(words) => words.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What an id stands for: `characters` or `words`.
    pub fn unit(&self) -> &'static str {
        match &self.tokens {
            Tokens::Characters(_) => "characters",
            Tokens::Words(_) => "words",
        }
    }

    /// The id of a word or of a character; none of a character that is not known.
    pub fn id(&self, token: &str) -> Option<u32> {
        match &self.tokens {
            Tokens::Characters(known) => {
                let mut characters = token.chars();
                let only = characters.next().filter(|_| characters.next().is_none())?;
                place(known, only)
            }
            Tokens::Words(words) => Some(words.id(token)),
        }
    }

    /// The id of the unknown word, where there is one.
    pub fn unknown(&self) -> Option<u32> {
        matches!(self.tokens, Tokens::Words(_)).then_some(0)
    }

    /// The ids of a text's characters or words.
    ///
    /// # Errors
    /// The first character that is not in the vocabulary, with its place.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let known = match &self.tokens {
            Tokens::Characters(known) => known,
            Tokens::Words(known) => return Ok(words(text).map(|word| known.id(word)).collect()),
        };
        // ASCII by table: a text has millions of characters and a vocabulary few.
        let table: Vec<Option<u32>> = (0..128u8).map(|byte| place(known, char::from(byte))).collect();
        let id = |c: char| table.get(c as usize).copied().unwrap_or_else(|| place(known, c));
        let mut ids = Vec::with_capacity(text.len());
        for (offset, character) in text.char_indices() {
            ids.push(id(character).ok_or_else(|| unknown(text, offset, character))?);
        }
        Ok(ids)
    }

    /// The text of ids; an id that has no character becomes U+FFFD, the unknown word `<unknown>`. A blank is before
    /// each word that is not the first of a line, so that texts can be put together from pieces.
    pub fn decode(&self, ids: &[u32]) -> String {
        let known = match &self.tokens {
            Tokens::Characters(known) => {
                let character = |id: &u32| known.get(*id as usize).copied();
                return ids.iter().map(|id| character(id).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
            }
            Tokens::Words(known) => known,
        };
        let mut text = String::new();
        for &id in ids {
            let word = known.word(id).unwrap_or("<unknown>");
            if word != LINE_END && !text.ends_with(LINE_END) {
                text.push(' ');
            }
            text += word;
        }
        text
    }
}

/// The token of the end of a line, where a text is read by words.
const LINE_END: &str = "\n";

/// The words of a text, the ends of lines among them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|line| {
        let end = line.ends_with('\n').then_some(LINE_END);
        line.split_whitespace().chain(end)
    })
}

fn place(known: &[char], character: char) -> Option<u32> {
    known.binary_search(&character).ok().map(|id| id as u32)
}

impl From<Vocabulary> for Stored {
    fn from(vocabulary: Vocabulary) -> Stored {
        match vocabulary.tokens {
            Tokens::Characters(characters) => Stored::Characters(characters.into_iter().collect()),
            Tokens::Words(words) => Stored::Words(words),
        }
    }
}

impl TryFrom<Stored> for Vocabulary {
    type Error = TextError;

    fn try_from(stored: Stored) -> Result<Vocabulary, TextError> {
        let text = match stored {
            Stored::Characters(text) => text,
            Stored::Words(words) => return Ok(Vocabulary { tokens: Tokens::Words(words) }),
        };
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        match characters.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(TextError::Twice(pair[0])),
            None => Ok(Vocabulary { tokens: Tokens::Characters(characters) }),
        }
    }
}

fn unknown(text: &str, offset: usize, character: char) -> TextError {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    TextError::Unknown { character, line, column }
}

/// How many of so many are left if the last `fraction` is held out.
pub(crate) fn training_length(length: usize, fraction: f64) -> usize {
    // The sliver makes `0.1` of 10 cut at 9 and not, by rounding, at 8.
    ((length as f64 * (1.0 - fraction) + 1e-6).floor() as usize).min(length)
}

/// Cuts ids into the training part and the held-out part, the last `fraction` of them (0: nothing).
///
/// # Errors
/// A fraction outside `0..1`, or a part that would be empty.
pub fn hold_out(ids: &[u32], fraction: f64) -> Result<(&[u32], &[u32]), TextError> {
    if !(0.0..1.0).contains(&fraction) {
        return Err(TextError::Fraction(fraction));
    }
    if ids.is_empty() {
        return Err(TextError::Empty);
    }
    let length = ids.len();
    let (training, held_out) = ids.split_at(training_length(length, fraction));
    let empty = |part| TextError::EmptyPart { fraction, length, part };
    if training.is_empty() {
        return Err(empty("the training part"));
    }
    if held_out.is_empty() && fraction > 0.0 {
        return Err(empty("the held-out part"));
    }
    Ok((training, held_out))
}

/// A text cut into equally long streams that are read side by side: stream `b` of `B` holds
/// `ids[b * n..(b + 1) * n]` with `n = len / B`; what is left at the end is not used.
#[derive(Clone, Copy, Debug)]
pub struct Streams<'a> {
    ids: &'a [u32],
    batch: usize,
    length: usize,
}

impl<'a> Streams<'a> {
    /// Cuts `ids` into `batch` streams.
    ///
    /// # Errors
    /// No ids, no streams, or fewer ids than streams.
    pub fn new(ids: &'a [u32], batch: usize) -> Result<Streams<'a>, TextError> {
        if ids.is_empty() {
            return Err(TextError::Empty);
        }
        match ids.len().checked_div(batch) {
            Some(length) if length > 0 => Ok(Streams { ids, batch, length }),
            _ => Err(TextError::TooShort { length: ids.len(), batch }),
        }
    }

    /// Number of streams.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Ids in each stream.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Number of chunks of at most `steps` (none: the whole stream in one).
    pub fn chunk_count(&self, steps: Option<usize>) -> usize {
        self.length.div_ceil(self.steps(steps))
    }

    /// The chunks in order; a caller that resumes skips those it has had (`.skip(k)`).
    pub fn chunks(&self, steps: Option<usize>) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        let (streams, steps) = (*self, self.steps(steps));
        (0..streams.length).step_by(steps).map(move |start| {
            let length = steps.min(streams.length - start);
            Chunk { streams, start, length }
        })
    }

    fn steps(&self, steps: Option<usize>) -> usize {
        steps.unwrap_or(self.length).max(1)
    }
}

/// The same stretch of every stream.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    streams: Streams<'a>,
    start: usize,
    length: usize,
}

impl<'a> Chunk<'a> {
    /// Number of streams.
    pub fn batch(&self) -> usize {
        self.streams.batch
    }

    /// Steps in each.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Position of the first step in its stream; 0 says that states begin anew.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The ids of stream `b`, in order; empty past the last stream.
    pub fn row(&self, b: usize) -> &'a [u32] {
        let first = b * self.streams.length + self.start;
        if b < self.streams.batch { &self.streams.ids[first..first + self.length] } else { &[] }
    }

    /// The id before the first one of stream `b`, which a later chunk's first step is fed.
    pub fn previous(&self, b: usize) -> Option<u32> {
        let first = b * self.streams.length + self.start;
        if self.start == 0 || b >= self.streams.batch {
            None
        } else {
            self.streams.ids.get(first - 1).copied()
        }
    }

    /// All ids, `[batch, length]`, row-major.
    pub fn ids(&self) -> Vec<u32> {
        (0..self.batch()).flat_map(|b| self.row(b)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocabulary_is_sorted_and_distinct() {
        let vocabulary = Vocabulary::of("hé ho\n");
        assert_eq!(serde_json::to_value(&vocabulary).unwrap(), "\n hoé");
        assert_eq!(vocabulary.len(), 5);
        let ids = vocabulary.encode("hé ho\n").unwrap();
        assert_eq!(ids, [2, 4, 1, 2, 3, 0]);
        assert_eq!(vocabulary.decode(&ids), "hé ho\n");
        assert_eq!(vocabulary.decode(&[9]), "\u{fffd}");
        let text = serde_json::to_string(&vocabulary).unwrap();
        assert_eq!(serde_json::from_str::<Vocabulary>(&text).unwrap(), vocabulary);
        assert!(serde_json::from_str::<Vocabulary>("\"aba\"").is_err());
        assert!(Vocabulary::of("").is_empty());
    }

    #[test]
    fn words_and_the_ends_of_lines() {
        let text = "the cat  sat\n\nthe\tdog sat\n";
        let vocabulary = Vocabulary::of_words(text, 2, 0.0);
        // The line's end, `sat`, `the`, and the unknown word.
        assert_eq!((vocabulary.len(), vocabulary.unit()), (4, "words"));
        assert_eq!(Vocabulary::of_words(text, 1, 0.4).len(), 5);
        assert_eq!(vocabulary.id("the"), Some(3));
        let ids = vocabulary.encode("the cat sat\nso").unwrap();
        assert_eq!(ids, [3, 0, 2, 1, 0]);
        assert_eq!(vocabulary.decode(&ids), " the <unknown> sat\n<unknown>");
        let text = serde_json::to_string(&vocabulary).unwrap();
        assert_eq!(serde_json::from_str::<Vocabulary>(&text).unwrap(), vocabulary);
        assert!(serde_json::from_str::<Vocabulary>(r#"["b", "a"]"#).is_err());
    }

    #[test]
    fn an_unknown_character_is_shown_with_its_place() {
        let vocabulary = Vocabulary::of("abc\n");
        let text = |s: &str| vocabulary.encode(s).unwrap_err().to_string();
        assert_eq!(text("ab\ncaé"), "the character 'é' at line 2, column 3 is not in the vocabulary");
        assert_eq!(text("\t"), "the character '\\t' at line 1, column 1 is not in the vocabulary");
    }

    #[test]
    fn held_out_is_the_last_part() {
        let ids: Vec<u32> = (0..10).collect();
        assert_eq!(hold_out(&ids, 0.1).unwrap(), (&ids[..9], &ids[9..]));
        assert_eq!(hold_out(&ids, 0.25).unwrap().1.len(), 3);
        assert_eq!(hold_out(&ids, 0.0).unwrap().1.len(), 0);
        // The cut of the peer: len * 9 / 10.
        let long = vec![0; 1_115_394];
        assert_eq!(hold_out(&long, 0.1).unwrap().0.len(), 1_115_394 * 9 / 10);
        for length in 1..400 {
            let training = hold_out(&long[..length], 0.1).map(|(training, _)| training.len()).unwrap_or(0);
            assert_eq!(training, length * 9 / 10);
        }
    }

    #[test]
    fn bad_parts() {
        let text = |ids: &[u32], fraction| hold_out(ids, fraction).unwrap_err().to_string();
        assert_eq!(text(&[1], 0.5), "holding out 0.5 of 1 characters leaves the training part empty");
        assert_eq!(
            text(&[1; 5], 1e-9),
            "holding out 0.000000001 of 5 characters leaves the held-out part empty"
        );
        assert_eq!(text(&[], 0.1), "the text is empty");
        for fraction in [1.0, -0.1, f64::NAN] {
            assert!(matches!(hold_out(&[1, 2], fraction), Err(TextError::Fraction(_))));
        }
    }

    #[test]
    fn streams_and_chunks() {
        let ids: Vec<u32> = (0..23).collect();
        let streams = Streams::new(&ids, 2).unwrap();
        assert_eq!((streams.batch(), streams.length(), streams.chunk_count(Some(4))), (2, 11, 3));
        let chunks: Vec<_> = streams.chunks(Some(4)).collect();
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[0].ids(), [0, 1, 2, 3, 11, 12, 13, 14]);
        assert_eq!(chunks[2].ids(), [8, 9, 10, 19, 20, 21]);
        assert_eq!((chunks[2].start(), chunks[2].length()), (8, 3));
        assert_eq!(
            (chunks[0].previous(1), chunks[1].previous(1), chunks[1].previous(2)),
            (None, Some(14), None)
        );
        assert!(chunks[0].row(2).is_empty());
        let whole: Vec<_> = streams.chunks(None).collect();
        assert_eq!((whole.len(), whole[0].row(1)), (1, &ids[11..22]));
        // Every id of the streams comes once.
        let mut seen: Vec<u32> = streams.chunks(Some(3)).flat_map(|chunk| chunk.ids()).collect();
        seen.sort_unstable();
        assert_eq!(seen, ids[..22]);
        assert_eq!(streams.chunks(Some(100)).count(), 1);
    }

    #[test]
    fn too_short_for_its_streams() {
        let error = Streams::new(&[1, 2, 3], 4).unwrap_err().to_string();
        assert_eq!(error, "3 characters cannot be cut into 4 streams; a batch of 3 is the largest");
        assert!(matches!(Streams::new(&[1], 0), Err(TextError::TooShort { .. })));
        assert!(matches!(Streams::new(&[], 1), Err(TextError::Empty)));
        assert_eq!(Streams::new(&[1, 2, 3], 3).unwrap().length(), 1);
    }

    #[test]
    fn files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, "héllo").unwrap();
        assert_eq!(read_text(&path).unwrap(), "héllo");
        std::fs::write(&path, b"ab\xffcd").unwrap();
        let error = read_text(&path).unwrap_err().to_string();
        let words = "text is not UTF-8: the byte at offset 2, in line 1, begins no character";
        assert!(error.ends_with(words), "{error}");
        assert!(read_text(&folder.path().join("none")).unwrap_err().to_string().starts_with("cannot read"));
    }
}
