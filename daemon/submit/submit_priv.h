/* submit_priv -- what run.c (one application), submit.c and cluster.c (where its executors are), progress.c (what people see) and summary.c (what machines read) share. */
#ifndef SUBMIT_PRIV_H
#define SUBMIT_PRIV_H
#include "base/arena.h"
#include "base/spread.h"
#include "driver/driver.h"
#include "flow/module.h"
#include "net/loop.h"
#include "submit/options.h"

struct submit;
struct executor;
/* Where executors come from: in this process (submit.c) or from a cluster (cluster.c). */
struct submit_how {
    const char *who;                        /* before sentences */
    struct err *(*start)(struct submit *s); /* zygote, scratch, loop and events are there; makes the driver */
    void (*stop)(struct submit *s);         /* frees the driver and what start made, however far that got */
    unsigned (*pids)(const struct submit *s, int *ret, unsigned n); /* of runners, but main's */
};
struct submit {
    const struct submit_how *how;
    struct arena a;
    struct submit_options o;
    struct module module;
    struct module_list items;
    struct module_info *along;      /* libraries of --libs, in the order of loading */
    size_t n_along;
    struct zygote *zygote;
    const char *symbolise;          /* or NULL */
    char *scratch;
    char *own[SPREAD_MAX + 1];      /* folders to be removed: scratch, if it is ours, and more for what fills it */
    unsigned n_own;
    const char *files;              /* folder of what goes along, "" nothing does */
    const char **libs;              /* names there, to be loaded first */
    uint32_t n_libs;
    unsigned char secret[DRIVER_SECRET]; /* the application's */
    struct loop *loop;
    struct driver *driver;
    struct executor *executor; /* local mode */
    struct cluster_run *cluster; /* the other */
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
    uint64_t others_cpu_ns; /* of processes that were waited for and are none of the job's */
    int summary_fd; /* -1: none is wanted */
    /* say.c */
    int stop_fd;        /* readable: a signal waits that stops the job; 0: they end this process */
    bool stopping;      /* one came */
    struct event_sink events;
    struct event_json_sink json;
    bool json_open;
};

/* say.c: to standard error.  While nobody reads that, all wait, but for a signal that is to stop the job: then what can't
 * be written is dropped. */
enum { SUBMIT_STOPS = 3 };
extern const int submit_stops[SUBMIT_STOPS]; /* signals */
struct err *submit__listen(struct submit *s) MUST_USE; /* once they are the loop's */
void submit__say(const struct submit *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Would a write get through; wait: from now on, or because of a signal not at all. */
bool submit__heard(const struct submit *s, bool wait);
struct event_sink submit__json_sink(struct submit *s);

/* files.c: what goes along, for runners of this process: s->files, s->libs.  Archives are unpacked meanwhile. */
struct err *submit__files(struct submit *s) MUST_USE;
/* run.c */
/* The whole run: returns the exit status. */
int submit__run(struct submit *s);
/* Tells, frees, and gives the exit status. */
int submit__fail(struct submit *s, struct err *e);
/* Makes s->driver: where has host, scratch, secret, up, lost, arg; the rest comes from the options. */
struct err *submit__driver(struct submit *s, const struct driver_opts *where) MUST_USE;
void submit__raise_descriptors(void);
/* --help, --version: the exit status. */
int submit__print(struct submit *s, enum submit_action action);
void submit__tell(struct submit *s, const char *what, const struct err *e);
/* Why the application fails, as an "error: ..." or an event. */
void submit__failed(struct submit *s, const struct err *e);
void submit__progress_start(struct submit *s);
void submit__progress_stop(struct submit *s);
/* Takes the line off the terminal before something else is printed. */
void submit__progress_clear(struct submit *s);
struct err *submit__events_open(struct submit *s);
/* The application has its id; host, for as long as s, is where the driver is. */
void submit__events_begin(struct submit *s, const char *host, uint32_t slots);
void submit__events_close(struct submit *s);
/* The author's words as an event. */
void submit__said(struct submit *s, int level, const char *text);
/* Before anything runs: a place that can't be written to is told at once. */
struct err *submit__summary_open(struct submit *s);
struct err *submit__summary(struct submit *s);
/* CPU seconds of all the job's processes that have ended, of this one, and what executors elsewhere have said (totals). */
double submit__cpu_s(const struct submit *s);
/* Memory of all the job's processes now, into s->peak_memory if it is the most so far. */
void submit__sample(struct submit *s);
#endif
