// What every program begins with: the type of real numbers, how a function finds its memory, and the few
// operations of the kernel language that OpenCL C does not have.
//
// Memory. A batch runs in groups of examples, each with memory of its own inside `memory`. `tables` begins
// with one context a group, so many numbers each: where a buffer's row 0 lies (in units of 64 bytes), where a
// table of row numbers begins in `tables`, how many rows and steps there are. Parameters are shared.
//
// A team is a work-group: LANES work-items that may meet. On a processor whose work-items run one after the
// other LANES is 1, and loops over columns are left to the compiler's vectors.

#pragma OPENCL FP_CONTRACT OFF

#ifndef LANES
#define LANES 1
#endif

// Columns of a row that are one item of elementwise work.
#ifndef CHUNK
#define CHUNK 1
#endif

#ifdef DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double real;
typedef double4 real4;
typedef double16 real16;
typedef long bits;
#define as_bits as_long
#define as_real as_double
#define MANTISSA 52
#define BIAS 1023
#define REAL(x) x
#else
typedef float real;
typedef float4 real4;
typedef float16 real16;
typedef int bits;
#define as_bits as_int
#define as_real as_float
#define MANTISSA 23
#define BIAS 127
#define REAL(x) x##f
#endif

#define GLOBAL __global
#define LOCAL __local
#define ARGUMENTS __global char *restrict memory, __global const char *restrict parameters, __global const int *restrict tables
#define CONTEXT __global char *const memory, __global const char *const parameters, __global const int *const tables, __global const int *const context
#define SAME memory, parameters, tables, context

#define BUFFER(type, slot) ((__global type *)(memory + (size_t)context[slot] * 64))
#define PARAMETER(type, slot) ((__global const type *)(parameters + (size_t)context[slot] * 64))
#define TABLE(slot) (tables + context[slot])
#define NUMBER(slot) context[slot]

// An id that is none.
#define NONE 0xffffffffu

// Iterations that touch nothing in common.
#if defined(__clang__) && LANES == 1
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety) interleave(disable)")
#else
#define INDEPENDENT
#endif
#define UNROLL _Pragma("unroll")
#define LARGER(a, b) ((a) > (b) ? (a) : (b))

#define TEAM __attribute__((reqd_work_group_size(LANES, 1, 1)))
#if LANES == 1
#define MEET
#else
#define MEET barrier(CLK_GLOBAL_MEM_FENCE)
#endif

// The row of a buffer that holds one step only; -1, the row of nothing, stays.
static inline long in_step(const int row, const int first) { return row < 0 ? row : row - first; }

static inline real sign_of(const real x) { return x > 0 ? (real)1 : x < 0 ? (real)-1 : x == x ? (real)0 : x; }

// Exponent and mantissa of a positive normal number.
static inline real exponent_of(const real x) { return (real)((int)(as_bits(x) >> MANTISSA) - BIAS); }
static inline real mantissa_of(const real x) {
  return as_real((as_bits(x) & (((bits)1 << MANTISSA) - 1)) | ((bits)BIAS << MANTISSA));
}

// 2^n for an integral n of normal exponent: adding 1.5 * 2^MANTISSA leaves n in the lowest bits.
static inline real power_of_two(const real n) {
  const real magic = (real)(((bits)3 << (MANTISSA - 1)) + BIAS);
  return as_real(as_bits(n + magic) << MANTISSA);
}

static inline real between(const real n, const real low, const real high) {
  const real above = n > low ? n : low;
  return above < high ? above : high;
}

// x * 2^n for n among normal exponents, among twice as large ones, and any: the surplus comes first and the
// largest factor last, so that a result is rounded once.
static inline real scale_1(const real x, const real n) { return x * power_of_two(n); }
static inline real scale_2(const real x, const real n) {
  const real main = between(n, 1 - BIAS, BIAS);
  return x * power_of_two(n - main) * power_of_two(main);
}
static inline real scale_3(const real x, const real n) {
  const real main = between(n, 1 - BIAS, BIAS);
  const real more = between(n - main, 1 - BIAS, BIAS);
  const real rest = between(n - main - more, 1 - BIAS, BIAS);
  return x * power_of_two(rest) * power_of_two(more) * power_of_two(main);
}

static inline real number_of(const uint id) { return id == NONE ? (real)NAN : (real)id; }
