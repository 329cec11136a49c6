//! The last rewriting of the graph: everything that has no kernel of its own is said in terms of what has.
//!
//! Before `softmax(y)`; after `e / sum(e)` with `e = exp(y - max(y))`. Every output becomes a node of its own.

use std::collections::VecDeque;

use crate::ir::{
    Access, Along, AxisSet, Binary, Contract, Graph, InferError, Node, NodeId, Op, Operand, Reduction, Unary,
};

/// A graph with the same outputs that uses only what the planner has kernels for.
///
/// # Errors
/// If a rewriting does not fit its operands, which is a fault of the compiler.
pub(super) fn legalise(graph: &Graph) -> Result<Graph, InferError> {
    let mut legal = Legal { graph: graph.clone() };
    // New nodes come behind the old ones, so that they are looked at, too.
    let mut ahead: VecDeque<NodeId> = legal.graph.ids().into();
    let mut bound = legal.graph.bound();
    while let Some(id) = ahead.pop_front() {
        if let Some(new) = legal.rewrite(id)? {
            legal.graph.replace(id, new);
            if let Some(name) = graph.contains(id).then(|| graph.node(id).name.clone()).flatten() {
                legal.graph.node_mut(new.node).name = Some(name);
            }
        }
        ahead.extend(legal.graph.made_since(bound));
        bound = legal.graph.bound();
    }
    crate::opt::clean(&mut legal.graph);
    legal.outputs();
    Ok(legal.graph)
}

struct Legal {
    graph: Graph,
}

impl Legal {
    fn make(&mut self, like: NodeId, op: Op, operands: &[Operand]) -> Result<Operand, InferError> {
        let origin = self.graph.node(like).origin;
        self.graph.apply(op, operands, origin).map(Operand::from)
    }

    fn binary(&mut self, like: NodeId, op: Binary, a: Operand, b: Operand) -> Result<Operand, InferError> {
        self.make(like, Op::Binary(op), &[a, b])
    }

    fn number(&mut self, like: NodeId, value: f64, shape: &[usize]) -> Operand {
        let origin = self.graph.node(like).origin;
        self.graph.constant(value, shape, origin).into()
    }

    /// The type of `id` may have more axes than what replaces it.
    fn fit(&mut self, id: NodeId, value: Operand) -> Operand {
        let ty = self.graph.ty(id).clone();
        if self.graph.type_at(value) == ty {
            return value;
        }
        let origin = self.graph.node(id).origin;
        self.graph.insert(Node { op: Op::Copy, ty, origin, name: None }, &[value]).into()
    }

    fn rewrite(&mut self, id: NodeId) -> Result<Option<Operand>, InferError> {
        let operands = self.graph.operands(id);
        let new = match self.graph.op(id).clone() {
            Op::Stop => operands[0],
            Op::Reduce(Reduction::Mean, Along::Last) => {
                let size = self.graph.type_at(operands[0]).shape.last().copied().unwrap_or(1);
                let sum = self.make(id, Op::Reduce(Reduction::Sum, Along::Last), &operands)?;
                let share = self.number(id, 1.0 / size as f64, &[]);
                self.binary(id, Binary::Multiply, sum, share)?
            }
            Op::Reduce(Reduction::Mean, Along::Axes(over)) => {
                let sum = self.make(id, Op::Reduce(Reduction::Sum, Along::Axes(over)), &operands)?;
                self.averaged(id, sum, over)?
            }
            Op::Contract(contract) if contract.mean => {
                let sum = Contract { mean: false, ..contract.clone() };
                let sum = self.make(id, Op::Contract(sum), &operands)?;
                self.averaged(id, sum, contract.over)?
            }
            Op::Contract(contract) if !contract.over.is_empty() && !self.is_outer(id, &contract) => {
                let product = Contract { over: AxisSet::NONE, ..contract.clone() };
                let product = self.make(id, Op::Contract(product), &operands)?;
                // An operand may lack an axis that is summed over.
                let mut ty = self.graph.type_at(product);
                ty.axes = ty.axes.union(contract.over);
                let origin = self.graph.node(id).origin;
                let wide = Node { op: Op::Copy, ty, origin, name: None };
                let product = match self.graph.type_at(product).axes.covers(contract.over) {
                    true => product,
                    false => self.graph.insert(wide, &[product]).into(),
                };
                self.make(id, Op::Reduce(Reduction::Sum, Along::Axes(contract.over)), &[product])?
            }
            Op::Contract(contract) if self.is_transposed(id, &contract) => {
                // A product over both first dimensions: rows of the transpose are contiguous along it.
                let one = self.number(id, 1.0, &[]);
                let flip = Contract {
                    left: b"ij".to_vec(),
                    right: Vec::new(),
                    out: b"ji".to_vec(),
                    ..contract.clone()
                };
                let flipped = self.make(id, Op::Contract(flip), &[operands[0], one])?;
                let left = vec![contract.left[1], contract.left[0]];
                let product = Contract { left, ..contract.clone() };
                self.make(id, Op::Contract(product), &[flipped, operands[1]])?
            }
            Op::Softmax(along) => {
                let (power, total) = self.powers(id, operands[0], along)?.1;
                self.binary(id, Binary::Divide, power, total)?
            }
            Op::LogSumExp => {
                let (peak, (_, _)) = self.powers(id, operands[0], Along::Last)?;
                let lifted = self.stretch(id, peak, operands[0])?;
                let lowered = self.binary(id, Binary::Subtract, operands[0], lifted)?;
                let power = self.make(id, Op::Unary(Unary::Exp), &[lowered])?;
                let total = self.make(id, Op::Reduce(Reduction::Sum, Along::Last), &[power])?;
                let log = self.make(id, Op::Unary(Unary::Log), &[total])?;
                self.binary(id, Binary::Add, peak, log)?
            }
            Op::Gather => return self.gather(id, operands[0], operands[1]),
            _ => return Ok(None),
        };
        Ok(Some(self.fit(id, new)))
    }

