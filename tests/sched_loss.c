/* What is lost, and what is called off. */
#include "sched.h"

static void
test_output_lost(void)
{
    struct desk d;
    struct sched_event lost = { .kind = SCHED_OUTPUT_LOST, .stage = 0, .partition = 1 };

    open_desk(&d, NULL);
    up(&d, 0, 1);
    submit(&d, 1, 2, (uint32_t[]){ 2, 2 }, 1);
    d.now += 50 * MS;
    done(&d, 1, 0, 0, 0, ERR_NONE);
    d.now += 50 * MS;
    done(&d, 1, 0, 1, 0, ERR_NONE);
    step(&d, lost);
    step(&d, lost); /* two reducers say so */
    EQ_U64(counters(&d).stale, 1);
    done(&d, 1, 1, 0, 0, ERR_LOST);
    EQ_U64(count(&d, SCHED_LAUNCH), 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 0);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->generation, 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->attempt, 1);
    done(&d, 1, 0, 1, 1, ERR_NONE);
    EQ_U64(nth(&d, SCHED_ACCEPT, 0)->generation, 1);
    EQ_U64(nth(&d, SCHED_ACCEPT, 0)->flags, 0); /* its accumulators have counted */
    EQ_U64(count(&d, SCHED_STAGE_END), 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 0); /* what failed comes first */
    close_desk(&d);
}

static void
test_lineage(void)
{
    struct desk d;
    struct sched_event lost = { .kind = SCHED_OUTPUT_LOST };

    open_desk(&d, NULL);
    up(&d, 0, 1);
    submit(&d, 1, 3, (uint32_t[]){ 1, 1, 1 }, 2);
    done(&d, 1, 0, 0, 0, ERR_NONE);
    done(&d, 1, 1, 0, 0, ERR_NONE);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 2);
    step(&d, lost); /* nobody needs stage 0 now */
    EQ_U64(d.out.n, 1);
    EQ_U64(count(&d, SCHED_OUTPUT_GONE), 1);
    lost.stage = 1;
    step(&d, lost);
    done(&d, 1, 2, 0, 0, ERR_LOST);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 0);
    done(&d, 1, 0, 0, 1, ERR_NONE);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 1);
    done(&d, 1, 1, 0, 1, ERR_NONE);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 2);
    done(&d, 1, 2, 0, 1, ERR_NONE);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_OK);
    close_desk(&d);
}

static void
rerun_with_other_rows(struct desk *d, bool used)
{
    struct sched_event ev;

    open_desk(d, NULL);
    up(d, 0, 2);
    submit(d, 1, 2, (uint32_t[]){ 1, 2 }, 1);
    ev = answer(1, 0, 0, 0, ERR_NONE);
    ev.digest = 5;
    step(d, ev); /* both reducers run */
    if (used)
        done(d, 1, 1, 0, 0, ERR_NONE);
    step(d, (struct sched_event){ .kind = SCHED_OUTPUT_LOST });
    done(d, 1, 1, 1, 0, ERR_LOST);
    ev.attempt = 1;
    ev.digest = 6;
    step(d, ev);
}

static void
test_rows_changed(void)
{
    struct desk d;

    rerun_with_other_rows(&d, true);
    EQ_U64(count(&d, SCHED_ACCEPT), 0);
    EQ_U64(count(&d, SCHED_DISCARD), 1);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_ROWS_CHANGED);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->stage, 0);
    close_desk(&d);
    rerun_with_other_rows(&d, false);
    EQ_U64(count(&d, SCHED_ACCEPT), 1);
    EQ_U64(count(&d, SCHED_NONDETERMINISTIC), 1);
    done(&d, 1, 1, 0, 0, ERR_NONE); /* it read the old rows */
    EQ_U64(count(&d, SCHED_ACCEPT), 0);
    EQ_U64(nth(&d, SCHED_DISCARD, 0)->partition, 0);
    close_desk(&d);
}

