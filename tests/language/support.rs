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
    let recurrent = ["RNN", "LSTM", "GRU", "PeepholeLSTM", "CoupledLSTM", "LayerNormLSTM"].map(|cell| {
        let text = format!(
            "model M(V = 5, E = 3, H = 4) {{
               input words: id(V) over t
               param embed: [V, E]
               h = {cell}(E, H)(embed[words[t-1]])
               words[t] ~ categorical(Dense(H, V)(h))
             }}"
        );
        (cell, text)
    });
    let layers = ["LayerNorm(H)", "Dense(H, H)", "Highway(H)"].map(|cell| {
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
    recurrent.into_iter().chain(layers).chain(trees).collect()
}

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
