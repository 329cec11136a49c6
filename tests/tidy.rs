//! Rules of the tree: who may call whom, and what no source file may hold.
//!
//! Files are read as text, with comments, strings and test modules blanked, so that the rules need no
//! compiler. The table [`LAYERS`] is the architecture: a folder of `src` may name a folder that its
//! row lists, and rows list earlier rows only. Two rows differ from what one would draw first:
//! `runtime` stands on `backend`, because a program in the runtime owns its compiled code, and what a
//! backend needs of the random numbers is therefore in `base`.

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use source::{blanked, folder, sources, without_tests};

/// Folders of `src`, lowest first, and the folders that each may import.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("library", &[]),
    ("syntax", &["base"]),
    ("ir", &["base"]),
    ("check", &["base", "syntax", "ir"]),
    ("eval", &["ir"]),
    ("grad", &["base", "ir"]),
    ("opt", &["ir"]),
    ("testing", &["base", "ir", "eval"]),
    ("plan", &["ir", "opt"]),
    ("backend", &["base", "plan"]),
    ("runtime", &["base", "plan", "backend"]),
    (
        "driver",
        &["base", "library", "syntax", "ir", "check", "eval", "grad", "opt", "plan", "backend", "runtime"],
    ),
    ("repl", &["base", "syntax", "check", "eval", "grad", "ir", "opt", "plan", "runtime", "driver"]),
    ("cli", &["syntax", "check", "runtime", "driver", "repl"]),
];

/// Crates that only one part of the tree may name.
const PRIVATE_CRATES: &[(&str, &str)] = &[
    ("petgraph", "src/ir/"),
    ("cranelift", "src/backend/native/"),
    ("iced_x86", "src/backend/native/"),
    ("pest", "src/syntax/"),
    ("annotate_snippets", "src/base/"),
    ("clap", "src/cli/"),
    ("rustyline", "src/cli/"),
    ("plotters", "src/driver/pictures/"),
    ("indicatif", "src/runtime/"),
    ("ocl", "src/runtime/opencl/"),
    ("libloading", "src/runtime/opencl/"),
];

/// Files that may hold `unsafe`: where generated code is called, and OpenCL.
const UNSAFE: &[&str] = &[
    "src/backend/native/jit.rs",
    "src/backend/native/peak.rs",
    "src/runtime/program.rs",
    // Where OpenCL is called.
    "src/runtime/opencl/loader.rs",
    "src/runtime/opencl/queue.rs",
];

/// What only tests may do. `self.expect(…)` is a parser's own method.
const FORBIDDEN: &[&str] =
    &[".unwrap()", ".expect(", "panic!", "todo!", "unimplemented!", "unreachable!", "dbg!"];

/// A file longer than this is more than one room.
const LONGEST: usize = 700;

