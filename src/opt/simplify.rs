//! Algebra: what is shorter and equal.
//!
//! Before `softmax(y) * 1 + -1 * onehot(text, V)`; after `softmax(y) - onehot(text, V)`. The rules hold
//! for finite numbers; `0 * x` is taken as 0, which is what an absent adjoint means.

use super::rewrite::{constant, exhaust, fit, make, number};
use crate::ir::{Access, Along, AxisSet, Binary, Contract, Graph, NodeId, Op, Operand, Reduction, Unary};

pub(super) fn run(graph: &mut Graph) -> bool {
    exhaust(graph, simpler)
}

fn simpler(graph: &mut Graph, id: NodeId) -> Option<Operand> {
    let operands = graph.operands(id);
    let found = match graph.op(id).clone() {
        Op::Unary(op) => unary(graph, id, op, operands[0]),
        Op::Binary(op) => binary(graph, id, op, operands[0], operands[1]),
        Op::Select => select(graph, &operands),
        Op::Slice { dim, start, len } => slice(graph, id, dim, start, len, operands[0]),
        Op::Concat { dim } => concat(graph, id, dim, &operands),
        Op::Contract(contract) => self::contract(graph, id, &contract, operands[0], operands[1]),
        Op::Reduce(reduction, along) => reduce(graph, id, reduction, along, operands[0]),
        _ => None,
    }?;
    // A value of fewer axes may stand for one of more only as a copy along them.
    fit(graph, found, id)
}

fn is_number(graph: &Graph, operand: Operand, value: f64) -> bool {
    number(graph, operand) == Some(value)
}

/// What a negation negates.
fn negated(graph: &Graph, operand: Operand) -> Option<Operand> {
    let negation = *graph.op(operand.node) == Op::Unary(Unary::Negate) && operand.access == Access::Here;
    negation.then(|| graph.operands(operand.node)[0])
}

/// Drops `* ones(n)` around a scalar: elementwise arithmetic stretches by itself.
fn unstretched(graph: &Graph, operand: Operand) -> Option<Operand> {
    if operand.access != Access::Here || *graph.op(operand.node) != Op::Binary(Binary::Multiply) {
        return None;
    }
    let parts = graph.operands(operand.node);
    let one = is_number(graph, parts[1], 1.0) && !graph.type_at(parts[1]).shape.is_empty();
    (one && graph.type_at(parts[0]).shape.is_empty()).then_some(parts[0])
}

fn zero_like(graph: &mut Graph, id: NodeId) -> Operand {
    let shape = graph.ty(id).shape.clone();
    constant(graph, id, 0.0, &shape).into()
}

fn negate(graph: &mut Graph, id: NodeId, x: Operand) -> Option<Operand> {
    make(graph, id, Op::Unary(Unary::Negate), &[x]).map(Operand::from)
}

fn unary(graph: &mut Graph, id: NodeId, op: Unary, x: Operand) -> Option<Operand> {
    if op == Unary::Negate {
        if let Some(inner) = negated(graph, x) {
            return Some(inner);
        }
        if let (Op::Binary(Binary::Subtract), Access::Here) = (graph.op(x.node).clone(), x.access)
            && graph.users(x.node).len() == 1
        {
            let parts = graph.operands(x.node);
            return make(graph, id, Op::Binary(Binary::Subtract), &[parts[1], parts[0]]).map(Operand::from);
        }
    }
    None
}

