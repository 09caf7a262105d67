/* run -- one attempt from its stage definition: builds the chain back to front, runs the source, ends the sinks. */
#include <stdlib.h>

#include "flow_priv.h"
#include "table.h"

/* The attempt in this process.  A runner runs one at a time; the crash handler has no other way to it. */
static struct flow_run *current;

static struct err *
build(struct flow_run *r, const struct plan_branch *b)
{
    struct err *e = NULL;

    r->sinks = ARENA_ARRAY(r->a, struct flow_sink *, b->n_ops + 3);
    struct flow_user **users = ARENA_ARRAY(r->a, struct flow_user *, b->n_ops + 1);
    for (uint32_t i = 0; i < b->n_ops; i++) {
        const struct plan_node *n = plan_node(r->task->nodes, b->ops[i]);

        users[i] = flow__user(r, n, n->fn, n->id, &e);
        if (e)
            return e;
        if (i == 0)
            r->head_user = users[0];
    }
    struct flow_sink *next;
    TRY(flow__sink_new(r, &next));
    r->sinks[b->n_ops] = next;
    r->n_sinks = b->n_ops + 1;
    for (uint32_t i = b->n_ops; i-- > 0;)
        r->sinks[i] = next = flow__op_new(r, users[i], next);
    r->head = next;
    return NULL;
}

static struct err *
source(struct flow_run *r, const struct plan_branch *b)
{
    switch (b->source) {
    case PLAN_SRC_TEXT: return flow__source_text(r, b);
    case PLAN_SRC_BLOCKS: return flow__source_blocks(r, b);
    case PLAN_SRC_FROM: return flow__source_from(r, b);
    case PLAN_SRC_RANGE: return flow__source_range(r, b);
    case PLAN_SRC_SHUFFLE: return flow__source_shuffle(r, b);
    default: return err_new(ERR_CORRUPT, "stage %u has a source of unknown kind %u", r->task->stage->id, b->source);
    }
}

/* The sink has what it wanted: what still lies in the chain is for nobody. */
static struct err *
end_early(struct flow_run *r)
{
    struct flow_sink *last = r->sinks[r->n_sinks - 1];

    for (struct flow_user *u = r->users; u; u = u->next) {
        if (u->ended)
            continue;
        u->t.bad = 0;
        TRY(flow__user_end(u));
    }
    return last->finish(last);
}

static struct err *
drive(struct flow_run *r)
{
    const struct plan_branch *b = plan_branch_of(r->task->stage, r->task->partition);

    TRY(build(r, b));
    struct err *e = source(r, b);
    for (uint32_t i = 0; i < r->n_sinks && !e; i++)
        e = r->sinks[i]->finish(r->sinks[i]);
    if (!r->enough)
        return e;
    err_free(e);
    return end_early(r);
}

struct err *
flow_run_task(const struct flow_world *w, const struct flow_items *items, const struct flow_task *t,
              struct budget *budget, struct arena *a, struct flow_result *ret)
{
    struct flow_run r = { .w = w, .items = items, .task = t, .budget = budget, .a = a, .res = ret };

    *ret = (struct flow_result){ 0 };
    if (w->keep && (t->stage->sink != PLAN_SINK_SHUFFLE || plan_node(t->nodes, t->stage->node)->op != PLAN_FOLD))
        table_keep_free(w->keep); /* this attempt has no use for it */
    current = &r;
    struct err *e = drive(&r);
    if (!e && !r.enough) /* accumulators count whole partitions */
        flow__deltas(&r);
    current = NULL;
    for (uint32_t i = 0; i < r.n_sinks; i++)
        if (r.sinks[i] && r.sinks[i]->free)
            r.sinks[i]->free(r.sinks[i]);
    for (struct flow_user *u = r.users; u; u = u->next)
        flow__user_free(u);
    flow__folds_free(&r);
    budget_give(budget, r.alloced);
    err_free(r.err);
    return e;
}

/* The value in a cell of that kind. */
static void
show(struct flow_spot *ret, enum flow_known known, uint8_t kind, const void *col, uint64_t row)
{
    const struct block_str *s = col;

    ret->known = known;
    ret->kind = kind;
    ret->p = kind == BLOCK_STR ? s[row].p : (const char *)col + 8 * row;
    ret->n = kind == BLOCK_STR ? s[row].n : 8;
}

/* A function that gets the values of keys runs, or one behind it that got what it made of a single key. */
static void
where_keyed(const struct flow_run *r, struct flow_spot *ret)
{
    const struct flow_keyed *k = &r->keyed;
    uint64_t row = 0;

    if (r->op != k->user->index && (k->acc || !r->task->one_record))
        return;
    if (k->acc)
        row = (uint64_t)((const char *)k->acc[k->user->t.row] - (const char *)k->acc_of_first) /
              (k->user->fn->in->key == BLOCK_STR ? sizeof(struct block_str) : 8);
    show(ret, FLOW_KEY, k->kind, k->keys, row);
}

void
flow_where(struct flow_spot *ret)
{
    struct flow_run *r = current;

    *ret = (struct flow_spot){ 0 };
    if (!r)
        return;
    ret->op = r->op;
    if (r->keyed.user) {
        where_keyed(r, ret);
        return;
    }
    const td_batch *b = r->head_batch;
    struct flow_user *u = r->head_user;
    /* Exact when the first function is the one that runs, or when the batch is a single record. */
    if (!b || !u || (r->op != u->index && !r->task->one_record))
        return;
    if (u->fn->i.flags & (TD_F_BATCH | TD_F_TEXT) && !r->task->one_record)
        return; /* it does not say at which row it is */
    ret->row = u->t.row;
    if (b->n && ret->row < b->n) {
        show(ret, r->buf ? FLOW_AT : FLOW_NUMBER, u->fn->in->key, b->col[0], ret->row);
    } else if (r->buf && b->n == 0 && r->task->one_record) { /* a text function that got one line */
        struct block_str line = { b->text.p, b->text.n };

        show(ret, FLOW_AT, BLOCK_STR, &line, 0);
    } else {
        return;
    }
    ret->offset = b->first + ret->row;
    if (!r->buf)
        return;
    ret->known = r->unpacked ? FLOW_AT_UNPACKED : FLOW_AT;
    ret->file = r->file;
    ret->offset = r->buf_offset + (uint64_t)(ret->p - r->buf);
}
