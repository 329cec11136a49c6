//! Jobs done by several threads in any order, whose results are taken in the order of the jobs.
//!
//! ```text
//! thread 1   job 0 ─────────── take 0, take 1 ─ job 3 ─── take 2, take 3
//! thread 2   job 1 ────── job 2 ───────────────────── (nothing left)
//! ```
//!
//! A job works in a space, which is free again when its result has been taken. Where there is a space more than there
//! are threads, nobody waits for a job that takes a little longer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Jobs, the spaces that they work in, and what takes their results.
pub(super) struct InOrder<J, W, S> {
    state: Mutex<State<J, W, S>>,
    changed: Condvar,
}

struct State<J, W, S> {
    ahead: VecDeque<(usize, J)>,
    free: Vec<W>,
    /// What is done and not yet taken.
    done: BTreeMap<usize, (J, W)>,
    /// The first that is not taken.
    next: usize,
    /// Somebody has it who takes a result, or does the first job.
    sink: Option<S>,
}

impl<J, W, S> InOrder<J, W, S> {
    /// There is a space for each thread at least.
    pub fn new(jobs: impl Iterator<Item = J>, free: Vec<W>, sink: S) -> InOrder<J, W, S> {
        let (ahead, done) = (jobs.enumerate().collect(), BTreeMap::new());
        let state = State { ahead, free, done, next: 0, sink: Some(sink) };
        InOrder { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// What each thread does: `run` jobs while there are any, the first one with the sink at hand, and `take` results.
    pub fn work(
        &self,
        run: impl Fn(&mut J, &mut W, Option<&mut S>),
        take: impl Fn(&mut S, usize, &mut J, &W),
    ) {
        while let Some((number, mut job, mut space, mut sink)) = self.begin() {
            run(&mut job, &mut space, sink.as_mut());
            self.end(number, (job, space), sink, &take);
        }
    }

    /// The spaces and the sink, when all is done.
    pub fn into_parts(self) -> (Vec<W>, Option<S>) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.free, state.sink)
    }

    fn lock(&self) -> MutexGuard<'_, State<J, W, S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job and a space for it. The earliest job has one, so that those behind it are taken in the end.
    fn begin(&self) -> Option<(usize, J, W, Option<S>)> {
        let mut state = self.lock();
        while !state.ahead.is_empty() {
            if let Some(space) = state.free.pop() {
                let (number, job) = state.ahead.pop_front()?;
                let sink = if number == 0 { state.sink.take() } else { None };
                return Some((number, job, space, sink));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn end(&self, number: usize, done: (J, W), sink: Option<S>, take: &impl Fn(&mut S, usize, &mut J, &W)) {
        let mut state = self.lock();
        state.done.insert(number, done);
        state.sink = state.sink.take().or(sink);
        while let Some(mut sink) = state.sink.take() {
            let next = state.next;
            let Some((mut job, space)) = state.done.remove(&next) else {
                state.sink = Some(sink);
                return;
            };
            drop(state);
            take(&mut sink, next, &mut job, &space);
            state = self.lock();
            state.sink = Some(sink);
            state.next += 1;
            state.free.push(space);
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_taken_in_order_whoever_is_faster() {
        for (threads, spaces) in [(1, 1), (2, 2), (2, 3), (3, 4), (4, 4)] {
            let jobs = InOrder::new(0..40u64, (0..spaces).collect::<Vec<usize>>(), Vec::new());
            let run = |job: &mut u64, _: &mut usize, sink: Option<&mut Vec<u64>>| {
                assert_eq!(sink.is_some(), *job == 0);
                std::thread::sleep(std::time::Duration::from_micros(*job * 7919 % 13 * 50));
                *job *= 2;
            };
            let take = |sink: &mut Vec<u64>, number: usize, job: &mut u64, _: &usize| {
                assert_eq!(*job, 2 * number as u64);
                sink.push(*job);
            };
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| jobs.work(run, take));
                }
            });
            let (free, sink) = jobs.into_parts();
            assert_eq!(free.len(), spaces);
            assert_eq!(sink.unwrap(), (0..40).map(|job| 2 * job).collect::<Vec<_>>());
        }
    }
}
