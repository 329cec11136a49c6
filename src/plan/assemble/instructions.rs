//! The body of a row kernel: the instructions of one phase, in the language of `kernel`.
//!
//! `h = tanh(a + b)` over a phase of `[H]` becomes `load a; load b; add; tanh; store h`. A value that was
//! computed in the same phase is read from its register; small whole powers become products, and a
//! product that is only added becomes a fused multiply-add. Where values live is decided elsewhere.

use std::collections::{HashMap, HashSet};

use super::Assembler;
use crate::ir::{Access, Along, AxisSet, Binary, NodeId, Op, Operand, Reduction, Unary};
use crate::plan::PlanError;
use crate::plan::kernel::{BinaryInst, Combining, Element, Inst, Place, Row, Val};
use crate::plan::phases::{PhasePlan, contracted_labels, definition};
use crate::plan::views::{Source, View, is_view_op, row_major};

/// The instructions of one phase as they are written.
pub(super) struct Writer<'p> {
    pub axes: AxisSet,
    pub phase: &'p PhasePlan,
    pub body: Vec<Inst>,
    /// Values in registers.
    pub values: HashMap<NodeId, Val>,
    pub loads: Vec<(Place, Val)>,
    pub constants: HashMap<u64, Val>,
    pub members: HashSet<NodeId>,
}

impl Writer<'_> {
    fn push(&mut self, inst: Inst) -> Val {
        self.body.push(inst);
        self.body.len() - 1
    }

    fn constant(&mut self, value: f64) -> Val {
        if let Some(&known) = self.constants.get(&value.to_bits()) {
            return known;
        }
        let made = self.push(Inst::Const(value));
        self.constants.insert(value.to_bits(), made);
        made
    }

    fn load(&mut self, place: Place) -> Val {
        if let Some((_, known)) = self.loads.iter().find(|(other, _)| *other == place) {
            return *known;
        }
        let made = self.push(Inst::Load(place.clone()));
        self.loads.push((place, made));
        made
    }

    /// Strides along the phase's dimensions of a value with these strides, whose dimensions are the
    /// phase's dimensions `dims`.
    fn spread(&self, strides: &[usize], dims: &[usize]) -> Vec<usize> {
        let mut spread = vec![0; self.phase.dims.len()];
        for (&stride, &dim) in strides.iter().zip(dims) {
            spread[dim] = stride;
        }
        spread
    }
}

