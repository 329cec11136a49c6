//! How several workers divide a group's work: no two write the same element, and no sum is taken apart, so that
//! results do not depend on how many there are.
//!
//! ```text
//! flat:  rows of z = x @ W        worker 0: rows 0..56, worker 1: rows 56..100        then all meet
//!                              (or, of few rows, columns 0..128 and 128..256)
//! loop:  z = h[t-1] @ W           worker 0: columns 0..64 of each quarter, worker 1: 64..128
//!        h[t] = o * tanh(c)       the same columns, of which a worker has just made z; then all meet
//! ```
//!
//! A product and the row kernel behind it that reads only what the same worker has written take turns, some columns each,
//! so that sums are read while they are in the nearest cache. Where workers meet is in [`super::meetings`].
//!
//! Panels of packed columns are not taken apart. A matrix that is read as it lies (see [`super::unpacked`]) has none, so
//! that a loop which does so may divide its kernels otherwise.

use super::meetings::meetings;
use super::outer::done_together;
use super::rows::is_elementwise;
use super::unpacked::Unpacked;
use crate::plan::places::{Access, kernels, places};
use crate::plan::{Gemm, GemmRows, Kernel, PANEL, Plan, Precision, Region, Residency, Row, RowKernel, Work};

/// What of a kernel a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Some of the rows.
    Rows,
    /// Some of the elements of every row, of this many.
    Columns(usize),
    /// Some of the rows if there are at least so many as elements in a row, of which there are so many; else some of these.
    Larger(usize),
    /// Everything, but only one worker.
    All,
}

/// How a kernel is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// What each worker does.
    pub share: Share,
    /// For products, of which it is never 0, and their packing: columns are counted anew after so many, so that a worker
    /// has the same ones of each part.
    pub period: usize,
    /// For a product with which the next kernel takes turns: the parts of its columns that this reads.
    pub turns: Option<usize>,
    /// The kernel that does this one's work along with its own.
    pub with: Option<usize>,
    /// Whether workers meet before it.
    pub meets: bool,
}

impl Division {
    fn new(share: Share, period: usize) -> Division {
        Division { share, period, turns: None, with: None, meets: false }
    }
}

/// How all kernels of a plan are divided, in order.
pub struct Divisions {
    /// Where matrices are packed.
    pub packed: Vec<Division>,
    /// Where those that can be are read as they lie.
    pub unpacked: Vec<Division>,
}

/// Divides all kernels of a plan. `dynamic` says which row kernels can work on some columns.
pub fn divisions(
    plan: &Plan,
    precision: Precision,
    unpacked: &Unpacked,
    dynamic: impl Fn(&RowKernel) -> bool,
) -> Divisions {
    let of = |may_cut: &dyn Fn(&Gemm) -> bool| divided(plan, precision, may_cut, &dynamic);
    Divisions { packed: of(&|_| false), unpacked: of(&|gemm| !unpacked.parts(gemm).is_empty()) }
}

/// Divides all kernels of a plan; `may_cut` says which products' columns may be divided within panels.
fn divided(
    plan: &Plan,
    precision: Precision,
    may_cut: &dyn Fn(&Gemm) -> bool,
    dynamic: &impl Fn(&RowKernel) -> bool,
) -> Vec<Division> {
    let together = done_together(plan, precision);
    let mut all: Vec<Division> = Vec::new();
    for region in &plan.regions {
        let (kernels, looped) = (region.kernels(), matches!(region, Region::Loop { .. }));
        let first = all.len();
        let common = if looped { common_columns(kernels, dynamic) } else { None };
        for (at, kernel) in kernels.iter().enumerate() {
            let share = share(plan, &kernel.work, looped, dynamic);
            let mut division = Division::new(share, 0);
            if let Share::Larger(width) = share {
                division.period = width;
            }
            if let (Work::Gemm(gemm), Share::Columns(width)) = (&kernel.work, share) {
                division.period = width;
                let fits = |extent: usize| {
                    gemm.n.is_multiple_of(extent) && (extent.is_multiple_of(PANEL) || may_cut(gemm))
                };
                let next = kernels.get(at + 1).filter(|next| looped && next.steps == kernel.steps);
                let shared = next.and_then(|next| shared_columns(plan, gemm, next, dynamic));
                if let Some(extent) = shared.filter(|&extent| fits(extent)) {
                    division = Division::new(Share::Columns(extent), extent);
                    division.turns = Some(gemm.n / extent);
                } else if let Some(extent) = common.filter(|&extent| fits(extent)) {
                    division = Division::new(Share::Columns(extent), extent);
                }
            }
            let before = all[first..].last().is_some_and(|before| before.turns.is_some());
            division.with = if before { Some(first + at - 1) } else { together[first + at] };
            all.push(division);
        }
    }
    // Who multiplies by some columns of a matrix packs them.
    let works: Vec<&Work> = kernels(plan).map(|kernel| &kernel.work).collect();
    for (at, work) in works.iter().enumerate() {
        let Work::Pack(pack) = work else { continue };
        let reader = works.iter().zip(&all).find_map(|(work, division)| match (work, division.share) {
            (Work::Gemm(gemm), Share::Columns(_)) if gemm.packed == pack.to => Some(*division),
            _ => None,
        });
        let own = Division::new(all[at].share, pack.whole[1]);
        all[at] = reader.map_or(own, |reader| Division::new(reader.share, reader.period));
    }
    let meets = meetings(plan, &all);
    all.iter_mut().zip(meets).for_each(|(division, meets)| division.meets = meets);
    all
}

