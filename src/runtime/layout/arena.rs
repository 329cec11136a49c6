//! Memory: a block for every buffer but the parameters, which stay where the caller has them; or two, one
//! that is kept and one that is lent for a run.
//!
//! A buffer of 3 rows of 5 f32 takes a zero row in front and its rows behind, each start at a multiple
//! of 64 bytes: `offset` is that of row 0, and the zero row ends there. Temporaries whose lives do not
//! meet may share a place: buffers are placed largest first, each at the smallest gap it fits in among
//! those that live at the same time. What a run leaves to the next one in lent memory comes before all others, so that
//! it lies in the same place whatever the batch.

use std::fmt::Write;

use super::{LayoutError, SpaceRows};
use crate::plan::{Buffer, Plan, Precision, Residency, Role};

/// Every place begins at a multiple of this, a cache line.
pub const ALIGNMENT: usize = 64;

/// In which block a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// The one that is kept from run to run.
    Kept,
    /// The one that is lent for a run.
    Lent,
}

/// Where a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which block.
    pub home: Home,
    /// First byte, of the zero row if there is one.
    pub start: usize,
    /// First byte of row 0.
    pub offset: usize,
    /// Bytes from `start` to behind the last row.
    pub bytes: usize,
    /// Rows held (the zero row not counted).
    pub rows: usize,
}

/// The places of all buffers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arena {
    /// One a buffer; `None` for parameters and sparse outputs.
    pub places: Vec<Option<Place>>,
    /// Where the zeros lie that are read where an id is none.
    pub zeros: usize,
    /// How many bytes of them.
    pub zeros_bytes: usize,
    /// Bytes of the block that is kept.
    pub bytes: usize,
    /// Bytes of the block that is lent.
    pub lent_bytes: usize,
}

impl Arena {
    /// Finds a place for every buffer. `lent` says which roles lie in memory that is lent for a run.
    pub fn new(
        plan: &Plan,
        precision: Precision,
        spaces: &[SpaceRows],
        zeros: usize,
        lent: &dyn Fn(&Role) -> bool,
    ) -> Result<Arena, LayoutError> {
        let mut arena = Arena {
            places: vec![None; plan.buffers.len()],
            zeros: 0,
            zeros_bytes: align(zeros.checked_mul(precision.bytes()).ok_or(TOO_LARGE)?)?,
            bytes: 0,
            lent_bytes: 0,
        };
        let mut wanted = Vec::new();
        for (id, buffer) in plan.buffers.iter().enumerate() {
            let apart = plan.sparse.iter().any(|sparse| sparse.out == id);
            if apart || matches!(buffer.role, Role::Parameter(_)) {
                continue;
            }
            let space = spaces
                .get(buffer.space)
                .ok_or_else(|| LayoutError::Plan(format!("`{}` lies in no space", buffer.name)))?;
            let home = if lent(&buffer.role) { Home::Lent } else { Home::Kept };
            wanted.push((id, size(buffer, precision, space, home)?));
        }
        // Largest first; equal sizes in the plan's order, so that the same plan gives the same places.
        let whole = (0, plan.regions.len().saturating_sub(1));
        let left = |id: usize, place: Place| {
            let buffer: &Buffer = &plan.buffers[id];
            let single = plan.spaces[buffer.space].axes.is_empty();
            place.home == Home::Lent && single && buffer.role == Role::Temporary && buffer.life == whole
        };
        wanted.sort_by_key(|&(id, place)| (!left(id, place), std::cmp::Reverse(place.bytes), id));
        // In the order of their starts.
        let mut placed: Vec<Taken> = Vec::with_capacity(wanted.len());
        for (id, mut place) in wanted {
            let (own, home) = (life(plan, id), place.home);
            let taken = placed.iter().filter(|other| other.home == home && meet(own, other.life));
            let (first, all) = match place.home {
                Home::Kept => (arena.zeros_bytes, &mut arena.bytes),
                Home::Lent => (0, &mut arena.lent_bytes),
            };
            let start = best_gap(first, taken, align(place.bytes)?);
            let end = start.checked_add(align(place.bytes)?).ok_or(TOO_LARGE)?;
            place.offset += start;
            place.start = start;
            *all = (*all).max(end);
            arena.places[id] = Some(place);
            let behind = placed.partition_point(|other| (other.start, other.end) < (start, end));
            placed.insert(behind, Taken { start, end, home, life: own });
        }
        arena.bytes = arena.bytes.max(arena.zeros_bytes);
        for bytes in [arena.bytes, arena.lent_bytes] {
            isize::try_from(bytes).map_err(|_| TOO_LARGE)?;
        }
        Ok(arena)
    }

