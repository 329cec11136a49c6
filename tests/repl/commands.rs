//! Every command on a model of each kind, and what is said of mistakes.

use rnnc::repl::Session;

use crate::support::{MODELS, on_large_stack, transcript, transcript_of};

/// Does a line that must work.
fn done(session: &mut Session, line: &str) -> String {
    let reply = session.run(line);
    assert!(!reply.failed, "{line}\n{}", reply.text);
    reply.text
}

#[test]
fn every_command_on_every_kind_of_model() {
    on_large_stack(|| {
        for (name, text, state, parameter) in MODELS {
            let folder = tempfile::tempdir().unwrap();
            let file = |name: &str| folder.path().join(name).display().to_string();
            let mut session = Session::default();
            done(&mut session, text);
            let mut run = |line: &str| done(&mut session, line);
            assert!(run(":summary").contains("total"));
            assert!(run(&format!(":show {name}")).starts_with("model "));
            assert!(run(&format!(":grad wrt {parameter}")).contains(&format!("d{parameter}")));
            assert!(run(":grad :raw").contains(" = "));
            assert!(run(&format!(":why d{state}")).contains("rule "));
            assert!(run(":data random steps 3").starts_with(name));
            assert!(run(":trace").contains("forward"));
            assert!(run(&format!(":break {state} when abs({state}) > 1000")).contains("1000"));
            assert!(run(":step").starts_with("-- "));
            assert!(run(":back").starts_with("-- "));
            assert!(run(&format!(":watch {state}")).contains("watching"));
            assert!(run(":continue").contains("no further break"));
            assert!(run(":break off").contains("no break"));
            assert!(run(":nan").contains("is a number"));
            let flow = file("flow.svg");
            let said = run(&format!(":flow steps 5 svg {flow}"));
            assert!(said.contains("a factor of") && said.contains("spectral radius"), "{said}");
            let heat = file("heat.svg");
            let map = if name == "Align" { "a".to_string() } else { state.to_string() };
            assert!(run(&format!(":heat {name}.{map} svg {heat}")).contains('|'));
            let (graph, unrolled) = (file("graph.svg"), file("unrolled.svg"));
            run(&format!(":graph grad svg {graph}"));
            run(&format!(":unroll 2 svg {unrolled}"));
            for path in [flow, heat, graph, unrolled] {
                let svg = std::fs::read_to_string(&path).unwrap();
                assert!(svg.contains("<svg") && svg.trim_end().ends_with("</svg>"), "{path}");
                assert!(
                    svg.contains("<text") && (svg.contains("<rect") || svg.contains("<polyline")),
                    "{path}"
                );
            }
            assert!(run(":unroll 2").starts_with("model "));
            assert!(run(":unroll 2 dot").starts_with("digraph "));
            assert!(run(":graph opt").contains("gradient "));
            assert!(run(":graph draw").contains('●') && run(":unroll 2 draw").contains('○'));
            let plan = run(":plan batch 3 steps 4");
            assert!(plan.contains("loop over") && plan.contains(" bytes ") && plan.contains(" = "), "{plan}");
            assert!(run(":passes").contains("== split"));
            let cost = run(":cost batch 3 steps 4");
            for word in ["forward, in loops", "backward, outside loops", "memory: ", "not one kernel"] {
                assert!(cost.contains(word), "{cost}");
            }
            assert!(run(":clif").contains("function"));
            assert!(run(":asm").len() > 1000);
            assert!(run(":opencl").contains("__kernel "));
            let check = run(":check");
            assert!(check.contains("forward mode: agrees") && !check.contains("does not"), "{check}");
            let loss = file("loss.svg");
            assert!(run(&format!(":train 4 svg {loss}")).contains("the loss went from"));
            assert!(run(":weights").contains(name));
            assert!(run(&format!(":weights {name} reset")).contains("begins with"));
            let saved = file("saved.rnn");
            run(&format!(":save {saved}"));
            assert!(run(&format!(":load {saved}")).contains(name));
            run(":reload");
            assert!(run(&format!(":type {name}.{state}")).contains("over"));
        }
    });
}

#[test]
fn what_a_model_costs_and_where_its_work_is() {
    let (_, text, ..) = MODELS[0];
    insta::assert_snapshot!(transcript(&[
        text,
        ":cost batch 2 steps 3",
        ":plan batch 2 steps 3",
        ":passes split"
    ]));
}

#[test]
fn mistakes_are_told_with_a_cure() {
    let (_, text, ..) = MODELS[0];
    insta::assert_snapshot!(transcript(&[
        ":grda",
        ":grad",
        text,
        ":grad Char",
        ":grad wrt W_y",
        ":why dhh",
        ":why h",
        ":data with txt = seq(1)",
        ":data with text = seq(1, 9)",
        ":trace steps none",
        ":step",
        ":watch h",
        ":break h > 3",
        ":break h when max(h >",
        ":set H",
        ":set H = 0",
        ":load nothing.rnn",
        ":weights nothing.safetensors",
        ":heat 3",
        ":help grda",
        ":passes merg",
        ":unroll",
        "param W: [3]",
        "LSTM(3, 4)",
        "model Chars(V = 4) {\n  input text: id(V) over t\n  loss l = text\n}",
        ":show Chars",
    ]));
}

#[test]
fn help_for_everything() {
    let mut session = Session::default();
    let overview = session.run(":help").text;
    for line in overview.lines().filter(|line| line.starts_with("  :")) {
        let word = line.split_whitespace().next().unwrap().trim_start_matches(':');
        let reply = session.run(&format!(":help {word}"));
        assert!(!reply.failed && reply.text.contains("Example"), "{word}: {}", reply.text);
    }
    assert!(session.run(":help literals").text.contains("seq("));
    assert!(session.run(":help data").text.contains("steps 12"));
}

