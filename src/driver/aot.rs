//! Ahead of time: a model as an object file, a C header, and a shared library where a C compiler is at hand; or
//! as OpenCL kernels with a host plan.
//!
//! `NAME.o` holds three entry points: `NAME_forward` (every named value), `NAME_loss` (losses and metrics) and
//! `NAME_gradient` (the loss and the gradient of every parameter). Nothing is left half-written: each file is
//! made beside its place and moved there when it is whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

use super::compile::{CompileError, Pipeline};
use super::session::{Model, SessionError};
use super::timings::Timings;
pub use crate::backend::native::Target;
use crate::backend::native::emit::{EmitError, symbol};
use crate::backend::native::{header::header, object::object};
use crate::backend::opencl;
use crate::check::Mode;
use crate::grad::GradError;
use crate::ir::{Graph, OutputKind};
pub use crate::plan::Precision;
use crate::plan::{Plan, Role};
use crate::runtime::files::{FileError, replace};

/// Why nothing was written, or not all.
#[derive(Debug, Error)]
pub enum AotError {
    /// The model does not check.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// It has no gradient.
    #[error(transparent)]
    Grad(#[from] GradError),
    /// It became no plan.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It became no code.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// It became no source.
    #[error(transparent)]
    OpenCl(#[from] opencl::EmitError),
    /// It became no host plan.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder could not be made.
    #[error("cannot make the folder `{path}`: {source}")]
    Folder {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Two names are one in C.
    #[error("`{0}` and `{1}` are the same name in C: rename one")]
    NameClash(String, String),
    /// A name that C does not take.
    #[error("`{0}` is not a name in C: use letters, digits and underscores, beginning with a letter")]
    Name(String),
    /// The C compiler did not link.
    #[error("`{compiler}` could not make {path}: {message}")]
    Link {
        /// What was called.
        compiler: String,
        /// What it should have made.
        path: PathBuf,
        /// What it said.
        message: String,
    },
}

/// Files that were written, and what was left out and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Artifacts {
    /// In the order of their making.
    pub files: Vec<PathBuf>,
    /// A line for each thing that could not be made on this machine.
    pub notes: Vec<String>,
    /// Time by stage.
    pub timings: Timings,
}

/// Compiles a model into `folder` as `name` (the model's own name if there is none) for the processors of a
/// target.
///
/// # Errors
/// If the model has mistakes or a file cannot be written.
pub fn compile(
    model: &Model,
    folder: &Path,
    name: Option<&str>,
    precision: Precision,
    target: Target,
) -> Result<Artifacts, AotError> {
    let mut pipeline = Pipeline::default();
    let checked = pipeline.check(model, Mode::Evaluate)?;
    let name = c_name(name, &checked.graph)?;
    let plans = plans(&mut pipeline, model, &checked.graph, &name)?;
    plans.iter().try_for_each(|(_, plan)| distinct(plan))?;
    let pairs: Vec<(&Plan, Precision)> = plans.iter().map(|(_, plan)| (plan, precision)).collect();
    let mut timings = pipeline.timings;
    let code = timings.time("code", || object(&name, &pairs, target))?;
    let text = header(&name, &pairs, &target.describe()?);
    let object_path = folder.join(format!("{name}.o"));
    let files = [(object_path.clone(), &code[..]), (folder.join(format!("{name}.h")), text.as_bytes())];
    let mut made = write(folder, &files, &mut timings)?;
    timings.time("link", || link(&object_path, &folder.join(format!("{name}.so")), &mut made))?;
    made.timings = timings;
    Ok(made)
}

/// Writes a model's OpenCL kernels (`NAME.cl`) and what a host must know of them (`NAME.json`). No OpenCL is
/// needed for that.
///
/// # Errors
/// As [`compile`].
pub fn compile_opencl(
    model: &Model,
    folder: &Path,
    name: Option<&str>,
    precision: Precision,
) -> Result<Artifacts, AotError> {
    let mut pipeline = Pipeline::default();
    let checked = pipeline.check(model, Mode::Evaluate)?;
    let name = c_name(name, &checked.graph)?;
    let plans = plans(&mut pipeline, model, &checked.graph, &name)?;
    let mut timings = pipeline.timings;
    let named: Vec<(String, &Plan)> = plans.iter().map(|(of, plan)| (format!("{of}_k"), plan)).collect();
    let named: Vec<(&str, &Plan)> = named.iter().map(|(prefix, plan)| (prefix.as_str(), *plan)).collect();
    let (source, programs) = timings.time("code", || opencl::emit_all(&named, precision))?;
    let hosts: Vec<_> = programs.iter().map(|program| opencl::host::host_plan(program, precision)).collect();
    let mut json = serde_json::to_string_pretty(&hosts)?;
    json.push('\n');
    let files = [
        (folder.join(format!("{name}.cl")), source.as_bytes()),
        (folder.join(format!("{name}.json")), json.as_bytes()),
    ];
    let mut made = write(folder, &files, &mut timings)?;
    made.timings = timings;
    Ok(made)
}

/// The name that files and symbols get.
fn c_name(name: Option<&str>, graph: &Graph) -> Result<String, AotError> {
    let name = name.unwrap_or(&graph.name).to_string();
    if symbol(&name) == name { Ok(name) } else { Err(AotError::Name(name)) }
}

/// The three programs of a model, each with the word for what it computes.
fn plans(
    pipeline: &mut Pipeline,
    model: &Model,
    graph: &Graph,
    name: &str,
) -> Result<Vec<(&'static str, Plan)>, AotError> {
    let mut plan = |graph: &Graph, kinds: &[OutputKind], of: &'static str| {
        pipeline.planned(graph, kinds, &format!("{name}_{of}")).map(|plan| (of, plan))
    };
    let mut plans = vec![
        plan(graph, &[OutputKind::Value], "forward")?,
        plan(graph, &[OutputKind::Loss, OutputKind::Metric], "loss")?,
    ];
    if graph.outputs_of(OutputKind::Loss).next().is_some() {
        let training = pipeline.check(model, Mode::Train)?.graph;
        let gradient = pipeline.trained(&training)?;
        let kinds = [OutputKind::Loss, OutputKind::Gradient];
        plans.push(("gradient", pipeline.planned(&gradient, &kinds, &format!("{name}_gradient"))?));
    }
    Ok(plans)
}

/// Writes files into a folder, which is made where it is missing.
fn write(folder: &Path, files: &[(PathBuf, &[u8])], timings: &mut Timings) -> Result<Artifacts, AotError> {
    std::fs::create_dir_all(folder)
        .map_err(|source| AotError::Folder { path: folder.to_path_buf(), source })?;
    let mut made = Artifacts::default();
    for (path, bytes) in files {
        timings.time("write", || replace(path, |sink| sink.write_all(bytes)))?;
        made.files.push(path.clone());
    }
    Ok(made)
}

/// Names that differ must differ in C as well.
fn distinct(plan: &Plan) -> Result<(), AotError> {
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for buffer in &plan.buffers {
        let (Role::Input(name) | Role::Output(name) | Role::Setting(name)) = &buffer.role else { continue };
        match known.insert(symbol(name), name) {
            Some(other) if other != name => return Err(AotError::NameClash(other.into(), name.clone())),
            _ => {}
        }
    }
    Ok(())
}

/// A shared library by the C compiler, if there is one.
fn link(object: &Path, library: &Path, made: &mut Artifacts) -> Result<(), AotError> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let draft = library.with_extension("so.part");
    let linked = Command::new(&compiler).arg("-shared").arg("-o").arg(&draft).arg(object).output();
    let failed =
        |message: String| AotError::Link { compiler: compiler.clone(), path: library.to_path_buf(), message };
    match linked {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            made.notes
                .push(format!("no shared library: there is no C compiler `{compiler}` on this machine"));
            Ok(())
        }
        Err(error) => Err(failed(error.to_string())),
        Ok(output) if !output.status.success() => {
            // The draft may not exist at all.
            let _ = std::fs::remove_file(&draft);
            Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_string()))
        }
        Ok(_) => {
            std::fs::rename(&draft, library).map_err(|error| failed(error.to_string()))?;
            made.files.push(library.to_path_buf());
            Ok(())
        }
    }
}
