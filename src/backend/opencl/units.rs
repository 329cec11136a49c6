//! What is done between two meetings of all teams: a kernel of the plan, or a product with its epilogue.
//!
//! ```text
//! z = W @ h[t-1]                 product, 4 H columns        ┐ one unit: the row kernel reads of the product its own
//! h[t] = o * tanh(f * c + …)     rows, phases [H]            ┘ row and columns i, H + i, 2 H + i, 3 H + i alone
//! ```
//!
//! The columns that such a row kernel reads together are *windows* of the product, and a block has the same part of
//! each of them, so that nobody else's sums are needed. Who does a unit is decided here, too: work-items each for
//! itself, or teams that have local memory in common.

use crate::plan::places::{Access, kernels, places, references};
use crate::plan::{
    BufferId, Gemm, GemmRows, Inst, Kernel, Outer, Phase, Plan, Role, Row, RowKernel, Scatter, Work,
};

/// Rows and columns from which a product goes through local memory.
const LARGE: usize = 16;
/// Width from which a row is the work of a team.
const WIDE: usize = 64;
/// Windows that a block has room for at most.
const WINDOWS: usize = 8;

/// Kernels that need no meeting in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit<'p> {
    /// The kernel's number in the plan.
    pub number: usize,
    /// The kernel.
    pub kernel: &'p Kernel,
    /// The row kernel behind it, which is done block by block.
    pub epilogue: Option<Epilogue<'p>>,
    /// Whether it is in a loop.
    pub looped: bool,
}

/// A row kernel as the epilogue of a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epilogue<'p> {
    /// The kernel.
    pub kernel: &'p Kernel,
    /// Its only phase.
    pub phase: &'p Phase,
    /// What it reads of the product.
    pub windows: Windows,
}

/// Parts of a product's columns that are read together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Windows {
    /// How many.
    pub count: usize,
    /// First column of the first one.
    pub base: usize,
    /// From each to the next.
    pub stride: usize,
    /// Columns of each.
    pub width: usize,
}

/// The units of a region's kernels, of which the first has this number.
pub(super) fn units<'p>(plan: &'p Plan, region: &'p [Kernel], first: usize, looped: bool) -> Vec<Unit<'p>> {
    let mut units = Vec::new();
    let mut at = 0;
    while let Some(kernel) = region.get(at) {
        let number = first + at;
        let epilogue = region.get(at + 1).and_then(|next| epilogue(plan, number, kernel, next, looped));
        at += 1 + usize::from(epilogue.is_some());
        units.push(Unit { number, kernel, epilogue, looped });
    }
    units
}

impl Unit<'_> {
    /// Whether teams do it.
    pub fn by_teams(&self) -> bool {
        match &self.kernel.work {
            Work::Gemm(gemm) => is_large(gemm),
            Work::Rows(rows) => !self.by_phases() && wide(rows),
            Work::Outer(Outer { m, n, .. }) => !self.looped && *m >= LARGE && *n >= LARGE,
            Work::Combine(combine) => combine.list.is_none(),
            Work::Scatter(_) => true,
            Work::Pack(_) | Work::Random(_) => false,
        }
    }

    /// Whether the phases of a row kernel are launched one after the other: there is a single row, and all
    /// work-items share it.
    pub fn by_phases(&self) -> bool {
        matches!(&self.kernel.work, Work::Rows(rows) if rows.space == 0 && rows.phases.len() > 1 && !self.looped)
    }

    /// All equations.
    pub fn equations(&self) -> Vec<String> {
        let behind = self.epilogue.iter().flat_map(|epilogue| &epilogue.kernel.equations);
        self.kernel.equations.iter().chain(behind).cloned().collect()
    }
}

/// The units of a flat stretch in groups that are launched together: neighbours that do not touch what another one
/// of the group writes, and are done by teams all of them or none.
pub(super) fn launched_together<'u, 'p>(units: &'u [Unit<'p>]) -> Vec<&'u [Unit<'p>]> {
    let mut groups = Vec::new();
    let mut rest = units;
    while let Some((first, _)) = rest.split_first() {
        let fits = |at: usize| {
            let (before, unit) = (&rest[..at], &rest[at]);
            let alike = unit.by_teams() == first.by_teams() && unit.kernel.constant == first.kernel.constant;
            let apart = !unit.by_phases() && !first.by_phases();
            alike && apart && before.iter().all(|other| independent(other, unit))
        };
        let count = (1..rest.len()).find(|&at| !fits(at)).unwrap_or(rest.len());
        let (group, others) = rest.split_at(count);
        groups.push(group);
        rest = others;
    }
    groups
}

/// Buffers that a unit reads, and those that it writes.
fn buffers(unit: &Unit) -> (Vec<BufferId>, Vec<BufferId>) {
    let (mut read, mut written) = (Vec::new(), Vec::new());
    for kernel in [unit.kernel].into_iter().chain(unit.epilogue.map(|epilogue| epilogue.kernel)) {
        for used in places(&kernel.work) {
            for (at, (reference, _)) in references(&used.place.at).into_iter().enumerate() {
                match used.access {
                    Access::Write if at == 0 => written.push(reference.buffer),
                    Access::Read | Access::Write => read.push(reference.buffer),
                }
            }
        }
        match &kernel.work {
            Work::Gemm(gemm) => read.push(gemm.packed),
            Work::Pack(pack) => written.push(pack.to),
            _ => {}
        }
        let adds_to = match &kernel.work {
            Work::Gemm(Gemm { out, accumulate: true, .. })
            | Work::Outer(Outer { out, accumulate: true, .. })
            | Work::Scatter(Scatter { out, accumulate: true, .. }) => Some(out.at.buffer),
            _ => None,
        };
        read.extend(adds_to);
    }
    (read, written)
}

