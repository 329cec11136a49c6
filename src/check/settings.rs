//! The `train { … }` block as data for whoever trains: numbers, names and calls.

use crate::base::{Diagnostic, Span};
use crate::syntax::ast::{Arg, Expr, ExprKind, Ident};

use super::Checker;

/// A value in a `train` block.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// `5`, `2 * H`
    Number(f64),
    /// `cosine`
    Name(String),
    /// `"enc.*"`
    Text(String),
    /// `adam(lr = 0.002)`
    Call(String, Vec<(Option<String>, Setting)>),
}

impl<'a> Checker<'a> {
    /// Keeps a model's settings; which keys there are is the trainer's to know.
    pub(super) fn settings(&mut self, frame: usize, settings: &'a [(Ident, Expr)]) {
        for (key, value) in settings {
            if let Some(setting) = self.setting(frame, value) {
                self.train.push((key.text.clone(), key.span.to(value.span), setting));
            }
        }
    }

    fn setting(&mut self, frame: usize, expr: &'a Expr) -> Option<Setting> {
        if let Some(number) = self.number(frame, expr, false) {
            return Some(Setting::Number(number));
        }
        match &expr.kind {
            ExprKind::Name(name) => Some(Setting::Name(name.clone())),
            ExprKind::Text(text) => Some(Setting::Text(text.clone())),
            ExprKind::Call(callee, args) => {
                let ExprKind::Name(name) = &callee.kind else { return self.not_a_setting(frame, expr.span) };
                let mut found = Vec::new();
                for arg in args {
                    match arg {
                        Arg::Value(value) => found.push((None, self.setting(frame, value)?)),
                        Arg::Named(key, value) => {
                            found.push((Some(key.text.clone()), self.setting(frame, value)?))
                        }
                        Arg::Over(value, _) => return self.not_a_setting(frame, value.span),
                        Arg::Along(name) => return self.not_a_setting(frame, name.span),
                    }
                }
                Some(Setting::Call(name.clone(), found))
            }
            _ => self.not_a_setting(frame, expr.span),
        }
    }

    fn not_a_setting(&mut self, frame: usize, span: Span) -> Option<Setting> {
        let diagnostic = Diagnostic::error("setting", span, "this is not a setting")
            .help("settings are numbers, names, or calls such as `adam(lr = 0.002)`");
        self.report(frame, diagnostic);
        None
    }
}
