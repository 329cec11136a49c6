//! The shape of a tree: who is whose child, in which order, how high and which are the leaves.
//!
//! Nodes are numbered so that a parent comes before its children; node 0 is the root. The tree of
//! `(a (b c) d)` is, in the order of the text, `parents = [-1, 0, 1, 0]`: node 1 has one child, the leaves
//! are 2 and 3. Children of a node are in the order of their numbers. A tree may have no node at all.

use thiserror::Error;

/// Why numbers are not a tree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TreeError {
    /// The first node has a parent.
    #[error("node 0 is the root, whose parent is -1, not {0}")]
    Root(i64),
    /// Another node has none.
    #[error("node {0} is a second root: only node 0 has the parent -1")]
    SecondRoot(usize),
    /// A parent that does not come before its child: a cycle, a forward reference, or no node.
    #[error("the parent of node {node} is {parent}, but a parent comes before its children")]
    Order {
        /// The child.
        node: usize,
        /// What is given as its parent.
        parent: i64,
    },
    /// More nodes than a number can tell apart.
    #[error("a tree of {0} nodes is too large")]
    TooLarge(usize),
}

/// A tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// By node; the root's is never looked at.
    parents: Vec<u32>,
    /// By node: its number among its parent's children.
    ranks: Vec<u32>,
    /// Where the children of a node begin in `children`, and behind the last.
    starts: Vec<u32>,
    /// Children by parent: one for each edge.
    children: Vec<u32>,
    /// Steps down to the farthest leaf below.
    heights: Vec<u32>,
    /// Nodes without children, in order.
    leaves: Vec<u32>,
    /// By node: its number among the leaves if it is one.
    leaf_numbers: Vec<Option<u32>>,
}

impl Tree {
    /// From the parent of each node, -1 for the root.
    ///
    /// # Errors
    /// If a parent does not come before its child, or there is not exactly one root, the first node.
    pub fn new(parents: &[i64]) -> Result<Tree, TreeError> {
        let count = u32::try_from(parents.len()).map_err(|_| TreeError::TooLarge(parents.len()))?;
        let mut tree = Tree { parents: vec![0; parents.len()], ..Tree::default() };
        for (node, &parent) in parents.iter().enumerate() {
            match (node, parent) {
                (0, -1) => {}
                (0, parent) => return Err(TreeError::Root(parent)),
                (_, -1) => return Err(TreeError::SecondRoot(node)),
                _ => match u32::try_from(parent).ok().filter(|&parent| (parent as usize) < node) {
                    Some(parent) => tree.parents[node] = parent,
                    None => return Err(TreeError::Order { node, parent }),
                },
            }
        }
        tree.starts = vec![0; parents.len() + 1];
        for &parent in tree.parents.iter().skip(1) {
            tree.starts[parent as usize + 1] += 1;
        }
        for node in 0..parents.len() {
            tree.starts[node + 1] += tree.starts[node];
        }
        tree.ranks = vec![0; parents.len()];
        tree.children = vec![0; parents.len().saturating_sub(1)];
        tree.heights = vec![0; parents.len()];
        let mut filled = vec![0u32; parents.len()];
        for (node, child) in (0..count).enumerate().skip(1) {
            let parent = tree.parents[node] as usize;
            tree.ranks[node] = filled[parent];
            tree.children[(tree.starts[parent] + filled[parent]) as usize] = child;
            filled[parent] += 1;
        }
        for node in (1..parents.len()).rev() {
            let parent = tree.parents[node] as usize;
            tree.heights[parent] = tree.heights[parent].max(tree.heights[node] + 1);
        }
        tree.leaves = (0..count).filter(|&node| filled[node as usize] == 0).collect();
        tree.leaf_numbers = vec![None; parents.len()];
        for (number, &leaf) in (0..count).zip(&tree.leaves) {
            tree.leaf_numbers[leaf as usize] = Some(number);
        }
        Ok(tree)
    }

    /// How many nodes.
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// True if there is no node.
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// A node's parent; the root has none.
    pub fn parent(&self, node: usize) -> Option<usize> {
        if node == 0 { None } else { self.parents.get(node).map(|&parent| parent as usize) }
    }

