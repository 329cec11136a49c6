//! A model chosen, the example it is looked at with, and its values on that, remembered until something changes.
//!
//! The graph that is run is the one of the gradient, tidied, with every named value kept: what a trace shows
//! and `M.h` reads is what the compiler starts from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::clauses::{Clauses, clauses, commas, count};
use super::datum::{Datum, Extent};
use super::definitions::{Sort, nearest};
use super::{Done, Failure, STEPS, Session, of_session, words};
use crate::check::{Checked, Mode};
use crate::driver::example::{Example, parameters};
use crate::driver::optimise;
use crate::driver::session::Model;
use crate::eval::{Feeds, Program, Values};
use crate::grad::{GradError, grad};
use crate::ir::{Element, Graph, Listing, NodeId, Op, Output, OutputKind, Tree, listing};
use crate::opt::TIDY;

/// Positions along an axis that an example may be asked to have.
pub(super) const MOST_STEPS: usize = 100_000;
/// Numbers that the values of one program may be together.
const LARGEST: usize = 1 << 27;
/// The words of an example in a command.
pub(super) const DATA: [&str; 5] = ["with", "from", "line", "random", "steps"];

/// A model's values on an example.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub model: String,
    pub example: Example,
    /// The example in words.
    pub what: String,
    /// Forward, and backward if there is a loss.
    pub graph: Arc<Graph>,
    pub listing: Arc<Listing>,
    pub values: Arc<Values>,
}

impl Watched {
    /// The node of a name: one that the listing uses, or a whole path.
    pub fn node(&self, name: &str) -> Option<NodeId> {
        let graph = &self.graph;
        let path = |node: &NodeId| match graph.op(*node) {
            Op::Param(path) | Op::Input(path) => path == name,
            _ => graph.node(*node).name.as_deref() == Some(name),
        };
        let listed = |node: &NodeId| self.listing.name(*node) == Some(name);
        let ids = graph.ids();
        ids.iter().find(|node| listed(node)).or_else(|| ids.iter().find(|node| path(node))).copied()
    }

    /// The tree of an axis.
    pub fn tree(&self, axis: &str) -> Option<Tree> {
        self.example.trees.get(axis).cloned()
    }

    /// The value of a name.
    pub fn value(&self, name: &str) -> Option<Datum> {
        self.datum(self.node(name)?)
    }

    /// All of a node's values.
    pub fn datum(&self, node: NodeId) -> Option<Datum> {
        Datum::of(&self.graph, &self.values, node.into(), |axis| self.tree(axis))
    }

    /// Everything that has a name.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.graph.ids().into_iter().filter_map(|node| self.listing.name(node)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Session {
    /// The model of this name, or the only one, or the one last looked at; it becomes the current one.
    pub(super) fn choose(&mut self, name: &str) -> Result<Model, Failure> {
        let name = self.model_name(name)?;
        let model = self.model(&name);
        self.current = Some(name);
        Ok(model)
    }

    pub(super) fn model_name(&self, name: &str) -> Result<String, Failure> {
        let known: Vec<&str> = self.definitions.names(Sort::Model).collect();
        match (name.trim(), &self.current, &known[..]) {
            ("", Some(current), _) if known.contains(&current.as_str()) => Ok(current.clone()),
            ("", _, [only]) => Ok((*only).to_string()),
            ("", _, []) => Err(Failure::new("there is no model: write one, or `:load` a file")),
            ("", _, several) => Err(Failure::new(format!("which model? There are {}", several.join(", ")))),
            (name, _, _) if known.contains(&name) => Ok(name.to_string()),
            (name, _, _) => {
                if let Some(item) = self.definitions.get(name) {
                    let sort = if item.sort == Sort::Cell { "cell" } else { "function" };
                    return Err(Failure::new(format!("`{name}` is a {sort}, not a model")));
                }
                let near = nearest(name, known.iter().copied());
                let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
                let all = match known.is_empty() {
                    true => " (there is none: write one, or `:load` a file)".to_string(),
                    false => format!(" (there are {})", known.join(", ")),
                };
                Err(Failure::new(format!("there is no model `{name}`{near}{all}")))
            }
        }
    }

