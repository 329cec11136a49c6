//! Trees: what programs over them mean, print as and have for gradients.

use std::collections::BTreeMap;

use rnnc::driver::{planned, program};
use rnnc::eval::{DifferenceOptions, Feeds, InputData, Program, difference, evaluate, worst_errors};
use rnnc::grad::{grad, gradient_norm};
use rnnc::ir::{Graph, OutputKind, Tree, dot, print, unroll_tree, verify};
use rnnc::opt::{COMPILE, TIDY};
use rnnc::plan::places::kernels;
use rnnc::plan::{AxisKind, Gemm, GemmRows, Kernel, Steps, Work, label};
use rnnc::testing::{Form, Rng, tree, unrolled_tree_feeds};

use super::native::{distance, plan_name, run};
use super::support::{feeds_for, graph};

const TOLERANCE: f64 = 1e-6;

fn gradients(derived: &Graph, feeds: &Feeds) -> BTreeMap<String, Vec<f64>> {
    let values = evaluate(derived, feeds).unwrap();
    let all = derived.outputs_of(OutputKind::Gradient);
    all.map(|output| (output.name.clone(), values.output(output.kind, &output.name).unwrap().numbers()))
        .collect()
}

/// The gradient against finite differences, after every pass, printed and parsed, and in native code.
fn gradient_holds(name: &str, source: &str) {
    let graph = graph(source);
    for (seed, lengths) in [[0, 1, 3, 9], [7, 2, 12, 1]].into_iter().enumerate() {
        let feeds = feeds_for(&graph, &lengths, seed as u64);
        let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
        let derived =
            grad(&graph, &names).unwrap_or_else(|error| panic!("{name}: {error}\n{}", print(&graph)));
        assert_eq!(verify(&derived), Vec::<String>::new(), "{name}");
        let found = gradients(&derived, &feeds);
        let oracle = Program::new(&graph).unwrap();
        let options = DifferenceOptions { sample: 8, ..DifferenceOptions::default() };
        let differences = difference(&oracle, &feeds, &[], options).unwrap();
        for (path, worst) in worst_errors(&differences, &found) {
            assert!(worst < TOLERANCE, "{name}: d{path} is off by {worst:e}\n{}", print(&derived));
        }
        let same = |what: &str, graph: &Graph, other: &BTreeMap<String, Vec<f64>>| {
            for (path, wanted) in &found {
                let worst = distance(&other[path], wanted);
                assert!(worst < 1e-9, "{name}: {what} changes d{path} by {worst:e}\n{}", print(graph));
            }
        };
        for pipeline in [TIDY, COMPILE] {
            let mut tidied = derived.clone();
            for pass in pipeline {
                (pass.run)(&mut tidied);
                assert_eq!(verify(&tidied), Vec::<String>::new(), "{name}: {}", pass.name);
                same(pass.name, &tidied, &gradients(&tidied, &feeds));
            }
            let text = print(&tidied);
            let parsed = super::support::graph(&text);
            same("printing", &tidied, &gradients(&parsed, &feeds));
            assert_eq!(print(&parsed), text, "{name}");
        }
        let compiled = program::<f64>(&derived, &[OutputKind::Gradient], "gradient").unwrap();
        let native = run(&derived, &compiled, &feeds);
        for (path, wanted) in &found {
            let worst = distance(&native[&plan_name(OutputKind::Gradient, path)], wanted);
            assert!(worst < TOLERANCE, "{name}: native d{path} is off by {worst:e}\n{}", print(&derived));
        }
        let mut first = derived.clone();
        for pass in TIDY {
            (pass.run)(&mut first);
        }
        let norm = gradient_norm(&first).unwrap();
        let second = grad(&norm, &names).unwrap();
        assert_eq!(verify(&second), Vec::<String>::new(), "{name}");
        let oracle = Program::new(&norm).unwrap();
        let options = DifferenceOptions { sample: 3, ..DifferenceOptions::default() };
        let differences = difference(&oracle, &feeds, &[], options).unwrap();
        for (path, worst) in worst_errors(&differences, &gradients(&second, &feeds)) {
            assert!(worst < 1e-4, "{name}: the second gradient of {path} is off by {worst:e}");
        }
    }
}

