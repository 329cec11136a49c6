//! A compiled plan, and runs of it on batches.
//!
//! ```text
//! let program = Arc::new(Program::<f32>::new(plan)?);
//! let mut instance = Instance::new(&program, &lengths, 0..lengths.examples)?;
//! instance.set_input("x", &padded)?;
//! instance.run(&[&weights, &bias])?;
//! let loss = instance.output("loss")?;
//! ```
//!
//! An instance holds the memory of one group of examples; groups share nothing but the code and the
//! parameters, which are only read, so instances may run on different threads at once. How a batch is
//! split and how results are added up again is the caller's.

use std::marker::PhantomData;
use std::ops::{AddAssign, Range};
use std::sync::Arc;

use rayon::ThreadPool;
use thiserror::Error;

use super::layout::{Arena, Content, Home, Layout, LayoutError, Lengths};
use super::memory::Memory;
use super::tables::Table;
use super::threads::stay_awake;
use crate::backend::native::clock;
use crate::backend::native::context::{CELL_BYTES, FLEETING, Slots};
use crate::backend::native::emit::EmitError;
use crate::backend::native::jit::Jit;
use crate::backend::native::target::Target;
use crate::plan::places::{kernels, zeros_needed};
use crate::plan::{BufferId, Element, GemmRows, Plan, Precision, Residency, Role, SpaceId, Steps, Work};

mod sums;

/// A type that programs calculate in: f32 or f64.
pub trait Real: AddAssign + Copy + Default + Send + Sync + std::fmt::Debug + PartialEq + 'static {
    /// Which one.
    const PRECISION: Precision;
    /// Rounded from f64.
    fn from_f64(value: f64) -> Self;
    /// As f64.
    fn to_f64(self) -> f64;
    /// Stores it at the start of `bytes`.
    fn write(self, bytes: &mut [u8]);
    /// Reads it from the start of `bytes`.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! real {
    ($type:ty, $precision:expr, $bytes:literal) => {
        impl Real for $type {
            const PRECISION: Precision = $precision;
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            fn to_f64(self) -> f64 {
                self.into()
            }
            fn write(self, bytes: &mut [u8]) {
                bytes[..$bytes].copy_from_slice(&self.to_ne_bytes());
            }
            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; $bytes];
                own.copy_from_slice(&bytes[..$bytes]);
                <$type>::from_ne_bytes(own)
            }
        }
    };
}
real!(f32, Precision::F32, 4);
real!(f64, Precision::F64, 8);

