//! The entry point `f(context, worker, workers)`: regions in order, loops step by step, every kernel over its
//! rows, or this worker's part of it.
//!
//! ```text
//! flat:  k0(context, 0, rows, 0, 0, columns); k1(context, 0, rows, 0, 0, columns)
//! loop:  for step in 0..steps: k2(context, first[step], first[step + 1], step, 0, columns); …
//! ```
//!
//! Several workers on one group do what [`super::share`] says; a loop of short steps is the first one's alone.
//!
//! Kernels whose rows are all of nothing are skipped, but not those that reduce over rows: a sum over
//! no rows is zero and must be written.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Signature, Value, types};
use cranelift_frontend::Variable;

use super::clock;
use super::code::{CHANGING, Code};
use super::context::CELL_BYTES;
use super::emit::EmitError;
use super::share::{Division, Divisions, Share};
use super::unpacked::{Unpacked, are_few};
use crate::plan::places::{rows_of, zero_rows};
use crate::plan::{BufferId, Element, Gemm, GemmRows, Kernel, PANEL, Phase, Region, SpaceId, Steps, Work};

/// Sums that a product and the row kernel behind it share at a time: 32 KiB, the nearest cache.
const NEAR: usize = 8192;
/// Rows of a turn at most, and columns at least: panels that two tiles share.
const TURN_ROWS: usize = 32;
const TURN_COLUMNS: usize = 2 * PANEL;
/// Multiply-adds of a step that one worker does in the time that it takes several to meet.
const SHORT: usize = 24_000;
/// Multiply-adds in a product that take as long as an instruction of a row kernel, about.
const INSTRUCTION: usize = 2;
/// Looks at another worker's cell before it is time to let other threads run: a power of two.
const PATIENCE: i64 = 1 << 12;

/// Emits the entry point; its callees are the functions of all kernels in order, and behind them the clock
/// if every kernel is timed.
pub fn entry(
    code: &mut Code,
    divisions: &Divisions,
    unpacked: &Unpacked,
    profiled: bool,
) -> Result<(), EmitError> {
    let plan = code.plan;
    let run = Run { team: Team::new(code), divisions: &divisions.packed, parts: &HashMap::new(), profiled };
    if profiled {
        code.when(run.team.first, |code| {
            clock::start(code);
            Ok(())
        })?;
    }
    let mut first = 0;
    for (number, region) in plan.regions.iter().enumerate() {
        let zero_rows = zero_rows(plan, number);
        if !zero_rows.is_empty() {
            // Another buffer may have lain there, which somebody still reads: all have met since.
            code.when(run.team.first, |code| {
                zero_rows.into_iter().try_for_each(|buffer| clear_zero_row(code, buffer))
            })?;
            run.meet(code)?;
        }
        let kernels = region.kernels();
        match region {
            Region::Flat(_) => {
                let step = code.int(0);
                for (index, kernel) in run.own(first, kernels) {
                    if run.divisions[first + index].meets {
                        run.meet(code)?;
                    }
                    let once = |code: &mut Code| run.kernel(code, first + index, kernel, None, step);
                    match is_wanted(code, kernel, unpacked) {
                        None => once(code)?,
                        Some(wanted) => code.when(wanted, once)?,
                    }
                }
            }
            Region::Loop { axis, .. } => {
                let steps = code.slots.steps(*axis);
                let steps = code.slot(steps);
                let alone = is_short(code, kernels, *axis, steps);
                let yes = code.build.ins().iconst(types::I8, 1);
                let others = code.build.ins().bxor(alone, yes);
                let one = code.int(1);
                let workers = code.build.ins().select(alone, one, run.team.workers);
                let team = Team { workers, ..run.team };
                let here = code.build.ins().bor(others, run.team.first);
                let inside = Run { team, ..run };
                let own = first..first + kernels.len();
                code.when(here, |code| {
                    let packed = |code: &mut Code| inside.steps(code, region, first, steps);
                    let readers = own.clone().map(|number| unpacked.beside(number));
                    let differs = divisions.packed[own.clone()] != divisions.unpacked[own.clone()];
                    let Some(readers) = readers.into_iter().find(|all| differs && !all.is_empty()) else {
                        return packed(code);
                    };
                    let few = are_few(code, readers);
                    let otherwise = Run { divisions: &divisions.unpacked, ..inside };
                    code.either(few, |code| otherwise.steps(code, region, first, steps), packed)
                })?;
            }
        }
        run.meet(code)?;
        first += kernels.len();
    }
    Ok(())
}

