//! Dyck brackets: balanced brackets of two kinds, nested to a given depth at most; the answer at every place is
//! the innermost bracket that is open, as a stack would have it.
//!
//! Hewitt, Hahn, Ganguli, Liang and Manning, "RNNs can generate bounded hierarchical languages with optimal
//! memory", EMNLP 2020.

use super::draws::Draws;
use super::record::{Record, Value};

const OPEN: [&str; 2] = ["(", "["];
const CLOSE: [&str; 2] = [")", "]"];
const NONE: &str = ".";

/// `text`: up to `longest` brackets, `top`: the open one behind each, or `.`.
pub(super) fn example(draws: &mut Draws, longest: usize, depth: usize) -> Record {
    let length = 2 * draws.between(1, (longest / 2).max(1));
    let mut stack: Vec<usize> = Vec::new();
    let (mut text, mut top) = (Vec::new(), Vec::new());
    for place in 0..length {
        // What is open must be closed by the end.
        let may_open = stack.len() < depth && stack.len() < length - place;
        match stack.last() {
            Some(&kind) if !may_open || draws.below(2) == 0 => {
                stack.pop();
                text.push(CLOSE[kind]);
            }
            _ => {
                let kind = draws.below(OPEN.len());
                stack.push(kind);
                text.push(OPEN[kind]);
            }
        }
        top.push(stack.last().map_or(NONE, |&kind| OPEN[kind]));
    }
    Record::new([("text", Value::Text(text.join(" "))), ("top", Value::Text(top.join(" ")))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_balanced() {
        let mut deepest = 0;
        for number in 0..300 {
            let record = example(&mut Draws::new(4, number, 0), 64, 8);
            let mut stack = Vec::new();
            for (bracket, top) in record.text("text").split(' ').zip(record.text("top").split(' ')) {
                match CLOSE.iter().position(|close| *close == bracket) {
                    Some(kind) => assert_eq!(stack.pop(), Some(OPEN[kind])),
                    None => stack.push(bracket),
                }
                deepest = deepest.max(stack.len());
                assert_eq!(stack.last().copied().unwrap_or(NONE), top);
            }
            assert!(stack.is_empty(), "{record:?}");
        }
        assert_eq!(deepest, 8);
    }
}
