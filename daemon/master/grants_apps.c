/* grants_apps -- applications and their executors; see grants.h. */
#include <stdlib.h>
#include <string.h>

#include "master/grants_priv.h"

enum { KILLED = 128 + 9, TERMINATED = 128 + 15 };
#define PROVEN (2 * SECOND) /* an executor that lived so long shows that they can be started there */

struct grants__app *
grants__app(const struct grants *g, const char *id)
{
    for (uint32_t i = 0; id && i < g->n_apps; i++)
        if (!strcmp(g->apps[i]->id, id))
            return g->apps[i];
    return NULL;
}

void
grants__app_free(struct grants__app *a)
{
    free(a->past.v);
    free(a->pairs);
    free(a->id);
    free(a->name);
    free(a->submission);
    free(a->failure);
    free(a->waiting);
    free(a);
}

static struct grants__app *
app_new(struct grants *g, const struct grants_event *ev)
{
    struct grants__app *a = calloc(1, sizeof *a);

    ASSERT(a != NULL);
    a->id = grants__dup(ev->id);
    a->name = grants__dup(ev->name);
    a->submission = grants__dup(ev->submission);
    a->failure = grants__dup("");
    a->waiting = grants__dup("");
    a->next_executor = 1;
    g->apps = grants__more(g->apps, g->n_apps, sizeof *g->apps, &g->apps_cap);
    g->apps[g->n_apps++] = a;
    return a;
}

/* ---- executors */

static void
unpair(struct grants__app *a, uint32_t i)
{
    a->held -= a->pairs[i].cores;
    a->executors--;
    a->pairs[i] = a->pairs[--a->n_pairs];
}

void
grants__app_attach(struct grants *g, struct grants__app *a, struct grants__lease *l)
{
    bool paired = false;

    for (uint32_t i = 0; i < a->n_pairs && !paired; i++)
        if ((paired = a->pairs[i].executor == l->executor))
            unpair(a, i);
    l->app = a;
    a->held += l->cores;
    a->executors++;
    if (l->executor >= a->next_executor)
        a->next_executor = l->executor + 1;
    grants__past(&a->past, l->worker)->files = true;
    (void)g;
}

void
grants__app_detach(struct grants__lease *l)
{
    if (!l->app)
        return;
    l->app->held -= l->cores;
    l->app->executors--;
    l->app = NULL;
}

void
grants__app_granted(struct grants *g, const struct grants__app *a, const struct grants__lease *l)
{
    struct grants_action *x = grants__act(g, GRANTS_GRANTED);

    x->id = arena_strdup(&g->out->mem, a->id);
    x->executor = l->executor;
    x->worker = arena_strdup(&g->out->mem, l->worker->id);
    x->host = arena_strdup(&g->out->mem, l->worker->host);
    x->cores = l->cores;
    x->memory = l->memory;
}

static void
say_gone(struct grants *g, const struct grants__app *a, uint32_t executor, const char *worker, bool lost,
         const char *why)
{
    struct grants_action *x = grants__act(g, GRANTS_GONE);

    x->id = arena_strdup(&g->out->mem, a->id);
    x->executor = executor;
    x->worker = arena_strdup(&g->out->mem, worker);
    x->text = arena_strdup(&g->out->mem, why);
    x->lost = lost;
}

static bool
has_running(const struct grants *g, const struct grants__app *a)
{
    for (uint32_t i = 0; i < g->n_workers; i++)
        for (const struct grants__lease *l = g->workers[i]->leases; l; l = l->next)
            if (l->app == a && l->state == LEASE_RUNNING)
                return true;
    return false;
}

/* Did it fail to come up?  Then its worker is avoided for a while. */
static void
judge(struct grants *g, struct grants__app *a, const struct grants__lease *l, bool failed, uint32_t status,
      const char *text)
{
    struct grants__history *h = grants__past(&a->past, l->worker);

    if (!failed && l->state == LEASE_RUNNING && g->now - l->since >= PROVEN) {
        a->failures = h->failures = 0;
        return;
    }
    if (!failed && !status)
        return;
    if (!failed && l->state == LEASE_RUNNING && (status == KILLED || status == TERMINATED)) {
        h->until = g->now + SECOND / 10; /* somebody's doing; it could be started */
        return;
    }
    a->failures++;
    h->failures++;
    h->until = g->now + grants__backoff(SECOND / 10, h->failures, 60 * SECOND);
    grants__set(&a->failure, grants__text(g, "on host %s: %s", l->worker->host,
                                          text[0] ? text : grants__text(g, "it ended with status %u", status)));
}

