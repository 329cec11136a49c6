//! Gradients of tables that only some rows of are touched: whoever owns the memory keeps the others zero.
//!
//! The gradient of `embed[word[n]]` is zero but for the rows of the words that occur. Clearing and adding up all of a
//! table of 10,000 words for a batch of 20 takes longer than computing the rest. So the sum only adds, its memory
//! lies apart from all other, and after a run the rows to clear are known by the ids. Where there is one row for each
//! id that occurs (`distinct`), no kernel adds it to a table: whoever adds up the outputs takes it as it is.

use super::kernel::*;
use super::places::{Access, kernels, places, references};

/// Finds the outputs that are sums of rows by ids of the input, and has their kernels only add.
pub fn keep_sparse(plan: &mut Plan) {
    let found: Vec<Sparse> = kernels(plan).filter_map(|kernel| sparse(plan, &kernel.work)).collect();
    for region in &mut plan.regions {
        for kernel in region.kernels_mut() {
            if let Work::Scatter(scatter) = &mut kernel.work {
                scatter.accumulate |= found.iter().any(|sparse| sparse.out == scatter.out.at.buffer);
            }
        }
    }
    plan.sparse = found;
}

fn sparse(plan: &Plan, work: &Work) -> Option<Sparse> {
    let Work::Scatter(scatter) = work else { return None };
    let out = scatter.out.at.buffer;
    let buffer = &plan.buffers[out];
    let whole = scatter.out.offset == 0 && scatter.out.pitch == scatter.n;
    let output = matches!(buffer.role, Role::Output(_)) && buffer.width == scatter.m * scatter.n;
    let alone = kernels(plan)
        .flat_map(|kernel| places(&kernel.work))
        .flat_map(|used| references(&used.place.at).into_iter().map(move |(at, _)| (at.buffer, used.access)))
        .filter(|(buffer, _)| *buffer == out)
        .eq([(out, Access::Write)]);
    let ids: Vec<BufferId> = references(&scatter.id.at).into_iter().map(|(at, _)| at.buffer).collect();
    let given = ids.iter().all(|&id| matches!(plan.buffers[id].role, Role::Input(_)));
    let found = Sparse { out, ids, rows: scatter.m, width: scatter.n, listed: None };
    (whole && output && alone && given && !scatter.accumulate).then_some(found)
}

/// Leaves rows of sparse outputs where they are, if each id names only one.
pub fn list_sparse(plan: &mut Plan) {
    for number in 0..plan.sparse.len() {
        let out = plan.sparse[number].out;
        let adds = |kernel: &Kernel| matches!(&kernel.work, Work::Scatter(own) if own.out.at.buffer == out);
        let Some(Work::Scatter(scatter)) = kernels(plan).find(|kernel| adds(kernel)).map(|own| &own.work)
        else {
            continue;
        };
        let (value, id) = (&scatter.value, &scatter.id.at);
        let rows = &plan.buffers[value.at.buffer];
        let as_they_are = value.at.row == Row::Same
            && value.offset == 0
            && rows.width == scatter.n
            && rows.space == scatter.space
            && rows.role == Role::Temporary
            && rows.residency == Residency::All;
        let different = id.row == Row::Same && matches!(plan.buffers[id.buffer].role, Role::Distinct(_));
        if !as_they_are || !different {
            continue;
        }
        let (listed, ids) = (value.at.buffer, id.buffer);
        plan.sparse[number].listed = Some(listed);
        plan.sparse[number].ids = vec![ids];
        plan.buffers[listed].life.1 = plan.regions.len().saturating_sub(1);
        for region in &mut plan.regions {
            region.kernels_mut().retain(|kernel| !adds(kernel));
        }
    }
}
