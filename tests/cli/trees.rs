//! Trees in files: trained on, measured, run, drawn and made.

use rnnc::runtime::npz::{Values, read, write};
use rnnc::testing::Rng;

use super::{Ran, Workspace};

const ARITHMETIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/arithmetic.rnn");
const TREEBANK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/treebank.rnn");

/// A label at every node, words at leaves; any number of children.
const TAGS: &str = "\
model Tags(V, E = 4, H = 5, C = 3) {
  input word: id(V) over n.leaf
  input tag: id(C) over tree n
  param embed: [V, E]

  h = ChildSumTreeLSTM(E, H)(embed[word])
  tag ~ categorical(Dense(H, C)(h))

  train { batch = 4, epochs = 2 }
}
";

/// The same for two children at most.
fn binary() -> String {
    TAGS.replace("ChildSumTreeLSTM", "TreeLSTM")
}

/// A figure that `eval` prints.
fn figure(ran: &Ran, name: &str) -> f64 {
    let line = ran.out.lines().find(|line| line.trim_start().starts_with(name));
    line.and_then(|line| line.split_whitespace().last()?.parse().ok())
        .unwrap_or_else(|| panic!("{}", ran.out))
}

#[test]
fn a_network_evaluates_expressions() {
    let workspace = Workspace::new();
    workspace.run("data trees --count 4000 --seed 1 -o train.txt").fine();
    workspace.run("data trees --count 500 --seed 2 -o test.txt").fine();
    let ran = workspace.run(&format!("train {ARITHMETIC} --trees train.txt --epochs 10 --out run")).fine();
    assert!(ran.out.contains("held-out: nodes 0.") && ran.out.contains("trees/s"), "{}", ran.out);
    let ran = workspace.run("eval run --trees test.txt").fine();
    assert!(ran.out.starts_with("test.txt: 500 trees\n"), "{}", ran.out);
    assert!(figure(&ran, "metric nodes") > 0.95 && figure(&ran, "metric root") > 0.85, "{}", ran.out);
    let held_out = workspace.run("eval run").fine();
    assert!(held_out.out.starts_with("the held-out part of train.txt: 400 trees\n"), "{}", held_out.out);
}

/// Trees of words whose sum, kept within bounds, is the sentiment of every node.
fn reviews(seed: u64, count: usize) -> String {
    let mut rng = Rng::new(seed);
    let mut text = String::new();
    for _ in 0..count {
        let leaves = rng.between(1, 6);
        let mut stack: Vec<(i64, String)> = Vec::new();
        let label = |sum: i64| sum.clamp(-2, 2) + 2;
        for _ in 0..leaves {
            let (word, sum) = rng.one_of([
                ("dreadful", -2),
                ("dull", -1),
                ("film", 0),
                ("the", 0),
                ("good", 1),
                ("lovely", 2),
            ]);
            stack.push((sum, format!("({} {word})", label(sum))));
        }
        while stack.len() > 1 {
            let at = rng.below(stack.len() - 1);
            let (right, own) = (stack.remove(at + 1), &mut stack[at]);
            let sum = (own.0 + right.0).clamp(-2, 2);
            *own = (sum, format!("({} {} {})", label(sum), own.1, right.1));
        }
        text += &stack[0].1;
        text.push('\n');
    }
    text
}

