//! Trees in a text, one a line, in the brackets of the Penn Treebank.
//!
//! ```
//! use rnnc::runtime::treebank::parse;
//! let trees = parse("(3 (2 a) (4 (3 lovely) (2 film)))\n((to) ((go) (on) (and) (on)))\n")?;
//! let words: Vec<_> = trees[0].nodes.iter().filter_map(|node| node.word.map(|word| word.text)).collect();
//! assert_eq!((trees[0].tree.len(), words), (5, vec!["a", "lovely", "film"]));
//! assert_eq!(trees[0].nodes[2].label.map(|label| label.text), Some("4"));
//! # Ok::<(), rnnc::runtime::treebank::Fault>(())
//! ```
//!
//! ```text
//! leaf   (word)   (label word)
//! above  (child child …)   (label child child …)   (label word child child …)
//! ```
//!
//! Any number of children; labels and words are what stands between blanks and parentheses. Nodes are
//! numbered as the text names them, so that a parent comes before its children. What labels and words mean
//! is not known here. Nothing recurses: depth costs no stack.

use thiserror::Error;

use crate::base::{Tree, TreeError};

/// The deepest tree that is read: its nodes are computed level after level.
pub const MOST_LEVELS: usize = 100_000;

/// A label or a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// It.
    pub text: &'t str,
    /// Its offset in the whole text.
    pub at: usize,
}

/// What stands at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'t> {
    /// Offset of its parenthesis in the whole text.
    pub at: usize,
    /// Its label, if it has one.
    pub label: Option<Token<'t>>,
    /// Its word, if it has one: every leaf does.
    pub word: Option<Token<'t>>,
}

/// A tree with what stands at its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parse<'t> {
    /// The shape.
    pub tree: Tree,
    /// By node.
    pub nodes: Vec<Node<'t>>,
}

/// Why a text is not trees.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// No line.
    #[error("there is no tree")]
    NoTree,
    /// A line without a tree.
    #[error("an empty line: every line is a tree")]
    EmptyLine,
    /// More `(` than `)`.
    #[error("this parenthesis is not closed on its line")]
    Unclosed,
    /// More `)` than `(`.
    #[error("no parenthesis is open that this one could close")]
    Unopened,
    /// More than one tree on a line.
    #[error("a second root: the tree of this line ended before it; a line is one tree")]
    SecondRoot,
    /// Letters around a tree.
    #[error("`{0}` stands outside the parentheses: a tree is `(label word)` or `(label child child …)`")]
    Outside(String),
    /// `()`
    #[error("a node without a word or a child: a leaf is `(word)` or `(label word)`")]
    Hollow,
    /// `(a b c)`
    #[error("`{0}` is one too many: a node has a label, a word, and children in parentheses of their own")]
    Crowded(String),
    /// `(a (b) c)`
    #[error("`{0}` stands behind a child: a word that is a child is a leaf, `({0})`")]
    Behind(String),
    /// Levels above levels.
    #[error("more than {MOST_LEVELS} nodes above one another")]
    Deep,
    /// The tree's numbers.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A mistake and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}:{}: {reason}", place.line, place.column)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub reason: Reason,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// Of an offset.
    pub fn of(text: &str, at: usize) -> Place {
        let before = text.get(..at).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

/// The trees of a text.
///
/// # Errors
/// The first line that is not one tree.
pub fn parse(text: &str) -> Result<Vec<Parse<'_>>, Fault> {
    let fault = |at, reason| Fault { place: Place::of(text, at), reason };
    let mut trees = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        trees.push(one(line, at).map_err(|(at, reason)| fault(at, reason))?);
        at += line.len();
    }
    if trees.is_empty() { Err(fault(0, Reason::NoTree)) } else { Ok(trees) }
}

/// A piece of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Open,
    Close,
    Atom(&'t str),
}

/// The pieces of a line with their offsets in it.
fn pieces(line: &str) -> impl Iterator<Item = (usize, Piece<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &line[at..];
        at += rest.len() - rest.trim_ascii_start().len();
        let rest = &line[at..];
        let start = at;
        // A blank that does not break (U+00A0) does not break a word.
        let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '(' | ')');
        let (piece, length) = match rest.chars().next()? {
            '(' => (Piece::Open, 1),
            ')' => (Piece::Close, 1),
            _ => {
                let atom = &rest[..rest.find(ends).unwrap_or(rest.len())];
                (Piece::Atom(atom), atom.len())
            }
        };
        at += length;
        Some((start, piece))
    })
}

