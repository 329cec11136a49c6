//! Trees: which axes are trees, what comes from them, and positions among their nodes.
//!
//! `h[left]` and `h[child]` lead from a node towards the leaves, `d[parent]` towards the root. `child` is an
//! axis of its own, the children of each node, `leaf` another, the leaves in order; both are made when
//! something names them (`n.child`, or `child` where one tree is meant). An axis that nothing has called
//! a tree becomes one, or a sequence, by its first use.

use std::collections::HashMap;

use crate::base::{Diagnostic, Span};
use crate::ir::{Access, AxisId, AxisKind, AxisSet, BATCH, Operand};
use crate::syntax::ast::{self, Arg, Expr, ExprKind, Statement};

use super::Checker;

/// A place among the nodes of a tree, seen from one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodePlace {
    /// `root`
    Root,
    /// `left`, `right`, `child(2)`
    Nth(u32),
    /// `parent(left)`: the parent whose left child this is.
    NthOf(u32),
    /// `parent`
    Parent,
    /// `child`: every child.
    Child,
    /// `leaf`: the node that a leaf is.
    Leaf,
}

/// How many children can be named by their number.
const MOST_CHILDREN: f64 = 4096.0;

impl<'a> Checker<'a> {
    /// The axis that a name (perhaps dotted) means in a frame, if it means one.
    pub(super) fn axis_in(&mut self, frame: usize, name: &str) -> Option<AxisId> {
        if let Some(&found) = self.frames[frame].axes.get(name) {
            return Some(found);
        }
        let (tree, word) = match name.rsplit_once('.') {
            Some((tree, word)) => (self.frames[frame].axes.get(tree).copied()?, word),
            None if self.frames[frame].symbols.contains_key(name) => return None,
            None if matches!(name, "child" | "leaf") => (self.tree_of_frame(frame)?, name),
            None => return None,
        };
        if !matches!(word, "child" | "leaf") || !self.may_be_tree(tree) {
            return None;
        }
        self.settle(tree, true);
        if word == "child" { self.graph.children_of(tree) } else { self.graph.leaves_of(tree) }
    }

    /// The tree that a frame runs along, or the only one that it knows.
    fn tree_of_frame(&self, frame: usize) -> Option<AxisId> {
        let this = &self.frames[frame];
        let is_tree = |axis: &AxisId| self.graph.axis_kind(*axis) == AxisKind::Tree;
        let mut known: Vec<AxisId> = this.axes.values().copied().filter(is_tree).collect();
        known.sort_unstable();
        known.dedup();
        match known[..] {
            _ if this.axis.is_some_and(|axis| is_tree(&axis)) => this.axis,
            [only] => Some(only),
            _ => None,
        }
    }

    fn may_be_tree(&self, axis: AxisId) -> bool {
        match self.graph.axis_kind(axis) {
            AxisKind::Tree => true,
            AxisKind::Time => !self.settled.contains(&axis),
            AxisKind::Batch | AxisKind::Children(_) | AxisKind::Leaves(_) => false,
        }
    }

    /// Makes an axis that has been used as neither a tree or a sequence for good; false if it is the other.
    pub(super) fn settle(&mut self, axis: AxisId, tree: bool) -> bool {
        let is_tree = self.graph.axis_kind(axis) == AxisKind::Tree;
        let derived = matches!(self.graph.axis_kind(axis), AxisKind::Children(_) | AxisKind::Leaves(_));
        if derived || axis == BATCH {
            return !tree && self.graph.axis_kind(axis).is_sequence();
        }
        if self.settled.insert(axis)
            && tree
            && let Some(axis) = self.graph.axes.get_mut(usize::from(axis.0))
        {
            axis.kind = AxisKind::Tree;
            return true;
        }
        is_tree == tree
    }

    /// Axes that a model's head and declarations name.
    pub(super) fn declare_axes(&mut self, frame: usize) {
        let block = self.frames[frame].block;
        let mut declared: Vec<&'a ast::AxisDecl> = block.axis.iter().collect();
        for statement in &block.statements {
            let (Statement::Input(list) | Statement::State(list)) = statement else { continue };
            declared.extend(list.iter().flat_map(|declaration| &declaration.over));
        }
        let has_tree = declared.iter().any(|axis| axis.tree);
        let is_derived = |axis: &ast::AxisDecl| {
            axis.name.text.contains('.') || has_tree && matches!(axis.name.text.as_str(), "child" | "leaf")
        };
        // In the order of the text, but for a `child` or `leaf` before its tree.
        let mut waiting = Vec::new();
        for axis in declared {
            let tree = axis.name.text.rsplit_once('.').map(|(tree, _)| tree);
            match tree {
                _ if !is_derived(axis) => self.declare_axis(frame, &axis.name.text, &axis.name, axis.tree),
                Some(tree) => {
                    if !self.frames[frame].axes.contains_key(tree) {
                        self.declare_axis(frame, tree, &axis.name, true);
                    }
                    self.axis_named(frame, &axis.name);
                }
                None if self.axis_in(frame, &axis.name.text).is_none() => waiting.push(axis),
                None => {}
            }
        }
        for axis in waiting {
            self.axis_named(frame, &axis.name);
        }
    }

