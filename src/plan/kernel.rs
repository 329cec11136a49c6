//! The kernel language: the small vocabulary that native code and OpenCL are both emitted from.
//!
//! A kernel works on a range of rows of one space. [`RowKernel`] is elementwise arithmetic and
//! reductions inside a row, in *phases* (a phase is a loop over static dimensions); the others are
//! matrix products and what crosses rows. Nothing here knows where a kernel came from but for the
//! equations it is headed by.

use serde::Serialize;

/// Index of a [`Space`] in [`Plan::spaces`].
pub type SpaceId = usize;
/// Index of a [`RowMap`] in [`Plan::maps`].
pub type MapId = usize;
/// Index of a [`RowList`] in [`Plan::lists`].
pub type ListId = usize;
/// Index of a [`Buffer`] in [`Plan::buffers`].
pub type BufferId = usize;
/// A value inside a phase: the index of the instruction that made it.
pub type Val = usize;

/// A compiled program's whole shape. `spaces[0]` is always the single row (no batch).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Name of the program (`CharRNN_gradient`), also the entry point's symbol.
    pub name: String,
    /// Names of the axes; index 0 is the batch.
    pub axes: Vec<String>,
    /// What the positions of each axis are; axes behind the end of the list are sequences.
    pub kinds: Vec<AxisKind>,
    /// Row spaces.
    pub spaces: Vec<Space>,
    /// Row tables, one entry a row of `from`.
    pub maps: Vec<RowMap>,
    /// Lists of rows to reduce over, one list a row of `to`.
    pub lists: Vec<RowList>,
    /// All memory.
    pub buffers: Vec<Buffer>,
    /// What runs, in order.
    pub regions: Vec<Region>,
    /// True if examples may be split over independent runs whose single-row outputs are then added up.
    pub splittable: bool,
    /// Where parameters change with every run, as in training: the elements of a matrix from which on it is not packed for few
    /// rows, but read as it lies.
    pub unpacked_from: Option<usize>,
    /// Outputs that are zero but for some rows, which their owner keeps so.
    pub sparse: Vec<Sparse>,
    /// Spaces whose rows are the ids that occur among those of an input.
    pub distinct: Vec<Distinct>,
}

/// A space that has a row for each id among those of an input, in ascending order: how many is known only when
/// the input is, and they are no more than the rows of the input, whose space it otherwise equals.
#[derive(Clone, Debug, PartialEq)]
pub struct Distinct {
    /// The input, an id a row.
    pub of: BufferId,
    /// The space.
    pub space: SpaceId,
    /// The id of each of its rows.
    pub ids: BufferId,
    /// Maps into it (-1 where the id is none), each with the map that leads from the same rows to those of the
    /// input; `None` if they are the same.
    pub maps: Vec<(MapId, Option<MapId>)>,
    /// Lists of the rows that have the id of each, in ascending order, likewise.
    pub lists: Vec<(ListId, Option<MapId>)>,
}

/// An output whose kernel only adds to the rows that ids name: it is to be zero before a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    /// The output, a single row that holds a matrix.
    pub out: BufferId,
    /// Inputs among whose ids are all that name a row.
    pub ids: Vec<BufferId>,
    /// Rows of the matrix.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// The rows themselves, one for each of the `ids`, if these are all different: nothing writes to `out` then.
    pub listed: Option<BufferId>,
}

impl Plan {
    /// What the positions of an axis are.
    pub fn kind(&self, axis: usize) -> AxisKind {
        self.kinds.get(axis).copied().unwrap_or_default()
    }
}

/// What the positions of an axis are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AxisKind {
    /// Steps, one after the other (and the batch).
    #[default]
    Sequence,
    /// Nodes of a tree. Its steps are levels, the leaves first: a node lies one level above the highest of
    /// its children, so that a loop forwards runs from the leaves to the root.
    Tree,
    /// The children of each node of the tree on this axis.
    Children(usize),
    /// The leaves of the tree on this axis, in order.
    Leaves(usize),
}

/// A set of rows: one for each example (axes = `[0]`), each example and step (`[0, t]`), …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Axes in ascending order; empty for the single row. Axis 0 is the batch.
    pub axes: Vec<usize>,
    /// The axis in whose step order rows are packed (time); `None` for the single row and for `[0]`.
    pub major: Option<usize>,
}

