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
use super::unpacked::{self, Part, Reader};
use crate::plan::{Gemm, GemmRows, PANEL};

/// Rows that go through all panels together: enough for these to be read seldom, few enough to stay in a cache.
const BLOCK: usize = 64;
/// The same where the matrix is larger than a second-level cache, of so many bytes.
const LARGE_BLOCK: usize = 2 * BLOCK;
const LARGE: usize = 2 << 20;

/// Tiles that [`product`] calls, in the order of its callees: the ladder for whole tiles, then those for each rest.
pub fn tiles(tiling: Tiling) -> Vec<Shape> {
    let rows = std::iter::once(tiling.rows).chain(1..tiling.rows);
    rows.flat_map(|rows| tiling.ladder(rows, 1)).collect()
}

/// How a product may read its matrix as it lies.
pub struct Alternative<'a> {
    /// The matrix's parts; none if it may not.
    pub parts: &'a [Part<'a>],
    /// What does so if it does.
    pub readers: &'a [Reader],
    /// The period of its columns then.
    pub period: usize,
}

/// Emits a product, whose first callee is [`product`], and the others [`unpacked::rows`]. The columns that the function is
/// given are those of each part of `period` columns, or of the alternative's.
pub fn gemm(code: &mut Code, gemm: &Gemm, period: usize, alternative: &Alternative) -> Result<(), EmitError> {
    let Gemm { k, n, accumulate, .. } = *gemm;
    let (begin, end) = match gemm.rows {
        GemmRows::Space(_) => (code.params[1], code.params[2]),
        GemmRows::Static(rows) => (code.int(0), code.int(rows as i64)),
    };
    let block = if k * n * code.types.bytes > LARGE { LARGE_BLOCK } else { BLOCK };
    let tables = code.stack(2 * block * 8);
    let a_rows = code.stack_address(tables);
    let out_rows = code.plus(a_rows, (block * 8) as i64);
    let packed = code.base(gemm.packed);
    let step = code.step();
    let Alternative { parts, readers, period: cut } = *alternative;
    let few = (!readers.is_empty()).then(|| unpacked::are_few(code, readers));
    code.count(begin, end, block as i64, |code, first| {
        let left = code.build.ins().isub(end, first);
        let most = code.int(block as i64);
        let rows = code.build.ins().smin(left, most);
        let zero = code.int(0);
        code.count(zero, rows, 1, |code, row| {
            let kernel_row = code.build.ins().iadd(first, row);
            note_row(code, gemm, kernel_row, (a_rows, out_rows), row)
        })?;
        // Blocks of rows and steps of a loop alike take turns.
        let before = code.build.ins().isub(first, begin);
        let bits = code.int(i64::from(block.trailing_zeros()));
        let before = code.build.ins().ushr(before, bits);
        let turn = code.build.ins().iadd(step, before);
        let one = code.int(1);
        let backward = code.build.ins().band(turn, one);
        let parts_of = |code: &mut Code, period: usize| {
            [period, n.div_ceil(period)].map(|number| code.int(number as i64))
        };
        let [mut period, mut count] = parts_of(code, period);
        if let Some(few) = few {
            let [cut, cuts] = parts_of(code, cut);
            period = code.build.ins().select(few, cut, period);
            count = code.build.ins().select(few, cuts, count);
        }
        each_part(code, n, (period, count), backward, |code, columns, part| {
            let packed = |code: &mut Code| {
                let [k, n, accumulate] = [k, n, usize::from(accumulate)].map(|size| code.int(size as i64));
                let (product, (from, to)) = (code.callees[0], columns);
                let all =
                    [a_rows, out_rows, packed, k, n, rows, from, to, part, period, accumulate, backward];
                code.build.ins().call(product, &all);
                Ok(())
            };
            let unpacked =
                |code: &mut Code| unpacked::columns(code, gemm, parts, (a_rows, out_rows, rows), columns);
            match few {
                None => packed(code),
                Some(few) => code.either(few, unpacked, packed),
            }
        })
    })
}

