//! Training, measuring and writing on a small text and on small archives.

use rnnc::runtime::npz::{Values, write};

use super::Workspace;

#[test]
fn a_text_is_learnt_and_written() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.train("--epochs 8 --out run --timings").fine();
    assert!(ran.out.contains("epoch 1/8: loss ") && ran.out.contains("held-out "), "{}", ran.out);
    assert!(ran.out.contains("characters/s") && ran.out.contains("wrote run ("), "{}", ran.out);
    assert!(ran.out.contains("█ training   ░ held-out") && ran.out.contains("time by stage"), "{}", ran.out);
    let losses = held_out(&ran.out);
    assert_eq!(losses.len(), 8, "{}", ran.out);
    assert!(losses[7] < 1.0 && losses[7] < losses[0] - 0.5, "{losses:?}");

    let held_out = workspace.run("eval run").fine();
    assert!(held_out.out.starts_with("the held-out part of text.txt: "), "{}", held_out.out);
    assert!(held_out.out.contains(&format!("{:.3}", losses[7])[..4]), "{} {losses:?}", held_out.out);
    let whole = workspace.run("eval run --text text.txt --threads 1").fine();
    assert!(whole.out.starts_with("text.txt: 2,"), "{}", whole.out);
    // A run is a file on its own.
    std::fs::remove_file(workspace.path("tiny.rnn")).unwrap();
    std::fs::remove_file(workspace.path("text.txt")).unwrap();
    let first = workspace.run("generate run --length 200 --seed 3").fine();
    assert_eq!(first.out.chars().count(), 201);
    assert!(first.out.chars().all(|c| "abcd. \n".contains(c)), "{}", first.out);
    assert_eq!(first.out, workspace.run("generate run --length 200 --seed 3").fine().out);
    assert_ne!(first.out, workspace.run("generate run --length 200 --seed 4").fine().out);
    let prompted = workspace.run("generate run --length 40 --temperature 0 --prompt abc__ab").fine();
    assert!(prompted.out.starts_with("abc ab"), "{}", prompted.out);
    assert_eq!(
        prompted.out,
        workspace.run("generate run --length 40 --temperature 0 --seed 9 --prompt abc__ab").out
    );
    workspace.run("eval run").fails(1, &["text.txt"]);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let workspace = Workspace::with_tiny();
    workspace.train("--epochs 2 --threads 1 --out one").fine();
    workspace.train("--epochs 2 --threads 3 --out three").fine();
    assert_eq!(workspace.read("one"), workspace.read("three"));
    workspace.train("--epochs 2 --threads 1 --seed 2 --out other").fine();
    assert_ne!(workspace.read("one"), workspace.read("other"));
}

#[test]
fn a_resumed_run_is_one_that_never_stopped() {
    let workspace = Workspace::with_tiny();
    workspace.train("--epochs 3 --out whole").fine();
    // In the middle of an epoch, at the very end of one, and twice.
    for stops in [&[5][..], &[12], &[3, 17]] {
        let _ = std::fs::remove_file(workspace.path("parts"));
        let mut resume = "";
        for stop in stops {
            let ran = workspace.train(&format!("--epochs 3 --max-steps {stop} --out parts {resume}")).fine();
            assert!(ran.out.contains("--resume --out parts"), "{}", ran.out);
            assert_ne!(workspace.read("parts"), workspace.read("whole"));
            resume = "--resume";
        }
        workspace.run("train --resume --out parts").fine();
        assert_eq!(workspace.read("parts"), workspace.read("whole"), "{stops:?}");
    }
    // More epochs than the run had at first: the same as all of them at once, but for what it says of itself.
    let ran = workspace.run("train --resume --out whole").fine();
    assert!(ran.out.contains("nothing to do"), "{}", ran.out);
    let ran = workspace.run("train --resume --out whole --epochs 4").fine();
    assert!(ran.out.contains("epoch 4/4") && !ran.out.contains("epoch 3/4:"), "{}", ran.out);
}

/// The held-out loss of each epoch, as printed.
fn held_out(out: &str) -> Vec<f64> {
    out.lines().filter_map(|line| line.split_once("held-out ")?.1.split(',').next()?.parse().ok()).collect()
}

