//! The memory of a batch on a device, and runs on it.
//!
//! A batch runs in groups of examples as it does in native code; all groups lie in one piece of memory, each
//! with the places that its own layout gives it, and each has a context in the tables.

use std::ops::Range;
use std::sync::Arc;

use ocl::core::Mem;

use super::OpenClError;
use super::ahead::Waiting;
use super::program::Program;
use crate::backend::opencl::host::parameter_places;
use crate::backend::opencl::slots::UNIT;
use crate::plan::{BufferId, Element, Residency, Role};
use crate::runtime::layout::{Content, Layout, LayoutError, Lengths};
use crate::runtime::program::{ProgramError, Real};

/// Bytes behind the last row that vector loads may read.
const SLACK: usize = 4096;

/// Groups of a batch with their memory.
pub struct Instance<R: Real> {
    program: Arc<Program<R>>,
    layouts: Vec<Layout>,
    /// First byte of each group.
    bases: Vec<usize>,
    memory: Option<(Mem, usize)>,
    tables: Option<(Mem, usize)>,
    /// The contexts, as they are on the device.
    contexts: Vec<i32>,
    parameters: Mem,
    places: Vec<Option<usize>>,
    /// The next batch.
    waiting: Waiting,
    /// Whether parameters stay the same, and if so, whether there has been a run on them.
    held: Option<bool>,
}

