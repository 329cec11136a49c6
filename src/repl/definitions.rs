//! The session's program: cells, models and functions as text, by name.
//!
//! The pieces of a loaded file put together again are that file, so that a mistake is shown at its line.
//! A name defined again replaces the old definition where it stood. Nothing is checked here but that the text
//! parses.

use std::path::{Path, PathBuf};

use crate::base::{Diagnostic, Span};
pub(super) use crate::check::nearest;
use crate::syntax::{ast, parse};

/// A definition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    /// Its name.
    pub name: String,
    /// What it is.
    pub sort: Sort,
    /// Its text with what stood before it.
    pub text: String,
    /// The file it is from.
    pub file: Option<PathBuf>,
    /// Where its text begins there: the byte and the line, from 0.
    pub start: (usize, usize),
}

/// The sorts of definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Cell,
    Model,
    Function,
}

/// All definitions, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Definitions {
    pub items: Vec<Item>,
    /// Files read, in order.
    pub files: Vec<PathBuf>,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `cell …`, `model …`, `fn …`
    Items,
    /// `x = …`
    Equation,
    /// Anything else.
    Expression,
}

/// What a line is, by how it begins.
pub(super) fn kind(line: &str) -> Kind {
    let first = line.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = first else { return Kind::Expression };
    let (word, rest) = first.split_once(char::is_whitespace).unwrap_or((first, ""));
    let named = rest.trim_start().starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if matches!(word, "cell" | "model" | "fn")
        && (named || first == line.trim())
        && !rest.trim_start().starts_with('=')
    {
        return Kind::Items;
    }
    // A left side is a path, perhaps with an index.
    let path = first.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
    let (path, mut after) = first.split_at(path.unwrap_or(first.len()));
    if let Some(index) = after.trim_start().strip_prefix('[')
        && let Some((_, behind)) = index.split_once(']')
    {
        after = behind;
    }
    let after = after.trim_start();
    let is_name = path.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match is_name && after.starts_with('=') && !after.starts_with("==") {
        true => Kind::Equation,
        false => Kind::Expression,
    }
}

impl Definitions {
    /// The whole program.
    pub fn source(&self) -> String {
        self.items.iter().map(|item| item.text.as_str()).collect()
    }

    /// What to call it in messages: its file if it is one file as read.
    pub fn place(&self) -> String {
        match &self.files[..] {
            [file] if self.items.iter().all(|item| item.file.as_ref() == Some(file)) => {
                file.display().to_string()
            }
            _ => "session".to_string(),
        }
    }

    /// The file and the line, from 1, of a byte of the whole program; what was typed has lines of the session.
    pub fn place_of(&self, byte: usize) -> (String, usize) {
        let lines = |text: &str, end: usize| text.get(..end).unwrap_or("").matches('\n').count();
        match self.item_at(byte) {
            Some((Item { file: Some(file), text, start: (_, first), .. }, inside)) => {
                (file.display().to_string(), first + lines(text, inside) + 1)
            }
            _ => (self.place(), lines(&self.source(), byte) + 1),
        }
    }

    /// A mistake in the whole program as one in a file as it was read, if its place is there.
    pub fn in_file(&self, file: &Path, mut found: Diagnostic) -> Option<Diagnostic> {
        let there = |span: Span| -> Option<Span> {
            let (item, inside) = self.item_at(span.start as usize)?;
            let start = item.start.0 + inside;
            (item.file.as_deref() == Some(file))
                .then(|| Span::new(start, start + (span.end - span.start) as usize))
        };
        found.span = there(found.span)?;
        found.labels.retain_mut(|label| there(label.span).map(|span| label.span = span).is_some());
        Some(found)
    }

    /// The definition that a byte of the whole program is in, and where in it.
    fn item_at(&self, byte: usize) -> Option<(&Item, usize)> {
        let mut start = 0;
        self.items.iter().find_map(|item| {
            let inside = byte.checked_sub(start)?;
            start += item.text.len();
            (inside < item.text.len()).then_some((item, inside))
        })
    }

    /// The definition of this name.
    pub fn get(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.name == name)
    }

    /// Names of one sort.
    pub fn names(&self, sort: Sort) -> impl Iterator<Item = &str> {
        self.items.iter().filter(move |item| item.sort == sort).map(|item| item.name.as_str())
    }

    /// Adds what a text defines; gives the names.
    ///
    /// # Errors
    /// It does not parse.
    pub fn add(&mut self, text: &str, file: Option<&PathBuf>) -> Result<Vec<String>, Vec<Diagnostic>> {
        let parsed = parse(text)?;
        let mut start = 0;
        let count = parsed.items.len();
        let mut names = Vec::new();
        for (number, item) in parsed.items.iter().enumerate() {
            let (name, sort, span) = match item {
                ast::Item::Cell(block) => (&block.name, Sort::Cell, block.span),
                ast::Item::Model(block) => (&block.name, Sort::Model, block.span),
                ast::Item::Function(function) => (&function.name, Sort::Function, function.span),
            };
            // The last one takes what stands behind it, too.
            let end = if number + 1 == count { text.len() } else { span.end as usize };
            let mut own = text.get(start..end).unwrap_or("").to_string();
            let from = (start, text.get(..start).unwrap_or("").matches('\n').count());
            start = end;
            if file.is_none() {
                let before = if self.items.is_empty() { "" } else { "\n" };
                own = format!("{before}{}\n", own.trim());
            }
            let item = Item { name: name.text.clone(), sort, text: own, file: file.cloned(), start: from };
            names.push(item.name.clone());
            match self.items.iter_mut().find(|known| known.name == item.name) {
                Some(known) => *known = item,
                None => self.items.push(item),
            }
        }
        if let Some(file) = file
            && !self.files.contains(file)
        {
            self.files.push(file.clone());
        }
        // Pieces of different texts must not run into each other.
        let last = self.items.len().saturating_sub(1);
        for item in self.items.iter_mut().take(last) {
            if !item.text.ends_with('\n') && item.file.is_none() {
                item.text.push('\n');
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_lines() {
        for line in ["cell A(H) {", "model M() {}", "fn f(x) = x", "# a\nfn f(x) = x"] {
            assert_eq!(kind(line), Kind::Items, "{line}");
        }
        for line in ["x = 3", "h[t] = 3", "cell = LSTM(3, 4)", "a.b=2", "x =\n 3"] {
            assert_eq!(kind(line), Kind::Equation, "{line}");
        }
        for line in ["x == 3", "f(x = 3)", "", "# nothing", "x[0] == 1", "3"] {
            assert_eq!(kind(line), Kind::Expression, "{line}");
        }
    }

    #[test]
    fn a_file_stays_as_it_is() {
        let text = "# about\nfn f(x) = x\n\n# more\nmodel M() {\n}\n# end\n";
        let file = PathBuf::from("a.rnn");
        let mut found = Definitions::default();
        assert_eq!(found.add(text, Some(&file)).ok(), Some(vec!["f".to_string(), "M".to_string()]));
        assert_eq!((found.source(), found.place()), (text.to_string(), "a.rnn".to_string()));
        found.add("fn g(x) = 2 * x", None).unwrap();
        assert_eq!(found.source(), format!("{text}\nfn g(x) = 2 * x\n"));
        assert_eq!(found.place(), "session");
        // Each has its own lines.
        let places: Vec<(String, usize)> =
            ["fn f", "model M", "fn g"].map(|part| found.place_of(found.source().find(part).unwrap())).into();
        let place = |file: &str, line| (file.to_string(), line);
        assert_eq!(places, [place("a.rnn", 2), place("a.rnn", 5), place("session", 9)]);
    }
}
