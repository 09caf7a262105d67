/* Preferred and avoided places. */
#include "sched.h"

/* ---- near */
static void
timer(struct desk *d, uint64_t now)
{
    d->now = now;
    step(d, (struct sched_event){ .kind = SCHED_TIMER });
}

/* Four tasks that prefer node 1 (two of them executor 1 there), and one that prefers nothing. */
static struct sched_prefer wishes[] = {
    { .partition = 0, .executor = SCHED_ANY, .node = 1 },
    { .partition = 1, .executor = SCHED_ANY, .node = 1 },
    { .partition = 2, .executor = 1, .node = 1 },
    { .partition = 3, .executor = 1, .node = 1 },
};

static void
open_near(struct desk *d, uint32_t n_wishes, uint64_t wait)
{
    open_desk(d, &(struct sched_opts){ .locality_ns = wait, .prefetch_max = 1 });
    d->now = 1000 * MS;
    d->prefer = wishes;
    d->n_prefer = n_wishes;
}

static void
test_levels(void)
{
    struct desk d;

    open_near(&d, 4, 100 * MS);
    up_on(&d, 1, 1, 1);
    up_on(&d, 2, 1, 1);
    up_on(&d, 3, 2, 3);
    submit(&d, 1, 1, (uint32_t[]){ 6 }, 0);
    EQ_U64(count(&d, SCHED_LAUNCH), 4);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 2); /* its own first */
    EQ_U64(nth(&d, SCHED_LAUNCH, 1)->executor, 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 1)->partition, 0); /* its node's */
    EQ_U64(nth(&d, SCHED_LAUNCH, 2)->executor, 3);
    EQ_U64(nth(&d, SCHED_LAUNCH, 2)->partition, 4); /* nobody's */
    EQ_U64(nth(&d, SCHED_LAUNCH, 3)->partition, 5);
    done(&d, 3, 0, 4, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_LAUNCH), 0); /* 1 and 3 wait for node 1 */
    EQ_U64(nth(&d, SCHED_WAKE_AT, 0)->at, 1100 * MS);
    done(&d, 2, 0, 0, 0, ERR_NONE);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 1);
    done(&d, 2, 0, 1, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_LAUNCH), 0); /* on the right node, not on the executor */
    timer(&d, 1100 * MS);
    EQ_U64(count(&d, SCHED_LAUNCH), 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 3);
    EQ_U64(counters(&d).afar, 0);
    close_desk(&d);
}

/* Only time in which a slot is idle counts, and it is not given back. */
static void
test_wait_is_spent(void)
{
    struct desk d;

    open_near(&d, 2, 100 * MS);
    up_on(&d, 1, 1, 1);
    submit(&d, 1, 1, (uint32_t[]){ 2 }, 0);
    d.now += 1000 * MS; /* nothing is idle */
    up_on(&d, 2, 1, 2);
    EQ_U64(count(&d, SCHED_LAUNCH), 0);
    timer(&d, d.now + 60 * MS);
    EQ_U64(count(&d, SCHED_LAUNCH), 0);
    step(&d, (struct sched_event){ .kind = SCHED_EXECUTOR_DOWN, .executor = 2 });
    timer(&d, d.now + 1000 * MS);
    up_on(&d, 2, 1, 2);
    EQ_U64(count(&d, SCHED_LAUNCH), 0);
    EQ_U64(nth(&d, SCHED_WAKE_AT, 0)->at, d.now + 40 * MS);
    timer(&d, d.now + 40 * MS);
    EQ_U64(count(&d, SCHED_LAUNCH), 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 2);
    EQ_U64(counters(&d).afar, 1);
    close_desk(&d);
}