const DECLARATIONS: &str = "
  input x: [3] over tree n
  input k: id(4) over n
  input y: [3] over n.leaf
  input z: [2] over n, n.child
  input m: [2] over t
  param w: [3], a: [2, 3], b: [4, 3], c: [3, 2], d: [2], e: [], U: [3, 3], V: [3, 3]
";

/// Every position on a tree and every way of reducing over one.
const BODIES: &[(&str, &str)] = &[
    (
        "children by number",
        "v = tanh(w * x)  loss l = dot(v[left], v) + dot(v[right], x) + dot(v[child(2)], x)",
    ),
    (
        "parents",
        "v = tanh(w * x)  loss l = dot(v[parent], v) + dot(v[parent(left)], x) + dot(v[parent(right)], v)",
    ),
    ("the root", "v = tanh(w * x)  loss l = dot(v[root], v) + sum(v[root] * v[root])"),
    ("sum over children", "v = tanh(w * x)  loss l = sum(tanh(sum(U @ v[child] over child)))"),
    ("mean over children", "v = tanh(w * x)  loss l = sum(mean(v[child] * v over child))"),
    ("largest of the children", "v = tanh(w * x)  loss l = sum(max(v[child] over child))"),
    (
        "softmax over children",
        "v = tanh(w * x)  p = softmax(dot(v, v[child]) over child)  loss l = sum(sum(p * v[child] over child))",
    ),
    (
        "data of children",
        "loss l = sum(sum(sum(outer(d * z, w) over child))) + sum(tanh(sum(d * z over n, child)))",
    ),
    (
        "a value for each child, at the child",
        "f = tanh(c @ z + w * x)  loss l = dot(f[parent], x) + sum(f over n, child)[0]",
    ),
    (
        "numbers",
        "loss l = e * tanh(n + length(child) + length(n) + length(leaf)) + sum(e * (child + 1) over child) + e * count(child)",
    ),
    ("leaves at nodes", "v = tanh(w * y)  loss l = dot(v[n], x) + dot((U @ v)[n], w)"),
    ("nodes at leaves", "v = tanh(w * x)  loss l = dot(v[leaf], y) + dot(v[leaf], (w * y)[leaf-1])"),
    (
        "means of nodes and leaves",
        "v = tanh(w * x)  loss l = sum(mean(v over n) * mean(w * y over leaf)) + sum(mean(d * z over n, child))",
    ),
    (
        "children or none, said in every way",
        "v = tanh(w * x)
         loss l = sum(where(length(child) > 0, tanh(U @ x), v)) + sum(where(1 > length(child), x * v, V @ v))
           + sum(where(length(child) != 0, v[left], y[n] * w)) + sum(where(2 <= length(child), U @ v, v))",
    ),
    (
        "nothing at leaves, which others read",
        "state h: [3] over n
         h[n] = where(length(child) == 0, 0, tanh(U @ x + V @ h[left] + sum(h[child] over child)))
         loss l = dot(h[leaf], y) + dot(h[left], x) + dot(sum(h over n), w) + sum(max(h over n)) + sum(exp(h))",
    ),
    (
        "words at the leaves only",
        "state h: [3] over n
         h[n] = tanh(U @ (w * y)[n] + V @ (h[left] + h[right]))
         loss l = dot(h, x) + dot((V @ h)[leaf], y)",
    ),
    (
        "a state that is always zero",
        "state h: [3] over n  h[n] = U @ h[left]  loss l = dot(tanh(U @ h + w * x), x) + dot(h[root], w) + dot(h, x)",
    ),
    ("where it is a leaf", "loss l = sum(where(length(child) == 0, w * x, tanh(U @ x)))"),
    (
        "no child",
        "v = tanh(w * x)  loss l = sum(initially(v[left], w) * x) + sum(initially(v[parent], v)) + sum(initially(v[parent(right)], w * w))",
    ),
    (
        "no parent",
        "f = tanh(c @ z + w * x)  v = tanh(w * x)  loss l = sum(initially(f[parent], v)) + sum(initially(f[parent], v[root]) * x) + sum(w * (initially(f[parent], v[root]))[left])",
    ),
    ("no leaf", "v = tanh(w * y)  loss l = sum(initially(v[n], w * x))"),
    (
        "another axis",
        "f = tanh(outer(d * m, w * x))  loss l = sum(sum(f[n.left, t] * f[n, t-1])) + sum(sum(sum(f[n.child, t] over child))) + sum(sum(f[n.parent, t.last]))",
    ),
    (
        "upwards",
        "state h: [3] over n  h[n] = tanh(U @ h[left] + V @ h[right] + w * x)  loss l = dot(h[root], w) + dot(h, x)",
    ),
    (
        "upwards with a start",
        "state h: [3] over n = w  h[n] = tanh(U @ h[left] + V @ h[right] + x)  loss l = dot(h[root], w)",
    ),
    (
        "upwards over any number",
        "state h: [3] over n  h[n] = tanh(sum(U @ h[child] + d[0] * x over child) + w * x)  loss l = dot(h, x)",
    ),
    (
        "upwards by attention",
        "state h: [3] over n
         q = U @ sum(h[child] over child) + x
         p = softmax(dot(q, V @ h[child]) over child)
         h[n] = tanh(sum(p * h[child] over child) + w * x)
         loss l = dot(h, x)",
    ),
    ("downwards", "state h: [3] over n = tanh(w)  h[n] = tanh(U @ h[parent] + w * x)  loss l = dot(h, x)"),
    (
        "downwards, each child by itself",
        "state h: [3] over n, f: [3] over n, n.child
         f[n, child] = tanh(U @ h + c @ z)
         h[n] = tanh(f[parent] + w * x)
         loss l = dot(h, x) + dot(h[leaf], y)",
    ),
    (
        "down after up",
        "state h: [3] over n, g: [3] over n
         h[n] = tanh(U @ h[left] + V @ h[right] + w * x)
         g[n] = tanh(V @ g[parent] + U @ h)
         loss l = dot(g, x)",
    ),
    (
        "leaves, tree, leaves",
        "q = LSTM(3, 3)(w * y)
         h = ChildSumTreeLSTM(3, 3)(q)
         r = LSTM(3, 3)(h.h[leaf], backward)
         loss l = dot(r, y)",
    ),
    (
        "two trees",
        "input u: [3] over tree s  g = TreeGRU(3, 3)(x)  h = TreeGRU(3, 3)(u)  loss l = dot(g[root], h[root]) + sum(dot(g, u) over n)",
    ),
    ("stacked", "g = ChildSumTreeLSTM(3, 3)(x)  h = TreeLSTM(3, 3)(g)  loss l = dot(h[root], w) + sum(g.c)"),
];

