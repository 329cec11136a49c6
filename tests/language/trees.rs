//! Trees: what programs over them mean, print as and have for gradients.

use std::collections::BTreeMap;

use rnnc::driver::program;
use rnnc::eval::{DifferenceOptions, Feeds, Program, difference, evaluate, worst_errors};
use rnnc::grad::{grad, gradient_norm};
use rnnc::ir::{Graph, OutputKind, print, verify};
use rnnc::opt::{COMPILE, TIDY};

use super::native::{distance, plan_name, run};
use super::support::{feeds_for, graph};

const TOLERANCE: f64 = 1e-6;

fn gradients(derived: &Graph, feeds: &Feeds) -> BTreeMap<String, Vec<f64>> {
    let values = evaluate(derived, feeds).unwrap();
    let all = derived.outputs_of(OutputKind::Gradient);
    all.map(|output| (output.name.clone(), values.output(output.kind, &output.name).unwrap().numbers())).collect()
}

/// The gradient against finite differences, after every pass, printed and parsed, and in native code.
fn gradient_holds(name: &str, source: &str) {
    let graph = graph(source);
    for (seed, lengths) in [[0, 1, 3, 9], [7, 2, 12, 1]].into_iter().enumerate() {
        let feeds = feeds_for(&graph, &lengths, seed as u64);
        let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
        let derived = grad(&graph, &names).unwrap_or_else(|error| panic!("{name}: {error}\n{}", print(&graph)));
        assert_eq!(verify(&derived), Vec::<String>::new(), "{name}");
        let found = gradients(&derived, &feeds);
        let oracle = Program::new(&graph).unwrap();
        let options = DifferenceOptions { sample: 8, ..DifferenceOptions::default() };
        let differences = difference(&oracle, &feeds, &[], options).unwrap();
        for (path, worst) in worst_errors(&differences, &found) {
            assert!(worst < TOLERANCE, "{name}: d{path} is off by {worst:e}\n{}", print(&derived));
        }
        let same = |what: &str, graph: &Graph, other: &BTreeMap<String, Vec<f64>>| {
            for (path, wanted) in &found {
                let worst = distance(&other[path], wanted);
                assert!(worst < 1e-9, "{name}: {what} changes d{path} by {worst:e}\n{}", print(graph));
            }
        };
        for pipeline in [TIDY, COMPILE] {
            let mut tidied = derived.clone();
            for pass in pipeline {
                (pass.run)(&mut tidied);
                assert_eq!(verify(&tidied), Vec::<String>::new(), "{name}: {}", pass.name);
                same(pass.name, &tidied, &gradients(&tidied, &feeds));
            }
            let text = print(&tidied);
            let parsed = super::support::graph(&text);
            same("printing", &tidied, &gradients(&parsed, &feeds));
            assert_eq!(print(&parsed), text, "{name}");
        }
        let compiled = program::<f64>(&derived, &[OutputKind::Gradient], "gradient").unwrap();
        let native = run(&derived, &compiled, &feeds);
        for (path, wanted) in &found {
            let worst = distance(&native[&plan_name(OutputKind::Gradient, path)], wanted);
            assert!(worst < TOLERANCE, "{name}: native d{path} is off by {worst:e}\n{}", print(&derived));
        }
        let mut first = derived.clone();
        TIDY.iter().for_each(|pass| drop((pass.run)(&mut first)));
        let norm = gradient_norm(&first).unwrap();
        let second = grad(&norm, &names).unwrap();
        assert_eq!(verify(&second), Vec::<String>::new(), "{name}");
        let oracle = Program::new(&norm).unwrap();
        let options = DifferenceOptions { sample: 3, ..DifferenceOptions::default() };
        let differences = difference(&oracle, &feeds, &[], options).unwrap();
        for (path, worst) in worst_errors(&differences, &gradients(&second, &feeds)) {
            assert!(worst < 1e-4, "{name}: the second gradient of {path} is off by {worst:e}");
        }
    }
}

fn model(cell: &str, rest: &str) -> String {
    format!(
        "{cell}
         model M(V = 5, E = 3, H = 3, C = 4) {{
           input word: id(V) over tree n
           input label: id(C) over n
           param embed: [V, E]
           {rest}
         }}"
    )
}

#[test]
fn gradients_of_library_cells() {
    for cell in ["RecursiveNN(H)", "TreeLSTM(E, H)", "ChildSumTreeLSTM(E, H)", "TreeGRU(E, H)", "TopDown(E, H)"] {
        let every = format!("h = {cell}(embed[word])\n label ~ categorical(Dense(H, C)(h))");
        gradient_holds(cell, &model("", &every));
    }
}
