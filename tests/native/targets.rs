//! The targets that this machine can run: what is tested on each of them, side by side.

use std::sync::Once;

use rnnc::backend::native::Target;
use rnnc::plan::Precision;

/// Cranelift without and with fused multiply-adds, then wide code; those left out are named once.
pub fn targets() -> Vec<Target> {
    static SAID: Once = Once::new();
    let all = [Target::V2, Target::Reference, Target::V3, Target::V4];
    let (able, unable): (Vec<Target>, Vec<Target>) =
        all.into_iter().partition(|target| target.check_runs_here().is_ok());
    SAID.call_once(|| {
        for target in unable {
            let reason = target.check_runs_here().unwrap_err();
            println!("skipped: code for {target}: {reason}");
        }
    });
    able
}

/// The targets whose code differs in a precision: wide code calculates in f32 only.
pub fn targets_of(precision: Precision) -> Vec<Target> {
    match precision {
        Precision::F32 => targets(),
        Precision::F64 => vec![Target::Native],
    }
}
