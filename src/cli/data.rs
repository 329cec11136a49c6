//! `data`: makes data for examples and tests.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::failure::Failure;
use super::output::print;
use crate::driver::tasks::{Part, Task, arithmetic::expression};
use crate::runtime::files;

/// Lines that are written at once.
const LINES: usize = 1000;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc data adding --count 10000 -o adding\n  rnnc data parity --count 5\n  rnnc data trees --count 5000 --seed 1 -o train.txt"
)]
pub(super) struct Data {
    #[command(subcommand)]
    what: What,
}

/// What all tasks take.
#[derive(Debug, Args)]
struct Made {
    /// How many to train on; of the other parts a tenth of that
    #[arg(long, value_name = "N", value_parser = super::count)]
    count: usize,
    /// Other seeds, other examples
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Only this part, N of it
    #[arg(long, value_enum)]
    part: Option<PartName>,
    /// STEM.train.jsonl, STEM.valid.jsonl and STEM.test.jsonl; with --part this very file [default: the part, or
    /// what one trains on, to standard output]
    #[arg(short, long, value_name = "STEM")]
    output: Option<PathBuf>,
}

/// A part of the examples: none of one part is in another, of whatever seed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PartName {
    /// To train on
    Train,
    /// To choose by
    Valid,
    /// To measure by in the end
    Test,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The adding problem: the sum of the two numbers that are marked
    #[command(after_help = "Example:\n  rnnc data adding --count 10000 --length 100 -o adding\n\n\
        `x` is [2] over t: numbers from 0 to 1, and their marks; `sum` is a number (examples/adding.rnn).\n\
        Guessing 1 has a mean squared error of 0.167.")]
    Adding {
        #[command(flatten)]
        made: Made,
        /// Steps
        #[arg(long, value_name = "N", default_value = "100", value_parser = at_least_two)]
        length: usize,
    },
    /// Copying: ten symbols, blanks, and the ten symbols again
    #[command(after_help = "Example:\n  rnnc data copying --count 10000 --blanks 50 -o copying\n\n\
        `given` and `wanted` are words, equally many (examples/copying.rnn).")]
    Copying {
        #[command(flatten)]
        made: Made,
        /// How long the symbols are to be kept
        #[arg(long, value_name = "N", default_value = "50", value_parser = super::count)]
        blanks: usize,
    },
    /// Strings of the embedded Reber grammar
    #[command(after_help = "Example:\n  rnnc data reber --count 3000 -o reber\n\n\
        `text` is the string; `allowed`, [7] over t, has a 1 for every symbol (B E P S T V X) that may stand at a\n\
        place (examples/reber.rnn).")]
    Reber {
        #[command(flatten)]
        made: Made,
        /// Symbols of the longest
        #[arg(long, value_name = "N", default_value = "60", value_parser = super::count)]
        longest: usize,
    },
    /// Dyck brackets of two kinds: which one is open behind each
    #[command(after_help = "Example:\n  rnnc data dyck --count 10000 --depth 8 -o dyck\n\n\
        `text` are the brackets, `top` is the innermost one that is open, or `.` (examples/dyck.rnn).")]
    Dyck {
        #[command(flatten)]
        made: Made,
        /// Brackets of the longest
        #[arg(long, value_name = "N", default_value = "64", value_parser = at_least_two)]
        longest: usize,
        /// How deep they are nested at most
        #[arg(long, value_name = "N", default_value = "8", value_parser = super::count)]
        depth: usize,
    },
    /// Parity: whether the number of ones is odd
    #[command(after_help = "Example:\n  rnnc data parity --count 10000 --longest 40 -o parity\n\n\
        `bits` are words, `odd` is 1 or 0 (examples/parity.rnn).")]
    Parity {
        #[command(flatten)]
        made: Made,
        /// Bits of the longest
        #[arg(long, value_name = "N", default_value = "40", value_parser = super::count)]
        longest: usize,
    },
    /// Sine mixtures: how two waves go on
    #[command(after_help = "Example:\n  rnnc data sines --count 10000 --length 60 -o sines\n\n\
        `past` are numbers over s, `future` a third as many over t (examples/sines.rnn).")]
    Sines {
        #[command(flatten)]
        made: Made,
        /// Steps that are given
        #[arg(long, value_name = "N", default_value = "60", value_parser = super::count)]
        length: usize,
    },
    /// Dates as people write them, to ISO form
    #[command(after_help = "Example:\n  rnnc data dates --count 10000 -o dates\n\n\
        `source` is a text such as `Saturday, 9 March 1974`, `target` is `1974-03-09`: read both by characters.")]
    Dates {
        #[command(flatten)]
        made: Made,
    },
    /// Sorting digits
    #[command(after_help = "Example:\n  rnnc data sorting --count 10000 --longest 10 -o sorting\n\n\
        `given` are digits, `sorted` the same in ascending order (examples/sorting.rnn).")]
    Sorting {
        #[command(flatten)]
        made: Made,
        /// Digits of the longest
        #[arg(long, value_name = "N", default_value = "10", value_parser = super::count)]
        longest: usize,
    },
    /// First letters: for every letter the first one of its word
    #[command(after_help = "Example:\n  rnnc data initials --count 5000 --words 6 -o initials\n\n\
        `text` are letters, with `_` between words, `first` is a tag for each (examples/initials.rnn).")]
    Initials {
        #[command(flatten)]
        made: Made,
        /// Words at most
        #[arg(long, value_name = "N", default_value = "6", value_parser = super::count)]
        words: usize,
    },
    /// Copying bits: vectors of them, and the same from memory
    #[command(after_help = "Example:\n  rnnc data bits --count 2000 --longest 8 -o bits\n\n\
        `x` is [6] over t: vectors of five bits, a mark in the sixth place, and blanks; `y` are blanks, and the vectors\n\
        where `x` has blanks (examples/ntm.rnn).")]
    Bits {
        #[command(flatten)]
        made: Made,
        /// Vectors of the longest
        #[arg(long, value_name = "N", default_value = "8", value_parser = super::count)]
        longest: usize,
    },
    /// The parity of vectors that are seen at once
    #[command(after_help = "Example:\n  rnnc data vectors --count 5000 --size 8 -o vectors\n\n\
        `x` are four vectors of 1, -1 and 0, `odd` is 1 where the number of ones is odd (examples/ponder.rnn).")]
    Vectors {
        #[command(flatten)]
        made: Made,
        /// Numbers of a vector
        #[arg(long, value_name = "N", default_value = "8", value_parser = super::count)]
        size: usize,
    },
    /// Gestures: how a pen moves, and what it draws
    #[command(after_help = "Example:\n  rnnc data gestures --count 4000 -o gestures\n\n\
        `x` is [2] over t: how far the pen moves right and up at each moment; `label` is one of eight names\n\
        (examples/batchnorm.rnn).")]
    Gestures {
        #[command(flatten)]
        made: Made,
    },
    /// Pictures of shapes, and what is said of them
    #[command(after_help = "Example:\n  rnnc data pictures --count 10000 -o pictures\n\n\
        `image` is [64], eight rows; `words` are a sentence such as `a bright bar above a faint cross`\n\
        (examples/caption.rnn); `label` is the bright shape (examples/classify.rnn).")]
    Pictures {
        #[command(flatten)]
        made: Made,
    },
    /// Arithmetic expressions as trees, every node labelled by its value modulo 10
    Trees(Trees),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc data trees --count 5000 --seed 1 -o train.txt\n  rnnc data trees --count 3 --seed 2 --operators 9\n\n\
                  A line is one tree, `(4 - (3 3) (9 9))`: an operator above its two operands, digits at the leaves, and\n\
                  before each its value modulo 10. It is what `rnnc train --trees` reads."
)]
struct Trees {
    /// How many
    #[arg(long, value_name = "N", value_parser = super::count)]
    count: usize,
    /// Other seeds, other trees
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Operators of the largest; each expression has from one to so many
    #[arg(long, value_name = "N", default_value = "5", value_parser = super::count)]
    operators: usize,
    /// Where they go [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Data {
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Adding { made, length } => made.run(Task::Adding { length }),
            What::Copying { made, blanks } => made.run(Task::Copying { blanks }),
            What::Reber { made, longest } => made.run(Task::Reber { longest }),
            What::Dyck { made, longest, depth } => made.run(Task::Dyck { longest, depth }),
            What::Parity { made, longest } => made.run(Task::Parity { longest }),
            What::Sines { made, length } => made.run(Task::Sines { length }),
            What::Dates { made } => made.run(Task::Dates),
            What::Sorting { made, longest } => made.run(Task::Sorting { longest }),
            What::Initials { made, words } => made.run(Task::Initials { words }),
            What::Bits { made, longest } => made.run(Task::Bits { longest }),
            What::Vectors { made, size } => made.run(Task::Vectors { size }),
            What::Gestures { made } => made.run(Task::Gestures),
            What::Pictures { made } => made.run(Task::Pictures),
            What::Trees(trees) => trees.run(),
        }
    }
}

