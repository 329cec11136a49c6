//! Cells: binding dimensions (`LSTM(E, H)`) and applying them along an axis (`LSTM(E, H)(x)`).
//!
//! Applying opens a frame in two steps, because the arguments of a recurrent application may read
//! its own states at an earlier position: first the states with their declared shapes, then the
//! arguments and the equations.

use std::collections::HashMap;
use std::rc::Rc;

use crate::base::{Diagnostic, Span};
use crate::ir::{AxisId, AxisSet, BATCH, Operand};
use crate::syntax::ast::{self, Arg, Expr, ExprKind, Statement};

use super::frame::{Frame, Instance, Start, Symbol, Thing, join};
use super::{Checker, nearest};

/// The arguments of an application, worked out.
#[derive(Clone)]
pub(super) struct Given<'a> {
    /// Inputs by name, with their places in the text.
    pub bound: HashMap<&'a str, (Operand, Span)>,
    /// Initial states.
    pub starts: Vec<(&'a ast::Ident, Operand)>,
    pub along: Option<AxisId>,
    pub backward: bool,
}

impl<'a> Checker<'a> {
    /// True if a definition of this name is a cell.
    pub(super) fn is_cell(&self, name: &str) -> bool {
        self.definitions.get(name).is_some_and(|definition| matches!(definition.item, ast::Item::Cell(_)))
    }

