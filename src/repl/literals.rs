//! Values as they are written at the prompt: arrays, sequences, trees, ids, texts and random numbers.
//!
//! ```text
//! rows([1, 2], [3, 4])                    a matrix
//! seq(1, 2, 4 over t)                     a sequence of three numbers (`over t` may be left out)
//! tree(1, tree(2, 3, 4), 5 over n)        a value for each node: the node's own, then its children
//! leaves(1, leaves(2, 3) over n)          a value for each leaf of a tree
//! ids(65, 3, 1, 4)                        ids below 65: a sequence, or one id, or those of another literal
//! text("hello")                           ids of characters
//! normal([3, 4]), uniform([3], 0.5)       random arrays; `normal([3] over t, 7)` is a sequence of seven
//! ```
//!
//! They are calls of the language's own grammar. A definition of the same name goes before them.

use super::datum::{Datum, Extent};
use super::{Failure, Session};
use crate::eval::Elements;
use crate::ir::{Element, Tree};
use crate::runtime::initializer::Initializer;
use crate::runtime::text::Vocabulary;
use crate::syntax::ast::{Arg, BinaryOp, Expr, ExprKind};

/// Elements of a value at most.
const LARGEST: usize = 1 << 24;

/// The names of the functions that make values.
pub(super) const LITERALS: [&str; 10] =
    ["rows", "seq", "tree", "leaves", "ids", "text", "normal", "uniform", "glorot", "orthogonal"];

impl Session {
    /// The value of a literal.
    pub(super) fn literal(
        &self,
        name: &str,
        args: &[Arg],
        span: crate::base::Span,
    ) -> Result<Datum, Failure> {
        let (args, over) = split(args)?;
        let steps = || over.clone().unwrap_or_else(|| "t".to_string());
        let nodes = || over.clone().unwrap_or_else(|| "n".to_string());
        match name {
            "rows" => stack(self.parts(&args)?, None),
            "seq" => stack(self.parts(&args)?, Some(steps())),
            "tree" | "leaves" => {
                let mut grown = Grown::default();
                self.grow(name, &args, -1, &mut grown)?;
                let tree = Tree::new(&grown.parents)?;
                let (along, extent) = match name {
                    "tree" => (nodes(), Extent::Nodes(tree)),
                    _ => (format!("{}.leaf", nodes()), Extent::Leaves(tree)),
                };
                along_axis(grown.values, along, extent)
            }
            "ids" => {
                let Some((first, rest)) = args.split_first() else {
                    return Err(usage(name, "ids(65, 3, 1, 4): below which number, then the ids"));
                };
                let range = self.whole(first)?;
                let parts = self.parts(rest)?;
                match &parts[..] {
                    [only] if over.is_none() => only.ids(range),
                    _ => stack(parts, Some(steps()))?.ids(range),
                }
            }
            "text" => {
                let [ExprKind::Text(text)] = &args.iter().map(|arg| arg.kind.clone()).collect::<Vec<_>>()[..]
                else {
                    return Err(usage(name, "text(\"hello\")"));
                };
                let own = Vocabulary::of(text);
                let run = self.current.as_ref().and_then(|model| self.runs.get(model));
                let vocabulary = run.and_then(|run| run.meta.vocabulary.as_ref()).unwrap_or(&own);
                let ids: Vec<Option<u32>> = vocabulary.encode(text)?.into_iter().map(Some).collect();
                Ok(Datum {
                    shape: Vec::new(),
                    element: Element::Id(vocabulary.len()),
                    along: vec![(steps(), Extent::Steps(ids.len()))],
                    elements: Elements::Ids(ids),
                })
            }
            _ => self.random(name, &args, over.as_deref(), span),
        }
    }

