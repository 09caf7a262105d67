/*
 * bench/sim_worker MASTER-ADDRESS EXECUTORS -- a worker with so many cores, whose executors are simulated: each dials
 * its driver as a real one does and answers every launch at once with an empty success.  What is left to measure is
 * the master and the driver.
 *
 *   taskd master --port 7077 & bench/sim_worker 127.0.0.1:7077 1000 &
 *   taskd-submit --master taskd://127.0.0.1:7077 --executor-cores 1 tasks.so 1000000
 *
 * Nothing is computed: a job's result is meant to be wrong.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/identity.h"
#include "flow/wire.h"
#include "net/loop.h"
#include "proto/proto.h"
#include "rpc/rpc.h"

struct sim {
    struct loop *loop;
    struct rpc *rpc;
    struct link *master;
    struct executor *executors;
    struct buf out;
    struct arena a;
    uint32_t epoch, live, cores;
    uint64_t tasks;
};
struct executor {
    struct sim *sim;
    struct link *link;
    char *app_id;
    uint32_t number, slots, epoch;
    uint64_t app;
    struct buf out, done;
    struct arena a;
    struct executor *next;
};

static void
fail(struct err *e)
{
    if (!e)
        return;
    char *s = err_text(e);
    fprintf(stderr, "bench/sim_worker: %s\n", s);
    exit(1);
}

/* ---- executors */

static void
answer(struct executor *x, const Taskd__Launch *m)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Done d = TASKD__DONE__INIT;
    struct wire_done w = { .task = { m->stage, m->partition, m->attempt, x->epoch, m->generation, m->flags },
                           .lost_stage = UINT32_MAX, .took_ns = 1000 };

    x->done.n = 0;
    wire_put_done(&x->done, &w);
    d.slot = m->slot;
    d.done = PROTO_BYTES(x->done.p, x->done.n);
    it.app = x->app;
    it.epoch = x->epoch;
    it.kind_case = TASKD__ITEM__KIND_DONE;
    it.done = &d;
    proto_put(&x->out, &it);
    x->sim->tasks++;
}

static void
on_driver(void *arg, const void *p, size_t n)
{
    struct executor *x = arg;
    Taskd__Envelope *e;

    arena_reset(&x->a);
    x->out.n = 0;
    fail(proto_get(p, n, &x->a, &e));
    for (size_t i = 0; i < e->n_item; i++) {
        const Taskd__Item *it = e->item[i];

        if (it->kind_case == TASKD__ITEM__KIND_WELCOME) {
            x->app = it->app;
            x->epoch = it->epoch;
        } else if (it->kind_case == TASKD__ITEM__KIND_LAUNCH) {
            answer(x, it->launch);
        } else if (it->kind_case == TASKD__ITEM__KIND_REFUSED) {
            fail(proto_err(it->refused->error));
        }
    }
    if (x->out.n)
        link_send(x->link, x->out.p, x->out.n);
}

static void
say_child(struct sim *s, const char *app_id, uint32_t number, Taskd__ChildPhase phase, uint32_t cores)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__ChildState c = TASKD__CHILD_STATE__INIT;

    c.app_id = (char *)app_id;
    c.executor = number;
    c.phase = phase;
    c.cores = cores;
    it.epoch = s->epoch;
    it.kind_case = TASKD__ITEM__KIND_CHILD_STATE;
    it.child_state = &c;
    s->out.n = 0;
    proto_put(&s->out, &it);
    link_send(s->master, s->out.p, s->out.n);
}

static void
end(struct executor *x)
{
    struct executor **at = &x->sim->executors;

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    say_child(x->sim, x->app_id, x->number, TASKD__CHILD_PHASE__ENDED, x->slots);
    if (--x->sim->live == 0)
        fprintf(stderr, "bench/sim_worker: %llu tasks answered so far\n", (unsigned long long)x->sim->tasks);
    link_close(x->link);
    free(x->app_id);
    buf_fini(&x->out);
    buf_fini(&x->done);
    arena_fini(&x->a);
    free(x);
}

static void
on_driver_down(void *arg, struct err *why)
{
    err_free(why);
    end(arg);
}

