/* A driver and executors that the test plays: what it tells them, what it believes, what it refuses.  The job is
 * range -> distinct -> count: maps and reduces. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/driver_priv.h"
#include "unit.h"

enum { LAUNCHES = 256, MAPS = 4, REDUCES = 2, ROUNDS = 8 };

struct fake { /* an executor */
    struct link *link;
    struct buf out;
    uint64_t app;
    uint32_t epoch, number, usage;
    unsigned welcomes, refusals, downs, stages, n_launches, n_removed, stops;
    Taskd__Launch launch[LAUNCHES]; /* without pieces */
    uint32_t output[MAPS], node[MAPS], nodes; /* of stage 0, as told last: attempt + 1 */
    unsigned outputs_before;   /* launches when it was told of outputs first */
    char why[256];
};
static struct {
    struct loop *loop;
    struct conf *conf;
    struct driver *d;
    struct loop_timer stop;
    unsigned ups, losses, ends;
    enum err_code lost_code;
} w;

/* ---- the executor's side */

static void
take(struct fake *f, const Taskd__Item *it)
{
    switch (it->kind_case) {
    case TASKD__ITEM__KIND_WELCOME:
        f->welcomes++;
        f->app = it->app;
        f->epoch = it->epoch;
        f->usage = it->welcome->usage;
        break;
    case TASKD__ITEM__KIND_REFUSED:
        f->refusals++;
        snprintf(f->why, sizeof f->why, "%s", it->refused->error->say[0]);
        break;
    case TASKD__ITEM__KIND_STAGE: f->stages++; break;
    case TASKD__ITEM__KIND_NODES: f->nodes += (unsigned)it->nodes->n_node; break;
    case TASKD__ITEM__KIND_OUTPUTS:
        if (!f->outputs_before)
            f->outputs_before = f->n_launches + 1;
        for (size_t i = 0; i < it->outputs->n_map; i++) {
            CU_ASSERT_FATAL(it->outputs->map[i] < MAPS);
            f->output[it->outputs->map[i]] = it->outputs->attempt[i];
            f->node[it->outputs->map[i]] = it->outputs->node[i];
        }
        break;
    case TASKD__ITEM__KIND_LAUNCH:
        CU_ASSERT_FATAL(f->n_launches < LAUNCHES);
        EQ_U64(it->epoch, f->epoch);
        f->launch[f->n_launches++] = *it->launch;
        break;
    case TASKD__ITEM__KIND_REMOVE: f->n_removed++; break;
    case TASKD__ITEM__KIND_STOP: f->stops++; break;
    default: break;
    }
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct arena a = { 0 };
    Taskd__Envelope *env;

    NO_ERR(proto_get(p, n, &a, &env));
    for (size_t i = 0; i < env->n_item; i++)
        take(arg, env->item[i]);
    arena_fini(&a);
}

static void
on_down(void *arg, struct err *why)
{
    ((struct fake *)arg)->downs++;
    err_free(why);
}

static void
say(struct fake *f, Taskd__Item *it)
{
    it->app = f->app;
    it->epoch = f->epoch;
    f->out.n = 0;
    proto_put(&f->out, it);
    link_send(f->link, f->out.p, f->out.n);
}

static void
dial(struct fake *f)
{
    static const struct link_handler handler = { on_envelope, on_down };
    struct link *other;

    NO_ERR(link_pair(w.loop, &f->link, &other));
    link_handle(f->link, &handler, f);
    driver_accept(w.d, other);
}

static void
say_hello(struct fake *f, unsigned char secret, uint32_t protocol)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Hello h;
    unsigned char token[DRIVER_SECRET];

    memset(token, secret, sizeof token);
    proto_hello(&h, "executor", "here");
    h.protocol += protocol;
    h.token = PROTO_BYTES(token, sizeof token);
    it.kind_case = TASKD__ITEM__KIND_HELLO;
    it.hello = &h;
    say(f, &it);
}

static void
say_executor(struct fake *f, uint32_t number, uint32_t slots, const char *worker)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__ExecutorHello h = TASKD__EXECUTOR_HELLO__INIT;

    f->number = number;
    h.executor = number;
    h.slots = slots;
    h.host = "here";
    h.dir = "/nowhere";
    h.worker = (char *)worker;
    it.kind_case = TASKD__ITEM__KIND_EXECUTOR_HELLO;
    it.executor_hello = &h;
    say(f, &it);
}

