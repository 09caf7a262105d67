/* tails -- see tails.h: a table with chains, and one list of all in the order of their use. */
#include "executor/tails.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"

enum { BUCKETS = 4096 };

struct entry {
    struct tail_key key;
    struct tail tail;
    struct entry *chain;
    struct entry *newer, *older;
    char bytes[];
};
struct tails {
    size_t limit, held;
    struct entry *newest, *oldest;
    struct entry *bucket[BUCKETS];
};

struct tails *
tails_new(size_t limit)
{
    struct tails *t = calloc(1, sizeof *t);

    if (!t)
        abort();
    t->limit = limit;
    return t;
}

static struct entry **
find(struct tails *t, const struct tail_key *k)
{
    uint64_t h = hash_u64((uint64_t)k->stage << 32 | k->map);
    struct entry **e = &t->bucket[h % BUCKETS];

    while (*e && memcmp(&(*e)->key, k, sizeof *k) != 0)
        e = &(*e)->chain;
    return e;
}

static void
unlist(struct tails *t, struct entry *e)
{
    *(e->newer ? &e->newer->older : &t->newest) = e->older;
    *(e->older ? &e->older->newer : &t->oldest) = e->newer;
}

static void
list(struct tails *t, struct entry *e)
{
    e->newer = NULL;
    e->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = e;
    t->newest = e;
}

void
tails_drop(struct tails *t, const struct tail_key *k)
{
    struct entry **link = find(t, k), *e = *link;

    if (!e)
        return;
    *link = e->chain;
    unlist(t, e);
    t->held -= sizeof *e + e->tail.n;
    free(e);
}

void
tails_put(struct tails *t, const struct tail_key *k, const struct tail *v)
{
    tails_drop(t, k);
    if (v->n > t->limit / 4) /* it would push out too many */
        return;
    struct entry *e = malloc(sizeof *e + v->n), **link = find(t, k);
    if (!e)
        abort();
    *e = (struct entry){ .key = *k, .tail = { v->size, e->bytes, v->n } };
    memcpy(e->bytes, v->p, v->n);
    *link = e;
    list(t, e);
    t->held += sizeof *e + v->n;
    while (t->held > t->limit) {
        struct tail_key old = t->oldest->key;

        tails_drop(t, &old);
    }
}

const struct tail *
tails_get(struct tails *t, const struct tail_key *k)
{
    struct entry *e = *find(t, k);

    if (!e)
        return NULL;
    unlist(t, e);
    list(t, e);
    return &e->tail;
}

size_t
tails_held(const struct tails *t)
{
    return t->held;
}

void
tails_free(struct tails *t)
{
    for (struct entry *e = t ? t->newest : NULL, *older; e; e = older) {
        older = e->older;
        free(e);
    }
    free(t);
}
