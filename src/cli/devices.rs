//! `devices`: what programs can run on.

use clap::Args;

use super::failure::Failure;
use super::output::print;
use crate::driver::machine::table;

#[derive(Debug, Args)]
pub(super) struct Devices {}

impl Devices {
    pub fn run(self) -> Result<(), Failure> {
        print(&table())
    }
}
