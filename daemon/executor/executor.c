/* executor -- see executor.h.  This file: slots, runners, launches and deaths. */
#include "executor/executor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/spread.h"
#include "executor/crash_report.h"
#include "executor/executor_priv.h"

static struct executor__slot *
slot_of(struct executor *x, unsigned i)
{
    ASSERT(i < x->o.slots);
    return &x->slot[i];
}

/* ---- launches that were not answered yet, oldest first */

static void
queue_push(struct executor__slot *s, const struct executor__launch *t)
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

const struct executor__launch *
executor__running(const struct executor__slot *s)
{
    return s->n ? &s->queue[s->head] : NULL;
}

static void
queue_pop(struct executor__slot *s)
{
    free(s->queue[s->head].split.pieces);
    s->head++;
    s->n--;
    s->given -= s->given > 0;
    if (s->n == 0)
        s->head = 0;
}

static void
queue_drop(struct executor__slot *s)
{
    while (s->n)
        queue_pop(s);
    s->head = s->given = s->n_sent = 0;
    s->killed = false;
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
    struct executor__slot *s = slot_of(x, i);

    TRY_OR(runners_spawn(x->runners, i, x->data_limit), "starting runner %u", i);
    s->n_sent = 0;
    struct wire_module m = { x->o.module_name, x->budget, x->codec, x->o.files, x->o.libs, x->o.n_libs };
    wire_put_module(&b, &m);
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
    struct executor__slot *s = slot_of(x, i);

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
    struct executor__slot *s = slot_of(x, i);

    executor__bcast_flush(x, i);
    while (s->given < s->n && runners_launch(x->runners, i, WIRE_TASK, &s->queue[s->head + s->given].task, sizeof(struct wire_task)))
        s->given++;
}

struct err *
executor__launch(struct executor *x, unsigned i, const struct executor__launch *t)
{
    if (slot_of(x, i)->down) { /* lost with the rest of the slot, as the driver will hear at once */
        free(t->split.pieces);
        return NULL;
    }
    queue_push(slot_of(x, i), t);
    if (runners_empty(x->runners, i))
        TRY(spawn(x, i));
    TRY(send_stage(x, i, t->task.stage));
    flush_pending(x, i);
    if (!x->progress.slot)
        executor__progress_start(x);
    return NULL;
}

/* Answers for an attempt that has not begun.  Its runner has the launch in its ring: what asks for files then gets
 * none, and what comes without any is dropped. */
static void
revoke(struct executor *x, unsigned i, struct executor__launch *t)
{
    struct wire_done d = { .task = t->task, .lost_stage = UINT32_MAX };
    struct buf b = { 0 };

    t->revoked = true;
    d.err = err_new(ERR_CANCELLED, "taken back before it began");
    wire_put_done(&b, &d);
    executor__say_done(x, i, b.p, b.n);
    err_free(d.err);
    buf_fini(&b);
}

void
executor__kill(struct executor *x, unsigned i, const struct wire_task *t, enum runner_why why, bool only_revoke)
{
    struct executor__slot *s = slot_of(x, i);

    for (uint32_t k = 0; k < s->n; k++) {
        struct executor__launch *l = &s->queue[s->head + k];

        if (l->revoked || !same_attempt(&l->task, t))
            continue;
        if (k > 0 && !l->begun) {
            revoke(x, i, l);
        } else if (!only_revoke) {
            s->killed = true;
            s->victim = *t;
            runners_kill(x->runners, i, why);
        }
        return;
    }
}

/* ---- what runners say */

