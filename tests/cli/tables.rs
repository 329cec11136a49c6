//! Records as data: CSV, TSV, JSON Lines and line-aligned files, from training to measuring.

use rnnc::runtime::checkpoint::Run;
use rnnc::runtime::npz::{Values, read, write};

use super::{Ran, Workspace};

const SENTIMENT: &str = "\
model Sentiment(V, C, E = 4, H = 6) {
  input words: id(V) over t
  input label: id(C)
  param embed: [V, E]

  h = GRU(E, H)(embed[words])
  logits = Dense(H, C)(h[last])
  label ~ categorical(logits)

  metric accuracy = argmax(logits) == label

  train { optimizer = adam(lr = 0.02), batch = 8, epochs = 3 }
}
";

const TRANSLATE: &str = "\
model Translate(S, T, E = 4, H = 6) {
  input source: id(S) over s
  input target: id(T) over t
  param embed_s: [S, E], embed_t: [T, E]

  enc = GRU(E, H)(embed_s[source])
  dec = GRU(E, H)(embed_t[target[t-1]], h = enc.h[last])
  target[t] ~ categorical(Dense(H, T)(dec.h))

  train { optimizer = adam(lr = 0.02), batch = 8, epochs = 2 }
}
";

/// Sentences of different lengths (one without a word) and their label.
fn sentences(count: usize) -> Vec<(String, &'static str)> {
    let of = |n: usize| {
        let (word, label) = if n.is_multiple_of(2) { ("good", "pos") } else { ("bad", "neg") };
        let mut words: Vec<&str> = ["the", "film", "is", "so", "so", "long"][..n % 7].to_vec();
        if !words.is_empty() {
            words.push(word);
        }
        (words.join(" "), label)
    };
    (0..count).map(of).collect()
}

fn workspace(name: &str, text: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write(name, text);
    workspace
}

fn run_of(workspace: &Workspace, name: &str) -> Run {
    Run::load(&workspace.path(name)).unwrap()
}

