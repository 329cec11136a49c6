//! Lets the program be linked where there is no OpenCL.
//!
//! The crate `ocl` asks the linker for a library `OpenCL`. An empty one in the build's own folder, which is
//! searched first, answers that; the functions themselves are in `src/runtime/opencl/loader.rs`, which looks
//! for the machine's library when the program runs.

use std::path::PathBuf;

/// An archive without members.
const EMPTY: &[u8] = b"!<arch>\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY")? == "unix" && std::env::var("CARGO_CFG_TARGET_OS")? != "macos"
    {
        let folder = PathBuf::from(std::env::var("OUT_DIR")?);
        std::fs::write(folder.join("libOpenCL.a"), EMPTY)?;
        println!("cargo:rustc-link-search=native={}", folder.display());
    }
    Ok(())
}
