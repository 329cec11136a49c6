//! Statements: declarations, equations, observations, losses, `train { … }`.
//!
//! `param W_f, W_i: [H, I] = ones, b: [H]` becomes two declarations: names share the type and the
//! initial value of their own colon, not of the next.

use pest::iterators::Pair;

use super::{Builder, Built, Rule, mismatch};
use crate::syntax::ast::{Declaration, Ident, Statement, Target, Type};

impl Builder<'_> {
    /// One statement.
    pub(super) fn statement(&self, pair: Pair<Rule>) -> Built<Statement> {
        let span = self.span(&pair);
        let form = self.child(&mut pair.into_inner(), span)?;
        match form.as_rule() {
            Rule::definition => self.definition(form),
            Rule::input => self.declarations(form).map(Statement::Input),
            Rule::state => self.declarations(form).map(Statement::State),
            Rule::param => self.declarations(form).map(Statement::Param),
            Rule::gradient => self.gradient(form),
            Rule::loss | Rule::metric | Rule::update => self.scalar(form),
            Rule::train => self.train(form),
            _ => Err(mismatch(span)),
        }
    }

    /// `target = value` or `target ~ distribution(args)`.
    fn definition(&self, pair: Pair<Rule>) -> Built<Statement> {
        let span = self.span(&pair);
        let mut inner = pair.into_inner();
        let target = self.target(self.child(&mut inner, span)?)?;
        let right = self.child(&mut inner, span)?;
        if right.as_rule() != Rule::name {
            return Ok(Statement::Equation { target, value: self.expression(right)? });
        }
        let distribution = self.ident(&right);
        let args = self.arguments(self.child(&mut inner, span)?)?;
        Ok(Statement::Observe { target, distribution, args, span })
    }

    fn target(&self, pair: Pair<Rule>) -> Built<Target> {
        let span = self.span(&pair);
        let mut inner = pair.into_inner();
        let name = self.ident(&self.child(&mut inner, span)?);
        let index = inner.filter(|part| part.as_rule() == Rule::path).map(|axis| self.ident(&axis)).collect();
        Ok(Target { name, index, span })
    }

    fn declarations(&self, pair: Pair<Rule>) -> Built<Vec<Declaration>> {
        let declarations = pair.into_inner().filter(|part| part.as_rule() == Rule::declaration);
        declarations.map(|part| self.declaration(part)).collect()
    }

    fn declaration(&self, pair: Pair<Rule>) -> Built<Declaration> {
        let span = self.span(&pair);
        let mut inner = pair.into_inner();
        let names = self.child(&mut inner, span)?;
        let names = self.children(names).map(|name| self.ident(&name)).collect();
        let ty = self.value_type(self.child(&mut inner, span)?)?;
        let (mut over, mut init) = (Vec::new(), None);
        for part in inner {
            match part.as_rule() {
                Rule::declaration_over => {
                    over = self.children(part).map(|axis| self.axis(axis)).collect::<Built<_>>()?;
                }
                Rule::expression => init = Some(self.expression(part)?),
                _ => {}
            }
        }
        Ok(Declaration { names, ty, over, init, span })
    }

    /// The names below a pair: the axes of an `over`.
    pub(super) fn names(&self, pair: Pair<Rule>) -> Vec<Ident> {
        let names = pair.into_inner().filter(|part| part.as_rule() == Rule::path);
        names.map(|name| self.ident(&name)).collect()
    }

    /// `[H, I]` or `id(V)`.
    pub(super) fn value_type(&self, pair: Pair<Rule>) -> Built<Type> {
        let span = self.span(&pair);
        let form = self.child(&mut pair.into_inner(), span)?;
        let is_id = form.as_rule() == Rule::id_type;
        if is_id {
            let size = self.child(&mut form.into_inner(), span)?;
            return Ok(Type::Id(Box::new(self.expression(size)?), span));
        }
        Ok(Type::Real(self.children(form).map(|dim| self.expression(dim)).collect::<Built<_>>()?, span))
    }

    fn gradient(&self, pair: Pair<Rule>) -> Built<Statement> {
        let span = self.span(&pair);
        let adjoints = pair.into_inner().filter(|part| part.as_rule() == Rule::adjoint);
        let pairs = adjoints.map(|adjoint| {
            let mut inner = adjoint.into_inner();
            let name = self.ident(&self.child(&mut inner, span)?);
            Ok((name, self.ident(&self.child(&mut inner, span)?)))
        });
        pairs.collect::<Built<_>>().map(Statement::Gradient)
    }

    /// `loss name = value`, `metric name = value`, `update name = value`.
    fn scalar(&self, pair: Pair<Rule>) -> Built<Statement> {
        let span = self.span(&pair);
        let rule = pair.as_rule();
        let mut inner = pair.into_inner();
        let name = self.ident(&self.child(&mut inner, span)?);
        let value = self.expression(self.child(&mut inner, span)?)?;
        Ok(match rule {
            Rule::loss => Statement::Loss { name, value },
            Rule::update => Statement::Update { name, value },
            _ => Statement::Metric { name, value },
        })
    }

    fn train(&self, pair: Pair<Rule>) -> Built<Statement> {
        let span = self.span(&pair);
        let settings = pair.into_inner().filter(|part| part.as_rule() == Rule::setting);
        let settings = settings.map(|setting| {
            let mut inner = setting.into_inner();
            let name = self.ident(&self.child(&mut inner, span)?);
            Ok((name, self.expression(self.child(&mut inner, span)?)?))
        });
        Ok(Statement::Train { settings: settings.collect::<Built<_>>()?, span })
    }
}
