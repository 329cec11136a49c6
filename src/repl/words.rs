//! Values in words: numbers, arrays, sequences and trees, and a summary of what is longer than a screen.

use super::datum::{Datum, Extent};
use crate::ir::{AxisKind, BATCH, Element, Graph, ValueType};
pub(super) use crate::runtime::shades::figure as number;

/// Lines and numbers of a screen.
const LINES: usize = 24;
const NUMBERS: usize = 256;
/// Numbers of an array in a single line of a list.
const SHORT: usize = 6;

/// An array of one position in a line; of a longer one the beginning.
pub(super) fn short(numbers: &[f64], shape: &[usize]) -> String {
    if shape.is_empty() {
        return numbers.first().map_or(String::new(), |&value| number(value));
    }
    let shown: Vec<String> = numbers.iter().take(SHORT).map(|&value| number(value)).collect();
    match numbers.len() > SHORT {
        true => format!("[{}, …] {}", shown.join(", "), figures(numbers)),
        false => format!("[{}]", shown.join(", ")),
    }
}

/// The type of a value: `[3, 4] over t`.
pub(super) fn type_of(datum: &Datum) -> String {
    let over: Vec<String> = datum
        .along
        .iter()
        .map(|(axis, extent)| match extent {
            Extent::Nodes(_) => format!("tree {axis}"),
            Extent::Steps(_) | Extent::Leaves(_) | Extent::Children(_) => axis.clone(),
        })
        .collect();
    with_axes(element(datum.element, &datum.shape, &[]), &over)
}

/// The type of a node: `[H = 4] over t`.
pub(super) fn type_in(graph: &Graph, ty: &ValueType) -> String {
    let over = ty.axes.without(BATCH).iter().map(|axis| match graph.axis_kind(axis) {
        AxisKind::Tree => format!("tree {}", graph.axis_name(axis)),
        _ => graph.axis_name(axis).to_string(),
    });
    with_axes(element(ty.element, &ty.shape, &graph.dims), &over.collect::<Vec<_>>())
}

fn with_axes(element: String, over: &[String]) -> String {
    if over.is_empty() { element } else { format!("{element} over {}", over.join(", ")) }
}

fn element(element: Element, shape: &[usize], dims: &[(String, usize)]) -> String {
    let size = |size: &usize| match dims.iter().find(|(_, value)| value == size && *size > 1) {
        Some((name, _)) => format!("{name} = {size}"),
        None => size.to_string(),
    };
    match element {
        Element::Id(range) => format!("id({range})"),
        Element::Real if shape.is_empty() => "a number".to_string(),
        Element::Real => format!("[{}]", shape.iter().map(size).collect::<Vec<_>>().join(", ")),
    }
}