/* No wait for a place that is not up, nor one that is avoided or too busy, nor for a few bytes. */
static void
test_nothing_to_gain(void)
{
    struct desk d;

    open_near(&d, 2, 100 * MS);
    up_on(&d, 2, 1, 2);
    submit(&d, 1, 1, (uint32_t[]){ 2 }, 0);
    EQ_U64(count(&d, SCHED_LAUNCH), 1); /* node 1 isn't there */
    close_desk(&d);

    open_near(&d, 4, 100 * MS);
    up_on(&d, 1, 1, 1);
    submit(&d, 1, 1, (uint32_t[]){ 5 }, 0);
    d.now += 500 * MS;
    done(&d, 1, 0, 2, 0, ERR_NONE); /* half a second each */
    up_on(&d, 2, 1, 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 2);
    done(&d, 2, 0, 4, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_LAUNCH), 1);
    close_desk(&d);

    struct sched_prefer small[] = { { .partition = 0, .executor = SCHED_ANY, .node = 1, .bytes = 1000 },
                                    { .partition = 1, .executor = SCHED_ANY, .node = 1, .bytes = 1000 } };
    open_near(&d, 2, 100 * MS);
    d.prefer = small;
    up_on(&d, 1, 1, 1);
    up_on(&d, 2, 1, 2);
    submit(&d, 1, 1, (uint32_t[]){ 2 }, 0);
    EQ_U64(nth(&d, SCHED_WAKE_AT, 0)->at, d.now + 1000); /* a microsecond's worth of network */
    timer(&d, d.now + 1000);
    EQ_U64(count(&d, SCHED_LAUNCH), 1);
    close_desk(&d);

    open_near(&d, 2, SCHED_NEVER);
    up_on(&d, 2, 1, 2);
    up_on(&d, 1, 1, 1);
    submit(&d, 1, 1, (uint32_t[]){ 2 }, 0);
    EQ_U64(count(&d, SCHED_LAUNCH), 2);
    close_desk(&d);
}

/* Reduce tasks go where a fifth of their input is. */
static void
reduce_near(uint64_t bytes, uint32_t idle)
{
    struct desk d;
    struct sched_event ev;

    open_desk(&d, &(struct sched_opts){ .prefetch_max = 1 });
    d.now = 1000 * MS;
    up_on(&d, 1, 2, 1);
    submit(&d, 1, 2, (uint32_t[]){ 2, 4 }, 1);
    up_on(&d, 2, 2, 2);
    ev = answer(1, 0, 0, 0, ERR_NONE);
    ev.bytes = bytes;
    step(&d, ev);
    ev.partition = 1;
    step(&d, ev);
    EQ_U64(count(&d, SCHED_LAUNCH), 4 - idle);
    for (uint32_t i = 0; idle > 0 && i < 2; i++)
        EQ_U64(nth(&d, SCHED_LAUNCH, i)->node, 1);
    timer(&d, 1100 * MS);
    EQ_U64(count(&d, SCHED_LAUNCH), idle);
    close_desk(&d);
}

static void
test_reduce(void)
{
    reduce_near(1000ull << 20, 2);
    reduce_near(1000, 0); /* not worth a wait */
}

/* ---- avoid */
static void
test_task_elsewhere(void)
{
    struct desk d;

    open_desk(&d, NULL);
    up_on(&d, 0, 1, 1);
    up_on(&d, 1, 1, 1);
    up_on(&d, 2, 1, 2);
    submit(&d, 1, 1, (uint32_t[]){ 3 }, 0);
    done(&d, 1, 0, 0, 0, ERR_IO); /* executor 0; the others run 1 and 2 */
    EQ_U64(count(&d, SCHED_LAUNCH), 0);
    done(&d, 2, 0, 1, 0, ERR_NONE);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 1);
    done(&d, 2, 0, 0, 1, ERR_IO); /* twice on node 1 */
    EQ_U64(count(&d, SCHED_LAUNCH), 0);
    step(&d, (struct sched_event){ .kind = SCHED_EXECUTOR_DOWN, .executor = 2 });
    EQ_U64(count(&d, SCHED_LAUNCH), 2); /* there is nobody else */
    close_desk(&d);
}

