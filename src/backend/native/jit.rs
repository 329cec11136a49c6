//! Code in memory: the driver for running at once.

use std::sync::Arc;

use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Module, default_libcall_names};

use super::emit::{EmitError, Emitted, emit, emit_profiled};
use crate::plan::{Plan, Precision};

/// The type of an entry point: it takes the context (see [`super::context`]), the number of this worker and
/// how many there are.
pub type Entry = unsafe extern "C" fn(*const u64, u64, u64);

/// Compiled code of one plan, freed when dropped.
pub struct Jit {
    module: Option<JITModule>,
    entry: Entry,
    /// Cranelift's intermediate code, one text a function.
    pub clif: Vec<(String, String)>,
}

// SAFETY: after `compile` the module is not touched again until it is dropped; what threads share is
// the code, which is read-only.
unsafe impl Send for Jit {}
// SAFETY: as above.
unsafe impl Sync for Jit {}

impl Jit {
    /// Compiles a plan for this machine.
    pub fn compile(plan: &Plan, precision: Precision) -> Result<Jit, EmitError> {
        Jit::of(|module| emit(module, plan, precision))
    }

    /// The same with a clock that is read after every kernel: its context has a slot more.
    pub fn profiled(plan: &Plan, precision: Precision) -> Result<Jit, EmitError> {
        Jit::of(|module| emit_profiled(module, plan, precision))
    }

    /// Compiles what `write` puts into a module; its entry has the signature of [`Entry`].
    pub(super) fn of(
        write: impl FnOnce(&mut dyn Module) -> Result<Emitted, EmitError>,
    ) -> Result<Jit, EmitError> {
        let builder = JITBuilder::with_isa(host(false)?, default_libcall_names());
        let mut module = JITModule::new(builder);
        let Emitted { entry, clif } = write(&mut module)?;
        module.finalize_definitions()?;
        let code = module.get_finalized_function(entry);
        // SAFETY: `write` gave this function the signature of `Entry`.
        let entry = unsafe { std::mem::transmute::<*const u8, Entry>(code) };
        Ok(Jit { module: Some(module), entry, clif })
    }

    /// The entry point, valid while `self` lives.
    pub fn entry(&self) -> Entry {
        self.entry
    }
}

impl Drop for Jit {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: nobody can call into the code any more: `entry` is reached through `self` only.
            unsafe { module.free_memory() };
        }
    }
}

/// This machine, with all vector instructions it has.
pub fn host(position_independent: bool) -> Result<Arc<dyn TargetIsa>, EmitError> {
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
    cranelift_native::builder()
        .map_err(|error| failed(error.to_string()))?
        .finish(settings::Flags::new(flags))
        .map_err(|error| failed(error.to_string()))
}
