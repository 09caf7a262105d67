/* grants -- see grants.h.  Here: workers, leases, time. */
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
grants__past(struct grants__history **v, uint32_t *n, uint32_t *cap, const char *worker)
{
    for (uint32_t i = 0; i < *n; i++)
        if (!strcmp((*v)[i].worker, worker))
            return &(*v)[i];
    *v = grants__more(*v, *n, sizeof **v, cap);
    (*v)[*n] = (struct grants__history){ .worker = grants__dup(worker) };
    return &(*v)[(*n)++];
}

void
grants__past_free(struct grants__history *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        free(v[i].worker);
    free(v);
}

/* ---- leases */

struct grants__worker *
grants__worker(const struct grants *g, const char *id)
{
    for (uint32_t i = 0; id && i < g->n_workers; i++)
        if (!strcmp(g->workers[i]->id, id))
            return g->workers[i];
    return NULL;
}

struct grants__lease *
grants__lease(const struct grants__worker *w, const char *id, uint32_t executor)
{
    for (struct grants__lease *l = w->leases; l; l = l->next)
        if (l->executor == executor && !strcmp(l->id, id))
            return l;
    return NULL;
}

struct grants__lease *
grants__lease_new(struct grants__worker *w, const char *id, uint32_t executor, uint32_t cores, uint64_t memory,
                  uint64_t now)
{
    struct grants__lease *l = calloc(1, sizeof *l), **end = &w->leases;

    ASSERT(l != NULL);
    l->worker = w;
    l->id = grants__dup(id);
    l->executor = executor;
    l->cores = cores;
    l->memory = memory;
    l->since = now;
    w->used += cores;
    w->memory_used += memory;
    while (*end)
        end = &(*end)->next;
    *end = l;
    return l;
}

void
grants__forget(struct grants *g, struct grants__worker *w, const char *id)
{
    struct grants_action *a = grants__act(g, GRANTS_FORGET);

    a->worker = arena_strdup(&g->out->mem, w->id);
    a->id = arena_strdup(&g->out->mem, id);
}

void
grants__lease_free(struct grants *g, struct grants__lease *l)
{
    struct grants__worker *w = l->worker;
    struct grants__lease **p = &w->leases;
    bool more = false;

    grants__app_detach(l);
    if (l->driver)
        l->driver->lease = NULL;
    while (*p != l)
        p = &(*p)->next;
    *p = l->next;
    w->used -= l->cores;
    w->memory_used -= l->memory;
    for (struct grants__lease *x = w->leases; x; x = x->next)
        more |= x->executor && !strcmp(x->id, l->id);
    if (l->over && !more && w->up && !grants__app(g, l->id))
        grants__forget(g, w, l->id);
    free(l->id);
    free(l);
}

static void
say_stop(struct grants *g, struct grants__lease *l, const char *why)
{
    struct grants_action *a;

    l->asked_at = g->now;
    l->asked++;
    if (!l->worker->up)
        return; /* it is told when it is back */
    a = grants__act(g, GRANTS_STOP);
    a->worker = arena_strdup(&g->out->mem, l->worker->id);
    a->id = arena_strdup(&g->out->mem, l->id);
    a->executor = l->executor;
    a->text = arena_strdup(&g->out->mem, why);
}

void
grants__stop(struct grants *g, struct grants__lease *l, const char *why)
{
    grants__app_detach(l);
    if (l->driver) {
        l->driver->lease = NULL;
        l->driver = NULL;
    }
    l->state = LEASE_STOPPING;
    say_stop(g, l, why);
}

/* ---- children */

static void
lease_ended(struct grants *g, struct grants__lease *l, const struct grants_child *c)
{
    bool failed = c->phase == GRANTS_FAILED;
    const char *text = c->text ? c->text : "";

    if (l->driver) {
        struct grants__driver *d = l->driver;
        const char *worker = l->worker->id;

        grants__lease_free(g, l);
        grants__driver_ended(g, d, worker, failed, c->status, text);
    } else {
        grants__executor_ended(g, l, failed, c->status, text, false);
    }
}

/* pid: a driver that is started again on the same worker goes by the same name. */
static void
lease_says(struct grants *g, struct grants__lease *l, const struct grants_child *c)
{
    if (l->pid && c->pid && l->pid != c->pid) {
        g->stale++;
        return;
    }
    l->pid = c->pid ? c->pid : l->pid;
    if (c->phase == GRANTS_ENDED || c->phase == GRANTS_FAILED) {
        lease_ended(g, l, c);
    } else if (c->phase == GRANTS_RUNNING && l->state == LEASE_STARTING) {
        l->state = LEASE_RUNNING;
        l->since = g->now;
    }
}

