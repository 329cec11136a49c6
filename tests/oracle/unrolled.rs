//! A loop and the same computation written out step by step must agree: this holds the interpreter,
//! the schedule and `unroll` against each other.

use rnnc::eval::{Padded, evaluate};
use rnnc::ir::{AxisId, Graph, OutputKind, print, unroll, verify};
use rnnc::testing::{Batch, Options, feeds, sample, unrolled_feeds};

/// One step of a padded array: `dim` is where the axis is.
fn step_of(padded: &Padded, dim: usize, step: usize) -> Vec<f64> {
    let inner: usize = padded.shape[dim + 1..].iter().product();
    let numbers = padded.numbers();
    let blocks = numbers.chunks(inner.max(1)).skip(step).step_by(padded.shape[dim].max(1));
    blocks.flatten().copied().collect()
}

fn assert_close(a: &[f64], b: &[f64], what: &str, graph: &Graph) {
    assert_eq!(a.len(), b.len(), "{what}\n{}", print(graph));
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() < 1e-9 * x.abs().max(1.0), "{what}: {x} and {y}\n{}", print(graph));
    }
}

fn compare(seed: u64, options: &Options, axis_number: usize) {
    let sample = sample(seed, options);
    let graph = &sample.graph;
    let Some(name) = graph.axes.get(axis_number).map(|axis| axis.name.clone()) else { return };
    let axis: AxisId = graph.find_axis(&name).unwrap();
    let steps = [0, 1, 2, 3, 5][seed as usize % 5];
    let flat = unroll(graph, axis, steps).unwrap();
    let complaints = verify(&flat);
    assert!(complaints.is_empty(), "seed {seed}: {complaints:#?}\n{}\n{}", print(graph), print(&flat));
    let feeds = feeds(&sample, seed, Batch::Equal(steps));
    let rolled = evaluate(graph, &feeds).unwrap();
    let unrolled = evaluate(&flat, &unrolled_feeds(graph, &feeds, axis, steps)).unwrap();
    for output in &graph.outputs {
        let what = format!("seed {seed}, {name} of {steps}, {}", output.name);
        let axes = graph.type_at(output.value).axes;
        let expected = rolled.padded(output.value).unwrap();
        if axes.contains(axis) {
            let dim = axes.iter().position(|other| other == axis).unwrap();
            for step in 0..steps {
                let found = unrolled.output(output.kind, &format!("{}_{step}", output.name)).unwrap();
                assert_close(&step_of(&expected, dim, step), &found.numbers(), &what, graph);
            }
        } else {
            let found = unrolled.output(output.kind, &output.name).unwrap();
            assert_close(&expected.numbers(), &found.numbers(), &what, graph);
        }
    }
    assert!(graph.outputs_of(OutputKind::Loss).count() > 0);
}

#[test]
fn unrolled_programs_compute_the_same() {
    let options = Options { random: false, operations: 14, ..Options::default() };
    for seed in 0..600 {
        compare(seed, &options, 1);
    }
}

#[test]
fn unrolling_the_second_axis_leaves_loops_along_the_first() {
    let options = Options { random: false, operations: 14, ..Options::default() };
    for seed in 1000..1600 {
        compare(seed, &options, 2);
    }
}