/// Where a position of another space is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// The same position.
    Here,
    /// `by` steps earlier.
    Back(u32),
    /// `by` steps later.
    Forward(u32),
    /// The first position.
    First,
    /// The last position of this example.
    Last,
    /// The child of this number of the row's node.
    Nth(u32),
    /// The parent of the row's node, if that is its child of this number.
    NthOf(u32),
    /// The parent of the row's node.
    Parent,
    /// The child of the row's node that the row's position on the axis of children names.
    Child,
    /// The parent of the row's node, and on the axis of children that node.
    Edge,
    /// The number of the row's node among the leaves.
    LeafOfNode,
    /// The node that the row's leaf is.
    NodeOfLeaf,
}

/// For each row of `from`, the row of `to` it reads, -1 if there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct RowMap {
    /// The kernel's space.
    pub from: SpaceId,
    /// The space read; each of its axes is either an axis of `from` or accessed by a position that needs
    /// none (`First`, `Last`) or another one (`LeafOfNode`, `NodeOfLeaf`, `Edge`).
    pub to: SpaceId,
    /// Axes of `to` that are not read at the same position; one that is not listed is `Here`.
    pub at: Vec<(usize, Position)>,
}

/// For each row of `to`, the rows of `from` that lie in it (same coordinates on `to`'s axes), in
/// ascending order of their coordinates (example, then positions). Stored as `starts[rows(to)+1]`
/// and `rows[..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RowList {
    /// Space whose rows are listed.
    pub from: SpaceId,
    /// Space of the result; its axes are a subset of `from`'s.
    pub to: SpaceId,
}

/// The element type of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// The program's real type: f32 or f64.
    Real,
    /// u32; `u32::MAX` means none (before the start).
    Id,
}

/// The real type a program is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit, the default.
    F32,
    /// 64-bit, for checks of gradients.
    F64,
}

impl Precision {
    /// Bytes of a real.
    pub fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::F64 => 8,
        }
    }
}

impl Element {
    /// Bytes of an element.
    pub fn bytes(self, precision: Precision) -> usize {
        match self {
            Element::Real => precision.bytes(),
            Element::Id => 4,
        }
    }
}

/// How many rows of a buffer exist at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Residency {
    /// Every row of its space, and a zero row (`u32::MAX` for ids) at index -1.
    All,
    /// The rows of the running step of the enclosing loop only: row r lies at r - (first row of the step).
    Step,
    /// One row, rewritten by each row of a kernel; private to a kernel's run.
    Scratch,
}

/// Who provides a buffer's contents.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// The caller, before the run: a parameter (the single row holds the whole tensor, row-major).
    Parameter(String),
    /// The caller, before the run: data, packed by row.
    Input(String),
    /// The layout: positions of this axis as numbers 0, 1, … a row (space contains the axis).
    Position(usize),
    /// The layout: number of positions of this axis, one an example.
    Length(usize),
    /// The layout: number of positions in the whole batch of these axes (single row).
    Count(Vec<usize>),
    /// The layout: an id (two u32: example number in the whole batch, position) that does not depend on packing, for random numbers.
    RowKey,
    /// Whoever sets this input: the ids that occur in it, see [`Distinct`].
    Distinct(BufferId),
    /// The caller: a run-time scalar (single row).
    Setting(String),
    /// The program's own.
    Temporary,
    /// The program's result, to be read by the caller.
    Output(String),
}

/// A piece of the arena.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// For listings: the value's name.
    pub name: String,
    /// Element type.
    pub element: Element,
    /// Elements a row.
    pub width: usize,
    /// Static shape of a row's value, for listings and for the caller.
    pub shape: Vec<usize>,
    /// Rows.
    pub space: SpaceId,
    /// How many of them at once.
    pub residency: Residency,
    /// Who fills it.
    pub role: Role,
    /// Regions in which it is live, first and last; buffers with disjoint lives may share a place.
    pub life: (usize, usize),
}

/// A stretch of the program.
#[derive(Clone, Debug, PartialEq)]
pub enum Region {
    /// All rows at once: each kernel runs over every row of its space.
    Flat(Vec<Kernel>),
    /// A loop along `axis`; each kernel runs over the rows of one step of its space.
    Loop {
        /// The axis.
        axis: usize,
        /// True: from the last step to the first.
        backward: bool,
        /// In order, for each step.
        kernels: Vec<Kernel>,
    },
}

