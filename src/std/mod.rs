//! The standard library: cells, layers and metrics written in the language, embedded in the binary.
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
    ("light.rnn", include_str!("light.rnn")),
    ("attention.rnn", include_str!("attention.rnn")),
    ("memory.rnn", include_str!("memory.rnn")),
    ("metrics.rnn", include_str!("metrics.rnn")),
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
                let name = match item {
                    Item::Cell(block) => block.name.text,
                    Item::Function(function) => function.name.text,
                    Item::Model(_) => panic!("{file} holds a model"),
                };
                assert!(!names.contains(&name), "{name} is defined twice");
                names.push(name);
            }
        }
        assert_eq!(
            names.join(" "),
            "Dense LayerNorm Highway DeepOutput BatchNorm RNN SigmoidRNN ReluRNN IndRNN Clockwork DeepTransition \
             GRU ResetAfterGRU MinimalGRU LayerNormGRU \
             LSTM PeepholeLSTM CoupledLSTM LayerNormLSTM ProjectedLSTM sLSTM SRU QRNN \
             AdditiveAttention DotAttention MultiHeadAttention Pointer Head NTM PonderStep ACT \
             accuracy perplexity precision recall f1 absolute_error root_mean_square r_squared \
             RecursiveNN TreeLSTM ChildSumTreeLSTM TreeGRU TopDown"
        );
    }
}
