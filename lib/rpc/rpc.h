/*
 * rpc -- links over gRPC: the only room that includes <grpc/...>.
 *
 * One method, "/taskd.Control/Stream", one long-lived two-way stream a link.  A completion queue with one thread, which
 * owns nothing: what happened is posted to the loop.  A dead peer is noticed by its socket (ms), a frozen or vanished
 * one by keepalive pings of both sides (2000 ms, and 1500 ms for the answer).
 *
 * Owner: the one who made it; links are the one's who got them (net/link.h).  Threads: the loop's.  A process must make
 * its zygote and runners' sockets first: nothing may be forked without exec after rpc_new().
 * Errors: ERR_LOST unreachable or gone, ERR_DENIED refused by TLS, ERR_LIMIT too many links or too large a message.
 */
#ifndef RPC_RPC_H
#define RPC_RPC_H
#include <stdint.h>

#include "net/link.h"
#include "net/tls.h"

struct rpc;
struct rpc_server;

struct err *rpc_new(struct loop *l, struct rpc **ret) MUST_USE;
/* Links must be closed and servers freed before.  Waits until what closed links had to send has left, or nothing of it
 * did for a second; not to be called from a link's handler.  NULL is allowed. */
void rpc_free(struct rpc *r);

struct rpc_listen_opts {
    const char *host;            /* address to bind; ignored with path */
    uint16_t port;               /* 0: any */
    const char *path;            /* a unix socket in a 0700 directory instead, guarded by flock on PATH.lock */
    const struct tls_files *tls; /* NULL: plain, on loopback only */
    unsigned max_links;          /* 0: 10000 */
    unsigned max_links_per_peer; /* address; 0: 4096 */
    uint32_t message_limit;      /* bytes of one message; 0: 16 MiB */
};
/* on_link owns the new link and gives it a handler at once.  Raises RLIMIT_NOFILE to what is allowed: gRPC stops to
 * listen when it has no descriptor for a connection (and is then made to listen anew within a second or two).
 * Errors: ERR_DENIED the path belongs to somebody, its folder to others, or no TLS beyond loopback; ERR_CONFIG; ERR_IO
 * with "Address already in use". */
struct err *rpc_listen(struct rpc *r, const struct rpc_listen_opts *o, void (*on_link)(void *arg, struct link *l),
                       void *arg, struct rpc_server **ret) MUST_USE;
uint16_t rpc_server_port(const struct rpc_server *s);
/* Links that it accepted live on until they are closed; new ones are refused at once.  NULL is allowed. */
void rpc_server_free(struct rpc_server *s);

struct rpc_dial_opts {
    const char *address;         /* "10.0.0.1:7077", "[::1]:7077" or "unix:/path" */
    const struct tls_files *tls; /* NULL: plain */
    uint64_t timeout_ns;         /* for the connection; 0: 5 s.  Until then it tries again every 100 ms .. 1 s */
    uint32_t message_limit;      /* 0: 16 MiB */
};
/* Returns at once; what is sent meanwhile waits.  Not connected in time: on_down with the reason of the last attempt;
 * refused by TLS, or too many links: on_down at once.  With TLS the server's certificate must be of our CA; its name is
 * not asked. */
struct err *rpc_dial(struct rpc *r, const struct rpc_dial_opts *o, struct link **ret) MUST_USE;
#endif