#[test]
fn early_stopping_keeps_the_best_weights() {
    let workspace = Workspace::with_tiny();
    // So fast that it soon gets worse.
    let stops = super::TINY.replace("adam(lr = 0.01)", "adam(lr = 0.2), early_stopping = 2");
    workspace.write("tiny.rnn", stops);
    let ran = workspace.train("--epochs 60 --out run").fine();
    let losses = held_out(&ran.out);
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let epoch = losses.iter().position(|loss| *loss == best).unwrap() + 1;
    assert!(epoch < losses.len() && losses.len() < 60, "{losses:?}");
    assert!(ran.out.contains("stopped early"), "{}", ran.out);
    assert!(ran.out.contains(&format!("the weights of epoch {epoch})")), "{epoch} {}", ran.out);
    let measured = workspace.run("eval run").fine();
    let loss: f64 = measured.out.split_once("loss  ").unwrap().1.trim().parse().unwrap();
    assert!((loss - best).abs() < 1e-4, "{best} {}", measured.out);

    // Training goes on from the last weights, not from those: the same bits as without a stop.
    for stops in [&[5][..], &[12], &[3, 40]] {
        let _ = std::fs::remove_file(workspace.path("parts"));
        let mut resume = "";
        for stop in stops {
            workspace.train(&format!("--epochs 60 --max-steps {stop} --out parts {resume}")).fine();
            resume = "--resume";
        }
        workspace.run("train --resume --out parts").fine();
        assert_eq!(workspace.read("parts"), workspace.read("run"), "{stops:?}");
    }
    let again = workspace.run("train --resume --out run").fine();
    assert!(again.out.contains("nothing to do"), "{}", again.out);
}

#[test]
fn what_a_run_was_begun_with_stays() {
    let workspace = Workspace::with_tiny();
    workspace.train("--max-steps 3 --out run").fine();
    let before = workspace.read("run");
    let resume = |more: &str| workspace.run(&format!("train --resume --out run {more}"));
    resume("--batch 3").fails(1, &["cannot resume run", "--batch 20"]);
    resume("--seed 3").fails(1, &["--seed 1"]);
    resume("--truncate 3").fails(1, &["--truncate 8"]);
    resume("--holdout 0.2").fails(1, &["--holdout 0.1"]);
    workspace.run("train tiny.rnn --resume --out run --set H=9").fails(1, &["H = 8"]);
    workspace.write("other.rnn", super::TINY.replace("GRU", "LSTM"));
    workspace.run("train other.rnn --resume --out run").fails(1, &["other.rnn is not the program"]);
    workspace.write("text.txt", "another text");
    resume("").fails(1, &["text.txt is not the data"]);
    assert_eq!(workspace.read("run"), before);
}

const CLASSES: &str = "\
model Classes(V = 5, C = 2, H = 6) {
  input words: id(V) over t
  input label: id(C)
  param embed: [V, H]

  h = RNN(H, H)(embed[words])
  y = Dense(H, C)(h[last])
  label ~ categorical(y)
  loss size = 0.001 * sum(y^2)
  metric right = label == argmax(y)

  train { optimizer = adam(lr = 0.02), batch = 24, epochs = 12, holdout = 0.25 }
}
";

/// Sentences of 1 to 6 words; the label says whether word 1 is the last.
fn sentences(examples: usize) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let mut state = 1u64;
    let mut next = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % n) as i64
    };
    let (mut words, mut labels, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..examples {
        let length = 1 + next(6) as usize;
        let own: Vec<i64> = (0..length).map(|_| next(5)).collect();
        labels.push(i64::from(own[length - 1] == 1 || own[length - 1] == 3));
        words.extend(own.into_iter().chain(std::iter::repeat(-1)).take(6));
        lengths.push(length as i64);
    }
    (words, labels, lengths)
}

