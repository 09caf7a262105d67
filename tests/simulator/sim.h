/* sim -- a cluster in one thread, for sched.
 *
 * One seed is one story: machines with executors, executors with slots, a link from each to the driver, an
 * application of a few jobs, and faults: crashes of executors and machines, pauses, zombies that return, links
 * that break, lost outputs, failing, hanging and changing tasks, duplicated and reordered messages, jumps of the
 * clock.  Everything random is drawn from the seed, time is a number, so the same seed is the same story: equal
 * hashes of all events and actions.
 *
 *   jobs.c     what the seed draws: sizes, stages, plans, wishes       check.c    what each action must be
 *   world.c    what happens next; the driver                           inside.c   what must be true after each step
 *   cluster.c  executors, runners, links                               places.c   the same of bad and preferred places
 *   faults.c   what goes wrong                                         main.c     seeds, figures, planted bugs
 *
 * A link is a stream that keeps its order, or breaks.  Then each side hears of it in its own time; what was under
 * way is lost or comes late, when the executor's epoch is long over; the executor comes back on a new link.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H
#include <stdbool.h>
#include <stdint.h>

#include "sched/sched.h"

enum { SIM_STAGES = 8, SIM_JOBS = 4, SIM_PARENTS = 2 };
#define SIM_MS 1000000ull
#define SIM_S (1000 * SIM_MS)
#define SIM_LIMIT (10000000 * SIM_S) /* of simulated time: by then every job has ended */

struct rng {
    uint64_t s;
};
uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n); /* 0 .. n-1 */
bool rng_chance(struct rng *r, uint32_t per_million);
uint64_t rng_log(struct rng *r, uint64_t lo, uint64_t hi); /* all orders of magnitude alike */

/* What the seed drew. */
struct story {
    uint32_t executors, slots; /* slots each */
    uint32_t tasks, jobs, stages;
    bool local;       /* one executor, nothing is ever under way: the local driver */
    bool reorder;     /* answers overtake each other */
    bool hangs;       /* some attempts never end; only with a timeout */
    bool unstable;    /* some stages make other rows each time */
    bool chain;       /* a job is submitted when the one before has ended */
    uint64_t delay;   /* of a message, at most */
    uint32_t duplicate, fail, fatal, die, lose; /* per million: messages, attempts */
    uint32_t poison;  /* per million of tasks: fail always */
    uint32_t crashes, pauses, losses, jumps, cancels, breaks, node_crashes, stage_cancels, task_kills;
    uint32_t nodes;   /* 0: not told to sched */
    uint32_t bad;     /* per million: tasks that fail on the bad executor, the bad node */
    uint32_t deaf;    /* per million: REVOKEs that an executor leaves out */
    uint32_t wishes;  /* per million: tasks that prefer places */
    bool no_service;  /* outputs live as long as their executor */
    uint32_t no_start; /* per million: runners of the bad executor that die before they do anything */
    bool moves;       /* executors come back on other nodes */
    uint64_t faults_until;
    struct sched_opts opts;
};

struct task { /* as the world sees it */
    uint32_t launches;
    uint32_t executor, slot, epoch, flush; /* of the latest launch */
    bool out;      /* launched, no answer taken */
    bool accepted;
    bool present;  /* the accepted output is on disk */
    bool doomed;   /* sched was told to end the latest attempt */
    uint32_t made_by, made_on; /* executor and node of the accepted output */
    uint32_t attempt, generation;
    uint32_t merged;  /* accumulator deltas */
    uint32_t charged; /* failures that sched was told of */
    uint8_t killed;   /* code of a KILL of the latest attempt */
    uint64_t rows;    /* digest of the accepted output */
    uint64_t read;    /* digest of all that the accepted attempt read */
};
struct stage {
    uint32_t id, n;
    bool shuffle, unstable;
    uint32_t first;
    uint32_t n_parents, parents[SIM_PARENTS];
    uint64_t duration; /* of a task, about */
    uint64_t bytes;    /* of an output */
    uint64_t rows;     /* sum over accepted outputs */
    uint32_t n_present, n_accepted;
    uint32_t live; /* jobs */
    uint32_t teller; /* job that was the first to have it, + 1 */
    struct task *tasks;
    struct fails *fails; /* of its tasks, since it began; what sched should remember */
};
enum { FAILS = 100, BADS = 40 };
struct place {
    uint32_t executor, node; /* SCHED_ANY: all of the node */
};
struct fails {
    uint32_t n, v_partition[FAILS];
    struct place v[FAILS];
    bool full; /* sched may have forgotten some */
    uint32_t n_bad;
    struct place bad[BADS];
};
struct job {
    struct plan plan;
    struct plan_stage stages[SIM_STAGES];
    struct sched_prefer *wishes;
    uint32_t n_wishes;
    bool submitted, ended, cancelled;
};

