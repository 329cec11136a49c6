//! What a user sees for every kind of mistake, and that no text is worse than a mistake.

use rnnc::base::{Severity, render};
use rnnc::check::{Mode, Request};
use rnnc::driver::front;

/// The rendered diagnostics of a text, warnings included.
fn rendered(source: &str, model: Option<&str>, everything: bool) -> String {
    let request = Request { model, set: &[], mode: Mode::Train, everything };
    let found = match front(source, &request) {
        Ok(checked) => checked.warnings,
        Err(found) => found,
    };
    render(&found, "bad.rnn", source, false)
}

/// Name, and the text. Models end up in one snapshot each.
const MISTAKES: &[(&str, &str)] = &[
    ("unknown_name", "model M(H = 4) {\n  input hidden: [H] over t\n  loss l = sum(hiden)\n}"),
    ("unknown_function", "model M() {\n  input x: [] over t\n  loss l = sigmoit(x)\n}"),
    ("unknown_cell", "model M() {\n  input x: [3] over t\n  h = LSTN(3, 4)(x)\n  loss l = sum(h)\n}"),
    ("unknown_field", "model M() {\n  input x: [3] over t\n  h = LSTM(3, 4)(x)\n  loss l = sum(h.cc)\n}"),
    ("field_of_a_value", "model M() {\n  input x: [3] over t\n  y = 2 * x\n  loss l = sum(y.h)\n}"),
    (
        "elementwise_shapes",
        "model M(E = 32, H = 48) {\n  input x: [E] over t\n  param b: [H]\n  loss l = sum(x + b)\n}",
    ),
    (
        "product_transposed",
        "model M(E = 32, H = 48) {\n  input x: [E] over t\n  param W: [E, H]\n  loss l = sum(W @ x)\n}",
    ),
    (
        "product_shapes",
        "model M(E = 32, H = 48) {\n  input x: [E] over t\n  param W: [H, H]\n  loss l = sum(W @ x)\n}",
    ),
    ("product_of_vectors", "model M(E = 32) {\n  input x: [E] over t\n  param w: [E]\n  loss l = w @ x\n}"),
    (
        "cell_input",
        "model M(E = 32, H = 48) {\n  input x: [H] over t\n  h = LSTM(E, H)(x)\n  loss l = sum(h)\n}",
    ),
    (
        "cell_input_is_an_id",
        "model M(V = 65, H = 48) {\n  input words: id(V) over t\n  h = LSTM(V, H)(words)\n  loss l = sum(h)\n}",
    ),
    (
        "state_equation",
        "model M(H = 48) {\n  input x: [32] over t\n  state h: [H] over t\n  h[t] = tanh(x)\n  loss l = sum(h)\n}",
    ),
    (
        "axes_of_a_state",
        "model M(H = 48) {\n  input x: [H] over t\n  input m: [H] over s\n  state h: [H] over t\n  h[t] = h[t-1] + x * m\n  loss l = sum(h)\n}",
    ),
    ("no_such_position", "model M() {\n  input x: [] over t\n  input e: []\n  loss l = e[t-1] + x\n}"),
    (
        "update_of_a_value",
        "model M() {\n  input x: [3] over t\n  y = 2 * x\n  update y = x\n  loss l = sum(y)\n}",
    ),
    (
        "update_of_what_is_learned",
        "model M() {\n  input x: [3] over t\n  param w: [3]\n  update w = x\n  loss l = sum(w * x)\n}",
    ),
    (
        "update_by_an_example",
        "model M() {\n  input x: [3] over t\n  param w: [3] = frozen(ones)\n  update w = x\n  loss l = sum(w * x)\n}",
    ),
    ("mask_as_condition", "model M() {\n  input x: [3] over t\n  loss l = sum(where(mask(0.5, 3), x, 0))\n}"),
    ("stack_of_nothing", "model M() {\n  input x: [3] over t\n  h = stack(2, RNN)(x)\n  loss l = sum(h)\n}"),
    (
        "stack_too_high",
        "model M() {\n  input x: [3] over t\n  h = stack(0, RNN(3, 3))(x)\n  loss l = sum(h)\n}",
    ),
    (
        "stack_that_does_not_fit",
        "model M() {\n  input x: [3] over t\n  h = stack(2, RNN(3, 4))(x)\n  loss l = sum(h)\n}",
    ),
    ("observed_with", "model M() {\n  input k: id(3)\n  param w: [3]\n  k ~ categorical(w, smooth = 0.1)\n}"),
    (
        "weight_of_a_vector",
        "model M() {\n  input k: id(3)\n  param w: [3]\n  k ~ categorical(w, weight = w)\n}",
    ),
    ("draw_of_nothing", "model M() {\n  param w: [3]\n  k = draw(w)\n  j = draw(poisson(w))\n}"),
    (
        "observed_at_one_position",
        "model M() {\n  input k: id(3) over t\n  param w: [3]\n  k[last] ~ categorical(w)\n}",
    ),
    (
        "observed_along_another_axis",
        "model M() {\n  input x: [3] over s\n  input k: id(3) over t\n  param w: [3]\n  k[s] ~ categorical(w)\n}",
    ),
    ("last_of_nothing", "model M() {\n  input e: []\n  loss l = e[last]\n}"),
    (
        "last_of_which",
        "model M() {\n  input x: [] over t\n  input m: [] over s\n  y = x * m\n  loss l = y[last]\n}",
    ),
    ("unknown_axis", "model M() {\n  input x: [] over t\n  loss l = sum(x over s)\n}"),
    ("tree_steps", "model M() {\n  input x: [3] over tree n\n  loss l = sum(x[n-1])\n}"),
    ("tree_last", "model M() {\n  input x: [3] over tree n\n  loss l = sum(x[last])\n}"),
    (
        "tree_both_ways",
        "model M() {\n  input x: [3] over tree n\n  state h: [3] over n, d: [3] over n\n  h[n] = tanh(h[left] + d[right] + x)\n  d[n] = tanh(d[parent] + h)\n  loss l = sum(d)\n}",
    ),
    (
        "tree_at_the_same_node",
        "model M() {\n  input x: [3] over tree n\n  state h: [3] over n, d: [3] over n\n  h[n] = tanh(d + x)\n  d[n] = tanh(d[parent] + h)\n  loss l = sum(d)\n}",
    ),
    (
        "tree_without_order",
        "model M() {\n  input x: [3] over tree n\n  state h: [3] over n\n  h[n] = tanh(h[left] + h[parent] + x)\n  loss l = sum(h)\n}",
    ),
    (
        "tree_same_for_every_child",
        "model M() {\n  input x: [3] over tree n\n  loss l = sum(sum(x over child))\n}",
    ),
    (
        "tree_nodes_without_children",
        "model M() {\n  input x: [3] over tree n\n  y = tanh(x[child])\n  loss l = sum(sum(y over n))\n}",
    ),
    (
        "tree_value_of_children_at_a_child",
        "model M() {\n  input x: [3] over tree n\n  y = tanh(x[child])\n  loss l = sum(y[left])\n}",
    ),
    (
        "tree_start_of_every_child",
        "model M() {\n  input x: [3] over tree n\n  loss l = sum(initially(x[child], x))\n}",
    ),
    (
        "tree_state_of_children",
        "model M() {\n  input x: [3] over tree n\n  state h: [3] over n\n  h[n] = tanh(h[child] + x)\n  loss l = sum(h)\n}",
    ),
    (
        "tree_and_sequence_cell",
        "model M() {\n  input x: [3] over tree n\n  h = LSTM(3, 4)(x)\n  loss l = sum(h)\n}",
    ),
    (
        "tree_backward",
        "model M() {\n  input x: [3] over tree n\n  h = TreeLSTM(3, 4)(x, backward)\n  loss l = sum(h)\n}",
    ),
    (
        "tree_cell_on_a_sequence",
        "model M() {\n  input x: [3] over t\n  h = TreeLSTM(3, 4)(x[t-1])\n  loss l = sum(h)\n}",
    ),
    ("tree_cell_on_nothing", "model M() {\n  input x: [3]\n  h = TreeLSTM(3, 4)(x)\n  loss l = sum(h)\n}"),
    (
        "tree_which",
        "model M() {\n  input x: [3] over tree n, y: [3] over tree m\n  h = TreeLSTM(3, 4)(x * y)\n  loss l = sum(h)\n}",
    ),
    (
        "tree_position_on_a_sequence",
        "model M() {\n  input x: [3] over t\n  y = x[t-1]\n  loss l = sum(x[left])\n}",
    ),
    (
        "tree_leaves_in_a_state",
        "model M() {\n  input x: [3] over tree n\n  input y: [3] over n.leaf\n  state h: [3] over n\n  h[n] = tanh(h[left] + y)\n  loss l = sum(h)\n}",
    ),
    ("cycle", "model M() {\n  input x: [] over t\n  a = b + x\n  b = c * 2\n  c = tanh(a)\n  loss l = a\n}"),
    (
        "cycle_of_states",
        "model M() {\n  input x: [] over t\n  state a: [] over t\n  state b: [] over t\n  a[t] = b[t] + x\n  b[t] = tanh(a[t]) + b[t-1]\n  loss l = a\n}",
    ),
    (
        "mixed_directions",
        "model M() {\n  input x: [] over t\n  state a: [] over t\n  a[t] = a[t-1] + a[t+1] + x\n  loss l = a\n}",
    ),
    (
        "own_last",
        "model M() {\n  input x: [] over t\n  state a: [] over t\n  a[t] = a[t-1] + a[last] + x\n  loss l = a\n}",
    ),
    (
        "undefined_state",
        "model M(H = 3) {\n  input x: [H] over t\n  state h: [H] over t\n  loss l = sum(h[t-1] + x)\n}",
    ),
    (
        "two_equations",
        "model M(H = 3) {\n  input x: [H] over t\n  state h: [H] over t\n  h[t] = x\n  h[t] = h[t-1]\n  loss l = sum(h)\n}",
    ),
    ("id_as_number", "model M(V = 5) {\n  input words: id(V) over t\n  loss l = words * 2\n}"),
    (
        "number_as_id",
        "model M(V = 5, E = 3) {\n  input x: [] over t\n  param embed: [V, E]\n  loss l = sum(embed[x])\n}",
    ),
    (
        "table_too_short",
        "model M(V = 5, W = 9, E = 3) {\n  input words: id(W) over t\n  param embed: [V, E]\n  loss l = sum(embed[words])\n}",
    ),
    (
        "unused_parameter",
        "model M(H = 3) {\n  input x: [H] over t\n  param w, unused: [H]\n  loss l = dot(w, x)\n}",
    ),
    (
        "too_large",
        "model M(V = 1000000000000, E = 32) {\n  input words: id(V) over t\n  param embed: [V, E]\n  loss l = sum(embed[words])\n}",
    ),
    (
        "too_large_product",
        "model M(H = 1000000) {\n  input x: [H] over t\n  loss l = sum(sum(outer(x, x)))\n}",
    ),
    ("zero_dimension", "model M(H = 0) {\n  input x: [H] over t\n  loss l = sum(x)\n}"),
    ("fractional_dimension", "model M(H = 3) {\n  input x: [H / 2] over t\n  loss l = sum(x)\n}"),
    (
        "cells_in_each_other",
        "cell A() {\n  input x: []\n  y = B()(x)\n}\ncell B() {\n  input x: []\n  y = A()(x)\n}\nmodel M() {\n  input x: [] over t\n  loss l = A()(x)\n}",
    ),
    ("function_of_itself", "fn f(x) = f(x) + 1\nmodel M() {\n  input x: [] over t\n  loss l = f(x)\n}"),
    ("arguments_of_a_function", "model M() {\n  input x: [] over t\n  loss l = where(x > 0, x)\n}"),
    (
        "arguments_of_a_cell",
        "model M() {\n  input x: [3] over t\n  h = LSTM(3)(x)\n  g = GRU(3, 4, 5)(x)\n  loss l = sum(h)\n}",
    ),
    (
        "inputs_of_a_cell",
        "model M() {\n  input x: [3] over t\n  h = LSTM(3, 4)()\n  g = LSTM(3, 4)(x, x)\n  f = LSTM(3, 4)(x, k = x)\n  loss l = sum(h)\n}",
    ),
    (
        "arguments_twice",
        "model M(H = 3) {\n  input x: [H] over t\n  a = LSTM(H, H, I = H)(x)\n  b = LSTM(H, H)(x, x = x)\n  c = LSTM(H, H)(x, h = ones(H), h = ones(H))\n  loss l = sum(a + b + c)\n}",
    ),
    (
        "a_cell_is_no_value",
        "model M() {\n  input x: [3] over t\n  cell = LSTM(3, 4)\n  loss l = sum(cell)\n}",
    ),
    (
        "start_of_a_state",
        "model M() {\n  input x: [3] over t\n  h = LSTM(3, 4)(x, h = x)\n  loss l = sum(h)\n}",
    ),
    ("no_axis_to_run_along", "model M() {\n  input x: [3]\n  h = LSTM(3, 4)(x)\n  loss l = sum(h)\n}"),
    (
        "which_axis",
        "model M() {\n  input x: [3] over t\n  input m: [3] over s\n  h = LSTM(3, 4)(x * m)\n  loss l = sum(h)\n}",
    ),
    (
        "inside_a_library_cell",
        "model M() {\n  input x: [3] over t\n  h = LayerNorm(4)(x)\n  loss l = sum(h)\n}",
    ),
    ("unknown_distribution", "model M() {\n  input x: [] over t\n  x ~ gaussian(0)\n}"),
    ("logits", "model M(V = 5) {\n  input k: id(V) over t\n  input x: [4] over t\n  k ~ categorical(x)\n}"),
    ("observed_numbers", "model M() {\n  input x: [4] over t\n  x ~ categorical(x)\n}"),
    ("dropout", "model M() {\n  input x: [4] over t\n  loss l = sum(dropout(x, 1.5))\n}"),
    (
        "duplicate_names",
        "cell A() {\n  input x: []\n  y = x\n}\ncell A() {\n  input x: []\n  y = x\n}\nmodel M() {\n  input x: [] over t\n  param x: []\n  y = x\n  y = 2 * x\n  loss l = y\n  loss l = y\n}",
    ),
    ("a_dimension_is_no_name", "model M(H = 3) {\n  input H: [] over t\n  param t: []\n  loss l = H\n}"),
    (
        "initialiser",
        "model M() {\n  input x: [3] over t\n  param w: [3] = ortogonal, v: [3] = uniform, u: [3] = normal(1, 2)\n  loss l = dot(w, x)\n}",
    ),
    (
        "index",
        "model M() {\n  input x: [3] over t\n  param W: [3, 3]\n  loss l = x[3] + sum(x[2:5]) + sum(W[:, :, 0:1]) + W[0, 1, 2]\n}",
    ),
    ("loss_of_a_vector", "model M() {\n  input x: [3] over t\n  loss l = x\n}"),
    ("no_model", "cell A() {\n  input x: []\n  y = x\n}"),
    (
        "which_model",
        "model A() {\n  input x: [] over t\n  loss l = x\n}\nmodel B() {\n  input x: [] over t\n  loss l = x\n}",
    ),
    ("unbound_dimension", "model M(V, H = 3, K) {\n  input x: [V] over t\n  loss l = sum(x)\n}"),
    ("unknown_dimension", "model M(Hidden = 3) {\n  input x: [Hiden] over t\n  loss l = sum(x)\n}"),
    ("setting", "model M() {\n  param w: []\n  loss l = w\n  train { optimizer = [1, 2] }\n}"),
    ("unclosed", "model M() {\n  input x: [3 over t\n  loss l = sum(x\n}"),
    ("many", MANY),
];

