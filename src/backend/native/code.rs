//! A function under construction: Cranelift's builder, the types in use, and loops.
//!
//! `code.count(0, rows, 1, |code, row| …)` is `for row in 0..rows`. Nothing here knows kernels.

use std::collections::HashSet;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    BlockArg, FuncRef, InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Type, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;

use super::context::{SLOT_BYTES, Slots};
use super::emit::EmitError;
use super::tiling::Tiling;
use crate::plan::{BufferId, Plan, Precision};

/// Memory that does not change while a function runs: the optimiser may merge and move such loads.
pub const CONSTANT: MemFlagsData = MemFlagsData::new().with_notrap().with_readonly().with_can_move();
/// Memory that this function writes, or that lies at an address of unknown alignment.
pub const CHANGING: MemFlagsData = MemFlagsData::new().with_notrap();

/// The machine types of a program's reals.
#[derive(Clone, Copy, Debug)]
pub struct Types {
    /// A real.
    pub real: Type,
    /// A 128-bit vector of reals.
    pub vector: Type,
    /// An integer as wide as a real.
    pub int: Type,
    /// A vector of such integers.
    pub int_vector: Type,
    /// Reals in a vector.
    pub lanes: usize,
    /// Bytes of a real.
    pub bytes: usize,
    /// The base-2 logarithm of `bytes`.
    pub shift: i64,
}

impl Types {
    /// The types of a precision.
    pub fn new(precision: Precision) -> Types {
        match precision {
            Precision::F32 => Types {
                real: types::F32,
                vector: types::F32X4,
                int: types::I32,
                int_vector: types::I32X4,
                lanes: 4,
                bytes: 4,
                shift: 2,
            },
            Precision::F64 => Types {
                real: types::F64,
                vector: types::F64X2,
                int: types::I64,
                int_vector: types::I64X2,
                lanes: 2,
                bytes: 8,
                shift: 3,
            },
        }
    }
}

/// A function being written.
pub struct Code<'f> {
    /// Cranelift's builder, at the point where the next instruction goes.
    pub build: FunctionBuilder<'f>,
    /// The plan.
    pub plan: &'f Plan,
    /// Slot numbers of the context.
    pub slots: Slots,
    /// f32 or f64.
    pub precision: Precision,
    /// Machine types.
    pub types: Types,
    /// How functions of the target are called.
    pub call_conv: CallConv,
    /// Sizes of product tiles.
    pub tiling: Tiling,
    /// Whether the machine multiplies and adds in one instruction.
    pub fma: bool,
    /// Whether others see what a thread stores in the order in which it does (x86-64).
    pub ordered_stores: bool,
    /// The function's parameters.
    pub params: Vec<Value>,
    /// Functions it may call, in the order they were asked for.
    pub callees: Vec<FuncRef>,
    /// Buffers that this function writes.
    pub written: HashSet<BufferId>,
}

