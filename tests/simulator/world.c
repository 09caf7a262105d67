/* world -- what is under way, what happens next, and the driver around sched. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* ---- what is under way: a heap by time, then by age */
static bool
earlier(const struct msg *a, const struct msg *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void
world_push(struct world *w, struct msg m)
{
    if (w->n_heap == w->cap_heap) {
        w->cap_heap = w->cap_heap ? 2 * w->cap_heap : 64;
        w->heap = realloc(w->heap, w->cap_heap * sizeof *w->heap);
    }
    uint32_t i = w->n_heap++;
    m.seq = w->seq++;
    for (; i > 0 && earlier(&m, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = m;
}

static struct msg
pop(struct world *w)
{
    struct msg top = w->heap[0], last = w->heap[--w->n_heap];
    uint32_t i = 0;

    for (;;) {
        uint32_t k = 2 * i + 1;

        if (k + 1 < w->n_heap && earlier(&w->heap[k + 1], &w->heap[k]))
            k++;
        if (k >= w->n_heap || earlier(&last, &w->heap[k]))
            break;
        w->heap[i] = w->heap[k];
        i = k;
    }
    w->heap[i] = last;
    return top;
}

void
world_send(struct world *w, struct msg m, uint64_t delay)
{
    m.at = w->now + delay;
    world_push(w, m);
}

uint64_t
world_delay(struct world *w)
{
    return w->story.delay ? rng_next(&w->rng) % w->story.delay : 0;
}

bool
world_faulty(struct world *w, uint32_t per_million)
{
    return per_million > 0 && w->now < w->story.faults_until && rng_chance(&w->rng, per_million);
}

/* ---- the driver */
static void
mix(struct world *w, uint64_t v)
{
    w->hash = (w->hash ^ v) * 0x9ddfea08eb382d69ull;
    w->hash ^= w->hash >> 47;
}

static void
print_event(struct world *w, const struct sched_event *ev)
{
    static const char *const kinds[] = { "", "SUBMIT", "CANCEL", "UP", "DOWN", "SLOT_DOWN", "DONE", "LOST", "TIMER",
                                         "NODE_DOWN", "STOP_STAGE", "STOP_TASK" };

    printf("%14.6f %-9s job %u executor %u slot %u node %u epoch %u task %u.%u attempt %u generation %u %s\n",
           (double)w->now / 1e9, kinds[ev->kind], ev->job, ev->executor, ev->slot, ev->node, ev->epoch, ev->stage,
           ev->partition, ev->attempt, ev->generation, ev->code ? err_code_name((enum err_code)ev->code) : "");
}

static void
print_action(const struct sched_action *a)
{
    static const char *const kinds[] = { "", "LAUNCH", "KILL", "ACCEPT", "DISCARD", "STAGE_END", "CHANGED",
                                         "JOB_END", "WAKE_AT", "GONE", "REVOKE", "EXCLUDED", "READMIT" };

    printf("    -> %-9s job %u executor %u slot %u node %u epoch %u task %u.%u attempt %u generation %u flags %u "
           "why %u %s\n",
           kinds[a->kind], a->job, a->executor, a->slot, a->node, a->epoch, a->stage, a->partition, a->attempt,
           a->generation, a->flags, a->why, a->code ? err_code_name((enum err_code)a->code) : "");
}

static void
submit(struct world *w, uint32_t job, uint64_t in)
{
    world_send(w, (struct msg){ .kind = MSG_EVENT, .ev = { .kind = SCHED_JOB_SUBMIT, .job = job,
                                                           .plan = &w->jobs[job].plan,
                                                           .prefer = w->jobs[job].wishes,
                                                           .n_prefer = w->jobs[job].n_wishes } },
               in);
}

/* What a job's end means for the rest. */
static void
after_job_end(struct world *w, const struct sched_action *a)
{
    struct stage *st = stage_by_id(w, a->stage);

    if (w->story.chain && a->job + 1 < w->story.jobs)
        submit(w, a->job + 1, world_delay(w));
    if (a->why == SCHED_TASK_FAILED || a->why == SCHED_TASK_LOST)
        st->tasks[a->partition - st->first].charged = 0;
}

void
world_step(struct world *w, const struct sched_event *ev)
{
    struct sched_actions *out = &w->out;

    w->events++;
    mix(w, (uint64_t)ev->kind << 56 ^ (uint64_t)ev->code << 48 ^ (uint64_t)ev->executor << 24 ^ ev->slot);
    mix(w, (uint64_t)ev->stage << 40 ^ (uint64_t)ev->attempt << 24 ^ ev->partition);
    mix(w, (w->now + w->skew) ^ (uint64_t)ev->epoch << 44);
    if (w->loud)
        print_event(w, ev);
    check_before(w, ev);
    out->n = 0;
    sched_step(w->sched, ev, w->now + w->skew, out);
    if (ev->kind == SCHED_EXECUTOR_UP)
        w->executors[ev->executor].seen_epoch = sched_epoch(w->sched, ev->executor);
    for (uint32_t i = 0; i < out->n && !w->broken[0]; i++) {
        const struct sched_action *a = &out->v[i];

        mix(w, (uint64_t)a->kind << 56 ^ (uint64_t)a->code << 48 ^ (uint64_t)a->executor << 24 ^ a->slot);
        mix(w, (uint64_t)a->stage << 40 ^ (uint64_t)a->attempt << 24 ^ a->partition);
        mix(w, a->at ^ (uint64_t)a->epoch << 40 ^ (uint64_t)a->generation << 16 ^ a->flags << 8 ^ a->why);
        if (w->loud)
            print_action(a);
        check_action(w, ev, a);
    }
    for (uint32_t i = 0; i < out->n && !w->broken[0]; i++)
        if (out->v[i].kind == SCHED_JOB_END)
            after_job_end(w, &out->v[i]);
    if (ev->kind == SCHED_NODE_DOWN)
        check_node_down(w, ev->node);
    if (w->loud || w->events % (w->story.tasks + w->story.executors * w->story.slots < 100 ? 1 : 64) == 0)
        inside_check(w);
}

/* The executor says hello: is it on a link that still stands, and is that new? */
static bool
welcome(struct world *w, const struct msg *m)
{
    struct executor *x = &w->executors[m->executor];

    if (!x->alive || x->link != m->link || x->broken || x->epoch != 0)
        return false;
    if (x->seen && w->story.no_service)
        world_step(w, &(struct sched_event){ .kind = SCHED_EXECUTOR_DOWN, .executor = m->executor, .outputs = true });
    return true;
}

/* The driver hangs up on executors of a lost node, should some be alive. */
static void
hang_up(struct world *w, uint32_t node)
{
    for (uint32_t i = 0; i < w->story.executors; i++)
        if (w->executors[i].seen && w->executors[i].seen_node == node && w->executors[i].epoch != 0)
            faults_break(w, i);
}

static void
hear(struct world *w, const struct msg *m)
{
    if (m->ev.kind == SCHED_EXECUTOR_UP && !welcome(w, m))
        return;
    if (m->ev.kind == SCHED_NODE_DOWN)
        hang_up(w, m->ev.node);
    w->from = m;
    world_step(w, &m->ev);
    w->from = NULL;
    if (m->ev.kind == SCHED_EXECUTOR_UP)
        w->executors[m->executor].epoch = w->executors[m->executor].seen_epoch;
}

static void
handle(struct world *w, struct msg *m)
{
    switch ((enum msg_kind)m->kind) {
    case MSG_EVENT:
        hear(w, m);
        break;
    case MSG_TIMER:
        world_step(w, &(struct sched_event){ .kind = SCHED_TIMER });
        break;
    case MSG_LAUNCH:
    case MSG_KILL:
    case MSG_REVOKE:
    case MSG_RUN_END:
    case MSG_RETURN:
    case MSG_START:
        cluster_handle(w, m);
        break;
    default:
        faults_handle(w, m);
        break;
    }
}

static void
begin(struct world *w)
{
    const struct story *st = &w->story;

    w->executors = calloc(st->executors, sizeof *w->executors);
    w->node_disk = calloc(st->nodes + 1, sizeof *w->node_disk);
    for (uint32_t i = 0; i < st->executors; i++) {
        w->executors[i].slots = calloc(st->slots, sizeof(struct xslot));
        w->executors[i].flush = calloc(st->slots, sizeof(uint32_t));
        w->executors[i].node = st->nodes ? 1 + i % st->nodes : 0;
        world_send(w, (struct msg){ .kind = MSG_START, .executor = i }, world_delay(w));
    }
    for (uint32_t i = 0; i < st->jobs; i++)
        if (i == 0 || !st->chain)
            submit(w, i, rng_log(&w->rng, 1, 10 * SIM_S));
    faults_plan(w);
}

void
world_run(struct world *w, uint64_t seed, uint8_t plant, bool loud)
{
    *w = (struct world){ .seed = seed, .rng = { seed * 0x9e3779b97f4a7c15ull }, .loud = loud };
    story_draw(&w->story, &w->rng, plant);
    jobs_build(w);
    w->sched = sched_new(&w->story.opts);
    begin(w);
    uint32_t same = 0;
    while (w->n_heap > 0 && !w->broken[0]) {
        struct msg m = pop(w);

        same = m.at == w->now ? same + 1 : 0;
        if (same > 1000000)
            broken(w, "time stands still");
        w->now = m.at;
        if (w->now > SIM_LIMIT || w->events > 50000000)
            broken(w, "no end in sight");
        handle(w, &m);
    }
    check_end(w);
}

void
world_fini(struct world *w)
{
    sched_free(w->sched);
    sched_actions_fini(&w->out);
    for (uint32_t i = 0; i < w->story.executors; i++) {
        for (uint32_t k = 0; k < w->story.slots; k++)
            free(w->executors[i].slots[k].queue);
        free(w->executors[i].slots);
        free(w->executors[i].flush);
    }
    for (uint32_t i = 0; i < w->n_stages; i++) {
        free(w->stages[i].tasks);
        free(w->stages[i].fails);
    }
    for (uint32_t i = 0; i < w->story.jobs; i++)
        free(w->jobs[i].wishes);
    free(w->node_disk);
    free(w->executors);
    free(w->heap);
}
