//! Definitions in and out: typed, loaded, saved, shown and bound; and what the session holds, in words.

use std::path::PathBuf;

use super::clauses::{commas, count};
use super::definitions::{Definitions, Sort, nearest};
use super::expressions::Bound;
use super::literals::LITERALS;
use super::{Done, Failure, Session, of_session, words};
use crate::base::Severity;
use crate::check::{DISTINCT, Mode};
use crate::driver::session::{Model, SessionError};
use crate::driver::summary::summary;
use crate::ir::print;
use crate::runtime::files;
use crate::runtime::text::read_text;
use crate::syntax::ast::{self, Item as Parsed};
use crate::syntax::parse;

/// A dimension may be so large at most.
const LARGEST: usize = 1 << 31;

impl Session {
    /// Cells, models and functions as typed.
    pub(super) fn define(&mut self, text: &str) -> Done {
        let mut next = self.definitions.clone();
        let names = next.add(text, None).map_err(|found| self.mistakes(text, found))?;
        if let Some(name) = names.iter().find(|name| self.values.contains_key(*name)) {
            return Err(Failure::new(format!("`{name}` is a value: `:forget {name}` first")));
        }
        // What is typed must be right; what it makes of older definitions is told when they are used.
        let own = Model::new("input", text);
        let model = Model::new(next.place(), next.source());
        let mut notes = String::new();
        match model.check_everything() {
            Ok(checked) if !checked.warnings.is_empty() => {
                notes = model.report(checked.warnings).render(self.colour);
            }
            Ok(_) => {}
            Err(SessionError::Mistakes(report)) => {
                let start = next.source().rfind(text.trim());
                let inside = start.map(|start| start..start + text.trim().len());
                let (mine, other): (Vec<_>, Vec<_>) = report
                    .diagnostics
                    .iter()
                    .filter(|found| found.severity == Severity::Error)
                    .cloned()
                    .partition(|found| {
                        inside.as_ref().is_some_and(|range| range.contains(&(found.span.start as usize)))
                    });
                let offset = inside.map_or(0, |range| range.start) as i64
                    - (text.len() - text.trim_start().len()) as i64;
                if !mine.is_empty() {
                    let moved = mine.into_iter().map(|found| moved(found, offset)).collect();
                    return Err(of_session(own.mistakes(moved)));
                }
                notes = model.report(other).render(self.colour);
            }
            Err(other) => return Err(other.into()),
        }
        self.definitions = next;
        self.changed();
        // What was just written is what one looks at next.
        let models: Vec<String> = self.definitions.names(Sort::Model).map(str::to_string).collect();
        if let Some(name) = names.iter().rev().find(|name| models.contains(name)) {
            self.current = Some(name.clone());
        }
        Ok(format!("{notes}defined {}\n", names.join(", ")))
    }

    /// `:load`
    pub(super) fn load(&mut self, rest: &str) -> Done {
        let paths: Vec<PathBuf> = rest.split_whitespace().map(|path| path.trim_matches('"').into()).collect();
        if paths.is_empty() {
            return Err(Failure::new("`:load` takes the names of files"));
        }
        self.read(&paths)
    }

    /// Files into the session; all of them or none.
    pub(super) fn read(&mut self, paths: &[PathBuf]) -> Done {
        let mut next = self.definitions.clone();
        let (mut text, mut sources) = (String::new(), Vec::new());
        for path in paths {
            let source = read_text(path)?;
            let names = add(&mut next, &source, path)?;
            text += &format!("{}: {}\n", path.display(), names.join(", "));
            sources.push(source);
        }
        let model = Model::new(next.place(), next.source());
        let checked = model.check_everything().map_err(|error| {
            let SessionError::Mistakes(report) = error else { return of_session(error) };
            // What is wrong in a file is shown there, not among all that the session holds.
            for (path, source) in paths.iter().zip(&sources) {
                let own = report.diagnostics.iter().filter_map(|found| next.in_file(path, found.clone()));
                let own: Vec<_> = own.collect();
                if own.iter().any(|found| found.severity == Severity::Error) {
                    return of_session(Model::new(path.display().to_string(), source).mistakes(own));
                }
            }
            of_session(SessionError::Mistakes(report))
        })?;
        if !checked.warnings.is_empty() {
            text = model.report(checked.warnings).render(self.colour) + &text;
        }
        self.definitions = next;
        self.changed();
        Ok(text)
    }

    /// `:reload`
    pub(super) fn reload(&mut self) -> Done {
        let files = self.definitions.files.clone();
        match files.is_empty() {
            true => Err(Failure::new("no file was loaded")),
            false => self.read(&files),
        }
    }

    /// `:save`
    pub(super) fn save(&self, rest: &str) -> Done {
        let path = PathBuf::from(rest.trim().trim_matches('"'));
        if rest.trim().is_empty() {
            return Err(Failure::new("`:save` takes the name of a file"));
        }
        let text = self.definitions.source();
        if text.trim().is_empty() {
            return Err(Failure::new("there is no definition to save"));
        }
        let text = crate::syntax::format(&text).unwrap_or(text);
        files::replace(&path, |out| out.write_all(text.as_bytes()))?;
        Ok(format!("wrote {}", path.display()))
    }

