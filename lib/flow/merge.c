/* merge -- a tree of losers over the heads of the inputs; see merge.h. */
#include "flow/merge.h"

#include <stdlib.h>

#include "block/order.h"

enum { NONE = UINT16_MAX + 1, STREAK = 4 };

/* Where an input is in its block: the rows [at, n) are still to come.  Apart from the rest, to be small. */
struct spot {
    const uint64_t *rank; /* of each row of the block */
    uint32_t at, n;
};

struct input {
    struct block_cursor *cursor;
    const struct merge_bound *bound;
    struct block_cols cols;
    uint64_t *rank;
    uint32_t cap;
    uint64_t last_rank; /* of the block before */
    bool inside;        /* lo has been passed */
    bool cut;           /* hi was met: no more blocks */
};

/* The head of an input: its rank in the upper half, in the lower the input's number (and DONE behind the end of the
 * last block).  One comparison of 128 bits says which of two is first. */
typedef __uint128_t head_t;
#define DONE (1ull << 32)

struct origin {
    uint32_t in, row;
};

struct merge {
    struct merge_opts opts;
    bool ties;    /* strings by key: equal ranks say little, keys are compared in the tree */
    bool collide; /* by hash: equal ranks mean equal keys, nearly; see fast_batch() */
    struct input *in;
    struct spot *spot;
    head_t *tree; /* tree[0] the winner, tree[1..n) the losers; parent of leaf i is (n + i) / 2 */
    uint32_t n;
    uint32_t ended; /* the input whose block was used up by the last batch, or NONE */
    bool rebuild;   /* the tree is in exact order, and the next batch is a fast one */
    bool any;           /* there was a row before */
    uint64_t last_rank; /* of it; its key: */
    uint64_t last_bits;
    struct buf last_str;
    uint64_t rank[MERGE_ROWS];
    uint8_t same[MERGE_ROWS];
    struct origin from[MERGE_ROWS];
    struct block_str col[2][MERGE_ROWS]; /* 8-byte kinds use half of it */
};

/* ---- one input */

static void
rank_rows(const struct merge *m, const struct block_cols *c, uint64_t *ret)
{
    if (m->opts.by_key)
        block_key_ranks(m->opts.schema.key, m->opts.descending, c->col[0], 0, c->n, ret);
    else
        block_hash_ranks(m->opts.schema.key, c->col[0], 0, c->n, ret);
}

static bool
in_order(const struct input *in)
{
    uint64_t before = in->last_rank;
    bool bad = false;

    for (uint32_t i = 0; i < in->cols.n; i++) {
        bad |= in->rank[i] < before;
        before = in->rank[i];
    }
    return !bad;
}

/* The first row of [at, n) that is not before the bound. */
static uint32_t
lower_bound(const struct merge *m, const struct input *in, const struct spot *at, uint64_t bits,
            struct block_str str)
{
    uint8_t kind = m->opts.schema.key;
    const void *key = kind == BLOCK_STR ? (const void *)&str : &bits;
    uint32_t lo = at->at, hi = at->n;
    uint64_t rank;

    block_key_ranks(kind, m->opts.descending, key, 0, 1, &rank);
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = block_key_cmp(kind, in->cols.col[0], mid, key, 0);
        bool before = in->rank[mid] != rank ? in->rank[mid] < rank : m->opts.descending ? c > 0 : c < 0;

