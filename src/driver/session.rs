//! A model's text on the way to a graph: read the file, bind dimensions, check, report.
//!
//! ```
//! use rnnc::{check::Mode, driver::session::Model};
//! let model = Model::new("tiny.rnn", "model M(V = 3) { input x: id(V) over t  param W: [V, V]  x[t] ~ categorical(W[x[t-1]]) }");
//! assert_eq!(model.check(Mode::Train)?.graph.inputs.len(), 1);
//! # Ok::<(), rnnc::driver::session::SessionError>(())
//! ```
//!
//! Nothing is optimised or compiled here (see `compile`), and nothing is printed.

use std::collections::BTreeMap;
use std::path::Path;

use thiserror::Error;

use super::front::front;
use crate::base::{Diagnostic, render};
use crate::check::{Checked, Mode, Request, Setting};
use crate::ir::{AxisId, AxisKind, Graph};
use crate::opt::{Uncut, carry};
use crate::runtime::checkpoint::RunMeta;
use crate::runtime::initializer::Initializer;
use crate::runtime::parameters::ParameterSpec;
use crate::runtime::settings::{Argument, SettingValue, TrainSettings};
use crate::runtime::text::{TextError, Vocabulary, read_text};
use crate::syntax::{ast, parse};

/// Mistakes of a program with the text they are in.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The file's name, for messages.
    pub file: String,
    /// Its text.
    pub source: String,
    /// What is wrong, at least one.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// The diagnostics as text that points into the source.
    pub fn render(&self, colour: bool) -> String {
        render(&self.diagnostics, &self.file, &self.source, colour)
    }
}

/// Why there is no checked model.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The file cannot be read as text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The program is wrong.
    #[error("{}", .0.render(false).trim_end())]
    Mistakes(Box<Report>),
    /// A model that cannot be fed with characters.
    #[error("model `{model}` cannot read a text: {reason}")]
    NotOfText {
        /// The model.
        model: String,
        /// What it has or lacks.
        reason: String,
    },
    /// A model over trees where a text is read or written.
    #[error(
        "model `{model}` runs over the tree `{axis}`, and a text has none: it is trained and measured on trees \
         (--trees) or arrays (--npz)"
    )]
    Trees {
        /// The model.
        model: String,
        /// The first of its trees.
        axis: String,
    },
    /// A vocabulary that does not fit.
    #[error("the text has {tokens} different {unit}, but `{input}` is {size} wide ({place})")]
    Vocabulary {
        /// Ids of the text.
        tokens: usize,
        /// `characters` or `words`.
        unit: &'static str,
        /// The input.
        input: String,
        /// How many ids it takes.
        size: usize,
        /// Where that number is from.
        place: String,
    },
}

/// The text of a program, the choice of a model in it, and dimensions bound from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The file's name, for messages.
    pub file: String,
    /// The program.
    pub source: String,
    /// Which model, where the file has several.
    pub choice: Option<String>,
    /// Dimensions by name; of two of the same name the later holds.
    pub set: Vec<(String, usize)>,
}

/// The input that a text is fed to: an id over one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextInput {
    /// Its name.
    pub name: String,
    /// The axis of its characters.
    pub axis: String,
    /// The dimension `V` of its `id(V)`, where that is a dimension of the model.
    pub dimension: Option<String>,
}

