//! Products that share an operand: one product.
//!
//! Four gates, `W_f @ h`, `W_i @ h`, `W_c @ h`, `W_o @ h`, become four slices of `[W_f, W_i, W_c, W_o] @ h`; a
//! sum of products inside a loop, `A.T @ a + B.T @ b`, becomes `[A, B].T @ [a, b]`, and
//! `A @ h[left] + B @ h[right]` becomes `[A, B] @ [h[left], h[right]]`; weight gradients
//! `sum(outer(a, x) over t)` and `sum(outer(b, x) over t)` of few rows become slices of one.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::rewrite::{all_or_halves, is_used, make};
use crate::ir::{Access, AxisSet, Binary, Contract, Graph, NodeId, Op, Operand, Stage, schedule};

pub(super) fn run(graph: &mut Graph) -> bool {
    let sums = merge_sums(graph);
    // Merged sums of different gates read the same joins: only once those are one node are they shared.
    if sums {
        super::simplify::run(graph);
        super::common::run(graph);
    }
    let shared = merge_shared(graph);
    sums | shared
}

/// Rows of a sum of outer products from which on it is a product of its own.
const LARGE: usize = 128;

/// In which loop a node is; `None` if in none.
fn loops(graph: &Graph) -> (HashMap<NodeId, usize>, HashMap<NodeId, usize>) {
    let mut of = HashMap::new();
    let mut position = HashMap::new();
    for (number, stage) in schedule(graph).unwrap_or_default().into_iter().enumerate() {
        match stage {
            Stage::Flat(node) => {
                position.insert(node, position.len());
            }
            Stage::Loop { nodes, .. } => {
                for node in nodes {
                    of.insert(node, number);
                    position.insert(node, position.len());
                }
            }
        }
    }
    (of, position)
}

/// A product of a single-valued matrix with a vector: `W @ x` or `W.T @ x`.
struct Product {
    node: NodeId,
    matrix: Operand,
    vector: Operand,
    /// True for `W.T @ x`.
    transposed: bool,
}

fn as_product(graph: &Graph, node: NodeId) -> Option<Product> {
    let Op::Contract(contract) = graph.op(node) else { return None };
    let operands = graph.operands(node);
    let (matrix, vector) = (operands[0], operands[1]);
    let single = graph.type_at(matrix).axes == AxisSet::NONE && graph.type_at(vector).axes != AxisSet::NONE;
    let transposed = match (&contract.left[..], &contract.right[..], &contract.out[..]) {
        ([i, j], [k], [l]) if j == k && i == l => false,
        ([i, j], [k], [l]) if i == k && j == l => true,
        _ => return None,
    };
    (single && contract.over.is_empty()).then_some(Product { node, matrix, vector, transposed })
}

fn matvec(transposed: bool) -> Option<Op> {
    Contract::parse(if transposed { "ij,i->j" } else { "ij,j->i" }).map(Op::Contract)
}

/// `A.T @ a + B.T @ b + rest` inside one loop as `[A, B].T @ [a, b] + rest`.
fn merge_sums(graph: &mut Graph) -> bool {
    let mut changed = false;
    let (in_loop, _) = loops(graph);
    for id in graph.ids() {
        let is_sum = |graph: &Graph, id: NodeId| *graph.op(id) == Op::Binary(Binary::Add);
        if !graph.contains(id) || !is_used(graph, id) || !is_sum(graph, id) {
            continue;
        }
        let inner =
            graph.users(id).iter().any(|(user, _, access)| is_sum(graph, *user) && *access == Access::Here);
        let own_loop = in_loop.get(&id);
        if inner && graph.users(id).len() == 1 {
            continue;
        }
        let mut terms = Vec::new();
        flatten(graph, id.into(), id, &mut terms);
        let mut groups: BTreeMap<bool, Vec<Product>> = BTreeMap::new();
        let mut rest = Vec::new();
        for &term in &terms {
            let product = (term.access == Access::Here && graph.users(term.node).len() == 1)
                .then(|| as_product(graph, term.node))
                .flatten()
                .filter(|product| in_loop.get(&product.node) == own_loop);
            match product {
                Some(product) => groups.entry(product.transposed).or_default().push(product),
                None => rest.push(term),
            }
        }
        if groups.values().all(|group| group.len() < 2) {
            continue;
        }
        let mut parts: Vec<Operand> = rest;
        for (transposed, group) in groups {
            let merged = if group.len() < 2 { None } else { sum_of(graph, id, transposed, &group) };
            match merged {
                Some(merged) => parts.push(merged),
                None => parts.extend(group.iter().map(|product| Operand::from(product.node))),
            }
        }
        let mut parts = parts.into_iter();
        let Some(mut sum) = parts.next() else { continue };
        for part in parts {
            match make(graph, id, Op::Binary(Binary::Add), &[sum, part]) {
                Some(node) => sum = node.into(),
                None => return changed,
            }
        }
        graph.replace(id, sum);
        changed = true;
    }
    changed
}

fn flatten(graph: &Graph, at: Operand, root: NodeId, terms: &mut Vec<Operand>) {
    let is_inner = at == root.into()
        || (at.access == Access::Here
            && graph.users(at.node).len() == 1
            && graph.node(at.node).name.is_none());
    if is_inner && *graph.op(at.node) == Op::Binary(Binary::Add) && graph.ty(at.node) == graph.ty(root) {
        for operand in graph.operands(at.node) {
            flatten(graph, operand, root, terms);
        }
    } else {
        terms.push(at);
    }
}

