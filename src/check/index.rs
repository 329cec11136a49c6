//! What stands between brackets: positions (`t-1`, `last`), ids (`embed[words]`), ranges (`z[0:H]`).

use crate::base::{Diagnostic, Span};
use crate::ir::{Access, AxisId, AxisSet, BATCH, Binary, Element, Op, Operand, Origin};
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, Index};

use super::Checker;
use super::expression::dotted;
use super::frame::Thing;
use super::trees::NodePlace;

/// A position as written.
enum Position {
    /// `t`, `t-2`, `t+1`: steps back.
    Shift(AxisId, i64),
    /// `first`, `last`, `s.last`.
    End { axis: Option<AxisId>, last: bool },
    /// `left`, `n.parent`, `root`.
    Node(AxisId, NodePlace),
}

impl<'a> Checker<'a> {
    /// `base[entries]`.
    pub(super) fn index(
        &mut self,
        frame: usize,
        base: &'a Expr,
        entries: &'a [Index],
        span: Span,
    ) -> Option<Operand> {
        let early = match (&base.kind, entries) {
            (ExprKind::Name(name), [Index::At(at)]) if matches!(at.kind, ExprKind::Binary(..)) => {
                self.shell(frame, name, None).map(Thing::Applied)
            }
            _ => None,
        };
        let thing = match early {
            Some(thing) => thing,
            None => self.expression(frame, base, None)?,
        };
        let mut operand = match thing {
            Thing::Applied(applied) => self.primary(frame, applied, base.span)?,
            other => self.value_of(frame, other, base.span)?,
        };
        let mut dim = 0;
        for entry in entries {
            match entry {
                Index::Range(from, to) => {
                    operand = self.slice(frame, operand, dim, (from.as_ref(), to.as_ref()), span)?;
                    dim += 1;
                }
                Index::At(expr) => match self.position(frame, operand, expr) {
                    Some(position) => operand = self.at(frame, operand, &position, expr.span)?,
                    None => operand = self.element(frame, operand, dim, expr, span)?,
                },
            }
        }
        Some(operand)
    }

    /// Reads an index entry as a position, if its names are axes.
    fn position(&mut self, frame: usize, operand: Operand, expr: &'a Expr) -> Option<Position> {
        let axis_of = |this: &Self, name: &str| this.frames[frame].axes.get(name).copied();
        match &expr.kind {
            ExprKind::Name(name) => match axis_of(self, name) {
                Some(axis) => Some(Position::Shift(axis, 0)),
                None if name == "first" || name == "last" => {
                    Some(Position::End { axis: None, last: name == "last" })
                }
                None => self.node_position(frame, operand, expr),
            },
            ExprKind::Field(inner, field) if field.text == "first" || field.text == "last" => {
                let axis = self.axis_in(frame, &dotted(inner)?)?;
                Some(Position::End { axis: Some(axis), last: field.text == "last" })
            }
            ExprKind::Binary(op @ (BinaryOp::Add | BinaryOp::Subtract), a, b) => {
                let axis = self.axis_in(frame, &dotted(a)?)?;
                let by = self.number(frame, b, false)?;
                if by.fract() != 0.0 || by.abs() > 1e6 {
                    return None;
                }
                let back = if *op == BinaryOp::Subtract { by as i64 } else { -(by as i64) };
                Some(Position::Shift(axis, back))
            }
            _ => self.node_position(frame, operand, expr),
        }
    }

    fn node_position(&mut self, frame: usize, operand: Operand, expr: &'a Expr) -> Option<Position> {
        self.node_place(frame, operand, expr).map(|(tree, place)| Position::Node(tree, place))
    }

