//! The graph under construction, the pool of values to choose from, and how one is chosen and read.
//!
//! While a loop is open, values that depend on its states (`inside`) may be read here or further back
//! in its direction only; everything else may be read anywhere. That keeps every cycle in order.

use std::collections::BTreeMap;

use super::rng::Rng;
use super::{Fill, Options};
use crate::base::Span;
use crate::ir::{
    Access, AxisId, AxisKind, AxisSet, Binary, Contract, Element, Graph, InputSpec, Node, NodeId, Op,
    Operand, Origin, ParamSpec, Unary, ValueType,
};

/// A value in the pool, or as read from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) operand: Operand,
    /// No element is larger than this (roughly; sums over axes are taken to be short).
    pub(super) bound: f64,
    /// Depends on no parameter.
    pub(super) data: bool,
    /// Depends on a state of the open loop.
    pub(super) inside: bool,
}

/// The loop whose equations are being made.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenLoop {
    pub(super) axis: AxisId,
    pub(super) backward: bool,
}

/// A tree and what comes from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeAxes {
    pub(super) tree: AxisId,
    pub(super) children: AxisId,
    pub(super) leaves: AxisId,
}

/// A program under construction.
pub(super) struct Maker {
    pub(super) graph: Graph,
    pub(super) rng: Rng,
    pub(super) options: Options,
    pub(super) pool: Vec<Read>,
    pub(super) steps: Option<AxisId>,
    pub(super) second: Option<AxisId>,
    pub(super) trees: Option<TreeAxes>,
    pub(super) open: Option<OpenLoop>,
    pub(super) fills: BTreeMap<String, Fill>,
    pub(super) streams: u32,
    dims: Vec<usize>,
}

/// Values above this are brought down before they go into the pool.
const TAME: f64 = 4.0;

/// What is derived from nothing in a source.
pub(super) const ORIGIN: Origin =
    Origin { span: Span::NONE, kind: crate::ir::OriginKind::Forward, through: None };

impl Maker {
    pub(super) fn new(seed: u64, options: Options) -> Maker {
        let mut rng = Rng::new(seed);
        let mut graph = Graph::new(format!("Random{seed}"));
        let kind = if options.trees { AxisKind::Tree } else { AxisKind::Time };
        let steps = graph.axis(if options.trees { "n" } else { "t" }, kind);
        // In the order in which inputs name them.
        let trees = steps.filter(|_| options.trees).and_then(|tree| {
            let (leaves, children) = (graph.leaves_of(tree)?, graph.children_of(tree)?);
            Some(TreeAxes { tree, children, leaves })
        });
        let second = (options.second_axis && rng.chance(0.5)).then(|| graph.axis("s", AxisKind::Time));
        let mut dims: Vec<usize> = (0..3).map(|_| rng.between(1, 5)).collect();
        if rng.chance(0.15) {
            dims.push(rng.one_of([8, 17]));
        }
        let (fills, pool) = (BTreeMap::new(), Vec::new());
        let second = second.flatten();
        Maker { graph, rng, options, pool, steps, second, trees, open: None, fills, streams: 0, dims }
    }

    /// Inputs over the axes and for each example, real and id.
    pub(super) fn inputs(&mut self) {
        let time = AxisSet::BATCH.union(self.steps.into_iter().collect());
        let second = AxisSet::BATCH.union(self.second.into_iter().collect());
        let [x, image, memory, range] = [self.dim(), self.dim(), self.dim(), self.dim()];
        self.input("x", vec![x], Element::Real, time);
        self.input("words", Vec::new(), Element::Id(range), time);
        self.input("image", vec![image], Element::Real, AxisSet::BATCH);
        self.input("label", Vec::new(), Element::Id(range), AxisSet::BATCH);
        if self.rng.chance(0.3) {
            self.input("table", vec![range, x], Element::Real, AxisSet::BATCH);
        }
        if let Some(TreeAxes { tree, children, leaves }) = self.trees {
            let edges = AxisSet::BATCH.with(tree).with(children);
            self.input("tokens", vec![x], Element::Real, AxisSet::BATCH.with(leaves));
            self.input("edges", vec![image], Element::Real, edges);
        }
        if self.second.is_some() {
            self.input("memory", vec![memory], Element::Real, second);
            if self.rng.chance(0.5) {
                self.input("source", Vec::new(), Element::Id(range), second);
            }
            if self.rng.chance(0.3) {
                self.input("alignment", Vec::new(), Element::Real, time.union(second));
            }
        }
    }

