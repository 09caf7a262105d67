/* grants_drivers -- drivers that were submitted (cluster mode); see grants.h. */
#include <stdlib.h>
#include <string.h>

#include "master/grants_priv.h"

#define STEADY (10 * SECOND) /* one that ran so long begins its back-off anew */
enum { START_TRIES = 4 };    /* of one that is not supervised, when workers can't even start it */

struct grants__driver *
grants__driver(const struct grants *g, const char *id)
{
    for (uint32_t i = 0; id && i < g->n_drivers; i++)
        if (!strcmp(g->drivers[i]->id, id))
            return g->drivers[i];
    return NULL;
}

void
grants__driver_free(struct grants__driver *d)
{
    free(d->past.v);
    free(d->id);
    free(d->name);
    free(d->missing);
    free(d->waiting);
    free(d);
}

void
grants__driver_say(struct grants *g, const struct grants__driver *d, uint8_t state, uint32_t status, const char *text)
{
    struct grants_action *x = grants__act(g, GRANTS_DRIVER_STATE);

    x->id = arena_strdup(&g->out->mem, d->id);
    x->state = state;
    x->status = status;
    x->tries = d->tries;
    x->text = arena_strdup(&g->out->mem, text);
    x->worker = arena_strdup(&g->out->mem, d->lease ? d->lease->worker->id : "");
}

/* For good, with the application that it was driving. */
static void
over(struct grants *g, struct grants__driver *d, uint8_t state, uint32_t status, const char *text)
{
    uint32_t i = 0;

    grants__driver_say(g, d, state, status, text);
    while (g->drivers[i] != d)
        i++;
    memmove(&g->drivers[i], &g->drivers[i + 1], (--g->n_drivers - i) * sizeof *g->drivers);
    for (i = 0; i < g->n_apps;) {
        struct grants__app *a = g->apps[i];

        if (strcmp(a->submission, d->id))
            i++;
        else
            grants__app_over(g, a, state, status, text[0] ? text : "its driver ended");
    }
    grants__driver_free(d);
}

/* A try of the driver is over, its application with it. */
static void
end_apps(struct grants *g, const struct grants__driver *d, const char *why)
{
    for (uint32_t i = 0; i < g->n_apps;) {
        if (strcmp(g->apps[i]->submission, d->id))
            i++;
        else
            grants__app_over(g, g->apps[i], GRANTS_LOST, 1, why);
    }
}

static void
again(struct grants *g, struct grants__driver *d, uint64_t not_before, uint32_t status, const char *why)
{
    d->not_before = not_before;
    end_apps(g, d, why);
    grants__driver_say(g, d, GRANTS_BACKOFF, status, why);
}

void
grants__driver_again(struct grants *g, struct grants__driver *d, const char *why)
{
    again(g, d, g->now, 0, why);
}

/* The lease is free already. */
void
grants__driver_ended(struct grants *g, struct grants__driver *d, const struct grants__worker *w, bool failed,
                     uint32_t status, const char *text)
{
    const char *why = text[0] ? text : grants__text(g, "it ended with status %u", status);
    uint64_t lived = g->now - d->began;

    if (!failed && !status) {
        over(g, d, GRANTS_FINISHED, 0, text);
        return;
    }
    d->unstarted = failed ? d->unstarted + 1 : 0;
    if (failed) {
        struct grants__history *h = grants__past(&d->past, w);

        h->until = g->now + grants__backoff(SECOND, ++h->failures, 60 * SECOND);
    }
    if (!d->supervise && (!failed || d->unstarted >= START_TRIES)) {
        over(g, d, GRANTS_FAILED_STATE, status ? status : 1, why);
        return;
    }
    d->failures = !failed && lived >= STEADY ? 1 : d->failures + 1;
    again(g, d, g->now + grants__backoff(SECOND, d->failures, 60 * SECOND), status, why);
}

void
grants__driver_lost(struct grants *g, struct grants__driver *d, const char *text)
{
    if (d->supervise)
        again(g, d, g->now, 0, text);
    else
        over(g, d, GRANTS_LOST, 5, text);
}

bool
grants__driver_found(struct grants *g, struct grants__driver *d, struct grants__lease *l)
{
    if (d->lease)
        return false;
    if (!d->missing || strcmp(d->missing, l->worker->id))
        return false;
    free(d->missing);
    d->missing = NULL;
    d->lease = l;
    l->driver = d;
    d->began = g->now;
    return true;
}

void
grants__driver_missed(struct grants *g, const struct grants__worker *w)
{
    for (uint32_t i = 0; i < g->n_drivers;) {
        struct grants__driver *d = g->drivers[i];

        if (!d->missing || strcmp(d->missing, w->id)) {
            i++;
            continue;
        }
        free(d->missing);
        d->missing = NULL;
        grants__driver_lost(g, d, grants__text(g, "worker %s came back without it", w->id));
        i = 0;
    }
}

static void
submit(struct grants *g, const struct grants_event *ev)
{
    struct grants__driver *d = grants__driver(g, ev->id);

    if (d) {
        g->stale++;
        return;
    }
    d = calloc(1, sizeof *d);
    ASSERT(d != NULL);
    d->id = grants__dup(ev->id);
    d->name = grants__dup(ev->name);
    d->waiting = grants__dup("");
    d->cores = ev->cores ? ev->cores : 1;
    d->memory = ev->memory;
    d->supervise = ev->supervise;
    d->tries = ev->tries;
    g->drivers = grants__more(g->drivers, g->n_drivers, sizeof *g->drivers, &g->drivers_cap);
    g->drivers[g->n_drivers++] = d;
    if (!ev->worker || !ev->worker[0])
        return;
    if (g->recovering) {
        d->missing = grants__dup(ev->worker);
        g->expecting = true;
    } else {
        grants__driver_lost(g, d, "its worker is not there any more");
    }
}

void
grants__driver_event(struct grants *g, const struct grants_event *ev)
{
    struct grants__driver *d = grants__driver(g, ev->id);

    if (ev->kind == GRANTS_DRIVER_SUBMIT) {
        submit(g, ev);
    } else if (!d) {
        g->stale++;
    } else {
        if (d->lease)
            grants__stop(g, d->lease, ev->text ? ev->text : "killed");
        over(g, d, GRANTS_KILLED, 137, ev->text ? ev->text : "killed");
    }
}

bool
grants__drivers_back(const struct grants *g)
{
    for (uint32_t i = 0; i < g->n_drivers; i++)
        if (g->drivers[i]->missing)
            return false;
    return true;
}

void
grants__driver_recovered(struct grants *g)
{
    for (uint32_t i = 0; i < g->n_drivers;) {
        struct grants__driver *d = g->drivers[i];

        if (!d->missing) {
            i++;
            continue;
        }
        const char *why = grants__text(g, "its worker %s did not come back", d->missing);
        free(d->missing);
        d->missing = NULL;
        grants__driver_lost(g, d, why);
        i = 0;
    }
}

const char *
grants_driver_waiting(const struct grants *g, const char *id)
{
    const struct grants__driver *d = grants__driver(g, id);

    return d ? d->waiting : "";
}
