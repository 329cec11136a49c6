//! Commands that look at programs: check, summary, emit, grad, gradcheck, fmt, and the command itself.

use std::process::Stdio;

use super::{Ran, Workspace, rnnc};

#[test]
fn help_and_usage() {
    let workspace = Workspace::new();
    let help = workspace.run("--help").fine();
    assert!(help.out.contains("Examples:") && help.out.contains("gradcheck"), "{}", help.out);
    for command in [
        "check",
        "summary",
        "emit",
        "grad",
        "gradcheck",
        "compile",
        "fmt",
        "train",
        "eval",
        "predict",
        "generate",
        "run",
        "flow",
        "repl",
        "data",
        "data trees",
    ] {
        let help = workspace.run(&format!("{command} --help")).fine();
        assert!(help.out.contains("Example"), "{command}: {}", help.out);
    }
    assert_eq!(workspace.run("").status, Some(2));
    workspace.run("trian").fails(2, &["unrecognized subcommand 'trian'", "train"]);
    workspace.run("check").fails(2, &["<FILE>"]);
    workspace.run("check m.rnn --set H").fails(2, &["H=256"]);
    workspace.run("train m.rnn --out r").fails(2, &["--text"]);
    workspace.run("train m.rnn --text a --npz b --out r").fails(2, &["cannot be used with"]);
    workspace.run("train m.rnn --trees a --npz b --out r").fails(2, &["cannot be used with"]);
    workspace.run("eval r --trees a --text b").fails(2, &["cannot be used with"]);
    workspace.run("run m.rnn --weights w --output o").fails(2, &["--input"]);
    workspace.run("data trees").fails(2, &["--count"]);
    workspace.run("data trees --count 0").fails(2, &["not a whole number above 0"]);
    workspace.run("train m.rnn --text a --epochs 0 --out r").fails(2, &["not a whole number above 0"]);
    workspace.run("train m.rnn --text a --holdout 1 --out r").fails(2, &["from 0 to below 1"]);
    workspace.run("generate r --temperature -1").fails(2, &[]);
    workspace.run("emit m.rnn --stage nothing").fails(2, &["ast", "clif"]);
}

#[test]
fn check_and_summary() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.run("check tiny.rnn").fine();
    assert_eq!(ran.out, "tiny.rnn: ok, model Tiny with 416 parameters\n");
    workspace.write(
        "warn.rnn",
        "model M() {\n  input x: [2] over t\n  param w, v: [2]\n  loss l = sum(w * x)\n}\n",
    );
    let ran = workspace.run("check warn.rnn");
    assert_eq!(ran.status, Some(0));
    assert!(ran.err.contains("warning[unused-parameter]") && ran.err.contains("warn.rnn:3:"), "{}", ran.err);
    let ran = workspace.run("summary tiny.rnn --set H=16").fine();
    assert!(ran.out.contains("model Tiny(V = 8, E = 4, H = 16)"), "{}", ran.out);
    assert!(ran.out.contains("dense") && ran.out.contains("total"), "{}", ran.out);
    // A wrong setting is found before training is.
    workspace.write("set.rnn", "model M() {\n  input x: [2] over t\n  param w: [2]\n  loss l = sum(w * x)\n  train { epoch = 3 }\n}\n");
    workspace.run("check set.rnn").fails(1, &["set.rnn:5:11", "did you mean `epochs`?"]);
}