impl Region {
    /// Its kernels, in order.
    pub fn kernels(&self) -> &[Kernel] {
        match self {
            Region::Flat(kernels) | Region::Loop { kernels, .. } => kernels,
        }
    }

    /// Its kernels, to be changed.
    pub fn kernels_mut(&mut self) -> &mut Vec<Kernel> {
        match self {
            Region::Flat(kernels) | Region::Loop { kernels, .. } => kernels,
        }
    }
}

/// A kernel and the equations it computes, for listings and sources.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// What to do.
    pub work: Work,
    /// The equations, as printed in the language.
    pub equations: Vec<String>,
    /// Depends on parameters alone, and its results stay: to be done once as long as those are the same.
    pub constant: bool,
    /// The steps of its rows that it runs over.
    pub steps: Steps,
}

/// Part of the rows of a space, by the steps of its major axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Steps {
    /// All of them.
    #[default]
    All,
    /// Those of the first step: of trees, the leaves.
    First,
    /// Those of all steps behind the first: of trees, the nodes above the leaves.
    Rest,
}

impl Steps {
    /// The rows of a space that this means, where its steps begin at these rows.
    pub fn rows(self, rows: usize, step_offsets: &[u32]) -> std::ops::Range<usize> {
        let first = step_offsets.get(1).map_or(0, |&end| end as usize);
        match self {
            Steps::All => 0..rows,
            Steps::First => 0..first,
            Steps::Rest => first..rows,
        }
    }
}

impl Work {
    /// The space over whose rows it runs; `None` for what runs once.
    pub fn space(&self) -> Option<SpaceId> {
        match self {
            Work::Rows(kernel) => Some(kernel.space),
            Work::Gemm(gemm) => match gemm.rows {
                GemmRows::Space(space) => Some(space),
                GemmRows::Static(_) => None,
            },
            Work::Pack(_) => None,
            Work::Outer(outer) => Some(outer.space),
            Work::Combine(combine) => Some(if combine.list.is_some() { combine.to } else { combine.from }),
            Work::Scatter(scatter) => Some(scatter.space),
            Work::Random(random) => Some(random.space),
        }
    }
}

/// The kinds of kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Arithmetic inside each row.
    Rows(RowKernel),
    /// `out[r, :] (+)= a[r, :] @ packed`
    Gemm(Gemm),
    /// Reorders a single-row matrix for `Gemm`.
    Pack(Pack),
    /// `out[m, n] (+)= sum over rows of a[r, m] * b[r, n]` into a single-row matrix.
    Outer(Outer),
    /// Combines rows of one space into rows of another.
    Combine(Combine),
    /// `out[id[r], :] += value[r, :]`, rows in order.
    Scatter(Scatter),
    /// Uniform numbers in (0, 1) by Philox4x32-10.
    Random(Random),
}

/// Which row of a buffer a kernel's row addresses.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// The kernel's own row (the buffer lies in the kernel's space, or is scratch).
    Same,
    /// The only row (single-row buffers).
    Only,
    /// The row a map gives; -1 is the zero row.
    Map(MapId),
    /// The row a map gives, or where that is -1 the row of another buffer.
    MapOr(MapId, Box<RowRef>),
    /// Row `id` of a matrix held in a single-row buffer (the row pitch is in the [`Place`]'s `pitch`),
    /// id read from element 0 of another row; where the id is none, zeros.
    Id(Box<RowRef>),
}

/// One row of a buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct RowRef {
    /// The buffer.
    pub buffer: BufferId,
    /// The row.
    pub row: Row,
}

/// An element of a row, or with indices a strided window into it.
/// Address: row start + `offset` + sum of `strides[d] * index[d]`, in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The row.
    pub at: RowRef,
    /// For `Row::Id`: elements from one matrix row to the next; else 0.
    pub pitch: usize,
    /// First element.
    pub offset: usize,
    /// One stride for each dimension of the phase (0: broadcast).
    pub strides: Vec<usize>,
}

/// Elementwise work and in-row reductions: for each row of `space`, the phases in order.
#[derive(Clone, Debug, PartialEq)]
pub struct RowKernel {
    /// The kernel's rows.
    pub space: SpaceId,
    /// In order; what one phase stores, a later one may load.
    pub phases: Vec<Phase>,
}

