//! The command line from outside: what it prints, which exit status it leaves, which files it writes.

#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/devices.rs"]
mod devices;
#[path = "cli/faults.rs"]
mod faults;
#[path = "cli/networks.rs"]
mod networks;
#[path = "cli/predicting.rs"]
mod predicting;
#[path = "cli/programs.rs"]
mod programs;
#[path = "cli/running.rs"]
mod running;
#[path = "cli/session.rs"]
mod session;
#[path = "cli/tables.rs"]
mod tables;
#[path = "cli/tasks.rs"]
mod tasks;
#[path = "cli/training.rs"]
mod training;
#[path = "cli/trees.rs"]
mod trees;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A model that trains on a text within a moment.
const TINY: &str = "\
model Tiny(V = 8, E = 4, H = 8) {
  input text: id(V) over t
  param embed: [V, E]

  h = GRU(E, H)(embed[text[t-1]])
  text[t] ~ categorical(Dense(H, V)(dropout(h, 0.1)))

  train { optimizer = adam(lr = 0.01), clip_norm = 5, truncate = 8, batch = 20, epochs = 2 }
}
";

/// A folder for one test.
struct Workspace {
    folder: TempDir,
}

impl Workspace {
    fn new() -> Workspace {
        Workspace { folder: tempfile::tempdir().unwrap() }
    }

    /// A workspace with `tiny.rnn` and a text of about 2,000 characters.
    fn with_tiny() -> Workspace {
        let workspace = Workspace::new();
        workspace.write("tiny.rnn", TINY);
        let line =
            |n: usize| "abc abd. ".chars().cycle().skip(n % 7).take(50 + n % 13).collect::<String>() + "\n";
        workspace.write("text.txt", (0..36).map(line).collect::<String>());
        workspace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs the command in the folder.
    fn run(&self, arguments: &str) -> Ran {
        Ran::of(rnnc(self.folder.path()).args(split(arguments)).output().unwrap())
    }

    /// Trains `tiny.rnn` on `text.txt`.
    fn train(&self, more: &str) -> Ran {
        self.run(&format!("train tiny.rnn --text text.txt {more}"))
    }

    /// Names of all files, sorted.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn rnnc(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rnnc"));
    command.current_dir(folder).env_remove("NO_COLOR");
    command
}

/// Arguments between blanks, with `_` for a blank inside one.
fn split(arguments: &str) -> Vec<String> {
    arguments.split_whitespace().map(|argument| argument.replace("__", " ")).collect()
}

/// What a command did.
#[derive(Debug)]
struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// It went well, and standard error is empty.
    #[track_caller]
    fn fine(self) -> Ran {
        assert!(self.status == Some(0) && self.err.is_empty(), "{self:#?}");
        self
    }

    /// It failed with this status and one error that says all of these.
    #[track_caller]
    fn fails(self, status: i32, words: &[&str]) -> Ran {
        assert_eq!(self.status, Some(status), "{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "no `{word}` in {}", self.err);
        }
        assert!(!self.err.contains("panicked") && !self.err.contains('\u{1b}'), "{}", self.err);
        assert_eq!(
            self.err.matches("error").count().max(1),
            self.err.matches("error").count(),
            "{}",
            self.err
        );
        self
    }
}
