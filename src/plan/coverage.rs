//! Reads of what nothing writes.
//!
//! A temporary whose 12 columns are filled in three pieces of 4, of which one was forgotten, would hold
//! whatever lay in its place before: here that is "elements 8..12 of `v27` are read but never written".
//! Only whether is looked at, not when.

use std::ops::Range;

use super::kernel::*;
use super::places::{Access, inst_places, kernels, places};

/// One complaint a buffer, with the first element concerned.
pub fn uncovered(plan: &Plan) -> Vec<String> {
    // What the caller fills is as large as it likes, and not looked at.
    let own = |buffer: BufferId| matches!(plan.buffers[buffer].role, Role::Temporary | Role::Output(_));
    let elements = |buffer: BufferId| if own(buffer) { plan.buffers[buffer].width } else { 0 };
    let mut written: Vec<Vec<bool>> =
        (0..plan.buffers.len()).map(|buffer| vec![false; elements(buffer)]).collect();
    for kernel in kernels(plan) {
        match &kernel.work {
            Work::Pack(pack) => packed(pack, |run| written[pack.to][run].fill(true)),
            work => each(work, Access::Write, &own, |buffer, run| written[buffer][run].fill(true)),
        }
    }
    let mut missing: Vec<Option<usize>> = vec![None; plan.buffers.len()];
    for kernel in kernels(plan) {
        each(&kernel.work, Access::Read, &own, |buffer, run| {
            if let Some(gap) = written[buffer][run.clone()].iter().position(|written| !written) {
                let element = run.start + gap;
                missing[buffer] = Some(missing[buffer].map_or(element, |first| first.min(element)));
            }
        });
    }
    let named = plan.buffers.iter().zip(missing);
    named
        .filter_map(|(buffer, element)| {
            Some(format!("element {} of `{}` is read but never written", element?, buffer.name))
        })
        .collect()
}

/// Calls `visit` with every run of elements that a packing writes.
fn packed(pack: &Pack, mut visit: impl FnMut(Range<usize>)) {
    let [first, column] = pack.at;
    let mut end = column + pack.n;
    if end == pack.whole[1] {
        end = end.next_multiple_of(PANEL);
    }
    for panel in column / PANEL..end.div_ceil(PANEL) {
        let start = panel * PANEL * pack.whole[0] + first * PANEL;
        let lanes = column.max(panel * PANEL) - panel * PANEL..end.min((panel + 1) * PANEL) - panel * PANEL;
        match lanes.len() == PANEL {
            true => visit(start..start + pack.k * PANEL),
            false => (0..pack.k).map(|row| start + row * PANEL).for_each(|row| {
                visit(row + lanes.start..row + lanes.end);
            }),
        }
    }
}

/// Calls `visit` with every run of elements of a row that a kernel reads (or writes) at fixed places of some
/// buffers.
fn each(
    work: &Work,
    access: Access,
    of: &impl Fn(BufferId) -> bool,
    mut visit: impl FnMut(BufferId, Range<usize>),
) {
    let mut place = |place: &Place, dims: &[usize]| {
        // Rows named by ids are of matrices whose rows are all alike; their number is not known here.
        let mut buffers = vec![&place.at];
        while let Some(Row::MapOr(_, other)) = buffers.last().map(|last| &last.row) {
            buffers.push(other);
        }
        for at in buffers.iter().filter(|at| of(at.buffer) && !matches!(at.row, Row::Id(_))) {
            runs(place, dims, &mut |run| visit(at.buffer, run));
        }
    };
    match work {
        Work::Rows(kernel) => {
            for phase in &kernel.phases {
                let outer = &phase.dims[..phase.dims.len() - phase.reduced];
                for inst in &phase.body {
                    let dims = match inst {
                        Inst::Reduce(..) | Inst::ArgMax(..) => outer,
                        _ => &phase.dims,
                    };
                    inst_places(inst, kernel.space, &phase.dims, |used| {
                        if used.access == access {
                            place(used.place, dims);
                        }
                    });
                }
            }
        }
        // The other kernels' windows are dense up to their span, or matrices with a pitch.
        _ => {
            for used in places(work).iter().filter(|used| used.access == access) {
                let span = used.span.saturating_sub(used.place.offset);
                match dense(work) {
                    true => match matrix(work).filter(|_| access == Access::Write) {
                        Some([m, n]) => {
                            let strides = vec![used.place.pitch, 1];
                            place(&Place { strides, ..used.place.clone() }, &[m, n]);
                        }
                        None => place(&Place { strides: vec![1], ..used.place.clone() }, &[span]),
                    },
                    false if access == Access::Write => {
                        place(&Place { strides: vec![1], ..used.place.clone() }, &[span]);
                    }
                    false => {}
                }
            }
        }
    }
}

/// Rows and columns of a result whose rows may have gaps between them.
fn matrix(work: &Work) -> Option<[usize; 2]> {
    match work {
        Work::Outer(outer) => Some([outer.m, outer.n]),
        Work::Scatter(scatter) => Some([scatter.m, scatter.n]),
        _ => None,
    }
}

/// Whether every element up to a place's span is touched.
fn dense(work: &Work) -> bool {
    match work {
        Work::Gemm(gemm) => matches!(gemm.rows, GemmRows::Space(_)),
        Work::Outer(_) | Work::Combine(_) | Work::Scatter(_) | Work::Random(_) => true,
        Work::Pack(_) | Work::Rows(_) => false,
    }
}

/// Runs of elements of a place at all points of a loop nest; dimensions it does not move along count once.
fn runs(place: &Place, dims: &[usize], visit: &mut impl FnMut(Range<usize>)) {
    if dims.contains(&0) {
        return;
    }
    let mut moving: Vec<(usize, usize)> = (place.strides.iter().zip(dims))
        .filter(|(stride, _)| **stride > 0)
        .map(|(&stride, &dim)| (stride, dim))
        .collect();
    // The innermost dimensions that lie without a gap are one run.
    let mut run = 1;
    while let Some((_, dim)) = moving.pop_if(|(stride, _)| *stride == run) {
        run *= dim;
    }
    let mut index = vec![0; moving.len()];
    loop {
        let steps: usize = index.iter().zip(&moving).map(|(index, (stride, _))| index * stride).sum();
        let start = place.offset + steps;
        visit(start..start + run);
        let Some(turn) = (0..moving.len()).rev().find(|&dim| index[dim] + 1 < moving[dim].1) else { return };
        index[turn] += 1;
        index[turn + 1..].fill(0);
    }
}
