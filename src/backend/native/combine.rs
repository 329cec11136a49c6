//! Sums and maxima over rows: of a list of rows into one, or of all rows into the single row.
//!
//! Columns are taken in strips whose partial results stay in registers while the rows go by, in the
//! order of the list (of the rows). Of many rows some at a time go by, so that each strip finds them in the cache.
//! No rows at all give zero.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_frontend::Variable;

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use crate::plan::{Combine, Combining};

/// Vectors of columns in a strip.
const STRIP: usize = 8;
/// Rows of which all strips are done before the next rows are.
const BLOCK: i64 = 8;

/// The rows that go into one result row.
#[derive(Clone, Copy)]
enum Sources {
    /// These entries of a table of row numbers.
    Listed { table: Value, begin: Value, end: Value },
    /// All rows of a range, which begins at `first`; what is before `begin` has been combined.
    Range { first: Value, begin: Value, end: Value },
}

/// Emits a combination.
pub fn combine(code: &mut Code, combine: &Combine) -> Result<(), EmitError> {
    let (begin, end) = (code.params[1], code.params[2]);
    match combine.list {
        None => {
            let zero = code.int(0);
            let any = code.build.ins().icmp(IntCC::SignedLessThan, begin, end);
            code.either(
                any,
                |code| {
                    code.count(begin, end, BLOCK, |code, at| {
                        let last = code.plus(at, BLOCK);
                        let end = code.build.ins().smin(last, end);
                        row(code, combine, zero, Sources::Range { first: begin, begin: at, end })
                    })
                },
                |code| {
                    let (to, one) = (code.place_address(&combine.out, zero, 0)?, code.int(1));
                    code.clear(to, (zero, one), combine.width, combine.width)
                },
            )
        }
        Some(list) => {
            let (starts, rows) = (code.slots.list_starts(list), code.slots.list_rows(list));
            let (starts, table) = (code.slot(starts), code.slot(rows));
            code.count(begin, end, 1, |code, target| {
                let next = code.plus(target, 1);
                let begin = code.table(starts, target, false);
                let end = code.table(starts, next, false);
                row(code, combine, target, Sources::Listed { table, begin, end })
            })
        }
    }
}

/// One result row.
fn row(code: &mut Code, combine: &Combine, target: Value, sources: Sources) -> Result<(), EmitError> {
    let types = code.types;
    let dense = combine.value.strides.first() == Some(&1);
    let strip = match dense {
        true => STRIP * types.lanes,
        false => types.lanes,
    };
    let whole = combine.width / strip * strip;
    code.count_constant(whole, strip, |code, column| {
        columns(code, combine, target, sources, column, types.vector, strip / types.lanes)
    })?;
    let vectors = (combine.width - whole) / types.lanes;
    if vectors > 0 {
        let column = code.int(whole as i64);
        columns(code, combine, target, sources, column, types.vector, vectors)?;
    }
    let done = whole + vectors * types.lanes;
    let column = code.int(done as i64);
    match combine.width - done {
        0 => Ok(()),
        rest => columns(code, combine, target, sources, column, types.real, rest),
    }
}

/// `count` vectors or reals of a result row, from `column` on.
fn columns(
    code: &mut Code,
    combine: &Combine,
    target: Value,
    sources: Sources,
    column: Value,
    of: Type,
    count: usize,
) -> Result<(), EmitError> {
    let (types, bytes) = (code.types, code.types.bytes);
    let stride = combine.value.strides.first().copied().unwrap_or(0);
    let out_stride = combine.out.strides.first().copied().unwrap_or(0);
    let dense = stride == 1 || of == types.real;
    let flags = code.flags(&combine.value.at);
    let step = of.bytes() as usize / bytes;
    let partial: Vec<Variable> = (0..count).map(|_| code.build.declare_var(of)).collect();
    let start = match combine.how {
        Combining::Sum => 0.0,
        Combining::Max => f64::NEG_INFINITY,
    };
    let to = code.place_address(&combine.out, target, 0)?;
    let to = code.element(to, column, out_stride * bytes);
    let (begin, end) = match sources {
        Sources::Listed { begin, end, .. } | Sources::Range { begin, end, .. } => (begin, end),
    };
    for (number, &variable) in partial.iter().enumerate() {
        let mut value = constant(code, of, start);
        if let Sources::Range { first, .. } = sources {
            let before = code.build.ins().load(of, CHANGING, to, (number * step * bytes) as i32);
            let fresh = code.build.ins().icmp(IntCC::Equal, begin, first);
            value = code.build.ins().select(fresh, value, before);
        }
        code.build.def_var(variable, value);
    }
    code.count(begin, end, 1, |code, index| {
        let source = match sources {
            Sources::Listed { table, .. } => code.table(table, index, false),
            Sources::Range { .. } => index,
        };
        let span = combine.value.offset + stride * combine.width.saturating_sub(1) + 1;
        let from = code.place_address(&combine.value, source, span)?;
        let from = code.element(from, column, stride * bytes);
        for (number, &variable) in partial.iter().enumerate() {
            let (at, offset) = code.displaced(from, number * step * stride * bytes);
            let value = match dense {
                true => code.build.ins().load(of, flags, at, offset),
                false => {
                    let value = code.build.ins().load(types.real, flags, at, offset);
                    code.build.ins().splat(types.vector, value)
                }
            };
            let before = code.build.use_var(variable);
            let after = code.combine(combine.how, before, value);
            code.build.def_var(variable, after);
        }
        Ok(())
    })?;
    let any = code.build.ins().icmp(IntCC::SignedLessThan, begin, end);
    for (number, &variable) in partial.iter().enumerate() {
        let value = code.build.use_var(variable);
        let zero = constant(code, of, 0.0);
        let value = code.build.ins().select(any, value, zero);
        code.build.ins().store(CHANGING, value, to, (number * step * bytes) as i32);
    }
    Ok(())
}

fn constant(code: &mut Code, of: Type, value: f64) -> Value {
    match of == code.types.real {
        true => code.real(value),
        false => code.vector_constant(value),
    }
}
