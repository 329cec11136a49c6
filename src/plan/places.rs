//! Every place a kernel touches, in one list: what checks a plan, sizes the shared zeros and finds
//! which zero rows can be read all walk this instead of matching on [`Work`] again.
//!
//! `out[r] = a[map(r)] + b[r]` over 8 columns gives three uses: a read of `a` through the map and a
//! read of `b`, and a write of `out`, each spanning 8 elements.

use super::kernel::*;

/// What a kernel does at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loads.
    Read,
    /// Stores, perhaps after loading.
    Write,
}

/// One place and how far it reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceUse<'a> {
    /// The place.
    pub place: &'a Place,
    /// Space of the row the place is addressed from; `None` for single-row work.
    pub space: Option<SpaceId>,
    /// Elements from the row's start to behind the last one touched.
    pub span: usize,
    /// Load or store.
    pub access: Access,
    /// The element type that the kernel expects.
    pub element: Element,
}

/// All places of a kernel, in the order of the kernel's fields and instructions.
pub fn places(work: &Work) -> Vec<PlaceUse<'_>> {
    use Access::{Read, Write};
    use Element::{Id, Real};
    let mut uses = Vec::new();
    let mut add = |place, space, span, access, element| {
        uses.push(PlaceUse { place, space, span, access, element });
    };
    match work {
        Work::Rows(kernel) => {
            for phase in &kernel.phases {
                for inst in &phase.body {
                    inst_places(inst, kernel.space, &phase.dims, |used| uses.push(used));
                }
            }
            return uses;
        }
        Work::Gemm(gemm) => {
            let (space, rows) = match gemm.rows {
                GemmRows::Space(space) => (Some(space), 1),
                GemmRows::Static(rows) => (None, rows),
            };
            let reach = |place: &Place, width| place.offset + (rows.max(1) - 1) * place.pitch + width;
            add(&gemm.a, space, reach(&gemm.a, gemm.k), Read, Real);
            add(&gemm.out, space, reach(&gemm.out, gemm.n), Write, Real);
        }
        Work::Pack(pack) => {
            add(&pack.source, None, span(&pack.source, &[pack.k, pack.n]), Read, Real);
        }
        Work::Outer(outer) => {
            let space = Some(outer.space);
            add(&outer.a, space, outer.a.offset + outer.m, Read, Real);
            add(&outer.b, space, outer.b.offset + outer.n, Read, Real);
            add(&outer.out, None, matrix(&outer.out, outer.m, outer.n), Write, Real);
        }
        Work::Combine(combine) => {
            let dims = [combine.width];
            add(&combine.value, Some(combine.from), span(&combine.value, &dims), Read, Real);
            add(&combine.out, Some(combine.to), span(&combine.out, &dims), Write, Real);
        }
        Work::Scatter(scatter) => {
            let space = Some(scatter.space);
            add(&scatter.id, space, scatter.id.offset + 1, Read, Id);
            add(&scatter.value, space, scatter.value.offset + scatter.n, Read, Real);
            add(&scatter.out, None, matrix(&scatter.out, scatter.m, scatter.n), Write, Real);
        }
        Work::Random(random) => {
            let space = Some(random.space);
            add(&random.key, space, random.key.offset + 2, Read, Id);
            add(&random.seed, space, random.seed.offset + 3, Read, Id);
            add(&random.out, space, random.out.offset + random.width, Write, Real);
        }
    }
    uses
}

/// Calls `visit` with all places of one instruction of a row kernel, in the order of its fields.
pub fn inst_places<'a>(inst: &'a Inst, space: SpaceId, dims: &[usize], mut visit: impl FnMut(PlaceUse<'a>)) {
    use Access::{Read, Write};
    use Element::{Id, Real};
    let mut at = |place, access, element| {
        visit(PlaceUse { place, space: Some(space), span: span(place, dims), access, element });
    };
    match inst {
        Inst::Load(place) => at(place, Read, Real),
        Inst::IdIs(place, _) | Inst::IdValue(place) => at(place, Read, Id),
        Inst::SameId(a, b) => {
            at(a, Read, Id);
            at(b, Read, Id);
        }
        Inst::Store(place, _) => at(place, Write, Real),
        Inst::CopyId(from, to) => {
            at(from, Read, Id);
            at(to, Write, Id);
        }
        Inst::SelectId(_, first, second, to) => {
            at(first, Read, Id);
            at(second, Read, Id);
            at(to, Write, Id);
        }
        Inst::Reduce(_, _, place) => at(place, Write, Real),
        Inst::ArgMax(_, place) => at(place, Write, Id),
        Inst::Const(_)
        | Inst::Index(_)
        | Inst::Unary(..)
        | Inst::Binary(..)
        | Inst::Fma(..)
        | Inst::ScaleByPowerOfTwo(..)
        | Inst::Select(..) => {}
    }
}

