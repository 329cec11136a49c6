//! Row kernels: a function a phase, which does some of the outermost index of a row.
//!
//! ```c
//! // c[t] = f[t] * c[t-1] + i[t] * g[t]
//! static void k6_0(CONTEXT, const int step, const int row, const int from, const int to) {
//!   …
//!   for (int i0 = from; i0 < to; ++i0) {
//!     const real v0 = f_3_row[i0];
//!     …
//!   }
//! }
//! ```

use std::collections::BTreeMap;

use super::EmitError;
use super::across::{PARAMETERS, TEAM_PARAMETERS};
use super::address::{Scope, number_text, pointer_name};
use super::inst::{pure, used};
use super::text::Text;
use super::units::{Windows, reduces_all};
use crate::plan::places::{Access, places, span};
use crate::plan::{Combining, Gemm, Inst, Phase, Place, RowKernel, SpaceId, Val, Work};

/// What a phase's items are: its outermost index, where that is not reduced over.
pub(super) fn extent(phase: &Phase) -> usize {
    match phase.dims.len() > phase.reduced {
        true => phase.dims[0],
        false => 1,
    }
}

/// Writes the functions of a row kernel, `k{number}_{phase}` for some of a row, `k{number}_points_{phase}` for
/// points of all rows and `k{number}_rows` for rows one after the other. Of a row kernel that is an epilogue, or
/// that teams do row by row, the latter are for the form in which one kernel does everything.
pub(super) fn rows(
    scope: &Scope,
    text: &mut Text,
    number: usize,
    kernel: &RowKernel,
    by: By,
) -> Result<(), EmitError> {
    let prefix = scope.prefix;
    text.only_if((by == By::Block).then_some("#ifdef WHOLE"), |text| {
        for (at, phase) in kernel.phases.iter().enumerate() {
            some_of_a_row(scope, text, &format!("{number}_{at}"), (kernel.space, phase), Of::Memory)?;
        }
        Ok(())
    })?;
    text.only_if((by != By::Item).then_some("#ifdef WHOLE"), |text| {
        for (at, phase) in kernel.phases.iter().enumerate() {
            let count = format!("({} + CHUNK - 1) / CHUNK", extent(phase));
            text.block(format!("static inline void {prefix}{number}_points_{at}({PARAMETERS})"), |text| {
                text.line(format!("const int parts = {count};"));
                text.block("for (int item = worker; item < (end - begin) * parts; item += workers)", |text| {
                    text.line("const int from = item % parts * CHUNK;");
                    text.line(format!(
                        "{prefix}{number}_{at}(SAME, step, begin + item / parts, from, min({}, from + CHUNK));",
                        extent(phase)
                    ));
                });
            });
        }
        // Several phases follow each other row by row where a work-item does whole rows.
        if kernel.phases.len() > 1 {
            text.block(format!("static inline void {prefix}{number}_rows({PARAMETERS})"), |text| {
                text.block("for (int row = begin + worker; row < end; row += workers)", |text| {
                    for (at, phase) in kernel.phases.iter().enumerate() {
                        text.line(format!("{prefix}{number}_{at}(SAME, step, row, 0, {});", extent(phase)));
                    }
                });
            });
        }
        Ok(())
    })?;
    text.line("");
    Ok(())
}

/// Who does a row kernel where many work-items share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Work-items, each for itself.
    Item,
    /// A team a row.
    Team,
    /// The team that has the block of a product.
    Block,
}

/// Writes the function of a row kernel by teams, `k{number}_team`: a row after the other, whose phases are divided
/// among the work-items of a team.
pub(super) fn rows_by_teams(
    scope: &Scope,
    text: &mut Text,
    number: usize,
    kernel: &RowKernel,
) -> Result<(), EmitError> {
    let prefix = scope.prefix;
    for (at, phase) in kernel.phases.iter().enumerate().filter(|(_, phase)| reduces_all(phase)) {
        some_of_a_row(scope, text, &format!("{number}_{at}_team"), (kernel.space, phase), Of::Team)?;
    }
    text.block(format!("static inline void {prefix}{number}_team({TEAM_PARAMETERS})"), |text| {
        text.block("for (int row = begin + team; row < end; row += teams)", |text| {
            for (at, phase) in kernel.phases.iter().enumerate() {
                match reduces_all(phase) {
                    true => text.line(format!("{prefix}{number}_{at}_team(SAME, step, row, shared);")),
                    false => {
                        let extent = extent(phase);
                        text.line(format!(
                            "for (int from = LANE * CHUNK; from < {extent}; from += LANES * CHUNK)"
                        ));
                        text.line(format!(
                            "  {prefix}{number}_{at}(SAME, step, row, from, min({extent}, from + CHUNK));"
                        ));
                    }
                }
                text.line("TEAM_MEETS;");
            }
        });
    });
    text.line("");
    Ok(())
}

/// Writes the function of a row kernel as an epilogue, `k{number}_epilogue`, which reads the product in `tile`.
pub(super) fn row_epilogue(
    scope: &Scope,
    text: &mut Text,
    number: usize,
    space: SpaceId,
    phase: &Phase,
    product: &Gemm,
    windows: Windows,
) -> Result<(), EmitError> {
    some_of_a_row(scope, text, &format!("{number}_epilogue"), (space, phase), Of::Product(product, windows))
}