/// A loop nest over `dims`, row-major, the body at each point. The last `reduced` dimensions are
/// summed over (or maximised) by `Inst::Reduce`; with `reduced > 0`, `Store` is still allowed at each
/// point. A phase with no dims runs once.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Extents.
    pub dims: Vec<usize>,
    /// How many trailing dims `Reduce` runs over.
    pub reduced: usize,
    /// Instructions in order.
    pub body: Vec<Inst>,
}

/// Binary arithmetic of the kernel language. Comparisons give 1.0 or 0.0; with a NaN only
/// `NotEqual` is 1. `Min` and `Max` give NaN if either side is NaN. `DivideByModerate` is a quotient whose
/// divisor is known to be neither tiny nor huge (2^-100 to 2^100) and which is finite itself, so that it may be
/// had from an approximate reciprocal, within 1 unit in the last place (2 if the dividend is below 2^-100).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BinaryInst {
    Add,
    Subtract,
    Multiply,
    Divide,
    DivideByModerate,
    Min,
    Max,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// Unary arithmetic. `math` expands the transcendental ones into the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum UnaryInst {
    Negate,
    Abs,
    Sqrt,
    Floor,
    /// To the nearest integer, ties to even.
    Round,
    /// -1, 0 or 1 (NaN stays NaN).
    Sign,
    /// Unbiased exponent of a positive normal number, as a real.
    Exponent,
    /// Mantissa of a positive normal number, in [1, 2).
    Mantissa,
    Exp,
    Log,
    Tanh,
    Sigmoid,
    /// log(1 + exp(x))
    Softplus,
    Sin,
    Cos,
}

/// How a reduction combines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combining {
    /// Starts at 0.
    Sum,
    /// Starts at -infinity; NaN if any is NaN.
    Max,
}

/// One instruction of a phase's body.
#[derive(Clone, Debug, PartialEq)]
pub enum Inst {
    /// A number.
    Const(f64),
    /// The phase's loop index on this dimension, as a real.
    Index(usize),
    /// A real from memory.
    Load(Place),
    /// 1.0 where the id at the place (an id buffer) equals the loop index on this dimension.
    IdIs(Place, usize),
    /// 1.0 if two ids are equal (none equals none).
    SameId(Place, Place),
    /// An id as a real number (none: NaN).
    IdValue(Place),
    /// `op a`
    Unary(UnaryInst, Val),
    /// `a op b`
    Binary(BinaryInst, Val, Val),
    /// `a * b + c`, one rounding where the machine has it.
    Fma(Val, Val, Val),
    /// `x * 2^n` for integral n; exact, flushes beyond the exponent range to 0 or infinity only where the true value does.
    ScaleByPowerOfTwo(Val, Val),
    /// `b` where `c` is not 0, else `d`.
    Select(Val, Val, Val),
    /// Stores a real at each point.
    Store(Place, Val),
    /// Copies an id from the first place to the second, at each point.
    CopyId(Place, Place),
    /// Copies one of two ids, the first where the value is not 0: value, first, second, to.
    SelectId(Val, Place, Place, Place),
    /// Combines over the reduced dims, stored at the outer index.
    Reduce(Combining, Val, Place),
    /// Index (on the last dim, the only reduced one) of the largest value, lowest first on ties, stored as an id at the outer index.
    ArgMax(Val, Place),
}

impl Inst {
    /// The values it reads.
    pub fn operands(&self) -> Vec<Val> {
        match self {
            Inst::Const(_)
            | Inst::Index(_)
            | Inst::Load(_)
            | Inst::IdIs(..)
            | Inst::SameId(..)
            | Inst::IdValue(_)
            | Inst::CopyId(..) => Vec::new(),
            Inst::Unary(_, a) | Inst::Store(_, a) | Inst::Reduce(_, a, _) | Inst::ArgMax(a, _) => vec![*a],
            Inst::SelectId(a, ..) => vec![*a],
            Inst::Binary(_, a, b) | Inst::ScaleByPowerOfTwo(a, b) => vec![*a, *b],
            Inst::Fma(a, b, c) | Inst::Select(a, b, c) => vec![*a, *b, *c],
        }
    }
}

/// Rows of a product: those of a space, or the rows of a single-row matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GemmRows {
    /// The kernel's rows.
    Space(SpaceId),
    /// This many rows of `a` and `out`, whose pitches tell where each begins.
    Static(usize),
}

