//! Which nodes of a tree a value is computed at: at its leaves, above them, or at both.
//!
//! ```text
//! z[n] = U @ [h[left], h[right]]                    zero at a leaf, so not computed there
//! c[n] = where(length(child) == 0, w[n], f(z[n]))   at a leaf `w`, above `f(z)`: `f(z)` is not needed at a leaf
//! dU   = sum(outer(dz[n], h[left]) over n)          over the nodes above the leaves
//! ```
//!
//! Rows of trees are packed by level with all leaves in the first and none above, so that either part is a
//! range of rows. Two sets are found for each value: the levels where it may be other than zero, its
//! *support* (from operands to readers), and those where somebody reads it, its *need* (from readers to operands).
//! It is computed in both. Arithmetic inside a row knows that a value is zero outside of its support; what
//! any other reader wants there is computed, zero though it be. No cell is known here, and sequences are left
//! alone: of their many steps the first alone has nothing before it.

use std::collections::{HashMap, HashSet};

use super::regions::{Kind, kind};
use super::views::is_view_op;
use crate::ir::{
    Access, Along, AxisId, AxisKind, AxisSet, Binary, Graph, NodeId, Op, Operand, Reduction, Unary,
};

/// A set of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Levels(u8);

impl Levels {
    pub const NONE: Levels = Levels(0);
    /// The level of all leaves.
    pub const LEAVES: Levels = Levels(1);
    /// All levels but that.
    pub const ABOVE: Levels = Levels(2);
    pub const ALL: Levels = Levels(3);

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn covers(self, other: Levels) -> bool {
        other.0 & !self.0 == 0
    }

    pub fn and(self, other: Levels) -> Levels {
        Levels(self.0 & other.0)
    }

    pub fn or(self, other: Levels) -> Levels {
        Levels(self.0 | other.0)
    }
}

/// Where the values of a graph are computed.
pub(super) struct Computed {
    /// By node whose rows are in a tree's order: that tree.
    trees: HashMap<NodeId, AxisId>,
    supports: HashMap<NodeId, Levels>,
    needs: HashMap<NodeId, Levels>,
}

/// What is known of the rows before: in whose order each node's are packed.
pub(super) struct Rows<'a> {
    pub graph: &'a Graph,
    pub stored: &'a HashSet<NodeId>,
    /// The axis in whose order the rows of a kernel that computes the node are packed.
    pub major: &'a dyn Fn(NodeId) -> Option<AxisId>,
}

/// Finds the levels of all nodes; `None` where the graph has no tree.
pub(super) fn levels(rows: &Rows) -> Option<Computed> {
    let graph = rows.graph;
    if !graph.axes.iter().any(|axis| axis.kind == AxisKind::Tree) {
        return None;
    }
    let ids = graph.ids();
    let mut trees = HashMap::new();
    for &id in &ids {
        if let Some(tree) = tree_of(graph, axes_of_rows(graph, id)) {
            let computed = kind(graph, rows.stored, id) != Kind::None;
            if !computed || (rows.major)(id) == Some(tree) {
                trees.insert(id, tree);
            }
        }
    }
    let mut found = Computed { trees, supports: HashMap::new(), needs: HashMap::new() };
    // Nodes that are computed wherever they are needed.
    let mut whole: HashSet<NodeId> = HashSet::new();
    loop {
        found.find_supports(graph, &ids, &whole);
        found.find_needs(graph, &ids);
        let before = whole.len();
        found.find_missing(rows, &ids, &mut whole);
        if whole.len() == before {
            return Some(found);
        }
    }
}

/// The axes of the rows that a node's kernel runs over: its own, or those that it sums over.
pub(super) fn axes_of_rows(graph: &Graph, node: NodeId) -> AxisSet {
    match is_sum_of_rows(graph, node) {
        false => graph.ty(node).axes,
        true => graph
            .operands(node)
            .iter()
            .fold(AxisSet::NONE, |axes, &operand| axes.union(graph.type_at(operand).axes)),
    }
}

/// True for a sum over all rows into a single one.
fn is_sum_of_rows(graph: &Graph, node: NodeId) -> bool {
    let sums = match graph.op(node) {
        Op::Contract(contract) => !contract.over.is_empty(),
        Op::Reduce(_, Along::Axes(_)) => true,
        _ => false,
    };
    sums && graph.ty(node).axes == AxisSet::NONE
}