#[test]
fn gradients_of_everything_on_trees() {
    for (name, body) in BODIES {
        gradient_holds(name, &format!("model M() {{ {DECLARATIONS} {body} }}"));
    }
}

fn model(cell: &str, rest: &str) -> String {
    format!(
        "{cell}
         model M(V = 5, E = 3, H = 3, C = 4) {{
           input word: id(V) over tree n
           input label: id(C) over n
           param embed: [V, E]
           {rest}
         }}"
    )
}

#[test]
fn gradients_of_library_cells() {
    for cell in
        ["RecursiveNN(H)", "TreeLSTM(E, H)", "ChildSumTreeLSTM(E, H)", "TreeGRU(E, H)", "TopDown(E, H)"]
    {
        let every = format!("h = {cell}(embed[word])\n label ~ categorical(Dense(H, C)(h))");
        gradient_holds(cell, &model("", &every));
    }
}

#[test]
fn the_tree_lstm_of_tai_has_its_authors_size() {
    let example = super::support::examples().into_iter().find(|example| example.name == "tai").unwrap();
    let graph = graph(&example.source);
    let own = graph.params.iter().filter(|param| param.name.starts_with("h."));
    let elements: usize = own.map(|param| param.shape.iter().product::<usize>()).sum();
    assert_eq!(elements, 316_800);
}

