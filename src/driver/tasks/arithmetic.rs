//! Random arithmetic as trees with known answers: data for examples and tests that need no file from elsewhere.
//!
//! ```
//! use rnnc::driver::tasks::arithmetic::expression;
//! assert_eq!(expression(1, 2, 3), "(4 + (6 6) (8 - (7 7) (9 9)))");
//! ```
//!
//! Digits at the leaves, `+`, `-` or `*` above two operands, and every node labelled by its value modulo 10: `7 - 9`
//! is 8. The expressions of a seed do not depend on how many are asked for.

use super::draws::Draws;

/// Answers are taken modulo this.
pub const MODULUS: u32 = 10;

const OPERATORS: [&str; 3] = ["+", "-", "*"];
const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// Expression `number` of a seed as a line without its end, with 1 to `most` operators.
pub fn expression(seed: u64, number: u64, most: usize) -> String {
    let mut draws = Draws::new(seed, number, 0xA217);
    // Words in the order of the text: an operator before its operands.
    let mut words: Vec<(&str, bool)> = Vec::new();
    let mut open = vec![1 + draws.below(most.max(1))];
    while let Some(operators) = open.pop() {
        if operators == 0 {
            words.push((DIGITS[draws.below(DIGITS.len())], true));
            continue;
        }
        words.push((OPERATORS[draws.below(OPERATORS.len())], false));
        let left = draws.below(operators);
        open.extend([operators - 1 - left, left]);
    }
    text(&words, &values(&words))
}

/// The value of every word's expression.
fn values(words: &[(&str, bool)]) -> Vec<u32> {
    let mut values = vec![0; words.len()];
    let mut waiting: Vec<u32> = Vec::new();
    for (at, (word, _)) in words.iter().enumerate().rev() {
        let mut operands = || (waiting.pop().unwrap_or(0), waiting.pop().unwrap_or(0));
        let value = match *word {
            "+" => {
                let (left, right) = operands();
                left + right
            }
            "-" => {
                let (left, right) = operands();
                left + MODULUS - right
            }
            "*" => {
                let (left, right) = operands();
                left * right
            }
            digit => digit.parse().unwrap_or(0),
        } % MODULUS;
        values[at] = value;
        waiting.push(value);
    }
    values
}

fn text(words: &[(&str, bool)], values: &[u32]) -> String {
    let mut text = String::new();
    // Operands that each open parenthesis still waits for.
    let mut open: Vec<usize> = Vec::new();
    for ((word, leaf), value) in words.iter().zip(values) {
        let blank = if text.is_empty() { "" } else { " " };
        text += &format!("{blank}({value} {word}");
        open.push(if *leaf { 0 } else { 2 });
        while open.last() == Some(&0) {
            text.push(')');
            open.pop();
            if let Some(above) = open.last_mut() {
                *above -= 1;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::treebank::parse;

    #[test]
    fn answers_are_right() {
        for number in 0..500 {
            let line = expression(7, number, 12);
            let parsed = &parse(&line).unwrap()[0];
            let value = |node: usize| parsed.nodes[node].label.unwrap().text.parse::<i64>().unwrap();
            assert!((3..=25).contains(&parsed.nodes.len()), "{line}");
            for (node, own) in parsed.nodes.iter().enumerate() {
                let operand = |at| value(parsed.tree.child(node, at).unwrap());
                let word = own.word.unwrap().text;
                let expected = match (word, parsed.tree.arity(node)) {
                    ("+", 2) => operand(0) + operand(1),
                    ("-", 2) => operand(0) - operand(1),
                    ("*", 2) => operand(0) * operand(1),
                    (digit, 0) => digit.parse().unwrap(),
                    other => panic!("{other:?} in {line}"),
                };
                assert_eq!(value(node), expected.rem_euclid(i64::from(MODULUS)), "{line}");
            }
        }
    }

    #[test]
    fn seeds_differ_and_sizes_are_any() {
        let all = |seed| (0..20).map(|number| expression(seed, number, 5)).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        assert_ne!(all(1), all(1 << 32));
        let sizes: std::collections::BTreeSet<usize> =
            (0..200).map(|number| expression(3, number, 4).matches('(').count()).collect();
        assert_eq!(sizes, [3, 5, 7, 9].into());
        assert!(expression(1, 0, 20_000).len() > 1000);
    }
}
