/* What executors may say to a driver that has a job for them.  The input is an envelope; its items get the application's
 * number and the executor's epoch (unless theirs is odd), as they would never get past the fence otherwise, and so do
 * the answers in them. */
#include <stdlib.h>
#include <string.h>

#include "driver/driver_priv.h"

enum { ROUNDS = 3, SLOTS = 2 };

static struct loop *loop;
static struct loop_timer stop;
static uint32_t epoch;

static void
must(struct err *e)
{
    if (e)
        abort();
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct arena a = { 0 };
    Taskd__Envelope *env;

    must(proto_get(p, n, &a, &env));
    for (size_t i = 0; i < env->n_item; i++)
        if (env->item[i]->kind_case == TASKD__ITEM__KIND_WELCOME)
            epoch = env->item[i]->epoch;
    arena_fini(&a);
}

static void
on_down(void *arg, struct err *why)
{
    err_free(why);
}

static void
on_say(void *arg, int level, const char *file, uint32_t line, const char *text)
{
}

static void
on_lost(void *arg, uint32_t executor, struct err *why)
{
    err_free(why);
}

static void
on_end(void *arg, int status, struct err *e)
{
    err_free(e);
}

static void
on_stop(void *arg)
{
    loop_stop(loop);
}

static void
rounds(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        loop_timer_start(loop, &stop, 0, on_stop, NULL);
        must(loop_run(loop));
    }
}

static void
submit(struct driver *d)
{
    struct plan_schema u64 = { PLAN_U64, 0 };
    uint32_t in[] = { 0 };
    struct plan_node nodes[] = {
        { .id = 0, .op = PLAN_RANGE, .out = u64, .fn = PLAN_NO_FN, .hi = 100, .partitions = 3, .file = "job.c" },
        { .id = 1, .op = PLAN_FOLD, .fold = PLAN_FOLD_DISTINCT, .out = u64, .in = u64, .fn = PLAN_NO_FN, .n_in = 1,
          .in_ids = in, .partitions = 2, .file = "job.c" },
    };
    struct plan_graph g = { 2, nodes };
    struct plan_action a = { .act = PLAN_COLLECT, .node = 1, .fn = PLAN_NO_FN, .file = "job.c" };
    struct buf b = { 0 };

    plan_graph_encode(&g, &b);
    plan_action_encode(&a, &b);
    struct frame f = { .type = WIRE_ACT, .id = 1, .p = b.p, .n = b.n };
    driver__main_frame(d, &f);
    buf_fini(&b);
}

static void
say(struct link *l, struct buf *out, Taskd__Item *it)
{
    out->n = 0;
    proto_put(out, it);
    link_send(l, out->p, out->n);
}

static void
attach(struct link *l, struct buf *out)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Hello h;
    Taskd__ExecutorHello eh = TASKD__EXECUTOR_HELLO__INIT;
    unsigned char secret[DRIVER_SECRET] = { 0 };

    proto_hello(&h, "executor", "here");
    h.token = PROTO_BYTES(secret, sizeof secret);
    it.kind_case = TASKD__ITEM__KIND_HELLO;
    it.hello = &h;
    say(l, out, &it);
    eh.slots = SLOTS;
    eh.host = eh.dir = eh.worker = "x";
    it.kind_case = TASKD__ITEM__KIND_EXECUTOR_HELLO;
    it.executor_hello = &eh;
    say(l, out, &it);
}

static void
through_the_fence(Taskd__Item *it, uint64_t app)
{
    if (it->epoch & 1)
        return;
    it->app = app;
    it->epoch = epoch;
    if (it->kind_case == TASKD__ITEM__KIND_DONE && it->done->done.len >= sizeof(struct wire_task)) {
        struct wire_task t;

        memcpy(&t, it->done->done.data, sizeof t);
        t.epoch = epoch;
        memcpy(it->done->done.data, &t, sizeof t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct link_handler handler = { on_envelope, on_down };
    static struct conf *conf;
    struct driver_opts o = { .host = "here", .dir = "/nowhere", .bulk = "", .scratch = "", .memory = 1 << 20, .say = on_say,
                             .lost = on_lost, .end = on_end };
    struct arena a = { 0 };
    struct buf out = { 0 };
    struct link *here, *there;
    struct driver *d;
    Taskd__Envelope *env;
    struct err *e = proto_get(data, size, &a, &env);

    if (e) {
        err_free(e);
        arena_fini(&a);
        return 0;
    }
    o.conf = conf = conf ? conf : conf_new();
    must(loop_new(&loop));
    must(driver_new(loop, NULL, &o, &d));
    driver__begin(d, "app", SLOTS);
    must(link_pair(loop, &here, &there));
    link_handle(here, &handler, NULL);
    driver_accept(d, there);
    attach(here, &out);
    submit(d);
    rounds();
    for (size_t i = 0; i < env->n_item; i++) {
        through_the_fence(env->item[i], d->app);
        say(here, &out, env->item[i]);
        rounds();
    }
    driver_free(d);
    link_close(here);
    loop_free(loop);
    buf_fini(&out);
    arena_fini(&a);
    return 0;
}