    /// `normal([3, 4])`, `uniform([3], 0.5)`, `normal([3] over t, 7)`.
    fn random(
        &self,
        name: &str,
        args: &[Expr],
        over: Option<&str>,
        span: crate::base::Span,
    ) -> Result<Datum, Failure> {
        let wanted = "normal([3, 4]), normal([3, 4], 0.1), or with steps normal([3] over t, 7)";
        let Some((first, rest)) = args.split_first() else { return Err(usage(name, wanted)) };
        let shape = match &first.kind {
            ExprKind::Concat(parts) => {
                parts.iter().map(|part| self.whole(part)).collect::<Result<Vec<_>, _>>()?
            }
            _ => vec![self.whole(first)?],
        };
        let (steps, rest) = match (over, rest) {
            (Some(_), [steps, rest @ ..]) => (Some(self.whole(steps)?), rest),
            (Some(_), []) => return Err(usage(name, wanted)),
            (None, rest) => (None, rest),
        };
        let argument = match rest {
            [] => None,
            [only] => Some(self.constant(only)?),
            _ => return Err(usage(name, wanted)),
        };
        let init = match name {
            "normal" => Initializer::Normal(argument.unwrap_or(1.0)),
            "uniform" => Initializer::Uniform(argument.unwrap_or(1.0)),
            "glorot" => Initializer::Glorot,
            _ => Initializer::Orthogonal,
        };
        let whole: Vec<usize> = steps.into_iter().chain(shape.iter().copied()).collect();
        let count = whole.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if count.is_none_or(|count| count > LARGEST) {
            return Err(Failure::new(format!("an array of shape {whole:?} is too large to look at")));
        }
        // The place in the line tells two draws of one line apart, the number of values those of two lines.
        let stream = format!("{name} {} {}", span.start, self.values.len());
        let numbers = init.values(&stream, &whole, self.seed);
        let along = over.zip(steps).map(|(axis, steps)| (axis.to_string(), Extent::Steps(steps)));
        Ok(Datum { along: along.into_iter().collect(), ..Datum::array(shape, numbers) })
    }

    fn parts(&self, args: &[Expr]) -> Result<Vec<Datum>, Failure> {
        if args.is_empty() {
            return Err(Failure::new("a literal needs at least one value"));
        }
        args.iter().map(|arg| self.part(arg)).collect()
    }

    /// A value inside a literal: without positions.
    fn part(&self, expr: &Expr) -> Result<Datum, Failure> {
        if let Some(datum) = numbers(expr) {
            return Ok(datum);
        }
        self.datum(expr.clone())
    }

    /// A whole number above 0, known before anything is computed.
    pub(super) fn whole(&self, expr: &Expr) -> Result<usize, Failure> {
        let number = self.constant(expr)?;
        if number >= 1.0 && number.fract() == 0.0 && number <= LARGEST as f64 {
            return Ok(number as usize);
        }
        Err(Failure::new(format!("a size is a whole number above 0, not {}", super::words::number(number))))
    }

    /// Arithmetic of numbers and dimensions that `:set` binds.
    fn constant(&self, expr: &Expr) -> Result<f64, Failure> {
        match &expr.kind {
            ExprKind::Number(number) => Ok(*number),
            ExprKind::Negate(inner) => Ok(-self.constant(inner)?),
            ExprKind::Name(name) => match self.dims.iter().find(|(dim, _)| dim == name) {
                Some((_, size)) => Ok(*size as f64),
                None => match self.datum(expr.clone())?.scalar() {
                    Some(number) => Ok(number),
                    None => Err(Failure::new(format!("`{name}` is no number"))),
                },
            },
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.constant(a)?, self.constant(b)?);
                match op {
                    BinaryOp::Add => Ok(a + b),
                    BinaryOp::Subtract => Ok(a - b),
                    BinaryOp::Multiply => Ok(a * b),
                    BinaryOp::Divide => Ok(a / b),
                    _ => Err(Failure::new("a size is made of numbers with + - * /")),
                }
            }
            _ => Err(Failure::new("a size is made of numbers with + - * /")),
        }
    }

    /// The nodes of a tree literal in order: a node's own value, then its children.
    fn grow(&self, name: &str, args: &[Expr], parent: i64, grown: &mut Grown) -> Result<(), Failure> {
        let node = i64::try_from(grown.parents.len())?;
        grown.parents.push(parent);
        let children = match name {
            "tree" => {
                let Some((own, children)) = args.split_first() else {
                    return Err(usage(name, "tree(1, tree(2, 3, 4), 5): a node's value, then its children"));
                };
                grown.values.push(self.part(own)?);
                children
            }
            _ if args.is_empty() => {
                return Err(usage(name, "leaves(1, leaves(2, 3)): the children of each node"));
            }
            _ => args,
        };
        for child in children {
            match &child.kind {
                ExprKind::Call(function, inner) if function.kind == ExprKind::Name(name.to_string()) => {
                    let (inner, over) = split(inner)?;
                    if over.is_some() {
                        return Err(Failure::new("`over` is said once, behind the whole tree"));
                    }
                    self.grow(name, &inner, node, grown)?;
                }
                _ => {
                    grown.parents.push(node);
                    grown.values.push(self.part(child)?);
                }
            }
        }
        Ok(())
    }
}