fn binary(graph: &mut Graph, id: NodeId, op: Binary, a: Operand, b: Operand) -> Option<Operand> {
    // `(s * ones(n)) * x` is `s * x` where x has the shape.
    let shape = graph.ty(id).shape.clone();
    if let Some(inner) = unstretched(graph, a).filter(|_| graph.type_at(b).shape == shape) {
        return make(graph, id, Op::Binary(op), &[inner, b]).map(Operand::from);
    }
    if let Some(inner) = unstretched(graph, b).filter(|_| graph.type_at(a).shape == shape) {
        return make(graph, id, Op::Binary(op), &[a, inner]).map(Operand::from);
    }
    let same_shape = |graph: &Graph, x: Operand| graph.type_at(x).shape == shape;
    match op {
        Binary::Add => {
            if is_number(graph, a, 0.0) && same_shape(graph, b) {
                return Some(b);
            }
            if is_number(graph, b, 0.0) && same_shape(graph, a) {
                return Some(a);
            }
            if let Some(inner) = negated(graph, b) {
                return make(graph, id, Op::Binary(Binary::Subtract), &[a, inner]).map(Operand::from);
            }
            if let Some(inner) = negated(graph, a) {
                return make(graph, id, Op::Binary(Binary::Subtract), &[b, inner]).map(Operand::from);
            }
            left_to_right(graph, id, a, b).or_else(|| add_joined(graph, id, a, b))
        }
        Binary::Subtract => {
            if is_number(graph, b, 0.0) && same_shape(graph, a) {
                return Some(a);
            }
            if is_number(graph, a, 0.0) && same_shape(graph, b) {
                return negate(graph, id, b);
            }
            let inner = negated(graph, b)?;
            make(graph, id, Op::Binary(Binary::Add), &[a, inner]).map(Operand::from)
        }
        Binary::Multiply => multiply(graph, id, a, b, &shape),
        Binary::Divide => {
            if is_number(graph, b, 1.0) && same_shape(graph, a) {
                return Some(a);
            }
            if is_number(graph, a, 0.0) {
                return Some(zero_like(graph, id));
            }
            let inner = negated(graph, a)?;
            let quotient = make(graph, id, Op::Binary(Binary::Divide), &[inner, b])?;
            negate(graph, id, quotient.into())
        }
        Binary::Power => (is_number(graph, b, 1.0) && same_shape(graph, a)).then_some(a),
        _ => None,
    }
}

fn multiply(graph: &mut Graph, id: NodeId, a: Operand, b: Operand, shape: &[usize]) -> Option<Operand> {
    for (x, y) in [(a, b), (b, a)] {
        let fits = graph.type_at(y).shape == shape;
        match number(graph, x) {
            Some(0.0) => return Some(zero_like(graph, id)),
            Some(1.0) if fits => return Some(y),
            Some(-1.0) if fits => return negate(graph, id, y),
            _ => {}
        }
        if let Some(inner) = negated(graph, x) {
            let operands = if x == a { [inner, y] } else { [y, inner] };
            let product = make(graph, id, Op::Binary(Binary::Multiply), &operands)?;
            return negate(graph, id, product.into());
        }
    }
    None
}

/// `a + (b + c)` as `(a + b) + c`, when the inner sum is read nowhere else.
fn left_to_right(graph: &mut Graph, id: NodeId, a: Operand, b: Operand) -> Option<Operand> {
    let inner = matches!(graph.op(b.node), Op::Binary(Binary::Add))
        && b.access == Access::Here
        && graph.users(b.node).len() == 1
        && graph.node(b.node).name.is_none();
    if !inner {
        return None;
    }
    let parts = graph.operands(b.node);
    let shapes_agree = graph.type_at(a).shape == graph.type_at(parts[0]).shape;
    if !shapes_agree {
        return None;
    }
    let first = make(graph, id, Op::Binary(Binary::Add), &[a, parts[0]])?;
    make(graph, id, Op::Binary(Binary::Add), &[first.into(), parts[1]]).map(Operand::from)
}

/// Sums of joins with the same seams, where at least one side is zero piece by piece.
fn add_joined(graph: &mut Graph, id: NodeId, a: Operand, b: Operand) -> Option<Operand> {
    let (Op::Concat { dim }, Op::Concat { dim: other }) =
        (graph.op(a.node).clone(), graph.op(b.node).clone())
    else {
        return None;
    };
    if dim != other || a.access != Access::Here || b.access != Access::Here {
        return None;
    }
    let (left, right) = (pieces(graph, a, dim), pieces(graph, b, dim));
    let seams: Vec<usize> = merged_seams(&left, &right);
    let mut parts = Vec::new();
    for window in seams.windows(2) {
        let (start, end) = (window[0], window[1]);
        let x = piece(graph, id, dim, &left, start, end)?;
        let y = piece(graph, id, dim, &right, start, end)?;
        let zero = |graph: &Graph, operand: Operand| is_number(graph, operand, 0.0);
        parts.push(if zero(graph, x) {
            y
        } else if zero(graph, y) {
            x
        } else {
            // Two real pieces over each other: the sum of the joins is no longer than that.
            return None;
        });
    }
    make(graph, id, Op::Concat { dim }, &parts).map(Operand::from)
}

/// The parts of a join with their start and end.
fn pieces(graph: &Graph, join: Operand, dim: usize) -> Vec<(usize, usize, Operand)> {
    let mut start = 0;
    graph
        .operands(join.node)
        .into_iter()
        .map(|part| {
            let size = graph.type_at(part).shape[dim];
            start += size;
            (start - size, start, part)
        })
        .collect()
}

