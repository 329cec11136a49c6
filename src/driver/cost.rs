//! What the equations of training cost: operations and bytes of each, memory of a batch, and why neighbours
//! are not one kernel.
//!
//! Counted on the optimised graph and the plan that are compiled. An addition, a product, a comparison and a
//! function such as `tanh` are one operation each, a multiply-add two. Bytes are those of f32 that an equation
//! reads and writes if nothing stays in registers or caches: an upper bound; a parameter is read once, in a
//! loop once a step.

use std::collections::HashSet;
use std::sync::Arc;

use super::compile::{CompileError, optimised};
use super::emit::{EmitError, plan_of, trained};
use super::example::complete;
use crate::ir::{Along, AxisId, AxisKind, AxisSet, Graph, NodeId, Op, OriginKind, Stage, outline, schedule};
use crate::plan::places::{Access, places};
use crate::plan::{Kernel, Plan, Precision, Residency, Role, Row, Work, label};
use crate::runtime::layout::{Layout, LayoutError, Lengths};

/// An equation's cost for a whole batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// As printed.
    pub equation: String,
    /// Part of the gradient.
    pub backward: bool,
    /// Inside a loop.
    pub in_loop: bool,
    /// Operations.
    pub operations: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

/// A buffer and what it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferCost {
    /// Its name.
    pub name: String,
    /// Rows held at once.
    pub rows: usize,
    /// Shape of a row.
    pub shape: Vec<usize>,
    /// Bytes.
    pub bytes: usize,
    /// Who fills it, in a word.
    pub role: &'static str,
}

/// What a batch costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// The model.
    pub model: String,
    /// Examples, and positions of each along every axis.
    pub shape: (usize, usize),
    /// By equation.
    pub equations: Vec<Cost>,
    /// Bytes of all buffers at their fullest, parameters left out.
    pub arena: usize,
    /// Bytes of the parameters.
    pub parameters: usize,
    /// Buffers, largest first.
    pub buffers: Vec<BufferCost>,
    /// Pairs of neighbouring kernels and why they are two.
    pub apart: Vec<(String, String, String)>,
}

/// What training on a batch of `examples` of `steps` positions costs.
///
/// # Errors
/// The model cannot be differentiated or compiled, or the batch does not fit in memory.
pub fn cost(checked: &Graph, examples: usize, steps: usize) -> Result<Costs, EmitError> {
    let (graph, kinds) = trained(checked)?;
    let graph = optimised(&graph, kinds)?;
    let plan = plan_of(checked)?;
    let layout = layout(&plan, examples, steps).map_err(|error| CompileError::Program(error.into()))?;
    let looped = in_loops(&graph)?;
    let counts = Counts { graph: &graph, examples, steps };
    let equations = outline(&graph).into_iter().map(|equation| {
        let in_loop = looped.contains(&equation.node);
        let operations = equation.nodes.iter().map(|&node| counts.operations(node)).sum();
        Cost {
            backward: matches!(graph.node(equation.node).origin.kind, OriginKind::Adjoint(_)),
            in_loop,
            operations,
            bytes: counts.bytes(&equation, in_loop),
            equation: equation.text,
        }
    });
    let parameters = graph.params.iter().map(|param| param.shape.iter().product::<usize>() * 4).sum();
    let (buffers, arena) = (buffers(&plan, &layout), layout.arena.bytes);
    Ok(Costs {
        model: checked.name.clone(),
        shape: (examples, steps),
        equations: equations.collect(),
        arena,
        parameters,
        buffers,
        apart: apart(&plan),
    })
}

/// Rows and memory of a plan for a batch of equally long examples.
///
/// # Errors
/// The batch does not fit in memory.
pub fn layout(plan: &Plan, examples: usize, steps: usize) -> Result<Layout, LayoutError> {
    let mut lengths = Lengths::uniform(examples, &vec![steps; plan.axes.len().saturating_sub(1)]);
    for axis in 1..plan.axes.len() {
        if plan.kind(axis) == crate::plan::AxisKind::Tree {
            let tree = Arc::new(complete(steps));
            lengths.trees.insert(axis, (0..examples).map(|_| Arc::clone(&tree)).collect());
        }
    }
    Layout::new(plan, Precision::F32, &lengths, 0..examples)
}

