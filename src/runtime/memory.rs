//! Memory that programs run in: a block, and the tables of sparse outputs beside it.
//!
//! An instance keeps a block for its inputs; another, for temporaries and sums, may be lent to one instance after
//! the other.

use super::layout::ALIGNMENT;
use super::tables::Table;

/// A block of memory whose first byte that is used lies at a multiple of 64 bytes.
#[derive(Debug, Default)]
pub struct Memory {
    bytes: Vec<u8>,
    /// Whether what depends on the parameters alone is there, of a run on the present ones.
    pub(super) holds: bool,
    /// Whether no other run will look for it.
    pub(super) fleeting: bool,
    /// The sparse outputs of a plan, in its order.
    pub(super) tables: Vec<Table>,
}

impl Memory {
    /// Memory of a single run, that of a group which shares its parameters with no other.
    pub(super) fn of_one_run() -> Memory {
        Memory { fleeting: true, ..Memory::default() }
    }

    /// Makes room for so many bytes; what was there may be lost.
    pub(super) fn reserve(&mut self, bytes: usize) {
        let bytes = bytes + ALIGNMENT;
        if self.bytes.len() < bytes {
            // The old block goes before there is a new one.
            self.bytes = Vec::new();
            self.holds = false;
            self.bytes = vec![0; bytes];
        }
    }

    /// Says that the next run has other parameters than the last, and whether it is the only one that has these.
    pub fn forget(&mut self, fleeting: bool) {
        self.holds = false;
        self.fleeting = fleeting;
    }

    fn start(&self) -> usize {
        self.bytes.as_ptr().align_offset(ALIGNMENT)
    }

    /// All of it.
    pub(super) fn get(&self) -> &[u8] {
        &self.bytes[self.start().min(self.bytes.len())..]
    }

    /// All of it, to be changed.
    pub(super) fn get_mut(&mut self) -> &mut [u8] {
        let start = self.start().min(self.bytes.len());
        &mut self.bytes[start..]
    }
}
