/* place -- who gets what: drivers first, then executors, one after the other; see grants.h. */
#include <string.h>

#include "master/grants_priv.h"

static uint32_t
unit(const struct grants_ask *ask)
{
    return ask->cores_per_executor ? ask->cores_per_executor : 1;
}

bool
grants__can_use(const struct grants__worker *w, uint32_t cores, uint64_t memory)
{
    return w->cores >= cores && w->memory >= memory;
}

static bool
has_room(const struct grants__worker *w, uint32_t cores, uint64_t memory)
{
    return w->up && w->used + cores <= w->cores && w->memory_used + memory <= w->memory;
}

uint32_t
grants__could_have(const struct grants *g, const struct grants_ask *ask)
{
    uint64_t cores = 0;
    uint32_t u = unit(ask);

    for (uint32_t i = 0; i < g->n_workers; i++) {
        const struct grants__worker *w = g->workers[i];

        if (!w->up || !grants__can_use(w, u, ask->memory))
            continue;
        uint64_t n = w->cores / u;
        if (ask->cores_per_executor && ask->memory && w->memory / ask->memory < n)
            n = w->memory / ask->memory;
        cores += n * u;
    }
    if (ask->cores_max && cores > ask->cores_max)
        cores = ask->cores_max / u * u;
    return cores < UINT32_MAX ? (uint32_t)cores : UINT32_MAX;
}

uint32_t
grants__wish(const struct grants__app *a)
{
    uint32_t most = a->ask.cores_max ? a->ask.cores_max : UINT32_MAX;

    if (!a->up)
        return 0;
    return a->want < most ? a->want : most;
}

/* ---- executors */

/* The lease of this step that can still grow. */
static struct grants__lease *
growing(const struct grants__worker *w, const struct grants__app *a)
{
    for (struct grants__lease *l = w->leases; l && !a->ask.cores_per_executor; l = l->next)
        if (l->app == a && l->fresh)
            return l;
    return NULL;
}

static bool
may_have_more(const struct grants__app *a)
{
    if (a->held >= grants__wish(a))
        return false;
    return !a->ask.cores_max || a->held + unit(&a->ask) <= a->ask.cores_max;
}

static bool
usable(const struct grants *g, const struct grants__worker *w, const struct grants__app *a)
{
    if (grants__seen(&a->past, w).until > g->now)
        return false;
    if (growing(w, a))
        return has_room(w, 1, 0);
    if (a->ask.executors_max && a->executors >= a->ask.executors_max)
        return false;
    return has_room(w, unit(&a->ask), a->ask.memory);
}

static uint32_t
cores_of(const struct grants__worker *w, const struct grants__app *a)
{
    uint32_t n = 0;

    for (const struct grants__lease *l = w->leases; l; l = l->next)
        n += l->app == a ? l->cores : 0;
    return n;
}

/* Where it has least, so that it spreads; not where it failed twice, if there is another; where most is free. */
static struct grants__worker *
choose(const struct grants *g, const struct grants__app *a)
{
    struct grants__worker *best = NULL;
    uint64_t best_rank = UINT64_MAX;

    for (uint32_t i = 0; i < g->n_workers; i++) {
        struct grants__worker *w = g->workers[i];

        if (!usable(g, w, a))
            continue;
        uint64_t bad = grants__seen(&a->past, w).failures >= 2;
        uint64_t mine = cores_of(w, a), free = w->cores - w->used;
        uint64_t rank = bad << 62 | (mine < 0x3fffffff ? mine : 0x3fffffff) << 32 | (UINT32_MAX - free);
        if (rank < best_rank) {
            best_rank = rank;
            best = w;
        }
    }
    return best;
}

static bool
give(struct grants *g, struct grants__app *a)
{
    struct grants__worker *w = may_have_more(a) ? choose(g, a) : NULL;
    struct grants__lease *l = w ? growing(w, a) : NULL;

    if (!w)
        return false;
    if (l) {
        l->cores++;
        w->used++;
        a->held++;
        return true;
    }
    l = grants__lease_new(w, a->id, a->next_executor, unit(&a->ask), a->ask.memory, g->now);
    l->fresh = true;
    grants__app_attach(g, a, l);
    return true;
}

/* The next to be served: the first one, or the one with least. */
static struct grants__app *
next_app(const struct grants *g)
{
    struct grants__app *best = NULL;

    for (uint32_t i = 0; i < g->n_apps; i++) {
        struct grants__app *a = g->apps[i];

        if (a->blocked || (best && (g->o.fifo || a->held >= best->held)))
            continue;
        best = a;
    }
    return best;
}

static void
say_started(struct grants *g, struct grants__lease *l)
{
    struct grants_action *x = grants__act(g, GRANTS_START_EXECUTOR);

    l->fresh = false;
    x->id = arena_strdup(&g->out->mem, l->id);
    x->executor = l->executor;
    x->worker = arena_strdup(&g->out->mem, l->worker->id);
    x->host = arena_strdup(&g->out->mem, l->worker->host);
    x->cores = l->cores;
    x->memory = l->memory;
    struct grants_action granted = *x;
    granted.kind = GRANTS_GRANTED;
    *grants__act(g, GRANTS_GRANTED) = granted;
}