    fn declare_axis(&mut self, frame: usize, name: &str, place: &ast::Ident, tree: bool) {
        let Some(axis) = self.graph.axis(name, AxisKind::Time) else {
            let diagnostic = Diagnostic::error("too-large", place.span, "more than 63 axes");
            self.report(frame, diagnostic);
            return;
        };
        self.frames[frame].axes.insert(name.to_string(), axis);
        if tree {
            self.settle(axis, true);
        }
    }

    /// The tree along which a value is meant to be read where no tree is named.
    fn tree_of(&self, frame: usize, operand: Operand) -> Option<AxisId> {
        let axes = self.graph.type_at(operand).axes.without(BATCH);
        let mut trees: Vec<AxisId> =
            axes.iter().filter_map(|axis| self.graph.axis_kind(axis).tree(axis)).collect();
        if trees.is_empty() {
            trees.extend(axes.iter().filter(|axis| self.may_be_tree(*axis)));
        }
        trees.sort_unstable();
        trees.dedup();
        let running = self.frames[frame].axis.filter(|axis| self.may_be_tree(*axis));
        match trees[..] {
            [only] => Some(only),
            _ => running.filter(|axis| trees.is_empty() || trees.contains(axis)),
        }
    }

    /// Reads an index entry as a place among nodes: the tree and the place.
    pub(super) fn node_place(
        &mut self,
        frame: usize,
        operand: Operand,
        expr: &Expr,
    ) -> Option<(AxisId, NodePlace)> {
        let (base, args) = match &expr.kind {
            ExprKind::Call(callee, args) => (&**callee, Some(&args[..])),
            _ => (expr, None),
        };
        let (tree, word) = match &base.kind {
            ExprKind::Name(word) => (None, word.as_str()),
            ExprKind::Field(inner, word) => match &inner.kind {
                ExprKind::Name(name) => (Some(*self.frames[frame].axes.get(name)?), word.text.as_str()),
                _ => return None,
            },
            _ => return None,
        };
        let named = tree.is_some();
        if !named && self.frames[frame].symbols.contains_key(word) {
            return None;
        }
        let place = match (word, args) {
            ("root", None) => NodePlace::Root,
            ("left", None) => NodePlace::Nth(0),
            ("right", None) => NodePlace::Nth(1),
            ("parent", None) => NodePlace::Parent,
            ("child", None) => NodePlace::Child,
            ("leaf", None) => NodePlace::Leaf,
            ("child", Some([Arg::Value(number)])) => NodePlace::Nth(self.child_number(frame, number)?),
            ("parent", Some([Arg::Value(which)])) => match &which.kind {
                ExprKind::Name(word) if word == "left" => NodePlace::NthOf(0),
                ExprKind::Name(word) if word == "right" => NodePlace::NthOf(1),
                ExprKind::Call(callee, args) => match (&callee.kind, &args[..]) {
                    (ExprKind::Name(word), [Arg::Value(number)]) if word == "child" => {
                        NodePlace::NthOf(self.child_number(frame, number)?)
                    }
                    _ => return None,
                },
                _ => return None,
            },
            _ => return None,
        };
        let tree = tree.or_else(|| self.tree_of(frame, operand)).or_else(|| {
            // A sequence has no such place, which is a better answer than an unknown name.
            let mut axes = self.graph.type_at(operand).axes.without(BATCH).iter();
            axes.next().filter(|_| axes.next().is_none())
        })?;
        Some((tree, place))
    }

    fn child_number(&mut self, frame: usize, expr: &Expr) -> Option<u32> {
        let number = self.number(frame, expr, false)?;
        (number.fract() == 0.0 && (0.0..MOST_CHILDREN).contains(&number)).then_some(number as u32)
    }

