/*
 * reach -- can this host open a connection to that address?  Asked before an executor is started, as executors that
 * can't call their driver back are the commonest trouble of a first cluster, and the one with the worst messages.
 *
 * Owner: the one who started it, until done was called.  Threads: the loop's.
 */
#ifndef WORKER_REACH_H
#define WORKER_REACH_H
#include <stdint.h>

#include "base/err.h"

struct loop;
struct reach;

/* address: "host:port", "[::1]:port", "unix:/path".  done: NULL, or ERR_LOST "can't reach A: connection refused", the
 * callee's; never from inside this call. */
struct reach *reach_start(struct loop *l, const char *address, uint64_t timeout_ns,
                          void (*done)(void *arg, struct err *e), void *arg);
/* done will not be called.  NULL is allowed. */
void reach_drop(struct reach *r);
#endif
