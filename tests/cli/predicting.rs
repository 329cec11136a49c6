//! `predict`, `generate` and `eval --decode`: what they write, and what they refuse.

use rnnc::runtime::npz::{Values, write};

use super::{Ran, Workspace};

/// Copies a sequence backwards: id 0 ends it.
const REVERSE: &str = "\
cell Attend(E, H) {
  input x: [E]
  input memory: [H] over s
  param W_q, W_m: [H, H], v: [H]

  weight = softmax(dot(v, tanh(W_q @ dec.h[t-1] + W_m @ memory)) over s)
  context = sum(weight * memory over s)
  dec = GRU(E + H, H)([x, context])
}

model Reverse(S = 5, E = 8, H = 24) {
  input source: id(S) over s
  input target: id(S) over t
  param embed_s, embed_t: [S, E]

  enc = GRU(E, H)(embed_s[source], backward)
  att = Attend(E, H)(embed_t[target[t-1]], enc)
  target[t] ~ categorical(Dense(2 * H, S)([att.dec, att.context]))

  train { optimizer = adam(lr = 0.02), batch = 20, epochs = 60 }
}
";

/// All sequences of one to four of three ids, some of them several times.
fn sequences() -> Vec<Vec<usize>> {
    (0..324usize).map(|n| (0..=n % 4).map(|at| 1 + n / 4 / 3usize.pow(at as u32) % 3).collect()).collect()
}

/// Sequences, what comes out of them, and a few without the answers.
fn reversed(workspace: &Workspace) {
    let lines = sequences();
    let count = lines.len();
    let mut source = vec![0i64; count * 4];
    let mut target = vec![0i64; count * 5];
    for (row, line) in lines.iter().enumerate() {
        for (at, &id) in line.iter().enumerate() {
            source[row * 4 + at] = id as i64;
            target[row * 5 + line.len() - 1 - at] = id as i64;
        }
    }
    let s: Vec<i64> = lines.iter().map(|line| line.len() as i64).collect();
    let t: Vec<i64> = lines.iter().map(|line| line.len() as i64 + 1).collect();
    let all: [(&str, &[usize], Values); 4] = [
        ("source", &[count, 4], Values::I64(&source)),
        ("target", &[count, 5], Values::I64(&target)),
        ("s", &[count], Values::I64(&s)),
        ("t", &[count], Values::I64(&t)),
    ];
    write(&workspace.path("all.npz"), &all).unwrap();
    let few = [1, 2, 3, 3, 3, 0, 0, 0, 2, 3, 0, 0];
    let few: [(&str, &[usize], Values); 2] =
        [("source", &[3, 4], Values::I64(&few)), ("s", &[3], Values::I64(&[4, 1, 2]))];
    write(&workspace.path("new.npz"), &few).unwrap();
}

