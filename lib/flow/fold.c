/*
 * fold -- rows in rank order become one row a key.
 *
 * Merged rows come with a mark on every row whose key equals that of the row before it, so nothing is compared
 * here.  Batches are views that die with the next one: the last key of a batch and its value are kept in memory
 * of our own until a row with another key comes.
 */
#include <stdlib.h>
#include <string.h>

#include "flow_priv.h"

struct flow_fold {
    struct flow_run *r;
    struct flow_fold *next;     /* of the attempt's */
    struct flow_user *user;
    struct block_schema schema; /* of rows in and out */
    uint8_t fold;
    struct err *(*out)(void *arg, const struct block_cols *rows);
    void *arg;
    bool pending;               /* row 0 of key/val is the last key of the batch before */
    uint64_t key[FLOW_ROWS + 1], val[FLOW_ROWS + 1];
    struct block_str skey[FLOW_ROWS + 1], sval[FLOW_ROWS + 1];
    struct arena keep[2];       /* strings of the pending row, now and before */
    unsigned cur;
    struct arena own;           /* strings that the author's function gave, until the next batch */
    void *acc[FLOW_ROWS];
};

struct block_schema
flow__fold_schema(const struct plan_node *n)
{
    struct block_schema s = { n->in.key, n->in.val };

    if (n->fold == PLAN_FOLD_COUNT)
        s.val = BLOCK_I64;
    else if (n->fold == PLAN_FOLD_DISTINCT)
        s.val = BLOCK_NONE;
    return s;
}

struct err *
flow__fold_new(struct flow_run *r, const struct plan_node *n, uint32_t delta_node, bool combined,
               struct err *(*out)(void *, const struct block_cols *), void *arg, struct flow_fold **ret)
{
    struct flow_fold *f = ARENA_NEW(r->a, struct flow_fold);
    struct err *e = NULL;

    f->r = r;
    f->schema = flow__fold_schema(n);
    f->fold = n->fold == PLAN_FOLD_COUNT || n->fold == PLAN_FOLD_DISTINCT ? PLAN_FOLD_SUM : n->fold;
    f->out = out;
    f->arg = arg;
    f->next = r->folds;
    r->folds = f;
    *ret = f;
    if (n->fold == PLAN_FOLD_FN)
        f->user = flow__user(r, n, n->fn, delta_node, &e);
    return e;
}

static void
fold_num(const struct flow_fold *f, uint64_t *into, uint64_t v)
{
    double x, y;

    if (f->schema.val != BLOCK_F64) {
        bool less = f->schema.val == BLOCK_U64 ? v < *into : (int64_t)v < (int64_t)*into;

        if (f->fold == PLAN_FOLD_SUM)
            *into += v;
        else if ((f->fold == PLAN_FOLD_MIN) == less)
            *into = v;
        return;
    }
    memcpy(&x, into, 8);
    memcpy(&y, &v, 8);
    if (f->fold == PLAN_FOLD_SUM)
        x += y;
    else if (f->fold == PLAN_FOLD_MIN)
        x = x <= y || y != y ? x : y;
    else
        x = x >= y || y != y ? x : y;
    memcpy(into, &x, 8);
}

/* Folds by the author's function: acc[i] <- row i of vals. */
static struct err *
fold_user(struct flow_fold *f, const void *vals, uint32_t n)
{
    struct flow_user *u = f->user;
    uint32_t outer = f->r->op;

    if (!n)
        return NULL;
    f->r->op = u->index;
    f->r->keyed = (struct flow_keyed){ u, f->schema.key, f->schema.key == BLOCK_STR ? (void *)f->skey : (void *)f->key,
                                       f->acc, f->schema.val == BLOCK_STR ? (void *)f->sval : (void *)f->val };
    u->fn->fold(&u->t, f->acc, vals, n);
    f->r->keyed.user = NULL;
    f->r->op = outer;
    if (u->t.bad || f->r->err)
        return flow__user_err(u);
    for (uint32_t i = 0; f->schema.val == BLOCK_STR && i < n; i++) {
        struct block_str *s = f->acc[i];

        if (i + 1 == n || f->acc[i + 1] != f->acc[i])
            *s = flow__str_copy(&f->own, s->p, s->n);
    }
    return NULL;
}

