//! The adding problem: of a long sequence two numbers are marked; the answer is their sum.
//!
//! Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), experiment 4, in the
//! form of Le, Jaitly and Hinton, "A simple way to initialize recurrent networks of rectified linear units" (2015):
//! numbers are uniform in 0 to 1, one mark is in each half. Guessing 1 always has a mean squared error of 1/6.

use super::draws::Draws;
use super::record::{Record, Value};

/// `x`: numbers with their marks, `sum`: the answer.
pub(super) fn example(draws: &mut Draws, length: usize) -> Record {
    let half = length / 2;
    let marked = [draws.below(half.max(1)), half + draws.below(length - half)];
    // Four places: what is written is what is added.
    let numbers: Vec<f64> = (0..length).map(|_| (draws.real(0.0, 1.0) * 1e4).round() / 1e4).collect();
    let mark = |at: usize| if marked.contains(&at) { 1.0 } else { 0.0 };
    let rows = numbers.iter().enumerate().map(|(at, &number)| vec![number, mark(at)]).collect();
    let sum = marked.iter().map(|&at| numbers.get(at).copied().unwrap_or(0.0)).sum::<f64>();
    Record::new([("x", Value::Rows(rows)), ("sum", Value::Number((sum * 1e4).round() / 1e4))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_what_is_marked() {
        for number in 0..200 {
            let record = example(&mut Draws::new(3, number, 0), 2 + number as usize % 9);
            let (Some(Value::Rows(rows)), Some(Value::Number(sum))) = (record.get("x"), record.get("sum"))
            else {
                panic!("{record:?}");
            };
            assert_eq!(rows.iter().map(|row| row[1]).sum::<f64>(), 2.0);
            let expected: f64 = rows.iter().map(|row| row[0] * row[1]).sum();
            assert!((expected - sum).abs() < 1e-9);
        }
    }
}
