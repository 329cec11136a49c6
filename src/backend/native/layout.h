/* rnnc: rows, tables and memory of a batch. C99; no library but memset and memcpy, no allocation.
 *
 * The same layout as the compiler's own runtime: examples in step order, longest first; tables of row
 * numbers; temporaries that do not live at once share memory. What is specific to a program are the
 * constant tables below this part.
 */
#ifndef RNNC_LAYOUT_H
#define RNNC_LAYOUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RNNC_AXES 4 /* most axes of a space, the batch included */
#define RNNC_ALIGN 64

enum { RNNC_HERE, RNNC_BACK, RNNC_FORWARD, RNNC_FIRST, RNNC_LAST };
enum { RNNC_ALL, RNNC_STEP, RNNC_SCRATCH };
enum {
    RNNC_PARAMETER, RNNC_INPUT, RNNC_POSITION, RNNC_LENGTH, RNNC_COUNT,
    RNNC_ROW_KEY, RNNC_SETTING, RNNC_TEMPORARY, RNNC_OUTPUT
};

typedef struct { int count, axis[RNNC_AXES], major; } rnnc_space;
typedef struct { int from, to, how[RNNC_AXES]; size_t by[RNNC_AXES]; } rnnc_map;
typedef struct { int from, to; } rnnc_list;
typedef struct {
    const char *name;
    int id; /* 1: uint32_t, 0: real */
    size_t width;
    int space, residency, role;
    unsigned axes;      /* bit set: of RNNC_COUNT, or the one axis of RNNC_POSITION, RNNC_LENGTH */
    size_t first, last; /* regions in which it is live */
    size_t parameter;   /* elements before it in the parameter block */
} rnnc_buffer;
typedef struct {
    const char *name;
    size_t real; /* bytes of a real */
    size_t zeros;
    int axes, spaces, maps, lists, buffers;
    const rnnc_space *space;
    const rnnc_map *map;
    const rnnc_list *list;
    const rnnc_buffer *buffer;
} rnnc_plan;

/* A batch. Arrays belong to the program's own context structure; tables lie in the workspace. */
typedef struct {
    const rnnc_plan *plan;
    size_t batch;
    uint64_t *slot;
    size_t *start, *size;    /* each buffer's place in the arena */
    size_t *rows, *largest;  /* of each space: all rows, rows of the largest step */
    uint32_t **offset;       /* of each space: first row of each step */
    size_t **before;         /* of each space: rows of one step before the n-th example */
    size_t *longest;         /* of each axis */
    size_t **length;         /* of each axis, one an example */
    uint32_t **order, **rank; /* of each axis */
    char *arena;
    size_t arena_bytes;
    char *memory;
    size_t used;
} rnnc_context;

static inline size_t rnnc_add(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }
static inline size_t rnnc_times(size_t a, size_t b) { return b && a > SIZE_MAX / b ? SIZE_MAX : a * b; }
static inline size_t rnnc_align(size_t bytes) {
    return bytes > SIZE_MAX - RNNC_ALIGN ? SIZE_MAX : (bytes + RNNC_ALIGN - 1) / RNNC_ALIGN * RNNC_ALIGN;
}

/* The next piece of the workspace; without memory only its size is counted. */
static inline void *rnnc_take(rnnc_context *c, size_t count, size_t bytes) {
    void *piece = c->memory ? c->memory + c->used : NULL;
    c->used = rnnc_add(c->used, rnnc_align(rnnc_times(count, bytes)));
    return piece;
}

/* Rows of an example in a space, or in one step of its major axis. */
static inline size_t rnnc_extent(const rnnc_context *c, const rnnc_space *s, size_t example, int one_step) {
    size_t product = 1;
    for (int a = 1; a < s->count; a++) {
        size_t length = c->length[s->axis[a]][example];
        if (one_step && s->axis[a] == s->major) length = length > 0;
        product = rnnc_times(product, length);
    }
    return product;
}

/* The row of an example at positions given in the order of the space's axes. */
static inline size_t rnnc_row(const rnnc_context *c, int space, size_t example, const size_t *position) {
    const rnnc_space *s = &c->plan->space[space];
    size_t first = 0, inner = 0;
    if (s->count == 0) return 0;
    if (s->major < 0) return example;
    for (int a = 1; a < s->count; a++) {
        if (s->axis[a] == s->major) first = c->offset[space][position[a]];
        else inner = inner * c->length[s->axis[a]][example] + position[a];
    }
    return first + c->before[space][c->rank[s->major][example]] + inner;
}

