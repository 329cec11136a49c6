//! Predictions by compiled programs against the interpreter and against searching everything.

use std::collections::BTreeMap;

use rnnc::check::Mode;
use rnnc::driver::data::Dataset;
use rnnc::driver::machine::Machine;
use rnnc::driver::predict::{Beam, Chance, Choice, Known, Prediction, Predictor, Search, Values};
use rnnc::driver::session::{Model, parameter_specs};
use rnnc::eval::{Feeds, InputData, evaluate};
use rnnc::runtime::initializer::Initializer;
use rnnc::runtime::parameters::Parameters;

/// A model with parameters of which no two are alike.
struct Subject {
    model: Model,
    parameters: Parameters,
}

impl Subject {
    fn new(source: &str, spread: f64) -> Subject {
        let model = Model::new("m.rnn", source);
        let mut specs = parameter_specs(&model.check(Mode::Evaluate).unwrap().graph);
        specs.iter_mut().for_each(|spec| spec.init = Initializer::Uniform(spread));
        Subject { parameters: Parameters::initialize(specs, 7).unwrap(), model }
    }

    fn predictor(&self, threads: usize) -> Predictor {
        Predictor::new(&self.model, &self.parameters, &Machine::default(), threads).unwrap()
    }

    /// Random examples of these lengths for what is given.
    fn data(&self, lengths: &[(&str, &[usize])], examples: usize) -> Dataset {
        let lengths = lengths.iter().map(|(axis, all)| ((*axis).to_string(), all.to_vec())).collect();
        Dataset::random(self.predictor(1).inputs(), &lengths, examples, 3)
    }

    /// The interpreter's negative log-likelihood, a position, of a sequence for one example.
    fn loss(&self, data: &Dataset, example: usize, name: &str, axis: &str, ids: &[u32]) -> f64 {
        let graph = self.model.check(Mode::Evaluate).unwrap().graph;
        let one = |all: InputData| match all {
            InputData::Real(all) => InputData::Real(vec![all[example].clone()]),
            InputData::Ids(all) => InputData::Ids(vec![all[example].clone()]),
        };
        let mut inputs: BTreeMap<String, InputData> =
            data.for_interpreter().into_iter().map(|(name, all)| (name, one(all))).collect();
        inputs.insert(name.to_string(), InputData::Ids(vec![ids.iter().copied().map(Some).collect()]));
        let mut lengths: BTreeMap<String, Vec<usize>> =
            data.lengths.iter().map(|(axis, all)| (axis.clone(), vec![all[example]])).collect();
        lengths.insert(axis.to_string(), vec![ids.len()]);
        let number = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
        let params = self.parameters.iter().map(|(spec, own)| (spec.name.clone(), number(own)));
        let feeds = Feeds { examples: 1, lengths, params: params.collect(), inputs, ..Feeds::default() };
        evaluate(&graph, &feeds).unwrap().loss()
    }
}

/// Attention, so that the encoder's ragged memory is read at every step.
const TRANSLATE: &str = "cell Attend(E, H) {
  input x: [E]
  input memory: [H] over s
  param W_q, W_m: [H, H], v: [H]

  score = dot(v, tanh(W_q @ dec.h[t-1] + W_m @ memory))
  context = sum(softmax(score over s) * memory over s)
  dec = LSTM(E + H, H)([x, context])
}

model Translate(S = 5, T = 4, E = 3, H = 6) {
  input source: id(S) over s
  input target: id(T) over t
  param embed_s: [S, E], embed_t: [T, E]

  enc = LSTM(E, H)(embed_s[source])
  att = Attend(E, H)(embed_t[target[t-1]], enc.h)
  top = GRU(2 * H, H)([att.dec.h, att.context], h = tanh(enc.h[last]))
  target[t] ~ categorical(Dense(H, T)(dropout(top, 0.3)) - 0.1 * onehot(target[t-2], T))
}
";

/// The weights of the step before are read over all of the memory.
const LOCATED: &str = "model Located(S = 5, T = 4, E = 3, H = 6) {
  input source: id(S) over s
  input target: id(T) over t
  state weight: [] over s, t
  param embed_s: [S, E], embed_t: [T, E]
  param W_q, W_m: [H, H], v, u: [H]

  enc = LSTM(E, H)(embed_s[source])
  score = dot(v, tanh(W_q @ dec.h[t-1] + W_m @ enc.h + u * (weight[t-1] + 0.5 * weight[t-2])))
  weight[t] = softmax(score over s)
  dec = LSTM(E + H, H)([embed_t[target[t-1]], sum(weight * enc.h over s)])
  target[t] ~ categorical(Dense(H, T)(dec.h))
}
";