impl Assembler<'_> {
    /// The value of an operand at each point; `dims` are the phase's dimensions it runs along.
    fn read(&mut self, writer: &mut Writer, operand: Operand, dims: &[usize]) -> Result<Val, PlanError> {
        let graph = self.graph();
        let seen = self.view(operand)?;
        if let Source::At(node, access) = &seen.source {
            if let Op::Constant(value) = graph.op(*node) {
                return Ok(writer.constant(*value));
            }
            let identity = dims.iter().copied().eq(0..writer.phase.dims.len());
            let shape = &graph.ty(*node).shape;
            let whole = seen.offset == 0 && seen.strides == row_major(shape) && *shape == writer.phase.dims;
            let own_row = *access == Access::Here && graph.ty(*node).axes == writer.axes;
            if identity
                && whole
                && own_row
                && writer.members.contains(node)
                && let Some(&value) = writer.values.get(node)
            {
                return Ok(value);
            }
        }
        let strides = writer.spread(&seen.strides, dims);
        let place = self.place(writer.axes, &seen, strides)?;
        Ok(writer.load(place))
    }

    /// An elementwise operand: along all dimensions, or a scalar.
    fn read_elementwise(&mut self, writer: &mut Writer, operand: Operand) -> Result<Val, PlanError> {
        let rank = self.graph().type_at(operand).shape.len();
        let dims: Vec<usize> = if rank == 0 { Vec::new() } else { (0..rank).collect() };
        self.read(writer, operand, &dims)
    }

    fn id_place(&mut self, writer: &Writer, operand: Operand) -> Result<Place, PlanError> {
        let seen = self.view(operand)?;
        self.place(writer.axes, &seen, vec![0; writer.phase.dims.len()])
    }

    fn keep(&mut self, writer: &mut Writer, node: NodeId, value: Val) {
        let aliased = self.places.aliases.contains_key(&node);
        if aliased || self.residencies.of.contains_key(&node) {
            let strides = row_major(&self.graph().ty(node).shape);
            let dims: Vec<usize> = (0..strides.len()).collect();
            let strides = writer.spread(&strides, &dims);
            let place = self.own_place(node, strides);
            writer.push(Inst::Store(place, value));
        }
        writer.values.insert(node, value);
    }

    pub(super) fn write_part(
        &mut self,
        writer: &mut Writer,
        join: NodeId,
        index: usize,
    ) -> Result<(), PlanError> {
        let graph = self.graph();
        let Op::Concat { dim } = *graph.op(join) else { return Ok(()) };
        let operands = graph.operands(join);
        let start: usize = operands[..index].iter().map(|&part| graph.type_at(part).shape[dim]).sum();
        let value = self.read_elementwise(writer, operands[index])?;
        let strides = row_major(&graph.ty(join).shape);
        let dims: Vec<usize> = (0..strides.len()).collect();
        let mut place = self.own_place(join, writer.spread(&strides, &dims));
        place.offset += start * strides[dim];
        writer.push(Inst::Store(place, value));
        Ok(())
    }

    pub(super) fn write_node(&mut self, writer: &mut Writer, node: NodeId) -> Result<(), PlanError> {
        let graph = self.graph();
        let op = graph.op(node).clone();
        let operands = graph.operands(node);
        let is_id = self.element(node) == Element::Id;
        if is_view_op(&op) {
            let seen = definition(graph, self.places.stored, node)
                .ok_or_else(|| PlanError::Internal(format!("{op:?} has no definition")))?;
            return self.write_copy(writer, node, &seen, is_id);
        }
        let value = match op {
            Op::Constant(value) => writer.constant(value),
            Op::Unary(unary) => {
                let x = self.read_elementwise(writer, operands[0])?;
                self.write_unary(writer, unary, x)
            }
            Op::Binary(binary) => return self.write_binary(writer, node, binary, operands[0], operands[1]),
            Op::Select if is_id => {
                let condition = self.read_elementwise(writer, operands[0])?;
                let a = self.id_place(writer, operands[1])?;
                let b = self.id_place(writer, operands[2])?;
                let to = self.own_place(node, vec![0; writer.phase.dims.len()]);
                writer.push(Inst::SelectId(condition, a, b, to));
                return Ok(());
            }
            Op::Select => {
                let condition = self.read_elementwise(writer, operands[0])?;
                let a = self.read_elementwise(writer, operands[1])?;
                let b = self.read_elementwise(writer, operands[2])?;
                writer.push(Inst::Select(condition, a, b))
            }
            Op::OneHot(_) => {
                let place = self.id_place(writer, operands[0])?;
                writer.push(Inst::IdIs(place, 0))
            }
            Op::ArgMax => {
                let x = self.read_elementwise(writer, operands[0])?;
                let place = self.own_place(node, vec![0; writer.phase.dims.len()]);
                writer.push(Inst::ArgMax(x, place));
                return Ok(());
            }
            Op::Reduce(reduction, Along::Last) => {
                let x = self.read_elementwise(writer, operands[0])?;
                let how = if reduction == Reduction::Max { Combining::Max } else { Combining::Sum };
                self.reduce(writer, node, how, x);
                return Ok(());
            }
            Op::Contract(contract) => {
                let labels: Vec<u8> =
                    contract.out.iter().copied().chain(contracted_labels(&contract)).collect();
                let dims = |own: &[u8]| -> Vec<usize> {
                    own.iter().filter_map(|label| labels.iter().position(|l| l == label)).collect()
                };
                let a = self.read(writer, operands[0], &dims(&contract.left))?;
                let b = self.read(writer, operands[1], &dims(&contract.right))?;
                let product = writer.push(Inst::Binary(BinaryInst::Multiply, a, b));
                if labels.len() > contract.out.len() {
                    self.reduce(writer, node, Combining::Sum, product);
                    return Ok(());
                }
                product
            }
            other => return Err(PlanError::Internal(format!("{other:?} is no work of a row"))),
        };
        self.keep(writer, node, value);
        Ok(())
    }

    fn reduce(&mut self, writer: &mut Writer, node: NodeId, how: Combining, value: Val) {
        let strides = row_major(&self.graph().ty(node).shape);
        let dims: Vec<usize> = (0..strides.len()).collect();
        let place = self.own_place(node, writer.spread(&strides, &dims));
        writer.push(Inst::Reduce(how, value, place));
    }

    fn write_copy(
        &mut self,
        writer: &mut Writer,
        node: NodeId,
        seen: &View,
        is_id: bool,
    ) -> Result<(), PlanError> {
        let rank = self.graph().ty(node).shape.len();
        let dims: Vec<usize> = (0..rank).collect();
        if let Source::At(source, _) = &seen.source
            && let Op::Constant(value) = self.graph().op(*source)
        {
            let value = writer.constant(*value);
            self.keep(writer, node, value);
            return Ok(());
        }
        let strides = writer.spread(&seen.strides, &dims);
        let from = self.place(writer.axes, seen, strides)?;
        if is_id {
            let to = self.own_place(node, vec![0; writer.phase.dims.len()]);
            writer.push(Inst::CopyId(from, to));
            return Ok(());
        }
        // What was computed in this very phase is still in a register.
        let own = match &seen.source {
            Source::At(source, Access::Here) if from.at.row == Row::Same => {
                writer.values.get(source).copied().filter(|_| {
                    seen.offset == 0
                        && seen.strides == row_major(&self.graph().ty(*source).shape)
                        && self.graph().ty(*source).shape == writer.phase.dims
                })
            }
            _ => None,
        };
        let value = match own {
            Some(value) => value,
            None => writer.load(from),
        };
        self.keep(writer, node, value);
        Ok(())
    }

    fn write_unary(&mut self, writer: &mut Writer, unary: Unary, x: Val) -> Val {
        use crate::plan::UnaryInst as U;
        let op = match unary {
            Unary::Negate => U::Negate,
            Unary::Exp => U::Exp,
            Unary::Log => U::Log,
            Unary::Sqrt => U::Sqrt,
            Unary::Tanh => U::Tanh,
            Unary::Sigmoid => U::Sigmoid,
            Unary::Relu => {
                let zero = writer.constant(0.0);
                return writer.push(Inst::Binary(BinaryInst::Max, x, zero));
            }
            Unary::Softplus => U::Softplus,
            Unary::Abs => U::Abs,
            Unary::Sign => U::Sign,
            Unary::Floor => U::Floor,
            Unary::Sin => U::Sin,
            Unary::Cos => U::Cos,
        };
        writer.push(Inst::Unary(op, x))
    }

    fn write_binary(
        &mut self,
        writer: &mut Writer,
        node: NodeId,
        binary: Binary,
        a: Operand,
        b: Operand,
    ) -> Result<(), PlanError> {
        use crate::plan::BinaryInst as B;
        let graph = self.graph();
        let ids = !graph.is_real(a.node);
        let (x, y) = if ids {
            let (left, right) = (self.id_place(writer, a)?, self.id_place(writer, b)?);
            if matches!(binary, Binary::Equal | Binary::NotEqual) {
                let mut same = writer.push(Inst::SameId(left, right));
                if binary == Binary::NotEqual {
                    let one = writer.constant(1.0);
                    same = writer.push(Inst::Binary(B::Subtract, one, same));
                }
                self.keep(writer, node, same);
                return Ok(());
            }
            (writer.push(Inst::IdValue(left)), writer.push(Inst::IdValue(right)))
        } else {
            (self.read_elementwise(writer, a)?, self.read_elementwise(writer, b)?)
        };
        let op = match binary {
            Binary::Add => B::Add,
            Binary::Subtract => B::Subtract,
            Binary::Multiply => B::Multiply,
            Binary::Divide => B::Divide,
            Binary::Min => B::Min,
            Binary::Max => B::Max,
            Binary::Equal => B::Equal,
            Binary::NotEqual => B::NotEqual,
            Binary::Less => B::Less,
            Binary::LessEqual => B::LessEqual,
            Binary::Greater => B::Greater,
            Binary::GreaterEqual => B::GreaterEqual,
            Binary::Power => {
                let exponent = match graph.op(b.node) {
                    Op::Constant(value) => Some(*value),
                    _ => None,
                };
                let value = power(writer, x, y, exponent);
                self.keep(writer, node, value);
                return Ok(());
            }
        };
        let value = writer.push(Inst::Binary(op, x, y));
        self.keep(writer, node, value);
        Ok(())
    }
}