#[test]
fn sentiment_at_every_node() {
    let workspace = Workspace::new();
    workspace.write("train.txt", reviews(1, 600));
    workspace.write("dev.txt", reviews(2, 100));
    let small = "--set E=24 --set H=24 --epochs 12 --batch 8";
    let ran = workspace
        .run(&format!("train {TREEBANK} --trees train.txt --valid dev.txt {small} --out run"))
        .fine();
    assert!(ran.out.contains("held-out: nodes 0."), "{}", ran.out);
    let dev = workspace.run("eval run").fine();
    assert!(dev.out.starts_with("dev.txt: 100 trees\n"), "{}", dev.out);
    assert!(figure(&dev, "metric nodes") > 0.9 && figure(&dev, "metric root") > 0.8, "{}", dev.out);
    // A word that training never saw is the unknown one.
    workspace.write("new.txt", "(2 (2 a) (3 (3 wonderful) (2 film)))\n");
    workspace.run("eval run --trees new.txt").fine();
    // The run has all that is needed.
    std::fs::remove_file(workspace.path("train.txt")).unwrap();
    let again = workspace.run("eval run --trees dev.txt").fine();
    assert_eq!(figure(&again, "loss"), figure(&dev, "loss"));
    workspace.run("eval run --npz dev.txt").fails(1, &["trained on trees (--trees)"]);
    workspace.run("generate run").fails(1, &["the tree `n`"]);
}

#[test]
fn the_same_bits_on_any_number_of_threads_and_resumed() {
    let workspace = Workspace::new();
    workspace.write("tags.rnn", TAGS.replace("batch = 4", "batch = 24"));
    workspace.write("train.txt", reviews(3, 120));
    let train =
        |more: &str| workspace.run(&format!("train tags.rnn --set C=5 --trees train.txt {more}")).fine();
    train("--threads 1 --out one");
    train("--threads 3 --out three");
    assert_eq!(workspace.read("one"), workspace.read("three"));
    let ran = train("--max-steps 7 --out parts");
    assert!(ran.out.contains("--resume --out parts"), "{}", ran.out);
    workspace.run("train --resume --out parts").fine();
    assert_eq!(workspace.read("parts"), workspace.read("one"));
    workspace.run("data trees --count 9 -o train.txt").fine();
    workspace.run("train --resume --out parts --epochs 4").fails(1, &["is not the data"]);
}

#[test]
fn names_are_labels_and_rare_words_unknown() {
    let workspace = Workspace::new();
    workspace.write("tags.rnn", TAGS.replace("epochs = 2", "epochs = 1, min_count = 2"));
    let line = "(S (NP (D the) (N cat)) (V sat) (V sat))\n";
    workspace.write("train.txt", line.repeat(3) + "(S (NP (D the) (N dog)) (V sat) (V ran))\n");
    let ran = workspace.run("train tags.rnn --trees train.txt --holdout 0 --out run").fine();
    assert!(ran.out.contains("epoch 1/1"), "{}", ran.out);
    // Five labels; the, cat, sat and the unknown word.
    let tensors = workspace.read("run");
    let tensors = safetensors::SafeTensors::deserialize(&tensors).unwrap();
    assert_eq!(tensors.tensor("embed").unwrap().shape(), [4, 4]);
    assert!(tensors.names().iter().any(|name| tensors.tensor(name).unwrap().shape() == [5, 5]));
    workspace.run("eval run").fails(1, &["nothing was held out"]);
    workspace.run("eval run --trees train.txt").fine();
    workspace.write("other.txt", "(S (NP (D the) (N cat)) (X sat))\n");
    workspace
        .run("eval run --trees other.txt")
        .fails(1, &["other.txt:1:26: the label `X` does not occur in the training part"]);
    workspace
        .run("train tags.rnn --trees train.txt --set V=2 --out new")
        .fails(1, &["`word` is 2 wide", "--set"]);
    workspace.run("train tags.rnn --trees train.txt --truncate 3 --out new").fails(2, &["as wholes"]);
}

