/* executor_priv -- what the files of the executor share: executor.c (runners, launches), orders.c (what the driver
 * says), facts.c (what it is told), files.c (opening for runners), broadcast_runners.c (broadcasts for them), remote.c (map
 * outputs). */
#ifndef EXECUTOR_PRIV_H
#define EXECUTOR_PRIV_H
#include "executor/executor.h"
#include "flow/wire.h"
#include "net/loop.h"
#include "proto/proto.h"

enum {
    EXECUTOR_QUEUE_MAX = 1 << 16, /* launches of a slot that were not answered */
    EXECUTOR_MAPS_MAX = 1 << 24,  /* tasks of a map stage */
    EXECUTOR_NODES_MAX = 1 << 16,
    EXECUTOR_PROGRESS_MS = 200,
    EXECUTOR_SAMPLE_MS = 20,      /* of memory, at the least; and so much longer than a look takes: */
    EXECUTOR_SAMPLE_SHARE = 50,
};

struct executor__launch {
    struct wire_task task;
    struct plan_split split; /* pieces: one block of its own, or NULL */
    bool begun;              /* it has asked for a file */
    bool revoked;            /* answered to the driver: it gets no files, and what it answers is dropped */
};
struct executor__slot {
    struct executor__launch *queue; /* launched, not answered: [head, head + n); the first `given` are in the ring */
    uint32_t head, n, cap, given;
    uint32_t *sent, n_sent, cap_sent; /* stages its runner knows */
    uint32_t life;          /* SlotDowns sent: launches of an earlier life are dropped */
    bool down;              /* its runner died and the driver has not been told yet */
    bool killed;            /* by order of the driver, for that attempt: */
    struct wire_task victim;
    struct err *last_words; /* of its task, from a runner that is about to end */
};
struct executor__stage {
    uint32_t id;
    struct buf def;
    const char *tmp, *suffix; /* of the part files of attempts; tmp NULL: it has others, in the executor's own folder */
};
/* Where the outputs of a map stage are, as the driver said last. */
struct executor__outputs {
    uint32_t stage, n;
    struct executor__output { uint32_t attempt_1, node; } *at; /* attempt + 1; 0: there is none */
};
struct executor__node {
    bool known;
    const char *host, *bulk, *dir;
};
struct death;
struct executor {
    struct loop *loop;
    struct zygote *zygote;
    struct executor_opts o;
    unsigned more;           /* folders beside o.dir: base/spread.h */
    struct link *link;
    bool welcome, ended;
    uint64_t app;
    uint32_t epoch;
    uint64_t budget, data_limit, timeout_ns, stale;
    const char *codec;    /* of map outputs, "" none */
    struct runners *runners;
    struct executor__slot *slot;
    struct executor__stage *stage;
    uint32_t n_stages, cap_stages;
    struct executor__outputs *outputs;
    uint32_t n_outputs;
    struct executor__node *node;
    uint32_t n_nodes;
    struct death *deaths; /* reports being made */
    struct remote_ask *asks; /* of runners, for files of other hosts */
    struct tails *tails;     /* NULL: none yet */
    struct broadcasts *bcasts;
    struct executor__drops *drops; /* per slot */
    struct loop_timer progress, over;
    struct {
        bool cpu, memory;         /* wanted */
        uint64_t cpu_us;          /* said last */
        uint64_t most, due_ns;    /* bytes since the last word; when to look again */
        struct loop_timer sample;
    } usage;
    struct err *why;      /* for o.end */
    struct buf out;
    struct arena a, call, msg; /* for ever; of one answer; of one envelope */
};

/* executor.c */
const struct executor__launch *executor__running(const struct executor__slot *s);
struct executor__stage *executor__stage_of(const struct executor *x, uint32_t id);
/* Queues an attempt at a slot, takes its split; starts its runner if there is none. */
struct err *executor__launch(struct executor *x, unsigned slot, const struct executor__launch *t) MUST_USE;
/* Takes it back if it has not begun; else kills its runner, unless that is not wanted. */
void executor__kill(struct executor *x, unsigned slot, const struct wire_task *t, enum runner_why why, bool only_revoke);
/* o.end, in the loop's next round.  Takes why. */
void executor__end(struct executor *x, struct err *why);

/* orders.c */
extern const struct link_handler executor__handler;
/* NULL: never heard of. */
const struct executor__output *executor__output_of(const struct executor *x, uint32_t stage, uint32_t map);

/* facts.c */
void executor__hello(struct executor *x);
void executor__say_done(struct executor *x, unsigned slot, const void *p, size_t n);
/* t NULL: it had none. Takes why. */
void executor__say_down(struct executor *x, unsigned slot, const struct wire_task *t, struct err *why);
void executor__say_log(struct executor *x, unsigned slot, int level, const char *file, uint32_t line, const char *text);
void executor__say_failed(struct executor *x, struct err *take);
/* Progress now and then, as long as something runs. */
void executor__progress_start(struct executor *x);
void executor__progress_stop(struct executor *x);
/* What was used, if no answer is owed: told before the last one, so that it counts whatever the driver does then. */
void executor__say_usage(struct executor *x);

void executor__say_held(struct executor *x, uint32_t broadcast);

/* broadcast_runners.c */
void executor__bcast_init(struct executor *x);
void executor__bcast_fini(struct executor *x);
struct err *executor__bcast_told(struct executor *x, const Taskd__Broadcast *m) MUST_USE;
void executor__bcast_open(struct executor *x, unsigned slot, uint32_t frame, uint32_t id);
void executor__bcast_flush(struct executor *x, unsigned slot); /* there may be room in its ring */
void executor__bcast_down(struct executor *x, unsigned slot);  /* its runner is gone */

/* remote.c: map outputs, from this host or another one */
/* Answers a runner's WIRE_OPEN of map outputs and WIRE_FETCH, now or later. */
void executor__open_maps(struct executor *x, unsigned slot, uint32_t frame, const struct wire_open *o);
void executor__on_fetch(struct executor *x, unsigned slot, struct frame *f);
void executor__remote_down(struct executor *x, unsigned slot); /* its runner is gone */
/* Where outputs are has changed: what waits for one that is lost need not wait. */
void executor__remote_check(struct executor *x);
void executor__remote_fini(struct executor *x);

/* files.c */
/* Is this a task that was launched in that slot?  Then it has begun. */
struct err *executor__own_task(struct executor *x, unsigned slot, uint32_t stage, uint32_t partition, uint32_t attempt)
    MUST_USE;
/* In the scratch directory, for reading and writing. */
struct err *executor__unnamed_file(const struct executor *x, int *ret) MUST_USE;
/* Answers a runner's WIRE_OPEN. */
void executor__on_open(struct executor *x, unsigned slot, struct frame *f);
/* An output that nobody will read any more. */
void executor__remove(struct executor *x, uint32_t stage, uint32_t partition, uint32_t attempt);
#endif
