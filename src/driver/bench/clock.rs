//! Measured time: of a call that is repeated, and of the machine's own multiply-adds.

use std::ops::Range;
use std::time::{Duration, Instant};

use rayon::ThreadPool;

use crate::backend::native::emit::EmitError;
use crate::backend::native::peak::Peak;

/// Calls before the clock runs.
const WARM_UP: usize = 3;
/// A row takes about so long.
const BUDGET: Duration = Duration::from_secs(2);
/// However slow, it is called so often; however fast, not more often.
const CALLS: Range<usize> = 5..400;
/// A pass over many batches is repeated at least so often.
const PASSES: usize = 3;
/// How long a loop of multiply-adds runs, and how often.
const LOOP: Duration = Duration::from_millis(40);
const LOOPS: usize = 5;

/// What repeated calls took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// The median, in seconds.
    pub median: f64,
    /// The minimum, in seconds.
    pub least: f64,
}

/// Calls again and again.
///
/// # Errors
/// The first of a call.
pub fn measure<E>(mut call: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
    for _ in 0..WARM_UP {
        call()?;
    }
    repeat(CALLS, call)
}

/// Makes passes that are long enough to need no warming up.
///
/// # Errors
/// The first of a pass.
pub fn measure_passes<E>(pass: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
    repeat(PASSES..CALLS.end, pass)
}

/// Calls until the budget is spent, a number of times in `calls`.
fn repeat<E>(calls: Range<usize>, mut call: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
    let (mut times, mut spent) = (Vec::new(), Duration::ZERO);
    while times.len() < calls.start || (spent < BUDGET && times.len() < calls.end) {
        let began = Instant::now();
        call()?;
        let time = began.elapsed();
        times.push(time.as_secs_f64());
        spent += time;
    }
    Ok(summary(times))
}

/// Of at least one time.
fn summary(mut times: Vec<f64>) -> Times {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    let median = match times.len() % 2 {
        0 => (times[middle - 1] + times[middle]) / 2.0,
        _ => times[middle],
    };
    Times { median, least: times[0] }
}

/// Multiply-adds a second of all threads of a pool at once, in floating-point operations: the best of
/// several readings, since anything else that the machine does takes from it.
///
/// # Errors
/// There is no code for this machine.
pub fn peak(pool: &ThreadPool) -> Result<f64, EmitError> {
    let peak = Peak::compile()?;
    let seconds = |turns: u64| {
        let began = Instant::now();
        pool.broadcast(|_| peak.run(turns));
        began.elapsed().as_secs_f64()
    };
    let mut turns = 1000;
    while seconds(turns) < LOOP.as_secs_f64() && turns < u64::MAX / 2 {
        turns *= 2;
    }
    let best = (0..LOOPS).map(|_| seconds(turns)).fold(f64::INFINITY, f64::min);
    let operations = (peak.operations() * turns) as f64 * pool.current_num_threads() as f64;
    Ok(operations / best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(summary(vec![3.0, 1.0, 2.0]), Times { median: 2.0, least: 1.0 });
        assert_eq!(summary(vec![4.0, 1.0, 2.0, 3.0]), Times { median: 2.5, least: 1.0 });
    }

    #[test]
    fn fast_calls_are_counted_out() {
        let mut calls = 0;
        let times = measure::<()>(|| {
            calls += 1;
            Ok(())
        });
        assert!(times.unwrap().least >= 0.0);
        assert_eq!(calls, WARM_UP + CALLS.end);
        assert_eq!(measure(|| Err("no")), Err("no"));
    }
}
