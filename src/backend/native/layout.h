/* rnnc: rows, tables and memory of a batch. C99; no library but memset and memcpy, no allocation.
 *
 * The same layout as the compiler's own runtime: examples in step order, longest first; nodes of trees
 * level by level, the leaves first; tables of row numbers; temporaries that do not live at once share memory. What is specific to a program are the
 * constant tables below this part.
 */
#ifndef RNNC_LAYOUT_H
#define RNNC_LAYOUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RNNC_AXES 8 /* most axes of a space, the batch included */
#define RNNC_ALIGN 64

enum { RNNC_SEQUENCE, RNNC_TREE, RNNC_CHILDREN, RNNC_LEAVES };
enum {
    RNNC_HERE, RNNC_BACK, RNNC_FORWARD, RNNC_FIRST, RNNC_LAST, RNNC_NTH, RNNC_NTH_OF, RNNC_PARENT,
    RNNC_CHILD, RNNC_EDGE, RNNC_LEAF_OF_NODE, RNNC_NODE_OF_LEAF
};
enum { RNNC_ALL, RNNC_STEP, RNNC_SCRATCH };
enum {
    RNNC_PARAMETER, RNNC_INPUT, RNNC_POSITION, RNNC_LENGTH, RNNC_COUNT,
    RNNC_ROW_KEY, RNNC_SETTING, RNNC_TEMPORARY, RNNC_OUTPUT
};

typedef struct { int kind, tree; } rnnc_axis; /* of children and leaves: the axis of their tree */
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
    const rnnc_axis *axis;
    const rnnc_space *space;
    const rnnc_map *map;
    const rnnc_list *list;
    const rnnc_buffer *buffer;
} rnnc_plan;

/* The trees of a batch, one an example; its tables lie in the caller's memory, see rnnc_forest_set. */
typedef struct {
    size_t batch, levels;             /* examples, and levels of the highest tree */
    size_t *length, *leaves, *most;   /* of each example: nodes, leaves, most children of a node */
    size_t *start;                    /* of each example: its first node among those of all */
    size_t *level;                    /* of each level, the leaves' first, and behind the last: its first place in `order` */
    uint32_t *order, *example;        /* nodes of all, level by level; the example of each */
    int32_t *parent, *rank, *height;  /* of each node: numbers in its example; which child it is; levels below it */
    uint32_t *arity, *first;          /* of each node: its children, and the edges before those to them */
    int32_t *child, *leaf, *leaf_node; /* of each edge; of each node, -1 if it is none; of each leaf */
} rnnc_forest;

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
    const rnnc_forest **forest; /* of each axis of a tree */
    uint32_t **place;        /* of each space in the order of levels: the row of each position */
    size_t **begin;          /* of each such space: an example's first position */
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

/* Bytes of memory for the tables of trees with so many nodes, one an example; 0 if they do not fit. */
static inline size_t rnnc_forest_size(size_t batch, const size_t *nodes) {
    size_t total = 0, bytes;
    for (size_t e = 0; e < batch; e++) total = rnnc_add(total, nodes[e]);
    bytes = rnnc_add(rnnc_times(rnnc_add(total, rnnc_times(4, batch)), sizeof(size_t)), rnnc_times(total, 10 * 4));
    bytes = rnnc_add(bytes, 2 * sizeof(size_t) + RNNC_ALIGN);
    return total > INT32_MAX || bytes == SIZE_MAX ? 0 : bytes;
}

/* Trees from the parents of their nodes, [batch][most nodes]: a parent comes before its children, which are in the
 * order of their numbers; node 0 is the root, its parent is -1. What is behind a tree's last node is not read. The
 * memory is the forest's as long as anything is bound to it; `parents` and `nodes` are not needed again.
 * 0; -1 if the memory is too small; -2 if the numbers of an example are no tree. */
