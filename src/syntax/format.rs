//! `rnnc fmt`: the one layout of a `.rnn` text.
//!
//! `model M(H=1){h[t]=tanh( W@x )# gate` becomes
//!
//! ```text
//! model M(H = 1) {
//!   h[t] = tanh(W @ x)  # gate
//! ```
//!
//! One statement a line, two blanks of indentation, comments where they were (behind a line or on
//! one of their own), single blank lines kept between statements, one between items. The layout
//! depends on tokens and comments only, not on how they were laid out before, so formatting twice
//! gives what formatting once gives. Tokens are printed as they stand: brackets that are not needed
//! stay, for they are often how a paper groups a formula.
//!
//! A text with a syntax error is not formatted.

mod expression;
mod outline;
mod pieces;

use super::parse::{parse, prepare};
use super::scan::{Scan, Token};
use crate::base::Diagnostic;
use outline::{Line, Role, outline};

pub use expression::expression;

/// Widest line that is not broken, in characters.
const WIDTH: usize = 100;

/// Lays out a whole file.
///
/// # Errors
/// The syntax errors of [`parse()`], all of them.
pub fn format(source: &str) -> Result<String, Vec<Diagnostic>> {
    let scan = prepare(source)?;
    let file = parse(source)?;
    let lines = outline(&file, &scan, source);
    let layout = Layout { source, scan: &scan, out: String::new() };
    Ok(layout.run(&lines))
}

/// What was printed last.
struct Before {
    /// Where it ended in the source.
    end: usize,
    /// Whether an item ended with it.
    ends_item: bool,
    /// Whether it ended with an open brace.
    opens: bool,
}

struct Layout<'s> {
    source: &'s str,
    scan: &'s Scan,
    out: String,
}

impl<'s> Layout<'s> {
    fn run(mut self, lines: &[Line]) -> String {
        let mut comments = self.scan.comments.iter().peekable();
        let mut before: Option<Before> = None;
        for line in lines {
            let Some(first) = self.scan.tokens.get(line.tokens.start) else { continue };
            let closes = line.role == Role::Close;
            let indent = line.indent + if closes { 2 } else { 0 };
            while let Some(comment) = comments.next_if(|comment| comment.start() < first.start()) {
                before = Some(self.comment(comment, indent, before));
            }
            self.blank_line(first.start(), line.indent == 0 && !closes, closes, before);
            let next = self.scan.tokens.get(line.tokens.end).map_or(self.source.len(), Token::start);
            let last =
                line.tokens.end.checked_sub(1).and_then(|at| self.scan.tokens.get(at)).unwrap_or(first);
            // Comments up to the line's last token, and one behind it on the same line.
            let belongs = |comment: &&Token| {
                comment.start() < last.start() || comment.start() < next && !comment.starts_line
            };
            let inside: Vec<&Token> = std::iter::from_fn(|| comments.next_if(belongs)).collect();
            pieces::print(&mut self.out, self.source, self.scan, line, &inside);
            before = Some(Before {
                end: inside.last().map_or(last.end(), |comment| comment.end().max(last.end())),
                ends_item: line.indent == 0 && line.role != Role::Open,
                opens: line.role == Role::Open,
            });
        }
        for comment in comments {
            before = Some(self.comment(comment, 0, before));
        }
        self.out
    }

    /// A comment on a line of its own.
    fn comment(&mut self, comment: &Token, indent: usize, before: Option<Before>) -> Before {
        self.blank_line(comment.start(), indent == 0, false, before);
        self.out.push_str(&" ".repeat(indent));
        self.out.push_str(comment.text(self.source).trim_end());
        self.out.push('\n');
        Before { end: comment.end(), ends_item: false, opens: false }
    }

    /// Keeps one blank line where the source has some, but not inside a brace; parts items anyway.
    fn blank_line(&mut self, start: usize, at_margin: bool, closes: bool, before: Option<Before>) {
        let Some(before) = before else { return };
        let gap = self.source.get(before.end..start).unwrap_or("");
        let kept = gap.matches('\n').count().max(gap.matches('\r').count()) > 1;
        if before.ends_item && at_margin || kept && !before.opens && !closes {
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
pub(in crate::syntax) mod tests;
