//! The context: where a kernel finds its group's memory and tables.
//!
//! An array of 4-byte numbers a group, in this order (for 2 buffers, 1 map, 1 list, 2 spaces, 2 axes):
//!
//! ```text
//! 0      zeros          the zeros read where an id is none, in units of 64 bytes of `memory`
//! 1      meeting        where teams meet, likewise: two numbers that are zero before the first run
//! 2 3    buffers        row 0, in units of 64 bytes of `memory` (of `parameters` for a parameter)
//! 4      maps           first number of the table, one a row of `from`
//! 5 6    lists          first number of the starts, first number of the rows
//! 7 8    rows           number of rows of each space
//! 9 10   step offsets   first number of the table, one a step and one behind
//! 11 12  steps          number of steps along each axis
//! ```
//!
//! The contexts of all groups are the beginning of `tables`, behind them lie the tables themselves.

use serde::Serialize;

use crate::plan::{BufferId, ListId, MapId, Plan, SpaceId};

/// Bytes in the unit of a buffer's place.
pub const UNIT: usize = 64;

/// Slot numbers of a plan's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Slots {
    buffers: usize,
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
        let buffers = 2;
        let maps = buffers + plan.buffers.len();
        let lists = maps + plan.maps.len();
        let rows = lists + 2 * plan.lists.len();
        let step_offsets = rows + plan.spaces.len();
        let steps = step_offsets + plan.spaces.len();
        Slots { buffers, maps, lists, rows, step_offsets, steps, len: steps + plan.axes.len() }
    }

    /// The shared zeros.
    pub fn zeros(&self) -> usize {
        0
    }

    /// Where the teams of a group meet.
    pub fn meeting(&self) -> usize {
        1
    }

    /// A buffer's row 0.
    pub fn buffer(&self, buffer: BufferId) -> usize {
        self.buffers + buffer
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

    /// Numbers a group.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a context has at least the zeros.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
