//! Programs and files that are wrong: one clear error, exit status 1, nothing half-written.

use super::Workspace;

#[test]
fn programs_that_are_no_programs() {
    let workspace = Workspace::new();
    workspace.run("check none.rnn").fails(1, &["none.rnn"]);
    workspace.run("check .").fails(1, &["not a regular file"]);
    workspace.write("empty.rnn", "");
    workspace.run("check empty.rnn").fails(1, &["nothing to compile", "empty.rnn"]);
    workspace.write("binary.rnn", [0x7f, b'E', b'L', b'F', 0xff, 0xfe, 0]);
    workspace.run("check binary.rnn").fails(1, &["binary.rnn", "not UTF-8", "offset 4"]);
    workspace.write("zeros.rnn", [0; 1000]);
    workspace.run("check zeros.rnn").fails(1, &["zeros.rnn"]);
    workspace.write("cut.rnn", &super::TINY[..super::TINY.len() / 2]);
    workspace.run("check cut.rnn").fails(1, &["cut.rnn:"]);
}

#[test]
fn programs_without_bounds() {
    let workspace = Workspace::with_tiny();
    let deep = |levels: usize| {
        let value = format!("{}x{}", "(".repeat(levels), ")".repeat(levels));
        format!("model M() {{\n  input x: [] over t\n  param w: []\n  loss l = w * {value}\n}}\n")
    };
    workspace.write("deep.rnn", deep(1000));
    for command in ["check", "emit --stage plan", "summary", "grad", "fmt --check"] {
        let ran = workspace.run(&format!("{command} deep.rnn"));
        assert!(matches!(ran.status, Some(0 | 1)), "{command}: {ran:?}");
        assert!(!ran.err.contains("overflow") && !ran.err.contains("panicked"), "{command}: {ran:?}");
    }
    workspace.write("deeper.rnn", deep(100_000));
    workspace.run("check deeper.rnn").fails(1, &["deeper.rnn"]);
    // One mistake, one error: not one for each shape that the dimension is in.
    for command in ["check tiny.rnn", "summary tiny.rnn", "train tiny.rnn --text text.txt --out run"] {
        for dim in ["H", "E"] {
            let ran = workspace.run(&format!("{command} --set {dim}=1000000000000"));
            let ran = ran.fails(1, &[&format!("{dim} = 1000000000000]"), "TiB", "tiny.rnn:"]);
            assert_eq!(ran.err.matches("error").count(), 1, "{command}: {}", ran.err);
        }
    }
    workspace.run("check tiny.rnn --set V=1000000000000").fails(1, &["1000000000000"]);
    assert_eq!(workspace.files(), ["deep.rnn", "deeper.rnn", "text.txt", "tiny.rnn"]);
}

#[test]
fn programs_of_many_axes() {
    let workspace = Workspace::new();
    // A tree of a child-sum cell has three axes: itself, its leaves and the children of its nodes.
    let trees = |count: usize| {
        let of = |part: fn(usize) -> String| (0..count).map(part).collect::<String>();
        let inputs = of(|n| format!("  input x{n}: [2] over tree n{n}\n  input z{n}: [2] over n{n}.leaf\n"));
        let cells = of(|n| format!("  h{n} = ChildSumTreeLSTM(2, 2)(x{n})\n"));
        let loss = of(|n| format!("{}sum(h{n}[root])", if n == 0 { "" } else { " + " }));
        format!("model M() {{\n{inputs}{cells}  loss l = {loss}\n}}\n")
    };
    workspace.write("few.rnn", trees(21));
    workspace.run("check few.rnn").fine();
    for count in [22, 33, 64] {
        workspace.write("many.rnn", trees(count));
        workspace.run("check many.rnn").fails(1, &["more than 63 axes", "many.rnn:"]);
    }
}

#[test]
fn mistakes_in_programs() {
    let workspace = Workspace::new();
    workspace.write(
        "cycle.rnn",
        "cell A(H) { input x: [H]\n  y = B(H)(x) }\ncell B(H) { input x: [H]\n  y = A(H)(x) }\nmodel M(H = 2) { input x: [H] over t\n  param w: [H]\n  loss l = sum(A(H)(w * x)) }\n",
    );
    workspace.run("check cycle.rnn").fails(1, &["A -> B -> A", "cycle.rnn:"]);
    workspace.write(
        "name.rnn",
        "model M(H = 2) {\n  input x: [H] over t\n  param w: [H]\n  loss l = sum(v * x)\n}\n",
    );
    workspace.run("check name.rnn").fails(1, &["name.rnn:4:", "`v`"]);
    workspace
        .write("two.rnn", "model A() { param w: [] loss l = w }\nmodel B() { param w: [] loss l = w }\n");
    workspace.run("summary two.rnn").fails(1, &["--model", "A, B"]);
    workspace.run("summary two.rnn --model C").fails(1, &["no model `C`"]);
    workspace.run("summary two.rnn --model B --set Q=2").fails(1, &["no dimension `Q`"]);
}

