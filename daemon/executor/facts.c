/* facts -- what the driver is told. */
#include <unistd.h>

#include "base/clock.h"
#include "base/usage.h"
#include "executor/executor_priv.h"
#include "flow/module.h"
#include "taskd.h"

static void
send(struct executor *x, Taskd__Item *it)
{
    if (x->ended)
        return;
    it->app = x->app;
    it->epoch = x->epoch;
    x->out.n = 0;
    proto_put(&x->out, it);
    link_send(x->link, x->out.p, x->out.n);
}

void
executor__hello(struct executor *x)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Hello h;
    Taskd__ExecutorHello eh = TASKD__EXECUTOR_HELLO__INIT;

    proto_hello(&h, "executor", x->o.host);
    h.token = PROTO_BYTES(x->o.secret, EXECUTOR_SECRET);
    it.kind_case = TASKD__ITEM__KIND_HELLO;
    it.hello = &h;
    send(x, &it);
    eh.executor = x->o.number;
    eh.slots = x->o.slots;
    eh.host = (char *)x->o.host;
    eh.bulk = (char *)x->o.bulk;
    eh.dir = (char *)x->o.dir;
    eh.worker = (char *)x->o.worker;
    it.kind_case = TASKD__ITEM__KIND_EXECUTOR_HELLO;
    it.executor_hello = &eh;
    send(x, &it);
}

void
executor__say_done(struct executor *x, unsigned slot, const void *p, size_t n)
{
    if (x->ended)
        return;
    x->out.n = 0;
    proto_put_done(&x->out, x->app, x->epoch, slot, p, n);
    link_send(x->link, x->out.p, x->out.n);
}

void
executor__say_down(struct executor *x, unsigned slot, const struct wire_task *t, struct err *why)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__SlotDown m = TASKD__SLOT_DOWN__INIT;
    Taskd__Error e;

    executor__say_usage(x);
    arena_reset(&x->call);
    proto_of_err(why, &x->call, &e);
    m.slot = slot;
    m.why = &e;
    if (t) {
        m.had_task = true;
        m.stage = t->stage;
        m.partition = t->partition;
        m.attempt = t->attempt;
    }
    it.kind_case = TASKD__ITEM__KIND_SLOT_DOWN;
    it.slot_down = &m;
    m.life = ++x->slot[slot].life;
    send(x, &it);
    err_free(why);
}

void
executor__say_log(struct executor *x, unsigned slot, int level, const char *file, uint32_t line, const char *text)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Said m = TASKD__SAID__INIT;
    const struct executor__launch *t = executor__running(&x->slot[slot]);

    m.level = (uint32_t)level;
    m.file = (char *)file;
    m.line = line;
    m.text = (char *)text;
    if (t) {
        m.stage = t->task.stage;
        m.partition = t->task.partition;
        m.attempt = t->task.attempt;
    }
    it.kind_case = TASKD__ITEM__KIND_SAID;
    it.said = &m;
    send(x, &it);
}

void
executor__say_failed(struct executor *x, struct err *take)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__ExecutorFailed m = TASKD__EXECUTOR_FAILED__INIT;
    Taskd__Error e;

    arena_reset(&x->call);
    proto_of_err(take, &x->call, &e);
    m.why = &e;
    it.kind_case = TASKD__ITEM__KIND_EXECUTOR_FAILED;
    it.executor_failed = &m;
    send(x, &it);
    err_free(take);
}

void
executor__say_held(struct executor *x, uint32_t broadcast)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__BroadcastHeld m = TASKD__BROADCAST_HELD__INIT;

    m.id = broadcast;
    m.whole = true;
    it.kind_case = TASKD__ITEM__KIND_BROADCAST_HELD;
    it.broadcast_held = &m;
    send(x, &it);
}

/* ---- what was used */

