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
    /// Nodes of a tree; every example has its own tree.
    Tree,
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
        (0..64u8).filter(move |bit| self.0 >> bit & 1 == 1).map(AxisId)
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
    /// At the first position; the reader need not have the axis.
    First(AxisId),
    /// At the last position; the reader need not have the axis.
    Last(AxisId),
}

impl Access {
    /// Axes that reading this way leaves of `axes`.
    pub fn remaining(self, axes: AxisSet) -> AxisSet {
        match self {
            Access::Here | Access::Delay { .. } | Access::Advance { .. } => axes,
            Access::First(axis) | Access::Last(axis) => axes.without(axis),
        }
    }

    /// The axis moved along, if any.
    pub fn axis(self) -> Option<AxisId> {
        match self {
            Access::Here => None,
            Access::Delay { axis, .. } | Access::Advance { axis, .. } => Some(axis),
            Access::First(axis) | Access::Last(axis) => Some(axis),
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
