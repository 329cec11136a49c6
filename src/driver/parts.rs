//! How a batch is split into groups: by its sizes alone, so that results depend on nothing else.

use std::ops::Range;

use crate::runtime::layout::Lengths;

/// Examples of a group, about: enough for full product tiles, few enough for caches.
const GROUP: usize = 16;
/// Examples of a group in a batch of few: full product tiles all the same.
const SMALL_GROUP: usize = 8;

/// Nodes of a group of trees at most, about: enough for full product tiles on most levels and for words to occur
/// again, few enough for caches.
const NODES: usize = 2048;
/// Nodes of a batch of trees that is one group.
const FEW: usize = 512;

/// The examples of each group. Trees go by their nodes, since they differ much in size.
pub(super) fn parts(lengths: &Lengths) -> Vec<Range<usize>> {
    let examples = lengths.examples;
    if lengths.trees.is_empty() {
        let count = groups(examples);
        return (0..count).map(|group| part(examples, group, count)).collect();
    }
    let nodes = |example: usize| lengths.trees.values().map(|trees| trees[example].len()).sum::<usize>();
    // Where each tree ends among all nodes.
    let ends: Vec<usize> = (0..examples)
        .scan(0, |end, example| {
            *end += nodes(example);
            Some(*end)
        })
        .collect();
    let total = ends.last().copied().unwrap_or(0);
    let count = if total <= FEW { 1 } else { 2 * total.div_ceil(2 * NODES) };
    // A tree belongs to the group in which its middle lies.
    let middle = |example: usize| ends[example] * 2 - nodes(example);
    let first = |group: usize| {
        (0..examples).find(|&example| middle(example) * count >= 2 * total * group).unwrap_or(examples)
    };
    let bounds: Vec<usize> = (0..count).map(first).chain([examples]).collect();
    let parts = bounds.windows(2).map(|pair| pair[0]..pair[1]);
    let parts: Vec<Range<usize>> = parts.filter(|part| !part.is_empty()).collect();
    let whole = 0..examples;
    if parts.is_empty() { Vec::from([whole]) } else { parts }
}

/// How many groups a batch is split into.
fn groups(examples: usize) -> usize {
    let size = if examples < 2 * GROUP { SMALL_GROUP } else { GROUP };
    examples.div_ceil(size).max(1)
}

/// The examples of a group, as even as can be.
fn part(examples: usize, group: usize, groups: usize) -> Range<usize> {
    examples * group / groups..examples * (group + 1) / groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_the_batch_evenly() {
        for examples in 0..100usize {
            let count = groups(examples);
            let parts: Vec<_> = (0..count).map(|group| part(examples, group, count)).collect();
            assert_eq!(parts.iter().map(Range::len).sum::<usize>(), examples);
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let longest = parts.iter().map(Range::len).max().unwrap();
            assert!(longest <= GROUP && longest - parts.iter().map(Range::len).min().unwrap() <= 1);
        }
    }

    #[test]
    fn trees_go_to_groups_by_their_nodes() {
        let mut rng = crate::testing::Rng::new(1);
        for trees in 0..60 {
            let sizes: Vec<usize> = (0..trees).map(|_| rng.below(90)).collect();
            let tree = |&nodes: &usize| {
                let parents: Vec<i64> = (0..nodes as i64).map(|node| node - 1).collect();
                std::sync::Arc::new(crate::base::Tree::new(&parents).unwrap())
            };
            let trees = sizes.iter().map(tree).collect::<Vec<_>>();
            let lengths = Lengths { examples: trees.len(), trees: [(1, trees)].into(), ..Lengths::default() };
            let parts = parts(&lengths);
            assert_eq!(parts.first().map(|part| part.start), Some(0));
            assert_eq!(parts.last().map(|part| part.end), Some(sizes.len()));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let nodes: Vec<usize> = parts.iter().map(|part| sizes[part.clone()].iter().sum()).collect();
            let (most, least) = (nodes.iter().max().unwrap(), nodes.iter().min().unwrap());
            assert!(*most <= NODES + 90 && most - least <= 2 * 90, "{nodes:?}");
        }
    }
}
