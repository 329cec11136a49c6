//! Predictions in files: CSV with a header, or JSON objects, one a line.
//!
//! ```text
//! label,label.probability                 {"label": "good", "label.probability": 0.93}
//! good,0.93
//! ```
//!
//! | what is drawn | columns |
//! | --- | --- |
//! | a class | the class, its probability; all probabilities if they are asked for |
//! | a class at each position | the classes between blanks, or a list; the probabilities |
//! | a sequence up to its end | its text, or a list of ids; the logarithm of its probability |
//! | 0 or 1 | 0 or 1, the probability of 1 |
//! | a number | it; of an array a column an element, at each position a list |
//!
//! An array at several positions is elements between blanks, and `;` between positions, in CSV.

use super::choice::log_softmax;
use super::tokens::Tokens;
use super::{Distribution, Drawn, Prediction, Sample};
use crate::ir::Element;

/// How predictions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values below a header.
    Csv,
    /// JSON objects, one a line.
    JsonLines,
}

/// What writes predictions.
pub struct Report<'r> {
    /// How.
    pub format: Format,
    /// Whether with all probabilities of classes.
    pub probabilities: bool,
    /// Whether there are several of an example, so that it is to be said which.
    pub numbered: bool,
    /// What is predicted, and whether until its end.
    pub drawn: Vec<(Drawn, bool)>,
    /// What ids stand for.
    pub tokens: Tokens<'r>,
}

/// A cell of a table or a member of an object.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Text(String),
    Number(f64),
    Integer(i64),
    List(Vec<Cell>),
    Object(Vec<(String, Cell)>),
}

impl Report<'_> {
    /// What stands above all predictions.
    pub fn header(&self) -> String {
        match self.format {
            Format::JsonLines => String::new(),
            Format::Csv => {
                let numbered = self.numbered.then(|| ["example", "number"].map(str::to_string));
                let columns = self.drawn.iter().flat_map(|(drawn, open)| self.columns(drawn, *open));
                line(numbered.into_iter().flatten().chain(columns))
            }
        }
    }

    /// A prediction, a line.
    pub fn line(&self, prediction: &Prediction) -> String {
        let (example, number) = (prediction.example as i64 + 1, prediction.number as i64 + 1);
        let mut cells: Vec<(String, Cell)> = Vec::new();
        if self.numbered {
            cells.push(("example".to_string(), Cell::Integer(example)));
            cells.push(("number".to_string(), Cell::Integer(number)));
        }
        for ((drawn, open), sample) in self.drawn.iter().zip(&prediction.samples) {
            cells.extend(self.cells(drawn, *open, sample));
        }
        match self.format {
            Format::JsonLines => Cell::Object(cells).json() + "\n",
            Format::Csv => {
                // Arrays of numbers at no position are a column an element, as are the probabilities of classes.
                let columns = cells.into_iter().flat_map(|(name, cell)| match cell {
                    Cell::List(cells) if self.is_spread(&name) => cells,
                    Cell::Object(cells) => cells.into_iter().map(|(_, cell)| cell).collect(),
                    cell => vec![cell],
                });
                line(columns.map(|cell| cell.csv()))
            }
        }
    }

    fn is_spread(&self, name: &str) -> bool {
        let own = |drawn: &Drawn| name == drawn.name || name == probability(drawn);
        self.drawn.iter().any(|(drawn, _)| own(drawn) && is_array(drawn) && drawn.axes.is_empty())
    }

    /// The columns of a value, as [`Report::cells`] fills them.
    fn columns(&self, drawn: &Drawn, open: bool) -> Vec<String> {
        let name = drawn.name.clone();
        let elements = |name: &str| match is_array(drawn) && drawn.axes.is_empty() {
            true => (0..drawn.width).map(|element| format!("{name}.{element}")).collect(),
            false => vec![name.to_string()],
        };
        match (drawn.element, drawn.distribution) {
            (Element::Id(_), _) if open => vec![name, log_probability(drawn)],
            (Element::Id(classes), _) => {
                let mut columns = vec![name.clone(), probability(drawn)];
                if self.lists_all(drawn) {
                    let all =
                        (0..classes as u32).map(|id| format!("{name}.p({})", self.tokens.shown(&name, id)));
                    columns.extend(all);
                }
                columns
            }
            (Element::Real, Distribution::Bernoulli) => {
                [elements(&name), elements(&probability(drawn))].concat()
            }
            (Element::Real, _) => elements(&name),
        }
    }

    /// Whether the probabilities of all classes are written; in a table there is room for those of one position.
    fn lists_all(&self, drawn: &Drawn) -> bool {
        self.probabilities && (drawn.axes.is_empty() || self.format == Format::JsonLines)
    }

    fn cells(&self, drawn: &Drawn, open: bool, sample: &Sample) -> Vec<(String, Cell)> {
        let name = drawn.name.clone();
        let ids = sample.values.ids();
        if let Element::Id(classes) = drawn.element {
            if open {
                let text = match self.tokens.text(&name, ids) {
                    Some(text) => Cell::Text(text),
                    None => Cell::List(ids.iter().map(|&id| Cell::Integer(i64::from(id))).collect()),
                };
                let score = Cell::Number(sample.score.unwrap_or(0.0));
                return vec![(name, text), (log_probability(drawn), score)];
            }
            let class = |&id: &u32| match self.tokens.token(&name, id) {
                Some(token) => Cell::Text(token.into_owned()),
                None => Cell::Integer(i64::from(id)),
            };
            let chosen = ids.iter().map(class).collect();
            let likely = sample.logs.iter().map(|log| Cell::Number(log.exp())).collect();
            let own = probability(drawn);
            let mut cells = vec![(name.clone(), shaped(chosen, drawn)), (own, shaped(likely, drawn))];
            if self.lists_all(drawn) && !sample.parameters.is_empty() {
                let width = sample.parameters.len() / ids.len().max(1);
                let all = sample.parameters.chunks(width.max(1)).map(|parameters| {
                    let logs = log_softmax(&drawn.logits(parameters));
                    let named = logs.iter().take(classes).zip(0u32..);
                    let of = |(log, id): (&f64, u32)| (self.tokens.shown(&name, id), Cell::Number(log.exp()));
                    Cell::Object(named.map(of).collect())
                });
                cells.push((format!("{name}.probabilities"), shaped(all.collect(), drawn)));
            }
            return cells;
        }
        let numbers: Vec<f64> = sample.values.real().iter().map(|&value| f64::from(value)).collect();
        if drawn.distribution == Distribution::Bernoulli {
            let sigmoid = |&logit: &f32| 1.0 / (1.0 + (-f64::from(logit)).exp());
            let likely: Vec<f64> = sample.parameters.iter().map(sigmoid).collect();
            return vec![
                (name, numbers_of(drawn, &numbers)),
                (probability(drawn), numbers_of(drawn, &likely)),
            ];
        }
        vec![(name.clone(), numbers_of(drawn, &self.tokens.unstandardised(&name, numbers)))]
    }
}

