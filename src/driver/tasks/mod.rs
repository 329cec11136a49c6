//! Tasks that need no download: examples drawn from a seed, with answers that are known.
//!
//! ```
//! use rnnc::driver::tasks::{Part, Task};
//! let lines: Vec<String> = Task::Parity { longest: 5 }.examples(1, Part::Test).take(2).collect();
//! assert!(lines[0].starts_with("{\"bits\": \""), "{lines:?}");
//! ```
//!
//! Each task is a file that draws one example: a line of JSON whose fields are named as the inputs of its model in
//! `examples/`. Which part an example belongs to follows from its question alone: what is in the test part is never in
//! the training part, of whatever seed and however many. Examples do not depend on how many are asked for.
//!
//! - `adding`, `copying`, `reber`, `dyck`, `parity`, `sines`, `dates`, `sorting`, `initials`, `bits`, `vectors`, `gestures`,
//!   `pictures`: the tasks
//! - `arithmetic`: expressions as trees; `draws`: random numbers; `record`: a line of JSON

mod adding;
pub mod arithmetic;
mod bits;
mod copying;
mod dates;
mod draws;
mod dyck;
mod gestures;
mod initials;
mod parity;
mod pictures;
mod reber;
mod record;
mod sines;
mod sorting;
mod vectors;

use std::collections::HashSet;

pub use draws::Draws;
pub use record::{Record, Value};

/// Draws without an example of the part, after which there are taken to be none.
const PATIENCE: u64 = 10_000;

/// A task with its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The sum of two marked numbers of so many.
    Adding {
        /// Steps.
        length: usize,
    },
    /// Ten symbols, kept over so many blanks.
    Copying {
        /// Blanks.
        blanks: usize,
    },
    /// Strings of the embedded Reber grammar.
    Reber {
        /// Symbols of a string at most.
        longest: usize,
    },
    /// Balanced brackets of two kinds.
    Dyck {
        /// Brackets at most.
        longest: usize,
        /// How deep they are nested at most.
        depth: usize,
    },
    /// Whether there is an odd number of ones.
    Parity {
        /// Bits at most.
        longest: usize,
    },
    /// Two waves, and how they go on.
    Sines {
        /// Steps that are given.
        length: usize,
    },
    /// Dates to ISO form.
    Dates,
    /// Digits in ascending order.
    Sorting {
        /// Digits at most.
        longest: usize,
    },
    /// The first letter of the word for every letter.
    Initials {
        /// Words at most.
        words: usize,
    },
    /// Vectors of bits, and the same again.
    Bits {
        /// Vectors at most.
        longest: usize,
    },
    /// Whether vectors have an odd number of ones.
    Vectors {
        /// Numbers of a vector.
        size: usize,
    },
    /// How a pen moves, and what it draws.
    Gestures,
    /// Shapes in a picture, and what is said of them.
    Pictures,
}

/// A part of a task's examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To train on: eight of ten.
    Train,
    /// To choose by: one of ten.
    Valid,
    /// To measure by in the end: one of ten.
    Test,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 3] = [Part::Train, Part::Valid, Part::Test];

    /// `train`, `valid` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Valid => "valid",
            Part::Test => "test",
        }
    }

    /// The part of a question.
    fn of(question: &str) -> Part {
        // FNV-1a, and its halves mixed, since few of its low bits depend on the last letters.
        let hash = question.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        match (hash ^ hash >> 32) % 10 {
            0 => Part::Valid,
            1 => Part::Test,
            _ => Part::Train,
        }
    }
}

impl Task {
    /// Example `number` of a seed.
    pub fn example(self, seed: u64, number: u64) -> Record {
        let draws = |stream: u32| Draws::new(seed, number, 0xDA7A_0000 + stream);
        match self {
            Task::Adding { length } => adding::example(&mut draws(1), length),
            Task::Copying { blanks } => copying::example(&mut draws(2), blanks),
            Task::Reber { longest } => reber::example(&mut draws(3), longest),
            Task::Dyck { longest, depth } => dyck::example(&mut draws(4), longest, depth),
            Task::Parity { longest } => parity::example(&mut draws(5), longest),
            Task::Sines { length } => sines::example(&mut draws(6), length),
            Task::Dates => dates::example(&mut draws(7)),
            Task::Sorting { longest } => sorting::example(&mut draws(8), longest),
            Task::Initials { words } => initials::example(&mut draws(9), words),
            Task::Bits { longest } => bits::example(&mut draws(10), longest),
            Task::Vectors { size } => vectors::example(&mut draws(11), size),
            Task::Gestures => gestures::example(&mut draws(12)),
            Task::Pictures => pictures::example(&mut draws(13)),
        }
    }

    /// The lines of a part; they end where there seem to be no more. Of Reber strings each comes once: a few short
    /// ones would be most of every part.
    pub fn examples(self, seed: u64, part: Part) -> impl Iterator<Item = String> {
        let mut number = 0;
        let mut seen = HashSet::new();
        std::iter::from_fn(move || {
            for _ in 0..PATIENCE {
                let record = self.example(seed, number);
                number += 1;
                let question = record.question();
                if Part::of(&question) == part
                    && (!matches!(self, Task::Reber { .. }) || seen.insert(question))
                {
                    return Some(record.line());
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const TASKS: [Task; 13] = [
        Task::Adding { length: 10 },
        Task::Copying { blanks: 3 },
        Task::Reber { longest: 60 },
        Task::Dyck { longest: 20, depth: 4 },
        Task::Parity { longest: 12 },
        Task::Sines { length: 12 },
        Task::Dates,
        Task::Sorting { longest: 8 },
        Task::Initials { words: 3 },
        Task::Bits { longest: 6 },
        Task::Vectors { size: 6 },
        Task::Gestures,
        Task::Pictures,
    ];

    #[test]
    fn parts_are_disjoint_and_repeatable() {
        for task in TASKS {
            let of = |seed, part| task.examples(seed, part).take(60).collect::<Vec<String>>();
            assert_eq!(of(1, Part::Train), of(1, Part::Train));
            assert_ne!(of(1, Part::Train), of(2, Part::Train));
            let [train, valid, test] = Part::ALL.map(|part| of(1, part).into_iter().collect::<BTreeSet<_>>());
            let others: BTreeSet<String> = of(7, Part::Train).into_iter().collect();
            assert!(
                train.is_disjoint(&valid) && train.is_disjoint(&test) && valid.is_disjoint(&test),
                "{task:?}"
            );
            assert!(others.is_disjoint(&test) && others.is_disjoint(&valid), "{task:?}");
        }
    }

    #[test]
    fn lines_are_json() {
        for task in TASKS {
            for line in task.examples(3, Part::Train).take(20) {
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                let fields = if task == Task::Pictures { 3 } else { 2 };
                assert_eq!(value.as_object().unwrap().len(), fields, "{line}");
            }
        }
    }

    #[test]
    fn a_part_that_is_empty_ends() {
        let found: Vec<usize> = Part::ALL
            .iter()
            .map(|&part| Task::Parity { longest: 1 }.examples(1, part).take(3).count())
            .collect();
        assert!(found.contains(&0) && found.contains(&3), "{found:?}");
    }
}
