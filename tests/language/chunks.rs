//! A sequence in chunks that hand over their states is worth the sequence in one piece; what depends on
//! the future, or on where a chunk begins and ends, is refused.

use std::collections::BTreeMap;

use rnnc::eval::{
    DifferenceOptions, Elements, Feeds, InputData, Program, difference, evaluate, worst_errors,
};
use rnnc::grad::grad;
use rnnc::ir::{BATCH, Element, Graph, OutputKind, print, verify};
use rnnc::opt::carry;

use super::support::{feeds_for, graph};

const PROGRAMS: &[(&str, &str)] = &[
    ("lstm", "h = LSTM(3, 2)(x)  loss l = sum(h)"),
    ("stacked", "h = GRU(3, 2)(x)  g = LSTM(2, 3)(h)  loss l = sum(g * x)"),
    ("language model", "param embed: [4, 3]  h = RNN(3, 4)(embed[k[t-1]])  k[t] ~ categorical(h)"),
    ("two steps back", "state h: [3] over t  h[t] = tanh(w * h[t-2] + x * h[t-1] + x)  loss l = sum(h)"),
    ("three steps back alone", "state h: [3] over t  h[t] = tanh(w * h[t-3] + x)  loss l = sum(h)"),
    ("delayed inputs", "y = x[t-1] * w + x[t-3]  loss l = sum(y * x)"),
    ("delayed values", "y = tanh(x * w)  z = y[t-1]  u = z[t-1] + y  loss l = sum(u * x)"),
    ("a start of ones", "state h: [3] over t = ones  h[t] = tanh(w * h[t-1] + x)  loss l = sum(h)"),
    (
        "a start two steps back",
        "state h: [3] over t = v  h[t] = tanh(w * h[t-2] + x) + h[t-1]  loss l = sum(h)",
    ),
    ("a learned start", "h = LSTM(3, 2)(x, h = tanh(a @ v), c = d)  loss l = sum(h)"),
    ("a start for an input", "y = initially(x[t-1], w) * w  loss l = sum(y * x)"),
    ("ids with a start", "j = initially(k[t-1], k2)  y = b[j]  loss l = dot(y, x)"),
    ("positions", "y = dot(w, x) * t + where(t < 4, 1, 0)  loss l = y"),
    (
        "positions in a loop",
        "state h: [3] over t = ones  h[t] = where(t == 4, x, h[t-1] * w)  loss l = sum(h)",
    ),
    ("a mean over the batch", "y = tanh(x * w)  loss l = sum(y)  metric m = sum(y^2)"),
];

/// Name, program, the words that stand where it is refused, and part of the reason.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("backward", "h = LSTM(3, 2)(x, backward)  loss l = sum(h)", "LSTM(3, 2)(x, backward)", "reads ahead"),
    ("the next input", "loss l = sum(x[t+1] * w)", "x[t+1] * w", "reads ahead along `t`"),
    ("the last value", "h = LSTM(3, 2)(x)  loss l = sum(h[last])", "sum(h[last])", "reads the last position"),
    ("the first value", "loss l = sum(x * x[first] * w)", "x * x[first]", "reads the first position"),
    ("a softmax over t", "p = softmax(dot(x, w) over t)  loss l = p * t", "p", "a softmax"),
    ("a sum over t", "s = sum(x * w over t)  loss l = dot(s, x)", "s", "this `sum` needs all"),
    ("the length", "loss l = dot(w, x) * length(t)", "length(t)", "the length needs all"),
];

fn program(body: &str) -> Graph {
    graph(&text(body))
}

fn text(body: &str) -> String {
    let body = body.replace("  ", "\n  ");
    format!(
        "model M() {{
           input x: [3] over t
           input k: id(4) over t
           input v: [3]
           input k2: id(4)
           param w: [3], a: [2, 3], b: [4, 3], d: [2]
           {body}
         }}"
    )
}

/// The steps `from..to` of every example, as far as it has them.
fn cut(graph: &Graph, whole: &Feeds, from: usize, to: usize) -> Feeds {
    let mut feeds = whole.clone();
    let all = &whole.lengths["t"];
    let range = |example: usize| from.min(all[example])..to.min(all[example]);
    feeds.lengths.insert("t".into(), (0..whole.examples).map(|example| range(example).len()).collect());
    for input in graph.inputs.iter().filter(|input| input.ty.axes != rnnc::ir::AxisSet::one(BATCH)) {
        let width = input.ty.size();
        let part = |example: usize| range(example).start * width..range(example).end * width;
        let data = match &whole.inputs[&input.name] {
            InputData::Real(data) => {
                InputData::Real(data.iter().enumerate().map(|(at, all)| all[part(at)].to_vec()).collect())
            }
            InputData::Ids(data) => {
                InputData::Ids(data.iter().enumerate().map(|(at, all)| all[part(at)].to_vec()).collect())
            }
        };
        feeds.inputs.insert(input.name.clone(), data);
    }
    feeds
}

/// What the first chunk is handed.
fn before_the_start(chunked: &Graph, graph: &Graph, examples: usize) -> BTreeMap<String, InputData> {
    let known = |name: &str| graph.inputs.iter().any(|input| input.name == name);
    chunked
        .inputs
        .iter()
        .filter(|input| !known(&input.name))
        .map(|input| {
            let data = match input.ty.element {
                Element::Real => InputData::Real(vec![vec![0.0; input.ty.size()]; examples]),
                Element::Id(_) => InputData::Ids(vec![vec![None]; examples]),
            };
            (input.name.clone(), data)
        })
        .collect()
}

