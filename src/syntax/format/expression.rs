//! An expression as text, with the brackets it needs and no others.
//!
//! `Binary(Multiply, Binary(Add, a, b), c)` prints as `(a + b) * c`, and parsing that gives the tree
//! back. Deep trees are safe: what is left to print waits on a list, not on the stack.

use crate::syntax::ast::{Arg, BinaryOp, Expr, ExprKind, Ident, Index};

/// How tightly a form binds; what is below the wanted tightness gets brackets.
mod tightness {
    pub const ANY: u8 = 0;
    pub const COMPARISON: u8 = 1;
    pub const SUM: u8 = 2;
    pub const PRODUCT: u8 = 3;
    pub const MATMUL: u8 = 4;
    pub const SIGN: u8 = 5;
    pub const POWER: u8 = 6;
    pub const POSTFIX: u8 = 7;
}
use tightness::*;

/// What is still to be printed.
enum Work<'e> {
    /// An expression that must bind at least so tightly.
    Tree(&'e Expr, u8),
    /// Text as it stands.
    Text(&'e str),
}

/// Prints an expression on one line.
pub fn expression(expr: &Expr) -> String {
    let mut out = String::new();
    let mut waiting = vec![Work::Tree(expr, ANY)];
    while let Some(work) = waiting.pop() {
        let mut parts = Vec::new();
        match work {
            Work::Text(text) => out.push_str(text),
            Work::Tree(expr, least) if tightness(expr) < least => {
                parts.extend([Work::Text("("), Work::Tree(expr, ANY), Work::Text(")")]);
            }
            Work::Tree(Expr { kind: ExprKind::Number(value), .. }, _) => out.push_str(&number(*value)),
            Work::Tree(expr, _) => unfold(&expr.kind, &mut parts),
        }
        waiting.extend(parts.into_iter().rev());
    }
    out
}

/// The parts of a form, first to last.
fn unfold<'e>(kind: &'e ExprKind, parts: &mut Vec<Work<'e>>) {
    use Work::{Text, Tree};
    match kind {
        ExprKind::Number(_) => {}
        ExprKind::Text(text) => parts.extend([Text("\""), Text(text), Text("\"")]),
        ExprKind::Name(name) => parts.push(Text(name)),
        ExprKind::Field(base, field) => parts.extend([Tree(base, POSTFIX), Text("."), Text(&field.text)]),
        ExprKind::Transpose(base) => parts.extend([Tree(base, POSTFIX), Text(".T")]),
        ExprKind::Negate(value) => parts.extend([Text("-"), Tree(value, SIGN)]),
        ExprKind::Binary(operator, left, right) => {
            let (symbol, own) = operator_text(*operator);
            let (left_least, right_least) = match own {
                POWER => (POSTFIX, SIGN),
                COMPARISON => (SUM, SUM),
                _ => (own, own + 1),
            };
            parts.extend([Tree(left, left_least), Text(symbol), Tree(right, right_least)]);
        }
        ExprKind::Index(base, entries) => {
            parts.push(Tree(base, POSTFIX));
            list(parts, ["[", "]"], entries, |parts, entry| match entry {
                Index::At(at) => position(parts, at),
                Index::Range(from, to) => {
                    from.iter().for_each(|from| position(parts, from));
                    parts.push(Text(":"));
                    to.iter().for_each(|to| position(parts, to));
                }
            });
        }
        ExprKind::Call(base, args) => {
            parts.push(Tree(base, POSTFIX));
            list(parts, ["(", ")"], args, |parts, arg| match arg {
                Arg::Value(value) => parts.push(Tree(value, ANY)),
                Arg::Named(name, value) => parts.extend([Text(&name.text), Text(" = "), Tree(value, ANY)]),
                Arg::Along(axis) => parts.extend([Text("along "), Text(&axis.text)]),
                Arg::Over(value, axes) => {
                    parts.push(Tree(value, ANY));
                    list(parts, [" over ", ""], axes, |parts, axis: &Ident| parts.push(Text(&axis.text)));
                }
            });
        }
        ExprKind::Concat(values) => {
            list(parts, ["[", "]"], values, |parts, value| parts.push(Tree(value, ANY)))
        }
    }
}

/// Items with commas between two brackets.
fn list<'e, T>(
    parts: &mut Vec<Work<'e>>,
    [open, close]: [&'e str; 2],
    items: &'e [T],
    mut one: impl FnMut(&mut Vec<Work<'e>>, &'e T),
) {
    parts.push(Work::Text(open));
    for (at, item) in items.iter().enumerate() {
        parts.extend((at > 0).then_some(Work::Text(", ")));
        one(parts, item);
    }
    parts.push(Work::Text(close));
}

/// One side of an index entry: `t-1` stands tight, anything longer as elsewhere.
fn position<'e>(parts: &mut Vec<Work<'e>>, at: &'e Expr) {
    if let ExprKind::Binary(operator @ (BinaryOp::Add | BinaryOp::Subtract), left, right) = &at.kind
        && matches!(left.kind, ExprKind::Name(_))
        && matches!(right.kind, ExprKind::Number(value) if value.is_sign_positive())
    {
        let sign = if *operator == BinaryOp::Add { "+" } else { "-" };
        return parts.extend([Work::Tree(left, ANY), Work::Text(sign), Work::Tree(right, ANY)]);
    }
    parts.push(Work::Tree(at, ANY));
}

fn tightness(expr: &Expr) -> u8 {
    match &expr.kind {
        ExprKind::Binary(operator, ..) => operator_text(*operator).1,
        ExprKind::Negate(_) => SIGN,
        // No text means a negative number: it reads as a sign and a number.
        ExprKind::Number(value) if value.is_sign_negative() => SIGN,
        _ => POSTFIX,
    }
}

fn operator_text(operator: BinaryOp) -> (&'static str, u8) {
    match operator {
        BinaryOp::Equal => (" == ", COMPARISON),
        BinaryOp::NotEqual => (" != ", COMPARISON),
        BinaryOp::Less => (" < ", COMPARISON),
        BinaryOp::LessEqual => (" <= ", COMPARISON),
        BinaryOp::Greater => (" > ", COMPARISON),
        BinaryOp::GreaterEqual => (" >= ", COMPARISON),
        BinaryOp::Add => (" + ", SUM),
        BinaryOp::Subtract => (" - ", SUM),
        BinaryOp::Multiply => (" * ", PRODUCT),
        BinaryOp::Divide => (" / ", PRODUCT),
        BinaryOp::MatMul => (" @ ", MATMUL),
        BinaryOp::Power => ("^", POWER),
    }
}

/// The shortest text that reads as this number.
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) { format!("{value:e}") } else { value.to_string() }
}