impl Made {
    fn run(self, task: Task) -> Result<(), Failure> {
        let part = self.part.map(|part| match part {
            PartName::Train => Part::Train,
            PartName::Valid => Part::Valid,
            PartName::Test => Part::Test,
        });
        let Some(output) = &self.output else {
            let part = part.unwrap_or(Part::Train);
            return lines(self.enough(task, part, self.count)?, None);
        };
        if let Some(part) = part {
            return lines(self.enough(task, part, self.count)?, Some(output));
        }
        // All are made before the first is written.
        let mut made = Vec::new();
        for part in Part::ALL {
            let count = if part == Part::Train { self.count } else { self.count.div_ceil(10) };
            let mut path = output.clone().into_os_string();
            path.push(format!(".{}.jsonl", part.name()));
            made.push((PathBuf::from(path), self.enough(task, part, count)?));
        }
        for (path, _) in &made {
            files::check_replaceable(path).map_err(Failure::of)?;
        }
        made.into_iter().try_for_each(|(path, own)| lines(own, Some(&path)))
    }

    /// So many lines of a part, or an error: there are none of some parts of the smallest tasks.
    fn enough(&self, task: Task, part: Part, count: usize) -> Result<Vec<String>, Failure> {
        let found: Vec<String> = task.examples(self.seed, part).take(count).collect();
        match found.len() == count {
            true => Ok(found),
            false => Err(Failure::of(format!(
                "examples of this size are so few that none of them is in the part `{}`: make them larger",
                part.name()
            ))),
        }
    }
}