/* Answers launch number i of f. */
static void
answer(struct fake *f, unsigned i, struct err *e, uint32_t lost_map)
{
    const Taskd__Launch *l = &f->launch[i];
    struct wire_done d = { .task = { l->stage, l->partition, l->attempt, f->epoch, l->generation, l->flags },
                           .err = e, .lost_stage = lost_map == UINT32_MAX ? UINT32_MAX : 0, .lost_map = lost_map,
                           .result = { .out_rows = 1, .digest = 7 } };
    struct buf b = { 0 };

    wire_put_done(&b, &d);
    f->out.n = 0;
    proto_put_done(&f->out, f->app, f->epoch, l->slot, b.p, b.n);
    link_send(f->link, f->out.p, f->out.n);
    buf_fini(&b);
    err_free(e);
}

/* ---- the driver's owner */

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

static void
on_say(void *arg, int level, const char *file, uint32_t line, const char *text)
{
}

static void
on_up(void *arg, uint32_t executor, unsigned slots)
{
    w.ups++;
}

static void
on_lost(void *arg, uint32_t executor, struct err *why)
{
    w.losses++;
    w.lost_code = why->code;
    err_free(why);
}

static void
on_end(void *arg, int status, struct err *e)
{
    w.ends++;
    err_free(e);
}

static void
begin(void)
{
    struct driver_opts o = { .host = "here", .dir = "/nowhere", .bulk = "", .scratch = "", .memory = 1 << 20, .say = on_say,
                             .up = on_up, .lost = on_lost, .end = on_end };

    memset(&w, 0, sizeof w);
    memset(o.secret, 's', sizeof o.secret);
    w.conf = o.conf = conf_new();
    NO_ERR(loop_new(&w.loop));
    NO_ERR(driver_new(w.loop, NULL, &o, &w.d));
    driver__begin(w.d, "app-1", 2);
}

static void
end(struct fake *f, unsigned n)
{
    driver_free(w.d);
    for (unsigned i = 0; i < n; i++) {
        link_close(f[i].link);
        buf_fini(&f[i].out);
    }
    loop_free(w.loop);
    conf_free(w.conf);
}

static void
attach(struct fake *f, uint32_t number, uint32_t slots, const char *worker)
{
    dial(f);
    say_hello(f, 's', 0);
    say_executor(f, number, slots, worker);
    rounds();
    EQ_U64(f->welcomes, 1);
}

/* What a main would send for it. */
static void
submit(void)
{
    struct plan_schema u64 = { PLAN_U64, 0 };
    uint32_t in[] = { 0 };
    struct plan_node nodes[] = {
        { .id = 0, .op = PLAN_RANGE, .out = u64, .fn = PLAN_NO_FN, .hi = 100, .partitions = MAPS, .file = "job.c" },
        { .id = 1, .op = PLAN_FOLD, .fold = PLAN_FOLD_DISTINCT, .out = u64, .in = u64, .fn = PLAN_NO_FN, .n_in = 1,
          .in_ids = in, .partitions = REDUCES, .file = "job.c" },
    };
    struct plan_graph g = { 2, nodes };
    struct plan_action a = { .act = PLAN_COUNT, .node = 1, .fn = PLAN_NO_FN, .file = "job.c" };
    struct buf b = { 0 };

    plan_graph_encode(&g, &b);
    plan_action_encode(&a, &b);
    struct frame f = { .type = WIRE_ACT, .id = 1, .p = b.p, .n = b.n };
    driver__main_frame(w.d, &f);
    buf_fini(&b);
    CU_ASSERT(w.d->job.active);
    rounds();
}

/* Answers all launches from *at on, of one stage. */
static void
answer_all(struct fake *f, unsigned *at, uint32_t stage)
{
    while (*at < f->n_launches && f->launch[*at].stage == stage) {
        answer(f, (*at)++, NULL, UINT32_MAX);
        rounds();
    }
}

/* ---- tests */

