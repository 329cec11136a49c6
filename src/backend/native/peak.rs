//! What this machine can do: a loop of multiply-adds that nothing holds up.
//!
//! ```text
//! repeat: a0 = a0 + x * y; a1 = a1 + x * y; …; a23 = a23 + x * y     (x = y = 1, all in registers)
//! ```
//!
//! There are enough independent sums to hide the latency of the instruction, so that a loop takes the time
//! of its multiply-adds. Vectors are as wide as the machine has them: 512 or 256 bits written with an
//! assembler, 128 bits by Cranelift on machines that have neither. The caller does the timing.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, BlockArg, Function, InstBuilder, MemFlagsData, Signature, UserFuncName, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{Linkage, Module};
use iced_x86::code_asm::{CodeAssembler, eax, qword_ptr, rcx, rdi, rdx, xmm0};
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use super::emit::{EmitError, Emitted, has_fma};
use super::jit::Jit;

/// Bytes that the loop's results take: one vector of the widest kind.
const RESULT: usize = 64;
/// Alignment of functions made of bytes: a line of the cache.
const ALIGNMENT: u64 = 64;
/// The bits of 1.0f32.
const ONE: u32 = 0x3f80_0000;
/// Independent sums in 128-bit registers: every machine has 16 registers, two of them hold the factors.
const PORTABLE_SUMS: usize = 12;

/// Vectors that a loop works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vectors {
    /// 512 bits: x86-64 with AVX-512F.
    Bits512,
    /// 256 bits: x86-64 with AVX2 and FMA.
    Bits256,
    /// 128 bits: every machine.
    Bits128,
}

impl Vectors {
    /// All that this machine has, widest first.
    pub fn of_this_machine() -> Vec<Vectors> {
        let mut all = Vec::new();
        // The assembled loops take their argument as the System V convention has it.
        #[cfg(all(target_arch = "x86_64", unix))]
        {
            if std::is_x86_feature_detected!("avx512f") {
                all.push(Vectors::Bits512);
            }
            if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
                all.push(Vectors::Bits256);
            }
        }
        all.push(Vectors::Bits128);
        all
    }

    /// f32 numbers in one.
    fn lanes(self) -> usize {
        match self {
            Vectors::Bits512 => 16,
            Vectors::Bits256 => 8,
            Vectors::Bits128 => 4,
        }
    }

    /// Independent sums of a loop: at least latency times throughput, at most the registers less two.
    fn sums(self) -> usize {
        match self {
            Vectors::Bits512 => 24,
            Vectors::Bits256 => 12,
            Vectors::Bits128 => PORTABLE_SUMS,
        }
    }
}

/// A compiled loop.
pub struct Peak {
    code: Jit,
    vectors: Vectors,
}

impl Peak {
    /// Compiles the loop over the widest vectors of this machine.
    pub fn compile() -> Result<Peak, EmitError> {
        Peak::over(Vectors::of_this_machine().first().copied().unwrap_or(Vectors::Bits128))
    }

    /// Compiles the loop over vectors that this machine has.
    fn over(vectors: Vectors) -> Result<Peak, EmitError> {
        let sums = vectors.sums() as u32;
        let code = Jit::of(|module| match vectors {
            Vectors::Bits512 => of_bytes(module, assembled(&BITS_512, sums)),
            Vectors::Bits256 => of_bytes(module, assembled(&BITS_256, sums)),
            Vectors::Bits128 => portable(module),
        })?;
        Ok(Peak { code, vectors })
    }

    /// Floating-point operations of one turn of the loop, a multiply-add being two.
    pub fn operations(&self) -> u64 {
        (2 * self.vectors.lanes() * self.vectors.sums()) as u64
    }

    /// Runs the loop on this thread; gives the sum that every lane came to.
    pub fn run(&self, turns: u64) -> f32 {
        let mut result = [0f32; RESULT / 4];
        let context = [turns.max(1), result.as_mut_ptr().expose_provenance() as u64];
        let entry = self.code.entry();
        // SAFETY: the loop reads the two numbers of its context and writes one vector, at most `RESULT`
        // bytes, to the array that the second one points to; both live until it returns.
        unsafe { entry(context.as_ptr(), 0, 1) };
        result[0]
    }
}

/// The signature of every entry point.
fn signature(module: &dyn Module) -> Signature {
    let mut signature = module.make_signature();
    signature.params.push(AbiParam::new(types::I64));
    signature
}

fn of_bytes(module: &mut dyn Module, bytes: Result<Vec<u8>, IcedError>) -> Result<Emitted, EmitError> {
    let bytes = bytes.map_err(|error| EmitError::Codegen(error.to_string()))?;
    let signature = signature(module);
    if signature.call_conv != CallConv::SystemV {
        return Err(EmitError::Codegen(format!(
            "no loop for the calling convention {}",
            signature.call_conv
        )));
    }
    let entry = module.declare_function("peak", Linkage::Export, &signature)?;
    module.define_function_bytes(entry, ALIGNMENT, &bytes, &[])?;
    Ok(Emitted { entry, clif: Vec::new() })
}

/// Instructions for one width of vectors.
struct Forms {
    /// Register 0; the others follow.
    first: Register,
    broadcast: Code,
    subtract: Code,
    multiply_add: Code,
    add: Code,
    store: Code,
}

