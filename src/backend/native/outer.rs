//! Weight gradients: the sum over rows of `a[r, :]` times `b[r, :]`.
//!
//! That is a product whose contracted width is the rows, so it runs on the same tiles. Rows are taken in
//! blocks of [`BLOCK`]; for each, strips of `b`, half of the second-level cache, and then a few panels of `a` at a time
//! are packed, and the tiles add to the result, which the first block's tiles need not have been cleared for: they
//! begin at zero. Rows are added in order, whatever the blocks. The columns that a worker is given are those of `a`:
//! rows of the result.
//!
//! Sums over the same rows are done together, so that each side is packed once for all of them:
//!
//! ```text
//! dW_f = dz.T @ h    dU_f = dz.T @ x        for each block: pack h, x; for some columns of dz, then of dy:
//! dW_i = dy.T @ h    dU_i = dy.T @ x                        pack them; multiply by h, by x
//! ```
//!
//! Panels lie close together however few rows there are, so that those of a single tree stay in the nearest cache.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlot, Value, types};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use super::pack::gather_columns;
use super::tile::{Shape, Wanted};
use super::tiling::Tiling;
use crate::plan::places::references;
use crate::plan::{Kernel, Outer, PANEL, Place, Plan, Precision, Steps, Work};

/// Rows summed at a time.
const BLOCK: usize = 256;
/// Bytes that may be packed of `b` at a time.
const STRIP: usize = 512 << 10;
/// Panels of `a` packed at a time: rows are seldom as wide as a whole number of cache lines, so that a panel alone reads
/// twice as much as it takes.
const PANELS: usize = 4;

/// Heights of tiles in a panel of `a` with this many columns: (first row, rows).
fn heights(columns: usize, tiling: Tiling) -> Vec<(usize, usize)> {
    (0..columns).step_by(tiling.rows).map(|first| (first, tiling.rows.min(columns - first))).collect()
}

/// Tiles that are called: those of whole panels of `a`, then those of its last, narrower panel.
pub fn tiles(outer: &Outer, tiling: Tiling) -> Vec<Shape> {
    let whole = if outer.m >= PANEL { PANEL } else { 0 };
    let all = heights(whole, tiling).into_iter().chain(heights(outer.m % PANEL, tiling));
    all.flat_map(|(_, rows)| tiling.ladder(rows, PANEL)).collect()
}

/// For each kernel of a plan the one that does its work along with its own, if there is one.
pub fn done_together(plan: &Plan, precision: Precision) -> Vec<Option<usize>> {
    let mut all: Vec<Option<usize>> = Vec::new();
    for region in &plan.regions {
        let first = all.len();
        all.extend(leaders(region.kernels(), precision).into_iter().map(|own| own.map(|own| first + own)));
    }
    all
}

/// The kernel of a stretch of kernels that does the work of each along with its own, by their numbers in the stretch:
/// of sums over the same rows with results of the same height, as long as all their right sides are packed together.
fn leaders(kernels: &[Kernel], precision: Precision) -> Vec<Option<usize>> {
    let mut leaders = vec![None; kernels.len()];
    let mut first = 0;
    for run in kernels.chunk_by(|a, b| matches!((&a.work, &b.work), (Work::Outer(_), Work::Outer(_)))) {
        let outers: Vec<(usize, &Outer, Steps)> = (run.iter().enumerate())
            .filter_map(|(at, kernel)| match &kernel.work {
                Work::Outer(outer) => Some((first + at, outer, kernel.steps)),
                _ => None,
            })
            .collect();
        first += run.len();
        let reads = |at: &Place, buffer| references(&at.at).iter().any(|(other, _)| other.buffer == buffer);
        let apart = |(_, own, _): &(usize, &Outer, Steps)| {
            outers
                .iter()
                .all(|(_, other, _)| [&own.a, &own.b].iter().all(|at| !reads(at, other.out.at.buffer)))
        };
        if !outers.iter().all(apart) {
            continue;
        }
        let mut groups: Vec<Vec<(usize, &Outer, Steps)>> = Vec::new();
        for one in &outers {
            let fits = |group: &&mut Vec<(usize, &Outer, Steps)>| {
                let (_, other, steps) = group[0];
                let all: Vec<&Outer> = group.iter().map(|(_, outer, _)| *outer).chain([one.1]).collect();
                (other.space, other.m, other.accumulate, steps)
                    == (one.1.space, one.1.m, one.1.accumulate, one.2)
                    && panels(&rights(&all)) <= strip_panels(precision.bytes())
            };
            match groups.iter_mut().find(fits) {
                Some(group) => {
                    leaders[one.0] = Some(group[0].0);
                    group.push(*one);
                }
                None => groups.push(Vec::from([*one])),
            }
        }
    }
    leaders
}

