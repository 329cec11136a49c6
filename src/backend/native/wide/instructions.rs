//! The vocabulary of wide code: vector instructions by what they do, and their encodings for either width.

use iced_x86::Code;

use crate::backend::native::emit::EmitError;

/// How wide the target's vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// AVX2 with fused multiply-add: 256 bits, 16 registers.
    Ymm,
    /// AVX-512 (F, VL, DQ, BW): 512 bits, 32 registers.
    Zmm,
}

impl Width {
    /// Bytes of a vector.
    pub fn bytes(self) -> usize {
        match self {
            Width::Ymm => 32,
            Width::Zmm => 64,
        }
    }

    /// 32-bit lanes of a vector.
    pub fn lanes(self) -> usize {
        self.bytes() / 4
    }

    /// Vector registers.
    pub fn registers(self) -> u8 {
        match self {
            Width::Ymm => 16,
            Width::Zmm => 32,
        }
    }
}

/// Instructions with two sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Three {
    /// Sum.
    Add,
    /// Difference.
    Subtract,
    /// Product.
    Multiply,
    /// Quotient.
    Divide,
    /// The second source unless the first is less; also where either is NaN.
    Min,
    /// The second source unless the first is greater; also where either is NaN.
    Max,
    /// Bits in both.
    And,
    /// Bits of the second that are not in the first.
    AndNot,
    /// Bits in either.
    Or,
    /// Bits in one of them.
    Xor,
    /// 32-bit integer sum.
    AddInteger,
    /// 32-bit integer difference.
    SubtractInteger,
    /// `d = ± d * b ± a`: whether the product, and whether `a`, is subtracted.
    Fma132(bool, bool),
    /// `d = ± a * d ± b`
    Fma213(bool, bool),
    /// `d = ± a * b ± d`
    Fma231(bool, bool),
    /// `a * 2^floor(b)` (AVX-512).
    Scale,
}

/// Instructions with one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Two {
    /// Square root.
    Sqrt,
    /// About 14 bits (AVX-512) or 11 bits (AVX2) of the reciprocal.
    Reciprocal,
    /// Signed 32-bit integers to reals.
    FromInteger,
    /// Reals to the nearest signed 32-bit integers.
    ToInteger,
    /// Unsigned 32-bit integers to reals (AVX-512).
    FromUnsigned,
    /// A copy.
    Copy,
    /// The lowest lane in every lane.
    Broadcast,
}

/// How reals or integers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Equal numbers.
    Equal,
    /// Not equal, or either is NaN.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterEqual,
}

impl Compare {
    /// The instruction's predicate: ordered and quiet, `NotEqual` unordered.
    pub fn predicate(self) -> u32 {
        match self {
            Compare::Equal => 0x00,
            Compare::Less => 0x11,
            Compare::LessEqual => 0x12,
            Compare::NotEqual => 0x04,
            Compare::GreaterEqual => 0x1d,
            Compare::Greater => 0x1e,
        }
    }
}

/// How a real is rounded to an integral one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, ties to even.
    Nearest,
    /// Towards minus infinity.
    Down,
}

