//! Tasks of `rnnc data` and their examples: made, trained small, measured on what no training has seen.

use super::Workspace;

/// The task with its flags, its example and what training gets, the metric and a bound that it keeps: below or
/// above.
const TASKS: [(&str, &str, &str, f64, bool); 12] = [
    ("adding --count 3000 --length 10", "adding --epochs 12", "error", 0.01, false),
    ("copying --count 2000 --blanks 3", "copying --epochs 20 --set H=64", "symbols", 0.68, true),
    ("reber --count 3000", "reber --epochs 6", "right", 0.9, true),
    ("dyck --count 2000 --depth 3 --longest 16", "dyck --epochs 10", "brackets", 0.95, true),
    ("parity --count 3000 --longest 10", "parity --epochs 15", "right", 0.95, true),
    ("sines --count 2000 --length 30", "sines --epochs 10", "error", 0.2, false),
    ("sorting --count 3000 --longest 4", "sorting --epochs 12 --set H=64", "right", 0.7, true),
    ("initials --count 1500 --words 3", "initials --epochs 8", "letters", 0.95, true),
    ("bits --count 1000 --longest 2", "ntm --epochs 25 --set H=48 --set N=8 --set M=8", "bits", 0.99, true),
    (
        "vectors --count 1500 --size 3",
        "ponder --epochs 10 --set D=3 --set H=24 --set P=3",
        "right",
        0.92,
        true,
    ),
    ("gestures --count 400", "batchnorm --epochs 5 --set H=24", "right", 0.8, true),
    ("pictures --count 1500", "classify --epochs 15", "right", 0.95, true),
];

fn example(name: &str) -> String {
    format!("{}/examples/{name}.rnn", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_task_is_learnt() {
    let workspace = Workspace::new();
    for (data, training, metric, bound, above) in TASKS {
        workspace.run(&format!("data {data} --seed 1 -o data")).fine();
        let (name, more) = training.split_once(' ').unwrap();
        let files = "--data data.train.jsonl --valid data.valid.jsonl";
        workspace.run(&format!("train {} {files} {more} --seed 1 --out run", example(name))).fine();
        let ran = workspace.run("eval run --data data.test.jsonl").fine();
        let line = ran.out.lines().find(|line| line.contains(&format!("metric {metric}")));
        let figure: Option<f64> = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
        assert!(figure.is_some_and(|figure| (figure > bound) == above), "{name}: {}", ran.out);
    }
}

#[test]
fn parts_and_places() {
    let workspace = Workspace::new();
    let made = workspace.run("data dates --count 20 --seed 4 -o dates").fine();
    assert!(made.out.contains("wrote dates.train.jsonl (20 examples)"), "{}", made.out);
    assert!(made.out.contains("wrote dates.test.jsonl (2 examples)"), "{}", made.out);
    let train = String::from_utf8(workspace.read("dates.train.jsonl")).unwrap();
    assert!(train.lines().count() == 20 && train.starts_with("{\"source\": \""), "{train}");
    // The same lines wherever they go, and the first ones of more.
    assert_eq!(workspace.run("data dates --count 20 --seed 4").fine().out, train);
    assert!(workspace.run("data dates --count 25 --seed 4 --part train").fine().out.starts_with(&train));
    workspace.run("data dates --count 2 --seed 4 --part test -o one.jsonl").fine();
    assert_eq!(workspace.read("one.jsonl"), workspace.read("dates.test.jsonl"));
    assert_ne!(workspace.run("data dates --count 20 --seed 5").fine().out, train);
}

#[test]
fn sizes_that_are_none() {
    let workspace = Workspace::new();
    workspace.run("data parity --count 3 --longest 1 -o p").fails(1, &["so few", "make them larger"]);
    assert!(workspace.files().is_empty(), "{:?}", workspace.files());
    workspace.run("data adding --count 3 --length 1").fails(2, &["it is 2 at least"]);
    workspace.run("data adding --count 0").fails(2, &["not a whole number above 0"]);
    workspace.run("data adding").fails(2, &["--count"]);
    workspace.run("data ading --count 3").fails(2, &["adding"]);
    workspace.run("data parity --count 3 --part all").fails(2, &["train, valid, test"]);
}
