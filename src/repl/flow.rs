//! `:flow`: how gradients travel through a model, as a chart and as SVG.

use super::clauses::clauses;
use super::{Done, Session, stages::write_svg};
use crate::driver::flow::flow;
use crate::driver::pictures::flow_chart;

/// Positions along each axis where nothing is said.
const LONG: usize = 100;

impl Session {
    /// `:flow [M] [with … | from … | random] [steps N] [last] [svg FILE]`
    pub(super) fn flow(&mut self, rest: &str) -> Done {
        let parts = clauses(rest, &["with", "from", "line", "random", "steps", "last", "svg"])?;
        let svg = parts.file("svg")?;
        let model = self.choose(&parts.head)?;
        let graph = self.checked(&model)?.graph;
        let (example, what) = self.example(&model, &graph, &parts, LONG)?;
        let feeds = example.feeds(self.weights_of(&graph), self.seed);
        let found = flow(&graph, &example, &feeds, parts.has("last"), self.stop())?;
        let mut text = format!("on {what}\n{}", found.text());
        if let Some(path) = svg {
            text += &write_svg(&path, &flow_chart(&found)?)?;
        }
        Ok(text)
    }
}
