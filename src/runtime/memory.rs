//! Memory that programs run in: a block, and the tables of sparse outputs beside it.
//!
//! An instance keeps a block for its inputs; another, for temporaries and sums, may be lent to one instance after
//! the other.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use super::layout::ALIGNMENT;
use super::tables::Table;

/// Bytes from which on a block is in large pages, where the system has them: a processor remembers the places of few
/// hundred pages, and products go over more of 4 KiB.
const LARGE: usize = 4 << 20;

/// A block of memory whose first byte that is used lies at a multiple of 64 bytes.
#[derive(Debug, Default)]
pub struct Memory {
    bytes: Bytes,
    /// Whether what depends on the parameters alone is there, of a run on the present ones.
    pub(super) holds: bool,
    /// The sparse outputs of a plan, in its order.
    pub(super) tables: Vec<Table>,
}

/// Bytes, zero at first.
#[derive(Debug)]
enum Bytes {
    Heap(Vec<u8>),
    Mapped(MmapMut),
}

impl Bytes {
    fn new(count: usize) -> Bytes {
        let mapped = if count < LARGE { None } else { MmapMut::map_anon(count).ok() };
        match mapped {
            Some(mapped) => {
                // Only a wish.
                #[cfg(target_os = "linux")]
                let _ = mapped.advise(memmap2::Advice::HugePage);
                Bytes::Mapped(mapped)
            }
            None => Bytes::Heap(vec![0; count]),
        }
    }
}

impl Default for Bytes {
    fn default() -> Bytes {
        Bytes::Heap(Vec::new())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Heap(bytes) => bytes,
            Bytes::Mapped(bytes) => bytes,
        }
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Bytes::Heap(bytes) => bytes,
            Bytes::Mapped(bytes) => bytes,
        }
    }
}

impl Memory {
    /// Makes room for so many bytes; what was there may be lost.
    pub(super) fn reserve(&mut self, bytes: usize) {
        let bytes = bytes + ALIGNMENT;
        if self.bytes.len() < bytes {
            // The old block goes before there is a new one.
            self.bytes = Bytes::default();
            self.holds = false;
            self.bytes = Bytes::new(bytes);
        }
    }

    /// Says that the next run has other parameters than the last.
    pub fn forget(&mut self) {
        self.holds = false;
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
