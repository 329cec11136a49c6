//! The table of local derivatives in words, for whoever asks why an adjoint is what it is.
//!
//! `y = tanh(x)` has the rule `dx = (1 - y^2) * dy`: `y` is the result, `dy` its adjoint, `a`, `b` and `x` are
//! operands. The table itself is in `rules`; a test reads both.

use crate::ir::{Access, Along, Binary, Op, Reduction, Unary};

/// The rule by which the adjoint of a node of this operation reaches its operand `index`.
pub fn rule(op: &Op, index: usize) -> &'static str {
    let first = index == 0;
    match op {
        Op::Input(_) | Op::Param(_) | Op::Constant(_) | Op::Position(_) => "nothing flows into what is given",
        Op::Length(_) | Op::Count(_) | Op::Setting(_) | Op::NoId | Op::Random(_) => {
            "nothing flows into what is given"
        }
        Op::Unary(unary) => of_unary(*unary),
        Op::Binary(binary) => of_binary(*binary, first),
        Op::Select if first => "y = where(c, a, b): a condition has no derivative",
        Op::Select if index == 1 => "y = where(c, a, b): da = where(c, dy, 0)",
        Op::Select => "y = where(c, a, b): db = where(c, 0, dy)",
        Op::OneHot(_) | Op::ArgMax => "an id has no derivative",
        Op::Gather if first => "y = table[i]: row i of the table's adjoint gets dy",
        Op::Gather => "y = table[i]: an id has no derivative",
        Op::Slice { .. } => "y = x[from:to]: dx is dy there, and zero elsewhere",
        Op::Concat { .. } => "y = [a, b]: each part gets its part of dy",
        Op::Contract(contract) => match (&contract.left[..], &contract.right[..], &contract.out[..], first) {
            ([_, j], [k], [_], true) if j == k => "y = W @ x: dW = outer(dy, x)",
            ([_, j], [k], [_], false) if j == k => "y = W @ x: dx = W.T @ dy",
            ([_], [_], [], true) => "y = dot(a, b): da = dy * b",
            ([_], [_], [], false) => "y = dot(a, b): db = dy * a",
            ([_], [_], [_, _], true) => "y = outer(a, b): da = dy @ b",
            ([_], [_], [_, _], false) => "y = outer(a, b): db = dy.T @ a",
            (_, _, _, true) => "y is a sum of products a * b: da is that of dy * b",
            (_, _, _, false) => "y is a sum of products a * b: db is that of a * dy",
        },
        Op::Reduce(Reduction::Sum, _) => "y = sum(x): every x gets dy",
        Op::Reduce(Reduction::Mean, _) => "y = mean(x): every x gets its share dy / n",
        Op::Reduce(Reduction::Max, _) => "y = max(x): the largest x gets dy (shared if there are several)",
        Op::Softmax(Along::Last) => "y = softmax(x): dx = y * (dy - sum(y * dy))",
        Op::Softmax(Along::Axes(_)) => "y = softmax(x over t): dx = y * (dy - sum(y * dy over t))",
        Op::LogSumExp => "y = logsumexp(x): dx = softmax(x) * dy",
        Op::Initially if first => "y = initially(x[t-1], start): x gets dy wherever it was read",
        Op::Initially => "y = initially(x[t-1], start): the start gets dy where there was nothing to read",
        Op::Copy => "y = x: dx = dy, summed over the positions that read the same x",
        Op::Stop => "y = stop(x): nothing flows through a stop",
    }
}

fn of_unary(unary: Unary) -> &'static str {
    match unary {
        Unary::Negate => "y = -x: dx = -dy",
        Unary::Exp => "y = exp(x): dx = y * dy",
        Unary::Log => "y = log(x): dx = dy / x",
        Unary::Sqrt => "y = sqrt(x): dx = dy / (2 * y)",
        Unary::Tanh => "y = tanh(x): dx = (1 - y^2) * dy",
        Unary::Sigmoid => "y = sigmoid(x): dx = y * (1 - y) * dy",
        Unary::Relu => "y = relu(x): dx = dy where x > 0, else 0",
        Unary::Softplus => "y = softplus(x): dx = sigmoid(x) * dy",
        Unary::Abs => "y = abs(x): dx = sign(x) * dy",
        Unary::Sign | Unary::Floor => "a step has no derivative",
        Unary::Sin => "y = sin(x): dx = cos(x) * dy",
        Unary::Cos => "y = cos(x): dx = -sin(x) * dy",
    }
}

fn of_binary(binary: Binary, first: bool) -> &'static str {
    match (binary, first) {
        (Binary::Add, _) => "y = a + b: a sum passes dy on to each of its terms",
        (Binary::Subtract, true) => "y = a - b: da = dy",
        (Binary::Subtract, false) => "y = a - b: db = -dy",
        (Binary::Multiply, true) => "y = a * b: da = dy * b",
        (Binary::Multiply, false) => "y = a * b: db = dy * a",
        (Binary::Divide, true) => "y = a / b: da = dy / b",
        (Binary::Divide, false) => "y = a / b: db = -dy * y / b",
        (Binary::Power, true) => "y = a^b: da = b * a^(b - 1) * dy",
        (Binary::Power, false) => "y = a^b: db = y * log(a) * dy",
        (Binary::Max, _) => "y = max(a, b): the larger gets dy",
        (Binary::Min, _) => "y = min(a, b): the smaller gets dy",
        (Binary::Equal | Binary::NotEqual | Binary::Less, _) => "a comparison has no derivative",
        (Binary::LessEqual | Binary::Greater | Binary::GreaterEqual, _) => "a comparison has no derivative",
    }
}

/// How a term travels back to a value that its reader read at another position; empty where it stays.
pub fn travel(access: Access) -> &'static str {
    match access {
        Access::Here => "",
        Access::Delay { .. } => "it was read one or more steps later, so its adjoint comes from there",
        Access::Advance { .. } => "it was read one or more steps earlier, so its adjoint comes from there",
        Access::First(_) => "only the first position was read: the others get nothing",
        Access::Last(_) => "only the last position was read: the others get nothing",
        Access::Nth { .. } | Access::Child { .. } => {
            "it was read by the parent, so its adjoint comes from there"
        }
        Access::NthOf { .. } | Access::Parent(_) | Access::Edge { .. } => {
            "it was read by the children, so its adjoint is summed over them"
        }
        Access::AtNode { .. } | Access::AtLeaf { .. } => "leaf and node are the same place",
    }
}
