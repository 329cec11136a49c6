//! The positions that unrolling makes copies of: steps of one axis, or the nodes of one tree with their
//! children and the tree's leaves.
//!
//! A [`Spot`] has a coordinate for each of the axes that go; those that a value lacks are zero. `h[left]` at
//! node 2 is `h` at the spot of that node's first child, or nowhere.

use crate::base::Tree;
use crate::ir::graph::Graph;
use crate::ir::types::{Access, AxisId, AxisKind, AxisSet};

/// Step or node, number of the child, number of the leaf.
pub(super) type Spot = [usize; 3];

/// Where an access leads.
pub(super) enum Moved {
    /// Along none of the axes that go.
    Elsewhere,
    /// To this place.
    To(Spot),
    /// Beyond the ends.
    Beyond,
}

/// What becomes of the axis.
enum Extent<'a> {
    Steps(usize),
    Tree(&'a Tree),
}

/// The axes that go and their positions.
pub(super) struct Places<'a> {
    /// The axes that go.
    pub gone: AxisSet,
    extent: Extent<'a>,
    /// The axis of steps or nodes, that of the children, that of the leaves.
    axes: [Option<AxisId>; 3],
}

impl<'a> Places<'a> {
    /// Steps of an axis.
    pub fn steps(axis: AxisId, steps: usize) -> Places<'a> {
        let extent = Extent::Steps(steps);
        Places { gone: AxisSet::one(axis), extent, axes: [Some(axis), None, None] }
    }

    /// Nodes of a tree, with the axes of `graph` that come from it.
    pub fn tree(graph: &Graph, axis: AxisId, tree: &'a Tree) -> Places<'a> {
        let named = |kind: AxisKind| {
            let at = graph.axes.iter().position(|axis| axis.kind == kind)?;
            u8::try_from(at).ok().map(AxisId)
        };
        let axes = [Some(axis), named(AxisKind::Children(axis)), named(AxisKind::Leaves(axis))];
        Places { gone: axes.iter().flatten().copied().collect(), extent: Extent::Tree(tree), axes }
    }

    /// True if one of the axes goes.
    pub fn touches(&self, axes: AxisSet) -> bool {
        axes.minus(self.gone) != axes
    }

    fn has(&self, axes: AxisSet, which: usize) -> bool {
        self.axes[which].is_some_and(|axis| axes.contains(axis))
    }

    /// All places of values over these axes.
    pub fn spots(&self, axes: AxisSet) -> Vec<Spot> {
        self.matching(axes, [None; 3])
    }

    /// Those of [`Places::spots`] in one step of a loop along an axis of theirs.
    pub fn spots_at(&self, axes: AxisSet, axis: AxisId, step: usize) -> Vec<Spot> {
        let mut fixed = [None; 3];
        fixed[self.which(axis)] = Some(step);
        self.matching(axes, fixed)
    }

    /// Those of [`Places::spots`] that agree with `spot` on the axes that are not in `over`.
    pub fn within(&self, axes: AxisSet, over: AxisSet, spot: Spot) -> Vec<Spot> {
        self.matching(axes, [0, 1, 2].map(|which| (!self.has(over, which)).then_some(spot[which])))
    }

    /// The places of values over these axes that have the coordinates given; a tree's nodes are not all gone through
    /// for one of them.
    fn matching(&self, axes: AxisSet, fixed: [Option<usize>; 3]) -> Vec<Spot> {
        let [nodes, _, leaves] = self.counts();
        let range = |which: usize, count: usize| match (self.has(axes, which), fixed[which]) {
            (false, _) => 0..1,
            (true, None) => 0..count,
            (true, Some(at)) => at..(at + 1).min(count).max(at),
        };
        let mut spots = Vec::new();
        for node in range(0, nodes) {
            for child in range(1, self.children(axes, node)) {
                spots.extend(range(2, leaves).map(|leaf| [node, child, leaf]));
            }
        }
        spots
    }

    /// How many places values over these axes have, and the number of one of them among [`Places::spots`].
    pub fn number(&self, axes: AxisSet, spot: Spot) -> (usize, usize) {
        let [nodes, _, leaves] = self.counts();
        let leaves = if self.has(axes, 2) { leaves } else { 1 };
        let (count, at) = match &self.extent {
            Extent::Tree(tree) if self.has(axes, 1) => match self.has(axes, 0) {
                true => (tree.edges(), tree.edge(spot[0], spot[1])),
                false => (tree.arity(0), spot[1]),
            },
            Extent::Tree(_) | Extent::Steps(_) if self.has(axes, 0) => (nodes, spot[0]),
            Extent::Tree(_) | Extent::Steps(_) => (1, 0),
        };
        (count * leaves, at * leaves + spot[2])
    }

    /// The node of the tree that a place of values over these axes belongs to.
    pub fn tree_node(&self, axes: AxisSet, spot: Spot) -> Option<usize> {
        match &self.extent {
            Extent::Tree(_) if self.has(axes, 0) => Some(spot[0]),
            Extent::Tree(tree) if self.has(axes, 2) => tree.leaves().get(spot[2]).map(|&node| node as usize),
            Extent::Tree(_) | Extent::Steps(_) => None,
        }
    }

    fn children(&self, axes: AxisSet, node: usize) -> usize {
        match &self.extent {
            Extent::Tree(tree) if self.has(axes, 1) => tree.arity(node),
            Extent::Tree(_) | Extent::Steps(_) => 1,
        }
    }

    fn counts(&self) -> [usize; 3] {
        match &self.extent {
            Extent::Steps(steps) => [*steps, 1, 1],
            Extent::Tree(tree) => [tree.len(), 1, tree.leaves().len()],
        }
    }

    fn which(&self, axis: AxisId) -> usize {
        self.axes.iter().position(|own| *own == Some(axis)).unwrap_or(0)
    }

    /// The steps of a loop along one of the axes, in order.
    pub fn steps_of(&self, axis: AxisId, backward: bool) -> Vec<usize> {
        let which = self.which(axis);
        let count = self.counts()[which];
        // Parents come before their children, and a tree is walked from its leaves.
        let descends = which == 0 && matches!(self.extent, Extent::Tree(_));
        if backward != descends { (0..count).rev().collect() } else { (0..count).collect() }
    }

    /// The coordinate on one of the axes.
    pub fn coordinate(&self, axis: AxisId, spot: Spot) -> usize {
        spot[self.which(axis)]
    }

    /// How many positions one of the axes has, seen from a place.
    pub fn length(&self, axis: AxisId, spot: Spot) -> usize {
        match (&self.extent, self.which(axis)) {
            (Extent::Tree(tree), 1) => tree.arity(spot[0]),
            (_, which) => self.counts()[which],
        }
    }

    /// A place without the coordinates that values over these axes lack.
    pub fn restricted(&self, spot: Spot, axes: AxisSet) -> Spot {
        let mut own = spot;
        for (which, coordinate) in own.iter_mut().enumerate() {
            if !self.has(axes, which) {
                *coordinate = 0;
            }
        }
        own
    }

    /// A name with the numbers of a place behind it, in the order of the axes.
    pub fn named(&self, name: &str, axes: AxisSet, spot: Spot) -> String {
        let numbers = axes.iter().filter(|axis| self.gone.contains(*axis));
        numbers.fold(name.to_string(), |name, axis| format!("{name}_{}", spot[self.which(axis)]))
    }

    /// The place that a reader at `spot` sees.
    pub fn moved(&self, access: Access, spot: Spot) -> Moved {
        let own = |axis: AxisId| self.gone.contains(axis);
        let along = |axis: AxisId, to: Option<usize>| {
            let which = self.which(axis);
            let to = to.filter(|&to| to < self.counts()[which]);
            to.map_or(Moved::Beyond, |to| {
                let mut there = spot;
                there[which] = to;
                Moved::To(there)
            })
        };
        let [node, child, leaf] = spot;
        let tree = match &self.extent {
            Extent::Tree(tree) => Some(*tree),
            Extent::Steps(_) => None,
        };
        match access {
            Access::Delay { axis, by } if own(axis) => {
                along(axis, spot[self.which(axis)].checked_sub(by as usize))
            }
            Access::Advance { axis, by } if own(axis) => {
                along(axis, spot[self.which(axis)].checked_add(by as usize))
            }
            Access::First(axis) if own(axis) => along(axis, Some(0)),
            Access::Last(axis) if own(axis) => along(axis, self.counts()[self.which(axis)].checked_sub(1)),
            Access::Nth { tree: axis, number } if own(axis) => {
                along(axis, tree.and_then(|tree| tree.child(node, number as usize)))
            }
            Access::NthOf { tree: axis, number } if own(axis) => {
                let parent = tree.filter(|tree| tree.rank(node) == number as usize);
                along(axis, parent.and_then(|tree| tree.parent(node)))
            }
            Access::Parent(axis) if own(axis) => along(axis, tree.and_then(|tree| tree.parent(node))),
            Access::Child { tree: axis, .. } if own(axis) => {
                along(axis, tree.and_then(|tree| tree.child(node, child)))
            }
            Access::Edge { tree: axis, .. } if own(axis) => {
                let there = tree.and_then(|tree| Some([tree.parent(node)?, tree.rank(node), leaf]));
                there.map_or(Moved::Beyond, Moved::To)
            }
            Access::AtNode { tree: axis, .. } if own(axis) => {
                let number = tree.and_then(|tree| tree.leaf_number(node));
                number.map_or(Moved::Beyond, |number| Moved::To([0, 0, number]))
            }
            Access::AtLeaf { tree: axis, .. } if own(axis) => {
                let there = tree.and_then(|tree| tree.leaves().get(leaf).copied());
                there.map_or(Moved::Beyond, |there| Moved::To([there as usize, child, 0]))
            }
            _ => Moved::Elsewhere,
        }
    }
}
