//! Damaged programs: whatever is done to a text, it is parsed and laid out, or refused with a place.
//!
//! The examples and the library are cut, doubled, and strewn with symbols by a fixed sequence of
//! random numbers. Nothing here says which damage is an error.

use super::format::tests::{formatted, without_spans};
use super::{expression, format, parse, parse_expression};
use crate::base::{Severity, render};
use crate::library::FILES;

/// Damaged versions of each text.
const VERSIONS: usize = 400;

/// The examples by name, and the library.
pub(super) fn programs() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let examples = files.filter(|path| path.extension().is_some_and(|extension| extension == "rnn"));
    let name = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().to_string();
    let mut programs: Vec<_> =
        examples.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect();
    programs.extend(FILES.iter().map(|(name, text)| (name.to_string(), text.to_string())));
    programs.sort();
    programs
}

/// A linear congruential generator, for the same damage in every run (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

/// What is strewn in.
const SYMBOLS: [&str; 44] = [
    "(", ")", "[", "]", "{", "}", "=", "==", "~", ":", ",", ".", "+", "-", "*", "@", "^", "<", "#", "\"",
    "\n", " ", "\r\n", "\t", "over ", "param ", "cell ", "model X", "fn f(", "train {", "1e", "2.5", ".T",
    "é", "\u{feff}", "\0", ":=", "along ", "t-1", "input ", "\r", "§", "# c\n", ",\n",
];

fn damage(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let length = [1, 1, 2, 10, 100][random.below(5)].min(bytes.len() - at);
        match random.below(4) {
            0 => drop(bytes.drain(at..at + length)),
            1 => {
                let part = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, part);
            }
            2 => bytes.truncate(bytes.len() - length.min(bytes.len() / 2)),
            _ => drop(bytes.splice(at..at, SYMBOLS[random.below(SYMBOLS.len())].bytes())),
        }
    }
    String::from_utf8_lossy(&bytes).to_string()
}

#[test]
fn damaged_programs_are_read_or_refused_with_a_place() {
    let mut random = Random(7);
    let (mut read, mut refused) = (0, 0);
    for (name, text) in programs() {
        for _ in 0..VERSIONS {
            let damaged = damage(&text, &mut random);
            let Err(errors) = parse(&damaged) else {
                formatted(&damaged);
                read += 1;
                continue;
            };
            refused += 1;
            assert!(!errors.is_empty(), "{name} is refused without a word:\n{damaged}");
            for error in &errors {
                let (start, end) = (error.span.start as usize, error.span.end as usize);
                assert!(damaged.get(start..end).is_some(), "{name}: {error:?} is outside of\n{damaged}");
                assert_eq!(error.severity, Severity::Error);
                assert!(error.rule != "internal", "{error:?}\n{damaged}");
                assert!(!error.message.contains('_') || error.message.contains('`'), "{}", error.message);
            }
            assert!(render(&errors, &name, &damaged, false).contains(errors[0].rule));
        }
    }
    assert!(read > 500 && refused > 2_000, "the damage tells nothing: {read} read, {refused} refused");
}

#[test]
fn programs_are_fixed_points_of_the_formatter() {
    for (name, text) in programs() {
        match format(&text) {
            Ok(formatted) => assert_eq!(formatted, text, "{name}"),
            Err(errors) => panic!("{}", render(&errors, &name, &text, false)),
        }
    }
}

/// Random expressions, as trees would have them: printing and parsing gives the tree back.
#[test]
fn printed_expressions_read_as_the_same_tree() {
    let mut random = Random(11);
    for _ in 0..2_000 {
        let text = random_expression(&mut random, 6);
        let tree = parse_expression(&text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
        let printed = expression(&tree);
        let again = parse_expression(&printed).unwrap_or_else(|errors| panic!("{printed}: {errors:?}"));
        assert_eq!(without_spans(&again), without_spans(&tree), "{text}\n{printed}");
        assert!(printed.len() <= text.len(), "{printed}");
    }
}

fn random_expression(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return ["a", "t", "1", "0.5", "1e-7"][random.below(5)].to_string();
    }
    let operators = [" + ", " - ", " * ", " / ", " @ ", "^", " == ", " < "];
    let operator = operators[random.below(operators.len())];
    let mut part = || random_expression(random, depth - 1);
    let (first, second) = (part(), part());
    match random.below(9) {
        0 => format!("(-({first}))"),
        1 => format!("({first}).T"),
        2 => format!("({first})[{second}, t-1, :({first})]"),
        3 => format!("({first})({second}, h = {first}, {second} over t, s)"),
        4 => format!("[{first}, {second}]"),
        _ => format!("(({first}){operator}({second}))"),
    }
}
