//! Curves in block characters, for the end of training and for charts in a session.
//!
//! ```
//! use rnnc::runtime::curve::{Series, curve};
//! let training: Vec<(f64, f64)> = (1..=9).map(|epoch| (epoch as f64, 3.0 / epoch as f64)).collect();
//! let text = curve(&[Series { name: "training", points: &training }], "epoch", 30, 6);
//! assert!(text.starts_with(" 3.000 │▀"));
//! ```
//!
//! The first curve is drawn in half blocks, twice as fine as the lines of a text; the others in shades that
//! can be told apart where they cross it. It chooses no colours and does not ask for the terminal's
//! size, so that a terminal, a log and a mail show the same.

/// One line of the chart.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// For the legend.
    pub name: &'a str,
    /// `(x, y)` with x ascending; points that are not finite are left out.
    pub points: &'a [(f64, f64)],
}

/// What curves are drawn with; the first also as the upper and the lower half of a cell.
const MARKS: [char; 9] = ['█', '░', '▒', '▓', 'o', '+', 'x', '#', '@'];
/// Heights of a line of bars.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws the series in a field of `width` by `height` characters, with labels around it: the largest
/// and smallest y at the left, the first and last x below, then the legend. Without a single finite
/// point the text is empty. Where curves meet the first is seen.
pub fn curve(series: &[Series], x_name: &str, width: usize, height: usize) -> String {
    let (width, height) = (width.max(2), height.max(2));
    let lines: Vec<Vec<(f64, f64)>> = series.iter().map(|s| finite(s.points)).collect();
    let all: Vec<(f64, f64)> = lines.iter().flatten().copied().collect();
    let Some((left, right)) = range(all.iter().map(|p| p.0)) else {
        return String::new();
    };
    let Some((low, high)) = range(all.iter().map(|p| p.1)) else {
        return String::new();
    };
    let column = |x: f64| place(x, left, right, width);
    // In half lines from the top.
    let row = |y: f64| 2 * height - 1 - place(y, low, high, 2 * height);
    let mut field: Vec<Option<usize>> = vec![None; width * 2 * height];
    for (number, line) in lines.iter().enumerate().rev() {
        let mut put = |row: usize, column: usize| field[row * width + column] = Some(number);
        for pair in line.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let (first, last) = (column(x0), column(x1));
            let mut before = row(y0);
            for c in first..=last {
                let along = if last == first { 1.0 } else { (c - first) as f64 / (last - first) as f64 };
                let here = row(y0 * (1.0 - along) + y1 * along);
                // What is steep has no gaps.
                let from = match before.cmp(&here) {
                    std::cmp::Ordering::Less => before + 1,
                    std::cmp::Ordering::Equal => here,
                    std::cmp::Ordering::Greater => before - 1,
                };
                (from.min(here)..=from.max(here)).for_each(|row| put(row, c));
                before = here;
            }
        }
        if let [(x, y)] = line[..] {
            put(row(y), column(x));
        }
    }
    let cell = |line: usize, column: usize| {
        let half = |row: usize| field[row * width + column];
        match (half(2 * line), half(2 * line + 1)) {
            (None, None) => ' ',
            (Some(0), Some(0)) => '█',
            (Some(0), _) => '▀',
            (_, Some(0)) => '▄',
            (Some(other), _) | (None, Some(other)) => mark(other),
        }
    };
    let labels = [number(high), number(low)];
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for line in 0..height {
        let label = match line {
            0 => labels[0].as_str(),
            line if line == height - 1 => labels[1].as_str(),
            _ => "",
        };
        let cells: String = (0..width).map(|column| cell(line, column)).collect();
        text += format!(" {label:>margin$} │{cells}").trim_end();
        text.push('\n');
    }
    let (first, last) = (number_short(left), number_short(right));
    let gap = width.saturating_sub(first.len() + last.len()).max(1);
    text += &format!(" {:margin$} └{}\n", "", "─".repeat(width));
    text += &format!(" {:margin$}  {first}{:gap$}{last}  {x_name}\n", "", "");
    let legend: Vec<String> = series
        .iter()
        .enumerate()
        .map(|(number, series)| format!("{} {}", mark(number), series.name))
        .collect();
    text + &format!(" {:margin$}  {}\n", "", legend.join("   "))
}

