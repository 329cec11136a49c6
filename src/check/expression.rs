//! Values of expressions: names, arithmetic, products, concatenation, calls.

use crate::base::{Diagnostic, Span};
use crate::ir::{
    Access, AxisId, AxisSet, Binary, Contract, Element, InferError, Node, NodeId, Op, Operand, Unary,
    ValueType,
};
use crate::syntax::ast::{self, Arg, BinaryOp, Expr, ExprKind};

use super::frame::{Start, Symbol, Thing};
use super::{Checker, Mode};

impl<'a> Checker<'a> {
    /// What an expression stands for; an application takes the name `hint` if it is given one.
    pub(super) fn expression(
        &mut self,
        frame: usize,
        expr: &'a Expr,
        hint: Option<&str>,
    ) -> Option<Thing<'a>> {
        if !self.within_limits(frame, expr.span) {
            return None;
        }
        self.depth += 1;
        let thing = self.form(frame, expr, hint);
        self.depth -= 1;
        thing
    }

    /// The value of an expression.
    pub(super) fn value(&mut self, frame: usize, expr: &'a Expr) -> Option<Operand> {
        let thing = self.expression(frame, expr, None)?;
        self.value_of(frame, thing, expr.span)
    }

    pub(super) fn value_of(&mut self, frame: usize, thing: Thing<'a>, span: Span) -> Option<Operand> {
        match thing {
            Thing::Value(operand) => Some(operand),
            Thing::Applied(applied) => self.primary(frame, applied, span),
            Thing::Instance(instance) => {
                let name = &instance.block.name.text;
                let diagnostic =
                    Diagnostic::error("not-a-value", span, format!("`{name}(…)` is a cell, not a value"))
                        .help(format!("apply it: `{name}(…)(x)`"));
                self.report(frame, diagnostic);
                None
            }
        }
    }

    fn form(&mut self, frame: usize, expr: &'a Expr, hint: Option<&str>) -> Option<Thing<'a>> {
        let origin = self.origin(frame, expr.span);
        let value = match &expr.kind {
            ExprKind::Number(value) => self.graph.constant(*value, &[], origin).into(),
            ExprKind::Text(_) => {
                self.report(frame, Diagnostic::error("not-a-value", expr.span, "a text is not a value"));
                return None;
            }
            ExprKind::Name(name) => return self.name(frame, name, expr.span),
            ExprKind::Field(inner, field) => return self.field_of(frame, inner, field),
            ExprKind::Transpose(inner) => {
                let matrix = self.value(frame, inner)?;
                let one = self.graph.constant(1.0, &[], origin);
                let labels = match self.graph.type_at(matrix).shape.len() {
                    2 => "ij,->ji",
                    _ => {
                        let found = self.type_text(frame, &self.graph.type_at(matrix));
                        let diagnostic = Diagnostic::error(
                            "shape-mismatch",
                            expr.span,
                            format!("`.T` is for matrices, this is {found}"),
                        );
                        self.report(frame, diagnostic);
                        return None;
                    }
                };
                self.einsum(frame, labels, matrix, one.into(), expr.span)?
            }
            ExprKind::Index(inner, entries) => self.index(frame, inner, entries, expr.span)?,
            ExprKind::Call(callee, args) => return self.call(frame, callee, args, expr.span, hint),
            ExprKind::Negate(inner) => {
                if let ExprKind::Number(value) = inner.kind {
                    self.graph.constant(-value, &[], origin).into()
                } else {
                    let x = self.value(frame, inner)?;
                    self.apply(frame, Op::Unary(Unary::Negate), &[(x, inner.span)], expr.span)?
                }
            }
            ExprKind::Binary(BinaryOp::MatMul, a, b) => self.product(frame, a, b, expr.span)?,
            ExprKind::Binary(op, a, b) => {
                let (left, right) = (self.value(frame, a), self.value(frame, b));
                let operands = [(left?, a.span), (right?, b.span)];
                self.apply(frame, Op::Binary(binary(*op)), &operands, expr.span)?
            }
            ExprKind::Concat(parts) => self.concat(frame, parts, 0, expr.span)?,
        };
        Some(Thing::Value(value))
    }

    fn name(&mut self, frame: usize, name: &str, span: Span) -> Option<Thing<'a>> {
        if self.frames[frame].symbols.contains_key(name) {
            return self.lookup(frame, name, span);
        }
        let origin = self.origin(frame, span);
        if let Some(&value) = self.frames[frame].dims.get(name) {
            return Some(Thing::Value(self.graph.constant(value as f64, &[], origin).into()));
        }
        if let Some(axis) = self.axis_in(frame, name) {
            let position = self.position_on(frame, axis, span);
            if !self.frames[frame].backward {
                return Some(Thing::Value(position));
            }
            // Seen from the end: length - 1 - position.
            let ty = ValueType::real(Vec::new(), AxisSet::BATCH);
            let length = self.graph.leaf(Op::Length(axis), ty, origin, None);
            let one = self.graph.constant(1.0, &[], origin);
            let minus = Op::Binary(Binary::Subtract);
            let last =
                self.apply(frame, minus.clone(), &[(length.into(), span), (one.into(), span)], span)?;
            return Some(Thing::Value(self.apply(frame, minus, &[(last, span), (position, span)], span)?));
        }
        let constant = match name {
            "inf" => Some(f64::INFINITY),
            "nan" => Some(f64::NAN),
            "pi" => Some(std::f64::consts::PI),
            "training" => Some(f64::from(u8::from(self.mode == Mode::Train))),
            _ => None,
        };
        if let Some(value) = constant {
            return Some(Thing::Value(self.graph.constant(value, &[], origin).into()));
        }
        if matches!(name, "epoch" | "step") && self.resolve(frame, name).is_none() {
            let ty = ValueType::real(Vec::new(), AxisSet::NONE);
            return Some(Thing::Value(self.graph.leaf(Op::Setting(name.into()), ty, origin, None).into()));
        }
        if self.resolve(frame, name).is_some() {
            return self.lookup(frame, name, span);
        }
        if self.definitions.contains_key(name) || super::builtins::names().any(|known| known == name) {
            let diagnostic =
                Diagnostic::error("not-a-value", span, format!("`{name}` is not a value by itself"))
                    .help(format!("use it as `{name}(…)`"));
            self.report(frame, diagnostic);
            return None;
        }
        self.unknown(frame, name, span);
        None
    }

    /// The number of a position on an axis.
    fn position_on(&mut self, frame: usize, axis: AxisId, span: Span) -> Operand {
        let ty = ValueType::real(Vec::new(), self.graph.closed(AxisSet::BATCH.with(axis)));
        let origin = self.origin(frame, span);
        self.graph.leaf(Op::Position(axis), ty, origin, None).into()
    }

    fn field_of(&mut self, frame: usize, inner: &'a Expr, field: &'a ast::Ident) -> Option<Thing<'a>> {
        // A dotted path may be a declared name (`h.W_f` in a printed gradient).
        if let Some(path) = dotted(inner) {
            let full = format!("{path}.{}", field.text);
            if self.frames[frame].symbols.contains_key(&full) {
                return self.lookup(frame, &full, inner.span.to(field.span));
            }
            if let Some(axis) = self.axis_in(frame, &full) {
                return Some(Thing::Value(self.position_on(frame, axis, inner.span.to(field.span))));
            }
        }
        let applied = match &inner.kind {
            ExprKind::Name(name) => self.shell(frame, name, Some(&field.text)),
            _ => None,
        };
        let applied = match applied {
            Some(applied) => applied,
            None => match self.expression(frame, inner, None)? {
                Thing::Applied(applied) => applied,
                Thing::Value(_) | Thing::Instance(_) => {
                    let message =
                        format!("only an applied cell has fields, so there is no `.{}`", field.text);
                    self.report(frame, Diagnostic::error("no-field", inner.span.to(field.span), message));
                    return None;
                }
            },
        };
        self.field(frame, applied, &field.text, field.span)
    }

    /// The opened frame of an application that has not been worked out, if `field` (or the value it
    /// stands for) is one of its states: those may be read, at an earlier position, before the
    /// arguments are known.
    pub(super) fn shell(&mut self, frame: usize, name: &str, field: Option<&str>) -> Option<usize> {
        let full = self.resolve(frame, name)?;
        let Some(Symbol::Pending { value, .. }) = self.frames[frame].symbols.get(&full) else { return None };
        let value = *value;
        if let Some(&applied) = self.frames[frame].opened.get(&full) {
            return Some(applied);
        }
        let ExprKind::Call(callee, _) = &value.kind else { return None };
        let ExprKind::Call(cell, dims) = &callee.kind else { return None };
        let ExprKind::Name(cell_name) = &cell.kind else { return None };
        let stacked = self.stacked(frame, cell_name, dims);
        let definition = *self.definitions.get(stacked.unwrap_or(cell_name))?;
        let ast::Item::Cell(block) = definition.item else { return None };
        let is_state = |field: &str| {
            block.statements.iter().any(|statement| match statement {
                ast::Statement::State(list) => {
                    list.iter().flat_map(|d| &d.names).any(|state| state.text == field)
                }
                _ => false,
            })
        };
        let of_layer = stacked.is_some() && field.is_some_and(super::stack::is_layer);
        if !of_layer && !field.or(super::apply::primary_name(block)).is_some_and(is_state) {
            return None;
        }
        let path = super::frame::join(&self.frames[frame].param_path, &full);
        let instance = match stacked {
            Some(_) => self.stack(frame, dims, value.span, path)?,
            None => self.instantiate(frame, cell_name, dims, value.span, path)?,
        };
        let path = super::frame::join(&self.frames[frame].path, &full);
        let applied = self.open(frame, &instance, path, value.span)?;
        // The equation stays pending: its arguments wait until its own turn.
        self.frames[frame].opened.insert(full, applied);
        Some(applied)
    }

    fn call(
        &mut self,
        frame: usize,
        callee: &'a Expr,
        args: &'a [Arg],
        span: Span,
        hint: Option<&str>,
    ) -> Option<Thing<'a>> {
        // Functions and values have names of their own: `sum = sum(x)` is sound.
        if let ExprKind::Name(name) = &callee.kind
            && (self.resolve(frame, name).is_none()
                || self.definitions.contains_key(name.as_str())
                || super::builtins::names().any(|known| known == name))
        {
            if self.is_cell(name) {
                let path = self.instance_path(frame, callee.span, hint, &name.to_lowercase());
                return self.instantiate(frame, name, args, span, path).map(Thing::Instance);
            }
            if let Some(definition) = self.definitions.get(name.as_str()).copied()
                && let ast::Item::Function(function) = definition.item
            {
                return self.inline(frame, function, args, span, definition.library).map(Thing::Value);
            }
            if name == "stack" {
                let path = self.instance_path(frame, callee.span, hint, name);
                return self.stack(frame, args, span, path).map(Thing::Instance);
            }
            return self.builtin(frame, name, args, span, callee.span).map(Thing::Value);
        }
        let already = hint.and_then(|name| self.frames[frame].opened.remove(name));
        let instance = match already {
            Some(_) => None,
            None => match self.expression(frame, callee, hint)? {
                Thing::Instance(instance) => Some(instance),
                Thing::Value(_) | Thing::Applied(_) => {
                    let diagnostic =
                        Diagnostic::error("not-a-cell", callee.span, "this is a value: it cannot be applied");
                    self.report(frame, diagnostic);
                    return None;
                }
            },
        };
        let applied = match (already, instance) {
            (Some(applied), _) => applied,
            (None, Some(instance)) => {
                let place = cell_name_span(callee);
                let path = self.path_for(frame, hint, place, &instance.block.name.text);
                self.open(frame, &instance, path, span)?
            }
            (None, None) => return None,
        };
        if let Some(name) = hint
            && let Some(Symbol::Working { target, .. }) = self.frames[frame].symbols.get(name).cloned()
        {
            self.frames[frame]
                .symbols
                .insert(name.to_string(), Symbol::Working { frame: Some(applied), target });
        }
        self.close(frame, applied, args, span)?;
        Some(Thing::Applied(applied))
    }

    /// Where the parameters of an instance live: under the name that it is given, that of the application without a
    /// name that it is in, or its own.
    fn instance_path(&self, frame: usize, callee: Span, hint: Option<&str>, own: &str) -> String {
        let frame = &self.frames[frame];
        let known = frame.anonymous.get(&callee.start).map(String::as_str);
        super::frame::join(&frame.param_path, hint.or(known).unwrap_or(own))
    }

    /// `a @ b`; a transposed left or right side is read through, not made.
    fn product(&mut self, frame: usize, a: &'a Expr, b: &'a Expr, span: Span) -> Option<Operand> {
        let strip = |expr: &'a Expr| match &expr.kind {
            ExprKind::Transpose(inner) => (&**inner, true),
            _ => (expr, false),
        };
        let ((left, left_t), (right, right_t)) = (strip(a), strip(b));
        let (x, y) = (self.value(frame, left), self.value(frame, right));
        let (x, y) = (x?, y?);
        let ranks = (self.graph.type_at(x).shape.len(), self.graph.type_at(y).shape.len());
        let spec = match (ranks, left_t, right_t) {
            ((2, 1), false, false) => "ij,j->i",
            ((2, 1), true, false) => "ij,i->j",
            ((2, 2), false, false) => "ij,jk->ik",
            ((2, 2), true, false) => "ij,ik->jk",
            ((2, 2), false, true) => "ij,kj->ik",
            ((2, 2), true, true) => "ij,ki->jk",
            ((1, 2), false, false) => {
                return self.einsum_at(frame, "ij,i->j", (y, right.span), (x, left.span), span);
            }
            ((1, 2), false, true) => {
                return self.einsum_at(frame, "ij,j->i", (y, right.span), (x, left.span), span);
            }
            _ => {
                let text = [x, y].map(|v| self.type_text(frame, &self.graph.type_at(v)));
                let diagnostic = Diagnostic::error(
                    "shape-mismatch",
                    span,
                    format!("`@` multiplies a matrix with a vector or a matrix, not {} with {}", text[0], text[1]),
                )
                .label(a.span, text[0].clone())
                .label(b.span, text[1].clone())
                .help("elementwise is `*`; the inner product of vectors is `dot(a, b)`, the outer one `outer(a, b)`");
                self.report(frame, diagnostic);
                return None;
            }
        };
        self.einsum_at(frame, spec, (x, left.span), (y, right.span), span)
    }

    pub(super) fn einsum(
        &mut self,
        frame: usize,
        spec: &str,
        a: Operand,
        b: Operand,
        span: Span,
    ) -> Option<Operand> {
        self.einsum_at(frame, spec, (a, span), (b, span), span)
    }

    pub(super) fn einsum_at(
        &mut self,
        frame: usize,
        spec: &str,
        a: (Operand, Span),
        b: (Operand, Span),
        span: Span,
    ) -> Option<Operand> {
        match Contract::parse(spec) {
            Some(contract) => self.apply(frame, Op::Contract(contract), &[a, b], span),
            None => {
                let diagnostic = Diagnostic::error(
                    "arguments",
                    span,
                    format!("`{spec}` is not of the form `ij,j->i`"),
                )
                .help(
                    "one lower-case label a dimension; each in the other operand or the result, none twice",
                );
                self.report(frame, diagnostic);
                None
            }
        }
    }

    /// `[a, b]`: scalars join as vectors of one.
    pub(super) fn concat(
        &mut self,
        frame: usize,
        parts: &'a [Expr],
        dim: usize,
        span: Span,
    ) -> Option<Operand> {
        let values: Vec<Option<Operand>> = parts.iter().map(|part| self.value(frame, part)).collect();
        let mut operands = Vec::new();
        for (value, part) in values.into_iter().zip(parts) {
            let mut value = value?;
            if self.graph.type_at(value).shape.is_empty() && self.graph.is_real(value.node) {
                let one = self.graph.constant(1.0, &[1], self.origin(frame, part.span));
                let times = Op::Binary(Binary::Multiply);
                value =
                    self.apply(frame, times, &[(value, part.span), (one.into(), part.span)], part.span)?;
            }
            operands.push((value, part.span));
        }
        self.apply(frame, Op::Concat { dim }, &operands, span)
    }

    /// Applies an operation; a misfit is reported with both sides' types and where they come from.
    pub(super) fn apply(
        &mut self,
        frame: usize,
        op: Op,
        operands: &[(Operand, Span)],
        span: Span,
    ) -> Option<Operand> {
        let plain: Vec<Operand> = operands.iter().map(|(operand, _)| *operand).collect();
        match self.graph.apply(op.clone(), &plain, self.origin(frame, span)) {
            Ok(node) => {
                let shape = self.graph.ty(node).shape.clone();
                self.fits_memory(frame, &shape, span)?;
                Some(node.into())
            }
            Err(error) => {
                let diagnostic = self.misfit(frame, &op, &error, operands, span);
                self.report(frame, diagnostic);
                None
            }
        }
    }

    /// Shows where an input or parameter is declared; a named value, where it is defined.
    pub(super) fn with_declaration(
        &self,
        diagnostic: Diagnostic,
        operand: Operand,
        place: Span,
    ) -> Diagnostic {
        let declared = self.graph.node(operand.node);
        let what = match (&declared.op, &declared.name) {
            (Op::Param(name) | Op::Input(name), _) => format!("`{name}` is declared here"),
            (_, Some(name)) if !name.contains('.') => format!("`{name}` is defined here"),
            _ => return diagnostic,
        };
        if declared.origin.span == place { diagnostic } else { diagnostic.label(declared.origin.span, what) }
    }

    fn misfit(
        &self,
        frame: usize,
        op: &Op,
        error: &InferError,
        operands: &[(Operand, Span)],
        span: Span,
    ) -> Diagnostic {
        let rule = match error {
            InferError::NotReal => "id-as-number",
            InferError::NotId => "not-an-id",
            InferError::NoAxis => "axis-mismatch",
            _ => "shape-mismatch",
        };
        let texts: Vec<String> = operands
            .iter()
            .map(|(operand, _)| self.type_text(frame, &self.graph.type_at(*operand)))
            .collect();
        let message = match error {
            InferError::Shapes { left, right } if texts.len() >= 2 => {
                let why = match op {
                    Op::Contract(contract) => clash(contract, left, right).unwrap_or_default(),
                    _ => String::new(),
                };
                format!("{} and {} do not match{why}", texts[0], texts[1])
            }
            InferError::NotReal => "an id is used as a number".to_string(),
            InferError::NotId => "an id is needed here, not a real number".to_string(),
            _ => error.to_string(),
        };
        let mut diagnostic = Diagnostic::error(rule, span, message);
        for ((operand, place), text) in operands.iter().zip(&texts) {
            diagnostic = diagnostic.label(*place, text.clone());
            diagnostic = self.with_declaration(diagnostic, *operand, *place);
        }
        match error {
            InferError::NotReal => {
                diagnostic.help("look it up in a table, `embed[words]`, or compare it, `a == b`")
            }
            InferError::Shapes { left, right } if left.iter().rev().eq(right.iter()) && left.len() == 2 => {
                diagnostic.help("one side is the transpose of the other: try `.T`")
            }
            InferError::Shapes { left, right }
                if left.len() == 2 && right.len() == 1 && left.first() == right.first() =>
            {
                diagnostic.help("the matrix fits the other way round: try `.T`")
            }
            _ => diagnostic,
        }
    }

    /// A type in words: `[H = 128] over t`, `id(65)`.
    pub(super) fn type_text(&self, frame: usize, ty: &ValueType) -> String {
        let base = match ty.element {
            Element::Real => self.shape_text(frame, &ty.shape),
            Element::Id(size) => format!("id({size})"),
        };
        let steps = ty.axes.without(crate::ir::BATCH);
        if steps.is_empty() { base } else { format!("{base} over {}", self.axes_text(steps)) }
    }

    pub(super) fn axes_text(&self, axes: AxisSet) -> String {
        axes.iter().map(|axis| self.graph.axis_label(axis)).collect::<Vec<_>>().join(", ")
    }

    /// A value at an access; for a state read before its first position that is its start.
    pub(super) fn moved(
        &mut self,
        frame: usize,
        operand: Operand,
        access: Access,
        span: Span,
    ) -> Option<Operand> {
        let composed = match access.after(operand.access) {
            Some(access) => Operand { node: operand.node, access },
            None => {
                let ty = self.graph.type_at(operand);
                let shell = Node { op: Op::Copy, ty, origin: self.origin(frame, span), name: None };
                Operand { node: self.graph.insert(shell, &[operand]), access }
            }
        };
        if composed.access.direction().is_none() || composed.access.is_total() {
            return Some(composed);
        }
        let Some((owner, start)) = self.start_of(composed.node) else { return Some(composed) };
        let key = (composed.node, composed.access);
        if let Some(&known) = self.frames[owner].starts.get(&key) {
            return Some(known.into());
        }
        let _ = frame;
        let start = match start {
            Start::Zero => return Some(composed),
            Start::Known(operand) => operand,
            Start::Pending(expr) => self.start_value(owner, composed.node, expr)?,
        };
        let is_zero = matches!(self.graph.op(start.node), Op::Constant(value) if *value == 0.0);
        if is_zero {
            return Some(composed);
        }
        let made = self.apply(owner, Op::Initially, &[(composed, span), (start, span)], span)?;
        self.frames[owner].starts.insert(key, made.node);
        Some(made)
    }

    /// The frame and start of a state, if the node is one.
    fn start_of(&self, node: NodeId) -> Option<(usize, Start<'a>)> {
        // Applications are few and states are declared first: a scan is cheap enough and cannot go stale.
        self.frames.iter().enumerate().find_map(|(frame, this)| {
            this.order.iter().find_map(|name| match this.symbols.get(name) {
                Some(Symbol::State { node: state, start, .. }) if *state == node => {
                    Some((frame, start.clone()))
                }
                _ => None,
            })
        })
    }

    fn start_value(&mut self, owner: usize, node: NodeId, expr: &'a Expr) -> Option<Operand> {
        let shape = self.graph.ty(node).shape.clone();
        let value = match &expr.kind {
            ExprKind::Name(word) if word == "ones" => {
                self.graph.constant(1.0, &shape, self.origin(owner, expr.span)).into()
            }
            _ => self.value(owner, expr)?,
        };
        let found = self.graph.type_at(value);
        let is_scalar_constant =
            found.shape.is_empty() && matches!(self.graph.op(value.node), Op::Constant(_));
        let value = match self.graph.op(value.node) {
            Op::Constant(number) if is_scalar_constant => {
                let number = *number;
                self.graph.constant(number, &shape, self.origin(owner, expr.span)).into()
            }
            _ => value,
        };
        let found = self.graph.type_at(value);
        if found.shape != shape || !AxisSet::BATCH.covers(found.axes) {
            let wanted = self.shape_text(owner, &shape);
            let message = format!(
                "a state of {wanted} starts from one such value for each example, not {}",
                self.type_text(owner, &found)
            );
            self.report(owner, Diagnostic::error("shape-mismatch", expr.span, message));
            return None;
        }
        for symbol in self.frames[owner].symbols.values_mut() {
            if let Symbol::State { node: state, start, .. } = symbol
                && *state == node
            {
                *start = Start::Known(value);
            }
        }
        Some(value)
    }
}