/// Whether a kernel outside of loops is to run, if that is not certain: constants may be there, and matrices that are
/// read as they lie need not be packed.
fn is_wanted(code: &mut Code, kernel: &Kernel, unpacked: &Unpacked) -> Option<Value> {
    let missing = kernel.constant.then(|| {
        let held = code.slots.held();
        let held = code.slot(held);
        let one = code.int(1);
        code.build.ins().icmp(IntCC::NotEqual, held, one)
    });
    let Work::Pack(pack) = &kernel.work else { return missing };
    let Some(readers) = unpacked.readers(pack.to) else { return missing };
    let few = are_few(code, &readers);
    let yes = code.build.ins().iconst(types::I8, 1);
    let many = code.build.ins().bxor(few, yes);
    Some(missing.map_or(many, |missing| code.build.ins().band(missing, many)))
}

/// Whether there is so little to do in a step that workers would wait for each other longer than it takes one of them to
/// do all.
fn is_short(code: &mut Code, kernels: &[Kernel], axis: usize, steps: Value) -> Value {
    let mut products = code.int(0);
    for kernel in kernels {
        let (space, each) = match &kernel.work {
            Work::Gemm(Gemm { rows: GemmRows::Space(space), k, n, .. }) => (*space, k * n),
            Work::Rows(rows) => {
                let points = |phase: &Phase| phase.dims.iter().product::<usize>() * phase.body.len();
                (rows.space, INSTRUCTION * rows.phases.iter().map(points).sum::<usize>())
            }
            _ => continue,
        };
        let rows = code.slots.rows(space);
        let rows = code.slot(rows);
        let each = code.scaled(rows, each);
        // Rows that do not lie along the loop are multiplied at each step.
        let along = code.plan.spaces[space].major == Some(axis);
        let each = if along { each } else { code.build.ins().imul(each, steps) };
        products = code.build.ins().iadd(products, each);
    }
    let most = code.scaled(steps, SHORT);
    code.build.ins().icmp(IntCC::SignedLessThanOrEqual, products, most)
}

/// A worker's part of the columns of kernels that are divided by these, by how many they are: found once and not at each
/// step.
fn parts_of_columns(code: &mut Code, team: Team, divisions: &[Division]) -> HashMap<usize, (Value, Value)> {
    let mut parts = HashMap::new();
    for division in divisions {
        if let Share::Columns(width) = division.share {
            parts.entry(width).or_insert_with(|| team.part_of_columns(code, width));
        }
    }
    parts
}

/// What all calls of kernels have in common. Kernels go by their numbers.
#[derive(Clone, Copy)]
struct Run<'d> {
    team: Team,
    divisions: &'d [Division],
    parts: &'d HashMap<usize, (Value, Value)>,
    profiled: bool,
}

