//! `repl`: the prompt. Lines go to the session, its words to standard output.
//!
//! On a terminal there are history, completion, colours and input over several lines; from a pipe lines are
//! read as they come and only the answers are written. Ctrl-C ends what is being computed; the definitions
//! stay. From a pipe the exit status is 1 if a line could not be done.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{BufRead, IsTerminal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper, Hinter};

use super::failure::Failure;
use super::output::{colour, note, print};
use crate::repl::editing::{completions, highlighted, is_complete};
use crate::repl::{Reply, Session};
use crate::runtime::interrupt::Interrupt;

/// Lines that are remembered.
const HISTORY: usize = 2000;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc repl\n  rnnc repl examples/elman.rnn\n  echo ':grad' | rnnc repl examples/elman.rnn"
)]
pub(super) struct Repl {
    /// Programs to load
    files: Vec<PathBuf>,
}

impl Repl {
    pub fn run(self) -> Result<(), Failure> {
        let interrupt = Interrupt::install_forever().map_err(Failure::of)?;
        let mut session = Session::new(interrupt);
        let terminal = std::io::stdin().is_terminal();
        session.colour = terminal && colour(&std::io::stdout());
        if !self.files.is_empty() {
            let names: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
            let reply = session.run(&format!(":load {}", names.join(" ")));
            match reply.failed {
                true if !terminal => {
                    note(&reply.text);
                    return Err(Failure::Silent);
                }
                false if !terminal => {}
                _ => print(&reply.text)?,
            }
        }
        if terminal { prompt(session) } else { piped(session) }
    }
}

/// Lines from a pipe.
fn piped(mut session: Session) -> Result<(), Failure> {
    let mut failed = false;
    let mut text = String::new();
    let mut lines = std::io::stdin().lock().lines();
    loop {
        let line = lines.next().transpose().map_err(Failure::of)?;
        let end = line.is_none();
        if let Some(line) = line {
            text.push_str(&line);
            text.push('\n');
        }
        if !end && !is_complete(&text) {
            continue;
        }
        let reply = careful(&mut session, &std::mem::take(&mut text));
        print(&reply.text)?;
        failed |= reply.failed;
        if end || reply.quit {
            return if failed { Err(Failure::Silent) } else { Ok(()) };
        }
    }
}

/// Lines from a terminal.
fn prompt(session: Session) -> Result<(), Failure> {
    let paint = session.colour;
    let session = Rc::new(RefCell::new(session));
    let config = rustyline::Config::builder()
        .max_history_size(HISTORY)
        .map_err(Failure::of)?
        .auto_add_history(true)
        .completion_type(rustyline::CompletionType::List)
        .build();
    let mut editor: Editor<Words, DefaultHistory> = Editor::with_config(config).map_err(Failure::of)?;
    editor.set_helper(Some(Words { session: Rc::clone(&session), paint }));
    let history = history_file();
    if let Some(path) = &history {
        // There is none at first.
        let _ = editor.load_history(path);
    }
    print("rnnc: `:help` says what there is, Ctrl-D leaves\n")?;
    loop {
        match editor.readline("> ") {
            Ok(line) => {
                let reply = careful(&mut session.borrow_mut(), &line);
                print(&reply.text)?;
                if reply.quit {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(Failure::of(error)),
        }
    }
    if let Some(path) = &history {
        // A history that cannot be kept is no reason to fail.
        let _ = editor.save_history(path);
    }
    Ok(())
}

/// Does a line; whatever happens, the session stays as it was before a line that broke down.
fn careful(session: &mut Session, line: &str) -> Reply {
    let before = session.clone();
    match catch_unwind(AssertUnwindSafe(|| session.run(line))) {
        Ok(reply) => reply,
        Err(_) => {
            *session = before;
            let text =
                "error: internal: this line broke the compiler; the session is as it was\n".to_string();
            Reply { text, failed: true, quit: false }
        }
    }
}

/// Where lines are remembered: in the user's folder for such files, if there is one.
fn history_file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let folder =
        folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local").join("state")))?;
    let folder = folder.join("rnnc");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// What the editor asks of the session.
#[derive(Helper, Hinter)]
struct Words {
    session: Rc<RefCell<Session>>,
    paint: bool,
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = completions(&self.session.borrow(), line, at);
        let pair = |word: String| Pair { display: word.clone(), replacement: word };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match is_complete(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Highlighter for Words {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.paint { Cow::Owned(highlighted(line)) } else { Cow::Borrowed(line) }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.paint
    }
}
