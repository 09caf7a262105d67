/* near -- tasks that would rather run in certain places.
 *
 * A preference is an executor (with its node) or a node: told for a task with the plan, or found for all tasks of a
 * stage when a node holds a fifth or more of its input.  Each slot is first offered what prefers it, then
 * what prefers nothing, then what prefers places that are not up.  What is left prefers others that are up:
 * the slot stays idle, but in all no longer than `wait` for the same executor and again for the same node.  Only
 * time with an idle slot counts, and it is not given back: what a stage may waste is bounded.  Nor does it wait
 * when tasks take so long that no preferred slot will be free in time, or longer than reading the input over
 * a network would take.  What runs again (failed, lost, taken back) has no preference any more. */
#include <stdlib.h>
#include <string.h>

#include "sched/sched_priv.h"

enum { EXECUTOR, NODE, NODE_OF_EXECUTOR }; /* kinds of spots: the last one's tasks prefer an executor there */
enum { ON_EXECUTOR, ON_NODE, ANYWHERE };   /* levels */
#define SHORT 1000000 /* ns: less is not worth a wait */

static uint64_t
key(uint32_t kind, uint32_t place)
{
    return (uint64_t)kind << 32 | place;
}

static struct sched__near *
near_new(struct sched *s, struct sched__stage *st, uint64_t wait)
{
    struct sched__near *n = calloc(1, sizeof *n);

    ASSERT(n != NULL);
    n->wait = wait;
    n->changes = s->changes - 1;
    st->near = n;
    s->n_near++;
    return n;
}

void
sched__near_free(struct sched *s, struct sched__stage *st)
{
    if (!st->near)
        return;
    free(st->near->spots);
    free(st->near->who);
    free(st->near->has);
    free(st->near);
    st->near = NULL;
    s->n_near--;
}

/* What reading so much over a network takes, but no longer than is allowed. */
static uint64_t
worth(const struct sched *s, uint64_t bytes)
{
    return bytes < s->opts.locality_ns ? bytes : s->opts.locality_ns; /* 1 GB/s */
}

/* ---- told with the plan */
struct wish {
    uint64_t key;
    uint32_t task;
};

static int
by_key(const void *a, const void *b)
{
    const struct wish *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->task < y->task ? -1 : x->task > y->task;
}

static void
make_spots(struct sched__near *n, struct wish *w, uint32_t count)
{
    qsort(w, count, sizeof *w, by_key);
    n->who = calloc(count, sizeof *n->who);
    n->spots = calloc(count, sizeof *n->spots);
    ASSERT(n->who != NULL && n->spots != NULL);
    for (uint32_t i = 0; i < count; i++) {
        if (n->n_spots == 0 || n->spots[n->n_spots - 1].key != w[i].key)
            n->spots[n->n_spots++] = (struct sched__spot){ .key = w[i].key, .first = i };
        n->spots[n->n_spots - 1].n++;
        n->who[i] = w[i].task;
    }
}

void
sched__near_prefer(struct sched *s, struct sched__stage *st, const struct sched_prefer *v, uint32_t n)
{
    struct wish *w = n ? calloc(2 * (size_t)n, sizeof *w) : NULL;
    uint32_t count = 0, told = 0;
    uint64_t bytes = 0;
    uint8_t *has = n ? calloc(st->n, 1) : NULL;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t task = v[i].partition - st->first;

        if (v[i].stage != st->id || task >= st->n || s->opts.locality_ns == SCHED_NEVER)
            continue;
        ASSERT(w != NULL && has != NULL);
        has[task] = 1;
        bytes += v[i].bytes;
        told++;
        if (v[i].executor != SCHED_ANY)
            w[count++] = (struct wish){ key(EXECUTOR, v[i].executor), task };
        if (v[i].node != 0)
            w[count++] = (struct wish){ key(v[i].executor != SCHED_ANY ? NODE_OF_EXECUTOR : NODE, v[i].node), task };
    }
    if (count > 0) {
        struct sched__near *near = near_new(s, st, bytes ? worth(s, bytes / told) : s->opts.locality_ns);

        make_spots(near, w, count);
        near->has = has;
        has = NULL;
        memset(st->tasks, 0, st->n * sizeof *st->tasks); /* FRESH */
        st->all_written = st->near_known = true;
    }
    free(w);
    free(has);
}

