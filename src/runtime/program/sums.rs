//! What runs have left added up: outputs of a single row, and the rows of sparse ones.

use super::{Instance, ProgramError, Real, read_id};
use crate::plan::{Element, Sparse};
use crate::runtime::layout::Home;
use crate::runtime::memory::Memory;
use crate::runtime::tables::add_row;

impl<R: Real> Instance<R> {
    /// Adds a part of a result of a single row, from element `from` on, to `part`, or begins `part` with it.
    /// `lent` is the memory of the last run, if it was lent.
    pub fn add_row(
        &self,
        name: &str,
        from: usize,
        part: &mut [R],
        begin: bool,
        lent: Option<&Memory>,
    ) -> Result<(), ProgramError> {
        let id = self.program.find("output", name)?;
        let (bytes, wanted) = (size_of::<R>(), from + part.len());
        let buffer = &self.program.plan.buffers[id];
        let real = buffer.element == Element::Real;
        let single = self.program.plan.spaces[buffer.space].axes.is_empty();
        let row = match self.layout.arena.places[id] {
            Some(place) if real && single && wanted <= buffer.width => {
                let memory = match (place.home, lent) {
                    (Home::Lent, Some(lent)) => lent,
                    _ => &self.memory,
                };
                let bytes = place.offset + from * bytes..place.offset + wanted * bytes;
                memory.get().get(bytes).unwrap_or_default()
            }
            _ => {
                return Err(ProgramError::Mismatch {
                    name: buffer.name.clone(),
                    expected: format!("one row of {wanted} elements ({:?})", Element::Real),
                    given: format!("{} a row ({:?})", buffer.width, buffer.element),
                });
            }
        };
        let values = row.chunks_exact(bytes).map(R::read);
        match begin {
            true => part.iter_mut().zip(values).for_each(|(sum, value)| *sum = value),
            false => part.iter_mut().zip(values).for_each(|(sum, value)| *sum += value),
        }
        Ok(())
    }

    /// Adds the sparse output of this number to a matrix, and its rows to those that are `named`. `lent` is the
    /// memory of the last run, if it was lent.
    pub fn add_sparse(&self, number: usize, lent: &Memory, total: &mut [R], named: &mut Vec<u32>) {
        let sparse = &self.program.plan.sparse[number];
        let Some(listed) = sparse.listed else {
            let table = &lent.tables[number];
            table.add_to(total);
            return named.extend_from_slice(table.named());
        };
        let Some(place) = self.layout.arena.places[listed] else { return };
        let memory = match place.home {
            Home::Lent => lent,
            Home::Kept => &self.memory,
        };
        let pitch = sparse.width * size_of::<R>();
        let rows = memory.get()[place.offset..].chunks_exact(pitch.max(1));
        for (values, id) in rows.zip(self.named_by(sparse)).filter(|(_, id)| (*id as usize) < sparse.rows) {
            add_row(values, id, total);
            named.push(id);
        }
    }

    /// The ids that name rows of a sparse output.
    pub(super) fn named_by<'a>(&'a self, sparse: &'a Sparse) -> impl Iterator<Item = u32> + 'a {
        let ids = sparse.ids.iter().filter_map(|&id| {
            let place = self.layout.arena.places[id]?;
            let rows = self.layout.spaces[self.program.plan.buffers[id].space].rows;
            Some(self.memory.get()[place.offset..].chunks_exact(4).take(rows).map(read_id))
        });
        ids.flatten()
    }
}
