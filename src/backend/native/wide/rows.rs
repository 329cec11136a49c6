//! Row kernels in wide vectors: what `native::rows` computes, with the same parameters.
//!
//! ```text
//! for row: { addresses of all rows that are touched; for each phase: loops over its dimensions, the last
//!            one in vectors, its rest in a masked one }
//! ```
//!
//! Where elements of the last dimension do not lie side by side, or a later one reads what an earlier one
//! stored, the same body runs on one lane at a time.

mod addresses;

use std::collections::HashMap;

use iced_x86::Register;
use iced_x86::code_asm::{
    AsmRegister64, dword_ptr, eax, ecx, ptr, qword_ptr, r8, r9, r12, r13, r14, r15, rax, rbp, rbx, rcx, rdi,
    rdx, rsi, rsp,
};

use self::addresses::{Layout, is_by_id, nesting};
use super::body::{Accumulator, Body, Frame, INDEX, Lanes, Place as Spot, identity};
use super::instructions::{Three, Two, Width};
use super::machine::{Machine, Vector, memory};
use super::schedule::Copies;
use super::steps::{Step, Work, steps};
use crate::backend::native::context::{SLOT_BYTES, Slots};
use crate::backend::native::emit::EmitError;
use crate::backend::native::rows::is_elementwise;
use crate::plan::places::{places, references, span};
use crate::plan::{
    Combining, Inst, Phase, Place, Plan, Precision, Residency, Row, RowKernel, RowRef, SpaceId, math,
};

/// Preserved for the caller.
const SAVED: [AsmRegister64; 6] = [rbx, rbp, r12, r13, r14, r15];
/// Bytes of the smallest page of memory.
const PAGE: i32 = 4096;
/// Words of the frame before the pointers.
const WORDS: i32 = 8 * 6;
/// Where the frame keeps what a kernel is called with, and the caller's stack pointer.
const CONTEXT: i32 = 0;
const ROW: i32 = 8;
const END: i32 = 16;
const STACK: i32 = 24;
/// Steps of a vector up to which two are worked on at once: more would not fit what the processor keeps of decoded code.
const LONGEST_PAIR: usize = 400;
/// The columns to work on, in bytes of a word.
const FROM: i32 = 32;
const TO: i32 = 40;

/// A row that is touched, as a key: which one, its pitch, and how far it is read if named by an id.
type Pointer = (RowRef, usize, usize);
/// Where elements begin once outer dimensions are fixed: a pointer and its strides along them.
type Base = (usize, Vec<usize>);

/// One phase, ready to be written.
struct PhaseCode {
    dims: Vec<usize>,
    reduced: usize,
    /// The last dimension in vectors, else one lane at a time.
    vectors: bool,
    once: Steps,
    /// For two vectors at a time, whose chains stand side by side.
    twice: Option<Steps>,
    bases: Vec<Base>,
    /// Reductions: instruction, how (none: the largest's index), accumulator, where to.
    reductions: Vec<(usize, Option<Combining>, Accumulator, Place)>,
    /// Registers taken by accumulators and the mask.
    reserved: u8,
}

/// Steps in the order in which they are written, and where those that touch memory do so.
struct Steps {
    steps: Vec<Work>,
    places: HashMap<Step, Spot>,
}

/// A kernel as it is written.
struct Kernel<'p> {
    machine: Machine,
    plan: &'p Plan,
    slots: Slots,
    divided: bool,
    pointers: Vec<Pointer>,
    /// Spaces whose running step's first row is needed.
    firsts: Vec<SpaceId>,
    phases: Vec<PhaseCode>,
    /// Counters that are needed.
    rank: usize,
    bases: usize,
}

/// Whether a row kernel has wide code.
pub fn supports(plan: &Plan, kernel: &RowKernel, width: Width) -> bool {
    matches!(Kernel::new(plan, kernel, width, false), Ok(Some(_)))
}

