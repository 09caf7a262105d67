/*
 * combine -- the map side of a fold: one table in which equal keys meet, until the task ends or the budget says no.
 *
 * Open addressing, and the home of a key is cut from the TOP of its hash (hash >> shift).  A probe goes up only
 * and there is room behind the last home, so nothing wraps: walked from front to back the table gives its
 * keys in the order of their hashes, but for neighbours in one cluster, which are put straight on the way out.
 * That order is the order of a run (block/order.h), so a map output or a spill is the table as it lies.
 *
 * A batch is taken in pieces of GROUP rows: one pass hashes and prefetches, the next one probes.  A string of up
 * to 16 bytes lies in its slot; a longer one in an arena.  Measured: lib/flow/README.md.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "block/order.h"
#include "flow_priv.h"

enum {
    GROUP = 64,
    TAIL = 256, /* slots behind the last home: a cluster that reaches the end makes the table grow */
#ifdef TASKD_HOSTILE
    FIRST_BITS = 6,
    TEXT_CHUNK = 256,
#else
    FIRST_BITS = 12,
    TEXT_CHUNK = 256 << 10,
#endif
    PREFETCH_BITS = 14, /* below it the table lies in the cache anyway */
};

struct slot {
    uint64_t lo, hi; /* string of at most 16 bytes, zero padded; longer: first 8 bytes, pointer; number: lo */
    uint32_t len1;   /* length + 1; 0: free.  Numbers: 1 */
    uint32_t tag;    /* low half of a long string's hash */
    uint64_t v;      /* the folded value; of strings its number in side */
};

struct text_chunk {
    struct text_chunk *next;
    size_t n, cap;
    char p[];
};

struct walk;
struct combine {
    struct flow_sink sink; /* first */
    struct flow_run *r;
    const struct plan_node *node;
    struct flow_user *user; /* of a fold function; NULL else */
    struct block_schema schema; /* of what is shuffled */
    uint8_t fold;
    struct slot *slot;
    unsigned bits, shift;
    uint64_t n, most; /* keys held; grow or spill above */
    struct text_chunk *text;
    struct block_str *side; /* values that are strings */
    uint64_t n_side, cap_side;
    size_t text_bytes; /* of a chunk */
    bool giant;        /* a key larger than a block can be */
    struct flow_spills spills;
    struct flow_output out;
    struct walk *walk;
};

static size_t
table_bytes(unsigned bits)
{
    return (((size_t)1 << bits) + TAIL) * sizeof(struct slot) + BLOCK_PAD;
}

static struct slot *
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
slot_rank(uint8_t kind, const struct slot *s)
{
    if (kind != BLOCK_STR)
        return hash_u64(s->lo);
    size_t n = s->len1 - 1;
    return n <= 16 ? hash_short(s->lo, s->hi, n) : hash_long((const char *)s->hi, n);
}

static struct block_str
slot_str(const struct slot *s)
{
    size_t n = s->len1 - 1;

    return (struct block_str){ n <= 16 ? (const char *)&s->lo : (const char *)s->hi, n };
}

static void
table_set(struct combine *c, struct slot *slot, unsigned bits)
{
    c->slot = slot;
    c->bits = bits;
    c->shift = 64 - bits;
    c->most = ((uint64_t)1 << bits) / 2;
}

static void
table_free(struct combine *c)
{
    if (!c->slot)
        return;
    munmap(c->slot, table_bytes(c->bits));
    budget_give(c->r->budget, table_bytes(c->bits));
    c->slot = NULL;
}

/* The first table: small, and smaller in a small budget. */
static struct err *
table_new(struct combine *c)
{
    unsigned bits = FIRST_BITS;

    while (bits > 6 && table_bytes(bits) > c->r->budget->limit / 8)
        bits--;
    if (!budget_force(c->r->budget, table_bytes(bits)))
        return err_hint(err_new(ERR_LIMIT, "a task may hold %llu bytes, too few to combine rows by key",
                                (unsigned long long)c->r->budget->limit),
                        "Give tasks more memory with --executor-memory.");
    struct slot *slot = table_map(bits);
    if (!slot)
        abort();
    table_set(c, slot, bits);
    return NULL;
}