/// The buffers of a plan with their bytes, largest first.
pub fn buffers(plan: &Plan, layout: &Layout) -> Vec<BufferCost> {
    let mut found: Vec<BufferCost> = plan
        .buffers
        .iter()
        .zip(&layout.arena.places)
        .map(|(buffer, place)| BufferCost {
            name: buffer.name.clone(),
            rows: place.map_or(1, |place| place.rows),
            shape: buffer.shape.clone(),
            bytes: place.map_or(buffer.width * 4, |place| place.bytes),
            role: match (&buffer.role, buffer.residency) {
                (Role::Parameter(_), _) => "parameter",
                (Role::Input(_), _) => "input",
                (Role::Output(_), _) => "output",
                (Role::Temporary, Residency::All) => "kept for all rows",
                (Role::Temporary, Residency::Step) => "kept for a step",
                (Role::Temporary, Residency::Scratch) => "kept for a row",
                (Role::Setting(_), _) => "setting",
                (
                    Role::Position(_) | Role::Length(_) | Role::Count(_) | Role::RowKey | Role::Distinct(_),
                    _,
                ) => "layout",
            },
        })
        .collect();
    found.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.name.cmp(&b.name)));
    found
}

fn in_loops(graph: &Graph) -> Result<HashSet<NodeId>, CompileError> {
    let stages = schedule(graph).map_err(|error| CompileError::Plan(error.into()))?;
    let inside = stages.into_iter().flat_map(|stage| match stage {
        Stage::Loop { nodes, .. } => nodes,
        Stage::Flat(_) => Vec::new(),
    });
    Ok(inside.collect())
}

/// Positions of a batch, and what follows from them.
struct Counts<'a> {
    graph: &'a Graph,
    examples: usize,
    steps: usize,
}

impl Counts<'_> {
    fn positions(&self, axes: AxisSet) -> f64 {
        let graph = self.graph;
        let has_children =
            |tree: AxisId| axes.iter().any(|axis| graph.axis_kind(axis) == AxisKind::Children(tree));
        let count = |axis| match graph.axis_kind(axis) {
            AxisKind::Batch => self.examples,
            AxisKind::Tree if has_children(axis) => 1,
            AxisKind::Time | AxisKind::Tree => self.steps,
            AxisKind::Children(_) => self.steps.saturating_sub(1),
            AxisKind::Leaves(_) => self.steps.div_ceil(2),
        };
        axes.iter().map(|axis| count(axis) as f64).product()
    }

    /// Operations of a node, at all its positions.
    fn operations(&self, node: NodeId) -> f64 {
        let graph = self.graph;
        let ty = graph.ty(node);
        let operands = graph.operands(node);
        let own = ty.size() as f64 * self.positions(ty.axes);
        let first = || {
            let ty = operands.first().map(|&x| graph.type_at(x));
            ty.map_or(0.0, |ty| ty.size() as f64 * self.positions(ty.axes))
        };
        match graph.op(node) {
            Op::Input(_)
            | Op::Param(_)
            | Op::Constant(_)
            | Op::Position(_)
            | Op::Length(_)
            | Op::Count(_) => 0.0,
            Op::Setting(_) | Op::NoId | Op::Gather | Op::Slice { .. } | Op::Concat { .. } => 0.0,
            Op::Initially | Op::Copy | Op::Stop | Op::OneHot(_) => 0.0,
            Op::Random(_) | Op::Unary(_) | Op::Binary(_) | Op::Select => own,
            Op::ArgMax | Op::Reduce(..) => first(),
            // The largest, the difference to it, its exponential, the sum, and the share.
            Op::Softmax(Along::Last | Along::Axes(_)) => 5.0 * own,
            Op::LogSumExp => 4.0 * first(),
            Op::Contract(contract) => {
                let [a, b] = [0, 1].map(|index| graph.type_at(operands[index]));
                let mut size = 1.0;
                for (label, extent) in contract.left.iter().zip(&a.shape) {
                    size *= if contract.right.contains(label) { 1.0 } else { *extent as f64 };
                }
                size *= b.shape.iter().map(|&extent| extent as f64).product::<f64>();
                2.0 * size * self.positions(a.axes.union(b.axes))
            }
        }
    }

    fn bytes(&self, equation: &crate::ir::Equation, in_loop: bool) -> f64 {
        let graph = self.graph;
        let mut total = 0.0;
        for &operand in &equation.reads {
            let ty = graph.type_at(operand);
            let times = match graph.op(operand.node) {
                Op::Param(_) if in_loop => self.steps as f64,
                _ => self.positions(ty.axes),
            };
            total += 4.0 * ty.size() as f64 * times;
        }
        let own = graph.ty(equation.node);
        total + 4.0 * own.size() as f64 * self.positions(own.axes)
    }
}