static void
start(struct sim *s, const Taskd__StartExecutor *m)
{
    static const struct link_handler h = { on_driver, on_driver_down };
    struct executor *x = calloc(1, sizeof *x);
    struct rpc_dial_opts o = { .address = m->driver };
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Hello hello;
    Taskd__ExecutorHello eh = TASKD__EXECUTOR_HELLO__INIT;

    *x = (struct executor){ .sim = s, .app_id = strdup(m->app_id), .number = m->executor, .slots = m->cores,
                            .next = s->executors };
    s->executors = x;
    s->live++;
    fail(rpc_dial(s->rpc, &o, &x->link));
    link_handle(x->link, &h, x);
    proto_hello(&hello, "executor", "127.0.0.1");
    hello.token = m->secret;
    it.kind_case = TASKD__ITEM__KIND_HELLO;
    it.hello = &hello;
    proto_put(&x->out, &it);
    eh.executor = m->executor;
    eh.slots = m->cores;
    eh.host = (char *)"127.0.0.1";
    eh.dir = (char *)"/nonexistent";
    it.kind_case = TASKD__ITEM__KIND_EXECUTOR_HELLO;
    it.executor_hello = &eh;
    proto_put(&x->out, &it);
    link_send(x->link, x->out.p, x->out.n);
    say_child(s, m->app_id, m->executor, TASKD__CHILD_PHASE__RUNNING, m->cores);
}

/* ---- the worker */

static void
on_master(void *arg, const void *p, size_t n)
{
    struct sim *s = arg;
    Taskd__Envelope *e;

    arena_reset(&s->a);
    fail(proto_get(p, n, &s->a, &e));
    for (size_t i = 0; i < e->n_item; i++) {
        const Taskd__Item *it = e->item[i];

        if (it->kind_case == TASKD__ITEM__KIND_WORKER_WELCOME)
            s->epoch = it->epoch;
        else if (it->kind_case == TASKD__ITEM__KIND_START_EXECUTOR)
            start(s, it->start_executor);
        else if (it->kind_case == TASKD__ITEM__KIND_STOP_CHILD)
            for (struct executor *x = s->executors, *next; x; x = next) {
                next = x->next;
                if (x->number == it->stop_child->executor)
                    end(x);
            }
        else if (it->kind_case == TASKD__ITEM__KIND_REFUSED)
            fail(proto_err(it->refused->error));
    }
}

static void
on_master_down(void *arg, struct err *why)
{
    fail(why);
}

static void
on_signal(void *arg, int signo)
{
    loop_stop(((struct sim *)arg)->loop);
}

int
main(int argc, char **argv)
{
    static const struct link_handler h = { on_master, on_master_down };
    struct sim s = { .cores = argc == 3 ? (uint32_t)atoi(argv[2]) : 0 };
    struct identity id;
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Hello hello;
    Taskd__WorkerHello w = TASKD__WORKER_HELLO__INIT;
    struct arena a = { 0 };

    if (s.cores == 0) {
        fprintf(stderr, "usage: bench/sim_worker MASTER-ADDRESS EXECUTORS\n");
        return 2;
    }
    struct conf *c = conf_new();

    fail(conf_load(c, NULL, environ));
    fail(identity_load(c, &a, &id));
    fail(loop_new(&s.loop));
    fail(loop_signal(s.loop, SIGTERM, on_signal, &s));
    fail(rpc_new(s.loop, &s.rpc));
    struct rpc_dial_opts o = { .address = argv[1] };
    fail(rpc_dial(s.rpc, &o, &s.master));
    link_handle(s.master, &h, &s);
    proto_hello(&hello, "worker", "127.0.0.1");
    hello.token = PROTO_BYTES(id.token, id.token_n);
    it.kind_case = TASKD__ITEM__KIND_HELLO;
    it.hello = &hello;
    proto_put(&s.out, &it);
    w.worker = (char *)"sim";
    w.host = (char *)"127.0.0.1";
    w.cores = s.cores;
    w.memory = UINT64_C(1) << 50;
    it.kind_case = TASKD__ITEM__KIND_WORKER_HELLO;
    it.worker_hello = &w;
    proto_put(&s.out, &it);
    link_send(s.master, s.out.p, s.out.n);
    fail(loop_run(s.loop));
    return 0;
}
