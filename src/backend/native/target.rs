//! What code is made for: this machine's processor, or a level of x86-64 that other machines have, too.
//!
//! | name | vectors |
//! | --- | --- |
//! | `native` | the widest that this machine has |
//! | `x86-64-v2` | 128 bits, without fused multiply-adds |
//! | `x86-64-v3` | 256 bits: AVX2, FMA |
//! | `x86-64-v4` | 512 bits: AVX-512 |
//!
//! The levels are those of the psABI for x86-64. Its first one is no target: it rounds no vectors, and
//! processors without the second have not been made for long. A target says which instructions code may
//! have, and nothing about the operating system, which is always this machine's.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use thiserror::Error;

use super::emit::EmitError;

/// A kind of processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Target {
    /// This machine's, with all that it can do.
    #[default]
    Native,
    /// The second level of x86-64: SSE4.2.
    V2,
    /// The third: AVX2 and fused multiply-adds.
    V3,
    /// The fourth: AVX-512.
    V4,
    /// Cranelift alone, with fused multiply-adds: what wide code is held against. On other architectures
    /// than x86-64 this is [`Target::Native`].
    Reference,
}

/// Why a processor is none to make code for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// There is no such name.
    #[error("`{0}` is no processor to compile for: use one of {names}", names = names())]
    Unknown(String),
    /// The name is of another architecture.
    #[error("`{0}` is an x86-64 processor, and code is made for this machine's architecture: use native")]
    Architecture(Target),
    /// It may be made, but not run.
    #[error("this machine cannot run code for {0}: it has no {missing}", missing = .1.join(", "))]
    Incapable(Target, Vec<String>),
}

/// What the second level of x86-64 has. (Cranelift's presets of these names leave some out.)
const V2: &[&str] = &["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_cmpxchg16b"];
/// What Cranelift's code gains by fused multiply-adds.
const FUSED: &[&str] = &["has_avx", "has_fma"];
/// What the third level adds to these.
const V3: &[&str] = &["has_avx2", "has_bmi1", "has_bmi2", "has_lzcnt"];
/// What the fourth adds.
const V4: &[&str] = &["has_avx512f", "has_avx512dq", "has_avx512vl"];

impl Target {
    /// The targets that have a name for users.
    pub const NAMED: [Target; 4] = [Target::Native, Target::V2, Target::V3, Target::V4];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Target::Native => "native",
            Target::V2 => "x86-64-v2",
            Target::V3 => "x86-64-v3",
            Target::V4 => "x86-64-v4",
            Target::Reference => "reference",
        }
    }

    /// Cranelift's description of the target.
    ///
    /// # Errors
    /// If the target is of another architecture than this machine.
    pub fn isa(self, position_independent: bool) -> Result<OwnedTargetIsa, EmitError> {
        let failed = |error: String| EmitError::Codegen(error);
        let mut flags = settings::builder();
        let verify = if cfg!(debug_assertions) { "true" } else { "false" };
        let position_independent = if position_independent { "true" } else { "false" };
        for (name, value) in [
            ("opt_level", "speed"),
            ("enable_verifier", verify),
            ("is_pic", position_independent),
            ("use_colocated_libcalls", "false"),
            // Large frames are touched page by page, so that a stack that is too small is an error.
            ("enable_probestack", "true"),
            ("probestack_strategy", "inline"),
        ] {
            flags.set(name, value).map_err(|error| failed(error.to_string()))?;
        }
        let features = self.features()?;
        let mut builder = cranelift_native::builder_with_options(features.is_none())
            .map_err(|error| failed(error.into()))?;
        for feature in features.unwrap_or_default() {
            builder.enable(feature).map_err(|error| failed(error.to_string()))?;
        }
        builder.finish(settings::Flags::new(flags)).map_err(|error| failed(error.to_string()))
    }

    /// Features to enable, by Cranelift's names; `None` for those of this machine.
    fn features(self) -> Result<Option<Vec<&'static str>>, TargetError> {
        let x86 = cfg!(target_arch = "x86_64");
        let levels: &[&[&str]] = match self {
            Target::Native => return Ok(None),
            Target::Reference if !x86 => return Ok(None),
            _ if !x86 => return Err(TargetError::Architecture(self)),
            Target::V2 => &[V2],
            Target::Reference => &[V2, FUSED],
            Target::V3 => &[V2, FUSED, V3],
            Target::V4 => &[V2, FUSED, V3, V4],
        };
        Ok(Some(levels.concat()))
    }

    /// Whether this machine can run code for the target.
    ///
    /// # Errors
    /// What it lacks.
    pub fn check_runs_here(self) -> Result<(), EmitError> {
        if self == Target::Native {
            return Ok(());
        }
        let here = features(&*Target::Native.isa(false)?);
        let missing: Vec<String> = features(&*self.isa(false)?).difference(&here).cloned().collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(TargetError::Incapable(self, missing).into()),
        }
    }

    /// For comments in generated files: what a processor must be.
    ///
    /// # Errors
    /// As [`Target::isa`].
    pub fn describe(self) -> Result<String, EmitError> {
        if self != Target::Native {
            return Ok(format!("any {self} processor"));
        }
        let isa = self.isa(false)?;
        let features: Vec<String> = features(&*isa).into_iter().collect();
        let with = if features.is_empty() { String::new() } else { format!(" with {}", features.join(", ")) };
        Ok(format!("{} processors{with}", isa.triple().architecture))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(name: &str) -> Result<Target, TargetError> {
        let found = Target::NAMED.into_iter().find(|target| target.name() == name);
        let target = found.ok_or_else(|| TargetError::Unknown(name.to_string()))?;
        target.features().map(|_| target)
    }
}

fn names() -> String {
    Target::NAMED.map(Target::name).join(", ")
}

/// What code for a target may use, without Cranelift's `has_`.
fn features(isa: &dyn TargetIsa) -> BTreeSet<String> {
    let enabled = isa.isa_flags().into_iter().filter(|flag| flag.as_bool() == Some(true));
    enabled.map(|flag| flag.name.trim_start_matches("has_").to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let wrong = "x86-64-v5".parse::<Target>().unwrap_err().to_string();
        assert_eq!(
            wrong,
            "`x86-64-v5` is no processor to compile for: use one of native, x86-64-v2, x86-64-v3, x86-64-v4"
        );
        assert_eq!("native".parse(), Ok(Target::Native));
        for target in Target::NAMED.into_iter().filter(|_| cfg!(target_arch = "x86_64")) {
            assert_eq!(target.name().parse(), Ok(target));
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn levels_contain_the_ones_below() {
        let of = |target: Target| features(&*target.isa(false).unwrap());
        let levels = [Target::V2, Target::Reference, Target::V3, Target::V4].map(of);
        for pair in levels.windows(2) {
            assert!(pair[0].is_subset(&pair[1]) && pair[0] != pair[1]);
        }
        assert!(Target::Native.check_runs_here().is_ok());
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = TargetError::Incapable(Target::V4, vec!["avx512f".into(), "avx512vl".into()]);
        assert_eq!(
            error.to_string(),
            "this machine cannot run code for x86-64-v4: it has no avx512f, avx512vl"
        );
    }
}
