/* driver_priv -- what the files of the driver share: driver.c (sched's events and actions), executors.c (who is there,
 * what they say), orders.c (what they are told), main_runner.c (the job's main), jobs.c (its actions), results.c (its
 * results), inputs.c, output.c (directories of results), accs.c (accumulators). */
#ifndef DRIVER_PRIV_H
#define DRIVER_PRIV_H
#include "driver/broadcast.h"
#include "driver/driver.h"
#include "flow/wire.h"
#include "net/loop.h"
#include "plan/plan.h"
#include "proto/proto.h"
#include "sched/sched.h"

enum {
    DRIVER_EXECUTORS_MAX = 1 << 16,  /* numbers of executors */
    DRIVER_SLOTS_MAX = 4096,         /* of one executor */
    DRIVER_PATIENCE_MS = 5000,       /* for a caller to say who it is */
};

/* A directory that a job writes into. */
struct output {
    const char *dir;    /* absolute */
    char *tmp;          /* DIR/_temporary, DIR/MARK */
    const char *mark;   /* "_temporary.SUBMISSION.TRY": ours as long as that is there; NULL: no submission */
    const char *suffix; /* of part files */
    bool made;          /* by us: removed when the job fails */
};

/* A stage for as long as the application lives. */
struct stage {
    uint32_t id, tasks, node;
    bool result;
    int64_t *attempt;       /* per partition: the accepted one, -1 none (any more) */
    uint32_t *generation;   /* of which generation it was */
    uint32_t *place;        /* on which node it is */
    uint32_t *since;        /* accept number: see struct attempt */
    uint64_t accepted;
    struct plan_stage plan; /* splits and branches, in the arena of its job */
    struct buf def;         /* as executors get it */
    struct output *out;     /* SAVE_*: where parts are renamed to */
    uint64_t rows;          /* of accepted outputs */
    uint64_t *part_rows;    /* of a result stage: the same, per partition */
    uint64_t began;         /* 0: not yet */
    uint32_t attempts, failed_attempts;
};

/* Merged accumulators: a value per item, and which (node, partition) is in it. */
struct accs {
    struct {
        uint32_t item, op;
        td_slot_ v;
        double lost; /* of a sum of doubles: what rounding took from v */
    } *v;
    uint32_t n, cap;
    struct { uint32_t node, partition; } *seen; /* open addressing, node + 1; 0 is free */
    uint64_t n_seen, cap_seen;
};

/* A place where map outputs are; number 0 is the driver itself. */
struct node {
    char *host, *bulk, *dir, *worker;
    bool lost;
};

/* An attempt that an executor has and did not answer. */
struct attempt {
    uint32_t stage, partition, attempt;
    uint32_t since; /* accepts when it was launched: what it says of an output that was accepted later is about an older one */
};
struct lane { /* a slot, as seen from here */
    struct attempt *queue;
    uint32_t head, n, cap;
    uint32_t life;
    uint64_t records, bytes; /* of the running one, as it said last */
};
struct remote { /* an executor, or a caller who may become one */
    struct driver *d;
    struct remote *next;
    struct link *link;
    struct loop_timer patience;
    bool greeted, up;
    uint32_t number, epoch, slots, place;
    char *host;
    struct lane *lane;
    uint8_t *knows; /* by stage id: REMOTE_STAGE, REMOTE_OUTPUTS */
    uint32_t n_knows, nodes_told;
    uint64_t cpu_us, memory; /* as it said last */
};
enum { REMOTE_STAGE = 1, REMOTE_OUTPUTS = 2 };

struct main_runner;
struct driver {
    struct loop *loop;
    struct zygote *zygote;
    struct driver_opts o;
    struct executor_fetch fetch;
    char *app_id;
    uint64_t app;
    const char *cwd; /* with executors elsewhere: what relative inputs are relative to */
    uint32_t slots;
    struct main_runner *main;
    struct remote *remotes;
    struct remote **by_number;
    uint32_t n_numbers;
    struct node *node;
    uint32_t n_nodes, cap_nodes;
    uint32_t accepts;
    struct sched *sched;
    struct sched_actions acts;
    struct loop_timer wake;
    struct plan_ids ids;
    struct plan_input *input; /* per node, kept over jobs */
    uint32_t n_input, cap_input;
    struct stage **stage;
    uint32_t n_stages, cap_stages;
    struct accs accs;
    struct bcast_store *bcasts;
    struct coming *coming; /* a result that is being fetched for main */
    struct driver_totals totals;
    uint64_t memory, memory_most; /* of all executors now; since it was asked for */
    struct err *last_err; /* of the task that failed last: tells why a job failed */
    bool ended, told_mismatch;
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
    const struct remote *from;    /* and who said it */
    struct buf msg;
    struct arena a, call, env, answer; /* for ever; of one message; of one envelope; of one DONE */
};

