//! Sine mixtures: the sum of two waves of unknown period, phase and height; the past is given, the future wanted.

use std::f64::consts::TAU;

use super::draws::Draws;
use super::record::{Record, Value};

const WAVES: usize = 2;
/// Steps of a period, and heights.
const PERIODS: (f64, f64) = (8.0, 40.0);
const HEIGHTS: (f64, f64) = (0.5, 1.0);

/// `past`: so many steps, `future`: a third of that many behind them.
pub(super) fn example(draws: &mut Draws, length: usize) -> Record {
    let waves: Vec<[f64; 3]> = (0..WAVES)
        .map(|_| {
            let (height, period) = (draws.real(HEIGHTS.0, HEIGHTS.1), draws.real(PERIODS.0, PERIODS.1));
            [height, TAU / period, draws.real(0.0, TAU)]
        })
        .collect();
    let value = |step: usize| {
        let sum: f64 =
            waves.iter().map(|[height, rate, phase]| height * (rate * step as f64 + phase).sin()).sum();
        (sum * 1e4).round() / 1e4
    };
    Record::new([
        ("past", Value::Numbers((0..length).map(value).collect())),
        ("future", Value::Numbers((length..length + length.div_ceil(3)).map(value).collect())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a sum of two waves every value follows from the four before: what is not random is the same for all steps.
    #[test]
    fn the_future_goes_on_as_the_past() {
        let record = example(&mut Draws::new(1, 0, 0), 60);
        let (Some(Value::Numbers(past)), Some(Value::Numbers(future))) =
            (record.get("past"), record.get("future"))
        else {
            panic!("{record:?}");
        };
        let all: Vec<f64> = past.iter().chain(future).copied().collect();
        assert_eq!((past.len(), future.len()), (60, 20));
        // x[t] + x[t-4] = a (x[t-1] + x[t-3]) + b x[t-2], solved on the past.
        let row = |t: usize| (all[t - 1] + all[t - 3], all[t - 2], all[t] + all[t - 4]);
        let (mut m, mut v) = ([[0.0; 2]; 2], [0.0; 2]);
        for (x, y, z) in (4..60).map(row) {
            m = [[m[0][0] + x * x, m[0][1] + x * y], [m[1][0] + x * y, m[1][1] + y * y]];
            v = [v[0] + x * z, v[1] + y * z];
        }
        let det = m[0][0] * m[1][1] - m[0][1] * m[1][0];
        let (a, b) = ((v[0] * m[1][1] - v[1] * m[0][1]) / det, (m[0][0] * v[1] - m[1][0] * v[0]) / det);
        for (x, y, z) in (60..80).map(row) {
            assert!((a * x + b * y - z).abs() < 1e-2, "{a} {b}");
        }
    }
}