/// Mistakes of many kinds: all are reported.
const MANY: &str = "fn half(x) = x / 2 + y
cell Odd(I, H) {
  input x: [I]
  state h: [H]
  param W: [H, I], U: [I, H]
  h[t] = tanh(W @ x + U @ h[t-1])
}
model Many(V = 65, E = 32, H = 48) {
  input words: id(V) over t
  input image: [E]
  param embed: [V, E], W: [E, H]
  param never: [H]
  x = embed[wrods]
  a = W @ embed[words]
  b = words + 1
  c = half(image)
  d = image[t-1]
  e = LSTM(E, H)(image)
  f = Odd(E, H)(embed[words])
  words ~ categorial(W.T @ embed[words])
  loss l = embed[words]
}
";

#[test]
fn mistakes() {
    for (name, source) in MISTAKES {
        let text = rendered(source, None, false);
        assert!(!text.is_empty(), "{name} is no mistake");
        insta::assert_snapshot!(format!("mistake_{name}"), format!("{text}\n"));
    }
}

#[test]
fn all_mistakes_of_a_file_are_found() {
    let request = Request { model: None, set: &[], mode: Mode::Train, everything: false };
    let found = front(MANY, &request).unwrap_err();
    let lines: Vec<usize> = found
        .iter()
        .filter(|it| it.severity == Severity::Error)
        .map(|it| MANY[..it.span.start as usize].lines().count())
        .collect();
    for wanted in [1, 6, 13, 14, 15, 17, 18, 20, 21] {
        assert!(lines.contains(&wanted), "nothing about line {wanted}: {lines:?}");
    }
}