void
grants__executor_ended(struct grants *g, struct grants__lease *l, bool failed, uint32_t status, const char *text,
                       bool worker_lost)
{
    struct grants__app *a = l->app;

    if (a) {
        if (!worker_lost)
            judge(g, a, l, failed, status, text);
        else
            grants__past(&a->past, l->worker)->files = false;
        say_gone(g, a, l->executor, l->worker->id, worker_lost,
                 text[0] ? text : grants__text(g, "it ended with status %u", status));
    }
    grants__lease_free(g, l);
    if (a && a->failures >= g->o.max_retries && !has_running(g, a))
        grants__app_over(g, a, GRANTS_FAILED_STATE, 1,
                         grants__text(g, "%u executors in a row could not be started; the last one %s", a->failures,
                                      a->failure));
}

void
grants__app_worker_lost(struct grants *g, const struct grants__worker *w)
{
    for (uint32_t i = 0; i < g->n_apps; i++) {
        struct grants__app *a = g->apps[i];

        if (grants__seen(&a->past, w).files) {
            grants__past(&a->past, w)->files = false;
            say_gone(g, a, 0, w->id, true, grants__text(g, "worker %s on %s is gone", w->id, w->host));
        }
    }
}

void
grants__app_unpaired(struct grants *g, const struct grants__worker *w, const struct grants_child *c)
{
    struct grants__app *a = grants__app(g, c->id);

    for (uint32_t i = 0; a && i < a->n_pairs; i++)
        if (a->pairs[i].executor == c->executor) {
            unpair(a, i);
            say_gone(g, a, c->executor, w->id, false, c->text && c->text[0] ? c->text : "it ended");
            return;
        }
}

/* ---- the end */

void
grants__app_over(struct grants *g, struct grants__app *a, uint8_t state, uint32_t status, const char *why)
{
    struct grants_action *x = grants__act(g, GRANTS_APP_STATE);
    uint32_t i = 0;

    x->id = arena_strdup(&g->out->mem, a->id);
    x->state = state;
    x->status = status;
    x->text = arena_strdup(&g->out->mem, why);
    while (g->apps[i] != a)
        i++;
    memmove(&g->apps[i], &g->apps[i + 1], (--g->n_apps - i) * sizeof *g->apps);
    for (i = 0; i < g->n_workers; i++) {
        struct grants__worker *w = g->workers[i];
        bool any = false;

        for (struct grants__lease *l = w->leases; l; l = l->next) {
            if (!l->executor || strcmp(l->id, a->id))
                continue;
            any = l->over = true;
            if (l->state != LEASE_STOPPING)
                grants__stop(g, l, "its application is over");
        }
        if (!any && w->up && (a->recovered || grants__seen(&a->past, w).serial))
            grants__forget(g, w, a->id);
    }
    grants__app_free(a);
}

/* ---- events */

static uint32_t
has_child(const struct grants_event *ev, uint32_t executor)
{
    for (uint32_t i = 0; i < ev->n_children; i++)
        if (ev->children[i].executor == executor)
            return true;
    return false;
}

/* Executors that its driver has, against those that workers have.  forgotten: it was over, and its files are gone. */
static void
pair_up(struct grants *g, struct grants__app *a, const struct grants_event *ev, bool forgotten)
{
    while (a->n_pairs)
        unpair(a, 0);
    for (uint32_t i = 0; i < g->n_workers; i++)
        for (struct grants__lease *l = g->workers[i]->leases; l; l = l->next) {
            if (!l->executor || l->state == LEASE_STOPPING || strcmp(l->id, a->id))
                continue;
            if (!l->app)
                grants__app_attach(g, a, l);
            if (!has_child(ev, l->executor))
                grants__app_granted(g, a, l);
        }
    for (uint32_t i = 0; i < ev->n_children; i++) {
        const struct grants_child *c = &ev->children[i];
        bool known = false;

        if (c->executor >= a->next_executor && c->executor < UINT32_MAX)
            a->next_executor = c->executor + 1;
        for (uint32_t k = 0; k < g->n_workers && !known; k++) {
            struct grants__lease *l = grants__lease(g->workers[k], a->id, c->executor);
            known = l && l->app == a;
        }
        for (uint32_t k = 0; k < a->n_pairs && !known; k++)
            known = a->pairs[k].executor == c->executor;
        if (known || !c->executor)
            continue;
        if (!g->recovering) {
            say_gone(g, a, c->executor, "", forgotten, "no worker has it");
            continue;
        }
        a->pairs = grants__more(a->pairs, a->n_pairs, sizeof *a->pairs, &a->pairs_cap);
        a->pairs[a->n_pairs++] = (struct grants__pair){ c->executor, c->cores };
        a->held += c->cores;
        a->executors++;
    }
}

