/* submit_priv -- what submit.c (the run), progress.c (what people see) and summary.c (what machines read) share. */
#ifndef SUBMIT_PRIV_H
#define SUBMIT_PRIV_H
#include "base/arena.h"
#include "driver/driver.h"
#include "executor/executor.h"
#include "flow/module.h"
#include "net/loop.h"
#include "submit/options.h"

struct submit {
    struct arena a;
    struct submit_options o;
    struct module module;
    struct module_list items;
    struct zygote *zygote;
    char *scratch;
    struct loop *loop;
    struct driver *driver;
    struct executor *executor; /* local mode */
    char *app_id;
    int status;
    const char *state; /* NULL: nothing was started */
    uint64_t began;
    struct driver_totals totals;
    struct buf accumulators;
    /* progress.c */
    struct loop_timer tick;
    bool line;          /* there is a progress line on the terminal */
    uint64_t last_line; /* plain: when the last one was printed */
    struct loop_timer sample;
    uint64_t peak_memory;
    int summary_fd; /* -1: none is wanted */
    struct event_sink events;
    struct event_json_sink json;
};

void submit__tell(struct submit *s, const char *what, const struct err *e);
void submit__progress_start(struct submit *s);
void submit__progress_stop(struct submit *s);
/* Takes the line off the terminal before something else is printed. */
void submit__progress_clear(struct submit *s);
struct err *submit__events_open(struct submit *s);
void submit__events_close(struct submit *s);
/* The author's words as an event. */
void submit__said(struct submit *s, int level, const char *text);
/* Before anything runs: a place that can't be written to is told at once. */
struct err *submit__summary_open(struct submit *s);
struct err *submit__summary(struct submit *s);
/* CPU seconds of all the job's processes that have ended, and of this one. */
double submit__cpu_s(void);
/* Memory of all the job's processes now, into s->peak_memory if it is the most so far. */
void submit__sample(struct submit *s);
#endif
