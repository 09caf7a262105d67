/*
 * server -- who may have a link, and what is refused; a port in good health.
 *
 * A server is in use (uses) by its owner, its links and its ports; the last one frees it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "rpc/rpc_priv.h"

struct rpc__peer { /* an address that links came from */
    struct rpc__peer *next;
    unsigned links;
    char name[];
};

struct rpc_server {
    struct rpc *r;
    struct rpc_listen_opts where; /* strings and tls are copies */
    struct tls_files tls;
    struct rpc__port *port;       /* NULL: could not be opened again so far */
    struct loop_timer watch;
    uint64_t failures;            /* of accepting, as known when the port was opened */
    int lock;
    unsigned max_links, max_per_peer, links;
    void (*on_link)(void *arg, struct link *l);
    void *arg;
    struct rpc__peer *peers;
    bool freed;
    unsigned uses;
};

/* ---- the end of it */

void
rpc__server_use(struct rpc_server *s)
{
    s->uses++;
}

void
rpc__server_unuse(struct rpc_server *s)
{
    if (--s->uses)
        return;
    if (s->lock >= 0)
        rpc__path_unlock(s->where.path, &s->lock);
    free((char *)s->where.path);
    free((char *)s->where.host);
    free((char *)s->tls.ca);
    free((char *)s->tls.cert);
    free((char *)s->tls.key);
    s->r->live--;
    free(s);
}

/* ---- refusals: they end by themselves */

struct refusal {
    struct rpc__op op;
    struct rpc *r;
    grpc_call *call;
    int cancelled;
};

static void
on_refused(void *arg, bool ok)
{
    struct refusal *f = arg;

    (void)ok;
    grpc_call_unref(f->call);
    f->r->live--;
    free(f);
}

static void
refuse(struct rpc_server *s, grpc_call *call, grpc_status_code code, const char *text)
{
    struct refusal *f = calloc(1, sizeof *f);
    grpc_slice details = grpc_slice_from_copied_string(text);

    if (!f)
        abort();
    *f = (struct refusal){ .op = { .done = on_refused, .owner = f }, .r = s->r, .call = call };
    s->r->live++;
    grpc_op ops[3] = {
        { .op = GRPC_OP_SEND_INITIAL_METADATA },
        { .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
          .data.send_status_from_server = { .status = code, .status_details = &details } },
        { .op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &f->cancelled },
    };
    rpc__start(call, ops, 3, &f->op);
    grpc_slice_unref(details);
}

/* ---- who is there */

/* The address of "ipv4:10.0.0.2:41234" without its port; all of a unix socket's are one. */
static struct rpc__peer *
peer_of(struct rpc_server *s, const char *peer)
{
    const char *colon = strrchr(peer, ':');
    size_t n = !strncmp(peer, "unix", 4) || !colon ? strcspn(peer, ":") : (size_t)(colon - peer);
    struct rpc__peer *p;

    for (p = s->peers; p; p = p->next)
        if (!strncmp(p->name, peer, n) && !p->name[n])
            return p;
    p = calloc(1, sizeof *p + n + 1);
    if (!p)
        abort();
    memcpy(p->name, peer, n);
    p->next = s->peers;
    s->peers = p;
    return p;
}

static void
peer_left(struct rpc_server *s, struct rpc__peer *gone)
{
    if (gone->links)
        return;
    for (struct rpc__peer **at = &s->peers; *at; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            break;
        }
    free(gone);
}

void
rpc__server_left(struct rpc_link *l)
{
    struct rpc_server *s = l->server;

    s->links--;
    l->from->links--;
    peer_left(s, l->from);
    l->server = NULL;
    rpc__server_unuse(s);
}

/* ---- accepting */

static void
on_started(void *arg, bool ok)
{
    struct rpc_link *l = arg;

    (void)ok; /* if it failed reading will, too */
    l->flying--;
    rpc__link_settle(l);
}

static void
begin(struct rpc_link *l)
{
    static const char mark[] = RPC_MARK;
    grpc_metadata md = { .key = grpc_slice_from_static_string(mark), .value = grpc_slice_from_static_string("1") };
    grpc_op end = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &l->cancelled };
    grpc_op first = { .op = GRPC_OP_SEND_INITIAL_METADATA, .data.send_initial_metadata = { 1, &md, { 0 } } };

    l->op_start = (struct rpc__op){ .done = on_started, .owner = l };
    l->flying += 2;
    rpc__start(l->call, &end, 1, &l->op_end);
    rpc__start(l->call, &first, 1, &l->op_start);
}

