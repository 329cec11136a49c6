//! The container: nodes and edges on petgraph, and what a program offers to the outside.

use std::collections::HashMap;

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use super::infer::{InferError, infer};
use super::op::{Along, Binary, Op, Reduction};
use super::types::{Access, Axis, AxisId, AxisKind, AxisSet, BATCH, Element, ValueType};
use crate::base::Span;

/// A node of a graph; stays the same while others come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(super) NodeIndex);

impl NodeId {
    /// A number for tables; smaller than [`Graph::bound`].
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// A value read somewhere: the node and where along its axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operand {
    /// The node read.
    pub node: NodeId,
    /// Where.
    pub access: Access,
}

impl From<NodeId> for Operand {
    fn from(node: NodeId) -> Operand {
        Operand { node, access: Access::Here }
    }
}

/// Why a node is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Origin {
    /// The equation in the source it comes from.
    pub span: Span,
    /// Written or derived.
    pub kind: OriginKind,
    /// Of a term of an adjoint: the reader of the value through which it flows back.
    pub through: Option<NodeId>,
}

/// Written by the user, or derived from what is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OriginKind {
    /// From the source.
    Forward,
    /// Part of the adjoint of this node.
    Adjoint(NodeId),
    /// Part of the tangent of this node.
    Tangent(NodeId),
}

impl Origin {
    /// From the source at `span`.
    pub fn forward(span: Span) -> Origin {
        Origin { span, kind: OriginKind::Forward, through: None }
    }
}

/// One equation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// Type of the value.
    pub ty: ValueType,
    /// Why it is there.
    pub origin: Origin,
    /// Its path in the source (`enc.h`) or the adjoint's (`dh`).
    pub name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Edge {
    index: u32,
    access: Access,
}

/// A parameter as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its path (`enc.W_f`), the key in weights files.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Initialiser and its argument as written: `glorot`, `uniform(0.1)`.
    pub init: (String, Option<f64>),
    /// False if `frozen`.
    pub trainable: bool,
}

/// An input as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Its type, the batch among its axes.
    pub ty: ValueType,
    /// Whether the program observes it, `y ~ …`: then there is a value at every position.
    pub observed: bool,
}

/// What an output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// A named value.
    Value,
    /// A term of the loss (a single number; the terms add up).
    Loss,
    /// A metric (a single number).
    Metric,
    /// The gradient of the parameter of this name.
    Gradient,
    /// A value to hand over to the next chunk of the same sequence.
    Carry,
    /// What the parameter of this name becomes after a step of training.
    Update,
}

/// Something the outside may ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// What for.
    pub kind: OutputKind,
    /// Its name (for a gradient: the parameter's path).
    pub name: String,
    /// The value.
    pub value: Operand,
}

/// A program: equations over axes.
#[derive(Clone, Debug)]
pub struct Graph {
    inner: StableDiGraph<Node, Edge>,
    /// By index, which nodes are taken out (none behind its end). They keep their index, so that an origin
    /// never points to a stranger.
    removed: Vec<bool>,
    /// The model's name.
    pub name: String,
    /// Dimensions of the model, for printing.
    pub dims: Vec<(String, usize)>,
    /// Axes; the batch is the first.
    pub axes: Vec<Axis>,
    /// Parameters in the order of declaration.
    pub params: Vec<ParamSpec>,
    /// Inputs in the order of declaration.
    pub inputs: Vec<InputSpec>,
    /// What it computes.
    pub outputs: Vec<Output>,
}

