//! Tree to graph: names, dimensions, axes, causality.
//!
//! The one public entry is [`check`]. Equations have no order, so the walk is by demand: asking for
//! a name elaborates its equation, and a name asked for while it is being elaborated must be a state,
//! whose type is declared. Cells are inlined where they are applied, each application a
//! `Frame` with a path of its own. Mistakes are collected; the walk goes on with the rest.
//!
//! - `frame`: names of one application; `block`: its statements; `apply`: applying a cell; `stack`: cells on cells
//! - `applications`: names of what is applied inside expressions
//! - `expression`, `index`, `builtins`, `draws`: values; `dims`: static arithmetic; `alone`: functions that nothing calls
//! - `trees`: axes that are trees and positions on them
//! - `observe`: `~`, losses and metrics; `finish`: what is asked of the whole graph

mod alone;
mod applications;
mod apply;
mod block;
mod builtins;
mod dims;
mod draws;
mod expression;
mod finish;
mod frame;
mod index;
mod observe;
mod settings;
mod stack;
mod trees;

use std::collections::{HashMap, HashSet};

use crate::base::{Diagnostic, Span};
use crate::ir::{AxisId, AxisSet, Graph, NodeId, Origin};
use crate::syntax::ast;

pub use dims::DISTINCT;
pub use settings::Setting;

/// Which of the three programs of one source is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Observes and drops.
    Train,
    /// Observes.
    Evaluate,
    /// Draws what the others observe.
    Generate,
}

/// What to make of a file.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The model to compile; may be left out if the file has only one.
    pub model: Option<&'a str>,
    /// Dimensions bound from outside.
    pub set: &'a [(String, usize)],
    /// Which program.
    pub mode: Mode,
    /// Also check what the model does not use, and give unbound dimensions numbers of their own.
    pub everything: bool,
}

/// A checked model.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its equations.
    pub graph: Graph,
    /// Its `train` block.
    pub train: Vec<(String, Span, Setting)>,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
}

/// Checks `file` with the cells of `library` at hand and makes the graph of one model.
///
/// # Errors
/// All mistakes of the file, in the order of their places.
pub fn check(file: &ast::File, library: &ast::File, request: &Request) -> Result<Checked, Vec<Diagnostic>> {
    let blank = ast::Block {
        name: ast::Ident { text: String::new(), span: Span::NONE },
        dims: Vec::new(),
        axis: None,
        statements: Vec::new(),
        span: Span::NONE,
    };
    let mut checker = Checker::new(file, library, request, &blank);
    let model = checker.choose_model(file, request);
    if let Some(model) = model {
        checker.model(model, request);
    }
    if request.everything {
        checker.check_the_rest(file, model);
    }
    checker.finish(model)
}

/// The names of the models of a file.
pub fn models(file: &ast::File) -> Vec<&str> {
    file.items
        .iter()
        .filter_map(|item| match item {
            ast::Item::Model(block) => Some(block.name.text.as_str()),
            ast::Item::Cell(_) | ast::Item::Function(_) => None,
        })
        .collect()
}

/// A definition and whether it is the library's.
#[derive(Clone, Copy)]
struct Definition<'a> {
    item: &'a ast::Item,
    library: bool,
}

/// How deep names may ask for one another, and applications nest.
const DEPTH_LIMIT: usize = 1500;
/// How many nodes a program may have.
const NODE_LIMIT: usize = 400_000;
/// How many bytes a tensor may take.
const BYTE_LIMIT: usize = 1 << 36;

struct Checker<'a> {
    graph: Graph,
    /// The block of what stands in none: the body of a function that nothing calls.
    blank: &'a ast::Block,
    definitions: HashMap<&'a str, Definition<'a>>,
    mode: Mode,
    frames: Vec<frame::Frame<'a>>,
    /// Parameters by path: two applications of one instance meet here.
    params: HashMap<String, NodeId>,
    /// States with an equation, and how many nodes there were when they got it.
    closed: HashMap<NodeId, usize>,
    /// Where parameters are declared, for warnings.
    declared: Vec<(NodeId, Span, String)>,
    /// Axes that have been declared or used as a tree, or used as a sequence.
    settled: HashSet<AxisId>,
    /// Definitions being inlined, outermost first.
    active: Vec<&'a str>,
    /// Cells that were applied, and functions that were called, somewhere.
    applied: Vec<&'a str>,
    streams: u32,
    /// Nodes that are masks, which are no conditions.
    masks: HashSet<NodeId>,
    depth: usize,
    /// Inside the equation of a gradient, and inside a reduction of it.
    in_gradient: bool,
    inside_reduction: bool,
    /// Axes of random numbers written by their stream: those of the equation's left side.
    random_over: Option<AxisSet>,
    exhausted: bool,
    /// Dimensions that are too large by themselves and have been reported.
    oversized: Vec<usize>,
    diagnostics: Vec<Diagnostic>,
    train: Vec<(String, Span, Setting)>,
}

