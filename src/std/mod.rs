//! The standard library: cells and layers written in the language, embedded in the binary.
//!
//! `LSTM(E, H)(x)` in a user's file means the cell of [`FILES`]' `lstm.rnn`, compiled like the
//! user's own text. A cell used as a value is its first state; a layer without state is its `y`.
//!
//! The compiler knows nothing of these cells: a file may define its own under the same name.

/// The files' names and texts, in the order of their parsing.
pub const FILES: &[(&str, &str)] = &[
    ("layers.rnn", include_str!("layers.rnn")),
    ("rnn.rnn", include_str!("rnn.rnn")),
    ("gru.rnn", include_str!("gru.rnn")),
    ("lstm.rnn", include_str!("lstm.rnn")),
    ("tree.rnn", include_str!("tree.rnn")),
];

#[cfg(test)]
mod tests {
    use super::FILES;
    use crate::syntax::ast::Item;
    use crate::syntax::parse;

    #[test]
    fn every_file_parses_and_names_are_unique() {
        let mut names = Vec::new();
        for (file, text) in FILES {
            for item in parse(text).unwrap_or_else(|errors| panic!("{file}: {errors:?}")).items {
                let Item::Cell(block) = item else { panic!("{file} holds more than cells") };
                assert!(!names.contains(&block.name.text), "{} is defined twice", block.name.text);
                names.push(block.name.text);
            }
        }
        assert_eq!(
            names.join(" "),
            "Dense LayerNorm Highway RNN GRU LSTM PeepholeLSTM CoupledLSTM LayerNormLSTM \
             RecursiveNN TreeLSTM ChildSumTreeLSTM TreeGRU TopDown"
        );
    }
}