static void
strangers(void)
{
    struct fake f[5] = { 0 };
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Progress p = TASKD__PROGRESS__INIT;

    begin();
    for (int i = 0; i < 5; i++)
        dial(&f[i]);
    say_hello(&f[0], 'x', 0);
    say_hello(&f[1], 's', 1);
    it.kind_case = TASKD__ITEM__KIND_PROGRESS;
    it.progress = &p;
    say(&f[2], &it);
    say_hello(&f[3], 's', 0);
    say_executor(&f[3], 1, 1u << 30, "");
    link_send(f[4].link, "\xff\xff\xff", 3);
    rounds();
    for (int i = 0; i < 5; i++) {
        EQ_U64(f[i].welcomes, 0);
        EQ_U64(f[i].downs, 1);
        EQ_U64(f[i].refusals, i < 4);
    }
    CU_ASSERT(strstr(f[0].why, "secret") != NULL);
    CU_ASSERT(strstr(f[1].why, "protocol") != NULL);
    EQ_U64(w.d->totals.stale, 5);
    EQ_U64(w.ups + w.losses, 0);
    end(f, 5);
}

static void
say_usage(struct fake *f, uint64_t cpu_us, uint64_t memory)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Progress p = TASKD__PROGRESS__INIT;

    p.cpu_us = cpu_us;
    p.memory = memory;
    it.kind_case = TASKD__ITEM__KIND_PROGRESS;
    it.progress = &p;
    say(f, &it);
    rounds();
}

/* CPU is a sum that outlives who used it, memory the largest sum of what was said last by those who live. */
static void
usage(void)
{
    struct fake f[3] = { 0 };
    struct driver_totals t;

    begin();
    w.d->o.usage = DRIVER_USAGE_MEMORY;
    for (uint32_t i = 0; i < 2; i++) {
        attach(&f[i], i + 1, 1, "");
        EQ_U64(f[i].usage, 2);
    }
    say_usage(&f[0], 100, 1000);
    say_usage(&f[1], 40, 500);
    say_usage(&f[0], 130, 700);
    say_usage(&f[0], 120, 0); /* later, and not looked at */
    driver_totals(w.d, &t);
    EQ_U64(t.cpu_us, 170);
    EQ_U64(driver_executors_memory(w.d), 1500);
    EQ_U64(driver_executors_memory(w.d), 1200);
    link_close(f[1].link);
    f[1].link = NULL;
    rounds();
    EQ_U64(w.losses, 1);
    driver_totals(w.d, &t);
    EQ_U64(t.cpu_us, 170);
    EQ_U64(driver_executors_memory(w.d), 1200);
    EQ_U64(driver_executors_memory(w.d), 700);
    attach(&f[2], 2, 1, ""); /* the same number again: it begins at 0 */
    say_usage(&f[2], 10, 300);
    driver_totals(w.d, &t);
    EQ_U64(t.cpu_us, 180);
    EQ_U64(driver_executors_memory(w.d), 1000);
    EQ_U64(t.stale, 0);
    end(f, 3);
}

static void
whole_job(void)
{
    struct fake f[1] = { 0 };
    unsigned at = 0;

    begin();
    attach(f, 1, 2, "");
    submit();
    answer_all(f, &at, 0);
    EQ_U64(at, MAPS);
    EQ_U64(f->outputs_before, MAPS + 1); /* before the first launch of the reduces */
    EQ_U64(f->nodes, 2);                 /* the driver's own, and this one */
    for (int m = 0; m < MAPS; m++) {
        EQ_U64(f->output[m], 1);
        EQ_U64(f->node[m], 1);
    }
    answer_all(f, &at, 1);
    EQ_U64(at, MAPS + REDUCES);
    EQ_U64(f->stages, 2);
    CU_ASSERT(!w.d->job.active);
    EQ_U64(w.d->totals.stale, 0);
    driver_cancel(w.d, 1);
    end(f, 1);
    EQ_U64(w.ends, 1);
}

