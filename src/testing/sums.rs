//! Random operations that combine elements or positions: contractions, reductions, softmax, attention.
//!
//! `sum(outer(x[t-1], y[t]) over t)` is one of them. Inside a loop nothing is summed along that loop.

use super::Fill;
use super::maker::{Maker, Read};
use crate::ir::{Along, AxisId, AxisSet, BATCH, Binary, Contract, Element, Op, Reduction, Unary, ValueType};

impl Maker {
    /// Axes that a value over `axes` may be summed over, at random; perhaps none.
    fn some_axes(&mut self, axes: AxisSet, inside: bool) -> AxisSet {
        let fixed = self.open.filter(|_| inside).map(|open| open.axis);
        let mut over = AxisSet::NONE;
        for axis in axes.without(BATCH).iter().filter(|axis| Some(*axis) != fixed) {
            if self.rng.chance(0.6) {
                over = over.with(axis);
            }
        }
        over = self.with_children(axes, over);
        let whole = !inside && axes.contains(BATCH) && over == axes.without(BATCH);
        if whole && self.rng.chance(0.4) { axes } else { over }
    }

    /// Nodes are not summed over without the children that a value has for each of them.
    fn with_children(&self, axes: AxisSet, over: AxisSet) -> AxisSet {
        match self.trees {
            Some(trees) if over.contains(trees.tree) && axes.contains(trees.children) => {
                over.with(trees.children)
            }
            _ => over,
        }
    }

    /// Any sum of products that the shapes allow.
    pub(super) fn contraction(&mut self) -> Option<Read> {
        let a = self.real()?;
        let mut b = self.real()?;
        if self.rng.chance(0.2) {
            let size = self.ty(a).shape.last().copied()?;
            let rows = self.dim();
            b = self.weight(&[rows, size]);
        }
        let (left_type, right_type) = (self.ty(a), self.ty(b));
        let left: Vec<u8> = (b'a'..).take(left_type.shape.len()).collect();
        let mut right: Vec<u8> = Vec::new();
        let mut out: Vec<u8> = left.clone();
        for (dim, size) in (b'n'..).zip(&right_type.shape) {
            let same: Vec<u8> = left
                .iter()
                .zip(&left_type.shape)
                .filter(|(label, known)| *known == size && !right.contains(label))
                .map(|(label, _)| *label)
                .collect();
            match self.rng.choose(&same) {
                Some(label) if self.rng.chance(0.75) => {
                    right.push(label);
                    if self.rng.chance(0.7) {
                        out.retain(|other| *other != label);
                    }
                }
                _ => {
                    right.push(dim);
                    out.push(dim);
                }
            }
        }
        if self.rng.chance(0.3) {
            self.rng.shuffle(&mut out);
        }
        let axes = left_type.axes.union(right_type.axes);
        let inside = a.inside || b.inside;
        let over = if self.rng.chance(0.35) { self.some_axes(axes, inside) } else { AxisSet::NONE };
        let mean = !over.is_empty() && self.rng.chance(0.4);
        if out.len() > 3 {
            return None;
        }
        let made = self.contract(Contract { left, right, out, over, mean }, a, b)?;
        (self.ty(made).size() <= 64).then_some(made)
    }

    pub(super) fn reduce_last(&mut self) -> Option<Read> {
        let mut x = self.pick(|ty, _| ty.element == Element::Real && !ty.shape.is_empty())?;
        let shape = self.ty(x).shape;
        let length = shape.last().copied()? as f64;
        if self.rng.chance(0.25) {
            return self.make(Op::LogSumExp, &[x], x.bound + length.ln());
        }
        let way = self.rng.one_of([Reduction::Sum, Reduction::Mean, Reduction::Max]);
        if way == Reduction::Max && self.options.differentiable {
            let ranks = self.param(&shape, Fill::Ranks);
            x = self.below_half(x)?;
            x = self.binary(Binary::Add, x, ranks)?;
        }
        let bound = if way == Reduction::Sum { x.bound * length } else { x.bound };
        self.make(Op::Reduce(way, Along::Last), &[x], bound)
    }