/* All positions of an example, the last axis fastest: for (ok = rnnc_first(...); ok; ok = rnnc_next(...)) */
static inline int rnnc_first(const rnnc_context *c, const rnnc_space *s, size_t example, size_t *position) {
    for (int a = 0; a < RNNC_AXES; a++) position[a] = 0;
    for (int a = 1; a < s->count; a++)
        if (c->length[s->axis[a]][example] == 0) return 0;
    return 1;
}
static inline int rnnc_next(const rnnc_context *c, const rnnc_space *s, size_t example, size_t *position) {
    for (int a = s->count - 1; a > 0; a--) {
        if (++position[a] < c->length[s->axis[a]][example]) return 1;
        position[a] = 0;
    }
    return 0;
}
static inline size_t rnnc_examples(const rnnc_context *c, const rnnc_space *s) {
    return s->count ? c->batch : 1;
}

/* Longest first, equal lengths by number: a heap sort, which needs no memory. */
static inline int rnnc_later(const size_t *length, uint32_t a, uint32_t b) {
    return length[a] != length[b] ? length[a] < length[b] : a > b;
}
static inline void rnnc_sort(const size_t *length, uint32_t *order, size_t count) {
    for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    for (size_t start = count / 2, end = count; end > 1;) {
        uint32_t moved;
        size_t hole;
        if (start > 0) {
            moved = order[hole = --start];
        } else {
            moved = order[--end];
            order[end] = order[hole = 0];
        }
        for (size_t child; (child = 2 * hole + 1) < end; hole = child) {
            if (child + 1 < end && rnnc_later(length, order[child + 1], order[child])) child++;
            if (!rnnc_later(length, order[child], moved)) break;
            order[hole] = order[child];
        }
        order[hole] = moved;
    }
}

static inline size_t rnnc_element(const rnnc_context *c, const rnnc_buffer *b) { return b->id ? 4 : c->plan->real; }
static inline size_t rnnc_row_bytes(const rnnc_context *c, const rnnc_buffer *b) {
    return rnnc_times(b->width, rnnc_element(c, b));
}
static inline size_t rnnc_front(const rnnc_context *c, const rnnc_buffer *b) {
    return b->residency == RNNC_SCRATCH ? 0 : rnnc_align(rnnc_row_bytes(c, b));
}
static inline int rnnc_own(const rnnc_buffer *b) { return b->role == RNNC_TEMPORARY || b->role == RNNC_OUTPUT; }
static inline int rnnc_meet(const rnnc_buffer *a, const rnnc_buffer *b) {
    size_t a_first = rnnc_own(a) ? a->first : 0, a_last = a->role == RNNC_TEMPORARY ? a->last : SIZE_MAX;
    size_t b_first = rnnc_own(b) ? b->first : 0, b_last = b->role == RNNC_TEMPORARY ? b->last : SIZE_MAX;
    return a_first <= b_last && b_first <= a_last;
}

/* A place for every buffer: the largest first, each at the smallest gap among those alive with it. */
static inline void rnnc_place(rnnc_context *c) {
    const rnnc_plan *p = c->plan;
    c->arena_bytes = rnnc_align(rnnc_times(p->zeros, p->real));
    size_t floor = c->arena_bytes;
    for (int i = 0; i < p->buffers; i++) {
        const rnnc_buffer *b = &p->buffer[i];
        size_t rows = b->residency == RNNC_ALL ? c->rows[b->space] : b->residency == RNNC_STEP ? c->largest[b->space] : 1;
        c->size[i] = rnnc_align(rnnc_add(rnnc_times(rows, rnnc_row_bytes(c, b)), rnnc_front(c, b)));
        c->start[i] = SIZE_MAX;
    }
    for (;;) {
        int next = -1;
        for (int i = 0; i < p->buffers; i++)
            if (p->buffer[i].role != RNNC_PARAMETER && c->start[i] == SIZE_MAX && (next < 0 || c->size[i] > c->size[next]))
                next = i;
        if (next < 0) return;
        size_t free = floor, best = SIZE_MAX, gap = SIZE_MAX;
        for (;;) { /* the gap from `free` up to the next buffer that is alive with this one */
            size_t above = SIZE_MAX, end = free;
            for (int i = 0; i < p->buffers; i++) {
                if (c->start[i] == SIZE_MAX || !rnnc_meet(&p->buffer[i], &p->buffer[next])) continue;
                size_t i_end = c->start[i] + c->size[i];
                if (c->start[i] <= free && i_end > end) end = i_end;
                if (c->start[i] > free && c->start[i] < above) above = c->start[i];
            }
            if (end > free) { free = end; continue; }
            if (above == SIZE_MAX) break;
            if (above - free >= c->size[next] && above - free < gap) { gap = above - free; best = free; }
            free = above;
        }
        if (best == SIZE_MAX) best = free;
        c->start[next] = best;
        size_t end = rnnc_add(best, c->size[next]);
        if (end > c->arena_bytes) c->arena_bytes = end;
        if (end == SIZE_MAX) { c->start[next] = 0; c->size[next] = 0; }
    }
}

