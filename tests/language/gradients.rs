//! Gradients of every operation, cell and example against finite differences in f64, by the
//! interpreter and in native code, on ragged batches with empty and single-step examples.

use std::collections::BTreeMap;

use rnnc::driver::{front, program};
use rnnc::eval::{Derivative, DifferenceOptions, Feeds, Program, difference, evaluate, worst_errors};
use rnnc::grad::grad;
use rnnc::ir::{Graph, OutputKind, print};

use super::native::{distance, plan_name, run};
use super::support::{examples, feeds_for, graph, library, messages, request};

/// The derived gradients differ from the program's finite differences by less than this.
const TOLERANCE: f64 = 1e-6;

fn holds(name: &str, graph: &Graph) {
    for (seed, lengths) in [[0, 1, 3, 5], [4, 0, 2, 1]].into_iter().enumerate() {
        let feeds = feeds_for(graph, &lengths, seed as u64);
        gradient_holds(name, graph, &feeds);
    }
}

fn gradient_holds(name: &str, graph: &Graph, feeds: &Feeds) {
    let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    let derived = grad(graph, &names).unwrap_or_else(|error| panic!("{name}: {error}\n{}", print(graph)));
    let values = evaluate(&derived, feeds).unwrap();
    let found: BTreeMap<String, Vec<f64>> = names
        .iter()
        .map(|path| (path.clone(), values.output(OutputKind::Gradient, path).unwrap().numbers()))
        .collect();
    let oracle = Program::new(graph).unwrap();
    let options = DifferenceOptions { sample: 8, ..DifferenceOptions::default() };
    let mut differences = difference(&oracle, feeds, &[], options).unwrap();
    if STEPPED.contains(&name) {
        let finer = DifferenceOptions { step: options.step / 3.0, ..options };
        without_steps(name, &mut differences, &difference(&oracle, feeds, &[], finer).unwrap());
    }
    for (path, worst) in worst_errors(&differences, &found) {
        assert!(worst < TOLERANCE, "{name}: d{path} is off by {worst:e}\n{}", print(graph));
    }
    let compiled = program::<f64>(&derived, &[OutputKind::Gradient], "gradient").unwrap();
    let native = run(&derived, &compiled, feeds);
    for (path, wanted) in &found {
        let worst = distance(&native[&plan_name(OutputKind::Gradient, path)], wanted);
        assert!(worst < TOLERANCE, "{name}: native d{path} is off by {worst:e}\n{}", print(graph));
    }
}

/// Programs whose losses have steps, where a network halts, or what it draws, changes with its parameters; and one of
/// whose rectifiers is so near its kink that the differences reach over it.
const STEPPED: [&str; 5] = ["ACT", "ponder", "scheduled sampling", "sampling", "xlstm"];

/// Leaves out the few derivatives that another step of the differences contradicts.
fn without_steps(
    name: &str,
    differences: &mut BTreeMap<String, Vec<Derivative>>,
    finer: &BTreeMap<String, Vec<Derivative>>,
) {
    let mut left_out = 0;
    let total: usize = differences.values().map(Vec::len).sum();
    for (path, coarse) in differences {
        let mut fine = finer[path].iter();
        coarse.retain(|derivative| {
            let other = fine.next().unwrap().value;
            let same = (derivative.value - other).abs() < 1e-7 * other.abs().max(1.0);
            left_out += usize::from(!same);
            same
        });
    }
    assert!(4 * left_out <= total, "{name}: {left_out} of {total} derivatives are steps");
}

const DECLARATIONS: &str = "
  input x: [3] over t
  input k: id(4) over t
  input m: [2] over s
  input v: [3]
  param w: [3], a: [2, 3], b: [4, 3], c: [3, 2], d: [2], e: []
";

