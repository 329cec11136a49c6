//! Product tiles: a few rows times a few vectors of columns, all sums in registers.
//!
//! A tile of 4 rows by 2 vectors keeps 8 sums and for each `k` reads 2 vectors of the packed matrix and
//! 4 numbers of the left operand. (6 by 2 would load less, but Cranelift's multiply-add overwrites a
//! factor, so that each needs a copy of it, and 16 registers do not hold two steps of that.) Every sum
//! runs over `k` in order and starts from what is there (or from zero), so a row's result does not
//! depend on the tile it is in.
//!
//! `tile(a rows, out rows, packed, k, n, column, accumulate, pitch, ahead, pace)`: two tables of row addresses, the panel
//! that begins at `column` of `n`, whether to add, how many rows of panels lie between the begins of two, how many
//! bytes from the panel lies what is wanted next, and how many bytes of that fall to four steps along `k` (see [`Wanted`]).
//! Columns beyond `n` are not written.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlot, Value, types};
use cranelift_frontend::Variable;

use super::code::{CHANGING, CONSTANT, Code};
use super::emit::EmitError;
use crate::plan::PANEL;

/// Number of parameters.
pub const PARAMS: usize = 10;
/// Steps along `k` in one turn of the loop.
const UNROLL: usize = 2;

/// Steps along `k` in which a tile of wide code goes through `pace` bytes of what it asks for.
pub const TURN: usize = 4;
/// Bytes that are asked for together.
const LEAST: i64 = 128;

/// Size of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows.
    pub rows: usize,
    /// Vectors of columns worked on at once; more than a panel's if the tile spans several panels.
    pub vectors: usize,
    /// Elements from one `k` to the next in a row of the left operand.
    pub stride: usize,
}

/// Panels that are wanted next, which the tiles of all rows that go through the present ones ask for together, each for
/// its share.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Bytes of them for each row.
    row: Value,
    /// Bytes that fall to four steps along `k`.
    pace: Value,
}

impl Wanted {
    /// So many panels with `k` steps, for so many rows of tiles of one `height`.
    pub fn new(code: &mut Code, panels: usize, k: Value, rows: Value, height: usize) -> Wanted {
        let of_step = panels * PANEL * code.types.bytes;
        let all = code.scaled(k, of_step);
        let row = code.build.ins().udiv(all, rows);
        let pace = code.int((TURN * of_step * height) as i64);
        let pace = code.build.ins().udiv(pace, rows);
        let least = code.int(LEAST);
        let pace = code.build.ins().smax(pace, least);
        Wanted { row, pace }
    }

    /// A tile's parameters `ahead` and `pace`, if its first row is `row` and so many bytes lie between the panels.
    pub fn by(self, code: &mut Code, row: Value, ahead: Value) -> [Value; 2] {
        let before = code.build.ins().imul(row, self.row);
        [code.build.ins().iadd(ahead, before), self.pace]
    }
}

/// Emits a tile function.
pub fn tile(code: &mut Code, shape: Shape) -> Result<(), EmitError> {
    let width = shape.vectors * code.types.lanes;
    let temporary = code.stack(shape.rows * shape.vectors * 16);
    let strips = (code.tiling.panel_vectors / shape.vectors).max(1);
    let a_rows: Vec<Value> = (0..shape.rows)
        .map(|row| code.build.ins().load(types::I64, CHANGING, code.params[0], 8 * row as i32))
        .collect();
    code.count_constant(strips * width, width, |code, first| {
        let column = code.build.ins().iadd(code.params[5], first);
        let left = code.build.ins().isub(code.params[4], column);
        let zero = code.int(0);
        let any = code.build.ins().icmp(IntCC::SignedGreaterThan, left, zero);
        code.when(any, |code| strip(code, shape, &a_rows, first, column, left, temporary))
    })
}

