/*
 * crash_report -- one sentence on how a runner ended.
 *
 *   signal 11 in keep() at crash.c:7 (crash.so+0x1140), partition 3, input.txt at byte offset 23893: "a POISON b"
 *
 * Addresses become names in a process of their own (taskd-symbolise), so hostile debug information
 * can hurt nobody; after CRASH_REPORT_MS it is killed and the sentence has module+offset only.
 *
 * Threads: the loop's.  Memory: the report frees itself after `done`.
 */
#ifndef EXECUTOR_CRASH_REPORT_H
#define EXECUTOR_CRASH_REPORT_H
#include <stdint.h>

#include "base/err.h"
#include "executor/runners.h"

enum { CRASH_REPORT_MS = 2000 };

struct crash_report;
struct crash_report_opts {
    const char *symbolise;   /* path of taskd-symbolise; NULL: no names */
    int module_fd;           /* the module's verified bytes; borrowed; -1: none */
    const char *module_name; /* "crash.so"; its basename is printed */
    const char *what;        /* "partition 3", "the job's main": printed behind the place; NULL: nothing */
    uint64_t timeout_ns;     /* taskd.task.timeout, for RUNNER_TIMEOUT */
    uint64_t data_limit;     /* as given to runners_spawn(): for the hint on memory */
    /* Name of the task's input file with that index, NULL for none; for rec.file.  May be NULL. */
    const char *(*input_name)(void *arg, uint32_t file);
    /* Takes the error: code ERR_USER (ERR_TIMEOUT, ERR_LIMIT, ERR_CANCELLED), the sentence, a hint. */
    void (*done)(void *arg, struct err *e);
    void *arg;
};
/* All is copied; done is called from the loop, later.  Cannot fail: without names it still has
 * numbers. */
struct crash_report *crash_report_start(struct loop *l, const struct runner_death *d,
                                        const struct crash_report_opts *o);
/* No call any more. */
void crash_report_cancel(struct crash_report *r);
#endif
