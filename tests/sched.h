/* sched.h -- a driver in the hand, for the tests of sched: one rule each.  Whole stories under faults are the
 * simulator's (tests/sim).
 *
 *   sched.c         order of stages, the gate, retries, slots
 *   sched_loss.c    lost outputs, nodes; cancelled stages, tasks; what is taken back
 *   sched_places.c  preferred and avoided places */
#ifndef TESTS_SCHED_H
#define TESTS_SCHED_H
#include "sched/sched.h"
#include "unit.h"

#define MS 1000000ull

/* Map stages and a result stage in a row, and what the last step said. */
struct desk {
    struct sched *s;
    struct sched_actions out;
    uint64_t now;
    struct plan_stage stages[4];
    uint32_t parents[4];
    struct plan plan;
    struct sched_prefer *prefer; /* for submit() */
    uint32_t n_prefer;
};

void open_desk(struct desk *d, const struct sched_opts *opts);
void close_desk(struct desk *d);
void step(struct desk *d, struct sched_event ev);
/* Stages 0 .. n-1, each reading the one before; the last is stage id `last`. */
void submit(struct desk *d, uint32_t job, uint32_t n, const uint32_t *tasks, uint32_t last);
void up(struct desk *d, uint32_t executor, uint32_t slots);
void up_on(struct desk *d, uint32_t executor, uint32_t slots, uint32_t node);
/* The n-th action of the kind in the last step; all zero if there is none. */
const struct sched_action *nth(const struct desk *d, enum sched_action_kind kind, uint32_t n);
uint32_t count(const struct desk *d, enum sched_action_kind kind);
struct sched_event answer(uint32_t epoch, uint32_t stage, uint32_t partition, uint32_t attempt, enum err_code code);
void done(struct desk *d, uint32_t epoch, uint32_t stage, uint32_t partition, uint32_t attempt, enum err_code code);
struct sched_counters counters(const struct desk *d);

extern const struct unit_test sched_loss_tests[], sched_places_tests[];
#endif
