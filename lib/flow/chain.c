/* chain -- ops: a function of the author's between the batch that comes in and the columns that go out. */
#include <stdlib.h>
#include <string.h>

#include "flow_priv.h"

/*
 * A full out hands its final rows on and keeps the rest.  Strings that do not lie in the source's buffer are
 * copied into one of two arenas; when rows stay behind, their strings move to the other arena, so the first
 * can be emptied.  What a filter drops was copied as well: the rows go on before the out is full when the arena
 * has grown to FLOW_KEEP.
 */
struct op {
    struct flow_sink sink; /* first */
    td_out out;
    struct flow_user *u;
    struct flow_sink *next;
    struct plan_schema schema;
    struct arena own[2];
    unsigned cur;
};

static struct op *
op_of(td_out *o)
{
    return (struct op *)((char *)o - offsetof(struct op, out));
}

static td_str
copy_into(struct arena *a, const char *p, size_t n)
{
    struct block_str s = flow__str_copy(a, p, n);

    return (td_str){ s.p, s.n };
}

static td_str
out_own(td_out *o, const char *p, size_t n)
{
    struct op *op = op_of(o);

    if (n > BLOCK_RAW_MAX) { /* or no length at all */
        td_bad_at_(&op->u->t, 1, op->u->fn->i.file, (int)op->u->fn->i.line,
                   "a string of %zu bytes was emitted: more than a block can hold", n);
        n = 0;
    }
    td_str s = copy_into(&op->own[op->cur], p, n);

    if (op->own[op->cur].held > FLOW_KEEP)
        o->cap = o->n + 1; /* this row is the last: what is held is handed on behind it */
    return s;
}

static size_t
cell(uint8_t kind)
{
    return kind == TD_K_STR ? sizeof(td_str) : 8;
}

/* Rows [done, n) become rows [0, n - done); their strings leave the arena that is about to be emptied. */
static void
keep_tail(struct op *op, uint32_t done)
{
    td_out *o = &op->out;
    uint32_t left = o->n - done;
    uint8_t kinds[2] = { op->schema.key, op->schema.val };
    struct arena *to = &op->own[op->cur ^ 1];

    for (int c = 0; left && c < 2; c++) {
        if (!kinds[c])
            continue;
        size_t z = cell(kinds[c]);
        memmove(o->col[c], (char *)o->col[c] + z * done, z * left);
        if (kinds[c] != TD_K_STR)
            continue;
        td_str *s = o->col[c];
        for (uint32_t i = 0; i < left; i++)
            if ((uintptr_t)s[i].p - o->lo >= o->span)
                s[i] = copy_into(to, s[i].p, s[i].n);
    }
    flow__arena_empty(&op->own[op->cur]);
    op->cur ^= 1;
    o->n = left;
    o->mark = 0;
    o->cap = FLOW_ROWS;
}

static void
hand_on(struct op *op, uint32_t n)
{
    struct flow_run *r = op->u->run;
    uint32_t running = r->op;

    if (n && !r->err) {
        td_batch b = { .n = n, .col = { op->out.col[0], op->out.col[1] } };
        struct err *e = op->next->push(op->next, &b);

        if (e)
            r->err = e;
    }
    r->op = running;
    if (r->err) {
        op->u->t.bad = 2; /* the loop around the author's function ends at the next record */
        op->u->t.stop = 1;
    }
}

static void
out_full(td_out *o)
{
    struct op *op = op_of(o);
    uint32_t n = o->mark;

    if (op->u->fn->i.flags & (TD_F_BATCH | TD_F_TEXT)) {
        n = o->n; /* nothing is taken back here */
    } else if (n == 0) { /* one record fills a whole batch: its rows can't be taken back any more */
        n = o->n;
        o->over = 1;
    }
    hand_on(op, n);
    keep_tail(op, n);
}

static struct err *
op_flush(struct op *op)
{
    struct flow_run *r = op->u->run;

    if (op->out.n) {
        hand_on(op, op->out.n);
        keep_tail(op, op->out.n);
    }
    struct err *e = r->err;
    r->err = NULL;
    return e;
}

static struct err *
op_push(struct flow_sink *s, const td_batch *b)
{
    struct op *op = (struct op *)s;
    struct flow_run *r = op->u->run;

    flow__user_batch(op->u);
    op->out.lo = r->lo;
    op->out.span = r->span;
    r->op = op->u->index;
    int rc = op->u->fn->run(&op->u->t, b, &op->out);
    if (r->err || op->u->t.bad > 1 || rc) {
        struct err *e = flow__user_err(op->u);

        return e ? e : err_new(ERR_USER, "%s() returned %d", op->u->fn->i.name, rc);
    }
    op->u->t.bad = 0;
    op->out.mark = op->out.n;
    if (op->out.n == 0)
        flow__arena_empty(&op->own[op->cur]);
    if (r->task->one_record || op->own[op->cur].held > FLOW_KEEP)
        return op_flush(op);
    return NULL;
}

static struct err *
op_finish(struct flow_sink *s)
{
    struct op *op = (struct op *)s;

    TRY(op_flush(op));
    return flow__user_end(op->u);
}

static void
op_free(struct flow_sink *s)
{
    struct op *op = (struct op *)s;

    arena_fini(&op->own[0]);
    arena_fini(&op->own[1]);
}

struct flow_sink *
flow__op_new(struct flow_run *r, struct flow_user *u, struct flow_sink *next)
{
    struct op *op = ARENA_NEW(r->a, struct op);

    op->sink = (struct flow_sink){ op_push, op_finish, op_free };
    op->u = u;
    op->next = next;
    op->schema = (struct plan_schema){ u->fn->out->key, u->fn->out->val };
    op->out = (td_out){ .cap = FLOW_ROWS, .full = out_full, .own = out_own, .task = &u->t };
    op->out.col[0] = arena_alloc(r->a, cell(op->schema.key) * FLOW_ROWS);
    op->out.col[1] = op->schema.val ? arena_alloc(r->a, cell(op->schema.val) * FLOW_ROWS) : NULL;
    return &op->sink;
}

static struct err *
group_push(struct flow_sink *s, const td_batch *b)
{
    return err_new(ERR_INPUT, "a group function stands at the start of a chain"); /* the planner sees to it */
}

struct flow_sink *
flow__group_new(struct flow_run *r, struct flow_user *u, struct flow_sink *next)
{
    struct flow_sink *s = flow__op_new(r, u, next);

    s->push = group_push;
    return s;
}

td_out *
flow__group_out(struct flow_sink *s)
{
    return &((struct op *)s)->out;
}

struct err *
flow__group_flush(struct flow_sink *s)
{
    return op_flush((struct op *)s);
}

struct err *
flow__push(struct flow_run *r, struct flow_sink *s, const td_batch *b)
{
    if (s == r->head)
        r->head_batch = b;
    struct err *e = s->push(s, b);
    r->head_batch = NULL;
    return e;
}

struct err *
flow__flush(struct flow_run *r)
{
    for (uint32_t i = 0; i < r->n_sinks; i++)
        if (r->sinks[i]->finish == op_finish)
            TRY(op_flush((struct op *)r->sinks[i]));
    return NULL;
}
