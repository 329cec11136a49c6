//! What programs found, as predictions of examples and as data of later programs.

use super::drawn::{Drawn, element_of};
use super::padded::{Padded, Values};
use super::program::Given;
use super::search::Search;
use super::stages::Showing;
use super::steps::{Decoder, Hypothesis};
use super::{Known, PredictError, Sample, Shown};
use crate::driver::batch::BatchError;

/// Draws a value at all positions of all examples; also as later programs take them.
pub fn at_once(
    drawn: &Drawn,
    value: usize,
    parameters: &Padded,
    given: &Given,
    search: &Search,
) -> (Vec<Sample>, Padded) {
    let rows = given.count();
    let mut all = Padded::empty(element_of(drawn.element), rows, parameters.extents.clone(), drawn.width);
    let mut samples = Vec::new();
    for row in 0..rows {
        let lengths = drawn.axes.iter().map(|axis| given.lengths.get(axis).map_or(0, |all| all[row]));
        let lengths: Vec<usize> = lengths.collect();
        let (mut values, mut logs) = (Values::empty(element_of(drawn.element), 0), Vec::new());
        let mut own_parameters = Vec::new();
        for (number, position) in positions(&lengths, &parameters.extents).into_iter().enumerate() {
            let start = parameters.row(row).start + position * parameters.width;
            let its = &parameters.values.real()[start..start + parameters.width];
            let (chosen, log) = drawn.draw(its, search, (given.keys[row], number, value));
            all.set_at(row, position, &chosen);
            values.extend(&chosen, 0..chosen.len());
            own_parameters.extend_from_slice(its);
            if drawn.classes().is_some() {
                logs.push(log);
            }
        }
        samples.push(Sample { lengths, values, logs, parameters: own_parameters, score: None, ended: true });
    }
    (samples, all)
}

/// The places of all positions within these lengths, in an array of these extents.
pub fn positions(lengths: &[usize], extents: &[usize]) -> Vec<usize> {
    let mut places = vec![0];
    for (&length, &extent) in lengths.iter().zip(extents) {
        places = places.iter().flat_map(|place| (0..length).map(move |step| place * extent + step)).collect();
    }
    places
}

/// The most positions of each example, where nothing given says how many there are.
pub fn most(
    decoder: &Decoder,
    given: &Given,
    search: &Search,
    known: &Known,
) -> Result<Vec<usize>, PredictError> {
    if let Some(length) = search.length {
        return Ok(vec![length; given.count()]);
    }
    if let Some(lengths) = given.lengths.get(&decoder.axis) {
        return Ok(lengths.clone());
    }
    let ends = decoder.drawn.iter().any(|drawn| known.ends.contains_key(&drawn.name));
    let longest = |row: usize| given.lengths.values().map(|all| all[row]).max().unwrap_or(0);
    match (ends, decoder.drawn.first()) {
        (false, Some(drawn)) => Err(PredictError::NoLength(drawn.name.clone())),
        _ => Ok((0..given.count()).map(|row| 100 + 3 * longest(row)).collect()),
    }
}

/// What a hypothesis says of one value, behind what it began with.
pub fn of_steps(hypothesis: &Hypothesis, at: usize, first: usize) -> Sample {
    let values = &hypothesis.values[at];
    Sample {
        lengths: vec![hypothesis.steps],
        values: values.part(first..values.len()),
        logs: match values {
            Values::Ids(_) => hypothesis.logs[at].clone(),
            Values::Real(_) => Vec::new(),
        },
        parameters: Vec::new(),
        score: Some(hypothesis.score),
        ended: hypothesis.ended,
    }
}

/// Keeps the best of what was drawn step by step for programs that read it.
pub fn keep(decoder: &Decoder, found: &[Vec<Hypothesis>], given: &mut Given) {
    let mut lengths = vec![0; found.len()];
    for (at, drawn) in decoder.drawn.iter().enumerate() {
        let best = |its: &Vec<Hypothesis>| its.first().map(|own| own.values[at].clone());
        let values: Vec<Option<Values>> = found.iter().map(best).collect();
        let positions =
            |values: &Option<Values>| values.as_ref().map_or(0, |values| values.len() / drawn.width.max(1));
        lengths = values.iter().map(positions).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut all = Padded::empty(element_of(drawn.element), found.len(), vec![longest], drawn.width);
        for (row, values) in values.iter().enumerate() {
            if let Some(values) = values {
                all.set(row, values);
            }
        }
        given.drawn.push((drawn.name.clone(), all));
    }
    given.lengths.insert(decoder.axis.clone(), lengths);
}
impl Showing {
    /// The value of each example, by all that was drawn.
    pub fn of(&mut self, given: &Given) -> Result<Vec<Shown>, BatchError> {
        let all: Vec<usize> = (0..given.count()).collect();
        self.program.batch.lay_out(&given.lengths_for(self.program.batch.plan(), &all, None))?;
        self.program.run(&given.feeds())?;
        let found = self.program.value(&self.name)?;
        let real: Vec<f32> = match &found.values {
            Values::Real(values) => values.clone(),
            Values::Ids(ids) => ids.iter().map(|&id| id as f32).collect(),
        };
        let one = |row: usize| {
            let lengths = self.axes.iter().map(|axis| given.lengths.get(axis).map_or(0, |all| all[row]));
            let lengths: Vec<usize> = lengths.collect();
            let start = found.row(row).start;
            let places = positions(&lengths, &found.extents).into_iter();
            let values = places.flat_map(|place| {
                let at = start + place * found.width;
                real[at..at + found.width].iter().copied()
            });
            let values = values.collect();
            Shown { axes: self.axes.clone(), lengths, shape: self.shape.clone(), values }
        };
        Ok((0..given.count()).map(one).collect())
    }
}
