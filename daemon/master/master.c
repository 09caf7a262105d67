/* master -- life and links; see master.h. */
#include "master/master.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "master/master_priv.h"

#define TICK_NS UINT64_C(200000000)
#define SOON_NS UINT64_C(10000000)
#define ABSENT_NS UINT64_C(1500000000) /* without a tick */
#define HELLO_NS UINT64_C(10000000000)
enum { TRIM_TICKS = 3000 };

char *
master__dup(const char *s)
{
    char *p = strdup(s ? s : "");

    if (!p)
        abort();
    return p;
}

void
master__set(char const **p, const char *s)
{
    char *old = (char *)*p;

    *p = master__dup(s);
    free(old);
}

/* It becomes names of folders and words of argv. */
bool
master__id_ok(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

    return n > 0 && n < MASTER_ID_MAX && !id[n] && id[0] != '.' && id[0] != '-';
}

/* ---- links */

void
master__send(struct master *m, struct party *p, Taskd__Item *item)
{
    if (!p->link)
        return;
    item->epoch = m->head.epoch;
    m->out.n = 0;
    proto_put(&m->out, item);
    link_send(p->link, m->out.p, m->out.n);
    if (item->kind_case == TASKD__ITEM__KIND_START_EXECUTOR || item->kind_case == TASKD__ITEM__KIND_START_DRIVER)
        explicit_bzero(m->out.p, m->out.n); /* a secret is in it */
}

static void
party_free(struct party *p)
{
    free(p->host);
    free(p);
}

void
master__drop(struct party *p)
{
    struct party **at = &p->m->parties;

    if (!p->link)
        return;
    link_close(p->link);
    p->link = NULL;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    follow__drop(p);
    workers__down(p);
    apps__down(p);
    if (!p->busy)
        party_free(p);
}

void
master__refuse(struct party *p, struct err *why)
{
    Taskd__Refused refused = TASKD__REFUSED__INIT;
    Taskd__Error error;
    struct arena mem = { 0 };
    char *text = err_text(why);

    if (p->link)
        EMIT(p->m->o.log, peer_refused, .peer = link_peer(p->link), .err = text);
    free(text);
    proto_of_err(why, &mem, &error);
    refused.error = &error;
    MASTER_SEND(p->m, p, REFUSED, refused, &refused);
    err_free(why);
    arena_fini(&mem);
    master__drop(p);
}

static struct err *
check_token(const struct master *m, const Taskd__Hello *h)
{
    const struct identity *i = m->o.identity;

    if (i->tls && !h->token.len)
        return NULL; /* its certificate let it in */
    if (identity_token_fits(i, h->token.data, h->token.len))
        return NULL;
    return err_hint(err_new(ERR_DENIED, h->token.len ? "the %s on \"%s\" shows a wrong token"
                                                     : "the %s on \"%s\" shows no token", h->role, h->host),
                    "The cluster's token is in \"%s\" on the master's host; name a copy with "
                    "taskd.authenticate.secretFile.", i->token_file);
}

static void
on_hello(struct party *p, const Taskd__Hello *h)
{
    static const struct { const char *name; enum role role; } roles[] = {
        { "worker", ROLE_WORKER }, { "driver", ROLE_DRIVER }, { "client", ROLE_CLIENT },
    };
    struct err *e = proto_check_hello(h, NULL);
    Taskd__Hello mine;

    if (!e)
        e = check_token(p->m, h);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (!strcmp(h->role, roles[i].name))
            p->role = roles[i].role;
    if (!e && p->role == ROLE_UNKNOWN)
        e = err_new(ERR_DENIED, "a master has nothing to say to a %s", h->role);
    if (e) {
        master__refuse(p, e);
        return;
    }
    p->greeted = true;
    p->host = master__dup(h->host);
    p->pid = h->pid;
    proto_hello(&mine, "master", p->m->host);
    MASTER_SEND(p->m, p, HELLO, hello, &mine);
}

/* What belongs to an earlier master's time. */
static bool
is_stale(const struct master *m, const Taskd__Item *item)
{
    return item->epoch && item->epoch != m->head.epoch && item->kind_case != TASKD__ITEM__KIND_WORKER_HELLO &&
           item->kind_case != TASKD__ITEM__KIND_APP_HELLO;
}

static void
on_item(struct party *p, const Taskd__Item *item)
{
    if (item->kind_case == TASKD__ITEM__KIND_HELLO && !p->greeted)
        on_hello(p, item->hello);
    else if (!p->greeted || item->kind_case == TASKD__ITEM__KIND_HELLO)
        master__refuse(p, err_new(ERR_CORRUPT, p->greeted ? "somebody greeted twice" : "somebody did not greet"));
    else if (is_stale(p->m, item))
        p->m->stale++;
    else if (p->role == ROLE_WORKER)
        workers__item(p, item);
    else if (p->role == ROLE_DRIVER)
        apps__item(p, item);
    else
        clients__item(p, item);
}

static void
on_envelope(void *arg, const void *bytes, size_t n)
{
    struct party *p = arg;
    struct arena mem = { 0 };
    Taskd__Envelope *v;
    struct err *e = proto_get(bytes, n, &mem, &v);

    p->busy = true;
    if (e)
        master__refuse(p, e);
    else
        for (size_t i = 0; i < v->n_item && p->link; i++)
            on_item(p, v->item[i]);
    p->busy = false;
    arena_fini(&mem);
    if (!p->link)
        party_free(p);
}

static void
on_down(void *arg, struct err *why)
{
    err_free(why);
    master__drop(arg);
}

