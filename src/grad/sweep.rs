//! The accumulation: adjoints of all nodes between the seeds and the parameters.
//!
//! The adjoint of a value is the sum, over its readers, of what the rule says at the reader's
//! position, moved to the value's own: the adjoint of "read k steps back" is "k steps on", of "at my left
//! child" "at the parent whose left child I am", of "at the parent" a sum over the children, of the last
//! position a value that is there only at the last position, of a repetition along an axis a sum.

use std::collections::{HashMap, HashSet};

use super::GradError;
use super::rules::{Rules, derivative};
use crate::ir::{
    Access, Along, AxisSet, BATCH, Binary, Graph, Node, NodeId, Op, Operand, Origin, OriginKind, Reduction,
    ValueType,
};

/// The adjoints of `wrt`, given the adjoints of some values (`seeds`: value, its adjoint). Nodes of
/// `wrt` that no seed depends on are left out.
///
/// # Errors
/// If an operation on the way has no derivative.
pub fn adjoints(
    graph: &mut Graph,
    seeds: &[(Operand, Operand)],
    wrt: &[NodeId],
) -> Result<HashMap<NodeId, NodeId>, GradError> {
    let ends: Vec<NodeId> = seeds.iter().map(|(value, _)| value.node).collect();
    let active = active(graph, &ends, wrt);
    let mut order: Vec<NodeId> = active.iter().copied().collect();
    order.sort_unstable();
    let mut adjoint: HashMap<NodeId, NodeId> = HashMap::new();
    for &node in &order {
        let shell = Node {
            op: Op::Copy,
            ty: graph.ty(node).clone(),
            origin: Origin {
                span: graph.node(node).origin.span,
                kind: OriginKind::Adjoint(node),
                through: None,
            },
            name: None,
        };
        adjoint.insert(node, graph.insert(shell, &[]));
    }
    let mut terms: HashMap<NodeId, Vec<Term>> = HashMap::new();
    for (value, seed) in seeds {
        if active.contains(&value.node) {
            let mut at = Rules::new(graph, value.node);
            let term = received(&mut at, *value, *seed)?;
            terms.entry(value.node).or_default().push(term);
        }
    }
    // Readers last to first, so that terms stand in the order in which a reader of the text expects them.
    for &reader in order.iter().rev() {
        let operands = graph.operands(reader);
        for (index, &operand) in operands.iter().enumerate() {
            if !active.contains(&operand.node) || !graph.is_real(operand.node) {
                continue;
            }
            let flowing = Operand::from(adjoint[&reader]);
            let mut rules = Rules::new(graph, operand.node);
            rules.origin.through = Some(reader);
            if let Some(term) = derivative(&mut rules, reader, index, flowing)? {
                let term = received(&mut rules, operand, term)?;
                terms.entry(operand.node).or_default().push(term);
            }
        }
    }
    for &node in &order {
        let total = total(graph, node, terms.remove(&node).unwrap_or_default())?;
        graph.set_operands(adjoint[&node], &[total]);
    }
    let mut found = HashMap::new();
    for &node in wrt {
        if let Some(&copy) = adjoint.get(&node) {
            let source = graph.operands(copy)[0];
            let same = source.access == Access::Here && graph.ty(source.node) == graph.ty(copy);
            found.insert(node, if same { source.node } else { copy });
        }
    }
    bypass(graph, &order, &adjoint, &mut found);
    Ok(found)
}

/// Derivatives were made before their terms as copies of them: read the terms themselves.
pub(super) fn bypass(
    graph: &mut Graph,
    order: &[NodeId],
    adjoint: &HashMap<NodeId, NodeId>,
    found: &mut HashMap<NodeId, NodeId>,
) {
    let mut source_of: HashMap<NodeId, NodeId> = HashMap::new();
    for node in order {
        let copy = adjoint[node];
        let source = graph.operands(copy)[0];
        if source.node != copy && graph.ty(source.node) == graph.ty(copy) && source.access == Access::Here {
            source_of.insert(copy, source.node);
        }
    }
    let copies = || order.iter().map(|node| adjoint[node]);
    copies().filter(|copy| source_of.contains_key(copy)).for_each(|copy| graph.set_operands(copy, &[]));
    // A copy of a copy reads what that one copies: who reads either is moved once, however long the chain.
    for copy in copies() {
        let Some(mut source) = source_of.get(&copy).copied() else { continue };
        let mut passed = vec![copy];
        while let Some(&next) = source_of.get(&source).filter(|_| passed.len() <= source_of.len()) {
            passed.push(source);
            source = next;
        }
        source_of.extend(passed.into_iter().map(|copy| (copy, source)));
        graph.replace(copy, source.into());
        graph.remove(copy);
    }
    for value in found.values_mut() {
        *value = source_of.get(value).copied().unwrap_or(*value);
    }
}

