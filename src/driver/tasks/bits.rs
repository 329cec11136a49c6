//! Copying bits: vectors of them are read one after the other, then a mark, and then they are written from memory.
//! Graves, Wayne and Danihelka, "Neural Turing machines" (2014), section 4.1.

use super::draws::Draws;
use super::record::{Record, Value};

/// Bits of a vector; one channel more is for the mark.
const BITS: usize = 5;

/// `x`: up to `longest` vectors, a mark, and blanks, as many; `y`: blanks, and the vectors where `x` has the blanks.
pub(super) fn example(draws: &mut Draws, longest: usize) -> Record {
    let count = draws.between(1, longest);
    let mut vector = |_| -> Vec<f64> { (0..BITS).map(|_| draws.below(2) as f64).chain([0.0]).collect() };
    let vectors: Vec<Vec<f64>> = (0..count).map(&mut vector).collect();
    let blank = vec![0.0; BITS + 1];
    let mark = vec![[vec![0.0; BITS], vec![1.0]].concat()];
    let blanks = |count: usize| vec![blank.clone(); count];
    let x = [vectors.clone(), mark, blanks(vectors.len())].concat();
    let y = [blanks(vectors.len() + 1), vectors].concat();
    Record::new([("x", Value::Rows(x)), ("y", Value::Rows(y))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_written() {
        for number in 0..100 {
            let record = example(&mut Draws::new(1, number, 0), 6);
            let (Some(Value::Rows(x)), Some(Value::Rows(y))) = (record.get("x"), record.get("y")) else {
                panic!("{record:?}");
            };
            let mark = x.iter().position(|row| row[BITS] == 1.0).unwrap();
            assert!((1..=6).contains(&mark) && x.len() == 2 * mark + 1 && y.len() == x.len());
            assert_eq!(x[..mark], y[mark + 1..]);
            assert!(x[mark + 1..].iter().chain(&y[..=mark]).flatten().all(|&bit| bit == 0.0));
        }
    }
}