/// Whether two units may be done at the same time. Two that write to a buffer and read nothing of it write to different
/// parts, or the first would have been done for nothing.
fn independent(a: &Unit, b: &Unit) -> bool {
    let ((read_a, written_a), (read_b, written_b)) = (buffers(a), buffers(b));
    let apart = |written: &[BufferId], read: &[BufferId]| written.iter().all(|buffer| !read.contains(buffer));
    apart(&written_a, &read_b) && apart(&written_b, &read_a)
}

fn is_large(gemm: &Gemm) -> bool {
    gemm.k >= LARGE && gemm.n >= LARGE
}

/// Whether a phase reduces all that it goes over.
pub(super) fn reduces_all(phase: &Phase) -> bool {
    phase.reduced > 0 && phase.reduced == phase.dims.len()
}

/// Whether rows are wide enough for teams, and are not just points.
fn wide(rows: &RowKernel) -> bool {
    let width = rows.phases.iter().map(|phase| phase.dims.iter().product::<usize>()).max().unwrap_or(0);
    width >= WIDE && (rows.phases.len() > 1 || rows.phases.iter().any(reduces_all))
}

/// The row kernel behind a product as its epilogue, if it can be that.
fn epilogue<'p>(
    plan: &'p Plan,
    number: usize,
    kernel: &Kernel,
    next: &'p Kernel,
    looped: bool,
) -> Option<Epilogue<'p>> {
    let (Work::Gemm(gemm), Work::Rows(rows)) = (&kernel.work, &next.work) else { return None };
    let [phase] = &rows.phases[..] else { return None };
    let [width] = phase.dims[..] else { return None };
    let alike = gemm.rows == GemmRows::Space(rows.space)
        && kernel.constant == next.constant
        && kernel.steps == next.steps;
    let fits = alike && is_large(gemm) && phase.reduced == 0 && gemm.out.at.row == Row::Same;
    if !fits || !is_free(phase) {
        return None;
    }
    // What the next kernel reads of the product, and that nobody else does.
    let out = gemm.out.at.buffer;
    let mut starts = Vec::new();
    for used in places(&next.work) {
        if references(&used.place.at).iter().all(|(reference, _)| reference.buffer != out) {
            continue;
        }
        let plain =
            used.access == Access::Read && used.place.at.row == Row::Same && used.place.strides == [1];
        starts.push(used.place.offset.checked_sub(gemm.out.offset).filter(|_| plain)?);
    }
    let others = kernels(plan).enumerate().filter(|(other, _)| *other != number && *other != number + 1);
    for (other, kernel) in others {
        let touches = places(&kernel.work)
            .iter()
            .any(|used| references(&used.place.at).iter().any(|(reference, _)| reference.buffer == out));
        // What a product is added to is read from memory.
        let before = gemm.accumulate && other < number && matches!(kernel.work, Work::Gemm(_));
        if touches && !before {
            return None;
        }
    }
    if !matches!(plan.buffers[out].role, Role::Temporary) {
        return None;
    }
    // No block may write what another one still reads: only what lies at other steps.
    for used in places(&next.work).iter().filter(|used| used.access == Access::Write) {
        let read = references(&gemm.a.at);
        let same = read.iter().any(|(reference, _)| reference.buffer == used.place.at.buffer);
        if same && !(looped && matches!(gemm.a.at.row, Row::Map(_) | Row::MapOr(..))) {
            return None;
        }
    }
    Some(Epilogue { kernel: next, phase, windows: windows(starts, width, gemm.n)? })
}

/// Whether points of a phase do nothing but arithmetic and copies at their own places.
fn is_free(phase: &Phase) -> bool {
    !phase.body.iter().any(|inst| matches!(inst, Inst::Reduce(..) | Inst::ArgMax(..)))
}

/// Windows that begin at these columns, if they are equally far apart and inside of the product.
fn windows(mut starts: Vec<usize>, width: usize, columns: usize) -> Option<Windows> {
    starts.sort_unstable();
    starts.dedup();
    let base = *starts.first()?;
    let stride = starts.get(1).map_or(0, |second| second - base);
    let even = starts.windows(2).all(|pair| pair[1] - pair[0] == stride);
    let inside = starts.last().is_some_and(|last| last + width <= columns);
    let count = starts.len();
    (even && inside && count <= WINDOWS).then_some(Windows { count, base, stride, width })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_equally_far_apart() {
        let found = windows(vec![8, 0, 4, 8, 12], 4, 16);
        assert_eq!(found, Some(Windows { count: 4, base: 0, stride: 4, width: 4 }));
        assert_eq!(windows(vec![3], 4, 16), Some(Windows { count: 1, base: 3, stride: 0, width: 4 }));
        for (starts, width) in [(vec![0, 4, 12], 4), (vec![0, 13], 4), (vec![], 4), ((0..9).collect(), 1)] {
            assert_eq!(windows(starts, width, 16), None);
        }
    }
}
