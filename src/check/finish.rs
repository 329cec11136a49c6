//! What is asked of the whole graph once every statement has been worked out: causality, unused
//! parameters, and the definitions that no model uses.

use std::collections::HashMap;

use crate::base::{Diagnostic, Severity};
use crate::ir::{
    Access, AxisKind, AxisSet, NodeId, Op, Operand, ScheduleError, ValueType, position, schedule, verify,
};
use crate::syntax::ast::{self, Statement};

use super::frame::{Frame, Instance, Symbol, Thing};
use super::{Checked, Checker, DISTINCT};

impl<'a> Checker<'a> {
    /// The result, if there is no error.
    pub(super) fn finish(mut self, model: Option<&'a ast::Block>) -> Result<Checked, Vec<Diagnostic>> {
        if !self.has_errors() {
            self.causality();
        }
        if !self.has_errors() {
            self.bypass_copies();
            self.unused_parameters();
            self.put_in_order();
        }
        if model.is_none() && self.diagnostics.is_empty() {
            self.graph.name = "nothing".into();
        }
        self.diagnostics.sort_by_key(|diagnostic| (diagnostic.span, diagnostic.rule));
        if self.has_errors() {
            return Err(self.diagnostics);
        }
        if cfg!(debug_assertions) {
            let complaints = verify(&self.graph);
            if !complaints.is_empty() {
                let text = format!("the compiler made a wrong graph: {}", complaints.join("; "));
                return Err(vec![Diagnostic::error("internal", crate::base::Span::NONE, text)]);
            }
        }
        Ok(Checked { graph: self.graph, train: self.train, warnings: self.diagnostics })
    }

    fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// A cycle without a delay, or one that no direction can compute, with the cycle shown.
    fn causality(&mut self) {
        let Err(error) = schedule(&self.graph) else { return };
        let (ScheduleError::Instant(nodes) | ScheduleError::Mixed(nodes)) = &error;
        let places = self.places_in(nodes);
        let on_tree = nodes.iter().any(|&node| {
            self.graph.ty(node).axes.iter().any(|axis| self.graph.axis_kind(axis) == AxisKind::Tree)
        });
        let (message, help) = match (&error, on_tree) {
            (ScheduleError::Instant(_), false) => (
                "values depend on each other at the same position".to_string(),
                "a cycle needs a delay: read one of them at an earlier position, `h[t-1]`",
            ),
            (ScheduleError::Instant(_), true) => (
                "values depend on each other at the same node".to_string(),
                "a cycle needs a delay: read one of them at the children, `h[child]`, or at the parent, `h[parent]`",
            ),
            (ScheduleError::Mixed(_), false) => (
                "values depend on each other both ways, or along two axes, or through their own last position"
                    .to_string(),
                "a cycle runs along one axis in one direction: all its delays are `t-k`, or all are `t+k`",
            ),
            (ScheduleError::Mixed(_), true) => (
                format!("values depend on each other without order, through {places}"),
                "a cycle over a tree goes through children (`left`, `right`, `child`) or through `parent`, not both",
            ),
        };
        let named: Vec<NodeId> =
            nodes.iter().copied().filter(|&node| self.graph.node(node).name.is_some()).collect();
        let mut names: Vec<&str> =
            named.iter().filter_map(|&node| self.graph.node(node).name.as_deref()).collect();
        names.dedup();
        if let Some(first) = names.first().copied() {
            names.push(first);
        }
        let first = named
            .first()
            .or(nodes.first())
            .map(|&node| self.graph.node(node).origin.span)
            .unwrap_or_default();
        let mut diagnostic =
            Diagnostic::error("cycle", first, format!("{message}: {}", names.join(" -> "))).help(help);
        for node in named.iter().skip(1).take(6) {
            diagnostic = diagnostic.label(self.graph.node(*node).origin.span, "then through this");
        }
        self.diagnostics.push(diagnostic);
    }

    /// How the nodes of a cycle read each other at other positions: `left` and `parent`.
    fn places_in(&self, nodes: &[NodeId]) -> String {
        let mut words: Vec<String> = Vec::new();
        for &node in nodes {
            for operand in self.graph.operands(node) {
                if nodes.contains(&operand.node) && operand.access != Access::Here {
                    words.push(format!("`{}`", position(&self.graph, operand.access)));
                }
            }
        }
        words.sort();
        words.dedup();
        words.join(" and ")
    }

    /// States were made before their equations as copies of them: read the equations themselves.
    fn bypass_copies(&mut self) {
        for node in self.graph.ids() {
            if *self.graph.op(node) != Op::Copy {
                continue;
            }
            let operand = self.graph.operands(node)[0];
            let source = self.graph.node(operand.node);
            let leaf = matches!(
                source.op,
                Op::Input(_) | Op::Param(_) | Op::Constant(_) | Op::NoId | Op::Position(_)
            );
            let same = source.ty == *self.graph.ty(node) && operand.access == Access::Here;
            // What a state was a step before is not the state, even where its equation says that they are equal.
            let leaf = leaf || source.op == Op::Initially;
            let keep_name = source.name.is_some() && self.graph.node(node).name.is_some();
            if same && !leaf && !keep_name {
                let span = self.graph.node(node).origin;
                self.graph.replace(node, Operand::from(operand.node));
                self.graph.node_mut(operand.node).origin = span;
                self.graph.remove(node);
            }
        }
    }

