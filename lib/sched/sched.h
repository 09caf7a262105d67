/*
 * sched -- the driver's brain: which task runs where, and whose result counts.
 *
 * A pure step function: sched_step(event, now) -> actions.  No clock, no files, no randomness, no threads:
 * the same events give the same actions, so a failure seen once can be replayed (tests/sim).
 *
 *   submit --> [stages whose parents are complete] --> LAUNCH --> runner --> DONE --> ACCEPT --> STAGE_END
 *                              ^                                  |                              JOB_END
 *                              +------- failed, lost, timed out --+
 *
 * The gate (DESIGN: everything an attempt does is in its DONE): the first success of a (stage, partition,
 * generation) is accepted, everything else is discarded.  A lost output opens a new generation.
 *
 * Names: executor ids and job ids are the caller's (small numbers, an executor may use its id again);
 * stage ids come with the plan.  Attempts of a task are numbered from 0 and never used twice, whichever
 * generation they belong to.  Each EXECUTOR_UP gets a new epoch, which its launches carry and its answers
 * repeat; what comes with another epoch is refused.
 *
 * Owner: the driver's loop, one thread.  Times are nanoseconds of a clock that does not go back.
 * Errors: none; events that make no sense any more are counted (sched_counters.stale).
 */
#ifndef SCHED_SCHED_H
#define SCHED_SCHED_H
#include <stdbool.h>
#include <stdint.h>

#include "plan/plan.h"

/* 0 means the default that is named. */
struct sched_opts {
    uint32_t max_failures;    /* attempts of a task that may fail; 0: 4, at most 65535 */
    uint32_t max_lost;        /* times that a task or its output may get lost; 0: 64, at most 200 */
    uint64_t task_timeout_ns; /* an attempt that runs longer is killed; none */
    uint64_t prefetch_ns;     /* work that is queued at a slot; 10 ms */
    uint32_t prefetch_max;    /* attempts at a slot, the running one counted; 256 */
    uint64_t revoke_ns;       /* what waits behind an attempt that runs longer is taken back when another slot
                               * is idle; 5 * prefetch_ns */
    uint64_t locality_ns;     /* a stage leaves a slot idle that long in all, per level, waiting for a better
                               * one; 100 ms; SCHED_NEVER: not at all */
    uint32_t near_percent;    /* of its input: a node that holds so much is preferred by a reduce task; 20 */
    uint32_t max_rounds;      /* times in a row that a stage's outputs may turn out to be lost while nobody
                               * that reads them gets any further; 4 */
    /* Failed attempts (not LOST, not CANCELLED) after which a place is avoided, Spark's defaults; if
     * much more fails there than elsewhere, and never for more than half of the executors.  An avoided place is
     * used all the same when no other is up. */
    bool avoid_off;
    uint8_t avoid_task_executor, avoid_task_node;   /* one task: 1 failure on the executor, 2 on the node */
    uint8_t avoid_stage_executor, avoid_stage_node; /* one stage: 2 tasks on the executor, 2 avoided executors */
    uint8_t avoid_app_executor, avoid_app_node;     /* all stages, when they have ended well: 2, 2 */
    uint64_t avoid_ns;        /* the last kind ends after that time; 1 h */
    uint8_t plant;            /* a planted bug; heeded only by the simulator's own build of this room */
};
/* In times: not at all.  In places: none in particular. */
#define SCHED_NEVER UINT64_MAX
#define SCHED_ANY UINT32_MAX