/// The only tree among some axes.
fn tree_of(graph: &Graph, axes: AxisSet) -> Option<AxisId> {
    let mut trees = axes.iter().filter(|&axis| graph.axis_kind(axis) == AxisKind::Tree);
    let tree = trees.next()?;
    trees.next().is_none().then_some(tree)
}

/// True if the rows are children of nodes: leaves have none.
fn is_of_children(graph: &Graph, node: NodeId, tree: AxisId) -> bool {
    axes_of_rows(graph, node).iter().any(|axis| graph.axis_kind(axis) == AxisKind::Children(tree))
}

impl Computed {
    /// The tree in whose order a kernel that computes the node goes over its rows.
    pub fn tree(&self, node: NodeId) -> Option<AxisId> {
        self.trees.get(&node).copied()
    }

    fn support(&self, node: NodeId) -> Levels {
        self.supports.get(&node).copied().unwrap_or(Levels::ALL)
    }

    /// Where a value may be other than zero: one that has no tree, everywhere.
    fn support_of_value(&self, graph: &Graph, node: NodeId) -> Levels {
        match tree_of(graph, graph.ty(node).axes) {
            Some(_) => self.support(node),
            None => Levels::ALL,
        }
    }

    /// Where a node is computed. A sum over all rows: which rows it sums.
    pub fn of(&self, graph: &Graph, node: NodeId) -> Levels {
        let need = match is_sum_of_rows(graph, node) {
            true => Levels::ALL,
            false => self.needs.get(&node).copied().unwrap_or_default(),
        };
        match self.tree(node) {
            None => Levels::ALL,
            Some(tree) if is_of_children(graph, node, tree) => {
                need.and(self.support(node)).and(Levels::ABOVE)
            }
            Some(_) => need.and(self.support(node)),
        }
    }

    /// The levels at which an operand may be other than zero for a reader whose rows are those of `tree`.
    pub fn support_at(&self, graph: &Graph, tree: AxisId, operand: Operand) -> Levels {
        let Operand { node, access } = operand;
        if matches!(graph.op(node), Op::Constant(value) if *value == 0.0) {
            return Levels::NONE;
        }
        let own =
            if tree_of(graph, graph.ty(node).axes) == Some(tree) { self.support(node) } else { Levels::ALL };
        match access {
            Access::Here => own,
            Access::Nth { tree: of, .. } | Access::Child { tree: of, .. } if of == tree => {
                if own.is_empty() {
                    Levels::NONE
                } else {
                    Levels::ABOVE
                }
            }
            Access::Parent(of) | Access::NthOf { tree: of, .. } | Access::Edge { tree: of, .. }
                if of == tree =>
            {
                if own.and(Levels::ABOVE).is_empty() {
                    Levels::NONE
                } else {
                    Levels::ALL
                }
            }
            Access::AtNode { tree: of, .. } if of == tree => Levels::LEAVES,
            _ => Levels::ALL,
        }
    }

    /// From nothing upwards, so that a cycle whose values are all zero is.
    fn find_supports(&mut self, graph: &Graph, ids: &[NodeId], whole: &HashSet<NodeId>) {
        self.supports = ids
            .iter()
            .map(|&id| {
                let free = whole.contains(&id) || !self.trees.contains_key(&id);
                (id, if free { Levels::ALL } else { Levels::NONE })
            })
            .collect();
        loop {
            let mut changed = false;
            for &id in ids.iter().filter(|id| !whole.contains(id)) {
                let Some(tree) = self.tree(id) else { continue };
                let mut found = self.support_of(graph, id, tree).or(self.support(id));
                if is_of_children(graph, id, tree) {
                    found = found.and(Levels::ABOVE);
                }
                changed |= found != self.support(id);
                self.supports.insert(id, found);
            }
            if !changed {
                return;
            }
        }
    }

