//! A loss curve as plain text, for the end of training.
//!
//! ```
//! use rnnc::runtime::curve::{Series, curve};
//! let training: Vec<(f64, f64)> = (1..=9).map(|epoch| (epoch as f64, 3.0 / epoch as f64)).collect();
//! let text = curve(&[Series { name: "training", mark: '*', points: &training }], "epoch", 30, 6);
//! assert!(text.starts_with(" 3.000 |*"));
//! ```
//!
//! ASCII only, so that it reads the same in a terminal, a log and a mail. It chooses no colours and
//! does not ask for the terminal's size.

/// One line of the chart.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// For the legend.
    pub name: &'a str,
    /// What its points are drawn with; the lines between them are dots.
    pub mark: char,
    /// `(x, y)` with x ascending; points that are not finite are left out.
    pub points: &'a [(f64, f64)],
}

/// Draws the series in a field of `width` by `height` characters, with labels around it: the largest
/// and smallest y at the left, the first and last x below, then the legend. Without a single finite
/// point the text is empty.
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
    // Row 0 is the top.
    let row = |y: f64| height - 1 - place(y, low, high, height);

    let mut field = vec![' '; width * height];
    for line in &lines {
        for pair in line.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let (first, last) = (column(x0), column(x1));
            for c in first..=last {
                let along = if last == first { 0.0 } else { (c - first) as f64 / (last - first) as f64 };
                field[row(y0 + along * (y1 - y0)) * width + c] = '.';
            }
        }
    }
    // Marks last: a point is never hidden by a line. The first series wins where two meet.
    for (line, series) in lines.iter().zip(series).rev() {
        for &(x, y) in line {
            field[row(y) * width + column(x)] = series.mark;
        }
    }
    let labels = [number(high), number(low)];
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (r, cells) in field.chunks(width).enumerate() {
        let label = if r == 0 {
            &labels[0]
        } else if r == height - 1 {
            &labels[1]
        } else {
            ""
        };
        let cells: String = cells.iter().collect();
        text += format!(" {label:>margin$} |{cells}").trim_end();
        text.push('\n');
    }
    let (first, last) = (number_short(left), number_short(right));
    let gap = width.saturating_sub(first.len() + last.len()).max(1);
    text += &format!(" {:margin$} +{}\n", "", "-".repeat(width));
    text += &format!(" {:margin$}  {first}{:gap$}{last}  {x_name}\n", "", "");
    let legend: Vec<String> = series.iter().map(|s| format!("{} {}", s.mark, s.name)).collect();
    text + &format!(" {:margin$}  {}\n", "", legend.join("   "))
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
        curve(&[Series { name: "training", mark: '*', points }], "epoch", 20, 4)
    }

    #[test]
    fn two_series() {
        let training = [(1.0, 3.0), (2.0, 2.0), (3.0, 1.5), (4.0, 1.0)];
        let held_out = [(1.0, 3.0), (2.0, 2.5), (3.0, 2.0), (4.0, 2.0)];
        let text = curve(
            &[
                Series { name: "training", mark: '*', points: &training },
                Series { name: "held out", mark: 'o', points: &held_out },
            ],
            "epoch",
            31,
            7,
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 10);
        assert!(lines[0].starts_with(" 3.000 |*"));
        assert!(lines[3].ends_with('o') && lines[6].ends_with('*') && lines[6].starts_with(" 1.000 |"));
        assert_eq!(lines[7], format!("       +{}", "-".repeat(31)));
        assert_eq!(lines[8], format!("        1{}4  epoch", " ".repeat(29)));
        assert_eq!(lines[9], "        * training   o held out");
        assert!(text.is_ascii());
    }

    #[test]
    fn degenerate_data() {
        assert_eq!(draw(&[]), "");
        assert_eq!(draw(&[(1.0, f64::NAN), (f64::INFINITY, 1.0)]), "");
        assert!(draw(&[(1.0, 2.0)]).contains(" 2.000 |*\n"));
        assert!(draw(&[(1.0, 2.0), (5.0, 2.0)]).contains("|*..................*\n"));
        assert!(draw(&[(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)]).starts_with(" 2.000 |*"));
        assert!(draw(&[(1.0, f64::MAX), (2.0, f64::MIN)]).starts_with("  1.80e308 |*"));
        assert!(
            !curve(&[Series { name: "a", mark: '*', points: &[(1.0, 1.0), (2.0, 2.0)] }], "x", 0, 0)
                .is_empty()
        );
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