static inline int rnnc_forest_set(rnnc_forest *f, void *memory, size_t bytes, size_t batch, const size_t *nodes,
                                  const int32_t *parents) {
    size_t needed = rnnc_forest_size(batch, nodes), total = 0, longest = 0, g = 0;
    if (needed == 0 || needed > bytes) return -1;
    for (size_t e = 0; e < batch; e++) {
        total += nodes[e];
        if (nodes[e] > longest) longest = nodes[e];
    }
    size_t *size = (size_t *)(((uintptr_t)memory + RNNC_ALIGN - 1) / RNNC_ALIGN * RNNC_ALIGN);
    f->batch = batch;
    f->levels = 0;
    f->length = size;
    f->leaves = f->length + batch;
    f->most = f->leaves + batch;
    f->start = f->most + batch;
    f->level = f->start + batch;
    f->order = (uint32_t *)(f->level + total + 2);
    f->example = f->order + total;
    f->arity = f->example + total;
    f->first = f->arity + total;
    f->parent = (int32_t *)(f->first + total);
    f->rank = f->parent + total;
    f->height = f->rank + total;
    f->child = f->height + total;
    f->leaf = f->child + total;
    f->leaf_node = f->leaf + total;
    memset(f->level, 0, (total + 2) * sizeof(size_t));
    memset(f->arity, 0, total * 4);
    memset(f->height, 0, total * 4);
    for (size_t e = 0; e < batch; e++, g += nodes[e - 1]) {
        int32_t *parent = f->parent + g, *height = f->height + g;
        uint32_t *arity = f->arity + g, *first = f->first + g, edges = 0;
        f->length[e] = nodes[e];
        f->start[e] = g;
        f->leaves[e] = f->most[e] = 0;
        for (size_t n = 0; n < nodes[e]; n++) {
            parent[n] = parents[e * longest + n];
            if (n ? parent[n] < 0 || (size_t)parent[n] >= n : parent[n] != -1) return -2;
            f->example[g + n] = (uint32_t)e;
            f->rank[g + n] = n ? (int32_t)arity[parent[n]]++ : 0;
        }
        for (size_t n = nodes[e]; n-- > 1;)
            if (height[parent[n]] <= height[n]) height[parent[n]] = height[n] + 1;
        for (size_t n = 0; n < nodes[e]; n++) {
            first[n] = edges;
            edges += arity[n];
            if (arity[n] > f->most[e]) f->most[e] = arity[n];
            if (!arity[n]) f->leaf_node[g + f->leaves[e]] = (int32_t)n;
            f->leaf[g + n] = arity[n] ? -1 : (int32_t)f->leaves[e]++;
            if (n) f->child[g + first[parent[n]] + f->rank[g + n]] = (int32_t)n;
            if ((size_t)height[n] >= f->levels) f->levels = (size_t)height[n] + 1;
            f->level[height[n] + 1]++;
        }
    }
    for (size_t l = 0; l < f->levels; l++) f->level[l + 1] += f->level[l];
    for (size_t n = 0; n < total; n++) f->order[f->level[f->height[n]]++] = (uint32_t)n;
    /* Placing has moved each level's start to the next one. */
    for (size_t l = f->levels; l > 0; l--) f->level[l] = f->level[l - 1];
    f->level[0] = 0;
    return 0;
}

static inline int rnnc_kind(const rnnc_context *c, int axis) { return c->plan->axis[axis].kind; }
/* Which of the space's axes is of this kind and belongs to this tree; 0 if none is. */
static inline int rnnc_among(const rnnc_context *c, const rnnc_space *s, int kind, int tree) {
    for (int a = 1; a < s->count; a++)
        if (rnnc_kind(c, s->axis[a]) == kind && c->plan->axis[s->axis[a]].tree == tree) return a;
    return 0;
}
/* Which of the space's axes are the children of the tree that axis `a` is; 0 if there are none. */
static inline int rnnc_children(const rnnc_context *c, const rnnc_space *s, int a) {
    return rnnc_kind(c, s->axis[a]) == RNNC_TREE ? rnnc_among(c, s, RNNC_CHILDREN, s->axis[a]) : 0;
}
/* Whether axis `a` are children whose tree is in the space, too: they go with it. */
static inline int rnnc_follows(const rnnc_context *c, const rnnc_space *s, int a) {
    if (rnnc_kind(c, s->axis[a]) != RNNC_CHILDREN) return 0;
    for (int t = 1; t < s->count; t++)
        if (s->axis[t] == c->plan->axis[s->axis[a]].tree) return 1;
    return 0;
}
static inline int rnnc_major(const rnnc_space *s) {
    for (int a = 1; a < s->count; a++)
        if (s->axis[a] == s->major) return a;
    return 0;
}
static inline int rnnc_by_level(const rnnc_context *c, const rnnc_space *s) {
    return s->major > 0 && rnnc_kind(c, s->major) == RNNC_TREE;
}

/* Positions of an example are counted by one number an axis; a tree and its children have one together, the
 * number of the edge. `fixed` (0 for none) is an axis whose positions are not counted. */