impl Model {
    /// A program with nothing chosen or bound.
    pub fn new(file: impl Into<String>, source: impl Into<String>) -> Model {
        Model { file: file.into(), source: source.into(), choice: None, set: Vec::new() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read or is not UTF-8.
    pub fn read(path: &Path, choice: Option<&str>, set: &[(String, usize)]) -> Result<Model, SessionError> {
        let source = read_text(path)?;
        let file = path.display().to_string();
        Ok(Model { file, source, choice: choice.map(str::to_string), set: set.to_vec() })
    }

    /// The model of a saved run, as it was bound then.
    pub fn of_run(path: &Path, meta: &RunMeta) -> Model {
        Model {
            file: format!("{} (the model inside)", path.display()),
            source: meta.model_text.clone(),
            choice: Some(meta.model_name.clone()),
            set: meta.dims.iter().map(|(name, size)| (name.clone(), *size)).collect(),
        }
    }

    /// Checks the chosen model.
    ///
    /// # Errors
    /// All mistakes of the text, with it.
    pub fn check(&self, mode: Mode) -> Result<Checked, SessionError> {
        self.check_as(mode, false)
    }

    /// Checks every definition of the text, the unused ones too; unbound dimensions get numbers.
    ///
    /// # Errors
    /// All mistakes of the text, with it.
    pub fn check_everything(&self) -> Result<Checked, SessionError> {
        self.check_as(Mode::Train, true)
    }

    fn check_as(&self, mode: Mode, everything: bool) -> Result<Checked, SessionError> {
        let request = Request { model: self.choice.as_deref(), set: &self.set, mode, everything };
        front(&self.source, &request).map_err(|diagnostics| self.mistakes(diagnostics))
    }

    /// That the model has no trees, which no text holds.
    ///
    /// # Errors
    /// It has one. What else is wrong with the model is left to its check.
    pub fn without_trees(&self) -> Result<(), SessionError> {
        // A dimension that the text binds later has no number yet.
        let checked = self.check(Mode::Evaluate).or_else(|_| self.check_everything());
        let Ok(Checked { graph, .. }) = checked else { return Ok(()) };
        match graph.axes.iter().find(|axis| axis.kind == AxisKind::Tree) {
            Some(axis) => Err(SessionError::Trees { model: graph.name.clone(), axis: axis.name.clone() }),
            None => Ok(()),
        }
    }

    /// Diagnostics with the text they point into.
    pub fn mistakes(&self, diagnostics: Vec<Diagnostic>) -> SessionError {
        SessionError::Mistakes(Box::new(self.report(diagnostics)))
    }

    /// The same, for those that are no errors.
    pub fn report(&self, diagnostics: Vec<Diagnostic>) -> Report {
        Report { file: self.file.clone(), source: self.source.clone(), diagnostics }
    }

    /// The input that a text goes to: the model's only input, an id over one axis.
    ///
    /// # Errors
    /// Syntax errors, no such model, or a model with other inputs.
    pub fn text_input(&self) -> Result<TextInput, SessionError> {
        let file = parse(&self.source).map_err(|diagnostics| self.mistakes(diagnostics))?;
        let Some(block) = self.block(&file) else {
            // Checking says what is wrong with the choice.
            let checked = self.check(Mode::Evaluate)?;
            return Err(not_of_text(&checked.graph.name, "it is not in the file"));
        };
        let inputs = inputs(block);
        let [(name, declaration)] = &inputs[..] else {
            let names: Vec<String> = inputs.iter().map(|(name, _)| format!("`{}`", name.text)).collect();
            let reason = match names.len() {
                0 => "it has no input".to_string(),
                _ => {
                    format!(
                        "a text is one input, this model has {} (--data and --npz feed them all)",
                        names.join(", ")
                    )
                }
            };
            return Err(not_of_text(&block.name.text, &reason));
        };
        let (ast::Type::Id(..), [axis]) = (&declaration.ty, &declaration.over[..]) else {
            let reason = format!("its input `{}` is not of the form `id(V) over t`", name.text);
            return Err(not_of_text(&block.name.text, &reason));
        };
        let dimension = dimension(block, declaration);
        Ok(TextInput { name: name.text.clone(), axis: axis.name.text.clone(), dimension })
    }

    fn block<'a>(&self, file: &'a ast::File) -> Option<&'a ast::Block> {
        let mut models = file.items.iter().filter_map(|item| match item {
            ast::Item::Model(block) => Some(block),
            ast::Item::Cell(_) | ast::Item::Function(_) => None,
        });
        match &self.choice {
            Some(name) => models.find(|block| block.name.text == *name),
            None => models.next().filter(|_| models.next().is_none()),
        }
    }

    /// The dimension `V` of an input `id(V)` of the model, if it has a name, and whether it has a number already
    /// (from `--set` or as its default).
    ///
    /// # Errors
    /// Syntax errors.
    pub fn dimension_of(&self, input: &str) -> Result<Option<(String, bool)>, SessionError> {
        let file = parse(&self.source).map_err(|diagnostics| self.mistakes(diagnostics))?;
        Ok(self.block(&file).and_then(|block| {
            let (_, declaration) = inputs(block).into_iter().find(|(name, _)| name.text == input)?;
            let name = dimension(block, declaration)?;
            let default = block.dims.iter().any(|dim| dim.name.text == name && dim.default.is_some());
            let bound = default || self.set.iter().any(|(own, _)| *own == name);
            Some((name, bound))
        }))
    }

