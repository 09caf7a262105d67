/* The master's brain: who gets what, and why not.  See master_recover.c for restarts, master_soup.c for chaos. */
#include "master.h"

#include <inttypes.h>
#include <string.h>

/* ---- the rig */

void
rig_init(struct rig *r, struct grants_opts o)
{
    *r = (struct rig){ .now = 1000 * SEC, .quiet = true };
    if (!o.recover_ns)
        o.recover_ns = 1;
    r->g = grants_new(&o, r->now);
}

void
rig_fini(struct rig *r)
{
    grants_free(r->g);
    grants_actions_fini(&r->out);
    buf_fini(&r->text);
}

static const char *const states[] = { "active", "finished", "failed", "killed", "lost", "backoff" };

static void
action_text(struct rig *r, const struct grants_action *a)
{
    struct buf *b = &r->text;

    switch (a->kind) {
    case GRANTS_START_EXECUTOR:
        buf_printf(b, "start %s/%u %uc@%s", a->id, a->executor, a->cores, a->worker);
        break;
    case GRANTS_START_DRIVER:
        buf_printf(b, "run %s #%u@%s", a->id, a->tries, a->worker);
        break;
    case GRANTS_STOP:
        buf_printf(b, "stop %s/%u@%s", a->id, a->executor, a->worker);
        break;
    case GRANTS_FORGET:
        buf_printf(b, "forget %s@%s", a->id, a->worker);
        break;
    case GRANTS_WELCOME:
        buf_printf(b, "welcome %s %uc", a->id, a->cores);
        break;
    case GRANTS_GRANTED:
        buf_printf(b, "%s/%u %uc@%s", a->id, a->executor, a->cores, a->worker);
        break;
    case GRANTS_GONE:
        buf_printf(b, "gone %s/%u@%s%s (%s)", a->id, a->executor, a->worker, a->lost ? " lost" : "", a->text);
        break;
    case GRANTS_WAITING:
        buf_printf(b, "waiting %s (%s)", a->id, a->text);
        break;
    case GRANTS_APP_STATE:
        buf_printf(b, "app %s %s %u (%s)", a->id, states[a->state], a->status, a->text);
        break;
    case GRANTS_DRIVER_STATE:
        buf_printf(b, "driver %s %s@%s #%u %u (%s)", a->id, states[a->state], a->worker, a->tries, a->status, a->text);
        break;
    case GRANTS_WORKER_LOST:
        buf_printf(b, "lost %s", a->worker);
        break;
    case GRANTS_WAKE_AT:
        buf_printf(b, "wake +%" PRIu64 "ms", (a->at - r->now) / 1000000);
        break;
    }
}

const char *
rig_step(struct rig *r, struct grants_event ev)
{
    grants_actions_clear(&r->out);
    grants_step(r->g, &ev, r->now, &r->out);
    r->text.n = 0;
    for (uint32_t i = 0; i < r->out.n; i++) {
        const struct grants_action *a = &r->out.v[i];

        if (r->quiet && (a->kind == GRANTS_START_EXECUTOR || a->kind == GRANTS_WAKE_AT))
            continue;
        if (r->text.n)
            buf_printf(&r->text, "; ");
        action_text(r, a);
    }
    put_u8(&r->text, 0);
    return r->text.p;
}

const char *
rig_later(struct rig *r, uint64_t ns)
{
    r->now += ns;
    return RIG(r, TIMER);
}

const char *
rig_worker(struct rig *r, const char *id, uint32_t cores, uint64_t gib)
{
    return RIG(r, WORKER_UP, .id = id, .host = id + 1, .process = 1, .cores = cores, .memory = gib * GIB);
}

const char *
rig_child(struct rig *r, const char *worker, const char *id, uint32_t executor, uint8_t phase, uint32_t status,
          const char *text)
{
    return RIG(r, CHILD, .worker = worker,
               .child = { .id = id, .executor = executor, .phase = phase, .status = status, .text = text });
}

const char *
rig_app(struct rig *r, const char *id, struct grants_ask ask, uint32_t want)
{
    RIG(r, APP_UP, .id = id, .name = id, .ask = ask);
    return RIG(r, APP_WANT, .id = id, .cores = want);
}

