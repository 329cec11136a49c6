// A step of training on parameters that stay on the device: the gradient of a batch from those of its groups,
// its size, and the update by each of the optimisers. The arithmetic is that of src/runtime/optimizer.rs.
//
// All vectors are laid out as the block of parameters is. `ranges` holds pairs, first element and count, of
// what is trained; the second dimension of a launch goes over them.

#pragma OPENCL FP_CONTRACT OFF

// Elements that a work-item does at a time.
#ifndef CHUNK
#define CHUNK 1
#endif

// Sums of squares of large vectors: in 64 bits where the device has them.
#ifdef WIDE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double total;
#else
typedef float total;
#endif

// The elements of range `get_global_id(1)` that this work-item does, as `i`.
#define EACH(first, count)                                                                     \
  for (int piece = get_global_id(0) * CHUNK; piece < (count); piece += get_global_size(0) * CHUNK) \
    for (int i = (first) + piece, last = (first) + min(count, piece + CHUNK); i < last; ++i)

#define RANGE                                                                                      \
  const int first = ranges[2 * get_global_id(1)], count = ranges[2 * get_global_id(1) + 1];

// The gradient as it is used: clamped, then scaled, and that of the L1 penalty added.
#define CLIPPED(g, p) (clamp(g, -bound, bound) * factor + l1 * sign(p))

// sums[…] = the results of all groups, added in their order. An entry is the slot of a buffer of one row in the
// context, the first element in `sums`, and a count.
__kernel void add_up(__global const char *restrict memory, __global const int *restrict tables,
                     __global const int *restrict entries, __global float *restrict sums, const int slots,
                     const int groups) {
  __global const int *entry = entries + 3 * get_global_id(1);
  const int first = entry[1], count = entry[2];
  EACH(first, count) {
    float sum = 0;
    for (int group = 0; group < groups; ++group) {
      __global const float *own = (__global const float *)(memory + (size_t)tables[group * slots + entry[0]] * 64);
      sum = group ? sum + own[i - first] : own[i - first];
    }
    sums[i] = sum;
  }
}

// The squares of each work-item's elements, as they are and clamped: two numbers a work-item and range.
__kernel void squares(__global const float *restrict gradient, __global const int *restrict ranges,
                      __global total *restrict partial, const float bound) {
  RANGE
  total plain = 0, clamped = 0;
  EACH(first, count) {
    const float g = gradient[i], c = clamp(g, -bound, bound);
    plain += (total)g * g;
    clamped += (total)c * c;
  }
  const int at = 2 * (get_global_id(1) * get_global_size(0) + get_global_id(0));
  partial[at] = plain;
  partial[at + 1] = clamped;
}

__kernel void sgd(__global float *restrict p, __global const float *restrict gradient,
                  __global const int *restrict ranges, const float bound, const float factor, const float l1, const float rate,
                  const float decay) {
  RANGE
  EACH(first, count) {
    const float g = CLIPPED(gradient[i], p[i]);
    p[i] -= rate * (g + decay * p[i]);
  }
}

__kernel void momentum(__global float *restrict p, __global const float *restrict gradient,
                       __global const int *restrict ranges, __global float *restrict b, const float bound,
                       const float factor, const float l1, const float rate, const float decay, const float momentum,
                       const int nesterov) {
  RANGE
  EACH(first, count) {
    const float g = CLIPPED(gradient[i], p[i]) + decay * p[i];
    const float next = momentum * b[i] + g;
    b[i] = next;
    p[i] -= rate * (nesterov ? g + momentum * next : next);
  }
}

// Adam, and with kept < 1 AdamW: `size` is rate / (1 - beta1^t), `root` the square root of 1 - beta2^t.
__kernel void adam(__global float *restrict p, __global const float *restrict gradient,
                   __global const int *restrict ranges, __global float *restrict m, __global float *restrict v,
                   const float bound, const float factor, const float l1, const float size, const float root, const float keep1,
                   const float take1, const float keep2, const float take2, const float eps, const float decay,
                   const float kept) {
  RANGE
  EACH(first, count) {
    const float before = p[i] * kept;
    const float g = CLIPPED(gradient[i], before) + decay * before;
    const float mean = keep1 * m[i] + take1 * g;
    const float square = keep2 * v[i] + take2 * g * g;
    m[i] = mean;
    v[i] = square;
    p[i] = before - size * mean / (sqrt(square) / root + eps);
  }
}

__kernel void rmsprop(__global float *restrict p, __global const float *restrict gradient,
                      __global const int *restrict ranges, __global float *restrict v, const float bound,
                      const float factor, const float l1, const float rate, const float keep, const float take, const float eps,
                      const float decay) {
  RANGE
  EACH(first, count) {
    const float g = CLIPPED(gradient[i], p[i]) + decay * p[i];
    const float square = keep * v[i] + take * g * g;
    v[i] = square;
    p[i] -= rate * (g / (sqrt(square) + eps));
  }
}

__kernel void rmsprop_momentum(__global float *restrict p, __global const float *restrict gradient,
                               __global const int *restrict ranges, __global float *restrict v,
                               __global float *restrict b, const float bound, const float factor, const float l1,
                               const float rate, const float keep, const float take, const float eps,
                               const float decay, const float momentum) {
  RANGE
  EACH(first, count) {
    const float g = CLIPPED(gradient[i], p[i]) + decay * p[i];
    const float square = keep * v[i] + take * g * g;
    const float next = momentum * b[i] + g / (sqrt(square) + eps);
    v[i] = square;
    b[i] = next;
    p[i] -= rate * next;
  }
}
