//! Expressions: precedence over the grammar's flat rows of operands and operators.
//!
//! `r * U @ h + b` arrives as `r`, `*`, `U`, `@`, `h`, `+`, `b` and leaves as `(r * (U @ h)) + b`.
//! Only brackets recurse here; chains of operators, signs, powers and postfixes are loops, so that
//! the stack needed is bounded by the nesting that [`crate::syntax::limits`] allows.

use std::iter::Peekable;

use pest::iterators::{Pair, Pairs};

use super::{Builder, Built, Rule, mismatch};
use crate::base::{Diagnostic, Span};
use crate::syntax::ast::{Arg, BinaryOp, Expr, ExprKind, Index};

type Row<'i> = Peekable<Pairs<'i, Rule>>;

impl Builder<'_> {
    /// An `expression` pair.
    pub(super) fn expression(&self, pair: Pair<Rule>) -> Built<Expr> {
        if pair.as_rule() != Rule::expression {
            return Err(mismatch(self.span(&pair)));
        }
        let span = self.span(&pair);
        let mut row = pair.into_inner().peekable();
        let left = self.infix(&mut row, span, ADDITIVE)?;
        let Some(operator) = take(&mut row, |op| level(op) == COMPARISON) else {
            return Ok(left);
        };
        let compared = binary(operator, left, self.infix(&mut row, span, ADDITIVE)?);
        match row.peek() {
            None => Ok(compared),
            Some(next) => Err(Box::new(
                Diagnostic::error(
                    "chained-comparison",
                    self.span(next),
                    "comparisons do not chain: each gives 0 or 1",
                )
                .label(compared.span, "this is compared already")
                .help("multiply two comparisons to ask for both: `(a < b) * (b < c)`"),
            )),
        }
    }

    /// A row of operators of `precedence` and tighter ones, grouped from the left.
    fn infix(&self, row: &mut Row, span: Span, precedence: u8) -> Built<Expr> {
        if precedence > PRODUCT {
            return self.signed(row, span);
        }
        let mut left = self.infix(row, span, precedence + 1)?;
        while let Some(operator) = take(row, |op| level(op) == precedence) {
            left = binary(operator, left, self.infix(row, span, precedence + 1)?);
        }
        Ok(left)
    }

    /// `-x^-y^z`: signs bind looser than `^`, which groups from the right.
    fn signed(&self, row: &mut Row, span: Span) -> Built<Expr> {
        let mut powers = vec![(self.signs(row), self.atom(next(row, span)?)?)];
        while take(row, |op| op == BinaryOp::Power).is_some() {
            powers.push((self.signs(row), self.atom(next(row, span)?)?));
        }
        let mut exponent: Option<Expr> = None;
        while let Some((signs, base)) = powers.pop() {
            let value = match exponent {
                Some(exponent) => binary(BinaryOp::Power, base, exponent),
                None => base,
            };
            exponent = Some(signs.into_iter().rev().fold(value, |value, sign| {
                let span = sign.to(value.span);
                Expr { kind: ExprKind::Negate(Box::new(value)), span }
            }));
        }
        exponent.ok_or_else(|| mismatch(span))
    }

    fn signs(&self, row: &mut Row) -> Vec<Span> {
        let mut signs = Vec::new();
        while let Some(sign) = row.next_if(|pair| pair.as_rule() == Rule::minus) {
            signs.push(self.span(&sign));
        }
        signs
    }

    /// A primary with its postfixes: `W.T`, `enc.h[last]`, `LSTM(E, H)(x)`.
    fn atom(&self, pair: Pair<Rule>) -> Built<Expr> {
        let span = self.span(&pair);
        let mut inner = pair.into_inner();
        let mut value = self.primary(self.child(&mut inner, span)?)?;
        for postfix in inner {
            let span = value.span.to(self.span(&postfix));
            let base = Box::new(value);
            let kind = match postfix.as_rule() {
                Rule::transpose => ExprKind::Transpose(base),
                Rule::field => {
                    ExprKind::Field(base, self.ident(&self.child(&mut postfix.into_inner(), span)?))
                }
                Rule::index => {
                    let entries = self.children(postfix).map(|entry| self.index_entry(entry));
                    ExprKind::Index(base, entries.collect::<Built<_>>()?)
                }
                Rule::arguments => ExprKind::Call(base, self.arguments(postfix)?),
                _ => return Err(mismatch(span)),
            };
            value = Expr { kind, span };
        }
        Ok(value)
    }

    fn primary(&self, pair: Pair<Rule>) -> Built<Expr> {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::number => number(pair.as_str(), span)?,
            Rule::name => ExprKind::Name(pair.as_str().to_string()),
            Rule::concat => {
                let parts = self.children(pair).map(|part| self.expression(part));
                ExprKind::Concat(parts.collect::<Built<_>>()?)
            }
            // The brackets belong to the place, so that the place of `(a + b) * c` begins at them.
            Rule::group => self.expression(self.child(&mut pair.into_inner(), span)?)?.kind,
            _ => return Err(mismatch(span)),
        };
        Ok(Expr { kind, span })
    }

    fn index_entry(&self, pair: Pair<Rule>) -> Built<Index> {
        let span = self.span(&pair);
        let (mut before, mut after, mut colon) = (None, None, false);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::colon => colon = true,
                _ if colon => after = Some(self.expression(part)?),
                _ => before = Some(self.expression(part)?),
            }
        }
        match (before, colon) {
            (before, true) => Ok(Index::Range(before, after)),
            (Some(at), false) => Ok(Index::At(at)),
            (None, false) => Err(mismatch(span)),
        }
    }

    /// `(x, h = y, along t, z over s)`
    pub(super) fn arguments(&self, pair: Pair<Rule>) -> Built<Vec<Arg>> {
        self.children(pair).map(|argument| self.argument(argument)).collect()
    }

    fn argument(&self, pair: Pair<Rule>) -> Built<Arg> {
        let span = self.span(&pair);
        let rule = pair.as_rule();
        let axes = if rule == Rule::value { self.names(pair.clone()) } else { Vec::new() };
        let mut inner = pair.into_inner();
        let first = self.child(&mut inner, span)?;
        match rule {
            Rule::named => Ok(Arg::Named(self.ident(&first), self.text(self.child(&mut inner, span)?)?)),
            Rule::along => Ok(Arg::Along(self.ident(&first))),
            Rule::value if axes.is_empty() => Ok(Arg::Value(self.text(first)?)),
            Rule::value => Ok(Arg::Over(self.expression(first)?, axes)),
            _ => Err(mismatch(span)),
        }
    }

    /// A string literal, or an expression.
    fn text(&self, pair: Pair<Rule>) -> Built<Expr> {
        if pair.as_rule() != Rule::text {
            return self.expression(pair);
        }
        let span = self.span(&pair);
        let text = pair.as_str().trim_matches('"').to_string();
        Ok(Expr { kind: ExprKind::Text(text), span })
    }
}

