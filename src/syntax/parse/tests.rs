//! What texts mean, and what is said about texts that mean nothing.

use super::*;
use crate::syntax::ast::{Arg, Expr, ExprKind, Index, Item, Statement};

/// An expression with all its brackets.
fn explicit(expr: &Expr) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match &expr.kind {
        ExprKind::Number(value) => value.to_string(),
        ExprKind::Text(text) => format!("{text:?}"),
        ExprKind::Name(name) => name.clone(),
        ExprKind::Field(base, field) => format!("{}.{}", explicit(base), field.text),
        ExprKind::Transpose(base) => format!("{}'", explicit(base)),
        ExprKind::Index(base, entries) => {
            let side = |side: &Option<Expr>| side.as_ref().map_or(String::new(), explicit);
            let entry = |entry: &Index| match entry {
                Index::At(at) => explicit(at),
                Index::Range(from, to) => format!("{}:{}", side(from), side(to)),
            };
            format!("{}[{}]", explicit(base), list(entries.iter().map(entry).collect()))
        }
        ExprKind::Call(base, args) => {
            let arg = |arg: &Arg| match arg {
                Arg::Value(value) => explicit(value),
                Arg::Named(name, value) => format!("{} = {}", name.text, explicit(value)),
                Arg::Over(value, axes) => {
                    format!(
                        "{} over {}",
                        explicit(value),
                        list(axes.iter().map(|axis| axis.text.clone()).collect())
                    )
                }
                Arg::Along(axis) => format!("along {}", axis.text),
            };
            format!("{}({})", explicit(base), list(args.iter().map(arg).collect()))
        }
        ExprKind::Negate(value) => format!("(-{})", explicit(value)),
        ExprKind::Binary(op, left, right) => {
            format!("({} {op:?} {})", explicit(left), explicit(right))
        }
        ExprKind::Concat(parts) => format!("[{}]", list(parts.iter().map(explicit).collect())),
    }
}

#[track_caller]
fn expression(source: &str, expect: &str) {
    match parse_expression(source) {
        Ok(expr) => assert_eq!(explicit(&expr), expect),
        Err(errors) => panic!("{source}: {errors:?}"),
    }
}

#[test]
fn precedence() {
    expression("r * U @ h + b", "((r Multiply (U MatMul h)) Add b)");
    expression("a - b - c * d / e", "((a Subtract b) Subtract ((c Multiply d) Divide e))");
    expression("-x^2", "(-(x Power 2))");
    expression("2^-x^3", "(2 Power (-(x Power 3)))");
    expression("a^b^c", "(a Power (b Power c))");
    expression("-a @ -b", "((-a) MatMul (-b))");
    expression("a + 1 <= b * 2", "((a Add 1) LessEqual (b Multiply 2))");
    expression("(a + b) * c", "((a Add b) Multiply c)");
    expression("W.T @ h^2.T", "(W' MatMul (h Power 2'))");
    expression("--a", "(-(-a))");
}

#[test]
fn postfixes_and_arguments() {
    expression("LSTM(E, H)(x, backward, h = 2 * y)", "LSTM(E, H)(x, backward, h = (2 Multiply y))");
    expression(
        "sum(softmax(score over s) * m over s, t)",
        "sum((softmax(score over s) Multiply m) over s, t)",
    );
    expression("W[:, 0:H][1:][:n]", "W[:, 0:H][1:][:n]");
    expression("enc.h[last].T.W", "enc.h[last]'.W");
    expression("einsum(\"ij,j->i\", W, x)", "einsum(\"ij,j->i\", W, x)");
    expression("scan(x, along t)", "scan(x, along t)");
    expression("f(along, over, a == b)", "f(along, over, (a Equal b))");
    expression("[h[t - 1], 1e-5, 2.5e3]", "[h[(t Subtract 1)], 0.00001, 2500]");
    expression("T.Test.T", "T.Test'");
}

#[track_caller]
fn statement(source: &str, expect: &str) {
    match parse_statement(source) {
        Ok(statement) => assert_eq!(outline(&statement), expect),
        Err(errors) => panic!("{source}: {errors:?}"),
    }
}

