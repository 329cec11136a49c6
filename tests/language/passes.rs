//! Every pass on a program where it fires, before and after; and what the passes are for, counted in plans.

use rnnc::driver::{front, planned};
use rnnc::grad::grad;
use rnnc::ir::{Graph, OutputKind, dot, listing, print, unroll, verify};
use rnnc::opt::{ALL, COMPILE};
use rnnc::plan::{self, Plan, Region, Residency, Work};

use super::support::{graph, messages, request, tidy_gradient};

fn with_gradient(graph: &Graph) -> Graph {
    let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    let mut derived = grad(graph, &names).unwrap();
    derived.outputs.retain(|output| output.kind != OutputKind::Value);
    derived
}

/// By pass: a program, and whether it is its gradient that the pass is shown.
const PROGRAMS: [(&str, bool, &str); 15] = [
    ("copies", false, "input x: [] over t  param w: []  s[t] = w  y = s  loss l = x * y"),
    ("fold", false, "input x: [] over t  param w: []  loss l = w * x^(2 - 1) * (2 * 3)"),
    ("simplify", false, "input x: [] over t  param w: []  loss l = -(-(w * x)) * 1 + 0"),
    ("common", false, "input x: [] over t  param w: []  loss l = tanh(w * x) * tanh(w * x)"),
    (
        "shift",
        true,
        "input x: [3] over t  state h: [3] over t  param W: [3, 3]  h[t] = tanh(W @ h[t-1] + x)  loss l = sum(h)",
    ),
    (
        "reassociate",
        false,
        "input x: [3] over t  param W: [3, 3]  p = outer(x, x[t-1])  loss l = sum(sum(W * sum(p over t)))",
    ),
    ("dead", false, "input x: [] over t  param w: []  loss l = w * x  metric unused = stop(w * x + 1)"),
    (
        "split",
        false,
        "input x: [2] over t  state h: [3] over t  param W: [3, 5]  h[t] = tanh(W @ [h[t-1], x])  loss l = sum(h)",
    ),
    (
        "hoist",
        false,
        "input x, u: [3] over t  state h: [3] over t  param W, U, V: [3, 3]  h[t] = tanh(W @ h[t-1] + U @ x + V @ u)  loss l = sum(h)",
    ),
    ("merge", false, "input x: [2] over t  param A, B: [3, 2]  loss l = sum(tanh(A @ x) * sigmoid(B @ x))"),
    (
        "rejoin",
        true,
        "input x: [130] over t  state h: [130] over t  param U: [260, 130]  z = U @ h[t-1]  h[t] = tanh(z[0:130]) * z[130:260] + x  loss l = sum(h)",
    ),
    (
        "slices",
        false,
        "input x: [4] over t  param b: [4]  z = 2 * x + b  loss l = sum(tanh(z[0:2]) * z[2:4])",
    ),
    (
        "tables",
        true,
        "input k: id(4) over t  param W: [3, 2], embed: [4, 2]  loss l = sum(tanh(W @ embed[k]))",
    ),
    (
        "pieces",
        true,
        "input x: [2] over t  state h: [2] over t  param U, W: [2, 2], b, c: [2]  h[t] = tanh(U @ h[t-1] + b) * sigmoid(W @ h[t-1] + c) + x  loss l = sum(h)",
    ),
    ("recompute", true, "input x: [3] over t  param w: [3]  loss l = sum(sin(w * x))"),
];

#[test]
fn every_pass_fires() {
    assert_eq!(PROGRAMS.map(|(name, _, _)| name).as_slice(), ALL.map_names().as_slice());
    for ((name, derived, body), pass) in PROGRAMS.iter().zip(ALL) {
        let source = format!("model M() {{ {} }}", body.replace("  ", "\n"));
        let mut graph = graph(&source);
        if *derived {
            graph = with_gradient(&graph);
        }
        if *name == "dead" {
            graph.outputs.retain(|output| output.kind == OutputKind::Loss);
        } else {
            graph.outputs.retain(|output| output.kind != OutputKind::Value);
        }
        // What runs before it makes its work visible.
        if *derived {
            for earlier in COMPILE.iter().take_while(|earlier| earlier.name != *name) {
                (earlier.run)(&mut graph);
            }
        }
        let before = if *name == "dead" { format!("{} nodes\n", graph.len()) } else { print(&graph) };
        assert!((pass.run)(&mut graph), "{name} does not fire on\n{before}");
        let complaints = verify(&graph);
        assert!(complaints.is_empty(), "{name}: {complaints:?}");
        let after = if *name == "dead" { format!("{} nodes\n", graph.len()) } else { print(&graph) };
        insta::assert_snapshot!(
            format!("pass_{name}"),
            format!("{}\n\n{before}\nbecomes\n\n{after}", pass.description)
        );
    }
}

