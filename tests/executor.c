/* An executor and a driver that the test plays: what it does not take from one that is broken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/executor_priv.h"
#include "unit.h"

enum { ROUNDS = 4 };

static struct {
    struct loop *loop;
    struct zygote *zygote;
    struct link *link; /* the driver's end */
    struct executor *x;
    struct loop_timer stop;
    struct buf out;
    unsigned items, ends, downs;
    unsigned words;         /* Progress */
    uint64_t cpu_us, memory; /* of the last one */
    enum err_code why;
} w;

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct arena a = { 0 };
    Taskd__Envelope *env;

    NO_ERR(proto_get(p, n, &a, &env));
    w.items += (unsigned)env->n_item;
    for (size_t i = 0; i < env->n_item; i++)
        if (env->item[i]->kind_case == TASKD__ITEM__KIND_PROGRESS) {
            w.words++;
            w.cpu_us = env->item[i]->progress->cpu_us;
            w.memory = env->item[i]->progress->memory;
        }
    arena_fini(&a);
}

static void
on_down(void *arg, struct err *why)
{
    w.downs++;
    err_free(why);
}

static void
on_end(void *arg, struct err *why)
{
    w.ends++;
    w.why = why ? why->code : ERR_NONE;
    err_free(why);
}

static void
on_stop(void *arg)
{
    loop_stop(w.loop);
}

static void
rounds(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        loop_timer_start(w.loop, &w.stop, 0, on_stop, NULL);
        NO_ERR(loop_run(w.loop));
    }
}

static const char *
runner(void)
{
    static char path[4096];
    const char *top = getenv("top_builddir");

    snprintf(path, sizeof path, "%s/taskd-runner", top ? top : ".");
    return path;
}

static void
begin(void)
{
    static const struct link_handler handler = { on_envelope, on_down };
    struct executor_opts o = { .number = 3, .slots = 2, .host = "here", .bulk = "", .dir = "/nowhere", .worker = "",
                               .scratch = "/nowhere", .module_fd = -1, .module_name = "none", .end = on_end };
    struct link *other;

    memset(&w, 0, sizeof w);
    NO_ERR(zygote_start(runner(), &w.zygote));
    NO_ERR(loop_new(&w.loop));
    NO_ERR(link_pair(w.loop, &w.link, &other));
    link_handle(w.link, &handler, NULL);
    NO_ERR(executor_attach(w.loop, w.zygote, &o, other, &w.x));
    rounds();
    EQ_U64(w.items, 2); /* Hello, ExecutorHello */
}

static void
end(void)
{
    executor_free(w.x);
    link_close(w.link);
    zygote_stop(w.zygote);
    loop_free(w.loop);
    buf_fini(&w.out);
}

static void
say(Taskd__Item *it, int kind, uint32_t epoch)
{
    it->kind_case = (Taskd__Item__KindCase)kind;
    it->app = proto_app("app-1");
    it->epoch = epoch;
    w.out.n = 0;
    proto_put(&w.out, it);
    link_send(w.link, w.out.p, w.out.n);
}

static void
say_welcome_asking(uint32_t usage)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Hello h;
    Taskd__Welcome m = TASKD__WELCOME__INIT;

    proto_hello(&h, "driver", "there");
    it.hello = &h;
    say(&it, TASKD__ITEM__KIND_HELLO, 5);
    m.app_id = "app-1";
    m.budget = 1 << 20;
    m.usage = usage;
    it.welcome = &m;
    say(&it, TASKD__ITEM__KIND_WELCOME, 5);
}

static void
say_welcome(void)
{
    say_welcome_asking(0);
}

static void
say_stage(uint32_t epoch)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Stage m = TASKD__STAGE__INIT;

    it.stage = &m;
    say(&it, TASKD__ITEM__KIND_STAGE, epoch);
}

static void
say_outputs(uint32_t map, uint32_t node, size_t n_attempts)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Outputs m = TASKD__OUTPUTS__INIT;
    uint32_t attempt[2] = { 1, 1 };

    m.map = &map;
    m.node = &node;
    m.attempt = attempt;
    m.n_map = m.n_node = 1;
    m.n_attempt = n_attempts;
    it.outputs = &m;
    say(&it, TASKD__ITEM__KIND_OUTPUTS, 5);
}

static void
say_node(uint32_t number)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Nodes m = TASKD__NODES__INIT;
    Taskd__Node n = TASKD__NODE__INIT, *v[] = { &n };

    n.node = number;
    n.host = n.dir = "x";
    m.node = v;
    m.n_node = 1;
    it.nodes = &m;
    say(&it, TASKD__ITEM__KIND_NODES, 5);
}

static void
say_launch(uint32_t slot, uint32_t stage, uint32_t life)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Launch m = TASKD__LAUNCH__INIT;

    m.slot = slot;
    m.stage = stage;
    m.life = life;
    it.launch = &m;
    say(&it, TASKD__ITEM__KIND_LAUNCH, 5);
}

/* Whatever was said last ends the executor with that code, and the driver hears it by the link. */
static void
ends_with(enum err_code code)
{
    rounds();
    EQ_U64(w.ends, 1);
    EQ_U64(w.why, code);
    end();
}

static void
stops(void)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Stop m = TASKD__STOP__INIT;

    begin();
    say_welcome();
    it.stop = &m;
    say(&it, TASKD__ITEM__KIND_STOP, 5);
    rounds();
    EQ_U64(w.downs, 1);
    ends_with(ERR_NONE);
    begin();
    link_close(w.link);
    w.link = NULL;
    ends_with(ERR_LOST);
}

