/*
 * combine -- the map side of a fold: a table in which equal keys meet, until the task ends or the budget says no.
 *
 * When it says no the table is written as a run (spill) and starts again; at the end the runs are merged and folded
 * once more.  Values that are strings, or go through a function of the author's, live in a list beside the table
 * (side), because they change their size.  Measured: lib/flow/README.md.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "flow_priv.h"
#include "table.h"

enum {
    GROUP = TABLE_GROUP,
#ifdef TASKD_HOSTILE
    TEXT_CHUNK = 256,
#else
    TEXT_CHUNK = 256 << 10,
#endif
};

struct combine {
    struct flow_sink sink; /* first */
    struct flow_run *r;
    const struct plan_node *node;
    struct flow_user *user; /* of a fold function; NULL else */
    struct block_schema schema; /* of what is shuffled */
    uint8_t fold;
    struct table t;
    struct block_str *side; /* values that are strings; their bytes are in t.texts */
    uint64_t n_side, cap_side;
    struct flow_spills spills;
    struct flow_output out;
    struct block_str *side_rows; /* of the rows that are written, TABLE_ROWS of them */
};

/* ---- out: the table in the order of ranks */

typedef struct err *rows_fn(void *arg, const struct block_cols *rows, const uint64_t *ranks);

struct walk {
    struct combine *c;
    rows_fn *fn;
    void *arg;
};

static struct err *
walk_rows(void *arg, const void *keys, const uint64_t *v, const uint64_t *ranks, uint32_t n)
{
    struct walk *w = arg;
    struct block_cols rows = { n, { keys, w->c->schema.val ? v : NULL } };

    if (w->c->schema.val == BLOCK_STR) {
        for (uint32_t i = 0; i < n; i++)
            w->c->side_rows[i] = w->c->side[v[i]];
        rows.col[1] = w->c->side_rows;
    }
    return w->fn(w->arg, &rows, ranks);
}

static struct err *
walk_table(struct combine *c, rows_fn *fn, void *arg)
{
    struct walk w = { c, fn, arg };

    return table_walk(&c->t, walk_rows, &w);
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
    table_free(&c->t);
    budget_give(c->r->budget, c->cap_side * sizeof *c->side);
    free(c->side);
    c->side = NULL;
    c->n_side = c->cap_side = 0;
}

static struct err *
spill(struct combine *c)
{
    struct block_writer *w;

    if (c->t.n == 0)
        return NULL;
    TRY(flow__spill_begin(&c->spills, &w));
    struct err *e = walk_table(c, to_spill, w);
    if (e) {
        block_writer_abandon(&w);
        return e;
    }
    TRY(flow__spill_end(&c->spills, &w));
    c->n_side = 0;
    if (flow__spill_many(&c->spills)) {
        release(c);
        TRY(flow__spill_collapse(&c->spills));
        return table_new(&c->t);
    }
    table_clear(&c->t);
    return NULL;
}

/* Room for a group of more keys, by growing or by spilling. */
static struct err *
make_room(struct combine *c, uint32_t group)
{
    if (c->t.n + group <= c->t.most || table_grow(&c->t))
        return NULL;
    /* No memory for a larger table: fill this one to 7/8 before it is spilled. */
    uint64_t dense = ((uint64_t)1 << c->t.bits) / 8 * 7;
    if (c->t.most < dense && dense > group) {
        c->t.most = dense;
        if (c->t.n + group <= c->t.most)
            return NULL;
    }
    TRY(spill(c));
    c->t.most = table_share(&c->t);
    if (c->t.most < group)
        c->t.most = group; /* a tiny table: TAIL has the room */
    return NULL;
}

