//! Compiled kernels kept on disk.
//!
//! A file is named by the hash of everything that it depends on: source, options, device, driver. It lies in
//! the user's cache (`$XDG_CACHE_HOME/rnnc/kernels` or `~/.cache/rnnc/kernels`); without such a folder, or
//! with one that cannot be written, kernels are compiled anew each time. Drivers that do all this themselves
//! are left to it.

use std::ffi::CString;
use std::path::PathBuf;

use ocl::core::{
    self, Program, ProgramBuildInfo, ProgramBuildInfoResult, ProgramBuildStatus, ProgramInfo,
    ProgramInfoResult,
};
use sha2::{Digest, Sha256};

use super::OpenClError;
use super::devices::Device;
use crate::runtime::files;

/// Platforms that keep compiled kernels on disk themselves. PoCL compiles a kernel when it is first launched,
/// for the sizes of that launch; asked for a binary it compiles everything once more, for any sizes.
const KEEP_THEIR_OWN: &[&str] = &["Portable Computing Language"];

/// The compiled source, from the cache if it is there.
///
/// # Errors
/// The driver refuses it.
pub(super) fn build(
    device: &Device,
    name: &str,
    source: &str,
    options: &str,
) -> Result<Program, OpenClError> {
    let file = folder()
        .filter(|_| !KEEP_THEIR_OWN.contains(&device.info.platform.as_str()))
        .map(|folder| folder.join(format!("{}.bin", key(device, source, options))));
    if let Some(program) = file.as_ref().and_then(|file| load(device, file, options)) {
        return Ok(program);
    }
    let program = compile(device, name, source, options)?;
    if let Some(file) = file {
        store(&program, &file);
    }
    Ok(program)
}

/// The compiled source.
///
/// # Errors
/// The driver refuses it.
pub(super) fn compile(
    device: &Device,
    name: &str,
    source: &str,
    options: &str,
) -> Result<Program, OpenClError> {
    let refused = |log: String| OpenClError::Rejected {
        device: device.info.name.clone(),
        program: name.to_string(),
        source_file: keep_source(name, source),
        log,
    };
    let rejected = |error: &core::Error| refused(log(error));
    let text = CString::new(source).map_err(|error| rejected(&error.into()))?;
    let flags = CString::new(options).map_err(|error| rejected(&error.into()))?;
    let program =
        core::create_program_with_source(&device.context, &[text]).map_err(|error| rejected(&error))?;
    core::build_program(&program, Some(&[device.id]), &flags, None, None)
        .map_err(|error| rejected(&error))?;
    match is_built(&program, device) {
        true => Ok(program),
        false => Err(refused(SILENT.to_string())),
    }
}

/// Whether a program was really built: the crate passes over a driver that refuses it and gives no reason.
fn is_built(program: &Program, device: &Device) -> bool {
    let status = core::get_program_build_info(program, device.id, ProgramBuildInfo::BuildStatus);
    matches!(status, Ok(ProgramBuildInfoResult::BuildStatus(ProgramBuildStatus::Success)))
}

/// Where a driver has no log.
const SILENT: &str = "the driver does not say why";

/// The driver's words without the frame that the crate puts around them.
fn log(error: &core::Error) -> String {
    let text = error.to_string();
    // The call that was to fetch the log failed itself.
    if text.contains("clGetProgramBuildInfo") {
        return SILENT.to_string();
    }
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with("####"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Puts a source where whoever reads the driver's log can look at it.
fn keep_source(name: &str, source: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("rnnc-{name}.cl"));
    // That even this fails is less than what is being reported.
    let _ = std::fs::write(&file, source);
    file
}

fn folder() -> Option<PathBuf> {
    let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("rnnc").join("kernels"))
}

fn key(device: &Device, source: &str, options: &str) -> String {
    let mut hash = Sha256::new();
    for part in [source, options, &device.info.name, &device.info.platform, &device.info.version] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn load(device: &Device, file: &std::path::Path, options: &str) -> Option<Program> {
    let binary = std::fs::read(file).ok()?;
    let flags = CString::new(options).ok()?;
    let program = core::create_program_with_binary(&device.context, &[device.id], &[&binary]).ok()?;
    core::build_program(&program, Some(&[device.id]), &flags, None, None).ok()?;
    is_built(&program, device).then_some(program)
}

/// Keeps a compiled program; it is no failure if that cannot be done.
fn store(program: &Program, file: &std::path::Path) {
    let Ok(ProgramInfoResult::Binaries(binaries)) = core::get_program_info(program, ProgramInfo::Binaries)
    else {
        return;
    };
    if let (Some(binary), Some(folder)) = (binaries.first(), file.parent())
        && std::fs::create_dir_all(folder).is_ok()
    {
        let _ = files::replace(file, |sink| sink.write_all(binary));
    }
}