#[test]
fn sequences_are_translated_shown_and_measured() {
    let workspace = Workspace::new();
    workspace.write("reverse.rnn", REVERSE);
    reversed(&workspace);
    workspace.run("train reverse.rnn --npz all.npz --holdout 0 --out run").fine();
    let lines = |ran: Ran| -> Vec<String> { ran.fine().out.lines().map(str::to_string).collect() };
    let found = lines(workspace.run("predict run --input new.npz --end 0"));
    assert_eq!(found[0], "target,target.log_probability");
    let texts: Vec<&str> = found[1..].iter().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(texts, ["3 3 2 1", "3", "3 2"]);
    assert_eq!(found, lines(workspace.run("predict run --input new.npz --end 0 --beam 1 --threads 2")));
    let best = lines(workspace.run("predict run --input new.npz --end 0 --beam 3 --count 2 --format jsonl"));
    assert_eq!(best.len(), 6);
    assert!(
        best[0].starts_with("{\"example\": 1, \"number\": 1, \"target\": [3, 3, 2, 1], \"target.log_prob"),
        "{best:?}"
    );
    for line in &best {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    // A map below each, the words of both sides around it.
    let shown = workspace.run("predict run --input new.npz --end 0 --show att.weight").fine().out;
    assert_eq!(shown.matches("att.weight: t down, s across").count(), 3, "{shown}");
    assert!(shown.contains("   1 2 3 3 \n3 |") && shown.contains("\n1 |"), "{shown}");
    workspace.run("predict run --input new.npz --end 0 --show weight").fails(1, &["`att.weight`"]);
    workspace.run("predict run --input new.npz --end 0 --show enc").fine();
    workspace.run("predict run --input new.npz --end 0 --show att.W_q").fails(1, &["no value `att.W_q`"]);
    // Into a file, wholly or not at all.
    let ran = workspace.run("predict run --input new.npz --end 0 --output out.csv").fine();
    assert_eq!(ran.out, "wrote out.csv\n");
    assert_eq!(String::from_utf8(workspace.read("out.csv")).unwrap().lines().collect::<Vec<_>>(), found);
    workspace.run("predict run --input missing.npz --end 0 --output none.csv").fails(1, &["missing.npz"]);
    assert!(!workspace.files().contains(&"none.csv".to_string()));
    // How often it is right.
    let measured = workspace.run("eval run --npz all.npz --decode --end 0").fine().out;
    let row = |name: &str| -> f64 {
        let line = measured.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{measured}"));
        line.split_whitespace().last().unwrap().parse().unwrap()
    };
    assert!(row("decoded target exact") > 0.9 && row("decoded target edits") < 0.05, "{measured}");
    // The same by `generate`, which draws unless it is told not to.
    let written = workspace.run("generate run --input new.npz --greedy --end 0").fine().out;
    assert_eq!(written, " 3 3 2 1\n 3\n 3 2\n");
    let drawn =
        workspace.run("generate run --input new.npz --count 3 --end 0 --temperature 3 --length 6").fine().out;
    assert_eq!(drawn.lines().count(), 9);
    workspace.run("generate run --end 0").fails(1, &["`source`", "--input"]);
    workspace.run("predict run --input new.npz").fails(1, &["how long `target`", "--length", "--end"]);
    workspace.run("predict run --input new.npz --end 9").fails(1, &["`--end 9`", "0 to 4"]);
    workspace.run("predict run --input new.npz --length 3").fine();
}

#[test]
fn classes_and_numbers_come_with_what_they_are() {
    let workspace = Workspace::new();
    workspace.write(
        "m.rnn",
        "model M(V = 4, H = 6) {
  input words: id(V) over t
  input label: id(3)
  input tags: id(2) over t
  input size: [2]
  input sum, good: [1]
  param embed: [V, H]
  h = GRU(H, H)(embed[words])
  label ~ categorical(Dense(H, 3)(h[last]))
  tags ~ categorical(Dense(H, 2)(h))
  size ~ normal(Dense(H, 2)(h[last]))
  sum ~ normal(Dense(H, 1)(h[last]))
  good ~ bernoulli(Dense(H, 1)(h[last]))
  train { epochs = 1, batch = 4 }
}
",
    );
    let words = [1i64, 2, 3, 0, 2, 1, 3, 3, 0, 0, 1, 2];
    let all: [(&str, &[usize], Values); 7] = [
        ("words", &[4, 3], Values::I64(&words)),
        ("t", &[4], Values::I64(&[3, 2, 1, 3])),
        ("label", &[4], Values::I64(&[0, 1, 2, 1])),
        ("tags", &[4, 3], Values::I64(&[0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1])),
        ("size", &[4, 2], Values::F64(&[0.0; 8])),
        ("sum", &[4, 1], Values::F64(&[1.0; 4])),
        ("good", &[4, 1], Values::F64(&[1.0, 0.0, 1.0, 0.0])),
    ];
    write(&workspace.path("all.npz"), &all).unwrap();
    let new: [(&str, &[usize], Values); 2] = [all[0], all[1]];
    write(&workspace.path("new.npz"), &new).unwrap();
    workspace.run("train m.rnn --npz all.npz --holdout 0 --out run").fine();
    let out = workspace.run("predict run --input new.npz").fine().out;
    let header =
        "label,label.probability,tags,tags.probability,size.0,size.1,sum.0,good.0,good.probability.0";
    assert_eq!(out.lines().next().unwrap(), header);
    assert_eq!(out.lines().count(), 5);
    let third: Vec<&str> = out.lines().nth(3).unwrap().split(',').collect();
    assert_eq!((third.len(), third[2].len()), (9, 1), "{out}");
    let all = workspace.run("predict run --input new.npz --probabilities").fine().out;
    assert!(all.starts_with("label,label.probability,label.p(0),label.p(1),label.p(2),tags,"), "{all}");
    let json = workspace.run("predict run --input new.npz --probabilities --format jsonl").fine().out;
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    let total: f64 =
        (0..3).map(|class| first["label.probabilities"][class.to_string()].as_f64().unwrap()).sum();
    assert!((total - 1.0).abs() < 1e-5);
    assert_eq!(first["tags"].as_array().unwrap().len(), 3);
    assert_eq!(first["tags.probabilities"][2].as_object().unwrap().len(), 2);
    assert_eq!(first["size"].as_array().unwrap().len(), 2);
    // Measured: how often each is right.
    let measured = workspace.run("eval run --npz all.npz --decode").fine().out;
    assert!(
        measured.contains("decoded label exact") && measured.contains("decoded tags exact"),
        "{measured}"
    );
    workspace.run("predict run --input new.npz --beam 3").fails(1, &["--beam"]);
    workspace.run("predict run --input new.npz --ahead 3").fails(1, &["--ahead"]);
    workspace.run("eval run --decode").fails(2, &["--data"]);
}