/* Answers twice, of another epoch, of nothing that was launched: refused and counted, the job goes on. */
static void
stale(void)
{
    struct fake f[1] = { 0 };
    unsigned at = 0;

    begin();
    attach(f, 1, 2, "");
    submit();
    answer(f, 0, NULL, UINT32_MAX);
    answer(f, 0, NULL, UINT32_MAX);
    rounds();
    EQ_U64(w.d->totals.stale, 1);
    f->epoch++;
    answer(f, 1, NULL, UINT32_MAX);
    f->epoch--;
    f->app++;
    answer(f, 1, NULL, UINT32_MAX);
    f->app--;
    rounds();
    EQ_U64(w.d->totals.stale, 3);
    f->launch[1].attempt = 77;
    answer(f, 1, NULL, UINT32_MAX);
    rounds();
    EQ_U64(w.d->totals.stale, 4);
    f->launch[1].attempt = 0;
    at = 1;
    answer_all(f, &at, 0);
    answer_all(f, &at, 1);
    CU_ASSERT(!w.d->job.active);
    EQ_U64(w.losses, 0);
    end(f, 1);
}

static void
say_down(struct fake *f, uint32_t slot, uint32_t life)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__SlotDown m = TASKD__SLOT_DOWN__INIT;

    m.slot = slot;
    m.life = life;
    it.kind_case = TASKD__ITEM__KIND_SLOT_DOWN;
    it.slot_down = &m;
    say(f, &it);
    rounds();
}

/* The death of a runner, told twice, is one: launches are for the slot as the executor has it. */
static void
down_twice(void)
{
    struct fake f[1] = { 0 };
    unsigned at;

    begin();
    attach(f, 1, 1, "");
    submit();
    at = f->n_launches;
    say_down(f, 0, 1);
    say_down(f, 0, 1);
    EQ_U64(w.d->totals.stale, 1);
    CU_ASSERT_FATAL(f->n_launches > at);
    for (unsigned i = at; i < f->n_launches; i++)
        EQ_U64(f->launch[i].life, 1);
    answer_all(f, &at, 0);
    answer_all(f, &at, 1);
    CU_ASSERT(!w.d->job.active);
    EQ_U64(w.losses, 0);
    say_down(f, 0, 3); /* the second one is lost */
    EQ_U64(w.losses, 1);
    EQ_U64(w.lost_code, ERR_CORRUPT);
    end(f, 1);
}

/* What can't be said by an executor of ours ends it, and nothing else. */
static void
impossible(void)
{
    struct fake f[2] = { 0 };
    unsigned at = 0;

    begin();
    attach(&f[0], 1, 2, "");
    submit();
    f[0].launch[0].slot = 9;
    answer(&f[0], 0, NULL, UINT32_MAX);
    rounds();
    EQ_U64(f[0].downs, 1);
    EQ_U64(w.losses, 1);
    EQ_U64(w.lost_code, ERR_CORRUPT);
    attach(&f[1], 2, 2, "");
    answer_all(&f[1], &at, 0);
    answer_all(&f[1], &at, 1);
    CU_ASSERT(!w.d->job.active);
    end(f, 2);
}

/* The same number again: the one before is gone with all it ran, and what it still says is nobody's. */
static void
came_again(void)
{
    struct fake f[2] = { 0 };
    unsigned at = 0;

    begin();
    attach(&f[0], 1, 2, "");
    submit();
    attach(&f[1], 1, 2, "");
    EQ_U64(f[0].downs, 1);
    CU_ASSERT(f[1].epoch != f[0].epoch);
    answer_all(&f[1], &at, 0);
    EQ_U64(at, MAPS);
    CU_ASSERT(f[1].launch[0].attempt > 0);
    answer_all(&f[1], &at, 1);
    CU_ASSERT(!w.d->job.active);
    end(f, 2);
}

/* A worker's files outlive the executor; when the worker is lost the maps run again and others are told. */
static void
node_lost(void)
{
    struct fake f[2] = { 0 };
    unsigned at0 = 0, at1;

    begin();
    attach(&f[0], 1, 2, "worker-a");
    submit();
    answer_all(&f[0], &at0, 0);
    EQ_U64(at0, MAPS);
    driver_executor_lost(w.d, 1, err_new(ERR_LOST, "killed"));
    attach(&f[1], 2, 2, "worker-b");
    for (int m = 0; m < MAPS; m++) {
        EQ_U64(f[1].output[m], 1);
        EQ_U64(f[1].node[m], 1); /* still on worker-a */
    }
    EQ_U64(f[1].launch[0].stage, 1);
    driver_node_lost(w.d, "worker-a");
    rounds();
    for (int m = 0; m < MAPS; m++)
        EQ_U64(f[1].output[m], 0);
    /* what found out by itself */
    answer(&f[1], 0, err_new(ERR_LOST, "gone"), 0);
    rounds();
    at1 = 1;
    while (at1 < f[1].n_launches && w.d->job.active) {
        answer(&f[1], at1++, NULL, UINT32_MAX);
        rounds();
    }
    CU_ASSERT(!w.d->job.active);
    for (int m = 0; m < MAPS; m++) {
        EQ_U64(f[1].output[m], 2);
        EQ_U64(f[1].node[m], 2);
    }
    end(f, 2);
}

