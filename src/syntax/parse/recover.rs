//! All the syntax errors of a file in one run: where one piece fails, the next is tried.
//!
//! A file with a bad head in one cell and two bad lines in a model gives three diagnostics. Items
//! are cut at lines that begin one (`cell Name`, `model Name`, `fn name`), the body of a failed
//! block at lines that begin a statement; each piece is parsed alone, at its own place.
//!
//! Nothing is repaired: a file with an error has no tree.

use std::ops::Range;

use pest::Parser;
use pest::iterators::Pairs;

use super::words::{DECLARING, closer, describe, ends_operand, tokens_in};
use super::{Builder, Grammar, Rule};
use crate::base::{Diagnostic, Span};
use crate::syntax::scan::{Scan, Token, TokenKind};

/// Most errors that are reported of one file.
const MAX_ERRORS: usize = 100;

/// Everything wrong with a file that the grammar refused with `error`; at least one diagnostic.
pub(super) fn errors(source: &str, scan: &Scan, error: &pest::error::Error<Rule>) -> Vec<Diagnostic> {
    let mut recovery = Recovery { source, scan, errors: Vec::new() };
    let mut starts: Vec<usize> = scan.tokens.first().map(Token::start).into_iter().collect();
    for (at, pair) in scan.tokens.windows(2).enumerate() {
        let behind_brace = || at.checked_sub(1).is_some_and(|before| scan.tokens[before].text(source) == "}");
        if let [word, name] = pair
            && begins_item(word, name, source)
            && (word.starts_line || behind_brace())
        {
            starts.push(word.start());
        }
    }
    starts.dedup();
    for (at, start) in starts.iter().enumerate() {
        recovery.item(*start..starts.get(at + 1).copied().unwrap_or(source.len()));
    }
    let mut errors = recovery.errors;
    if errors.is_empty() {
        errors.push(describe(source, scan, 0..source.len(), error));
    }
    errors.sort_by_key(|error| error.span);
    errors.dedup_by(|a, b| a.span == b.span && a.message == b.message);
    if let Some(next) = errors.get(MAX_ERRORS) {
        let message = format!("and {} more errors from here on", errors.len() - MAX_ERRORS);
        let rest = Diagnostic::error("more-errors", next.span, message);
        errors.truncate(MAX_ERRORS);
        errors.push(rest);
    }
    errors
}

fn begins_item(word: &Token, name: &Token, source: &str) -> bool {
    matches!(word.text(source), "cell" | "model" | "fn") && name.kind == TokenKind::Name && !name.starts_line
}

struct Recovery<'s> {
    source: &'s str,
    scan: &'s Scan,
    errors: Vec<Diagnostic>,
}

impl<'s> Recovery<'s> {
    /// Parses a piece; what it builds is dropped, what is wrong with it is kept.
    fn piece(&mut self, region: Range<usize>, rule: Rule) -> Result<(), Box<Diagnostic>> {
        let text = self.source.get(region.clone()).unwrap_or("");
        match Grammar::parse(rule, text) {
            Ok(pairs) => {
                self.build(pairs, region.start);
                Ok(())
            }
            Err(error) => Err(Box::new(describe(self.source, self.scan, region, &error))),
        }
    }

    /// Mistakes that only the builder sees.
    fn build(&mut self, pairs: Pairs<Rule>, offset: usize) {
        let builder = Builder { scan: self.scan, offset };
        for pair in pairs.flat_map(|pair| pair.into_inner()) {
            let built = match pair.as_rule() {
                Rule::block | Rule::function => builder.item(pair).map(drop),
                Rule::statement => builder.statement(pair).map(drop),
                _ => Ok(()),
            };
            self.errors.extend(built.err().map(|error| *error));
        }
    }

    /// A region that begins with an item and reaches to the next.
    fn item(&mut self, region: Range<usize>) {
        let Some(first) = tokens_in(self.scan, &region).first() else { return };
        let Err(error) = self.piece(region.clone(), Rule::file) else { return };
        let is_block = matches!(first.text(self.source), "cell" | "model");
        let before = self.errors.len();
        let rest = if is_block { self.block(region.clone()) } else { None };
        // What stands behind the block's brace is no item, or it would be a region of its own.
        let rest = rest.map(|rest| rest..region.end).filter(|rest| !tokens_in(self.scan, rest).is_empty());
        match rest {
            Some(rest) => {
                let error = self.piece(rest, Rule::file).err();
                self.errors.extend(error.map(|error| *error));
            }
            None if self.errors.len() == before => self.errors.push(*error),
            None => {}
        }
    }