/// Puts the addresses of a row of the kernel into the tables.
fn note_row(
    code: &mut Code,
    gemm: &Gemm,
    kernel_row: Value,
    (a_rows, out_rows): (Value, Value),
    row: Value,
) -> Result<(), EmitError> {
    for (table, place, width) in [(a_rows, &gemm.a, gemm.k), (out_rows, &gemm.out, gemm.n)] {
        let address = match gemm.rows {
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

/// Does something with the columns that the function is given, of each of so many parts of `period` columns, and says where
/// the part begins.
fn each_part(
    code: &mut Code,
    n: usize,
    (period, parts): (Value, Value),
    backward: Value,
    mut body: impl FnMut(&mut Code, (Value, Value), Value) -> Result<(), EmitError>,
) -> Result<(), EmitError> {
    let (zero, end) = (code.int(0), code.int(n as i64));
    let (from, to) = code.columns();
    // Whoever has all columns goes over them in one piece: tiles of few rows span many panels.
    let own = code.build.ins().isub(to, from);
    let all = code.build.ins().icmp(IntCC::SignedGreaterThanOrEqual, own, period);
    let to = code.build.ins().select(all, end, to);
    let one = code.int(1);
    let parts = code.build.ins().select(all, one, parts);
    code.count_either_way((zero, parts), 1, backward, |code, part| {
        let part = code.build.ins().imul(part, period);
        let columns = (code.build.ins().iadd(part, from), code.build.ins().iadd(part, to));
        body(code, columns, part)
    })
}

/// Parameters of [`product`]: the tables of the rows' addresses, the packed matrix, `k`, `n`, the number of rows, the
/// first column and the end, where the part begins that they are of, columns from a part to the next, whether to add,
/// and 1 to go through the panels from the last to the first.
pub const PRODUCT_PARAMS: usize = 12;

/// Emits the function that multiplies rows in tables by some columns of a packed matrix. Its callees are [`tiles`].
pub fn product(code: &mut Code) -> Result<(), EmitError> {
    let [a_rows, out_rows, packed, k, n, rows, from, to, part, period, accumulate, backward] =
        code.params[..]
    else {
        return Ok(());
    };
    let panel_bytes = code.scaled(k, code.types.bytes);
    let product = Product { a_rows, out_rows, packed, k, n, panel_bytes, part, period, accumulate, backward };
    product.all_rows(code, rows, (from, to))
}

/// Rows in tables times a packed matrix.
struct Product {
    a_rows: Value,
    out_rows: Value,
    packed: Value,
    k: Value,
    n: Value,
    /// Bytes of a column of panels.
    panel_bytes: Value,
    /// Where the part begins that the columns are of, and columns from a part to the next.
    part: Value,
    period: Value,
    accumulate: Value,
    /// 1 to go through the panels from the last to the first.
    backward: Value,
}

impl Product {
    /// These columns of all `rows` rows of the tables.
    fn all_rows(&self, code: &mut Code, rows: Value, columns: (Value, Value)) -> Result<(), EmitError> {
        let height = code.tiling.rows;
        let tile_rows = code.int(height as i64);
        let rest = code.build.ins().urem(rows, tile_rows);
        let whole = code.build.ins().isub(rows, rest);
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
        for remainder in 1..height {
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
            let coming = (height > 1).then(|| self.coming(code, shape, (from, end), (height, rows)));
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
        (from, end): (Value, Value),
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
        let skipped = code.build.ins().iadd(skipped, self.period);
        let skipped = self.forth_or_back(code, skipped);
        // Behind those of the last part come the next turn's first ones: on the way forth the first part's that follow
        // the present ones, on the way back the last part's before them. Or the same again, the other way.
        let zero = code.int(0);
        let final_part = code.build.ins().isub(self.n, self.period);
        let first = code.build.ins().isub(from, self.part);
        let until = code.build.ins().isub(end, self.part);
        let on_forth = code.build.ins().isub(until, final_column);
        let on_back = code.plus(final_part, -at_once);
        let more_forth = code.build.ins().icmp(IntCC::SignedLessThan, until, self.period);
        let more_back = code.build.ins().icmp(IntCC::SignedGreaterThan, first, zero);
        let mut either = |back, forth| code.build.ins().select(self.backward, back, forth);
        let (turned, more) = (either(on_back, on_forth), either(more_back, more_forth));
        let ends_at = either(zero, final_part);
        let turned = code.build.ins().select(more, turned, zero);
        let is_final = code.build.ins().icmp(IntCC::Equal, self.part, ends_at);
        let skipped = code.build.ins().select(is_final, turned, skipped);
        let wanted = Wanted::new(code, panels, self.k, rows, height);
        Coming { next, last, skipped, wanted }
    }

    /// Calls a tile for the rows from `row` of the tables and the panels from a column on, which other rows before it have
    /// gone through.
    fn call(&self, code: &mut Code, tile: FuncRef, (row, before): (Value, Value), column: Column) {
        let (a, out) = (code.element(self.a_rows, row, 8), code.element(self.out_rows, row, 8));
        let before_panel = code.build.ins().imul(column.at, self.panel_bytes);
        let panel = code.build.ins().iadd(self.packed, before_panel);
        let [ahead, pace] = match column.coming {
            None => [code.int(0); 2],
            Some(Coming { next, last, skipped, wanted }) => {
                let is_last = code.build.ins().icmp(IntCC::Equal, column.at, last);
                let next = code.build.ins().select(is_last, skipped, next);
                let ahead = code.build.ins().imul(next, self.panel_bytes);
                wanted.by(code, before, ahead)
            }
        };
        let Product { k, n, accumulate, .. } = *self;
        code.build.ins().call(tile, &[a, out, panel, k, n, column.at, accumulate, k, ahead, pace]);
    }
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
