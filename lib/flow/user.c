/* user -- td_task and the calls an author's function makes into the host while it runs. */
#include <stdio.h>
#include <stdlib.h>

#include "base/quote.h"
#include "flow_priv.h"

enum { TMP_BYTES = 64 << 10, UNDO_ROOM = 64, SHOWN = 64 };

static struct flow_user *
of(td_task *t)
{
    return (struct flow_user *)t;
}

/* "crash.c:7" for people: the name without its folders. */
static const char *
base_name(const char *path)
{
    const char *s = strrchr(path, '/');

    return s ? s + 1 : path;
}

static void
tmp_empty(struct flow_user *u)
{
    flow__arena_empty(&u->tmp);
    if (u->tmp_taken)
        budget_give(u->run->budget, u->tmp_taken);
    u->tmp_taken = 0;
}

/* What td_tmp gave to a record goes with it: all that a function of records hands on has been copied by then.  A batch
 * function is called once a batch, and the results of a fold lie where it put them until all its rows are folded. */
static void
next_record(struct flow_user *u)
{
    if (u->t.row == u->tmp_row || u->fn->fold || u->fn->group || u->fn->i.flags & (TD_F_BATCH | TD_F_TEXT) || u->no_record)
        return;
    u->tmp_row = u->t.row;
    tmp_empty(u);
}

static void *
host_alloc(td_task *t, size_t n, int until_task_ends)
{
    struct flow_user *u = of(t);

    if (!until_task_ends)
        next_record(u);
    size_t room = (n + 15) & ~(size_t)15;
    if (room < n || !budget_force(u->run->budget, room))
        u->run->w->die(u->run->w->arg,
                       err_hint(err_new(ERR_LIMIT, "%s of %zu bytes in %s(): the attempt holds %llu of its %llu bytes",
                                        until_task_ends ? "td_alloc" : "td_tmp", n, u->fn->i.name,
                                        (unsigned long long)u->run->budget->held,
                                        (unsigned long long)u->run->budget->limit),
                                "Give it more with --executor-memory, or keep less."));
    if (!until_task_ends) {
        u->tmp_taken += room;
        return arena_alloc(&u->tmp, room);
    }
    u->run->alloced += room;
    return arena_zalloc(u->run->a, room);
}

/* The undo list of a record is full: of each slot only the oldest value matters. */
static void
host_undo_full(td_task *t)
{
    struct flow_user *u = of(t);
    uint32_t n = 0;

    if (u->fn->i.flags & (TD_F_BATCH | TD_F_TEXT) || u->fn->fold) {
        t->undo_n = 0; /* there is no record to take back */
        return;
    }
    for (uint32_t i = 0; i < t->undo_n; i++) {
        uint32_t k = 0;

        while (k < n && t->undo[k].slot != t->undo[i].slot)
            k++;
        if (k == n)
            t->undo[n++] = t->undo[i];
    }
    t->undo_n = n;
    if (n < t->undo_cap / 2)
        return;
    t->undo = realloc(t->undo, sizeof *t->undo * t->undo_cap * 2);
    if (!t->undo)
        abort();
    t->undo_cap *= 2;
}

/* A value as people read it: text in quotes, the first bytes of it, or a number. */
static void
put_value(struct buf *b, const struct flow_spot *s)
{
    char text[SHOWN * 4 + 8];
    uint64_t u;
    double f;

    if (s->kind == TD_K_STR) {
        quote_text(s->p, s->n < SHOWN ? s->n : SHOWN, s->n > SHOWN, text, sizeof text);
        buf_printf(b, "%s", text);
        return;
    }
    memcpy(&u, s->p, sizeof u);
    memcpy(&f, s->p, sizeof f);
    if (s->kind == TD_K_F64)
        buf_printf(b, "%.17g", f);
    else if (s->kind == TD_K_I64)
        buf_printf(b, "%lld", (long long)u);
    else
        buf_printf(b, "%llu", (unsigned long long)u);
}