/// The machine code of a row kernel, which if `divided` works on the columns that it is given; `None` if it has distances that no instruction can hold.
///
/// # Errors
/// If the kernel contradicts itself or the assembler refuses an instruction.
pub fn rows(
    plan: &Plan,
    kernel: &RowKernel,
    width: Width,
    divided: bool,
) -> Result<Option<Vec<u8>>, EmitError> {
    // How many vectors go to the stack is known when all is written.
    let mut vectors = 0;
    loop {
        let Some(mut code) = Kernel::new(plan, kernel, width, divided)? else { return Ok(None) };
        let needed = code.write(vectors)?;
        if needed <= vectors {
            return code.machine.finish().map(Some);
        }
        vectors = needed;
    }
}

impl<'p> Kernel<'p> {
    fn new(
        plan: &'p Plan,
        kernel: &RowKernel,
        width: Width,
        divided: bool,
    ) -> Result<Option<Kernel<'p>>, EmitError> {
        if !fits(plan, kernel) {
            return Ok(None);
        }
        let mut code = Kernel {
            machine: Machine::new(width)?,
            plan,
            slots: Slots::new(plan),
            divided,
            pointers: Vec::new(),
            firsts: Vec::new(),
            phases: Vec::new(),
            rank: 0,
            bases: 0,
        };
        for phase in &kernel.phases {
            let outer = &phase.dims[..phase.dims.len() - phase.reduced];
            if outer.contains(&0) {
                continue;
            }
            let phase = math::expand(phase, Precision::F32, true);
            let Some(phase) = code.phase(&phase)? else { return Ok(None) };
            code.rank = code.rank.max(phase.dims.len());
            code.bases = code.bases.max(phase.bases.len());
            code.phases.push(phase);
        }
        Ok(Some(code))
    }

    fn phase(&mut self, phase: &Phase) -> Result<Option<PhaseCode>, EmitError> {
        let width = self.machine.width;
        let single = steps(phase, width)?;
        let vectors = !phase.dims.is_empty() && is_elementwise(phase);
        let long = phase.dims.last().is_some_and(|&extent| extent >= 2 * width.lanes());
        let sums = phase.body.iter().filter(|inst| matches!(inst, Inst::Reduce(..))).count();
        // Each sum wants a register for either vector.
        let room = 2 * sums + 12 <= usize::from(width.registers());
        let in_pairs = vectors && long && (sums == 0 || room) && single.len() <= LONGEST_PAIR;
        let mut reserved = 0;
        let mut register = || {
            reserved += 1;
            Vector(reserved - 1)
        };
        let mut reductions = Vec::new();
        for (number, inst) in phase.body.iter().enumerate() {
            let (how, place) = match inst {
                Inst::Reduce(how, _, place) if phase.reduced > 0 => (Some(*how), place),
                Inst::ArgMax(_, place) => (None, place),
                _ => continue,
            };
            let value = register();
            let index = how.is_none().then(&mut register);
            let second = (how.is_some() && in_pairs).then(&mut register);
            reductions.push((number, how, Accumulator { value, index, second }, place.clone()));
            self.pointer(phase, place);
        }
        if width == Width::Ymm {
            reserved += 1;
        }
        // Some registers must be left for the body.
        if reserved > width.registers() - 8 {
            return Ok(None);
        }
        let mut bases = Vec::new();
        let mut spots = HashMap::new();
        for (at, work) in single.iter().enumerate() {
            let (Work::Load(place) | Work::Store(place, _)) = work else { continue };
            let Some(spot) = self.spot(&mut bases, phase, place) else { return Ok(None) };
            spots.insert(at, spot);
        }
        let registers = usize::from(width.registers() - reserved);
        let written = |vectors: usize| {
            let copies = Copies::new(&single, vectors, width.lanes(), phase.dims.len()).scheduled(registers);
            let moved = |at: usize| {
                let spot = *spots.get(&copies.of[at]?)?;
                // Strides are 0 or 1 where there are several vectors.
                let bytes = (copies.vector[at] * width.bytes() * spot.stride) as i32;
                Some((at, Spot { displacement: spot.displacement.checked_add(bytes)?, ..spot }))
            };
            let places = (0..copies.steps.len()).filter_map(moved).collect();
            Steps { steps: copies.steps, places }
        };
        let near = |spot: &Spot| i32::MAX - spot.displacement > width.bytes() as i32;
        let twice = (in_pairs && spots.values().all(near)).then(|| written(2));
        let once = written(1);
        let (dims, reduced) = (phase.dims.clone(), phase.reduced);
        Ok(Some(PhaseCode { dims, reduced, vectors, once, twice, bases, reductions, reserved }))
    }

    /// The base and displacement of a place.
    fn spot(&mut self, bases: &mut Vec<Base>, phase: &Phase, place: &Place) -> Option<Spot> {
        let pointer = self.pointer(phase, place);
        let outer = phase.dims.len().saturating_sub(1);
        let base = (pointer, place.strides.iter().take(outer).copied().collect());
        let base = bases.iter().position(|known| *known == base).unwrap_or_else(|| {
            bases.push(base);
            bases.len() - 1
        });
        let stride = if phase.dims.is_empty() { 0 } else { place.strides.last().copied().unwrap_or(0) };
        let displacement = i32::try_from(place.offset * 4).ok()?;
        let farthest = phase.dims.iter().zip(&place.strides).map(|(dim, stride)| dim * stride).max();
        i32::try_from(farthest.unwrap_or(0) * 4).ok()?;
        Some(Spot { base, displacement, stride, ahead: self.ahead(&place.at) })
    }

    /// Bytes to the same element of the next row, where it lies behind this one.
    fn ahead(&self, at: &RowRef) -> Option<i32> {
        let buffer = &self.plan.buffers[at.buffer];
        let follows = matches!(at.row, Row::Same) && buffer.residency != Residency::Scratch;
        follows.then(|| i32::try_from(buffer.width * 4).ok()).flatten()
    }

    fn pointer(&mut self, phase: &Phase, place: &Place) -> usize {
        let reach = if matches!(place.at.row, Row::Id(_)) { span(place, &phase.dims) } else { 0 };
        let pointer = (place.at.clone(), place.pitch, reach);
        self.pointers.iter().position(|known| *known == pointer).unwrap_or_else(|| {
            self.pointers.push(pointer);
            self.pointers.len() - 1
        })
    }

    /// Writes the function with that many vectors in the frame; how many it wants.
    fn write(&mut self, vectors: usize) -> Result<usize, EmitError> {
        self.find_firsts();
        let pointers = WORDS;
        let firsts = pointers + 8 * self.pointers.len() as i32;
        let temporaries = firsts + 8 * self.firsts.len() as i32;
        let depth = self.pointers.iter().map(|pointer| nesting(&pointer.0)).max().unwrap_or(0);
        let counters = temporaries + 8 * depth as i32;
        let bases = counters + 8 * self.rank as i32;
        let words = (bases + 8 * self.bases as i32 + 63) & -64;
        let size = words + (vectors * self.machine.width.bytes()) as i32;
        let frame = Frame { bases, counters, vectors: words };
        let layout = Layout { pointers, firsts, temporaries };
        let asm = &mut self.machine.asm;
        for register in SAVED {
            asm.push(register)?;
        }
        asm.mov(rax, rsp)?;
        // A stack that is too small must end at its guard, not be stepped over.
        for page in (PAGE..size).step_by(PAGE as usize) {
            asm.mov(qword_ptr(rax - page), rax)?;
        }
        asm.sub(rsp, size)?;
        asm.and(rsp, -64)?;
        asm.mov(qword_ptr(rsp + STACK), rax)?;
        asm.mov(qword_ptr(rsp + CONTEXT), rdi)?;
        asm.mov(qword_ptr(rsp + ROW), rsi)?;
        asm.mov(qword_ptr(rsp + END), rdx)?;
        if self.divided {
            asm.shl(r8, 2)?;
            asm.shl(r9, 2)?;
            asm.mov(qword_ptr(rsp + FROM), r8)?;
            asm.mov(qword_ptr(rsp + TO), r9)?;
        }
        self.machine.address_pool()?;
        // rcx is still the step.
        for (number, space) in self.firsts.clone().into_iter().enumerate() {
            let offsets = (self.slots.step_offsets(space) * SLOT_BYTES) as i32;
            let asm = &mut self.machine.asm;
            asm.mov(rax, qword_ptr(rdi + offsets))?;
            asm.mov(eax, dword_ptr(rax + rcx * 4))?;
            asm.mov(qword_ptr(rsp + (firsts + 8 * number as i32)), rax)?;
        }
        let (mut next, mut done) = (self.machine.asm.create_label(), self.machine.asm.create_label());
        let asm = &mut self.machine.asm;
        asm.cmp(rsi, rdx)?;
        asm.jge(done)?;
        let by_id = |pointer: &usize| is_by_id(&self.pointers[*pointer].0);
        let plain: Vec<usize> = (0..self.pointers.len()).filter(|pointer| !by_id(pointer)).collect();
        let (fixed, moving): (Vec<usize>, Vec<usize>) =
            plain.into_iter().partition(|&pointer| self.is_fixed(pointer));
        // From row to row these advance by a row of theirs; others are looked up.
        let (advancing, looked_up): (Vec<usize>, Vec<usize>) =
            moving.into_iter().partition(|&pointer| self.pointers[pointer].0.row == Row::Same);
        self.addresses(&fixed, layout)?;
        self.addresses(&advancing, layout)?;
        self.machine.asm.set_label(&mut next)?;
        self.addresses(&looked_up, layout)?;
        let mut needed = 0;
        for phase in std::mem::take(&mut self.phases) {
            needed = needed.max(self.write_phase(&phase, frame, layout)?);
        }
        for pointer in advancing {
            let bytes = self.row_bytes(self.pointers[pointer].0.buffer)?;
            let at = qword_ptr(rsp + (layout.pointers + 8 * pointer as i32));
            self.machine.asm.add(at, bytes)?;
        }
        let asm = &mut self.machine.asm;
        asm.inc(qword_ptr(rsp + ROW))?;
        asm.mov(rax, qword_ptr(rsp + ROW))?;
        asm.cmp(rax, qword_ptr(rsp + END))?;
        asm.jl(next)?;
        asm.set_label(&mut done)?;
        asm.mov(rsp, qword_ptr(rsp + STACK))?;
        for register in SAVED.into_iter().rev() {
            asm.pop(register)?;
        }
        asm.vzeroupper()?;
        asm.ret()?;
        Ok(needed)
    }

    fn write_phase(&mut self, phase: &PhaseCode, frame: Frame, layout: Layout) -> Result<usize, EmitError> {
        let accumulators =
            phase.reductions.iter().map(|(number, _, accumulator, _)| (*number, *accumulator)).collect();
        let lanes = Vector(phase.reserved.saturating_sub(1));
        let (reserved, rank) = (phase.reserved, phase.dims.len());
        let body = Body {
            steps: &phase.once.steps,
            places: &phase.once.places,
            accumulators: &accumulators,
            lanes,
            reserved,
            frame,
            rank,
        };
        let twice = phase.twice.as_ref().map(|Steps { steps, places }| Body { steps, places, ..body });
        let bodies = Bodies { once: body, twice };
        let extent = phase.dims.last().copied().unwrap_or(1);
        let some = if phase.vectors { extent % self.machine.width.lanes() } else { 1 };
        if some > 0 {
            self.machine.first_lanes(some, lanes)?;
        }
        // An id may have been found by the phase before.
        let by_id: Vec<usize> = (0..self.pointers.len())
            .filter(|&pointer| is_by_id(&self.pointers[pointer].0))
            .filter(|pointer| phase.bases.iter().any(|(used, _)| used == pointer))
            .collect();
        self.addresses(&by_id, layout)?;
        self.level(phase, &bodies, layout, 0)
    }

    /// The loops from dimension `level` on.
    fn level(
        &mut self,
        phase: &PhaseCode,
        bodies: &Bodies,
        layout: Layout,
        level: usize,
    ) -> Result<usize, EmitError> {
        let rank = phase.dims.len();
        let reduces = phase.reduced > 0 && level == rank - phase.reduced;
        if reduces {
            self.start(phase)?;
        }
        let needed = match rank - level {
            _ if phase.dims[level..].contains(&0) => 0,
            0 | 1 => {
                self.load_bases(phase, bodies.once.frame, layout)?;
                self.last(phase, bodies)?
            }
            _ => {
                let counter = qword_ptr(rsp + (bodies.once.frame.counters + 8 * level as i32));
                let extent = i32::try_from(phase.dims[level])
                    .map_err(|_| EmitError::Codegen("a dimension beyond 32 bits".into()))?;
                let mut again = self.machine.asm.create_label();
                self.machine.asm.mov(counter, 0)?;
                self.machine.asm.set_label(&mut again)?;
                let needed = self.level(phase, bodies, layout, level + 1)?;
                self.machine.asm.inc(counter)?;
                self.machine.asm.cmp(counter, extent)?;
                self.machine.asm.jl(again)?;
                needed
            }
        };
        if reduces {
            self.finish(phase, bodies.once.frame, layout)?;
        }
        Ok(needed)
    }

    /// The loop over this worker's part of the last dimension: pairs of vectors, whole ones, then the rest if it has it.
    fn part(&mut self, phase: &PhaseCode, bodies: &Bodies) -> Result<usize, EmitError> {
        let lanes = self.machine.width.lanes();
        let extent = phase.dims.last().copied().unwrap_or(1);
        let (whole, end) = (in_bytes(extent / lanes * lanes)?, in_bytes(extent)?);
        self.machine.asm.mov(INDEX, qword_ptr(rsp + FROM))?;
        let mut needed = 0;
        for (body, vectors) in bodies.longest_first() {
            let bytes = in_bytes(vectors * lanes)?;
            let asm = &mut self.machine.asm;
            let (mut again, mut rest) = (asm.create_label(), asm.create_label());
            asm.set_label(&mut again)?;
            asm.lea(rax, ptr(INDEX + bytes))?;
            asm.cmp(rax, qword_ptr(rsp + TO))?;
            asm.jg(rest)?;
            needed = needed.max(body.write(&mut self.machine, Lanes::All)?);
            let asm = &mut self.machine.asm;
            asm.add(INDEX, bytes)?;
            asm.jmp(again)?;
            asm.set_label(&mut rest)?;
            // Labels that meet need an instruction between them.
            asm.nop()?;
        }
        if whole < end {
            let mut done = self.machine.asm.create_label();
            self.machine.asm.cmp(INDEX, qword_ptr(rsp + TO))?;
            self.machine.asm.jge(done)?;
            needed = needed.max(bodies.once.write(&mut self.machine, Lanes::Some)?);
            self.machine.asm.set_label(&mut done)?;
            self.machine.asm.nop()?;
        }
        Ok(needed)
    }

    /// The loop over the last dimension.
    fn last(&mut self, phase: &PhaseCode, bodies: &Bodies) -> Result<usize, EmitError> {
        if self.divided {
            return self.part(phase, bodies);
        }
        let extent = phase.dims.last().copied().unwrap_or(1);
        let lanes = if phase.vectors { Lanes::All } else { Lanes::Some };
        let (mut done, mut needed) = (0, 0);
        self.machine.asm.xor(ecx, ecx)?;
        for (body, vectors) in bodies.longest_first() {
            let at_once = vectors * if phase.vectors { self.machine.width.lanes() } else { 1 };
            let end = done + (extent - done) / at_once * at_once;
            if end == done {
                continue;
            }
            let mut again = self.machine.asm.create_label();
            self.machine.asm.set_label(&mut again)?;
            needed = needed.max(body.write(&mut self.machine, lanes)?);
            if done + at_once < extent {
                self.machine.asm.add(INDEX, in_bytes(at_once)?)?;
            }
            if done + at_once < end {
                self.machine.asm.cmp(INDEX, in_bytes(end)?)?;
                self.machine.asm.jl(again)?;
            }
            done = end;
        }
        if done < extent {
            needed = needed.max(bodies.once.write(&mut self.machine, Lanes::Some)?);
        }
        Ok(needed)
    }

    /// Puts what reductions start from into their accumulators.
    fn start(&mut self, phase: &PhaseCode) -> Result<(), EmitError> {
        for (_, how, accumulator, _) in &phase.reductions {
            let start = self.machine.number(identity(how.unwrap_or(Combining::Max)));
            for vector in [Some(accumulator.value), accumulator.second].into_iter().flatten() {
                self.machine.two(Two::Copy, vector, start)?;
            }
            if let Some(index) = accumulator.index {
                self.machine.three(Three::Xor, index, index, index)?;
            }
        }
        Ok(())
    }

    /// Stores the results of reductions.
    fn finish(&mut self, phase: &PhaseCode, frame: Frame, layout: Layout) -> Result<(), EmitError> {
        let outer = phase.dims.len() - phase.reduced;
        for (_, how, accumulator, place) in &phase.reductions {
            let Accumulator { value, index, second } = *accumulator;
            // The body's registers are free here.
            let spare = [Vector(phase.reserved), Vector(phase.reserved + 1)];
            if let Some(how) = how {
                if let Some(second) = second {
                    self.machine.combine(*how, value, second, spare)?;
                }
                for round in 0..self.machine.width.lanes().trailing_zeros() as usize {
                    self.machine.exchange(round, spare[0], value)?;
                    self.machine.combine(*how, value, spare[0], spare)?;
                }
            }
            let reach = 0;
            let key = (place.at.clone(), place.pitch, reach);
            let Some(pointer) = self.pointers.iter().position(|known| *known == key) else {
                return Err(EmitError::Codegen("a result without address".into()));
            };
            self.offset_pointer(pointer, &place.strides[..outer.min(place.strides.len())], frame, layout)?;
            let base: Register = rax.into();
            let at = memory(base, None, (place.offset * 4) as i64);
            self.machine.store_lowest(at, index.unwrap_or(value))?;
        }
        Ok(())
    }
}