/// Every operation, access and form of the language that has a derivative.
const BODIES: &[(&str, &str)] = &[
    ("negate", "loss l = sum(-(w * x))"),
    ("exp", "loss l = sum(exp(w * x))"),
    ("log", "loss l = sum(log(2 + w * x))"),
    ("sqrt", "loss l = sum(sqrt(2 + w * x))"),
    ("tanh", "loss l = sum(tanh(w * x))"),
    ("sigmoid", "loss l = sum(sigmoid(w * x))"),
    ("relu", "loss l = sum(relu(w * x))"),
    ("softplus", "loss l = sum(softplus(w * x))"),
    ("abs", "loss l = sum(abs(w * x))"),
    ("sign", "loss l = sum(sign(x) * w * x + sign(w))"),
    ("floor", "loss l = sum(stop(floor(3 * w)) * w * x)"),
    ("sin and cos", "loss l = sum(sin(w * x) * cos(w * x))"),
    ("sum and difference", "loss l = sum((w + x - w * x + e)^2)"),
    ("product of a scalar", "loss l = sum(tanh(e * x) * e)"),
    ("quotient", "loss l = sum(w / (2 + w * x))"),
    ("power", "loss l = sum((2 + w * x)^(w * x)) + sum((w * x)^3)"),
    ("min and max", "loss l = sum(min(w, x)) + sum(max(w * x, 0.1))"),
    (
        "comparisons",
        "loss l = sum(w * (x > 0.2) + w * (x <= w) + w * (x == x) + w * (x != x) + w * (x < 0) + w * (x >= 0))",
    ),
    ("where", "loss l = sum(where(x > 0, tanh(w * x), w * w))"),
    ("onehot", "loss l = dot(b @ x, onehot(k, 4))"),
    ("gather of a parameter", "loss l = sum(tanh(b[k])) + sum(b[k[t-1]] * x)"),
    ("gather of a value", "loss l = (tanh(b @ x))[k]"),
    ("argmax", "loss l = sum(b[argmax(x)])"),
    ("slices", "loss l = sum(tanh(w[1:3] * x[0:2])) + sum(a[:, 1:3] @ x[0:2]) + b[2, 1] + x[1] * w[0]"),
    (
        "concatenation",
        "loss l = sum(tanh(concat(a, b, dim = 0) @ x)) + sum(concat(a, c.T, dim = 1) @ [x, w]) + sum(tanh([e, w, x]))",
    ),
    (
        "products",
        "loss l = sum(tanh(a @ x)) + sum(a.T @ m[s.last]) + sum((a @ c) @ d) + sum((a.T @ c.T) @ x) + sum((c @ a) @ w)",
    ),
    ("dot and outer", "loss l = dot(w, tanh(x)) + sum(sum(tanh(outer(w, x))))"),
    (
        "einsum",
        "loss l = sum(sum(tanh(einsum(\"ij,jk->ki\", a, c)))) + einsum(\"ij,ij->\", a, outer(d, x)) + sum(sum(einsum(\"i,ij->ij\", d, tanh(a))))",
    ),
    ("transposition", "loss l = sum(sum(tanh(a.T) * c))"),
    ("sum over t", "loss l = sum(tanh(sum(w * x over t)))"),
    ("mean over t", "loss l = sum(tanh(mean(w * x over t)))"),
    ("max over t", "loss l = sum(max(w * x over t))"),
    ("mean, max of a vector", "loss l = mean(tanh(w * x)) + max(w * x)"),
    (
        "reductions over two axes",
        "loss l = sum(tanh(dot(w, x) * dot(d, m)) over s, t) + mean(tanh(dot(w, x) * dot(d, m)) over s)",
    ),
    ("softmax", "loss l = dot(softmax(w * x), x)"),
    ("softmax over t", "p = softmax(dot(w, x) over t)  loss l = sum(p * tanh(w * x))"),
    (
        "softmax over one of two axes",
        "p = softmax(dot(w, x) * dot(d, m) over s)  loss l = sum(p * tanh(dot(d, m)) over s)",
    ),
    ("logsumexp", "loss l = logsumexp(w * x)"),
    (
        "layer normalisation",
        "y = w * x  z = (y - mean(y)) / sqrt(mean((y - mean(y))^2) + 0.1)  loss l = dot(z, x)",
    ),
    ("earlier and later", "y = tanh(w * x)  loss l = dot(y[t-1], y[t-2]) + dot(y[t+1], y) + dot(y[t+2], x)"),
    (
        "first and last",
        "y = tanh(w * x)  loss l = dot(y[first], y) + dot(y[last], y[t-1]) + sum(y[last] * y[first])",
    ),
    ("later of earlier", "y = tanh(w * x)  z = y[t-1]  loss l = dot(z[t+1], x)"),
    ("starts", "y = tanh(w * x)  loss l = dot(initially(y[t-2], w), x) + dot(initially(y[t+1], v * w), x)"),
    ("repetition", "y[t] = tanh(w)  loss l = dot(y[t-1], x)"),
    ("stop", "loss l = sum(stop(tanh(x)) * w * x)"),
    ("positions and lengths", "loss l = sum(tanh(w * x)) * (t + 1) / length(t) + count(t) * e"),
    (
        "observations",
        "k[t] ~ categorical(b @ x)  x[t] ~ normal(tanh(w * x[t-1]))  y = x[0] > 0  loss l = e^2",
    ),
    ("a loss for each example", "loss l = sum(tanh(w * v))  loss n = sum(w^2)"),
    ("a state", "state h: [3] over t  h[t] = tanh(w * h[t-1] + x)  loss l = sum(h)"),
    ("a state two steps back", "state h: [3] over t  h[t] = tanh(w * h[t-2] + x * h[t-1])  loss l = sum(h)"),
    (
        "a learned start",
        "state h: [3] over t = tanh(w * v)  h[t] = tanh(w * h[t-1] + x) + h[t-2]  loss l = sum(h)",
    ),
    (
        "a start from a table",
        "state h: [3] over t = b[k[first]]  h[t] = tanh(w * h[t-1] + x)  loss l = sum(h)",
    ),
    ("a loop backward", "state h: [3] over t  h[t] = tanh(w * h[t+1] + x)  loss l = sum(h * h[first])"),
    (
        "two loops",
        "state h: [3] over t  state g: [2] over t = ones  h[t] = tanh(w * h[t-1] + c @ g[t-1] + x)  g[t] = sigmoid(a @ h) * g[t-1]  loss l = sum(g)",
    ),
    (
        "a matrix as state",
        "state M: [2, 3] over t  M[t] = tanh(0.5 * M[t-1] + outer(d, x) + a)  loss l = sum(M @ x)",
    ),
    (
        "a state over two axes",
        "state g: [2] over t, s  g[t, s] = tanh(d * g[t-1, s] + (a @ x) * m)  loss l = sum(g)",
    ),
];

