//! The statements of a block: what it declares, and its equations worked out one by one.

use std::collections::HashMap;

use crate::base::{Diagnostic, Span};
use crate::ir::{
    Access, AxisId, AxisSet, BATCH, InputSpec, Node, NodeId, Op, Operand, Origin, ParamSpec, ValueType,
};
use crate::syntax::ast::{self, Arg, Expr, ExprKind, Statement};

use super::frame::{Frame, Start, Symbol, Thing, join};
use super::{Checker, DISTINCT, Mode, Request};

impl<'a> Checker<'a> {
    /// The whole model.
    pub(super) fn model(&mut self, block: &'a ast::Block, request: &Request) {
        let Some(dims) = self.model_dims(block, request) else { return };
        self.graph.name.clone_from(&block.name.text);
        self.graph.dims = block
            .dims
            .iter()
            .filter_map(|dim| dims.get(&dim.name.text).map(|&value| (dim.name.text.clone(), value)))
            .collect();
        let frame = self.push_frame(Frame::new(block, String::new(), String::new(), dims));
        self.active.push(&block.name.text);
        self.declare_axes(frame);
        self.declare(frame);
        self.model_inputs(frame);
        self.statements(frame);
        self.active.pop();
        self.offer_values(frame);
    }

    fn model_dims(&mut self, block: &'a ast::Block, request: &Request) -> Option<HashMap<String, usize>> {
        let frame = self.push_frame(Frame::new(block, String::new(), String::new(), HashMap::new()));
        for (name, _) in request.set {
            if !block.dims.iter().any(|dim| dim.name.text == *name) {
                let known: Vec<&str> = block.dims.iter().map(|dim| dim.name.text.as_str()).collect();
                let message = format!("`{}` has no dimension `{name}`", block.name.text);
                let diagnostic = Diagnostic::error("unknown-dimension", block.name.span, message)
                    .help(format!("its dimensions are: {}", known.join(", ")));
                self.report(frame, diagnostic);
            }
        }
        let mut missing = Vec::new();
        let mut distinct = DISTINCT.into_iter().cycle();
        for dim in &block.dims {
            let given =
                request.set.iter().rev().find(|(name, _)| *name == dim.name.text).map(|(_, value)| *value);
            let value = match (given, &dim.default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => self.dim(frame, default),
                (None, None) if request.everything => distinct.next(),
                (None, None) => {
                    missing.push(format!("--set {}=N", dim.name.text));
                    None
                }
            };
            if let Some(value) = value {
                if value == 0 {
                    let message = format!("dimension `{}` is 0", dim.name.text);
                    self.report(frame, Diagnostic::error("dimension", dim.name.span, message));
                }
                self.frames[frame].dims.insert(dim.name.text.clone(), value);
            }
        }
        if !missing.is_empty() {
            let message = format!("`{}` has dimensions without a value", block.name.text);
            let diagnostic = Diagnostic::error("unbound-dimension", block.name.span, message)
                .help(format!("give them: {}", missing.join(" ")));
            self.report(frame, diagnostic);
            return None;
        }
        let dims = self.frames.pop()?.dims;
        (dims.len() == block.dims.len()).then_some(dims)
    }

    pub(super) fn push_frame(&mut self, frame: Frame<'a>) -> usize {
        self.frames.push(frame);
        self.frames.len() - 1
    }

