//! Finite differences against derivatives known by hand.

use std::collections::BTreeMap;

use rnnc::base::Span;
use rnnc::eval::{
    DifferenceOptions, Feeds, InputData, Program, Weighted, difference, objective, worst_errors,
};
use rnnc::ir::{
    Along, AxisKind, AxisSet, Binary, Graph, InputSpec, Op, Origin, Output, OutputKind, ParamSpec, Reduction,
    Unary, ValueType,
};

/// `loss = mean(exp(w * x) over batch, t)` and the value `w * w`.
fn exponential() -> (Graph, Feeds) {
    let origin = Origin::forward(Span::NONE);
    let mut graph = Graph::new("Exponential");
    let t = graph.axis("t", AxisKind::Time).unwrap();
    let axes = AxisSet::BATCH.with(t);
    let ty = ValueType::real(Vec::new(), axes);
    graph.inputs.push(InputSpec { name: "x".into(), ty: ty.clone(), observed: false });
    let init = ("ones".to_string(), None);
    graph.params.push(ParamSpec { name: "w".into(), shape: Vec::new(), init, trainable: true });
    let x = graph.leaf(Op::Input("x".into()), ty, origin, None);
    let w = graph.leaf(Op::Param("w".into()), ValueType::real(Vec::new(), AxisSet::NONE), origin, None);
    let product = graph.apply(Op::Binary(Binary::Multiply), &[w.into(), x.into()], origin).unwrap();
    let power = graph.apply(Op::Unary(Unary::Exp), &[product.into()], origin).unwrap();
    let mean = Op::Reduce(Reduction::Mean, Along::Axes(axes));
    let loss = graph.apply(mean, &[power.into()], origin).unwrap();
    let square = graph.apply(Op::Binary(Binary::Multiply), &[w.into(), w.into()], origin).unwrap();
    graph.outputs.push(Output { kind: OutputKind::Loss, name: "loss".into(), value: loss.into() });
    graph.outputs.push(Output { kind: OutputKind::Value, name: "square".into(), value: square.into() });
    let feeds = Feeds {
        examples: 2,
        lengths: BTreeMap::from([("t".to_string(), vec![2, 1])]),
        params: BTreeMap::from([("w".to_string(), vec![0.7])]),
        inputs: BTreeMap::from([("x".to_string(), InputData::Real(vec![vec![1.0, -2.0], vec![0.5]]))]),
        ..Feeds::default()
    };
    (graph, feeds)
}

#[test]
fn the_stencil_reaches_ten_digits() {
    let (graph, feeds) = exponential();
    let program = Program::new(&graph).unwrap();
    let square = graph.output(OutputKind::Value, "square").unwrap();
    let weighted = [Weighted { value: square, weights: vec![3.0] }];
    let found = difference(&program, &feeds, &weighted, DifferenceOptions::default()).unwrap();
    let loss: f64 = [1.0f64, -2.0, 0.5].iter().map(|x| (0.7 * x).exp()).sum::<f64>() / 3.0;
    assert!((objective(&program.run(&feeds).unwrap(), &weighted) - (loss + 3.0 * 0.49)).abs() < 1e-12);
    // d loss = mean(x exp(w x)); d (3 w^2) = 6 w.
    let expected = [1.0f64, -2.0, 0.5].iter().map(|x| x * (0.7 * x).exp()).sum::<f64>() / 3.0 + 4.2;
    assert!((found["w"][0].value - expected).abs() < 1e-10 * expected);
    let good = worst_errors(&found, &BTreeMap::from([("w".to_string(), vec![expected])]));
    let bad = worst_errors(&found, &BTreeMap::from([("w".to_string(), vec![expected * 1.01])]));
    assert!(good["w"] < 1e-10 && bad["w"] > 9e-3);
    assert!(worst_errors(&found, &BTreeMap::new())["w"] > 0.99);
    let broken = worst_errors(&found, &BTreeMap::from([("w".to_string(), vec![f64::NAN])]));
    assert_eq!(broken["w"], f64::INFINITY);
}

/// Two steps must give the same derivative; a kink nearby or a rough program would show.
#[test]
fn differentiable_programs_are_smooth_where_they_are_looked_at() {
    use rnnc::testing::{Batch, Options, feeds, sample};
    let mut checked = 0;
    for seed in 0..200 {
        let sample = sample(seed, &Options::differentiable());
        let program = Program::new(&sample.graph).unwrap();
        let feeds = feeds(&sample, seed, Batch::Ragged);
        let at = |step| {
            let options = DifferenceOptions { step, sample: 2 };
            difference(&program, &feeds, &[], options).unwrap()
        };
        let given = at(5e-4).into_iter().map(|(name, derivatives)| {
            let mut gradient = vec![f64::NAN; feeds.params[&name].len()];
            derivatives.iter().for_each(|d| gradient[d.index] = d.value);
            (name, gradient)
        });
        for (name, error) in worst_errors(&at(1e-3), &given.collect()) {
            assert!(error < 1e-5, "seed {seed}, {name}: {error}\n{}", rnnc::ir::print(&sample.graph));
            checked += 1;
        }
    }
    assert!(checked > 500);
}
