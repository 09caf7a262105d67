/* A master that starts again, after Spark's FaultToleranceTest as far as one master goes: before, during and after a
 * job; twice in a row; with workers or drivers that did not live to see it. */
#include "master.h"

static const struct grants_ask one = { .cores_per_executor = 1 };

static const struct grants_child *
child(const char *id, uint32_t executor, uint8_t phase)
{
    static struct grants_child c;

    c = (struct grants_child){ .id = id, .executor = executor, .phase = phase, .cores = 1 };
    return &c;
}

static const char *
worker_with(struct rig *r, const char *id, uint32_t cores, const struct grants_child *c)
{
    return RIG(r, WORKER_UP, .id = id, .host = id + 1, .process = 1, .cores = cores, .memory = 8 * GIB, .children = c,
               .n_children = c ? 1 : 0);
}

static void
restart(struct rig *r)
{
    rig_init(r, (struct grants_opts){ .recover_ns = 5 * SEC });
}

/* Nothing was there: a new job does not wait. */
static void
test_sanity(void)
{
    struct rig r;

    restart(&r);
    rig_worker(&r, "wa", 2, 8);
    EQ_STR(rig_app(&r, "x", one, 2), "x/1 1c@wa; x/2 1c@wa");
    EQ_STR(RIG(&r, DRIVER_SUBMIT, .id = "d"), "");
    EQ_STR(rig_later(&r, 5 * SEC), "");
    CU_ASSERT_FALSE(grants_recovering(r.g));
    rig_fini(&r);
}

/* Worker, driver: in either order, and twice. */
static void
test_both_back(void)
{
    struct rig r;

    restart(&r);
    RIG(&r, APP_KNOWN, .id = "x", .name = "job", .executor = 64);
    EQ_STR(worker_with(&r, "wa", 2, child("x", 3, GRANTS_RUNNING)), "");
    EQ_STR(RIG(&r, APP_UP, .id = "x", .ask = one, .children = child("x", 3, GRANTS_RUNNING), .n_children = 1),
           "welcome x 2c");
    CU_ASSERT_FALSE(grants_recovering(r.g));
    /* numbers are not used again */
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 2), "x/65 1c@wa");
    rig_fini(&r);

    restart(&r);
    RIG(&r, APP_KNOWN, .id = "x", .name = "job", .executor = 64);
    EQ_STR(RIG(&r, APP_UP, .id = "x", .ask = one, .children = child("x", 3, GRANTS_RUNNING), .n_children = 1),
           "welcome x 0c");
    EQ_STR(RIG(&r, APP_UP, .id = "x", .ask = one, .children = child("x", 3, GRANTS_RUNNING), .n_children = 1),
           "welcome x 0c");
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 1), "");
    CU_ASSERT_TRUE(grants_recovering(r.g));
    EQ_STR(worker_with(&r, "wb", 1, NULL), ""); /* what it has is enough */
    EQ_STR(worker_with(&r, "wa", 2, child("x", 3, GRANTS_RUNNING)), "");
    EQ_STR(worker_with(&r, "wa", 2, child("x", 3, GRANTS_RUNNING)), "");
    CU_ASSERT_FALSE(grants_recovering(r.g));
    rig_fini(&r);
}

/* The executor was being started when the master died: its driver never heard of it. */
static void
test_grant_lost(void)
{
    struct rig r;

    restart(&r);
    RIG(&r, APP_KNOWN, .id = "x");
    worker_with(&r, "wa", 2, child("x", 1, GRANTS_STARTING));
    EQ_STR(RIG(&r, APP_UP, .id = "x", .ask = one), "welcome x 2c; x/1 1c@wa");
    rig_fini(&r);

    restart(&r);
    RIG(&r, APP_KNOWN, .id = "x");
    RIG(&r, APP_KNOWN, .id = "y");
    rig_app(&r, "x", one, 1);
    EQ_STR(worker_with(&r, "wa", 2, child("x", 1, GRANTS_STARTING)), "x/1 1c@wa; waiting x ()");
    EQ_STR(worker_with(&r, "wb", 2, child("x", 2, GRANTS_STARTING)), "stop x/2@wb");
    rig_fini(&r);
}

static void
test_worker_missing(void)
{
    struct rig r;

    restart(&r);
    RIG(&r, APP_KNOWN, .id = "x");
    RIG(&r, APP_UP, .id = "x", .ask = one, .children = child("x", 2, GRANTS_RUNNING), .n_children = 1);
    rig_worker(&r, "wb", 1, 8);
    RIG(&r, APP_WANT, .id = "x", .cores = 1);
    EQ_STR(rig_later(&r, 5 * SEC), "gone x/2@ lost (its worker did not come back); x/3 1c@wb");
    /* it does, later: the executor is a zombie by now, and its core is not free until it has ended */
    EQ_STR(worker_with(&r, "wa", 1, child("x", 2, GRANTS_RUNNING)), "stop x/2@wa");
    EQ_STR(RIG(&r, APP_WANT, .id = "x", .cores = 2), "");
    EQ_STR(rig_child(&r, "wa", "x", 2, GRANTS_ENDED, 143, ""), "x/4 1c@wa");
    rig_fini(&r);
}