static void
test_cancel_queued(void)
{
    struct desk d;

    open_desk(&d, NULL);
    up(&d, 0, 1);
    submit(&d, 1, 1, (uint32_t[]){ 4 }, 0);
    submit(&d, 2, 1, (uint32_t[]){ 4 }, 1);
    done(&d, 1, 0, 0, 0, ERR_NONE);
    done(&d, 1, 0, 1, 0, ERR_NONE); /* 2, 3 of the first job */
    done(&d, 1, 0, 2, 0, ERR_NONE);
    EQ_U64(counters(&d).launched, 4); /* nothing is known of the second's tasks */
    done(&d, 1, 0, 3, 0, ERR_NONE);
    done(&d, 1, 1, 0, 0, ERR_NONE);
    step(&d, (struct sched_event){ .kind = SCHED_JOB_CANCEL, .job = 2 });
    EQ_U64(nth(&d, SCHED_KILL, 0)->partition, 1);
    step(&d, (struct sched_event){ .kind = SCHED_SLOT_DOWN, .epoch = 1, .code = ERR_USER });
    EQ_U64(d.out.n, 0);
    EQ_U64(counters(&d).failed, 0);
    EQ_U64(counters(&d).jobs, 0);
    struct sched_stage_info info;
    CU_ASSERT(!sched_stage_info(d.s, 1, &info));
    close_desk(&d);
}

static void
test_lost_for_ever(void)
{
    struct desk d;

    open_desk(&d, &(struct sched_opts){ .max_lost = 3 });
    submit(&d, 1, 1, (uint32_t[]){ 1 }, 0);
    for (int i = 0; i < 3; i++) {
        up(&d, 0, 1);
        EQ_U64(count(&d, SCHED_LAUNCH), 1);
    }
    up(&d, 0, 1); /* the fourth loss */
    EQ_U64(count(&d, SCHED_LAUNCH), 1);
    up(&d, 0, 1);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_TASK_LOST);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->code, ERR_LOST);
    close_desk(&d);
}

static void
test_input_lost(void)
{
    struct desk d;

    open_desk(&d, &(struct sched_opts){ .max_lost = 3, .max_rounds = 99 });
    up(&d, 0, 1);
    submit(&d, 1, 2, (uint32_t[]){ 9, 1 }, 1);
    for (uint32_t p = 0; p < 9; p++) {
        d.now += 50 * MS;
        done(&d, 1, 0, p, 0, ERR_NONE);
    }
    for (uint32_t p = 0; p < 9; p++) {
        d.now += 50 * MS;
        step(&d, (struct sched_event){ .kind = SCHED_OUTPUT_LOST, .partition = p });
        done(&d, 1, 1, 0, p, ERR_LOST);
        d.now += 50 * MS;
        done(&d, 1, 0, p, 1, ERR_NONE);
        EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 1);
    }
    for (uint32_t g = 0; g < 3; g++) { /* one output, again and again */
        step(&d, (struct sched_event){ .kind = SCHED_OUTPUT_LOST, .partition = 5, .generation = 1 + g });
        EQ_U64(count(&d, SCHED_JOB_END), g == 2 ? 1 : 0);
        done(&d, 1, 1, 0, 9 + g, ERR_LOST);
        done(&d, 1, 0, 5, 2 + g, ERR_NONE);
    }
    close_desk(&d);
}

