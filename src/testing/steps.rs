//! One random operation on values of the pool, added to the pool; every kind of operation has its turn.
//!
//! Where a program must be differentiable, `relu(x)` becomes `relu(tanh(x) + w)` with `w` 1.5 or -1.5,
//! so that both sides of the kink occur and no value is near it.

use super::Fill;
use super::maker::{Maker, Read};
use crate::ir::{Along, AxisId, AxisSet, BATCH, Binary, Contract, Element, Op, Reduction, Unary, ValueType};

impl Maker {
    /// Tries some operation; adds nothing if no value fits it.
    pub(super) fn step(&mut self) {
        let made = match self.rng.below(32) {
            0..=2 => self.layer(),
            3 | 4 => self.function(),
            5 | 6 => self.arithmetic(),
            7 => self.selection(),
            8 => self.one_hot(),
            9 | 10 => self.gather(),
            11 => self.argmax(),
            12 => self.slice(),
            13 | 14 => self.concat(),
            15..=18 => self.contraction(),
            19 => self.reduce_last(),
            20 | 21 => self.reduce_axes(),
            22 => self.softmax_last(),
            23 => self.softmax_axes(),
            24 => self.cross_entropy(),
            25 => self.initially(),
            26 => self.copy(),
            27 => self.stop(),
            28 => self.random(),
            29 => self.number(),
            30 => self.id(),
            _ => self.attention(),
        };
        if let Some(read) = made {
            self.keep(read);
        }
    }

    /// `tanh(W @ x + b)` or without the tanh.
    fn layer(&mut self) -> Option<Read> {
        let x = self.real()?;
        let rows = self.dim();
        let x = self.fit(x, &[rows])?;
        let columns = self.dim();
        let weight = self.weight(&[columns, rows]);
        let product = self.product("ij,j->i", weight, x)?;
        let bias = self.weight(&[columns]);
        let sum = self.binary(Binary::Add, product, bias)?;
        if self.rng.chance(0.7) { self.unary(Unary::Tanh, sum) } else { Some(sum) }
    }

    /// `tanh(x) + w` with `w` plus or minus 1.5: never between -0.5 and 0.5.
    fn apart(&mut self, x: Read) -> Option<Read> {
        let x = self.unary(Unary::Tanh, x)?;
        let shape = self.ty(x).shape;
        let signs = self.param(&shape, Fill::Signs);
        self.binary(Binary::Add, x, signs)
    }

    /// More than a half.
    fn positive(&mut self, x: Read) -> Option<Read> {
        let x = self.unary(Unary::Softplus, x)?;
        let half = self.constant(0.5, &[]);
        self.binary(Binary::Add, x, half)
    }

    fn function(&mut self) -> Option<Read> {
        let mut x = self.real()?;
        let (op, _) = self.rng.choose(&Unary::ALL)?;
        match op {
            Unary::Sign | Unary::Floor if self.options.differentiable => return None,
            Unary::Relu | Unary::Abs if self.options.differentiable => x = self.apart(x)?,
            Unary::Log | Unary::Sqrt => x = self.positive(x)?,
            Unary::Exp => x = self.tamed(x, 1.2)?,
            _ => {}
        }
        self.unary(op, x)
    }

    fn arithmetic(&mut self) -> Option<Read> {
        let mut a = self.real()?;
        let shape = self.ty(a).shape;
        let mut b = self.like(&shape)?;
        if self.rng.chance(0.3) {
            std::mem::swap(&mut a, &mut b);
        }
        use Binary::{Add, Divide, Max, Min, Multiply, Power, Subtract};
        let op = self.rng.one_of([Add, Add, Subtract, Multiply, Multiply, Divide, Power, Min, Max]);
        match op {
            Divide => b = self.positive(b)?,
            Power => {
                let base = self.unary(Unary::Sigmoid, a)?;
                let half = self.constant(0.5, &[]);
                a = self.binary(Add, base, half)?;
                b = self.unary(Unary::Tanh, b)?;
            }
            // The two must not come near each other.
            Min | Max if self.options.differentiable => {
                let difference = self.apart(b)?;
                b = self.binary(Add, a, difference)?;
            }
            _ => {}
        }
        self.binary(op, a, b)
    }

    /// A number that is 0 or 1, which depends on no parameter if the program must be differentiable.
    fn condition(&mut self, shape: &[usize]) -> Option<Read> {
        let strict = self.options.differentiable;
        let fits = |ty: &ValueType, read: &Read| {
            ty.element == Element::Real
                && (read.data || !strict)
                && (ty.shape == shape || ty.shape.is_empty())
        };
        use Binary::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        let op = self.rng.one_of([Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual]);
        if self.rng.chance(0.3) {
            let a = self.an_id()?;
            let b = self.an_id()?;
            return self.binary(op, a, b);
        }
        let a = self.pick(fits)?;
        let b = if self.rng.chance(0.5) { self.pick(fits)? } else { self.constant(0.2, &[]) };
        self.binary(op, a, b)
    }

