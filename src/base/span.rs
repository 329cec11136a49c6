//! A range of bytes in one source text.

/// Half-open range of bytes `start..end` in the source that a stage was given.
///
/// `Span::NONE` marks what has no place in a user's text (nodes that a pass made, library code).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// No place in any text.
    pub const NONE: Span = Span { start: 0, end: 0 };

    /// The range `start..end`; offsets past `u32::MAX` are clamped (the parser refuses such files).
    pub fn new(start: usize, end: usize) -> Span {
        let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Span { start: clamp(start), end: clamp(end) }
    }

    /// The smallest span that holds both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}
