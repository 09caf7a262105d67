/*
 * standalone -- taskd's own master starts the executors.
 *
 * What the master granted is kept here with the wish, and is said again when a connection is there again: to a master
 * that was started anew as to one that only could not be reached.
 */
#include <stdlib.h>
#include <string.h>

#include "cluster/standalone/standalone_priv.h"
#include "rpc/rpc.h"
#include "uplink/uplink.h"

enum { DEFAULT_PORT = 7077, SHA256 = 32 };
#define DIAL_NS UINT64_C(5000000000)

struct granted {
    struct granted *next;
    uint32_t executor, cores;
    uint64_t memory;
};
struct standalone {
    struct cluster cluster;
    struct arena a;            /* what was copied of the options */
    struct loop *loop;
    struct rpc *rpc;
    const struct tls_files *tls;
    struct cluster_up up;
    void *arg;
    struct cluster_app app;
    const char *app_id;        /* "" until the master has given one */
    struct uplink *uplink;
    struct granted *granted;
    uint32_t want;
    bool wanted;
    uint64_t dial_ns;
};

/* ---- saying */

static void
say(struct standalone *s, Taskd__Item *item)
{
    uplink_send(s->uplink, item);
}

static void
say_want(struct standalone *s)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__Want want = TASKD__WANT__INIT;

    want.cores = s->want;
    item.kind_case = TASKD__ITEM__KIND_WANT;
    item.want = &want;
    say(s, &item);
}

static void
put_blobs(struct standalone *s, struct arena *a, Taskd__AppHello *h)
{
    h->blob = ARENA_ARRAY(a, Taskd__AppBlob *, s->app.n_blobs + 1);
    for (size_t i = 0; i < s->app.n_blobs; i++) {
        const struct cluster_blob *from = &s->app.blobs[i];
        Taskd__AppBlob *b = ARENA_NEW(a, Taskd__AppBlob);

        *b = (Taskd__AppBlob)TASKD__APP_BLOB__INIT;
        b->blob = ARENA_NEW(a, Taskd__Blob);
        *b->blob = (Taskd__Blob)TASKD__BLOB__INIT;
        b->use = (Taskd__BlobUse)from->use;
        b->blob->sha256 = PROTO_BYTES(from->sha256, SHA256);
        b->blob->size = from->size;
        b->blob->name = (char *)from->name;
        h->blob[h->n_blob++] = b;
    }
}

static void
put_executors(struct standalone *s, struct arena *a, Taskd__AppHello *h)
{
    size_t n = 0;

    for (struct granted *g = s->granted; g; g = g->next)
        n++;
    h->executor = ARENA_ARRAY(a, Taskd__ChildState *, n + 1);
    for (struct granted *g = s->granted; g; g = g->next) {
        Taskd__ChildState *c = ARENA_NEW(a, Taskd__ChildState);

        *c = (Taskd__ChildState)TASKD__CHILD_STATE__INIT;
        c->app_id = (char *)s->app_id;
        c->executor = g->executor;
        c->phase = TASKD__CHILD_PHASE__RUNNING;
        c->cores = g->cores;
        c->memory = g->memory;
        h->executor[h->n_executor++] = c;
    }
}

static void
on_up(void *arg)
{
    struct standalone *s = arg;
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__AppHello h = TASKD__APP_HELLO__INIT;
    struct arena a = { 0 };

    h.app_id = (char *)s->app_id;
    h.name = (char *)s->app.name;
    h.cores_max = s->app.cores_max;
    h.cores_per_executor = s->app.cores_per_executor;
    h.memory_per_executor = s->app.memory_per_executor;
    h.executors_max = s->app.executors_max;
    h.driver = (char *)s->app.address;
    h.driver_bulk = (char *)s->app.bulk;
    h.secret = PROTO_BYTES(s->app.secret, CLUSTER_SECRET);
    h.submission = (char *)s->app.submission;
    put_blobs(s, &a, &h);
    put_executors(s, &a, &h);
    item.kind_case = TASKD__ITEM__KIND_APP_HELLO;
    item.app_hello = &h;
    say(s, &item);
    if (s->wanted)
        say_want(s);
    arena_fini(&a);
}

