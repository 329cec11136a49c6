//! Code in an object file: the driver for linking with C.
//!
//! Several plans (forward, loss, gradient) go into one file; [`super::header`] is the C side of it.

use cranelift_module::default_libcall_names;
use cranelift_object::{ObjectBuilder, ObjectModule};

use super::emit::{EmitError, Options, emit};
use super::target::Target;
use crate::plan::{Plan, Precision};

/// An object file for this machine's system and the target's processors, as its bytes.
///
/// # Errors
/// If the target is of another architecture, or a plan becomes no code.
pub fn object(name: &str, plans: &[(&Plan, Precision)], target: Target) -> Result<Vec<u8>, EmitError> {
    let builder = ObjectBuilder::new(target.isa(true)?, name, default_libcall_names())?;
    let mut module = ObjectModule::new(builder);
    for (plan, precision) in plans {
        emit(&mut module, plan, *precision, Options::default())?;
    }
    module.finish().emit().map_err(|error| EmitError::Codegen(error.to_string()))
}
