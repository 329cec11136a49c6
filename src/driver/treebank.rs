//! Examples from a text of trees: which input gets what of them, vocabularies, and every node checked.
//!
//! ```text
//! (4 (3 good) (2 film))        word: id(V) over n.leaf    good film          2 3 (1 is the unknown word's 0)
//!                              label: id(5) over tree n   4 3 2              as they are
//! ```
//!
//! An input that the model observes (`label ~ …`) and every number `[]` is read from labels, any other id from
//! words: at every node, at the leaves (`over n.leaf`) or, of an input without an axis, at the root. Labels that are
//! whole numbers are ids themselves, names are numbered in the order of the alphabet. Words get ids from the
//! training part; a word may be absent at a node (none), a label may not. Nothing is written here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::data::{Dataset, Input, InputAxis, Trees, Values};
use crate::ir::{AxisId, AxisKind, BATCH, Element, Graph, InputSpec, most_children};
use crate::runtime::text::{TextError, read_text};
use crate::runtime::treebank::{Parse, Place, Reason, Token, parse};
use crate::runtime::words::{Labels, Vocabularies, Words};

/// Why a text of trees is no data for a model.
#[derive(Debug, Error)]
pub enum TreebankError {
    /// The file.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A mistake at a place in it.
    #[error("{}:{}:{}: {problem}", path.display(), place.line, place.column)]
    At {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What.
        problem: Problem,
    },
    /// A model that is not fed by trees alone.
    #[error("model `{model}` cannot read trees: {reason}")]
    Model {
        /// The model.
        model: String,
        /// What it has or lacks.
        reason: String,
    },
    /// Fewer ids than words.
    #[error(
        "the training part has {words} words, the unknown one among them, but `{input}` is {size} wide: --set its size to {words} or more, or leave it out"
    )]
    Words {
        /// Words there are.
        words: usize,
        /// The input.
        input: String,
        /// How many ids it takes.
        size: usize,
    },
    /// Words without the vocabulary that they were trained with.
    #[error("{} holds no vocabulary to read words with: give a run of `rnnc train --trees`", path.display())]
    NoVocabulary {
        /// The weights.
        path: PathBuf,
    },
}

/// What is wrong with a tree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// No tree.
    #[error(transparent)]
    Form(#[from] Reason),
    /// Children that nothing would read.
    #[error(
        "a node with {given} children, but the model reads {most} by their numbers and would pass over the others"
    )]
    Children {
        /// Children of the node.
        given: usize,
        /// Children that it may have.
        most: usize,
    },
    /// A label that is needed.
    #[error(
        "a node without a label, which the model's `{0}` needs: `(label word)` or `(label child child …)`"
    )]
    NoLabel(String),
    /// A name that training did not have.
    #[error("the label `{0}` does not occur in the training part")]
    UnknownLabel(String),
    /// A label beyond the model's.
    #[error("the label `{label}` is not a whole number from 0 to {most}, as `{input}` needs")]
    LabelRange {
        /// The label.
        label: String,
        /// The input.
        input: String,
        /// Its largest id.
        most: usize,
    },
    /// A label that should be a number.
    #[error("the label `{label}` is not a number, as `{input}` needs")]
    NotANumber {
        /// The label.
        label: String,
        /// The input.
        input: String,
    },
}

/// A text of trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Treebank {
    path: PathBuf,
    text: String,
}

impl Treebank {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub fn read(path: &Path) -> Result<Treebank, TreebankError> {
        // A mark of the byte order is no part of the first tree.
        let text = read_text(path)?;
        let text = text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text);
        Ok(Treebank { path: path.to_path_buf(), text })
    }

    /// Its trees, one a line.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn parses(&self) -> Result<Vec<Parse<'_>>, TreebankError> {
        parse(&self.text).map_err(|fault| TreebankError::At {
            path: self.path.clone(),
            place: fault.place,
            problem: fault.reason.into(),
        })
    }

    fn at(&self, offset: usize, problem: Problem) -> TreebankError {
        TreebankError::At { path: self.path.clone(), place: Place::of(&self.text, offset), problem }
    }
}

/// What an input is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Words.
    Words,
    /// Labels as ids.
    Labels,
    /// Labels as numbers.
    Numbers,
}

/// The nodes that an input has values at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Root,
    Nodes,
    Leaves,
}

/// Which input of a model gets what of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    tree: AxisId,
    /// In the order of the model's inputs.
    inputs: Vec<(String, Holds, At)>,
}