/// The tree of a line that begins at offset `start`.
fn one(line: &str, start: usize) -> Result<Parse<'_>, (usize, Reason)> {
    let mut parents: Vec<i64> = Vec::new();
    let mut nodes: Vec<Node> = Vec::new();
    // Nodes whose parenthesis is open, and whether they have children yet.
    let mut open: Vec<(usize, bool)> = Vec::new();
    for (column, piece) in pieces(line) {
        let at = start + column;
        match (piece, open.last().copied()) {
            (Piece::Open, None) if !nodes.is_empty() => return Err((at, Reason::SecondRoot)),
            (Piece::Open, _) if open.len() == MOST_LEVELS => return Err((at, Reason::Deep)),
            (Piece::Open, above) => {
                if let Some(last) = open.last_mut() {
                    last.1 = true;
                }
                parents.push(above.and_then(|(node, _)| i64::try_from(node).ok()).unwrap_or(-1));
                open.push((nodes.len(), false));
                nodes.push(Node { at, label: None, word: None });
            }
            (Piece::Close, None) => return Err((at, Reason::Unopened)),
            (Piece::Close, Some((node, has_children))) => {
                open.pop();
                let node = &mut nodes[node];
                if !has_children && node.word.is_none() {
                    // What stands alone in a leaf is its word.
                    node.word = node.label.take();
                    if node.word.is_none() {
                        return Err((node.at, Reason::Hollow));
                    }
                }
            }
            (Piece::Atom(text), None) => return Err((at, Reason::Outside(text.to_string()))),
            (Piece::Atom(text), Some((_, true))) => return Err((at, Reason::Behind(text.to_string()))),
            (Piece::Atom(text), Some((node, false))) => {
                let (node, token) = (&mut nodes[node], Some(Token { text, at }));
                match (node.label, node.word) {
                    (None, _) => node.label = token,
                    (Some(_), None) => node.word = token,
                    (Some(_), Some(_)) => return Err((at, Reason::Crowded(text.to_string()))),
                }
            }
        }
    }
    match open.last() {
        Some(&(node, _)) => Err((nodes[node].at, Reason::Unclosed)),
        None if nodes.is_empty() => Err((start, Reason::EmptyLine)),
        None => {
            let tree = Tree::new(&parents).map_err(|error| (start, error.into()))?;
            Ok(Parse { tree, nodes })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parent, label and word of every node of every tree.
    fn shown(text: &str) -> Vec<Vec<String>> {
        let of = |token: Option<Token>| token.map_or("-".to_string(), |token| token.text.to_string());
        let node = |parse: &Parse, node: usize| {
            let parent = parse.tree.parent(node).map_or(-1, |parent| parent as i64);
            format!("{parent} {} {}", of(parse.nodes[node].label), of(parse.nodes[node].word))
        };
        let tree = |parse: &Parse| (0..parse.nodes.len()).map(|at| node(parse, at)).collect();
        parse(text).unwrap().iter().map(tree).collect()
    }

    #[test]
    fn labelled_and_not() {
        assert_eq!(
            shown("(3 (2 a) (4 (3 lovely) (2 film)))"),
            [["-1 3 -", "0 2 a", "0 4 -", "2 3 lovely", "2 2 film"]]
        );
        assert_eq!(shown("((a)\t( (b)(c) (d)) )"), [["-1 - -", "0 - a", "0 - -", "2 - b", "2 - c", "2 - d"]]);
        assert_eq!(shown("(a)\r\n(5 b)\n"), [["-1 - a"], ["-1 5 b"]]);
        // An operator between its operands, or a head above its dependants.
        assert_eq!(shown("(7 + (3 3) (4 4))"), [["-1 7 +", "0 3 3", "0 4 4"]]);
        assert_eq!(shown("(2 3\u{a0}1\\/2)"), [["-1 2 3\u{a0}1\\/2"]]);
        assert_eq!(shown("( (S (NP Ünï) (VP 's)) )"), [["-1 - -", "0 S -", "1 NP Ünï", "1 VP 's"]]);
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, line, column, word) in [
            ("", 1, 1, "no tree"),
            ("\n", 1, 1, "empty line"),
            ("(a)\n\n(b)", 2, 1, "empty line"),
            ("(a)\n  \n", 2, 1, "empty line"),
            ("(3 (2 a) (2 b)", 1, 1, "not closed"),
            ("(a)\n(3 (2 ä) (2 b", 2, 10, "not closed"),
            ("(3 (2 a)))", 1, 10, "could close"),
            (")", 1, 1, "could close"),
            ("(a) (b)", 1, 5, "second root"),
            ("(a) b", 1, 5, "outside"),
            ("a b", 1, 1, "outside"),
            ("(3 () (b))", 1, 4, "without a word"),
            ("(3 a b)", 1, 6, "`b` is one too many"),
            ("(3 ä b (d))", 1, 6, "`b` is one too many"),
            ("((ä) b)", 1, 6, "`(b)`"),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.place, Place { line, column }, "{text}: {fault}");
            assert!(fault.to_string().contains(word), "{text}: {fault}");
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let chain = |levels: usize| format!("{}w{}\n", "(".repeat(levels), ")".repeat(levels));
        assert_eq!(parse(&chain(MOST_LEVELS)).unwrap()[0].tree.levels(), MOST_LEVELS);
        let fault = parse(&format!("(a)\n{}", chain(1_000_000))).unwrap_err();
        assert_eq!((fault.place, fault.reason), (Place { line: 2, column: MOST_LEVELS + 1 }, Reason::Deep));
        // What is never closed is found before any tree is made of it.
        assert_eq!(parse(&"(".repeat(50_000)).unwrap_err().place.column, 50_000);
    }
}