/* Two maps on each of two nodes, all accepted; then a machine is gone. */
static void
test_node_down(void)
{
    struct desk d;

    open_desk(&d, &(struct sched_opts){ .prefetch_max = 1 });
    up_on(&d, 0, 2, 1);
    up_on(&d, 1, 2, 2);
    submit(&d, 1, 2, (uint32_t[]){ 4, 4 }, 1);
    for (uint32_t i = 0; i < 4; i++)
        done(&d, i / 2 + 1, 0, i, 0, ERR_NONE);
    EQ_U64(count(&d, SCHED_LAUNCH), 4);
    step(&d, (struct sched_event){ .kind = SCHED_NODE_DOWN, .node = 2 });
    EQ_U64(count(&d, SCHED_OUTPUT_GONE), 2);
    EQ_U64(nth(&d, SCHED_OUTPUT_GONE, 0)->partition, 2);
    EQ_U64(nth(&d, SCHED_OUTPUT_GONE, 0)->generation, 1);
    EQ_U64(nth(&d, SCHED_OUTPUT_GONE, 1)->node, 2);
    EQ_U64(sched_epoch(d.s, 0), 1);
    EQ_U64(sched_epoch(d.s, 1), 0);
    EQ_U64(count(&d, SCHED_LAUNCH), 0); /* both slots that are left still run reducers */
    done(&d, 1, 1, 0, 0, ERR_NONE); /* it had read all it needs */
    EQ_U64(count(&d, SCHED_ACCEPT), 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->stage, 0);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 2);
    step(&d, (struct sched_event){ .kind = SCHED_NODE_DOWN, .node = 2 }); /* twice */
    EQ_U64(count(&d, SCHED_OUTPUT_GONE), 0);
    close_desk(&d);
}

/* The next process of that name is elsewhere: what the first made stays where it was made. */
static void
test_moved(void)
{
    struct desk d;

    open_desk(&d, NULL);
    up_on(&d, 0, 1, 1);
    submit(&d, 1, 2, (uint32_t[]){ 1, 1 }, 1);
    done(&d, 1, 0, 0, 0, ERR_NONE);
    up_on(&d, 0, 1, 2);
    step(&d, (struct sched_event){ .kind = SCHED_NODE_DOWN, .node = 2 });
    EQ_U64(count(&d, SCHED_OUTPUT_GONE), 0);
    up_on(&d, 0, 1, 2);
    step(&d, (struct sched_event){ .kind = SCHED_NODE_DOWN, .node = 1 });
    EQ_U64(count(&d, SCHED_OUTPUT_GONE), 1);
    EQ_U64(sched_epoch(d.s, 0), 3);
    close_desk(&d);
}

/* An executor whose outputs nobody else serves. */
static void
test_outputs_with_executor(void)
{
    struct desk d;

    open_desk(&d, NULL);
    up(&d, 0, 1);
    up(&d, 1, 1);
    submit(&d, 1, 2, (uint32_t[]){ 2, 1 }, 1);
    done(&d, 1, 0, 0, 0, ERR_NONE);
    done(&d, 2, 0, 1, 0, ERR_NONE);
    step(&d, (struct sched_event){ .kind = SCHED_EXECUTOR_DOWN, .executor = 1, .outputs = true });
    EQ_U64(count(&d, SCHED_OUTPUT_GONE), 1);
    EQ_U64(nth(&d, SCHED_OUTPUT_GONE, 0)->partition, 1);
    close_desk(&d);
}

/* Collected rows lie on a node, too, until the job ends; saved ones don't. */
static void
lose_result(uint8_t sink, uint32_t gone)
{
    struct desk d;

    open_desk(&d, NULL);
    up_on(&d, 0, 1, 1);
    struct plan_stage st = { .id = 0, .sink = sink, .tasks = 2 };
    d.plan = (struct plan){ .n = 1, .stages = &st, .n_result = 2 };
    step(&d, (struct sched_event){ .kind = SCHED_JOB_SUBMIT, .plan = &d.plan });
    done(&d, 1, 0, 0, 0, ERR_NONE);
    EQ_U64(nth(&d, SCHED_ACCEPT, 0)->flags, SCHED_FIRST_EVER);
    step(&d, (struct sched_event){ .kind = SCHED_NODE_DOWN, .node = 1 });
    EQ_U64(count(&d, SCHED_OUTPUT_GONE), gone);
    up_on(&d, 1, 2, 2);
    EQ_U64(count(&d, SCHED_LAUNCH), gone + 1);
    done(&d, 2, 0, 1, 1, ERR_NONE);
    if (gone) {
        done(&d, 2, 0, 0, 1, ERR_NONE);
        EQ_U64(nth(&d, SCHED_ACCEPT, 0)->flags, 0); /* its accumulators have counted */
    }
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_OK);
    EQ_U64(count(&d, SCHED_JOB_END), 1);
    close_desk(&d);
}

