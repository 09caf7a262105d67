/* avoid -- executors and nodes where tasks failed.
 *
 * Three rules, after Spark's.  A task that failed on an executor runs on another next time.  An executor where two
 * tasks of a stage failed gets no more of that stage; nor does a node with two such executors.  When a stage has
 * ended well, its failures were hardly its own fault: they count for the places, in the same way, in the whole
 * application and for an hour.  LOST and CANCELLED never come here.
 *
 * If tasks fail everywhere it is not the place: an executor is bad only if it has clearly more failures than the
 * others have on average, and never more than half of them are.  If the others leave later, it is used
 * again. */
#include <stdlib.h>
#include <string.h>

#include "sched/sched_priv.h"

void
sched__scars(const struct sched *s, const struct sched__stage *st, uint32_t partition, struct sched__scars *ret)
{
    ret->n = 0;
    if (!st->avoid || PLANTED(s, SCHED__PLANT_NO_AVOID))
        return;
    for (uint32_t i = 0; i < st->avoid->n_faults && ret->n < SCHED__SCARS; i++) {
        const struct sched__fault *f = &st->avoid->faults[i];

        if (f->partition == partition)
            ret->at[ret->n++] = (struct sched__bad){ f->executor, f->node, 0 };
    }
}

bool
sched__acceptable(const struct sched *s, const struct sched__stage *st, const struct sched__scars *scars,
                  uint32_t slot)
{
    const struct sched__slot *sl = &s->slots[slot];
    uint32_t here = 0, near = 0;

    if (sched__avoids(st->avoid, sl->executor) && !PLANTED(s, SCHED__PLANT_NO_AVOID))
        return false;
    for (uint32_t i = 0; scars && i < scars->n; i++) {
        here += scars->at[i].executor == sl->executor;
        near += scars->at[i].node == sl->node && sl->node != 0;
    }
    return here < s->opts.avoid_task_executor && near < s->opts.avoid_task_node;
}

bool
sched__anybody(const struct sched *s, const struct sched__stage *st, const struct sched__scars *scars)
{
    for (uint32_t i = 0; i < s->n_executors; i++) {
        const struct sched__executor *x = &s->executors[i];

        if (x->epoch != 0 && !s->slots[x->first].avoid && sched__acceptable(s, st, scars, x->first))
            return true;
    }
    return false;
}

void
sched__avoid_free(struct sched__avoid *a)
{
    if (a)
        free(a->hit);
    free(a);
}

/* ---- the list of bad places */
static void
say(struct sched *s, enum sched_action_kind kind, const struct sched__stage *st, const struct sched__bad *b)
{
    struct sched_action *a = sched__act(s, kind);

    a->stage = st ? st->id : SCHED_ANY;
    a->executor = b->executor;
    a->node = b->node;
    a->at = b->until;
}

static bool
listed(const struct sched__avoid *a, uint32_t executor, uint32_t node)
{
    for (uint32_t i = 0; i < a->n_bad; i++)
        if (a->bad[i].executor == executor || (a->bad[i].executor == SCHED__NONE && a->bad[i].node == node))
            return true;
    return false;
}

/* Writes down whom the list means. */
static void
look_up(const struct sched *s, struct sched__avoid *a)
{
    if (a->n_hit < s->n_executors) {
        a->hit = realloc(a->hit, s->n_executors);
        ASSERT(a->hit != NULL);
        a->n_hit = s->n_executors;
    }
    for (uint32_t i = 0; i < s->n_executors; i++)
        a->hit[i] = listed(a, i, s->executors[i].node);
    a->refused = 0;
}

void
sched__avoid_look(struct sched *s)
{
    for (uint32_t i = 0; i < s->n_stages; i++)
        if (s->stages[i] && s->stages[i]->avoid && s->stages[i]->avoid->n_bad > 0)
            look_up(s, s->stages[i]->avoid);
}

/* Would enough be left without what a says, for the stage or, if that is NULL, at all? */
static bool
enough_left(const struct sched *s, const struct sched__stage *st, const struct sched__avoid *a)
{
    uint32_t left = 0, off = 0;

    for (uint32_t i = 0; i < s->n_executors; i++) {
        const struct sched__executor *x = &s->executors[i];

        if (x->epoch == 0)
            continue;
        if (listed(a, i, x->node))
            off++;
        else
            left += !st || !s->slots[x->first].avoid;
    }
    return left > 0 && off <= s->count.executors / 2;
}