impl<'a> Checker<'a> {
    fn new(
        file: &'a ast::File,
        library: &'a ast::File,
        request: &Request,
        blank: &'a ast::Block,
    ) -> Checker<'a> {
        let mut checker = Checker::empty(HashMap::new(), request.mode, blank);
        for (items, library) in [(&library.items, true), (&file.items, false)] {
            for item in items {
                let name = item_name(item);
                let known = checker.definitions.insert(&name.text, Definition { item, library });
                if let Some(known) = known
                    && known.library == library
                {
                    checker.diagnostics.push(
                        Diagnostic::error(
                            "duplicate-name",
                            name.span,
                            format!("`{}` is defined twice", name.text),
                        )
                        .label(item_name(known.item).span, "first defined here"),
                    );
                }
            }
        }
        checker
    }

    /// A checker that knows these definitions and has done nothing.
    fn empty(
        definitions: HashMap<&'a str, Definition<'a>>,
        mode: Mode,
        blank: &'a ast::Block,
    ) -> Checker<'a> {
        Checker {
            graph: Graph::new("cell"),
            blank,
            definitions,
            mode,
            frames: Vec::new(),
            params: HashMap::new(),
            closed: HashMap::new(),
            declared: Vec::new(),
            settled: HashSet::new(),
            active: Vec::new(),
            applied: Vec::new(),
            streams: 0,
            masks: HashSet::new(),
            depth: 0,
            in_gradient: false,
            inside_reduction: false,
            random_over: None,
            exhausted: false,
            oversized: Vec::new(),
            diagnostics: Vec::new(),
            train: Vec::new(),
        }
    }

    fn choose_model(&mut self, file: &'a ast::File, request: &Request) -> Option<&'a ast::Block> {
        let found: Vec<&ast::Block> = file
            .items
            .iter()
            .filter_map(|item| match item {
                ast::Item::Model(block) => Some(block),
                ast::Item::Cell(_) | ast::Item::Function(_) => None,
            })
            .collect();
        let names: Vec<&str> = found.iter().map(|block| block.name.text.as_str()).collect();
        match (request.model, &found[..]) {
            (None, [only]) => Some(only),
            (None, []) if request.everything => None,
            (None, []) => {
                self.diagnostics.push(
                    Diagnostic::error("no-model", Span::NONE, "the file defines no model")
                        .help("a program is a `model Name(…) { … }`; cells and functions are its parts"),
                );
                None
            }
            (None, [first, ..]) if request.everything => Some(first),
            (None, _) => {
                self.diagnostics.push(
                    Diagnostic::error("which-model", found[1].name.span, "the file defines several models")
                        .help(format!("choose one with `--model`: {}", names.join(", "))),
                );
                None
            }
            (Some(name), _) => {
                let block = found.iter().find(|block| block.name.text == name);
                if block.is_none() {
                    self.diagnostics.push(
                        Diagnostic::error(
                            "unknown-name",
                            Span::NONE,
                            format!("the file defines no model `{name}`"),
                        )
                        .help(format!("it defines: {}", names.join(", "))),
                    );
                }
                block.copied()
            }
        }
    }

    /// Where a node of a frame is from: for the library's text the place where the user's applies it.
    fn origin(&self, frame: usize, span: Span) -> Origin {
        Origin::forward(self.frames.get(frame).and_then(|frame| frame.site).unwrap_or(span))
    }

    /// Records an error, moved to the place of application if it lies in the library's text.
    fn report(&mut self, frame: usize, mut diagnostic: Diagnostic) {
        if let Some(site) = self.frames.get(frame).and_then(|frame| frame.site) {
            diagnostic.note = match diagnostic.note.as_str() {
                "" => "while applying this".into(),
                note => format!("while applying this: {note}"),
            };
            diagnostic.span = site;
            diagnostic.labels.clear();
        }
        if !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// True while the program stays within its limits; reports once when it does not.
    fn within_limits(&mut self, frame: usize, span: Span) -> bool {
        if self.exhausted {
            return false;
        }
        let trouble = if self.graph.len() > NODE_LIMIT {
            format!("the program has more than {NODE_LIMIT} operations once its cells are inlined")
        } else if self.depth > DEPTH_LIMIT {
            format!("equations depend on each other more than {DEPTH_LIMIT} deep")
        } else {
            return true;
        };
        self.exhausted = true;
        self.report(frame, Diagnostic::error("too-large", span, trouble));
        false
    }
}

fn item_name(item: &ast::Item) -> &ast::Ident {
    match item {
        ast::Item::Cell(block) | ast::Item::Model(block) => &block.name,
        ast::Item::Function(function) => &function.name,
    }
}

/// The nearest of `names` to a mistyped one, if it is near.
pub fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    names
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4 && *distance < known.len())
        .min()
        .map(|(_, known)| known)
}