/// Different right sides: where, and how wide.
fn rights<'o>(outers: &[&'o Outer]) -> Vec<(&'o Place, usize)> {
    let mut found = Vec::new();
    for outer in outers {
        if !found.contains(&(&outer.b, outer.n)) {
            found.push((&outer.b, outer.n));
        }
    }
    found
}

/// Panels of some right sides.
fn panels(rights: &[(&Place, usize)]) -> usize {
    rights.iter().map(|(_, n)| n.div_ceil(PANEL)).sum()
}

/// Panels of right sides that are packed at a time.
fn strip_panels(bytes: usize) -> usize {
    STRIP / (BLOCK * PANEL * bytes)
}

/// Stack memory of one kernel.
struct Buffers {
    /// Panels of `a`.
    left: StackSlot,
    /// A strip of `b`.
    right: StackSlot,
    /// Addresses of the panel's columns, and of the result's rows.
    tables: StackSlot,
    /// Addresses of the block's rows of `a`.
    a_rows: StackSlot,
    /// The same of `b`.
    b_rows: StackSlot,
}

/// Part of the rows, and whether sums go on from what is there.
#[derive(Clone, Copy)]
struct Block {
    first: Value,
    rows: Value,
    accumulate: Value,
}

/// Packed columns of a right side, from `column` on.
#[derive(Clone, Copy)]
struct Strip {
    column: Value,
    panels: usize,
    /// Panels that lie before it.
    before: usize,
}

/// A sum: where its result lies, and its packed right side.
#[derive(Clone, Copy)]
struct Sum<'o> {
    outer: &'o Outer,
    out: Value,
    strip: Strip,
}

/// Emits sums of products that are done together (see [`done_together`]).
pub fn outers(code: &mut Code, outers: &[&Outer]) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let zero = code.int(0);
    let mut outs = Vec::new();
    for outer in outers {
        outs.push(code.place_address(&outer.out, zero, 0)?);
    }
    let (begin, end) = (code.params[1], code.params[2]);
    for (outer, &out) in outers.iter().zip(&outs).filter(|(outer, _)| !outer.accumulate) {
        let none = code.build.ins().icmp(IntCC::SignedGreaterThanOrEqual, begin, end);
        let rows = code.columns();
        code.when(none, |code| code.clear(out, rows, outer.n, outer.out.pitch))?;
    }
    let rights = rights(outers);
    let all = panels(&rights);
    let strip = all.min(strip_panels(bytes));
    let buffers = Buffers {
        left: code.stack(PANELS * BLOCK * PANEL * bytes),
        right: code.stack(strip * BLOCK * PANEL * bytes),
        tables: code.stack(2 * PANEL * 8),
        a_rows: code.stack(BLOCK * 8),
        b_rows: code.stack(BLOCK * 8),
    };
    code.count(begin, end, BLOCK as i64, |code, first| {
        let still = code.build.ins().isub(end, first);
        let most = code.int(BLOCK as i64);
        let rows = code.build.ins().smin(still, most);
        let accumulate = match outers.iter().all(|outer| outer.accumulate) {
            true => code.int(1),
            false => {
                let later = code.build.ins().icmp(IntCC::SignedGreaterThan, first, begin);
                code.build.ins().uextend(types::I64, later)
            }
        };
        let block = Block { first, rows, accumulate };
        if all <= strip {
            let mut before = 0;
            let mut strips = Vec::new();
            for &(place, n) in &rights {
                let own = Strip { column: code.int(0), panels: n.div_ceil(PANEL), before };
                pack_right(code, &buffers, block, (place, n), own)?;
                before += own.panels;
                strips.push(own);
            }
            let mut sums = Vec::new();
            for (&outer, &out) in outers.iter().zip(&outs) {
                let right = rights.iter().position(|right| *right == (&outer.b, outer.n));
                sums.push(Sum { outer, out, strip: strips[right.unwrap_or(0)] });
            }
            return multiply(code, &buffers, block, &sums);
        }
        // A single sum, whose right side is packed strip by strip.
        let (outer, out) = (outers[0], outs[0]);
        let strip_of = |code: &mut Code, column: Value, panels: usize| {
            let own = Strip { column, panels, before: 0 };
            pack_right(code, &buffers, block, (&outer.b, outer.n), own)?;
            multiply(code, &buffers, block, &[Sum { outer, out, strip: own }])
        };
        let whole = all / strip * strip;
        code.count_constant(whole * PANEL, strip * PANEL, |code, column| strip_of(code, column, strip))?;
        let column = code.int((whole * PANEL) as i64);
        match all % strip {
            0 => Ok(()),
            panels => strip_of(code, column, panels),
        }
    })
}

