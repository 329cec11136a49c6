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
            assert!(run(&format!(":flow steps 5 svg {flow}")).contains("a factor of"));
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