    /// Enters states, parameters and equations of a block; inputs are bound by whoever applies it.
    pub(super) fn declare(&mut self, frame: usize) {
        let block = self.frames[frame].block;
        self.name_applications(frame);
        for statement in &block.statements {
            match statement {
                Statement::State(list) => list.iter().for_each(|declaration| self.states(frame, declaration)),
                Statement::Param(list) => list.iter().for_each(|declaration| self.params(frame, declaration)),
                Statement::Equation { target, value } => {
                    let is_state = matches!(
                        self.frames[frame].symbols.get(&target.name.text),
                        Some(Symbol::State { .. })
                    );
                    let declared_later = is_declared_state(block, &target.name.text);
                    if !is_state && !declared_later {
                        self.define(frame, &target.name, Symbol::Pending { value, target });
                        self.frames[frame].order.push(target.name.text.clone());
                    }
                }
                Statement::Input(_)
                | Statement::Gradient(_)
                | Statement::Observe { .. }
                | Statement::Loss { .. }
                | Statement::Metric { .. }
                | Statement::Update { .. }
                | Statement::Train { .. } => {}
            }
        }
    }

    fn states(&mut self, frame: usize, declaration: &'a ast::Declaration) {
        let typed = self.declared_type(frame, &declaration.ty);
        let mut axes = AxisSet::BATCH;
        for axis in &declaration.over {
            axes = self.axis_named(frame, &axis.name).map_or(axes, |axis| self.graph.closed(axes.with(axis)));
        }
        for name in &declaration.names {
            let Some((shape, element)) = typed.clone() else {
                self.define(frame, name, Symbol::Failed);
                continue;
            };
            let node = self.graph.insert(
                Node {
                    op: Op::Copy,
                    ty: ValueType { shape, element, axes },
                    origin: self.origin(frame, declaration.span),
                    name: Some(join(&self.frames[frame].path, &name.text)),
                },
                &[],
            );
            let start = match &declaration.init {
                None => Start::Zero,
                Some(Expr { kind: ExprKind::Name(word), .. }) if word == "zeros" => Start::Zero,
                Some(init) => Start::Pending(init),
            };
            self.define(frame, name, Symbol::State { node, start, declared: name.span });
            self.frames[frame].order.push(name.text.clone());
        }
    }

    fn params(&mut self, frame: usize, declaration: &'a ast::Declaration) {
        let typed = self.declared_type(frame, &declaration.ty);
        let init = self.initializer(frame, declaration);
        for name in &declaration.names {
            let Some((shape, element)) = typed.clone() else {
                self.define(frame, name, Symbol::Failed);
                continue;
            };
            if element != crate::ir::Element::Real {
                let diagnostic =
                    Diagnostic::error("parameter-type", name.span, "a parameter is made of real numbers");
                self.report(frame, diagnostic);
                self.define(frame, name, Symbol::Failed);
                continue;
            }
            let path = join(&self.frames[frame].param_path, &name.text);
            let node = match self.params.get(&path) {
                Some(&node) => node,
                None => {
                    let ((init, argument), trainable) = init.clone().unwrap_or_else(|| {
                        let default = if shape.len() >= 2 { "glorot" } else { "zeros" };
                        ((default.to_string(), None), !is_frozen(declaration))
                    });
                    self.graph.params.push(ParamSpec {
                        name: path.clone(),
                        shape: shape.clone(),
                        init: (init, argument),
                        trainable,
                    });
                    let node = self.graph.leaf(
                        Op::Param(path.clone()),
                        ValueType::real(shape, AxisSet::NONE),
                        self.origin(frame, name.span),
                        None,
                    );
                    self.params.insert(path.clone(), node);
                    if self.frames[frame].site.is_none() {
                        self.declared.push((node, name.span, path));
                    }
                    node
                }
            };
            self.define(frame, name, Symbol::Known(Thing::Value(node.into())));
        }
    }

