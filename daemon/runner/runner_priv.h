/* runner_priv -- what runner.c (tasks), main.c (the job's main) and wiring.c (plugins, fetching) share. */
#ifndef RUNNER_PRIV_H
#define RUNNER_PRIV_H
#include "base/arena.h"
#include "flow/job.h"
#include "flow/module.h"
#include "flow/table.h"
#include "flow/wire.h"
#include "net/frame.h"
#include "shuffle/shuffle.h"

struct ring;
struct recorder;

struct stage {
    uint32_t id;
    struct arena a;
    struct plan_stage stage;
    struct plan_graph nodes;
};
/* Map outputs that were opened but not handed to flow yet. */
struct maps {
    uint32_t stage, total, first, n;
    int fd[WIRE_OPEN_MAX];
    const char *name[WIRE_OPEN_MAX];
};
/* Map outputs of a stage that are copies of another host's files, with holes. */
struct copies {
    uint32_t stage, n;
    struct copy {
        bool is;
        uint32_t attempt, node;
    } *map;
    struct copies *next;
};
struct runner {
    struct frame_chan *chan;
    struct ring *ring;
    struct recorder *rec;
    struct module_image image;
    struct flow_world world;
    struct table_keep keep;
    struct flow_bcasts bcasts;
    struct budget budget;
    uint64_t limit;
    uint32_t calls;
    struct stage **stage;
    uint32_t n_stages;
    struct wire_task task;   /* the one that runs */
    struct maps maps;
    struct shuffle_opts fetch; /* the last one; maps 0: none in this attempt */
    uint64_t fetched;          /* bytes of map outputs in this attempt */
    uint32_t lost_stage, lost_map;
    struct copies *copies;     /* in this attempt */
    struct arena a;          /* of the attempt */
    struct arena process;
    struct buf out;
};

/* An error that the other side answered; failing to talk ends the process. */
struct err *runner__call(struct runner *r, uint32_t type, const struct buf *b, struct frame *ret_f, struct get *ret_g);
/* The same with a descriptor; -1: none. */
struct err *runner__call_fd(struct runner *r, uint32_t type, const struct buf *b, int fd, struct frame *ret_f,
                            struct get *ret_g);
struct err *runner__call_fds(struct runner *r, uint32_t type, const struct buf *b, const int *fd, int n,
                             struct frame *ret_f, struct get *ret_g);
/* fetch.c: as the shuffle room asks for them */
void runner__is_copy(struct runner *r, uint32_t stage, uint32_t maps, uint32_t map, uint32_t attempt, uint32_t node);
struct err *runner__need(void *arg, uint32_t stage, const struct shuffle_range *v, uint32_t n);
bool runner__corrupt(void *arg, uint32_t stage, const struct shuffle_range *block, unsigned nth);
/* broadcast.c */
struct err *runner__open_broadcast(void *arg, uint32_t id, int *ret_fd, uint64_t *ret_size);
struct err *runner__broadcast(void *arg, uint32_t id, const char *name, int fd, const char *path);
struct err *runner__unbroadcast(void *arg, uint32_t id);
/* The output of a map task, as the shuffle room asks for it. */
struct err *runner__open_map(void *arg, uint32_t map, int *ret_fd, struct arena *a, char **ret_name);
void runner__drop_maps(struct maps *m);
_Noreturn void runner__main(struct runner *r);

/* wiring.c: the only file that names plugins and the shuffle room */
void runner__plugins(struct flow_world *w);
void runner__codec(struct flow_world *w, const char *name); /* of map outputs, "" none */
struct err *runner__fetch(struct runner *r, const struct plan_branch *b, uint32_t partition,
                          const struct merge_opts *order, struct merge_set *into, struct merge_bound *bound);
/* After ERR_CORRUPT: finds out which map output is damaged, for r->lost_*. */
void runner__find_lost(struct runner *r);
#endif
