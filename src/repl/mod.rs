//! A session in which one can watch a network think and read its gradients.
//!
//! ```
//! use rnnc::repl::Session;
//! let mut session = Session::default();
//! assert_eq!(session.run("x = seq(1, 2, 4 over t)").text, "x: a number over t\n");
//! assert_eq!(session.run("sum(x - x[t-1] over t)").text, "4\n");
//! ```
//!
//! A line is a definition, a value, an expression or a command that begins with `:`. [`Session::run`] is a
//! function from a line to text: it knows no terminal and prints nothing; `cli` has the prompt. What it
//! shows is read from the graph and the plan that the compiler uses. A line that fails says why and changes
//! nothing.
//!
//! - `command`: the commands, their words and what help says; `clauses`: the parts of a command
//! - `definitions`: cells, models and functions as text; `datum`, `literals`, `expressions`: values
//! - `models`: a model chosen, run on an example and remembered; `words`: values in words
//! - `derive`: `:grad`, `:why`; `trace`: `:trace`, `:step`, `:break`; `fault`: the first NaN
//! - `flow`, `heat`: pictures; `stages`: `:graph` to `:asm`; `passes`; `cost`; `agree`: `:check`
//! - `training`: `:train`, `:weights`; `sources`: files of data; `files`: `:load` and `:save`; `help`
//! - `editing`: when a line is complete, what a word may become, and its colours

mod agree;
mod clauses;
mod command;
mod cost;
mod datum;
mod definitions;
mod derive;
pub mod editing;
mod expressions;
mod fault;
mod files;
mod flow;
mod heat;
mod help;
mod literals;
mod models;
mod passes;
mod sources;
mod stages;
mod trace;
mod training;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::driver::emit::{Stage, Target};
use crate::driver::example::Example;
use crate::driver::session::{Report, SessionError};
use crate::runtime::checkpoint::Run;
use crate::runtime::interrupt::Interrupt;
use crate::syntax::ast;

use command::Command;
use definitions::Definitions;
use expressions::Bound;
use models::Watched;
use trace::{Break, Trace};

/// Positions along each axis of an example that nobody gave.
const STEPS: usize = 4;

/// What a line gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// What to show; it ends with a line end unless it is empty.
    pub text: String,
    /// Whether the line could not be done.
    pub failed: bool,
    /// Whether the session is to end.
    pub quit: bool,
}

/// Everything that was said so far.
#[derive(Clone, Debug)]
pub struct Session {
    definitions: Definitions,
    /// The cells that are always at hand.
    library: ast::File,
    values: BTreeMap<String, Bound>,
    dims: Vec<(String, usize)>,
    seed: u64,
    /// Weights by model, where they are not those it begins with.
    weights: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    /// Runs by model, where its weights are from one: training on a file goes on with it.
    runs: BTreeMap<String, Arc<Run>>,
    /// Examples by model, where one was given.
    examples: BTreeMap<String, (Example, String)>,
    /// The model last looked at.
    current: Option<String>,
    /// Its values, as long as nothing changed.
    watched: Option<Watched>,
    trace: Option<Trace>,
    breaks: Vec<Break>,
    watches: Vec<String>,
    interrupt: Interrupt,
    /// Whether diagnostics have colours.
    pub colour: bool,
}

impl Default for Session {
    fn default() -> Session {
        Session::new(Interrupt::default())
    }
}

/// Why a line could not be done.
#[derive(Debug)]
enum Failure {
    /// In a sentence or more.
    Message(String),
    /// Mistakes in a text.
    Mistakes(Box<Report>),
}

impl Failure {
    fn new(message: impl Into<String>) -> Failure {
        Failure::Message(message.into())
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Message(error.to_string())
    }
}

/// The mistakes of a program keep their form.
fn of_session(error: SessionError) -> Failure {
    match error {
        SessionError::Mistakes(report) => Failure::Mistakes(report),
        other => Failure::Message(other.to_string()),
    }
}

/// What doing a line gives.
type Done = Result<String, Failure>;

impl Session {
    /// An empty session; pressing Ctrl-C on `interrupt` ends what it is doing.
    pub fn new(interrupt: Interrupt) -> Session {
        Session {
            definitions: Definitions::default(),
            library: crate::driver::library().unwrap_or_default(),
            values: BTreeMap::new(),
            dims: Vec::new(),
            seed: 1,
            weights: BTreeMap::new(),
            runs: BTreeMap::new(),
            examples: BTreeMap::new(),
            current: None,
            watched: None,
            trace: None,
            breaks: Vec::new(),
            watches: Vec::new(),
            interrupt,
            colour: false,
        }
    }