    /// `0.4 * tanh(x)`.
    fn below_half(&mut self, x: Read) -> Option<Read> {
        let x = self.unary(Unary::Tanh, x)?;
        let scale = self.constant(0.4, &[]);
        self.binary(Binary::Multiply, x, scale)
    }

    pub(super) fn position(&mut self, axis: AxisId) -> Read {
        let ty = ValueType::real(Vec::new(), self.graph.closed(AxisSet::BATCH.with(axis)));
        self.leaf(Op::Position(axis), ty, 8.0)
    }

    pub(super) fn reduce_axes(&mut self) -> Option<Read> {
        let mut x = self.pick(|ty, _| ty.element == Element::Real && ty.axes.contains(BATCH))?;
        let axes = self.ty(x).axes;
        let mut over = self.some_axes(axes, x.inside);
        if over.is_empty() {
            return None;
        }
        let way = self.rng.one_of([Reduction::Sum, Reduction::Mean, Reduction::Max]);
        if way == Reduction::Max && self.options.differentiable {
            // The largest is at the first or the last position, by a margin.
            let mut axis = over.without(BATCH).iter().next()?;
            if let Some(trees) =
                self.trees.filter(|trees| axis == trees.tree && over.contains(trees.children))
            {
                axis = trees.children;
            }
            over = AxisSet::one(axis);
            x = self.below_half(x)?;
            let position = self.position(axis);
            let op = self.rng.one_of([Binary::Add, Binary::Subtract]);
            x = self.binary(op, x, position)?;
        }
        let bound = if way == Reduction::Sum { x.bound * 8f64.powf(over.len() as f64) } else { x.bound };
        self.make(Op::Reduce(way, Along::Axes(over)), &[x], bound)
    }

    pub(super) fn softmax_last(&mut self) -> Option<Read> {
        let x = self.pick(|ty, _| ty.element == Element::Real && !ty.shape.is_empty())?;
        self.make(Op::Softmax(Along::Last), &[x], 1.0)
    }

    pub(super) fn softmax_axes(&mut self) -> Option<Read> {
        let x = self.pick(|ty, _| ty.element == Element::Real && ty.axes.len() > 1)?;
        let axes = self.ty(x).axes;
        let over = self.some_axes(axes, x.inside).without(BATCH);
        self.make(Op::Softmax(Along::Axes(over)), &[x], 1.0)
    }

    /// `logsumexp(y) - dot(onehot(id), y)`.
    pub(super) fn cross_entropy(&mut self) -> Option<Read> {
        let id = self.an_id()?;
        let Element::Id(range) = self.ty(id).element else { return None };
        let x = self.real()?;
        let logits = self.fit(x, &[range])?;
        let logits = self.tamed(logits, 3.0)?;
        let bound = logits.bound + (range as f64).ln();
        let partition = self.make(Op::LogSumExp, &[logits], bound)?;
        let chosen = self.make(Op::OneHot(range), &[id], 1.0)?;
        let score = self.product("i,i->", chosen, logits)?;
        self.binary(Binary::Subtract, partition, score)
    }

    /// `sum(softmax(dot(q, tanh(W @ m)) over s) * m over s)`.
    pub(super) fn attention(&mut self) -> Option<Read> {
        let axis = self.second?;
        if self.open.is_some_and(|open| open.axis == axis) {
            return None;
        }
        let memory = self.pick(|ty, read| {
            !read.inside
                && ty.element == Element::Real
                && ty.shape.len() == 1
                && ty.axes == AxisSet::BATCH.with(axis)
        })?;
        if !self.ty(memory).axes.contains(axis) {
            return None;
        }
        let shape = self.ty(memory).shape;
        let query = self.real()?;
        let query = self.fit(query, &shape)?;
        let query = self.tamed(query, 2.0)?;
        let keys = self.fit(memory, &shape)?;
        let keys = self.unary(Unary::Tanh, keys)?;
        let score = self.product("i,i->", query, keys)?;
        let over = AxisSet::one(axis);
        let weights = self.make(Op::Softmax(Along::Axes(over)), &[score], 1.0)?;
        let sum = Contract { over, ..Contract::parse(",i->i")? };
        let context = self.contract(sum, weights, memory)?;
        // The weights add up to one: a bound of sums does not see that.
        Some(Read { bound: memory.bound, ..context })
    }
}
