//! The names of one application of a block: what each stands for and how far it has been worked out.

use std::collections::HashMap;
use std::rc::Rc;

use crate::base::{Diagnostic, Span};
use crate::ir::{Access, AxisId, NodeId, Operand};
use crate::syntax::ast;

use super::{Checker, nearest};

/// A cell with its dimensions bound, not yet applied: what `LSTM(E, H)` means.
#[derive(Clone, Debug)]
pub(super) struct Instance<'a> {
    pub block: &'a ast::Block,
    pub dims: HashMap<String, usize>,
    /// Path of its parameters.
    pub path: String,
    pub library: bool,
    /// For `stack(L, …)`: how many cells of this kind are one on the other.
    pub layers: Option<Layers>,
}

/// The layers of a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layers {
    pub count: usize,
    /// Whether all have the same parameters.
    pub shared: bool,
}

/// What an expression can stand for.
#[derive(Clone, Debug)]
pub(super) enum Thing<'a> {
    /// A value read somewhere.
    Value(Operand),
    /// A cell with dimensions.
    Instance(Rc<Instance<'a>>),
    /// An applied cell: its frame.
    Applied(usize),
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Symbol<'a> {
    /// Worked out.
    Known(Thing<'a>),
    /// A state: a node that readers may have before its equation is known.
    State { node: NodeId, start: Start<'a>, declared: Span },
    /// An equation not yet asked for.
    Pending { value: &'a ast::Expr, target: &'a ast::Target },
    /// Being worked out; for an application the frame it will have.
    Working { frame: Option<usize>, target: &'a ast::Target },
    /// A mistake that has been reported.
    Failed,
}

/// The value of a state before the first position.
#[derive(Clone, Debug)]
pub(super) enum Start<'a> {
    /// Zero.
    Zero,
    /// An expression of this frame, not yet asked for.
    Pending(&'a ast::Expr),
    /// An operand.
    Known(Operand),
}

/// One application of a block.
#[derive(Clone, Debug)]
pub(super) struct Frame<'a> {
    pub block: &'a ast::Block,
    /// Path of values: `enc` in `enc.h`; empty for the model.
    pub path: String,
    /// Path of parameters; differs from `path` for shared instances.
    pub param_path: String,
    pub dims: HashMap<String, usize>,
    /// The axis it runs along, if it does.
    pub axis: Option<AxisId>,
    pub backward: bool,
    /// Local names of axes.
    pub axes: HashMap<String, AxisId>,
    pub symbols: HashMap<String, Symbol<'a>>,
    /// Where names are declared, for labels.
    pub places: HashMap<String, Span>,
    /// Names given to applications that have no equation of their own, by the start of their text.
    pub anonymous: HashMap<u32, String>,
    /// For cells of the library: where the user's text applies it.
    pub site: Option<Span>,
    /// Named values in order, for the outputs.
    pub order: Vec<String>,
    /// Applications whose states have been asked for before their arguments.
    pub opened: HashMap<String, usize>,
    /// For a stack: the frames of its layers, lowest first.
    pub layers: Vec<usize>,
    /// Already-made starts of states, by node and access, so that equal reads are one node.
    pub starts: HashMap<(NodeId, Access), NodeId>,
}

impl<'a> Frame<'a> {
    pub fn new(
        block: &'a ast::Block,
        path: String,
        param_path: String,
        dims: HashMap<String, usize>,
    ) -> Frame<'a> {
        Frame {
            block,
            path,
            param_path,
            dims,
            axis: None,
            backward: false,
            axes: HashMap::new(),
            symbols: HashMap::new(),
            places: HashMap::new(),
            anonymous: HashMap::new(),
            site: None,
            order: Vec::new(),
            opened: HashMap::new(),
            layers: Vec::new(),
            starts: HashMap::new(),
        }
    }
}

/// `a` and `b` as a path.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

impl<'a> Checker<'a> {
    /// Enters a name in a frame; a second definition is an error.
    pub(super) fn define(&mut self, frame: usize, name: &ast::Ident, symbol: Symbol<'a>) {
        let this = &mut self.frames[frame];
        let taken = match () {
            () if this.dims.contains_key(&name.text) => Some("a dimension"),
            () if this.axes.contains_key(&name.text) => Some("an axis"),
            () => None,
        };
        if let Some(what) = taken {
            let message = format!("`{}` is already the name of {what} here", name.text);
            let diagnostic = Diagnostic::error("duplicate-name", name.span, message)
                .help("values, dimensions and axes share their names: choose another");
            self.report(frame, diagnostic);
            return;
        }
        if let Some(&first) = this.places.get(&name.text) {
            // Parameters are entered before inputs, whatever the order of the text.
            let (first, second) = (first.min(name.span), first.max(name.span));
            let diagnostic =
                Diagnostic::error("duplicate-name", second, format!("`{}` is defined twice", name.text))
                    .label(first, "first defined here");
            self.report(frame, diagnostic);
            return;
        }
        this.places.insert(name.text.clone(), name.span);
        this.symbols.insert(name.text.clone(), symbol);
    }

    /// The full name that a name in an expression means: itself, or the only declared path that ends in it.
    pub(super) fn resolve(&self, frame: usize, name: &str) -> Option<String> {
        let symbols = &self.frames[frame].symbols;
        if symbols.contains_key(name) {
            return Some(name.to_string());
        }
        let mut ending =
            symbols.keys().filter(|path| path.rsplit_once('.').is_some_and(|(_, last)| last == name));
        match (ending.next(), ending.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        }
    }

    /// Reports a name that nothing defines.
    pub(super) fn unknown(&mut self, frame: usize, name: &str, span: Span) {
        let this = &self.frames[frame];
        let mut known: Vec<&str> = this.symbols.keys().chain(this.dims.keys()).map(String::as_str).collect();
        known.extend(self.definitions.keys().copied());
        for builtin in super::builtins::names() {
            known.push(builtin);
        }
        let mut diagnostic =
            Diagnostic::error("unknown-name", span, format!("nothing here is called `{name}`"));
        if let Some(near) = nearest(name, known) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        self.report(frame, diagnostic);
    }

    /// What a name stands for, worked out now if it has not been.
    pub(super) fn lookup(&mut self, frame: usize, name: &str, span: Span) -> Option<Thing<'a>> {
        let Some(full) = self.resolve(frame, name) else {
            self.unknown(frame, name, span);
            return None;
        };
        match self.frames[frame].symbols.get(&full).cloned()? {
            Symbol::Known(thing) => Some(thing),
            Symbol::State { node, .. } => Some(Thing::Value(node.into())),
            Symbol::Failed => None,
            Symbol::Working { frame: Some(applied), .. } => Some(Thing::Applied(applied)),
            Symbol::Working { frame: None, target } => {
                let place = target.span;
                let diagnostic = Diagnostic::error(
                    "cycle",
                    span,
                    format!("`{name}` depends on itself at the same position"),
                )
                .label(place, "through this equation")
                .help(format!("a cycle needs a delay: declare `state {name}: […]` and read `{name}[t-1]`"));
                self.report(frame, diagnostic);
                self.frames[frame].symbols.insert(full, Symbol::Failed);
                None
            }
            Symbol::Pending { value, target } => self.work_out(frame, &full, value, target),
        }
    }
}
