//! Code in an object file: the driver for linking with C.
//!
//! Several plans (forward, loss, gradient) go into one file; [`super::header`] is the C side of it.

use cranelift_module::default_libcall_names;
use cranelift_object::{ObjectBuilder, ObjectModule};

use super::emit::{EmitError, emit};
use super::jit::host;
use crate::plan::{Plan, Precision};

/// An object file for this machine, as its bytes.
pub fn object(name: &str, plans: &[(&Plan, Precision)]) -> Result<Vec<u8>, EmitError> {
    let builder = ObjectBuilder::new(host(true)?, name, default_libcall_names())?;
    let mut module = ObjectModule::new(builder);
    for (plan, precision) in plans {
        emit(&mut module, plan, *precision)?;
    }
    module.finish().emit().map_err(|error| EmitError::Codegen(error.to_string()))
}