    /// The initialiser as written; `None` for the default.
    fn initializer(
        &mut self,
        frame: usize,
        declaration: &'a ast::Declaration,
    ) -> Option<((String, Option<f64>), bool)> {
        const KNOWN: [&str; 8] =
            ["glorot", "zeros", "ones", "uniform", "normal", "orthogonal", "constant", "frozen"];
        let init = declaration.init.as_ref()?;
        let mut trainable = true;
        let mut expr = init;
        if let ExprKind::Call(callee, args) = &init.kind
            && matches!(&callee.kind, ExprKind::Name(name) if name == "frozen")
            && let [Arg::Value(inner)] = &args[..]
        {
            trainable = false;
            expr = inner;
        }
        let (name, argument) = match &expr.kind {
            ExprKind::Name(name) => (name.as_str(), None),
            ExprKind::Number(value) => ("constant", Some(*value)),
            ExprKind::Call(callee, args) => match (&callee.kind, &args[..]) {
                (ExprKind::Name(name), [Arg::Value(value)]) => {
                    (name.as_str(), self.number(frame, value, true))
                }
                _ => ("", None),
            },
            _ => ("", None),
        };
        let takes = matches!(name, "uniform" | "normal" | "constant");
        if name == "frozen" {
            return None;
        }
        if !KNOWN.contains(&name) || takes != argument.is_some() {
            let near = super::nearest(name, KNOWN);
            let help = match near {
                Some(near) if !takes => format!("did you mean `{near}`?"),
                _ => "initialisers: glorot, zeros, ones, orthogonal, uniform(a), normal(s), constant(v), frozen(…)".into(),
            };
            let diagnostic =
                Diagnostic::error("initializer", init.span, "this is not an initialiser of a parameter")
                    .help(help);
            self.report(frame, diagnostic);
            return None;
        }
        Some(((name.to_string(), argument), trainable))
    }

    /// A model's inputs are data.
    fn model_inputs(&mut self, frame: usize) {
        let block = self.frames[frame].block;
        for statement in &block.statements {
            let Statement::Input(list) = statement else { continue };
            for declaration in list {
                let typed = self.declared_type(frame, &declaration.ty);
                let over = declaration.over.iter();
                let over: AxisSet = over.filter_map(|axis| self.axis_in(frame, &axis.name.text)).collect();
                let axes = self.graph.closed(over.with(BATCH));
                for name in &declaration.names {
                    let Some((shape, element)) = typed.clone() else {
                        self.define(frame, name, Symbol::Failed);
                        continue;
                    };
                    let ty = ValueType { shape, element, axes };
                    if self.mode == Mode::Generate && is_observed(block, &name.text) {
                        // What training observes, generating draws: a state whose equation is the draw.
                        let origin = self.origin(frame, name.span);
                        let shell = Node { op: Op::Copy, ty, origin, name: Some(name.text.clone()) };
                        let node = self.graph.insert(shell, &[]);
                        let start = Start::Zero;
                        self.define(frame, name, Symbol::State { node, start, declared: name.span });
                        self.frames[frame].order.push(name.text.clone());
                        continue;
                    }
                    let observed = is_observed(block, &name.text);
                    self.graph.inputs.push(InputSpec { name: name.text.clone(), ty: ty.clone(), observed });
                    let node = self.graph.leaf(
                        Op::Input(name.text.clone()),
                        ty,
                        self.origin(frame, name.span),
                        None,
                    );
                    self.define(frame, name, Symbol::Known(Thing::Value(node.into())));
                }
            }
        }
    }

    /// Works out every statement, in order; what was asked for earlier is done already.
    pub(super) fn statements(&mut self, frame: usize) {
        let block = self.frames[frame].block;
        for statement in &block.statements {
            match statement {
                Statement::Input(_) | Statement::State(_) | Statement::Param(_) => {}
                Statement::Equation { target, value } => self.equation(frame, target, value),
                Statement::Observe { target, distribution, args, span } => {
                    self.observe(frame, target, distribution, args, *span);
                }
                Statement::Loss { name, value } => self.loss(frame, name, value, crate::ir::OutputKind::Loss),
                Statement::Metric { name, value } => {
                    self.loss(frame, name, value, crate::ir::OutputKind::Metric)
                }
                Statement::Update { name, value } => self.update(frame, name, value),
                Statement::Gradient(_) => {}
                Statement::Train { settings, .. } => self.settings(frame, settings),
            }
        }
        // Last, so that equations are worked out in the order of the text.
        for statement in &block.statements {
            if let Statement::Gradient(list) = statement {
                self.gradients(frame, list);
            }
        }
        self.undefined_states(frame);
    }

