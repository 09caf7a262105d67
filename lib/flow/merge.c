/* merge -- see merge.h.  Blocks come in here, batches go out. */
#include <stdlib.h>

#include "block/order.h"
#include "flow/merge_priv.h"

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

/* ---- a batch */

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

static uint32_t
pick(struct merge *m)
{
    uint32_t rows = m->collide ? merge__spread(m) : 0;

    if (rows)
        return rows;
    if (m->rebuild)
        merge__build(m, false);
    m->rebuild = false;
    return merge__pick(m, false);
}

/* A batch by ranks and input numbers only.  By hash that is the right order unless two keys have the same hash,
 * which is seen here afterwards: either in the batch itself (a row with the rank but not the key of the row before)
 * or in what was to follow it (a lesser key of the last rank).  All rows of the batch are still at hand then, so it is
 * taken back and picked again, comparing keys. */
static struct block_cols
fast_batch(struct merge *m)
{
    struct block_cols c = columns(m, pick(m));

    if (c.n == 0)
        return c;
    bool collided = find_same(m, c.col[0], c.n);
    if (!m->collide || (!collided && !too_early(m, &c)))
        return c;
    for (uint32_t i = 0; i < c.n; i++)
        m->spot[m->from[i].in].at--;
    m->ended = MERGE__NONE;
    merge__build(m, true);
    c = columns(m, merge__pick(m, true));
    (void)find_same(m, c.col[0], c.n);
    m->rebuild = true;
    return c;
}

static struct block_cols
exact_batch(struct merge *m)
{
    struct block_cols c = columns(m, merge__pick(m, true));

    if (c.n && !m->opts.no_same)
        (void)find_same(m, c.col[0], c.n);
    return c;
}

struct err *
merge_next(struct merge *m, struct merge_rows *ret)
{
    if (m->ended != MERGE__NONE) {
        TRY(load(m, m->ended));
        if (!m->rebuild)
            merge__replay(m, m->ended, m->ties);
        m->ended = MERGE__NONE;
    }
    struct block_cols c = { 0 };
    if (m->n)
        c = m->ties ? exact_batch(m) : fast_batch(m);
    if (c.n && !(m->ties && m->opts.no_same))
        keep_last(m, c.col[0], c.n);
    *ret = (struct merge_rows){ c, m->rank, m->same };
    return NULL;
}

/* ---- life */

struct err *
merge_open(const struct merge_input *in, uint32_t n, const struct merge_opts *opts, struct merge **ret)
{
    ASSERT(n < MERGE__NONE);
    struct merge *m = calloc(1, sizeof *m);

    if (!m || !(m->in = calloc((size_t)n + 1, sizeof *m->in))
        || !(m->spot = calloc((size_t)n + 1, sizeof *m->spot))
        || !(m->tree = calloc((size_t)n + 1, sizeof *m->tree))
        || !(m->end = calloc((size_t)n + 1, sizeof *m->end))
        || !(m->heads = calloc(2 * (size_t)n + 1, sizeof *m->heads)))
        abort();
    m->opts = *opts;
    m->n = n;
    m->ended = MERGE__NONE;
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
        merge__build(m, m->ties);
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
    free(m->heads);
    free(m->end);
    buf_fini(&m->last_str);
    free(m);
}

size_t
merge_held(const struct merge *m)
{
    size_t n = sizeof *m + m->last_str.cap + m->n * (sizeof *m->in + sizeof *m->spot + 3 * sizeof *m->tree + sizeof *m->end);

    for (uint32_t i = 0; i < m->n; i++)
        if (m->in[i].cursor)
            n += block_cursor_held(m->in[i].cursor) + 8 * (size_t)m->in[i].cap;
    return n;
}

size_t
merge_input_need(const struct block_cursor *c)
{
    return block_cursor_need(c) + 8 * (size_t)block_cursor_rows(c) + sizeof(struct input) + sizeof(struct spot)
           + 3 * sizeof(head_t)
           + sizeof(uint32_t);
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
    return n < 2 ? 2 : n < MERGE__NONE ? (uint32_t)n : MERGE__NONE - 1;
}
