//! Where a value is read from: which stored row, and which window of it.
//!
//! Slices, copies, starts and rows of a table are not computed: who reads `z[0:H]` reads the stored `z` at
//! an offset, who reads `initially(h[t-1], h0)` reads the row before or, where there is none, that of `h0`.

use std::collections::HashSet;

use crate::ir::{Access, Along, AxisSet, Graph, NodeId, Op, Operand};

/// A window into the row of a stored value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    /// Which row.
    pub source: Source,
    /// Elements from the start of the stored value to the first one of the window.
    pub offset: usize,
    /// Elements from one index to the next, for each dimension of the value read.
    pub strides: Vec<usize>,
}

/// A row of a stored value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    /// The node's row at an access.
    At(NodeId, Access),
    /// The same, or where that does not exist the row of another value of the same form.
    Or(NodeId, Access, Box<Source>),
    /// Row `id` of a single stored table (elements a row).
    Row { table: NodeId, pitch: usize, id: Box<Source> },
}

/// Row-major strides of a shape.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    strides
}

/// True for operations that are read through.
pub(super) fn is_view_op(op: &Op) -> bool {
    matches!(op, Op::Slice { .. } | Op::Copy | Op::Initially | Op::Gather)
}

/// The view that reading `operand` is, when the nodes of `stored` (and everything that is no view
/// operation) have memory of their own. `None` if there is no such window.
pub(super) fn view(graph: &Graph, stored: &HashSet<NodeId>, operand: Operand) -> Option<View> {
    let Operand { node, access } = operand;
    let ty = graph.ty(node);
    let op = graph.op(node);
    if stored.contains(&node) || !is_view_op(op) {
        return Some(View { source: Source::At(node, access), offset: 0, strides: row_major(&ty.shape) });
    }
    look_through(graph, stored, operand)
}

