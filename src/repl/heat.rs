//! `:heat`: a value over two axes, a matrix, or vectors along an axis, as a map.

use super::clauses::clauses;
use super::datum::Datum;
use super::{Done, Failure, Session, stages::write_svg, words};
use crate::driver::pictures;
use crate::runtime::shades::{Side, shaded};

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
        let side =
            |(name, count): &(String, usize)| Side { name: name.clone(), count: *count, labels: vec![] };
        let (rows, columns) = (side(&field.rows), side(&field.columns));
        let mut text = match field.numbers.is_empty() {
            true => format!("{} has no position\n", parts.head),
            false => {
                let title = format!("{}: {}", parts.head, words::figures(&field.numbers));
                shaded(&title, &rows, &columns, &field.numbers, "; `svg FILE` draws all")
            }
        };
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
