//! First values of parameters, drawn from the seed and the parameter's name.
//!
//! ```
//! use rnnc::runtime::initializer::Initializer;
//! let values = Initializer::Glorot.values("enc.W_f", &[3, 5], 1);
//! assert_eq!(values.len(), 15);
//! assert!(values.iter().all(|v| v.abs() <= (6.0f64 / 8.0).sqrt()));
//! ```
//!
//! The random stream is Philox keyed by the seed with the FNV-1a hash of the name in the counter: a
//! value depends on no other parameter, so adding or reordering parameters changes none of the rest.
//! Every draw is made in f64 and rounded by whoever stores it.

use serde::{Deserialize, Serialize};

use super::exact;
use crate::base::philox::{philox4x32, uniform};

/// How a parameter begins, as the language's `param W: [H, I] = init` names it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Initializer {
    /// 0 everywhere; the default of vectors.
    Zeros,
    /// 1 everywhere.
    Ones,
    /// The same number everywhere.
    Constant(#[serde(with = "exact")] f64),
    /// Uniform in `[-a, a]`.
    Uniform(#[serde(with = "exact")] f64),
    /// Normal with mean 0 and standard deviation `s`.
    Normal(#[serde(with = "exact")] f64),
    /// Uniform in `±sqrt(6 / (fan_in + fan_out))`: Glorot and Bengio, *Understanding the difficulty of
    /// training deep feedforward neural networks* (2010), eq. 16. The default of matrices.
    Glorot,
    /// A random orthogonal matrix (rows or columns orthonormal, whichever are fewer): Saxe et al.,
    /// *Exact solutions to the nonlinear dynamics of learning in deep linear neural networks* (2014).
    Orthogonal,
}

impl Initializer {
    /// What a parameter of this shape gets when the program says nothing: glorot for matrices (and
    /// higher ranks), zeros for vectors and scalars.
    pub fn default_for(shape: &[usize]) -> Initializer {
        if shape.len() >= 2 { Initializer::Glorot } else { Initializer::Zeros }
    }

    /// The values of a parameter, row-major, a pure function of the arguments.
    ///
    /// The caller has checked that the product of `shape` is a size that fits in memory.
    pub fn values(self, name: &str, shape: &[usize], seed: u64) -> Vec<f64> {
        let count = shape.iter().product();
        match self {
            Initializer::Zeros => vec![0.0; count],
            Initializer::Ones => vec![1.0; count],
            Initializer::Constant(value) => vec![value; count],
            Initializer::Uniform(bound) => uniforms(name, count, seed, bound),
            Initializer::Normal(deviation) => normals(name, count, seed, deviation),
            Initializer::Glorot => {
                let (fan_in, fan_out) = fans(shape);
                let bound = (6.0 / (fan_in + fan_out).max(1.0)).sqrt();
                uniforms(name, count, seed, bound)
            }
            Initializer::Orthogonal => orthogonal(name, shape, seed),
        }
    }
}

/// Inputs and outputs of a weight `[out, in, …]`; a vector counts as one row, as in `dot(v, x)`.
fn fans(shape: &[usize]) -> (f64, f64) {
    match shape {
        [] => (1.0, 1.0),
        [length] => (*length as f64, 1.0),
        [out, input, rest @ ..] => {
            let each = rest.iter().map(|&n| n as f64).product::<f64>();
            (*input as f64 * each, *out as f64 * each)
        }
    }
}

/// FNV-1a, 64 bits: short, fixed for ever, and well spread over short names.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The four random words of block `index` in the stream of `name`.
fn words(name_hash: u64, seed: u64, index: u64) -> [u32; 4] {
    let halves = |x: u64| [x as u32, (x >> 32) as u32];
    let [low, high] = halves(index);
    let [name_low, name_high] = halves(name_hash);
    philox4x32([low, high, name_low, name_high], halves(seed))
}

fn uniforms(name: &str, count: usize, seed: u64, bound: f64) -> Vec<f64> {
    blocks(name, count, seed, |words| words.map(|word| (2.0 * uniform(word) - 1.0) * bound))
}

/// Box and Muller (1958): two normal numbers from two uniform ones.
fn normals(name: &str, count: usize, seed: u64, deviation: f64) -> Vec<f64> {
    let pair = |a: u32, b: u32| {
        let radius = (-2.0 * uniform(a).ln()).sqrt() * deviation;
        let angle = std::f64::consts::TAU * uniform(b);
        [radius * angle.cos(), radius * angle.sin()]
    };
    blocks(name, count, seed, |[a, b, c, d]| {
        let ([p, q], [r, s]) = (pair(a, b), pair(c, d));
        [p, q, r, s]
    })
}

fn blocks(name: &str, count: usize, seed: u64, draw: impl Fn([u32; 4]) -> [f64; 4]) -> Vec<f64> {
    let hash = fnv1a(name);
    let mut values = Vec::with_capacity(count);
    let mut index = 0;
    while values.len() < count {
        let four = draw(words(hash, seed, index));
        values.extend_from_slice(&four[..four.len().min(count - values.len())]);
        index += 1;
    }
    values
}

/// Normal vectors made orthonormal, as rows where the matrix is wide and as columns where it is tall.
///
/// Gram-Schmidt leaves the diagonal of R positive, so Q is distributed uniformly over the orthogonal
/// matrices without the correction of signs that Householder's reflections need.
fn orthogonal(name: &str, shape: &[usize], seed: u64) -> Vec<f64> {
    let rows = shape.first().copied().unwrap_or(1);
    let columns: usize = shape.iter().skip(1).product();
    // A vector is one row, as in `fans`.
    let (rows, columns) = if shape.len() == 1 { (1, rows) } else { (rows, columns) };
    let (vectors, length) = (rows.min(columns), rows.max(columns));
    let mut q = normals(name, vectors * length, seed, 1.0);
    orthonormalize(&mut q, length);
    if rows <= columns {
        return q;
    }
    (0..rows * columns).map(|at| q[(at % columns) * length + at / columns]).collect()
}

/// Makes the rows of `q` (each `length` long) orthonormal, in order.
fn orthonormalize(q: &mut [f64], length: usize) {
    if length == 0 {
        return;
    }
    for row in 0..q.len() / length {
        let (done, rest) = q.split_at_mut(row * length);
        let vector = &mut rest[..length];
        // Twice is enough (Giraud et al. 2005): the first pass leaves rounding of the size of what it
        // took away, the second removes it.
        for _ in 0..2 {
            for basis in done.chunks_exact(length) {
                let along = dot(basis, vector);
                vector.iter_mut().zip(basis).for_each(|(v, b)| *v -= along * b);
            }
        }
        let norm = dot(vector, vector).sqrt().max(f64::MIN_POSITIVE);
        vector.iter_mut().for_each(|v| *v /= norm);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn fixed_values() {
        assert_eq!(Initializer::Zeros.values("b", &[3], 1), [0.0; 3]);
        assert_eq!(Initializer::Ones.values("b", &[2, 1], 1), [1.0; 2]);
        assert_eq!(Initializer::Constant(-0.5).values("b", &[], 1), [-0.5]);
        assert!(Initializer::Normal(1.0).values("b", &[0, 4], 1).is_empty());
    }

    #[test]
    fn defaults_follow_the_shape() {
        assert_eq!(Initializer::default_for(&[]), Initializer::Zeros);
        assert_eq!(Initializer::default_for(&[4]), Initializer::Zeros);
        assert_eq!(Initializer::default_for(&[4, 2]), Initializer::Glorot);
    }

    #[test]
    fn name_and_seed_choose_the_stream() {
        let draw = |name, seed| Initializer::Uniform(1.0).values(name, &[8], seed);
        assert_eq!(draw("W", 1), draw("W", 1));
        assert_ne!(draw("W", 1), draw("U", 1));
        assert_ne!(draw("W", 1), draw("W", 2));
        assert_ne!(draw("W", 1), draw("W", 1 << 32));
    }

    #[test]
    fn a_longer_array_begins_like_a_shorter_one() {
        let long = Initializer::Normal(1.0).values("W", &[11], 3);
        assert_eq!(long[..6], Initializer::Normal(1.0).values("W", &[6], 3));
    }

    #[test]
    fn moments() {
        let (mean, deviation) = mean_and_deviation(&Initializer::Uniform(0.3).values("W", &[40_000], 1));
        assert!(mean.abs() < 0.003 && (deviation - 0.3 / 3f64.sqrt()).abs() < 0.002);
        let (mean, deviation) = mean_and_deviation(&Initializer::Normal(2.0).values("W", &[40_000], 1));
        assert!(mean.abs() < 0.04 && (deviation - 2.0).abs() < 0.03);
        let glorot = Initializer::Glorot.values("W", &[100, 200], 1);
        let bound = (6.0 / 300.0f64).sqrt();
        let largest = glorot.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(largest <= bound && largest > 0.999 * bound);
    }

    #[test]
    fn fans_of_every_rank() {
        assert_eq!(fans(&[]), (1.0, 1.0));
        assert_eq!(fans(&[7]), (7.0, 1.0));
        assert_eq!(fans(&[3, 5]), (5.0, 3.0));
        assert_eq!(fans(&[3, 5, 2]), (10.0, 6.0));
    }

    #[test]
    fn orthogonal_rows_or_columns() {
        for (rows, columns) in [(5, 5), (4, 9), (9, 4), (1, 6), (64, 64)] {
            let w = Initializer::Orthogonal.values("U", &[rows, columns], 1);
            let at = |r: usize, c: usize| w[r * columns + c];
            let few = rows.min(columns);
            for a in 0..few {
                for b in 0..few {
                    let product: f64 = if rows <= columns {
                        (0..columns).map(|k| at(a, k) * at(b, k)).sum()
                    } else {
                        (0..rows).map(|k| at(k, a) * at(k, b)).sum()
                    };
                    let expected = if a == b { 1.0 } else { 0.0 };
                    assert!((product - expected).abs() < 1e-12, "{rows}x{columns} {a} {b} {product}");
                }
            }
        }
        let vector = Initializer::Orthogonal.values("v", &[7], 1);
        assert!((dot(&vector, &vector) - 1.0).abs() < 1e-12);
    }
}
