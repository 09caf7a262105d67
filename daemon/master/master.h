/*
 * master -- the wiring of daemon/master: links and messages on one side, grants and journal on the other.
 *
 * Workers, drivers and clients dial it (proto/control.proto); which of these a link is, its Hello says.  State lives
 * below dir: journal.db (journal.h), blobs/ (what submissions need, by SHA-256).
 *
 * Owner: the one who made it.  Threads: the loop's.  Links that were accepted are the master's.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H
#include <stdbool.h>
#include <stdint.h>

#include "common/identity.h"
#include "event/event.h"
#include "net/link.h"

struct loop;
struct master;

struct master_opts {
    const char *dir;  /* made if it isn't there, 0700 */
    const char *bind; /* where the bulk server of the blobs listens */
    uint16_t port;    /* it does so there; 0: any */
    const char *host; /* as others call this host */
    bool fifo;
    const struct identity *identity; /* TLS files; the token, which without TLS everybody must show.  Borrowed */
    const struct event_sink *log;    /* borrowed; NULL: silent */
    uint64_t grace_ns, recover_ns;   /* grants.h; 0: the defaults */
};
struct err *master_new(struct loop *l, const struct master_opts *o, struct master **ret) MUST_USE;
/* Takes the link of somebody who has dialled. */
void master_accept(struct master *m, struct link *l);
uint32_t master_epoch(const struct master *m);
/* Closes all links; who was there will find the next master of this folder. */
void master_free(struct master *m); /* NULL is allowed */
#endif