/* ---- what happened */
enum sched_event_kind {
    SCHED_JOB_SUBMIT = 1, /* job, plan, prefer: read during the step only */
    SCHED_JOB_CANCEL,     /* job */
    SCHED_EXECUTOR_UP,    /* executor, slots, node; one that is up already has restarted */
    SCHED_EXECUTOR_DOWN,  /* executor, epoch (0: whichever it is): dead or declared so; all it ran is lost.
                           * outputs: and so are all accepted outputs that it made (nobody else serves them) */
    SCHED_SLOT_DOWN,      /* executor, epoch, slot, code, blame: its runner died with all that was queued
                           * there.  The slot is usable again at once: the caller has, or will have, a new
                           * runner for it */
    SCHED_DONE,           /* stage, partition, attempt, epoch, code; on success bytes, rows, digest */
    SCHED_OUTPUT_LOST,    /* stage, partition, generation: the accepted output can't be read (any more).
                           * Tell before the DONE (code LOST) of the attempt that found out.  Of a result
                           * stage, too, while its job runs */
    SCHED_TIMER,          /* the time of a WAKE_AT has come; early or superfluous ones do no harm */
    SCHED_NODE_DOWN,      /* node (not 0): a machine with its disk.  EXECUTOR_DOWN with outputs for all that are
                           * there or have ever been (close the links of those that live);
                           * one event, whatever was lost.  What is saved
                           * (PLAN_SINK_SAVE_*) or was told in the DONE (COUNT) is not lost */
    SCHED_STAGE_CANCEL,   /* stage: cancels all jobs that have it; KILLs leave in the same step */
    SCHED_TASK_KILL,      /* stage, partition, attempt: ends that attempt, running or queued; the task runs again,
                           * nobody is charged */
};
/* A DONE with code CANCELLED answers a REVOKE or a KILL; the attempt charges nobody then. */

/* Where a task would rather run: it holds `bytes` of the input (0: not known).  A task may have several. */
struct sched_prefer {
    uint32_t stage, partition;
    uint32_t executor; /* SCHED_ANY: whichever, on the node */
    uint32_t node;
    uint64_t bytes;
};
/* Whom a SLOT_DOWN is charged to: */
enum sched_blame {
    SCHED_BLAME_HEAD, /* the oldest attempt of the slot that has not answered */
    SCHED_BLAME_TASK, /* the one in stage, partition, attempt; nobody if that has answered */
    SCHED_BLAME_NONE, /* but a slot that goes down for the third time without an answer in between, and more: the
                       * oldest counts as lost, and that against the place, too */
};
struct sched_event {
    uint8_t kind;
    uint8_t code;  /* enum err_code; ERR_NONE is success */
    uint8_t blame; /* enum sched_blame */
    uint32_t job;
    const struct plan *plan;
    uint32_t executor, slot, slots;
    uint32_t epoch;
    uint32_t stage, partition, attempt, generation;
    uint64_t bytes, rows;
    uint64_t digest; /* order-independent, of the rows of a map output */
    uint64_t took_ns; /* DONE: how long it ran; 0: the time since its launch or the answer before it stands for that,
                       * in which there is the way to the executor, too */
    uint32_t node;   /* a small number from 1 on: executors there share a machine and its files.  0: not known,
                      * the executor stands for itself */
    bool outputs;
    uint32_t n_prefer;
    const struct sched_prefer *prefer; /* for stages of the plan that are new; others are ignored */
};

