//! Outputs that are zero but for the rows that ids name: memory of their own, cleared row by row.
//!
//! ```text
//! run 1 names rows 3 7     0 0 0 a 0 0 0 b 0
//! run 2 names row  7       rows 3 and 7 are cleared, then row 7 is added to
//! ```

use super::layout::ALIGNMENT;
use super::program::Real;
use crate::plan::Sparse;

/// The memory of one such output.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The rows, beginning at the first multiple of 64 bytes.
    memory: Vec<u8>,
    /// Bytes of a row.
    pitch: usize,
    rows: usize,
    /// Rows that may be other than zero, ascending.
    named: Vec<u32>,
}

impl Table {
    /// All zero, of reals of so many bytes; empty if the rows are a buffer of the plan.
    pub fn new(sparse: &Sparse, bytes: usize) -> Table {
        let (rows, pitch) = (if sparse.listed.is_some() { 0 } else { sparse.rows }, sparse.width * bytes);
        Table { memory: vec![0; rows * pitch + ALIGNMENT], pitch, rows, named: Vec::new() }
    }

    fn start(&self) -> usize {
        self.memory.as_ptr().align_offset(ALIGNMENT)
    }

    fn bytes(&self) -> &[u8] {
        let start = self.start();
        &self.memory[start..start + self.rows * self.pitch]
    }

    /// All rows, for a run that adds to some.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let start = self.start();
        &mut self.memory[start..start + self.rows * self.pitch]
    }

    /// Makes all rows zero again, and says which the next run may touch.
    pub fn clear(&mut self, next: impl Iterator<Item = u32>) {
        let (pitch, rows) = (self.pitch, self.rows);
        let mut named = std::mem::take(&mut self.named);
        for &row in &named {
            let at = row as usize * pitch;
            self.bytes_mut()[at..at + pitch].fill(0);
        }
        named.clear();
        named.extend(next.filter(|&id| (id as usize) < rows));
        named.sort_unstable();
        named.dedup();
        self.named = named;
    }

    /// Rows that may be other than zero, ascending.
    pub fn named(&self) -> &[u32] {
        &self.named
    }

    /// Adds the rows that are not zero to those of a matrix of the same form.
    pub fn add_to<R: Real>(&self, total: &mut [R]) {
        let bytes = self.bytes();
        for &row in &self.named {
            let at = row as usize * self.pitch;
            add_row(&bytes[at..at + self.pitch], row, total);
        }
    }
}

/// Adds a row that lies in memory to one of a matrix; one that this does not have is passed over.
pub fn add_row<R: Real>(bytes: &[u8], row: u32, total: &mut [R]) {
    let values = bytes.chunks_exact(size_of::<R>());
    let start = row as usize * values.len();
    if let Some(sums) = total.get_mut(start..start + values.len()) {
        sums.iter_mut().zip(values.map(R::read)).for_each(|(sum, value)| *sum += value);
    }
}
