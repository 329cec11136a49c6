//! The embedded Reber grammar: between `B` and `E` a string of Reber's grammar, before and behind it the same
//! symbol, `T` or `P`, which has to be remembered over the string.
//!
//! Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), experiment 1; Reber,
//! "Implicit learning of artificial grammars" (1967). A string is right if at every step the symbols that may
//! come next are the most probable ones.

use super::draws::Draws;
use super::record::{Record, Value};

/// The symbols in the order of the alphabet, which is that of their ids.
const SYMBOLS: [&str; 7] = ["B", "E", "P", "S", "T", "V", "X"];
/// By state: symbols that may come, and the state behind each; there is none behind the last.
const GRAMMAR: [&[(&str, usize)]; 6] = [
    &[("T", 1), ("P", 2)],
    &[("S", 1), ("X", 3)],
    &[("T", 2), ("V", 4)],
    &[("X", 2), ("S", 5)],
    &[("P", 3), ("V", 5)],
    &[("E", 6)],
];

/// `text`: the string, `allowed`: at each of its places a 1 for every symbol that may stand there. Not longer than
/// `longest` symbols if one is found.
pub(super) fn example(draws: &mut Draws, longest: usize) -> Record {
    let mut found = string(draws);
    for _ in 0..100 {
        if found.0.len() <= longest {
            break;
        }
        found = string(draws);
    }
    let (symbols, allowed) = found;
    let row = |may: &Vec<&str>| {
        SYMBOLS.iter().map(|symbol| if may.contains(symbol) { 1.0 } else { 0.0 }).collect::<Vec<f64>>()
    };
    Record::new([
        ("text", Value::Text(symbols.join(" "))),
        ("allowed", Value::Rows(allowed.iter().map(row).collect())),
    ])
}

/// A string and what may stand at each of its places.
fn string(draws: &mut Draws) -> (Vec<&'static str>, Vec<Vec<&'static str>>) {
    let kept = draws.of(&["T", "P"]).unwrap_or("T");
    let mut symbols = vec!["B", kept, "B"];
    let mut allowed = vec![vec!["B"], vec!["P", "T"], vec!["B"]];
    let mut state = 0;
    while let Some(ways) = GRAMMAR.get(state) {
        allowed.push(ways.iter().map(|(symbol, _)| *symbol).collect());
        let Some((symbol, next)) = draws.of(ways) else { break };
        symbols.push(symbol);
        state = next;
    }
    symbols.extend([kept, "E"]);
    allowed.extend([vec![kept], vec!["E"]]);
    (symbols, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_of_the_grammar() {
        for number in 0..300 {
            let record = example(&mut Draws::new(2, number, 0), 60);
            let Some(Value::Rows(allowed)) = record.get("allowed") else { panic!("{record:?}") };
            let symbols: Vec<&str> = record.text("text").split(' ').collect();
            assert!((9..=60).contains(&symbols.len()) && symbols.len() == allowed.len());
            assert_eq!((symbols[0], symbols[1], symbols[2]), ("B", symbols[symbols.len() - 2], "B"));
            for (symbol, row) in symbols.iter().zip(allowed) {
                let id = SYMBOLS.iter().position(|known| known == symbol).unwrap();
                assert_eq!(row[id], 1.0);
                assert!((1.0..=2.0).contains(&row.iter().sum::<f64>()));
            }
        }
    }
}
