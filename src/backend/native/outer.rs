//! Weight gradients: the sum over rows of `a[r, :]` times `b[r, :]`.
//!
//! That is a product whose contracted width is the rows, so it runs on the same tiles. Rows are taken in
//! blocks of [`BLOCK`]; for each, strips of `b`, half of the second-level cache, and then a few panels of `a` at a time
//! are packed, and the tiles add to the result, which the first block's tiles need not have been cleared for: they
//! begin at zero. Rows are added in order, whatever the blocks. The columns that a worker is given are those of `a`:
//! rows of the result.
//!
//! Panels lie close together however few rows there are, so that those of a single tree stay in the nearest cache.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlot, Value, types};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use super::pack::gather_columns;
use super::tile::Shape;
use super::tiling::Tiling;
use crate::plan::{Outer, PANEL, Place};

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

/// Panels of `b` packed at a time.
fn strip_panels(outer: &Outer, code: &Code) -> usize {
    outer.n.div_ceil(PANEL).min(STRIP / (BLOCK * PANEL * code.types.bytes))
}

/// Stack memory of one kernel.
struct Buffers {
    /// Panels of `a`.
    left: StackSlot,
    /// A strip of `b`.
    right: StackSlot,
    /// Addresses of the panel's columns, and of the result's rows.
    tables: StackSlot,
    /// Addresses of the block's rows of `a`, and of `b`.
    rows: [StackSlot; 2],
}

/// Part of the sum: so many rows of the block, columns of `b` from `column` on.
#[derive(Clone, Copy)]
struct Part {
    rows: Value,
    /// Whether sums go on from what is there.
    accumulate: Value,
    column: Value,
    panels: usize,
}

/// Emits the sum of products.
pub fn outer(code: &mut Code, outer: &Outer) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let zero = code.int(0);
    let out = code.place_address(&outer.out, zero, 0)?;
    let (begin, end) = (code.params[1], code.params[2]);
    if !outer.accumulate {
        let none = code.build.ins().icmp(IntCC::SignedGreaterThanOrEqual, begin, end);
        let rows = code.columns();
        code.when(none, |code| code.clear(out, rows, outer.n, outer.out.pitch))?;
    }
    let strip = strip_panels(outer, code);
    let buffers = Buffers {
        left: code.stack(PANELS * BLOCK * PANEL * bytes),
        right: code.stack(strip * BLOCK * PANEL * bytes),
        tables: code.stack(2 * PANEL * 8),
        rows: [code.stack(BLOCK * 8), code.stack(BLOCK * 8)],
    };
    code.count(begin, end, BLOCK as i64, |code, first| {
        let still = code.build.ins().isub(end, first);
        let most = code.int(BLOCK as i64);
        let rows = code.build.ins().smin(still, most);
        let accumulate = match outer.accumulate {
            true => code.int(1),
            false => {
                let later = code.build.ins().icmp(IntCC::SignedGreaterThan, first, begin);
                code.build.ins().uextend(types::I64, later)
            }
        };
        for (slot, place, width) in [(0, &outer.a, outer.m), (1, &outer.b, outer.n)] {
            let table = code.stack_address(buffers.rows[slot]);
            addresses(code, place, width, (first, rows), table)?;
        }
        let panels = outer.n.div_ceil(PANEL);
        let whole = panels / strip * strip;
        code.count_constant(whole * PANEL, strip * PANEL, |code, column| {
            part(code, outer, &buffers, out, Part { rows, accumulate, column, panels: strip })
        })?;
        let column = code.int((whole * PANEL) as i64);
        match panels % strip {
            0 => Ok(()),
            panels => part(code, outer, &buffers, out, Part { rows, accumulate, column, panels }),
        }
    })
}

/// Packs a strip of `b` and adds to all rows of the result in these columns.
fn part(code: &mut Code, outer: &Outer, buffers: &Buffers, out: Value, part: Part) -> Result<(), EmitError> {
    let (right, b_rows) = (code.stack_address(buffers.right), code.stack_address(buffers.rows[1]));
    pack(code, (b_rows, part.rows), outer.n, (part.column, part.panels), right)?;
    let (from, to) = code.columns();
    let whole = outer.m / PANEL * PANEL;
    let last = code.int(whole as i64);
    let end = code.build.ins().smin(to, last);
    let (left, rows) = (code.stack_address(buffers.left), code.stack_address(buffers.rows[0]));
    if whole > 0 {
        code.count(from, end, (PANELS * PANEL) as i64, |code, first| {
            let most = code.plus(first, (PANELS * PANEL) as i64);
            let until = code.build.ins().smin(most, end);
            gather_panels(code, (rows, part.rows), (first, until), left);
            code.count(first, until, PANEL as i64, |code, top| {
                let within = code.build.ins().isub(top, first);
                let panel = panel_at(code, left, within, part.rows);
                band(code, outer, buffers, out, part, (top, panel), PANEL, 0)
            })
        })?;
    }
    match outer.m - whole {
        0 => Ok(()),
        rest => {
            let before = if whole > 0 { heights(PANEL, code.tiling) } else { Vec::new() };
            let callees = before.iter().map(|(_, rows)| code.tiling.ladder(*rows, PANEL).len()).sum();
            let any = code.build.ins().icmp(IntCC::SignedGreaterThan, to, last);
            code.when(any, |code| {
                pack(code, (rows, part.rows), outer.m, (last, 1), left)?;
                band(code, outer, buffers, out, part, (last, left), rest, callees)
            })
        }
    }
}

/// The rows `top..top + height` of the result, whose `panel` of `a` is packed; their tiles are the callees from
/// `callee` on.
#[allow(clippy::too_many_arguments)]
fn band(
    code: &mut Code,
    outer: &Outer,
    buffers: &Buffers,
    out: Value,
    part: Part,
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
    let mut callee = callee;
    for (first, rows) in heights(height, code.tiling) {
        let row = code.int(first as i64);
        let mut done = 0;
        for shape in code.tiling.ladder(rows, PANEL) {
            let tile = code.callees[callee];
            callee += 1;
            let at_once = code.tiling.panels(shape);
            let whole = (part.panels - done) / at_once * at_once;
            code.count_constant(whole * PANEL, at_once * PANEL, |code, within| {
                let within = code.plus(within, (done * PANEL) as i64);
                let (a, out) = (code.element(a_rows, row, 8), code.element(out_rows, row, 8));
                let panel = panel_at(code, right, within, part.rows);
                let (k, n, pitch) = (part.rows, code.int(outer.n as i64), part.rows);
                let column = code.build.ins().iadd(part.column, within);
                code.build.ins().call(tile, &[a, out, panel, k, n, column, part.accumulate, pitch]);
                Ok(())
            })?;
            done += whole;
        }
    }
    Ok(())
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