    fn equation(&mut self, frame: usize, target: &'a ast::Target, value: &'a Expr) {
        let name = &target.name.text;
        match self.frames[frame].symbols.get(name).cloned() {
            Some(Symbol::State { node, declared, .. }) => {
                self.state_equation(frame, node, declared, target, value)
            }
            Some(_) => {
                self.lookup(frame, name, target.name.span);
            }
            None => {}
        }
    }

    /// `h[t] = value` for a declared state.
    fn state_equation(
        &mut self,
        frame: usize,
        node: NodeId,
        declared: Span,
        target: &'a ast::Target,
        value: &'a Expr,
    ) {
        if !self.graph.operands(node).is_empty() {
            let diagnostic = Diagnostic::error(
                "duplicate-name",
                target.span,
                format!("state `{}` has two equations", target.name.text),
            )
            .label(self.graph.node(node).origin.span, "the first is here");
            self.report(frame, diagnostic);
            return;
        }
        self.check_target_index(frame, target, node.into());
        let own = self.target_axes(frame, target);
        let outer = self.random_over.replace(own);
        let operand = self.value(frame, value);
        self.random_over = outer;
        let Some(operand) = operand else {
            // Any operand of the right type will do: the mistake has been reported.
            self.frames[frame].symbols.insert(target.name.text.clone(), Symbol::Failed);
            return;
        };
        self.close_state(frame, node, operand, declared, target.span, value.span);
    }

    /// Gives a state its equation, if the types fit.
    pub(super) fn close_state(
        &mut self,
        frame: usize,
        node: NodeId,
        operand: Operand,
        declared: Span,
        place: Span,
        at: Span,
    ) {
        let found = self.graph.type_at(operand);
        let wanted = self.graph.ty(node).clone();
        if found.shape != wanted.shape || found.element != wanted.element {
            let diagnostic = Diagnostic::error(
                "shape-mismatch",
                at,
                format!(
                    "the state is declared {} but its equation gives {}",
                    self.type_text(frame, &wanted),
                    self.type_text(frame, &found)
                ),
            )
            .note(format!("this is {}", self.type_text(frame, &found)))
            .label(declared, format!("declared {} here", self.type_text(frame, &wanted)));
            self.report(frame, diagnostic);
            return;
        }
        let stray = found.axes.minus(wanted.axes);
        if !stray.is_empty() {
            let names = self.axes_text(stray);
            let diagnostic = Diagnostic::error(
                "axis-mismatch",
                at,
                format!("the equation gives a value for each position of {names}, the state has one"),
            )
            .label(declared, "declared here")
            .help(self.help_for_stray(stray));
            self.report(frame, diagnostic);
            return;
        }
        self.graph.node_mut(node).origin = self.origin(frame, place);
        self.graph.set_operands(node, &[operand]);
        self.closed.insert(node, self.graph.bound());
    }

    fn undefined_states(&mut self, frame: usize) {
        for name in self.frames[frame].order.clone() {
            if let Some(Symbol::State { node, declared, .. }) = self.frames[frame].symbols.get(&name).cloned()
                && self.graph.operands(node).is_empty()
            {
                if has_equation(self.frames[frame].block, &name) {
                    // What is wrong with it has been said.
                    self.frames[frame].symbols.insert(name, Symbol::Failed);
                    continue;
                }
                let diagnostic =
                    Diagnostic::error("undefined-state", declared, format!("state `{name}` has no equation"))
                        .help(format!("add `{name}[t] = …`"));
                self.report(frame, diagnostic);
                self.frames[frame].symbols.insert(name, Symbol::Failed);
            }
        }
    }

