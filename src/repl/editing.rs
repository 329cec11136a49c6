//! What a prompt needs to know of a line: when it is complete, what a word may become, and its colours.
//!
//! Functions from text to text, so that they are tested without a terminal.

use super::Session;
use super::command::COMMANDS;
use super::definitions::{Kind, Sort, kind};
use super::expressions::Bound;
use super::literals::LITERALS;
use super::models::everything;
use crate::syntax::ast::{Block, Expr, ExprKind, Item, Statement};
use crate::syntax::parse;

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
            let (owner, rest) = word.split_once('.').unwrap_or((path, ""));
            let names = fields(session, owner);
            found.extend(
                names.iter().filter(|name| name.starts_with(rest)).map(|name| format!("{owner}.{name}")),
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
            if let Some(command) = line.trim_start().strip_prefix(':')
                && let Some(word) = command.split_whitespace().next()
                && let Some(entry) = COMMANDS.iter().find(|entry| entry.word == word)
            {
                found.extend(keywords(entry.usage));
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

/// The words of a command: what its usage has in small letters.
fn keywords(usage: &str) -> impl Iterator<Item = String> + '_ {
    let words = usage.split(|c: char| !c.is_ascii_alphabetic());
    words.filter(|word| word.len() > 1 && *word == word.to_ascii_lowercase()).map(str::to_string)
}

/// What can stand behind `M.`: the values of a model, or what a cell that was applied computes.
fn fields(session: &Session, owner: &str) -> Vec<String> {
    let all = |names: Vec<&str>| names.into_iter().map(str::to_string).collect();
    if let Some(watched) = session.watched.as_ref().filter(|watched| watched.model == owner) {
        return all(watched.names());
    }
    if session.definitions.names(Sort::Model).any(|known| known == owner) {
        let graph = session.checked(&session.model(owner)).and_then(|checked| everything(&checked.graph));
        let Ok(graph) = graph else { return Vec::new() };
        let names = crate::ir::listing(&graph);
        return all(graph.ids().into_iter().filter_map(|node| names.name(node)).collect());
    }
    let Some(Bound::Equation(_, Statement::Equation { value, .. }, _)) = session.values.get(owner) else {
        return Vec::new();
    };
    let own = parse(&session.definitions.source()).map(|file| file.items).unwrap_or_default();
    let named = |name: &str| own.iter().chain(&session.library.items).find_map(|item| cell(item, name));
    let Some(block) = applied(value).and_then(named) else { return Vec::new() };
    let of = |statement: &Statement| match statement {
        Statement::State(list) => {
            list.iter().flat_map(|declared| &declared.names).map(|name| name.text.clone()).collect()
        }
        Statement::Equation { target, .. } => vec![target.name.text.clone()],
        _ => Vec::new(),
    };
    block.statements.iter().flat_map(of).collect()
}

fn cell<'a>(item: &'a Item, name: &str) -> Option<&'a Block> {
    match item {
        Item::Cell(block) if block.name.text == name => Some(block),
        Item::Cell(_) | Item::Model(_) | Item::Function(_) => None,
    }
}

/// The cell that an expression applies: `LSTM` in `LSTM(3, 4)(x)`.
fn applied(value: &Expr) -> Option<&str> {
    let ExprKind::Call(callee, _) = &value.kind else { return None };
    match &callee.kind {
        ExprKind::Call(..) => applied(callee),
        ExprKind::Name(name) => Some(name),
        _ => None,
    }
}

fn library(session: &Session) -> impl Iterator<Item = String> + '_ {
    session.library.items.iter().map(|item| match item {
        Item::Cell(block) | Item::Model(block) => block.name.text.clone(),
        Item::Function(function) => function.name.text.clone(),
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
        assert!(of(":flow M st").1.contains(&"steps".to_string()));
        session.run("cell Twice(N) { input x: [N]  state h: [N]  h[t] = 0.5 * h[t-1] + x  twin = 2 * h }");
        session.run("model M(N = 1) { input x: [N] over t  c = Twice(N)(x)  loss l = sum(c.twin) }");
        session.run("seen = Twice(1)(seq([1], [2]))");
        let of = |line: &str| completions(&session, line, line.len());
        assert_eq!(of("seen.t"), (0, vec!["seen.twin".to_string()]));
        assert!(of("2 * M.").1.contains(&"M.h".to_string()), "{:?}", of("2 * M."));
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
