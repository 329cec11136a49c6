//! Forward mode on random programs: against finite differences along a direction, against the gradient
//! times the direction, in native code, and Hessian-vector products as `jvp` of `grad`.

use std::collections::BTreeMap;

use rnnc::driver::program;
use rnnc::eval::{Feeds, evaluate};
use rnnc::grad::{direction, grad, jvp};
use rnnc::ir::{Graph, OutputKind, print, verify};
use rnnc::opt::{COMPILE, TIDY};
use rnnc::testing::{Batch, Options, Rng, Sample, feeds, sample};

use super::support::{distance, plan_name, run};

fn params(graph: &Graph) -> Vec<String> {
    graph.params.iter().map(|param| param.name.clone()).collect()
}

/// A direction in the space of the parameters, and `feeds` with it under the names that `jvp` gives.
fn directed(graph: &Graph, feeds: &Feeds, seed: u64) -> (BTreeMap<String, Vec<f64>>, Feeds) {
    let mut rng = Rng::new(seed ^ 0xD12);
    let mut along = BTreeMap::new();
    let mut directed = feeds.clone();
    for name in params(graph) {
        let part: Vec<f64> = feeds.params[&name].iter().map(|_| rng.uniform(-1.0, 1.0)).collect();
        directed.params.insert(direction(graph, &name), part.clone());
        along.insert(name, part);
    }
    (along, directed)
}

/// The parameters moved by `amount` along a direction.
fn moved(feeds: &Feeds, along: &BTreeMap<String, Vec<f64>>, amount: f64) -> Feeds {
    let mut moved = feeds.clone();
    for (name, part) in along {
        for (value, step) in moved.params.get_mut(name).unwrap().iter_mut().zip(part) {
            *value += amount * step;
        }
    }
    moved
}

fn numbers(graph: &Graph, feeds: &Feeds, kind: OutputKind, name: &str) -> Vec<f64> {
    evaluate(graph, feeds).unwrap().output(kind, name).unwrap().numbers()
}

/// The derivative of an output along a direction, by the five-point stencil.
fn difference(
    graph: &Graph,
    feeds: &Feeds,
    along: &BTreeMap<String, Vec<f64>>,
    (kind, name): (OutputKind, &str),
) -> Vec<f64> {
    let step = 1e-3;
    let at = |steps: f64| numbers(graph, &moved(feeds, along, steps * step), kind, name);
    let [far_back, back, ahead, far_ahead] = [at(-2.0), at(-1.0), at(1.0), at(2.0)];
    let stencil = |i: usize| (far_back[i] - 8.0 * back[i] + 8.0 * ahead[i] - far_ahead[i]) / (12.0 * step);
    (0..back.len()).map(stencil).collect()
}

