//! Expressions of the language for nodes of the graph: operators, brackets, positions, sizes.
//!
//! `ij,j->i` of `W` and `h` read one step back is `W @ h[t-1]`. Which nodes have names is settled before.

use super::Printer;
use crate::ir::graph::{Graph, NodeId, Operand};
use crate::ir::op::{Along, Binary, Contract, Op, Unary};
use crate::ir::types::{Access, AxisId, AxisKind, AxisSet, BATCH, Element, ValueType};

/// Binding strength of what was written, loosest first.
pub(super) const COMPARE: u8 = 1;
pub(super) const SUM: u8 = 2;
pub(super) const PRODUCT: u8 = 3;
pub(super) const MATMUL: u8 = 4;
pub(super) const SIGN: u8 = 5;
pub(super) const POWER: u8 = 6;
pub(super) const ATOM: u8 = 7;

impl Printer<'_> {
    /// An operand as written by a reader that binds with `strength`.
    pub(super) fn operand(&self, operand: Operand, strength: u8, outermost: bool) -> String {
        let Operand { node, access } = operand;
        if let Some(name) = self.names.get(&node) {
            return format!("{name}{}", self.index(self.graph.ty(node).axes, access));
        }
        if access == Access::Here {
            return self.value(node, strength, outermost);
        }
        format!("({}){}", self.value(node, 0, false), self.index(self.graph.ty(node).axes, access))
    }

    /// `[t]`, `[t-1]`, `[last]`, `[t, s.last]`; nothing for values without steps.
    pub(super) fn index(&self, axes: AxisSet, access: Access) -> String {
        let steps: Vec<AxisId> = axes.without(BATCH).iter().collect();
        if steps.is_empty() {
            return String::new();
        }
        // What is read at a node's own edge has one index for the node and its children.
        let moved: Vec<AxisId> = match access {
            Access::Edge { children, .. } => steps.into_iter().filter(|axis| *axis != children).collect(),
            _ => steps,
        };
        let single = moved.len() == 1;
        let entries: Vec<String> = moved
            .iter()
            .map(|&axis| {
                let name = self.graph.axis_label(axis);
                match access {
                    Access::Delay { axis: a, by } if a == axis => format!("{name}-{by}"),
                    Access::Advance { axis: a, by } if a == axis => format!("{name}+{by}"),
                    Access::AtNode { tree, leaves } if leaves == axis => {
                        self.graph.axis_label(tree).to_string()
                    }
                    Access::AtLeaf { tree, leaves } if tree == axis => {
                        self.graph.axis_label(leaves).to_string()
                    }
                    _ if access.axis() != Some(axis) => name.to_string(),
                    _ if single => position(self.graph, access),
                    _ => format!("{name}.{}", position(self.graph, access)),
                }
            })
            .collect();
        format!("[{}]", entries.join(", "))
    }

    pub(super) fn over(&self, axes: AxisSet) -> String {
        let written = |axis: AxisId| match self.graph.axis_kind(axis) {
            AxisKind::Tree => format!("tree {}", self.graph.axis_name(axis)),
            _ => self.graph.axis_name(axis).to_string(),
        };
        let names: Vec<String> = axes.without(BATCH).iter().map(written).collect();
        if names.is_empty() { String::new() } else { format!(" over {}", names.join(", ")) }
    }

    /// What a reduction runs over; in a gradient's equation the batch goes without saying.
    pub(super) fn along(&self, over: AxisSet, outermost: bool) -> String {
        let silent = outermost && over.contains(BATCH) && over.len() > 1;
        let names: Vec<&str> = over
            .iter()
            .filter(|&axis| !(silent && axis == BATCH))
            .map(|axis| self.graph.axis_label(axis))
            .collect();
        names.join(", ")
    }

    /// A size in the model's dimensions: `H`, `4 * H`, `E + H`, or a number.
    pub(super) fn dim(&self, size: usize) -> String {
        let dims = &self.graph.dims;
        if let Some((name, _)) = dims.iter().find(|(_, value)| *value == size && size > 1) {
            return name.clone();
        }
        let multiple = |most: usize| {
            let fits = |value: usize| {
                value > 2 && size > value && size.is_multiple_of(value) && size / value <= most
            };
            let (name, value) = dims.iter().rev().find(|(_, value)| fits(*value))?;
            Some(format!("{} * {name}", size / value))
        };
        let sum = || {
            let pairs =
                dims.iter().enumerate().flat_map(|(at, a)| dims[at + 1..].iter().map(move |b| (a, b)));
            let fits = |(a, b): &(&(String, usize), &(String, usize))| {
                a.1 > 2 && b.1 > 2 && a.1.checked_add(b.1) == Some(size)
            };
            pairs.into_iter().find(fits).map(|((a, _), (b, _))| format!("{a} + {b}"))
        };
        multiple(4).or_else(sum).or_else(|| multiple(8)).unwrap_or_else(|| size.to_string())
    }

    pub(super) fn shape(&self, shape: &[usize]) -> String {
        let dims: Vec<String> = shape.iter().map(|&size| self.dim(size)).collect();
        format!("[{}]", dims.join(", "))
    }

    /// `[H, I]` or `id(V)`.
    pub(super) fn element(&self, ty: &ValueType) -> String {
        match ty.element {
            Element::Real => self.shape(&ty.shape),
            Element::Id(n) => format!("id({})", self.dim(n)),
        }
    }

    pub(super) fn dims(&self, shape: &[usize]) -> String {
        shape.iter().map(|&size| self.dim(size)).collect::<Vec<_>>().join(", ")
    }

    /// A node's value as an expression for a place that binds with `strength`.
    pub(super) fn value(&self, node: NodeId, strength: u8, outermost: bool) -> String {
        let (text, own) = self.expression(node, outermost);
        if own < strength { format!("({text})") } else { text }
    }

    pub(super) fn call(&self, name: &str, operands: &[Operand]) -> (String, u8) {
        let args: Vec<String> = operands.iter().map(|&x| self.operand(x, 0, false)).collect();
        (format!("{name}({})", args.join(", ")), ATOM)
    }

    pub(super) fn expression(&self, node: NodeId, outermost: bool) -> (String, u8) {
        let graph = self.graph;
        let operands = graph.operands(node);
        match graph.op(node) {
            Op::Input(name) | Op::Param(name) => (name.clone(), ATOM),
            Op::Constant(value) => self.constant(*value, &graph.ty(node).shape),
            Op::Position(axis) => (graph.axis_label(*axis).to_string(), ATOM),
            Op::Length(axis) => (format!("length({})", graph.axis_label(*axis)), ATOM),
            Op::Count(axes) => {
                let steps = axes.without(BATCH);
                let over = if steps.is_empty() { *axes } else { steps };
                (format!("count({})", self.along(over, false)), ATOM)
            }
            Op::Setting(name) => (format!("setting({name})"), ATOM),
            Op::NoId => (format!("none({})", id_range(graph.ty(node).element)), ATOM),
            Op::Random(stream) => {
                let ValueType { shape, axes, .. } = graph.ty(node);
                let dims = shape.iter().map(|&size| format!(", {}", self.dim(size))).collect::<String>();
                let shared = if axes.contains(BATCH) { "" } else { ", shared = 1" };
                (format!("random({stream}{dims}{shared})"), ATOM)
            }
            Op::Unary(Unary::Negate) => (format!("-{}", self.operand(operands[0], SIGN, outermost)), SIGN),
            Op::Unary(unary) => self.call(unary.name(), &operands),
            Op::Binary(binary) => self.binary(*binary, &operands, outermost),
            Op::Select => self.call("where", &operands),
            Op::OneHot(size) => {
                (format!("onehot({}, {})", self.operand(operands[0], 0, false), self.dim(*size)), ATOM)
            }
            Op::Gather => {
                let table = self.operand(operands[0], ATOM, false);
                (format!("{table}[{}]", self.operand(operands[1], 0, false)), ATOM)
            }
            Op::ArgMax => self.call("argmax", &operands),
            Op::Slice { dim, .. } if graph.ty(operands[0].node).shape[*dim] == graph.ty(node).shape[*dim] => {
                self.same(operands[0], outermost)
            }
            Op::Slice { dim, start, len } => {
                let from = self.operand(operands[0], ATOM, false);
                let start_text = if *start == 0 { "0".into() } else { self.dim(*start) };
                let range = format!("{start_text}:{}", self.dim(start + len));
                (format!("{from}[{}{range}]", ":, ".repeat(*dim)), ATOM)
            }
            Op::Concat { dim: 0 } => {
                let parts: Vec<String> = operands.iter().map(|&x| self.operand(x, 0, false)).collect();
                (format!("[{}]", parts.join(", ")), ATOM)
            }
            Op::Concat { dim } => {
                let parts: Vec<String> = operands.iter().map(|&x| self.operand(x, 0, false)).collect();
                (format!("concat({}, dim = {dim})", parts.join(", ")), ATOM)
            }
            Op::Contract(contract) => self.contract(contract, &operands, outermost),
            Op::Reduce(reduction, along) => {
                let inner = self.operand(operands[0], 0, false);
                match along {
                    Along::Last => (format!("{}({inner})", reduction.name()), ATOM),
                    Along::Axes(over) => {
                        (format!("{}({inner} over {})", reduction.name(), self.along(*over, outermost)), ATOM)
                    }
                }
            }
            Op::Softmax(Along::Last) => self.call("softmax", &operands),
            Op::Softmax(Along::Axes(over)) => (
                format!("softmax({} over {})", self.operand(operands[0], 0, false), self.along(*over, false)),
                ATOM,
            ),
            Op::LogSumExp => self.call("logsumexp", &operands),
            Op::Initially => {
                let delayed = operands[0].access.direction().is_some();
                let start = self.states.get(&operands[0].node).copied().flatten();
                let declared = delayed && start == Some(operands[1]);
                if declared { self.same(operands[0], false) } else { self.call("initially", &operands) }
            }
            Op::Copy => self.same(operands[0], outermost),
            Op::Stop => self.call("stop", &operands),
        }
    }

    /// A value as it stands.
    pub(super) fn same(&self, operand: Operand, outermost: bool) -> (String, u8) {
        if operand.access == Access::Here && !self.names.contains_key(&operand.node) {
            return self.expression(operand.node, outermost);
        }
        (self.operand(operand, ATOM, outermost), ATOM)
    }

    pub(super) fn constant(&self, value: f64, shape: &[usize]) -> (String, u8) {
        if shape.is_empty() {
            return (number(value), if value < 0.0 { SIGN } else { ATOM });
        }
        let dims = self.dims(shape);
        let text = if value == 0.0 {
            format!("zeros({dims})")
        } else if value == 1.0 {
            format!("ones({dims})")
        } else {
            format!("fill({}, {dims})", number(value))
        };
        (text, ATOM)
    }

    pub(super) fn binary(&self, binary: Binary, operands: &[Operand], outermost: bool) -> (String, u8) {
        let (symbol, own) = match binary {
            Binary::Add => (" + ", SUM),
            Binary::Subtract => (" - ", SUM),
            Binary::Multiply => (" * ", PRODUCT),
            Binary::Divide => (" / ", PRODUCT),
            Binary::Power => ("^", POWER),
            Binary::Equal => (" == ", COMPARE),
            Binary::NotEqual => (" != ", COMPARE),
            Binary::Less => (" < ", COMPARE),
            Binary::LessEqual => (" <= ", COMPARE),
            Binary::Greater => (" > ", COMPARE),
            Binary::GreaterEqual => (" >= ", COMPARE),
            Binary::Min => return self.call("min", operands),
            Binary::Max => return self.call("max", operands),
        };
        // Left to right, but for powers and comparisons, whose both sides must bind tighter.
        let left_strength = if matches!(own, COMPARE | POWER) { own + 1 } else { own };
        let left = self.operand(operands[0], left_strength, outermost);
        let right = self.operand(operands[1], own + 1, outermost);
        (format!("{left}{symbol}{right}"), own)
    }

    pub(super) fn contract(
        &self,
        contract: &Contract,
        operands: &[Operand],
        outermost: bool,
    ) -> (String, u8) {
        let product = self.product(contract, operands);
        if contract.over.is_empty() {
            return product;
        }
        let name = if contract.mean { "mean" } else { "sum" };
        (format!("{name}({} over {})", product.0, self.along(contract.over, outermost)), ATOM)
    }

    pub(super) fn product(&self, contract: &Contract, operands: &[Operand]) -> (String, u8) {
        let [a, b] = [operands[0], operands[1]];
        let matmul = |left_transposed: bool, right_transposed: bool| {
            let left = if left_transposed {
                format!("{}.T", self.operand(a, ATOM, false))
            } else {
                self.operand(a, MATMUL, false)
            };
            let right = if right_transposed {
                format!("{}.T", self.operand(b, ATOM, false))
            } else {
                self.operand(b, MATMUL + 1, false)
            };
            (format!("{left} @ {right}"), MATMUL)
        };
        let [left, right, out] = [&contract.left[..], &contract.right[..], &contract.out[..]];
        match (left, right, out) {
            ([i], [j], [k, l]) if (i, j) == (k, l) => self.call("outer", operands),
            ([i], [j], []) if i == j => self.call("dot", operands),
            ([i, j], [k], [l]) if j == k && i == l => matmul(false, false),
            ([i, j], [k], [l]) if i == k && j == l => matmul(true, false),
            ([i, j], [k, l], [m, n]) if j == k && (i, l) == (m, n) => matmul(false, false),
            ([i, j], [k, l], [m, n]) if j == l && (i, k) == (m, n) => matmul(false, true),
            ([i, j], [k, l], [m, n]) if i == k && (j, l) == (m, n) => matmul(true, false),
            _ => {
                let [a, b] = [self.operand(a, 0, false), self.operand(b, 0, false)];
                (format!("einsum(\"{}\", {a}, {b})", contract.spec()), ATOM)
            }
        }
    }
}