impl<R: Real> Instance<R> {
    /// Memory for no examples.
    ///
    /// # Errors
    /// The device has no room for the parameters.
    pub fn new(program: &Arc<Program<R>>) -> Result<Instance<R>, ProgramError> {
        let (places, bytes) = parameter_places(program.plan(), R::PRECISION);
        let parameters = allocate(program, bytes + SLACK)?;
        program.device.queue.write(&parameters, 0, vec![0; bytes + SLACK])?;
        Ok(Instance {
            program: Arc::clone(program),
            layouts: Vec::new(),
            bases: Vec::new(),
            memory: None,
            tables: None,
            contexts: Vec::new(),
            parameters,
            places,
            waiting: Waiting::default(),
            held: None,
        })
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program<R>> {
        &self.program
    }

    /// The groups' layouts.
    pub fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    pub(super) fn parameter_memory(&self) -> &Mem {
        &self.parameters
    }

    /// Where a parameter begins in the block of parameters, in reals.
    pub(super) fn parameter_start(&self, name: &str) -> Option<usize> {
        let is = |id: &BufferId| matches!(&self.program.plan().buffers[*id].role, Role::Parameter(own) if own == name);
        let id = (0..self.places.len()).find(is)?;
        self.places[id].map(|place| place / R::PRECISION.bytes())
    }

    pub(super) fn waiting_mut(&mut self) -> &mut Waiting {
        &mut self.waiting
    }

    pub(super) fn tables_memory(&self) -> Option<&Mem> {
        self.tables.as_ref().map(|(tables, _)| tables)
    }

    pub(super) fn main_memory(&self) -> Option<&Mem> {
        self.memory.as_ref().map(|(memory, _)| memory)
    }

    /// Bytes of the block of parameters.
    pub(super) fn parameter_bytes(&self) -> usize {
        parameter_places(self.program.plan(), R::PRECISION).1
    }

    /// Makes room for these parts of a batch. Inputs and settings are zero (ids: none) until set.
    ///
    /// # Errors
    /// The batch has no layout, or no room on the device.
    pub fn lay_out(&mut self, whole: &Lengths, parts: &[Range<usize>]) -> Result<(), ProgramError> {
        self.held = self.held.map(|_| false);
        let program = Arc::clone(&self.program);
        let plan = program.plan();
        self.layouts = match self.layouts_ahead(whole) {
            Some(layouts) => layouts,
            None => parts
                .iter()
                .map(|part| Layout::new(plan, R::PRECISION, whole, part.clone()))
                .collect::<Result<Vec<_>, LayoutError>>()?,
        };
        let mut bytes = 0usize;
        self.bases.clear();
        for layout in &self.layouts {
            self.bases.push(bytes);
            // Behind it the teams of the group meet.
            let own = layout.arena.bytes.next_multiple_of(UNIT) + UNIT;
            bytes = bytes.checked_add(own).ok_or(LayoutError::TooLarge { what: "buffers" })?;
        }
        let tables = self.write_tables()?;
        let queue = &program.device.queue;
        if self.memory.as_ref().is_none_or(|(_, have)| *have < bytes + SLACK) {
            // The old piece first, so that both need not fit.
            self.memory = None;
            self.memory = Some((allocate(&program, bytes + SLACK)?, bytes + SLACK));
        }
        if self.tables.as_ref().is_none_or(|(_, have)| *have < tables.len()) {
            self.tables = None;
            self.tables = Some((allocate(&program, tables.len())?, tables.len()));
        }
        if let Some((own, _)) = &self.tables {
            queue.write(own, 0, tables)?;
        }
        self.prepare()
    }

    /// Contexts and tables of all groups.
    fn write_tables(&mut self) -> Result<Vec<u8>, ProgramError> {
        let (slots, plan) = (self.program.emitted.slots, self.program.plan());
        let mut all = vec![0i32; slots.len() * self.layouts.len()];
        let number = |value: usize| {
            i32::try_from(value).map_err(|_| ProgramError::from(LayoutError::TooLarge { what: "tables" }))
        };
        for (group, (layout, &base)) in self.layouts.iter().zip(&self.bases).enumerate() {
            let context = group * slots.len();
            let set = |all: &mut Vec<i32>, slot: usize, value: usize| -> Result<(), ProgramError> {
                all[context + slot] = number(value)?;
                Ok(())
            };
            set(&mut all, slots.zeros(), (base + layout.arena.zeros) / UNIT)?;
            set(&mut all, slots.meeting(), (base + layout.arena.bytes.next_multiple_of(UNIT)) / UNIT)?;
            for id in 0..plan.buffers.len() {
                let place = match (layout.arena.places[id], self.places[id]) {
                    (_, Some(parameter)) => parameter,
                    (Some(place), None) => base + place.offset,
                    (None, None) => 0,
                };
                set(&mut all, slots.buffer(id), place / UNIT)?;
            }
            for (id, map) in layout.maps.iter().enumerate() {
                let at = all.len();
                set(&mut all, slots.map(id), at)?;
                all.extend(map);
            }
            for (id, list) in layout.lists.iter().enumerate() {
                let at = all.len();
                set(&mut all, slots.list_starts(id), at)?;
                set(&mut all, slots.list_rows(id), at + list.starts.len())?;
                all.extend(list.starts.iter().chain(&list.rows).map(|&row| row as i32));
            }
            for (id, space) in layout.spaces.iter().enumerate() {
                set(&mut all, slots.rows(id), space.rows)?;
                let at = all.len();
                set(&mut all, slots.step_offsets(id), at)?;
                all.extend(space.step_offsets.iter().map(|&row| row as i32));
            }
            for (axis, &steps) in layout.steps.iter().enumerate() {
                set(&mut all, slots.steps(axis), steps)?;
            }
        }
        self.contexts = all[..slots.len() * self.layouts.len()].to_vec();
        Ok(all.iter().flat_map(|number| number.to_ne_bytes()).collect())
    }

    /// Writes everything that neither the program nor the caller provides, and clears what the caller will set.
    fn prepare(&mut self) -> Result<(), ProgramError> {
        let program = Arc::clone(&self.program);
        let (plan, queue) = (program.plan(), &program.device.queue);
        let Some((memory, _)) = &self.memory else { return Ok(()) };
        for (layout, &base) in self.layouts.iter().zip(&self.bases) {
            queue.write(memory, base + layout.arena.zeros, vec![0; layout.arena.zeros_bytes])?;
            queue.write(memory, base + layout.arena.bytes.next_multiple_of(UNIT), vec![0; UNIT])?;
            for (id, buffer) in plan.buffers.iter().enumerate() {
                let given = !matches!(buffer.role, Role::Temporary | Role::Output(_));
                let Some(place) = layout.arena.places[id].filter(|_| given) else { continue };
                let nothing = if buffer.element == Element::Real { 0 } else { 0xff };
                let mut bytes = vec![nothing; place.bytes];
                let own = &mut bytes[place.offset - place.start..];
                match layout.content(plan, id)? {
                    Some(Content::Real(values)) => {
                        put(own, R::PRECISION.bytes(), values.into_iter().map(R::from_f64), R::write);
                    }
                    Some(Content::Id(ids)) => put(own, 4, ids, write_id),
                    None => {}
                }
                queue.write(memory, base + place.start, bytes)?;
            }
        }
        Ok(())
    }

    /// Says that all runs from the next one on have the same parameters, until this is said again.
    pub fn hold_parameters(&mut self) {
        self.held = Some(false);
    }

    fn find(&self, what: &'static str, name: &str) -> Result<BufferId, ProgramError> {
        let plan = self.program.plan();
        let matches = |role: &Role| match (what, role) {
            ("input", Role::Input(own)) | ("setting", Role::Setting(own)) | ("output", Role::Output(own)) => {
                own == name
            }
            _ => false,
        };
        plan.buffers.iter().position(|buffer| matches(&buffer.role)).ok_or_else(|| ProgramError::Unknown {
            program: plan.name.clone(),
            what,
            name: name.to_string(),
        })
    }

    /// Sets an input of reals of one group from an array padded to the longest example of the whole batch.
    ///
    /// # Errors
    /// No such input, or one of another size.
    pub fn set_input(&self, group: usize, name: &str, padded: &[R]) -> Result<(), ProgramError> {
        self.set(group, self.find("input", name)?, Element::Real, padded, R::write)
    }

    /// Sets an input of ids, padded likewise.
    ///
    /// # Errors
    /// As [`Instance::set_input`].
    pub fn set_input_ids(&self, group: usize, name: &str, padded: &[u32]) -> Result<(), ProgramError> {
        self.set(group, self.find("input", name)?, Element::Id, padded, write_id)
    }

    /// Sets a run-time scalar in all groups.
    ///
    /// # Errors
    /// As [`Instance::set_input`].
    pub fn set_setting(&self, name: &str, values: &[R]) -> Result<(), ProgramError> {
        let id = self.find("setting", name)?;
        (0..self.layouts.len()).try_for_each(|group| self.set(group, id, Element::Real, values, R::write))
    }

    /// Sets a run-time scalar of ids in all groups.
    ///
    /// # Errors
    /// As [`Instance::set_input`].
    pub fn set_setting_ids(&self, name: &str, values: &[u32]) -> Result<(), ProgramError> {
        let id = self.find("setting", name)?;
        (0..self.layouts.len()).try_for_each(|group| self.set(group, id, Element::Id, values, write_id))
    }

    fn set<T: Copy + Default>(
        &self,
        group: usize,
        id: BufferId,
        element: Element,
        padded: &[T],
        write: impl Fn(T, &mut [u8]),
    ) -> Result<(), ProgramError> {
        let bytes = self.rows_of(&self.layouts[group], id, element, padded, write)?;
        match (self.layouts[group].arena.places[id], &self.memory) {
            (Some(place), Some((memory, _))) => {
                Ok(self.program.device.queue.write(memory, self.bases[group] + place.offset, bytes)?)
            }
            _ => Ok(()),
        }
    }

    /// An input as it lies in memory laid out like this.
    pub(super) fn packed<T: Copy + Default>(
        &self,
        layout: &Layout,
        name: &str,
        element: Element,
        padded: &[T],
        write: impl Fn(T, &mut [u8]),
    ) -> Result<Vec<u8>, ProgramError> {
        self.rows_of(layout, self.find("input", name)?, element, padded, write)
    }

    fn rows_of<T: Copy + Default>(
        &self,
        layout: &Layout,
        id: BufferId,
        element: Element,
        padded: &[T],
        write: impl Fn(T, &mut [u8]),
    ) -> Result<Vec<u8>, ProgramError> {
        let buffer = &self.program.plan().buffers[id];
        self.check(id, layout, element, padded.len())?;
        let rows = layout.spaces[buffer.space].rows;
        let mut packed = vec![T::default(); rows * buffer.width];
        layout.pack(buffer.space, buffer.width, padded, &mut packed)?;
        let each = element.bytes(R::PRECISION);
        let mut bytes = vec![0; packed.len() * each];
        put(&mut bytes, each, packed, write);
        Ok(bytes)
    }

    /// Where an input of a group lies.
    pub(super) fn place_of_input(
        &self,
        group: usize,
        name: &str,
    ) -> Result<Option<(&Mem, usize)>, ProgramError> {
        let place = self.layouts[group].arena.places[self.find("input", name)?];
        let memory = self.memory.as_ref().map(|(memory, _)| memory);
        Ok(memory.zip(place).map(|(memory, place)| (memory, self.bases[group] + place.offset)))
    }

    fn check(
        &self,
        id: BufferId,
        layout: &Layout,
        given: Element,
        elements: usize,
    ) -> Result<(), ProgramError> {
        let buffer = &self.program.plan().buffers[id];
        let expected = layout.padded_elements(buffer.space, buffer.width)?;
        match buffer.element == given && elements == expected {
            true => Ok(()),
            false => Err(ProgramError::Mismatch {
                name: buffer.name.clone(),
                expected: format!("{expected} elements ({:?})", buffer.element),
                given: format!("{elements} ({given:?})"),
            }),
        }
    }

    /// Copies the parameters to the device, in the order of [`Program::parameters`].
    ///
    /// # Errors
    /// One of another size.
    pub fn set_parameters(&mut self, parameters: &[&[R]]) -> Result<(), ProgramError> {
        let program = Arc::clone(&self.program);
        let own = program.parameters();
        if parameters.len() != own.len() {
            return Err(ProgramError::Mismatch {
                name: program.plan().name.clone(),
                expected: format!("{} parameters", own.len()),
                given: parameters.len().to_string(),
            });
        }
        for (&id, values) in own.iter().zip(parameters) {
            let buffer = &program.plan().buffers[id];
            if values.len() != buffer.width {
                return Err(ProgramError::Mismatch {
                    name: buffer.name.clone(),
                    expected: format!("{} elements", buffer.width),
                    given: values.len().to_string(),
                });
            }
            let mut bytes = vec![0; values.len() * R::PRECISION.bytes()];
            put(&mut bytes, R::PRECISION.bytes(), values.iter().copied(), R::write);
            program.device.queue.write(&self.parameters, self.places[id].unwrap_or(0), bytes)?;
        }
        Ok(())
    }

    /// Runs the program on these parameters; they are copied only where they may have changed.
    ///
    /// # Errors
    /// The device fails.
    pub fn run(&mut self, parameters: &[&[R]]) -> Result<(), ProgramError> {
        if self.held != Some(true) {
            self.set_parameters(parameters)?;
        }
        self.run_resident()
    }

    /// Runs the program on the parameters that are on the device.
    ///
    /// # Errors
    /// The device fails.
    pub fn run_resident(&mut self) -> Result<(), ProgramError> {
        let held = self.held == Some(true);
        self.held = self.held.map(|_| true);
        let (Some((memory, _)), Some((tables, _))) = (&self.memory, &self.tables) else { return Ok(()) };
        Ok(self.program.launch([memory, &self.parameters, tables], &self.layouts, held)?)
    }

    /// A result of one row of all groups, added up in their order.
    ///
    /// # Errors
    /// No such output, one of another size, or the device fails.
    pub fn add_up(&self, name: &str, total: &mut [R]) -> Result<(), ProgramError> {
        for group in 0..self.layouts.len() {
            let own = self.output(group, name)?;
            let sum = |sum: R, value: R| R::from_f64(sum.to_f64() + value.to_f64());
            match group {
                0 => total.iter_mut().zip(own).for_each(|(slot, value)| *slot = value),
                _ => total.iter_mut().zip(own).for_each(|(slot, value)| *slot = sum(*slot, value)),
            }
        }
        Ok(())
    }

    /// Waits until everything is done.
    ///
    /// # Errors
    /// The device has failed.
    pub fn finish(&self) -> Result<(), ProgramError> {
        Ok(self.program.device.queue.finish()?)
    }

    /// A result of one group: one row, or an array padded with zeros.
    ///
    /// # Errors
    /// No such output, or the device fails.
    pub fn output(&self, group: usize, name: &str) -> Result<Vec<R>, ProgramError> {
        self.get(group, self.find("output", name)?, Element::Real, R::default(), R::read)
    }

    /// A result of ids, padded with "none".
    ///
    /// # Errors
    /// As [`Instance::output`].
    pub fn output_ids(&self, group: usize, name: &str) -> Result<Vec<u32>, ProgramError> {
        self.get(group, self.find("output", name)?, Element::Id, u32::MAX, read_id)
    }

    fn get<T: Copy>(
        &self,
        group: usize,
        id: BufferId,
        element: Element,
        nothing: T,
        read: impl Fn(&[u8]) -> T,
    ) -> Result<Vec<T>, ProgramError> {
        let buffer = &self.program.plan().buffers[id];
        let layout = &self.layouts[group];
        let mut padded = vec![nothing; layout.padded_elements(buffer.space, buffer.width)?];
        self.check(id, layout, element, padded.len())?;
        let (Some(place), Some((memory, _))) = (layout.arena.places[id], &self.memory) else {
            return Ok(padded);
        };
        debug_assert!(buffer.residency == Residency::All);
        let each = element.bytes(R::PRECISION);
        let mut bytes = vec![0; layout.spaces[buffer.space].rows * buffer.width * each];
        self.program.device.queue.read(memory, self.bases[group] + place.offset, &mut bytes)?;
        let packed: Vec<T> = bytes.chunks_exact(each).map(read).collect();
        layout.unpack(buffer.space, buffer.width, &packed, &mut padded)?;
        Ok(padded)
    }
}

/// Memory on a program's device.
pub(super) fn allocate<R: Real>(program: &Program<R>, bytes: usize) -> Result<Mem, OpenClError> {
    let info = &program.device.info;
    let (device, name) = (info.name.clone(), program.plan().name.clone());
    if bytes > info.largest {
        return Err(OpenClError::Memory { device, program: name, wanted: bytes, fits: info.largest });
    }
    let memory = program.device.queue.allocate(&program.device.context, bytes)?;
    memory.ok_or(OpenClError::Full { device, program: name, wanted: bytes, memory: info.memory })
}

/// Writes values of `each` bytes one after the other.
fn put<T>(bytes: &mut [u8], each: usize, values: impl IntoIterator<Item = T>, write: impl Fn(T, &mut [u8])) {
    bytes.chunks_exact_mut(each).zip(values).for_each(|(slot, value)| write(value, slot));
}

pub(super) fn write_id(value: u32, bytes: &mut [u8]) {
    bytes[..4].copy_from_slice(&value.to_ne_bytes());
}

fn read_id(bytes: &[u8]) -> u32 {
    let mut own = [0; 4];
    own.copy_from_slice(&bytes[..4]);
    u32::from_ne_bytes(own)
}