    /// `LSTM(E, H)`: a cell with its dimensions; parameters live at `path`.
    pub(super) fn instantiate(
        &mut self,
        frame: usize,
        name: &str,
        args: &'a [Arg],
        span: Span,
        path: String,
    ) -> Option<Rc<Instance<'a>>> {
        let definition = *self.definitions.get(name)?;
        let ast::Item::Cell(block) = definition.item else { return None };
        let mut dims = HashMap::new();
        let mut positional = block.dims.iter();
        for arg in args {
            let (dim, value) = match arg {
                Arg::Value(value) => (positional.next(), value),
                Arg::Named(key, value) => (block.dims.iter().find(|dim| dim.name.text == key.text), value),
                Arg::Over(value, _) => (None, value),
                Arg::Along(axis) => {
                    let text = "`along` belongs to the application: `Cell(…)(x, along t)`";
                    self.report(frame, Diagnostic::error("arguments", axis.span, text));
                    return None;
                }
            };
            let Some(dim) = dim else {
                let message = format!("`{}` has {} dimensions", block.name.text, block.dims.len());
                self.report(frame, Diagnostic::error("arguments", value.span, message).help(head(block)));
                return None;
            };
            let size = self.dim(frame, value)?;
            if dims.insert(dim.name.text.clone(), size).is_some() {
                self.given_twice(frame, &dim.name.text, value.span);
                return None;
            }
        }
        for dim in &block.dims {
            if dims.contains_key(&dim.name.text) {
                continue;
            }
            let Some(default) = &dim.default else {
                let message =
                    format!("`{}` needs a value for its dimension `{}`", block.name.text, dim.name.text);
                self.report(frame, Diagnostic::error("arguments", span, message).help(head(block)));
                return None;
            };
            let inner = self.push_frame(Frame::new(block, String::new(), String::new(), dims.clone()));
            let value = self.dim(inner, default);
            self.frames.pop();
            dims.insert(dim.name.text.clone(), value?);
        }
        Some(Rc::new(Instance { block, dims, path, library: definition.library, layers: None }))
    }

    /// Opens a frame for an application: its states exist, its inputs are not bound.
    pub(super) fn open(
        &mut self,
        frame: usize,
        instance: &Instance<'a>,
        path: String,
        span: Span,
    ) -> Option<usize> {
        if let Some(layers) = instance.layers {
            return self.open_layers(frame, instance, layers, path, span);
        }
        let block = instance.block;
        if self.active.contains(&block.name.text.as_str()) {
            let mut names: Vec<&str> =
                self.active.iter().copied().skip_while(|name| *name != block.name.text).collect();
            names.push(&block.name.text);
            let diagnostic = Diagnostic::error(
                "cell-cycle",
                span,
                format!("cells contain each other: {}", names.join(" -> ")),
            )
            .help("a cell cannot be part of itself; carry its state with `h[t-1]` instead");
            self.report(frame, diagnostic);
            return None;
        }
        if !self.within_limits(frame, span) {
            return None;
        }
        self.applied.push(&block.name.text);
        let mut inner = Frame::new(block, path, instance.path.clone(), instance.dims.clone());
        inner.site = self.frames[frame].site.or(instance.library.then_some(span));
        inner.axis = self.frames[frame].axis;
        inner.backward = self.frames[frame].backward;
        let id = self.push_frame(inner);
        self.declare(id);
        // Until the arguments say more, states live on the axis that the surrounding cell runs along.
        let axes = self.frames[frame].axis.map_or(AxisSet::BATCH, |axis| AxisSet::BATCH.with(axis));
        for node in self.state_nodes(id) {
            self.graph.node_mut(node).ty.axes = axes;
        }
        Some(id)
    }

    pub(super) fn state_nodes(&self, frame: usize) -> Vec<crate::ir::NodeId> {
        let this = &self.frames[frame];
        this.order
            .iter()
            .filter_map(|name| match this.symbols.get(name) {
                Some(Symbol::State { node, .. }) => Some(*node),
                _ => None,
            })
            .collect()
    }

    /// Binds the arguments of an opened frame and works out its equations.
    pub(super) fn close(&mut self, caller: usize, applied: usize, args: &'a [Arg], span: Span) -> Option<()> {
        let block = self.frames[applied].block;
        let Some(given) = self.arguments(caller, block, args) else {
            self.fail(applied);
            return None;
        };
        match self.frames[applied].layers.is_empty() {
            true => self.bind(caller, applied, given, span),
            false => self.bind_layers(caller, applied, given, span),
        }
    }

    /// The arguments of an application of `block`, in the frame of the caller.
    fn arguments(&mut self, caller: usize, block: &'a ast::Block, args: &'a [Arg]) -> Option<Given<'a>> {
        let inputs = inputs(block);
        let mut given = Given { bound: HashMap::new(), starts: Vec::new(), along: None, backward: false };
        let mut positional = inputs.iter();
        let mut sound = true;
        for arg in args {
            match arg {
                Arg::Value(Expr { kind: ExprKind::Name(word), .. })
                    if word == "backward" && self.resolve(caller, word).is_none() =>
                {
                    given.backward = true;
                }
                Arg::Along(name) => given.along = self.axis_named(caller, name),
                Arg::Value(value) => {
                    let Some((name, _)) = positional.next() else {
                        let names: Vec<String> =
                            inputs.iter().map(|(name, _)| format!("`{}`", name.text)).collect();
                        let message = format!(
                            "`{}` has no input for this: it takes {}",
                            block.name.text,
                            names.join(", ")
                        );
                        self.report(caller, Diagnostic::error("arguments", value.span, message));
                        sound = false;
                        continue;
                    };
                    match self.value(caller, value) {
                        Some(operand) => sound &= self.give(caller, &mut given, name, (operand, value.span)),
                        None => sound = false,
                    }
                }
                Arg::Named(key, value) => {
                    let operand = self.value(caller, value);
                    let Some(operand) = operand else {
                        sound = false;
                        continue;
                    };
                    if let Some((name, _)) = inputs.iter().find(|(name, _)| name.text == key.text) {
                        sound &= self.give(caller, &mut given, name, (operand, value.span));
                    } else if given.starts.iter().any(|(known, _)| known.text == key.text) {
                        self.given_twice(caller, &key.text, value.span);
                        sound = false;
                    } else {
                        given.starts.push((key, operand));
                    }
                }
                Arg::Over(value, _) => {
                    let text = "`over` is for reductions; a cell runs `along` an axis";
                    self.report(caller, Diagnostic::error("arguments", value.span, text));
                    sound = false;
                }
            }
        }
        sound.then_some(given)
    }

    /// Takes the value of an input; false if it has one already.
    fn give(
        &mut self,
        caller: usize,
        given: &mut Given<'a>,
        name: &'a ast::Ident,
        value: (Operand, Span),
    ) -> bool {
        let is_first = given.bound.insert(&name.text, value).is_none();
        if !is_first {
            self.given_twice(caller, &name.text, value.1);
        }
        is_first
    }

    fn given_twice(&mut self, frame: usize, name: &str, span: Span) {
        self.report(frame, Diagnostic::error("arguments", span, format!("`{name}` is given twice")));
    }

    /// As [`Self::close`], with arguments that have been worked out.
    pub(super) fn bind(&mut self, caller: usize, applied: usize, given: Given<'a>, span: Span) -> Option<()> {
        let block = self.frames[applied].block;
        let inputs = inputs(block);
        let Given { mut bound, starts, along, backward } = given;
        for (name, declaration) in &inputs {
            if !bound.contains_key(name.text.as_str()) {
                let message = format!("`{}` needs its input `{}`", block.name.text, name.text);
                let mut diagnostic = Diagnostic::error("arguments", span, message);
                // The library's text is not the user's: places in it mean nothing here.
                if self.frames[applied].site.is_none() {
                    diagnostic = diagnostic.label(declaration.span, "declared here");
                }
                self.report(caller, diagnostic);
                self.fail(applied);
                return None;
            }
        }
        let is_tree = block.axis.as_ref().is_some_and(|axis| axis.tree);
        let axes = match is_tree {
            true => self.running_tree(caller, applied, &inputs, &mut bound, along, span)?,
            false => self.running_axis(caller, applied, &inputs, &bound, along, span)?,
        };
        if backward && is_tree {
            let diagnostic = Diagnostic::error("arguments", span, "a tree is not run backward")
                .help("a cell that reads `h[parent]` runs from the root to the leaves");
            self.report(caller, diagnostic);
            self.fail(applied);
            return None;
        }
        if backward {
            self.frames[applied].backward = !self.frames[applied].backward;
        }
        self.settle_states(caller, applied, axes, span)?;
        self.bind_inputs(caller, applied, &inputs, &bound)?;
        self.bind_starts(caller, applied, starts)?;
        let name: &'a str = &block.name.text;
        self.active.push(name);
        self.depth += 1;
        self.statements(applied);
        self.depth -= 1;
        self.active.pop();
        Some(())
    }

    pub(super) fn fail(&mut self, applied: usize) {
        for symbol in self.frames[applied].symbols.values_mut() {
            *symbol = Symbol::Failed;
        }
    }

    /// Chooses the axis the cell runs along and returns the axes of its states.
    fn running_axis(
        &mut self,
        caller: usize,
        applied: usize,
        inputs: &[(&'a ast::Ident, &'a ast::Declaration)],
        bound: &HashMap<&str, (Operand, Span)>,
        along: Option<AxisId>,
        span: Span,
    ) -> Option<AxisSet> {
        let block = self.frames[applied].block;
        let mut axes = AxisSet::BATCH;
        for (name, declaration) in inputs {
            if declaration.over.is_empty()
                && let Some((operand, _)) = bound.get(name.text.as_str())
            {
                axes = axes.union(self.graph.type_at(*operand).axes);
            }
        }
        let steps = axes.without(BATCH);
        let outer = self.frames[caller].axis;
        let chosen = match (along, outer, steps.len()) {
            (Some(axis), _, _) => Some(axis),
            (None, Some(axis), _) if steps.contains(axis) || steps.is_empty() => Some(axis),
            (None, _, 1) => steps.iter().next(),
            (None, _, 0) => None,
            (None, _, _) if self.state_nodes(applied).is_empty() => None,
            (None, _, _) => {
                let diagnostic = Diagnostic::error(
                    "which-axis",
                    span,
                    format!("`{}` could run along any of {}", block.name.text, self.axes_text(steps)),
                )
                .help(format!(
                    "say which: `{}(…)(…, along {})`",
                    block.name.text,
                    self.first_axis(steps)
                ));
                self.report(caller, diagnostic);
                self.fail(applied);
                return None;
            }
        };
        if chosen.is_none() && !self.state_nodes(applied).is_empty() {
            let diagnostic = Diagnostic::error(
                "no-axis",
                span,
                format!("`{}` has a state and runs along an axis, but its inputs have none", block.name.text),
            )
            .help("apply it to a value over time, such as `embed[words]` with `input words: id(V) over t`");
            self.report(caller, diagnostic);
            self.fail(applied);
            return None;
        }
        if let Some(axis) = chosen
            && !self.state_nodes(applied).is_empty()
        {
            self.check_sequence(caller, applied, axis, span)?;
        }
        let inner = &mut self.frames[applied];
        inner.axis = chosen;
        if chosen != outer {
            // Another axis than the surrounding cell's is run from its own start.
            inner.backward = false;
        }
        if let Some(axis) = chosen {
            let local = block.axis.as_ref().map_or("t", |axis| axis.name.text.as_str());
            inner.axes.insert(local.to_string(), axis);
            axes = self.graph.closed(axes.with(axis));
        }
        Some(axes)
    }

    fn first_axis(&self, axes: AxisSet) -> String {
        axes.iter().next().map_or(String::new(), |axis| self.graph.axis_name(axis).to_string())
    }

    /// Gives the states their final axes; readers that came earlier must have seen the same.
    fn settle_states(&mut self, caller: usize, applied: usize, axes: AxisSet, span: Span) -> Option<()> {
        for node in self.state_nodes(applied) {
            if self.graph.ty(node).axes == axes {
                continue;
            }
            if !self.graph.users(node).is_empty() {
                let diagnostic = Diagnostic::error(
                    "axis-mismatch",
                    span,
                    "a state is read in the arguments of its own application along another axis than it runs",
                );
                self.report(caller, diagnostic);
                self.fail(applied);
                return None;
            }
            self.graph.node_mut(node).ty.axes = axes;
        }
        Some(())
    }

    fn bind_inputs(
        &mut self,
        caller: usize,
        applied: usize,
        inputs: &[(&'a ast::Ident, &'a ast::Declaration)],
        bound: &HashMap<&str, (Operand, Span)>,
    ) -> Option<()> {
        let mut sound = true;
        for (name, declaration) in inputs {
            let (operand, place) = bound[name.text.as_str()];
            let found = self.graph.type_at(operand);
            let Some((shape, element)) = self.declared_type(applied, &declaration.ty) else {
                sound = false;
                continue;
            };
            let fits = match (found.element, element) {
                (crate::ir::Element::Real, crate::ir::Element::Real) => found.shape == shape,
                (crate::ir::Element::Id(a), crate::ir::Element::Id(b)) => a == b,
                (crate::ir::Element::Real, crate::ir::Element::Id(_))
                | (crate::ir::Element::Id(_), crate::ir::Element::Real) => false,
            };
            if !fits {
                let wanted = crate::ir::ValueType { shape, element, axes: found.axes };
                let mut diagnostic = Diagnostic::error(
                    "shape-mismatch",
                    place,
                    format!(
                        "`{}` takes `{}: {}`, this is {}",
                        self.frames[applied].block.name.text,
                        name.text,
                        self.type_text(applied, &wanted),
                        self.type_text(caller, &found)
                    ),
                )
                .note(self.type_text(caller, &found));
                if self.frames[applied].site.is_none() {
                    diagnostic = diagnostic.label(declaration.span, "declared here");
                }
                diagnostic = self.with_declaration(diagnostic, operand, place);
                if let (crate::ir::Element::Id(_), crate::ir::Element::Real) = (found.element, element) {
                    diagnostic = diagnostic.help("an id is not a number: look it up, `embed[words]`");
                }
                self.report(caller, diagnostic);
                sound = false;
                continue;
            }
            // `input memory: [H] over s`: the argument's axes other than the running one get local names.
            let running = self.frames[applied].axis;
            let own: Vec<AxisId> = found
                .axes
                .without(BATCH)
                .iter()
                .filter(|&axis| {
                    Some(axis) != running || declaration.over.len() == found.axes.without(BATCH).len()
                })
                .collect();
            if !declaration.over.is_empty() {
                if own.len() != declaration.over.len() {
                    let diagnostic = Diagnostic::error(
                        "axis-mismatch",
                        place,
                        format!(
                            "`{}` is declared over {} axes, this has {}",
                            name.text,
                            declaration.over.len(),
                            own.len()
                        ),
                    );
                    self.report(caller, diagnostic);
                    sound = false;
                    continue;
                }
                for (local, axis) in declaration.over.iter().zip(own) {
                    let wanted = self.own_derived(applied, local);
                    let fits = match wanted {
                        Some(wanted) => wanted == axis,
                        None => !local.tree || self.settle(axis, true),
                    };
                    if !fits {
                        let message = format!(
                            "`{}` is declared over {}, this is over {}",
                            name.text,
                            local.name.text,
                            self.graph.axis_label(axis)
                        );
                        self.report(caller, Diagnostic::error("axis-mismatch", place, message));
                        sound = false;
                    }
                    self.frames[applied].axes.insert(local.name.text.clone(), axis);
                }
            }
            self.define(applied, name, Symbol::Known(Thing::Value(operand)));
        }
        if !sound {
            self.fail(applied);
        }
        sound.then_some(())
    }

    /// Initial states given by name: `h = enc.h[last]`.
    fn bind_starts(
        &mut self,
        caller: usize,
        applied: usize,
        starts: Vec<(&'a ast::Ident, Operand)>,
    ) -> Option<()> {
        for (key, operand) in starts {
            let Some(Symbol::State { node, declared, .. }) =
                self.frames[applied].symbols.get(&key.text).cloned()
            else {
                let block = self.frames[applied].block;
                let known: Vec<String> = self.frames[applied].symbols.keys().cloned().collect();
                let message = format!("`{}` has no input or state `{}`", block.name.text, key.text);
                let mut diagnostic = Diagnostic::error("unknown-name", key.span, message);
                if let Some(near) = nearest(&key.text, known.iter().map(String::as_str)) {
                    diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
                }
                self.report(caller, diagnostic);
                self.fail(applied);
                return None;
            };
            let wanted = self.graph.ty(node).clone();
            let found = self.graph.type_at(operand);
            let misfit = found.shape != wanted.shape
                || self.frames[applied].axis.is_some_and(|axis| found.axes.contains(axis))
                || !wanted.axes.covers(found.axes);
            if misfit {
                let message = format!(
                    "state `{}` starts from one {} for each example, this is {}",
                    key.text,
                    self.shape_text(applied, &wanted.shape),
                    self.type_text(caller, &found)
                );
                let diagnostic = Diagnostic::error("shape-mismatch", key.span, message)
                    .help("take one position, such as `enc.h[last]`");
                self.report(caller, diagnostic);
                self.fail(applied);
                return None;
            }
            let symbol = Symbol::State { node, start: Start::Known(operand), declared };
            self.frames[applied].symbols.insert(key.text.clone(), symbol);
        }
        Some(())
    }

    /// The value that an applied cell stands for: its first state, else `y`, else its last equation.
    pub(super) fn primary(&mut self, frame: usize, applied: usize, span: Span) -> Option<Operand> {
        let block = self.frames[applied].block;
        let name = primary_name(block);
        let Some(name) = name else {
            let message = format!("`{}` has no equation to stand for it", block.name.text);
            self.report(frame, Diagnostic::error("no-value", span, message));
            return None;
        };
        let thing = self.field(frame, applied, name, span)?;
        self.value_of(applied, thing, span)
    }

    /// As [`Self::primary`], without complaint.
    pub(super) fn primary_quietly(&self, applied: usize) -> Option<Operand> {
        let name = primary_name(self.frames[applied].block)?;
        match self.frames[applied].symbols.get(name)? {
            Symbol::Known(Thing::Value(value)) => Some(*value),
            Symbol::Known(Thing::Applied(inner)) => self.primary_quietly(*inner),
            Symbol::State { node, .. } => Some((*node).into()),
            _ => None,
        }
    }

    /// A value of an applied cell (`enc.h`), or a cell applied inside it (`att.dec`, for `att.dec.h`).
    pub(super) fn field(
        &mut self,
        frame: usize,
        applied: usize,
        name: &str,
        span: Span,
    ) -> Option<Thing<'a>> {
        match self.frames[applied].symbols.get(name).cloned() {
            Some(Symbol::State { node, .. }) => Some(Thing::Value(node.into())),
            Some(Symbol::Known(thing)) => Some(thing),
            Some(Symbol::Pending { .. } | Symbol::Working { .. }) => self.lookup(applied, name, span),
            Some(Symbol::Failed) => None,
            None => {
                let this = &self.frames[applied];
                let known: Vec<&str> = this.symbols.keys().map(String::as_str).collect();
                let message = format!("`{}` has no value `{name}`", this.block.name.text);
                let mut diagnostic = Diagnostic::error("unknown-name", span, message);
                let mut all = known.clone();
                all.sort_unstable();
                diagnostic = match nearest(name, known) {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic.help(format!("it has: {}", all.join(", "))),
                };
                self.report(frame, diagnostic);
                None
            }
        }
    }

    /// Path of the values of an application in this frame.
    pub(super) fn path_for(&mut self, frame: usize, hint: Option<&str>, callee: Span, cell: &str) -> String {
        let this = &self.frames[frame];
        let local = match hint {
            Some(name) => name.to_string(),
            None => this.anonymous.get(&callee.start).cloned().unwrap_or_else(|| cell.to_lowercase()),
        };
        join(&this.path, &local)
    }
}

/// The inputs of a block, in order.
pub(super) fn inputs(block: &ast::Block) -> Vec<(&ast::Ident, &ast::Declaration)> {
    let mut inputs = Vec::new();
    for statement in &block.statements {
        if let Statement::Input(list) = statement {
            inputs.extend(list.iter().flat_map(|it| it.names.iter().map(move |name| (name, it))));
        }
    }
    inputs
}

pub(super) fn primary_name(block: &ast::Block) -> Option<&str> {
    let mut last = None;
    let mut output = None;
    for statement in &block.statements {
        match statement {
            Statement::State(list) => {
                return list
                    .first()
                    .and_then(|declaration| declaration.names.first())
                    .map(|name| name.text.as_str());
            }
            Statement::Equation { target, .. } => {
                last = Some(target.name.text.as_str());
                if target.name.text == "y" {
                    output = last;
                }
            }
            _ => {}
        }
    }
    output.or(last)
}

fn head(block: &ast::Block) -> String {
    let dims: Vec<&str> = block.dims.iter().map(|dim| dim.name.text.as_str()).collect();
    format!("it is defined as `{}({})`", block.name.text, dims.join(", "))
}