/// Words one after the other.
const LANGUAGE: &str = "model Language(V = 4, H = 7) {
  input text: id(V) over t
  param embed: [V, H]

  h = LSTM(H, H)(embed[text[t-1]])
  g = RNN(H, H)(h)
  text[t] ~ categorical(Dense(H, V)(h + g[t-1]))
}
";

fn ids(prediction: &Prediction) -> &[u32] {
    prediction.samples[0].values.ids()
}

fn ends(name: &str, id: u32) -> Known {
    Known { ends: BTreeMap::from([(name.to_string(), id)]), begin: BTreeMap::new() }
}

fn all(predictor: &mut Predictor, data: &Dataset, search: &Search, known: &Known) -> Vec<Prediction> {
    let mut found = Vec::new();
    let examples: Vec<usize> = (0..data.examples).collect();
    predictor.predict_with(data, &examples, search, known, |own| found.extend(own), |_| true).unwrap();
    found
}

fn beam(width: usize, length: usize, length_penalty: f64) -> Search {
    let beam = Some(Beam { width, length_penalty });
    Search { beam, length: Some(length), ..Search::default() }
}

fn greedy(length: usize) -> Search {
    Search { length: Some(length), ..Search::default() }
}

const LENGTHS: [usize; 7] = [3, 1, 6, 2, 5, 0, 4];

#[test]
fn the_greedy_choice_is_the_likeliest_at_every_step() {
    let subject = Subject::new(TRANSLATE, 1.5);
    let data = subject.data(&[("s", &LENGTHS)], 7);
    let found = all(&mut subject.predictor(1), &data, &greedy(5), &Known::default());
    assert_eq!(found.len(), 7);
    for prediction in &found {
        let chosen = ids(prediction);
        assert_eq!(chosen.len(), 5);
        let mut total = 0.0;
        for step in 0..5 {
            let nll = |id: u32| {
                let line: Vec<u32> = chosen[..step].iter().copied().chain([id]).collect();
                subject.loss(&data, prediction.example, "target", "t", &line) * (step + 1) as f64
            };
            let best = (0..4).map(nll).fold(f64::INFINITY, f64::min);
            assert!((nll(chosen[step]) - best).abs() < 1e-4, "{prediction:?} at {step}");
            let before = match step {
                0 => 0.0,
                _ => subject.loss(&data, prediction.example, "target", "t", &chosen[..step]) * step as f64,
            };
            assert!((prediction.samples[0].logs[step] + best - before).abs() < 1e-4);
            total = -best;
        }
        assert!((prediction.samples[0].score.unwrap() - total).abs() < 1e-4);
    }
    // Not all the same: the encoder is read.
    assert!(found.iter().any(|other| ids(other) != ids(&found[0])));
}

#[test]
fn states_over_another_axis_are_kept_too() {
    let subject = Subject::new(LOCATED, 2.0);
    let data = subject.data(&[("s", &LENGTHS)], 7);
    let mut predictor = subject.predictor(1);
    for prediction in all(&mut predictor, &data, &beam(3, 6, 0.0), &ends("target", 3)) {
        let own = &prediction.samples[0];
        let line: Vec<u32> = ids(&prediction).iter().copied().chain(own.ended.then_some(3)).collect();
        let log = -subject.loss(&data, prediction.example, "target", "t", &line) * line.len() as f64;
        assert!((log - own.score.unwrap()).abs() < 1e-4, "{prediction:?}: {log}");
    }
}

#[test]
fn a_beam_of_one_is_the_greedy_choice() {
    for (source, name) in [(TRANSLATE, "target"), (LANGUAGE, "text")] {
        let subject = Subject::new(source, 2.0);
        let lengths: &[(&str, &[usize])] = if name == "text" { &[] } else { &[("s", &LENGTHS)] };
        let data = subject.data(lengths, 7);
        let mut predictor = subject.predictor(1);
        for penalty in [0.0, 1.0] {
            let one = all(&mut predictor, &data, &beam(1, 8, penalty), &ends(name, 2));
            let likeliest = all(&mut predictor, &data, &greedy(8), &ends(name, 2));
            assert_eq!(one, likeliest, "{name}");
        }
    }
}

#[test]
fn the_first_of_one_is_the_greedy_choice() {
    let subject = Subject::new(TRANSLATE, 1.5);
    let data = subject.data(&[("s", &LENGTHS)], 7);
    let mut predictor = subject.predictor(1);
    let chance = Chance { top_k: Some(1), ..Chance::default() };
    let first = Search { choice: Choice::Chance(chance), seed: 9, ..greedy(6) };
    let likeliest = all(&mut predictor, &data, &greedy(6), &Known::default());
    assert_eq!(all(&mut predictor, &data, &first, &Known::default()), likeliest);
}

