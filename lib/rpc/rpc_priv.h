/*
 * rpc_priv -- what the files of rpc share.
 *
 * Every operation that gRPC is asked for has a struct rpc__op as its tag.  The reactor thread takes finished ones from
 * the completion queue, notes their success, and pushes them to the inbox; the loop's thread takes them from there and
 * calls done().  So batches are started and state is touched by the loop's thread only, and there is no lock.
 */
#ifndef RPC_RPC_PRIV_H
#define RPC_RPC_PRIV_H
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "net/loop.h"
#include "rpc/rpc.h"

#define RPC_METHOD "/taskd.Control/Stream"
/* In the initial metadata of whoever accepted a stream: a server of ours took it, and it is no error in disguise. */
#define RPC_MARK "taskd-link"

enum {
    RPC_ACCEPTS = 16, /* streams that can be accepted at once */
    RPC_MESSAGE_LIMIT = 16 << 20,
    RPC_LINKS = 10000,
    RPC_LINKS_PER_PEER = 4096,
#ifdef TASKD_HOSTILE
    RPC_BATCH = 64, /* bytes that are joined to a message */
#else
    RPC_BATCH = LINK_BATCH,
#endif
};
#define RPC_DIAL_NS UINT64_C(5000000000)
#define RPC_CLOSE_NS UINT64_C(1000000000)    /* a closed link that does not get on for so long ends */
#define RPC_RETRY_MIN_NS UINT64_C(100000000) /* between two attempts of one dial */
#define RPC_AGAIN_NS UINT64_C(10000000)      /* a timer that came before news that wait looks again */
#define RPC_WATCH_NS UINT64_C(1000000000)    /* between two looks whether ports are still listened on */
#define RPC_RETRY_MAX_NS UINT64_C(1000000000)

struct rpc__op {
    void (*done)(void *owner, bool ok); /* in the loop's thread */
    void *owner;
    bool ok;
    _Atomic bool busy; /* with gRPC */
    struct rpc__op *next;
};

struct rpc_link;

struct rpc {
    struct loop *l;
    grpc_completion_queue *cq;
    pthread_t reactor;
    int event;             /* eventfd: wakes the loop */
    struct loop_io *io;
    struct loop_poll poll; /* takes the inbox, flushes what was sent */
    bool started;
    _Atomic(struct rpc__op *) inbox; /* newest first */
    _Atomic bool armed;              /* the loop is about to sleep: wake it */
    struct rpc_link *dirty;          /* have something to write */
    struct rpc_link *links;          /* all whose gRPC part lives or whose owner did not close them */
    unsigned live;                   /* links, servers, refusals */
    unsigned listening;              /* servers that were not freed */
};

/* ---- rpc.c */
/* The tag of op, which goes to gRPC. */
void *rpc__op_go(struct rpc__op *op);
/* Starts a batch that can't fail but by a bug of ours. */
void rpc__start(grpc_call *call, const grpc_op *ops, size_t n, struct rpc__op *op);
/* How often gRPC could not accept a connection in this process. */
uint64_t rpc__accept_failures(void);

/* ---- args.c */
enum { RPC_ARGS = 32 };
struct rpc__args {
    grpc_arg arg[RPC_ARGS];
    grpc_channel_args all;
};
void rpc__args_server(struct rpc__args *a, uint32_t message_limit);
void rpc__args_dial(struct rpc__args *a, uint32_t message_limit, uint64_t timeout_ns);
struct err *rpc__creds_dial(const struct tls_files *tls, grpc_channel_credentials **ret) MUST_USE;
struct err *rpc__creds_server(const struct tls_files *tls, grpc_server_credentials **ret) MUST_USE;

/* ---- path.c: unix sockets */
/* The folder must be ours and 0700; the lock file is locked and its descriptor returned. */
struct err *rpc__path_lock(const char *path, int *ret_fd) MUST_USE;
void rpc__path_unlock(const char *path, int *fd);

/* ---- link.c: a stream, whoever began it */
/* Sends that wait are joined: a chunk is the next message. */
struct rpc__chunk {
    struct rpc__chunk *next;
    char *p;
    size_t n, cap;
};

struct rpc__peer;

struct rpc_link {
    struct link base;
    struct rpc *r;
    struct rpc_link *next, **at; /* in r->links */
    struct rpc_link *next_dirty;
    bool dirty;

    grpc_call *call;
    grpc_channel *channel;     /* dialled */
    struct rpc_server *server; /* accepted */
    struct rpc__peer *from;    /* accepted: counted there */
    char *peer;                /* of gpr_malloc() */
    struct rpc__dial *dial;    /* until it is up */
    uint32_t limit;

    struct rpc__op op_start, op_read, op_write, op_end;
    unsigned flying;           /* operations of the call with gRPC */
    grpc_byte_buffer *got, *sending;
    grpc_metadata_array meta, trailer;
    grpc_status_code status;
    grpc_slice details;
    int cancelled;

    struct rpc__chunk *first, *last;
    size_t queued;             /* bytes in chunks and in sending */
    size_t sending_n;

    bool up;        /* the other side took the stream */
    bool read_over; /* nothing comes any more */
    bool end_over;  /* status (dialled) or close (accepted) arrived */
    bool out_over;  /* the last thing was sent, or can't be */
    bool closed;    /* by its owner */
    bool told;      /* on_down was called */
    bool busy;      /* a handler of its owner is on the stack: not to be freed */
    struct err *why;           /* better known than by gRPC */
    struct loop_timer timer;   /* dial: all of it; closed: the rest */
};

/* What came along with the status; the other side may have written it, so only printable ASCII is left. */
enum { RPC_DETAILS = 400 };
void rpc__link_details(const struct rpc_link *l, char ret[static RPC_DETAILS]);
struct rpc_link *rpc__link_new(struct rpc *r, uint32_t limit);
/* The call is there and accepted: reads, and writes what waited. */
void rpc__link_up(struct rpc_link *l);
/* Looks at what changed and does what is next; may free it. */
void rpc__link_settle(struct rpc_link *l);
void rpc__link_flush(struct rpc_link *l);
/* Ends the call with why, which it takes. */
void rpc__link_fail(struct rpc_link *l, struct err *why);
/* The gRPC part goes. */
void rpc__link_release(struct rpc_link *l);

/* ---- dial.c */
void rpc__dial_settle(struct rpc_link *l);
/* No more attempts.  What follows comes by an event, or by rpc__link_settle() if the owner closed the link. */
void rpc__dial_stop(struct rpc_link *l);

/* ---- port.c */
struct rpc__port;
struct err *rpc__port_open(struct rpc *r, struct rpc_server *s, const struct rpc_listen_opts *o,
                           struct rpc__port **ret, uint16_t *ret_port) MUST_USE;
/* Takes no more; streams that came by it live on. */
void rpc__port_close(struct rpc__port *p);

/* ---- server.c */
void rpc__server_use(struct rpc_server *s);
void rpc__server_unuse(struct rpc_server *s);
/* Takes a stream that came; known: it asks for what we have. */
void rpc__server_call(struct rpc_server *s, grpc_call *call, bool known);
/* l is no link of its server any more. */
void rpc__server_left(struct rpc_link *l);
#endif
