//! What networks are made of beside cells: layers on layers, masks and noise, values that training drives,
//! draws inside the graph.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;

use rnnc::check::{Mode, Request};
use rnnc::driver::example::{Example, parameters, settings};
use rnnc::driver::front;
use rnnc::driver::practice::practice;
use rnnc::driver::session::Model;
use rnnc::eval::{Feeds, evaluate};
use rnnc::ir::{Graph, OutputKind, print};

use super::support::{checked, examples, feeds_for, graph, messages, tidy_gradient};

fn in_mode(source: &str, mode: Mode) -> Graph {
    let request = Request { model: None, set: &[], mode, everything: false };
    front(source, &request).unwrap_or_else(|found| panic!("{}\n{source}", messages(&found))).graph
}

fn value(graph: &Graph, feeds: &Feeds, name: &str) -> Vec<f64> {
    evaluate(graph, feeds).unwrap().output(OutputKind::Value, name).unwrap().numbers()
}

const MASKS: &str = "model M(H = 64) {
  input x: [H] over t
  e = mask(0.25, H)
  z[t] = mask(0.25, H)
  a = mask(0.25, H, along t)
  g = mask(0.25, H, shared)
  p = mask(0.1 * epoch)
  n = noise(2, H, along t)
  m = noise(0.5 * step, H, shared)
  d = dropout(x, 0.25)
  o = dropout(x, 0.25, once)
  v = dropout(x, 0.1 * epoch)
  w = dropout(ones(H), 0.5, shared)
  on = training * x
}";

#[test]
fn masks_are_drawn_along_the_axes_that_are_named() {
    let graph = in_mode(MASKS, Mode::Train);
    let feeds = feeds_for(&graph, &[3, 3], 4);
    let of = |name: &str| value(&graph, &feeds, name);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    // One for each example, for each step, and one for all.
    for (name, rows) in [("e", 2), ("z", 6), ("a", 6), ("g", 1)] {
        let mask = of(name);
        assert_eq!(mask.len(), rows * 64, "{name}");
        assert!(mask.iter().all(|&bit| bit == 0.0 || bit == 1.0), "{name}");
        assert!((mean(&mask) - 0.25).abs() < 0.17, "{name}: {}", mean(&mask));
        let rows: Vec<&[f64]> = mask.chunks(64).collect();
        assert!(rows.windows(2).all(|pair| pair[0] != pair[1]), "{name}");
    }
    assert_eq!(of("p").len(), 2);
    let noise = of("n");
    let spread = mean(&noise.iter().map(|x| x * x).collect::<Vec<_>>()).sqrt();
    assert!(mean(&noise).abs() < 0.4 && (spread - 2.0).abs() < 0.4, "{} {spread}", mean(&noise));
    assert_eq!(of("m").len(), 64);
    // A mask over the input: zero or scaled; `once`, the same elements at every step.
    let x = of("on");
    for (name, keep) in [("d", 0.75), ("o", 0.75), ("v", 0.75)] {
        let dropped = of(name);
        let scaled = |(a, b): (&f64, &f64)| *a == 0.0 || (a * keep - b).abs() < 1e-12;
        assert!(dropped.iter().zip(&x).all(scaled), "{name}");
        assert!(dropped.contains(&0.0), "{name}");
    }
    let kept = |name: &str| -> Vec<Vec<bool>> {
        of(name).chunks(64).map(|row| row.iter().map(|x| *x != 0.0).collect()).collect()
    };
    let once = kept("o");
    assert!(once[0] == once[1] && once[1] == once[2] && once[3] == once[5] && once[0] != once[3]);
    let fresh = kept("d");
    assert!(fresh[0] != fresh[1] && fresh[1] != fresh[2]);
    assert_eq!(of("w").len(), 64);
}

