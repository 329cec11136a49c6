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
    let (begin, end) = match gemm.rows {
        GemmRows::Space(_) => (code.params[1], code.params[2]),
        GemmRows::Static(rows) => (code.int(0), code.int(rows as i64)),
    };
    let block = if gemm.k * gemm.n * code.types.bytes > LARGE { LARGE_BLOCK } else { BLOCK };
    let tables = code.stack(2 * block * 8);
    let (a_rows, out_rows) = (code.stack_address(tables), code.stack_address(tables));
    let out_rows = code.plus(out_rows, (block * 8) as i64);
    let packed = code.base(gemm.packed);
    let step = code.step();
    let product = Product { gemm, a_rows, out_rows, packed, period, backward: step };
    let one = code.int(1);
    let many = |code: &mut Code| {
        code.count(begin, end, block as i64, |code, first| {
            let left = code.build.ins().isub(end, first);
            let most = code.int(block as i64);
            let rows = code.build.ins().smin(left, most);
            let zero = code.int(0);
            code.count(zero, rows, 1, |code, row| {
                let kernel_row = code.build.ins().iadd(first, row);
                product.note_row(code, kernel_row, row)
            })?;
            // Blocks of rows and steps of a loop alike take turns.
            let before = code.build.ins().isub(first, begin);
            let bits = code.int(i64::from(block.trailing_zeros()));
            let before = code.build.ins().ushr(before, bits);
            let turn = code.build.ins().iadd(step, before);
            let backward = code.build.ins().band(turn, one);
            let product = Product { backward, ..product };
            product.each_part(code, |code, columns| product.all_rows(code, rows, columns))
        })
    };
    if remainders(gemm, code.tiling).first() != Some(&1) {
        return many(code);
    }
    // A step of a single sequence is over so soon that what is done for many rows would take much of its time.
    let rows = code.build.ins().isub(end, begin);
    let single = code.build.ins().icmp(IntCC::Equal, rows, one);
    let single_row = |code: &mut Code| {
        let zero = code.int(0);
        product.note_row(code, begin, zero)?;
        let backward = code.build.ins().band(step, one);
        let product = Product { backward, ..product };
        product.each_part(code, |code, columns| product.one_row(code, columns))
    };
    code.either(single, single_row, many)
}

/// Rows in tables times a packed matrix.
#[derive(Clone, Copy)]
struct Product<'g> {
    gemm: &'g Gemm,
    a_rows: Value,
    out_rows: Value,
    packed: Value,
    /// Columns from a part to the next; 0 if there is one.
    period: usize,
    /// 1 to go through the panels from the last to the first.
    backward: Value,
}