/// What a phase reads and by whom.
#[derive(Clone, Copy)]
enum Of<'a> {
    /// All of it from memory, by one work-item.
    Memory,
    /// The same, by the work-items of a team.
    Team,
    /// The results of a product from the block in which they lie.
    Product(&'a Gemm, Windows),
}

fn some_of_a_row(
    scope: &Scope,
    text: &mut Text,
    name: &str,
    (space, phase): (SpaceId, &Phase),
    of: Of,
) -> Result<(), EmitError> {
    let parameters = match of {
        Of::Memory => "const int from, const int to",
        Of::Team => "LOCAL real *const shared",
        Of::Product(..) => "const int from, const int to, LOCAL const real *const tile",
    };
    let prefix = scope.prefix;
    let head =
        format!("static inline void {prefix}{name}(CONTEXT, const int step, const int row, {parameters})");
    let mut result = Ok(());
    text.block(head, |text| result = Writer::new(scope, space, phase, of).write(text));
    result
}

/// A phase in the making.
struct Writer<'a, 'p> {
    scope: &'a Scope<'p>,
    phase: &'a Phase,
    work: Work,
    of: Of<'a>,
    /// Row pointers by what they point at.
    pointers: BTreeMap<String, String>,
}

impl<'a, 'p> Writer<'a, 'p> {
    fn new(scope: &'a Scope<'p>, space: SpaceId, phase: &'a Phase, of: Of<'a>) -> Writer<'a, 'p> {
        let own = RowKernel { space, phases: vec![phase.clone()] };
        Writer { scope, phase, work: Work::Rows(own), of, pointers: BTreeMap::new() }
    }

    fn write(&mut self, text: &mut Text) -> Result<(), EmitError> {
        let scope = self.scope;
        scope.declare(text, &self.work);
        // Rows without their offsets, so that places in the same row share a pointer.
        let work = self.work.clone();
        let all = places(&work);
        for used in &all {
            let whole = Place { offset: 0, ..used.place.clone() };
            let key = format!("{:?}", (&whole.at, whole.pitch));
            let in_tile =
                matches!(self.of, Of::Product(gemm, _) if gemm.out.at == whole.at && !gemm.accumulate);
            if in_tile || self.pointers.contains_key(&key) {
                continue;
            }
            // The window that all places of this row reach into together.
            let same = all.iter().filter(|other| other.place.at == whole.at);
            let reach = same.map(|other| span(other.place, &self.phase.dims)).max().unwrap_or(0);
            let written = all.iter().any(|other| other.access == Access::Write && other.place.at == whole.at);
            let mut name = pointer_name(scope, &whole);
            if self.pointers.values().any(|other| *other == name) {
                name = format!("{name}_{}", self.pointers.len());
            }
            let start = scope.place(&whole, "row", reach);
            text.line(format!("{} {name} = {start};", scope.pointer(&whole, written)));
            self.pointers.insert(key, name);
        }
        self.nest(text, 0)
    }

    /// The loops from a dimension on.
    fn nest(&mut self, text: &mut Text, dim: usize) -> Result<(), EmitError> {
        let outer = self.phase.dims.len() - self.phase.reduced;
        if dim == outer && self.phase.reduced > 0 {
            self.begin_reductions(text);
        }
        if dim == self.phase.dims.len() {
            self.body(text)?;
        } else {
            if dim + 1 == self.phase.dims.len() && self.is_independent() {
                text.line("INDEPENDENT");
            }
            let end = self.phase.dims[dim];
            let head = match self.of {
                Of::Team if dim == 0 => format!("for (int i0 = LANE; i0 < {end}; i0 += LANES)"),
                _ if dim == 0 && outer > 0 => "for (int i0 = from; i0 < to; ++i0)".to_string(),
                _ => format!("for (int i{dim} = 0; i{dim} < {end}; ++i{dim})"),
            };
            let mut result = Ok(());
            text.block(head, |text| result = self.nest(text, dim + 1));
            result?;
        }
        if dim == outer && self.phase.reduced > 0 {
            self.end_reductions(text);
        }
        Ok(())
    }

    /// True if no point of the innermost loop touches what another one writes.
    fn is_independent(&self) -> bool {
        if self.phase.reduced > 0 {
            return false;
        }
        let all = places(&self.work);
        let stores: Vec<&Place> =
            all.iter().filter(|used| used.access == Access::Write).map(|used| used.place).collect();
        let moves = |place: &Place| place.strides.last().is_some_and(|&stride| stride > 0);
        stores.iter().all(|place| moves(place))
            && all.iter().filter(|used| used.access == Access::Read).all(|used| {
                stores.iter().all(|store| store.at.buffer != used.place.at.buffer || **store == *used.place)
            })
    }

