//! A batch run in groups of about sixteen examples, on as many threads as there are; where there are more
//! threads than groups, several work on one.
//!
//! ```text
//! 40 examples -> groups 0..13, 13..26, 26..40 -> three instances, run in any order
//! loss = loss of group 0 + loss of group 1 + loss of group 2, always in this order
//! ```
//!
//! Trees go to groups by their nodes. How a batch is split depends on its sizes alone, and results are added in the order of the groups:
//! the same batch gives the same bits on any number of threads. Memory is laid out again only when
//! the lengths change. It does not know what the outputs mean.

use std::ops::{AddAssign, Range};
use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use thiserror::Error;

use crate::plan::{Buffer, Plan, Role, SpaceId, Steps};
use crate::runtime::layout::Lengths;
use crate::runtime::program::{Instance, Program, ProgramError, Real};
use crate::runtime::tables::Table;

/// Examples of a group, about: enough for full product tiles, few enough for caches.
const GROUP: usize = 16;
/// Examples of a group in a batch of few: full product tiles all the same.
const SMALL_GROUP: usize = 8;

/// Nodes of a group of trees, about: enough for full product tiles on most levels.
const NODES: usize = 512;

/// Multiply-adds of a group's run from which on several threads are worth waking for it.
const WORTH_IT: usize = 1 << 20;

/// Elements of an output that a thread adds up at once: less is not worth waking it.
const CHUNK: usize = 1 << 15;

/// Why a batch cannot be run.
#[derive(Debug, Error)]
pub enum BatchError {
    /// The program does not take it.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Threads cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] ThreadPoolBuildError),
}

