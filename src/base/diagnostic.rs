//! The one shape of an error or warning.
//!
//! `Diagnostic::error("unknown-name", span, "…").label(…).help(…)`: a stage returns these as values.
//! Turning them into text is the business of `render`.

use super::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The stage has no result.
    Error,
    /// The stage has a result, but the user likely meant something else.
    Warning,
}

/// A secondary place that explains the primary one: where a shape came from, the other end of a cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is to be seen there.
    pub text: String,
}

/// One mistake, at its place, with the rule it breaks and the cure where one is likely.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// A stable short name of the rule, kebab-case: `shape-mismatch`, `unknown-name`.
    pub rule: &'static str,
    /// One sentence: what is wrong, with both sides' shapes where there are two.
    pub message: String,
    /// The place.
    pub span: Span,
    /// What to say at the place itself (may be empty).
    pub note: String,
    /// Further places.
    pub labels: Vec<Label>,
    /// What to do instead, if one cure is likely.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error of `rule` at `span`.
    pub fn error(rule: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            rule,
            message: message.into(),
            span,
            note: String::new(),
            labels: Vec::new(),
            help: None,
        }
    }

    /// A warning of `rule` at `span`.
    pub fn warning(rule: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(rule, span, message) }
    }

    /// Adds a second place with what is to be seen there.
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Says something at the primary place.
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.note = text.into();
        self
    }

    /// Adds the likely cure.
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }
}