/// The figure of a name in what `eval` says.
fn figure(ran: &Ran, name: &str) -> f64 {
    let line = ran.out.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn the_same_examples_in_every_format() {
    let workspace = workspace("m.rnn", SENTIMENT);
    let all = sentences(40);
    let csv = |(words, label): &(String, &str)| format!("{label},\"{words}\",7\n");
    let tsv = |(words, label): &(String, &str)| format!("7\t{words}\t{label}\n");
    let json =
        |(words, label): &(String, &str)| format!("{{\"words\": \"{words}\", \"label\": \"{label}\"}}\n");
    workspace.write("d.csv", format!("label,words,other\n{}", all.iter().map(csv).collect::<String>()));
    workspace.write("d.tab", format!("other\tWords\tlabel\n{}", all.iter().map(tsv).collect::<String>()));
    workspace.write("d.json", all.iter().map(json).collect::<String>());
    workspace.write("d.words", all.iter().map(|(words, _)| format!("{words}\n")).collect::<String>());
    workspace.write("d.labels", all.iter().map(|(_, label)| format!("{label}\n")).collect::<String>());
    let ways = [
        "--data d.csv",
        "--data d.tab",
        "--data d.json --format jsonl",
        "--lines words=d.words --lines label=d.labels",
    ];
    let mut found: Vec<(String, Vec<f32>)> = Vec::new();
    for (number, way) in ways.into_iter().enumerate() {
        let ran = workspace.run(&format!("train m.rnn {way} --holdout 0.2 --out run{number}")).fine();
        let run = run_of(&workspace, &format!("run{number}"));
        assert_eq!((run.meta.dims["V"], run.meta.dims["C"]), (8, 2), "{ran:?}");
        found
            .push((workspace.run(&format!("eval run{number}")).fine().out, run.parameters.values().to_vec()));
        // The held-out part is the last eight.
        let held_out = workspace.run(&format!("eval run{number}")).fine();
        assert!(
            held_out.out.contains("the held-out part of d.") && held_out.out.contains(": 8 examples"),
            "{held_out:?}"
        );
        let whole = workspace.run(&format!("eval run{number} {way}")).fine();
        assert!(whole.out.contains(": 40 examples"), "{whole:?}");
    }
    assert!(found.iter().all(|(_, weights)| *weights == found[0].1));
    // Any form serves any run.
    let other = workspace.run("eval run0 --lines words=d.words --lines label=d.labels").fine();
    assert_eq!(figure(&other, "loss"), figure(&workspace.run("eval run3 --data d.csv").fine(), "loss"));
    let run = run_of(&workspace, "run0");
    let fields = run.meta.fields.as_ref().unwrap();
    assert_eq!(fields.lexicon("label").unwrap().token(1).as_deref(), Some("pos"));
    assert_eq!((fields.end("words"), fields.lexicon("words").unwrap().id("film")), (None, Some(2)));
    workspace.run("eval run0 --npz d.npz").fails(1, &["records (--data, --lines)"]);
    workspace.run("eval run0 --text d.words").fails(1, &["records (--data, --lines)"]);
}

#[test]
fn what_is_read_from_records_is_what_arrays_say() {
    let workspace = workspace("m.rnn", SENTIMENT);
    workspace.write("d.csv", "words,label\nthe film,b\n,a\nfilm the unheard,a\n");
    workspace.write("train.csv", "words,label\nthe film,b\nthe film the,a\n".repeat(10));
    let rows = "the film,b\nthe film the,a\n".repeat(10);
    workspace.write("train.csv", format!("words,label\n{rows}"));
    workspace.run("train m.rnn --data train.csv --holdout 0 --out run").fine();
    // film, the: 1, 2.
    let words = [2, 1, 0, 9, 9, 9, 1, 2, 0];
    let arrays = [
        ("words", &[3, 3][..], Values::I64(&words)),
        ("t", &[3], Values::I64(&[2, 0, 3])),
        ("label", &[3], Values::I64(&[1, 0, 0])),
    ];
    write(&workspace.path("in.npz"), &arrays).unwrap();
    workspace.run("run m.rnn --weights run --data d.csv --output a.npz --grad a.g.npz").fine();
    workspace
        .run("run m.rnn --set V=3 --set C=2 --weights run --input in.npz --output b.npz --grad b.g.npz")
        .fine();
    assert_eq!(workspace.read("a.npz"), workspace.read("b.npz"));
    assert_eq!(workspace.read("a.g.npz"), workspace.read("b.g.npz"));
    workspace.run("run m.rnn --weights in.npz --data d.csv --output c.npz").fails(1, &["in.npz"]);
    workspace
        .run("run m.rnn --weights run --data d.csv --input in.npz --output c.npz")
        .fails(2, &["data of one kind"]);
}

#[test]
fn what_is_written_ends_with_end() {
    let workspace = workspace("m.rnn", TRANSLATE);
    let line =
        |n: usize| (0..n % 5).map(|k| ["a", "b", "c"][(n + k) % 3]).collect::<Vec<_>>().join(" ") + "\n";
    let de: String = (0..40).map(line).collect();
    workspace.write("de", &de);
    workspace.write("en", de.to_uppercase());
    let ran = workspace.run("train m.rnn --lines source=de --lines target=en --out run").fine();
    assert!(ran.out.contains("held-out"), "{ran:?}");
    let run = run_of(&workspace, "run");
    let fields = run.meta.fields.as_ref().unwrap();
    // a, b, c and the unknown word; END besides in what is drawn.
    assert_eq!((run.meta.dims["S"], run.meta.dims["T"]), (4, 5));
    assert_eq!((fields.end("source"), fields.end("target")), (None, Some(4)));
    workspace.run("run m.rnn --weights run --lines source=de --lines target=en --output out.npz").fine();
    let out = read(&workspace.path("out.npz")).unwrap();
    let (s, t) = (out["s"].integers().unwrap().to_vec(), out["t"].integers().unwrap().to_vec());
    assert!(s.iter().zip(&t).all(|(s, t)| s + 1 == *t) && s[..5] == [0, 1, 2, 3, 4]);
    // Characters of the one, words of the other; a word must occur often enough.
    let more = "--tokens source=chars --min-count 1000";
    workspace.run(&format!("train m.rnn --lines source=de --lines target=en {more} --out other")).fine();
    let run = run_of(&workspace, "other");
    assert_eq!((run.meta.dims["S"], run.meta.dims["T"]), (1, 2));
    workspace.run("run m.rnn --weights other --lines source=de --lines target=en --output out.npz").fine();
    let out = read(&workspace.path("out.npz")).unwrap();
    assert_eq!(out["s"].integers().unwrap()[..5], [0, 1, 3, 5, 7]);
    // Ids that are there already.
    let ids: String = (0..40).map(|n| format!("{} 7\n", n % 4)).collect();
    workspace.write("ids", &ids);
    workspace
        .run("train m.rnn --lines source=de --lines target=ids --tokens target=ids --out ids.run")
        .fine();
    let run = run_of(&workspace, "ids.run");
    assert_eq!((run.meta.dims["T"], run.meta.fields.as_ref().unwrap().end("target")), (8, None));
    workspace.write("ids", ids.replace("2 7\n", "2 x\n"));
    workspace
        .run("train m.rnn --lines source=de --lines target=ids --tokens target=ids --out new")
        .fails(1, &["ids:3: the label `x` is not a whole number from 0 to 7, as `target` needs"]);
    // Two inputs of one dimension have one vocabulary.
    workspace.write(
        "tied.rnn",
        TRANSLATE.replace("Translate(S, T,", "Translate(S,").replace("T", "S").replace("SranSlate", "T"),
    );
    workspace.run("train tied.rnn --lines source=de --lines target=en --out tied").fine();
    let run = run_of(&workspace, "tied");
    assert_eq!(run.meta.dims["S"], 8);
    let fields = run.meta.fields.as_ref().unwrap();
    assert_eq!((fields.end("source"), fields.end("target")), (None, Some(7)));
}

#[test]
fn a_tag_for_every_word() {
    let text = "\
model Tagger(V, K, E = 4, H = 6) {
  input words: id(V) over t
  input tags: id(K) over t
  param embed: [V, E]

  f = GRU(E, H)(embed[words])
  b = GRU(E, H)(embed[words], backward)
  tags ~ categorical(Dense(2 * H, K)([f, b]))
}
";
    let workspace = workspace("m.rnn", text);
    let json =
        "{\"words\": [\"New York\", \"is\", \"big\"], \"tags\": \"N V A\"}\n{\"words\": [], \"tags\": []}\n";
    workspace.write("d.jsonl", json.repeat(10));
    workspace.run("train m.rnn --data d.jsonl --epochs 1 --out run").fine();
    let run = run_of(&workspace, "run");
    assert_eq!((run.meta.dims["V"], run.meta.dims["K"]), (4, 3));
    let fields = run.meta.fields.as_ref().unwrap();
    assert_eq!((fields.end("tags"), fields.lexicon("tags").unwrap().unknown()), (None, None));
    workspace.write(
        "bad.jsonl",
        "{\"words\": \"a b\", \"tags\": \"N V\"}\n{\"words\": \"a b\", \"tags\": \"N\"}\n",
    );
    workspace
        .run("eval run --data bad.jsonl")
        .fails(1, &["bad.jsonl:2: `tags` has 1 positions along `t`, but `words` has 2"]);
    workspace.write("bad.jsonl", "{\"words\": \"a b\", \"tags\": \"N X\"}\n");
    workspace
        .run("eval run --data bad.jsonl")
        .fails(1, &["bad.jsonl:1: the label `X` of `tags` does not occur in the training part, which has `A`, `N`, `V`"]);
}

