// Random numbers that are a function of a counter and a key: Philox4x32-10 of Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3" (SC 2011).

// Compiled without the prelude: 32-bit numbers.
#ifndef REAL
#define REAL(x) x##f
typedef float real;
#endif

static inline uint4 philox(const uint4 counter, const uint2 key) {
  uint4 x = counter;
  uint2 k = key;
  for (int round = 0; round < 10; ++round) {
    const uint even_high = mul_hi(0xD2511F53u, x.s0), even_low = 0xD2511F53u * x.s0;
    const uint odd_high = mul_hi(0xCD9E8D57u, x.s2), odd_low = 0xCD9E8D57u * x.s2;
    x = (uint4)(odd_high ^ x.s1 ^ k.s0, odd_low, even_high ^ x.s3 ^ k.s1, even_low);
    k += (uint2)(0x9E3779B9u, 0xBB67AE85u);
  }
  return x;
}

// A word as a number strictly between 0 and 1: the middle of one of 2^23 equal intervals.
static inline real uniform(const uint word) { return ((real)(word >> 9) + REAL(0.5)) * REAL(1.1920928955078125e-7); }

// Numbers 4 * block … of a row: `seed` is low word, high word and step, `row` example and position.
static inline void draw(__global const uint *const seed, __global const uint *const row, const int block,
                        const uint stream, __global real *const out, const int columns) {
  const uint4 words = philox((uint4)(row[0], row[1], block, stream), (uint2)(seed[0] ^ seed[2], seed[1]));
  out[0] = uniform(words.s0);
  if (columns > 1) out[1] = uniform(words.s1);
  if (columns > 2) out[2] = uniform(words.s2);
  if (columns > 3) out[3] = uniform(words.s3);
}