/// The window that a view operation is, whether it has memory of its own or not.
pub(super) fn look_through(graph: &Graph, stored: &HashSet<NodeId>, operand: Operand) -> Option<View> {
    let Operand { node, access } = operand;
    let ty = graph.ty(node);
    let operands = graph.operands(node);
    match graph.op(node) {
        Op::Slice { dim, start, .. } => {
            let inner = Operand { node: operands[0].node, access: access.after(operands[0].access)? };
            let mut view = view(graph, stored, inner)?;
            view.offset += start * view.strides[*dim];
            Some(view)
        }
        Op::Copy => {
            let inner = operands[0];
            if !graph.type_at(inner).axes.covers(access.needs()) {
                // A repetition has ends, what is repeated has none.
                return None;
            }
            view(graph, stored, Operand { node: inner.node, access: access.after(inner.access)? })
        }
        Op::Initially => {
            if access != Access::Here {
                return None;
            }
            let main = view(graph, stored, operands[0])?;
            let start = view(graph, stored, operands[1])?;
            let plain = |view: &View| view.offset == 0 && view.strides == row_major(&ty.shape);
            match (main.source.clone(), plain(&main) && plain(&start)) {
                (Source::At(source, access), true) if access != Access::Here => {
                    let source = Source::Or(source, access, Box::new(start.source));
                    Some(View { source, ..main })
                }
                _ => None,
            }
        }
        Op::Gather => {
            let id = Operand { node: operands[1].node, access: access.after(operands[1].access)? };
            let id = view(graph, stored, id)?;
            let table = view(graph, stored, operands[0])?;
            match (table.source, id.source) {
                (Source::At(table_node, _), id @ (Source::At(..) | Source::Or(..)))
                    if graph.ty(table_node).axes == AxisSet::NONE =>
                {
                    let (&pitch, strides) = table.strides.split_first()?;
                    let source = Source::Row { table: table_node, pitch, id: Box::new(id) };
                    Some(View { source, offset: table.offset, strides: strides.to_vec() })
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The stored nodes that a source reads.
pub(super) fn reads(source: &Source, found: &mut Vec<(NodeId, Access)>) {
    match source {
        Source::At(node, access) => found.push((*node, *access)),
        Source::Or(node, access, otherwise) => {
            found.push((*node, *access));
            reads(otherwise, found);
        }
        Source::Row { table, id, .. } => {
            found.push((*table, Access::Here));
            reads(id, found);
        }
    }
}

/// View operations that need memory after all, because some reader cannot look through them.
pub(super) fn must_store(graph: &Graph, live: &HashSet<NodeId>) -> HashSet<NodeId> {
    let mut stored: HashSet<NodeId> = graph
        .outputs
        .iter()
        .map(|output| output.value.node)
        .filter(|&node| is_view_op(graph.op(node)))
        .collect();
    break_cycles(graph, live, &mut stored);
    loop {
        let before = stored.len();
        for &node in live {
            let addressed = is_addressed(graph, node);
            for operand in graph.operands(node) {
                match view(graph, &stored, operand) {
                    None => {
                        let blocked = blocker(graph, &stored, operand);
                        stored.insert(blocked);
                    }
                    Some(seen) => {
                        // Numbers are written into arithmetic, but a row must be somewhere.
                        let mut sources = Vec::new();
                        reads(&seen.source, &mut sources);
                        let plain = matches!(seen.source, Source::At(..)) && !addressed;
                        let constants = sources.iter().map(|(source, _)| *source);
                        stored.extend(constants.filter(|&source| !plain && is_constant(graph, source)));
                        if addressed && !is_dense(graph, &seen, operand) && is_view_op(graph.op(operand.node))
                        {
                            stored.insert(operand.node);
                        }
                    }
                }
            }
            if stored.contains(&node)
                && is_view_op(graph.op(node))
                && let Some(seen) = look_through(graph, &stored, Operand::from(node))
                && !matches!(seen.source, Source::At(..))
            {
                let mut sources = Vec::new();
                reads(&seen.source, &mut sources);
                stored
                    .extend(sources.into_iter().map(|(source, _)| source).filter(|&s| is_constant(graph, s)));
            }
        }
        if stored.len() == before {
            return stored;
        }
    }
}

fn is_constant(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op(node), Op::Constant(_))
}

/// True for work that reads its operands as dense rows in memory: products and reductions over rows.
fn is_addressed(graph: &Graph, node: NodeId) -> bool {
    match graph.op(node) {
        Op::Reduce(_, Along::Axes(_)) => true,
        Op::Contract(contract) => {
            !contract.over.is_empty() || super::regions::gemm_sides(graph, node, contract).is_some()
        }
        _ => false,
    }
}

/// True if the value lies in one piece, or is a matrix (which is packed from any strides).
fn is_dense(graph: &Graph, seen: &View, operand: Operand) -> bool {
    let shape = graph.type_at(operand).shape;
    let single_matrix = shape.len() == 2 && graph.type_at(operand).axes == AxisSet::NONE;
    let rows_dense = seen.strides.last().is_none_or(|&stride| stride == 1);
    let at = matches!(seen.source, Source::At(..));
    if single_matrix { rows_dense && at } else { seen.strides == row_major(&shape) }
}

/// A cycle of nothing but windows (`h[t] = h[t-1]`) would be looked through for ever: one of it is stored.
fn break_cycles(graph: &Graph, live: &HashSet<NodeId>, stored: &mut HashSet<NodeId>) {
    let mut done: HashSet<NodeId> = HashSet::new();
    let mut roots: Vec<NodeId> = live.iter().copied().collect();
    roots.sort_unstable();
    for root in roots {
        // Depth first with an explicit stack; `open` is the path to the node being looked at.
        let mut open: HashSet<NodeId> = HashSet::new();
        let mut stack = vec![(root, false)];
        while let Some((node, leaving)) = stack.pop() {
            if leaving {
                open.remove(&node);
                done.insert(node);
                continue;
            }
            if done.contains(&node) || stored.contains(&node) || !is_view_op(graph.op(node)) {
                continue;
            }
            if !open.insert(node) {
                stored.insert(node);
                continue;
            }
            stack.push((node, true));
            stack.extend(graph.operands(node).iter().map(|operand| (operand.node, false)));
        }
    }
}

/// The view operation nearest to the reader that has no window as it is read.
fn blocker(graph: &Graph, stored: &HashSet<NodeId>, operand: Operand) -> NodeId {
    let here = Operand::from(operand.node);
    if view(graph, stored, here).is_some() || *graph.op(operand.node) != Op::Initially {
        return operand.node;
    }
    // A start whose two sides differ in form: give the side that is a window memory of its own.
    for inner in graph.operands(operand.node) {
        let node = inner.node;
        let form = view(graph, stored, inner);
        let plain = form.is_some_and(|form| {
            form.offset == 0
                && form.strides == row_major(&graph.ty(node).shape)
                && matches!(form.source, Source::At(..))
        });
        if !plain && is_view_op(graph.op(node)) && !stored.contains(&node) {
            return node;
        }
    }
    operand.node
}