    /// `:set`
    pub(super) fn set(&mut self, rest: &str) -> Done {
        let mut dims = self.dims.clone();
        for part in commas(rest) {
            let Some((name, size)) = part.split_once('=') else {
                return Err(Failure::new(format!("a dimension is bound as in `:set H = 4`, not `{part}`")));
            };
            let (name, size) = (name.trim().to_string(), size.trim());
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_name {
                return Err(Failure::new(format!("`{name}` is no name of a dimension")));
            }
            if self.values.contains_key(&name) {
                return Err(Failure::new(format!("`{name}` is a value: `:forget {name}` first")));
            }
            dims.retain(|(known, _)| *known != name);
            if size != "default" {
                dims.push((name, count(size, "set", LARGEST)?));
            }
        }
        self.dims = dims;
        self.changed();
        let all: Vec<String> = self.dims.iter().map(|(name, size)| format!("{name} = {size}")).collect();
        Ok(if all.is_empty() { "no dimension is bound".to_string() } else { all.join(", ") })
    }

    /// `:seed`
    pub(super) fn seed(&mut self, rest: &str) -> Done {
        if rest.trim().is_empty() {
            return Ok(format!("seed {}", self.seed));
        }
        self.seed = rest
            .trim()
            .parse()
            .map_err(|_| Failure::new(format!("a seed is a whole number, not `{}`", rest.trim())))?;
        self.changed();
        Ok(format!("seed {}", self.seed))
    }

    /// `:defs`
    pub(super) fn overview(&self) -> String {
        let mut text = String::new();
        for (what, sort) in [("models", Sort::Model), ("cells", Sort::Cell), ("functions", Sort::Function)] {
            let names: Vec<&str> = self.definitions.names(sort).collect();
            if !names.is_empty() {
                text += &format!("{what}: {}\n", names.join(", "));
            }
        }
        for (name, bound) in &self.values {
            match bound {
                Bound::Datum(datum) => text += &format!("{name}: {}\n", words::type_of(datum)),
                Bound::Equation(own, ..) => text += &format!("{}\n", own.trim()),
            }
        }
        if !self.dims.is_empty() {
            let dims: Vec<String> = self.dims.iter().map(|(name, size)| format!("{name} = {size}")).collect();
            text += &format!("bound: {}\n", dims.join(", "));
        }
        if text.is_empty() {
            "nothing yet: `:load` a file, or write a definition (`:help`)\n".into()
        } else {
            text
        }
    }

    /// `:forget`
    pub(super) fn forget(&mut self, name: &str) -> Done {
        let name = name.trim();
        let before = self.definitions.items.len();
        self.definitions.items.retain(|item| item.name != name);
        if self.values.remove(name).is_none() && before == self.definitions.items.len() {
            return Err(self.unknown(name));
        }
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
        self.changed();
        Ok(format!("forgot {name}"))
    }

    /// `:summary`
    pub(super) fn summary(&mut self, rest: &str) -> Done {
        let model = self.choose(rest)?;
        Ok(summary(&self.checked(&model)?.graph))
    }

    /// `:show`
    pub(super) fn show(&mut self, rest: &str) -> Done {
        let name = rest.trim();
        if let Some(bound) = self.values.get(name) {
            return match bound {
                Bound::Datum(datum) => {
                    Ok(format!("{name}: {}\n{}", words::type_of(datum), words::value(datum, false)))
                }
                Bound::Equation(text, ..) => Ok(text.trim().to_string()),
            };
        }
        let own = parse(&self.definitions.source()).ok();
        let items = own.iter().flat_map(|file| &file.items).chain(&self.library.items);
        let found = items.into_iter().find(|item| match item {
            Parsed::Cell(block) | Parsed::Model(block) => block.name.text == name,
            Parsed::Function(function) => function.name.text == name,
        });
        match found {
            Some(Parsed::Cell(block)) => self.show_cell(block),
            Some(Parsed::Function(_)) => {
                Ok(self.definitions.get(name).map_or(String::new(), |item| item.text.trim().to_string()))
            }
            Some(Parsed::Model(_)) => {
                let model = self.choose(name)?;
                Ok(print(&self.checked(&model)?.graph))
            }
            None if name.is_empty() => {
                let model = self.choose("")?;
                Ok(print(&self.checked(&model)?.graph))
            }
            None => Err(self.unknown(name)),
        }
    }