/* ---- found: who holds the input */
void
sched__near_bytes(struct sched__stage *st, uint32_t node, uint64_t bytes)
{
    if (node >= st->n_node_bytes) {
        uint32_t n = node + node / 2 + 8;

        st->node_bytes = realloc(st->node_bytes, n * sizeof *st->node_bytes);
        ASSERT(st->node_bytes != NULL);
        memset(st->node_bytes + st->n_node_bytes, 0, (n - st->n_node_bytes) * sizeof *st->node_bytes);
        st->n_node_bytes = n;
    }
    st->node_bytes[node] += bytes;
}

static uint64_t
held_by(const struct sched__stage *st, uint32_t node)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < st->n_parents; i++)
        if (node < st->parents[i]->n_node_bytes)
            bytes += st->parents[i]->node_bytes[node];
    return bytes;
}

void
sched__near_input(struct sched *s, struct sched__stage *st)
{
    uint32_t nodes[5], n = 0, slots = 0;
    uint64_t total = 0;

    st->near_known = true;
    if (st->n_parents == 0 || s->opts.locality_ns == SCHED_NEVER || s->opts.near_percent > 100)
        return;
    for (uint32_t i = 1; i < s->n_nodes; i++)
        total += held_by(st, i);
    uint64_t wait = worth(s, total / st->n);
    if (wait < SHORT)
        return;
    for (uint32_t i = 1; i < s->n_nodes && n < 5; i++)
        if (held_by(st, i) * 100 >= total * s->opts.near_percent && s->node_slots[i] > 0) {
            nodes[n++] = i;
            slots += s->node_slots[i];
        }
    if (n == 0 || slots == s->count.slots)
        return;
    struct sched__near *near = near_new(s, st, wait);
    memcpy(near->nodes, nodes, sizeof nodes);
    near->n_nodes = n;
}

/* ---- launching */
static bool
is_live(const struct sched *s, uint64_t k)
{
    uint32_t place = (uint32_t)k;

    if (k >> 32 != EXECUTOR)
        return place < s->n_nodes && s->node_slots[place] > 0;
    return place < s->n_executors && s->executors[place].epoch != 0 && !s->slots[s->executors[place].first].avoid;
}

/* The first task that prefers the spot and has not run; SCHED__NONE if there is none. */
static uint32_t
first_of(struct sched__stage *st, struct sched__spot *p)
{
    for (; p->n > 0; p->first++, p->n--)
        if (st->tasks[st->near->who[p->first]].state == SCHED__FRESH)
            return st->near->who[p->first];
    return SCHED__NONE;
}

static uint32_t
at(struct sched__stage *st, uint32_t kind, uint32_t place)
{
    const struct sched__near *n = st->near;
    uint64_t k = key(kind, place);
    uint32_t lo = 0, hi = n->n_spots;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;

        if (n->spots[mid].key < k)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n->n_spots && n->spots[lo].key == k ? first_of(st, &n->spots[lo]) : SCHED__NONE;
}

/* Executors came or went. */
static void
review(struct sched *s, struct sched__stage *st)
{
    struct sched__near *n = st->near;

    n->changes = s->changes;
    n->stuck = false;
    n->dead = n->slots = n->executors = 0;
    for (uint32_t i = 0; i < n->n_nodes; i++)
        n->slots += s->node_slots[n->nodes[i]];
    for (uint32_t i = 0; i < n->n_spots; i++) {
        struct sched__spot *p = &n->spots[i];
        uint32_t place = (uint32_t)p->key;

        p->live = is_live(s, p->key);
        if (!p->live || first_of(st, p) == SCHED__NONE)
            continue;
        n->slots += p->key >> 32 == EXECUTOR ? s->executors[place].n : s->node_slots[place];
    }
}

/* Does any task that has not run prefer an executor that is up? */
static bool
executors_left(struct sched__stage *st)
{
    struct sched__near *n = st->near;

    for (; n->executors < n->n_spots && n->spots[n->executors].key >> 32 == EXECUTOR; n->executors++)
        if (n->spots[n->executors].live && first_of(st, &n->spots[n->executors]) != SCHED__NONE)
            return true;
    return false;
}