#[test]
fn examples_from_an_archive() {
    let workspace = Workspace::new();
    workspace.write("classes.rnn", CLASSES);
    let (words, labels, lengths) = sentences(400);
    let data = [
        ("words", &[400, 6][..], Values::I64(&words)),
        ("label", &[400][..], Values::I64(&labels)),
        ("t", &[400][..], Values::I64(&lengths)),
    ];
    write(&workspace.path("data.npz"), &data).unwrap();
    let ran = workspace.run("train classes.rnn --npz data.npz --out run").fine();
    assert!(ran.out.contains("examples/s"), "{}", ran.out);
    assert!(ran.out.contains("held-out: label ") && ran.out.contains("size ") && ran.out.contains("right "));
    let right =
        ran.out.lines().rev().find_map(|line| line.split_once("right ")?.1.parse::<f64>().ok()).unwrap();
    assert!(right > 0.95, "{}", ran.out);
    let ran = workspace.run("eval run").fine();
    assert!(ran.out.contains("100 examples") && ran.out.contains("loss label"), "{}", ran.out);
    assert!(ran.out.contains(&format!("metric right  {right:.4}")), "{}", ran.out);
    workspace.run("generate run").fails(1, &["`words`, `label`"]);

    workspace.run("train classes.rnn --npz data.npz --max-steps 17 --out parts").fine();
    workspace.run("train --resume --out parts").fine();
    assert_eq!(workspace.read("parts"), workspace.read("run"));
}

/// Truncated backpropagation through examples, with states that pass from chunk to chunk.
#[test]
fn long_examples_are_cut() {
    let workspace = Workspace::new();
    let tags = CLASSES.replace("input label: id(C)", "input label: id(C) over t").replace("h[last]", "h");
    // A metric may need whole examples: it is measured on such.
    let tags = tags
        .replace("label == argmax(y)", "mean(label == argmax(y) over t)")
        .replace("holdout", "truncate = 4, holdout");
    workspace.write("tags.rnn", &tags);
    let (words, _, lengths) = sentences(100);
    let words: Vec<i64> = words.iter().map(|&word| word.max(0)).collect();
    let labels: Vec<i64> = words.iter().map(|word| word % 2).collect();
    let data = [
        ("words", &[100, 6][..], Values::I64(&words)),
        ("label", &[100, 6][..], Values::I64(&labels)),
        ("t", &[100][..], Values::I64(&lengths)),
    ];
    write(&workspace.path("data.npz"), &data).unwrap();
    let train = |more: &str| workspace.run(&format!("train tags.rnn --npz data.npz {more}"));
    let ran = train("--threads 1 --out run").fine();
    assert!(ran.out.contains("steps/s"), "{}", ran.out);
    let losses = held_out(&ran.out);
    assert!(losses[11] < 0.3 * losses[0], "{losses:?}");
    train("--threads 3 --out other").fine();
    assert_eq!(workspace.read("run"), workspace.read("other"));
    // Between two chunks of a batch, and between two batches.
    for stop in [5, 6, 17, 48] {
        let _ = std::fs::remove_file(workspace.path("parts"));
        train(&format!("--max-steps {stop} --out parts")).fine();
        workspace.run("train --resume --out parts").fine();
        assert_eq!(workspace.read("parts"), workspace.read("run"), "{stop}");
    }
    // The flag overrides the model: chunks as long as the longest are no chunks.
    train("--truncate 6 --out six").fine();
    assert_ne!(workspace.read("six"), workspace.read("run"));

    let whole = "train classes.rnn --npz data.npz --out no";
    workspace.write("classes.rnn", CLASSES.replace("holdout", "truncate = 4, holdout"));
    let cannot =
        &["cannot be cut into chunks along `t`", "last position", "classes.rnn:7:", "truncate = none"];
    workspace.run(whole).fails(1, cannot);
    workspace.write("classes.rnn", CLASSES);
    workspace.run(&format!("{whole} --truncate 4")).fails(1, cannot);
    assert!(!workspace.path("no").exists());
}

