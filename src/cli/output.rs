//! Standard output and standard error: a closed pipe ends a command quietly, colours need a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::failure::Failure;
use crate::driver::timings::Timings;

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

/// A table of what the stages of the compiler took, in milliseconds.
pub(super) fn stages(timings: &Timings) -> String {
    let rows: Vec<(&str, Duration)> = timings.stages().chain([("total", timings.total())]).collect();
    let width = rows.iter().map(|(stage, _)| stage.len()).max().unwrap_or(0);
    let line =
        |(stage, time): &(&str, Duration)| format!("  {stage:width$}  {:9.3} ms\n", time.as_secs_f64() * 1e3);
    rows.iter().map(line).collect()
}

/// Whether a stream is a terminal that wants colours (<https://no-color.org>).
pub(super) fn colour(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !refused && !dumb
}