#[test]
fn a_series_goes_on_from_its_history() {
    let workspace = Workspace::new();
    workspace.write(
        "series.rnn",
        "model Series(H = 16) {
  input x: [1] over t
  h = GRU(1, H)(x[t-1])
  x[t] ~ normal(Dense(H, 1)(h))
  train { optimizer = adam(lr = 0.03), epochs = 150, batch = 10 }
}
",
    );
    let wave = |row: usize, at: usize| ((row as f64 + at as f64) * 0.7).sin();
    let x: Vec<f64> = (0..20).flat_map(|row| (0..24).map(move |at| wave(row, at))).collect();
    write(&workspace.path("x.npz"), &[("x", &[20, 24, 1], Values::F64(&x))]).unwrap();
    workspace.run("train series.rnn --npz x.npz --holdout 0 --out run").fine();
    let history: Vec<f64> = (0..16).map(|at| wave(3, at)).chain((0..16).map(|at| wave(8, at))).collect();
    let t: (&str, &[usize], Values) = ("t", &[2], Values::I64(&[16, 12]));
    write(&workspace.path("h.npz"), &[("x", &[2, 16, 1], Values::F64(&history)), t]).unwrap();
    let out = workspace.run("predict run --input h.npz --ahead 4 --format jsonl").fine().out;
    for (line, (row, first)) in out.lines().zip([(3, 16), (8, 12)]) {
        let found: serde_json::Value = serde_json::from_str(line).unwrap();
        let found: Vec<f64> = found["x"].as_array().unwrap().iter().map(|x| x[0].as_f64().unwrap()).collect();
        assert_eq!(found.len(), 4);
        for (at, x) in found.iter().enumerate() {
            assert!((x - wave(row, first + at)).abs() < 0.25, "{found:?}");
        }
    }
    workspace.run("generate run").fails(1, &["`x`", "rnnc predict"]);
}

