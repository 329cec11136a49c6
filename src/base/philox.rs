//! Counter-based random numbers: Philox4x32-10 of Salmon et al., *Parallel random numbers: as easy as
//! 1, 2, 3* (SC 2011).
//!
//! A value is a pure function of a counter and a key, so that any element of any array can be drawn
//! in any order and by any thread:
//!
//! ```
//! use rnnc::base::philox::{philox4x32, uniform};
//! let words = philox4x32([7, 0, 0, 0], [1, 0]);
//! assert!(words.iter().all(|&word| (0.0..1.0).contains(&uniform(word))));
//! ```
//!
//! It holds no state and knows no distribution but the uniform one.

pub(crate) const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
pub(crate) const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
pub(crate) const ROUNDS: usize = 10;

/// Four random words for `counter` under `key`: Philox4x32-10.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut x = counter;
    let mut k = key;
    for _ in 0..ROUNDS {
        let a = u64::from(MULTIPLIERS[0]) * u64::from(x[0]);
        let b = u64::from(MULTIPLIERS[1]) * u64::from(x[2]);
        x = [(b >> 32) as u32 ^ x[1] ^ k[0], b as u32, (a >> 32) as u32 ^ x[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
    }
    x
}

/// A word as a number strictly between 0 and 1: the middle of one of 2^23 equal intervals, which f32 holds exactly.
pub fn uniform(word: u32) -> f64 {
    (f64::from(word >> 9) + 0.5) * (1.0 / 8_388_608.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that Random123 publishes (`kat_vectors`, philox4x32 with 10 rounds).
    #[test]
    fn known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
        assert_eq!(
            philox4x32([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn uniform_is_open_at_both_ends() {
        assert!(uniform(0) > 0.0);
        assert!(uniform(u32::MAX) < 1.0);
    }
}
