/* inside -- sched from inside: is every task in exactly one place, does no slot idle for nothing? */
#include "sched/sched_priv.h"
#include "sim.h"

static bool
may(const struct sched *s, const struct sched__stage *st, uint32_t i, uint32_t slot)
{
    struct sched__scars scars;

    sched__scars(s, st, st->first + i, &scars);
    return sched__acceptable(s, st, st->tasks[i].failures || st->tasks[i].lost ? &scars : NULL, slot);
}

/* A slot is idle.  Is there a task that could run there, and no reason to wait? */
static void
check_idle(struct world *w, uint32_t slot)
{
    const struct sched *s = w->sched;

    for (const struct sched__stage *st = s->list_first; st; st = st->list_next) {
        uint32_t listed = 0;

        for (uint32_t i = st->again; i != SCHED__NONE && listed < 9; i = st->tasks[i].next)
            listed++; /* of more it needn't have looked at all */
        for (uint32_t i = listed < 9 ? st->again : SCHED__NONE; i != SCHED__NONE; i = st->tasks[i].next)
            if (may(s, st, i, slot))
                broken(w, "slot %u is idle and %u.%u waits", slot, st->id, st->first + i);
        if (st->cursor == st->n || !sched__acceptable(s, st, NULL, slot))
            continue;
        const struct sched__near *n = st->near;
        if (!n)
            broken(w, "slot %u is idle and stage %u waits", slot, st->id);
        else if (n->since == 0 || n->waited + (s->now - n->since) > 2 * n->wait || n->wait > s->opts.locality_ns)
            broken(w, "slot %u is idle and stage %u waits for a better one too long", slot, st->id);
        else if (s->near_at == SCHED_NEVER || s->wake == 0)
            broken(w, "stage %u waits for a better slot for ever", st->id);
    }
}

static void
check_slots(struct world *w)
{
    const struct sched *s = w->sched;
    uint32_t b = 0, held = 0, busy = 0;

    for (uint32_t i = 0; i < s->n_slots; i++) {
        const struct sched__slot *sl = &s->slots[i];

        if (!sl->up && (sl->n > 0 || sl->placed || sl->timed))
            broken(w, "slot %u is down and in use", i);
        if (sl->placed != (sl->up && !sl->killing && !sl->avoid && !sl->full) || (sl->placed && sl->bucket != sl->n))
            broken(w, "slot %u with %u attempts is in the wrong place", i, sl->n);
        if (sl->full ? sl->n <= sl->depth / 2 : sl->n >= sl->depth)
            broken(w, "slot %u with %u attempts of %u is called full, or not", i, sl->n, sl->depth);
        if (s->opts.task_timeout_ns && sl->timed != (sl->n > 0 && !sl->killing))
            broken(w, "slot %u has no deadline", i);
        held += sl->n;
        busy += sl->n > 0;
        if (s->list_first && sl->up && !sl->killing && !sl->avoid && sl->n == 0)
            check_idle(w, i);
        for (uint32_t k = 0; k < sl->n; k++) {
            const struct sched__entry *e = &sl->queue[(sl->head + k) & (sl->cap - 1)];
            const struct sched__task *t = sched__task(sched__stage(s, e->stage), e->partition);

            if (t->state != SCHED__LAUNCHED || t->slot != i || t->attempts - 1 != (e->attempt & SCHED__ATTEMPT))
                broken(w, "%u.%u is in the queue of slot %u and elsewhere", e->stage, e->partition, i);
            if (k == 0 && !sl->killing && (sched__stage(s, e->stage)->live_jobs == 0 || e->attempt & SCHED__DOOMED))
                broken(w, "%u.%u runs for nobody", e->stage, e->partition);
        }
    }
    if (held != s->n_held || busy != s->n_busy)
        broken(w, "%u attempts in %u slots, not %u in %u", held, busy, s->n_held, s->n_busy);
    for (; b < SCHED__QUEUE_MAX; b++)
        if ((s->bucket_first[b] != SCHED__NONE) != (s->buckets[b / 64] >> b % 64 & 1))
            broken(w, "bucket %u is not marked", b);
}

static void
check_stage(struct world *w, const struct sched__stage *st)
{
    uint32_t in[4] = { 0 }, again = 0, missing = 0, last = SCHED__NONE;

    for (uint32_t i = 0; i < st->cursor; i++)
        if (st->tasks[i].state == SCHED__FRESH)
            broken(w, "%u.%u is before the cursor and has not run", st->id, st->first + i);
    for (uint32_t i = 0; i < sched__written(st); i++)
        in[st->tasks[i].state]++;
    for (uint32_t i = st->again; i != SCHED__NONE && again <= st->n; i = st->tasks[i].next, again++)
        last = i;
    for (uint32_t i = 0; i < st->n_parents; i++)
        missing += st->parents[i]->n_done < st->parents[i]->n;
    if (in[SCHED__AGAIN] != again || in[SCHED__LAUNCHED] != st->n_running ||
        in[SCHED__ACCEPTED] != st->n_done || (again > 0 && last != st->again_last))
        broken(w, "stage %u has lost count of its tasks", st->id);
    if (missing != st->missing)
        broken(w, "stage %u waits for %u parents, not %u", st->id, st->missing, missing);
    bool ready = st->active && missing == 0 && (again > 0 || st->cursor < st->n);
    if (st->listed != ready)
        broken(w, "stage %u is %slisted", st->id, ready ? "not " : "");
    if (st->active && (st->live_jobs == 0 || st->n_done == st->n))
        broken(w, "stage %u is active for nothing", st->id);
}

void
inside_check(struct world *w)
{
    uint32_t near = 0;

    check_slots(w);
    for (uint32_t i = 0; i < w->sched->n_stages; i++)
        if (w->sched->stages[i]) {
            check_stage(w, w->sched->stages[i]);
            near += w->sched->stages[i]->near != NULL;
        }
    if (near != w->sched->n_near)
        broken(w, "%u stages have preferences, not %u", near, w->sched->n_near);
}