    /// A sum of outer products of vectors into a single matrix has a kernel of its own.
    fn is_outer(&self, id: NodeId, contract: &Contract) -> bool {
        let is_pair = contract.is_outer();
        let constant =
            self.graph.operands(id).iter().any(|x| matches!(self.graph.op(x.node), Op::Constant(_)));
        is_pair && self.graph.ty(id).axes == AxisSet::NONE && !constant
    }

    /// A product of single matrices, `A.T @ B` or `A.T @ B.T`, that contracts the left one's first dimension.
    fn is_transposed(&self, id: NodeId, contract: &Contract) -> bool {
        let single = self.graph.operands(id).iter().all(|&x| self.graph.type_at(x).axes == AxisSet::NONE);
        let constant =
            self.graph.operands(id).iter().any(|x| matches!(self.graph.op(x.node), Op::Constant(_)));
        let pattern = matches!((&contract.left[..], &contract.right[..], &contract.out[..]),
            ([i, j], [k, l], [m, n]) if (i == k && (j, l) == (m, n)) || (i == l && (j, k) == (m, n)));
        single && !constant && pattern
    }

    fn averaged(&mut self, id: NodeId, sum: Operand, over: AxisSet) -> Result<Operand, InferError> {
        let origin = self.graph.node(id).origin;
        let positions = self.graph.positions(over, origin)?.into();
        let one = self.number(id, 1.0, &[]);
        let positions = self.binary(id, Binary::Max, positions, one)?;
        self.binary(id, Binary::Divide, sum, positions)
    }

    /// The largest value, the powers of what is below it, and their sum, stretched to the value's shape.
    #[allow(clippy::type_complexity)]
    fn powers(
        &mut self,
        like: NodeId,
        x: Operand,
        along: Along,
    ) -> Result<(Operand, (Operand, Operand)), InferError> {
        let peak = self.make(like, Op::Reduce(Reduction::Max, along), &[x])?;
        let lifted = if along == Along::Last { self.stretch(like, peak, x)? } else { peak };
        let lowered = self.binary(like, Binary::Subtract, x, lifted)?;
        let power = self.make(like, Op::Unary(Unary::Exp), &[lowered])?;
        let total = self.make(like, Op::Reduce(Reduction::Sum, along), &[power])?;
        let total = if along == Along::Last { self.stretch(like, total, x)? } else { total };
        Ok((peak, (power, total)))
    }

    /// A value without the last dimension of `of`, repeated along it; scalars stretch by themselves.
    fn stretch(&mut self, like: NodeId, value: Operand, of: Operand) -> Result<Operand, InferError> {
        let shape = self.graph.type_at(of).shape;
        let Some((&last, kept)) = shape.split_last() else { return Ok(value) };
        if kept.is_empty() {
            return Ok(value);
        }
        let ones = self.number(like, 1.0, &[last]);
        let labels: Vec<u8> = (b'a'..=b'z').take(shape.len()).collect();
        let contract = Contract {
            left: labels[..kept.len()].to_vec(),
            right: labels[kept.len()..].to_vec(),
            out: labels,
            over: AxisSet::NONE,
            mean: false,
        };
        self.make(like, Op::Contract(contract), &[value, ones])
    }

    /// Rows of a single matrix are addressed; anything else is a product with a one-hot vector.
    fn gather(&mut self, id: NodeId, table: Operand, index: Operand) -> Result<Option<Operand>, InferError> {
        let ty = self.graph.type_at(table);
        if ty.shape.len() >= 2 && ty.axes == AxisSet::NONE {
            return Ok(None);
        }
        let onehot = self.make(id, Op::OneHot(ty.shape[0]), &[index])?;
        if ty.shape.len() == 1 {
            let product = self.binary(id, Binary::Multiply, onehot, table)?;
            return self.make(id, Op::Reduce(Reduction::Sum, Along::Last), &[product]).map(Some);
        }
        let labels: Vec<u8> = (b'a'..=b'z').take(ty.shape.len()).collect();
        let contract = Contract {
            left: labels[..1].to_vec(),
            out: labels[1..].to_vec(),
            right: labels,
            over: AxisSet::NONE,
            mean: false,
        };
        self.make(id, Op::Contract(contract), &[onehot, table]).map(Some)
    }

    /// Every output reads a node that is computed, is at its own position, and belongs to it alone.
    fn outputs(&mut self) {
        let mut taken: Vec<NodeId> = Vec::new();
        for at in 0..self.graph.outputs.len() {
            let value = self.graph.outputs[at].value;
            let node = value.node;
            let computed = matches!(
                self.graph.op(node),
                Op::Unary(_)
                    | Op::Binary(_)
                    | Op::Select
                    | Op::Contract(_)
                    | Op::Reduce(..)
                    | Op::ArgMax
                    | Op::OneHot(_)
                    | Op::Concat { .. }
            );
            if value.access == Access::Here && computed && !taken.contains(&node) {
                taken.push(node);
                continue;
            }
            let ty = self.graph.type_at(value);
            let origin = self.graph.node(node).origin;
            let copy = self.graph.insert(Node { op: Op::Copy, ty, origin, name: None }, &[value]);
            self.graph.outputs[at].value = copy.into();
            taken.push(copy);
        }
    }
}
