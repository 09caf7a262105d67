/* executor_priv -- what executor.c (runners, launches) and files.c (opening) share. */
#ifndef EXECUTOR_PRIV_H
#define EXECUTOR_PRIV_H
#include "executor/executor.h"

struct slot {
    struct wire_task *queue; /* launched, not answered: [head, head + n); the first `given` are in the ring */
    uint32_t head, n, cap, given;
    uint32_t *sent, n_sent, cap_sent; /* stages its runner knows */
    bool down; /* its runner died and the driver has not been told yet */
    struct err *last_words; /* of its task, from a runner that is about to end */
};
struct executor__stage {
    uint32_t id;
    struct buf def;
    const char *dir, *suffix;
};
struct death;
struct executor {
    struct loop *loop;
    struct executor_opts o;
    const struct executor_up *up;
    void *arg;
    struct runners *runners;
    struct slot *slot; /* slots + 1: the last one runs main */
    struct executor__stage *stage;
    uint32_t n_stages, cap_stages;
    struct death *deaths; /* reports being made */
    struct arena a, call;
};

const struct wire_task *executor__running(const struct slot *s);
struct executor__stage *executor__stage_of(const struct executor *x, uint32_t id);
/* Answers a runner's WIRE_OPEN. */
void executor__on_open(struct executor *x, unsigned slot, struct frame *f);
#endif
