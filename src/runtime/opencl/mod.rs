//! Programs on OpenCL devices: which there are, kernels compiled for one, and runs of them on batches.
//!
//! ```text
//! devices ─▶ Device (context, queue) ─ kernels, cache ─▶ Program ─▶ Instance: memory of a batch, runs
//!                                                              └──▶ Updates: parameters that stay there
//! ```
//!
//! Nothing here decides what is computed: sources and launches are those of [`crate::backend::opencl`], rows and
//! places those of [`super::layout`]. Without a loader of OpenCL drivers everything is an error that says what
//! to install; `loader` looks for it.

pub mod ahead;
pub mod cache;
pub mod devices;
pub mod instance;
pub mod program;
pub mod queue;
pub mod update;

#[cfg(all(unix, not(target_os = "macos")))]
mod loader;

use std::path::PathBuf;

use thiserror::Error;

pub use devices::{Device, DeviceInfo, choose, list};
pub use instance::Instance;
pub use program::Program;
pub use update::Updates;

/// Why something cannot be done on a device.
#[derive(Debug, Error)]
pub enum OpenClError {
    /// Nothing to run on.
    #[error(
        "there is no OpenCL on this machine: install a loader and a driver (on Debian and Ubuntu \
         `ocl-icd-libopencl1`, and `pocl-opencl-icd` for the processor or the driver of your graphics card), \
         or leave out `--device opencl`"
    )]
    Absent,
    /// A number that no device has.
    #[error("there is no device opencl:{index}: {}", known(*count))]
    Index {
        /// The number.
        index: usize,
        /// How many devices there are.
        count: usize,
    },
    /// The driver refuses a source.
    #[error("{device} does not take the kernels of `{program}` (their source is in {}):\n{log}", source_file.display())]
    Rejected {
        /// The device.
        device: String,
        /// The program.
        program: String,
        /// Where its source was put.
        source_file: PathBuf,
        /// What the driver says.
        log: String,
    },
    /// The batch is too large.
    #[error(
        "{device} has no room for `{program}`: this batch takes {wanted} bytes in one piece, {fits} fit; \
         take a smaller batch (--batch) or cut sequences shorter (--truncate)"
    )]
    Memory {
        /// The device.
        device: String,
        /// The program.
        program: String,
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that can be had.
        fits: usize,
    },
    /// The batch would fit if nothing else were there.
    #[error(
        "{device} has no room for `{program}`: this batch takes {wanted} bytes, and of its {memory} not so many are \
         free; take a smaller batch (--batch) or cut sequences shorter (--truncate)"
    )]
    Full {
        /// The device.
        device: String,
        /// The program.
        program: String,
        /// Bytes asked for.
        wanted: usize,
        /// Bytes of the device.
        memory: usize,
    },
    /// The device has no 64-bit numbers.
    #[error("{device} does not calculate in f64: leave out `--precision f64`, or take another device")]
    Doubles {
        /// The device.
        device: String,
    },
    /// A call failed in the middle of the work.
    #[error(
        "{device} failed ({what}): {message}; what was saved before stands, and training goes on from it with --resume"
    )]
    Lost {
        /// The device.
        device: String,
        /// What was being done.
        what: &'static str,
        /// What the driver says.
        message: String,
    },
}

fn known(count: usize) -> String {
    match count {
        1 => "this machine has one, opencl:0".into(),
        _ => format!("this machine has opencl:0 to opencl:{}", count.saturating_sub(1)),
    }
}
