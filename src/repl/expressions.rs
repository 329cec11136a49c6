//! Expressions: checked and interpreted as a small program over what the session holds.
//!
//! `W @ x + 1` becomes `model … { param W: [3, 4]  input x: [4] over t  result = W @ x + 1 }`, made as a tree so
//! that mistakes are shown in the line as typed. Values without positions are parameters (they have no
//! batch), the others inputs. What applies a cell is kept as an equation, so that its fields stay at hand.

use std::collections::{BTreeMap, BTreeSet};

use super::datum::{Datum, Extent};
use super::literals::LITERALS;
use super::{Done, Failure, Session, of_session, words};
use crate::base::Span;
use crate::check::{Checked, Mode, Request, check};
use crate::driver::example::{parameters, settings};
use crate::driver::session::Model;
use crate::eval::{Feeds, Program};
use crate::ir::{AxisKind, Element, Graph, OutputKind, Tree};
use crate::opt::clean;
use crate::syntax::ast::{Arg, Expr, ExprKind, Ident, Index, Statement};
use crate::syntax::{ast, parse, parse_expression, parse_statement};

/// What the value of an expression is called in its program.
const RESULT: &str = "result";

/// What a name of the session stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bound {
    /// A value.
    Datum(Datum),
    /// An equation that is computed wherever it is read, and the literals in it.
    Equation(String, Statement, Vec<(String, Datum)>),
}

/// An expression's program on its example.
struct Little {
    graph: Graph,
    feeds: Feeds,
}

impl Session {
    /// Shows the value of an expression.
    pub(super) fn show_expression(&mut self, text: &str, all: bool) -> Done {
        let expr = self.expression(text)?;
        if let ExprKind::Call(function, args) = &expr.kind
            && let ExprKind::Name(name) = &function.kind
            && self.is_literal(name)
        {
            return Ok(words::value(&self.literal(name, args, expr.span)?, all));
        }
        let datum = self.evaluated(expr, text)?;
        Ok(words::value(&datum, all))
    }

    /// Shows the type of an expression; nothing is computed but its literals.
    pub(super) fn show_type(&mut self, text: &str) -> Done {
        let expr = self.expression(text)?;
        let little = self.little(expr, text)?;
        let operand = result(&little.graph)?;
        Ok(words::type_in(&little.graph, &little.graph.type_at(operand)))
    }

    /// `x = expression`
    pub(super) fn assign(&mut self, text: &str) -> Done {
        let statement = parse_statement(text).map_err(|found| self.mistakes(text, found))?;
        let Statement::Equation { target, value } = &statement else {
            return Err(Failure::new("a declaration belongs into a cell or a model"));
        };
        let name = target.name.text.clone();
        if name.contains('.') || !target.index.is_empty() {
            return self.equation(&name, value.clone(), text);
        }
        self.names_clash(&name)?;
        if applies_a_cell(value, self) {
            let mut literals = Vec::new();
            let mut own = statement.clone();
            if let Statement::Equation { value, .. } = &mut own {
                self.lower(value, &format!("_{name}_"), &mut literals)?;
            }
            // A wrong one is not kept.
            let mut trial = self.clone();
            trial
                .values
                .insert(name.clone(), Bound::Equation(text.to_string(), own.clone(), literals.clone()));
            let reader = Expr { kind: ExprKind::Name(name.clone()), span: target.name.span };
            let little = trial.little(reader, text);
            let shown = match little.and_then(|little| Ok((result(&little.graph)?, little.graph))) {
                Ok((operand, graph)) => words::type_in(&graph, &graph.type_at(operand)),
                // An instance without an argument is no value.
                Err(_) if is_instance(value) => "a cell, to be applied".to_string(),
                Err(failure) => return Err(failure),
            };
            self.values.insert(name.clone(), Bound::Equation(text.to_string(), own, literals));
            return Ok(format!("{name}: {shown}"));
        }
        let datum = match &value.kind {
            ExprKind::Call(function, args) => match &function.kind {
                ExprKind::Name(literal) if self.is_literal(literal) => {
                    self.literal(literal, args, value.span)?
                }
                _ => self.evaluated(value.clone(), text)?,
            },
            _ => self.evaluated(value.clone(), text)?,
        };
        let shown = match datum.scalar() {
            Some(number) if datum.element == Element::Real => format!("{name} = {}", words::number(number)),
            _ => format!("{name}: {}", words::type_of(&datum)),
        };
        self.values.insert(name, Bound::Datum(datum));
        Ok(shown)
    }