#[test]
fn real_inputs_of_every_form() {
    let text = "\
model Sums(D = 2, H = 4) {
  input x: [D] over t
  input k: [D]
  input c: []
  input y: []

  h = GRU(D, H)(x + k)
  y ~ normal(sum(Dense(H, 1)(h[last])) + c)
}
";
    let workspace = workspace("m.rnn", text);
    let csv = "x.0,x.1,k,c,y\n1 2 3,4 5 6,0 1,7,8\n,,2 2,0.5,-1e1\n";
    let lines = "{\"x\": [[1, 4], [2, 5], [3, 6]], \"k\": [0, 1], \"c\": 7, \"y\": 8}\n{\"x\": [], \"k\": \"2 2\", \"c\": \"0.5\", \"y\": -10}\n";
    let one = "x,k.0,k.1,c,y\n\"[[1, 4], [2, 5], [3, 6]]\",0,1,7,8\n,2,2,0.5,-10\n";
    workspace.write("a.csv", csv);
    workspace.write("b.jsonl", lines);
    workspace.write("c.csv", one);
    let mut found = Vec::new();
    for name in ["a.csv", "b.jsonl", "c.csv"] {
        workspace.run(&format!("train m.rnn --data {name} --holdout 0 --out run")).fine();
        workspace.run(&format!("run m.rnn --weights run --data {name} --output out.npz")).fine();
        found.push(workspace.read("out.npz"));
    }
    assert!(found.iter().all(|out| *out == found[0]));
    workspace.run("train m.rnn --data a.csv --holdout 0 --standardize --out run").fine();
    let run = run_of(&workspace, "run");
    let standard = run.meta.fields.as_ref().unwrap().standard("x").unwrap().clone();
    assert_eq!(standard.mean, [2.0, 5.0]);
    let wrong = [
        ("x.0,x.1,k,c,y\n1 2 3,4 5,0 1,7,8\n", "bad.csv:2: `x` has 3 numbers in one column and 2 here"),
        (
            "x.0,x.1,k,c,y\n1 2,4 5,0 1,7,8\n1,4,0 1,seven,8\n",
            "bad.csv:3: `c` is `seven`, which is not a number",
        ),
        ("x.0,x.1,k,c,y\n1,4,0,7,8\n", "bad.csv:2: `k` has 1 numbers, where [2] needs 2"),
        ("x.0,x.1,k,c,y\n1,4,0 1,,8\n", "bad.csv:2: `c` has no value"),
        ("x.0,x.1,k,y\n1,4,0 1,8\n", "bad.csv:1: no column `c` for the model's input"),
        ("x.0,x.1,x.2,k,c,y\n1,4,1,0 1,1,8\n", "bad.csv:1: 3 columns for `x`, which is [2]"),
        (
            "x,k,c,y\n1 2 3,0 1,1,8\n",
            "bad.csv:2: `x` has 3 numbers, which are no whole number of steps of [2]",
        ),
        ("x,k,c,y\n1 2,0 1,1e999,8\n", "bad.csv:2: `c` is `1e999`, which is not a number"),
    ];
    for (text, words) in wrong {
        workspace.write("bad.csv", text);
        for command in ["train m.rnn --data bad.csv --holdout 0 --out new", "eval run --data bad.csv"] {
            workspace.run(command).fails(1, &[words]);
        }
    }
    assert!(!workspace.files().contains(&"new".to_string()));
}

