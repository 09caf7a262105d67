/* world -- executors, the network between them and the driver, and what goes wrong. */
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

static void
push(struct world *w, struct msg m)
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
    push(w, m);
}

static uint64_t
delay(struct world *w)
{
    return w->story.delay ? rng_next(&w->rng) % w->story.delay : 0;
}

static bool
faulty(struct world *w, uint32_t per_million)
{
    return per_million > 0 && w->now < w->story.faults_until && rng_chance(&w->rng, per_million);
}

/* From an executor to the driver. */
static void
tell(struct world *w, uint32_t executor, struct sched_event ev, uint64_t read)
{
    struct executor *x = &w->executors[executor];
    struct msg m = { .kind = MSG_EVENT, .executor = executor, .life = x->life, .ev = ev, .read = read };

    m.at = w->now + delay(w);
    if (!w->story.reorder && m.at < x->last_out)
        m.at = x->last_out;
    x->last_out = m.at;
    push(w, m);
    if (faulty(w, w->story.duplicate)) {
        w->faults++;
        m.at += delay(w) * rng_below(&w->rng, 20);
        push(w, m);
    }
}

/* From the driver to an executor: a stream. */
static void
order(struct world *w, struct msg m)
{
    struct executor *x = &w->executors[m.executor];

    m.at = w->now + delay(w);
    if (m.at < x->last_in)
        m.at = x->last_in;
    x->last_in = m.at;
    push(w, m);
}

void
world_launch(struct world *w, const struct sched_action *a)
{
    order(w, (struct msg){ .kind = MSG_LAUNCH, .executor = a->executor, .slot = a->slot,
                           .held = { a->stage, a->partition, a->attempt, a->epoch } });
}

void
world_kill(struct world *w, const struct sched_action *a)
{
    order(w, (struct msg){ .kind = MSG_KILL, .executor = a->executor, .slot = a->slot, .code = a->code,
                           .held = { a->stage, a->partition, a->attempt, a->epoch } });
}

void
world_revoke(struct world *w, const struct sched_action *a)
{
    order(w, (struct msg){ .kind = MSG_REVOKE, .executor = a->executor, .slot = a->slot,
                           .held = { a->stage, a->partition, a->attempt, a->epoch } });
}

/* ---- slots */
static struct held *
held(const struct xslot *sl, uint32_t k)
{
    return &sl->queue[(sl->head + k) % sl->cap];
}

static void
enqueue(struct xslot *sl, struct held h)
{
    if (sl->n == sl->cap) {
        uint32_t cap = sl->cap ? 2 * sl->cap : 4;
        struct held *q = calloc(cap, sizeof *q);

        for (uint32_t k = 0; k < sl->n; k++)
            q[k] = *held(sl, k);
        free(sl->queue);
        sl->queue = q;
        sl->cap = cap;
        sl->head = 0;
    }
    *held(sl, sl->n++) = h;
}

/* The runner is gone, and what it held. */
static void
drop(struct xslot *sl)
{
    sl->life++;
    sl->n = sl->head = 0;
    sl->busy = false;
}

static struct sched_event
event_of(const struct held *h, enum sched_event_kind kind, enum err_code code)
{
    return (struct sched_event){ .kind = (uint8_t)kind, .code = (uint8_t)code, .stage = h->stage,
                                 .partition = h->partition, .attempt = h->attempt, .epoch = h->epoch };
}

static void
runner_dies(struct world *w, uint32_t executor, uint32_t slot, struct held h, enum err_code code)
{
    struct sched_event ev = event_of(&h, SCHED_SLOT_DOWN, code);

    ev.executor = executor;
    ev.slot = slot;
    ev.epoch = w->executors[executor].epoch;
    ev.blame = w->story.local ? SCHED_BLAME_HEAD : SCHED_BLAME_TASK;
    drop(&w->executors[executor].slots[slot]);
    tell(w, executor, ev, 0);
}

/* A task can't read its input: which outputs are missing? */
static void
tell_missing(struct world *w, uint32_t executor, const struct stage *st)
{
    for (uint32_t i = 0; i < st->n_parents; i++) {
        struct stage *p = &w->stages[st->parents[i]];

        for (uint32_t k = 0; k < p->n && p->n_present < p->n; k++)
            if (!p->tasks[k].present) {
                tell(w, executor,
                     (struct sched_event){ .kind = SCHED_OUTPUT_LOST, .stage = p->id, .partition = k,
                                           .generation = p->tasks[k].generation },
                     0);
                if (rng_below(&w->rng, 2))
                    break; /* it looks no further */
            }
    }
}