#[test]
fn elsewhere_a_mask_is_its_mean() {
    for mode in [Mode::Evaluate, Mode::Generate] {
        let graph = in_mode(MASKS, mode);
        let feeds = feeds_for(&graph, &[2, 1], 4);
        let of = |name: &str| value(&graph, &feeds, name);
        for name in ["e", "a", "g"] {
            assert!(of(name).iter().all(|&mean| mean == 0.25), "{name}");
        }
        assert_eq!(of("p"), [0.25]);
        assert!(of("n").iter().chain(&of("m")).all(|&noise| noise == 0.0));
        assert!(of("on").iter().all(|&x| x == 0.0));
        assert_eq!(of("d"), of("v"));
        assert_eq!(of("d"), of("o"));
    }
}

#[test]
fn what_a_run_drives_prints_and_parses() {
    let source = "model M() {
  input x: [2] over t
  param w: [2]
  loss l = min(1, epoch / 10) * dot(w, x) + exp(-step)
}";
    let program = graph(source);
    let text = print(&program);
    assert!(text.contains("setting(epoch)") && text.contains("setting(step)"), "{text}");
    let gradient = tidy_gradient(&program).unwrap();
    let text = print(&gradient);
    let again = checked(&text).unwrap_or_else(|found| panic!("{}\n{text}", messages(&found))).graph;
    let mut feeds = feeds_for(&program, &[2], 1);
    let at = |feeds: &Feeds, graph: &Graph| {
        let values = evaluate(graph, feeds).unwrap();
        values.output(OutputKind::Gradient, "w").unwrap().numbers()
    };
    let quarter = at(&feeds, &again);
    feeds.settings = settings(5.0, 0);
    let half = at(&feeds, &again);
    assert_eq!(half, quarter.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    // A name of one's own comes first.
    let own = graph("model M() { input x: [] over t  epoch = 3 * x  step = epoch  y = step * training }");
    assert!(!print(&own).contains("setting"), "{}", print(&own));
}

const SAMPLED: &str = "model M(V = 5, E = 3, H = 4) {
  input y: id(V) over t
  state guess: id(V) over t
  param embed: [V, E]
  chosen = training * mask(0.4 * epoch, along t)
  h = GRU(E, H)(embed[where(chosen, guess[t-1], y[t-1])])
  logits = Dense(H, V)(h)
  guess[t] = draw(categorical(logits))
  y[t] ~ categorical(logits)
}";

#[test]
fn scheduled_sampling() {
    let graph = in_mode(SAMPLED, Mode::Train);
    let mut feeds = feeds_for(&graph, &[6, 4], 3);
    feeds.params.values_mut().flatten().for_each(|value| *value *= 4.0);
    let loss = |graph: &Graph, feeds: &Feeds| evaluate(graph, feeds).unwrap().loss();
    // With epoch 2.5 it is always fed its own draws, with epoch 0 never.
    let own = loss(&graph, &feeds);
    feeds.settings = settings(0.0, 0);
    let forced = loss(&graph, &feeds);
    assert!((own - forced).abs() > 1e-3, "{own} {forced}");
    let measured = in_mode(SAMPLED, Mode::Evaluate);
    for epoch in [0.0, 2.5] {
        feeds.settings = settings(epoch, 0);
        assert!((loss(&measured, &feeds) - forced).abs() < 1e-12);
    }
    // The draws follow the distribution: of flat logits each id as often.
    let flat = in_mode(
        "model M() { input x: [] over t  y[t] = draw(categorical(0 * x * ones(4)))  n = onehot(y, 4) }",
        Mode::Train,
    );
    let feeds = feeds_for(&flat, &[1000], 1);
    let counts = value(&flat, &feeds, "n").chunks(4).fold([0.0; 4], |mut sum, row| {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        sum
    });
    assert!(counts.iter().all(|count| (200.0..300.0).contains(count)), "{counts:?}");
    let real = in_mode(
        "model M() { input x: [2] over t  y = draw(normal(x + 3))  z = draw(bernoulli(50 * x)) - (x > 0) }",
        Mode::Train,
    );
    let feeds = feeds_for(&real, &[400], 1);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    assert!((mean(&value(&real, &feeds, "y")) - 3.0).abs() < 0.2);
    assert!(mean(&value(&real, &feeds, "z")).abs() < 0.05);
}