/// Training on a file goes on where it stopped, with what the optimiser remembers; weights from elsewhere are
/// where it begins.
#[test]
fn training_on_a_file_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "abcd dcba abcd\n".repeat(60)).unwrap();
    let text = text.display().to_string();
    on_large_stack(|| {
        let begun = || {
            let mut session = Session::default();
            done(&mut session, MODELS[0].1);
            session
        };
        let weights = |session: &mut Session| done(session, ":all Chars.embed");
        let (mut once, mut twice) = (begun(), begun());
        done(&mut once, &format!(":train 6 from {text}"));
        done(&mut twice, &format!(":train 3 from {text}"));
        let said = done(&mut twice, &format!(":train 3 from {text}"));
        assert!(said.contains("3 steps on") && said.contains("(6 in all)"), "{said}");
        assert_eq!(weights(&mut once), weights(&mut twice));
        // A step from weights of another training is not one from the first weights.
        let mut other = begun();
        done(&mut other, ":set V = 6");
        done(&mut other, ":train 20");
        let before = weights(&mut other);
        done(&mut other, &format!(":train 1 from {text}"));
        let mut first = begun();
        done(&mut first, &format!(":train 1 from {text}"));
        assert_ne!(weights(&mut other), before);
        assert_ne!(weights(&mut other), weights(&mut first));
        done(&mut other, ":weights Chars reset");
        done(&mut other, &format!(":train 1 from {text}"));
        assert_eq!(weights(&mut other), weights(&mut first));
    });
}

/// A line of a file of trees is an example, and such a file is trained on.
#[test]
fn trees_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trees.txt");
    std::fs::write(&file, "(2 (0 a) (1 (2 b) (1 c)))\n(1 (0 b) (2 a))\n".repeat(10)).unwrap();
    let file = file.display().to_string();
    on_large_stack(|| {
        let mut session = Session::default();
        done(&mut session, MODELS[2].1);
        let said = done(&mut session, &format!(":data from {file} line 2"));
        assert!(
            said.contains("tree 2 of") && said.contains("label: id(3) over tree n = [1, 0, 2]"),
            "{said}"
        );
        assert!(done(&mut session, ":trace").contains("forward, n.leaf = 0 "));
        assert!(done(&mut session, &format!(":train 2 from {file}")).contains("2 steps on"));
        let reply = session.run(&format!(":data from {file} line 99"));
        assert!(reply.failed && reply.text.contains("has 20 trees, there is no number 99"), "{}", reply.text);
    });
}

/// A text is trained on in a session, and a run of the command line is loaded.
#[test]
fn weights_of_a_training() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "abcd abcd abcd\n".repeat(60)).unwrap();
    let text = text.display().to_string();
    on_large_stack(|| {
        let mut session = Session::default();
        let (_, source, ..) = MODELS[0];
        done(&mut session, source);
        let before = done(&mut session, "sum(sum(Chars.embed))");
        assert!(done(&mut session, &format!(":train 3 from {text}")).contains("3 steps on"));
        assert_ne!(done(&mut session, "sum(sum(Chars.embed))"), before);
        assert!(done(&mut session, &format!(":trace from {text} line 2")).contains("line 2 of"));
        let run = folder.path().join("run.safetensors");
        let file = folder.path().join("m.rnn");
        std::fs::write(&file, source).unwrap();
        let job = rnnc::driver::train::Job {
            file: Some(file),
            source: Some(rnnc::driver::corpus::Source::Text(text.into())),
            max_steps: Some(2),
            ..rnnc::driver::train::Job::new(&run)
        };
        let nowhere = Box::new(std::io::sink());
        let (lines, interrupt) = (rnnc::runtime::progress::Display::Lines, Default::default());
        rnnc::driver::train::train(&job, lines, nowhere, &interrupt).unwrap();
        let mut other = Session::default();
        let said = done(&mut other, &format!(":weights {}", run.display()));
        assert!(said.contains("Chars") && said.contains("2 steps"), "{said}");
        let after = transcript_of(&mut other, &[":type Chars.h", "text(\"abc\")"]);
        assert!(after.contains("over t"), "{after}");
    });
}

/// What a file defines has the lines of the file, whatever was typed before it was loaded.
#[test]
fn lines_are_those_of_the_file_that_they_are_in() {
    on_large_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.rnn").display().to_string();
        let model = "# A model.\n\nmodel M(H = 2) {\n  input x: [H] over t\n  param w: [H]\n  y = tanh(w * x)\n  loss l = sum(y)\n}\n";
        std::fs::write(&path, model).unwrap();
        let mut session = Session::default();
        done(&mut session, "fn f(x: [N]) -> [N] =\n  2 * x");
        done(&mut session, "fn g(x: [N]) -> [N] = f(x)");
        done(&mut session, &format!(":load {path}"));
        let why = done(&mut session, ":why M dw");
        assert!(why.contains(&format!("{path}:6: y = tanh(w * x)")), "{why}");
        assert!(!why.contains("session"), "{why}");
        // What was typed has lines of the session.
        done(&mut session, "model T(H = 2) { input x: [H] over t  param w: [H]\n  loss l = sum(f(w * x)) }");
        let why = done(&mut session, ":why T dw");
        assert!(why.contains("session:") && !why.contains(&path), "{why}");
        // Mistakes, too.
        std::fs::write(&path, model.replace("w * x", "v * x")).unwrap();
        let wrong = session.run(":reload");
        assert!(wrong.failed && wrong.text.contains(&format!("{path}:6:12")), "{}", wrong.text);
    });
}