/// The tree `(0 (1 2 3) 4)` with `x` = 1, 2, 4, 8, 16 at its nodes.
fn values_of(equations: &str) -> BTreeMap<String, Vec<f64>> {
    let graph = graph(&format!(
        "model M() {{ input x: [] over tree n, y: [] over n.leaf, z: [] over n, n.child  {equations} }}"
    ));
    let mut feeds = Feeds { examples: 1, ..Feeds::default() };
    feeds.trees.insert("n".into(), vec![Tree::new(&[-1, 0, 1, 1, 0]).unwrap()]);
    feeds.inputs.insert("x".into(), InputData::Real(vec![vec![1.0, 2.0, 4.0, 8.0, 16.0]]));
    feeds.inputs.insert("y".into(), InputData::Real(vec![vec![10.0, 20.0, 30.0]]));
    feeds.inputs.insert("z".into(), InputData::Real(vec![vec![0.1, 0.2, 0.3, 0.4]]));
    let values = evaluate(&graph, &feeds).unwrap();
    let named = graph.outputs_of(OutputKind::Value);
    named
        .map(|output| (output.name.clone(), values.output(output.kind, &output.name).unwrap().numbers()))
        .collect()
}

#[test]
fn positions_mean_what_they_say() {
    let v = values_of(
        "first = x[left]  second = x[n.right]  third = x[child(2)]  up = x[parent]
         of_left = x[parent(left)]  of_right = x[parent(right)]  top = x[root]
         sums = sum(x[child] over child)  means = mean(x[child] over child)  most = max(x[child] over child)
         shares = sum(softmax(x[child] over child) over child)  how_many = length(child)  nodes = length(n)
         leaves = length(leaf)  edges = count(child)  at_nodes = y[n]  at_leaves = x[leaf]  before = y[leaf-1]
         numbers = sum(z * x over child)  own = z[parent]  ranks = (child + 0 * z)[parent]
         everything = sum(z * x over n, child)",
    );
    let is = |name: &str, wanted: &[f64]| {
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
        assert!(
            v[name].len() == wanted.len() && v[name].iter().zip(wanted).all(close),
            "{name}: {:?}",
            v[name]
        );
    };
    is("first", &[2.0, 4.0, 0.0, 0.0, 0.0]);
    is("second", &[16.0, 8.0, 0.0, 0.0, 0.0]);
    is("third", &[0.0; 5]);
    is("up", &[0.0, 1.0, 2.0, 2.0, 1.0]);
    is("of_left", &[0.0, 1.0, 2.0, 0.0, 0.0]);
    is("of_right", &[0.0, 0.0, 0.0, 2.0, 1.0]);
    is("top", &[1.0]);
    is("sums", &[18.0, 12.0, 0.0, 0.0, 0.0]);
    is("means", &[9.0, 6.0, 0.0, 0.0, 0.0]);
    is("most", &[16.0, 8.0, 0.0, 0.0, 0.0]);
    is("shares", &[1.0, 1.0, 0.0, 0.0, 0.0]);
    is("how_many", &[2.0, 2.0, 0.0, 0.0, 0.0]);
    is("nodes", &[5.0]);
    is("leaves", &[3.0]);
    is("edges", &[4.0]);
    is("at_nodes", &[0.0, 0.0, 10.0, 20.0, 30.0]);
    is("at_leaves", &[4.0, 8.0, 16.0]);
    is("before", &[0.0, 10.0, 20.0]);
    is("numbers", &[0.3, 1.4, 0.0, 0.0, 0.0]);
    is("own", &[0.0, 0.1, 0.3, 0.4, 0.2]);
    is("ranks", &[0.0, 0.0, 0.0, 1.0, 1.0]);
    is("everything", &[1.7]);
}

#[test]
fn states_run_up_and_down() {
    let v = values_of(
        "state u: [] over n, d: [] over n, w: [] over n = 100
         u[n] = x + u[left] + 10 * u[right]
         d[n] = u + d[parent]
         w[n] = 1 + w[left]",
    );
    assert_eq!(v["u"], [1.0 + 86.0 + 160.0, 2.0 + 4.0 + 80.0, 4.0, 8.0, 16.0]);
    assert_eq!(v["d"], [247.0, 333.0, 337.0, 341.0, 263.0]);
    assert_eq!(v["w"], [103.0, 102.0, 101.0, 101.0, 101.0]);
}

/// Cells for trees whose nodes have any number of children.
const ANY_ARITY: [&str; 3] = ["ChildSumTreeLSTM(E, H)", "TreeGRU(E, H)", "TopDown(E, H)"];