/// Fails with all complaints at once.
fn complain(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Every file of `src`, as it is and with comments, strings and tests blanked.
fn code() -> Vec<(String, String, String)> {
    let files = sources("src");
    let tests: BTreeSet<String> =
        files.iter().flat_map(|(path, text)| source::test_files(path, &blanked(text))).collect();
    files
        .into_iter()
        .filter(|(path, _)| !tests.contains(path))
        .map(|(path, text)| {
            let code = without_tests(&blanked(&text));
            (path, text, code)
        })
        .collect()
}

#[test]
fn layers_point_down() {
    let mut complaints = Vec::new();
    for (at, (layer, below)) in LAYERS.iter().enumerate() {
        for name in *below {
            if !LAYERS[..at].iter().any(|(earlier, _)| earlier == name) {
                complaints.push(format!("the table lets `{layer}` import `{name}`, which is not below it"));
            }
        }
    }
    for (path, _, code) in code() {
        let Some(own) = folder(&path) else { continue };
        let Some((_, below)) = LAYERS.iter().find(|(layer, _)| *layer == own) else {
            complaints.push(format!("{path}: `{own}` is not in the table of layers"));
            continue;
        };
        for (line, name) in source::imports(&code) {
            if name != own && !below.contains(&name.as_str()) {
                complaints.push(format!("{path}:{line}: `{own}` may not import `{name}`"));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn files_say_what_they_are_for() {
    let mut complaints = Vec::new();
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        if !text.starts_with("//! ") {
            complaints.push(format!("{path}: does not open with `//!`"));
        }
        let lines = text.lines().count();
        if lines > LONGEST {
            complaints.push(format!("{path}: has {lines} lines, at most {LONGEST} are one room"));
        }
    }
    complain(&complaints);
}

#[test]
fn errors_are_values() {
    let mut complaints = Vec::new();
    for (path, _, code) in code() {
        for (number, line) in code.lines().enumerate() {
            for word in FORBIDDEN {
                let own = *word == ".expect(" && line.contains("self.expect(");
                if line.contains(word) && !own {
                    complaints.push(format!("{path}:{}: `{word}` outside tests", number + 1));
                }
            }
        }
    }
    complain(&complaints);
}

#[test]
fn unsafe_has_its_places_and_reasons() {
    let mut complaints = Vec::new();
    for (path, text, code) in code() {
        let original: Vec<&str> = text.lines().collect();
        for (number, line) in code.lines().enumerate() {
            let is_type = line.contains("unsafe extern \"");
            if !source::words(line).any(|word| word == "unsafe") || is_type {
                continue;
            }
            if !UNSAFE.contains(&path.as_str()) {
                complaints.push(format!("{path}:{}: `unsafe` has no place here", number + 1));
            }
            let above = original[..number].iter().rev().take_while(|line| line.trim().starts_with("//"));
            if !above.into_iter().any(|line| line.contains("SAFETY:")) {
                complaints.push(format!("{path}:{}: no `SAFETY:` comment above `unsafe`", number + 1));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn crates_stay_in_their_folder() {
    let mut complaints = Vec::new();
    for (path, _, code) in code() {
        for (number, line) in code.lines().enumerate() {
            for word in source::words(line) {
                for (name, home) in PRIVATE_CRATES {
                    let named = word == *name || word.starts_with(&format!("{name}_"));
                    if named && !path.starts_with(home) {
                        complaints.push(format!("{path}:{}: `{word}` belongs to {home}", number + 1));
                    }
                }
            }
        }
    }
    complain(&complaints);
}

#[test]
fn only_the_command_line_prints() {
    let mut complaints = Vec::new();
    for (path, _, code) in code() {
        if path.starts_with("src/cli/") || path == "src/main.rs" {
            continue;
        }
        for (number, line) in code.lines().enumerate() {
            if ["println!", "print!"].iter().any(|word| line.contains(word)) {
                complaints.push(format!("{path}:{}: prints", number + 1));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn no_file_knows_a_machine() {
    // In halves, so that this file passes its own rule.
    let paths = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/t", "mp/"], ["/mn", "t/"]]
        .map(|half| half.concat());
    let mut complaints = Vec::new();
    for (path, text) in source::texts() {
        for (number, line) in text.lines().enumerate() {
            // A script's first line names its interpreter; a web address has folders of any name.
            let line: String =
                line.split_whitespace().filter(|word| !word.contains("://")).collect::<Vec<_>>().join(" ");
            for wrong in &paths {
                if line.contains(wrong.as_str()) {
                    complaints.push(format!("{path}:{}: names a folder of one machine", number + 1));
                }
            }
        }
    }
    complain(&complaints);
}

#[test]
fn examples_are_sound_and_laid_out() {
    let mut complaints = Vec::new();
    let mut found = 0;
    for (path, text) in
        ["examples", "benches", "src/std"].iter().flat_map(|folder| source::files_of(folder, "rnn"))
    {
        found += 1;
        match rnnc::syntax::format(&text) {
            Ok(formatted) if formatted == text => {}
            Ok(_) => complaints.push(format!("{path}: not as `rnnc fmt` lays it out")),
            Err(_) => complaints.push(format!("{path}: does not parse")),
        }
        if path.starts_with("src/") {
            continue;
        }
        let model = rnnc::driver::session::Model::new(path.clone(), text);
        match model.check_everything() {
            Ok(checked) if checked.warnings.is_empty() => {}
            Ok(checked) => complaints.push(model.report(checked.warnings).render(false)),
            Err(error) => complaints.push(error.to_string()),
        }
        let (folder, name) = path.split_once('/').unwrap();
        let readme = std::fs::read_to_string(root().join(folder).join("README.md")).unwrap();
        if !readme.contains(&format!("`{name}`")) {
            complaints.push(format!("{path}: is not in {folder}/README.md"));
        }
    }
    assert!(found > 10, "the examples are somewhere else");
    complain(&complaints);
}

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}
