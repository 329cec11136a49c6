//! Random values in the text: dropout, masks, noise, draws from a distribution.
//!
//! ```text
//! m = mask(0.75, H)            h[t] = tanh(W @ x + U @ (m * h[t-1]))    one mask for all steps
//! z = mask(0.1, H, along t)    h[t] = z * h[t-1] + (1 - z) * new        zoneout
//! W = V + noise(0.01, H, I, shared)                                     weight noise, one for the batch
//! guess = draw(categorical(logits))                                     an id, no gradient
//! ```
//!
//! A mask, noise and dropout are random in training; elsewhere their mean stands for them. A draw is a draw
//! in every mode. Where a value is drawn anew is said by axes: those of what it is made of and of its equation's
//! left side; `along t` adds one, `once` is one for each example, `shared` one for the whole batch.

use crate::base::{Diagnostic, Span};
use crate::ir::{AxisSet, BATCH, Binary, Element, Op, Operand, Unary, ValueType};
use crate::syntax::ast::{Arg, Expr, ExprKind};

use super::{Checker, Mode};

/// The arguments of a call that are not about axes, and the axes where some are given.
struct Drawn<'a> {
    args: Vec<&'a Expr>,
    along: AxisSet,
    /// `once`, `shared`.
    only: Option<AxisSet>,
}