/// Chains, combs, full trees, a single node, many children and a deep tree: no recursion, the gradients of
/// finite differences.
#[test]
fn trees_of_every_form() {
    let cells =
        ["RecursiveNN(H)", "TreeLSTM(E, H)", "ChildSumTreeLSTM(E, H)", "TreeGRU(E, H)", "TopDown(E, H)"];
    for cell in cells {
        let graph =
            graph(&model("", &format!("h = {cell}(embed[word])\n label ~ categorical(Dense(H, C)(h))")));
        let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
        let derived = grad(&graph, &names).unwrap();
        let compiled = program::<f64>(&derived, &[OutputKind::Gradient], "gradient").unwrap();
        let oracle = Program::new(&graph).unwrap();
        let mut forms = vec![(Form::Chain, 40), (Form::Comb, 41), (Form::Balanced, 63), (Form::Chain, 1)];
        forms.extend([(Form::Random(2), 50), (Form::Chain, 5000)]);
        if ANY_ARITY.contains(&cell) {
            forms.extend([(Form::Star, 1001), (Form::Random(9), 50)]);
        }
        for (form, nodes) in forms {
            let mut feeds = feeds_for(&graph, &[nodes], 3);
            let mut rng = Rng::new(5);
            feeds.trees.insert("n".into(), vec![tree(&mut rng, form, nodes)]);
            let found = gradients(&derived, &feeds);
            let native = run(&derived, &compiled, &feeds);
            for (path, wanted) in &found {
                let worst = distance(&native[&plan_name(OutputKind::Gradient, path)], wanted);
                assert!(worst < 1e-8, "{cell}, {form:?} of {nodes}: d{path} is off by {worst:e}");
            }
            let sample = if nodes > 1000 { 1 } else { 4 };
            let options = DifferenceOptions { sample, ..DifferenceOptions::default() };
            let differences = difference(&oracle, &feeds, &[], options).unwrap();
            for (path, worst) in worst_errors(&differences, &found) {
                assert!(worst < TOLERANCE, "{cell}, {form:?} of {nodes}: d{path} differs by {worst:e}");
            }
        }
    }
}

/// Cells with one place for the step before or the child, and one for the node above.
/// And whether gradients have the same bits: where several equations read the step before, a sequence adds what comes
/// back from them one by one, a tree what comes back from a child.
const CHAINED: [(&str, bool); 3] = [
    ("h[HERE] = tanh(W @ x + U @ h[BEFORE] + b)", true),
    (
        "z = [W @ x, W @ x, W @ x, W @ x] + [U @ h[BEFORE], U @ h[BEFORE], U @ h[BEFORE], U @ h[BEFORE]]
     c[HERE] = sigmoid(z[0:H] + b) * c[BEFORE] + sigmoid(z[H:2 * H]) * tanh(z[2 * H:3 * H])
     h[HERE] = sigmoid(z[3 * H:4 * H]) * tanh(c[HERE])",
        true,
    ),
    (
        "r = sigmoid(W @ x + U @ h[BEFORE])
     h[HERE] = r * h[BEFORE] + (1 - r) * tanh(U @ (r * h[BEFORE]) + b)",
        false,
    ),
];

