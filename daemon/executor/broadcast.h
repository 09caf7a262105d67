/*
 * broadcast -- an executor's broadcasts: what the driver told of them, and one copy on this host that runners open.
 *
 * A place (node) that has the bytes whole has them as file "bID" in its folder.  One on this host is opened where it
 * lies.  Otherwise the pieces are fetched in random order from all holders into "bID.part" of our own folder, each is
 * checked against the driver's sum and fetched again elsewhere if it is damaged, and the whole file is renamed: from
 * then on we are a holder.  Executors of one host share the folder; a lock on the partial file lets one of them
 * fetch, the others wait for it.
 *
 * Nothing is fetched before a runner asks.
 *
 * Owner: the executor.  Threads: the loop's.
 */
#ifndef EXECUTOR_BROADCAST_H
#define EXECUTOR_BROADCAST_H
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct broadcasts;
struct bulk_client;
struct bulk_get;
struct loop;

#ifdef TASKD_HOSTILE
enum { BROADCAST_PIECE = 4 << 10 };
#else
enum { BROADCAST_PIECE = 4 << 20 };
#endif

/* What the driver says of one: message Broadcast.  Without pieces (of one that is not empty): these holders are new, the
 * rest is as it was; so what N hosts that fetch it are told does not grow with its size times N. */
struct broadcast_info {
    uint32_t id;
    uint64_t size;
    uint32_t n_pieces; /* size / BROADCAST_PIECE, rounded up */
    const uint64_t *xxh3; /* XXH3 of each */
    uint32_t n_holders;
    const uint32_t *holder; /* nodes */
    bool destroyed;
};
struct broadcast_node {
    const char *host, *bulk, *dir; /* views */
};

struct broadcasts_opts {
    struct loop *loop;
    const char *host;         /* this one, as nodes call it */
    const char *dir;          /* where copies go: exists */
    /* bulk_get and bulk_forget with their client; get NULL: there is no other host.  Pointers, because local mode has
     * neither sockets nor TLS to link. */
    struct bulk_client *bulk;
    void (*get)(struct bulk_client *c, const struct bulk_get *g);
    void (*forget)(struct bulk_client *c, void *arg);
    /* false: not known */
    bool (*node)(void *arg, uint32_t node, struct broadcast_node *ret);
    /* We have it whole: the driver is to know. */
    void (*held)(void *arg, uint32_t id);
    /* An answer to broadcasts_open: err or a descriptor, both taken. */
    void (*opened)(void *arg, unsigned slot, uint32_t frame, uint32_t id, struct err *e, int fd, uint64_t size);
    void *arg;
};
struct broadcasts *broadcasts_new(const struct broadcasts_opts *o);
/* Forgets who waits; files stay (the folder goes with the application).  NULL is allowed. */
void broadcasts_free(struct broadcasts *b);

/* New, changed (other holders) or destroyed: then its file here goes and it can't be opened any more.
 * ERR_CORRUPT: it makes no sense. */
struct err *broadcasts_tell(struct broadcasts *b, const struct broadcast_info *i) MUST_USE;
/* A runner asks.  opened is called now or later, unless the slot is forgotten before. */
void broadcasts_open(struct broadcasts *b, unsigned slot, uint32_t frame, uint32_t id);
/* The slot's runner is gone. */
void broadcasts_forget(struct broadcasts *b, unsigned slot);

struct broadcasts_stats {
    uint64_t fetched, bytes; /* pieces and bytes that came from elsewhere */
    uint64_t corrupt;        /* pieces that were not what they should be */
};
void broadcasts_stats(const struct broadcasts *b, struct broadcasts_stats *ret);
#endif