    /// Does one line (or several that belong together) and says what came of it.
    pub fn run(&mut self, line: &str) -> Reply {
        self.interrupt.reset();
        let line = without_comments(line);
        let trimmed = line.trim();
        if matches!(trimmed, ":quit" | ":q" | ":exit") {
            return Reply { quit: true, ..Reply::default() };
        }
        let done = match trimmed.strip_prefix(':') {
            _ if trimmed.is_empty() => Ok(String::new()),
            Some(rest) => command::parse(rest).and_then(|command| self.command(command)),
            None => self.entered(&line),
        };
        let (mut text, failed) = match done {
            Ok(text) => (text, false),
            Err(Failure::Message(message)) => (format!("error: {}", message.trim_end()), true),
            Err(Failure::Mistakes(report)) => (report.render(self.colour), true),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Reply { text, failed, quit: false }
    }

    /// A definition, a value or an expression.
    fn entered(&mut self, line: &str) -> Done {
        match definitions::kind(line) {
            definitions::Kind::Items => self.define(line),
            definitions::Kind::Equation => self.assign(line),
            definitions::Kind::Expression => self.show_expression(line, false),
        }
    }

    fn command(&mut self, command: Command) -> Done {
        match command {
            Command::Help(about) => help::help(about.as_deref()),
            Command::Load(files) => self.load(&files),
            Command::Reload => self.reload(),
            Command::Save(file) => self.save(&file),
            Command::Set(rest) => self.set(&rest),
            Command::Seed(rest) => self.seed(&rest),
            Command::Defs => Ok(self.overview()),
            Command::Forget(name) => self.forget(&name),
            Command::Type(expression) => self.show_type(&expression),
            Command::All(expression) => self.show_expression(&expression, true),
            Command::Summary(rest) => self.summary(&rest),
            Command::Show(rest) => self.show(&rest),
            Command::Grad(rest) => self.grad(&rest),
            Command::Why(rest) => self.why(&rest),
            Command::Data(rest) => self.data(&rest),
            Command::Trace(rest) => self.start_trace(&rest),
            Command::Step(rest) => self.step(&rest),
            Command::Back(rest) => self.back(&rest),
            Command::Continue => self.go_on(),
            Command::Watch(rest) => self.watch(&rest),
            Command::Break(rest) => self.set_break(&rest),
            Command::Nan(rest) => self.nan(&rest),
            Command::Flow(rest) => self.flow(&rest),
            Command::Heat(rest) => self.heat(&rest),
            Command::Unroll(rest) => self.unroll(&rest),
            Command::Graph(rest) => self.graph(&rest),
            Command::Plan(rest) => self.plan(&rest),
            Command::Clif(rest) => self.code(&rest, Stage::Clif(Target::default())),
            Command::Asm(rest) => self.code(&rest, Stage::Asm(Target::default())),
            Command::OpenCl(rest) => self.code(&rest, Stage::OpenCl),
            Command::Passes(rest) => self.passes(&rest),
            Command::Cost(rest) => self.cost(&rest),
            Command::Check(rest) => self.check(&rest),
            Command::Train(rest) => self.train(&rest),
            Command::Weights(rest) => self.load_weights(&rest),
        }
    }

    /// After a change of what models mean: nothing that was computed holds.
    fn changed(&mut self) {
        self.watched = None;
        self.trace = None;
    }

    /// The count of presses of Ctrl-C.
    fn stop(&self) -> &std::sync::atomic::AtomicU32 {
        self.interrupt.presses()
    }
}

/// The line without what stands behind `#`: a comment ends with its line.
fn without_comments(text: &str) -> String {
    let line = |line: &str| -> String {
        let mut quoted = false;
        let end = line.char_indices().find(|(_, c)| {
            quoted ^= *c == '"';
            *c == '#' && !quoted
        });
        end.map_or(line, |(at, _)| &line[..at]).to_string()
    };
    // Definitions keep theirs: they are the user's text.
    if definitions::kind(text) == definitions::Kind::Items {
        text.to_string()
    } else {
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}
