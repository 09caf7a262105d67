/*
 * driver -- a job's truth: plan, attempts, which outputs count, accumulators.
 *
 * It hears the job's main (a runner of its own), the executors (one link each: answers, deaths) and the clock, feeds
 * sched, and does what sched says.  One loop, no threads.  Where executors come from is the owner's business: it hands
 * over their links by driver_accept() as they come, and tells of losses that links don't show.
 *
 * Owner: the one who made it.  Everything ends by the call of driver_opts.end.
 */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/conf.h"
#include "event/event.h"
#include "executor/executor.h"
#include "executor/runners.h"
#include "net/link.h"

struct loop;
struct driver;
struct module_list;

enum { DRIVER_SECRET = 32 };

/* The runner of the job's main. */
struct driver_main {
    int module_fd;           /* verified bytes; borrowed */
    const char *module_name;
    const char *files;       /* folder of what went along with it, "" nothing */
    const char *const *libs; /* names there: loaded before the module, in this order */
    uint32_t n_libs;
    const char *symbolise;   /* path of taskd-symbolise or NULL */
    uint64_t budget;         /* record bytes */
    uint64_t data_limit;     /* RLIMIT_DATA, 0: none */
    int argc;
    char **argv;
};
struct driver_opts {
    struct conf *conf;
    struct driver_main main;
    const char *dir;         /* of its own, for broadcasts: exists */
    const char *bulk;        /* "host:port" of who serves dir, "" nobody */
    const char *host;        /* this one, as executors of the same host call theirs */
    const char *submission;  /* id of the one that it runs for, NULL: none.  What an earlier try of it has put out is not in the way */
    uint32_t try;            /* of the submission: 0, 1, ... */
    const char *scratch;     /* where shuffle and spill files of local mode are, for sentences; "" elsewhere */
    unsigned char secret[DRIVER_SECRET]; /* what an executor must know */
    bool asked;              /* executors are asked for before main runs: it can't say how large they are */
    const struct event_sink *events;
    /* What executors are asked to say of themselves: those that are processes of their own, so that nobody else counts
     * them. */
    enum driver_usage { DRIVER_USAGE_NONE, DRIVER_USAGE_CPU, DRIVER_USAGE_MEMORY /* and CPU */ } usage;
    /* What conf says; main may set keys before its first dataset, and then settings(arg, itself) finds them anew. */
    uint64_t memory;         /* record bytes of an executor: its slots share them */
    uint64_t data_limit;     /* RLIMIT_DATA of its runners, 0: none */
    uint32_t parallelism;
    uint64_t split_bytes;
    uint32_t max_failures;
    uint64_t task_timeout_ns;
    const char *codec;       /* of shuffle files, "" none */
    void (*settings)(void *arg, struct driver_opts *o); /* NULL: they stay */
    /* The author's words, one line: level is TD_DEBUG .. TD_ERROR. */
    void (*say)(void *arg, int level, const char *file, uint32_t line, const char *text);
    /* An executor is there, or no more: its link is down, it was refused or has failed.  What it ran runs elsewhere
     * when there is an elsewhere.  Takes why.  Both may be NULL; called from the loop only, for ids that were up. */
    void (*up)(void *arg, uint32_t executor, unsigned slots);
    void (*lost)(void *arg, uint32_t executor, struct err *why);
    /* The job is over: status is the exit code; err (taken) is why it failed, if it was not told already. */
    void (*end)(void *arg, int status, struct err *err);
    void *arg;
    const struct module_list *items; /* names of accumulators */
};

/* Figures for --summary, added up over the application. */
struct driver_totals {
    uint64_t input_bytes, input_records, output_records, shuffle_write_bytes, spill_bytes;
    uint64_t splits, tasks, attempts, failed_attempts, bad_records;
    uint64_t cpu_us; /* of executors and their runners, as far as they have said (driver_opts.usage) */
    uint64_t stale; /* items of executors that were refused: of another epoch or application, or unknown */
};
/* One line of progress. */
struct driver_progress {
    const char *stage; /* label of the newest active stage; NULL: none */
    uint32_t stages_done, stages;
    uint32_t tasks_done, tasks, running;
    uint64_t bytes, records; /* read so far, running attempts included */
};

struct err *driver_new(struct loop *l, struct zygote *z, const struct driver_opts *o, struct driver **ret) MUST_USE;
/* How results that lie on other hosts come here; before driver_run().  Without it there are no other hosts. */
void driver_fetch(struct driver *d, const struct executor_fetch *f);
/* Starts the job's main.  slots: all that the application can have; splits and partitions are made for as many. */
struct err *driver_run(struct driver *d, const char *app_id, unsigned slots) MUST_USE;
/* Somebody calls who says that it is an executor; takes the link. */
void driver_accept(struct driver *d, struct link *link);
/* It is known to be dead, or won't come; whether its link knows or not.  Takes why. */
void driver_executor_lost(struct driver *d, uint32_t executor, struct err *why);
/* The outputs on that worker are gone, with or without its executors. */
void driver_node_lost(struct driver *d, const char *worker);
/* Cancels what runs: end is called with ERR_CANCELLED's exit code. */
void driver_cancel(struct driver *d, int status);
/* Ends a job, else a stage (and the jobs that have it), else one attempt of a task, which then runs again; UINT32_MAX:
 * not meant.  What does not run is no error: it may just have ended. */
void driver_cancel_part(struct driver *d, uint32_t job, uint32_t stage, uint32_t partition, uint32_t attempt);
/* Ends the application with an error, which it takes. */
void driver_fail(struct driver *d, struct err *why);
/* Stops the executors, kills main, removes attempt files of unfinished outputs.  NULL is allowed. */
void driver_free(struct driver *d);

void driver_totals(const struct driver *d, struct driver_totals *ret);
void driver_progress(const struct driver *d, struct driver_progress *ret);
/* Appends {"name": value, ...}: all accumulators of the module that were merged. */
void driver_accumulators(const struct driver *d, struct buf *out);
/* Bytes of memory of all executors and their runners: the largest sum of what they said last, since this was asked
 * before.  0 without DRIVER_USAGE_MEMORY. */
uint64_t driver_executors_memory(struct driver *d);
/* The process id of the job's main, 0: none. */
int driver_main_pid(const struct driver *d);
#endif
