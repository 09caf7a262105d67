/*
 * table -- keys and one 8-byte value each, in the order of their hashes.
 *
 * Open addressing, and the home of a key is cut from the TOP of its hash (hash >> shift).  A probe goes up only and
 * there is room behind the last home, so nothing wraps: walked from front to back the table gives its keys in the order
 * of their hashes, but for neighbours in one cluster, which are put straight on the way out.  That order is the order
 * of a run (block/order.h), so a map output or a spill is the table as it lies.
 *
 * Rows are taken in groups: one pass hashes (table_hash), the next one probes (table_find).  Strings are few to a
 * group and prefetched by the first pass; numbers come faster than memory can take that, so the second pass prefetches
 * TABLE_AHEAD rows before it probes.  A string of up to 16 bytes lies in its slot; a longer one in texts.  All is
 * inlined into its callers' loops, with `str` a constant.
 *
 * Owner: the holder of the struct.  Threads: one.
 */
#ifndef FLOW_TABLE_H
#define FLOW_TABLE_H
#include "block/order.h"
#include "flow/texts.h"

enum {
    TABLE_GROUP = 512,     /* rows of one group, at most */
    TABLE_GROUP_STR = 64,  /* of strings */
    TABLE_AHEAD = 24,
    TABLE_TAIL = 256, /* slots behind the last home: a cluster that reaches the end makes the table grow */
    TABLE_PREFETCH_BITS = 14, /* below it the table lies in the cache anyway */
    TABLE_ROWS = 1024, /* that table_walk gives at once, at most */
};

struct table_str { /* a key that is a string */
    uint64_t lo, hi; /* at most 16 bytes, zero padded; longer: first 8 bytes, pointer */
    uint32_t len1;   /* length + 1; 0: free */
    uint32_t tag;    /* low half of a long string's hash */
    uint64_t v;      /* the caller's */
};
struct table_num { /* a key that is a number: half the size, so twice as many lie in the cache */
    uint64_t key;    /* 0: free; the key 0 itself lives in table.zero */
    uint64_t v;
};
/* Memory of a table.  It may outlive it, so that the next one need not be given fresh pages.  {0} is empty. */
struct table_keep {
    void *p;     /* address space that was reserved */
    size_t n;    /* bytes of it; */
    size_t open; /* those that may be written, from the first huge page on */
    size_t dirty; /* and those that were */
};
struct table {
    struct budget *budget;
    struct table_keep *keep; /* may be NULL */
    uint8_t kind;            /* of the keys */
    struct table_keep mem;
    void *slot;
    size_t used; /* bytes of it */
    unsigned bits, shift;
    uint64_t n, most; /* keys held; grow or spill above */
    struct texts texts;
    bool has_zero;
    uint64_t zero;
    bool giant; /* table_hash saw a key larger than a block can be */
};
struct table_key {
    uint64_t lo, hi, hash;
};

/* A small one, and smaller in a small budget.  budget, keep, kind and texts are set. */
struct err *table_new(struct table *t) MUST_USE;
/* {0} is allowed; texts go, too. */
void table_free(struct table *t);
void table_keep_free(struct table_keep *k);
/* Forgets all keys. */
void table_clear(struct table *t);
/* Doubles it.  false: no memory for that, or hundreds of keys share a hash prefix. */
bool table_grow(struct table *t);
/* All keys in rank order, some at a time: keys is a column (uint64_t or struct block_str).  Nothing can be added
 * afterwards. */
typedef struct err *table_rows_fn(void *arg, const void *keys, const uint64_t *v, const uint64_t *ranks, uint32_t n);
struct err *table_walk(struct table *t, table_rows_fn *fn, void *arg) MUST_USE;
/* Use table_find. */
uint64_t *table_find_str(struct table *t, const struct table_key *k, const struct block_str *text, bool *ret_new);

/* Keys that a table holds before it grows: 5/8 of its slots, where linear probing still needs less than two looks. */
static inline uint64_t
table_share(const struct table *t)
{
    return ((uint64_t)1 << t->bits) / 8 * (t->kind == BLOCK_STR ? 5 : 3);
}

static inline __attribute__((always_inline)) struct table_key
table_num_key(const struct table *t, uint64_t bits)
{
    uint64_t key = block_norm(t->kind, bits);

    return (struct table_key){ key, 0, hash_u64(key) };
}

/* Fetches the slot of a number into the cache. */
static inline __attribute__((always_inline)) void
table_fetch(const struct table *t, uint64_t bits)
{
    __builtin_prefetch((const struct table_num *)t->slot + (table_num_key(t, bits).hash >> t->shift), 1);
}

/* Hashes n <= TABLE_GROUP keys and fetches their slots into the cache. */
static inline __attribute__((always_inline)) void
table_hash(struct table *t, bool str, const void *col, uint32_t n, struct table_key *k)
{
    const char *slot = t->slot;
    size_t size = str ? sizeof(struct table_str) : sizeof(struct table_num);
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
            k[i] = table_num_key(t, ((const uint64_t *)col)[i]);
        }
        if (prefetch)
            __builtin_prefetch(slot + (k[i].hash >> shift) * size, 1);
    }
}

/* Rows of a group that the table as it is can take without growing in between. */
static inline uint32_t
table_group(const struct table *t)
{
    return t->kind == BLOCK_STR || t->bits < 12 ? TABLE_GROUP_STR : TABLE_GROUP;
}

/* The value of a key; *ret_new when it was not there and has been taken: the value is the caller's to set.  NULL: no
 * room for the bytes of a long key, or a cluster reached the end. */
static inline __attribute__((always_inline)) uint64_t *
table_find(struct table *t, bool str, const struct table_key *k, const struct block_str *text, bool *ret_new)
{
    if (str) {
        struct table_str *s = (struct table_str *)t->slot + (k->hash >> t->shift);

        /* One branch for the three: they differ together. */
        if (__builtin_expect((s->lo == k->lo) & (s->hi == k->hi) & (s->len1 == (uint32_t)text->n + 1), 1)) {
            *ret_new = false;
            return &s->v;
        }
        return table_find_str(t, k, text, ret_new);
    }
    struct table_num *s = (struct table_num *)t->slot + (k->hash >> t->shift);
    if (__builtin_expect(k->lo == 0, 0)) {
        *ret_new = !t->has_zero;
        t->n += !t->has_zero;
        t->has_zero = true;
        return &t->zero;
    }
    for (; s->key != k->lo; s++) {
        if (s->key)
            continue;
        if (__builtin_expect(s >= (struct table_num *)t->slot + ((size_t)1 << t->bits) + TABLE_TAIL - 1, 0))
            return NULL; /* the last slot stays free: it ends the search */
        s->key = k->lo;
        t->n++;
        *ret_new = true;
        return &s->v;
    }
    *ret_new = false;
    return &s->v;
}
#endif
