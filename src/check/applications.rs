//! Names of applications that have no equation of their own: `dense`, `dense2`, in the order of the text.
//!
//! Parameters are keys of a weights file, so that their paths must not depend on the order of checking.

use std::collections::HashMap;

use crate::syntax::ast::{self, Arg, Expr, ExprKind, Statement};

use super::Checker;
use super::block::{arg_value, is_declared_state};

impl<'a> Checker<'a> {
    /// Names applications that are part of a larger expression, in the order of the text: `dense`, `dense2`.
    pub(super) fn name_applications(&mut self, frame: usize) {
        let block = self.frames[frame].block;
        let mut found: Vec<(u32, String)> = Vec::new();
        for statement in &block.statements {
            match statement {
                // What the equation of a state applies has no name by it: the state's is that of its value.
                Statement::Equation { target, value } if is_declared_state(block, &target.name.text) => {
                    self.find_applications(frame, Some(value), &mut found);
                }
                Statement::Equation { value, .. } => {
                    // The outermost application of an equation has the equation's name.
                    let mut own = value;
                    while let ExprKind::Call(callee, args) = &own.kind {
                        self.find_in_arguments(frame, callee, args, &mut found);
                        own = callee;
                    }
                    if !matches!(own.kind, ExprKind::Name(_)) {
                        self.find_applications(frame, Some(own), &mut found);
                    }
                }
                Statement::Observe { args, .. } => {
                    args.iter().for_each(|arg| self.find_applications(frame, arg_value(arg), &mut found));
                }
                Statement::Loss { value, .. }
                | Statement::Metric { value, .. }
                | Statement::Update { value, .. } => {
                    self.find_applications(frame, Some(value), &mut found);
                }
                Statement::State(list) => {
                    list.iter().for_each(|declaration| {
                        self.find_applications(frame, declaration.init.as_ref(), &mut found)
                    });
                }
                Statement::Input(_)
                | Statement::Param(_)
                | Statement::Gradient(_)
                | Statement::Train { .. } => {}
            }
        }
        found.sort();
        let mut count: HashMap<String, usize> = HashMap::new();
        for (place, cell) in found {
            let number = count.entry(cell.clone()).or_default();
            *number += 1;
            let name = if *number == 1 { cell } else { format!("{cell}{number}") };
            self.frames[frame].anonymous.insert(place, name);
        }
    }

    /// Applications in the arguments of a call; the cell that a stack is made of is none.
    fn find_in_arguments(
        &self,
        frame: usize,
        callee: &'a Expr,
        args: &'a [Arg],
        found: &mut Vec<(u32, String)>,
    ) {
        let stacked =
            matches!(&callee.kind, ExprKind::Name(name) if self.stacked(frame, name, args).is_some());
        for value in args.iter().filter_map(arg_value) {
            match &value.kind {
                ExprKind::Call(_, dims) if stacked => {
                    dims.iter().for_each(|dim| self.find_applications(frame, arg_value(dim), found));
                }
                _ => self.find_applications(frame, Some(value), found),
            }
        }
    }

    fn find_applications(&self, frame: usize, expr: Option<&'a Expr>, found: &mut Vec<(u32, String)>) {
        let mut stack: Vec<&'a Expr> = expr.into_iter().collect();
        while let Some(expr) = stack.pop() {
            match &expr.kind {
                ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Name(_) => {}
                ExprKind::Field(inner, _) | ExprKind::Transpose(inner) | ExprKind::Negate(inner) => {
                    stack.push(inner)
                }
                ExprKind::Index(inner, entries) => {
                    stack.push(inner);
                    for entry in entries {
                        if let ast::Index::At(at) = entry {
                            stack.push(at);
                        }
                    }
                }
                ExprKind::Call(callee, args) => {
                    if let ExprKind::Name(name) = &callee.kind {
                        if self.is_cell(name) {
                            found.push((callee.span.start, name.to_lowercase()));
                        } else if self.stacked(frame, name, args).is_some() {
                            found.push((callee.span.start, name.clone()));
                            self.find_in_arguments(frame, callee, args, found);
                            continue;
                        }
                    }
                    stack.push(callee);
                    stack.extend(args.iter().filter_map(arg_value));
                }
                ExprKind::Binary(_, a, b) => stack.extend([&**a, &**b]),
                ExprKind::Concat(parts) => stack.extend(parts),
            }
        }
    }
}
