//! Text to graph: parse the file and the library, check, one call.

use super::timings::Timings;
use crate::base::{Diagnostic, Span};
use crate::check::{Checked, Request, check};
use crate::syntax::{ast, parse};

/// Parses and checks `source` with the standard library at hand.
///
/// # Errors
/// All syntax errors of the file, or all mistakes in its definitions.
pub fn front(source: &str, request: &Request) -> Result<Checked, Vec<Diagnostic>> {
    front_timed(source, request, &mut Timings::default())
}

/// As [`front`], with the time of its stages.
///
/// # Errors
/// As there.
pub(super) fn front_timed(
    source: &str,
    request: &Request,
    timings: &mut Timings,
) -> Result<Checked, Vec<Diagnostic>> {
    let file = timings.time("parse", || parse(source))?;
    let library = timings.time("parse the library", library)?;
    timings.time("check", || check(&file, &library, request))
}

/// The cells that are always at hand.
///
/// # Errors
/// The library does not parse: a fault of the compiler.
pub fn library() -> Result<ast::File, Vec<Diagnostic>> {
    let mut cells = ast::File::default();
    for (name, text) in crate::library::FILES {
        match parse(text) {
            Ok(found) => cells.items.extend(found.items),
            Err(_) => {
                let message = format!("the standard library's `{name}` does not parse");
                return Err(vec![Diagnostic::error("internal", Span::NONE, message)]);
            }
        }
    }
    Ok(cells)
}
