//! Values of several examples as programs take them and give them: `[rows, extents…, width]`, padded.
//!
//! ```text
//! states of three rows        a b c
//! take rows [2, 2, 0]         c c a       a beam goes on twice from its third hypothesis
//! ```

use std::ops::Range;

use crate::driver::batch::{Batch, BatchError, Feed};
use crate::plan::Element;

/// Numbers, or ids (`u32::MAX` is none).
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Numbers.
    Real(Vec<f32>),
    /// Ids.
    Ids(Vec<u32>),
}

impl Values {
    /// So many zeros, or ids that are none.
    pub fn empty(element: Element, count: usize) -> Values {
        match element {
            Element::Real => Values::Real(vec![0.0; count]),
            Element::Id => Values::Ids(vec![u32::MAX; count]),
        }
    }

    /// Puts a part of another at a place.
    fn put(&mut self, at: usize, other: &Values, part: Range<usize>) {
        match (self, other) {
            (Values::Real(own), Values::Real(other)) => {
                own[at..at + part.len()].copy_from_slice(&other[part]);
            }
            (Values::Ids(own), Values::Ids(other)) => own[at..at + part.len()].copy_from_slice(&other[part]),
            _ => {}
        }
    }

    /// Adds a part of another of the same kind at the end.
    pub fn extend(&mut self, other: &Values, part: Range<usize>) {
        match (self, other) {
            (Values::Real(own), Values::Real(other)) => own.extend_from_slice(&other[part]),
            (Values::Ids(own), Values::Ids(other)) => own.extend_from_slice(&other[part]),
            _ => {}
        }
    }

    /// A part of them.
    pub fn part(&self, part: Range<usize>) -> Values {
        match self {
            Values::Real(values) => Values::Real(values[part].to_vec()),
            Values::Ids(ids) => Values::Ids(ids[part].to_vec()),
        }
    }

    /// The numbers; none of ids.
    pub fn real(&self) -> &[f32] {
        match self {
            Values::Real(values) => values,
            Values::Ids(_) => &[],
        }
    }

    /// The ids; none of numbers.
    pub fn ids(&self) -> &[u32] {
        match self {
            Values::Ids(ids) => ids,
            Values::Real(_) => &[],
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Values::Real(values) => values.len(),
            Values::Ids(ids) => ids.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn element(&self) -> Element {
        match self {
            Values::Real(_) => Element::Real,
            Values::Ids(_) => Element::Id,
        }
    }
}

/// Values of rows, one an example or a hypothesis.
#[derive(Clone, Debug, PartialEq)]
pub struct Padded {
    /// Positions along each axis.
    pub extents: Vec<usize>,
    /// Elements at a position.
    pub width: usize,
    /// The elements, row by row.
    pub values: Values,
}

impl Padded {
    /// Zeros, or ids that are none.
    pub fn empty(element: Element, rows: usize, extents: Vec<usize>, width: usize) -> Padded {
        let count = rows * extents.iter().product::<usize>() * width;
        Padded { extents, width, values: Values::empty(element, count) }
    }

    /// An output of the last run.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn output(batch: &Batch<f32>, name: &str) -> Result<Padded, BatchError> {
        let (mut extents, mut width, mut element) = (Vec::new(), 1, Element::Real);
        if let Some(buffer) = batch.output(name) {
            let axes = batch.plan().spaces[buffer.space].axes.iter().filter(|&&axis| axis != 0);
            extents.extend(axes.map(|&axis| batch.lengths().longest(axis)));
            (width, element) = (buffer.width, buffer.element);
        }
        let values = match element {
            Element::Real => Values::Real(batch.values(name)?),
            Element::Id => Values::Ids(batch.ids(name)?),
        };
        Ok(Padded { extents, width, values })
    }

    /// Elements of a row.
    pub fn stride(&self) -> usize {
        self.extents.iter().product::<usize>() * self.width
    }

    /// A row's elements.
    pub fn row(&self, row: usize) -> Range<usize> {
        let stride = self.stride();
        row * stride..(row + 1) * stride
    }

    /// Puts values at the beginning of a row.
    pub fn set(&mut self, row: usize, values: &Values) {
        let start = self.row(row).start;
        self.values.put(start, values, 0..values.len());
    }

    /// Puts values at a position of a row.
    pub fn set_at(&mut self, row: usize, position: usize, values: &Values) {
        let start = self.row(row).start + position * self.width;
        self.values.put(start, values, 0..values.len());
    }

    /// These rows, with so many positions of each axis, as far as there are.
    pub fn take(&self, rows: &[usize], extents: &[usize]) -> Padded {
        let mut taken = Padded::empty(self.values.element(), rows.len(), extents.to_vec(), self.width);
        let stride = taken.stride();
        for (to, &from) in rows.iter().enumerate() {
            let mut place =
                |at: usize, part: Range<usize>| taken.values.put(to * stride + at, &self.values, part);
            copy(&self.extents, extents, self.width, (self.row(from).start, 0), &mut place);
        }
        taken
    }

    /// The position `step` along one axis, as the only one.
    pub fn position(&self, axis: usize, step: usize) -> Padded {
        let outer: usize = self.extents[..axis].iter().product();
        let inner = self.extents[axis + 1..].iter().product::<usize>() * self.width;
        let rows = self.values.len() / self.stride().max(1);
        let mut extents = self.extents.clone();
        let extent = std::mem::replace(&mut extents[axis], 1);
        let mut own = Padded { extents, width: self.width, values: Values::empty(self.values.element(), 0) };
        for before in 0..rows * outer {
            let start = (before * extent + step) * inner;
            if step < extent {
                own.values.extend(&self.values, start..start + inner);
            }
        }
        own
    }

    /// As a program takes them.
    pub fn feed(&self) -> Feed<'_, f32> {
        match &self.values {
            Values::Real(values) => Feed::Real(values),
            Values::Ids(ids) => Feed::Ids(ids),
        }
    }
}

/// Calls `place` for every run of elements that arrays of two extents have in common: where it goes, and where it
/// comes from.
fn copy(
    from: &[usize],
    to: &[usize],
    width: usize,
    (start, at): (usize, usize),
    place: &mut impl FnMut(usize, Range<usize>),
) {
    let ([own, from @ ..], [other, to @ ..]) = (from, to) else { return place(at, start..start + width) };
    let inner = |extents: &[usize]| extents.iter().product::<usize>() * width;
    let (inside, outside) = (inner(from), inner(to));
    if from == to {
        return place(at, start..start + own.min(other) * inside);
    }
    for step in 0..*own.min(other) {
        copy(from, to, width, (start + step * inside, at + step * outside), place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_in_any_order_and_size() {
        let values = Values::Real((0..24).map(|at| at as f32).collect());
        let padded = Padded { extents: vec![2, 3], width: 2, values };
        let taken = padded.take(&[1, 0], &[2, 2]);
        assert_eq!(taken.values.real()[..8], [12.0, 13.0, 14.0, 15.0, 18.0, 19.0, 20.0, 21.0]);
        assert_eq!(taken.take(&[0], &[3, 2]).values.real()[6..], [20.0, 21.0, 0.0, 0.0, 0.0, 0.0]);
        let step = padded.position(1, 2);
        assert_eq!(
            (&step.extents[..], step.values.real()),
            (&[2, 1][..], &[4.0, 5.0, 10.0, 11.0, 16.0, 17.0, 22.0, 23.0][..])
        );
        let ids = Padded { extents: vec![], width: 1, values: Values::Ids(vec![5, 6, 7]) };
        assert_eq!(ids.take(&[2, 2, 0], &[]).values.ids(), [7, 7, 5]);
    }
}
