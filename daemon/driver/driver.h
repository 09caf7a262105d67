/*
 * driver -- a job's truth: plan, attempts, which outputs count, accumulators.
 *
 * It hears the job's main (requests), the executor (answers, deaths) and the clock, feeds sched, and does what
 * sched says.  One loop, no threads.
 *
 * Owner: the one who made it (submit, in local mode).  Everything ends by the call of driver_opts.end.
 */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/conf.h"
#include "event/event.h"
#include "executor/executor.h"

struct loop;
struct driver;
struct module_list;

struct driver_opts {
    struct conf *conf;
    unsigned slots;
    struct executor_opts executor;
    const struct event_sink *events;
    uint32_t parallelism;
    uint64_t split_bytes;
    uint32_t max_failures;
    uint64_t task_timeout_ns;
    /* The author's words, one line: level is TD_DEBUG .. TD_ERROR. */
    void (*say)(void *arg, int level, const char *file, uint32_t line, const char *text);
    /* The job is over: status is the exit code; err (taken) is why it failed, if it was not told already. */
    void (*end)(void *arg, int status, struct err *err);
    void *arg;
    const struct module_list *items; /* names of accumulators */
    int argc;
    char **argv;
};

/* Figures for --summary, added up over the application. */
struct driver_totals {
    uint64_t input_bytes, input_records, output_records, shuffle_write_bytes, spill_bytes;
    uint64_t splits, tasks, attempts, failed_attempts, bad_records;
};
/* One line of progress. */
struct driver_progress {
    const char *stage; /* label of the newest active stage; NULL: none */
    uint32_t stages_done, stages;
    uint32_t tasks_done, tasks, running;
    uint64_t bytes, records; /* read so far, running attempts included */
};

struct err *driver_new(struct loop *l, struct zygote *z, const struct driver_opts *o, struct driver **ret) MUST_USE;
/* Cancels what runs: end is called with ERR_CANCELLED's exit code. */
void driver_cancel(struct driver *d, int status);
/* Kills everything, removes attempt files of unfinished outputs.  NULL is allowed. */
void driver_free(struct driver *d);

void driver_totals(const struct driver *d, struct driver_totals *ret);
void driver_progress(const struct driver *d, struct driver_progress *ret);
/* Appends {"name": value, ...}: all accumulators of the module that were merged. */
void driver_accumulators(const struct driver *d, struct buf *out);
/* Process ids of the runners that live: at most n into pids; returns their number. */
unsigned driver_pids(const struct driver *d, int *pids, unsigned n);
#endif