impl Run<'_> {
    /// Kernels of a region, the first of which has this number; some are done along with others.
    fn own<'k>(&self, first: usize, kernels: &'k [Kernel]) -> impl Iterator<Item = (usize, &'k Kernel)> {
        kernels.iter().enumerate().filter(move |(index, _)| self.divisions[first + index].with.is_none())
    }

    /// All steps of a loop whose first kernel has this number.
    fn steps(&self, code: &mut Code, region: &Region, first: usize, steps: Value) -> Result<(), EmitError> {
        let Region::Loop { axis, backward, kernels } = region else { return Ok(()) };
        let parts = parts_of_columns(code, self.team, &self.divisions[first..first + kernels.len()]);
        let inside = Run { parts: &parts, ..*self };
        let zero = code.int(0);
        code.count(zero, steps, 1, |code, turn| {
            let step = match backward {
                false => turn,
                true => {
                    let left = code.build.ins().isub(steps, turn);
                    code.plus(left, -1)
                }
            };
            inside.own(first, kernels).try_for_each(|(index, kernel)| {
                if inside.divisions[first + index].meets {
                    inside.meet(code)?;
                }
                inside.kernel(code, first + index, kernel, Some(*axis), step)
            })
        })
    }

    /// Calls a kernel over all its rows, or over those of one step of its space along `axis`: this worker's part.
    fn kernel(
        &self,
        code: &mut Code,
        number: usize,
        kernel: &Kernel,
        axis: Option<usize>,
        step: Value,
    ) -> Result<(), EmitError> {
        let rows = rows_of(&kernel.work);
        let (begin, end) = match rows {
            None => (code.int(0), code.int(1)),
            Some((space, _)) => match axis {
                Some(axis) if code.plan.spaces[space].major == Some(axis) => {
                    let offsets = code.slots.step_offsets(space);
                    let offsets = code.slot(offsets);
                    let next = code.plus(step, 1);
                    (code.table(offsets, step, false), code.table(offsets, next, false))
                }
                _ => {
                    let rows = code.slots.rows(space);
                    (code.int(0), code.slot(rows))
                }
            },
        };
        let looped = axis
            .is_some_and(|axis| rows.is_some_and(|(space, _)| code.plan.spaces[space].major == Some(axis)));
        let zero = code.int(0);
        if looped && kernel.steps != Steps::All {
            // Workers agree on the step, so what none of them does needs no meeting.
            let now = match kernel.steps {
                Steps::First => IntCC::Equal,
                Steps::Rest | Steps::All => IntCC::NotEqual,
            };
            let now = code.build.ins().icmp(now, step, zero);
            return code.when(now, |code| self.part(code, number, rows, (begin, end), step));
        }
        let (begin, end) = match (rows, kernel.steps) {
            (None, _) | (_, Steps::All) => (begin, end),
            (Some((space, _)), steps) => {
                let offsets = code.slots.step_offsets(space);
                let offsets = code.slot(offsets);
                let one = code.int(1);
                let first = code.table(offsets, one, false);
                if steps == Steps::First { (begin, first) } else { (first, end) }
            }
        };
        self.part(code, number, rows, (begin, end), step)
    }

    /// Calls a kernel over this worker's part of some rows.
    fn part(
        &self,
        code: &mut Code,
        number: usize,
        rows: Option<(SpaceId, bool)>,
        (begin, end): (Value, Value),
        step: Value,
    ) -> Result<(), EmitError> {
        let (team, division) = (&self.team, self.divisions[number]);
        let zero = code.int(0);
        let (part, columns) = match division.share {
            Share::Rows => (team.part(code, begin, end, code.tiling.rows), (zero, zero)),
            Share::Columns(width) => {
                let own = self.parts.get(&width).copied();
                ((begin, end), own.unwrap_or_else(|| team.part_of_columns(code, width)))
            }
            Share::Larger(width) => {
                let rows = code.build.ins().isub(end, begin);
                let all = code.int(width as i64);
                let wide = code.build.ins().icmp(IntCC::SignedLessThan, rows, all);
                let (first, until) = team.part(code, begin, end, code.tiling.rows);
                let (from, to) = team.part_of_columns(code, width);
                let mut choose = |by_columns, by_rows| code.build.ins().select(wide, by_columns, by_rows);
                let rows = (choose(begin, first), choose(end, until));
                (rows, (choose(from, zero), choose(to, all)))
            }
            Share::All => ((begin, end), (zero, zero)),
        };
        let mut any = match rows {
            Some((_, true)) => code.build.ins().icmp(IntCC::SignedLessThan, part.0, part.1),
            _ => code.build.ins().iconst(types::I8, 1),
        };
        match division.share {
            Share::Rows => {}
            Share::Columns(_) | Share::Larger(_) => {
                let some = code.build.ins().icmp(IntCC::SignedLessThan, columns.0, columns.1);
                any = code.build.ins().band(any, some);
            }
            Share::All => any = code.build.ins().band(any, team.first),
        }
        code.when(any, |code| {
            let Some(windows) = division.turns else {
                return self.call(code, number, part, columns, step);
            };
            in_turns(code, part, columns, windows, step, |code, rows, columns| {
                self.call(code, number, rows, columns, step)?;
                self.call(code, number + 1, rows, columns, step)
            })
        })
    }

    /// Waits until all workers are here.
    fn meet(&self, code: &mut Code) -> Result<(), EmitError> {
        let several = self.team.several(code);
        code.when(several, |code| {
            self.team.meet(code)?;
            self.note(code, self.divisions.len())
        })
    }

    /// Has the first worker read the clock, if there is one, behind a kernel or, by the number after the last, a meeting.
    fn note(&self, code: &mut Code, number: usize) -> Result<(), EmitError> {
        if !self.profiled {
            return Ok(());
        }
        code.when(self.team.first, |code| {
            clock::add(code, number);
            Ok(())
        })
    }

    fn call(
        &self,
        code: &mut Code,
        number: usize,
        rows: (Value, Value),
        columns: (Value, Value),
        step: Value,
    ) -> Result<(), EmitError> {
        let (context, callee) = (code.context(), code.callees[number]);
        code.build.ins().call(callee, &[context, rows.0, rows.1, step, columns.0, columns.1]);
        self.note(code, number)
    }
}