impl Roles {
    /// Of a checked model.
    ///
    /// # Errors
    /// It has no tree, or several, or an input that no tree has values for.
    pub fn of(graph: &Graph) -> Result<Roles, TreebankError> {
        let refuse = |reason: String| TreebankError::Model { model: graph.name.clone(), reason };
        let axes = (0..).zip(&graph.axes).map(|(number, axis)| (AxisId(number), axis));
        let mut trees = axes.filter(|(_, axis)| axis.kind == AxisKind::Tree).map(|(number, _)| number);
        let Some(tree) = trees.next() else {
            let cure = "declare an input over one, `input word: id(V) over tree n`";
            return Err(refuse(format!("it has no tree ({cure})")));
        };
        if let Some(other) = trees.next() {
            let (first, second) = (graph.axis_name(tree), graph.axis_name(other));
            return Err(refuse(format!("it has two, `{first}` and `{second}` (--npz feeds them both)")));
        }
        let mut inputs = Vec::new();
        for spec in &graph.inputs {
            let axes: Vec<AxisId> = spec.ty.axes.without(BATCH).iter().collect();
            let at = match axes.iter().map(|&axis| graph.axis_kind(axis)).collect::<Vec<_>>()[..] {
                [] => At::Root,
                [AxisKind::Tree] => At::Nodes,
                [AxisKind::Leaves(_)] => At::Leaves,
                _ => {
                    let over: Vec<&str> = axes.iter().map(|&axis| graph.axis_name(axis)).collect();
                    let name = &spec.name;
                    let reason = format!(
                        "its input `{name}` is over {}, which trees in a text do not have",
                        over.join(", ")
                    );
                    return Err(refuse(format!("{reason} (--npz feeds anything)")));
                }
            };
            let holds = match spec.ty.element {
                Element::Id(_) if spec.observed => Holds::Labels,
                Element::Id(_) => Holds::Words,
                Element::Real if spec.ty.shape.is_empty() => Holds::Numbers,
                Element::Real => {
                    let reason = format!("its input `{}` is a vector at each place", spec.name);
                    return Err(refuse(format!(
                        "{reason}, and a text has words and labels (--npz feeds anything)"
                    )));
                }
            };
            inputs.push((spec.name.clone(), holds, at));
        }
        Ok(Roles { tree, inputs })
    }

    /// The inputs that are words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.held(Holds::Words)
    }

    /// The inputs that are labels' ids.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.held(Holds::Labels)
    }

    fn held(&self, what: Holds) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter(move |(_, holds, _)| *holds == what).map(|(name, _, _)| name.as_str())
    }

    /// The vocabularies of trees that are trained on: words that occur `times` often, and all labels.
    pub fn vocabularies(&self, trees: &[Parse], times: usize) -> Vocabularies {
        let text = |token: Option<Token<'_>>| token.map(|token| token.text.to_string());
        let nodes = || trees.iter().flat_map(|tree| &tree.nodes);
        let words: Vec<String> = nodes().filter_map(|node| text(node.word)).collect();
        let words = Words::of(words.iter().map(String::as_str), times);
        let mut labels: Vec<String> = Vec::new();
        for (_, _, at) in self.inputs.iter().filter(|(_, holds, _)| *holds == Holds::Labels) {
            labels.extend(
                trees.iter().flat_map(|tree| nodes_at(tree, *at)).filter_map(|node| text(node.label)),
            );
        }
        let names = labels.iter().any(|label| label.parse::<u32>().is_err());
        let labels = names.then(|| Labels::of(labels.iter().map(String::as_str)));
        Vocabularies { words, labels }
    }

    /// The trees as examples.
    ///
    /// # Errors
    /// A node that the model cannot take, at its place.
    pub fn examples(
        &self,
        bank: &Treebank,
        trees: &[Parse],
        graph: &Graph,
        vocabularies: &Vocabularies,
    ) -> Result<Dataset, TreebankError> {
        self.expect_forms(bank, trees, graph)?;
        let shapes = trees.iter().map(|parse| Arc::new(parse.tree.clone())).collect();
        let shapes = Trees::from([(graph.axis_name(self.tree).to_string(), shapes)]);
        let mut data = Dataset::new(graph, trees.len(), Default::default(), shapes);
        for ((_, holds, at), spec) in self.inputs.iter().zip(&graph.inputs) {
            data.inputs.push(input(bank, trees, (*holds, *at), (graph, spec), vocabularies)?);
        }
        Ok(data)
    }

    /// That nodes have no more children than the model reads, and the labels that it reads.
    ///
    /// # Errors
    /// The first node that does not, at its place.
    pub fn expect_forms(&self, bank: &Treebank, trees: &[Parse], graph: &Graph) -> Result<(), TreebankError> {
        let limit = most_children(graph, self.tree).unwrap_or(None).map(|limit| limit as usize);
        for parse in trees {
            let arity = |node: &usize| parse.tree.arity(*node);
            let crowded = |most: usize| Some((most, (0..parse.nodes.len()).find(|node| arity(node) > most)?));
            if let Some((most, node)) = limit.and_then(crowded) {
                let given = arity(&node);
                return Err(bank.at(parse.nodes[node].at, Problem::Children { given, most }));
            }
            for (name, _, at) in self.inputs.iter().filter(|(_, holds, _)| *holds != Holds::Words) {
                if let Some(node) = nodes_at(parse, *at).into_iter().find(|node| node.label.is_none()) {
                    return Err(bank.at(node.at, Problem::NoLabel(name.clone())));
                }
            }
        }
        Ok(())
    }

    /// That every word has an id in the model as it is bound.
    ///
    /// # Errors
    /// If there are more words than ids.
    pub fn expect_words(&self, graph: &Graph, vocabularies: &Vocabularies) -> Result<(), TreebankError> {
        let words = vocabularies.words.len();
        for spec in &graph.inputs {
            match spec.ty.element {
                Element::Id(size) if size < words && self.words().any(|name| name == spec.name) => {
                    return Err(TreebankError::Words { words, input: spec.name.clone(), size });
                }
                Element::Id(_) | Element::Real => {}
            }
        }
        Ok(())
    }
}