static bool
is_poison(struct world *w, const struct held *h)
{
    struct rng r = { w->seed ^ ((uint64_t)h->stage << 40 | h->partition) };

    return w->story.poison > 0 && rng_chance(&r, w->story.poison);
}

/* How the attempt will end.  False: never. */
static bool
draw_end(struct world *w, const struct held *h, struct msg *end)
{
    if (is_poison(w, h)) {
        end->code = ERR_USER;
        end->dies = rng_below(&w->rng, 2);
    } else if (rng_chance(&w->rng, w->story.fatal)) {
        end->code = ERR_INPUT;
    } else if (faulty(w, w->story.fail)) {
        end->code = rng_below(&w->rng, 2) ? ERR_IO : ERR_USER;
    } else if (faulty(w, w->story.die)) {
        end->code = rng_below(&w->rng, 4) ? ERR_USER : ERR_LOST;
        end->dies = true;
    } else if (faulty(w, w->story.lose)) {
        end->code = ERR_LOST;
    } else if (w->story.hangs && faulty(w, 10000)) {
        w->faults++;
        return false;
    }
    w->faults += end->code != ERR_NONE;
    return true;
}

static void
run_next(struct world *w, uint32_t executor, uint32_t slot)
{
    struct executor *x = &w->executors[executor];
    struct xslot *sl = &x->slots[slot];
    bool all;

    if (sl->busy || sl->n == 0)
        return;
    sl->busy = true;
    struct held h = *held(sl, 0);
    struct msg end = { .kind = MSG_RUN_END, .executor = executor, .slot = slot, .life = x->life,
                       .slot_life = sl->life, .held = h };
    struct stage *st = stage_by_id(w, h.stage);
    uint64_t time = st->duration / 2 + rng_next(&w->rng) % st->duration;

    end.read = check_read(w, st, &all);
    if (!all) {
        tell_missing(w, executor, st);
        end.code = ERR_LOST;
        world_send(w, end, rng_next(&w->rng) % SIM_MS);
        return;
    }
    if (draw_end(w, &h, &end))
        world_send(w, end, rng_below(&w->rng, 100) == 0 ? 10 * time : time);
}

static void
run_end(struct world *w, const struct msg *m)
{
    struct executor *x = &w->executors[m->executor];
    struct xslot *sl = &x->slots[m->slot];

    if (!x->alive || x->life != m->life || sl->life != m->slot_life)
        return;
    struct held h = *held(sl, 0);
    if (m->dies) {
        runner_dies(w, m->executor, m->slot, h, (enum err_code)m->code);
        return;
    }
    struct stage *st = stage_by_id(w, h.stage);
    struct sched_event ev = event_of(&h, SCHED_DONE, (enum err_code)m->code);
    struct rng rows = { w->seed ^ ((uint64_t)h.stage << 32 | h.partition) };
    ev.digest = st->unstable ? rng_next(&w->rng) : rng_next(&rows);
    ev.rows = 1;
    sl->head = (sl->head + 1) % sl->cap;
    sl->n--;
    sl->busy = false;
    tell(w, m->executor, ev, m->read);
    run_next(w, m->executor, m->slot);
}

static void
launch_comes(struct world *w, const struct msg *m)
{
    struct executor *x = &w->executors[m->executor];

    if (!x->alive || x->epoch != m->held.epoch)
        return;
    enqueue(&x->slots[m->slot], m->held);
    run_next(w, m->executor, m->slot);
}

static void
kill_comes(struct world *w, const struct msg *m)
{
    struct executor *x = &w->executors[m->executor];
    struct xslot *sl = &x->slots[m->slot];

    if (!x->alive || x->epoch != m->held.epoch)
        return;
    for (uint32_t k = 0; k < sl->n; k++)
        if (!memcmp(held(sl, k), &m->held, sizeof m->held)) {
            runner_dies(w, m->executor, m->slot, m->held, (enum err_code)m->code);
            return;
        }
}

