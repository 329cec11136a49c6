//! Programs to try things on, and data for them.

use std::path::PathBuf;

use rnnc::base::Diagnostic;
use rnnc::check::{Checked, Mode, Request};
use rnnc::driver::front;
use rnnc::eval::{Feeds, InputData};
use rnnc::grad::{GradError, grad};
use rnnc::ir::{Access, AxisKind, Element, Graph};
use rnnc::opt::TIDY;
use rnnc::testing::{Form, Rng, coordinates, tree};

/// What a text asks for when nothing else is said.
pub fn request(set: &[(String, usize)]) -> Request<'_> {
    Request { model: None, set, mode: Mode::Train, everything: false }
}

/// The checked graph of a text.
pub fn checked(source: &str) -> Result<Checked, Vec<Diagnostic>> {
    front(source, &request(&[]))
}

/// The graph of a text that must be sound.
pub fn graph(source: &str) -> Graph {
    match checked(source) {
        Ok(checked) => checked.graph,
        Err(found) => panic!("{}\n{source}", messages(&found)),
    }
}

/// Diagnostics in a line each.
pub fn messages(found: &[Diagnostic]) -> String {
    found
        .iter()
        .map(|it| format!("{}: {} ({:?})", it.rule, it.message, it.span))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A program and the dimensions to make it small.
pub struct Example {
    pub name: String,
    pub source: String,
    pub set: Vec<(String, usize)>,
}

/// Every model of the examples, small.
pub fn examples() -> Vec<Example> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rnn"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let source = std::fs::read_to_string(&path).unwrap();
            let head = source.lines().find(|line| line.starts_with("model ")).unwrap();
            let dims = head.split_once('(').unwrap().1.split_once(')').unwrap().0;
            let small = [5, 3, 4, 2];
            let set = dims
                .split(',')
                .zip(small.into_iter().cycle())
                .map(|(dim, size)| (dim.split('=').next().unwrap().trim().to_string(), size))
                .collect();
            Example { name: path.file_stem().unwrap().to_string_lossy().into(), source, set }
        })
        .collect()
}

/// A model around every cell of the library.
pub fn library() -> Vec<(&'static str, String)> {
    let recurrent = RECURRENT.map(|cell| {
        // `stack(2, LSTM` is closed behind the sizes.
        let sizes = if cell.contains('(') { "(E, E))" } else { "(E, H)" };
        let size = if cell.contains('(') { "E" } else { "H" };
        let text = format!(
            "model M(V = 5, E = 3, H = 4) {{
               input words: id(V) over t
               param embed: [V, E]
               h = {cell}{sizes}(embed[words[t-1]])
               words[t] ~ categorical(Dense({size}, V)(h))
             }}"
        );
        (cell, text)
    });
    let layers = ["LayerNorm(H)", "Dense(H, H)", "Highway(H)", "DeepOutput(H, 3, H)"].map(|cell| {
        let text = format!(
            "model M(H = 4) {{
               input x: [H] over t
               param W: [H, H]
               y = {cell}(W @ x)
               x[t] ~ normal(y[t-1])
             }}"
        );
        (cell, text)
    });
    let trees =
        ["RecursiveNN(H)", "TreeLSTM(H, H)", "ChildSumTreeLSTM(H, H)", "TreeGRU(H, H)", "TopDown(H, H)"].map(
            |cell| {
                let text = format!(
                    "model M(V = 5, H = 4, C = 3) {{
               input word: id(V) over n.leaf
               input label: id(C) over n
               param embed: [V, H]
               h = {cell}(embed[word])
               label ~ categorical(Dense(H, C)(h))
             }}"
                );
                (cell, text)
            },
        );
    let others = NETWORKS.iter().map(|(name, body)| (*name, format!("model M() {{\n{body}\n}}")));
    recurrent.into_iter().chain(layers).chain(trees).chain(others).collect()
}

/// Every recurrent cell of the library that takes the sizes of its input and its state.
const RECURRENT: [&str; 18] = [
    "RNN",
    "SigmoidRNN",
    "ReluRNN",
    "IndRNN",
    "DeepTransition",
    "GRU",
    "ResetAfterGRU",
    "MinimalGRU",
    "LayerNormGRU",
    "LSTM",
    "PeepholeLSTM",
    "CoupledLSTM",
    "LayerNormLSTM",
    "sLSTM",
    "SRU",
    "QRNN",
    "stack(2, LSTM",
    "stack(3, RNN",
];