/* The last row stays: its strings move to memory of ours. */
static void
keep_last(struct flow_fold *f, uint32_t last)
{
    struct arena *a = &f->keep[f->cur ^= 1];

    flow__arena_empty(a); /* what the row before the last batch kept */
    if (f->schema.key == BLOCK_STR)
        f->skey[0] = flow__str_copy(a, f->skey[last].p, f->skey[last].n);
    else
        f->key[0] = f->key[last];
    if (f->schema.val == BLOCK_STR)
        f->sval[0] = flow__str_copy(a, f->sval[last].p, f->sval[last].n);
    else
        f->val[0] = f->val[last];
}

static struct err *
give(struct flow_fold *f, uint32_t n)
{
    struct block_cols rows = { n, { f->schema.key == BLOCK_STR ? (void *)f->skey : (void *)f->key, NULL } };

    if (f->schema.val)
        rows.col[1] = f->schema.val == BLOCK_STR ? (void *)f->sval : (void *)f->val;
    return n ? f->out(f->arg, &rows) : NULL;
}

static void
set_row(struct flow_fold *f, uint32_t j, const struct block_cols *rows, uint32_t i)
{
    if (f->schema.key == BLOCK_STR)
        f->skey[j] = ((const struct block_str *)rows->col[0])[i];
    else
        f->key[j] = ((const uint64_t *)rows->col[0])[i];
    if (f->schema.val == BLOCK_STR)
        f->sval[j] = ((const struct block_str *)rows->col[1])[i];
    else if (f->schema.val)
        f->val[j] = ((const uint64_t *)rows->col[1])[i];
}

static struct err *
push_part(struct flow_fold *f, const struct block_cols *rows, const uint8_t *same, uint32_t from, uint32_t to)
{
    uint32_t j = f->pending ? 0 : UINT32_MAX, m = 0;
    uint64_t num[FLOW_ROWS];
    struct block_str txt[FLOW_ROWS];

    for (uint32_t i = from; i < to; i++) {
        if (!same[i] || j == UINT32_MAX) {
            set_row(f, ++j, rows, i);
        } else if (f->user && f->schema.val == BLOCK_STR) {
            f->acc[m] = &f->sval[j];
            txt[m++] = ((const struct block_str *)rows->col[1])[i];
        } else if (f->user) {
            f->acc[m] = &f->val[j];
            num[m++] = ((const uint64_t *)rows->col[1])[i];
        } else if (f->schema.val) {
            fold_num(f, &f->val[j], ((const uint64_t *)rows->col[1])[i]);
        }
    }
    if (f->user) {
        flow__user_batch(f->user);
        flow__arena_empty(&f->own);
        TRY(fold_user(f, f->schema.val == BLOCK_STR ? (void *)txt : (void *)num, m));
    }
    if (j == UINT32_MAX)
        return NULL;
    TRY(give(f, j));
    keep_last(f, j);
    f->pending = true;
    return NULL;
}

struct err *
flow__fold_push(struct flow_fold *f, const struct block_cols *rows, const uint8_t *same)
{
    for (uint32_t i = 0; i < rows->n; i += FLOW_ROWS)
        TRY(push_part(f, rows, same, i, rows->n - i < FLOW_ROWS ? rows->n : i + FLOW_ROWS));
    return NULL;
}

struct err *
flow__fold_end(struct flow_fold *f)
{
    struct err *e = f->pending ? give(f, 1) : NULL;

    f->pending = false;
    if (!e && f->user)
        e = flow__user_end(f->user);
    return e;
}

void
flow__folds_free(struct flow_run *r)
{
    for (struct flow_fold *f = r->folds; f; f = f->next) {
        arena_fini(&f->keep[0]);
        arena_fini(&f->keep[1]);
        arena_fini(&f->own);
    }
}
