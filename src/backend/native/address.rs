//! Addresses of rows.
//!
//! A kernel's row `r` reads `h[t-1]` at `h + map[r] * row bytes`; where the map gives -1 that is the
//! zero row in front, with no branch. Row numbers in memory are those of the whole space; a buffer
//! that holds one step only starts at the step's first row.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};

use super::code::{CHANGING, CONSTANT, Code};
use super::emit::EmitError;
use crate::plan::places::references;
use crate::plan::{BufferId, Place, Residency, Row, RowRef, Space, SpaceId};

impl Code<'_> {
    /// Address of row 0 of a buffer.
    pub fn base(&mut self, buffer: BufferId) -> Value {
        let slot = self.slots.buffer(buffer);
        self.slot(slot)
    }

    /// Bytes of a buffer's elements.
    pub fn element_bytes(&self, buffer: BufferId) -> usize {
        self.plan.buffers[buffer].element.bytes(self.precision)
    }

    /// Where an element window begins: address of the row that `row` addresses, plus the place's
    /// offset. `span` is how far the window reaches from the row's start, in elements.
    pub fn place(&mut self, place: &Place, row: Value, span: usize) -> Result<(Value, i32), EmitError> {
        let address = self.row(&place.at, place.pitch, row, span)?;
        let bytes = place.offset * self.element_bytes(place.at.buffer);
        Ok(self.displaced(address, bytes))
    }

    /// As [`Code::place`], in one value.
    pub fn place_address(&mut self, place: &Place, row: Value, span: usize) -> Result<Value, EmitError> {
        let (address, bytes) = self.place(place, row, span)?;
        Ok(self.plus(address, i64::from(bytes)))
    }

    /// Address of the row that `row` addresses.
    fn row(&mut self, at: &RowRef, pitch: usize, row: Value, span: usize) -> Result<Value, EmitError> {
        let base = self.base(at.buffer);
        let element = self.element_bytes(at.buffer);
        let bytes = self.plan.buffers[at.buffer].width * element;
        match &at.row {
            Row::Only => Ok(base),
            Row::Same => {
                let local = match self.plan.buffers[at.buffer].residency {
                    Residency::Scratch => return Ok(base),
                    Residency::All => row,
                    Residency::Step => {
                        let first = self.first_of_step(self.plan.buffers[at.buffer].space);
                        self.build.ins().isub(row, first)
                    }
                };
                Ok(self.element(base, local, bytes))
            }
            Row::Map(map) => {
                let target = self.mapped(*map, row);
                let local = self.local(at.buffer, target);
                Ok(self.element(base, local, bytes))
            }
            Row::MapOr(map, other) => {
                let target = self.mapped(*map, row);
                let local = self.local(at.buffer, target);
                let mapped = self.element(base, local, bytes);
                let other = self.row(other, pitch, row, span)?;
                let none = self.negative(target);
                Ok(self.build.ins().select(none, other, mapped))
            }
            Row::Id(inner) => {
                let flags = self.flags(inner);
                let id_at = self.row(inner, 0, row, 1)?;
                let id = self.build.ins().load(types::I32, flags, id_at, 0);
                let id = self.build.ins().uextend(types::I64, id);
                // The largest u32 is no row of any matrix, nor is an id that lies behind the end.
                let width = self.plan.buffers[at.buffer].width;
                let rows = match (width.checked_sub(span), pitch) {
                    (None, _) => 0,
                    (Some(_), 0) => 1,
                    (Some(rest), pitch) => rest / pitch + 1,
                };
                let rows = self.int(rows as i64);
                let inside = self.build.ins().icmp(IntCC::UnsignedLessThan, id, rows);
                let target = self.element(base, id, pitch * element);
                let zeros = self.slots.zeros();
                let zeros = self.slot(zeros);
                Ok(self.build.ins().select(inside, target, zeros))
            }
        }
    }

    /// How a row's memory may be read: freely, unless this function writes it.
    pub fn flags(&self, at: &RowRef) -> MemFlagsData {
        let changes = references(at).iter().any(|(reference, _)| self.written.contains(&reference.buffer));
        match changes {
            true => CHANGING,
            false => CONSTANT,
        }
    }

    /// The first row of the running step of a space.
    pub fn first_of_step(&mut self, space: SpaceId) -> Value {
        match self.plan.spaces[space] {
            Space { major: Some(_), .. } => {
                let offsets = self.slots.step_offsets(space);
                let offsets = self.slot(offsets);
                let step = self.step();
                self.table(offsets, step, false)
            }
            Space { major: None, .. } => self.int(0),
        }
    }

    fn mapped(&mut self, map: usize, row: Value) -> Value {
        let table = self.slots.map(map);
        let table = self.slot(table);
        self.table(table, row, true)
    }

    /// Where a row of a space lies in a buffer; -1 stays -1.
    fn local(&mut self, buffer: BufferId, row: Value) -> Value {
        match self.plan.buffers[buffer].residency {
            Residency::All => row,
            Residency::Scratch => self.int(0),
            Residency::Step => {
                let first = self.first_of_step(self.plan.buffers[buffer].space);
                let local = self.build.ins().isub(row, first);
                let none = self.negative(row);
                self.build.ins().select(none, row, local)
            }
        }
    }

    fn negative(&mut self, row: Value) -> Value {
        let zero = self.int(0);
        self.build.ins().icmp(IntCC::SignedLessThan, row, zero)
    }
}
