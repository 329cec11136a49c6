//! Products of rows with a packed matrix: which tile goes where.
//!
//! 11 rows times 3 panels with tiles of 4 rows: for each panel the tiles of rows 0..4 and 4..8 (the panel
//! stays in the nearest cache), then the rest of 3 rows over all panels. Every other step of a loop goes through the panels
//! from the last to the first: what the step before used last is still near. Addresses of rows, which may go through
//! maps, are put into a table first, for a block of rows at a time.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{FuncRef, InstBuilder, Value};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use super::tile::{Shape, Wanted};
use super::tiling::Tiling;
use crate::plan::{Gemm, GemmRows, PANEL};

/// Rows that go through all panels together: enough for these to be read seldom, few enough to stay in a cache.
const BLOCK: usize = 64;
/// The same where the matrix is larger than a second-level cache, of so many bytes.
const LARGE_BLOCK: usize = 2 * BLOCK;
const LARGE: usize = 2 << 20;

/// Numbers of rows that may be left over.
fn remainders(gemm: &Gemm, tiling: Tiling) -> Vec<usize> {
    match gemm.rows {
        GemmRows::Space(_) => (1..tiling.rows).collect(),
        GemmRows::Static(rows) => match rows % tiling.rows {
            0 => Vec::new(),
            rest => vec![rest],
        },
    }
}

/// Tiles that a product calls, in the order of its callees: the ladder for whole tiles, then that for each
/// possible rest.
pub fn tiles(gemm: &Gemm, tiling: Tiling) -> Vec<Shape> {
    let rows = std::iter::once(tiling.rows).chain(remainders(gemm, tiling));
    rows.flat_map(|rows| tiling.ladder(rows, 1)).collect()
}

/// Emits a product. With a `period`, the columns that the function is given are those of each part of so
/// many columns; without (0) it works on all.
pub fn gemm(code: &mut Code, gemm: &Gemm, period: usize) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let (begin, end) = match gemm.rows {
        GemmRows::Space(_) => (code.params[1], code.params[2]),
        GemmRows::Static(rows) => (code.int(0), code.int(rows as i64)),
    };
    let block = if gemm.k * gemm.n * bytes > LARGE { LARGE_BLOCK } else { BLOCK };
    let tables = code.stack(2 * block * 8);
    code.count(begin, end, block as i64, |code, first| {
        let a_rows = code.stack_address(tables);
        let out_rows = code.plus(a_rows, (block * 8) as i64);
        let left = code.build.ins().isub(end, first);
        let most = code.int(block as i64);
        let rows = code.build.ins().smin(left, most);
        let zero = code.int(0);
        code.count(zero, rows, 1, |code, row| {
            let kernel_row = code.build.ins().iadd(first, row);
            for (table, place, width) in [(a_rows, &gemm.a, gemm.k), (out_rows, &gemm.out, gemm.n)] {
                let address = match gemm.rows {
                    GemmRows::Space(_) => code.place_address(place, kernel_row, place.offset + width)?,
                    GemmRows::Static(_) => {
                        let zero = code.int(0);
                        let base = code.place_address(place, zero, place.offset + width)?;
                        code.element(base, kernel_row, place.pitch * bytes)
                    }
                };
                let slot = code.element(table, row, 8);
                code.build.ins().store(CHANGING, address, slot, 0);
            }
            Ok(())
        })?;
        let packed = code.base(gemm.packed);
        // Blocks of rows and steps of a loop alike take turns.
        let before = code.build.ins().isub(first, begin);
        let bits = code.int(i64::from(block.trailing_zeros()));
        let before = code.build.ins().ushr(before, bits);
        let step = code.step();
        let turn = code.build.ins().iadd(step, before);
        let one = code.int(1);
        let backward = code.build.ins().band(turn, one);
        let Gemm { k, n: width, accumulate, .. } = *gemm;
        let product = Product { a_rows, out_rows, packed, k, n: width, accumulate, period, backward };
        let remainders = remainders(gemm, code.tiling);
        let n = code.int(gemm.n as i64);
        if period == 0 {
            return product.all_rows(code, rows, &remainders, (zero, n));
        }
        let (from, to) = code.columns();
        let parts = code.int((gemm.n.div_ceil(period) * period) as i64);
        // Whoever has all columns goes over them in one piece: tiles of few rows span many panels.
        let part = code.int(period as i64);
        let own = code.build.ins().isub(to, from);
        let all = code.build.ins().icmp(IntCC::SignedGreaterThanOrEqual, own, part);
        let (parts, to) = (code.build.ins().select(all, part, parts), code.build.ins().select(all, n, to));
        code.count_either_way((zero, parts), period as i64, backward, |code, part| {
            let columns = (code.build.ins().iadd(part, from), code.build.ins().iadd(part, to));
            product.all_rows(code, rows, &remainders, columns)
        })
    })
}

