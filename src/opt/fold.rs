//! Constant folding: arithmetic on numbers known now is done now.
//!
//! Before `x^(2 - 1)`; after `x^1` (which `simplify` makes `x`).

use super::rewrite::{constant, exhaust, fit, number};
use crate::ir::{Along, Binary, Graph, NodeId, Op, Operand, Reduction, Unary};

pub(super) fn run(graph: &mut Graph) -> bool {
    exhaust(graph, fold)
}

fn fold(graph: &mut Graph, id: NodeId) -> Option<Operand> {
    let operands = graph.operands(id);
    if operands.is_empty() {
        return None;
    }
    let numbers: Option<Vec<f64>> = operands.iter().map(|&operand| number(graph, operand)).collect();
    let numbers = numbers?;
    let shape = graph.ty(id).shape.clone();
    let value = match graph.op(id) {
        Op::Unary(unary) => self::unary(*unary, numbers[0]),
        Op::Binary(binary) => self::binary(*binary, numbers[0], numbers[1]),
        Op::Select => {
            if numbers[0] != 0.0 {
                numbers[1]
            } else {
                numbers[2]
            }
        }
        Op::Reduce(reduction, Along::Last) => {
            let size = graph.type_at(operands[0]).shape.last().copied().unwrap_or(1) as f64;
            if *reduction == Reduction::Sum { numbers[0] * size } else { numbers[0] }
        }
        Op::Slice { .. } => numbers[0],
        Op::Concat { .. } if numbers.iter().all(|number| number.to_bits() == numbers[0].to_bits()) => {
            numbers[0]
        }
        _ => return None,
    };
    let folded = constant(graph, id, value, &shape);
    fit(graph, folded.into(), id)
}

fn unary(unary: Unary, x: f64) -> f64 {
    match unary {
        Unary::Negate => -x,
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Relu => {
            if x > 0.0 {
                x
            } else {
                0.0 * x
            }
        }
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Abs => x.abs(),
        Unary::Sign => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        Unary::Floor => x.floor(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
    }
}

fn binary(binary: Binary, a: f64, b: f64) -> f64 {
    let truth = |condition: bool| if condition { 1.0 } else { 0.0 };
    match binary {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        Binary::Power => a.powf(b),
        Binary::Min if a.is_nan() || b.is_nan() => f64::NAN,
        Binary::Max if a.is_nan() || b.is_nan() => f64::NAN,
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        Binary::Equal => truth(a == b),
        Binary::NotEqual => truth(a != b),
        Binary::Less => truth(a < b),
        Binary::LessEqual => truth(a <= b),
        Binary::Greater => truth(a > b),
        Binary::GreaterEqual => truth(a >= b),
    }
}
