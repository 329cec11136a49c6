//! `:help`: everything there is, and more about one thing.

use super::command::COMMANDS;
use super::definitions::nearest;
use super::{Done, Failure};

const LITERALS: &str = "\
At the prompt values are written in the language's own notation, and with these:

  [1, 2, 3]                           a vector
  rows([1, 2], [3, 4])                a matrix
  seq(1, 2, 4 over t)                 a sequence of three numbers (`over t` may be left out)
  seq([1, 2], [3, 4] over s)          a sequence of two vectors along `s`
  tree(1, tree(2, 3, 4), 5 over n)    a value for each node: the node's own, then its children
  leaves(1, leaves(2, 3) over n)      a value for each leaf of a tree
  ids(65, 3, 1, 4)                    ids below 65: a sequence, one id, or those of another literal
  text(\"hello\")                       the ids of characters
  normal([3, 4]), uniform([3], 0.5)   random arrays (also glorot, orthogonal)
  normal([3] over t, 7)               a random sequence of seven vectors
  LSTM(3, 4)(x)                       a cell applied; `enc = LSTM(3, 4)(x)` keeps `enc.h` and `enc.c`
  M.h, M.dh                           a value or an adjoint of the model M on its example
";

const DATA: &str = "\
A model is looked at with one example. Without a word it is random, of a few positions along each axis.

  :data M with x = seq(1, 2, 4), y = 3   given; inputs that are left out are random
  :data M from alice.txt line 7          a line of a text, character by character
  :data M from data.npz line 2           an example of an archive
  :data M random steps 12                random, of twelve positions

The same words stand behind `:trace`, `:flow` and `:train`; the example is kept until another is given.
";

/// The text of `:help`.
pub(super) fn help(about: Option<&str>) -> Done {
    let about = about.map(|about| about.trim().trim_start_matches(':'));
    match about {
        None | Some("") => Ok(overview()),
        Some("literals") => Ok(LITERALS.to_string()),
        Some("data") if COMMANDS.iter().all(|entry| entry.word != "data") => Ok(DATA.to_string()),
        Some(word) => match COMMANDS.iter().find(|entry| entry.word == word) {
            Some(entry) => {
                let data = if entry.word == "data" { format!("\n{DATA}") } else { String::new() };
                Ok(format!(":{} {}\n{}\n\n{}\n{data}", entry.word, entry.usage, entry.about, entry.more)
                    .replace(" \n", "\n"))
            }
            None => {
                let words = COMMANDS.iter().map(|entry| entry.word).chain(["literals"]);
                let near = nearest(word, words);
                let near = near.map_or(String::new(), |near| format!(": did you mean `:help {near}`?"));
                Err(Failure::new(format!("there is no help about `{word}`{near}")))
            }
        },
    }
}

fn overview() -> String {
    let width = COMMANDS.iter().map(|entry| entry.word.len()).max().unwrap_or(0) + 1;
    let mut text = String::from(
        "Write a definition (cell, model, fn), a value (`x = normal([3, 4])`), or an expression to see its value.\n\
         `:help literals` says how sequences and trees are written, `:help grad` more about a command.\n\n",
    );
    for entry in COMMANDS {
        text += &format!("  {:width$}  {}\n", format!(":{}", entry.word), entry.about);
    }
    text
}