    /// A model with the dimensions that `:set` binds.
    pub(super) fn model(&self, name: &str) -> Model {
        let mut model = Model::new(self.definitions.place(), self.definitions.source());
        model.choice = Some(name.to_string());
        if let Ok(file) = crate::syntax::parse(&model.source) {
            for item in &file.items {
                if let crate::syntax::ast::Item::Model(block) = item
                    && block.name.text == name
                {
                    let has = |dim: &str| block.dims.iter().any(|own| own.name.text == dim);
                    model.set = self.dims.iter().filter(|(dim, _)| has(dim)).cloned().collect();
                }
            }
        }
        model
    }

    /// A model's equations in training.
    pub(super) fn checked(&self, model: &Model) -> Result<Checked, Failure> {
        model.check(Mode::Train).map_err(of_session)
    }

    /// The weights a model has now.
    pub(super) fn weights_of(&self, graph: &Graph) -> BTreeMap<String, Vec<f64>> {
        let mut weights = parameters(graph, self.seed);
        if let Some(own) = self.weights.get(&graph.name) {
            for (name, values) in own {
                if let Some(known) = weights.get_mut(name).filter(|known| known.len() == values.len()) {
                    known.clone_from(values);
                }
            }
        }
        weights
    }

    /// `:data`: also puts the model's values at hand.
    pub(super) fn data(&mut self, rest: &str) -> Done {
        let parts = clauses(rest, &DATA)?;
        let model = self.choose(&parts.head)?;
        let graph = self.checked(&model)?.graph;
        let (example, what) = self.example(&model, &graph, &parts, STEPS)?;
        let mut text = format!("{}: {what}\n", graph.name);
        for spec in &graph.inputs {
            let data = example.inputs.get(&spec.name);
            let numbers: Vec<f64> = match data {
                Some(crate::eval::InputData::Real(all)) => all.concat(),
                Some(crate::eval::InputData::Ids(all)) => {
                    all.concat().iter().map(|id| id.map_or(-1.0, f64::from)).collect()
                }
                None => Vec::new(),
            };
            let ty = words::type_in(&graph, &spec.ty);
            text += &format!("  {}: {ty} = {}\n", spec.name, words::short(&numbers, &[numbers.len()]));
        }
        self.watched = Some(self.computed(&graph, example, what)?);
        Ok(text)
    }

    /// The example of a command: what it says, or what was said before, or a random one of `steps` positions.
    pub(super) fn example(
        &mut self,
        model: &Model,
        graph: &Graph,
        parts: &Clauses,
        steps: usize,
    ) -> Result<(Example, String), Failure> {
        let found = self.found(model, graph, parts, steps)?;
        room(graph, &found.0.feeds(BTreeMap::new(), 0))?;
        if ["with", "from", "random", "steps"].iter().any(|word| parts.has(word)) {
            self.examples.insert(graph.name.clone(), found.clone());
            self.changed();
        }
        Ok(found)
    }

    fn found(
        &self,
        model: &Model,
        graph: &Graph,
        parts: &Clauses,
        steps: usize,
    ) -> Result<(Example, String), Failure> {
        let wanted = parts.count("steps", MOST_STEPS)?;
        if let Some(rest) = parts.get("random").filter(|rest| !rest.is_empty()) {
            return Err(Failure::new(format!("`random` takes nothing, not `{rest}`")));
        }
        if let Some(given) = parts.get("with") {
            return self.given(graph, given, wanted.unwrap_or(steps));
        }
        if let Some(path) = parts.file("from")? {
            let line = parts.count("line", usize::MAX)?.unwrap_or(1);
            let (example, unit) = self.example_in(model, graph, &path, line)?;
            return Ok((example, format!("{unit} {line} of {}", path.display())));
        }
        let kept = self.examples.get(&graph.name).filter(|(known, _)| fits(graph, known));
        if let Some(known) = kept
            && !parts.has("random")
            && wanted.is_none()
        {
            return Ok(known.clone());
        }
        let steps = wanted.unwrap_or(steps);
        let words = format!("a random example, {steps} positions an axis, seed {}", self.seed);
        // Before it is drawn: what is drawn is as large.
        room(graph, &Example::shape(graph, steps).feeds(BTreeMap::new(), 0))?;
        Ok((Example::random(graph, steps, self.seed), words))
    }