    /// Which of its parent's children a node is, from 0 (the root: 0).
    pub fn rank(&self, node: usize) -> usize {
        self.ranks.get(node).map_or(0, |&rank| rank as usize)
    }

    /// How many children a node has.
    pub fn arity(&self, node: usize) -> usize {
        match (self.starts.get(node), self.starts.get(node + 1)) {
            (Some(start), Some(end)) => (end - start) as usize,
            _ => 0,
        }
    }

    /// A node's child of this number.
    pub fn child(&self, node: usize, number: usize) -> Option<usize> {
        (number < self.arity(node)).then(|| self.children[self.edge(node, number)] as usize)
    }

    /// The number of the edge from a node to a child: edges are counted parent by parent, child by child.
    pub fn edge(&self, node: usize, number: usize) -> usize {
        self.starts.get(node).map_or(0, |&start| start as usize) + number
    }

    /// How many edges: one for each node but the root.
    pub fn edges(&self) -> usize {
        self.children.len()
    }

    /// Steps down from a node to the farthest leaf below it.
    pub fn height(&self, node: usize) -> usize {
        self.heights.get(node).map_or(0, |&height| height as usize)
    }

    /// How many levels: one more than the root's height.
    pub fn levels(&self) -> usize {
        self.heights.first().map_or(0, |&height| height as usize + 1)
    }

    /// The nodes without children, in order.
    pub fn leaves(&self) -> &[u32] {
        &self.leaves
    }

    /// A node's number among the leaves, if it is one.
    pub fn leaf_number(&self, node: usize) -> Option<usize> {
        self.leaf_numbers.get(node).copied().flatten().map(|number| number as usize)
    }

    /// The most children that a node has.
    pub fn largest_arity(&self) -> usize {
        (0..self.len()).map(|node| self.arity(node)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_tree() {
        let tree = Tree::new(&[-1, 0, 1, 0, 3, 3, 3]).unwrap();
        assert_eq!((tree.len(), tree.edges(), tree.levels()), (7, 6, 3));
        let children = |node| (0..tree.arity(node)).filter_map(|at| tree.child(node, at)).collect::<Vec<_>>();
        assert_eq!((children(0), children(1), children(3)), (vec![1, 3], vec![2], vec![4, 5, 6]));
        assert_eq!((tree.child(1, 1), tree.child(2, 0)), (None, None));
        assert_eq!(tree.leaves(), [2, 4, 5, 6]);
        assert_eq!((tree.leaf_number(4), tree.leaf_number(3)), (Some(1), None));
        assert_eq!((tree.parent(0), tree.parent(6), tree.rank(6)), (None, Some(3), 2));
        assert_eq!((tree.edge(3, 0), tree.edge(3, 2), tree.largest_arity()), (3, 5, 3));
        assert_eq!((tree.height(0), tree.height(1), tree.height(2)), (2, 1, 0));
    }

    #[test]
    fn the_smallest_trees() {
        let none = Tree::new(&[]).unwrap();
        assert_eq!((none.len(), none.edges(), none.levels(), none.leaves().len()), (0, 0, 0, 0));
        let one = Tree::new(&[-1]).unwrap();
        assert_eq!((one.len(), one.edges(), one.levels(), one.leaves()), (1, 0, 1, &[0][..]));
        assert_eq!((one.parent(0), one.arity(0)), (None, 0));
    }

    #[test]
    fn what_is_no_tree() {
        assert_eq!(Tree::new(&[0]), Err(TreeError::Root(0)));
        assert_eq!(Tree::new(&[-1, 0, -1]), Err(TreeError::SecondRoot(2)));
        assert_eq!(Tree::new(&[-1, 2, 0]), Err(TreeError::Order { node: 1, parent: 2 }));
        assert_eq!(Tree::new(&[-1, 1]), Err(TreeError::Order { node: 1, parent: 1 }));
        assert_eq!(Tree::new(&[-1, -2]), Err(TreeError::Order { node: 1, parent: -2 }));
    }

    #[test]
    fn a_deep_tree_needs_no_stack() {
        let chain: Vec<i64> = (0..200_000).map(|node| node - 1).collect();
        assert_eq!(Tree::new(&chain).unwrap().levels(), 200_000);
    }
}
