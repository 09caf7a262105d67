/*
 * merge_set -- any number of runs on their way into one merge, within a budget.
 *
 * Runs are added in the order that decides ties.  When the budget says no, or MERGE_FAN are open, neighbours are
 * merged into one run in a spill file, so the stream at the end is the same whatever the budget is.  Memory is
 * bounded by the budget, work by O(rows * log(runs)).
 *
 * Owner: the task.  Threads: one.  Errors: those of the runs and of spill_open; ERR_LIMIT when not even two runs
 * can be merged within the budget.
 */
#ifndef FLOW_MERGE_SET_H
#define FLOW_MERGE_SET_H
#include "flow/merge.h"

enum {
#ifdef TASKD_HOSTILE
    MERGE_FAN = 3, /* runs that are open at a time, at most */
#else
    MERGE_FAN = 256,
#endif
};

struct merge_set_opts {
    struct merge_opts merge;
    const struct merge_bound *bound;         /* for every run; borrowed; NULL: all rows */
    const struct block_codec *codec;         /* of spilled runs, NULL: none */
    const struct block_codec *const *codecs; /* for reading them, NULL-terminated, or NULL */
    struct budget *budget;                   /* NULL: no limit */
    uint64_t most;                           /* of the budget for this set, if two runs can do with it; 0: all of it */
    struct err *(*spill_open)(void *arg, int *ret_fd); /* an empty file for reading and writing, then the set's */
    void *arg;
};

struct merge_set;
struct err *merge_set_new(const struct merge_set_opts *opts, struct merge_set **ret) MUST_USE;
/* Appends the blocks [from, to) of a run.  Takes the run and fd (-1: not the set's to close), also when it fails; a
 * range without blocks is closed at once. */
struct err *merge_set_add(struct merge_set *s, struct block_run *take_run, int take_fd, uint32_t from,
                          uint32_t to) MUST_USE;
/* The stream of all that was added; nothing can be added afterwards.  Owned by the set. */
struct err *merge_set_open(struct merge_set *s, struct merge **ret) MUST_USE;
/* Bytes written to spill files so far. */
uint64_t merge_set_spilled(const struct merge_set *s);
/* Closes all, gives the budget back.  NULL is allowed. */
void merge_set_free(struct merge_set *s);
#endif