static void
on_up(struct grants *g, const struct grants_event *ev)
{
    struct grants__app *a = grants__app(g, ev->id);
    struct grants_action *x;
    bool fresh = !a;

    if (!a)
        a = app_new(g, ev);
    if (ev->n_children)
        a->recovered |= !a->registered;
    if (ev->executor >= a->next_executor)
        a->next_executor = ev->executor + 1;
    grants__set(&a->name, ev->name);
    a->ask = ev->ask;
    a->up = a->registered = true;
    x = grants__act(g, GRANTS_WELCOME);
    x->id = arena_strdup(&g->out->mem, a->id);
    x->cores = grants__could_have(g, &a->ask);
    grants__set(&a->waiting, ""); /* what was said went to another link */
    pair_up(g, a, ev, fresh);
}

static void
on_known(struct grants *g, const struct grants_event *ev)
{
    struct grants__app *a = grants__app(g, ev->id);

    if (a || !g->recovering) {
        g->stale++;
        return;
    }
    a = app_new(g, ev);
    a->recovered = true;
    a->next_executor = ev->executor + 1;
    g->expecting = true;
}

static void
on_release(struct grants *g, struct grants__app *a, const struct grants_event *ev)
{
    for (uint32_t i = 0; i < g->n_workers; i++) {
        struct grants__lease *l = grants__lease(g->workers[i], a->id, ev->executor);

        if (!ev->executor || !l || l->app != a)
            continue;
        say_gone(g, a, l->executor, l->worker->id, false, grants__text(g, "released: %s", ev->text ? ev->text : ""));
        grants__stop(g, l, ev->text ? ev->text : "released");
        return;
    }
    g->stale++;
}

void
grants__app_event(struct grants *g, const struct grants_event *ev)
{
    struct grants__app *a = grants__app(g, ev->id);

    if (ev->kind == GRANTS_APP_UP) {
        on_up(g, ev);
    } else if (ev->kind == GRANTS_APP_KNOWN) {
        on_known(g, ev);
    } else if (!a) {
        g->stale++;
    } else if (ev->kind == GRANTS_APP_END) {
        grants__app_over(g, a, ev->state, ev->status, ev->text ? ev->text : "");
    } else if (!a->up) {
        g->stale++;
    } else if (ev->kind == GRANTS_APP_WANT) {
        a->want = ev->cores;
    } else if (ev->kind == GRANTS_APP_RELEASE) {
        on_release(g, a, ev);
    } else if (ev->kind == GRANTS_APP_DOWN) {
        a->up = false;
        a->down_at = g->now;
    }
}

/* ---- time */

void
grants__app_timer(struct grants *g)
{
    for (uint32_t i = 0; i < g->n_apps;) {
        struct grants__app *a = g->apps[i];

        if (a->registered && !a->up && g->now >= grants__lost_at(g, a->down_at))
            grants__app_over(g, a, GRANTS_LOST, 1, "its driver is gone");
        else
            i++;
    }
}

bool
grants__apps_back(const struct grants *g)
{
    for (uint32_t i = 0; i < g->n_apps; i++)
        if (!g->apps[i]->registered || g->apps[i]->n_pairs)
            return false;
    return true;
}

void
grants__app_recovered(struct grants *g)
{
    for (uint32_t i = 0; i < g->n_apps;) {
        struct grants__app *a = g->apps[i];

        while (a->n_pairs) {
            uint32_t executor = a->pairs[0].executor;

            unpair(a, 0);
            say_gone(g, a, executor, "", true, "its worker did not come back");
        }
        if (!a->registered)
            grants__app_over(g, a, GRANTS_LOST, 1, "its driver did not come back");
        else
            i++;
    }
}
