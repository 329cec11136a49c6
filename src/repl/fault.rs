//! `:nan`: the first value that is no number, where it arose and what it was made from.

use super::clauses::clauses;
use super::models::{DATA, Watched};
use super::{Done, Failure, STEPS, Session, words};
use crate::eval::{Fault, Program};
use crate::ir::{right_side, written};

impl Session {
    /// `:nan [M]`
    pub(super) fn nan(&mut self, rest: &str) -> Done {
        let parts = clauses(rest, &DATA)?;
        let watched = self.watched(&parts, STEPS)?;
        let found = self.fault(&watched)?;
        Ok(found.unwrap_or_else(|| {
            format!("every value of {} is a number, on {}\n", watched.model, watched.what)
        }))
    }

    /// The first NaN or infinity in words.
    pub(super) fn fault(&self, watched: &Watched) -> Result<Option<String>, Failure> {
        let program = Program::new(&watched.graph)?.until(self.stop());
        let Some(fault) = program.first_fault(&watched.values)? else { return Ok(None) };
        let Fault { node, position, element, value, operands, .. } = fault;
        let graph = &*watched.graph;
        let place: Vec<String> =
            position.iter().map(|(axis, at)| format!("{} = {at}", graph.axis_name(*axis))).collect();
        let name = watched.listing.name(node);
        let what = match name {
            Some(name) => format!("{name} = {}", right_side(graph, node)),
            None => right_side(graph, node),
        };
        let place = if place.is_empty() { String::new() } else { format!(" at {}", place.join(", ")) };
        let at = if graph.ty(node).shape.is_empty() { String::new() } else { format!(", element {element}") };
        let mut text = format!("{} arose in  {what}{place}{at}\n", words::number(value));
        text += &self.line_of(graph, node);
        let shown = written(graph, &operands.iter().map(|(operand, _)| *operand).collect::<Vec<_>>());
        for ((operand, numbers), shown) in operands.iter().zip(shown) {
            let shape = &graph.ty(operand.node).shape;
            // Of an array the element that met this one, where they have one shape.
            let own = match numbers.get(element).filter(|_| *shape == graph.ty(node).shape) {
                Some(number) if numbers.len() > 1 => {
                    format!("…, {} at element {element}", words::number(*number))
                }
                _ => words::short(numbers, shape),
            };
            text += &format!("  from {shown} = {own}\n");
        }
        Ok(Some(text))
    }
}
