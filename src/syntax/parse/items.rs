//! Items: `cell RNN(I, H) { … }`, `model Tagger(V = 65) { … }`, `fn f(x: [N]) -> [N] = …`.
//!
//! Heads and functions are built here; what stands between the braces is built by `statements`.

use pest::iterators::{Pair, Pairs};

use super::{Builder, Built, Rule, mismatch};
use crate::base::Diagnostic;
use crate::syntax::ast::{AxisDecl, Block, Dim, Expr, File, Function, Ident, Item, Type};

impl Builder<'_> {
    /// A whole file; what is wrong in several items is reported for each of them.
    pub(super) fn file(&self, pairs: Pairs<Rule>) -> Result<File, Vec<Diagnostic>> {
        let (mut items, mut errors) = (Vec::new(), Vec::new());
        for pair in pairs.flat_map(Pair::into_inner).filter(|pair| pair.as_rule() != Rule::EOI) {
            match self.item(pair) {
                Ok(item) => items.push(item),
                Err(error) => errors.push(*error),
            }
        }
        if errors.is_empty() { Ok(File { items }) } else { Err(errors) }
    }

    /// One item.
    pub(super) fn item(&self, pair: Pair<Rule>) -> Built<Item> {
        match pair.as_rule() {
            Rule::block => self.block(pair),
            Rule::function => self.function(pair).map(Item::Function),
            _ => Err(mismatch(self.span(&pair))),
        }
    }

    fn block(&self, pair: Pair<Rule>) -> Built<Item> {
        let span = self.span(&pair);
        let mut inner = pair.into_inner();
        let head = self.child(&mut inner, span)?;
        let is_cell = head.clone().into_inner().any(|word| word.as_rule() == Rule::cell_word);
        let mut parts = head.into_inner();
        let name = self.ident(&self.child(&mut parts, span)?);
        let (mut dims, mut axis) = (Vec::new(), None);
        for part in parts {
            match part.as_rule() {
                Rule::dims => dims = self.children(part).map(|dim| self.dim(dim)).collect::<Built<_>>()?,
                Rule::block_axis => axis = Some(self.block_axis(part)?),
                _ => {}
            }
        }
        let statements = inner
            .filter(|part| part.as_rule() == Rule::statement)
            .map(|part| self.statement(part))
            .collect::<Built<_>>()?;
        let block = Block { name, dims, axis, statements, span };
        Ok(if is_cell { Item::Cell(block) } else { Item::Model(block) })
    }

    fn dim(&self, pair: Pair<Rule>) -> Built<Dim> {
        let span = self.span(&pair);
        let mut inner = pair.into_inner();
        let name = self.ident(&self.child(&mut inner, span)?);
        let default: Option<Expr> =
            self.child(&mut inner, span).ok().map(|pair| self.expression(pair)).transpose()?;
        Ok(Dim { name, default })
    }

    fn block_axis(&self, pair: Pair<Rule>) -> Built<AxisDecl> {
        let span = self.span(&pair);
        self.axis(self.child(&mut pair.into_inner(), span)?)
    }

    /// `tree n` or `t`.
    pub(super) fn axis(&self, pair: Pair<Rule>) -> Built<AxisDecl> {
        let span = self.span(&pair);
        let is_word = |part: &Pair<Rule>| part.as_rule() == Rule::tree_word;
        let tree = pair.clone().into_inner().any(|part| is_word(&part));
        let name = pair.into_inner().find(|part| !is_word(part));
        Ok(AxisDecl { tree, name: self.ident(&name.ok_or_else(|| mismatch(span))?) })
    }

    fn function(&self, pair: Pair<Rule>) -> Built<Function> {
        let span = self.span(&pair);
        let mut inner = pair.into_inner();
        let name = self.ident(&self.child(&mut inner, span)?);
        let (mut params, mut result) = (Vec::new(), None);
        loop {
            let part = self.child(&mut inner, span)?;
            match part.as_rule() {
                Rule::parameter => params.push(self.parameter(part)?),
                Rule::function_result => {
                    let ty = self.child(&mut part.into_inner(), span)?;
                    result = Some(self.value_type(ty)?);
                }
                _ => {
                    return Ok(Function { name, params, result, body: self.expression(part)?, span });
                }
            }
        }
    }

    fn parameter(&self, pair: Pair<Rule>) -> Built<(Ident, Option<Type>)> {
        let span = self.span(&pair);
        let mut inner = pair.into_inner();
        let name = self.ident(&self.child(&mut inner, span)?);
        let ty = self.child(&mut inner, span).ok().map(|pair| self.value_type(pair)).transpose()?;
        Ok((name, ty))
    }
}