/* ---- executors */

static void
test_spread(void)
{
    struct rig r;

    rig_init(&r, (struct grants_opts){ 0 });
    EQ_STR(rig_worker(&r, "wa", 4, 8), "");
    rig_worker(&r, "wb", 4, 8);
    rig_worker(&r, "wc", 2, 8);
    EQ_STR(RIG(&r, APP_UP, .id = "x", .name = "job", .ask = { .cores_per_executor = 1, .memory = GIB }),
           "welcome x 10c");
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 5), "x/1 1c@wa; x/4 1c@wa; x/2 1c@wb; x/5 1c@wb; x/3 1c@wc");
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 5), "");
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 2), ""); /* nothing is taken away */
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 6), "x/6 1c@wc");
    rig_fini(&r);
}

/* Without a number of cores an executor has all that the application gets on a worker. */
static void
test_whole_workers(void)
{
    struct rig r;

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 4, 8);
    rig_worker(&r, "wb", 8, 8);
    EQ_STR(rig_app(&r, "x", (struct grants_ask){ .memory = GIB, .cores_max = 6 }, UINT32_MAX),
           "x/2 3c@wa; x/1 3c@wb");
    EQ_STR(rig_app(&r, "y", (struct grants_ask){ .memory = GIB, .executors_max = 1 }, UINT32_MAX), "y/1 5c@wb");
    r.quiet = false;
    EQ_STR(rig_app(&r, "z", (struct grants_ask){ .memory = GIB }, 1), "start z/1 1c@wa; z/1 1c@wa");
    rig_fini(&r);
}

static void
test_memory(void)
{
    struct rig r;

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 8, 5);
    EQ_STR(RIG(&r, APP_UP, .id = "x", .ask = { .cores_per_executor = 2, .memory = 2 * GIB }), "welcome x 4c");
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 100), "x/1 2c@wa; x/2 2c@wa");
    EQ_STR(rig_worker(&r, "wb", 3, 100), "x/3 2c@wb");
    /* a wish is rounded up to whole executors, a limit is not */
    EQ_STR(RIG(&r, APP_END, .id = "x", .state = GRANTS_FINISHED),
           "app x finished 0 (); stop x/1@wa; stop x/2@wa; stop x/3@wb");
    EQ_STR(rig_child(&r, "wa", "x", 1, GRANTS_ENDED, 0, ""), "");
    EQ_STR(rig_child(&r, "wa", "x", 2, GRANTS_ENDED, 0, ""), "forget x@wa");
    EQ_STR(rig_child(&r, "wb", "x", 3, GRANTS_ENDED, 143, ""), "forget x@wb");
    EQ_STR(rig_app(&r, "y", (struct grants_ask){ .cores_per_executor = 2, .cores_max = 3 }, 1), "y/1 2c@wa");
    EQ_STR(RIG(&r, APP_WANT, .id = "y", .cores = 3), "");
    rig_fini(&r);
}

static void
test_fair(void)
{
    struct rig r;
    const struct grants_ask one = { .cores_per_executor = 1 };

    rig_init(&r, (struct grants_opts){ 0 });
    EQ_STR(rig_app(&r, "x", one, 100), "waiting x (there are no workers)");
    rig_app(&r, "y", one, 2);
    rig_app(&r, "z", one, 100);
    EQ_STR(rig_worker(&r, "wa", 8, 8),
           "x/1 1c@wa; y/1 1c@wa; z/1 1c@wa; x/2 1c@wa; y/2 1c@wa; z/2 1c@wa; x/3 1c@wa; z/3 1c@wa; "
           "waiting x (); waiting y (); waiting z ()");
    rig_fini(&r);

    rig_init(&r, (struct grants_opts){ .fifo = true });
    rig_app(&r, "x", one, 5);
    rig_app(&r, "y", one, 100);
    rig_app(&r, "z", one, 100);
    EQ_STR(rig_worker(&r, "wa", 8, 8),
           "x/1 1c@wa; x/2 1c@wa; x/3 1c@wa; x/4 1c@wa; x/5 1c@wa; y/1 1c@wa; y/2 1c@wa; y/3 1c@wa; "
           "waiting x (); waiting y (); waiting z (all 8 cores are held by x and y)");
    EQ_STR(rig_later(&r, 60 * SEC), ""); /* nothing is taken away from who came first */
    rig_fini(&r);
}

