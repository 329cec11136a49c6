//! The work: recurrent cells at given shapes, for their hidden states or for their gradients.
//!
//! `lstm-train 64,32,256,256` is the LSTM on 32 sequences of 64 steps, 256 inputs wide, with 256 hidden units,
//! trained. The cells are the programs of `benches/`; nothing else is known of them than how many products
//! of a hidden state's width they take, which is what their operations are counted by.

use std::fmt;
use std::str::FromStr;

/// Values of all inputs and hidden states together.
const LARGEST: usize = 1 << 32;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The hidden states of every step.
    Infer,
    /// The sum of their squares, and the gradients of all parameters.
    Train,
}

/// How large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Time steps of every sequence.
    pub steps: usize,
    /// Sequences.
    pub batch: usize,
    /// Width of the input.
    pub input: usize,
    /// Width of the hidden state.
    pub hidden: usize,
}

impl Shape {
    /// Whether its values could be held at all: a program keeps a few vectors for each step.
    fn fits(&self) -> bool {
        let row = self.input.checked_add(self.hidden);
        let values =
            [self.steps, self.batch].into_iter().try_fold(row, |size, by| Some(size?.checked_mul(by)));
        values.flatten().is_some_and(|values| values <= LARGEST)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{}", self.steps, self.batch, self.input, self.hidden)
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        let number = |part: &str| part.trim().parse().ok().filter(|&number: &usize| number > 0);
        let numbers: Option<Vec<usize>> = text.split(',').map(number).collect();
        match numbers.as_deref() {
            Some(&[steps, batch, input, hidden]) => Ok(Shape { steps, batch, input, hidden }),
            _ => Err("a shape is four whole numbers above 0: T,B,I,H".to_string()),
        }
    }
}

/// A program of `benches/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its file, for messages.
    pub file: &'static str,
    /// Its text: one model with dimensions `I`, `H` and `B`, an input `x` over `t`, a value `h` and a loss.
    pub source: &'static str,
    /// How many products with the input and with the hidden state a step takes.
    gates: usize,
}

macro_rules! cell {
    ($file:literal, $gates:literal) => {
        Cell { file: $file, source: include_str!(concat!("../../../", $file)), gates: $gates }
    };
}

const LSTM: Cell = cell!("benches/lstm.rnn", 4);
const GRU: Cell = cell!("benches/gru.rnn", 3);
const RNN: Cell = cell!("benches/rnn.rnn", 1);
const LAYER_NORM_LSTM: Cell = cell!("benches/lnlstm.rnn", 4);
const PEEPHOLE_LSTM: Cell = cell!("benches/peephole.rnn", 4);

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name, which rows of other shapes share.
    pub name: &'static str,
    /// The program.
    pub cell: Cell,
    /// What of it is computed.
    pub form: Form,
    /// At which shape.
    pub shape: Shape,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.shape)
    }
}

impl Workload {
    /// Floating-point operations of its products; a gradient takes twice those of its program again.
    pub fn operations(&self) -> f64 {
        let Shape { steps, batch, input, hidden } = self.shape;
        let products = [2, steps, batch, self.cell.gates, hidden, input + hidden];
        let forward: f64 = products.iter().map(|&factor| factor as f64).product();
        match self.form {
            Form::Infer => forward,
            Form::Train => 3.0 * forward,
        }
    }
}

const fn row(name: &'static str, cell: Cell, form: Form, shape: [usize; 4]) -> Workload {
    let [steps, batch, input, hidden] = shape;
    Workload { name, cell, form, shape: Shape { steps, batch, input, hidden } }
}

/// All rows.
pub const WORKLOADS: &[Workload] = &[
    row("lstm-infer", LSTM, Form::Infer, [100, 1, 64, 64]),
    row("lstm-infer", LSTM, Form::Infer, [100, 1, 128, 128]),
    row("lstm-infer", LSTM, Form::Infer, [100, 1, 256, 256]),
    row("lstm-infer", LSTM, Form::Infer, [100, 1, 512, 512]),
    row("lstm-infer", LSTM, Form::Infer, [64, 32, 256, 256]),
    row("lstm-infer", LSTM, Form::Infer, [64, 64, 512, 512]),
    row("gru-infer", GRU, Form::Infer, [100, 1, 128, 128]),
    row("gru-infer", GRU, Form::Infer, [64, 32, 256, 256]),
    row("rnn-infer", RNN, Form::Infer, [100, 1, 128, 128]),
    row("lstm-train", LSTM, Form::Train, [64, 1, 128, 128]),
    row("lstm-train", LSTM, Form::Train, [64, 16, 64, 64]),
    row("lstm-train", LSTM, Form::Train, [64, 32, 128, 128]),
    row("lstm-train", LSTM, Form::Train, [64, 32, 256, 256]),
    row("lstm-train", LSTM, Form::Train, [64, 64, 512, 512]),
    row("gru-train", GRU, Form::Train, [64, 32, 256, 256]),
    row("rnn-train", RNN, Form::Train, [64, 32, 256, 256]),
    row("lnlstm-train", LAYER_NORM_LSTM, Form::Train, [64, 32, 256, 256]),
    row("peephole-train", PEEPHOLE_LSTM, Form::Train, [64, 32, 256, 256]),
];

