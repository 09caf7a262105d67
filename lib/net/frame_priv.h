/* frame_priv -- what the files of the channel share. */
#ifndef NET_FRAME_PRIV_H
#define NET_FRAME_PRIV_H
#include "net/frame.h"
#include "net/loop.h"

struct frame_out { /* a frame that waits for room in the socket */
    struct frame_out *next;
    uint32_t type, id;
    size_t n;
    int nfds;
    int fds[FRAME_FDS]; /* duplicates */
    char p[];
};

struct frame_chan {
    int fd;
    size_t limit;
    char *rx;                 /* FRAME_HEAD + FRAME_INLINE bytes */
    void *map;                /* payload of the frame in hand, when it came as a memfd */
    size_t map_n;
    int got[FRAME_FDS + 1];   /* descriptors of the frame in hand, -1 when taken */
    int ngot;
    /* in a loop */
    struct loop_io *io;
    const struct frame_handler *h;
    void *arg;
    bool *closed;             /* set when the channel is closed inside a handler */
    struct frame_out *out, **out_end;
    size_t queued;
};

/* One attempt; *ret_sent false: the socket is full.  flags: MSG_DONTWAIT or 0. */
struct err *frame__send_once(struct frame_chan *c, uint32_t type, uint32_t id, const void *p, size_t n,
                             const int *fds, int nfds, int flags, bool *ret_sent) MUST_USE;
void frame__queue_fini(struct frame_chan *c);
#endif