/// Why each kernel is not one with the next.
fn apart(plan: &Plan) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for region in &plan.regions {
        // Packing weights is done ahead of all rows: what stands on both sides of it are neighbours.
        let work: Vec<&Kernel> =
            region.kernels().iter().filter(|kernel| !matches!(kernel.work, Work::Pack(_))).collect();
        for pair in work.windows(2) {
            found.push((name(plan, pair[0]), name(plan, pair[1]), reason(plan, pair[0], pair[1])));
        }
    }
    found
}

/// A kernel by its last equation, or its label.
fn name(plan: &Plan, kernel: &Kernel) -> String {
    let equation = kernel.equations.last().map(|text| text.split(" = ").next().unwrap_or(text).to_string());
    match (&kernel.work, equation) {
        (Work::Pack(_), _) | (_, None) => label(plan, kernel),
        (_, Some(left)) => left,
    }
}

fn reason(plan: &Plan, first: &Kernel, second: &Kernel) -> String {
    let writes = |kernel: &Kernel| -> HashSet<usize> {
        let uses = places(&kernel.work);
        uses.iter().filter(|used| used.access == Access::Write).map(|used| used.place.at.buffer).collect()
    };
    let written = writes(first);
    let shared = places(&second.work)
        .iter()
        .filter(|used| used.access == Access::Read && written.contains(&used.place.at.buffer))
        .map(|used| {
            (
                plan.buffers[used.place.at.buffer].name.clone(),
                matches!(used.place.at.row, Row::Map(_) | Row::MapOr(..)),
            )
        })
        .next();
    let rows = |space: usize| {
        let axes: Vec<&str> = plan.spaces[space].axes.iter().map(|&axis| plan.axes[axis].as_str()).collect();
        if axes.is_empty() { "a single row".to_string() } else { format!("rows of {}", axes.join(" x ")) }
    };
    match (&first.work, &second.work, shared) {
        (Work::Pack(_), _, _) | (_, Work::Pack(_), _) => {
            "weights are packed once, ahead of all rows".to_string()
        }
        (Work::Rows(a), Work::Rows(b), _) if a.space != b.space => {
            format!("one works on {}, the other on {}", rows(a.space), rows(b.space))
        }
        (Work::Rows(_), Work::Rows(_), Some((buffer, true))) => {
            format!("the second reads {buffer} at another position: all rows must have it first")
        }
        (Work::Rows(_), Work::Rows(_), _) => "work of another kind comes between what they read".to_string(),
        (Work::Gemm(_), Work::Gemm(_), Some((buffer, _))) => {
            format!("the second product multiplies {buffer}, which the first one makes")
        }
        (Work::Gemm(_), Work::Gemm(_), None) => {
            "two products of different rows or by different matrices".to_string()
        }
        (Work::Gemm(_), Work::Rows(_), Some((buffer, _))) => {
            format!("a product runs over packed weights in tiles of rows; the arithmetic follows on {buffer}")
        }
        (Work::Rows(_), Work::Gemm(_), Some((buffer, _))) => {
            format!("the product needs whole rows of {buffer}")
        }
        (_, Work::Outer(_) | Work::Combine(_) | Work::Scatter(_), _) => {
            "the second sums over rows: all of them must be there".to_string()
        }
        (Work::Outer(_) | Work::Combine(_) | Work::Scatter(_), _, _) => {
            "the first sums over rows: its result is there when all are done".to_string()
        }
        (Work::Random(_), _, _) | (_, Work::Random(_), _) => {
            "random numbers are drawn by a kernel of their own".to_string()
        }
        _ => "a product and arithmetic are different kinds of kernels".to_string(),
    }
}
