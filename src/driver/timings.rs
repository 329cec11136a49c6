//! Time by stage, as data.
//!
//! ```
//! use rnnc::driver::timings::Timings;
//! let mut timings = Timings::default();
//! let sum: u64 = timings.time("sum", || (0..1000).sum());
//! timings.time("sum", || sum + 1);
//! assert_eq!(timings.stages().count(), 1);
//! ```
//!
//! A stage that runs several times is one row with the time of all. Nothing is printed here.

use std::time::{Duration, Instant};

/// Stages in the order in which they first ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    stages: Vec<(String, Duration)>,
}

impl Timings {
    /// Does the work of a stage.
    pub fn time<T>(&mut self, stage: &str, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = work();
        self.add(stage, began.elapsed());
        result
    }

    /// Adds to a stage.
    pub fn add(&mut self, stage: &str, time: Duration) {
        match self.stages.iter_mut().find(|(name, _)| name == stage) {
            Some((_, total)) => *total += time,
            None => self.stages.push((stage.to_string(), time)),
        }
    }

    /// Every stage and its time.
    pub fn stages(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.stages.iter().map(|(stage, time)| (stage.as_str(), *time))
    }

    /// The time of all stages.
    pub fn total(&self) -> Duration {
        self.stages.iter().map(|(_, time)| *time).sum()
    }
}