static void
refused(void)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Refused m = TASKD__REFUSED__INIT;
    Taskd__Error e = TASKD__ERROR__INIT;
    Taskd__Hello h;

    begin();
    e.code = "DENIED";
    m.error = &e;
    it.refused = &m;
    say(&it, TASKD__ITEM__KIND_REFUSED, 0);
    ends_with(ERR_DENIED);
    begin();
    proto_hello(&h, "master", "there");
    it.hello = &h;
    say(&it, TASKD__ITEM__KIND_HELLO, 0);
    ends_with(ERR_DENIED);
}

/* What is of another epoch, or comes before the welcome, has no effect and is counted. */
static void
stale(void)
{
    begin();
    say_welcome();
    say_stage(4);
    rounds();
    EQ_U64(executor_stale(w.x), 1);
    EQ_U64(w.x->n_stages, 0);
    say_stage(5);
    say_launch(1, 0, 7); /* of another life of the slot */
    rounds();
    EQ_U64(w.x->n_stages, 1);
    EQ_U64(w.x->slot[1].n, 0);
    EQ_U64(w.ends, 0);
    end();
}

/* A second welcome brings other settings; one of another application is none. */
static void
settings(void)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Welcome m = TASKD__WELCOME__INIT;

    begin();
    say_welcome();
    m.app_id = "app-1";
    m.budget = 3 << 20;
    m.data_limit = 5 << 20;
    m.timeout_ns = 7;
    m.codec = "lz4";
    it.welcome = &m;
    say(&it, TASKD__ITEM__KIND_WELCOME, 5);
    rounds();
    EQ_U64(w.x->budget, 3 << 20);
    EQ_U64(w.x->data_limit, 5 << 20);
    EQ_U64(w.x->timeout_ns, 7);
    EQ_STR(w.x->codec, "lz4");
    EQ_U64(w.ends, 0);
    m.app_id = "app-2";
    say(&it, TASKD__ITEM__KIND_WELCOME, 5);
    ends_with(ERR_CORRUPT);
}

static void
out_of_bounds(void)
{
    begin();
    say_stage(5); /* before the welcome */
    ends_with(ERR_CORRUPT);
    begin();
    say_welcome();
    say_launch(0, 99, 0);
    ends_with(ERR_CORRUPT);
    begin();
    say_welcome();
    say_stage(5);
    say_launch(2, 0, 0);
    ends_with(ERR_CORRUPT);
    begin();
    say_welcome();
    say_node(UINT32_MAX);
    ends_with(ERR_CORRUPT);
    begin();
    say_welcome();
    say_outputs(0, 0, 1); /* a node that it was not told of */
    ends_with(ERR_CORRUPT);
    begin();
    say_welcome();
    say_node(0);
    say_outputs(UINT32_MAX, 0, 1);
    ends_with(ERR_CORRUPT);
    begin();
    say_welcome();
    say_node(0);
    say_outputs(0, 0, 2);
    ends_with(ERR_CORRUPT);
}

/* What it uses it tells at once, and again before an answer that is the last one it owes; unasked it tells nothing. */
static void
usage(void)
{
    struct executor__launch queue[2] = { [0].revoked = true };

    for (uint32_t asked = 0; asked < 3; asked++) {
        begin();
        say_welcome_asking(asked);
        rounds();
        EQ_U64(w.words, asked > 0);
        CU_ASSERT((w.cpu_us > 0) == (asked > 0) && (w.memory > 100000) == (asked > 1));
        w.x->slot[1].queue = queue;
        w.x->slot[1].n = 2;
        executor__say_usage(w.x);
        rounds();
        EQ_U64(w.words, asked > 0); /* slot 1 owes one */
        w.x->slot[1].n = 1;
        uint64_t before = w.cpu_us;
        executor__say_usage(w.x);
        rounds();
        EQ_U64(w.words, asked ? 2 : 0);
        CU_ASSERT(w.cpu_us >= before);
        w.x->slot[1].queue = NULL;
        w.x->slot[1].n = 0;
        end();
    }
}

/* Outputs that are told again replace; attempt 0 is none. */
static void
outputs(void)
{
    begin();
    say_welcome();
    say_node(1);
    say_outputs(3, 1, 1);
    rounds();
    CU_ASSERT(executor__output_of(w.x, 0, 2) == NULL);
    CU_ASSERT(executor__output_of(w.x, 1, 3) == NULL);
    const struct executor__output *o = executor__output_of(w.x, 0, 3);
    CU_ASSERT_FATAL(o != NULL);
    EQ_U64(o->attempt_1, 1);
    EQ_U64(o->node, 1);
    EQ_U64(w.ends, 0);
    end();
}

static void
damaged(void)
{
    uint64_t seed = 3;

    begin();
    for (int i = 0; i < 3000; i++) {
        struct buf b = { 0 };

        w.out.n = 0;
        if (w.x->ended) {
            end();
            begin();
        }
        if (i % 8 == 0 && !w.x->welcome)
            say_welcome();
        say_outputs(2, 0, 1);
        buf_put(&b, w.out.p, w.out.n);
        say_node(0);
        buf_put(&b, w.out.p, w.out.n);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        b.p[(seed >> 33) % b.n] ^= (char)(1 << (seed >> 20) % 8);
        link_send(w.link, b.p, (seed >> 45) % 4 ? b.n : (seed >> 33) % b.n);
        rounds();
        buf_fini(&b);
        if (i > 40 && w.ends) /* a zygote each time is slow: forty are enough */
            i += 100;
    }
    end();
}

static const struct unit_test tests[] = {
    { "executor.stops", stops },
    { "executor.refused", refused },
    { "executor.stale", stale },
    { "executor.settings", settings },
    { "executor.out_of_bounds", out_of_bounds },
    { "executor.usage", usage },
    { "executor.outputs", outputs },
    { "executor.damaged", damaged },
    UNIT_END
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "executor", tests);
}
