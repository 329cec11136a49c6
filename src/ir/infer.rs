//! The type of an operation's result from its operands' types: the one place that knows.
//!
//! `W: [H, I]` and `x: [I] over t` under `ij,j->i` give `[H] over t`. The verifier asks here, too.

use thiserror::Error;

use super::op::{Along, Contract, Op, Reduction};
use super::types::{AxisSet, BATCH, Element, ValueType};

/// Why operands do not fit an operation.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum InferError {
    #[error("expects {expected} operands, found {found}")]
    Arity { expected: usize, found: usize },
    #[error("expects real numbers, found an id")]
    NotReal,
    #[error("expects an id, found real numbers")]
    NotId,
    #[error("shapes {left:?} and {right:?} do not match")]
    Shapes { left: Vec<usize>, right: Vec<usize> },
    #[error("has no dimension {dim} in shape {shape:?}")]
    NoDimension { dim: usize, shape: Vec<usize> },
    #[error("takes elements {start}..{end} of a dimension of {size}")]
    OutOfRange { start: usize, end: usize, size: usize },
    #[error("takes ids below {size}, found ids below {range}")]
    IdRange { range: usize, size: usize },
    #[error("runs over an axis that its operand does not have")]
    NoAxis,
    #[error("an operation without operands has the type it is given")]
    Leaf,
    #[error("the operand `{0}` is not well formed")]
    Spec(String),
}

/// The type of `op` applied to operands of these types.
///
/// # Errors
/// If they do not fit. Leaves (`Op::Input`, …) have no inferred type.
pub fn infer(op: &Op, operands: &[ValueType]) -> Result<ValueType, InferError> {
    let axes = operands.iter().fold(AxisSet::NONE, |axes, ty| axes.union(ty.axes));
    match op {
        Op::Input(_)
        | Op::Param(_)
        | Op::Constant(_)
        | Op::Position(_)
        | Op::Length(_)
        | Op::Count(_)
        | Op::Setting(_)
        | Op::NoId
        | Op::Random(_) => Err(InferError::Leaf),
        Op::Unary(_) | Op::Stop => {
            let [x] = arity(operands)?;
            real(x)?;
            Ok(x.clone())
        }
        Op::Copy => {
            let [x] = arity(operands)?;
            Ok(x.clone())
        }
        Op::Binary(binary) => {
            let [a, b] = arity(operands)?;
            if binary.is_comparison() && is_id(a) && is_id(b) {
                return Ok(ValueType::real(Vec::new(), axes));
            }
            real(a)?;
            real(b)?;
            Ok(ValueType::real(elementwise(&a.shape, &b.shape)?, axes))
        }
        Op::Select => {
            let [condition, a, b] = arity(operands)?;
            real(condition)?;
            if is_id(a) && a.element == b.element && condition.shape.is_empty() {
                return Ok(ValueType { shape: Vec::new(), element: a.element, axes });
            }
            real(a)?;
            real(b)?;
            let shape = elementwise(&elementwise(&condition.shape, &a.shape)?, &b.shape)?;
            Ok(ValueType::real(shape, axes))
        }
        Op::OneHot(size) => {
            let [id] = arity(operands)?;
            below(id, *size)?;
            Ok(ValueType::real(vec![*size], axes))
        }
        Op::Gather => {
            let [table, id] = arity(operands)?;
            real(table)?;
            let (rows, row) = table
                .shape
                .split_first()
                .ok_or_else(|| InferError::NoDimension { dim: 0, shape: table.shape.clone() })?;
            below(id, *rows)?;
            Ok(ValueType::real(row.to_vec(), axes))
        }
        Op::ArgMax => {
            let [x] = arity(operands)?;
            real(x)?;
            match x.shape[..] {
                [size] => Ok(ValueType { shape: Vec::new(), element: Element::Id(size), axes }),
                _ => Err(InferError::NoDimension { dim: 0, shape: x.shape.clone() }),
            }
        }
        Op::Slice { dim, start, len } => {
            let [x] = arity(operands)?;
            real(x)?;
            let mut shape = x.shape.clone();
            let size = dimension(&mut shape, *dim)?;
            let end = start.saturating_add(*len);
            if end > *size {
                return Err(InferError::OutOfRange { start: *start, end, size: *size });
            }
            *size = *len;
            Ok(ValueType::real(shape, axes))
        }
        Op::Concat { dim } => concat(*dim, operands, axes),
        Op::Contract(contract) => {
            let [a, b] = arity(operands)?;
            contracted(contract, a, b, axes)
        }
        Op::Reduce(reduction, along) => {
            let [x] = arity(operands)?;
            real(x)?;
            reduced(*reduction, *along, x)
        }
        Op::Softmax(along) => {
            let [x] = arity(operands)?;
            real(x)?;
            match along {
                Along::Last if x.shape.is_empty() => {
                    Err(InferError::NoDimension { dim: 0, shape: Vec::new() })
                }
                // A softmax compares the positions of one example.
                Along::Axes(over) if over.is_empty() || over.contains(BATCH) || !x.axes.covers(*over) => {
                    Err(InferError::NoAxis)
                }
                Along::Last | Along::Axes(_) => Ok(x.clone()),
            }
        }
        Op::LogSumExp => {
            let [x] = arity(operands)?;
            real(x)?;
            reduced(Reduction::Sum, Along::Last, x)
        }
        Op::Initially => {
            let [x, start] = arity(operands)?;
            if x.shape != start.shape {
                return Err(InferError::Shapes { left: x.shape.clone(), right: start.shape.clone() });
            }
            match (x.element, start.element) {
                (Element::Real, Element::Real) => {}
                (Element::Id(range), Element::Id(_)) => below(start, range)?,
                (Element::Real, Element::Id(_)) => return Err(InferError::NotReal),
                (Element::Id(_), Element::Real) => return Err(InferError::NotId),
            }
            Ok(ValueType { shape: x.shape.clone(), element: x.element, axes })
        }
    }
}

