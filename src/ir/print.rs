//! The graph as equations of the language, which parse back to an equal graph.
//!
//! A node gets an equation of its own if it has a name, more than one reader, a reader at another
//! position, or would be written too deep inside another; the rest is written where it is read. Dead
//! nodes are dropped; the order is the schedule's. Names are shortened to the last part of their path
//! where that says it all: `h.W_x` reads as `W_x`.
//!
//! What the outside knows by a second name comes last, as an equation that says so (`out = h[last]`). Only
//! the name of an application, which stands for one of its values (`enc` for `enc.h`), is left out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use super::graph::{Graph, NodeId, Operand, OriginKind, OutputKind};
use super::op::{Along, Binary, Contract, Op, Reduction, Unary};
use super::schedule::{Stage, schedule};
use super::types::{Access, AxisId, AxisSet, BATCH, Element, ValueType};

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

/// How many expressions stand inside one another at most: what is deeper gets a name.
const DEPTH: usize = 24;

/// Binding strength of what was written, loosest first.
const COMPARE: u8 = 1;
const SUM: u8 = 2;
const PRODUCT: u8 = 3;
const MATMUL: u8 = 4;
const SIGN: u8 = 5;
const POWER: u8 = 6;
const ATOM: u8 = 7;

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
            aliases: Vec::new(),
        };
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
            if ordinary && self.is_alias_node(node) {
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
        self.aliases.retain(|(name, _)| !given.values().any(|known| known == name));
        let mut constants: Vec<(NodeId, String)> = Vec::new();
        let mut taken: HashSet<String> =
            graph.ids().iter().filter_map(|&node| graph.node(node).name.clone()).collect();
        taken.extend(graph.params.iter().map(|param| param.name.clone()));
        taken.extend(graph.outputs_of(OutputKind::Value).map(|output| output.name.clone()));
        for output in graph.outputs_of(OutputKind::Gradient) {
            let Operand { node, .. } = output.value;
            let known = self.aliases.iter().any(|(_, operand)| *operand == node.into());
            if is_leaf(graph.op(node)) && !known && constants.iter().all(|(made, _)| *made != node) {
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
    fn is_alias_node(&self, node: NodeId) -> bool {
        let graph = self.graph;
        *graph.op(node) == Op::Copy
            && graph.users(node).is_empty()
            && !self.gradients.contains(&node)
            && graph.outputs.iter().filter(|output| output.value.node == node).count() == 1
            && graph.operands(node).first().is_some_and(|&x| graph.type_at(x) == *graph.ty(node))
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
        // An input or a parameter is declared as what it is; its start is written where it is read.
        for &node in self.order.iter().filter(|&&node| !is_leaf(self.graph.op(node))) {
            let mut start: Option<Operand> = None;
            let mut uniform = !self.aliases.iter().any(|(_, x)| x.node == node && x.access != Access::Here);
            for (user, index, access) in self.graph.users(node) {
                if !live.contains(&user) || !matches!(access, Access::Delay { .. } | Access::Advance { .. }) {
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
            let outputs: Vec<_> = graph.outputs.iter().filter(|output| output.value.node == node).collect();
            let repeated = self.aliases.iter().any(|(_, operand)| operand.node == node);
            let moved = moved || self.aliases.iter().any(|(_, x)| x.node == node && x.access != Access::Here);
            let offered = outputs.iter().any(|output| match output.kind {
                OutputKind::Loss | OutputKind::Metric => output.value.access != Access::Here,
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
                        let value = |output: &&super::graph::Output| output.value == node.into();
                        graph.outputs_of(OutputKind::Value).find(value).map(|output| output.name.clone())
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
        for word in RESERVED {
            *count.entry((*word).to_string()).or_default() += 1;
        }
        let mut taken: HashSet<String> = count.keys().cloned().collect();
        let mut used: HashSet<String> = self.aliases.iter().map(|(name, _)| name.clone()).collect();
        for (node, path) in paths {
            let short = last_part(&path);
            let mut name = if count[short] == 1 { short.to_string() } else { path.clone() };
            let mut again = 1;
            while used.contains(&name) {
                name = format!("{path}_{again}");
                again += 1;
            }
            taken.insert(name.clone());
            used.insert(name.clone());
            self.names.insert(node, name);
            self.paths.insert(node, path);
        }
        for &node in &self.order {
            if self.named.contains(&node) && !self.names.contains_key(&node) {
                let base = base_name(graph, node);
                let mut name = base.clone();
                let mut again = 1;
                while taken.contains(&name) {
                    name = format!("{base}{again}");
                    again += 1;
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

    /// An operand as written by a reader that binds with `strength`.
    fn operand(&self, operand: Operand, strength: u8, outermost: bool) -> String {
        let Operand { node, access } = operand;
        if let Some(name) = self.names.get(&node) {
            return format!("{name}{}", self.index(self.graph.ty(node).axes, access));
        }
        if access == Access::Here {
            return self.value(node, strength, outermost);
        }
        format!("({}){}", self.value(node, 0, false), self.index(self.graph.ty(node).axes, access))
    }

    /// `[t]`, `[t-1]`, `[last]`, `[t, s.last]`; nothing for values without steps.
    fn index(&self, axes: AxisSet, access: Access) -> String {
        let steps: Vec<AxisId> = axes.without(BATCH).iter().collect();
        if steps.is_empty() {
            return String::new();
        }
        let single = steps.len() == 1;
        let entries: Vec<String> = steps
            .iter()
            .map(|&axis| {
                let name = self.graph.axis_name(axis);
                match access {
                    Access::Delay { axis: a, by } if a == axis => format!("{name}-{by}"),
                    Access::Advance { axis: a, by } if a == axis => format!("{name}+{by}"),
                    Access::First(a) if a == axis && single => "first".into(),
                    Access::Last(a) if a == axis && single => "last".into(),
                    Access::First(a) if a == axis => format!("{name}.first"),
                    Access::Last(a) if a == axis => format!("{name}.last"),
                    _ => name.to_string(),
                }
            })
            .collect();
        format!("[{}]", entries.join(", "))
    }

    fn over(&self, axes: AxisSet) -> String {
        let names: Vec<&str> = axes.without(BATCH).iter().map(|axis| self.graph.axis_name(axis)).collect();
        if names.is_empty() { String::new() } else { format!(" over {}", names.join(", ")) }
    }

    /// What a reduction runs over; in a gradient's equation the batch goes without saying.
    fn along(&self, over: AxisSet, outermost: bool) -> String {
        let silent = outermost && over.contains(BATCH) && over.len() > 1;
        let names: Vec<&str> = over
            .iter()
            .filter(|&axis| !(silent && axis == BATCH))
            .map(|axis| self.graph.axis_name(axis))
            .collect();
        names.join(", ")
    }

    /// A size in the model's dimensions: `H`, `4 * H`, `E + H`, or a number.
    fn dim(&self, size: usize) -> String {
        let dims = &self.graph.dims;
        if let Some((name, _)) = dims.iter().find(|(_, value)| *value == size && size > 1) {
            return name.clone();
        }
        let multiple = |most: usize| {
            let fits = |value: usize| {
                value > 2 && size > value && size.is_multiple_of(value) && size / value <= most
            };
            let (name, value) = dims.iter().rev().find(|(_, value)| fits(*value))?;
            Some(format!("{} * {name}", size / value))
        };
        let sum = || {
            let pairs =
                dims.iter().enumerate().flat_map(|(at, a)| dims[at + 1..].iter().map(move |b| (a, b)));
            let fits = |(a, b): &(&(String, usize), &(String, usize))| {
                a.1 > 2 && b.1 > 2 && a.1.checked_add(b.1) == Some(size)
            };
            pairs.into_iter().find(fits).map(|((a, _), (b, _))| format!("{a} + {b}"))
        };
        multiple(4).or_else(sum).or_else(|| multiple(8)).unwrap_or_else(|| size.to_string())
    }

    fn shape(&self, shape: &[usize]) -> String {
        let dims: Vec<String> = shape.iter().map(|&size| self.dim(size)).collect();
        format!("[{}]", dims.join(", "))
    }

    /// `[H, I]` or `id(V)`.
    fn element(&self, ty: &ValueType) -> String {
        match ty.element {
            Element::Real => self.shape(&ty.shape),
            Element::Id(n) => format!("id({})", self.dim(n)),
        }
    }

    fn dims(&self, shape: &[usize]) -> String {
        shape.iter().map(|&size| self.dim(size)).collect::<Vec<_>>().join(", ")
    }

    /// A node's value as an expression for a place that binds with `strength`.
    fn value(&self, node: NodeId, strength: u8, outermost: bool) -> String {
        let (text, own) = self.expression(node, outermost);
        if own < strength { format!("({text})") } else { text }
    }

    fn call(&self, name: &str, operands: &[Operand]) -> (String, u8) {
        let args: Vec<String> = operands.iter().map(|&x| self.operand(x, 0, false)).collect();
        (format!("{name}({})", args.join(", ")), ATOM)
    }

    fn expression(&self, node: NodeId, outermost: bool) -> (String, u8) {
        let graph = self.graph;
        let operands = graph.operands(node);
        match graph.op(node) {
            Op::Input(name) | Op::Param(name) => (name.clone(), ATOM),
            Op::Constant(value) => self.constant(*value, &graph.ty(node).shape),
            Op::Position(axis) => (graph.axis_name(*axis).to_string(), ATOM),
            Op::Length(axis) => (format!("length({})", graph.axis_name(*axis)), ATOM),
            Op::Count(axes) => {
                let steps = axes.without(BATCH);
                let over = if steps.is_empty() { *axes } else { steps };
                (format!("count({})", self.along(over, false)), ATOM)
            }
            Op::Setting(name) => (format!("setting({name})"), ATOM),
            Op::NoId => (format!("none({})", id_range(graph.ty(node).element)), ATOM),
            Op::Random(stream) => {
                let ValueType { shape, axes, .. } = graph.ty(node);
                let dims = shape.iter().map(|&size| format!(", {}", self.dim(size))).collect::<String>();
                let shared = if axes.contains(BATCH) { "" } else { ", shared = 1" };
                (format!("random({stream}{dims}{shared})"), ATOM)
            }
            Op::Unary(Unary::Negate) => (format!("-{}", self.operand(operands[0], SIGN, outermost)), SIGN),
            Op::Unary(unary) => self.call(unary.name(), &operands),
            Op::Binary(binary) => self.binary(*binary, &operands, outermost),
            Op::Select => self.call("where", &operands),
            Op::OneHot(size) => {
                (format!("onehot({}, {})", self.operand(operands[0], 0, false), self.dim(*size)), ATOM)
            }
            Op::Gather => {
                let table = self.operand(operands[0], ATOM, false);
                (format!("{table}[{}]", self.operand(operands[1], 0, false)), ATOM)
            }
            Op::ArgMax => self.call("argmax", &operands),
            Op::Slice { dim, .. } if graph.ty(operands[0].node).shape[*dim] == graph.ty(node).shape[*dim] => {
                self.same(operands[0], outermost)
            }
            Op::Slice { dim, start, len } => {
                let from = self.operand(operands[0], ATOM, false);
                let start_text = if *start == 0 { "0".into() } else { self.dim(*start) };
                let range = format!("{start_text}:{}", self.dim(start + len));
                (format!("{from}[{}{range}]", ":, ".repeat(*dim)), ATOM)
            }
            Op::Concat { dim: 0 } => {
                let parts: Vec<String> = operands.iter().map(|&x| self.operand(x, 0, false)).collect();
                (format!("[{}]", parts.join(", ")), ATOM)
            }
            Op::Concat { dim } => {
                let parts: Vec<String> = operands.iter().map(|&x| self.operand(x, 0, false)).collect();
                (format!("concat({}, dim = {dim})", parts.join(", ")), ATOM)
            }
            Op::Contract(contract) => self.contract(contract, &operands, outermost),
            Op::Reduce(reduction, along) => {
                let inner = self.operand(operands[0], 0, false);
                match along {
                    Along::Last => (format!("{}({inner})", reduction.name()), ATOM),
                    Along::Axes(over) => {
                        (format!("{}({inner} over {})", reduction.name(), self.along(*over, outermost)), ATOM)
                    }
                }
            }
            Op::Softmax(Along::Last) => self.call("softmax", &operands),
            Op::Softmax(Along::Axes(over)) => (
                format!("softmax({} over {})", self.operand(operands[0], 0, false), self.along(*over, false)),
                ATOM,
            ),
            Op::LogSumExp => self.call("logsumexp", &operands),
            Op::Initially => {
                let delayed = matches!(operands[0].access, Access::Delay { .. } | Access::Advance { .. });
                let start = self.states.get(&operands[0].node).copied().flatten();
                let declared = delayed && start == Some(operands[1]);
                if declared { self.same(operands[0], false) } else { self.call("initially", &operands) }
            }
            Op::Copy => self.same(operands[0], outermost),
            Op::Stop => self.call("stop", &operands),
        }
    }

    /// A value as it stands.
    fn same(&self, operand: Operand, outermost: bool) -> (String, u8) {
        if operand.access == Access::Here && !self.names.contains_key(&operand.node) {
            return self.expression(operand.node, outermost);
        }
        (self.operand(operand, ATOM, outermost), ATOM)
    }

    fn constant(&self, value: f64, shape: &[usize]) -> (String, u8) {
        if shape.is_empty() {
            return (number(value), if value < 0.0 { SIGN } else { ATOM });
        }
        let dims = self.dims(shape);
        let text = if value == 0.0 {
            format!("zeros({dims})")
        } else if value == 1.0 {
            format!("ones({dims})")
        } else {
            format!("fill({}, {dims})", number(value))
        };
        (text, ATOM)
    }

    fn binary(&self, binary: Binary, operands: &[Operand], outermost: bool) -> (String, u8) {
        let (symbol, own) = match binary {
            Binary::Add => (" + ", SUM),
            Binary::Subtract => (" - ", SUM),
            Binary::Multiply => (" * ", PRODUCT),
            Binary::Divide => (" / ", PRODUCT),
            Binary::Power => ("^", POWER),
            Binary::Equal => (" == ", COMPARE),
            Binary::NotEqual => (" != ", COMPARE),
            Binary::Less => (" < ", COMPARE),
            Binary::LessEqual => (" <= ", COMPARE),
            Binary::Greater => (" > ", COMPARE),
            Binary::GreaterEqual => (" >= ", COMPARE),
            Binary::Min => return self.call("min", operands),
            Binary::Max => return self.call("max", operands),
        };
        // Left to right, but for powers and comparisons, whose both sides must bind tighter.
        let left_strength = if matches!(own, COMPARE | POWER) { own + 1 } else { own };
        let left = self.operand(operands[0], left_strength, outermost);
        let right = self.operand(operands[1], own + 1, outermost);
        (format!("{left}{symbol}{right}"), own)
    }

    fn contract(&self, contract: &Contract, operands: &[Operand], outermost: bool) -> (String, u8) {
        let product = self.product(contract, operands);
        if contract.over.is_empty() {
            return product;
        }
        let name = if contract.mean { "mean" } else { "sum" };
        (format!("{name}({} over {})", product.0, self.along(contract.over, outermost)), ATOM)
    }

    fn product(&self, contract: &Contract, operands: &[Operand]) -> (String, u8) {
        let [a, b] = [operands[0], operands[1]];
        let matmul = |left_transposed: bool, right_transposed: bool| {
            let left = if left_transposed {
                format!("{}.T", self.operand(a, ATOM, false))
            } else {
                self.operand(a, MATMUL, false)
            };
            let right = if right_transposed {
                format!("{}.T", self.operand(b, ATOM, false))
            } else {
                self.operand(b, MATMUL + 1, false)
            };
            (format!("{left} @ {right}"), MATMUL)
        };
        let [left, right, out] = [&contract.left[..], &contract.right[..], &contract.out[..]];
        match (left, right, out) {
            ([i], [j], [k, l]) if (i, j) == (k, l) => self.call("outer", operands),
            ([i], [j], []) if i == j => self.call("dot", operands),
            ([i, j], [k], [l]) if j == k && i == l => matmul(false, false),
            ([i, j], [k], [l]) if i == k && j == l => matmul(true, false),
            ([i, j], [k, l], [m, n]) if j == k && (i, l) == (m, n) => matmul(false, false),
            ([i, j], [k, l], [m, n]) if j == l && (i, k) == (m, n) => matmul(false, true),
            ([i, j], [k, l], [m, n]) if i == k && (j, l) == (m, n) => matmul(true, false),
            _ => {
                let [a, b] = [self.operand(a, 0, false), self.operand(b, 0, false)];
                (format!("einsum(\"{}\", {a}, {b})", contract.spec()), ATOM)
            }
        }
    }
}

/// Nodes that some output needs.
pub(super) fn live(graph: &Graph) -> HashSet<NodeId> {
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

fn id_range(element: Element) -> usize {
    match element {
        Element::Id(n) => n,
        Element::Real => 0,
    }
}

/// Words that mean something where a name may stand.
const RESERVED: &[&str] = &["first", "last", "batch", "inf", "nan", "pi", "zeros", "ones", "backward", "T"];

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
        OriginKind::Adjoint(of) => {
            let of_name = graph.contains(of).then(|| graph.node(of).name.as_deref().map(last_part)).flatten();
            format!("d{}", of_name.unwrap_or_else(|| plain(of)))
        }
    }
}

/// A number as the language writes it, exact for f64.
pub(super) fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "inf".into()
    } else if value == f64::NEG_INFINITY {
        "-inf".into()
    } else if value.is_nan() {
        "nan".into()
    } else if value.abs() >= 1e16 || (value != 0.0 && value.abs() < 1e-5) {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}