static void
on_child(struct grants *g, const struct grants_event *ev)
{
    struct grants__worker *w = grants__worker(g, ev->worker);
    struct grants__lease *l = w && w->up ? grants__lease(w, ev->child.id, ev->child.executor) : NULL;

    if (!l) {
        g->stale++;
        if (!w || !w->up || ev->child.phase > GRANTS_RUNNING)
            return;
        struct grants_action *a = grants__act(g, GRANTS_STOP); /* nobody knows that one */
        a->worker = arena_strdup(&g->out->mem, w->id);
        a->id = arena_strdup(&g->out->mem, ev->child.id);
        a->executor = ev->child.executor;
        a->text = "unknown";
        return;
    }
    lease_says(g, l, &ev->child);
}

/* ---- workers */

static void
worker_free(struct grants__worker *w)
{
    for (struct grants__lease *l = w->leases, *next; l; l = next) {
        next = l->next;
        free(l->id);
        free(l);
    }
    for (uint32_t i = 0; i < w->n_kept; i++)
        free(w->kept[i]);
    free(w->kept);
    free(w->id);
    free(w->host);
    free(w);
}

/* With its children and their files. */
static void
worker_lost(struct grants *g, struct grants__worker *w, const char *why)
{
    uint32_t i = 0;

    w->up = false;
    while (w->leases) {
        struct grants__lease *l = w->leases;
        struct grants__driver *d = l->driver;

        if (d) {
            grants__lease_free(g, l);
            grants__driver_lost(g, d, why);
        } else {
            grants__executor_ended(g, l, false, 0, why, true);
        }
    }
    grants__app_worker_lost(g, w);
    struct grants_action *a = grants__act(g, GRANTS_WORKER_LOST);
    a->worker = arena_strdup(&g->out->mem, w->id);
    a->host = arena_strdup(&g->out->mem, w->host);
    a->text = why;
    while (g->workers[i] != w)
        i++;
    memmove(&g->workers[i], &g->workers[i + 1], (--g->n_workers - i) * sizeof *g->workers);
    worker_free(w);
}

/* It ended, and nobody could be told. */
static void
ended_unseen(struct grants *g, struct grants__worker *w, const struct grants_child *c)
{
    struct grants__driver *d = c->executor ? NULL : grants__driver(g, c->id);

    if (c->executor) {
        grants__app_unpaired(g, w, c);
    } else if (d && d->missing && !strcmp(d->missing, w->id)) {
        free(d->missing);
        d->missing = NULL;
        grants__driver_ended(g, d, w->id, c->phase == GRANTS_FAILED, c->status, c->text ? c->text : "");
    }
}

/* A child that no lease stands for: is there somebody to whom it belongs? */
static void
take_in(struct grants *g, struct grants__worker *w, const struct grants_child *c)
{
    if (c->phase > GRANTS_RUNNING) {
        ended_unseen(g, w, c);
        return;
    }
    struct grants__lease *l = grants__lease_new(w, c->id, c->executor, c->cores, c->memory, g->now);

    l->state = c->phase == GRANTS_RUNNING ? LEASE_RUNNING : LEASE_STARTING;
    l->pid = c->pid;
    if (!c->executor) {
        struct grants__driver *d = grants__driver(g, c->id);

        if (!d || !grants__driver_found(g, d, l))
            grants__stop(g, l, d ? "it runs somewhere else" : "nobody asked for it");
        return;
    }
    struct grants__app *a = grants__app(g, c->id);
    bool paired = false;

    for (uint32_t i = 0; a && i < a->n_pairs; i++)
        paired |= a->pairs[i].executor == c->executor;
    if (a && a->up && !paired && a->held >= grants__wish(a)) {
        grants__stop(g, l, "its application has enough");
    } else if (a && (paired || g->recovering)) {
        grants__app_attach(g, a, l);
        if (a->up && !paired)
            grants__app_granted(g, a, l);
    } else if (!g->recovering) {
        grants__stop(g, l, "nobody asked for it");
    }
}

static bool
listed(const struct grants_event *ev, const struct grants__lease *l)
{
    for (uint32_t i = 0; i < ev->n_children; i++)
        if (ev->children[i].executor == l->executor && !strcmp(ev->children[i].id, l->id))
            return true;
    return false;
}

/* What the worker has is true. */
static void
reconcile(struct grants *g, struct grants__worker *w, const struct grants_event *ev)
{
    for (struct grants__lease *l = w->leases, *next; l; l = next) {
        next = l->next;
        if (listed(ev, l))
            continue;
        struct grants__driver *d = l->driver;
        const char *why = grants__text(g, "worker %s came back without it", w->id);

        if (d) {
            grants__lease_free(g, l);
            grants__driver_lost(g, d, why);
        } else {
            /* nobody's fault: it counts neither as failed nor as lost with its files */
            grants__executor_ended(g, l, false, 0, why, false);
        }
    }
    for (uint32_t i = 0; i < ev->n_children; i++) {
        const struct grants_child *c = &ev->children[i];
        struct grants__lease *l = grants__lease(w, c->id, c->executor);

        if (!l) {
            take_in(g, w, c);
        } else if (l->state == LEASE_STOPPING && c->phase <= GRANTS_RUNNING) {
            say_stop(g, l, "as asked before");
        } else {
            lease_says(g, l, c);
        }
    }
    grants__driver_missed(g, w);
}

