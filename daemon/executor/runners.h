/*
 * runners -- runner processes: a zygote and a number of slots.  An executor has them for tasks, a driver one for the
 * job's main; in local mode both have theirs of one zygote.
 *
 * A slot is empty, starting, alive or dying.  runners_spawn() makes socket and rings at once and
 * asks the zygote for a process, so launches can be queued before the process exists.  Everything
 * that arrives is a call in the loop's thread.  What was sent by a runner before it died (frames,
 * answers in its ring) is delivered before its on_death; after on_death the slot is empty and may
 * be spawned again.
 *
 * Owner: the one who made it.  Threads: the loop's.  The process must not wait for children it does
 * not know (no waitpid(-1)).
 */
#ifndef EXECUTOR_RUNNERS_H
#define EXECUTOR_RUNNERS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "net/frame.h"
#include "net/recorder.h"
#include "net/ring.h"

struct loop;
struct runners;
struct zygote;

/* Starts the zygote: as early as possible, before threads and sockets.  path is taskd-runner. */
struct err *zygote_start(const char *path, struct zygote **ret) MUST_USE;
/* A path to be removed with all below it should this process die; absolute.  mark: then only by file_remove_marked();
 * NULL: whatever it is by then. */
struct err *zygote_register(struct zygote *z, const char *path, const char *mark) MUST_USE;
struct err *zygote_unregister(struct zygote *z, const char *path) MUST_USE;
pid_t zygote_pid(const struct zygote *z); /* 0: it has died */
/* Ends it and waits: what is still registered is removed.  NULL is allowed. */
void zygote_stop(struct zygote *z);

enum runner_why {
    RUNNER_DIED,     /* by itself: see status and recorder */
    RUNNER_TIMEOUT,  /* killed by runners_kill() with the same reason */
    RUNNER_CANCELLED,
    RUNNER_CLOSED,   /* closed its socket and lived on: killed */
    RUNNER_GARBLED,  /* wrote nonsense over its ring or socket: killed */
    RUNNER_NO_START, /* the zygote could not make it; status is an errno */
};
struct runner_death {
    enum runner_why why;
    int status; /* as of waitpid() */
    pid_t pid;
    struct recorder rec; /* a bounded copy */
};
struct runners_ops {
    void (*on_frame)(void *arg, unsigned slot, struct frame *f);
    void (*on_answer)(void *arg, unsigned slot, const struct ring_frame *f); /* from the done ring */
    void (*on_death)(void *arg, unsigned slot, const struct runner_death *d);
    void (*on_round)(void *arg); /* may be NULL: once in each round of the loop, after all handlers */
    void (*on_lost)(void *arg, struct err *e); /* the zygote is gone: nothing can be spawned; takes e */
};
struct runners_opts {
    unsigned slots;
    bool main; /* they run a job's main: shown as taskd-runner/m */
    size_t frame_limit; /* payload of one frame from a runner */
};
/* z is borrowed and must live longer; ops, too. */
struct err *runners_new(struct loop *l, struct zygote *z, const struct runners_opts *o,
                        const struct runners_ops *ops, void *arg, struct runners **ret) MUST_USE;
/* Kills what lives, reaps it (without on_death) and frees.  NULL is allowed. */
void runners_free(struct runners *rs);

/* The slot must be empty.  data_limit: RLIMIT_DATA of the process in bytes, 0 for none. */
struct err *runners_spawn(struct runners *rs, unsigned slot, uint64_t data_limit) MUST_USE;
/* Not empty and not told to die: can be sent to. */
bool runners_alive(const struct runners *rs, unsigned slot);
bool runners_empty(const struct runners *rs, unsigned slot);
pid_t runners_pid(const struct runners *rs, unsigned slot); /* 0 as long as it is not known */
/* ring_send(); false: no room now, or the slot is not alive.  The runner is woken at the end of the
 * round of the loop, or at once by runners_kick(). */
bool runners_launch(struct runners *rs, unsigned slot, uint32_t type, const void *p, size_t n) MUST_USE;
void runners_kick(struct runners *rs, unsigned slot);
/* frame_post() to the runner's socket. */
struct err *runners_post(struct runners *rs, unsigned slot, uint32_t type, uint32_t id, const void *p,
                         size_t n, const int *fds, int nfds) MUST_USE;
/* Bounded copy of what the runner says of itself now; zeroes when the slot is empty. */
void runners_look(const struct runners *rs, unsigned slot, struct recorder *ret);
/* The runner's budget cell (its word, a hint); 0 when the slot is empty. */
uint64_t runners_budget(const struct runners *rs, unsigned slot);
/* Asks the runner where it is and kills it 200 ms later at the latest; on_death gets why.  For
 * RUNNER_CANCELLED it is killed at once.  The first reason stays. */
void runners_kill(struct runners *rs, unsigned slot, enum runner_why why);
#endif