    /// Works out the equation of a name.
    pub(super) fn work_out(
        &mut self,
        frame: usize,
        name: &str,
        value: &'a Expr,
        target: &'a ast::Target,
    ) -> Option<Thing<'a>> {
        if !self.within_limits(frame, target.span) {
            return None;
        }
        self.depth += 1;
        self.frames[frame].symbols.insert(name.to_string(), Symbol::Working { frame: None, target });
        let own = self.target_axes(frame, target);
        let outer = self.random_over.replace(own);
        let thing = if is_gradient(self.frames[frame].block, name) {
            self.gradient_value(frame, value)
        } else {
            let gradient = std::mem::replace(&mut self.in_gradient, false);
            let thing = self.expression(frame, value, Some(name));
            self.in_gradient = gradient;
            thing
        };
        self.random_over = outer;
        self.depth -= 1;
        if matches!(self.frames[frame].symbols.get(name), Some(Symbol::Failed)) {
            return None;
        }
        let thing = match thing {
            Some(Thing::Value(operand)) => Some(Thing::Value(self.name_value(frame, name, operand, target))),
            other => other,
        };
        let symbol = thing.clone().map_or(Symbol::Failed, Symbol::Known);
        self.frames[frame].symbols.insert(name.to_string(), symbol);
        thing
    }

    fn name_value(&mut self, frame: usize, name: &str, operand: Operand, target: &'a ast::Target) -> Operand {
        let operand = self.check_target_index(frame, target, operand);
        let path = join(&self.frames[frame].path, name);
        let origin = self.origin(frame, target.span);
        let found = self.graph.node(operand.node);
        let ty = self.graph.type_at(operand);
        // `h[t-1]` with a start is one node for all its readers, none of whom may name it.
        let shared = found.op == Op::Initially
            && self.frames.iter().any(|frame| frame.starts.values().any(|&node| node == operand.node));
        let nameless = found.name.is_none() && !shared && !matches!(found.op, Op::Input(_) | Op::Param(_));
        match (operand.access, &found.op) {
            (Access::Here, Op::Constant(_)) => operand,
            (Access::Here, _) if nameless => {
                let node = self.graph.node_mut(operand.node);
                node.name = Some(path);
                node.origin = origin;
                operand
            }
            // A second name of a value, or of a value at another position, is a value of its own.
            _ => self.graph.insert(Node { op: Op::Copy, ty, origin, name: Some(path) }, &[operand]).into(),
        }
    }

    /// `x[t] = …` says that x has positions along t: a value that lacks them is repeated.
    fn check_target_index(&mut self, frame: usize, target: &'a ast::Target, operand: Operand) -> Operand {
        let mut axes = self.graph.type_at(operand).axes;
        let before = axes;
        for name in &target.index {
            if let Some(axis) = self.axis_named(frame, name) {
                axes = self.graph.closed(axes.with(axis).with(BATCH));
            }
        }
        if axes == before {
            operand
        } else {
            self.spread(operand, axes, self.origin(frame, target.span)).into()
        }
    }

    fn target_axes(&mut self, frame: usize, target: &ast::Target) -> AxisSet {
        let axes = target.index.iter().filter_map(|name| self.axis_in(frame, &name.text));
        let axes: AxisSet = axes.collect();
        self.graph.closed(axes.with(BATCH))
    }

    /// A copy of a value along more axes.
    pub(super) fn spread(&mut self, operand: Operand, axes: AxisSet, origin: Origin) -> NodeId {
        let mut ty = self.graph.type_at(operand);
        ty.axes = ty.axes.union(axes);
        self.graph.insert(Node { op: Op::Copy, ty, origin, name: None }, &[operand])
    }

    /// The axis a name means in this frame.
    pub(super) fn axis_named(&mut self, frame: usize, name: &ast::Ident) -> Option<AxisId> {
        let found = self.axis_in(frame, &name.text);
        if name.text == "batch" && found.is_none() {
            return Some(BATCH);
        }
        let is_derived = matches!(name.text.rsplit('.').next(), Some("child" | "leaf"));
        if found.is_none() && is_derived && self.graph.axes.len() == AxisSet::LIMIT {
            self.report(frame, Diagnostic::error("too-large", name.span, "more than 63 axes"));
        } else if found.is_none() {
            let known: Vec<String> = self.frames[frame].axes.keys().cloned().collect();
            let mut diagnostic =
                Diagnostic::error("unknown-axis", name.span, format!("`{}` is not an axis here", name.text));
            if !known.is_empty() {
                let mut known = known;
                known.sort();
                diagnostic = diagnostic.help(format!("axes here: {}", known.join(", ")));
            }
            self.report(frame, diagnostic);
        }
        found
    }

    /// `gradient dW of W`: the value of `dW` is the gradient of the parameter.
    fn gradients(&mut self, frame: usize, list: &'a [(ast::Ident, ast::Ident)]) {
        for (name, of) in list {
            let Some(full) = self.resolve(frame, &of.text) else {
                self.unknown(frame, &of.text, of.span);
                continue;
            };
            let path = join(&self.frames[frame].param_path, &full);
            if let Some(Thing::Value(value)) = self.lookup(frame, &name.text, name.span) {
                let kind = crate::ir::OutputKind::Gradient;
                self.graph.outputs.push(crate::ir::Output { kind, name: path, value });
            }
        }
    }

    /// Offers every named value of a frame, and of the frames it applied, to the outside.
    pub(super) fn offer_values(&mut self, frame: usize) {
        for name in self.frames[frame].order.clone() {
            let path = join(&self.frames[frame].path, &name);
            match self.frames[frame].symbols.get(&name).cloned() {
                Some(Symbol::Known(Thing::Value(value))) => self.offer(path, value),
                Some(Symbol::State { node, .. }) => self.offer(path, node.into()),
                Some(Symbol::Known(Thing::Applied(applied))) => {
                    if let Some(value) = self.primary_quietly(applied) {
                        self.offer(path, value);
                    }
                    self.offer_values(applied);
                }
                _ => {}
            }
        }
    }

    fn offer(&mut self, name: String, value: Operand) {
        let kind = crate::ir::OutputKind::Value;
        if self.graph.output(kind, &name).is_none() {
            self.graph.outputs.push(crate::ir::Output { kind, name, value });
        }
    }
}

