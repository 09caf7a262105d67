/* executors -- who is there: callers become executors when they have said the right words; what they say after that
 * is checked against what they were told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/driver_priv.h"

struct remote *
driver__remote(const struct driver *d, uint32_t number)
{
    return number < d->n_numbers ? d->by_number[number] : NULL;
}

/* ---- coming and going */

static void
remote_free(struct remote *x)
{
    struct driver *d = x->d;

    for (struct remote **p = &d->remotes; *p; p = &(*p)->next)
        if (*p == x) {
            *p = x->next;
            break;
        }
    if (x->up)
        d->by_number[x->number] = NULL;
    d->memory -= x->memory;
    loop_timer_stop(d->loop, &x->patience);
    link_close(x->link);
    for (uint32_t i = 0; x->lane && i < x->slots; i++)
        free(x->lane[i].queue);
    free(x->lane);
    free(x->knows);
    free(x->host);
    free(x);
}

void
driver__drop(struct remote *x, struct err *why)
{
    struct driver *d = x->d;
    uint32_t number = x->number;
    bool up = x->up;

    if (up)
        driver__executor_down(d, x, why);
    remote_free(x);
    if (up && d->o.lost && !d->ended)
        d->o.lost(d->o.arg, number, why);
    else
        err_free(why);
}

void
driver__drop_place(struct driver *d, uint32_t place)
{
    struct remote *x = d->remotes;

    while (x && !d->ended) {
        if (x->up && x->place == place) {
            driver__drop(x, err_new(ERR_LOST, "its host \"%s\" is lost", d->node[place].host));
            x = d->remotes; /* others may have gone with it */
        } else {
            x = x->next;
        }
    }
}

static void
refuse(struct remote *x, struct err *why)
{
    x->d->totals.stale++;
    driver__refuse(x, why);
    driver__drop(x, why);
}

/* The node of its outputs: the same for all executors whose files one worker keeps in one place. */
static uint32_t
place_of(struct driver *d, const Taskd__ExecutorHello *m)
{
    for (uint32_t i = 1; i < d->n_nodes && m->worker[0]; i++) {
        const struct node *n = &d->node[i];

        if (!n->lost && !strcmp(n->worker, m->worker) && !strcmp(n->dir, m->dir) && !strcmp(n->bulk, m->bulk))
            return i;
    }
    if (d->n_nodes == d->cap_nodes) {
        d->cap_nodes *= 2;
        d->node = realloc(d->node, d->cap_nodes * sizeof *d->node);
        if (!d->node)
            abort();
    }
    d->node[d->n_nodes] = (struct node){ arena_strdup(&d->a, m->host), arena_strdup(&d->a, m->bulk),
                                         arena_strdup(&d->a, m->dir), arena_strdup(&d->a, m->worker), false };
    return d->n_nodes++;
}

static void
attach(struct remote *x, const Taskd__ExecutorHello *m)
{
    struct driver *d = x->d;
    struct remote *old = driver__remote(d, m->executor);

    if (old) /* it restarted and was faster than the news of its end */
        driver__drop(old, err_new(ERR_LOST, "executor %u has come again", m->executor));
    if (m->executor >= d->n_numbers) {
        uint32_t n = m->executor + m->executor / 2 + 8;

        d->by_number = realloc(d->by_number, n * sizeof *d->by_number);
        if (!d->by_number)
            abort();
        memset(d->by_number + d->n_numbers, 0, (n - d->n_numbers) * sizeof *d->by_number);
        d->n_numbers = n;
    }
    x->up = true;
    x->number = m->executor;
    x->slots = m->slots;
    x->place = place_of(d, m);
    x->host = strdup(m->host);
    x->lane = calloc(m->slots, sizeof *x->lane);
    if (!x->host || !x->lane)
        abort();
    d->by_number[x->number] = x;
    loop_timer_stop(d->loop, &x->patience);
    char name[32];
    snprintf(name, sizeof name, "%u", x->number);
    EMIT(d->o.events, executor_added, .executor = name, .slots = x->slots, .memory_bytes = d->o.memory);
    struct sched_event ev = { .kind = SCHED_EXECUTOR_UP, .executor = x->number, .slots = x->slots,
                              .node = x->place };
    driver__attach(d, x, &ev);
}

static void
on_executor_hello(struct remote *x, const Taskd__ExecutorHello *m)
{
    struct driver *d = x->d;

    if (!d->app_id)
        refuse(x, err_new(ERR_DENIED, "the application has not begun"));
    else if (m->executor >= DRIVER_EXECUTORS_MAX || m->slots == 0 || m->slots > DRIVER_SLOTS_MAX)
        refuse(x, err_new(ERR_DENIED, "executor %u with %u slots is out of bounds", m->executor, m->slots));
    else
        attach(x, m);
}

