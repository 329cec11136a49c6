//! What the grammar's failure means, in words: one diagnostic for one failed piece of text.
//!
//! `f = W @` gives "expected an expression after `@`"; `param W = zeros` gives "expected `:` and a
//! type after `W`" with the way to write it.
//!
//! Where to look on after a failure is the business of `recover`.

use std::ops::Range;

use pest::error::{ErrorVariant, InputLocation};

use super::Rule;
use super::phrases::{ITEM, phrases};
use crate::base::{Diagnostic, Span};
use crate::syntax::scan::{Scan, Token, TokenKind};

/// Words that begin a declaration.
pub(super) const DECLARING: [&str; 4] = ["input", "state", "param", "gradient"];
/// All words that begin a statement.
pub(super) const STATEMENT_WORDS: [&str; 7] =
    ["input", "state", "param", "gradient", "loss", "metric", "train"];
/// Words of other languages that have no place in this one.
const FOREIGN_WORDS: [&str; 9] = ["let", "var", "for", "while", "if", "else", "return", "def", "import"];

/// The place of a failure and the tokens around it.
struct Failure<'s> {
    source: &'s str,
    /// The tokens of the failed piece.
    tokens: &'s [Token],
    /// The index of the first token that was not understood; `tokens.len()` at the end.
    at: usize,
    /// Whether nothing follows the piece.
    ends_text: bool,
    /// What the grammar would have taken there.
    expected: Vec<&'static str>,
}

/// Says what is wrong with `region` of `source`, which the grammar refused with `error`.
pub(super) fn describe(
    source: &str,
    scan: &Scan,
    region: Range<usize>,
    error: &pest::error::Error<Rule>,
) -> Diagnostic {
    let place = match error.location {
        InputLocation::Pos(place) | InputLocation::Span((place, _)) => region.start + place,
    };
    let tokens = tokens_in(scan, &region);
    let at = tokens.partition_point(|token| token.end() <= place);
    let expected = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => phrases(positives),
        // The only errors of this kind are pest's own limits.
        ErrorVariant::CustomError { message } => {
            let span = tokens.get(at).map_or(Span::new(place, place), |token| token.span);
            return Diagnostic::error(
                "nested-too-deep",
                span,
                format!("this text nests too deep to parse: {message}"),
            );
        }
    };
    let ends_text = scan.tokens.last().map(|token| token.span) == tokens.last().map(|token| token.span);
    let failure = Failure { source, tokens, at, ends_text, expected };
    failure
        .unknown_token()
        .or_else(|| failure.foreign_symbol())
        .or_else(|| failure.bracket())
        .or_else(|| failure.declaration())
        .or_else(|| failure.left_side())
        .or_else(|| failure.no_equation())
        .or_else(|| failure.dangling())
        .unwrap_or_else(|| failure.unexpected())
}

/// The tokens that begin inside a region.
pub(super) fn tokens_in<'s>(scan: &'s Scan, region: &Range<usize>) -> &'s [Token] {
    let first = scan.tokens.partition_point(|token| token.start() < region.start);
    let last = scan.tokens.partition_point(|token| token.start() < region.end);
    scan.tokens.get(first..last).unwrap_or(&[])
}

/// The bracket that closes `open`.
pub(super) fn closer(open: &str) -> Option<&'static str> {
    match open {
        "(" => Some(")"),
        "[" => Some("]"),
        "{" => Some("}"),
        _ => None,
    }
}