fn arity<const N: usize>(operands: &[ValueType]) -> Result<&[ValueType; N], InferError> {
    operands.try_into().map_err(|_| InferError::Arity { expected: N, found: operands.len() })
}

fn is_id(ty: &ValueType) -> bool {
    matches!(ty.element, Element::Id(_))
}

fn real(ty: &ValueType) -> Result<(), InferError> {
    (ty.element == Element::Real).then_some(()).ok_or(InferError::NotReal)
}

/// An id that is always below `size`.
fn below(ty: &ValueType, size: usize) -> Result<(), InferError> {
    match ty.element {
        Element::Real => Err(InferError::NotId),
        Element::Id(range) if range > size => Err(InferError::IdRange { range, size }),
        Element::Id(_) => Ok(()),
    }
}

fn dimension(shape: &mut [usize], dim: usize) -> Result<&mut usize, InferError> {
    let copy = shape.to_vec();
    shape.get_mut(dim).ok_or(InferError::NoDimension { dim, shape: copy })
}

/// Equal shapes, or a scalar on either side.
fn elementwise(left: &[usize], right: &[usize]) -> Result<Vec<usize>, InferError> {
    if left == right || right.is_empty() {
        Ok(left.to_vec())
    } else if left.is_empty() {
        Ok(right.to_vec())
    } else {
        Err(InferError::Shapes { left: left.to_vec(), right: right.to_vec() })
    }
}

fn concat(dim: usize, operands: &[ValueType], axes: AxisSet) -> Result<ValueType, InferError> {
    let [first, rest @ ..] = operands else {
        return Err(InferError::Arity { expected: 1, found: 0 });
    };
    real(first)?;
    let mut shape = first.shape.clone();
    for ty in rest {
        real(ty)?;
        let mut other = ty.shape.clone();
        let mismatch = || InferError::Shapes { left: first.shape.clone(), right: ty.shape.clone() };
        if other.len() != shape.len() {
            return Err(mismatch());
        }
        let more = std::mem::replace(dimension(&mut other, dim)?, 0);
        let size = dimension(&mut shape, dim)?;
        let so_far = std::mem::replace(size, 0);
        if other != shape {
            return Err(mismatch());
        }
        *dimension(&mut shape, dim)? = so_far.saturating_add(more);
    }
    dimension(&mut shape, dim)?;
    Ok(ValueType::real(shape, axes))
}

fn contracted(
    contract: &Contract,
    a: &ValueType,
    b: &ValueType,
    axes: AxisSet,
) -> Result<ValueType, InferError> {
    real(a)?;
    real(b)?;
    let mismatch = || InferError::Shapes { left: a.shape.clone(), right: b.shape.clone() };
    if !contract.is_well_formed() {
        return Err(InferError::Spec(contract.spec()));
    }
    if a.shape.len() != contract.left.len() || b.shape.len() != contract.right.len() {
        return Err(mismatch());
    }
    // As for a reduction: a value that still has steps belongs to examples.
    let left = axes.minus(contract.over);
    if !axes.covers(contract.over) || !left.is_empty() && contract.over.contains(BATCH) {
        return Err(InferError::NoAxis);
    }
    let size_of = |label: &u8| -> Option<usize> {
        let left = contract.left.iter().position(|l| l == label).map(|at| a.shape[at]);
        let right = contract.right.iter().position(|l| l == label).map(|at| b.shape[at]);
        match (left, right) {
            (Some(l), Some(r)) if l != r => None,
            (size, None) | (None, size) => size,
            (size, Some(_)) => size,
        }
    };
    if contract.left.iter().any(|label| size_of(label).is_none()) {
        return Err(mismatch());
    }
    let shape: Option<Vec<usize>> = contract.out.iter().map(size_of).collect();
    Ok(ValueType::real(shape.ok_or_else(mismatch)?, left))
}

fn reduced(reduction: Reduction, along: Along, x: &ValueType) -> Result<ValueType, InferError> {
    let _ = reduction;
    match along {
        Along::Last => {
            let (_, kept) = x
                .shape
                .split_last()
                .ok_or_else(|| InferError::NoDimension { dim: 0, shape: x.shape.clone() })?;
            Ok(ValueType::real(kept.to_vec(), x.axes))
        }
        Along::Axes(over) => {
            let left = x.axes.minus(over);
            // The batch is outermost: a value that still has steps belongs to examples.
            let stray = !left.is_empty() && over.contains(BATCH);
            if over.is_empty() || !x.axes.covers(over) || stray {
                return Err(InferError::NoAxis);
            }
            Ok(ValueType::real(x.shape.clone(), left))
        }
    }
}