/* In a time that does not depend on where they differ. */
static bool
same_secret(const unsigned char *a, const ProtobufCBinaryData *b)
{
    unsigned char diff = 0;

    if (b->len != DRIVER_SECRET)
        return false;
    for (int i = 0; i < DRIVER_SECRET; i++)
        diff |= a[i] ^ b->data[i];
    return diff == 0;
}

/* An installation of several versions: people would wait for executors and not know why none comes.  Said once. */
static void
tell_mismatch(struct driver *d, const struct err *e)
{
    if (e->code != ERR_ABI || d->told_mismatch)
        return;
    d->told_mismatch = true;
    char *text = err_text(e);
    d->o.say(d->o.arg, TD_WARN, "", 0, text);
    free(text);
}

/* Before it is one of us.  False: x is no more. */
static bool
greet(struct remote *x, const Taskd__Item *it)
{
    if (it->kind_case == TASKD__ITEM__KIND_HELLO && !x->greeted) {
        struct err *e = proto_check_hello(it->hello, "executor");

        if (!e && !same_secret(x->d->o.secret, &it->hello->token))
            e = err_new(ERR_DENIED, "the executor on \"%s\" does not know the application's secret", it->hello->host);
        if (e) {
            tell_mismatch(x->d, e);
            refuse(x, e);
            return false;
        }
        x->greeted = true;
        return true;
    }
    if (it->kind_case == TASKD__ITEM__KIND_EXECUTOR_HELLO && x->greeted) {
        on_executor_hello(x, it->executor_hello);
        return false; /* what else is in the envelope is of no epoch: an executor waits for its welcome */
    }
    refuse(x, err_new(ERR_DENIED, "\"%s\" did not say who it is", link_peer(x->link)));
    return false;
}

/* ---- what executors say */

/* Takes the attempt out of the lane: the oldest, or one that was taken back before it began. */
static bool
answered(struct lane *l, const struct wire_done *w, struct attempt *ret)
{
    bool any = w->err && w->err->code == ERR_CANCELLED;

    for (uint32_t i = 0; i < (any ? l->n : l->n > 0); i++) {
        const struct attempt *t = &l->queue[l->head + i];

        if (t->stage != w->task.stage || t->partition != w->task.partition || t->attempt != w->task.attempt)
            continue;
        *ret = *t;
        memmove(&l->queue[l->head + 1], &l->queue[l->head], i * sizeof *t);
        l->head++;
        if (--l->n == 0)
            l->head = 0;
        return true;
    }
    return false;
}

static bool
queued(const struct lane *l, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    for (uint32_t i = 0; i < l->n; i++) {
        const struct attempt *t = &l->queue[l->head + i];

        if (t->stage == stage && t->partition == partition && t->attempt == attempt)
            return true;
    }
    return false;
}

/* False: what it says can't be; x is to be dropped. */
static bool
on_done(struct remote *x, const Taskd__Done *m)
{
    struct driver *d = x->d;
    struct wire_done w;

    if (m->slot >= x->slots || m->done.len == 0)
        return false;
    arena_reset(&d->answer);
    struct err *e = wire_get_done(m->done.data, m->done.len, &d->answer, &w);
    if (e) {
        err_free(e);
        return false;
    }
    struct attempt t;
    if (w.task.epoch != x->epoch || !answered(&x->lane[m->slot], &w, &t)) {
        d->totals.stale++;
        err_free(w.err);
        /* an answer before its time: the one that is due is lost */
        return w.task.epoch != x->epoch || !queued(&x->lane[m->slot], w.task.stage, w.task.partition, w.task.attempt);
    }
    x->lane[m->slot].records = x->lane[m->slot].bytes = 0;
    driver__done(d, x, m->slot, &w, &t);
    return true;
}

static bool
on_slot_down(struct remote *x, const Taskd__SlotDown *m)
{
    if (m->slot >= x->slots)
        return false;
    struct lane *l = &x->lane[m->slot];
    struct attempt t = { m->stage, m->partition, m->attempt, 0 };

    if (m->life <= l->life) {
        x->d->totals.stale++;
        return true;
    }
    if (m->life != l->life + 1)
        return false;

    bool had = m->had_task && queued(l, t.stage, t.partition, t.attempt);
    l->head = l->n = 0;
    l->records = l->bytes = 0;
    l->life = m->life;
    struct err *why = proto_err(m->why);
    driver__slot_down(x->d, x, m->slot, had ? &t : NULL,
                      why ? why : err_new(ERR_LOST, "a runner ended, it is not known why"));
    return true;
}

