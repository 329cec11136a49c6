// Products by blocks. A team brings a block of both sides into local memory, so many terms of the sums at a time, and
// each of its work-items has the sums of some rows by 4 columns in registers.
//
// Work-items lie in LANE_ROWS rows of LANE_COLUMNS; `each` is how many rows of a block a work-item has, `depth` how
// many terms are brought at a time: EACH and DEPTH where there are many rows, STEP_EACH and STEP_DEPTH for the rows of
// a step. What is brought: `right`, depth rows of BLOCK_COLUMNS, and behind it `left`, depth rows of one number for
// each row of the block (and one more, so that rows lie in different banks).

// Compiled without the prelude: 32-bit numbers, teams of one.
#ifndef REAL
#define REAL(x) x##f
typedef float real;
typedef float4 real4;
#endif

#ifndef LANES
#define LANES 1
#endif

#ifndef UNROLL
#define UNROLL
#endif

#ifndef LANE_COLUMNS
#if LANES >= 64
#define LANE_COLUMNS 16
#elif LANES >= 4
#define LANE_COLUMNS 4
#else
#define LANE_COLUMNS LANES
#endif
#endif

#ifndef EACH
#define EACH 4
#endif
#ifndef DEPTH
#define DEPTH 16
#endif
#ifndef STEP_EACH
#define STEP_EACH 1
#endif
#ifndef STEP_DEPTH
#define STEP_DEPTH 64
#endif

#define LANE_ROWS (LANES / LANE_COLUMNS)
#define BLOCK_COLUMNS (4 * LANE_COLUMNS)
#define BLOCK_ROWS(each) (LANE_ROWS * (each))
#define PITCH(each) (BLOCK_ROWS(each) + 1)

// Columns of each of the windows that share the columns of a block: whole fours where there is room for one.
#define PIECE(windows) \
  (BLOCK_COLUMNS / (windows) >= 4 ? BLOCK_COLUMNS / (windows) / 4 * 4 : max(BLOCK_COLUMNS / (windows), 1))

// Numbers of local memory: for what is brought, and for the sums of a block.
#define BROUGHT(each, depth) ((depth) * (BLOCK_COLUMNS + PITCH(each)))
#define SUMS(each) (BLOCK_ROWS(each) * BLOCK_COLUMNS)

// Numbers at..at + 3 of a row of `count`; zeros behind its end.
static inline real4 four(__global const real *const row, const int at, const int count) {
  if (at + 4 <= count) return vload4(0, row + at);
  real4 some = (real4)(0);
  if (at < count) some.s0 = row[at];
  if (at + 1 < count) some.s1 = row[at + 1];
  if (at + 2 < count) some.s2 = row[at + 2];
  return some;
}

// Brings terms at..at + depth of the columns of a packed matrix of `k` rows: column c of the block is column
// base + c / piece * stride + from + c % piece, if there are so many windows and `from + c % piece` is below `count`.
static inline void bring_packed(__local real *const right, __global const real *const packed, const int k,
                                const int at, const int depth, const int windows, const int piece, const int base,
                                const int stride, const int from, const int count) {
  const bool by_four = piece % 4 == 0 && stride % 4 == 0 && base % 4 == 0;
  for (int item = get_local_id(0); item < depth * LANE_COLUMNS; item += LANES) {
    const int term = at + item / LANE_COLUMNS, column = item % LANE_COLUMNS * 4;
    real own[4] = {0, 0, 0, 0};
    real4 all = (real4)(0);
    if (term < k) {
      if (by_four) {
        const int window = column / piece, place = from + column % piece;
        if (window < windows && place < count) {
          const int whole = base + window * stride + place;
          all = vload4(0, packed + ((long)(whole / 16) * k + term) * 16 + whole % 16);
        }
      } else {
        for (int i = 0; i < 4; ++i) {
          const int window = (column + i) / piece, place = from + (column + i) % piece;
          const int whole = base + window * stride + place;
          if (window < windows && place < count)
            own[i] = packed[((long)(whole / 16) * k + term) * 16 + whole % 16];
        }
        all = vload4(0, own);
      }
    }
    vstore4(all, 0, right + item / LANE_COLUMNS * BLOCK_COLUMNS + column);
  }
}

// Four terms of a row of the block, of which each goes to a row of its own.
static inline void bring_down(__local real *const left, const int row, const int term, const int pitch,
                              const real4 own) {
  left[term * pitch + row] = own.s0;
  left[(term + 1) * pitch + row] = own.s1;
  left[(term + 2) * pitch + row] = own.s2;
  left[(term + 3) * pitch + row] = own.s3;
}

// Four rows of the block, of one term.
static inline void bring_across(__local real *const left, const int row, const int term, const int pitch,
                                const real4 own) {
  __local real *const to = left + term * pitch + row;
  to[0] = own.s0;
  to[1] = own.s1;
  to[2] = own.s2;
  to[3] = own.s3;
}

// sum += left.T @ right, as far as they were brought.
static inline void multiply(real4 *const sum, __local const real *const right, __local const real *const left,
                            const int each, const int depth) {
  const int row = get_local_id(0) / LANE_COLUMNS, column = get_local_id(0) % LANE_COLUMNS;
  for (int term = 0; term < depth; ++term) {
    const real4 b = vload4(column, right + term * BLOCK_COLUMNS);
    UNROLL for (int i = 0; i < each; ++i)
      sum[i] = fma((real4)(left[term * PITCH(each) + i * LANE_ROWS + row]), b, sum[i]);
  }
}

// Four sums to their place, as many as there are columns.
static inline void put_four(__global real *const out, const real4 sum, const int columns, const int add) {
  if (columns >= 4) {
    vstore4(add ? sum + vload4(0, out) : sum, 0, out);
  } else {
    if (columns > 0) out[0] = add ? sum.s0 + out[0] : sum.s0;
    if (columns > 1) out[1] = add ? sum.s1 + out[1] : sum.s1;
    if (columns > 2) out[2] = add ? sum.s2 + out[2] : sum.s2;
  }
}

// The sums of a block in local memory, rows of BLOCK_COLUMNS: for the epilogue, the equations that read nothing of the
// product but what lies in the block.
static inline void keep(__local real *const shared, const real4 *const sum, const int each) {
  const int row = get_local_id(0) / LANE_COLUMNS, column = get_local_id(0) % LANE_COLUMNS;
  UNROLL for (int i = 0; i < each; ++i)
    vstore4(sum[i], column, shared + (i * LANE_ROWS + row) * BLOCK_COLUMNS);
}
