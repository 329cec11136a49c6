//! Records that are steps: the sequences they make, and windows cut from these.
//!
//! ```text
//! rows        0 1 2 3 4 5 6 7 8 9        past over s, then future over t;  window = each(s = 3, t = 2)
//! example 0   s s s t t
//! example 1     s s s t t
//! example 5             s s s t t        held out: its t lies behind the rows that are trained on
//! ```
//!
//! The axes of a model lie one behind the other in a window, in the order of the inputs that have them; an input
//! without an axis is the row behind all of these (and of a whole sequence its last). Without windows a sequence is
//! one example, and a single sequence is cut in two, to train on and to measure by.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Table, TableError, Want};
use crate::ir::{BATCH, Graph};

/// Where examples lie among the rows.
#[derive(Default)]
pub(super) struct Layouts {
    /// By axis: the first row and the number of rows in each example.
    axes: BTreeMap<String, (Vec<usize>, Vec<usize>)>,
    /// The row of what has no axis.
    points: Vec<usize>,
}

impl Layouts {
    pub fn len(&self) -> usize {
        self.points.len()
    }

    pub fn lengths(&self) -> BTreeMap<String, Vec<usize>> {
        self.axes.iter().map(|(axis, (_, lengths))| (axis.clone(), lengths.clone())).collect()
    }

    /// Where an input begins in each example.
    pub fn starts(&self, axis: Option<&str>) -> Vec<usize> {
        match axis.and_then(|axis| self.axes.get(axis)) {
            Some((starts, _)) => starts.clone(),
            None => self.points.clone(),
        }
    }

    fn add(&mut self, spans: &[(&str, Range<usize>)], point: usize) {
        for (axis, span) in spans {
            let (starts, lengths) = self.axes.entry(axis.to_string()).or_default();
            starts.push(span.start);
            lengths.push(span.len());
        }
        self.points.push(point);
    }
}

/// What lies in a window, in order.
struct Window<'g> {
    /// Axes and their steps, those that only have answers last.
    axes: Vec<(&'g str, usize)>,
    /// Whether a row behind them belongs to it.
    point: bool,
    /// Steps of the part that is to be predicted: the last axis, or the row behind.
    answer: usize,
}

impl Window<'_> {
    fn steps(&self) -> usize {
        self.axes.iter().map(|(_, steps)| steps).sum::<usize>() + usize::from(self.point)
    }
}