/// A phase's body for a vector, and for two.
struct Bodies<'b> {
    once: Body<'b>,
    twice: Option<Body<'b>>,
}

impl<'b> Bodies<'b> {
    /// The bodies with how many vectors each is for.
    fn longest_first(&self) -> impl Iterator<Item = (&Body<'b>, usize)> {
        self.twice.iter().map(|body| (body, 2)).chain([(&self.once, 1)])
    }
}

/// Bytes of elements of the last dimension.
fn in_bytes(elements: usize) -> Result<i32, EmitError> {
    i32::try_from(4 * elements).map_err(|_| EmitError::Codegen("a dimension beyond 32 bits".into()))
}

/// Whether instructions can hold all sizes and distances of a kernel.
fn fits(plan: &Plan, kernel: &RowKernel) -> bool {
    let short = |elements: usize| elements.checked_mul(4).is_some_and(|bytes| i32::try_from(bytes).is_ok());
    let row = |at: &RowRef, pitch: usize| match at.row {
        Row::Only => true,
        Row::Id(_) => short(plan.buffers[at.buffer].width / pitch.max(1)),
        Row::Same | Row::Map(_) | Row::MapOr(..) => short(plan.buffers[at.buffer].width),
    };
    let work = crate::plan::Work::Rows(kernel.clone());
    kernel.phases.iter().flat_map(|phase| &phase.dims).all(|&dim| short(dim))
        && places(&work).iter().all(|used| {
            let Place { at, pitch, strides, .. } = used.place;
            strides.iter().chain([pitch, &used.span]).all(|&elements| short(elements))
                && references(at).iter().all(|(at, _)| row(at, *pitch))
        })
}
