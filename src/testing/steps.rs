//! One random operation on values of the pool, added to the pool; every kind of operation has its turn.
//!
//! Where a program must be differentiable, `relu(x)` becomes `relu(tanh(x) + w)` with `w` 1.5 or -1.5,
//! so that both sides of the kink occur and no value is near it.

use super::Fill;
use super::maker::{Maker, Read};
use crate::ir::{Access, AxisId, AxisSet, BATCH, Binary, Element, Op, Unary, ValueType};

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

    pub(super) fn an_id(&mut self) -> Option<Read> {
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
        let access = a.operand.access;
        let delayed = access.direction().is_some() || matches!(access, Access::AtNode { .. });
        let delayed = delayed && !access.is_total();
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

    /// The same value, on more axes if there are some.
    fn copy(&mut self) -> Option<Read> {
        let x = self.pick(|_, _| true)?;
        let mut axes = self.ty(x).axes;
        for axis in [self.steps, self.second].into_iter().flatten() {
            if self.rng.chance(0.5) {
                axes = axes.with(axis).with(BATCH);
            }
        }
        if let Some(trees) = self.trees
            && self.rng.chance(0.3)
        {
            let more = self.rng.one_of([trees.children, trees.leaves]);
            axes = self.graph.closed(axes.with(more).with(BATCH));
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
        let mut axes: Vec<AxisId> = [self.steps, self.second].into_iter().flatten().collect();
        axes.extend(self.trees.iter().flat_map(|trees| [trees.children, trees.leaves]));
        let axis = self.rng.choose(&axes)?;
        let single = |axes| ValueType::real(Vec::new(), axes);
        let number = match self.rng.below(5) {
            0 => self.position(axis),
            1 => {
                let axes = self.graph.length_axes(axis);
                self.leaf(Op::Length(axis), single(axes), 8.0)
            }
            2 => {
                let axes = self.graph.closed(AxisSet::BATCH.with(axis));
                self.leaf(Op::Count(axes), single(AxisSet::NONE), 40.0)
            }
            3 => self.leaf(Op::Setting("temperature".into()), single(AxisSet::NONE), 1.5),
            _ => {
                let shape = [self.dim()];
                self.constant(0.75, &shape)
            }
        };
        let scale = self.constant(0.1, &[]);
        self.binary(Binary::Multiply, number, scale)
    }
}
