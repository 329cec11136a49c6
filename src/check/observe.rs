//! `~`, losses and metrics: what training observes, evaluation measures and generation draws.

use crate::base::{Diagnostic, Span};
use crate::ir::{
    Along, AxisSet, BATCH, Binary, Element, Op, Operand, Origin, Output, OutputKind, Reduction, Unary,
    ValueType,
};
use crate::syntax::ast::{self, Arg, Expr};

use super::frame::Symbol;
use super::frame::Thing;
use super::{Checker, Mode};

const DISTRIBUTIONS: [&str; 3] = ["categorical", "bernoulli", "normal"];

impl<'a> Checker<'a> {
    /// `y ~ categorical(logits)`.
    pub(super) fn observe(
        &mut self,
        frame: usize,
        target: &'a ast::Target,
        distribution: &'a ast::Ident,
        args: &'a [Arg],
        span: Span,
    ) {
        let value = match args {
            [Arg::Value(value)] => value,
            _ => {
                let message = format!("`{}` takes one argument", distribution.text);
                self.report(frame, Diagnostic::error("arguments", distribution.span, message));
                return;
            }
        };
        let known = DISTRIBUTIONS.contains(&distribution.text.as_str());
        if !known {
            let mut diagnostic = Diagnostic::error(
                "unknown-name",
                distribution.span,
                format!("`{}` is not a distribution", distribution.text),
            );
            diagnostic = match super::nearest(&distribution.text, DISTRIBUTIONS) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic.help("distributions: categorical(logits), bernoulli(logit), normal(mean)"),
            };
            self.report(frame, diagnostic);
        }
        let parameter = self.value(frame, value);
        let observed = self.lookup(frame, &target.name.text, target.name.span);
        let (Some(parameter), Some(observed), true) = (parameter, observed, known) else { return };
        let Some(observed) = self.value_of(frame, observed, target.span) else { return };
        let drawn = match self.frames[frame].symbols.get(&target.name.text) {
            Some(Symbol::State { node, declared, .. }) if self.mode == Mode::Generate => {
                Some((*node, *declared))
            }
            _ => None,
        };
        match drawn {
            Some((node, declared)) => {
                let draw = self.draw(frame, &distribution.text, observed, parameter, value.span);
                match draw {
                    Some(draw) => self.close_state(frame, node, draw, declared, target.span, value.span),
                    None => {
                        self.frames[frame].symbols.insert(target.name.text.clone(), Symbol::Failed);
                    }
                }
                self.offer_distribution(&target.name.text, parameter);
            }
            None => {
                let nll = self.surprise(frame, &distribution.text, observed, parameter, span, value.span);
                if let Some(nll) = nll {
                    self.mean_output(frame, OutputKind::Loss, &target.name.text, nll, span);
                }
            }
        }
    }

    fn offer_distribution(&mut self, name: &str, value: Operand) {
        self.graph.outputs.push(Output {
            kind: OutputKind::Value,
            name: format!("{name}.distribution"),
            value,
        });
    }

    /// The negative log-likelihood of one observed value.
    fn surprise(
        &mut self,
        frame: usize,
        distribution: &str,
        observed: Operand,
        parameter: Operand,
        span: Span,
        place: Span,
    ) -> Option<Operand> {
        let y = (observed, span);
        let x = (parameter, place);
        let (found, wanted) = (self.graph.type_at(observed), self.graph.type_at(parameter));
        let at = |operand: Operand| (operand, span);
        match distribution {
            "categorical" => {
                match found.element {
                    Element::Id(classes) if wanted.shape == [classes] => {}
                    Element::Id(classes) => {
                        let message = format!(
                            "an id of {classes} kinds needs as many logits, this is {}",
                            self.type_text(frame, &wanted)
                        );
                        let diagnostic = Diagnostic::error("shape-mismatch", place, message);
                        self.report(frame, diagnostic);
                        return None;
                    }
                    Element::Real => {
                        let diagnostic = Diagnostic::error(
                            "not-an-id",
                            span,
                            "categorical observes an id, not real numbers",
                        )
                        .help(
                            "declare it `input y: id(C)`; real numbers are observed by normal or bernoulli",
                        );
                        self.report(frame, diagnostic);
                        return None;
                    }
                }
                let total = self.apply(frame, Op::LogSumExp, &[x], span)?;
                let chosen = self.apply(frame, Op::Gather, &[x, y], span)?;
                self.subtract(frame, total, chosen, span)
            }
            "bernoulli" => {
                let y = self.as_number(frame, observed, span)?;
                let softplus = self.apply(frame, Op::Unary(Unary::Softplus), &[x], span)?;
                let product = self.apply(frame, Op::Binary(Binary::Multiply), &[at(y), x], span)?;
                let terms = self.subtract(frame, softplus, product, span)?;
                self.total(frame, terms, span)
            }
            _ => {
                // A unit normal: (y - m)^2 / 2 + log(2 pi) / 2 an element.
                let difference = self.apply(frame, Op::Binary(Binary::Subtract), &[y, x], span)?;
                let origin = Origin::forward(span);
                let [two, half, constant] = [2.0, 0.5, 0.5 * (2.0 * std::f64::consts::PI).ln()]
                    .map(|number| at(self.graph.constant(number, &[], origin).into()));
                let square = self.apply(frame, Op::Binary(Binary::Power), &[at(difference), two], span)?;
                let scaled = self.apply(frame, Op::Binary(Binary::Multiply), &[half, at(square)], span)?;
                let terms = self.apply(frame, Op::Binary(Binary::Add), &[at(scaled), constant], span)?;
                self.total(frame, terms, span)
            }
        }
    }

    /// An observed 0 or 1 as a number, also if it is an id of two.
    fn as_number(&mut self, frame: usize, observed: Operand, span: Span) -> Option<Operand> {
        match self.graph.type_at(observed).element {
            Element::Real => Some(observed),
            Element::Id(2) => {
                let both = self.apply(frame, Op::OneHot(2), &[(observed, span)], span)?;
                let one = self.apply(frame, Op::Slice { dim: 0, start: 1, len: 1 }, &[(both, span)], span)?;
                self.apply(frame, Op::Reduce(Reduction::Sum, Along::Last), &[(one, span)], span)
            }
            Element::Id(size) => {
                let message = format!("bernoulli observes 0 or 1, not an id of {size} kinds");
                self.report(frame, Diagnostic::error("not-an-id", span, message));
                None
            }
        }
    }

    /// The sum over all static dimensions.
    fn total(&mut self, frame: usize, mut value: Operand, span: Span) -> Option<Operand> {
        while !self.graph.type_at(value).shape.is_empty() {
            value = self.apply(frame, Op::Reduce(Reduction::Sum, Along::Last), &[(value, span)], span)?;
        }
        Some(value)
    }

    /// A draw from a distribution, by the temperature that the run sets.
    fn draw(
        &mut self,
        frame: usize,
        distribution: &str,
        observed: Operand,
        parameter: Operand,
        span: Span,
    ) -> Option<Operand> {
        let origin = Origin::forward(span);
        let at = |operand: Operand| (operand, span);
        let ty = ValueType::real(Vec::new(), AxisSet::NONE);
        let temperature = at(self.graph.leaf(Op::Setting("temperature".into()), ty, origin, None).into());
        let uniform = self.random_like(frame, parameter, span);
        let minus = Op::Unary(Unary::Negate);
        let log = Op::Unary(Unary::Log);
        match distribution {
            "categorical" => {
                // The Gumbel-max trick: the largest of logits + temperature * Gumbel noise.
                let inner = self.apply(frame, log.clone(), &[at(uniform)], span)?;
                let inner = self.apply(frame, minus.clone(), &[at(inner)], span)?;
                let inner = self.apply(frame, log, &[at(inner)], span)?;
                let scaled =
                    self.apply(frame, Op::Binary(Binary::Multiply), &[temperature, at(inner)], span)?;
                let noisy = self.subtract(frame, parameter, scaled, span)?;
                self.apply(frame, Op::ArgMax, &[at(noisy)], span)
            }
            "bernoulli" => {
                // A logistic variable: log(u / (1 - u)).
                let one = at(self.graph.constant(1.0, &[], origin).into());
                let rest = self.apply(frame, Op::Binary(Binary::Subtract), &[one, at(uniform)], span)?;
                let odds = self.apply(frame, Op::Binary(Binary::Divide), &[at(uniform), at(rest)], span)?;
                let noise = self.apply(frame, log, &[at(odds)], span)?;
                let noise =
                    self.apply(frame, Op::Binary(Binary::Multiply), &[temperature, at(noise)], span)?;
                let noisy =
                    self.apply(frame, Op::Binary(Binary::Add), &[(parameter, span), at(noise)], span)?;
                let zero = at(self.graph.constant(0.0, &[], origin).into());
                let drawn = self.apply(frame, Op::Binary(Binary::Greater), &[at(noisy), zero], span)?;
                match self.graph.type_at(observed).element {
                    Element::Real => Some(drawn),
                    Element::Id(_) => {
                        let rest =
                            self.apply(frame, Op::Binary(Binary::Subtract), &[one, at(drawn)], span)?;
                        let parts =
                            [self.vector_of_one(frame, rest, span)?, self.vector_of_one(frame, drawn, span)?];
                        let both = self.apply(frame, Op::Concat { dim: 0 }, &parts, span)?;
                        self.apply(frame, Op::ArgMax, &[at(both)], span)
                    }
                }
            }
            _ => {
                // Box and Muller 1958.
                let second = self.random_like(frame, parameter, span);
                let [minus_two, turn] = [-2.0, 2.0 * std::f64::consts::PI]
                    .map(|number| at(self.graph.constant(number, &[], origin).into()));
                let times = Op::Binary(Binary::Multiply);
                let logs = self.apply(frame, log, &[at(uniform)], span)?;
                let square = self.apply(frame, times.clone(), &[minus_two, at(logs)], span)?;
                let radius = self.apply(frame, Op::Unary(Unary::Sqrt), &[at(square)], span)?;
                let angle = self.apply(frame, times.clone(), &[turn, at(second)], span)?;
                let cosine = self.apply(frame, Op::Unary(Unary::Cos), &[at(angle)], span)?;
                let noise = self.apply(frame, times.clone(), &[at(radius), at(cosine)], span)?;
                let noise = self.apply(frame, times, &[temperature, at(noise)], span)?;
                self.apply(frame, Op::Binary(Binary::Add), &[(parameter, span), at(noise)], span)
            }
        }
    }

    fn vector_of_one(&mut self, frame: usize, scalar: Operand, span: Span) -> Option<(Operand, Span)> {
        let one = self.graph.constant(1.0, &[1], Origin::forward(span));
        let product = Op::Binary(Binary::Multiply);
        self.apply(frame, product, &[(scalar, span), (one.into(), span)], span).map(|operand| (operand, span))
    }

    /// `loss name = value`, `metric name = value`.
    pub(super) fn loss(&mut self, frame: usize, name: &'a ast::Ident, value: &'a Expr, kind: OutputKind) {
        if self.mode == Mode::Generate {
            return;
        }
        let Some(operand) = self.value(frame, value) else { return };
        let found = self.graph.type_at(operand);
        if !found.shape.is_empty() || found.element != Element::Real {
            let message =
                format!("a loss or metric is one number, this is {}", self.type_text(frame, &found));
            let diagnostic = Diagnostic::error("shape-mismatch", value.span, message)
                .help("reduce it: sum(…) or mean(…) along the last dimension");
            self.report(frame, diagnostic);
            return;
        }
        let path = super::frame::join(&self.frames[frame].path, &name.text);
        self.mean_output(frame, kind, &path, operand, value.span);
    }

    /// The mean over whatever axes a value has, as an output.
    fn mean_output(&mut self, frame: usize, kind: OutputKind, name: &str, value: Operand, span: Span) {
        let axes = self.graph.type_at(value).axes;
        let value = if axes.is_empty() {
            Some(value)
        } else {
            let over = Along::Axes(axes.with(BATCH));
            self.apply(frame, Op::Reduce(Reduction::Mean, over), &[(value, span)], span)
        };
        let Some(value) = value else { return };
        if self.graph.output(kind, name).is_some() {
            let message = format!("`{name}` is observed or defined as a loss twice");
            self.report(frame, Diagnostic::error("duplicate-name", span, message));
            return;
        }
        self.graph.outputs.push(Output { kind, name: name.to_string(), value });
    }

    /// The value of a gradient's equation: its outermost reductions run over the batch, too.
    pub(super) fn gradient_value(&mut self, frame: usize, value: &'a Expr) -> Option<Thing<'a>> {
        let outer = std::mem::replace(&mut self.in_gradient, true);
        let reduction = std::mem::replace(&mut self.inside_reduction, false);
        let thing = self.expression(frame, value, None);
        self.in_gradient = outer;
        self.inside_reduction = reduction;
        thing
    }
}
