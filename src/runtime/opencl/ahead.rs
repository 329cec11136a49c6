//! The inputs of the next batch, copied to the device while it works on this one.
//!
//! ```text
//! step k     ────── kernels ──────▶ read the norm
//! ahead           copy of k + 1 ▶
//! step k + 1                        ─ copy on the device ─ kernels ──▶
//! ```
//!
//! They wait in memory of their own, by turns in one of two pieces: the next batch may be laid out in another way,
//! and what this one reads must stay until it is done. Rows are packed and copied by a queue of its own; when the
//! batch is run its inputs are put in their places by the device, after these copies.

use std::ops::Range;

use ocl::core::{Event, Mem};

use super::instance::{Instance, allocate};
use crate::plan::Element;
use crate::runtime::layout::{Layout, LayoutError, Lengths};
use crate::runtime::program::{ProgramError, Real};

/// A batch that is on its way.
pub(super) struct Ahead {
    lengths: Lengths,
    /// Its layouts, until they are asked for; none if they are those of the batch before it.
    layouts: Option<Vec<Layout>>,
    pieces: Vec<Piece>,
}

/// An input of a group: where it waits, and what is to be kept until it has been copied there.
struct Piece {
    group: usize,
    name: String,
    from: usize,
    bytes: Vec<u8>,
    copied: Event,
}

/// Two pieces of memory by turns, with the bytes that they have.
#[derive(Default)]
pub(super) struct Waiting {
    memory: [Option<(Mem, usize)>; 2],
    turn: usize,
    ahead: Option<Ahead>,
}

/// An input of the whole batch, padded.
#[derive(Clone, Copy, Debug)]
pub enum Padded<'a, R> {
    /// Numbers.
    Real(&'a [R]),
    /// Ids.
    Ids(&'a [u32]),
}

impl<R: Real> Instance<R> {
    /// Begins to copy inputs of the batch that will be run next, in these parts; `inputs` are those of a group, and
    /// `same` says that the batch is laid out as the one before it. Whatever was on its way is forgotten.
    ///
    /// # Errors
    /// The batch has no layout, an input of another size, or the device fails.
    pub fn copy_ahead<'i>(
        &mut self,
        lengths: &Lengths,
        parts: &[Range<usize>],
        same: bool,
        inputs: impl Fn(&Range<usize>) -> Vec<(&'i str, Padded<'i, R>)>,
    ) -> Result<(), ProgramError>
    where
        R: 'i,
    {
        self.forget_ahead();
        let program = std::sync::Arc::clone(self.program());
        let layouts = match same {
            true => None,
            false => {
                let layout =
                    |part: &Range<usize>| Layout::new(program.plan(), R::PRECISION, lengths, part.clone());
                Some(parts.iter().map(layout).collect::<Result<Vec<_>, LayoutError>>()?)
            }
        };
        let mut packed = Vec::new();
        let own = layouts.as_deref().unwrap_or(self.layouts());
        for (group, (part, layout)) in parts.iter().zip(own).enumerate() {
            for (name, padded) in inputs(part) {
                let bytes = match padded {
                    Padded::Real(values) => self.packed(layout, name, Element::Real, values, R::write)?,
                    Padded::Ids(ids) => {
                        self.packed(layout, name, Element::Id, ids, super::instance::write_id)?
                    }
                };
                packed.push((group, name.to_string(), bytes));
            }
        }
        let total: usize = packed.iter().map(|(.., bytes)| bytes.len()).sum();
        let waiting = self.waiting_mut();
        waiting.turn = 1 - waiting.turn;
        let turn = waiting.turn;
        if waiting.memory[turn].as_ref().is_none_or(|(_, have)| *have < total) {
            waiting.memory[turn] = None;
            let memory = allocate(&program, total)?;
            self.waiting_mut().memory[turn] = Some((memory, total));
        }
        let mut pieces = Vec::new();
        let mut from = 0;
        for (group, name, bytes) in packed {
            let Some((memory, _)) = &self.waiting_mut().memory[turn] else { continue };
            let copied = program.device.queue.write_ahead(memory, from, &bytes)?;
            let length = bytes.len();
            pieces.push(Piece { group, name, from, bytes, copied });
            from += length;
        }
        program.device.queue.flush_ahead()?;
        self.waiting_mut().ahead = Some(Ahead { lengths: lengths.clone(), layouts, pieces });
        Ok(())
    }

    /// The layouts of a batch of these lengths, if it is the one that is on its way; another one is none any more.
    pub(super) fn layouts_ahead(&mut self, lengths: &Lengths) -> Option<Vec<Layout>> {
        match &mut self.waiting_mut().ahead {
            Some(ahead) if ahead.lengths == *lengths => ahead.layouts.take(),
            _ => {
                self.forget_ahead();
                None
            }
        }
    }

    /// Takes an input of a group from where it waits, if it has been copied ahead.
    ///
    /// # Errors
    /// The device fails.
    pub fn take_ahead(&mut self, group: usize, name: &str) -> Result<bool, ProgramError> {
        let turn = self.waiting_mut().turn;
        let Some(ahead) = &mut self.waiting_mut().ahead else { return Ok(false) };
        let is = |piece: &Piece| piece.group == group && piece.name == name;
        let Some(at) = ahead.pieces.iter().position(is) else { return Ok(false) };
        let piece = ahead.pieces.swap_remove(at);
        if ahead.pieces.is_empty() {
            self.waiting_mut().ahead = None;
        }
        let Some((from, _)) = self.waiting_mut().memory[turn].clone() else { return Ok(false) };
        let Some((to, offset)) = self.place_of_input(group, name)? else { return Ok(true) };
        let queue = &self.program().device.queue;
        Ok(queue.copy(&from, to, piece.from, offset, piece.bytes, &piece.copied).map(|()| true)?)
    }

    /// Waits for what is on its way, which will not be wanted.
    fn forget_ahead(&mut self) {
        self.waiting_mut().ahead = None;
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // The bytes are read until the copies are done; that one failed is told by what is run next.
        self.pieces.iter().for_each(|piece| drop(ocl::core::wait_for_event(&piece.copied)));
    }
}