static void
place_executors(struct grants *g)
{
    struct grants__app *a;
    bool any = false;

    for (uint32_t i = 0; i < g->n_apps; i++)
        g->apps[i]->blocked = !may_have_more(g->apps[i]);
    while ((a = next_app(g))) {
        if (give(g, a))
            any = true;
        else
            a->blocked = true;
    }
    for (uint32_t i = 0; i < g->n_workers && any; i++)
        for (struct grants__lease *l = g->workers[i]->leases; l; l = l->next)
            if (l->fresh)
                say_started(g, l);
}

/* ---- drivers */

static struct grants__worker *
choose_for_driver(const struct grants *g, const struct grants__driver *d)
{
    struct grants__worker *best = NULL;
    uint64_t best_rank = UINT64_MAX;

    for (uint32_t i = 0; i < g->n_workers; i++) {
        struct grants__worker *w = g->workers[i];

        if (!has_room(w, d->cores, d->memory) || grants__seen(&d->past, w).until > g->now)
            continue;
        if (grants__lease(w, d->id, 0)) /* an earlier try that has not ended yet */
            continue;
        uint64_t bad = grants__seen(&d->past, w).failures;
        uint64_t rank = (bad < 1000 ? bad : 1000) << 32 | (UINT32_MAX - (w->cores - w->used));
        if (rank < best_rank) {
            best_rank = rank;
            best = w;
        }
    }
    return best;
}

static void
place_drivers(struct grants *g)
{
    for (uint32_t i = 0; i < g->n_drivers; i++) {
        struct grants__driver *d = g->drivers[i];

        if (d->lease || d->missing || g->now < d->not_before)
            continue;
        struct grants__worker *w = choose_for_driver(g, d);
        if (!w)
            continue;
        d->lease = grants__lease_new(w, d->id, 0, d->cores, d->memory, g->now);
        d->lease->driver = d;
        d->began = g->now;
        d->tries++;
        grants__driver_say(g, d, GRANTS_ACTIVE, 0, "");
        struct grants_action *x = grants__act(g, GRANTS_START_DRIVER);
        x->worker = arena_strdup(&g->out->mem, w->id);
        x->id = arena_strdup(&g->out->mem, d->id);
        x->tries = d->tries - 1;
    }
}

/* ---- an application that came late gets its share, too */

/* The newest executor of v that would do for r, if v keeps at least as much as r gets by it. */
static struct grants__lease *
victim(const struct grants *g, const struct grants__app *r, uint32_t r_held, const struct grants__app *v)
{
    struct grants__lease *best = NULL;
    uint32_t u = unit(&r->ask);

    for (uint32_t i = 0; i < g->n_workers; i++) {
        const struct grants__worker *w = g->workers[i];

        for (struct grants__lease *l = w->leases; l && w->up; l = l->next) {
            /* without a number of cores, what is stopped starts again with the cores that are left */
            uint32_t gives = !v->ask.cores_per_executor && l->cores > u ? u : l->cores;

            if (l->app != v || l->state != LEASE_RUNNING || v->held < gives || v->held - gives < r_held + u)
                continue;
            if (w->used - l->cores + u > w->cores || w->memory_used - l->memory + r->ask.memory > w->memory ||
                grants__seen(&r->past, w).until > g->now)
                continue;
            if (!best || l->since > best->since)
                best = l;
        }
    }
    return best;
}

static struct grants__lease *
find_victim(const struct grants *g, const struct grants__app *r, uint32_t r_held)
{
    struct grants__lease *best = NULL;

    for (uint32_t i = 0; i < g->n_apps; i++) {
        const struct grants__app *v = g->apps[i];
        struct grants__lease *l = v != r && (!best || v->held > best->app->held) ? victim(g, r, r_held, v) : NULL;

        if (l)
            best = l;
    }
    return best;
}

static void
take_back(struct grants *g, struct grants__app *r, struct grants__lease *l)
{
    struct grants_action *x = grants__act(g, GRANTS_GONE);
    const char *why = grants__text(g, "given up for application %s, which has less than its share", r->id);

    x->id = arena_strdup(&g->out->mem, l->app->id);
    x->executor = l->executor;
    x->worker = arena_strdup(&g->out->mem, l->worker->id);
    x->text = why;
    grants__stop(g, l, why);
}

static void
rebalance(struct grants *g)
{
    for (uint32_t i = 0; i < g->n_apps && !g->o.fifo; i++) {
        struct grants__app *r = g->apps[i];
        struct grants__lease *l = may_have_more(r) && !(r->ask.executors_max && r->executors >= r->ask.executors_max)
                                      ? find_victim(g, r, r->held)
                                      : NULL;

        if (!l) {
            r->starved_at = 0;
        } else if (!r->starved_at) {
            r->starved_at = g->now;
        } else if (g->now >= r->starved_at + g->o.patience_ns) {
            uint32_t held = r->held;

            r->starved_at = g->now;
            for (; l && held < grants__wish(r); l = find_victim(g, r, held)) {
                held += l->cores;
                take_back(g, r, l);
            }
        }
    }
}

void
grants__place(struct grants *g)
{
    place_drivers(g);
    place_executors(g);
    rebalance(g);
}
