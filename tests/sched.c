/* Tests of sched: see sched.h. */
#include "sched.h"

static void
test_in_order(void)
{
    struct desk d;

    open_desk(&d, NULL);
    submit(&d, 7, 2, (uint32_t[]){ 3, 2 }, 1);
    EQ_U64(d.out.n, 0);
    up(&d, 0, 2);
    EQ_U64(count(&d, SCHED_LAUNCH), 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 0);
    EQ_U64(nth(&d, SCHED_LAUNCH, 1)->partition, 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 1)->slot, 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->epoch, sched_epoch(d.s, 0));
    d.now += 20 * MS;
    done(&d, 1, 0, 1, 0, ERR_NONE);
    EQ_U64(nth(&d, SCHED_ACCEPT, 0)->partition, 1);
    EQ_U64(nth(&d, SCHED_ACCEPT, 0)->flags, SCHED_FIRST_EVER);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 2);
    done(&d, 1, 0, 0, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_LAUNCH), 0); /* the second stage waits for all of the first */
    d.now += 20 * MS;
    done(&d, 1, 0, 2, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_STAGE_END), 1);
    EQ_U64(count(&d, SCHED_LAUNCH), 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 1);
    done(&d, 1, 1, 0, 0, ERR_NONE);
    done(&d, 1, 1, 1, 0, ERR_NONE);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->job, 7);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_OK);
    struct sched_stage_info info;
    CU_ASSERT(sched_stage_info(d.s, 0, &info) && info.done == 3);
    CU_ASSERT(!sched_stage_info(d.s, 1, &info));
    close_desk(&d);
}

static void
test_reuse(void)
{
    struct desk d;

    open_desk(&d, NULL);
    up(&d, 0, 1);
    submit(&d, 1, 2, (uint32_t[]){ 1, 1 }, 1);
    done(&d, 1, 0, 0, 0, ERR_NONE);
    done(&d, 1, 1, 0, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_JOB_END), 1);
    submit(&d, 2, 2, (uint32_t[]){ 1, 1 }, 2); /* stage 0 is there */
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 2);
    d.plan.n_result = 0;
    step(&d, (struct sched_event){ .kind = SCHED_JOB_SUBMIT, .job = 3, .plan = &d.plan });
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->job, 3);
    close_desk(&d);
}

static void
test_part(void)
{
    struct desk d;

    open_desk(&d, NULL);
    up(&d, 0, 9);
    struct plan_stage st = { .id = 0, .sink = PLAN_SINK_COLLECT, .tasks = 10 };
    d.plan = (struct plan){ .n = 1, .stages = &st, .first = 4, .n_result = 2 };
    step(&d, (struct sched_event){ .kind = SCHED_JOB_SUBMIT, .plan = &d.plan });
    EQ_U64(count(&d, SCHED_LAUNCH), 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 4);
    done(&d, 1, 0, 3, 0, ERR_NONE); /* not asked for */
    done(&d, 1, 0, 6, 0, ERR_NONE);
    EQ_U64(counters(&d).stale, 2);
    done(&d, 1, 0, 5, 0, ERR_NONE);
    done(&d, 1, 0, 4, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_JOB_END), 1);
    close_desk(&d);
}

/* As many failures as the options say, also more than fit into a byte. */
static void
test_many_failures(void)
{
    struct desk d;

    open_desk(&d, &(struct sched_opts){ .max_failures = 1000 });
    submit(&d, 1, 1, (uint32_t[]){ 1 }, 0);
    up(&d, 0, 1);
    for (uint32_t attempt = 0; attempt < 1000; attempt++) {
        EQ_U64(count(&d, SCHED_JOB_END), 0);
        EQ_U64(nth(&d, SCHED_LAUNCH, 0)->attempt, attempt);
        EQ_U64(nth(&d, SCHED_LAUNCH, 0)->flags, attempt == 999 ? SCHED_ONE_RECORD : 0);
        done(&d, 1, 0, 0, attempt, ERR_USER);
    }
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_TASK_FAILED);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->attempt, 999);
    EQ_U64(counters(&d).failed, 1000);
    close_desk(&d);
}

