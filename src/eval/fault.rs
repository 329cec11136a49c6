//! Where a value first is no number: the node and position that made it, and what it was made from.
//!
//! `y = log(x)` with `x[3] = 0` gives the node of the logarithm at position 3 with the operand 0. The walk is
//! the one that computed the values, so that what is found is where it arose, not where it was seen. An
//! infinity that the program itself writes (`where(seen, score, -inf)`) is none until it makes another.

use super::EvalError;
use super::driver::Program;
use super::storage::{Place, Values};
use crate::ir::{Along, AxisId, BATCH, NodeId, Op, Operand};

/// A value that is no number, made from numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The node.
    pub node: NodeId,
    /// The example.
    pub example: usize,
    /// Its position on each of its axes but the batch.
    pub position: Vec<(AxisId, usize)>,
    /// The element, row-major.
    pub element: usize,
    /// NaN, or an infinity.
    pub value: f64,
    /// Its operands as it read them (elements; empty for ids).
    pub operands: Vec<(Operand, Vec<f64>)>,
}

impl Program<'_> {
    /// The first value, in the order of computation, that is no number although its operands are.
    ///
    /// # Errors
    /// If it is asked to stop.
    pub fn first_fault(&self, values: &Values) -> Result<Option<Fault>, EvalError> {
        let mut found = None;
        self.walk(&mut &*values, |values| values, &mut |values, node, place| {
            found = self.fault(values, node, place);
            Ok(found.is_some())
        })?;
        Ok(found)
    }

    fn fault(&self, values: &Values, node: NodeId, place: &Place) -> Option<Fault> {
        let graph = self.graph();
        let own = values.read(node.into(), place);
        let element = own.real().iter().position(|number| !number.is_finite())?;
        let value = own.real()[element];
        if matches!(graph.op(node), Op::Constant(_)) {
            return None;
        }
        let operands = &self.operands[node.index()];
        let same = |number: &f64| if value.is_nan() { number.is_nan() } else { number.is_infinite() };
        // What runs along axes reads its operand at more positions than this one.
        let along_axes = match graph.op(node) {
            Op::Reduce(_, Along::Axes(_)) | Op::Softmax(Along::Axes(_)) => true,
            Op::Contract(contract) => !contract.over.is_empty(),
            _ => false,
        };
        let known = operands.iter().any(|&operand| match along_axes {
            true => values.padded(operand).is_some_and(|all| all.numbers().iter().any(same)),
            false => values.read(operand, place).real().iter().any(same),
        });
        if known {
            return None;
        }
        let position = graph.ty(node).axes.without(BATCH).iter();
        Some(Fault {
            node,
            example: place[0],
            position: position.map(|axis| (axis, place[usize::from(axis.0)])).collect(),
            element,
            value,
            operands: operands.iter().map(|&x| (x, values.read(x, place).real().to_vec())).collect(),
        })
    }
}
