/*
 * worker -- one host's share of a standalone cluster: it starts and ends executors and drivers, fetches what they need,
 * keeps and serves the shuffle files of their applications, and tells the master.
 *
 * It registers with the first master that answers and does so again for as long as it lives; children go on without a
 * master.  Everything it has is below dir (README.md), which it locks; children can't outlive it (PR_SET_PDEATHSIG), and
 * what they leave is removed at their end or at the worker's next start in the same folder.
 *
 * Owner: the one who made it.  Threads: the loop's, which must be the process's main one (process.h).
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/tls.h"

struct loop;
struct link;
struct worker;
struct event_json_sink;

struct worker_opts {
    const char *dir;              /* made if it isn't there; 0700 */
    const char *const *local;     /* folders of other disks, in each of which it has one of its own: shuffle files and
                                     spills go where most room is.  One that can't be used is left out, with a warning */
    unsigned n_local;             /* at most SPREAD_MAX (base/spread.h) */
    const char *host;             /* as others should call this one, and where the shuffle service listens */
    uint16_t port;                /* of the shuffle service, 0: any */
    uint32_t cores;
    uint64_t memory;
    const char *master;           /* the URL: "taskd://a:7077,b:7077"; "spark://" is the same */
    const struct tls_files *tls;  /* or NULL */
    const void *token;            /* the cluster's */
    size_t token_n;
    const char *executor, *driver, *unpack; /* programs */
    uint64_t cache_bytes, ttl_ns; /* of blobs (blobs.h) and of folders nobody needs; 0: 10 GiB, 7 days */
    uint64_t strays_ns;           /* that what an ended child leaves behind may live; 0: 5 s */
    /* How to call a master: rpc_dial(), or a test's. */
    struct err *(*dial)(void *arg, const char *address, struct link **ret);
    /* A master that never had this worker refuses it.  Takes why.  NULL: goes on trying. */
    void (*refused)(void *arg, struct err *why);
    void *arg;                    /* of both */
    struct event_json_sink *log;  /* NULL: silent */
};
/* Everything in o is copied. */
struct err *worker_new(struct loop *l, const struct worker_opts *o, struct worker **ret) MUST_USE;
/* Ends all children (SIGTERM, after 500 ms SIGKILL), then calls done. */
void worker_stop(struct worker *w, void (*done)(void *arg), void *arg);
/* Children that are left are killed.  NULL is allowed. */
void worker_free(struct worker *w);
const char *worker_id(const struct worker *w);
const char *worker_bulk(const struct worker *w); /* "host:port" */
#endif
