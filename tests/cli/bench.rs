//! `rnnc bench`: its table, its JSON, and which workloads it takes.

use super::Workspace;

#[test]
fn every_workload_gives_a_row() {
    let workspace = Workspace::new();
    let names = [
        "lstm-infer",
        "gru-infer",
        "rnn-infer",
        "lstm-train",
        "gru-train",
        "rnn-train",
        "lnlstm-train",
        "peephole-train",
    ];
    for name in names {
        let ran = workspace.run(&format!("bench --only {name} --shape 4,2,3,5 --json row.json --threads 1"));
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        assert!(ran.out.contains("1 threads, at most ") && ran.out.contains("4,2,3,5"), "{}", ran.out);
        assert_eq!(ran.out.lines().filter(|line| line.starts_with(name)).count(), 1, "{}", ran.out);
        let rows: serde_json::Value = serde_json::from_slice(&workspace.read("row.json")).unwrap();
        let [row] = &rows.as_array().unwrap()[..] else { panic!("{rows}") };
        assert_eq!(row["workload"], name);
        assert_eq!([&row["T"], &row["B"], &row["I"], &row["H"]], [4, 2, 3, 5]);
        let [median, least] = ["median_us", "min_us"].map(|key| row[key].as_f64().unwrap());
        assert!(0.0 < least && least <= median, "{row}");
        assert!(row["gflops"].as_f64().unwrap() > 0.0, "{row}");
        let share = row["peak_share"].as_f64().unwrap();
        assert!(share > 0.0 && share < 1.0, "{row}");
    }
}

#[test]
fn stages_are_timed() {
    let workspace = Workspace::with_tiny();
    let bench = workspace.run("bench --only rnn-train --shape 3,1,2,2 --timings");
    let compile = workspace.run("compile tiny.rnn -o build --timings");
    for ran in [bench, compile] {
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        let time = |stage: &str| -> f64 {
            let line = ran.err.lines().find_map(|line| line.trim().strip_prefix(stage));
            line.unwrap_or_else(|| panic!("no {stage} in {}", ran.err))
                .replace("ms", "")
                .trim()
                .parse()
                .unwrap()
        };
        let stages = ["parse ", "check ", "gradient ", "pass simplify ", "pass merge ", "plan ", "code "];
        let sum: f64 = stages.iter().map(|stage| time(stage)).sum();
        assert!(sum > 0.0 && sum <= time("total"), "{}", ran.err);
    }
}

#[test]
fn kernels_are_timed() {
    let ran = Workspace::new().run("bench --only lstm-train --shape 4,20,3,5 --profile --threads 2");
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    let (_, table) = ran.out.split_once("kernels: ").unwrap();
    let shares = table.lines().filter_map(|line| line.trim().split_once('%')?.0.parse::<f64>().ok());
    assert!((shares.sum::<f64>() - 100.0).abs() < 2.0, "{}", ran.out);
    assert!(
        table.contains("loop: product ") && table.contains("h.c[t] = f[t] * c[t-1] + i[t] * g[t]"),
        "{}",
        ran.out
    );
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let workspace = Workspace::new();
    let run = |arguments: &str| workspace.run(&format!("bench {arguments}"));
    run("--only transformer")
        .fails(2, &["no workload is called `transformer`", "lstm-infer", "peephole-train"]);
    run("--shape 4,2,3,5").fails(2, &["one workload", "--only"]);
    run("--only gru --shape 4,2,3,5").fails(2, &["gru-infer, gru-train"]);
    run("--only lstm-train --shape 4,2,3").fails(2, &["T,B,I,H"]);
    run("--only lstm-train --shape 4,0,3,5").fails(2, &["T,B,I,H"]);
    run("--only lstm-train --shape 9999999999,99,1,1").fails(2, &["too large for memory"]);
    run("--only lstm-train --threads 0").fails(2, &["above 0"]);
    run("--only lstm-train --json no/row.json").fails(1, &["no/row.json"]);
    assert_eq!(workspace.files(), Vec::<String>::new());
}

#[test]
fn trees_of_a_file_give_a_row_for_each_batch() {
    let workspace = Workspace::new();
    let trees = "(3 (2 a) (4 (3 lovely) (2 film)))\n(1 (2 a) (0 plot))\n(2 film)\n";
    workspace.write("trees.txt", trees.as_bytes());
    let ran = workspace.run(
        "bench --only tree-lstm --trees trees.txt --batch 2 --shape 3,5 --json row.json --threads 2 --profile",
    );
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    assert!(ran.out.contains("trees/s") && ran.out.contains("2,3,5"), "{}", ran.out);
    assert!(ran.out.contains("loop: product ") && ran.out.contains(", above leaves"), "{}", ran.out);
    let rows: serde_json::Value = serde_json::from_slice(&workspace.read("row.json")).unwrap();
    let [row] = &rows.as_array().unwrap()[..] else { panic!("{rows}") };
    assert_eq!([&row["B"], &row["I"], &row["H"], &row["trees"]], [2, 3, 5, 2]);
    let [speed, median, least] =
        ["trees_per_second", "median_us", "min_us"].map(|key| row[key].as_f64().unwrap());
    assert!(0.0 < least && least <= median && (speed * median / 2e6 - 1.0).abs() < 1e-6, "{row}");
}

#[test]
fn trees_that_are_none_are_refused() {
    let workspace = Workspace::new();
    let with = |trees: &str| {
        workspace.write("trees.txt", trees.as_bytes());
        workspace.run("bench --only tree-lstm --trees trees.txt --batch 2 --shape 3,5")
    };
    with("(3 (2 a) (2 b)").fails(1, &["trees.txt:1:1", "not closed"]);
    with("(2 a)\n(3 (2 a) (7 b))").fails(1, &["trees.txt:2", "label of 0 to 4"]);
    with("(2 a)\n(3 (2 a) (2 b) (2 c))").fails(1, &["trees.txt:2", "3 children"]);
    with("(2 a)").fails(1, &["1 trees", "batch of 2"]);
    let run = |arguments: &str| workspace.run(&format!("bench --only {arguments}"));
    run("tree-lstm").fails(2, &["--trees FILE"]);
    run("tree-lstm --trees none.txt").fails(1, &["none.txt"]);
    run("tree-lstm --trees trees.txt --shape 1,2,3,4").fails(2, &["--batch"]);
    run("lstm-train --shape 3,5").fails(2, &["T,B,I,H"]);
    run("tree-lstm --batch 2").fails(2, &["--trees"]);
}
