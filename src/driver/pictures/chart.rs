//! Lines over steps: loss curves, and norms of gradients on a logarithmic scale.

use plotters::prelude::*;

use super::PictureError;
use crate::driver::flow::{Flow, logarithms};

/// Width and height in pixels.
const SIZE: (u32, u32) = (800, 480);

/// A line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// For the legend.
    pub name: String,
    /// `(x, y)`, x ascending.
    pub points: Vec<(f64, f64)>,
}

/// Lines in one field.
///
/// # Errors
/// There is no finite point.
pub fn chart(title: &str, x_name: &str, y_name: &str, lines: &[Line]) -> Result<String, PictureError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&root, title, (x_name, y_name), lines)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// The norms of a flow, and below them the spectral radii.
///
/// # Errors
/// No gradient reaches any state.
pub fn flow_chart(flow: &Flow) -> Result<String, PictureError> {
    let norms: Vec<Line> = flow
        .states
        .iter()
        .map(|state| Line { name: state.name.clone(), points: logarithms(&state.norms) })
        .collect();
    let radii: Vec<Line> = flow
        .loops
        .iter()
        .map(|radius| Line { name: format!("loop of {}", radius.states.join(", ")), points: radius.points() })
        .collect();
    let axis = flow.states.first().map_or("t", |state| state.axis.as_str());
    let title = match flow.last {
        true => format!("{}: gradient of the last position's loss", flow.model),
        false => format!("{}: gradient of the loss", flow.model),
    };
    let mut svg = String::new();
    {
        let height = if radii.is_empty() { SIZE.1 } else { 2 * SIZE.1 };
        let root = SVGBackend::with_string(&mut svg, (SIZE.0, height)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        if radii.is_empty() {
            draw(&root, &title, (axis, "log10 of the norm"), &norms)?;
        } else {
            let (upper, lower) = root.split_vertically(SIZE.1);
            draw(&upper, &title, (axis, "log10 of the norm"), &norms)?;
            draw(&lower, "spectral radius of the recurrent Jacobian", (axis, "radius"), &radii)?;
        }
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    area: &Area,
    title: &str,
    (x_name, y_name): (&str, &str),
    lines: &[Line],
) -> Result<(), PictureError> {
    let all = || lines.iter().flat_map(|line| &line.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    if all().next().is_none() {
        return Err(PictureError::Empty);
    }
    let range = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let low = all().map(of).fold(f64::INFINITY, f64::min);
        let high = all().map(of).fold(f64::NEG_INFINITY, f64::max);
        let room = if high > low { 0.05 * (high - low) } else { 0.5 };
        (low, high, room)
    };
    let (left, right, x_room) = range(&|point| point.0);
    let (low, high, y_room) = range(&|point| point.1);
    let right = if right > left { right } else { right + x_room };
    area.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(left..right, low - y_room..high + y_room)
        .map_err(failed)?;
    chart.configure_mesh().max_light_lines(1).x_desc(x_name).y_desc(y_name).draw().map_err(failed)?;
    for (number, line) in lines.iter().enumerate() {
        let colour = Palette99::pick(number).stroke_width(2);
        let points = line.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite());
        chart
            .draw_series(LineSeries::new(points, colour))
            .map_err(failed)?
            .label(line.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()
        .map_err(failed)
}

pub(super) fn failed(error: impl std::fmt::Display) -> PictureError {
    PictureError::Drawing(error.to_string())
}
