//! Every elementwise function in native code over the whole range of arguments, in vectors and scalars.

use std::collections::BTreeMap;

use rnnc::check::{Mode, Request};
use rnnc::driver::{front, program};
use rnnc::eval::{Feeds, InputData, evaluate};
use rnnc::ir::{OutputKind, Unary};
use rnnc::runtime::program::Real;

use super::support::{plan_name, run};

/// Arguments of all sizes and signs, 37 to a row so that vectors have a rest.
fn arguments() -> Vec<f64> {
    let mut found = vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    for exponent in -30..=30 {
        for step in 0..6 {
            let size = 2f64.powf(f64::from(exponent) / 2.0 + f64::from(step) * 0.083);
            found.extend([size, -size]);
        }
    }
    found.resize(found.len().next_multiple_of(37), 0.5);
    found
}

fn agrees<R: Real>(tolerance: f64) {
    let arguments = arguments();
    let names: Vec<&str> = Unary::ALL.iter().map(|(_, name)| *name).collect();
    let equations: String = names.iter().map(|name| format!("  y_{name} = {name}(x)\n")).collect();
    let source = format!("model M() {{\n  input x: [37]\n{equations}}}\n");
    let request = Request { model: None, set: &[], mode: Mode::Evaluate, everything: false };
    let graph = front(&source, &request).unwrap().graph;
    let rounded: Vec<f64> = arguments.iter().map(|&x| R::from_f64(x).to_f64()).collect();
    let feeds = Feeds {
        examples: rounded.len() / 37,
        lengths: BTreeMap::new(),
        trees: BTreeMap::new(),
        params: BTreeMap::new(),
        inputs: BTreeMap::from([(
            "x".into(),
            InputData::Real(rounded.chunks(37).map(<[f64]>::to_vec).collect()),
        )]),
        settings: BTreeMap::new(),
        seed: 0,
        step: 0,
    };
    let expected = evaluate(&graph, &feeds).unwrap();
    let compiled = program::<R>(&graph, &[OutputKind::Value], "functions").unwrap();
    let found = run(&graph, &compiled, &feeds);
    for name in names {
        let name = format!("y_{name}");
        let wanted = expected.output(OutputKind::Value, &name).unwrap().numbers();
        let got = &found[&plan_name(OutputKind::Value, &name)];
        for ((x, y), wanted) in rounded.iter().zip(got).zip(wanted) {
            let wanted = R::from_f64(wanted).to_f64();
            // Arguments of sine and cosine beyond 1e4 have lost their period's digits.
            let far = (name == "y_sin" || name == "y_cos") && x.abs() > 1e4;
            let same = *y == wanted || (y.is_nan() && wanted.is_nan()) || far;
            let error = (y - wanted).abs() / wanted.abs().max(1e-30);
            assert!(same || error < tolerance, "{name}({x:e}) is {y:e}, not {wanted:e}");
        }
    }
}

#[test]
fn in_f32() {
    agrees::<f32>(1e-6);
}

#[test]
fn in_f64() {
    agrees::<f64>(1e-14);
}

/// `M` and `M.T` in one product: the second is read from memory, so it must be complete there.
#[test]
fn a_value_and_its_transpose() {
    let source = "model M() {
      input a: [5], b: [5]
      M = outer(a, b)
      s = einsum(\"ij,ji->i\", M, M)
    }";
    let request = Request { model: None, set: &[], mode: Mode::Evaluate, everything: false };
    let graph = front(source, &request).unwrap().graph;
    let data = |from: f64| {
        InputData::Real((0..3).map(|at| vec![from + f64::from(at), 1.0, 2.0, 3.0, from]).collect())
    };
    let feeds = Feeds {
        examples: 3,
        inputs: BTreeMap::from([("a".into(), data(0.5)), ("b".into(), data(-1.0))]),
        ..Feeds::default()
    };
    let wanted = evaluate(&graph, &feeds).unwrap().output(OutputKind::Value, "s").unwrap().numbers();
    let compiled = program::<f64>(&graph, &[OutputKind::Value], "transpose").unwrap();
    let found = run(&graph, &compiled, &feeds);
    assert_eq!(found[&plan_name(OutputKind::Value, "s")], wanted);
}
