//! A loop and the same computation written out step by step must agree: this holds the interpreter,
//! the schedule and `unroll` against each other.

use rnnc::eval::{Padded, evaluate};
use rnnc::ir::{AxisId, AxisSet, Graph, OutputKind, print, unroll, unroll_tree, verify};
use rnnc::testing::{Batch, Options, coordinates, feeds, sample, unrolled_feeds, unrolled_tree_feeds};

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

/// A tree and the same computation written out node by node.
fn compare_tree(seed: u64, options: &Options) {
    let sample = sample(seed, options);
    let graph = &sample.graph;
    let tree_axis: AxisId = graph.find_axis("n").unwrap();
    let feeds = feeds(&sample, seed, Batch::Equal([0, 1, 2, 3, 5, 7][seed as usize % 6]));
    let tree = &feeds.trees["n"][0];
    let flat = unroll_tree(graph, tree_axis, tree).unwrap();
    let complaints = verify(&flat);
    assert!(complaints.is_empty(), "seed {seed}: {complaints:#?}\n{}\n{}", print(graph), print(&flat));
    let rolled = evaluate(graph, &feeds).unwrap();
    let unrolled = evaluate(&flat, &unrolled_tree_feeds(graph, &feeds, tree_axis)).unwrap();
    let gone: Vec<AxisId> = (1..graph.axes.len())
        .map(|number| AxisId(u8::try_from(number).unwrap()))
        .filter(|axis| graph.axis_kind(*axis).tree(*axis) == Some(tree_axis))
        .collect();
    for output in &graph.outputs {
        let what = format!("seed {seed}, {tree:?}, {}", output.name);
        let axes = graph.type_at(output.value).axes;
        let kept = gone.iter().fold(axes, |axes, axis| axes.without(*axis));
        let expected = rolled.padded(output.value).unwrap();
        let size: usize = graph.ty(output.value.node).shape.iter().product();
        let numbers = expected.numbers();
        let own: AxisSet = gone.iter().copied().filter(|axis| axes.contains(*axis)).collect();
        for place in coordinates(graph, &feeds, own, 0) {
            // The rows of the padded array at these coordinates of the axes that are gone.
            let extents = &expected.shape[..axes.len()];
            let rows: usize = extents.iter().product();
            let mut wanted = Vec::new();
            for row in 0..rows {
                let mut rest = row;
                let mut at = vec![0; extents.len()];
                for (dim, extent) in extents.iter().enumerate().rev() {
                    at[dim] = rest % extent;
                    rest /= extent;
                }
                let here = axes.iter().zip(&at).filter(|(axis, _)| own.contains(*axis)).map(|(_, at)| *at);
                if here.eq(place.iter().copied()) {
                    wanted.extend_from_slice(&numbers[row * size..(row + 1) * size]);
                }
            }
            let name = place.iter().fold(output.name.clone(), |name, at| format!("{name}_{at}"));
            let found = unrolled.output(output.kind, &name).unwrap_or_else(|| panic!("{what}: no {name}"));
            assert_eq!(found.shape.len(), kept.len() + graph.ty(output.value.node).shape.len(), "{what}");
            assert_close(&wanted, &found.numbers(), &what, graph);
        }
    }
}

#[test]
fn trees_and_their_nodes_compute_the_same() {
    let options = Options { random: false, trees: true, ..Options::default() };
    for seed in 0..300 {
        compare_tree(seed, &Options { operations: 3, loops: 1, ..options });
    }
    for seed in 300..500 {
        compare_tree(seed, &Options { operations: 14, ..options });
    }
}