/* Doubles the table.  false: no memory for it, or (with full) a cluster reached the end even so. */
static bool
table_grow(struct combine *c)
{
    unsigned bits = c->bits + 1;

    if (bits > 40 || !budget_take(c->r->budget, table_bytes(bits)))
        return false;
    struct slot *to = table_map(bits), *end = c->slot + ((size_t)1 << c->bits) + TAIL;
    if (!to) {
        budget_give(c->r->budget, table_bytes(bits));
        return false;
    }
    struct slot *to_end = to + ((size_t)1 << bits) + TAIL;
    for (struct slot *s = c->slot; s < end; s++) {
        if (!s->len1)
            continue;
        struct slot *d = to + (slot_rank(c->schema.key, s) >> (64 - bits));
        while (d < to_end && d->len1)
            d++;
        if (d == to_end) { /* thousands of keys with one hash prefix: spill instead */
            munmap(to, table_bytes(bits));
            budget_give(c->r->budget, table_bytes(bits));
            return false;
        }
        *d = *s;
    }
    table_free(c);
    table_set(c, to, bits);
    return true;
}

/* Makes the newest chunk have room for n bytes.  false: the budget said no (with must: it is at its limit). */
static bool
text_reserve(struct combine *c, size_t n, bool must)
{
    struct text_chunk *t = c->text;

    if (t && t->cap - t->n >= n)
        return true;
    size_t cap = n > c->text_bytes ? n : c->text_bytes, bytes = sizeof *t + cap + BLOCK_PAD;
    if (!budget_take(c->r->budget, bytes) && !((must || !t) && budget_force(c->r->budget, bytes)))
        return false;
    t = malloc(bytes);
    if (!t)
        abort();
    *t = (struct text_chunk){ c->text, 0, cap };
    c->text = t;
    return true;
}

/* A copy that lives as long as the table; there are readable bytes behind it. */
static char *
text_copy(struct combine *c, const char *p, size_t n, bool must)
{
    size_t room = (n + 7) & ~(size_t)7;

    if (!text_reserve(c, room, must))
        return NULL;
    char *q = c->text->p + c->text->n;
    if (n)
        memcpy(q, p, n);
    c->text->n += room;
    return q;
}

static void
text_free(struct combine *c)
{
    for (struct text_chunk *t = c->text, *next; t; t = next) {
        next = t->next;
        budget_give(c->r->budget, sizeof *t + t->cap + BLOCK_PAD);
        free(t);
    }
    c->text = NULL;
}

/* ---- out: the table in the order of ranks */

typedef struct err *rows_fn(void *arg, const struct block_cols *rows, const uint64_t *ranks);

struct walk {
    struct combine *c;
    rows_fn *fn;
    void *arg;
    uint32_t n;
    uint64_t ranks[FLOW_ROWS];
    uint64_t key[FLOW_ROWS], val[FLOW_ROWS];
    struct block_str skey[FLOW_ROWS], sval[FLOW_ROWS];
};

static struct err *
walk_flush(struct walk *w)
{
    struct combine *c = w->c;
    struct block_cols rows = { w->n, { c->schema.key == BLOCK_STR ? (void *)w->skey : (void *)w->key, NULL } };

    if (c->schema.val)
        rows.col[1] = c->schema.val == BLOCK_STR ? (void *)w->sval : (void *)w->val;
    w->n = 0;
    return rows.n ? w->fn(w->arg, &rows, w->ranks) : NULL;
}

static struct err *
walk_slot(struct walk *w, const struct slot *s, uint64_t rank)
{
    struct combine *c = w->c;
    uint32_t i = w->n++;

    w->ranks[i] = rank;
    if (c->schema.key == BLOCK_STR)
        w->skey[i] = slot_str(s);
    else
        w->key[i] = s->lo;
    if (c->schema.val == BLOCK_STR)
        w->sval[i] = c->side[s->v];
    else
        w->val[i] = s->v;
    return w->n == FLOW_ROWS ? walk_flush(w) : NULL;
}

static bool
before(uint8_t kind, const struct slot *a, uint64_t ra, const struct slot *b, uint64_t rb)
{
    if (ra != rb)
        return ra < rb;
    if (kind == BLOCK_STR)
        return block_str_cmp(slot_str(a), slot_str(b)) < 0;
    return a->lo < b->lo;
}