/// Texts that no stage may fall over: each is sound or has a mistake.
#[test]
fn nothing_overflows_or_hangs() {
    let chain = |order: &dyn Fn(usize) -> usize| {
        let mut source = "model M() {\n input x: [] over t\n".to_string();
        for at in 0..10_000 {
            let at = order(at);
            source += &match at {
                0 => " v0 = x\n".to_string(),
                _ => format!(" v{at} = v{} + 1\n", at - 1),
            };
        }
        source + " loss l = v9999\n}"
    };
    let doubling = |levels: usize| {
        let mut source = "cell C0() {\n input x: []\n y = tanh(x)\n}\n".to_string();
        for level in 1..levels {
            source += &format!("cell C{level}() {{\n input x: []\n y = C{0}()(C{0}()(x))\n}}\n", level - 1);
        }
        source + &format!("model M() {{\n input x: [] over t\n loss l = C{}()(x)\n}}", levels - 1)
    };
    let functions = |levels: usize| {
        let mut source = "fn f0(x) = tanh(x)\n".to_string();
        for level in 1..levels {
            source += &format!("fn f{level}(x) = f{0}(f{0}(x)) + f{0}(x)\n", level - 1);
        }
        source + &format!("model M() {{\n input x: [] over t\n loss l = f{}(x)\n}}", levels - 1)
    };
    let around = |open: &str, close: &str, levels: usize| {
        format!(
            "model M() {{\n input x: [] over t\n loss l = {}x{}\n}}",
            open.repeat(levels),
            close.repeat(levels)
        )
    };
    let states = |count: usize| {
        let mut source = "model M() {\n input x: [] over t\n".to_string();
        for at in 0..count {
            source += &format!(
                " state h{at}: [] over t = {at}\n h{at}[t] = h{at}[t-1] + h{}[t-1] + x\n",
                (at + 1) % count
            );
        }
        source + " loss l = h0\n}"
    };
    let texts = [
        ("a chain", chain(&|at| at)),
        ("a chain the other way round", chain(&|at| 9_999 - at)),
        ("cells twice in each other", doubling(60)),
        ("functions thrice in each other", functions(60)),
        ("parentheses", around("(", ")", 1_000)),
        ("calls", around("tanh(", ")", 1_000)),
        ("signs", around("-", "", 100_000)),
        ("sums", around("x + ", "", 1_500)),
        ("longer sums", around("x + ", "", 100_000)),
        ("brackets", around("[", "]", 1_000)),
        ("indices", around("x[", "]", 1_000)),
        ("states", states(300)),
        ("braces", "{".repeat(100_000)),
        ("axes", (0..100).map(|at| format!(" input x{at}: [] over a{at}\n")).collect::<String>()),
    ];
    for (name, text) in texts {
        let started = std::time::Instant::now();
        let text = if name == "axes" { format!("model M() {{\n{text} loss l = x0\n}}") } else { text };
        let request = Request { model: None, set: &[], mode: Mode::Train, everything: true };
        if let Err(found) = front(&text, &request) {
            assert!(!found.is_empty() && found.len() < 200, "{name}: {} diagnostics", found.len());
            assert!(found.iter().all(|it| it.rule != "internal"), "{name}: {found:?}");
            let _ = render(&found, "bad.rnn", &text, false);
        }
        let seconds = started.elapsed().as_secs_f64();
        assert!(seconds < 20.0, "{name} takes {seconds} s");
    }
}
