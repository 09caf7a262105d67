/*
 * table -- keys and one 8-byte value each, in the order of their hashes.
 *
 * Open addressing, and the home of a key is cut from the TOP of its hash (hash >> shift).  A probe goes up only and
 * there is room behind the last home, so nothing wraps: walked from front to back the table gives its keys in the order
 * of their hashes, but for neighbours in one cluster, which are put straight on the way out.  That order is the order
 * of a run (block/order.h), so a map output or a spill is the table as it lies.
 *
 * Rows are taken in groups: one pass hashes and prefetches (table_hash), the next one probes (table_find).  A string
 * of up to 16 bytes lies in its slot; a longer one in texts.  Both are inlined into their callers' loops, with `str`
 * a constant.
 *
 * Owner: the holder of the struct.  Threads: one.
 */
#ifndef FLOW_TABLE_H
#define FLOW_TABLE_H
#include "block/order.h"
#include "texts.h"

enum {
    TABLE_GROUP = 64, /* rows of one group */
    TABLE_TAIL = 256, /* slots behind the last home: a cluster that reaches the end makes the table grow */
    TABLE_PREFETCH_BITS = 14, /* below it the table lies in the cache anyway */
};

struct table_slot {
    uint64_t lo, hi; /* string of at most 16 bytes, zero padded; longer: first 8 bytes, pointer; number: lo */
    uint32_t len1;   /* length + 1; 0: free.  Numbers: 1 */
    uint32_t tag;    /* low half of a long string's hash */
    uint64_t v;      /* the caller's */
};
struct table {
    struct budget *budget;
    uint8_t kind; /* of the keys */
    struct table_slot *slot;
    unsigned bits, shift;
    uint64_t n, most; /* keys held; grow or spill above */
    struct texts texts;
    bool giant; /* table_hash saw a key larger than a block can be */
};
struct table_key {
    uint64_t lo, hi, hash;
};

/* A small one, and smaller in a small budget.  budget, kind and texts are set. */
struct err *table_new(struct table *t) MUST_USE;
/* {0} is allowed; texts go, too. */
void table_free(struct table *t);
/* Forgets all keys. */
void table_clear(struct table *t);
/* Doubles it.  false: no memory for that, or thousands of keys share a hash prefix. */
bool table_grow(struct table *t);
/* All keys in rank order, as slots that lie side by side, n at a time.  Nothing can be added afterwards. */
struct err *table_walk(struct table *t, struct err *(*fn)(void *arg, const struct table_slot *s, const uint64_t *ranks, size_t n),
                       void *arg) MUST_USE;
/* Use table_find. */
struct table_slot *table_find_slow(struct table *t, bool str, const struct table_key *k, const struct block_str *text,
                                   bool *ret_new);

static inline struct block_str
table_str(const struct table_slot *s)
{
    size_t n = s->len1 - 1;

    return (struct block_str){ n <= 16 ? (const char *)&s->lo : (const char *)s->hi, n };
}

/* Hashes n <= TABLE_GROUP keys and fetches their slots into the cache. */
static inline __attribute__((always_inline)) void
table_hash(struct table *t, bool str, const void *col, uint32_t n, struct table_key *k)
{
    const struct table_slot *slot = t->slot;
    unsigned shift = t->shift;
    bool prefetch = t->bits >= TABLE_PREFETCH_BITS;

    for (uint32_t i = 0; i < n; i++) {
        if (str) {
            const struct block_str s = ((const struct block_str *)col)[i];

            hash_key16(s.p, s.n, &k[i].lo, &k[i].hi);
            if (__builtin_expect(s.n <= 16, 1)) {
                k[i].hash = hash_short(k[i].lo, k[i].hi, s.n);
            } else {
                k[i].hash = hash_long(s.p, s.n);
                k[i].hi = 1; /* not the address that a slot has there */
                t->giant |= s.n > BLOCK_RAW_MAX;
            }
        } else {
            k[i].lo = block_norm(t->kind, ((const uint64_t *)col)[i]);
            k[i].hi = 0;
            k[i].hash = hash_u64(k[i].lo);
        }
        if (prefetch)
            __builtin_prefetch(&slot[k[i].hash >> shift], 1);
    }
}

/* The slot of a key; *ret_new when it was not there and has been taken: v is the caller's to set.  NULL: no room for
 * the bytes of a long key, or a cluster reached the end. */
static inline __attribute__((always_inline)) struct table_slot *
table_find(struct table *t, bool str, const struct table_key *k, const struct block_str *text, bool *ret_new)
{
    struct table_slot *s = t->slot + (k->hash >> t->shift);
    uint32_t len1 = str ? (uint32_t)text->n + 1 : 1;

    /* One branch for the three: they differ together. */
    if (__builtin_expect((s->lo == k->lo) & (s->hi == k->hi) & (s->len1 == len1), 1)) {
        *ret_new = false;
        return s;
    }
    return table_find_slow(t, str, k, text, ret_new);
}
#endif
