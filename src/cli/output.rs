//! Standard output and standard error: a closed pipe ends a command quietly, colours need a terminal.

use std::io::{IsTerminal, Write};

use super::failure::Failure;

/// Writes a result to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::Message(format!("cannot write to standard output: {error}")),
    })
}

/// Says something that is no result.
pub(super) fn note(text: &str) {
    let _ = write!(std::io::stderr().lock(), "{text}");
}

/// Whether a stream is a terminal that wants colours (<https://no-color.org>).
pub(super) fn colour(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !refused && !dumb
}