#[test]
fn a_stack_is_its_layers() {
    let stacked = "cell Layer(H) {
  input x: [H]
  r = GRU(H, H)(x)
  y = x + r
}
model M(L = 3, H = 4) {
  input x: [H] over t
  h = stack(L, LSTM(H, H))(x)
  g = stack(2, Layer(H))(h, backward)
  s = stack(2, RNN(H, H), shared)(g)
  loss l = sum(h * g + s * h.layer2.c + h.c + g.layer1.r)
}";
    let by_hand = "cell Layer(H) {
  input x: [H]
  r = GRU(H, H)(x)
  y = x + r
}
model M(H = 4) {
  input x: [H] over t
  h1 = LSTM(H, H)(x)
  h2 = LSTM(H, H)(h1)
  h3 = LSTM(H, H)(h2)
  g1 = Layer(H)(h3, backward)
  g2 = Layer(H)(g1, backward)
  s = RNN(H, H)
  s1 = s(g2)
  s2 = s(s1)
  loss l = sum(h3 * g2 + s2 * h2.c + h3.c + g1.r)
}";
    let (stacked, by_hand) = (graph(stacked), graph(by_hand));
    let names: Vec<&str> = stacked.params.iter().map(|param| param.name.as_str()).collect();
    assert!(names.contains(&"h.layer3.W_f") && names.contains(&"g.layer2.r.W_z"), "{names:?}");
    assert!(names.contains(&"s.W_h") && names.len() == by_hand.params.len(), "{names:?}");
    let mut feeds = feeds_for(&by_hand, &[4, 1, 0], 9);
    let expected = evaluate(&by_hand, &feeds).unwrap().loss();
    let values: Vec<Vec<f64>> =
        by_hand.params.iter().map(|param| feeds.params[&param.name].clone()).collect();
    let named = stacked.params.iter().map(|param| param.name.clone()).zip(values);
    feeds.params = named.collect::<BTreeMap<_, _>>();
    assert_eq!(evaluate(&stacked, &feeds).unwrap().loss(), expected);
}

#[test]
fn a_stack_may_be_read_before_its_arguments_are_known() {
    let source = "cell Attend(H) {
  input x: [H]
  input memory: [H] over s
  context = sum(softmax(dot(dec.h[t-1] + dec.layer1.h[t-1], memory) over s) * memory over s)
  dec = stack(2, LSTM(2 * H, 2 * H))([x, context])
}
cell Half(H) {
  input x: [H]
  input memory: [H] over s
  context = sum(softmax(dot(dec[t-1], memory) over s) * memory over s)
  dec = stack(2, RNN(H, H))(x + context, h = memory[s.last])
}
model M(H = 4) {
  input x: [H] over t
  input m: [H] over s
  a = Half(H)(x, m)
  loss l = sum(a.dec)
}";
    let half = graph(source);
    assert!(half.params.iter().any(|param| param.name == "a.dec.layer2.W_h"));
    evaluate(&half, &feeds_for(&half, &[3, 2], 1)).unwrap();
}

/// Each application has parameters of its own, also where it is the value of a state.
#[test]
fn applications_that_are_values_of_states() {
    let source = "cell Two(H) {
  input x: [H]
  state a: [H], b: [H]
  a[t] = Dense(H, H)(a[t-1] + x)
  b[t] = Dense(H, H)(b[t-1] + x)
  y = Dense(H, H)(a + b)
}
model M(H = 3) { input x: [H] over t  h = Two(H)(x)  loss l = sum(h.y) }";
    let names: Vec<String> = graph(source).params.into_iter().map(|param| param.name).collect();
    assert_eq!(names, ["h.dense.W", "h.dense.b", "h.dense2.W", "h.dense2.b", "h.y.W", "h.y.b"]);
}