/* Which record is in hand, worded as in the report of a crash. */
static void
put_spot(struct buf *b, const struct flow_run *r)
{
    struct flow_spot s;

    flow_where(&s);
    switch (s.known) {
    case FLOW_UNKNOWN:
        return;
    case FLOW_AT:
    case FLOW_AT_UNPACKED:
        buf_printf(b, ", %s at byte offset %llu%s: ", base_name(r->file_name), (unsigned long long)s.offset,
                   s.known == FLOW_AT_UNPACKED ? " (unpacked)" : "");
        break;
    case FLOW_NUMBER:
        buf_printf(b, ", record %llu: ", (unsigned long long)s.offset);
        break;
    case FLOW_KEY:
        buf_printf(b, ", key ");
    }
    put_value(b, &s);
}

static void
host_bad(td_task *t, int fatal, const char *file, int line, const char *fmt, va_list ap)
{
    struct flow_user *u = of(t);
    struct flow_run *r = u->run;

    if (t->bad == 2)
        return; /* the first sentence counts */
    if (t->bad && !fatal && !(u->fn->i.flags & (TD_F_BATCH | TD_F_TEXT)))
        return; /* a record is bad once */
    if (u->no_record)
        fatal = 1;
    if (!fatal && u->node->on_bad == TD_SKIP) {
        r->res->bad_rows++;
        t->bad = 1;
        return;
    }
    t->bad = 2;
    if (r->err)
        return;
    struct err *e = err_newv(ERR_USER, fmt, ap);
    struct buf at = { 0 };

    put_spot(&at, r);
    buf_put(&at, "", 1);
    r->err = err_wrap_take(e, "%s%s() failed at %s:%d, partition %u%s", fatal ? "" : "bad record: ",
                           u->fn->i.name, base_name(file), line, r->task->partition, at.p);
    buf_fini(&at);
    if (!fatal)
        err_hint(r->err, "To drop and count such records, build the dataset with .on_bad = TD_SKIP.");
}

static void
host_log(td_task *t, td_job *j, int level, const char *file, int line, const char *fmt, va_list ap)
{
    char text[2048];

    vsnprintf(text, sizeof text, fmt, ap);
    of(t)->run->w->log(of(t)->run->w->arg, level, file, line, text);
}

/* Functions don't look for NULL: without the value the attempt ends here. */
static const void *
host_get(td_task *t, uint32_t item)
{
    struct flow_user *u = of(t);
    const void *p = NULL;
    struct err *e = flow__bcast(u->run, u->node, item, &p);

    if (e)
        u->run->w->die(u->run->w->arg, err_wrap_take(e, "td_get in %s() of \"%s\" (%s:%u)", u->fn->i.name, u->node->name,
                                                     u->node->file, u->node->line));
    t->slot[item].p = p;
    return p;
}

static const char *
host_path(td_task *t, td_job *j, const char *name, const char *file, int line)
{
    struct flow_user *u = of(t);
    const char *path;
    struct err *e = flow__file(u->run->w, name, u->run->a, &path);

    if (e)
        u->run->w->die(u->run->w->arg, err_wrap_take(e, "td_file in %s() at %s:%d", u->fn->i.name, base_name(file), line));
    return path;
}

static const td_host task_host = {
    .size = sizeof(td_host), .abi_major = TD_ABI_MAJOR, .abi_minor = TD_ABI_MINOR,
    .alloc = host_alloc, .undo_full = host_undo_full, .bad = host_bad, .log = host_log,
    .get = host_get, .path = host_path,
};

td_slot_
flow_delta_zero(uint32_t op)
{
    td_slot_ z = { .i = 0 };

    if (op == TD_A_MAX)
        z.i = INT64_MIN;
    else if (op == TD_A_MIN)
        z.i = INT64_MAX;
    return z;
}

void
flow_delta_merge(uint32_t op, td_slot_ *into, td_slot_ d)
{
    switch (op) {
    case TD_A_SUM: into->i = (int64_t)((uint64_t)into->i + (uint64_t)d.i); break;
    case TD_A_MAX: into->i = d.i > into->i ? d.i : into->i; break;
    case TD_A_MIN: into->i = d.i < into->i ? d.i : into->i; break;
    case TD_A_FSUM: into->f += d.f; break;
    default: break;
    }
}