static inline size_t rnnc_numbers(const rnnc_context *c, const rnnc_space *s, size_t example, int a, int fixed) {
    size_t length = c->length[s->axis[a]][example];
    if (a == fixed || rnnc_follows(c, s, a)) return 1;
    return rnnc_children(c, s, a) && length ? length - 1 : length;
}
/* How many positions an example has. */
static inline size_t rnnc_extent(const rnnc_context *c, const rnnc_space *s, size_t example, int fixed) {
    size_t product = 1;
    for (int a = 1; a < s->count; a++) product = rnnc_times(product, rnnc_numbers(c, s, example, a, fixed));
    return product;
}
/* The number of a position among all that an example has. */
static inline size_t rnnc_index(const rnnc_context *c, const rnnc_space *s, size_t example, const size_t *position,
                                int fixed) {
    size_t index = 0;
    for (int a = 1; a < s->count; a++) {
        int children = rnnc_children(c, s, a);
        size_t number = a == fixed || rnnc_follows(c, s, a) ? 0 : position[a];
        if (children && a != fixed) {
            const rnnc_forest *f = c->forest[s->axis[a]];
            number = f->first[f->start[example] + number] + position[children];
        }
        index = index * rnnc_numbers(c, s, example, a, fixed) + number;
    }
    return index;
}

/* The row of an example at positions given in the order of the space's axes. */
static inline size_t rnnc_row(const rnnc_context *c, int space, size_t example, const size_t *position) {
    const rnnc_space *s = &c->plan->space[space];
    if (s->count == 0) return 0;
    if (s->major < 0) return example;
    if (rnnc_by_level(c, s)) return c->place[space][c->begin[space][example] + rnnc_index(c, s, example, position, 0)];
    int major = rnnc_major(s);
    return c->offset[space][position[major]] + c->before[space][c->rank[s->major][example]] +
           rnnc_index(c, s, example, position, major);
}