pub(super) fn arg_value(arg: &Arg) -> Option<&Expr> {
    match arg {
        Arg::Value(value) | Arg::Named(_, value) | Arg::Over(value, _) => Some(value),
        Arg::Along(_) => None,
    }
}

fn is_frozen(declaration: &ast::Declaration) -> bool {
    matches!(&declaration.init, Some(Expr { kind: ExprKind::Name(name), .. }) if name == "frozen")
}

pub(super) fn is_declared_state(block: &ast::Block, name: &str) -> bool {
    block.statements.iter().any(|statement| match statement {
        Statement::State(list) => list.iter().flat_map(|d| &d.names).any(|ident| ident.text == name),
        _ => false,
    })
}

fn has_equation(block: &ast::Block, name: &str) -> bool {
    block.statements.iter().any(|statement| match statement {
        Statement::Equation { target, .. } | Statement::Observe { target, .. } => target.name.text == name,
        _ => false,
    })
}

fn is_gradient(block: &ast::Block, name: &str) -> bool {
    block.statements.iter().any(|statement| match statement {
        Statement::Gradient(list) => list.iter().any(|(ident, _)| ident.text == name),
        _ => false,
    })
}

fn is_observed(block: &ast::Block, name: &str) -> bool {
    block.statements.iter().any(|statement| match statement {
        Statement::Observe { target, .. } => target.name.text == name,
        _ => false,
    })
}
