// What the work-items of a team do together, and how teams meet.

// Compiled without the prelude: 32-bit numbers, teams of one.
#ifndef REAL
#define REAL(x) x##f
typedef float real;
#endif

#ifndef LANES
#define LANES 1
#endif

#ifndef UNROLL
#define UNROLL
#endif

// The number of a work-item in its team, and meeting the others of the team.
#define LANE ((int)get_local_id(0))
#define TEAM_MEETS barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)

// What was written before is seen on the whole device by whoever sees what is written behind. OpenCL C 1.2 promises
// that for a work-group only; these drivers have a word of their own for it, and on processors memory is coherent.
#if defined(__NV_CL_C_VERSION)
#define FENCE asm volatile("membar.gl;" ::: "memory")
#elif defined(__AMDGCN__)
#define FENCE __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent")
#else
#define FENCE mem_fence(CLK_GLOBAL_MEM_FENCE)
#endif

// All teams of a group of examples meet, which must all be running. `meeting` holds how many have come, and how often
// all have: the last one to come resets the one and counts up the other, for which the others wait.
static inline void meet(volatile __global uint *const meeting, const int teams) {
  TEAM_MEETS;
  if (teams > 1 && LANE == 0) {
    FENCE;
    const uint turn = atomic_or(meeting + 1, 0u);
    if (atomic_inc(meeting) == (uint)teams - 1) {
      atomic_xchg(meeting, 0u);
      FENCE;
      atomic_inc(meeting + 1);
    } else {
      while (atomic_or(meeting + 1, 0u) == turn) {
      }
    }
    FENCE;
  }
  TEAM_MEETS;
}

// Results of all work-items of a team as one, in an order that depends on LANES alone; `shared` has room for
// 2 * LANES numbers.
#define TEAM_REDUCES(name, how)                                              \
  static inline real name(const real own, __local real *const shared) {      \
    shared[LANE] = own;                                                      \
    TEAM_MEETS;                                                              \
    for (int reach = LANES / 2; reach > 0; reach /= 2) {                        \
      if (LANE < reach) shared[LANE] = how(shared[LANE], shared[LANE + reach]); \
      TEAM_MEETS;                                                            \
    }                                                                        \
    const real all = shared[0];                                              \
    TEAM_MEETS;                                                              \
    return all;                                                              \
  }

static inline real sum_of_two(const real a, const real b) { return a + b; }
static inline real larger_of_two(const real a, const real b) { return a >= b || a != a ? a : b; }
TEAM_REDUCES(team_SUM, sum_of_two)
TEAM_REDUCES(team_MAX, larger_of_two)

// Where the largest of all numbers lies, the lowest place of equal ones; each work-item brings its own largest and
// that one's place.
static inline uint team_largest_at(const real own, const uint at, __local real *const shared) {
  __local uint *const places = (__local uint *)(shared + LANES);
  shared[LANE] = own;
  places[LANE] = at;
  TEAM_MEETS;
  for (int reach = LANES / 2; reach > 0; reach /= 2) {
    if (LANE < reach) {
      const real other = shared[LANE + reach];
      const uint place = places[LANE + reach];
      if (other > shared[LANE] || (other == shared[LANE] && place < places[LANE])) {
        shared[LANE] = other;
        places[LANE] = place;
      }
    }
    TEAM_MEETS;
  }
  const uint all = places[0];
  TEAM_MEETS;
  return all;
}