    fn input(&mut self, name: &str, shape: Vec<usize>, element: Element, axes: AxisSet) {
        let ty = ValueType { shape, element, axes };
        self.graph.inputs.push(InputSpec { name: name.into(), ty: ty.clone(), observed: false });
        let node = self.graph.leaf(Op::Input(name.into()), ty, ORIGIN, None);
        self.keep(Read { operand: node.into(), bound: 1.0, data: true, inside: false });
    }

    /// A new parameter.
    pub(super) fn param(&mut self, shape: &[usize], fill: Fill) -> Read {
        let name = format!("w{}", self.graph.params.len());
        let init = ("uniform".to_string(), Some(1.0));
        self.graph.params.push(ParamSpec {
            name: name.clone(),
            shape: shape.to_vec(),
            init,
            trainable: true,
        });
        let ty = ValueType::real(shape.to_vec(), AxisSet::NONE);
        let node = self.graph.leaf(Op::Param(name.clone()), ty, ORIGIN, None);
        let bound = match fill {
            Fill::Spread(bound) => bound,
            Fill::Signs => 1.5,
            Fill::Ranks => shape.iter().product::<usize>() as f64,
        };
        if fill != Fill::Spread(1.0) {
            self.fills.insert(name, fill);
        }
        Read { operand: node.into(), bound, data: false, inside: false }
    }

    /// A new parameter, or one that is already there.
    pub(super) fn weight(&mut self, shape: &[usize]) -> Read {
        let known: Vec<Read> = self
            .pool
            .iter()
            .copied()
            .filter(|read| {
                matches!(self.graph.op(read.operand.node), Op::Param(_)) && self.ty(*read).shape == shape
            })
            .collect();
        match self.rng.choose(&known) {
            Some(found) if self.rng.chance(0.4) => found,
            _ => {
                let made = self.param(shape, Fill::Spread(1.0));
                self.keep(made);
                made
            }
        }
    }

    pub(super) fn constant(&mut self, value: f64, shape: &[usize]) -> Read {
        let node = self.graph.constant(value, shape, ORIGIN);
        Read { operand: node.into(), bound: value.abs(), data: true, inside: false }
    }

    /// A size that other values are likely to have, too.
    pub(super) fn dim(&mut self) -> usize {
        let dims = self.dims.clone();
        self.rng.choose(&dims).unwrap_or(1)
    }

    /// The type of a value as read.
    pub(super) fn ty(&self, read: Read) -> ValueType {
        self.graph.type_at(read.operand)
    }

    /// Applies an operation; `None` if the operands do not fit it.
    pub(super) fn make(&mut self, op: Op, reads: &[Read], bound: f64) -> Option<Read> {
        let operands: Vec<Operand> = reads.iter().map(|read| read.operand).collect();
        let node = self.graph.apply(op, &operands, ORIGIN).ok()?;
        let data = reads.iter().all(|read| read.data);
        let inside = reads.iter().any(|read| read.inside);
        Some(Read { operand: node.into(), bound, data, inside })
    }

    /// A leaf of the graph, not in the pool.
    pub(super) fn leaf(&mut self, op: Op, ty: ValueType, bound: f64) -> Read {
        let node = self.graph.leaf(op, ty, ORIGIN, None);
        Read { operand: node.into(), bound, data: true, inside: false }
    }

    pub(super) fn unary(&mut self, op: Unary, x: Read) -> Option<Read> {
        let bound = match op {
            Unary::Tanh | Unary::Sigmoid | Unary::Sin | Unary::Cos | Unary::Sign => 1.0,
            Unary::Exp => x.bound.exp(),
            Unary::Softplus => x.bound + 1.0,
            Unary::Sqrt => x.bound.sqrt(),
            Unary::Log => x.bound.max(1.0),
            Unary::Negate | Unary::Relu | Unary::Abs | Unary::Floor => x.bound.max(1.0),
        };
        self.make(Op::Unary(op), &[x], bound)
    }

