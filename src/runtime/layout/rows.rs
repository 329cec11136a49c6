//! Row numbers: the packed order of each space, and the tables between spaces.
//!
//! A row is found from its coordinates without a search: the first row of its step, plus the rows of
//! the longer examples in that step, plus its place among the example's other positions. Rows in the
//! order of a tree's levels are in a table.

use super::positions::{Digits, Shape};
use super::{LayoutError, Lengths};
use crate::plan::{AxisKind, Position, RowList, RowMap, Space};

/// For an axis: the examples longest first (ties by number), and each example's place in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    examples: Vec<usize>,
    rank: Vec<usize>,
}

/// The order of examples for every axis; the batch itself keeps its own.
pub fn orders(lengths: &Lengths, axes: usize) -> Vec<Order> {
    (0..axes)
        .map(|axis| {
            let mut examples: Vec<usize> = (0..lengths.examples).collect();
            if axis > 0 {
                examples.sort_by_key(|&example| std::cmp::Reverse(lengths.axes[axis][example]));
            }
            let mut rank = vec![0; examples.len()];
            for (place, &example) in examples.iter().enumerate() {
                rank[example] = place;
            }
            Order { examples, rank }
        })
        .collect()
}

/// The rows of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceRows {
    /// The space.
    pub space: Space,
    /// How many.
    pub rows: usize,
    /// First row of each step of the major axis, and behind the last; empty without a major axis.
    pub step_offsets: Vec<u32>,
    /// Rows of the largest step (all rows without a major axis).
    pub largest_step: usize,
    /// Example and positions of each row, one number for each axis of the space.
    pub coordinates: Vec<u32>,
    /// What the positions of an example are counted by: all of them in a tree's order, else those in a step.
    digits: Digits,
    rank: Vec<usize>,
    /// Rows in one step of the examples that come earlier in the order.
    before: Vec<usize>,
    /// In a tree's order: where the positions of each example begin in `places`, and the row of each.
    starts: Vec<usize>,
    places: Vec<u32>,
}

/// For each row of `to`, rows of `from`: those in `rows[starts[q]..starts[q + 1]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRows {
    /// One entry a row of `to`, and one behind.
    pub starts: Vec<u32>,
    /// Rows of `from`.
    pub rows: Vec<u32>,
}

impl SpaceRows {
    /// Packs a space.
    pub fn new(space: &Space, shape: Shape, orders: &[Order]) -> Result<SpaceRows, LayoutError> {
        check_space(space, orders.len())?;
        let all = Digits::new(shape, space.axes.get(1..).unwrap_or(&[]));
        let mut packed = SpaceRows {
            space: space.clone(),
            rows: 1,
            step_offsets: Vec::new(),
            largest_step: 1,
            coordinates: Vec::new(),
            digits: all.without(space.major),
            rank: Vec::new(),
            before: Vec::new(),
            starts: Vec::new(),
            places: Vec::new(),
        };
        if space.axes.is_empty() {
            return Ok(packed);
        }
        check_rows(&all, shape)?;
        packed.largest_step = 0;
        match space.major {
            Some(tree) if shape.kind(tree) == AxisKind::Tree => packed.by_level(tree, all, shape)?,
            _ => packed.by_step(shape, &orders[space.major.unwrap_or(0)])?,
        }
        Ok(packed)
    }