        if (before)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void
cut_rows(const struct merge *m, struct input *in, struct spot *at)
{
    const struct merge_bound *b = in->bound;

    if (!b)
        return;
    if (b->has_lo && !in->inside)
        at->at = lower_bound(m, in, at, b->lo, b->lo_s);
    in->inside = at->at < at->n;
    if (b->has_hi) {
        uint32_t end = lower_bound(m, in, at, b->hi, b->hi_s);

        in->cut = end < at->n;
        at->n = end;
    }
}

/* The next block of input i that has rows for us; none: its spot is empty. */
static struct err *
load(struct merge *m, uint32_t i)
{
    struct input *in = &m->in[i];
    struct spot *at = &m->spot[i];

    do {
        if (in->cut)
            in->cols.n = 0;
        else
            TRY(block_cursor_next(in->cursor, &in->cols));
        if (in->cap < in->cols.n || in->cols.n == 0) {
            free(in->rank);
            in->cap = in->cols.n;
            in->rank = in->cap ? malloc(8 * (size_t)in->cap) : NULL;
            if (in->cap && !in->rank)
                abort();
        }
        *at = (struct spot){ in->rank, 0, in->cols.n };
        if (in->cols.n == 0)
            return NULL;
        rank_rows(m, &in->cols, in->rank);
        if (!in_order(in))
            return err_new(ERR_CORRUPT, "input %u of a merge is not in order", i);
        in->last_rank = in->rank[in->cols.n - 1];
        cut_rows(m, in, at);
    } while (at->at == at->n);
    return NULL;
}

/* ---- the tree */

static inline head_t
head(const struct merge *m, uint32_t i)
{
    const struct spot *s = &m->spot[i];

    return s->at < s->n ? (head_t)s->rank[s->at] << 64 | i : (head_t)UINT64_MAX << 64 | DONE | i;
}

static inline uint64_t
rank_of(head_t h)
{
    return (uint64_t)(h >> 64);
}

/* Order of the keys of the rows at the spots of a and b, whose ranks are equal. */
static int
compare_keys(const struct merge *m, uint32_t a, uint32_t b)
{
    uint32_t i = m->spot[a].at, j = m->spot[b].at;
    const void *x = m->in[a].cols.col[0], *y = m->in[b].cols.col[0];

    if (!m->ties)
        return block_key_cmp(m->opts.schema.key, x, i, y, j);
    struct block_str s = ((const struct block_str *)x)[i], t = ((const struct block_str *)y)[j];
    size_t skip = s.n >= 8 && t.n >= 8 ? 8 : 0; /* they are in the rank */
    int c = block_str_cmp((struct block_str){ s.p + skip, s.n - skip },
                          (struct block_str){ t.p + skip, t.n - skip });
    return m->opts.descending ? -c : c;
}

/* Is a the first of the two?  Equal ranks are decided by the keys. */
static bool
exact_before(const struct merge *m, head_t a, head_t b)
{
    if (rank_of(a) == rank_of(b) && !((uint64_t)(a | b) & DONE)) {
        int c = compare_keys(m, (uint32_t)a, (uint32_t)b);

        if (c)
            return c < 0;
    }
    return a < b;
}

/* The head of the winner has changed: plays it against the losers on its way up.  Who wins can't be foretold, so the
 * two are swapped by masks; the empty asm keeps the compiler from making a branch of it. */
static inline __attribute__((always_inline)) void
replay(struct merge *m, head_t w, bool exact)
{
    for (uint32_t i = (m->n + (uint32_t)w) / 2; i > 0; i /= 2) {
        head_t l = m->tree[i];
        uint64_t up = -(uint64_t)(exact ? exact_before(m, l, w) : l < w);

        __asm__("" : "+r"(up));
        head_t swap = (l ^ w) & ((head_t)up << 64 | up);
        m->tree[i] = l ^ swap;
        w ^= swap;
    }
    m->tree[0] = w;
}

static void
build(struct merge *m, bool exact)
{
    head_t *win = calloc(2 * (size_t)m->n, sizeof *win);

    if (!win)
        abort();
    for (uint32_t i = 0; i < m->n; i++)
        win[m->n + i] = head(m, i);
    for (uint32_t i = m->n - 1; i > 0; i--) {
        head_t a = win[2 * i], b = win[2 * i + 1];
        bool first = exact ? exact_before(m, a, b) : a < b;

        win[i] = first ? a : b;
        m->tree[i] = first ? b : a;
    }
    m->tree[0] = win[1];
    free(win);
}

/* ---- a batch */

/* The winner keeps winning: takes its rows as long as they are before every other head, without the tree. */
static uint32_t
gallop(struct merge *m, uint32_t rows, uint32_t w)
{
    struct spot *s = &m->spot[w];
    uint64_t limit = UINT64_MAX;

    for (uint32_t i = (m->n + w) / 2; i > 0; i /= 2)
        limit = rank_of(m->tree[i]) < limit ? rank_of(m->tree[i]) : limit;
    for (; rows < MERGE_ROWS && s->at < s->n && s->rank[s->at] < limit; rows++) {
        m->from[rows] = (struct origin){ w, s->at };
        m->rank[rows] = s->rank[s->at++];
    }
    return rows;
}

/* Picks rows until the batch is full or a block is used up. */
static inline __attribute__((always_inline)) uint32_t
pick_rows(struct merge *m, bool exact)
{
    uint32_t rows = 0, winner = NONE, streak = 0;

    while (rows < MERGE_ROWS) {
        head_t h = m->tree[0];
        uint32_t w = (uint32_t)h;
        struct spot *s = &m->spot[w];

        if ((uint64_t)h & DONE)
            break;
        m->from[rows] = (struct origin){ w, s->at++ };
        m->rank[rows++] = rank_of(h);
        streak = w == winner ? streak + 1 : 0;
        winner = w;
        if (__builtin_expect(streak >= STREAK, 0))
            rows = gallop(m, rows, w);
        if (s->at == s->n) {
            m->ended = w;
            break;
        }
        replay(m, (head_t)s->rank[s->at] << 64 | w, exact);
    }
    return rows;
}

static uint32_t
pick_fast(struct merge *m)
{
    return pick_rows(m, false);
}

static uint32_t
pick_exact(struct merge *m)
{
    return pick_rows(m, true);
}

static const void *
gather(struct merge *m, int k, uint32_t rows)
{
    uint8_t kind = k ? m->opts.schema.val : m->opts.schema.key;
    const struct origin *f = m->from;

    if (!kind)
        return NULL;
    /* Rows of one input only, so one behind the other: a view. */
    if (f[0].in == f[rows - 1].in && f[rows - 1].row - f[0].row == rows - 1)
        return (const char *)m->in[f[0].in].cols.col[k] + block_cell(kind) * f[0].row;
    if (kind == BLOCK_STR) {
        for (uint32_t i = 0; i < rows; i++)
            m->col[k][i] = ((const struct block_str *)m->in[f[i].in].cols.col[k])[f[i].row];
    } else {
        uint64_t *to = (void *)m->col[k];

        for (uint32_t i = 0; i < rows; i++)
            to[i] = ((const uint64_t *)m->in[f[i].in].cols.col[k])[f[i].row];
    }
    return m->col[k];
}

/* Marks rows that have the key of the row before.  Returns whether any has its rank, but not its key. */
static bool
find_same(struct merge *m, const void *keys, uint32_t rows)
{
    uint8_t kind = m->opts.schema.key;
    struct block_str s = { m->last_str.p, m->last_str.n };
    const void *last = kind == BLOCK_STR ? (const void *)&s : &m->last_bits;
    bool tied = m->any && m->rank[0] == m->last_rank, collided;

    m->same[0] = tied && !block_key_cmp(kind, keys, 0, last, 0);
    collided = tied && !m->same[0];
    if (kind != BLOCK_STR && m->opts.by_key) {
        for (uint32_t i = 1; i < rows; i++)
            m->same[i] = m->rank[i] == m->rank[i - 1];
    } else if (kind == BLOCK_STR) {
        const struct block_str *v = keys;

        for (uint32_t i = 1; i < rows; i++) {
            tied = m->rank[i] == m->rank[i - 1];
            m->same[i] = tied && block_str_same(v[i], v[i - 1]);
            collided |= tied != m->same[i];
        }
    } else {
        const uint64_t *v = keys;

        for (uint32_t i = 1; i < rows; i++) {
            tied = m->rank[i] == m->rank[i - 1];
            m->same[i] = tied & (block_norm(kind, v[i]) == block_norm(kind, v[i - 1]));
            collided |= tied != m->same[i];
        }
    }
    return collided;
}

/* The views of this batch will be gone when the next is compared with its last row. */
static void
keep_last(struct merge *m, const void *keys, uint32_t rows)
{
    m->any = true;
    m->last_rank = m->rank[rows - 1];
    if (m->opts.schema.key == BLOCK_STR) {
        const struct block_str *s = (const struct block_str *)keys + rows - 1;

        m->last_str.n = 0;
        buf_put(&m->last_str, s->p, s->n);
    } else {
        m->last_bits = ((const uint64_t *)keys)[rows - 1];
    }
}

static struct block_cols
columns(struct merge *m, uint32_t rows)
{
    struct block_cols c = { .n = rows };

    if (rows) {
        c.col[0] = gather(m, 0, rows);
        c.col[1] = gather(m, 1, rows);
    }
    return c;
}

/* After a batch whose last row is `last`: has another head its rank, but a lesser key? */
static bool
too_early(const struct merge *m, const struct block_cols *c)
{
    uint64_t rank = m->rank[c->n - 1];

    for (uint32_t i = 0; i < m->n; i++) {
        const struct spot *s = &m->spot[i];

        if (s->at < s->n && s->rank[s->at] == rank
            && block_key_cmp(m->opts.schema.key, m->in[i].cols.col[0], s->at, c->col[0], c->n - 1) < 0)
            return true;
    }
    return false;
}

/* A batch by ranks and input numbers only.  By hash that is the right order unless two keys have the same hash,
 * which is seen here afterwards: either in the batch itself (a row with the rank but not the key of the row before)
 * or in what was to follow it (a lesser key of the last rank).  All rows of the batch are still at hand then, so it is
 * taken back and picked again, comparing keys. */
static struct block_cols
fast_batch(struct merge *m)
{
    struct block_cols c = columns(m, pick_fast(m));

    if (c.n == 0 || (!find_same(m, c.col[0], c.n) && !too_early(m, &c)) || !m->collide)
        return c;
    for (uint32_t i = 0; i < c.n; i++)
        m->spot[m->from[i].in].at--;
    m->ended = NONE;
    build(m, true);
    c = columns(m, pick_exact(m));
    (void)find_same(m, c.col[0], c.n);
    m->rebuild = true;
    return c;
}

static struct block_cols
exact_batch(struct merge *m)
{
    struct block_cols c = columns(m, pick_exact(m));

    if (c.n)
        (void)find_same(m, c.col[0], c.n);
    return c;
}

struct err *
merge_next(struct merge *m, struct merge_rows *ret)
{
    if (m->ended != NONE) {
        TRY(load(m, m->ended));
        if (!m->rebuild)
            replay(m, head(m, m->ended), m->ties);
        m->ended = NONE;
    }
    if (m->rebuild)
        build(m, false);
    m->rebuild = false;
    struct block_cols c = { 0 };
    if (m->n)
        c = m->ties ? exact_batch(m) : fast_batch(m);
    if (c.n)
        keep_last(m, c.col[0], c.n);
    *ret = (struct merge_rows){ c, m->rank, m->same };
    return NULL;
}

/* ---- life */

struct err *
merge_open(const struct merge_input *in, uint32_t n, const struct merge_opts *opts, struct merge **ret)
{
    ASSERT(n < NONE);
    struct merge *m = calloc(1, sizeof *m);

    if (!m || !(m->in = calloc((size_t)n + 1, sizeof *m->in))
        || !(m->spot = calloc((size_t)n + 1, sizeof *m->spot))
        || !(m->tree = calloc((size_t)n + 1, sizeof *m->tree)))
        abort();
    m->opts = *opts;
    m->n = n;
    m->ended = NONE;
    m->ties = opts->by_key && opts->schema.key == BLOCK_STR;
    m->collide = !opts->by_key;
    for (uint32_t i = 0; i < n; i++) {
        struct block_schema s = block_cursor_schema(in[i].cursor);

        ASSERT(s.key == opts->schema.key && s.val == opts->schema.val);
        m->in[i].cursor = in[i].cursor;
        m->in[i].bound = opts->by_key ? in[i].bound : NULL;
        struct err *e = load(m, i);
        if (e) {
            merge_close(m);
            return e;
        }
    }
    if (n)
        build(m, m->ties);
    *ret = m;
    return NULL;
}

void
merge_close(struct merge *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->n; i++)
        free(m->in[i].rank);
    free(m->in);
    free(m->spot);
    free(m->tree);
    buf_fini(&m->last_str);
    free(m);
}

size_t
merge_held(const struct merge *m)
{
    size_t n = sizeof *m + m->last_str.cap + m->n * (sizeof *m->in + sizeof *m->spot + sizeof *m->tree);

    for (uint32_t i = 0; i < m->n; i++)
        if (m->in[i].cursor)
            n += block_cursor_held(m->in[i].cursor) + 8 * (size_t)m->in[i].cap;
    return n;
}

size_t
merge_input_need(const struct block_cursor *c)
{
    return block_cursor_need(c) + 8 * (size_t)block_cursor_rows(c) + sizeof(struct input) + sizeof(struct spot)
           + 3 * sizeof(head_t);
}

size_t
merge_need(void)
{
    return sizeof(struct merge);
}

uint32_t
merge_fan_in(const struct budget *b, size_t cursor_bytes)
{
    uint64_t left = budget_left(b), n;

    left = left > merge_need() ? left - merge_need() : 0;
    n = left / (cursor_bytes ? cursor_bytes : 1);
    return n < 2 ? 2 : n < NONE ? (uint32_t)n : NONE - 1;
}
