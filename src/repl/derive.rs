//! `:grad`: the derived equations; `:why`: where an adjoint is from and what flows into it.
//!
//! Both read the graph of the gradient: an adjoint's node says whose adjoint it is, a term says through which
//! reader of the value it came back, and the table of derivatives says by which rule.

use super::clauses::clauses;
use super::definitions::nearest;
use super::{Done, Failure, Session};
use crate::base::Span;
use crate::driver::emit::{adjoint_equations, gradient};
use crate::driver::optimise;
use crate::grad::{grad, gradient_norm, rule, travel};
use crate::ir::{
    Access, Binary, Graph, NodeId, Op, Operand, OriginKind, OutputKind, Unary, listing, print, right_side,
    written,
};
use crate::opt::TIDY;

impl Session {
    /// `:grad [:grad | :raw] [M] [wrt NAME] [program | as NAME]`
    pub(super) fn grad(&mut self, rest: &str) -> Done {
        let (mut levels, mut raw) = (1, false);
        let mut rest = rest.trim();
        while let Some(flag) = rest.strip_prefix(':') {
            let (word, more) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
            match word {
                "grad" if levels < 3 => levels += 1,
                "grad" => return Err(Failure::new("three gradients of gradients are enough to look at")),
                "raw" => raw = true,
                other => {
                    return Err(Failure::new(format!("`:grad` knows `:grad` and `:raw`, not `:{other}`")));
                }
            }
            rest = more.trim();
        }
        let parts = clauses(rest, &["wrt", "program", "as"])?;
        let model = self.choose(&parts.head)?;
        let checked = self.checked(&model)?.graph;
        let wrt = parts.get("wrt").map(|name| parameter(&checked, name)).transpose()?;
        let names: Vec<String> = match wrt {
            Some(name) => vec![name],
            None => checked.params.iter().map(|param| param.name.clone()).collect(),
        };
        with_parameters(&checked)?;
        let mut graph = checked;
        // The gradient program of another model: its gradients are what there is to differentiate.
        if graph.outputs_of(OutputKind::Loss).next().is_none()
            && graph.outputs_of(OutputKind::Gradient).next().is_some()
        {
            graph = gradient_norm(&graph)?;
        }
        graph = grad(&graph, &names)?;
        for _ in 1..levels {
            graph = grad(&gradient_norm(&graph)?, &names)?;
        }
        graph.outputs.retain(|output| output.kind == OutputKind::Gradient);
        if !raw {
            optimise(&mut graph, TIDY)?;
        }
        let name = match parts.get("as") {
            Some(name) if is_name(name) => Some(name.to_string()),
            Some(name) => return Err(Failure::new(format!("`{name}` is no name for a model"))),
            None => None,
        };
        if name.is_none() && !parts.has("program") {
            return Ok(adjoint_equations(&graph));
        }
        graph.name = name.clone().unwrap_or_else(|| format!("{}_grad", graph.name));
        let text = print(&graph);
        if let Some(name) = name {
            self.names_clash(&name)?;
            self.define(&text)?;
            self.current = Some(name);
        }
        Ok(text)
    }

    /// The line of the source that a node is from.
    pub(super) fn line_of(&self, graph: &Graph, node: NodeId) -> String {
        let span = graph.node(node).origin.span;
        let (source, start) = (self.definitions.source(), span.start as usize);
        let number = source.get(..start).unwrap_or("").matches('\n').count();
        match source.lines().nth(number) {
            Some(text) if span != Span::NONE => {
                let (file, line) = self.definitions.place_of(start);
                format!("  {file}:{line}: {}\n", text.trim())
            }
            _ => String::new(),
        }
    }

    /// `:why [M] dz`
    pub(super) fn why(&mut self, rest: &str) -> Done {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (model, name) = match &words[..] {
            [name] => ("", *name),
            [model, name] => (*model, *name),
            _ => {
                return Err(Failure::new(
                    "`:why` takes the name of an adjoint that `:grad` prints, as in `:why dh`",
                ));
            }
        };
        let name = name.split('[').next().unwrap_or(name);
        let model = self.choose(model)?;
        let checked = self.checked(&model)?.graph;
        with_parameters(&checked)?;
        let graph = gradient(&checked, None)?;
        let names = listing(&graph);
        let is_adjoint = |node: &NodeId| matches!(graph.node(*node).origin.kind, OriginKind::Adjoint(_));
        let adjoints: Vec<&(NodeId, String)> =
            names.equations.iter().filter(|(node, _)| is_adjoint(node)).collect();
        let called = |(node, equation): &(NodeId, String)| {
            names.name(*node) == Some(name) || equation.split(['[', ' ']).next() == Some(name)
        };
        let Some((node, equation)) = adjoints.iter().find(|entry| called(entry)) else {
            let all: Vec<&str> =
                adjoints.iter().filter_map(|(_, equation)| equation.split(['[', ' ']).next()).collect();
            let near = match all.iter().find(|known| **known == format!("d{name}")) {
                Some(known) => Some(*known),
                None => nearest(name, all.iter().copied()),
            };
            let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
            return Err(Failure::new(format!(
                "no adjoint is called `{name}`{near} (there are {})",
                all.join(", ")
            )));
        };
        let OriginKind::Adjoint(of) = graph.node(*node).origin.kind else {
            return Err(Failure::new(format!("`{name}` is no adjoint")));
        };
        let mut text = format!("{equation}\n\n");
        let line = |node: NodeId| self.line_of(&checked, node);
        text += &subject(&checked, line, of);
        text += &terms(&checked, line, &graph, *node, of);
        Ok(text)
    }
}