static void
test_retry(void)
{
    struct desk d;

    open_desk(&d, NULL);
    submit(&d, 1, 1, (uint32_t[]){ 1 }, 0);
    up(&d, 0, 2);
    up(&d, 1, 1);
    EQ_U64(sched_epoch(d.s, 0), 1);
    done(&d, 1, 0, 0, 0, ERR_IO);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->attempt, 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 1); /* another one */
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->flags, 0);
    done(&d, 2, 0, 0, 1, ERR_LOST); /* no failure */
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->attempt, 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 1);
    done(&d, 2, 0, 0, 2, ERR_USER); /* it has failed everywhere */
    uint32_t epoch = nth(&d, SCHED_LAUNCH, 0)->epoch;
    done(&d, epoch, 0, 0, 3, ERR_USER);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->flags, SCHED_ONE_RECORD);
    EQ_U64(count(&d, SCHED_JOB_END), 0);
    epoch = nth(&d, SCHED_LAUNCH, 0)->epoch;
    done(&d, epoch, 0, 0, 4, ERR_USER);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_TASK_FAILED);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->code, ERR_USER);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->attempt, 4);
    EQ_U64(counters(&d).failed, 4);
    EQ_U64(counters(&d).lost, 1);
    close_desk(&d);
}

static void
test_another_slot(void)
{
    struct desk d;

    open_desk(&d, NULL);
    up(&d, 0, 3);
    submit(&d, 1, 1, (uint32_t[]){ 1 }, 0);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->slot, 0);
    done(&d, 1, 0, 0, 0, ERR_IO);
    uint32_t second = nth(&d, SCHED_LAUNCH, 0)->slot;
    CU_ASSERT(second != 0);
    done(&d, 1, 0, 0, 1, ERR_IO);
    CU_ASSERT(nth(&d, SCHED_LAUNCH, 0)->slot != second);
    close_desk(&d);
}

static void
test_no_retry(void)
{
    struct desk d;

    open_desk(&d, NULL);
    up(&d, 0, 2);
    submit(&d, 1, 1, (uint32_t[]){ 2 }, 0);
    done(&d, 1, 0, 1, 0, ERR_INPUT);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->code, ERR_INPUT);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->partition, 1);
    EQ_U64(nth(&d, SCHED_KILL, 0)->partition, 0); /* the other one runs for nobody */
    EQ_U64(nth(&d, SCHED_KILL, 0)->code, ERR_CANCELLED);
    done(&d, 1, 0, 0, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_DISCARD), 1);
    EQ_U64(count(&d, SCHED_ACCEPT), 0);
    close_desk(&d);
}

static void
test_stale(void)
{
    struct desk d;

    open_desk(&d, NULL);
    up(&d, 0, 1);
    submit(&d, 1, 2, (uint32_t[]){ 2, 1 }, 1);
    step(&d, (struct sched_event){ .kind = SCHED_EXECUTOR_DOWN, .executor = 0, .epoch = 1 });
    EQ_U64(d.out.n, 0);
    done(&d, 1, 0, 0, 0, ERR_NONE); /* a zombie's success */
    EQ_U64(nth(&d, SCHED_DISCARD, 0)->attempt, 0);
    up(&d, 0, 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->epoch, 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->attempt, 1);
    done(&d, 1, 0, 0, 1, ERR_NONE); /* right attempt, wrong epoch */
    EQ_U64(count(&d, SCHED_ACCEPT), 0);
    done(&d, 2, 0, 0, 1, ERR_NONE);
    EQ_U64(count(&d, SCHED_ACCEPT), 1);
    done(&d, 2, 0, 0, 1, ERR_NONE); /* twice: the output stays */
    EQ_U64(count(&d, SCHED_ACCEPT) + count(&d, SCHED_DISCARD), 0);
    done(&d, 2, 0, 0, 0, ERR_USER);
    done(&d, 2, 9, 0, 0, ERR_NONE);
    done(&d, 2, 0, 77, 0, ERR_NONE);
    EQ_U64(counters(&d).stale, 6);
    EQ_U64(counters(&d).failed, 0);
    step(&d, (struct sched_event){ .kind = SCHED_EXECUTOR_DOWN, .executor = 0, .epoch = 1 });
    EQ_U64(sched_epoch(d.s, 0), 2);
    close_desk(&d);
}