/* Dropped if it has not begun. */
static void
revoke_comes(struct world *w, const struct msg *m)
{
    struct executor *x = &w->executors[m->executor];
    struct xslot *sl = &x->slots[m->slot];
    uint32_t k = 1;

    if (!x->alive || x->epoch != m->held.epoch)
        return;
    while (k < sl->n && memcmp(held(sl, k), &m->held, sizeof m->held))
        k++;
    if (k >= sl->n)
        return;
    for (; k > 0; k--)
        *held(sl, k) = *held(sl, k - 1);
    sl->head = (sl->head + 1) % sl->cap;
    sl->n--;
    tell(w, m->executor, event_of(&m->held, SCHED_DONE, ERR_CANCELLED), 0);
}

/* ---- executors */
static void
start(struct world *w, uint32_t executor)
{
    struct executor *x = &w->executors[executor];

    for (uint32_t k = 0; k < w->story.slots; k++)
        drop(&x->slots[k]);
    x->alive = true;
    x->life++;
    x->epoch = 0; /* until the driver has answered */
    tell(w, executor,
         (struct sched_event){ .kind = SCHED_EXECUTOR_UP, .executor = executor, .slots = w->story.slots }, 0);
}

static void
crash(struct world *w, uint32_t executor)
{
    struct executor *x = &w->executors[executor];

    if (!x->alive)
        return;
    w->faults++;
    x->alive = false;
    x->life++;
    x->paused_until = 0;
    if (x->epoch != 0)
        world_send(w, (struct msg){ .kind = MSG_EVENT, .executor = executor,
                                    .ev = { .kind = SCHED_EXECUTOR_DOWN, .executor = executor, .epoch = x->epoch } },
                   rng_next(&w->rng) % (SIM_S / 2));
    world_send(w, (struct msg){ .kind = MSG_START, .executor = executor }, rng_log(&w->rng, 1000, 5 * SIM_S));
}

/* The process stops and goes on later; the driver may have given it up meanwhile. */
static void
pause_it(struct world *w, uint32_t executor)
{
    struct executor *x = &w->executors[executor];
    uint64_t time = rng_log(&w->rng, SIM_MS, 60 * SIM_S);

    if (!x->alive || x->epoch == 0)
        return;
    w->faults++;
    x->paused_until = w->now + time;
    if (time > 3 * SIM_S || rng_below(&w->rng, 4) == 0)
        world_send(w, (struct msg){ .kind = MSG_EVENT, .executor = executor,
                                    .ev = { .kind = SCHED_EXECUTOR_DOWN, .executor = executor, .epoch = x->epoch } },
                   rng_next(&w->rng) % (5 * SIM_S));
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

    printf("%14.6f %-9s job %u executor %u slot %u epoch %u task %u.%u attempt %u generation %u %s\n",
           (double)w->now / 1e9, kinds[ev->kind], ev->job, ev->executor, ev->slot, ev->epoch, ev->stage,
           ev->partition, ev->attempt, ev->generation, ev->code ? err_code_name((enum err_code)ev->code) : "");
}

static void
print_action(const struct sched_action *a)
{
    static const char *const kinds[] = { "", "LAUNCH", "KILL", "ACCEPT", "DISCARD", "STAGE_END", "CHANGED",
                                         "JOB_END", "WAKE_AT", "GONE", "REVOKE", "EXCLUDED", "READMIT" };

    printf("    -> %-9s job %u executor %u slot %u epoch %u task %u.%u attempt %u generation %u flags %u why %u %s\n",
           kinds[a->kind], a->job, a->executor, a->slot, a->epoch, a->stage, a->partition, a->attempt,
           a->generation, a->flags, a->why, a->code ? err_code_name((enum err_code)a->code) : "");
}

static void
submit(struct world *w, uint32_t job, uint64_t in)
{
    world_send(w, (struct msg){ .kind = MSG_EVENT, .ev = { .kind = SCHED_JOB_SUBMIT, .job = job,
                                                           .plan = &w->jobs[job].plan } }, in);
}

/* What a job's end means for the rest. */
static void
after_job_end(struct world *w, const struct sched_action *a)
{
    struct stage *st = stage_by_id(w, a->stage);

    if (w->story.chain && a->job + 1 < w->story.jobs)
        submit(w, a->job + 1, delay(w));
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
    if (w->events % 64 == 0 || w->loud)
        check_inside(w);
}

