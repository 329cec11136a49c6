//! Where a program's time goes: an entry point that reads the processor's clock after every kernel.
//!
//! ```text
//! readings[0]         the clock when it was last read
//! readings[1 + 2 k]   its ticks while kernel k ran, all calls together
//! readings[2 + 2 k]   how often it ran
//! ```
//!
//! Of several workers on one group the first one reads it; how long that waits for the others stands behind the kernels.
//!
//! The clock is a counter that one instruction reads (x86-64: `rdtsc`, AArch64: `cntvct_el0`), which takes a
//! few nanoseconds a kernel; how fast it ticks is for the caller to find out. Programs have none of this
//! unless they are compiled for it.

use cranelift_codegen::ir::{AbiParam, InstBuilder, Value, types};
use cranelift_module::{FuncId, Linkage, Module};

use super::code::{CHANGING, Code};
use super::emit::EmitError;

/// `rdtsc; shl rdx, 32; or rax, rdx; ret`
const X86_64: &[u8] = &[0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3];
/// `mrs x0, cntvct_el0; ret`
const AARCH64: &[u8] = &[0x40, 0xe0, 0x3b, 0xd5, 0xc0, 0x03, 0x5f, 0xd6];

/// Where the readings of a kernel are.
const fn place(kernel: usize) -> usize {
    1 + 2 * kernel
}

/// How many readings a program of so many kernels has.
pub const fn readings(kernels: usize) -> usize {
    place(kernels + 1)
}

/// Ticks and calls of a kernel among a program's readings; behind the last one, of its meetings.
pub fn of_kernel(readings: &[u64], kernel: usize) -> (u64, u64) {
    (readings[place(kernel)], readings[place(kernel) + 1])
}

/// Defines the function that reads the clock.
pub fn define(module: &mut dyn Module, name: &str) -> Result<FuncId, EmitError> {
    let bytes = match module.isa().name() {
        "x64" => X86_64,
        "aarch64" => AARCH64,
        other => return Err(EmitError::Codegen(format!("no clock is known on {other}"))),
    };
    let mut signature = module.make_signature();
    signature.returns.push(AbiParam::new(types::I64));
    let function = module.declare_function(name, Linkage::Local, &signature)?;
    module.define_function_bytes(function, 16, bytes, &[])?;
    Ok(function)
}

/// Reads the clock, which is the last callee, and keeps the reading.
pub fn start(code: &mut Code) {
    let readings = readings_of(code);
    let now = now(code);
    code.build.ins().store(CHANGING, now, readings, 0);
}

/// Adds the time since the last reading to a kernel's.
pub fn add(code: &mut Code, kernel: usize) {
    let readings = readings_of(code);
    let now = now(code);
    let last = code.build.ins().load(types::I64, CHANGING, readings, 0);
    let time = code.build.ins().isub(now, last);
    let one = code.int(1);
    for (at, more) in [(place(kernel), time), (place(kernel) + 1, one)] {
        let (at, offset) = code.displaced(readings, at * 8);
        let sum = code.build.ins().load(types::I64, CHANGING, at, offset);
        let sum = code.build.ins().iadd(sum, more);
        code.build.ins().store(CHANGING, sum, at, offset);
    }
    code.build.ins().store(CHANGING, now, readings, 0);
}

fn readings_of(code: &mut Code) -> Value {
    let slot = code.slots.readings();
    code.slot(slot)
}

fn now(code: &mut Code) -> Value {
    let clock = code.callees[code.callees.len() - 1];
    let call = code.build.ins().call(clock, &[]);
    code.build.inst_results(call)[0]
}
