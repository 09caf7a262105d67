/*
 * frame -- messages with descriptors between two processes of one host, over a SOCK_SEQPACKET pair.
 *
 *   packet:  type u32 | id u32 | payload bytes u32 | flags u16 | descriptors u16 | payload
 *
 * One packet is one frame.  A payload above FRAME_INLINE bytes travels in a sealed memfd that is
 * the packet's last descriptor; neither side's caller notices.  Up to FRAME_FDS descriptors go
 * along.  What the payload means is the callers' business.
 *
 * The peer is not trusted: sizes are checked against the limit of the channel before anything is
 * mapped, a memfd must be sealed against writing and resizing and have exactly the size that was
 * announced; descriptors arrive CLOEXEC and are closed when nobody took them.
 *
 * Owner: the one who opened it; owns the socket.  Threads: one at a time.  Errors: ERR_LOST when
 * the peer is gone, ERR_CORRUPT for a malformed frame (the channel is then of no more use),
 * ERR_LIMIT.
 */
#ifndef NET_FRAME_H
#define NET_FRAME_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#ifdef TASKD_HOSTILE
enum { FRAME_INLINE = 64 };
#else
enum { FRAME_INLINE = 65536 };
#endif
enum { FRAME_FDS = 64, FRAME_HEAD = 16 };

struct loop;
struct frame_chan;

struct frame {
    uint32_t type;
    uint32_t id;   /* the sender's: pairs a reply with its request */
    const char *p; /* valid until the channel receives again */
    size_t n;
    int nfds;
    int *fds; /* the channel's; take them with frame_take_fd() */
};

/* A connected pair, both ends CLOEXEC and blocking. */
struct err *frame_pair(int ret_fds[2]) MUST_USE;
/* fd is taken, also on failure.  limit bounds the payload of one received frame. */
struct err *frame_open(int fd, size_t limit, struct frame_chan **ret) MUST_USE;
void frame_close(struct frame_chan *c); /* NULL is allowed */
int frame_fd(const struct frame_chan *c);

/* Sends and waits while the socket is full.  Descriptors stay the caller's. */
struct err *frame_send(struct frame_chan *c, uint32_t type, uint32_t id, const void *p, size_t n,
                       const int *fds, int nfds) MUST_USE;
/* Waits for a frame. */
struct err *frame_recv(struct frame_chan *c, struct frame *ret) MUST_USE;
/* As frame_recv(), but *ret_got is false when there is none yet. */
struct err *frame_recv_now(struct frame_chan *c, struct frame *ret, bool *ret_got) MUST_USE;
/* The i-th descriptor is the caller's from now on; -1 when there is none or it was taken. */
int frame_take_fd(struct frame *f, int i);

/* In a loop: on_frame for each frame, on_end once with ERR_LOST or ERR_CORRUPT (it takes the
 * error).  The channel may be closed inside both.  To be called before frame_post(). */
struct frame_handler {
    void (*on_frame)(void *arg, struct frame *f);
    void (*on_end)(void *arg, struct err *e);
};
struct err *frame_attach(struct frame_chan *c, struct loop *l, const struct frame_handler *h,
                         void *arg) MUST_USE;
/* Out of the loop; waits until what is queued was sent.  The channel works without a loop again. */
void frame_detach(struct frame_chan *c);
/* Sends now or, when the socket is full, later, in order; never waits.  Descriptors stay the
 * caller's (they are duplicated when they must wait).  A lost peer is reported by on_end only. */
struct err *frame_post(struct frame_chan *c, uint32_t type, uint32_t id, const void *p, size_t n,
                       const int *fds, int nfds) MUST_USE;
/* Bytes that wait for room in the socket. */
size_t frame_queued(const struct frame_chan *c);
#endif
