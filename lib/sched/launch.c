/* launch -- which task goes to which slot.
 *
 * Stages in their order; of a stage first what must run again, then what has not run yet; of the slots the
 * emptiest.  A task that has failed looks for a slot that it may use (avoid.c), and others go past it while it
 * waits for one; a stage with preferred places is another matter (near.c). */
#include "sched/sched_priv.h"

enum { LOOK = 8 }; /* at so many tasks that wait for a slot elsewhere, a step */
#define FULL SCHED__NONE        /* no slot has room */
#define WAITS (SCHED__NONE - 1) /* none of those that have: a better one is up */

/* Attempts of the stage that a slot should hold. */
/* The next slot that has room, after i (SCHED__NONE: the first) in bucket *b; SCHED__NONE if that was the last. */
static uint32_t
next_slot(const struct sched *s, uint32_t i, uint32_t *b, uint32_t most)
{
    if (i != SCHED__NONE && s->slots[i].next != SCHED__NONE)
        return s->slots[i].next;
    *b = i == SCHED__NONE ? sched__bucket_from(s, *b) : *b + 1 < SCHED__QUEUE_MAX ? sched__bucket_from(s, *b + 1) : most;
    return *b < most ? s->bucket_first[*b] : SCHED__NONE;
}

/* For a task that has not failed. */
static uint32_t
pick(const struct sched *s, const struct sched__stage *st, uint32_t most)
{
    uint32_t b = sched__bucket_from(s, 0);

    if (b >= most)
        return FULL;
    uint32_t first = s->bucket_first[b];
    if (!st->avoid || st->avoid->n_bad == 0)
        return first;
    /* those that are idle because they are avoided need not be looked at each time */
    b = b == 0 && st->avoid->refused == s->idled ? 1 : b;
    for (uint32_t i = next_slot(s, SCHED__NONE, &b, most); i != SCHED__NONE; i = next_slot(s, i, &b, most)) {
        if (sched__acceptable(s, st, NULL, i))
            return i;
        if (b == 0 && s->slots[i].next == SCHED__NONE)
            st->avoid->refused = s->idled;
    }
    return sched__anybody(s, st, NULL) ? WAITS : first;
}

/* For one that has: where it may run, or if nobody is up where it may, the least bad: another executor, another
 * slot. */
static uint32_t
pick_again(const struct sched *s, const struct sched__stage *st, uint32_t partition, uint32_t most)
{
    const struct sched__task *t = sched__task(st, partition);
    uint32_t best = FULL, b = 0;
    struct sched__scars scars;
    int bad = 8;

    if (t->failures == 0 && t->lost == 0)
        return pick(s, st, most);
    sched__scars(s, st, partition, &scars);
    for (uint32_t i = next_slot(s, SCHED__NONE, &b, most); i != SCHED__NONE; i = next_slot(s, i, &b, most)) {
        bool other = s->slots[i].executor != s->slots[t->slot].executor;
        int how = (i == t->slot ? 3 : other ? 1 : 2) + (sched__avoids(st->avoid, s->slots[i].executor) ? 4 : 0);

        if (s->opts.avoid_off ? other : sched__acceptable(s, st, &scars, i))
            return i;
        if (how < bad) {
            best = i;
            bad = how;
        }
    }
    return best != FULL && !s->opts.avoid_off && sched__anybody(s, st, &scars) ? WAITS : best;
}

void
sched__launch(struct sched *s, struct sched__stage *st, uint32_t i, uint32_t slot)
{
    struct sched__task *t = &st->tasks[i];
    struct sched__slot *sl = &s->slots[slot];
    struct sched_action *a = sched__act(s, SCHED_LAUNCH);

    sched__taken(st, i);
    t->slot = slot;
    a->executor = sl->executor;
    a->slot = sl->number;
    a->node = sl->node;
    a->epoch = s->executors[sl->executor].epoch;
    a->stage = st->id;
    a->partition = st->first + i;
    a->attempt = t->attempts - 1;
    a->generation = t->generation;
    if (t->failures > 0 && t->failures + 1u >= s->opts.max_failures)
        a->flags = SCHED_ONE_RECORD;
    s->count.launched++;
    sched__enqueue(s, slot, (struct sched__entry){ .stage = st->id, .partition = a->partition, .attempt = a->attempt });
}

/* What must run again.  False: no slot has room. */
static bool
fill_again(struct sched *s, struct sched__stage *st, uint32_t most)
{
    uint32_t before = SCHED__NONE, i = st->again, looked = 0;

    while (i != SCHED__NONE && looked < LOOK) {
        uint32_t next = st->tasks[i].next, slot = pick_again(s, st, st->first + i, most);

        if (slot == FULL)
            return false;
        if (slot == WAITS) {
            before = i;
            looked++;
        } else {
            *(before != SCHED__NONE ? &st->tasks[before].next : &st->again) = next;
            if (next == SCHED__NONE)
                st->again_last = before;
            sched__launch(s, st, i, slot);
        }
        i = next;
    }
    if (looked == LOOK && i != SCHED__NONE) { /* the others' turn next time */
        st->tasks[st->again_last].next = st->again;
        st->tasks[before].next = SCHED__NONE;
        st->again_last = before;
        st->again = i;
    }
    return true;
}

static bool
fill(struct sched *s, struct sched__stage *st)
{
    uint32_t most = sched__target(s, st);

    if (!fill_again(s, st, most))
        return false;
    if (!st->near_known)
        sched__near_input(s, st);
    if (st->near) {
        sched__near_fill(s, st);
        return true;
    }
    while (st->cursor < st->n) {
        uint32_t slot = pick(s, st, most);

        if (slot == FULL || slot == WAITS)
            return slot == WAITS;
        uint32_t i = sched__fresh(st);
        if (i != SCHED__NONE)
            sched__launch(s, st, i, slot);
    }
    return true;
}

void
sched__launch_all(struct sched *s)
{
    struct sched__stage *next;

    s->near_at = SCHED_NEVER;
    for (struct sched__stage *st = s->list_first; st; st = next) {
        next = st->list_next;
        bool room = fill(s, st);
        if (st->again == SCHED__NONE && st->cursor == st->n)
            sched__unlist(s, st);
        if (!room)
            break;
    }
    s->n_touched = 0;
}
