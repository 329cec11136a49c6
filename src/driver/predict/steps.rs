//! Drawing step by step: what is known before is computed once, then a program of one step runs, all hypotheses of
//! all examples as one batch.
//!
//! ```text
//! examples                a            b
//! rows of the program     a0 a1 a2     b0 b1 b2      a beam of three
//! after a step            a1 a1 a0     b0 b2 b1      states move to the hypotheses that go on
//! ```
//!
//! It knows states by name only, and no model. When half of the examples are done, the rows of the others move
//! together. Of values that are drawn at the same position each is drawn once those that it reads are known.

use std::sync::Arc;

use rayon::ThreadPool;

use super::beam::{best, bound, normalised};
use super::choice::log_softmax;
use super::drawn::{Drawn, element_of};
use super::padded::{Padded, Values};
use super::program::{Given, Program};
use super::search::Search;
use crate::driver::batch::{BatchError, Feed};
use crate::driver::compile::{CompileError, Pipeline};
use crate::ir::{AxisId, BATCH, Graph, InputSpec, OutputKind};
use crate::opt::{Stepwise, distribution, drawn_before};
use crate::plan::{self, Role};
use crate::runtime::checkpoint::Position;
use crate::runtime::parameters::Parameters;

/// One way in which an example may go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// What was drawn, for each of the drawn values, behind what was there to begin with.
    pub values: Vec<Values>,
    /// The logarithms of the probabilities of what was drawn; of numbers none.
    pub logs: Vec<Vec<f64>>,
    /// The logarithm of the probability of all that was drawn, that of the end too.
    pub score: f64,
    /// Positions drawn, without that of the end.
    pub steps: usize,
    /// Whether it has come to its end.
    pub ended: bool,
    /// Which example it is of.
    pub example: usize,
    /// The row in which its states are.
    row: usize,
}

/// An input of the step's program that is known before, or a state.
struct Memory {
    name: String,
    element: plan::Element,
    width: usize,
    axes: Vec<String>,
    /// Which of its axes is that of the steps.
    along: Option<usize>,
}

/// What a decoder is told.
pub struct Orders<'a> {
    /// How to choose.
    pub search: &'a Search,
    /// The most positions of each example.
    pub most: Vec<usize>,
    /// For each drawn value the id that ends it, if one does.
    pub ends: Vec<Option<u32>>,
    /// What there is of each drawn value to begin with, for each example.
    pub begin: Vec<Vec<Values>>,
    /// Sees what was added to an example, if that is for good; ends all by `false`.
    pub watch: &'a mut dyn FnMut(&Hypothesis) -> bool,
}

/// Programs that draw values step by step.
pub struct Decoder {
    /// What is drawn.
    pub drawn: Vec<Drawn>,
    /// The axis of the steps.
    pub axis: String,
    once: Option<Program>,
    step: Program,
    memory: Vec<Memory>,
    /// The states, but for what was drawn before.
    states: Vec<Memory>,
    /// The drawn values in groups, each known before the next.
    levels: Vec<Vec<usize>>,
    states_read: bool,
}

/// A decoder at work.
struct Work<'a> {
    given: &'a Given<'a>,
    /// What is known before, of every example.
    known: Vec<Padded>,
    /// The example of each row.
    rows: Vec<usize>,
    /// Whether the rows have not been fed yet with what no step changes.
    fresh: bool,
    /// The states of each row.
    states: Vec<Padded>,
}

impl Decoder {
    /// Says how long the model has been trained.
    pub fn trained_for(&mut self, position: Position) {
        for program in self.once.iter_mut().chain([&mut self.step]) {
            program.position = position;
        }
    }

    /// Compiles the programs.
    ///
    /// # Errors
    /// They cannot be compiled.
    pub fn new(
        pipeline: &mut Pipeline,
        parts: &Stepwise,
        drawn: Vec<Drawn>,
        axis: AxisId,
        parameters: &Arc<Parameters>,
        pool: &Arc<ThreadPool>,
    ) -> Result<Decoder, CompileError> {
        let graph = &parts.step;
        let once = match parts.once.outputs.is_empty() {
            true => None,
            false => Some(Program::new(pipeline, &parts.once, "once", parameters, pool)?),
        };
        let step = Program::new(pipeline, graph, "step", parameters, pool)?;
        let is_memory =
            |input: &&InputSpec| parts.once.outputs.iter().any(|output| output.name == input.name);
        let memory =
            graph.inputs.iter().filter(is_memory).map(|input| memory_of(graph, input, axis)).collect();
        let is_state = |input: &&InputSpec| graph.output(OutputKind::Carry, &input.name).is_some();
        let is_drawn =
            |input: &InputSpec| drawn.iter().any(|own| drawn_before(&input.name, &own.name).is_some());
        let states = graph.inputs.iter().filter(is_state).filter(|input| !is_drawn(input));
        let states = states.map(|input| memory_of(graph, input, axis)).collect();
        let axis = graph.axis_name(axis).to_string();
        let levels = levels(&parts.after);
        Ok(Decoder { drawn, axis, once, step, memory, states, levels, states_read: parts.states_read })
    }

