/* ring_priv -- layout of the two memories.  Every word that is written often has a cache line of
 * its own. */
#ifndef NET_RING_PRIV_H
#define NET_RING_PRIV_H
#include <stdatomic.h>

#include "net/recorder.h"
#include "net/ring.h"

enum { RING_PAGE = 4096 };
#define RING_LINE __attribute__((aligned(64)))

struct ring_a { /* written by the executor */
    uint32_t magic, bytes;
    RING_LINE _Atomic uint32_t launch_head; /* the runner's futex */
    RING_LINE _Atomic uint32_t done_tail;
    __attribute__((aligned(RING_PAGE))) char launch[RING_BYTES];
};
struct ring_b { /* written by the runner */
    RING_LINE _Atomic uint32_t launch_tail;
    RING_LINE _Atomic uint32_t done_head;
    RING_LINE _Atomic uint32_t sleeping;
    RING_LINE _Atomic uint64_t budget;
    __attribute__((aligned(RING_PAGE))) struct recorder recorder;
    __attribute__((aligned(RING_PAGE))) char done[RING_BYTES];
};
_Static_assert(sizeof(struct recorder) <= RING_PAGE, "the recorder is one page");
_Static_assert((RING_BYTES & (RING_BYTES - 1)) == 0, "indices run free: the size is a power of two");
_Static_assert(RING_FRAME_MAX + 8 <= RING_BYTES / 2, "a frame fits into an empty ring at once");

struct ring_page { /* the bell's */
    _Atomic uint32_t waiting;
};

enum { RING_MAGIC = 0x676e7264 };
enum { RING_AWAKE, RING_NO_LAUNCH, RING_NO_ROOM }; /* values of sleeping: what it waits for */

struct ring {
    bool runner, bad;
    int fd_a, fd_b;
    struct ring_a *a;
    struct ring_b *b;
    const struct ring_page *page; /* runner: NULL, nobody to wake */
    int event;
    /* this side's own indices, and the last sane value read of the other's */
    uint32_t head, tail, peer_tail;
    unsigned spin; /* how well spinning went lately: 0..RING_SPIN_MAX */
    unsigned waits;
    char frame[RING_FRAME_MAX + 64]; /* the copy of the frame in hand */
};

/* A memfd of n bytes that can't be resized. */
struct err *ring__memory(const char *name, size_t n, int *ret) MUST_USE;
/* Maps fd, which must be a sealed memfd of exactly n bytes. */
struct err *ring__map(int fd, size_t n, int prot, void **ret) MUST_USE;
#endif