/// The machine's instruction with two sources.
///
/// # Errors
/// If the width has none.
pub fn three(op: Three, width: Width) -> Result<Code, EmitError> {
    use Three::*;
    Ok(match (width, op) {
        (Width::Ymm, Add) => Code::VEX_Vaddps_ymm_ymm_ymmm256,
        (Width::Ymm, Subtract) => Code::VEX_Vsubps_ymm_ymm_ymmm256,
        (Width::Ymm, Multiply) => Code::VEX_Vmulps_ymm_ymm_ymmm256,
        (Width::Ymm, Divide) => Code::VEX_Vdivps_ymm_ymm_ymmm256,
        (Width::Ymm, Min) => Code::VEX_Vminps_ymm_ymm_ymmm256,
        (Width::Ymm, Max) => Code::VEX_Vmaxps_ymm_ymm_ymmm256,
        (Width::Ymm, And) => Code::VEX_Vandps_ymm_ymm_ymmm256,
        (Width::Ymm, AndNot) => Code::VEX_Vandnps_ymm_ymm_ymmm256,
        (Width::Ymm, Or) => Code::VEX_Vorps_ymm_ymm_ymmm256,
        (Width::Ymm, Xor) => Code::VEX_Vxorps_ymm_ymm_ymmm256,
        (Width::Ymm, AddInteger) => Code::VEX_Vpaddd_ymm_ymm_ymmm256,
        (Width::Ymm, SubtractInteger) => Code::VEX_Vpsubd_ymm_ymm_ymmm256,
        (Width::Ymm, Fma132(false, false)) => Code::VEX_Vfmadd132ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma132(true, false)) => Code::VEX_Vfnmadd132ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma132(false, true)) => Code::VEX_Vfmsub132ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma132(true, true)) => Code::VEX_Vfnmsub132ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma213(false, false)) => Code::VEX_Vfmadd213ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma213(true, false)) => Code::VEX_Vfnmadd213ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma213(false, true)) => Code::VEX_Vfmsub213ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma213(true, true)) => Code::VEX_Vfnmsub213ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma231(false, false)) => Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma231(true, false)) => Code::VEX_Vfnmadd231ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma231(false, true)) => Code::VEX_Vfmsub231ps_ymm_ymm_ymmm256,
        (Width::Ymm, Fma231(true, true)) => Code::VEX_Vfnmsub231ps_ymm_ymm_ymmm256,
        (Width::Ymm, Scale) => return Err(EmitError::Codegen("AVX2 has no scaling".into())),
        (Width::Zmm, Add) => Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Subtract) => Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Multiply) => Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Divide) => Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Min) => Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
        (Width::Zmm, Max) => Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
        (Width::Zmm, And) => Code::EVEX_Vandps_zmm_k1z_zmm_zmmm512b32,
        (Width::Zmm, AndNot) => Code::EVEX_Vandnps_zmm_k1z_zmm_zmmm512b32,
        (Width::Zmm, Or) => Code::EVEX_Vorps_zmm_k1z_zmm_zmmm512b32,
        (Width::Zmm, Xor) => Code::EVEX_Vxorps_zmm_k1z_zmm_zmmm512b32,
        (Width::Zmm, AddInteger) => Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32,
        (Width::Zmm, SubtractInteger) => Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32,
        (Width::Zmm, Fma132(false, false)) => Code::EVEX_Vfmadd132ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma132(true, false)) => Code::EVEX_Vfnmadd132ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma132(false, true)) => Code::EVEX_Vfmsub132ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma132(true, true)) => Code::EVEX_Vfnmsub132ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma213(false, false)) => Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma213(true, false)) => Code::EVEX_Vfnmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma213(false, true)) => Code::EVEX_Vfmsub213ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma213(true, true)) => Code::EVEX_Vfnmsub213ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma231(false, false)) => Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma231(true, false)) => Code::EVEX_Vfnmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma231(false, true)) => Code::EVEX_Vfmsub231ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Fma231(true, true)) => Code::EVEX_Vfnmsub231ps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, Scale) => Code::EVEX_Vscalefps_zmm_k1z_zmm_zmmm512b32_er,
    })
}

/// The machine's instruction with one source.
///
/// # Errors
/// If the width has none.
pub fn two(op: Two, width: Width) -> Result<Code, EmitError> {
    Ok(match (width, op) {
        (Width::Ymm, Two::Sqrt) => Code::VEX_Vsqrtps_ymm_ymmm256,
        (Width::Ymm, Two::Reciprocal) => Code::VEX_Vrcpps_ymm_ymmm256,
        (Width::Ymm, Two::FromInteger) => Code::VEX_Vcvtdq2ps_ymm_ymmm256,
        (Width::Ymm, Two::ToInteger) => Code::VEX_Vcvtps2dq_ymm_ymmm256,
        (Width::Ymm, Two::FromUnsigned) => {
            return Err(EmitError::Codegen("AVX2 has no unsigned integers".into()));
        }
        (Width::Ymm, Two::Copy) => Code::VEX_Vmovups_ymm_ymmm256,
        (Width::Zmm, Two::Sqrt) => Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er,
        (Width::Zmm, Two::Reciprocal) => Code::EVEX_Vrcp14ps_zmm_k1z_zmmm512b32,
        (Width::Zmm, Two::FromInteger) => Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er,
        (Width::Zmm, Two::ToInteger) => Code::EVEX_Vcvtps2dq_zmm_k1z_zmmm512b32_er,
        (Width::Zmm, Two::FromUnsigned) => Code::EVEX_Vcvtudq2ps_zmm_k1z_zmmm512b32_er,
        (Width::Zmm, Two::Copy) => Code::EVEX_Vmovups_zmm_k1z_zmmm512,
        (_, Two::Broadcast) => return Err(EmitError::Codegen("a broadcast from memory".into())),
    })
}