/// Has a product and the row kernel behind it take turns: some rows by some columns of each of the product's
/// `windows`, whose sums are no more than [`NEAR`] elements.
fn in_turns(
    code: &mut Code,
    (begin, end): (Value, Value),
    (from, to): (Value, Value),
    windows: usize,
    step: Value,
    mut turn: impl FnMut(&mut Code, (Value, Value), (Value, Value)) -> Result<(), EmitError>,
) -> Result<(), EmitError> {
    let rows = code.build.ins().isub(end, begin);
    let columns = code.build.ins().isub(to, from);
    let most = code.int(TURN_ROWS as i64);
    let near = code.int(NEAR as i64);
    let few = code.build.ins().icmp(IntCC::SignedLessThanOrEqual, rows, most);
    let sums = code.build.ins().imul(rows, columns);
    let sums = code.scaled(sums, windows);
    let small = code.build.ins().icmp(IntCC::SignedLessThanOrEqual, sums, near);
    let at_once = code.build.ins().band(few, small);
    code.when(at_once, |code| turn(code, (begin, end), (from, to)))?;
    let yes = code.build.ins().iconst(types::I8, 1);
    let several = code.build.ins().bxor(at_once, yes);
    code.when(several, |code| {
        let rows = code.build.ins().smin(rows, most);
        let across = code.scaled(rows, windows);
        let wide = code.build.ins().udiv(near, across);
        let mask = code.int(!(TURN_COLUMNS as i64 - 1));
        let wide = code.build.ins().band(wide, mask);
        let least = code.int(TURN_COLUMNS as i64);
        let wide = code.build.ins().smax(wide, least);
        // As products do, every other step goes backward: what was used last is still near.
        let one = code.int(1);
        let backward = code.build.ins().band(step, one);
        let up = code.build.ins().iadd(columns, wide);
        let up = code.plus(up, -1);
        let turns = code.build.ins().udiv(up, wide);
        let zero = code.int(0);
        code.count(begin, end, TURN_ROWS as i64, |code, first| {
            let until = code.plus(first, TURN_ROWS as i64);
            let until = code.build.ins().smin(until, end);
            code.count_either_way((zero, turns), 1, backward, |code, number| {
                let skipped = code.build.ins().imul(number, wide);
                let own = code.build.ins().iadd(from, skipped);
                let behind = code.build.ins().iadd(own, wide);
                let behind = code.build.ins().smin(behind, to);
                turn(code, (first, until), (own, behind))
            })
        })
    })
}

/// The workers on one group.
#[derive(Clone, Copy)]
struct Team {
    worker: Value,
    workers: Value,
    /// Whether this is the first of them.
    first: Value,
    /// How often they have met, in all runs.
    met: Variable,
}

impl Team {
    fn new(code: &mut Code) -> Team {
        let (worker, workers) = (code.params[1], code.params[2]);
        let zero = code.int(0);
        let first = code.build.ins().icmp(IntCC::Equal, worker, zero);
        let met = code.build.declare_var(types::I64);
        code.build.def_var(met, zero);
        let team = Team { worker, workers, first, met };
        let several = team.several(code);
        // A single worker has no cells.
        let _ = code.when(several, |code| {
            let cell = team.cell(code, worker);
            let before = code.build.ins().load(types::I64, CHANGING, cell, 0);
            code.build.def_var(met, before);
            Ok(())
        });
        team
    }