impl Table<'_> {
    /// The rows of each sequence.
    pub(super) fn sequences(&self) -> Result<Vec<Range<usize>>, TableError> {
        let whole = 0..self.len();
        let Some(group) = &self.reading.group else { return Ok(vec![whole]) };
        let column = self.column_named(group, "which tells sequences apart")?;
        let mut sequences: Vec<Range<usize>> = Vec::new();
        for row in whole {
            let same = row > 0 && self.records.cell(row, column) == self.records.cell(row - 1, column);
            match sequences.last_mut().filter(|_| same) {
                Some(last) => last.end = row + 1,
                None => sequences.push(row..row + 1),
            }
        }
        Ok(sequences)
    }

    /// The window of a model; `None` where whole sequences are meant.
    fn window<'g>(&self, graph: &'g Graph) -> Result<Option<Window<'g>>, TableError> {
        let refuse = |reason: String| TableError::Model { model: graph.name.clone(), reason };
        let mut names: Vec<&str> = Vec::new();
        // An axis of what is drawn alone comes from no input.
        let declared = graph.inputs.iter().flat_map(|spec| spec.ty.axes.without(BATCH).iter());
        let all = graph.axes.iter().skip(1).filter_map(|axis| graph.find_axis(&axis.name));
        for axis in declared.chain(all) {
            let name = graph.axis_name(axis);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let reading = self.reading;
        if reading.window.is_empty() {
            return match names.len() {
                1 => Ok(None),
                0 => Err(refuse("it has no axis along which rows could be steps".to_string())),
                _ => {
                    let each: Vec<String> = names.iter().map(|name| format!("{name}=N")).collect();
                    let axes = names.join("` and `");
                    Err(refuse(format!(
                        "it has the axes `{axes}`: say how many steps each has (--window {})",
                        each.join(",")
                    )))
                }
            };
        }
        let mut axes = Vec::new();
        for name in &names {
            let Some(steps) = reading.window(name, names.len()) else {
                return Err(refuse(format!("its axis `{name}` has no window (--window {name}=N)")));
            };
            axes.push((*name, steps));
        }
        let point = graph.inputs.iter().any(|spec| spec.ty.axes.without(BATCH).is_empty());
        let answer = if point { 1 } else { axes.last().map_or(0, |(_, steps)| *steps) };
        Ok(Some(Window { axes, point, answer }))
    }

    /// The examples that the rows make, and how many of them are to be trained on: the first.
    pub(super) fn windows(&self, graph: &Graph, want: Want) -> Result<(Layouts, usize), TableError> {
        let sequences = self.sequences()?;
        let mut layouts = Layouts::default();
        let Some(window) = self.window(graph)? else {
            let axis = graph.axis_name(crate::ir::AxisId(1));
            let mut training = 0;
            for rows in sequences {
                let cut = want.training.clamp(rows.start, rows.end);
                for part in [rows.start..cut, cut..rows.end] {
                    if !part.is_empty() {
                        training += usize::from(part.end <= want.training);
                        layouts.add(&[(axis, part.clone())], part.end - 1);
                    }
                }
            }
            return Ok((layouts, training));
        };
        if want.answers_may_be_missing {
            self.ends(graph, &window, &sequences, &mut layouts)?;
            let count = layouts.len();
            return Ok((layouts, count));
        }
        let steps = window.steps();
        let place = |layouts: &mut Layouts, start: usize| {
            let mut at = start;
            let mut spans = Vec::new();
            for (axis, steps) in &window.axes {
                spans.push((*axis, at..at + steps));
                at += steps;
            }
            layouts.add(&spans, at.min(start + steps - 1));
        };
        // All to train on come before all to measure by.
        for rows in &sequences {
            let end = rows.end.min(want.training);
            (rows.start..(end + 1).saturating_sub(steps)).for_each(|start| place(&mut layouts, start));
        }
        let training = layouts.len();
        for rows in &sequences {
            let first = (want.training + window.answer).saturating_sub(steps).max(rows.start);
            (first..(rows.end + 1).saturating_sub(steps)).for_each(|start| place(&mut layouts, start));
        }
        let longest = |rows: &Range<usize>| rows.len();
        let nothing =
            |part, longest| TableError::NoWindow { path: self.path().to_path_buf(), part, steps, longest };
        let longest = sequences.iter().map(longest).max().unwrap_or(0);
        if training == 0 && want.training > 0 {
            return Err(nothing("the training part", longest.min(want.training)));
        }
        if training == layouts.len() && want.training < self.len() {
            return Err(nothing("the held-out part", longest));
        }
        Ok((layouts, training))
    }

    /// One window a sequence, at its end: what is given is the last rows, what is to be predicted lies behind
    /// them.
    fn ends(
        &self,
        graph: &Graph,
        window: &Window,
        sequences: &[Range<usize>],
        layouts: &mut Layouts,
    ) -> Result<(), TableError> {
        let given = |name: &str| {
            let axis = graph.find_axis(name);
            axis.is_some_and(|axis| {
                graph.inputs.iter().any(|spec| !spec.observed && spec.ty.axes.contains(axis))
            })
        };
        let steps: usize = window.axes.iter().filter(|(axis, _)| given(axis)).map(|(_, steps)| steps).sum();
        for rows in sequences {
            let Some(mut at) = rows.end.checked_sub(steps).filter(|start| *start >= rows.start) else {
                let (path, part, longest) = (self.path().to_path_buf(), "it", rows.len());
                return Err(TableError::NoWindow { path, part, steps, longest });
            };
            let mut spans = Vec::new();
            for (axis, steps) in &window.axes {
                // Answers that are not there begin nowhere; their length is still that of the window.
                let start = if given(axis) { at } else { rows.end };
                spans.push((*axis, start..start + steps));
                at += if given(axis) { *steps } else { 0 };
            }
            layouts.add(&spans, rows.end - 1);
        }
        Ok(())
    }
}