/* What waits for another place doesn't hold up the rest. */
static void
test_others_go_past(void)
{
    struct desk d;

    open_desk(&d, &(struct sched_opts){ .prefetch_max = 1 });
    up(&d, 0, 1);
    up(&d, 1, 1);
    submit(&d, 1, 1, (uint32_t[]){ 9 }, 0);
    done(&d, 1, 0, 0, 0, ERR_IO);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 0);
    done(&d, 2, 0, 1, 0, ERR_NONE);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 0);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 1);
    close_desk(&d);
}

/* Executor 0 fails two tasks of each stage; the first stage learns it for itself, then all. */
static void
test_stage_then_app(void)
{
    struct desk d;

    open_desk(&d, &(struct sched_opts){ .prefetch_max = 1, .avoid_ns = 1000 * MS });
    up(&d, 0, 1);
    up(&d, 1, 1);
    submit(&d, 1, 2, (uint32_t[]){ 4, 2 }, 1);
    done(&d, 1, 0, 0, 0, ERR_IO);
    done(&d, 1, 0, 2, 0, ERR_TIMEOUT);
    EQ_U64(nth(&d, SCHED_EXCLUDED, 0)->executor, 0);
    EQ_U64(nth(&d, SCHED_EXCLUDED, 0)->stage, 0);
    EQ_U64(nth(&d, SCHED_EXCLUDED, 0)->at, 0);
    EQ_U64(count(&d, SCHED_LAUNCH), 0);
    done(&d, 2, 0, 1, 0, ERR_NONE);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 1);
    done(&d, 2, 0, 0, 1, ERR_NONE);
    done(&d, 2, 0, 2, 1, ERR_NONE);
    done(&d, 2, 0, 3, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_STAGE_END), 1);
    EQ_U64(nth(&d, SCHED_EXCLUDED, 0)->stage, SCHED_ANY);
    EQ_U64(nth(&d, SCHED_EXCLUDED, 0)->at, 1000 * MS);
    EQ_U64(nth(&d, SCHED_WAKE_AT, 0)->at, 1000 * MS);
    EQ_U64(count(&d, SCHED_LAUNCH), 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 1);
    up(&d, 0, 1); /* a new process, the same place */
    EQ_U64(count(&d, SCHED_LAUNCH), 0);
    timer(&d, 1000 * MS);
    EQ_U64(count(&d, SCHED_READMITTED), 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 0);
    close_desk(&d);
}

/* Two bad executors make a bad node. */
static void
test_node(void)
{
    struct desk d;

    open_desk(&d, &(struct sched_opts){ .prefetch_max = 1, .max_failures = 9 });
    for (uint32_t i = 0; i < 6; i++)
        up_on(&d, i, 1, i < 3 ? 1 : 2);
    submit(&d, 1, 1, (uint32_t[]){ 20 }, 0);
    done(&d, 1, 0, 0, 0, ERR_IO);
    done(&d, 1, 0, nth(&d, SCHED_LAUNCH, 0)->partition, 0, ERR_IO);
    EQ_U64(count(&d, SCHED_EXCLUDED), 1);
    done(&d, 2, 0, 1, 0, ERR_IO);
    done(&d, 2, 0, nth(&d, SCHED_LAUNCH, 0)->partition, nth(&d, SCHED_LAUNCH, 0)->attempt, ERR_IO);
    EQ_U64(count(&d, SCHED_EXCLUDED), 2);
    EQ_U64(nth(&d, SCHED_EXCLUDED, 1)->executor, SCHED_ANY);
    EQ_U64(nth(&d, SCHED_EXCLUDED, 1)->node, 1);
    done(&d, 3, 0, 2, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_LAUNCH), 0); /* executor 2 is there, too */
    EQ_U64(counters(&d).excluded, 3);
    close_desk(&d);
}