    /// Whether every buffer has its place in these spaces, too: it may have been laid out for larger ones.
    pub fn has_room(&self, plan: &Plan, spaces: &[SpaceRows]) -> bool {
        let mut places = plan.buffers.iter().zip(&self.places);
        places.all(|(buffer, place)| {
            let rows = spaces.get(buffer.space).map(|space| held(buffer, space));
            place.is_none_or(|place| rows.is_some_and(|rows| rows <= place.rows))
        })
    }

    /// A table of all places, for people.
    pub fn table(&self, plan: &Plan) -> String {
        let mut text =
            format!("{:<24} {:>10} {:>8} {:>12} {:>12}  regions\n", "buffer", "rows", "width", "bytes", "at");
        for (buffer, place) in plan.buffers.iter().zip(&self.places) {
            let (first, last) = buffer.life;
            let _ = match place {
                Some(place) => writeln!(
                    text,
                    "{:<24} {:>10} {:>8} {:>12} {:>12}  {first}..{last}",
                    buffer.name, place.rows, buffer.width, place.bytes, place.start
                ),
                None => writeln!(
                    text,
                    "{:<24} {:>10} {:>8} {:>12} {:>12}",
                    buffer.name, 1, buffer.width, "", "parameter"
                ),
            };
        }
        let _ = writeln!(text, "{} bytes in all", self.bytes);
        text
    }
}

/// Bytes that a buffer takes while it lives.
struct Taken {
    start: usize,
    end: usize,
    home: Home,
    life: (usize, usize),
}

const TOO_LARGE: LayoutError = LayoutError::TooLarge { what: "buffers" };

/// Rows of a buffer that exist at once.
pub fn held(buffer: &Buffer, space: &SpaceRows) -> usize {
    match buffer.residency {
        Residency::All => space.rows,
        Residency::Step => space.largest_step,
        Residency::Scratch => 1,
    }
}

/// The size of a buffer, placed at 0.
fn size(buffer: &Buffer, precision: Precision, space: &SpaceRows, home: Home) -> Result<Place, LayoutError> {
    let row = buffer.width.checked_mul(buffer.element.bytes(precision)).ok_or(TOO_LARGE)?;
    let rows = held(buffer, space);
    let front = if buffer.residency == Residency::Scratch { 0 } else { align(row)? };
    let bytes = row.checked_mul(rows).and_then(|bytes| bytes.checked_add(front)).ok_or(TOO_LARGE)?;
    Ok(Place { home, start: 0, offset: front, bytes, rows })
}

/// Regions in which a buffer must keep its place: what the caller sets or reads keeps it for longer
/// than the plan's kernels touch it.
fn life(plan: &Plan, id: usize) -> (usize, usize) {
    let buffer = &plan.buffers[id];
    match buffer.role {
        Role::Temporary => buffer.life,
        Role::Output(_) => (buffer.life.0, usize::MAX),
        Role::Parameter(_)
        | Role::Input(_)
        | Role::Position(_)
        | Role::Length(_)
        | Role::Count(_)
        | Role::RowKey
        | Role::Distinct(_)
        | Role::Setting(_) => (0, usize::MAX),
    }
}

fn meet(a: (usize, usize), b: (usize, usize)) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

/// The start of the smallest gap that holds `bytes`, or behind everything.
fn best_gap<'t>(first: usize, taken: impl Iterator<Item = &'t Taken>, bytes: usize) -> usize {
    let mut best: Option<(usize, usize)> = None;
    let mut free = first;
    for &Taken { start, end, .. } in taken {
        if let Some(gap) = start.checked_sub(free)
            && gap >= bytes
            && best.is_none_or(|(smallest, _)| gap < smallest)
        {
            best = Some((gap, free));
        }
        free = free.max(end);
    }
    best.map_or(free, |(_, start)| start)
}

fn align(bytes: usize) -> Result<usize, LayoutError> {
    bytes.checked_next_multiple_of(ALIGNMENT).ok_or(TOO_LARGE)
}