    /// `dh[t] = …`: an equation over what the model last looked at has, as `:grad` prints them.
    fn equation(&self, name: &str, value: Expr, text: &str) -> Done {
        let Some(watched) = &self.watched else {
            return Err(Failure::new(format!(
                "an equation with positions is evaluated on a model's values: say `:data M` first (at the prompt a \
                 value has a plain name, `{} = …`)",
                name.rsplit('.').next().unwrap_or("x")
            )));
        };
        let datum = self.evaluated(value, text)?;
        let own = watched.value(name).filter(|own| own.along == datum.along && own.shape == datum.shape);
        let note = own.map(|own| {
            let pairs = own.numbers().into_iter().zip(datum.numbers());
            let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            match apart <= 1e-9 {
                true => format!("as {}.{name}\n", watched.model),
                false => format!("{} from {}.{name}\n", words::number(apart), watched.model),
            }
        });
        Ok(words::value(&datum, false) + &note.unwrap_or_default())
    }

    /// The value of an expression that stands inside another.
    pub(super) fn datum(&self, expr: Expr) -> Result<Datum, Failure> {
        if let ExprKind::Call(function, args) = &expr.kind
            && let ExprKind::Name(name) = &function.kind
            && self.is_literal(name)
        {
            return self.literal(name, args, expr.span);
        }
        self.evaluated(expr, "")
    }

    /// The value of the text of an expression.
    pub(super) fn value_of(&self, text: &str) -> Result<Datum, Failure> {
        let expr = self.expression(text)?;
        match expr.kind {
            ExprKind::Call(..) => self.datum(expr),
            _ => self.evaluated(expr, text),
        }
    }

    /// The value of the text of an expression that may also mention what `known` knows.
    pub(super) fn value_with(
        &self,
        text: &str,
        known: &dyn Fn(&str) -> Option<Datum>,
    ) -> Result<Datum, Failure> {
        let expr = self.expression(text)?;
        let mut session = self.clone();
        for name in names(&expr) {
            if let Some(datum) = known(&name) {
                session.values.insert(name, Bound::Datum(datum));
            }
        }
        session.evaluated(expr, text)
    }

