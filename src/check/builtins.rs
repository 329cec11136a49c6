//! The functions that every program has, and the inlining of those a file defines.

use std::collections::HashMap;

use crate::base::{Diagnostic, Span};
use crate::ir::{Along, AxisSet, BATCH, Binary, Element, Op, Operand, Reduction, Unary, ValueType};
use crate::syntax::ast::{self, Arg, Expr, ExprKind};

use super::Checker;
use super::block::arg_value;
use super::expression::dotted;
use super::frame::{Frame, Symbol, Thing};

/// Names of functions beside the elementwise ones of [`Unary::ALL`], with how to call them.
const OTHERS: [(&str, &str); 27] = [
    ("sum", "sum(x), sum(x over t), sum(x over all)"),
    ("mean", "mean(x), mean(x over t), mean(x over all)"),
    ("max", "max(x), max(x over t), max(a, b)"),
    ("min", "min(a, b)"),
    ("softmax", "softmax(x), softmax(x over s)"),
    ("logsumexp", "logsumexp(x)"),
    ("dot", "dot(a, b)"),
    ("outer", "outer(a, b)"),
    ("einsum", "einsum(\"ij,j->i\", a, b)"),
    ("concat", "concat(a, b, dim = 1)"),
    ("where", "where(condition, a, b)"),
    ("onehot", "onehot(id, V)"),
    ("argmax", "argmax(x)"),
    ("dropout", "dropout(x, p), dropout(x, p, once), dropout(W, p, shared)"),
    ("mask", "mask(p, H), mask(p, H, along t), mask(p, H, shared)"),
    ("noise", "noise(s, H), noise(s, H, along t), noise(s, H, shared)"),
    ("draw", "draw(categorical(logits)), draw(bernoulli(logit)), draw(normal(mean))"),
    ("stop", "stop(x)"),
    ("initially", "initially(x[t-1], start)"),
    ("zeros", "zeros(H)"),
    ("ones", "ones(H)"),
    ("fill", "fill(value, H)"),
    ("length", "length(t)"),
    ("count", "count(t)"),
    ("random", "random(stream, H), random(stream, H, shared = 1)"),
    ("setting", "setting(name)"),
    ("none", "none(V)"),
];

/// Names of all functions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    Unary::ALL.iter().map(|(_, name)| *name).chain(OTHERS.iter().map(|(name, _)| *name))
}

