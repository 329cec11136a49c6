//! Text to tokens, without judging them.
//!
//! `h[t] = W @ x # gate` gives the tokens `h`, `[`, `t`, `]`, `=`, `W`, `@`, `x` and one comment.
//!
//! The grammar decides what is legal; these tokens serve what a grammar is bad at: measuring a file
//! before it is parsed ([`super::limits`]), going on after an error, saying what stands at a place,
//! and laying out text with its comments. Scanning never fails: what no rule knows is
//! [`TokenKind::Unknown`].

use crate::base::Span;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// `W_f`
    Name,
    /// `0.5`
    Number,
    /// `"ij,j->i"`
    Text,
    /// An operator, bracket or separator, also ones that only other languages have (`:=`, `**`).
    Symbol,
    /// `# to the end of the line`
    Comment,
    /// Anything else: `2x`, `§`, an unclosed string.
    Unknown,
}

/// A token and its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes.
    pub span: Span,
    /// Whether it is the first on its line.
    pub starts_line: bool,
}

impl Token {
    /// First byte.
    pub fn start(&self) -> usize {
        self.span.start as usize
    }

    /// One past the last byte.
    pub fn end(&self) -> usize {
        self.span.end as usize
    }

    /// Its text in the source that was scanned.
    pub fn text<'s>(&self, source: &'s str) -> &'s str {
        source.get(self.start()..self.end()).unwrap_or("")
    }
}

/// The tokens of a text, in order.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// All but comments.
    pub tokens: Vec<Token>,
    /// Comments, without their line ends.
    pub comments: Vec<Token>,
}

/// Symbols of two characters; the second row is not the language's, but is seen as one for messages.
const PAIRS: [&str; 14] =
    ["==", "!=", "<=", ">=", "->", ":=", "**", "//", "+=", "-=", "*=", "/=", "&&", "||"];

/// Characters that are symbols alone.
const SYMBOLS: &str = "()[]{}.,:;=~+-*/@^<>!&|";

/// Splits `source` into tokens.
pub(super) fn scan(source: &str) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    let mut starts_line = true;
    while let Some(first) = source.get(at..).and_then(|rest| rest.chars().next()) {
        if matches!(first, ' ' | '\t' | '\r' | '\n' | '\u{FEFF}') {
            starts_line |= matches!(first, '\r' | '\n');
            at += first.len_utf8();
            continue;
        }
        let (kind, length) = token(&source[at..], first);
        let token = Token { kind, span: Span::new(at, at + length), starts_line };
        match kind {
            TokenKind::Comment => scan.comments.push(token),
            _ => scan.tokens.push(token),
        }
        starts_line = false;
        at += length;
    }
    scan
}

/// Kind and length in bytes of the token that `rest` begins with.
fn token(rest: &str, first: char) -> (TokenKind, usize) {
    let bytes = rest.as_bytes();
    if first == '#' {
        return (TokenKind::Comment, rest.find(['\n', '\r']).unwrap_or(rest.len()));
    }
    if is_name(first as u32) && !first.is_ascii_digit() {
        return (TokenKind::Name, run(bytes, 0, |byte| is_name(byte.into())));
    }
    if first.is_ascii_digit() {
        return number(bytes);
    }
    if first == '"' {
        let end = rest[1..].find(['"', '\n', '\r']).map_or(rest.len(), |end| end + 1);
        return match bytes.get(end) {
            Some(b'"') => (TokenKind::Text, end + 1),
            _ => (TokenKind::Unknown, end),
        };
    }
    if PAIRS.iter().any(|pair| rest.starts_with(pair)) {
        return (TokenKind::Symbol, 2);
    }
    if SYMBOLS.contains(first) {
        return (TokenKind::Symbol, 1);
    }
    (TokenKind::Unknown, first.len_utf8())
}

/// `1`, `0.5`, `1e-5`; letters right behind it make it unknown as a whole (`2x`).
fn number(bytes: &[u8]) -> (TokenKind, usize) {
    let digits = |from| run(bytes, from, |byte| byte.is_ascii_digit());
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > end + 1 {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if digits(end + 1 + sign) > end + 1 + sign {
            end = digits(end + 1 + sign);
        }
    }
    match run(bytes, end, |byte| is_name(byte.into())) {
        whole if whole > end => (TokenKind::Unknown, whole),
        _ => (TokenKind::Number, end),
    }
}

/// The end of the bytes from `from` on that `keep` holds for.
fn run(bytes: &[u8], from: usize, keep: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or(&[]);
    from + rest.iter().position(|byte| !keep(*byte)).unwrap_or(rest.len())
}

/// Whether a character may stand in a name (not first, if a digit).
fn is_name(character: u32) -> bool {
    u8::try_from(character).is_ok_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expect: &str) {
        let scan = scan(source);
        let texts: Vec<&str> = scan.tokens.iter().map(|token| token.text(source)).collect();
        assert_eq!(texts.join("|"), expect);
    }

    #[test]
    fn splits_as_the_grammar_does() {
        check("h[t]=W@x # gate\n y", "h|[|t|]|=|W|@|x|y");
        check("1e-5+2.5e3*x.T", "1e-5|+|2.5e3|*|x|.|T");
        check("a:=2x \"ij,j->i\" \"open", "a|:=|2x|\"ij,j->i\"|\"open");
        check("é\u{a0}h", "é|\u{a0}|h");
    }
}