    fn expression(&self, text: &str) -> Result<Expr, Failure> {
        if let Some((word, rest)) = text.trim().split_once(char::is_whitespace)
            && matches!(word, "param" | "input" | "state" | "loss" | "metric" | "train" | "gradient")
            && rest.trim_start().starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '{')
        {
            return Err(Failure::new(format!(
                "`{word}` declares something of a cell or a model; at the prompt a value is `W = normal([3, 4])`"
            )));
        }
        parse_expression(text).map_err(|found| self.mistakes(text, found))
    }

    /// Mistakes in a line.
    pub(super) fn mistakes(&self, text: &str, found: Vec<crate::base::Diagnostic>) -> Failure {
        of_session(Model::new("input", text).mistakes(found))
    }

    pub(super) fn is_literal(&self, name: &str) -> bool {
        LITERALS.contains(&name) && self.definitions.get(name).is_none() && !self.values.contains_key(name)
    }

    fn evaluated(&self, expr: Expr, text: &str) -> Result<Datum, Failure> {
        let Little { mut graph, feeds } = self.little(expr, text)?;
        let operand = result(&graph)?;
        graph.outputs.retain(|output| output.value == operand);
        graph.outputs.truncate(1);
        clean(&mut graph);
        super::models::room(&graph, &feeds)?;
        let operand = graph.outputs.first().map_or(operand, |output| output.value);
        let values = Program::new(&graph)?.until(self.stop()).run(&feeds)?;
        let trees = |axis: &str| feeds.trees.get(axis)?.first().cloned();
        Datum::of(&graph, &values, operand, trees).ok_or_else(|| Failure::new("this has no value"))
    }

    /// The program of an expression; `text` is the line that its places are in.
    fn little(&self, mut expr: Expr, text: &str) -> Result<Little, Failure> {
        let mut bound: Vec<(String, Datum)> = Vec::new();
        self.lower(&mut expr, "_", &mut bound)?;
        // The line first, then what it reads: places in the line stay.
        let mut source = format!("{text}\n\n");
        let place = |source: &mut String, text: &str| {
            let padded = format!("{}{text}", " ".repeat(source.len()));
            source.push_str(text);
            source.push_str("\n\n");
            padded
        };
        let program = self.definitions.source();
        let mut file = match program.trim().is_empty() {
            true => ast::File::default(),
            false => parse(&place(&mut source, &program)).map_err(|found| self.mistakes(&source, found))?,
        };
        let mut statements = Vec::new();
        let mut todo = names(&expr);
        let called = called(&expr);
        let mut done = BTreeSet::new();
        while let Some(name) = todo.pop_first() {
            if !done.insert(name.clone()) {
                continue;
            }
            match self.values.get(&name) {
                Some(Bound::Datum(datum)) => bound.push((name, datum.clone())),
                Some(Bound::Equation(text, statement, literals)) => {
                    let mut statement = statement.clone();
                    shift(&mut statement, source.len());
                    place(&mut source, text);
                    if let Statement::Equation { value, .. } = &statement {
                        todo.extend(names(value));
                    }
                    statements.push(statement);
                    bound.extend(literals.iter().cloned());
                }
                // What the model last looked at has is at hand without its name.
                None => {
                    let known = || self.watched.as_ref()?.value(&name);
                    if self.definitions.get(&name).is_none()
                        && !called.contains(&name)
                        && let Some(datum) = known()
                    {
                        bound.push((name, datum));
                    }
                }
            }
        }
        bound.sort_by(|a, b| a.0.cmp(&b.0));
        bound.dedup_by(|a, b| a.0 == b.0);
        let mut all: Vec<Statement> = bound.iter().map(|(name, datum)| declared(name, datum)).collect();
        all.extend(statements);
        let name = |text: &str| Ident { text: text.to_string(), span: Span::NONE };
        let target = ast::Target { name: name(RESULT), index: Vec::new(), span: expr.span };
        all.push(Statement::Equation { target, value: expr });
        let mut sizes = self.dims.clone();
        for (dim, size) in self.watched.iter().flat_map(|watched| &watched.graph.dims) {
            let taken = |name: &str| sizes.iter().any(|(known, _)| known == name);
            if !taken(dim) && !self.values.contains_key(dim) && bound.iter().all(|(name, _)| name != dim) {
                sizes.push((dim.clone(), *size));
            }
        }
        let dims = sizes.iter().map(|(dim, size)| ast::Dim {
            name: name(dim),
            default: Some(Expr { kind: ExprKind::Number(*size as f64), span: Span::NONE }),
        });
        let model = ast::Block {
            name: name("input"),
            dims: dims.collect(),
            axis: None,
            statements: all,
            span: Span::NONE,
        };
        file.items.push(ast::Item::Model(model));
        let request = Request { model: Some("input"), set: &[], mode: Mode::Train, everything: false };
        let Checked { graph, .. } =
            check(&file, &self.library, &request).map_err(|found| self.mistakes(&source, found))?;
        let feeds = self.feeds(&graph, &bound)?;
        Ok(Little { graph, feeds })
    }

    /// Puts values in the place of literals and of values of models.
    fn lower(&self, expr: &mut Expr, prefix: &str, bound: &mut Vec<(String, Datum)>) -> Result<(), Failure> {
        let datum = match &expr.kind {
            ExprKind::Call(function, args) => match &function.kind {
                ExprKind::Name(name) if self.is_literal(name) => Some(self.literal(name, args, expr.span)?),
                _ => None,
            },
            ExprKind::Field(..) => self.field(expr)?,
            _ => None,
        };
        if let Some(datum) = datum {
            let name = format!("{prefix}{}", bound.len() + 1);
            expr.kind = ExprKind::Name(name.clone());
            bound.push((name, datum));
            return Ok(());
        }
        for inner in children(expr) {
            self.lower(inner, prefix, bound)?;
        }
        Ok(())
    }

    /// `M.dec.h`: the value of a model on its example.
    fn field(&self, expr: &Expr) -> Result<Option<Datum>, Failure> {
        let Some(path) = dotted(expr) else { return Ok(None) };
        let Some((model, rest)) = path.split_once('.') else { return Ok(None) };
        if self.values.contains_key(model) {
            return Ok(None);
        }
        if self.definitions.names(super::definitions::Sort::Model).all(|known| known != model) {
            return Ok(self.watched.as_ref().and_then(|watched| watched.value(&path)));
        }
        self.value_in(model, rest).map(Some)
    }

    /// What the program of an expression is given.
    fn feeds(&self, graph: &Graph, bound: &[(String, Datum)]) -> Result<Feeds, Failure> {
        let mut lengths: BTreeMap<String, (usize, &str)> = BTreeMap::new();
        let mut trees: BTreeMap<String, (Tree, &str)> = BTreeMap::new();
        for (name, datum) in bound {
            for (axis, extent) in &datum.along {
                match extent {
                    Extent::Steps(count) => match lengths.insert(axis.clone(), (*count, name)) {
                        Some((known, other)) if known != *count => {
                            return Err(Failure::new(format!(
                                "`{other}` has {known} positions along `{axis}`, `{name}` has {count}: name another \
                                 axis (`over s`)"
                            )));
                        }
                        _ => {}
                    },
                    Extent::Nodes(tree) | Extent::Leaves(tree) | Extent::Children(tree) => {
                        let root = axis.split('.').next().unwrap_or(axis).to_string();
                        match trees.insert(root.clone(), (tree.clone(), name)) {
                            Some((known, other)) if known != *tree => {
                                return Err(Failure::new(format!(
                                    "`{other}` and `{name}` are on different trees `{root}`"
                                )));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        let mut feeds =
            Feeds { examples: 1, seed: self.seed, params: parameters(graph, self.seed), ..Feeds::default() };
        feeds.settings = settings(0.0, 0);
        feeds.lengths = lengths.into_iter().map(|(axis, (count, _))| (axis, vec![count])).collect();
        feeds.trees = trees.into_iter().map(|(axis, (tree, _))| (axis, vec![tree])).collect();
        for (name, datum) in bound {
            if feeds.params.contains_key(name) {
                feeds.params.insert(name.clone(), datum.numbers());
            } else {
                feeds.inputs.insert(name.clone(), datum.input(datum.element)?);
            }
        }
        // An axis that a cell brought along without a value on it has no position.
        for axis in graph.axes.iter().skip(1) {
            if axis.kind == AxisKind::Time {
                feeds.lengths.entry(axis.name.clone()).or_insert_with(|| vec![0]);
            }
        }
        Ok(feeds)
    }
}

/// The result's operand.
fn result(graph: &Graph) -> Result<crate::ir::Operand, Failure> {
    graph
        .output(OutputKind::Value, RESULT)
        .or_else(|| {
            let named = |node: &crate::ir::NodeId| graph.node(*node).name.as_deref() == Some(RESULT);
            graph.ids().into_iter().find(named).map(Into::into)
        })
        .ok_or_else(|| Failure::new("this is a cell, not a value: apply it, as in `LSTM(3, 4)(x)`"))
}

/// A value as a declaration.
fn declared(name: &str, datum: &Datum) -> Statement {
    let ident = |text: &str| Ident { text: text.to_string(), span: Span::NONE };
    let size = |size: &usize| Expr { kind: ExprKind::Number(*size as f64), span: Span::NONE };
    let ty = match datum.element {
        Element::Real => ast::Type::Real(datum.shape.iter().map(size).collect(), Span::NONE),
        Element::Id(range) => ast::Type::Id(Box::new(size(&range)), Span::NONE),
    };
    let over = datum
        .along
        .iter()
        .map(|(axis, extent)| ast::AxisDecl { tree: matches!(extent, Extent::Nodes(_)), name: ident(axis) });
    let declaration =
        ast::Declaration { names: vec![ident(name)], ty, over: over.collect(), init: None, span: Span::NONE };
    match datum.along.is_empty() && datum.element == Element::Real {
        true => Statement::Param(vec![declaration]),
        false => Statement::Input(vec![declaration]),
    }
}

/// `LSTM(3, 4)`, or `LSTM(3, 4)(x)` anywhere in it.
fn applies_a_cell(expr: &Expr, session: &Session) -> bool {
    let is_cell = |name: &str| {
        let is = |item: &ast::Item| matches!(item, ast::Item::Cell(block) if block.name.text == name);
        session.library.items.iter().any(is)
            || session.definitions.names(super::definitions::Sort::Cell).any(|cell| cell == name)
            || matches!(session.values.get(name), Some(Bound::Equation(..)))
    };
    let mut stack = vec![expr.clone()];
    while let Some(mut expr) = stack.pop() {
        if let ExprKind::Call(function, _) = &expr.kind
            && let ExprKind::Name(name) = &function.kind
            && is_cell(name)
        {
            return true;
        }
        stack.extend(children(&mut expr).into_iter().map(|inner| inner.clone()));
    }
    false
}

fn is_instance(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Call(function, _) if matches!(function.kind, ExprKind::Name(_)))
}

/// The names that an expression mentions.
fn names(expr: &Expr) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut stack = vec![expr.clone()];
    while let Some(mut expr) = stack.pop() {
        if let ExprKind::Name(name) = &expr.kind {
            found.insert(name.clone());
        }
        stack.extend(children(&mut expr).into_iter().map(|inner| inner.clone()));
    }
    found
}

/// The names that an expression calls.
fn called(expr: &Expr) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut stack = vec![expr.clone()];
    while let Some(mut expr) = stack.pop() {
        if let ExprKind::Call(function, _) = &expr.kind
            && let ExprKind::Name(name) = &function.kind
        {
            found.insert(name.clone());
        }
        stack.extend(children(&mut expr).into_iter().map(|inner| inner.clone()));
    }
    found
}

/// `a.b.c` as a path.
fn dotted(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Field(inner, field) => Some(format!("{}.{}", dotted(inner)?, field.text)),
        _ => None,
    }
}

/// The expressions right inside one.
fn children(expr: &mut Expr) -> Vec<&mut Expr> {
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Name(_) => Vec::new(),
        ExprKind::Field(inner, _) | ExprKind::Transpose(inner) | ExprKind::Negate(inner) => vec![inner],
        ExprKind::Index(inner, entries) => {
            let mut found: Vec<&mut Expr> = vec![inner];
            for entry in entries {
                match entry {
                    Index::At(at) => found.push(at),
                    Index::Range(from, to) => found.extend(from.iter_mut().chain(to.iter_mut())),
                }
            }
            found
        }
        ExprKind::Call(function, args) => {
            let mut found: Vec<&mut Expr> = vec![function];
            for arg in args {
                match arg {
                    Arg::Value(value) | Arg::Named(_, value) | Arg::Over(value, _) => found.push(value),
                    Arg::Along(_) => {}
                }
            }
            found
        }
        ExprKind::Binary(_, a, b) => vec![a, b],
        ExprKind::Concat(parts) => parts.iter_mut().collect(),
    }
}

/// Moves a statement's places, which are those of its own text.
fn shift(statement: &mut Statement, by: usize) {
    let moved = |span: Span| match span {
        Span::NONE => span,
        span => Span::new(span.start as usize + by, span.end as usize + by),
    };
    if let Statement::Equation { target, value } = statement {
        target.span = moved(target.span);
        target.name.span = moved(target.name.span);
        let mut stack = vec![value];
        while let Some(expr) = stack.pop() {
            expr.span = moved(expr.span);
            stack.extend(children(expr));
        }
    }
}