const COMPARISON: u8 = 1;
const ADDITIVE: u8 = 2;
const PRODUCT: u8 = 4;

/// How tightly an infix operator binds; `^` is tightest.
fn level(operator: BinaryOp) -> u8 {
    use BinaryOp::*;
    match operator {
        Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual => COMPARISON,
        Add | Subtract => ADDITIVE,
        Multiply | Divide => 3,
        MatMul => PRODUCT,
        Power => 6,
    }
}

fn operator(text: &str) -> Option<BinaryOp> {
    Some(match text {
        "==" => BinaryOp::Equal,
        "!=" => BinaryOp::NotEqual,
        "<" => BinaryOp::Less,
        "<=" => BinaryOp::LessEqual,
        ">" => BinaryOp::Greater,
        ">=" => BinaryOp::GreaterEqual,
        "+" => BinaryOp::Add,
        "-" => BinaryOp::Subtract,
        "*" => BinaryOp::Multiply,
        "/" => BinaryOp::Divide,
        "@" => BinaryOp::MatMul,
        "^" => BinaryOp::Power,
        _ => return None,
    })
}

/// Takes the next operator off the row if it is wanted.
fn take(row: &mut Row, wanted: impl Fn(BinaryOp) -> bool) -> Option<BinaryOp> {
    let pair = row.peek().filter(|pair| pair.as_rule() == Rule::infix)?;
    let found = operator(pair.as_str()).filter(|op| wanted(*op))?;
    row.next();
    Some(found)
}

fn next<'i>(row: &mut Row<'i>, span: Span) -> Built<Pair<'i, Rule>> {
    row.next().ok_or_else(|| mismatch(span))
}

fn binary(operator: BinaryOp, left: Expr, right: Expr) -> Expr {
    let span = left.span.to(right.span);
    Expr { kind: ExprKind::Binary(operator, Box::new(left), Box::new(right)), span }
}

fn number(text: &str, span: Span) -> Built<ExprKind> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(ExprKind::Number(value)),
        _ => Err(Box::new(Diagnostic::error(
            "number-too-large",
            span,
            "this number is too large for a 64-bit float",
        ))),
    }
}
