//! Random numbers of one example: pure functions of the seed, the task and the example's number.

use crate::base::philox::{philox4x32, uniform};

/// Draws of one example, one after the other.
#[derive(Clone, Debug)]
pub struct Draws {
    key: [u32; 2],
    number: u64,
    /// Tells the tasks apart.
    stream: u32,
    next: u32,
}

impl Draws {
    /// The draws of example `number` under a seed.
    pub fn new(seed: u64, number: u64, stream: u32) -> Draws {
        Draws { key: [seed as u32, (seed >> 32) as u32], number, stream, next: 0 }
    }

    fn word(&mut self) -> u32 {
        let counter = [self.next, self.number as u32, (self.number >> 32) as u32, self.stream];
        self.next += 1;
        philox4x32(counter, self.key)[0]
    }

    /// A whole number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        // The high half of a product with 2^32 spread evenly.
        ((u64::from(self.word()) * limit as u64) >> 32) as usize
    }

    /// A whole number from `least` to `most`.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// One of several.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.below(all.len())).copied()
    }

    /// A number between `low` and `high`.
    pub fn real(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * uniform(self.word())
    }
}
