//! Trees for tests: of named forms and at random, and the positions that examples have on axes.

use super::Rng;
use crate::eval::Feeds;
use crate::ir::{AxisId, AxisKind, AxisSet, BATCH, Graph, Tree};

/// How a tree looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every node but the last has one child.
    Chain,
    /// Every inner node has two children, the left one a leaf.
    Comb,
    /// Every inner node has two children, of the same size where that is possible.
    Balanced,
    /// All nodes but the root are its children.
    Star,
    /// Each node below any of those before it, no node with more children than this.
    Random(usize),
}

/// A tree of this many nodes, numbered as a text names them.
pub fn tree(rng: &mut Rng, form: Form, nodes: usize) -> Tree {
    let mut parents = vec![-1; nodes];
    let mut arities = vec![0; nodes];
    for (node, above) in parents.iter_mut().enumerate().skip(1) {
        let parent = match form {
            Form::Chain => node - 1,
            Form::Comb => (node - 1) / 2 * 2,
            Form::Balanced => (node - 1) / 2,
            Form::Star => 0,
            Form::Random(most) => {
                let free: Vec<usize> = (0..node).filter(|&of| arities[of] < most).collect();
                rng.choose(&free).unwrap_or(node - 1)
            }
        };
        arities[parent] += 1;
        *above = i64::try_from(parent).unwrap_or(-1);
    }
    Tree::new(&parents).unwrap_or_default()
}

/// Coordinates (one for each of `axes` but the batch) of all positions of an example, in the order in
/// which inputs list them: row-major, a node and its child as one number.
pub fn coordinates(graph: &Graph, feeds: &Feeds, axes: AxisSet, example: usize) -> Vec<Vec<usize>> {
    let steps: Vec<AxisId> = axes.without(BATCH).iter().collect();
    let at = |axis: AxisId| steps.iter().position(|other| *other == axis);
    let mut found = vec![vec![0; steps.len()]];
    for (place, &axis) in steps.iter().enumerate() {
        let kind = graph.axis_kind(axis);
        if matches!(kind, AxisKind::Children(_)) {
            continue;
        }
        let nodes = kind.tree(axis).and_then(|tree| feeds.trees.get(graph.axis_name(tree))?.get(example));
        let length = match (kind, nodes) {
            (AxisKind::Leaves(_), Some(nodes)) => nodes.leaves().len(),
            (_, Some(nodes)) => nodes.len(),
            (_, None) => feeds.lengths.get(graph.axis_name(axis)).map_or(0, |lengths| lengths[example]),
        };
        let children = graph.axes.iter().position(|other| other.kind == AxisKind::Children(axis));
        let children = children.and_then(|number| at(AxisId(u8::try_from(number).ok()?)));
        let mut longer = Vec::new();
        for prefix in found {
            for position in 0..length {
                let arity = match (children, nodes) {
                    (Some(_), Some(nodes)) => nodes.arity(position),
                    _ => 1,
                };
                for child in 0..arity {
                    let mut next = prefix.clone();
                    next[place] = position;
                    if let Some(children) = children {
                        next[children] = child;
                    }
                    longer.push(next);
                }
            }
        }
        found = longer;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_what_they_are_called() {
        let mut rng = Rng::new(1);
        assert_eq!(tree(&mut rng, Form::Chain, 5).levels(), 5);
        assert_eq!(tree(&mut rng, Form::Star, 5).leaves(), [1, 2, 3, 4]);
        let balanced = tree(&mut rng, Form::Balanced, 7);
        assert_eq!((balanced.levels(), balanced.leaves().len()), (3, 4));
        let comb = tree(&mut rng, Form::Comb, 7);
        assert_eq!((comb.levels(), comb.leaves(), comb.arity(2)), (4, &[1, 3, 5, 6][..], 2));
        assert!(tree(&mut rng, Form::Random(2), 40).largest_arity() <= 2);
        assert!(tree(&mut rng, Form::Random(3), 0).is_empty());
    }
}