/// A tree literal on the way.
#[derive(Default)]
struct Grown {
    parents: Vec<i64>,
    values: Vec<Datum>,
}

fn usage(name: &str, how: &str) -> Failure {
    Failure::new(format!("`{name}` is written {how}"))
}

/// The values of a call, and the axis that its last one is `over`.
fn split(args: &[Arg]) -> Result<(Vec<Expr>, Option<String>), Failure> {
    let mut axis = None;
    let mut values = Vec::new();
    for arg in args {
        match arg {
            Arg::Value(expr) => values.push(expr.clone()),
            Arg::Over(expr, axes) => {
                values.push(expr.clone());
                match (&axes[..], &axis) {
                    ([only], None) => axis = Some(only.text.clone()),
                    _ => return Err(Failure::new("a literal is over one axis")),
                }
            }
            Arg::Named(..) | Arg::Along(_) => {
                return Err(Failure::new("a literal takes values, and `over t` behind the last"));
            }
        }
    }
    Ok((values, axis))
}

/// Numbers written out.
fn numbers(expr: &Expr) -> Option<Datum> {
    let single = |expr: &Expr| match &expr.kind {
        ExprKind::Number(number) => Some(*number),
        ExprKind::Negate(inner) => match inner.kind {
            ExprKind::Number(number) => Some(-number),
            _ => None,
        },
        _ => None,
    };
    match &expr.kind {
        ExprKind::Concat(parts) => {
            let numbers: Vec<f64> = parts.iter().map(single).collect::<Option<_>>()?;
            Some(Datum::array(vec![numbers.len()], numbers))
        }
        _ => Some(Datum::array(Vec::new(), vec![single(expr)?])),
    }
}

/// Values of one shape, one behind the other: along an axis, or as a new first dimension.
fn stack(parts: Vec<Datum>, over: Option<String>) -> Result<Datum, Failure> {
    let count = parts.len();
    match over {
        Some(axis) => along_axis(parts, axis, Extent::Steps(count)),
        None => {
            let mut all = along_axis(parts, String::new(), Extent::Steps(count))?;
            all.along.clear();
            all.shape.insert(0, count);
            match all.element {
                Element::Real => Ok(all),
                Element::Id(_) => Err(Failure::new("`rows` makes an array of numbers, not of ids")),
            }
        }
    }
}

fn along_axis(parts: Vec<Datum>, axis: String, extent: Extent) -> Result<Datum, Failure> {
    let Some(first) = parts.first().cloned() else { return Err(Failure::new("there is no value")) };
    for part in &parts {
        if !part.along.is_empty() {
            return Err(Failure::new("a value inside a literal has no positions of its own"));
        }
        if part.shape != first.shape || part.element != first.element {
            return Err(Failure::new(format!(
                "the values of a literal are of one shape, but {} and {} are not",
                super::words::type_of(&first),
                super::words::type_of(part)
            )));
        }
    }
    let elements = match first.element {
        Element::Real => Elements::Real(parts.iter().flat_map(Datum::numbers).collect()),
        Element::Id(_) => Elements::Ids(
            parts
                .iter()
                .flat_map(|part| match &part.elements {
                    Elements::Ids(ids) => ids.clone(),
                    Elements::Real(_) => Vec::new(),
                })
                .collect(),
        ),
    };
    Ok(Datum { along: vec![(axis, extent)], elements, ..first })
}
