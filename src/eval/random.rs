//! Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random
//! numbers: as easy as 1, 2, 3" (2011): the random number of a place needs no state, only the place.
//!
//! `number(seed, step, stream, example, position, column)` is the same on every backend. It is written
//! here a second time on purpose: an oracle that shared the code could not find its mistakes.

const ROUNDS: usize = 10;
const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// A uniform number in (0, 1): 2^24 of them, none of them 0 or 1.
pub(super) fn number(seed: u64, step: u32, stream: u32, example: u32, position: u32, column: u32) -> f64 {
    let key = [low(seed) ^ step, low(seed >> 32)];
    let words = philox4x32([example, position, column / 4, stream], key);
    (f64::from(words[(column % 4) as usize] >> 9) + 0.5) / f64::from(1u32 << 23)
}

fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let products = [MULTIPLIERS[0] * u64::from(counter[0]), MULTIPLIERS[1] * u64::from(counter[2])];
        counter = [
            low(products[1] >> 32) ^ counter[1] ^ key[0],
            low(products[1]),
            low(products[0] >> 32) ^ counter[3] ^ key[1],
            low(products[0]),
        ];
    }
    counter
}

/// The low half of a word.
fn low(word: u64) -> u32 {
    (word & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three vectors of `kat_vectors` in the authors' Random123.
    #[test]
    fn philox_gives_the_known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = u32::MAX;
        assert_eq!(philox4x32([ones; 4], [ones; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn columns_share_a_block_of_four() {
        let words = philox4x32([3, 2, 1, 7], [9 ^ 5, 1]);
        let expected = (f64::from(words[2] >> 9) + 0.5) / 8_388_608.0;
        assert_eq!(number((1 << 32) | 9, 5, 7, 3, 2, 6), expected);
        assert!(expected > 0.0 && expected < 1.0);
    }
}
