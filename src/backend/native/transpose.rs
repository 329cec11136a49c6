//! A panel of a matrix whose columns lie one behind the other, which is what a product with a transposed matrix
//! packs: squares of a vector's width are turned in registers.
//!
//! ```text
//! a0 a1 a2 a3      a0 b0 c0 d0
//! b0 b1 b2 b3  →   a1 b1 c1 d1      by interleaving halves twice
//! c0 c1 c2 c3      a2 b2 c2 d2
//! d0 d1 d2 d3      a3 b3 c3 d3
//! ```

use std::ops::Range;

use cranelift_codegen::ir::{ConstantData, InstBuilder, Value, types};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use super::pack::Piece;
use super::point::little;
use crate::plan::PANEL;

/// Emits the function that copies panels of a matrix whose columns are contiguous (see
/// [`super::pack::PANELS_PARAMS`]).
pub fn panels(code: &mut Code, piece: Piece) -> Result<(), EmitError> {
    let [from, stride, to, rows, panels, pitch] = code.params[..] else { return Ok(()) };
    let (zero, bytes) = (code.int(0), code.types.bytes);
    // As many rows as a panel has columns, so that what a column's cache line holds is used while it is there.
    let mask = code.int(!(PANEL as i64 - 1));
    let whole = code.build.ins().band(rows, mask);
    let in_squares = piece.columns / code.types.lanes * code.types.lanes;
    code.count(zero, panels, 1, |code, panel| {
        let columns = code.scaled(panel, PANEL);
        let skipped = code.build.ins().imul(columns, stride);
        let from = code.build.ins().iadd(from, skipped);
        let before = code.build.ins().imul(panel, pitch);
        let to = code.build.ins().iadd(to, before);
        code.count(zero, whole, PANEL as i64, |code, row| {
            code.count_constant(in_squares, code.types.lanes, |code, column| {
                let at = code.build.ins().imul(column, stride);
                let at = code.build.ins().iadd(from, at);
                let at = code.element(at, row, bytes);
                let to = code.element(to, row, PANEL * bytes);
                let to = code.element(to, column, bytes);
                squares(code, at, stride, to);
                Ok(())
            })
        })?;
        singly(code, (zero, whole), in_squares..piece.columns, piece.width, (from, stride, to))?;
        singly(code, (whole, rows), 0..piece.columns, piece.width, (from, stride, to))
    })
}

/// These columns of these rows number by number, and zeros behind them.
fn singly(
    code: &mut Code,
    (first, end): (Value, Value),
    columns: Range<usize>,
    width: usize,
    (from, stride, to): (Value, Value, Value),
) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    if columns.start == width {
        return Ok(());
    }
    let skipped = code.int(columns.start as i64);
    let skipped = code.build.ins().imul(skipped, stride);
    let from = code.build.ins().iadd(from, skipped);
    code.count(first, end, 1, |code, row| {
        let mut from = code.element(from, row, bytes);
        let to = code.element(to, row, PANEL * bytes);
        for column in columns.clone() {
            let value = code.build.ins().load(code.types.real, CHANGING, from, 0);
            code.build.ins().store(CHANGING, value, to, (column * bytes) as i32);
            from = code.build.ins().iadd(from, stride);
        }
        for column in columns.end..width {
            let zero = code.real(0.0);
            code.build.ins().store(CHANGING, zero, to, (column * bytes) as i32);
        }
        Ok(())
    })
}

/// As many columns as a vector has lanes, in rows of as many as a panel has columns.
fn squares(code: &mut Code, from: Value, stride: Value, to: Value) {
    let types = code.types;
    let mut columns = vec![from];
    for _ in 1..types.lanes {
        let last = columns[columns.len() - 1];
        columns.push(code.build.ins().iadd(last, stride));
    }
    for row in (0..PANEL).step_by(types.lanes) {
        let offset = (row * types.bytes) as i32;
        let loaded: Vec<Value> = columns
            .iter()
            .map(|&column| code.build.ins().load(types.vector, CHANGING, column, offset))
            .collect();
        for (index, turned) in turned(code, &loaded).into_iter().enumerate() {
            let at = ((row + index) * PANEL * types.bytes) as i32;
            code.build.ins().store(CHANGING, turned, to, at);
        }
    }
}

/// The rows of a square of which these are the columns.
fn turned(code: &mut Code, columns: &[Value]) -> Vec<Value> {
    match *columns {
        [a, b] => vec![interleaved(code, 8, false, a, b), interleaved(code, 8, true, a, b)],
        [a, b, c, d] => {
            let mut rows = Vec::with_capacity(4);
            for high in [false, true] {
                let (ab, cd) = (interleaved(code, 4, high, a, b), interleaved(code, 4, high, c, d));
                rows.extend([false, true].map(|high| interleaved(code, 8, high, ab, cd)));
            }
            rows
        }
        _ => Vec::new(),
    }
}

/// Elements of `bytes` bytes of the low or high halves of two vectors, in turn.
fn interleaved(code: &mut Code, bytes: u8, high: bool, a: Value, b: Value) -> Value {
    let first = if high { 8 } else { 0 };
    let lanes: Vec<u8> = (0..8 / bytes)
        .flat_map(|element| [0, 16].map(|side| side + first + element * bytes))
        .flat_map(|start| start..start + bytes)
        .collect();
    let lanes = code.build.func.dfg.immediates.push(ConstantData::from(&lanes[..]));
    let [a, b] = [a, b].map(|value| code.build.ins().bitcast(types::I8X16, little(), value));
    let mixed = code.build.ins().shuffle(a, b, lanes);
    code.build.ins().bitcast(code.types.vector, little(), mixed)
}