/* Who comes late gets its share when it has waited long enough. */
static void
test_share(void)
{
    struct rig r;
    const struct grants_ask one = { .cores_per_executor = 1 };

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 4, 8);
    rig_app(&r, "x", one, 100);
    for (uint32_t i = 1; i <= 4; i++) {
        r.now += SEC;
        rig_child(&r, "wa", "x", i, GRANTS_RUNNING, 0, "");
    }
    EQ_STR(rig_app(&r, "y", one, 100), "waiting y (all 4 cores are held by x)");
    EQ_STR(rig_later(&r, 2 * SEC), "");
    EQ_STR(rig_later(&r, SEC),
           "gone x/4@wa (given up for application y, which has less than its share); stop x/4@wa; "
           "gone x/3@wa (given up for application y, which has less than its share); stop x/3@wa");
    EQ_STR(rig_child(&r, "wa", "x", 4, GRANTS_ENDED, 143, ""), "y/1 1c@wa; waiting y ()");
    EQ_STR(rig_child(&r, "wa", "x", 3, GRANTS_ENDED, 143, ""), "y/2 1c@wa");
    EQ_STR(rig_later(&r, 600 * SEC), "");
    rig_fini(&r);

    /* an executor that holds a whole worker is started again with what is left */
    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 4, 8);
    rig_app(&r, "x", (struct grants_ask){ 0 }, 100);
    rig_child(&r, "wa", "x", 1, GRANTS_RUNNING, 0, "");
    rig_app(&r, "y", (struct grants_ask){ 0 }, 100);
    rig_later(&r, 3 * SEC);
    EQ_STR(rig_child(&r, "wa", "x", 1, GRANTS_ENDED, 143, ""), "x/2 2c@wa; y/1 2c@wa; waiting x (); waiting y ()");
    rig_child(&r, "wa", "x", 2, GRANTS_RUNNING, 0, "");
    rig_child(&r, "wa", "y", 1, GRANTS_RUNNING, 0, "");
    EQ_STR(rig_later(&r, 600 * SEC), "");
    rig_fini(&r);

    /* executors that can't be divided are not passed to and fro */
    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 4, 8);
    rig_app(&r, "x", (struct grants_ask){ .cores_per_executor = 4 }, 100);
    rig_child(&r, "wa", "x", 1, GRANTS_RUNNING, 0, "");
    rig_app(&r, "y", (struct grants_ask){ .cores_per_executor = 4 }, 100);
    EQ_STR(rig_later(&r, 600 * SEC), "");
    rig_fini(&r);
}

static void
test_reasons(void)
{
    struct rig r;

    rig_init(&r, (struct grants_opts){ 0 });
    EQ_STR(rig_app(&r, "x", (struct grants_ask){ .cores_per_executor = 4, .memory = 8 * GIB }, 100),
           "waiting x (there are no workers)");
    EQ_STR(rig_worker(&r, "wa", 2, 4),
           "waiting x (asked 4 cores/8 GiB; the largest worker has 2 cores/4 GiB on host a)");
    EQ_STR(rig_worker(&r, "wb", 1, 4), "");
    rig_app(&r, "y", (struct grants_ask){ .memory = 3 * GIB / 2, .cores_max = 2 }, 2);
    EQ_STR(rig_worker(&r, "wc", 4, 8), "x/1 4c@wc; waiting x ()");
    EQ_STR(rig_app(&r, "z", (struct grants_ask){ .cores_per_executor = 2, .memory = 6 * GIB + (GIB >> 1) }, 2),
           "waiting z (asked 2 cores/6656 MiB; largest free 1 core/2560 MiB on host a)");
    EQ_STR(RIG(&r, APP_UP, .id = "z", .ask = { .cores_per_executor = 2, .cores_max = 1 }),
           "welcome z 0c; waiting z (asked executors of 2 cores, and not more than 1 cores in all)");
    /* said once, and again only if it is another */
    EQ_STR(rig_later(&r, 10 * SEC), "");
    EQ_STR(RIG(&r, APP_WANT, .id = "z", .cores = 0), "waiting z ()");
    rig_fini(&r);

    rig_init(&r, (struct grants_opts){ .fifo = true });
    rig_worker(&r, "wa", 1, 8);
    rig_app(&r, "x", (struct grants_ask){ 0 }, 1);
    EQ_STR(rig_app(&r, "y", (struct grants_ask){ 0 }, 1), "waiting y (the only core is held by x)");
    rig_worker(&r, "wb", 4, 8);
    for (int i = 0; i < 4; i++)
        rig_app(&r, (const char *[]){ "p", "q", "r", "s" }[i], (struct grants_ask){ 0 }, 1);
    EQ_STR(rig_app(&r, "z", (struct grants_ask){ 0 }, 1), "waiting z (all 5 cores are held by x, y, p and others)");
    rig_fini(&r);
}

