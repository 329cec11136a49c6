//! The entry point: regions in order, loops step by step, every kernel over its rows.
//!
//! ```text
//! flat:  k0(context, 0, rows, 0); k1(context, 0, rows, 0)
//! loop:  for step in 0..steps: k2(context, first[step], first[step + 1], step); …
//! ```
//!
//! Kernels whose rows are all of nothing are skipped, but not those that reduce over rows: a sum over
//! no rows is zero and must be written.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::clock;
use super::code::{CHANGING, Code};
use super::emit::EmitError;
use crate::plan::places::{places, references};
use crate::plan::{BufferId, Element, GemmRows, Kernel, Region, Residency, Role, SpaceId, Work};

/// The kernels of a region.
pub fn kernels(region: &Region) -> &[Kernel] {
    match region {
        Region::Flat(kernels) | Region::Loop { kernels, .. } => kernels,
    }
}

/// Emits the entry point; its callees are the functions of all kernels in order, and behind them the clock
/// if every kernel is timed.
pub fn entry(code: &mut Code, profiled: bool) -> Result<(), EmitError> {
    let plan = code.plan;
    if profiled {
        clock::start(code);
    }
    let timed = |code: &mut Code, kernel: usize| {
        if profiled {
            clock::add(code, kernel);
        }
    };
    let mut first = 0;
    for (number, region) in plan.regions.iter().enumerate() {
        for buffer in zero_rows(code, number) {
            clear_zero_row(code, buffer)?;
        }
        let kernels = kernels(region);
        match region {
            Region::Flat(_) => {
                let step = code.int(0);
                for (index, kernel) in kernels.iter().enumerate() {
                    call(code, first + index, kernel, None, step)?;
                    timed(code, first + index);
                }
            }
            Region::Loop { axis, backward, .. } => {
                let steps = code.slots.steps(*axis);
                let steps = code.slot(steps);
                let zero = code.int(0);
                code.count(zero, steps, 1, |code, turn| {
                    let step = match backward {
                        false => turn,
                        true => {
                            let left = code.build.ins().isub(steps, turn);
                            code.plus(left, -1)
                        }
                    };
                    for (index, kernel) in kernels.iter().enumerate() {
                        call(code, first + index, kernel, Some(*axis), step)?;
                        timed(code, first + index);
                    }
                    Ok(())
                })?;
            }
        }
        first += kernels.len();
    }
    Ok(())
}

/// Calls a kernel over all its rows, or over those of one step of its space along `axis`.
fn call(
    code: &mut Code,
    callee: usize,
    kernel: &Kernel,
    axis: Option<usize>,
    step: Value,
) -> Result<(), EmitError> {
    let callee = code.callees[callee];
    let context = code.context();
    let Some((space, skip)) = rows_of(&kernel.work) else {
        let (begin, end) = (code.int(0), code.int(1));
        code.build.ins().call(callee, &[context, begin, end, step]);
        return Ok(());
    };
    let (begin, end) = match axis {
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
    };
    let invoke = |code: &mut Code| {
        code.build.ins().call(callee, &[context, begin, end, step]);
        Ok(())
    };
    match skip {
        false => invoke(code),
        true => {
            let any = code.build.ins().icmp(IntCC::SignedLessThan, begin, end);
            code.when(any, invoke)
        }
    }
}

/// The space whose rows a kernel runs over, and whether it has nothing to do without rows.
fn rows_of(work: &Work) -> Option<(SpaceId, bool)> {
    match work {
        Work::Rows(kernel) => Some((kernel.space, true)),
        Work::Gemm(gemm) => match gemm.rows {
            GemmRows::Space(space) => Some((space, true)),
            GemmRows::Static(_) => None,
        },
        Work::Pack(_) => None,
        Work::Outer(outer) => Some((outer.space, false)),
        Work::Combine(combine) => match combine.list {
            Some(_) => Some((combine.to, true)),
            None => Some((combine.from, false)),
        },
        Work::Scatter(scatter) => Some((scatter.space, false)),
        Work::Random(random) => Some((random.space, true)),
    }
}

/// Buffers that come to life in a region and whose zero row some kernel may read: another buffer may
/// have lain there before. What the caller sets keeps its place, and the caller sets its zero row.
fn zero_rows(code: &Code, region: usize) -> Vec<BufferId> {
    let plan = code.plan;
    let mut mapped = vec![false; plan.buffers.len()];
    for kernel in plan.regions.iter().flat_map(kernels) {
        for used in places(&kernel.work) {
            for (reference, through_map) in references(&used.place.at) {
                mapped[reference.buffer] |= through_map;
            }
        }
    }
    let own = |role: &Role| matches!(role, Role::Temporary | Role::Output(_));
    (0..plan.buffers.len())
        .filter(|&id| {
            let buffer = &plan.buffers[id];
            mapped[id]
                && own(&buffer.role)
                && buffer.life.0 == region
                && buffer.residency != Residency::Scratch
        })
        .collect()
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