/* Sizes of everything; SIZE_MAX in c->used where a size does not fit. */
static inline void rnnc_measure(rnnc_context *c, size_t batch, const size_t *const *lengths) {
    const rnnc_plan *p = c->plan;
    c->batch = batch;
    c->used = 0;
    int fits = batch <= INT32_MAX;
    for (int a = 0; a < p->axes; a++) {
        c->longest[a] = a ? 0 : batch;
        c->length[a] = (size_t *)lengths[a];
        for (size_t e = 0; a && e < batch; e++)
            if (lengths[a][e] > c->longest[a]) c->longest[a] = lengths[a][e];
        fits = fits && c->longest[a] < INT32_MAX;
    }
    for (int s = 0; s < p->spaces; s++) {
        c->rows[s] = c->largest[s] = p->space[s].count ? 0 : 1;
        for (size_t e = 0; p->space[s].count && e < batch; e++) {
            c->rows[s] = rnnc_add(c->rows[s], rnnc_extent(c, &p->space[s], e, 0));
            c->largest[s] = rnnc_add(c->largest[s], rnnc_extent(c, &p->space[s], e, 1));
        }
        fits = fits && c->rows[s] <= INT32_MAX;
    }
    rnnc_place(c);
    if (!fits) c->used = SIZE_MAX;
}

/* Room for the tables and the arena. */
static inline void rnnc_reserve(rnnc_context *c) {
    const rnnc_plan *p = c->plan;
    for (int a = 0; a < p->axes; a++) {
        size_t *lengths = (size_t *)rnnc_take(c, c->batch, sizeof(size_t));
        if (c->memory) {
            if (a) memcpy(lengths, c->length[a], c->batch * sizeof(size_t));
            c->length[a] = lengths;
        }
        c->order[a] = (uint32_t *)rnnc_take(c, c->batch, 4);
        c->rank[a] = (uint32_t *)rnnc_take(c, c->batch, 4);
    }
    for (int s = 0; s < p->spaces; s++) {
        int major = p->space[s].major;
        c->offset[s] = (uint32_t *)rnnc_take(c, major < 0 ? 0 : rnnc_add(c->longest[major], 1), 4);
        c->before[s] = (size_t *)rnnc_take(c, rnnc_add(c->batch, 1), sizeof(size_t));
    }
    uint64_t *slot = c->slot + 1 + p->buffers;
    for (int m = 0; m < p->maps; m++) *slot++ = (uint64_t)(uintptr_t)rnnc_take(c, c->rows[p->map[m].from], 4);
    for (int l = 0; l < p->lists; l++) {
        *slot++ = (uint64_t)(uintptr_t)rnnc_take(c, rnnc_add(c->rows[p->list[l].to], 1), 4);
        *slot++ = (uint64_t)(uintptr_t)rnnc_take(c, c->rows[p->list[l].from], 4);
    }
    for (int s = 0; s < p->spaces; s++) *slot++ = c->rows[s];
    for (int s = 0; s < p->spaces; s++) *slot++ = (uint64_t)(uintptr_t)c->offset[s];
    for (int a = 0; a < p->axes; a++) *slot++ = c->longest[a];
    c->arena = (char *)rnnc_take(c, c->arena_bytes, 1);
    c->slot[0] = (uint64_t)(uintptr_t)c->arena;
}

static inline void rnnc_fill_orders(rnnc_context *c) {
    const rnnc_plan *p = c->plan;
    for (int a = 1; a < p->axes; a++) {
        rnnc_sort(c->length[a], c->order[a], c->batch);
        for (size_t i = 0; i < c->batch; i++) c->rank[a][c->order[a][i]] = (uint32_t)i;
    }
    for (int s = 0; s < p->spaces; s++) {
        const rnnc_space *space = &p->space[s];
        if (space->major < 0) continue;
        size_t active = c->batch, row = 0;
        c->before[s][0] = 0;
        for (size_t i = 0; i < c->batch; i++) {
            size_t e = c->order[space->major][i], each = 1;
            for (int a = 1; a < space->count; a++)
                if (space->axis[a] != space->major) each *= c->length[space->axis[a]][e];
            c->before[s][i + 1] = c->before[s][i] + each;
        }
        c->offset[s][0] = 0;
        for (size_t step = 0; step < c->longest[space->major]; step++) {
            while (active && c->length[space->major][c->order[space->major][active - 1]] <= step) active--;
            row += c->before[s][active];
            c->offset[s][step + 1] = (uint32_t)row;
        }
    }
}