#[test]
fn what_is_no_tree() {
    let workspace = Workspace::new();
    workspace.write("tags.rnn", TAGS);
    workspace.write("binary.rnn", binary());
    workspace.write("good.txt", "(1 (0 a) (2 b))\n".repeat(20));
    workspace.run("train binary.rnn --trees good.txt --out run").fine();
    let chain = |levels: usize| format!("{}(1 w){}\n", "(1 ".repeat(levels - 1), ")".repeat(levels - 1));
    let wrong = [
        ("(1 (0 a) (2 b)\n", "1:1: this parenthesis is not closed on its line"),
        ("(1 (0 a) (2 b)\n(1 (0 a) (2 b))\n", "1:1: this parenthesis is not closed on its line"),
        ("(1 (0 a) (2 b)))\n", "1:16: no parenthesis is open"),
        ("(1 (0 a) ((0 a) (2 b)))\n", "1:10: a node without a label"),
        ("(1 (0 a) (b))\n", "1:10: a node without a label"),
        ("(1 (0 a) (2 b)) (1 c)\n", "1:17: a second root"),
        ("(1 (0 a) (2 b))\n\n(1 (0 a) (2 b))\n", "2:1: an empty line"),
        ("(1 (0 a) (2 b))\n\n", "2:1: an empty line"),
        ("", "1:1: there is no tree"),
        ("(1 (0 a) (2 b) (2 c))\n", "1:1: a node with 3 children, but the model reads 2"),
        ("(1 (0 a) (2 b))\n(1 (0 a) (2 (0 b) (1 c) (2 d)))\n", "2:10: a node with 3 children"),
        ("(1 (0 a) (3 b))\n", "1:11: the label `3` is not a whole number from 0 to 2"),
        ("(1 (0 a) (-1 b))\n", "1:11: the label `-1` "),
        ("the cat sat\n", "1:1: `the` stands outside the parentheses"),
        ("(1 (0 a) b)\n", "1:10: `b` stands behind a child"),
        ("(1 ())\n", "1:4: a node without a word"),
        (&chain(1_000_000), "1:300001: more than 100000 nodes above one another"),
    ];
    let files = workspace.files().len() + 1;
    for (text, words) in wrong {
        workspace.write("bad.txt", text);
        for command in [
            "train binary.rnn --trees bad.txt --out made",
            "train binary.rnn --trees bad.txt --holdout 0 --out made",
            "train binary.rnn --trees good.txt --valid bad.txt --out made",
            "eval run --trees bad.txt",
            "run binary.rnn --weights run --trees bad.txt --output made.npz",
        ] {
            // Names are labels where one of those that are trained on is no number.
            if words.contains("`-1`") && command.contains("--holdout") {
                continue;
            }
            // What labels there may be is learned of a part that a single tree leaves empty.
            if words.contains("the label")
                && command.ends_with("bad.txt --out made")
                && !command.contains("--valid")
            {
                continue;
            }
            let ran = workspace.run(command).fails(1, &[&format!("bad.txt:{words}")]);
            assert_eq!(ran.err.lines().count(), 1, "{command}: {}", ran.err);
        }
        assert_eq!(workspace.files().len(), files, "{text}");
    }
    workspace.write("bad.txt", b"(1 (0 a) (2 \xff))\n");
    workspace
        .run("train tags.rnn --trees bad.txt --out made")
        .fails(1, &["bad.txt is not UTF-8", "offset 12"]);
    workspace.run("train tags.rnn --trees none.txt --out made").fails(1, &["none.txt"]);
    // Any number of children is the other model's business.
    workspace.write("three.txt", "(1 (0 a) (2 b) (2 c))\n".repeat(20));
    workspace.run("train tags.rnn --trees three.txt --out made").fine();
    workspace.write("flat.rnn", "model M() {\n  input x: [] over t\n  param w: []\n  loss l = w * x\n}\n");
    workspace
        .run("train flat.rnn --trees good.txt --out flat")
        .fails(1, &["`M` cannot read trees", "no tree"]);
    workspace
        .run("train binary.rnn --trees good.txt --holdout 0.999 --out new")
        .fails(1, &["of 20 examples"]);
}

