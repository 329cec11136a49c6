//! Room for every row at once.
//!
//! A value that only later phases of its own kernel read has one row, which each row of the kernel writes
//! anew. Where rows are worked on at the same time that is too little: such a buffer gets the rows of the
//! step (in a loop along its own rows) or all of them.

use super::kernel::*;
use super::places::{Access, places};

/// Gives every row of a kernel its own scratch rows.
pub fn spread_scratch(plan: &mut Plan) {
    let mut loops = vec![None; plan.buffers.len()];
    for region in &plan.regions {
        let Region::Loop { axis, kernels, .. } = region else { continue };
        let written = kernels.iter().flat_map(|kernel| places(&kernel.work));
        for used in written.filter(|used| used.access == Access::Write) {
            loops[used.place.at.buffer] = Some(*axis);
        }
    }
    for (id, along) in loops.into_iter().enumerate() {
        let major = plan.spaces[plan.buffers[id].space].major;
        let buffer = &mut plan.buffers[id];
        if buffer.residency == Residency::Scratch {
            let by_step = along.is_some() && major == along;
            buffer.residency = if by_step { Residency::Step } else { Residency::All };
        }
    }
}
