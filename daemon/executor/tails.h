/*
 * tails -- the ends of other hosts' map outputs, with their footers: every task of a stage that reads needs that of
 * every map, so an executor asks for each once.
 *
 * Owner: the executor.  Threads: the loop's.  Memory: at most the limit; what was not used for longest goes first.
 */
#ifndef EXECUTOR_TAILS_H
#define EXECUTOR_TAILS_H
#include <stddef.h>
#include <stdint.h>

struct tails;
struct tails *tails_new(size_t limit);
void tails_free(struct tails *t); /* NULL is allowed */

struct tail_key {
    uint32_t stage, map, attempt, node;
};
struct tail {
    uint64_t size; /* of the whole file */
    const char *p; /* its last n bytes */
    size_t n;
};
/* Copies; replaces. */
void tails_put(struct tails *t, const struct tail_key *k, const struct tail *v);
/* NULL: not there.  Valid until the next call. */
const struct tail *tails_get(struct tails *t, const struct tail_key *k);
void tails_drop(struct tails *t, const struct tail_key *k);
size_t tails_held(const struct tails *t);
#endif