fn merged_seams(left: &[(usize, usize, Operand)], right: &[(usize, usize, Operand)]) -> Vec<usize> {
    let mut seams: Vec<usize> = left.iter().chain(right).flat_map(|(start, end, _)| [*start, *end]).collect();
    seams.sort_unstable();
    seams.dedup();
    seams
}

fn piece(
    graph: &mut Graph,
    id: NodeId,
    dim: usize,
    parts: &[(usize, usize, Operand)],
    start: usize,
    end: usize,
) -> Option<Operand> {
    let &(from, to, part) = parts.iter().find(|(from, to, _)| *from <= start && end <= *to)?;
    if (from, to) == (start, end) {
        return Some(part);
    }
    if let Some(value) = number(graph, part) {
        let mut shape = graph.type_at(part).shape;
        shape[dim] = end - start;
        return Some(constant(graph, id, value, &shape).into());
    }
    make(graph, id, Op::Slice { dim, start: start - from, len: end - start }, &[part]).map(Operand::from)
}

fn select(graph: &mut Graph, operands: &[Operand]) -> Option<Operand> {
    let [condition, a, b] = operands else { return None };
    let same = a == b || (number(graph, *a).is_some() && number(graph, *a) == number(graph, *b));
    if same && graph.type_at(*a).shape == graph.type_at(*b).shape {
        return Some(*a);
    }
    match number(graph, *condition) {
        Some(0.0) => Some(*b),
        Some(_) => Some(*a),
        None => None,
    }
}

fn slice(graph: &mut Graph, id: NodeId, dim: usize, start: usize, len: usize, x: Operand) -> Option<Operand> {
    let size = graph.type_at(x).shape[dim];
    if start == 0 && len == size {
        return Some(x);
    }
    if let Some(value) = number(graph, x) {
        let shape = graph.ty(id).shape.clone();
        return Some(constant(graph, id, value, &shape).into());
    }
    let inner = graph.operands(x.node);
    match graph.op(x.node).clone() {
        Op::Slice { dim: same, start: from, .. } if same == dim => {
            let source = moved(x.access, inner[0])?;
            make(graph, id, Op::Slice { dim, start: from + start, len }, &[source]).map(Operand::from)
        }
        Op::Concat { dim: same } if same == dim => {
            let parts = pieces(graph, x, dim);
            let touched: Vec<&(usize, usize, Operand)> =
                parts.iter().filter(|(from, to, _)| *from < start + len && start < *to).collect();
            if touched.len() == parts.len() && parts.len() > 1 {
                return None;
            }
            let mut kept = Vec::new();
            for &&(from, to, part) in &touched {
                let begin = start.max(from);
                let end = (start + len).min(to);
                // A part that is repeated along the axis has no ends, the join has.
                if !graph.type_at(part).axes.covers(x.access.needs()) {
                    return None;
                }
                let part = moved(x.access, part)?;
                let local = [(from, to, part)];
                kept.push(piece(graph, id, dim, &local, begin, end)?);
            }
            match kept[..] {
                [only] => Some(only),
                _ => make(graph, id, Op::Concat { dim }, &kept).map(Operand::from),
            }
        }
        _ => None,
    }
}

/// An operand as read through another access; zero padding composes for all but starts.
fn moved(access: Access, inner: Operand) -> Option<Operand> {
    Some(Operand { node: inner.node, access: access.after(inner.access)? })
}

fn concat(graph: &mut Graph, id: NodeId, dim: usize, operands: &[Operand]) -> Option<Operand> {
    if let [only] = operands {
        return Some(*only);
    }
    // Joins of joins are one join; neighbouring slices of one value are one slice.
    let mut parts: Vec<Operand> = Vec::new();
    let mut changed = false;
    for &operand in operands {
        match graph.op(operand.node).clone() {
            Op::Concat { dim: same }
                if same == dim
                    && operand.access == Access::Here
                    && graph.node(operand.node).name.is_none() =>
            {
                parts.extend(graph.operands(operand.node));
                changed = true;
            }
            _ => parts.push(operand),
        }
    }
    let mut joined: Vec<Operand> = Vec::new();
    for part in parts {
        let neighbour = joined.last().and_then(|&last| adjacent(graph, last, part, dim));
        match neighbour {
            Some((source, start, len)) => {
                let slice = make(graph, id, Op::Slice { dim, start, len }, &[source])?;
                joined.pop();
                joined.push(slice.into());
                changed = true;
            }
            None => joined.push(part),
        }
    }
    if !changed {
        return None;
    }
    match joined[..] {
        [only] => Some(only),
        _ => make(graph, id, Op::Concat { dim }, &joined).map(Operand::from),
    }
}