#[test]
fn bad_records() {
    let workspace = workspace("m.rnn", SENTIMENT);
    let good: String = sentences(20).iter().map(|(words, label)| format!("{words},{label}\n")).collect();
    workspace.write("good.csv", format!("words,label\n{good}"));
    workspace.run("train m.rnn --data good.csv --out run").fine();
    let files = workspace.files().len() + 1;
    let wrong: &[(&[u8], &str)] = &[
        (b"", "bad.csv is empty"),
        (b"words,label\n", "bad.csv has a header, but no row"),
        (b"words,label\na,pos\nb\n", "bad.csv:3: a row of 1 field where the header has 2 fields"),
        (b"words,label\n\"a,pos\nb,neg\n", "bad.csv:2: a quote that is not closed"),
        (b"words,label\n\"a\"b,pos\n", "bad.csv:2: text behind a closing quote"),
        (b"words,words\na,pos\n", "bad.csv:1: two columns are named `words`"),
        (
            b"word,label\na,pos\n",
            "bad.csv:1: no column `words` for the model's input of that name; there are: `word`, `label`",
        ),
        (b"words,label\na,pos\nb,\n", "bad.csv:3: `label` has no value"),
        (b"words,label\na,pos\nb\xff,neg\n", "bad.csv is not UTF-8"),
    ];
    for (text, words) in wrong {
        workspace.write("bad.csv", text);
        for command in [
            "train m.rnn --data bad.csv --holdout 0 --out new",
            "train m.rnn --data good.csv --valid bad.csv --out new",
            "eval run --data bad.csv",
        ] {
            workspace.run(command).fails(1, &[words]);
        }
        assert_eq!(workspace.files().len(), files, "{words}");
    }
    workspace.write("bad.csv", "words,label\na,pos\nb,neutral\n");
    workspace
        .run("eval run --data bad.csv")
        .fails(1, &["bad.csv:3: the label `neutral` of `label`", "`neg`, `pos`"]);
    workspace
        .run("train m.rnn --data good.csv --set V=3 --out new")
        .fails(1, &["`words` is 3 wide", "--set"]);
    workspace
        .run("train m.rnn --data good.csv --tokens text=chars --out new")
        .fails(1, &["no such input", "words, label"]);
    workspace
        .run("train m.rnn --data good.csv --column label=kind --out new")
        .fails(1, &["no column `kind`"]);
    workspace.run("train m.rnn --data none.csv --out new").fails(1, &["none.csv"]);
    workspace.run("train m.rnn --data good.txt --out new").fails(2, &["--format"]);
    workspace.run("train m.rnn --data good.csv --npz x.npz --out new").fails(2, &["one kind"]);
    workspace.run("train m.rnn --format csv --npz x.npz --out new").fails(2, &["--format"]);
    workspace.run("train m.rnn --lines words=a --lines words=b --out new").fails(2, &["twice"]);
    for flag in ["--valid-lines", "--load"] {
        let twice = format!("train m.rnn --lines words=a {flag} words=a {flag} words=b --out new");
        workspace.run(&twice).fails(2, &[&format!("{flag} names `words` twice")]);
    }
    workspace.run("train m.rnn --out new").fails(2, &["nothing to train on"]);
    workspace.write("two", "a\nb\n");
    workspace.write("three", "pos\nneg\npos\n");
    workspace
        .run("train m.rnn --lines words=two --lines label=three --out new")
        .fails(1, &["two has 2 lines and three has 3"]);
    workspace
        .run("train m.rnn --lines words=two --lines labels=two --out new")
        .fails(1, &["no file for the model's input `label`", "`words`, `labels`"]);
    workspace
        .run("train m.rnn --lines words=two --lines label=two --valid three --out new")
        .fails(2, &["--valid-lines"]);
    workspace.run("train m.rnn --data good.csv --valid-lines words=two --out new").fails(2, &["--valid"]);
    // A number of classes that the model says, and a number beyond it.
    workspace.write("fixed.rnn", SENTIMENT.replace("C,", "C = 3,"));
    workspace.write("numbers.csv", "words,label\na,0\nb,1\n".to_string() + &"a,0\n".repeat(9) + "c,3\n");
    workspace
        .run("train fixed.rnn --data numbers.csv --out new")
        .fails(1, &["numbers.csv:13: the label `3` is not a whole number from 0 to 2"]);
    workspace.write("trees.rnn", "model M(V = 9) {\n  input w: id(V) over tree n\n  param e: [V, 2]\n  h = TreeGRU(2, 2)(e[w])\n  loss l = sum(h[root])\n}\n");
    workspace.run("train trees.rnn --data good.csv --out new").fails(1, &["--trees"]);
    assert!(!workspace.files().contains(&"new".to_string()));
}

