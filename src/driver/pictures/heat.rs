//! Numbers over two axes as a map of colours.

use plotters::prelude::*;

use super::PictureError;
use super::chart::failed;

/// Cells of a map at most.
const LARGEST: usize = 1 << 18;

/// `rows` by `columns` numbers, row-major: from white (the smallest) to dark blue, what is no number red.
///
/// # Errors
/// There is no number, or there are too many.
pub fn heat(
    title: &str,
    (row_name, rows): (&str, usize),
    (column_name, columns): (&str, usize),
    numbers: &[f64],
) -> Result<String, PictureError> {
    if rows * columns == 0 || numbers.len() != rows * columns {
        return Err(PictureError::Empty);
    }
    if numbers.len() > LARGEST {
        return Err(PictureError::Drawing(format!("{} cells are too many", numbers.len())));
    }
    let (low, high) = range(numbers);
    let cell = (640 / columns.max(rows)).clamp(4, 40);
    let pixels = |count: usize| u32::try_from(count * cell + 120).unwrap_or(u32::MAX);
    let size = (pixels(columns).max(320), pixels(rows));
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("{title}: {low:.3} to {high:.3}"), ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..columns as f64, rows as f64..0.0)
            .map_err(failed)?;
        chart.configure_mesh().disable_mesh().x_desc(column_name).y_desc(row_name).draw().map_err(failed)?;
        let cells = numbers.iter().enumerate().map(|(at, &number)| {
            let (row, column) = ((at / columns) as f64, (at % columns) as f64);
            Rectangle::new([(column, row), (column + 1.0, row + 1.0)], colour(number, low, high).filled())
        });
        chart.draw_series(cells).map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// The smallest and the largest finite number.
fn range(numbers: &[f64]) -> (f64, f64) {
    let finite = numbers.iter().copied().filter(|number| number.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), number| (low.min(number), high.max(number)))
}

fn colour(number: f64, low: f64, high: f64) -> RGBColor {
    if !number.is_finite() {
        return RED;
    }
    let part = if high > low { (number - low) / (high - low) } else { 0.5 };
    let mix = |from: f64, to: f64| (from + part * (to - from)).round() as u8;
    RGBColor(mix(255.0, 8.0), mix(255.0, 48.0), mix(255.0, 107.0))
}
