//! Elementwise kernels and reductions inside a row: loops over a phase's dimensions.
//!
//! The phase `dims [3, 10]`, body `store out = a * b`, becomes for f32
//!
//! ```text
//! for row: for i in 0..3: { columns 0..4 and 4..8 as vectors; columns 8 and 9 as scalars }
//! ```
//!
//! The last dimension is done in vectors where every place lies densely (or not at all) along it. Sums
//! have one accumulator a vector lane and unrolled copy, and one for the scalar rest; the order of
//! additions depends on the dimensions alone. Moving what a loop does not change out of it is left to
//! Cranelift, to which memory that the kernel does not write is marked constant.

use std::collections::HashMap;

use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use cranelift_frontend::Variable;

use super::code::Code;
use super::emit::EmitError;
use crate::plan::math;
use crate::plan::places::{Access, places};
use crate::plan::{Combining, Inst, Phase, Place, Row, RowKernel, RowRef, Work};

/// Whether an instruction is made for one element or for a vector of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One element.
    Scalar,
    /// As many as a vector holds.
    Vector,
}

/// Partial results of one reduction.
pub struct Accumulator {
    /// One a copy of the unrolled body; empty where nothing is done in vectors.
    pub vectors: Vec<Variable>,
    /// The scalar rest.
    pub scalar: Variable,
    /// For `ArgMax`: the index of the largest so far.
    pub index: Option<Variable>,
}

/// Address and displacement of an instruction's first and second place, as far as it has them.
type Addresses = [Option<(Value, i32)>; 3];

/// A phase being written.
pub struct PhaseCode<'p> {
    /// The phase, expanded.
    pub phase: &'p Phase,
    /// For each instruction, the address of its first and second place in the kernel's row.
    pub addresses: Vec<Addresses>,
    /// Loop indices of all dimensions but the last.
    pub outer: Vec<Value>,
    /// Reductions, by instruction.
    pub accumulators: HashMap<usize, Accumulator>,
    vectorised: bool,
    unroll: usize,
}

/// The body's position on the last dimension: a loop index, if there is a loop, plus a constant.
#[derive(Clone, Copy)]
pub struct Last {
    /// The loop's index.
    pub index: Option<Value>,
    /// What is added to it.
    pub constant: usize,
    /// Which unrolled copy this is.
    pub copy: usize,
}

/// Straight-line code for a loop's rest is kept below this many instructions.
const STRAIGHT: usize = 96;

/// Emits a row kernel into a kernel function.
pub fn rows(code: &mut Code, kernel: &RowKernel) -> Result<(), EmitError> {
    let phases: Vec<Phase> = kernel.phases.iter().map(|phase| math::expand(phase, code.precision)).collect();
    let (begin, end) = (code.params[1], code.params[2]);
    code.count(begin, end, 1, |code, row| {
        for phase in &phases {
            emit_phase(code, phase, row, kernel.space)?;
        }
        Ok(())
    })
}

fn emit_phase(code: &mut Code, phase: &Phase, row: Value, space: usize) -> Result<(), EmitError> {
    let outer_dims = &phase.dims[..phase.dims.len() - phase.reduced];
    if outer_dims.contains(&0) {
        return Ok(());
    }
    let vectorised = vectorises(phase, code.types.lanes);
    let mut written = PhaseCode {
        phase,
        addresses: addresses(code, phase, row, space)?,
        outer: Vec::new(),
        accumulators: HashMap::new(),
        vectorised,
        unroll: match phase.body.len() {
            _ if !vectorised => 1,
            0..=10 => 4,
            11..=40 => 2,
            _ => 1,
        },
    };
    for (number, inst) in phase.body.iter().enumerate() {
        let accumulator = match inst {
            Inst::Reduce(..) => None,
            Inst::ArgMax(..) => Some(code.build.declare_var(types::I64)),
            _ => continue,
        };
        let vectors = match vectorised {
            true => written.unroll,
            false => 0,
        };
        let (real, vector) = (code.types.real, code.types.vector);
        let accumulator = Accumulator {
            vectors: (0..vectors).map(|_| code.build.declare_var(vector)).collect(),
            scalar: code.build.declare_var(real),
            index: accumulator,
        };
        written.accumulators.insert(number, accumulator);
    }
    written.nest(code)
}

/// Addresses of all places, in the order of the instructions.
fn addresses(code: &mut Code, phase: &Phase, row: Value, space: usize) -> Result<Vec<Addresses>, EmitError> {
    let mut all = Vec::with_capacity(phase.body.len());
    for inst in &phase.body {
        let one = RowKernel {
            space,
            phases: vec![Phase {
                dims: phase.dims.clone(),
                reduced: phase.reduced,
                body: vec![inst.clone()],
            }],
        };
        let work = Work::Rows(one);
        let spans: Vec<(&Place, usize)> =
            places(&work).into_iter().map(|used| (used.place, used.span)).collect();
        let mut triple = [None, None, None];
        for (slot, (place, span)) in triple.iter_mut().zip(spans) {
            *slot = Some(code.place(place, row, span)?);
        }
        all.push(triple);
    }
    Ok(all)
}

