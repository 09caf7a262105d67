/*
 * ring -- two rings of byte frames in shared memory: launches to a runner, answers back.
 *
 *   memory A   written by the executor     header: launch head, done tail      launch ring
 *   memory B   written by the runner       header: launch tail, done head,     done ring
 *                                          sleeping flag, budget cell, recorder page
 *
 * Each side writes its own memory only.  A is sealed against the runner (F_SEAL_FUTURE_WRITE), so a
 * runner maps it read-only and cannot change that.  B belongs to code that nobody trusts: the
 * executor keeps its own indices in private memory, reads each of the runner's once per call,
 * checks it, and copies a frame out before anybody looks at it.  A frame is {u32 bytes, u32 type,
 * payload}, 8-byte aligned, and may wrap around the end.  Indices count bytes and run free (mod
 * 2^32).
 *
 * Waking.  The runner sleeps on a futex in A (the launch head).  All runners of an executor share
 * one bell: a page with the flag `waiting` (written by the executor, read-only for runners) and an
 * eventfd.
 *   sleeper: store flag = 1; full fence; look at the ring again; sleep only if it is empty
 *   writer:  publish the frame;  full fence; if the flag is set, wake
 * With both fences at least one of the two sees the other's store: either the sleeper finds the
 * frame or the writer finds the flag.  A runner that lies in its flag only harms itself.
 *
 * Owner: the one who made or attached it.  Threads: one at a time on each side.
 */
#ifndef NET_RING_H
#define NET_RING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#ifdef TASKD_HOSTILE
enum { RING_BYTES = 4096, RING_FRAME_MAX = 1024 };
#else
enum { RING_BYTES = 65536, RING_FRAME_MAX = 16384 }; /* bigger things go by frame.h or by descriptor */
#endif

struct ring;
struct ring_bell;
struct recorder;

struct ring_frame {
    uint32_t type;
    uint32_t n;
    const char *p; /* a private copy, 64 readable bytes behind; valid until the next ring_recv() */
};

/* ---- executor */
struct err *ring_bell_new(struct ring_bell **ret) MUST_USE;
void ring_bell_free(struct ring_bell *b);
int ring_bell_event(const struct ring_bell *b); /* eventfd: readable when a runner rang; borrowed */
int ring_bell_page(const struct ring_bell *b);  /* memfd of the flag, for the runners; borrowed */
void ring_bell_arm(struct ring_bell *b);        /* about to sleep; look at all rings after this */
void ring_bell_disarm(struct ring_bell *b);     /* awake */
void ring_bell_clear(struct ring_bell *b);      /* empties the eventfd */

/* Makes both memories. */
struct err *ring_pair_new(struct ring **ret) MUST_USE;
int ring_fd_a(const struct ring *r); /* borrowed; to be passed on to the runner */
int ring_fd_b(const struct ring *r);
void ring_close_fds(struct ring *r); /* after they were passed on: the mappings stay */

/* ---- runner: the fds are borrowed and may be closed afterwards, but for bell_event, which is kept
 * (not owned).  bell_page and bell_event may be -1: nobody to wake. */
struct err *ring_attach(int fd_a, int fd_b, int bell_page, int bell_event, struct ring **ret) MUST_USE;
/* Sleeps until a launch is there.  Spins first for a few microseconds as long as that succeeds
 * often. */
void ring_wait(struct ring *r);
/* After a ring_send() that found no room: rings the bell and sleeps until the executor consumed
 * something. */
void ring_wait_room(struct ring *r);

/* ---- both */
void ring_free(struct ring *r); /* NULL is allowed */
/* Copies a frame in; false when there is no room now.  n <= RING_FRAME_MAX.  Other side:
 * ring_kick(). */
bool ring_send(struct ring *r, uint32_t type, const void *p, size_t n) MUST_USE;
/* Wakes the other side if it sleeps; once after any number of ring_send(), and by the executor
 * after ring_recv(), too: the runner may wait for room. */
void ring_kick(struct ring *r);
/* RING_BAD: the other side wrote nonsense; it stays bad. */
enum ring_got { RING_EMPTY, RING_FRAME, RING_BAD };
enum ring_got ring_recv(struct ring *r, struct ring_frame *ret) MUST_USE;
/* Is there something for ring_recv() (be it bad)?  One load. */
bool ring_pending(const struct ring *r);
/* Launches the runner has not consumed (executor), answers the executor has not consumed (runner),
 * as bytes; the executor's figure is the runner's word. */
uint32_t ring_unread(const struct ring *r);
/* In memory B.  The executor reads the recorder by recorder_copy() only, the cell as a hint. */
struct recorder *ring_recorder(struct ring *r);
_Atomic uint64_t *ring_budget(struct ring *r);
#endif
