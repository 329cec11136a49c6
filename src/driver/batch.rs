//! A batch run in groups of about sixteen examples, on as many threads as there are; where there are more
//! threads than groups, several work on one.
//!
//! ```text
//! 40 examples -> groups 0..13, 13..26, 26..40 -> three instances, run in any order
//! loss = loss of group 0 + loss of group 1 + loss of group 2, always in this order
//! ```
//!
//! Trees go to groups by their nodes. How a batch is split depends on its sizes alone, and results are added in the
//! order of the groups: the same batch gives the same bits on any number of threads. Memory is laid out again only when
//! the lengths change. What is only added up needs memory for each thread (and a block more where groups differ), not
//! for each group: a group's is lent to the next one when its results have been added. It does not know what the outputs
//! mean.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError};
use thiserror::Error;

use super::in_order::InOrder;
use super::parts::parts;
use crate::plan::{Buffer, BufferId, Plan, Role, SpaceId, Steps};
use crate::runtime::layout::{Layout, Lengths};
use crate::runtime::memory::Memory;
use crate::runtime::opencl::{self, ahead::Padded};
use crate::runtime::program::{Direct, Instance, Program, ProgramError, Real};
use crate::runtime::threads::{self, stay_awake};

/// Multiply-adds of a group's run from which on several threads are worth waking for it.
const WORTH_IT: usize = 1 << 22;

/// Groups that differ by less than one part in so many take the same time.
const EVEN: usize = 64;

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

/// Threads for batches; 0 means one for each core (see [`crate::runtime::threads::pool`]).
///
/// # Errors
/// The system gives no threads.
pub fn threads(count: usize) -> Result<Arc<ThreadPool>, BatchError> {
    Ok(threads::pool(count)?)
}

/// A program with the memory for one batch.
pub struct Batch<R: Real> {
    code: Code<R>,
    pool: Arc<ThreadPool>,
    lengths: Lengths,
    /// In native code; a device has its groups in its own memory.
    groups: Vec<Instance<R>>,
    held: bool,
    /// Outputs that are only added up, if groups share memory.
    added: Option<Arc<[String]>>,
    /// What is lent to groups.
    lent: Vec<Memory>,
    /// For each sparse output the rows that may be other than zero where it was added up; `None` if that is not
    /// known.
    named: Vec<Option<Vec<u32>>>,
}

/// What is run: native code, or kernels in the memory of a device.
enum Code<R: Real> {
    Native(Arc<Program<R>>),
    Device(Box<opencl::Instance<R>>),
}

/// Where outputs are added up: the ranges of a whole that each takes.
type Sums<'a> = &'a [(String, Range<usize>)];

impl<R: Real> Batch<R> {
    /// A batch of no examples, in native code.
    pub fn new(program: Arc<Program<R>>, pool: Arc<ThreadPool>) -> Batch<R> {
        Batch::of(Code::Native(program), pool)
    }

    /// A batch of no examples, whose outputs of these names are read by [`Batch::run_adding`] and by nobody else.
    pub fn adding(program: Arc<Program<R>>, pool: Arc<ThreadPool>, outputs: Vec<String>) -> Batch<R> {
        Batch { added: Some(outputs.into()), ..Batch::new(program, pool) }
    }

    /// A batch of no examples on a device.
    ///
    /// # Errors
    /// The device has no room for the parameters.
    pub fn on_device(
        program: &Arc<opencl::Program<R>>,
        pool: Arc<ThreadPool>,
    ) -> Result<Batch<R>, ProgramError> {
        Ok(Batch::of(Code::Device(Box::new(opencl::Instance::new(program)?)), pool))
    }

    fn of(code: Code<R>, pool: Arc<ThreadPool>) -> Batch<R> {
        let (lengths, groups, lent) = (Lengths::default(), Vec::new(), Vec::new());
        let mut batch =
            Batch { code, pool, lengths, groups, held: false, added: None, lent, named: Vec::new() };
        batch.named = vec![None; batch.plan().sparse.len()];
        batch
    }

    /// The plan that is run.
    pub fn plan(&self) -> &Plan {
        match &self.code {
            Code::Native(program) => program.plan(),
            Code::Device(instance) => instance.program().plan(),
        }
    }

