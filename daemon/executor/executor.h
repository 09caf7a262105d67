/*
 * executor -- runs tasks: owns the runners, the memory they may use, its folder of outputs and every file that is
 * opened for them.  It never runs user code and decides nothing: the driver says by a link what runs where
 * (lib/proto/control.proto, "driver and executor").
 *
 *   attach: Hello, ExecutorHello -->  <-- Hello, Welcome      orders: Stage, Nodes, Outputs, Launch, Kill, Remove,
 *                                                             Broadcast
 *                                                             facts:  Done, SlotDown, Said, Progress, ExecutorFailed,
 *                                                             BroadcastHeld
 *
 * In local mode the link is net/link.h's loopback, on a cluster lib/rpc's; nothing here knows which.
 *
 * Owner: the one who made it.  Threads: the loop's.
 */
#ifndef EXECUTOR_EXECUTOR_H
#define EXECUTOR_EXECUTOR_H
#include <stdbool.h>
#include <stdint.h>

#include "executor/runners.h"
#include "net/link.h"

struct bulk_client;
struct bulk_get;
struct executor;
struct loop;

enum { EXECUTOR_SECRET = 32 };

struct executor_opts {
    uint32_t number;         /* in the application */
    unsigned slots;
    const char *host;        /* as others call this one: two of one host read each other's files */
    const char *bulk;        /* "host:port" of who serves dir, "" nobody */
    const char *dir;         /* outputs: an existing directory; may be spread (base/spread.h), then spills are, too */
    const char *worker;      /* whose shuffle service keeps dir when this one is gone, "" nobody */
    const char *scratch;     /* spills, if dir is not spread: an existing directory of this executor alone */
    unsigned char secret[EXECUTOR_SECRET]; /* of the application: what the driver lets it in by */
    int module_fd;           /* verified bytes; borrowed */
    const char *module_name;
    const char *files;       /* folder of what went along with it, "" nothing */
    const char *const *libs; /* names there: loaded before the module, in this order */
    uint32_t n_libs;
    const char *symbolise;   /* path of taskd-symbolise or NULL */
    /* How files of other hosts come here: bulk_get and bulk_forget with their client.  get NULL: there are no other
     * hosts.  Pointers, because local mode links neither sockets nor TLS. */
    struct executor_fetch {
        struct bulk_client *client;
        void (*get)(struct bulk_client *c, const struct bulk_get *g);
        void (*forget)(struct bulk_client *c, void *arg);
        void (*limit)(struct bulk_client *c, uint64_t in_flight, unsigned retries, uint64_t backoff_ns); /* or NULL */
    } fetch;
    /* It is over: the driver said Stop (why NULL), or the link is down or was refused.  Takes why.  Once, and never
     * from inside a call of this header; executor_free() is allowed in it. */
    void (*end)(void *arg, struct err *why);
    void *arg;
};
/* Says Hello by the link, which it takes.  Strings are borrowed. */
struct err *executor_attach(struct loop *l, struct zygote *z, const struct executor_opts *o, struct link *link,
                            struct executor **ret) MUST_USE;
/* Kills all runners, closes the link.  NULL is allowed. */
void executor_free(struct executor *x);
/* Process ids of the runners that live: at most n into pids; returns their number. */
unsigned executor_pids(const struct executor *x, int *pids, unsigned n);
/* Items that were refused: of another application or epoch. */
uint64_t executor_stale(const struct executor *x);
#endif