static inline void rnnc_fill_map(rnnc_context *c, const rnnc_map *m, int32_t *table) {
    const rnnc_space *from = &c->plan->space[m->from], *to = &c->plan->space[m->to];
    size_t here[RNNC_AXES], there[RNNC_AXES];
    for (size_t e = 0; e < rnnc_examples(c, from); e++)
        for (int ok = rnnc_first(c, from, e, here); ok; ok = rnnc_next(c, from, e, here)) {
            int exists = 1;
            there[0] = 0;
            for (int a = 1; a < to->count; a++) {
                size_t length = c->length[to->axis[a]][e], at = 0;
                for (int f = 1; f < from->count; f++)
                    if (from->axis[f] == to->axis[a]) at = here[f];
                switch (m->how[a]) {
                case RNNC_BACK: exists = exists && at >= m->by[a]; at -= m->by[a]; break;
                case RNNC_FORWARD: at += m->by[a]; break;
                case RNNC_FIRST: at = 0; break;
                case RNNC_LAST: at = length - 1; break;
                default: break;
                }
                exists = exists && length > 0 && at < length;
                there[a] = at;
            }
            table[rnnc_row(c, m->from, e, here)] = exists ? (int32_t)rnnc_row(c, m->to, e, there) : -1;
        }
}

/* Calls nothing: a loop over `from` in ascending order of coordinates, counting or placing. */
static inline void rnnc_fill_list(rnnc_context *c, const rnnc_list *l, uint32_t *starts, uint32_t *rows) {
    const rnnc_space *from = &c->plan->space[l->from], *to = &c->plan->space[l->to];
    size_t here[RNNC_AXES], there[RNNC_AXES] = {0};
    size_t count = c->rows[l->to];
    memset(starts, 0, (count + 1) * sizeof *starts);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t e = 0; e < rnnc_examples(c, from); e++)
            for (int ok = rnnc_first(c, from, e, here); ok; ok = rnnc_next(c, from, e, here)) {
                for (int a = 1; a < to->count; a++)
                    for (int f = 1; f < from->count; f++)
                        if (from->axis[f] == to->axis[a]) there[a] = here[f];
                size_t target = rnnc_row(c, l->to, e, there);
                if (pass) rows[starts[target]++] = (uint32_t)rnnc_row(c, l->from, e, here);
                else starts[target + 1]++;
            }
        if (!pass) for (size_t i = 0; i < count; i++) starts[i + 1] += starts[i];
    }
    /* Placing has moved each start to the next one. */
    for (size_t i = count; i > 0; i--) starts[i] = starts[i - 1];
    starts[0] = 0;
}

static inline char *rnnc_rows_of(const rnnc_context *c, int buffer) {
    return c->arena + c->start[buffer] + rnnc_front(c, &c->plan->buffer[buffer]);
}

static inline void rnnc_put(const rnnc_context *c, int buffer, size_t element, double value) {
    char *to = rnnc_rows_of(c, buffer) + element * rnnc_element(c, &c->plan->buffer[buffer]);
    uint32_t id = (uint32_t)value;
    float single = (float)value;
    if (c->plan->buffer[buffer].id) memcpy(to, &id, 4);
    else if (c->plan->real == 4) memcpy(to, &single, 4);
    else memcpy(to, &value, 8);
}

