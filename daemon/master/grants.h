/*
 * grants -- the master's brain: whose executors and drivers run on which worker.
 *
 * A pure step function like lib/sched: grants_step(event, now) -> actions.  No clock, no files, no randomness, no
 * threads: the same events give the same actions.
 *
 *   APP_UP, APP_WANT --> START_EXECUTOR, GRANTED --> CHILD running ... CHILD ended --> GONE
 *   DRIVER_SUBMIT    --> START_DRIVER            --> CHILD running ... CHILD ended --> DRIVER_STATE, perhaps started again
 *
 * What runs on a worker holds a *lease* of its cores and memory from the START until the worker says that the child
 * has ended (or is lost itself), so that nothing is given out twice.  A lease that is being stopped still holds.
 *
 * A worker or an application whose link went down has grace_ns to come back; then all of it is lost.  After a start of
 * the master (recover_ns), children that workers report are kept until their application has registered again, and
 * drivers of the journal are not started again until their worker has had the time to report them.
 *
 * Owner: the master's loop, one thread.  Times: nanoseconds of a clock that does not go back.
 * Errors: none; events that make no sense any more are counted (grants_stale) and change nothing.
 */
#ifndef MASTER_GRANTS_H
#define MASTER_GRANTS_H
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

/* 0 means the default that is named. */
struct grants_opts {
    bool fifo;            /* the first application takes all it can; else all get the same share */
    uint32_t max_retries; /* executors in a row that may fail to start before the application fails; 10 */
    uint64_t grace_ns;    /* for links that went down; 1 s */
    uint64_t recover_ns;  /* after the first step; 5 s; 1 means none */
    uint64_t patience_ns; /* an application below its share waits so long before an executor of one above its share
                           * is stopped for it; 3 s */
};

enum grants_phase { GRANTS_STARTING, GRANTS_RUNNING, GRANTS_ENDED, GRANTS_FAILED }; /* as ChildPhase */
enum grants_state { GRANTS_ACTIVE, GRANTS_FINISHED, GRANTS_FAILED_STATE, GRANTS_KILLED, GRANTS_LOST, GRANTS_BACKOFF };

struct grants_child { /* executor 0: a driver */
    const char *id;   /* of the application, or the submission */
    uint32_t executor;
    uint8_t phase;
    uint32_t cores;
    uint64_t memory;
    uint64_t pid;     /* 0: not known */
    uint32_t status;  /* ENDED */
    const char *text; /* ENDED, FAILED: why; NULL is "" */
};

/* ---- what happened */
enum grants_event_kind {
    GRANTS_WORKER_UP = 1, /* id, host, process, cores, memory, children: it registered; these of its children live, or
                           * have ended meanwhile; apps: whose files it keeps.  process: another one than before means
                           * that the worker started anew */
    GRANTS_WORKER_DOWN,   /* id: its link is down */
    GRANTS_CHILD,         /* worker, child */
    GRANTS_APP_KNOWN,     /* id, name, submission, executor: the journal knows it, and that numbers up to this were used */
    GRANTS_APP_UP,        /* id, name, submission, ask, children, executor: its driver registered (again) and has these;
                           * numbers up to executor were used before */
    GRANTS_APP_WANT,      /* id, cores */
    GRANTS_APP_RELEASE,   /* id, executor, text */
    GRANTS_APP_DOWN,      /* id: its driver's link is down */
    GRANTS_APP_END,       /* id, state, status, text: at its driver's or somebody's request */
    GRANTS_DRIVER_SUBMIT, /* id, name, cores, memory, supervise; tries, worker: of the journal, "" if it is not running */
    GRANTS_DRIVER_KILL,   /* id, text */
    GRANTS_ABSENT,        /* this process did not run for a while (stopped, starved): it is no fault of others that they
                           * hung up, and they get recover_ns to come back */
    GRANTS_TIMER,         /* the time of a WAKE_AT has come; others do no harm */
};
struct grants_ask {
    uint32_t cores_max;          /* 0: as many as there are */
    uint32_t cores_per_executor; /* 0: all that the application gets on a worker */
    uint64_t memory;             /* of an executor */
    uint32_t executors_max;      /* 0: no limit but cores */
};
struct grants_event {
    uint8_t kind, state;
    bool supervise;
    const char *id, *name, *host, *worker, *submission, *text; /* NULL is "" */
    uint64_t process;
    uint32_t executor, cores, status, tries;
    uint64_t memory;
    struct grants_ask ask;
    struct grants_child child;
    const struct grants_child *children;
    uint32_t n_children;
    const char *const *apps;
    uint32_t n_apps;
};

/* ---- what to do, in this order */
enum grants_action_kind {
    GRANTS_START_EXECUTOR = 1, /* worker, id, executor, cores, memory */
    GRANTS_START_DRIVER,       /* worker, id, tries: 0, 1, ...; after the DRIVER_STATE that says so */
    GRANTS_STOP,               /* worker, id, executor, text */
    GRANTS_FORGET,             /* worker, id: the application is over */
    GRANTS_WELCOME,            /* id, cores: what it can get of the cluster as it is */
    GRANTS_GRANTED,            /* id, executor, worker, host, cores, memory; perhaps again */
    GRANTS_GONE,               /* id, executor, worker, text, lost: with the worker's files.  executor 0: the worker alone,
                                * whose executors had ended before; worker "": nobody knows which it was */
    GRANTS_WAITING,            /* id, text; "": no more */
    GRANTS_APP_STATE,          /* id, state, status, text: it is over */
    GRANTS_DRIVER_STATE,       /* id, state, worker, tries, status, text: write it down.  ACTIVE with a worker: runs there;
                                * without: waits; BACKOFF: will be started again */
    GRANTS_WORKER_LOST,        /* worker, host */
    GRANTS_WAKE_AT,            /* at: send TIMER then */
};
struct grants_action {
    uint8_t kind, state;
    bool lost;
    const char *worker, *host, *id, *text; /* live in the list's arena; never NULL */
    uint32_t executor, cores, tries, status;
    uint64_t memory, at;
};
/* Steps append; the caller empties it when it has acted.  {0} is empty. */
struct grants_actions {
    struct grants_action *v;
    uint32_t n, cap;
    struct arena mem;
};
void grants_actions_clear(struct grants_actions *out);
void grants_actions_fini(struct grants_actions *out);

struct grants;
struct grants *grants_new(const struct grants_opts *o, uint64_t now);
void grants_free(struct grants *g); /* NULL is allowed */
void grants_step(struct grants *g, const struct grants_event *ev, uint64_t now, struct grants_actions *out);

/* ---- for people */
struct grants_worker_info {
    const char *id, *host;
    uint32_t cores, used;
    uint64_t memory, memory_used;
    bool up; /* false: silent, will be lost */
};
struct grants_app_info {
    const char *waiting; /* "" if not */
    uint32_t cores, executors;
    bool up;
};
/* The i-th worker; false behind the last. */
bool grants_worker(const struct grants *g, uint32_t i, struct grants_worker_info *ret);
/* False if it is over, or unknown. */
bool grants_app(const struct grants *g, const char *id, struct grants_app_info *ret);
/* Why a submitted driver does not run yet, "" if it does. */
const char *grants_driver_waiting(const struct grants *g, const char *id);
bool grants_recovering(const struct grants *g);
uint64_t grants_stale(const struct grants *g);
/* "2 cores/4 GiB" */
void grants_say_size(struct buf *out, uint32_t cores, uint64_t memory);
#endif
