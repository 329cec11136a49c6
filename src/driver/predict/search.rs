//! How a prediction is searched for, and what makes no sense.

use thiserror::Error;

use super::choice::{Chance, Choice};

/// How values are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// How each is chosen where there is no beam.
    pub choice: Choice,
    /// How wide a beam is kept, if one is.
    pub beam: Option<Beam>,
    /// How many for each example: by a beam the best, else draws.
    pub count: usize,
    /// The most positions, where nothing given says how many there are.
    pub length: Option<usize>,
    /// Seed of all draws.
    pub seed: u64,
}

/// A beam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beam {
    /// Hypotheses that are kept.
    pub width: usize,
    /// How much length is made up for, see `beam`; 0 compares probabilities as they are.
    pub length_penalty: f64,
}

impl Default for Search {
    fn default() -> Search {
        Search { choice: Choice::Likeliest, beam: None, count: 1, length: None, seed: 1 }
    }
}

/// A search that makes no sense.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SearchError {
    /// No hypothesis.
    #[error("a beam keeps at least one hypothesis: `--beam 1` is the greedy choice")]
    NoBeam,
    /// A beam and draws.
    #[error(
        "a beam takes the likeliest and draws nothing: leave out `--beam`, or `--temperature`, `--top-k` and `--top-p`"
    )]
    BeamAndChance,
    /// More than a beam has.
    #[error("a beam of {width} has no {count} best: `--beam {count}` has")]
    FewerThanCount {
        /// The beam.
        width: usize,
        /// What is asked for.
        count: usize,
    },
    /// Nothing at all.
    #[error("`--count` is at least 1")]
    NoCount,
    /// No temperature.
    #[error("a temperature is a number above 0, not {0}; `--greedy` always takes the likeliest")]
    Temperature(f64),
    /// Nothing to choose from.
    #[error("`--top-k` is at least 1, which is the greedy choice")]
    TopK,
    /// No probability.
    #[error("`--top-p` is above 0 and at most 1, which is everything; not {0}")]
    TopP(f64),
    /// No number.
    #[error("`--length-penalty` is a number of at least 0, not {0}; 0 compares probabilities as they are")]
    LengthPenalty(f64),
}

impl Search {
    /// That it makes sense.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), SearchError> {
        if self.count == 0 {
            return Err(SearchError::NoCount);
        }
        if let Choice::Chance(Chance { temperature, top_k, top_p }) = self.choice {
            if !(temperature.is_finite() && temperature > 0.0) {
                return Err(SearchError::Temperature(temperature));
            }
            if top_k == Some(0) {
                return Err(SearchError::TopK);
            }
            if let Some(p) = top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
                return Err(SearchError::TopP(p));
            }
        }
        let Some(beam) = self.beam else { return Ok(()) };
        if let Choice::Chance(_) = self.choice {
            return Err(SearchError::BeamAndChance);
        }
        if !(beam.length_penalty.is_finite() && beam.length_penalty >= 0.0) {
            return Err(SearchError::LengthPenalty(beam.length_penalty));
        }
        match beam.width {
            0 => Err(SearchError::NoBeam),
            width if width < self.count => Err(SearchError::FewerThanCount { width, count: self.count }),
            _ => Ok(()),
        }
    }
}
