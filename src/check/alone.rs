//! A function that nothing calls: its body on made-up arguments, so that a mistake in it is found where it is
//! written and not only where it is used.
//!
//! `fn f(x: [N]) -> [N] = 2 * z` has an unknown name whatever `x` is. An argument of a declared type is made up in
//! that shape, with a size of its own for each dimension; of one without a type nothing is known, so only
//! what does not depend on it is checked. Not done: functions that read children or parents of a tree,
//! which need a tree to be read in.

use std::collections::{BTreeSet, HashMap};

use crate::ir::{AxisKind, AxisSet, InputSpec, Op, Origin, ValueType};
use crate::syntax::ast::{self, Arg, Expr, ExprKind, Index};

use super::Checker;
use super::frame::{Frame, Symbol, Thing};

/// Sizes of dimensions: all different, and divisible by what a body may divide them by.
const SIZES: [usize; 6] = [240, 360, 480, 720, 840, 960];
/// Words for places in a tree.
const IN_TREES: [&str; 6] = ["left", "right", "child", "parent", "root", "leaf"];

impl<'a> Checker<'a> {
    /// Checks the body of a function that nothing calls.
    pub(super) fn function_alone(&mut self, function: &'a ast::Function) {
        let mut axes = self.declared_axes();
        let mut in_tree = false;
        places(&function.body, &mut |name, is_axis| {
            in_tree |= IN_TREES.contains(&name) || name.contains('.');
            if is_axis {
                axes.insert(name.to_string());
            }
        });
        if in_tree {
            return;
        }
        axes.insert("t".to_string());
        axes.retain(|axis| !function.params.iter().any(|(param, _)| param.text == *axis) && axis != "batch");
        let mut used = AxisSet::BATCH;
        let mut frame = Frame::new(self.blank, String::new(), String::new(), sizes(function));
        for name in axes {
            if let Some(axis) = self.graph.axis(&name, AxisKind::Time) {
                self.settle(axis, false);
                used = used.with(axis);
                frame.axes.insert(name, axis);
            }
        }
        let frame = self.push_frame(frame);
        for (name, ty) in &function.params {
            let symbol = match ty.as_ref().map(|ty| self.declared_type(frame, ty)) {
                Some(Some((shape, element))) => {
                    let ty = ValueType { shape, element, axes: used };
                    let (op, spec) = (Op::Input(name.text.clone()), name.text.clone());
                    self.graph.inputs.push(InputSpec { name: spec, ty: ty.clone(), observed: false });
                    let node = self.graph.leaf(op, ty, Origin::forward(name.span), None);
                    Symbol::Known(Thing::Value(node.into()))
                }
                Some(None) | None => Symbol::Failed,
            };
            self.define(frame, name, symbol);
        }
        self.active.push(&function.name.text);
        if let Some(result) = self.value(frame, &function.body) {
            self.bind_dims(frame, frame, function.result.as_ref(), result, function.body.span);
        }
        self.active.pop();
    }

    /// The names of all axes that the definitions run along.
    fn declared_axes(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for definition in self.definitions.values().filter(|definition| !definition.library) {
            let (ast::Item::Cell(block) | ast::Item::Model(block)) = definition.item else { continue };
            found.extend(block.axis.iter().map(|axis| axis.name.text.clone()));
            for statement in &block.statements {
                if let ast::Statement::Input(list) = statement {
                    let over = list.iter().flat_map(|declaration| &declaration.over);
                    found.extend(over.map(|axis| axis.name.text.clone()));
                }
            }
        }
        found.retain(|name| !name.contains('.'));
        found
    }
}

/// A size for every dimension that the arguments' types name.
fn sizes(function: &ast::Function) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    let mut sizes = SIZES.iter().cycle();
    for (_, ty) in &function.params {
        let dims = match ty {
            Some(ast::Type::Real(dims, _)) => dims.iter().collect(),
            Some(ast::Type::Id(size, _)) => vec![&**size],
            None => Vec::new(),
        };
        for dim in dims {
            if let ExprKind::Name(name) = &dim.kind
                && !found.contains_key(name)
            {
                found.insert(name.clone(), sizes.next().copied().unwrap_or(SIZES[0]));
            }
        }
    }
    found
}