    /// Names of the parameters in the order in which [`Batch::run`] takes them.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.plan().buffers.iter().filter_map(|buffer| match &buffer.role {
            Role::Parameter(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The program, if it is native code.
    pub fn program(&self) -> Option<&Arc<Program<R>>> {
        match &self.code {
            Code::Native(program) => Some(program),
            Code::Device(_) => None,
        }
    }

    /// The memory on a device, if it runs there.
    pub fn device(&self) -> Option<&opencl::Instance<R>> {
        match &self.code {
            Code::Native(_) => None,
            Code::Device(instance) => Some(instance),
        }
    }

    /// The same, to be changed.
    pub fn device_mut(&mut self) -> Option<&mut opencl::Instance<R>> {
        match &mut self.code {
            Code::Native(_) => None,
            Code::Device(instance) => Some(instance),
        }
    }

    fn layouts(&self) -> Vec<&Layout> {
        match &self.code {
            Code::Native(_) => self.groups.iter().map(Instance::layout).collect(),
            Code::Device(instance) => instance.layouts().iter().collect(),
        }
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
        if self.lengths == *lengths && !self.layouts().is_empty() {
            return Ok(());
        }
        let whole = 0..lengths.examples;
        let parts = if self.in_groups() { parts(lengths) } else { Vec::from([whole]) };
        // What fails in the middle is laid out anew.
        self.lengths = Lengths::default();
        match &mut self.code {
            Code::Device(instance) => instance.lay_out(lengths, &parts)?,
            Code::Native(program) => {
                self.groups.truncate(parts.len());
                let known = &parts[..self.groups.len()];
                let again = |(instance, part): (&mut Instance<R>, &Range<usize>)| {
                    instance.relayout(lengths, part.clone())
                };
                match known.len() {
                    0 | 1 => self.groups.iter_mut().zip(known).try_for_each(again)?,
                    _ => self.pool.install(|| self.groups.par_iter_mut().zip(known).try_for_each(again))?,
                }
                for part in &parts[self.groups.len()..] {
                    let mut instance = match &self.added {
                        Some(outputs) => Instance::borrowing(program, lengths, part.clone(), outputs)?,
                        None => Instance::new(program, lengths, part.clone())?,
                    };
                    if self.held {
                        instance.hold_parameters();
                    }
                    self.groups.push(instance);
                }
            }
        }
        self.lengths = lengths.clone();
        Ok(())
    }

    /// On a device: begins to copy inputs of the batch that will be laid out and run next, while this one runs.
    /// They are not to change until then. Nothing in native code.
    ///
    /// # Errors
    /// An input of the wrong size, or the device fails.
    pub fn copy_ahead(&mut self, lengths: &Lengths, feeds: &[(&str, Feed<R>)]) -> Result<(), BatchError> {
        let whole = 0..lengths.examples;
        let parts = if self.in_groups() { parts(lengths) } else { Vec::from([whole]) };
        let same = self.lengths == *lengths && !self.layouts().is_empty();
        let used: Vec<&(&str, Feed<R>)> = feeds
            .iter()
            .filter(|(name, _)| self.has(|role| matches!(role, Role::Input(own) if own == name)))
            .collect();
        let Some(instance) = self.device_mut() else { return Ok(()) };
        let examples = lengths.examples.max(1);
        Ok(instance.copy_ahead(lengths, &parts, same, |part| {
            let mut shares = Vec::new();
            for (name, feed) in &used {
                shares.push(match feed {
                    Feed::Real(values) => (*name, Padded::Real(slice(values, part, examples))),
                    Feed::Ids(ids) => (*name, Padded::Ids(slice(ids, part, examples))),
                });
            }
            shares
        })?)
    }

    /// Whether the batch is split.
    fn in_groups(&self) -> bool {
        let wanted = match &self.code {
            Code::Native(_) => true,
            Code::Device(instance) => instance.program().in_groups(),
        };
        wanted && self.plan().splittable
    }

    /// Says that all runs from the next one on have the same parameters, until this is said again.
    pub fn hold_parameters(&mut self) {
        self.held = true;
        self.groups.iter_mut().for_each(Instance::hold_parameters);
        if let Some(instance) = self.device_mut() {
            instance.hold_parameters();
        }
    }

    /// Rows of some steps of a space, in all groups together.
    pub fn rows(&self, space: SpaceId, steps: Steps) -> usize {
        let rows = |layout: &Layout| {
            let space = &layout.spaces[space];
            steps.rows(space.rows, &space.step_offsets).len()
        };
        self.layouts().into_iter().map(rows).sum()
    }

    /// What the clocks of the groups said, see [`Instance::readings`]; a device keeps its own times.
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
        match self.device() {
            Some(instance) => Ok(instance.set_setting_ids("random", &key)?),
            None => Ok(()),
        }
    }

