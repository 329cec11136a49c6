//! Random programs and random data for them, the same for the same seed.
//!
//! `sample(7, &Options::default())` is a well-typed graph that the verifier passes, with losses and
//! named outputs; `feeds(&sample, 7, Batch::Ragged)` is a batch for it. Values stay tame: a bound of
//! every value is carried along, and what grows too large goes through a tanh.
//!
//! - `rng`: the generator of choices; `maker`: the graph under construction and the pool of its values
//! - `trees`: trees and positions on them
//! - `steps`, `sums`: one random operation; `loops`: states; `finish`: losses and outputs; `feeds`: the data
//!
//! This is for tests, of this crate and of those who build on it; nothing else may call it.

mod feeds;
mod finish;
mod loops;
mod maker;
mod rng;
mod steps;
mod sums;
mod trees;

use std::collections::BTreeMap;

use crate::ir::Graph;

pub use feeds::{Batch, feeds, unrolled_feeds, unrolled_tree_feeds};
pub use rng::Rng;
pub use trees::{Form, coordinates, tree};

/// What random programs may contain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Only programs that finite differences can check: kinks are far from the values, and operations
    /// without a derivative (sign, floor, comparisons, stop) are left out or see nothing that
    /// depends on a parameter.
    pub differentiable: bool,
    /// Random nodes.
    pub random: bool,
    /// Values along a second axis `s`.
    pub second_axis: bool,
    /// Values along a tree `n`, its children and its leaves instead of along `t`.
    pub trees: bool,
    /// About how many operations stand outside loops.
    pub operations: usize,
    /// At most how many loops.
    pub loops: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            differentiable: false,
            random: true,
            second_axis: true,
            trees: false,
            operations: 10,
            loops: 2,
        }
    }
}

impl Options {
    /// For holding gradients against finite differences.
    pub fn differentiable() -> Options {
        Options { differentiable: true, ..Options::default() }
    }
}

/// What a parameter or input is filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Uniform between minus this and this.
    Spread(f64),
    /// 1.5 or -1.5: added to a number below 1, it keeps a kink at 0 away.
    Signs,
    /// 0, 1, 2, … shuffled: added to numbers below 0.4, they keep the largest apart from the others.
    Ranks,
}

/// A random program.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The program.
    pub graph: Graph,
    /// By path: parameters that are not filled with `Spread(1.0)`.
    pub fills: BTreeMap<String, Fill>,
}

/// The random program of a seed.
pub fn sample(seed: u64, options: &Options) -> Sample {
    let mut maker = maker::Maker::new(seed, *options);
    maker.inputs();
    let loops = maker.rng.below(options.loops + 1);
    for round in 0..=loops {
        for _ in 0..=options.operations / (loops + 1) {
            maker.step();
        }
        if round < loops {
            maker.add_loop();
        }
    }
    maker.finish()
}