#[test]
fn stages_of_the_compiler() {
    let workspace = Workspace::with_tiny();
    for (stage, word) in [
        ("ast", "Observe"),
        ("graph", "loss text = logsumexp("),
        ("grad", "gradient "),
        ("opt", "gradient "),
        ("plan", "loop over t"),
        ("clif", "function"),
        ("asm", "ret\n"),
        ("dot", "digraph"),
    ] {
        let ran = workspace.run(&format!("emit tiny.rnn --stage {stage}")).fine();
        assert!(ran.out.contains(word), "{stage}: {}", ran.out);
    }
    if cfg!(target_arch = "x86_64") {
        for (cpu, register) in [("x86-64-v2", "xmm0"), ("x86-64-v3", "ymm0"), ("x86-64-v4", "zmm0")] {
            let ran = workspace.run(&format!("emit tiny.rnn --stage asm --cpu {cpu}")).fine();
            let widest = ["zmm0", "ymm0", "xmm0"].into_iter().find(|register| ran.out.contains(register));
            assert_eq!(widest, Some(register), "{cpu}");
            assert!(ran.out.contains("    ret\n") && !ran.out.contains("(bad)"), "{cpu}: {}", ran.out);
        }
    }
    workspace.run("emit tiny.rnn --stage plan --cpu native").fails(2, &["clif and asm"]);
    workspace.run("emit tiny.rnn --stage asm --cpu z80").fails(2, &["`z80`", "native", "x86-64-v4"]);
    let ran = workspace.run("emit tiny.rnn --stage graph --unroll 3").fine();
    assert!(ran.out.contains("text_2") && !ran.out.contains("[t-1]"), "{}", ran.out);
    workspace.run("emit tiny.rnn --stage plan --unroll 3").fails(2, &["graph and dot"]);
}

#[test]
fn gradients_as_equations() {
    let workspace = Workspace::with_tiny();
    let elman = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/elman.rnn");
    let ran = workspace.run(&format!("grad {elman}")).fine();
    assert!(ran.out.contains("onehot(text[t]") && ran.out.contains("(1 - h[t]^2) * dh[t]"), "{}", ran.out);
    assert!(!ran.out.contains("model"), "{}", ran.out);
    workspace.run("grad tiny.rnn --wrt h.W").fails(1, &["no parameter `h.W`"]);
    let whole = workspace.run("grad tiny.rnn --wrt embed --program").fine();
    workspace.write("again.rnn", &whole.out);
    workspace.run("check again.rnn").fine();
}

#[test]
fn gradients_agree_with_differences() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.run("gradcheck tiny.rnn").fine();
    assert!(ran.out.contains("h.W_r") && ran.out.ends_with("all below 1e-6\n"), "{}", ran.out);
    // Trees are drawn.
    let tai = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tai.rnn");
    for seed in [1, 2] {
        let ran = workspace.run(&format!("gradcheck {tai} --seed {seed}")).fine();
        assert!(ran.out.contains("h.L_i") && ran.out.ends_with("all below 1e-6\n"), "{}", ran.out);
    }
    workspace.write(
        "tree.rnn",
        "model M(V = 5, H = 3) {\n  input x: id(V) over tree n\n  param embed: [V, H]\n  h = ChildSumTreeLSTM(H, H)(embed[x])\n  g = TopDown(H, H)(h)\n  x ~ categorical(Dense(H, V)(g))\n}\n",
    );
    workspace.run("gradcheck tree.rnn").fine();
    workspace.write(
        "kink.rnn",
        "model M() {\n  input x: [] over t\n  param w: []\n  loss l = sin(1000000000000 * w) * 0.000000000001 * x\n}\n",
    );
    let ran = workspace.run("gradcheck kink.rnn").fails(1, &["disagree"]);
    assert!(ran.out.contains("too large"), "{}", ran.out);
}

#[test]
fn formatting() {
    let workspace = Workspace::with_tiny();
    workspace.run("fmt --check tiny.rnn").fine();
    workspace.write("wild.rnn", "model M(H=2){input x:[H] over t\nloss l=sum( x )}");
    let before = workspace.read("wild.rnn");
    let ran = workspace.run("fmt --check tiny.rnn wild.rnn");
    assert_eq!((ran.status, ran.out.as_str()), (Some(1), "wild.rnn: not formatted\n"));
    assert_eq!(workspace.read("wild.rnn"), before);
    workspace.run("fmt wild.rnn").fine();
    workspace.run("fmt --check wild.rnn").fine();
    workspace.write("wrong.rnn", "model M( {");
    workspace.run("fmt wrong.rnn").fails(1, &["wrong.rnn:1:"]);
    assert_eq!(workspace.read("wrong.rnn"), b"model M( {");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let workspace = Workspace::with_tiny();
    let mut child = rnnc(&workspace.path(""))
        .args(["emit", "tiny.rnn", "--stage", "ast"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    Ran::of(child.wait_with_output().unwrap()).fine();
}
