//! The order of steps: chains that do not need each other side by side.
//!
//! A gate is a chain of two dozen instructions of four cycles each, and a processor looks ahead over about a hundred
//! that wait. Written one gate behind the other, most of the time nothing can begin; this is list scheduling (by
//! the longest way to the end), held back where values would no longer have registers.

use super::steps::{Step, Work};

/// Steps that begin in a cycle.
const WIDTH: usize = 2;
/// Registers left for what an instruction needs while it runs.
const SPARE: usize = 4;

/// Cycles until what reads a step can begin, near enough on the machines of today.
fn latency(work: &Work) -> usize {
    match work {
        Work::Bits(_) => 0,
        Work::Load(_) => 7,
        Work::Choose { .. } | Work::Truth(..) => 6,
        Work::Store(..) => 1,
        _ => 4,
    }
}

/// A step that is written together with the first that reads it.
fn is_late(work: &Work) -> bool {
    matches!(work, Work::Bits(_) | Work::Load(_))
}

/// The steps in a better order for so many registers. What each computes and the order of what touches the same
/// memory stay as they are.
pub fn schedule(steps: Vec<Work>, registers: usize) -> Vec<Work> {
    let before = dependences(&steps);
    let mut heights = vec![0; steps.len()];
    for at in (0..steps.len()).rev() {
        heights[at] += latency(&steps[at]);
        for &other in &before[at] {
            heights[other] = heights[other].max(heights[at]);
        }
    }
    let mut scheduler = Scheduler::new(&steps, &before, registers.saturating_sub(SPARE));
    let mut waiting: Vec<Step> = (0..steps.len()).filter(|&at| !is_late(&steps[at])).collect();
    while !waiting.is_empty() {
        let ready = waiting.iter().enumerate().filter(|(_, step)| scheduler.is_ready(**step));
        let crowded = scheduler.is_crowded();
        let best = ready.min_by_key(|&(_, &step)| {
            let delay = scheduler.earliest(step).saturating_sub(scheduler.now());
            let growth = if crowded { scheduler.growth(step) } else { 0 };
            (growth, delay, std::cmp::Reverse(heights[step]), step)
        });
        // The first that waits is always ready: what it needs stood before it.
        let number = best.map_or(0, |(number, _)| number);
        let step = waiting.remove(number);
        scheduler.write(step);
    }
    let mut new = vec![0; steps.len()];
    for (at, &step) in scheduler.order.iter().enumerate() {
        new[step] = at;
    }
    let mut moved: Vec<(Step, Work)> =
        steps.into_iter().enumerate().map(|(at, work)| (new[at], work)).collect();
    moved.sort_by_key(|(at, _)| *at);
    moved.into_iter().map(|(_, work)| work.renamed(&new)).collect()
}

/// What must stand before each step: its operands, and what touches the same memory. A store stays behind all loads
/// that stood before it, as one buffer may take the place of another that is read here for the last time.
fn dependences(steps: &[Work]) -> Vec<Vec<Step>> {
    let mut all: Vec<Vec<Step>> = Vec::with_capacity(steps.len());
    for (at, work) in steps.iter().enumerate() {
        let mut before = work.operands();
        match work {
            Work::Load(place) => before.extend((0..at).filter(
                |&other| matches!(&steps[other], Work::Store(to, _) if to.at.buffer == place.at.buffer),
            )),
            Work::Store(..) => {
                before
                    .extend((0..at).filter(|&other| matches!(steps[other], Work::Load(_) | Work::Store(..))));
            }
            _ => {}
        }
        all.push(before);
    }
    all
}

struct Scheduler<'s> {
    steps: &'s [Work],
    before: &'s [Vec<Step>],
    /// Values that may be alive at once.
    budget: usize,
    /// When each step that has been written has its result.
    finished: Vec<Option<usize>>,
    /// How many steps that are not written yet read each.
    readers: Vec<usize>,
    alive: usize,
    order: Vec<Step>,
    /// Instructions written so far.
    written: usize,
}