/* ---- failures */

static void
test_retries(void)
{
    struct rig r;
    char want[200];

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 1, 8);
    rig_app(&r, "x", (struct grants_ask){ 0 }, 1);
    r.quiet = false;
    EQ_STR(rig_child(&r, "wa", "x", 1, GRANTS_FAILED, 0, "the driver can't be reached"),
           "gone x/1@wa (the driver can't be reached); "
           "waiting x (starting failed and will be tried again; the last one on host a: the driver can't be reached); "
           "wake +100ms");
    r.quiet = true;
    for (unsigned i = 2; i < 10; i++) {
        snprintf(want, sizeof want, "x/%u 1c@wa; waiting x ()", i);
        EQ_STR(rig_later(&r, 60 * SEC), want);
        rig_child(&r, "wa", "x", i, GRANTS_RUNNING, 0, "");
        r.now += SEC;
        rig_child(&r, "wa", "x", i, GRANTS_ENDED, 1, "");
    }
    rig_later(&r, 60 * SEC);
    EQ_STR(rig_child(&r, "wa", "x", 10, GRANTS_ENDED, 127, ""),
           "gone x/10@wa (it ended with status 127); app x failed 1 (10 executors in a row could not be started; "
           "the last one on host a: it ended with status 127); forget x@wa");
    EQ_STR(rig_child(&r, "wa", "x", 10, GRANTS_ENDED, 127, ""), "");
    rig_fini(&r);
}

/* One that has lived clears the account; kills by the driver's wish don't count. */
static void
test_retries_forgiven(void)
{
    struct rig r;

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 1, 8);
    rig_app(&r, "x", (struct grants_ask){ 0 }, 1);
    for (unsigned i = 1; i < 100; i++) {
        rig_child(&r, "wa", "x", i, GRANTS_RUNNING, 0, "");
        r.now += i % 9 ? SEC : 3 * SEC;
        const char *s = rig_child(&r, "wa", "x", i, GRANTS_ENDED, 139, "");
        CU_ASSERT_PTR_NULL(strstr(s, "app x"));
        rig_later(&r, 60 * SEC);
    }
    rig_fini(&r);

    /* nor does it count, or take longer each time, when somebody kills them */
    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 1, 8);
    rig_app(&r, "x", (struct grants_ask){ 0 }, 1);
    for (unsigned i = 1; i < 100; i++) {
        rig_child(&r, "wa", "x", i, GRANTS_RUNNING, 0, "");
        rig_child(&r, "wa", "x", i, GRANTS_ENDED, i & 1 ? 137 : 143, "");
        CU_ASSERT_PTR_NOT_NULL(strstr(rig_later(&r, SEC / 10), " 1c@wa"));
    }
    rig_fini(&r);
}

static void
test_avoided(void)
{
    struct rig r;
    const struct grants_ask one = { .cores_per_executor = 1 };

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 4, 8);
    rig_worker(&r, "wb", 4, 8);
    EQ_STR(rig_app(&r, "x", one, 1), "x/1 1c@wa");
    EQ_STR(rig_child(&r, "wa", "x", 1, GRANTS_FAILED, 0, "no route"), "gone x/1@wa (no route); x/2 1c@wb");
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 2), "x/3 1c@wb");
    EQ_STR(rig_app(&r, "y", one, 1), "y/1 1c@wa"); /* avoided by x only */
    EQ_STR(rig_later(&r, SEC), "");
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 3), "x/4 1c@wa");
    rig_child(&r, "wa", "x", 4, GRANTS_FAILED, 0, "no route");
    rig_later(&r, SEC);
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 4), "x/6 1c@wb"); /* twice: the other one first */
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 5), "x/7 1c@wa"); /* and there if nothing else is left */
    rig_fini(&r);
}

