//! Weight gradients: the sum over rows of `a[r, :]` times `b[r, :]`.
//!
//! That is a product whose contracted width is the rows, so it runs on the same tiles. Rows are taken in
//! blocks of [`BLOCK`]; for each, a piece of `a` is put on the stack transposed and one panel of `b`
//! packed, both small enough for the nearest caches, and the tiles add to the result. Rows are added in
//! order, whatever the blocks.

use cranelift_codegen::ir::{InstBuilder, Value};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use super::gemm::{TILE_ROWS, TileCall, narrow, shape};
use super::pack::copy_padded;
use super::tile::Shape;
use crate::plan::{Outer, PANEL, Precision};

/// Rows summed at a time.
const BLOCK: usize = 128;
/// Bytes of the transposed piece of `a`.
const PIECE_BYTES: usize = 32 * 1024;

/// Rows of the result worked on at a time.
fn piece(precision: Precision) -> usize {
    PIECE_BYTES / (BLOCK * precision.bytes())
}

/// Tiles that are called, in the order of the callees: the whole tile, and that of the result's last rows.
pub fn tiles(outer: &Outer, precision: Precision) -> Vec<Shape> {
    let mut all = vec![shape(TILE_ROWS)];
    match outer.m % TILE_ROWS {
        0 => {}
        rest => all.push(narrow(rest, precision)),
    }
    all
}

/// Stack memory and tables of one kernel.
struct Buffers {
    transposed: Value,
    panel: Value,
    a_rows: Value,
    out_rows: Value,
    out: Value,
}

/// Emits the sum of products.
pub fn outer(code: &mut Code, outer: &Outer) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let zero = code.int(0);
    let out = code.place_address(&outer.out, zero, 0)?;
    if !outer.accumulate {
        code.clear(out, outer.m, outer.n, outer.out.pitch)?;
    }
    let piece = piece(code.precision);
    let transposed = code.stack(piece * BLOCK * bytes);
    let panel = code.stack(BLOCK * PANEL * bytes);
    let tables = code.stack(2 * piece * 8);
    let a_rows = code.stack_address(tables);
    let buffers = Buffers {
        transposed: code.stack_address(transposed),
        panel: code.stack_address(panel),
        a_rows,
        out_rows: code.plus(a_rows, (piece * 8) as i64),
        out,
    };
    code.count_constant(piece, 1, |code, row| {
        let slot = code.element(buffers.a_rows, row, 8);
        let address = code.element(buffers.transposed, row, BLOCK * bytes);
        code.build.ins().store(CHANGING, address, slot, 0);
        Ok(())
    })?;
    let (begin, end) = (code.params[1], code.params[2]);
    code.count(begin, end, BLOCK as i64, |code, first| {
        let left = code.build.ins().isub(end, first);
        let most = code.int(BLOCK as i64);
        let rows = code.build.ins().smin(left, most);
        let whole = outer.m / piece * piece;
        code.count_constant(whole, piece, |code, top| block(code, outer, &buffers, first, rows, top, piece))?;
        let top = code.int(whole as i64);
        match outer.m - whole {
            0 => Ok(()),
            rest => block(code, outer, &buffers, first, rows, top, rest),
        }
    })
}

/// `rows` rows from `first` on, added to the rows `top..top + height` of the result.
fn block(
    code: &mut Code,
    outer: &Outer,
    buffers: &Buffers,
    first: Value,
    rows: Value,
    top: Value,
    height: usize,
) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let zero = code.int(0);
    code.count(zero, rows, 1, |code, row| {
        let kernel_row = code.build.ins().iadd(first, row);
        let from = code.place_address(&outer.a, kernel_row, outer.a.offset + outer.m)?;
        let from = code.element(from, top, bytes);
        let to = code.element(buffers.transposed, row, bytes);
        // Eight a turn: the loop's own work is then small beside the copies.
        let eights = height / 8 * 8;
        code.count_constant(eights, 8, |code, index| {
            let from = code.element(from, index, bytes);
            let to = code.element(to, index, BLOCK * bytes);
            copy_transposed(code, from, to, 8);
            Ok(())
        })?;
        let from = code.plus(from, (eights * bytes) as i64);
        let to = code.plus(to, (eights * BLOCK * bytes) as i64);
        copy_transposed(code, from, to, height - eights);
        Ok(())
    })?;
    code.count_constant(height, 1, |code, row| {
        let slot = code.element(buffers.out_rows, row, 8);
        let row = code.build.ins().iadd(top, row);
        let address = code.element(buffers.out, row, outer.out.pitch * bytes);
        code.build.ins().store(CHANGING, address, slot, 0);
        Ok(())
    })?;
    let whole = outer.n / PANEL * PANEL;
    code.count_constant(whole, PANEL, |code, column| {
        panel(code, outer, buffers, first, rows, column, PANEL, height)
    })?;
    let column = code.int(whole as i64);
    match outer.n - whole {
        0 => Ok(()),
        rest => panel(code, outer, buffers, first, rows, column, rest, height),
    }
}

/// Packs the panel of `b` that begins at `column` and calls the tiles.
#[allow(clippy::too_many_arguments)]
fn panel(
    code: &mut Code,
    outer: &Outer,
    buffers: &Buffers,
    first: Value,
    rows: Value,
    column: Value,
    columns: usize,
    height: usize,
) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let zero = code.int(0);
    code.count(zero, rows, 1, |code, row| {
        let kernel_row = code.build.ins().iadd(first, row);
        let from = code.place_address(&outer.b, kernel_row, outer.b.offset + outer.n)?;
        let from = code.element(from, column, bytes);
        let to = code.element(buffers.panel, row, PANEL * bytes);
        copy_padded(code, from, 1, to, columns);
        Ok(())
    })?;
    let call = TileCall {
        a_rows: buffers.a_rows,
        out_rows: buffers.out_rows,
        panel: buffers.panel,
        k: rows,
        n: outer.n,
        accumulate: true,
    };
    let whole = height / TILE_ROWS * TILE_ROWS;
    let tile = code.callees[0];
    code.count_constant(whole, TILE_ROWS, |code, row| {
        call.emit(code, tile, row, column);
        Ok(())
    })?;
    if height > whole {
        let tile = code.callees[1];
        let row = code.int(whole as i64);
        call.emit(code, tile, row, column);
    }
    Ok(())
}

/// Copies `count` neighbours into one column of the transposed piece.
fn copy_transposed(code: &mut Code, from: Value, to: Value, count: usize) {
    let types = code.types;
    for index in 0..count {
        let value = code.build.ins().load(types.real, CHANGING, from, (index * types.bytes) as i32);
        code.build.ins().store(CHANGING, value, to, (index * BLOCK * types.bytes) as i32);
    }
}