static uint32_t
level_of(const struct sched *s, struct sched__stage *st, bool executors)
{
    const struct sched__near *n = st->near;
    uint64_t waited = n->waited + (n->since ? s->now - n->since : 0);

    if (PLANTED(s, SCHED__PLANT_WAITS_ON))
        return ON_NODE;
    if (PLANTED(s, SCHED__PLANT_NO_WISHES))
        return ANYWHERE;
    if (n->slots == 0 || (st->busy_n > 0 && st->busy_ns / st->busy_n / n->slots > n->wait))
        return ANYWHERE;
    if (executors)
        return waited < n->wait ? ON_EXECUTOR : waited < 2 * n->wait ? ON_NODE : ANYWHERE;
    return waited < n->wait ? ON_NODE : ANYWHERE;
}

/* A task for that slot. */
static uint32_t
find(struct sched *s, struct sched__stage *st, uint32_t slot)
{
    struct sched__near *n = st->near;
    const struct sched__slot *sl = &s->slots[slot];
    uint32_t i;

    for (uint32_t k = 0; k < n->n_nodes; k++)
        if (n->nodes[k] == sl->node)
            return sched__fresh(st);
    if (n->n_spots > 0) {
        if ((i = at(st, EXECUTOR, sl->executor)) != SCHED__NONE || (i = at(st, NODE, sl->node)) != SCHED__NONE)
            return i;
        while (n->any < st->n && (n->has[n->any] || st->tasks[n->any].state != SCHED__FRESH))
            n->any++;
        if (n->any < st->n)
            return n->any;
        for (; n->dead < n->n_spots; n->dead++)
            if (!n->spots[n->dead].live && (i = first_of(st, &n->spots[n->dead])) != SCHED__NONE)
                return i;
        if (n->level >= ON_NODE && (i = at(st, NODE_OF_EXECUTOR, sl->node)) != SCHED__NONE)
            return i;
    }
    if (n->level < ANYWHERE || sched__fresh(st) == SCHED__NONE)
        return SCHED__NONE;
    s->count.afar++;
    return sched__fresh(st);
}

/* Fills a slot as far as it goes. */
static void
offer(struct sched *s, struct sched__stage *st, uint32_t slot, uint32_t most, bool all)
{
    const struct sched__slot *sl = &s->slots[slot];

    if (!all && !sched__acceptable(s, st, NULL, slot))
        return;
    while (sl->placed && sl->n < most) {
        uint32_t i = find(s, st, slot);

        if (i == SCHED__NONE)
            return;
        sched__launch(s, st, i, slot);
    }
}

static void
offer_all(struct sched *s, struct sched__stage *st, uint32_t most, bool all)
{
    for (uint32_t b = sched__bucket_from(s, 0); b < most; b = sched__bucket_from(s, b + 1)) {
        uint32_t next, i = s->bucket_first[b];

        for (; i != SCHED__NONE; i = next) {
            next = s->slots[i].next;
            offer(s, st, i, b + 1, all); /* one more: what is emptier comes first */
        }
        if (b + 1 >= SCHED__QUEUE_MAX)
            break;
    }
}

void
sched__near_fill(struct sched *s, struct sched__stage *st)
{
    struct sched__near *n = st->near;
    uint32_t most = sched__target(s, st);
    bool all = !st->avoid || st->avoid->n_bad == 0 || !sched__anybody(s, st, NULL);

    if (n->changes != s->changes)
        review(s, st);
    bool executors = executors_left(st);
    uint32_t level = level_of(s, st, executors);
    if (level != n->level)
        n->stuck = false;
    n->level = level;
    if (n->stuck && s->n_touched < SCHED__TOUCHED)
        for (uint32_t k = 0; k < s->n_touched; k++)
            offer(s, st, s->touched[k], most, all);
    else
        offer_all(s, st, most, all);
    bool left = sched__fresh(st) != SCHED__NONE, refused = left && level < ANYWHERE && s->bucket_first[0] != SCHED__NONE;
    n->stuck = left;
    if (refused && n->since == 0) {
        n->since = s->now;
    } else if (!refused && n->since != 0) {
        n->waited += s->now - n->since;
        n->since = 0;
    }
    if (!refused)
        return;
    uint64_t until = n->since + n->wait * (executors && level == ON_NODE ? 2 : 1);
    until = until > n->waited ? until - n->waited : 0;
    if (until < s->near_at)
        s->near_at = until > s->now ? until : s->now;
}
