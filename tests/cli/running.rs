//! `rnnc run`: values and gradients that can be worked out by hand.

use std::collections::HashMap;

use rnnc::runtime::npz::{Array, Values, read, write};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::Workspace;

const SUMS: &str = "\
model Sums(D = 2) {
  input x: [D] over t
  input k: id(3) over t
  param W: [D, D], T: [3, D]

  y = W @ x + T[k]
  s = sum(y over t)
  early = k[t-1]
  loss total = sum(s)
}
";

fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("sums.rnn", SUMS);
    // Two examples of 2 and 1 steps; what is behind the second one's end must not matter.
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, f64::NAN, 99.0];
    let arrays = [
        ("x", &[2, 2, 2][..], Values::F64(&x)),
        ("k", &[2, 2][..], Values::I64(&[0, 1, 2, 77])),
        ("t", &[2][..], Values::I64(&[2, 1])),
    ];
    write(&workspace.path("in.npz"), &arrays).unwrap();
    let bytes = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    // A third is not the same number in f32.
    let (w, t) = (bytes(&[1.0 / 3.0, 0.0, 0.0, 2.0]), bytes(&[0.5, 0.0, 0.25, 0.0, 0.0, 1.0]));
    let tensors = HashMap::from([
        ("W", TensorView::new(Dtype::F64, vec![2, 2], &w).unwrap()),
        ("T", TensorView::new(Dtype::F64, vec![3, 2], &t).unwrap()),
    ]);
    workspace.write("w", safetensors::serialize(tensors, None).unwrap());
    workspace
}

fn close(array: &Array, shape: &[usize], expected: &[f64], tolerance: f64) {
    assert_eq!(array.shape, shape);
    for (found, expected) in array.to_real().iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance, "{array:?} {expected}");
    }
}

#[test]
fn values_and_gradients() {
    let workspace = workspace();
    for (precision, tolerance) in [("f32", 1e-5), ("f64", 1e-14)] {
        let command = "run sums.rnn --weights w --input in.npz --output out.npz --grad grads.npz --precision";
        workspace.run(&format!("{command} {precision}")).fine();
        let out = read(&workspace.path("out.npz")).unwrap();
        let y = [1.0 / 3.0 + 0.5, 4.0, 1.25, 8.0, 5.0 / 3.0, 13.0, 0.0, 0.0];
        close(&out["y"], &[2, 2, 2], &y, tolerance);
        close(&out["s"], &[2, 2], &[y[0] + y[2], 12.0, y[4], y[5]], tolerance);
        let total = (y.iter().sum::<f64>()) / 2.0;
        close(&out["loss:total"], &[], &[total], 4.0 * tolerance);
        assert_eq!(out["early"].integers(), Some(&[-1, 0, -1, -1][..]));
        assert_eq!(out["t"].integers(), Some(&[2, 1][..]));
        let gradients = read(&workspace.path("grads.npz")).unwrap();
        close(&gradients["W"], &[2, 2], &[4.5, 6.0, 4.5, 6.0], tolerance);
        close(&gradients["T"], &[3, 2], &[0.5; 6], tolerance);
    }
}

#[test]
fn what_does_not_fit_writes_nothing() {
    let workspace = workspace();
    let before = workspace.files();
    let run = |what: &str| workspace.run(&format!("run sums.rnn {what} --output out.npz"));
    run("--weights none --input in.npz").fails(1, &["none"]);
    run("--weights w --input none.npz").fails(1, &["none.npz"]);
    run("--weights w --input w").fails(1, &["w is not a .npz archive"]);
    run("--weights in.npz --input in.npz").fails(1, &["in.npz is not a safetensors file"]);
    run("--weights w --input in.npz --set D=3").fails(1, &["`W` is [2, 2] there and [3, 3] here"]);
    workspace.run("run sums.rnn --weights w --input in.npz --output no/out.npz").fails(1, &["no/out.npz"]);
    run("--weights w --input in.npz --grad no/grads.npz").fails(1, &["no/grads.npz"]);
    assert_eq!(workspace.files(), before);
}

/// A model that asks how far training is takes that from the run in `--weights`; one that cannot be read is no run
/// that has not begun.
#[test]
fn how_far_training_is_comes_from_the_run() {
    let workspace = Workspace::new();
    workspace.write(
        "m.rnn",
        "model M(D = 2) {
  input x: [D] over t
  param w: [D]
  late = epoch * sum(w * x)
  loss l = mean(late over t)
  train { epochs = 3, batch = 2 }
}
",
    );
    let arrays = [("x", &[2, 2, 2][..], Values::F64(&[1.0; 8])), ("t", &[2][..], Values::I64(&[2, 1]))];
    write(&workspace.path("in.npz"), &arrays).unwrap();
    workspace.run("train m.rnn --npz in.npz --holdout 0 --out run").fine();
    let command = "run m.rnn --input in.npz --output out.npz --weights";
    workspace.run(&format!("{command} run")).fine();
    assert_ne!(read(&workspace.path("out.npz")).unwrap()["late"].to_real()[0], 0.0);
    // Weights alone: training has not begun.
    let bytes = workspace.read("run");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let weights = [("w", tensors.tensor("w").unwrap())];
    workspace.write("weights", safetensors::serialize(weights.clone(), None).unwrap());
    workspace.run(&format!("{command} weights")).fine();
    assert_eq!(read(&workspace.path("out.npz")).unwrap()["late"].to_real()[0], 0.0);
    let newer = HashMap::from([("rnnc".to_string(), "{\"version\": 9000}".to_string())]);
    workspace.write("newer", safetensors::serialize(weights, Some(newer)).unwrap());
    workspace.run(&format!("{command} newer")).fails(1, &["version 9000"]);
}