/// Data of an input: padded to the longest example, `[batch, longest, …]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feed<'a, R> {
    /// Numbers.
    Real(&'a [R]),
    /// Ids; `u32::MAX` is none.
    Ids(&'a [u32]),
}

/// Threads for batches; 0 means one for each core.
///
/// # Errors
/// The system gives no threads.
pub fn threads(count: usize) -> Result<Arc<ThreadPool>, BatchError> {
    Ok(Arc::new(ThreadPoolBuilder::new().num_threads(count).build()?))
}

/// A program with the memory for one batch.
pub struct Batch<R: Real> {
    program: Arc<Program<R>>,
    pool: Arc<ThreadPool>,
    lengths: Lengths,
    groups: Vec<Instance<R>>,
    held: bool,
}

impl<R: Real> Batch<R> {
    /// A batch of no examples.
    pub fn new(program: Arc<Program<R>>, pool: Arc<ThreadPool>) -> Batch<R> {
        Batch { program, pool, lengths: Lengths::default(), groups: Vec::new(), held: false }
    }

    /// The plan that is run.
    pub fn plan(&self) -> &Plan {
        self.program.plan()
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program<R>> {
        &self.program
    }

    /// The lengths laid out at present.
    pub fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    /// Lengths in the plan's order of axes, from their names.
    pub fn lengths_by_name<'l>(
        &self,
        examples: usize,
        named: impl Fn(&str) -> Option<&'l [usize]>,
    ) -> Lengths {
        let axis = |name: &String| named(name).map_or(vec![0; examples], <[usize]>::to_vec);
        let axes = self.plan().axes.iter().skip(1).map(axis);
        Lengths { examples, axes: std::iter::once(Vec::new()).chain(axes).collect(), ..Lengths::default() }
    }

    /// Makes room for examples of these lengths; inputs are to be set anew where they changed.
    ///
    /// # Errors
    /// The batch has no layout.
    pub fn lay_out(&mut self, lengths: &Lengths) -> Result<(), BatchError> {
        if self.lengths == *lengths && !self.groups.is_empty() {
            return Ok(());
        }
        let parts = if self.plan().splittable { parts(lengths) } else { vec![0..lengths.examples] };
        self.groups.truncate(parts.len());
        let known = &parts[..self.groups.len()];
        let again = |(instance, part): (&mut Instance<R>, &Range<usize>)| instance.relayout(lengths, part.clone());
        match known.len() {
            0 | 1 => self.groups.iter_mut().zip(known).try_for_each(again)?,
            _ => self.pool.install(|| self.groups.par_iter_mut().zip(known).try_for_each(again))?,
        }
        for part in &parts[self.groups.len()..] {
            let mut instance = Instance::new(&self.program, lengths, part.clone())?;
            if self.held {
                instance.hold_parameters();
            }
            self.groups.push(instance);
        }
        self.lengths = lengths.clone();
        Ok(())
    }

    /// Says that all runs from the next one on have the same parameters, until this is said again.
    pub fn hold_parameters(&mut self) {
        self.held = true;
        self.groups.iter_mut().for_each(Instance::hold_parameters);
    }

    /// Rows of some steps of a space, in all groups together.
    pub fn rows(&self, space: SpaceId, steps: Steps) -> usize {
        self.groups.iter().map(|instance| instance.rows(space, steps)).sum()
    }

    /// What the clocks of the groups said, see [`Instance::readings`].
    pub fn readings(&self) -> impl Iterator<Item = &[u64]> {
        self.groups.iter().map(Instance::readings)
    }

    /// Sets the key of all random numbers.
    ///
    /// # Errors
    /// As those of setting any value.
    pub fn set_random(&mut self, seed: u64, step: u64) -> Result<(), BatchError> {
        if !self.has(|role| matches!(role, Role::Setting(name) if name == "random")) {
            return Ok(());
        }
        let low = |word: u64| (word & u64::from(u32::MAX)) as u32;
        let key = [low(seed), low(seed >> 32), low(step)];
        for instance in &mut self.groups {
            instance.set_setting_ids("random", &key)?;
        }
        Ok(())
    }

    /// Sets a run-time scalar; one that the program does not use is passed over.
    ///
    /// # Errors
    /// As those of setting any value.
    pub fn set_scalar(&mut self, name: &str, value: f64) -> Result<(), BatchError> {
        if self.has(|role| matches!(role, Role::Setting(own) if own == name)) {
            for instance in &mut self.groups {
                instance.set_setting(name, &[R::from_f64(value)])?;
            }
        }
        Ok(())
    }

    /// Runs all groups on these inputs (one that the program does not use is passed over) and
    /// parameters (in the program's order).
    ///
    /// # Errors
    /// An input or parameter of the wrong size.
    pub fn run(&mut self, feeds: &[(&str, Feed<R>)], parameters: &[&[R]]) -> Result<(), BatchError> {
        self.run_first_into(feeds, parameters, &mut [])
    }

    /// As [`Batch::run`], with these outputs of a single row added up over the groups into the caller's memory,
    /// where the first group writes them.
    ///
    /// # Errors
    /// As there, or an output of another size.
    pub fn run_into(
        &mut self,
        feeds: &[(&str, Feed<R>)],
        parameters: &[&[R]],
        totals: &mut [(&str, &mut [R])],
    ) -> Result<(), BatchError>
    where
        R: AddAssign,
    {
        self.run_first_into(feeds, parameters, totals)?;
        totals.iter_mut().try_for_each(|(name, total)| self.add_to(name, total, 1))
    }

    fn run_first_into(
        &mut self,
        feeds: &[(&str, Feed<R>)],
        parameters: &[&[R]],
        outputs: &mut [(&str, &mut [R])],
    ) -> Result<(), BatchError> {
        let used: Vec<&(&str, Feed<R>)> = feeds
            .iter()
            .filter(|(name, _)| self.has(|role| matches!(role, Role::Input(own) if own == name)))
            .collect();
        let examples = self.lengths.examples.max(1);
        let feed = |instance: &mut Instance<R>| -> Result<(), ProgramError> {
            let part = instance.layout().part.clone();
            for (name, feed) in &used {
                match feed {
                    Feed::Real(values) => instance.set_input(name, slice(values, &part, examples))?,
                    Feed::Ids(ids) => instance.set_input_ids(name, slice(ids, &part, examples))?,
                }
            }
            Ok(())
        };
        let groups = &mut self.groups;
        let workers = self.pool.current_num_threads() / groups.len().max(1);
        if workers > 1
            && !self.program.is_profiled()
            && groups.iter().all(|group| group.products() > WORTH_IT)
        {
            groups.iter_mut().try_for_each(feed)?;
            return Ok(Instance::run_together(groups, parameters, outputs, &self.pool, workers)?);
        }
        let run = |instance: &mut Instance<R>, outputs: &mut [(&str, &mut [R])]| {
            feed(instance).and_then(|()| instance.run_into(parameters, outputs))
        };
        match groups.split_first_mut() {
            None => {}
            Some((first, [])) => run(first, outputs)?,
            Some((first, rest)) => {
                let others = || rest.par_iter_mut().map(|instance| run(instance, &mut [])).collect();
                let both = || rayon::join(|| run(first, outputs), others);
                let (first, others): (_, Vec<Result<(), ProgramError>>) = self.pool.install(both);
                first?;
                others.into_iter().collect::<Result<(), ProgramError>>()?;
            }
        }
        Ok(())
    }

    /// An output of a single row, added up over the groups into `total`.
    ///
    /// # Errors
    /// No such output, or one of another size.
    pub fn add_up(&self, output: &str, total: &mut [R]) -> Result<(), BatchError>
    where
        R: AddAssign,
    {
        self.add_to(output, total, 0)
    }

    /// The same where `total` holds the sum over the groups before `first`.
    fn add_to(&self, output: &str, total: &mut [R], first: usize) -> Result<(), BatchError>
    where
        R: AddAssign,
    {
        if first > 0 && first >= self.groups.len() {
            return Ok(());
        }
        if let Some(buffer) = self.output(output).filter(|buffer| buffer.width != total.len()) {
            let (name, given) = (buffer.name.clone(), total.len().to_string());
            return Err(ProgramError::Mismatch {
                name,
                expected: format!("{} elements", buffer.width),
                given,
            }
            .into());
        }
        // Each element is the sum over the groups in their order, whoever adds it up.
        let part = |(number, part): (usize, &mut [R])| -> Result<(), ProgramError> {
            self.groups
                .iter()
                .enumerate()
                .skip(first)
                .try_for_each(|(group, instance)| instance.add_row(output, number * CHUNK, part, group == 0))
        };
        match total.len() <= CHUNK {
            true => part((0, total))?,
            false => {
                let all = || total.par_chunks_mut(CHUNK).enumerate().try_for_each(part);
                self.pool.install(all)?;
            }
        }
        Ok(())
    }

    /// Whether an output is zero but for some of its rows.
    pub fn is_sparse(&self, output: &str) -> bool {
        let named = |role: &Role| matches!(role, Role::Output(own) if own == output);
        self.plan().sparse.iter().any(|sparse| named(&self.plan().buffers[sparse.out].role))
    }

    /// A sparse output, added up over the groups into `total`, whose rows are zero but for those that `named`
    /// has from the last time (`None`: all may be something else). False if the output is not sparse.
    ///
    /// # Errors
    /// No such output, or one of another size.
    pub fn add_up_rows(
        &self,
        output: &str,
        total: &mut [R],
        named: &mut Option<Vec<u32>>,
    ) -> Result<bool, BatchError>
    where
        R: AddAssign,
    {
        let tables: Vec<&Table> = self.groups.iter().filter_map(|group| group.table(output)).collect();
        let width = match (tables.first(), self.output(output)) {
            (Some(table), Some(buffer)) if table.bytes().len() == size_of_val(total) => {
                buffer.shape.iter().skip(1).product::<usize>()
            }
            _ => return Ok(false),
        };
        let mut now: Vec<u32> = tables.iter().flat_map(|table| table.named().iter().copied()).collect();
        now.sort_unstable();
        now.dedup();
        let before = named.take();
        if before.is_none() {
            total.fill(R::default());
        }
        let before = before.unwrap_or_default();
        let rows = CHUNK.div_ceil(width.max(1));
        // Each element is the sum over the groups in their order, whoever adds it up.
        let part = |(number, part): (usize, &mut [R])| {
            let range = (number * rows) as u32..((number + 1) * rows) as u32;
            let within = |all: &[u32]| {
                all.partition_point(|&row| row < range.start)..all.partition_point(|&row| row < range.end)
            };
            let place = |row: u32| {
                let at = (row - range.start) as usize * width;
                at..at + width
            };
            for &row in &before[within(&before)] {
                part[place(row)].fill(R::default());
            }
            for table in &tables {
                for &row in &table.named()[within(table.named())] {
                    let values = table.row(row).chunks_exact(size_of::<R>()).map(R::read);
                    part[place(row)].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
            }
        };
        match (before.len() + now.len()) * width <= CHUNK {
            true => total.chunks_mut(rows * width).enumerate().for_each(part),
            false => self.pool.install(|| total.par_chunks_mut(rows * width).enumerate().for_each(part)),
        }
        *named = Some(now);
        Ok(true)
    }

    /// An output of a single number.
    ///
    /// # Errors
    /// No such output.
    pub fn number(&self, output: &str) -> Result<f64, BatchError> {
        let mut total = 0.0;
        for instance in &self.groups {
            total += instance.output(output)?.first().map_or(0.0, |value| value.to_f64());
        }
        Ok(total)
    }

    /// An output of reals: the whole batch's padded rows, or the sum where it has a single row.
    ///
    /// # Errors
    /// No such output.
    pub fn values(&self, output: &str) -> Result<Vec<R>, BatchError> {
        let single =
            self.output(output).is_some_and(|buffer| self.plan().spaces[buffer.space].axes.is_empty());
        let mut all: Vec<R> = Vec::new();
        for instance in &self.groups {
            let own = instance.output(output)?;
            if single && !all.is_empty() {
                let sum = |a: &R, b: &R| R::from_f64(a.to_f64() + b.to_f64());
                all = all.iter().zip(&own).map(|(a, b)| sum(a, b)).collect();
            } else {
                all.extend(own);
            }
        }
        Ok(all)
    }

    /// An output of ids, the whole batch's.
    ///
    /// # Errors
    /// No such output.
    pub fn ids(&self, output: &str) -> Result<Vec<u32>, BatchError> {
        let mut all = Vec::new();
        for instance in &self.groups {
            all.extend(instance.output_ids(output)?);
        }
        Ok(all)
    }

    /// The buffer of an output.
    pub fn output(&self, name: &str) -> Option<&Buffer> {
        self.plan().buffers.iter().find(|buffer| matches!(&buffer.role, Role::Output(own) if own == name))
    }

    fn has(&self, is: impl Fn(&Role) -> bool) -> bool {
        self.plan().buffers.iter().any(|buffer| is(&buffer.role))
    }
}

/// The examples of each group. Trees go by their nodes, since they differ much in size.
fn parts(lengths: &Lengths) -> Vec<Range<usize>> {
    let examples = lengths.examples;
    if lengths.trees.is_empty() {
        let count = groups(examples);
        return (0..count).map(|group| part(examples, group, count)).collect();
    }
    let nodes = |example: usize| lengths.trees.values().map(|trees| trees[example].len()).sum::<usize>();
    // Where each tree ends among all nodes.
    let ends: Vec<usize> = (0..examples)
        .scan(0, |end, example| {
            *end += nodes(example);
            Some(*end)
        })
        .collect();
    let total = ends.last().copied().unwrap_or(0);
    let count = if total <= NODES { 1 } else { 2 * total.div_ceil(2 * NODES) };
    // A tree belongs to the group in which its middle lies.
    let middle = |example: usize| ends[example] * 2 - nodes(example);
    let first = |group: usize| {
        (0..examples).find(|&example| middle(example) * count >= 2 * total * group).unwrap_or(examples)
    };
    let bounds: Vec<usize> = (0..count).map(first).chain([examples]).collect();
    let parts = bounds.windows(2).map(|pair| pair[0]..pair[1]);
    let parts: Vec<Range<usize>> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { vec![0..examples] } else { parts }
}

/// How many groups a batch is split into.
fn groups(examples: usize) -> usize {
    let size = if examples < 2 * GROUP { SMALL_GROUP } else { GROUP };
    examples.div_ceil(size).max(1)
}

/// The examples of a group, as even as can be.
fn part(examples: usize, group: usize, groups: usize) -> Range<usize> {
    examples * group / groups..examples * (group + 1) / groups
}

/// The part's share of a padded array.
fn slice<'a, T>(values: &'a [T], part: &Range<usize>, examples: usize) -> &'a [T] {
    let each = values.len() / examples;
    values.get(part.start * each..part.end * each).unwrap_or(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_the_batch_evenly() {
        for examples in 0..100usize {
            let count = groups(examples);
            let parts: Vec<_> = (0..count).map(|group| part(examples, group, count)).collect();
            assert_eq!(parts.iter().map(Range::len).sum::<usize>(), examples);
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let longest = parts.iter().map(Range::len).max().unwrap();
            assert!(longest <= GROUP && longest - parts.iter().map(Range::len).min().unwrap() <= 1);
        }
    }

    #[test]
    fn trees_go_to_groups_by_their_nodes() {
        let mut rng = crate::testing::Rng::new(1);
        for trees in 0..60 {
            let sizes: Vec<usize> = (0..trees).map(|_| rng.below(90)).collect();
            let tree = |&nodes: &usize| {
                let parents: Vec<i64> = (0..nodes as i64).map(|node| node - 1).collect();
                std::sync::Arc::new(crate::base::Tree::new(&parents).unwrap())
            };
            let trees = sizes.iter().map(tree).collect::<Vec<_>>();
            let lengths = Lengths { examples: trees.len(), trees: [(1, trees)].into(), ..Lengths::default() };
            let parts = parts(&lengths);
            assert_eq!(parts.first().map(|part| part.start), Some(0));
            assert_eq!(parts.last().map(|part| part.end), Some(sizes.len()));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let nodes: Vec<usize> = parts.iter().map(|part| sizes[part.clone()].iter().sum()).collect();
            let (most, least) = (nodes.iter().max().unwrap(), nodes.iter().min().unwrap());
            assert!(*most <= NODES + 90 && most - least <= 2 * 90, "{nodes:?}");
        }
    }

    #[test]
    fn a_group_gets_its_share() {
        assert_eq!(slice(&[1, 2, 3, 4, 5, 6], &(1..3), 3), [3, 4, 5, 6]);
    }
}