#[test]
fn a_run_over_records_goes_on_bit_for_bit() {
    let workspace = workspace("m.rnn", SENTIMENT);
    let text: String = sentences(60).iter().map(|(words, label)| format!("{words},{label}\n")).collect();
    workspace.write("d.csv", format!("words,label\n{text}"));
    workspace.run("train m.rnn --data d.csv --threads 1 --out whole").fine();
    workspace.run("train m.rnn --data d.csv --threads 2 --max-steps 9 --out parts").fine();
    workspace.run("train --resume --out parts").fine();
    assert_eq!(workspace.read("whole"), workspace.read("parts"));
    workspace.run("train --resume --out parts --tokens chars").fails(1, &["read in another way"]);
    workspace.write("d.csv", format!("words,label\n{text}a,pos\n"));
    workspace.run("train --resume --out parts --epochs 9").fails(1, &["d.csv is not the data"]);
}

const FORECAST: &str = "\
model Forecast(H = 6) {
  input past: [] over s
  input future: [] over t

  enc = GRU(1, H)([past])
  dec = GRU(1, H)([future[t-1]], h = enc.h[last])
  mean = sum(Dense(H, 1)(dec))
  future[t] ~ normal(mean)

  metric error = abs(mean - future)

  train {
    optimizer = adam(lr = 0.02), batch = 8, epochs = 2
    rows = steps, window = each(s = 4, t = 2), columns = each(past = Passengers, future = Passengers)
  }
}
";

