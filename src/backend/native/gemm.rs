//! Products of rows with a packed matrix: which tile goes where.
//!
//! 11 rows times 3 panels: for each panel the tiles of rows 0..4 and 4..8 (the panel stays in the
//! nearest cache), then the rest of 3 rows over all panels. Addresses of rows, which may go through maps,
//! are put into a table first, for up to [`BLOCK`] rows at a time.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{FuncRef, InstBuilder, Value};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use super::tile::{Shape, panel_vectors};
use crate::plan::{Gemm, GemmRows, PANEL, Precision};

/// Rows of the largest tile.
pub const TILE_ROWS: usize = 4;
/// Rows whose addresses are in the table at a time.
const BLOCK: usize = 16 * TILE_ROWS;

/// The widest tile for a number of rows: fewer rows leave registers for more columns, which a single
/// row needs to hide the latency of its additions.
pub fn shape(rows: usize) -> Shape {
    let vectors = match rows {
        1 => 8,
        2 | 3 => 4,
        _ => 2,
    };
    Shape { rows, vectors }
}

/// The tile for panels that the widest one has no use for.
pub fn narrow(rows: usize, precision: Precision) -> Shape {
    let vectors = shape(rows).vectors.min(panel_vectors(precision));
    Shape { rows, vectors }
}

/// Numbers of rows that may be left over.
fn remainders(gemm: &Gemm) -> Vec<usize> {
    match gemm.rows {
        GemmRows::Space(_) => (1..TILE_ROWS).collect(),
        GemmRows::Static(rows) => match rows % TILE_ROWS {
            0 => Vec::new(),
            rest => vec![rest],
        },
    }
}

/// Tiles that a product calls, in the order of its callees: whole tiles, then for each possible rest
/// the wide and the narrow one.
pub fn tiles(gemm: &Gemm, precision: Precision) -> Vec<Shape> {
    let mut all = vec![shape(TILE_ROWS)];
    for rest in remainders(gemm) {
        all.push(shape(rest));
        all.push(narrow(rest, precision));
    }
    all
}

/// Emits a product.
pub fn gemm(code: &mut Code, gemm: &Gemm) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let (begin, end) = match gemm.rows {
        GemmRows::Space(_) => (code.params[1], code.params[2]),
        GemmRows::Static(rows) => (code.int(0), code.int(rows as i64)),
    };
    let tables = code.stack(2 * BLOCK * 8);
    code.count(begin, end, BLOCK as i64, |code, first| {
        let a_rows = code.stack_address(tables);
        let out_rows = code.plus(a_rows, (BLOCK * 8) as i64);
        let left = code.build.ins().isub(end, first);
        let most = code.int(BLOCK as i64);
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
        let product = Product { a_rows, out_rows, packed, k: gemm.k, n: gemm.n, accumulate: gemm.accumulate };
        product.all_rows(code, rows, &remainders(gemm))
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
}

impl Product {
    /// All `rows` rows of the tables, of which `remainders` may be left over by whole tiles.
    fn all_rows(&self, code: &mut Code, rows: Value, remainders: &[usize]) -> Result<(), EmitError> {
        let tile_rows = code.int(TILE_ROWS as i64);
        let rest = code.build.ins().urem(rows, tile_rows);
        let whole = code.build.ins().isub(rows, rest);
        let whole_tile = code.callees[0];
        code.count_constant(self.n, PANEL, |code, column| {
            let zero = code.int(0);
            code.count(zero, whole, TILE_ROWS as i64, |code, row| {
                self.call(code, whole_tile, row, column);
                Ok(())
            })
        })?;
        for (number, &remainder) in remainders.iter().enumerate() {
            let wide = code.callees[1 + 2 * number];
            let narrow = code.callees[2 + 2 * number];
            let expected = code.int(remainder as i64);
            let is_it = code.build.ins().icmp(IntCC::Equal, rest, expected);
            code.when(is_it, |code| {
                let at_once = PANEL * shape(remainder).panels(code.precision);
                let panels = self.n.div_ceil(PANEL) * PANEL;
                let in_wide = panels / at_once * at_once;
                code.count_constant(in_wide, at_once, |code, column| {
                    self.call(code, wide, whole, column);
                    Ok(())
                })?;
                code.count_constant(panels - in_wide, PANEL, |code, column| {
                    let column = code.plus(column, in_wide as i64);
                    self.call(code, narrow, whole, column);
                    Ok(())
                })
            })?;
        }
        Ok(())
    }

    /// Calls a tile for the rows from `row` and the panels from `column` on.
    fn call(&self, code: &mut Code, tile: FuncRef, row: Value, column: Value) {
        let panel = code.element(self.packed, column, self.k * code.types.bytes);
        let k = code.int(self.k as i64);
        let call = TileCall {
            a_rows: self.a_rows,
            out_rows: self.out_rows,
            panel,
            k,
            n: self.n,
            accumulate: self.accumulate,
        };
        call.emit(code, tile, row, column);
    }
}

/// What a tile is called with, but for its place.
pub struct TileCall {
    /// Table of addresses of the left operand's rows.
    pub a_rows: Value,
    /// Table of addresses of the result's rows.
    pub out_rows: Value,
    /// The panel.
    pub panel: Value,
    /// Contracted width.
    pub k: Value,
    /// Columns of the result.
    pub n: usize,
    /// Adds to what is there.
    pub accumulate: bool,
}

impl TileCall {
    /// Calls a tile for the rows from `row` and the panel that begins at `column`.
    pub fn emit(&self, code: &mut Code, tile: FuncRef, row: Value, column: Value) {
        let a = code.element(self.a_rows, row, 8);
        let out = code.element(self.out_rows, row, 8);
        let n = code.int(self.n as i64);
        let accumulate = code.int(i64::from(self.accumulate));
        code.build.ins().call(tile, &[a, out, self.panel, self.k, n, column, accumulate]);
    }
}