    /// States that are still nodes of their own were made before all else: their place is that of their
    /// equation, so that the order of nodes is the order of the text.
    fn put_in_order(&mut self) {
        let is_late = |node: NodeId| self.closed.get(&node).copied().filter(|_| self.graph.contains(node));
        if self.graph.ids().into_iter().any(|node| is_late(node).is_some()) {
            self.graph = self.graph.reordered(|node| match is_late(node) {
                Some(place) => (place, false),
                None => (node.index(), true),
            });
        }
    }

    fn unused_parameters(&mut self) {
        for (node, span, path) in self.declared.clone() {
            if self.graph.users(node).is_empty() {
                self.diagnostics.push(
                    Diagnostic::warning(
                        "unused-parameter",
                        span,
                        format!("parameter `{path}` is never used"),
                    )
                    .help("remove it, or use it"),
                );
            }
        }
    }

    /// Checks what the chosen model does not use: the other models, and cells and functions by
    /// themselves.
    pub(super) fn check_the_rest(&mut self, file: &'a ast::File, model: Option<&'a ast::Block>) {
        for item in &file.items {
            match item {
                ast::Item::Model(block) if model.is_none_or(|model| model.name != block.name) => {
                    let mut other = Checker::empty(self.definitions.clone(), self.mode, self.blank);
                    let request = super::Request { model: None, set: &[], mode: self.mode, everything: true };
                    other.model(block, &request);
                    let found = match other.finish(Some(block)) {
                        Ok(checked) => checked.warnings,
                        Err(found) => found,
                    };
                    self.adopt(found);
                }
                ast::Item::Cell(block) if !self.applied.contains(&block.name.text.as_str()) => {
                    let mut other = Checker::empty(self.definitions.clone(), self.mode, self.blank);
                    other.cell_alone(block);
                    let found = match other.finish(None) {
                        Ok(checked) => checked.warnings,
                        Err(found) => found,
                    };
                    self.adopt(found);
                }
                ast::Item::Function(function) if !self.applied.contains(&function.name.text.as_str()) => {
                    let mut other = Checker::empty(self.definitions.clone(), self.mode, self.blank);
                    other.function_alone(function);
                    let found = match other.finish(None) {
                        Ok(checked) => checked.warnings,
                        Err(found) => found,
                    };
                    self.adopt(found);
                }
                ast::Item::Cell(_) | ast::Item::Model(_) | ast::Item::Function(_) => {}
            }
        }
    }

    fn adopt(&mut self, found: Vec<Diagnostic>) {
        for diagnostic in found {
            if !self.diagnostics.contains(&diagnostic) {
                self.diagnostics.push(diagnostic);
            }
        }
    }

    /// A cell that nothing applies, run on made-up inputs of the declared shapes.
    fn cell_alone(&mut self, block: &'a ast::Block) {
        let mut dims = HashMap::new();
        let mut distinct = DISTINCT.into_iter().cycle();
        for dim in &block.dims {
            dims.insert(dim.name.text.clone(), distinct.next().unwrap_or(7));
        }
        let outer = self.push_frame(Frame::new(block, String::new(), String::new(), dims.clone()));
        let instance = Instance { block, dims, path: String::new(), library: false, layers: None };
        let Some(applied) = self.open(outer, &instance, String::new(), block.name.span) else { return };
        let is_tree = block.axis.as_ref().is_some_and(|axis| axis.tree);
        let local = block.axis.as_ref().map_or("t", |axis| axis.name.text.as_str());
        let Some(axis) = self.graph.axis(if is_tree { local } else { "t" }, AxisKind::Time) else { return };
        self.settle(axis, is_tree);
        self.frames[applied].axis = Some(axis);
        self.frames[applied].axes.insert(local.to_string(), axis);
        let axes = AxisSet::BATCH.with(axis);
        for node in self.state_nodes(applied) {
            self.graph.node_mut(node).ty.axes = axes;
        }
        for statement in &block.statements {
            let Statement::Input(list) = statement else { continue };
            for declaration in list {
                let mut its = axes;
                for declared in &declaration.over {
                    let name = declared.name.text.as_str();
                    let own = self.own_derived(applied, declared);
                    if let Some(axis) = own.or_else(|| self.graph.axis(name, AxisKind::Time)) {
                        if declared.tree {
                            self.settle(axis, true);
                        }
                        self.frames[applied].axes.insert(name.to_string(), axis);
                        its = if its == axes { AxisSet::BATCH.with(axis) } else { its.with(axis) };
                    }
                }
                let Some((shape, element)) = self.declared_type(applied, &declaration.ty) else { continue };
                for name in &declaration.names {
                    let ty = ValueType { shape: shape.clone(), element, axes: its };
                    let spec =
                        crate::ir::InputSpec { name: name.text.clone(), ty: ty.clone(), observed: false };
                    self.graph.inputs.push(spec);
                    let origin = crate::ir::Origin::forward(name.span);
                    let node = self.graph.leaf(Op::Input(name.text.clone()), ty, origin, None);
                    self.define(applied, name, Symbol::Known(Thing::Value(node.into())));
                }
            }
        }
        self.active.push(&block.name.text);
        self.statements(applied);
        self.active.pop();
    }
}
