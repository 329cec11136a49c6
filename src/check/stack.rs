//! `stack(L, LSTM(H, H))`: cells of one kind on one another, each with parameters of its own.
//!
//! ```text
//! h = stack(2, LSTM(H, H))(x)
//! ```
//!
//! is `h.layer1 = LSTM(H, H)(x)` and `h.layer2 = LSTM(H, H)(h.layer1)`; `h` stands for the last of them, and so
//! do its fields (`h.c`). Every layer gets all arguments, but for the first input, which is the layer below. What
//! lies between layers (dropout, a residual, a highway) is written in a cell of one's own and stacked. With `shared`
//! all layers have the same parameters: one transition several times.

use std::rc::Rc;

use crate::base::{Diagnostic, Span};
use crate::syntax::ast::{self, Arg, Expr, ExprKind};

use super::Checker;
use super::apply::{Given, inputs};
use super::frame::{Frame, Instance, Layers, Symbol, Thing, join};

/// How many layers a stack may have.
const MOST: usize = 10_000;

/// True for `layer1`, `layer2`, …
pub(super) fn is_layer(name: &str) -> bool {
    name.strip_prefix("layer").is_some_and(|rest| rest.parse::<usize>().is_ok())
}

impl<'a> Checker<'a> {
    /// The cell that `name(args)` is a stack of, if it is one.
    pub(super) fn stacked(&self, frame: usize, name: &str, args: &'a [Arg]) -> Option<&'a str> {
        let own = self.resolve(frame, name).is_some() || self.definitions.contains_key(name);
        let [_, Arg::Value(Expr { kind: ExprKind::Call(cell, _), .. }), rest @ ..] = args else {
            return None;
        };
        match &cell.kind {
            ExprKind::Name(cell) if name == "stack" && !own && rest.len() <= 1 && self.is_cell(cell) => {
                Some(cell)
            }
            _ => None,
        }
    }

    /// `stack(L, Cell(…))`: parameters live at `path.layer1`, `path.layer2`, …; shared ones at `path`.
    pub(super) fn stack(
        &mut self,
        frame: usize,
        args: &'a [Arg],
        span: Span,
        path: String,
    ) -> Option<Rc<Instance<'a>>> {
        let shared = |rest: &[Arg]| match rest {
            [] => Some(false),
            [Arg::Value(Expr { kind: ExprKind::Name(word), .. })] if word == "shared" => Some(true),
            _ => None,
        };
        let (cell, count, dims, at, shared) = match (self.stacked(frame, "stack", args), args) {
            (
                Some(cell),
                [Arg::Value(count), Arg::Value(Expr { kind: ExprKind::Call(_, dims), span }), rest @ ..],
            ) if shared(rest).is_some() => (cell, count, dims, span, shared(rest) == Some(true)),
            _ => {
                let text = "`stack` takes a number of layers and a cell with its dimensions";
                let help = "it is called as `stack(2, LSTM(H, H))(x)`; with one set of parameters for all layers: \
                            `stack(2, LSTM(H, H), shared)(x)`";
                self.report(frame, Diagnostic::error("arguments", span, text).help(help));
                return None;
            }
        };
        let layers = self.dim(frame, count)?;
        if !(1..=MOST).contains(&layers) {
            let message = format!("a stack has 1 to {MOST} layers, not {layers}");
            self.report(frame, Diagnostic::error("out-of-range", count.span, message));
            return None;
        }
        let instance = self.instantiate(frame, cell, dims, *at, path)?;
        Some(Rc::new(Instance {
            layers: Some(Layers { count: layers, shared }),
            ..Instance::clone(&instance)
        }))
    }

    /// Opens the frames of all layers, and one around them.
    pub(super) fn open_layers(
        &mut self,
        frame: usize,
        instance: &Instance<'a>,
        layers: Layers,
        path: String,
        span: Span,
    ) -> Option<usize> {
        let mut outer =
            Frame::new(instance.block, path.clone(), instance.path.clone(), instance.dims.clone());
        outer.site = self.frames[frame].site.or(instance.library.then_some(span));
        let outer = self.push_frame(outer);
        for number in 1..=layers.count {
            let name = format!("layer{number}");
            let own = if layers.shared { instance.path.clone() } else { join(&instance.path, &name) };
            let layer = Instance { layers: None, path: own, ..instance.clone() };
            let applied = self.open(frame, &layer, join(&path, &name), span)?;
            let this = &mut self.frames[outer];
            this.layers.push(applied);
            this.order.push(name.clone());
            this.symbols.insert(name, Symbol::Known(Thing::Applied(applied)));
        }
        self.stand_for_last(outer);
        Some(outer)
    }

    /// The names of the last layer are names of the stack.
    fn stand_for_last(&mut self, outer: usize) {
        let Some(&last) = self.frames[outer].layers.last() else { return };
        for (name, symbol) in self.frames[last].symbols.clone() {
            let symbol = match symbol {
                Symbol::State { node, .. } => Symbol::Known(Thing::Value(node.into())),
                Symbol::Pending { .. } | Symbol::Working { .. } => continue,
                other => other,
            };
            self.frames[outer].symbols.insert(name, symbol);
        }
    }

    /// Binds the layers one after the other, each to what the one below stands for.
    pub(super) fn bind_layers(
        &mut self,
        caller: usize,
        outer: usize,
        given: Given<'a>,
        span: Span,
    ) -> Option<()> {
        let block: &'a ast::Block = self.frames[outer].block;
        let Some((first, _)) = inputs(block).into_iter().next() else {
            let message = format!("`{}` has no input for the layer below it", block.name.text);
            self.report(caller, Diagnostic::error("arguments", span, message));
            self.fail(outer);
            return None;
        };
        let mut below = None;
        for applied in self.frames[outer].layers.clone() {
            let mut own = given.clone();
            if let Some(below) = below {
                own.bound.insert(&first.text, (below, span));
            }
            let value =
                self.bind(caller, applied, own, span).and_then(|()| self.primary(caller, applied, span));
            let Some(value) = value else {
                self.fail(outer);
                return None;
            };
            below = Some(value);
        }
        self.stand_for_last(outer);
        Some(())
    }
}
