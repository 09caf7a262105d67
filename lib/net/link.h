/*
 * link -- two parties that talk in envelopes over one ordered two-way stream: driver and executor, worker and
 * master, anybody and the master.  Who implements it: this room's loopback (both ends in one loop), lib/rpc (gRPC).
 *
 * An envelope is bytes whose concatenation with another envelope is again one (a protobuf message that has only
 * repeated fields; lib/proto).  So batching is joining: what is sent while an earlier write is under way is joined
 * and leaves as one message of at most LINK_BATCH bytes, or of one envelope that is larger.  Order is kept; nothing
 * is sent twice; what was sent before the stream broke may or may not have arrived.
 *
 * Owner: the one who got it from link_pair(), rpc_dial() or an accept call; link_close() in all cases, also after
 * on_down.  Threads: the loop's.
 */
#ifndef NET_LINK_H
#define NET_LINK_H
#include <stddef.h>

#include "base/err.h"

struct link;
struct loop;

enum { LINK_BATCH = 256 << 10 };

struct link_handler {
    /* One or more joined envelopes; the bytes are the callee's until it returns.  It may close the link. */
    void (*on_envelope)(void *arg, const void *p, size_t n);
    /* The stream ended: ERR_LOST (peer gone, silent for too long, or closed it), ERR_DENIED, ERR_LIMIT.  Takes why.
     * Once, never from inside a call of this header; nothing follows. */
    void (*on_down)(void *arg, struct err *why);
};

/* To be called before the loop runs again, as nothing is delivered to a link without a handler.  h must live as long. */
void link_handle(struct link *l, const struct link_handler *h, void *arg);
/* Copies.  After the stream ended: does nothing. */
void link_send(struct link *l, const void *p, size_t n);
/* Bytes that were sent and have not left yet: for those who can wait before they produce more. */
size_t link_queued(const struct link *l);
/* Who it is, for sentences: "loopback", "ipv4:10.0.0.2:41234". */
const char *link_peer(const struct link *l);
/* What was sent before still leaves, if the peer takes it; the peer's on_down comes after it.  NULL is allowed. */
void link_close(struct link *l);

/* Both ends in one loop; delivered in the loop's next round. */
struct err *link_pair(struct loop *loop, struct link **ret_a, struct link **ret_b) MUST_USE;

/* ---- for implementations: the first member of theirs */
struct link_ops {
    void (*send)(struct link *l, const void *p, size_t n);
    size_t (*queued)(const struct link *l);
    const char *(*peer)(const struct link *l);
    void (*close)(struct link *l);
};
struct link {
    const struct link_ops *ops;
    const struct link_handler *handler;
    void *arg;
};
#endif
