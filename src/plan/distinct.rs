//! Products of looked-up rows: once for each id that occurs, not once a row.
//!
//! ```text
//! before  z[t]   = W @ embed[word[t]]                                  one product a row
//!         dW     = sum(outer(dz[t], embed[word[t]]) over t)
//!         dembed = sum(outer(onehot(word[t], V), W.T @ dz[t]) over t)
//!
//! after   p[w]   = W @ embed[w]                                        for the words `w` that occur
//!         z[t]   = p[word[t]]
//!         s[w]   = sum of dz[t] over the rows whose word is `w`
//!         dW     = sum(outer(s[w], embed[w]) over w)
//!         dembed[w] = W.T @ s[w]
//! ```
//!
//! Of the words of 50 sentences half occur before, and adding up k numbers costs next to nothing beside
//! multiplying them by a matrix. The words that occur are rows of a space of their own, which whoever sets the ids
//! fills ([`Distinct`]). `opt::tables` does the same with all rows of a short table, where that is fewer.

use super::kernel::*;
use super::places::{Access, kernels, places, places_mut, references};

/// Multiply-adds an element from which on a product costs much more than adding up what it multiplies.
pub const WORTH_SHARING: usize = 32;

/// Where a kernel stands: region and number.
type At = (usize, usize);

/// Rows that are looked up by the ids of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lookup {
    /// The input.
    input: BufferId,
    /// The rows that look up.
    rows: SpaceId,
    /// Where each finds its id, if not at its own row.
    map: Option<MapId>,
}

/// A product of adjoints that are added up by id first: of rows of `value`, elements `first` to `end`.
struct Adjoint {
    at: At,
    /// What adds the product's rows to those of a table.
    scatter: Option<At>,
    lookup: Lookup,
    value: RowRef,
    first: usize,
    end: usize,
}

/// Has products of looked-up rows computed once for each id, if an element takes them `least` multiply-adds or more
/// (see [`WORTH_SHARING`]).
pub fn share_lookups(plan: &mut Plan, least: usize) {
    for at in flat(plan) {
        forward(plan, at, least);
    }
    let found: Vec<Adjoint> = flat(plan).into_iter().filter_map(|at| adjoint(plan, at, least)).collect();
    let mut added: Vec<(At, Kernel)> = Vec::new();
    let same = |a: &Adjoint, b: &Adjoint| a.lookup == b.lookup && a.value == b.value;
    for (number, one) in found.iter().enumerate() {
        if found[..number].iter().any(|other| same(one, other)) {
            continue;
        }
        let group: Vec<&Adjoint> = found.iter().filter(|other| same(one, other)).collect();
        added.push((one.at, sum_by_id(plan, &group)));
    }
    // From the end, so that positions stay true.
    for ((region, at), kernel) in added.into_iter().rev() {
        plan.regions[region].kernels_mut().insert(at, kernel);
    }
}

/// All kernels outside loops.
fn flat(plan: &Plan) -> Vec<At> {
    let kernels = |(number, region): (usize, &Region)| match region {
        Region::Flat(kernels) => (0..kernels.len()).map(|at| (number, at)).collect(),
        Region::Loop { .. } => Vec::new(),
    };
    plan.regions.iter().enumerate().flat_map(kernels).collect()
}

fn kernel(plan: &Plan, (region, at): At) -> &Kernel {
    &plan.regions[region].kernels()[at]
}

fn kernel_mut(plan: &mut Plan, (region, at): At) -> &mut Kernel {
    &mut plan.regions[region].kernels_mut()[at]
}

/// How a kernel's rows find the ids at `id`, if all that have one are among its steps.
fn lookup(plan: &Plan, id: &RowRef, rows: SpaceId, steps: Steps) -> Option<Lookup> {
    let buffer = &plan.buffers[id.buffer];
    let given = matches!(buffer.role, Role::Input(_)) && buffer.width == 1;
    let map = match id.row {
        Row::Same => None,
        Row::Map(map) => Some(map),
        Row::Only | Row::MapOr(..) | Row::Id(_) => return None,
    };
    let of_leaves = |map: MapId| plan.maps[map].at.iter().any(|(_, at)| *at == Position::LeafOfNode);
    let complete = match steps {
        Steps::All => true,
        Steps::First => map.is_some_and(of_leaves),
        Steps::Rest => false,
    };
    let batched = !plan.spaces[buffer.space].axes.is_empty();
    (given && complete && batched).then_some(Lookup { input: id.buffer, rows, map })
}

