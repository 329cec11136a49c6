//! Parity: whether a sequence of bits has an odd number of ones. Every bit matters, and no part of them says
//! anything of the whole (Minsky and Papert, *Perceptrons*, 1969).

use super::draws::Draws;
use super::record::{Record, Value};

/// `bits`: up to `longest` of them, `odd`: 1 or 0.
pub(super) fn example(draws: &mut Draws, longest: usize) -> Record {
    let bits: Vec<usize> = (0..draws.between(1, longest)).map(|_| draws.below(2)).collect();
    let odd = bits.iter().sum::<usize>() % 2;
    let text: Vec<String> = bits.iter().map(usize::to_string).collect();
    Record::new([("bits", Value::Text(text.join(" "))), ("odd", Value::Text(odd.to_string()))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_is_odd() {
        for number in 0..100 {
            let record = example(&mut Draws::new(1, number, 0), 20);
            let ones = record.text("bits").matches('1').count();
            assert_eq!(record.text("odd"), (ones % 2).to_string());
        }
    }
}