/// Every sequence of at most `length` ids, those that `end` ends and those that are as long as they may be.
fn everything(classes: u32, end: u32, length: usize) -> Vec<(Vec<u32>, bool)> {
    let mut found = Vec::new();
    let mut open: Vec<Vec<u32>> = vec![Vec::new()];
    for _ in 0..length {
        let mut next = Vec::new();
        for line in &open {
            found.push((line.clone(), true));
            let longer = (0..classes).filter(|&id| id != end);
            next.extend(longer.map(|id| line.iter().copied().chain([id]).collect::<Vec<u32>>()));
        }
        open = next;
    }
    found.extend(open.into_iter().map(|line| (line, false)));
    found
}

#[test]
fn a_wide_beam_finds_the_best_of_all() {
    let subject = Subject::new(TRANSLATE, 2.5);
    let data = subject.data(&[("s", &LENGTHS)], 7);
    let (end, length) = (1, 4);
    let mut differ = 0;
    for penalty in [0.0, 0.6, 1.5] {
        let mut search = beam(200, length, penalty);
        search.count = 3;
        let found = all(&mut subject.predictor(1), &data, &search, &ends("target", end));
        let one = all(&mut subject.predictor(1), &data, &greedy(length), &ends("target", end));
        for (example, likeliest) in one.iter().enumerate() {
            let mut scored: Vec<(f64, Vec<u32>, bool)> = everything(4, end, length)
                .into_iter()
                .map(|(line, ended)| {
                    let whole: Vec<u32> = line.iter().copied().chain(ended.then_some(end)).collect();
                    let count = whole.len() as f64;
                    let log = -subject.loss(&data, example, "target", "t", &whole) * count;
                    (log / ((5.0 + count) / 6.0).powf(penalty), line, ended)
                })
                .collect();
            scored.sort_by(|a, b| b.0.total_cmp(&a.0));
            let best: Vec<&Prediction> = found.iter().filter(|own| own.example == example).collect();
            assert_eq!(best.len(), 3);
            for (own, (value, line, ended)) in best.iter().zip(&scored) {
                assert_eq!((ids(own), own.samples[0].ended), (&line[..], *ended), "{example} {value}");
            }
            differ += usize::from(ids(likeliest) != scored[0].1);
        }
    }
    assert!(differ > 0, "a greedy choice that is always the best shows nothing");
}

#[test]
fn a_batch_is_its_examples_one_by_one_on_any_number_of_threads() {
    let subject = Subject::new(TRANSLATE, 2.0);
    let lengths: Vec<usize> = (0..40).map(|at| LENGTHS[at % 7]).collect();
    let data = subject.data(&[("s", &lengths)], 40);
    let chance = Chance { temperature: 0.9, top_k: Some(3), top_p: Some(0.95) };
    let drawn = Search { choice: Choice::Chance(chance), count: 2, seed: 5, ..greedy(7) };
    let mut ended = Vec::new();
    for search in [greedy(7), beam(4, 7, 1.0), drawn] {
        let mut predictor = subject.predictor(1);
        let known = ends("target", 2);
        let together = all(&mut predictor, &data, &search, &known);
        assert_eq!(together, all(&mut subject.predictor(3), &data, &search, &known));
        ended.extend(together.iter().map(|own| own.samples[0].ended));
        let mut single = Vec::new();
        for example in 0..40 {
            predictor
                .predict_with(&data, &[example], &search, &known, |own| single.extend(own), |_| true)
                .unwrap();
        }
        assert_eq!(together.len(), single.len());
        for (a, b) in together.iter().zip(&single) {
            assert_eq!((a.example, a.number, ids(a)), (b.example, b.number, ids(b)));
            let far = (a.samples[0].score.unwrap() - b.samples[0].score.unwrap()).abs();
            assert!(far < 1e-4, "{far}");
        }
    }
    assert!(ended.contains(&true) && ended.contains(&false));
}

