/*
 * port -- one listening server of gRPC's, and the streams that it is ready to accept.
 *
 * gRPC 1.51 stops listening for good when it has no descriptor for a connection ("Failed accept4"), and says so in its
 * log only.  So a port can be replaced: the old one lives on as long as its streams do, a new one listens in its place.
 *
 * A port is in use (uses) by itself, by each armed accept, and by the tag of its shutdown; the last one frees it.
 */
#include <errno.h>
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
    struct rpc__port *p;
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array meta;
    grpc_call_details details; /* of the one for methods that we don't have */
};

struct rpc__port {
    struct rpc *r;
    struct rpc_server *s;
    grpc_server *grpc;
    void *method;
    struct accept accepts[RPC_ACCEPTS], other;
    struct rpc__op stop;
    bool closed;
    unsigned uses;
};

static void
unuse(struct rpc__port *p)
{
    if (--p->uses)
        return;
    if (p->grpc)
        grpc_server_destroy(p->grpc);
    rpc__server_unuse(p->s);
    free(p);
}

/* ---- accepting */

static void
arm(struct accept *a)
{
    struct rpc__port *p = a->p;
    grpc_completion_queue *cq = p->r->cq;
    grpc_call_error ce;

    grpc_metadata_array_init(&a->meta);
    if (a == &p->other) {
        grpc_call_details_init(&a->details);
        ce = grpc_server_request_call(p->grpc, &a->call, &a->details, &a->meta, cq, cq, rpc__op_go(&a->op));
    } else {
        ce = grpc_server_request_registered_call(p->grpc, p->method, &a->call, &a->deadline, &a->meta, NULL, cq, cq,
                                                 rpc__op_go(&a->op));
    }
    ASSERT(ce == GRPC_CALL_OK);
    p->uses++;
}

static void
on_call(void *arg, bool ok)
{
    struct accept *a = arg;
    struct rpc__port *p = a->p;
    grpc_call *call = a->call;

    grpc_metadata_array_destroy(&a->meta);
    if (a == &p->other)
        grpc_call_details_destroy(&a->details);
    if (ok && !p->closed)
        arm(a);
    if (ok)
        rpc__server_call(p->s, call, a != &p->other);
    unuse(p);
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
add_address(struct rpc__port *p, const struct rpc_listen_opts *o, uint16_t *ret_port)
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
    int port = grpc_server_add_http2_port(p->grpc, b.p, creds);
    grpc_server_credentials_release(creds);
    buf_fini(&b);
    if (port <= 0)
        return why_not(o);
    *ret_port = o->path ? 0 : (uint16_t)port;
    return NULL;
}

struct err *
rpc__port_open(struct rpc *r, struct rpc_server *s, const struct rpc_listen_opts *o, struct rpc__port **ret,
               uint16_t *ret_port)
{
    struct rpc__args args;
    struct rpc__port *p = calloc(1, sizeof *p);

    if (!p)
        abort();
    *p = (struct rpc__port){ .r = r, .s = s, .uses = 1, .stop = { .done = on_stopped, .owner = p } };
    rpc__server_use(s);
    rpc__args_server(&args, o->message_limit);
    p->grpc = grpc_server_create(&args.all, NULL);
    grpc_server_register_completion_queue(p->grpc, r->cq, NULL);
    p->method = grpc_server_register_method(p->grpc, RPC_METHOD, NULL, GRPC_SRM_PAYLOAD_NONE, 0);
    ASSERT(p->method);
    struct err *e = add_address(p, o, ret_port);
    if (e) {
        rpc__port_close(p);
        return e;
    }
    grpc_server_start(p->grpc);
    for (int i = 0; i <= RPC_ACCEPTS; i++) {
        struct accept *a = i < RPC_ACCEPTS ? &p->accepts[i] : &p->other;

        a->p = p;
        a->op = (struct rpc__op){ .done = on_call, .owner = a };
        arm(a);
    }
    *ret = p;
    return NULL;
}

void
rpc__port_close(struct rpc__port *p)
{
    if (!p)
        return;
    p->closed = true;
    p->uses++;
    grpc_server_shutdown_and_notify(p->grpc, p->r->cq, rpc__op_go(&p->stop));
    unuse(p);
}