/// The same for a row of a table.
fn looked_up(plan: &Plan, at: &RowRef, rows: SpaceId, steps: Steps) -> Option<Lookup> {
    match &at.row {
        Row::Id(id) => lookup(plan, id, rows, steps),
        Row::Same | Row::Only | Row::Map(_) | Row::MapOr(..) => None,
    }
}

/// Every use of a buffer: the space of the kernel's row, the row that it addresses, and what for.
fn uses(plan: &Plan, buffer: BufferId) -> Vec<(Option<SpaceId>, &Row, Access)> {
    kernels(plan)
        .flat_map(|kernel| places(&kernel.work))
        .flat_map(|used| {
            let all = references(&used.place.at).into_iter();
            all.filter(|(reference, _)| reference.buffer == buffer)
                .map(move |(reference, _)| (used.space, &reference.row, used.access))
        })
        .collect()
}

/// A temporary that holds all rows of a space, is written once, each row at its own, and read likewise.
fn is_plain(plan: &Plan, buffer: BufferId, rows: SpaceId) -> bool {
    let own = &plan.buffers[buffer];
    let uses = uses(plan, buffer);
    let writes = uses.iter().filter(|(_, _, access)| *access == Access::Write).count();
    own.role == Role::Temporary
        && own.residency == Residency::All
        && own.space == rows
        && writes == 1
        && uses.iter().all(|(space, row, _)| *space == Some(rows) && **row == Row::Same)
}

/// `W @ embed[word[t]]` as rows of products, if it is one.
fn forward(plan: &mut Plan, at: At, least: usize) -> Option<()> {
    let Kernel { work: Work::Gemm(gemm), steps, .. } = kernel(plan, at) else { return None };
    let GemmRows::Space(rows) = gemm.rows else { return None };
    let found = looked_up(plan, &gemm.a.at, rows, *steps)?;
    let out = gemm.out.at.buffer;
    if gemm.accumulate || gemm.k < least || !is_plain(plan, out, rows) {
        return None;
    }
    let number = distinct(plan, found.input);
    let (space, ids) = (plan.distinct[number].space, plan.distinct[number].ids);
    let map = map(plan, number, found);
    plan.buffers[out].space = space;
    let own = kernel_mut(plan, at);
    own.steps = Steps::All;
    if let Work::Gemm(gemm) = &mut own.work {
        gemm.rows = GemmRows::Space(space);
        gemm.a.at.row = by_id(ids);
    }
    for region in &mut plan.regions {
        for place in region.kernels_mut().iter_mut().flat_map(|kernel| places_mut(&mut kernel.work)) {
            if place.at.buffer == out {
                place.at.row = Row::Map(map);
            }
        }
    }
    if let Work::Gemm(gemm) = &mut kernel_mut(plan, at).work {
        gemm.out.at.row = Row::Same;
    }
    Some(())
}

/// The row of a table that the row of an id names.
fn by_id(ids: BufferId) -> Row {
    Row::Id(Box::new(RowRef { buffer: ids, row: Row::Same }))
}

/// A product whose rows may be added up by id first.
fn adjoint(plan: &Plan, at: At, least: usize) -> Option<Adjoint> {
    let Kernel { work, steps, .. } = kernel(plan, at);
    match work {
        Work::Outer(outer) if outer.n >= least => {
            let lookup = looked_up(plan, &outer.b.at, outer.space, *steps)?;
            let (first, end) = (outer.a.offset, outer.a.offset + outer.m);
            Some(Adjoint { at, scatter: None, lookup, value: outer.a.at.clone(), first, end })
        }
        Work::Gemm(gemm) if gemm.n >= least && !gemm.accumulate => {
            let GemmRows::Space(rows) = gemm.rows else { return None };
            let its = scatter_of(plan, gemm, rows, *steps)?;
            let Work::Scatter(scatter) = &kernel(plan, its).work else { return None };
            let lookup = lookup(plan, &scatter.id.at, rows, *steps)?;
            let (first, end) = (gemm.a.offset, gemm.a.offset + gemm.k);
            Some(Adjoint { at, scatter: Some(its), lookup, value: gemm.a.at.clone(), first, end })
        }
        _ => None,
    }
}

/// The only reader of a product, if it adds its rows by id.
fn scatter_of(plan: &Plan, gemm: &Gemm, rows: SpaceId, steps: Steps) -> Option<At> {
    let out = gemm.out.at.buffer;
    let reads = |at: &At| match kernel(plan, *at) {
        Kernel { work: Work::Scatter(scatter), steps: its, .. } => {
            scatter.value.at.buffer == out && scatter.space == rows && *its == steps
        }
        _ => false,
    };
    let found = flat(plan).into_iter().find(reads)?;
    (is_plain(plan, out, rows) && uses(plan, out).len() == 2).then_some(found)
}

