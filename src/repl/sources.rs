//! A file of data that a line names: what it holds follows from its name and from the model.

use std::path::{Path, PathBuf};

use super::{Failure, Session, of_session};
use crate::driver::corpus::{Known, Source, examples};
use crate::driver::example::{Example, ExampleError};
use crate::driver::session::Model;
use crate::ir::{AxisKind, Graph};
use crate::runtime::records::Format;

/// What a file holds for a model: records or an archive by its ending, trees for a model over trees, else a text.
pub(super) fn source(graph: &Graph, path: PathBuf) -> Source {
    let is_tree = graph.axes.iter().any(|axis| axis.kind == AxisKind::Tree);
    match (Format::of_path(&path), path.extension().and_then(|extension| extension.to_str())) {
        (Some(format), _) => Source::Table(path, format),
        (None, Some("npz")) => Source::Npz(path),
        _ if is_tree => Source::Trees(path),
        _ => Source::Text(path),
    }
}

impl Session {
    /// Example `number` (from 1) of a file, and what such a thing is called. Words and characters have the
    /// ids of the run that the model's weights are from, if they are from one.
    pub(super) fn example_in(
        &self,
        model: &Model,
        graph: &Graph,
        path: &Path,
        number: usize,
    ) -> Result<(Example, &'static str), Failure> {
        let meta = self.runs.get(&graph.name).map(|run| &run.meta);
        let found = match source(graph, path.to_path_buf()) {
            source @ (Source::Table(..) | Source::Lines(_)) => {
                let Some(meta) = meta else {
                    return Err(Failure::new(format!(
                        "records are read with what training has learned of such: `:train {} N from {}` or \
                         `:weights RUN` first",
                        graph.name,
                        path.display()
                    )));
                };
                let data = examples(&source, graph, Known::of(meta))?;
                let wanted = number.checked_sub(1).filter(|&at| at < data.examples);
                let example = wanted.map(|at| Example::of_dataset(&data, at));
                let none = || ExampleError::Number {
                    path: path.display().to_string(),
                    count: data.examples,
                    unit: "records",
                    number,
                };
                (example.ok_or_else(none), "record")
            }
            Source::Npz(path) => (Example::of_archive(graph, &path, number), "example"),
            Source::Trees(path) => {
                let known = meta.and_then(|meta| meta.words.as_ref());
                (Example::of_treebank(graph, &path, number, known), "tree")
            }
            Source::Text(path) => {
                let known = meta.and_then(|meta| meta.vocabulary.as_ref());
                (Example::line(model, graph, &path, number, known), "line")
            }
        };
        match found {
            (Ok(example), unit) => Ok((example, unit)),
            (Err(ExampleError::Session(error)), _) => Err(of_session(error)),
            (Err(error), _) => Err(error.into()),
        }
    }
}