/// Rows in tables times a packed matrix.
struct Product {
    a_rows: Value,
    out_rows: Value,
    packed: Value,
    k: usize,
    n: usize,
    accumulate: bool,
    /// Columns from a part to the next; 0 if there is one.
    period: usize,
    /// 1 to go through the panels from the last to the first.
    backward: Value,
}

impl Product {
    /// These columns of all `rows` rows of the tables, of which `remainders` may be left over by whole tiles.
    fn all_rows(
        &self,
        code: &mut Code,
        rows: Value,
        remainders: &[usize],
        columns: (Value, Value),
    ) -> Result<(), EmitError> {
        let tile_rows = code.int(code.tiling.rows as i64);
        let rest = code.build.ins().urem(rows, tile_rows);
        let whole = code.build.ins().isub(rows, rest);
        let height = code.tiling.rows;
        let zero = code.int(0);
        let any = code.build.ins().icmp(IntCC::SignedGreaterThan, whole, zero);
        // Panels outside: each stays in the nearest cache for all rows.
        code.when(any, |code| {
            self.each_column(code, (0, height, whole), columns, |code, tile, column| {
                code.count(zero, whole, height as i64, |code, row| {
                    self.call(code, tile, (row, row), column);
                    Ok(())
                })
            })
        })?;
        let mut first = code.tiling.ladder(height, 1).len();
        for &remainder in remainders {
            let own = first;
            first += code.tiling.ladder(remainder, 1).len();
            let expected = code.int(remainder as i64);
            let is_it = code.build.ins().icmp(IntCC::Equal, rest, expected);
            code.when(is_it, |code| {
                self.each_column(code, (own, remainder, expected), columns, |code, tile, column| {
                    self.call(code, tile, (whole, zero), column);
                    Ok(())
                })
            })?;
        }
        Ok(())
    }

    /// A distance, or its opposite where panels are gone through backward.
    fn forth_or_back(&self, code: &mut Code, distance: Value) -> Value {
        let opposite = code.build.ins().ineg(distance);
        code.build.ins().select(self.backward, opposite, distance)
    }

    /// Goes over columns with the ladder of tiles of a height, the first of which is a certain callee: each as far as it
    /// has panels enough. So many rows go through the same columns.
    fn each_column(
        &self,
        code: &mut Code,
        (first, height, rows): (usize, usize, Value),
        (from, to): (Value, Value),
        mut body: impl FnMut(&mut Code, FuncRef, Column) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        let mut from = from;
        for (number, shape) in code.tiling.ladder(height, 1).into_iter().enumerate() {
            let tile = code.callees[first + number];
            let at_once = PANEL * code.tiling.panels(shape);
            let length = code.build.ins().isub(to, from);
            let up = code.plus(length, PANEL as i64 - 1);
            let unit = code.int(at_once as i64);
            let rest = code.build.ins().urem(up, unit);
            let whole = code.build.ins().isub(up, rest);
            let end = code.build.ins().iadd(from, whole);
            let next = code.int(at_once as i64);
            let next = self.forth_or_back(code, next);
            // Behind the last columns of a part come the first of the next part.
            let final_column = code.plus(end, -(at_once as i64));
            let last = code.build.ins().select(self.backward, from, final_column);
            let skipped = code.build.ins().isub(from, final_column);
            let skipped = code.plus(skipped, self.period as i64);
            let skipped = self.forth_or_back(code, skipped);
            let k = code.int(self.k as i64);
            let wanted = Wanted::new(code, code.tiling.panels(shape), k, rows, height);
            code.count_either_way((from, end), at_once as i64, self.backward, |code, at| {
                let next = match self.period {
                    0 => next,
                    _ => {
                        let is_last = code.build.ins().icmp(IntCC::Equal, at, last);
                        code.build.ins().select(is_last, skipped, next)
                    }
                };
                body(code, tile, Column { at, next, wanted })
            })?;
            from = end;
        }
        Ok(())
    }

    /// Calls a tile for the rows from `row` of the tables and the panels from a column on, which other rows before it have
    /// gone through.
    fn call(&self, code: &mut Code, tile: FuncRef, (row, before): (Value, Value), column: Column) {
        let panel_bytes = self.k * code.types.bytes;
        let (a, out) = (code.element(self.a_rows, row, 8), code.element(self.out_rows, row, 8));
        let panel = code.element(self.packed, column.at, panel_bytes);
        let [k, n, accumulate] = [self.k, self.n, usize::from(self.accumulate)].map(|it| code.int(it as i64));
        let ahead = code.scaled(column.next, panel_bytes);
        let [ahead, pace] = column.wanted.by(code, before, ahead);
        code.build.ins().call(tile, &[a, out, panel, k, n, column.at, accumulate, k, ahead, pace]);
    }
}

/// Where a tile's columns begin.
#[derive(Clone, Copy)]
struct Column {
    at: Value,
    /// How far behind it those begin that come next.
    next: Value,
    wanted: Wanted,
}
