//! Numbers over two axes as a map of shades, in characters.
//!
//! ```
//! use rnnc::runtime::shades::{Side, shaded};
//! let side = |name: &str, labels: &[&str]| Side {
//!     name: name.into(), count: 2, labels: labels.iter().map(|own| own.to_string()).collect(),
//! };
//! let map = shaded("a", &side("t", &["x", "y"]), &side("s", &["u", "v"]), &[0.0, 1.0, 0.5, 0.0], "");
//! assert!(map.starts_with("a\n   u v \nx |  ██|\ny |▒▒  |\n"));
//! ```
//!
//! Positions are numbers, or tokens where there are such. It chooses no colours and does not ask for the terminal's
//! size.

/// From the smallest to the largest.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
/// Cells of a row and rows that fit on a screen.
const COLUMNS: usize = 76;
const ROWS: usize = 40;

/// One of the two axes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// What it is along.
    pub name: String,
    /// Positions.
    pub count: usize,
    /// What stands at each position, if that is known.
    pub labels: Vec<String>,
}

impl Side {
    /// What is written beside its positions.
    fn label(&self, at: usize) -> String {
        match self.labels.get(at) {
            Some(label) => label.chars().map(|c| if c.is_control() { '·' } else { c }).collect(),
            None => format!("{} = {at}", self.name),
        }
    }
}

/// The map below its title in block characters, two to a cell where there is room; where not all of it fits,
/// `more` says where the rest is.
pub fn shaded(title: &str, rows: &Side, columns: &Side, numbers: &[f64], more: &str) -> String {
    let finite: Vec<f64> = numbers.iter().copied().filter(|number| number.is_finite()).collect();
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shade = |number: f64| match number {
        _ if !number.is_finite() => '?',
        _ if high > low => {
            let part = (number - low) / (high - low);
            SHADES[((part * SHADES.len() as f64) as usize).min(SHADES.len() - 1)]
        }
        _ => SHADES[2],
    };
    let wide = if columns.count * 2 <= COLUMNS { 2 } else { 1 };
    let (shown, lines) = (columns.count.min(COLUMNS), rows.count.min(ROWS));
    let labels: Vec<String> = (0..lines).map(|row| rows.label(row)).collect();
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let margin = longest.max(format!("{} = {}", rows.name, rows.count.saturating_sub(1)).len());
    let margin = if rows.labels.is_empty() { margin } else { longest };
    let mut text = format!("{title}\n");
    if !columns.labels.is_empty() {
        text += &header(columns, shown, wide, margin);
    }
    for (row, label) in labels.iter().enumerate() {
        let cells = &numbers[row * columns.count..row * columns.count + shown];
        let line: String =
            cells.iter().flat_map(|&number| std::iter::repeat_n(shade(number), wide)).collect();
        text += &format!("{label:>margin$} |{line}|\n");
    }
    if columns.labels.is_empty() {
        let last = columns.count.saturating_sub(1).to_string();
        let gap = (shown * wide).saturating_sub(1 + last.len()).max(1);
        text += &format!("{:>margin$}  0{:gap$}{last}\n", format!("{} =", columns.name), "");
    }
    let scale: Vec<String> = SHADES
        .iter()
        .enumerate()
        .map(|(at, shade)| {
            let from = low + (high - low) * at as f64 / SHADES.len() as f64;
            format!("'{shade}' from {}", figure(from))
        })
        .collect();
    if high > low {
        text += &format!("{}\n", scale.join(", "));
    }
    if rows.count > lines || columns.count > shown {
        text += &format!("({lines} x {shown} of {} x {} cells{more})\n", rows.count, columns.count);
    }
    text
}

/// The labels of the columns from top to bottom, above each its own.
fn header(columns: &Side, shown: usize, wide: usize, margin: usize) -> String {
    let labels: Vec<Vec<char>> = (0..shown).map(|at| columns.label(at).chars().collect()).collect();
    let height = labels.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for line in 0..height {
        let letter = |label: &Vec<char>| match (line + label.len()).checked_sub(height) {
            Some(at) => label.get(at).copied().unwrap_or(' '),
            None => ' ',
        };
        let letters: String = labels.iter().map(|label| format!("{:<wide$}", letter(label))).collect();
        text += &format!("{:margin$}  {letters}\n", "");
    }
    text
}

/// A number with four significant digits.
pub fn figure(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    if value == value.trunc() && value.abs() < 1e6 {
        return format!("{}", value + 0.0);
    }
    if !(1e-3..1e6).contains(&value.abs()) {
        return format!("{value:.3e}");
    }
    let places = 4usize.saturating_sub(value.abs().log10().floor().max(0.0) as usize);
    let text = format!("{value:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_above_their_columns() {
        let side = |name: &str, labels: &[&str]| Side {
            name: name.to_string(),
            count: labels.len(),
            labels: labels.iter().map(|label| (*label).to_string()).collect(),
        };
        let map =
            shaded("w", &side("t", &["a", "\n"]), &side("s", &["the", "ox"]), &[0.0, 1.0, 1.0, 0.0], "");
        assert_eq!(
            map.lines().take(6).collect::<Vec<_>>(),
            ["w", "   t   ", "   h o ", "   e x ", "a |  ██|", "· |██  |"]
        );
    }
}
