//! Static arithmetic: dimensions of blocks, shapes of declarations, constants.

use crate::base::{Diagnostic, Span};
use crate::ir::Element;
use crate::syntax::ast::{self, BinaryOp, Expr, ExprKind};

use super::{BYTE_LIMIT, Checker, nearest};

/// Numbers that stand for unbound dimensions, all different so that a mix-up shows and none is written as another's name.
pub const DISTINCT: [usize; 12] = [7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47];

impl<'a> Checker<'a> {
    /// The value of a dimension expression: whole numbers, `+ - * /`, dimensions of the frame.
    pub(super) fn dim(&mut self, frame: usize, expr: &Expr) -> Option<usize> {
        let value = self.number(frame, expr, true)?;
        if value.fract() != 0.0 || !(0.0..=9e15).contains(&value) {
            let message = format!("a dimension must be a whole number, not {value}");
            self.report(frame, Diagnostic::error("dimension", expr.span, message));
            return None;
        }
        Some(value as usize)
    }

    /// A number known when compiling; `None` (reported if `required`) where it is not.
    pub(super) fn number(&mut self, frame: usize, expr: &Expr, required: bool) -> Option<f64> {
        match &expr.kind {
            ExprKind::Number(value) => Some(*value),
            ExprKind::Name(name) => {
                let found = self.frames[frame].dims.get(name).map(|&value| value as f64);
                if found.is_none() && required {
                    let mut diagnostic = Diagnostic::error(
                        "unknown-dimension",
                        expr.span,
                        format!("`{name}` is not a dimension here"),
                    );
                    let dims = self.frames[frame].dims.keys().map(String::as_str);
                    if let Some(near) = nearest(name, dims) {
                        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
                    } else {
                        let block = &self.frames[frame].block.name.text;
                        diagnostic = diagnostic.help(match block.is_empty() {
                            true => {
                                format!("a function's dimensions are those of its arguments: `x: [{name}]`")
                            }
                            false => format!("dimensions are listed in the head: `{block}({name}, …)`"),
                        });
                    }
                    self.report(frame, diagnostic);
                }
                found
            }
            ExprKind::Negate(inner) => self.number(frame, inner, required).map(|value| -value),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.number(frame, a, required)?, self.number(frame, b, required)?);
                match op {
                    BinaryOp::Add => Some(a + b),
                    BinaryOp::Subtract => Some(a - b),
                    BinaryOp::Multiply => Some(a * b),
                    BinaryOp::Divide => Some(a / b),
                    BinaryOp::Power => Some(a.powf(b)),
                    _ => None,
                }
            }
            _ => {
                if required {
                    let diagnostic =
                        Diagnostic::error("dimension", expr.span, "this is not known when compiling")
                            .help("a dimension is made of numbers, names of dimensions and + - * /");
                    self.report(frame, diagnostic);
                }
                None
            }
        }
    }

    /// A declared type: static shape and element.
    pub(super) fn declared_type(&mut self, frame: usize, ty: &ast::Type) -> Option<(Vec<usize>, Element)> {
        match ty {
            ast::Type::Real(dims, span) => {
                let shape: Option<Vec<usize>> = dims.iter().map(|dim| self.dim(frame, dim)).collect();
                let shape = shape?;
                self.fits_memory(frame, &shape, *span)?;
                Some((shape, Element::Real))
            }
            ast::Type::Id(size, span) => {
                let size = self.dim(frame, size)?;
                if size == 0 || size >= u32::MAX as usize {
                    let message = format!("ids must lie in 0..n with n from 1 to 2^32 - 2, not {size}");
                    self.report(frame, Diagnostic::error("dimension", *span, message));
                    return None;
                }
                Some((Vec::new(), Element::Id(size)))
            }
        }
    }

    /// Refuses shapes that no memory holds, with the bytes they would take. A dimension that is too large
    /// by itself is reported once, not for every shape that it is in.
    pub(super) fn fits_memory(&mut self, frame: usize, shape: &[usize], span: Span) -> Option<()> {
        // What is larger still (`H + I`) is made of it.
        if shape.iter().any(|dim| self.oversized.iter().any(|known| dim >= known)) {
            return None;
        }
        let bytes_of = |shape: &[usize]| {
            let bytes = shape.iter().try_fold(4u128, |bytes, &dim| bytes.checked_mul(dim as u128));
            bytes.filter(|&bytes| bytes <= BYTE_LIMIT as u128).ok_or(bytes)
        };
        let message = if shape.contains(&0) {
            "a dimension of zero leaves nothing to compute".to_string()
        } else {
            match bytes_of(shape) {
                Ok(_) => return Some(()),
                Err(Some(bytes)) => format!(
                    "shape {} would take {bytes} bytes ({:.1} TiB) in f32",
                    self.shape_text(frame, shape),
                    bytes as f64 / (1u64 << 40) as f64
                ),
                Err(None) => format!("shape {shape:?} is too large for any memory"),
            }
        };
        self.oversized.extend(shape.iter().filter(|&&dim| bytes_of(&[dim]).is_err()));
        self.report(frame, Diagnostic::error("too-large", span, message));
        None
    }

    /// A shape with the names of its dimensions: `[H = 128, 32]`.
    pub(super) fn shape_text(&self, frame: usize, shape: &[usize]) -> String {
        let dims = &self.frames[frame].dims;
        let mut named: Vec<(&String, &usize)> = dims.iter().collect();
        named.sort();
        let text: Vec<String> = shape
            .iter()
            .map(|size| match named.iter().find(|(_, value)| *value == size && *size > 1) {
                Some((name, _)) => format!("{name} = {size}"),
                None => size.to_string(),
            })
            .collect();
        if text.is_empty() { "a scalar".into() } else { format!("[{}]", text.join(", ")) }
    }
}