/// One strip of `shape.vectors` vectors.
fn strip(
    code: &mut Code,
    shape: Shape,
    a_rows: &[Value],
    first: Value,
    column: Value,
    left: Value,
    temporary: StackSlot,
) -> Result<(), EmitError> {
    let (types, bytes) = (code.types, code.types.bytes);
    let sums: Vec<Variable> =
        (0..shape.rows * shape.vectors).map(|_| code.build.declare_var(types.vector)).collect();
    let width = code.int((shape.vectors * types.lanes) as i64);
    let full = code.build.ins().icmp(IntCC::SignedGreaterThanOrEqual, left, width);
    let accumulate = code.params[6];
    code.either(
        accumulate,
        |code| {
            code.either(
                full,
                |code| {
                    for row in 0..shape.rows {
                        let out = out_row(code, row, column);
                        for vector in 0..shape.vectors {
                            let old = code.build.ins().load(types.vector, CHANGING, out, 16 * vector as i32);
                            code.build.def_var(sums[row * shape.vectors + vector], old);
                        }
                    }
                    Ok(())
                },
                |code| {
                    copy_some(code, shape, column, left, temporary, true)?;
                    let kept = code.stack_address(temporary);
                    for (number, &sum) in sums.iter().enumerate() {
                        let old = code.build.ins().load(types.vector, CHANGING, kept, 16 * number as i32);
                        code.build.def_var(sum, old);
                    }
                    Ok(())
                },
            )
        },
        |code| {
            for &sum in &sums {
                let zero = code.vector_constant(0.0);
                code.build.def_var(sum, zero);
            }
            Ok(())
        },
    )?;
    let k = code.params[3];
    let panel_bytes = code.scaled(code.params[7], PANEL * bytes);
    let start = code.element(code.params[2], first, bytes);
    let panels: Vec<Variable> =
        (0..code.tiling.panels(shape)).map(|_| code.build.declare_var(types::I64)).collect();
    let mut at = start;
    for (number, &panel) in panels.iter().enumerate() {
        if number > 0 {
            at = code.build.ins().iadd(at, panel_bytes);
        }
        code.build.def_var(panel, at);
    }
    let unrolled = code.int(!(UNROLL as i64 - 1));
    let unrolled = code.build.ins().band(k, unrolled);
    let zero = code.int(0);
    code.count(zero, unrolled, UNROLL as i64, |code, index| {
        multiply(code, shape, a_rows, &panels, &sums, index, UNROLL);
        Ok(())
    })?;
    code.count(unrolled, k, 1, |code, index| {
        multiply(code, shape, a_rows, &panels, &sums, index, 1);
        Ok(())
    })?;
    code.either(
        full,
        |code| {
            for row in 0..shape.rows {
                let out = out_row(code, row, column);
                for vector in 0..shape.vectors {
                    let sum = code.build.use_var(sums[row * shape.vectors + vector]);
                    code.build.ins().store(CHANGING, sum, out, 16 * vector as i32);
                }
            }
            Ok(())
        },
        |code| {
            let kept = code.stack_address(temporary);
            for (number, &sum) in sums.iter().enumerate() {
                let sum = code.build.use_var(sum);
                code.build.ins().store(CHANGING, sum, kept, 16 * number as i32);
            }
            copy_some(code, shape, column, left, temporary, false)
        },
    )
}

/// `steps` steps along `k`, from `index` on.
fn multiply(
    code: &mut Code,
    shape: Shape,
    a_rows: &[Value],
    panels: &[Variable],
    sums: &[Variable],
    index: Value,
    steps: usize,
) {
    let (types, bytes) = (code.types, code.types.bytes);
    let of_panel = code.tiling.panel_vectors;
    let pointers: Vec<Value> = panels.iter().map(|&panel| code.build.use_var(panel)).collect();
    for step in 0..steps {
        let columns: Vec<Value> = (0..shape.vectors)
            .map(|vector| {
                let offset = step * PANEL * bytes + (vector % of_panel) * 16;
                code.build.ins().load(types.vector, CONSTANT, pointers[vector / of_panel], offset as i32)
            })
            .collect();
        for (row, &a) in a_rows.iter().enumerate() {
            let at = code.element(a, index, shape.stride * bytes);
            let displacement = (step * shape.stride * bytes) as i32;
            let number = code.build.ins().load(types.real, CONSTANT, at, displacement);
            let number = code.build.ins().splat(types.vector, number);
            for (vector, &column) in columns.iter().enumerate() {
                let variable = sums[row * shape.vectors + vector];
                let sum = code.build.use_var(variable);
                let sum = code.multiply_add(number, column, sum);
                code.build.def_var(variable, sum);
            }
        }
    }
    for (&panel, &pointer) in panels.iter().zip(&pointers) {
        let next = code.plus(pointer, (steps * PANEL * bytes) as i64);
        code.build.def_var(panel, next);
    }
}

/// Address of `out[row, column]`.
fn out_row(code: &mut Code, row: usize, column: Value) -> Value {
    let out = code.build.ins().load(types::I64, CHANGING, code.params[1], 8 * row as i32);
    code.element(out, column, code.types.bytes)
}

/// Copies the first `left` columns of every row from the result to the stack (`inwards`) or back.
fn copy_some(
    code: &mut Code,
    shape: Shape,
    column: Value,
    left: Value,
    temporary: StackSlot,
    inwards: bool,
) -> Result<(), EmitError> {
    let (types, bytes) = (code.types, code.types.bytes);
    for row in 0..shape.rows {
        let out = out_row(code, row, column);
        let kept = code.stack_address(temporary);
        let kept = code.plus(kept, (row * shape.vectors * 16) as i64);
        let zero = code.int(0);
        code.count(zero, left, 1, |code, index| {
            let (from, to) = match inwards {
                true => (out, kept),
                false => (kept, out),
            };
            let from = code.element(from, index, bytes);
            let value = code.build.ins().load(types.real, CHANGING, from, 0);
            let to = code.element(to, index, bytes);
            code.build.ins().store(CHANGING, value, to, 0);
            Ok(())
        })?;
    }
    Ok(())
}