/// Largest difference relative to the largest value or `floor`.
fn apart(found: &[f64], expected: &[f64], floor: f64) -> f64 {
    let scale = expected.iter().fold(floor, |scale: f64, x| scale.max(x.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f64::max)
}

fn dot(a: &BTreeMap<String, Vec<f64>>, b: &BTreeMap<String, Vec<f64>>) -> f64 {
    a.iter().flat_map(|(name, part)| part.iter().zip(&b[name])).map(|(x, y)| x * y).sum()
}

fn checked(seed: u64, what: &str, graph: &Graph) {
    let complaints = verify(graph);
    assert!(complaints.is_empty(), "seed {seed}, {what}: {complaints:?}\n{}", print(graph));
}

fn holds(seed: u64, options: &Options) {
    let Sample { graph, fills } = sample(seed, options);
    let names = params(&graph);
    let feeds = feeds(&Sample { graph: graph.clone(), fills }, seed, Batch::Ragged);
    let (along, directed) = directed(&graph, &feeds, seed);
    let forward = jvp(&graph, &names).unwrap();
    checked(seed, "jvp", &forward);
    let reverse = grad(&graph, &names).unwrap();
    let gradient: BTreeMap<String, Vec<f64>> = names
        .iter()
        .map(|name| (name.clone(), numbers(&reverse, &feeds, OutputKind::Gradient, name)))
        .collect();
    let mut sum = 0.0;
    let mut dots = BTreeMap::new();
    for loss in graph.outputs_of(OutputKind::Loss) {
        let name = format!("{}_dot", loss.name);
        let found = numbers(&forward, &directed, OutputKind::Value, &name);
        let expected = difference(&graph, &feeds, &along, (OutputKind::Loss, &loss.name));
        let error = apart(&found, &expected, 1e-2);
        assert!(error < 1e-6, "seed {seed}: {name} is off by {error:e}\n{}", print(&graph));
        sum += found[0];
        dots.insert(name, found);
    }
    let product = dot(&gradient, &along);
    let size = gradient.values().flatten().fold(1e-2f64, |size, x| size.max(x.abs()));
    assert!((sum - product).abs() < 1e-10 * size, "seed {seed}: {sum} is not {product}\n{}", print(&graph));
    for pipeline in [TIDY, COMPILE] {
        let mut passed = forward.clone();
        for pass in pipeline {
            (pass.run)(&mut passed);
            checked(seed, pass.name, &passed);
        }
        for (name, expected) in &dots {
            let found = numbers(&passed, &directed, OutputKind::Value, name);
            assert!(
                distance(&found, expected) < 1e-9,
                "seed {seed}: passes change {name}\n{}",
                print(&graph)
            );
        }
    }
    let mut compiled = forward.clone();
    compiled.outputs.retain(|output| dots.contains_key(&output.name));
    let native = program::<f64>(&compiled, &[OutputKind::Value], "forward").unwrap();
    let found = run(&compiled, &native, &directed);
    for (name, expected) in &dots {
        let error = distance(&found[&plan_name(OutputKind::Value, name)], expected);
        assert!(error < 1e-9, "seed {seed}: native {name} is off by {error:e}\n{}", print(&graph));
    }
}

#[test]
fn of_small_programs() {
    let options = Options { operations: 2, loops: 1, ..Options::differentiable() };
    (0..150).for_each(|seed| holds(seed, &options));
}

#[test]
fn of_programs() {
    (0..100).for_each(|seed| holds(seed, &Options::differentiable()));
}

/// The Hessian times a vector, three ways: forward over reverse, reverse over forward, and by differences
/// of the gradient.
#[test]
fn of_gradients() {
    let options = Options { operations: 3, loops: 1, ..Options::differentiable() };
    for seed in 0..40 {
        let Sample { graph, fills } = sample(seed, &options);
        let names = params(&graph);
        if names.is_empty() {
            continue;
        }
        let feeds = feeds(&Sample { graph: graph.clone(), fills }, seed, Batch::Ragged);
        let (along, directed) = directed(&graph, &feeds, seed);
        let mut reverse = grad(&graph, &names).unwrap();
        for pass in TIDY {
            (pass.run)(&mut reverse);
        }
        let over_reverse = jvp(&reverse, &names).unwrap();
        checked(seed, "jvp of grad", &over_reverse);
        // The gradient of gradient · direction, with the tangents of the losses as losses.
        let mut forward = jvp(&graph, &names).unwrap();
        let dots: Vec<String> =
            graph.outputs_of(OutputKind::Loss).map(|loss| format!("{}_dot", loss.name)).collect();
        forward.outputs.retain(|output| dots.contains(&output.name));
        forward.outputs.iter_mut().for_each(|output| output.kind = OutputKind::Loss);
        let over_forward = grad(&forward, &names).unwrap();
        checked(seed, "grad of jvp", &over_forward);
        let products: Vec<&str> = over_reverse
            .outputs_of(OutputKind::Value)
            .map(|output| output.name.as_str())
            .filter(|name| graph.output(OutputKind::Value, name).is_none() && !dots.iter().any(|d| d == name))
            .collect();
        assert_eq!(products.len(), names.len(), "seed {seed}: {products:?}");
        for (name, product) in names.iter().zip(products) {
            let found = numbers(&over_reverse, &directed, OutputKind::Value, product);
            let other = numbers(&over_forward, &directed, OutputKind::Gradient, name);
            let error = apart(&found, &other, 1e-2);
            assert!(
                error < 1e-9,
                "seed {seed}: the two modes differ in {product} by {error:e}\n{}",
                print(&graph)
            );
            let expected = difference(&reverse, &feeds, &along, (OutputKind::Gradient, name));
            let error = apart(&found, &expected, 1e-1);
            assert!(error < 1e-6, "seed {seed}: {product} is off by {error:e}\n{}", print(&graph));
        }
    }
}