/// A sequence is the tree in which each node has one child: the same kernels, the same order of rows, the same bits.
#[test]
fn a_sequence_is_the_tree_with_one_child() {
    for (body, exact) in CHAINED {
        let source = |over: &str, axis: &str, before: &str| {
            let state = if body.contains("c[") { "h: [H], c: [H]" } else { "h: [H]" };
            let body = body.replace("HERE", axis).replace("BEFORE", before);
            format!(
                "cell Chain(I, H) {over} {{
                   input x: [I]
                   state {state}
                   param W: [H, I], U: [H, H], b: [H]
                   {body}
                 }}
                 model M(V = 30, I = 40, H = 48, C = 5) {{
                   input word: id(V) over {axis}
                   input label: id(C) over {axis}
                   param embed: [V, I]
                   h = Chain(I, H)(embed[word])
                   label ~ categorical(Dense(H, C)(h))
                 }}"
            )
        };
        // Longest first, which is the order of a sequence's rows.
        let lengths = [9, 7, 7, 3, 1];
        let along = graph(&source("", "t", "t-1"));
        let up = graph(&source("over tree n", "n", "left").replace("over n", "over tree n"));
        let steps = feeds_for(&along, &lengths, 1);
        let mut nodes = feeds_for(&up, &lengths, 1);
        nodes.params = steps.params.clone();
        let chain = |&length: &usize| tree(&mut Rng::new(1), Form::Chain, length);
        nodes.trees.insert("n".into(), lengths.iter().map(chain).collect());
        // The first step is the leaf, and nodes are counted from the root.
        nodes.inputs = steps.inputs.clone();
        for input in nodes.inputs.values_mut() {
            match input {
                InputData::Real(values) => values.iter_mut().for_each(|values| values.reverse()),
                InputData::Ids(ids) => ids.iter_mut().for_each(|ids| ids.reverse()),
            }
        }
        let kinds = [OutputKind::Loss, OutputKind::Gradient];
        let [along, up] = [along, up].map(|graph| {
            let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
            grad(&graph, &names).unwrap()
        });
        let of_nodes = |graph: &Graph| {
            let plan = planned(graph, &kinds, "gradient").unwrap();
            let sized = |kernel: &Kernel| match &kernel.work {
                Work::Gemm(gemm) => Some(("rows", gemm.k, gemm.n)),
                Work::Outer(outer) => Some(("sum", outer.m, outer.n)),
                _ => None,
            };
            kernels(&plan).filter_map(sized).collect::<Vec<_>>()
        };
        assert_eq!(of_nodes(&along), of_nodes(&up), "{body}");
        let [one, other] = [(&along, &steps), (&up, &nodes)].map(|(graph, feeds)| {
            let single = program::<f32>(graph, &kinds, "gradient").unwrap();
            let double = program::<f64>(graph, &kinds, "gradient").unwrap();
            (run(graph, &single, feeds), run(graph, &double, feeds))
        });
        assert!(one.0.values().flatten().any(|value| *value != 0.0));
        for ((one, other), tolerance) in [(one.0, other.0), (one.1, other.1)].into_iter().zip([2e-5, 1e-12]) {
            for (name, wanted) in &one {
                let worst = distance(&other[name], wanted);
                let same = exact || name.starts_with("loss");
                assert!(worst <= if same { 0.0 } else { tolerance }, "{body}: `{name}` is off by {worst:e}");
            }
        }
    }
}

/// Differentiating the loop and differentiating what it unrolls to are the same, and need no stack that grows with
/// the tree.
#[test]
fn gradients_of_unrolled_trees() {
    for cell in
        ["RecursiveNN(H)", "TreeLSTM(E, H)", "ChildSumTreeLSTM(E, H)", "TreeGRU(E, H)", "TopDown(E, H)"]
    {
        let graph =
            graph(&model("", &format!("h = {cell}(embed[word])\n label ~ categorical(Dense(H, C)(h))")));
        let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
        let axis = graph.find_axis("n").unwrap();
        let mut forms = vec![(Form::Balanced, 9), (Form::Comb, 7), (Form::Chain, 6), (Form::Chain, 1)];
        forms.extend([(Form::Random(2), 12), (Form::Chain, 5000)]);
        if ANY_ARITY.contains(&cell) {
            forms.extend([(Form::Star, 1001), (Form::Random(5), 12)]);
        }
        for (form, nodes) in forms {
            let examples = if nodes > 1000 { 1 } else { 2 };
            let mut feeds = feeds_for(&graph, &vec![nodes; examples], 7);
            let tree = tree(&mut Rng::new(1), form, nodes);
            feeds.trees.insert("n".into(), vec![tree.clone(); examples]);
            let found = gradients(&grad(&graph, &names).unwrap(), &feeds);
            let mut flat = unroll_tree(&graph, axis, &tree).unwrap();
            flat.outputs.retain(|output| output.kind == OutputKind::Loss);
            let flat = grad(&flat, &names).unwrap();
            for (path, wanted) in gradients(&flat, &unrolled_tree_feeds(&graph, &feeds, axis)) {
                let worst = distance(&found[&path], &wanted);
                assert!(worst < 1e-9, "{cell}, {form:?} of {nodes}: d{path} is off by {worst:e}");
            }
        }
    }
}