/// Why a program cannot be made or run.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// The plan became no code.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The batch has no layout, or data have the wrong size.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A device.
    #[error(transparent)]
    Device(#[from] super::opencl::OpenClError),
    /// A name that the program does not have.
    #[error("the program `{program}` has no {what} `{name}`")]
    Unknown {
        /// The program.
        program: String,
        /// Input, setting or output.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Data of another kind or size than the program's.
    #[error("`{name}` takes {expected}, but {given} are given")]
    Mismatch {
        /// The name.
        name: String,
        /// Elements and their type.
        expected: String,
        /// Elements and their type.
        given: String,
    },
}

/// A plan and its code.
pub struct Program<R: Real> {
    plan: Plan,
    code: Jit,
    slots: Slots,
    profiled: bool,
    /// Shared zeros that it reads.
    zeros: usize,
    parameters: Vec<BufferId>,
    real: PhantomData<R>,
}

impl<R: Real> Program<R> {
    /// Compiles a plan for this machine.
    pub fn new(plan: Plan) -> Result<Program<R>, ProgramError> {
        Program::compile(plan, Target::Native, false)
    }

    /// Compiles a plan for a target that this machine can run, `profiled` with a clock (see
    /// [`Instance::readings`]).
    ///
    /// # Errors
    /// If the machine cannot, or the plan becomes no code.
    pub fn compile(plan: Plan, target: Target, profiled: bool) -> Result<Program<R>, ProgramError> {
        let code = Jit::compile(&plan, R::PRECISION, target, profiled)?;
        let is_parameter = |id: &BufferId| matches!(plan.buffers[*id].role, Role::Parameter(_));
        Ok(Program {
            slots: Slots::new(&plan),
            profiled,
            zeros: zeros_needed(&plan),
            parameters: (0..plan.buffers.len()).filter(is_parameter).collect(),
            code,
            plan,
            real: PhantomData,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Parameters in the order in which [`Instance::run`] takes them: name, shape, elements.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &[usize], usize)> {
        self.parameters.iter().map(|&id| {
            let buffer = &self.plan.buffers[id];
            let name = match &buffer.role {
                Role::Parameter(name) => name.as_str(),
                _ => buffer.name.as_str(),
            };
            (name, &buffer.shape[..], buffer.width)
        })
    }

    /// Whether it has a clock.
    pub fn is_profiled(&self) -> bool {
        self.profiled
    }

    fn find(&self, what: &'static str, name: &str) -> Result<BufferId, ProgramError> {
        let matches = |role: &Role| match (what, role) {
            ("input", Role::Input(own)) | ("setting", Role::Setting(own)) | ("output", Role::Output(own)) => {
                own == name
            }
            _ => false,
        };
        self.plan.buffers.iter().position(|buffer| matches(&buffer.role)).ok_or_else(|| {
            ProgramError::Unknown { program: self.plan.name.clone(), what, name: name.to_string() }
        })
    }
}

/// Outputs of a single row that a run writes straight to where they belong.
pub struct Direct<'a, R> {
    /// Which, and where in the whole: as many elements as each has.
    pub outputs: &'a [(BufferId, Range<usize>)],
    /// The whole.
    pub total: &'a mut [R],
}

/// The memory of one group of examples.
pub struct Instance<R: Real> {
    program: Arc<Program<R>>,
    layout: Layout,
    /// What is kept from run to run.
    memory: Memory,
    /// The outputs that lie, with all temporaries, in memory that is lent for a run, if it is.
    lent: Option<Arc<[String]>>,
    context: Vec<u64>,
    /// Where workers count how often they have met.
    cells: Vec<u64>,
    /// Whether parameters stay the same, and if so, whether there has been a run on them.
    held: Option<bool>,
    /// What the clock of a profiled program said; else empty.
    readings: Vec<u64>,
}

impl<R: Real> Instance<R> {
    /// Lays out the examples `part` of a batch. Inputs and settings are zero (ids: none) until set.
    pub fn new(
        program: &Arc<Program<R>>,
        whole: &Lengths,
        part: Range<usize>,
    ) -> Result<Instance<R>, ProgramError> {
        Instance::make(program, whole, part, None)
    }

    /// As [`Instance::new`], but temporaries and these outputs have no memory of their own: it is lent to each
    /// run, see [`Instance::run_in`], and one block may serve one instance after the other.
    ///
    /// # Errors
    /// The batch has no layout.
    pub fn borrowing(
        program: &Arc<Program<R>>,
        whole: &Lengths,
        part: Range<usize>,
        outputs: &Arc<[String]>,
    ) -> Result<Instance<R>, ProgramError> {
        Instance::make(program, whole, part, Some(Arc::clone(outputs)))
    }

    fn make(
        program: &Arc<Program<R>>,
        whole: &Lengths,
        part: Range<usize>,
        lent: Option<Arc<[String]>>,
    ) -> Result<Instance<R>, ProgramError> {
        let layout = laid_out(program, whole, part, lent.as_deref(), None)?;
        let readings = match program.profiled {
            true => vec![0; clock::readings(kernels(&program.plan).count())],
            false => Vec::new(),
        };
        let program = Arc::clone(program);
        let (memory, context, cells) = (Memory::default(), Vec::new(), Vec::new());
        let mut instance = Instance { program, layout, memory, lent, context, cells, held: None, readings };
        instance.prepare()?;
        Ok(instance)
    }

    /// Takes another batch; memory is kept where it is large enough.
    pub fn relayout(&mut self, whole: &Lengths, part: Range<usize>) -> Result<(), ProgramError> {
        let before = Some(&self.layout.arena);
        self.layout = laid_out(&self.program, whole, part, self.lent.as_deref(), before)?;
        self.prepare()
    }

    /// Multiply-adds of a run's products.
    pub fn products(&self) -> usize {
        kernels(&self.program.plan)
            .map(|kernel| match &kernel.work {
                Work::Gemm(gemm) => match gemm.rows {
                    GemmRows::Space(space) => self.rows(space, kernel.steps) * gemm.k * gemm.n,
                    GemmRows::Static(rows) => rows * gemm.k * gemm.n,
                },
                Work::Outer(outer) => self.rows(outer.space, kernel.steps) * outer.m * outer.n,
                _ => 0,
            })
            .sum()
    }

    /// How many rows of a space there are in some of its steps.
    pub fn rows(&self, space: SpaceId, steps: Steps) -> usize {
        let space = &self.layout.spaces[space];
        steps.rows(space.rows, &space.step_offsets).len()
    }

    /// Rows and places.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program<R>> {
        &self.program
    }

    /// Sets an input of reals from an array padded to the longest example of the whole batch (the
    /// part's examples only).
    pub fn set_input(&mut self, name: &str, padded: &[R]) -> Result<(), ProgramError> {
        let id = self.program.find("input", name)?;
        self.check_element(id, Element::Real, padded.len())?;
        self.set_rows(id, padded, R::write)
    }

    /// Sets an input of ids, padded likewise.
    pub fn set_input_ids(&mut self, name: &str, padded: &[u32]) -> Result<(), ProgramError> {
        let id = self.program.find("input", name)?;
        self.check_element(id, Element::Id, padded.len())?;
        let ids = self.packed(id, padded)?;
        self.write_packed(id, &ids, write_id);
        let program = Arc::clone(&self.program);
        for (buffer, found) in self.layout.take_ids(&program.plan, id, &ids) {
            self.write_packed(buffer, &found, write_id);
        }
        Ok(())
    }

    /// Sets a run-time scalar.
    pub fn set_setting(&mut self, name: &str, values: &[R]) -> Result<(), ProgramError> {
        let id = self.program.find("setting", name)?;
        self.check_element(id, Element::Real, values.len())?;
        self.set_rows(id, values, R::write)
    }

    /// Sets a run-time scalar of ids, such as the seed `random`: seed low, seed high, step.
    pub fn set_setting_ids(&mut self, name: &str, values: &[u32]) -> Result<(), ProgramError> {
        let id = self.program.find("setting", name)?;
        self.check_element(id, Element::Id, values.len())?;
        self.set_rows(id, values, write_id)
    }

    /// Says that all runs from the next one on have the same parameters, until this is said again: what
    /// depends on them alone is then computed once.
    pub fn hold_parameters(&mut self) {
        self.held = Some(false);
    }

    /// Runs the program. `parameters` are in the order of [`Program::parameters`], row-major.
    pub fn run(&mut self, parameters: &[&[R]]) -> Result<(), ProgramError> {
        self.run_in(parameters, &mut Memory::of_one_run(), None)
    }

    /// Runs the program in memory that is lent to it, which then holds the outputs that lie there and are not
    /// written straight to where they belong. If another instance of the same program ran in it on the same
    /// parameters, what depends on these alone is there already (else see [`Memory::forget`]).
    pub fn run_in(
        &mut self,
        parameters: &[&[R]],
        lent: &mut Memory,
        direct: Option<Direct<R>>,
    ) -> Result<(), ProgramError> {
        self.check_parameters(parameters)?;
        self.fill_context(parameters, 1, lent, direct);
        let entry = self.program.code.entry();
        // SAFETY: the context has the slots that the code was made for; every pointer in it is to memory
        // of the size that the layout found for the plan, all of it borrowed for the call. The code writes to the
        // two blocks of memory, the tables, `direct` and the readings only, which `self` owns or has borrowed.
        unsafe { entry(self.context.as_ptr(), 0, 1) };
        Ok(())
    }

    /// Runs the program on several groups at once, each by `workers` threads of the pool, of which there must
    /// be enough. The results are those of [`Instance::run`], to the bit; `direct` is for those of the first group.
    pub fn run_together(
        groups: &mut [Instance<R>],
        parameters: &[&[R]],
        lent: &mut [Memory],
        direct: Option<Direct<R>>,
        pool: &ThreadPool,
        workers: usize,
    ) -> Result<(), ProgramError> {
        let mut none: Vec<Memory> = Vec::new();
        let of_run = if groups.len() == 1 { Memory::of_one_run } else { Memory::default };
        none.resize_with(groups.len(), of_run);
        let lent = if lent.len() < groups.len() { &mut none[..] } else { lent };
        let mut direct = direct;
        for (instance, lent) in groups.iter_mut().zip(&mut *lent) {
            instance.check_parameters(parameters)?;
            instance.fill_context(parameters, workers, lent, direct.take());
        }
        let groups = &*groups;
        let work = |number: usize| {
            let Some(instance) = groups.get(number / workers) else { return };
            let (entry, worker) = (instance.program.code.entry(), number % workers);
            // SAFETY: as in `run`; nobody else reaches the memory, since the groups are borrowed mutably,
            // and the workers of a group write where no other one reads or writes until they have met.
            unsafe { entry(instance.context.as_ptr(), worker as u64, workers as u64) };
        };
        // Who calls is the first worker: it need not be woken, and has begun when the others are.
        pool.in_place_scope(|scope| {
            for number in 1..groups.len() * workers {
                scope.spawn(move |_| {
                    work(number);
                    stay_awake();
                });
            }
            work(0);
        });
        Ok(())
    }

    /// What the clock of a profiled program said in all runs so far, see [`crate::backend::native::clock`];
    /// empty for any other program.
    pub fn readings(&self) -> &[u64] {
        &self.readings
    }

    /// A result: one row, or an array padded with zeros to the longest example of the whole batch.
    pub fn output(&self, name: &str) -> Result<Vec<R>, ProgramError> {
        let id = self.program.find("output", name)?;
        let mut padded = vec![R::default(); self.padded_elements(id)?];
        self.output_into(name, &mut padded)?;
        Ok(padded)
    }

    /// As [`Instance::output`], into the caller's memory; what is behind an example's end stays.
    pub fn output_into(&self, name: &str, padded: &mut [R]) -> Result<(), ProgramError> {
        let id = self.program.find("output", name)?;
        self.check_element(id, Element::Real, padded.len())?;
        self.get_rows(id, padded, R::read)
    }

    /// A result of ids, padded with "none".
    pub fn output_ids(&self, name: &str) -> Result<Vec<u32>, ProgramError> {
        let id = self.program.find("output", name)?;
        let mut padded = vec![u32::MAX; self.padded_elements(id)?];
        self.check_element(id, Element::Id, padded.len())?;
        self.get_rows(id, &mut padded, read_id)?;
        Ok(padded)
    }

    fn padded_elements(&self, id: BufferId) -> Result<usize, ProgramError> {
        let buffer = &self.program.plan.buffers[id];
        Ok(self.layout.padded_elements(buffer.space, buffer.width)?)
    }

    /// Memory for the layout, with everything in it that does not come from the caller.
    fn prepare(&mut self) -> Result<(), ProgramError> {
        self.held = self.held.map(|_| false);
        self.memory.reserve(self.layout.arena.bytes);
        let program = Arc::clone(&self.program);
        let (zeros, zeros_bytes) = (self.layout.arena.zeros, self.layout.arena.zeros_bytes);
        self.memory.get_mut()[zeros..zeros + zeros_bytes].fill(0);
        for (id, buffer) in program.plan.buffers.iter().enumerate() {
            let Some(in_use) = self.layout.in_use(&program.plan, id) else { continue };
            let nothing = match buffer.element {
                Element::Real => 0,
                Element::Id => 0xff,
            };
            match (&buffer.role, buffer.residency) {
                // The program clears these itself when their lives begin.
                (Role::Temporary | Role::Output(_), _) => continue,
                (_, Residency::Scratch) => {}
                _ => self.memory.get_mut()[in_use].fill(nothing),
            }
            match self.layout.content(&program.plan, id)? {
                Some(Content::Real(values)) => {
                    let values: Vec<R> = values.into_iter().map(R::from_f64).collect();
                    self.write_packed(id, &values, R::write);
                }
                Some(Content::Id(ids)) => self.write_packed(id, &ids, write_id),
                None => {}
            }
        }
        Ok(())
    }

    fn write_packed<T: Copy>(&mut self, id: BufferId, values: &[T], write: impl Fn(T, &mut [u8])) {
        let Some(place) = self.layout.arena.places[id] else {
            return;
        };
        let bytes = self.program.plan.buffers[id].element.bytes(R::PRECISION);
        let slots = self.memory.get_mut()[place.offset..].chunks_exact_mut(bytes);
        for (slot, &value) in slots.zip(values) {
            write(value, slot);
        }
    }

    fn set_rows<T: Copy + Default>(
        &mut self,
        id: BufferId,
        padded: &[T],
        write: impl Fn(T, &mut [u8]),
    ) -> Result<(), ProgramError> {
        let packed = self.packed(id, padded)?;
        self.write_packed(id, &packed, write);
        Ok(())
    }

    /// A padded array row by row.
    fn packed<T: Copy + Default>(&self, id: BufferId, padded: &[T]) -> Result<Vec<T>, ProgramError> {
        let buffer = &self.program.plan.buffers[id];
        let mut packed = vec![T::default(); self.layout.spaces[buffer.space].rows * buffer.width];
        self.layout.pack(buffer.space, buffer.width, padded, &mut packed)?;
        Ok(packed)
    }

    fn get_rows<T: Copy>(
        &self,
        id: BufferId,
        padded: &mut [T],
        read: impl Fn(&[u8]) -> T,
    ) -> Result<(), ProgramError> {
        let Some(place) = self.layout.arena.places[id].filter(|place| place.home == Home::Kept) else {
            return Ok(());
        };
        let buffer = &self.program.plan.buffers[id];
        let elements = self.layout.spaces[buffer.space].rows * buffer.width;
        let packed: Vec<T> = self.memory.get()[place.offset..]
            .chunks_exact(buffer.element.bytes(R::PRECISION))
            .take(elements)
            .map(read)
            .collect();
        Ok(self.layout.unpack(buffer.space, buffer.width, &packed, padded)?)
    }

    fn check_element(&self, id: BufferId, given: Element, elements: usize) -> Result<(), ProgramError> {
        let buffer = &self.program.plan.buffers[id];
        let expected = self.padded_elements(id)?;
        match buffer.element == given && elements == expected {
            true => Ok(()),
            false => Err(ProgramError::Mismatch {
                name: buffer.name.clone(),
                expected: format!("{expected} elements ({:?})", buffer.element),
                given: format!("{elements} ({given:?})"),
            }),
        }
    }

    fn check_parameters(&self, parameters: &[&[R]]) -> Result<(), ProgramError> {
        let own = &self.program.parameters;
        if parameters.len() != own.len() {
            return Err(ProgramError::Mismatch {
                name: self.program.plan.name.clone(),
                expected: format!("{} parameters", own.len()),
                given: parameters.len().to_string(),
            });
        }
        for (&id, values) in own.iter().zip(parameters) {
            let buffer = &self.program.plan.buffers[id];
            if values.len() != buffer.width {
                return Err(ProgramError::Mismatch {
                    name: buffer.name.clone(),
                    expected: format!("{} elements", buffer.width),
                    given: values.len().to_string(),
                });
            }
        }
        Ok(())
    }

    /// Sparse outputs are zero before a run, whose ids say where they will not be.
    fn clear_tables(&self, tables: &mut Vec<Table>) {
        let plan = &self.program.plan;
        if tables.len() != plan.sparse.len() {
            *tables = plan.sparse.iter().map(|sparse| Table::new(sparse, size_of::<R>())).collect();
        }
        for (sparse, table) in plan.sparse.iter().zip(tables).filter(|(sparse, _)| sparse.listed.is_none()) {
            table.clear(self.named_by(sparse));
        }
    }

    fn fill_context(
        &mut self,
        parameters: &[&[R]],
        workers: usize,
        lent: &mut Memory,
        direct: Option<Direct<R>>,
    ) {
        let program = Arc::clone(&self.program);
        let (slots, plan) = (&program.slots, &program.plan);
        lent.reserve(self.layout.arena.lent_bytes);
        let (held, fleeting) = match self.lent {
            Some(_) => (std::mem::replace(&mut lent.holds, true), lent.fleeting),
            None => (self.held == Some(true), lent.fleeting && self.held.is_none()),
        };
        self.clear_tables(&mut lent.tables);
        let tables: Vec<u64> = lent
            .tables
            .iter_mut()
            .map(|table| table.bytes_mut().as_mut_ptr().expose_provenance() as u64)
            .collect();
        let lent = lent.get_mut().as_mut_ptr().expose_provenance() as u64;
        let kept = self.memory.get_mut().as_mut_ptr().expose_provenance() as u64;
        let mut context = std::mem::take(&mut self.context);
        context.clear();
        context.resize(slots.len(), 0);
        let layout = &self.layout;
        context[slots.held()] = if held || !fleeting { u64::from(held) } else { FLEETING };
        self.held = self.held.map(|_| true);
        context[slots.zeros()] = kept + layout.arena.zeros as u64;
        for (id, place) in layout.arena.places.iter().enumerate() {
            if let Some(place) = place {
                let block = match place.home {
                    Home::Kept => kept,
                    Home::Lent => lent,
                };
                context[slots.buffer(id)] = block + place.offset as u64;
            }
        }
        for (sparse, table) in plan.sparse.iter().zip(tables) {
            context[slots.buffer(sparse.out)] = table;
        }
        if let Some(Direct { outputs, total }) = direct {
            for (id, range) in outputs.iter().filter(|(id, range)| plan.buffers[*id].width == range.len()) {
                context[slots.buffer(*id)] = total[range.clone()].as_mut_ptr().expose_provenance() as u64;
            }
        }
        for (&id, values) in program.parameters.iter().zip(parameters) {
            context[slots.buffer(id)] = values.as_ptr().expose_provenance() as u64;
        }
        for (id, map) in layout.maps.iter().enumerate() {
            context[slots.map(id)] = map.as_ptr().expose_provenance() as u64;
        }
        for (id, list) in layout.lists.iter().enumerate() {
            context[slots.list_starts(id)] = list.starts.as_ptr().expose_provenance() as u64;
            context[slots.list_rows(id)] = list.rows.as_ptr().expose_provenance() as u64;
        }
        for (id, space) in layout.spaces.iter().enumerate() {
            context[slots.rows(id)] = space.rows as u64;
            context[slots.step_offsets(id)] = space.step_offsets.as_ptr().expose_provenance() as u64;
        }
        for axis in 0..plan.axes.len() {
            context[slots.steps(axis)] = layout.steps[axis] as u64;
        }
        if workers > 1 {
            // Cache lines of their own, wherever the vector begins.
            let words = CELL_BYTES / 8;
            self.cells.resize(words * (workers + 1), 0);
            let start = self.cells.as_ptr().align_offset(CELL_BYTES);
            context[slots.cells()] = self.cells[start..].as_mut_ptr().expose_provenance() as u64;
            context[slots.pause()] = pause as extern "C" fn() as usize as u64;
        }
        if program.profiled {
            context.push(self.readings.as_mut_ptr().expose_provenance() as u64);
        }
        self.context = context;
    }
}

/// The layout of a part of a batch, with temporaries and the outputs of these names in memory that is lent; if possible with
/// all in the places that they had before.
fn laid_out<R: Real>(
    program: &Program<R>,
    whole: &Lengths,
    part: Range<usize>,
    lent: Option<&[String]>,
    before: Option<&Arena>,
) -> Result<Layout, LayoutError> {
    let is_lent = |role: &Role| match role {
        Role::Temporary => lent.is_some(),
        Role::Output(name) => lent.is_some_and(|names| names.contains(name)),
        _ => false,
    };
    Layout::lending(&program.plan, R::PRECISION, whole, part, program.zeros, &is_lent, before)
}

/// What a worker does now and then while it waits.
extern "C" fn pause() {
    std::thread::yield_now();
}

fn write_id(value: u32, bytes: &mut [u8]) {
    bytes[..4].copy_from_slice(&value.to_ne_bytes());
}

fn read_id(bytes: &[u8]) -> u32 {
    let mut own = [0; 4];
    own.copy_from_slice(&bytes[..4]);
    u32::from_ne_bytes(own)
}