#[test]
fn texts_that_cannot_be_trained_on() {
    let workspace = Workspace::with_tiny();
    let before = workspace.files();
    workspace.run("train tiny.rnn --text none.txt --out run").fails(1, &["none.txt"]);
    workspace.run("train tiny.rnn --text /dev/zero --out run").fails(1, &["/dev/zero", "regular file"]);
    workspace.train("--set V=3 --out run").fails(1, &["--set V="]);
    workspace.train("--out no/run").fails(1, &["no/run", "does not exist"]);
    workspace.train("--out .").fails(1, &["regular file"]);
    workspace.train("--batch 5000 --out run").fails(1, &["5000 streams", "text.txt"]);
    workspace.train("--valid none.txt --out run").fails(1, &["none.txt"]);
    assert_eq!(workspace.files(), before);

    workspace.write("empty.txt", "");
    workspace.run("train tiny.rnn --text empty.txt --out run").fails(1, &["empty.txt", "empty"]);
    workspace.write("short.txt", "abcab");
    workspace
        .run("train tiny.rnn --text short.txt --holdout 1e-9 --out run")
        .fails(1, &["short.txt", "of 5 characters", "held-out part empty"]);
    workspace.run("train tiny.rnn --text short.txt --out run").fails(1, &["short.txt", "20 streams"]);
    workspace.write("latin.txt", b"abc\xe9def");
    workspace.run("train tiny.rnn --text latin.txt --out run").fails(1, &["latin.txt", "offset 3"]);
    workspace.write("other.txt", "abc xyz");
    workspace
        .train("--valid other.txt --out run")
        .fails(1, &["other.txt", "'x' at line 1, column 5", "not in the vocabulary"]);
    workspace.write(
        "ahead.rnn",
        "model M(V = 3) {\n  input x: id(V) over t\n  param W: [V, V]\n  x ~ categorical(W[x[t+1]])\n}\n",
    );
    workspace.run("train ahead.rnn --text text.txt --out run").fails(1, &["`M`", "along `t`"]);
    workspace
        .write("still.rnn", "model M(V = 3) {\n  input x: id(V) over t\n  param W: [V, V]\n  y = W[x]\n}\n");
    workspace.run("train still.rnn --text text.txt --out run").fails(1, &["no loss"]);
    assert!(!workspace.files().contains(&"run".to_string()));
}

#[test]
fn runs_that_are_not_what_they_should_be() {
    let workspace = Workspace::with_tiny();
    workspace.train("--epochs 1 --out run").fine();
    let good = workspace.read("run");
    workspace.write("cut", &good[..good.len() - 7]);
    workspace.write("text", "hello");
    let mut nan = good.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    workspace.write("nan", nan);
    for command in ["eval", "generate", "train --resume --out"] {
        workspace.run(&format!("{command} none")).fails(1, &["none"]);
        workspace.run(&format!("{command} cut")).fails(1, &["cut is truncated"]);
        workspace.run(&format!("{command} text")).fails(1, &["text is not a safetensors file"]);
        workspace.run(&format!("{command} nan")).fails(1, &["not finite"]);
    }
    workspace.write("strange.txt", "abc\nab@");
    workspace.run("eval run --text strange.txt").fails(1, &["strange.txt", "'@' at line 2, column 3"]);
    workspace.run("eval run --npz strange.txt").fails(1, &["trained on a text"]);
    workspace.run("generate run --prompt @").fails(1, &["prompt", "'@'"]);
    // Weights alone are no run; weights of a run are weights of no other model.
    workspace.write("other.rnn", super::TINY.replace("GRU", "LSTM"));
    workspace
        .run("run other.rnn --set V=7 --weights run --input in.npz --output out.npz")
        .fails(1, &["run is of another model", "`h.W_f`"]);
    workspace
        .run("run tiny.rnn --weights run --input in.npz --output out.npz")
        .fails(1, &["`embed` is [7, 4] there and [8, 4] here"]);
}

/// A disk that is full, or as near to it as a test comes without one: a limit on the size of files.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_run() {
    let workspace = Workspace::with_tiny();
    workspace.train("--epochs 1 --out run").fine();
    let before = workspace.read("run");
    let files = workspace.files();
    let command = format!(
        "trap '' XFSZ; ulimit -f 4; exec '{}' train tiny.rnn --text text.txt --out run --epochs 1",
        env!("CARGO_BIN_EXE_rnnc")
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &command])
        .current_dir(workspace.path(""))
        .output()
        .unwrap();
    super::Ran::of(output).fails(1, &["cannot write run"]);
    assert_eq!(workspace.read("run"), before);
    assert_eq!(workspace.files(), files);
}

#[test]
fn texts_have_no_trees() {
    let workspace = Workspace::with_tiny();
    let tai = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tai.rnn");
    workspace.write(
        "one.rnn",
        "model M(V) {\n  input x: id(V) over tree n\n  param W: [V, V]\n  x ~ categorical(mean((W[x]) over n))\n}\n",
    );
    let files = workspace.files();
    for command in
        [&format!("train {tai} --text text.txt --out run"), "train one.rnn --text text.txt --out run"]
    {
        let ran = workspace.run(command).fails(1, &["the tree `n`", "(--trees)", "(--npz)"]);
        assert_eq!(ran.err.lines().count(), 1, "{command}: {}", ran.err);
    }
    assert_eq!(workspace.files(), files);
}
