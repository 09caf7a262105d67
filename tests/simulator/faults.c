/* faults -- what goes wrong from outside. */
#include "sim.h"

/* The driver hears that the link is down; if it heard of the executor at all. */
static void
tell_down(struct world *w, uint32_t executor, uint64_t within)
{
    const struct executor *x = &w->executors[executor];

    if (x->epoch != 0)
        world_send(w, (struct msg){ .kind = MSG_EVENT, .executor = executor, .link = x->link,
                                    .ev = { .kind = SCHED_EXECUTOR_DOWN, .executor = executor, .epoch = x->epoch,
                                            .outputs = w->story.no_service } },
                   rng_next(&w->rng) % within);
}

static void
crash(struct world *w, uint32_t executor)
{
    struct executor *x = &w->executors[executor];

    if (!x->alive)
        return;
    w->faults++;
    tell_down(w, executor, SIM_S / 2);
    x->alive = false;
    x->broken = true;
    x->life++;
    x->paused_until = 0;
    if (w->story.no_service)
        cluster_wipe(w, executor, SCHED_ANY);
    world_send(w, (struct msg){ .kind = MSG_START, .executor = executor }, rng_log(&w->rng, 1000, 5 * SIM_S));
}

/* Each side hears of it in its own time. */
void
faults_break(struct world *w, uint32_t executor)
{
    struct executor *x = &w->executors[executor];

    if (!x->alive || x->broken)
        return;
    w->faults++;
    tell_down(w, executor, 5 * SIM_S);
    x->broken = true;
    world_send(w, (struct msg){ .kind = MSG_RETURN, .executor = executor, .link = x->link },
               rng_log(&w->rng, 1000, 10 * SIM_S));
}

/* The process stops and goes on later; the driver may have given it up meanwhile. */
static void
pause_it(struct world *w, uint32_t executor)
{
    struct executor *x = &w->executors[executor];
    uint64_t time = rng_log(&w->rng, SIM_MS, 60 * SIM_S);

    if (!x->alive || x->broken)
        return;
    w->faults++;
    x->paused_until = w->now + time;
    if (time > 3 * SIM_S || rng_below(&w->rng, 4) == 0)
        faults_break(w, executor); /* silent for too long */
}

/* A machine, its executors and its disk. */
static void
crash_node(struct world *w)
{
    uint32_t node = w->story.nodes ? 1 + rng_below(&w->rng, w->story.nodes) : 0;

    if (node == 0)
        return;
    for (uint32_t i = 0; i < w->story.executors; i++)
        if (w->executors[i].node == node)
            crash(w, i);
    cluster_wipe(w, SCHED_ANY, node);
    w->faults++;
    world_send(w, (struct msg){ .kind = MSG_EVENT, .ev = { .kind = SCHED_NODE_DOWN, .node = node } },
               rng_next(&w->rng) % (3 * SIM_S));
}

static void
lose(struct world *w)
{
    for (int i = 0; i < 20; i++) {
        struct stage *st = &w->stages[rng_below(&w->rng, w->n_stages)];
        struct task *t = &st->tasks[rng_below(&w->rng, st->n)];

        if (!st->shuffle || !t->present)
            continue;
        w->faults++;
        t->present = false;
        st->n_present--;
        return;
    }
}

/* Somebody presses a button, at times too late. */
static void
stop_task(struct world *w)
{
    struct stage *st = &w->stages[rng_below(&w->rng, w->n_stages)];
    uint32_t i = rng_below(&w->rng, st->n);

    for (uint32_t k = 0; k < st->n && !st->tasks[i].out; k++)
        i = (i + 1) % st->n;
    struct task *t = &st->tasks[i];
    world_step(w, &(struct sched_event){ .kind = SCHED_TASK_KILL, .stage = st->id, .partition = st->first + i,
                                         .attempt = t->launches ? t->launches - 1 : 0 });
}

void
faults_handle(struct world *w, const struct msg *m)
{
    switch ((enum msg_kind)m->kind) {
    case MSG_CRASH:
        crash(w, m->executor);
        break;
    case MSG_PAUSE:
        pause_it(w, m->executor);
        break;
    case MSG_BREAK:
        faults_break(w, m->executor);
        break;
    case MSG_NODE:
        crash_node(w);
        break;
    case MSG_LOSE:
        lose(w);
        break;
    case MSG_STOP:
        stop_task(w);
        break;
    case MSG_JUMP:
        w->faults++;
        w->skew += rng_log(&w->rng, SIM_MS, 600 * SIM_S);
        world_send(w, (struct msg){ .kind = MSG_TIMER }, 0);
        break;
    default:
        break;
    }
}

/* n of a kind, at random times while there are faults. */
static void
plan_some(struct world *w, enum msg_kind kind, uint32_t n)
{
    while (n-- > 0)
        world_send(w, (struct msg){ .kind = (uint8_t)kind, .executor = rng_below(&w->rng, w->story.executors) },
                   rng_log(&w->rng, w->story.faults_until / 1000, w->story.faults_until));
}

void
faults_plan(struct world *w)
{
    const struct story *st = &w->story;

    for (uint32_t i = 0; i < st->cancels; i++)
        world_send(w, (struct msg){ .kind = MSG_EVENT, .ev = { .kind = SCHED_JOB_CANCEL,
                                                               .job = rng_below(&w->rng, st->jobs) } },
                   rng_log(&w->rng, 1, 100 * SIM_S));
    for (uint32_t i = 0; i < st->stage_cancels; i++)
        world_send(w, (struct msg){ .kind = MSG_EVENT, .ev = { .kind = SCHED_STAGE_CANCEL,
                                                               .stage = rng_below(&w->rng, w->n_stages) } },
                   rng_log(&w->rng, 1, 100 * SIM_S));
    plan_some(w, MSG_CRASH, st->crashes);
    plan_some(w, MSG_PAUSE, st->pauses);
    plan_some(w, MSG_BREAK, st->breaks);
    plan_some(w, MSG_NODE, st->node_crashes);
    plan_some(w, MSG_LOSE, st->losses);
    plan_some(w, MSG_STOP, st->task_kills);
    plan_some(w, MSG_JUMP, st->jumps);
}
