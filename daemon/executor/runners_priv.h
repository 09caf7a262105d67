/* runners_priv -- what the files of the runners share. */
#ifndef EXECUTOR_RUNNERS_PRIV_H
#define EXECUTOR_RUNNERS_PRIV_H
#include "executor/runners.h"
#include "net/loop.h"

struct zygote {
    pid_t pid; /* 0: reaped */
    struct frame_chan *chan;
    bool attached; /* to a loop: never wait when sending */
    struct loop_child *child;
    struct runners *users; /* who has runners of it */
    uint32_t next_id;
};

enum slot_state { SLOT_EMPTY, SLOT_STARTING, SLOT_ALIVE };

struct slot {
    struct runners *rs;
    unsigned i;
    enum slot_state state;
    bool dying;          /* nothing may be sent to it any more */
    bool kick;           /* launched, not kicked yet */
    bool signalled;      /* it was sent a signal to end it */
    enum runner_why why;
    pid_t pid;
    struct ring *ring;
    struct frame_chan *chan;
    struct loop_child *child;
    struct loop_timer timer; /* the next step in killing it */
};

struct runners {
    struct loop *l;
    struct zygote *z;
    struct runners *next; /* of the same zygote */
    uint32_t first_id;    /* of its slots, as the zygote knows them */
    struct runners_opts o;
    const struct runners_ops *ops;
    void *arg;
    struct ring_bell *bell;
    struct loop_io *bell_io;
    struct loop_poll poll;
    struct slot *slots;
};

struct err *zygote__say(struct zygote *z, uint32_t type, uint32_t id, const void *p, size_t n, const int *fds,
                        int nfds) MUST_USE;
/* The zygote's answers and its end, as calls; to be called by runners_new(), and its opposite. */
struct err *runners__attach_zygote(struct runners *rs) MUST_USE;
void runners__detach_zygote(struct runners *rs);
/* What the zygote says of a slot: it is started or could not be. */
void runners__from_zygote(struct zygote *z, uint32_t type, uint32_t id, uint32_t v);
/* The slot that the zygote knows by that id; NULL: whose it was has gone. */
struct slot *runners__slot_by_id(const struct zygote *z, uint32_t id);
/* The process of the slot ended with status, or never started: deliver the rest, empty it, tell. */
void runners__ended(struct slot *s, int status);
/* Marks the slot dying; the first reason stays. */
void runners__condemn(struct slot *s, enum runner_why why);
/* Reads answers, at most max; returns how many. */
unsigned runners__drain(struct slot *s, unsigned max);
#endif