#[test]
fn models_that_need_the_whole_text() {
    let workspace = Workspace::with_tiny();
    let train = |from: &str, to: &str, words: &[&str]| {
        workspace.write("whole.rnn", super::TINY.replace(from, to));
        let ran = workspace.run("train whole.rnn --text text.txt --out run").fails(1, words);
        assert_eq!(ran.err.matches("error[").count(), 1, "{}", ran.err);
        assert!(ran.err.contains("--npz"), "{}", ran.err);
    };
    train(
        "text[t-1]])",
        "text[t-1]], backward)",
        &["whole.rnn:5:7", "cannot be cut", "reads ahead along `t`"],
    );
    train("dropout(h, 0.1)", "h + h[last]", &["whole.rnn:6:", "reads the last position"]);
    train("dropout(h, 0.1)", "h / length(t)", &["whole.rnn:6:", "the length needs all positions"]);
    train("dropout(h, 0.1)", "h - mean(h over t)", &["whole.rnn:6:", "this `mean` needs all positions"]);
    assert_eq!(workspace.files(), ["text.txt", "tiny.rnn", "whole.rnn"]);
    // What only a named value needs is no hindrance, and a position may be used as a number.
    workspace.write(
        "fine.rnn",
        super::TINY
            .replace("dropout(h, 0.1)", "h + 0.001 * t")
            .replace("  train", "  last = h[last]\n  train"),
    );
    workspace.run("train fine.rnn --text text.txt --epochs 1 --out run").fine();
    workspace.run("eval run").fine();
    workspace.run("generate run --length 5 --prompt ab").fine();
}

#[test]
fn archives_that_do_not_fit() {
    let workspace = Workspace::new();
    workspace.write("classes.rnn", CLASSES);
    let (words, labels, _) = sentences(10);
    let train = |arrays: &[(&str, &[usize], Values)]| {
        write(&workspace.path("data.npz"), arrays).unwrap();
        workspace.run("train classes.rnn --npz data.npz --out run")
    };
    let label = ("label", &[10][..], Values::I64(&labels));
    train(&[label]).fails(1, &["data.npz has no array `words`", "`label`"]);
    train(&[label, ("words", &[60], Values::I64(&words))]).fails(1, &["`words`", "[60]", "longest t"]);
    train(&[label, ("words", &[10, 6], Values::I64(&words))]).fails(1, &["`words`", "id -1 at [0, "]);
    let floats: Vec<f32> = vec![0.5; 60];
    train(&[label, ("words", &[10, 6], Values::F32(&floats))]).fails(1, &["`words`", "floats"]);
    let long = [7; 10];
    train(&[label, ("words", &[10, 6], Values::I64(&words)), ("t", &[10], Values::I64(&long))])
        .fails(1, &["`t`", "length 7 of example 0"]);
    workspace.write("data.npz", "not an archive");
    workspace.run("train classes.rnn --npz data.npz --out run").fails(1, &["data.npz is not a .npz archive"]);
    workspace.run("train classes.rnn --text classes.rnn --out run").fails(1, &["`words`, `label`", "--npz"]);
    assert_eq!(workspace.files(), ["classes.rnn", "data.npz"]);
}

#[test]
fn training_that_goes_astray() {
    let workspace = Workspace::with_tiny();
    workspace.write("wild.rnn", super::TINY.replace("adam(lr = 0.01), clip_norm = 5", "sgd(lr = 1e38)"));
    let ran = workspace
        .run("train wild.rnn --text text.txt --out run")
        .fails(1, &["the gradient of", "step ", "epoch 1"]);
    assert!(!ran.out.contains("wrote"), "{}", ran.out);
    assert_eq!(workspace.files(), ["text.txt", "tiny.rnn", "wild.rnn"]);
}

/// Ctrl-C in the middle: saved, and as good as new when resumed.
#[cfg(unix)]
#[test]
fn an_interrupt_saves() {
    let workspace = Workspace::with_tiny();
    let mut child = super::rnnc(&workspace.path(""))
        .args(["train", "tiny.rnn", "--text", "text.txt", "--epochs", "100000", "--out", "run"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The first save shows that training goes on.
    while !workspace.path("run").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ran = super::Ran::of(child.wait_with_output().unwrap()).fine();
    assert!(ran.out.contains("interrupted; wrote run"), "{}", ran.out);
    workspace.run("eval run").fine();
}