impl<'a> Checker<'a> {
    /// A call of a function that every program has.
    pub(super) fn builtin(
        &mut self,
        frame: usize,
        name: &str,
        args: &'a [Arg],
        span: Span,
        place: Span,
    ) -> Option<Operand> {
        let origin = self.origin(frame, span);
        if let Some((unary, _)) = Unary::ALL.iter().find(|(_, known)| *known == name) {
            let [x] = self.values(frame, name, args, span)?;
            return self.apply(frame, Op::Unary(*unary), &[x], span);
        }
        match name {
            "sum" => self.reduction(frame, Reduction::Sum, args, span),
            "mean" => self.reduction(frame, Reduction::Mean, args, span),
            "max" if args.len() == 1 => self.reduction(frame, Reduction::Max, args, span),
            "max" | "min" => {
                let operands: [(Operand, Span); 2] = self.values(frame, name, args, span)?;
                let binary = if name == "max" { Binary::Max } else { Binary::Min };
                self.apply(frame, Op::Binary(binary), &operands, span)
            }
            "softmax" => {
                let (x, along) = self.along(frame, name, args, span)?;
                self.apply(frame, Op::Softmax(along), &[x], span)
            }
            "logsumexp" => {
                let [x] = self.values(frame, name, args, span)?;
                self.apply(frame, Op::LogSumExp, &[x], span)
            }
            "dot" | "outer" => {
                let [a, b] = self.values(frame, name, args, span)?;
                self.einsum_at(frame, if name == "dot" { "i,i->" } else { "i,j->ij" }, a, b, span)
            }
            "einsum" => match args {
                [Arg::Value(Expr { kind: ExprKind::Text(spec), .. }), Arg::Value(a), Arg::Value(b)] => {
                    let (x, y) = (self.value(frame, a), self.value(frame, b));
                    self.einsum_at(frame, spec, (x?, a.span), (y?, b.span), span)
                }
                _ => self.usage(frame, name, span),
            },
            "concat" => self.concat_call(frame, args, span),
            "where" => {
                let operands: [(Operand, Span); 3] = self.values(frame, name, args, span)?;
                self.refuse_mask(frame, operands[0].0, operands[0].1)?;
                self.apply(frame, Op::Select, &operands, span)
            }
            "onehot" => match args {
                [Arg::Value(id), Arg::Value(size)] => {
                    let id_value = self.value(frame, id);
                    let size = self.dim(frame, size)?;
                    self.apply(frame, Op::OneHot(size), &[(id_value?, id.span)], span)
                }
                _ => self.usage(frame, name, span),
            },
            "argmax" => {
                let [x] = self.values(frame, name, args, span)?;
                self.apply(frame, Op::ArgMax, &[x], span)
            }
            "stop" => {
                let [x] = self.values(frame, name, args, span)?;
                self.apply(frame, Op::Stop, &[x], span)
            }
            "initially" => {
                let operands: [(Operand, Span); 2] = self.values(frame, name, args, span)?;
                if operands[0].0.access.is_total() {
                    let message = "this value is there at every position: nothing stands in for it";
                    let diagnostic = Diagnostic::error("arguments", operands[0].1, message)
                        .help("read it at a position that may not exist: `initially(h[t-1], start)`");
                    self.report(frame, diagnostic);
                    return None;
                }
                self.apply(frame, Op::Initially, &operands, span)
            }
            "dropout" => self.dropout(frame, args, span),
            "mask" => self.mask(frame, args, span),
            "noise" => self.noise(frame, args, span),
            "draw" => self.draw_call(frame, args, span),
            "zeros" | "ones" => {
                let shape = self.shape_args(frame, args)?;
                self.fits_memory(frame, &shape, span)?;
                Some(self.graph.constant(if name == "ones" { 1.0 } else { 0.0 }, &shape, origin).into())
            }
            "fill" => match args {
                [Arg::Value(value), dims @ ..] => {
                    let value = self.number(frame, value, true)?;
                    let shape = self.shape_args(frame, dims)?;
                    self.fits_memory(frame, &shape, span)?;
                    Some(self.graph.constant(value, &shape, origin).into())
                }
                _ => self.usage(frame, name, span),
            },
            "length" => {
                let axis = self.axis_arg(frame, name, args, span)?.iter().find(|&axis| axis != BATCH);
                let Some(axis) = axis else { return self.usage(frame, name, span) };
                let ty = ValueType::real(Vec::new(), self.graph.length_axes(axis));
                Some(self.graph.leaf(Op::Length(axis), ty, origin, None).into())
            }
            "count" => {
                let axes = self.axis_arg(frame, name, args, span)?.with(BATCH);
                let axes = self.graph.closed(axes);
                let ty = ValueType::real(Vec::new(), AxisSet::NONE);
                Some(self.graph.leaf(Op::Count(axes), ty, origin, None).into())
            }
            "random" => match args {
                [Arg::Value(stream), dims @ ..] => {
                    let stream = self.dim(frame, stream)?;
                    let (dims, shared) = match dims {
                        [dims @ .., Arg::Named(key, _)] if key.text == "shared" => (dims, true),
                        _ => (dims, false),
                    };
                    let shape = self.shape_args(frame, dims)?;
                    let stream = u32::try_from(stream).unwrap_or(u32::MAX);
                    self.streams = self.streams.max(stream.saturating_add(1));
                    let axes = if shared { AxisSet::NONE } else { self.random_axes(frame) };
                    Some(
                        self.graph
                            .leaf(Op::Random(stream), ValueType::real(shape, axes), origin, None)
                            .into(),
                    )
                }
                _ => self.usage(frame, name, span),
            },
            "setting" => match args {
                [Arg::Value(Expr { kind: ExprKind::Name(setting), .. })] => {
                    let ty = ValueType::real(Vec::new(), AxisSet::NONE);
                    Some(self.graph.leaf(Op::Setting(setting.clone()), ty, origin, None).into())
                }
                _ => self.usage(frame, name, span),
            },
            "none" => match args {
                [Arg::Value(size)] => {
                    let size = self.dim(frame, size)?;
                    let ty = ValueType { shape: Vec::new(), element: Element::Id(size), axes: AxisSet::NONE };
                    Some(self.graph.leaf(Op::NoId, ty, origin, None).into())
                }
                _ => self.usage(frame, name, span),
            },
            _ => {
                self.unknown(frame, name, place);
                None
            }
        }
    }

