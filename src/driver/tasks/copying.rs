//! Copying: ten symbols, a stretch of blanks, a mark, and then the ten symbols again from memory.
//!
//! Hochreiter and Schmidhuber (1997), in the form of Arjovsky, Shah and Bengio, "Unitary evolution
//! recurrent neural networks", ICML 2016: eight symbols, and the mark is the last of the blanks.

use super::draws::Draws;
use super::record::{Record, Value};

/// How many symbols are to be kept, and out of which.
const KEPT: usize = 10;
const SYMBOLS: [&str; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];
const BLANK: &str = "-";
const MARK: &str = "?";

/// `given` and `wanted`, equally long: blanks are wanted until the mark has been seen.
pub(super) fn example(draws: &mut Draws, blanks: usize) -> Record {
    let symbols: Vec<&str> = (0..KEPT).filter_map(|_| draws.of(&SYMBOLS)).collect();
    let waiting = vec![BLANK; blanks.saturating_sub(1)];
    let given = [&symbols[..], &waiting, &[MARK], &[BLANK; KEPT]].concat().join(" ");
    let wanted = [&vec![BLANK; KEPT + waiting.len() + 1][..], &symbols].concat().join(" ");
    Record::new([("given", Value::Text(given)), ("wanted", Value::Text(wanted))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_what_was_given() {
        for blanks in [1, 2, 50] {
            let record = example(&mut Draws::new(1, 5, 0), blanks);
            let words =
                |name: &str| -> Vec<String> { record.text(name).split(' ').map(str::to_string).collect() };
            let (given, wanted) = (words("given"), words("wanted"));
            assert_eq!((given.len(), wanted.len()), (2 * KEPT + blanks, 2 * KEPT + blanks));
            assert_eq!(given[..KEPT], wanted[KEPT + blanks..]);
            assert_eq!(given.iter().position(|word| word == MARK), Some(KEPT + blanks - 1));
            assert!(wanted[..KEPT + blanks].iter().all(|word| word == BLANK));
        }
    }
}
