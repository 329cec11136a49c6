//! The parity of vectors that are seen at once: some numbers of a vector are 1 or -1, the others 0; is the number of ones
//! odd? Graves, "Adaptive computation time for recurrent neural networks" (2016), section 3.1, with several vectors in
//! an example.

use super::draws::Draws;
use super::record::{Record, Value};

/// Vectors of an example.
const STEPS: usize = 4;

/// `x`: vectors of so many numbers, `odd`: 1 or 0 for each.
pub(super) fn example(draws: &mut Draws, size: usize) -> Record {
    let mut vector = |_| -> Vec<f64> {
        let used = draws.between(1, size);
        let number = |at: usize| if at < used { 2.0 * draws.below(2) as f64 - 1.0 } else { 0.0 };
        (0..size).map(number).collect()
    };
    let vectors: Vec<Vec<f64>> = (0..STEPS).map(&mut vector).collect();
    let ones = |vector: &Vec<f64>| vector.iter().filter(|&&number| number == 1.0).count();
    let odd: Vec<String> = vectors.iter().map(|vector| (ones(vector) % 2).to_string()).collect();
    Record::new([("x", Value::Rows(vectors)), ("odd", Value::Text(odd.join(" ")))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_are_counted() {
        for number in 0..100 {
            let record = example(&mut Draws::new(1, number, 0), 8);
            let Some(Value::Rows(x)) = record.get("x") else { panic!("{record:?}") };
            let odd: Vec<&str> = record.text("odd").split(' ').collect();
            assert!(x.len() == STEPS && odd.len() == STEPS && x.iter().all(|row| row.len() == 8));
            for (row, odd) in x.iter().zip(odd) {
                let sum: f64 = row.iter().sum();
                let used = row.iter().filter(|number| **number != 0.0).count() as f64;
                assert_eq!(((used + sum) / 2.0) as usize % 2, usize::from(odd == "1"));
            }
        }
    }
}
