//! Text to tree: runs the grammar, builds the AST, and on failure collects every syntax error.
//!
//! `h = tanh(W @ x)` becomes `Equation { target: h, value: Call(tanh, [W @ x]) }`; a file with three
//! bad lines gives three diagnostics, each in words and with its place.
//!
//! A parse has four steps: [`limits`](super::limits) refuses what is too large to recurse over, the
//! grammar decides, `items`/`statements`/`expressions` build the tree, and `recover` with `words`
//! turns a failure into diagnostics. Names, shapes and axes are not looked at.

mod expressions;
mod items;
mod phrases;
mod recover;
mod statements;
mod words;

use pest::Parser;
use pest::iterators::{Pair, Pairs};

use super::ast;
use super::limits;
use super::scan::{Scan, scan};
use crate::base::{Diagnostic, Span};

/// The parser that pest derives from the grammar.
#[derive(pest_derive::Parser)]
#[grammar = "../grammar/rnn.pest"]
pub(super) struct Grammar;

/// What a builder returns: the tree, or what is wrong although the grammar accepts it.
/// Boxed, for a diagnostic is large and this is the result of every step.
type Built<T> = Result<T, Box<Diagnostic>>;

/// Parses a whole file.
///
/// # Errors
/// Every syntax error of the file, in the order of their places; at least one.
pub fn parse(source: &str) -> Result<ast::File, Vec<Diagnostic>> {
    let scan = prepare(source)?;
    match Grammar::parse(Rule::file, source) {
        Ok(pairs) => Builder { scan: &scan, offset: 0 }.file(pairs),
        Err(error) => Err(recover::errors(source, &scan, &error)),
    }
}

/// Parses one expression and nothing else.
///
/// # Errors
/// What is wrong with it, as one diagnostic.
pub fn parse_expression(source: &str) -> Result<ast::Expr, Vec<Diagnostic>> {
    parse_piece(source, Rule::single_expression, |builder, pairs, span| {
        let expression = builder.child(pairs, span)?;
        builder.expression(expression)
    })
}

/// Parses one statement of a block and nothing else.
///
/// # Errors
/// What is wrong with it, as one diagnostic.
pub fn parse_statement(source: &str) -> Result<ast::Statement, Vec<Diagnostic>> {
    parse_piece(source, Rule::single_statement, |builder, pairs, span| {
        let statement = builder.child(pairs, span)?;
        builder.statement(statement)
    })
}

/// Measures and scans a text; an empty or immoderate one is refused with one diagnostic.
pub(super) fn prepare(source: &str) -> Result<Scan, Vec<Diagnostic>> {
    if let Some(refusal) = limits::check_bytes(source) {
        return Err(vec![refusal]);
    }
    let scan = scan(source);
    if let Some(refusal) = limits::check_tokens(source, &scan) {
        return Err(vec![refusal]);
    }
    if scan.tokens.is_empty() {
        let place = Span::new(0, source.chars().next().map_or(0, char::len_utf8));
        return Err(vec![
            Diagnostic::error("empty-file", place, "there is nothing to compile: the text holds no item")
                .help("begin with `model Name(H = 128) { … }`"),
        ]);
    }
    Ok(scan)
}

/// Runs one of the grammar's `single_…` rules over the whole of `source`.
fn parse_piece<T>(
    source: &str,
    rule: Rule,
    build: impl Fn(&Builder, &mut Pairs<Rule>, Span) -> Built<T>,
) -> Result<T, Vec<Diagnostic>> {
    let scan = prepare(source)?;
    let builder = Builder { scan: &scan, offset: 0 };
    match Grammar::parse(rule, source) {
        Ok(mut pairs) => {
            let whole = Span::new(0, source.len());
            let built = builder.child(&mut pairs, whole);
            built
                .and_then(|pair| build(&builder, &mut pair.into_inner(), whole))
                .map_err(|error| vec![*error])
        }
        Err(error) => Err(vec![words::describe(source, &scan, 0..source.len(), &error)]),
    }
}

/// Turns the grammar's pairs into the tree.
struct Builder<'s> {
    /// The tokens of the whole file.
    scan: &'s Scan,
    /// Where the text that the grammar was given begins in the file.
    offset: usize,
}

impl Builder<'_> {
    /// The place of a pair, without the blanks and comments that the grammar takes behind it.
    fn span(&self, pair: &Pair<Rule>) -> Span {
        let raw = pair.as_span();
        let (start, end) = (self.offset + raw.start(), self.offset + raw.end());
        let after = self.scan.tokens.partition_point(|token| token.start() < end);
        let last = after.checked_sub(1).and_then(|at| self.scan.tokens.get(at));
        Span::new(start, last.map_or(end, |token| token.end().min(end)).max(start))
    }

    /// The next child that is no keyword.
    fn child<'i>(&self, pairs: &mut Pairs<'i, Rule>, parent: Span) -> Built<Pair<'i, Rule>> {
        pairs.find(|pair| !is_filler(pair.as_rule())).ok_or_else(|| mismatch(parent))
    }

    /// The children that are no keywords or closing brackets.
    fn children<'i>(&self, pair: Pair<'i, Rule>) -> impl Iterator<Item = Pair<'i, Rule>> {
        pair.into_inner().filter(|child| !is_filler(child.as_rule()))
    }

    fn ident(&self, pair: &Pair<Rule>) -> ast::Ident {
        ast::Ident { text: pair.as_str().to_string(), span: self.span(pair) }
    }
}

/// Pairs that stand for a word or symbol alone: they say nothing that their parent's rule does not.
fn is_filler(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::cell_word
            | Rule::model_word
            | Rule::fn_word
            | Rule::over_word
            | Rule::along_word
            | Rule::of_word
            | Rule::id_word
            | Rule::input_word
            | Rule::state_word
            | Rule::param_word
            | Rule::gradient_word
            | Rule::loss_word
            | Rule::metric_word
            | Rule::update_word
            | Rule::train_word
            | Rule::equals
            | Rule::tilde
            | Rule::type_colon
            | Rule::open_brace
            | Rule::close_brace
            | Rule::close_paren
            | Rule::close_bracket
            | Rule::EOI
    )
}

/// The grammar gave a pair that the builder has no place for: a mistake in this folder, not the user's.
fn mismatch(span: Span) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error("internal", span, "the grammar and the tree builder disagree about this text")
            .help("please report this text as a bug of the compiler"),
    )
}

#[cfg(test)]
mod tests;