/// A statement in brief.
fn outline(statement: &Statement) -> String {
    let list = |declarations: &[ast::Declaration]| {
        let axis = |axis: &ast::AxisDecl| {
            format!(" over {}{}", if axis.tree { "tree " } else { "" }, axis.name.text)
        };
        let one = |d: &ast::Declaration| {
            let names = d.names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join("+");
            let ty = match &d.ty {
                ast::Type::Real(dims, _) => {
                    format!("[{}]", dims.iter().map(explicit).collect::<Vec<_>>().join(", "))
                }
                ast::Type::Id(size, _) => format!("id {}", explicit(size)),
            };
            let over: String = d.over.iter().map(axis).collect();
            let init = d.init.as_ref().map_or(String::new(), |init| format!(" = {}", explicit(init)));
            format!("{names}: {ty}{over}{init}")
        };
        declarations.iter().map(one).collect::<Vec<_>>().join("; ")
    };
    let target = |target: &ast::Target| {
        let index: String = target.index.iter().map(|axis| format!("@{}", axis.text)).collect();
        format!("{}{index}", target.name.text)
    };
    match statement {
        Statement::Input(declarations) => format!("input {}", list(declarations)),
        Statement::State(declarations) => format!("state {}", list(declarations)),
        Statement::Param(declarations) => format!("param {}", list(declarations)),
        Statement::Gradient(pairs) => {
            let pairs = pairs.iter().map(|(name, of)| format!("{} of {}", name.text, of.text));
            format!("gradient {}", pairs.collect::<Vec<_>>().join("; "))
        }
        Statement::Equation { target: left, value } => format!("{} = {}", target(left), explicit(value)),
        Statement::Observe { target: left, distribution, args, .. } => {
            format!("{} ~ {} of {}", target(left), distribution.text, args.len())
        }
        Statement::Loss { name, value } => format!("loss {} = {}", name.text, explicit(value)),
        Statement::Update { name, value } => format!("update {} = {}", name.text, explicit(value)),
        Statement::Metric { name, value } => format!("metric {} = {}", name.text, explicit(value)),
        Statement::Train { settings, .. } => {
            let settings =
                settings.iter().map(|(name, value)| format!("{} = {}", name.text, explicit(value)));
            format!("train {}", settings.collect::<Vec<_>>().join("; "))
        }
    }
}

#[test]
fn declarations_group_by_colon() {
    statement(
        "param W_f, h.W_i: [H, H + I] = ones, b: [H], c: [] over t, s = 2, d: [H]",
        "param W_f+h.W_i: [H, (H Add I)] = ones; b: [H]; c: [] over t over s = 2; d: [H]",
    );
    statement("input x: [I] over t, y, z: id(C)", "input x: [I] over t; y+z: id C");
    statement(
        "input x: [I] over tree n, t = 0, y: [] over n.leaf",
        "input x: [I] over tree n over t = 0; y: [] over n.leaf",
    );
    statement("input tree: [] over tree, y: []", "input tree: [] over tree; y: []");
    statement("f[n, n.child] = h[child]", "f@n@n.child = h[child]");
    statement("gradient dW of h.W, db of b", "gradient dW of h.W; db of b");
    statement(
        "train { a = adam(lr = 0.1), b = 2\n c = [1, 2] }",
        "train a = adam(lr = 0.1); b = 2; c = [1, 2]",
    );
}

#[test]
fn no_word_is_reserved_on_the_left() {
    statement("cell = LSTM(E, H)", "cell = LSTM(E, H)");
    statement("input ~ normal(param)", "input ~ normal of 1");
    statement("loss = train", "loss = train");
    statement("loss loss = x", "loss loss = x");
    statement("state[t, s] = over", "state@t@s = over");
    statement("h.W[t] = 1", "h.W@t = 1");
}

#[test]
fn spans_leave_out_blanks_and_comments() {
    let source = "model M { # head\n  y = a + b # end\n\n} # after\n";
    let file = parse(source).unwrap();
    let Item::Model(block) = &file.items[0] else { panic!() };
    let text = |span: Span| &source[span.start as usize..span.end as usize];
    assert!(text(block.span).starts_with("model") && text(block.span).ends_with('}'));
    let Statement::Equation { target, value } = &block.statements[0] else { panic!() };
    assert_eq!((text(target.span), text(value.span)), ("y", "a + b"));
}