#[test]
fn what_is_given_to_begin_with_is_read_first() {
    let subject = Subject::new(LANGUAGE, 1.5);
    let mut predictor = subject.predictor(1);
    let data = subject.data(&[], 3);
    let long = all(&mut predictor, &data, &greedy(9), &Known::default());
    let begin = |count: usize| Values::Ids(ids(&long[0])[..count].to_vec());
    let known = Known {
        begin: BTreeMap::from([("text".to_string(), vec![begin(4), begin(0), begin(6)])]),
        ..Known::default()
    };
    let rest = all(&mut predictor, &data, &greedy(3), &known);
    for (own, first) in rest.iter().zip([4, 0, 6]) {
        assert_eq!(ids(own), &ids(&long[0])[first..first + 3]);
    }
}

#[test]
fn draws_follow_the_seed() {
    let subject = Subject::new(LANGUAGE, 1.0);
    let mut predictor = subject.predictor(1);
    let data = subject.data(&[], 1);
    let search = |seed| Search { choice: Choice::Chance(Chance::default()), seed, count: 300, ..greedy(4) };
    let first = all(&mut predictor, &data, &search(1), &Known::default());
    assert_eq!(first, all(&mut predictor, &data, &search(1), &Known::default()));
    assert_ne!(first, all(&mut predictor, &data, &search(2), &Known::default()));
    // As often as they are likely.
    let mut likely = [0.0; 4];
    let mut often = [0.0; 4];
    for id in 0..4 {
        likely[id as usize] = (-subject.loss(&data, 0, "text", "t", &[id])).exp();
        often[id as usize] = first.iter().filter(|own| ids(own)[0] == id).count() as f64 / 300.0;
    }
    assert!(likely.iter().zip(&often).all(|(a, b)| f64::abs(a - b) < 0.1), "{likely:?} {often:?}");
}

#[test]
fn classes_tags_and_numbers_are_drawn_at_once() {
    let subject = Subject::new(
        "model Many(V = 6, C = 3, H = 5) {
  input words: id(V) over t
  input label: id(C)
  input tags: id(C) over t
  input next: [2]
  input good: id(2)
  input marks: [3] over t
  param embed: [V, H]

  x = embed[words]
  h = LSTM(H, H)(x)
  b = GRU(H, H)(x, backward)
  label ~ categorical(Dense(H, C)(h[last]))
  tags ~ categorical(Dense(2 * H, C)([h, b]))
  next ~ normal(Dense(H, 2)(b[first]))
  good ~ bernoulli(sum(b[first]))
  marks ~ bernoulli(Dense(H, 3)(h))
}
",
        1.0,
    );
    let data = subject.data(&[("t", &LENGTHS)], 7);
    let mut predictor = subject.predictor(2);
    let found = all(&mut predictor, &data, &Search::default(), &Known::default());
    let names: Vec<&str> = predictor.drawn().iter().map(|drawn| drawn.name.as_str()).collect();
    assert_eq!(names, ["label", "tags", "next", "good", "marks"]);
    for own in &found {
        let length = LENGTHS[own.example];
        let [label, tags, next, good, marks] = &own.samples[..] else { panic!() };
        assert_eq!((label.values.ids().len(), label.parameters.len(), label.logs.len()), (1, 3, 1));
        assert_eq!(
            (tags.values.ids().len(), tags.parameters.len(), &tags.lengths[..]),
            (length, 3 * length, &[length][..])
        );
        assert_eq!(next.values.real(), next.parameters);
        assert_eq!(good.values.ids()[0], u32::from(good.parameters[0] > 0.0));
        assert_eq!(marks.values.real().len(), 3 * length);
        // The label's probability is the interpreter's.
        let largest = label.parameters.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(label.parameters[label.values.ids()[0] as usize], largest);
    }
}

#[test]
fn tags_that_read_the_tags_before_are_drawn_in_steps_of_known_number() {
    let source = "model Tagger(V = 6, C = 4, H = 5) {
  input words: id(V) over t
  input tags: id(C) over t
  param embed: [V, H], before: [C, H]

  x = embed[words]
  b = LSTM(H, H)(x, backward)
  h = LSTM(3 * H, H)([x, b[t+1], before[tags[t-1]]])
  tags[t] ~ categorical(Dense(H, C)(h) + Dense(H, C)(b[first]))
}
";
    let subject = Subject::new(source, 1.5);
    let data = subject.data(&[("t", &LENGTHS)], 7);
    let mut predictor = subject.predictor(1);
    assert_eq!(predictor.open_ended().count(), 0);
    let found = all(&mut predictor, &data, &Search::default(), &Known::default());
    let wide = Search { beam: Some(Beam { width: 300, length_penalty: 0.0 }), ..Search::default() };
    let best = all(&mut predictor, &data, &wide, &Known::default());
    for (own, best) in found.iter().zip(&best) {
        let length = LENGTHS[own.example];
        assert_eq!((ids(own).len(), ids(best).len()), (length, length));
        if length == 0 {
            continue;
        }
        let nll = |tags: &[u32]| subject.loss(&data, own.example, "tags", "t", tags) * length as f64;
        assert!((nll(ids(own)) + own.samples[0].score.unwrap()).abs() < 1e-4);
        if length <= 4 {
            let mut lines = vec![vec![]];
            for _ in 0..length {
                lines = lines
                    .iter()
                    .flat_map(|line: &Vec<u32>| (0..4).map(move |id| [&line[..], &[id]].concat()))
                    .collect();
            }
            let least = lines.iter().map(|line| nll(line)).fold(f64::INFINITY, f64::min);
            assert!((nll(ids(best)) - least).abs() < 1e-4);
        }
    }
}