/* Bytes of a group's string values and long keys, at most. */
static size_t
text_need(const struct combine *c, const void *keys, const struct block_str *v, uint32_t n)
{
    const struct block_str *k = keys;
    size_t bytes = 0;

    for (uint32_t i = 0; i < n; i++) {
        bytes += texts_room(v[i].n);
        if (c->schema.key == BLOCK_STR && k[i].n > 16)
            bytes += texts_room(k[i].n);
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
    if (texts_reserve(&c->t.texts, text_need(c, keys, v, *n), c->t.n == 0))
        return NULL;
    if (c->t.n) {
        TRY(spill(c));
        return side_room(c, keys, v, n);
    }
    while (*n > 1) {
        *n /= 2;
        if (texts_reserve(&c->t.texts, text_need(c, keys, v, *n), true))
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

/* Rows [0, n) of a group; *ret_done less than n: spill and go on there.  vals NULL: every value is 1. */
static inline __attribute__((always_inline)) void
probe_group(struct combine *c, bool str, uint8_t kind, uint8_t fold, const void *keys, const uint64_t *vals,
            const struct table_key *k, uint32_t n, uint32_t *ret_done)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        const struct block_str *text = str ? (const struct block_str *)keys + i : NULL;
        uint64_t v = vals ? vals[i] : 1;
        struct table_key num;
        bool fresh;

        if (!str) { /* the last ones of a group fetch the same again: cheaper than a branch */
            table_fetch(&c->t, ((const uint64_t *)keys)[i + TABLE_AHEAD < n ? i + TABLE_AHEAD : n - 1]);
            num = table_num_key(&c->t, ((const uint64_t *)keys)[i]);
        }
        uint64_t *at = table_find(&c->t, str, str ? &k[i] : &num, text, &fresh);

        if (__builtin_expect(!at, 0))
            break;
        *at = fresh ? v : fold_num(kind, fold, *at, v);
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
    char *p = texts_copy(&c->t.texts, c->side[i].p, c->side[i].n, false);

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
probe_user(struct combine *c, const void *keys, const void *vals, const struct table_key *k, uint32_t n, uint32_t *ret_done)
{
    bool str = c->schema.key == BLOCK_STR, sval = c->schema.val == BLOCK_STR;
    void *acc[GROUP];
    uint64_t seen[GROUP], num[GROUP];
    struct block_str txt[GROUP];
    uint32_t m = 0, i;

    for (i = 0; i < n; i++) {
        bool fresh;
        uint64_t *at = table_find(&c->t, str, &k[i], str ? (const struct block_str *)keys + i : NULL, &fresh);

        if (!at)
            break;
        if (fresh) {
            *at = sval ? c->n_side++ : ((const uint64_t *)vals)[i];
            if (sval) {
                c->side[*at] = ((const struct block_str *)vals)[i];
                ASSERT(own_side(c, *at)); /* side_room made the room */
            }
            continue;
        }
        acc[m] = sval ? (void *)&c->side[*at] : (void *)at;
        seen[m] = *at;
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
    struct table_key k[GROUP];
    const uint64_t *vals = vals_;
    bool str = c->schema.key == BLOCK_STR;
    uint32_t done = 0;

    if (str)
        table_hash(&c->t, true, keys, n, k);
    else if (c->user)
        table_hash(&c->t, false, keys, n, k);
    else
        for (uint32_t i = 0; i < TABLE_AHEAD && i < n; i++)
            table_fetch(&c->t, ((const uint64_t *)keys)[i]);
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
        uint32_t group = table_group(&c->t), n = b->n - i < group ? b->n - i : group, done;
        const char *vals = ones ? NULL : (const char *)b->col[1] + i * vz;

        if (c->t.n + group > c->t.most)
            TRY(make_room(c, group));
        if (c->schema.val == BLOCK_STR)
            TRY(side_room(c, (const char *)b->col[0] + i * kz, (const void *)vals, &n));
        TRY(add_group(c, (const char *)b->col[0] + i * kz, vals, n, &done));
        if (c->t.giant)
            return err_new(ERR_LIMIT, "a key of more than %d bytes is larger than a block can be", BLOCK_RAW_MAX);
        if (done < n) {
            if (c->t.n == 0 && done == 0)
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
        if (c->t.n)
            TRY(spill(c));
        c->t.keep = NULL; /* the merge wants the memory */
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
    c->t = (struct table){ .budget = r->budget, .keep = r->w->keep, .kind = c->schema.key,
                           .texts = { .budget = r->budget, .chunk = flow__share(r->budget, TEXT_CHUNK, 16, 1024) } };
    TRY(table_new(&c->t));
    if (c->schema.val == BLOCK_STR)
        c->side_rows = arena_alloc(r->a, TABLE_ROWS * sizeof *c->side_rows);
    *ret = &c->sink;
    return NULL;
}