struct held { /* an attempt at an executor */
    uint32_t stage, partition, attempt, epoch;
};
struct xslot {
    struct held *queue;
    uint32_t head, n, cap;
    uint32_t life; /* of the runner; what an earlier one would have done is void */
    bool busy;
};
struct executor {
    bool alive;
    uint32_t life, epoch;
    uint32_t node;
    uint32_t disk; /* counts how often all that it wrote was lost */
    uint32_t link; /* number of its latest one */
    bool broken;   /* that one is */
    uint64_t paused_until, last_in, last_out; /* links keep their order */
    struct xslot *slots;
    /* what the driver believes */
    bool seen;
    uint32_t seen_epoch, seen_node;
    uint32_t *flush; /* per slot: times that its queue was void */
};

enum msg_kind {
    MSG_EVENT,   /* to the driver: ev */
    MSG_TIMER,   /* of the driver */
    MSG_LAUNCH,  /* to an executor: slot, held */
    MSG_KILL,    /* to an executor: slot, held, code */
    MSG_REVOKE,  /* to an executor: slot, held */
    MSG_RUN_END, /* in an executor: the head of a slot's queue ends with code */
    MSG_RETURN,  /* an executor learns that its link is down */
    MSG_START,   /* from here on: the world's doing */
    MSG_CRASH,
    MSG_PAUSE,
    MSG_BREAK,
    MSG_NODE,
    MSG_LOSE,
    MSG_STOP, /* somebody wants a task ended */
    MSG_JUMP,
};
struct msg {
    uint64_t at, seq;
    uint64_t read; /* EVENT DONE, RUN_END: what the attempt read */
    uint8_t kind, code;
    bool dies; /* RUN_END: with its runner */
    bool nobody; /* and that is nobody's fault */
    uint32_t executor, slot, life, slot_life, link, disk, node_disk;
    struct held held;
    struct sched_event ev;
};

struct world {
    uint64_t seed;
    struct story story;
    struct rng rng;
    struct sched *sched;
    struct sched_actions out;
    uint64_t now, skew;
    uint64_t hash;
    struct msg *heap;
    uint32_t n_heap, cap_heap;
    uint64_t seq;
    struct executor *executors;
    uint32_t *node_disk; /* by node: counts how often its disk was lost */
    struct fails app;    /* bad places only */
    struct stage stages[SIM_STAGES + SIM_JOBS];
    uint32_t n_stages;
    struct job jobs[SIM_JOBS];
    uint64_t events, faults, launches;
    uint32_t ends[5];    /* of jobs, by enum sched_why */
    uint32_t actions[16]; /* by enum sched_action_kind */
    uint32_t again;      /* accepts of a later generation */
    const struct msg *from; /* the message that is being handled, NULL: none */
    char broken[256]; /* the invariant that doesn't hold, "" if all do */
    bool loud;
};

/* jobs.c */
void story_draw(struct story *st, struct rng *r, uint8_t plant);
void jobs_build(struct world *w);
struct stage *stage_by_id(struct world *w, uint32_t id);
/* world.c */
void world_run(struct world *w, uint64_t seed, uint8_t plant, bool loud);
void world_fini(struct world *w);
void world_step(struct world *w, const struct sched_event *ev);
void world_push(struct world *w, struct msg m);
void world_send(struct world *w, struct msg m, uint64_t delay);
uint64_t world_delay(struct world *w);
/* True so often, while there are faults. */
bool world_faulty(struct world *w, uint32_t per_million);
/* cluster.c */
void cluster_start(struct world *w, uint32_t executor);
void cluster_handle(struct world *w, const struct msg *m);
/* Carries out LAUNCH, KILL, REVOKE. */
void cluster_order(struct world *w, const struct sched_action *a);
/* All that the executor, the node has written is gone. */
void cluster_wipe(struct world *w, uint32_t executor, uint32_t node);
/* faults.c */
void faults_plan(struct world *w);
/* The executor's link breaks. */
void faults_break(struct world *w, uint32_t executor);
void faults_handle(struct world *w, const struct msg *m);
/* check.c */
void check_before(struct world *w, const struct sched_event *ev);
void check_action(struct world *w, const struct sched_event *ev, const struct sched_action *a);
void check_node_down(struct world *w, uint32_t node);
void check_end(struct world *w);
uint64_t check_read(struct world *w, const struct stage *st, bool *ret_all);
struct task *check_task(struct world *w, uint32_t stage, uint32_t partition);
void broken(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* places.c */
void places_failed(struct world *w, struct stage *st, uint32_t partition, const struct task *t);
void places_launch(struct world *w, const struct stage *st, const struct sched_action *a);
void places_excluded(struct world *w, const struct sched_action *a);
void places_readmitted(struct world *w, const struct sched_action *a);
void places_forget(struct stage *st);
/* inside.c: looks at everything in sched. */
void inside_check(struct world *w);
#endif