/* driver.c: feeds an event and does what comes out. */
void driver__step(struct driver *d, const struct sched_event *ev);
/* driver_run() without a main: tests ask in its place, by driver__main_frame(). */
void driver__begin(struct driver *d, const char *app_id, unsigned slots);
/* Keys were set by main: everybody is told. */
void driver__configure(struct driver *d);
struct stage *driver__stage(const struct driver *d, uint32_t id);
void driver__end(struct driver *d, int status, struct err *take);
/* A known attempt's answer; w->err is taken. */
void driver__done(struct driver *d, const struct remote *x, uint32_t slot, struct wire_done *w, const struct attempt *t);
/* t NULL: the runner had none.  Takes why. */
void driver__slot_down(struct driver *d, const struct remote *x, uint32_t slot, const struct attempt *t,
                       struct err *why);
/* ev: its EXECUTOR_UP; welcomes it before it gets anything to do. */
void driver__attach(struct driver *d, struct remote *x, const struct sched_event *ev);
void driver__executor_down(struct driver *d, const struct remote *x, const struct err *why);

/* executors.c */
struct remote *driver__remote(const struct driver *d, uint32_t number);
/* Takes why: the executor is dead for us. */
void driver__drop(struct remote *x, struct err *why);
/* All executors of a node. */
void driver__drop_place(struct driver *d, uint32_t place);
void driver__remotes_free(struct driver *d);

/* orders.c */
void driver__welcome(struct remote *x);
void driver__settings(struct remote *x); /* again, when they have changed */
void driver__refuse(struct remote *x, const struct err *why);
void driver__launch(struct remote *x, const struct sched_action *a);
void driver__kill(struct remote *x, const struct sched_action *a);
/* To an executor that has the file. */
void driver__remove(struct driver *d, uint32_t place, uint32_t stage, uint32_t partition, uint32_t attempt);
/* An output came or went: to those who follow that stage's. */
void driver__tell_output(struct driver *d, const struct stage *s, uint32_t map);
void driver__stop(struct remote *x, const char *why);

/* A broadcast is new, has other holders or was destroyed: to one executor, to all.  arg: struct remote, struct driver. */
void driver__tell_broadcast(void *arg, const struct broadcast_info *i);
void driver__tell_broadcast_all(void *arg, const struct broadcast_info *i);

/* main_runner.c */
struct err *driver__main_start(struct driver *d) MUST_USE;
void driver__main_free(struct driver *d);
pid_t driver__main_pid(const struct driver *d);
/* An answer to a request; fd -1: none. */
struct err *driver__main_reply(struct driver *d, uint32_t frame, const struct buf *b, int fd) MUST_USE;
/* An answer to WIRE_OPEN: takes fd and e. */
void driver__main_file(struct driver *d, uint32_t frame, const char *name, uint64_t size, int fd, struct err *e);

/* results.c: opens result number index of the finished action and answers. */
void driver__open_result(struct driver *d, uint32_t frame, uint32_t index);
void driver__results_free(struct driver *d);

/* jobs.c */
/* An answer to main: takes e. */
void driver__reply(struct driver *d, uint32_t frame, struct err *e, const struct buf *more);
void driver__main_frame(struct driver *d, struct frame *f);
void driver__job_end(struct driver *d, const struct sched_action *a);

/* inputs.c: files behind a path: one file, a directory's (but _* and .*), or a glob's; sorted by name. */
struct err *driver__inputs(struct driver *d, const struct plan_graph *g);

/* output.c */
struct err *driver__output_begin(struct driver *d, const struct plan_action *a, struct output *o);
struct err *driver__output_accept(struct driver *d, const struct output *o, uint32_t stage, uint32_t partition,
                                  uint32_t attempt);
void driver__output_discard(const struct output *o, uint32_t stage, uint32_t partition, uint32_t attempt);
struct err *driver__output_end(struct driver *d, struct output *o, bool ok);

/* accs.c */
void driver__accs_merge(struct accs *m, const struct stage *s, uint32_t partition, const struct flow_result *r);
/* One addition, without asking where it comes from. */
void driver__accs_add(struct accs *m, const struct flow_delta *d);
td_slot_ driver__accs_total(const struct accs *m, uint32_t item, uint32_t op);
void driver__accs_fini(struct accs *m);
#endif
