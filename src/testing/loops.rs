//! States: loops of one to three values that read each other at earlier (or later) steps.
//!
//! `h[t] = tanh(W @ c[t-2] + x); c[t] = f * initially(c[t-1], c0) + h[t]`: a state may read those defined
//! before it at the same step, all of them at earlier ones, and everything outside anywhere.

use super::maker::{Maker, OpenLoop, Read};
use crate::ir::{
    Access, Along, AxisId, AxisSet, BATCH, Binary, NodeId, Op, Operand, Reduction, Unary, ValueType,
};

/// States are kept this small, whatever their equations say.
const STATE_BOUND: f64 = 1.5;

impl Maker {
    /// Adds a loop along one of the axes, in one of the directions.
    pub(super) fn add_loop(&mut self) {
        let second = if self.rng.chance(0.3) { self.second } else { None };
        let Some(axis) = second.or(self.steps) else { return };
        self.open = Some(OpenLoop { axis, backward: self.rng.chance(0.35) });
        let mut states = Vec::new();
        for _ in 0..self.rng.between(1, 3) {
            let ty = self.state_type(axis);
            let name = format!("h{}", self.graph.bound());
            let node = self.insert(Op::Copy, ty, &[], Some(name));
            states.push(Read { operand: node.into(), bound: STATE_BOUND, data: false, inside: true });
        }
        for (index, &state) in states.iter().enumerate() {
            let defined = match self.equation(&states, index) {
                Some(value) => self.define(state, value),
                None => None,
            };
            if defined.is_none() {
                // Something in it did not fit: a state that repeats itself is still a state.
                let earlier = self.before(state);
                self.graph.set_operands(state.operand.node, &[earlier]);
            }
            self.pool.push(state);
        }
        self.open = None;
        for read in &mut self.pool {
            read.inside = false;
        }
    }

    fn state_type(&mut self, axis: AxisId) -> ValueType {
        let [rows, columns] = [self.dim(), self.dim()];
        let shape = match self.rng.below(10) {
            0 => vec![rows, columns],
            1 => Vec::new(),
            _ => vec![rows],
        };
        let mut axes = AxisSet::BATCH.with(axis);
        if self.rng.chance(0.1) {
            axes = axes.union([self.steps, self.second].into_iter().flatten().collect());
        }
        ValueType::real(shape, axes)
    }

    /// A state at one earlier step of the open loop.
    fn before(&self, state: Read) -> Operand {
        let node = state.operand.node;
        let access = self.open.map(|OpenLoop { axis, backward }| match self.trees {
            Some(trees) if trees.tree == axis && backward => Access::Parent(axis),
            Some(trees) if trees.tree == axis => Access::Nth { tree: axis, number: 0 },
            _ if backward => Access::Advance { axis, by: 1 },
            _ => Access::Delay { axis, by: 1 },
        });
        Operand { node, access: access.unwrap_or(Access::Here) }
    }

    /// A state at an earlier step of the open loop.
    fn earlier(&mut self, state: Read) -> Read {
        self.moved(state, 1.1)
    }

    /// The same, perhaps with a start for the first steps.
    fn started(&mut self, state: Read) -> Option<Read> {
        let earlier = self.earlier(state);
        if self.rng.chance(0.6) || earlier.operand.access.is_total() {
            return Some(earlier);
        }
        let shape = self.ty(state).shape;
        let outside = self.pick(|ty, read| !read.inside && ty.axes.len() <= 1 && ty.size() < 20);
        let start = match (self.rng.below(3), outside) {
            (0, Some(read)) if self.graph.is_real(read.operand.node) => self.fit(read, &shape)?,
            (1, _) => self.weight(&shape),
            _ => self.constant(0.5, &shape),
        };
        let start = self.tamed(start, STATE_BOUND)?;
        self.make(Op::Initially, &[earlier, start], STATE_BOUND)
    }

    /// What a state is at a step: something of an earlier step, something new, and a few operations.
    fn equation(&mut self, states: &[Read], index: usize) -> Option<Read> {
        let own = states[index];
        let shape = self.ty(own).shape;
        let from = if self.rng.chance(0.6) { own } else { self.rng.choose(states)? };
        let earlier = self.started(from)?;
        let mut sum = self.fit(earlier, &shape)?;
        if self.rng.chance(0.8) {
            let new = self.real()?;
            let new = self.fit(new, &shape)?;
            sum = self.binary(Binary::Add, sum, new)?;
        }
        self.keep(sum);
        for _ in 0..self.rng.below(4) {
            self.step();
        }
        let last = self.pick(|_, read| read.inside)?;
        if self.graph.is_real(last.operand.node) && self.rng.chance(0.7) {
            let last = self.tamed(last, 2.0)?;
            let more = self.fit(last, &shape)?;
            let op = self.rng.one_of([Binary::Add, Binary::Multiply, Binary::Subtract]);
            sum = self.binary(op, sum, more)?;
        }
        if self.rng.chance(0.4) {
            let gate = self.unary(Unary::Sigmoid, sum)?;
            let kept = self.started(own)?;
            let kept = self.binary(Binary::Multiply, gate, kept)?;
            let one = self.constant(1.0, &[]);
            let rest = self.binary(Binary::Subtract, one, gate)?;
            let new = self.unary(Unary::Tanh, sum)?;
            let new = self.binary(Binary::Multiply, rest, new)?;
            sum = self.binary(Binary::Add, kept, new)?;
            // Between two numbers that are: a bound of sums does not see that.
            sum.bound = STATE_BOUND;
        }
        Some(sum)
    }

    /// Closes the cycle: the state is this value.
    fn define(&mut self, state: Read, mut value: Read) -> Option<()> {
        let node: NodeId = state.operand.node;
        let axes = self.graph.ty(node).axes;
        let extra = self.ty(value).axes.minus(axes);
        if !extra.is_empty() {
            if extra.contains(BATCH) {
                return None;
            }
            let mean = Op::Reduce(Reduction::Mean, Along::Axes(extra));
            value = self.make(mean, &[value], value.bound)?;
        }
        let squash = self.rng.one_of([Unary::Tanh, Unary::Tanh, Unary::Sin, Unary::Sigmoid]);
        let fits = self.ty(value).axes == axes;
        if value.bound > STATE_BOUND && !fits {
            value = self.unary(squash, value)?;
        } else if value.bound > STATE_BOUND || fits && self.rng.chance(0.3) {
            self.graph.node_mut(node).op = Op::Unary(squash);
        }
        self.graph.set_operands(node, &[value.operand]);
        Some(())
    }
}