#[test]
fn of_every_operation() {
    for (name, body) in BODIES {
        let body = body.replace("  ", "\n  ");
        holds(name, &graph(&format!("model M() {{{DECLARATIONS}  {body}\n}}")));
    }
}

#[test]
fn of_every_library_cell() {
    for (name, text) in library() {
        holds(name, &graph(&text));
    }
}

#[test]
fn of_every_example() {
    for example in examples() {
        let found = front(&example.source, &request(&example.set));
        holds(&example.name, &found.unwrap_or_else(|found| panic!("{}", messages(&found))).graph);
    }
}

/// Ways of applying cells.
const APPLICATIONS: &[(&str, &str)] = &[
    ("backward", "h = LSTM(3, 2)(x, backward)  loss l = sum(h) * t"),
    ("shared", "cell = LSTM(3, 2)  p = cell(x)  q = cell(x[t-1] * w)  loss l = dot(p, q)"),
    ("named starts", "h = LSTM(3, 2)(x, h = tanh(a @ v), c = d)  loss l = sum(h)"),
    ("starts from another axis", "e1 = GRU(2, 3)(m)  h = GRU(3, 3)(x, h = e1[last])  loss l = sum(h)"),
    ("stacked", "p = GRU(3, 2)(x)  q = LSTM(2, 3)(p)  loss l = sum(q + x)"),
    ("both ways", "p = GRU(3, 2)(x)  q = GRU(3, 2)(x, backward)  loss l = sum(Dense(4, 1)([p, q]))"),
    ("inside a cell", "h = Outer(3, 2)(x)  loss l = sum(h)"),
    ("inside a cell, backward", "h = Outer(3, 2)(x, backward)  loss l = sum(h * t)"),
    (
        "along one of two axes",
        "y = tanh(outer(w[0:2], x) @ w * m)  h = RNN(2, 2)(y, along s)  loss l = sum(h)",
    ),
];

#[test]
fn of_every_way_to_apply_a_cell() {
    let cells = "cell Outer(I, O) {
      input x: [I]
      state s: [O] = ones
      inner = LSTM(I + O, O)([x, s[t-1]])
      s[t] = sigmoid(Dense(O, O)(inner.c)) * s[t-1] + inner
    }";
    for (name, body) in APPLICATIONS {
        let body = body.replace("  ", "\n  ");
        holds(name, &graph(&format!("{cells}\nmodel M() {{{DECLARATIONS}  {body}\n}}")));
    }
}

#[test]
fn shared_applications_share_parameters() {
    let graph = graph(
        "model M() {
           input x, y: [3] over t
           cell = RNN(3, 2)
           a = cell(x)
           b = cell(y)
           loss l = dot(a, b)
         }",
    );
    let names: Vec<&str> = graph.params.iter().map(|param| param.name.as_str()).collect();
    assert_eq!(names, ["cell.W_x", "cell.W_h", "cell.b_h"]);
}