impl<'a> Checker<'a> {
    /// Splits the words about axes from the other arguments.
    fn drawn(&mut self, frame: usize, name: &str, args: &'a [Arg], span: Span) -> Option<Drawn<'a>> {
        let mut found = Drawn { args: Vec::new(), along: AxisSet::NONE, only: None };
        for arg in args {
            match arg {
                Arg::Along(axis) => found.along = found.along.with(self.axis_named(frame, axis)?),
                Arg::Value(Expr { kind: ExprKind::Name(word), .. })
                    if word == "once" && self.resolve(frame, word).is_none() =>
                {
                    found.only = Some(AxisSet::BATCH);
                }
                Arg::Value(Expr { kind: ExprKind::Name(word), .. })
                    if word == "shared" && self.resolve(frame, word).is_none() =>
                {
                    found.only = Some(AxisSet::NONE);
                }
                Arg::Value(value) => found.args.push(value),
                Arg::Named(..) | Arg::Over(..) => {
                    self.usage(frame, name, span);
                    return None;
                }
            }
        }
        Some(found)
    }

    /// The axes of a random value made of something with the axes `of`.
    fn drawn_axes(&self, drawn: &Drawn, of: AxisSet) -> AxisSet {
        let axes = drawn.only.unwrap_or_else(|| of.with(BATCH)).union(drawn.along);
        let axes = if drawn.along.is_empty() { axes } else { axes.with(BATCH) };
        self.graph.closed(axes)
    }

    /// The axes that the left side of the equation names.
    fn named_axes(&self) -> AxisSet {
        self.random_over.unwrap_or(AxisSet::NONE)
    }

    /// Uniform numbers like `x`, of a stream of their own.
    pub(super) fn random_like(&mut self, frame: usize, x: Operand, span: Span) -> Operand {
        let ty = self.graph.type_at(x);
        self.uniform(frame, ty.shape, ty.axes.with(BATCH), span)
    }

    /// Uniform numbers of a stream of their own.
    fn uniform(&mut self, frame: usize, shape: Vec<usize>, axes: AxisSet, span: Span) -> Operand {
        let stream = self.streams;
        self.streams += 1;
        let ty = ValueType { shape, element: Element::Real, axes };
        let origin = self.origin(frame, span);
        self.graph.leaf(Op::Random(stream), ty, origin, None).into()
    }

    /// Inverted dropout (Srivastava et al. 2014): x / (1 - p) with probability 1 - p, else 0.
    pub(super) fn dropout(&mut self, frame: usize, args: &'a [Arg], span: Span) -> Option<Operand> {
        let drawn = self.drawn(frame, "dropout", args, span)?;
        let [value, rate] = drawn.args[..] else { return self.usage(frame, "dropout", span) };
        let x = self.value(frame, value);
        let p = self.probability(frame, rate, "a dropout probability", false)?;
        let x = x?;
        if self.mode != Mode::Train || matches!(p, Chance::Known(0.0)) {
            return Some(x);
        }
        let origin = self.origin(frame, span);
        let at = |operand: Operand| (operand, span);
        let ty = self.graph.type_at(x);
        let axes = self.drawn_axes(&drawn, ty.axes);
        let uniform = self.uniform(frame, ty.shape, axes, span);
        let (p, scale): (Operand, Operand) = match p {
            Chance::Known(p) => {
                let [p, scale] = [p, 1.0 / (1.0 - p)].map(|number| self.graph.constant(number, &[], origin));
                (p.into(), scale.into())
            }
            Chance::Value(p) => {
                let one = self.graph.constant(1.0, &[], origin).into();
                let kept = self.apply(frame, Op::Binary(Binary::Subtract), &[at(one), at(p)], span)?;
                (p, self.apply(frame, Op::Binary(Binary::Divide), &[at(one), at(kept)], span)?)
            }
        };
        let zero = self.graph.constant(0.0, &[], origin);
        let kept = self.apply(frame, Op::Binary(Binary::GreaterEqual), &[at(uniform), at(p)], span)?;
        let mask = self.apply(frame, Op::Select, &[at(kept), at(scale), at(zero.into())], span)?;
        self.apply(frame, Op::Binary(Binary::Multiply), &[(x, value.span), at(mask)], span)
    }

    /// `mask(p, H)`: ones with probability p, else zeros; p itself where nothing is trained.
    pub(super) fn mask(&mut self, frame: usize, args: &'a [Arg], span: Span) -> Option<Operand> {
        let drawn = self.drawn(frame, "mask", args, span)?;
        let [rate, dims @ ..] = &drawn.args[..] else { return self.usage(frame, "mask", span) };
        let p = self.probability(frame, rate, "the probability of a mask", true)?;
        let shape = self.drawn_shape(frame, dims, span)?;
        let origin = self.origin(frame, span);
        let p = match p {
            Chance::Known(p) => self.graph.constant(p, &[], origin).into(),
            Chance::Value(p) => p,
        };
        let at = |operand: Operand| (operand, span);
        if self.mode != Mode::Train {
            return self.stretched(frame, p, &shape, span);
        }
        let axes = self.drawn_axes(&drawn, self.graph.type_at(p).axes.union(self.named_axes()));
        let uniform = self.uniform(frame, shape, axes, span);
        let mask = self.apply(frame, Op::Binary(Binary::Less), &[at(uniform), at(p)], span)?;
        self.masks.insert(mask.node);
        Some(mask)
    }

    /// `noise(s, H)`: normal numbers of mean 0 and standard deviation s (Box and Muller 1958); zeros where
    /// nothing is trained.
    pub(super) fn noise(&mut self, frame: usize, args: &'a [Arg], span: Span) -> Option<Operand> {
        let drawn = self.drawn(frame, "noise", args, span)?;
        let [deviation, dims @ ..] = &drawn.args[..] else { return self.usage(frame, "noise", span) };
        let scale = self.value(frame, deviation)?;
        let found = self.graph.type_at(scale);
        if !found.shape.is_empty() || found.element != Element::Real {
            let message =
                format!("a standard deviation is one number, this is {}", self.type_text(frame, &found));
            self.report(frame, Diagnostic::error("shape-mismatch", deviation.span, message));
            return None;
        }
        let shape = self.drawn_shape(frame, dims, span)?;
        let origin = self.origin(frame, span);
        if self.mode != Mode::Train {
            return Some(self.graph.constant(0.0, &shape, origin).into());
        }
        let axes = self.drawn_axes(&drawn, found.axes.union(self.named_axes()));
        let first = self.uniform(frame, shape.clone(), axes, span);
        let second = self.uniform(frame, shape, axes, span);
        let normal = self.box_muller(frame, first, second, span)?;
        self.apply(frame, Op::Binary(Binary::Multiply), &[(scale, deviation.span), (normal, span)], span)
    }

    /// A standard normal number of two uniform ones.
    pub(super) fn box_muller(
        &mut self,
        frame: usize,
        first: Operand,
        second: Operand,
        span: Span,
    ) -> Option<Operand> {
        let origin = self.origin(frame, span);
        let at = |operand: Operand| (operand, span);
        let [minus_two, turn] = [-2.0, 2.0 * std::f64::consts::PI]
            .map(|number| at(self.graph.constant(number, &[], origin).into()));
        let times = Op::Binary(Binary::Multiply);
        let logs = self.apply(frame, Op::Unary(Unary::Log), &[at(first)], span)?;
        let square = self.apply(frame, times.clone(), &[minus_two, at(logs)], span)?;
        let radius = self.apply(frame, Op::Unary(Unary::Sqrt), &[at(square)], span)?;
        let angle = self.apply(frame, times.clone(), &[turn, at(second)], span)?;
        let cosine = self.apply(frame, Op::Unary(Unary::Cos), &[at(angle)], span)?;
        self.apply(frame, times, &[at(radius), at(cosine)], span)
    }

    /// `draw(categorical(logits))`: from what `~` would observe.
    pub(super) fn draw_call(&mut self, frame: usize, args: &'a [Arg], span: Span) -> Option<Operand> {
        let [Arg::Value(Expr { kind: ExprKind::Call(callee, inner), .. })] = args else {
            return self.usage(frame, "draw", span);
        };
        let (ExprKind::Name(name), [Arg::Value(parameter)]) = (&callee.kind, &inner[..]) else {
            return self.usage(frame, "draw", span);
        };
        if !self.is_distribution(frame, name, callee.span) {
            return None;
        }
        let value = self.value(frame, parameter)?;
        self.draw(frame, name, Element::Real, (value, parameter.span), None)
    }

    /// A scalar along a shape.
    fn stretched(&mut self, frame: usize, x: Operand, shape: &[usize], span: Span) -> Option<Operand> {
        let origin = self.origin(frame, span);
        if let Op::Constant(value) = *self.graph.op(x.node) {
            return Some(self.graph.constant(value, shape, origin).into());
        }
        if shape.is_empty() {
            return Some(x);
        }
        let ones = self.graph.constant(1.0, shape, origin);
        self.apply(frame, Op::Binary(Binary::Multiply), &[(x, span), (ones.into(), span)], span)
    }

    fn drawn_shape(&mut self, frame: usize, dims: &[&'a Expr], span: Span) -> Option<Vec<usize>> {
        let shape: Option<Vec<usize>> = dims.iter().map(|dim| self.dim(frame, dim)).collect();
        let shape = shape?;
        self.fits_memory(frame, &shape, span)?;
        Some(shape)
    }

    /// A probability: a number in 0..1, or one that a run sets or computes.
    fn probability(&mut self, frame: usize, expr: &'a Expr, what: &str, whole: bool) -> Option<Chance> {
        if let Some(p) = self.number(frame, expr, false) {
            if !((0.0..1.0).contains(&p) || whole && p == 1.0) {
                let excluded = if whole { "" } else { " (1 excluded)" };
                let message = format!("{what} lies in 0..1{excluded}, not {p}");
                self.report(frame, Diagnostic::error("out-of-range", expr.span, message));
                return None;
            }
            return Some(Chance::Known(p));
        }
        let value = self.value(frame, expr)?;
        let found = self.graph.type_at(value);
        if !found.shape.is_empty() || found.element != Element::Real {
            let message = format!("{what} is one number, this is {}", self.type_text(frame, &found));
            self.report(frame, Diagnostic::error("shape-mismatch", expr.span, message));
            return None;
        }
        Some(Chance::Value(value))
    }

    /// `where(mask(…), a, b)` would take what stands for a mask outside training, its mean, for true.
    pub(super) fn refuse_mask(&mut self, frame: usize, condition: Operand, span: Span) -> Option<()> {
        if !self.masks.contains(&condition.node) {
            return Some(());
        }
        let message = "outside training a mask is its mean, which `where` takes for true";
        let diagnostic = Diagnostic::error("mask-as-condition", span, message).help(
            "weigh with it, `m * a + (1 - m) * b`; to choose in training only: `where(training * m, a, b)`",
        );
        self.report(frame, diagnostic);
        None
    }
}

/// A probability.
enum Chance {
    /// Known when compiling.
    Known(f64),
    /// Known when running.
    Value(Operand),
}