    /// Sets how far training has come: `epoch`, with its fraction, and `step` in the model's text.
    ///
    /// # Errors
    /// As those of setting any value.
    pub fn set_progress(&mut self, epoch: f64, step: u64) -> Result<(), BatchError> {
        self.set_scalar("epoch", epoch)?;
        self.set_scalar("step", step as f64)
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
            if let Some(instance) = self.device() {
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
        self.run_adding(feeds, parameters, &[], &mut [])
    }

    /// Says that the sums of [`Batch::run_adding`] are no longer what that left.
    pub fn forget_sums(&mut self) {
        self.named.fill(None);
    }

    /// The number of an output among the sparse ones.
    fn sparse(&self, output: &str) -> Option<usize> {
        let named = |role: &Role| matches!(role, Role::Output(own) if own == output);
        self.plan().sparse.iter().position(|sparse| named(&self.plan().buffers[sparse.out].role))
    }

    /// Clears the rows of sparse sums that the last run left, and notes those that this one will.
    fn clear_sums(&mut self, sums: Sums, total: &mut [R]) {
        for (output, range) in sums {
            let Some(at) = self.sparse(output) else { continue };
            let width = self.plan().sparse[at].width;
            let total = &mut total[range.clone()];
            match self.named[at].take() {
                None => total.fill(R::default()),
                Some(rows) => rows.into_iter().for_each(|row| {
                    let start = row as usize * width;
                    total[start..start + width].fill(R::default());
                }),
            }
            self.named[at] = Some(Vec::new());
        }
    }

    /// As [`Batch::run`], and adds outputs of a single row up over the groups, each into its range of `total`.
    /// Of sparse outputs only the rows are touched that this run or the last one changes: `total` is what that
    /// left, or see [`Batch::forget_sums`].
    ///
    /// # Errors
    /// An input, parameter or output of the wrong size.
    pub fn run_adding(
        &mut self,
        feeds: &[(&str, Feed<R>)],
        parameters: &[&[R]],
        sums: Sums,
        total: &mut [R],
    ) -> Result<(), BatchError> {
        for (output, range) in sums {
            self.check_sum(output, range.len())?;
        }
        self.clear_sums(sums, total);
        // A group that is alone need not prepare anything for others.
        let alone = self.groups.len() == 1;
        let sparse: Vec<Option<usize>> = sums.iter().map(|(output, _)| self.sparse(output)).collect();
        let used: Vec<&(&str, Feed<R>)> = feeds
            .iter()
            .filter(|(name, _)| self.has(|role| matches!(role, Role::Input(own) if own == name)))
            .collect();
        let examples = self.lengths.examples.max(1);
        if let Code::Device(instance) = &mut self.code {
            self::feed(instance, &used, examples)?;
            instance.run(parameters)?;
            return Ok(sums
                .iter()
                .try_for_each(|(output, range)| instance.add_up(output, &mut total[range.clone()]))?);
        }
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
        let dense = sums.iter().zip(&sparse).filter(|(_, sparse)| sparse.is_none());
        let straight: Vec<(BufferId, Range<usize>)> =
            dense.filter_map(|((output, range), _)| Some((self.output_id(output)?, range.clone()))).collect();
        self.lent.resize_with(self.lent.len().max(1), Memory::default);
        self.lent.iter_mut().for_each(|lent| lent.forget(alone));
        let groups = &mut self.groups;
        let workers = self.pool.current_num_threads() / groups.len().max(1);
        let together = workers > 1 && groups.iter().all(|group| group.products() > WORTH_IT);
        if together || groups.len() == 1 {
            groups.iter_mut().try_for_each(feed)?;
            self.lent.resize_with(self.lent.len().max(groups.len()), Memory::default);
            // The sum begins with what the first group has.
            let direct = Some(Direct { outputs: &straight, total: &mut *total });
            match &mut groups[..] {
                [instance] if !together => instance.run_in(parameters, &mut self.lent[0], direct)?,
                _ => Instance::run_together(groups, parameters, &mut self.lent, direct, &self.pool, workers)?,
            }
            for (instance, lent) in self.groups.iter().zip(&self.lent) {
                for ((_, range), at) in sums.iter().zip(&sparse) {
                    if let Some(at) = *at {
                        let named = self.named[at].get_or_insert_default();
                        instance.add_sparse(at, lent, &mut total[range.clone()], named);
                    }
                }
            }
            return self.add_others(sums, &sparse, total);
        }
        let tasks = self.pool.current_num_threads().min(groups.len()).max(1);
        let blocks = if tasks == 1 || !are_uneven(groups) { tasks } else { groups.len().min(tasks + 1) };
        self.lent.resize_with(self.lent.len().max(blocks), Memory::default);
        let jobs = groups.iter_mut().map(|instance| (instance, Ok(())));
        let sink = Adding { total, named: &mut self.named, result: Ok(()) };
        let jobs = InOrder::new(jobs, std::mem::take(&mut self.lent), sink);
        let run = |job: &mut (&mut Instance<R>, Result<(), ProgramError>),
                   lent: &mut Memory,
                   sink: Option<&mut Adding<R>>| {
            let (instance, result) = job;
            // The sum begins with what the first group has.
            let direct = sink.map(|sink| Direct { outputs: &straight, total: &mut *sink.total });
            *result = feed(instance).and_then(|()| instance.run_in(parameters, lent, direct));
        };
        let add = |sink: &mut Adding<R>,
                   number: usize,
                   job: &mut (&mut Instance<R>, Result<(), ProgramError>),
                   lent: &Memory| {
            let (instance, result) = job;
            let result = std::mem::replace(result, Ok(())).and_then(|()| {
                sums.iter().zip(&sparse).try_for_each(|((output, range), at)| {
                    let total = &mut sink.total[range.clone()];
                    match *at {
                        None if number == 0 => {}
                        None => instance.add_row(output, 0, total, false, Some(lent))?,
                        Some(at) => {
                            instance.add_sparse(at, lent, total, sink.named[at].get_or_insert_default());
                        }
                    }
                    Ok(())
                })
            });
            if sink.result.is_ok() {
                sink.result = result;
            }
        };
        match tasks {
            1 => jobs.work(run, add),
            _ => self.pool.scope(|scope| {
                (0..tasks).for_each(|_| {
                    scope.spawn(|_| {
                        jobs.work(run, add);
                        stay_awake();
                    });
                });
            }),
        }
        let (lent, sink) = jobs.into_parts();
        let result = sink.map_or(Ok(()), |sink| sink.result);
        self.lent = lent;
        Ok(result?)
    }

    /// On a device: runs on these inputs and on the parameters that are there. Nothing in native code, whose
    /// parameters are always the caller's.
    ///
    /// # Errors
    /// An input of the wrong size, or the device fails.
    pub fn run_resident(&mut self, feeds: &[(&str, Feed<R>)]) -> Result<(), BatchError> {
        let used: Vec<&(&str, Feed<R>)> = feeds
            .iter()
            .filter(|(name, _)| self.has(|role| matches!(role, Role::Input(own) if own == name)))
            .collect();
        let examples = self.lengths.examples.max(1);
        if let Code::Device(instance) = &mut self.code {
            self::feed(instance, &used, examples)?;
            instance.run_resident()?;
        }
        Ok(())
    }

    /// Waits until a device has done what it was given; native code always has.
    ///
    /// # Errors
    /// The device has failed.
    pub fn finish(&self) -> Result<(), BatchError> {
        match self.device() {
            Some(instance) => Ok(instance.finish()?),
            None => Ok(()),
        }
    }

    /// An output that is added up is a row of so many elements.
    fn check_sum(&self, output: &str, elements: usize) -> Result<(), BatchError> {
        match self.output(output) {
            None => Err(ProgramError::Unknown {
                program: self.plan().name.clone(),
                what: "output",
                name: output.to_string(),
            }
            .into()),
            Some(buffer) if buffer.width != elements => Err(ProgramError::Mismatch {
                name: buffer.name.clone(),
                expected: format!("{} elements", buffer.width),
                given: elements.to_string(),
            }
            .into()),
            Some(_) => Ok(()),
        }
    }

    /// Adds up what all groups but the first have in memory of their own or in the block that each was lent: each
    /// element in the order of the groups, whoever adds it.
    fn add_others(&self, sums: Sums, sparse: &[Option<usize>], total: &mut [R]) -> Result<(), BatchError> {
        if self.groups.len() < 2 {
            return Ok(());
        }
        for ((output, range), _) in sums.iter().zip(sparse).filter(|(_, sparse)| sparse.is_none()) {
            let part = |(number, part): (usize, &mut [R])| -> Result<(), ProgramError> {
                self.groups.iter().zip(&self.lent).skip(1).try_for_each(|(instance, lent)| {
                    instance.add_row(output, number * CHUNK, part, false, Some(lent))
                })
            };
            let total = &mut total[range.clone()];
            match total.len() <= CHUNK {
                true => part((0, total))?,
                false => {
                    let all = || total.par_chunks_mut(CHUNK).enumerate().try_for_each(part);
                    self.pool.install(all)?;
                }
            }
        }
        Ok(())
    }

    /// An output of a single number.
    ///
    /// # Errors
    /// No such output.
    pub fn number(&self, output: &str) -> Result<f64, BatchError> {
        let mut total = 0.0;
        for own in self.output_of_groups(output)? {
            total += own.first().map_or(0.0, |value| value.to_f64());
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
        for own in self.output_of_groups(output)? {
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
        if let Some(instance) = self.device() {
            for group in 0..instance.layouts().len() {
                all.extend(instance.output_ids(group, output)?);
            }
        }
        Ok(all)
    }

    /// An output of each group.
    fn output_of_groups(&self, output: &str) -> Result<Vec<Vec<R>>, ProgramError> {
        match &self.code {
            Code::Native(_) => self.groups.iter().map(|instance| instance.output(output)).collect(),
            Code::Device(instance) => {
                (0..instance.layouts().len()).map(|group| instance.output(group, output)).collect()
            }
        }
    }

    fn output_id(&self, name: &str) -> Option<BufferId> {
        let named = |buffer: &Buffer| matches!(&buffer.role, Role::Output(own) if own == name);
        self.plan().buffers.iter().position(named)
    }

    /// The buffer of an output.
    pub fn output(&self, name: &str) -> Option<&Buffer> {
        self.output_id(name).map(|id| &self.plan().buffers[id])
    }

    fn has(&self, is: impl Fn(&Role) -> bool) -> bool {
        self.plan().buffers.iter().any(|buffer| is(&buffer.role))
    }
}

/// Hands the inputs of a batch to a device.
fn feed<R: Real>(
    instance: &mut opencl::Instance<R>,
    used: &[&(&str, Feed<R>)],
    examples: usize,
) -> Result<(), ProgramError> {
    for group in 0..instance.layouts().len() {
        let part = instance.layouts()[group].part.clone();
        for (name, feed) in used {
            if instance.take_ahead(group, name)? {
                continue;
            }
            match feed {
                Feed::Real(values) => instance.set_input(group, name, slice(values, &part, examples))?,
                Feed::Ids(ids) => instance.set_input_ids(group, name, slice(ids, &part, examples))?,
            }
        }
    }
    Ok(())
}

/// Whether some groups have notably more to do than others.
fn are_uneven<R: Real>(groups: &[Instance<R>]) -> bool {
    let products = || groups.iter().map(Instance::products);
    let (most, least) = (products().max().unwrap_or(0), products().min().unwrap_or(0));
    (most - least) * EVEN > most
}

/// Where groups that run one after the other add what they have.
struct Adding<'a, R> {
    total: &'a mut [R],
    named: &'a mut [Option<Vec<u32>>],
    /// The first error of a group.
    result: Result<(), ProgramError>,
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
    fn a_group_gets_its_share() {
        assert_eq!(slice(&[1, 2, 3, 4, 5, 6], &(1..3), 3), [3, 4, 5, 6]);
    }
}
