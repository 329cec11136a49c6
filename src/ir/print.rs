//! The graph as equations of the language, which parse back to an equal graph.
//!
//! A node gets an equation of its own if it has a name, more than one reader, a reader at another
//! position, or would be written too deep inside another; the rest is written where it is read. Dead
//! nodes are dropped; the order is the schedule's. Names are shortened to the last part of their path
//! where that says it all: `h.W_x` reads as `W_x`.
//!
//! What the outside knows by a second name comes last, as an equation that says so (`out = h[last]`). Only
//! the name of an application, which stands for one of its values (`enc` for `enc.h`), is left out.

mod notation;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use super::graph::{Graph, NodeId, Operand, OriginKind, Output, OutputKind};
use super::op::{Along, Op, Reduction};
use super::schedule::{Stage, schedule};
use super::types::{Access, AxisKind, AxisSet, BATCH};
pub use notation::position;
use notation::{SUM, number};

/// A graph in words: names of its nodes and the equation of each that has one.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Node and equation (`h[t] = tanh(z[t])`), in order.
    pub equations: Vec<(NodeId, String)>,
    /// Declarations of states that cycles need: `state h: [H] over t`.
    pub states: Vec<String>,
    /// Second names of values, as equations: `out = h[last]`.
    pub aliases: Vec<String>,
    names: HashMap<NodeId, String>,
}

impl Listing {
    /// The short name of a node that has an equation or is a leaf.
    pub fn name(&self, node: NodeId) -> Option<&str> {
        self.names.get(&node).map(String::as_str)
    }
}

/// The whole program as text that parses back.
pub fn print(graph: &Graph) -> String {
    let printer = Printer::new(graph);
    let listing = printer.list();
    let mut text = String::new();
    let dims: Vec<String> = graph.dims.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let _ = writeln!(text, "model {}({}) {{", graph.name, dims.join(", "));
    for input in &graph.inputs {
        let over = printer.over(input.ty.axes);
        let ty = printer.element(&input.ty);
        let _ = writeln!(text, "  input {}: {ty}{over}", input.name);
    }
    for param in &graph.params {
        let argument = param.init.1.map_or(String::new(), |value| format!("({})", number(value)));
        let frozen = if param.trainable { "" } else { ", frozen" };
        let init = match (param.init.0.as_str(), frozen) {
            (name, "") => format!("{name}{argument}"),
            (name, _) => format!("frozen({name}{argument})"),
        };
        let _ = writeln!(text, "  param {}: {} = {init}", param.name, printer.shape(&param.shape));
    }
    for state in &listing.states {
        let _ = writeln!(text, "  {state}");
    }
    for output in graph.outputs_of(OutputKind::Gradient) {
        let _ = writeln!(text, "  gradient {} of {}", printer.gradient_name(output.value.node), output.name);
    }
    for equation in listing.equations.iter().map(|(_, equation)| equation).chain(&listing.aliases) {
        let _ = writeln!(text, "  {equation}");
    }
    for output in &graph.outputs {
        let keyword = match output.kind {
            OutputKind::Loss => "loss",
            OutputKind::Metric => "metric",
            OutputKind::Update => {
                let _ =
                    writeln!(text, "  update {} = {}", output.name, printer.operand(output.value, 0, false));
                continue;
            }
            OutputKind::Value | OutputKind::Gradient | OutputKind::Carry => continue,
        };
        let _ = writeln!(text, "  {keyword} {} = {}", output.name, printer.loss(output.value));
    }
    text.push_str("}\n");
    text
}

/// Names and equations of the nodes that the outputs need.
pub fn listing(graph: &Graph) -> Listing {
    Printer::new(graph).list()
}

/// Operands as the equations of `graph` write them: a name where they have one, else what they are made of.
pub fn written(graph: &Graph, operands: &[Operand]) -> Vec<String> {
    let printer = Printer::new(graph);
    operands.iter().map(|&operand| printer.operand(operand, 0, false)).collect()
}

/// What the equation of a node with a name is made of, written without that name.
pub fn right_side(graph: &Graph, node: NodeId) -> String {
    Printer::new(graph).value(node, 0, false)
}

/// How many expressions stand inside one another at most: what is deeper gets a name.
const DEPTH: usize = 24;

