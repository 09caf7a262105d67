/* table -- see table.h */
#include "table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
#ifdef TASKD_HOSTILE
    FIRST_BITS = 6,
#else
    FIRST_BITS = 12,
#endif
    LEAST_BITS = 6,
};

static size_t
table_bytes(unsigned bits)
{
    return (((size_t)1 << bits) + TABLE_TAIL) * sizeof(struct table_slot) + BLOCK_PAD;
}

static struct table_slot *
table_map(unsigned bits)
{
    size_t n = table_bytes(bits);
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    if (n >= 4 << 20)
        madvise(p, n, MADV_HUGEPAGE);
    return p;
}

static uint64_t
slot_rank(uint8_t kind, const struct table_slot *s)
{
    if (kind != BLOCK_STR)
        return hash_u64(s->lo);
    size_t n = s->len1 - 1;
    return n <= 16 ? hash_short(s->lo, s->hi, n) : hash_long((const char *)s->hi, n);
}

static void
table_set(struct table *t, struct table_slot *slot, unsigned bits)
{
    t->slot = slot;
    t->bits = bits;
    t->shift = 64 - bits;
    t->most = ((uint64_t)1 << bits) / 2;
}

static void
drop_slots(struct table *t)
{
    munmap(t->slot, table_bytes(t->bits));
    budget_give(t->budget, table_bytes(t->bits));
    t->slot = NULL;
}

void
table_free(struct table *t)
{
    if (t->slot)
        drop_slots(t);
    if (t->budget)
        texts_free(&t->texts);
}

void
table_clear(struct table *t)
{
    texts_free(&t->texts);
    t->n = 0;
    memset(t->slot, 0, table_bytes(t->bits));
}

struct err *
table_new(struct table *t)
{
    unsigned bits = FIRST_BITS;

    while (bits > LEAST_BITS && table_bytes(bits) > t->budget->limit / 8)
        bits--;
    if (!budget_force(t->budget, table_bytes(bits)))
        return err_hint(err_new(ERR_LIMIT, "a task may hold %llu bytes, too few to combine rows by key",
                                (unsigned long long)t->budget->limit),
                        "Give tasks more memory with --executor-memory.");
    struct table_slot *slot = table_map(bits);
    if (!slot)
        abort();
    t->n = 0;
    table_set(t, slot, bits);
    return NULL;
}

bool
table_grow(struct table *t)
{
    unsigned bits = t->bits + 1;

    if (bits > 40 || !budget_take(t->budget, table_bytes(bits)))
        return false;
    struct table_slot *to = table_map(bits), *end = t->slot + ((size_t)1 << t->bits) + TABLE_TAIL;
    if (!to) {
        budget_give(t->budget, table_bytes(bits));
        return false;
    }
    struct table_slot *to_end = to + ((size_t)1 << bits) + TABLE_TAIL;
    for (struct table_slot *s = t->slot; s < end; s++) {
        if (!s->len1)
            continue;
        struct table_slot *d = to + (slot_rank(t->kind, s) >> (64 - bits));
        while (d < to_end && d->len1)
            d++;
        if (d == to_end) { /* thousands of keys with one hash prefix: spill instead */
            munmap(to, table_bytes(bits));
            budget_give(t->budget, table_bytes(bits));
            return false;
        }
        *d = *s;
    }
    drop_slots(t);
    table_set(t, to, bits);
    return true;
}

/* A key that is not where it should be: further up, a long string, or new. */
__attribute__((noinline)) struct table_slot *
table_find_slow(struct table *t, bool str, const struct table_key *k, const struct block_str *text, bool *ret_new)
{
    struct table_slot *s = t->slot + (k->hash >> t->shift);
    uint32_t len1 = str ? (uint32_t)text->n + 1 : 1;

    *ret_new = false;
    for (; s->len1; s++) {
        if (s->lo != k->lo || s->len1 != len1)
            continue;
        if (len1 <= 17) {
            if (s->hi == k->hi)
                return s;
        } else if (s->tag == (uint32_t)k->hash && !memcmp((const char *)s->hi, text->p, text->n)) {
            return s;
        }
    }
    if (s >= t->slot + ((size_t)1 << t->bits) + TABLE_TAIL - 1)
        return NULL; /* the last slot stays free: it ends the search */
    if (len1 > 17) {
        char *p = texts_copy(&t->texts, text->p, text->n, t->n == 0);

        if (!p)
            return NULL;
        s->hi = (uint64_t)p;
        s->tag = (uint32_t)k->hash;
    } else {
        s->hi = k->hi;
    }
    s->lo = k->lo;
    s->len1 = len1;
    t->n++;
    *ret_new = true;
    return s;
}

static bool
before(uint8_t kind, const struct table_slot *a, uint64_t ra, const struct table_slot *b, uint64_t rb)
{
    if (ra != rb)
        return ra < rb;
    if (kind == BLOCK_STR)
        return block_str_cmp(table_str(a), table_str(b)) < 0;
    return a->lo < b->lo;
}

/* A cluster [s, e) of taken slots holds whole home ranges: sorted by itself it fits between its neighbours. */
static void
sort_cluster(uint8_t kind, struct table_slot *s, size_t n, uint64_t *rank)
{
    for (size_t i = 0; i < n; i++) {
        struct table_slot x = s[i];
        uint64_t r = slot_rank(kind, &x);
        size_t k = i;

        for (; k > 0 && before(kind, &x, r, &s[k - 1], rank[k - 1]); k--) {
            s[k] = s[k - 1];
            rank[k] = rank[k - 1];
        }
        s[k] = x;
        rank[k] = r;
    }
}

struct err *
table_walk(struct table *t, struct err *(*fn)(void *, const struct table_slot *, const uint64_t *, size_t), void *arg)
{
    struct table_slot *end = t->slot + ((size_t)1 << t->bits) + TABLE_TAIL;
    uint64_t small[256], *rank = small;
    size_t room = 256;
    struct err *e = NULL;

    for (struct table_slot *s = t->slot; s < end && !e;) {
        if (!s->len1) {
            s++;
            continue;
        }
        size_t n = 1;
        while (s + n < end && s[n].len1)
            n++;
        if (n > room) {
            if (rank != small)
                free(rank);
            rank = malloc(n * sizeof *rank);
            room = n;
            if (!rank)
                abort();
        }
        sort_cluster(t->kind, s, n, rank);
        e = fn(arg, s, rank, n);
        s += n;
    }
    if (rank != small)
        free(rank);
    return e;
}