    /// `with x = seq(1, 2), y = 3`: inputs that are not given are random.
    fn given(&self, graph: &Graph, text: &str, steps: usize) -> Result<(Example, String), Failure> {
        let mut example = Example::shape(graph, steps);
        for part in commas(text) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(Failure::new(format!("`with` takes `input = value`, not `{part}`")));
            };
            let name = name.trim();
            let Some(spec) = graph.inputs.iter().find(|spec| spec.name == name) else {
                let names = graph.inputs.iter().map(|spec| spec.name.as_str());
                let near = nearest(name, names.clone());
                let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
                let all = names.collect::<Vec<_>>().join(", ");
                return Err(Failure::new(format!(
                    "`{}` has no input `{name}`{near} (it has {all})",
                    graph.name
                )));
            };
            let mut datum = self.value_of(value)?;
            let axes: Vec<_> = spec.ty.axes.without(crate::ir::BATCH).iter().collect();
            // A sentence is given as a vector of numbers, too.
            if datum.along.is_empty() && axes.len() == 1 && datum.shape.len() == 1 + spec.ty.shape.len() {
                let count = datum.shape.remove(0);
                datum.along.push((String::new(), Extent::Steps(count)));
            }
            let expected = words::type_in(graph, &spec.ty);
            let wrong = || {
                Failure::new(format!(
                    "input `{name}` is {expected}, but {} was given",
                    words::type_of(&datum)
                ))
            };
            let ids = matches!(spec.ty.element, Element::Id(_));
            if axes.len() != datum.along.len() || (!ids && spec.ty.shape != datum.shape) {
                return Err(wrong());
            }
            for (&axis, (_, extent)) in axes.iter().zip(&datum.along) {
                let own = graph.axis_name(axis).to_string();
                let root = own.split('.').next().unwrap_or("").to_string();
                match (graph.axis_kind(axis), extent) {
                    (crate::ir::AxisKind::Time, Extent::Steps(count)) => {
                        example.lengths.insert(own, *count);
                    }
                    (crate::ir::AxisKind::Tree, Extent::Nodes(tree))
                    | (crate::ir::AxisKind::Leaves(_), Extent::Leaves(tree)) => {
                        example.trees.insert(root, tree.clone());
                    }
                    _ => return Err(wrong()),
                }
            }
            example.inputs.insert(name.to_string(), datum.input(spec.ty.element)?);
        }
        // Two inputs on one axis are equally long.
        for spec in &graph.inputs {
            if let Some(data) = example.inputs.get(&spec.name) {
                let found = match data {
                    crate::eval::InputData::Real(all) => all.concat().len(),
                    crate::eval::InputData::Ids(all) => all.concat().len(),
                };
                let expected = example.positions(graph, spec.ty.axes) * spec.ty.size();
                if found != expected {
                    return Err(Failure::new(format!(
                        "input `{}` has {} positions, but another input on its axis has {}",
                        spec.name,
                        found / spec.ty.size().max(1),
                        expected / spec.ty.size().max(1)
                    )));
                }
            }
        }
        room(graph, &example.feeds(BTreeMap::new(), 0))?;
        Ok((example.filled(graph, self.seed), text.trim().to_string()))
    }

    /// A model's values on its example.
    pub(super) fn watched(&mut self, parts: &Clauses, steps: usize) -> Result<Watched, Failure> {
        let model = self.choose(&parts.head)?;
        let graph = self.checked(&model)?.graph;
        let (example, what) = self.example(&model, &graph, parts, steps)?;
        if let Some(known) = &self.watched
            && known.model == graph.name
            && known.example == example
        {
            return Ok(known.clone());
        }
        let watched = self.computed(&graph, example, what)?;
        self.watched = Some(watched.clone());
        Ok(watched)
    }

    fn computed(&self, checked: &Graph, example: Example, what: String) -> Result<Watched, Failure> {
        let graph = everything(checked)?;
        let feeds = example.feeds(self.weights_of(checked), self.seed);
        let values = Program::new(&graph)?.until(self.stop()).run(&feeds)?;
        let listing = listing(&graph);
        Ok(Watched {
            model: checked.name.clone(),
            example,
            what,
            graph: Arc::new(graph),
            listing: Arc::new(listing),
            values: Arc::new(values),
        })
    }

    /// `M.name` in an expression.
    pub(super) fn value_in(&self, model: &str, name: &str) -> Result<Datum, Failure> {
        let known = self.watched.as_ref().filter(|watched| watched.model == model).cloned();
        let watched = match known {
            Some(watched) => watched,
            None => {
                let graph = self.checked(&self.model(model))?.graph;
                let kept = self.examples.get(model).filter(|(known, _)| fits(&graph, known)).cloned();
                let (example, what) = kept.unwrap_or_else(|| {
                    (Example::random(&graph, STEPS, self.seed), "a random example".to_string())
                });
                self.computed(&graph, example, what)?
            }
        };
        match watched.node(name) {
            Some(node) => {
                watched.datum(node).ok_or_else(|| Failure::new(format!("`{model}.{name}` has no value")))
            }
            None => {
                let names = watched.names();
                let near = nearest(name, names.iter().copied());
                let near = near.map_or(String::new(), |near| format!(": did you mean `{model}.{near}`?"));
                Err(Failure::new(format!(
                    "model `{model}` has no value `{name}`{near} (it has {})",
                    names.join(", ")
                )))
            }
        }
    }

    /// How many positions an example of `N` steps has: kept where people look.
    pub(super) fn steps(&self, parts: &Clauses, default: usize) -> Result<usize, Failure> {
        Ok(parts.get("steps").map(|text| count(text, "steps", MOST_STEPS)).transpose()?.unwrap_or(default))
    }
}