    /// The equations of a cell: those of a model that does nothing but apply it.
    fn show_cell(&self, block: &ast::Block) -> Done {
        let (source, name) = around(block, &self.dims);
        let all = format!("{}\n{source}", self.definitions.source());
        let model = Model { choice: Some(name), ..Model::new("session", all) };
        let checked = model.check(Mode::Train).map_err(of_session)?;
        let text = print(&checked.graph);
        let axis = block.axis.as_ref().map_or(String::new(), |axis| match axis.tree {
            true => format!(" over tree {}", axis.name.text),
            false => format!(" over {}", axis.name.text),
        });
        let dims: Vec<&str> = block.dims.iter().map(|dim| dim.name.text.as_str()).collect();
        let body = text.split_once('\n').map_or("", |(_, body)| body).replace("y.", "");
        let body: String = body
            .lines()
            .filter(|line| !line.trim_start().starts_with("y["))
            .map(|line| format!("{line}\n"))
            .collect();
        Ok(format!("cell {}({}){axis} {{\n{body}", block.name.text, dims.join(", ")))
    }

    /// What to say of a name that nothing has.
    pub(super) fn unknown(&self, name: &str) -> Failure {
        let own = self.definitions.items.iter().map(|item| item.name.as_str());
        let library = self.library.items.iter().map(|item| match item {
            Parsed::Cell(block) | Parsed::Model(block) => block.name.text.as_str(),
            Parsed::Function(function) => function.name.text.as_str(),
        });
        let near = nearest(name, own.chain(self.values.keys().map(String::as_str)).chain(library));
        let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
        Failure::new(format!("nothing here is called `{name}`{near}"))
    }

    /// That a value may have this name.
    pub(super) fn names_clash(&self, name: &str) -> Result<(), Failure> {
        let taken = if self.definitions.get(name).is_some() {
            "a definition"
        } else if self.dims.iter().any(|(dim, _)| dim == name) {
            "a dimension"
        } else if LITERALS.contains(&name) {
            "the name of a literal"
        } else if name.starts_with('_') || matches!(name, "result" | "input" | "T" | "batch") {
            "a name of the session's own"
        } else {
            return Ok(());
        };
        Err(Failure::new(format!("`{name}` is {taken}: choose another name")))
    }
}

/// Adds a file's text to definitions.
fn add(definitions: &mut Definitions, source: &str, path: &PathBuf) -> Result<Vec<String>, Failure> {
    // What the file defined before and no longer does is gone.
    let mut next = definitions.clone();
    let names = next
        .add(source, Some(path))
        .map_err(|found| of_session(Model::new(path.display().to_string(), source).mistakes(found)))?;
    next.items.retain(|item| item.file.as_ref() != Some(path) || names.contains(&item.name));
    *definitions = next;
    Ok(names)
}

/// A diagnostic whose places begin `by` bytes earlier.
fn moved(mut found: crate::base::Diagnostic, by: i64) -> crate::base::Diagnostic {
    let shift = |span: crate::base::Span| match span {
        crate::base::Span::NONE => span,
        span => {
            let at = |place: u32| usize::try_from((i64::from(place) - by).max(0)).unwrap_or(0);
            crate::base::Span::new(at(span.start), at(span.end))
        }
    };
    found.span = shift(found.span);
    found.labels.iter_mut().for_each(|label| label.span = shift(label.span));
    found
}

/// A model that does nothing but apply a cell, and its name.
fn around(block: &ast::Block, bound: &[(String, usize)]) -> (String, String) {
    let mut dims: Vec<String> = Vec::new();
    for (dim, size) in block.dims.iter().zip(DISTINCT.iter().cycle()) {
        let name = &dim.name.text;
        let known = bound.iter().find(|(own, _)| own == name).map(|(_, size)| *size);
        dims.push(format!("{name} = {}", known.unwrap_or(*size)));
    }
    let (axis, tree) = block
        .axis
        .as_ref()
        .map_or(("t", ""), |axis| (axis.name.text.as_str(), if axis.tree { "tree " } else { "" }));
    let mut inputs = String::new();
    let mut names = Vec::new();
    for statement in &block.statements {
        let ast::Statement::Input(declarations) = statement else { continue };
        for declaration in declarations {
            let sizes = |parts: &[ast::Expr]| {
                parts.iter().map(crate::syntax::expression).collect::<Vec<_>>().join(", ")
            };
            let ty = match &declaration.ty {
                ast::Type::Real(parts, _) => format!("[{}]", sizes(parts)),
                ast::Type::Id(size, _) => format!("id({})", crate::syntax::expression(size)),
            };
            let own: Vec<String> = declaration
                .over
                .iter()
                .map(|axis| format!("{}{}", if axis.tree { "tree " } else { "" }, axis.name.text))
                .collect();
            let over = if own.is_empty() { format!("{tree}{axis}") } else { own.join(", ") };
            for name in &declaration.names {
                inputs += &format!("  input {}: {ty} over {over}\n", name.text);
                names.push(name.text.clone());
            }
        }
    }
    let name = format!("{}_alone", block.name.text);
    let own: Vec<&str> = block.dims.iter().map(|dim| dim.name.text.as_str()).collect();
    let call = format!("{}({})({})", block.name.text, own.join(", "), names.join(", "));
    (format!("model {name}({}) {{\n{inputs}  y = {call}\n}}\n", dims.join(", ")), name)
}
