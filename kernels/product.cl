// Products of rows with a packed matrix, and sums of outer products over rows, tile by tile.
//
// A packed matrix of K rows lies in panels of 16 columns, each K vectors one after the other. A tile is
// TILE_ROWS rows by TILE_PANELS panels whose sums stay in registers.

// Compiled without the prelude: 32-bit numbers.
#ifndef REAL
#define REAL(x) x##f
typedef float real;
typedef float16 real16;
#endif

#ifndef UNROLL
#define UNROLL
#endif

#ifndef TILE_ROWS
#define TILE_ROWS 4
#endif

#ifndef TILE_PANELS
#define TILE_PANELS 1
#endif

#define TILE_COLUMNS (16 * TILE_PANELS)

// A tile's sums one after the other, for one that is not whole.
static inline void spill(real16 sum[TILE_ROWS][TILE_PANELS], real *const rest) {
  UNROLL for (int i = 0; i < TILE_ROWS; ++i)
    UNROLL for (int p = 0; p < TILE_PANELS; ++p) vstore16(sum[i][p], i * TILE_PANELS + p, rest);
}

// out[i][0..columns] (+)= a[i][0..k] @ packed, for `rows` of the TILE_ROWS rows; `columns` of the panels exist.
static inline void product_tile(__global const real *const *a, __global const real *const packed,
                                __global real *const *out, const int k, const int columns, const int rows,
                                const int add) {
  real16 sum[TILE_ROWS][TILE_PANELS];
  UNROLL for (int i = 0; i < TILE_ROWS; ++i)
    UNROLL for (int p = 0; p < TILE_PANELS; ++p) sum[i][p] = (real16)(0);
  // A panel that does not exist is read as the first one, and its sums are not stored.
  int panel[TILE_PANELS];
  UNROLL for (int p = 0; p < TILE_PANELS; ++p) panel[p] = 16 * p < columns ? p * k : 0;
  for (int at = 0; at < k; ++at) {
    real16 w[TILE_PANELS];
    UNROLL for (int p = 0; p < TILE_PANELS; ++p) w[p] = vload16(panel[p] + at, packed);
    UNROLL for (int i = 0; i < TILE_ROWS; ++i)
      UNROLL for (int p = 0; p < TILE_PANELS; ++p) sum[i][p] = fma((real16)(a[i][at]), w[p], sum[i][p]);
  }
  if (rows >= TILE_ROWS && columns >= TILE_COLUMNS) {
    UNROLL for (int i = 0; i < TILE_ROWS; ++i)
      UNROLL for (int p = 0; p < TILE_PANELS; ++p) {
        vstore16(add ? sum[i][p] + vload16(p, out[i]) : sum[i][p], p, out[i]);
      }
  } else {
    real rest[TILE_ROWS * TILE_COLUMNS];
    spill(sum, rest);
    for (int i = 0; i < min(rows, TILE_ROWS); ++i)
      for (int column = 0; column < min(columns, TILE_COLUMNS); ++column) {
        const real own = rest[i * TILE_COLUMNS + column];
        out[i][column] = add ? own + out[i][column] : own;
      }
  }
}

// sum[i][...] += a[i] * b[...] for one row: the sums of a tile of a sum of outer products.
static inline void outer_row(real16 sum[TILE_ROWS][TILE_PANELS], __global const real *const a,
                             __global const real *const b) {
  real16 w[TILE_PANELS];
  UNROLL for (int p = 0; p < TILE_PANELS; ++p) w[p] = vload16(p, b);
  UNROLL for (int i = 0; i < TILE_ROWS; ++i)
    UNROLL for (int p = 0; p < TILE_PANELS; ++p) sum[i][p] = fma((real16)(a[i]), w[p], sum[i][p]);
}

// Stores (or adds) the sums of a tile: `rows` rows of `columns` columns that exist, `pitch` elements apart.
static inline void outer_store(real16 sum[TILE_ROWS][TILE_PANELS], __global real *const out, const int pitch,
                               const int rows, const int columns, const int add) {
  if (rows >= TILE_ROWS && columns >= TILE_COLUMNS) {
    UNROLL for (int i = 0; i < TILE_ROWS; ++i)
      UNROLL for (int p = 0; p < TILE_PANELS; ++p) {
        __global real *const to = out + (long)i * pitch;
        vstore16(add ? sum[i][p] + vload16(p, to) : sum[i][p], p, to);
      }
  } else {
    real rest[TILE_ROWS * TILE_COLUMNS];
    spill(sum, rest);
    for (int i = 0; i < min(rows, TILE_ROWS); ++i)
      for (int column = 0; column < min(columns, TILE_COLUMNS); ++column) {
        __global real *const to = out + (long)i * pitch + column;
        *to = add ? rest[i * TILE_COLUMNS + column] + *to : rest[i * TILE_COLUMNS + column];
      }
  }
}