    fn selection(&mut self) -> Option<Read> {
        if !self.options.differentiable && self.rng.chance(0.3) {
            return self.condition(&[]);
        }
        let a = self.real()?;
        let shape = self.ty(a).shape;
        let b = self.like(&shape)?;
        let condition = self.condition(&shape)?;
        let bound = a.bound.max(b.bound);
        self.make(Op::Select, &[condition, a, b], bound)
    }

    fn an_id(&mut self) -> Option<Read> {
        self.pick(|ty, _| ty.element != Element::Real)
    }

    fn one_hot(&mut self) -> Option<Read> {
        let id = self.an_id()?;
        let Element::Id(range) = self.ty(id).element else { return None };
        let more = usize::from(self.rng.chance(0.2));
        self.make(Op::OneHot(range + more), &[id], 1.0)
    }

    /// A row of a parameter, or of a table that is a value itself.
    fn gather(&mut self) -> Option<Read> {
        let id = self.an_id()?;
        let Element::Id(range) = self.ty(id).element else { return None };
        let table = self.pick(|ty, _| ty.element == Element::Real && ty.shape.first() >= Some(&range));
        let table = match table {
            Some(table) if self.rng.chance(0.3) => table,
            _ => {
                let shape = [range, self.dim()];
                let rank = self.rng.one_of([1, 2, 2, 2]);
                self.weight(&shape[..rank])
            }
        };
        self.make(Op::Gather, &[table, id], table.bound)
    }

    fn argmax(&mut self) -> Option<Read> {
        let strict = self.options.differentiable;
        let x = self
            .pick(|ty, read| ty.element == Element::Real && ty.shape.len() == 1 && (read.data || !strict))?;
        self.make(Op::ArgMax, &[x], 0.0)
    }

    /// Another id: none, one of two, or an earlier one with a start.
    fn id(&mut self) -> Option<Read> {
        let a = self.an_id()?;
        let element = self.ty(a).element;
        let none = ValueType { shape: Vec::new(), element, axes: AxisSet::NONE };
        let b = match self.pick(|ty, _| ty.element == element) {
            Some(b) if self.rng.chance(0.7) => b,
            _ => self.leaf(Op::NoId, none, 0.0),
        };
        if self.rng.chance(0.5) {
            let condition = self.condition(&[])?;
            return self.make(Op::Select, &[condition, a, b], 0.0);
        }
        let a = self.moved(a, 1.1);
        self.make_initially(a, b, 0.0)
    }

    fn make_initially(&mut self, a: Read, b: Read, bound: f64) -> Option<Read> {
        use crate::ir::Access::{Advance, Delay};
        let delayed = matches!(a.operand.access, Delay { .. } | Advance { .. });
        if delayed { self.make(Op::Initially, &[a, b], bound) } else { None }
    }

    fn initially(&mut self) -> Option<Read> {
        let a = self.real()?;
        let a = self.moved(a, 1.1);
        let shape = self.ty(a).shape;
        let start = self.real()?;
        let start = self.fit(start, &shape)?;
        self.make_initially(a, start, a.bound.max(start.bound))
    }

    fn slice(&mut self) -> Option<Read> {
        let x = self.pick(|ty, _| ty.element == Element::Real && !ty.shape.is_empty())?;
        let shape = self.ty(x).shape;
        let dim = self.rng.below(shape.len());
        let start = self.rng.below(shape[dim]);
        let len = self.rng.between(1, shape[dim] - start);
        self.make(Op::Slice { dim, start, len }, &[x], x.bound)
    }

    fn concat(&mut self) -> Option<Read> {
        let first = self.pick(|ty, _| ty.element == Element::Real && !ty.shape.is_empty())?;
        let shape = self.ty(first).shape;
        let dim = self.rng.below(shape.len());
        let mut parts = vec![first];
        for _ in 0..self.rng.between(1, 2) {
            let fits = |other: &[usize]| {
                other.len() == shape.len() && (0..shape.len()).all(|at| at == dim || other[at] == shape[at])
            };
            parts.push(self.pick(|ty, _| ty.element == Element::Real && fits(&ty.shape))?);
        }
        if parts.iter().map(|part| self.ty(*part).size()).sum::<usize>() > 64 {
            return None;
        }
        self.rng.shuffle(&mut parts);
        let bound = parts.iter().map(|part| part.bound).fold(0.0, f64::max);
        self.make(Op::Concat { dim }, &parts, bound)
    }