#[test]
fn a_text_is_written_in_every_way() {
    let workspace = Workspace::with_tiny();
    workspace.train("--epochs 8 --out run").fine();
    let out = |arguments: &str| workspace.run(&format!("generate run {arguments}")).fine().out;
    let greedy = out("--length 60 --greedy");
    assert_eq!(greedy, out("--length 60 --temperature 0 --seed 4"));
    assert_eq!(greedy, out("--length 60 --top-k 1 --seed 5"));
    assert_eq!(greedy, out("--length 60 --beam 1"));
    assert_ne!(out("--length 60 --top-p 0.9 --seed 5"), out("--length 60 --top-p 0.9 --seed 6"));
    // Several, a line each; the same on any number of threads; up to an end.
    let several = out("--length 30 --count 40 --top-k 4 --end .");
    assert_eq!(several, out("--length 30 --count 40 --top-k 4 --end . --threads 3"));
    assert_eq!(several.lines().count(), 40);
    assert!(several.lines().all(|line| !line.contains('.') && line.chars().count() <= 32), "{several}");
    assert!(several.lines().any(|line| line.chars().count() < 30));
    let best = out("--length 12 --beam 8 --count 3 --prompt abc");
    assert!(best.lines().count() == 3 && best.lines().all(|line| line.starts_with("abc")), "{best}");
    workspace.run("generate run --prompt @").fails(1, &["prompt", "'@'"]);
    workspace.run("generate run --end zz").fails(1, &["--end zz"]);
    for (flags, words) in [
        ("--beam 0", "--beam 1"),
        ("--beam 3 --count 4", "--beam 4"),
        ("--beam 3 --top-k 2", "--top-k"),
        ("--beam 3 --temperature 0.5", "draws nothing"),
        ("--beam 3 --length-penalty -1", "--length-penalty"),
        ("--top-p 0", "--top-p"),
        ("--top-p 1.5", "at most 1"),
        ("--top-p x", "--top-p"),
        ("--top-k 0", "--top-k"),
        ("--temperature -1", "--greedy"),
        ("--temperature nan", "--greedy"),
        ("--count 0", "--count"),
        ("--length 0", "above 0"),
        ("--greedy --top-k 2", "cannot be used with"),
        ("--length-penalty 1", "--beam"),
    ] {
        workspace.run(&format!("generate run {flags}")).fails(2, &[words]);
    }
    workspace.run("predict run").fails(2, &["--input"]);
    for command in ["predict", "generate"] {
        workspace
            .run(&format!("{command} run --lines text=a --lines text=b"))
            .fails(2, &["--lines names `text` twice"]);
    }
    assert!(workspace.run("generate --help").fine().out.contains("0: always the likeliest"));
}

#[test]
fn labels_of_trees_are_predicted() {
    let workspace = Workspace::new();
    workspace.write(
        "t.rnn",
        "model T(V = 9, C = 3, H = 6) {
  input word: id(V) over n.leaf
  input label: id(C) over tree n
  param embed: [V, H] = normal(0.5)
  h = TreeLSTM(H, H)(embed[word])
  label ~ categorical(Dense(H, C)(h))
  train { epochs = 2, batch = 2 }
}
",
    );
    workspace.write("t.txt", "(pos (pos good) (neu film))\n(neg (neg bad) (neu film))\n(neg bad)\n");
    workspace.run("train t.rnn --trees t.txt --holdout 0 --out run").fine();
    let out = workspace.run("predict run --input t.txt").fine().out;
    assert_eq!(out.lines().count(), 4);
    let first: Vec<&str> = out.lines().nth(1).unwrap().split(',').collect();
    assert_eq!(first[0].split(' ').count(), 3, "{out}");
    assert!(first[0].split(' ').all(|label| ["pos", "neg", "neu"].contains(&label)), "{out}");
    assert_eq!(out.lines().nth(3).unwrap().split(',').next().unwrap().split(' ').count(), 1);
}

