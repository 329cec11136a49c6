//! Every pass keeps the meaning of random programs, and says what it is told about the graph.

use rnnc::eval::{Values, evaluate};
use rnnc::ir::{Graph, OutputKind, print, verify};
use rnnc::opt::{COMPILE, Pass, TIDY};
use rnnc::testing::{Batch, Options, feeds, sample};

use super::support::distance;

fn outputs(graph: &Graph, values: &Values) -> Vec<(OutputKind, String, Vec<f64>)> {
    graph
        .outputs
        .iter()
        .map(|output| {
            (output.kind, output.name.clone(), values.output(output.kind, &output.name).unwrap().numbers())
        })
        .collect()
}

fn holds(seed: u64, options: &Options, pipeline: &[Pass]) -> Result<(), String> {
    let sample = sample(seed, options);
    let feeds = feeds(&sample, seed, Batch::Ragged);
    let expected = outputs(&sample.graph, &evaluate(&sample.graph, &feeds).unwrap());
    let mut graph = sample.graph.clone();
    for pass in pipeline {
        let before = print(&graph);
        (pass.run)(&mut graph);
        let complaints = verify(&graph);
        let values = if complaints.is_empty() { evaluate(&graph, &feeds).ok() } else { None };
        let Some(values) = values else {
            return Err(format!("seed {seed}: `{}`: {complaints:?}\n{before}", pass.name));
        };
        for ((kind, name, wanted), (_, _, found)) in expected.iter().zip(outputs(&graph, &values)) {
            let worst = distance(&found, wanted);
            if worst > 1e-9 {
                return Err(format!(
                    "seed {seed}: `{}` changes {kind:?} `{name}` by {worst:e}\nbefore {before}\nafter {}",
                    pass.name,
                    print(&graph)
                ));
            }
        }
    }
    Ok(())
}

fn sweep(seeds: std::ops::Range<u64>, options: &Options, pipeline: &[Pass]) {
    let mut failures: Vec<String> =
        seeds.clone().filter_map(|seed| holds(seed, options, pipeline).err()).collect();
    failures.sort_by_key(String::len);
    let total = seeds.end - seeds.start;
    let shown: Vec<&str> = failures.iter().take(3).map(String::as_str).collect();
    assert!(
        shown.is_empty(),
        "{} of {total} programs break; the shortest: {}",
        failures.len(),
        shown.join("\n")
    );
}

#[test]
fn small_programs_keep_their_meaning() {
    let options = Options { operations: 2, loops: 1, ..Options::default() };
    sweep(0..400, &options, COMPILE);
}

#[test]
fn programs_keep_their_meaning() {
    sweep(0..150, &Options::default(), COMPILE);
    sweep(150..250, &Options::default(), TIDY);
}

#[test]
fn programs_on_trees_keep_their_meaning() {
    let options = Options { trees: true, ..Options::default() };
    sweep(0..200, &Options { operations: 2, loops: 1, ..options }, COMPILE);
    sweep(200..300, &options, COMPILE);
    sweep(300..400, &options, TIDY);
}
