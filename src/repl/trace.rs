//! `:trace`: a model run on an example, gone through step by step, forwards and then backwards.
//!
//! A moment is a position on an axis with the values that belong to it: of a sequence a step, of a tree a
//! node, children before their parent; adjoints come in the opposite order, parameters' gradients last.

use super::clauses::{clauses, commas, count};
use super::datum::Datum;
use super::definitions::nearest;
use super::models::{DATA, Watched};
use super::{Done, Failure, STEPS, Session, words};
use crate::ir::{AxisId, AxisKind, BATCH, Graph, NodeId, Op, OriginKind, OutputKind, Stage, schedule};

/// Moments shown by one command at most.
const MOST: usize = 200;

/// A run on the way.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    watched: Watched,
    moments: Vec<Moment>,
    at: usize,
}

/// A position and what is there.
#[derive(Clone, Debug)]
struct Moment {
    title: String,
    place: Option<(AxisId, usize)>,
    nodes: Vec<NodeId>,
}

/// Where a trace stops.
#[derive(Clone, Debug)]
pub(super) struct Break {
    name: String,
    condition: String,
}

impl Session {
    /// `:trace`
    pub(super) fn start_trace(&mut self, rest: &str) -> Done {
        let parts = clauses(rest, &DATA)?;
        let watched = self.watched(&parts, STEPS)?;
        let moments = moments(&watched)?;
        let mut text = format!("{} on {}: {} moments\n", watched.model, watched.what, moments.len());
        if let Some(fault) = self.fault(&watched)? {
            text += &fault;
        }
        let trace = Trace { watched, moments, at: 0 };
        self.trace = Some(trace);
        if self.breaks.is_empty() {
            return Ok(text + &self.moment(0)?);
        }
        match self.next_break(0)? {
            Some((at, why)) => {
                self.move_to(at);
                Ok(format!("{text}{why}{}", self.moment(at)?))
            }
            None => Ok(format!("{text}no break was met\n{}", self.moment(0)?)),
        }
    }

    /// `:step`
    pub(super) fn step(&mut self, rest: &str) -> Done {
        let by = if rest.trim().is_empty() { 1 } else { count(rest, "step", MOST)? };
        let (at, last) = self.place()?;
        if at == last {
            return Ok("this is the end of the trace (`:back` goes back)\n".to_string());
        }
        let to = (at + by).min(last);
        let mut text = String::new();
        for moment in at + 1..=to {
            text += &self.moment(moment)?;
        }
        self.move_to(to);
        Ok(text)
    }

    /// `:back`
    pub(super) fn back(&mut self, rest: &str) -> Done {
        let by = if rest.trim().is_empty() { 1 } else { count(rest, "back", MOST)? };
        let (at, _) = self.place()?;
        if at == 0 {
            return Ok("this is the beginning of the trace\n".to_string());
        }
        let to = at.saturating_sub(by);
        self.move_to(to);
        self.moment(to)
    }

    /// `:continue`
    pub(super) fn go_on(&mut self) -> Done {
        let (at, last) = self.place()?;
        match self.next_break(at + 1)? {
            Some((to, why)) => {
                self.move_to(to);
                Ok(why + &self.moment(to)?)
            }
            None => {
                self.move_to(last);
                Ok(format!("no further break was met\n{}", self.moment(last)?))
            }
        }
    }

    /// `:watch`
    pub(super) fn watch(&mut self, rest: &str) -> Done {
        let names: Vec<String> = commas(rest).into_iter().map(str::to_string).collect();
        if names.len() == 1 && names[0] == "all" {
            self.watches.clear();
        } else if !names.is_empty() {
            if let Some(trace) = &self.trace {
                for name in &names {
                    known(&trace.watched, name)?;
                }
            }
            self.watches = names;
        }
        Ok(match self.watches.is_empty() {
            true => "watching all values\n".to_string(),
            false => format!("watching {}\n", self.watches.join(", ")),
        })
    }

    /// `:break z when max(abs(z)) > 10`
    pub(super) fn set_break(&mut self, rest: &str) -> Done {
        let rest = rest.trim();
        if rest == "off" {
            self.breaks.clear();
        } else if !rest.is_empty() {
            let Some((name, condition)) = rest.split_once(" when ") else {
                return Err(Failure::new("a break is written `:break z when max(abs(z)) > 10`"));
            };
            let name = name.trim();
            let break_at = Break { name: name.to_string(), condition: condition.trim().to_string() };
            crate::syntax::parse_expression(&break_at.condition)
                .map_err(|found| self.mistakes(&break_at.condition, found))?;
            if let Some(trace) = self.trace.clone() {
                known(&trace.watched, name)?;
                self.condition(&trace.watched, &break_at)?;
            }
            self.breaks.push(break_at);
        }
        Ok(match self.breaks.is_empty() {
            true => "no break is set\n".to_string(),
            false => {
                let line = |entry: &Break| format!("break {} when {}\n", entry.name, entry.condition);
                self.breaks.iter().map(line).collect()
            }
        })
    }

