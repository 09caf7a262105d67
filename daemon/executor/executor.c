/* executor -- see executor.h */
#include "executor/executor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "executor/crash_report.h"
#include "executor/executor_priv.h"
#include "net/loop.h"

static struct slot *
slot_of(struct executor *x, unsigned i)
{
    return &x->slot[i];
}

/* ---- launches that were not answered yet, oldest first */

static void
queue_push(struct slot *s, const struct wire_task *t)
{
    if (s->head + s->n == s->cap) {
        if (s->head) {
            memmove(s->queue, s->queue + s->head, s->n * sizeof *s->queue);
            s->head = 0;
        } else {
            s->cap = s->cap ? s->cap * 2 : 16;
            s->queue = realloc(s->queue, s->cap * sizeof *s->queue);
            if (!s->queue)
                abort();
        }
    }
    s->queue[s->head + s->n++] = *t;
}

const struct wire_task *
executor__running(const struct slot *s)
{
    return s->n ? &s->queue[s->head] : NULL;
}

static bool
same_attempt(const struct wire_task *a, const struct wire_task *b)
{
    return a->stage == b->stage && a->partition == b->partition && a->attempt == b->attempt && a->epoch == b->epoch;
}

/* ---- runners */

static struct err *
spawn(struct executor *x, unsigned i)
{
    struct buf b = { 0 };
    struct slot *s = slot_of(x, i);

    TRY_OR(runners_spawn(x->runners, i, x->o.data_limit), "starting runner %u", i);
    s->n_sent = 0;
    put_str(&b, x->o.module_name);
    put_u64(&b, x->o.budget);
    struct err *e = runners_post(x->runners, i, WIRE_MODULE, 0, b.p, b.n, &x->o.module_fd, 1);
    buf_fini(&b);
    return e;
}

struct executor__stage *
executor__stage_of(const struct executor *x, uint32_t id)
{
    for (uint32_t i = x->n_stages; i-- > 0;) /* the newest are asked for */
        if (x->stage[i].id == id)
            return &x->stage[i];
    return NULL;
}

static struct err *
send_stage(struct executor *x, unsigned i, uint32_t stage)
{
    struct slot *s = slot_of(x, i);

    for (uint32_t k = 0; k < s->n_sent; k++)
        if (s->sent[k] == stage)
            return NULL;
    const struct executor__stage *st = executor__stage_of(x, stage);
    ASSERT(st);
    TRY(runners_post(x->runners, i, WIRE_STAGE, stage, st->def.p, st->def.n, NULL, 0));
    if (s->n_sent == s->cap_sent) {
        s->cap_sent = s->cap_sent ? s->cap_sent * 2 : 8;
        s->sent = realloc(s->sent, s->cap_sent * sizeof *s->sent);
        if (!s->sent)
            abort();
    }
    s->sent[s->n_sent++] = stage;
    return NULL;
}

static void
flush_pending(struct executor *x, unsigned i)
{
    struct slot *s = slot_of(x, i);

    while (s->given < s->n && runners_launch(x->runners, i, WIRE_TASK, &s->queue[s->head + s->given], sizeof *s->queue))
        s->given++;
}

struct err *
executor_launch(struct executor *x, unsigned i, const struct wire_task *t)
{
    if (slot_of(x, i)->down) /* lost with the rest of the slot, as the driver will hear at once */
        return NULL;
    if (runners_empty(x->runners, i))
        TRY(spawn(x, i));
    TRY(send_stage(x, i, t->stage));
    queue_push(slot_of(x, i), t);
    flush_pending(x, i);
    return NULL;
}

bool
executor_kill(struct executor *x, unsigned i, const struct wire_task *t, enum runner_why why)
{
    const struct wire_task *r = executor__running(slot_of(x, i));

    if (!r || !same_attempt(r, t))
        return false;
    runners_kill(x->runners, i, why);
    return true;
}