fn binary(op: BinaryOp) -> Binary {
    match op {
        BinaryOp::Equal => Binary::Equal,
        BinaryOp::NotEqual => Binary::NotEqual,
        BinaryOp::Less => Binary::Less,
        BinaryOp::LessEqual => Binary::LessEqual,
        BinaryOp::Greater => Binary::Greater,
        BinaryOp::GreaterEqual => Binary::GreaterEqual,
        BinaryOp::Add => Binary::Add,
        BinaryOp::Subtract => Binary::Subtract,
        BinaryOp::Multiply | BinaryOp::MatMul => Binary::Multiply,
        BinaryOp::Divide => Binary::Divide,
        BinaryOp::Power => Binary::Power,
    }
}

/// The two sizes of a product that should be one.
fn clash(contract: &Contract, left: &[usize], right: &[usize]) -> Option<String> {
    let (at, other) = contract.left.iter().enumerate().find_map(|(at, label)| {
        let other = contract.right.iter().position(|it| it == label)?;
        (left.get(at)? != right.get(other)?).then_some((at, other))
    })?;
    Some(format!(": {} of the one meets {} of the other", left[at], right[other]))
}

/// `a.b.c` as a path, if it is nothing but names.
pub(super) fn dotted(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Field(inner, field) => dotted(inner).map(|path| format!("{path}.{}", field.text)),
        _ => None,
    }
}

/// Where the name of an applied cell stands.
fn cell_name_span(callee: &Expr) -> Span {
    match &callee.kind {
        ExprKind::Call(inner, _) => cell_name_span(inner),
        _ => callee.span,
    }
}