/// Nodes that depend on `wrt` and that one of `ends` depends on, through real numbers.
pub(super) fn active(graph: &Graph, ends: &[NodeId], wrt: &[NodeId]) -> HashSet<NodeId> {
    let mut below: HashSet<NodeId> = HashSet::new();
    let mut stack: Vec<NodeId> = wrt.to_vec();
    while let Some(node) = stack.pop() {
        if below.insert(node) {
            let readers = graph.users(node).into_iter().map(|(reader, _, _)| reader);
            stack.extend(readers.filter(|&reader| passes(graph.op(reader))));
        }
    }
    let mut found = HashSet::new();
    let mut stack: Vec<NodeId> = ends.to_vec();
    while let Some(node) = stack.pop() {
        if below.contains(&node) && found.insert(node) {
            stack.extend(graph.operands(node).iter().map(|operand| operand.node));
        }
    }
    found
}

/// False for what is constant to differentiation.
fn passes(op: &Op) -> bool {
    match op {
        Op::Stop | Op::OneHot(_) => false,
        Op::Binary(binary) => !binary.is_comparison(),
        Op::Unary(unary) => *unary != crate::ir::Unary::Sign,
        _ => true,
    }
}

/// What flows back to a value from one of its readers, at the reader's position.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// How the reader reads the value.
    access: Access,
    /// What flows.
    flow: Operand,
    /// The reader, if it is one.
    through: Option<NodeId>,
}

/// A term without the axes along which the value that was read is the same.
fn received(rules: &mut Rules, operand: Operand, flow: Operand) -> Result<Term, GradError> {
    let own = rules.graph.ty(operand.node).axes;
    let read = operand.access.remaining(own);
    let extra = rules.graph.type_at(flow).axes.minus(read);
    let flow = match extra.is_empty() {
        true => flow,
        false => rules.op(Op::Reduce(Reduction::Sum, Along::Axes(extra)), &[flow])?,
    };
    Ok(Term { access: operand.access, flow, through: rules.origin.through })
}

/// What many readers at nodes of a tree send the same way is added up before it goes: it goes once.
fn gathered(rules: &mut Rules, terms: Vec<Term>) -> Result<Vec<Term>, GradError> {
    let mut found: Vec<Term> = Vec::new();
    for term in terms {
        let sequence = matches!(term.access, Access::Here | Access::Delay { .. } | Access::Advance { .. });
        let same = found.iter_mut().find(|other| !sequence && other.access == term.access);
        match same {
            Some(other) => other.flow = rules.binary(Binary::Add, other.flow, term.flow)?,
            None => found.push(term),
        }
    }
    Ok(found)
}

/// A term moved to the position of what its reader read.
fn back(rules: &mut Rules, Term { access, flow: term, .. }: Term) -> Result<Operand, GradError> {
    let from = |rules: &mut Rules, access: Access| {
        let term = rules.on_axes(term, access.needs().with(BATCH))?;
        Ok(Operand { node: term.node, access })
    };
    match access {
        Access::Here => Ok(term),
        Access::Delay { axis, by } => from(rules, Access::Advance { axis, by }),
        Access::Advance { axis, by } => from(rules, Access::Delay { axis, by }),
        Access::Nth { tree, number } => from(rules, Access::NthOf { tree, number }),
        Access::NthOf { tree, number } => from(rules, Access::Nth { tree, number }),
        Access::Child { tree, children } => from(rules, Access::Edge { tree, children }),
        Access::Edge { tree, children } => from(rules, Access::Child { tree, children }),
        Access::AtNode { tree, leaves } => from(rules, Access::AtLeaf { tree, leaves }),
        Access::AtLeaf { tree, leaves } => from(rules, Access::AtNode { tree, leaves }),
        Access::Parent(tree) => {
            let children = rules.graph.children_of(tree);
            let children = children.ok_or_else(|| GradError::Internal("too many axes".into()))?;
            let of_children = from(rules, Access::Child { tree, children })?;
            rules.op(Op::Reduce(Reduction::Sum, Along::Axes(AxisSet::one(children))), &[of_children])
        }
        Access::First(axis) => {
            let position = rules.leaf(Op::Position(axis), AxisSet::BATCH.with(axis));
            let zero = rules.constant(0.0, &[]);
            let here = rules.binary(Binary::Equal, position, zero)?;
            rules.op(Op::Select, &[here, term, zero])
        }
        Access::Last(axis) => {
            let position = rules.leaf(Op::Position(axis), AxisSet::BATCH.with(axis));
            let length = rules.leaf(Op::Length(axis), AxisSet::BATCH);
            let one = rules.constant(1.0, &[]);
            let zero = rules.constant(0.0, &[]);
            let last = rules.binary(Binary::Subtract, length, one)?;
            let here = rules.binary(Binary::Equal, position, last)?;
            rules.op(Op::Select, &[here, term, zero])
        }
    }
}