/// Numbers in the shape of a value: of each position an array, or a number.
fn numbers_of(drawn: &Drawn, numbers: &[f64]) -> Cell {
    let one = |numbers: &[f64]| match is_array(drawn) {
        true => Cell::List(numbers.iter().map(|&number| Cell::Number(number)).collect()),
        false => Cell::Number(numbers.first().copied().unwrap_or(f64::NAN)),
    };
    shaped(numbers.chunks(drawn.width.max(1)).map(one).collect(), drawn)
}

fn is_array(drawn: &Drawn) -> bool {
    !drawn.shape.is_empty()
}

fn probability(drawn: &Drawn) -> String {
    format!("{}.probability", drawn.name)
}

fn log_probability(drawn: &Drawn) -> String {
    format!("{}.log_probability", drawn.name)
}

/// What is at all positions; of a value without axes the only one.
fn shaped(mut cells: Vec<Cell>, drawn: &Drawn) -> Cell {
    match drawn.axes.is_empty() && cells.len() == 1 {
        true => cells.swap_remove(0),
        false => Cell::List(cells),
    }
}

impl Cell {
    fn json(&self) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Cell::Text(own) => text(own),
            Cell::Number(number) => serde_json::Value::from(rounded(*number)).to_string(),
            Cell::Integer(number) => number.to_string(),
            Cell::List(cells) => format!("[{}]", cells.iter().map(Cell::json).collect::<Vec<_>>().join(", ")),
            Cell::Object(cells) => {
                let member = |(name, cell): &(String, Cell)| format!("{}: {}", text(name), cell.json());
                format!("{{{}}}", cells.iter().map(member).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn csv(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Number(number) => rounded(*number).to_string(),
            Cell::Integer(number) => number.to_string(),
            Cell::List(cells) => {
                let nested = cells.iter().any(|cell| matches!(cell, Cell::List(_)));
                let between = if nested { "; " } else { " " };
                cells.iter().map(Cell::csv).collect::<Vec<_>>().join(between)
            }
            Cell::Object(cells) => cells.iter().map(|(_, cell)| cell.csv()).collect::<Vec<_>>().join(" "),
        }
    }
}

/// With the seven digits that an f32 has.
fn rounded(number: f64) -> f64 {
    format!("{number:.6e}").parse().unwrap_or(number)
}

/// A line of a table.
fn line(cells: impl IntoIterator<Item = String>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let cells: Vec<String> = cells.into_iter().collect();
    // Nothing is written to but memory.
    let written = writer.write_record(&cells).is_ok().then(|| writer.into_inner().ok()).flatten();
    String::from_utf8(written.unwrap_or_default()).unwrap_or_default()
}
