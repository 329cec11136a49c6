//! Addresses of rows as C expressions.
//!
//! Row `row` reads `h[t-1]` at `h_3 + (long)map_0[row] * 128`; where the map gives -1 that is the zero row in
//! front of row 0. A buffer that holds one step only starts at the step's first row.

use super::slots::Slots;
use super::text::Text;
use crate::backend::native::emit::symbol;
use crate::plan::places::{Access, places, references};
use crate::plan::{
    BufferId, Element, MapId, Place, Plan, Precision, Residency, Role, Row, RowRef, SpaceId, Work,
};

/// What the functions of a program are written with.
#[derive(Clone, Copy)]
pub(super) struct Scope<'p> {
    pub plan: &'p Plan,
    pub slots: Slots,
    pub precision: Precision,
    /// What the names of functions begin with, before the kernel's number.
    pub prefix: &'p str,
}

impl Scope<'_> {
    /// A buffer's name.
    pub fn name(&self, buffer: BufferId) -> String {
        format!("{}_{buffer}", symbol(&self.plan.buffers[buffer].name))
    }

    fn c_type(&self, buffer: BufferId) -> &'static str {
        match self.plan.buffers[buffer].element {
            Element::Real => "real",
            Element::Id => "uint",
        }
    }

    /// Declares the buffers and tables that a kernel's places need. The names are those that the expressions
    /// of [`Scope::row`] use.
    pub fn declare(&self, text: &mut Text, work: &Work) {
        let used = places(work);
        let mut buffers: Vec<(BufferId, bool)> = Vec::new();
        let (mut maps, mut steps, mut zeros): (Vec<MapId>, Vec<SpaceId>, bool) = Default::default();
        for place in &used {
            for (at, (reference, _)) in references(&place.place.at).into_iter().enumerate() {
                let written = at == 0 && place.access == Access::Write;
                match buffers.iter_mut().find(|(buffer, _)| *buffer == reference.buffer) {
                    Some((_, any)) => *any |= written,
                    None => buffers.push((reference.buffer, written)),
                }
                match &reference.row {
                    Row::Map(map) | Row::MapOr(map, _) => maps.push(*map),
                    Row::Id(_) => zeros = true,
                    Row::Same | Row::Only => {}
                }
                let buffer = &self.plan.buffers[reference.buffer];
                if buffer.residency == Residency::Step {
                    steps.push(buffer.space);
                }
            }
        }
        match work {
            Work::Gemm(gemm) => buffers.push((gemm.packed, false)),
            Work::Pack(pack) => buffers.push((pack.to, true)),
            _ => {}
        }
        buffers.sort_unstable();
        for (buffer, written) in buffers {
            let (name, kind) = (self.name(buffer), self.c_type(buffer));
            let slot = self.slots.buffer(buffer);
            let constant = if written { "" } else { "const " };
            let place = match self.plan.buffers[buffer].role {
                Role::Parameter(_) => "PARAMETER",
                _ => "BUFFER",
            };
            text.line(format!("GLOBAL {constant}{kind} *const {name} = {place}({kind}, {slot});"));
        }
        if zeros {
            text.line(format!("GLOBAL const real *const zeros = BUFFER(real, {});", self.slots.zeros()));
        }
        maps.sort_unstable();
        maps.dedup();
        for map in maps {
            text.line(format!("GLOBAL const int *const map_{map} = TABLE({});", self.slots.map(map)));
        }
        steps.sort_unstable();
        steps.dedup();
        for space in steps {
            text.line(match self.plan.spaces[space].major {
                Some(_) => {
                    format!("const int first_{space} = TABLE({})[step];", self.slots.step_offsets(space))
                }
                None => format!("const int first_{space} = 0;"),
            });
        }
    }

    /// The first element of a place for the kernel's row `row` (an expression): the row's start and the
    /// place's offset. `span` is how far the window reaches from the row's start.
    pub fn place(&self, place: &Place, row: &str, span: usize) -> String {
        let start = self.row(&place.at, place.pitch, row, span);
        plus(&start, place.offset)
    }

    /// The start of the row that `row` addresses.
    fn row(&self, at: &RowRef, pitch: usize, row: &str, span: usize) -> String {
        let name = self.name(at.buffer);
        let buffer = &self.plan.buffers[at.buffer];
        let times = |local: &str, width: usize| match width {
            1 => format!("{name} + {local}"),
            _ => format!("{name} + (long){local} * {width}"),
        };
        let mapped = |map: &MapId| {
            let target = format!("map_{map}[{row}]");
            match buffer.residency {
                Residency::All => times(&target, buffer.width),
                Residency::Step => times(&format!("in_step({target}, first_{})", buffer.space), buffer.width),
                Residency::Scratch => name.clone(),
            }
        };
        match &at.row {
            Row::Only => name,
            Row::Same => match buffer.residency {
                Residency::Scratch => name,
                Residency::All => times(row, buffer.width),
                Residency::Step => times(&format!("({row} - first_{})", buffer.space), buffer.width),
            },
            Row::Map(map) => mapped(map),
            Row::MapOr(map, other) => {
                let other = self.row(other, pitch, row, span);
                format!("(map_{map}[{row}] < 0 ? {other} : {})", mapped(map))
            }
            Row::Id(inner) => {
                let id = format!("*({})", self.row(inner, 0, row, 1));
                // The largest id is no row of any matrix, nor is one that lies behind the end.
                let rows = match (buffer.width.checked_sub(span), pitch) {
                    (None, _) => 0,
                    (Some(_), 0) => 1,
                    (Some(rest), pitch) => rest / pitch + 1,
                };
                format!("gathered({name}, {id}, {rows}u, {pitch}, zeros)")
            }
        }
    }

    /// `__global const real *const` for what is only read, and without `const` for what is written.
    pub fn pointer(&self, place: &Place, written: bool) -> String {
        let constant = if written { "" } else { "const " };
        format!("GLOBAL {constant}{} *const", self.c_type(place.at.buffer))
    }
}

/// A number as C has it.
pub(super) fn number_text(precision: Precision, value: f64) -> String {
    if value.is_nan() {
        return "(real)NAN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "(real)INFINITY".into() } else { "(-(real)INFINITY)".into() };
    }
    let digits = match precision {
        Precision::F32 => format!("{:?}f", value as f32),
        Precision::F64 => format!("{value:?}"),
    };
    if digits.starts_with('-') { format!("({digits})") } else { digits }
}

/// `start + offset`
pub(super) fn plus(start: &str, offset: usize) -> String {
    if offset == 0 { start.to_string() } else { format!("{start} + {offset}") }
}

/// The name of a row pointer: as short as what it points at is plain.
pub(super) fn pointer_name(scope: &Scope, place: &Place) -> String {
    let base = scope.name(place.at.buffer);
    match &place.at.row {
        Row::Same | Row::Only => format!("{base}_row"),
        Row::Map(map) => format!("{base}_map{map}"),
        Row::MapOr(map, _) => format!("{base}_or{map}"),
        Row::Id(_) => format!("{base}_id"),
    }
}