/* What an executor said before it died stays in the sum. */
static void
on_usage(struct remote *x, uint64_t cpu_us, uint64_t memory)
{
    struct driver *d = x->d;

    if (cpu_us > x->cpu_us) {
        d->totals.cpu_us += cpu_us - x->cpu_us;
        x->cpu_us = cpu_us;
    }
    if (memory == 0)
        return;
    d->memory += memory - x->memory;
    x->memory = memory;
    if (d->memory > d->memory_most)
        d->memory_most = d->memory;
}

static bool
on_progress(struct remote *x, const Taskd__Progress *m)
{
    if (m->n_slot != m->n_records || m->n_slot != m->n_bytes)
        return false;
    for (size_t i = 0; i < m->n_slot; i++) {
        if (m->slot[i] >= x->slots)
            return false;
        struct lane *l = &x->lane[m->slot[i]];
        l->records = l->n ? m->records[i] : 0;
        l->bytes = l->n ? m->bytes[i] : 0;
    }
    on_usage(x, m->cpu_us, m->memory);
    return true;
}

/* What no other executor would do better ends the application; else it is one executor less. */
static void
on_failed(struct remote *x, const Taskd__ExecutorFailed *m)
{
    struct err *why = proto_err(m->why);

    if (!why)
        why = err_new(ERR_LOST, "an executor failed, it is not known why");
    if (why->code == ERR_ABI)
        driver__end(x->d, err_code_exit(why->code), why);
    else
        driver__drop(x, why);
}

/* False: x is no more. */
static bool
dispatch(struct remote *x, const Taskd__Item *it)
{
    struct driver *d = x->d;
    bool good = true;

    if (!x->up)
        return greet(x, it);
    if (it->app != d->app || it->epoch != x->epoch) {
        d->totals.stale++;
        return true;
    }
    switch (it->kind_case) {
    case TASKD__ITEM__KIND_DONE: good = on_done(x, it->done); break;
    case TASKD__ITEM__KIND_SLOT_DOWN: good = on_slot_down(x, it->slot_down); break;
    case TASKD__ITEM__KIND_SAID:
        d->o.say(d->o.arg, (int)it->said->level, it->said->file, it->said->line, it->said->text);
        break;
    case TASKD__ITEM__KIND_PROGRESS: good = on_progress(x, it->progress); break;
    case TASKD__ITEM__KIND_BROADCAST_HELD:
        if (it->broadcast_held->whole)
            bcast_store_held(d->bcasts, it->broadcast_held->id, x->place);
        break;
    case TASKD__ITEM__KIND_EXECUTOR_FAILED: on_failed(x, it->executor_failed); return false;
    default: good = false;
    }
    if (!good)
        driver__drop(x, err_new(ERR_CORRUPT, "executor %u on \"%s\" says what can't be", x->number, link_peer(x->link)));
    return good;
}

/* x may be no more when the link's owner comes back from this: whether it is, dispatch() has said. */
struct reading {
    struct remote *x;
    struct driver *d;
};

static bool
on_item(void *arg, const Taskd__Item *it)
{
    struct reading *r = arg;

    if (!dispatch(r->x, it))
        r->x = NULL;
    return r->x && !r->d->ended;
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct reading r = { arg, ((struct remote *)arg)->d };
    struct err *e = proto_each(p, n, &r.d->env, on_item, &r);

    if (!e)
        return;
    r.d->totals.stale++;
    driver__drop(r.x, err_wrap_take(e, "what \"%s\" says is not to be used", link_peer(r.x->link)));
}

static void
on_down(void *arg, struct err *why)
{
    driver__drop(arg, why);
}

static void
on_patience(void *arg)
{
    struct remote *x = arg;

    refuse(x, err_new(ERR_DENIED, "\"%s\" did not say who it is", link_peer(x->link)));
}

void
driver_accept(struct driver *d, struct link *link)
{
    static const struct link_handler handler = { on_envelope, on_down };
    struct remote *x = calloc(1, sizeof *x);

    if (!x)
        abort();
    x->d = d;
    x->link = link;
    x->next = d->remotes;
    d->remotes = x;
    link_handle(link, &handler, x);
    loop_timer_start(d->loop, &x->patience, loop_now(d->loop) + DRIVER_PATIENCE_MS * 1000000ull, on_patience, x);
}

void
driver__remotes_free(struct driver *d)
{
    while (d->remotes) {
        if (d->remotes->up)
            driver__stop(d->remotes, "the application is over");
        remote_free(d->remotes);
    }
    free(d->by_number);
}