/* ---- hearing */

static struct granted **
find(struct standalone *s, uint32_t executor)
{
    struct granted **g = &s->granted;

    while (*g && (*g)->executor != executor)
        g = &(*g)->next;
    return g;
}

static bool
forget(struct standalone *s, uint32_t executor)
{
    struct granted **at = find(s, executor), *g = *at;

    if (!g)
        return false;
    *at = g->next;
    free(g);
    return true;
}

static void
on_welcome(struct standalone *s, const Taskd__AppWelcome *w)
{
    bool first = !*s->app_id;

    if (strcmp(s->app_id, w->app_id))
        s->app_id = arena_strdup(&s->a, w->app_id);
    if (first)
        s->up.ready(s->arg, s->app_id, w->cores);
}

static void
on_granted(struct standalone *s, const Taskd__Granted *m)
{
    struct granted **at = find(s, m->executor);

    if (*at)
        return; /* said again after a connection was lost */
    *at = calloc(1, sizeof **at);
    if (!*at)
        abort();
    (*at)->executor = m->executor;
    (*at)->cores = m->cores;
    (*at)->memory = m->memory;
    s->up.granted(s->arg, m->executor, m->host, m->cores);
}

/* Executor 0 is none: a worker whose executors had ended is lost, with the files they left. */
static void
on_gone(struct standalone *s, const Taskd__Gone *m)
{
    if (m->executor && !forget(s, m->executor) && !m->worker_lost)
        return;
    s->up.gone(s->arg, m->executor, m->text, m->worker, m->worker_lost);
}

static void
on_item(void *arg, const Taskd__Item *item)
{
    struct standalone *s = arg;

    switch (item->kind_case) {
    case TASKD__ITEM__KIND_APP_WELCOME:
        on_welcome(s, item->app_welcome);
        break;
    case TASKD__ITEM__KIND_GRANTED:
        on_granted(s, item->granted);
        break;
    case TASKD__ITEM__KIND_GONE:
        on_gone(s, item->gone);
        break;
    case TASKD__ITEM__KIND_CANCEL:
        /* 0 becomes UINT32_MAX */
        s->up.cancel(s->arg, item->cancel->job ? item->cancel->job : UINT32_MAX, item->cancel->stage_1 - 1,
                     item->cancel->partition_1 - 1, item->cancel->attempt_1 - 1);
        break;
    case TASKD__ITEM__KIND_WAITING:
        s->up.waiting(s->arg, item->waiting->why);
        break;
    case TASKD__ITEM__KIND_STOP:
        s->up.failed(s->arg, err_new(ERR_CANCELLED, "%s", *item->stop->why ? item->stop->why : "killed at the master"));
        break;
    default:
        break;
    }
}

/* Executors go on without a master, and so does the application. */
static void
on_down(void *arg, const struct err *why)
{
    (void)arg;
    (void)why;
}

static void
on_failed(void *arg, struct err *why)
{
    struct standalone *s = arg;

    s->up.failed(s->arg, why);
}

/* ---- the contract */

static void
want(struct cluster *c, uint32_t cores)
{
    struct standalone *s = (struct standalone *)c;

    if (s->wanted && s->want == cores)
        return;
    s->want = cores;
    s->wanted = true;
    say_want(s);
}

static void
release(struct cluster *c, uint32_t executor, const char *why)
{
    struct standalone *s = (struct standalone *)c;
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__Release m = TASKD__RELEASE__INIT;

    forget(s, executor);
    m.executor = executor;
    m.why = (char *)why;
    item.kind_case = TASKD__ITEM__KIND_RELEASE;
    item.release = &m;
    say(s, &item);
}

static void
stop(struct cluster *c, int exit_status, const char *text)
{
    struct standalone *s = (struct standalone *)c;
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__AppEnd m = TASKD__APP_END__INIT;

    m.exit_status = (uint32_t)exit_status;
    m.text = (char *)(text ? text : "");
    item.kind_case = TASKD__ITEM__KIND_APP_END;
    item.app_end = &m;
    say(s, &item);
    uplink_free(s->uplink);
    while (s->granted)
        forget(s, s->granted->executor);
    explicit_bzero(s->app.secret, sizeof s->app.secret);
    arena_fini(&s->a);
    free(s);
}

