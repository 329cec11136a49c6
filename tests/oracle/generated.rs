//! Random programs are well-typed, tame, varied, and the same for the same seed.

use std::collections::BTreeMap;

use rnnc::eval::{Elements, evaluate};
use rnnc::ir::{Access, Op, OutputKind, Stage, print, schedule, verify};
use rnnc::testing::{Batch, Options, feeds, sample};

fn kinds() -> [Options; 3] {
    let plain = Options { random: false, second_axis: false, ..Options::default() };
    [Options::default(), Options::differentiable(), plain]
}

#[test]
fn the_verifier_passes_every_program() {
    for options in kinds() {
        for seed in 0..1500 {
            let sample = sample(seed, &options);
            let complaints = verify(&sample.graph);
            assert!(complaints.is_empty(), "seed {seed}: {complaints:#?}\n{}", print(&sample.graph));
            assert!(sample.graph.outputs_of(OutputKind::Loss).count() > 0, "seed {seed}");
        }
    }
}

#[test]
fn values_are_tame() {
    for options in kinds() {
        for seed in 0..300 {
            let sample = sample(seed, &options);
            let values = evaluate(&sample.graph, &feeds(&sample, seed, Batch::Ragged)).unwrap();
            assert!(values.loss().abs() < 1e3, "seed {seed}: {}", values.loss());
            for node in sample.graph.ids() {
                let Elements::Real(numbers) = values.padded(node.into()).unwrap().elements else { continue };
                let largest = numbers.iter().map(|x| x.abs()).fold(0.0, f64::max);
                assert!(numbers.iter().all(|x| x.is_finite()) && largest < 1e4, "seed {seed}: {largest}");
            }
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_program() {
    for seed in 0..20 {
        let [a, b] = [0, 1].map(|_| sample(seed, &Options::default()));
        assert_eq!(print(&a.graph), print(&b.graph));
        assert_eq!(feeds(&a, 1, Batch::Ragged), feeds(&b, 1, Batch::Ragged));
    }
}

/// The name of an operation with what distinguishes its kinds.
fn kind(op: &Op) -> String {
    match op {
        Op::Slice { dim, .. } => format!("Slice {dim}"),
        Op::Contract(contract) => format!("Contract mean {}", contract.mean),
        Op::Reduce(way, along) => format!("Reduce {way:?} {}", matches!(along, rnnc::ir::Along::Last)),
        Op::Softmax(along) => format!("Softmax {}", matches!(along, rnnc::ir::Along::Last)),
        other => format!("{other:?}").split(['(', '{']).next().unwrap().to_string(),
    }
}

#[test]
fn everything_occurs() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut contractions: BTreeMap<String, usize> = BTreeMap::new();
    let (mut nodes, mut live) = (0, 0);
    for seed in 0..500 {
        let graph = sample(seed, &Options::default()).graph;
        let mut count = |what: String| *counts.entry(what).or_default() += 1;
        for stage in schedule(&graph).unwrap() {
            if let Stage::Loop { axis, backward, nodes } = stage {
                count(format!("loop along {} backward {backward}", graph.axis_name(axis)));
                let wide = nodes.iter().any(|node| graph.ty(*node).axes.len() > 2);
                count(format!("loop with values on two axes {wide}"));
            }
        }
        for node in graph.ids() {
            count(kind(graph.op(node)));
            match graph.op(node) {
                Op::Unary(op) => count(format!("{op:?}")),
                Op::Binary(op) => count(format!("{op:?}")),
                Op::Concat { dim } => count(format!("concat {dim}")),
                Op::Contract(contract) => *contractions.entry(contract.spec()).or_default() += 1,
                _ => {}
            }
            for operand in graph.operands(node) {
                count(match operand.access {
                    Access::Here => "here".into(),
                    Access::Delay { by, .. } => format!("delay {by}"),
                    Access::Advance { by, .. } => format!("advance {by}"),
                    Access::First(_) => "first".into(),
                    Access::Last(_) => "last".into(),
                    Access::Nth { number, .. } => format!("child {number}"),
                    Access::NthOf { number, .. } => format!("parent of child {number}"),
                    Access::Parent(_) => "parent".into(),
                    Access::Child { .. } => "child".into(),
                    Access::Edge { .. } => "edge".into(),
                    Access::AtNode { .. } => "at node".into(),
                    Access::AtLeaf { .. } => "at leaf".into(),
                });
            }
        }
        nodes += graph.len();
        live += print(&graph).lines().count();
    }
    println!("{counts:#?}\n{} kinds of contractions\n{nodes} nodes, {live} lines", contractions.len());
    let names = "Input Param Constant Position Length Count Setting NoId Random Select OneHot Gather ArgMax \
        LogSumExp Initially Copy Stop Negate Exp Log Sqrt Tanh Sigmoid Relu Softplus Abs Sign Floor Sin Cos \
        Add Subtract Multiply Divide Power Min Max Equal NotEqual Less LessEqual Greater GreaterEqual \
        here first last";
    let others = [
        "delay 1",
        "delay 2",
        "delay 3",
        "advance 1",
        "advance 2",
        "advance 3",
        "concat 0",
        "concat 1",
        "Slice 0",
        "Slice 1",
        "Contract mean true",
        "Contract mean false",
        "Softmax true",
        "Softmax false",
        "Reduce Sum true",
        "Reduce Sum false",
        "Reduce Mean true",
        "Reduce Mean false",
        "Reduce Max true",
        "Reduce Max false",
        "loop along t backward true",
        "loop along t backward false",
        "loop along s backward true",
        "loop along s backward false",
        "loop with values on two axes true",
    ];
    for what in names.split_whitespace().chain(others) {
        assert!(counts.get(what).copied().unwrap_or(0) >= 5, "{what} is too rare: {counts:#?}");
    }
    assert!(contractions.len() > 25, "{contractions:#?}");
}