/* All positions of an example, the last axis fastest: for (ok = rnnc_first(...); ok; ok = rnnc_next(...)) */
typedef struct { size_t position[RNNC_AXES], number[RNNC_AXES]; int fixed; } rnnc_walk;
static inline void rnnc_placed(const rnnc_context *c, const rnnc_space *s, size_t example, rnnc_walk *w) {
    for (int a = 1; a < s->count; a++) {
        int children = rnnc_children(c, s, a);
        if (a == w->fixed || rnnc_follows(c, s, a)) continue;
        w->position[a] = w->number[a];
        if (children) {
            const rnnc_forest *f = c->forest[s->axis[a]];
            int32_t child = f->child[f->start[example] + w->number[a]];
            w->position[a] = (size_t)f->parent[f->start[example] + (size_t)child];
            w->position[children] = (size_t)f->rank[f->start[example] + (size_t)child];
        }
    }
}
static inline int rnnc_first(const rnnc_context *c, const rnnc_space *s, size_t example, rnnc_walk *w) {
    memset(w->number, 0, sizeof w->number);
    for (int a = 1; a < s->count; a++)
        if (rnnc_numbers(c, s, example, a, w->fixed) == 0) return 0;
    rnnc_placed(c, s, example, w);
    return 1;
}
static inline int rnnc_next(const rnnc_context *c, const rnnc_space *s, size_t example, rnnc_walk *w) {
    for (int a = s->count - 1; a > 0; a--) {
        if (++w->number[a] < rnnc_numbers(c, s, example, a, w->fixed)) {
            rnnc_placed(c, s, example, w);
            return 1;
        }
        w->number[a] = 0;
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

/* Rows of each level of a space in the order of levels, and which row each position is, where there is a table. */
static inline void rnnc_levels(rnnc_context *c, int space) {
    const rnnc_space *s = &c->plan->space[space];
    const rnnc_forest *f = c->forest[s->major];
    int major = rnnc_major(s), children = rnnc_children(c, s, major);
    size_t row = 0, positions = 0;
    for (size_t e = 0; c->memory && e < c->batch; e++) {
        c->begin[space][e] = positions;
        positions += rnnc_extent(c, s, e, 0);
    }
    for (size_t l = 0; l < f->levels; l++) {
        size_t before = row;
        for (size_t i = f->level[l]; i < f->level[l + 1]; i++) {
            size_t g = f->order[i], e = f->example[g], each = children ? f->arity[g] : 1;
            if (!c->memory) {
                row = rnnc_add(row, rnnc_times(each, rnnc_extent(c, s, e, major)));
                continue;
            }
            for (size_t child = 0; child < each; child++) {
                rnnc_walk w = {{0}, {0}, major};
                w.position[major] = g - f->start[e];
                if (children) w.position[children] = child;
                for (int ok = rnnc_first(c, s, e, &w); ok; ok = rnnc_next(c, s, e, &w))
                    c->place[space][c->begin[space][e] + rnnc_index(c, s, e, w.position, 0)] = (uint32_t)row++;
            }
        }
        if (row - before > c->largest[space]) c->largest[space] = row - before;
        if (c->memory) c->offset[space][l + 1] = (uint32_t)row;
    }
    if (c->memory) c->offset[space][0] = 0;
    if (c->memory && !f->levels) c->offset[space][1] = 0;
    c->rows[space] = row;
}

/* Steps of a loop along an axis. */
static inline size_t rnnc_steps(const rnnc_context *c, int axis) {
    return rnnc_kind(c, axis) == RNNC_TREE ? c->forest[axis]->levels : c->longest[axis];
}

/* What the program is given along each axis: lengths of sequences, forests of trees. */
typedef struct { const size_t *length; const rnnc_forest *forest; } rnnc_along;

/* Sizes of everything; SIZE_MAX in c->used where a size does not fit. */
static inline void rnnc_measure(rnnc_context *c, size_t batch, const rnnc_along *along) {
    const rnnc_plan *p = c->plan;
    c->batch = batch;
    c->used = 0;
    int fits = batch <= INT32_MAX;
    for (int a = 0; a < p->axes; a++) {
        const rnnc_forest *f = c->forest[a] = along[p->axis[a].tree].forest;
        c->longest[a] = a ? 0 : batch;
        switch (rnnc_kind(c, a)) {
        case RNNC_TREE: c->length[a] = f->length; break;
        case RNNC_CHILDREN: c->length[a] = f->most; break;
        case RNNC_LEAVES: c->length[a] = f->leaves; break;
        default: c->length[a] = (size_t *)(uintptr_t)along[a].length; break;
        }
        for (size_t e = 0; a && e < batch; e++)
            if (c->length[a][e] > c->longest[a]) c->longest[a] = c->length[a][e];
        fits = fits && c->longest[a] < INT32_MAX && (!a || !f || f->batch == batch);
    }
    for (int s = 0; fits && s < p->spaces; s++) {
        const rnnc_space *space = &p->space[s];
        c->rows[s] = c->largest[s] = space->count ? 0 : 1;
        if (rnnc_by_level(c, space)) {
            rnnc_levels(c, s);
        } else {
            for (size_t e = 0; space->count && e < batch; e++) {
                size_t one = rnnc_extent(c, space, e, rnnc_major(space));
                c->rows[s] = rnnc_add(c->rows[s], rnnc_extent(c, space, e, 0));
                c->largest[s] = rnnc_add(c->largest[s], space->major > 0 && !c->length[space->major][e] ? 0 : one);
            }
        }
        fits = fits && c->rows[s] <= INT32_MAX;
    }
    if (fits) rnnc_place(c);
    else c->used = SIZE_MAX;
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
        int major = p->space[s].major, by_level = rnnc_by_level(c, &p->space[s]);
        size_t steps = major < 0 ? 0 : rnnc_add(rnnc_steps(c, major), 2);
        c->offset[s] = (uint32_t *)rnnc_take(c, steps, 4);
        c->before[s] = (size_t *)rnnc_take(c, by_level ? 0 : rnnc_add(c->batch, 1), sizeof(size_t));
        c->place[s] = (uint32_t *)rnnc_take(c, by_level ? c->rows[s] : 0, 4);
        c->begin[s] = (size_t *)rnnc_take(c, by_level ? c->batch : 0, sizeof(size_t));
    }
    uint64_t *slot = c->slot + 1 + p->buffers;
    for (int m = 0; m < p->maps; m++) *slot++ = (uint64_t)(uintptr_t)rnnc_take(c, c->rows[p->map[m].from], 4);
    for (int l = 0; l < p->lists; l++) {
        *slot++ = (uint64_t)(uintptr_t)rnnc_take(c, rnnc_add(c->rows[p->list[l].to], 1), 4);
        *slot++ = (uint64_t)(uintptr_t)rnnc_take(c, c->rows[p->list[l].from], 4);
    }
    for (int s = 0; s < p->spaces; s++) *slot++ = c->rows[s];
    for (int s = 0; s < p->spaces; s++) *slot++ = (uint64_t)(uintptr_t)c->offset[s];
    for (int a = 0; a < p->axes; a++) *slot++ = rnnc_steps(c, a);
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
        if (rnnc_by_level(c, space)) rnnc_levels(c, s);
        if (space->major < 0 || rnnc_by_level(c, space)) continue;
        size_t active = c->batch, row = 0;
        c->before[s][0] = 0;
        for (size_t i = 0; i < c->batch; i++) {
            size_t e = c->order[space->major][i];
            c->before[s][i + 1] = c->before[s][i] + rnnc_extent(c, space, e, rnnc_major(space));
        }
        c->offset[s][0] = 0;
        for (size_t step = 0; step < c->longest[space->major]; step++) {
            while (active && c->length[space->major][c->order[space->major][active - 1]] <= step) active--;
            row += c->before[s][active];
            c->offset[s][step + 1] = (uint32_t)row;
        }
    }
}

