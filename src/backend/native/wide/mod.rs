//! Wide code: what is worth 256- or 512-bit vectors, as machine code of our own.
//!
//! Cranelift's widest vector has 128 bits. Product tiles and row kernels are therefore also emitted as AVX2
//! or AVX-512 machine code, from the same plan, and put into the same module under the same names and
//! signatures, so that nobody who calls them knows the difference:
//!
//! ```text
//! tile::tile      Cranelift                          product::tile
//! rows::rows      any target, f32 and f64            rows::rows      x86-64, f32
//! pack::gather                                       panel::gather
//! pack::panels                                       panel::rows
//! transpose::panels                                  transpose::columns
//! (none)                                             unpacked::tile      512 bits
//! ```
//!
//! Which of them is made follows from the features of the module's target alone. Cranelift's is the
//! reference: what wide code computes agrees with it up to the order of sums and the stated accuracy of the
//! functions, and whatever has no wide form falls back to it.

pub mod body;
pub mod instructions;
pub mod machine;
pub mod panel;
pub mod product;
pub mod rows;
pub mod schedule;
pub mod steps;
pub mod transpose;
pub mod unpacked;

use cranelift_codegen::isa::{CallConv, TargetIsa};

pub use instructions::Width;

/// The width of the vectors that code for a target may use, if it has wide ones.
pub fn width(isa: &dyn TargetIsa) -> Option<Width> {
    let has =
        |name: &str| isa.isa_flags().iter().any(|flag| flag.name == name && flag.as_bool() == Some(true));
    let usual = isa.name() == "x64" && isa.default_call_conv() == CallConv::SystemV;
    let all = |names: &[&str]| usual && names.iter().all(|name| has(name));
    if all(&["has_avx512f", "has_avx512dq", "has_avx512vl", "has_fma", "has_bmi2"]) {
        return Some(Width::Zmm);
    }
    all(&["has_avx2", "has_fma", "has_bmi2"]).then_some(Width::Ymm)
}