impl Code<'_> {
    /// The context pointer.
    pub fn context(&self) -> Value {
        self.params[0]
    }

    /// The columns that a kernel function is to work on, where they are divided.
    pub fn columns(&self) -> (Value, Value) {
        (self.params[4], self.params[5])
    }

    /// The number of the running step, in kernel functions.
    pub fn step(&self) -> Value {
        self.params[3]
    }

    /// A 64-bit number.
    pub fn int(&mut self, value: i64) -> Value {
        self.build.ins().iconst(types::I64, value)
    }

    /// A real number of the program's type.
    pub fn real(&mut self, value: f64) -> Value {
        match self.precision {
            Precision::F32 => self.build.ins().f32const(value as f32),
            Precision::F64 => self.build.ins().f64const(value),
        }
    }

    /// The contents of a context slot.
    pub fn slot(&mut self, slot: usize) -> Value {
        let context = self.context();
        self.build.ins().load(types::I64, CONSTANT, context, (slot * SLOT_BYTES) as i32)
    }

    /// `base + index * scale` for an index in elements of `scale` bytes.
    pub fn element(&mut self, base: Value, index: Value, scale: usize) -> Value {
        let bytes = self.scaled(index, scale);
        self.build.ins().iadd(base, bytes)
    }

    /// `value * factor`.
    pub fn scaled(&mut self, value: Value, factor: usize) -> Value {
        match factor.is_power_of_two() {
            true => {
                let bits = self.int(i64::from(factor.trailing_zeros()));
                self.build.ins().ishl(value, bits)
            }
            false => {
                let factor = self.int(factor as i64);
                self.build.ins().imul(value, factor)
            }
        }
    }

    /// `value + constant`.
    pub fn plus(&mut self, value: Value, constant: i64) -> Value {
        match constant {
            0 => value,
            _ => {
                let constant = self.int(constant);
                self.build.ins().iadd(value, constant)
            }
        }
    }

    /// An address and a displacement that an instruction can hold.
    pub fn displaced(&mut self, address: Value, bytes: usize) -> (Value, i32) {
        match i32::try_from(bytes) {
            Ok(bytes) => (address, bytes),
            Err(_) => (self.plus(address, bytes as i64), 0),
        }
    }

    /// Entry `index` of a table of u32 (`signed`: i32) numbers that does not change, as 64 bits.
    pub fn table(&mut self, table: Value, index: Value, signed: bool) -> Value {
        let at = self.element(table, index, 4);
        let number = self.build.ins().load(types::I32, CONSTANT, at, 0);
        match signed {
            true => self.build.ins().sextend(types::I64, number),
            false => self.build.ins().uextend(types::I64, number),
        }
    }

    /// Stack memory of the function.
    pub fn stack(&mut self, bytes: usize) -> StackSlot {
        self.build.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes as u32, 6))
    }

    /// The address of stack memory.
    pub fn stack_address(&mut self, slot: StackSlot) -> Value {
        self.build.ins().stack_addr(types::I64, slot, 0)
    }

    /// `for index in (from..to).step_by(by)`.
    pub fn count(
        &mut self,
        from: Value,
        to: Value,
        by: i64,
        mut body: impl FnMut(&mut Self, Value) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        let any = self.build.ins().icmp(IntCC::SignedLessThan, from, to);
        self.when(any, |code| {
            let repeat = code.build.create_block();
            let done = code.build.create_block();
            let index = code.build.append_block_param(repeat, types::I64);
            code.build.ins().jump(repeat, &[BlockArg::Value(from)]);
            code.build.switch_to_block(repeat);
            body(code, index)?;
            let next = code.plus(index, by);
            let more = code.build.ins().icmp(IntCC::SignedLessThan, next, to);
            code.build.ins().brif(more, repeat, &[BlockArg::Value(next)], done, &[]);
            code.build.seal_block(repeat);
            code.build.seal_block(done);
            code.build.switch_to_block(done);
            Ok(())
        })
    }

    /// The same from the last index to the first if `backward` is not 0; `to` lies a multiple of `by` from `from`.
    pub fn count_either_way(
        &mut self,
        (from, to): (Value, Value),
        by: i64,
        backward: Value,
        mut body: impl FnMut(&mut Self, Value) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        let sum = self.build.ins().iadd(from, to);
        let mirror = self.plus(sum, -by);
        self.count(from, to, by, |code, index| {
            let mirrored = code.build.ins().isub(mirror, index);
            let index = code.build.ins().select(backward, mirrored, index);
            body(code, index)
        })
    }

    /// `for index in (0..to).step_by(by)` for a constant `to`; a single turn needs no loop.
    pub fn count_constant(
        &mut self,
        to: usize,
        by: usize,
        mut body: impl FnMut(&mut Self, Value) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        let from = self.int(0);
        if to <= by {
            return match to {
                0 => Ok(()),
                _ => body(self, from),
            };
        }
        let repeat = self.build.create_block();
        let done = self.build.create_block();
        let index = self.build.append_block_param(repeat, types::I64);
        self.build.ins().jump(repeat, &[BlockArg::Value(from)]);
        self.build.switch_to_block(repeat);
        body(self, index)?;
        let next = self.plus(index, by as i64);
        let end = self.int(to as i64);
        let more = self.build.ins().icmp(IntCC::SignedLessThan, next, end);
        self.build.ins().brif(more, repeat, &[BlockArg::Value(next)], done, &[]);
        self.build.seal_block(repeat);
        self.build.seal_block(done);
        self.build.switch_to_block(done);
        Ok(())
    }

    /// `if condition { … }`.
    pub fn when(
        &mut self,
        condition: Value,
        body: impl FnOnce(&mut Self) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        let yes = self.build.create_block();
        let done = self.build.create_block();
        self.build.ins().brif(condition, yes, &[], done, &[]);
        self.build.seal_block(yes);
        self.build.switch_to_block(yes);
        body(self)?;
        self.build.ins().jump(done, &[]);
        self.build.seal_block(done);
        self.build.switch_to_block(done);
        Ok(())
    }

    /// `if condition { … } else { … }`.
    pub fn either(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Self) -> Result<(), EmitError>,
        otherwise: impl FnOnce(&mut Self) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        let yes = self.build.create_block();
        let no = self.build.create_block();
        let done = self.build.create_block();
        self.build.ins().brif(condition, yes, &[], no, &[]);
        self.build.seal_block(yes);
        self.build.seal_block(no);
        self.build.switch_to_block(yes);
        then(self)?;
        self.build.ins().jump(done, &[]);
        self.build.switch_to_block(no);
        otherwise(self)?;
        self.build.ins().jump(done, &[]);
        self.build.seal_block(done);
        self.build.switch_to_block(done);
        Ok(())
    }

    /// Writes zeros into the rows `from..to` of a matrix of reals with `pitch` elements from row to row.
    pub fn clear(
        &mut self,
        address: Value,
        (from, to): (Value, Value),
        columns: usize,
        pitch: usize,
    ) -> Result<(), EmitError> {
        let types = self.types;
        let whole = columns / types.lanes * types.lanes;
        self.count(from, to, 1, |code, row| {
            let row = code.element(address, row, pitch * types.bytes);
            code.count_constant(whole, types.lanes, |code, column| {
                let at = code.element(row, column, types.bytes);
                let zero = code.vector_constant(0.0);
                code.build.ins().store(CHANGING, zero, at, 0);
                Ok(())
            })?;
            for column in whole..columns {
                let (at, offset) = code.displaced(row, column * types.bytes);
                let zero = code.real(0.0);
                code.build.ins().store(CHANGING, zero, at, offset);
            }
            Ok(())
        })
    }

    /// `a * b + c` on reals or vectors.
    pub fn multiply_add(&mut self, a: Value, b: Value, c: Value) -> Value {
        match self.fma {
            true => self.build.ins().fma(a, b, c),
            false => {
                let product = self.build.ins().fmul(a, b);
                self.build.ins().fadd(product, c)
            }
        }
    }
}
