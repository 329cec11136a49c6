//! What a command runs on: flags that several have.

use clap::Args;

use super::failure::Failure;
use crate::driver::machine::{Machine, MachineName};

#[derive(Debug, Args)]
pub(super) struct Hardware {
    /// Threads [default: one for each core]; results do not depend on it
    #[arg(long, value_name = "N", value_parser = super::count)]
    threads: Option<usize>,
    /// What to run on: cpu, opencl or opencl:N
    #[arg(long, value_name = "NAME", default_value_t)]
    pub device: MachineName,
}

impl Hardware {
    /// Threads; 0 is one for each core.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or(0)
    }

    /// The device, or why it cannot be had.
    pub fn open(&self) -> Result<Machine, Failure> {
        Ok(self.device.open()?)
    }
}
