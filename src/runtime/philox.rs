//! Philox4x32-10, the counter-based random generator behind dropout and the initialisers.
//!
//! A number is a function of a 128-bit counter and a 64-bit key, with no state between calls:
//! `philox4x32([example, position, block, stream], [seed low ^ step, seed high])` gives the words of
//! columns `4 * block .. 4 * block + 4`. So a row's numbers do not depend on how rows are packed or
//! split over threads, and a backward pass computes the same mask again instead of storing it.
//!
//! Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The
//! generated code computes the same bits (see `backend::native::random`).

/// Multipliers of the two halves of a round.
pub const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What each round adds to the key (the golden ratio and the square root of 3, less 1).
pub const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Rounds of the generator.
pub const ROUNDS: usize = 10;

/// Four random words for a counter and a key.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut words = counter;
    let mut key = key;
    for _ in 0..ROUNDS {
        let even = u64::from(MULTIPLIERS[0]) * u64::from(words[0]);
        let odd = u64::from(MULTIPLIERS[1]) * u64::from(words[2]);
        words = [
            (odd >> 32) as u32 ^ words[1] ^ key[0],
            odd as u32,
            (even >> 32) as u32 ^ words[3] ^ key[1],
            even as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    words
}

/// A word as a number strictly between 0 and 1, from its upper 23 bits: `(word >> 9 + 0.5) * 2^-23`.
/// Exact in f32 as well as in f64 (24 bits would round to 1.0 in f32), so both see the same numbers.
pub fn uniform(word: u32) -> f64 {
    (f64::from(word >> 9) + 0.5) * (0.5f64).powi(23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `kat_vectors` of Random123.
    #[test]
    fn known_answers() {
        let ones = u32::MAX;
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([ones; 4], [ones; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn uniform_numbers_lie_strictly_between_zero_and_one_in_both_types() {
        for word in [0, 1, 511, 512, u32::MAX / 2, u32::MAX - 512, u32::MAX] {
            let number = uniform(word);
            assert!(number > 0.0 && number < 1.0);
            assert_eq!(f64::from(number as f32), number);
        }
    }
}
