//! The arithmetic of single operations on plain slices: elementwise functions, sums of products,
//! softmax, slices and concatenations.
//!
//! `contract(ij,j->i, [2, 3], W, [3], x)` is `W @ x`. It knows no axes and no graph.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::ir::{Binary, Contract, Reduction, Unary};

/// Products between two looks at whether somebody asked for the end.
const PATIENCE: usize = 1 << 20;

/// An elementwise function of one number.
pub(super) fn unary(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Negate => -x,
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Relu => larger(x, 0.0),
        // exp(x) overflows long before log(1 + exp(x)) does.
        Unary::Softplus => larger(x, 0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Abs => x.abs(),
        // `signum` of zero is one.
        Unary::Sign if x == 0.0 => 0.0,
        Unary::Sign => x.signum(),
        Unary::Floor => x.floor(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
    }
}

/// An elementwise function of two numbers.
pub(super) fn binary(op: Binary, a: f64, b: f64) -> f64 {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match op {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        Binary::Power => a.powf(b),
        Binary::Min => smaller(a, b),
        Binary::Max => larger(a, b),
        Binary::Equal => truth(a == b),
        Binary::NotEqual => truth(a != b),
        Binary::Less => truth(a < b),
        Binary::LessEqual => truth(a <= b),
        Binary::Greater => truth(a > b),
        Binary::GreaterEqual => truth(a >= b),
    }
}

/// A comparison of two ids; none equals none and is before all others. Other operations take no ids.
pub(super) fn compare(op: Binary, a: Option<u32>, b: Option<u32>) -> f64 {
    match (op, a, b) {
        // No id has no place in the order, but is the same as no id.
        (Binary::Equal, ..) => f64::from(u8::from(a == b)),
        (Binary::NotEqual, ..) => f64::from(u8::from(a != b)),
        (_, Some(a), Some(b)) => binary(op, f64::from(a), f64::from(b)),
        _ => 0.0,
    }
}

/// The larger number; not a number if either is not (`f64::max` would drop it).
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

/// The element of an operand for element `at` of the result: a scalar stands for all.
pub(super) fn stretched(x: &[f64], shape: &[usize], at: usize) -> f64 {
    if shape.is_empty() { x[0] } else { x[at] }
}

/// Where the largest number is: the first of several equal ones. `None` of nothing.
pub(super) fn argmax(x: &[f64]) -> Option<u32> {
    let mut best = 0;
    for (at, number) in x.iter().enumerate() {
        if *number > x[best] {
            best = at;
        }
    }
    if x.is_empty() { None } else { u32::try_from(best).ok() }
}

/// Numbers combined to one.
pub(super) fn reduce(reduction: Reduction, numbers: &[f64]) -> f64 {
    let Some((&first, rest)) = numbers.split_first() else { return 0.0 };
    match reduction {
        Reduction::Sum => numbers.iter().sum(),
        Reduction::Mean => numbers.iter().sum::<f64>() / numbers.len() as f64,
        Reduction::Max => rest.iter().fold(first, |largest, &x| larger(largest, x)),
    }
}

/// exp(x) over its sum; the largest is subtracted first so that nothing overflows.
pub(super) fn softmax(numbers: &[f64]) -> Vec<f64> {
    let largest = reduce(Reduction::Max, numbers);
    let powers: Vec<f64> = numbers.iter().map(|x| (x - largest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

/// log of the sum of exponentials; negative infinity of nothing.
pub(super) fn log_sum_exp(numbers: &[f64]) -> f64 {
    let largest = reduce(Reduction::Max, numbers);
    if largest.is_infinite() {
        return largest;
    }
    largest + numbers.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
}

/// The product of an Einstein sum at one position, added to `total`; false if `stop` was no longer 0 on the way.
pub(super) fn contract(
    contract: &Contract,
    left: (&[usize], &[f64]),
    right: (&[usize], &[f64]),
    total: &mut [f64],
    stop: Option<&AtomicU32>,
) -> bool {
    // Every label once, with its size and how far it moves in each operand and in the result.
    let mut labels: Vec<(usize, [usize; 3])> = Vec::new();
    let out_shape: Vec<usize> =
        contract.out.iter().map(|label| size(contract, *label, left.0, right.0)).collect();
    let mut seen: Vec<u8> = Vec::new();
    for &label in contract.left.iter().chain(&contract.right) {
        if !seen.contains(&label) {
            seen.push(label);
            let strides = [
                stride(&contract.left, left.0, label),
                stride(&contract.right, right.0, label),
                stride(&contract.out, &out_shape, label),
            ];
            labels.push((size(contract, label, left.0, right.0), strides));
        }
    }
    let terms: usize = labels.iter().map(|(size, _)| size).product();
    for term in 0..terms {
        if term % PATIENCE == PATIENCE - 1 && stop.is_some_and(|stop| stop.load(Ordering::Relaxed) != 0) {
            return false;
        }
        let mut rest = term;
        let mut at = [0; 3];
        for (size, strides) in labels.iter().rev() {
            for (place, stride) in at.iter_mut().zip(strides) {
                *place += rest % size * stride;
            }
            rest /= size;
        }
        total[at[2]] += left.1[at[0]] * right.1[at[1]];
    }
    true
}

fn size(contract: &Contract, label: u8, left: &[usize], right: &[usize]) -> usize {
    let on_left = contract.left.iter().position(|&l| l == label).map(|at| left[at]);
    let on_right = contract.right.iter().position(|&l| l == label).map(|at| right[at]);
    on_left.or(on_right).unwrap_or(1)
}

fn stride(labels: &[u8], shape: &[usize], label: u8) -> usize {
    labels.iter().position(|&l| l == label).map_or(0, |at| shape[at + 1..].iter().product())
}

/// `len` elements of dimension `dim` from `start`.
pub(super) fn slice(x: &[f64], shape: &[usize], dim: usize, start: usize, len: usize) -> Vec<f64> {
    let inner: usize = shape[dim + 1..].iter().product();
    let outer: usize = shape[..dim].iter().product();
    let mut found = Vec::with_capacity(outer * len * inner);
    for block in 0..outer {
        let from = (block * shape[dim] + start) * inner;
        found.extend_from_slice(&x[from..from + len * inner]);
    }
    found
}

/// Arrays joined along dimension `dim`.
pub(super) fn concat(parts: &[(&[usize], &[f64])], dim: usize) -> Vec<f64> {
    let Some((first, _)) = parts.first() else { return Vec::new() };
    let outer: usize = first[..dim].iter().product();
    let mut found = Vec::new();
    for block in 0..outer {
        for (shape, x) in parts {
            let chunk: usize = shape[dim..].iter().product();
            found.extend_from_slice(&x[block * chunk..(block + 1) * chunk]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contractions_of_every_kind() {
        let product = |spec: &str, left: (&[usize], &[f64]), right: (&[usize], &[f64]), size: usize| {
            let mut total = vec![0.0; size];
            contract(&Contract::parse(spec).unwrap(), left, right, &mut total, None);
            total
        };
        let matrix = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let w: (&[usize], &[f64]) = (&[2, 3], &matrix);
        assert_eq!(product("ij,j->i", w, (&[3], &[1.0, 0.0, 2.0]), 2), [7.0, 16.0]);
        assert_eq!(product("ij,i->j", w, (&[2], &[1.0, 10.0]), 3), [41.0, 52.0, 63.0]);
        assert_eq!(product("i,j->ij", (&[2], &[1.0, 2.0]), (&[2], &[3.0, 4.0]), 4), [3.0, 4.0, 6.0, 8.0]);
        assert_eq!(product("i,i->", (&[2], &[1.0, 2.0]), (&[2], &[3.0, 4.0]), 1), [11.0]);
        assert_eq!(product("ij,kj->ki", w, (&[1, 3], &[1.0, 1.0, 1.0]), 2), [6.0, 15.0]);
        assert_eq!(product("ij,j->ji", w, (&[3], &[1.0, 2.0, 3.0]), 6), [1.0, 4.0, 4.0, 10.0, 9.0, 18.0]);
    }

    #[test]
    fn slices_and_concatenations_of_an_inner_dimension() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let part = slice(&x, &[2, 3], 1, 1, 2);
        assert_eq!(part, [2.0, 3.0, 5.0, 6.0]);
        let whole = concat(&[(&[2, 1], &[1.0, 4.0]), (&[2, 2], &part)], 1);
        assert_eq!(whole, x);
        assert_eq!(concat(&[(&[1, 3], &x[..3]), (&[1, 3], &x[3..])], 0), x);
    }

    #[test]
    fn extremes() {
        assert!(binary(Binary::Max, 1.0, f64::NAN).is_nan() && binary(Binary::Min, f64::NAN, 1.0).is_nan());
        assert_eq!(softmax(&[1000.0, 1000.0]), [0.5, 0.5]);
        assert_eq!(log_sum_exp(&[-1000.0]), -1000.0);
        assert_eq!(unary(Unary::Softplus, 800.0), 800.0);
        assert_eq!(unary(Unary::Sign, -0.0), 0.0);
        assert_eq!(compare(Binary::Equal, None, None), 1.0);
        assert_eq!(reduce(Reduction::Max, &[]), 0.0);
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
    }
}
