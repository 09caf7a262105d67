/* places -- does sched keep away from bad places, and only from those?  Its own account of them, by the actions. */
#include <stdlib.h>
#include <string.h>

#include "sched/sched_priv.h"
#include "sim.h"

static bool
in_list(const struct fails *f, uint32_t executor, uint32_t node)
{
    for (uint32_t i = 0; f && i < f->n_bad; i++)
        if (f->bad[i].executor == executor || (f->bad[i].executor == SCHED_ANY && f->bad[i].node == node))
            return true;
    return false;
}

void
places_failed(struct world *w, struct stage *st, uint32_t partition, const struct task *t)
{
    if (!st->fails)
        st->fails = calloc(1, sizeof *st->fails);
    struct fails *f = st->fails;

    if (f->n == FAILS) {
        f->full = true;
        return;
    }
    /* where it was launched, wherever the executor is now */
    f->v[f->n] = (struct place){ t->executor, w->executors[t->executor].seen_node };
    f->v_partition[f->n++] = partition;
}

void
places_forget(struct stage *st)
{
    free(st->fails);
    st->fails = NULL;
}

/* May the task run there by the rules? */
static bool
fine(struct world *w, const struct stage *st, uint32_t partition, uint32_t executor)
{
    const struct fails *f = st->fails;
    uint32_t node = w->executors[executor].seen_node, here = 0, near = 0;

    if (in_list(&w->app, executor, node) || in_list(f, executor, node))
        return false;
    for (uint32_t i = 0; f && i < f->n; i++) {
        if (f->v_partition[i] != partition)
            continue;
        here += f->v[i].executor == executor;
        near += node != 0 && f->v[i].node == node;
    }
    return here < 1 && near < 2;
}

/* Is the place that the task prefers up and not avoided by all? */
static bool
is_there(const struct world *w, const struct sched_prefer *p)
{
    bool executor = p->executor == SCHED_ANY, node = p->node == 0;

    for (uint32_t i = 0; i < w->story.executors; i++) {
        if (!w->executors[i].seen || in_list(&w->app, i, w->executors[i].seen_node))
            continue;
        executor |= p->executor == i;
        node |= w->executors[i].seen_node == p->node;
    }
    return executor && node && (p->executor != SCHED_ANY || p->node != 0);
}

/* A task that never ran goes elsewhere than it would: has the stage waited for long enough, or was it no use? */
static void
check_wishes(struct world *w, const struct stage *st, const struct sched_action *a)
{
    const struct sched__stage *in = sched__stage(w->sched, a->stage);
    const struct sched__near *n = in->near;
    const struct job *job = &w->jobs[st->teller - 1];
    uint32_t told = 0, from = 0, to = job->n_wishes;

    while (from < to) { /* they are in order */
        uint32_t mid = (from + to) / 2;
        const struct sched_prefer *p = &job->wishes[mid];

        if (p->stage < a->stage || (p->stage == a->stage && p->partition < a->partition))
            from = mid + 1;
        else
            to = mid;
    }
    for (; n && from < job->n_wishes; from++) {
        const struct sched_prefer *p = &job->wishes[from];

        if (p->stage != a->stage || p->partition != a->partition)
            break;
        if (p->executor == a->executor || (p->node == a->node && a->node != 0) || !is_there(w, p))
            return;
        told++;
    }
    if (told > 0 && n->waited + (n->since ? w->sched->now - n->since : 0) < n->wait &&
        (in->busy_n == 0 || in->busy_ns / in->busy_n / (n->slots ? n->slots : 1) <= n->wait) && n->slots > 0)
        broken(w, "%u.%u runs on executor %u, which it does not prefer", a->stage, a->partition, a->executor);
}

void
places_launch(struct world *w, const struct stage *st, const struct sched_action *a)
{
    if (a->attempt == 0)
        check_wishes(w, st, a);
    if (w->story.opts.avoid_off || w->story.no_start || (st->fails && st->fails->full) || fine(w, st, a->partition, a->executor))
        return;
    for (uint32_t i = 0; i < w->story.executors; i++)
        if (w->executors[i].seen && fine(w, st, a->partition, i)) {
            broken(w, "launch of %u.%u on executor %u, which is to be avoided; %u is not", a->stage, a->partition,
                   a->executor, i);
            return;
        }
}

/* Tasks of the stage that failed on the executor. */
static uint32_t
count_tasks(const struct fails *f, uint32_t executor)
{
    uint32_t n = 0;

    for (uint32_t i = 0; f && i < f->n; i++) {
        bool again = f->v[i].executor != executor;

        for (uint32_t k = 0; k < i && !again; k++)
            again = f->v[k].executor == executor && f->v_partition[k] == f->v_partition[i];
        n += !again;
    }
    return n;
}

static uint32_t
count_bad(const struct fails *f, uint32_t node)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < f->n_bad; i++)
        n += f->bad[i].executor != SCHED_ANY && f->bad[i].node == node;
    return n;
}

void
places_excluded(struct world *w, const struct sched_action *a)
{
    struct stage *st = stage_by_id(w, a->stage);
    if (st && !st->fails)
        st->fails = calloc(1, sizeof *st->fails);
    struct fails *f = a->stage == SCHED_ANY ? &w->app : st ? st->fails : NULL;
    bool left = false;

    if (w->story.opts.avoid_off || !f ||
        (a->stage != SCHED_ANY && a->executor != SCHED_ANY && !f->full && !w->story.no_start &&
         count_tasks(f, a->executor) < 2)) {
        broken(w, "executor %u, node %u are avoided for nothing", a->executor, a->node);
        return;
    }
    if (a->executor == SCHED_ANY && (a->node == 0 || count_bad(f, a->node) < 2))
        broken(w, "node %u is avoided for nothing", a->node);
    if (f->n_bad == BADS) {
        broken(w, "too many places are avoided");
        return;
    }
    f->bad[f->n_bad++] = (struct place){ a->executor, a->node };
    for (uint32_t i = 0; i < w->story.executors; i++)
        left |= w->executors[i].seen && !in_list(f, i, w->executors[i].seen_node);
    if (!left)
        broken(w, "everything is avoided");
}

void
places_readmitted(struct world *w, const struct sched_action *a)
{
    struct fails *f = &w->app;
    uint32_t i = 0;

    while (i < f->n_bad && (f->bad[i].executor != a->executor || f->bad[i].node != a->node))
        i++;
    if (a->stage != SCHED_ANY || i == f->n_bad)
        broken(w, "executor %u, node %u are not avoided and readmitted", a->executor, a->node);
    else
        f->bad[i] = f->bad[--f->n_bad];
}