/* The position on axis `a` of `to` that a row of `from` reads; SIZE_MAX if there is none. */
static inline size_t rnnc_read(const rnnc_context *c, const rnnc_map *m, int a, size_t example, const size_t *here) {
    const rnnc_space *from = &c->plan->space[m->from], *to = &c->plan->space[m->to];
    int axis = to->axis[a], kind = rnnc_kind(c, axis), tree = kind == RNNC_TREE ? axis : c->plan->axis[axis].tree;
    size_t length = c->length[axis][example], at = 0, node = 0, by = m->by[a];
    for (int f = 1; f < from->count; f++) {
        if (from->axis[f] == axis) at = here[f];
        if (kind != RNNC_SEQUENCE && from->axis[f] == tree) node = here[f];
    }
    const rnnc_forest *f = kind == RNNC_SEQUENCE ? NULL : c->forest[tree];
    size_t g = f ? f->start[example] + node : 0, edge = 0;
    switch (m->how[a]) {
    case RNNC_BACK: return at >= by ? at - by : SIZE_MAX;
    case RNNC_FORWARD: return at + by;
    case RNNC_FIRST: return 0;
    case RNNC_LAST: return length ? length - 1 : SIZE_MAX;
    case RNNC_NTH: case RNNC_CHILD:
        edge = m->how[a] == RNNC_NTH ? by : here[rnnc_among(c, from, RNNC_CHILDREN, tree)];
        return edge < f->arity[g] ? (size_t)f->child[f->start[example] + f->first[g] + edge] : SIZE_MAX;
    case RNNC_NTH_OF:
        return node && (size_t)f->rank[g] == by ? (size_t)f->parent[g] : SIZE_MAX;
    case RNNC_PARENT: return node ? (size_t)f->parent[g] : SIZE_MAX;
    case RNNC_EDGE:
        if (!node) return SIZE_MAX;
        return (size_t)(axis == tree ? f->parent[g] : f->rank[g]);
    case RNNC_LEAF_OF_NODE: return f->leaf[g] < 0 ? SIZE_MAX : (size_t)f->leaf[g];
    case RNNC_NODE_OF_LEAF:
        at = here[rnnc_among(c, from, RNNC_LEAVES, tree)];
        return (size_t)f->leaf_node[f->start[example] + at];
    default: return at;
    }
}

static inline void rnnc_fill_map(rnnc_context *c, const rnnc_map *m, int32_t *table) {
    const rnnc_space *from = &c->plan->space[m->from], *to = &c->plan->space[m->to];
    size_t there[RNNC_AXES] = {0};
    for (size_t e = 0; e < rnnc_examples(c, from); e++) {
        rnnc_walk w = {{0}, {0}, 0};
        for (int ok = rnnc_first(c, from, e, &w); ok; ok = rnnc_next(c, from, e, &w)) {
            int exists = 1;
            for (int a = 1; a < to->count; a++) {
                there[a] = rnnc_read(c, m, a, e, w.position);
                exists = exists && there[a] < c->length[to->axis[a]][e];
            }
            table[rnnc_row(c, m->from, e, w.position)] = exists ? (int32_t)rnnc_row(c, m->to, e, there) : -1;
        }
    }
}