/// The adjoint of what is read at a child is read at the parent.
#[test]
fn the_gradient_of_a_recursive_network() {
    let graph = graph(
        "model M(H = 4, I = 3) {
           input x: [I] over tree n
           param W: [H, I], L, R: [H, H]
           state h: [H] over n
           h[n] = tanh(W @ x + L @ h[left] + R @ h[right])
           loss size = sum(h[root])
         }",
    );
    insta::assert_snapshot!(print(&super::support::tidy_gradient(&graph).unwrap()));
}

#[test]
fn an_unrolled_tree_shows_itself() {
    let graph = graph(
        "model M() { input x: [] over tree n  state h: [] over n  h[n] = x + 2 * sum(h[child] over child)  loss l = h[root] }",
    );
    let tree = Tree::new(&[-1, 0, 0, 2]).unwrap();
    let flat = unroll_tree(&graph, graph.find_axis("n").unwrap(), &tree).unwrap();
    insta::assert_snapshot!(print(&flat));
    let drawn = dot(&flat);
    assert!((0..4).all(|node| drawn.contains(&format!("h_{node}"))) && !drawn.contains("cluster"), "{drawn}");
    assert!(dot(&graph).contains("loop over n, leaves to root"), "{}", dot(&graph));
}

/// Kernels of a program's gradient that are products: their label, and at which nodes they are done.
fn products(source: &str) -> Vec<(String, Steps)> {
    let graph = graph(source);
    let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    let derived = grad(&graph, &names).unwrap();
    let plan = planned(&derived, &[OutputKind::Loss, OutputKind::Gradient], "gradient").unwrap();
    let is_product = |work: &Work| {
        matches!(work, Work::Outer(_)) || matches!(work, Work::Gemm(Gemm { rows: GemmRows::Space(_), .. }))
    };
    let over_nodes = |kernel: &&Kernel| {
        let space = kernel.work.space().map(|space| &plan.spaces[space]);
        space.is_some_and(|space| space.major.is_some_and(|axis| plan.kind(axis) == AxisKind::Tree))
    };
    kernels(&plan)
        .filter(|kernel| is_product(&kernel.work))
        .filter(over_nodes)
        .map(|kernel| (label(&plan, kernel), kernel.steps))
        .collect()
}

/// One product up, one down, and one sum for each matrix; also if each child has a matrix of its own.
#[test]
fn both_children_are_in_one_product() {
    for (weights, read, wanted) in
        [("U: [H, 2 * H]", "U @ [h[left], h[right]]", 3), ("U, V: [H, H]", "U @ h[left] + V @ h[right]", 4)]
    {
        let found = products(&format!(
            "model M(H = 4) {{
               input x: [H] over tree n
               param {weights}
               state h: [H] over n
               h[n] = tanh({read} + x)
               loss l = sum(h)
             }}"
        ));
        assert_eq!(found.len(), wanted, "{found:?}");
        assert!(found.iter().all(|(_, steps)| *steps == Steps::Rest), "{found:?}");
    }
}

#[test]
fn leaves_do_no_products_of_children_and_inner_nodes_none_of_words() {
    let example = super::support::examples().into_iter().find(|example| example.name == "tai").unwrap();
    let of_tai = products(&example.source);
    // The labels are at all nodes; the cell's own products see children, and words have rows of their own.
    let (labels, cell): (Vec<_>, Vec<_>) = of_tai.iter().partition(|(_, steps)| *steps == Steps::All);
    assert_eq!(labels.len(), 3, "{of_tai:?}");
    assert!(cell.len() >= 4 && cell.iter().all(|(_, steps)| *steps == Steps::Rest), "{of_tai:?}");
    // A cell of one's own under other names, whose words are read at all nodes and are nowhere but at leaves.
    let own = products(
        "cell Any(I, H) over tree n {
           input a: [I]
           state q: [H]
           param A: [H, I], B: [H, H]
           q[n] = tanh(A @ a + B @ q[child(1)])
         }
         model M(V = 9, I = 3, H = 4) {
           input word: id(V) over n.leaf
           input y: [4] over tree n
           param embed: [V, I] = zeros
           q = Any(I, H)(tanh(embed[word])[n])
           loss l = sum(dot(q, y) over n)
         }",
    );
    let count = |steps: Steps| own.iter().filter(|(_, own)| *own == steps).count();
    assert_eq!((count(Steps::All), count(Steps::First), count(Steps::Rest)), (0, 3, 3), "{own:?}");
}
