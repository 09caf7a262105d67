/* Tests of sched: one rule each.  Whole stories under faults are the simulator's (tests/sim). */
#include <string.h>

#include "sched/sched.h"
#include "unit.h"

#define MS 1000000ull

/* A driver in the hand: map stages and a result stage in a row, and what the last step said. */
struct desk {
    struct sched *s;
    struct sched_actions out;
    uint64_t now;
    struct plan_stage stages[4];
    uint32_t parents[4];
    struct plan plan;
};

static void
open_desk(struct desk *d, const struct sched_opts *opts)
{
    *d = (struct desk){ 0 };
    d->s = sched_new(opts ? opts : &(struct sched_opts){ 0 });
}

static void
close_desk(struct desk *d)
{
    sched_free(d->s);
    sched_actions_fini(&d->out);
}

static void
step(struct desk *d, struct sched_event ev)
{
    d->out.n = 0;
    sched_step(d->s, &ev, d->now, &d->out);
}

/* Stages 0 .. n-1, each reading the one before; the last is stage id `last`. */
static void
submit(struct desk *d, uint32_t job, uint32_t n, const uint32_t *tasks, uint32_t last)
{
    for (uint32_t i = 0; i < n; i++) {
        d->stages[i] = (struct plan_stage){ .id = i, .sink = PLAN_SINK_SHUFFLE, .tasks = tasks[i] };
        d->parents[i] = i - 1;
        d->stages[i].parents = &d->parents[i];
        d->stages[i].n_parents = i > 0;
    }
    d->stages[n - 1].id = last;
    d->stages[n - 1].sink = PLAN_SINK_COUNT;
    d->plan = (struct plan){ .n = n, .stages = d->stages, .n_result = tasks[n - 1] };
    step(d, (struct sched_event){ .kind = SCHED_JOB_SUBMIT, .job = job, .plan = &d->plan });
}

static void
up(struct desk *d, uint32_t executor, uint32_t slots)
{
    step(d, (struct sched_event){ .kind = SCHED_EXECUTOR_UP, .executor = executor, .slots = slots });
}

static const struct sched_action *
nth(const struct desk *d, enum sched_action_kind kind, uint32_t n)
{
    static const struct sched_action none;

    for (uint32_t i = 0; i < d->out.n; i++)
        if (d->out.v[i].kind == kind && n-- == 0)
            return &d->out.v[i];
    return &none;
}

static uint32_t
count(const struct desk *d, enum sched_action_kind kind)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < d->out.n; i++)
        n += d->out.v[i].kind == kind;
    return n;
}

static struct sched_event
answer(uint32_t epoch, uint32_t stage, uint32_t partition, uint32_t attempt, enum err_code code)
{
    return (struct sched_event){ .kind = SCHED_DONE, .epoch = epoch, .stage = stage, .partition = partition,
                                 .attempt = attempt, .code = (uint8_t)code };
}

static void
done(struct desk *d, uint32_t epoch, uint32_t stage, uint32_t partition, uint32_t attempt, enum err_code code)
{
    step(d, answer(epoch, stage, partition, attempt, code));
}

static struct sched_counters
counters(const struct desk *d)
{
    struct sched_counters c;

    sched_counters(d->s, &c);
    return c;
}

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

/* A grandparent's output is lost as well: only what is missing runs. */
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

/* A reducer that finds its input lost is not itself at fault, however often. */
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

static const struct unit_test tests[] = {
    { "order.stages_and_partitions", test_in_order },
    { "order.reuses_shuffles", test_reuse },
    { "order.part_of_a_result", test_part },
    { "order.fifo", test_fifo },
    { "order.cancel_queued", test_cancel_queued },
    { "retry.elsewhere_and_last", test_retry },
    { "retry.another_slot", test_another_slot },
    { "retry.not_for_every_code", test_no_retry },
    { "retry.lost_for_ever", test_lost_for_ever },
    { "gate.refuses_stale", test_stale },
    { "gate.output_lost", test_output_lost },
    { "gate.lineage", test_lineage },
    { "gate.input_lost", test_input_lost },
    { "gate.rows_changed", test_rows_changed },
    { "slot.prefetch", test_prefetch },
    { "slot.down", test_slot_down },
    { "slot.timeout", test_timeout },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "sched", tests);
}