/// The one slice that two neighbouring ones make.
fn adjacent(graph: &Graph, a: Operand, b: Operand, dim: usize) -> Option<(Operand, usize, usize)> {
    let of = |operand: Operand| match graph.op(operand.node) {
        Op::Slice { dim: its, start, len } if *its == dim && operand.access == Access::Here => {
            Some((graph.operands(operand.node)[0], *start, *len))
        }
        _ => None,
    };
    let ((x, start, len), (y, next, more)) = (of(a)?, of(b)?);
    (x == y && start + len == next).then_some((x, start, len + more))
}

fn contract(graph: &mut Graph, id: NodeId, contract: &Contract, a: Operand, b: Operand) -> Option<Operand> {
    if contract.over.is_empty() && (is_number(graph, a, 0.0) || is_number(graph, b, 0.0)) {
        return Some(zero_like(graph, id));
    }
    // A number or a scalar factor of a vector moves out of the product: `(s * a) @ b` keeps a reusable `a @ b`.
    for (x, y, first) in [(a, b, true), (b, a, false)] {
        if let Some(inner) = negated(graph, x).filter(|_| contract.over.is_empty()) {
            let operands = if first { [inner, y] } else { [y, inner] };
            let product = make(graph, id, Op::Contract(contract.clone()), &operands)?;
            return negate(graph, id, product.into());
        }
    }
    gathered(graph, id, contract, a, b)
}

/// `W.T @ onehot(id, V)` is the row `W[id]`.
fn gathered(graph: &mut Graph, id: NodeId, contract: &Contract, a: Operand, b: Operand) -> Option<Operand> {
    if !contract.over.is_empty() || a.access != Access::Here || b.access != Access::Here {
        return None;
    }
    for (table, labels, onehot, label) in
        [(a, &contract.left, b, &contract.right), (b, &contract.right, a, &contract.left)]
    {
        let [row] = label[..] else { continue };
        let is_onehot = matches!(graph.op(onehot.node), Op::OneHot(_));
        if is_onehot && labels.first() == Some(&row) && labels[1..] == contract.out[..] && labels.len() > 1 {
            let chosen = graph.operands(onehot.node)[0];
            return make(graph, id, Op::Gather, &[table, chosen]).map(Operand::from);
        }
    }
    None
}

fn reduce(graph: &mut Graph, id: NodeId, reduction: Reduction, along: Along, x: Operand) -> Option<Operand> {
    match along {
        Along::Last => {
            if graph.type_at(x).shape.last() == Some(&1) {
                return None;
            }
            // The sum of an elementwise product of vectors is their inner product.
            let product = *graph.op(x.node) == Op::Binary(Binary::Multiply)
                && x.access == Access::Here
                && reduction == Reduction::Sum
                && graph.users(x.node).len() == 1;
            if !product {
                return None;
            }
            let parts = graph.operands(x.node);
            let vectors = parts.iter().all(|&part| graph.type_at(part).shape.len() == 1);
            let constants = parts.iter().any(|&part| number(graph, part).is_some());
            let dot = Contract::parse("i,i->")?;
            (vectors && !constants).then(|| make(graph, id, Op::Contract(dot), &parts).map(Operand::from))?
        }
        Along::Axes(over) => {
            let source = graph.operands(x.node);
            if x.access != Access::Here {
                return None;
            }
            match graph.op(x.node).clone() {
                // Sums of sums are one sum.
                Op::Reduce(Reduction::Sum, Along::Axes(inner)) if reduction == Reduction::Sum => {
                    let all: AxisSet = over.union(inner);
                    make(graph, id, Op::Reduce(Reduction::Sum, Along::Axes(all)), &source).map(Operand::from)
                }
                Op::Unary(Unary::Negate) if reduction != Reduction::Max => {
                    let inner = make(graph, id, Op::Reduce(reduction, along), &source)?;
                    negate(graph, id, inner.into())
                }
                _ if is_number(graph, x, 0.0) => Some(zero_like(graph, id)),
                Op::Copy if is_number(graph, source[0], 0.0) => Some(zero_like(graph, id)),
                _ => None,
            }
        }
    }
}
