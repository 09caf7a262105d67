/* reduce -- the source behind a shuffle: map outputs merged, then folded, grouped or taken as they come. */
#include <string.h>

#include "flow/merge_set.h"
#include "flow_priv.h"

struct reduce {
    struct flow_run *r;
    const struct plan_node *node;
    struct merge *m;
    struct block_schema schema; /* of merged rows */
    uint64_t first;
};

static struct err *
to_chain(void *arg, const struct block_cols *rows)
{
    struct reduce *d = arg;

    for (uint32_t i = 0, n; i < rows->n; i += n) {
        n = rows->n - i < FLOW_ROWS ? rows->n - i : FLOW_ROWS;
        if (d->r->task->one_record)
            n = 1;
        td_batch b = { .n = n, .first = d->first };
        b.col[0] = (const char *)rows->col[0] + i * block_cell(d->schema.key);
        if (d->schema.val)
            b.col[1] = (const char *)rows->col[1] + i * block_cell(d->schema.val);
        d->first += n;
        TRY(flow__push(d->r, d->r->head, &b));
    }
    return NULL;
}

static struct err *
next_rows(struct reduce *d, struct merge_rows *ret)
{
    TRY(merge_next(d->m, ret));
    d->r->res->in_rows += ret->cols.n;
    return NULL;
}

static struct err *
run_fold(struct reduce *d)
{
    struct flow_fold *f;
    struct merge_rows rows;

    TRY(flow__fold_new(d->r, d->node, d->node->id, true, to_chain, d, &f));
    for (;;) {
        TRY(next_rows(d, &rows));
        if (!rows.cols.n)
            return flow__fold_end(f);
        TRY(flow__fold_push(f, &rows.cols, rows.same));
    }
}

static struct err *
run_sort(struct reduce *d)
{
    struct merge_rows rows;

    for (;;) {
        TRY(next_rows(d, &rows));
        if (!rows.cols.n)
            return NULL;
        TRY(to_chain(d, &rows.cols));
    }
}

/* ---- group_by_key: the author pulls the values of one key through td_next */

struct group {
    td_iter iter; /* first: what the author holds */
    struct reduce *d;
    struct flow_user *user;
    struct merge_rows rows;
    uint32_t at;        /* the row that td_next gives next */
    bool ended;         /* no more rows in this key */
    bool fresh;         /* row g->at opens the key: it need not be the same as the one before */
    struct arena key;   /* the bytes of the key, as batches go while the group is read */
    uint64_t num;       /* the key */
    struct block_str str;
    struct err *err;
};

/* Is row g->at there, and of the key in hand?  Fetches a batch when needed.  Not when the rows are for nobody. */
static bool
at_value(struct group *g)
{
    if (g->ended || g->err || g->d->r->err)
        return false;
    if (g->at == g->rows.cols.n) {
        g->err = next_rows(g->d, &g->rows);
        g->at = 0;
        if (g->err || !g->rows.cols.n) {
            g->ended = true;
            return false;
        }
    }
    if (!g->fresh && !g->rows.same[g->at]) {
        g->ended = true;
        return false;
    }
    return true;
}

static bool
group_next(td_iter *it, void *val)
{
    struct group *g = (struct group *)it;

    if (!at_value(g))
        return false;
    size_t z = block_cell(g->d->schema.val);
    memcpy(val, (const char *)g->rows.cols.col[1] + g->at * z, z);
    g->at++;
    g->fresh = false;
    return true;
}

static struct err *
one_group(struct group *g, td_out *out)
{
    struct reduce *d = g->d;
    const void *key = &g->num;

    if (d->schema.key == BLOCK_STR) {
        const struct block_str k = ((const struct block_str *)g->rows.cols.col[0])[g->at];

        flow__arena_empty(&g->key);
        g->str = flow__str_copy(&g->key, k.p, k.n);
        key = &g->str;
    } else {
        g->num = ((const uint64_t *)g->rows.cols.col[0])[g->at];
    }
    flow__user_batch(g->user);
    d->r->op = g->user->index;
    d->r->keyed = (struct flow_keyed){ g->user, d->schema.key, key, NULL, NULL };
    g->ended = false;
    g->user->fn->group(&g->user->t, key, &g->iter, out);
    if (g->user->t.bad > 1 || d->r->err)
        return flow__user_err(g->user);
    while (at_value(g)) { /* what the author did not want */
        g->at++;
        g->fresh = false;
    }
    if (g->err)
        return g->err;
    return NULL;
}

static struct err *
run_group(struct reduce *d)
{
    struct flow_run *r = d->r;
    struct err *e = NULL;
    struct group g = { .iter = { group_next }, .d = d };

    g.user = flow__user(r, d->node, d->node->fn, d->node->id, &e);
    if (e)
        return e;
    struct flow_sink *s = flow__group_new(r, g.user, r->head);
    td_out *out = flow__group_out(s);
    while (!e) {
        g.ended = false;
        g.fresh = true;
        if (!at_value(&g))
            break;
        e = one_group(&g, out);
        if (!e && r->task->one_record)
            e = flow__group_flush(s);
    }
    if (!e)
        e = g.err;
    if (!e)
        e = s->finish(s);
    r->keyed.user = NULL;
    s->free(s);
    arena_fini(&g.key);
    return e;
}

static struct err *
spill_open(void *arg, int *ret_fd)
{
    const struct flow_run *r = arg;

    return r->w->open_spill(r->w->arg, ret_fd);
}

static struct err *
run(struct reduce *d)
{
    struct flow_run *r = d->r;

    switch (d->node->op) {
    case PLAN_FOLD: TRY(run_fold(d)); break;
    case PLAN_GROUP: TRY(run_group(d)); break;
    default: TRY(run_sort(d)); break;
    }
    TRY(flow__flush(r));
    r->w->progress(r->w->arg, r->res->in_rows, r->res->in_bytes, r->op);
    return NULL;
}

struct err *
flow__source_shuffle(struct flow_run *r, const struct plan_branch *b)
{
    const struct plan_node *n = plan_node(r->task->nodes, b->node);
    struct reduce d = { .r = r, .node = n };
    struct merge_bound bound = { 0 };
    struct merge_set *set;

    d.schema = n->op == PLAN_FOLD ? flow__fold_schema(n) : flow__schema(n->in);
    struct merge_set_opts opts = { .merge = { d.schema, n->op == PLAN_SORT, n->descending, n->op == PLAN_SORT },
                                   .bound = n->op == PLAN_SORT ? &bound : NULL, .codecs = r->w->codecs,
                                   .budget = r->budget, .spill_open = spill_open, .arg = r };
    if (r->task->stage->sink == PLAN_SINK_SHUFFLE)
        opts.most = budget_left(r->budget) / 2; /* what is behind the chain collects rows, too */
    TRY(merge_set_new(&opts, &set));
    struct err *e = r->w->open_runs(r->w->arg, b, r->task->partition - b->first, &opts.merge, set, &bound);
    if (!e)
        e = merge_set_open(set, &d.m);
    if (!e)
        e = run(&d);
    r->res->spill_bytes += merge_set_spilled(set);
    merge_set_free(set);
    return e;
}