    /// Binds the dimension `V` of an input `id(V)` of the model, unless `--set` has bound it.
    ///
    /// # Errors
    /// Syntax errors.
    pub fn bind_input(&mut self, input: &str, size: usize) -> Result<(), SessionError> {
        if let Some((dimension, _)) = self.dimension_of(input)?
            && !self.set.iter().any(|(name, _)| *name == dimension)
        {
            self.set.push((dimension, size));
        }
        Ok(())
    }

    /// Binds the size of the text's input to that of the vocabulary, unless `--set` has bound it.
    ///
    /// # Errors
    /// As [`Model::text_input`].
    pub fn bind_vocabulary(&mut self, vocabulary: &Vocabulary) -> Result<TextInput, SessionError> {
        let input = self.text_input()?;
        if let Some(dimension) = &input.dimension
            && !self.set.iter().any(|(name, _)| name == dimension)
        {
            self.set.push((dimension.clone(), vocabulary.len()));
        }
        Ok(input)
    }

    /// That every character or word of the vocabulary has an id.
    ///
    /// # Errors
    /// If there are more of them than ids.
    pub fn expect_vocabulary(
        &self,
        graph: &Graph,
        input: &TextInput,
        vocabulary: &Vocabulary,
    ) -> Result<(), SessionError> {
        let declared = graph.inputs.iter().find(|spec| spec.name == input.name);
        let size = match declared.map(|spec| spec.ty.element) {
            Some(crate::ir::Element::Id(size)) => size,
            _ => return Err(not_of_text(&graph.name, "its input is not an id")),
        };
        if vocabulary.len() <= size {
            return Ok(());
        }
        let place = match &input.dimension {
            Some(name) => format!("--set {name}={} or more, or leave it out", vocabulary.len()),
            None => "the model fixes it".to_string(),
        };
        let (tokens, unit) = (vocabulary.len(), vocabulary.unit());
        Err(SessionError::Vocabulary { tokens, unit, input: input.name.clone(), size, place })
    }

    /// The program for one chunk of a sequence along `axis` (see [`carry`]); `cure` is what to do where
    /// there is none.
    ///
    /// # Errors
    /// What reads ahead or needs the whole sequence, at its place.
    pub fn cut(&self, graph: &Graph, axis: AxisId, cure: &str) -> Result<Graph, SessionError> {
        carry(graph, axis).map_err(|Uncut { node, reason }| {
            let span = graph.node(node).origin.span;
            let (model, axis) = (&graph.name, graph.axis_name(axis));
            let message = format!("model `{model}` cannot be cut into chunks along `{axis}`: {reason}");
            self.mistakes(vec![Diagnostic::error("no-chunks", span, message).help(cure)])
        })
    }

    /// What the chosen model observes, `y ~ normal(…)`: the input and the distribution, in the order of the text.
    ///
    /// # Errors
    /// Syntax errors.
    pub fn observed(&self) -> Result<Vec<(String, String)>, SessionError> {
        let file = parse(&self.source).map_err(|diagnostics| self.mistakes(diagnostics))?;
        let statements = self.block(&file).map_or(&[][..], |block| &block.statements);
        let observed = statements.iter().filter_map(|statement| match statement {
            ast::Statement::Observe { target, distribution, .. } => {
                Some((target.name.text.clone(), distribution.text.clone()))
            }
            _ => None,
        });
        Ok(observed.collect())
    }

    /// The `train` block over the defaults.
    ///
    /// # Errors
    /// Every wrong key and value, at its place.
    pub fn train_settings(&self, checked: &Checked) -> Result<TrainSettings, SessionError> {
        let mut settings = TrainSettings::default();
        let mut wrong = Vec::new();
        for (key, span, value) in &checked.train {
            if let Err(error) = settings.set(key, &setting_value(value)) {
                wrong.push(Diagnostic::error("setting", *span, error.to_string()));
            }
        }
        if wrong.is_empty() { Ok(settings) } else { Err(self.mistakes(wrong)) }
    }
}

/// The inputs of a block.
fn inputs(block: &ast::Block) -> Vec<(&ast::Ident, &ast::Declaration)> {
    let mut inputs = Vec::new();
    for statement in &block.statements {
        if let ast::Statement::Input(declarations) = statement {
            inputs.extend(declarations.iter().flat_map(|d| d.names.iter().map(move |name| (name, d))));
        }
    }
    inputs
}

