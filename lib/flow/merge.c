/* merge -- a tree of losers over the heads of the inputs; see merge.h. */
#include "flow/merge.h"

#include <stdlib.h>

#include "block/order.h"

enum { NONE = UINT16_MAX + 1, STREAK = 4 };

struct input {
    struct block_cursor *cursor;
    const struct merge_bound *bound;
    struct block_cols cols;
    uint64_t *rank; /* of each row of the block */
    uint32_t cap;
    uint32_t at, n;     /* the rows [at, n) of the block are still to come */
    uint64_t last_rank; /* of the block before */
    bool inside;        /* lo has been passed */
    bool cut;           /* hi was met: no more blocks */
    bool done;
};

struct node {
    uint64_t rank; /* of the input's head; UINT64_MAX if it is done */
    uint32_t in;
};

struct origin {
    uint32_t in, row;
};

struct merge {
    struct merge_opts opts;
    struct input *in;
    struct node *tree; /* tree[0] the winner, tree[1..n) the losers; parent of leaf i is (n + i) / 2 */
    uint32_t n;
    uint32_t ended; /* the input whose block was used up by the last batch, or NONE */
    uint32_t winner, streak;
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
lower_bound(const struct merge *m, const struct input *in, uint64_t bits, struct block_str str)
{
    uint8_t kind = m->opts.schema.key;
    const void *key = kind == BLOCK_STR ? (const void *)&str : &bits;
    uint32_t lo = in->at, hi = in->n;
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
cut_rows(const struct merge *m, struct input *in)
{
    const struct merge_bound *b = in->bound;

    if (!b)
        return;
    if (b->has_lo && !in->inside)
        in->at = lower_bound(m, in, b->lo, b->lo_s);
    in->inside = in->at < in->n;
    if (b->has_hi) {
        uint32_t end = lower_bound(m, in, b->hi, b->hi_s);

        in->cut = end < in->n;
        in->n = end;
    }
}

/* The next block of the input that has rows for us, or done. */
static struct err *
load(struct merge *m, struct input *in)
{
    do {
        if (in->cut)
            in->cols.n = 0;
        else
            TRY(block_cursor_next(in->cursor, &in->cols));
        if (in->cols.n == 0) {
            free(in->rank);
            in->rank = NULL;
            in->cap = 0;
            in->done = true;
            return NULL;
        }
        if (in->cap < in->cols.n) {
            free(in->rank);
            in->cap = in->cols.n;
            if (!(in->rank = malloc(8 * (size_t)in->cap)))
                abort();
        }
        rank_rows(m, &in->cols, in->rank);
        if (!in_order(in))
            return err_new(ERR_CORRUPT, "input %u of a merge is not in order", (unsigned)(in - m->in));
        in->last_rank = in->rank[in->cols.n - 1];
        in->at = 0;
        in->n = in->cols.n;
        cut_rows(m, in);
    } while (in->at == in->n);
    return NULL;
}

/* ---- the tree */

/* The heads of a and b have equal ranks: is a's the first? */
static __attribute__((noinline)) bool
tie(const struct merge *m, uint32_t a, uint32_t b)
{
    const struct input *x = &m->in[a], *y = &m->in[b];
    int c = 0;

    if (x->done || y->done)
        return y->done && (!x->done || a < b);
    if (m->opts.schema.key != BLOCK_STR) {
        if (!m->opts.by_key)
            c = block_key_cmp(m->opts.schema.key, x->cols.col[0], x->at, y->cols.col[0], y->at);
    } else {
        struct block_str s = ((const struct block_str *)x->cols.col[0])[x->at];
        struct block_str t = ((const struct block_str *)y->cols.col[0])[y->at];
        size_t skip = m->opts.by_key && s.n >= 8 && t.n >= 8 ? 8 : 0; /* they are in the rank */

        c = block_str_cmp((struct block_str){ s.p + skip, s.n - skip },
                          (struct block_str){ t.p + skip, t.n - skip });
        c = m->opts.descending ? -c : c;
    }
    return c ? c < 0 : a < b;
}

static struct node
head(const struct merge *m, uint32_t i)
{
    const struct input *in = &m->in[i];

    return (struct node){ in->done ? UINT64_MAX : in->rank[in->at], i };
}

/* The head of the winner has changed: plays it against the losers on its way up. */
static inline void
replay(struct merge *m, struct node w)
{
    for (uint32_t i = (m->n + w.in) / 2; i > 0; i /= 2) {
        struct node l = m->tree[i];
        bool up = l.rank < w.rank;

        if (__builtin_expect(l.rank == w.rank, 0))
            up = tie(m, l.in, w.in);
        m->tree[i] = up ? w : l;
        w = up ? l : w;
    }
    m->tree[0] = w;
}

static void
build(struct merge *m)
{
    struct node *win = calloc(2 * (size_t)m->n, sizeof *win);

    if (!win)
        abort();
    for (uint32_t i = 0; i < m->n; i++)
        win[m->n + i] = head(m, i);
    for (uint32_t i = m->n - 1; i > 0; i--) {
        struct node a = win[2 * i], b = win[2 * i + 1];
        bool first = a.rank != b.rank ? a.rank < b.rank : tie(m, a.in, b.in);

        win[i] = first ? a : b;
        m->tree[i] = first ? b : a;
    }
    m->tree[0] = win[1];
    free(win);
}

/* ---- a batch */

static inline void
pick(struct merge *m, uint32_t row, struct input *in, uint32_t w)
{
    m->from[row] = (struct origin){ w, in->at };
    m->rank[row] = in->rank[in->at++];
}

/* The winner keeps winning: takes its rows as long as they are before every other head, without the tree. */
static uint32_t
gallop(struct merge *m, uint32_t rows, struct input *in, uint32_t w)
{
    uint64_t limit = UINT64_MAX;

    for (uint32_t i = (m->n + w) / 2; i > 0; i /= 2)
        limit = m->tree[i].rank < limit ? m->tree[i].rank : limit;
    while (rows < MERGE_ROWS && in->at < in->n && in->rank[in->at] < limit)
        pick(m, rows++, in, w);
    return rows;
}

/* Picks rows until the batch is full or a block is used up. */
static uint32_t
pick_rows(struct merge *m)
{
    uint32_t rows = 0;

    while (rows < MERGE_ROWS) {
        uint32_t w = m->tree[0].in;
        struct input *in = &m->in[w];

        if (in->done)
            break;
        pick(m, rows++, in, w);
        m->streak = w == m->winner ? m->streak + 1 : 0;
        m->winner = w;
        if (m->streak >= STREAK)
            rows = gallop(m, rows, in, w);
        if (in->at == in->n) {
            m->ended = w;
            break;
        }
        replay(m, (struct node){ in->rank[in->at], w });
    }
    return rows;
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

static void
find_same(struct merge *m, const void *keys, uint32_t rows)
{
    uint8_t kind = m->opts.schema.key;
    struct block_str s = { m->last_str.p, m->last_str.n };
    const void *last = kind == BLOCK_STR ? (const void *)&s : &m->last_bits;

    m->same[0] = m->any && m->rank[0] == m->last_rank && !block_key_cmp(kind, keys, 0, last, 0);
    for (uint32_t i = 1; i < rows; i++)
        m->same[i] = m->rank[i] == m->rank[i - 1] && !block_key_cmp(kind, keys, i, keys, i - 1);
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

struct err *
merge_next(struct merge *m, struct merge_rows *ret)
{
    if (m->ended != NONE) {
        TRY(load(m, &m->in[m->ended]));
        replay(m, head(m, m->ended));
        m->ended = NONE;
    }
    struct block_cols c = { .n = m->n ? pick_rows(m) : 0 };
    if (c.n) {
        c.col[0] = gather(m, 0, c.n);
        c.col[1] = gather(m, 1, c.n);
        find_same(m, c.col[0], c.n);
        keep_last(m, c.col[0], c.n);
    }
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
        || !(m->tree = calloc((size_t)n + 1, sizeof *m->tree)))
        abort();
    m->opts = *opts;
    m->n = n;
    m->ended = m->winner = NONE;
    for (uint32_t i = 0; i < n; i++) {
        struct block_schema s = block_cursor_schema(in[i].cursor);

        ASSERT(s.key == opts->schema.key && s.val == opts->schema.val);
        m->in[i].cursor = in[i].cursor;
        m->in[i].bound = opts->by_key ? in[i].bound : NULL;
        struct err *e = load(m, &m->in[i]);
        if (e) {
            merge_close(m);
            return e;
        }
    }
    if (n)
        build(m);
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
    free(m->tree);
    buf_fini(&m->last_str);
    free(m);
}

size_t
merge_held(const struct merge *m)
{
    size_t n = sizeof *m + m->last_str.cap + m->n * (sizeof *m->in + sizeof *m->tree);

    for (uint32_t i = 0; i < m->n; i++)
        if (m->in[i].cursor)
            n += block_cursor_held(m->in[i].cursor) + 8 * (size_t)m->in[i].cap;
    return n;
}

size_t
merge_input_need(const struct block_cursor *c)
{
    return block_cursor_need(c) + 8 * (size_t)block_cursor_rows(c) + sizeof(struct input)
           + 3 * sizeof(struct node);
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
