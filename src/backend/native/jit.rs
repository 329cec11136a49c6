//! Code in memory: the driver for running at once.

use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Module, default_libcall_names};

use super::emit::{EmitError, Options, emit};
use super::target::Target;
use crate::plan::{Plan, Precision};

/// The type of an entry point: it takes the context (see [`super::context`]), the number of this worker and
/// how many there are.
pub type Entry = unsafe extern "C" fn(*const u64, u64, u64);

/// Compiled code of one plan, freed when dropped.
pub struct Jit {
    module: Option<JITModule>,
    entry: Entry,
}

// SAFETY: after `compile` the module is not touched again until it is dropped; what threads share is
// the code, which is read-only.
unsafe impl Send for Jit {}
// SAFETY: as above.
unsafe impl Sync for Jit {}

impl Jit {
    /// Compiles a plan for a target that this machine can run; `profiled` gives it a clock that is read
    /// after every kernel, and its context a slot more.
    ///
    /// # Errors
    /// If the machine cannot, or the plan becomes no code.
    pub fn compile(
        plan: &Plan,
        precision: Precision,
        target: Target,
        profiled: bool,
    ) -> Result<Jit, EmitError> {
        target.check_runs_here()?;
        let options = Options { profiled, recorded: false };
        Jit::of(target, |module| Ok(emit(module, plan, precision, options)?.entry))
    }

    /// Compiles what `write` puts into a module; its entry has the signature of [`Entry`].
    pub(super) fn of(
        target: Target,
        write: impl FnOnce(&mut dyn Module) -> Result<FuncId, EmitError>,
    ) -> Result<Jit, EmitError> {
        let builder = JITBuilder::with_isa(target.isa(false)?, default_libcall_names());
        let mut module = JITModule::new(builder);
        let entry = write(&mut module)?;
        module.finalize_definitions()?;
        let code = module.get_finalized_function(entry);
        // SAFETY: `write` gave this function the signature of `Entry`.
        let entry = unsafe { std::mem::transmute::<*const u8, Entry>(code) };
        Ok(Jit { module: Some(module), entry })
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
