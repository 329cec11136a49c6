//! Addresses of the rows that a row kernel touches: of each into a word of the frame, from there into a register.
//!
//! ```text
//! rows that all rows have in common        once a call
//! a row of the kernel's own number         once a call, then a row further each time
//! rows that a map or an id names           looked up for each row
//! ```

use iced_x86::code_asm::{dword_ptr, eax, qword_ptr, r8, r9, rax, rcx, rdx, rsp};

use super::super::body::{BASES, Frame};
use super::{CONTEXT, Kernel, PhaseCode, ROW};
use crate::backend::native::context::SLOT_BYTES;
use crate::backend::native::emit::EmitError;
use crate::plan::places::references;
use crate::plan::{BufferId, Residency, Row, RowRef, SpaceId};

/// Offsets of the frame's words.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub pointers: i32,
    pub firsts: i32,
    pub temporaries: i32,
}

impl Kernel<'_> {
    /// Whether a pointer is the same for all rows.
    pub(super) fn is_fixed(&self, pointer: usize) -> bool {
        let (at, ..) = &self.pointers[pointer];
        match at.row {
            Row::Only => true,
            Row::Same => self.plan.buffers[at.buffer].residency == Residency::Scratch,
            _ => false,
        }
    }

    /// Bytes from a row of a buffer to the next.
    pub(super) fn row_bytes(&self, buffer: BufferId) -> Result<i32, EmitError> {
        let buffer = &self.plan.buffers[buffer];
        let beyond = |_| EmitError::Codegen(format!("rows of `{}` are beyond 2 GiB", buffer.name));
        i32::try_from(buffer.width * 4).map_err(beyond)
    }

    pub(super) fn find_firsts(&mut self) {
        let mut firsts = Vec::new();
        for (at, ..) in &self.pointers {
            let mut todo = vec![at];
            while let Some(at) = todo.pop() {
                let buffer = &self.plan.buffers[at.buffer];
                if buffer.residency == Residency::Step
                    && self.plan.spaces[buffer.space].major.is_some()
                    && !firsts.contains(&buffer.space)
                {
                    firsts.push(buffer.space);
                }
                if let Row::MapOr(_, inner) | Row::Id(inner) = &at.row {
                    todo.push(inner);
                }
            }
        }
        self.firsts = firsts;
    }

    /// Puts the addresses of rows into the frame.
    pub(super) fn addresses(&mut self, pointers: &[usize], layout: Layout) -> Result<(), EmitError> {
        if pointers.is_empty() {
            return Ok(());
        }
        self.machine.asm.mov(rdx, qword_ptr(rsp + CONTEXT))?;
        self.machine.asm.mov(rcx, qword_ptr(rsp + ROW))?;
        for &pointer in pointers {
            let (at, pitch, reach) = self.pointers[pointer].clone();
            self.row_address(&at, pitch, reach, layout, 0)?;
            self.machine.asm.mov(qword_ptr(rsp + (layout.pointers + 8 * pointer as i32)), rax)?;
        }
        Ok(())
    }

    /// The address of a row in rax; rdx is the context, rcx the kernel's row. Spends r8 and r9.
    fn row_address(
        &mut self,
        at: &RowRef,
        pitch: usize,
        reach: usize,
        layout: Layout,
        depth: usize,
    ) -> Result<(), EmitError> {
        let base = qword_ptr(rdx + (self.slots.buffer(at.buffer) * SLOT_BYTES) as i32);
        let plan = self.plan;
        let buffer = &plan.buffers[at.buffer];
        let bytes = self.row_bytes(at.buffer);
        let (residency, first) = (buffer.residency, self.first(buffer.space, layout));
        let width = buffer.width;
        let asm = &mut self.machine.asm;
        let temporary = qword_ptr(rsp + (layout.temporaries + 8 * depth as i32));
        match &at.row {
            Row::Only => asm.mov(rax, base)?,
            Row::Same => match residency {
                Residency::Scratch => asm.mov(rax, base)?,
                Residency::All | Residency::Step => {
                    asm.mov(rax, rcx)?;
                    if let (Residency::Step, Some(first)) = (residency, first) {
                        asm.sub(rax, qword_ptr(rsp + first))?;
                    }
                    asm.imul_3(rax, rax, bytes?)?;
                    asm.add(rax, base)?;
                }
            },
            Row::Map(map) | Row::MapOr(map, _) => {
                if let Row::MapOr(_, other) = &at.row {
                    self.row_address(other, pitch, reach, layout, depth + 1)?;
                    self.machine.asm.mov(temporary, rax)?;
                }
                let table = (self.slots.map(*map) * SLOT_BYTES) as i32;
                let asm = &mut self.machine.asm;
                asm.mov(r8, qword_ptr(rdx + table))?;
                asm.movsxd(r8, dword_ptr(r8 + rcx * 4))?;
                asm.mov(rax, r8)?;
                match (residency, first) {
                    (Residency::Scratch, _) => asm.xor(eax, eax)?,
                    (Residency::Step, Some(first)) => {
                        asm.mov(r9, r8)?;
                        asm.sub(r9, qword_ptr(rsp + first))?;
                        asm.test(r8, r8)?;
                        asm.cmovns(rax, r9)?;
                    }
                    _ => {}
                }
                asm.imul_3(rax, rax, bytes?)?;
                asm.add(rax, base)?;
                if let Row::MapOr(..) = &at.row {
                    asm.test(r8, r8)?;
                    asm.cmovs(rax, temporary)?;
                }
            }
            Row::Id(inner) => {
                self.row_address(inner, 0, 1, layout, depth + 1)?;
                // The largest u32 is no row of any matrix, nor is an id that lies behind the end.
                let rows = match (width.checked_sub(reach), pitch) {
                    (None, _) => 0,
                    (Some(_), 0) => 1,
                    (Some(rest), pitch) => rest / pitch + 1,
                };
                let (rows, pitch) = (i32::try_from(rows), i32::try_from(pitch * 4));
                let (Ok(rows), Ok(pitch)) = (rows, pitch) else {
                    return Err(EmitError::Codegen("a table beyond 2 GiB".into()));
                };
                let zeros = (self.slots.zeros() * SLOT_BYTES) as i32;
                let asm = &mut self.machine.asm;
                asm.mov(eax, dword_ptr(rax))?;
                asm.imul_3(r8, rax, pitch)?;
                asm.add(r8, base)?;
                asm.cmp(rax, rows)?;
                asm.mov(rax, r8)?;
                asm.cmovae(rax, qword_ptr(rdx + zeros))?;
            }
        }
        Ok(())
    }

    /// Where the frame holds the first row of the running step of a space.
    fn first(&self, space: SpaceId, layout: Layout) -> Option<i32> {
        let number = self.firsts.iter().position(|&known| known == space)?;
        Some(layout.firsts + 8 * number as i32)
    }

    /// Addresses for the innermost loop, in registers as far as there are any.
    pub(super) fn load_bases(
        &mut self,
        phase: &PhaseCode,
        frame: Frame,
        layout: Layout,
    ) -> Result<(), EmitError> {
        for (number, (pointer, strides)) in phase.bases.iter().enumerate() {
            let at = qword_ptr(rsp + (layout.pointers + 8 * *pointer as i32));
            match BASES.get(number) {
                Some(&register) if strides.iter().all(|&stride| stride == 0) => {
                    self.machine.asm.mov(register, at)?;
                }
                Some(&register) => {
                    self.offset_pointer(*pointer, strides, frame, layout)?;
                    self.machine.asm.mov(register, rax)?;
                }
                None => {
                    self.offset_pointer(*pointer, strides, frame, layout)?;
                    self.machine.asm.mov(qword_ptr(rsp + (frame.bases + 8 * number as i32)), rax)?;
                }
            }
        }
        Ok(())
    }

    /// A pointer moved along the dimensions that have counters, in rax.
    pub(super) fn offset_pointer(
        &mut self,
        pointer: usize,
        strides: &[usize],
        frame: Frame,
        layout: Layout,
    ) -> Result<(), EmitError> {
        let asm = &mut self.machine.asm;
        asm.mov(rax, qword_ptr(rsp + (layout.pointers + 8 * pointer as i32)))?;
        for (dim, &stride) in strides.iter().enumerate().filter(|(_, stride)| **stride > 0) {
            let bytes = i32::try_from(stride * 4)
                .map_err(|_| EmitError::Codegen("a stride beyond 32 bits".into()))?;
            asm.imul_3(rdx, qword_ptr(rsp + (frame.counters + 8 * dim as i32)), bytes)?;
            asm.add(rax, rdx)?;
        }
        Ok(())
    }
}

/// Whether a row depends on an id, which the kernel itself may find.
pub(super) fn is_by_id(at: &RowRef) -> bool {
    references(at).iter().any(|(reference, _)| matches!(reference.row, Row::Id(_)))
}

/// How many addresses wait while that of a row is found.
pub(super) fn nesting(at: &RowRef) -> usize {
    match &at.row {
        Row::MapOr(_, inner) | Row::Id(inner) => 1 + nesting(inner),
        Row::Same | Row::Only | Row::Map(_) => 0,
    }
}
