//! A file of data that a line names: what it holds follows from its name and from the model.

use std::path::{Path, PathBuf};

use super::{Failure, Session, of_session};
use crate::driver::corpus::Source;
use crate::driver::example::{Example, ExampleError};
use crate::driver::session::Model;
use crate::ir::{AxisKind, Graph};

/// What a file holds for a model: an archive or records by its ending, trees for a model over trees, else a text.
pub(super) fn source(graph: &Graph, path: PathBuf) -> Source {
    let is_tree = graph.axes.iter().any(|axis| axis.kind == AxisKind::Tree);
    Source::of_path(path, if is_tree { Source::Trees } else { Source::Text })
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
            Source::Npz(path) => (Example::of_archive(graph, &path, number), "example"),
            Source::Trees(path) => {
                let known = meta.and_then(|meta| meta.words.as_ref());
                (Example::of_treebank(graph, &path, number, known), "tree")
            }
            Source::Text(path) => {
                let known = meta.and_then(|meta| meta.vocabulary.as_ref());
                (Example::line(model, graph, &path, number, known), "line")
            }
            records => {
                let learned = meta.and_then(|meta| Some((meta.fields.as_ref()?, &meta.settings.reading)));
                (Example::of_records(graph, &records, number, learned), "example")
            }
        };
        match found {
            (Ok(example), unit) => Ok((example, unit)),
            (Err(ExampleError::Session(error)), _) => Err(of_session(error)),
            (Err(error), _) => Err(error.into()),
        }
    }
}