static void
test_app_missing(void)
{
    struct rig r;

    restart(&r);
    RIG(&r, APP_KNOWN, .id = "x");
    worker_with(&r, "wa", 1, child("x", 2, GRANTS_RUNNING));
    EQ_STR(rig_app(&r, "y", one, 1), "waiting y (the only core is held by x)");
    EQ_STR(rig_later(&r, 5 * SEC), "app x lost 1 (its driver did not come back); stop x/2@wa");
    EQ_STR(rig_child(&r, "wa", "x", 2, GRANTS_ENDED, 143, ""), "forget x@wa; y/1 1c@wa; waiting y ()");
    rig_fini(&r);

    /* nobody knows it: a journal that was lost.  Its driver may still come. */
    restart(&r);
    EQ_STR(worker_with(&r, "wa", 2, child("x", 2, GRANTS_RUNNING)), "");
    EQ_STR(worker_with(&r, "wb", 2, child("z", 2, GRANTS_RUNNING)), "");
    EQ_STR(RIG(&r, APP_UP, .id = "x", .ask = one, .children = child("x", 2, GRANTS_RUNNING), .n_children = 1),
           "welcome x 4c");
    EQ_STR(rig_later(&r, 5 * SEC), "stop z/2@wb");
    rig_fini(&r);
}

static void
test_drivers(void)
{
    struct rig r;

    restart(&r);
    RIG(&r, DRIVER_SUBMIT, .id = "accepted");
    RIG(&r, DRIVER_SUBMIT, .id = "ran", .worker = "wa", .tries = 1);
    RIG(&r, DRIVER_SUBMIT, .id = "gone", .worker = "wb", .tries = 1);
    RIG(&r, DRIVER_SUBMIT, .id = "sup", .worker = "wb", .tries = 3, .supervise = true);
    EQ_STR(grants_driver_waiting(r.g, "gone"), "waiting for worker wb to come back");
    /* what was accepted starts at once; what ran is not started a second time */
    EQ_STR(worker_with(&r, "wa", 8, child("ran", 0, GRANTS_RUNNING)),
           "driver accepted active@wa #1 0 (); run accepted #0@wa");
    EQ_STR(rig_later(&r, 5 * SEC),
           "driver gone lost@ #1 5 (its worker wb did not come back); "
           "driver sup backoff@ #3 0 (its worker wb did not come back); driver sup active@wa #4 0 (); run sup #3@wa");
    /* the other copy must not live */
    EQ_STR(worker_with(&r, "wb", 8, child("sup", 0, GRANTS_RUNNING)), "stop sup/0@wb");
    EQ_STR(rig_child(&r, "wa", "ran", 0, GRANTS_ENDED, 0, ""), "driver ran finished@ #1 0 ()");
    rig_fini(&r);

    /* its worker comes back without it: it ended while nobody looked */
    restart(&r);
    RIG(&r, DRIVER_SUBMIT, .id = "d", .worker = "wa", .tries = 1);
    EQ_STR(worker_with(&r, "wa", 8, NULL), "driver d lost@ #1 5 (worker wa came back without it)");
    rig_fini(&r);

    /* or says how it ended */
    restart(&r);
    RIG(&r, DRIVER_SUBMIT, .id = "d", .worker = "wa", .tries = 1);
    EQ_STR(worker_with(&r, "wa", 8, child("d", 0, GRANTS_ENDED)), "driver d finished@ #1 0 ()");
    rig_fini(&r);
}

/* Files stay until it is known whose they are. */
static void
test_files(void)
{
    static const char *const kept[] = { "x", "y" };
    struct rig r;

    restart(&r);
    RIG(&r, APP_KNOWN, .id = "x");
    EQ_STR(RIG(&r, WORKER_UP, .id = "wa", .host = "a", .process = 1, .cores = 1, .apps = kept, .n_apps = 2), "");
    EQ_STR(RIG(&r, APP_UP, .id = "x", .ask = one), "welcome x 1c; forget y@wa");
    EQ_STR(RIG(&r, APP_END, .id = "x"), "app x active 0 (); forget x@wa");
    EQ_STR(RIG(&r, WORKER_UP, .id = "wb", .host = "b", .process = 1, .cores = 1, .apps = kept, .n_apps = 2),
           "forget x@wb; forget y@wb");
    rig_fini(&r);
}

/* Once more before the first recovery is over: the second life knows no more than the first. */
static void
test_twice(void)
{
    struct rig r;

    for (int i = 0; i < 2; i++) {
        restart(&r);
        RIG(&r, APP_KNOWN, .id = "x");
        RIG(&r, DRIVER_SUBMIT, .id = "d", .worker = "wa", .tries = 1);
        if (i == 0)
            rig_later(&r, 4 * SEC);
        else
            EQ_STR(worker_with(&r, "wa", 8, child("d", 0, GRANTS_RUNNING)), "");
        if (i == 0)
            rig_fini(&r);
    }
    EQ_STR(RIG(&r, APP_UP, .id = "x", .submission = "d", .ask = one), "welcome x 8c");
    CU_ASSERT_FALSE(grants_recovering(r.g));
    rig_fini(&r);
}

const struct unit_test recover_tests[] = {
    { "recover.sanity", test_sanity },
    { "recover.both_back", test_both_back },
    { "recover.grant_lost", test_grant_lost },
    { "recover.worker_missing", test_worker_missing },
    { "recover.app_missing", test_app_missing },
    { "recover.drivers", test_drivers },
    { "recover.files", test_files },
    { "recover.twice", test_twice },
    UNIT_END,
};