    /// Steps of a sequence, in each the examples that have it, longest first.
    fn by_step(&mut self, shape: Shape, order: &Order) -> Result<(), LayoutError> {
        let mut total = 0usize;
        self.before.push(0);
        for &example in &order.examples {
            total += self.digits.count(shape, example)?;
            self.before.push(total);
        }
        self.rank = order.rank.clone();
        let major = self.space.major;
        let major_length = |example: usize| major.map_or(1, |axis| shape.lengths.axes[axis][example]);
        let steps = order.examples.first().map_or(0, |&longest| major_length(longest));
        let mut row = 0usize;
        let mut active = order.examples.len();
        let mut offsets = vec![0u32];
        for step in 0..steps {
            while active > 0 && major_length(order.examples[active - 1]) <= step {
                active -= 1;
            }
            let size = self.before[active];
            row += size;
            self.largest_step = self.largest_step.max(size);
            offsets.push(row as u32);
            for &example in &order.examples[..active] {
                let (axes, coordinates) = (&self.space.axes[1..], &mut self.coordinates);
                self.digits.each(shape, example, |positions| {
                    coordinates.push(example as u32);
                    let position = |&axis: &usize| if Some(axis) == major { step } else { positions[axis] };
                    coordinates.extend(axes.iter().map(|axis| position(axis) as u32));
                    Ok(())
                })?;
            }
        }
        self.rows = row;
        if major.is_some() {
            self.step_offsets = offsets;
        }
        Ok(())
    }

    /// Levels of trees, the leaves first, in each the nodes of one example after those of the other.
    fn by_level(&mut self, tree: usize, all: Digits, shape: Shape) -> Result<(), LayoutError> {
        let (ends, listed) = nodes_by_level(tree, shape)?;
        let mut places = 0;
        for example in 0..shape.lengths.examples {
            self.starts.push(places);
            places += all.count(shape, example)?;
        }
        self.places = vec![0; places];
        self.coordinates.reserve(places * self.space.axes.len());
        let children = shape.children_among(tree, &self.space.axes);
        let others = self.digits.clone();
        let mut offsets = vec![0u32];
        let (mut row, mut begin) = (0usize, 0);
        for end in ends {
            let first = row;
            for &(example, node) in &listed[begin..end] {
                let arity = match children {
                    Some(_) => shape.tree(tree, example)?.arity(node),
                    None => 1,
                };
                for child in 0..arity {
                    others.each(shape, example, |positions| {
                        let coordinate = |axis: usize| match axis {
                            _ if axis == tree => node,
                            _ if Some(axis) == children => child,
                            _ => positions[axis],
                        };
                        self.coordinates.push(example as u32);
                        self.coordinates
                            .extend(self.space.axes[1..].iter().map(|&axis| coordinate(axis) as u32));
                        self.places[self.starts[example] + all.index(shape, example, coordinate)?] =
                            row as u32;
                        row += 1;
                        Ok(())
                    })?;
                }
            }
            self.largest_step = self.largest_step.max(row - first);
            offsets.push(row as u32);
            begin = end;
        }
        // There is a level of leaves, if only an empty one.
        if offsets.len() < 2 {
            offsets.push(0);
        }
        self.rows = row;
        self.step_offsets = offsets;
        self.digits = all;
        Ok(())
    }

    /// Example and positions of a row, in the order of the space's axes.
    pub fn coordinates(&self, row: usize) -> &[u32] {
        let axes = self.space.axes.len();
        &self.coordinates[row * axes..(row + 1) * axes]
    }

    /// The coordinate of a row on an axis of the space.
    pub fn coordinate(&self, row: usize, axis: usize) -> Option<usize> {
        let index = self.space.axes.iter().position(|&own| own == axis)?;
        Some(self.coordinates(row)[index] as usize)
    }

    /// The row of an example at positions given for each axis; they must exist.
    fn row(
        &self,
        example: usize,
        position: impl Fn(usize) -> usize,
        shape: Shape,
    ) -> Result<usize, LayoutError> {
        if self.space.axes.is_empty() {
            return Ok(0);
        }
        let inner = self.digits.index(shape, example, &position)?;
        if let Some(&start) = self.starts.get(example) {
            return Ok(self.places[start + inner] as usize);
        }
        let first = self.space.major.map_or(0, |axis| self.step_offsets[position(axis)] as usize);
        Ok(first + self.before[self.rank[example]] + inner)
    }
}

/// An example and a node of its tree.
type Node = (usize, usize);