struct Printer<'a> {
    graph: &'a Graph,
    order: Vec<NodeId>,
    /// Nodes with an equation.
    named: HashSet<NodeId>,
    names: HashMap<NodeId, String>,
    /// The whole paths of those that have one.
    paths: HashMap<NodeId, String>,
    /// Values read at another position inside their own cycle, and their start if every such read has it.
    states: BTreeMap<NodeId, Option<Operand>>,
    gradients: HashSet<NodeId>,
    /// The outputs that each node is.
    outputs: HashMap<NodeId, Vec<&'a Output>>,
    /// Name and value of what is only a second name of something.
    aliases: Vec<(String, Operand)>,
}

impl<'a> Printer<'a> {
    fn new(graph: &'a Graph) -> Printer<'a> {
        let mut printer = Printer {
            graph,
            order: Vec::new(),
            named: HashSet::new(),
            names: HashMap::new(),
            paths: HashMap::new(),
            states: BTreeMap::new(),
            gradients: graph.outputs_of(OutputKind::Gradient).map(|output| output.value.node).collect(),
            outputs: HashMap::new(),
            aliases: Vec::new(),
        };
        for output in &graph.outputs {
            printer.outputs.entry(output.value.node).or_default().push(output);
        }
        let mut live = live(graph);
        printer.find_aliases(&mut live);
        // An unschedulable graph is still printed, in the order of its making.
        let stages = schedule(graph).unwrap_or_else(|_| graph.ids().into_iter().map(Stage::Flat).collect());
        for stage in stages {
            match stage {
                Stage::Flat(node) if live.contains(&node) => printer.order.push(node),
                Stage::Flat(_) => {}
                Stage::Loop { nodes, .. } => {
                    printer.find_states(&nodes);
                    printer.order.extend(nodes.into_iter().filter(|node| live.contains(node)));
                }
            }
        }
        printer.find_starts(&live);
        printer.choose(&live);
        printer.christen();
        printer
    }

    /// Outputs that repeat a value: a leaf, a value at another position, or one that has a name of its own.
    fn find_aliases(&mut self, live: &mut HashSet<NodeId>) {
        let graph = self.graph;
        let mut given: HashMap<NodeId, &str> = HashMap::new();
        for output in graph.outputs_of(OutputKind::Value) {
            let Operand { node, access } = output.value;
            let name = output.name.as_str();
            let ordinary = access == Access::Here && !is_leaf(graph.op(node));
            if ordinary && self.is_alias_node(node, live) {
                live.remove(&node);
                self.aliases.push((name.to_string(), graph.operands(node)[0]));
                continue;
            }
            let own = graph.node(node).name.as_deref();
            let known = if ordinary { *given.entry(node).or_insert(own.unwrap_or(name)) } else { "" };
            let is_application = known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            if known != name && !is_application {
                self.aliases.push((name.to_string(), output.value));
            }
        }
        let given: HashSet<&str> = given.into_values().collect();
        self.aliases.retain(|(name, _)| !given.contains(name.as_str()));
        let mut constants: Vec<(NodeId, String)> = Vec::new();
        let mut taken: HashSet<String> =
            graph.ids().iter().filter_map(|&node| graph.node(node).name.clone()).collect();
        taken.extend(graph.params.iter().map(|param| param.name.clone()));
        taken.extend(graph.outputs_of(OutputKind::Value).map(|output| output.name.clone()));
        for output in graph.outputs_of(OutputKind::Gradient) {
            let Operand { node, .. } = output.value;
            let known = || self.aliases.iter().any(|(_, operand)| *operand == node.into());
            if is_leaf(graph.op(node)) && !known() && constants.iter().all(|(made, _)| *made != node) {
                let (path, last) = output.name.rsplit_once('.').unwrap_or(("", &output.name));
                let dot = if path.is_empty() { "" } else { "." };
                let mut name = format!("{path}{dot}d{last}");
                while !taken.insert(name.clone()) {
                    name.push('_');
                }
                constants.push((node, name));
            }
        }
        for (node, name) in constants {
            self.aliases.push((name, node.into()));
        }
    }

    /// A copy that nobody reads and that adds nothing.
    fn is_alias_node(&self, node: NodeId, live: &HashSet<NodeId>) -> bool {
        let graph = self.graph;
        *graph.op(node) == Op::Copy
            && !graph.users(node).iter().any(|(user, _, _)| live.contains(user))
            && !self.gradients.contains(&node)
            && self.outputs_of(node).len() == 1
            && graph.operands(node).first().is_some_and(|&x| graph.type_at(x) == *graph.ty(node))
    }

    fn outputs_of(&self, node: NodeId) -> &[&'a Output] {
        self.outputs.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Nodes that have a second name at another position, and those that have one at all.
    fn aliased(&self) -> (HashSet<NodeId>, HashSet<NodeId>) {
        let moved = self.aliases.iter().filter(|(_, value)| value.access != Access::Here);
        let node = |(_, value): &(String, Operand)| value.node;
        (moved.map(node).collect(), self.aliases.iter().map(node).collect())
    }

    fn find_states(&mut self, cycle: &[NodeId]) {
        let members: HashSet<NodeId> = cycle.iter().copied().collect();
        for &node in cycle {
            for operand in self.graph.operands(node) {
                if members.contains(&operand.node) && operand.access != Access::Here {
                    self.states.insert(operand.node, None);
                }
            }
        }
    }

    /// A value whose every moved read goes through `Initially` with one start is declared with it.
    fn find_starts(&mut self, live: &HashSet<NodeId>) {
        let (aliased_elsewhere, _) = self.aliased();
        // An input or a parameter is declared as what it is; its start is written where it is read.
        for &node in self.order.iter().filter(|&&node| !is_leaf(self.graph.op(node))) {
            let mut start: Option<Operand> = None;
            let mut uniform = !aliased_elsewhere.contains(&node);
            for (user, index, access) in self.graph.users(node) {
                if !live.contains(&user) || access.direction().is_none() || access.is_total() {
                    continue;
                }
                let its = (*self.graph.op(user) == Op::Initially && index == 0)
                    .then(|| self.graph.operands(user)[1]);
                uniform &= its.is_some() && start.is_none_or(|known| Some(known) == its);
                start = start.or(its);
            }
            // Nothing and zero start alike, and a declared start is one for each example.
            let declarable = |start: Operand| {
                !matches!(self.graph.op(start.node), Op::Constant(value) if *value == 0.0)
                    && AxisSet::BATCH.covers(self.graph.type_at(start).axes)
            };
            if uniform && start.is_some_and(declarable) {
                self.states.insert(node, start);
            }
        }
    }

    fn choose(&mut self, live: &HashSet<NodeId>) {
        let graph = self.graph;
        let mut depths: HashMap<NodeId, usize> = HashMap::new();
        let (aliased_elsewhere, aliased) = self.aliased();
        for &node in &self.order {
            if is_leaf(graph.op(node)) {
                continue;
            }
            let inner =
                graph.operands(node).iter().filter_map(|x| depths.get(&x.node)).max().copied().unwrap_or(0);
            // A product that is summed over positions is written as two.
            let own = match graph.op(node) {
                Op::Contract(contract) if !contract.over.is_empty() => 2,
                _ => 1,
            };
            depths.insert(node, inner + own);
            let users: Vec<_> =
                graph.users(node).into_iter().filter(|(user, _, _)| live.contains(user)).collect();
            let moved = users.iter().any(|(_, _, access)| *access != Access::Here);
            let outputs = self.outputs_of(node);
            let repeated = aliased.contains(&node);
            let moved = moved || aliased_elsewhere.contains(&node);
            let offered = outputs.iter().any(|output| match output.kind {
                OutputKind::Loss | OutputKind::Metric | OutputKind::Update => {
                    output.value.access != Access::Here
                }
                OutputKind::Value | OutputKind::Gradient | OutputKind::Carry => true,
            });
            let spread = self.is_spread(node);
            let random = matches!(graph.op(node), Op::Random(_));
            let has_name = graph.node(node).name.is_some();
            let inlined = (*graph.op(node) == Op::Initially || is_lookup(graph, node) && !has_name)
                && !offered
                && !moved;
            let several = users.len() + outputs.len() > 1;
            if (has_name
                || several
                || moved
                || offered
                || spread
                || random
                || repeated
                || inner + own > DEPTH
                || self.states.contains_key(&node))
                && (!inlined || repeated)
            {
                self.named.insert(node);
                depths.remove(&node);
            }
        }
    }

    /// A copy along more axes than what it copies.
    fn is_spread(&self, node: NodeId) -> bool {
        let graph = self.graph;
        *graph.op(node) == Op::Copy
            && graph.operands(node).first().is_some_and(|&x| graph.type_at(x).axes != graph.ty(node).axes)
    }

    /// Gives every named node and leaf its short name.
    fn christen(&mut self) {
        let graph = self.graph;
        let mut paths: Vec<(NodeId, String)> = Vec::new();
        for &node in &self.order {
            let path = match graph.op(node) {
                Op::Param(name) | Op::Input(name) => Some(name.clone()),
                _ if self.named.contains(&node) => {
                    let offered = || {
                        let value = |output: &&&Output| {
                            output.kind == OutputKind::Value && output.value == node.into()
                        };
                        self.outputs_of(node).iter().find(value).map(|output| output.name.clone())
                    };
                    graph.node(node).name.clone().or_else(offered)
                }
                _ => None,
            };
            paths.extend(path.map(|path| (node, path)));
        }
        let mut count: HashMap<String, usize> = HashMap::new();
        let reserved = graph.dims.iter().map(|(name, _)| name.as_str());
        let axes = graph.axes.iter().map(|axis| axis.name.as_str());
        let declared =
            graph.params.iter().map(|p| p.name.as_str()).chain(graph.inputs.iter().map(|i| i.name.as_str()));
        let shown: HashSet<&str> = paths.iter().map(|(_, path)| path.as_str()).collect();
        for name in reserved.chain(axes) {
            *count.entry(name.to_string()).or_default() += 1;
        }
        for path in declared.filter(|path| !shown.contains(path)) {
            *count.entry(last_part(path).to_string()).or_default() += 1;
        }
        for path in paths.iter().map(|(_, path)| path).chain(self.aliases.iter().map(|(name, _)| name)) {
            *count.entry(last_part(path).to_string()).or_default() += 1;
        }
        let trees = graph.axes.iter().any(|axis| axis.kind == AxisKind::Tree);
        let of_trees: &[&str] = if trees { OF_TREES } else { &[] };
        for word in RESERVED.iter().chain(of_trees) {
            *count.entry((*word).to_string()).or_default() += 1;
        }
        let mut taken: HashSet<String> = count.keys().cloned().collect();
        let mut used: HashSet<String> = self.aliases.iter().map(|(name, _)| name.clone()).collect();
        // By path: how many have it already.
        let mut repeats: HashMap<String, usize> = HashMap::new();
        for (node, path) in paths {
            let short = last_part(&path);
            let mut name = if count[short] == 1 { short.to_string() } else { path.clone() };
            let again = repeats.entry(path.clone()).or_default();
            while used.contains(&name) {
                *again += 1;
                name = format!("{path}_{again}");
            }
            taken.insert(name.clone());
            used.insert(name.clone());
            self.names.insert(node, name);
            self.paths.insert(node, path);
        }
        // By name: how many have it already, with a number behind.
        let mut numbers: HashMap<String, usize> = HashMap::new();
        for &node in &self.order {
            if self.named.contains(&node) && !self.names.contains_key(&node) {
                let base = base_name(graph, node);
                let mut name = base.clone();
                let again = numbers.entry(base.clone()).or_default();
                while taken.contains(&name) {
                    *again += 1;
                    name = format!("{base}{again}");
                }
                taken.insert(name.clone());
                self.names.insert(node, name);
            }
        }
    }

    fn list(&self) -> Listing {
        let mut listing = Listing { names: self.names.clone(), ..Listing::default() };
        for &node in &self.order {
            if let Some(start) = self.states.get(&node) {
                let ty = self.graph.ty(node);
                let start =
                    start.map_or(String::new(), |start| format!(" = {}", self.operand(start, SUM, false)));
                listing.states.push(format!(
                    "state {}: {}{}{start}",
                    self.full_name(node),
                    self.element(ty),
                    self.over(ty.axes)
                ));
            }
            if self.named.contains(&node) {
                let index = match self.graph.ty(node).axes {
                    // Only the left side says that a value is repeated for each example.
                    AxisSet::BATCH if self.is_spread(node) => "[batch]".to_string(),
                    axes => self.index(axes, Access::Here),
                };
                let name = if self.gradients.contains(&node) {
                    self.gradient_name(node)
                } else {
                    self.full_name(node)
                };
                let value = self.value(node, 0, self.gradients.contains(&node));
                listing.equations.push((node, format!("{name}{index} = {value}")));
            }
        }
        for (name, value) in &self.aliases {
            let index = self.index(self.graph.type_at(*value).axes, Access::Here);
            listing.aliases.push(format!("{name}{index} = {}", self.operand(*value, 0, false)));
        }
        listing
    }

    fn gradient_name(&self, node: NodeId) -> String {
        let alias = || self.aliases.iter().find(|(_, value)| *value == node.into()).map(|(name, _)| name);
        let own = self.names.get(&node).filter(|_| !is_leaf(self.graph.op(node)));
        own.or_else(alias).cloned().unwrap_or_default()
    }

    /// The name an equation defines: the whole path, since others may ask for it by that.
    fn full_name(&self, node: NodeId) -> String {
        let short = self.names.get(&node).cloned().unwrap_or_default();
        self.paths.get(&node).filter(|path| last_part(path) == short).cloned().unwrap_or(short)
    }

    /// A loss or metric is the mean over whatever axes its value has: that mean is not written.
    fn loss(&self, value: Operand) -> String {
        if value.access == Access::Here
            && !self.named.contains(&value.node)
            && let Op::Reduce(Reduction::Mean, Along::Axes(over)) = self.graph.op(value.node)
        {
            let of = self.graph.operands(value.node)[0];
            if over.contains(BATCH) && self.graph.type_at(of).axes == *over {
                return self.operand(of, 0, false);
            }
        }
        self.operand(value, 0, false)
    }
}

/// Nodes that some output needs.
pub fn live(graph: &Graph) -> HashSet<NodeId> {
    let mut found: HashSet<NodeId> = HashSet::new();
    let mut stack: Vec<NodeId> = graph.outputs.iter().map(|output| output.value.node).collect();
    while let Some(node) = stack.pop() {
        if found.insert(node) {
            stack.extend(graph.operands(node).iter().map(|operand| operand.node));
        }
    }
    found
}

/// `embed[words[t]]`, `onehot(words[t], V)`: as short as a name, so written wherever it is read.
fn is_lookup(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op(node), Op::Gather | Op::OneHot(_))
        && graph.operands(node).iter().all(|operand| is_leaf(graph.op(operand.node)))
}

fn is_leaf(op: &Op) -> bool {
    matches!(
        op,
        Op::Input(_)
            | Op::Param(_)
            | Op::Constant(_)
            | Op::Position(_)
            | Op::Length(_)
            | Op::Count(_)
            | Op::Setting(_)
            | Op::NoId
    )
}

/// Words that mean something where a name may stand.
const RESERVED: &[&str] = &["first", "last", "batch", "inf", "nan", "pi", "zeros", "ones", "backward", "T"];

/// Words that do so in programs with trees.
const OF_TREES: &[&str] = &["root", "left", "right", "child", "parent", "leaf"];

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The textbook's letters for values nobody named: `y` for logits, `z` for the rest, `d` before both.
fn base_name(graph: &Graph, node: NodeId) -> String {
    let plain = |node: NodeId| {
        let normalised = |op: &Op| matches!(op, Op::LogSumExp | Op::Softmax(Along::Last));
        let logits =
            graph.contains(node) && graph.users(node).iter().any(|(user, _, _)| normalised(graph.op(*user)));
        if logits { "y" } else { "z" }
    };
    match graph.node(node).origin.kind {
        OriginKind::Forward => plain(node).into(),
        OriginKind::Adjoint(of) => format!("d{}", own_name(graph, of).unwrap_or_else(|| plain(of))),
        OriginKind::Tangent(of) => format!("{}_dot", own_name(graph, of).unwrap_or_else(|| plain(of))),
    }
}

fn own_name(graph: &Graph, node: NodeId) -> Option<&str> {
    graph.contains(node).then(|| graph.node(node).name.as_deref().map(last_part)).flatten()
}
