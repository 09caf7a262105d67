/* workers -- a worker's messages; see master_priv.h. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "master/master_priv.h"

static struct grants_child
child_of(const Taskd__ChildState *s)
{
    return (struct grants_child){ .id = s->app_id, .executor = s->executor, .phase = (uint8_t)s->phase,
                                  .cores = s->cores, .memory = s->memory, .pid = s->pid, .status = s->exit_status,
                                  .text = s->text };
}

static bool
child_ok(const Taskd__ChildState *s)
{
    return master__id_ok(s->app_id) && (unsigned)s->phase <= GRANTS_FAILED;
}

/* Of those that are lost only the newest are remembered, for people. */
static void
forget_lost(struct master *m)
{
    unsigned lost = 0;

    for (struct wrow *w = m->workers; w; w = w->next)
        lost += w->lost;
    for (struct wrow **at = &m->workers; *at && lost > MASTER_KEPT;) {
        struct wrow *w = *at;

        if (!w->lost) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        free(w->id);
        free(w->host);
        buf_fini(&w->profile);
        free(w);
        lost--;
    }
}

static struct wrow *
row_of(struct master *m, const Taskd__WorkerHello *h)
{
    struct wrow *w = rows__worker(m, h->worker), **end;

    if (!w) {
        forget_lost(m);
        for (end = &m->workers; *end; end = &(*end)->next)
            ;
        w = calloc(1, sizeof *w);
        if (!w)
            abort();
        w->id = master__dup(h->worker);
        *end = w;
    }
    free(w->host);
    w->host = master__dup(h->host);
    w->cores = h->cores;
    w->memory = h->memory;
    w->lost = false;
    w->profile.n = 0;
    Taskd__Item item = TASKD__ITEM__INIT;
    item.kind_case = TASKD__ITEM__KIND_WORKER_HELLO;
    item.worker_hello = (Taskd__WorkerHello *)h;
    proto_put(&w->profile, &item);
    return w;
}

/* A number for one life of the worker's process. */
static uint64_t
process_of(const struct party *p, const Taskd__WorkerHello *h)
{
    uint64_t n = p->pid * 0x9e3779b97f4a7c15u;

    for (const char *s = h->bulk; *s; s++)
        n = hash_u64(n ^ (unsigned char)*s);
    return n;
}

static void
registered(struct party *p, const Taskd__WorkerHello *h)
{
    struct master *m = p->m;
    struct wrow *w = row_of(m, h);
    Taskd__WorkerWelcome welcome = TASKD__WORKER_WELCOME__INIT;
    struct arena mem = { 0 };
    struct grants_child *c = ARENA_ARRAY(&mem, struct grants_child, h->n_child + 1);
    uint32_t n = 0;

    if (w->party && w->party != p) { /* it dialled again before the old link was seen to break */
        w->party->worker = NULL;
        master__drop(w->party);
    }
    w->party = p;
    p->worker = w;
    welcome.master = m->head.id;
    MASTER_SEND(m, p, WORKER_WELCOME, worker_welcome, &welcome);
    for (size_t i = 0; i < h->n_child; i++)
        if (child_ok(h->child[i]))
            c[n++] = child_of(h->child[i]);
    EMIT(m->o.log, worker_added, .worker = w->id, .worker_host = w->host, .cores = h->cores, .memory_bytes = h->memory);
    MASTER_STEP(m, WORKER_UP, .id = w->id, .host = w->host, .process = process_of(p, h), .cores = h->cores,
                .memory = h->memory, .children = c, .n_children = n, .apps = (const char *const *)h->app,
                .n_apps = (uint32_t)h->n_app);
    arena_fini(&mem);
    for (struct drow *d = m->drivers; d; d = d->next)
        if (d->follows && !strcmp(d->row.worker, w->id))
            follow__ask(m, d);
}

void
workers__hello(struct party *p, const Taskd__WorkerHello *h)
{
    for (size_t i = 0; i < h->n_app; i++)
        if (!master__id_ok(h->app[i])) {
            master__refuse(p, err_new(ERR_CORRUPT, "\"%s\" is no application's id", h->app[i]));
            return;
        }
    if (!master__id_ok(h->worker))
        master__refuse(p, err_new(ERR_CORRUPT, "\"%s\" is no worker's id", h->worker));
    else if (p->worker && strcmp(p->worker->id, h->worker) != 0)
        master__refuse(p, err_new(ERR_CORRUPT, "worker %s calls itself %s now", p->worker->id, h->worker));
    else if (!h->cores || h->cores > 1 << 20)
        master__refuse(p, err_new(ERR_CONFIG, "worker %s offers %u cores", h->worker, h->cores));
    else
        registered(p, h);
}

static void
on_child(struct party *p, const Taskd__ChildState *s)
{
    struct master *m = p->m;
    struct drow *d;

    if (!child_ok(s)) {
        m->stale++;
        return;
    }
    MASTER_STEP(m, CHILD, .worker = p->worker->id, .child = child_of(s));
    if (!s->executor && s->phase == TASKD__CHILD_PHASE__RUNNING && (d = rows__driver(m, s->app_id)) && d->follows)
        follow__ask(m, d);
}

void
workers__item(struct party *p, const Taskd__Item *item)
{
    if (item->kind_case == TASKD__ITEM__KIND_WORKER_HELLO)
        workers__hello(p, item->worker_hello);
    else if (!p->worker)
        master__refuse(p, err_new(ERR_CORRUPT, "a worker did not register"));
    else if (item->kind_case == TASKD__ITEM__KIND_CHILD_STATE)
        on_child(p, item->child_state);
    else if (item->kind_case == TASKD__ITEM__KIND_CHILD_OUTPUT)
        follow__output(p->m, item->child_output);
}

void
workers__down(struct party *p)
{
    struct wrow *w = p->worker;

    if (!w)
        return;
    p->worker = NULL;
    w->party = NULL;
    MASTER_STEP(p->m, WORKER_DOWN, .id = w->id);
}