/// Packs a strip of a right side.
fn pack_right(
    code: &mut Code,
    buffers: &Buffers,
    block: Block,
    (place, n): (&Place, usize),
    strip: Strip,
) -> Result<(), EmitError> {
    let table = code.stack_address(buffers.b_rows);
    addresses(code, place, n, (block.first, block.rows), table)?;
    let to = code.stack_address(buffers.right);
    let before = code.int((strip.before * PANEL) as i64);
    let to = panel_at(code, to, before, block.rows);
    pack(code, (table, block.rows), n, (strip.column, strip.panels), to)
}

/// Adds to all rows of the results of some sums, whose right sides are packed: a few panels of a left side after the
/// other, for all sums that have it.
fn multiply(code: &mut Code, buffers: &Buffers, block: Block, sums: &[Sum]) -> Result<(), EmitError> {
    let m = sums[0].outer.m;
    let (from, to) = code.columns();
    let whole = m / PANEL * PANEL;
    let last = code.int(whole as i64);
    let end = code.build.ins().smin(to, last);
    let (left, table) = (code.stack_address(buffers.left), code.stack_address(buffers.a_rows));
    for (number, sum) in sums.iter().enumerate() {
        let place = &sum.outer.a;
        if sums[..number].iter().any(|other| other.outer.a == *place) {
            continue;
        }
        let with: Vec<Sum> = sums.iter().copied().filter(|other| other.outer.a == *place).collect();
        addresses(code, place, m, (block.first, block.rows), table)?;
        if whole > 0 {
            code.count(from, end, (PANELS * PANEL) as i64, |code, first| {
                let most = code.plus(first, (PANELS * PANEL) as i64);
                let until = code.build.ins().smin(most, end);
                gather_panels(code, (table, block.rows), (first, until), left);
                code.count(first, until, PANEL as i64, |code, top| {
                    let within = code.build.ins().isub(top, first);
                    let panel = panel_at(code, left, within, block.rows);
                    with.iter().try_for_each(|&sum| band(code, buffers, block, sum, (top, panel), PANEL, 0))
                })
            })?;
        }
        let rest = m - whole;
        if rest > 0 {
            let before = if whole > 0 { heights(PANEL, code.tiling) } else { Vec::new() };
            let callees = before.iter().map(|(_, rows)| code.tiling.ladder(*rows, PANEL).len()).sum();
            let any = code.build.ins().icmp(IntCC::SignedGreaterThan, to, last);
            code.when(any, |code| {
                pack(code, (table, block.rows), m, (last, 1), left)?;
                with.iter().try_for_each(|&sum| band(code, buffers, block, sum, (last, left), rest, callees))
            })?;
        }
    }
    Ok(())
}

/// The rows `top..top + height` of a result, whose `panel` of `a` is packed; their tiles are the callees from
/// `callee` on.
fn band(
    code: &mut Code,
    buffers: &Buffers,
    block: Block,
    Sum { outer, out, strip }: Sum,
    (top, panel): (Value, Value),
    height: usize,
    callee: usize,
) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let right = code.stack_address(buffers.right);
    let a_rows = code.stack_address(buffers.tables);
    let out_rows = code.plus(a_rows, (PANEL * 8) as i64);
    for row in 0..height {
        let column = code.plus(panel, (row * bytes) as i64);
        code.build.ins().store(CHANGING, column, a_rows, 8 * row as i32);
        let at = code.plus(top, row as i64);
        let address = code.element(out, at, outer.out.pitch * bytes);
        code.build.ins().store(CHANGING, address, out_rows, 8 * row as i32);
    }
    let mut tiers = Vec::new();
    let mut callee = callee;
    for (first, rows) in heights(height, code.tiling) {
        let ladder = code.tiling.ladder(rows, PANEL);
        let own = callee;
        callee += ladder.len();
        tiers.push(Tier { first, callee: own, ladder });
    }
    // Tiles of the same width go through a panel one after the other: it stays in the nearest cache.
    for tiers in tiers.chunk_by(Tier::is_as_wide) {
        let mut done = 0;
        for (number, shape) in tiers[0].ladder.iter().enumerate() {
            let at_once = code.tiling.panels(*shape);
            let whole = (strip.panels - done) / at_once * at_once;
            let rows = code.int((tiers.len() * shape.rows) as i64);
            let wanted = Wanted::new(code, at_once, block.rows, rows, shape.rows);
            code.count_constant(whole * PANEL, at_once * PANEL, |code, within| {
                let within = code.plus(within, (done * PANEL) as i64);
                let packed = code.plus(within, (strip.before * PANEL) as i64);
                let panel = panel_at(code, right, packed, block.rows);
                let (k, n, pitch) = (block.rows, code.int(outer.n as i64), block.rows);
                let column = code.build.ins().iadd(strip.column, within);
                let next = code.scaled(block.rows, at_once * PANEL * bytes);
                for Tier { first, callee, .. } in tiers {
                    let tile = code.callees[callee + number];
                    let (row, before) = (code.int(*first as i64), code.int((first - tiers[0].first) as i64));
                    let (a, out) = (code.element(a_rows, row, 8), code.element(out_rows, row, 8));
                    let [ahead, pace] = wanted.by(code, before, next);
                    let all = [a, out, panel, k, n, column, block.accumulate, pitch, ahead, pace];
                    code.build.ins().call(tile, &all);
                }
                Ok(())
            })?;
            done += whole;
        }
    }
    Ok(())
}

