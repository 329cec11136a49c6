//! What is printed parses back to an equal program: the same text, the same values.

use rnnc::driver::front;
use rnnc::eval::{Feeds, evaluate};
use rnnc::grad::{direction, grad, gradient_norm, jvp};
use rnnc::ir::{Access, Graph, Output, OutputKind, print};
use rnnc::opt::TIDY;
use rnnc::testing::{Batch, Options, Sample, feeds, sample};

use super::support::{checked, examples, graph, library, messages, request, tidy_gradient};

/// The program that the printed text of `graph` is, if it says the same.
fn parses_back(graph: &Graph, feeds: &Feeds) -> Result<Graph, String> {
    let text = print(graph);
    let again = checked(&text).map_err(|found| format!("refused: {}\n{text}", messages(&found)))?.graph;
    let second = print(&again);
    if second != text {
        let difference = text.lines().zip(second.lines()).find(|(a, b)| a != b);
        return Err(format!("prints differently: {difference:?}\n{text}\n---\n{second}"));
    }
    let wanted = evaluate(graph, feeds).map_err(|error| format!("{error}\n{text}"))?;
    let found = evaluate(&again, feeds).map_err(|error| format!("{error}\n{text}"))?;
    for output in graph.outputs.iter().filter(|output| !is_application(graph, output)) {
        let wanted = wanted.output(output.kind, &output.name).unwrap().numbers();
        let Some(found) = found.output(output.kind, &output.name) else {
            return Err(format!("{:?} `{}` is lost\n{text}", output.kind, output.name));
        };
        let found = found.numbers();
        let same = |(a, b): (&f64, &f64)| {
            (a - b).abs() <= 1e-12 * b.abs().max(1.0) || a.is_nan() && b.is_nan() || a == b
        };
        if found.len() != wanted.len() || !found.iter().zip(&wanted).all(same) {
            return Err(format!("`{}` is {found:?}, not {wanted:?}\n{text}", output.name));
        }
    }
    Ok(again)
}

/// The name of an application stands for one of its values, which has a name of its own.
fn is_application(graph: &Graph, output: &Output) -> bool {
    let name = graph.node(output.value.node).name.as_deref().unwrap_or("");
    output.kind == OutputKind::Value
        && output.value.access == Access::Here
        && name.strip_prefix(output.name.as_str()).is_some_and(|rest| rest.starts_with('.'))
}

/// The tangents of the program, along a direction of ones.
fn tangents_parse_back(graph: &Graph, feeds: &Feeds) -> Result<Graph, String> {
    let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    let mut feeds = feeds.clone();
    for param in &graph.params {
        feeds.params.insert(direction(graph, &param.name), vec![1.0; param.shape.iter().product()]);
    }
    let mut tangent = jvp(graph, &names).map_err(|error| error.to_string())?;
    parses_back(&tangent, &feeds).map_err(|error| format!("raw: {error}"))?;
    for pass in TIDY {
        (pass.run)(&mut tangent);
    }
    parses_back(&tangent, &feeds)
}

/// The program, its gradient, the tangents of both and the gradient of its gradient.
fn holds(sample: &Sample, seed: u64, derivatives: bool) -> Result<(), String> {
    let feeds = feeds(sample, seed, Batch::Ragged);
    let say = |what: &str| {
        let what = what.to_string();
        move |error: String| format!("{what}: {error}")
    };
    parses_back(&sample.graph, &feeds).map_err(say("the program"))?;
    if !derivatives || sample.graph.params.is_empty() {
        return Ok(());
    }
    let first = tidy_gradient(&sample.graph).map_err(|error| error.to_string())?;
    let again = parses_back(&first, &feeds).map_err(say("its gradient"))?;
    tangents_parse_back(&sample.graph, &feeds).map_err(say("its tangents"))?;
    tangents_parse_back(&first, &feeds).map_err(say("the tangents of its gradient"))?;
    for graph in [&first, &again] {
        let norm = gradient_norm(graph).map_err(|error| error.to_string())?;
        let names: Vec<String> = norm.params.iter().map(|param| param.name.clone()).collect();
        // Steps of derivatives (of a sign) have none themselves.
        let Ok(second) = grad(&norm, &names) else { continue };
        parses_back(&second, &feeds).map_err(say("its raw second gradient"))?;
        let second = tidy_gradient(&norm).map_err(|error| error.to_string())?;
        parses_back(&second, &feeds).map_err(say("its second gradient"))?;
    }
    Ok(())
}

fn sweep(seeds: std::ops::Range<u64>, options: &Options, derivatives: bool) {
    let total = seeds.end - seeds.start;
    let mut failures: Vec<String> = seeds
        .filter_map(|seed| {
            holds(&sample(seed, options), seed, derivatives)
                .err()
                .map(|error| format!("seed {seed}: {error}"))
        })
        .collect();
    failures.sort_by_key(String::len);
    let shown: Vec<&str> = failures.iter().take(4).map(String::as_str).collect();
    assert!(shown.is_empty(), "{} of {total} fail; the shortest: {}", failures.len(), shown.join("\n"));
}

#[test]
fn small_random_programs() {
    sweep(0..300, &Options { operations: 2, loops: 1, ..Options::default() }, false);
}

#[test]
fn random_programs() {
    sweep(0..300, &Options::default(), false);
}

#[test]
fn gradients_of_small_random_programs() {
    sweep(0..150, &Options { operations: 2, loops: 1, ..Options::differentiable() }, true);
}

#[test]
fn gradients_of_random_programs() {
    sweep(0..100, &Options::differentiable(), true);
}

#[test]
fn programs_on_trees() {
    let options = Options { trees: true, ..Options::default() };
    sweep(0..200, &Options { operations: 2, loops: 1, ..options }, false);
    sweep(200..400, &options, false);
}

#[test]
fn gradients_of_programs_on_trees() {
    let options = Options { trees: true, ..Options::differentiable() };
    sweep(0..100, &Options { operations: 2, loops: 1, ..options }, true);
    sweep(100..150, &options, true);
}

#[test]
fn examples_and_library() {
    let mut programs: Vec<(String, Graph)> = Vec::new();
    for example in examples() {
        let found = front(&example.source, &request(&example.set));
        let found = found.unwrap_or_else(|found| panic!("{}: {}", example.name, messages(&found)));
        programs.push((example.name, found.graph));
    }
    programs.extend(library().into_iter().map(|(name, text)| (name.to_string(), graph(&text))));
    for (name, graph) in programs {
        let sample = Sample { graph, fills: Default::default() };
        for seed in 0..2 {
            holds(&sample, seed, true).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
