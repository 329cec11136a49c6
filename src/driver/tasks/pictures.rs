//! Pictures and what is said of them: one or two shapes on a grid, in a sentence, and the name of the bright one.
//!
//! ```text
//! . . . . . . . .
//! # # # . o . o .     a bright square left of a faint cross     square
//! # . # . . o . .
//! # # # . o . o .
//! ```

use super::draws::Draws;
use super::record::{Record, Value};

/// Rows and columns.
const SIDE: usize = 8;
/// Rows and columns of a shape.
const SIZE: usize = 3;
/// Brightness of the one shape and of the other, and of what is nothing at most.
const BRIGHT: (f64, f64) = (0.8, 1.0);
const FAINT: (f64, f64) = (0.3, 0.5);
const NOISE: f64 = 0.1;

/// Names and points, row by row.
const SHAPES: [(&str, &str); 5] = [
    ("square", "###/#.#/###"),
    ("cross", "#.#/.#./#.#"),
    ("plus", ".#./###/.#."),
    ("bar", ".#./.#./.#."),
    ("dash", ".../###/..."),
];

/// `image`: 64 numbers, row by row; `words`: what is to be seen; `label`: the bright shape.
pub(super) fn example(draws: &mut Draws) -> Record {
    let mut image: Vec<f64> = (0..SIDE * SIDE).map(|_| draws.real(0.0, NOISE)).collect();
    let (bright, faint) = (draws.below(SHAPES.len()), draws.below(SHAPES.len()));
    let most = SIDE - SIZE;
    let words = if draws.below(4) == 0 {
        let place = (draws.between(0, most), draws.between(0, most));
        paint(&mut image, bright, place, draws.real(BRIGHT.0, BRIGHT.1));
        format!("a bright {}", SHAPES[bright].0)
    } else {
        // One is behind the other along one side, and about beside it along the other.
        let near = draws.between(0, most - SIZE);
        let far = draws.between(near + SIZE, most);
        let beside = draws.between(0, most);
        let moved = (beside + draws.below(3)).saturating_sub(1).min(most);
        let upright = draws.below(2) == 1;
        let place = |along: usize, across: usize| if upright { (along, across) } else { (across, along) };
        let places = [place(near, beside), place(far, moved)];
        // The sentence speaks of the bright one first.
        let from_the_far = draws.below(2) == 1;
        let (here, there) = if from_the_far { (places[1], places[0]) } else { (places[0], places[1]) };
        paint(&mut image, bright, here, draws.real(BRIGHT.0, BRIGHT.1));
        paint(&mut image, faint, there, draws.real(FAINT.0, FAINT.1));
        let relation = match (upright, from_the_far) {
            (true, false) => "above",
            (true, true) => "below",
            (false, false) => "left of",
            (false, true) => "right of",
        };
        format!("a bright {} {relation} a faint {}", SHAPES[bright].0, SHAPES[faint].0)
    };
    image.iter_mut().for_each(|point| *point = (*point * 100.0).round() / 100.0);
    let label = SHAPES[bright].0.to_string();
    Record::new([
        ("image", Value::Numbers(image)),
        ("words", Value::Text(words)),
        ("label", Value::Text(label)),
    ])
}

/// Draws a shape with its first corner at a row and a column.
fn paint(image: &mut [f64], shape: usize, (row, column): (usize, usize), light: f64) {
    for (down, points) in SHAPES[shape].1.split('/').enumerate() {
        for (right, _) in points.match_indices('#') {
            image[(row + down) * SIDE + column + right] = light;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows and columns of what is brighter than one number and not brighter than another, in the mean.
    fn middle(image: &[f64], low: f64, high: f64) -> Option<(f64, f64)> {
        let points = (0..SIDE * SIDE).filter(|&at| image[at] > low && image[at] <= high);
        let points: Vec<(f64, f64)> = points.map(|at| ((at / SIDE) as f64, (at % SIDE) as f64)).collect();
        let count = points.len() as f64;
        let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (count > 0.0).then(|| (sum.0 / count, sum.1 / count))
    }

    #[test]
    fn what_is_said_is_to_be_seen() {
        let mut alone = 0;
        for number in 0..300 {
            let record = example(&mut Draws::new(1, number, 0));
            let Some(Value::Numbers(image)) = record.get("image") else { panic!("{record:?}") };
            let (bright, faint) = (middle(image, 0.6, 1.0).unwrap(), middle(image, 0.2, 0.6));
            let text = record.text("words");
            assert!(text.contains(&format!("bright {}", record.text("label"))), "{text}");
            let Some(faint) = faint else {
                alone += 1;
                assert_eq!(text.split(' ').count(), 3, "{text}");
                continue;
            };
            let right = match text {
                text if text.contains(" above ") => bright.0 < faint.0,
                text if text.contains(" below ") => bright.0 > faint.0,
                text if text.contains(" left of ") => bright.1 < faint.1,
                text => text.contains(" right of ") && bright.1 > faint.1,
            };
            assert!(right, "{text}: {bright:?} {faint:?}");
        }
        assert!((40..120).contains(&alone), "{alone}");
    }
}