/* Files of applications that are over; while it is not known which are, they stay. */
static void
drop_files(struct grants *g, struct grants__worker *w)
{
    for (uint32_t i = 0; i < w->n_kept; i++) {
        struct grants__lease *l = w->leases;

        while (l && (!l->executor || strcmp(l->id, w->kept[i])))
            l = l->next;
        if (l)
            l->over = true; /* heeded when its application is unknown then */
        else if (!grants__app(g, w->kept[i]))
            grants__forget(g, w, w->kept[i]);
        free(w->kept[i]);
    }
    free(w->kept);
    w->kept = NULL;
    w->n_kept = 0;
}

static void
keep_files(struct grants *g, struct grants__worker *w, const struct grants_event *ev)
{
    for (uint32_t i = 0; i < w->n_kept; i++)
        free(w->kept[i]);
    free(w->kept);
    w->kept = calloc(ev->n_apps + 1, sizeof *w->kept);
    ASSERT(w->kept != NULL);
    w->n_kept = ev->n_apps;
    for (uint32_t i = 0; i < ev->n_apps; i++) {
        struct grants__app *a = grants__app(g, ev->apps[i]);

        w->kept[i] = grants__dup(ev->apps[i]);
        if (a)
            grants__past(&a->past, &a->n_past, &a->past_cap, w->id)->files = true;
    }
    if (!g->recovering)
        drop_files(g, w);
}

static void
on_worker_up(struct grants *g, const struct grants_event *ev)
{
    struct grants__worker *w = grants__worker(g, ev->id);

    if (w && w->process != ev->process) {
        worker_lost(g, w, grants__text(g, "worker %s started anew", ev->id));
        w = NULL;
    }
    if (!w) {
        w = calloc(1, sizeof *w);
        ASSERT(w != NULL);
        w->id = grants__dup(ev->id);
        w->host = grants__dup(ev->host);
        w->process = ev->process;
        g->workers = grants__more(g->workers, g->n_workers, sizeof *g->workers, &g->workers_cap);
        g->workers[g->n_workers++] = w;
    }
    w->up = true;
    w->cores = ev->cores;
    w->memory = ev->memory;
    reconcile(g, w, ev);
    keep_files(g, w, ev);
}

static void
on_worker_down(struct grants *g, const struct grants_event *ev)
{
    struct grants__worker *w = grants__worker(g, ev->id);

    if (!w || !w->up) {
        g->stale++;
        return;
    }
    w->up = false;
    w->down_at = g->now;
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
        drop_files(g, g->workers[i]);
}

static void
timers(struct grants *g, bool all_back)
{
    for (uint32_t i = 0; i < g->n_workers;) {
        struct grants__worker *w = g->workers[i];

        if (!w->up && g->now >= w->down_at + g->o.grace_ns) {
            worker_lost(g, w, grants__text(g, "worker %s on %s is gone", w->id, w->host));
            i = 0;
            continue;
        }
        for (struct grants__lease *l = w->leases, *next; l; l = next) {
            next = l->next;
            if (l->state != LEASE_STOPPING || !w->up || g->now < l->asked_at + STOP_AGAIN)
                continue;
            if (l->asked < STOP_TRIES)
                say_stop(g, l, "as asked before");
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
        grants__earlier(at, a->down_at + g->o.grace_ns);
    if (a->starved_at)
        grants__earlier(at, a->starved_at + g->o.patience_ns);
    if (grants__wish(a) <= a->held)
        return;
    for (uint32_t i = 0; i < a->n_past; i++)
        if (a->past[i].until > g->now)
            grants__earlier(at, a->past[i].until);
}

static void
wake(struct grants *g)
{
    uint64_t at = g->recovering ? g->recover_until : 0;

    for (uint32_t i = 0; i < g->n_workers; i++) {
        const struct grants__worker *w = g->workers[i];

        if (!w->up)
            grants__earlier(&at, w->down_at + g->o.grace_ns);
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
        for (uint32_t k = 0; !d->lease && k < d->n_past; k++)
            if (d->past[k].until > g->now)
                grants__earlier(&at, d->past[k].until);
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
        on_worker_up(g, ev);
        break;
    case GRANTS_WORKER_DOWN:
        on_worker_down(g, ev);
        break;
    case GRANTS_CHILD:
        on_child(g, ev);
        break;
    case GRANTS_DRIVER_SUBMIT:
    case GRANTS_DRIVER_KILL:
        grants__driver_event(g, ev);
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
        worker_free(g->workers[i]);
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