impl PhaseCode<'_> {
    /// The loops over all dimensions but the last, then the last.
    fn nest(&mut self, code: &mut Code) -> Result<(), EmitError> {
        let level = self.outer.len();
        let dims = &self.phase.dims;
        if self.phase.reduced > 0 && level == dims.len() - self.phase.reduced {
            self.start_reductions(code);
            if !dims[level..].contains(&0) {
                self.loops(code)?;
            }
            return self.finish_reductions(code);
        }
        self.loops(code)
    }

    fn loops(&mut self, code: &mut Code) -> Result<(), EmitError> {
        let level = self.outer.len();
        let phase = self.phase;
        let dims = &phase.dims;
        match dims.len() - level {
            0 => self.point(code, Shape::Scalar, Last { index: None, constant: 0, copy: 0 }),
            1 => self.last(code, dims[level]),
            _ => code.count_constant(dims[level], 1, |code, index| {
                self.outer.push(index);
                // Below the first reduced dimension the reductions have begun already.
                let result = match self.phase.reduced > dims.len() - self.outer.len() {
                    true => self.loops(code),
                    false => self.nest(code),
                };
                self.outer.pop();
                result
            }),
        }
    }

    /// The loop over the last dimension: unrolled vectors, single vectors, scalars.
    fn last(&mut self, code: &mut Code, extent: usize) -> Result<(), EmitError> {
        let mut begin = 0;
        if self.vectorised {
            let lanes = code.types.lanes;
            let stride = lanes * self.unroll;
            let unrolled = extent / stride * stride;
            code.count_constant(unrolled, stride, |code, index| {
                for copy in 0..self.unroll {
                    let last = Last { index: Some(index), constant: copy * lanes, copy };
                    self.point(code, Shape::Vector, last)?;
                }
                Ok(())
            })?;
            begin = unrolled;
            for copy in 0..(extent - unrolled) / lanes {
                let last = Last { index: None, constant: begin, copy };
                self.point(code, Shape::Vector, last)?;
                begin += lanes;
            }
        }
        let rest = extent - begin;
        if rest * self.phase.body.len() <= STRAIGHT {
            for constant in begin..extent {
                self.point(code, Shape::Scalar, Last { index: None, constant, copy: 0 })?;
            }
            return Ok(());
        }
        code.count_constant(rest, 1, |code, index| {
            let last = Last { index: Some(index), constant: begin, copy: 0 };
            self.point(code, Shape::Scalar, last)
        })
    }

    fn start_reductions(&mut self, code: &mut Code) {
        for (number, inst) in self.phase.body.iter().enumerate() {
            let Some(accumulator) = self.accumulators.get(&number) else {
                continue;
            };
            let identity = identity(inst);
            let scalar = code.real(identity);
            code.build.def_var(accumulator.scalar, scalar);
            for &vector in &accumulator.vectors {
                let start = code.vector_constant(identity);
                code.build.def_var(vector, start);
            }
            if let Some(index) = accumulator.index {
                let zero = code.int(0);
                code.build.def_var(index, zero);
            }
        }
    }

    fn finish_reductions(&mut self, code: &mut Code) -> Result<(), EmitError> {
        for (number, inst) in self.phase.body.iter().enumerate() {
            let Some(accumulator) = self.accumulators.get(&number) else {
                continue;
            };
            let result = match (inst, accumulator.index) {
                (_, Some(index)) => {
                    let index = code.build.use_var(index);
                    code.build.ins().ireduce(types::I32, index)
                }
                (Inst::Reduce(how, ..), None) => {
                    let scalar = code.build.use_var(accumulator.scalar);
                    match horizontal(code, *how, &accumulator.vectors) {
                        Some(vectors) => code.combine(*how, vectors, scalar),
                        None => scalar,
                    }
                }
                _ => continue,
            };
            let (Inst::Reduce(_, _, place) | Inst::ArgMax(_, place)) = inst else {
                continue;
            };
            let (address, offset) = self.outer_address(code, number, place);
            code.build.ins().store(super::code::CHANGING, result, address, offset);
        }
        Ok(())
    }

    /// Where a reduction's result goes: its place at the indices that are not reduced.
    fn outer_address(&self, code: &mut Code, number: usize, place: &Place) -> (Value, i32) {
        let (mut address, offset) = self.address_of(code, number, 0);
        let element = code.element_bytes(place.at.buffer);
        for (&index, &stride) in self.outer.iter().zip(&place.strides) {
            if stride > 0 {
                address = code.element(address, index, stride * element);
            }
        }
        (address, offset)
    }

    /// The address found at the phase's start.
    pub fn address_of(&self, code: &mut Code, number: usize, which: usize) -> (Value, i32) {
        match self.addresses[number][which] {
            Some(address) => address,
            // Every instruction with a place has its address; this keeps the function total.
            None => (code.context(), 0),
        }
    }
}