/* A complaint about an output that was accepted after the attempt was launched is about an older one. */
static void
old_complaint(void)
{
    struct fake f[1] = { 0 };
    unsigned at = 0;

    begin();
    attach(f, 1, 2, "worker");
    submit();
    answer_all(f, &at, 0);
    unsigned reduce = at;
    EQ_U64(f->n_launches, MAPS + REDUCES);
    answer(f, reduce, err_new(ERR_LOST, "gone"), 2); /* map 2 runs again */
    rounds();
    EQ_U64(f->output[2], 0);
    unsigned again = reduce;
    while (f->launch[again].stage != 0)
        again++;
    EQ_U64(f->launch[again].partition, 2);
    answer(f, again, NULL, UINT32_MAX);
    rounds();
    if (f->output[2] == 2) { /* it was launched beside the other reduce */
        answer(f, reduce + 1, err_new(ERR_LOST, "gone"), 2);
        rounds();
        EQ_U64(f->output[2], 2);
    }
    CU_ASSERT(w.d->job.active);
    end(f, 1);
}

/* Envelopes with bits flipped and ends cut off: at most the executor is dropped. */
static void
damaged(void)
{
    uint64_t seed = 1;

    for (int i = 0; i < 300; i++) {
        struct fake f[1] = { 0 };
        struct buf all = { 0 };

        begin();
        attach(f, 1, 2, "");
        submit();
        for (unsigned k = 0; k < 3; k++) {
            answer(f, k % f->n_launches, k == 1 ? err_new(ERR_USER, "why") : NULL, k == 1 ? 1 : UINT32_MAX);
            buf_put(&all, f->out.p, f->out.n);
        }
        for (int k = 0; k < 3; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            all.p[(seed >> 33) % all.n] ^= (char)(1 << (seed >> 20) % 8);
            link_send(f->link, all.p, (seed >> 40) % 3 ? all.n : (seed >> 33) % all.n);
        }
        rounds();
        end(f, 1);
        buf_fini(&all);
    }
}

/* A sum of doubles is the same in whatever order the attempts ended. */
static double
sum_of(const double *x, unsigned n, unsigned order)
{
    double left[4];
    struct accs m = { 0 };

    memcpy(left, x, n * sizeof *x);
    for (; n; order /= n--) {
        struct flow_delta d = { 0, 3, TD_A_FSUM, { .f = left[order % n] } };

        left[order % n] = left[n - 1];
        driver__accs_add(&m, &d);
    }
    double sum = driver__accs_total(&m, 3, TD_A_FSUM).f;
    driver__accs_fini(&m);
    return sum;
}

static void
sums_in_any_order(void)
{
    static const double a[4] = { 1e16, 1, 1, -1e16 }, b[4] = { 0.1, 0.7, 1e-17, 3e5 }, c[4] = { 1, INFINITY, 2, -1e308 };

    for (unsigned order = 0; order < 24; order++) {
        CU_ASSERT(sum_of(a, 4, order) == 2);
        CU_ASSERT(sum_of(b, 4, order) == 300000.8);
        CU_ASSERT(sum_of(c, 4, order) == INFINITY);
    }
}

static const struct unit_test tests[] = {
    { "driver.strangers", strangers },
    { "driver.usage", usage },
    { "driver.whole_job", whole_job },
    { "driver.stale", stale },
    { "driver.down_twice", down_twice },
    { "driver.impossible", impossible },
    { "driver.came_again", came_again },
    { "driver.node_lost", node_lost },
    { "driver.old_complaint", old_complaint },
    { "driver.damaged", damaged },
    { "accs.sums_in_any_order", sums_in_any_order },
    UNIT_END
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "driver", tests);
}
