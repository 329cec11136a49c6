//! The tree of a `.rnn` file, as written: no name is resolved, no shape is known.
//!
//! `h[t] = tanh(W @ h[t-1])` is `Statement::Equation { target: h[t], value: Call(tanh, …) }`.
//! An index such as `t-1` or `last` is an ordinary expression here; `check` decides whether it is a
//! position on an axis or an id.

use crate::base::Span;

/// A name as written, with its place. Paths (`enc.h`) keep their dots in `text` where they name a
/// declared thing (printed gradients declare `param h.W_f: …`).
#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A whole file: its items in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// Cells, models and functions, in order.
    pub items: Vec<Item>,
}

/// A top-level definition.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `cell Name(I, H) over tree n { … }`
    Cell(Block),
    /// `model Name(V = 65) { … }`
    Model(Block),
    /// `fn f(x: [N]) -> [N] = …`
    Function(Function),
}

/// The body of a cell or a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Its name.
    pub name: Ident,
    /// Dimensions, with defaults where given.
    pub dims: Vec<Dim>,
    /// `over tree n` or `over t`; absent: time, called `t`.
    pub axis: Option<AxisDecl>,
    /// Declarations and equations in order.
    pub statements: Vec<Statement>,
    /// The whole definition.
    pub span: Span,
}

/// `H` or `H = 128` in a block's head.
#[derive(Clone, Debug, PartialEq)]
pub struct Dim {
    /// Its name.
    pub name: Ident,
    /// Its default, an expression over earlier dimensions.
    pub default: Option<Expr>,
}

/// `over tree n`, `over t`; of a declaration also `over n.leaf`.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisDecl {
    /// True for `tree`.
    pub tree: bool,
    /// The axis' name.
    pub name: Ident,
}

/// `fn f(x: [N], y: [N]) -> [N] = body`
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: Ident,
    /// Parameters with their types (absent: any shape).
    pub params: Vec<(Ident, Option<Type>)>,
    /// The declared result.
    pub result: Option<Type>,
    /// The value.
    pub body: Expr,
    /// The whole definition.
    pub span: Span,
}

/// One line of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `input x: [I] over t, y: id(C)`
    Input(Vec<Declaration>),
    /// `state h: [H] = init`
    State(Vec<Declaration>),
    /// `param W: [H, I] = glorot`
    Param(Vec<Declaration>),
    /// `gradient dW of W, db of b`: names whose value is the adjoint of a parameter (no batch)
    Gradient(Vec<(Ident, Ident)>),
    /// `name = value`, `name[t] = value`
    Equation { target: Target, value: Expr },
    /// `name[t] ~ categorical(logits)`
    Observe { target: Target, distribution: Ident, args: Vec<Arg>, span: Span },
    /// `loss name = value`
    Loss { name: Ident, value: Expr },
    /// `metric name = value`
    Metric { name: Ident, value: Expr },
    /// `update name = value`: what a parameter that is not learned becomes after a step of training
    Update { name: Ident, value: Expr },
    /// `train { key = value, … }`
    Train { settings: Vec<(Ident, Expr)>, span: Span },
}

/// Names that share a type and an initial value: `W_f, W_i: [H, I] over t = init`.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// The names (dotted paths allowed).
    pub names: Vec<Ident>,
    /// Their type.
    pub ty: Type,
    /// `over t`, `over t, s`, `over tree n`, `over n.leaf`.
    pub over: Vec<AxisDecl>,
    /// What follows `=`.
    pub init: Option<Expr>,
    /// The whole declaration.
    pub span: Span,
}

/// `[H, I]`, `[]` (a scalar) or `id(V)`.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Real numbers of this shape.
    Real(Vec<Expr>, Span),
    /// An integer in `0..n`.
    Id(Box<Expr>, Span),
}

/// The left side of an equation: `h`, `h[t]`, `dz[t, s]`; the name may be a dotted path.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// What is defined.
    pub name: Ident,
    /// The axes it is defined along, as written (`[t]`, `[n, n.child]`); empty if none.
    pub index: Vec<Ident>,
    /// The whole left side.
    pub span: Span,
}

/// An expression with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The forms of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `0.5`
    Number(f64),
    /// `"ij,j->i"`, only as an argument
    Text(String),
    /// `x`, `t`, `last`, `backward`
    Name(String),
    /// `enc.h`
    Field(Box<Expr>, Ident),
    /// `W.T`
    Transpose(Box<Expr>),
    /// `h[t-1]`, `W[:, 0:H]`, `embed[words]`
    Index(Box<Expr>, Vec<Index>),
    /// `tanh(x)`, `LSTM(E, H)`, `LSTM(E, H)(x, backward)`
    Call(Box<Expr>, Vec<Arg>),
    /// `-x`
    Negate(Box<Expr>),
    /// `a + b`
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `[a, b]`
    Concat(Vec<Expr>),
}

/// One entry between the brackets of an index.
#[derive(Clone, Debug, PartialEq)]
pub enum Index {
    /// `t-1`, `last`, `words`, `3`
    At(Expr),
    /// `0:H`, `:`, `2:`
    Range(Option<Expr>, Option<Expr>),
}

/// One argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// `x`
    Value(Expr),
    /// `h = x`
    Named(Ident, Expr),
    /// `x over t`, `x over batch, t`
    Over(Expr, Vec<Ident>),
    /// `along t`
    Along(Ident),
}

/// Infix operators, loosest first: comparisons; `+ -`; `* /`; `@`; unary minus; `^` (right to left).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `@`
    MatMul,
    /// `^`
    Power,
}