/* What follows from the lengths alone. */
static inline void rnnc_fill_contents(rnnc_context *c, int buffer) {
    const rnnc_buffer *b = &c->plan->buffer[buffer];
    const rnnc_space *s = &c->plan->space[b->space];
    size_t position[RNNC_AXES];
    if (b->role == RNNC_COUNT) {
        double count = b->axes ? 0 : 1;
        for (size_t e = 0; b->axes && e < c->batch; e++) {
            double product = 1;
            for (int a = 1; a < c->plan->axes; a++)
                if (b->axes >> a & 1) product *= (double)c->length[a][e];
            count += product;
        }
        rnnc_put(c, buffer, 0, count);
        return;
    }
    if (b->role != RNNC_POSITION && b->role != RNNC_LENGTH && b->role != RNNC_ROW_KEY) return;
    for (size_t e = 0; e < rnnc_examples(c, s); e++)
        for (int ok = rnnc_first(c, s, e, position); ok; ok = rnnc_next(c, s, e, position)) {
            size_t row = rnnc_row(c, b->space, e, position), key = 0;
            for (int a = 1; a < s->count; a++) {
                if (b->role == RNNC_POSITION && b->axes >> s->axis[a] & 1) rnnc_put(c, buffer, row, (double)position[a]);
                key = s->count > 2 ? key << 32 / (s->count - 1) | position[a] : position[a];
            }
            for (int a = 1; b->role == RNNC_LENGTH && a < c->plan->axes; a++)
                if (b->axes >> a & 1) rnnc_put(c, buffer, row, (double)c->length[a][e]);
            if (b->role == RNNC_ROW_KEY) {
                rnnc_put(c, buffer, 2 * row, (double)e);
                rnnc_put(c, buffer, 2 * row + 1, (double)(uint32_t)key);
            }
        }
}

/* Bytes of workspace for a batch; 0 if it does not fit in memory. */
static inline size_t rnnc_workspace_size(rnnc_context *c, size_t batch, const size_t *const *lengths) {
    c->memory = NULL;
    rnnc_measure(c, batch, lengths);
    rnnc_reserve(c);
    return c->used > SIZE_MAX - RNNC_ALIGN ? 0 : c->used + RNNC_ALIGN;
}

/* Lays a batch out in the caller's workspace; 0, or -1 if that is too small. Inputs are zero (ids: none). */
static inline int rnnc_bind(rnnc_context *c, void *memory, size_t bytes, size_t batch, const size_t *const *lengths) {
    const rnnc_plan *p = c->plan;
    size_t needed = rnnc_workspace_size(c, batch, lengths);
    if (needed == 0 || needed > bytes) return -1;
    c->memory = (char *)(((uintptr_t)memory + RNNC_ALIGN - 1) / RNNC_ALIGN * RNNC_ALIGN);
    c->used = 0;
    rnnc_reserve(c);
    memset(c->arena, 0, rnnc_align(p->zeros * p->real));
    rnnc_fill_orders(c);
    uint64_t *slot = c->slot + 1 + p->buffers;
    for (int m = 0; m < p->maps; m++) rnnc_fill_map(c, &p->map[m], (int32_t *)(uintptr_t)*slot++);
    for (int l = 0; l < p->lists; l++, slot += 2)
        rnnc_fill_list(c, &p->list[l], (uint32_t *)(uintptr_t)slot[0], (uint32_t *)(uintptr_t)slot[1]);
    for (int b = 0; b < p->buffers; b++) {
        if (p->buffer[b].role == RNNC_PARAMETER) continue;
        c->slot[1 + b] = (uint64_t)(uintptr_t)rnnc_rows_of(c, b);
        if (rnnc_own(&p->buffer[b])) continue;
        memset(c->arena + c->start[b], p->buffer[b].id ? 0xff : 0, c->size[b]);
        rnnc_fill_contents(c, b);
    }
    return 0;
}

/* Parameters from one block, at the offsets of the program's table. */
static inline void rnnc_set_parameters(rnnc_context *c, const void *block) {
    for (int b = 0; b < c->plan->buffers; b++)
        if (c->plan->buffer[b].role == RNNC_PARAMETER)
            c->slot[1 + b] = (uint64_t)(uintptr_t)((const char *)block + c->plan->buffer[b].parameter * c->plan->real);
}

/* Between packed rows and an array [batch][longest ...][width]; what is behind an example's end stays. */
static inline void rnnc_copy(const rnnc_context *c, int buffer, char *padded, int inwards) {
    const rnnc_buffer *b = &c->plan->buffer[buffer];
    const rnnc_space *s = &c->plan->space[b->space];
    size_t bytes = rnnc_row_bytes(c, b), position[RNNC_AXES];
    for (size_t e = 0; e < rnnc_examples(c, s); e++)
        for (int ok = rnnc_first(c, s, e, position); ok; ok = rnnc_next(c, s, e, position)) {
            size_t index = e;
            for (int a = 1; a < s->count; a++) index = index * c->longest[s->axis[a]] + position[a];
            char *row = rnnc_rows_of(c, buffer) + rnnc_row(c, b->space, e, position) * bytes;
            if (inwards) memcpy(row, padded + index * bytes, bytes);
            else memcpy(padded + index * bytes, row, bytes);
        }
}

#endif