void
rpc__server_call(struct rpc_server *s, grpc_call *call, bool known)
{
    char text[128] = "", *name = grpc_call_get_peer(call);
    struct rpc__peer *from = peer_of(s, name);
    grpc_status_code code = GRPC_STATUS_RESOURCE_EXHAUSTED;

    if (!known)
        code = GRPC_STATUS_UNIMPLEMENTED;
    else if (s->freed)
        code = GRPC_STATUS_UNAVAILABLE;
    else if (s->links >= s->max_links)
        snprintf(text, sizeof text, "all %u links are taken", s->max_links);
    else if (from->links >= s->max_per_peer)
        snprintf(text, sizeof text, "all %u links of one address are taken", s->max_per_peer);
    gpr_free(name);
    if (!known || s->freed || text[0]) {
        peer_left(s, from);
        refuse(s, call, code, text);
        return;
    }
    struct rpc_link *l = rpc__link_new(s->r, s->where.message_limit);
    l->call = call;
    l->server = s;
    l->from = from;
    l->details = grpc_empty_slice();
    grpc_metadata_array_init(&l->meta);
    grpc_metadata_array_init(&l->trailer);
    s->uses++;
    s->links++;
    from->links++;
    begin(l);
    rpc__link_up(l);
    l->busy = true;
    s->on_link(s->arg, &l->base);
    l->busy = false;
    ASSERT(l->base.handler || l->closed);
    rpc__link_settle(l);
}

/* ---- a port in good health */

static void on_watch(void *arg);

static void
watch(struct rpc_server *s, uint64_t ns)
{
    loop_timer_start(s->r->l, &s->watch, clock_mono_ns() + ns, on_watch, s);
}

static struct err *
open_port(struct rpc_server *s)
{
    s->failures = rpc__accept_failures();
    TRY(rpc__port_open(s->r, s, &s->where, &s->port, &s->where.port));
    watch(s, RPC_WATCH_NS);
    return NULL;
}

/* A failure of any server of the process counts: a new port in a sound one's place does no harm. */
static void
on_watch(void *arg)
{
    struct rpc_server *s = arg;

    if (s->port && s->failures != rpc__accept_failures()) {
        rpc__port_close(s->port);
        s->port = NULL;
        watch(s, RPC_RETRY_MIN_NS);
        return;
    }
    struct err *e = s->port ? NULL : open_port(s);
    if (e) /* no descriptors, or the old one is not closed yet */
        err_free(e);
    watch(s, e ? RPC_RETRY_MIN_NS : RPC_WATCH_NS);
}

/* As many descriptors as there may be. */
static void
raise_limit(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

/* ---- the calls of the header */

static char *
copy(const char *s)
{
    char *c = s ? strdup(s) : NULL;

    if (s && !c)
        abort();
    return c;
}

static void
keep(struct rpc_server *s, const struct rpc_listen_opts *o)
{
    s->where = *o;
    s->where.host = copy(o->host);
    s->where.path = copy(o->path);
    s->where.message_limit = o->message_limit ? o->message_limit : RPC_MESSAGE_LIMIT;
    if (o->tls) {
        s->tls = (struct tls_files){ copy(o->tls->ca), copy(o->tls->cert), copy(o->tls->key) };
        s->where.tls = &s->tls;
    }
    s->max_links = o->max_links ? o->max_links : RPC_LINKS;
    s->max_per_peer = o->max_links_per_peer ? o->max_links_per_peer : RPC_LINKS_PER_PEER;
}

static struct err *
listen_at(struct rpc_server *s)
{
    if (s->where.path)
        TRY(rpc__path_lock(s->where.path, &s->lock));
    else
        TRY(tls_check_listen(s->where.host, s->where.tls));
    raise_limit();
    return open_port(s);
}

struct err *
rpc_listen(struct rpc *r, const struct rpc_listen_opts *o, void (*on_link)(void *arg, struct link *l), void *arg,
           struct rpc_server **ret)
{
    struct rpc_server *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    *s = (struct rpc_server){ .r = r, .lock = -1, .on_link = on_link, .arg = arg, .uses = 1 };
    keep(s, o);
    r->live++;
    r->listening++;
    struct err *e = listen_at(s);
    if (e) {
        rpc_server_free(s);
        return e;
    }
    *ret = s;
    return NULL;
}

uint16_t
rpc_server_port(const struct rpc_server *s)
{
    return s->where.port;
}

void
rpc_server_free(struct rpc_server *s)
{
    if (!s)
        return;
    ASSERT(!s->freed);
    s->freed = true;
    s->r->listening--;
    loop_timer_stop(s->r->l, &s->watch);
    rpc__port_close(s->port);
    s->port = NULL;
    rpc__server_unuse(s);
}
