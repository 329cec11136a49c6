//! Axes, accesses and the types of values.
//!
//! `embed[words]` with `words: id(V) over t` is a value of shape `[E]` over the batch and `t`.

/// An axis along which values have positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Its name in the source (`t`).
    pub name: String,
    /// What its positions are.
    pub kind: AxisKind,
}

/// The kinds of axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisKind {
    /// The examples; always axis 0.
    Batch,
    /// Steps; every example has its own number of them.
    Time,
    /// Nodes of a tree, parents before their children; every example has its own tree.
    Tree,
    /// The children of each node of this tree: a value that has it has the tree, too.
    Children(AxisId),
    /// The leaves of this tree in order: steps of a sequence.
    Leaves(AxisId),
}

impl AxisKind {
    /// True if its positions follow one another: values can be read earlier and later along it.
    pub fn is_sequence(self) -> bool {
        matches!(self, AxisKind::Time | AxisKind::Leaves(_))
    }

    /// The tree that it is, or that it comes from.
    pub fn tree(self, own: AxisId) -> Option<AxisId> {
        match self {
            AxisKind::Tree => Some(own),
            AxisKind::Children(tree) | AxisKind::Leaves(tree) => Some(tree),
            AxisKind::Batch | AxisKind::Time => None,
        }
    }
}

/// Index of an axis in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AxisId(pub u8);

/// The batch.
pub const BATCH: AxisId = AxisId(0);

/// A set of axes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AxisSet(u64);

impl AxisSet {
    /// No axis: a single value for the whole batch (parameters, losses).
    pub const NONE: AxisSet = AxisSet(0);
    /// One value an example.
    pub const BATCH: AxisSet = AxisSet(1);
    /// How many axes a graph may have.
    pub const LIMIT: usize = 64;

    /// The set of one.
    pub fn one(axis: AxisId) -> AxisSet {
        AxisSet(1 << axis.0)
    }

    /// This set and `axis`.
    #[must_use]
    pub fn with(self, axis: AxisId) -> AxisSet {
        self.union(AxisSet::one(axis))
    }

    /// This set without `axis`.
    #[must_use]
    pub fn without(self, axis: AxisId) -> AxisSet {
        AxisSet(self.0 & !(1 << axis.0))
    }

    /// All of either.
    #[must_use]
    pub fn union(self, other: AxisSet) -> AxisSet {
        AxisSet(self.0 | other.0)
    }

    /// What `other` does not have.
    #[must_use]
    pub fn minus(self, other: AxisSet) -> AxisSet {
        AxisSet(self.0 & !other.0)
    }

    /// True if `axis` is in it.
    pub fn contains(self, axis: AxisId) -> bool {
        self.0 >> axis.0 & 1 == 1
    }

    /// True if all of `other` is in it.
    pub fn covers(self, other: AxisSet) -> bool {
        other.0 & !self.0 == 0
    }

    /// True if there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// In ascending order.
    pub fn iter(self) -> impl Iterator<Item = AxisId> {
        let rest = |set: u64| (set != 0).then_some(set);
        // Each set without the lowest of the one before.
        let sets = std::iter::successors(rest(self.0), move |set| rest(set & (set - 1)));
        sets.map(|set| AxisId(set.trailing_zeros() as u8))
    }
}

impl std::fmt::Debug for AxisSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(|axis| axis.0)).finish()
    }
}

impl FromIterator<AxisId> for AxisSet {
    fn from_iter<I: IntoIterator<Item = AxisId>>(axes: I) -> AxisSet {
        axes.into_iter().fold(AxisSet::NONE, AxisSet::with)
    }
}

/// Where an operand is read: the position on one axis relative to the reader's.
///
/// Beyond the ends of an example a value is zero (an id is none); `Op::Initially` supplies another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// At the reader's own position (on axes the value lacks: the same value everywhere).
    Here,
    /// `by` steps earlier.
    Delay {
        /// The axis.
        axis: AxisId,
        /// At least 1.
        by: u32,
    },
    /// `by` steps later.
    Advance {
        /// The axis.
        axis: AxisId,
        /// At least 1.
        by: u32,
    },
    /// At the first position (of a tree: the root); the reader need not have the axis.
    First(AxisId),
    /// At the last position; the reader need not have the axis.
    Last(AxisId),
    /// At the reader's child of this number: 0 is `left`, 1 is `right`.
    Nth {
        /// The tree.
        tree: AxisId,
        /// Which child.
        number: u32,
    },
    /// At the parent of which the reader is the child of this number: the other way round of `Nth`.
    NthOf {
        /// The tree.
        tree: AxisId,
        /// Which child.
        number: u32,
    },
    /// At the parent.
    Parent(AxisId),
    /// At each child: the value gets the axis of the children.
    Child {
        /// The tree.
        tree: AxisId,
        /// Its children.
        children: AxisId,
    },
    /// At the parent, as its child that the reader is: the other way round of `Child`.
    Edge {
        /// The tree.
        tree: AxisId,
        /// Its children.
        children: AxisId,
    },
    /// A value of the leaves at the nodes of their tree; nothing at a node that is no leaf.
    AtNode {
        /// The tree.
        tree: AxisId,
        /// Its leaves.
        leaves: AxisId,
    },
    /// A value of the nodes at the leaves: the other way round of `AtNode`.
    AtLeaf {
        /// The tree.
        tree: AxisId,
        /// Its leaves.
        leaves: AxisId,
    },
}

