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

/// How an observation counts.
struct Counting<'a> {
    weight: Option<&'a Expr>,
    smoothing: f64,
}

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
        let Some((value, options)) = self.observed_with(frame, distribution, args) else { return };
        let known = self.is_distribution(frame, &distribution.text, distribution.span);
        let parameter = self.value(frame, value);
        let observed = self.lookup(frame, &target.name.text, target.name.span);
        let (Some(parameter), Some(observed), true) = (parameter, observed, known) else { return };
        let Some(observed) = self.value_of(frame, observed, target.span) else { return };
        if !self.observed_along(frame, target, observed) {
            return;
        }
        let drawn = match self.frames[frame].symbols.get(&target.name.text) {
            Some(Symbol::State { node, declared, .. }) if self.mode == Mode::Generate => {
                Some((*node, *declared))
            }
            _ => None,
        };
        match drawn {
            Some((node, declared)) => {
                let element = self.graph.type_at(observed).element;
                let ty = ValueType::real(Vec::new(), AxisSet::NONE);
                let origin = Origin::forward(value.span);
                let temperature = self.graph.leaf(Op::Setting("temperature".into()), ty, origin, None);
                let given = (parameter, value.span);
                let draw = self.draw(frame, &distribution.text, element, given, Some(temperature.into()));
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
                let nll = nll.and_then(|nll| self.weighed(frame, nll, parameter, &options, span));
                if let Some(nll) = nll {
                    self.mean_output(frame, OutputKind::Loss, &target.name.text, nll, span);
                }
            }
        }
    }

    /// That `y[t] ~ …` names axes that `y` has; reports if not. What is observed is so at all its positions.
    fn observed_along(&mut self, frame: usize, target: &'a ast::Target, observed: Operand) -> bool {
        let found = self.graph.type_at(observed);
        for name in &target.index {
            let Some(axis) = self.axis_named(frame, name) else { return false };
            if !self.graph.closed(found.axes.with(BATCH)).contains(axis) {
                let message = format!(
                    "`{}` has no positions along {}: it is {}",
                    target.name.text,
                    name.text,
                    self.type_text(frame, &found)
                );
                self.report(frame, Diagnostic::error("axis-mismatch", name.span, message));
                return false;
            }
        }
        true
    }

    /// The arguments of a distribution: its parameter, and how an observation counts.
    fn observed_with(
        &mut self,
        frame: usize,
        distribution: &'a ast::Ident,
        args: &'a [Arg],
    ) -> Option<(&'a Expr, Counting<'a>)> {
        let mut value = None;
        let mut options = Counting { weight: None, smoothing: 0.0 };
        let mut sound = true;
        for arg in args {
            match arg {
                Arg::Value(given) if value.is_none() => value = Some(given),
                Arg::Named(key, given) if key.text == "weight" => options.weight = Some(given),
                Arg::Named(key, given) if key.text == "smoothing" && distribution.text == "categorical" => {
                    let amount = self.number(frame, given, true)?;
                    if !(0.0..1.0).contains(&amount) {
                        let message = format!("label smoothing lies in 0..1 (1 excluded), not {amount}");
                        self.report(frame, Diagnostic::error("out-of-range", given.span, message));
                        return None;
                    }
                    options.smoothing = amount;
                }
                _ => sound = false,
            }
        }
        match value {
            Some(value) if sound => Some((value, options)),
            _ => {
                let message = format!("these are not the arguments of `{}`", distribution.text);
                let diagnostic = Diagnostic::error("arguments", distribution.span, message).help(
                    "it takes one, and by name `weight`, a number that an observation counts; `categorical` also \
                     `smoothing`, the part of a label that goes to all classes alike",
                );
                self.report(frame, diagnostic);
                None
            }
        }
    }

    /// A negative log-likelihood as it counts. Smoothing (Szegedy et al., "Rethinking the Inception architecture for
    /// computer vision", CVPR 2016, section 7) is for training alone.
    fn weighed(
        &mut self,
        frame: usize,
        nll: Operand,
        logits: Operand,
        options: &Counting<'a>,
        span: Span,
    ) -> Option<Operand> {
        let origin = self.origin(frame, span);
        let at = |operand: Operand| (operand, span);
        let times = Op::Binary(Binary::Multiply);
        let mut nll = nll;
        if options.smoothing > 0.0 && self.mode == Mode::Train {
            // (1 - e) nll + e (the mean over all classes of theirs).
            let total = self.apply(frame, Op::LogSumExp, &[at(logits)], span)?;
            let middle = self.apply(frame, Op::Reduce(Reduction::Mean, Along::Last), &[at(logits)], span)?;
            let even = self.subtract(frame, total, middle, span)?;
            let [kept, shared] = [1.0 - options.smoothing, options.smoothing]
                .map(|number| at(self.graph.constant(number, &[], origin).into()));
            let own = self.apply(frame, times.clone(), &[kept, at(nll)], span)?;
            let even = self.apply(frame, times.clone(), &[shared, at(even)], span)?;
            nll = self.apply(frame, Op::Binary(Binary::Add), &[at(own), at(even)], span)?;
        }
        let Some(weight) = options.weight else { return Some(nll) };
        let by = self.value(frame, weight)?;
        let found = self.graph.type_at(by);
        if !found.shape.is_empty() || found.element != Element::Real {
            let message = format!("a weight is one number, this is {}", self.type_text(frame, &found));
            let diagnostic = Diagnostic::error("shape-mismatch", weight.span, message)
                .help("that of a class is looked up by the label: `weight = w[label]`");
            self.report(frame, diagnostic);
            return None;
        }
        self.apply(frame, times, &[(by, weight.span), at(nll)], span)
    }

    /// That a name is that of a distribution; reports if it is not.
    pub(super) fn is_distribution(&mut self, frame: usize, name: &str, span: Span) -> bool {
        if DISTRIBUTIONS.contains(&name) {
            return true;
        }
        let message = format!("`{name}` is not a distribution");
        let mut diagnostic = Diagnostic::error("unknown-name", span, message);
        diagnostic = match super::nearest(name, DISTRIBUTIONS) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help("distributions: categorical(logits), bernoulli(logit), normal(mean)"),
        };
        self.report(frame, diagnostic);
        false
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

    /// A draw from a distribution; with a temperature, from a sharper or a flatter one. An id is drawn where
    /// one of two is observed as an id.
    pub(super) fn draw(
        &mut self,
        frame: usize,
        distribution: &str,
        element: Element,
        (parameter, span): (Operand, Span),
        temperature: Option<Operand>,
    ) -> Option<Operand> {
        let origin = self.origin(frame, span);
        let at = |operand: Operand| (operand, span);
        let uniform = self.random_like(frame, parameter, span);
        let log = Op::Unary(Unary::Log);
        match distribution {
            "categorical" => {
                // The Gumbel-max trick: the largest of logits + temperature * Gumbel noise.
                let minus = Op::Unary(Unary::Negate);
                let inner = self.apply(frame, log.clone(), &[at(uniform)], span)?;
                let inner = self.apply(frame, minus, &[at(inner)], span)?;
                let inner = self.apply(frame, log, &[at(inner)], span)?;
                let scaled = self.scaled(frame, temperature, inner, span)?;
                let noisy = self.subtract(frame, parameter, scaled, span)?;
                // Which id is drawn has no derivative.
                let noisy = self.apply(frame, Op::Stop, &[at(noisy)], span)?;
                self.apply(frame, Op::ArgMax, &[at(noisy)], span)
            }
            "bernoulli" => {
                // A logistic variable: log(u / (1 - u)).
                let one = at(self.graph.constant(1.0, &[], origin).into());
                let rest = self.apply(frame, Op::Binary(Binary::Subtract), &[one, at(uniform)], span)?;
                let odds = self.apply(frame, Op::Binary(Binary::Divide), &[at(uniform), at(rest)], span)?;
                let noise = self.apply(frame, log, &[at(odds)], span)?;
                let noise = self.scaled(frame, temperature, noise, span)?;
                let noisy = self.apply(frame, Op::Binary(Binary::Add), &[at(parameter), at(noise)], span)?;
                let zero = at(self.graph.constant(0.0, &[], origin).into());
                let drawn = self.apply(frame, Op::Binary(Binary::Greater), &[at(noisy), zero], span)?;
                match element {
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
                let second = self.random_like(frame, parameter, span);
                let noise = self.box_muller(frame, uniform, second, span)?;
                let noise = self.scaled(frame, temperature, noise, span)?;
                self.apply(frame, Op::Binary(Binary::Add), &[at(parameter), at(noise)], span)
            }
        }
    }

    fn scaled(&mut self, frame: usize, by: Option<Operand>, x: Operand, span: Span) -> Option<Operand> {
        match by {
            Some(by) => self.apply(frame, Op::Binary(Binary::Multiply), &[(by, span), (x, span)], span),
            None => Some(x),
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

    /// `update name = value`: a parameter that is not learned, after a step of training.
    pub(super) fn update(&mut self, frame: usize, name: &'a ast::Ident, value: &'a Expr) {
        let Some(full) = self.resolve(frame, &name.text) else {
            self.unknown(frame, &name.text, name.span);
            return;
        };
        let target = match self.frames[frame].symbols.get(&full) {
            Some(Symbol::Known(Thing::Value(operand))) => Some(*operand),
            _ => None,
        };
        let path = match target.map(|operand| self.graph.op(operand.node)) {
            Some(Op::Param(path)) => path.clone(),
            _ => {
                let message = format!("`{full}` is no parameter: only those are kept from step to step");
                self.report(frame, Diagnostic::error("update", name.span, message));
                return;
            }
        };
        let spec = self.graph.params.iter().find(|param| param.name == path);
        if spec.is_some_and(|param| param.trainable) {
            let message = format!("`{full}` is learned: it is not updated, too");
            let diagnostic = Diagnostic::error("update", name.span, message)
                .help(format!("declare it `param {full}: […] = frozen(zeros)`"));
            self.report(frame, diagnostic);
            return;
        }
        let (Some(operand), Some(target)) = (self.value(frame, value), target) else { return };
        let (found, wanted) = (self.graph.type_at(operand), self.graph.type_at(target));
        if found != wanted {
            let message = format!(
                "`{full}` is {}, its update is {}",
                self.type_text(frame, &wanted),
                match found.axes.is_empty() {
                    true => self.type_text(frame, &found),
                    false => format!("{} for each example", self.type_text(frame, &found)),
                }
            );
            let diagnostic = Diagnostic::error("shape-mismatch", value.span, message)
                .help("a parameter is one for all examples: reduce the value, `mean(x over all)`");
            self.report(frame, diagnostic);
            return;
        }
        if self.mode != Mode::Train {
            return;
        }
        if self.graph.output(OutputKind::Update, &path).is_some() {
            let message = format!("`{full}` is updated twice");
            self.report(frame, Diagnostic::error("duplicate-name", name.span, message));
            return;
        }
        self.graph.outputs.push(Output { kind: OutputKind::Update, name: path, value: operand });
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