impl<'s> Scheduler<'s> {
    fn new(steps: &'s [Work], before: &'s [Vec<Step>], budget: usize) -> Scheduler<'s> {
        let mut readers = vec![0; steps.len()];
        for work in steps {
            work.operands().into_iter().for_each(|operand| readers[operand] += 1);
        }
        let finished = vec![None; steps.len()];
        Scheduler { steps, before, budget, finished, readers, alive: 0, order: Vec::new(), written: 0 }
    }

    fn now(&self) -> usize {
        self.written / WIDTH
    }

    fn is_crowded(&self) -> bool {
        self.alive >= self.budget
    }

    /// Whether all that it needs has been written, or is written with it.
    fn is_ready(&self, step: Step) -> bool {
        self.before[step].iter().all(|&other| {
            self.finished[other].is_some() || is_late(&self.steps[other]) && self.is_ready(other)
        })
    }

    /// When its operands are there; what is loaded for it counts as loaded early enough.
    fn earliest(&self, step: Step) -> usize {
        self.before[step].iter().filter_map(|&other| self.finished[other]).max().unwrap_or(0)
    }

    /// By how much it changes the number of values alive.
    fn growth(&self, step: Step) -> isize {
        let mut operands = self.steps[step].operands();
        operands.sort_unstable();
        // One that ends here is alive no more; one that is loaded for it and read again stays.
        let change = |same: &[Step]| {
            let operand = same[0];
            let last = self.readers[operand] == same.len();
            match (&self.steps[operand], self.finished[operand].is_some()) {
                (Work::Bits(_), _) => 0,
                (_, true) => -isize::from(last),
                (work, false) => isize::from(!last && matches!(work, Work::Load(_))),
            }
        };
        let changes: isize = operands.chunk_by(|a, b| a == b).map(change).sum();
        isize::from(!self.steps[step].has_effect()) + changes
    }

    /// Writes a step, behind what is loaded for it.
    fn write(&mut self, step: Step) {
        for &other in &self.before[step] {
            if self.finished[other].is_none() {
                self.write(other);
            }
        }
        let start = self.earliest(step).max(self.now());
        let work = &self.steps[step];
        let is_value = !work.has_effect() && !matches!(work, Work::Bits(_));
        // A load was asked for early: nothing waits for it.
        self.finished[step] = Some(if is_late(work) { start } else { start + latency(work) });
        self.alive += usize::from(is_value);
        self.written += usize::from(!matches!(work, Work::Bits(_)));
        for operand in work.operands() {
            self.readers[operand] -= 1;
            if self.readers[operand] == 0 && !matches!(self.steps[operand], Work::Bits(_)) {
                self.alive -= 1;
            }
        }
        self.order.push(step);
    }
}

#[cfg(test)]
mod tests {
    use super::super::instructions::Three;
    use super::*;

    /// Two chains of additions, one behind the other.
    fn chains(length: usize) -> Vec<Work> {
        let mut steps = vec![Work::Index(0), Work::Index(1)];
        for chain in 0..2 {
            let mut last = chain;
            for _ in 0..length {
                steps.push(Work::Three(Three::Add, last, last));
                last = steps.len() - 1;
            }
            steps.push(Work::Reduce(chain, crate::plan::Combining::Sum, last));
        }
        steps
    }

    fn depths(steps: &[Work]) -> Vec<usize> {
        let mut depths: Vec<usize> = Vec::new();
        for work in steps {
            depths.push(work.operands().into_iter().map(|operand| depths[operand] + 1).max().unwrap_or(0));
        }
        depths
    }

    #[test]
    fn independent_chains_stand_side_by_side() {
        let depths = depths(&schedule(chains(8), 32));
        assert!(depths.is_sorted(), "{depths:?}");
    }

    #[test]
    fn every_step_stands_behind_what_it_reads() {
        for registers in [0, 4, 8, 16, 32] {
            let steps = schedule(chains(20), registers);
            assert_eq!(steps.len(), chains(20).len());
            for (at, work) in steps.iter().enumerate() {
                assert!(work.operands().into_iter().all(|operand| operand < at));
            }
        }
    }
}