    /// Draws for all examples; for each the hypotheses that were asked for, best first.
    ///
    /// # Errors
    /// A program cannot be run.
    pub fn decode(&mut self, given: &Given, orders: &mut Orders) -> Result<Vec<Vec<Hypothesis>>, BatchError> {
        let width = orders.search.beam.map_or(1, |beam| beam.width);
        let known = self.known(given)?;
        let mut work = Work { given, known, rows: Vec::new(), fresh: false, states: Vec::new() };
        let mut alive = self.begin(&mut work, &orders.begin)?;
        let mut done: Vec<Vec<Hypothesis>> = vec![Vec::new(); given.count()];
        retire(&mut alive, &mut done, &orders.most);
        let mut step = 0;
        while !alive.is_empty() {
            self.arrange(&mut work, &mut alive, width)?;
            if self.states_read && step > 0 {
                // What was drawn last, and with it the states that read it.
                let drawn = self.last_drawn(&work, &alive, 0);
                self.run(&mut work, &alive, step - 1, 1, &drawn)?;
                self.take_states(&mut work)?;
            }
            let (next, go_on) = self.extend(&mut work, alive, step, &mut done, orders)?;
            alive = next;
            retire(&mut alive, &mut done, &orders.most);
            if let Some(penalty) = orders.search.beam.map(|beam| beam.length_penalty) {
                alive.retain(|own| {
                    let best = bound(own.score, own.steps + 1, orders.most[own.example], penalty);
                    let better = done[own.example].iter().filter(|other| other.value(penalty) >= best);
                    better.count() < orders.search.count
                });
            }
            step += 1;
            if !go_on {
                alive.drain(..).for_each(|own| done[own.example].push(own));
            }
        }
        for own in &mut done {
            let penalty = orders.search.beam.map_or(0.0, |beam| beam.length_penalty);
            own.sort_by(|a, b| b.value(penalty).total_cmp(&a.value(penalty)));
            own.truncate(orders.search.count.min(width));
        }
        Ok(done)
    }

    /// What the steps read that no step changes.
    fn known(&mut self, given: &Given) -> Result<Vec<Padded>, BatchError> {
        let Some(once) = &mut self.once else { return Ok(Vec::new()) };
        let all: Vec<usize> = (0..given.count()).collect();
        let lengths = given.lengths_for(once.batch.plan(), &all, None);
        once.batch.lay_out(&lengths)?;
        once.run(&given.feeds())?;
        self.memory.iter().map(|memory| once.value(&memory.name)).collect()
    }

