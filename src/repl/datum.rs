//! A value that the session holds: numbers or ids on the axes of one example.
//!
//! `seq([1, 2], [3, 4] over t)` is a value of shape `[2]` with two positions along `t`. It can stand in an
//! expression (as a parameter or an input of a small program) and be given to a model's input.

use super::Failure;
use crate::eval::{Elements, InputData, Values};
use crate::ir::{AxisKind, BATCH, Element, Graph, Operand, Tree};

/// What positions there are along an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Extent {
    /// So many steps.
    Steps(usize),
    /// The nodes of a tree.
    Nodes(Tree),
    /// The leaves of a tree.
    Leaves(Tree),
    /// The children of each node of a tree.
    Children(Tree),
}

impl Extent {
    /// How many positions, of children the most that a node has.
    pub fn count(&self) -> usize {
        match self {
            Extent::Steps(count) => *count,
            Extent::Nodes(tree) => tree.len(),
            Extent::Leaves(tree) => tree.leaves().len(),
            Extent::Children(tree) => tree.largest_arity(),
        }
    }
}

/// A value on the axes of one example.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Datum {
    /// Static dimensions.
    pub shape: Vec<usize>,
    /// Numbers or ids.
    pub element: Element,
    /// Axes by name: `t`, `n`, `n.leaf`.
    pub along: Vec<(String, Extent)>,
    /// Row-major over positions, then over the shape.
    pub elements: Elements,
}

impl Datum {
    /// Numbers without positions.
    pub fn array(shape: Vec<usize>, numbers: Vec<f64>) -> Datum {
        Datum { shape, element: Element::Real, along: Vec::new(), elements: Elements::Real(numbers) }
    }

    /// What `operand` is in the only example.
    pub fn of(
        graph: &Graph,
        values: &Values,
        operand: Operand,
        trees: impl Fn(&str) -> Option<Tree>,
    ) -> Option<Datum> {
        let ty = graph.type_at(operand);
        let padded = values.padded(operand)?;
        let behind = usize::from(ty.axes.contains(BATCH));
        let axes = ty.axes.without(BATCH).iter();
        let along = axes.zip(padded.shape.iter().skip(behind)).map(|(axis, &count)| {
            let tree = |axis| trees(graph.axis_name(axis)).unwrap_or_default();
            let extent = match graph.axis_kind(axis) {
                AxisKind::Batch | AxisKind::Time => Extent::Steps(count),
                AxisKind::Tree => Extent::Nodes(tree(axis)),
                AxisKind::Leaves(of) => Extent::Leaves(tree(of)),
                AxisKind::Children(of) => Extent::Children(tree(of)),
            };
            (graph.axis_name(axis).to_string(), extent)
        });
        Some(Datum {
            shape: ty.shape.clone(),
            element: ty.element,
            along: along.collect(),
            elements: padded.elements,
        })
    }

    /// Elements at a position.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many positions.
    pub fn positions(&self) -> usize {
        self.along.iter().map(|(_, extent)| extent.count()).product()
    }

    /// The numbers; an id is its number, none is -1.
    pub fn numbers(&self) -> Vec<f64> {
        match &self.elements {
            Elements::Real(numbers) => numbers.clone(),
            Elements::Ids(ids) => ids.iter().map(|id| id.map_or(-1.0, f64::from)).collect(),
        }
    }

    /// The number that a single one is.
    pub fn scalar(&self) -> Option<f64> {
        match &self.numbers()[..] {
            [number] if self.along.is_empty() => Some(*number),
            _ => None,
        }
    }

    /// The same as ids below `range`.
    pub fn ids(&self, range: usize) -> Result<Datum, Failure> {
        let id = |number: f64| match number {
            _ if number == -1.0 => Ok(None),
            _ if number >= 0.0 && number.fract() == 0.0 && number < range as f64 => Ok(Some(number as u32)),
            _ => Err(Failure::new(format!(
                "{} is no id: those are whole numbers from 0 to {}, and -1 for none",
                super::words::number(number),
                range.saturating_sub(1)
            ))),
        };
        if !self.shape.is_empty() {
            return Err(Failure::new(format!(
                "an id is a single number, not an array of shape {:?}",
                self.shape
            )));
        }
        let ids = self.numbers().into_iter().map(id).collect::<Result<Vec<_>, _>>()?;
        Ok(Datum { element: Element::Id(range), elements: Elements::Ids(ids), ..self.clone() })
    }

    /// As an input takes it, in its element type.
    pub fn input(&self, element: Element) -> Result<InputData, Failure> {
        match element {
            Element::Real => Ok(InputData::Real(vec![self.numbers()])),
            Element::Id(range) => match self.ids(range)?.elements {
                Elements::Ids(ids) => Ok(InputData::Ids(vec![ids])),
                Elements::Real(numbers) => Ok(InputData::Real(vec![numbers])),
            },
        }
    }
}