    fn at(&mut self, frame: usize, operand: Operand, position: &Position, span: Span) -> Option<Operand> {
        let axes = self.graph.type_at(operand).axes;
        let backward = self.frames[frame].backward;
        match *position {
            Position::Node(tree, place) => self.at_node(frame, operand, (tree, place), span),
            Position::Shift(axis, back) => {
                if back != 0 && !self.settle(axis, false) {
                    return self.no_steps(frame, axis, span);
                }
                let operand = self.at_nodes(frame, operand, axis, span);
                let operand = self.on_axis(frame, operand, axis, back, span)?;
                let running = self.frames[frame].axis == Some(axis);
                let access = Access::shift(axis, if backward && running { -back } else { back });
                self.moved(frame, operand, access, span)
            }
            Position::End { axis, last } => {
                let steps: Vec<AxisId> = axes.without(BATCH).iter().collect();
                let axis = match (axis, &steps[..]) {
                    (Some(axis), _) if axes.contains(axis) => axis,
                    (None, [only]) => *only,
                    (None, _) if self.frames[frame].axis.is_some_and(|axis| axes.contains(axis)) => {
                        self.frames[frame].axis?
                    }
                    _ => {
                        let word = if last { "last" } else { "first" };
                        let (message, help) = match (axis, steps.len()) {
                            (None, 0) => (
                                format!(
                                    "there is no {word} position: the value has one for each example only"
                                ),
                                "only values over an axis have positions".to_string(),
                            ),
                            (None, _) => (
                                format!(
                                    "`{word}` of which axis? The value has {}",
                                    self.axes_text(axes.without(BATCH))
                                ),
                                format!("say which: `[{}.{word}]`", self.graph.axis_name(steps[0])),
                            ),
                            (Some(axis), _) => (
                                format!("the value has no positions on {}", self.graph.axis_name(axis)),
                                "only values over an axis have positions on it".to_string(),
                            ),
                        };
                        self.report(frame, Diagnostic::error("axis-mismatch", span, message).help(help));
                        return None;
                    }
                };
                if !self.settle(axis, false) {
                    return self.no_steps(frame, axis, span);
                }
                let reversed = backward && self.frames[frame].axis == Some(axis);
                let access = if last != reversed { Access::Last(axis) } else { Access::First(axis) };
                self.moved(frame, operand, access, span)
            }
        }
    }

    /// Nodes of a tree are not one after the other.
    fn no_steps(&mut self, frame: usize, axis: AxisId, span: Span) -> Option<Operand> {
        let name = self.graph.axis_label(axis).to_string();
        let message = format!("{name} is no sequence: its positions have none before and none behind them");
        let diagnostic = Diagnostic::error("axis-mismatch", span, message)
            .help("positions on a tree are `left`, `right`, `child`, `parent` and `root`");
        self.report(frame, diagnostic);
        None
    }

    /// Makes sure that the value has positions on the axis.
    pub(super) fn on_axis(
        &mut self,
        frame: usize,
        operand: Operand,
        axis: AxisId,
        back: i64,
        span: Span,
    ) -> Option<Operand> {
        let axes = self.graph.type_at(operand).axes;
        if axes.contains(axis) {
            return Some(operand);
        }
        // A state of an application whose arguments are still being worked out runs along what it is read along.
        let unsettled = self.graph.op(operand.node) == &Op::Copy
            && self.graph.operands(operand.node).is_empty()
            && self.graph.users(operand.node).is_empty()
            && operand.access == Access::Here;
        if unsettled {
            self.graph.node_mut(operand.node).ty.axes = axes.with(axis);
            return Some(operand);
        }
        if self.frames[frame].axis == Some(axis) || back == 0 {
            return Some(self.spread(operand, AxisSet::BATCH.with(axis), Origin::forward(span)).into());
        }
        let name = self.graph.axis_name(axis).to_string();
        let found = self.type_text(frame, &self.graph.type_at(operand));
        let diagnostic = Diagnostic::error(
            "axis-mismatch",
            span,
            format!("the value has no positions on {name}: it is {found}"),
        )
        .help(format!("read it without a position, or declare it over {name}"));
        self.report(frame, diagnostic);
        None
    }