impl Product<'_> {
    /// Puts the addresses of a row of the kernel into the tables.
    fn note_row(&self, code: &mut Code, kernel_row: Value, row: Value) -> Result<(), EmitError> {
        let Gemm { a, out, k, n, rows, .. } = self.gemm;
        for (table, place, width) in [(self.a_rows, a, k), (self.out_rows, out, n)] {
            let address = match rows {
                GemmRows::Space(_) => code.place_address(place, kernel_row, place.offset + width)?,
                GemmRows::Static(_) => {
                    let zero = code.int(0);
                    let base = code.place_address(place, zero, place.offset + width)?;
                    code.element(base, kernel_row, place.pitch * code.types.bytes)
                }
            };
            let slot = code.element(table, row, 8);
            code.build.ins().store(CHANGING, address, slot, 0);
        }
        Ok(())
    }

    /// Does something with the columns that the function is given, of each part.
    fn each_part(
        &self,
        code: &mut Code,
        mut body: impl FnMut(&mut Code, Columns) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        let (zero, n) = (code.int(0), code.int(self.gemm.n as i64));
        if self.period == 0 {
            return body(code, Columns { from: zero, to: n, part: zero });
        }
        let (from, to) = code.columns();
        let parts = code.int(self.gemm.n.next_multiple_of(self.period) as i64);
        // Whoever has all columns goes over them in one piece: tiles of few rows span many panels.
        let part = code.int(self.period as i64);
        let own = code.build.ins().isub(to, from);
        let all = code.build.ins().icmp(IntCC::SignedGreaterThanOrEqual, own, part);
        let (parts, to) = (code.build.ins().select(all, part, parts), code.build.ins().select(all, n, to));
        code.count_either_way((zero, parts), self.period as i64, self.backward, |code, part| {
            let (from, to) = (code.build.ins().iadd(part, from), code.build.ins().iadd(part, to));
            body(code, Columns { from, to, part })
        })
    }

    /// These columns of the single row in the tables.
    fn one_row(&self, code: &mut Code, columns: Columns) -> Result<(), EmitError> {
        let (zero, one) = (code.int(0), code.int(1));
        let before = code.tiling.ladder(code.tiling.rows, 1).len();
        self.each_column(code, (before, 1, one), columns, |code, tile, column| {
            self.call(code, tile, (zero, zero), column);
            Ok(())
        })
    }

    /// These columns of all `rows` rows of the tables.
    fn all_rows(&self, code: &mut Code, rows: Value, columns: Columns) -> Result<(), EmitError> {
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
        for remainder in remainders(self.gemm, code.tiling) {
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
        columns: Columns,
        mut body: impl FnMut(&mut Code, FuncRef, Column) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        let Columns { mut from, to, part } = columns;
        for (number, shape) in code.tiling.ladder(height, 1).into_iter().enumerate() {
            let tile = code.callees[first + number];
            let at_once = PANEL * code.tiling.panels(shape);
            let length = code.build.ins().isub(to, from);
            let up = code.plus(length, PANEL as i64 - 1);
            let unit = code.int(at_once as i64);
            let rest = code.build.ins().urem(up, unit);
            let whole = code.build.ins().isub(up, rest);
            let end = code.build.ins().iadd(from, whole);
            let coming = (height > 1)
                .then(|| self.coming(code, shape, Columns { from, to: end, part }, (height, rows)));
            code.count_either_way((from, end), at_once as i64, self.backward, |code, at| {
                body(code, tile, Column { at, coming })
            })?;
            from = end;
        }
        Ok(())
    }

    /// What comes after each of the tiles of a shape that go over some columns, in so many rows.
    fn coming(
        &self,
        code: &mut Code,
        shape: Shape,
        Columns { from, to: end, part }: Columns,
        (height, rows): (usize, Value),
    ) -> Coming {
        let panels = code.tiling.panels(shape);
        let at_once = (PANEL * panels) as i64;
        let next = code.int(at_once);
        let next = self.forth_or_back(code, next);
        // Behind the last columns of a part come the first of the next part.
        let final_column = code.plus(end, -at_once);
        let last = code.build.ins().select(self.backward, from, final_column);
        let skipped = code.build.ins().isub(from, final_column);
        let skipped = code.plus(skipped, self.period as i64);
        let skipped = self.forth_or_back(code, skipped);
        // Behind those of the last part come the next turn's first ones: on the way forth the first part's that follow
        // the present ones, on the way back the last part's before them. Or the same again, the other way.
        let period = self.period as i64;
        let final_part = code.int(self.gemm.n as i64 - period);
        let (first, until) = (code.build.ins().isub(from, part), code.build.ins().isub(end, part));
        let (zero, whole) = (code.int(0), code.int(period));
        let on_forth = code.build.ins().isub(until, final_column);
        let on_back = code.plus(final_part, -at_once);
        let more_forth = code.build.ins().icmp(IntCC::SignedLessThan, until, whole);
        let more_back = code.build.ins().icmp(IntCC::SignedGreaterThan, first, zero);
        let mut either = |back, forth| code.build.ins().select(self.backward, back, forth);
        let (turned, more) = (either(on_back, on_forth), either(more_back, more_forth));
        let ends_at = either(zero, final_part);
        let turned = code.build.ins().select(more, turned, zero);
        let is_final = code.build.ins().icmp(IntCC::Equal, part, ends_at);
        let skipped = code.build.ins().select(is_final, turned, skipped);
        let k = code.int(self.gemm.k as i64);
        let wanted = Wanted::new(code, panels, k, rows, height);
        Coming { next, last, skipped, wanted }
    }

    /// Calls a tile for the rows from `row` of the tables and the panels from a column on, which other rows before it have
    /// gone through.
    fn call(&self, code: &mut Code, tile: FuncRef, (row, before): (Value, Value), column: Column) {
        let Gemm { k, n, accumulate, .. } = *self.gemm;
        let panel_bytes = k * code.types.bytes;
        let (a, out) = (code.element(self.a_rows, row, 8), code.element(self.out_rows, row, 8));
        let panel = code.element(self.packed, column.at, panel_bytes);
        let [ahead, pace] = match column.coming {
            None => [code.int(0); 2],
            Some(Coming { next, last, skipped, wanted }) => {
                let next = match self.period {
                    0 => next,
                    _ => {
                        let is_last = code.build.ins().icmp(IntCC::Equal, column.at, last);
                        code.build.ins().select(is_last, skipped, next)
                    }
                };
                let ahead = code.scaled(next, panel_bytes);
                wanted.by(code, before, ahead)
            }
        };
        let [k, n, accumulate] = [k, n, usize::from(accumulate)].map(|it| code.int(it as i64));
        code.build.ins().call(tile, &[a, out, panel, k, n, column.at, accumulate, k, ahead, pace]);
    }
}

/// Columns of a part, which begins at `part`.
#[derive(Clone, Copy)]
struct Columns {
    from: Value,
    to: Value,
    part: Value,
}

/// Where a tile's columns begin.
#[derive(Clone, Copy)]
struct Column {
    at: Value,
    /// A single row's tiles ask for nothing.
    coming: Option<Coming>,
}

/// Where the columns lie that follow those of a tile.
#[derive(Clone, Copy)]
struct Coming {
    /// How far behind the tile's own.
    next: Value,
    /// The same for those that begin at `last`: they follow in the next part, or the next turn.
    skipped: Value,
    last: Value,
    wanted: Wanted,
}