trait Names {
    fn map_names(&self) -> Vec<&'static str>;
}

impl Names for [rnnc::opt::Pass] {
    fn map_names(&self) -> Vec<&'static str> {
        self.iter().map(|pass| pass.name).collect()
    }
}

fn training_plan(source: &str) -> Plan {
    let kinds = [OutputKind::Loss, OutputKind::Gradient];
    let checked = front(source, &request(&[])).unwrap_or_else(|found| panic!("{}", messages(&found)));
    planned(&with_gradient(&checked.graph), &kinds, "train").unwrap()
}

/// By loop in order: whether it runs backward, and how many products it has a step.
fn products_in_loops(plan: &Plan) -> Vec<(bool, usize)> {
    plan.regions
        .iter()
        .filter_map(|region| match region {
            Region::Loop { backward, kernels, .. } => {
                let is_product = |work: &Work| matches!(work, Work::Gemm(_));
                Some((*backward, kernels.iter().filter(|kernel| is_product(&kernel.work)).count()))
            }
            Region::Flat(_) => None,
        })
        .collect()
}

/// Kernels in loops that cross rows: weight gradients belong outside.
fn crossing_in_loops(plan: &Plan) -> usize {
    let crosses = |work: &Work| matches!(work, Work::Outer(_) | Work::Scatter(_) | Work::Combine(_));
    plan.regions
        .iter()
        .map(|region| match region {
            Region::Loop { kernels, .. } => kernels.iter().filter(|kernel| crosses(&kernel.work)).count(),
            Region::Flat(_) => 0,
        })
        .sum()
}

/// Buffers of real numbers with a row for every position.
fn kept(plan: &Plan) -> Vec<String> {
    plan.buffers
        .iter()
        .filter(|buffer| {
            buffer.residency == Residency::All
                && plan.spaces[buffer.space].axes.len() == 2
                && buffer.element == rnnc::plan::Element::Real
        })
        .map(|buffer| format!("{} {:?}", buffer.name, buffer.shape))
        .collect()
}

/// The LSTM's equations under other names, with one matrix a gate.
const OWN_LSTM: &str = "
cell Memory(A, B) {
  input u: [A]
  state out: [B], store: [B]
  param forget, write, new, show: [B, B + A], b1: [B] = ones, b2, b3, b4: [B]
  keep = sigmoid(forget @ [out[t-1], u] + b1)
  put = sigmoid(write @ [out[t-1], u] + b2)
  cand = tanh(new @ [out[t-1], u] + b3)
  gate = sigmoid(show @ [out[t-1], u] + b4)
  store[t] = keep * store[t-1] + put * cand
  out[t] = gate * tanh(store[t])
}
model Own(V = 65, E = 32, H = 48) {
  input text: id(V) over t
  param embed: [V, E]
  h = Memory(E, H)(embed[text[t-1]])
  text[t] ~ categorical(Dense(H, V)(h))
}";

fn language_model(cell: &str) -> String {
    format!(
        "model M(V = 65, E = 32, H = 48) {{
           input text: id(V) over t
           param embed: [V, E]
           h = {cell}(E, H)(embed[text[t-1]])
           text[t] ~ categorical(Dense(H, V)(h))
         }}"
    )
}

#[test]
fn an_lstm_has_one_product_a_step_each_way() {
    for source in [language_model("LSTM"), OWN_LSTM.to_string()] {
        let plan = training_plan(&source);
        assert_eq!(products_in_loops(&plan), [(false, 1), (true, 1)], "{}", plan::print(&plan));
        assert_eq!(crossing_in_loops(&plan), 0, "{}", plan::print(&plan));
    }
}

#[test]
fn what_an_lstm_keeps_of_every_step() {
    let plan = training_plan(&language_model("LSTM"));
    insta::assert_snapshot!("lstm_keeps", kept(&plan).join("\n"));
}