#[test]
fn records_are_answered_in_their_own_words() {
    let workspace = Workspace::new();
    workspace.write("reverse.rnn", REVERSE.replace("epochs = 60", "epochs = 60, tokens = chars"));
    let letter = |id: usize| ['a', 'b', 'c'][id - 1];
    let words: Vec<String> =
        sequences().into_iter().map(|line| line.into_iter().map(letter).collect()).collect();
    let back = |word: &String| word.chars().rev().collect::<String>();
    let rows: String = words.iter().map(|word| format!("{word}\t{}\n", back(word))).collect();
    workspace.write("all.tsv", format!("source\ttarget\n{rows}"));
    workspace.write("new.tsv", "source\nabc\nb\nccab\n");
    workspace.write("new.txt", "abc\nb\nccab\n");
    workspace.run("train reverse.rnn --data all.tsv --holdout 0 --out run").fine();
    // END is known, and ids are letters again.
    let out = workspace.run("predict run --input new.tsv --show att.weight").fine().out;
    let texts: Vec<&str> =
        out.lines().filter_map(|line| line.split_once(",-")).map(|(text, _)| text).collect();
    assert_eq!(texts, ["cba", "b", "bacc"], "{out}");
    assert!(out.contains("   a b c \nc |"), "{out}");
    assert_eq!(workspace.run("generate run --lines source=new.txt --beam 2").fine().out, "cba\nb\nbacc\n");
    // The answers may be there; they are not looked at.
    let whole = workspace.run("predict run --input all.tsv --format jsonl").fine().out;
    assert_eq!(whole.lines().count(), words.len());
    let right = whole
        .lines()
        .zip(&words)
        .filter(|(line, word)| line.contains(&format!("\"target\": \"{}\"", back(word))));
    assert!(right.count() > 300);
    let measured = workspace.run("eval run --data all.tsv --decode").fine().out;
    assert!(measured.contains("decoded target exact"), "{measured}");
    workspace.run("predict run --input new.csv").fails(1, &["new.csv"]);
    workspace.write("other.csv", "text\nabc\n");
    workspace.run("predict run --input other.csv").fails(1, &["`source`", "`text`"]);
}

#[test]
fn labels_have_names_and_numbers_their_own_measure() {
    let workspace = Workspace::new();
    workspace.write(
        "m.rnn",
        "model M(V = 9, C = 3, H = 8) {
  input words: id(V) over t
  input label: id(C)
  input size: [1]
  param embed: [V, H]
  h = GRU(H, H)(embed[words])
  label ~ categorical(Dense(H, C)(h[last]))
  size ~ normal(Dense(H, 1)(h[last]))
  train { optimizer = adam(lr = 0.02), epochs = 40, batch = 4, standardize = true }
}
",
    );
    let rows = ["good film,pos,120", "bad film,neg,80", "a good one,pos,120", "a bad one,neg,80"].join("\n");
    workspace.write("all.csv", format!("words,label,size\n{}\n", [rows.as_str(); 4].join("\n")));
    workspace.write("new.csv", "words\na good film\nbad film\n\"\"\n");
    workspace.run("train m.rnn --data all.csv --holdout 0 --out run").fine();
    let out = workspace.run("predict run --input new.csv --probabilities").fine().out;
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0], ["label", "label.probability", "label.p(neg)", "label.p(pos)", "size.0"]);
    assert_eq!((lines[1][0], lines[2][0], lines.len()), ("pos", "neg", 4));
    let size = |line: usize| lines[line][4].parse::<f64>().unwrap();
    assert!((size(1) - 120.0).abs() < 10.0 && (size(2) - 80.0).abs() < 10.0, "{out}");
}

