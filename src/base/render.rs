//! The one renderer of diagnostics: values to text that points into the source.
//!
//! ```text
//! error[shape-mismatch]: `W @ x` needs x: [I], but x has shape [H]
//!   --> elman.rnn:6:21
//!    |
//!  5 |   param W: [H, I]
//!    |         - W has shape [H, I]
//!  6 |   h[t] = tanh(W @ x)
//!    |               ^^^^^ [H, I] @ [H]
//!    |
//!    = help: …
//! ```
//!
//! It only makes text; who calls it decides where that goes. A place that the source does not have
//! is moved to the nearest one that it has: a wrong span must not hide a message.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, Severity, Span};

/// Most characters of one source line that are shown.
const WINDOW: usize = 160;
/// Characters shown before the place in a line that is cut.
const LEAD: usize = 60;
/// Most lines between the first and the last shown place; labels further off are told in words.
const REACH: usize = 2_000;

/// Renders diagnostics of one file as text, in the order of their places; colours only when asked.
pub fn render(diagnostics: &[Diagnostic], file: &str, source: &str, colour: bool) -> String {
    let mut order: Vec<&Diagnostic> = diagnostics.iter().collect();
    order.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
    let lines = Lines::new(source);
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let parts = order.into_iter().map(|diagnostic| one(diagnostic, file, &lines, &renderer));
    parts.collect::<Vec<_>>().join("\n")
}

/// One diagnostic with the line end behind it.
fn one(diagnostic: &Diagnostic, file: &str, lines: &Lines, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()).id(diagnostic.rule));
    if diagnostic.span == Span::NONE || lines.source.is_empty() {
        group = group.element(Origin::path(file));
        if !diagnostic.note.is_empty() {
            group = group.element(Level::NOTE.message(diagnostic.note.as_str()));
        }
    } else {
        let excerpt = Excerpt::new(diagnostic, lines);
        // The snippet counts columns in what it shows; where a line is cut they are given beside it.
        let path = (!excerpt.cut).then(|| file.to_string());
        if excerpt.cut {
            let (line, column) = lines.position(diagnostic.span.start as usize);
            group = group.element(Origin::path(file).line(line + 1).char_column(column + 1));
        }
        let annotations = excerpt.places.into_iter().map(|(range, text, primary)| {
            let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
            kind.span(range).label((!text.is_empty()).then(|| text.to_string()))
        });
        let snippet = Snippet::source(excerpt.text).path(path).line_start(excerpt.first_line + 1);
        group = group.element(snippet.annotations(annotations.collect::<Vec<_>>()));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group]) + "\n"
}

/// A source with the places of its lines.
struct Lines<'s> {
    source: &'s str,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'s> Lines<'s> {
    fn new(source: &'s str) -> Lines<'s> {
        let starts = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { source, starts }
    }

    /// The nearest character boundary at or before a byte.
    fn floor(&self, place: usize) -> usize {
        let place = place.min(self.source.len());
        (place.saturating_sub(3)..=place).rev().find(|at| self.source.is_char_boundary(*at)).unwrap_or(0)
    }

    /// Line and column (in characters) of a byte, counted from zero.
    fn position(&self, place: usize) -> (usize, usize) {
        let place = self.floor(place);
        let line = self.starts.partition_point(|start| *start <= place).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0);
        (line, self.source.get(start..place).map_or(0, |text| text.chars().count()))
    }

    /// The bytes of a line without its end.
    fn range(&self, line: usize) -> (usize, usize) {
        let start = self.starts.get(line).copied().unwrap_or(self.source.len());
        let end = self.starts.get(line + 1).copied().unwrap_or(self.source.len());
        let text = self.source.get(start..end).unwrap_or("").trim_end_matches(['\n', '\r']);
        (start, start + text.len())
    }
}

/// The part of a source that one diagnostic shows.
struct Excerpt<'d> {
    /// Lines, each cut to a window.
    text: String,
    /// The number of the first line, from zero.
    first_line: usize,
    /// Whether the beginning of an annotated line is left out.
    cut: bool,
    /// Ranges in `text`, what is said there, and whether it is the primary place.
    places: Vec<(std::ops::Range<usize>, &'d str, bool)>,
}