    fn support_of(&self, graph: &Graph, id: NodeId, tree: AxisId) -> Levels {
        let operands = graph.operands(id);
        let at = |index: usize| self.support_at(graph, tree, operands[index]);
        let union = || (0..operands.len()).fold(Levels::NONE, |all, index| all.or(at(index)));
        match graph.op(id) {
            Op::Constant(value) if *value == 0.0 => Levels::NONE,
            Op::Unary(unary) => match unary {
                Unary::Negate
                | Unary::Sqrt
                | Unary::Tanh
                | Unary::Relu
                | Unary::Abs
                | Unary::Sign
                | Unary::Floor
                | Unary::Sin => at(0),
                Unary::Exp | Unary::Log | Unary::Sigmoid | Unary::Softplus | Unary::Cos => Levels::ALL,
            },
            Op::Binary(binary) => match binary {
                Binary::Add | Binary::Subtract | Binary::Min | Binary::Max => union(),
                Binary::Multiply => at(0).and(at(1)),
                Binary::Divide if is_some_number(graph, operands[1]) => at(0),
                Binary::Divide
                | Binary::Power
                | Binary::Equal
                | Binary::NotEqual
                | Binary::Less
                | Binary::LessEqual
                | Binary::Greater
                | Binary::GreaterEqual => Levels::ALL,
            },
            Op::Select => {
                let (first, second) = chosen(graph, operands[0], tree);
                at(1).and(first).or(at(2).and(second))
            }
            Op::Slice { .. } | Op::Copy | Op::Stop => at(0),
            Op::Concat { .. } => union(),
            Op::Contract(_) | Op::Gather => at(0).and(at(1)),
            // A sum over the children is zero where there are none.
            Op::Reduce(reduction, along) => {
                let over_children = match along {
                    Along::Last => false,
                    Along::Axes(over) => {
                        over.iter().any(|axis| graph.axis_kind(axis) == AxisKind::Children(tree))
                    }
                };
                match (reduction, over_children && !is_sum_of_rows(graph, id)) {
                    (_, true) => Levels::ABOVE.and(at(0)),
                    // The largest of some rows may be one that is zero.
                    (Reduction::Max, false) if is_sum_of_rows(graph, id) => Levels::ALL,
                    (_, false) => at(0),
                }
            }
            Op::Input(_)
            | Op::Param(_)
            | Op::Constant(_)
            | Op::Position(_)
            | Op::Length(_)
            | Op::Count(_)
            | Op::Setting(_)
            | Op::NoId
            | Op::Random(_)
            | Op::OneHot(_)
            | Op::ArgMax
            | Op::Softmax(_)
            | Op::LogSumExp
            | Op::Initially => Levels::ALL,
        }
    }

