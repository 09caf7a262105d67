/*
 * loop -- one thread that owns a process's state and waits for everything at once.
 *
 * Descriptors (epoll), timers (a heap; the nearest one is epoll's timeout), signals (signalfd),
 * children (pidfd), work posted by other threads (eventfd), and memory that is polled before
 * sleeping (loop_poll: shared-memory rings).  Handlers run one after the other in the loop's thread
 * and may add and remove anything, themselves included: what was removed is never called again.
 *
 * Owner: the one who made it.  Threads: the loop's own, except loop_post(). Time: nanoseconds of
 * clock_mono_ns().  Errors: only setting things up fails; handlers return nothing.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct loop;
struct loop_io;
struct loop_child;

struct err *loop_new(struct loop **ret) MUST_USE;
/* Frees what is still registered; descriptors of loop_io are not closed, children are not killed. */
void loop_free(struct loop *l);
/* Runs handlers until loop_stop().  May be called again afterwards. */
struct err *loop_run(struct loop *l) MUST_USE;
void loop_stop(struct loop *l);
/* The time at which this round began: one clock read a round. */
uint64_t loop_now(const struct loop *l);

/* events: LOOP_IN, LOOP_OUT or both (level triggered).  The handler gets what is ready; LOOP_HUP
 * comes unasked for and means that the other end is gone (there may be bytes left to read). */
enum { LOOP_IN = 1, LOOP_OUT = 2, LOOP_HUP = 4 };
typedef void loop_io_fn(void *arg, unsigned events);
struct err *loop_io_new(struct loop *l, int fd, unsigned events, loop_io_fn *fn, void *arg,
                        struct loop_io **ret) MUST_USE;
void loop_io_events(struct loop_io *io, unsigned events);
/* Call it before the descriptor is closed.  NULL is allowed. */
void loop_io_free(struct loop_io *io);

/* A timer lives in its owner's struct, zeroed at first; fires once.  Starting a running one moves
 * it. */
struct loop_timer {
    uint64_t at;
    void (*fn)(void *arg);
    void *arg;
    unsigned slot; /* place in the heap + 1; 0: not running */
};
void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t at_ns, void (*fn)(void *), void *arg);
void loop_timer_stop(struct loop *l, struct loop_timer *t); /* not running: fine */

/* From now on signo is blocked in this thread and comes as a call.  Before other threads are made. */
struct err *loop_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg) MUST_USE;

/* Waits for a child of this process and reaps it; fn gets the status as waitpid() gives it.  The
 * object frees itself after the call.  loop_child_kill() is safe as long as fn was not called. */
struct err *loop_child_new(struct loop *l, pid_t pid, void (*fn)(void *arg, int status), void *arg,
                           struct loop_child **ret) MUST_USE;
void loop_child_kill(struct loop_child *c, int signo);
/* Forgets the child without reaping it.  NULL is allowed. */
void loop_child_free(struct loop_child *c);

/* fn(arg) in the loop's thread, in the order of posting.  [any thread] */
void loop_post(struct loop *l, void (*fn)(void *), void *arg);

/* Memory that others write: work() does what is there and says whether it did anything; it is
 * called after each wake-up and again before each sleep.  arm() announces to the writers that the
 * loop is about to sleep and says whether there is work after all (the store-load protocol of
 * ring.h); disarm() takes the announcement back after the sleep. */
struct loop_poll {
    bool (*work)(void *arg);
    bool (*arm)(void *arg);
    void (*disarm)(void *arg);
    void *arg;
    struct loop_poll *next; /* the loop's */
};
void loop_poll_add(struct loop *l, struct loop_poll *p);
void loop_poll_remove(struct loop *l, struct loop_poll *p);
#endif