/// What there is to say of many numbers in a line.
pub(super) fn figures(numbers: &[f64]) -> String {
    let finite: Vec<f64> = numbers.iter().copied().filter(|value| value.is_finite()).collect();
    let count = |is: &dyn Fn(f64) -> bool| numbers.iter().filter(|&&value| is(value)).count();
    let (nan, infinite) = (count(&f64::is_nan), count(&f64::is_infinite));
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // What rounding leaves of a mean of zero is no figure.
    let mean = finite.iter().sum::<f64>() / finite.len().max(1) as f64;
    let mean = if mean.abs() < 1e-9 * low.abs().max(high.abs()) { 0.0 } else { mean };
    let mut text = match finite.len() {
        0 => "no finite number".to_string(),
        _ => format!("from {} to {}, mean {}", number(low), number(high), number(mean)),
    };
    let zeros = count(&|value| value == 0.0);
    if zeros > 0 {
        text += &format!(", {:.0} % zeros", 100.0 * zeros as f64 / numbers.len() as f64);
    }
    for (count, what) in [(nan, "NaN"), (infinite, "infinite")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}

/// A value, in full where that fits on a screen or `all` is asked for.
pub(super) fn value(datum: &Datum, all: bool) -> String {
    let numbers = datum.numbers();
    let rows = if datum.shape.len() > 1 { datum.shape[..datum.shape.len() - 1].iter().product() } else { 1 };
    let is_grid = datum.along.len() == 2 && datum.size() == 1;
    let lines = match is_grid {
        true => datum.along[0].1.count(),
        false => datum.positions() * rows,
    };
    if !all && (lines > LINES || numbers.len() > NUMBERS) {
        let over = match datum.along.is_empty() {
            true => String::new(),
            false => format!(", {} positions", datum.positions()),
        };
        return format!(
            "{}{over}, {} numbers {}\n(`:all` shows them)\n",
            type_of(datum),
            numbers.len(),
            figures(&numbers)
        );
    }
    if is_grid {
        return grid(datum, &numbers);
    }
    if datum.along.is_empty() {
        return array(datum, &numbers) + "\n";
    }
    let mut text = String::new();
    for position in 0..datum.positions() {
        if let Some(label) = label(datum, position) {
            let own = &numbers[position * datum.size()..(position + 1) * datum.size()];
            text += &format!("{label}: {}\n", array(datum, own).replace('\n', "\n  "));
        }
    }
    if text.is_empty() { "nothing: there is no position\n".to_string() } else { text }
}

/// What the elements at one position are called: `t = 2`; `None` for children that a node has not.
fn label(datum: &Datum, position: usize) -> Option<String> {
    let mut rest = position;
    let mut places = vec![0; datum.along.len()];
    for (place, (_, extent)) in places.iter_mut().zip(&datum.along).rev() {
        *place = rest % extent.count().max(1);
        rest /= extent.count().max(1);
    }
    let mut indent = String::new();
    let mut words = Vec::new();
    for (at, (axis, extent)) in datum.along.iter().enumerate() {
        match extent {
            Extent::Nodes(tree) => {
                let depth = std::iter::successors(tree.parent(places[at]), |&node| tree.parent(node)).count();
                indent = "  ".repeat(depth);
            }
            Extent::Children(tree) => {
                let node = datum.along.iter().position(|(_, extent)| matches!(extent, Extent::Nodes(_)))?;
                tree.child(places[node], places[at])?;
            }
            Extent::Steps(_) | Extent::Leaves(_) => {}
        }
        words.push(format!("{axis} = {}", places[at]));
    }
    Some(format!("{indent}{}", words.join(", ")))
}

/// One array.
fn array(datum: &Datum, numbers: &[f64]) -> String {
    if let Element::Id(_) = datum.element {
        return numbers
            .first()
            .map_or(String::new(), |&id| if id < 0.0 { "none".into() } else { number(id) });
    }
    nested(numbers, &datum.shape, 0)
}

fn nested(numbers: &[f64], shape: &[usize], depth: usize) -> String {
    match shape {
        [] => numbers.first().map_or(String::new(), |&value| number(value)),
        [_] => format!("[{}]", numbers.iter().map(|&value| number(value)).collect::<Vec<_>>().join(", ")),
        [count, rest @ ..] => {
            let size: usize = rest.iter().product();
            let rows = (0..*count).map(|row| nested(&numbers[row * size..(row + 1) * size], rest, depth + 1));
            let between = format!(",\n{}", " ".repeat(depth + 1));
            format!("[{}]", rows.collect::<Vec<_>>().join(&between))
        }
    }
}

/// Numbers over two axes as a table.
fn grid(datum: &Datum, numbers: &[f64]) -> String {
    let [(first, rows), (second, columns)] = &datum.along[..] else { return String::new() };
    let columns = columns.count();
    let cells: Vec<String> = numbers.iter().map(|&value| number(value)).collect();
    let width = cells.iter().map(String::len).max().unwrap_or(1).max(columns.to_string().len());
    let margin = format!("{first} = {}", rows.count()).len();
    let head: String = (0..columns).map(|column| format!("  {column:>width$}")).collect();
    let mut text = format!("{:>margin$}{head}\n", format!("{second} ="));
    for row in 0..rows.count() {
        let line: String = cells[row * columns..(row + 1) * columns]
            .iter()
            .map(|cell| format!("  {cell:>width$}"))
            .collect();
        text += &format!("{:<margin$}{line}\n", format!("{first} = {row}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, -0.0, 3.0, 0.25, 1.0 / 3.0, 123.456, -1e-7, 2.5e9, f64::NAN, f64::NEG_INFINITY];
        let shown = shown.map(number);
        assert_eq!(
            shown.each_ref().map(String::as_str),
            ["0", "0", "3", "0.25", "0.3333", "123.46", "-1.000e-7", "2.500e9", "NaN", "-inf"]
        );
    }
}