    /// A failed block: its head, then its statements. Returns where the text behind it begins.
    fn block(&mut self, region: Range<usize>) -> Option<usize> {
        let tokens = tokens_in(self.scan, &region);
        let open = tokens.iter().position(|token| token.text(self.source) == "{")?;
        let head = region.start..tokens.get(open)?.end();
        if let Err(error) = self.piece(head, Rule::single_head) {
            self.errors.push(*error);
        }
        let partners = partners(tokens, self.source);
        let close = partners.get(open).copied().flatten();
        let body = tokens.get(open + 1..close.unwrap_or(tokens.len())).unwrap_or(&[]);
        let end = close.and_then(|close| tokens.get(close)).map_or(region.end, Token::start);
        let starts = statement_starts(body, partners.get(open + 1..).unwrap_or(&[]), open + 1, self.source);
        for (at, start) in starts.iter().enumerate() {
            let piece = *start..starts.get(at + 1).copied().unwrap_or(end);
            if let Err(error) = self.piece(piece, Rule::statement_row) {
                self.errors.push(*error);
            }
        }
        match close.and_then(|close| tokens.get(close)) {
            Some(brace) => Some(brace.end()),
            None => {
                self.unclosed(tokens, open);
                None
            }
        }
    }

    /// The text ends inside a block.
    fn unclosed(&mut self, tokens: &[Token], open: usize) {
        let (Some(brace), Some(last)) = (tokens.get(open), tokens.last()) else {
            return;
        };
        // A statement that breaks off with the text is the same mistake, not a second one.
        if self
            .errors
            .last()
            .is_some_and(|error| error.span.end >= last.span.end || breaks_off(error, last.span))
        {
            self.errors.pop();
        }
        let name = tokens.get(1).map_or("", |token| token.text(self.source));
        self.errors.push(
            Diagnostic::error(
                "unclosed-bracket",
                last.span,
                format!("the block of `{name}` is never closed"),
            )
            .note("the text ends here")
            .label(brace.span, "this `{` is still open")
            .help("add `}`"),
        );
    }
}

/// Whether an error about a bracket says that its partner is missing at the end of the text.
fn breaks_off(error: &Diagnostic, end: Span) -> bool {
    error.rule == "unclosed-bracket" && error.labels.iter().any(|label| label.span == end)
}

/// The index of the partner of each bracket; brackets without one are as if they were not there.
fn partners(tokens: &[Token], source: &str) -> Vec<Option<usize>> {
    let mut partners = vec![None; tokens.len()];
    let mut open: Vec<(usize, &str)> = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == TokenKind::Symbol) {
        let text = token.text(source);
        if matches!(text, "(" | "[" | "{") {
            open.push((at, text));
        }
        // A `)` finds its `(` across a forgotten `]`, but not across the brace of a block.
        let fits = |(_, opened): &(usize, &str)| closer(opened) == Some(text);
        let reachable = |(_, opened): &(usize, &str)| text == "}" || *opened != "{";
        let found = open.iter().rev().take_while(|entry| fits(entry) || reachable(entry)).position(fits);
        if let Some(depth) = found.filter(|_| matches!(text, ")" | "]" | "}")) {
            open.truncate(open.len() - depth);
            if let Some((partner, _)) = open.pop() {
                partners[partner] = Some(at);
                partners[at] = Some(partner);
            }
        }
    }
    partners
}

/// Where the statements of a body begin, as far as lines and brackets tell.
fn statement_starts(body: &[Token], partners: &[Option<usize>], offset: usize, source: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut depth = 0_usize;
    for (at, token) in body.iter().enumerate() {
        if let Some(partner) = partners.get(at).copied().flatten() {
            depth = if partner > at + offset { depth + 1 } else { depth.saturating_sub(1) };
        }
        let previous = at.checked_sub(1).and_then(|before| body.get(before));
        // Two operands never stand side by side, so a name behind an operand begins a statement.
        let after_operand = previous.is_none_or(|previous| ends_operand(previous, source));
        let begins = token.kind == TokenKind::Name
            && token.starts_line
            && depth == 0
            && (looks_like_statement(&body[at..], source) || after_operand && !continues(token, source));
        if at == 0 || begins {
            starts.push(token.start());
        }
    }
    starts
}

/// `over t` and `of W` go on with the declaration of the line before.
fn continues(token: &Token, source: &str) -> bool {
    matches!(token.text(source), "over" | "of")
}

/// `name =`, `enc.h[t] ~`, `param W:` and the like, whatever stands before it.
fn looks_like_statement(tokens: &[Token], source: &str) -> bool {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text(source));
    let is_name = |at: usize| tokens.get(at).is_some_and(|token| token.kind == TokenKind::Name);
    if is_name(1) {
        return DECLARING.contains(&text(0)) || matches!(text(0), "loss" | "metric");
    }
    let mut at = 1;
    while text(at) == "." && is_name(at + 1) {
        at += 2;
    }
    if text(at) == "[" && is_name(at + 1) {
        at += 2;
        while text(at) == "," && is_name(at + 1) {
            at += 2;
        }
        at += usize::from(text(at) == "]");
    }
    matches!(text(at), "=" | "~" | ":=") || text(0) == "train" && text(1) == "{"
}
