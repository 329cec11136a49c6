//! A compiled part of a prediction with its parameters, and what it is given.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::ThreadPool;

use super::padded::Padded;
use crate::base::Tree;
use crate::driver::batch::{Batch, BatchError, Feed};
use crate::driver::compile::{CompileError, Pipeline};
use crate::driver::data::{Examples, Trees};
use crate::driver::evaluate::{parameter_ranges, slices};
use crate::ir::{Graph, OutputKind};
use crate::plan::Plan;
use crate::runtime::checkpoint::Position;
use crate::runtime::layout::Lengths;
use crate::runtime::parameters::Parameters;

/// What is known of some examples.
pub struct Given<'e> {
    /// Their data.
    pub examples: &'e Examples<f32>,
    /// What has been drawn for them, by name.
    pub drawn: Vec<(String, Padded)>,
    /// Their lengths by axis, those of what was drawn, too.
    pub lengths: BTreeMap<String, Vec<usize>>,
    /// What tells their random numbers from those of others.
    pub keys: Vec<u64>,
}

impl Given<'_> {
    /// How many.
    pub fn count(&self) -> usize {
        self.examples.count
    }

    /// All values, as programs take them.
    pub fn feeds(&self) -> Vec<(&str, Feed<'_, f32>)> {
        let drawn = self.drawn.iter().map(|(name, values)| (name.as_str(), values.feed()));
        self.examples.feeds().into_iter().chain(drawn).collect()
    }

    /// The longest of these examples along each of these axes.
    pub fn longest(&self, axes: &[String], rows: &[usize]) -> Vec<usize> {
        let longest = |axis: &String| {
            let lengths = self.lengths.get(axis);
            rows.iter().filter_map(|&row| Some(lengths?[row])).max().unwrap_or(0)
        };
        axes.iter().map(longest).collect()
    }

    /// Lengths and trees of these examples, in a plan's order of axes; `own` are those along one axis.
    pub fn lengths_for(&self, plan: &Plan, rows: &[usize], own: Option<(&str, &[usize])>) -> Lengths {
        let named = |name: &String| match own {
            Some((axis, lengths)) if axis == name => lengths.to_vec(),
            _ => match self.lengths.get(name) {
                Some(all) => rows.iter().map(|&row| all[row]).collect(),
                None => vec![0; rows.len()],
            },
        };
        let axes = std::iter::once(Vec::new()).chain(plan.axes.iter().skip(1).map(named)).collect();
        let of = |trees: &Vec<Arc<Tree>>| rows.iter().map(|&row| Arc::clone(&trees[row])).collect();
        let all: &Trees = &self.examples.trees;
        let trees = plan.axes.iter().enumerate().filter_map(|(axis, name)| Some((axis, of(all.get(name)?))));
        Lengths { examples: rows.len(), axes, trees: trees.collect() }
    }
}

/// A program that is run with the same parameters each time.
pub struct Program {
    /// It, with the memory for a batch.
    pub batch: Batch<f32>,
    parameters: Arc<Parameters>,
    ranges: Vec<Range<usize>>,
    /// How long the model has been trained, for what follows a schedule.
    pub position: Position,
}

impl Program {
    /// Compiles the values and the states that `graph` offers.
    ///
    /// # Errors
    /// It has no plan, or the plan no code.
    pub fn new(
        pipeline: &mut Pipeline,
        graph: &Graph,
        what: &str,
        parameters: &Arc<Parameters>,
        pool: &Arc<ThreadPool>,
    ) -> Result<Program, CompileError> {
        let name = format!("{}_{what}", graph.name);
        let kinds = [OutputKind::Value, OutputKind::Carry];
        let mut batch = pipeline.batch::<f32>(graph, &kinds, &name, pool)?;
        batch.hold_parameters();
        let ranges = parameter_ranges(&batch, parameters);
        Ok(Program { batch, parameters: Arc::clone(parameters), ranges, position: Position::default() })
    }

    /// Runs it; inputs that are not fed keep their values.
    ///
    /// # Errors
    /// An input of the wrong size, or a device fails.
    pub fn run(&mut self, feeds: &[(&str, Feed<f32>)]) -> Result<(), BatchError> {
        self.batch.set_progress(self.position.epoch as f64, self.position.step)?;
        self.batch.run(feeds, &slices(&self.parameters, &self.ranges))
    }

    /// A value that the last run left.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn value(&self, name: &str) -> Result<Padded, BatchError> {
        Padded::output(&self.batch, &format!("value:{name}"))
    }
}
