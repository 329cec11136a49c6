//! Products of few rows with a matrix as it lies: what packing costs, they would not win back.
//!
//! A tree of 20 words multiplies 19 rows by its matrix of 300 x 750 and then has other weights: packing these would take
//! as long as the products. Whether rows are few is known when a program runs, and whether another group of examples
//! would find the panels there: see [`Slots::held`](super::context::Slots::held). Wide code alone has tiles for this, and
//! only plans whose parameters vary have the code: where they stay, the results of an example do not depend on how many
//! others there are.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::code::Code;
use super::context::FLEETING;
use super::emit::EmitError;
use super::pack::{Order, order};
use super::tiling::Tiling;
use super::wide::unpacked::{least_columns, most_rows};
use crate::plan::places::kernels;
use crate::plan::{BufferId, Gemm, GemmRows, Pack, Plan, Region, Role, SpaceId, Work};

/// Rows that are few in all, and steps of a loop, at each of which the matrix is read again.
const FEW_ROWS: i64 = 128;
const FEW_STEPS: i64 = 32;

/// A part of a matrix, and how it lies.
pub type Part<'p> = (&'p Pack, Order);

/// What says how often a matrix is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    rows: SpaceId,
    /// The axis of the loop that it is in.
    axis: Option<usize>,
}

/// Which products of a plan can read their matrices as they lie.
#[derive(Default)]
pub struct Unpacked<'p> {
    /// The parts of each packed matrix that need not be packed, in an order in which the first ones begin the sums of their
    /// columns.
    parts: HashMap<BufferId, Vec<Part<'p>>>,
    /// For each kernel, if it is such a product, all that read as it does: itself, and the products of the same loop that
    /// can. All of them do so, or none.
    beside: Vec<Vec<Reader>>,
    /// The products that read each packed matrix, by their numbers.
    readers: HashMap<BufferId, Vec<usize>>,
}

impl<'p> Unpacked<'p> {
    /// Looks through a plan.
    pub fn new(plan: &'p Plan, tiling: Tiling) -> Unpacked<'p> {
        let mut found = Unpacked { beside: vec![Vec::new(); kernels(plan).count()], ..Unpacked::default() };
        let Some(least) = plan.unpacked_from.filter(|_| tiling.has_unpacked()) else { return found };
        let mut packs: HashMap<BufferId, Vec<&Pack>> = HashMap::new();
        for kernel in kernels(plan) {
            match &kernel.work {
                Work::Pack(pack) if pack.whole[0] * pack.whole[1] >= least => {
                    packs.entry(pack.to).or_default().push(pack);
                }
                _ => {}
            }
        }
        for (packed, mut all) in packs {
            all.sort_by_key(|pack| pack.at);
            let parts: Option<Vec<Part>> =
                all.into_iter().map(|pack| Some((pack, readable(plan, pack)?))).collect();
            found.parts.extend(parts.map(|parts| (packed, parts)));
        }
        let mut first = 0;
        for region in &plan.regions {
            let axis = match region {
                Region::Loop { axis, .. } => Some(*axis),
                Region::Flat(_) => None,
            };
            let mut able = Vec::new();
            for (number, kernel) in (first..).zip(region.kernels()) {
                let Work::Gemm(gemm) = &kernel.work else { continue };
                found.readers.entry(gemm.packed).or_default().push(number);
                if let (GemmRows::Space(rows), true) = (gemm.rows, found.parts.contains_key(&gemm.packed)) {
                    able.push((number, Reader { rows, axis }));
                }
            }
            let mut all: Vec<Reader> = Vec::new();
            for &(number, reader) in &able {
                found.beside[number] = vec![reader];
                if !all.contains(&reader) {
                    all.push(reader);
                }
            }
            if axis.is_some() {
                able.iter().for_each(|(number, _)| found.beside[*number].clone_from(&all));
            }
            first += region.kernels().len();
        }
        found
    }

    /// The parts of a product's matrix; none if it has to be packed.
    pub fn parts(&self, gemm: &Gemm) -> &[Part<'p>] {
        match gemm.rows {
            GemmRows::Space(_) => self.parts.get(&gemm.packed).map_or(&[], Vec::as_slice),
            GemmRows::Static(_) => &[],
        }
    }

    /// What reads with the product of a number, if this can read its matrix as it lies.
    pub fn beside(&self, number: usize) -> &[Reader] {
        &self.beside[number]
    }

    /// What multiplies by a packed matrix, if all of it can do with the matrix as it lies.
    pub fn readers(&self, packed: BufferId) -> Option<Vec<Reader>> {
        let numbers = self.readers.get(&packed)?;
        let mut all = Vec::new();
        for &number in numbers {
            match self.beside(number) {
                [] => return None,
                own => own.iter().for_each(|reader| {
                    if !all.contains(reader) {
                        all.push(*reader);
                    }
                }),
            }
        }
        Some(all)
    }
}

/// How a packed matrix's part lies, if tiles can read it so. It has to be a parameter: the memory of anything else may have
/// been given to something else by then. And nobody but products may look at the panels.
fn readable(plan: &Plan, pack: &Pack) -> Option<Order> {
    let order = order(&pack.source);
    let dense = matches!(order, Order::Rows(1) | Order::Columns);
    let given = matches!(plan.buffers[pack.source.at.buffer].role, Role::Parameter(_));
    let hidden = plan.buffers[pack.to].role == Role::Temporary;
    (dense && given && hidden && pack.n >= least_columns(order)).then_some(order)
}

/// Whether there is so little for these to do that their matrices are read as they lie.
pub fn are_few(code: &mut Code, readers: &[Reader]) -> Value {
    let held = code.slots.held();
    let held = code.slot(held);
    let fleeting = code.int(FLEETING as i64);
    let mut few = code.build.ins().icmp(IntCC::Equal, held, fleeting);
    for &Reader { rows, axis } in readers {
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
    parts: &[Part],
    (a_rows, out_rows, rows): (Value, Value, Value),
    (from, to): (Value, Value),
) -> Result<(), EmitError> {
    let forms = forms(parts);
    let bytes = code.types.bytes;
    for (number, (pack, lies)) in parts.iter().enumerate() {
        let [above, before] = pack.at;
        let (row, column) = (pack.source.strides[0] * bytes, pack.source.strides[1] * bytes);
        let pitch = if *lies == Order::Columns { column } else { row };
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
pub fn forms(parts: &[Part]) -> Vec<Order> {
    let has = |form: &Order| parts.iter().any(|(_, lies)| lies == form);
    [Order::Rows(1), Order::Columns].into_iter().filter(has).collect()
}

/// Parameters of [`rows`]: those of a tile, the number of rows, and the column behind the matrix's last.
pub const ROWS_PARAMS: usize = 12;

/// Emits the function that multiplies rows in tables by those columns of a matrix that lies so which are among the ones to be
/// written. Its callees are the tiles of one row, of two, up to the most.
pub fn rows(code: &mut Code, lies: Order) -> Result<(), EmitError> {
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