/// That the values of a graph fit in memory, and can be computed while somebody waits.
pub(super) fn room(graph: &Graph, feeds: &Feeds) -> Result<(), Failure> {
    let lengths = feeds.lengths.iter().map(|(axis, all)| (axis.clone(), all.first().copied().unwrap_or(0)));
    let trees = feeds.trees.iter().filter_map(|(axis, all)| Some((axis.clone(), all.first()?.clone())));
    let shape = Example { lengths: lengths.collect(), trees: trees.collect(), ..Example::default() };
    let mut total = 0usize;
    for node in graph.ids() {
        let ty = graph.ty(node);
        // Positions of two long axes may be more than a number holds.
        let axes = ty.axes.iter().map(|axis| shape.positions(graph, crate::ir::AxisSet::one(axis)));
        let size =
            axes.chain(ty.shape.iter().copied()).try_fold(1usize, |product, size| product.checked_mul(size));
        total = size.and_then(|size| total.checked_add(size)).filter(|total| *total <= LARGEST).ok_or_else(
            || {
                Failure::new(format!(
                    "this is too large to look at: its values are more than {} numbers",
                    crate::driver::summary::thousands(LARGEST)
                ))
            },
        )?;
    }
    Ok(())
}

/// Whether an example has what a model reads.
fn fits(graph: &Graph, example: &Example) -> bool {
    graph.inputs.iter().all(|spec| {
        let expected = example.positions(graph, spec.ty.axes) * spec.ty.size();
        match (example.inputs.get(&spec.name), spec.ty.element) {
            (Some(crate::eval::InputData::Real(all)), Element::Real) => all.concat().len() == expected,
            (Some(crate::eval::InputData::Ids(all)), Element::Id(range)) => {
                let ids = all.concat();
                ids.len() == expected && ids.iter().all(|id| id.is_none_or(|id| (id as usize) < range))
            }
            _ => false,
        }
    })
}

/// A program with its gradient, tidied, of which every named value stays.
pub(super) fn everything(checked: &Graph) -> Result<Graph, Failure> {
    let names: Vec<String> = checked.params.iter().map(|param| param.name.clone()).collect();
    let mut graph = match grad(checked, &names) {
        Ok(graph) => graph,
        Err(GradError::NoLoss) => checked.clone(),
        Err(error) => return Err(error.into()),
    };
    let known: Vec<_> = graph.outputs.iter().map(|output| output.value.node).collect();
    for node in graph.ids() {
        if let Some(name) = graph.node(node).name.clone()
            && !known.contains(&node)
            && !matches!(graph.op(node), Op::Param(_) | Op::Input(_))
        {
            graph.outputs.push(Output { kind: OutputKind::Value, name, value: node.into() });
        }
    }
    optimise(&mut graph, TIDY)?;
    Ok(graph)
}