static void
test_release(void)
{
    struct rig r;
    const struct grants_ask one = { .cores_per_executor = 1 };

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 1, 8);
    rig_app(&r, "x", one, 1);
    EQ_STR(RIG(&r, APP_RELEASE, .id = "x", .executor = 7), "");
    EQ_STR(RIG(&r, APP_RELEASE, .id = "x", .executor = 1, .text = "it does not answer"),
           "gone x/1@wa (released: it does not answer); stop x/1@wa; waiting x (the only core is held by x)");
    EQ_STR(RIG(&r, APP_RELEASE, .id = "x", .executor = 1), "");
    EQ_STR(rig_later(&r, 9 * SEC), "");
    EQ_STR(rig_later(&r, SEC), "stop x/1@wa"); /* it holds its core until it has ended */
    EQ_STR(rig_child(&r, "wa", "x", 1, GRANTS_ENDED, 137, ""), "x/2 1c@wa; waiting x ()");
    rig_fini(&r);
}

static void
test_worker_lost(void)
{
    struct rig r;
    const struct grants_ask one = { .cores_per_executor = 1 };

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 1, 8);
    rig_worker(&r, "wb", 1, 8);
    rig_app(&r, "x", one, 2);
    RIG(&r, APP_WANT, .id = "x", .cores = 1);
    rig_child(&r, "wa", "x", 1, GRANTS_ENDED, 0, "");
    EQ_STR(RIG(&r, WORKER_DOWN, .id = "wb"), "");
    EQ_STR(RIG(&r, WORKER_DOWN, .id = "wb"), "");
    EQ_STR(rig_later(&r, SEC), "gone x/2@wb lost (worker wb on b is gone); lost wb; x/3 1c@wa");
    RIG(&r, APP_WANT, .id = "x", .cores = 0);
    rig_child(&r, "wa", "x", 3, GRANTS_ENDED, 0, "");
    RIG(&r, WORKER_DOWN, .id = "wa");
    /* its executors had ended, their files are lost all the same */
    EQ_STR(rig_later(&r, SEC), "gone x/0@wa lost (worker wa on a is gone); lost wa");
    /* the returning zombie */
    EQ_STR(RIG(&r, WORKER_UP, .id = "wb", .host = "b", .process = 1, .cores = 1, .memory = GIB,
               .children = &(struct grants_child){ .id = "x", .executor = 2, .phase = GRANTS_RUNNING, .cores = 1 }, .n_children = 1),
           "stop x/2@wb");
    rig_fini(&r);
}

/* Links come and go; what lived meanwhile goes on. */
static void
test_short_break(void)
{
    struct rig r;
    const struct grants_ask one = { .cores_per_executor = 1 };
    const struct grants_child c = { .id = "x", .executor = 1, .phase = GRANTS_RUNNING, .cores = 1 };

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 1, 8);
    rig_app(&r, "x", one, 1);
    RIG(&r, WORKER_DOWN, .id = "wa");
    RIG(&r, APP_DOWN, .id = "x");
    rig_later(&r, SEC / 2);
    EQ_STR(RIG(&r, WORKER_UP, .id = "wa", .host = "a", .process = 1, .cores = 1, .memory = GIB, .children = &c,
               .n_children = 1), "");
    EQ_STR(RIG(&r, APP_UP, .id = "x", .ask = one, .children = &c, .n_children = 1), "welcome x 1c");
    EQ_STR(RIG(&r, APP_UP, .id = "x", .ask = one), "welcome x 1c; x/1 1c@wa"); /* a GRANTED that got lost */
    EQ_STR(rig_later(&r, 10 * SEC), "");
    /* a START that got lost */
    RIG(&r, WORKER_DOWN, .id = "wa");
    EQ_STR(rig_worker(&r, "wa", 1, 8), "gone x/1@wa (worker wa came back without it); x/2 1c@wa");
    /* another process: its files are somebody else's */
    EQ_STR(RIG(&r, WORKER_UP, .id = "wa", .host = "a", .process = 2, .cores = 1, .memory = GIB),
           "gone x/2@wa lost (worker wa started anew); lost wa; x/3 1c@wa");
    rig_fini(&r);
}