static void
sample(struct executor *x)
{
    uint64_t began = clock_mono_ns(), sum = usage_memory(getpid());
    pid_t zygote = zygote_pid(x->zygote);

    sum += zygote ? usage_memory(zygote) : 0;
    for (unsigned i = 0; i < x->o.slots; i++)
        sum += runners_pid(x->runners, i) ? usage_memory(runners_pid(x->runners, i)) : 0;
    if (sum > x->usage.most)
        x->usage.most = sum;
    uint64_t now = clock_mono_ns(), pause = (now - began) * EXECUTOR_SAMPLE_SHARE;
    if (pause < EXECUTOR_SAMPLE_MS * 1000000ull)
        pause = EXECUTOR_SAMPLE_MS * 1000000ull;
    x->usage.due_ns = now + pause;
}

static void
on_sample(void *arg)
{
    struct executor *x = arg;

    sample(x);
    loop_timer_start(x->loop, &x->usage.sample, x->usage.due_ns, on_sample, x);
}

/* It never goes down: a runner's own clock may have been ahead of what is counted of it when it has ended. */
static uint64_t
cpu_us(struct executor *x)
{
    pid_t zygote = zygote_pid(x->zygote);
    uint64_t ns = usage_own_cpu_ns() + (zygote ? usage_cpu_ns(zygote) : 0);

    for (unsigned i = 0; i < x->o.slots; i++)
        ns += runners_pid(x->runners, i) ? usage_cpu_ns(runners_pid(x->runners, i)) : 0;
    if (ns / 1000 > x->usage.cpu_us)
        x->usage.cpu_us = ns / 1000;
    return x->usage.cpu_us;
}

static void
say_progress(struct executor *x, Taskd__Progress *m)
{
    Taskd__Item it = TASKD__ITEM__INIT;

    if (x->usage.cpu)
        m->cpu_us = cpu_us(x);
    m->memory = x->usage.most;
    x->usage.most = 0;
    it.kind_case = TASKD__ITEM__KIND_PROGRESS;
    it.progress = m;
    send(x, &it);
}

/* Does the driver wait for an answer?  What was revoked has had it. */
static bool
owes(const struct executor__slot *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (!s->queue[s->head + i].revoked)
            return true;
    return false;
}

void
executor__say_usage(struct executor *x)
{
    Taskd__Progress m = TASKD__PROGRESS__INIT;

    if (!x->usage.cpu)
        return;
    for (unsigned i = 0; i < x->o.slots; i++)
        if (owes(&x->slot[i]))
            return;
    if (x->usage.memory && clock_mono_ns() >= x->usage.due_ns)
        sample(x);
    say_progress(x, &m);
}

/* ---- progress */

static void
on_progress(void *arg)
{
    struct executor *x = arg;
    Taskd__Progress m = TASKD__PROGRESS__INIT;

    arena_reset(&x->call);
    m.slot = ARENA_ARRAY(&x->call, uint32_t, x->o.slots);
    m.records = ARENA_ARRAY(&x->call, uint64_t, x->o.slots);
    m.bytes = ARENA_ARRAY(&x->call, uint64_t, x->o.slots);
    for (unsigned i = 0; i < x->o.slots; i++) {
        struct recorder r;

        if (x->slot[i].n == 0)
            continue;
        runners_look(x->runners, i, &r);
        m.slot[m.n_slot++] = i;
        m.records[m.n_records++] = r.task.records;
        m.bytes[m.n_bytes++] = r.task.bytes;
    }
    if (m.n_slot == 0) { /* until the next launch */
        executor__progress_stop(x);
        return;
    }
    say_progress(x, &m);
    executor__progress_start(x);
}

void
executor__progress_start(struct executor *x)
{
    if (x->ended)
        return;
    loop_timer_start(x->loop, &x->progress, loop_now(x->loop) + EXECUTOR_PROGRESS_MS * 1000000ull, on_progress, x);
    if (x->usage.memory && !x->usage.sample.slot)
        loop_timer_start(x->loop, &x->usage.sample, loop_now(x->loop) + EXECUTOR_SAMPLE_MS * 1000000ull, on_sample, x);
}

void
executor__progress_stop(struct executor *x)
{
    loop_timer_stop(x->loop, &x->progress);
    loop_timer_stop(x->loop, &x->usage.sample);
}
