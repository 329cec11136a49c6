//! What is refused before it is parsed: files and expressions so large that a later, recursive
//! stage would overflow its stack or run away.
//!
//! `((((…))))` with more than [`MAX_NESTING`] brackets, or a chain `a + a + …` of more than
//! [`MAX_CHAIN`] operations, is one diagnostic at the place where the bound is passed. What passes
//! here has expression trees of at most [`MAX_CHAIN`] nodes from root to leaf.
//!
//! Whether the text means anything is not asked here.

use super::scan::{Scan, Token, TokenKind};
use crate::base::{Diagnostic, Span};

/// Deepest nesting of brackets.
pub const MAX_NESTING: usize = 200;
/// Most operators, postfixes and brackets on the way from an expression's root to a leaf.
pub const MAX_CHAIN: usize = 2_000;
/// Largest file in bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// Most tokens in a file: a tree is some hundred bytes a token.
pub const MAX_TOKENS: usize = 2_000_000;

/// Refuses what is too large to scan, or no text.
pub(super) fn check_bytes(source: &str) -> Option<Diagnostic> {
    if source.len() > MAX_BYTES {
        let place = floor_char(source, MAX_BYTES);
        return Some(Diagnostic::error(
            "file-too-large",
            Span::new(place, source.len()),
            format!("the file has {} bytes; at most {MAX_BYTES} (16 MiB) are read", source.len()),
        ));
    }
    let binary = |c: char| (c.is_control() && !matches!(c, '\t' | '\r' | '\n')) || c == '\u{FFFD}';
    let (place, found) = source.char_indices().find(|(_, c)| binary(*c))?;
    let message =
        format!("the file is not text: it holds the character U+{:04X} at byte {place}", found as u32);
    Some(
        Diagnostic::error("not-text", Span::new(place, place + found.len_utf8()), message)
            .help("a `.rnn` file is UTF-8 text without control characters"),
    )
}

/// The part of a bracket's content since the last separator.
#[derive(Default)]
struct Level {
    /// Operators and postfixes since the last separator.
    operations: usize,
    /// The longest way through a bracket since the last separator.
    inner: usize,
    /// The longest way through any part so far.
    longest: usize,
}

impl Level {
    fn way(&self) -> usize {
        self.operations + self.inner
    }

    fn separate(&mut self) {
        *self = Level { longest: self.longest.max(self.way()), ..Level::default() };
    }
}

/// Refuses nesting and chains beyond the bounds.
pub(super) fn check_tokens(source: &str, scan: &Scan) -> Option<Diagnostic> {
    if let Some(token) = scan.tokens.get(MAX_TOKENS) {
        return Some(Diagnostic::error(
            "file-too-large",
            token.span,
            format!("the file has {} words and symbols; at most {MAX_TOKENS} are read", scan.tokens.len()),
        ));
    }
    let mut levels = vec![Level::default()];
    let mut operand = false;
    for token in &scan.tokens {
        let text = if token.kind == TokenKind::Symbol { token.text(source) } else { "" };
        let behind_operand = std::mem::replace(&mut operand, matches!(text, "" | ")" | "]" | "}"));
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { continue };
        match text {
            // Two operands side by side: what follows is another statement.
            "" if behind_operand => level.separate(),
            "" => {}
            "(" | "[" | "{" => {
                if depth > MAX_NESTING {
                    return Some(too_nested(token));
                }
                levels.push(Level::default());
            }
            ")" | "]" | "}" if depth > 1 => {
                let inner = level.longest.max(level.way());
                levels.pop();
                if let Some(level) = levels.last_mut() {
                    level.inner = level.inner.max(inner);
                    level.operations += 1;
                    if text == "}" {
                        level.separate();
                    }
                }
            }
            ")" | "]" | "}" | "," | ":" | "=" | "~" | ";" | ":=" => level.separate(),
            _ => level.operations += 1,
        }
        if levels.last().is_some_and(|level| level.way() > MAX_CHAIN) {
            return Some(too_long(token));
        }
    }
    None
}

fn too_nested(token: &Token) -> Diagnostic {
    let message = format!("brackets are nested more than {MAX_NESTING} deep here");
    Diagnostic::error("nested-too-deep", token.span, message)
        .help("name an inner part by an equation of its own")
}

fn too_long(token: &Token) -> Diagnostic {
    let message = format!("this expression chains more than {MAX_CHAIN} operations");
    Diagnostic::error("chain-too-long", token.span, message).help("split it into several equations")
}

/// The last character boundary at or before `place`.
fn floor_char(source: &str, place: usize) -> usize {
    (0..=place.min(source.len())).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::scan::scan;
    use super::*;

    #[track_caller]
    fn check(source: &str, expect: &str) {
        let result = check_bytes(source).or_else(|| check_tokens(source, &scan(source)));
        assert_eq!(result.map_or("", |diagnostic| diagnostic.rule), expect);
    }

    #[test]
    fn bounds() {
        check(&format!("{}x{}", "(".repeat(200), ")".repeat(200)), "");
        check(&"(".repeat(201), "nested-too-deep");
        check(&format!("x = {}", vec!["a"; 2_000].join(" + ")), "");
        check(&format!("x = {}", vec!["a"; 2_002].join(" + ")), "chain-too-long");
        check(&format!("x = {}a", "-".repeat(2_002)), "chain-too-long");
        check(&format!("x = {}", vec!["a"; 2_002].join("^")), "chain-too-long");
        check(&format!("x = a{}", ".T".repeat(2_002)), "chain-too-long");
        check(&format!("x = a{}", "[0]".repeat(2_002)), "chain-too-long");
        check(&"x = a + b\n".repeat(3_000), "");
        check(&"gradient da of b.c".repeat(3_000), "");
        check(&"model M { train { a = -1 } }".repeat(3_000), "");
    }

    #[test]
    fn chains_inside_chains_add_up() {
        let chain = vec!["a"; 600].join(" + ");
        check(&format!("x = (({chain}) + {chain}) + {chain}"), "");
        check(&format!("x = ((({chain}) + {chain}) + {chain}) + {chain}"), "chain-too-long");
    }

    #[test]
    fn binary_and_huge() {
        check("h = \0", "not-text");
        check("h = \u{FFFD}", "not-text");
        check(&" ".repeat(MAX_BYTES + 1), "file-too-large");
    }
}