/// The sum of an adjoint's terms, with the shape of the value.
fn total(graph: &mut Graph, node: NodeId, terms: Vec<Term>) -> Result<Operand, GradError> {
    let mut rules = Rules::new(graph, node);
    let terms = gathered(&mut rules, terms)?;
    let moved = |term: Term| {
        rules.origin.through = term.through;
        back(&mut rules, term)
    };
    let terms = terms.into_iter().map(moved).collect::<Result<Vec<_>, _>>()?;
    rules.origin.through = None;
    total_of(&mut rules, node, terms)
}

/// The sum of the terms of a node's derivative, with the shape of the value.
pub(super) fn total_of(rules: &mut Rules, node: NodeId, terms: Vec<Operand>) -> Result<Operand, GradError> {
    let shape = rules.graph.ty(node).shape.clone();
    let mut sum: Option<Operand> = None;
    for term in terms {
        sum = Some(match sum {
            None => term,
            Some(sum) => rules.binary(Binary::Add, sum, term)?,
        });
    }
    let Some(sum) = sum else { return Ok(rules.constant(0.0, &shape)) };
    if rules.graph.type_at(sum).shape == shape {
        return Ok(sum);
    }
    let ones = rules.constant(1.0, &shape);
    rules.binary(Binary::Multiply, sum, ones)
}

/// Names adjoints after what they belong to: `dh` for `enc.h`, or `enc.dh` where there are several.
pub(super) fn christen(graph: &mut Graph) {
    let mut wanted: Vec<(NodeId, String, String)> = Vec::new();
    let mut seen: HashSet<NodeId> = HashSet::new();
    let gradients: Vec<(NodeId, String)> = graph
        .outputs_of(crate::ir::OutputKind::Gradient)
        .map(|output| (output.value.node, output.name.clone()))
        .collect();
    for (node, path) in gradients {
        if graph.node(node).name.is_none() && seen.insert(node) {
            wanted.push((node, prefixed(&path), last_part(&path)));
        }
    }
    for node in graph.ids() {
        if let OriginKind::Adjoint(of) = graph.node(node).origin.kind
            && graph.node(node).name.is_none()
            && is_accumulation(graph, node, of)
            && let Some(path) = graph.node(of).name.clone()
            && seen.insert(node)
        {
            wanted.push((node, prefixed(&path), last_part(&path)));
        }
    }
    let taken: HashSet<String> = graph
        .ids()
        .into_iter()
        .filter_map(|node| match graph.op(node) {
            Op::Param(path) | Op::Input(path) => Some(path.clone()),
            _ => graph.node(node).name.clone(),
        })
        .collect();
    let mut short: HashMap<String, usize> = HashMap::new();
    for (_, _, last) in &wanted {
        *short.entry(last.clone()).or_default() += 1;
    }
    let mut used = taken.clone();
    for (node, long, last) in wanted {
        let simple = format!("d{last}");
        let mut name = if short[&last] == 1 && !taken.contains(&simple) { simple } else { long };
        while used.contains(&name) {
            name.push('_');
        }
        used.insert(name.clone());
        graph.node_mut(node).name = Some(name);
    }
}

/// Of all nodes that a value's adjoint is made of, the one that is the adjoint itself.
fn is_accumulation(graph: &Graph, node: NodeId, of: NodeId) -> bool {
    graph.contains(of)
        && graph.ty(node) == graph.ty(of)
        && graph.users(node).iter().any(|(reader, _, _)| match graph.node(*reader).origin.kind {
            OriginKind::Adjoint(other) => other != of,
            OriginKind::Forward | OriginKind::Tangent(_) => false,
        })
}

pub(super) fn last_part(path: &str) -> String {
    path.rsplit('.').next().unwrap_or(path).to_string()
}

pub(super) fn prefixed(path: &str) -> String {
    match path.rsplit_once('.') {
        Some((prefix, last)) => format!("{prefix}.d{last}"),
        None => format!("d{path}"),
    }
}

impl Rules<'_> {
    /// The value repeated along axes that it lacks.
    pub(super) fn on_axes(&mut self, value: Operand, axes: AxisSet) -> Result<Operand, GradError> {
        let ty = self.graph.type_at(value);
        if ty.axes.covers(axes) && value.access == Access::Here {
            return Ok(value);
        }
        let ty = ValueType { axes: ty.axes.union(axes), ..ty };
        Ok(self.graph.insert(Node { op: Op::Copy, ty, origin: self.origin, name: None }, &[value]).into())
    }

    /// A leaf over these axes.
    pub(super) fn leaf(&mut self, op: Op, axes: AxisSet) -> Operand {
        self.graph.leaf(op, ValueType::real(Vec::new(), axes), self.origin, None).into()
    }

    /// How many positions `over` has: of the whole batch if that is in it, else of the example, where nothing
    /// counts as one, lest what flows nowhere is no number.
    pub(super) fn positions(&mut self, over: AxisSet) -> Result<Operand, GradError> {
        let made = self.graph.positions(over, self.origin);
        let positions = made.map_err(|error| GradError::Internal(error.to_string()))?.into();
        if over.contains(BATCH) {
            return Ok(positions);
        }
        let one = self.constant(1.0, &[]);
        self.binary(Binary::Max, positions, one)
    }
}