/// All vector accumulators and all lanes in one number, by halves.
fn horizontal(code: &mut Code, how: Combining, vectors: &[Variable]) -> Option<Value> {
    let mut all: Vec<Value> = vectors.iter().map(|&vector| code.build.use_var(vector)).collect();
    while all.len() > 1 {
        all = all
            .chunks(2)
            .map(|pair| match pair {
                [a, b] => code.combine(how, *a, *b),
                _ => pair[0],
            })
            .collect();
    }
    let vector = all.pop()?;
    let mut lanes: Vec<Value> =
        (0..code.types.lanes).map(|lane| code.build.ins().extractlane(vector, lane as u8)).collect();
    while lanes.len() > 1 {
        lanes = lanes
            .chunks(2)
            .map(|pair| match pair {
                [a, b] => code.combine(how, *a, *b),
                _ => pair[0],
            })
            .collect();
    }
    lanes.pop()
}

fn identity(inst: &Inst) -> f64 {
    match inst {
        Inst::Reduce(Combining::Sum, ..) => 0.0,
        _ => f64::NEG_INFINITY,
    }
}

fn vectorises(phase: &Phase, lanes: usize) -> bool {
    phase.dims.last().is_some_and(|&extent| extent >= lanes) && is_elementwise(phase)
}

/// Whether elements along the last dimension can be done at once: every place dense or constant along it,
/// every store dense, and no store that a later element would have to see.
pub fn is_elementwise(phase: &Phase) -> bool {
    let scalar_only = |inst: &Inst| match inst {
        Inst::CopyId(..) | Inst::SelectId(..) | Inst::ArgMax(..) => true,
        Inst::Reduce(..) => phase.reduced == 0,
        _ => false,
    };
    if phase.body.iter().any(scalar_only) {
        return false;
    }
    let work = Work::Rows(RowKernel { space: 0, phases: vec![phase.clone()] });
    let uses = places(&work);
    let last_stride = |place: &Place| place.strides.last().copied().unwrap_or(0);
    let stores: Vec<&Place> = phase
        .body
        .iter()
        .filter_map(|inst| match inst {
            Inst::Store(place, _) => Some(place),
            _ => None,
        })
        .collect();
    let reductions = phase.body.iter().filter_map(|inst| match inst {
        Inst::Reduce(_, _, place) => Some(place),
        _ => None,
    });
    let reduced: Vec<usize> = reductions.map(|place| place.at.buffer).collect();
    uses.iter().all(|used| {
        let dense = last_stride(used.place) <= 1;
        let store_dense =
            used.access == Access::Read || !stores.contains(&used.place) || last_stride(used.place) == 1;
        // A load from a buffer that the phase stores to must be of the same element, or of another row.
        let apart = used.access == Access::Write
            || stores.iter().all(|store| *store == used.place || is_apart(&used.place.at, store, used.place));
        let unreduced = used.access == Access::Write || !reduced.contains(&used.place.at.buffer);
        dense && store_dense && apart && unreduced
    })
}

/// Whether a row that `load` may read is none that `store` writes at the same time, or the same element of it:
/// through maps a kernel reads rows that are complete.
fn is_apart(at: &RowRef, store: &Place, load: &Place) -> bool {
    let own = match &at.row {
        Row::Map(_) | Row::MapOr(..) => true,
        Row::Same => at == &store.at && (load.offset, &load.strides) == (store.offset, &store.strides),
        Row::Only | Row::Id(_) => false,
    };
    let inner = match &at.row {
        Row::MapOr(_, other) => is_apart(other, store, load),
        // The id alone; whoever writes ids does so one at a time.
        Row::Id(_) | Row::Map(_) | Row::Same | Row::Only => true,
    };
    (own || at.buffer != store.at.buffer) && inner
}

impl Code<'_> {
    /// A vector of equal numbers.
    pub fn vector_constant(&mut self, value: f64) -> Value {
        let lanes = vec![value; self.types.lanes];
        self.vector_of(&lanes)
    }

    /// A vector of given numbers.
    pub fn vector_of(&mut self, lanes: &[f64]) -> Value {
        let bytes: Vec<u8> = match self.types.bytes {
            4 => lanes.iter().flat_map(|&lane| (lane as f32).to_le_bytes()).collect(),
            _ => lanes.iter().flat_map(|&lane| lane.to_le_bytes()).collect(),
        };
        self.vector_bytes(self.types.vector, bytes)
    }

    /// A vector constant from its bytes.
    pub fn vector_bytes(&mut self, of: Type, bytes: Vec<u8>) -> Value {
        let constant = self.build.func.dfg.constants.insert(bytes.into());
        self.build.ins().vconst(of, constant)
    }

    /// `a` and `b` combined.
    pub fn combine(&mut self, how: Combining, a: Value, b: Value) -> Value {
        match how {
            Combining::Sum => self.build.ins().fadd(a, b),
            Combining::Max => self.build.ins().fmax(a, b),
        }
    }
}
