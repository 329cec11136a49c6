//! Sizes of product tiles by what the registers of a target hold.
//!
//! | vectors | registers | rows x vectors of the largest tile | of a single row |
//! | --- | --- | --- | --- |
//! | 128 bits, by Cranelift | 16 | 4 x 2 | 8 |
//! | 256 bits | 16 | 6 x 2 | 8 |
//! | 512 bits | 32 | 8 x 2 | 8 |
//!
//! Fewer rows leave registers for more columns, which they need to hide the latency of their additions.

use super::tile::Shape;
use super::wide::Width;
use crate::plan::{PANEL, Precision};

/// The tiles of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Rows of the largest tile.
    pub rows: usize,
    /// Vectors in a row of a panel.
    pub panel_vectors: usize,
    width: Option<Width>,
}

impl Tiling {
    /// The tiles for reals of a precision; `width` where they are wide code.
    pub fn new(precision: Precision, width: Option<Width>) -> Tiling {
        let (rows, bytes) = match width {
            None => (4, 16),
            Some(Width::Ymm) => (6, 32),
            Some(Width::Zmm) => (8, 64),
        };
        Tiling { rows, panel_vectors: PANEL * precision.bytes() / bytes, width }
    }

    /// Whether there are tiles that read a matrix as it lies (see [`super::unpacked`]).
    pub fn has_unpacked(self) -> bool {
        self.width == Some(Width::Zmm)
    }

    /// The tiles for a number of rows, whose elements are `stride` apart: the one with the most columns first,
    /// then for what is left over, down to one panel.
    pub fn ladder(self, rows: usize, stride: usize) -> Vec<Shape> {
        let most = match (self.width, rows) {
            (_, 1) => 8,
            (None | Some(Width::Ymm), 2) => 4,
            (None, 3) => 4,
            (None, _) | (Some(Width::Ymm), _) => 2,
            (Some(Width::Zmm), 2) => 8,
            (Some(Width::Zmm), 3 | 4) => 4,
            (Some(Width::Zmm), _) => 2,
        };
        let least = self.panel_vectors.min(most);
        let halves = std::iter::successors(Some(most), |vectors| Some(vectors / 2));
        halves
            .take_while(|&vectors| vectors >= least)
            .map(|vectors| Shape { rows, vectors, stride })
            .collect()
    }

    /// Panels that one call of a tile works on.
    pub fn panels(self, shape: Shape) -> usize {
        (shape.vectors / self.panel_vectors).max(1)
    }
}