impl<'s> Failure<'s> {
    fn found(&self) -> Option<&'s Token> {
        self.tokens.get(self.at)
    }

    fn previous(&self) -> Option<&'s Token> {
        self.at.checked_sub(1).and_then(|before| self.tokens.get(before))
    }

    fn text(&self, token: Option<&Token>) -> &'s str {
        token.map_or("", |token| token.text(self.source))
    }

    /// The text that was not understood, or the last one before the end.
    fn span(&self) -> Span {
        self.found().or(self.previous()).map_or(Span::NONE, |token| token.span)
    }

    /// `, found …` for the end of a message.
    fn but_found(&self) -> String {
        match self.found() {
            Some(token) => format!(", found `{}`", short(token.text(self.source))),
            None if self.ends_text => ", but the text ends".to_string(),
            None => ", but the statement ends".to_string(),
        }
    }

    /// `2x`, `"open`, `§`.
    fn unknown_token(&self) -> Option<Diagnostic> {
        let token = self.found().filter(|token| token.kind == TokenKind::Unknown)?;
        let text = token.text(self.source);
        let first = text.chars().next()?;
        if first.is_ascii_digit() {
            let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            let message = format!("`{}` is neither a number nor a name", short(text));
            let help =
                format!("write a product as `{} * {}`", short(&text[..digits]), short(&text[digits..]));
            return Some(Diagnostic::error("unknown-token", token.span, message).help(help));
        }
        if first == '"' {
            return Some(
                Diagnostic::error("unknown-token", token.span, "this string is not closed on its line")
                    .help("end it with `\"`"),
            );
        }
        let named =
            if first.is_whitespace() || first.is_control() { String::new() } else { format!("`{first}` ") };
        let message = format!("the character {named}(U+{:04X}) means nothing here", first as u32);
        let error = Diagnostic::error("unknown-token", token.span, message);
        Some(if first.is_alphabetic() {
            error.help("names are of ASCII letters, digits and `_`")
        } else {
            error
        })
    }

    /// Operators and words that other languages have.
    fn foreign_symbol(&self) -> Option<Diagnostic> {
        let token = self.found()?;
        let text = token.text(self.source);
        let cure = match text {
            ":=" => "an equation is written with `=`",
            "**" => "a power is written with `^`",
            "//" => "comments begin with `#`, and a quotient is written with `/`",
            ";" => "a statement ends with its line",
            "&&" | "&" => "multiply two comparisons to ask for both",
            "||" | "|" => "add two comparisons to ask for either",
            "!" => "`1 - c` is the opposite of a comparison `c`",
            "+=" | "-=" | "*=" | "/=" => "equations do not change values: give the result a name of its own",
            "==" if self.expected.contains(&"`=`") => "an equation is written with one `=`",
            _ => return None,
        };
        Some(Diagnostic::error("unexpected-token", token.span, format!("unexpected `{text}`")).help(cure))
    }

    /// Brackets that do not fit, where they explain the failure.
    fn bracket(&self) -> Option<Diagnostic> {
        let mut open: Vec<&Token> = Vec::new();
        for token in self.tokens.iter().take(self.at).filter(|token| token.kind == TokenKind::Symbol) {
            match token.text(self.source) {
                "(" | "[" | "{" => open.push(token),
                ")" | "]" | "}" => drop(open.pop()),
                _ => {}
            }
        }
        let text = self.text(self.found());
        let closes = matches!(text, ")" | "]" | "}");
        let Some(last) = open.last() else {
            let token = self.found().filter(|_| closes)?;
            let message = format!("this `{text}` closes nothing");
            return Some(Diagnostic::error("unmatched-bracket", token.span, message).help("remove it"));
        };
        let opened = last.text(self.source);
        let wanted = closer(opened)?;
        if closes && text != wanted {
            let message = format!("`{opened}` is closed by `{text}`");
            return Some(
                Diagnostic::error("unmatched-bracket", self.span(), message)
                    .label(last.span, format!("this `{opened}` is still open"))
                    .help(format!("write `{wanted}` first")),
            );
        }
        // Where a line begins inside a bracket the likeliest cause is that the bracket was forgotten.
        let broken_off = self.found().is_none_or(|token| token.starts_line && !closes);
        let after_operand = self.previous().is_some_and(|token| ends_operand(token, self.source));
        if !broken_off || !after_operand {
            return None;
        }
        let message = format!("this `{opened}` is never closed");
        let span = self.previous().map_or(last.span, |token| token.span);
        Some(
            Diagnostic::error("unclosed-bracket", last.span, message)
                .label(span, format!("`{wanted}` is missing after this"))
                .help(format!("add `{wanted}`")),
        )
    }

    /// `param W = zeros`, `input x [I]`, `let h = …`.
    fn declaration(&self) -> Option<Diagnostic> {
        let word = self.text(self.tokens.first());
        let found = self.text(self.found());
        if FOREIGN_WORDS.contains(&word) && self.at == 1 {
            let cure = match word {
                "let" | "var" => "an equation names a value without a word before it: `name = expression`",
                "def" | "import" => {
                    "a function is `fn f(x) = expression`; the library's cells are always there"
                }
                _ => "a delayed value (`h[t-1]`) is the loop, and `where(condition, a, b)` the choice",
            };
            let span = self.tokens.first().map_or(Span::NONE, |token| token.span);
            return Some(
                Diagnostic::error("unexpected-token", span, format!("`{word}` begins no statement"))
                    .help(cure),
            );
        }
        if !DECLARING.contains(&word) || !self.expected.contains(&"`:`") || self.at < 2 {
            return None;
        }
        let name = self.text(self.previous());
        let message = format!("expected `:` and a type after `{}`{}", short(name), self.but_found());
        let error = Diagnostic::error("expected-type", self.span(), message);
        Some(match found {
            "=" => error.help(format!("write `{word} {name}: [H] = …`; `[]` is a scalar's type")),
            _ => error.help(format!("write `{word} {name}: [H]`; `[]` is a scalar's type")),
        })
    }

    /// `h[t-1] = …`
    fn left_side(&self) -> Option<Diagnostic> {
        let before = self.tokens.get(..self.at)?;
        let is = |token: &Token, text: &str| token.text(self.source) == text;
        let index = before.iter().position(|token| is(token, "["))?;
        let on_the_left =
            before.iter().all(|token| token.kind == TokenKind::Name || is(token, "[") || is(token, "."));
        if !on_the_left || index == 0 || STATEMENT_WORDS.contains(&self.text(before.first())) && index > 1 {
            return None;
        }
        let name = short(&self.source[before.first()?.start()..before.get(index - 1)?.end()]);
        let message =
            format!("the left side of an equation is a name, alone or at an axis: `{name}` or `{name}[t]`");
        Some(
            Diagnostic::error("left-side", self.span(), message)
                .help(format!("shift the equation so that it defines `{name}[t]`")),
        )
    }

    /// `parm W: [H]`, `f = a b`.
    fn no_equation(&self) -> Option<Diagnostic> {
        if !self.expected.contains(&"`=`") || !self.expected.contains(&"`~`") {
            return None;
        }
        let previous = self.previous()?;
        let name = short(previous.text(self.source));
        let before = self.at.checked_sub(2).and_then(|at| self.tokens.get(at));
        if let Some(operand) =
            before.filter(|before| !previous.starts_line && ends_operand(before, self.source))
        {
            let message =
                format!("expected an operator between `{}` and `{name}`", short(operand.text(self.source)));
            let error = Diagnostic::error("unexpected-token", previous.span, message);
            return Some(error.help("write products with `*` or `@`, and arguments with `,` between them"));
        }
        let message = format!("expected `=` or `~` after `{name}`{}", self.but_found());
        let error = Diagnostic::error("unexpected-token", self.span(), message);
        let near = STATEMENT_WORDS.iter().find(|word| strsim::damerau_levenshtein(word, &name) <= 2);
        Some(match near {
            Some(word) if self.found().is_some_and(|token| token.kind == TokenKind::Name) => {
                error.help(format!("did you mean `{word}`?"))
            }
            _ => error.help("a statement is `name = expression`, `name ~ distribution(…)` or a declaration"),
        })
    }

    /// Something must follow the previous token, and does not.
    fn dangling(&self) -> Option<Diagnostic> {
        let previous = self.previous()?;
        let text = previous.text(self.source);
        let wanted = ["an expression", "a type such as `[H]` or `id(V)`", "a name"]
            .into_iter()
            .find(|phrase| self.expected.contains(phrase))?;
        if ends_operand(previous, self.source) && previous.kind != TokenKind::Name {
            return None;
        }
        // After a name an operator may follow, too: then it is not what precedes that asks for more.
        if self.expected.contains(&"an operator") {
            return None;
        }
        let broken_off = self.found().is_none_or(|token| token.starts_line);
        let found = if broken_off { String::new() } else { self.but_found() };
        let span = if broken_off { previous.span } else { self.span() };
        let error = Diagnostic::error(
            "expected-expression",
            span,
            format!("expected {wanted} after `{}`{found}", short(text)),
        );
        let found = self.text(self.found());
        Some(match (text, found) {
            (_, "*" | "/" | "@" | "^" | "+") if wanted == "an expression" => {
                error.help("two operators follow each other: remove one or add what stands between them")
            }
            (",", ")" | "]") => error.help("remove the comma"),
            ("(", ")") => error.help("remove the empty brackets"),
            ("[", "]") if wanted == "an expression" => {
                error.help("`[]` is a scalar's type; a scalar value is a number")
            }
            _ => error,
        })
    }

    /// All else.
    fn unexpected(&self) -> Diagnostic {
        let mut wanted = self.expected.clone();
        if wanted.is_empty() {
            wanted.push("something else");
        }
        let list = match wanted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => wanted.concat(),
        };
        let error = Diagnostic::error(
            "unexpected-token",
            self.span(),
            format!("expected {list}{}", self.but_found()),
        );
        let operand = self.previous().is_some_and(|token| ends_operand(token, self.source));
        let begins = self.found().is_some_and(|token| token.kind != TokenKind::Symbol);
        let after_over = self.tokens.iter().take(self.at).any(|token| token.text(self.source) == "over");
        if after_over && self.expected.contains(&"`)`") {
            return error.help("`over` takes all names that follow: put it behind the other arguments");
        }
        if operand && begins && self.expected.contains(&"an operator") {
            return error.help("write products with `*` or `@`, and arguments with `,` between them");
        }
        if self.expected.contains(&ITEM) {
            return error.help("equations stand inside `model Name(H = 128) { … }`");
        }
        error
    }
}

/// Whether an operand may end with this token.
pub(super) fn ends_operand(token: &Token, source: &str) -> bool {
    match token.kind {
        TokenKind::Symbol => matches!(token.text(source), ")" | "]" | "}"),
        _ => true,
    }
}

/// A text short enough for a message.
fn short(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}