/* A master that stood still must not blame others. */
static void
test_absent(void)
{
    struct rig r;
    const struct grants_ask one = { .cores_per_executor = 1 };

    rig_init(&r, (struct grants_opts){ .recover_ns = 5 * SEC });
    rig_worker(&r, "wa", 1, 8);
    rig_app(&r, "x", one, 1);
    r.now += 30 * SEC;
    RIG(&r, ABSENT);
    RIG(&r, WORKER_DOWN, .id = "wa");
    RIG(&r, APP_DOWN, .id = "x");
    EQ_STR(rig_later(&r, 5 * SEC - 1), "");
    EQ_STR(rig_later(&r, 1), "gone x/1@wa lost (worker wa on a is gone); lost wa; app x lost 1 (its driver is gone)");
    rig_fini(&r);
}

static void
test_app_lost(void)
{
    struct rig r;
    const struct grants_ask one = { .cores_per_executor = 1 };

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 2, 8);
    rig_app(&r, "x", one, 1);
    rig_app(&r, "y", one, 1);
    EQ_STR(RIG(&r, APP_DOWN, .id = "x"), "");
    EQ_STR(rig_later(&r, SEC), "app x lost 1 (its driver is gone); stop x/1@wa");
    EQ_STR(rig_child(&r, "wa", "x", 1, GRANTS_ENDED, 0, ""), "forget x@wa");
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 7), "");
    /* back from a long partition: what it had is gone, and it gets new ones */
    EQ_STR(RIG(&r, APP_UP, .id = "x", .ask = one,
               .children = &(struct grants_child){ .id = "x", .executor = 1, .phase = GRANTS_RUNNING, .cores = 1 }, .n_children = 1),
           "welcome x 2c; gone x/1@ lost (no worker has it)");
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 1), "x/2 1c@wa");
    rig_fini(&r);
}

/* ---- drivers */

static void
test_driver(void)
{
    struct rig r;

    rig_init(&r, (struct grants_opts){ 0 });
    EQ_STR(RIG(&r, DRIVER_SUBMIT, .id = "d", .cores = 2, .memory = GIB), "");
    EQ_STR(grants_driver_waiting(r.g, "d"), "there are no workers");
    rig_app(&r, "x", (struct grants_ask){ .cores_per_executor = 1 }, 100);
    /* drivers before executors */
    EQ_STR(rig_worker(&r, "wa", 3, 8), "driver d active@wa #1 0 (); run d #0@wa; x/1 1c@wa; waiting x ()");
    EQ_STR(grants_driver_waiting(r.g, "d"), "");
    EQ_STR(RIG(&r, DRIVER_SUBMIT, .id = "d", .cores = 2), "");
    EQ_STR(rig_child(&r, "wa", "d", 0, GRANTS_RUNNING, 0, ""), "");
    EQ_STR(rig_child(&r, "wa", "d", 0, GRANTS_ENDED, 0, ""), "driver d finished@ #1 0 (); x/2 1c@wa; x/3 1c@wa");
    /* one that fails is not started again, but for workers that can't start it */
    RIG(&r, APP_END, .id = "x");
    for (unsigned i = 1; i <= 3; i++)
        rig_child(&r, "wa", "x", i, GRANTS_ENDED, 0, "");
    RIG(&r, DRIVER_SUBMIT, .id = "e");
    EQ_STR(RIG(&r, WORKER_UP, .id = "wb", .host = "b", .process = 1, .cores = 3, .memory = 8 * GIB,
               .apps = (const char *const[]){ "x" }, .n_apps = 1), "forget x@wb");
    EQ_STR(rig_child(&r, "wa", "e", 0, GRANTS_FAILED, 0, "no space"), "driver e backoff@ #1 0 (no space)");
    EQ_STR(grants_driver_waiting(r.g, "e"), "it failed in its try 1 and will be started again");
    EQ_STR(rig_later(&r, SEC), "driver e active@wb #2 0 (); run e #1@wb");
    EQ_STR(rig_child(&r, "wb", "e", 0, GRANTS_ENDED, 3, ""), "driver e failed@ #2 3 (it ended with status 3)");
    RIG(&r, DRIVER_SUBMIT, .id = "f");
    /* the order to start it was lost with the link, and no try of the driver with it */
    RIG(&r, WORKER_DOWN, .id = "wa");
    EQ_STR(rig_worker(&r, "wa", 3, 8), "driver f backoff@ #1 0 (worker wa came back without it); driver f active@wa #2 0 (); run f #1@wa");
    EQ_STR(rig_child(&r, "wa", "f", 0, GRANTS_RUNNING, 0, ""), "");
    RIG(&r, WORKER_DOWN, .id = "wa");
    EQ_STR(rig_later(&r, SEC), "driver f lost@ #2 5 (worker wa on a is gone); lost wa");
    rig_fini(&r);
}