static bool
add(struct sched *s, struct sched__stage *st, struct sched__avoid *a, struct sched__bad b)
{
    if (a->n_bad == SCHED__BAD)
        return false;
    a->bad[a->n_bad++] = b;
    if (!enough_left(s, st, a)) {
        a->n_bad--;
        return false;
    }
    look_up(s, a);
    s->count.excluded++;
    say(s, SCHED_EXCLUDED, st, &b);
    return true;
}

/* Have `limit` different tasks failed on the executor since that time, and clearly more than elsewhere? */
static bool
is_bad(const struct sched *s, const struct sched__avoid *a, uint32_t executor, uint64_t from, uint32_t limit)
{
    uint32_t tasks = 0, here = 0, all = 0;

    for (uint32_t i = 0; i < a->n_faults; i++) {
        const struct sched__fault *f = &a->faults[i];
        bool again = false;

        all += f->at >= from;
        if (f->executor != executor || f->at < from)
            continue;
        here++;
        for (uint32_t k = 0; k < i && !again && tasks < limit; k++)
            again = a->faults[k].executor == executor && a->faults[k].at >= from &&
                    a->faults[k].stage == f->stage && a->faults[k].partition == f->partition;
        tasks += !again;
    }
    return tasks >= limit && 2 * (here - 1) * (s->count.executors - 1) >= 3 * (all - here);
}

static uint32_t
count_bad(const struct sched__avoid *a, uint32_t node)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < a->n_bad; i++)
        n += a->bad[i].executor != SCHED__NONE && a->bad[i].node == node;
    return n;
}

/* One more fault: is the executor, is the node bad now? */
static void
note(struct sched *s, struct sched__stage *st, struct sched__avoid *a, struct sched__fault f)
{
    const struct sched_opts *o = &s->opts;
    uint64_t from = st || s->now < o->avoid_ns ? 0 : s->now - o->avoid_ns, until = st ? 0 : s->now + o->avoid_ns;

    a->faults[a->next] = f;
    a->next = (a->next + 1) % SCHED__FAULTS;
    if (a->n_faults < SCHED__FAULTS)
        a->n_faults++;
    if (listed(a, f.executor, f.node) ||
        !is_bad(s, a, f.executor, from, st ? o->avoid_stage_executor : o->avoid_app_executor) ||
        !add(s, st, a, (struct sched__bad){ f.executor, f.node, until }))
        return;
    if (f.node != 0 && count_bad(a, f.node) >= (st ? o->avoid_stage_node : o->avoid_app_node))
        add(s, st, a, (struct sched__bad){ SCHED__NONE, f.node, until });
}

static struct sched__avoid *
need(struct sched__avoid **a)
{
    if (!*a) {
        *a = calloc(1, sizeof **a);
        ASSERT(*a != NULL);
    }
    return *a;
}

void
sched__fault(struct sched *s, struct sched__stage *st, uint32_t partition, uint32_t slot)
{
    const struct sched__slot *sl = &s->slots[slot];

    if (!s->opts.avoid_off)
        note(s, st, need(&st->avoid), (struct sched__fault){ st->id, partition, sl->executor, sl->node, s->now });
}

void
sched__avoid_learn(struct sched *s, struct sched__stage *st)
{
    for (uint32_t i = 0; st->avoid && i < st->avoid->n_faults; i++)
        note(s, NULL, need(&s->avoid), st->avoid->faults[i]);
    sched__avoid_review(s);
}

/* ---- of the application */
uint64_t
sched__avoid_until(const struct sched *s)
{
    uint64_t at = SCHED_NEVER;

    for (uint32_t i = 0; s->avoid && i < s->avoid->n_bad; i++)
        if (s->avoid->bad[i].until < at)
            at = s->avoid->bad[i].until;
    return at;
}

void
sched__avoid_review(struct sched *s)
{
    struct sched__avoid *a = s->avoid;
    uint32_t n = 0;

    if (!a || a->n_bad == 0)
        return;
    bool none = s->count.executors > 0;
    for (uint32_t i = 0; i < s->n_executors && none; i++)
        none = s->executors[i].epoch == 0 || listed(a, i, s->executors[i].node);
    for (uint32_t i = 0; i < a->n_bad; i++) {
        if (none || a->bad[i].until <= s->now)
            say(s, SCHED_READMITTED, NULL, &a->bad[i]);
        else
            a->bad[n++] = a->bad[i];
    }
    if (n < a->n_bad)
        a->n_faults = a->next = 0; /* a fresh start */
    a->n_bad = n;
    look_up(s, a);
    for (uint32_t i = 0; i < s->n_executors; i++)
        sched__avoid_slots(s, i, a->hit[i]);
}