/// What is in no such form.
pub const NETWORKS: &[(&str, &str)] = &[
    ("Clockwork", "input x: [3] over t  h = Clockwork(3, 2)(x)  loss l = sum(h^2)"),
    ("ProjectedLSTM", "input x: [3] over t  h = ProjectedLSTM(3, 4, 2)(x)  loss l = sum(h^2)"),
    (
        "AdditiveAttention",
        "input x: [3] over t  input m: [2] over s  param W: [2, 2]
         y = AdditiveAttention(3, 2, 4)(x, W @ m)  loss l = sum(y^2)",
    ),
    (
        "DotAttention",
        "input x: [3] over t  input m: [2] over s  param W: [2, 2]
         y = DotAttention(3, 2)(x, W @ m)  loss l = sum(y^2)",
    ),
    (
        "MultiHeadAttention",
        "input x: [3] over t  input m: [2] over s  param W: [2, 2]
         y = MultiHeadAttention(3, 2, 2, 4, 5)(x, W @ m)  loss l = sum(y^2)",
    ),
    (
        "Pointer",
        "input w: id(4) over s  input y: id(4) over t  param embed: [4, 3]
         h = GRU(3, 2)(embed[y[t-1]])  y[t] ~ categorical(log(Pointer(2, 3, 4, 4)(h, embed[w], w) + 1e-3))",
    ),
    ("NTM", "input x: [3] over t  h = NTM(3, 4, 5, 2)(x)  loss l = sum(h^2)"),
    // Where it halts is a step of the loss, which differences must not meet.
    ("ACT", "input x: [3] over t  h = ACT(3, 2, 2)(x)  loss l = sum(h^2)  loss c = 0.01 * h.cost"),
    (
        "BatchNorm",
        "input x: [3] over t  param W: [4, 3]
         h = GRU(4, 2)(BatchNorm(4)(W @ x))  loss l = sum(BatchNorm(2)(h)^3)",
    ),
    (
        "masks and noise",
        "input x: [3] over t  param W: [4, 4], V: [4, 3]
         state h: [4] over t
         m = mask(0.6, 4)  z[t] = mask(0.2, 4)
         h[t] = z * h[t-1] + (1 - z) * tanh((W + noise(0.1, 4, 4, shared)) @ (m * h[t-1]) + dropout(V, 0.3, shared) @ x)
         loss l = sum(dropout(h, 0.1 * epoch, once)^2) * min(1, step / 500)",
    ),
    (
        "scheduled sampling",
        "input y: id(5) over t  state guess: id(5) over t  param embed: [5, 3]
         chosen = training * mask(0.2 * epoch, along t)
         h = GRU(3, 4)(embed[where(chosen, guess[t-1], y[t-1])])  logits = Dense(4, 5)(h)
         guess[t] = draw(categorical(logits))  y[t] ~ categorical(logits)",
    ),
    (
        "a latent draw",
        "input x: [3]  param W: [2, 3], V: [3, 2]
         z = draw(normal(W @ x))  x ~ normal(V @ z)  loss kl = sum((W @ x)^2) / 2 * training",
    ),
    (
        "counting",
        "input x: [4]  input label: id(4)  param W: [4, 4], u: [4]
         label ~ categorical(W @ x, smoothing = 0.1, weight = exp(u)[label])  loss b = sum((W @ x - mean(W @ x over all))^2)",
    ),
    (
        "a stack with all that is between",
        "input x: [3] over t  input m: [2] over s
         h = stack(2, Highway(3))(x)  a = stack(2, DotAttention(2, 2))(Dense(3, 2)(h), m)
         g = stack(2, RNN(2, 2), shared)(a, backward, h = m[s.last])  loss l = sum(g^2)",
    ),
];

/// The gradient by all parameters in the textbook's form.
pub fn tidy_gradient(graph: &Graph) -> Result<Graph, GradError> {
    let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    let mut derived = grad(graph, &names)?;
    for pass in TIDY {
        (pass.run)(&mut derived);
    }
    Ok(derived)
}

/// True if the program names children by their number.
fn is_binary(graph: &Graph) -> bool {
    let named = |access| matches!(access, Access::Nth { .. } | Access::NthOf { .. });
    graph.ids().into_iter().any(|node| graph.operands(node).iter().any(|operand| named(operand.access)))
}

/// Random data: an example for each length, all axes of an example equally long.
pub fn feeds_for(graph: &Graph, lengths: &[usize], seed: u64) -> Feeds {
    let mut rng = Rng::new(seed + 1);
    let mut feeds = Feeds { examples: lengths.len(), seed, step: 1, ..Feeds::default() };
    feeds.settings = rnnc::driver::example::settings(2.5, 250);
    for axis in &graph.axes[1..] {
        match axis.kind {
            AxisKind::Tree => {
                let most = if is_binary(graph) { 2 } else { 3 };
                let trees = lengths.iter().map(|&nodes| tree(&mut rng, Form::Random(most), nodes)).collect();
                feeds.trees.insert(axis.name.clone(), trees);
            }
            _ => {
                feeds.lengths.insert(axis.name.clone(), lengths.to_vec());
            }
        }
    }
    for param in &graph.params {
        let size: usize = param.shape.iter().product();
        feeds.params.insert(param.name.clone(), (0..size).map(|_| rng.uniform(-1.0, 1.0)).collect());
    }
    for input in &graph.inputs {
        let positions = |example| coordinates(graph, &feeds, input.ty.axes, example).len();
        let sizes: Vec<usize> =
            (0..lengths.len()).map(|example| positions(example) * input.ty.size()).collect();
        let sizes = sizes.into_iter();
        let data = match input.ty.element {
            Element::Real => InputData::Real(
                sizes.map(|size| (0..size).map(|_| rng.uniform(-1.0, 1.0)).collect()).collect(),
            ),
            Element::Id(range) => InputData::Ids(
                sizes.map(|size| (0..size).map(|_| u32::try_from(rng.below(range)).ok()).collect()).collect(),
            ),
        };
        feeds.inputs.insert(input.name.clone(), data);
    }
    feeds
}
