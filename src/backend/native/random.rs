//! Uniform random numbers by Philox4x32-10, bit for bit those of [`crate::base::philox`].
//!
//! Words are kept zero-extended in 64-bit integers, so that a round's two products are plain
//! multiplications.

use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use crate::base::philox::{MULTIPLIERS, ROUNDS, WEYL};
use crate::plan::{Place, Random};

/// Emits the generator.
pub fn random(code: &mut Code, random: &Random) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let (begin, end) = (code.params[1], code.params[2]);
    code.count(begin, end, 1, |code, row| {
        let [seed_low, seed_high, step] = words(code, &random.seed, row)?;
        let key = [code.build.ins().bxor(seed_low, step), seed_high];
        let [example, position] = words(code, &random.key, row)?;
        let stream = code.int(i64::from(random.stream));
        let out = code.place_address(&random.out, row, random.out.offset + random.width)?;
        let whole = random.width / 4;
        code.count_constant(whole, 1, |code, block| {
            let to = code.element(out, block, 4 * bytes);
            let numbers = philox(code, [example, position, block, stream], key);
            store(code, to, &numbers);
            Ok(())
        })?;
        let rest = random.width - 4 * whole;
        if rest > 0 {
            let block = code.int(whole as i64);
            let to = code.element(out, block, 4 * bytes);
            let numbers = philox(code, [example, position, block, stream], key);
            store(code, to, &numbers[..rest]);
        }
        Ok(())
    })
}

/// The first words at a place.
fn words<const N: usize>(code: &mut Code, place: &Place, row: Value) -> Result<[Value; N], EmitError> {
    let (address, offset) = code.place(place, row, place.offset + N)?;
    let flags = code.flags(&place.at);
    Ok(std::array::from_fn(|word| {
        let word = code.build.ins().load(types::I32, flags, address, offset + 4 * word as i32);
        code.build.ins().uextend(types::I64, word)
    }))
}

/// Four words for a counter and a key.
fn philox(code: &mut Code, counter: [Value; 4], key: [Value; 2]) -> [Value; 4] {
    let mut words = counter;
    let mut key = key;
    let low_bits = code.int(i64::from(u32::MAX));
    let half = code.int(32);
    for _ in 0..ROUNDS {
        let mut halves = |multiplier: u32, word: Value| {
            let multiplier = code.int(i64::from(multiplier));
            let product = code.build.ins().imul(word, multiplier);
            let low = code.build.ins().band(product, low_bits);
            (code.build.ins().ushr(product, half), low)
        };
        let (even_high, even_low) = halves(MULTIPLIERS[0], words[0]);
        let (odd_high, odd_low) = halves(MULTIPLIERS[1], words[2]);
        let first = code.build.ins().bxor(odd_high, words[1]);
        let third = code.build.ins().bxor(even_high, words[3]);
        words =
            [code.build.ins().bxor(first, key[0]), odd_low, code.build.ins().bxor(third, key[1]), even_low];
        key = std::array::from_fn(|half| {
            let sum = code.plus(key[half], i64::from(WEYL[half]));
            code.build.ins().band(sum, low_bits)
        });
    }
    words
}

/// Stores words as numbers between 0 and 1: `(word >> 9 + 0.5) * 2^-23`.
fn store(code: &mut Code, to: Value, words: &[Value]) {
    let types = code.types;
    for (number, &word) in words.iter().enumerate() {
        let shift = code.int(9);
        let upper = code.build.ins().ushr(word, shift);
        let real = code.build.ins().fcvt_from_sint(types.real, upper);
        let half = code.real(0.5);
        let real = code.build.ins().fadd(real, half);
        let scale = code.real(0.5f64.powi(23));
        let real = code.build.ins().fmul(real, scale);
        code.build.ins().store(CHANGING, real, to, (number * types.bytes) as i32);
    }
}