#[test]
fn deep_trees_and_wide_ones() {
    let workspace = Workspace::new();
    workspace.write("tags.rnn", TAGS);
    workspace.write("binary.rnn", binary());
    let chain = format!("{}(1 w){}\n", "(1 ".repeat(4999), ")".repeat(4999));
    let comb = format!("{}(1 w){}\n", "(2 (0 a) ".repeat(4999), ")".repeat(4999));
    let star = format!("(1{})\n", " (0 a)".repeat(1000));
    workspace.write("deep.txt", format!("{chain}{comb}"));
    workspace.write("wide.txt", format!("{star}{chain}{comb}"));
    for (model, data) in [("binary.rnn", "deep.txt"), ("tags.rnn", "wide.txt")] {
        workspace.run(&format!("train {model} --trees {data} --holdout 0 --epochs 1 --out run")).fine();
        let ran = workspace.run(&format!("eval run --trees {data}")).fine();
        assert!(figure(&ran, "loss").is_finite(), "{}", ran.out);
    }
}

/// A text and arrays of the same trees give the same values and gradients.
#[test]
fn trees_as_arrays() {
    let workspace = Workspace::new();
    workspace.write("tags.rnn", TAGS);
    workspace.write("binary.rnn", binary());
    let text = "(1 (0 a) (2 (2 b) (0 a)))\n(2 b)\n(0 (1 (1 a)) (0 c))\n";
    workspace.write("trees.txt", text);
    for model in ["tags.rnn", "binary.rnn"] {
        workspace.run(&format!("train {model} --trees trees.txt --holdout 0 --out run")).fine();
        let run = |input: &str, name: &str| {
            let bound = if input.starts_with("--input") { "--set V=4" } else { "" };
            workspace
                .run(&format!(
                    "run {model} {bound} --weights run {input} --output {name}.npz --grad {name}.g.npz --precision f64"
                ))
                .fine();
        };
        run("--trees trees.txt", "text");
        let parents = [-1, 0, 0, 2, 2, -1, 77, 77, 77, 77, -1, 0, 1, 0, 77];
        let tags = [1, 0, 2, 2, 0, 2, 9, 9, 9, 9, 0, 1, 1, 0, 9];
        let arrays = [
            ("n.parent", &[3, 5][..], Values::I64(&parents)),
            ("n", &[3], Values::I64(&[5, 1, 4])),
            // a, b, c are 1, 2, 3.
            ("word", &[3, 3], Values::I64(&[1, 2, 1, 2, 9, 9, 1, 3, 9])),
            ("tag", &[3, 5], Values::I64(&tags)),
        ];
        write(&workspace.path("in.npz"), &arrays).unwrap();
        run("--input in.npz", "arrays");
        assert_eq!(workspace.read("text.npz"), workspace.read("arrays.npz"));
        assert_eq!(workspace.read("text.g.npz"), workspace.read("arrays.g.npz"));
        let out = read(&workspace.path("text.npz")).unwrap();
        assert_eq!(out["h"].shape, [3, 5, 5]);
        let parents = [-1, 0, 0, 2, 2, -1, -1, -1, -1, -1, -1, 0, 1, 0, -1];
        assert_eq!(out["n.parent"].integers(), Some(&parents[..]));
        assert_eq!(
            (out["n"].integers(), out["n.leaf"].integers()),
            (Some(&[5, 1, 4][..]), Some(&[3, 1, 2][..]))
        );
        assert!(!out.contains_key("n.child"), "{:?}", out.keys());
        // What a run wrote can be its input.
        assert!(out["h"].to_real().iter().any(|value| *value != 0.0));
        workspace.run(&format!("train {model} --set V=4 --npz in.npz --holdout 0 --out other")).fine();
        workspace.run("eval other --npz in.npz").fine();
    }
    let files = workspace.files();
    let cycle = [-1, 0, 3, 2, 2, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0];
    let [_, rest @ ..] = [
        ("n.parent", &[3, 5][..], Values::I64(&cycle)),
        ("n", &[3], Values::I64(&[5, 1, 4])),
        ("word", &[3, 3], Values::I64(&[1; 9])),
        ("tag", &[3, 5], Values::I64(&[1; 15])),
    ];
    let three = [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0];
    let two = [-1, 0, 0, -1, 0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0];
    for (parents, words) in [
        (cycle, "of example 0, the parent of node 2 is 3, but a parent comes before its children"),
        (three, "of example 0, node 0 has 4 children, but the model reads 2"),
        (two, "of example 0, node 3 is a second root"),
    ] {
        let mut arrays = vec![("n.parent", &[3, 5][..], Values::I64(&parents))];
        arrays.extend(rest);
        write(&workspace.path("in.npz"), &arrays).unwrap();
        for command in [
            "run binary.rnn --set V=4 --weights run --input in.npz --output made.npz",
            "train binary.rnn --set V=4 --npz in.npz --out made",
            "eval other --npz in.npz",
        ] {
            workspace.run(command).fails(1, &["array `n.parent` in in.npz: ", words]);
        }
    }
    // Weights alone have no words.
    workspace.run("run tags.rnn --weights in.npz --trees trees.txt --output made.npz").fails(1, &["in.npz"]);
    workspace
        .run("run tags.rnn --weights other --trees trees.txt --output made.npz")
        .fails(1, &["vocabulary"]);
    assert_eq!(workspace.files(), files);
}