void
master_accept(struct master *m, struct link *l)
{
    static const struct link_handler handler = { on_envelope, on_down };
    struct party *p = calloc(1, sizeof *p);

    if (!p)
        abort();
    *p = (struct party){ .m = m, .link = l, .next = m->parties, .since = loop_now(m->loop) };
    m->parties = p;
    link_handle(l, &handler, p);
}

/* ---- life */

static bool
is_needed(void *arg, const unsigned char sha256[32])
{
    struct master *m = arg;
    bool found = false;

    for (struct drow *d = m->drivers; d && !found; d = d->next) {
        struct arena mem = { 0 };
        Taskd__Envelope *v;
        struct err *e = d->row.ended_ms ? NULL : proto_get(d->row.spec, d->row.spec_n, &mem, &v);

        if (!e && !d->row.ended_ms && v->n_item && v->item[0]->kind_case == TASKD__ITEM__KIND_SUBMIT_DRIVER) {
            const Taskd__SubmitDriver *s = v->item[0]->submit_driver;

            for (size_t i = 0; i < s->n_blob && !found; i++)
                found = s->blob[i]->blob && s->blob[i]->blob->sha256.len == 32 &&
                        !memcmp(s->blob[i]->blob->sha256.data, sha256, 32);
        }
        err_free(e);
        arena_fini(&mem);
    }
    return found;
}

static void
on_tick(void *arg)
{
    struct master *m = arg;
    uint64_t now = loop_now(m->loop);

    if (m->last_tick && now - m->last_tick > ABSENT_NS)
        MASTER_STEP(m, ABSENT);
    m->last_tick = now;
    for (struct party *p = m->parties, *next; p; p = next) {
        next = p->next;
        bool registered = p->greeted && (p->role == ROLE_CLIENT || p->worker || p->app);
        if (!registered && now - p->since > HELLO_NS)
            master__refuse(p, err_new(ERR_TIMEOUT, "it did not say who it is"));
    }
    bool soon = follow__tick(m);
    if (m->ticks++ % TRIM_TICKS == 0)
        store__trim(m->store, is_needed, m);
    loop_timer_start(m->loop, &m->tick, now + (soon ? SOON_NS : TICK_NS), on_tick, m);
}

/* Its path without links: SQLite follows none. */
static struct err *
open_dir(struct master *m)
{
    TRY(file_mkdirs(m->dir, 0700));
    char *real = realpath(m->dir, NULL);

    if (!real)
        return err_errno(errno, "finding \"%s\"", m->dir);
    free(m->dir);
    m->dir = real;
    return chmod(m->dir, 0700) < 0 ? err_errno(errno, "making \"%s\" ours alone", m->dir) : NULL;
}

static struct err *
open_all(struct master *m)
{
    struct grants_opts g = { .fifo = m->o.fifo, .grace_ns = m->o.grace_ns, .recover_ns = m->o.recover_ns };
    struct bulk_server_opts b = { .host = m->o.bind, .port = m->o.port, .tls = m->o.identity->tls };
    struct arena mem = { 0 };
    struct err *e = open_dir(m);
    const char *blobs = arena_printf(&mem, "%s/blobs", m->dir);

    if (!e)
        e = journal_open(arena_printf(&mem, "%s/journal.db", m->dir), &m->head, &m->journal);
    if (!e)
        e = store__new(blobs, &m->store);
    if (!e)
        e = err_wrap_take(bulk_server_new(m->loop, &b, &m->bulk), "serving blobs (taskd.master.blobs.port)");
    if (!e)
        e = bulk_server_add(m->bulk, "blobs", blobs, m->head.secret);
    arena_fini(&mem);
    if (e)
        return e;
    size_t n = strlen(m->host) + 16;
    m->bulk_address = malloc(n);
    if (!m->bulk_address)
        abort();
    snprintf(m->bulk_address, n, strchr(m->host, ':') ? "[%s]:%u" : "%s:%u", m->host, bulk_server_port(m->bulk));
    m->grants = grants_new(&g, loop_now(m->loop));
    return rows__load(m);
}

struct err *
master_new(struct loop *l, const struct master_opts *o, struct master **ret)
{
    struct master *m = calloc(1, sizeof *m);
    struct err *e;

    if (!m)
        abort();
    m->loop = l;
    m->began = loop_now(l);
    m->o = *o;
    m->dir = master__dup(o->dir);
    m->host = master__dup(o->host);
    e = open_all(m);
    if (e) {
        master_free(m);
        return e;
    }
    on_tick(m);
    *ret = m;
    return NULL;
}

uint32_t
master_epoch(const struct master *m)
{
    return m->head.epoch;
}

void
master_free(struct master *m)
{
    if (!m)
        return;
    for (struct wrow *w = m->workers; w; w = w->next)
        w->party = NULL;
    while (m->parties) {
        struct party *p = m->parties;

        m->parties = p->next;
        link_close(p->link);
        p->link = NULL;
        follow__drop(p);
        party_free(p);
    }
    if (m->grants) {
        loop_timer_stop(m->loop, &m->wake);
        loop_timer_stop(m->loop, &m->tick);
        loop_timer_stop(m->loop, &m->save);
    }
    rows__free(m);
    grants_free(m->grants);
    grants_actions_fini(&m->actions);
    bulk_server_free(m->bulk);
    store__free(m->store);
    journal_close(m->journal);
    explicit_bzero(&m->head, sizeof m->head);
    buf_fini(&m->out);
    free(m->bulk_address);
    free(m->dir);
    free(m->host);
    free(m);
}