struct err *
executor_stage(struct executor *x, uint32_t stage, const struct buf *def, const char *dir, const char *suffix)
{
    if (executor__stage_of(x, stage))
        return NULL;
    if (x->n_stages == x->cap_stages) {
        x->cap_stages = x->cap_stages ? x->cap_stages * 2 : 16;
        x->stage = realloc(x->stage, x->cap_stages * sizeof *x->stage);
        if (!x->stage)
            abort();
    }
    struct executor__stage *s = &x->stage[x->n_stages++];
    *s = (struct executor__stage){ .id = stage, .dir = dir ? arena_strdup(&x->a, dir) : NULL,
                                   .suffix = arena_strdup(&x->a, suffix) };
    buf_put(&s->def, def->p, def->n);
    return NULL;
}

/* ---- what runners say */

static void
on_done(struct executor *x, unsigned i, const void *p, size_t n)
{
    struct slot *s = slot_of(x, i);
    struct wire_done d;
    const struct wire_task *r = executor__running(s);

    arena_reset(&x->call);
    struct err *e = wire_get_done(p, n, &x->call, &d);
    if (e || !r || !same_attempt(r, &d.task)) {
        if (!e)
            err_free(d.err);
        err_free(e);
        runners_kill(x->runners, i, RUNNER_GARBLED);
        return;
    }
    if (d.last && d.err) { /* on_death() tells it: until then nothing else may be launched there */
        err_free(s->last_words);
        s->last_words = d.err;
        runners_kill(x->runners, i, RUNNER_CANCELLED);
        return;
    }
    s->head++;
    s->n--;
    s->given -= s->given > 0;
    if (s->n == 0)
        s->head = 0;
    x->up->done(x->arg, i, &d);
    flush_pending(x, i);
}

static void
on_answer(void *arg, unsigned i, const struct ring_frame *f)
{
    struct executor *x = arg;

    if (f->type == WIRE_DONE)
        on_done(x, i, f->p, f->n);
    else
        runners_kill(x->runners, i, RUNNER_GARBLED);
}

static void
on_log(struct executor *x, const struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);

    arena_reset(&x->call);
    uint8_t level = get_u8(&g);
    const char *file = get_str(&g, &x->call);
    uint32_t line = get_u32(&g);
    const char *text = get_str(&g, &x->call);
    if (!g.bad)
        x->up->log(x->arg, level, file, line, text);
}

static void
on_loaded(struct executor *x, unsigned i, const struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct err *e = wire_get_err(&g);

    if (e)
        x->up->fatal(x->arg, e);
    (void)i;
}

static void
on_frame(void *arg, unsigned i, struct frame *f)
{
    struct executor *x = arg;

    switch (f->type) {
    case WIRE_OPEN: executor__on_open(x, i, f); break;
    case WIRE_DONE: on_done(x, i, f->p, f->n); break;
    case WIRE_LOG: on_log(x, f); break;
    case WIRE_LOADED: on_loaded(x, i, f); break;
    default:
        if (i == x->o.slots)
            x->up->main_frame(x->arg, f);
        else
            runners_kill(x->runners, i, RUNNER_GARBLED);
    }
}

/* ---- deaths */

struct death {
    struct executor *x;
    unsigned slot;
    bool had_task;
    struct wire_task task;
    struct crash_report *report;
    struct death *next;
};

static const char *
input_name(void *arg, uint32_t file)
{
    struct death *d = arg;
    const struct plan_split *s = d->had_task ? d->x->up->split(d->x->arg, d->task.stage, d->task.partition) : NULL;

    return s && file < s->n ? s->pieces[file].path : NULL;
}

static void
on_report(void *arg, struct err *e)
{
    struct death *d = arg, **p = &d->x->deaths;
    struct executor *x = d->x;

    while (*p != d)
        p = &(*p)->next;
    *p = d->next;
    x->slot[d->slot].down = false;
    if (d->slot == x->o.slots)
        x->up->main_down(x->arg, e);
    else
        x->up->slot_down(x->arg, d->slot, d->had_task ? &d->task : NULL, e);
    free(d);
}

