//! A value that a model draws: from what, and how one is chosen.

use std::borrow::Cow;

use super::choice::{log_softmax, randoms};
use super::padded::Values;
use super::search::Search;
use crate::ir::{BATCH, Element, Graph};
use crate::plan;

/// From what a value is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// One of several classes, by their logits.
    Categorical,
    /// Happens or does not, by the logit.
    Bernoulli,
    /// A number about the mean.
    Normal,
}

impl Distribution {
    /// By its name in the language.
    pub fn named(name: &str) -> Option<Distribution> {
        match name {
            "categorical" => Some(Distribution::Categorical),
            "bernoulli" => Some(Distribution::Bernoulli),
            "normal" => Some(Distribution::Normal),
            _ => None,
        }
    }
}

/// A value that a model draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The input that training observes.
    pub name: String,
    /// From what.
    pub distribution: Distribution,
    /// Ids, or numbers.
    pub element: Element,
    /// The axes along which there is one, behind the batch.
    pub axes: Vec<String>,
    /// The shape at a position.
    pub shape: Vec<usize>,
    /// Elements at a position.
    pub width: usize,
}

impl Drawn {
    /// The input `name` of a program as something drawn.
    pub fn of(graph: &Graph, name: &str, distribution: Distribution) -> Option<Drawn> {
        let input = graph.inputs.iter().find(|input| input.name == name)?;
        let axes = input.ty.axes.without(BATCH).iter();
        Some(Drawn {
            name: name.to_string(),
            distribution,
            element: input.ty.element,
            axes: axes.map(|axis| graph.axis_name(axis).to_string()).collect(),
            shape: input.ty.shape.clone(),
            width: input.ty.size(),
        })
    }

    /// How many classes it is one of, if it is.
    pub fn classes(&self) -> Option<usize> {
        match self.element {
            Element::Id(classes) => Some(classes),
            Element::Real => None,
        }
    }

    /// The logits of its classes, from the distribution's parameters: of a Bernoulli variable 0 and its own.
    pub fn logits<'p>(&self, parameters: &'p [f32]) -> Cow<'p, [f32]> {
        match (self.distribution, parameters) {
            (Distribution::Bernoulli, [logit]) => Cow::Owned(vec![0.0, *logit]),
            _ => Cow::Borrowed(parameters),
        }
    }

    /// One value, and the logarithm of its probability (0 for numbers); `key` tells random numbers from others:
    /// the example's, the step, the value.
    pub fn draw(&self, parameters: &[f32], search: &Search, key: (u64, usize, usize)) -> (Values, f64) {
        let (example, step, value) = key;
        let random = |element: usize| randoms(search.seed, example, step, value, element);
        if self.classes().is_some() {
            let logits = self.logits(parameters);
            let class = search.choice.of_logits(&logits, || random(0)[0]);
            return (Values::Ids(vec![class as u32]), log_softmax(&logits)[class]);
        }
        let one = |(element, &parameter): (usize, &f32)| match self.distribution {
            Distribution::Bernoulli => {
                f32::from(u8::from(search.choice.of_logit(parameter, || random(element)[0])))
            }
            _ => search.choice.about(parameter, || random(element)),
        };
        (Values::Real(parameters.iter().enumerate().map(one).collect()), 0.0)
    }
}

/// The element of a program's buffers.
pub fn element_of(element: Element) -> plan::Element {
    match element {
        Element::Id(_) => plan::Element::Id,
        Element::Real => plan::Element::Real,
    }
}
