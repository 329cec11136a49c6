//! Programs that draw: what is drawn is read again, an id in its own cycle.

use std::collections::BTreeMap;

use rnnc::check::{Mode, Request};
use rnnc::driver::{front, program};
use rnnc::eval::{Feeds, InputData, evaluate};
use rnnc::ir::OutputKind;
use rnnc::opt::carry;

use super::support::{plan_name, run};

const SOURCE: &str = "model M(V = 7, E = 3, H = 5) {
  input text: id(V) over t
  param embed: [V, E] = normal(1)
  h = LSTM(E, H)(embed[text[t-1]])
  text[t] ~ categorical(Dense(H, V)(h))
}";

#[test]
fn drawn_ids_are_those_of_the_interpreter() {
    holds(Mode::Generate, &[OutputKind::Value, OutputKind::Carry]);
}

#[test]
fn states_left_by_a_text_are_those_of_the_interpreter() {
    holds(Mode::Evaluate, &[OutputKind::Carry]);
    holds(Mode::Evaluate, &[OutputKind::Loss, OutputKind::Carry]);
}

fn holds(mode: Mode, kinds: &[OutputKind]) {
    let request = Request { model: None, set: &[], mode, everything: false };
    let graph = front(SOURCE, &request).unwrap().graph;
    let axis = graph.find_axis("t").unwrap();
    let chunked = carry(&graph, axis).unwrap();
    let compiled = program::<f64>(&chunked, kinds, "draw").unwrap();
    for seed in 0..8u64 {
        let number = |at: usize| ((at as f64 + seed as f64 * 0.37) * 12.9898).sin() * 1.5;
        let params = chunked.params.iter().enumerate().map(|(which, param)| {
            let size: usize = param.shape.iter().product();
            (param.name.clone(), (0..size).map(|at| number(at + which * 100)).collect())
        });
        let inputs = chunked.inputs.iter().map(|input| {
            let data = match input.ty.element {
                rnnc::ir::Element::Id(_) if input.ty.axes.len() > 1 => InputData::Ids(vec![
                    vec![Some(1), Some(6), Some(0), Some(2)],
                    vec![Some(5), Some(5), Some(4)],
                ]),
                rnnc::ir::Element::Id(_) => InputData::Ids(vec![vec![Some(3)], vec![None]]),
                rnnc::ir::Element::Real => {
                    let width = input.ty.size();
                    InputData::Real((0..2).map(|e| (0..width).map(|at| number(at + e)).collect()).collect())
                }
            };
            (input.name.clone(), data)
        });
        let feeds = Feeds {
            examples: 2,
            lengths: BTreeMap::from([("t".into(), vec![4, 3])]),
            trees: BTreeMap::new(),
            params: params.collect(),
            inputs: inputs.collect(),
            settings: BTreeMap::from([("temperature".into(), if seed % 2 == 0 { 0.0 } else { 1.0 })]),
            seed,
            step: 5,
        };
        let expected = evaluate(&chunked, &feeds).unwrap();
        let found = run(&chunked, &compiled, &feeds);
        for output in chunked.outputs.iter().filter(|output| kinds.contains(&output.kind)) {
            let wanted = expected.output(output.kind, &output.name).unwrap().numbers();
            let got = &found[&plan_name(output.kind, &output.name)];
            assert!(
                super::support::distance(got, &wanted) < 1e-9,
                "{seed} {}: {got:?} {wanted:?}",
                output.name
            );
        }
    }
}

/// The program that trains a character model: gradients in one chunk of several streams.
#[test]
fn gradients_of_a_chunk_are_those_of_the_interpreter() {
    gradients_hold(8, 24, 5, 20);
}

#[test]
fn gradients_of_a_wide_model_are_those_of_the_interpreter() {
    gradients_hold(32, 128, 6, 5);
}

fn gradients_hold(embedding: usize, hidden: usize, examples: usize, steps: usize) {
    let source = std::fs::read_to_string("examples/charlm.rnn").unwrap();
    let set = [("E".to_string(), embedding), ("H".to_string(), hidden)];
    let request = Request { model: None, set: &set, mode: Mode::Train, everything: false };
    let graph = front(&source, &request).unwrap().graph;
    let axis = graph.find_axis("t").unwrap();
    let chunked = carry(&graph, axis).unwrap();
    let names: Vec<String> = chunked.params.iter().map(|param| param.name.clone()).collect();
    let derived = rnnc::grad::grad(&chunked, &names).unwrap();
    let kinds = [OutputKind::Loss, OutputKind::Gradient, OutputKind::Carry];
    let number = |at: usize| ((at as f64 + 0.37) * 12.9898).sin() * 0.5;
    let params = derived.params.iter().enumerate().map(|(which, param)| {
        let size: usize = param.shape.iter().product();
        (param.name.clone(), (0..size).map(|at| number(at + which * 100)).collect())
    });
    let inputs = derived.inputs.iter().map(|input| {
        let data = match input.ty.element {
            rnnc::ir::Element::Id(_) => {
                let steps = if input.ty.axes.len() > 1 { steps } else { 1 };
                let id = |e: usize, t: usize| Some(((e * 31 + t * 17) % 65) as u32);
                InputData::Ids((0..examples).map(|e| (0..steps).map(|t| id(e, t)).collect()).collect())
            }
            rnnc::ir::Element::Real => {
                let width = input.ty.size();
                InputData::Real(
                    (0..examples).map(|e| (0..width).map(|at| number(at + e)).collect()).collect(),
                )
            }
        };
        (input.name.clone(), data)
    });
    let feeds = Feeds {
        examples,
        lengths: BTreeMap::from([("t".into(), vec![steps; examples])]),
        trees: BTreeMap::new(),
        params: params.collect(),
        inputs: inputs.collect(),
        settings: BTreeMap::new(),
        seed: 1,
        step: 5,
    };
    let expected = evaluate(&derived, &feeds).unwrap();
    let compiled = program::<f32>(&derived, &kinds, "train").unwrap();
    let found = run(&derived, &compiled, &feeds);
    for output in derived.outputs.iter().filter(|output| kinds.contains(&output.kind)) {
        let wanted = expected.output(output.kind, &output.name).unwrap().numbers();
        let got = &found[&plan_name(output.kind, &output.name)];
        let worst = super::support::distance(got, &wanted);
        assert!(worst < 1e-4, "{} is off by {worst}: {got:?} {wanted:?}", output.name);
    }
}