static void
on_done(struct executor *x, unsigned i, const void *p, size_t n)
{
    struct executor__slot *s = slot_of(x, i);
    struct wire_done d;
    const struct executor__launch *r = executor__running(s);

    arena_reset(&x->call);
    struct err *e = wire_get_done(p, n, &x->call, &d);
    bool unasked = !e && d.err && d.err->code == ERR_CANCELLED && r && !r->revoked; /* that is not a runner's to say */
    if (e || !r || !same_attempt(&r->task, &d.task) || unasked) {
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
    err_free(d.err);
    bool revoked = r->revoked;
    queue_pop(s);
    if (!revoked) {
        executor__say_usage(x);
        executor__say_done(x, i, p, n);
    }
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
on_log(struct executor *x, unsigned i, const struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);

    arena_reset(&x->call);
    uint8_t level = get_u8(&g);
    const char *file = get_str(&g, &x->call);
    uint32_t line = get_u32(&g);
    const char *text = get_str(&g, &x->call);
    if (!g.bad)
        executor__say_log(x, i, level, file, line, text);
}

static void
on_loaded(struct executor *x, const struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct err *e = wire_get_err(&g);

    if (e)
        executor__say_failed(x, e);
}

static void
on_frame(void *arg, unsigned i, struct frame *f)
{
    struct executor *x = arg;

    switch (f->type) {
    case WIRE_OPEN: executor__on_open(x, i, f); break;
    case WIRE_FETCH: executor__on_fetch(x, i, f); break;
    case WIRE_DONE: on_done(x, i, f->p, f->n); break;
    case WIRE_LOG: on_log(x, i, f); break;
    case WIRE_LOADED: on_loaded(x, f); break;
    default: runners_kill(x->runners, i, RUNNER_GARBLED);
    }
}

/* ---- deaths */

struct death {
    struct executor *x;
    unsigned slot;
    bool had_task;
    struct executor__launch launch; /* what it was running */
    struct wire_task blamed;        /* the same, or for whose sake it was killed */
    struct crash_report *report;
    struct death *next;
};

static void
death_free(struct death *d)
{
    free(d->launch.split.pieces);
    free(d);
}

static const char *
input_name(void *arg, uint32_t file)
{
    const struct plan_split *s = &((struct death *)arg)->launch.split;

    return s->pieces && file < s->n ? s->pieces[file].path : NULL;
}

static void
on_report(void *arg, struct err *e)
{
    struct death *d = arg, **p = &d->x->deaths;

    while (*p != d)
        p = &(*p)->next;
    *p = d->next;
    slot_of(d->x, d->slot)->down = false;
    executor__say_down(d->x, d->slot, d->had_task ? &d->blamed : NULL, e);
    death_free(d);
}

static void
on_death(void *arg, unsigned i, const struct runner_death *rd)
{
    struct executor *x = arg;
    struct executor__slot *s = slot_of(x, i);
    const struct executor__launch *t = executor__running(s);

    executor__bcast_down(x, i);
    executor__remote_down(x, i);
    if (s->last_words && t) {
        struct err *e = s->last_words;
        struct wire_task task = t->task;

        s->last_words = NULL;
        queue_drop(s);
        executor__say_down(x, i, &task, e);
        return;
    }
    struct death *d = calloc(1, sizeof *d);

    if (!d)
        abort();
    d->x = x;
    d->slot = i;
    d->had_task = t != NULL;
    if (t) {
        d->launch = *t;
        d->blamed = s->killed ? s->victim : t->task;
        s->queue[s->head].split.pieces = NULL; /* d's now */
    }
    queue_drop(s);
    s->down = true;
    char what[32];
    snprintf(what, sizeof what, "partition %u", d->launch.task.partition);
    struct crash_report_opts o = { .symbolise = x->o.symbolise, .module_fd = x->o.module_fd,
                                   .module_name = x->o.module_name, .timeout_ns = x->timeout_ns,
                                   .data_limit = x->data_limit, .what = d->had_task ? what : NULL,
                                   .input_name = input_name, .done = on_report, .arg = d };
    d->next = x->deaths;
    x->deaths = d;
    d->report = crash_report_start(x->loop, rd, &o);
}

static void
on_lost(void *arg, struct err *e)
{
    executor__say_failed(arg, e);
}

/* ---- life */

unsigned
executor_pids(const struct executor *x, int *pids, unsigned n)
{
    unsigned k = 0;

    for (unsigned i = 0; i < x->o.slots && k < n; i++)
        if (runners_pid(x->runners, i))
            pids[k++] = runners_pid(x->runners, i);
    return k;
}

uint64_t
executor_stale(const struct executor *x)
{
    return x->stale;
}

static void
on_over(void *arg)
{
    struct executor *x = arg;
    struct err *why = x->why;

    x->why = NULL;
    x->o.end(x->o.arg, why);
}

void
executor__end(struct executor *x, struct err *why)
{
    if (x->ended) {
        err_free(why);
        return;
    }
    x->ended = true;
    x->why = why;
    link_close(x->link);
    x->link = NULL;
    executor__progress_stop(x);
    loop_timer_start(x->loop, &x->over, 0, on_over, x);
}

struct err *
executor_attach(struct loop *l, struct zygote *z, const struct executor_opts *o, struct link *link,
                struct executor **ret)
{
    static const struct runners_ops ops = { on_frame, on_answer, on_death, NULL, on_lost };
    struct executor *x = calloc(1, sizeof *x);
    struct runners_opts ro = { .slots = o->slots, .frame_limit = 1u << 30 };

    if (!x)
        abort();
    x->loop = l;
    x->zygote = z;
    x->o = *o;
    x->more = spread_count(o->dir);
    x->link = link;
    x->slot = calloc(o->slots, sizeof *x->slot);
    if (!x->slot)
        abort();
    struct err *e = runners_new(l, z, &ro, &ops, x, &x->runners);
    if (e) {
        executor_free(x);
        return e;
    }
    executor__bcast_init(x);
    link_handle(link, &executor__handler, x);
    executor__hello(x);
    *ret = x;
    return NULL;
}

void
executor_free(struct executor *x)
{
    if (!x)
        return;
    link_close(x->link);
    executor__progress_stop(x);
    loop_timer_stop(x->loop, &x->over);
    runners_free(x->runners);
    executor__bcast_fini(x);
    executor__remote_fini(x);
    for (struct death *d = x->deaths, *next; d; d = next) {
        next = d->next;
        crash_report_cancel(d->report);
        death_free(d);
    }
    for (unsigned i = 0; i < x->o.slots; i++) {
        queue_drop(&x->slot[i]);
        err_free(x->slot[i].last_words);
        free(x->slot[i].queue);
        free(x->slot[i].sent);
    }
    for (uint32_t i = 0; i < x->n_stages; i++)
        buf_fini(&x->stage[i].def);
    for (uint32_t i = 0; i < x->n_outputs; i++)
        free(x->outputs[i].at);
    free(x->stage);
    free(x->outputs);
    free(x->node);
    free(x->slot);
    err_free(x->why);
    buf_fini(&x->out);
    arena_fini(&x->a);
    arena_fini(&x->call);
    arena_fini(&x->msg);
    free(x);
}
