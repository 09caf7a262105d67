/*
 * uplink -- a connection to a master: one of its addresses, greeted; dialled again when it breaks.
 *
 *   uplink_new --> up [--> down --> up]... --> failed, or uplink_free
 *
 * At first each address is tried once; a master that was there before is looked for with back-off (100 ms .. 2 s) for
 * patience_ns.  What was sent before a down may or may not have arrived: up's callee says again what it wants.
 *
 * Owner: the one who made it.  Threads: the loop's.  The callee may not free it inside a call.
 */
#ifndef UPLINK_UPLINK_H
#define UPLINK_UPLINK_H
#include "net/link.h"
#include "net/loop.h"
#include "proto/proto.h"

struct uplink;
struct uplink_opts {
    const char *role, *host;            /* what Hello says: "client", "driver"; how others call this host, or "" */
    const char *url;                    /* for sentences */
    const char *const *addresses;
    size_t n_addresses;
    const void *token;                  /* or NULL */
    size_t token_n;
    uint64_t patience_ns;               /* 0: 10 minutes; UINT64_MAX: for ever */
    uint64_t greet_ns;                  /* a master that says no Hello for so long is none; 0: 10 s */
    /* rpc_dial(), or a test's. */
    struct err *(*dial)(void *arg, const char *address, struct link **ret);
    void *dial_arg;
    void (*up)(void *arg);
    void (*item)(void *arg, const Taskd__Item *item);
    void (*down)(void *arg, const struct err *why);
    /* Nothing more comes: ERR_LOST unreachable, ERR_DENIED or what the master refused with.  Takes why. */
    void (*failed)(void *arg, struct err *why);
    void *arg;
};
/* Strings are the caller's and must live as long. */
struct uplink *uplink_new(struct loop *l, const struct uplink_opts *o);
/* Between up and down; at other times it does nothing. */
void uplink_send(struct uplink *c, const Taskd__Item *item);
void uplink_free(struct uplink *c); /* NULL is allowed; what was sent still leaves */
#endif