/// Writes lines to a file, or prints them.
fn lines(lines: Vec<String>, path: Option<&Path>) -> Result<(), Failure> {
    let mut parts = lines.chunks(LINES).map(|part| part.join("\n") + "\n");
    let Some(path) = path else { return parts.try_for_each(|part| print(&part)) };
    files::replace(path, |out| parts.try_for_each(|part| out.write_all(part.as_bytes())))
        .map_err(Failure::of)?;
    print(&format!("wrote {} ({} examples)\n", path.display(), lines.len()))
}

/// A length that has two halves.
fn at_least_two(text: &str) -> Result<usize, String> {
    super::count(text).and_then(|count| match count {
        1 => Err("it is 2 at least".to_string()),
        count => Ok(count),
    })
}

impl Trees {
    fn run(self) -> Result<(), Failure> {
        let count = self.count as u64;
        let size = LINES as u64;
        let parts = (0..count.div_ceil(size)).map(|part| {
            let numbers = part * size..((part + 1) * size).min(count);
            numbers.map(|number| expression(self.seed, number, self.operators) + "\n").collect::<String>()
        });
        let Some(path) = &self.output else {
            return parts.into_iter().try_for_each(|part| print(&part));
        };
        let mut parts = parts;
        files::replace(path, |out| parts.try_for_each(|part| out.write_all(part.as_bytes())))
            .map_err(Failure::of)?;
        print(&format!("wrote {} ({count} trees)\n", path.display()))
    }
}