fn sum_of(graph: &mut Graph, like: NodeId, transposed: bool, group: &[Product]) -> Option<Operand> {
    let matrices: Vec<Operand> = group.iter().map(|product| product.matrix).collect();
    let matrix = make(graph, like, Op::Concat { dim: usize::from(!transposed) }, &matrices)?;
    let read: Vec<Operand> = group.iter().map(|product| product.vector).collect();
    let access = read.first()?.access;
    // What is read at one position is joined where it is computed.
    let (vectors, access) = match read.iter().all(|vector| vector.access == access) {
        true => (read.iter().map(|vector| vector.node.into()).collect(), access),
        false => (read, Access::Here),
    };
    let vector = make(graph, like, Op::Concat { dim: 0 }, &vectors)?;
    let vector = Operand { node: vector, access };
    make(graph, like, matvec(transposed)?, &[matrix.into(), vector]).map(Operand::from)
}

/// What the products of a group share, and whether they are `W.T @ x`.
type Shared = (Operand, bool);

/// Products with one common operand, of the same loop, as slices of one.
fn merge_shared(graph: &mut Graph) -> bool {
    let mut changed = false;
    let mut refused: HashSet<Shared> = HashSet::new();
    // What was merged may be shared in its turn.
    loop {
        let groups = shared_groups(graph, &refused);
        let mut merge = |graph: &mut Graph, (_, group): &(Shared, Vec<Member>)| merge_group(graph, group);
        if !all_or_halves(graph, &groups, &mut merge, &mut |(shared, _)| {
            refused.insert(*shared);
        }) {
            return changed;
        }
        changed = true;
    }
}

/// One product of a group. Its second operand is what the group shares.
struct Member {
    node: NodeId,
    contract: Contract,
}

/// Products of one place that share an operand, in the order in which they are computed.
fn shared_groups(graph: &Graph, refused: &HashSet<Shared>) -> Vec<(Shared, Vec<Member>)> {
    let (in_loop, position) = loops(graph);
    let mut groups: BTreeMap<(usize, Operand, bool, String), Vec<Member>> = BTreeMap::new();
    for id in graph.ids() {
        let Op::Contract(contract) = graph.op(id).clone() else { continue };
        if !is_used(graph, id) || contract.out.is_empty() {
            continue;
        }
        let operands = graph.operands(id);
        let place = in_loop.get(&id).map_or(0, |number| number + 1);
        if contract.over.is_empty() {
            // W @ x: the vector is shared, the matrices are joined.
            let Some(product) = as_product(graph, id) else { continue };
            let key = (place, product.vector, product.transposed, "product".into());
            groups.entry(key).or_default().push(Member { node: id, contract });
        } else if let ([_], [_], [_, _]) = (&contract.left[..], &contract.right[..], &contract.out[..]) {
            // Large ones gain nothing by it, and would have to be cut up again.
            let large = graph.ty(id).shape[0] >= LARGE;
            if large || matches!(graph.op(operands[0].node), Op::OneHot(_)) {
                continue;
            }
            let shape = format!("{:?} {}", contract.over, contract.mean);
            // The left operands are joined, the right one is shared: the result's rows are joined.
            let key = (place, operands[1], false, shape);
            groups.entry(key).or_default().push(Member { node: id, contract });
        }
    }
    groups
        .into_iter()
        .filter(|((_, shared, transposed, _), group)| {
            group.len() > 1 && !refused.contains(&(*shared, *transposed))
        })
        .map(|((_, shared, transposed, _), mut group)| {
            group.sort_by_key(|member| position.get(&member.node).copied());
            ((shared, transposed), group)
        })
        .collect()
}

fn merge_group(graph: &mut Graph, group: &[Member]) -> Option<()> {
    let first = group.first()?;
    let shared = graph.operands(first.node)[1];
    let is_outer = !first.contract.over.is_empty();
    let joined_dim = if is_outer {
        0
    } else {
        // The dimension of the matrix that is in the result.
        first.contract.left.iter().position(|label| first.contract.out.contains(label))?
    };
    // Another group may have replaced what was theirs when they were found.
    let own: Vec<Operand> = group.iter().map(|member| graph.operands(member.node)[0]).collect();
    let accesses: HashSet<Access> = own.iter().map(|operand| operand.access).collect();
    if accesses.len() > 1 {
        return None;
    }
    let access = own[0].access;
    let here: Vec<Operand> = own.iter().map(|operand| Operand::from(operand.node)).collect();
    let join = make(graph, first.node, Op::Concat { dim: joined_dim }, &here)?;
    let merged = make(
        graph,
        first.node,
        Op::Contract(first.contract.clone()),
        &[Operand { node: join, access }, shared],
    )?;
    let mut slices = Vec::new();
    let mut start = 0;
    for (member, own) in group.iter().zip(own) {
        let len = graph.type_at(own).shape[joined_dim];
        slices.push((
            member.node,
            make(graph, member.node, Op::Slice { dim: 0, start, len }, &[merged.into()])?,
        ));
        start += len;
    }
    for &(node, slice) in &slices {
        let name = graph.node_mut(node).name.take();
        graph.node_mut(slice).name = name;
        graph.replace(node, slice.into());
    }
    for member in group {
        graph.remove(member.node);
    }
    Some(())
}