const BITS_512: Forms = Forms {
    first: Register::ZMM0,
    broadcast: Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32,
    subtract: Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er,
    multiply_add: Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
    add: Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
    store: Code::EVEX_Vmovups_zmmm512_k1z_zmm,
};
const BITS_256: Forms = Forms {
    first: Register::YMM0,
    broadcast: Code::VEX_Vbroadcastss_ymm_xmm,
    subtract: Code::VEX_Vsubps_ymm_ymm_ymmm256,
    multiply_add: Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256,
    add: Code::VEX_Vaddps_ymm_ymm_ymmm256,
    store: Code::VEX_Vmovups_ymmm256_ymm,
};

/// The loop in 256-bit or 512-bit instructions; its argument, the context, is in rdi.
fn assembled(forms: &Forms, sums: u32) -> Result<Vec<u8>, IcedError> {
    let one = forms.first;
    let sum = |number: u32| forms.first + (1 + number);
    let mut code = CodeAssembler::new(64)?;
    let mut repeat = code.create_label();
    code.mov(rcx, qword_ptr(rdi))?;
    code.mov(rdx, qword_ptr(rdi + 8))?;
    code.mov(eax, ONE)?;
    code.vmovd(xmm0, eax)?;
    code.add_instruction(Instruction::with2(forms.broadcast, one, Register::XMM0)?)?;
    for number in 0..sums {
        code.add_instruction(Instruction::with3(forms.subtract, sum(number), one, one)?)?;
    }
    code.set_label(&mut repeat)?;
    for number in 0..sums {
        code.add_instruction(Instruction::with3(forms.multiply_add, sum(number), one, one)?)?;
    }
    code.dec(rcx)?;
    code.jne(repeat)?;
    for number in 1..sums {
        code.add_instruction(Instruction::with3(forms.add, sum(0), sum(0), sum(number))?)?;
    }
    let result = MemoryOperand::with_base(Register::RDX);
    code.add_instruction(Instruction::with2(forms.store, result, sum(0))?)?;
    code.vzeroupper()?;
    code.ret()?;
    code.assemble(0)
}

/// The loop in Cranelift's widest vectors.
fn portable(module: &mut dyn Module) -> Result<Emitted, EmitError> {
    let fused = has_fma(module.isa());
    let signature = signature(module);
    let entry = module.declare_function("peak", Linkage::Export, &signature)?;
    let mut context = module.make_context();
    context.func = Function::with_name_signature(UserFuncName::user(0, entry.as_u32()), signature);
    let mut builder_context = FunctionBuilderContext::new();
    let mut build = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let (start, repeat, done) = (build.create_block(), build.create_block(), build.create_block());
    build.append_block_params_for_function_params(start);
    build.switch_to_block(start);
    let memory = MemFlagsData::new().with_notrap();
    let argument = build.block_params(start)[0];
    let turns = build.ins().load(types::I64, memory, argument, 0);
    let result = build.ins().load(types::I64, memory, argument, 8);
    let vector = |build: &mut FunctionBuilder, value: f32| {
        let number = build.ins().f32const(value);
        build.ins().splat(types::F32X4, number)
    };
    let (one, zero) = (vector(&mut build, 1.0), vector(&mut build, 0.0));
    let mut begin = vec![BlockArg::Value(zero); PORTABLE_SUMS];
    begin.push(BlockArg::Value(turns));
    build.ins().jump(repeat, &begin);

    let sums: Vec<Value> =
        (0..PORTABLE_SUMS).map(|_| build.append_block_param(repeat, types::F32X4)).collect();
    let left = build.append_block_param(repeat, types::I64);
    build.switch_to_block(repeat);
    let multiply_add = |build: &mut FunctionBuilder, sum: Value| match fused {
        true => build.ins().fma(one, one, sum),
        false => {
            let product = build.ins().fmul(one, one);
            build.ins().fadd(sum, product)
        }
    };
    let next: Vec<Value> = sums.iter().map(|&sum| multiply_add(&mut build, sum)).collect();
    let less = build.ins().iconst(types::I64, -1);
    let left = build.ins().iadd(left, less);
    let mut again: Vec<BlockArg> = next.iter().copied().map(BlockArg::Value).collect();
    again.push(BlockArg::Value(left));
    let zero = build.ins().iconst(types::I64, 0);
    let more = build.ins().icmp(IntCC::NotEqual, left, zero);
    build.ins().brif(more, repeat, &again, done, &[]);

    build.switch_to_block(done);
    let total = next[1..].iter().fold(next[0], |total, &sum| build.ins().fadd(total, sum));
    build.ins().store(memory, total, result, 0);
    build.ins().return_(&[]);
    build.seal_all_blocks();
    build.finalize(module.target_config());
    module.define_function(entry, &mut context)?;
    Ok(Emitted { entry, clif: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loop_does_all_its_operations() {
        for vectors in Vectors::of_this_machine() {
            let peak = Peak::over(vectors).unwrap();
            let turns = 1000;
            assert_eq!(peak.run(turns), (turns as usize * vectors.sums()) as f32, "{vectors:?}");
            assert_eq!(peak.operations(), (2 * vectors.sums() * vectors.lanes()) as u64);
        }
    }
}
