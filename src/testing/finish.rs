//! The end of a random program: losses that most of it flows into, and named outputs.

use super::Sample;
use super::maker::{Maker, Read};
use crate::ir::{Along, Binary, Contract, Element, Op, Output, OutputKind, Reduction, ValueType};

impl Maker {
    /// Adds one or two losses and some outputs.
    pub(super) fn finish(mut self) -> Sample {
        let mut ends: Vec<Read> = self
            .pool
            .iter()
            .copied()
            .filter(|read| self.graph.users(read.operand.node).is_empty() && self.is_real(*read))
            .collect();
        self.rng.shuffle(&mut ends);
        ends.truncate(8);
        if let Some(more) = self.real() {
            ends.push(more);
        }
        let losses = self.rng.between(1, 2);
        let mut totals: Vec<Option<Read>> = vec![None; losses];
        for (index, end) in ends.into_iter().enumerate() {
            let Some(number) = self.mean_of(end) else { continue };
            let total = &mut totals[index % losses];
            *total = match *total {
                None => Some(number),
                Some(so_far) => self.binary(Binary::Add, so_far, number),
            };
        }
        for (index, total) in totals.into_iter().flatten().enumerate() {
            self.output(OutputKind::Loss, format!("loss{index}"), total);
        }
        for index in 0..self.rng.between(1, 3) {
            if let Some(value) = self.pick(|_, _| true) {
                self.output(OutputKind::Value, format!("out{index}"), value);
            }
        }
        Sample { graph: self.graph, fills: self.fills }
    }

    fn is_real(&self, read: Read) -> bool {
        self.graph.ty(read.operand.node).element == Element::Real
    }

    fn output(&mut self, kind: OutputKind, name: String, read: Read) {
        self.graph.outputs.push(Output { kind, name, value: read.operand });
    }

    /// A single number: a mean over all positions and elements, in one of several ways.
    fn mean_of(&mut self, mut read: Read) -> Option<Read> {
        let ValueType { shape, axes, .. } = self.ty(read);
        if !axes.is_empty() && shape.len() == 1 && self.rng.chance(0.4) {
            // The mean of the squared length, as one product.
            let contract = Contract { over: axes, mean: true, ..Contract::parse("i,i->")? };
            let square = self.contract(contract, read, read)?;
            let scale = self.constant(0.1, &[]);
            return self.binary(Binary::Multiply, square, scale);
        }
        while !self.ty(read).shape.is_empty() {
            let way = self.rng.one_of([Reduction::Sum, Reduction::Mean]);
            read = self.make(Op::Reduce(way, Along::Last), &[read], read.bound)?;
        }
        let steps = axes.without(crate::ir::BATCH);
        if !steps.is_empty() && self.rng.chance(0.3) {
            read = self.make(Op::Reduce(Reduction::Sum, Along::Axes(steps)), &[read], read.bound)?;
        }
        let left = self.ty(read).axes;
        if left.is_empty() {
            return Some(read);
        }
        self.make(Op::Reduce(Reduction::Mean, Along::Axes(left)), &[read], read.bound)
    }
}