/// Twenty rows whose number is their place.
fn series(name: &str) -> String {
    (0..20).fold(format!("Month,{name}\n"), |text, row| text + &format!("m{row},{row}\n"))
}

#[test]
fn windows_of_a_series() {
    let workspace = workspace("m.rnn", FORECAST);
    workspace.write("d.csv", series("Passengers"));
    // Windows of six rows within the first sixteen, and those whose last two are behind them.
    let ran = workspace.run("train m.rnn --data d.csv --holdout 0.2 --out run").fine();
    let held_out = workspace.run("eval run").fine();
    assert!(held_out.out.contains(": 3 examples"), "{ran:?} {held_out:?}");
    assert_eq!(run_of(&workspace, "run").meta.position.step, 2 * 11u64.div_ceil(8));
    let whole = workspace.run("eval run --data d.csv").fine();
    assert!(whole.out.contains(": 15 examples"), "{whole:?}");
    workspace.run("run m.rnn --weights run --data d.csv --output out.npz").fine();
    let out = read(&workspace.path("out.npz")).unwrap();
    assert_eq!((out["dec"].shape[..2].to_vec(), out["s"].integers().unwrap()[0]), (vec![15, 2], 4));
    // Figures of the rows that are trained on, the same for both inputs.
    workspace.run("train m.rnn --data d.csv --holdout 0.2 --standardize --out run").fine();
    let run = run_of(&workspace, "run");
    let fields = run.meta.fields.as_ref().unwrap();
    assert_eq!(fields.standard("past").unwrap().mean, [7.5]);
    assert_eq!(fields.standard("past"), fields.standard("future"));
    let flags = "--window s=18,t=3";
    workspace
        .run(&format!("train m.rnn --data d.csv --holdout 0.2 {flags} --out new"))
        .fails(1, &["d.csv: the training part has no window of 21 steps", "has 16"]);
    workspace
        .run("train m.rnn --data d.csv --window s=18 --out new")
        .fails(1, &["its axis `t` has no window"]);
    workspace.run("train m.rnn --data d.csv --window u=18 --out new").fails(1, &["no such axis"]);
    workspace.write("bad.csv", series("Passengers").replace("m7,7", "m7,"));
    workspace.run("train m.rnn --data bad.csv --out new").fails(1, &["bad.csv:9: `past` has no value"]);
    workspace.write("plain.rnn", FORECAST.replace("window = each(s = 4, t = 2), ", ""));
    workspace
        .run("train plain.rnn --data d.csv --out new")
        .fails(1, &["it has the axes `s` and `t`", "--window s=N,t=N"]);
    assert!(!workspace.files().contains(&"new".to_string()));
}