/// The dimension `V` of an input `id(V)`, where that is a dimension of the block.
fn dimension(block: &ast::Block, declaration: &ast::Declaration) -> Option<String> {
    let ast::Type::Id(size, _) = &declaration.ty else { return None };
    match &size.kind {
        ast::ExprKind::Name(dim) if block.dims.iter().any(|d| d.name.text == *dim) => Some(dim.clone()),
        _ => None,
    }
}

fn not_of_text(model: &str, reason: &str) -> SessionError {
    SessionError::NotOfText { model: model.to_string(), reason: reason.to_string() }
}

fn setting_value(setting: &Setting) -> SettingValue {
    match setting {
        Setting::Number(number) => SettingValue::Number(*number),
        Setting::Name(name) => SettingValue::Name(name.clone()),
        Setting::Text(text) => SettingValue::Text(text.clone()),
        Setting::Call(name, arguments) => {
            let argument = |(name, value): &(Option<String>, Setting)| Argument {
                name: name.clone(),
                value: setting_value(value),
            };
            SettingValue::Call(name.clone(), arguments.iter().map(argument).collect())
        }
    }
}

/// The dimensions of a graph by name.
pub fn dims(graph: &Graph) -> BTreeMap<String, usize> {
    graph.dims.iter().cloned().collect()
}

/// The parameters of a graph as the runtime knows them, in the order of declaration.
pub fn parameter_specs(graph: &Graph) -> Vec<ParameterSpec> {
    let spec = |param: &crate::ir::ParamSpec| {
        let argument = param.init.1.unwrap_or(0.0);
        let init = match param.init.0.as_str() {
            "zeros" => Initializer::Zeros,
            "ones" => Initializer::Ones,
            "constant" => Initializer::Constant(argument),
            "uniform" => Initializer::Uniform(argument),
            "normal" => Initializer::Normal(argument),
            "glorot" => Initializer::Glorot,
            "orthogonal" => Initializer::Orthogonal,
            _ => Initializer::default_for(&param.shape),
        };
        let (name, shape) = (param.name.clone(), param.shape.clone());
        ParameterSpec { name, shape, init, trainable: param.trainable }
    };
    graph.params.iter().map(spec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = "model M(V = 3, H = 2) {\n  input x: id(V) over t\n  param W: [V, V] = uniform(0.1)\n  x[t] ~ categorical(W[x[t-1]])\n  train { batch = 0, epoch = 3 }\n}\n";

    #[test]
    fn a_text_binds_the_size_of_its_input() {
        let mut model = Model::new("m.rnn", TINY);
        let vocabulary = Vocabulary::of("abcde");
        let input = model.bind_vocabulary(&vocabulary).unwrap();
        assert_eq!((input.name.as_str(), input.axis.as_str()), ("x", "t"));
        assert_eq!(model.set, [("V".to_string(), 5)]);
        let checked = model.check(Mode::Train).unwrap();
        assert_eq!(dims(&checked.graph)["V"], 5);
        assert_eq!(parameter_specs(&checked.graph)[0].init, Initializer::Uniform(0.1));
        model.expect_vocabulary(&checked.graph, &input, &vocabulary).unwrap();

        let mut narrow = Model { set: vec![("V".to_string(), 4)], ..Model::new("m.rnn", TINY) };
        narrow.bind_vocabulary(&vocabulary).unwrap();
        let checked = narrow.check(Mode::Train).unwrap();
        let error = narrow.expect_vocabulary(&checked.graph, &input, &vocabulary).unwrap_err().to_string();
        assert!(error.contains("5 different characters") && error.contains("--set V=5"), "{error}");
    }

    #[test]
    fn every_wrong_setting_is_reported_at_its_place() {
        let model = Model::new("m.rnn", TINY);
        let checked = model.check(Mode::Train).unwrap();
        let error = model.train_settings(&checked).unwrap_err().to_string();
        assert!(
            error.contains("m.rnn:5:11") && error.contains("`batch` is a whole number above 0"),
            "{error}"
        );
        assert!(error.contains("did you mean `epochs`?"), "{error}");
    }

    #[test]
    fn models_that_cannot_read_a_text() {
        let reason = |source: &str| Model::new("m", source).text_input().unwrap_err().to_string();
        assert!(reason("model M(H = 2) { input x: [H] over t loss l = sum(x) }").contains("`id(V) over t`"));
        assert!(reason("model M() { input x, y: id(2) over t }").contains("this model has `x`, `y`"));
        assert!(reason("model M() { param w: [2] loss l = sum(w) }").contains("no input"));
        assert!(reason("model A() {} model B() {}").contains("--model"));
    }
}