/* A quarter of the tasks fails the first time, wherever it is: that is no reason to avoid anything for long. */
static void
test_everywhere(void)
{
    struct desk d;
    struct sched_action todo[512];
    uint32_t n = 0;

    open_desk(&d, &(struct sched_opts){ .prefetch_max = 1 });
    for (uint32_t i = 0; i < 8; i++)
        up(&d, i, 1);
    submit(&d, 1, 1, (uint32_t[]){ 256 }, 0);
    for (uint32_t i = 0;; i++) {
        for (uint32_t k = 0; k < count(&d, SCHED_LAUNCH) && n < 512; k++)
            todo[n++] = *nth(&d, SCHED_LAUNCH, k);
        if (i == n)
            break;
        bool fails = todo[i].attempt == 0 && (todo[i].partition * 2654435761u) >> 30 == 0;
        done(&d, todo[i].epoch, 0, todo[i].partition, todo[i].attempt, fails ? ERR_IO : ERR_NONE);
    }
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_OK);
    EQ_U64(count(&d, SCHED_JOB_END), 1);
    CU_ASSERT(counters(&d).excluded <= 4 + 4); /* by the stage, then by all: half of them at the most */
    close_desk(&d);
}

/* One executor, or all of them bad: they are used. */
static void
test_nobody_else(void)
{
    struct desk d;

    open_desk(&d, &(struct sched_opts){ .prefetch_max = 1, .max_failures = 9 });
    up(&d, 0, 1);
    submit(&d, 1, 1, (uint32_t[]){ 4 }, 0);
    for (uint32_t i = 0; i < 8; i++) {
        struct sched_action a = *nth(&d, SCHED_LAUNCH, 0);

        done(&d, 1, 0, a.partition, a.attempt, ERR_IO);
        EQ_U64(count(&d, SCHED_EXCLUDED), 0);
        EQ_U64(count(&d, SCHED_LAUNCH), 1);
    }
    close_desk(&d);
}

/* Runners that don't start on executor 0: the tasks go elsewhere before long. */
static void
test_no_start(void)
{
    struct desk d;
    struct sched_event down = { .kind = SCHED_SLOT_DOWN, .epoch = 1, .blame = SCHED_BLAME_NONE };
    uint32_t n = 0;

    open_desk(&d, &(struct sched_opts){ .prefetch_max = 1 });
    up(&d, 0, 1);
    up(&d, 1, 1);
    submit(&d, 1, 1, (uint32_t[]){ 4 }, 0);
    while (n < 9 && counters(&d).excluded == 0) {
        step(&d, down);
        n++;
    }
    EQ_U64(n, 4); /* two are forgiven, then two tasks */
    EQ_U64(counters(&d).lost, 2);
    EQ_U64(counters(&d).failed, 0);
    EQ_U64(count(&d, SCHED_LAUNCH), 0);
    done(&d, 2, 0, 1, 0, ERR_NONE);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 1);
    close_desk(&d);
}

/* Alone: the job ends all the same. */
static void
test_never_starts(void)
{
    struct desk d;
    struct sched_event down = { .kind = SCHED_SLOT_DOWN, .epoch = 1, .blame = SCHED_BLAME_NONE };
    uint32_t n = 0;

    open_desk(&d, &(struct sched_opts){ .max_lost = 10 });
    up(&d, 0, 1);
    submit(&d, 1, 1, (uint32_t[]){ 1 }, 0);
    while (n < 99 && count(&d, SCHED_JOB_END) == 0) {
        step(&d, down);
        n++;
    }
    EQ_U64(n, 2 + 11);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_TASK_LOST);
    close_desk(&d);
}

const struct unit_test sched_places_tests[] = {
    { "near.levels", test_levels },
    { "near.wait_is_spent", test_wait_is_spent },
    { "near.nothing_to_gain", test_nothing_to_gain },
    { "near.reduce", test_reduce },
    { "avoid.task", test_task_elsewhere },
    { "avoid.others_go_past", test_others_go_past },
    { "avoid.stage_then_app", test_stage_then_app },
    { "avoid.node", test_node },
    { "avoid.not_everywhere", test_everywhere },
    { "avoid.nobody_else", test_nobody_else },
    { "avoid.no_start", test_no_start },
    { "avoid.never_starts", test_never_starts },
    UNIT_END,
};
