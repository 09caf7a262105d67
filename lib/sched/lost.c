/* lost -- accepted outputs that are gone: one that somebody could not read, or all of a place.
 *
 * A lost output opens a new generation of its task; whoever still needs it waits (stage.c).  A place that the
 * cluster says is lost is no fault of the job and only max_lost bounds it.  Outputs that readers report are
 * counted by rounds: from one completion of the stage to the next.  In the second round in a row all that
 * the stage has from the same place is given up, as there it seems to be the place; max_rounds ends the job.  A
 * reader that gets its result accepted ends the row. */
#include "sched/sched_priv.h"

/* Returns false if that was once too often. */
static bool
lose(struct sched *s, struct sched__stage *st, uint32_t partition)
{
    struct sched__task *t = sched__task(st, partition);
    struct sched_action *a = sched__act(s, SCHED_OUTPUT_GONE);

    a->executor = s->slots[t->slot].executor;
    a->node = s->slots[t->slot].node;
    a->stage = st->id;
    a->partition = partition;
    a->attempt = t->accepted;
    a->generation = ++t->generation;
    st->n_done--;
    sched__push_again(s, st, partition);
    return t->generation <= s->opts.max_lost;
}

/* The stage is not complete any more: those who read it wait. */
static void
stop_children(struct sched *s, struct sched__stage *st)
{
    for (uint32_t i = 0; i < st->n_children; i++)
        if (st->children[i]->missing++ == 0)
            sched__unlist(s, st->children[i]);
}

/* Loses all that was accepted from there; returns a task that was lost too often, SCHED__NONE if there is none. */
static uint32_t
lose_all(struct sched *s, struct sched__stage *st, uint32_t executor, uint32_t node)
{
    uint32_t worn = SCHED__NONE;

    for (uint32_t i = 0; i < sched__written(st); i++) {
        const struct sched__slot *sl = &s->slots[st->tasks[i].slot];

        if (st->tasks[i].state != SCHED__ACCEPTED || (executor != SCHED__NONE && sl->executor != executor) ||
            (node != SCHED__NONE && sl->node != node))
            continue;
        if (!lose(s, st, st->first + i))
            worn = i;
    }
    return worn;
}

static void
fail(struct sched *s, struct sched__stage *st, uint32_t partition)
{
    struct sched__task *t = sched__task(st, partition);

    if (st->live_jobs == 0) /* nobody's loss */
        return;
    t->failures = t->lost = 0; /* a later job may try again */
    sched__fail(s, st, SCHED_TASK_LOST, ERR_LOST,
                &(struct sched__entry){ .stage = st->id, .partition = partition, .attempt = t->accepted });
}

void
sched__outputs_lost(struct sched *s, uint32_t executor, uint32_t node)
{
    for (uint32_t i = 0; i < s->n_stages; i++) {
        struct sched__stage *st = s->stages[i];

        if (!st || !st->files || (!st->shuffle && st->live_jobs == 0))
            continue;
        bool complete = sched__complete(st);
        uint32_t worn = lose_all(s, st, executor, node);
        if (complete && !sched__complete(st))
            stop_children(s, st);
        for (uint32_t k = 0; k < st->n_children; k++)
            st->children[k]->rounds = 0; /* that is why */
        if (node != SCHED__NONE && node < st->n_node_bytes)
            st->node_bytes[node] = 0;
        if (worn != SCHED__NONE)
            fail(s, st, st->first + worn);
    }
    for (uint32_t i = 0; i < s->n_stages; i++)
        if (s->stages[i] && !sched__complete(s->stages[i]))
            sched__activate(s, s->stages[i]);
}

void
sched__node_down(struct sched *s, uint32_t node)
{
    if (node == 0) {
        s->count.stale++;
        return;
    }
    sched__executors_down(s, node);
    if (!PLANTED(s, SCHED__PLANT_NODE_KEEPS))
        sched__outputs_lost(s, SCHED__NONE, node);
}

/* A complete stage isn't any more; returns true if that was once too often. */
static bool
new_round(struct sched *s, struct sched__stage *st, const struct sched__slot *where)
{
    uint32_t most = 0;
    bool worn = false;

    stop_children(s, st);
    for (uint32_t i = 0; i < st->n_children; i++) {
        struct sched__stage *c = st->children[i];

        if (c->live_jobs > 0 && c->active && ++c->rounds > most)
            most = c->rounds;
    }
    if (most > 1 && s->count.executors > 1)
        worn = lose_all(s, st, where->node == 0 ? where->executor : SCHED__NONE,
                        where->node == 0 ? SCHED__NONE : where->node) != SCHED__NONE;
    return worn || most >= s->opts.max_rounds;
}

void
sched__output_lost(struct sched *s, const struct sched_event *ev)
{
    struct sched__stage *st = sched__stage(s, ev->stage);
    struct sched__task *t = sched__known(st, ev->partition);

    if (!t || (!st->shuffle && st->live_jobs == 0) || t->state != SCHED__ACCEPTED || t->generation != ev->generation) {
        s->count.stale++;
        return;
    }
    const struct sched__slot *where = &s->slots[t->slot];
    bool complete = sched__complete(st), worn = !lose(s, st, ev->partition);
    if (complete) {
        worn |= new_round(s, st, where);
        sched__activate(s, st);
    }
    if (worn)
        fail(s, st, ev->partition);
}