/// The nodes of a tree at which an input has values, in its order.
fn nodes_at<'p, 't>(parse: &'p Parse<'t>, at: At) -> Vec<&'p crate::runtime::treebank::Node<'t>> {
    match at {
        At::Root => parse.nodes.iter().take(1).collect(),
        At::Nodes => parse.nodes.iter().collect(),
        At::Leaves => parse.tree.leaves().iter().map(|&leaf| &parse.nodes[leaf as usize]).collect(),
    }
}

/// The values of an input in all trees, one after the other.
fn input(
    bank: &Treebank,
    trees: &[Parse],
    (holds, at): (Holds, At),
    (graph, spec): (&Graph, &InputSpec),
    vocabularies: &Vocabularies,
) -> Result<Input, TreebankError> {
    let name = || spec.name.clone();
    let mut starts = Vec::with_capacity(trees.len());
    let (mut ids, mut numbers) = (Vec::new(), Vec::new());
    for parse in trees {
        starts.push(ids.len().max(numbers.len()));
        for node in nodes_at(parse, at) {
            if holds == Holds::Words {
                ids.push(node.word.map_or(u32::MAX, |word| vocabularies.words.id(word.text)));
                continue;
            }
            let Some(Token { text, at }) = node.label else {
                return Err(bank.at(node.at, Problem::NoLabel(name())));
            };
            match (spec.ty.element, &vocabularies.labels) {
                (Element::Real, _) => {
                    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                    let problem = || Problem::NotANumber { label: text.to_string(), input: name() };
                    numbers.push(number.ok_or_else(|| bank.at(at, problem()))?);
                }
                (Element::Id(size), labels) => {
                    let id = match labels {
                        None => text.parse::<u32>().ok(),
                        Some(labels) => match labels.id(text) {
                            Some(id) => Some(id),
                            None => return Err(bank.at(at, Problem::UnknownLabel(text.to_string()))),
                        },
                    };
                    let most = size.saturating_sub(1);
                    let problem = || Problem::LabelRange { label: text.to_string(), input: name(), most };
                    ids.push(id.filter(|&id| (id as usize) < size).ok_or_else(|| bank.at(at, problem()))?);
                }
            }
        }
    }
    let values = match holds {
        Holds::Words | Holds::Labels => Values::Ids(ids),
        Holds::Numbers => Values::Real(numbers),
    };
    Ok(Input {
        name: name(),
        axes: InputAxis::of(graph, spec, |_| 1),
        width: 1,
        starts: Some(starts),
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::super::batch::Feed;
    use super::super::session::Model;
    use super::*;
    use crate::check::Mode;

    const NONE: u32 = u32::MAX;

    fn bank(text: &str) -> Treebank {
        Treebank { path: "t.txt".into(), text: text.to_string() }
    }

    fn graph(inputs: &str) -> Graph {
        let text = format!(
            "model M(V = 9, C = 5) {{ {inputs}  param E: [V, 2]  h = TreeLSTM(2, 2)(E[word])  loss l = sum(h[root]) }}"
        );
        Model::new("m", text).check(Mode::Evaluate).unwrap().graph
    }

    fn examples(inputs: &str, text: &str) -> Result<Dataset, String> {
        let (graph, bank) = (graph(inputs), bank(text));
        let all = || -> Result<Dataset, TreebankError> {
            let (roles, trees) = (Roles::of(&graph)?, bank.parses()?);
            let vocabularies = roles.vocabularies(&trees, 1);
            roles.examples(&bank, &trees, &graph, &vocabularies)
        };
        all().map_err(|error| error.to_string())
    }

    const WORDS: &str = "input word: id(V) over n.leaf";

    #[test]
    fn inputs_get_what_is_theirs() {
        let inputs = "input word: id(V) over tree n
            input leaf: id(V) over n.leaf
            input label: id(C) over n  label ~ categorical(sum(E[word] * E[word]) * E[0:C, 0])
            input value: [] over n
            input answer: [] answer ~ normal(0)";
        let data = examples(inputs, "(4 + (3 a) (1 b))\n(2 a)\n").unwrap();
        let both = data.select::<f64>(&[1, 0]);
        let feeds: Vec<_> = both.feeds();
        // Numbers, not words, are in the order of the alphabet: `+` is 1.
        assert_eq!(feeds[0], ("word", Feed::Ids(&[2, NONE, NONE, 1, 2, 3][..])));
        assert_eq!(feeds[1], ("leaf", Feed::Ids(&[2, NONE, 2, 3][..])));
        assert_eq!(feeds[2], ("label", Feed::Ids(&[2, NONE, NONE, 4, 3, 1][..])));
        assert_eq!(feeds[3], ("value", Feed::Real(&[2.0, 0.0, 0.0, 4.0, 3.0, 1.0][..])));
        assert_eq!(feeds[4], ("answer", Feed::Real(&[2.0, 4.0][..])));
        assert_eq!((both.lengths["n"].clone(), both.lengths["n.leaf"].clone()), (vec![1, 3], vec![1, 2]));
    }

    #[test]
    fn labels_that_are_names() {
        let inputs =
            "input word: id(V) over n.leaf  input tag: id(C) over tree n  tag ~ categorical(0 * E[0:C, 0])";
        let data = examples(inputs, "(S (NP a) (VP b))\n").unwrap();
        assert_eq!(data.select::<f64>(&[0]).feeds()[1], ("tag", Feed::Ids(&[1, 0, 2][..])));
        // One that is no number makes all of them names.
        let data = examples(inputs, "(10 (9 a) (x b))\n").unwrap();
        assert_eq!(data.select::<f64>(&[0]).feeds()[1], ("tag", Feed::Ids(&[0, 1, 2][..])));
    }

    #[test]
    fn nodes_that_a_model_cannot_take() {
        let label = format!("{WORDS}  input label: id(C) over tree n  label ~ categorical(0 * E[0:C, 0])");
        let number = format!("{WORDS}  input value: [] over n");
        for (inputs, text, words) in [
            (WORDS, "((a) (b))\n((a) (b) (c))", "t.txt:2:1: a node with 3 children, but the model reads 2"),
            (&label, "(1 (2 a) (b))", "t.txt:1:10: a node without a label, which the model's `label` needs"),
            (&label, "(1 (2 a) ((2 a) (2 b)))", "t.txt:1:10: a node without a label"),
            (&label, "(1 (2 a) (5 b))", "t.txt:1:11: the label `5` is not a whole number from 0 to 4"),
            (&number, "(1 (2 a) (x b))", "t.txt:1:11: the label `x` is not a number, as `value` needs"),
            (&number, "(1 (inf a) (2 b))", "t.txt:1:5: the label `inf` is not a number"),
            (WORDS, "((a) (b)", "t.txt:1:1: this parenthesis is not closed"),
        ] {
            let error = examples(inputs, text).unwrap_err();
            assert!(error.starts_with(words), "{text}: {error}");
        }
        examples(WORDS, "((a) (b))\n(((a)) (b))").unwrap();
    }

    #[test]
    fn models_that_trees_do_not_feed() {
        for (inputs, words) in [
            (
                "input word: id(V) over n.leaf  input t: id(V) over s",
                "`t` is over s, which trees in a text do not have",
            ),
            ("input word: id(V) over n.leaf  input x: [2] over tree n", "`x` is a vector at each place"),
            ("input word: id(V) over tree n  input z: [] over n, n.child", "`z` is over n, n.child"),
            ("input word: id(V) over tree n  input o: id(V) over tree m", "two, `n` and `m`"),
        ] {
            let error = Roles::of(&graph(inputs)).unwrap_err().to_string();
            assert!(error.contains("model `M` cannot read trees") && error.contains(words), "{error}");
        }
        let text = Model::new("m", "model M() { input x: [] over t  loss l = x }");
        let error = Roles::of(&text.check(Mode::Evaluate).unwrap().graph).unwrap_err().to_string();
        assert!(error.contains("it has no tree"), "{error}");
    }
}