    /// Axes that a value over `axes` may be summed over, at random; perhaps none.
    fn some_axes(&mut self, axes: AxisSet, inside: bool) -> AxisSet {
        let fixed = self.open.filter(|_| inside).map(|open| open.axis);
        let mut over = AxisSet::NONE;
        for axis in axes.without(BATCH).iter().filter(|axis| Some(*axis) != fixed) {
            if self.rng.chance(0.6) {
                over = over.with(axis);
            }
        }
        let whole = !inside && axes.contains(BATCH) && over == axes.without(BATCH);
        if whole && self.rng.chance(0.4) { axes } else { over }
    }

    /// Any sum of products that the shapes allow.
    fn contraction(&mut self) -> Option<Read> {
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

    fn reduce_last(&mut self) -> Option<Read> {
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

    fn position(&mut self, axis: AxisId) -> Read {
        let ty = ValueType::real(Vec::new(), AxisSet::BATCH.with(axis));
        self.leaf(Op::Position(axis), ty, 8.0)
    }

    fn reduce_axes(&mut self) -> Option<Read> {
        let mut x = self.pick(|ty, _| ty.element == Element::Real && ty.axes.contains(BATCH))?;
        let axes = self.ty(x).axes;
        let mut over = self.some_axes(axes, x.inside);
        if over.is_empty() {
            return None;
        }
        let way = self.rng.one_of([Reduction::Sum, Reduction::Mean, Reduction::Max]);
        if way == Reduction::Max && self.options.differentiable {
            // The largest is at the first or the last position, by a margin.
            let axis = over.without(BATCH).iter().next()?;
            over = AxisSet::one(axis);
            x = self.below_half(x)?;
            let position = self.position(axis);
            let op = self.rng.one_of([Binary::Add, Binary::Subtract]);
            x = self.binary(op, x, position)?;
        }
        let bound = if way == Reduction::Sum { x.bound * 8f64.powf(over.len() as f64) } else { x.bound };
        self.make(Op::Reduce(way, Along::Axes(over)), &[x], bound)
    }

    fn softmax_last(&mut self) -> Option<Read> {
        let x = self.pick(|ty, _| ty.element == Element::Real && !ty.shape.is_empty())?;
        self.make(Op::Softmax(Along::Last), &[x], 1.0)
    }

    fn softmax_axes(&mut self) -> Option<Read> {
        let x = self.pick(|ty, _| ty.element == Element::Real && ty.axes.len() > 1)?;
        let axes = self.ty(x).axes;
        let over = self.some_axes(axes, x.inside).without(BATCH);
        self.make(Op::Softmax(Along::Axes(over)), &[x], 1.0)
    }

    /// `logsumexp(y) - dot(onehot(id), y)`.
    fn cross_entropy(&mut self) -> Option<Read> {
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

    /// The same value, on more axes if there are some.
    fn copy(&mut self) -> Option<Read> {
        let x = self.pick(|_, _| true)?;
        let mut axes = self.ty(x).axes;
        for axis in [self.steps, self.second].into_iter().flatten() {
            if self.rng.chance(0.5) {
                axes = axes.with(axis).with(BATCH);
            }
        }
        if axes == self.ty(x).axes {
            return self.make(Op::Copy, &[x], x.bound);
        }
        Some(self.spread(x, axes))
    }

    fn stop(&mut self) -> Option<Read> {
        if self.options.differentiable {
            return None;
        }
        let x = self.real()?;
        self.make(Op::Stop, &[x], x.bound)
    }

    fn random(&mut self) -> Option<Read> {
        if !self.options.random {
            return None;
        }
        let like = self.real()?;
        let ty = ValueType::real(self.ty(like).shape, self.ty(like).axes);
        self.streams += 1;
        Some(self.leaf(Op::Random(self.streams), ty, 1.0))
    }

    /// A number about the batch, brought down to size.
    fn number(&mut self) -> Option<Read> {
        let axes: Vec<AxisId> = [self.steps, self.second].into_iter().flatten().collect();
        let axis = self.rng.choose(&axes)?;
        let single = |axes| ValueType::real(Vec::new(), axes);
        let number = match self.rng.below(5) {
            0 => self.position(axis),
            1 => self.leaf(Op::Length(axis), single(AxisSet::BATCH), 8.0),
            2 => self.leaf(Op::Count(AxisSet::BATCH.with(axis)), single(AxisSet::NONE), 40.0),
            3 => self.leaf(Op::Setting("temperature".into()), single(AxisSet::NONE), 1.5),
            _ => {
                let shape = [self.dim()];
                self.constant(0.75, &shape)
            }
        };
        let scale = self.constant(0.1, &[]);
        self.binary(Binary::Multiply, number, scale)
    }

    /// `sum(softmax(dot(q, tanh(W @ m)) over s) * m over s)`.
    fn attention(&mut self) -> Option<Read> {
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
