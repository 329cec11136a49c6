//! Where the workers on one group have to meet: before a kernel that touches what another of them may not be done with.
//!
//! ```text
//! loop:  z4[n] = [h[left], h[right]]      worker 0: columns 0..80, worker 1: 80..150
//!            (meet: a product reads all columns of z4)
//!        z5 = z4 @ U                      the same columns of each fifth
//!        h[n] = …                         reads those of z5; z4 of the next step reads those of h
//! ```
//!
//! Everybody meets at the end of a region, too: memory may be something else's in the next one.

use super::share::{Division, Share};
use crate::plan::places::{Access, places, references};
use crate::plan::{BufferId, Kernel, Plan, Region, Residency, Row, SpaceId, Steps, Work};

/// Turns of a loop after which nothing new is found: what a turn leaves behind meets the next one and the one after it.
const TURNS: usize = 3;

/// Which elements of all that kernels touch a worker has to itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    /// Its part of each stretch of so many columns.
    Columns(usize),
    /// Its part of the rows of a space.
    Rows(SpaceId, Steps),
}

/// Rows of a buffer that a step of a loop touches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Its own, which no other step does.
    Step,
    /// Others of the same buffer, through a map.
    Mapped,
    /// Any.
    Any,
}

/// How a kernel touches a buffer.
#[derive(Clone, Copy)]
struct Touch {
    buffer: BufferId,
    writes: bool,
    rows: Rows,
    own: Option<Own>,
}

impl Touch {
    /// Whether this has to be over before `next` begins, in the same step of a loop or a `later` one.
    fn precedes(self, next: Touch, later: bool) -> bool {
        let apart = match (self.rows, next.rows) {
            (Rows::Step, Rows::Step) => later,
            // What is read was complete before; what is written is not what has been read.
            (Rows::Mapped, Rows::Step) => !self.writes,
            _ => false,
        };
        let together = self.own.is_some() && self.own == next.own;
        self.buffer == next.buffer && (self.writes || next.writes) && !apart && !together
    }
}

/// Says of each kernel, by its number in the plan, whether workers that divide the kernels so meet before it.
pub fn meetings(plan: &Plan, divisions: &[Division]) -> Vec<bool> {
    let mut all = vec![false; divisions.len()];
    let mut first = 0;
    for region in &plan.regions {
        let kernels = region.kernels();
        let own = first..first + kernels.len();
        let (axis, turns) = match region {
            Region::Flat(_) => (None, 1),
            Region::Loop { axis, .. } => (Some(*axis), TURNS),
        };
        // Those that are done along with others are done when these are.
        let mut touched: Vec<Vec<Touch>> = vec![Vec::new(); kernels.len()];
        for (at, kernel) in kernels.iter().enumerate() {
            let division = divisions[first + at];
            let when = division.with.map_or(at, |leader| leader - first);
            touched[when].extend(touches(plan, kernel, division, axis));
        }
        find(&touched, turns, &mut all[own]);
        first += kernels.len();
    }
    all
}

/// Meetings of one region, whose kernels touch these.
fn find(touched: &[Vec<Touch>], turns: usize, meets: &mut [bool]) {
    loop {
        let mut since: Vec<(Touch, usize)> = Vec::new();
        let mut again = false;
        for turn in 0..turns {
            for (own, meets) in touched.iter().zip(&mut *meets) {
                let waits = |&(before, when): &(Touch, usize)| {
                    own.iter().any(|&next| before.precedes(next, when < turn))
                };
                if !*meets && since.iter().any(waits) {
                    (*meets, again) = (true, true);
                }
                if *meets {
                    since.clear();
                }
                since.extend(own.iter().map(|&touch| (touch, turn)));
            }
        }
        if !again {
            return;
        }
    }
}

/// What a kernel touches, in a loop along an axis.
fn touches(plan: &Plan, kernel: &Kernel, division: Division, axis: Option<usize>) -> Vec<Touch> {
    let mut all = Vec::new();
    for used in places(&kernel.work) {
        for (number, (reference, _)) in references(&used.place.at).into_iter().enumerate() {
            let buffer = &plan.buffers[reference.buffer];
            let stays = buffer.residency == Residency::All
                && axis.is_some()
                && plan.spaces[buffer.space].major == axis;
            let rows = match reference.row {
                Row::Same if stays => Rows::Step,
                Row::Map(_) | Row::MapOr(..) if stays => Rows::Mapped,
                _ => Rows::Any,
            };
            let simple = matches!(reference.row, Row::Same | Row::Map(_) | Row::MapOr(..));
            let own = match (division.share, &kernel.work) {
                (Share::Columns(width), Work::Rows(_)) if simple && used.place.strides == [1] => {
                    used.place.offset.is_multiple_of(width).then_some(Own::Columns(width))
                }
                (Share::Columns(width), Work::Gemm(gemm)) if simple && *used.place == gemm.out => {
                    used.place.offset.is_multiple_of(width).then_some(Own::Columns(width))
                }
                (Share::Rows, Work::Rows(own)) if reference.row == Row::Same => {
                    Some(Own::Rows(own.space, kernel.steps))
                }
                _ => None,
            };
            let (writes, own) = match number {
                0 => (used.access == Access::Write, own),
                // A row that says where another one lies, or lies in its place.
                _ => (false, None),
            };
            all.push(Touch { buffer: reference.buffer, writes, rows, own });
        }
    }
    let packed = match &kernel.work {
        Work::Gemm(gemm) => Some((gemm.packed, false)),
        Work::Pack(pack) => Some((pack.to, true)),
        _ => None,
    };
    all.extend(packed.map(|(buffer, writes)| Touch { buffer, writes, rows: Rows::Any, own: None }));
    all
}
