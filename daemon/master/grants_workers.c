/* grants_workers -- workers, and the leases of what runs on them; see grants.h. */
#include <stdlib.h>
#include <string.h>

#include "master/grants_priv.h"

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

void
grants__say_stop(struct grants *g, struct grants__lease *l, const char *why)
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
    grants__say_stop(g, l, why);
}

/* ---- children */

static void
lease_ended(struct grants *g, struct grants__lease *l, const struct grants_child *c)
{
    bool failed = c->phase == GRANTS_FAILED;
    const char *text = c->text ? c->text : "";

    if (l->driver) {
        struct grants__driver *d = l->driver;
        const struct grants__worker *w = l->worker;

        grants__lease_free(g, l);
        grants__driver_ended(g, d, w, failed, c->status, text);
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

void
grants__worker_free(struct grants__worker *w)
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
void
grants__worker_lost(struct grants *g, struct grants__worker *w, const char *why)
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
    grants__worker_free(w);
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
        grants__driver_ended(g, d, w, c->phase == GRANTS_FAILED, c->status, c->text ? c->text : "");
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
            bool begun = l->state != LEASE_STARTING;

            grants__lease_free(g, l);
            if (begun)
                grants__driver_lost(g, d, why);
            else /* the order was lost with the link: a worker lists what it was told to start, also when it has ended */
                grants__driver_again(g, d, why);
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
            grants__say_stop(g, l, "as asked before");
        } else {
            lease_says(g, l, c);
        }
    }
    grants__driver_missed(g, w);
}

/* Files of applications that are over; while it is not known which are, they stay. */
void
grants__drop_files(struct grants *g, struct grants__worker *w)
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
            grants__past(&a->past, w)->files = true;
    }
    if (!g->recovering)
        grants__drop_files(g, w);
}

static uint32_t
free_slot(const struct grants *g)
{
    uint32_t slot = 0;

    for (uint32_t i = 0; i < g->n_workers; i++)
        if (g->workers[i]->slot == slot) {
            slot++;
            i = UINT32_MAX; /* from the start */
        }
    return slot;
}

static void
on_worker_up(struct grants *g, const struct grants_event *ev)
{
    struct grants__worker *w = grants__worker(g, ev->id);

    if (w && w->process != ev->process) {
        grants__worker_lost(g, w, grants__text(g, "worker %s started anew", ev->id));
        w = NULL;
    }
    if (!w) {
        w = calloc(1, sizeof *w);
        ASSERT(w != NULL);
        w->id = grants__dup(ev->id);
        w->host = grants__dup(ev->host);
        w->process = ev->process;
        w->serial = ++g->serials;
        w->slot = free_slot(g);
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

void
grants__worker_event(struct grants *g, const struct grants_event *ev)
{
    if (ev->kind == GRANTS_WORKER_UP)
        on_worker_up(g, ev);
    else if (ev->kind == GRANTS_WORKER_DOWN)
        on_worker_down(g, ev);
    else
        on_child(g, ev);
}