impl<'d> Excerpt<'d> {
    fn new(diagnostic: &'d Diagnostic, lines: &Lines) -> Excerpt<'d> {
        let (primary_line, _) = lines.position(diagnostic.span.start as usize);
        // A span over several lines is shown by its first: the rest would bury the message.
        let mut wanted = vec![(primary_line, diagnostic.span, diagnostic.note.as_str(), true)];
        for label in diagnostic.labels.iter().filter(|label| label.span != Span::NONE) {
            let (line, _) = lines.position(label.span.start as usize);
            if line.abs_diff(primary_line) <= REACH {
                wanted.push((line, label.span, label.text.as_str(), false));
            }
        }
        let first_line = wanted.iter().map(|place| place.0).min().unwrap_or(primary_line);
        let last_line = wanted.iter().map(|place| place.0).max().unwrap_or(primary_line);
        let mut excerpt = Excerpt { text: String::new(), first_line, cut: false, places: Vec::new() };
        for line in first_line..=last_line {
            let here = wanted.iter().filter(|place| place.0 == line);
            excerpt.line(
                lines,
                line,
                here.map(|(_, span, text, primary)| (*span, *text, *primary)).collect(),
            );
        }
        excerpt
    }

    /// Adds one line and the places on it.
    fn line(&mut self, lines: &Lines, line: usize, places: Vec<(Span, &'d str, bool)>) {
        let (start, end) = lines.range(line);
        let text = lines.source.get(start..end).unwrap_or("");
        let focus = places.first().map_or(start, |place| lines.floor(place.0.start as usize));
        let (from, to) = window(text, focus.saturating_sub(start).min(text.len()));
        let shown_from = self.text.len() + if from > 0 { '…'.len_utf8() } else { 0 };
        if from > 0 {
            self.cut |= !places.is_empty();
            self.text.push('…');
        }
        // One byte for one byte, so that the places stay right.
        self.text.extend(text[from..to].chars().map(
            |c| {
                if c.is_ascii_control() && c != '\t' { ' ' } else { c }
            },
        ));
        let shown_to = self.text.len();
        let inside = |place: usize| {
            lines.floor(place).saturating_sub(start + from).min(shown_to - shown_from) + shown_from
        };
        for (span, text, primary) in places {
            let first = inside(span.start as usize);
            let last = inside(span.end as usize).max(first);
            self.places.push((first..last, text, primary));
        }
        self.text.push_str(if to < text.len() { "…\n" } else { "\n" });
    }
}

/// The bytes of a line that are shown, so that `focus` is among them.
fn window(text: &str, focus: usize) -> (usize, usize) {
    if text.len() <= WINDOW {
        return (0, text.len());
    }
    let before = text.get(..focus).unwrap_or("");
    let from = before.char_indices().rev().nth(LEAD - 1).map_or(0, |(at, _)| at);
    let to = text[from..].char_indices().nth(WINDOW).map_or(text.len(), |(at, _)| from + at);
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(diagnostics: &[Diagnostic], source: &str, expect: &str) {
        let text = render(diagnostics, "a.rnn", source, false);
        assert_eq!(text.trim_end(), expect.trim_matches('\n'), "\n{text}");
    }

    #[test]
    fn title_place_label_and_help() {
        let source = "param W: [H, I]\nh[t] = tanh(W @ x)\n";
        let error = Diagnostic::error("shape-mismatch", Span::new(28, 33), "cannot multiply")
            .note("[H, I] @ [H]")
            .label(Span::new(6, 7), "W has shape [H, I]")
            .help("transpose it");
        check(
            &[error],
            source,
            "
error[shape-mismatch]: cannot multiply
 --> a.rnn:2:13
  |
1 | param W: [H, I]
  |       - W has shape [H, I]
2 | h[t] = tanh(W @ x)
  |             ^^^^^ [H, I] @ [H]
  |
  = help: transpose it",
        );
    }

    #[test]
    fn ordered_by_place_and_severity_told() {
        let late = Diagnostic::error("late", Span::new(4, 5), "second");
        let early = Diagnostic::warning("early", Span::new(0, 1), "first");
        check(
            &[late, early],
            "a = b",
            "
warning[early]: first
 --> a.rnn:1:1
  |
1 | a = b
  | ^

error[late]: second
 --> a.rnn:1:5
  |
1 | a = b
  |     ^",
        );
    }

    #[test]
    fn without_a_place() {
        let error = Diagnostic::error("no-model", Span::NONE, "the file has no model").help("add one");
        check(
            std::slice::from_ref(&error),
            "a",
            "error[no-model]: the file has no model\n--> a.rnn\n = help: add one",
        );
    }

    /// Every span, also a wrong one, over awkward sources: text comes out, and it names the rule.
    #[test]
    fn never_panics() {
        let long = format!("x = {}\ny", "é + ".repeat(300_000));
        let sources =
            ["", "\n", "é\u{301}\r\n\tü = §\r\n\r", "\t\ta\tb", "no end", "a\rb\u{200b}\u{202e}c", &long];
        for source in sources {
            let marks =
                [0, 1, 2, 3, 5, 8, 13, 500_001, source.len() / 2, source.len(), source.len() + 7, usize::MAX];
            for (start, end) in marks.iter().flat_map(|start| marks.iter().map(move |end| (*start, *end))) {
                let error = Diagnostic::error("rule", Span::new(start, end), "message")
                    .label(Span::new(end, start), "there");
                let text = render(&[error], "a.rnn", source, start % 2 == 0);
                assert!(text.contains("rule") && text.len() < 4_000, "{start} {end}: {}", text.len());
            }
        }
    }
}
