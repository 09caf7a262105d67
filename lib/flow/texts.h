/*
 * texts -- bytes of strings that are kept until all of them go, within a budget.
 *
 * Chunks of one size, a larger string gets a chunk of its own; BLOCK_PAD readable bytes lie behind every string.
 * Owner: the holder of the struct; texts_free() gives everything back.  Threads: one.
 */
#ifndef FLOW_TEXTS_H
#define FLOW_TEXTS_H
#include "block/block.h"
#include "block/budget.h"

struct texts_chunk;
struct texts {
    struct budget *budget;
    struct texts_chunk *newest;
    size_t chunk; /* bytes of one */
    size_t bytes; /* of all strings */
};
/* Room for n bytes in one chunk.  false: the budget said no (with must: it is at its limit). */
bool texts_reserve(struct texts *t, size_t n, bool must);
/* A copy; NULL when texts_reserve() says no. */
char *texts_copy(struct texts *t, const char *p, size_t n, bool must);
void texts_free(struct texts *t);
/* Bytes of room that n bytes take. */
static inline size_t
texts_room(size_t n)
{
    return (n + 7) & ~(size_t)7;
}
#endif