static void
test_result_lost(void)
{
    lose_result(PLAN_SINK_COLLECT, 1);
    lose_result(PLAN_SINK_SAVE_TEXT, 0);
}

struct todo {
    struct sched_action v[64];
    uint32_t n, next;
};

static void
note_launches(struct todo *t, const struct desk *d)
{
    for (uint32_t k = 0; k < count(d, SCHED_LAUNCH) && t->n < 64; k++)
        t->v[t->n++] = *nth(d, SCHED_LAUNCH, k);
}

/* Answers all that is launched, in order, until the reducer runs; returns its launch. */
static struct sched_action
run_maps(struct desk *d, struct todo *t)
{
    while (t->next < t->n) {
        struct sched_action a = t->v[t->next++];

        if (a.stage == 1)
            return a;
        d->now += 50 * MS;
        done(d, a.epoch, 0, a.partition, a.attempt, ERR_NONE);
        note_launches(t, d);
    }
    return (struct sched_action){ 0 };
}

/* A reducer that never gets any further: the second report gives up all of the place, the fourth ends the job. */
static void
test_rounds(void)
{
    struct desk d;
    struct todo todo = { .n = 0 };

    open_desk(&d, &(struct sched_opts){ .prefetch_max = 1 });
    up_on(&d, 0, 1, 1);
    submit(&d, 1, 2, (uint32_t[]){ 9, 1 }, 1);
    note_launches(&todo, &d);
    struct sched_action reducer = run_maps(&d, &todo);
    up_on(&d, 1, 1, 2);
    for (uint32_t round = 0; round < 4; round++) {
        step(&d, (struct sched_event){ .kind = SCHED_OUTPUT_LOST, .partition = round,
                                       .generation = round < 2 ? 0 : 1 });
        uint32_t gone = count(&d, SCHED_OUTPUT_GONE);
        note_launches(&todo, &d);
        CU_ASSERT(round == 0 ? gone == 1 : round == 1 ? gone >= 8 : gone > 1);
        EQ_U64(count(&d, SCHED_JOB_END), round == 3);
        if (round == 3)
            break;
        done(&d, reducer.epoch, 1, 0, reducer.attempt, ERR_LOST);
        note_launches(&todo, &d);
        reducer = run_maps(&d, &todo);
        EQ_U64(reducer.stage, 1);
    }
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_TASK_LOST);
    close_desk(&d);
}

static void
test_stage_cancel(void)
{
    struct desk d;

    open_desk(&d, NULL);
    up(&d, 0, 2);
    submit(&d, 3, 2, (uint32_t[]){ 4, 4 }, 1);
    step(&d, (struct sched_event){ .kind = SCHED_STAGE_CANCEL, .stage = 0 });
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->job, 3);
    EQ_U64(nth(&d, SCHED_JOB_END, 0)->why, SCHED_CANCELLED);
    EQ_U64(count(&d, SCHED_KILL), 2);
    step(&d, (struct sched_event){ .kind = SCHED_STAGE_CANCEL, .stage = 0 });
    EQ_U64(d.out.n, 0);
    EQ_U64(counters(&d).stale, 1);
    close_desk(&d);
}

/* 2 runs, 3, 4 and 5 wait. */
static void
queue_four(struct desk *d, const struct sched_opts *opts)
{
    open_desk(d, opts);
    up(d, 0, 1);
    submit(d, 1, 1, (uint32_t[]){ 6 }, 0);
    done(d, 1, 0, 0, 0, ERR_NONE);
    done(d, 1, 0, 1, 0, ERR_NONE);
}