static void
hear(struct world *w, const struct msg *m)
{
    struct executor *x = &w->executors[m->executor];

    if (m->ev.kind == SCHED_EXECUTOR_UP && (!x->alive || x->life != m->life))
        return; /* the connection is dead already */
    if (m->ev.kind == SCHED_EXECUTOR_UP && x->epoch != 0)
        return; /* a duplicate: the connection is known */
    bool declared = m->ev.kind == SCHED_EXECUTOR_DOWN && x->seen && x->seen_epoch == m->ev.epoch;
    w->read = m->read;
    world_step(w, &m->ev);
    if (m->ev.kind == SCHED_EXECUTOR_UP)
        x->epoch = x->seen_epoch;
    if (declared && x->alive && x->epoch == m->ev.epoch) {
        uint64_t wait = x->paused_until > w->now ? x->paused_until - w->now : 0;

        world_send(w, (struct msg){ .kind = MSG_RETURN, .executor = m->executor, .life = x->life },
                   wait + rng_log(&w->rng, 1000, SIM_S));
    }
}

static void
handle(struct world *w, struct msg *m)
{
    struct executor *x = &w->executors[m->executor];

    if (m->kind >= MSG_LAUNCH && m->kind <= MSG_RETURN && w->now < x->paused_until) {
        m->at = x->paused_until;
        push(w, *m);
        return;
    }
    switch ((enum msg_kind)m->kind) {
    case MSG_EVENT:
        hear(w, m);
        break;
    case MSG_TIMER:
        world_step(w, &(struct sched_event){ .kind = SCHED_TIMER });
        break;
    case MSG_LAUNCH:
        launch_comes(w, m);
        break;
    case MSG_KILL:
        kill_comes(w, m);
        break;
    case MSG_REVOKE:
        revoke_comes(w, m);
        break;
    case MSG_RUN_END:
        run_end(w, m);
        break;
    case MSG_RETURN:
        if (x->alive && x->life == m->life)
            start(w, m->executor);
        break;
    case MSG_START:
        start(w, m->executor);
        break;
    case MSG_CRASH:
        crash(w, m->executor);
        break;
    case MSG_PAUSE:
        pause_it(w, m->executor);
        break;
    case MSG_LOSE:
        lose(w);
        break;
    case MSG_JUMP:
        w->faults++;
        w->skew += rng_log(&w->rng, SIM_MS, 600 * SIM_S);
        world_send(w, (struct msg){ .kind = MSG_TIMER }, 0);
        break;
    }
}

/* n of a kind, at random times while there are faults. */
static void
plan_faults(struct world *w, enum msg_kind kind, uint32_t n)
{
    while (n-- > 0)
        world_send(w, (struct msg){ .kind = (uint8_t)kind, .executor = rng_below(&w->rng, w->story.executors) },
                   rng_log(&w->rng, w->story.faults_until / 1000, w->story.faults_until));
}

static void
begin(struct world *w)
{
    const struct story *st = &w->story;

    w->executors = calloc(st->executors, sizeof *w->executors);
    for (uint32_t i = 0; i < st->executors; i++) {
        w->executors[i].slots = calloc(st->slots, sizeof(struct xslot));
        w->executors[i].flush = calloc(st->slots, sizeof(uint32_t));
        world_send(w, (struct msg){ .kind = MSG_START, .executor = i }, delay(w));
    }
    for (uint32_t i = 0; i < st->jobs; i++)
        if (i == 0 || !st->chain)
            submit(w, i, rng_log(&w->rng, 1, 10 * SIM_S));
    for (uint32_t i = 0; i < st->cancels; i++)
        world_send(w, (struct msg){ .kind = MSG_EVENT, .ev = { .kind = SCHED_JOB_CANCEL,
                                                               .job = rng_below(&w->rng, st->jobs) } },
                   rng_log(&w->rng, 1, 100 * SIM_S));
    plan_faults(w, MSG_CRASH, st->crashes);
    plan_faults(w, MSG_PAUSE, st->pauses);
    plan_faults(w, MSG_LOSE, st->losses);
    plan_faults(w, MSG_JUMP, st->jumps);
}

void
world_run(struct world *w, uint64_t seed, uint8_t plant, bool loud)
{
    *w = (struct world){ .seed = seed, .rng = { seed * 0x9e3779b97f4a7c15ull }, .loud = loud };
    story_draw(&w->story, &w->rng, plant);
    jobs_build(w);
    w->sched = sched_new(&w->story.opts);
    begin(w);
    while (w->n_heap > 0 && !w->broken[0]) {
        struct msg m = pop(w);

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
    for (uint32_t i = 0; i < w->n_stages; i++)
        free(w->stages[i].tasks);
    free(w->executors);
    free(w->heap);
}
