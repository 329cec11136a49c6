//! Pictures as SVG text: graphs of equations, charts, maps of numbers.
//!
//! Layout of graphs is the crate `layout-rs`'s, drawing of charts the crate `plotters`'. Nothing is written to
//! a file here. Whoever has values over two axes, norms by step or a graph may call these.

mod chart;
mod graph;
mod heat;
mod rails;

use thiserror::Error;

pub use chart::{Line, chart, flow_chart};
pub use graph::graph;
pub use heat::heat;
pub use rails::rails;

/// Why there is no picture.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PictureError {
    /// More boxes than one can look at.
    #[error("{0} equations are too many for a picture: choose a smaller model, fewer steps, or DOT")]
    TooLarge(usize),
    /// Nothing to draw.
    #[error("there is nothing to draw")]
    Empty,
    /// The library that draws.
    #[error("the picture cannot be drawn: {0}")]
    Drawing(String),
}
