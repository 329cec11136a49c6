//! The README is true: its programs are sound, its commands exist, and what it shows is what comes out.
//!
//! A fenced block marked `rnn` is a file of its own. A comment `<!-- file: NAME -->` above it gives it a
//! name for the `console` blocks; such a file may be wrong, to show what is said of it. In a `console`
//! block a line `$ rnnc …` is run, and the lines below it are all that it says; lines that begin with `> ` are
//! typed into it. The commands above which
//! `<!-- command: NAME -->` stands are run by `.ci/run`; here their files and options are looked at.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rnnc::driver::session::Model;

/// A fenced block.
struct Block {
    /// `rnn`, `sh`, `console`, …
    language: String,
    /// The comment on the line above: `file: wrong.rnn`.
    mark: Option<String>,
    text: String,
    line: usize,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks() -> Vec<Block> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    let mut above = "";
    for (number, line) in readme.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(language) => {
                inside = true;
                let mark = above.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                found.push(Block {
                    language: language.to_string(),
                    mark: mark.map(str::to_string),
                    text: String::new(),
                    line: number + 1,
                });
            }
            None if inside => {
                let block = found.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => above = line,
        }
    }
    assert!(!inside, "the last block has no end");
    found
}

#[test]
fn programs_are_sound() {
    let mut programs = 0;
    for block in blocks().iter().filter(|block| block.language == "rnn" && block.mark.is_none()) {
        programs += 1;
        let name = format!("README.md, block at line {}", block.line);
        let model = Model::new(name.clone(), block.text.clone());
        let checked = model.check_everything().unwrap_or_else(|error| panic!("{error}"));
        assert!(checked.warnings.is_empty(), "{}", model.report(checked.warnings).render(false));
        let formatted = rnnc::syntax::format(&block.text).unwrap();
        assert_eq!(formatted, block.text, "{name} is not as `rnnc fmt` lays it out");
    }
    assert!(programs >= 3);
}

#[test]
fn transcripts_are_what_comes_out() {
    let blocks = blocks();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("examples")).unwrap();
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join("examples").join(entry.file_name())).unwrap();
    }
    for block in &blocks {
        if let Some(name) = block.mark.as_deref().and_then(|mark| mark.strip_prefix("file: ")) {
            std::fs::write(folder.path().join(name), &block.text).unwrap();
        }
    }
    let mut runs = 0;
    for block in blocks.iter().filter(|block| block.language == "console") {
        for session in block.text.split("$ rnnc ").skip(1) {
            let (arguments, expected) = session.split_once('\n').unwrap();
            let typed = expected.lines().filter_map(|line| line.strip_prefix("> "));
            let typed: String = typed.map(|line| format!("{line}\n")).collect();
            let expected: String = expected
                .lines()
                .filter(|line| !line.starts_with("> "))
                .map(|line| format!("{line}\n"))
                .collect();
            let mut child = Command::new(env!("CARGO_BIN_EXE_rnnc"))
                .args(arguments.split_whitespace())
                .current_dir(folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // A command that reads nothing may have ended by now.
            let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
            let output = child.wait_with_output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            let line = block.line;
            assert_eq!(said.trim_end(), expected.trim_end(), "README.md, block at line {line}: {arguments}");
            runs += 1;
        }
    }
    assert!(runs >= 2);
}

/// The names of all examples, sorted.
fn examples() -> Vec<String> {
    let files = std::fs::read_dir(root().join("examples")).unwrap();
    let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".rnn")).collect();
    names.sort();
    names
}

#[test]
fn the_tables_of_examples_are_true_and_whole() {
    // The cells with the numbers of lines and of parameters.
    for (file, [lines_cell, parameters_cell]) in [("README.md", [4, 5]), ("examples/README.md", [3, 4])] {
        let readme = std::fs::read_to_string(root().join(file)).unwrap();
        let mut listed = Vec::new();
        let mark = if file == "README.md" { "| [`" } else { "| `" };
        for row in readme.lines().filter(|line| line.starts_with(mark)) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let name = cells[1].split('`').nth(1).unwrap_or("");
            // What stands beside fewer figures is a table of results.
            if !name.ends_with(".rnn") || cells.len() <= parameters_cell + 1 {
                continue;
            }
            if file == "README.md" {
                assert_eq!(cells[1], format!("[`{name}`](examples/{name})"));
            }
            let model = Model::read(&root().join("examples").join(name), None, &[]).unwrap();
            let lines = model.source.lines().map(str::trim);
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).count();
            let checked = model.check(rnnc::check::Mode::Train).unwrap();
            let sizes = checked.graph.params.iter().map(|param| param.shape.iter().product::<usize>());
            let parameters = cells[parameters_cell].replace(',', "").parse();
            let expected = (cells[lines_cell].parse(), parameters);
            assert_eq!((Ok(lines), Ok(sizes.sum::<usize>())), expected, "{file}: {row}");
            listed.push(name.to_string());
        }
        listed.sort();
        assert_eq!(listed, examples(), "{file}");
    }
}

#[test]
fn commands_exist() {
    let blocks = blocks();
    let command = |name: &str| -> String {
        let mark = format!("command: {name}");
        let found = blocks.iter().find(|block| block.mark.as_deref() == Some(&mark));
        found.unwrap_or_else(|| panic!("no block with `<!-- {mark} -->`")).text.clone()
    };
    assert!(command("tests").starts_with("cargo test"));
    let main = command("main");
    let steps: Vec<&str> = main.split("&&").map(str::trim).collect();
    assert_eq!(steps.len(), 2, "train, then generate");
    for step in steps {
        let arguments = step.strip_prefix("cargo run --release -- ").expect("it runs from a clone");
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let help = Command::new(env!("CARGO_BIN_EXE_rnnc")).args([words[0], "--help"]).output().unwrap();
        assert!(help.status.success(), "rnnc has no `{}`", words[0]);
        let help = String::from_utf8(help.stdout).unwrap();
        for word in &words[1..] {
            if word.starts_with("--") {
                assert!(help.contains(word), "`rnnc {}` has no `{word}`", words[0]);
            }
            if word.starts_with("examples/") {
                assert!(root().join(word).is_file(), "{word} is not in the repository");
            }
        }
    }
}

/// What stands above a program: a paper with its year, the command that trains it, and what to expect of that.
#[test]
fn headers_say_what_to_do_and_what_to_expect() {
    for name in examples() {
        let text = std::fs::read_to_string(root().join("examples").join(&name)).unwrap();
        let header: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        let year = |word: &str| word.len() == 4 && (1900..2100).contains(&word.parse().unwrap_or(0));
        let mut words = header.iter().flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()));
        assert!(words.any(year), "{name} names no paper");
        let command = format!("#   rnnc train examples/{name} ");
        let Some(at) = header.iter().position(|line| line.starts_with(&command)) else {
            panic!("{name} does not say how it is trained");
        };
        let result: String = header[at..].iter().filter(|line| !line.starts_with("#   ")).copied().collect();
        assert!(result.contains("xpect"), "{name} does not say what to expect");
    }
}