/// The nodes of all trees, level by level, and where each level ends: counted before they are listed, so that a
/// small tree needs little memory of its own.
fn nodes_by_level(tree: usize, shape: Shape) -> Result<(Vec<usize>, Vec<Node>), LayoutError> {
    let mut ends: Vec<usize> = Vec::new();
    for example in 0..shape.lengths.examples {
        let own = shape.tree(tree, example)?;
        ends.resize(ends.len().max(own.levels()), 0);
        (0..own.len()).for_each(|node| ends[own.height(node)] += 1);
    }
    let mut count = 0;
    for end in &mut ends {
        (*end, count) = (count, count + *end);
    }
    let mut listed = vec![(0, 0); count];
    for example in 0..shape.lengths.examples {
        let own = shape.tree(tree, example)?;
        for node in 0..own.len() {
            let end = &mut ends[own.height(node)];
            listed[*end] = (example, node);
            *end += 1;
        }
    }
    Ok((ends, listed))
}

/// The table of a map.
pub fn map_rows(map: &RowMap, spaces: &[SpaceRows], shape: Shape) -> Result<Vec<i32>, LayoutError> {
    let (from, to) = (space(spaces, map.from)?, space(spaces, map.to)?);
    let of_batch = match (from.space.axes.first(), to.space.axes.first()) {
        (Some(0), _) => true,
        (None, None) => false,
        _ => return Err(LayoutError::Plan("a map from the single row reads a batch".into())),
    };
    let axes = to.space.axes.iter().skip(1);
    let reads: Vec<Read> = axes.map(|&axis| Read::new(map, axis, from, shape)).collect::<Result<_, _>>()?;
    let mut table = Vec::with_capacity(from.rows);
    let mut positions = vec![0usize; shape.lengths.axes.len().max(1)];
    for row in 0..from.rows {
        let coordinates = from.coordinates(row);
        let example = if of_batch { coordinates[0] as usize } else { 0 };
        let mut exists = true;
        for read in &reads {
            let position = read.position(coordinates, example, shape)?;
            match position.filter(|&position| position < shape.lengths.axes[read.axis][example]) {
                Some(position) => positions[read.axis] = position,
                None => exists = false,
            }
        }
        table.push(match exists {
            true => to.row(example, |axis| positions[axis], shape)? as i32,
            false => -1,
        });
    }
    Ok(table)
}

/// How rows read a position on an axis.
struct Read {
    axis: usize,
    at: Position,
    /// The tree that the axis is or comes from.
    tree: usize,
    /// Where the coordinate stands that the position follows from, and that of the child.
    own: usize,
    child: usize,
}

impl Read {
    fn new(map: &RowMap, axis: usize, from: &SpaceRows, shape: Shape) -> Result<Read, LayoutError> {
        let at = map.at.iter().find_map(|&(other, at)| (other == axis).then_some(at));
        let at = at.unwrap_or(Position::Here);
        let tree = match shape.kind(axis) {
            AxisKind::Children(tree) | AxisKind::Leaves(tree) => tree,
            AxisKind::Sequence | AxisKind::Tree => axis,
        };
        let coordinate = |is: &dyn Fn(usize) -> bool, missing: &str| {
            let place = from.space.axes.iter().position(|&own| is(own));
            place.ok_or_else(|| LayoutError::Plan(missing.into()))
        };
        let among = |kind: AxisKind, missing: &str| coordinate(&|own| shape.kind(own) == kind, missing);
        let of = |axis: usize| {
            coordinate(&|own| own == axis, "a map reads a position of an axis its rows do not have")
        };
        let own = match at {
            Position::First | Position::Last => 0,
            Position::Here | Position::Back(_) | Position::Forward(_) => of(axis)?,
            Position::NodeOfLeaf => {
                among(AxisKind::Leaves(tree), "a leaf's node is read by what has no leaves")?
            }
            _ => of(tree)?,
        };
        let child = match at {
            Position::Child => among(AxisKind::Children(tree), "a child is read by what has no children")?,
            _ => own,
        };
        Ok(Read { axis, at, tree, own, child })
    }