/* Calls nothing: a loop over `from` in ascending order of coordinates, counting or placing. */
static inline void rnnc_fill_list(rnnc_context *c, const rnnc_list *l, uint32_t *starts, uint32_t *rows) {
    const rnnc_space *from = &c->plan->space[l->from], *to = &c->plan->space[l->to];
    size_t there[RNNC_AXES] = {0};
    size_t count = c->rows[l->to];
    memset(starts, 0, (count + 1) * sizeof *starts);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t e = 0; e < rnnc_examples(c, from); e++) {
            rnnc_walk w = {{0}, {0}, 0};
            for (int ok = rnnc_first(c, from, e, &w); ok; ok = rnnc_next(c, from, e, &w)) {
                for (int a = 1; a < to->count; a++)
                    for (int f = 1; f < from->count; f++)
                        if (from->axis[f] == to->axis[a]) there[a] = w.position[f];
                size_t target = rnnc_row(c, l->to, e, there);
                if (pass) rows[starts[target]++] = (uint32_t)rnnc_row(c, l->from, e, w.position);
                else starts[target + 1]++;
            }
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

/* What follows from lengths and trees alone. */
static inline void rnnc_fill_contents(rnnc_context *c, int buffer) {
    const rnnc_buffer *b = &c->plan->buffer[buffer];
    const rnnc_space *s = &c->plan->space[b->space];
    if (b->role == RNNC_COUNT) {
        rnnc_space counted = {1, {0}, -1};
        double count = b->axes ? 0 : 1;
        for (int a = 1; a < c->plan->axes; a++)
            if (b->axes >> a & 1 && counted.count < RNNC_AXES) counted.axis[counted.count++] = a;
        for (size_t e = 0; b->axes && e < c->batch; e++) count += (double)rnnc_extent(c, &counted, e, 0);
        rnnc_put(c, buffer, 0, count);
        return;
    }
    if (b->role != RNNC_POSITION && b->role != RNNC_LENGTH && b->role != RNNC_ROW_KEY) return;
    for (size_t e = 0; e < rnnc_examples(c, s); e++) {
        rnnc_walk w = {{0}, {0}, 0};
        for (int ok = rnnc_first(c, s, e, &w); ok; ok = rnnc_next(c, s, e, &w)) {
            size_t row = rnnc_row(c, b->space, e, w.position);
            for (int a = 1; b->role == RNNC_POSITION && a < s->count; a++)
                if (b->axes >> s->axis[a] & 1) rnnc_put(c, buffer, row, (double)w.position[a]);
            for (int a = 1; b->role == RNNC_LENGTH && a < c->plan->axes; a++) {
                size_t length = c->length[a][e];
                if (!(b->axes >> a & 1)) continue;
                for (int t = 1; rnnc_kind(c, a) == RNNC_CHILDREN && t < s->count; t++)
                    if (s->axis[t] == c->plan->axis[a].tree) {
                        const rnnc_forest *f = c->forest[s->axis[t]];
                        length = f->arity[f->start[e] + w.position[t]];
                    }
                rnnc_put(c, buffer, row, (double)length);
            }
            if (b->role == RNNC_ROW_KEY) {
                rnnc_put(c, buffer, 2 * row, (double)e);
                rnnc_put(c, buffer, 2 * row + 1, (double)(uint32_t)rnnc_index(c, s, e, w.position, 0));
            }
        }
    }
}

/* Bytes of workspace for a batch; 0 if it does not fit in memory. */
static inline size_t rnnc_workspace_size(rnnc_context *c, size_t batch, const rnnc_along *along) {
    c->memory = NULL;
    rnnc_measure(c, batch, along);
    if (c->used == SIZE_MAX) return 0;
    rnnc_reserve(c);
    return c->used > SIZE_MAX - RNNC_ALIGN ? 0 : c->used + RNNC_ALIGN;
}

/* Lays a batch out in the caller's workspace; 0, or -1 if that is too small. Inputs are zero (ids: none). */
static inline int rnnc_bind(rnnc_context *c, void *memory, size_t bytes, size_t batch, const rnnc_along *along) {
    const rnnc_plan *p = c->plan;
    size_t needed = rnnc_workspace_size(c, batch, along);
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
    size_t bytes = rnnc_row_bytes(c, b);
    for (size_t e = 0; e < rnnc_examples(c, s); e++) {
        rnnc_walk w = {{0}, {0}, 0};
        for (int ok = rnnc_first(c, s, e, &w); ok; ok = rnnc_next(c, s, e, &w)) {
            size_t index = e;
            for (int a = 1; a < s->count; a++) index = index * c->longest[s->axis[a]] + w.position[a];
            char *row = rnnc_rows_of(c, buffer) + rnnc_row(c, b->space, e, w.position) * bytes;
            if (inwards) memcpy(row, padded + index * bytes, bytes);
            else memcpy(padded + index * bytes, row, bytes);
        }
    }
}

#endif