#[test]
fn a_text_streams_behind_what_is_drawn_for_it() {
    let workspace = Workspace::new();
    // A tag for each word, each behind the one before, and a text as long as it likes to be behind all of them.
    workspace.write(
        "m.rnn",
        "model M(V = 5, C = 3, T = 4, H = 8) {
  input source: id(V) over s
  input tags: id(C) over s
  input text: id(T) over t
  param embed: [V, H], tag: [C, H], out: [T, H]
  enc = GRU(H, H)(embed[source] + tag[tags[s-1]])
  tags[s] ~ categorical(Dense(H, C)(enc))
  dec = GRU(H, H)(out[text[t-1]], h = enc[last] + mean(tag[tags] over s))
  text[t] ~ categorical(Dense(H, T)(dec))
  train { optimizer = adam(lr = 0.03), epochs = 30, batch = 5 }
}
",
    );
    let row = |n: usize| -> String {
        let words: Vec<usize> = (0..3 + n % 3).map(|at| (n * 7 + at * at) % 5).collect();
        let tags = words.iter().map(|word| format!("t{}", word % 3));
        let text = words.iter().map(|word| ["a", "b"][word % 2]);
        let (tags, text): (Vec<String>, Vec<&str>) = (tags.collect(), text.collect());
        let words: Vec<String> = words.iter().map(|word| format!("w{word}")).collect();
        format!("{},{},{}\n", words.join(" "), tags.join(" "), text.join(" "))
    };
    let rows: String = (0..30).map(row).collect();
    workspace.write("all.csv", format!("source,tags,text\n{rows}"));
    workspace.write("one.csv", format!("source\n{}\n", row(4).split(',').next().unwrap()));
    workspace.run("train m.rnn --data all.csv --holdout 0 --out run").fine();
    // One is streamed, several are written when they are done.
    let one = workspace.run("generate run --input one.csv --greedy --length 9").fine().out;
    let two = workspace.run("generate run --input one.csv --greedy --length 9 --count 2").fine().out;
    assert_eq!(two, one.repeat(2));
    assert!(
        one.split_whitespace().count() > 1 && one.split_whitespace().all(|word| "ab".contains(word)),
        "{one}"
    );
    let one = workspace.run("generate run --input one.csv --greedy --length 3 --prompt b__a").fine().out;
    let two =
        workspace.run("generate run --input one.csv --greedy --length 3 --prompt b__a --count 2").fine().out;
    assert!(two == one.repeat(2) && one.starts_with("b a "), "{one}{two}");
    // Two sequences are drawn step by step, and a beam searches for one.
    workspace.run("generate run --input one.csv --beam 2").fails(1, &["several", "--beam"]);
}

#[test]
fn what_goes_on_from_its_history_does_not_go_on_from_its_end() {
    let workspace = Workspace::new();
    workspace.write(
        "m.rnn",
        "model M(V = 9, H = 16) {
  input text: id(V) over t
  param embed: [V, H]
  h = GRU(H, H)(embed[text[t-1]])
  text[t] ~ categorical(Dense(H, V)(h))
  train { optimizer = adam(lr = 0.03), epochs = 60, batch = 4 }
}
",
    );
    workspace.write("all.csv", "text\n".to_string() + &"a b c d\nb d\n".repeat(8));
    workspace.write("new.csv", "text\na b\na b c\nb\n");
    workspace.run("train m.rnn --data all.csv --holdout 0 --out run").fine();
    // The reader puts END behind each: what is there of a text is what stands before it.
    let out = workspace.run("predict run --input new.csv --ahead 4").fine().out;
    let texts: Vec<&str> = out.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(texts, ["c d", "d", "d"], "{out}");
}

#[test]
fn an_end_is_one_of_the_ids() {
    let workspace = Workspace::new();
    let model = "model M(V = 4, H = 4) {
  input source: id(V) over s
  input text: id(V) over t
  param embed: [V, H]
  enc = GRU(H, H)(embed[source])
  dec = GRU(H, H)(embed[text[t-1]], h = enc[last])
  text[t] ~ categorical(Dense(H, V)(dec))
  train { tokens = ids, epochs = 1 }
}
";
    workspace.write("m.rnn", model);
    workspace.write("all.csv", "source,text\n".to_string() + &"1 2 3,1 2 0\n".repeat(8));
    workspace.run("train m.rnn --data all.csv --holdout 0 --out run").fine();
    workspace.run("predict run --input all.csv --end 3").fine();
    // The ids that were in the data, and the ids of the model, both end at 3.
    workspace.run("predict run --input all.csv --end 4").fails(1, &["`--end 4`", "0 to 3"]);
    workspace.run("predict run --input all.csv --end x").fails(1, &["`--end x`"]);
}
