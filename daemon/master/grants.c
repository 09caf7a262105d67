/* grants -- see grants.h.  Here: the step, and time. */
#include "master/grants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/grants_priv.h"

enum { STOP_TRIES = 6 };
#define STOP_AGAIN (10 * SECOND)

/* ---- small things */

/* Room for one more than n. */
void *
grants__more(void *p, uint32_t n, size_t each, uint32_t *cap)
{
    if (n < *cap)
        return p;
    *cap = *cap ? *cap * 2 : 8;
    p = realloc(p, *cap * each);
    ASSERT(p != NULL);
    return p;
}

char *
grants__dup(const char *s)
{
    char *p = strdup(s ? s : "");

    ASSERT(p != NULL);
    return p;
}

void
grants__set(char **p, const char *s)
{
    char *old = *p;

    *p = grants__dup(s);
    free(old);
}

const char *
grants__text(struct grants *g, const char *fmt, ...)
{
    char s[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(s, sizeof s, fmt, ap);
    va_end(ap);
    return arena_strdup(&g->out->mem, s);
}

struct grants_action *
grants__act(struct grants *g, uint8_t kind)
{
    struct grants_actions *out = g->out;

    out->v = grants__more(out->v, out->n, sizeof *out->v, &out->cap);
    struct grants_action *a = &out->v[out->n++];
    *a = (struct grants_action){ .kind = kind, .worker = "", .host = "", .id = "", .text = "" };
    return a;
}

void
grants_actions_clear(struct grants_actions *out)
{
    out->n = 0;
    arena_reset(&out->mem);
}

void
grants_actions_fini(struct grants_actions *out)
{
    free(out->v);
    arena_fini(&out->mem);
    *out = (struct grants_actions){ 0 };
}

struct grants__history *
grants__past(struct grants__past *p, const struct grants__worker *w)
{
    if (w->slot >= p->n) {
        uint32_t n = w->slot + 8;

        p->v = realloc(p->v, n * sizeof *p->v);
        ASSERT(p->v != NULL);
        memset(p->v + p->n, 0, (n - p->n) * sizeof *p->v);
        p->n = n;
    }
    if (p->v[w->slot].serial != w->serial)
        p->v[w->slot] = (struct grants__history){ .serial = w->serial };
    return &p->v[w->slot];
}

struct grants__history
grants__seen(const struct grants__past *p, const struct grants__worker *w)
{
    if (w->slot < p->n && p->v[w->slot].serial == w->serial)
        return p->v[w->slot];
    return (struct grants__history){ 0 };
}

/* ---- time */

static void
end_recovery(struct grants *g)
{
    g->recovering = false;
    grants__app_recovered(g);
    grants__driver_recovered(g);
    for (uint32_t i = 0; i < g->n_workers; i++)
        for (struct grants__lease *l = g->workers[i]->leases; l; l = l->next)
            if (!l->app && !l->driver && l->state != LEASE_STOPPING)
                grants__stop(g, l, "its application did not come back");
    for (uint32_t i = 0; i < g->n_workers; i++)
        grants__drop_files(g, g->workers[i]);
}

static void
timers(struct grants *g, bool all_back)
{
    for (uint32_t i = 0; i < g->n_workers;) {
        struct grants__worker *w = g->workers[i];

        if (!w->up && g->now >= grants__lost_at(g, w->down_at)) {
            grants__worker_lost(g, w, grants__text(g, "worker %s on %s is gone", w->id, w->host));
            i = 0;
            continue;
        }
        for (struct grants__lease *l = w->leases, *next; l; l = next) {
            next = l->next;
            if (l->state != LEASE_STOPPING || !w->up || g->now < l->asked_at + STOP_AGAIN)
                continue;
            if (l->asked < STOP_TRIES)
                grants__say_stop(g, l, "as asked before");
            else
                grants__lease_free(g, l);
        }
        i++;
    }
    grants__app_timer(g);
    if (g->recovering && (g->now >= g->recover_until || all_back))
        end_recovery(g);
}

static void
app_wake(const struct grants *g, const struct grants__app *a, uint64_t *at)
{
    if (a->registered && !a->up)
        grants__earlier(at, grants__lost_at(g, a->down_at));
    if (a->starved_at)
        grants__earlier(at, a->starved_at + g->o.patience_ns);
    if (grants__wish(a) <= a->held)
        return;
    for (uint32_t i = 0; i < a->past.n; i++)
        if (a->past.v[i].until > g->now)
            grants__earlier(at, a->past.v[i].until);
}

static void
wake(struct grants *g)
{
    uint64_t at = g->recovering ? g->recover_until : 0;

    for (uint32_t i = 0; i < g->n_workers; i++) {
        const struct grants__worker *w = g->workers[i];

        if (!w->up)
            grants__earlier(&at, grants__lost_at(g, w->down_at));
        for (const struct grants__lease *l = w->leases; l && w->up; l = l->next)
            if (l->state == LEASE_STOPPING)
                grants__earlier(&at, l->asked_at + STOP_AGAIN);
    }
    for (uint32_t i = 0; i < g->n_apps; i++)
        app_wake(g, g->apps[i], &at);
    for (uint32_t i = 0; i < g->n_drivers; i++) {
        const struct grants__driver *d = g->drivers[i];

        if (!d->lease && d->not_before > g->now)
            grants__earlier(&at, d->not_before);
        for (uint32_t k = 0; !d->lease && k < d->past.n; k++)
            if (d->past.v[k].until > g->now)
                grants__earlier(&at, d->past.v[k].until);
    }
    if (!at || at == g->wake_at)
        return;
    g->wake_at = at;
    grants__act(g, GRANTS_WAKE_AT)->at = at;
}

/* ---- the step */

static void
event(struct grants *g, const struct grants_event *ev)
{
    switch (ev->kind) {
    case GRANTS_WORKER_UP:
    case GRANTS_WORKER_DOWN:
    case GRANTS_CHILD:
        grants__worker_event(g, ev);
        break;
    case GRANTS_DRIVER_SUBMIT:
    case GRANTS_DRIVER_KILL:
        grants__driver_event(g, ev);
        break;
    case GRANTS_ABSENT:
        g->patient_until = g->now + g->o.recover_ns;
        break;
    case GRANTS_TIMER:
        g->wake_at = 0;
        break;
    default:
        grants__app_event(g, ev);
    }
}

void
grants_step(struct grants *g, const struct grants_event *ev, uint64_t now, struct grants_actions *out)
{
    g->now = now;
    g->out = out;
    event(g, ev);
    /* Only who registers can be the last one that was waited for. */
    bool somebody = ev->kind == GRANTS_WORKER_UP || ev->kind == GRANTS_APP_UP;
    timers(g, somebody && g->expecting && grants__apps_back(g) && grants__drivers_back(g));
    grants__place(g);
    grants__say_waiting(g);
    wake(g);
    g->out = NULL;
}

struct grants *
grants_new(const struct grants_opts *o, uint64_t now)
{
    struct grants *g = calloc(1, sizeof *g);

    ASSERT(g != NULL);
    g->o = *o;
    if (!g->o.max_retries)
        g->o.max_retries = 10;
    if (!g->o.grace_ns)
        g->o.grace_ns = SECOND;
    if (!g->o.recover_ns)
        g->o.recover_ns = 5 * SECOND;
    if (!g->o.patience_ns)
        g->o.patience_ns = 3 * SECOND;
    g->recovering = g->o.recover_ns > 1;
    g->recover_until = now + g->o.recover_ns;
    return g;
}

void
grants_free(struct grants *g)
{
    if (!g)
        return;
    for (uint32_t i = 0; i < g->n_workers; i++)
        grants__worker_free(g->workers[i]);
    for (uint32_t i = 0; i < g->n_apps; i++)
        grants__app_free(g->apps[i]);
    for (uint32_t i = 0; i < g->n_drivers; i++)
        grants__driver_free(g->drivers[i]);
    free(g->workers);
    free(g->apps);
    free(g->drivers);
    free(g);
}

/* ---- for people */

bool
grants_worker(const struct grants *g, uint32_t i, struct grants_worker_info *ret)
{
    if (i >= g->n_workers)
        return false;
    const struct grants__worker *w = g->workers[i];
    *ret = (struct grants_worker_info){ w->id, w->host, w->cores, w->used, w->memory, w->memory_used, w->up };
    return true;
}

bool
grants_app(const struct grants *g, const char *id, struct grants_app_info *ret)
{
    const struct grants__app *a = grants__app(g, id);

    if (a)
        *ret = (struct grants_app_info){ a->waiting, a->held, a->executors, a->up };
    return a != NULL;
}

bool
grants_recovering(const struct grants *g)
{
    return g->recovering;
}

uint64_t
grants_stale(const struct grants *g)
{
    return g->stale;
}
