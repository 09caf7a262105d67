/*
 * merge -- rows of many runs in one order.
 *
 * Each input is a cursor over blocks that are in rank order already.  The merge is stable: rows of equal keys
 * come in the order of the inputs, and within one input as they lie.  Ranks are computed a block at a time; a
 * tree of losers picks the next input.  A merge holds one block of each input and copies no strings.
 *
 * Too many inputs for the memory there is: flow/merge_set.h.
 *
 * Owner: the task.  Threads: one.  Errors: those of the cursors; ERR_CORRUPT when an input is not in order.
 */
#ifndef FLOW_MERGE_H
#define FLOW_MERGE_H
#include <stdint.h>

#include "block/block.h"
#include "block/budget.h"

/* One run, or a range of one.  bound: rows before lo and rows from hi on, in the order of the merge, are left out
 * (sorts); both may be absent. */
struct merge_bound {
    bool has_lo, has_hi;
    uint64_t lo, hi;             /* numbers: the bits of the key */
    struct block_str lo_s, hi_s; /* strings */
};
struct merge_input {
    struct block_cursor *cursor; /* borrowed */
    const struct merge_bound *bound; /* by_key only, borrowed; NULL: all rows */
};
struct merge_opts {
    struct block_schema schema;
    bool by_key;     /* rank is an order-preserving prefix of the key; else its hash */
    bool descending; /* by_key only */
    bool no_same;    /* by_key only: merge_rows.same is not looked at, and need not be true */
};
struct merge_rows {
    struct block_cols cols; /* n is 0 at the end; at most MERGE_ROWS, and often fewer */
    const uint64_t *rank;
    const uint8_t *same;    /* same[i]: row i has the key of the row before it, row 0 that of the last batch's last row */
};
enum {
#ifdef TASKD_HOSTILE
    MERGE_ROWS = 3,
#else
    MERGE_ROWS = 1024,
#endif
};

struct merge;
struct err *merge_open(const struct merge_input *in, uint32_t n, const struct merge_opts *opts, struct merge **ret) MUST_USE;
/* Views are valid until the next call. */
struct err *merge_next(struct merge *m, struct merge_rows *ret) MUST_USE;
void merge_close(struct merge *m); /* NULL is allowed; the cursors stay the caller's */
/* Bytes of memory in use, the cursors' included. */
size_t merge_held(const struct merge *m);
/* Bytes a merge takes at most for one input, its cursor included; and for itself. */
size_t merge_input_need(const struct block_cursor *c);
size_t merge_need(void);
/* How many runs of this many bytes a cursor may be merged at once within the budget: at least 2. */
uint32_t merge_fan_in(const struct budget *b, size_t cursor_bytes);
#endif