/// The columns that row kernels of a loop divide, if they are the same for all: those of products are best divided alike,
/// so that a worker reads what it has written.
fn common_columns(kernels: &[Kernel], dynamic: &impl Fn(&RowKernel) -> bool) -> Option<usize> {
    let extents = kernels.iter().filter_map(|kernel| match &kernel.work {
        Work::Rows(kernel) => columns(kernel, dynamic),
        _ => None,
    });
    let extents: Vec<usize> = extents.collect();
    extents.first().copied().filter(|first| extents.iter().all(|extent| extent == first))
}

fn share(plan: &Plan, work: &Work, looped: bool, dynamic: &impl Fn(&RowKernel) -> bool) -> Share {
    match work {
        Work::Gemm(gemm) => match gemm.rows {
            GemmRows::Space(space) if !looped && plan.spaces[space].major.is_some() => Share::Larger(gemm.n),
            _ => Share::Columns(gemm.n),
        },
        Work::Rows(kernel) => match columns(kernel, dynamic) {
            Some(extent) if looped => Share::Columns(extent),
            _ if kernel.space == 0 || has_scratch(plan, work) => Share::All,
            _ => Share::Rows,
        },
        Work::Pack(pack) => Share::Columns(pack.whole[1]),
        Work::Outer(outer) => Share::Columns(outer.m),
        Work::Combine(combine) if combine.list.is_some() => Share::Rows,
        Work::Random(random) if random.space != 0 => Share::Rows,
        Work::Combine(_) | Work::Random(_) | Work::Scatter(_) => Share::All,
    }
}

/// The elements of a row kernel that can be divided.
fn columns(kernel: &RowKernel, dynamic: &impl Fn(&RowKernel) -> bool) -> Option<usize> {
    match &kernel.phases[..] {
        [phase] if phase.reduced == 0 && is_elementwise(phase) && dynamic(kernel) => match phase.dims[..] {
            [extent] if extent >= 2 * PANEL => Some(extent),
            _ => None,
        },
        _ => None,
    }
}

/// Rows of one worker would overwrite those of another.
fn has_scratch(plan: &Plan, work: &Work) -> bool {
    places(work).iter().any(|used| {
        used.access == Access::Write && plan.buffers[used.place.at.buffer].residency == Residency::Scratch
    })
}

/// The extent of the row kernel behind a product if each of its elements reads only elements of the product
/// that lie in the same column of its equal parts, and writes nothing that the product still reads.
fn shared_columns(
    plan: &Plan,
    gemm: &Gemm,
    next: &Kernel,
    dynamic: &impl Fn(&RowKernel) -> bool,
) -> Option<usize> {
    let Work::Rows(kernel) = &next.work else { return None };
    let extent = columns(kernel, dynamic)?;
    let GemmRows::Space(space) = gemm.rows else { return None };
    let parts = gemm.n.is_multiple_of(extent) && space == kernel.space;
    let aligned = places(&next.work).iter().all(|used| {
        let place = used.place;
        if place.at.buffer == gemm.a.at.buffer && used.access == Access::Write {
            // Another row than the product reads, which has been complete for a step.
            let all = plan.buffers[place.at.buffer].residency == Residency::All;
            return all && place.at.row == Row::Same && matches!(gemm.a.at.row, Row::Map(_) | Row::MapOr(..));
        }
        if place.at.buffer != gemm.out.at.buffer {
            return true;
        }
        let offset = place.offset.checked_sub(gemm.out.offset);
        place.at.row == Row::Same
            && place.strides == [1]
            && offset.is_some_and(|offset| offset.is_multiple_of(extent) && offset < gemm.n)
    });
    (parts && aligned).then_some(extent)
}
