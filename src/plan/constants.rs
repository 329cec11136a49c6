//! What depends on the parameters alone, and so need not be done again while these stay the same.
//!
//! In a program that runs many times on the same parameters (to evaluate, to generate; in training group after group
//! of a batch) the packing of its matrices is done once: such kernels are marked, and what they write keeps its place
//! until the end.

use std::collections::HashSet;

use super::kernel::*;
use super::places::{Access, kernels, places, references};

/// Elements that are worth keeping for the next group of a batch: about what a second-level cache holds twice.
const FEW: usize = 1 << 20;
/// Elements of a matrix that take notable time to pack.
const WORTH_READING: usize = 1 << 14;

/// As [`hold_constants`], if they take little memory: for programs whose parameters change with every batch, which it marks
/// as such.
pub fn hold_few_constants(plan: &mut Plan) {
    plan.unpacked_from = Some(WORTH_READING);
    let mut held = plan.clone();
    hold_constants(&mut held);
    let elements = held_buffers(&held).into_iter().map(|buffer| held.buffers[buffer].width);
    if elements.sum::<usize>() <= FEW {
        *plan = held;
    }
}

/// What the marked kernels write: buffers of a single row, whose size no batch changes.
fn held_buffers(plan: &Plan) -> HashSet<BufferId> {
    let marked = kernels(plan).filter(|kernel| kernel.constant);
    marked.flat_map(|kernel| touched(&kernel.work, Access::Write)).collect()
}

/// Marks the kernels that depend on parameters alone, and keeps their results alive. That takes memory, so it
/// is for programs whose parameters do not change with every run.
pub fn hold_constants(plan: &mut Plan) {
    let mut constant: Vec<Vec<bool>> = plan
        .regions
        .iter()
        .map(|region| match region {
            Region::Flat(kernels) => kernels.iter().map(|kernel| is_candidate(plan, &kernel.work)).collect(),
            Region::Loop { kernels, .. } => vec![false; kernels.len()],
        })
        .collect();
    // What reads, or writes to, a buffer that another kind of kernel writes is none.
    loop {
        let mut changing: HashSet<BufferId> = HashSet::new();
        for (region, marks) in plan.regions.iter().zip(&constant) {
            for (kernel, _) in region.kernels().iter().zip(marks).filter(|(_, mark)| !**mark) {
                changing.extend(touched(&kernel.work, Access::Write));
            }
        }
        let mut again = false;
        for (region, marks) in plan.regions.iter().zip(&mut constant) {
            for (kernel, mark) in region.kernels().iter().zip(marks).filter(|(_, mark)| **mark) {
                let all = [Access::Read, Access::Write].map(|access| touched(&kernel.work, access));
                if all.iter().flatten().any(|buffer| changing.contains(buffer)) {
                    *mark = false;
                    again = true;
                }
            }
        }
        if !again {
            break;
        }
    }
    let last = plan.regions.len().saturating_sub(1);
    let mut kept = HashSet::new();
    for (region, marks) in plan.regions.iter_mut().zip(constant) {
        for (kernel, mark) in region.kernels_mut().iter_mut().zip(marks) {
            kernel.constant = mark;
            if mark {
                kept.extend(touched(&kernel.work, Access::Write));
            }
        }
    }
    for buffer in kept {
        plan.buffers[buffer].life = (0, last);
    }
}

/// Work on single rows of parameters and temporaries.
fn is_candidate(plan: &Plan, work: &Work) -> bool {
    let single = match work {
        Work::Rows(kernel) => kernel.space == 0,
        Work::Gemm(gemm) => matches!(gemm.rows, GemmRows::Static(_)),
        Work::Pack(_) => true,
        Work::Outer(_) | Work::Combine(_) | Work::Scatter(_) | Work::Random(_) => false,
    };
    let own = |buffer: &BufferId| plan.buffers[*buffer].role == Role::Temporary;
    let given = |buffer: &BufferId| own(buffer) || matches!(plan.buffers[*buffer].role, Role::Parameter(_));
    single && touched(work, Access::Read).iter().all(given) && touched(work, Access::Write).iter().all(own)
}

/// The buffers that a kernel reads or writes.
fn touched(work: &Work, access: Access) -> Vec<BufferId> {
    let used = places(work);
    let used = used.iter().filter(|used| used.access == access).flat_map(|used| references(&used.place.at));
    let packs = match (work, access) {
        (Work::Pack(pack), Access::Write) => Some(pack.to),
        (Work::Gemm(gemm), Access::Read) => Some(gemm.packed),
        _ => None,
    };
    used.map(|(reference, _)| reference.buffer).chain(packs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(buffer: BufferId, strides: &[usize]) -> Place {
        Place { at: RowRef { buffer, row: Row::Only }, pitch: 0, offset: 0, strides: strides.to_vec() }
    }

    fn buffer(role: Role) -> Buffer {
        Buffer {
            name: String::new(),
            element: Element::Real,
            width: 16,
            shape: vec![16],
            space: 0,
            residency: Residency::All,
            role,
            life: (0, 0),
        }
    }

    #[test]
    fn packing_of_parameters_is_done_once_but_not_that_of_what_depends_on_inputs() {
        let roles = [Role::Parameter("w".into()), Role::Input("x".into()), Role::Temporary, Role::Temporary];
        let pack = |from, to| {
            let pack = Pack::entire(place(from, &[16, 1]), 1, 16, to);
            Kernel { work: Work::Pack(pack), equations: Vec::new(), constant: false, steps: Steps::All }
        };
        let mut plan = Plan {
            spaces: vec![Space { axes: Vec::new(), major: None }],
            buffers: roles.into_iter().map(buffer).collect(),
            regions: vec![Region::Flat(vec![pack(0, 2), pack(1, 3)]), Region::Flat(Vec::new())],
            ..Plan::default()
        };
        hold_constants(&mut plan);
        let Region::Flat(kernels) = &plan.regions[0] else { panic!() };
        assert_eq!(kernels.iter().map(|kernel| kernel.constant).collect::<Vec<_>>(), [true, false]);
        assert_eq!((plan.buffers[2].life, plan.buffers[3].life), ((0, 1), (0, 0)));
    }
}