static const char *
copy(struct arena *a, const char *s)
{
    return arena_strdup(a, s ? s : "");
}

static void
copy_app(struct standalone *s, const struct cluster_app *app)
{
    struct cluster_blob *blobs = ARENA_ARRAY(&s->a, struct cluster_blob, app->n_blobs + 1);

    s->app = *app;
    s->app.name = copy(&s->a, app->name);
    s->app.submission = copy(&s->a, app->submission);
    s->app.address = copy(&s->a, app->address);
    s->app.bulk = copy(&s->a, app->bulk);
    for (size_t i = 0; i < app->n_blobs; i++) {
        blobs[i] = app->blobs[i];
        blobs[i].name = copy(&s->a, app->blobs[i].name);
    }
    s->app.blobs = blobs;
}

/* "taskd://a:7077,b" as addresses with ports. */
static const char *const *
addresses(struct arena *a, const char *url, size_t *ret_n)
{
    const char *p = strstr(url, "://") ? strstr(url, "://") + 3 : url;
    const char **list = ARENA_ARRAY(a, const char *, strlen(p) + 1);

    *ret_n = 0;
    for (; *p; p += *p == ',') {
        size_t n = strcspn(p, ",");
        const char *one = arena_memdup(a, p, n), *end = strrchr(one, ']');

        if (n)
            list[(*ret_n)++] = strchr(end ? end : one, ':') ? one : arena_printf(a, "%s:%d", one, DEFAULT_PORT);
        p += n;
    }
    return list;
}

static struct err *
rpc(void *arg, const char *address, struct link **ret)
{
    struct standalone *s = arg;
    struct rpc_dial_opts o = { .address = address, .tls = s->tls, .timeout_ns = s->dial_ns };

    return rpc_dial(s->rpc, &o, ret);
}

static struct tls_files *
copy_tls(struct arena *a, const struct tls_files *tls)
{
    struct tls_files *f = ARENA_NEW(a, struct tls_files);

    f->ca = arena_strdup(a, tls->ca);
    f->cert = arena_strdup(a, tls->cert);
    f->key = arena_strdup(a, tls->key);
    return f;
}

struct err *
standalone__start(const struct cluster_opts *o, const struct cluster_up *up, void *arg,
                  struct err *(*dial)(void *arg, const char *address, struct link **ret), void *dial_arg,
                  struct cluster **ret)
{
    struct standalone *s = calloc(1, sizeof *s);
    struct uplink_opts u = { .role = "driver", .patience_ns = UINT64_MAX, .up = on_up, .item = on_item, .down = on_down,
                             .failed = on_failed, .arg = s, .dial = dial ? dial : rpc, .dial_arg = dial ? dial_arg : s };

    if (!s)
        abort();
    s->cluster.ops = &cluster_standalone;
    s->loop = o->loop;
    s->rpc = o->rpc;
    s->up = *up;
    s->arg = arg;
    s->app_id = "";
    copy_app(s, &o->app);
    s->tls = o->tls ? copy_tls(&s->a, o->tls) : NULL;
    u.host = "";
    u.url = copy(&s->a, o->master);
    u.addresses = addresses(&s->a, u.url, &u.n_addresses);
    if (!u.n_addresses) {
        arena_fini(&s->a);
        free(s);
        return err_new(ERR_CONFIG, "the master \"%s\" has no address", o->master);
    }
    u.token = o->token ? arena_memdup(&s->a, o->token, o->token_n) : NULL;
    u.token_n = o->token ? o->token_n : 0;
    s->dial_ns = DIAL_NS / u.n_addresses;
    s->uplink = uplink_new(o->loop, &u);
    *ret = &s->cluster;
    return NULL;
}

static struct err *
start(const struct cluster_opts *o, const struct cluster_up *up, void *arg, struct cluster **ret)
{
    return standalone__start(o, up, arg, NULL, NULL, ret);
}

const struct cluster_ops cluster_standalone = { "standalone", start, want, release, stop };
