/* sim -- a cluster in one thread, for sched.
 *
 * One seed is one story: executors with slots, a network with delays, an application of a few jobs, and
 * faults (crashes, pauses, zombies that return, lost outputs, failing, hanging and changing tasks, duplicated
 * and reordered messages, jumps of the clock).  Everything random is drawn from the seed, time is a number,
 * so the same seed is the same story: equal hashes of all events and actions.
 *
 *   jobs.c   what the seed draws: sizes, stages, plans          check.c   what must be true after each step
 *   world.c  executors, network, faults                         main.c    seeds, figures, planted bugs
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
    uint32_t crashes, pauses, losses, jumps, cancels;
    uint64_t faults_until;
    struct sched_opts opts;
};

struct task { /* as the world sees it */
    uint32_t launches;
    uint32_t executor, slot, epoch, flush; /* of the latest launch */
    bool out;      /* launched, no answer taken */
    bool accepted;
    bool present;  /* the accepted output is on disk */
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
    uint64_t rows;     /* sum over accepted outputs */
    uint32_t n_present, n_accepted;
    uint32_t live; /* jobs */
    struct task *tasks;
};
struct job {
    struct plan plan;
    struct plan_stage stages[SIM_STAGES];
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
    uint64_t paused_until, last_in, last_out; /* streams keep their order */
    struct xslot *slots;
    /* what the driver believes */
    bool seen;
    uint32_t seen_epoch;
    uint32_t *flush; /* per slot: times that its queue was void */
};

enum msg_kind {
    MSG_EVENT,   /* to the driver: ev */
    MSG_TIMER,   /* of the driver */
    MSG_LAUNCH,  /* to an executor: slot, held */
    MSG_KILL,    /* to an executor: slot, held, code */
    MSG_REVOKE,  /* to an executor: slot, held */
    MSG_RUN_END, /* in an executor: the head of a slot's queue ends with code */
    MSG_RETURN,  /* an executor learns that it was declared dead */
    MSG_START,   /* from here on: the world's doing */
    MSG_CRASH,
    MSG_PAUSE,
    MSG_LOSE,
    MSG_JUMP,
};
struct msg {
    uint64_t at, seq;
    uint64_t read; /* EVENT DONE, RUN_END: what the attempt read */
    uint8_t kind, code;
    bool dies; /* RUN_END: with its runner */
    uint32_t executor, slot, life, slot_life;
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
    struct stage stages[SIM_STAGES + SIM_JOBS];
    uint32_t n_stages;
    struct job jobs[SIM_JOBS];
    uint64_t events, faults, launches;
    uint32_t ends[5];    /* of jobs, by enum sched_why */
    uint32_t actions[16]; /* by enum sched_action_kind */
    uint32_t again;      /* accepts of a later generation */
    uint64_t read; /* what the attempt read whose DONE is being handled */
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
void world_send(struct world *w, struct msg m, uint64_t delay);
/* Carries out what the driver asks of an executor. */
void world_launch(struct world *w, const struct sched_action *a);
void world_kill(struct world *w, const struct sched_action *a);
void world_revoke(struct world *w, const struct sched_action *a);
/* check.c */
void check_before(struct world *w, const struct sched_event *ev);
void check_action(struct world *w, const struct sched_event *ev, const struct sched_action *a);
/* Looks at everything: now and then. */
void check_inside(struct world *w);
void check_end(struct world *w);
uint64_t check_read(struct world *w, const struct stage *st, bool *ret_all);
void broken(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#endif