    fn find_needs(&mut self, graph: &Graph, ids: &[NodeId]) {
        self.needs = HashMap::new();
        for output in &graph.outputs {
            self.needs.insert(output.value.node, Levels::ALL);
        }
        loop {
            let mut changed = false;
            for &id in ids.iter().rev() {
                for (index, operand) in graph.operands(id).into_iter().enumerate() {
                    let before = self.needs.get(&operand.node).copied().unwrap_or_default();
                    let after = before.or(self.needed_by(graph, id, index, operand));
                    changed |= after != before;
                    self.needs.insert(operand.node, after);
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// The levels of an operand that a reader reads, of the tree in whose order the operand's rows are.
    fn needed_by(&self, graph: &Graph, reader: NodeId, index: usize, operand: Operand) -> Levels {
        let mut at = self.of(graph, reader);
        let own = tree_of(graph, graph.ty(operand.node).axes);
        let reading = self.tree(reader);
        if let (Op::Select, Some(tree)) = (graph.op(reader), reading) {
            let (first, second) = chosen(graph, graph.operands(reader)[0], tree);
            at = match index {
                0 => at.and(first.and(second)),
                1 => at.and(first),
                _ => at.and(second),
            };
        }
        if at.is_empty() {
            return Levels::NONE;
        }
        let along = reading.is_some() && reading == own;
        if own.is_some_and(|tree| is_of_children(graph, operand.node, tree)) {
            // It has no rows elsewhere, but who sums over them names it.
            return Levels::ABOVE;
        }
        match operand.access {
            Access::Here if along => at,
            Access::Nth { .. } | Access::Child { .. } if along && at == Levels::LEAVES => Levels::NONE,
            Access::Parent(_) | Access::NthOf { .. } | Access::Edge { .. } if along => Levels::ABOVE,
            Access::AtLeaf { tree, .. } if own == Some(tree) => Levels::LEAVES,
            _ => Levels::ALL,
        }
    }

    /// Nodes that are read outside of their support by what does not know that they are zero there.
    fn find_missing(&self, rows: &Rows, ids: &[NodeId], whole: &mut HashSet<NodeId>) {
        let graph = rows.graph;
        for output in &graph.outputs {
            if !self.support_of_value(graph, output.value.node).covers(Levels::ALL) {
                whole.insert(output.value.node);
            }
        }
        for &id in ids {
            // A sum over no rows is written all the same.
            if is_sum_of_rows(graph, id) && self.support(id).is_empty() {
                whole.insert(id);
            }
            for (index, operand) in graph.operands(id).into_iter().enumerate() {
                let read = self.needed_by(graph, id, index, operand);
                let zero = !self.support_of_value(graph, operand.node).covers(read);
                if zero && !knows_zero(rows, self, id, operand) {
                    whole.insert(operand.node);
                }
            }
        }
    }

    /// An operand that arithmetic of a reader takes as zero at a level: it is not computed there.
    pub fn is_zero(&self, graph: &Graph, reader: NodeId, operand: Operand, level: Levels) -> bool {
        let own = tree_of(graph, graph.ty(operand.node).axes);
        let same = self.tree(reader).is_some() && self.tree(reader) == own;
        same && operand.access == Access::Here && !self.support(operand.node).covers(level)
    }
}

/// True for arithmetic inside a row on a value of the same row.
fn knows_zero(rows: &Rows, computed: &Computed, reader: NodeId, operand: Operand) -> bool {
    let graph = rows.graph;
    let own = tree_of(graph, graph.ty(operand.node).axes);
    let arithmetic =
        matches!(graph.op(reader), Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Concat { .. });
    let real = graph.is_real(operand.node);
    let row = kind(graph, rows.stored, reader) == Kind::Row && !is_view_op(graph.op(reader));
    let same = computed.tree(reader).is_some() && computed.tree(reader) == own;
    arithmetic && real && row && same && operand.access == Access::Here
}

/// A constant other than zero.
fn is_some_number(graph: &Graph, operand: Operand) -> bool {
    matches!(graph.op(operand.node), Op::Constant(value) if *value != 0.0)
}

/// Where the first and where the second value of a selection may be taken: both everywhere if nothing is known
/// of the condition.
pub(super) fn chosen(graph: &Graph, condition: Operand, tree: AxisId) -> (Levels, Levels) {
    let holds = [Levels::LEAVES, Levels::ABOVE].map(|level| (level, holds(graph, condition, tree, level)));
    let where_it = |wanted: bool| {
        let possible = holds.iter().filter(|(_, holds)| holds.is_none_or(|holds| holds == wanted));
        possible.fold(Levels::NONE, |all, (level, _)| all.or(*level))
    };
    (where_it(true), where_it(false))
}

/// Whether a comparison of the number of children with a constant holds at a level, if that is known.
fn holds(graph: &Graph, condition: Operand, tree: AxisId, level: Levels) -> Option<bool> {
    if condition.access != Access::Here {
        return None;
    }
    let Op::Binary(comparison) = graph.op(condition.node) else { return None };
    let operands = graph.operands(condition.node);
    let children = |operand: Operand| {
        operand.access == Access::Here
            && matches!(graph.op(operand.node), Op::Length(axis) if graph.axis_kind(*axis) == AxisKind::Children(tree))
    };
    let number = |operand: Operand| match graph.op(operand.node) {
        Op::Constant(value) => Some(*value),
        _ => None,
    };
    // `children comparison number`, either way round.
    let (comparison, number) = match (children(operands[0]), children(operands[1])) {
        (true, false) => (*comparison, number(operands[1])?),
        (false, true) => (mirrored(*comparison)?, number(operands[0])?),
        _ => return None,
    };
    // A leaf has no children, any other node one or more.
    let (least, most) = if level == Levels::LEAVES { (0.0, 0.0) } else { (1.0, f64::INFINITY) };
    let always = |all: bool, none: bool| if all { Some(true) } else { none.then_some(false) };
    match comparison {
        Binary::Equal => always(least == number && most == number, number < least || number > most),
        Binary::NotEqual => always(number < least || number > most, least == number && most == number),
        Binary::Less => always(most < number, least >= number),
        Binary::LessEqual => always(most <= number, least > number),
        Binary::Greater => always(least > number, most <= number),
        Binary::GreaterEqual => always(least >= number, most < number),
        _ => None,
    }
}

/// The comparison with its sides exchanged.
fn mirrored(comparison: Binary) -> Option<Binary> {
    Some(match comparison {
        Binary::Equal | Binary::NotEqual => comparison,
        Binary::Less => Binary::Greater,
        Binary::LessEqual => Binary::GreaterEqual,
        Binary::Greater => Binary::Less,
        Binary::GreaterEqual => Binary::LessEqual,
        _ => return None,
    })
}