    fn slice(
        &mut self,
        frame: usize,
        operand: Operand,
        dim: usize,
        range: (Option<&'a Expr>, Option<&'a Expr>),
        span: Span,
    ) -> Option<Operand> {
        let shape = self.graph.type_at(operand).shape;
        let Some(&size) = shape.get(dim) else {
            let message = format!("{} has no dimension {} to slice", self.shape_text(frame, &shape), dim + 1);
            self.report(frame, Diagnostic::error("shape-mismatch", span, message));
            return None;
        };
        let start = range.0.map_or(Some(0), |expr| self.dim(frame, expr))?;
        let end = range.1.map_or(Some(size), |expr| self.dim(frame, expr))?;
        if start == 0 && end == size {
            return Some(operand);
        }
        if start >= end || end > size {
            let message = format!("{start}:{end} is not a range inside 0:{size}");
            self.report(frame, Diagnostic::error("out-of-range", span, message));
            return None;
        }
        self.apply(frame, Op::Slice { dim, start, len: end - start }, &[(operand, span)], span)
    }

    /// `table[id]`, `x[3]`.
    fn element(
        &mut self,
        frame: usize,
        operand: Operand,
        dim: usize,
        expr: &'a Expr,
        span: Span,
    ) -> Option<Operand> {
        if let Some(number) = self.number(frame, expr, false) {
            let at = self.dim(frame, expr)?;
            let shape = self.graph.type_at(operand).shape;
            let Some(&size) = shape.get(dim) else {
                let message = match shape.len() {
                    0 => "a scalar has no elements to choose from".to_string(),
                    _ => format!("{} has no dimension {} to index", self.shape_text(frame, &shape), dim + 1),
                };
                self.report(frame, Diagnostic::error("shape-mismatch", span, message));
                return None;
            };
            if at >= size {
                let message = format!("{number} is not an index inside 0:{size}");
                self.report(frame, Diagnostic::error("out-of-range", expr.span, message));
                return None;
            }
            let one = self.apply(frame, Op::Slice { dim, start: at, len: 1 }, &[(operand, span)], span)?;
            let ones = self.graph.constant(1.0, &[1], Origin::forward(span));
            let labels: String = ('a'..='z').take(shape.len()).collect();
            let kept: String =
                labels.chars().enumerate().filter(|(at, _)| *at != dim).map(|(_, c)| c).collect();
            let dropped = labels.chars().nth(dim)?;
            return self.einsum(frame, &format!("{labels},{dropped}->{kept}"), one, ones.into(), span);
        }
        let id = self.value(frame, expr)?;
        if dim != 0 {
            let diagnostic =
                Diagnostic::error("not-supported", expr.span, "an id selects along the first dimension")
                    .help("transpose the table");
            self.report(frame, diagnostic);
            return None;
        }
        let (Element::Id(range), Some(&rows)) =
            (self.graph.type_at(id).element, self.graph.type_at(operand).shape.first())
        else {
            return self.apply(frame, Op::Gather, &[(operand, span), (id, expr.span)], span);
        };
        if range > rows {
            let message = format!("an id of {range} kinds selects from a table of {rows} rows");
            let diagnostic = Diagnostic::error("shape-mismatch", span, message)
                .label(expr.span, format!("id({range})"))
                .help("table and id usually share a dimension: `embed: [V, E]`, `words: id(V)`");
            self.report(frame, diagnostic);
            return None;
        }
        self.apply(frame, Op::Gather, &[(operand, span), (id, expr.span)], span)
    }

    /// `a - b` of two values, without a place for mistakes.
    pub(super) fn subtract(&mut self, frame: usize, a: Operand, b: Operand, span: Span) -> Option<Operand> {
        self.apply(frame, Op::Binary(Binary::Subtract), &[(a, span), (b, span)], span)
    }
}
