//! Products of few rows with a matrix as it lies: what packing costs, they would not win back.
//!
//! A tree of 20 words multiplies 19 rows by its matrix of 300 x 750 and then has other weights: packing these would take
//! as long as the products. Whether rows are few is known when a program runs, and whether another group of examples
//! would find the panels there: see [`Slots::held`](super::context::Slots::held). Wide code alone has tiles for this, and
//! only plans whose parameters vary have the code: where they stay, the results of an example do not depend on how many
//! others there are.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::code::Code;
use super::context::FLEETING;
use super::emit::EmitError;
use super::tiling::Tiling;
use super::wide::unpacked::{Contiguous, least_columns, most_rows};
use crate::plan::places::kernels;
use crate::plan::{BufferId, Gemm, GemmRows, Kernel, Pack, Plan, Region, Role, SpaceId, Work};

/// Rows that are few in all, and steps of a loop, at each of which the matrix is read again.
const FEW_ROWS: i64 = 128;
const FEW_STEPS: i64 = 32;

/// What of a packed matrix's part is contiguous, if tiles can read it as it lies. It has to be a parameter: the memory of
/// anything else may have been given to something else by then.
fn contiguous(plan: &Plan, pack: &Pack) -> Option<Contiguous> {
    let contiguous = match pack.source.strides[..] {
        [_, 1] => Contiguous::Rows,
        [1, _] => Contiguous::Columns,
        _ => return None,
    };
    let given = matches!(plan.buffers[pack.source.at.buffer].role, Role::Parameter(_));
    (given && pack.n >= least_columns(contiguous)).then_some(contiguous)
}

/// The parts of a product's matrix and how they lie, in an order in which the first ones begin the sums of their columns;
/// none if it has to be packed.
pub fn parts<'p>(plan: &'p Plan, gemm: &Gemm, tiling: Tiling) -> Vec<(&'p Pack, Contiguous)> {
    if !plan.varying || !tiling.has_unpacked() || !matches!(gemm.rows, GemmRows::Space(_)) {
        return Vec::new();
    }
    let packs = kernels(plan).filter_map(|kernel| match &kernel.work {
        Work::Pack(pack) if pack.to == gemm.packed => Some(pack),
        _ => None,
    });
    let mut parts: Vec<_> = packs.map(|pack| (pack, contiguous(plan, pack))).collect();
    parts.sort_by_key(|(pack, _)| pack.at);
    parts.into_iter().map(|(pack, lies)| Some((pack, lies?))).collect::<Option<_>>().unwrap_or_default()
}

/// What multiplies by a packed matrix, if all of it can do with the matrix as it lies.
pub fn readers(plan: &Plan, packed: BufferId, tiling: Tiling) -> Option<Vec<Reader>> {
    if plan.buffers[packed].role != Role::Temporary {
        return None;
    }
    let mut all = Vec::new();
    for kernel in kernels(plan) {
        match &kernel.work {
            Work::Gemm(gemm) if gemm.packed == packed => {
                let own = beside(plan, gemm, tiling);
                if own.is_empty() {
                    return None;
                }
                all.extend(own);
            }
            _ => {}
        }
    }
    Some(all).filter(|all| !all.is_empty())
}

/// What says how often a matrix is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    rows: SpaceId,
    /// The axis of the loop that it is in.
    axis: Option<usize>,
}

/// A product, if it can read its matrix as it lies, with those of the same loop that can: all of them do, or none.
pub fn beside(plan: &Plan, gemm: &Gemm, tiling: Tiling) -> Vec<Reader> {
    if parts(plan, gemm, tiling).is_empty() {
        return Vec::new();
    }
    let is_it = |kernel: &Kernel| matches!(&kernel.work, Work::Gemm(own) if own == gemm);
    match plan.regions.iter().find(|region| region.kernels().iter().any(is_it)) {
        Some(region @ Region::Loop { .. }) => of_loop(plan, region, tiling),
        _ => Reader::new(gemm, None).into_iter().collect(),
    }
}

/// The products of a loop that can read their matrices as they lie.
pub fn of_loop(plan: &Plan, region: &Region, tiling: Tiling) -> Vec<Reader> {
    let Region::Loop { axis, kernels, .. } = region else { return Vec::new() };
    let gemms = kernels.iter().filter_map(|kernel| match &kernel.work {
        Work::Gemm(gemm) => Some(gemm),
        _ => None,
    });
    let able = gemms.filter(|gemm| !parts(plan, gemm, tiling).is_empty());
    able.filter_map(|gemm| Reader::new(gemm, Some(*axis))).collect()
}

