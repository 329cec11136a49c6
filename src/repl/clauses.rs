//! The parts of a command: `CharRNN with text = x steps 100 svg a.svg` by its keywords.
//!
//! A keyword counts where it stands as a word outside brackets and quotes. What a part means is not known here.

use std::collections::BTreeMap;

use super::Failure;

/// A command's text in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clauses {
    /// What stands before the first keyword.
    pub head: String,
    /// What follows each keyword.
    pub parts: BTreeMap<&'static str, String>,
}

impl Clauses {
    /// Whether a keyword was said.
    pub fn has(&self, keyword: &str) -> bool {
        self.parts.contains_key(keyword)
    }

    /// What follows a keyword.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.parts.get(keyword).map(String::as_str)
    }

    /// A whole number above 0 after a keyword.
    pub fn count(&self, keyword: &str, most: usize) -> Result<Option<usize>, Failure> {
        self.get(keyword).map(|text| count(text, keyword, most)).transpose()
    }

    /// A file after a keyword.
    pub fn file(&self, keyword: &str) -> Result<Option<std::path::PathBuf>, Failure> {
        match self.get(keyword) {
            Some("") => Err(Failure::new(format!("`{keyword}` is followed by the name of a file"))),
            given => Ok(given.map(|name| name.trim_matches('"').into())),
        }
    }
}

/// A whole number from 1 to `most`.
pub(super) fn count(text: &str, what: &str, most: usize) -> Result<usize, Failure> {
    match text.trim().parse::<usize>() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(Failure::new(format!(
            "`{what}` takes a whole number from 1 to {most}, not `{}`",
            text.trim()
        ))),
    }
}

/// Splits `text` at these keywords; each may stand once.
pub(super) fn clauses(text: &str, keywords: &[&'static str]) -> Result<Clauses, Failure> {
    let mut found = Clauses::default();
    let mut here: Option<&'static str> = None;
    let mut part = String::new();
    let mut depth = 0i32;
    let mut quoted = false;
    for piece in pieces(text) {
        let is_word = depth == 0 && !quoted;
        if let Some(keyword) = keywords.iter().find(|keyword| is_word && **keyword == piece) {
            finish(&mut found, here, &mut part);
            if found.parts.insert(keyword, String::new()).is_some() {
                return Err(Failure::new(format!("`{keyword}` is said twice")));
            }
            here = Some(keyword);
            continue;
        }
        for c in piece.chars() {
            match c {
                '"' => quoted = !quoted,
                '(' | '[' | '{' if !quoted => depth += 1,
                ')' | ']' | '}' if !quoted => depth -= 1,
                _ => {}
            }
        }
        part.push_str(piece);
    }
    finish(&mut found, here, &mut part);
    Ok(found)
}

fn finish(found: &mut Clauses, here: Option<&'static str>, part: &mut String) {
    let text = std::mem::take(part).trim().to_string();
    match here {
        Some(keyword) => {
            found.parts.insert(keyword, text);
        }
        None => found.head = text,
    }
}

/// Words and the blanks between them.
fn pieces(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut blank = None;
    for (at, c) in text.char_indices() {
        if blank != Some(c.is_whitespace()) {
            if at > start {
                found.push(&text[start..at]);
            }
            start = at;
            blank = Some(c.is_whitespace());
        }
    }
    found.push(&text[start..]);
    found
}

/// Splits at commas outside brackets and quotes.
pub(super) fn commas(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut depth, mut quoted) = (0, 0i32, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if depth == 0 && !quoted => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    found.retain(|part| !part.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_count_outside_brackets() {
        let found = clauses("M with x = f(a with b), y = 2 steps 3 last", &["with", "steps", "last"]);
        let found = found.unwrap_or_default();
        assert_eq!((found.head.as_str(), found.get("with")), ("M", Some("x = f(a with b), y = 2")));
        assert_eq!((found.count("steps", 9).ok(), found.has("last")), (Some(Some(3)), true));
        assert_eq!(commas("a, f(b, c), \"d, e\""), ["a", "f(b, c)", "\"d, e\""]);
        assert!(clauses("steps 1 steps 2", &["steps"]).is_err());
    }
}