    fn place(&self) -> Result<(usize, usize), Failure> {
        match &self.trace {
            Some(trace) => Ok((trace.at, trace.moments.len().saturating_sub(1))),
            None => Err(Failure::new("there is no trace: begin with `:trace M`")),
        }
    }

    fn move_to(&mut self, at: usize) {
        if let Some(trace) = &mut self.trace {
            trace.at = at;
        }
    }

    /// What is to be seen at a moment.
    fn moment(&self, at: usize) -> Done {
        let Some(trace) = &self.trace else { return self.place().map(|_| String::new()) };
        let Some(moment) = trace.moments.get(at) else { return Ok(String::new()) };
        let mut lines = Vec::new();
        for &node in &moment.nodes {
            let name = called(&trace.watched, node);
            let last = name.rsplit('.').next().unwrap_or(&name);
            if !self.watches.is_empty() && !self.watches.iter().any(|watch| *watch == name || watch == last) {
                continue;
            }
            let Some(datum) = trace.watched.datum(node) else { continue };
            let graph = &trace.watched.graph;
            let (index, datum) = match moment.place {
                Some((axis, position)) => {
                    let own = graph.axis_name(axis);
                    (format!("[{position}]"), datum.at(own, position))
                }
                None => (String::new(), datum),
            };
            lines.push((format!("{name}{index}"), brief(&datum)));
        }
        let width = lines.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
        let mut text = format!("-- {} ({} of {})\n", moment.title, at + 1, trace.moments.len());
        for (left, right) in lines {
            text += &format!("  {left:width$} = {right}\n");
        }
        Ok(text)
    }

    /// The next moment from `from` on where a break holds, and which.
    fn next_break(&self, from: usize) -> Result<Option<(usize, String)>, Failure> {
        let Some(trace) = &self.trace else { return Ok(None) };
        let mut best: Option<(usize, String)> = None;
        for entry in &self.breaks {
            let node = known(&trace.watched, &entry.name)?;
            let holds = self.condition(&trace.watched, entry)?;
            let hit = trace.moments.iter().enumerate().skip(from).find(|(_, moment)| {
                let here = match moment.place {
                    Some((axis, position)) => holds.clone().at(trace.watched.graph.axis_name(axis), position),
                    None => holds.clone(),
                };
                moment.nodes.contains(&node) && here.numbers().iter().any(|&number| number != 0.0)
            });
            if let Some((at, _)) = hit
                && best.as_ref().is_none_or(|(known, _)| at < *known)
            {
                best = Some((at, format!("break: {} when {}\n", entry.name, entry.condition)));
            }
        }
        Ok(best)
    }

    /// A break's condition at all positions.
    fn condition(&self, watched: &Watched, entry: &Break) -> Result<Datum, Failure> {
        let value = |name: &str| watched.node(name).and_then(|node| watched.datum(node));
        self.value_with(&entry.condition, &value)
    }
}

impl Datum {
    /// What there is at a position on an axis; all of it if it lacks the axis.
    fn at(self, axis: &str, position: usize) -> Datum {
        let Some(at) = self.along.iter().position(|(name, _)| name == axis) else { return self };
        let inner: usize =
            self.along[at + 1..].iter().map(|(_, extent)| extent.count()).product::<usize>() * self.size();
        let own = self.along[at].1.count();
        let outer: usize = self.along[..at].iter().map(|(_, extent)| extent.count()).product();
        let numbers = self.numbers();
        let mut kept = Vec::with_capacity(outer * inner);
        for block in 0..outer {
            let start = (block * own + position) * inner;
            kept.extend(numbers.get(start..start + inner).unwrap_or(&[]));
        }
        let mut along = self.along;
        along.remove(at);
        // Ids are shown as numbers from here on.
        Datum { shape: self.shape, element: self.element, along, elements: crate::eval::Elements::Real(kept) }
    }
}

/// A value in a line.
fn brief(datum: &Datum) -> String {
    let numbers = datum.numbers();
    if let crate::ir::Element::Id(_) = datum.element
        && numbers.len() == 1
    {
        return if numbers[0] < 0.0 { "none".to_string() } else { words::number(numbers[0]) };
    }
    let shape: Vec<usize> =
        datum.along.iter().map(|(_, extent)| extent.count()).chain(datum.shape.iter().copied()).collect();
    words::short(&numbers, &shape)
}