static void
test_task_kill(void)
{
    struct desk d;
    struct sched_event stop = { .kind = SCHED_TASK_KILL, .partition = 2 };

    queue_four(&d, NULL);
    step(&d, stop);
    EQ_U64(nth(&d, SCHED_KILL, 0)->partition, 2);
    EQ_U64(nth(&d, SCHED_KILL, 0)->code, ERR_CANCELLED);
    step(&d, (struct sched_event){ .kind = SCHED_SLOT_DOWN, .epoch = 1, .code = ERR_USER });
    EQ_U64(counters(&d).failed + counters(&d).lost, 0); /* nobody is charged */
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 2);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->attempt, 1);
    step(&d, stop); /* the first attempt is no more */
    EQ_U64(d.out.n, 0);
    EQ_U64(counters(&d).stale, 1);
    close_desk(&d);
}

/* One that waits is taken back; should it have begun meanwhile, it is killed. */
static void
test_task_kill_queued(void)
{
    struct desk d;

    queue_four(&d, NULL);
    step(&d, (struct sched_event){ .kind = SCHED_TASK_KILL, .partition = 3 });
    step(&d, (struct sched_event){ .kind = SCHED_TASK_KILL, .partition = 4 });
    EQ_U64(count(&d, SCHED_KILL), 0);
    EQ_U64(nth(&d, SCHED_REVOKE, 0)->partition, 4);
    done(&d, 1, 0, 4, 0, ERR_CANCELLED);
    EQ_U64(counters(&d).failed + counters(&d).lost, 0);
    EQ_U64(count(&d, SCHED_KILL), 0);
    done(&d, 1, 0, 2, 0, ERR_NONE); /* 3 begins */
    EQ_U64(nth(&d, SCHED_KILL, 0)->partition, 3);
    done(&d, 1, 0, 3, 0, ERR_NONE); /* too late: it counts */
    EQ_U64(nth(&d, SCHED_ACCEPT, 0)->partition, 3);
    close_desk(&d);
}

/* 2 takes longer than what waits behind it was queued for, and another slot is idle. */
static void
test_revoke(void)
{
    struct desk d;

    queue_four(&d, &(struct sched_opts){ .revoke_ns = 50 * MS });
    EQ_U64(count(&d, SCHED_WAKE_AT), 0);
    d.now = 10 * MS;
    up(&d, 1, 1);
    EQ_U64(nth(&d, SCHED_WAKE_AT, 0)->at, 60 * MS);
    d.now = 60 * MS;
    step(&d, (struct sched_event){ .kind = SCHED_TIMER });
    EQ_U64(count(&d, SCHED_REVOKE), 3);
    EQ_U64(nth(&d, SCHED_REVOKE, 0)->partition, 5); /* the last first */
    EQ_U64(count(&d, SCHED_WAKE_AT) + count(&d, SCHED_LAUNCH), 0);
    done(&d, 1, 0, 5, 0, ERR_CANCELLED);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->partition, 5);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->executor, 1);
    EQ_U64(nth(&d, SCHED_LAUNCH, 0)->attempt, 1);
    done(&d, 1, 0, 3, 0, ERR_NONE); /* it had begun after all */
    EQ_U64(nth(&d, SCHED_ACCEPT, 0)->partition, 3);
    EQ_U64(counters(&d).failed + counters(&d).lost, 0);
    EQ_U64(counters(&d).revoked, 3);
    close_desk(&d);
}

const struct unit_test sched_loss_tests[] = {
    { "lost.output", test_output_lost },
    { "lost.lineage", test_lineage },
    { "lost.input", test_input_lost },
    { "lost.for_ever", test_lost_for_ever },
    { "lost.rows_changed", test_rows_changed },
    { "lost.rounds", test_rounds },
    { "lost.node", test_node_down },
    { "lost.node_of_old", test_moved },
    { "lost.with_executor", test_outputs_with_executor },
    { "lost.result", test_result_lost },
    { "cancel.queued", test_cancel_queued },
    { "cancel.stage", test_stage_cancel },
    { "cancel.task", test_task_kill },
    { "cancel.task_queued", test_task_kill_queued },
    { "cancel.revoke", test_revoke },
    UNIT_END,
};