/* A cluster [s, e) of taken slots holds whole home ranges: sorted by itself it fits between its neighbours. */
static void
sort_cluster(uint8_t kind, struct slot *s, size_t n, uint64_t *rank)
{
    for (size_t i = 0; i < n; i++) {
        struct slot x = s[i];
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

static struct err *
walk_table(struct combine *c, rows_fn *fn, void *arg)
{
    struct walk *w = c->walk;
    struct slot *end = c->slot + ((size_t)1 << c->bits) + TAIL;
    uint64_t small[256], *rank = small;
    size_t room = 256;
    struct err *e = NULL;

    w->c = c;
    w->fn = fn;
    w->arg = arg;
    w->n = 0;
    for (struct slot *s = c->slot; s < end && !e;) {
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
        sort_cluster(c->schema.key, s, n, rank);
        for (size_t i = 0; i < n && !e; i++)
            e = walk_slot(w, &s[i], rank[i]);
        s += n;
    }
    if (rank != small)
        free(rank);
    return e ? e : walk_flush(w);
}

static struct err *
to_spill(void *arg, const struct block_cols *rows, const uint64_t *ranks)
{
    return block_put(arg, rows, 0, rows->n);
}

static struct err *
to_output(void *arg, const struct block_cols *rows, const uint64_t *ranks)
{
    return flow__output_put(arg, rows, ranks);
}

/* Gives all memory back; nothing is in it that is needed. */
static void
release(struct combine *c)
{
    table_free(c);
    text_free(c);
    budget_give(c->r->budget, c->cap_side * sizeof *c->side);
    free(c->side);
    c->side = NULL;
    c->n_side = c->cap_side = 0;
}

static struct err *
spill(struct combine *c)
{
    struct block_writer *w;

    if (c->n == 0)
        return NULL;
    TRY(flow__spill_begin(&c->spills, &w));
    struct err *e = walk_table(c, to_spill, w);
    if (e) {
        block_writer_abandon(&w);
        return e;
    }
    TRY(flow__spill_end(&c->spills, &w));
    text_free(c);
    c->n = c->n_side = 0;
    if (flow__spill_many(&c->spills)) {
        release(c);
        TRY(flow__spill_collapse(&c->spills));
        return table_new(c);
    }
    memset(c->slot, 0, table_bytes(c->bits));
    return NULL;
}

/* Room for GROUP more keys, by growing or by spilling. */
static struct err *
make_room(struct combine *c)
{
    if (c->n + GROUP <= c->most || table_grow(c))
        return NULL;
    /* No memory for a larger table: fill this one to 7/8 before it is spilled. */
    uint64_t dense = ((uint64_t)1 << c->bits) / 8 * 7;
    if (c->most < dense && dense > GROUP) {
        c->most = dense;
        if (c->n + GROUP <= c->most)
            return NULL;
    }
    TRY(spill(c));
    c->most = ((uint64_t)1 << c->bits) / 2;
    if (c->most < GROUP)
        c->most = GROUP; /* a tiny table: TAIL has the room */
    return NULL;
}

static size_t
room_of(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

/* Bytes of a group's string values and long keys, at most. */
static size_t
text_need(const struct combine *c, const void *keys, const struct block_str *v, uint32_t n)
{
    const struct block_str *k = keys;
    size_t bytes = 0;

    for (uint32_t i = 0; i < n; i++) {
        bytes += room_of(v[i].n);
        if (c->schema.key == BLOCK_STR && k[i].n > 16)
            bytes += room_of(k[i].n);
    }
    return bytes;
}

static struct err *
too_large(const struct combine *c, const char *what, size_t n)
{
    return err_hint(err_new(ERR_LIMIT, "a %s of %zu bytes does not fit into the %llu bytes of a task", what, n,
                            (unsigned long long)c->r->budget->limit),
                    "Give tasks more memory with --executor-memory.");
}

/* Room for n more string values and their bytes; *n becomes less when not all of them fit. */
static struct err *
side_room(struct combine *c, const void *keys, const struct block_str *v, uint32_t *n)
{
    if (c->n_side + GROUP > c->cap_side) {
        uint64_t cap = c->cap_side ? c->cap_side * 2 : 4 * GROUP, more = (cap - c->cap_side) * sizeof *c->side;

        if (budget_take(c->r->budget, more) || (!c->cap_side && budget_force(c->r->budget, more))) {
            c->side = realloc(c->side, cap * sizeof *c->side);
            if (!c->side)
                abort();
            c->cap_side = cap;
        } else if (!c->cap_side) {
            return too_large(c, "list of values", more);
        } else {
            TRY(spill(c));
            return side_room(c, keys, v, n);
        }
    }
    if (text_reserve(c, text_need(c, keys, v, *n), c->n == 0))
        return NULL;
    if (c->n) {
        TRY(spill(c));
        return side_room(c, keys, v, n);
    }
    while (*n > 1) {
        *n /= 2;
        if (text_reserve(c, text_need(c, keys, v, *n), true))
            return NULL;
    }
    return too_large(c, "row", text_need(c, keys, v, 1));
}

/* ---- in */

static inline __attribute__((always_inline)) uint64_t
fold_num(uint8_t kind, uint8_t fold, uint64_t a, uint64_t b)
{
    double x, y;

    if (kind != BLOCK_F64) {
        bool less = kind == BLOCK_U64 ? a < b : (int64_t)a < (int64_t)b;

        return fold == PLAN_FOLD_SUM ? a + b : (fold == PLAN_FOLD_MIN) == less ? a : b;
    }
    memcpy(&x, &a, 8);
    memcpy(&y, &b, 8);
    if (fold == PLAN_FOLD_SUM)
        x += y;
    else if (fold == PLAN_FOLD_MIN)
        x = x <= y || y != y ? x : y;
    else
        x = x >= y || y != y ? x : y;
    memcpy(&a, &x, 8);
    return a;
}

struct key {
    uint64_t lo, hi, hash;
};

/* The slot of a key that is not where it should be: further up, a long string, or new (*ret_new: it has been taken).
 * NULL: no room for the bytes of a long key, or a cluster reached the end. */
static __attribute__((noinline)) struct slot *
find_slow(struct combine *c, bool str, const struct key *k, const struct block_str *text, bool *ret_new)
{
    struct slot *s = c->slot + (k->hash >> c->shift);
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
    if (s >= c->slot + ((size_t)1 << c->bits) + TAIL - 1)
        return NULL; /* the last slot stays free: it ends the search */
    if (len1 > 17) {
        char *p = text_copy(c, text->p, text->n, c->n == 0);

        if (!p)
            return NULL;
        s->hi = (uint64_t)p;
        s->tag = (uint32_t)k->hash;
    } else {
        s->hi = k->hi;
    }
    s->lo = k->lo;
    s->len1 = len1;
    c->n++;
    *ret_new = true;
    return s;
}

static inline __attribute__((always_inline)) struct slot *
find(struct combine *c, bool str, const struct key *k, const struct block_str *text, bool *ret_new)
{
    struct slot *s = c->slot + (k->hash >> c->shift);
    uint32_t len1 = str ? (uint32_t)text->n + 1 : 1;

    /* One branch for the three: they differ together. */
    if (__builtin_expect((s->lo == k->lo) & (s->hi == k->hi) & (s->len1 == len1), 1)) {
        *ret_new = false;
        return s;
    }
    return find_slow(c, str, k, text, ret_new);
}

static inline __attribute__((always_inline)) void
hash_group(struct combine *c, bool str, const void *col, uint32_t n, struct key *k)
{
    const struct slot *slot = c->slot;
    unsigned shift = c->shift;
    bool prefetch = c->bits >= PREFETCH_BITS;

    for (uint32_t i = 0; i < n; i++) {
        if (str) {
            const struct block_str s = ((const struct block_str *)col)[i];

            hash_key16(s.p, s.n, &k[i].lo, &k[i].hi);
            if (__builtin_expect(s.n <= 16, 1)) {
                k[i].hash = hash_short(k[i].lo, k[i].hi, s.n);
            } else {
                k[i].hash = hash_long(s.p, s.n);
                k[i].hi = 1; /* not the address that a slot has there */
                c->giant |= s.n > BLOCK_RAW_MAX;
            }
        } else {
            k[i].lo = block_norm(c->schema.key, ((const uint64_t *)col)[i]);
            k[i].hi = 0;
            k[i].hash = hash_u64(k[i].lo);
        }
        if (prefetch)
            __builtin_prefetch(&slot[k[i].hash >> shift], 1);
    }
}

/* Rows [0, n) of a group; *ret_done less than n: spill and go on there.  vals NULL: every value is 1. */
static inline __attribute__((always_inline)) void
probe_group(struct combine *c, bool str, uint8_t kind, uint8_t fold, const void *keys, const uint64_t *vals,
            const struct key *k, uint32_t n, uint32_t *ret_done)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        const struct block_str *text = str ? (const struct block_str *)keys + i : NULL;
        uint64_t v = vals ? vals[i] : 1;
        bool fresh;
        struct slot *s = find(c, str, &k[i], text, &fresh);

        if (__builtin_expect(!s, 0))
            break;
        s->v = fresh ? v : fold_num(kind, fold, s->v, v);
    }
    *ret_done = i;
}

#define PROBE(str, kind, fold) probe_group(c, str, kind, fold, keys, vals, k, n, &done)
#define PROBE_FOLDS(str, kind)                                        \
    do {                                                              \
        if (c->fold == PLAN_FOLD_MIN)                                 \
            PROBE(str, kind, PLAN_FOLD_MIN);                          \
        else if (c->fold == PLAN_FOLD_MAX)                            \
            PROBE(str, kind, PLAN_FOLD_MAX);                          \
        else                                                          \
            PROBE(str, kind, PLAN_FOLD_SUM);                          \
    } while (0)
#define PROBE_KINDS(str)                                              \
    do {                                                              \
        if (c->schema.val == BLOCK_F64)                               \
            PROBE_FOLDS(str, BLOCK_F64);                              \
        else if (c->schema.val == BLOCK_U64)                          \
            PROBE_FOLDS(str, BLOCK_U64);                              \
        else                                                          \
            PROBE_FOLDS(str, BLOCK_I64);                              \
    } while (0)

/* A value gets memory of the table's.  false: there is none. */
static bool
own_side(struct combine *c, uint64_t i)
{
    char *p = text_copy(c, c->side[i].p, c->side[i].n, false);

    if (p)
        c->side[i].p = p;
    return p != NULL;
}

/* What the fold gave for the rows seen[0, m) lies where the author put it: in td_tmp, in the batch, anywhere. */
static struct err *
own_results(struct combine *c, const uint64_t *seen, struct block_str *old, uint32_t m)
{
    bool full = false;

    for (uint32_t j = 0; j < m; j++) {
        struct block_str *s = &c->side[seen[j]];

        if (s->p == old[j].p)
            continue;
        if (full || !own_side(c, seen[j])) {
            full = true; /* until it has been spilled, with all others */
            *s = flow__str_copy(&c->user->tmp, s->p, s->n);
        }
        for (uint32_t l = j + 1; l < m; l++) /* the same key again in this group: it is ours now */
            if (seen[l] == seen[j])
                old[l] = *s;
    }
    return full ? spill(c) : NULL;
}

/* Values are folded by a function of the author's, or are strings. */
static struct err *
probe_user(struct combine *c, const void *keys, const void *vals, const struct key *k, uint32_t n, uint32_t *ret_done)
{
    bool str = c->schema.key == BLOCK_STR, sval = c->schema.val == BLOCK_STR;
    void *acc[GROUP];
    uint64_t seen[GROUP], num[GROUP];
    struct block_str txt[GROUP];
    uint32_t m = 0, i;

    for (i = 0; i < n; i++) {
        bool fresh;
        struct slot *s = find(c, str, &k[i], str ? (const struct block_str *)keys + i : NULL, &fresh);

        if (!s)
            break;
        if (fresh) {
            s->v = sval ? c->n_side++ : ((const uint64_t *)vals)[i];
            if (sval) {
                c->side[s->v] = ((const struct block_str *)vals)[i];
                ASSERT(own_side(c, s->v)); /* side_room made the room */
            }
            continue;
        }
        acc[m] = sval ? (void *)&c->side[s->v] : (void *)&s->v;
        seen[m] = s->v;
        if (sval)
            txt[m++] = ((const struct block_str *)vals)[i];
        else
            num[m++] = ((const uint64_t *)vals)[i];
    }
    *ret_done = i;
    if (!m)
        return NULL;
    struct flow_user *u = c->user;
    flow__user_batch(u);
    struct block_str old[GROUP];
    for (uint32_t j = 0; sval && j < m; j++)
        old[j] = c->side[seen[j]];
    uint32_t outer = c->r->op;
    c->r->op = u->index;
    u->fn->fold(&u->t, acc, sval ? (void *)txt : (void *)num, m);
    c->r->op = outer;
    if (u->t.bad || c->r->err)
        return flow__user_err(u);
    return sval ? own_results(c, seen, old, m) : NULL;
}

static struct err *
add_group(struct combine *c, const void *keys, const void *vals_, uint32_t n, uint32_t *ret_done)
{
    struct key k[GROUP];
    const uint64_t *vals = vals_;
    bool str = c->schema.key == BLOCK_STR;
    uint32_t done = 0;

    if (str)
        hash_group(c, true, keys, n, k);
    else
        hash_group(c, false, keys, n, k);
    if (c->user) {
        TRY(probe_user(c, keys, vals_, k, n, ret_done));
        return NULL;
    }
    if (str)
        PROBE_KINDS(true);
    else
        PROBE_KINDS(false);
    *ret_done = done;
    return NULL;
}

static struct err *
combine_push(struct flow_sink *s, const td_batch *b)
{
    struct combine *c = (struct combine *)s;
    bool ones = c->fold == PLAN_FOLD_COUNT || c->fold == PLAN_FOLD_DISTINCT;
    size_t kz = block_cell(c->schema.key), vz = block_cell(c->schema.val);

    for (uint32_t i = 0; i < b->n;) {
        uint32_t n = b->n - i < GROUP ? b->n - i : GROUP, done;
        const char *vals = ones ? NULL : (const char *)b->col[1] + i * vz;

        if (c->n + GROUP > c->most)
            TRY(make_room(c));
        if (c->schema.val == BLOCK_STR)
            TRY(side_room(c, (const char *)b->col[0] + i * kz, (const void *)vals, &n));
        TRY(add_group(c, (const char *)b->col[0] + i * kz, vals, n, &done));
        if (c->giant)
            return err_new(ERR_LIMIT, "a key of more than %d bytes is larger than a block can be", BLOCK_RAW_MAX);
        if (done < n) {
            if (c->n == 0 && done == 0)
                return too_large(c, "key", ((const struct block_str *)b->col[0])[i].n);
            TRY(spill(c));
        }
        i += done;
    }
    return NULL;
}

static struct err *
fold_out(void *arg, const struct block_cols *rows)
{
    return flow__output_put(arg, rows, NULL);
}

static struct err *
merge_out(void *arg, const struct block_cols *rows, const uint8_t *same)
{
    return flow__fold_push(arg, rows, same);
}

static struct err *
combine_finish(struct flow_sink *s)
{
    struct combine *c = (struct combine *)s;
    struct flow_fold *f;

    TRY(flow__output_open(c->r, c->schema, c->r->task->stage->partitions, false, &c->out));
    if (c->spills.n == 0) {
        TRY(walk_table(c, to_output, &c->out));
    } else {
        if (c->n)
            TRY(spill(c));
        release(c);
        TRY(flow__fold_new(c->r, c->node, c->node->id | FLOW_MAP_SIDE, true, fold_out, &c->out, &f));
        TRY(flow__spill_merge(&c->spills, merge_out, f));
        TRY(flow__fold_end(f));
    }
    if (c->user)
        TRY(flow__user_end(c->user));
    return flow__output_close(&c->out);
}

static void
combine_free(struct flow_sink *s)
{
    struct combine *c = (struct combine *)s;

    release(c);
    flow__spill_free(&c->spills);
    block_writer_abandon(&c->out.w);
    file_close(&c->out.fd);
}

struct err *
flow__combine_new(struct flow_run *r, const struct plan_node *n, struct flow_sink **ret)
{
    struct combine *c = ARENA_NEW(r->a, struct combine);
    struct err *e = NULL;

    c->sink = (struct flow_sink){ combine_push, combine_finish, combine_free };
    c->r = r;
    c->node = n;
    c->fold = n->fold;
    c->schema = flow__fold_schema(n);
    c->out.fd = -1;
    c->spills = (struct flow_spills){ .r = r, .schema = c->schema };
    if (n->fold == PLAN_FOLD_FN) {
        c->user = flow__user(r, n, n->fn, n->id | FLOW_MAP_SIDE, &e);
        if (e)
            return e;
    }
    TRY(table_new(c));
    c->text_bytes = flow__share(r->budget, TEXT_CHUNK, 16, 1024);
    c->walk = arena_alloc(r->a, sizeof *c->walk);
    *ret = &c->sink;
    return NULL;
}
