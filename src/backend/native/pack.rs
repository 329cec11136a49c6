//! Reordering a matrix into panels, so that a product reads it from front to back.
//!
//! A 2 x 10 matrix with panels of 8 columns becomes `[row 0: 0..8][row 1: 0..8][row 0: 8 9 and zeros]
//! [row 1: 8 9 and zeros]`.

use std::ops::Range;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use crate::plan::{PANEL, Pack, Place};

/// Whether columns, and not rows, lie one behind the other: then it calls [`super::transpose`].
pub fn is_transposed(pack: &Pack) -> bool {
    let (row, column) = strides(&pack.source);
    row == 1 && column != 1
}

/// Emits the reordering of a part: in each stretch of `period` columns of the whole those that the function is
/// given, which are whole panels.
pub fn pack(code: &mut Code, pack: &Pack, period: usize) -> Result<(), EmitError> {
    let zero = code.int(0);
    let source = code.place_address(&pack.source, zero, 0)?;
    let to = code.base(pack.to);
    let to = code.plus(to, (pack.at[0] * PANEL * code.types.bytes) as i64);
    let columns = code.columns();
    let (begin, end) = (pack.at[1], pack.at[1] + pack.n);
    for stretch in begin / period..end.div_ceil(period) {
        let start = stretch * period;
        // The part's columns of this stretch: a panel that begins before them, whole ones, one that ends behind.
        let (first, last) = (begin.max(start), end.min(start + period));
        let whole = (first.next_multiple_of(PANEL), last / PANEL * PANEL);
        let own = |code: &mut Code, column: usize| (code.int((column - start) as i64), columns);
        let single = |code: &mut Code, panel: usize| {
            let (at, (from, to_column)) = own(code, panel);
            let after = code.build.ins().icmp(IntCC::SignedGreaterThanOrEqual, at, from);
            let before = code.build.ins().icmp(IntCC::SignedLessThan, at, to_column);
            let mine = code.build.ins().band(after, before);
            let columns = panel.max(first)..last.min(panel + PANEL);
            let at = code.int(panel as i64);
            code.when(mine, |code| {
                panel_of(code, pack, (source, to), at, columns.start - panel..columns.end - panel)
            })
        };
        if first < whole.0 {
            single(code, whole.0 - PANEL)?;
        }
        if whole.0 < whole.1 {
            let (low, (from, _)) = own(code, whole.0);
            let (high, (_, until)) = own(code, whole.1);
            let from = code.build.ins().smax(from, low);
            let until = code.build.ins().smin(until, high);
            let start = code.int(start as i64);
            let (from, until) = (code.build.ins().iadd(start, from), code.build.ins().iadd(start, until));
            code.count(from, until, PANEL as i64, |code, column| {
                panel_of(code, pack, (source, to), column, 0..PANEL)
            })?;
        }
        if whole.0 <= whole.1 && whole.1 < last {
            single(code, whole.1)?;
        }
    }
    Ok(())
}

/// What the part has of the panel that begins at `column` of the whole: these columns of it, and zeros behind
/// the whole's last one.
fn panel_of(
    code: &mut Code,
    pack: &Pack,
    (source, to): (Value, Value),
    column: Value,
    columns: Range<usize>,
) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let (row_stride, column_stride) = strides(&pack.source);
    let to = code.element(to, column, pack.whole[0] * bytes);
    let to = code.plus(to, (columns.start * bytes) as i64);
    let first = code.plus(column, columns.start as i64 - pack.at[1] as i64);
    let from = code.element(source, first, column_stride * bytes);
    let is_last = pack.at[1] + pack.n == pack.whole[1] && columns.end < PANEL;
    let width = if is_last { PANEL - columns.start } else { columns.len() };
    if columns.len() == PANEL && is_transposed(pack) {
        let [stride, rows] = [column_stride * bytes, pack.k].map(|number| code.int(number as i64));
        let transpose = code.callees[0];
        code.build.ins().call(transpose, &[from, stride, to, rows]);
        return Ok(());
    }
    code.count_constant(pack.k, 1, |code, row| {
        let from = code.element(from, row, row_stride * bytes);
        let to = code.element(to, row, PANEL * bytes);
        copy_padded(code, from, column_stride, to, columns.len(), width);
        Ok(())
    })
}

/// Parameters of [`gather`]: a table of the addresses of rows, where their columns begin in bytes, the first panel,
/// the number of rows, the number of panels, and the bytes from a panel to the next.
pub const GATHER_PARAMS: usize = 6;

/// Emits the function that copies the columns of some panels, of rows that lie anywhere.
pub fn gather(code: &mut Code) -> Result<(), EmitError> {
    let [table, offset, to, rows, panels, pitch] = code.params[..] else { return Ok(()) };
    let zero = code.int(0);
    code.count(zero, panels, 1, |code, panel| {
        let skipped = code.scaled(panel, PANEL * code.types.bytes);
        let offset = code.build.ins().iadd(offset, skipped);
        let before = code.build.ins().imul(panel, pitch);
        let to = code.build.ins().iadd(to, before);
        gather_columns(code, (table, rows), offset, to, PANEL)
    })
}

/// The same for a panel of which only so many columns exist, in line.
pub fn gather_columns(
    code: &mut Code,
    (table, rows): (Value, Value),
    offset: Value,
    to: Value,
    columns: usize,
) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let zero = code.int(0);
    code.count(zero, rows, 1, |code, row| {
        let at = code.element(table, row, 8);
        let from = code.build.ins().load(types::I64, CHANGING, at, 0);
        let from = code.build.ins().iadd(from, offset);
        let to = code.element(to, row, PANEL * bytes);
        copy_padded(code, from, 1, to, columns, PANEL);
        Ok(())
    })
}

/// Copies `columns` elements into a panel's row and zeros behind them, `width` elements in all.
fn copy_padded(code: &mut Code, from: Value, stride: usize, to: Value, columns: usize, width: usize) {
    let types = code.types;
    let mut column = 0;
    while column < width {
        let offset = (column * types.bytes) as i32;
        let vector = column + types.lanes <= columns && stride == 1;
        let zeros = column >= columns && column + types.lanes <= width;
        let (value, width) = match (vector, zeros) {
            (true, _) => (code.build.ins().load(types.vector, CHANGING, from, offset), types.lanes),
            (_, true) => (code.vector_constant(0.0), types.lanes),
            _ if column < columns => {
                let (at, offset) = code.displaced(from, column * stride * types.bytes);
                (code.build.ins().load(types.real, CHANGING, at, offset), 1)
            }
            _ => (code.real(0.0), 1),
        };
        code.build.ins().store(CHANGING, value, to, offset);
        column += width;
    }
}

fn strides(place: &Place) -> (usize, usize) {
    match place.strides[..] {
        [row, column] => (row, column),
        _ => (0, 0),
    }
}
