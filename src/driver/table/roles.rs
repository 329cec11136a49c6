//! What each input of a model is read as.
//!
//! | input | is read as |
//! | --- | --- |
//! | an id that is observed (`label ~ …`), without an axis or on that of a given input | labels: names or whole numbers |
//! | an id that is observed on an axis of its own | words, and END behind the last |
//! | any other id | words |
//! | an id of which is said `tokens = ids` | whole numbers |
//! | anything else | numbers |

use super::TableError;
use crate::ir::{AxisKind, BATCH, Element, Graph};
use crate::runtime::reading::{Reading, Rows, Tokens};

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Words or characters, unknown ones among them.
    Words {
        /// Whether each sequence ends with END.
        end: bool,
    },
    /// Labels.
    Labels,
    /// Real numbers.
    Numbers,
}

/// What an input is read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub input: String,
    pub holds: Holds,
    /// The axis that it runs along.
    pub axis: Option<String>,
}

impl Role {
    /// Whether its sequences end with END.
    pub fn ends(&self) -> bool {
        self.holds == Holds::Words { end: true }
    }
}

/// The roles of a model's inputs, in their order.
///
/// # Errors
/// A model with trees, or an input over several axes.
pub(super) fn roles(graph: &Graph, reading: &Reading) -> Result<Vec<Role>, TableError> {
    let refuse = |reason: String| TableError::Model { model: graph.name.clone(), reason };
    if let Some(axis) = graph.axes.iter().find(|axis| axis.kind == AxisKind::Tree) {
        let name = &axis.name;
        return Err(refuse(format!("it runs over the tree `{name}` (--trees and --npz feed trees)")));
    }
    if graph.inputs.is_empty() {
        return Err(refuse("it has no input".to_string()));
    }
    let given = |axis| graph.inputs.iter().any(|spec| !spec.observed && spec.ty.axes.contains(axis));
    let mut roles = Vec::new();
    for spec in &graph.inputs {
        let axes: Vec<_> = spec.ty.axes.without(BATCH).iter().collect();
        if axes.len() > 1 {
            let over: Vec<&str> = axes.iter().map(|&axis| graph.axis_name(axis)).collect();
            let reason =
                format!("its input `{}` is over {} (--npz feeds anything)", spec.name, over.join(" and "));
            return Err(refuse(reason));
        }
        let axis = axes.first().copied();
        let holds = match (spec.ty.element, axis) {
            (Element::Real, _) => Holds::Numbers,
            // Numbers that are ids need no vocabulary.
            (Element::Id(_), _) if reading.tokens(&spec.name) == Tokens::Ids => Holds::Labels,
            (Element::Id(_), None) if spec.observed => Holds::Labels,
            (Element::Id(_), Some(axis)) if spec.observed && given(axis) => Holds::Labels,
            (Element::Id(_), _) => {
                let end = spec.observed && axis.is_some() && reading.rows == Rows::Examples;
                Holds::Words { end }
            }
        };
        let axis = axis.map(|axis| graph.axis_name(axis).to_string());
        roles.push(Role { input: spec.name.clone(), holds, axis });
    }
    Ok(roles)
}

/// The inputs that are ids.
pub fn ids(graph: &Graph) -> impl Iterator<Item = &str> {
    let is_id = |spec: &&crate::ir::InputSpec| matches!(spec.ty.element, Element::Id(_));
    graph.inputs.iter().filter(is_id).map(|spec| spec.name.as_str())
}

/// That what is said of inputs and axes is said of the model's.
///
/// # Errors
/// A name that it does not have.
pub(super) fn check_names(graph: &Graph, reading: &Reading) -> Result<(), TableError> {
    let inputs: Vec<&str> = graph.inputs.iter().map(|spec| spec.name.as_str()).collect();
    let axes: Vec<&str> = graph.axes.iter().skip(1).map(|axis| axis.name.as_str()).collect();
    let tokens: Vec<&String> = reading.tokens.keys().collect();
    let columns: Vec<&String> = reading.columns.keys().collect();
    let windows: Vec<&String> = reading.window.keys().filter(|name| !name.is_empty()).collect();
    for (setting, names, known, kind) in [
        ("tokens", tokens, &inputs, "input"),
        ("columns", columns, &inputs, "input"),
        ("window", windows, &axes, "axis"),
    ] {
        if let Some(name) = names.into_iter().find(|name| !known.contains(&name.as_str())) {
            let reason = format!(
                "`{setting}` names `{name}`, but it has no such {kind}; it has: {}",
                known.join(", ")
            );
            return Err(TableError::Model { model: graph.name.clone(), reason });
        }
    }
    Ok(())
}