impl Graph {
    /// An empty program.
    pub fn new(name: impl Into<String>) -> Graph {
        let batch = Axis { name: "batch".into(), kind: AxisKind::Batch };
        Graph {
            inner: StableDiGraph::new(),
            removed: Vec::new(),
            name: name.into(),
            dims: Vec::new(),
            axes: vec![batch],
            params: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// The same declarations without any equation or output.
    pub fn emptied(&self) -> Graph {
        Graph { inner: StableDiGraph::new(), removed: Vec::new(), outputs: Vec::new(), ..self.clone() }
    }

    /// The same graph with its nodes in the order of `key`. For graphs without adjoints: the origins of
    /// those name nodes.
    pub fn reordered<K: Ord>(&self, key: impl Fn(NodeId) -> K) -> Graph {
        let mut ids = self.ids();
        ids.sort_by_key(|&node| key(node));
        let mut result = self.emptied();
        let places: HashMap<NodeId, NodeId> =
            ids.iter().map(|&node| (node, result.insert(self.node(node).clone(), &[]))).collect();
        let moved = |operand: Operand| Operand { node: places[&operand.node], ..operand };
        for &node in &ids {
            let operands: Vec<Operand> = self.operands(node).into_iter().map(moved).collect();
            result.set_operands(places[&node], &operands);
        }
        let outputs = self.outputs.iter();
        result.outputs =
            outputs.map(|output| Output { value: moved(output.value), ..output.clone() }).collect();
        result
    }

    /// The axis of this name, made if there is none. `None` if there are too many axes.
    pub fn axis(&mut self, name: &str, kind: AxisKind) -> Option<AxisId> {
        if let Some(found) = self.find_axis(name) {
            return Some(found);
        }
        if self.axes.len() == AxisSet::LIMIT {
            return None;
        }
        self.axes.push(Axis { name: name.into(), kind });
        Some(AxisId(u8::try_from(self.axes.len() - 1).unwrap_or(u8::MAX)))
    }

    /// The axis of this name.
    pub fn find_axis(&self, name: &str) -> Option<AxisId> {
        let index = self.axes.iter().position(|axis| axis.name == name)?;
        u8::try_from(index).ok().map(AxisId)
    }

    /// What the positions of an axis are.
    pub fn axis_kind(&self, axis: AxisId) -> AxisKind {
        self.axes.get(usize::from(axis.0)).map_or(AxisKind::Batch, |axis| axis.kind)
    }

    /// The axis of the children of each node of a tree, made if there is none. `None` if there are too
    /// many axes.
    pub fn children_of(&mut self, tree: AxisId) -> Option<AxisId> {
        let name = format!("{}.child", self.axis_name(tree));
        self.axis(&name, AxisKind::Children(tree))
    }

    /// The axis of the leaves of a tree, made if there is none. `None` if there are too many axes.
    pub fn leaves_of(&mut self, tree: AxisId) -> Option<AxisId> {
        let name = format!("{}.leaf", self.axis_name(tree));
        self.axis(&name, AxisKind::Leaves(tree))
    }

    /// The axes without which these are not: the children of a node are nobody's without the node.
    pub fn closed(&self, axes: AxisSet) -> AxisSet {
        axes.iter().fold(axes, |axes, axis| match self.axis_kind(axis) {
            AxisKind::Children(tree) => axes.with(tree),
            _ => axes,
        })
    }

    /// The axes along which the number of positions of an axis differs: the examples, for children also
    /// the nodes.
    pub fn length_axes(&self, axis: AxisId) -> AxisSet {
        self.closed(AxisSet::BATCH.with(axis)).without(axis)
    }

    /// How an axis is written: `child` and `leaf` go without their tree where there is only one.
    pub fn axis_label(&self, axis: AxisId) -> &str {
        let name = self.axis_name(axis);
        let derived = matches!(self.axis_kind(axis), AxisKind::Children(_) | AxisKind::Leaves(_));
        let single = self.axes.iter().filter(|axis| axis.kind == AxisKind::Tree).count() == 1;
        match name.rsplit_once('.') {
            Some((_, short)) if derived && single && self.find_axis(short).is_none() => short,
            _ => name,
        }
    }

    /// The name of an axis.
    pub fn axis_name(&self, axis: AxisId) -> &str {
        self.axes.get(usize::from(axis.0)).map_or("?", |axis| axis.name.as_str())
    }

    /// Adds a node as it is; `operands` may be set later by [`Graph::set_operands`].
    pub fn insert(&mut self, node: Node, operands: &[Operand]) -> NodeId {
        let id = NodeId(self.inner.add_node(node));
        self.connect(id, operands);
        id
    }

    /// Adds an operation whose type follows from its operands.
    ///
    /// # Errors
    /// If the operands do not fit the operation.
    pub fn apply(&mut self, op: Op, operands: &[Operand], origin: Origin) -> Result<NodeId, InferError> {
        let types: Vec<ValueType> = operands.iter().map(|&operand| self.type_at(operand)).collect();
        let ty = infer(&op, &types)?;
        Ok(self.insert(Node { op, ty, origin, name: None }, operands))
    }

    /// A number.
    pub fn constant(&mut self, value: f64, shape: &[usize], origin: Origin) -> NodeId {
        let ty = ValueType::real(shape.to_vec(), AxisSet::NONE);
        self.insert(Node { op: Op::Constant(value), ty, origin, name: None }, &[])
    }

    /// An id-typed or real-typed leaf.
    pub fn leaf(&mut self, op: Op, ty: ValueType, origin: Origin, name: Option<String>) -> NodeId {
        self.insert(Node { op, ty, origin, name }, &[])
    }

    /// How many positions there are on these axes together: of the whole batch if that is among them, else
    /// of each example.
    ///
    /// # Errors
    /// None for axes that the graph has.
    pub fn positions(&mut self, over: AxisSet, origin: Origin) -> Result<NodeId, InferError> {
        if over.contains(BATCH) {
            let ty = ValueType::real(Vec::new(), AxisSet::NONE);
            return Ok(self.leaf(Op::Count(over), ty, origin, None));
        }
        let mut product: Option<NodeId> = None;
        for axis in over.iter() {
            // The children of all nodes are counted node by node.
            let counted = over.iter().any(|other| self.axis_kind(other) == AxisKind::Children(axis));
            if counted {
                continue;
            }
            let ty = ValueType::real(Vec::new(), self.length_axes(axis));
            let mut length = self.leaf(Op::Length(axis), ty, origin, None);
            let nodes = match self.axis_kind(axis) {
                AxisKind::Children(tree) if over.contains(tree) => AxisSet::one(tree),
                _ => AxisSet::NONE,
            };
            if !nodes.is_empty() {
                let sum = Op::Reduce(Reduction::Sum, Along::Axes(nodes));
                length = self.apply(sum, &[length.into()], origin)?;
            }
            product = Some(match product {
                None => length,
                Some(product) => {
                    self.apply(Op::Binary(Binary::Multiply), &[product.into(), length.into()], origin)?
                }
            });
        }
        Ok(product.unwrap_or_else(|| self.constant(1.0, &[], origin)))
    }

    fn connect(&mut self, id: NodeId, operands: &[Operand]) {
        for (index, operand) in (0u32..).zip(operands) {
            self.inner.add_edge(operand.node.0, id.0, Edge { index, access: operand.access });
        }
    }

    /// Replaces a node's operands.
    pub fn set_operands(&mut self, id: NodeId, operands: &[Operand]) {
        let old: Vec<_> =
            self.inner.edges_directed(id.0, Direction::Incoming).map(|edge| edge.id()).collect();
        for edge in old {
            self.inner.remove_edge(edge);
        }
        self.connect(id, operands);
    }

    /// Replaces one of a node's operands. The edges of the others stay: one that many read would have to be searched
    /// among all of its own.
    fn set_operand(&mut self, id: NodeId, index: usize, operand: Operand) {
        let mut edges = self.inner.edges_directed(id.0, Direction::Incoming);
        let Some(old) = edges.find(|edge| edge.weight().index as usize == index) else { return };
        let (edge, index) = (old.id(), old.weight().index);
        self.inner.remove_edge(edge);
        self.inner.add_edge(operand.node.0, id.0, Edge { index, access: operand.access });
    }

    /// A node's operands in order.
    pub fn operands(&self, id: NodeId) -> Vec<Operand> {
        let mut found: Vec<(u32, Operand)> = self
            .inner
            .edges_directed(id.0, Direction::Incoming)
            .map(|edge| {
                (edge.weight().index, Operand { node: NodeId(edge.source()), access: edge.weight().access })
            })
            .collect();
        found.sort_unstable_by_key(|(index, _)| *index);
        found.into_iter().map(|(_, operand)| operand).collect()
    }

    /// Who reads a node: reader, operand index, access; in order of reader and index.
    pub fn users(&self, id: NodeId) -> Vec<(NodeId, usize, Access)> {
        let mut found: Vec<_> = self
            .inner
            .edges_directed(id.0, Direction::Outgoing)
            .map(|edge| (NodeId(edge.target()), edge.weight().index as usize, edge.weight().access))
            .collect();
        found.sort_unstable();
        found
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.inner[id.0]
    }

    /// A node, to change.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.inner[id.0]
    }

    /// True if the node is still there.
    pub fn contains(&self, id: NodeId) -> bool {
        self.inner.contains_node(id.0) && !self.is_removed(id)
    }

    fn is_removed(&self, id: NodeId) -> bool {
        self.removed.get(id.index()) == Some(&true)
    }

    /// A node's operation.
    pub fn op(&self, id: NodeId) -> &Op {
        &self.node(id).op
    }

    /// A node's type.
    pub fn ty(&self, id: NodeId) -> &ValueType {
        &self.node(id).ty
    }

    /// The type of a node read at an access.
    pub fn type_at(&self, operand: Operand) -> ValueType {
        let mut ty = self.ty(operand.node).clone();
        ty.axes = operand.access.remaining(ty.axes);
        ty
    }

    /// All nodes in the order of their making.
    pub fn ids(&self) -> Vec<NodeId> {
        self.inner.node_indices().map(NodeId).filter(|&id| !self.is_removed(id)).collect()
    }

    /// One more than the largest [`NodeId::index`].
    pub fn bound(&self) -> usize {
        use petgraph::visit::NodeIndexable;
        self.inner.node_bound()
    }

    /// The nodes made since [`Graph::bound`] was `bound`, in the order of their making.
    pub fn made_since(&self, bound: usize) -> impl Iterator<Item = NodeId> + use<> {
        (bound..self.bound()).map(|index| NodeId(NodeIndex::new(index)))
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.inner.node_count() - self.removed.iter().filter(|removed| **removed).count()
    }

    /// True if there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes every reader and output of `old` read `new` instead. Where the two accesses do not
    /// compose, the reader gets a copy of `new` in between. The name moves along.
    pub fn replace(&mut self, old: NodeId, new: Operand) {
        if new.node == old {
            return;
        }
        let mut between: Option<NodeId> = None;
        for (user, index, access) in self.users(old) {
            let operand = match access.after(new.access) {
                Some(access) => Operand { node: new.node, access },
                None => Operand { node: self.copy_of(old, new, &mut between), access },
            };
            self.set_operand(user, index, operand);
        }
        for at in 0..self.outputs.len() {
            let value = self.outputs[at].value;
            if value.node == old {
                self.outputs[at].value = match value.access.after(new.access) {
                    Some(access) => Operand { node: new.node, access },
                    None => Operand { node: self.copy_of(old, new, &mut between), access: value.access },
                };
            }
        }
        if new.access == Access::Here && self.node(new.node).name.is_none() {
            let name = self.node_mut(old).name.take();
            self.node_mut(new.node).name = name;
        }
    }

    fn copy_of(&mut self, old: NodeId, of: Operand, made: &mut Option<NodeId>) -> NodeId {
        *made.get_or_insert_with(|| {
            let node = Node { op: Op::Copy, name: None, ..self.node(old).clone() };
            self.insert(node, &[of])
        })
    }

    /// Takes a node out; nothing may read it any more.
    pub fn remove(&mut self, id: NodeId) {
        self.set_operands(id, &[]);
        if self.removed.len() <= id.index() {
            self.removed.resize(id.index() + 1, false);
        }
        self.removed[id.index()] = true;
    }

    /// The first output of this kind and name.
    pub fn output(&self, kind: OutputKind, name: &str) -> Option<Operand> {
        self.outputs
            .iter()
            .find(|output| output.kind == kind && output.name == name)
            .map(|output| output.value)
    }

    /// Outputs of one kind.
    pub fn outputs_of(&self, kind: OutputKind) -> impl Iterator<Item = &Output> {
        self.outputs.iter().filter(move |output| output.kind == kind)
    }

    /// Strongly connected components over the edges that `keep` accepts, operands before readers.
    pub(super) fn components(&self, keep: impl Fn(Access) -> bool) -> Vec<Vec<NodeId>> {
        let kept = petgraph::visit::EdgeFiltered::from_fn(&self.inner, |edge| keep(edge.weight().access));
        // Not Tarjan's algorithm, which petgraph has as a recursion as deep as the graph.
        let mut found: Vec<Vec<NodeId>> = petgraph::algo::kosaraju_scc(&kept)
            .into_iter()
            .map(|component| component.into_iter().map(NodeId).collect::<Vec<NodeId>>())
            .filter(|component| !self.is_removed(component[0]))
            .collect();
        // Its order is readers first: edges point from operand to reader.
        found.reverse();
        found
    }

    /// True if the element type is real.
    pub fn is_real(&self, id: NodeId) -> bool {
        self.ty(id).element == Element::Real
    }
}
