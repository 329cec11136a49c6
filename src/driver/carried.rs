//! States that pass from one chunk of a text to the next.
//!
//! A chunked program (see `opt::carry`) has an output `carry:h.c.carry` for every input `h.c.carry`. Here the values wait between two runs, for as many
//! examples as the batch has; a checkpoint keeps them as f32 arrays (an id as its number, none as -1).

use super::batch::{Batch, BatchError, Feed};
use crate::plan::{Element, Plan, Role};
use crate::runtime::checkpoint::Carried as Saved;
use crate::runtime::program::Real;

/// Values of one state, `[batch, …]`.
#[derive(Clone, Debug, PartialEq)]
enum Values<R> {
    Real(Vec<R>),
    Ids(Vec<u32>),
}

#[derive(Clone, Debug, PartialEq)]
struct State<R> {
    /// The input's name.
    name: String,
    shape: Vec<usize>,
    values: Values<R>,
}

/// All states of a batch between two chunks.
#[derive(Clone, Debug, PartialEq)]
pub struct Carried<R> {
    states: Vec<State<R>>,
}

impl<R: Real> Carried<R> {
    /// The states of a program before the first chunk of `examples` streams.
    pub fn new(plan: &Plan, examples: usize) -> Carried<R> {
        let mut states = Vec::new();
        for buffer in &plan.buffers {
            let Role::Output(output) = &buffer.role else { continue };
            let Some(name) = output.strip_prefix("carry:") else { continue };
            let values = match buffer.element {
                Element::Real => Values::Real(vec![R::default(); examples * buffer.width]),
                Element::Id => Values::Ids(vec![u32::MAX; examples]),
            };
            let shape = std::iter::once(examples).chain(buffer.shape.iter().copied()).collect();
            states.push(State { name: name.to_string(), shape, values });
        }
        states.sort_by(|a, b| a.name.cmp(&b.name));
        Carried { states }
    }

    /// Back to before the first chunk.
    pub fn reset(&mut self) {
        for state in &mut self.states {
            match &mut state.values {
                Values::Real(values) => values.fill(R::default()),
                Values::Ids(ids) => ids.fill(u32::MAX),
            }
        }
    }

    /// What the next chunk is fed.
    pub fn feeds(&self) -> Vec<(&str, Feed<'_, R>)> {
        let mut feeds = Vec::new();
        for state in &self.states {
            let feed = match &state.values {
                Values::Real(values) => Feed::Real(&values[..]),
                Values::Ids(ids) => Feed::Ids(&ids[..]),
            };
            feeds.push((state.name.as_str(), feed));
        }
        feeds
    }

    /// Takes over what a chunk has left behind.
    ///
    /// # Errors
    /// The batch is of another program.
    pub fn take(&mut self, batch: &Batch<R>) -> Result<(), BatchError> {
        for state in &mut self.states {
            let output = format!("carry:{}", state.name);
            match &mut state.values {
                Values::Real(values) => *values = batch.values(&output)?,
                Values::Ids(ids) => *ids = batch.ids(&output)?,
            }
        }
        Ok(())
    }

    /// Takes over the states of another program of the same model; false if they are not the same.
    pub fn adopt(&mut self, other: &Carried<R>) -> bool {
        let same = self.states.len() == other.states.len()
            && self.states.iter().zip(&other.states).all(|(a, b)| a.name == b.name && a.shape == b.shape);
        if same {
            self.clone_from(other);
        }
        same
    }
}

impl Carried<f32> {
    /// As a checkpoint keeps them.
    pub fn save(&self) -> Vec<Saved> {
        let save = |state: &State<f32>| {
            let values = match &state.values {
                Values::Real(values) => values.clone(),
                // Exact: vocabularies are far below 2^24.
                Values::Ids(ids) => {
                    ids.iter().map(|&id| if id == u32::MAX { -1.0 } else { id as f32 }).collect()
                }
            };
            Saved { name: state.name.clone(), shape: state.shape.clone(), values }
        };
        self.states.iter().map(save).collect()
    }

    /// Goes on from a checkpoint; false if it is of other states.
    pub fn restore(&mut self, saved: &[Saved]) -> bool {
        let same = self.states.len() == saved.len()
            && self.states.iter().zip(saved).all(|(a, b)| a.name == b.name && a.shape == b.shape);
        if !same {
            return false;
        }
        for (state, saved) in self.states.iter_mut().zip(saved) {
            match &mut state.values {
                Values::Real(values) => values.clone_from(&saved.values),
                Values::Ids(ids) => {
                    let id = |value: &f32| if *value < 0.0 { u32::MAX } else { *value as u32 };
                    *ids = saved.values.iter().map(id).collect();
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Buffer, Residency, Space};

    fn plan() -> Plan {
        let buffer = |name: &str, element, width: usize| Buffer {
            name: name.into(),
            element,
            width,
            shape: if width == 1 { vec![] } else { vec![width] },
            space: 0,
            residency: Residency::All,
            role: Role::Output(format!("carry:{name}.carry")),
            life: (0, 0),
        };
        let buffers = vec![buffer("text", Element::Id, 1), buffer("h.h", Element::Real, 3)];
        let spaces = vec![Space { axes: vec![], major: None }];
        Plan { buffers, spaces, ..Plan::default() }
    }

    #[test]
    fn saved_states_come_back() {
        let mut carried = Carried::<f32>::new(&plan(), 2);
        assert_eq!(carried.feeds().len(), 2);
        let fresh = carried.clone();
        if let Values::Ids(ids) = &mut carried.states[1].values {
            ids[0] = 64;
        }
        if let Values::Real(values) = &mut carried.states[0].values {
            values[5] = 0.25;
        }
        let saved = carried.save();
        assert_eq!((saved[0].name.as_str(), &saved[0].shape[..]), ("h.h.carry", &[2, 3][..]));
        assert_eq!(saved[1].values, [64.0, -1.0]);
        let mut other = fresh.clone();
        assert!(other.restore(&saved));
        assert_eq!(other, carried);
        assert!(!Carried::<f32>::new(&plan(), 3).restore(&saved));
        other.reset();
        assert_eq!(other, fresh);
    }
}
