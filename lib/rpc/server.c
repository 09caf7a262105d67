/*
 * server -- listening, accepting, and refusing what is too much.
 *
 * A server is in use (uses) by each armed accept, by its links, and by the tag of its shutdown; the last one frees it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <grpc/support/string_util.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "rpc/rpc_priv.h"

struct accept {
    struct rpc__op op;
    struct rpc_server *s;
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array meta;
    grpc_call_details details; /* of the one for methods that we don't have */
};

struct rpc__peer { /* an address that links came from */
    struct rpc__peer *next;
    unsigned links;
    char name[];
};

struct rpc_server {
    struct rpc *r;
    grpc_server *grpc;
    void *method;
    uint16_t port;
    char *path;
    int lock;
    unsigned max_links, max_per_peer, links;
    uint32_t limit;
    void (*on_link)(void *arg, struct link *l);
    void *arg;
    struct rpc__peer *peers;
    struct accept accepts[RPC_ACCEPTS], other;
    struct rpc__op stop;
    bool freed;
    unsigned uses;
};

/* ---- the end of it */

static void
unuse(struct rpc_server *s)
{
    if (--s->uses)
        return;
    if (s->grpc)
        grpc_server_destroy(s->grpc);
    if (s->path)
        rpc__path_unlock(s->path, &s->lock);
    free(s->path);
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
    unuse(s);
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

static void
take_call(struct rpc_server *s, grpc_call *call)
{
    char text[128], *name = grpc_call_get_peer(call);
    struct rpc__peer *from = peer_of(s, name);

    text[0] = 0;
    if (s->links >= s->max_links)
        snprintf(text, sizeof text, "all %u links are taken", s->max_links);
    else if (from->links >= s->max_per_peer)
        snprintf(text, sizeof text, "all %u links of one address are taken", s->max_per_peer);
    gpr_free(name);
    if (text[0] || s->freed) {
        peer_left(s, from);
        refuse(s, call, text[0] ? GRPC_STATUS_RESOURCE_EXHAUSTED : GRPC_STATUS_UNAVAILABLE, text);
        return;
    }
    struct rpc_link *l = rpc__link_new(s->r, s->limit);
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

static void
arm(struct accept *a)
{
    struct rpc_server *s = a->s;
    grpc_call_error ce;

    grpc_metadata_array_init(&a->meta);
    if (a == &s->other) {
        grpc_call_details_init(&a->details);
        ce = grpc_server_request_call(s->grpc, &a->call, &a->details, &a->meta, s->r->cq, s->r->cq,
                                      rpc__op_go(&a->op));
    } else {
        ce = grpc_server_request_registered_call(s->grpc, s->method, &a->call, &a->deadline, &a->meta, NULL, s->r->cq,
                                                 s->r->cq, rpc__op_go(&a->op));
    }
    ASSERT(ce == GRPC_CALL_OK);
    s->uses++;
}

static void
on_call(void *arg, bool ok)
{
    struct accept *a = arg;
    struct rpc_server *s = a->s;
    grpc_call *call = a->call;

    grpc_metadata_array_destroy(&a->meta);
    if (a == &s->other)
        grpc_call_details_destroy(&a->details);
    if (ok && !s->freed)
        arm(a);
    if (ok && a == &s->other)
        refuse(s, call, GRPC_STATUS_UNIMPLEMENTED, "no such method");
    else if (ok)
        take_call(s, call);
    unuse(s);
}

static void
on_stopped(void *arg, bool ok)
{
    (void)ok;
    unuse(arg);
}

/* ---- listening */

/* gRPC only says that it did not work: ask the kernel once more. */
static struct err *
why_not(const struct rpc_listen_opts *o)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *ai = NULL;
    char port[8];
    int errnum = 0, one = 1;

    if (o->path)
        return err_new(ERR_IO, "can't listen on \"%s\"", o->path);
    snprintf(port, sizeof port, "%u", o->port);
    int bad = getaddrinfo(o->host, port, &hints, &ai);
    if (bad)
        return err_new(ERR_CONFIG, "can't listen on \"%s\": %s", o->host, gai_strerror(bad));
    for (struct addrinfo *x = ai; x && !errnum; x = x->ai_next) {
        int fd = socket(x->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd >= 0)
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (fd < 0 || bind(fd, x->ai_addr, x->ai_addrlen) < 0 || listen(fd, 1) < 0)
            errnum = errno;
        file_close(&fd);
    }
    freeaddrinfo(ai);
    if (!errnum && o->tls)
        return err_new(ERR_CONFIG, "can't listen on %s:%u: the TLS files \"%s\", \"%s\" and \"%s\" don't fit together",
                       o->host, o->port, o->tls->ca, o->tls->cert, o->tls->key);
    if (!errnum)
        return err_new(ERR_IO, "can't listen on %s:%u", o->host, o->port);
    return err_errno(errnum, "listening on %s:%u", o->host, o->port);
}

static struct err *
add_port(struct rpc_server *s, const struct rpc_listen_opts *o)
{
    struct buf b = { 0 };
    grpc_server_credentials *creds;

    TRY(rpc__creds_server(o->tls, &creds));
    if (o->path)
        buf_printf(&b, "unix:%s", o->path);
    else if (strchr(o->host, ':') && o->host[0] != '[')
        buf_printf(&b, "[%s]:%u", o->host, o->port);
    else
        buf_printf(&b, "%s:%u", o->host, o->port);
    put_u8(&b, 0);
    int port = grpc_server_add_http2_port(s->grpc, b.p, creds);
    grpc_server_credentials_release(creds);
    buf_fini(&b);
    if (port <= 0)
        return why_not(o);
    s->port = o->path ? 0 : (uint16_t)port;
    return NULL;
}

static struct err *
listen_at(struct rpc_server *s, const struct rpc_listen_opts *o)
{
    struct rpc__args args;

    if (o->path) {
        TRY(rpc__path_lock(o->path, &s->lock));
        s->path = strdup(o->path);
        if (!s->path)
            abort();
    } else {
        TRY(tls_check_listen(o->host, o->tls));
    }
    rpc__args_server(&args, s->limit);
    s->grpc = grpc_server_create(&args.all, NULL);
    grpc_server_register_completion_queue(s->grpc, s->r->cq, NULL);
    s->method = grpc_server_register_method(s->grpc, RPC_METHOD, NULL, GRPC_SRM_PAYLOAD_NONE, 0);
    ASSERT(s->method);
    return add_port(s, o);
}

struct err *
rpc_listen(struct rpc *r, const struct rpc_listen_opts *o, void (*on_link)(void *arg, struct link *l), void *arg,
           struct rpc_server **ret)
{
    struct rpc_server *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    *s = (struct rpc_server){ .r = r, .lock = -1, .on_link = on_link, .arg = arg, .uses = 1 };
    s->max_links = o->max_links ? o->max_links : RPC_LINKS;
    s->max_per_peer = o->max_links_per_peer ? o->max_links_per_peer : RPC_LINKS_PER_PEER;
    s->limit = o->message_limit ? o->message_limit : RPC_MESSAGE_LIMIT;
    s->stop = (struct rpc__op){ .done = on_stopped, .owner = s };
    r->live++;
    r->listening++;
    struct err *e = listen_at(s, o);
    if (e) {
        rpc_server_free(s);
        return e;
    }
    grpc_server_start(s->grpc);
    for (int i = 0; i <= RPC_ACCEPTS; i++) {
        struct accept *a = i < RPC_ACCEPTS ? &s->accepts[i] : &s->other;

        a->s = s;
        a->op = (struct rpc__op){ .done = on_call, .owner = a };
        arm(a);
    }
    *ret = s;
    return NULL;
}

uint16_t
rpc_server_port(const struct rpc_server *s)
{
    return s->port;
}

void
rpc_server_free(struct rpc_server *s)
{
    if (!s)
        return;
    ASSERT(!s->freed);
    s->freed = true;
    s->r->listening--;
    if (s->grpc) {
        s->uses++;
        grpc_server_shutdown_and_notify(s->grpc, s->r->cq, rpc__op_go(&s->stop));
    }
    unuse(s);
}
