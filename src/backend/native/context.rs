//! The context: the one array through which generated code sees memory and tables.
//!
//! An array of 8-byte slots, in this order (numbers for 2 buffers, 1 map, 1 list, 2 spaces, 2 axes):
//!
//! ```text
//! 0      zeros          pointer to the zeros read where an id is none
//! 1 2    buffers        pointer to row 0; the zero row ends there
//! 3      maps           pointer to i32, one a row of `from`
//! 4 5    lists          pointer to u32 starts, pointer to u32 rows
//! 6 7    rows           number of rows of each space
//! 8 9    step offsets   pointer to u32, one a step and one behind (null without a major axis)
//! 10 11  steps          number of steps along each axis
//! 12     cells          where workers count how often they met, 64 bytes each (null for a single one)
//! 13     pause          a function without parameters, called while waiting for long (null: none)
//! 14     held           1 if the last run had the same parameters and memory, so that constants are there;
//!                       2 if they are not there, and no run will look for them that follows
//! ```
//!
//! The emitter, the runtime and the C header take slot numbers from here and from nowhere else.

use crate::plan::{BufferId, ListId, MapId, Plan, SpaceId};

/// Bytes of a worker's cell.
pub const CELL_BYTES: usize = 64;

/// What [`Slots::held`] says if what depends on the parameters alone serves this run only.
pub const FLEETING: u64 = 2;

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 8;

/// Slot numbers of a plan's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    maps: usize,
    lists: usize,
    rows: usize,
    step_offsets: usize,
    steps: usize,
    len: usize,
}

impl Slots {
    /// Numbers the slots of a plan.
    pub fn new(plan: &Plan) -> Slots {
        let maps = 1 + plan.buffers.len();
        let lists = maps + plan.maps.len();
        let rows = lists + 2 * plan.lists.len();
        let step_offsets = rows + plan.spaces.len();
        let steps = step_offsets + plan.spaces.len();
        Slots { maps, lists, rows, step_offsets, steps, len: steps + plan.axes.len() + 3 }
    }

    /// The shared zeros.
    pub fn zeros(&self) -> usize {
        0
    }

    /// A buffer's row 0.
    pub fn buffer(&self, buffer: BufferId) -> usize {
        1 + buffer
    }

    /// A map's table.
    pub fn map(&self, map: MapId) -> usize {
        self.maps + map
    }

    /// Where each list starts.
    pub fn list_starts(&self, list: ListId) -> usize {
        self.lists + 2 * list
    }

    /// The rows of all lists.
    pub fn list_rows(&self, list: ListId) -> usize {
        self.lists + 2 * list + 1
    }

    /// The number of rows of a space.
    pub fn rows(&self, space: SpaceId) -> usize {
        self.rows + space
    }

    /// The first row of each step of a space.
    pub fn step_offsets(&self, space: SpaceId) -> usize {
        self.step_offsets + space
    }

    /// The number of steps along an axis.
    pub fn steps(&self, axis: usize) -> usize {
        self.steps + axis
    }

    /// The readings of the clock (see [`super::clock`]): behind all slots, in a profiled program only.
    pub fn readings(&self) -> usize {
        self.len
    }

    /// The cells of workers.
    pub fn cells(&self) -> usize {
        self.len - 3
    }

    /// What is called while a worker waits.
    pub fn pause(&self) -> usize {
        self.len - 2
    }

    /// Whether constants are held: 1, or [`FLEETING`], or 0 if they are to be made for this run and others.
    pub fn held(&self) -> usize {
        self.len - 1
    }

    /// Slots in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a context has at least the zeros.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