    /// A value at a place among nodes.
    pub(super) fn at_node(
        &mut self,
        frame: usize,
        operand: Operand,
        (tree, place): (AxisId, NodePlace),
        span: Span,
    ) -> Option<Operand> {
        if !self.settle(tree, true) {
            let name = self.graph.axis_name(tree).to_string();
            let message = format!("{name} is a sequence, which has no nodes");
            let diagnostic = Diagnostic::error("axis-mismatch", span, message)
                .help(format!("declare it `over tree {name}`, or read an earlier step, `[{name}-1]`"));
            self.report(frame, diagnostic);
            return None;
        }
        let axes = self.graph.type_at(operand).axes;
        let of_tree = |axis: AxisId, kind: AxisKind| self.graph.axis_kind(axis) == kind;
        let children = axes.iter().find(|&axis| of_tree(axis, AxisKind::Children(tree)));
        let leaves = axes.iter().find(|&axis| of_tree(axis, AxisKind::Leaves(tree)));
        let access = match (place, children) {
            (NodePlace::Child, Some(_)) => return Some(operand),
            (NodePlace::Leaf, _) if leaves.is_some() => return Some(operand),
            (NodePlace::Parent, Some(children)) => Access::Edge { tree, children },
            (_, Some(_)) => {
                let message = "the value is one for each child of a node, not one for each node";
                let diagnostic = Diagnostic::error("axis-mismatch", span, message)
                    .help("reduce it, `sum(… over child)`, or read it at a node's own place, `[parent]`");
                self.report(frame, diagnostic);
                return None;
            }
            (NodePlace::Root, None) => Access::First(tree),
            (NodePlace::Nth(number), None) => Access::Nth { tree, number },
            (NodePlace::NthOf(number), None) => Access::NthOf { tree, number },
            (NodePlace::Parent, None) => Access::Parent(tree),
            (NodePlace::Child, None) => {
                Access::Child { tree, children: self.derived(frame, tree, true, span)? }
            }
            (NodePlace::Leaf, None) => {
                Access::AtLeaf { tree, leaves: self.derived(frame, tree, false, span)? }
            }
        };
        let operand = match leaves {
            // What only leaves have is nothing at the other nodes.
            Some(leaves) if !axes.contains(tree) => {
                self.moved(frame, operand, Access::AtNode { tree, leaves }, span)?
            }
            _ => self.on_axis(frame, operand, tree, 1, span)?,
        };
        self.moved(frame, operand, access, span)
    }

    fn derived(&mut self, frame: usize, tree: AxisId, children: bool, span: Span) -> Option<AxisId> {
        let made = if children { self.graph.children_of(tree) } else { self.graph.leaves_of(tree) };
        if made.is_none() {
            self.report(frame, Diagnostic::error("too-large", span, "more than 63 axes"));
        }
        made
    }

    /// A value that only the leaves of a tree have, at all its nodes; any other as it is.
    pub(super) fn at_nodes(&mut self, frame: usize, operand: Operand, tree: AxisId, span: Span) -> Operand {
        let axes = self.graph.type_at(operand).axes;
        let leaves = axes.iter().find(|&axis| self.graph.axis_kind(axis) == AxisKind::Leaves(tree));
        match leaves {
            Some(leaves) if !axes.contains(tree) => {
                self.moved(frame, operand, Access::AtNode { tree, leaves }, span).unwrap_or(operand)
            }
            _ => operand,
        }
    }

    /// Chooses the tree that a cell runs along, brings what only its leaves have to all its nodes, and
    /// returns the axes of the cell's states.
    pub(super) fn running_tree(
        &mut self,
        caller: usize,
        applied: usize,
        inputs: &[(&'a ast::Ident, &'a ast::Declaration)],
        bound: &mut HashMap<&'a str, (Operand, Span)>,
        along: Option<AxisId>,
        span: Span,
    ) -> Option<AxisSet> {
        let block = self.frames[applied].block;
        let mut trees: Vec<AxisId> = Vec::new();
        for (operand, _) in bound.values() {
            let axes = self.graph.type_at(*operand).axes.without(BATCH);
            trees.extend(axes.iter().filter_map(|axis| self.graph.axis_kind(axis).tree(axis)));
            trees.extend(axes.iter().filter(|axis| self.may_be_tree(*axis)));
        }
        trees.sort_unstable();
        trees.dedup();
        let outer = self.frames[caller].axis.filter(|axis| trees.is_empty() || trees.contains(axis));
        let chosen = match (along, outer, &trees[..]) {
            (Some(axis), ..) | (None, Some(axis), _) => axis,
            (None, None, [only]) => *only,
            (None, None, several) => {
                let name = &block.name.text;
                let all = bound.values().map(|(operand, _)| self.graph.type_at(*operand).axes);
                let sequence = all.fold(AxisSet::NONE, AxisSet::union).without(BATCH).iter().next();
                let diagnostic = match (several, sequence) {
                    ([], Some(axis)) => self.no_tree(applied, axis, span),
                    ([], None) => Diagnostic::error(
                        "no-axis",
                        span,
                        format!("`{name}` runs over a tree, but its inputs have none"),
                    )
                    .help("apply it to a value over a tree: `input words: id(V) over tree n`"),
                    ([first, ..], _) => {
                        let names: Vec<&str> =
                            several.iter().map(|axis| self.graph.axis_name(*axis)).collect();
                        let message = format!("`{name}` could run over any of {}", names.join(", "));
                        let first = self.graph.axis_name(*first);
                        Diagnostic::error("which-axis", span, message)
                            .help(format!("say which: `{name}(…)(…, along {first})`"))
                    }
                };
                self.report(caller, diagnostic);
                self.fail(applied);
                return None;
            }
        };
        if !self.settle(chosen, true) {
            let diagnostic = self.no_tree(applied, chosen, span);
            self.report(caller, diagnostic);
            self.fail(applied);
            return None;
        }
        let mut axes = AxisSet::BATCH.with(chosen);
        for (name, declaration) in inputs {
            if declaration.over.is_empty()
                && let Some(&(operand, place)) = bound.get(name.text.as_str())
            {
                let operand = self.at_nodes(caller, operand, chosen, place);
                bound.insert(&name.text, (operand, place));
                axes = axes.union(self.graph.type_at(operand).axes);
            }
        }
        let inner = &mut self.frames[applied];
        inner.axis = Some(chosen);
        inner.backward = false;
        if let Some(axis) = &block.axis {
            inner.axes.insert(axis.name.text.clone(), chosen);
        }
        Some(axes)
    }