#[test]
fn whole_series_and_groups() {
    let text = "\
model Forecast(H = 6) {
  input series: [] over t
  h = GRU(1, H)([series[t-1]])
  series[t] ~ normal(sum(Dense(H, 1)(h)))
  train { rows = steps, epochs = 2 }
}
";
    let workspace = workspace("m.rnn", text);
    workspace.write("d.csv", series("Series"));
    workspace.run("train m.rnn --data d.csv --holdout 0.25 --truncate 4 --out run").fine();
    // Fifteen steps in chunks of four, twice.
    assert_eq!(run_of(&workspace, "run").meta.position.step, 8);
    assert!(workspace.run("eval run").fine().out.contains(": 1 examples"));
    workspace.run("run m.rnn --weights run --data d.csv --output out.npz").fine();
    assert_eq!(read(&workspace.path("out.npz")).unwrap()["t"].integers(), Some(&[20][..]));
    workspace.run("train m.rnn --data d.csv --holdout 0.25 --window 5 --out run").fine();
    assert!(workspace.run("eval run").fine().out.contains(": 1 examples"));
    assert!(workspace.run("eval run --data d.csv").fine().out.contains(": 16 examples"));
    let grouped =
        (0..20).fold("Series,station\n".to_string(), |text, row| text + &format!("{row},s{}\n", row / 3));
    workspace.write("g.csv", grouped);
    workspace.run("train m.rnn --data g.csv --holdout 0.25 --group station --out run").fine();
    assert!(workspace.run("eval run").fine().out.contains(": 2 examples"));
    workspace.run("run m.rnn --weights run --data g.csv --output out.npz").fine();
    assert_eq!(read(&workspace.path("out.npz")).unwrap()["t"].integers(), Some(&[3, 3, 3, 3, 3, 3, 2][..]));
    workspace.run("train m.rnn --data g.csv --group town --out new").fails(1, &["g.csv:1: no column `town`"]);
    // A label of each sequence, and one for each step.
    let tagged = "\
model Tags(K, C, H = 6) {
  input x: [] over t
  input tag: id(K) over t
  input kind: id(C)
  h = GRU(1, H)([x])
  tag ~ categorical(Dense(H, K)(h))
  kind ~ categorical(Dense(H, C)(h[last]))
  train { rows = steps, group = station, epochs = 1 }
}
";
    workspace.write("tags.rnn", tagged);
    let row = |row: usize| format!("{row},{},{},s{}\n", ["up", "down"][row % 2], row / 3 % 3, row / 3);
    workspace.write("t.csv", (0..20).fold("x,tag,kind,station\n".to_string(), |text, at| text + &row(at)));
    workspace.run("train tags.rnn --data t.csv --out run").fine();
    let run = run_of(&workspace, "run");
    assert_eq!((run.meta.dims["K"], run.meta.dims["C"]), (2, 3));
}