impl Access {
    /// Axes that reading this way leaves of `axes`.
    pub fn remaining(self, axes: AxisSet) -> AxisSet {
        match self {
            Access::Here | Access::Delay { .. } | Access::Advance { .. } => axes,
            Access::Nth { .. } | Access::NthOf { .. } | Access::Parent(_) => axes,
            Access::First(axis) | Access::Last(axis) => axes.without(axis),
            Access::Child { children, .. } => axes.with(children),
            Access::Edge { children, .. } => axes.without(children),
            Access::AtNode { tree, leaves } => axes.without(leaves).with(tree),
            Access::AtLeaf { tree, leaves } => axes.without(tree).with(leaves),
        }
    }

    /// Axes that a value must have to be read so.
    pub fn needs(self) -> AxisSet {
        match self {
            Access::Here => AxisSet::NONE,
            Access::Delay { axis, .. } | Access::Advance { axis, .. } => AxisSet::one(axis),
            Access::First(axis) | Access::Last(axis) => AxisSet::one(axis),
            Access::Nth { tree, .. } | Access::NthOf { tree, .. } => AxisSet::one(tree),
            Access::Parent(tree) | Access::Child { tree, .. } => AxisSet::one(tree),
            Access::Edge { tree, children } => AxisSet::one(tree).with(children),
            Access::AtNode { leaves, .. } => AxisSet::one(leaves),
            Access::AtLeaf { tree, .. } => AxisSet::one(tree),
        }
    }

    /// True if every position that the reader can have is there to be read.
    pub fn is_total(self) -> bool {
        matches!(self, Access::Here | Access::Child { .. } | Access::AtLeaf { .. })
    }

    /// The axis moved along, if any.
    pub fn axis(self) -> Option<AxisId> {
        match self {
            Access::Here => None,
            Access::Delay { axis, .. } | Access::Advance { axis, .. } => Some(axis),
            Access::First(axis) | Access::Last(axis) => Some(axis),
            Access::Nth { tree, .. } | Access::NthOf { tree, .. } | Access::Parent(tree) => Some(tree),
            Access::Child { tree, .. } | Access::Edge { tree, .. } | Access::AtLeaf { tree, .. } => {
                Some(tree)
            }
            Access::AtNode { leaves, .. } => Some(leaves),
        }
    }

    /// The direction of the loop that a cycle through this is: the axis, and whether it runs backward
    /// (a tree's from the root to the leaves). `None` if it is read in the same step or in no loop.
    pub fn direction(self) -> Option<(AxisId, bool)> {
        match self {
            Access::Delay { axis, .. } => Some((axis, false)),
            Access::Advance { axis, .. } => Some((axis, true)),
            Access::Nth { tree, .. } | Access::Child { tree, .. } => Some((tree, false)),
            Access::Parent(tree) | Access::NthOf { tree, .. } | Access::Edge { tree, .. } => {
                Some((tree, true))
            }
            Access::Here | Access::First(_) | Access::Last(_) => None,
            Access::AtNode { .. } | Access::AtLeaf { .. } => None,
        }
    }

    /// `by` steps back along `axis`; negative is forward, zero is here.
    pub fn shift(axis: AxisId, back: i64) -> Access {
        let by = u32::try_from(back.unsigned_abs()).unwrap_or(u32::MAX);
        match back {
            0 => Access::Here,
            1.. => Access::Delay { axis, by },
            _ => Access::Advance { axis, by },
        }
    }

    /// Reading at `self` a value that itself is another value read at `inner`, as one access; `None`
    /// where the two do not compose (a delay of an advance differs from both at the ends).
    pub fn after(self, inner: Access) -> Option<Access> {
        match (self, inner) {
            (Access::Here, access) | (access, Access::Here) => Some(access),
            (Access::Delay { axis, by }, Access::Delay { axis: same, by: more }) if axis == same => {
                Some(Access::Delay { axis, by: by.checked_add(more)? })
            }
            (Access::Advance { axis, by }, Access::Advance { axis: same, by: more }) if axis == same => {
                Some(Access::Advance { axis, by: by.checked_add(more)? })
            }
            _ => None,
        }
    }
}

/// What a value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// Real numbers.
    Real,
    /// An integer in `0..n`, or none.
    Id(usize),
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// Static dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Real or id (ids are scalars).
    pub element: Element,
    /// Axes it has positions on.
    pub axes: AxisSet,
}

impl ValueType {
    /// Real numbers.
    pub fn real(shape: Vec<usize>, axes: AxisSet) -> ValueType {
        ValueType { shape, element: Element::Real, axes }
    }

    /// Number of elements at one position.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}