    fn no_tree(&self, applied: usize, axis: AxisId, span: Span) -> Diagnostic {
        let (name, axis) = (&self.frames[applied].block.name.text, self.graph.axis_name(axis));
        let message = format!("`{name}` runs over a tree, and {axis} is a sequence");
        Diagnostic::error("axis-mismatch", span, message)
            .help(format!("declare the axis a tree: `input words: id(V) over tree {axis}`"))
    }

    /// How to bring a value along axes that its state lacks to the state.
    pub(super) fn help_for_stray(&self, stray: AxisSet) -> String {
        let kinds: Vec<AxisKind> = stray.iter().map(|axis| self.graph.axis_kind(axis)).collect();
        let names = self.axes_text(stray);
        match kinds[..] {
            [AxisKind::Children(_)] => {
                "reduce the value over the children: sum(… over child), mean, max or a softmax-weighted sum"
                    .into()
            }
            [AxisKind::Leaves(tree)] => {
                let tree = self.graph.axis_name(tree);
                format!("read what the leaves have at the nodes, where it is zero elsewhere: `x[{tree}]`")
            }
            _ => format!(
                "declare the state over {names}, too, or reduce the value: sum(… over {names}), mean, max or a softmax-weighted sum"
            ),
        }
    }

    /// The axis that a cell's input is declared over, where it is one of the cell's own tree: `n.leaf`.
    pub(super) fn own_derived(&mut self, applied: usize, declared: &ast::AxisDecl) -> Option<AxisId> {
        let text = declared.name.text.as_str();
        let dotted = text.contains('.') || matches!(text, "child" | "leaf");
        let running = self.frames[applied].axis?;
        let is_tree = self.graph.axis_kind(running) == AxisKind::Tree;
        if dotted && is_tree { self.axis_in(applied, text) } else { None }
    }

    /// Refuses a cell with a memory of steps on an axis that has none.
    pub(super) fn check_sequence(
        &mut self,
        caller: usize,
        applied: usize,
        axis: AxisId,
        span: Span,
    ) -> Option<()> {
        if self.settle(axis, false) {
            return Some(());
        }
        let (name, axis) = (&self.frames[applied].block.name.text, self.graph.axis_label(axis));
        let message = format!("`{name}` runs along a sequence, and {axis} is a tree");
        let diagnostic = Diagnostic::error("axis-mismatch", span, message)
            .help("a cell for trees says so: `cell Name(…) over tree n`; leaves are a sequence: `x[leaf]`");
        self.report(caller, diagnostic);
        self.fail(applied);
        None
    }

    /// Refuses to reduce along children what is the same for each of them, or along nodes what is theirs.
    pub(super) fn whole_trees(
        &mut self,
        frame: usize,
        has: AxisSet,
        over: AxisSet,
        span: Span,
    ) -> Option<()> {
        let (message, help) = over
            .iter()
            .find_map(|axis| match self.graph.axis_kind(axis) {
                AxisKind::Children(_) if !has.contains(axis) => Some((
                    "the value is the same for every child of a node",
                    "read what the children have: `h[child]`; their number is `length(child)`",
                )),
                _ => None,
            })
            .or_else(|| {
                let left = has.minus(over);
                (self.graph.closed(left) != left).then_some((
                    "the value is one for each child of each node",
                    "reduce it over the children, too: `over n, child`",
                ))
            })
            .unzip();
        let (Some(message), Some(help)) = (message, help) else { return Some(()) };
        self.report(frame, Diagnostic::error("axis-mismatch", span, message).help(help));
        None
    }
}