/// Why no workload is chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// A name that none has.
    #[error("no workload is called `{name}`; there are {}", names.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        names: Vec<&'static str>,
    },
    /// A shape whose values no machine holds.
    #[error("the shape {0} is too large for memory")]
    TooLarge(Shape),
    /// A shape for several.
    #[error("a shape is for one workload, but {} are chosen: name one of them with --only", names.join(", "))]
    Several {
        /// The chosen ones.
        names: Vec<&'static str>,
    },
}

/// The rows of the name `only`, or without such a name of those that contain it; at `shape` once.
///
/// # Errors
/// There is none, or a shape is given and there are several names.
pub fn choose(only: Option<&str>, shape: Option<Shape>) -> Result<Vec<Workload>, ChoiceError> {
    let named = |chosen: &dyn Fn(&str) -> bool| -> Vec<Workload> {
        WORKLOADS.iter().filter(|row| chosen(row.name)).copied().collect()
    };
    let mut rows = match only {
        None => WORKLOADS.to_vec(),
        // `lstm-train` is also a part of `lnlstm-train`, and still a name of its own.
        Some(name) if WORKLOADS.iter().any(|row| row.name == name) => named(&|own| own == name),
        Some(part) => named(&|own| own.contains(part)),
    };
    if rows.is_empty() {
        let name = only.unwrap_or_default().to_string();
        return Err(ChoiceError::Unknown { name, names: names(WORKLOADS) });
    }
    if let Some(shape) = shape {
        let names = names(&rows);
        if names.len() > 1 {
            return Err(ChoiceError::Several { names });
        }
        if !shape.fits() {
            return Err(ChoiceError::TooLarge(shape));
        }
        rows.truncate(1);
        rows.iter_mut().for_each(|row| row.shape = shape);
    }
    Ok(rows)
}

fn names(rows: &[Workload]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = rows.iter().map(|row| row.name).collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_is_chosen_before_a_part() {
        let of = |only| names(&choose(Some(only), None).unwrap());
        assert_eq!(of("lstm-train"), ["lstm-train"]);
        assert_eq!(of("stm-train"), ["lstm-train", "lnlstm-train"]);
        assert_eq!(of("gru"), ["gru-infer", "gru-train"]);
        assert_eq!(choose(None, None).unwrap().len(), WORKLOADS.len());
        let error = choose(Some("tree"), None).unwrap_err().to_string();
        assert!(error.contains("`tree`") && error.contains("peephole-train"), "{error}");
    }

    #[test]
    fn a_shape_is_for_one_name() {
        let shape: Shape = "4, 2,3,5".parse().unwrap();
        let rows = choose(Some("lstm-infer"), Some(shape)).unwrap();
        assert_eq!((rows.len(), rows[0].shape), (1, shape));
        assert_eq!(rows[0].to_string(), "lstm-infer 4,2,3,5");
        assert_eq!(rows[0].operations(), (2 * 4 * 2 * 4 * 5 * 8) as f64);
        assert!(matches!(choose(Some("gru"), Some(shape)), Err(ChoiceError::Several { .. })));
        assert!(matches!(choose(None, Some(shape)), Err(ChoiceError::Several { .. })));
        for large in ["4294967295,4294967295,1,1", "65536,65536,1,1", "1,1,18446744073709551615,1"] {
            let found = choose(Some("lstm-infer"), Some(large.parse().unwrap()));
            assert!(matches!(found, Err(ChoiceError::TooLarge(_))), "{large}");
        }
        for wrong in ["", "1,2,3", "1,2,3,4,5", "0,1,1,1", "a,1,1,1", "-1,1,1,1"] {
            assert!(wrong.parse::<Shape>().is_err(), "{wrong}");
        }
    }
}
