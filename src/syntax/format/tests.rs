//! Layouts, and what must hold of every layout: it is its own, and it means what the source meant.

use super::*;
use crate::library::FILES;
use crate::syntax::{parse_expression, parse_statement};

/// Anything's debug text without the places in it.
pub(in crate::syntax) fn without_spans(tree: &impl std::fmt::Debug) -> String {
    let text = format!("{tree:?}");
    let mut parts = text.split("Span { start: ");
    let mut out = parts.next().unwrap_or("").to_string();
    parts.for_each(|part| out.push_str(part.split_once('}').map_or("", |(_, rest)| rest)));
    out
}

/// Formats, and holds the result against what every result must be.
#[track_caller]
pub(in crate::syntax) fn formatted(source: &str) -> String {
    let text = format(source).unwrap_or_else(|errors| panic!("{errors:?}\n{source}"));
    assert_eq!(without_spans(&parse(source)), without_spans(&parse(&text)), "another meaning:\n{text}");
    let again = format(&text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    assert_eq!(text, again, "not its own layout");
    assert_eq!(source.matches('#').count(), text.matches('#').count(), "a comment is lost:\n{text}");
    text
}

#[track_caller]
fn check(source: &str, expect: &str) {
    assert_eq!(formatted(source), expect.trim_start_matches('\n'));
}

#[test]
fn statements_stand_on_lines_of_their_own() {
    check(
        "cell  A(I,H=2*3)over tree n{input x:[I]over t,y : id( V )state h:[H]=zeros h[n]=tanh(W@[h[left] , x]+b )}fn f(x:[N],y)->[]=x*y model M{}",
        "
cell A(I, H = 2 * 3) over tree n {
  input x: [I] over t, y: id(V)
  state h: [H] = zeros
  h[n] = tanh(W @ [h[left], x] + b)
}

fn f(x: [N], y) -> [] = x * y

model M {}
",
    );
}

#[test]
fn operators() {
    let line = |text: &str| {
        let text = formatted(&format!("fn f(x) = {text}"));
        text.trim_end().trim_start_matches("fn f(x) = ").to_string()
    };
    assert_eq!(line("h [ t - 1 ]*W . T ^ - 2"), "h[t-1] * W.T^-2");
    assert_eq!(line("-a- -b--c"), "-a - -b - -c");
    assert_eq!(line("z[0 : 2*H , : , n+1:]"), "z[0:2 * H, :, n+1:]");
    assert_eq!(line("z[t-k,2-1,t - 1 - 1]"), "z[t - k, 2 - 1, t - 1 - 1]");
    assert_eq!(line("( a+b )( x,h=y ,along t )"), "(a + b)(x, h = y, along t)");
    assert_eq!(line("[a,b][0:1]"), "[a, b][0:1]");
    assert_eq!(line("sum( (a) over t,s )<=3"), "sum((a) over t, s) <= 3");
}

#[test]
fn comments_and_blank_lines_keep_their_places() {
    check(
        "# file\n\n\n# item\nmodel M { # head  \n\n  # first\n  a = 1   # one\n\n\n\n  b = [ # open\n  c,\n  # own\n  d]\n  # last\n\n} # end\n# after\nmodel N {\n # only\n}",
        "
# file

# item
model M {  # head
  # first
  a = 1  # one

  b = [  # open
      c,
      # own
      d]
  # last
}  # end

# after
model N {
  # only
}
",
    );
}

#[test]
fn train_is_one_line_where_it_fits() {
    check(
        "model M { train { a = 1 b = adam(lr = 0.002), c = 2, } }",
        "
model M {
  train { a = 1, b = adam(lr = 0.002), c = 2 }
}
",
    );
    check(
        "model M { train { a = 1, # one\n b = 2 # two\n , # three\n # four\n\n c = 3 } train{} }",
        "
model M {
  train {
    a = 1  # one
    b = 2  # two
    # three
    # four

    c = 3
  }
  train {}
}
",
    );
}

#[test]
fn long_lines_break_at_the_loosest_place() {
    let term = "weights @ values_of_a_step";
    check(
        &format!("model M {{ total = tanh({term} + {term}) + {term} * {term} + {term} }}"),
        "
model M {
  total = tanh(weights @ values_of_a_step + weights @ values_of_a_step)
      + weights @ values_of_a_step * weights @ values_of_a_step + weights @ values_of_a_step
}
",
    );
    let names: Vec<String> = (0..40).map(|at| format!("name_{at}")).collect();
    let text = formatted(&format!("model M {{ param {}: [H] }}", names.join(",")));
    assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
}

#[test]
fn the_library_is_formatted() {
    FILES.iter().for_each(|(_, text)| check(text, text));
}

#[test]
fn expressions_print_with_the_brackets_they_need() {
    let same = [
        "(a + b) * c",
        "a - (b - c)",
        "r * U @ h + b",
        "(r * U) @ h",
        "(a @ b) @ c",
        "-x^2",
        "(-x)^-y^z",
        "(a^b)^c",
        "-(a + b)",
        "(a < b) == c",
        "(W @ x).T",
        "(f + g)(x, h = a + b, along t)",
        "sum(softmax(s over t) * m over s, t)",
        "z[0:2 * H, t-1, :, n+1:][last]",
        "einsum(\"ij,j->i\", W)",
        "[h[t-1], 1e-5, 2500, 1e300, 0.25]",
        "enc.h.T.W",
    ];
    for text in same {
        let tree = parse_expression(text).unwrap();
        let printed = expression(&tree);
        assert_eq!(without_spans(&parse_expression(&printed).unwrap()), without_spans(&tree), "{printed}");
        let unneeded = ["(a @ b) @ c"];
        assert!(printed == text || unneeded.contains(&text), "{printed}");
    }
    assert_eq!(expression(&parse_expression("((a)) + ((b * (c)))").unwrap()), "a + b * c");
}

#[test]
fn syntax_errors_are_passed_on() {
    assert!(!format("model M { a = }").unwrap_err().is_empty());
    assert!(parse_statement("a = ").is_err());
}
