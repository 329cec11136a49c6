//! Text to graph: parse the file and the library, check, one call.

use crate::base::{Diagnostic, Span};
use crate::check::{Checked, Request, check};
use crate::library;
use crate::syntax::{ast, parse};

/// Parses and checks `source` with the standard library at hand.
///
/// # Errors
/// All syntax errors of the file, or all mistakes in its definitions.
pub fn front(source: &str, request: &Request) -> Result<Checked, Vec<Diagnostic>> {
    let file = parse(source)?;
    let mut library = ast::File::default();
    for (name, text) in library::FILES {
        match parse(text) {
            Ok(found) => library.items.extend(found.items),
            Err(_) => {
                let message = format!("the standard library's `{name}` does not parse");
                return Err(vec![Diagnostic::error("internal", Span::NONE, message)]);
            }
        }
    }
    check(&file, &library, request)
}
