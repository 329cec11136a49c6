//! The oracle: what a graph means, computed slowly and obviously in f64.
//!
//! It walks the graph in the order of its schedule, one position after the other, and keeps the
//! value of every node at every position. Every backend and every derivative is held against it.
//!
//! - `feeds`: what a program is given; `storage`: the values it has computed
//! - `driver`: the walk; `apply`: one operation at one position; `arithmetic`: the sums in it
//! - `fault`: where a value first is no number
//! - `random`: the counter-based generator; `difference`: derivatives by central differences
//!
//! It does not pack rows, reuse memory or run in parallel, and it changes nothing in the graph.

mod apply;
mod arithmetic;
mod difference;
mod driver;
mod fault;
mod feeds;
mod random;
mod storage;

use thiserror::Error;

use crate::ir::ScheduleError;

pub use difference::{Derivative, DifferenceOptions, Weighted, difference, objective, worst_errors};
pub use driver::{Program, evaluate};
pub use fault::Fault;
pub use feeds::{Feeds, InputData};
pub use storage::{Elements, Padded, Value, Values};

/// Why a graph has no values.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum EvalError {
    /// The graph breaks an invariant; the verifier's complaints.
    #[error("the graph is not well formed: {}", .0.join("; "))]
    Malformed(Vec<String>),
    /// The graph's cycles have no order.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Somebody asked for its end.
    #[error("interrupted")]
    Interrupted,
    /// Nothing was given under this name.
    #[error("no {kind} `{name}` was given")]
    Missing {
        /// `parameter`, `input`, `setting`, `lengths of axis` or `trees of axis`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Something given has the wrong number of entries.
    #[error("{what} has {found} entries, expected {expected}")]
    Size {
        /// Name and place.
        what: String,
        /// What the graph asks for.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// Ids were given for an input of real numbers, or the reverse.
    #[error("input `{name}` takes {expected}")]
    Element {
        /// The input.
        name: String,
        /// `real numbers` or `ids`.
        expected: &'static str,
    },
    /// An id that is not below its range.
    #[error("id {id} of {name} at {place} is not below {range}")]
    IdRange {
        /// The input, or the node that uses the id.
        name: String,
        /// Example and position.
        place: String,
        /// The id.
        id: u32,
        /// How many ids there are.
        range: usize,
    },
}
