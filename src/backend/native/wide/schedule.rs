//! The order of steps: chains that do not need each other side by side.
//!
//! A gate is a chain of two dozen instructions of four cycles each, and a processor looks ahead over about a hundred
//! that wait. Written one gate behind the other, most of the time nothing can begin; this is list scheduling (by
//! the longest way to the end), held back where values would no longer have registers.

use super::instructions::Three;
use super::steps::{Step, Work};

/// Steps for several vectors that lie one behind the other, which have nothing to do with each other.
pub struct Copies {
    /// All steps.
    pub steps: Vec<Work>,
    /// Which vector each is for.
    pub vector: Vec<usize>,
    /// The step of the single vector that each is a copy of, if it is one.
    pub of: Vec<Option<Step>>,
}

impl Copies {
    /// Copies for so many vectors of so many lanes along the last of `rank` dimensions.
    pub fn new(single: &[Work], vectors: usize, lanes: usize, rank: usize) -> Copies {
        let mut all = Copies { steps: Vec::new(), vector: Vec::new(), of: Vec::new() };
        for vector in 0..vectors {
            let mut numbers: Vec<Step> = Vec::with_capacity(single.len());
            for (at, work) in single.iter().enumerate() {
                let mut own = work.clone().renamed(&numbers);
                if let Work::Reduce(_, of, ..) = &mut own {
                    *of = vector;
                }
                all.push(own, vector, Some(at));
                numbers.push(all.steps.len() - 1);
                if vector > 0 && matches!(work, Work::Index(dim) if dim + 1 == rank) {
                    let index = all.steps.len() - 1;
                    all.push(Work::Bits((vector * lanes) as u32), vector, None);
                    all.push(Work::Three(Three::AddInteger, index, index + 1), vector, None);
                    numbers[at] = index + 2;
                }
            }
        }
        all
    }

    fn push(&mut self, work: Work, vector: usize, of: Option<Step>) {
        self.steps.push(work);
        self.vector.push(vector);
        self.of.push(of);
    }

    /// The same in a better order for so many registers. What each step computes and the order of what touches the same
    /// memory stay as they are.
    pub fn scheduled(self, registers: usize) -> Copies {
        let order = order(&self, registers);
        let mut new = vec![0; order.len()];
        for (at, &step) in order.iter().enumerate() {
            new[step] = at;
        }
        let steps = order.iter().map(|&step| self.steps[step].clone().renamed(&new)).collect();
        let vector = order.iter().map(|&step| self.vector[step]).collect();
        Copies { steps, vector, of: order.iter().map(|&step| self.of[step]).collect() }
    }
}

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

/// The order in which steps are best written for so many registers.
fn order(copies: &Copies, registers: usize) -> Vec<Step> {
    let steps = &copies.steps;
    let before = dependences(copies);
    let mut heights = vec![0; steps.len()];
    for at in (0..steps.len()).rev() {
        heights[at] += latency(&steps[at]);
        for &other in &before[at] {
            heights[other] = heights[other].max(heights[at]);
        }
    }
    let mut scheduler = Scheduler::new(steps, &before, registers.saturating_sub(SPARE));
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
    scheduler.order
}

/// What must stand before each step: its operands, and what touches the same memory for the same vector. A store stays
/// behind all loads that stood before it, as one buffer may take the place of another that is read here for the last
/// time.
fn dependences(Copies { steps, vector, .. }: &Copies) -> Vec<Vec<Step>> {
    let mut all: Vec<Vec<Step>> = Vec::with_capacity(steps.len());
    for (at, work) in steps.iter().enumerate() {
        let mut before = work.operands();
        let earlier = (0..at).filter(|&other| vector[other] == vector[at]);
        match work {
            Work::Load(place) => before.extend(earlier.filter(
                |&other| matches!(&steps[other], Work::Store(to, _) if to.at.buffer == place.at.buffer),
            )),
            Work::Store(..) => {
                before
                    .extend(earlier.filter(|&other| matches!(steps[other], Work::Load(_) | Work::Store(..))));
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
    use super::*;

    /// Two chains of additions, one behind the other.
    fn chains(length: usize) -> Copies {
        let mut steps = vec![Work::Index(0), Work::Index(1)];
        for chain in 0..2 {
            let mut last = chain;
            for _ in 0..length {
                steps.push(Work::Three(Three::Add, last, last));
                last = steps.len() - 1;
            }
            steps.push(Work::Reduce(chain, 0, crate::plan::Combining::Sum, last));
        }
        Copies::new(&steps, 1, 16, 3)
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
        let depths = depths(&chains(8).scheduled(32).steps);
        assert!(depths.is_sorted(), "{depths:?}");
    }

    #[test]
    fn vectors_stand_side_by_side() {
        let one = [Work::Index(0), Work::Three(Three::Add, 0, 0), Work::Three(Three::Add, 1, 1)];
        let two = Copies::new(&one, 2, 16, 1).scheduled(32);
        // The second vector's indices are those of the first and 16.
        assert_eq!((two.steps.len(), two.of.iter().flatten().count()), (8, 6));
        assert!(two.steps.contains(&Work::Bits(16)));
        // Neither is written to its end before the other begins.
        let first = |vector| two.vector.iter().position(|&own| own == vector);
        let last = |vector| two.vector.iter().rposition(|&own| own == vector);
        assert!(first(1) < last(0) && first(0) < last(1), "{:?}", two.vector);
        for (at, work) in two.steps.iter().enumerate() {
            assert!(work.operands().into_iter().all(|other| two.vector[other] == two.vector[at]));
        }
    }

    #[test]
    fn every_step_stands_behind_what_it_reads() {
        for registers in [0, 4, 8, 16, 32] {
            let steps = chains(20).scheduled(registers).steps;
            assert_eq!(steps.len(), chains(20).steps.len());
            for (at, work) in steps.iter().enumerate() {
                assert!(work.operands().into_iter().all(|operand| operand < at));
            }
        }
    }
}