    /// The position that a row with these coordinates reads, if there is one; it may lie behind the end.
    fn position(
        &self,
        coordinates: &[u32],
        example: usize,
        shape: Shape,
    ) -> Result<Option<usize>, LayoutError> {
        let [own, child] =
            [self.own, self.child].map(|place| coordinates.get(place).map_or(0, |&at| at as usize));
        let nodes = || shape.tree(self.tree, example);
        Ok(match self.at {
            Position::First => Some(0),
            Position::Last => shape.lengths.axes[self.axis][example].checked_sub(1),
            Position::Here => Some(own),
            Position::Back(by) => own.checked_sub(by as usize),
            Position::Forward(by) => own.checked_add(by as usize),
            Position::Nth(number) => nodes()?.child(own, number as usize),
            Position::NthOf(number) => {
                let nodes = nodes()?;
                nodes.parent(own).filter(|_| nodes.rank(own) == number as usize)
            }
            Position::Parent => nodes()?.parent(own),
            Position::Child => nodes()?.child(own, child),
            Position::Edge => {
                let nodes = nodes()?;
                let number = if self.axis == self.tree { nodes.parent(own) } else { Some(nodes.rank(own)) };
                number.filter(|_| nodes.parent(own).is_some())
            }
            Position::LeafOfNode => nodes()?.leaf_number(own),
            Position::NodeOfLeaf => nodes()?.leaves().get(own).map(|&node| node as usize),
        })
    }
}

/// The table of a list.
pub fn list_rows(list: &RowList, spaces: &[SpaceRows], shape: Shape) -> Result<ListRows, LayoutError> {
    let (from, to) = (space(spaces, list.from)?, space(spaces, list.to)?);
    if !to.space.axes.iter().all(|axis| from.space.axes.contains(axis)) {
        return Err(LayoutError::Plan("a list's rows lie in a space of other axes".into()));
    }
    // Pairs in ascending order of coordinates; a stable sort by the result's row keeps it.
    let mut pairs = Vec::with_capacity(from.rows);
    match from.space.axes.is_empty() {
        true => pairs.push((0u32, 0u32)),
        false => {
            let digits = Digits::new(shape, &from.space.axes[1..]);
            for example in 0..shape.lengths.examples {
                digits.each(shape, example, |positions| {
                    let target = to.row(example, |axis| positions[axis], shape)? as u32;
                    pairs.push((target, from.row(example, |axis| positions[axis], shape)? as u32));
                    Ok(())
                })?;
            }
        }
    }
    pairs.sort_by_key(|&(target, _)| target);
    let mut starts = vec![0u32; to.rows + 1];
    for &(target, _) in &pairs {
        starts[target as usize + 1] += 1;
    }
    for row in 0..to.rows {
        starts[row + 1] += starts[row];
    }
    Ok(ListRows { starts, rows: pairs.into_iter().map(|(_, row)| row).collect() })
}

fn space(spaces: &[SpaceRows], id: usize) -> Result<&SpaceRows, LayoutError> {
    spaces.get(id).ok_or_else(|| LayoutError::Plan(format!("there is no space {id}")))
}

/// Row numbers are i32, so that -1 can stand for none; checked before anything is allocated.
fn check_rows(digits: &Digits, shape: Shape) -> Result<(), LayoutError> {
    let mut total = 0usize;
    for example in 0..shape.lengths.examples {
        total = total
            .checked_add(digits.count(shape, example)?)
            .filter(|&total| i32::try_from(total).is_ok())
            .ok_or(LayoutError::TooLarge { what: "rows" })?;
    }
    Ok(())
}

fn check_space(space: &Space, axes: usize) -> Result<(), LayoutError> {
    let ascending = space.axes.windows(2).all(|pair| pair[0] < pair[1]);
    let known = space.axes.iter().all(|&axis| axis < axes);
    let batch_first = space.axes.first().is_none_or(|&axis| axis == 0);
    let major_inside = match space.major {
        Some(major) => major > 0 && space.axes.contains(&major),
        None => space.axes.len() < 2,
    };
    match ascending && known && batch_first && major_inside {
        true => Ok(()),
        false => Err(LayoutError::Plan(format!("the space {space:?} cannot be packed"))),
    }
}