/// The places that a kernel reads or writes, to be changed.
pub fn places_mut(work: &mut Work) -> Vec<&mut Place> {
    match work {
        Work::Rows(kernel) => {
            let insts = kernel.phases.iter_mut().flat_map(|phase| &mut phase.body);
            insts.flat_map(inst_places_mut).collect()
        }
        Work::Gemm(gemm) => vec![&mut gemm.a, &mut gemm.out],
        Work::Pack(pack) => vec![&mut pack.source],
        Work::Outer(outer) => vec![&mut outer.a, &mut outer.b, &mut outer.out],
        Work::Combine(combine) => vec![&mut combine.value, &mut combine.out],
        Work::Scatter(scatter) => vec![&mut scatter.id, &mut scatter.value, &mut scatter.out],
        Work::Random(random) => vec![&mut random.key, &mut random.seed, &mut random.out],
    }
}

fn inst_places_mut(inst: &mut Inst) -> Vec<&mut Place> {
    match inst {
        Inst::Load(place)
        | Inst::IdIs(place, _)
        | Inst::IdValue(place)
        | Inst::Store(place, _)
        | Inst::Reduce(_, _, place)
        | Inst::ArgMax(_, place) => vec![place],
        Inst::SameId(a, b) | Inst::CopyId(a, b) => vec![a, b],
        Inst::SelectId(_, a, b, to) => vec![a, b, to],
        Inst::Const(_)
        | Inst::Index(_)
        | Inst::Unary(..)
        | Inst::Binary(..)
        | Inst::Fma(..)
        | Inst::ScaleByPowerOfTwo(..)
        | Inst::Select(..) => Vec::new(),
    }
}

/// The buffers a row reference reads or addresses, itself first: (reference, addressed through a
/// map that may give -1).
pub fn references(row: &RowRef) -> Vec<(&RowRef, bool)> {
    let mut all = Vec::new();
    let mut todo = vec![row];
    while let Some(next) = todo.pop() {
        all.push((next, matches!(next.row, Row::Map(_))));
        match &next.row {
            Row::MapOr(_, inner) | Row::Id(inner) => todo.push(inner),
            Row::Same | Row::Only | Row::Map(_) => {}
        }
    }
    all
}

/// Elements of the longest window that is read where an id is none: the shared zeros hold as many.
pub fn zeros_needed(plan: &Plan) -> usize {
    kernels(plan)
        .flat_map(|kernel| places(&kernel.work))
        .filter(|used| {
            references(&used.place.at).iter().any(|(reference, _)| matches!(reference.row, Row::Id(_)))
        })
        .map(|used| used.span)
        .max()
        .unwrap_or(0)
}

/// Every kernel of a plan, in order.
pub fn kernels(plan: &Plan) -> impl Iterator<Item = &Kernel> {
    plan.regions.iter().flat_map(Region::kernels)
}

/// The space whose rows a kernel runs over, and whether it has nothing to do without rows.
pub fn rows_of(work: &Work) -> Option<(SpaceId, bool)> {
    let idle = match work {
        Work::Rows(_) | Work::Gemm(_) | Work::Random(_) | Work::Pack(_) => true,
        Work::Combine(combine) => combine.list.is_some(),
        Work::Outer(_) | Work::Scatter(_) => false,
    };
    work.space().map(|space| (space, idle))
}

/// Buffers that come to life in a region and whose zero row some kernel may read: another buffer may
/// have lain there before. What the caller sets keeps its place, and the caller sets its zero row.
pub fn zero_rows(plan: &Plan, region: usize) -> Vec<BufferId> {
    let mut mapped = vec![false; plan.buffers.len()];
    for kernel in kernels(plan) {
        for used in places(&kernel.work) {
            for (reference, through_map) in references(&used.place.at) {
                mapped[reference.buffer] |= through_map;
            }
        }
    }
    let own = |role: &Role| matches!(role, Role::Temporary | Role::Output(_));
    (0..plan.buffers.len())
        .filter(|&id| {
            let buffer = &plan.buffers[id];
            mapped[id]
                && own(&buffer.role)
                && buffer.life.0 == region
                && buffer.residency != Residency::Scratch
        })
        .collect()
}

/// Elements from the row's start to behind the last point of a loop nest; 0 if it has no point.
pub fn span(place: &Place, dims: &[usize]) -> usize {
    if dims.contains(&0) {
        return 0;
    }
    let last: usize = place.strides.iter().zip(dims).map(|(stride, dim)| stride * (dim - 1)).sum();
    place.offset + last + 1
}

/// Elements up to the end of an `m` by `n` matrix at a place.
fn matrix(place: &Place, m: usize, n: usize) -> usize {
    if m == 0 || n == 0 {
        return 0;
    }
    place.offset + (m - 1) * place.pitch + n
}
