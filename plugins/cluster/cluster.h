/*
 * cluster -- how executors come into being: the contract of plugins/cluster/NAME.
 *
 * A back-end starts executors somewhere and says which came and went; the executors then dial the driver themselves
 * and all else is between these two.  The driver says how much it wants, as often as it likes.
 *
 *   start --> ready --> [granted ... gone]* --> stop
 *
 * Owner: the one who called start().  Threads: the loop's.  No call of struct cluster_up comes from inside a call of
 * struct cluster_ops.
 */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/tls.h"

struct loop;
struct rpc;
struct cluster;

enum { CLUSTER_SECRET = 32 };

struct cluster_blob { /* what executors need before they start: MODULE, LIBRARY, FILE, ARCHIVE of proto/control.proto */
    uint8_t use;
    unsigned char sha256[32];
    uint64_t size;
    const char *name;
};
struct cluster_app {
    const char *name;
    const char *submission;      /* cluster mode: the id that the driver was submitted under; NULL */
    uint32_t cores_max;          /* 0: as many as there are */
    uint32_t cores_per_executor; /* 0: all that the app gets on a node */
    uint64_t memory_per_executor;
    uint32_t executors_max;      /* 0: no limit but cores */
    const char *address;         /* where executors dial the driver */
    const char *bulk;            /* who has the blobs, "" for nobody */
    unsigned char secret[CLUSTER_SECRET];
    const struct cluster_blob *blobs;
    size_t n_blobs;
};
struct cluster_opts {
    struct loop *loop;
    struct rpc *rpc;
    const char *master;          /* as the user gave it: "taskd://a:7077,b:7077" */
    const struct tls_files *tls; /* or NULL */
    const char *token;           /* the cluster's, or NULL */
    size_t token_n;
    struct cluster_app app;      /* all of it is copied */
};
struct cluster_up {
    /* The application is known; cores: what it can get of the cluster as it is. */
    void (*ready)(void *arg, const char *app_id, uint32_t cores);
    /* An executor is being started; it will dial. */
    void (*granted)(void *arg, uint32_t executor, const char *host, uint32_t cores);
    /* It is gone or never came.  node: whose shuffle service keeps its files ("" nobody); node_lost: that is gone, too. */
    void (*gone)(void *arg, uint32_t executor, const char *why, const char *node, bool node_lost);
    /* Why there is nothing yet, in numbers; "" when that is over. */
    void (*waiting)(void *arg, const char *why);
    /* Somebody asked for a part of the application to end: a job, or a stage, or one attempt of a task (partition and
     * attempt are then there, too); UINT32_MAX: not meant. */
    void (*cancel)(void *arg, uint32_t job, uint32_t stage, uint32_t partition, uint32_t attempt);
    /* The back-end can't go on: ERR_DENIED refused, ERR_LOST and no hope.  Takes why. */
    void (*failed)(void *arg, struct err *why);
};
struct cluster_ops {
    const char *name;
    struct err *(*start)(const struct cluster_opts *o, const struct cluster_up *up, void *arg, struct cluster **ret);
    void (*want)(struct cluster *c, uint32_t cores);
    void (*release)(struct cluster *c, uint32_t executor, const char *why);
    /* The application is over; frees c. */
    void (*stop)(struct cluster *c, int exit_status, const char *text);
};
struct cluster { /* first member of theirs */
    const struct cluster_ops *ops;
};

extern const struct cluster_ops cluster_standalone; /* plugins/cluster/standalone */
#endif