#[test]
fn other_cells() {
    for (cell, forward, backward) in [
        ("RNN", 1, 1),
        ("GRU", 2, 2),
        ("PeepholeLSTM", 1, 1),
        ("CoupledLSTM", 1, 1),
        ("LayerNormLSTM", 1, 1),
        ("ResetAfterGRU", 1, 1),
        ("MinimalGRU", 2, 2),
        ("sLSTM", 1, 1),
        // Elementwise recurrences: all products have left their loops.
        ("IndRNN", 0, 0),
        ("SRU", 0, 0),
        ("QRNN", 0, 0),
    ] {
        let plan = training_plan(&language_model(cell));
        assert_eq!(
            products_in_loops(&plan),
            [(false, forward), (true, backward)],
            "{cell}\n{}",
            plan::print(&plan)
        );
        assert_eq!(crossing_in_loops(&plan), 0, "{cell}\n{}", plan::print(&plan));
    }
}

#[test]
fn ten_layers() {
    let mut source = "model M(V = 65, E = 32, H = 48) {
      input text: id(V) over t
      param embed: [V, E]
      h0 = LSTM(E, H)(embed[text[t-1]])\n"
        .to_string();
    for layer in 1..10 {
        source += &format!("h{layer} = LSTM(H, H)(h{})\n", layer - 1);
    }
    source += "text[t] ~ categorical(Dense(H, V)(h9)) }";
    let plan = training_plan(&source);
    let wanted: Vec<(bool, usize)> = [(false, 1); 10].into_iter().chain([(true, 1); 10]).collect();
    assert_eq!(products_in_loops(&plan), wanted);
    assert_eq!(crossing_in_loops(&plan), 0);
}

fn elman() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/elman.rnn")).unwrap()
}

#[test]
fn the_textbook_gradient() {
    let mut derived = tidy_gradient(&graph(&elman())).unwrap();
    derived.outputs.retain(|output| output.kind == OutputKind::Gradient);
    let equations: Vec<String> = listing(&derived).equations.into_iter().map(|(_, text)| text).collect();
    for wanted in [
        "dy[t] = softmax(W_y @ h[t] + b_y) - onehot(text[t], V)",
        "dh[t] = W_y.T @ dy[t] + W_h.T @ dz[t+1]",
        "dz[t] = (1 - h[t]^2) * dh[t]",
        "dW_h = mean(outer(dz[t], h[t-1]) over t)",
        "dW_x = mean(outer(dz[t], embed[text[t-1]]) over t)",
    ] {
        assert!(equations.iter().any(|found| found == wanted), "no `{wanted}` in\n{}", equations.join("\n"));
    }
}

#[test]
fn char_rnn_at_every_stage() {
    let checked = graph(&elman());
    insta::assert_snapshot!("char_rnn_graph", print(&checked));
    insta::assert_snapshot!("char_rnn_gradient", print(&tidy_gradient(&checked).unwrap()));
    insta::assert_snapshot!("char_rnn_plan", plan::print(&training_plan(&elman())));
}

#[test]
fn an_axis_unrolled_and_drawn() {
    let tiny = graph(
        "model Tiny() {\n  input x: [] over t\n  param w: []\n  state h: [] over t = 1\n  h[t] = tanh(w * h[t-1] + x)\n  loss l = h[last]\n}",
    );
    let unrolled = unroll(&tiny, tiny.find_axis("t").unwrap(), 3).unwrap();
    insta::assert_snapshot!("tiny_unrolled", print(&unrolled));
    insta::assert_snapshot!("tiny_dot", dot(&tiny));
}

/// One matrix for all gates, and wide ones: its gradient is one sum, read once, and nothing copies parts of it.
#[test]
fn gates_of_one_matrix_have_one_sum_of_outer_products() {
    let source = "cell Gates(I, H) {
      input x: [I]
      state h: [H]
      param W: [3 * H, I], U: [3 * H, H]
      z = W @ x + U @ h[t-1]
      h[t] = sigmoid(z[0:H]) * tanh(z[H:2 * H]) + z[2 * H:3 * H]
    }
    model M(V = 1000, I = 40, H = 130) {
      input word: id(V) over t
      param embed: [V, I]
      h = Gates(I, H)(embed[word])
      loss squares = sum(sum(h^2) over t)
    }";
    let plan = training_plan(source);
    let works = plan.regions.iter().flat_map(|region| match region {
        Region::Flat(kernels) | Region::Loop { kernels, .. } => kernels,
    });
    let outer: Vec<(usize, usize)> = works
        .filter_map(|kernel| match &kernel.work {
            Work::Outer(outer) => Some((outer.m, outer.n)),
            _ => None,
        })
        .collect();
    assert_eq!(outer, [(390, 130), (390, 40)], "{}", plan::print(&plan));
}
