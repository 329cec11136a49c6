//! Beam search: which hypotheses of an example go on, and which have ended.
//!
//! Of all that may follow the hypotheses of a beam the best are kept, as many as the beam is wide; one that
//! ends leaves the beam and takes its place with it, so that a beam of one is the greedy choice. What has
//! ended is compared by the logarithm of its probability over `((5 + length) / 6)^penalty`: Wu et al., *Google's neural
//! machine translation system*, 2016, equation 14. Ties go to the earlier hypothesis and the lower id.

/// One that goes on: from which of the present hypotheses, with what, and how likely it then is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Next {
    /// Its place among the present ones.
    pub from: usize,
    /// The id that is added.
    pub id: u32,
    /// Logarithm of its probability.
    pub log: f64,
    /// That of the probability of the whole.
    pub score: f64,
}

/// The best of all that may follow, best first. `present` are the scores of the hypotheses and the logarithms of
/// the probabilities of what may follow each.
pub fn best(present: &[(f64, Vec<f64>)], width: usize) -> Vec<Next> {
    let mut found: Vec<Next> = Vec::new();
    for (from, (score, follow)) in present.iter().enumerate() {
        let all = follow.iter().zip(0u32..);
        let mut own: Vec<Next> = all.map(|(&log, id)| Next { from, id, log, score: score + log }).collect();
        if own.len() > width {
            own.select_nth_unstable_by(width, order);
            own.truncate(width);
        }
        found.extend(own);
    }
    found.sort_by(order);
    found.truncate(width);
    found
}

fn order(a: &Next, b: &Next) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then((a.from, a.id).cmp(&(b.from, b.id)))
}

/// What a hypothesis of this length is compared by.
pub fn normalised(score: f64, length: usize, penalty: f64) -> f64 {
    score / ((5.0 + length as f64) / 6.0).powf(penalty)
}

/// The best that a hypothesis that goes on can come to, if it may have so many ids at most.
pub fn bound(score: f64, length: usize, most: usize, penalty: f64) -> f64 {
    // What follows can only make it less likely; the divisor is largest at one of the two ends.
    normalised(score, most, penalty).max(normalised(score, length, penalty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_all_hypotheses_go_on() {
        let present = [(-1.0, vec![-0.5, -2.0, -0.1]), (-0.9, vec![-0.7, -0.2, -3.0])];
        let next = best(&present, 3);
        let found: Vec<(usize, u32)> = next.iter().map(|next| (next.from, next.id)).collect();
        assert_eq!(found, [(0, 2), (1, 1), (0, 0)]);
        assert!((next[0].score + 1.1).abs() < 1e-12);
        assert_eq!(best(&present, 100).len(), 6);
        // Equals: the earlier hypothesis, the lower id.
        let equal = [(0.0, vec![-1.0; 3]), (0.0, vec![-1.0; 3])];
        let found: Vec<(usize, u32)> = best(&equal, 4).iter().map(|next| (next.from, next.id)).collect();
        assert_eq!(found, [(0, 0), (0, 1), (0, 2), (1, 0)]);
    }

    #[test]
    fn length_is_made_up_for() {
        assert!(
            (normalised(-3.0, 1, 1.0) + 3.0).abs() < 1e-12 && (normalised(-3.0, 7, 1.0) + 1.5).abs() < 1e-12
        );
        assert_eq!(normalised(-3.0, 7, 0.0), -3.0);
        assert!(bound(-2.0, 1, 13, 1.0) > -0.7 && bound(-2.0, 3, 9, 0.0) == -2.0);
    }
}
