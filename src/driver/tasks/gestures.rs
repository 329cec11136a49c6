//! Gestures: how a pen moves from moment to moment, and what it draws. Every one has a size, a slant and a speed of its
//! own, and the hand trembles.

use std::f64::consts::TAU;

use super::draws::Draws;
use super::record::{Record, Value};

/// Moments of a gesture.
const STEPS: (usize, usize) = (16, 40);
/// Sizes, slants either way, and how far the hand is off, in the size of the gesture.
const SIZES: (f64, f64) = (0.5, 2.0);
const SLANT: f64 = 0.4;
const TREMBLE: f64 = 0.02;

/// Where the pen is at a part of the whole.
type Path = fn(f64) -> [f64; 2];

/// Names and paths.
const KINDS: [(&str, Path); 8] = [
    ("circle", |part| [(TAU * part).cos(), (TAU * part).sin()]),
    ("clockwise", |part| [(TAU * part).cos(), -(TAU * part).sin()]),
    ("eight", |part| [(TAU * part).sin(), 0.5 * (2.0 * TAU * part).sin()]),
    ("spiral", |part| [part * (2.0 * TAU * part).cos(), part * (2.0 * TAU * part).sin()]),
    ("square", |part| along(&[[0.0, 0.0], [1.5, 0.0], [1.5, 1.5], [0.0, 1.5], [0.0, 0.0]], part)),
    ("triangle", |part| along(&[[0.0, 0.0], [1.8, 0.0], [0.9, 1.6], [0.0, 0.0]], part)),
    ("zigzag", |part| along(&[[0.0, 0.0], [0.5, 1.0], [1.0, 0.0], [1.5, 1.0], [2.0, 0.0]], part)),
    ("swipe", |part| [2.0 * part, 0.0]),
];

/// `x`: the pen's way at each moment, right and up; `label`: what it draws.
pub(super) fn example(draws: &mut Draws) -> Record {
    let (name, path) = KINDS[draws.below(KINDS.len())];
    let steps = draws.between(STEPS.0, STEPS.1);
    let (size, slant) = (draws.real(SIZES.0, SIZES.1), draws.real(-SLANT, SLANT));
    let mut place = |step: usize| {
        let [x, y] = path(step as f64 / steps as f64).map(|at| at + draws.real(-TREMBLE, TREMBLE));
        [size * (x * slant.cos() - y * slant.sin()), size * (x * slant.sin() + y * slant.cos())]
    };
    let places: Vec<[f64; 2]> = (0..=steps).map(&mut place).collect();
    let way = |pair: &[[f64; 2]]| {
        let way = |side: usize| ((pair[1][side] - pair[0][side]) * 1e4).round() / 1e4;
        vec![way(0), way(1)]
    };
    let ways = places.windows(2).map(way).collect();
    Record::new([("x", Value::Rows(ways)), ("label", Value::Text(name.to_string()))])
}

/// Where a part of the way along straight lines leads; each line is as long in time as any other.
fn along(corners: &[[f64; 2]], part: f64) -> [f64; 2] {
    let lines = corners.len() - 1;
    let line = ((part * lines as f64) as usize).min(lines - 1);
    let inside = part * lines as f64 - line as f64;
    [0, 1].map(|side| corners[line][side] + inside * (corners[line + 1][side] - corners[line][side]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_ones_come_back_and_turn_as_they_should() {
        for number in 0..200 {
            let record = example(&mut Draws::new(1, number, 0));
            let Some(Value::Rows(ways)) = record.get("x") else { panic!("{record:?}") };
            assert!((STEPS.0..=STEPS.1).contains(&ways.len()));
            let (mut end, mut area) = ([0.0, 0.0], 0.0);
            for way in ways {
                // Twice the area to the left of the way so far.
                area += end[0] * way[1] - end[1] * way[0];
                end = [end[0] + way[0], end[1] + way[1]];
            }
            let far = end[0].hypot(end[1]);
            let expected = match record.text("label") {
                "circle" => far < 0.2 && area > 1.0,
                "clockwise" => far < 0.2 && area < -1.0,
                "square" | "triangle" => far < 0.2 && area > 0.3,
                "eight" => far < 0.2 && area.abs() < 0.5,
                "zigzag" | "swipe" => far > 0.9,
                label => label == "spiral" && far > 0.4,
            };
            assert!(expected, "{} {end:?} {area}", record.text("label"));
        }
    }
}