/// `out[r, 0..n] = a[r, 0..k] @ packed` (`+=` with `accumulate`).
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Rows.
    pub rows: GemmRows,
    /// First element of a row of the left operand, contiguous (strides is empty). With static rows: pitch = elements between rows.
    pub a: Place,
    /// Contracted width.
    pub k: usize,
    /// Result width.
    pub n: usize,
    /// A buffer written by [`Pack`] with the same k and n.
    pub packed: BufferId,
    /// First element of a row of the result, contiguous.
    pub out: Place,
    /// Adds to what is there.
    pub accumulate: bool,
}

/// Reads `source[i, j]` at `offset + i * strides[0] + j * strides[1]`, i < k, j < n, into panels of the whole
/// matrix, of which it is the part that begins at `at`: columns in groups of [`PANEL`] (the last one padded
/// with zeros), each group `whole[0]` rows of PANEL values. The parts of a matrix do not overlap and leave
/// nothing out.
#[derive(Clone, Debug, PartialEq)]
pub struct Pack {
    /// The part, in a single-row buffer; strides has two entries.
    pub source: Place,
    /// Rows of the part.
    pub k: usize,
    /// Columns of the part.
    pub n: usize,
    /// Its first row and column in the whole.
    pub at: [usize; 2],
    /// Rows and columns of the whole matrix.
    pub whole: [usize; 2],
    /// Where to; its width is [`packed_width`].
    pub to: BufferId,
}

impl Pack {
    /// The packing of a matrix in one piece.
    pub fn entire(source: Place, k: usize, n: usize, to: BufferId) -> Pack {
        Pack { source, k, n, at: [0, 0], whole: [k, n], to }
    }
}

/// Columns in a packed panel.
pub const PANEL: usize = 16;

/// Elements of a packed k x n matrix.
pub fn packed_width(k: usize, n: usize) -> usize {
    k * n.div_ceil(PANEL) * PANEL
}

/// `out[i * pitch + j] (+)= sum over rows r of a[r, i] * b[r, j]`, rows in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Outer {
    /// Rows summed over.
    pub space: SpaceId,
    /// First element of `m` contiguous ones a row.
    pub a: Place,
    /// Rows of the result.
    pub m: usize,
    /// First element of `n` contiguous ones a row.
    pub b: Place,
    /// Columns of the result.
    pub n: usize,
    /// In a single-row buffer; `pitch` elements between result rows.
    pub out: Place,
    /// Adds to what is there, else starts at zero.
    pub accumulate: bool,
}

/// `out[q, i] = combine over rows r in list(q) of value(r, i)`. Without a list (`list: None`): all
/// rows of `from` into the single row. An empty list gives 0 for sums and maxima alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Combine {
    /// Rows read.
    pub from: SpaceId,
    /// Rows written.
    pub to: SpaceId,
    /// Which rows go where.
    pub list: Option<ListId>,
    /// How.
    pub how: Combining,
    /// Elements a row.
    pub width: usize,
    /// Read with the source row as the kernel's row; strides has one entry.
    pub value: Place,
    /// Written with the result row as the kernel's row; strides has one entry (1).
    pub out: Place,
}

/// `out[id(r) * pitch + j] += value(r, j)` for rows in order; `out` is zeroed first unless
/// `accumulate`. Rows whose id is none are skipped.
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter {
    /// Rows.
    pub space: SpaceId,
    /// The id of each row.
    pub id: Place,
    /// `n` contiguous values a row.
    pub value: Place,
    /// Rows of the result matrix.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// A single-row buffer; `pitch` elements between its rows.
    pub out: Place,
    /// Adds to what is there.
    pub accumulate: bool,
}

/// Fills `width` values a row with uniform numbers in (0, 1): `base::philox` with
/// counter = (example, position, column / 4, stream) and key = (seed low ^ step, seed high); column
/// 4i + j takes word j of block i.
#[derive(Clone, Debug, PartialEq)]
pub struct Random {
    /// Rows.
    pub space: SpaceId,
    /// Which random operation of the program.
    pub stream: u32,
    /// The row's key, an id buffer of width 2 with [`Role::RowKey`].
    pub key: Place,
    /// An id buffer of width 3 ([`Role::Setting`] `random`): seed low, seed high, step.
    pub seed: Place,
    /// Where to, contiguous.
    pub out: Place,
    /// Numbers a row.
    pub width: usize,
}
