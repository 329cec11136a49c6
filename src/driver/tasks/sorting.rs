//! Sorting: digits in any order are given, the same in ascending order wanted.

use super::draws::Draws;
use super::record::{Record, Value};

/// `given` and `sorted`: up to `longest` digits.
pub(super) fn example(draws: &mut Draws, longest: usize) -> Record {
    let mut digits: Vec<usize> = (0..draws.between(1, longest)).map(|_| draws.below(10)).collect();
    let text = |digits: &[usize]| digits.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    let given = text(&digits);
    digits.sort_unstable();
    Record::new([("given", Value::Text(given)), ("sorted", Value::Text(text(&digits)))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_digits_in_order() {
        for number in 0..100 {
            let record = example(&mut Draws::new(1, number, 0), 10);
            let mut given: Vec<&str> = record.text("given").split(' ').collect();
            given.sort_unstable();
            assert_eq!(given.join(" "), record.text("sorted"));
        }
    }
}
