/* cluster -- executors, their runners, and the links to the driver. */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* ---- links */
/* From an executor to the driver. */
static void
tell(struct world *w, uint32_t executor, struct sched_event ev, uint64_t read)
{
    struct executor *x = &w->executors[executor];
    struct msg m = { .kind = MSG_EVENT, .executor = executor, .life = x->life, .link = x->link, .disk = x->disk,
                     .node_disk = w->node_disk[x->node], .ev = ev, .read = read };

    m.at = w->now + world_delay(w);
    if (!w->story.reorder && m.at < x->last_out)
        m.at = x->last_out;
    x->last_out = m.at;
    if (x->broken) { /* it doesn't know yet; or it was under way */
        if (rng_below(&w->rng, 2))
            return;
        m.at += rng_log(&w->rng, 1000, 20 * SIM_S);
    }
    world_push(w, m);
    if (world_faulty(w, w->story.duplicate)) {
        w->faults++;
        m.at += world_delay(w) * rng_below(&w->rng, 20);
        world_push(w, m);
    }
}

void
cluster_order(struct world *w, const struct sched_action *a)
{
    struct executor *x = &w->executors[a->executor];
    struct msg m = { .kind = a->kind == SCHED_LAUNCH ? MSG_LAUNCH : a->kind == SCHED_KILL ? MSG_KILL : MSG_REVOKE,
                     .executor = a->executor, .slot = a->slot, .code = a->code, .link = x->link,
                     .held = { a->stage, a->partition, a->attempt, a->epoch } };

    m.at = w->now + world_delay(w);
    if (m.at < x->last_in)
        m.at = x->last_in;
    x->last_in = m.at;
    if (x->broken && rng_below(&w->rng, 2))
        return;
    world_push(w, m);
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
runner_dies(struct world *w, uint32_t executor, uint32_t slot, struct held h, enum err_code code, bool nobody)
{
    struct sched_event ev = event_of(&h, SCHED_SLOT_DOWN, code);

    ev.executor = executor;
    ev.slot = slot;
    ev.epoch = w->executors[executor].epoch;
    ev.blame = nobody ? SCHED_BLAME_NONE : w->story.local ? SCHED_BLAME_HEAD : SCHED_BLAME_TASK;
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

/* One executor, and one node, is out of order for some tasks. */
static bool
is_bad_place(struct world *w, uint32_t executor, const struct held *h)
{
    struct rng r = { w->seed ^ ((uint64_t)h->stage << 40 | h->partition) };

    return w->story.bad > 0 && w->story.executors > 2 && w->now < w->story.faults_until && rng_chance(&r, w->story.bad) &&
           (executor == 0 || (w->executors[executor].node == 2 && w->story.nodes > 2));
}

/* How the attempt will end.  False: never. */
static bool
draw_end(struct world *w, const struct held *h, struct msg *end)
{
    if (end->executor == 0 && world_faulty(w, w->story.no_start)) {
        end->code = ERR_LOST;
        end->dies = end->nobody = true;
    } else if (is_poison(w, h) || is_bad_place(w, end->executor, h)) {
        end->code = ERR_USER;
        end->dies = rng_below(&w->rng, 2);
    } else if (rng_chance(&w->rng, w->story.fatal)) {
        end->code = ERR_INPUT;
    } else if (world_faulty(w, w->story.fail)) {
        end->code = rng_below(&w->rng, 2) ? ERR_IO : ERR_USER;
    } else if (world_faulty(w, w->story.die)) {
        end->code = rng_below(&w->rng, 4) ? ERR_USER : ERR_LOST;
        end->dies = true;
    } else if (world_faulty(w, w->story.lose)) {
        end->code = ERR_LOST;
    } else if (w->story.hangs && world_faulty(w, 10000)) {
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
        runner_dies(w, m->executor, m->slot, h, (enum err_code)m->code, m->nobody);
        return;
    }
    struct stage *st = stage_by_id(w, h.stage);
    struct sched_event ev = event_of(&h, SCHED_DONE, (enum err_code)m->code);
    struct rng rows = { w->seed ^ ((uint64_t)h.stage << 32 | h.partition) };
    ev.digest = st->unstable ? rng_next(&w->rng) : rng_next(&rows);
    ev.rows = 1;
    ev.bytes = st->bytes;
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
            runner_dies(w, m->executor, m->slot, m->held, (enum err_code)m->code, false);
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

    if (!x->alive || x->epoch != m->held.epoch || rng_chance(&w->rng, w->story.deaf))
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
void
cluster_wipe(struct world *w, uint32_t executor, uint32_t node)
{
    for (uint32_t i = 0; i < w->n_stages; i++) {
        struct stage *st = &w->stages[i];

        for (uint32_t k = 0; k < st->n && st->shuffle; k++) {
            struct task *t = &st->tasks[k];

            if (!t->present || (t->made_by != executor && t->made_on != node))
                continue;
            t->present = false;
            st->n_present--;
        }
    }
    if (executor != SCHED_ANY)
        w->executors[executor].disk++;
    if (node != SCHED_ANY)
        w->node_disk[node]++;
}

/* A new process, or one that lost its link and has dropped everything: it dials the driver. */
void
cluster_start(struct world *w, uint32_t executor)
{
    struct executor *x = &w->executors[executor];

    for (uint32_t k = 0; k < w->story.slots; k++)
        drop(&x->slots[k]);
    if (w->story.no_service)
        cluster_wipe(w, executor, SCHED_ANY);
    if (w->story.moves && rng_below(&w->rng, 2))
        x->node = 1 + rng_below(&w->rng, w->story.nodes);
    x->alive = true;
    x->broken = false;
    x->life++;
    x->link++;
    x->epoch = 0; /* until the driver has answered */
    x->last_in = x->last_out = 0;
    tell(w, executor,
         (struct sched_event){ .kind = SCHED_EXECUTOR_UP, .executor = executor, .slots = w->story.slots,
                               .node = w->story.nodes ? x->node : 0 },
         0);
}

void
cluster_handle(struct world *w, const struct msg *m)
{
    struct executor *x = &w->executors[m->executor];

    if (m->kind != MSG_START && w->now < x->paused_until) {
        struct msg later = *m;

        later.at = x->paused_until;
        world_push(w, later);
        return;
    }
    switch ((enum msg_kind)m->kind) {
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
        if (x->alive && x->link == m->link)
            cluster_start(w, m->executor);
        break;
    case MSG_START:
        if (!x->alive)
            cluster_start(w, m->executor);
        break;
    default:
        break;
    }
}
