/* range -- the range of keys that a sort's reducer reads.  A pure function of the footers, so every reducer of the
 * stage, and every attempt of it, cuts at the same keys. */
#include <stdlib.h>

#include "base/file.h"
#include "block/order.h"
#include "shuffle/shuffle_priv.h"

/* First keys that are looked at, about; a run with more than its share gives every k-th. */
enum { SAMPLES = 16384 };

struct sample {
    uint64_t rank;
    uint64_t bits;
    struct block_str str;
    uint64_t rows; /* from this key to the next one of its run */
};

struct samples {
    struct sample *v;
    size_t n, cap;
    uint64_t rows;
    uint8_t kind;
    bool descending;
};

/* A key of the footer, as a row of a column has it. */
static struct sample
sample_of(const struct samples *s, struct arena *a, const char *first, uint32_t n)
{
    struct sample ret = { 0 };

    if (s->kind == BLOCK_STR) {
        char *p = arena_alloc(a, n + BLOCK_PAD);

        memcpy(p, first, n);
        memset(p + n, 0, BLOCK_PAD);
        ret.str = (struct block_str){ p, n };
        block_key_ranks(s->kind, s->descending, &ret.str, 0, 1, &ret.rank);
    } else {
        memcpy(&ret.bits, first, 8);
        block_key_ranks(s->kind, s->descending, &ret.bits, 0, 1, &ret.rank);
    }
    return ret;
}

static int
compare(const struct sample *a, const struct sample *b, uint8_t kind, bool descending)
{
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    int c = kind == BLOCK_STR ? block_str_cmp(a->str, b->str) : 0;
    return descending ? -c : c;
}

static int
order(const void *a, const void *b, void *arg)
{
    const struct samples *s = arg;

    return compare(a, b, s->kind, s->descending);
}

static void
take_samples(struct samples *s, const struct block_run *r, uint32_t maps, struct arena *a)
{
    uint32_t count = block_run_count(r), share = SAMPLES / maps + 1, step = (count + share - 1) / share;

    for (uint32_t i = 0; i < count; i += step) {
        const struct block_entry *e = block_run_entry(r, i);

        if (s->n == s->cap) {
            s->cap = s->cap ? 2 * s->cap : 256;
            if (!(s->v = realloc(s->v, s->cap * sizeof *s->v)))
                abort();
        }
        s->v[s->n] = sample_of(s, a, e->first, e->first_n);
        for (uint32_t k = i; k < count && k < i + step; k++)
            s->v[s->n].rows += block_run_entry(r, k)->rows;
        s->rows += s->v[s->n++].rows;
    }
}

static struct err *
read_samples(const struct shuffle_opts *o, struct samples *s, struct arena *a)
{
    for (uint32_t map = 0; map < o->maps; map++) {
        struct arena names = { 0 };
        struct block_run *r = NULL;
        int fd = -1;
        struct err *e = shuffle__open_map(o, map, &names, &fd, &r);

        if (!e) {
            take_samples(s, r, o->maps, a);
            block_run_close(r);
            file_close(&fd);
        }
        arena_fini(&names);
        TRY(e);
    }
    return NULL;
}

/* The first sample with at least p parts in R of all rows before it; NULL: there is none. */
static const struct sample *
splitter(const struct samples *s, uint32_t p, uint32_t partitions)
{
    uint64_t want = (uint64_t)((__uint128_t)s->rows * p / partitions), before = 0;

    for (size_t i = 0; i < s->n; i++) {
        if (before >= want)
            return &s->v[i];
        before += s->v[i].rows;
    }
    return NULL;
}

struct err *
shuffle__range(const struct shuffle_opts *o, struct arena *a, struct merge_bound *ret)
{
    struct samples s = { .kind = o->merge.schema.key, .descending = o->merge.descending };
    struct err *e = read_samples(o, &s, a);

    *ret = (struct merge_bound){ 0 };
    if (!e) {
        if (s.n)
            qsort_r(s.v, s.n, sizeof *s.v, order, &s);
        const struct sample *lo = o->partition ? splitter(&s, o->partition, o->partitions) : NULL;
        const struct sample *hi = o->partition + 1 < o->partitions ? splitter(&s, o->partition + 1, o->partitions)
                                                                   : NULL;
        if (o->partition && !lo) /* nothing is left for us: an empty range at the last key */
            lo = hi = s.n ? &s.v[s.n - 1] : NULL;
        if (lo)
            ret->has_lo = true, ret->lo = lo->bits, ret->lo_s = lo->str;
        if (hi)
            ret->has_hi = true, ret->hi = hi->bits, ret->hi_s = hi->str;
    }
    free(s.v);
    return e;
}

/* Where the first key of an entry stands to a bound.  A key in the footer may be cut to BLOCK_FIRST_MAX bytes, and so is
 * every bound; so when they differ the whole key differs in the same way, and when they are equal it may be longer. */
static int
entry_to_bound(const struct samples *s, const struct block_entry *e, uint64_t bits, struct block_str str)
{
    struct arena a = { 0 };
    struct sample x = sample_of(s, &a, e->first, e->first_n), b = { .bits = bits, .str = str };
    const void *key = s->kind == BLOCK_STR ? (const void *)&b.str : &b.bits;

    block_key_ranks(s->kind, s->descending, key, 0, 1, &b.rank);
    int c = compare(&x, &b, s->kind, s->descending);
    arena_fini(&a);
    return c;
}

void
shuffle__blocks(const struct shuffle_opts *o, const struct block_run *r, const struct merge_bound *b,
                uint32_t *ret_from, uint32_t *ret_to)
{
    struct samples s = { .kind = o->merge.schema.key, .descending = o->merge.descending };
    uint32_t lo = *ret_from, hi = *ret_to;

    /* A block is behind us if the next one begins before the range. */
    for (uint32_t end = hi; b->has_lo && lo + 1 < end;) {
        uint32_t mid = lo + (end - lo) / 2;

        if (entry_to_bound(&s, block_run_entry(r, mid), b->lo, b->lo_s) < 0)
            lo = mid;
        else
            end = mid;
    }
    /* It is beyond us if it begins behind the end of the range. */
    for (uint32_t from = lo; b->has_hi && from < hi;) {
        uint32_t mid = from + (hi - from) / 2;

        if (entry_to_bound(&s, block_run_entry(r, mid), b->hi, b->hi_s) <= 0)
            from = mid + 1;
        else
            hi = mid;
    }
    *ret_from = lo;
    *ret_to = hi;
}