/// That there is something to differentiate with respect to.
fn with_parameters(graph: &Graph) -> Result<(), Failure> {
    match graph.params.is_empty() {
        true => Err(Failure::new(format!(
            "`{}` has no parameter: there is nothing to differentiate with respect to",
            graph.name
        ))),
        false => Ok(()),
    }
}

/// A parameter by its path or the end of it.
fn parameter(graph: &Graph, name: &str) -> Result<String, Failure> {
    let known: Vec<&str> = graph.params.iter().map(|param| param.name.as_str()).collect();
    if known.contains(&name) {
        return Ok(name.to_string());
    }
    let ends: Vec<&str> =
        known.iter().filter(|path| path.rsplit('.').next() == Some(name)).copied().collect();
    match &ends[..] {
        [only] => Ok((*only).to_string()),
        [] => {
            let last = known.iter().map(|path| path.rsplit('.').next().unwrap_or(path));
            let near = nearest(name, known.iter().copied().chain(last));
            let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
            Err(Failure::new(format!(
                "model `{}` has no parameter `{name}`{near} (it has {})",
                graph.name,
                known.join(", ")
            )))
        }
        several => Err(Failure::new(format!("which `{name}`? There are {}", several.join(", ")))),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whose adjoint it is, and the line of the source that says so.
fn subject(checked: &Graph, line: impl Fn(NodeId) -> String, of: NodeId) -> String {
    let names = listing(checked);
    let text = match (checked.op(of), names.equations.iter().find(|(node, _)| *node == of)) {
        (Op::Param(path), _) => format!("the parameter {path}"),
        (Op::Input(path), _) => format!("the input {path}"),
        (_, Some((_, equation))) => equation.clone(),
        (_, None) => written(checked, &[of.into()]).concat(),
    };
    format!("is the adjoint of  {text}\n{}\n", line(of))
}

/// The terms that flow into an adjoint, each with the reader it comes from and the rule.
fn terms(
    checked: &Graph,
    line: impl Fn(NodeId) -> String,
    graph: &Graph,
    node: NodeId,
    of: NodeId,
) -> String {
    let found = summands(graph, node);
    let shown = match found.len() {
        1 => vec![right_side(graph, node)],
        _ => written(graph, &found.iter().map(|(operand, _)| *operand).collect::<Vec<_>>()),
    };
    let mut readers: Vec<(NodeId, usize, Access)> =
        checked.users(of).into_iter().filter(|(_, index, _)| *index < usize::MAX).collect();
    let mut text = match found.len() {
        1 => "one term flows in:\n".to_string(),
        count => format!("{count} terms flow in:\n"),
    };
    let mut matched: Vec<Option<(NodeId, usize, Access)>> = Vec::new();
    for (operand, _) in &found {
        let through = graph.node(operand.node).origin.through;
        let at = readers.iter().position(|(reader, _, _)| Some(*reader) == through);
        matched.push(at.map(|at| readers.remove(at)));
    }
    // What merely passes an adjoint on has no node of its own.
    for entry in matched.iter_mut().filter(|entry| entry.is_none()) {
        *entry = (!readers.is_empty()).then(|| readers.remove(0));
    }
    for (((_, negative), shown), reader) in found.iter().zip(&shown).zip(&matched) {
        text += &format!("\n  {}{shown}\n", if *negative { "-" } else { "" });
        let Some((reader, index, access)) = reader else { continue };
        text += &format!("    through {}\n", right_side(checked, *reader));
        text += &format!("    rule    {}\n", rule(checked.op(*reader), *index));
        let travel = travel(*access);
        if !travel.is_empty() {
            text += &format!("    place   {travel}\n");
        }
        let place = line(*reader);
        if !place.is_empty() {
            text += &format!("    source  {}", place.trim_start());
        }
    }
    text
}

/// The terms of a sum, and whether each is subtracted.
fn summands(graph: &Graph, node: NodeId) -> Vec<(Operand, bool)> {
    let names = listing(graph);
    let mut found = Vec::new();
    let mut stack: Vec<(Operand, bool)> = vec![(node.into(), false)];
    while let Some((operand, negative)) = stack.pop() {
        let inner =
            operand.node == node || (names.name(operand.node).is_none() && operand.access == Access::Here);
        let operands = graph.operands(operand.node);
        match graph.op(operand.node) {
            Op::Binary(Binary::Add) if inner => {
                stack.push((operands[1], negative));
                stack.push((operands[0], negative));
            }
            Op::Binary(Binary::Subtract) if inner => {
                stack.push((operands[1], !negative));
                stack.push((operands[0], negative));
            }
            Op::Unary(Unary::Negate) if inner && operand.node != node => stack.push((operands[0], !negative)),
            _ => found.push((operand, negative)),
        }
    }
    found
}