#[test]
fn several_values_of_a_step_read_each_other() {
    let source = "model Both(V = 3, H = 4) {
  input word: id(V) over t
  input tag: id(V) over t
  input size: [2] over t
  param embed: [V, H], kinds: [V, H]

  h = LSTM(2 * H + 2, H)([embed[word[t-1]], kinds[tag[t-1]], size[t-1]])
  g = RNN(H, H)(kinds[tag])
  word[t] ~ categorical(Dense(H, V)(h + g[t-1]))
  tag[t] ~ categorical(Dense(2 * H, V)([h, embed[word]]))
  size[t] ~ normal(Dense(3 * H, 2)([h, embed[word], kinds[tag]]))
}
";
    let subject = Subject::new(source, 1.5);
    let data = subject.data(&[], 2);
    let mut predictor = subject.predictor(1);
    let found = all(&mut predictor, &data, &greedy(6), &Known::default());
    let graph = subject.model.check(Mode::Evaluate).unwrap().graph;
    let own = &found[1].samples;
    let line =
        |sample: usize| InputData::Ids(vec![own[sample].values.ids().iter().copied().map(Some).collect()]);
    let numbers: Vec<f64> = own[2].values.real().iter().map(|&x| f64::from(x)).collect();
    let number = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
    let feeds = Feeds {
        examples: 1,
        lengths: BTreeMap::from([("t".to_string(), vec![6])]),
        params: subject.parameters.iter().map(|(spec, own)| (spec.name.clone(), number(own))).collect(),
        inputs: BTreeMap::from([
            ("word".to_string(), line(0)),
            ("tag".to_string(), line(1)),
            ("size".to_string(), InputData::Real(vec![numbers])),
        ]),
        ..Feeds::default()
    };
    let expected = evaluate(&graph, &feeds).unwrap();
    let loss = |name: &str| expected.output(rnnc::ir::OutputKind::Loss, name).unwrap().numbers()[0];
    let logs = |sample: usize| own[sample].logs.iter().sum::<f64>() / -6.0;
    assert!((loss("word") - logs(0)).abs() < 1e-5 && (loss("tag") - logs(1)).abs() < 1e-5);
    // Every number is its mean: nothing is left but the constant.
    assert!((loss("size") - (2.0 * std::f64::consts::PI).ln()).abs() < 1e-5, "{}", loss("size"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let subject = Subject::new(LANGUAGE, 1.0);
    let data = subject.data(&[], 1);
    let mut predictor = subject.predictor(1);
    let mut says = |search: Search, words: &str| {
        let error = predictor.predict(&data, &search).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let chance = |temperature, top_k, top_p| Search {
        choice: Choice::Chance(Chance { temperature, top_k, top_p }),
        ..greedy(3)
    };
    says(beam(0, 3, 1.0), "--beam 1");
    says(Search { count: 5, ..beam(2, 3, 1.0) }, "--beam 5");
    says(chance(0.0, None, None), "--greedy");
    says(chance(f64::NAN, None, None), "above 0");
    says(chance(1.0, Some(0), None), "--top-k");
    says(chance(1.0, None, Some(0.0)), "--top-p");
    says(chance(1.0, None, Some(1.5)), "at most 1");
    says(beam(2, 3, -1.0), "--length-penalty");
    says(Search { count: 0, ..greedy(3) }, "--count");
    says(Search::default(), "--length");
    let none = Model::new("m", "model M() { input x: [2] over t\n param w: [2]\n loss l = sum(w * x) }");
    let graph = none.check(Mode::Evaluate).unwrap().graph;
    let parameters = Parameters::initialize(parameter_specs(&graph), 1).unwrap();
    let error = Predictor::new(&none, &parameters, &Machine::default(), 1).err().unwrap().to_string();
    assert!(error.contains("predicts nothing"), "{error}");
}