fn values(graph: &Graph, feeds: &Feeds) -> BTreeMap<String, Vec<f64>> {
    let values = evaluate(graph, feeds).unwrap();
    graph
        .outputs_of(OutputKind::Value)
        .map(|output| (output.name.clone(), values.output(output.kind, &output.name).unwrap().numbers()))
        .collect()
}

#[test]
fn chunks_are_worth_the_whole() {
    for (name, body) in PROGRAMS {
        let graph = program(body);
        let axis = graph.find_axis("t").unwrap();
        let chunked = carry(&graph, axis).unwrap_or_else(|uncut| panic!("{name} is refused: {uncut:?}"));
        assert!(verify(&chunked).is_empty(), "{name}: {:?}", verify(&chunked));
        let lengths = [7, 5, 2, 0];
        let whole = feeds_for(&graph, &lengths, 3);
        let expected = values(&graph, &whole);
        for size in [1, 2, 3, 4] {
            let mut handed = before_the_start(&chunked, &graph, lengths.len());
            for from in (0..7).step_by(size) {
                let mut feeds = cut(&graph, &whole, from, from + size);
                feeds.inputs.extend(handed.clone());
                let found = values(&chunked, &feeds);
                for output in graph.outputs_of(OutputKind::Value) {
                    let ty = graph.type_at(output.value);
                    if !ty.axes.contains(axis) {
                        continue;
                    }
                    let width = ty.size();
                    let longest = *feeds.lengths["t"].iter().max().unwrap();
                    for (example, &length) in feeds.lengths["t"].iter().enumerate() {
                        for step in 0..length {
                            let one = &found[&output.name][(example * longest + step) * width..][..width];
                            let all = &expected[&output.name][(example * 7 + from + step) * width..][..width];
                            let same = one.iter().zip(all).all(|(a, b)| (a - b).abs() < 1e-12);
                            assert!(
                                same,
                                "{name}: `{}` of example {example} at step {} is {one:?}, not {all:?}\n{}",
                                output.name,
                                from + step,
                                print(&chunked)
                            );
                        }
                    }
                }
                let run = evaluate(&chunked, &feeds).unwrap();
                for output in chunked.outputs_of(OutputKind::Carry) {
                    let data = match run.output(output.kind, &output.name).unwrap().elements {
                        Elements::Real(data) => {
                            let width = chunked.type_at(output.value).size();
                            InputData::Real(data.chunks(width).map(<[f64]>::to_vec).collect())
                        }
                        Elements::Ids(data) => InputData::Ids(data.into_iter().map(|id| vec![id]).collect()),
                    };
                    handed.insert(output.name.clone(), data);
                }
            }
        }
    }
}

#[test]
fn gradients_stay_inside_their_chunk() {
    for (name, body) in PROGRAMS {
        let graph = program(body);
        let chunked = carry(&graph, graph.find_axis("t").unwrap()).unwrap();
        let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
        let gradients = |graph: &Graph, feeds: &Feeds| -> BTreeMap<String, Vec<f64>> {
            let derived = grad(graph, &names).unwrap();
            let values = evaluate(&derived, feeds).unwrap();
            names
                .iter()
                .map(|name| (name.clone(), values.output(OutputKind::Gradient, name).unwrap().numbers()))
                .collect()
        };
        // The first chunk has nothing before it: its gradient is that of the program on its steps.
        let whole = feeds_for(&graph, &[7, 5, 2, 0], 4);
        let first = cut(&graph, &whole, 0, 3);
        let mut handed = first.clone();
        handed.inputs.extend(before_the_start(&chunked, &graph, 4));
        let (alone, in_chunk) = (gradients(&graph, &first), gradients(&chunked, &handed));
        for (path, wanted) in &alone {
            let same = wanted.iter().zip(&in_chunk[path]).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(same, "{name}: d{path} is {:?}, not {wanted:?}", in_chunk[path]);
        }
        // What a later chunk is handed is data: finite differences do not see beyond it either.
        let mut later = cut(&graph, &whole, 3, 6);
        let handed = feeds_for(&chunked, &[3, 2, 0, 0], 5);
        for (name, data) in handed.inputs {
            later.inputs.entry(name).or_insert(data);
        }
        let found = gradients(&chunked, &later);
        let oracle = Program::new(&chunked).unwrap();
        let differences = difference(&oracle, &later, &[], DifferenceOptions::default()).unwrap();
        for (path, worst) in worst_errors(&differences, &found) {
            assert!(worst < 1e-6, "{name}: d{path} of a later chunk is off by {worst:e}");
        }
    }
}

#[test]
fn what_cannot_be_cut_is_refused() {
    for (name, body, words, reason) in REFUSED {
        let source = text(body);
        let graph = graph(&source);
        let uncut = carry(&graph, graph.find_axis("t").unwrap()).expect_err(name);
        assert!(uncut.reason.contains(reason), "{name}: {uncut:?}");
        let span = graph.node(uncut.node).origin.span;
        let place = &source[span.start as usize..span.end as usize];
        assert_eq!(place, *words, "{name}");
    }
}
