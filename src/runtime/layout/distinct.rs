//! The ids that occur: rows that are known only when an input is.
//!
//! ```text
//! word      4 7 4 none 2
//! ids       2 4 7
//! map       1 2 1 -1 0          from the rows of `word` to those of `ids`
//! list      4 | 0 2 | 1         the other way round
//! ```

use super::{Layout, ListRows};
use crate::plan::{BufferId, MapId, Plan};

impl Layout {
    /// Takes the ids of an input, one a row: how many rows its spaces of distinct ids have, and their maps and
    /// lists. Gives the contents of the buffers of those ids.
    pub fn take_ids(&mut self, plan: &Plan, input: BufferId, ids: &[u32]) -> Vec<(BufferId, Vec<u32>)> {
        let mut contents = Vec::new();
        for distinct in plan.distinct.iter().filter(|distinct| distinct.of == input) {
            let (numbers, found) = numbered(ids);
            self.spaces[distinct.space].rows = found.len();
            for &(map, by) in &distinct.maps {
                self.maps[map] = self.through(by, &numbers);
            }
            for &(list, by) in &distinct.lists {
                self.lists[list] = listed(&self.through(by, &numbers), found.len());
            }
            contents.push((distinct.ids, found));
        }
        contents
    }

    /// The numbers that rows find through a map; through none, those of their own.
    fn through(&self, by: Option<MapId>, numbers: &[i32]) -> Vec<i32> {
        let number = |&row: &i32| usize::try_from(row).map_or(-1, |row| numbers[row]);
        by.map_or_else(|| numbers.to_vec(), |map| self.maps[map].iter().map(number).collect())
    }
}

/// The number of each id among those that occur (-1 where it is none), and these in ascending order.
fn numbered(ids: &[u32]) -> (Vec<i32>, Vec<u32>) {
    let key = |(row, &id): (usize, &u32)| u64::from(id) << 32 | row as u64;
    let some = ids.iter().enumerate().filter(|(_, id)| **id != u32::MAX);
    let mut keys: Vec<u64> = some.map(key).collect();
    keys.sort_unstable();
    let mut numbers = vec![-1; ids.len()];
    let mut found: Vec<u32> = Vec::new();
    for key in keys {
        let (id, row) = ((key >> 32) as u32, key as u32 as usize);
        if found.last() != Some(&id) {
            found.push(id);
        }
        numbers[row] = found.len() as i32 - 1;
    }
    (numbers, found)
}

/// The rows that have each number, ascending.
fn listed(numbers: &[i32], count: usize) -> ListRows {
    let mut starts = vec![0u32; count + 1];
    for number in numbers.iter().filter_map(|&number| usize::try_from(number).ok()) {
        starts[number + 1] += 1;
    }
    for number in 0..count {
        starts[number + 1] += starts[number];
    }
    let mut rows = vec![0; starts[count] as usize];
    let mut next = starts.clone();
    for (row, &number) in numbers.iter().enumerate() {
        if let Ok(number) = usize::try_from(number) {
            rows[next[number] as usize] = row as u32;
            next[number] += 1;
        }
    }
    ListRows { starts, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbered_in_their_order() {
        let (numbers, found) = numbered(&[4, 7, 4, u32::MAX, 2]);
        assert_eq!((&numbers[..], &found[..]), (&[1, 2, 1, -1, 0][..], &[2, 4, 7][..]));
        assert_eq!(listed(&numbers, 3), ListRows { starts: vec![0, 1, 3, 4], rows: vec![4, 0, 2, 1] });
        assert_eq!(numbered(&[u32::MAX]), (vec![-1], vec![]));
        assert_eq!(listed(&[-1], 0), ListRows { starts: vec![0], rows: vec![] });
    }
}
