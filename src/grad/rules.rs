//! The table of local derivatives: for each operation and operand, what flows back to the operand.
//!
//! Derivatives are written through results where that is shorter: `(1 - y^2) * dy` for a tanh,
//! `y * (1 - y) * dy` for a sigmoid. Everything is at the reader's position; `sweep` moves it.

use super::GradError;
use crate::ir::{
    Access, Along, AxisSet, BATCH, Binary, Contract, Graph, NodeId, Op, Operand, Origin, OriginKind,
    Reduction, Unary,
};

/// Where the nodes of a derivative go.
pub(super) struct Rules<'a> {
    pub graph: &'a mut Graph,
    pub origin: Origin,
}

impl<'a> Rules<'a> {
    /// Nodes of the adjoint of `of`.
    pub fn new(graph: &'a mut Graph, of: NodeId) -> Rules<'a> {
        let origin =
            Origin { span: graph.node(of).origin.span, kind: OriginKind::Adjoint(of), through: None };
        Rules { graph, origin }
    }

    /// Nodes of the tangent of `of`.
    pub fn tangent(graph: &'a mut Graph, of: NodeId) -> Rules<'a> {
        let origin =
            Origin { span: graph.node(of).origin.span, kind: OriginKind::Tangent(of), through: None };
        Rules { graph, origin }
    }

    pub fn op(&mut self, op: Op, operands: &[Operand]) -> Result<Operand, GradError> {
        let name = format!("{op:?}");
        let made = self.graph.apply(op, operands, self.origin);
        made.map(Operand::from).map_err(|error| GradError::Internal(format!("{name}: {error}")))
    }

    pub fn constant(&mut self, value: f64, shape: &[usize]) -> Operand {
        self.graph.constant(value, shape, self.origin).into()
    }

    pub fn unary(&mut self, unary: Unary, x: Operand) -> Result<Operand, GradError> {
        self.op(Op::Unary(unary), &[x])
    }

    pub fn binary(&mut self, binary: Binary, a: Operand, b: Operand) -> Result<Operand, GradError> {
        self.op(Op::Binary(binary), &[a, b])
    }

    pub fn multiply(&mut self, a: Operand, b: Operand) -> Result<Operand, GradError> {
        self.binary(Binary::Multiply, a, b)
    }

    fn select(&mut self, condition: Operand, a: Operand, b: Operand) -> Result<Operand, GradError> {
        self.op(Op::Select, &[condition, a, b])
    }

    fn rank(&self, x: Operand) -> usize {
        self.graph.type_at(x).shape.len()
    }

    /// Sums a term over all static dimensions if the operand was a scalar that stretched.
    fn shrink(&mut self, term: Operand, operand: Operand) -> Result<Operand, GradError> {
        let mut term = term;
        if self.rank(operand) == 0 {
            while self.rank(term) > 0 {
                term = self.op(Op::Reduce(Reduction::Sum, Along::Last), &[term])?;
            }
        }
        Ok(term)
    }

    /// A value without the last dimension of `like`, repeated along it.
    fn stretch(&mut self, value: Operand, like: Operand) -> Result<Operand, GradError> {
        let shape = self.graph.type_at(like).shape;
        let Some((&last, kept)) = shape.split_last() else { return Ok(value) };
        if kept.is_empty() {
            // Scalars stretch by themselves in elementwise arithmetic.
            let ones = self.constant(1.0, &[last]);
            return self.multiply(value, ones);
        }
        let ones = self.constant(1.0, &[last]);
        let labels: Vec<u8> = (b'a'..=b'z').take(shape.len()).collect();
        let contract = Contract {
            left: labels[..kept.len()].to_vec(),
            right: labels[kept.len()..].to_vec(),
            out: labels,
            over: AxisSet::NONE,
            mean: false,
        };
        self.op(Op::Contract(contract), &[value, ones])
    }
}

/// What flows back to operand `index` of `node` when `g` is the adjoint of `node`; `None` if nothing does.
pub(super) fn derivative(
    rules: &mut Rules,
    node: NodeId,
    index: usize,
    g: Operand,
) -> Result<Option<Operand>, GradError> {
    let op = rules.graph.op(node).clone();
    let operands = rules.graph.operands(node);
    let y = Operand::from(node);
    let term = match &op {
        Op::Input(_)
        | Op::Param(_)
        | Op::Constant(_)
        | Op::Position(_)
        | Op::Length(_)
        | Op::Count(_)
        | Op::Setting(_)
        | Op::NoId
        | Op::Random(_)
        | Op::OneHot(_)
        | Op::Stop => return Ok(None),
        Op::ArgMax => return Err(GradError::NoDerivative { name: "argmax".into(), node }),
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Softmax(_) => {
            let Some(term) = symmetric(rules, node, index, g)? else { return Ok(None) };
            rules.shrink(term, operands[index])?
        }
        Op::Gather => match index {
            0 => gather(rules, operands[0], operands[1], g)?,
            _ => return Ok(None),
        },
        Op::Slice { dim, start, len } => slice(rules, operands[0], *dim, (*start, *len), g)?,
        Op::Concat { dim } => {
            let sizes: Vec<usize> = operands.iter().map(|&x| rules.graph.type_at(x).shape[*dim]).collect();
            let start = sizes[..index].iter().sum();
            rules.op(Op::Slice { dim: *dim, start, len: sizes[index] }, &[g])?
        }
        Op::Contract(contract) => contracted(rules, contract, index, [operands[0], operands[1]], g)?,
        Op::Reduce(reduction, along) => reduce(rules, *reduction, *along, operands[0], y, g)?,
        Op::LogSumExp => {
            let softmax = rules.op(Op::Softmax(Along::Last), &[operands[0]])?;
            let g = if rules.rank(softmax) > 1 { rules.stretch(g, operands[0])? } else { g };
            rules.multiply(softmax, g)?
        }
        Op::Initially => initially(rules, index, [operands[0], operands[1]], g)?,
        Op::Copy => g,
    };
    Ok(Some(term))
}

/// What a change `g` of operand `index` makes of the result, or, as the Jacobian by that operand is
/// symmetric, what flows back to it of an adjoint `g`: both modes share these rows. A scalar that
/// stretched is not summed here.
pub(super) fn symmetric(
    rules: &mut Rules,
    node: NodeId,
    index: usize,
    g: Operand,
) -> Result<Option<Operand>, GradError> {
    let op = rules.graph.op(node).clone();
    let operands = rules.graph.operands(node);
    let y = Operand::from(node);
    let term = match &op {
        Op::Unary(Unary::Sign) => return Ok(None),
        Op::Unary(unary) => self::unary(rules, *unary, node, operands[0], y, g)?,
        Op::Binary(binary) if binary.is_comparison() => return Ok(None),
        Op::Binary(binary) => self::binary(rules, *binary, index, [operands[0], operands[1]], y, g)?,
        Op::Select => {
            let zero = rules.constant(0.0, &[]);
            match index {
                0 => return Ok(None),
                1 => rules.select(operands[0], g, zero)?,
                _ => rules.select(operands[0], zero, g)?,
            }
        }
        Op::Softmax(along) => {
            let product = rules.multiply(y, g)?;
            let total = rules.op(Op::Reduce(Reduction::Sum, *along), &[product])?;
            let total = match along {
                Along::Last if rules.rank(y) > 1 => rules.stretch(total, y)?,
                Along::Last | Along::Axes(_) => total,
            };
            let centred = rules.binary(Binary::Subtract, g, total)?;
            rules.multiply(y, centred)?
        }
        other => return Err(GradError::Internal(format!("{other:?} has no symmetric Jacobian"))),
    };
    Ok(Some(term))
}

fn unary(
    rules: &mut Rules,
    unary: Unary,
    node: NodeId,
    x: Operand,
    y: Operand,
    g: Operand,
) -> Result<Operand, GradError> {
    match unary {
        Unary::Negate => rules.unary(Unary::Negate, g),
        Unary::Exp => rules.multiply(y, g),
        Unary::Log => rules.binary(Binary::Divide, g, x),
        Unary::Sqrt => {
            let half = rules.constant(0.5, &[]);
            let scaled = rules.multiply(half, g)?;
            rules.binary(Binary::Divide, scaled, y)
        }
        Unary::Tanh => {
            let [one, two] = [1.0, 2.0].map(|value| rules.constant(value, &[]));
            let square = rules.binary(Binary::Power, y, two)?;
            let slope = rules.binary(Binary::Subtract, one, square)?;
            rules.multiply(slope, g)
        }
        Unary::Sigmoid => {
            let one = rules.constant(1.0, &[]);
            let rest = rules.binary(Binary::Subtract, one, y)?;
            let slope = rules.multiply(y, rest)?;
            rules.multiply(slope, g)
        }
        Unary::Relu => {
            let zero = rules.constant(0.0, &[]);
            let positive = rules.binary(Binary::Greater, x, zero)?;
            rules.select(positive, g, zero)
        }
        Unary::Softplus => {
            let slope = rules.unary(Unary::Sigmoid, x)?;
            rules.multiply(slope, g)
        }
        Unary::Abs => {
            let sign = rules.unary(Unary::Sign, x)?;
            rules.multiply(sign, g)
        }
        Unary::Sin => {
            let slope = rules.unary(Unary::Cos, x)?;
            rules.multiply(slope, g)
        }
        Unary::Cos => {
            let slope = rules.unary(Unary::Sin, x)?;
            let slope = rules.unary(Unary::Negate, slope)?;
            rules.multiply(slope, g)
        }
        Unary::Sign | Unary::Floor => Err(GradError::NoDerivative { name: unary.name().into(), node }),
    }
}

fn binary(
    rules: &mut Rules,
    binary: Binary,
    index: usize,
    [a, b]: [Operand; 2],
    y: Operand,
    g: Operand,
) -> Result<Operand, GradError> {
    match (binary, index) {
        (Binary::Add, _) | (Binary::Subtract, 0) => Ok(g),
        (Binary::Subtract, _) => rules.unary(Unary::Negate, g),
        (Binary::Multiply, 0) => rules.multiply(g, b),
        (Binary::Multiply, _) => rules.multiply(g, a),
        (Binary::Divide, 0) => rules.binary(Binary::Divide, g, b),
        (Binary::Divide, _) => {
            let ratio = rules.binary(Binary::Divide, y, b)?;
            let term = rules.multiply(g, ratio)?;
            rules.unary(Unary::Negate, term)
        }
        (Binary::Power, 0) => {
            let one = rules.constant(1.0, &[]);
            let less = rules.binary(Binary::Subtract, b, one)?;
            let power = rules.binary(Binary::Power, a, less)?;
            let slope = rules.multiply(b, power)?;
            rules.multiply(slope, g)
        }
        (Binary::Power, _) => {
            let log = rules.unary(Unary::Log, a)?;
            let slope = rules.multiply(y, log)?;
            rules.multiply(slope, g)
        }
        (Binary::Max | Binary::Min, _) => {
            let order = if binary == Binary::Max { Binary::GreaterEqual } else { Binary::LessEqual };
            let first = rules.binary(order, a, b)?;
            let zero = rules.constant(0.0, &[]);
            if index == 0 { rules.select(first, g, zero) } else { rules.select(first, zero, g) }
        }
        // Comparisons do not get here: they are constant to differentiation.
        _ => Ok(rules.constant(0.0, &[])),
    }
}

fn gather(rules: &mut Rules, table: Operand, id: Operand, g: Operand) -> Result<Operand, GradError> {
    let shape = rules.graph.type_at(table).shape;
    let onehot = rules.op(Op::OneHot(shape[0]), &[id])?;
    let labels: Vec<u8> = (b'i'..=b'z').take(shape.len()).collect();
    if labels.len() == 1 {
        return rules.multiply(onehot, g);
    }
    let contract = Contract {
        left: labels[..1].to_vec(),
        right: labels[1..].to_vec(),
        out: labels,
        over: AxisSet::NONE,
        mean: false,
    };
    rules.op(Op::Contract(contract), &[onehot, g])
}

/// The adjoint of a slice stands between zeros.
fn slice(
    rules: &mut Rules,
    x: Operand,
    dim: usize,
    (start, len): (usize, usize),
    g: Operand,
) -> Result<Operand, GradError> {
    let shape = rules.graph.type_at(x).shape;
    let mut parts = Vec::new();
    let rest = shape[dim] - start - len;
    for (size, is_value) in [(start, false), (len, true), (rest, false)] {
        if is_value {
            parts.push(g);
        } else if size > 0 {
            let mut zeros = shape.clone();
            zeros[dim] = size;
            parts.push(rules.constant(0.0, &zeros));
        }
    }
    if parts.len() == 1 { Ok(g) } else { rules.op(Op::Concat { dim }, &parts) }
}

fn contracted(
    rules: &mut Rules,
    contract: &Contract,
    index: usize,
    operands: [Operand; 2],
    g: Operand,
) -> Result<Operand, GradError> {
    let (own, other_labels, other) = match index {
        0 => (&contract.left, &contract.right, operands[1]),
        _ => (&contract.right, &contract.left, operands[0]),
    };
    let g = if contract.mean {
        let positions = rules.positions(contract.over)?;
        rules.binary(Binary::Divide, g, positions)?
    } else {
        g
    };
    let mut found = Contract {
        left: contract.out.clone(),
        right: other_labels.clone(),
        out: own.clone(),
        over: AxisSet::NONE,
        mean: false,
    };
    // Matrices first, and an outer product in the order of its result.
    let swap = match found.left.len().cmp(&found.right.len()) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal => {
            found.out.first().is_some_and(|label| !found.left.contains(label) && found.right.contains(label))
        }
    };
    let mut pair = [g, other];
    if swap {
        std::mem::swap(&mut found.left, &mut found.right);
        pair.swap(0, 1);
    }
    rules.op(Op::Contract(found), &pair)
}

fn reduce(
    rules: &mut Rules,
    reduction: Reduction,
    along: Along,
    x: Operand,
    y: Operand,
    g: Operand,
) -> Result<Operand, GradError> {
    let size = match along {
        Along::Last => rules.graph.type_at(x).shape.last().copied().unwrap_or(1) as f64,
        Along::Axes(_) => 1.0,
    };
    match (reduction, along) {
        (Reduction::Sum, Along::Last) => rules.stretch(g, x),
        (Reduction::Sum, Along::Axes(_)) => Ok(g),
        (Reduction::Mean, Along::Last) => {
            let size = rules.constant(size, &[]);
            let share = rules.binary(Binary::Divide, g, size)?;
            rules.stretch(share, x)
        }
        (Reduction::Mean, Along::Axes(over)) => {
            let positions = rules.positions(over)?;
            rules.binary(Binary::Divide, g, positions)
        }
        (Reduction::Max, _) => {
            // Shared evenly among the largest.
            let is_last = along == Along::Last;
            let (largest, ties) = peaks(rules, along, x, y)?;
            let share = rules.binary(Binary::Divide, g, ties)?;
            let share = if is_last { rules.stretch(share, x)? } else { share };
            rules.multiply(largest, share)
        }
    }
}

/// 1 where `x` is the largest along `along` (`y` says how large), and how many are.
pub(super) fn peaks(
    rules: &mut Rules,
    along: Along,
    x: Operand,
    y: Operand,
) -> Result<(Operand, Operand), GradError> {
    let peak = if along == Along::Last { rules.stretch(y, x)? } else { y };
    let largest = rules.binary(Binary::Equal, x, peak)?;
    let ties = rules.op(Op::Reduce(Reduction::Sum, along), &[largest])?;
    Ok((largest, ties))
}

/// To the value itself all flows (where it was not read nothing asks for it), to the start what
/// stands at the positions that have nothing before them.
fn initially(
    rules: &mut Rules,
    index: usize,
    [x, start]: [Operand; 2],
    g: Operand,
) -> Result<Operand, GradError> {
    if index == 0 {
        return Ok(g);
    }
    // One start an example takes the adjoint of the one position that reads it.
    let single = |rules: &Rules, axis| !rules.graph.type_at(start).axes.contains(axis);
    match x.access {
        Access::Delay { axis, by: 1 } if single(rules, axis) => {
            Ok(Operand { node: g.node, access: Access::First(axis) })
        }
        Access::Advance { axis, by: 1 } if single(rules, axis) => {
            Ok(Operand { node: g.node, access: Access::Last(axis) })
        }
        Access::Delay { axis, by } => {
            let position = rules.leaf(Op::Position(axis), AxisSet::BATCH.with(axis));
            let by = rules.constant(f64::from(by), &[]);
            let early = rules.binary(Binary::Less, position, by)?;
            let zero = rules.constant(0.0, &[]);
            rules.select(early, g, zero)
        }
        Access::Advance { axis, by } => {
            let position = rules.leaf(Op::Position(axis), AxisSet::BATCH.with(axis));
            let length = rules.leaf(Op::Length(axis), AxisSet::BATCH);
            let by = rules.constant(f64::from(by), &[]);
            let bound = rules.binary(Binary::Subtract, length, by)?;
            let late = rules.binary(Binary::GreaterEqual, position, bound)?;
            let zero = rules.constant(0.0, &[]);
            rules.select(late, g, zero)
        }
        Access::First(axis) | Access::Last(axis) => {
            let length = rules.leaf(Op::Length(axis), AxisSet::BATCH);
            let zero = rules.constant(0.0, &[]);
            let empty = rules.binary(Binary::Equal, length, zero)?;
            rules.select(empty, g, zero)
        }
        Access::Parent(tree) if single(rules, tree) => {
            Ok(Operand { node: g.node, access: Access::First(tree) })
        }
        // Where there is nothing to read, a one reads as zero.
        Access::Nth { tree, .. } | Access::NthOf { tree, .. } | Access::Parent(tree) => {
            absent(rules, x.access, AxisSet::one(tree), g)
        }
        Access::Edge { .. } | Access::AtNode { .. } => absent(rules, x.access, x.access.needs(), g),
        Access::Here | Access::Child { .. } | Access::AtLeaf { .. } => Ok(rules.constant(0.0, &[])),
    }
}

/// `g` where a read finds nothing, else zero.
fn absent(rules: &mut Rules, access: Access, axes: AxisSet, g: Operand) -> Result<Operand, GradError> {
    let one = rules.constant(1.0, &[]);
    let ones = rules.on_axes(one, axes.with(BATCH))?;
    let zero = rules.constant(0.0, &[]);
    rules.op(Op::Select, &[Operand { node: ones.node, access }, zero, g])
}
