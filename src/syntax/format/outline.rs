//! Which tokens stand on which line.
//!
//! `model M { a = b  c = d }` is four lines: the head with its brace, two statements, the brace.
//! `train { … }` is one line where it fits and holds no comment, else one line a setting.
//!
//! Places come from the tree; what is between them needs no meaning, only tokens.

use std::ops::Range;

use super::WIDTH;
use super::pieces;
use crate::syntax::ast::{Block, File, Item, Statement};
use crate::syntax::scan::Scan;

/// What a line is, for the blank lines around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A whole item: a function, an empty block.
    Item,
    /// A statement, or a setting of `train`.
    Statement,
    /// A line that ends with an open brace; at the margin it begins an item.
    Open,
    /// A line that is a closing brace of an item.
    Close,
}

/// One line of the result (broken further where it is too long).
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its indices in the scan's tokens.
    pub tokens: Range<usize>,
    /// Blanks before it.
    pub indent: usize,
    /// What it is.
    pub role: Role,
    /// Indices of tokens that are not printed: the optional commas of `train`.
    pub dropped: Vec<usize>,
    /// Indices of tokens behind which a comma is printed.
    pub commas: Vec<usize>,
}

impl Line {
    fn new(tokens: Range<usize>, indent: usize, role: Role) -> Line {
        Line { tokens, indent, role, dropped: Vec::new(), commas: Vec::new() }
    }
}

/// The lines of a file, in order; together they hold every token once.
pub(super) fn outline(file: &File, scan: &Scan, source: &str) -> Vec<Line> {
    let mut outline = Outline { scan, source, lines: Vec::new() };
    for item in &file.items {
        match item {
            Item::Cell(block) | Item::Model(block) => outline.block(block),
            Item::Function(function) => {
                let tokens = outline.at(function.span.start)..outline.at(function.span.end);
                outline.lines.push(Line::new(tokens, 0, Role::Item));
            }
        }
    }
    outline.lines
}

struct Outline<'s> {
    scan: &'s Scan,
    source: &'s str,
    lines: Vec<Line>,
}

impl Outline<'_> {
    /// The index of the first token at or behind a byte.
    fn at(&self, place: u32) -> usize {
        self.scan.tokens.partition_point(|token| token.span.start < place)
    }

    /// Whether a comment stands between the first and the last of these tokens.
    fn has_comment(&self, tokens: &Range<usize>) -> bool {
        let start = |at: usize| self.scan.tokens.get(at).map_or(self.source.len(), |token| token.start());
        let (from, to) = (start(tokens.start), start(tokens.end.saturating_sub(1)));
        let next = self.scan.comments.partition_point(|comment| comment.start() < from);
        self.scan.comments.get(next).is_some_and(|comment| comment.start() < to)
    }

    fn block(&mut self, block: &Block) {
        let (first, end) = (self.at(block.span.start), self.at(block.span.end));
        let starts: Vec<usize> = block.statements.iter().map(|statement| self.start(statement)).collect();
        let close = end.saturating_sub(1);
        let Some(body) = starts.first() else {
            let open = close.saturating_sub(1);
            if self.has_comment(&(open..end)) {
                self.lines.push(Line::new(first..close, 0, Role::Open));
                self.lines.push(Line::new(close..end, 0, Role::Close));
            } else {
                self.lines.push(Line::new(first..end, 0, Role::Item));
            }
            return;
        };
        self.lines.push(Line::new(first..*body, 0, Role::Open));
        for (at, (statement, start)) in block.statements.iter().zip(&starts).enumerate() {
            let tokens = *start..starts.get(at + 1).copied().unwrap_or(close);
            match statement {
                Statement::Train { settings, .. } => {
                    let settings = settings.iter().map(|(name, _)| self.at(name.span.start)).collect();
                    self.train(tokens, settings);
                }
                _ => self.lines.push(Line::new(tokens, 2, Role::Statement)),
            }
        }
        self.lines.push(Line::new(close..end, 0, Role::Close));
    }

    /// The index of a statement's first token.
    fn start(&self, statement: &Statement) -> usize {
        let behind_keyword = |place: u32| self.at(place).saturating_sub(1);
        match statement {
            Statement::Equation { target, .. } | Statement::Observe { target, .. } => {
                self.at(target.span.start)
            }
            Statement::Train { span, .. } => self.at(span.start),
            Statement::Loss { name, .. }
            | Statement::Metric { name, .. }
            | Statement::Update { name, .. } => behind_keyword(name.span.start),
            Statement::Gradient(pairs) => {
                pairs.first().map_or(self.scan.tokens.len(), |pair| behind_keyword(pair.0.span.start))
            }
            Statement::Input(list) | Statement::State(list) | Statement::Param(list) => {
                list.first().map_or(self.scan.tokens.len(), |first| behind_keyword(first.span.start))
            }
        }
    }

    /// The commas between settings may be there or not: they are printed on one line only.
    fn train(&mut self, tokens: Range<usize>, settings: Vec<usize>) {
        let is_comma =
            |at: &usize| self.scan.tokens.get(*at).is_some_and(|token| token.text(self.source) == ",");
        let close = tokens.end.saturating_sub(1);
        let ends = settings.iter().skip(1).copied().chain([close]).map(|end| end.saturating_sub(1));
        let dropped: Vec<usize> = ends.clone().filter(is_comma).collect();
        let lasts = ends.map(|end| end - usize::from(is_comma(&end)));
        let commas = lasts.take(settings.len().saturating_sub(1)).collect();
        let whole =
            Line { dropped: dropped.clone(), commas, ..Line::new(tokens.clone(), 2, Role::Statement) };
        let is_short = || pieces::width(self.source, self.scan, &whole) <= WIDTH;
        if !self.has_comment(&tokens) && (settings.is_empty() || is_short()) {
            self.lines.push(whole);
            return;
        }
        let body = settings.first().copied().unwrap_or(close);
        self.lines.push(Line::new(tokens.start..body, 2, Role::Open));
        for (at, start) in settings.iter().enumerate() {
            let end = settings.get(at + 1).copied().unwrap_or(close);
            let [from, to] = [*start, end].map(|place| dropped.partition_point(|comma| *comma < place));
            let dropped = dropped.get(from..to).unwrap_or(&[]).to_vec();
            self.lines.push(Line { dropped, ..Line::new(*start..end, 4, Role::Statement) });
        }
        self.lines.push(Line::new(close..tokens.end, 2, Role::Close));
    }
}