/// The word for a position that is not the reader's own: `last`, `root`, `left`, `parent(left)`.
pub fn position(graph: &Graph, access: Access) -> String {
    let nth = |number: u32| match number {
        0 => "left".to_string(),
        1 => "right".to_string(),
        _ => format!("child({number})"),
    };
    match access {
        Access::Here => "here".into(),
        Access::Delay { by, .. } => format!("-{by}"),
        Access::Advance { by, .. } => format!("+{by}"),
        Access::First(axis) if graph.axis_kind(axis) == AxisKind::Tree => "root".into(),
        Access::First(_) => "first".into(),
        Access::Last(_) => "last".into(),
        Access::Nth { number, .. } => nth(number),
        Access::NthOf { number, .. } => format!("parent({})", nth(number)),
        Access::Parent(_) | Access::Edge { .. } => "parent".into(),
        Access::Child { .. } => "child".into(),
        Access::AtNode { .. } => "node".into(),
        Access::AtLeaf { .. } => "leaf".into(),
    }
}

fn id_range(element: Element) -> usize {
    match element {
        Element::Id(n) => n,
        Element::Real => 0,
    }
}

/// A number as the language writes it, exact for f64.
pub(super) fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "inf".into()
    } else if value == f64::NEG_INFINITY {
        "-inf".into()
    } else if value.is_nan() {
        "nan".into()
    } else if value.abs() >= 1e16 || (value != 0.0 && value.abs() < 1e-5) {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}
