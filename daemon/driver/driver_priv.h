/* driver_priv -- what the files of the driver share: driver.c (events), jobs.c (actions of main), inputs.c,
 * output.c (directories of results), accs.c (accumulators). */
#ifndef DRIVER_PRIV_H
#define DRIVER_PRIV_H
#include "driver/driver.h"
#include "net/loop.h"
#include "plan/plan.h"
#include "sched/sched.h"

/* A directory that a job writes into. */
struct output {
    char *dir, *tmp;    /* tmp: DIR/_temporary */
    const char *suffix; /* of part files */
    bool made;          /* by us: removed when the job fails */
};

/* A stage for as long as the application lives. */
struct stage {
    uint32_t id, tasks, node;
    bool result;
    int64_t *attempt;       /* per partition: the accepted one, -1 none */
    uint32_t *generation;   /* and of which generation it was */
    uint64_t accepted;
    struct plan_stage plan; /* splits and branches, in the arena of its job */
    struct output *out;     /* SAVE_*: where parts are renamed to */
    uint64_t rows;          /* of accepted outputs */
    uint64_t began;         /* 0: not yet */
    uint32_t attempts, failed_attempts;
};

/* Merged accumulators: a value per item, and which (node, partition) is in it. */
struct accs {
    struct { uint32_t item, op; td_slot_ v; } *v;
    uint32_t n, cap;
    struct { uint32_t node, partition; } *seen; /* open addressing, node + 1; 0 is free */
    uint64_t n_seen, cap_seen;
};

struct driver {
    struct loop *loop;
    struct zygote *zygote;
    struct driver_opts o;
    struct executor *x;
    struct sched *sched;
    struct sched_actions acts;
    struct loop_timer wake;
    struct plan_ids ids;
    struct plan_input *input; /* per node, kept over jobs */
    uint32_t n_input, cap_input;
    struct stage **stage;
    uint32_t n_stages, cap_stages;
    struct accs accs;
    struct driver_totals totals;
    struct err *last_err; /* of the task that failed last: tells why a job failed */
    bool ended;
    /* the action that main waits for */
    struct {
        bool active;
        uint32_t id, frame; /* job, request */
        struct arena *a;
        struct plan plan;
        struct output out;
        struct stage *result;
        uint64_t began;
    } job;
    const struct wire_done *done; /* being stepped: ACCEPT merges its deltas */
    struct arena a;
};

/* Feeds an event and does what comes out. */
void driver__step(struct driver *d, const struct sched_event *ev);
struct stage *driver__stage(const struct driver *d, uint32_t id);
void driver__end(struct driver *d, int status, struct err *take);

/* jobs.c */
void driver__main_frame(struct driver *d, struct frame *f);
void driver__job_end(struct driver *d, const struct sched_action *a);

/* inputs.c: files behind a path: one file, a directory's (but _* and .*), or a glob's; sorted by name. */
struct err *driver__inputs(struct driver *d, const struct plan_graph *g);

/* output.c */
struct err *driver__output_begin(struct driver *d, const struct plan_action *a, struct output *o);
struct err *driver__output_accept(struct driver *d, const struct output *o, const char *attempt, uint32_t partition);
struct err *driver__output_end(struct driver *d, struct output *o, bool ok);

/* accs.c */
void driver__accs_merge(struct accs *m, const struct stage *s, uint32_t partition, const struct flow_result *r);
/* One addition, without asking where it comes from. */
void driver__accs_add(struct accs *m, const struct flow_delta *d);
td_slot_ driver__accs_total(const struct accs *m, uint32_t item, uint32_t op);
void driver__accs_fini(struct accs *m);
#endif