/// The node of a name, or what to say instead.
fn known(watched: &Watched, name: &str) -> Result<NodeId, Failure> {
    watched.node(name).ok_or_else(|| {
        let names = watched.names();
        let near = nearest(name, names.iter().copied());
        let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
        Failure::new(format!("`{}` has no value `{name}`{near} (it has {})", watched.model, names.join(", ")))
    })
}

/// What a node is called: a gradient by its parameter.
fn called(watched: &Watched, node: NodeId) -> String {
    let graph = &watched.graph;
    let loss = graph.outputs.iter().find(|output| {
        output.value.node == node && matches!(output.kind, OutputKind::Loss | OutputKind::Metric)
    });
    match (watched.listing.name(node), loss) {
        (Some(name), _) => name.to_string(),
        (None, Some(output)) if output.kind == OutputKind::Loss => format!("loss {}", output.name),
        (None, Some(output)) => format!("metric {}", output.name),
        (None, None) => "?".to_string(),
    }
}

/// The moments of a run in their order.
fn moments(watched: &Watched) -> Result<Vec<Moment>, Failure> {
    let graph = &*watched.graph;
    let mut forward: Vec<((AxisId, bool), Vec<NodeId>)> = Vec::new();
    let mut backward: Vec<((AxisId, bool), Vec<NodeId>)> = Vec::new();
    let (mut values, mut pooled, mut gradients) = (Vec::new(), Vec::new(), Vec::new());
    let mut place = |node: NodeId, descends: Option<(AxisId, bool)>| {
        let is_loss = graph.outputs.iter().any(|output| {
            output.value.node == node && matches!(output.kind, OutputKind::Loss | OutputKind::Metric)
        });
        let named = watched.listing.name(node).is_some() || is_loss;
        if !named || matches!(graph.op(node), Op::Param(_)) {
            return;
        }
        let adjoint = matches!(graph.node(node).origin.kind, OriginKind::Adjoint(_));
        let axis = descends.or_else(|| own_axis(graph, node).map(|axis| (axis, adjoint)));
        match (axis, adjoint) {
            (None, false) => values.push(node),
            (None, true) if graph.ty(node).axes.contains(BATCH) => pooled.push(node),
            (None, true) => gradients.push(node),
            (Some(key), _) => {
                let groups = if adjoint { &mut backward } else { &mut forward };
                match groups.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, nodes)) => nodes.push(node),
                    None => groups.push((key, vec![node])),
                }
            }
        }
    };
    for stage in schedule(graph)? {
        match stage {
            Stage::Flat(node) => place(node, None),
            Stage::Loop { axis, backward, nodes } => {
                nodes.into_iter().for_each(|node| place(node, Some((axis, backward))));
            }
        }
    }
    let mut found = Vec::new();
    let several = |title: &str, nodes: Vec<NodeId>| {
        (!nodes.is_empty()).then(|| Moment { title: title.to_string(), place: None, nodes })
    };
    for (groups, word) in [(forward, "forward"), (backward, "backward")] {
        if word == "backward" {
            found.extend(several("the whole example", std::mem::take(&mut values)));
            found.extend(several("backward", std::mem::take(&mut pooled)));
        }
        for ((axis, descends), nodes) in groups {
            let name = graph.axis_name(axis);
            let count = match graph.axis_kind(axis) {
                AxisKind::Tree => watched.tree(name).map_or(0, |tree| tree.len()),
                AxisKind::Leaves(tree) => {
                    watched.tree(graph.axis_name(tree)).map_or(0, |tree| tree.leaves().len())
                }
                _ => watched.example.lengths.get(name).copied().unwrap_or(0),
            };
            // Children have larger numbers than their parents.
            let descends = descends != (graph.axis_kind(axis) == AxisKind::Tree);
            for step in 0..count {
                let position = if descends { count - 1 - step } else { step };
                let leaf = match (graph.axis_kind(axis), watched.tree(name)) {
                    (AxisKind::Tree, Some(tree)) if position == 0 && !tree.is_empty() => ", the root",
                    (AxisKind::Tree, Some(tree)) if tree.arity(position) == 0 => ", a leaf",
                    _ => "",
                };
                found.push(Moment {
                    title: format!("{word}, {name} = {position}{leaf}"),
                    place: Some((axis, position)),
                    nodes: nodes.clone(),
                });
            }
        }
    }
    found.extend(several("gradients", gradients));
    Ok(found)
}

/// The axis along which a value is shown step by step: of several the last.
fn own_axis(graph: &Graph, node: NodeId) -> Option<AxisId> {
    let axes = graph.ty(node).axes.without(BATCH).iter();
    axes.filter(|&axis| !matches!(graph.axis_kind(axis), AxisKind::Children(_))).last()
}