    pub(super) fn binary(&mut self, op: Binary, a: Read, b: Read) -> Option<Read> {
        let bound = match op {
            Binary::Add | Binary::Subtract => a.bound + b.bound,
            Binary::Multiply => a.bound * b.bound,
            // Divisors are made to be at least a half, powers to be of numbers in 0.5..1.5.
            Binary::Divide => a.bound * 2.0,
            Binary::Power => 2.0,
            Binary::Min | Binary::Max => a.bound.max(b.bound),
            _ => 1.0,
        };
        self.make(Op::Binary(op), &[a, b], bound)
    }

    pub(super) fn contract(&mut self, contract: Contract, a: Read, b: Read) -> Option<Read> {
        let (left, right) = (self.ty(a).shape, self.ty(b).shape);
        let terms: usize = contract
            .left
            .iter()
            .zip(&left)
            .chain(contract.right.iter().zip(&right).filter(|(label, _)| !contract.left.contains(label)))
            .filter(|(label, _)| !contract.out.contains(label))
            .map(|(_, size)| size)
            .product();
        let positions = if contract.mean { 1.0 } else { 8f64.powf(contract.over.len() as f64) };
        let bound = a.bound * b.bound * terms as f64 * positions;
        self.make(Op::Contract(contract), &[a, b], bound)
    }

    /// A contraction by its text.
    pub(super) fn product(&mut self, spec: &str, a: Read, b: Read) -> Option<Read> {
        self.contract(Contract::parse(spec)?, a, b)
    }

    /// Brings a value down to size.
    pub(super) fn tamed(&mut self, read: Read, limit: f64) -> Option<Read> {
        if read.bound <= limit || !self.graph.is_real(read.operand.node) {
            return Some(read);
        }
        match self.rng.below(3) {
            0 => self.unary(Unary::Sin, read),
            1 => {
                let scale = self.constant(limit / read.bound, &[]);
                self.binary(Binary::Multiply, read, scale)
            }
            _ => self.unary(Unary::Tanh, read),
        }
    }

    /// Puts a value into the pool.
    pub(super) fn keep(&mut self, read: Read) {
        if let Some(read) = self.tamed(read, TAME) {
            self.pool.push(read);
        }
    }

    /// A value of the pool that fits, read anywhere it may be.
    pub(super) fn pick(&mut self, fits: impl Fn(&ValueType, &Read) -> bool) -> Option<Read> {
        let mut found: Vec<Read> =
            self.pool.iter().copied().filter(|read| fits(&self.ty(*read), read)).collect();
        if self.open.is_some() && self.rng.chance(0.5) && found.iter().any(|read| read.inside) {
            found.retain(|read| read.inside);
        }
        // New values are read more often: programs get deep, and little is dead.
        let from = if self.rng.chance(0.5) { found.len().saturating_sub(5) } else { 0 };
        let read = self.rng.choose(&found[from..])?;
        Some(self.moved(read, 0.25))
    }

    /// A real value.
    pub(super) fn real(&mut self) -> Option<Read> {
        self.pick(|ty, _| ty.element == Element::Real)
    }

    /// A real value of this shape or a scalar.
    pub(super) fn like(&mut self, shape: &[usize]) -> Option<Read> {
        self.pick(|ty, _| ty.element == Element::Real && (ty.shape == shape || ty.shape.is_empty()))
    }

    /// Perhaps (with this probability) reads a value at another position.
    pub(super) fn moved(&mut self, mut read: Read, probability: f64) -> Read {
        if read.operand.access != Access::Here || !self.rng.chance(probability) {
            return read;
        }
        let axes = self.graph.ty(read.operand.node).axes;
        if read.inside {
            if let Some(OpenLoop { axis, backward }) = self.open {
                read.operand.access = match self.trees {
                    Some(trees) if trees.tree == axis => self.earlier_node(trees, backward, axes),
                    _ => {
                        let by = self.distance();
                        if backward { Access::Advance { axis, by } } else { Access::Delay { axis, by } }
                    }
                };
            }
            return read;
        }
        let steps: Vec<AxisId> = axes.without(crate::ir::BATCH).iter().collect();
        if let Some(axis) = self.rng.choose(&steps) {
            read.operand.access = match self.trees {
                Some(trees) if axis == trees.tree || axis == trees.children => self.any_node(trees, axes),
                Some(TreeAxes { tree, leaves, .. })
                    if axis == leaves && !axes.contains(tree) && self.rng.chance(0.4) =>
                {
                    Access::AtNode { tree, leaves }
                }
                _ => {
                    let by = self.distance();
                    match self.rng.below(5) {
                        0 | 1 => Access::Delay { axis, by },
                        2 => Access::Advance { axis, by },
                        3 => Access::First(axis),
                        _ => Access::Last(axis),
                    }
                }
            };
        }
        read
    }