/* Tasks of 10 us: the queue grows to 256; of 1 s: one at a time. */
static void
test_prefetch(void)
{
    struct desk d;
    uint32_t launched = 0, last = 0;

    open_desk(&d, NULL);
    up(&d, 0, 1);
    submit(&d, 1, 2, (uint32_t[]){ 2000, 3 }, 1);
    EQ_U64(count(&d, SCHED_LAUNCH), 1);
    launched = 1;
    for (uint32_t p = 0; p < 2000; p++) {
        d.now += 10000;
        done(&d, 1, 0, p, 0, ERR_NONE);
        launched += p == 1999 ? 0 : count(&d, SCHED_LAUNCH);
        if (p < 8)
            EQ_U64(launched - p - 1, 2u << p > 256 ? 256 : 2u << p);
        if (launched - p - 1 > last)
            last = launched - p - 1;
    }
    EQ_U64(last, 256);
    EQ_U64(launched, 2000);
    EQ_U64(count(&d, SCHED_LAUNCH), 1); /* nothing is known of the next stage */
    d.now += 1000 * MS;
    done(&d, 1, 1, 0, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_LAUNCH), 1);
    close_desk(&d);
}

/* Three attempts at a slot whose runner dies. */
static void
queue_three(struct desk *d)
{
    open_desk(d, NULL);
    up(d, 0, 1);
    submit(d, 1, 1, (uint32_t[]){ 50 }, 0);
    done(d, 1, 0, 0, 0, ERR_NONE);
    done(d, 1, 0, 1, 0, ERR_NONE); /* 2, 3, 4, 5 wait */
}

static void
test_slot_down(void)
{
    struct desk d;
    struct sched_event ev = { .kind = SCHED_SLOT_DOWN, .epoch = 1, .code = ERR_USER };

    queue_three(&d);
    step(&d, ev);
    EQ_U64(counters(&d).failed, 1);
    EQ_U64(count(&d, SCHED_LAUNCH), 1); /* one at a time again */
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->attempt, 1);
    done(&d, 1, 0, 2, 1, ERR_NONE);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 3);
    EQ_U64(nth(&d, SCHED_LAUNCH, 1)->partition, 4);
    ev.blame = SCHED_BLAME_TASK;
    ev.partition = 4;
    ev.attempt = 1;
    step(&d, ev);
    EQ_U64(counters(&d).failed, 2);
    ev.attempt = 0; /* an attempt that is not there any more */
    step(&d, ev);
    ev.blame = SCHED_BLAME_NONE;
    step(&d, ev);
    EQ_U64(counters(&d).failed, 2);
    ev.blame = SCHED_BLAME_HEAD;
    ev.code = ERR_LOST;
    step(&d, ev);
    EQ_U64(counters(&d).failed, 2);
    EQ_U64(counters(&d).lost, 1);
    ev.epoch = 9;
    step(&d, ev);
    EQ_U64(d.out.n, 0);
    close_desk(&d);
}