    pub(super) fn usage(&mut self, frame: usize, name: &str, span: Span) -> Option<Operand> {
        let form = OTHERS
            .iter()
            .find(|(known, _)| *known == name)
            .map_or_else(|| format!("{name}(x)"), |(_, form)| (*form).into());
        let diagnostic =
            Diagnostic::error("arguments", span, format!("these are not the arguments of `{name}`"))
                .help(format!("it is called as {form}"));
        self.report(frame, diagnostic);
        None
    }

    /// Exactly `N` plain values.
    fn values<const N: usize>(
        &mut self,
        frame: usize,
        name: &str,
        args: &'a [Arg],
        span: Span,
    ) -> Option<[(Operand, Span); N]> {
        let mut found = Vec::new();
        for arg in args {
            match arg {
                Arg::Value(value) => {
                    found.push(self.value(frame, value).map(|operand| (operand, value.span)))
                }
                Arg::Named(..) | Arg::Over(..) | Arg::Along(_) => {
                    self.usage(frame, name, span);
                    return None;
                }
            }
        }
        if found.len() != N {
            self.usage(frame, name, span);
            return None;
        }
        let found: Option<Vec<(Operand, Span)>> = found.into_iter().collect();
        found?.try_into().ok()
    }

    fn shape_args(&mut self, frame: usize, args: &'a [Arg]) -> Option<Vec<usize>> {
        args.iter().map(|arg| arg_value(arg).and_then(|value| self.dim(frame, value))).collect()
    }

    fn axis_arg(&mut self, frame: usize, name: &str, args: &'a [Arg], span: Span) -> Option<AxisSet> {
        let mut axes = AxisSet::NONE;
        for arg in args {
            let named = arg_value(arg).and_then(|value| Some((dotted(value)?, value.span)));
            let Some((text, place)) = named else {
                self.usage(frame, name, span);
                return None;
            };
            axes = axes.with(self.axis_named(frame, &ast::Ident { text, span: place })?);
        }
        if axes.is_empty() {
            self.usage(frame, name, span);
            return None;
        }
        Some(axes)
    }

    /// The operand and what to reduce along: `x`, `x over t`.
    fn along(
        &mut self,
        frame: usize,
        name: &str,
        args: &'a [Arg],
        span: Span,
    ) -> Option<((Operand, Span), Along)> {
        match args {
            [Arg::Value(value)] => Some(((self.value(frame, value)?, value.span), Along::Last)),
            [Arg::Over(value, names)] => {
                let all = names.iter().any(|name| name.text == "all" && self.axis_in(frame, "all").is_none());
                let axes: Vec<_> = match all {
                    true => vec![Some(BATCH)],
                    false => names.iter().map(|name| self.axis_named(frame, name)).collect(),
                };
                let outer = self.inside_reduction;
                self.inside_reduction = true;
                let operand = self.value(frame, value);
                self.inside_reduction = outer;
                let mut operand = operand?;
                let mut over: AxisSet = axes.into_iter().collect::<Option<AxisSet>>()?;
                let reduces = name != "softmax";
                if self.in_gradient && !outer && reduces {
                    over = over.with(BATCH);
                }
                let has = self.graph.type_at(operand).axes;
                if all {
                    over = over.union(has);
                }
                self.whole_trees(frame, has, over, span)?;
                if !has.covers(over) && reduces {
                    let wide = self.graph.closed(over.with(BATCH));
                    operand = self.spread(operand, wide, self.origin(frame, span)).into();
                }
                Some(((operand, value.span), Along::Axes(over)))
            }
            _ => {
                self.usage(frame, name, span);
                None
            }
        }
    }

    fn reduction(
        &mut self,
        frame: usize,
        reduction: Reduction,
        args: &'a [Arg],
        span: Span,
    ) -> Option<Operand> {
        let (x, along) = self.along(frame, reduction.name(), args, span)?;
        self.apply(frame, Op::Reduce(reduction, along), &[x], span)
    }