/// Tiles of one height in a panel of a left side.
struct Tier {
    /// Their first row.
    first: usize,
    /// The callee of the first of them.
    callee: usize,
    ladder: Vec<Shape>,
}

impl Tier {
    /// Whether the tiles of both go over the same columns.
    fn is_as_wide(&self, other: &Tier) -> bool {
        self.ladder.iter().map(|shape| shape.vectors).eq(other.ladder.iter().map(|shape| shape.vectors))
    }
}

/// Where the panel of a buffer lies that begins at a column, if panels have so many rows.
fn panel_at(code: &mut Code, buffer: Value, column: Value, rows: Value) -> Value {
    let elements = code.build.ins().imul(column, rows);
    code.element(buffer, elements, code.types.bytes)
}

/// Copies the panels of the columns `first..until`, which are whole ones.
fn gather_panels(code: &mut Code, (table, rows): (Value, Value), (first, until): (Value, Value), to: Value) {
    let columns = code.build.ins().isub(until, first);
    let bits = code.int(i64::from(PANEL.trailing_zeros()));
    let panels = code.build.ins().ushr(columns, bits);
    let offset = code.scaled(first, code.types.bytes);
    let size = code.scaled(rows, PANEL * code.types.bytes);
    // Behind the tiles.
    let gather = code.callees[code.callees.len() - 1];
    code.build.ins().call(gather, &[table, offset, to, rows, panels, size]);
}

/// Copies so many panels, from the one that begins at `column` on, of rows of `width` columns.
fn pack(
    code: &mut Code,
    (table, rows): (Value, Value),
    width: usize,
    (column, panels): (Value, usize),
    to: Value,
) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let offset = code.scaled(column, bytes);
    let whole = |code: &mut Code, panels: usize| {
        let until = code.plus(column, (panels * PANEL) as i64);
        gather_panels(code, (table, rows), (column, until), to);
        Ok(())
    };
    // The last panel of all may be a narrower one.
    let rest = width % PANEL;
    if rest == 0 {
        return whole(code, panels);
    }
    let narrow = |code: &mut Code| {
        if panels > 1 {
            whole(code, panels - 1)?;
        }
        let before = (panels - 1) * PANEL;
        let offset = code.plus(offset, (before * bytes) as i64);
        let to = code.element(to, rows, before * bytes);
        gather_columns(code, (table, rows), offset, to, rest)
    };
    let edge = code.int((width - rest) as i64);
    let end = code.plus(column, (panels * PANEL) as i64);
    let is_whole = code.build.ins().icmp(IntCC::SignedLessThanOrEqual, end, edge);
    code.either(is_whole, |code| whole(code, panels), narrow)
}

/// Puts the addresses of a block's rows of a place into a table.
fn addresses(
    code: &mut Code,
    place: &Place,
    width: usize,
    (first, rows): (Value, Value),
    table: Value,
) -> Result<(), EmitError> {
    let zero = code.int(0);
    code.count(zero, rows, 1, |code, row| {
        let kernel_row = code.build.ins().iadd(first, row);
        let address = code.place_address(place, kernel_row, place.offset + width)?;
        let at = code.element(table, row, 8);
        code.build.ins().store(CHANGING, address, at, 0);
        Ok(())
    })
}
