//! One line: the blanks between its tokens, and where it breaks when it is too long.
//!
//! `h[t - 1]*W .T` prints as `h[t-1] * W.T`: operators stand apart, except `^` and a shift of a
//! position; brackets, commas and dots stand tight. A line beyond the width breaks behind commas and
//! before operators, the outermost and loosest first, and goes on four blanks further in.

use super::WIDTH;
use super::outline::Line;
use crate::syntax::scan::{Scan, Token, TokenKind};

/// How far the rest of a broken line is moved in.
const CONTINUATION: usize = 4;

/// A token as it is printed.
struct Piece<'s> {
    text: &'s str,
    /// Whether a blank stands before it.
    spaced: bool,
    /// Whether the line may break before it: the smaller, the rather.
    rank: Option<usize>,
    /// Its index in the scan's tokens.
    token: usize,
    /// The comments behind it.
    comments: Vec<&'s Token>,
}

impl Piece<'_> {
    fn width(&self) -> usize {
        self.text.chars().count() + usize::from(self.spaced)
    }
}

/// The width of a line in characters, unbroken.
pub(super) fn width(source: &str, scan: &Scan, line: &Line) -> usize {
    line.indent + pieces(source, scan, line).iter().map(Piece::width).sum::<usize>()
}

/// Prints a line with the comments that stand in it and behind it.
pub(super) fn print(out: &mut String, source: &str, scan: &Scan, line: &Line, comments: &[&Token]) {
    let mut pieces = pieces(source, scan, line);
    for comment in comments {
        let before = scan.tokens.partition_point(|token| token.start() < comment.start());
        let at = pieces.partition_point(|piece| piece.token < before).saturating_sub(1);
        if let Some(piece) = pieces.get_mut(at) {
            piece.comments.push(comment);
        }
    }
    let (mut rest, mut indent) = (pieces.as_slice(), line.indent);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(break_at(rest, WIDTH.saturating_sub(indent)));
        out.push_str(&" ".repeat(indent));
        for (at, piece) in now.iter().enumerate() {
            out.push_str(if at > 0 && piece.spaced { " " } else { "" });
            out.push_str(piece.text);
        }
        let own_line = line.indent + if later.is_empty() { 0 } else { CONTINUATION };
        let behind = now.last().map_or([].as_slice(), |piece| piece.comments.as_slice());
        for (at, comment) in behind.iter().enumerate() {
            if at > 0 || comment.starts_line {
                out.push('\n');
                out.push_str(&" ".repeat(own_line));
            } else {
                out.push_str("  ");
            }
            out.push_str(comment.text(source).trim_end());
        }
        out.push('\n');
        (rest, indent) = (later, line.indent + CONTINUATION);
    }
}

/// How many pieces stand on the first line.
fn break_at(pieces: &[Piece], room: usize) -> usize {
    let mut used = 0;
    let mut best: Option<(usize, usize)> = None;
    for (at, piece) in pieces.iter().enumerate() {
        if let Some(rank) = piece.rank.filter(|_| at > 0) {
            let fits = used <= room;
            if best.is_none() || fits && best.is_some_and(|(least, _)| rank <= least) {
                best = Some((rank, at));
            }
        }
        used += piece.width();
        if let (true, Some((_, at))) = (used > room, best) {
            return at;
        }
        if !piece.comments.is_empty() {
            return at + 1;
        }
    }
    pieces.len()
}

/// The bracket that a token stands in.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Paren,
    Index,
    Bracket,
    Brace,
}

fn pieces<'s>(source: &'s str, scan: &'s Scan, line: &Line) -> Vec<Piece<'s>> {
    let tokens = scan.tokens.get(line.tokens.clone()).unwrap_or(&[]);
    let text = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |token| token.text(source));
    let (mut dropped, mut commas) = (line.dropped.iter().peekable(), line.commas.iter().peekable());
    let mut pieces = Vec::new();
    let mut open: Vec<Inside> = Vec::new();
    // What the last token was: an operand's end, a sign, a shift.
    let (mut operand, mut tight) = (false, true);
    let mut previous = "";
    for (at, token) in tokens.iter().enumerate() {
        let index = line.tokens.start + at;
        if dropped.next_if(|dropped| **dropped == index).is_some() {
            continue;
        }
        let now = token.text(source);
        let inside = open.last().copied();
        let is_symbol = token.kind == TokenKind::Symbol;
        let infix = is_symbol && operand && level(now).is_some();
        let is_shift = infix && inside == Some(Inside::Index) && {
            let around = [at.checked_sub(2), at.checked_sub(1), Some(at + 1), Some(at + 2)].map(text);
            shifts(now, around, tokens.get(at.wrapping_sub(1)), tokens.get(at + 1))
        };
        let mut spaced = !tight;
        let mut rank = None;
        match now {
            _ if !is_symbol => {}
            "," | ")" | "]" | ";" | "." | "^" => spaced = false,
            "}" => spaced = previous != "{",
            ":" => spaced = previous == ",",
            "(" | "[" if operand => spaced = false,
            _ if is_shift => spaced = false,
            _ => rank = level(now).filter(|_| infix),
        }
        if previous == "," {
            rank = Some(0);
        }
        let rank = rank.map(|level| open.len() * 8 + level);
        pieces.push(Piece { text: now, spaced, rank, token: index, comments: Vec::new() });
        match now {
            _ if !is_symbol => {}
            "(" => open.push(Inside::Paren),
            "[" => open.push(if operand { Inside::Index } else { Inside::Bracket }),
            "{" => open.push(Inside::Brace),
            ")" | "]" | "}" => drop(open.pop()),
            _ => {}
        }
        tight = is_symbol
            && match now {
                "(" | "[" | "." | "^" => true,
                "-" => is_shift || !infix,
                ":" => inside == Some(Inside::Index),
                _ => is_shift,
            };
        operand = !is_symbol || matches!(now, ")" | "]" | "}");
        previous = now;
        if commas.next_if(|comma| **comma == index).is_some() {
            pieces.push(Piece { text: ",", spaced: false, rank: None, token: index, comments: Vec::new() });
            previous = ",";
            tight = false;
        }
    }
    pieces
}

/// Whether `name ± number` is the whole entry of an index.
fn shifts(operator: &str, around: [&str; 4], left: Option<&Token>, right: Option<&Token>) -> bool {
    let is = |token: Option<&Token>, kind| token.is_some_and(|token| token.kind == kind);
    matches!(operator, "+" | "-")
        && is(left, TokenKind::Name)
        && is(right, TokenKind::Number)
        && matches!(around[0], "[" | "," | ":")
        && matches!(around[3], "]" | "," | ":")
}

/// How tightly an infix operator binds, loosest first; lines break at loose ones first.
fn level(text: &str) -> Option<usize> {
    Some(match text {
        "==" | "!=" | "<" | "<=" | ">" | ">=" => 1,
        "+" | "-" => 2,
        "*" | "/" => 3,
        "@" => 4,
        _ => return None,
    })
}