static void
test_timeout(void)
{
    struct desk d;
    struct sched_event ev = { .kind = SCHED_SLOT_DOWN, .epoch = 1, .code = ERR_USER };

    open_desk(&d, &(struct sched_opts){ .task_timeout_ns = 100 * MS });
    d.now = 5 * MS;
    up(&d, 0, 2);
    submit(&d, 1, 1, (uint32_t[]){ 3 }, 0);
    EQ_U64(nth(&d, SCHED_WAKE_AT, 0)->at, 105 * MS);
    d.now = 50 * MS;
    done(&d, 1, 0, 0, 0, ERR_NONE); /* partition 2 begins now */
    EQ_U64(count(&d, SCHED_WAKE_AT), 0);
    d.now = 105 * MS;
    step(&d, (struct sched_event){ .kind = SCHED_TIMER });
    EQ_U64(count(&d, SCHED_KILL), 1);
    EQ_U64(nth(&d, SCHED_KILL, 0)->partition, 1);
    EQ_U64(nth(&d, SCHED_KILL, 0)->code, ERR_TIMEOUT);
    EQ_U64(nth(&d, SCHED_WAKE_AT, 0)->at, 150 * MS);
    ev.slot = nth(&d, SCHED_KILL, 0)->slot;
    step(&d, ev);
    EQ_U64(counters(&d).timeouts, 1); /* our doing, whatever the signal was */
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 1);
    d.now = 150 * MS;
    step(&d, (struct sched_event){ .kind = SCHED_TIMER });
    EQ_U64(nth(&d, SCHED_KILL, 0)->partition, 2);
    done(&d, 1, 0, 2, 0, ERR_NONE); /* it answered all the same */
    EQ_U64(count(&d, SCHED_ACCEPT), 1);
    ev.slot = 1 - ev.slot;
    step(&d, ev);
    EQ_U64(counters(&d).timeouts, 1); /* nobody else is to blame */
    EQ_U64(counters(&d).failed, 1);
    close_desk(&d);
}

/* A grandparent's output is lost as well: only what is missing runs. */
static void
test_fifo(void)
{
    struct desk d;

    open_desk(&d, NULL);
    submit(&d, 1, 1, (uint32_t[]){ 2 }, 0);
    submit(&d, 2, 1, (uint32_t[]){ 2 }, 1);
    up(&d, 0, 3);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 0);
    EQ_U64(nth(&d, SCHED_LAUNCH, 1)->stage, 0);
    EQ_U64(nth(&d, SCHED_LAUNCH, 2)->stage, 1);
    done(&d, 1, 0, 0, 0, ERR_IO); /* before what the second job has left */
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 0);
    step(&d, (struct sched_event){ .kind = SCHED_JOB_CANCEL, .job = 1 });
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_CANCELLED);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->code, ERR_CANCELLED);
    EQ_U64(count(&d, SCHED_KILL), 2);
    EQ_U64(count(&d, SCHED_LAUNCH), 0);
    step(&d, (struct sched_event){ .kind = SCHED_SLOT_DOWN, .epoch = 1, .slot = nth(&d, SCHED_KILL, 0)->slot });
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 1);
    step(&d, (struct sched_event){ .kind = SCHED_JOB_CANCEL, .job = 1 });
    EQ_U64(counters(&d).stale, 1);
    close_desk(&d);
}

/* The slots run a short first job's attempts; a cancelled job's wait behind them. */
/* A reducer that finds its input lost is not itself at fault, however often. */
static const struct unit_test tests[] = {
    { "order.stages_and_partitions", test_in_order },
    { "order.reuses_shuffles", test_reuse },
    { "order.part_of_a_result", test_part },
    { "order.fifo", test_fifo },
    { "retry.elsewhere_and_last", test_retry },
    { "retry.as_often_as_it_is_said", test_many_failures },
    { "retry.another_slot", test_another_slot },
    { "retry.not_for_every_code", test_no_retry },
    { "gate.refuses_stale", test_stale },
    { "slot.prefetch", test_prefetch },
    { "slot.down", test_slot_down },
    { "slot.timeout", test_timeout },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    struct unit_test all[64] = { { 0, 0 } };
    const struct unit_test *const lists[] = { tests, sched_loss_tests, sched_places_tests };
    uint32_t n = 0;

    for (int k = 0; k < 3; k++)
        for (const struct unit_test *t = lists[k]; t->name; t++)
            all[n++] = *t;
    return unit_main(argc, argv, "sched", all);
}