#[test]
fn expressions_are_made_anew_by_the_same_seed() {
    let workspace = Workspace::new();
    let first = workspace.run("data trees --count 2100 --seed 5").fine();
    assert_eq!(first.out.lines().count(), 2100);
    let ran = workspace.run("data trees --count 2100 --seed 5 -o five.txt").fine();
    assert_eq!(ran.out, "wrote five.txt (2100 trees)\n");
    assert_eq!(workspace.read("five.txt"), first.out.as_bytes());
    // More of them begin with the same; another seed gives others.
    let more = workspace.run("data trees --count 2101 --seed 5").fine();
    assert!(more.out.starts_with(&first.out));
    assert_ne!(workspace.run("data trees --count 2100 --seed 6").fine().out, first.out);
    workspace.run("data trees --count 5 -o no/five.txt").fails(1, &["no/five.txt"]);
    assert_eq!(workspace.files(), ["five.txt"]);
}

#[test]
fn a_tree_is_drawn() {
    let workspace = Workspace::new();
    workspace.write("tags.rnn", binary().replace("Tags(V", "Tags(V = 9"));
    let draw = |stage: &str, tree: &str| {
        Ran::of(
            super::rnnc(&workspace.path(""))
                .args(["emit", "tags.rnn", "--stage", stage, "--tree", tree])
                .output()
                .unwrap(),
        )
    };
    let ran = draw("dot", "(2 (1 the) (0 (2 cat) (1 sat)))").fine();
    let label = |node: usize| ["0 2", "1 1 the", "2 0", "3 2 cat", "4 1 sat"][node];
    for node in 0..5 {
        let text = format!("label=\"node {}\"", label(node));
        assert!(ran.out.contains(&text), "{text} {}", ran.out);
        // Its state is in its cluster.
        let cluster = ran.out.split(&text).nth(1).unwrap().split("\n  }\n").next().unwrap();
        assert!(
            cluster.contains(&format!("\"h_{node} = ")) || cluster.contains(&format!("h.h_{node} = ")),
            "{cluster}"
        );
    }
    assert!(!ran.out.contains("loop over"), "{}", ran.out);
    assert!(draw("graph", "((a) (b))").fine().out.contains("_2"));
    let deep = format!("{}(1 a){}", "(2 (0 a) ".repeat(2999), ")".repeat(2999));
    let drawn = draw("dot", &deep).fine().out;
    assert_eq!(drawn.matches("label=\"node ").count(), 5999);
    draw("dot", "((a) (b)").fails(1, &["--tree:1:1: this parenthesis is not closed"]);
    draw("dot", "((a) (b) (c))").fails(1, &["--tree:1:1: a node with 3 children"]);
    draw("plan", "((a) (b))").fails(2, &["--tree is for the stages graph and dot"]);
}