    fn begin_reductions(&self, text: &mut Text) {
        for (number, inst) in self.phase.body.iter().enumerate() {
            match inst {
                Inst::Reduce(Combining::Sum, ..) => text.line(format!("real r{number} = 0;")),
                Inst::Reduce(Combining::Max, ..) => text.line(format!("real r{number} = -(real)INFINITY;")),
                Inst::ArgMax(..) => {
                    text.line(format!("real r{number} = -(real)INFINITY;"));
                    text.line(format!("uint at{number} = 0;"));
                }
                _ => {}
            }
        }
    }

    fn end_reductions(&self, text: &mut Text) {
        for (number, inst) in self.phase.body.iter().enumerate() {
            let (value, place) = match inst {
                Inst::Reduce(how, _, place) => match self.of {
                    Of::Team => (format!("team_{}(r{number}, shared)", combiner(*how)), place),
                    _ => (format!("r{number}"), place),
                },
                Inst::ArgMax(_, place) => match self.of {
                    Of::Team => (format!("team_largest_at(r{number}, at{number}, shared)"), place),
                    _ => (format!("at{number}"), place),
                },
                _ => continue,
            };
            match (self.of, inst) {
                (Of::Team, Inst::ArgMax(..)) => {
                    text.line(format!("const uint all{number} = {value};"));
                    text.line(format!("if (LANE == 0) {} = all{number};", self.element(place)));
                }
                (Of::Team, _) => {
                    text.line(format!("const real all{number} = {value};"));
                    text.line(format!("if (LANE == 0) {} = all{number};", self.element(place)));
                }
                _ => text.line(format!("{} = {value};", self.element(place))),
            }
        }
    }

    /// The element of a place at the current point.
    fn element(&self, place: &Place) -> String {
        match self.of {
            Of::Product(gemm, windows) if gemm.out.at == place.at => {
                let column = place.offset - gemm.out.offset - windows.base;
                let window = column.checked_div(windows.stride).unwrap_or(0);
                let own = format!("tile[{window} * PIECE({}) + i0]", windows.count);
                match gemm.accumulate {
                    true => format!("({own} + {})", self.in_memory(place)),
                    false => own,
                }
            }
            _ => self.in_memory(place),
        }
    }

    fn in_memory(&self, place: &Place) -> String {
        let key = format!("{:?}", (&place.at, place.pitch));
        let name = self.pointers.get(&key).map_or("", String::as_str);
        let mut index: Vec<String> = Vec::new();
        for (dim, &stride) in place.strides.iter().enumerate() {
            match stride {
                0 => {}
                1 => index.push(format!("i{dim}")),
                _ => index.push(format!("{stride} * i{dim}")),
            }
        }
        if place.offset > 0 || index.is_empty() {
            index.push(place.offset.to_string());
        }
        format!("{name}[{}]", index.join(" + "))
    }

    fn value(&self, value: Val) -> String {
        match &self.phase.body[value] {
            Inst::Const(number) => number_text(self.scope.precision, *number),
            _ => format!("v{value}"),
        }
    }

    fn body(&self, text: &mut Text) -> Result<(), EmitError> {
        let used = used(&self.phase.body);
        for (number, inst) in self.phase.body.iter().enumerate() {
            if !used[number] {
                continue;
            }
            let value = |value: Val| self.value(value);
            let own = match inst {
                // Written where they are used.
                Inst::Const(_) => continue,
                Inst::Index(dim) => format!("(real)i{dim}"),
                Inst::Load(place) => self.element(place),
                Inst::IdIs(place, dim) => format!("(real)({} == (uint)i{dim})", self.element(place)),
                Inst::SameId(a, b) => format!("(real)({} == {})", self.element(a), self.element(b)),
                Inst::IdValue(place) => format!("number_of({})", self.element(place)),
                Inst::Store(place, a) => {
                    text.line(format!("{} = {};", self.element(place), value(*a)));
                    continue;
                }
                Inst::CopyId(from, to) => {
                    text.line(format!("{} = {};", self.element(to), self.element(from)));
                    continue;
                }
                Inst::SelectId(a, first, second, to) => {
                    let (first, second) = (self.element(first), self.element(second));
                    text.line(format!("{} = {} != 0 ? {first} : {second};", self.element(to), value(*a)));
                    continue;
                }
                Inst::Reduce(_, a, place) if self.phase.reduced == 0 => {
                    text.line(format!("{} = {};", self.element(place), value(*a)));
                    continue;
                }
                Inst::Reduce(how, a, _) => {
                    text.line(format!("r{number} = {}(r{number}, {});", combiner(*how), value(*a)));
                    continue;
                }
                Inst::ArgMax(a, _) => {
                    let (value, dim) = (value(*a), self.phase.dims.len() - 1);
                    text.line(format!(
                        "if ({value} > r{number}) {{ r{number} = {value}; at{number} = i{dim}; }}"
                    ));
                    continue;
                }
                _ => pure(self.scope.precision, &self.phase.body, inst, value)
                    .ok_or_else(|| EmitError::Plan(format!("{inst:?} has no form in C")))?,
            };
            text.line(format!("const real v{number} = {own};"));
        }
        Ok(())
    }
}

/// The macro that combines two partial results.
pub(super) fn combiner(how: Combining) -> &'static str {
    match how {
        Combining::Sum => "SUM",
        Combining::Max => "MAX",
    }
}
