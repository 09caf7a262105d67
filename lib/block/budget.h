/*
 * budget -- the right to hold record bytes.
 *
 * Whoever keeps records in memory asks first.  "No" is normal and means: spill what you have, or work in a
 * smaller way.  What can be neither spilled nor split (one record, the buffers of one cursor) uses
 * budget_force.  A hostile build refuses every second request, so every spill path runs in every test.
 *
 * {.limit = n} is a budget; used, if set, is a cell (maybe in memory that another process reads) that shows
 * the bytes held; it is only written.  Owner: the task.  Threads: one.
 */
#ifndef BLOCK_BUDGET_H
#define BLOCK_BUDGET_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct budget {
    uint64_t limit;
    _Atomic uint64_t *used;
    uint64_t held, peak; /* bytes now, and at most so far */
    unsigned asks;
};

/* False: nothing was taken; spill. */
bool budget_take(struct budget *b, size_t n);
/* False only if it would pass the limit, never by hostility. */
bool budget_force(struct budget *b, size_t n);
/* Gives n bytes back that were taken. */
void budget_give(struct budget *b, size_t n);
/* Bytes that are left. */
uint64_t budget_left(const struct budget *b);
#endif