    /// A way to read a value of the open loop at a node that came before.
    fn earlier_node(&mut self, trees: TreeAxes, backward: bool, axes: AxisSet) -> Access {
        let TreeAxes { tree, children, .. } = trees;
        let number = self.rng.one_of([0, 0, 1, 1, 2]);
        let for_each_child = axes.contains(children);
        match (backward, for_each_child) {
            (false, true) => Access::Here,
            (false, false) if self.rng.chance(0.4) => Access::Child { tree, children },
            (false, false) => Access::Nth { tree, number },
            (true, true) => Access::Edge { tree, children },
            (true, false) if self.rng.chance(0.5) => Access::Parent(tree),
            (true, false) => Access::NthOf { tree, number },
        }
    }

    /// A way to read a value at any node.
    fn any_node(&mut self, trees: TreeAxes, axes: AxisSet) -> Access {
        let TreeAxes { tree, children, leaves } = trees;
        let number = self.rng.one_of([0, 0, 1, 1, 2]);
        if axes.contains(children) {
            return Access::Edge { tree, children };
        }
        match self.rng.below(6) {
            0 => Access::Nth { tree, number },
            1 => Access::NthOf { tree, number },
            2 => Access::Parent(tree),
            3 => Access::First(tree),
            4 if !axes.contains(leaves) => Access::AtLeaf { tree, leaves },
            _ => Access::Child { tree, children },
        }
    }

    /// 1, 2 or 3; mostly 1.
    pub(super) fn distance(&mut self) -> u32 {
        self.rng.one_of([1, 1, 1, 2, 3])
    }

    /// A value of this shape made of another, by products with parameters.
    pub(super) fn fit(&mut self, mut read: Read, shape: &[usize]) -> Option<Read> {
        if self.ty(read).shape == shape {
            return Some(read);
        }
        while self.ty(read).shape.len() > 1 {
            let bound = read.bound;
            let mean = Op::Reduce(crate::ir::Reduction::Mean, crate::ir::Along::Last);
            read = self.make(mean, &[read], bound)?;
        }
        let own = self.ty(read).shape;
        match (own.as_slice(), shape) {
            ([], _) => {
                let weight = self.weight(shape);
                self.binary(Binary::Multiply, read, weight)
            }
            ([size], []) => {
                let weight = self.weight(&[*size]);
                self.product("i,i->", read, weight)
            }
            ([from], [to]) => {
                let weight = self.weight(&[*to, *from]);
                self.product("ij,j->i", weight, read)
            }
            ([from], [rows, columns]) if from == rows => {
                let weight = self.weight(&[*columns]);
                self.product("i,j->ij", read, weight)
            }
            ([_], [rows, ..]) => {
                let column = self.fit(read, &[*rows])?;
                if shape.len() == 2 { self.fit(column, shape) } else { None }
            }
            _ => None,
        }
    }

    /// The value of `read` on `axes` (at least its own), by a copy if need be.
    pub(super) fn spread(&mut self, read: Read, axes: AxisSet) -> Read {
        let mut ty = self.ty(read);
        if ty.axes == axes {
            return read;
        }
        ty.axes = axes;
        let node = self.insert(Op::Copy, ty, &[read.operand], None);
        Read { operand: node.into(), ..read }
    }

    /// Adds a node whose type is known.
    pub(super) fn insert(
        &mut self,
        op: Op,
        ty: ValueType,
        operands: &[Operand],
        name: Option<String>,
    ) -> NodeId {
        self.graph.insert(Node { op, ty, origin: ORIGIN, name }, operands)
    }
}
