//! `:heat`: a value over two axes, a matrix, or vectors along an axis, as a map.

use super::clauses::clauses;
use super::datum::Datum;
use super::{Done, Failure, Session, stages::write_svg, words};
use crate::driver::pictures;

/// From the smallest to the largest.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
/// Cells of a row and rows that fit on a screen.
const COLUMNS: usize = 76;
const ROWS: usize = 40;

/// A field of numbers with what its sides are.
struct Field {
    rows: (String, usize),
    columns: (String, usize),
    numbers: Vec<f64>,
}

impl Session {
    /// `:heat EXPRESSION [svg FILE]`
    pub(super) fn heat(&mut self, rest: &str) -> Done {
        let parts = clauses(rest, &["svg"])?;
        let svg = parts.file("svg")?;
        if parts.head.is_empty() {
            return Err(Failure::new("`:heat` takes a value over two axes, as in `:heat M.a`"));
        }
        let field = field(self.value_of(&parts.head)?)?;
        let mut text = shaded(&parts.head, &field);
        if let Some(path) = svg {
            let Field { rows, columns, numbers } = &field;
            let picture = pictures::heat(&parts.head, (&rows.0, rows.1), (&columns.0, columns.1), numbers)?;
            text += &write_svg(&path, &picture)?;
        }
        Ok(text)
    }
}

/// A value with two sides, whichever they are.
fn field(datum: Datum) -> Result<Field, Failure> {
    let mut sides: Vec<(String, usize)> =
        datum.along.iter().map(|(axis, extent)| (axis.clone(), extent.count())).collect();
    let names: &[&str] =
        if datum.along.is_empty() && datum.shape.len() == 2 { &["row", "column"] } else { &["element"] };
    let elements =
        datum.shape.iter().zip(names.iter().cycle()).map(|(&size, name)| ((*name).to_string(), size));
    sides.extend(elements.filter(|(_, size)| *size > 1));
    let numbers = datum.numbers();
    let lines = datum.along.len() == 1 && sides.len() == 2;
    match &sides[..] {
        // Of vectors along an axis the elements are the rows, so that time runs to the right.
        [axis, elements] if lines => {
            let (count, size) = (axis.1, elements.1);
            let turned = (0..size).flat_map(|element| (0..count).map(move |at| (at, element)));
            let numbers =
                turned.map(|(at, element)| numbers.get(at * size + element).copied().unwrap_or(0.0));
            Ok(Field {
                rows: ("element".to_string(), size),
                columns: axis.clone(),
                numbers: numbers.collect(),
            })
        }
        [rows, columns] => Ok(Field { rows: rows.clone(), columns: columns.clone(), numbers }),
        [only] => Ok(Field { rows: ("value".to_string(), 1), columns: only.clone(), numbers }),
        _ => Err(Failure::new(format!(
            "a map has two sides: axes or dimensions; this is {}",
            words::type_of(&datum)
        ))),
    }
}

/// The map in block characters, two to a cell where there is room.
fn shaded(title: &str, field: &Field) -> String {
    let Field { rows, columns, numbers } = field;
    let finite: Vec<f64> = numbers.iter().copied().filter(|number| number.is_finite()).collect();
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if numbers.is_empty() {
        return format!("{title} has no position\n");
    }
    let shade = |number: f64| match number {
        _ if !number.is_finite() => '?',
        _ if high > low => {
            let part = (number - low) / (high - low);
            SHADES[((part * SHADES.len() as f64) as usize).min(SHADES.len() - 1)]
        }
        _ => SHADES[2],
    };
    let wide = if columns.1 * 2 <= COLUMNS { 2 } else { 1 };
    let shown = columns.1.min(COLUMNS);
    let margin = format!("{} = {}", rows.0, rows.1.saturating_sub(1)).len();
    let mut text = format!("{title}: {}\n", words::figures(numbers));
    for row in 0..rows.1.min(ROWS) {
        let cells = &numbers[row * columns.1..row * columns.1 + shown];
        let line: String =
            cells.iter().flat_map(|&number| std::iter::repeat_n(shade(number), wide)).collect();
        text += &format!("{:>margin$} |{line}|\n", format!("{} = {row}", rows.0));
    }
    let last = columns.1.saturating_sub(1).to_string();
    let gap = (shown * wide).saturating_sub(1 + last.len()).max(1);
    text += &format!("{:>margin$}  0{:gap$}{last}\n", format!("{} =", columns.0), "");
    let scale: Vec<String> = SHADES
        .iter()
        .enumerate()
        .map(|(at, shade)| {
            let from = low + (high - low) * at as f64 / SHADES.len() as f64;
            format!("'{shade}' from {}", words::number(from))
        })
        .collect();
    if high > low {
        text += &format!("{}\n", scale.join(", "));
    }
    if rows.1 > ROWS || columns.1 > shown {
        text += &format!(
            "({} x {} of {} x {} cells; `svg FILE` draws all)\n",
            rows.1.min(ROWS),
            shown,
            rows.1,
            columns.1
        );
    }
    text
}
