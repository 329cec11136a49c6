//! Derived gradients of random programs: against finite differences by the interpreter, tidied and
//! optimised, and in native code; and the gradient of the gradient.

use std::collections::BTreeMap;
use std::sync::Arc;

use rnnc::driver::program;
use rnnc::eval::{DifferenceOptions, Program, difference, evaluate, worst_errors};
use rnnc::grad::{grad, grad_of_losses, gradient_norm};
use rnnc::ir::{Graph, OutputKind, print, verify};
use rnnc::opt::{COMPILE, TIDY};
use rnnc::plan::share_lookups;
use rnnc::testing::{Batch, Options, feeds, sample};

use super::support::{distance, plan_name, run};

fn params(graph: &Graph) -> Vec<String> {
    graph.params.iter().map(|param| param.name.clone()).collect()
}

fn gradients(graph: &Graph, feeds: &rnnc::eval::Feeds) -> BTreeMap<String, Vec<f64>> {
    let values = evaluate(graph, feeds).unwrap();
    graph
        .outputs_of(OutputKind::Gradient)
        .map(|output| (output.name.clone(), values.output(output.kind, &output.name).unwrap().numbers()))
        .collect()
}

fn holds(seed: u64, options: &Options) -> Result<(), String> {
    let sample = sample(seed, options);
    let feeds = feeds(&sample, seed, Batch::Ragged);
    let text = || print(&sample.graph);
    let derived =
        grad(&sample.graph, &params(&sample.graph)).map_err(|e| format!("seed {seed}: {e}\n{}", text()))?;
    let complaints = verify(&derived);
    if !complaints.is_empty() {
        return Err(format!("seed {seed}: {complaints:?}\n{}", text()));
    }
    let plain = gradients(&derived, &feeds);
    let oracle = Program::new(&sample.graph).unwrap();
    let differences = difference(&oracle, &feeds, &[], DifferenceOptions::default()).unwrap();
    for (name, worst) in worst_errors(&differences, &plain) {
        if worst > 1e-5 {
            return Err(format!("seed {seed}: d{name} is off by {worst:e}\n{}", text()));
        }
    }
    for pipeline in [TIDY, COMPILE] {
        let mut graph = derived.clone();
        for pass in pipeline {
            (pass.run)(&mut graph);
            let complaints = verify(&graph);
            if !complaints.is_empty() {
                return Err(format!("seed {seed}: {} {complaints:?}\n{}", pass.name, text()));
            }
        }
        for (name, found) in gradients(&graph, &feeds) {
            let worst = distance(&found, &plain[&name]);
            if worst > 1e-9 {
                return Err(format!("seed {seed}: passes change d{name} by {worst:e}\n{}", text()));
            }
        }
    }
    // What is compiled begins at the losses.
    let scaled =
        grad_of_losses(&sample.graph, &params(&sample.graph)).map_err(|e| format!("seed {seed}: {e}"))?;
    for (name, found) in gradients(&scaled, &feeds) {
        let worst = distance(&found, &plain[&name]);
        if worst > 1e-9 {
            return Err(format!("seed {seed}: from the losses d{name} is off by {worst:e}\n{}", text()));
        }
    }
    let compiled = program::<f64>(&scaled, &[OutputKind::Gradient], "gradient")
        .map_err(|error| format!("seed {seed}: {error}\n{}", text()))?;
    let mut shared = compiled.plan().clone();
    share_lookups(&mut shared, 1);
    let shared = Arc::new(
        rnnc::runtime::program::Program::new(shared)
            .map_err(|error| format!("seed {seed}, lookups shared: {error}\n{}", text()))?,
    );
    for (way, program) in [("", &compiled), ("with shared lookups, ", &shared)] {
        let native = run(&scaled, program, &feeds);
        for (name, wanted) in &plain {
            let worst = distance(&native[&plan_name(OutputKind::Gradient, name)], wanted);
            if worst > 1e-9 {
                return Err(format!("seed {seed}: {way}native d{name} is off by {worst:e}\n{}", text()));
            }
        }
    }
    Ok(())
}

fn sweep(seeds: std::ops::Range<u64>, options: &Options) {
    let mut failures: Vec<String> = seeds.clone().filter_map(|seed| holds(seed, options).err()).collect();
    failures.sort_by_key(String::len);
    let shown: Vec<&str> = failures.iter().take(3).map(String::as_str).collect();
    let total = seeds.end - seeds.start;
    assert!(
        shown.is_empty(),
        "{} of {total} gradients are wrong; the shortest: {}",
        failures.len(),
        shown.join("\n")
    );
}

#[test]
fn of_small_programs() {
    sweep(0..150, &Options { operations: 2, loops: 1, ..Options::differentiable() });
}

#[test]
fn of_programs() {
    sweep(0..100, &Options::differentiable());
}

#[test]
fn of_programs_on_trees() {
    sweep(0..150, &Options { operations: 2, loops: 1, trees: true, ..Options::differentiable() });
    sweep(150..250, &Options { trees: true, ..Options::differentiable() });
}

#[test]
fn of_gradients() {
    of_gradients_of(&Options { operations: 3, loops: 1, ..Options::differentiable() });
    of_gradients_of(&Options { operations: 3, loops: 1, trees: true, ..Options::differentiable() });
}

fn of_gradients_of(options: &Options) {
    for seed in 0..40 {
        let sample = sample(seed, options);
        let feeds = feeds(&sample, seed, Batch::Ragged);
        let names = params(&sample.graph);
        if names.is_empty() {
            continue;
        }
        let mut first = grad(&sample.graph, &names).unwrap();
        for pass in TIDY {
            (pass.run)(&mut first);
        }
        let norm = gradient_norm(&first).unwrap();
        let Ok(second) = grad(&norm, &names) else { panic!("seed {seed}") };
        assert!(verify(&second).is_empty(), "seed {seed}: {:?}", verify(&second));
        let found = gradients(&second, &feeds);
        let oracle = Program::new(&norm).unwrap();
        let differences = difference(&oracle, &feeds, &[], DifferenceOptions::default()).unwrap();
        for (name, worst) in worst_errors(&differences, &found) {
            assert!(
                worst < 1e-4,
                "seed {seed}: second gradient of {name} is off by {worst:e}\n{}",
                print(&norm)
            );
        }
    }
}