/// `x ^ y`: by multiplication for small whole exponents, by exp and log else (NaN for negative x).
fn power(writer: &mut Writer, x: Val, y: Val, exponent: Option<f64>) -> Val {
    use crate::plan::{BinaryInst as B, UnaryInst as U};
    let whole = exponent.filter(|value| value.fract() == 0.0 && value.abs() <= 64.0);
    if exponent == Some(0.5) {
        return writer.push(Inst::Unary(U::Sqrt, x));
    }
    let Some(whole) = whole else {
        let log = writer.push(Inst::Unary(U::Log, x));
        let product = writer.push(Inst::Binary(B::Multiply, y, log));
        return writer.push(Inst::Unary(U::Exp, product));
    };
    let mut left = whole.abs() as u32;
    let mut square = x;
    let mut result: Option<Val> = None;
    while left > 0 {
        if left & 1 == 1 {
            result = Some(match result {
                None => square,
                Some(result) => writer.push(Inst::Binary(B::Multiply, result, square)),
            });
        }
        left >>= 1;
        if left > 0 {
            square = writer.push(Inst::Binary(B::Multiply, square, square));
        }
    }
    let one = writer.constant(1.0);
    match (result, whole < 0.0) {
        (None, _) => one,
        (Some(result), false) => result,
        (Some(result), true) => writer.push(Inst::Binary(B::Divide, one, result)),
    }
}

/// `a * b + c` in one instruction where the product is used nowhere else.
pub(super) fn contract_additions(mut body: Vec<Inst>) -> Vec<Inst> {
    use crate::plan::BinaryInst as B;
    let mut uses = vec![0usize; body.len()];
    for inst in &body {
        for value in inst.operands() {
            uses[value] += 1;
        }
    }
    for at in 0..body.len() {
        let Inst::Binary(B::Add, a, b) = body[at] else { continue };
        for (product, other) in [(a, b), (b, a)] {
            if let Inst::Binary(B::Multiply, x, y) = body[product]
                && uses[product] == 1
            {
                body[at] = Inst::Fma(x, y, other);
                break;
            }
        }
    }
    body
}
