//! What every feature of the language means, by values worked out by hand.
//!
//! Two examples of three steps and one: `x` is 1, 2, 3 and 4; `v` is twice as wide. What a row names is
//! read from the model as a named value, all positions of all examples in a row, padded with zeros.

use std::collections::BTreeMap;

use rnnc::check::{Mode, Request, Setting};
use rnnc::driver::front;
use rnnc::eval::{Feeds, InputData, Values, evaluate};
use rnnc::ir::{Graph, OutputKind};

use super::support::{checked, graph, messages};

fn feeds() -> Feeds {
    let lengths = vec![3, 1];
    let mut feeds = Feeds { examples: 2, ..Feeds::default() };
    feeds.lengths = BTreeMap::from([("t".to_string(), lengths), ("s".to_string(), vec![2, 2])]);
    let real = |examples: [&[f64]; 2]| InputData::Real(examples.map(<[f64]>::to_vec).to_vec());
    let ids = |examples: [&[u32]; 2]| {
        InputData::Ids(examples.map(|ids| ids.iter().map(|&id| Some(id)).collect()).to_vec())
    };
    feeds.inputs = BTreeMap::from([
        ("x".to_string(), real([&[1.0, 2.0, 3.0], &[4.0]])),
        ("v".to_string(), real([&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[7.0, 8.0]])),
        ("m".to_string(), real([&[10.0, 20.0], &[30.0, 40.0]])),
        ("e".to_string(), real([&[5.0], &[6.0]])),
        ("k".to_string(), ids([&[0, 2, 1], &[2]])),
    ]);
    feeds.params = BTreeMap::from([
        ("W".to_string(), (1..=8).map(f64::from).collect()),
        ("embed".to_string(), vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("p".to_string(), vec![0.5]),
    ]);
    feeds
}

const DECLARATIONS: &str = "
  input x: [] over t
  input v: [2] over t
  input m: [] over s
  input e: []
  input k: id(3) over t
  param W: [2, 4], embed: [3, 2], p: []
";

fn program(body: &str) -> Graph {
    let (definitions, body) = body.rsplit_once(" :: ").unwrap_or(("", body));
    let body = body.replace("  ", "\n  ");
    graph(&format!("{definitions}\nmodel M(N = 2) {{{DECLARATIONS}  {body}\n}}"))
}

fn value(values: &Values, kind: OutputKind, name: &str) -> Vec<f64> {
    values.output(kind, name).unwrap_or_else(|| panic!("no {kind:?} `{name}`")).numbers()
}

/// A body that defines `y`, and what `y` is.
const VALUES: &[(&str, &[f64])] = &[
    // Functions: inlined, with dimensions bound by their arguments.
    (
        "fn f(a: [D], b: [D]) -> [D] = a * b + D :: y = f(v, v)",
        &[3.0, 6.0, 11.0, 18.0, 27.0, 38.0, 51.0, 66.0, 0.0, 0.0, 0.0, 0.0],
    ),
    ("fn twice(a) = 2 * a fn four(a) = twice(twice(a)) :: y = four(x)", &[4.0, 8.0, 12.0, 16.0, 0.0, 0.0]),
    // Numbers that are not data.
    ("y = x * t", &[0.0, 2.0, 6.0, 0.0, 0.0, 0.0]),
    ("y = x * N + length(t)", &[5.0, 7.0, 9.0, 9.0, 0.0, 0.0]),
    ("y = x * count(t)", &[4.0, 8.0, 12.0, 16.0, 0.0, 0.0]),
    ("y = where(t == 1, 7, x)", &[1.0, 7.0, 3.0, 4.0, 0.0, 0.0]),
    // Comparisons give 0 or 1.
    (
        "y = (x < 2) + 10 * (x <= 2) + 100 * (x > 2) + 1000 * (x >= 2) + 10000 * (x == 2) + 100000 * (x != 2)",
        &[100011.0, 11010.0, 101100.0, 101100.0, 0.0, 0.0],
    ),
    ("y = k == k[last]", &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
    ("y = where(x > 1, x, -x)", &[-1.0, 2.0, 3.0, 4.0, 0.0, 0.0]),
    // Arithmetic binds as in a textbook.
    ("y = -x^2 + 2 * x - 1 / 2", &[0.5, -0.5, -3.5, -8.5, 0.0, 0.0]),
    (
        "y = min(x, 2) + max(x, 3) + floor(x / 2) + abs(-x) + sign(x - 2) + relu(x - 3)",
        &[4.0, 8.0, 10.0, 14.0, 0.0, 0.0],
    ),
    // Slices and elements of static dimensions.
    ("y = W[:, 0:N] @ v", &[5.0, 17.0, 11.0, 39.0, 17.0, 61.0, 23.0, 83.0, 0.0, 0.0, 0.0, 0.0]),
    ("y = W[:, 3] * x + W[0, 1]", &[6.0, 10.0, 10.0, 18.0, 14.0, 26.0, 18.0, 34.0, 0.0, 0.0, 0.0, 0.0]),
    ("y = v[1] - v[0:1][0]", &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
    ("y = (W.T)[2:, :] @ v", &[17.0, 20.0, 37.0, 44.0, 57.0, 68.0, 77.0, 92.0, 0.0, 0.0, 0.0, 0.0]),
    // Positions along an axis.
    ("y = x - x[first] + 10 * x[last]", &[30.0, 31.0, 32.0, 40.0, 0.0, 0.0]),
    ("y = x[t+1] + 10 * x[t-2]", &[2.0, 3.0, 10.0, 0.0, 0.0, 0.0]),
    ("z = x[t-1]  y = z[t+1]", &[1.0, 2.0, 0.0, 0.0, 0.0, 0.0]),
    ("y = m[last] - m[s.first]", &[10.0, 10.0]),
    // Concatenation; scalars join as vectors of one.
    (
        "y = [x, 1, v]",
        &[
            1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 3.0, 4.0, 3.0, 1.0, 5.0, 6.0, 4.0, 1.0, 7.0, 8.0, 0.0, 0.0, 0.0,
            0.0, 0.0, 0.0, 0.0, 0.0,
        ],
    ),
    // Rows by id; before the start there is none.
    ("y = embed[k]", &[1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 0.0]),
    ("y = embed[k[t-1]]", &[0.0, 0.0, 1.0, 2.0, 5.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ("y = sum(onehot(k, 3) * [1, 2, 3])", &[1.0, 3.0, 2.0, 3.0, 0.0, 0.0]),
    ("y = argmax(v * x - [3, x])", &[1.0, 1.0, 1.0, 1.0, -1.0, -1.0]),
    // Reductions, with and without an axis.
    ("y = sum(v over t)", &[9.0, 12.0, 7.0, 8.0]),
    ("y = sum(v) + mean(v) + max(v)", &[6.5, 14.5, 22.5, 30.5, 0.0, 0.0]),
    ("y = mean(x over t) + max(x over t)", &[5.0, 8.0]),
    ("y = sum(softmax(0 * x over t) * x over t)", &[2.0, 4.0]),
    ("y = sum(x * m over s)", &[30.0, 60.0, 90.0, 280.0, 0.0, 0.0]),
    ("y = sum(x * m over t, s)", &[180.0, 280.0]),
    ("y = sum(sum(v over batch, t) * x over batch, t)", &[160.0, 200.0]),
    ("y = dot(v, v) + sum(outer(v, v) @ v)", &[20.0, 200.0, 732.0, 1808.0, 0.0, 0.0]),
    // States: earlier positions, initial values, several axes.
    ("state y: [] over t  y[t] = y[t-1] + x", &[1.0, 3.0, 6.0, 4.0, 0.0, 0.0]),
    ("state y: [] over t = 7  y[t] = y[t-2] + x", &[8.0, 9.0, 11.0, 11.0, 0.0, 0.0]),
    ("state y: [] over t = e  y[t] = y[t-1] + x", &[6.0, 8.0, 11.0, 10.0, 0.0, 0.0]),
    (
        "state h: [2] over t = ones  h[t] = h[t-1] * v  y = h[t-1]",
        &[1.0, 1.0, 1.0, 2.0, 3.0, 8.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
    ),
    ("state h: [] over t = 7  h[t] = h[t-1] + x  z = h  y = z[t-1]", &[0.0, 8.0, 10.0, 0.0, 0.0, 0.0]),
    ("state y: [] over t  y[t] = y[t+1] + x", &[6.0, 5.0, 3.0, 4.0, 0.0, 0.0]),
    (
        "state y: [] over t, s  y[t, s] = y[t-1, s] + x * m",
        &[10.0, 20.0, 30.0, 60.0, 60.0, 120.0, 120.0, 160.0, 0.0, 0.0, 0.0, 0.0],
    ),
    ("y[t] = e", &[5.0, 5.0, 5.0, 6.0, 0.0, 0.0]),
    // Cells: along the axis of their input, under a local name, along one of two, backward, in other cells.
    (
        "cell Sum(D) { input a: [D] state h: [D] h[t] = h[t-1] + a } :: y = Sum(2)(v)",
        &[1.0, 2.0, 4.0, 6.0, 9.0, 12.0, 7.0, 8.0, 0.0, 0.0, 0.0, 0.0],
    ),
    (
        "cell Sum() over n { input a: [] state h: [] h[n] = h[n-1] + a * n } :: y = Sum()(x)",
        &[0.0, 2.0, 8.0, 0.0, 0.0, 0.0],
    ),
    (
        "cell Sum() { input a: [] state h: [] h[t] = h[t-1] + a } :: y = Sum()(x, backward)",
        &[6.0, 5.0, 3.0, 4.0, 0.0, 0.0],
    ),
    (
        "cell Sum() { input a: [] state h: [] h[t] = h[t-1] + a * t } :: y = Sum()(x, backward)",
        &[4.0, 2.0, 0.0, 0.0, 0.0, 0.0],
    ),
    (
        "cell Sum() { input a: [] state h: [] h[t] = h[t-1] + a } :: y = Sum()(x * m, along s)",
        &[10.0, 30.0, 20.0, 60.0, 30.0, 90.0, 120.0, 280.0, 0.0, 0.0, 0.0, 0.0],
    ),
    (
        "cell Sum() { input a: [] state h: [] h[t] = h[t-1] + a } :: y = Sum()(x, h = 100 * e)",
        &[501.0, 503.0, 506.0, 604.0, 0.0, 0.0],
    ),
    (
        "cell Sum() { input a: [] state h: [] h[t] = h[t-1] + a } cell Twice() { input a: [] inner = Sum()(a) outer = Sum()(inner) y = outer.h - inner.h } :: q = Twice()(x)  y = q.outer.h + q",
        &[1.0, 5.0, 14.0, 4.0, 0.0, 0.0],
    ),
    (
        "cell Two() { input a: [] state h: [], g: [] h[t] = h[t-1] + a g[t] = g[t-1] + h } :: q = Two()(x)  y = q.g + 100 * q",
        &[101.0, 304.0, 610.0, 404.0, 0.0, 0.0],
    ),
    (
        "cell Late() { input a: [] state h: [] h[t] = a[t-1] + a[last] } :: y = Late()(x)",
        &[3.0, 4.0, 5.0, 4.0, 0.0, 0.0],
    ),
    (
        "cell Over() { input a: [] input memory: [] over n state h: [] h[t] = h[t-1] + a * sum(memory over n) } :: y = Over()(x, m)",
        &[30.0, 90.0, 180.0, 280.0, 0.0, 0.0],
    ),
    (
        "cell Scale(D, F = 2 * D) { input a: [] y = F * a } :: y = Scale(3)(x) + Scale(D = 1, F = 5)(x)",
        &[11.0, 22.0, 33.0, 44.0, 0.0, 0.0],
    ),
    // The same functions may be the names of values.
    ("sum = sum(v)  last = x[last]  y = sum + last", &[6.0, 10.0, 14.0, 19.0, 0.0, 0.0]),
    ("y = stop(x) + 0 * p", &[1.0, 2.0, 3.0, 4.0, 0.0, 0.0]),
];

#[test]
fn values() {
    for (body, wanted) in VALUES {
        let values = evaluate(&program(body), &feeds()).unwrap();
        let found = value(&values, OutputKind::Value, "y");
        let same =
            found.len() == wanted.len() && found.iter().zip(*wanted).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(same, "{body}\nfound {found:?}\nwanted {wanted:?}");
    }
}

#[test]
fn losses_and_metrics_are_means_over_what_they_have() {
    let graph = program("loss a = x  loss b = e  loss c = p  metric m1 = x * x  loss d = sum(x over t)");
    let values = evaluate(&graph, &feeds()).unwrap();
    let loss = |name: &str| value(&values, OutputKind::Loss, name);
    assert_eq!((loss("a"), loss("b"), loss("c"), loss("d")), (vec![2.5], vec![5.5], vec![0.5], vec![5.0]));
    assert_eq!(value(&values, OutputKind::Metric, "m1"), [7.5]);
    assert!((values.loss() - 13.5).abs() < 1e-12);
}

#[test]
fn observations_are_likelihoods() {
    let graph = program("x ~ normal(e)  k ~ categorical([0, 0, x])");
    let values = evaluate(&graph, &feeds()).unwrap();
    let half = 0.5 * (2.0 * std::f64::consts::PI).ln();
    let normal = (16.0 + 9.0 + 4.0 + 4.0) / 8.0 + half;
    assert!((value(&values, OutputKind::Loss, "x")[0] - normal).abs() < 1e-12);
    let total = |x: f64| (2.0 + x.exp()).ln();
    let categorical = (total(1.0) + (total(2.0) - 2.0) + total(3.0) + (total(4.0) - 4.0)) / 4.0;
    assert!((value(&values, OutputKind::Loss, "k")[0] - categorical).abs() < 1e-12);
    let graph =
        super::support::graph("model M() { input x: [] over t  input y: id(2) over t  y ~ bernoulli(x) }");
    let mut feeds = feeds();
    feeds.inputs.insert("y".into(), InputData::Ids(vec![vec![Some(1), Some(0), Some(1)], vec![Some(0)]]));
    let softplus = |x: f64| (1.0 + x.exp()).ln();
    let bernoulli = (softplus(-1.0) + softplus(2.0) + softplus(-3.0) + softplus(4.0)) / 4.0;
    let found = evaluate(&graph, &feeds).unwrap().loss();
    assert!((found - bernoulli).abs() < 1e-12, "{found} {bernoulli}");
}

#[test]
fn dropout_is_for_training() {
    let source = "model M() { input x: [] over t\n y = dropout(x, 0.5) }";
    let of = |mode: Mode| {
        let request = Request { model: None, set: &[], mode, everything: false };
        let graph = front(source, &request).unwrap().graph;
        value(&evaluate(&graph, &feeds()).unwrap(), OutputKind::Value, "y")
    };
    assert_eq!(of(Mode::Evaluate), [1.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
    assert!(of(Mode::Train).iter().zip([1.0, 2.0, 3.0, 4.0]).all(|(y, x)| *y == 0.0 || *y == 2.0 * x));
}

#[test]
fn parameters_as_declared() {
    let graph = graph(
        "model M(H = 3) {
           param W: [H, H], b: [H], k: [2, H, H]
           param o: [H, H] = orthogonal, n: [H] = normal(0.5), u: [H] = uniform(0.1), q: [H] = ones, z: [H] = zeros
           param f: [H] = frozen, g: [H, H] = frozen(glorot), c: [H] = 0.25, d: [H] = constant(-1)
         }",
    );
    let found: Vec<String> = graph
        .params
        .iter()
        .map(|p| format!("{} {:?} {} {:?} {}", p.name, p.shape, p.init.0, p.init.1, p.trainable))
        .collect();
    insta::assert_snapshot!("parameters", found.join("\n"));
}

#[test]
fn settings_of_training() {
    let found = checked(
        "model M(H = 3) {
           param w: []
           loss l = w
           train { optimizer = adam(lr = 0.002, beta2 = 0.9), clip_norm = 5, epochs = 2 * H, schedule = cosine }
         }",
    )
    .unwrap_or_else(|found| panic!("{}", messages(&found)));
    let train: Vec<(String, Setting)> = found.train.into_iter().map(|(key, _, value)| (key, value)).collect();
    let number = |value| Setting::Number(value);
    let arguments = vec![(Some("lr".to_string()), number(0.002)), (Some("beta2".to_string()), number(0.9))];
    assert_eq!(
        train,
        [
            ("optimizer".to_string(), Setting::Call("adam".into(), arguments)),
            ("clip_norm".to_string(), number(5.0)),
            ("epochs".to_string(), number(6.0)),
            ("schedule".to_string(), Setting::Name("cosine".into())),
        ]
    );
}

#[test]
fn dimensions_are_bound_from_outside() {
    let source = "model M(H = 3, D, K = 2 * H) { param W: [H, D, K] }";
    let set = [("H".to_string(), 4), ("D".to_string(), 5)];
    let request = Request { model: None, set: &set, mode: Mode::Train, everything: false };
    let graph = front(source, &request).unwrap().graph;
    assert_eq!(graph.params[0].shape, [4, 5, 8]);
    assert_eq!(graph.dims, [("H".to_string(), 4), ("D".to_string(), 5), ("K".to_string(), 8)]);
}