/// Changes some products with the same rows to products of sums, and gives the kernel that computes these.
fn sum_by_id(plan: &mut Plan, group: &[&Adjoint]) -> Kernel {
    let Adjoint { lookup, value, .. } = group[0];
    let number = distinct(plan, lookup.input);
    let (space, ids) = (plan.distinct[number].space, plan.distinct[number].ids);
    let first = group.iter().map(|one| one.first).min().unwrap_or(0);
    let end = group.iter().map(|one| one.end).max().unwrap_or(0);
    let regions = group.iter().map(|one| one.at.0);
    let life = regions.fold((usize::MAX, 0), |(from, to), region| (from.min(region), to.max(region)));
    let whole = &plan.buffers[value.buffer];
    let buffer = Buffer {
        name: format!("{} by {}", whole.name, plan.buffers[lookup.input].name),
        width: end - first,
        shape: vec![end - first],
        space,
        residency: Residency::All,
        role: Role::Temporary,
        life,
        ..whole.clone()
    };
    let sums = plan.buffers.len();
    plan.buffers.push(buffer);
    let row = |offset: usize| Place {
        at: RowRef { buffer: sums, row: Row::Same },
        pitch: 0,
        offset: offset - first,
        strides: Vec::new(),
    };
    for one in group {
        let mut result = None;
        let kernel = kernel_mut(plan, one.at);
        kernel.steps = Steps::All;
        match &mut kernel.work {
            Work::Outer(outer) => {
                outer.space = space;
                outer.a = row(outer.a.offset);
                outer.b.at.row = by_id(ids);
            }
            Work::Gemm(gemm) => {
                gemm.rows = GemmRows::Space(space);
                gemm.a = row(gemm.a.offset);
                result = Some(gemm.out.at.buffer);
            }
            _ => {}
        }
        if let (Some(result), Some(scatter)) = (result, one.scatter) {
            plan.buffers[result].space = space;
            let kernel = kernel_mut(plan, scatter);
            kernel.steps = Steps::All;
            if let Work::Scatter(scatter) = &mut kernel.work {
                scatter.space = space;
                scatter.id.at = RowRef { buffer: ids, row: Row::Same };
            }
        }
    }
    let list = RowList { from: lookup.rows, to: space };
    let known = |(list, map): &(ListId, Option<MapId>)| {
        (plan.lists[*list].from == lookup.rows && *map == lookup.map).then_some(*list)
    };
    let list = plan.distinct[number].lists.iter().find_map(known).unwrap_or_else(|| {
        plan.lists.push(list);
        let list = plan.lists.len() - 1;
        plan.distinct[number].lists.push((list, lookup.map));
        list
    });
    let place = |at: RowRef, offset| Place { at, pitch: 0, offset, strides: vec![1] };
    let combine = Combine {
        from: lookup.rows,
        to: space,
        list: Some(list),
        how: Combining::Sum,
        width: end - first,
        value: place(value.clone(), first),
        out: place(RowRef { buffer: sums, row: Row::Same }, 0),
    };
    Kernel { work: Work::Combine(combine), equations: Vec::new(), constant: false, steps: Steps::All }
}

/// The space of the ids of an input, made if there is none.
fn distinct(plan: &mut Plan, input: BufferId) -> usize {
    if let Some(known) = plan.distinct.iter().position(|distinct| distinct.of == input) {
        return known;
    }
    let space = plan.spaces.len();
    plan.spaces.push(plan.spaces[plan.buffers[input].space].clone());
    let ids = plan.buffers.len();
    let name = format!("each {}", plan.buffers[input].name);
    plan.buffers.push(Buffer { name, space, role: Role::Distinct(input), ..plan.buffers[input].clone() });
    plan.distinct.push(Distinct { of: input, space, ids, maps: Vec::new(), lists: Vec::new() });
    plan.distinct.len() - 1
}

/// The map from rows that look up to the ids.
fn map(plan: &mut Plan, number: usize, lookup: Lookup) -> MapId {
    let Distinct { space, ref maps, .. } = plan.distinct[number];
    let known = |(map, by): &(MapId, Option<MapId>)| {
        (plan.maps[*map].from == lookup.rows && *by == lookup.map).then_some(*map)
    };
    if let Some(known) = maps.iter().find_map(known) {
        return known;
    }
    let at = lookup.map.map_or_else(Vec::new, |map| plan.maps[map].at.clone());
    plan.maps.push(RowMap { from: lookup.rows, to: space, at });
    let map = plan.maps.len() - 1;
    plan.distinct[number].maps.push((map, lookup.map));
    map
}