static void
test_supervise(void)
{
    struct rig r;
    static const unsigned wait_s[] = { 1, 2, 4, 8, 16, 32, 60, 60 };

    rig_init(&r, (struct grants_opts){ 0 });
    rig_worker(&r, "wa", 1, 8);
    rig_worker(&r, "wb", 1, 8);
    RIG(&r, DRIVER_SUBMIT, .id = "d", .supervise = true);
    for (unsigned i = 0; i < 8; i++) {
        CU_ASSERT_PTR_NOT_NULL(strstr(rig_child(&r, "wa", "d", 0, GRANTS_ENDED, 1, ""), "driver d backoff@"));
        EQ_STR(rig_later(&r, wait_s[i] * SEC - 1), "");
        CU_ASSERT_PTR_NOT_NULL(strstr(rig_later(&r, 1), "run d #"));
    }
    r.now += 11 * SEC; /* it ran long enough */
    rig_child(&r, "wa", "d", 0, GRANTS_ENDED, 139, "");
    EQ_STR(rig_later(&r, SEC), "driver d active@wa #10 0 (); run d #9@wa");
    /* its application dies with it, and worker loss needs no back-off */
    RIG(&r, APP_UP, .id = "x", .submission = "d");
    RIG(&r, WORKER_DOWN, .id = "wa");
    EQ_STR(rig_later(&r, SEC),
           "app x lost 1 (worker wa on a is gone); driver d backoff@ #10 0 (worker wa on a is gone); lost wa; "
           "driver d active@wb #11 0 (); run d #10@wb");
    EQ_STR(RIG(&r, DRIVER_KILL, .id = "d", .text = "killed by its user"),
           "stop d/0@wb; driver d killed@ #11 137 (killed by its user)");
    EQ_STR(rig_child(&r, "wb", "d", 0, GRANTS_ENDED, 137, ""), "");
    EQ_STR(rig_later(&r, 600 * SEC), "");
    rig_fini(&r);
}

static const struct unit_test tests[] = {
    { "place.spread", test_spread },
    { "place.whole_workers", test_whole_workers },
    { "place.memory", test_memory },
    { "place.fair", test_fair },
    { "place.share", test_share },
    { "place.reasons", test_reasons },
    { "fail.retries", test_retries },
    { "fail.retries_forgiven", test_retries_forgiven },
    { "fail.avoided", test_avoided },
    { "fail.release", test_release },
    { "fail.worker_lost", test_worker_lost },
    { "fail.short_break", test_short_break },
    { "fail.absent", test_absent },
    { "fail.app_lost", test_app_lost },
    { "driver.one", test_driver },
    { "driver.supervise", test_supervise },
};

int
main(int argc, char **argv)
{
    struct unit_test all[64];
    size_t n = sizeof tests / sizeof *tests;

    memcpy(all, tests, sizeof tests);
    for (const struct unit_test *t = recover_tests; t->name; t++)
        all[n++] = *t;
    for (const struct unit_test *t = soup_tests; t->name; t++)
        all[n++] = *t;
    all[n] = (struct unit_test)UNIT_END;
    return unit_main(argc, argv, "master", all);
}
