//! What a prompt needs to know of a line: when it is complete, what a word may become, and its colours.
//!
//! Functions from text to text, so that they are tested without a terminal.

use super::Session;
use super::command::COMMANDS;
use super::definitions::{Kind, Sort, kind};
use super::literals::LITERALS;

/// Words of the language and functions that every program has.
const WORDS: [&str; 40] = [
    "cell",
    "model",
    "fn",
    "input",
    "state",
    "param",
    "loss",
    "metric",
    "train",
    "over",
    "tree",
    "along",
    "gradient",
    "categorical",
    "bernoulli",
    "tanh",
    "sigmoid",
    "relu",
    "softplus",
    "exp",
    "log",
    "sqrt",
    "abs",
    "sign",
    "floor",
    "sin",
    "cos",
    "sum",
    "mean",
    "max",
    "min",
    "softmax",
    "logsumexp",
    "dot",
    "outer",
    "concat",
    "where",
    "onehot",
    "argmax",
    "dropout",
];

/// Whether a text is a whole: its brackets are closed and it does not end in the middle of an expression.
pub fn is_complete(text: &str) -> bool {
    let mut depth = 0i64;
    let mut last = ' ';
    for line in text.lines() {
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                '#' if !quoted => break,
                '(' | '[' | '{' if !quoted => depth += 1,
                ')' | ']' | '}' if !quoted => depth -= 1,
                _ => {}
            }
            if !c.is_whitespace() {
                last = c;
            }
        }
    }
    let trimmed = text.trim_start();
    // `cell RNN(I, H)` may have its brace on the next line.
    let open = kind(text) == Kind::Items && !trimmed.starts_with("fn") && !text.contains('{');
    let unfinished = matches!(last, '=' | '+' | '*' | '/' | '@' | ',' | '^' | '~' | '<' | '>');
    let command = trimmed.starts_with(':');
    depth <= 0 && !open && (command || !unfinished)
}

/// What the word that ends at byte `at` of a line may become: where it begins, and the whole words.
pub fn completions(session: &Session, line: &str, at: usize) -> (usize, Vec<String>) {
    let before = line.get(..at).unwrap_or(line);
    let start = before
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == ':'))
        .map_or(0, |place| place + before[place..].chars().next().map_or(1, char::len_utf8));
    let word = &before[start..];
    let mut found: Vec<String> = Vec::new();
    if let Some(command) = word.strip_prefix(':') {
        let words = COMMANDS.iter().map(|entry| entry.word).filter(|known| known.starts_with(command));
        found.extend(words.map(|known| format!(":{known}")));
        return (start, found);
    }
    match word.rsplit_once('.') {
        Some((path, _)) => {
            let model = path.split('.').next().unwrap_or(path);
            let rest = word.strip_prefix(model).and_then(|rest| rest.strip_prefix('.')).unwrap_or("");
            let watched = session.watched.as_ref().filter(|watched| watched.model == model);
            let names = watched.map_or_else(Vec::new, |watched| watched.names());
            found.extend(
                names.iter().filter(|name| name.starts_with(rest)).map(|name| format!("{model}.{name}")),
            );
        }
        None => {
            for sort in [Sort::Model, Sort::Cell, Sort::Function] {
                found.extend(session.definitions.names(sort).map(str::to_string));
            }
            found.extend(session.values.keys().cloned());
            found.extend(session.dims.iter().map(|(dim, _)| dim.clone()));
            found.extend(library(session));
            found.extend(WORDS.iter().chain(&LITERALS).map(|word| (*word).to_string()));
            if let Some(watched) = &session.watched {
                found.extend(watched.names().into_iter().map(str::to_string));
            }
            if line.trim_start().starts_with(":help") {
                found.extend(COMMANDS.iter().map(|entry| entry.word.to_string()));
            }
            found.retain(|known| known.starts_with(word));
        }
    }
    found.sort();
    found.dedup();
    (start, found)
}

fn library(session: &Session) -> impl Iterator<Item = String> + '_ {
    session.library.items.iter().map(|item| match item {
        crate::syntax::ast::Item::Cell(block) | crate::syntax::ast::Item::Model(block) => {
            block.name.text.clone()
        }
        crate::syntax::ast::Item::Function(function) => function.name.text.clone(),
    })
}

/// A line with its colours: commands, words of the language, numbers, comments.
pub fn highlighted(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (length, colour) = match first {
            '#' => (rest.find('\n').unwrap_or(rest.len()), "90"),
            ':' if text.trim().is_empty() => {
                (1 + rest[1..].find(|c| !is_name(c)).unwrap_or(rest.len() - 1), "1;36")
            }
            '"' => (rest[1..].find('"').map_or(rest.len(), |end| end + 2), "32"),
            c if c.is_ascii_digit() => {
                (rest.find(|c: char| !(is_name(c) || c == '.')).unwrap_or(rest.len()), "33")
            }
            c if is_name(c) => {
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                (end, if WORDS[..13].contains(&&rest[..end]) { "1;34" } else { "" })
            }
            c => (c.len_utf8(), ""),
        };
        let (word, behind) = rest.split_at(length);
        text +=
            &if colour.is_empty() { word.to_string() } else { format!("\u{1b}[{colour}m{word}\u{1b}[0m") };
        rest = behind;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_line_is_complete() {
        for text in ["x = 3", "cell A() {\n}", "fn f(x) = x", ":break z when z >", "f(]", "", "# (", "\"(\""]
        {
            assert!(is_complete(text), "{text}");
        }
        for text in ["x =", "cell A()", "cell A() {", "f(", "x +", "model M(\n"] {
            assert!(!is_complete(text), "{text}");
        }
    }

    #[test]
    fn words_become_whole() {
        let mut session = Session::default();
        session.run("hidden = normal([3])");
        let of = |line: &str| completions(&session, line, line.len());
        assert_eq!(of(":gra"), (0, vec![":grad".to_string(), ":graph".to_string()]));
        assert_eq!(of("1 + hid"), (4, vec!["hidden".to_string()]));
        assert!(of("LST").1.contains(&"LSTM".to_string()));
        assert_eq!(of("é"), (0, Vec::<String>::new()).clone().max((2, of("é").1)));
    }

    #[test]
    fn colours_change_no_letter() {
        for line in ["x = 3 # é", ":grad M", "\"open", "cell LSTM(I, H) {", "é + 1.5e-3", ":"] {
            let mut plain = highlighted(line);
            while let Some(start) = plain.find('\u{1b}') {
                let end = plain[start..].find('m').map_or(plain.len(), |end| start + end + 1);
                plain.replace_range(start..end, "");
            }
            assert_eq!(plain, line);
        }
    }
}