/// Numbers as a line of bars between 0 and the largest, at most `width` of them: of more, means of neighbours.
/// Empty if none is finite.
pub fn bars(numbers: &[f64], width: usize) -> String {
    let width = width.min(numbers.len());
    let mean = |column: usize| {
        let part = &numbers[column * numbers.len() / width..(column + 1) * numbers.len() / width];
        part.iter().sum::<f64>() / part.len() as f64
    };
    let means: Vec<f64> = (0..width).map(mean).collect();
    let Some((_, high)) = range(means.iter().copied().filter(|mean| mean.is_finite())) else {
        return String::new();
    };
    let bar = |&mean: &f64| match mean.is_finite() {
        true => BARS[place(mean.max(0.0), 0.0, high.max(0.0), BARS.len())],
        false => '?',
    };
    means.iter().map(bar).collect()
}

fn mark(series: usize) -> char {
    MARKS[series % MARKS.len()]
}

fn finite(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// The cell of `value` among `cells` between `low` and `high`; the first where they are equal.
fn place(value: f64, low: f64, high: f64, cells: usize) -> usize {
    // Halved, because the difference of two finite numbers need not be finite.
    let part = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
    let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
    (part * (cells - 1) as f64).round() as usize
}

fn number(y: f64) -> String {
    if y != 0.0 && !(1e-3..1e6).contains(&y.abs()) { format!("{y:.2e}") } else { format!("{y:.3}") }
}

fn number_short(x: f64) -> String {
    if x.fract() == 0.0 && x.abs() < 1e12 { format!("{x}") } else { number(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(points: &[(f64, f64)]) -> String {
        curve(&[Series { name: "training", points }], "epoch", 20, 4)
    }

    #[test]
    fn two_series() {
        let training = [(1.0, 3.0), (2.0, 2.0), (3.0, 1.5), (4.0, 1.0)];
        let held_out = [(1.0, 3.0), (2.0, 2.5), (3.0, 2.0), (4.0, 2.0)];
        let series =
            [Series { name: "training", points: &training }, Series { name: "held out", points: &held_out }];
        let text = curve(&series, "epoch", 31, 7);
        let expected = "
 3.000 │▀▄▄░░
       │   ▀▄▄░░░░░
       │      ▀▄▄  ░░░░░░
       │         ▀▀▄▄▄   ░░░░░░░░░░░░░░
       │              ▀▀▀▄▄▄
       │                    ▀▀▀▄▄▄
 1.000 │                          ▀▀▀▄▄
       └───────────────────────────────
        1                             4  epoch
        █ training   ░ held out
";
        assert_eq!(text, expected.trim_start_matches('\n'), "{text}");
    }

    #[test]
    fn what_is_steep_has_no_gaps() {
        let text = draw(&[(0.0, 0.0), (1.0, 0.0), (2.0, 9.0), (3.0, 9.0)]);
        let columns: std::collections::BTreeSet<usize> = text
            .lines()
            .take(4)
            .flat_map(|line| line.chars().skip(8).enumerate().filter(|(_, c)| *c != ' ').map(|(at, _)| at))
            .collect();
        assert_eq!(columns.len(), 20, "{text}");
        assert!(text.lines().take(4).all(|line| line.chars().count() > 8), "{text}");
    }

    #[test]
    fn degenerate_data() {
        assert_eq!(draw(&[]), "");
        assert_eq!(draw(&[(1.0, f64::NAN), (f64::INFINITY, 1.0)]), "");
        assert!(draw(&[(1.0, 2.0)]).contains(" 2.000 │▄\n"));
        assert!(draw(&[(1.0, 2.0), (5.0, 2.0)]).contains("│▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄\n"));
        assert!(draw(&[(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)]).starts_with(" 2.000 │▀"));
        assert!(draw(&[(1.0, f64::MAX), (2.0, f64::MIN)]).starts_with("  1.80e308 │▀"));
        assert!(!curve(&[Series { name: "a", points: &[(1.0, 1.0), (2.0, 2.0)] }], "x", 0, 0).is_empty());
    }

    #[test]
    fn a_line_of_bars() {
        assert_eq!(bars(&[0.0, 1.0, 2.0, 4.0], 60), "▁▃▅█");
        assert_eq!(bars(&[1.0, 3.0, 4.0, 4.0], 2), "▅█");
        assert_eq!(bars(&[], 60), "");
        assert_eq!(bars(&[0.0, 0.0], 60), "▁▁");
        assert_eq!(bars(&[f64::NAN, 1.0], 60), "?█");
    }

    #[test]
    fn numbers() {
        assert_eq!(
            (number(1.23456), number(0.0), number(1e-5), number(1e7)),
            ("1.235".into(), "0.000".into(), "1.00e-5".into(), "1.00e7".into())
        );
        assert_eq!((number_short(12.0), number_short(1.5)), ("12".into(), "1.500".into()));
    }
}