    fn concat_call(&mut self, frame: usize, args: &'a [Arg], span: Span) -> Option<Operand> {
        let mut dim = 0;
        let mut operands = Vec::new();
        for arg in args {
            match arg {
                Arg::Value(value) => {
                    operands.push(self.value(frame, value).map(|operand| (operand, value.span)))
                }
                Arg::Named(key, value) if key.text == "dim" => dim = self.dim(frame, value)?,
                Arg::Named(..) | Arg::Over(..) | Arg::Along(_) => return self.usage(frame, "concat", span),
            }
        }
        let operands: Option<Vec<(Operand, Span)>> = operands.into_iter().collect();
        self.apply(frame, Op::Concat { dim }, &operands?, span)
    }

    /// Axes of fresh random numbers: those of the surrounding cell, else one an example.
    fn random_axes(&self, frame: usize) -> AxisSet {
        self.random_over.unwrap_or_else(|| {
            self.frames[frame].axis.map_or(AxisSet::BATCH, |axis| AxisSet::BATCH.with(axis))
        })
    }

    /// The body of a function of the file with its parameters bound.
    pub(super) fn inline(
        &mut self,
        frame: usize,
        function: &'a ast::Function,
        args: &'a [Arg],
        span: Span,
        library: bool,
    ) -> Option<Operand> {
        let name: &'a str = &function.name.text;
        if self.active.contains(&name) {
            let diagnostic = Diagnostic::error("cell-cycle", span, format!("function `{name}` calls itself"));
            self.report(frame, diagnostic);
            return None;
        }
        let plain = args.iter().all(|arg| matches!(arg, Arg::Value(_)));
        if args.len() != function.params.len() || !plain {
            let names: Vec<&str> = function.params.iter().map(|(name, _)| name.text.as_str()).collect();
            let diagnostic =
                Diagnostic::error("arguments", span, format!("these are not the arguments of `{name}`"))
                    .help(format!("it is defined as `{name}({})`", names.join(", ")));
            self.report(frame, diagnostic);
            return None;
        }
        let values: Vec<Option<(Operand, Span)>> = args
            .iter()
            .filter_map(arg_value)
            .map(|value| self.value(frame, value).map(|operand| (operand, value.span)))
            .collect();
        let values: Option<Vec<(Operand, Span)>> = values.into_iter().collect();
        let outer = &self.frames[frame];
        let mut inner = Frame::new(outer.block, outer.path.clone(), outer.param_path.clone(), HashMap::new());
        inner.axis = outer.axis;
        inner.axes.clone_from(&outer.axes);
        inner.backward = outer.backward;
        inner.site = outer.site.or(library.then_some(span));
        let inner = self.push_frame(inner);
        for ((param, ty), (operand, place)) in function.params.iter().zip(values?) {
            self.bind_dims(frame, inner, ty.as_ref(), operand, place)?;
            self.define(inner, param, Symbol::Known(Thing::Value(operand)));
        }
        self.applied.push(name);
        self.active.push(name);
        let result = self.value(inner, &function.body);
        self.active.pop();
        let result = result?;
        self.bind_dims(inner, inner, function.result.as_ref(), result, function.body.span)?;
        Some(result)
    }

    /// Matches a declared type with a value's: a dimension met first is bound, later ones must agree.
    pub(super) fn bind_dims(
        &mut self,
        caller: usize,
        inner: usize,
        ty: Option<&'a ast::Type>,
        operand: Operand,
        place: Span,
    ) -> Option<()> {
        let Some(ast::Type::Real(dims, span)) = ty else { return Some(()) };
        let found = self.graph.type_at(operand);
        let mut fits = found.shape.len() == dims.len() && found.element == Element::Real;
        for (dim, &size) in dims.iter().zip(&found.shape) {
            match &dim.kind {
                ExprKind::Name(name) if !self.frames[inner].dims.contains_key(name) => {
                    self.frames[inner].dims.insert(name.clone(), size);
                }
                _ => fits &= self.dim(inner, dim) == Some(size),
            }
        }
        if !fits {
            let message =
                format!("this is {}, which does not fit the declared type", self.type_text(caller, &found));
            self.report(
                caller,
                Diagnostic::error("shape-mismatch", place, message).label(*span, "declared here"),
            );
            return None;
        }
        Some(())
    }
}
