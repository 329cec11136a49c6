//! Adding rows into a matrix at the rows their ids name: the gradient of a table lookup.
//!
//! Rows come one after the other, in order, so that ids that occur twice are added in that order.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use crate::plan::Scatter;

/// Emits the additions.
pub fn scatter(code: &mut Code, scatter: &Scatter) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let zero = code.int(0);
    let out = code.place_address(&scatter.out, zero, 0)?;
    if !scatter.accumulate {
        let rows = code.int(scatter.m as i64);
        code.clear(out, (zero, rows), scatter.n, scatter.out.pitch)?;
    }
    let (begin, end) = (code.params[1], code.params[2]);
    code.count(begin, end, 1, |code, row| {
        let (at, offset) = code.place(&scatter.id, row, scatter.id.offset + 1)?;
        let flags = code.flags(&scatter.id.at);
        let id = code.build.ins().load(types::I32, flags, at, offset);
        let id = code.build.ins().uextend(types::I64, id);
        // None, the largest id, is no row of the matrix either.
        let rows = code.int(scatter.m as i64);
        let inside = code.build.ins().icmp(IntCC::UnsignedLessThan, id, rows);
        code.when(inside, |code| {
            let from = code.place_address(&scatter.value, row, scatter.value.offset + scatter.n)?;
            let to = code.element(out, id, scatter.out.pitch * bytes);
            add(code, from, to, scatter.n)
        })
    })
}

/// `to[..n] += from[..n]`.
fn add(code: &mut Code, from: Value, to: Value, n: usize) -> Result<(), EmitError> {
    let types = code.types;
    let whole = n / types.lanes * types.lanes;
    code.count_constant(whole, types.lanes, |code, column| {
        let from = code.element(from, column, types.bytes);
        let to = code.element(to, column, types.bytes);
        add_one(code, from, to, 0, types.vector);
        Ok(())
    })?;
    for column in whole..n {
        add_one(code, from, to, column * types.bytes, types.real);
    }
    Ok(())
}

fn add_one(code: &mut Code, from: Value, to: Value, offset: usize, of: Type) {
    let (from, offset_from) = code.displaced(from, offset);
    let (to, offset_to) = code.displaced(to, offset);
    let value = code.build.ins().load(of, CHANGING, from, offset_from);
    let sum = code.build.ins().load(of, CHANGING, to, offset_to);
    let sum = code.build.ins().fadd(sum, value);
    code.build.ins().store(CHANGING, sum, to, offset_to);
}