/* ---- what to do, in this order */
enum sched_action_kind {
    SCHED_LAUNCH = 1,       /* executor, slot, epoch, stage, partition, attempt, generation, flags */
    SCHED_KILL,             /* executor, slot, epoch, stage, partition, attempt, code TIMEOUT or CANCELLED:
                             * if the slot's runner holds that attempt, running or queued, kill it and send
                             * SLOT_DOWN (blame HEAD or that attempt, any code); if it has answered
                             * meanwhile, its DONE will do.  An attempt that has not begun need not cost a
                             * runner: a DONE with code CANCELLED answers as well */
    SCHED_ACCEPT,           /* executor, stage, partition, attempt, generation, flags: its output is the output
                             * (rename it); FIRST_EVER: its accumulator deltas count */
    SCHED_DISCARD,          /* stage, partition, attempt, epoch: a success that came too late; delete its output.
                             * Not said of what comes after the JOB_END of a result stage: when a job ends,
                             * the caller removes whatever attempts have left */
    SCHED_STAGE_END,        /* stage: complete (again) */
    SCHED_NONDETERMINISTIC, /* stage, partition, attempt: ran again and made other rows; nobody had used the first */
    SCHED_JOB_END,          /* job, why, code; stage, partition, attempt: where it failed */
    SCHED_WAKE_AT,          /* at: send TIMER then; the latest WAKE_AT replaces those before */
    SCHED_OUTPUT_GONE,      /* stage, partition, attempt, executor, node: the accepted output counts no more, as it was
                             * lost or is given up with others of its place; generation: the next one's.  Those
                             * who read it just now may go on */
    SCHED_REVOKE,           /* as KILL, code CANCELLED: if the attempt has not begun, drop it and send DONE with code
                             * CANCELLED: an idle slot shall have it.  If it has begun, or it can't be told, do
                             * nothing: its DONE will come.  Never kills a runner */
    SCHED_EXCLUDED,         /* for the log.  stage (SCHED_ANY: the application), executor or, if that is SCHED_ANY,
                             * node: avoided from now on, until `at` (0: as long as the stage runs) */
    SCHED_READMITTED,       /* the same fields: its time is over, or there is nobody else */
};
enum sched_flag {
    SCHED_ONE_RECORD = 1, /* LAUNCH: the last chance of a failing task, batches of one record */
    SCHED_FIRST_EVER = 2, /* ACCEPT: no earlier generation of this task was accepted */
};
enum sched_why {
    SCHED_OK,
    SCHED_CANCELLED,
    SCHED_TASK_FAILED,     /* max_failures times, or once with a code that no attempt will change */
    SCHED_TASK_LOST,       /* max_lost times, or with its stage max_rounds times */
    SCHED_ROWS_CHANGED,    /* a map task ran again and made other rows than those that were used already */
};
struct sched_action {
    uint8_t kind, flags, code, why;
    uint32_t job;
    uint32_t executor, slot, epoch;
    uint32_t stage, partition, attempt, generation;
    uint32_t node; /* LAUNCH, ACCEPT: of the executor */
    uint64_t at;
};
/* Steps append; the caller empties it (n = 0) when it has acted.  {0} is empty. */
struct sched_actions {
    struct sched_action *v;
    uint32_t n, cap;
};
void sched_actions_fini(struct sched_actions *out);

struct sched;
struct sched *sched_new(const struct sched_opts *opts);
/* Other rules for what comes.  Before the first job. */
void sched_configure(struct sched *s, const struct sched_opts *opts);
void sched_free(struct sched *s);
/* Feed all events that are at hand, then act on the actions: that is what makes batches. */
void sched_step(struct sched *s, const struct sched_event *ev, uint64_t now, struct sched_actions *out);

/* ---- for progress lines and summaries */
struct sched_counters {
    uint64_t launched, accepted, discarded, failed, lost, timeouts;
    uint64_t revoked;  /* asked for */
    uint64_t afar;     /* launches that had to leave the preferred places */
    uint64_t excluded; /* places, so far */
    uint64_t stale; /* events refused: wrong epoch, attempt or generation, or unknown */
    uint32_t jobs, executors, slots; /* now */
};
struct sched_stage_info {
    uint32_t tasks; /* to run: the result partitions that the job asked for */
    uint32_t done, running, failed;
    uint64_t bytes, rows; /* of accepted outputs, recomputed ones counted again */
    bool active;
};
void sched_counters(const struct sched *s, struct sched_counters *ret);
/* False if there is no such stage (any more). */
bool sched_stage_info(const struct sched *s, uint32_t stage, struct sched_stage_info *ret);
/* The epoch of an executor, 0 if it isn't up. */
uint32_t sched_epoch(const struct sched *s, uint32_t executor);
#endif