    /// One hypothesis for each example, with its states behind what it begins with.
    fn begin(&mut self, work: &mut Work, begin: &[Vec<Values>]) -> Result<Vec<Hypothesis>, BatchError> {
        let rows: Vec<usize> = (0..work.given.count()).collect();
        let alive = rows.iter().map(|&example| Hypothesis {
            values: (0..self.drawn.len()).map(|value| begin[value][example].clone()).collect(),
            logs: vec![Vec::new(); self.drawn.len()],
            score: 0.0,
            steps: 0,
            ended: false,
            example,
            row: example,
        });
        let alive: Vec<Hypothesis> = alive.collect();
        let extents = |state: &Memory| work.given.longest(&state.axes, &rows);
        let all = self.states.iter();
        work.states =
            all.map(|own| Padded::empty(own.element, rows.len(), extents(own), own.width)).collect();
        let lengths: Vec<usize> = alive.iter().map(|own| self.positions(own)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if longest == 0 {
            return Ok(alive);
        }
        work.rows = rows;
        self.lay_out(work, &lengths)?;
        let drawn: Vec<Padded> = (0..self.drawn.len())
            .map(|value| {
                let own = &self.drawn[value];
                let mut all = Padded::empty(element_of(own.element), alive.len(), vec![longest], own.width);
                for hypothesis in &alive {
                    all.set(hypothesis.row, &hypothesis.values[value]);
                }
                all
            })
            .collect();
        self.run(work, &alive, 0, longest, &drawn)?;
        self.take_states(work)?;
        work.rows.clear();
        Ok(alive)
    }

    /// Positions of a hypothesis so far, those to begin with too.
    fn positions(&self, own: &Hypothesis) -> usize {
        own.values.first().map_or(0, |values| values.len() / self.drawn[0].width.max(1))
    }

    /// Makes room for the rows, and feeds what no step changes.
    fn lay_out(&mut self, work: &mut Work, lengths: &[usize]) -> Result<(), BatchError> {
        work.fresh = true;
        let own = Some((self.axis.as_str(), lengths));
        let lengths = work.given.lengths_for(self.step.batch.plan(), &work.rows, own);
        self.step.batch.lay_out(&lengths)
    }

    /// Gives each hypothesis a row of its example, with its states.
    fn arrange(&mut self, work: &mut Work, alive: &mut [Hypothesis], width: usize) -> Result<(), BatchError> {
        let mut examples: Vec<usize> = alive.iter().map(|own| own.example).collect();
        examples.dedup();
        if work.rows.is_empty() || 2 * examples.len() * width <= work.rows.len() {
            work.rows = examples.iter().flat_map(|&example| std::iter::repeat_n(example, width)).collect();
            self.lay_out(work, &vec![1; work.rows.len()])?;
        }
        let mut from = vec![0; work.rows.len()];
        let mut next = 0;
        for own in alive {
            // Hypotheses are in the order of their examples, and so are the rows.
            next += work.rows[next..].iter().position(|&row| row == own.example).unwrap_or(0);
            from[next] = std::mem::replace(&mut own.row, next);
            next += 1;
        }
        for (state, values) in self.states.iter().zip(&mut work.states) {
            *values = values.take(&from, &work.given.longest(&state.axes, &work.rows));
        }
        Ok(())
    }

    /// What each row drew `back` steps before the last, as an input of one step.
    fn last_drawn(&self, work: &Work, alive: &[Hypothesis], back: usize) -> Vec<Padded> {
        let of = |(value, drawn): (usize, &Drawn)| {
            let mut all = Padded::empty(element_of(drawn.element), work.rows.len(), vec![1], drawn.width);
            for own in alive {
                let values = &own.values[value];
                if let Some(start) = values.len().checked_sub((back + 1) * drawn.width) {
                    all.set(own.row, &values.part(start..start + drawn.width));
                }
            }
            all
        };
        self.drawn.iter().enumerate().map(of).collect()
    }

    /// Runs the step with these values drawn in it, of which the hypotheses hold so many already.
    fn run(
        &mut self,
        work: &mut Work,
        alive: &[Hypothesis],
        step: usize,
        held: usize,
        drawn: &[Padded],
    ) -> Result<(), BatchError> {
        let fresh = std::mem::replace(&mut work.fresh, false);
        let mut own: Vec<(String, Padded)> = Vec::new();
        for (memory, values) in self.memory.iter().zip(&work.known) {
            let mut extents = work.given.longest(&memory.axes, &work.rows);
            if let Some(along) = memory.along {
                extents[along] = 1;
                own.push((memory.name.clone(), values.position(along, step).take(&work.rows, &extents)));
            } else if fresh {
                own.push((memory.name.clone(), values.take(&work.rows, &extents)));
            }
        }
        for buffer in &self.step.batch.plan().buffers {
            let Role::Input(name) = &buffer.role else { continue };
            let which = self.drawn.iter().position(|drawn| drawn_before(name, &drawn.name).is_some());
            if let Some(value) = which
                && let Some(back) = drawn_before(name, &self.drawn[value].name)
            {
                let before = self.last_drawn(work, alive, held + back - 1).swap_remove(value);
                own.push((name.clone(), Padded { extents: Vec::new(), ..before }));
            }
        }
        let mut feeds: Vec<(&str, Feed<f32>)> =
            own.iter().map(|(name, own)| (name.as_str(), own.feed())).collect();
        feeds.extend(
            self.states.iter().zip(&work.states).map(|(state, own)| (state.name.as_str(), own.feed())),
        );
        feeds.extend(self.drawn.iter().zip(drawn).map(|(own, drawn)| (own.name.as_str(), drawn.feed())));
        self.step.run(&feeds)
    }

    fn take_states(&mut self, work: &mut Work) -> Result<(), BatchError> {
        for (state, values) in self.states.iter().zip(&mut work.states) {
            *values = Padded::output(&self.step.batch, &format!("carry:{}", state.name))?;
        }
        Ok(())
    }

    /// Draws the next position of all that are alive; what ends is done. False if the watcher has seen enough.
    fn extend(
        &mut self,
        work: &mut Work,
        alive: Vec<Hypothesis>,
        step: usize,
        done: &mut [Vec<Hypothesis>],
        orders: &mut Orders,
    ) -> Result<(Vec<Hypothesis>, bool), BatchError> {
        let empty = |own: &Drawn| Padded::empty(element_of(own.element), work.rows.len(), vec![1], own.width);
        let mut drawn: Vec<Padded> = self.drawn.iter().map(empty).collect();
        let mut logs: Vec<Vec<f64>> = vec![vec![0.0; alive.len()]; drawn.len()];
        let mut next = Vec::new();
        for level in self.levels.clone() {
            self.run(work, &alive, step, 0, &drawn)?;
            for value in level {
                let own = &self.drawn[value];
                let found = self.step.value(&distribution(&own.name))?;
                if orders.search.beam.is_some() {
                    next = beam_step(own, &alive, &found, done, orders);
                    continue;
                }
                for (at, hypothesis) in alive.iter().enumerate() {
                    let parameters = &found.values.real()[found.row(hypothesis.row)];
                    let key = (work.given.keys[hypothesis.example], step, value);
                    let (chosen, log) = own.draw(parameters, orders.search, key);
                    drawn[value].set(hypothesis.row, &chosen);
                    logs[value][at] = log;
                }
            }
        }
        if !self.states_read {
            self.take_states(work)?;
        }
        if orders.search.beam.is_some() {
            return Ok((next, true));
        }
        let mut go_on = true;
        for (at, mut own) in alive.into_iter().enumerate() {
            let ends = (0..drawn.len()).any(|value| {
                orders.ends[value].is_some_and(|end| drawn[value].values.ids().get(own.row) == Some(&end))
            });
            own.score += logs.iter().map(|logs| logs[at]).sum::<f64>();
            if ends {
                own.ended = true;
                done[own.example].push(own);
                continue;
            }
            for (value, drawn) in drawn.iter().enumerate() {
                own.values[value].extend(&drawn.values, drawn.row(own.row));
                own.logs[value].push(logs[value][at]);
            }
            own.steps += 1;
            go_on &= (orders.watch)(&own);
            next.push(own);
        }
        Ok((next, go_on))
    }
}

/// The hypotheses of all beams that go on; what ends is done.
fn beam_step(
    own: &Drawn,
    alive: &[Hypothesis],
    found: &Padded,
    done: &mut [Vec<Hypothesis>],
    orders: &Orders,
) -> Vec<Hypothesis> {
    let width = orders.search.beam.map_or(1, |beam| beam.width);
    let mut next = Vec::new();
    for present in alive.chunk_by(|a, b| a.example == b.example) {
        let follow = |own_one: &Hypothesis| {
            let logits = own.logits(&found.values.real()[found.row(own_one.row)]);
            (own_one.score, log_softmax(&logits))
        };
        let scores: Vec<(f64, Vec<f64>)> = present.iter().map(follow).collect();
        let example = present[0].example;
        for choice in best(&scores, width.saturating_sub(done[example].len())) {
            let mut grown = present[choice.from].clone();
            grown.score = choice.score;
            if orders.ends[0] == Some(choice.id) {
                grown.ended = true;
                done[example].push(grown);
                continue;
            }
            grown.values[0].extend(&Values::Ids(vec![choice.id]), 0..1);
            grown.logs[0].push(choice.log);
            grown.steps += 1;
            next.push(grown);
        }
    }
    next
}

impl Hypothesis {
    /// What it is compared by.
    pub fn value(&self, penalty: f64) -> f64 {
        normalised(self.score, self.steps + usize::from(self.ended), penalty)
    }
}

/// What has as many positions as it may have is done.
fn retire(alive: &mut Vec<Hypothesis>, done: &mut [Vec<Hypothesis>], most: &[usize]) {
    for own in alive.extract_if(.., |own| own.steps >= most[own.example]) {
        done[own.example].push(own);
    }
}

fn memory_of(graph: &Graph, input: &InputSpec, axis: AxisId) -> Memory {
    let axes: Vec<AxisId> = input.ty.axes.without(BATCH).iter().collect();
    Memory {
        name: input.name.clone(),
        element: element_of(input.ty.element),
        width: input.ty.size(),
        along: axes.iter().position(|&own| own == axis),
        axes: axes.iter().map(|&own| graph.axis_name(own).to_string()).collect(),
    }
}

/// Values in groups: each behind those of `after`.
fn levels(after: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut levels: Vec<Vec<usize>> = Vec::new();
    let mut done: Vec<usize> = Vec::new();
    while done.len() < after.len() {
        let ready =
            |value: &usize| !done.contains(value) && after[*value].iter().all(|own| done.contains(own));
        let mut level: Vec<usize> = (0..after.len()).filter(ready).collect();
        if level.is_empty() {
            // No checked program has such a cycle.
            level = (0..after.len()).filter(|value| !done.contains(value)).collect();
        }
        done.extend(&level);
        levels.push(level);
    }
    levels
}