impl Reader {
    fn new(gemm: &Gemm, axis: Option<usize>) -> Option<Reader> {
        match gemm.rows {
            GemmRows::Space(rows) => Some(Reader { rows, axis }),
            GemmRows::Static(_) => None,
        }
    }
}

/// Whether there is so little for these to do that their matrices are read as they lie.
pub fn are_few(code: &mut Code, readers: &[Reader]) -> Value {
    let held = code.slots.held();
    let held = code.slot(held);
    let fleeting = code.int(FLEETING as i64);
    let mut few = code.build.ins().icmp(IntCC::Equal, held, fleeting);
    for (number, &Reader { rows, axis }) in readers.iter().enumerate() {
        if readers[..number].contains(&readers[number]) {
            continue;
        }
        let steps = axis.map(|axis| (code.slots.steps(axis), FEW_STEPS));
        for (slot, most) in std::iter::once((code.slots.rows(rows), FEW_ROWS)).chain(steps) {
            let (number, most) = (code.slot(slot), code.int(most));
            let own = code.build.ins().icmp(IntCC::SignedLessThanOrEqual, number, most);
            few = code.build.ins().band(few, own);
        }
    }
    few
}

/// Emits some columns of a product of rows in tables. The callees from the second on are [`rows`] for each of [`forms`].
pub fn columns(
    code: &mut Code,
    gemm: &Gemm,
    parts: &[(&Pack, Contiguous)],
    (a_rows, out_rows, rows): (Value, Value, Value),
    (from, to): (Value, Value),
) -> Result<(), EmitError> {
    let forms = forms(parts);
    let bytes = code.types.bytes;
    for (number, (pack, lies)) in parts.iter().enumerate() {
        let [above, before] = pack.at;
        let (row, column) = (pack.source.strides[0] * bytes, pack.source.strides[1] * bytes);
        let pitch = if *lies == Contiguous::Rows { row } else { column };
        let begun = parts[..number].iter().any(|(other, _)| {
            let [_, start] = other.at;
            start < before + pack.n && before < start + other.n
        });
        let callee = 1 + forms.iter().position(|form| form == lies).unwrap_or(0);
        let zero = code.int(0);
        let matrix = code.place_address(&pack.source, zero, 0)?;
        let matrix = code.plus(matrix, -((before * column) as i64));
        let [k, pitch, first, skipped, accumulate, end] =
            [pack.k, pitch, before, above * bytes, usize::from(gemm.accumulate || begun), before + pack.n]
                .map(|number| code.int(number as i64));
        let all = [a_rows, out_rows, matrix, k, pitch, from, to, first, skipped, accumulate, rows, end];
        let function = code.callees[callee];
        code.build.ins().call(function, &all);
    }
    Ok(())
}

/// How parts lie, each way once.
pub fn forms(parts: &[(&Pack, Contiguous)]) -> Vec<Contiguous> {
    let has = |form: &Contiguous| parts.iter().any(|(_, lies)| lies == form);
    [Contiguous::Rows, Contiguous::Columns].into_iter().filter(has).collect()
}

/// Parameters of [`rows`]: those of a tile, the number of rows, and the column behind the matrix's last.
pub const ROWS_PARAMS: usize = 12;

/// Emits the function that multiplies rows in tables by those columns of a matrix that lies so which are among the ones to be
/// written. Its callees are the tiles of one row, of two, up to the most.
pub fn rows(code: &mut Code, lies: Contiguous) -> Result<(), EmitError> {
    let height = most_rows(lies);
    let [a_rows, out_rows, matrix, k, pitch, from, to, first, skipped, accumulate, rows, end] =
        code.params[..]
    else {
        return Ok(());
    };
    let (from, to) = (code.build.ins().smax(from, first), code.build.ins().smin(to, end));
    let any = code.build.ins().icmp(IntCC::SignedLessThan, from, to);
    let none = code.int(0);
    let rows = code.build.ins().select(any, rows, none);
    let call = |code: &mut Code, tile: usize, row: Value| {
        let (a, out) = (code.element(a_rows, row, 8), code.element(out_rows, row, 8));
        let tile = code.callees[tile - 1];
        code.build.ins().call(tile, &[a, out, matrix, k, pitch, from, to, first, skipped, accumulate]);
    };
    let all = code.int(height as i64);
    let rest = code.build.ins().urem(rows, all);
    let whole = code.build.ins().isub(rows, rest);
    let zero = code.int(0);
    code.count(zero, whole, height as i64, |code, row| {
        call(code, height, row);
        Ok(())
    })?;
    for own in 1..height {
        let expected = code.int(own as i64);
        let is_it = code.build.ins().icmp(IntCC::Equal, rest, expected);
        code.when(is_it, |code| {
            call(code, own, whole);
            Ok(())
        })?;
    }
    Ok(())
}
