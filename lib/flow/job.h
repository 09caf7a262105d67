/*
 * job -- the author's main(): the graph it builds, and the actions it asks the driver for.
 *
 * Datasets become nodes of a plan_graph; an action sends the graph to the driver through struct job_world and
 * waits.  A mistake is told once, with the author's file:line; what is built on it is poisoned, and actions on
 * that return non-zero.
 *
 * Owner: the runner that runs main.  Threads: one.
 */
#ifndef FLOW_JOB_H
#define FLOW_JOB_H
#include "flow/flow.h"

struct job_answer {
    uint32_t partitions; /* of the action's dataset, in all */
    uint32_t first, n;   /* the ones that ran: as many results can be opened */
    uint64_t rows;
};
struct job_world {
    void *arg;
    struct err *(*act)(void *arg, const struct plan_graph *g, const struct plan_action *a, struct job_answer *ret);
    struct err *(*open_result)(void *arg, uint32_t index, int *ret_fd);
    struct err *(*conf)(void *arg, const char *key, struct arena *a, const char **ret); /* NULL: not set */
    struct err *(*conf_set)(void *arg, const char *key, const char *value, const char *origin);
    struct err *(*total)(void *arg, uint32_t item, uint32_t op, td_slot_ *ret);
    /* What a function added to accumulators here, in main's process. */
    struct err *(*add)(void *arg, const struct flow_delta *d, uint32_t n);
    /* A new value: the bytes behind fd (borrowed, sealed), or of the file at path (fd -1). */
    struct err *(*broadcast)(void *arg, uint32_t id, const char *name, int fd, const char *path);
    struct err *(*unbroadcast)(void *arg, uint32_t id);
    void (*say)(void *arg, int level, const char *file, int line, const char *text);
};
/* Runs the module's main with its arguments; *ret_status is what it returned.  An error it ignored makes the
 * job fail all the same: the status is then 1 at least. */
void job_run(const struct job_world *w, const struct flow_world *fw, const struct flow_items *items,
             int (*main)(td_job *, int, char **), int argc, char **argv, int *ret_status);
#endif
