/*
 * executor -- runs tasks: owns the runners, the memory they may use, the scratch directory and every file that
 * is opened for them.  It never runs user code and decides nothing: the driver says what runs where.
 *
 * In local mode the driver calls these functions and gets the calls of struct executor_up in the same loop; on a
 * cluster the same calls are messages.
 *
 * Owner: the one who made it.  Threads: the loop's.
 */
#ifndef EXECUTOR_EXECUTOR_H
#define EXECUTOR_EXECUTOR_H
#include <stdbool.h>
#include <stdint.h>

#include "executor/runners.h"
#include "flow/wire.h"

struct executor;
struct loop;

/* Calls into the driver.  None of them may free the executor. */
struct executor_up {
    /* An attempt answered.  d->err is the callee's.  Deltas are views until it returns. */
    void (*done)(void *arg, unsigned slot, struct wire_done *d);
    /* The runner of a slot died; task is what it was running, NULL for none; takes why (a sentence). */
    void (*slot_down)(void *arg, unsigned slot, const struct wire_task *task, struct err *why);
    /* Which attempt's output of a map task counts.  ERR_LOST: there is none. */
    struct err *(*locate)(void *arg, uint32_t stage, uint32_t map, uint32_t *ret_attempt);
    /* The task's part of the input, NULL for none. */
    const struct plan_split *(*split)(void *arg, uint32_t stage, uint32_t partition);
    /* Result number index of the finished action. */
    struct err *(*result)(void *arg, uint32_t index, struct wire_task *ret);
    /* A request of the job's main that is not about files. */
    void (*main_frame)(void *arg, struct frame *f);
    void (*main_down)(void *arg, struct err *why);
    void (*log)(void *arg, int level, const char *file, uint32_t line, const char *text);
    /* Nothing works any more; takes why. */
    void (*fatal)(void *arg, struct err *why);
};

struct executor_opts {
    unsigned slots;
    const char *scratch;     /* an existing directory of the application's own */
    uint64_t budget;         /* record bytes of one runner */
    uint64_t data_limit;     /* RLIMIT_DATA of one runner, 0: none */
    uint64_t timeout_ns;     /* for the sentence about it */
    int module_fd;           /* verified bytes; borrowed */
    const char *module_name;
    const char *symbolise;   /* path of taskd-symbolise or NULL */
};
struct err *executor_new(struct loop *l, struct zygote *z, const struct executor_opts *o, const struct executor_up *up,
                         void *arg, struct executor **ret) MUST_USE;
/* Kills all runners.  NULL is allowed. */
void executor_free(struct executor *x);

/* Runs the job's main in a runner of its own. */
struct err *executor_main(struct executor *x, int argc, char **argv) MUST_USE;
/* An answer to a main_frame; fd -1: none. */
struct err *executor_main_reply(struct executor *x, uint32_t id, const struct buf *b) MUST_USE;

/* A stage, before its first task.  dir: where its outputs are to be written (attempt files in DIR/_temporary),
 * NULL: in the scratch directory.  suffix: of part files. */
struct err *executor_stage(struct executor *x, uint32_t stage, const struct buf *def, const char *dir,
                           const char *suffix) MUST_USE;
/* Queues an attempt at a slot; starts its runner if there is none. */
struct err *executor_launch(struct executor *x, unsigned slot, const struct wire_task *t) MUST_USE;
/* Kills the runner if this attempt is the one it runs; false: it is not. */
bool executor_kill(struct executor *x, unsigned slot, const struct wire_task *t, enum runner_why why);
/* The file of an attempt's output. */
void executor_output_path(const struct executor *x, uint32_t stage, uint32_t partition, uint32_t attempt, struct buf *out);

struct executor_look { /* of one slot, for progress and statistics */
    pid_t pid;
    bool busy;
    uint64_t records, bytes;
};
void executor_look(const struct executor *x, unsigned slot, struct executor_look *ret); /* slot == slots: main */
#endif