/// The place and message of every error, a line each.
fn complaints(source: &str) -> String {
    let errors = parse(source).unwrap_err();
    let line = |error: &Diagnostic| {
        let before = &source[..error.span.start as usize];
        let row = before.matches('\n').count() + 1;
        let place = &source[error.span.start as usize..error.span.end as usize];
        format!("{row} `{}`: {}", place.chars().take(12).collect::<String>(), error.message)
    };
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(source: &str, expect: &str) {
    let found = complaints(source);
    assert_eq!(found, expect, "\n{found}");
}

/// One statement inside a model.
#[track_caller]
fn check_line(line: &str, expect: &str) {
    check(&format!("model M {{\n{line}\n  z = 1\n}}"), expect);
}

#[test]
fn messages_of_statements() {
    check_line("f = W *", "2 `*`: expected an expression after `*`");
    check_line("f = W * / x", "2 `/`: expected an expression after `*`, found `/`");
    check_line("f = tanh(W @ x", "2 `(`: this `(` is never closed");
    check_line("f = tanh(W @ [h, x)", "2 `)`: `[` is closed by `)`");
    check_line("f = x)", "2 `)`: this `)` closes nothing");
    check_line("param W = zeros", "2 `=`: expected `:` and a type after `W`, found `=`");
    check_line("param W [H]", "2 `[`: expected `:` and a type after `W`, found `[`");
    check_line(
        "h[t-1] = x",
        "2 `-`: the left side of an equation is a name, alone or at an axis: `h` or `h[t]`",
    );
    check_line("f := x", "2 `:=`: unexpected `:=`");
    check_line("let f = x", "2 `let`: `let` begins no statement");
    check_line("parm W: [H]", "2 `W`: expected `=` or `~` after `parm`, found `W`");
    check_line("f = 2x", "2 `2x`: `2x` is neither a number nor a name");
    check_line("f = a b", "2 `b`: expected an operator between `a` and `b`");
    check_line("f = a ** 2", "2 `**`: unexpected `**`");
    check_line("f = §", "2 `§`: the character `§` (U+00A7) means nothing here");
    check_line("f = sum(x over t, y + 1)", "2 `+`: expected `)`, found `+`");
    check_line("f(x)", "2 `(`: expected `=` or `~` after `f`, found `(`");
    check_line("y ~ categorical", "2 `categorical`: expected `(`, but the statement ends");
    check_line("f = a < b < c", "2 `<`: comparisons do not chain: each gives 0 or 1");
    check_line("f = f(a,)", "2 `)`: expected an expression after `,`, found `)`");
    check_line("f = []", "2 `]`: expected an expression after `[`, found `]`");
    check_line("x == 3", "2 `==`: unexpected `==`");
    check_line("gradient dW W", "2 `W`: expected `of`, found `W`");
    check_line("input x: H", "2 `H`: expected a type such as `[H]` or `id(V)` after `:`, found `H`");
    check_line("param a: [H],", "2 `,`: expected a name after `,`");
    check_line("f = 1e999", "2 `1e999`: this number is too large for a 64-bit float");
    check_line("f = \"a\"", "2 `\"a\"`: expected an expression after `=`, found `\"a\"`");
    check_line("train { a = 1", "4 `}`: the block of `M` is never closed");
}

#[test]
fn every_mistake_of_a_file_is_told() {
    check(
        "cell A(I, H) {
  input x [I]
  state h: [H]
  h[t] = tanh(x
  y = h +
}
model B(V = ) { y = 1 }
fn f(x) = x *
model C {
  a = b c
  cell = A(1, 2)
  train { k = 1 }
}
} d",
        "2 `[`: expected `:` and a type after `x`, found `[`
4 `(`: this `(` is never closed
5 `+`: expected an expression after `+`
7 `)`: expected an expression after `=`, found `)`
8 `*`: expected an expression after `*`
10 `c`: expected an operator between `b` and `c`
14 `}`: this `}` closes nothing",
    );
}

#[test]
fn a_text_that_breaks_off_is_one_mistake() {
    let source = "model M(V = 65) {\n  h = tanh(W @ [x, y] + b)\n  y ~ categorical(h)\n}\n";
    for end in 1..source.len() - 1 {
        let errors = parse(&source[..end]).unwrap_err();
        assert_eq!(errors.len(), 1, "{}: {errors:#?}", &source[..end]);
    }
}

#[test]
fn texts_without_an_item() {
    check("", "1 ``: there is nothing to compile: the text holds no item");
    check("  # only this\n", "1 ` `: there is nothing to compile: the text holds no item");
    check("h = \0", "1 `\0`: the file is not text: it holds the character U+0000 at byte 4");
    check("h = x", "1 `h`: expected `cell`, `model` or `fn`, found `h`");
}

/// The deepest that is accepted must neither overflow the stack here nor when it is dropped.
#[test]
fn bounds_are_safe() {
    for (open, close) in [("(", ")"), ("f(", ")"), ("[", "]"), ("a[", "]"), ("-(", ")^2")] {
        let text = |depth: usize| format!("{}x{}", open.repeat(depth), close.repeat(depth));
        assert!(parse_expression(&text(200)).is_ok());
        assert!(parse_expression(&text(201)).is_err());
        assert!(parse(&text(100_000)).is_err());
    }
    let long = [" + ", " * ", " @ ", "^", " - -"].map(|operator| vec!["a"; 1_000].join(operator));
    for chain in
        long.into_iter().chain([format!("a{}", ".T".repeat(1_999)), format!("{}a", "-".repeat(1_999))])
    {
        let expr = parse_expression(&chain).unwrap();
        assert_eq!(expr.clone(), expr);
    }
}