#[test]
fn observations_that_count_differently() {
    let source = "model M(C = 4) {
  input x: [C]
  input label: id(C)
  param w: [C], u: [C] = frozen(ones)
  label ~ categorical(w * x, smoothing = 0.2, weight = u[label])
  loss other = u[label] * (0.8 * (logsumexp(w * x) - (w * x)[label]) + 0.2 * mean(logsumexp(w * x) - w * x))
  loss plain = u[label] * (logsumexp(w * x) - (w * x)[label])
}";
    for (mode, same) in [(Mode::Train, "other"), (Mode::Evaluate, "plain")] {
        let graph = in_mode(source, mode);
        let values = evaluate(&graph, &feeds_for(&graph, &[1, 1, 1], 2)).unwrap();
        let of = |name: &str| values.output(OutputKind::Loss, name).unwrap().numbers()[0];
        assert!((of("label") - of(same)).abs() < 1e-12 && (of("other") - of("plain")).abs() > 1e-3);
    }
}

#[test]
fn over_all_is_over_every_axis() {
    let graph = in_mode(
        "model M() {
  input x: [2] over t
  input m: [2] over s
  a = mean(x over all)
  b = mean(x over batch, t)
  c = sum(x * m over all)
  d = sum(x * m over batch, t, s)
  metric f = sum(sum(x over all)) / max(sum(sum(m over all)), 1)
}",
        Mode::Evaluate,
    );
    let feeds = feeds_for(&graph, &[3, 1], 2);
    let of = |name: &str| value(&graph, &feeds, name);
    assert_eq!(of("a"), of("b"));
    assert_eq!(of("c"), of("d"));
}

/// The textbook's batch normalisation: by the batch in training, by running figures elsewhere.
#[test]
fn batch_normalisation() {
    let source = "model M() {
  input x: [2] over t
  n = BatchNorm(2)(x)
  m = mean(n over all)
  v = mean((n - m)^2 over all)
  loss l = sum(n)
}";
    let graph = in_mode(source, Mode::Train);
    let mut feeds = feeds_for(&graph, &[7, 0, 2], 2);
    feeds.params.insert("n.gain".into(), vec![1.0, 1.0]);
    feeds.params.insert("n.bias".into(), vec![0.0, 0.0]);
    assert!(value(&graph, &feeds, "m").iter().all(|mean| mean.abs() < 1e-12));
    assert!(value(&graph, &feeds, "v").iter().all(|variance| (variance - 1.0).abs() < 1e-3));
    let values = evaluate(&graph, &feeds).unwrap();
    let updated = values.output(OutputKind::Update, "n.running_mean").unwrap().numbers();
    let before = &feeds.params["n.running_mean"];
    let middle = value(&graph, &feeds, "n.middle");
    for (at, updated) in updated.iter().enumerate() {
        assert!((updated - 0.9 * before[at] - 0.1 * middle[at]).abs() < 1e-12);
    }
    let names: Vec<_> =
        graph.params.iter().filter(|param| param.trainable).map(|param| &param.name).collect();
    assert_eq!(names, ["n.gain", "n.bias"]);

    let measured = in_mode(source, Mode::Evaluate);
    assert!(measured.outputs_of(OutputKind::Update).next().is_none());
    feeds.params.insert("n.running_mean".into(), vec![0.5, 0.0]);
    feeds.params.insert("n.running_variance".into(), vec![0.25, 1.0]);
    let (x, n) = (feeds.inputs["x"].clone(), value(&measured, &feeds, "n"));
    let rnnc::eval::InputData::Real(x) = x else { panic!("x is made of numbers") };
    assert!((n[0] - (x[0][0] - 0.5) / (0.25f64 + 1e-5).sqrt()).abs() < 1e-9);
}

/// Every example, small, learns an example by heart: the loss of sixty steps of training falls.
#[test]
fn every_example_trains() {
    for example in examples() {
        let model = Model { set: example.set.clone(), ..Model::new("m.rnn", example.source.clone()) };
        let checked = model.check(Mode::Train).unwrap_or_else(|error| panic!("{}: {error}", example.name));
        let data = Example::random(&checked.graph, 4, 3);
        let weights = parameters(&checked.graph, 1);
        let running = AtomicU32::new(0);
        let practice = practice(&model, &checked, &data, &weights, 60, 1, &running)
            .unwrap_or_else(|error| panic!("{}: {error}", example.name));
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&practice.losses[..5]), mean(&practice.losses[55..]));
        assert!(last.is_finite() && last < first - 0.005, "{}: {first} to {last}", example.name);
    }
}
