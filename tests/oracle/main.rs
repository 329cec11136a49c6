//! The oracle held against hand calculation, against unrolled programs, and its generator of random
//! programs against what it promises.

mod difference;
mod generated;
mod hand;
mod unrolled;
