//! Room for every row at once.
//!
//! A value that only later phases of its own kernel read has one row, which each row of the kernel writes
//! anew. Where rows are worked on at the same time that is too little: such a buffer gets the rows of the
//! step (in a loop along its own rows) or all of them.

use super::kernel::*;
use super::places::{Access, places};

/// Gives every row of a kernel its own scratch rows.
pub fn spread_scratch(plan: &mut Plan) {
    // The loop that writes each, if none of its writers is anywhere else.
    let mut loops: Vec<Option<Option<usize>>> = vec![None; plan.buffers.len()];
    for region in &plan.regions {
        let (along, kernels) = match region {
            Region::Flat(kernels) => (None, kernels),
            Region::Loop { axis, kernels, .. } => (Some(*axis), kernels),
        };
        let written = kernels.iter().flat_map(|kernel| places(&kernel.work));
        for used in written.filter(|used| used.access == Access::Write) {
            let known = &mut loops[used.place.at.buffer];
            *known = if known.is_none_or(|other| other == along) { Some(along) } else { Some(None) };
        }
    }
    for (id, along) in loops.into_iter().map(Option::flatten).enumerate() {
        let major = plan.spaces[plan.buffers[id].space].major;
        let buffer = &mut plan.buffers[id];
        if buffer.residency == Residency::Scratch {
            let by_step = along.is_some() && major == along;
            buffer.residency = if by_step { Residency::Step } else { Residency::All };
        }
    }
}
