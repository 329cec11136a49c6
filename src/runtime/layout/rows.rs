//! Row numbers: the packed order of each space, and the tables between spaces.
//!
//! A row is found from its coordinates without a search: the first row of its step, plus the rows of
//! the longer examples in that step, plus its place among the example's other positions.

use super::{LayoutError, Lengths};
use crate::plan::{Position, RowList, RowMap, Space};

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
    rank: Vec<usize>,
    /// Rows in one step of the examples that come earlier in the order.
    before: Vec<usize>,
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
    pub fn new(space: &Space, lengths: &Lengths, orders: &[Order]) -> Result<SpaceRows, LayoutError> {
        check_space(space, orders.len())?;
        let mut packed = SpaceRows {
            space: space.clone(),
            rows: 1,
            step_offsets: Vec::new(),
            largest_step: 1,
            coordinates: Vec::new(),
            rank: Vec::new(),
            before: Vec::new(),
        };
        if space.axes.is_empty() {
            return Ok(packed);
        }
        check_rows(space, lengths)?;
        let order = &orders[space.major.unwrap_or(0)];
        let others = packed.other_axes();
        let mut total = 0usize;
        packed.before.push(0);
        for &example in &order.examples {
            let others = others.iter().map(|&axis| lengths.axes[axis][example]);
            total += others.product::<usize>();
            packed.before.push(total);
        }
        packed.rank = order.rank.clone();
        let major_length = |example: usize| space.major.map_or(1, |axis| lengths.axes[axis][example]);
        let steps = order.examples.first().map_or(0, |&longest| major_length(longest));
        let mut row = 0usize;
        let mut active = order.examples.len();
        packed.largest_step = 0;
        let mut offsets = vec![0u32];
        for step in 0..steps {
            while active > 0 && major_length(order.examples[active - 1]) <= step {
                active -= 1;
            }
            let size = packed.before[active];
            row += size;
            packed.largest_step = packed.largest_step.max(size);
            offsets.push(row as u32);
            for &example in &order.examples[..active] {
                let extents: Vec<usize> = others.iter().map(|&axis| lengths.axes[axis][example]).collect();
                for_each_position(&extents, |positions| {
                    let mut others = positions.iter();
                    packed.coordinates.push(example as u32);
                    for &axis in &space.axes[1..] {
                        let position = if Some(axis) == space.major {
                            step
                        } else {
                            others.next().copied().unwrap_or(0)
                        };
                        packed.coordinates.push(position as u32);
                    }
                });
            }
        }
        packed.rows = row;
        if space.major.is_some() {
            packed.step_offsets = offsets;
        }
        Ok(packed)
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
    fn row(&self, example: usize, position: impl Fn(usize) -> usize, lengths: &Lengths) -> usize {
        if self.space.axes.is_empty() {
            return 0;
        }
        let first = self.space.major.map_or(0, |axis| self.step_offsets[position(axis)] as usize);
        let inner = self
            .space
            .axes
            .iter()
            .skip(1)
            .filter(|&&axis| Some(axis) != self.space.major)
            .fold(0, |index, &axis| index * lengths.axes[axis][example] + position(axis));
        first + self.before[self.rank[example]] + inner
    }

    fn other_axes(&self) -> Vec<usize> {
        let not_major = |axis: &usize| Some(*axis) != self.space.major;
        self.space.axes.iter().skip(1).copied().filter(not_major).collect()
    }
}

/// The table of a map.
pub fn map_rows(map: &RowMap, spaces: &[SpaceRows], lengths: &Lengths) -> Result<Vec<i32>, LayoutError> {
    let (from, to) = (space(spaces, map.from)?, space(spaces, map.to)?);
    let mut table = Vec::with_capacity(from.rows);
    let mut positions = vec![0usize; lengths.axes.len().max(1)];
    for row in 0..from.rows {
        let coordinates = from.coordinates(row);
        let example = match (from.space.axes.first(), to.space.axes.first()) {
            (Some(0), _) => coordinates[0] as usize,
            (None, None) => 0,
            _ => {
                return Err(LayoutError::Plan("a map from the single row reads a batch".into()));
            }
        };
        let mut exists = true;
        for &axis in to.space.axes.iter().skip(1) {
            let length = lengths.axes[axis][example];
            let at = map
                .at
                .iter()
                .find_map(|&(other, at)| (other == axis).then_some(at))
                .unwrap_or(Position::Here);
            let here = from.coordinate(row, axis);
            let position = match (at, here) {
                (Position::First, _) => Some(0),
                (Position::Last, _) => length.checked_sub(1),
                (Position::Here, Some(here)) => Some(here),
                (Position::Back(by), Some(here)) => here.checked_sub(by as usize),
                (Position::Forward(by), Some(here)) => here.checked_add(by as usize),
                (Position::Here | Position::Back(_) | Position::Forward(_), None) => {
                    return Err(LayoutError::Plan(
                        "a map reads a position of an axis its rows do not have".into(),
                    ));
                }
            };
            match position.filter(|&position| position < length) {
                Some(position) => positions[axis] = position,
                None => exists = false,
            }
        }
        table.push(match exists {
            true => to.row(example, |axis| positions[axis], lengths) as i32,
            false => -1,
        });
    }
    Ok(table)
}

/// The table of a list.
pub fn list_rows(list: &RowList, spaces: &[SpaceRows], lengths: &Lengths) -> Result<ListRows, LayoutError> {
    let (from, to) = (space(spaces, list.from)?, space(spaces, list.to)?);
    if !to.space.axes.iter().all(|axis| from.space.axes.contains(axis)) {
        return Err(LayoutError::Plan("a list's rows lie in a space of other axes".into()));
    }
    // Pairs in ascending order of coordinates; a stable sort by the result's row keeps it.
    let mut pairs = Vec::with_capacity(from.rows);
    match from.space.axes.is_empty() {
        true => pairs.push((0u32, 0u32)),
        false => {
            let axes = &from.space.axes[1..];
            for example in 0..lengths.examples {
                let extents: Vec<usize> = axes.iter().map(|&axis| lengths.axes[axis][example]).collect();
                for_each_position(&extents, |positions| {
                    let position = |axis: usize| {
                        axes.iter().position(|&own| own == axis).map_or(0, |index| positions[index])
                    };
                    let target = to.row(example, position, lengths) as u32;
                    pairs.push((target, from.row(example, position, lengths) as u32));
                });
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

/// Calls `visit` with every index tuple below `extents`, the last index fastest.
pub fn for_each_position(extents: &[usize], mut visit: impl FnMut(&[usize])) {
    if extents.contains(&0) {
        return;
    }
    let mut positions = vec![0; extents.len()];
    loop {
        visit(&positions);
        let Some(turn) = (0..extents.len()).rev().find(|&axis| positions[axis] + 1 < extents[axis]) else {
            return;
        };
        positions[turn] += 1;
        positions[turn + 1..].fill(0);
    }
}

fn space(spaces: &[SpaceRows], id: usize) -> Result<&SpaceRows, LayoutError> {
    spaces.get(id).ok_or_else(|| LayoutError::Plan(format!("there is no space {id}")))
}

/// Row numbers are i32, so that -1 can stand for none; checked before anything is allocated.
fn check_rows(space: &Space, lengths: &Lengths) -> Result<(), LayoutError> {
    let mut total = 0usize;
    for example in 0..lengths.examples {
        let rows = space
            .axes
            .iter()
            .skip(1)
            .try_fold(1usize, |product, &axis| product.checked_mul(lengths.axes[axis][example]));
        total = rows
            .and_then(|rows| total.checked_add(rows))
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