static struct err *
setup(struct flow_user *u)
{
    struct err *e = NULL;
    uint32_t outer = u->run->op;

    u->no_record = true;
    u->run->op = u->index;
    if (u->fn->setup && (u->fn->setup(&u->t) || u->t.bad)) {
        e = flow__user_err(u);
        if (!e)
            e = err_new(ERR_USER, "the .setup function of %s() failed", u->fn->i.name);
    }
    u->run->op = outer;
    u->no_record = u->fn->fold != NULL;
    return e;
}

struct flow_user *
flow__user(struct flow_run *r, const struct plan_node *n, uint32_t item, uint32_t delta_node, struct err **ret_e)
{
    if (item >= r->items->n) {
        *ret_e = err_new(ERR_ABI, "function %u of \"%s\" is not in the module (it has %u items)", item, n->name,
                         r->items->n);
        return NULL;
    }
    struct flow_user *u = ARENA_NEW(r->a, struct flow_user);
    const td_fn *fn = (const td_fn *)(const void *)r->items->item[item];

    u->run = r;
    u->node = n;
    u->fn = fn;
    u->delta_node = delta_node;
    td_task *t = &u->t;
    t->h = &task_host;
    t->undo_cap = UNDO_ROOM;
    t->undo = malloc(sizeof *t->undo * UNDO_ROOM);
    if (!t->undo)
        abort();
    t->tmp = arena_alloc(r->a, TMP_BYTES);
    t->tmp_end = t->tmp + TMP_BYTES;
    t->arg = n->arg;
    t->arg_size = n->arg_n;
    t->state = fn->state_size ? arena_zalloc(r->a, fn->state_size) : NULL;
    t->slot = ARENA_ARRAY(r->a, td_slot_, r->items->n);
    for (uint32_t i = 0; i < r->items->n; i++)
        if (r->items->item[i]->kind == TD_I_ACC)
            t->slot[i] = flow_delta_zero(((const td_acc *)(const void *)r->items->item[i])->op);
    for (struct flow_user *o = r->users; o; o = o->next)
        u->index++;
    u->next = r->users;
    r->users = u;
    *ret_e = setup(u);
    return *ret_e ? NULL : u;
}

void
flow__user_batch(struct flow_user *u)
{
    u->t.tmp = u->t.tmp_end - TMP_BYTES;
    u->t.undo_n = 0;
    tmp_empty(u);
}

struct err *
flow__user_err(struct flow_user *u)
{
    struct err *e = u->run->err;

    u->run->err = NULL;
    if (!e && u->t.bad > 1)
        e = err_new(ERR_USER, "%s() failed", u->fn->i.name);
    return e;
}

struct err *
flow__user_end(struct flow_user *u)
{
    struct err *e = NULL;
    uint32_t outer = u->run->op;

    u->no_record = true;
    u->ended = true;
    u->run->op = u->index;
    if (u->fn->teardown)
        u->fn->teardown(&u->t);
    if (u->t.bad || u->run->err)
        e = flow__user_err(u);
    u->run->op = outer;
    return e;
}

void
flow__user_free(struct flow_user *u)
{
    budget_give(u->run->budget, u->tmp_taken);
    arena_fini(&u->tmp);
    free(u->t.undo);
}

/* Collects what all users added into the result. */
void
flow__deltas(struct flow_run *r)
{
    uint32_t n = 0, accs = 0;

    for (uint32_t i = 0; i < r->items->n; i++)
        accs += r->items->item[i]->kind == TD_I_ACC;
    if (!accs)
        return;
    for (struct flow_user *u = r->users; u; u = u->next)
        n += accs;
    struct flow_delta *d = ARENA_ARRAY(r->a, struct flow_delta, n);
    n = 0;
    for (struct flow_user *u = r->users; u; u = u->next)
        for (uint32_t i = 0; i < r->items->n; i++) {
            if (r->items->item[i]->kind != TD_I_ACC)
                continue;
            uint32_t op = ((const td_acc *)(const void *)r->items->item[i])->op;

            if (u->t.slot[i].i != flow_delta_zero(op).i)
                d[n++] = (struct flow_delta){ u->delta_node, i, op, u->t.slot[i] };
        }
    r->res->deltas = d;
    r->res->n_deltas = n;
}