static void
on_death(void *arg, unsigned i, const struct runner_death *rd)
{
    struct executor *x = arg;
    struct slot *s = slot_of(x, i);
    const struct wire_task *t = executor__running(s);

    if (s->last_words && t) {
        struct err *e = s->last_words;
        struct wire_task task = *t;

        s->last_words = NULL;
        s->head = s->n = s->given = s->n_sent = 0;
        x->up->slot_down(x->arg, i, &task, e);
        return;
    }
    struct death *d = calloc(1, sizeof *d);

    if (!d)
        abort();
    d->x = x;
    d->slot = i;
    d->had_task = t != NULL;
    if (t)
        d->task = *t;
    s->head = s->n = s->given = s->n_sent = 0;
    s->down = true;
    char what[32];
    snprintf(what, sizeof what, "partition %u", d->task.partition);
    struct crash_report_opts o = { .symbolise = x->o.symbolise, .module_fd = x->o.module_fd,
                                   .module_name = x->o.module_name, .timeout_ns = x->o.timeout_ns,
                                   .data_limit = x->o.data_limit, .what = t ? what : NULL, .input_name = input_name, .done = on_report, .arg = d };
    d->next = x->deaths;
    x->deaths = d;
    d->report = crash_report_start(x->loop, rd, &o);
}

static void
on_lost(void *arg, struct err *e)
{
    struct executor *x = arg;

    x->up->fatal(x->arg, e);
}

/* ---- main */

struct err *
executor_main(struct executor *x, int argc, char **argv)
{
    struct buf b = { 0 };
    unsigned i = x->o.slots;

    TRY(spawn(x, i));
    put_u32(&b, (uint32_t)argc);
    for (int k = 0; k < argc; k++)
        put_str(&b, argv[k]);
    struct err *e = runners_post(x->runners, i, WIRE_MAIN, 0, b.p, b.n, NULL, 0);
    buf_fini(&b);
    if (!e && !runners_launch(x->runners, i, WIRE_MAIN, NULL, 0))
        e = err_new(ERR_LOST, "the runner of the job's main does not take orders");
    return e;
}

struct err *
executor_main_reply(struct executor *x, uint32_t id, const struct buf *b)
{
    return runners_post(x->runners, x->o.slots, WIRE_REPLY, id, b->p, b->n, NULL, 0);
}

void
executor_look(const struct executor *x, unsigned i, struct executor_look *ret)
{
    struct recorder r;

    runners_look(x->runners, i, &r);
    *ret = (struct executor_look){ runners_pid(x->runners, i), x->slot[i].n > 0, r.task.records, r.task.bytes };
}

struct err *
executor_new(struct loop *l, struct zygote *z, const struct executor_opts *o, const struct executor_up *up, void *arg,
             struct executor **ret)
{
    static const struct runners_ops ops = { on_frame, on_answer, on_death, NULL, on_lost };
    struct executor *x = calloc(1, sizeof *x);

    if (!x)
        abort();
    x->loop = l;
    x->o = *o;
    x->up = up;
    x->arg = arg;
    x->slot = calloc(o->slots + 1, sizeof *x->slot);
    if (!x->slot)
        abort();
    struct runners_opts ro = { .slots = o->slots + 1, .frame_limit = 1u << 30 };
    struct err *e = runners_new(l, z, &ro, &ops, x, &x->runners);
    if (e) {
        free(x->slot);
        free(x);
        return e;
    }
    *ret = x;
    return NULL;
}

void
executor_free(struct executor *x)
{
    if (!x)
        return;
    runners_free(x->runners);
    for (struct death *d = x->deaths, *next; d; d = next) {
        next = d->next;
        crash_report_cancel(d->report);
        free(d);
    }
    for (unsigned i = 0; i <= x->o.slots; i++) {
        err_free(x->slot[i].last_words);
        free(x->slot[i].queue);
        free(x->slot[i].sent);
    }
    for (uint32_t i = 0; i < x->n_stages; i++)
        buf_fini(&x->stage[i].def);
    free(x->stage);
    free(x->slot);
    arena_fini(&x->a);
    arena_fini(&x->call);
    free(x);
}