    fn several(&self, code: &mut Code) -> Value {
        let one = code.int(1);
        code.build.ins().icmp(IntCC::SignedGreaterThan, self.workers, one)
    }

    /// This worker's part of `begin..end`, in multiples of `unit` from `begin` on.
    fn part(&self, code: &mut Code, begin: Value, end: Value, unit: usize) -> (Value, Value) {
        let length = code.build.ins().isub(end, begin);
        let up = code.plus(length, unit as i64 - 1);
        let unit = code.int(unit as i64);
        let units = code.build.ins().udiv(up, unit);
        let next = code.plus(self.worker, 1);
        let mut bound = |worker: Value| {
            let share = code.build.ins().imul(units, worker);
            let share = code.build.ins().udiv(share, self.workers);
            let at = code.build.ins().imul(share, unit);
            let at = code.build.ins().iadd(begin, at);
            code.build.ins().smin(at, end)
        };
        (bound(self.worker), bound(next))
    }

    /// This worker's part of so many columns: whole panels.
    fn part_of_columns(&self, code: &mut Code, width: usize) -> (Value, Value) {
        let (zero, width) = (code.int(0), code.int(width as i64));
        self.part(code, zero, width, PANEL)
    }

    /// The cell in which a worker counts its meetings: a cache line of its own.
    fn cell(&self, code: &mut Code, worker: Value) -> Value {
        let cells = code.slots.cells();
        let cells = code.slot(cells);
        code.element(cells, worker, CELL_BYTES)
    }

    /// Waits until all workers are here. What they wrote before is then seen by all.
    fn meet(&self, code: &mut Code) -> Result<(), EmitError> {
        let several = self.several(code);
        code.when(several, |code| {
            let met = code.build.use_var(self.met);
            let met = code.plus(met, 1);
            code.build.def_var(self.met, met);
            let own = self.cell(code, self.worker);
            match code.ordered_stores {
                true => code.build.ins().store(CHANGING, met, own, 0),
                false => code.build.ins().atomic_store(CHANGING, met, own),
            };
            let zero = code.int(0);
            code.count(zero, self.workers, 1, |code, other| {
                let cell = self.cell(code, other);
                let again = code.build.create_block();
                let wait = code.build.create_block();
                let done = code.build.create_block();
                let turn = code.build.append_block_param(again, types::I64);
                code.build.ins().jump(again, &[BlockArg::Value(zero)]);
                code.build.switch_to_block(again);
                let there = code.build.ins().atomic_load(types::I64, CHANGING, cell);
                let waiting = code.build.ins().icmp(IntCC::SignedLessThan, there, met);
                code.build.ins().brif(waiting, wait, &[], done, &[]);
                code.build.seal_block(wait);
                code.build.seal_block(done);
                code.build.switch_to_block(wait);
                let next = code.plus(turn, 1);
                let mask = code.int(PATIENCE - 1);
                let low = code.build.ins().band(next, mask);
                let long = code.build.ins().icmp(IntCC::Equal, low, zero);
                code.when(long, |code| {
                    let pause = code.slots.pause();
                    let pause = code.slot(pause);
                    let given = code.build.ins().icmp(IntCC::NotEqual, pause, zero);
                    code.when(given, |code| {
                        let signature = Signature::new(code.call_conv);
                        let signature = code.build.import_signature(signature);
                        code.build.ins().call_indirect(signature, pause, &[]);
                        Ok(())
                    })
                })?;
                code.build.ins().jump(again, &[BlockArg::Value(next)]);
                code.build.seal_block(again);
                code.build.switch_to_block(done);
                Ok(())
            })
        })
    }
}

fn clear_zero_row(code: &mut Code, buffer: BufferId) -> Result<(), EmitError> {
    let declared = &code.plan.buffers[buffer];
    let (width, element) = (declared.width, declared.element);
    let bytes = code.element_bytes(buffer);
    let base = code.base(buffer);
    let start = code.plus(base, -((width * bytes) as i64));
    code.count_constant(width, 1, |code, index| {
        let at = code.element(start, index, bytes);
        let nothing = match element {
            Element::Real => code.real(0.0),
            Element::Id => code.build.ins().iconst(types::I32, i64::from(u32::MAX)),
        };
        code.build.ins().store(CHANGING, nothing, at, 0);
        Ok(())
    })
}