#[test]
fn a_text_by_words() {
    let workspace = Workspace::with_tiny();
    workspace.write("words.txt", "the cat sat\nthe dog sat on the cat\n".repeat(30));
    let ran = workspace.run("train tiny.rnn --text words.txt --tokens words --batch 4 --out run").fine();
    assert!(ran.out.contains("words"), "{ran:?}");
    // cat, dog, on, sat, the, the end of a line, the unknown word.
    assert_eq!(run_of(&workspace, "run").meta.dims["V"], 7);
    let ran = workspace.run("eval run").fine();
    assert!(ran.out.contains(": 33 words"), "{ran:?}");
    let ran = workspace.run("eval run --text text.txt").fine();
    assert!(ran.out.contains("words"), "{ran:?}");
    let ran = workspace.run("generate run --length 30 --temperature 0.3 --prompt the__cat").fine();
    assert!(ran.out.starts_with("the cat") && ran.out.contains(" the "), "{ran:?}");
    workspace.run("train tiny.rnn --text words.txt --tokens words --min-count 40 --batch 4 --out run").fine();
    assert_eq!(run_of(&workspace, "run").meta.dims["V"], 5);
    workspace
        .run("train tiny.rnn --text words.txt --tokens words --set V=3 --out new")
        .fails(1, &["the text has 7 different words", "--set V=7"]);
}

#[test]
fn vectors_from_a_file() {
    let workspace = workspace("m.rnn", &SENTIMENT.replace("[V, E]", "[V, E] = frozen"));
    let rows = "the film,b\nthe film the,a\n".repeat(10);
    workspace.write("d.csv", format!("words,label\n{rows}"));
    workspace.write("v.txt", "of 9 9 9 9\nthe 1 2 3 4\n<unk> -1 0 0 0.5\n");
    let ran = workspace.run("train m.rnn --data d.csv --load embed=v.txt --out run").fine();
    assert!(ran.out.contains("embed: 2 of 3 rows are from v.txt"), "{ran:?}");
    // film, the: 1, 2; nothing moves what is frozen.
    let run = run_of(&workspace, "run");
    let embed = run.parameters.get("embed").unwrap();
    assert_eq!((&embed[..4], &embed[8..]), (&[-1.0, 0.0, 0.0, 0.5][..], &[1.0, 2.0, 3.0, 4.0][..]));
    let matrix: Vec<f32> = (0..12u8).map(f32::from).collect();
    write(&workspace.path("v.npz"), &[("anything", &[3, 4], Values::F32(&matrix))]).unwrap();
    workspace.run("train m.rnn --data d.csv --load embed=v.npz --out other").fine();
    assert_eq!(run_of(&workspace, "other").parameters.get("embed"), Some(&matrix[..]));
    // A run is a file of matrices, too; what is not frozen is tuned.
    workspace.write("tuned.rnn", SENTIMENT);
    workspace.run("train tuned.rnn --data d.csv --load embed=other --out tuned").fails(1, &["not UTF-8"]);
    std::fs::rename(workspace.path("other"), workspace.path("other.safetensors")).unwrap();
    workspace.run("train tuned.rnn --data d.csv --load embed=other.safetensors --out tuned").fine();
    assert_ne!(run_of(&workspace, "tuned").parameters.get("embed"), Some(&matrix[..]));
    workspace.write("wide.txt", "the 1 2 3 4 5\n");
    for (load, words) in [
        ("embed=wide.txt", "wide.txt:1: a vector of 5 numbers, but the parameter is 4 wide"),
        ("embed=none.txt", "none.txt"),
        ("embedding=v.txt", "no parameter of this name; it has: embed,"),
        ("h.b_r=v.txt", "has shape [6], and what is loaded is a matrix"),
        ("embed=d.csv", "d.csv:1: a vector of"),
    ] {
        workspace.run(&format!("train m.rnn --data d.csv --load {load} --out new")).fails(1, &[words]);
    }
    workspace.run("train --resume --out run --load embed=v.txt").fails(1, &["beginning of a run"]);
    assert!(!workspace.files().contains(&"new".to_string()));
}