/// Names of axes (`over t`, `[t-1]`) and of places (`[left]`) in an expression.
fn places(expr: &Expr, found: &mut impl FnMut(&str, bool)) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Name(_) => {}
        ExprKind::Field(inner, _) | ExprKind::Transpose(inner) | ExprKind::Negate(inner) => {
            places(inner, found);
        }
        ExprKind::Binary(_, a, b) => {
            places(a, found);
            places(b, found);
        }
        ExprKind::Concat(parts) => parts.iter().for_each(|part| places(part, found)),
        ExprKind::Index(inner, entries) => {
            places(inner, found);
            for entry in entries {
                match entry {
                    Index::At(at) => {
                        if let ExprKind::Binary(_, a, _) = &at.kind
                            && let ExprKind::Name(name) = &a.kind
                        {
                            found(name, true);
                        }
                        if let ExprKind::Name(name) = &at.kind {
                            found(name, false);
                        }
                        if let ExprKind::Call(callee, _) = &at.kind
                            && let ExprKind::Name(name) = &callee.kind
                        {
                            found(name, false);
                        }
                        places(at, found);
                    }
                    Index::Range(..) => {}
                }
            }
        }
        ExprKind::Call(callee, args) => {
            places(callee, found);
            for arg in args {
                match arg {
                    Arg::Value(value) | Arg::Named(_, value) => places(value, found),
                    Arg::Over(value, axes) => {
                        places(value, found);
                        axes.iter().for_each(|axis| found(&axis.text, true));
                    }
                    Arg::Along(axis) => found(&axis.text, true),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::driver::session::Model;

    fn wrong(text: &str) -> Vec<String> {
        match Model::new("f.rnn", text).check_everything() {
            Ok(_) => Vec::new(),
            Err(crate::driver::session::SessionError::Mistakes(report)) => {
                report.diagnostics.iter().map(|found| found.message.clone()).collect()
            }
            Err(other) => vec![other.to_string()],
        }
    }

    #[test]
    fn mistakes_in_functions_that_nothing_calls() {
        for (text, message) in [
            ("fn f(x) = 2 * z", "nothing here is called `z`"),
            ("fn f(x: [N]) = x * M", "nothing here is called `M`"),
            ("fn f(x) = tnah(x)", "nothing here is called `tnah`"),
            ("fn f(x: [N], W: [M, N]) = W @ x + x", "do not match"),
            ("fn f(x: [N]) -> [N] = sum(x)", "does not fit the declared type"),
            ("fn f(x) = f(x)", "calls itself"),
        ] {
            let found = wrong(text);
            assert!(found.len() == 1 && found[0].contains(message), "{text}: {found:?}");
        }
    }

    #[test]
    fn functions_that_are_sound() {
        for text in [
            "fn f(x) = 2 * x",
            "fn f(x: [N], W: [M, N]) -> [M] = W @ x",
            "fn f(x: [N]) -> [N] = concat(x[0:N / 2], x[N / 2:N])",
            "fn f(x: [N]) = softmax(sum(x * x[t-1]) over t)",
            "fn f(x: [N]) = sum(x over s) / 2 + x[s.last]",
            "fn f(t: []) = t",
            "fn f(x: [N]) = x * t + pi",
            "fn f(h: [H]) = sum(h[child] over child) + h[left]",
            "fn f(x: [H], w: id(V)) = onehot(w, V)",
            "fn g(x) = f(x, 1)\nfn f(x, y) = x + y",
            "fn f(x: [N, 2 * N]) = x.T",
            "fn f(x: [N]) = dropout(x, 0.1)",
        ] {
            assert_eq!(wrong(text), Vec::<String>::new(), "{text}");
        }
    }
}
