//! Reordering a matrix into panels, so that a product reads it from front to back.
//!
//! A 2 x 10 matrix with panels of 8 columns becomes `[row 0: 0..8][row 1: 0..8][row 0: 8 9 and zeros]
//! [row 1: 8 9 and zeros]`.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use crate::plan::{PANEL, Pack, Place};

/// Emits the reordering: of each part of `period` columns those that the function is given.
pub fn pack(code: &mut Code, pack: &Pack, period: usize) -> Result<(), EmitError> {
    let zero = code.int(0);
    let source = code.place_address(&pack.source, zero, 0)?;
    let to = code.base(pack.to);
    let (from, end) = code.columns();
    // Only the last part has a panel that is not full.
    let last = period / PANEL * PANEL;
    code.count_constant(pack.n, period, |code, part| {
        let whole = code.int(last as i64);
        let whole = code.build.ins().smin(end, whole);
        let (from, whole) = (code.build.ins().iadd(part, from), code.build.ins().iadd(part, whole));
        code.count(from, whole, PANEL as i64, |code, column| panel(code, pack, source, to, column, PANEL))
    })?;
    match period - last {
        0 => Ok(()),
        rest => {
            let begin = code.int(last as i64);
            let any = code.build.ins().icmp(IntCC::SignedGreaterThan, end, begin);
            let column = code.int((pack.n - rest) as i64);
            code.when(any, |code| panel(code, pack, source, to, column, rest))
        }
    }
}

/// The panel that begins at `column`, of which `columns` exist.
fn panel(
    code: &mut Code,
    pack: &Pack,
    source: Value,
    to: Value,
    column: Value,
    columns: usize,
) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let (row_stride, column_stride) = strides(&pack.source);
    let from = code.element(source, column, column_stride * bytes);
    let to = code.element(to, column, pack.k * bytes);
    code.count_constant(pack.k, 1, |code, row| {
        let from = code.element(from, row, row_stride * bytes);
        let to = code.element(to, row, PANEL * bytes);
        copy_padded(code, from, column_stride, to, columns);
        Ok(())
    })
}

/// Copies `columns` elements into a panel's row and zeros behind them.
pub fn copy_padded(code: &mut Code, from: Value, stride: usize, to: Value, columns: usize) {
    let types = code.types;
    let mut column = 0;
    while column < PANEL {
        let offset = (column * types.bytes) as i32;
        let vector = column + types.lanes <= columns && stride == 1;
        let zeros = column >= columns && column.is_multiple_of(types.lanes);
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
