// Reductions inside a row and over rows, gather and scatter of rows.

// Compiled without the prelude: 32-bit numbers.
#ifndef REAL
#define REAL(x) x##f
typedef float real;
typedef float16 real16;
#endif

#ifndef INDEPENDENT
#define INDEPENDENT
#endif

// How two partial results become one; the larger of two is NaN if either is.
#define SUM(a, b) ((a) + (b))
#define MAX(a, b) most(a, b)
#define SUM_16(a, b) ((a) + (b))
#define MAX_16(a, b) select(b, a, (a >= b) | (a != a))

static inline real least(const real a, const real b) { return a <= b || a != a ? a : b; }
static inline real most(const real a, const real b) { return a >= b || a != a ? a : b; }

// The row `id` of a table of `rows` rows, or zeros where there is no such row.
static inline __global const real *gathered(__global const real *const table, const uint id, const uint rows,
                                            const int pitch, __global const real *const zeros) {
  return id < rows ? table + (long)id * pitch : zeros;
}

// Columns from..to of a row, added to those of another one.
static inline void add_row(__global real *const sum, __global const real *const value, const int from,
                           const int to) {
  INDEPENDENT
  for (int column = from; column < to; ++column) sum[column] += value[column];
}
