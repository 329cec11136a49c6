//! The operations of the graph, a closed set.
//!
//! To add one, touch these in order (the matches are exhaustive and lead the way): `Op` here,
//! `infer` (its type), `print` (its notation), `check/builtins` (its spelling), `eval/apply` (its
//! meaning), `grad/rules` (its derivative), `plan/legalise`, `plan/regions` and
//! `plan/assemble/instructions` (its kernel).

use super::types::{AxisId, AxisSet};

/// An operation. Operands are named in the comments in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Data of this name.
    Input(String),
    /// A parameter of this path.
    Param(String),
    /// The same number at every element.
    Constant(f64),
    /// The position on an axis as a number, from 0.
    Position(AxisId),
    /// How many positions an example has on an axis; of the axis of children: how many each node has.
    Length(AxisId),
    /// How many positions the whole batch has on these axes together.
    Count(AxisSet),
    /// A number given at run time (the temperature).
    Setting(String),
    /// The id that is none of them (what stands before the start).
    NoId,
    /// Independent uniform numbers in (0, 1); the stream tells random nodes apart.
    Random(u32),
    /// `x`: elementwise.
    Unary(Unary),
    /// `a, b`: elementwise; a scalar stretches over the other's shape.
    Binary(Binary),
    /// `condition, a, b`: elementwise, `a` where the condition is not 0.
    Select,
    /// `id`: a vector with 1 at the id, zero if it is none.
    OneHot(usize),
    /// `table, id`: the table's row (first dimension), zero if the id is none.
    Gather,
    /// `x`: the index of the largest element along the last dimension, an id.
    ArgMax,
    /// `x`: `len` elements of one dimension from `start`.
    Slice {
        /// The dimension.
        dim: usize,
        /// First element.
        start: usize,
        /// How many.
        len: usize,
    },
    /// Any number of operands, joined along one dimension.
    Concat {
        /// The dimension.
        dim: usize,
    },
    /// `a, b`: a sum of products.
    Contract(Contract),
    /// `x`: combined along static dimensions or axes.
    Reduce(Reduction, Along),
    /// `x`: exp(x) over its sum along the same.
    Softmax(Along),
    /// `x`: log of the sum of exponentials along the last dimension.
    LogSumExp,
    /// `x, start`: x where the read position exists (its access is not `Here`), else start.
    Initially,
    /// `x`: the same value, perhaps repeated along more axes (the node's own).
    Copy,
    /// `x`: the same value, a constant to differentiation.
    Stop,
}

/// Elementwise functions of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Unary {
    Negate,
    Exp,
    Log,
    Sqrt,
    Tanh,
    Sigmoid,
    Relu,
    /// log(1 + exp(x))
    Softplus,
    Abs,
    Sign,
    Floor,
    Sin,
    Cos,
}

impl Unary {
    /// All of them with their spelling as a function.
    pub const ALL: [(Unary, &'static str); 13] = [
        (Unary::Negate, "negate"),
        (Unary::Exp, "exp"),
        (Unary::Log, "log"),
        (Unary::Sqrt, "sqrt"),
        (Unary::Tanh, "tanh"),
        (Unary::Sigmoid, "sigmoid"),
        (Unary::Relu, "relu"),
        (Unary::Softplus, "softplus"),
        (Unary::Abs, "abs"),
        (Unary::Sign, "sign"),
        (Unary::Floor, "floor"),
        (Unary::Sin, "sin"),
        (Unary::Cos, "cos"),
    ];

    /// Its spelling.
    pub fn name(self) -> &'static str {
        Unary::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, name)| name)
    }
}

/// Elementwise functions of two arguments. Comparisons give 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Min,
    Max,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Binary {
    /// True for the six that give 0 or 1.
    pub fn is_comparison(self) -> bool {
        use Binary::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }
}

/// A sum of products of two operands, as an Einstein sum: every dimension has a label; labels that
/// are not in `out` are summed over, and so are the positions of the axes `over`.
///
/// `W @ x` is `ij,j->i`, `W.T @ x` is `ij,i->j`, `outer(a, b)` is `i,j->ij`, `dot(a, b)` is `i,i->`.
/// With `over` it is one product over all positions: a weight's gradient.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contract {
    /// Labels of the left operand's dimensions.
    pub left: Vec<u8>,
    /// Labels of the right operand's dimensions.
    pub right: Vec<u8>,
    /// Labels of the result's dimensions; each occurs on the left or the right.
    pub out: Vec<u8>,
    /// Axes summed over.
    pub over: AxisSet,
    /// Divide by the number of positions summed over.
    pub mean: bool,
}

impl Contract {
    /// From a text such as `ij,j->i`; `None` if it is not of that form.
    pub fn parse(spec: &str) -> Option<Contract> {
        let (operands, out) = spec.split_once("->")?;
        let (left, right) = operands.split_once(',')?;
        let labels = |text: &str| -> Option<Vec<u8>> {
            text.bytes().map(|byte| byte.is_ascii_lowercase().then_some(byte)).collect()
        };
        let found = Contract {
            left: labels(left)?,
            right: labels(right)?,
            out: labels(out)?,
            over: AxisSet::NONE,
            mean: false,
        };
        found.is_well_formed().then_some(found)
    }

    /// As a text such as `ij,j->i`.
    pub fn spec(&self) -> String {
        let text = |labels: &[u8]| labels.iter().map(|&label| char::from(label)).collect::<String>();
        format!("{},{}->{}", text(&self.left), text(&self.right), text(&self.out))
    }

    /// True for `i,j->ij`: every element of a vector with every one of another.
    pub fn is_outer(&self) -> bool {
        matches!((&self.left[..], &self.right[..], &self.out[..]), ([i], [j], [k, l]) if (i, j) == (k, l))
    }

    /// Labels are distinct within an operand, and every one of an operand is in the other or the result.
    pub fn is_well_formed(&self) -> bool {
        let distinct = |labels: &[u8]| labels.iter().enumerate().all(|(i, l)| !labels[..i].contains(l));
        distinct(&self.left)
            && distinct(&self.right)
            && distinct(&self.out)
            && self.out.iter().all(|l| self.left.contains(l) || self.right.contains(l))
            && self.left.iter().all(|l| self.right.contains(l) || self.out.contains(l))
            && self.right.iter().all(|l| self.left.contains(l) || self.out.contains(l))
    }
}

/// How values are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Reduction {
    Sum,
    /// The mean of nothing is 0.
    Mean,
    /// The largest of nothing is 0.
    Max,
}

impl Reduction {
    /// Its spelling.
    pub fn name(self) -> &'static str {
        match self {
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
            Reduction::Max => "max",
        }
    }
}

/// What a reduction runs along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Along {
    /// The last static dimension.
    Last,
    /// Axes.
    Axes(AxisSet),
}
